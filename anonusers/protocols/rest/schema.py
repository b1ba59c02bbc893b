"""The OpenAPI description of the native API and its reference page. Needs the extra `anonusers[openapi]`."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from threading import Lock
from typing import Any

from rest_framework.serializers import Serializer

from anonusers.protocols.rest.problems import PROBLEMS

try:
    from drf_spectacular.generators import SchemaGenerator
    from drf_spectacular.openapi import AutoSchema as BaseSchema
    from drf_spectacular.settings import patched_settings
    from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
except ImportError:  # the API works without its description
    INSTALLED = False
    BaseSchema = object  # type: ignore[assignment, misc]
else:
    INSTALLED = True


class AutoSchema(BaseSchema):
    """Our views parse and render without DRF, so its inspector has to be told that they speak JSON."""

    def map_parsers(self) -> list[str]:
        return ["application/json"]

    def map_renderers(self, attribute: str) -> list[str]:
        return ["application/json" if attribute == "media_type" else "json"]


View = Callable[..., Any]

ALWAYS = ("bad_request", "unexpected", "service_unavailable")
WAITING = ("rate_limited", "bot_check_required", "service_unavailable", "busy")  # say when to try again
WITH_BODY = ("malformed_json", "validation_failed", "body_too_large", "content_type_refused")

# Whatever a host project sets for its own schema.
OURS = {
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SCHEMA_PATH_PREFIX_TRIM": False,
    "SCHEMA_PATH_PREFIX_INSERT": "",
    "SORT_OPERATIONS": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "PREPROCESSING_HOOKS": [],
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums"],
}
_patching = Lock()


def describe(
    *,
    name: str,
    request: "type[Serializer[Any]] | None" = None,
    answers: "Mapping[int, tuple[type[Serializer[Any]] | None, str]]",
    errors: tuple[str, ...] = (),
    parameters: "Mapping[str, str] | None" = None,
    tag: str = "Guests",
    idempotency_key: bool = False,
    authenticated: bool = True,
) -> Callable[[View], View]:
    """Say what a view's method reads and answers; the docstring's first line is the summary.

    `answers`: status → shape and what it means. `errors` are codes of PROBLEMS; those that every request can meet are
    added. `parameters` describes what is in the path: ids are UUIDs, anything else is a word. Operations of a `tag`
    stand together on the reference page.
    """
    if not INSTALLED:
        return lambda view: view

    def decorate(view: View) -> View:
        from anonusers.protocols.rest.serializers import ProblemOutput

        view.kwargs = {"schema": AutoSchema}  # type: ignore[attr-defined]
        summary, _, description = (view.__doc__ or "").partition("\n")
        responses: dict[Any, Any] = {
            status: OpenApiResponse(shape, description=meaning) for status, (shape, meaning) in answers.items()
        }
        codes = sorted({*errors, *ALWAYS, *(WITH_BODY if request else ())}, key=lambda code: (PROBLEMS[code][0], code))
        for status in sorted({PROBLEMS[code][0] for code in codes}):
            words = ", ".join(f"`{code}`" for code in codes if PROBLEMS[code][0] == status)
            responses[(status, "application/problem+json")] = OpenApiResponse(
                ProblemOutput, description=f"{HTTPStatus(status).phrase}: {words}"
            )
        described = [
            OpenApiParameter(
                parameter,
                type={"type": "string"} | ({"format": "uuid"} if parameter.endswith("_id") else {}),
                location="path",
                description=text,
            )
            for parameter, text in (parameters or {}).items()
        ]
        described.append(
            OpenApiParameter(
                "Retry-After",
                type={"type": "integer", "minimum": 1},
                location=OpenApiParameter.HEADER,
                description="Seconds.",
                response=sorted({PROBLEMS[code][0] for code in codes if code in WAITING}),
            )
        )
        if "dpop_proof_refused" in codes:
            described.append(
                OpenApiParameter(
                    "DPoP",
                    type={"type": "string"},
                    location=OpenApiParameter.HEADER,
                    description="A proof (RFC 9449) that a key of yours made this request. Tokens that are handed out "
                    "with one are bound to that key: each use of them needs another proof by it.",
                )
            )
        if idempotency_key:
            described.append(
                OpenApiParameter(
                    "Idempotency-Key",
                    type={"type": "string", "minLength": 16, "maxLength": 255, "pattern": r"^[\x21-\x7e]{16,255}$"},
                    location=OpenApiParameter.HEADER,
                    description="16 to 255 visible ASCII characters, random. A retry with the same key makes no "
                    "second guest.",
                )
            )
        return extend_schema(
            operation_id=name,
            request=request,
            responses=responses,
            parameters=described,
            summary=summary.strip().rstrip("."),
            description=" ".join(description.split()),
            tags=[tag],
            auth=[{"bearer": []}, {"cookie": []}] if authenticated else [{}],  # type: ignore[list-item]
            extensions={"x-problems": codes},
        )(view)

    return decorate


def document() -> dict[str, Any] | None:
    """The OpenAPI 3.1 document as plain data; None where drf-spectacular is not installed."""
    if not INSTALLED:
        return None
    from anonusers.conf import conf
    from anonusers.protocols.rest import urls

    # The patches are global to the process: never two threads at once.
    with _patching, patched_settings(OURS):
        schema: dict[str, Any] = SchemaGenerator(patterns=urls.described).get_schema(request=None, public=True)
    schema["info"] = {
        "title": "anonusers",
        "version": "1",
        "description": "Guest users that are real users: sign up with one call, promote later, keep the same sub.",
    }
    for name, shape in schema["components"]["schemas"].items():
        if name.endswith("Input"):
            shape.pop("description", None)  # the docstring of a base class
            shape["additionalProperties"] = False
    schema["components"]["securitySchemes"] = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "An access token. One of the `token_type` `DPoP` is sent as `Authorization: DPoP …`, with a "
            "proof (RFC 9449) of its own in the header `DPoP`.",
        },
        "cookie": {
            "type": "apiKey",
            "in": "cookie",
            "name": conf.COOKIE_NAME,
            "description": f"The session cookie. Over https its name is `__Host-{conf.COOKIE_NAME}`, unless it is "
            "shared by a domain. Unsafe methods must come from an origin of the project.",
        },
    }
    return schema
