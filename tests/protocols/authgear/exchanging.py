"""A guest of MongoDB's SDK, and what its app asks the token endpoint for."""

from typing import Any

from django.http import HttpResponse
from django.test import Client

from anonusers.models import Project
from tests.conftest import make_application
from tests.protocols.authgear.steps import TOKEN, configure, post_form, post_json

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt"
ACCESS_TYPE = "urn:ietf:params:oauth:token-type:access_token"
REFRESH_TYPE = "urn:ietf:params:oauth:token-type:refresh_token"
APP = "shop-abcde"
LOGIN = f"/api/client/v2.0/app/{APP}/auth/providers/anon-user/login"
PROFILE, SESSION = "/api/client/v2.0/auth/profile", "/api/client/v2.0/auth/session"
NOT_VALID = (400, "invalid_request", "the subject token is not valid")


def give_realm_app(project: Project, app_id: str = APP) -> None:
    configure(project, realm_app_id=app_id)
    make_application(project, app_id, redirect_uris=[])


def realm_guest(client: Client, path: str = LOGIN) -> dict[str, str]:
    response = post_json(client, path, {})
    assert response.status_code == 200, response.content
    return response.json()


def exchange(client: Client, token: str, extra: dict[str, str] | None = None, **changes: Any) -> HttpResponse:
    fields = {
        "grant_type": GRANT,
        "client_id": "web",
        "subject_token": token,
        "subject_token_type": JWT_TYPE,
    } | changes
    return post_form(client, TOKEN, {name: value for name, value in fields.items() if value is not None}, **extra or {})


def exchanged(client: Client, subject_token: str, **changes: Any) -> dict[str, Any]:
    response = exchange(client, subject_token, **changes)
    assert response.status_code == 200, response.content
    return response.json()
