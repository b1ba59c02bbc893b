from django.urls import include, path
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.authentication import JWTAuthentication

from anonusers.userinfo import is_guest, sub_of


class MeView(APIView):
    """Knows simplejwt, and nothing of ours but whom it asks about a user."""

    authentication_classes = [JWTAuthentication]
    permission_classes = [IsAuthenticated]
    renderer_classes = [JSONRenderer]

    def get(self, request: Request) -> Response:
        return Response({"sub": str(sub_of(request.user)), "guest": is_guest(request.user)})


urlpatterns = [path("me/", MeView.as_view()), path("", include("anonusers.urls"))]
