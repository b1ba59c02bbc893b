"""The native API of guests and sessions: sign up, userinfo, refresh, sessions, log out; by cookie or bearer token."""

import re
import uuid

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from anonusers import credentials, sessions
from anonusers.errors import AnonUsersError, ApplicationTypeNotAllowed, GuestGone, NotSignedIn
from anonusers.idempotency import IdempotencyKey
from anonusers.models import Application, Session
from anonusers.promotion import Promoted
from anonusers.protocols.base import ProtocolView, answer
from anonusers.protocols.body import read_json, validated
from anonusers.protocols.errors import BadRequest, EndpointNotFound
from anonusers.protocols.rest import serializers as shapes
from anonusers.protocols.rest.problems import HIDDEN, render_problem
from anonusers.protocols.rest.schema import INSTALLED, AutoSchema, describe
from anonusers.refresh import refresh_session
from anonusers.signup import SignedUp, sign_up
from anonusers.tokens import Issuer
from anonusers.userinfo import userinfo

IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{16,255}")


def no_content() -> HttpResponse:
    """204. What has no body has no content type either."""
    response = HttpResponse(status=204, headers={"Cache-Control": "no-store"})
    del response.headers["Content-Type"]
    return response


class NativeView(ProtocolView):
    # drf-spectacular's view inspector, without touching the host's REST_FRAMEWORK settings
    schema = AutoSchema() if INSTALLED else None

    def render_error(self, error: AnonUsersError) -> HttpResponse:
        return render_problem(error)

    def translate(self, exc: Exception) -> AnonUsersError:
        # A fault of ours with a name is for the log, as any other: the client learns the number it has there.
        hidden = isinstance(exc, AnonUsersError) and exc.code in HIDDEN
        return super().translate(RuntimeError() if hidden else exc)

    @property
    def issuer(self) -> Issuer:
        return Issuer(self.origin, shapes.user_claims, binds_access_tokens=True)

    def demand_session(self) -> Session:
        """The session of this request. What changes something on the strength of a cookie must come from our pages.

        Raises: NotSignedIn; GuestGone; UntrustedOrigin; UnknownProject.
        """
        session = None
        nobody: AnonUsersError = NotSignedIn()
        try:
            session = credentials.bearer_session(self.http_request, say_gone=True)
        except GuestGone as gone:
            nobody = gone
        if session is None and credentials.cookie_name(self.http_request) in self.http_request.COOKIES:
            if self.request.method not in ("GET", "HEAD"):
                self.demand_trusted_origin()  # before the look-up, which notes that the session is in use
            session = self.session(bearer=False)
        if session is None:
            raise nobody
        self.project = session.project
        return session

    def dpop_jkt_for(self, application: Application | None, kind: str) -> str:
        """The key that the tokens of a new session are bound to; a cookie is bound to none.

        To be asked before anything is spent. Raises: DPoPProofRefused.
        """
        return self.dpop_jkt(application) if application and kind == Session.Kind.TOKEN else ""

    def signed_up(self, signed_up: SignedUp) -> HttpResponse:
        """The session of a guest, handed over as its kind is."""
        session, secret = signed_up.session, signed_up.secret
        by_token = session.kind == Session.Kind.TOKEN
        tokens = sessions.mint_tokens(session, issuer=self.issuer, refresh_token=secret) if by_token else None
        data = shapes.render_signup(signed_up, userinfo(session.end_user), tokens)
        response = answer(data, status=201 if signed_up.created else 200)
        if secret and not by_token:
            credentials.set_session_cookie(self.http_request, response, session, str(secret))
        return response

    def signed_in(
        self,
        promoted: Promoted,
        *,
        application: Application | None,
        kind: str,
        amr: str,
        dpop_jkt: str,
        announce: bool = True,
    ) -> HttpResponse:
        """A new session for who the person is now, handed over as its kind is."""
        if application is not None and kind == Session.Kind.TOKEN:
            sessions.end_sessions_of_before(end_user=promoted.end_user, application=application)
        session, secret = sessions.open_session(
            end_user=promoted.end_user,
            project=self.project,
            application=application,
            kind=kind,
            amr=amr,
            user_agent=credentials.user_agent_of(self.http_request),
            dpop_jkt=dpop_jkt,
            announce=announce,
        )
        by_token = kind == Session.Kind.TOKEN
        tokens = sessions.mint_tokens(session, issuer=self.issuer, refresh_token=secret) if by_token else None
        response = answer(shapes.render_signed_in(session, tokens, promoted.superseded))
        if not by_token:
            credentials.set_session_cookie(self.http_request, response, session, str(secret))
        return response


class SignupView(NativeView):
    @describe(
        name="signUp",
        request=shapes.SignupInput,
        answers={
            201: (shapes.SignupOutput, "A new guest, or the first answer again under the same Idempotency-Key."),
            200: (shapes.SignupOutput, "The guest was here already."),
        },
        errors=(
            "anonymous_users_disabled",
            "application_type_not_allowed",
            "bot_check_required",
            "busy",
            "dpop_proof_refused",
            "idempotency_key_reused",
            "idempotency_key_spent",
            "invalid_token",
            "public_signup_disabled",
            "rate_limited",
            "signup_vetoed",
            "unknown_application",
            "untrusted_origin",
            "user_is_regular",
        ),
        idempotency_key=True,
        authenticated=False,
    )
    def post(self, request: Request) -> HttpResponse:
        """Sign up a guest.

        Makes a real, stored user and signs them in. Who is signed in as a guest already (by cookie, by bearer token or
        with the `refresh_token` of the body) stays the same guest. With an `Idempotency-Key` a repeated request is
        answered with the first answer and makes no second guest.
        """
        body = validated(shapes.SignupInput, read_json(self.http_request))
        application = self.application(body["client_id"])
        if body["kind"] == Session.Kind.COOKIE:
            self.demand_trusted_origin()
        signed_up = sign_up(
            project=application.project,
            application=application,
            kind=body["kind"],
            current=self.current_guest(application, body),
            idempotency_key=self.idempotency_key(body),
            bot_check=body["bot_check"],
            ip=credentials.address_of(self.http_request),
            user_agent=credentials.user_agent_of(self.http_request),
            dpop_jkt=self.dpop_jkt_for(application, body["kind"]),
            dpop_jti=self.dpop_jti() if body["kind"] == Session.Kind.TOKEN else "",
        )
        return self.signed_up(signed_up)

    def current_guest(self, application: Application, body: dict[str, str]) -> Session | None:
        """The session that the client holds already. A dead refresh token is an error, never silently a new guest."""
        if body["refresh_token"]:
            return sessions.find_by_refresh_token(
                host=self.host,
                client_id=application.client_id,
                refresh_token=body["refresh_token"],
                proof=self.dpop_proof(),
            )
        if not application.may_have_guests:
            raise ApplicationTypeNotAllowed
        return self.session(cookie=body["kind"] == Session.Kind.COOKIE, bearer=body["kind"] == Session.Kind.TOKEN)

    def idempotency_key(self, body: dict[str, str]) -> IdempotencyKey | None:
        key = self.http_request.headers.get("Idempotency-Key")
        if key is None:
            return None
        if not IDEMPOTENCY_KEY.fullmatch(key):
            raise BadRequest("An Idempotency-Key has 16 to 255 visible ASCII characters; a random UUID is good.")
        return IdempotencyKey(key, fingerprint=f"{body['client_id']} {body['kind']}")


class UserInfoView(NativeView):
    @describe(
        name="getUserInfo",
        answers={200: (shapes.UserInfoOutput, "The user and the session of this request.")},
        errors=("guest_gone", "not_signed_in"),
    )
    def get(self, request: Request) -> HttpResponse:
        """Who am I?

        The user behind the cookie or the bearer token, and the session of this request.
        """
        session = self.demand_session()
        return answer(shapes.render_userinfo(userinfo(session.end_user), session))


class RefreshView(NativeView):
    @describe(
        name="refresh",
        request=shapes.RefreshInput,
        answers={200: (shapes.TokensOutput, "New tokens.")},
        errors=("dpop_proof_refused", "invalid_token", "unknown_application"),
        authenticated=False,
    )
    def post(self, request: Request) -> HttpResponse:
        """Get a new access token.

        Where the application rotates refresh tokens, a new one comes along. The old one leads to the same new one for
        another 30 seconds, so that a lost answer does no harm; later, its use ends the session.
        """
        body = validated(shapes.RefreshInput, read_json(self.http_request))
        tokens = refresh_session(
            host=self.host,
            client_id=body["client_id"],
            refresh_token=body["refresh_token"],
            issuer=self.issuer,
            proof=self.dpop_proof(),
        )
        self.project = tokens.session.project
        return answer(shapes.render_tokens(tokens))


class SessionsView(NativeView):
    @describe(
        name="listSessions",
        answers={200: (shapes.SessionsOutput, "The live sessions.")},
        errors=("guest_gone", "not_signed_in"),
    )
    def get(self, request: Request) -> HttpResponse:
        """List my sessions.

        All live sessions of this user, last used first.
        """
        current = self.demand_session()
        listed = sessions.list_sessions(current.end_user)
        return answer({"sessions": [shapes.render_session(session, current=current) for session in listed]})


class SessionView(NativeView):
    @describe(
        name="endSession",
        answers={204: (None, "The session has ended. If it was this cookie's own, the cookie is cleared.")},
        errors=("guest_gone", "not_signed_in", "unknown_project", "unknown_session", "untrusted_origin"),
        parameters={"session_id": "The `id` of a session as it is listed."},
    )
    def delete(self, request: Request, session_id: uuid.UUID) -> HttpResponse:
        """End one of my sessions.

        With all its tokens, at once.
        """
        current = self.demand_session()
        sessions.revoke_session(end_user=current.end_user, session_id=session_id)
        response = no_content()
        if session_id == current.id and current.kind == Session.Kind.COOKIE:
            credentials.clear_session_cookie(self.http_request, response)
        return response


class LogoutView(NativeView):
    @describe(
        name="logOut",
        request=shapes.LogoutInput,
        answers={204: (None, "The session has ended. A cookie is cleared.")},
        errors=("guest_gone", "not_signed_in", "unknown_project", "untrusted_origin"),
    )
    def post(self, request: Request) -> HttpResponse:
        """Log out.

        Ends the session of this request. A guest without a device key cannot come back: say so before. The body is
        `{}` or nothing.
        """
        validated(shapes.LogoutInput, read_json(self.http_request, empty_is_object=True))
        session = self.demand_session()
        sessions.end_session(session)
        response = no_content()
        if session.kind == Session.Kind.COOKIE:
            credentials.clear_session_cookie(self.http_request, response)
        return response


class NotFoundView(NativeView):
    schema = None

    def dispatch(self, *args: object, **kwargs: object) -> HttpResponseBase:
        return self.finalize_response(None, self.handle_exception(EndpointNotFound()))
