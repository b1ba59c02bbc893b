"""Logs as JSON, one object a line (`LOG_FORMAT=json`), and an ID for each request.

Fields and sizes are bounded, and what identifies a person or opens an account stays out: no path, query, header, body,
address. Exceptions are told by their type and where they passed, never by their text, which quotes rows.
"""

import json
import logging
import re
import time
import traceback
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # granian's main process imports this file, which needs no Django for it
    from django.http import HttpRequest, HttpResponse

MESSAGE_MAX = 1000
NAME_MAX = 120
STACK_MAX = 40
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
QUIET = ("/healthz", "/readyz")

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The ID of the request that is being answered, blank outside of one."""

# What proxies make: 32 hexadecimal digits, or a UUID. Nothing else is an ID: a token would be kept in every line.
FOREIGN_ID = re.compile(r"[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}", re.ASCII)

# What no message of ours holds, and one of somebody else's might.
SCRUBBED = (
    (re.compile(r"\?[^\s'\"]+"), "?(query)"),
    (re.compile(r"://[^\s/'\"]*@"), "://(credentials)@"),
    (re.compile(r"[^\s@<>\"'=:,;()]+@[^\s@<>\"',;()]+"), "(email)"),
    (re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])"), "(address)"),
    (re.compile(r"(?<![\w:.])(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}(?![\w:])"), "(address)"),
    (re.compile(r"(?<![\w:.])[0-9a-fA-F:.]*::[0-9a-fA-F:.]*(?![\w:])"), None),
    (re.compile(r"(?<![\w+/.~-])[\w+/.~-]{24,}={0,2}"), None),
)


class JsonFormatter(logging.Formatter):
    """One JSON object: `time`, `level`, `logger`, `message`, `request_id`; of an answered request `method`, `route`,
    `status`, `duration_ms`; of an exception `exception` with `type` and `stack`."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name[:NAME_MAX],
            "message": message_of(record),
            # Django has the last word about a failure, outside of all middleware.
            "request_id": request_id.get() or getattr(getattr(record, "request", None), "request_id", ""),
        }
        for name in ("method", "route", "status", "duration_ms"):
            if name in vars(record):
                fields[name] = vars(record)[name]
        if record.exc_info and record.exc_info[0]:
            fields["exception"] = told(*record.exc_info)
        return json.dumps(fields, ensure_ascii=True, default=str)


def message_of(record: logging.LogRecord) -> str:
    """What a line says, short and without what it must not say. Django puts the path into lines about a request."""
    try:
        message = record.getMessage()
    except Exception:  # a line that cannot be formatted is no reason to lose it
        message = str(record.msg)
    if (request := getattr(record, "request", None)) is not None and (path := getattr(request, "path", "")) != "/":
        message = message.replace(path, route_of(request) or "(no route)") if path else message
    return scrubbed(message)[:MESSAGE_MAX]


def scrubbed(text: str) -> str:
    """Queries, e-mail and IP addresses, and what looks like a secret, each replaced by a word."""
    text = text[: 4 * MESSAGE_MAX]
    for pattern, word in SCRUBBED:
        text = pattern.sub(word or _scrub, text)
    return text


def _scrub(found: re.Match[str]) -> str:
    """An IPv6 address in short form, or something long that is no word: a UUID names a row and opens nothing."""
    text = found[0]
    if ":" in text:
        return "(address)" if len(text) > 2 else text
    is_word = not re.search(r"\d", text) and ("." in text or text.lower() == text)
    return text if is_word or FOREIGN_ID.fullmatch(text) else "(secret)"


def told(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> dict[str, Any]:
    """An exception's type and the last frames it came through, with the types it came from."""
    frames = traceback.extract_tb(trace)[-STACK_MAX:]
    stack = [f"{'/'.join(PurePath(frame.filename).parts[-3:])}:{frame.lineno} {frame.name}"[:200] for frame in frames]
    causes: list[str] = []
    while error is not None and (error := error.__cause__ or error.__context__) and len(causes) < 5:
        causes.append(_name(type(error)))
    return {"type": _name(kind), "causes": causes, "stack": stack}


def _name(kind: type[BaseException]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"[:NAME_MAX]


def route_of(request: "HttpRequest") -> str:
    """The name of the URL pattern, which is one of a few; blank where none was found."""
    match = getattr(request, "resolver_match", None)
    return str(match.view_name or match.route)[:NAME_MAX] if match else ""


class RequestLogMiddleware:
    """Gives each request an ID (`X-Request-Id` of the answer), and a line when it is answered. Stands first.

    An ID that comes along is kept where a proxy of ours sent it (TRUSTED_PROXIES) and it looks like one.
    """

    def __init__(self, get_response: "Callable[[HttpRequest], HttpResponse]") -> None:
        from django.conf import settings

        self.get_response = get_response
        self.trusts = settings.TRUSTED_PROXIES > 0
        self.logger = logging.getLogger("config.access")

    def __call__(self, request: "HttpRequest") -> "HttpResponse":
        began = time.perf_counter()
        foreign = request.headers.get("X-Request-Id", "") if self.trusts else ""
        given = foreign if FOREIGN_ID.fullmatch(foreign) else str(uuid.uuid4())
        vars(request)["request_id"] = given
        token = request_id.set(given)
        try:
            response = self.get_response(request)
            response.headers["X-Request-Id"] = given
            is_told = request.path_info not in QUIET or response.status_code >= 400
            if is_told and self.logger.isEnabledFor(logging.INFO):
                self.logger.info(
                    "request",
                    extra={
                        "method": request.method if request.method in METHODS else "OTHER",
                        "route": route_of(request) or (request.path_info if request.path_info in QUIET else ""),
                        "status": response.status_code,
                        "duration_ms": round((time.perf_counter() - began) * 1000, 1),
                    },
                )
            return response
        finally:
            request_id.reset(token)


def logging_config(format: str, level: str) -> dict[str, Any]:
    """Django's LOGGING. `format` is `line`, for people, or `json`."""
    as_json = {"()": "config.logs.JsonFormatter"}
    as_line = {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"chosen": as_json if format == "json" else as_line},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "chosen"}},
        "loggers": {
            # One line for every 404 of every scanner helps nobody; answers of ours that matter are logged by us.
            "django.request": {"level": "ERROR"},
            # A developer sees requests in the browser.
            "config.access": {"level": "INFO" if format == "json" else "WARNING"},
        },
        "root": {"handlers": ["console"], "level": level},
    }
