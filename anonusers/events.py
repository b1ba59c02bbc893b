"""What happened, told to the host application after commit, and to the audit log where it concerns an account's safety.

Receivers get `event`, an `Event`. One that raises is logged and stops nobody else.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.dispatch import Signal
from django.utils import timezone

from anonusers import metrics
from anonusers.audit import record
from anonusers.models import EndUser, LoginID, Session

user_created = Signal()
"""A guest came into being."""
user_anonymous_promoted = Signal()
"""A guest became a regular user with the same id; or, with `details["anonymous_user"]`, proved to be an account that
existed before, which is `event.end_user` then."""
user_authenticated = Signal()
"""An existing end user signed in: a new session was opened for them."""
user_device_key_added = Signal()
"""A guest was given a device key, their first or, by a recovery code, another one; `details["key_id"]` says which."""
user_device_key_removed = Signal()
"""A guest's device key was taken away for good."""
user_login_id_added = Signal()
"""A regular user was given another login ID; `details` say which, and whether it is `verified`. Here and in the next
two, `details["by_host"]` says that the host itself told it (`follow_email`)."""
user_login_id_verified = Signal()
"""A login ID that a regular user had was proven to be theirs. With `details["claimed"]` what somebody had set up
without that proof has gone: the password, sessions, API keys, other login IDs."""
user_login_id_removed = Signal()
"""A login ID leads to this user no more."""
user_password_changed = Signal()
"""A regular user has another password; `details["method"]` is `password` (by who is signed in) or `reset_link`."""
user_expired = Signal()
"""A guest whom nothing leads back to was set aside, to be removed days later; `event.end_user` has an `id` only."""
user_deleted = Signal()
"""A person was removed; `event.end_user` has an `id` only, `details["reason"]` is `cleanup`, `erasure` or `project`."""
user_signed_out = Signal()
"""A session was ended by its user, by a token revocation, or because an old token or code came back."""

SIGNALS = {
    "user.created": user_created,
    "user.anonymous.promoted": user_anonymous_promoted,
    "user.authenticated": user_authenticated,
    "user.device_key.added": user_device_key_added,
    "user.device_key.removed": user_device_key_removed,
    "user.login_id.added": user_login_id_added,
    "user.login_id.verified": user_login_id_verified,
    "user.login_id.removed": user_login_id_removed,
    "user.password.changed": user_password_changed,
    "user.expired": user_expired,
    "user.deleted": user_deleted,
    "user.signed_out": user_signed_out,
}


AUDITED = {
    "user.anonymous.promoted": "users",
    "user.device_key.added": "security",
    "user.device_key.removed": "security",
    "user.login_id.added": "security",
    "user.login_id.verified": "security",
    "user.login_id.removed": "security",
    "user.password.changed": "security",
}
"""What the audit log keeps of everybody, by category. What is as frequent as sign-ups and log-ins is not in it."""
NOT_KEPT = "login_id"
"""The detail that the audit log goes without: it is kept for longer than anybody's address should be."""
REPLAYS = ("refresh_token_reused", "authorization_code_reused")


@dataclass(frozen=True)
class Event:
    """`type` is a key of SIGNALS; `details` holds plain values and never a secret."""

    type: str
    end_user: EndUser
    session: Session | None = None
    details: dict[str, Any] = field(default_factory=dict)
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    occurred_at: datetime = field(default_factory=timezone.now)


def _by_session(name: str, session: Session | None) -> tuple[str, ...]:
    return (name, session.project.slug, session.kind) if session else (name, "", "")


def _promotion(event: Event) -> tuple[str, ...]:
    return ("anonusers_promotions_total", "superseded" if "anonymous_user" in event.details else "promoted")


COUNTED: dict[str, Callable[[Event], tuple[str, ...]]] = {
    "user.created": lambda event: _by_session("anonusers_signups_total", event.session),
    "user.anonymous.promoted": _promotion,
    "user.authenticated": lambda event: _by_session("anonusers_logins_total", event.session),
    "user.signed_out": lambda event: ("anonusers_sessions_ended_total", str(event.details["reason"])),
}
"""Event → the name and labels of its counter. Its session's project is at hand, so this costs no statement. Removals
are counted by the run that makes them (tasks.py)."""


def emit(event: Event) -> None:
    """Send the event's signal, and count it, once the transaction is committed; at once outside of one. What the audit
    log keeps is written in the transaction."""
    _audit(event)
    signal = SIGNALS[event.type]
    if signal.receivers:
        transaction.on_commit(lambda: _send(signal, event))
    if metrics.INSTALLED and event.type in COUNTED:
        transaction.on_commit(lambda: metrics.count(*COUNTED[event.type](event)), robust=True)


def emit_login_id(verb: str, row: LoginID, **details: Any) -> None:
    """`added`, `verified` or `removed`."""
    about = {"login_id_type": row.type, "login_id": row.value}
    emit(Event(f"user.login_id.{verb}", row.end_user, details=about | details))


def _audit(event: Event) -> None:
    category, type = AUDITED.get(event.type), event.type
    if event.details.get("reason") in REPLAYS:
        # Somebody else may have had the token: what an operator looks for when an account was taken over.
        category, type = "security", f"session.{event.details['reason']}"
    if category:
        person, session = event.end_user, event.session
        target = f"session:{session.pk}" if session else ""
        facts = {name: value for name, value in event.details.items() if name != NOT_KEPT}
        record(category, type, project=person.project_id, end_user_id=person.pk, target=target, changes=facts)


def _send(signal: Signal, event: Event) -> None:
    # send_robust logs what a receiver raises (logger django.dispatch).
    signal.send_robust(sender=EndUser, event=event)
