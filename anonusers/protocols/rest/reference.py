"""The reference: the OpenAPI document, and a page for people at /api/v1/."""

import json
import re
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import override
from rest_framework.request import Request

from anonusers.conf import conf
from anonusers.errors import AnonUsersError, RateLimited, all_errors
from anonusers.limits import parse_budget
from anonusers.protocols.base import answer
from anonusers.protocols.errors import Cause, EndpointNotFound, ValidationFailed
from anonusers.protocols.rest.examples import as_html, as_text, example_answer, example_call, prose, resolve
from anonusers.protocols.rest.problems import PROBLEMS, render_problem
from anonusers.protocols.rest.schema import document
from anonusers.protocols.rest.views import NativeView

BUDGETS = (
    "BOT_CHECK_PER_IP",
    "SIGNUP_PER_IP",
    "SIGNUP_PER_APPLICATION",
    "SIGNUP_PER_PROJECT_DAY",
    "SIGNUP_PER_PROJECT",
    "CHALLENGES_PER_IP",
    "KEY_LOGIN_PER_IP",
    "LOGIN_PER_IP",
    "LOGIN_PER_ACCOUNT_AND_IP",
    "LOGIN_PER_ACCOUNT",
    "CODES_PER_IP",
    "CODES_PER_MINUTE",
    "CODES_PER_TARGET",
)
METHODS = ("get", "post", "put", "patch", "delete")
BEARER_CALL = """\
curl {origin}/api/v1/userinfo/ \\
  -H "Authorization: Bearer $ACCESS_TOKEN\""""
COOKIE_CALL = """\
await fetch("/api/v1/signup/", {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({
    client_id: "guestbook-cookie",
    kind: "cookie",
  }),
});
const answer = await fetch("/api/v1/userinfo/");
const me = await answer.json();"""
IDEMPOTENT_CALL = """\
KEY=$(uuidgen)  # once for each new guest
curl -X POST {origin}/api/v1/signup/ \\
  -H "Content-Type: application/json" \\
  -H "Idempotency-Key: $KEY" \\
  -d '{{"client_id": "guestbook-web"}}'"""
EXAMPLE_PROBLEM = ValidationFailed([Cause("/client_id", "type", "Not a valid string.")])


@lru_cache(maxsize=1)
def cached_document() -> dict[str, Any] | None:
    with override("en"):  # for everybody, whoever asks first
        return document()


class SchemaView(NativeView):
    public = True
    schema = None

    def get(self, request: Request) -> HttpResponse:
        schema = cached_document()
        if schema is None:
            raise EndpointNotFound('Install "anonusers[openapi]" to get the schema.')
        headers = {"Cache-Control": "public, max-age=900"}
        return answer(schema | {"servers": [{"url": self.origin}]}, headers=headers)


class ReferenceView(NativeView):
    """The page for people: every operation with its fields, answers and an example call."""

    public = True
    schema = None

    def get(self, request: Request) -> HttpResponse:
        schema = cached_document()
        context = {
            "origin": self.origin,
            "cookie_name": conf.COOKIE_NAME,
            "budgets": {name: _budget(getattr(conf, name)) for name in BUDGETS},
            "bearer_call": BEARER_CALL.format(origin=self.origin),
            "cookie_call": COOKIE_CALL,
            "idempotent_call": IDEMPOTENT_CALL.format(origin=self.origin),
            "operations": _operations(schema, self.origin) if schema else [],
            "problems": _problems(),
            "example_problem": _problem(EXAMPLE_PROBLEM),
            "limited_answer": _problem(RateLimited("signup_per_ip", retry_after=42)),
        }
        with override("en"):  # like the schema; its words are in no catalogue
            response = render(self.http_request, "anonusers/reference.html", context)
        response.headers["Content-Language"] = "en"
        return response


def _budget(text: str) -> str | None:
    budget = parse_budget(text)
    return None if budget is None else f"{budget.amount} per {budget.GRANULARITY.name}"


def _operations(schema: dict[str, Any], origin: str) -> list[dict[str, Any]]:
    return [
        _operation(schema, origin, path, method, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    ]


def _operation(
    schema: dict[str, Any], origin: str, path: str, method: str, operation: dict[str, Any]
) -> dict[str, Any]:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    authenticated = {} not in operation["security"]
    parameters = operation.get("parameters", [])
    return {
        "id": re.sub("([A-Z])", r"-\1", operation["operationId"]).lower(),
        "tag": operation["tags"][0],
        "method": method.upper(),
        "path": path,
        "summary": operation["summary"],
        "description": prose(operation["description"]),
        "authenticated": authenticated,
        "inputs": [
            {"title": title, "fields": fields}
            for title, fields in (
                ("Path", [_parameter(p) for p in parameters if p["in"] == "path"]),
                ("Headers", [_parameter(p) for p in parameters if p["in"] == "header"]),
                ("Body", _fields(schema, body) if body else []),
            )
            if fields
        ],
        "answers": _answers(schema, operation["responses"]),
        "problems": [
            {"code": code, "status": PROBLEMS[code][0], "title": PROBLEMS[code][1]} for code in operation["x-problems"]
        ],
        "call": example_call(schema, origin, path, method, body, authenticated=authenticated),
    }


def _answers(schema: dict[str, Any], responses: dict[str, Any]) -> list[dict[str, Any]]:
    """The successes; statuses that answer with one shape stand together."""
    answers: list[dict[str, Any]] = []
    for status, response in responses.items():
        if int(status) >= 400:
            continue
        shape = response.get("content", {}).get("application/json", {}).get("schema")
        if not answers or answers[-1]["shape"] != shape:
            example = example_answer(schema, shape)
            answers.append(
                {
                    "shape": shape,
                    "statuses": [],
                    "fields": _fields(schema, shape) if shape else [],
                    "example": None if example is None else _code(as_text(example)),
                }
            )
        meaning = {
            "status": status,
            "phrase": HTTPStatus(int(status)).phrase,
            "meaning": prose(response["description"]),
        }
        answers[-1]["statuses"].append(meaning)
    return answers


def _problems() -> list[dict[str, Any]]:
    """Every line of PROBLEMS with its error's own message, by status."""
    messages = {error.code: " ".join((error.__doc__ or "").split()) for error in all_errors()}
    return [
        {"code": code, "status": status, "title": title, "message": prose(messages[code])}
        for code, (status, title) in sorted(PROBLEMS.items(), key=lambda problem: (problem[1][0], problem[0]))
    ]


def _problem(error: AnonUsersError) -> dict[str, str]:
    return _code(as_text(json.loads(render_problem(error).content)))


def _code(text: str) -> dict[str, str]:
    return {"text": text, "html": as_html(text)}


def _parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": parameter["name"],
        "type": parameter["schema"]["type"],
        "format": parameter["schema"].get("format", ""),
        "required": parameter.get("required", False),
        "description": prose(parameter.get("description", "")),
    }


def _fields(schema: dict[str, Any], node: dict[str, Any], prefix: str = "") -> list[dict[str, Any]]:
    """The fields of an object, flat: nested ones as `session.id`, those of lists as `sessions[].id`."""
    node = resolve(schema, node)
    if node.get("type") == "array":
        return _fields(schema, node["items"], f"{prefix}[]")
    fields: list[dict[str, Any]] = []
    for name, child in node.get("properties", {}).items():
        resolved = resolve(schema, child)
        path = f"{prefix}.{name}" if prefix else name
        if nested := _fields(schema, resolved, path):
            fields += nested
            continue
        kind = resolved.get("type", "string")
        fields.append(
            {
                "name": path,
                "type": " or ".join(kind) if isinstance(kind, list) else kind,
                "format": resolved.get("format", ""),
                "choices": resolved.get("enum", []),
                "required": name in node.get("required", []),
                "default": child.get("default", ""),
                "description": prose(child.get("description") or resolved.get("description", "")),
            }
        )
    return fields
