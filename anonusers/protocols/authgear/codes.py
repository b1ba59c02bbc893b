"""POST /api/anonymous_user/promotion_code and /oauth2/app_session_token: one-time codes that a client's own credential
buys, for a browser that does not have it."""

from django.http import HttpResponse
from rest_framework.request import Request

from anonusers import onetime, sessions
from anonusers.errors import InvalidToken, NotSignedIn, UserIsRegular
from anonusers.models import OneTimeToken, Session
from anonusers.onetime import Issued
from anonusers.protocols.authgear import wire
from anonusers.protocols.authgear.base import ApiView
from anonusers.protocols.base import answer
from anonusers.protocols.body import read_json, validated
from anonusers.protocols.errors import RefreshTokenRefused

Purpose = OneTimeToken.Purpose


class PromotionCodeView(ApiView):
    def post(self, request: Request) -> HttpResponse:
        body = validated(wire.PromotionCodeBody, read_json(self.http_request))
        if wire.SESSION_KINDS[body["session_type"]] == Session.Kind.COOKIE:
            session = self.by_cookie()
        else:
            session = self.by_refresh_token(body["refresh_token"])
        if not session.end_user.is_guest:
            raise UserIsRegular
        issued = _issue(Purpose.PROMOTION_CODE, session)
        return answer({"result": {"promotion_code": issued.secret, "expire_at": wire.rfc3339(issued.expires_at)}})

    def by_cookie(self) -> Session:
        session = self.session(bearer=False)
        if session is None:
            raise NotSignedIn
        self.demand_listed_origin()
        return session

    def by_refresh_token(self, refresh_token: str) -> Session:
        if not refresh_token:
            raise NotSignedIn
        return _session_of(self, refresh_token)


class AppSessionTokenView(ApiView):
    def post(self, request: Request) -> HttpResponse:
        body = validated(wire.AppSessionTokenBody, read_json(self.http_request))
        # Where the session is gone, the reason that says so makes the SDKs drop it.
        session = _session_of(self, body["refresh_token"], tell_if_gone=True)
        issued = _issue(Purpose.APP_SESSION_TOKEN, session)
        return answer({"result": {"app_session_token": issued.secret, "expire_at": wire.rfc3339(issued.expires_at)}})


def _issue(purpose: str, session: Session) -> Issued:
    return onetime.issue(
        purpose,
        project=session.project,
        end_user=session.end_user,
        application=session.application,
        payload={"session_id": str(session.pk)},
    )


def _session_of(view: ApiView, refresh_token: str, *, tell_if_gone: bool = False) -> Session:
    """The session of a refresh token that may do everything its user may.

    Raises: RefreshTokenRefused.
    """
    try:
        proof = view.dpop_proof()
        session = sessions.find_by_refresh_token(host=view.host, refresh_token=refresh_token, proof=proof)
    except InvalidToken:
        raise RefreshTokenRefused(session_is_gone=tell_if_gone) from None
    view.project = session.project
    # Sessions of doors without scopes have none, and may do everything.
    if session.scope and wire.FULL_ACCESS not in session.scope.split():
        raise RefreshTokenRefused(wire.FULL_ACCESS_MISSING)
    return session
