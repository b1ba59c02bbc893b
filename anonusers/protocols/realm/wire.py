"""MongoDB's words: what clients of Stitch and Realm send and are sent, and the table that turns our errors into theirs.

The only place with vendor strings of this door. Read from the SDKs' sources and from running them; README.md says where
an answer is deliberately not the original's.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpResponse

from anonusers import realm_sessions, statements
from anonusers.errors import AnonUsersError
from anonusers.models import ApiKey, RealmApp, Session, new_object_id
from anonusers.protocols.base import answer
from anonusers.protocols.errors import BadRequest, Cause, ValidationFailed
from anonusers.realm_users import Identity, derived_id, provider_id
from anonusers.registrations import Link

OBJECT_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)
NO_DEVICE = "0" * 24
"""What SDKs take for "none" and do not store."""

METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
HEADERS = "Authorization, Content-Type, Accept, X-BAAS-Request-Origin, X-STITCH-Request-Origin"
EXPOSED = "Retry-After, X-Request-Id"
# The scope of another door's access token that says: everything (custom_token.py).
FULL_ACCESS = "https://authgear.com/scopes/full-access"

NO_ANONYMOUS_LINK = "linking an anonymous identity is not allowed"
NO_API_KEY_LINK = "linking an api-key identity is not allowed"
TAKEN_AT_LINK = "a user already exists with the specified provider"
INVALID_TOKEN_DATA = "invalid token data"
BY_MAIL_ONLY = "this application does not use a function for this"


# --- requests -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Device:
    """What a client says of its device: `id` is 24 hexadecimal digits, `known` is what sessions keep."""

    id: str = NO_DEVICE
    known: dict[str, str] = field(default_factory=dict)


def parse_device(body: Mapping[str, Any]) -> Device:
    """`options.device` of a login. Nothing in it is worth refusing a login for."""
    options = body.get("options")
    device = options.get("device") if isinstance(options, dict) else None
    return _device(device) if isinstance(device, dict) else Device()


def parse_device_query(text: str | None) -> Device:
    """`?device=` of the oldest clients: base64 of the JSON object."""
    if text is None:
        return Device()
    try:
        device = json.loads(base64.b64decode(text[:4096].translate({45: 43, 95: 47, 32: 43}) + "=="))
    except (ValueError, RecursionError):
        device = {}
    return _device(device if isinstance(device, dict) else {})


def _device(device: dict[str, Any]) -> Device:
    told = {
        name: _text(device.get(name)) for name in ("platform", "platformVersion", "appId", "appVersion", "deviceName")
    }
    known = {
        "system": f"{told['platform']} {told['platformVersion']}".strip(),
        "app": f"{told['appId']} {told['appVersion']}".strip(),
        "name": told["deviceName"],
    }
    return Device(
        object_id(device.get("deviceId")) or new_object_id(), {name: text for name, text in known.items() if text}
    )


def _text(value: Any) -> str:
    return value[:100].encode("utf-8", "ignore").decode().replace("\0", "") if isinstance(value, str) else ""


def object_id(value: Any) -> str | None:
    """24 hexadecimal digits, plain or as canonical Extended JSON (`{"$oid": …}`); None for anything else, also for the
    zeros that stand for nothing."""
    text = value.get("$oid") if isinstance(value, dict) else value
    if not isinstance(text, str) or not OBJECT_ID.fullmatch(text.lower()) or text == NO_DEVICE:
        return None
    return text.lower()


def device_id_of(claims: Mapping[str, Any]) -> str:
    """The device that a token was handed to."""
    return object_id(claims.get("baas_device_id")) or NO_DEVICE


def parse_strings(body: Any, *names: str) -> tuple[str, ...]:
    """The strings of a body that have these names.

    Raises: ValidationFailed.
    """
    missing = [name for name in names if body.get(name) is None]
    if missing:
        words = f"missing parameter: {', '.join(missing)}"
        raise ValidationFailed([Cause("", "required", words, {"missing": missing})])
    wrong = [name for name in names if not isinstance(body[name], str)]
    if wrong:
        raise ValidationFailed([Cause(f"/{wrong[0]}", "type", f"{wrong[0]} must be a string")])
    return tuple(body[name] for name in names)


def parse_object(body: Any) -> dict[str, Any]:
    """Raises: BadRequest."""
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body


SECRET = re.compile(r"[0-9A-Za-z]{32}", re.ASCII)


def parse_token(body: dict[str, Any]) -> str:
    """The secret of a link in a mail, from `token` and the `tokenId` that follows from it.

    Raises: BadRequest for what we never sent; ValidationFailed.
    """
    token, id = parse_strings(body, "token", "tokenId")
    if not SECRET.fullmatch(token) or id != token_id(token):
        raise BadRequest(INVALID_TOKEN_DATA)
    return token


def token_id(token: str) -> str:
    return derived_id("token", token)


def link_to(url: str) -> Link | None:
    """Makes links to a page of the app's, which sends back what is in the query. None without a page."""
    if not url:
        return None
    return lambda token: f"{url}{'&' if '?' in url else '?'}token={token}&tokenId={token_id(token)}"


# --- answers --------------------------------------------------------------------------------------


def render_location(origin: str) -> dict[str, str]:
    """Origins without path and slash; `ws_hostname` is for the native SDKs, which go without no answer."""
    return {
        "deployment_model": "GLOBAL",
        "location": "US-VA",
        "hostname": origin,
        "ws_hostname": f"ws{origin.removeprefix('http')}",
    }


def session_id(session: Session) -> str:
    """The session's id in 24 digits."""
    return session.pk.hex[:24]


def access_claims(session: Session, app: RealmApp, user_id: str, device_id: str) -> dict[str, Any]:
    """`user_data` is an object or absent, never null."""
    return {
        "sub": user_id,
        "iss": session_id(session),
        "typ": "access",
        "baas_device_id": device_id,
        "stitch_devId": device_id,
        "baas_domain_id": app.domain_id,
        "stitch_domainId": app.domain_id,
        "user_data": {},
    }


def refresh_claims(session: Session, app: RealmApp, user_id: str, device_id: str) -> dict[str, Any]:
    id = session_id(session)
    return {
        "sub": user_id,
        "typ": "refresh",
        "baas_id": id,
        "stitch_id": id,
        "baas_device_id": device_id,
        "stitch_devId": device_id,
        "baas_domain_id": app.domain_id,
        "stitch_domainId": app.domain_id,
    }


def render_login(*, access_token: str, user_id: str, device_id: str, refresh_token: str = "") -> dict[str, str]:
    """Of a login, or without a refresh token of a link: there a null would end the session."""
    body = {"access_token": access_token, "user_id": user_id, "device_id": device_id}
    return body | {"refresh_token": refresh_token} if refresh_token else body


def render_profile(app: RealmApp, user_id: str, identities: list[Identity]) -> dict[str, Any]:
    data: dict[str, str] = {}
    for identity in reversed(identities):
        data |= identity.data
    return {
        "user_id": user_id,
        "domain_id": app.domain_id,
        "type": "normal",
        "data": data,
        "identities": [_identity(app, identity) for identity in identities],
    }


def _identity(app: RealmApp, identity: Identity) -> dict[str, Any]:
    told = {
        "id": identity.id,
        "provider_type": identity.provider_type,
        "provider_id": provider_id(app, identity.provider_type),
    }
    return told | {"data": identity.data} if identity.data else told


def render_api_key(row: ApiKey, key: str = "") -> dict[str, Any]:
    told = {"_id": row.object_id, "name": row.name, "disabled": row.disabled_at is not None}
    return told | {"key": key} if key else told


# --- errors: {"error", "error_code"}, never null, and the content type without a charset ----------

SESSION = "InvalidSession"
NO_SESSION = "invalid session: failed to find refresh token"  # on these words a log-out forgives
BAD_SIGNATURE = "signature is invalid"
INTERNAL = "internal server error"
AWAY = "the service is unavailable for a moment, try again"
LIMIT = "too many requests, try again later"
NO_PROVIDER = "authentication provider not found"

# code → (status, error_code, text; "" for the error's own words). 401 only where the presented token, or password, is
# to be thrown away: on any other 401 these clients lose the guest, or ask again without end.
WORDS: dict[str, tuple[int, str, str]] = {
    "error": (400, "BadRequest", "bad request"),
    "anonymous_users_disabled": (404, "AuthProviderNotFound", NO_PROVIDER),
    "public_signup_disabled": (403, "AuthError", "sign-up is closed"),
    "signup_vetoed": (403, "AuthError", ""),
    "rate_limited": (429, "TooManyRequests", LIMIT),
    "bot_check_required": (429, "TooManyRequests", LIMIT),  # SDKs can only wait
    "unknown_project": (404, "AppNotFound", "cannot find app"),
    "unknown_application": (404, "AppNotFound", ""),
    "application_type_not_allowed": (404, "AuthProviderNotFound", NO_PROVIDER),
    "client_secret_required": (400, "BadRequest", "client secret is required"),
    "client_secret_wrong": (400, "BadRequest", "invalid client secret"),
    "user_is_regular": (
        400,
        "BadRequest",
        "linking a local-userpass identity is not allowed when one is already linked",
    ),
    "invalid_token": (401, SESSION, BAD_SIGNATURE),
    "scope_too_wide": (400, "BadRequest", "invalid scope"),
    "not_signed_in": (401, SESSION, "must authenticate first"),
    "unknown_session": (404, "BadRequest", "session not found"),
    "idempotency_key_reused": (400, "BadRequest", "the idempotency key was used with another request"),
    "idempotency_key_spent": (409, "BadRequest", "the idempotency key is spent"),
    "authorization_code_refused": (400, "BadRequest", "invalid authorization code"),
    "refresh_token_refused": (401, SESSION, NO_SESSION),
    "invalid_login_id": (400, "BadRequest", "invalid email address"),
    "login_id_not_allowed": (400, "BadRequest", "this kind of name is not used here"),
    "login_id_taken": (409, "AccountNameInUse", "name already in use"),
    "weak_password": (400, "BadRequest", ""),
    "password_length": (400, "BadRequest", "password must be between 6 and 128 characters"),
    "code_wrong": (400, "UserpassTokenInvalid", "userpass token is expired or invalid"),
    "code_expired": (400, "UserpassTokenInvalid", "userpass token is expired or invalid"),
    "code_not_sent": (503, "InternalServerError", "the mail could not be sent, try again"),
    "flow_gone": (400, "UserpassTokenInvalid", "userpass token is expired or invalid"),
    "guest_gone": (401, SESSION, NO_SESSION),
    "user_disabled": (403, "UserDisabled", "user is disabled"),
    "credentials_wrong": (401, "InvalidPassword", "invalid username/password"),
    "busy": (503, "InternalServerError", AWAY),
    "key_proof_refused": (400, "BadRequest", "invalid signed request"),
    "key_taken": (409, "BadRequest", "the key was used before"),
    "key_exists": (409, "BadRequest", "the user has a key"),
    "unknown_key": (404, "BadRequest", "key not found"),
    "recovery_code_wrong": (400, "BadRequest", "invalid recovery code"),
    "dpop_proof_refused": (400, "BadRequest", "invalid DPoP proof"),
    "seal_broken": (500, "InternalServerError", INTERNAL),
    "provider_disabled": (404, "AuthProviderNotFound", NO_PROVIDER),
    "registration_unconfirmed": (401, "AuthError", "confirmation required"),
    "already_confirmed": (400, "UserAlreadyConfirmed", "already confirmed"),
    "link_not_configured": (400, "BadRequest", "no page is configured that a link in a mail could lead to"),
    "guest_not_allowed": (403, "AuthError", "an anonymous user cannot have API keys"),
    "api_key_wrong": (404, "APIKeyNotFound", "API key not found"),
    "api_key_refused": (400, "InvalidParameter", ""),
    "api_key_taken": (409, "APIKeyAlreadyExists", "API key with this name already exists"),
    "migration_not_finished": (503, "MaintenanceInProgress", "accounts are being moved, try again later"),
    "application_mismatch": (403, "UserAppDomainMismatch", "the token belongs to another app"),
    "function_not_found": (404, "FunctionNotFound", ""),
    "invalid_project_file": (500, "InternalServerError", INTERNAL),
    "invalid_realm_files": (500, "InternalServerError", INTERNAL),
    "cleanup_refused": (500, "InternalServerError", INTERNAL),
    "erasure_forbidden": (403, "AuthError", "this user cannot be deleted"),
    "bad_request": (400, "BadRequest", ""),
    "content_type_refused": (400, "BadRequest", "the body cannot be read"),
    "malformed_json": (400, "BadRequest", "the body is not valid JSON"),
    "validation_failed": (400, "InvalidParameter", ""),
    "body_too_large": (413, "BadRequest", "the body is too large"),
    "endpoint_not_found": (404, "NotFound", "there is no such endpoint"),
    "method_refused": (405, "MethodNotAllowed", "this method is not allowed here"),
    "untrusted_origin": (403, "DomainNotAllowed", "request origin is not allowed"),
    "unsupported_grant_type": (400, "BadRequest", "unsupported grant type"),
    "service_unavailable": (503, "InternalServerError", AWAY),
    "unexpected": (500, "InternalServerError", INTERNAL),
}

# What an invalid token is told by, where one of these messages came with it.
TOKEN_WORDS = {
    statements.EXPIRED: "invalid session: access token expired",
    realm_sessions.UNKNOWN: NO_SESSION,
    realm_sessions.OTHER_KIND: "invalid refresh token: incorrect token type",
}


def unknown_app(app_id: str) -> str:
    return f"cannot find app using Client App ID '{app_id[:100]}'"


def confirms_by_itself(email: str) -> str:
    return f"cannot run confirmation for {email[:254]}: automatic confirmation is enabled"


def unknown_function(name: str) -> str:
    return f"function not found: '{name[:100]}'"


def render_error(error: AnonUsersError, *, linking: bool = False) -> HttpResponse:
    """While `linking`, a wrong password and an address that is not confirmed are 400: the 401 of the original makes
    clients repeat the request without end, or throw the guest away."""
    status, code, text = WORDS[error.code]
    match error:
        case ValidationFailed():
            cause = error.causes[0]
            code, text = ("MissingParameter" if cause.kind == "required" else code), cause.detail
        case _ if error.code == "invalid_token":
            text = TOKEN_WORDS.get(error.message, text)
        case _ if error.code == "login_id_taken" and linking:
            text = TAKEN_AT_LINK
    if linking and error.code in ("credentials_wrong", "registration_unconfirmed"):
        status = 400
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return answer({"error": text or error.message, "error_code": code}, status=status, headers=headers)
