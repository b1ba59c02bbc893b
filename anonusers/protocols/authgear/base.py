"""The two families of Authgear's endpoints: they differ in how they say that something is wrong."""

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from anonusers import credentials
from anonusers.errors import AnonUsersError
from anonusers.models import Session
from anonusers.protocols.authgear import wire
from anonusers.protocols.base import ProtocolView
from anonusers.protocols.errors import EndpointNotFound, UntrustedOrigin
from anonusers.tokens import Issuer


class AuthgearView(ProtocolView):
    @property
    def issuer(self) -> Issuer:
        return Issuer(self.origin, wire.user_claims, wire.id_token_sid)

    def session(self, *, bearer: bool = True, cookie: bool = True, voucher: bool = False) -> Session | None:
        """Bearer token, then what vouches for this browser where that opens this door, then cookie (§5.4)."""
        if not voucher or credentials.APP_SESSION not in self.http_request.COOKIES:
            return super().session(bearer=bearer, cookie=cookie)
        session = super().session(bearer=bearer, cookie=False) or credentials.app_session(self.http_request)
        if session is None:
            return super().session(bearer=False, cookie=cookie)
        self.project = session.project
        return session

    def demand_listed_origin(self) -> None:
        """A cookie may act across sites only for origins that the project lists.

        Raises: UntrustedOrigin.
        """
        headers = self.http_request.headers
        if headers.get("Sec-Fetch-Site") == "cross-site" and not self.project.allows_origin(headers.get("Origin", "")):
            raise UntrustedOrigin


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
