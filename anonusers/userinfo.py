"""The facts about an end user, in the words of the domain; each door says them in its own."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.core.exceptions import ObjectDoesNotExist

from anonusers.models import EndUser, LoginID


@dataclass(frozen=True)
class LoginIDInfo:
    """`type` is email, phone or username."""

    type: str
    value: str
    verified: bool
    created_at: datetime


@dataclass(frozen=True)
class UserInfo:
    sub: str
    is_anonymous: bool
    is_verified: bool
    can_reauthenticate: bool
    created_at: datetime
    anonymous_since: datetime | None  # when the anonymous identity was made
    has_password: bool = False
    login_ids: tuple[LoginIDInfo, ...] = field(default=())

    def first(self, type: str) -> LoginIDInfo | None:
        return next((login_id for login_id in self.login_ids if login_id.type == type), None)


def userinfo(end_user: EndUser) -> UserInfo:
    """What is known of an end user. For a guest it costs no statement if the identity was joined
    (`Session.objects.in_full()`), for a regular user one."""
    if end_user.is_guest:
        # A guest is never verified and has nothing to authenticate again with.
        since = end_user.anonymous_identity.created_at
        return UserInfo(str(end_user.id), True, False, False, end_user.created_at, since)
    login_ids = tuple(
        LoginIDInfo(row.type, row.value, row.verified_at is not None, row.created_at)
        for row in end_user.login_ids.order_by("created_at", "pk")
    )
    has_password = bool(end_user.user.has_usable_password())
    return UserInfo(
        sub=str(end_user.id),
        is_anonymous=False,
        is_verified=any(login_id.verified for login_id in login_ids),
        can_reauthenticate=has_password or any(login_id.type != LoginID.Type.USERNAME for login_id in login_ids),
        created_at=end_user.created_at,
        anonymous_since=None,
        has_password=has_password,
        login_ids=login_ids,
    )


def is_guest(user: Any) -> bool:
    """Whether a row of the host's AUTH_USER_MODEL (`request.user`) belongs to an anonymous user of ours.

    Mind the name in Django: `user.is_anonymous` is False for it, since a guest is a real user. No statement where our
    session or `anonusers.backends.ModelBackend` brought the user; else one, once for each instance.
    """
    try:
        return bool(user.end_user.is_guest)
    except (AttributeError, ObjectDoesNotExist):
        return False


def is_member(user: Any) -> bool:
    """Whether this is a regular user: signed in, and no guest. A host's user whom we do not know is one."""
    return bool(getattr(user, "is_authenticated", False)) and not is_guest(user)


def sub_of(user: Any) -> uuid.UUID | None:
    """The `sub` of a host's user, guest or regular; None for visitors and for whom we do not know."""
    try:
        sub: uuid.UUID = user.end_user.pk
    except (AttributeError, ObjectDoesNotExist):
        return None
    return sub
