"""POST /api/anonymous_user/signup: a guest for a web client, by cookie or by refresh token."""

from django.http import HttpResponse
from rest_framework.request import Request

from anonusers import credentials, sessions
from anonusers.errors import ApplicationTypeNotAllowed
from anonusers.models import Application, Session
from anonusers.protocols.authgear import wire
from anonusers.protocols.authgear.base import ApiView
from anonusers.protocols.base import answer
from anonusers.protocols.body import read_json, validated
from anonusers.signup import SignedUp, sign_up


class SignupView(ApiView):
    def post(self, request: Request) -> HttpResponse:
        body = validated(wire.SignupBody, read_json(self.http_request))
        if wire.SESSION_KINDS[body["session_type"]] == Session.Kind.COOKIE:
            return self.by_cookie()
        return self.by_refresh_token(body["client_id"], body["refresh_token"])

    def by_cookie(self) -> HttpResponse:
        # Only the session cookie counts here; client_id is not looked at.
        current = self.session(bearer=False)
        self.demand_listed_origin()
        signed_up = self.sign_up(None, Session.Kind.COOKIE, current)
        response = answer({"result": {}})
        if signed_up.secret:
            credentials.set_session_cookie(self.http_request, response, signed_up.session, str(signed_up.secret))
        return response

    def by_refresh_token(self, client_id: str, refresh_token: str) -> HttpResponse:
        application = self.application(client_id)
        if not application.may_have_guests:
            raise ApplicationTypeNotAllowed
        current = None
        if refresh_token:
            current = sessions.find_by_refresh_token(
                host=self.host, refresh_token=refresh_token, client_id=client_id, proof=self.dpop_proof()
            )
        signed_up = self.sign_up(application, Session.Kind.TOKEN, current)
        # Never rotated here, and no ID token: the grant of §1.3, not a refresh.
        tokens = sessions.mint_tokens(signed_up.session, issuer=self.issuer, refresh_token=signed_up.secret)
        return answer({"result": wire.render_tokens(tokens)})

    def sign_up(self, application: Application | None, kind: str, current: Session | None) -> SignedUp:
        return sign_up(
            project=self.project,
            application=application,
            kind=kind,
            scope=wire.GUEST_SCOPE,
            current=current,
            dpop_jkt=self.dpop_jkt(application) if application else "",
            dpop_jti=self.dpop_jti() if application else "",
            ip=credentials.address_of(self.http_request),
            user_agent=credentials.user_agent_of(self.http_request),
        )
