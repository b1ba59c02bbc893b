"""What clean-ups will remove, if nobody comes back and no setting is changed: a count by the very rules."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from anonusers.guest_data import plan
from anonusers.models import CleanupRun, Project
from anonusers.reach import people_windows, standings, without_guarded

HORIZONS = (0, 7, 30, 90)
"""Days from now."""
BATCH = 1000


@dataclass(frozen=True)
class Forecast:
    """In `days` from now: how many guests nothing will lead back to, and how many will have been removed by then, with
    one clean-up a day. Who is kept because of the host's data is in neither."""

    days: int
    unreachable: int
    removed: int


def forecast(project: Project, *, now: datetime | None = None, pause: float = 0.0) -> list[Forecast]:
    """One for each horizon. Walks over every end user of the project: for a command or a run, not for a page.

    Raises: ImproperlyConfigured, naming every relation of the host to users that is not declared.
    """
    now, rules = now or timezone.now(), plan()
    wait = timedelta(days=project.quarantine_days)
    gone, lost = dict.fromkeys(HORIZONS, 0), dict.fromkeys(HORIZONS, 0)
    for window in people_windows(project, BATCH):
        found = standings(project, now + timedelta(days=max(HORIZONS)), window)
        free = set(without_guarded([one.person for one in found if one.lost_from], rules))
        people = [(one.lost_from, one.quarantined_at) for one in found if one.lost_from and one.person in free]
        for days in HORIZONS:
            then = now + timedelta(days=days)
            lost[days] += sum(lost_from <= then for lost_from, _ in people)
            gone[days] += sum(_is_removed(*one, then - wait, now) for one in people)
        if pause:
            time.sleep(pause)
    return [Forecast(days, lost[days], gone[days]) for days in HORIZONS]


def _is_removed(lost_from: datetime, quarantined_at: datetime | None, since: datetime, now: datetime) -> bool:
    """Whether they were set aside by `since`: are in quarantine already, or still to be put there, which is not before
    now."""
    if since >= now:
        return lost_from <= since
    return quarantined_at is not None and quarantined_at <= since and lost_from <= now


def forecast_of_last_run(project: Project) -> tuple[datetime, list[Forecast]] | None:
    """What the last finished clean-up foresaw, and when."""
    run = CleanupRun.objects.filter(project=project, finished_at__isnull=False).order_by("-started_at").first()
    if run is None or not run.report.get("forecast"):
        return None
    return run.started_at, [Forecast(**one) for one in run.report["forecast"]]
