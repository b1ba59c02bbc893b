"""Shapes of the native API. Inputs are strict: unknown keys and wrong types are refused."""

from typing import Any

from rest_framework import serializers

from anonusers.bot_check import SOLUTION_MAX
from anonusers.device_keys import RecoveryCode
from anonusers.keypairs import SIGNED_REQUEST_MAX
from anonusers.login import PendingLogin
from anonusers.login_ids import LENGTH_MAX, TYPES
from anonusers.models import DeviceKey, EndUser, Session
from anonusers.onetime import Issued
from anonusers.promotion.flow import Pending
from anonusers.promotion.password import LENGTH_MAX as PASSWORD_MAX
from anonusers.protocols.body import StrictCharField, StrictChoiceField, StrictSerializer
from anonusers.sessions import DEVICE, Tokens
from anonusers.signup import SignedUp
from anonusers.userinfo import UserInfo, userinfo


class BotCheckInput(StrictSerializer):
    bot_check = StrictCharField(
        required=False,
        default="",
        max_length=SOLUTION_MAX,
        help_text="After a `bot_check_required`: the solution of its `challenge`. It is good for one new guest.",
    )


class SignupInput(BotCheckInput):
    client_id = StrictCharField(max_length=100, help_text="The application that the guest signs up through.")
    kind = StrictChoiceField(
        choices=Session.Kind.values,
        default=Session.Kind.TOKEN,
        help_text="`token`: the answer holds tokens. `cookie`: it sets an HttpOnly cookie.",
    )
    refresh_token = StrictCharField(
        required=False,
        default="",
        max_length=200,
        help_text="With the kind `token`. A refresh token you hold already: the same guest goes on, and no new one is "
        "made.",
    )

    def validate(self, attrs: Any) -> Any:
        if attrs["refresh_token"] and attrs["kind"] != Session.Kind.TOKEN:
            raise serializers.ValidationError({"refresh_token": ["goes with the kind token"]}, code="conflict")
        return attrs


class RefreshInput(StrictSerializer):
    client_id = StrictCharField(max_length=100, help_text="The application that the token belongs to.")
    refresh_token = StrictCharField(max_length=200, help_text="The newest one that you were given.")


class LogoutInput(StrictSerializer):
    pass


class LoginIDInput(StrictSerializer):
    type = StrictChoiceField(choices=TYPES, help_text="One of those that the project uses.")
    value = StrictCharField(
        max_length=LENGTH_MAX, help_text="As it was typed. A phone number begins with `+` and the country code."
    )


class PromoteInput(StrictSerializer):
    login_id = LoginIDInput()
    password = StrictCharField(max_length=PASSWORD_MAX, help_text="Django's password validators judge it.")


class PromotionInput(StrictSerializer):
    login_id = LoginIDInput()
    password = StrictCharField(
        required=False,
        max_length=PASSWORD_MAX,
        help_text="Without one the user logs in by code.",
    )


class CodeInput(StrictSerializer):
    handle = StrictCharField(max_length=100, help_text="What the code was asked for under.")
    code = StrictCharField(max_length=20, help_text="The six digits that were sent.")


class StartInput(StrictSerializer):
    """What every way of logging in begins with."""

    client_id = StrictCharField(max_length=100, help_text="The application that the user logs in through.")


class KindInput(StartInput):
    kind = StrictChoiceField(
        choices=Session.Kind.values,
        default=Session.Kind.TOKEN,
        help_text="`token`: the answer holds tokens. `cookie`: it sets an HttpOnly cookie.",
    )


class LoginInput(KindInput):
    login_id = StrictCharField(
        max_length=LENGTH_MAX, help_text="An e-mail address, a phone number with `+`, or a user name."
    )
    password = StrictCharField(max_length=PASSWORD_MAX, help_text="The user's password.")


class LoginCodeInput(StartInput):
    login_id = StrictCharField(max_length=LENGTH_MAX, help_text="An e-mail address, or a phone number with `+`.")


class LoginCodeVerifyInput(KindInput, CodeInput):
    pass


class DeviceInput(StrictSerializer):
    name = StrictCharField(required=False, max_length=100, help_text="What its owner calls it.")
    model = StrictCharField(required=False, max_length=100, help_text="Maker and model.")
    system = StrictCharField(required=False, max_length=100, help_text="Operating system and version.")
    app = StrictCharField(required=False, max_length=100, help_text="Your app and its version.")


class SignedRequestInput(StrictSerializer):
    signed_request = StrictCharField(
        max_length=SIGNED_REQUEST_MAX,
        help_text="A compact JWS by the device's key (`alg` `ES256` or `RS256`). Its header has `typ` "
        "`vnd.authgear.anonymous-request`, a `kid` of your choice (8 to 64 letters, digits, `-` and `_`), and the "
        "public key as `jwk` with the same `kid` in it; its payload `challenge`, `action`, `iat`, and `exp` within an "
        "hour.",
    )


class ChallengeInput(StrictSerializer):
    client_id = StrictCharField(max_length=100, help_text="An application of the project.")


class KeyInput(KindInput, SignedRequestInput):
    device = DeviceInput(required=False)


class KeyLoginInput(KeyInput, BotCheckInput):
    pass


class RecoverInput(KeyInput):
    recovery_code = StrictCharField(
        max_length=100, help_text="As it was typed: small letters and missing hyphens do no harm."
    )


class DeviceOutput(serializers.Serializer[Any]):
    """What the client has told."""

    name = serializers.CharField(required=False, help_text="What its owner calls it, if the client said so.")
    model = serializers.CharField(required=False, help_text="Maker and model, likewise.")
    system = serializers.CharField(required=False, help_text="Operating system and version, likewise.")
    app = serializers.CharField(required=False, help_text="The app and its version, likewise.")


class SessionOutput(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    kind = serializers.ChoiceField(choices=Session.Kind.values)
    client_id = serializers.CharField(allow_null=True)
    user_agent = serializers.CharField()
    device = DeviceOutput()
    created_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(help_text="If it is not used before, under the settings of now.")
    current = serializers.BooleanField(help_text="Whether this request came with it.")


class TokensOutput(serializers.Serializer[Any]):
    token_type = serializers.ChoiceField(
        choices=("Bearer", "DPoP"), help_text="How to send the access token: `DPoP` where it is bound to your DPoP key."
    )
    access_token = serializers.CharField()
    expires_in = serializers.IntegerField(help_text="Seconds.")
    refresh_token = serializers.CharField(required=False, help_text="Only when it is new. Keep it, drop the old one.")


class LoginIDOutput(serializers.Serializer[Any]):
    type = serializers.ChoiceField(choices=TYPES)
    value = serializers.CharField(help_text="What the user logs in with. A guest has none.")
    verified = serializers.BooleanField(help_text="Whether the user has entered a code that was sent there.")


class UserInfoOutput(serializers.Serializer[Any]):
    sub = serializers.UUIDField(help_text="The user's id. Promotion keeps it.")
    is_anonymous = serializers.BooleanField()
    is_verified = serializers.BooleanField(help_text="Whether one of the login IDs is verified.")
    created_at = serializers.DateTimeField()
    login_ids = LoginIDOutput(many=True)
    session = SessionOutput()


class SignupOutput(UserInfoOutput):
    created = serializers.BooleanField(help_text="False: the guest was here already.")
    token_type = serializers.ChoiceField(choices=("Bearer", "DPoP"), required=False)
    access_token = serializers.CharField(required=False)
    expires_in = serializers.IntegerField(required=False)
    refresh_token = serializers.CharField(required=False)


class RecoverOutput(SignupOutput):
    pass


class SignedInOutput(UserInfoOutput):
    superseded_guest = serializers.UUIDField(
        required=False,
        help_text="The `sub` of the guest that they were, where they went on as an account that existed before.",
    )
    token_type = serializers.ChoiceField(choices=("Bearer", "DPoP"), required=False)
    access_token = serializers.CharField(required=False)
    expires_in = serializers.IntegerField(required=False)
    refresh_token = serializers.CharField(required=False)


class PendingPromotionOutput(serializers.Serializer[Any]):
    handle = serializers.CharField(required=False, help_text="Told once. The next steps are asked with it.")
    sent_to = serializers.CharField(help_text="Masked.")
    expires_at = serializers.DateTimeField(help_text="Until when the code is good.")


class PromotionOutput(serializers.Serializer[Any]):
    promotion = PendingPromotionOutput()


class LoginCodeOutput(serializers.Serializer[Any]):
    handle = serializers.CharField(help_text="The code is verified with it.")
    expires_at = serializers.DateTimeField(help_text="Until when a code would be good.")


class ChallengeOutput(serializers.Serializer[Any]):
    challenge = serializers.CharField(help_text="Good for one signed request.")
    expires_at = serializers.DateTimeField()


class KeyOutput(serializers.Serializer[Any]):
    kid = serializers.CharField(help_text="What the device called it.")
    algorithm = serializers.ChoiceField(choices=DeviceKey.Algorithm.values)
    created_at = serializers.DateTimeField(help_text="Since when it has been this guest's.")
    last_used_at = serializers.DateTimeField()


class KeysOutput(serializers.Serializer[Any]):
    keys = KeyOutput(many=True)


class RecoveryCodeOutput(serializers.Serializer[Any]):
    recovery_code = serializers.CharField(help_text="Told once.")
    expires_at = serializers.DateTimeField(help_text="In a year.")


class SessionsOutput(serializers.Serializer[Any]):
    sessions = SessionOutput(many=True)


class ProblemCause(serializers.Serializer[Any]):
    pointer = serializers.CharField(help_text="JSON pointer into the body.")
    code = serializers.CharField()
    detail = serializers.CharField()


class ProblemOutput(serializers.Serializer[Any]):
    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField(help_text="Stable; for programs.")
    errors = ProblemCause(many=True, required=False)  # type: ignore[assignment]
    tracking_id = serializers.CharField(required=False)
    tries_left = serializers.IntegerField(required=False)
    challenge = serializers.DictField(
        required=False, help_text="With `bot_check_required`; its `type` says what it is."
    )
    retry_after = serializers.IntegerField(required=False, help_text="Likewise: seconds until it goes without.")


def render_session(session: Session, *, current: Session | None) -> dict[str, Any]:
    return {
        "id": str(session.id),
        "kind": session.kind,
        "client_id": session.application.client_id if session.application else None,
        "user_agent": session.user_agent,
        "device": {name: session.device[name] for name in DEVICE if session.device.get(name)},
        "created_at": _time(session.created_at),
        "last_used_at": _time(session.last_used_at),
        "expires_at": _time(session.expires_at),
        "current": current is not None and session.id == current.id,
    }


def render_userinfo(info: UserInfo, session: Session) -> dict[str, Any]:
    return {
        "sub": info.sub,
        "is_anonymous": info.is_anonymous,
        "is_verified": info.is_verified,
        "created_at": _time(info.created_at),
        "login_ids": [{"type": one.type, "value": one.value, "verified": one.verified} for one in info.login_ids],
        "session": render_session(session, current=session),
    }


def render_tokens(tokens: Tokens) -> dict[str, Any]:
    body = {"token_type": tokens.token_type, "access_token": tokens.access_token, "expires_in": tokens.expires_in}
    return body if tokens.refresh_token is None else body | {"refresh_token": tokens.refresh_token}


def render_signup(signed_up: SignedUp, info: UserInfo, tokens: Tokens | None) -> dict[str, Any]:
    body = render_userinfo(info, signed_up.session) | {"created": signed_up.created}
    return body if tokens is None else body | render_tokens(tokens)


def render_signed_in(session: Session, tokens: Tokens | None, superseded: EndUser | None) -> dict[str, Any]:
    body = render_userinfo(userinfo(session.end_user), session)
    body |= {} if superseded is None else {"superseded_guest": str(superseded.pk)}
    return body if tokens is None else body | render_tokens(tokens)


def render_pending(pending: Pending) -> dict[str, Any]:
    told = {} if pending.handle is None else {"handle": pending.handle}
    sent = {"sent_to": pending.sent.to, "expires_at": _time(pending.sent.expires_at)}
    return {"promotion": told | sent}


def render_code_login(pending: PendingLogin) -> dict[str, Any]:
    return {"handle": pending.handle, "expires_at": _time(pending.expires_at)}


def render_challenge(issued: Issued) -> dict[str, Any]:
    return {"challenge": issued.secret, "expires_at": _time(issued.expires_at)}


def render_key(key: DeviceKey) -> dict[str, Any]:
    return {
        "kid": key.key_id,
        "algorithm": key.algorithm,
        "created_at": _time(key.created_at),
        "last_used_at": _time(key.last_used_at),
    }


def render_recovery_code(issued: RecoveryCode) -> dict[str, Any]:
    return {"recovery_code": issued.code, "expires_at": _time(issued.expires_at)}


def user_claims(info: UserInfo) -> dict[str, Any]:
    """The facts about a user as the native API's access tokens carry them."""
    return {"is_anonymous": info.is_anonymous, "is_verified": info.is_verified}


def _time(moment: Any) -> str:
    return str(moment.strftime("%Y-%m-%dT%H:%M:%SZ"))
