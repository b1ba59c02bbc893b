"""The users of an app of MongoDB's become end users here: with their ids and identities, and without passwords, which
nobody gets out of there. Guests stay guests; who has an address sets a new password by mail."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.utils import timezone

from anonusers import audit
from anonusers.adapters import get_adapter
from anonusers.errors import InvalidLoginID, InvalidRealmFiles
from anonusers.login_ids import EMAIL, LoginIDValue, parse_login_id
from anonusers.models import (
    AnonymousIdentity,
    EmailRegistration,
    EndUser,
    LoginID,
    Project,
    RealmIdentity,
    RealmUser,
)
from anonusers.realm_kept import check_ids
from anonusers.realm_user_rows import Problem, UserRow, read_users
from anonusers.realm_users import LOCAL_USERPASS, realm_app_of

BATCH = 500


@dataclass(frozen=True)
class Imports:
    """What a run did. `known`: who was imported before."""

    guests: int = 0
    regular: int = 0
    disabled: int = 0
    known: int = 0
    problems: tuple[Problem, ...] = ()

    def __add__(self, other: "Imports") -> "Imports":
        return Imports(
            self.guests + other.guests,
            self.regular + other.regular,
            self.disabled + other.disabled,
            self.known + other.known,
            self.problems + other.problems,
        )


@dataclass
class _Seen:
    """What the file has had, and of whom."""

    ids: dict[str, int] = field(default_factory=dict)
    identities: dict[tuple[str, str], int] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Wanted:
    row: UserRow
    login_id: LoginIDValue | None  # None: a guest


def import_users(
    *,
    project: Project,
    path: Path,
    verified: bool = False,
    domain_id: str = "",
    dry_run: bool = False,
    batch: int = BATCH,
    actor: Any = None,
) -> Iterator[Imports]:
    """Import the file batch by batch; each batch is a transaction, and what was done stays done. Yields what each did.

    Safe to run again, and beside another run. `verified`: somebody has made sure that the addresses are theirs.
    `domain_id`: of MongoDB's user pool, by which old tokens are known.
    Raises: InvalidRealmFiles before anything is done, where the file is broken or the project serves no Realm app.
    """
    if not project.realm_app_id:
        raise InvalidRealmFiles("The project has no app ID (realm.app_id). Import the app's directory first.")
    now = timezone.now()
    for _ in read_users(path, now=now):
        pass  # the whole file is read before anything of it is done
    if domain_id:
        _set_domain(project, domain_id, dry_run=dry_run)
    rows, seen, total = read_users(path, now=now), _Seen(), Imports()
    while found := list(islice(rows, batch)):
        imported = _import(project, found, seen, now, verified=verified, dry_run=dry_run)
        total += imported
        yield imported
    if (total.guests or total.regular) and not dry_run:
        facts = {"guests": total.guests, "regular": total.regular, "verified": verified}
        audit.record("users", "users.realm_imported", project=project, actor=actor, changes=facts)


def _set_domain(project: Project, domain_id: str, *, dry_run: bool) -> None:
    app = getattr(project, "realm_app", None) if dry_run else realm_app_of(project)
    check_ids(app, {"domain_id": domain_id})
    if app is not None and not dry_run:
        app.domain_id = domain_id
        app.save(update_fields=["domain_id"])


def _import(
    project: Project, found: Sequence[UserRow | Problem], seen: _Seen, now: datetime, *, verified: bool, dry_run: bool
) -> Imports:
    problems = [one for one in found if isinstance(one, Problem)]
    rows = [one for one in found if isinstance(one, UserRow)]
    wanted, known = _wanted(project, rows, seen, problems)
    if not dry_run:
        try:
            with transaction.atomic():
                _insert(project, wanted, now, verified=verified)
        except IntegrityError:
            # Somebody of the batch came in by another door at this moment: one by one nobody stops the others.
            wanted = [one for one in wanted if _insert_alone(project, one, now, problems, verified=verified)]
    return Imports(
        guests=sum(one.login_id is None for one in wanted),
        regular=sum(one.login_id is not None for one in wanted),
        disabled=sum(one.row.disabled for one in wanted),
        known=known,
        problems=tuple(sorted(problems, key=lambda problem: problem.number)),
    )


def _wanted(project: Project, rows: list[UserRow], seen: _Seen, problems: list[Problem]) -> tuple[list[_Wanted], int]:
    """Who can be made, and how many are here already; the others are problems."""
    ids = [row.object_id for row in rows]
    known = set(RealmUser.objects.filter(project=project, object_id__in=ids).values_list("object_id", flat=True))
    named = [identity.id for row in rows for identity in row.identities]
    identities = RealmIdentity.objects.filter(project=project, identity_id__in=named)
    taken = set(identities.values_list("provider_type", "identity_id"))
    login_ids = {row.number: _login_id(row.email) for row in rows if row.email}
    keys = [login_id.key for login_id in login_ids.values() if login_id]
    taken_keys = set(LoginID.objects.filter(project=project, key__in=keys).values_list("key", flat=True))
    taken_keys |= set(EmailRegistration.objects.filter(project=project, key__in=keys).values_list("key", flat=True))
    wanted: list[_Wanted] = []
    again = 0
    for row in rows:
        own = [(identity.provider_type, identity.id) for identity in row.identities]
        login_id = login_ids.get(row.number)
        reason = ""
        if before := seen.ids.get(row.object_id):
            reason = f"_id: It is that of user {before} already."
        elif row.object_id in known:
            again += 1
            seen.ids[row.object_id] = row.number
            continue
        elif before := next((seen.identities[one] for one in own if one in seen.identities), 0):
            reason = f"identities: One of them is that of user {before} already."
        elif taken & set(own):
            reason = "identities: One of them is somebody else's here."
        elif row.email:
            reason = _no_login_id(project, login_id, seen, taken_keys)
        if reason:
            problems.append(Problem(row.number, row.line, reason))
            continue
        seen.ids[row.object_id] = row.number
        seen.identities |= dict.fromkeys(own, row.number)
        if login_id:
            seen.keys[login_id.key] = row.number
        wanted.append(_Wanted(row, login_id))
    return wanted, again


def _no_login_id(project: Project, login_id: LoginIDValue | None, seen: _Seen, taken: set[str]) -> str:
    """Why this address cannot be somebody's to log in with; empty where it can."""
    if EMAIL not in project.login_ids:
        return "Nobody logs in to this project by e-mail (sign_in.login_ids)."
    if login_id is None:
        return "email: This is no address that we can send to."
    if before := seen.keys.get(login_id.key):
        return f"email: It is that of user {before} already."
    if login_id.key in taken or get_adapter().find_user(project, login_id) is not None:
        return "email: Somebody has this address here."
    return ""


def _login_id(email: str) -> LoginIDValue | None:
    try:
        return parse_login_id(EMAIL, email)
    except InvalidLoginID:
        return None


def _insert_alone(project: Project, one: _Wanted, now: datetime, problems: list[Problem], *, verified: bool) -> bool:
    try:
        with transaction.atomic():
            _insert(project, [one], now, verified=verified)
    except IntegrityError:
        reason = "Somebody took its id, its identity or its address at this moment."
        problems.append(Problem(one.row.number, one.row.line, reason))
        return False
    return True


def _insert(project: Project, wanted: list[_Wanted], now: datetime, *, verified: bool) -> None:
    made = [(one, _end_user(project, one, now, verified=verified)) for one in wanted]
    people = [end_user for _, end_user in made]
    EndUser.objects.bulk_create(people)
    guests = [AnonymousIdentity(end_user=end_user) for one, end_user in made if one.login_id is None]
    AnonymousIdentity.objects.bulk_create(guests)
    RealmUser.objects.bulk_create(
        RealmUser(end_user=end_user, project=project, object_id=one.row.object_id, imported_at=now)
        for one, end_user in made
    )
    RealmIdentity.objects.bulk_create(
        RealmIdentity(
            project=project,
            end_user=end_user,
            provider_type=identity.provider_type,
            identity_id=identity.id,
            # By its address the identity is told from others: in the spelling of the login ID.
            data={"email": one.login_id.value} if identity.provider_type == LOCAL_USERPASS and one.login_id else {},
        )
        for one, end_user in made
        for identity in one.row.identities
    )
    LoginID.objects.bulk_create(
        LoginID(
            project=project,
            end_user=end_user,
            type=one.login_id.type,
            value=one.login_id.value,
            key=one.login_id.key,
            verified_at=now if verified else None,
        )
        for one, end_user in made
        if one.login_id is not None
    )
    _date_back(made, guests)


def _end_user(project: Project, one: _Wanted, now: datetime, *, verified: bool) -> EndUser:
    end_user = EndUser(project=project, disabled_at=now if one.row.disabled else None)
    adapter = get_adapter()
    end_user.user = adapter.create_guest(end_user.pk)
    if one.login_id is not None:
        end_user.adopted_at = now
        adapter.fill(end_user.user, one.login_id, verified=verified, password=None)
    return end_user


def _date_back(made: list[tuple[_Wanted, EndUser]], guests: list[AnonymousIdentity]) -> None:
    """Since when they are there; both columns are filled by themselves when a row is made."""
    since = {end_user.pk: one.row.created_at for one, end_user in made if one.row.created_at is not None}
    dated = [end_user for _, end_user in made if end_user.pk in since]
    identities = [one for one in guests if one.pk in since]
    for end_user in dated:
        end_user.created_at = since[end_user.pk]
    for identity in identities:
        identity.created_at = since[identity.pk]
    EndUser.objects.bulk_update(dated, ["created_at"])
    AnonymousIdentity.objects.bulk_update(identities, ["created_at"])
    model = get_user_model()
    if any(column.name == "date_joined" for column in model._meta.concrete_fields):
        for end_user in dated:
            end_user.user.date_joined = since[end_user.pk]
        model._default_manager.bulk_update([end_user.user for end_user in dated], ["date_joined"])
