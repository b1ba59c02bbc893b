"""What goes over the wire: JSON in and out, and refusals in the tools' words.

The content type of every answer with a body is exactly `application/json`: the tools compare it literally.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse

from anonusers.errors import (
    AlreadyConfirmed,
    AnonUsersError,
    Busy,
    CleanupRefused,
    ErasureForbidden,
    GuestGone,
    InvalidLoginID,
    InvalidToken,
    LoginIDTaken,
    ProviderDisabled,
    RateLimited,
    UserDisabled,
    WeakPassword,
)

BODY_MAX = 16 * 1_048_576
"""Bytes of an app directory that is sent as JSON; other bodies are small."""
DEPTH_MAX = 60

encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class Refusal(Exception):
    """An answer that is no success: nothing was changed."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.code, self.text = status, code, text


def invalid_session() -> Refusal:
    """On this code, and on no other, the tools refresh their token and ask again."""
    return Refusal(HTTPStatus.UNAUTHORIZED, "InvalidSession", "invalid session")


def bad_request(text: str, code: str = "BadRequest") -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, code, text)


def not_found(what: str, code: str) -> Refusal:
    return Refusal(HTTPStatus.NOT_FOUND, code, f"{what} not found")


# Error of the domain → status and the API's code. What is not listed is a bad request in its own words.
WORDS: Mapping[type[AnonUsersError], tuple[int, str]] = {
    AlreadyConfirmed: (HTTPStatus.BAD_REQUEST, "UserAlreadyConfirmed"),
    Busy: (HTTPStatus.SERVICE_UNAVAILABLE, "InternalServerError"),
    CleanupRefused: (HTTPStatus.CONFLICT, "BadRequest"),
    ErasureForbidden: (HTTPStatus.CONFLICT, "BadRequest"),
    InvalidLoginID: (HTTPStatus.BAD_REQUEST, "InvalidParameter"),
    InvalidToken: (HTTPStatus.UNAUTHORIZED, "InvalidSession"),
    LoginIDTaken: (HTTPStatus.CONFLICT, "AccountNameInUse"),
    GuestGone: (HTTPStatus.NOT_FOUND, "UserNotFound"),
    ProviderDisabled: (HTTPStatus.NOT_FOUND, "AuthProviderNotFound"),
    RateLimited: (HTTPStatus.TOO_MANY_REQUESTS, "TooManyRequests"),
    UserDisabled: (HTTPStatus.FORBIDDEN, "UserDisabled"),
    WeakPassword: (HTTPStatus.BAD_REQUEST, "BadRequest"),
}


def refusal_of(error: AnonUsersError) -> Refusal:
    """An error of the domain in the API's words."""
    known = next((WORDS[cls] for cls in type(error).__mro__ if cls in WORDS), (HTTPStatus.BAD_REQUEST, "BadRequest"))
    return Refusal(known[0], known[1], error.message)


def answer(data: Any = None, status: int = HTTPStatus.OK) -> HttpResponse:
    """JSON that nobody caches; without data there is no content and no content type."""
    if data is None:
        response = HttpResponse(status=HTTPStatus.NO_CONTENT if status == HTTPStatus.OK else status)
        del response.headers["Content-Type"]
    else:
        response = HttpResponse(encode(data), status=status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def refuse(refusal: Refusal) -> HttpResponse:
    response = answer({"error": refusal.text, "error_code": refusal.code}, refusal.status)
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def read(request: HttpRequest) -> Any:
    """The JSON of a request; nothing is an empty object. Raises: Refusal"""
    # Not `request.body`, whose bound is that of forms: an app directory with its functions is larger.
    content = request.read(BODY_MAX + 1)
    if len(content) > BODY_MAX:
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "BadRequest", "the request is too large")
    if not content.strip():
        return {}
    try:
        data = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise bad_request("the request is not valid JSON") from None
    if not _is_storable(data):
        raise bad_request("the request is nested too deeply, or has NUL characters")
    return data


def read_object(request: HttpRequest) -> dict[str, Any]:
    """The JSON object of a request. Raises: Refusal"""
    data = read(request)
    if not isinstance(data, dict):
        raise bad_request("the request must be a JSON object")
    return data


def text_in(data: Mapping[str, Any], name: str, *, required: bool = True, most: int = 1000) -> str:
    """A text of the request. Raises: Refusal"""
    value = data.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or (required and not value):
        raise bad_request(f"{name} must be a text", "MissingParameter" if value in (None, "") else "InvalidParameter")
    if len(value) > most:
        raise bad_request(f"{name} is too long", "InvalidParameter")
    return value


def without_nul(text: str) -> str:
    """Part of a URL, to be looked for in the database: PostgreSQL knows no NUL, and nothing is called so."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)  # NaN and Infinity are no JSON


def _is_storable(data: Any, depth: int = 0) -> bool:
    """PostgreSQL stores no NUL and no half of a surrogate pair."""
    if isinstance(data, str):
        return "\0" not in data and not any("\ud800" <= character <= "\udfff" for character in data)
    if depth > DEPTH_MAX:
        return not isinstance(data, dict | list)
    if isinstance(data, dict):
        return all(_is_storable(key) and _is_storable(value, depth + 1) for key, value in data.items())
    return not isinstance(data, list) or all(_is_storable(value, depth + 1) for value in data)
