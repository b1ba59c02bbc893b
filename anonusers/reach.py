"""Who can still be reached: the rules by which a guest is gone for good, asked of the database window by window.

A guest may be removed when no session of theirs is live under the settings of now, and they, or their device key, were
last active before the project's retention; when nobody promoted or superseded them; and when nothing of the host's
that is to be kept hangs on them. Never by age alone.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet

from anonusers.guest_data import Person, Plan
from anonusers.models import AnonymousIdentity, Application, DeviceKey, EndUser, Project, Promotion, Session

Window = tuple[uuid.UUID, uuid.UUID]
"""The first and the last id of a batch of end users."""


def windows(queryset: QuerySet[Any], size: int) -> Iterator[tuple[Any, Any]]:
    """Ranges of the primary key that hold `size` rows each."""
    last: Any = None
    while True:
        after = queryset if last is None else queryset.filter(pk__gt=last)
        page = list(after.order_by("pk").values_list("pk", flat=True)[:size])
        if not page:
            return
        yield page[0], page[-1]
        last = page[-1]


def live_sessions(project: Project, now: datetime) -> Q:
    """What `Session.is_live` says, for SQL; whether the user is disabled is not looked at."""
    idle = timedelta(seconds=project.session_idle_timeout) if project.session_idle_timeout_enabled else None
    live = Q(kind=Session.Kind.COOKIE) & _within(now, timedelta(seconds=project.session_lifetime), idle)
    for application in Application.objects.filter(project=project):
        idle = (
            timedelta(seconds=application.refresh_token_idle_timeout)
            if application.refresh_token_idle_timeout_enabled
            else None
        )
        lifetime = timedelta(seconds=application.refresh_token_lifetime)
        live |= Q(kind=Session.Kind.TOKEN, application=application) & _within(now, lifetime, idle)
    return Q(ended_at=None) & live


def _within(now: datetime, lifetime: timedelta, idle: timedelta | None) -> Q:
    condition = Q(created_at__gt=now - lifetime)
    return condition if idle is None else condition & Q(last_used_at__gt=now - idle)


@dataclass(frozen=True)
class Lost:
    """A guest whom nothing leads back to."""

    person: Person
    quarantined_at: datetime | None


def unreachable(project: Project, now: datetime, window: Window) -> list[Lost]:
    """Guests of a window whom nothing leads back to at `now`, whatever hangs on them. None where the project keeps
    guests for ever.

    One range of one index a statement, put together here: PostgreSQL guesses that a range of UUIDs holds one row, and
    a join that is planned on that guess compares everybody with everybody.
    """
    if not project.guest_inactive_days:
        return []
    since = now - timedelta(days=project.guest_inactive_days)
    old = EndUser.objects.filter(project=project, created_at__lt=since, pk__range=window).order_by("pk")
    people = list(old.values_list("pk", "user_id", "quarantined_at", "disabled_at", *_host_columns()))
    if not people:
        return []
    theirs = {"end_user__gte": window[0], "end_user__lte": window[1]}

    def users(queryset: QuerySet[Any]) -> set[uuid.UUID]:
        return set(queryset.filter(**theirs).values_list("end_user_id", flat=True))

    guests = users(AnonymousIdentity.objects.all())
    there = users(Promotion.objects.all())
    there |= users(Session.objects.filter(live_sessions(project, now) | Q(last_used_at__gte=since)))
    keys = dict(DeviceKey.objects.filter(**theirs).values_list("end_user_id", "last_used_at"))
    return [
        Lost(Person(pk, user_id), quarantined_at)
        for pk, user_id, quarantined_at, disabled_at, *active in people
        if pk in guests
        and pk not in there
        # Whom an operator disabled stays disabled: without the row, the key would make a new guest.
        and not (pk in keys and (keys[pk] >= since or disabled_at is not None or active == [False]))
    ]


def _host_columns() -> list[str]:
    """What the host's own row says of being disabled, where its model has a column for that."""
    fields = {field.name for field in get_user_model()._meta.concrete_fields}
    return ["user__is_active"] if "is_active" in fields else []


def without_guarded(people: list[Person], plan: Plan) -> list[Person]:
    """Those on whom nothing hangs that the host wants kept: one statement for each such relation."""
    for relation in plan.keep:
        if not people:
            break
        key = attrgetter("id" if relation.of_end_user else "user_id")
        held = relation.rows([key(person) for person in people]).values_list(relation.target, flat=True)
        guarded = {str(one) for one in held}
        people = [person for person in people if str(key(person)) not in guarded]
    return people
