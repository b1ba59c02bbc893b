"""DRF permissions for host code."""

from typing import Any

from rest_framework.exceptions import APIException, AuthenticationFailed, PermissionDenied, Throttled
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from anonusers.authentication import SAFE_METHODS
from anonusers.errors import AnonUsersError, BotCheckRequired, Busy, GuestGone, InvalidToken, NotSignedIn, RateLimited
from anonusers.guests import ensure_guest


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
