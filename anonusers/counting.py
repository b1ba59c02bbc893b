"""Count what happened in a project on some days (UTC), by range scans of indexes: one statement."""

import uuid
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

from django.db.models import (
    BigIntegerField,
    Case,
    CharField,
    Count,
    DateField,
    Exists,
    F,
    IntegerField,
    OuterRef,
    Q,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce, TruncDate

from anonusers.models import ActiveDay, AuditEvent, CleanupRun, EndUser, Project, Promotion

CREATED = "created"
ACTIVE_GUESTS, ACTIVE_REGULARS = "active_guests", "active_regulars"
"""Everybody once a day, as what they were when they were first seen on it; guests on the day of their sign-up, too."""
PROMOTION_STARTED = "promotion_started"
PROMOTED, SUPERSEDED = "promoted", "superseded"
EXPIRED, DELETED = "expired", "deleted"
COHORT_RETURNED, COHORT_STARTED, COHORT_PROMOTED = "cohort_returned", "cohort_started", "cohort_promoted"
"""Of those who signed up on the day: how many have done it since, each once."""

TIME_TO_PROMOTE = {
    "promoted_in_hour": timedelta(hours=1),
    "promoted_in_day": timedelta(days=1),
    "promoted_in_week": timedelta(days=7),
    "promoted_in_month": timedelta(days=30),
    "promoted_later": timedelta.max,
}
"""How long after their sign-up those were promoted who were promoted on the day."""
STARTED_EVENT = "user.promotion.started"


class Key(NamedTuple):
    """What is counted. `application_id` is where people signed up; of `active_…`, `promoted…` and `superseded` where
    they did it."""

    name: str
    day: date
    application_id: int | None = None
    method: str = ""


def day_of(moment: datetime) -> date:
    """The day (UTC) on which something happened."""
    return moment.astimezone(UTC).date()


def count(project: Project, first: date, end: date, *, people: Collection[uuid.UUID] | None = None) -> "Counter[Key]":
    """What happened on the days from `first` to before `end`: one statement."""
    if first >= end:
        return Counter()
    span = _Span(project, first, end, people)
    parts = [_created, _active, _returned, _started, _promoted, _superseded] + ([_expired] if people is None else [])
    head, *tail = [part(span) for part in parts]
    counts: Counter[Key] = Counter()
    for row in head.union(*tail, all=True):
        for key in _keys(_Row(*row)):
            counts[key] += row[-1] or 0
    return +counts


class _Row(NamedTuple):
    """What a statement has counted. `cohort` is the day on which they signed up, `home` the application."""

    name: str
    day: date
    cohort: date | None
    home: int | None
    application_id: int | None
    method: str
    bucket: str
    number: int


@dataclass(frozen=True)
class _Span:
    """What is looked at: days from `first` to before `end`; of some people only, or of all."""

    project: Project
    first: date
    end: date
    people: Collection[uuid.UUID] | None

    def at(self, field: str) -> Q:
        start, end = (datetime.combine(day, time.min, UTC) for day in (self.first, self.end))
        return Q(**{f"{field}__gte": start, f"{field}__lt": end})

    def of(self, field: str) -> Q:
        return Q() if self.people is None else Q(**{f"{field}__in": self.people})


def _keys(row: _Row) -> Iterable[Key]:
    """Everything that a counted row counts for."""
    if row.name == "returned":
        pass
    elif row.name == PROMOTION_STARTED:
        yield Key(row.name, row.day, row.home)
    else:
        yield Key(row.name, row.day, row.application_id, row.method)
    if row.name == CREATED:
        yield Key(ACTIVE_GUESTS, row.day, row.application_id)
    if row.name == PROMOTED:
        yield Key(row.bucket, row.day, row.application_id)
    cohort = {"returned": COHORT_RETURNED, PROMOTED: COHORT_PROMOTED}.get(row.name, "")
    if row.name == PROMOTION_STARTED and row.bucket == "first":
        cohort = COHORT_STARTED
    if cohort and row.cohort:
        yield Key(cohort, row.cohort, row.home)


def _rows(queryset: Any, **columns: Any) -> Any:
    """The queryset grouped by these columns, in the shape of _Row."""
    columns = {
        "name": columns.pop("name"),
        "day": columns.pop("day"),
        "cohort": columns.pop("cohort", Cast(Value(None), DateField())),
        "home": columns.pop("home", Cast(Value(None), BigIntegerField())),
        "application": columns.pop("application", Cast(Value(None), BigIntegerField())),
        "method": columns.pop("method", Value("", output_field=CharField())),
        "bucket": columns.pop("bucket", Value("", output_field=CharField())),
        "count": columns.pop("count"),
    }
    aliases = {f"c_{name}": column for name, column in columns.items()}  # no model has columns of these names
    count = aliases.pop("c_count")
    grouped = queryset.order_by().annotate(**aliases).values(*aliases)
    return grouped.annotate(c_count=count).values_list(*aliases, "c_count")


def _named(name: str) -> Value:
    return Value(name, output_field=CharField())


def _on(field: str) -> TruncDate:
    return TruncDate(field, tzinfo=UTC)


def _of_end_user(pk: str, field: str) -> Subquery:
    """A column of somebody's row, by its primary key for each: a join might read everybody."""
    return Subquery(EndUser.objects.filter(pk=OuterRef(pk)).values(field)[:1])


def _created(span: _Span) -> Any:
    people = EndUser.objects.filter(span.at("created_at"), span.of("pk"), project=span.project, adopted_at=None)
    return _rows(
        people, name=_named(CREATED), day=_on("created_at"), application=F("application_id"), count=Count("pk")
    )


def _active(span: _Span) -> Any:
    here = ActiveDay.objects.filter(span.of("end_user_id"), project=span.project, day__gte=span.first, day__lt=span.end)
    name = Case(When(was_guest=True, then=_named(ACTIVE_GUESTS)), default=_named(ACTIVE_REGULARS))
    return _rows(here, name=name, day=F("day"), application=F("application_id"), count=Count("pk"))


def _returned(span: _Span) -> Any:
    people = EndUser.objects.filter(span.at("returned_at"), span.of("pk"), project=span.project)
    return _rows(
        people,
        name=_named("returned"),
        day=_on("returned_at"),
        cohort=_on("created_at"),
        home=F("application_id"),
        count=Count("pk"),
    )


def _started(span: _Span) -> Any:
    events = AuditEvent.objects.filter(
        span.at("created_at"), span.of("end_user_id"), project=span.project, type=STARTED_EVENT
    ).annotate(on=_on("created_at"), signed_up=_of_end_user("end_user_id", "created_at"))
    # Of the erased the record lives on under a pseudonym; they were counted when they went.
    events = events.filter(signed_up__isnull=False)
    earlier = AuditEvent.objects.filter(end_user_id=OuterRef("end_user_id"), type=STARTED_EVENT).annotate(
        before=_on("created_at")
    )
    return _rows(
        events,
        name=_named(PROMOTION_STARTED),
        day=F("on"),
        cohort=_on("signed_up"),
        home=_of_end_user("end_user_id", "application_id"),
        bucket=Case(When(Exists(earlier.filter(before__lt=OuterRef("on"))), then=Value("")), default=_named("first")),
        count=Count("end_user_id", distinct=True),
    )


def _promoted(span: _Span) -> Any:
    promotion = Promotion.objects.filter(pk=OuterRef("pk"))
    people = EndUser.objects.filter(span.at("promoted_at"), span.of("pk"), project=span.project)
    *limits, (latest, _ever) = TIME_TO_PROMOTE.items()
    return _rows(
        people,
        name=_named(PROMOTED),
        day=_on("promoted_at"),
        cohort=_on("created_at"),
        home=F("application_id"),
        application=Subquery(promotion.values("application_id")[:1]),
        method=Coalesce(Subquery(promotion.values("method")[:1]), Value("")),
        bucket=Case(
            *(When(promoted_at__lte=F("created_at") + within, then=_named(name)) for name, within in limits),
            default=_named(latest),
        ),
        count=Count("pk"),
    )


def _superseded(span: _Span) -> Any:
    guests = Promotion.objects.filter(span.at("created_at"), span.of("pk"), outcome=Promotion.Outcome.SUPERSEDED)
    return _rows(
        guests.alias(their_project=_of_end_user("pk", "project_id")).filter(their_project=span.project.pk),
        name=_named(SUPERSEDED),
        day=_on("created_at"),
        application=F("application_id"),
        method=F("method"),
        count=Count("pk"),
    )


def _expired(span: _Span) -> Any:
    runs = CleanupRun.objects.filter(span.at("started_at"), project=span.project)
    removed = KeyTextTransform("removed", KeyTextTransform("counts", "report"))
    return _rows(
        runs, name=_named(EXPIRED), day=_on("started_at"), count=Coalesce(Sum(Cast(removed, IntegerField())), 0)
    )
