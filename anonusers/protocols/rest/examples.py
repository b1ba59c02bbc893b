"""Example calls and answers for the reference page, made from the OpenAPI document so that they cannot fall behind."""

import json
import re
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

SAMPLES: dict[str, Any] = {
    "access_token": "eyJhbGciOiJFUzI1NiIsInR5…",
    "client_id": "guestbook-web",
    "created": True,
    "created_at": "2026-03-01T09:30:00Z",
    "current": True,
    "expires_at": "2026-03-31T09:41:12Z",
    "expires_in": 1800,
    "id": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "is_anonymous": True,
    "is_verified": False,
    "kind": "token",
    "last_used_at": "2026-03-01T09:41:12Z",
    "refresh_token": "fJ5meXQlQN6US-B_wfkK5w.0.Kq3V…",
    "sub": "0b9f0e52-6a5e-4c0f-9c5e-0f2e3f7f0c11",
    "token_type": "Bearer",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64) …",
}
# What a shell puts in. Refresh tokens have no character that a shell would split at.
VARIABLES = {"refresh_token": "'$REFRESH_TOKEN'"}
JSON_PARTS = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?|(?<![\w-])(true|false|null|-?\d+)\b')


def resolve(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """The shape that a node of the document names, looking through `$ref` and a lone `allOf`."""
    if len(node.get("allOf", ())) == 1:
        return resolve(schema, node["allOf"][0])
    if "$ref" in node:
        return resolve(schema, schema["components"]["schemas"][node["$ref"].rsplit("/", 1)[1]])
    return node


def example_call(
    schema: dict[str, Any], origin: str, path: str, method: str, body: dict[str, Any] | None, *, authenticated: bool
) -> str:
    """A curl command that works when it is pasted into a shell, in which the tokens are variables."""
    path = path.replace("{session_id}", "$SESSION_ID")
    lines = [f"curl {'' if method == 'get' else f'-X {method.upper()} '}{origin}{path}"]
    if authenticated:
        lines.append('-H "Authorization: Bearer $ACCESS_TOKEN"')
    if body is not None:
        shape = resolve(schema, body)
        names = [
            name for name in shape["properties"] if name in shape["required"] or "default" in shape["properties"][name]
        ]
        values = ", ".join(
            f'"{name}": "{VARIABLES.get(name, SAMPLES[name])}"'
            for name in names
            if shape["properties"][name].get("default") != ""
        )
        lines += ['-H "Content-Type: application/json"', f"-d '{{{values}}}'"]
    return " \\\n  ".join(lines)


def example_answer(schema: dict[str, Any], node: dict[str, Any] | None) -> Any:
    """An answer of this shape, or None where there is no body."""
    if node is None:
        return None
    shape = resolve(schema, node)
    if shape.get("type") == "array":
        return [example_answer(schema, shape["items"])]
    return {
        name: example_answer(schema, child)
        if resolve(schema, child).get("type") in ("object", "array")
        else SAMPLES[name]
        for name, child in shape["properties"].items()
    }


def as_text(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False)


def as_html(text: str) -> SafeString:
    """JSON text with its keys, strings and other values marked for the style sheet."""
    pieces: list[SafeString | str] = []
    position = 0
    for match in JSON_PARTS.finditer(text):
        pieces.append(text[position : match.start()])
        kind = "key" if match[2] else "string" if match[1] else "value"
        pieces.append(format_html('<span class="json-{}">{}</span>{}', kind, match[1] or match[3], match[2] or ""))
        position = match.end()
    pieces.append(text[position:])
    return format_html_join("", "{}", ((piece,) for piece in pieces))


def prose(text: str) -> SafeString:
    """Plain text in which `code` between backticks becomes code."""
    pieces = (format_html("<code>{}</code>", part) if i % 2 else part for i, part in enumerate(text.split("`")))
    return format_html_join("", "{}", ((piece,) for piece in pieces))
