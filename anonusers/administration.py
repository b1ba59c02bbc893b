"""What an operator does with people: disable and enable, delete, end their sessions, make a guest for somebody.

Whoever calls this writes the audit log, in the same transaction. The end user's row is locked first, as everywhere.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone

from anonusers import events
from anonusers.adapters import get_adapter
from anonusers.device_keys import new_recovery_code
from anonusers.erasure import Erasure, erase
from anonusers.errors import (
    AnonymousUsersDisabled,
    ApplicationTypeNotAllowed,
    ErasureForbidden,
    PublicSignupDisabled,
    UnknownSession,
)
from anonusers.models import AnonymousIdentity, Application, EndUser, Project, Session, insert_together, lock_end_user
from anonusers.sessions import end_session


@dataclass(frozen=True)
class HandedOver:
    """A new guest, and the code that brings them to a device. The code is shown once and is nowhere else."""

    end_user: EndUser
    code: str
    expires_at: datetime


def create_guest(*, project: Project, application: Application) -> HandedOver:
    """A guest without a session and without a key: the recovery code is the only way to them, and good once.

    No session is opened that nobody has a secret of, and no budget of sign-ups is spent: an operator is no stranger.
    Raises: ApplicationTypeNotAllowed, AnonymousUsersDisabled, PublicSignupDisabled, SignupVetoed.
    """
    if not application.may_have_guests:
        raise ApplicationTypeNotAllowed
    if not project.anonymous_users_enabled:
        raise AnonymousUsersDisabled  # the code would be refused, too
    adapter = get_adapter()
    if not adapter.is_open_for_signup(project):
        raise PublicSignupDisabled
    with transaction.atomic():
        adapter.pre_create(project, application)
        sub = uuid.uuid4()
        end_user = EndUser(id=sub, project=project, user=adapter.create_guest(sub), application=application)
        insert_together(end_user, AnonymousIdentity(end_user=end_user))
        issued = new_recovery_code(end_user, project)
        events.emit(events.Event("user.created", end_user))
    return HandedOver(end_user, issued.code, issued.expires_at)


def disable_user(*, end_user: EndUser, now: datetime | None = None) -> bool:
    """From now on no session and no token of theirs is accepted, and nobody can sign in as them. Nothing is lost: the
    sessions sleep. False where they are disabled already, or gone."""
    with transaction.atomic():
        locked = lock_end_user(end_user.pk)
        if locked is None or locked.disabled_at is not None:
            return False
        end_user.disabled_at = now or timezone.now()
        return bool(EndUser.objects.filter(pk=end_user.pk).update(disabled_at=end_user.disabled_at))


def enable_user(*, end_user: EndUser) -> bool:
    """Their sessions wake, as far as they have not expired meanwhile. False where they are not disabled."""
    with transaction.atomic():
        locked = lock_end_user(end_user.pk)
        if locked is None or locked.disabled_at is None:
            return False
        end_user.disabled_at = None
        return bool(EndUser.objects.filter(pk=end_user.pk).update(disabled_at=None))


def end_sessions(*, end_user: EndUser) -> int:
    """End every session of theirs, wherever it is. Returns how many."""
    with transaction.atomic():
        # First, as everybody does who ends sessions: one that a code is being exchanged for must not slip through.
        lock_end_user(end_user.pk)
        open_ones = Session.objects.in_full().filter(end_user=end_user, ended_at=None).order_by("pk")
        return sum(end_session(session, reason="revoked") for session in open_ones)


def end_one_session(*, end_user: EndUser, session_id: uuid.UUID) -> Session:
    """End one session, also one that sleeps because its user is disabled.

    Raises: UnknownSession, also for a session of somebody else.
    """
    session = Session.objects.in_full().filter(end_user=end_user, pk=session_id, ended_at=None).first()
    if session is None or not end_session(session, reason="revoked"):
        raise UnknownSession
    return session


def delete_user(*, end_user: EndUser, dry_run: bool = False) -> Erasure:
    """Erase a person; a dry run only counts.

    Raises: ErasureForbidden, also for an account of staff: an operator must not lose theirs by this; CleanupRefused.
    """
    with transaction.atomic():
        lock_end_user(end_user.pk)
        if is_staff(end_user):
            raise ErasureForbidden("This account belongs to the staff. It is deleted where staff accounts are kept.")
        return erase(end_user, dry_run=dry_run)


def is_staff(end_user: EndUser) -> bool:
    """Whether the host's row of a person is one of staff, as it is stored now."""
    user: Any = get_user_model()._base_manager.filter(pk=end_user.user_id).first()
    return bool(getattr(user, "is_staff", False) or getattr(user, "is_superuser", False))
