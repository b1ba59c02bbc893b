"""Three bare views: one INSERT, one SELECT by primary key, one UPDATE. The table is made by prepare.py."""

import secrets
import uuid
from typing import Any

from django.db import connection
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class InsertView(APIView):
    def post(self, request: Request) -> Response:
        row = (uuid.uuid4(), request.data["client_id"], secrets.token_hex(32))
        statement = "INSERT INTO floor (id, client_id, secret) VALUES (%s, %s, %s) RETURNING id, created_at"
        return Response(_one(statement, row), status=201)


class SelectView(APIView):
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        return Response(_one("SELECT id, created_at FROM floor WHERE id = %s", (pk,)))


class UpdateView(APIView):
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        row = (secrets.token_hex(32), request.data["client_id"], pk)
        statement = "UPDATE floor SET secret = %s WHERE client_id = %s AND id = %s RETURNING id, created_at"
        return Response(_one(statement, row))


def _one(statement: str, parameters: tuple[Any, ...]) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        row_id, created_at = cursor.fetchone()
    return {"id": row_id, "created_at": created_at}


urlpatterns = [
    path("insert/", InsertView.as_view()),
    path("select/<uuid:pk>/", SelectView.as_view()),
    path("update/<uuid:pk>/", UpdateView.as_view()),
]
