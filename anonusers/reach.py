"""Who can still be reached: the rules by which a guest is gone for good, asked of the database batch by batch.

A guest may be removed when no session of theirs is live under the settings of now, and they, or their device key, were
last active before the project's retention; when nobody promoted or superseded them; and when nothing of the host's
that is to be kept hangs on them. Never by age alone.

Who was imported from a Realm app has no session before their app comes back: the import counts as being active, and
nobody of them goes while the migration lasts.
"""

import uuid
from collections.abc import Collection, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections, router
from django.db.models import DateTimeField, F, Q, QuerySet, Value
from django.db.models.functions import Coalesce

from anonusers import reach_postgres
from anonusers.guest_data import Person, Plan
from anonusers.models import AnonymousIdentity, Application, DeviceKey, EndUser, Project, Promotion, RealmUser, Session

Window = tuple[Any, Any]
"""The first and the last key of a batch."""
MOMENT = timedelta(microseconds=1)


def windows(queryset: QuerySet[Any], size: int) -> Iterator[Window]:
    """Ranges of the primary key that hold `size` rows each."""
    last: Any = None
    while page := _page(queryset, size, "pk", last):
        last = page[-1]
        yield page[0], last


def people_windows(project: Project, size: int) -> Iterator[Window]:
    """All end users of a project, in batches."""
    last: Any = None
    while True:
        with reach_postgres.in_order() if is_postgres() else nullcontext():
            page = _page(_people(project), size, _walked_by(), last)
        if not page:
            return
        last = page[-1]
        yield page[0], last


def _page(queryset: QuerySet[Any], size: int, by: str, last: Any) -> list[Any]:
    after = queryset if last is None else queryset.filter(**{f"{by}__gt": last})
    return list(after.order_by(by).values_list(by, flat=True)[:size])


def people_in(project: Project, window: Window) -> QuerySet[EndUser]:
    """The end users of such a batch, in the order in which they are walked over."""
    by = _walked_by()
    return _people(project).filter(**{f"{by}__gte": window[0], f"{by}__lte": window[1]}).order_by(by)


def _people(project: Project) -> QuerySet[EndUser]:
    if not is_postgres():
        return EndUser.objects.filter(project=project)
    # A sum, which no index has: where statistics are missing or old, PostgreSQL would read and sort the whole project
    # for each batch.
    return EndUser.objects.alias(of=F("project_id") + 0).filter(of=project.pk)


def aside_by(project: Project, window: Window, moment: datetime) -> list[uuid.UUID]:
    """Who of a batch was in quarantine by then."""
    if not is_postgres():  # MariaDB would compare the fallback as a text
        return list(people_in(project, window).filter(quarantined_at__lte=moment).values_list("pk", flat=True))
    # The fallback is never true, and keeps PostgreSQL from the index of everybody who is in quarantine.
    since = Coalesce("quarantined_at", Value(moment + timedelta(days=1), output_field=DateTimeField()))
    return list(people_in(project, window).alias(since=since).filter(since__lte=moment).values_list("pk", flat=True))


def guests_in(project: Project, window: Window) -> QuerySet[AnonymousIdentity]:
    return AnonymousIdentity.objects.filter(end_user__in=people_in(project, window).order_by())


def _walked_by() -> str:
    """PostgreSQL keeps rows where they were written, and keys of the host's mostly count up: who came together lies
    together, so that a batch touches a few pages of each table. By our ids, which are random, each guest would be a
    page of each table to read, to change and to log in full. SQLite and MariaDB keep rows by their keys."""
    return "user_id" if is_postgres() else "pk"


def is_postgres() -> bool:
    return connections[router.db_for_write(EndUser)].vendor == "postgresql"


def lifetimes(project: Project) -> reach_postgres.Rules:
    """Lifetime and idle timeout, by the settings of now: of cookies under None, of tokens by application."""
    idle = timedelta(seconds=project.session_idle_timeout) if project.session_idle_timeout_enabled else None
    rules = {None: (timedelta(seconds=project.session_lifetime), idle)}
    return rules | {
        application.pk: (
            timedelta(seconds=application.refresh_token_lifetime),
            timedelta(seconds=application.refresh_token_idle_timeout)
            if application.refresh_token_idle_timeout_enabled
            else None,
        )
        for application in Application.objects.filter(project=project)
    }


def live_sessions(project: Project, now: datetime) -> Q:
    """What `Session.is_live` says, for SQL; whether the user is disabled is not looked at."""
    live = Q()
    for application_id, (lifetime, idle) in lifetimes(project).items():
        which = Q(kind=Session.Kind.TOKEN, application=application_id)
        which = Q(kind=Session.Kind.COOKIE) if application_id is None else which
        which &= Q(created_at__gt=now - lifetime)
        live |= which if idle is None else which & Q(last_used_at__gt=now - idle)
    return Q(ended_at=None) & live


@dataclass(frozen=True)
class Standing:
    """A guest whom nothing leads back to from `lost_from` on, whatever hangs on them; or an end user in quarantine to
    whom something does lead back: then `lost_from` is None."""

    person: Person
    quarantined_at: datetime | None
    lost_from: datetime | None


def standings(
    project: Project,
    by: datetime,
    window: Window,
    *,
    only: Collection[uuid.UUID] | None = None,
    but_aside_by: datetime | None = None,
) -> list[Standing]:
    """Of a window's end users, those who are lost by a moment, and all who are in quarantine. `only` these, where it
    is given, and without those who were in quarantine by `but_aside_by`.

    Nobody is lost where the project keeps guests for ever.
    """
    people = people_in(project, window)
    if but_aside_by is not None:
        people = people.exclude(quarantined_at__lte=but_aside_by)
    if not project.guest_inactive_days:
        aside = people.filter(quarantined_at__isnull=False).values_list("pk", "user_id", "quarantined_at")
        return [Standing(Person(pk, user), at, None) for pk, user, at in aside if only is None or pk in only]
    if is_postgres():
        rows = reach_postgres.standings(
            project, by, window, rules=lifetimes(project), only=only, but_aside_by=but_aside_by
        )
        return [Standing(Person(pk, user), at, lost_from) for pk, user, at, lost_from in rows]
    old = people.filter(Q(created_at__lt=by - _retention(project)) | Q(quarantined_at__isnull=False))
    columns = ("pk", "user_id", "quarantined_at", "created_at", "disabled_at", *_host_columns())
    found = [row for row in old.values_list(*columns) if only is None or row[0] in only]
    traces = _traces(project, window) if found else {}
    standing = []
    for pk, user, at, created, disabled, *active in found:
        lost_from = None
        if (trace := traces.get(pk)) and not (trace.has_key and (disabled is not None or active == [False])):
            # Whom an operator disabled stays disabled: without the row, the key would make a new guest.
            lost_from = max([max([created, *trace.used]) + _retention(project) + MOMENT, *trace.over])
        if lost_from is not None and lost_from > by:
            lost_from = None
        if lost_from is not None or at is not None:
            standing.append(Standing(Person(pk, user), at, lost_from))
    return standing


def _retention(project: Project) -> timedelta:
    return timedelta(days=project.guest_inactive_days)


@dataclass
class _Trace:
    """What a guest has left: when a session or a key was used, and when sessions that nobody ended are over."""

    used: list[datetime] = field(default_factory=list)
    over: list[datetime] = field(default_factory=list)
    has_key: bool = False


def _traces(project: Project, window: Window) -> dict[uuid.UUID, _Trace]:
    """Of the guests of a window. One range of one index a statement, put together here: databases guess badly how many
    rows a range of UUIDs holds, and a join that is planned on a guess may compare everybody with everybody."""
    theirs = {"end_user__gte": window[0], "end_user__lte": window[1]}
    guests = AnonymousIdentity.objects.filter(**theirs).values_list("pk", flat=True)
    traces = {pk: _Trace() for pk in guests}
    for pk in Promotion.objects.filter(**theirs).values_list("pk", flat=True):
        traces.pop(pk, None)
    until = project.realm_migration_ends_at
    imported = RealmUser.objects.filter(**theirs, imported_at__isnull=False)
    for pk, at, adopted in imported.values_list("pk", "imported_at", "adopted_at"):
        if at is not None and (trace := traces.get(pk)):
            trace.used.append(at)
            if until is not None and adopted is None:
                trace.over.append(until)
    for pk, used in DeviceKey.objects.filter(**theirs).values_list("end_user_id", "last_used_at"):
        if trace := traces.get(pk):
            trace.used.append(used)
            trace.has_key = True
    rules = lifetimes(project)
    columns = ("end_user_id", "kind", "application_id", "created_at", "last_used_at", "ended_at")
    for pk, kind, application_id, created, used, ended in Session.objects.filter(**theirs).values_list(*columns):
        if not (trace := traces.get(pk)):
            continue
        trace.used.append(used)
        rule = rules.get(None if kind == Session.Kind.COOKIE else application_id)
        if ended is None and rule is not None:
            lifetime, idle = rule
            trace.over.append(created + lifetime if idle is None else min(created + lifetime, used + idle))
    return traces


def _host_columns() -> list[str]:
    """What the host's own row says of being disabled, where its model has a column for that."""
    fields = {field.name for field in get_user_model()._meta.concrete_fields}
    return ["user__is_active"] if "is_active" in fields else []


def hold(ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Lock these end users. Those whom somebody else holds are passed over: they are in use, or in the hands of another
    clean-up."""
    if is_postgres():
        return reach_postgres.hold(ids)
    features: Any = connections[router.db_for_write(EndUser)].features
    rows = EndUser.objects.filter(pk__in=ids).order_by("pk")
    return set(
        rows.select_for_update(skip_locked=features.has_select_for_update_skip_locked).values_list("pk", flat=True)
    )


def wait_at_most(seconds: float) -> None:
    """For a lock of somebody else, in this transaction; other databases wait as long as they are set up to."""
    if is_postgres():
        reach_postgres.wait_at_most(seconds)


def without_guarded(people: list[Person], plan: Plan) -> list[Person]:
    """Those on whom nothing hangs that the host wants kept: one statement for each such relation."""
    for relation in plan.keep:
        if not people:
            break
        key = attrgetter("id" if relation.of_end_user else "user_id")
        guarded = relation.led_to([key(person) for person in people])
        people = [person for person in people if str(key(person)) not in guarded]
    return people
