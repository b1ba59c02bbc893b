"""A DRF throttle for host code: guests cost nothing to make, so what they may ask for is counted apart."""

from typing import Any

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from anonusers.conf import conf
from anonusers.credentials import address_of
from anonusers.errors import RateLimited
from anonusers.limits import network_of, spend
from anonusers.userinfo import is_guest

__all__ = ["GuestThrottle"]


class GuestThrottle(BaseThrottle):
    """Requests of guests, counted by their `sub`, and of visitors, by their network. Members are not counted.

    How many is said by the view (`guest_throttle_rate = "30/m"`, counted for this view alone), else by a subclass
    (`rate`), else by ANONUSERS_GUEST_REQUESTS, for all views together. Windows are those of all our limits: atomic, in
    memory, Redis or the database, and counted by this process alone while the shared store is away.
    """

    rate: str = ""
    retry_after: int | None = None

    def allow_request(self, request: Request, view: APIView) -> bool:
        limit, scope = self.limit_of(view)
        if limit == "off":
            return True
        user: Any = request.user
        if user is not None and user.is_authenticated:
            if not is_guest(user):
                return True
            who = str(user.end_user.pk)
        else:
            who = network_of(address_of(request._request))
        try:
            spend("guest_requests", scope, who, limit=limit)
        except RateLimited as error:
            self.retry_after = error.retry_after
            return False
        return True

    def limit_of(self, view: APIView) -> tuple[str, str]:
        """The budget, and what shares it. A rate that cannot be read is a ValueError at the first request."""
        for owner, rate in ((type(view), getattr(view, "guest_throttle_rate", "")), (type(self), self.rate)):
            if rate:
                return rate, f"{owner.__module__}.{owner.__qualname__}"
        return conf.GUEST_REQUESTS, ""

    def wait(self) -> float | None:
        return self.retry_after
