"""Middleware for host projects."""

from collections.abc import Callable, Iterable

from django.http import HttpRequest, HttpResponse


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
