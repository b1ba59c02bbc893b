"""What happened, told to the host application after commit.

Receivers get `event`, an `Event`. One that raises is logged and stops nobody else.
"""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.dispatch import Signal
from django.utils import timezone

from anonusers.models import EndUser, Session

user_created = Signal()
"""A guest came into being."""
user_anonymous_promoted = Signal()
"""A guest became a regular user with the same id; or, with `details["anonymous_user"]`, proved to be an account that
existed before, which is `event.end_user` then."""
user_authenticated = Signal()
"""An existing end user signed in: a new session was opened for them."""
user_signed_out = Signal()
"""A session was ended by its user, by a token revocation, or because an old token or code came back."""

SIGNALS = {
    "user.created": user_created,
    "user.anonymous.promoted": user_anonymous_promoted,
    "user.authenticated": user_authenticated,
    "user.signed_out": user_signed_out,
}


@dataclass(frozen=True)
class Event:
    """`type` is a key of SIGNALS; `details` holds plain values and never a secret."""

    type: str
    end_user: EndUser
    session: Session | None = None
    details: dict[str, Any] = field(default_factory=dict)
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    occurred_at: datetime = field(default_factory=timezone.now)


def emit(event: Event) -> None:
    """Send the event's signal once the transaction is committed; at once outside of one."""
    signal = SIGNALS[event.type]
    if signal.receivers:
        transaction.on_commit(lambda: _send(signal, event))


def _send(signal: Signal, event: Event) -> None:
    # send_robust logs what a receiver raises (logger django.dispatch).
    signal.send_robust(sender=EndUser, event=event)
