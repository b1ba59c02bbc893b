"""DRF authentication classes for host code: `request.user` is the guest's row of AUTH_USER_MODEL, `request.auth` our
`Session`."""

from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from anonusers import credentials, tokens
from anonusers.conf import conf
from anonusers.errors import GuestGone, InvalidToken
from anonusers.keys import key_ring_of
from anonusers.models import EndUser, Session, project_at
from anonusers.tokens import AccessClaims

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <access token>`, or `DPoP <access token>` with a proof (RFC 9449). One statement, which
    brings the user along.

    A worthless token is nobody's, so that who may read without one still may. Only a write with a genuine JWT whose
    user was removed is refused here, with the code `guest_gone`: the client is to sign up afresh.

    With ANONUSERS_BEARER_CHECKS_SESSION off a JWT is believed until it expires: no statement, `request.auth` is its
    `AccessClaims`, and `request.user` is fetched when it is first looked at.
    """

    def authenticate(self, request: Request) -> tuple[Any, Session | AccessClaims] | None:
        token = credentials.bearer_token(request._request)
        try:
            claims = _claims_of(token, origin=credentials.origin_of(request._request)) if token else None
        except InvalidToken:
            return None
        if claims is not None and not claims.bound:
            return SimpleLazyObject(lambda: _user_of(claims)), claims
        try:
            session = credentials.bearer_session(request._request, say_gone=request.method not in SAFE_METHODS)
        except GuestGone as error:
            raise _gone(error) from None
        return (session.end_user.user, session) if session else None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class CookieAuthentication(BaseAuthentication):
    """Our session cookie. Unsafe methods must come from our own origin or from one the project lists."""

    def authenticate(self, request: Request) -> tuple[Any, Session] | None:
        if credentials.cookie_name(request._request) not in request.COOKIES:
            return None
        if request.method not in SAFE_METHODS:
            # Before the session is looked up: what is refused must not count as its use.
            self.demand_trusted_origin(request._request)
        session = credentials.cookie_session(request._request)
        return (session.end_user.user, session) if session else None

    def demand_trusted_origin(self, request: HttpRequest) -> None:
        if request.headers.get("Origin") == credentials.origin_of(request):
            return
        project = project_at(request.get_host())
        if project is None or not credentials.is_trusted_origin(request, project):
            raise PermissionDenied("This request comes from a site that may not use the session cookie.")

    def authenticate_header(self, request: Request) -> str:
        return "Cookie"


def _user_of(claims: AccessClaims) -> Any:
    # The claims do not tell guests from members: each door names them in its own way, and a promotion changes them.
    end_user = EndUser.objects.select_related("user", "anonymous_identity").filter(pk=claims.sub or "").first()
    if end_user is None:
        raise _gone(GuestGone())  # the claims are those of a verified token
    if end_user.disabled_at is not None or not getattr(end_user.user, "is_active", True):
        raise AuthenticationFailed
    return end_user.user


def _gone(error: GuestGone) -> AuthenticationFailed:
    return AuthenticationFailed({"code": error.code, "detail": error.message})


def _claims_of(token: str, *, origin: str) -> AccessClaims | None:
    """The claims of a JWT access token by its signature alone; None where only the database can tell.

    Raises: InvalidToken.
    """
    if conf.BEARER_CHECKS_SESSION or token.count(".") != 2:
        return None
    ring = key_ring_of(tokens.unverified_kid(token))
    if ring is None:
        raise InvalidToken
    return tokens.read_access_token(ring, token, origin=origin, now=timezone.now())
