"""The two families of Authgear's endpoints: they differ in how they say that something is wrong."""

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from anonusers.errors import AnonUsersError
from anonusers.protocols.authgear import wire
from anonusers.protocols.base import ProtocolView
from anonusers.protocols.errors import EndpointNotFound
from anonusers.tokens import Issuer


class AuthgearView(ProtocolView):
    @property
    def issuer(self) -> Issuer:
        return Issuer(self.origin, wire.user_claims, wire.id_token_sid)


class ApiView(AuthgearView):
    """`{"result": …}` or `{"error": {name, reason, message, code}}`."""

    def render_error(self, error: AnonUsersError) -> HttpResponse:
        return wire.render_api_error(error)


class OAuthView(AuthgearView):
    """Bare JSON or `{"error", "error_description"}`."""

    def render_error(self, error: AnonUsersError) -> HttpResponse:
        return wire.render_oauth_error(error)


class NotFoundView(AuthgearView):
    """404 to every method but a preflight's, so that a page can read the 404."""

    def http_method_not_allowed(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:  # type: ignore[override]
        raise EndpointNotFound


class ApiNotFoundView(NotFoundView, ApiView):
    pass


class OAuthNotFoundView(NotFoundView, OAuthView):
    pass
