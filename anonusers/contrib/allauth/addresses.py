"""What end users do with their addresses at our doors, told to allauth: its log-in and its mails go by its own list."""

import logging
from typing import Any

from allauth.account.models import EmailAddress
from allauth.account.utils import user_email
from django.contrib.auth import get_user_model
from django.db import transaction

from anonusers import events
from anonusers.contrib.allauth.signup import METHOD
from anonusers.events import Event
from anonusers.login_ids import EMAIL

logger = logging.getLogger(__name__)

UID = "anonusers.contrib.allauth.addresses"


def connect() -> None:
    events.user_anonymous_promoted.connect(promoted, dispatch_uid=UID)
    events.user_login_id_added.connect(added, dispatch_uid=UID)
    events.user_login_id_verified.connect(verified, dispatch_uid=UID)
    events.user_login_id_removed.connect(removed, dispatch_uid=UID)


def promoted(event: Event, **kwargs: Any) -> None:
    """A guest has kept the account through one of our own doors. Who did it through allauth is in its list."""
    if "anonymous_user" in event.details or event.details.get("method") == METHOD:
        return
    for row in event.end_user.login_ids.filter(type=EMAIL):
        _keep(event.end_user.user, row.value, is_verified=row.verified_at is not None)


def added(event: Event, **kwargs: Any) -> None:
    if _is_news(event):
        _keep(event.end_user.user, event.details["login_id"], is_verified=event.details["verified"])


def verified(event: Event, **kwargs: Any) -> None:
    if _is_news(event):
        _keep(event.end_user.user, event.details["login_id"], is_verified=True)


def removed(event: Event, **kwargs: Any) -> None:
    """Who reads the mail of that address gets no way in by it any more."""
    if not _is_news(event):
        return
    user = event.end_user.user
    with transaction.atomic():
        rows = EmailAddress.objects.select_for_update().filter(user_id=user.pk)
        row = rows.filter(email=event.details["login_id"].lower()).first()
        if row is None:
            return
        others = sorted(rows.exclude(pk=row.pk), key=lambda other: (not _is_of(user, other), not other.verified))
        if not others and _names_the_user():
            # The host's row cannot be without an address. Its own pages change it.
            logger.warning("end user %s gave an address up that names the host's user: kept there", event.end_user.pk)
            return
        row.delete()
        if row.primary and others:
            others[0].set_as_primary()


def _is_news(event: Event) -> bool:
    """About an address, and not by allauth itself: the one that is no longer its primary one stays in its list."""
    return event.details["login_id_type"] == EMAIL and "by_host" not in event.details


def _keep(user: Any, email: str, *, is_verified: bool) -> None:
    with transaction.atomic():
        row, _ = EmailAddress.objects.get_or_create(user=user, email=email.lower())
        if is_verified and not row.set_verified():
            logger.warning("an address of user %s is somebody else's by allauth's list: not verified there", user.pk)
        if not row.primary and (_is_of(user, row) or not user_email(user)):
            row.set_as_primary()


def _is_of(user: Any, row: EmailAddress) -> bool:
    """Whether it is what the host's row says."""
    return bool((user_email(user) or "").lower() == row.email)


def _names_the_user() -> bool:
    model = get_user_model()
    return bool(model.get_email_field_name() == model.USERNAME_FIELD)
