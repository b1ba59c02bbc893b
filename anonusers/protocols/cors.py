"""CORS from the applications' origins: the exact origin is echoed, never `*` together with credentials."""

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from anonusers.credentials import origin_of
from anonusers.models import Project

MAX_AGE = "900"


def allow_listed(request: HttpRequest, response: HttpResponse, project: Project | None) -> None:
    """Let pages of the project's origins read this answer, with credentials."""
    patch_vary_headers(response, ["Origin"])
    origin = request.headers.get("Origin")
    if origin is None:
        return
    preflight = request.method == "OPTIONS"
    if preflight:
        patch_vary_headers(response, ["Access-Control-Request-Method", "Access-Control-Request-Headers"])
    if origin != origin_of(request) and not (project and project.allows_origin(origin)):
        return
    response["Access-Control-Allow-Origin"] = origin
    response["Access-Control-Allow-Credentials"] = "true"
    response["Access-Control-Expose-Headers"] = "Retry-After, WWW-Authenticate"
    if preflight:
        response["Access-Control-Max-Age"] = MAX_AGE
        for asked, allowed in (("Method", "Methods"), ("Headers", "Headers")):
            value = request.headers.get(f"Access-Control-Request-{asked}")
            if value and value.isascii() and value.isprintable():
                response[f"Access-Control-Allow-{allowed}"] = value


def allow_all(request: HttpRequest, response: HttpResponse) -> None:
    """For public documents: any page may read them, without credentials."""
    response["Access-Control-Allow-Origin"] = "*"
    if request.method == "OPTIONS":
        response["Access-Control-Allow-Methods"] = "GET, HEAD, OPTIONS"
        response["Access-Control-Allow-Headers"] = "*"
        response["Access-Control-Max-Age"] = MAX_AGE


def allow_tokens(request: HttpRequest, response: HttpResponse, *, methods: str, headers: str, expose: str = "") -> None:
    """For a wire that never looks at cookies: any page may read the answer, without credentials. Who may not call is
    told so in an answer that can be read."""
    patch_vary_headers(response, ["Origin"])
    response["Access-Control-Allow-Origin"] = request.headers.get("Origin") or "*"
    if expose:
        response["Access-Control-Expose-Headers"] = expose
    if request.method == "OPTIONS":
        response["Access-Control-Allow-Methods"] = methods
        response["Access-Control-Allow-Headers"] = headers
        response["Access-Control-Max-Age"] = MAX_AGE
