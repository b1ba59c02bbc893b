"""allauth takes every user who is signed in for a regular one, and answers them with a redirect or with 409."""

from collections.abc import Callable
from typing import Any

from allauth import app_settings
from allauth.account.internal.stagekit import LOGIN_SESSION_KEY
from asgiref.sync import sync_to_async
from django.contrib.auth.middleware import get_user
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin
from django.utils.functional import SimpleLazyObject

from anonusers.contrib.allauth.signup import leave_where_not_logged_in
from anonusers.guests import HIDDEN, SESSION
from anonusers.registration import session_of
from anonusers.userinfo import is_guest

__all__ = ["AllauthGuestMiddleware"]


class AllauthGuestMiddleware(MiddlewareMixin):
    """To allauth's views, and to those derived from them, a guest is nobody: `request.user` is an AnonymousUser, and
    `anonusers.guests.guest_of(request)` says who it is. Only where they log out they are who they are. Stands after
    GuestMiddleware."""

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        if _is_allauth(view) and not _logs_out(view, request):
            hide_guest(request)
        return None

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        leave_where_not_logged_in(request)
        return response


def hide_guest(request: HttpRequest) -> None:
    """Show nobody where a guest is. Looked up when somebody asks, and once more when allauth changes the session under
    its feet: that of an app's `X-Session-Token` has a user of its own."""
    before, session = request.user, request.session

    def look() -> Any:
        user: Any = before
        if request.session is not session:
            user = get_user(request)
            if not user.is_authenticated and (ours := session_of(request)) is not None:
                vars(request)[SESSION] = ours
                user = ours.end_user.user
        vars(request)[HIDDEN] = user if is_guest(user) else None
        return AnonymousUser() if is_guest(user) else user

    user = SimpleLazyObject(look)

    async def auser() -> Any:
        await sync_to_async(bool)(user)
        return user._wrapped

    vars(request).update(user=user, auser=auser)


def _classes(view: Callable[..., Any]) -> tuple[type, ...]:
    view_class = getattr(view, "view_class", None) or getattr(view, "cls", None)
    return view_class.__mro__ if isinstance(view_class, type) else ()


def _is_allauth(view: Callable[..., Any]) -> bool:
    modules = [getattr(view, "__module__", None) or "", *(cls.__module__ for cls in _classes(view))]
    return any(module == "allauth" or module.startswith("allauth.") for module in modules)


def _logs_out(view: Callable[..., Any], request: HttpRequest) -> bool:
    from allauth.account.views import LogoutView

    views: tuple[type, ...] = (LogoutView,)
    if app_settings.HEADLESS_ENABLED and request.method == "DELETE":
        from allauth.headless.account.views import SessionView

        views = (LogoutView, SessionView)
    # Where a sign-up waits for its mail, that is called off, and the guest stays.
    return not {*views}.isdisjoint(_classes(view)) and request.session.get(LOGIN_SESSION_KEY) is None
