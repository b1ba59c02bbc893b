"""For class-based views of host projects."""

from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.views import View

from anonusers.guests import admit


class GuestRequiredOnWriteMixin(View):
    """`guest_required_on_write` for a class, sync or async. Stands left of the view: `class Basket(Mixin, FormView)`.

    `guest_application` may name the client ID of the application that new guests come from.
    """

    guest_application: str | None = None

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
