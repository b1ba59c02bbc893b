"""Daily numbers of a project: what is counted once a day is over, and read by the portal's charts. Days are UTC.

A day is counted by range scans of indexes, stored in DailyCount, and not looked at again, so what was counted stays
counted when people go. The days that are not counted yet are counted at each look.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from time import monotonic
from typing import Any

from django.db import transaction
from django.db.models import Count, Min, Q
from django.utils import timezone

from anonusers import counting
from anonusers.counting import DELETED, Key, day_of
from anonusers.models import (
    ActiveDay,
    Application,
    CleanupRun,
    DailyCount,
    EndUser,
    Project,
    Session,
    Tally,
)

SETTLES_AFTER = timedelta(minutes=5)
"""A day is counted when it has been over for so long: what was begun before midnight is committed by then."""
SILENCE = timedelta(minutes=10)
"""A clean-up that was not heard of for so long has died: its day does not wait for it."""
DAYS_AT_ONCE = 31
PATIENCE = 1.0
"""Seconds that a page may spend on days of long ago."""
SAMPLE = 500
DAY = timedelta(days=1)


# --- somebody was here ----------------------------------------------------------------------------


def note_activity(session: Session, *, last: datetime | None, now: datetime) -> None:
    """Somebody uses a session that was last used at `last`, or opens one: the first use of a day is noted, if it is
    not the day on which they signed up. No statement on other uses; one on this, and one more once in a life."""
    person, today = session.end_user, day_of(now)
    if (last is not None and day_of(last) >= today) or day_of(person.created_at) >= today:
        return
    if person.returned_at is None:
        # Before anything else of theirs is locked, as promotion does it.
        EndUser.objects.filter(pk=person.pk, returned_at=None).update(returned_at=now)
        person.returned_at = now
    here = ActiveDay(
        project_id=session.project_id,
        day=today,
        end_user_id=person.pk,
        application_id=session.application_id,
        was_guest=person.is_guest,
    )
    ActiveDay.objects.bulk_create([here], ignore_conflicts=True)


# --- roll up --------------------------------------------------------------------------------------


def roll_up(project: Project, *, now: datetime | None = None, seconds: float | None = None) -> date:
    """Count the days that are over and not counted yet, the oldest first, a month at a time; no more months when so
    many `seconds` have passed. Returns the first day that is not counted.

    Each day is counted once, however many do this at the same time: whose conditional UPDATE moves the tally on does
    the counting, in the same transaction.
    """
    now = now or timezone.now()
    since = _counted_until(project)
    over = day_of(now - SETTLES_AFTER)
    if since >= over:
        return since
    over = min(over, _busy_since(project, now) or over)
    began, days = monotonic(), DAYS_AT_ONCE
    while since < over:
        step = min(over, since + days * DAY)
        with transaction.atomic():
            if Tally.objects.filter(project=project, counted_until=since).update(counted_until=step):
                counts = counting.count(project, since, step)
                _store(project, counts)
                days = DAYS_AT_ONCE if counts else min(2 * days, 4 * DAYS_AT_ONCE)  # quiet times are passed faster
        since = _counted_until(project)
        if seconds is not None and monotonic() - began >= seconds:
            break
    return since


def count_out(project: Project, people: Collection[uuid.UUID], *, now: datetime | None = None) -> None:
    """These people are about to be deleted, in the caller's transaction, which has locked them: what they did on days
    that are not counted yet is counted now, and their active days go. Not for a clean-up, which rolls up first."""
    now = now or timezone.now()
    today = day_of(now)
    _counted_until(project)
    with transaction.atomic():
        # A roll-up waits here until they are gone, or has counted them already.
        since = Tally.objects.select_for_update().get(project=project).counted_until
        counts = counting.count(project, since, today + DAY, people=people)
        theirs = EndUser.objects.filter(project=project, pk__in=people)
        for application_id, count in theirs.values_list("application_id").annotate(count=Count("pk")).order_by():
            counts[Key(DELETED, today, application_id)] += count
        _store(project, counts)
        if oldest := theirs.aggregate(oldest=Min("created_at"))["oldest"]:
            days = [day_of(oldest) + DAY * number for number in range((today - day_of(oldest)).days + 1)]
            ActiveDay.objects.filter(project=project, day__in=days, end_user_id__in=people).delete()


def _counted_until(project: Project) -> date:
    found = Tally.objects.filter(project=project).values_list("counted_until", flat=True).first()
    if found is not None:
        return found
    people = EndUser.objects.filter(project=project).order_by("created_at")
    oldest = people.values_list("created_at", flat=True).first()
    first = day_of(min(project.created_at, oldest or project.created_at))
    return Tally.objects.get_or_create(project=project, defaults={"counted_until": first})[0].counted_until


def _busy_since(project: Project, now: datetime) -> date | None:
    """The day on which a clean-up began that is still at it: what it removed is not known yet."""
    running = CleanupRun.objects.filter(project=project, state=CleanupRun.State.RUNNING, seen_at__gt=now - SILENCE)
    began = running.aggregate(began=Min("started_at"))["began"]
    return day_of(began) if began else None


def _store(project: Project, counts: "Counter[Key]") -> None:
    """Add to what is stored. The caller holds the tally's row, so nobody else does."""
    if not counts:
        return
    applications = set(Application.objects.filter(project=project).values_list("pk", flat=True))
    wanted: Counter[Key] = Counter()
    for key, count in counts.items():
        # There is no constraint on where people signed up: the application may be gone.
        wanted[key if key.application_id in applications else key._replace(application_id=None)] += count
    names, days = {key.name for key in wanted}, {key.day for key in wanted}
    stored = DailyCount.objects.filter(project=project, name__in=names, day__in=days).order_by("pk")
    rows = {Key(row.name, row.day, row.application_id, row.method): row for row in reversed(stored)} if wanted else {}
    for key in wanted.keys() & rows.keys():
        rows[key].count += wanted[key]
    DailyCount.objects.bulk_update([rows[key] for key in wanted.keys() & rows.keys()], ["count"], batch_size=500)
    new = [DailyCount(project=project, **key._asdict(), count=wanted[key]) for key in wanted if key not in rows]
    DailyCount.objects.bulk_create(new, batch_size=500)


# --- read -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Series:
    """The numbers of the days from `first` to `last`. `behind_since`: the days from then on are not complete, because
    there is much to count; look again."""

    first: date
    last: date
    counts: "Counter[Key]"
    today: "Counter[str]"
    behind_since: date | None = None

    @property
    def days(self) -> list[date]:
        return [self.first + DAY * number for number in range((self.last - self.first).days + 1)]

    def total(self, name: str) -> int:
        return sum(count for key, count in self.counts.items() if key.name == name)

    def per_day(self, name: str) -> list[int]:
        """One number for each of the `days`."""
        found = self._by(name, lambda key: key.day)
        return [found[day] for day in self.days]

    def by_application(self, name: str) -> "Counter[int | None]":
        return self._by(name, lambda key: key.application_id)

    def by_method(self, name: str) -> "Counter[str]":
        return self._by(name, lambda key: key.method)

    def _by(self, name: str, group: Callable[[Key], Any]) -> "Counter[Any]":
        found: Counter[Any] = Counter()
        for key, count in self.counts.items():
            if key.name == name:
                found[group(key)] += count
        return found


def series(
    project: Project, *, first: date, last: date, application: Application | None = None, now: datetime | None = None
) -> Series:
    """What is stored of these days, and what can be counted of those that are not stored yet. Three statements, and
    some more on the first look of a day, which rolls up; of a long time as much as is done in a second."""
    now = now or timezone.now()
    today = day_of(now)
    since = roll_up(project, now=now, seconds=PATIENCE)
    counts: Counter[Key] = Counter()
    rows = DailyCount.objects.filter(Q(day__range=(first, last)) | Q(day=today), project=project)
    for name, day, application_id, method, count in rows.values_list(
        "name", "day", "application_id", "method", "count"
    ):
        counts[Key(name, day, application_id, method)] += count
    is_behind = (today - since).days > DAYS_AT_ONCE
    if not is_behind:
        counts += counting.count(project, since, today + DAY)
    wanted: Counter[Key] = Counter()
    of_today: Counter[str] = Counter()
    for key, count in counts.items():
        if application is None or key.application_id == application.pk:
            if first <= key.day <= last:
                wanted[key] += count
            if key.day == today:
                of_today[key.name] += count
    return Series(first, last, wanted, of_today, since if is_behind else None)


@dataclass(frozen=True)
class Estimate:
    number: int
    is_exact: bool


def live_sessions(project: Project, applications: Iterable[Application], *, now: datetime | None = None) -> Estimate:
    """How many sessions are live; of many people an estimate, from those with the lowest ids: ids are random, so they
    are a fair sample, and the last one tells how large a part of all they are. Two statements.

    Whether somebody is disabled is not looked at.
    """
    now = now or timezone.now()
    known = {application.pk: application for application in applications}
    people = list(EndUser.objects.filter(project=project).order_by("pk").values_list("pk", flat=True)[:SAMPLE])
    found = Session.objects.filter(end_user__in=people, project=project, ended_at=None)
    live = 0
    for session in found.only("project_id", "application_id", "kind", "created_at", "last_used_at").order_by():
        session.project = project
        if session.application_id is not None:
            session.application = known.get(session.application_id)
        live += (session.kind == Session.Kind.COOKIE or session.application is not None) and now < session.expires_at
    if len(people) < SAMPLE:
        return Estimate(live, is_exact=True)
    share = people[-1].int / 2**128
    return Estimate(_rounded(live / share), is_exact=False)


def _rounded(number: float) -> int:
    """Two digits that mean something."""
    whole = round(number)
    unit = 10 ** max(0, len(str(whole)) - 2)
    return round(whole / unit) * unit
