"""Clean-up: what became unreachable goes, in small batches, and whoever is still there is never touched.

A guest is set aside first (quarantine) and removed days later, if nothing has changed. Every batch is a transaction of
its own that looks again with the rows locked, so a run can be killed and started again, and two may run at once.
"""

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import OperationalError, connections, router, transaction
from django.utils import timezone
from django.utils.translation import gettext_noop

from anonusers import events, leftovers, statistics
from anonusers.cleanup_run import Run
from anonusers.errors import CleanupRefused
from anonusers.forecast import forecast
from anonusers.guest_data import Person, plan, problems
from anonusers.models import (
    CleanupRun,
    EndUser,
    Project,
)
from anonusers.reach import (
    Window,
    aside_by,
    guests_in,
    hold,
    is_postgres,
    people_windows,
    standings,
    wait_at_most,
    without_guarded,
)
from anonusers.removal import remove

logger = logging.getLogger(__name__)

BATCH = 1000
PAUSE = 0.05
"""Seconds between two batches: they cost little speed, and leave the database to those who are there."""
WAIT, WAIT_AGAIN = 1.0, 0.1
"""Seconds for a row that somebody holds (PostgreSQL); and for those who are left after that."""
SAMPLES = 10
FEW = 1000
"""So many removals are never unusual, whatever their share."""
SILENCE = timedelta(minutes=10)
"""A run that was not heard of for so long has died."""
RUNS_KEPT = timedelta(days=365)
UNUSUAL = gettext_noop(
    "%(many)s of %(everybody)s guests would go, more than %(percent)s %% of them. Look at a dry run, then confirm it."
)
BROKEN = gettext_noop("an error stopped it, see the log")
KILLED = gettext_noop("it was killed, or its machine went away")
"""Why a run did not come to its end: stored and logged in English, and to be translated for whoever looks. The values
of UNUSUAL are in the run's report."""


@dataclass(frozen=True)
class Report:
    """What a clean-up has done, or would do. `samples` are subs of guests who were removed."""

    project: str
    is_dry_run: bool
    state: str
    reason: str
    counts: dict[str, int]
    samples: list[str]
    seconds: float


def clean_up(
    project: Project,
    *,
    dry_run: bool = False,
    limit: int | None = None,
    confirmed: bool = False,
    batch: int = BATCH,
    pause: float = PAUSE,
    now: datetime | None = None,
) -> Report:
    """Clean up one project by its settings. A dry run only counts.

    Guests stay where an unusual share of all would go, unless somebody `confirmed` it.
    Raises: CleanupRefused, naming every relation of the host to users that is not declared.
    """
    if wrong := problems():
        raise CleanupRefused(" ".join(wrong))
    began = time.monotonic()
    most = min(limit or project.removals_per_run, project.removals_per_run)
    run = Run(project, now or timezone.now(), plan(), most, batch, pause)
    run.unusual = {} if confirmed else _unusual(run)
    reason = UNUSUAL % run.unusual if run.unusual else ""
    if dry_run:
        for count, _ in POLICIES.values():
            count(run)
    else:
        _note_the_dead(project)
        run.row = CleanupRun.objects.create(project=project, started_at=run.now, seen_at=timezone.now())
        try:
            statistics.roll_up(project, now=run.now)  # whoever goes stays counted
            for name, (_, act) in POLICIES.items():
                if not (reason and name == "guests"):
                    act(run)
            run.forecast = forecast(project, now=run.now, pause=pause / 10)
        except BaseException:
            _close(run, CleanupRun.State.INTERRUPTED, BROKEN)
            raise
    state = CleanupRun.State.STOPPED if reason else CleanupRun.State.FINISHED
    if reason:
        logger.error("clean-up of %s: %s", project.slug, reason)
    _close(run, state, reason)
    seconds = time.monotonic() - began
    return Report(project.slug, dry_run, state, reason, dict(sorted(run.counts.items())), run.samples, seconds)


def restore(*, sub: uuid.UUID, project: Project | None = None) -> bool:
    """Take a guest out of quarantine. False where they are not in it. The next run looks again."""
    aside = EndUser.objects.filter(pk=sub, quarantined_at__isnull=False)
    return bool((aside if project is None else aside.filter(project=project)).update(quarantined_at=None))


def _unusual(run: Run) -> dict[str, int]:
    """The values of why this run should not touch guests before somebody has had a look; empty where it may."""
    many = everybody = 0
    for window in people_windows(run.project, run.batch):
        many += len(_look(run, window).unreachable)
        everybody += guests_in(run.project, window).count()
    if many <= FEW or many * 100 <= everybody * run.project.removals_percent:
        return {}
    return {"many": many, "everybody": everybody, "percent": run.project.removals_percent}


def _note_the_dead(project: Project) -> None:
    silent = CleanupRun.objects.filter(project=project, state="running", seen_at__lt=timezone.now() - SILENCE)
    silent.update(state=CleanupRun.State.INTERRUPTED, reason=KILLED)
    CleanupRun.objects.filter(project=project, started_at__lt=timezone.now() - RUNS_KEPT).delete()


def _close(run: Run, state: str, reason: str) -> None:
    if run.row is not None:
        CleanupRun.objects.filter(pk=run.row.pk).update(
            state=state, reason=reason[:300], report=run.report(), seen_at=timezone.now(), finished_at=timezone.now()
        )


# --- guests ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """The guests of a window. `due`: their time in quarantine is over. `fresh`: nobody has set them aside yet. `back`:
    they are in quarantine, and something leads back to them by now."""

    unreachable: list[Person]
    due: list[Person]
    fresh: list[Person]
    back: list[uuid.UUID]


def _look(
    run: Run, window: Window, *, only: set[uuid.UUID] | None = None, but_aside_by: datetime | None = None
) -> Found:
    found = standings(run.project, run.now, window, only=only, but_aside_by=but_aside_by)
    since = {one.person.id: one.quarantined_at for one in found}
    people = without_guarded([one.person for one in found if one.lost_from is not None], run.plan)
    lost = {person.id for person in people}
    back = [pk for pk, at in since.items() if at is not None and pk not in lost]
    over = _over(run)
    if over is None:
        return Found(people, people, [], back)
    due = [person for person in people if (at := since[person.id]) is not None and at <= over]
    return Found(people, due, [person for person in people if since[person.id] is None], back)


def _over(run: Run) -> datetime | None:
    """Who was set aside by then has been in quarantine for long enough; None where there is no quarantine."""
    return run.ago(run.project.quarantine_days) if run.project.quarantine_days else None


def _candidates(run: Run, window: Window) -> tuple[list[uuid.UUID], list[uuid.UUID], list[uuid.UUID]]:
    """Who may be due, fresh or back. Whose time in quarantine is over is looked at once only, with the row locked."""
    if (over := _over(run)) is None:
        found = _look(run, window)
        return [person.id for person in found.due], [], found.back
    found = _look(run, window, but_aside_by=over)
    return aside_by(run.project, window, over), [person.id for person in found.fresh], found.back


def _clean_guests(run: Run) -> None:
    for window in people_windows(run.project, run.batch):
        due, fresh, back = _candidates(run, window)
        # As many at a time as may still go: those who are forbidden must not stand in the way of those behind them.
        while held := [
            *_take(due, run.limit - run.counts["removed"]),
            *_take(fresh, run.limit - run.counts["quarantined"]),
            *_take(back, len(back)),
        ]:
            _clean_all_but_busy(run, window, held)
            run.breathe()


def _take(ids: list[uuid.UUID], count: int) -> list[uuid.UUID]:
    """The first of them, which the list loses."""
    taken = ids[:count]
    del ids[:count]
    return taken


def _clean_all_but_busy(run: Run, window: Window, ids: list[uuid.UUID], wait: float = WAIT) -> None:
    """A batch; in halves where somebody holds a row of theirs for long, or the two of us waited for each other, until
    only those are left over. The next run has them.

    Other databases wait for so long (or lock as a whole) that there a batch is passed over as one.
    """
    try:
        _clean_batch(run, window, ids, wait)
    except OperationalError:
        if not connections[router.db_for_write(EndUser)].is_usable():
            raise
        if len(ids) == 1 or not is_postgres():
            logger.warning("the clean-up of %s passed over %d guests", run.project.slug, len(ids), exc_info=True)
            run.counts["busy"] += len(ids)
            return
        for half in (ids[: len(ids) // 2], ids[len(ids) // 2 :]):
            _clean_all_but_busy(run, window, half, WAIT_AGAIN)


def _clean_batch(run: Run, window: Window, ids: list[uuid.UUID], wait: float) -> None:
    with transaction.atomic():
        wait_at_most(wait)
        held = hold(ids)
        run.project.refresh_from_db()  # whoever changes a setting to stop this is heard
        now = _look(run, window, only=held)  # who came back meanwhile is let go
        gone = remove(now.due, run.plan, reason="cleanup")
        fresh = [person.id for person in now.fresh]
        _mark(fresh, run.now)
        released = _mark(now.back, None)
    forbidden = len(now.due) - len(gone)
    run.counts.update(removed=len(gone), forbidden=forbidden, quarantined=len(fresh), released=released)
    run.samples += [str(person.id) for person in gone[: SAMPLES - len(run.samples)]]
    for pk in fresh if events.SIGNALS["user.expired"].receivers else ():
        events.emit(events.Event("user.expired", EndUser(id=pk)))


def _mark(ids: list[uuid.UUID], at: datetime | None) -> int:
    return EndUser.objects.filter(pk__in=ids).update(quarantined_at=at) if ids else 0


def _count_guests(run: Run) -> None:
    """What a run would do now, for a dry run."""
    for window in people_windows(run.project, run.batch):
        found = _look(run, window)
        due = found.due[: run.limit - run.counts["removed"]]
        run.counts["removed"] += len(due)
        run.counts["quarantined"] += len(found.fresh[: run.limit - run.counts["quarantined"]])
        run.counts["released"] += len(found.back)
        run.samples += [str(person.id) for person in due[: SAMPLES - len(run.samples)]]
        run.leaving |= {person.id for person in due}


Policy = tuple[Callable[[Run], None], Callable[[Run], None]]

POLICIES: dict[str, Policy] = {
    "guests": (_count_guests, _clean_guests),
    "sessions": (leftovers.count_sessions, leftovers.drop_sessions),
    "secrets": (leftovers.count_secrets, leftovers.drop_secrets),
    "keys": (leftovers.count_keys, leftovers.drop_keys),
    "windows": (leftovers.count_windows, leftovers.drop_windows),
    "days": (leftovers.count_days, leftovers.drop_days),
    "registrations": (leftovers.count_registrations, leftovers.drop_registrations),
}
"""What is cleaned: how a dry run counts it, and what a run does."""
