"""For views of host projects: functions, sync and async. `mixins` has the same for classes.

What all of them mean: `request.user` is the user of our cookie or bearer token, where Django's own session names
nobody, with or without GuestMiddleware. Django's LoginRequiredMiddleware leaves these views alone: they ask by
themselves.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, overload

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import HttpRequest

from anonusers.access import GUEST_ALLOWED, GUEST_REQUIRED, GUEST_REQUIRED_ON_WRITE, MEMBER_REQUIRED, Gate, mark
from anonusers.guests import admit

__all__ = ["guest_allowed", "guest_required", "guest_required_on_write", "member_required"]

View = Callable[..., Any]


@overload
def guest_allowed(view: View, /) -> View: ...
@overload
def guest_allowed(*, login_url: Any = None, redirect_field_name: str = ...) -> Callable[[View], View]: ...


def guest_allowed(
    view: View | None = None, /, *, login_url: Any = None, redirect_field_name: str = REDIRECT_FIELD_NAME
) -> Any:
    """Guests and members enter; a visitor is sent to log in.

    Who opens the page in a browser is redirected to `login_url`, else LOGIN_URL, with the way back in `next`. Everybody
    else (other methods, scripts, clients that prefer JSON) gets 401 `not_signed_in`, in plain words or JSON, or the
    error of a bearer token that is worthless.
    """
    return _gated(view, Gate(GUEST_ALLOWED, login_url=login_url, redirect_field_name=redirect_field_name))


@overload
def guest_required(view: View, /) -> View: ...
@overload
def guest_required(
    *, login_url: Any = None, member_url: Any = None, redirect_field_name: str = ...
) -> Callable[[View], View]: ...


def guest_required(
    view: View | None = None,
    /,
    *,
    login_url: Any = None,
    member_url: Any = None,
    redirect_field_name: str = REDIRECT_FIELD_NAME,
) -> Any:
    """Only guests enter, such as to a page that offers to keep the account. Visitors as with `guest_allowed`.

    A member who opens the page in a browser is redirected to `member_url`, else LOGIN_REDIRECT_URL: what is for guests
    lies behind them. Every other request of theirs gets 403 `guests_only`.
    """
    gate = Gate(GUEST_REQUIRED, login_url=login_url, member_url=member_url, redirect_field_name=redirect_field_name)
    return _gated(view, gate)


@overload
def member_required(view: View, /) -> View: ...
@overload
def member_required(
    *, login_url: Any = None, promotion_url: Any = None, redirect_field_name: str = ...
) -> Callable[[View], View]: ...


def member_required(
    view: View | None = None,
    /,
    *,
    login_url: Any = None,
    promotion_url: Any = None,
    redirect_field_name: str = REDIRECT_FIELD_NAME,
) -> Any:
    """Only members enter. Visitors as with `guest_allowed`.

    A guest who opens the page in a browser is redirected to `promotion_url`, else ANONUSERS_PROMOTION_URL, with the way
    back in `next`. Every other request of theirs gets 403 `members_only`.
    """
    gate = Gate(
        MEMBER_REQUIRED, login_url=login_url, promotion_url=promotion_url, redirect_field_name=redirect_field_name
    )
    return _gated(view, gate)


@overload
def guest_required_on_write(view: View, /) -> View: ...
@overload
def guest_required_on_write(*, application: str | None = None) -> Callable[[View], View]: ...


def guest_required_on_write(view: View | None = None, /, *, application: str | None = None) -> Any:
    """Whoever writes (any method but GET, HEAD, OPTIONS and TRACE) is a user: the one who is signed in, else a guest
    who is signed up now. Reading makes nobody a guest. Who stays outside gets 403, 429 or 503, in plain words or JSON.

    `@guest_required_on_write`, or with the client ID of the application that new guests come from:
    `@guest_required_on_write(application="shop")`. For sync and async views; for classes GuestRequiredOnWriteMixin, or
    `method_decorator(guest_required_on_write, "dispatch")` where they are sync. Needs GuestMiddleware.
    """

    def decorate(view: View) -> View:
        if iscoroutinefunction(view):

            @wraps(view)
            async def admitted_async(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                refusal = await sync_to_async(admit)(request, application)
                return refusal or await view(request, *args, **kwargs)

            mark(admitted_async, GUEST_REQUIRED_ON_WRITE)
            return admitted_async

        @wraps(view)
        def admitted(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return admit(request, application) or view(request, *args, **kwargs)

        mark(admitted, GUEST_REQUIRED_ON_WRITE)
        return admitted

    return decorate if view is None else decorate(view)


def _gated(view: View | None, gate: Gate) -> Any:
    def decorate(view: View) -> View:
        if iscoroutinefunction(view):

            @wraps(view)
            async def gated_async(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                return await gate.arefusal(request) or await view(request, *args, **kwargs)

            mark(gated_async, gate.access, gate.promotion_url)
            return gated_async

        @wraps(view)
        def gated(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return gate.refusal(request) or view(request, *args, **kwargs)

        mark(gated, gate.access, gate.promotion_url)
        return gated

    return decorate if view is None else decorate(view)
