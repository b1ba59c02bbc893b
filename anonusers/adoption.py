"""The host's own users become regular end users: with a `sub`, and with login IDs that nobody else can take."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from anonusers import audit, events, onetime
from anonusers.adapters import get_adapter
from anonusers.errors import InvalidLoginID, LoginIDTaken
from anonusers.login_ids import EMAIL, LoginIDValue, parse_login_id
from anonusers.models import AnonymousIdentity, EndUser, LoginID, Project, lock_end_user

__all__ = ["Adopted", "adopt_guest", "adopt_user", "adopt_users", "follow_email"]

BATCH = 500


@dataclass(frozen=True)
class Adopted:
    """What a run did. `taken`: login IDs that somebody in the project has, or that two users share; their users are
    adopted without. `left_out`: users whom the adapter does not want adopted, such as staff."""

    users: int = 0
    login_ids: int = 0
    taken: int = 0
    left_out: int = 0

    def __add__(self, other: "Adopted") -> "Adopted":
        return Adopted(
            self.users + other.users,
            self.login_ids + other.login_ids,
            self.taken + other.taken,
            self.left_out + other.left_out,
        )


def adopt_user(
    *,
    project: Project,
    user: Any,
    sub: uuid.UUID | None = None,
    login_ids: Sequence[LoginIDValue] | None = None,
    verified: bool = False,
) -> EndUser:
    """The regular end user behind a saved row of AUTH_USER_MODEL: the one it has, else a new one.

    `sub` is the id that the person had elsewhere, for a new one. `login_ids` are what the person logs in with here, by
    default what the adapter reads from the row; `verified`: somebody has made sure that the addresses are theirs.
    Raises: LoginIDTaken, with nothing changed.
    """
    with transaction.atomic():
        known = EndUser.objects.filter(user=user).first()
        if known is not None:
            return known
        end_user = EndUser.objects.create(id=sub or uuid.uuid4(), project=project, user=user, adopted_at=timezone.now())
        for login_id in login_ids_of(project, user) if login_ids is None else login_ids:
            add_login_id(end_user, project, login_id, verified=verified)
        audit.record("users", "user.adopted", project=project, end_user_id=end_user.pk)
    return end_user


def adopt_guest(*, project: Project, user: Any, sub: uuid.UUID | None = None) -> EndUser:
    """The guest behind a saved row of AUTH_USER_MODEL that another package, or the host itself, had made for a visitor:
    the end user it has, else a new one with an anonymous identity. Its password becomes unusable.

    It has no session yet (`registration.sign_in` opens one), and `retention.guest_inactive_days` from now to come back.
    """
    with transaction.atomic():
        known = EndUser.objects.filter(user=user).first()
        if known is not None:
            return known
        end_user = EndUser.objects.create(id=sub or uuid.uuid4(), project=project, user=user)
        AnonymousIdentity.objects.create(end_user=end_user)
        user.set_unusable_password()
        user.save(update_fields=["password"])
    return end_user


def adopt_owner(project: Project, login_id: LoginIDValue) -> LoginID | None:
    """The login ID of a user of the host's own who has this address and becomes an end user now. None where there is
    nobody, or somebody whom the adapter does not want adopted."""
    adapter = get_adapter()
    user = adapter.find_user(project, login_id)
    if user is None or not adapter.may_adopt(user):
        return None
    try:
        end_user = adopt_user(project=project, user=user, login_ids=[login_id])
    except (IntegrityError, LoginIDTaken):  # by somebody else at this moment
        return None
    return end_user.login_ids.select_related("end_user__user").filter(key=login_id.key).first()


def adopt_users(
    *, project: Project, verified: bool = False, include_staff: bool = False, limit: int | None = None
) -> Iterator[Adopted]:
    """Adopt the users of the host who are no end users yet, batch by batch; each batch is a transaction, and what was
    done stays done. Yields what each batch did. Safe to run again, and beside another run."""
    model, last = get_user_model(), None
    while limit is None or limit > 0:
        rows = model._default_manager.filter(end_user=None).order_by("pk")
        rows = rows if last is None else rows.filter(pk__gt=last)
        users = list(rows[: min(BATCH, limit or BATCH)])
        if not users:
            break
        last = users[-1].pk
        yield _adopt_batch(project, users, verified=verified, include_staff=include_staff)
        limit = limit and limit - len(users)
        if limit == 0:
            break


def _adopt_batch(project: Project, users: list[Any], *, verified: bool, include_staff: bool) -> Adopted:
    wanted = [user for user in users if include_staff or get_adapter().may_adopt(user)]
    outcome = Adopted(left_out=len(users) - len(wanted))
    try:
        with transaction.atomic():
            return outcome + _insert(project, wanted, verified=verified)
    except IntegrityError:
        # Somebody of the batch was adopted, or took a login ID, at this moment: one by one nobody stops the others.
        for user in wanted:
            try:
                with transaction.atomic():
                    outcome += _insert(project, [user], verified=verified)
            except IntegrityError:
                outcome = replace(outcome, left_out=outcome.left_out + 1)
        return outcome


def _insert(project: Project, users: list[Any], *, verified: bool) -> Adopted:
    now = timezone.now()
    end_users = [EndUser(project=project, user=user, adopted_at=now) for user in users]
    wanted = [(end_user, login_id) for end_user in end_users for login_id in login_ids_of(project, end_user.user)]
    keys = {login_id.key for _, login_id in wanted}
    taken = set(LoginID.objects.filter(project=project, key__in=keys).values_list("key", flat=True))
    rows = []
    for end_user, login_id in wanted:
        if login_id.key not in taken:
            taken.add(login_id.key)  # the next user who has it goes without
            rows.append(_row(end_user, project, login_id, verified=verified))
    EndUser.objects.bulk_create(end_users)
    LoginID.objects.bulk_create(rows)
    return Adopted(users=len(end_users), login_ids=len(rows), taken=len(wanted) - len(rows))


def count_unadopted(*, include_staff: bool = False) -> int:
    """How many users of the host a run would look at."""
    rows = get_user_model()._default_manager.filter(end_user=None)
    names = {field.name for field in get_user_model()._meta.concrete_fields} & {"is_staff", "is_superuser"}
    return rows.exclude(Q() if include_staff else Q(*((name, True) for name in names), _connector=Q.OR)).count()


def login_ids_of(project: Project, user: Any) -> list[LoginIDValue]:
    """What a row of AUTH_USER_MODEL gives to log in with, of the kinds that the project uses and that we can read."""
    found = []
    for type, text in get_adapter().login_ids(user):
        if type in project.login_ids:
            try:
                found.append(parse_login_id(type, text))
            except InvalidLoginID:
                continue  # such as a user name of two letters: they log in with it at the host's own door
    return found


def add_login_id(end_user: EndUser, project: Project, login_id: LoginIDValue, *, verified: bool) -> LoginID:
    """Raises: LoginIDTaken."""
    row = _row(end_user, project, login_id, verified=verified)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        raise LoginIDTaken from None
    return row


def follow_email(
    end_user: EndUser, email: str, *, verified: bool = False, instead_of: Sequence[str] = (), add: bool = True
) -> LoginID | None:
    """The host says that `email` ("" for none) is its user's address, `instead_of` what it was before: it is what they
    log in with at our doors, and the others lead to nobody. `verified`: the host has made sure that it is theirs.
    Without `add` only an address that they log in with already becomes verified.

    None for a guest, who logs in with nothing; where the project does without addresses, and where we cannot read this
    one or somebody has it.
    """
    if EMAIL not in end_user.project.login_ids:
        return None
    wanted, before = _address(email), {address.key for text in instead_of if (address := _address(text))}
    with transaction.atomic():
        locked = lock_end_user(end_user.pk)
        if locked is None or locked.is_guest:
            return None
        own = locked.login_ids.filter(type=EMAIL)
        given_up = list(own.filter(key__in=before - {wanted.key if wanted else ""}))
        for lost in given_up:
            events.emit_login_id("removed", lost, by_host=True)
        if given_up:
            own.filter(pk__in=[lost.pk for lost in given_up]).delete()
            onetime.void_all(locked)  # links and codes that were sent there are worth nothing any more
        row = own.filter(key=wanted.key).first() if wanted is not None else None
        if row is None and wanted is not None and add:
            try:
                row = add_login_id(locked, end_user.project, wanted, verified=verified)
            except LoginIDTaken:
                return None
            events.emit_login_id("added", row, verified=verified, by_host=True)
        elif row is not None and verified and row.verified_at is None:
            row.verified_at = timezone.now()
            row.save(update_fields=["verified_at"])
            events.emit_login_id("verified", row, by_host=True)
    return row


def _address(email: str) -> LoginIDValue | None:
    try:
        return parse_login_id(EMAIL, email) if email else None
    except InvalidLoginID:
        return None


def _row(end_user: EndUser, project: Project, login_id: LoginIDValue, *, verified: bool) -> LoginID:
    return LoginID(
        project=project,
        end_user=end_user,
        type=login_id.type,
        value=login_id.value,
        key=login_id.key,
        verified_at=timezone.now() if verified else None,
    )
