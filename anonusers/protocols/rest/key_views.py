"""The native API for device keys: a guest who holds one comes back without a password, and moves on by a code."""

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from anonusers import credentials, device_keys, key_login
from anonusers.limits import network_of, spend
from anonusers.models import Session
from anonusers.protocols.base import answer
from anonusers.protocols.body import read_json, validated
from anonusers.protocols.rest import serializers as shapes
from anonusers.protocols.rest.schema import describe
from anonusers.protocols.rest.views import NativeView, no_content

TAG = "Device keys"
SESSION = ("guest_gone", "not_signed_in", "unknown_project", "untrusted_origin")
OPENS_SESSION = (
    "anonymous_users_disabled",
    "application_type_not_allowed",
    "dpop_proof_refused",
    "key_proof_refused",
    "rate_limited",
    "unknown_application",
    "untrusted_origin",
    "user_disabled",
)


class ChallengeView(NativeView):
    @describe(
        name="getChallenge",
        tag=TAG,
        request=shapes.ChallengeInput,
        answers={200: (shapes.ChallengeOutput, "A challenge, good for five minutes and one use.")},
        errors=("rate_limited", "unknown_application"),
        authenticated=False,
    )
    def post(self, request: Request) -> HttpResponse:
        """Get a challenge.

        Every signed request contains one, so that nobody can send it a second time.
        """
        body = validated(shapes.ChallengeInput, read_json(self.http_request))
        project = self.application(body["client_id"]).project
        spend("challenges_per_ip", project.slug, network_of(credentials.address_of(self.http_request)))
        return answer(shapes.render_challenge(device_keys.issue_challenge(project)))


class ClientView(NativeView):
    def client(self, body: dict[str, Any]) -> key_login.Client:
        """Who asks for a session. A cookie is set for pages of ours only.

        Raises: UnknownApplication, UnknownProject, UntrustedOrigin, DPoPProofRefused.
        """
        application = self.application(body["client_id"])
        if body["kind"] == Session.Kind.COOKIE:
            self.demand_trusted_origin()
        return key_login.Client(
            application=application,
            origin=self.origin,
            kind=body["kind"],
            ip=credentials.address_of(self.http_request),
            user_agent=credentials.user_agent_of(self.http_request),
            device=body.get("device", {}),
            dpop_jkt=self.dpop_jkt_for(application, body["kind"]),
            bot_check=body.get("bot_check", ""),
        )


class KeyLoginView(ClientView):
    @describe(
        name="logInWithKey",
        tag=TAG,
        request=shapes.KeyLoginInput,
        answers={
            201: (shapes.SignupOutput, "A new guest, whose key this is from now on."),
            200: (shapes.SignupOutput, "The guest whose key this is, and a new session."),
        },
        errors=(*OPENS_SESSION, "bot_check_required", "busy", "public_signup_disabled", "signup_vetoed"),
        authenticated=False,
    )
    def post(self, request: Request) -> HttpResponse:
        """Log in with a device key.

        The device signs a challenge with the `action` `auth`. A key that was never seen makes a new guest; from then
        on it leads to that guest, whatever became of earlier sessions. The key of a guest who was promoted leads to
        nobody: by the project's settings it makes a new guest or is refused.
        """
        body = validated(shapes.KeyLoginInput, read_json(self.http_request))
        return self.signed_up(key_login.log_in_with_key(self.client(body), signed_request=body["signed_request"]))


class KeysView(NativeView):
    @describe(
        name="listKeys",
        tag=TAG,
        answers={200: (shapes.KeysOutput, "The keys that lead to this user. A guest has one at most.")},
        errors=("guest_gone", "not_signed_in"),
    )
    def get(self, request: Request) -> HttpResponse:
        """List my keys.

        A key that was removed, or that was left behind on another device, is not among them.
        """
        keys = device_keys.list_keys(self.demand_session().end_user)
        return answer({"keys": [shapes.render_key(key) for key in keys]})

    @describe(
        name="addKey",
        tag=TAG,
        request=shapes.SignedRequestInput,
        answers={201: (shapes.KeyOutput, "The key leads to this guest now.")},
        errors=(*SESSION, "key_exists", "key_proof_refused", "key_taken", "user_is_regular"),
    )
    def post(self, request: Request) -> HttpResponse:
        """Add a key.

        Gives a guest who has none a key, so that they can come back: a guest of a web page moves into an app, for one.
        The device signs a challenge with the `action` `add_key`.
        """
        body = validated(shapes.SignedRequestInput, read_json(self.http_request))
        key = device_keys.add_key(
            session=self.demand_session(), signed_request=body["signed_request"], expected_origin=self.origin
        )
        return answer(shapes.render_key(key), status=201)


class KeyView(NativeView):
    @describe(
        name="removeKey",
        tag=TAG,
        answers={204: (None, "The key is refused from now on, for ever.")},
        errors=(*SESSION, "unknown_key"),
        parameters={"kid": "The `kid` of a key as it is listed."},
    )
    def delete(self, request: Request, kid: str) -> HttpResponse:
        """Remove a key.

        The device may be lost: the sessions that were opened with the key end, except the one of this request, and a
        recovery code is worthless. The guest may be given another key, and ask for another code.
        """
        session = self.demand_session()
        device_keys.remove_key(end_user=session.end_user, key_id=kid, keep_session=session)
        return no_content()


class RecoveryCodeView(NativeView):
    @describe(
        name="getRecoveryCode",
        tag=TAG,
        request=shapes.LogoutInput,
        answers={201: (shapes.RecoveryCodeOutput, "The code. The one before, if there was any, is worthless now.")},
        errors=(*SESSION, "user_is_regular"),
    )
    def post(self, request: Request) -> HttpResponse:
        """Get a recovery code.

        For the guest to write down: with it they go on on a new device when this one is lost. It is good for a year and
        one use. The body is `{}` or nothing.
        """
        validated(shapes.LogoutInput, read_json(self.http_request, empty_is_object=True))
        issued = device_keys.issue_recovery_code(session=self.demand_session())
        return answer(shapes.render_recovery_code(issued), status=201)


class RecoverView(ClientView):
    @describe(
        name="recover",
        tag=TAG,
        request=shapes.RecoverInput,
        answers={200: (shapes.RecoverOutput, "The guest whose code it was, and a new session, the only one.")},
        errors=(*OPENS_SESSION, "key_taken", "recovery_code_wrong"),
        authenticated=False,
    )
    def post(self, request: Request) -> HttpResponse:
        """Move to a new device.

        With a recovery code, and a challenge that the new device's key signs with the `action` `recover`. This key
        takes the place of the one before; every earlier session, token and code of the guest ends.
        """
        body = validated(shapes.RecoverInput, read_json(self.http_request))
        signed_up = key_login.recover(
            self.client(body),
            host=self.host,
            recovery_code=body["recovery_code"],
            signed_request=body["signed_request"],
        )
        return self.signed_up(signed_up)
