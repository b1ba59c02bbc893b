"""Example calls and answers for the reference page, made from the OpenAPI document so that they cannot fall behind."""

import json
import re
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

SAMPLES: dict[str, Any] = {
    "access_token": "eyJhbGciOiJFUzI1NiIsInR5…",
    "algorithm": "ES256",
    "challenge": "7ZK4M0Q2XJ8T5WCV1N9RDHB3FSEG6PYA",
    "client_id": "guestbook-web",
    "code": "123456",
    "created": True,
    "created_at": "2026-03-01T09:30:00Z",
    "current": True,
    "expires_at": "2026-03-31T09:41:12Z",
    "expires_in": 1800,
    "handle": "4XnZ0cV7…",
    "id": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "is_anonymous": True,
    "is_verified": False,
    "kind": "token",
    "kid": "c0Jv1mCqHnE0b2UqY6-aXw3P9LZKf4TgRs8NdWiQ7hM",
    "last_used_at": "2026-03-01T09:41:12Z",
    "login_id": "anna@example.com",
    "password": "correct horse battery staple",
    "recovery_code": "7ZK4-M0Q2-XJ8T-5WCV",
    "refresh_token": "fJ5meXQlQN6US-B_wfkK5w.0.Kq3V…",
    "sent_to": "a…@example.com",
    "signed_request": "eyJ0eXAiOiJ2bmQuYXV0aGdlYXIu…",
    "sub": "0b9f0e52-6a5e-4c0f-9c5e-0f2e3f7f0c11",
    "superseded_guest": "c2f1a7de-4f6a-4d0e-9a57-3d1f0f2b8a90",
    "token_type": "Bearer",
    "type": "email",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64) …",
    "value": "anna@example.com",
    "verified": True,
}
# What is else in a shape; None: left out, for it is rare.
SAMPLES_OF: dict[str, dict[str, Any]] = {
    "SessionOutput": {"device": {}},
    "ChallengeOutput": {"expires_at": "2026-03-01T09:35:00Z"},
    "RecoveryCodeOutput": {"expires_at": "2027-03-01T09:30:00Z"},
    "UserInfoOutput": {"login_ids": []},
    "SignupOutput": {"login_ids": []},
    "RecoverOutput": {"login_ids": [], "created": False},
    "SignedInOutput": {"is_anonymous": False, "is_verified": True, "superseded_guest": None},
}
# What a shell puts in: nothing that has a character at which a shell would split.
VARIABLES = {
    "refresh_token": "'$REFRESH_TOKEN'",
    "handle": "'$HANDLE'",
    "code": "'$CODE'",
    "signed_request": "'$SIGNED_REQUEST'",
    "recovery_code": "'$RECOVERY_CODE'",
}
PATH_VARIABLES = {"{session_id}": "$SESSION_ID", "{handle}": "$HANDLE", "{kid}": "$KEY_ID"}
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
    for parameter, variable in PATH_VARIABLES.items():
        path = path.replace(parameter, variable)
    lines = [f"curl {'' if method == 'get' else f'-X {method.upper()} '}{origin}{path}"]
    if authenticated:
        lines.append('-H "Authorization: Bearer $ACCESS_TOKEN"')
    if body is not None:
        lines += ['-H "Content-Type: application/json"', f"-d '{example_body(schema, body)}'"]
    return " \\\n  ".join(lines)


def example_body(schema: dict[str, Any], node: dict[str, Any]) -> str:
    """What has to be sent, and what has a default that tells something."""
    shape = resolve(schema, node)
    values = []
    for name, child in shape.get("properties", {}).items():
        if name in shape.get("required", ()) or child.get("default"):
            nested = resolve(schema, child).get("type") == "object"
            value = example_body(schema, child) if nested else f'"{VARIABLES.get(name, SAMPLES[name])}"'
            values.append(f'"{name}": {value}')
    return f"{{{', '.join(values)}}}"


def example_answer(schema: dict[str, Any], node: dict[str, Any] | None) -> Any:
    """An answer of this shape, or None where there is no body."""
    if node is None:
        return None
    shape = resolve(schema, node)
    if shape.get("type") == "array":
        return [example_answer(schema, shape["items"])]
    samples = SAMPLES_OF.get(node.get("$ref", "").rpartition("/")[2], {})
    answer = {}
    for name, child in shape["properties"].items():
        nested = resolve(schema, child).get("type") in ("object", "array")
        if name in samples:
            answer[name] = samples[name]
        else:
            answer[name] = example_answer(schema, child) if nested else SAMPLES[name]
    return {name: value for name, value in answer.items() if value is not None}


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
