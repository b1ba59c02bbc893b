"""DRF permissions for host code, to be combined with `|`, `&` and `~` as any others."""

from typing import Any

from rest_framework.exceptions import APIException, AuthenticationFailed, PermissionDenied, Throttled
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from anonusers.access import GUESTS_ONLY, MEMBERS_ONLY, Refusal
from anonusers.authentication import SAFE_METHODS
from anonusers.errors import AnonUsersError, BotCheckRequired, Busy, GuestGone, InvalidToken, NotSignedIn, RateLimited
from anonusers.guests import ensure_guest
from anonusers.userinfo import is_guest, is_member

__all__ = ["GuestOnWrite", "IsGuest", "IsGuestOrMember", "IsGuestOrMemberOrReadOnly", "IsMember"]


def _words(refusal: Refusal) -> dict[str, str]:
    """What stands in the answer: DRF leaves a permission's `code` out of it, and a client needs to know what to do."""
    return {"code": refusal.code, "detail": refusal.message}


class IsGuest(BasePermission):
    """Only guests. A member is answered 403 `guests_only`, a visitor what DRF says to every visitor."""

    code = GUESTS_ONLY.code
    message = _words(GUESTS_ONLY)

    def has_permission(self, request: Request, view: Any) -> bool:
        return is_guest(request.user)

    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        return is_guest(request.user)  # else DRF's `~` would refuse every object


class IsMember(BasePermission):
    """Only members. A guest is answered 403 `members_only`: to be promoted first, and not to log in."""

    code = MEMBERS_ONLY.code
    message = _words(MEMBERS_ONLY)

    def has_permission(self, request: Request, view: Any) -> bool:
        return is_member(request.user)

    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        return is_member(request.user)


class IsGuestOrMember(BasePermission):
    """Users of both kinds: what IsAuthenticated does, by somebody who knows that guests are among them."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return bool(request.user and request.user.is_authenticated)

    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        return self.has_permission(request, view)


class IsGuestOrMemberOrReadOnly(IsGuestOrMember):
    """Everybody reads, users of both kinds write: IsAuthenticatedOrReadOnly, by somebody who knows of guests."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return request.method in SAFE_METHODS or super().has_permission(request, view)


class BusyNow(APIException):
    status_code = 503
    default_code = "busy"

    def __init__(self, error: Busy) -> None:
        super().__init__(error.message)
        self.wait = error.retry_after  # which DRF's handler says in Retry-After


class GuestOnWrite(BasePermission):
    """Everybody reads; whoever writes is a user, if need be a guest who is signed up now, by cookie: `request.user` in
    this very request. Stands before permissions that ask who the user is. Needs GuestMiddleware.

    A view may name the client ID of the application that new guests come from in `guest_application`.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if request.method in SAFE_METHODS or (request.user and request.user.is_authenticated):
            return True
        try:
            ensure_guest(request, getattr(view, "guest_application", None))
        except GuestGone as error:
            raise AuthenticationFailed({"code": error.code, "detail": error.message}) from None
        except (NotSignedIn, InvalidToken):
            return False  # what DRF says to every visitor: 401, or 403 where no authentication class can ask for more
        except BotCheckRequired as error:
            raise PermissionDenied(
                {"code": error.code, "detail": error.message, "challenge": error.challenge}
            ) from None
        except RateLimited as error:
            raise Throttled(wait=error.retry_after) from None
        except Busy as error:
            raise BusyNow(error) from None
        except AnonUsersError as error:
            raise PermissionDenied(error.message, code=error.code) from None
        return True
