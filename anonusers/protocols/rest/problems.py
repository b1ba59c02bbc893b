"""Errors of the native API: problem details (RFC 9457)."""

from http import HTTPStatus
from typing import Any

from django.http import HttpResponse

from anonusers.errors import AnonUsersError, BotCheckRequired, CodeWrong, SignupVetoed, WeakPassword
from anonusers.protocols.base import answer
from anonusers.protocols.errors import Unexpected, ValidationFailed

# code → (status, title)
PROBLEMS: dict[str, tuple[int, str]] = {
    "error": (400, "Bad request"),
    "anonymous_users_disabled": (403, "Guest accounts are off"),
    "public_signup_disabled": (403, "Sign-up is closed"),
    "signup_vetoed": (403, "Sign-up refused"),
    "rate_limited": (429, "Too many requests"),
    "bot_check_required": (403, "Bot check required"),
    "unknown_project": (404, "Unknown project"),
    "unknown_application": (400, "Unknown application"),
    "application_type_not_allowed": (400, "Guests are not supported here"),
    "client_secret_required": (401, "Client secret required"),
    "client_secret_wrong": (401, "Client secret wrong"),
    "user_is_regular": (409, "Already signed in"),
    "invalid_token": (401, "Invalid token"),
    "scope_too_wide": (400, "Scope too wide"),
    "not_signed_in": (401, "Not signed in"),
    "unknown_session": (404, "Unknown session"),
    "authorization_code_refused": (400, "Invalid authorization code"),
    "refresh_token_refused": (401, "Invalid token"),
    "invalid_login_id": (400, "Invalid login ID"),
    "login_id_not_allowed": (400, "Login ID not allowed"),
    "login_id_taken": (409, "Login ID taken"),
    "weak_password": (400, "Weak password"),
    "password_length": (400, "Weak password"),
    "code_wrong": (400, "Wrong code"),
    "code_expired": (400, "Code expired"),
    "code_not_sent": (503, "Code not sent"),
    "flow_gone": (404, "No such step"),
    "guest_gone": (401, "Account gone"),
    "user_disabled": (403, "Account disabled"),
    "credentials_wrong": (401, "Wrong credentials"),
    "busy": (503, "Busy"),
    "key_proof_refused": (401, "Signed request refused"),
    "key_taken": (409, "Key used before"),
    "key_exists": (409, "Guest has a key"),
    "unknown_key": (404, "Unknown key"),
    "recovery_code_wrong": (400, "Wrong recovery code"),
    "dpop_proof_refused": (401, "DPoP proof refused"),
    "idempotency_key_reused": (422, "Idempotency-Key used before"),
    "idempotency_key_spent": (409, "Idempotency-Key spent"),
    "seal_broken": (500, "Internal error"),
    "provider_disabled": (404, "No such way to sign in"),
    "registration_unconfirmed": (403, "Address not confirmed"),
    "already_confirmed": (409, "Address confirmed before"),
    "link_not_configured": (400, "No page for links"),
    "guest_not_allowed": (403, "Not for guests"),
    "api_key_wrong": (404, "Unknown API key"),
    "api_key_refused": (400, "API key refused"),
    "api_key_taken": (409, "API key exists"),
    "migration_not_finished": (503, "Migration not finished"),
    "application_mismatch": (403, "Other application"),
    "function_not_found": (404, "No such function"),
    "invalid_project_file": (500, "Internal error"),
    "invalid_realm_files": (500, "Internal error"),
    "cleanup_refused": (500, "Internal error"),
    "erasure_forbidden": (500, "Internal error"),
    "bad_request": (400, "Bad request"),
    "content_type_refused": (415, "Content type refused"),
    "malformed_json": (400, "Malformed JSON"),
    "validation_failed": (400, "Invalid body"),
    "body_too_large": (413, "Body too large"),
    "endpoint_not_found": (404, "Not found"),
    "method_refused": (405, "Method not allowed"),
    "untrusted_origin": (403, "Untrusted origin"),
    "unsupported_grant_type": (400, "Unsupported grant type"),
    "service_unavailable": (503, "Service unavailable"),
    "unexpected": (500, "Internal error"),
}

WWW_AUTHENTICATE = 'Bearer realm="anonusers", DPoP algs="ES256 RS256"'  # RFC 9449 §7.1
HIDDEN = frozenset(
    ("seal_broken", "invalid_project_file", "invalid_realm_files", "cleanup_refused", "erasure_forbidden")
)


def render_problem(error: AnonUsersError) -> HttpResponse:
    """`type` leads to the error's line on the reference page; `code` is what programs should look at."""
    status, title = PROBLEMS[error.code]
    body: dict[str, Any] = {
        "type": f"/api/v1/#error-{error.code}",
        "title": title,
        "status": status,
        "detail": HTTPStatus(status).phrase if error.code in HIDDEN else error.message,
        "code": error.code,
    }
    match error:
        case ValidationFailed():
            body["errors"] = [
                {"pointer": f"#{cause.pointer}", "code": cause.kind, "detail": cause.detail} for cause in error.causes
            ]
        case WeakPassword():
            body["errors"] = [
                {"pointer": "#/password", "code": "general", "detail": reason} for reason in error.reasons
            ]
        case CodeWrong():
            body["tries_left"] = error.tries_left
        case BotCheckRequired():
            body |= {"challenge": error.challenge, "retry_after": error.retry_after}
        case SignupVetoed() if error.title:
            body["title"] = error.title
        case Unexpected():
            body["tracking_id"] = error.tracking_id
    headers = {"WWW-Authenticate": WWW_AUTHENTICATE} if status == 401 else {}
    return answer(body, status=status, headers=headers, content_type="application/problem+json")
