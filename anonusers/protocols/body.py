"""Read request bodies strictly: exact content type, bounded size and depth, no coercion, no unknown or double keys."""

import json
import re
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from django.http.request import UnreadablePostError
from rest_framework import serializers
from rest_framework.settings import api_settings

from anonusers.protocols.errors import (
    BadRequest,
    BodyTooLarge,
    Cause,
    ContentTypeRefused,
    MalformedJSON,
    ValidationFailed,
)

JSON_MAX = 1_048_576
FORM_MAX = 65_536
DEPTH_MAX = 32
FORM_FIELDS_MAX = 100

# A string, also one that never ends, or a bracket. Possessive, so that the time is linear in the text.
BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def read_json(request: HttpRequest, *, empty_is_object: bool = False, any_content_type: bool = False) -> Any:
    """The JSON body of a request, whatever it is called with `any_content_type`.

    Raises: ContentTypeRefused, BodyTooLarge, MalformedJSON.
    """
    raw = _read(request, JSON_MAX)
    if empty_is_object and not raw.strip():
        return {}
    if not any_content_type:
        _demand_content_type(request, "application/json")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedJSON(error.start) from None
    _demand_shallow(text)
    try:
        data = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise MalformedJSON(len(text[: error.pos].encode("utf-8", "surrogatepass"))) from None
    except (ValueError, RecursionError):  # int() of thousands of digits; a double key
        raise MalformedJSON from None
    if _has_bad_character(data):
        raise MalformedJSON
    return data


def read_form(request: HttpRequest) -> dict[str, str]:
    """The fields of an `application/x-www-form-urlencoded` body. Query parameters do not count (OAuth 2.1 §5.1.2).

    Raises: ContentTypeRefused, BodyTooLarge, BadRequest for a repeated parameter (RFC 6749 §3.2).
    """
    raw = _read(request, FORM_MAX)
    if raw or request.content_type:
        _demand_content_type(request, "application/x-www-form-urlencoded")
    try:
        pairs = parse_qsl(raw.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=FORM_FIELDS_MAX)
    except (UnicodeDecodeError, ValueError):
        raise BadRequest("the form cannot be read") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise BadRequest("a parameter is repeated")
    if any(_is_bad(text) for pair in pairs for text in pair):
        raise BadRequest("a parameter has a character that is not allowed")
    return fields


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that refuses unknown keys. DRF drops them silently."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):  # of a nested one; the outermost is seen to by validated()
            raise serializers.ValidationError("must be an object", code="invalid")
        unknown = [key for key in data if key not in self.fields]
        if unknown:
            raise serializers.ValidationError({key: ["is not a known key"] for key in unknown}, code="unknown")
        return super().to_internal_value(data)


class StrictCharField(serializers.CharField):
    """A JSON string. DRF turns 1 into "1"."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**({"trim_whitespace": False, "allow_blank": True} | options))

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictChoiceField(serializers.ChoiceField):
    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            raise serializers.ValidationError("is not a string", code="invalid")
        return super().to_internal_value(data)


KINDS = {"required": "required", "null": "type", "invalid": "type", "invalid_choice": "enum"}


def validated(serializer: type[StrictSerializer], data: Any) -> dict[str, Any]:
    """The values of a body that a serializer accepts.

    Raises: ValidationFailed with one cause per problem.
    """
    if not isinstance(data, dict):
        raise ValidationFailed([Cause("", "type", "must be an object")])
    try:
        return dict(_reader(serializer).run_validation(data))
    except serializers.ValidationError as error:
        refused: Any = error.detail
    raise ValidationFailed(_causes("", refused))


def _causes(parent: str, refused: dict[str, Any]) -> list[Cause]:
    """What DRF says is wrong with an object, and with those in it; what is missing comes first."""
    missing: list[str] = []
    causes: list[Cause] = []
    for name, problems in refused.items():
        whole = name == api_settings.NON_FIELD_ERRORS_KEY
        pointer = parent if whole else f"{parent}/{name.replace('~', '~0').replace('/', '~1')}"
        if isinstance(problems, dict):
            causes += _causes(pointer, problems)
            continue
        for problem in problems if isinstance(problems, list) else [problems]:
            kind = KINDS.get(getattr(problem, "code", ""), "general")
            if kind == "required":
                missing.append(name)
            else:
                causes.append(Cause(pointer, kind, str(problem)))
    if missing:
        words = f"missing: {', '.join(sorted(missing))}"
        causes.insert(0, Cause(parent, "required", words, {"missing": sorted(missing)}))
    return causes


@cache
def _reader(serializer: type[StrictSerializer]) -> StrictSerializer:
    """One for all requests: DRF copies every field for each new one. It keeps nothing of what it validates."""
    return serializer()


def _read(request: HttpRequest, limit: int) -> bytes:
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise ContentTypeRefused("compressed bodies are not accepted")
    try:
        if int(request.META.get("CONTENT_LENGTH") or 0) > limit:
            raise BodyTooLarge
        raw = request.body
    except RequestDataTooBig:
        raise BodyTooLarge from None
    except (UnreadablePostError, ValueError):
        raise BadRequest from None
    if len(raw) > limit:
        raise BodyTooLarge
    return raw


def _demand_content_type(request: HttpRequest, wanted: str) -> None:
    if (request.content_type or "").lower() != wanted:
        raise ContentTypeRefused
    charset = (request.content_params or {}).get("charset", "utf-8").strip('"').lower()
    if charset not in ("utf-8", "utf8"):
        raise ContentTypeRefused


def _demand_shallow(text: str) -> None:
    """json.loads answers deep nesting with a RecursionError, or worse; count brackets before (strings aside)."""
    if text.count("[") + text.count("{") <= DEPTH_MAX:
        return
    depth = 0
    for match in BRACKETS.finditer(text):
        token = match[0]
        depth += 1 if token in "[{" else -1 if token in "]}" else 0
        if depth > DEPTH_MAX:
            raise MalformedJSON(match.start())


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key is repeated")
    return result


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _has_bad_character(data: Any) -> bool:
    if isinstance(data, str):
        return _is_bad(data)
    if isinstance(data, dict):
        return any(_is_bad(key) or _has_bad_character(value) for key, value in data.items())
    return isinstance(data, list) and any(map(_has_bad_character, data))


def _is_bad(text: str) -> bool:
    """NUL, which PostgreSQL refuses, and lone surrogates, which cannot be encoded."""
    return "\0" in text or any("\ud800" <= character <= "\udfff" for character in text)
