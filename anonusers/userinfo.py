"""The facts about an end user, in the words of the domain; each door says them in its own."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import ObjectDoesNotExist

from anonusers.models import EndUser


@dataclass(frozen=True)
class UserInfo:
    sub: str
    is_anonymous: bool
    is_verified: bool
    can_reauthenticate: bool
    created_at: datetime
    anonymous_since: datetime | None  # when the anonymous identity was made


def userinfo(end_user: EndUser) -> UserInfo:
    """What is known of an end user. Costs no statement if the identity was joined (`Session.objects.in_full()`)."""
    return UserInfo(
        sub=str(end_user.id),
        is_anonymous=end_user.is_guest,
        # A guest is never verified and has nothing to authenticate again with.
        is_verified=False,
        can_reauthenticate=False,
        created_at=end_user.created_at,
        anonymous_since=end_user.anonymous_identity.created_at if end_user.is_guest else None,
    )


def is_guest(user: Any) -> bool:
    """Whether a row of the host's AUTH_USER_MODEL (`request.user`) belongs to an anonymous user of ours.

    Mind the name in Django: `user.is_anonymous` is False for it, since a guest is a real user.
    """
    try:
        return bool(user.end_user.is_guest)
    except (AttributeError, ObjectDoesNotExist):
        return False
