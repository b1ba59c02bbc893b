"""What allauth tells: an address was verified, changed or removed; a password is new."""

import logging
from typing import Any

from allauth.account import signals
from allauth.account.models import EmailAddress
from allauth.account.utils import user_email
from django.db import transaction

from anonusers import onetime
from anonusers.adoption import follow_email
from anonusers.contrib.allauth.signup import end_user_of, finish, follow_addresses
from anonusers.errors import GuestGone
from anonusers.models import lock_end_user
from anonusers.promotion import end_all_sessions
from anonusers.registration import session_of

logger = logging.getLogger(__name__)

UID = "anonusers.contrib.allauth"


def connect() -> None:
    signals.email_confirmed.connect(address_confirmed, dispatch_uid=UID)
    signals.email_changed.connect(address_changed, dispatch_uid=UID)
    signals.email_removed.connect(address_removed, dispatch_uid=UID)
    for signal in (signals.password_set, signals.password_changed, signals.password_reset):
        signal.connect(password_changed, dispatch_uid=UID)


def address_confirmed(sender: Any, request: Any, email_address: EmailAddress, **kwargs: Any) -> None:
    """Wherever the mail was followed: on this device or another one, with or without logging in."""
    try:
        finish(request, email_address.user, logging_in=False)
    except GuestGone:
        # Their person went on as somebody else, or an operator has disabled them.
        logger.info("an address was confirmed, and its guest cannot be promoted any more")


def address_changed(sender: Any, user: Any, **kwargs: Any) -> None:
    follow_addresses(user)


def address_removed(sender: Any, user: Any, **kwargs: Any) -> None:
    end_user = end_user_of(user)
    if end_user is not None and EmailAddress.objects.get_primary(user) is None:
        user.refresh_from_db()  # allauth has put another one of theirs into it, or none
        follow_email(end_user, user_email(user) or "", verified=False)


def password_changed(sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
    """Every other session of ours ends, as every other one of Django's does."""
    end_user = end_user_of(user)
    if end_user is None or end_user.is_guest:
        return
    presented = session_of(getattr(request, "_request", request))
    keep = presented if presented is not None and presented.end_user_id == end_user.pk else None
    with transaction.atomic():
        if lock_end_user(end_user.pk) is not None:
            end_all_sessions(end_user, keep=keep)
            onetime.void_all(end_user)
