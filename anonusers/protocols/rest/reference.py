"""The reference: the OpenAPI document, and a page for people at /api/v1/."""

from functools import lru_cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from rest_framework.request import Request

from anonusers.credentials import origin_of
from anonusers.protocols.base import answer
from anonusers.protocols.errors import EndpointNotFound
from anonusers.protocols.rest.problems import HIDDEN, PROBLEMS
from anonusers.protocols.rest.schema import document
from anonusers.protocols.rest.views import NativeView

METHODS = ("get", "post", "put", "patch", "delete")


@lru_cache(maxsize=1)
def cached_document() -> dict[str, Any] | None:
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


def reference(request: HttpRequest) -> HttpResponse:
    """The reference page: every operation with its fields, answers and an example call."""
    schema = cached_document()
    if schema is None:
        return render(request, "anonusers/reference.html", {"operations": []}, status=404)
    origin = origin_of(request)
    operations = [
        _operation(schema, origin, path, method, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    ]
    problems = [
        {"code": code, "status": status, "title": title}
        for code, (status, title) in sorted(PROBLEMS.items())
        if code not in HIDDEN | {"error"}
    ]
    context = {"operations": operations, "problems": problems, "origin": origin, "info": schema["info"]}
    return render(request, "anonusers/reference.html", context)


def _operation(
    schema: dict[str, Any], origin: str, path: str, method: str, operation: dict[str, Any]
) -> dict[str, Any]:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    fields = _fields(schema, body) if body else []
    answers = []
    for status, response in operation["responses"].items():
        content = next(iter(response.get("content", {}).values()), {})
        problem = "application/problem+json" in response.get("content", {})
        answers.append(
            {
                "status": status,
                "description": response.get("description", ""),
                "problem": problem,
                "fields": [] if problem else _fields(schema, content.get("schema")),
            }
        )
    authenticated = bool(operation.get("security")) and {} not in operation["security"]
    return {
        "id": operation["operationId"],
        "method": method.upper(),
        "path": path,
        "summary": operation.get("summary", ""),
        "description": operation.get("description", ""),
        "parameters": [p for p in operation.get("parameters", []) if p["in"] != "cookie"],
        "fields": fields,
        "answers": answers,
        "authenticated": authenticated,
        "example": _example(origin, path, method, fields, authenticated),
    }


def _example(origin: str, path: str, method: str, fields: list[dict[str, Any]], authenticated: bool) -> str:
    lines = [f"curl {'' if method == 'get' else f'-X {method.upper()} '}{origin}{path}"]
    if authenticated:
        lines.append('  -H "Authorization: Bearer $ACCESS_TOKEN"')
    if fields:
        values = ", ".join(f'"{field["name"]}": "{_sample(field)}"' for field in fields if field["required"])
        lines += ['  -H "Content-Type: application/json"', f"  -d '{{{values}}}'"]
    return " \\\n".join(lines)


def _sample(field: dict[str, Any]) -> str:
    samples = {"client_id": "guestbook-web", "refresh_token": "…"}
    return samples.get(field["name"], "…")


def _fields(schema: dict[str, Any], node: dict[str, Any] | None, prefix: str = "") -> list[dict[str, Any]]:
    """The fields of an object, flat: nested ones as `session.id`, those of lists as `sessions[].id`."""
    node = _resolve(schema, node or {})
    if node.get("type") == "array":
        return _fields(schema, node.get("items"), f"{prefix}[]")
    fields: list[dict[str, Any]] = []
    for name, child in node.get("properties", {}).items():
        resolved = _resolve(schema, child)
        path = f"{prefix}.{name}" if prefix else name
        nested = _fields(schema, resolved, path)
        if nested:
            fields += nested
            continue
        kind = resolved.get("type", "string")
        fields.append(
            {
                "name": path,
                "type": " or ".join(kind) if isinstance(kind, list) else kind,
                "format": resolved.get("format", ""),
                "choices": [choice for choice in resolved.get("enum", []) if choice is not None],
                "required": name in node.get("required", []),
                "description": child.get("description") or resolved.get("description", ""),
            }
        )
    return fields


def _resolve(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    if "allOf" in node and len(node["allOf"]) == 1:
        return _resolve(schema, node["allOf"][0])
    while "$ref" in node:
        node = schema["components"]["schemas"][node["$ref"].rsplit("/", 1)[1]]
    return node
