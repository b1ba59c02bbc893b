"""GET|POST /oauth2/userinfo (OpenID Connect Core §5.3) and the resolver for reverse proxies."""

from django.http import HttpResponse
from rest_framework.request import Request

from anonusers import credentials
from anonusers.protocols.authgear import wire
from anonusers.protocols.authgear.base import OAuthView
from anonusers.protocols.base import answer
from anonusers.userinfo import userinfo

INVALID_SESSION = {"error": "invalid_grant", "error_description": "invalid session"}


class UserInfoView(OAuthView):
    def get(self, request: Request) -> HttpResponse:
        session = self.session(voucher=True)
        if session is None:
            # This exact `error` makes the SDKs drop a dead session.
            challenge = 'Bearer error="invalid_grant", error_description="invalid session"'
            return answer(INVALID_SESSION, status=401, headers={"WWW-Authenticate": challenge})
        return answer(wire.render_userinfo(userinfo(session.end_user)))

    post = get


class ResolveView(OAuthView):
    """GET|HEAD /_resolver/resolve: who is this? In headers, always 200; the backend behind the proxy decides."""

    def get(self, request: Request) -> HttpResponse:
        response = HttpResponse(status=200, content_type="text/plain")
        response.headers["Cache-Control"] = "no-store"
        session = self.session()
        if session is not None:
            info = userinfo(session.end_user)
            response.headers["X-Authgear-Session-Valid"] = "true"
            response.headers["X-Authgear-User-Id"] = info.sub
            response.headers["X-Authgear-User-Anonymous"] = _lower(info.is_anonymous)
            response.headers["X-Authgear-User-Verified"] = _lower(info.is_verified)
            response.headers["X-Authgear-User-Can-Reauthenticate"] = _lower(info.can_reauthenticate)
            response.headers["X-Authgear-Session-Amr"] = session.amr
            response.headers["X-Authgear-Session-Authenticated-At"] = str(int(session.auth_time.timestamp()))
        elif credentials.cookie_name(self.http_request) in self.http_request.COOKIES:
            response.headers["X-Authgear-Session-Valid"] = "false"
            credentials.clear_session_cookie(self.http_request, response)
        return response


def _lower(value: bool) -> str:
    return "true" if value else "false"
