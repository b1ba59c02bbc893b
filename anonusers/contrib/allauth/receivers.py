"""What allauth tells: an address was verified, changed or removed; a password is new."""

import logging
from typing import Any

from allauth.account import signals
from allauth.account.models import EmailAddress
from django.db import transaction

from anonusers import onetime
from anonusers.adoption import follow_email
from anonusers.contrib.allauth.signup import end_user_of, finish
from anonusers.errors import GuestGone
from anonusers.models import LoginID, lock_end_user
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
        return
    end_user = end_user_of(email_address.user)
    if end_user is not None:
        # A second one is for allauth's log-in only, as the login ID is the primary one.
        follow_email(end_user, email_address.email, verified=True, add=email_address.primary)


def address_changed(
    sender: Any,
    user: Any,
    from_email_address: EmailAddress | None,
    to_email_address: EmailAddress,
    **kwargs: Any,
) -> None:
    """Another one is the primary one."""
    end_user = end_user_of(user)
    if end_user is None:
        return
    if from_email_address is not None:
        before = [from_email_address.email]
    else:  # it was never confirmed, and allauth has forgotten it
        known = set(EmailAddress.objects.filter(user=user).values_list("email", flat=True))
        unproven = end_user.login_ids.filter(type=LoginID.Type.EMAIL, verified_at=None)
        before = [row.value for row in unproven if row.value.lower() not in known]
    follow_email(end_user, to_email_address.email, verified=to_email_address.verified, instead_of=before)


def address_removed(sender: Any, user: Any, email_address: EmailAddress, **kwargs: Any) -> None:
    end_user = end_user_of(user)
    if end_user is not None:
        follow_email(end_user, "", instead_of=[email_address.email])


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
