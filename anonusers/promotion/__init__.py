"""Promotion: THE one place where a guest becomes a regular user and keeps the same `sub`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, transaction
from django.utils import timezone

from anonusers import events, onetime
from anonusers.adapters import get_adapter
from anonusers.adoption import add_login_id, login_ids_of
from anonusers.errors import FlowGone, GuestGone, LoginIDTaken, UserDisabled, UserIsRegular
from anonusers.login_ids import LoginIDValue
from anonusers.models import (
    AnonymousIdentity,
    Application,
    DeviceKey,
    EndUser,
    LoginID,
    Project,
    Promotion,
    Session,
    lock_end_user,
)
from anonusers.promotion.base import Proof


@dataclass(frozen=True)
class Promoted:
    """Who the person is now. `superseded` is the guest they were, where they went into another account."""

    end_user: EndUser
    superseded: EndUser | None = None


def promote(
    *,
    end_user: EndUser,
    project: Project,
    proof: Proof,
    application: Application | None = None,
    keep_session: Session | None = None,
) -> Promoted:
    """Make a regular user of a guest, in one transaction that holds the user's row.

    Every session, token, code and key of the guest ends with the commit, except `keep_session`: whoever had got hold
    of the guest before must not come along (Sudhodanan & Paverd 2022, unexpired session).
    Raises: GuestGone (deleted or disabled meanwhile), UserIsRegular (promoted meanwhile), LoginIDTaken.
    """

    def fill(locked: EndUser) -> str:
        add_login_id(locked, project, proof.login_id, verified=proof.verified)
        other = get_adapter().find_user(project, proof.login_id)
        if other is not None and other.pk != locked.user_id:
            raise LoginIDTaken  # by somebody of the host's own, who was never a guest
        try:
            with transaction.atomic():
                get_adapter().fill(locked.user, proof.login_id, verified=proof.verified, password=proof.password)
        except IntegrityError:
            # The host gave this name to somebody of its own, between the adapter's look and its write.
            raise LoginIDTaken from None
        return proof.login_id.type

    return _promote(end_user, fill, method=proof.method, application=application, keep_session=keep_session)


def promote_as_saved(
    *,
    end_user: EndUser,
    project: Project,
    save: Callable[[], Any],
    login_ids: Sequence[LoginIDValue] | None = None,
    verified: bool = False,
    method: str,
    application: Application | None = None,
    keep_session: Session | None = None,
) -> Promoted:
    """Make a regular user of a guest whose row the host fills itself: `save()` writes it, in the same transaction.

    `login_ids` are what the person logs in with here; None: what the adapter reads from the saved row.
    Raises: what promote() and `save()` raise; ImproperlyConfigured where another row was saved; nothing is changed.
    """

    def fill(locked: EndUser) -> str:
        user = save()
        if getattr(user, "pk", None) != locked.user_id:
            raise ImproperlyConfigured(
                "save() must fill and return the guest's own row: give your form instance=registering_user(request)."
            )
        given = login_ids_of(project, user) if login_ids is None else login_ids
        for login_id in given:
            add_login_id(locked, project, login_id, verified=verified)
        return ",".join(login_id.type for login_id in given)

    return _promote(end_user, fill, method=method, application=application, keep_session=keep_session)


def _promote(
    end_user: EndUser,
    fill: Callable[[EndUser], str],
    *,
    method: str,
    application: Application | None,
    keep_session: Session | None,
) -> Promoted:
    """`fill` makes the locked row a regular user's, and says which types of login IDs it has now."""
    with transaction.atomic():
        locked = _lock(end_user)
        # Whose DELETE finds the identity promotes; everybody else is too late.
        if not AnonymousIdentity.objects.filter(pk=locked.pk).delete()[0]:
            raise UserIsRegular
        types = fill(locked)
        retire_key(locked)
        end_all_sessions(locked, keep=keep_session)
        onetime.void_all(locked)
        Promotion.objects.create(
            end_user=locked, outcome=Promotion.Outcome.PROMOTED, method=method, application=application
        )
        EndUser.objects.filter(pk=locked.pk).update(promoted_at=timezone.now())
        promoted = EndUser.objects.select_related("user").get(pk=locked.pk)
        details: dict[str, Any] = {"method": method, "login_id_type": types}
        events.emit(events.Event("user.anonymous.promoted", promoted, details=details))
    return Promoted(promoted)


def supersede(*, guest: EndUser, by: EndUser, application: Application | None = None, method: str) -> Promoted:
    """The guest's person has proven to be `by`, an account that existed before, and goes on as that one.

    The guest's sessions end now and not before; the guest stays on record for clean-up and for a merge by the host.
    Raises: GuestGone, UserIsRegular.
    """
    with transaction.atomic():
        locked = _lock(guest)
        if not AnonymousIdentity.objects.filter(pk=locked.pk).exists():
            raise UserIsRegular
        retire_key(locked)
        end_all_sessions(locked)
        onetime.void_all(locked)
        Promotion.objects.create(
            end_user=locked,
            outcome=Promotion.Outcome.SUPERSEDED,
            superseded_by=by,
            application=application,
            method=method,
        )
        details = {"method": method, "anonymous_user": str(locked.pk)}
        events.emit(events.Event("user.anonymous.promoted", by, details=details))
    return Promoted(by, superseded=locked)


def end_all_sessions(end_user: EndUser, *, keep: Session | None = None) -> int:
    """End every session of a user but one. Returns how many."""
    sessions = Session.objects.filter(end_user=end_user, ended_at=None)
    if keep is not None:
        sessions = sessions.exclude(pk=keep.pk)
    return sessions.update(ended_at=timezone.now())


def retire_key(end_user: EndUser) -> None:
    """Leave a tombstone of the guest's device key: it leads to nobody from now on."""
    DeviceKey.objects.filter(end_user=end_user).update(end_user=None, retired_at=timezone.now())


def find_login_id(project: Project, login_id: LoginIDValue) -> LoginID | None:
    return LoginID.objects.select_related("end_user__user").filter(project=project, key=login_id.key).first()


def claim(row: LoginID) -> None:
    """Somebody has read a code at this address. If nobody had before, whoever typed it in need not be its owner:
    their password, their sessions, their API keys and their other login IDs go (pre-hijacking).

    Raises: FlowGone, where the account was removed since somebody looked.
    """
    if row.verified_at is not None:
        return
    with transaction.atomic():
        # First, as everybody does who ends sessions: one that a code is being exchanged for must not slip through.
        if lock_end_user(row.end_user_id) is None:
            raise FlowGone
        if LoginID.objects.filter(pk=row.pk, verified_at=None).update(verified_at=timezone.now()):
            row.end_user.user.set_unusable_password()
            row.end_user.user.save(update_fields=["password"])
            others = row.end_user.login_ids.exclude(pk=row.pk)
            for other in others:
                events.emit_login_id("removed", other)
            others.delete()
            row.end_user.api_keys.all().delete()
            end_all_sessions(row.end_user)
            onetime.void_all(row.end_user)
            events.emit_login_id("verified", row, claimed=True)
    row.refresh_from_db(fields=["verified_at"])


def demand_enabled(end_user: EndUser) -> None:
    """Raises: UserDisabled."""
    if end_user.disabled_at is not None or not getattr(end_user.user, "is_active", True):
        raise UserDisabled


def _lock(end_user: EndUser) -> EndUser:
    # Without a join: MariaDB has no FOR UPDATE OF, and the host's row is not ours to lock.
    locked = EndUser.objects.select_for_update().filter(pk=end_user.pk).first()
    if locked is None or locked.disabled_at is not None or not getattr(locked.user, "is_active", True):
        raise GuestGone
    if Promotion.objects.filter(pk=locked.pk, outcome=Promotion.Outcome.SUPERSEDED).exists():
        raise GuestGone  # its person went on as somebody else, in another tab
    return locked
