"""The two families of Authgear's endpoints: they differ in how they say that something is wrong."""

from django.http import HttpResponse
from django.http.response import HttpResponseBase

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


class ApiNotFoundView(ApiView):
    def dispatch(self, *args: object, **kwargs: object) -> HttpResponseBase:
        return self.finalize_response(None, self.handle_exception(EndpointNotFound()))


class OAuthNotFoundView(OAuthView):
    def dispatch(self, *args: object, **kwargs: object) -> HttpResponseBase:
        return self.finalize_response(None, self.handle_exception(EndpointNotFound()))
