"""For views of host projects."""

from collections.abc import Callable
from functools import wraps
from typing import Any, overload

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest

from anonusers.guests import admit

View = Callable[..., Any]


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

            return admitted_async

        @wraps(view)
        def admitted(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return admit(request, application) or view(request, *args, **kwargs)

        return admitted

    return decorate if view is None else decorate(view)
