"""GET|POST /oauth2/end_session (OpenID Connect RP-Initiated Logout 1.0)."""

from collections.abc import Mapping
from urllib.parse import urlencode

from django.http import HttpResponse
from django.urls import reverse
from rest_framework.request import Request

from anonusers import credentials, sessions, tokens
from anonusers.errors import InvalidToken
from anonusers.keys import key_ring
from anonusers.models import Application, Session
from anonusers.protocols.authgear import wire
from anonusers.protocols.authgear.base import OAuthView
from anonusers.protocols.authgear.redirects import see_other, with_query
from anonusers.protocols.body import read_form


class EndSessionView(OAuthView):
    """Log out the browser's cookie session, at once only where this is surely meant: on a same-site navigation, or
    with an ID token of this very session. Else the person is asked, on a page of ours."""

    def get(self, request: Request) -> HttpResponse:
        parameters = self.http_request.GET.dict()
        session = self.session(bearer=False)
        if session is not None and not self.is_surely_meant(session, str(parameters.get("id_token_hint", ""))):
            # The page comes back here when the session is over; RFC 9700 §4.12: 303, never 307.
            again = urlencode({"next": f"{self.http_request.path}?{urlencode(parameters)}"})
            return see_other(f"{reverse('anonusers:pages:logout')}?{again}")
        response = see_other(self.destination(parameters))
        if session is not None:
            sessions.end_session(session)
        if credentials.cookie_name(self.http_request) in self.http_request.COOKIES:
            credentials.clear_session_cookie(self.http_request, response)
        return response

    def post(self, request: Request) -> HttpResponse:
        """Ask again by GET: a cross-site POST comes without our SameSite=Lax cookie, the GET after it brings it."""
        parameters = {**self.http_request.GET.dict(), **read_form(self.http_request)}
        return see_other(f"{self.http_request.path}?{urlencode(parameters)}")

    def is_surely_meant(self, session: Session, id_token_hint: str) -> bool:
        if self.http_request.method == "HEAD":
            return False  # safe by definition (RFC 9110 §9.2.1)
        # The browser sends a SameSite=Strict cookie only when the navigation began on our own site.
        if self.http_request.COOKIES.get(credentials.SAME_SITE_STRICT) == "true":
            return True
        if not id_token_hint:
            return False
        try:
            claims = tokens.read_id_token_hint(key_ring(session.project), id_token_hint, origin=self.origin)
        except InvalidToken:
            return False
        return claims["sid"] == wire.id_token_sid(session)

    def destination(self, parameters: Mapping[str, object]) -> str:
        """The registered post_logout_redirect_uri with `state`, or a page of ours; never anything else."""
        uri = str(parameters.get("post_logout_redirect_uri", ""))
        if uri and self.is_registered(uri):
            state = parameters.get("state")
            return with_query(uri, {"state": str(state)}) if state else uri
        return reverse("anonusers:pages:logged-out")

    def is_registered(self, uri: str) -> bool:
        lists = Application.objects.filter(project=self.project).values_list("post_logout_redirect_uris", flat=True)
        return any(uri in uris for uris in lists)  # byte for byte (RFC 9700 §2.1)
