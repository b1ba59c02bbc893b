"""Projects as a whole: made, led to by hosts, deleted.

Deleting has two steps. Closing is one short transaction: no host leads to the project any more, so that nobody gets in
and nobody finds it. Its people and rows go after that, in batches that can be interrupted and go on later, since a
project may hold millions. `manage.py anonusers_cleanup` goes on with what is left.
"""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import DatabaseError, IntegrityError, connections, router, transaction
from django.db.models import Model
from django.db.models.deletion import ProtectedError, RestrictedError
from django.utils import timezone
from django.utils.translation import gettext as _

from anonusers import audit
from anonusers.adapters import get_adapter
from anonusers.errors import CleanupRefused
from anonusers.guest_data import Person, Plan, plan
from anonusers.keys import create_keys
from anonusers.models import (
    ActiveDay,
    AuditEvent,
    CleanupRun,
    DailyCount,
    DeviceKey,
    EndUser,
    LoginID,
    OneTimeToken,
    Project,
    ProjectDomain,
)
from anonusers.reach import Window, windows, without_guarded
from anonusers.removal import remove

BATCH = 500
ROWS = 5_000
COUNTED = 1_000
"""Beyond so many, nobody counts."""
REASON = "project"

# What may be too much for one statement. The rest is small and goes with the project's row.
LARGE: tuple[type[Any], ...] = (OneTimeToken, LoginID, DeviceKey, ActiveDay, DailyCount, AuditEvent, CleanupRun)


def create_project(*, slug: str, name: str, domains: Sequence[str] = (), actor: Any = None) -> Project:
    """A new project with its signing keys. Nobody can become a guest in it until somebody says so.

    Raises: ValidationError, keyed by `slug`, `name` or `domains`.
    """
    with transaction.atomic():
        project = Project(slug=slug, name=name)
        project.full_clean(validate_constraints=False)
        project.save(force_insert=True)
        set_domains(project, domains)
        create_keys(project)
        facts = {"name": name, "domains": sorted(domains)}
        audit.record("settings", "project.created", project=project, actor=actor, target="project", changes=facts)
    return project


def set_domains(project: Project, domains: Sequence[str]) -> None:
    """These hosts lead to the project, and no others.

    Raises: ValidationError, keyed by `domains`, where one leads to another project. Nothing is changed then.
    """
    taken = ProjectDomain.objects.filter(domain__in=domains).exclude(project=project).values_list("domain", flat=True)
    if problems := [_in_use(domain) for domain in sorted(taken)]:
        raise ValidationError({"domains": problems})
    try:
        with transaction.atomic():
            project.domains.exclude(domain__in=domains).delete()
            for domain in sorted(set(domains) - set(project.domains.values_list("domain", flat=True))):
                ProjectDomain.objects.create(project=project, domain=domain)
    except IntegrityError as error:  # another project took it meanwhile
        raise ValidationError({"domains": [_("One of these hosts has just been given to another project.")]}) from error


def _in_use(domain: str) -> str:
    # Not which project: whoever asks need not be allowed to know it.
    return _("%(domain)s: this host leads to another project. It has to be taken away there first.") % {
        "domain": domain[:100]
    }


@dataclass(frozen=True)
class Contents:
    """How many of what a project holds, counted up to COUNTED + 1."""

    people: int
    applications: int
    domains: int
    events: int


def contents_of(project: Project) -> Contents:
    """What would go with the project."""
    return Contents(
        people=_some(project.end_users),
        applications=_some(project.applications),
        domains=_some(project.domains),
        events=_some(project.audit_events),
    )


def _some(rows: Any) -> int:
    return int(rows.order_by("pk")[: COUNTED + 1].count())  # in order, or the table is read from its beginning


# --- deleting -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Remains:
    """How far a removal came. `is_gone`: nothing is left. `held` people cannot be removed: the host holds them."""

    is_gone: bool
    removed: int
    held: int


def close_project(*, project: Project, actor: Any = None) -> bool:
    """Shut the project: no host leads to it, its id is free for another one. False where somebody did so before.

    Raises: CleanupRefused, where it is not declared what becomes of the host's data.
    """
    _rules()
    with transaction.atomic():
        row = Project.objects.select_for_update().filter(pk=project.pk, deleted_at=None).first()
        if row is None:
            return False
        domains = sorted(row.domains.values_list("domain", flat=True))
        row.domains.all().delete()
        facts = {"name": row.name, "domains": domains}
        audit.record("settings", "project.deleted", project=None, actor=actor, target=row.slug, changes=facts)
        row.slug, row.deleted_at, row.anonymous_users_enabled = f"deleted-{uuid.uuid4().hex}", timezone.now(), False
        row.realm_app_id = ""  # free for another project, too
        row.save(update_fields=["slug", "realm_app_id", "deleted_at", "anonymous_users_enabled", "updated_at"])
    return True


def remove_closed(*, project: Project, seconds: float | None = None) -> Remains:
    """Remove what is left of a closed project, for so many seconds, or to the end.

    The host's rows of its people go as it is declared for guests; on whom something hangs that is to be kept, their
    row stays without anything that names them.
    Raises: CleanupRefused
    """
    assert project.deleted_at is not None, "close it first"  # noqa: S101
    until = None if seconds is None else time.monotonic() + seconds
    removed = held = 0
    rules = _rules()
    for window in windows(EndUser.objects.filter(project=project), BATCH):
        if _is_over(until):
            return Remains(is_gone=False, removed=removed, held=held)
        gone, stay = _remove_people(project, window, rules)
        removed, held = removed + gone, held + stay
    is_gone = not held and _remove_rows(project, until)
    return Remains(is_gone=is_gone, removed=removed, held=held)


def _rules() -> Plan:
    try:
        return plan()
    except ImproperlyConfigured as error:
        raise CleanupRefused(str(error)) from error


def _is_over(until: float | None) -> bool:
    return until is not None and time.monotonic() >= until


@transaction.atomic
def _remove_people(project: Project, window: Window, rules: Plan) -> tuple[int, int]:
    """How many of a window went, and how many are held."""
    rows = EndUser.objects.filter(project=project, pk__range=window).order_by("pk").select_for_update()
    people = [Person(pk, user_id) for pk, user_id in rows.values_list("pk", "user_id")]
    free = without_guarded(people, rules)
    guarded = sorted(set(people) - set(free), key=lambda person: person.id)
    emptied = remove(guarded, rules, reason=REASON, keep_users=True)
    for user in get_user_model()._default_manager.filter(pk__in=[person.user_id for person in emptied]):
        get_adapter().forget(user)
    gone = len(remove(free, rules, reason=REASON)) + len(emptied)
    return gone, len(people) - gone


def _remove_rows(project: Project, until: float | None) -> bool:
    """Whether nothing is left."""
    for model in LARGE:
        while _drop_some(model, project):
            if _is_over(until):
                return False
    try:
        with transaction.atomic():
            if until is None:
                _take_your_time()
            project.delete()
    except (ProtectedError, RestrictedError, DatabaseError):
        # Something of the host forbids it, or the database was asked for too much at once: the next run tries again.
        return False
    return True


def _drop_some(model: type[Model], project: Project) -> int:
    rows = model._base_manager.filter(project=project)
    found = list(rows.order_by("pk").values_list("pk", flat=True)[:ROWS])
    return int(model._base_manager.filter(pk__in=found)._raw_delete(router.db_for_write(model))) if found else 0


def _take_your_time() -> None:
    """Sessions have no index by project: for the last row PostgreSQL looks through all of them once."""
    connection = connections[router.db_for_write(Project)]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
