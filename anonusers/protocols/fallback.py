"""`handler400` and friends for a root urlconf: what Django refuses before any view is JSON on API paths, too."""

from collections.abc import Callable

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from anonusers.errors import AnonUsersError
from anonusers.protocols.authgear.wire import render_api_error, render_oauth_error
from anonusers.protocols.errors import BadRequest, EndpointNotFound, Unexpected, UntrustedOrigin
from anonusers.protocols.realm.wire import render_error as render_realm_error
from anonusers.protocols.rest.problems import render_problem

Renderer = Callable[[AnonUsersError], HttpResponse]

RENDERERS: list[tuple[str, Renderer]] = [
    ("/api/anonymous_user/", render_api_error),
    ("/api/client/", render_realm_error),
    ("//api/client/", render_realm_error),
    ("/api/", render_problem),
    ("/oauth2/", render_oauth_error),
    ("/.well-known/", render_oauth_error),
    ("/_resolver/", render_oauth_error),
]


def register(prefix: str, render_error: Renderer) -> None:
    """Errors of an API that lives elsewhere, such as in an app that builds on this one."""
    if (prefix, render_error) not in RENDERERS:
        RENDERERS.insert(0, (prefix, render_error))


def _answer(request: HttpRequest, error: AnonUsersError, status: int, title: str, message: str) -> HttpResponse:
    for prefix, render_error in RENDERERS:
        if request.path.startswith(prefix):
            return render_error(error)
    context = {"title": title, "message": message, "action_url": "/", "action_label": _("Go to the start page")}
    return render(request, "anonusers/message.html", context, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    message = _("Your browser sent something that cannot be read. Nothing was changed.")
    return _answer(request, BadRequest(), 400, _("This request is not valid"), message)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    message = _("You have no access to this page.")
    return _answer(request, UntrustedOrigin(), 403, _("No access"), message)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    message = _("The address may be mistyped, or the page has moved.")
    return _answer(request, EndpointNotFound(), 404, _("There is nothing here"), message)


def server_error(request: HttpRequest) -> HttpResponse:
    message = _("The error is on our side and was noted. Try again in a moment.")
    return _answer(request, Unexpected("unknown"), 500, _("Something went wrong"), message)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """For CSRF_FAILURE_VIEW: a form of ours that came from elsewhere, or from a page that was open for too long."""
    message = _("This form was open for too long, or your browser blocks cookies. Nothing was changed.")
    if _is_api(request):
        return permission_denied(request, PermissionDenied())
    context = {
        "title": _("This page is no longer valid"),
        "message": message,
        "action_url": request.get_full_path(),
        "action_label": _("Open the page again"),
    }
    return render(request, "anonusers/message.html", context, status=403)


def _is_api(request: HttpRequest) -> bool:
    return any(request.path.startswith(prefix) for prefix, _render in RENDERERS)
