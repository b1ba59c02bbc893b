"""Authgear's words: claims, bodies, answers, and the tables that turn our errors into its two dialects.

The only place with vendor strings. Read from the sources of authgear-server and of its SDKs.
"""

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.http import HttpResponse
from rest_framework.exceptions import ValidationError

from anonusers.errors import AnonUsersError, LoginIDTaken, RateLimited, SignupVetoed
from anonusers.models import Session
from anonusers.onetime import CHALLENGES
from anonusers.protocols.base import answer
from anonusers.protocols.body import StrictCharField, StrictChoiceField, StrictSerializer
from anonusers.protocols.errors import MalformedJSON, RefreshTokenRefused, Unexpected, ValidationFailed
from anonusers.sessions import Tokens
from anonusers.userinfo import UserInfo

CLAIM = "https://authgear.com/claims/user/"
FULL_ACCESS = "https://authgear.com/scopes/full-access"
FULL_USERINFO = "https://authgear.com/scopes/full-userinfo"
SCOPES_GRANTED = frozenset(
    ("openid", "offline_access", "profile", "email", "phone", "address", FULL_ACCESS, FULL_USERINFO)
)
# The SDKs ask for these by an option of theirs, and do without.
SCOPES_IGNORED = frozenset(("device_sso", "https://authgear.com/scopes/pre-authenticated-url"))
SCOPES_FIRST_PARTY = frozenset(("offline_access", "device_sso", FULL_ACCESS))
LOGIN_HINT = "https://authgear.com/login_hint?"
LOGIN_HINTS = {
    "anonymous": ("promotion_code", "jwt"),
    "app_session_token": ("app_session_token",),
    "login_id": ("email", "phone", "username"),
}
GUEST_SCOPE = f"openid offline_access {FULL_ACCESS}"
GRANT_ANONYMOUS_REQUEST = "urn:authgear:params:oauth:grant-type:anonymous-request"
GRANT_ID_TOKEN = "urn:authgear:params:oauth:grant-type:id-token"
# RFC 8693, which Authgear does not have: guests of MongoDB's SDKs go on here.
GRANT_TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
SUBJECT_TOKEN_TYPES = ("urn:ietf:params:oauth:token-type:jwt", ACCESS_TOKEN)


# --- requests -----------------------------------------------------------------------


class SignupBody(StrictSerializer):
    """POST /api/anonymous_user/signup."""

    session_type = StrictChoiceField(choices=["cookie", "refresh_token"])
    client_id = StrictCharField(required=False)
    refresh_token = StrictCharField(required=False, default="")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["session_type"] == "refresh_token" and "client_id" not in attrs:
            raise ValidationError({"client_id": self.fields["client_id"].error_messages["required"]}, "required")
        return attrs


class PromotionCodeBody(StrictSerializer):
    """POST /api/anonymous_user/promotion_code."""

    session_type = StrictChoiceField(choices=["cookie", "refresh_token"])
    refresh_token = StrictCharField(required=False, default="")


class AppSessionTokenBody(StrictSerializer):
    """POST /oauth2/app_session_token."""

    refresh_token = StrictCharField()


class ChallengeBody(StrictSerializer):
    """POST /oauth2/challenge."""

    purpose = StrictCharField()

    def validate_purpose(self, purpose: str) -> str:
        if purpose not in CHALLENGES:
            raise ValidationError("unknown challenge purpose", code="general")
        return purpose


SESSION_KINDS = {"cookie": Session.Kind.COOKIE, "refresh_token": Session.Kind.TOKEN}


# --- answers ------------------------------------------------------------------------


def user_claims(info: UserInfo) -> Mapping[str, Any]:
    """The facts about a user as every token and the UserInfo answer carry them."""
    return {
        f"{CLAIM}is_anonymous": info.is_anonymous,
        f"{CLAIM}is_verified": info.is_verified,
        f"{CLAIM}can_reauthenticate": info.can_reauthenticate,
        f"{CLAIM}roles": [],
    }


def id_token_sid(session: Session) -> str:
    """`sid` of ID tokens: base64url of `idp:<id>` or `offline_grant:<id>`."""
    kind = "idp" if session.kind == Session.Kind.COOKIE else "offline_grant"
    return base64.urlsafe_b64encode(f"{kind}:{session.id}".encode()).rstrip(b"=").decode()


def render_userinfo(info: UserInfo) -> dict[str, Any]:
    """iOS and Android refuse an answer without the booleans and the object `custom_attributes`."""
    return {
        "sub": info.sub,
        **user_claims(info),
        **_standard_claims(info),
        f"{CLAIM}recovery_code_enabled": False,
        f"{CLAIM}authenticators": _authenticators(info),
        f"{CLAIM}identities": _identities(info),
        "updated_at": int(info.created_at.timestamp()),
        "custom_attributes": {},
        "x_web3": {},
    }


def _standard_claims(info: UserInfo) -> dict[str, Any]:
    """OpenID Connect Core §5.1."""
    claims: dict[str, Any] = {}
    if email := info.first("email"):
        claims |= {"email": email.value, "email_verified": email.verified}
    if phone := info.first("phone"):
        claims |= {"phone_number": phone.value, "phone_number_verified": phone.verified}
    if username := info.first("username"):
        claims["preferred_username"] = username.value
    return claims


def _identities(info: UserInfo) -> list[dict[str, Any]]:
    if info.anonymous_since:
        return [{"type": "anonymous", **_times(info.anonymous_since)}]
    return [
        {"type": "login_id", "login_id_key": one.type, "login_id_type": one.type, **_times(one.created_at)}
        for one in info.login_ids
    ]


def _authenticators(info: UserInfo) -> list[dict[str, Any]]:
    found = []
    if info.has_password:
        found.append({"type": "password", "kind": "primary", **_times(info.created_at)})
    kinds = {"email": "oob_otp_email", "phone": "oob_otp_sms"}
    found += [
        {"type": kinds[one.type], "kind": "primary", **_times(one.created_at)}
        for one in info.login_ids
        if one.type in kinds and one.verified
    ]
    return found


def _times(moment: datetime) -> dict[str, str]:
    return {"created_at": rfc3339(moment), "updated_at": rfc3339(moment)}


def rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def render_tokens(tokens: Tokens) -> dict[str, Any]:
    body: dict[str, Any] = {
        "token_type": "Bearer",
        "access_token": tokens.access_token,
        "expires_in": tokens.expires_in,
    }
    if tokens.refresh_token is not None:
        body["refresh_token"] = tokens.refresh_token
    if tokens.id_token is not None:
        body["id_token"] = tokens.id_token
    return body


# --- errors of the API family: {"error": {name, reason, message, code, info?}} ---------

STATUS = {
    "BadRequest": 400,
    "Invalid": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "NotFound": 404,
    "AlreadyExists": 409,
    "RequestEntityTooLarge": 413,
    "TooManyRequest": 429,
    "InternalError": 500,
    "ServiceUnavailable": 503,
}

TYPE_NOT_ALLOWED = (
    "anonymous users are not supported for this application type, use SPA, Traditional Web App or Native App instead"
)

# code → (name, reason, message)
API_WORDS: dict[str, tuple[str, str, str]] = {
    "error": ("Invalid", "Invalid", "invalid request"),
    "anonymous_users_disabled": ("Invalid", "Invalid", "anonymous user disallowed"),
    "public_signup_disabled": ("Forbidden", "NoPublicSignup", "public signup is disabled"),
    "signup_vetoed": ("Forbidden", "HookDisallowed", "disallowed by hook event handler"),
    "rate_limited": ("TooManyRequest", "RateLimited", "request rate limited"),
    "bot_check_required": ("TooManyRequest", "RateLimited", "request rate limited"),  # SDKs can only wait
    "unknown_project": ("NotFound", "AppNotFound", "app not found"),
    "unknown_application": ("Invalid", "Invalid", "invalid client ID"),
    "application_type_not_allowed": ("Invalid", "Invalid", TYPE_NOT_ALLOWED),
    "client_secret_required": ("Invalid", "Invalid", "client secret is required"),
    "client_secret_wrong": ("Invalid", "Invalid", "invalid client secret"),
    "user_is_regular": ("Invalid", "Invalid", "user logged in as normal user"),
    "invalid_token": ("Invalid", "Invalid", "invalid refresh token"),
    "scope_too_wide": ("Invalid", "Invalid", "invalid scope"),
    "not_signed_in": ("Unauthorized", "Unauthorized", "authentication required"),
    "unknown_session": ("NotFound", "NotFound", "session not found"),
    "idempotency_key_reused": ("Invalid", "Invalid", "the idempotency key was used with another request"),
    "authorization_code_refused": ("Forbidden", "Forbidden", "invalid authorization code"),
    "refresh_token_refused": ("Forbidden", "Forbidden", "invalid refresh token"),
    "invalid_login_id": ("Invalid", "ValidationFailed", "invalid login ID"),
    "login_id_not_allowed": ("Invalid", "Invalid", "login ID not allowed"),
    "login_id_taken": ("Invalid", "InvariantViolated", "identity already exists"),
    "weak_password": ("Invalid", "PasswordPolicyViolated", "password policy violated"),
    "code_wrong": ("Forbidden", "InvalidCredentials", "invalid code"),
    "code_expired": ("Forbidden", "InvalidCredentials", "the code has expired"),
    "code_not_sent": ("ServiceUnavailable", "ServiceUnavailable", "the code could not be sent"),
    "flow_gone": ("NotFound", "NotFound", "the flow is not valid any more"),
    "guest_gone": ("Forbidden", "Forbidden", "the user is disabled or deleted"),
    "user_disabled": ("Forbidden", "DisabledUser", "user is disabled"),
    "credentials_wrong": ("Unauthorized", "InvalidCredentials", "invalid credentials"),
    "busy": ("ServiceUnavailable", "ServiceUnavailable", "service unavailable"),
    "idempotency_key_spent": ("AlreadyExists", "AlreadyExists", "the idempotency key is spent"),
    "key_proof_refused": ("Unauthorized", "InvalidCredentials", "invalid credentials"),
    "key_taken": ("AlreadyExists", "AlreadyExists", "the key was used before"),
    "key_exists": ("AlreadyExists", "AlreadyExists", "the user has a key"),
    "unknown_key": ("NotFound", "NotFound", "key not found"),
    "recovery_code_wrong": ("Unauthorized", "InvalidCredentials", "invalid recovery code"),
    "dpop_proof_refused": ("Invalid", "InvalidDPoPProof", "invalid DPoP proof"),
    "seal_broken": ("InternalError", "UnexpectedError", "unexpected error occurred"),
    "password_length": ("Invalid", "PasswordPolicyViolated", "password policy violated"),
    "provider_disabled": ("NotFound", "NotFound", "there is no such way to sign in"),
    "registration_unconfirmed": ("Forbidden", "Forbidden", "the address is not confirmed"),
    "already_confirmed": ("Invalid", "Invalid", "the address is confirmed already"),
    "link_not_configured": ("Invalid", "Invalid", "no page for links is configured"),
    "guest_not_allowed": ("Forbidden", "Forbidden", "not for anonymous users"),
    "api_key_wrong": ("NotFound", "NotFound", "API key not found"),
    "api_key_refused": ("Invalid", "Invalid", "the API key cannot be made"),
    "api_key_taken": ("AlreadyExists", "AlreadyExists", "there is an API key of this name"),
    "migration_not_finished": ("ServiceUnavailable", "ServiceUnavailable", "the migration is not finished"),
    "application_mismatch": ("Forbidden", "Forbidden", "the token belongs to another client"),
    "function_not_found": ("NotFound", "NotFound", "function not found"),
    "invalid_project_file": ("InternalError", "UnexpectedError", "unexpected error occurred"),
    "invalid_realm_files": ("InternalError", "UnexpectedError", "unexpected error occurred"),
    "cleanup_refused": ("InternalError", "UnexpectedError", "unexpected error occurred"),
    "erasure_forbidden": ("InternalError", "UnexpectedError", "unexpected error occurred"),
    "bad_request": ("BadRequest", "BadRequest", "bad request"),
    "content_type_refused": ("BadRequest", "BadRequest", "request content type is invalid"),
    "malformed_json": ("BadRequest", "InvalidJSON", "invalid JSON"),
    "validation_failed": ("Invalid", "ValidationFailed", "invalid request body"),
    "body_too_large": ("RequestEntityTooLarge", "RequestEntityTooLarge", "request body too large"),
    "endpoint_not_found": ("NotFound", "NotFound", "not found"),
    "method_refused": ("BadRequest", "BadRequest", "method not allowed"),
    "untrusted_origin": ("Forbidden", "Forbidden", "cross-site request refused"),
    "unsupported_grant_type": ("Invalid", "Invalid", "grant type is not supported"),
    "service_unavailable": ("ServiceUnavailable", "ServiceUnavailable", "service unavailable"),
    "unexpected": ("InternalError", "UnexpectedError", "unexpected error occurred"),
}


FULL_ACCESS_MISSING = "the client is not authorized to have full user access"


def render_api_error(error: AnonUsersError) -> HttpResponse:
    name, reason, message = API_WORDS[error.code]
    status = 405 if error.code == "method_refused" else STATUS[name]
    body: dict[str, Any] = {"name": name, "reason": reason, "message": message, "code": status}
    match error:
        case RefreshTokenRefused() if error.message == FULL_ACCESS_MISSING:
            body["message"] = error.message
        case RefreshTokenRefused() if error.session_is_gone:
            body["reason"] = "InvalidGrant"
        case LoginIDTaken():
            body["info"] = {"cause": {"kind": "DuplicatedIdentity"}}
        case MalformedJSON():
            body["info"] = {"byte_offset": error.byte_offset}
        case ValidationFailed():
            body["info"] = {
                "causes": [
                    {"location": cause.pointer, "kind": cause.kind, "details": _details(cause.info, cause.detail)}
                    for cause in error.causes
                ]
            }
        case RateLimited() if error.budget.startswith("signup"):
            body["info"] = {
                "bucket_name": "SignupAnonymousPerIP",
                "rate_limit": {"name": "authentication.signup_anonymous", "group": "authentication.signup_anonymous"},
                "rate_limit_name": "authentication.signup_anonymous",
            }
        case SignupVetoed():
            reasons = [{"title": error.title, "reason": error.reason}]
            body["info"] = {"event_type": "user.pre_create", "reasons": reasons}
        case Unexpected():
            body["tracking_id"] = error.tracking_id
    return answer({"error": body}, status=status)


def _details(info: Any, detail: str) -> Any:
    return info if info is not None else {"msg": detail}


# --- errors of the OAuth family: {"error", "error_description"} ------------------------

# code → (status, error, description); RFC 6749 §5.2 allows no quotes and no backslash in a description
OAUTH_WORDS: dict[str, tuple[int, str, str]] = {
    "error": (400, "invalid_request", "invalid request"),
    "anonymous_users_disabled": (400, "unauthorized_client", "AnonymousUserDisallowed"),
    "public_signup_disabled": (400, "invalid_request", "public signup is disabled"),
    "signup_vetoed": (400, "invalid_request", "disallowed by hook event handler"),
    "rate_limited": (429, "x_rate_limited", "rate limit exceeded, please try again later."),
    "bot_check_required": (429, "x_rate_limited", "rate limit exceeded, please try again later."),
    "unknown_project": (404, "invalid_request", "app not found"),
    "unknown_application": (400, "invalid_client", "invalid client ID"),
    "application_type_not_allowed": (400, "unauthorized_client", TYPE_NOT_ALLOWED),
    "client_secret_required": (400, "invalid_client", "client secret is required"),
    "client_secret_wrong": (400, "invalid_client", "invalid client secret"),
    "user_is_regular": (400, "invalid_request", "user logged in as normal user"),
    "invalid_token": (400, "invalid_grant", "invalid refresh token"),
    "scope_too_wide": (400, "invalid_scope", "the scope is wider than what was granted"),
    "not_signed_in": (401, "invalid_grant", "valid session is required"),
    "unknown_session": (400, "invalid_grant", "invalid session"),
    "idempotency_key_reused": (400, "invalid_request", "the idempotency key was used with another request"),
    "authorization_code_refused": (400, "invalid_grant", "invalid authorization code"),
    "refresh_token_refused": (400, "invalid_grant", "invalid refresh token"),
    "invalid_login_id": (400, "invalid_request", "invalid login ID"),
    "login_id_not_allowed": (400, "invalid_request", "login ID not allowed"),
    "login_id_taken": (400, "invalid_request", "identity already exists"),
    "weak_password": (400, "invalid_request", "password policy violated"),
    "code_wrong": (400, "invalid_grant", "invalid code"),
    "code_expired": (400, "invalid_grant", "the code has expired"),
    "code_not_sent": (503, "temporarily_unavailable", "the code could not be sent"),
    "flow_gone": (400, "invalid_request", "the flow is not valid any more"),
    "guest_gone": (400, "invalid_grant", "the user is disabled or deleted"),
    "user_disabled": (400, "invalid_grant", "user is disabled"),
    "credentials_wrong": (400, "invalid_grant", "invalid credentials"),
    "busy": (503, "temporarily_unavailable", "service unavailable, please try again"),
    "idempotency_key_spent": (400, "invalid_request", "the idempotency key is spent"),
    "key_proof_refused": (400, "invalid_grant", "InvalidCredentials"),
    "key_taken": (400, "invalid_request", "the key was used before"),
    "key_exists": (400, "invalid_request", "the user has a key"),
    "unknown_key": (400, "invalid_request", "key not found"),
    "recovery_code_wrong": (400, "invalid_grant", "InvalidCredentials"),
    "dpop_proof_refused": (400, "invalid_dpop_proof", "invalid DPoP proof"),
    "seal_broken": (500, "server_error", "internal server error"),
    "password_length": (400, "invalid_request", "password policy violated"),
    "provider_disabled": (404, "invalid_request", "there is no such way to sign in"),
    "registration_unconfirmed": (400, "invalid_request", "the address is not confirmed"),
    "already_confirmed": (400, "invalid_request", "the address is confirmed already"),
    "link_not_configured": (400, "invalid_request", "no page for links is configured"),
    "guest_not_allowed": (400, "invalid_request", "not for anonymous users"),
    "api_key_wrong": (404, "invalid_request", "API key not found"),
    "api_key_refused": (400, "invalid_request", "the API key cannot be made"),
    "api_key_taken": (400, "invalid_request", "there is an API key of this name"),
    "migration_not_finished": (503, "temporarily_unavailable", "the migration is not finished"),
    "application_mismatch": (400, "invalid_client", "the token belongs to another client"),
    "function_not_found": (404, "invalid_request", "function not found"),
    "invalid_project_file": (500, "server_error", "internal server error"),
    "invalid_realm_files": (500, "server_error", "internal server error"),
    "cleanup_refused": (500, "server_error", "internal server error"),
    "erasure_forbidden": (500, "server_error", "internal server error"),
    "bad_request": (400, "invalid_request", "bad request"),
    "content_type_refused": (400, "invalid_request", "request content type is invalid"),
    "malformed_json": (400, "invalid_request", "invalid JSON"),
    "validation_failed": (400, "invalid_request", "invalid request"),
    "body_too_large": (413, "invalid_request", "request body too large"),
    "endpoint_not_found": (404, "invalid_request", "not found"),
    "method_refused": (405, "invalid_request", "method not allowed"),
    "untrusted_origin": (403, "invalid_request", "cross-site request refused"),
    "unsupported_grant_type": (400, "unsupported_grant_type", "grant type is not supported"),
    "service_unavailable": (503, "temporarily_unavailable", "service unavailable, please try again"),
    "unexpected": (500, "server_error", "internal server error"),
}

# Codes whose message says which parameter is wrong.
SAY_MORE = frozenset(("bad_request",))
GRANT_NOT_ALLOWED = "grant type is not allowed for this client"


def render_oauth_error(error: AnonUsersError) -> HttpResponse:
    status, word, description = OAUTH_WORDS[error.code]
    if error.code in SAY_MORE or error.message == GRANT_NOT_ALLOWED:
        description = error.message
    headers = {"Pragma": "no-cache"}
    if status == 401:
        # RFC 6750 §3. Authgear's SDKs need `invalid_grant` to drop a dead session.
        headers["WWW-Authenticate"] = f'Bearer error="{word}", error_description="{description}"'
    return answer({"error": word, "error_description": description}, status=status, headers=headers)
