"""For class-based views of host projects, sync and async: the decorators of the same names.

They stand left of the view: `class Basket(GuestAllowedMixin, FormView)`. Of several each one asks.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import HttpRequest
from django.utils.decorators import classonlymethod
from django.views import View

from anonusers.access import GUEST_ALLOWED, GUEST_REQUIRED, GUEST_REQUIRED_ON_WRITE, MEMBER_REQUIRED, Gate, mark
from anonusers.guests import admit

__all__ = ["GuestAllowedMixin", "GuestRequiredMixin", "GuestRequiredOnWriteMixin", "MemberRequiredMixin"]


class Gated(View):
    """A view that asks before it is entered."""

    anonusers_access: ClassVar[str]
    login_url: Any = None
    promotion_url: Any = None
    redirect_field_name: str = REDIRECT_FIELD_NAME

    @classonlymethod
    def as_view(cls, *args: Any, **initkwargs: Any) -> Any:
        view = super().as_view(*args, **initkwargs)
        mark(view, cls.anonusers_access, initkwargs.get("promotion_url") or cls.promotion_url)
        return view

    def _enter(self, access: str, onward: Callable[..., Any], request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        gate = Gate(
            access,
            login_url=self.login_url,
            promotion_url=self.promotion_url,
            member_url=getattr(self, "member_url", None),
            redirect_field_name=self.redirect_field_name,
        )
        if self.view_is_async:
            return _enter_async(gate.arefusal, onward, request, *args, **kwargs)
        return gate.refusal(request) or onward(request, *args, **kwargs)


async def _enter_async(ask: Any, onward: Callable[..., Any], request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
    return await ask(request) or await onward(request, *args, **kwargs)


class GuestAllowedMixin(Gated):
    """Guests and members enter; a visitor is sent to log in. May set `login_url` and `redirect_field_name`."""

    anonusers_access = GUEST_ALLOWED

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return self._enter(GUEST_ALLOWED, super().dispatch, request, *args, **kwargs)


class GuestRequiredMixin(Gated):
    """Only guests enter; a member goes to `member_url`, else LOGIN_REDIRECT_URL, or is told `guests_only`."""

    anonusers_access = GUEST_REQUIRED
    member_url: Any = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return self._enter(GUEST_REQUIRED, super().dispatch, request, *args, **kwargs)


class MemberRequiredMixin(Gated):
    """Only members enter; a guest goes to `promotion_url`, else ANONUSERS_PROMOTION_URL, or is told `members_only`."""

    anonusers_access = MEMBER_REQUIRED

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return self._enter(MEMBER_REQUIRED, super().dispatch, request, *args, **kwargs)


class GuestRequiredOnWriteMixin(View):
    """`guest_required_on_write` for a class: whoever writes is a user. Needs GuestMiddleware.

    `guest_application` may name the client ID of the application that new guests come from.
    """

    guest_application: str | None = None

    @classonlymethod
    def as_view(cls, *args: Any, **initkwargs: Any) -> Any:
        view = super().as_view(*args, **initkwargs)
        mark(view, GUEST_REQUIRED_ON_WRITE)
        return view

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if self.view_is_async:
            return self._dispatch_async(request, *args, **kwargs)
        return admit(request, self.guest_application) or super().dispatch(request, *args, **kwargs)

    async def _dispatch_async(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        refusal = await sync_to_async(admit)(request, self.guest_application)
        if refusal is not None:
            return refusal
        answer: Any = super().dispatch(request, *args, **kwargs)
        return await answer
