"""The OpenAPI description of the native API and its reference page. Needs the extra `anonusers[openapi]`."""

from collections.abc import Callable, Mapping
from typing import Any

try:
    from drf_spectacular.generators import SchemaGenerator
    from drf_spectacular.openapi import AutoSchema
    from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
except ImportError:  # the API works without its description
    SchemaGenerator = None
    AutoSchema = None

from http import HTTPStatus

from rest_framework.serializers import Serializer

View = Callable[..., Any]


def describe(
    *,
    request: "type[Serializer[Any]] | None" = None,
    answers: "Mapping[int, type[Serializer[Any]] | None]",
    errors: tuple[int, ...] = (),
    idempotency_key: bool = False,
    authenticated: bool = True,
) -> Callable[[View], View]:
    """Say what a view's method reads and answers; the docstring's first line is the summary."""
    if SchemaGenerator is None:
        return lambda view: view

    def decorate(view: View) -> View:
        from anonusers.protocols.rest.serializers import ProblemOutput

        view.kwargs = {"schema": AutoSchema}  # type: ignore[attr-defined]
        summary, _, description = (view.__doc__ or "").partition("\n")
        responses: dict[Any, Any] = {
            status: OpenApiResponse(shape, description=HTTPStatus(status).phrase) for status, shape in answers.items()
        }
        for status in errors:
            responses[(status, "application/problem+json")] = OpenApiResponse(
                ProblemOutput, description=HTTPStatus(status).phrase
            )
        parameters = []
        if idempotency_key:
            parameters.append(
                OpenApiParameter(
                    "Idempotency-Key",
                    location=OpenApiParameter.HEADER,
                    description="16 to 255 characters, random. A retry with the same key makes no second guest.",
                )
            )
        return extend_schema(
            request=request,
            responses=responses,
            parameters=parameters,
            summary=summary.strip().rstrip("."),
            description=" ".join(description.split()),
            auth=[{"bearer": []}, {"cookie": []}] if authenticated else [{}],
        )(view)

    return decorate


def document() -> dict[str, Any] | None:
    """The OpenAPI 3.1 document as plain data; None where drf-spectacular is not installed."""
    if SchemaGenerator is None:
        return None
    from anonusers.conf import conf
    from anonusers.protocols.rest import urls

    generator = SchemaGenerator(patterns=urls.described, api_version="1")
    schema: dict[str, Any] = generator.get_schema(request=None, public=True)
    schema["info"] = {
        "title": "anonusers",
        "version": "1",
        "description": "Guest users that are real users: sign up with one call, promote later, keep the same sub.",
    }
    schema.setdefault("components", {})["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An access token."},
        "cookie": {"type": "apiKey", "in": "cookie", "name": conf.COOKIE_NAME},
    }
    return schema


__all__ = ["AutoSchema", "describe", "document"] if SchemaGenerator else ["describe", "document"]
