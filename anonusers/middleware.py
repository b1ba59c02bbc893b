"""Middleware for host projects."""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from anonusers.conf import conf
from anonusers.guests import admit, attach_guest, expect_guest, recognise


def content_security_policy(form_targets: Iterable[str] = ()) -> str:
    """The policy of our pages. Browsers hold a form's redirects to `form-action`, too, so a page whose form ends in
    an application names that application's origins in `form_targets`."""
    targets = " ".join(["'self'", *form_targets])
    return (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
        f"form-action {targets}; base-uri 'none'; frame-ancestors 'none'"
    )


CONTENT_SECURITY_POLICY = content_security_policy()


class PageHeadersMiddleware:
    """A strict Content-Security-Policy on every HTML page that has not set its own: no inline script or style,
    nothing from third parties, no framing (RFC 9700 §4.16)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.get("Content-Type", "").startswith("text/html"):
            response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        return response


class GuestMiddleware(MiddlewareMixin):
    """`request.user` and `await request.auser()` are the user of our cookie or bearer token, where Django's own session
    names nobody: one statement, and only when somebody asks. Hands out the cookie of a guest who was signed up on the
    way, takes away that of a session which ended, and signs guests up before any view whose path is one of
    ANONUSERS_GUEST_ON_WRITE_PATHS. Stands after AuthenticationMiddleware and CsrfViewMiddleware, and for these paths
    before LoginRequiredMiddleware."""

    def process_request(self, request: HttpRequest) -> None:
        expect_guest(request)
        recognise(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        # Not earlier: by now the CSRF check has passed and the path leads to a view, so a guest is of use.
        paths = _compiled(tuple(conf.GUEST_ON_WRITE_PATHS))
        return admit(request) if paths and paths.search(request.path) else None

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        attach_guest(request, response)
        return response


@lru_cache(maxsize=8)
def _compiled(paths: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile("|".join(f"(?:{path})" for path in paths)) if paths else None
