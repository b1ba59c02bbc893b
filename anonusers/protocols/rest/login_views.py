"""The native API for regular users: log in by password, or by a code."""

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from anonusers import credentials, login
from anonusers.errors import ApplicationTypeNotAllowed
from anonusers.models import Application, EndUser, Session
from anonusers.protocols.base import answer
from anonusers.protocols.body import read_json, validated
from anonusers.protocols.rest import serializers as shapes
from anonusers.protocols.rest.schema import describe
from anonusers.protocols.rest.views import NativeView

TAG = "Log in"
SIGNED_IN = {200: (shapes.SignedInOutput, "The user, and a new session.")}
ERRORS = (
    "application_type_not_allowed",
    "dpop_proof_refused",
    "unknown_application",
    "untrusted_origin",
    "user_disabled",
)


class LogInView(NativeView):
    def application_for(self, body: dict[str, Any]) -> Application:
        """The application to log in through. A cookie is set for pages of ours only."""
        application = self.application(body["client_id"])
        if not application.may_have_guests:
            raise ApplicationTypeNotAllowed
        if body["kind"] == Session.Kind.COOKIE:
            self.demand_trusted_origin()
        return application

    def logged_in(
        self, end_user: EndUser, application: Application, kind: str, *, amr: str, dpop_jkt: str
    ) -> HttpResponse:
        by_cookie = kind == Session.Kind.COOKIE
        before = self.session(cookie=by_cookie, bearer=not by_cookie)
        outcome = login.leave_guest(
            end_user,
            guest=before.end_user if before else None,
            project=application.project,
            application=application,
            method="password" if amr == "pwd" else "code",
        )
        return self.signed_in(outcome, application=application, kind=kind, amr=amr, dpop_jkt=dpop_jkt)


class LoginView(LogInView):
    @describe(
        name="logIn",
        tag=TAG,
        request=shapes.LoginInput,
        answers=SIGNED_IN,
        errors=(*ERRORS, "busy", "credentials_wrong", "rate_limited"),
        authenticated=False,
    )
    def post(self, request: Request) -> HttpResponse:
        """Log in with a password.

        For regular users. A guest who sends their session along leaves it where the project says that people go on as
        the account they have: its sessions end, and `superseded_guest` names it. Else the guest stays as it is.
        """
        body = validated(shapes.LoginInput, read_json(self.http_request))
        application = self.application_for(body)
        dpop_jkt = self.dpop_jkt_for(application, body["kind"])
        end_user = login.log_in_with_password(
            project=application.project,
            text=body["login_id"],
            password=body["password"],
            ip=credentials.address_of(self.http_request),
        )
        return self.logged_in(end_user, application, body["kind"], amr="pwd", dpop_jkt=dpop_jkt)


class LoginCodeView(NativeView):
    @describe(
        name="beginCodeLogin",
        tag=TAG,
        request=shapes.LoginCodeInput,
        answers={202: (shapes.LoginCodeOutput, "If somebody logs in with it, a code is on its way.")},
        errors=("code_not_sent", "rate_limited", "unknown_application"),
        authenticated=False,
    )
    def post(self, request: Request) -> HttpResponse:
        """Ask for a code to log in with.

        Of six digits, good for ten minutes and five tries. The answer is the same whether or not there is an account.
        """
        body = validated(shapes.LoginCodeInput, read_json(self.http_request))
        project = self.application(body["client_id"]).project
        ip = credentials.address_of(self.http_request)
        pending = login.begin_code_login(project=project, text=body["login_id"], ip=ip)
        return answer(shapes.render_code_login(pending), status=202)


class LoginCodeVerifyView(LogInView):
    @describe(
        name="finishCodeLogin",
        tag=TAG,
        request=shapes.LoginCodeVerifyInput,
        answers=SIGNED_IN,
        errors=(*ERRORS, "code_expired", "code_wrong", "flow_gone"),
        authenticated=False,
    )
    def post(self, request: Request) -> HttpResponse:
        """Log in with the code.

        Proves the address, too: where nobody had verified it before, whoever claimed it loses their password and their
        sessions. What happens to a guest who sends their session along is the same as with a password.
        """
        body = validated(shapes.LoginCodeVerifyInput, read_json(self.http_request))
        application = self.application_for(body)
        dpop_jkt = self.dpop_jkt_for(application, body["kind"])
        end_user = login.finish_code_login(handle=body["handle"], host=self.host, code=body["code"])
        return self.logged_in(end_user, application, body["kind"], amr="otp", dpop_jkt=dpop_jkt)
