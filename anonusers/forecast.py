"""What clean-ups will remove, if nobody comes back and no setting is changed: a count by the very rules."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from anonusers.guest_data import Person, Plan, plan
from anonusers.models import CleanupRun, EndUser, Project
from anonusers.reach import Window, unreachable, windows, without_guarded

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
    for window in windows(EndUser.objects.filter(project=project), BATCH):
        for days in HORIZONS:
            then = now + timedelta(days=days)
            lost[days] += len(_unreachable(project, then, window, rules))
            gone[days] += _removed(project, then - wait, window, rules, now)
        if pause:
            time.sleep(pause)
    return [Forecast(days, lost[days], gone[days]) for days in HORIZONS]


def _removed(project: Project, since: datetime, window: Window, rules: Plan, now: datetime) -> int:
    """How many were set aside by `since`: in quarantine already, or still to be put there, which is not before now."""
    if since >= now:
        return len(_unreachable(project, since, window, rules))
    aside = EndUser.objects.filter(pk__range=window, quarantined_at__lte=since)
    held = set(aside.values_list("pk", flat=True))
    return sum(person.id in held for person in _unreachable(project, now, window, rules)) if held else 0


def _unreachable(project: Project, then: datetime, window: Window, rules: Plan) -> list[Person]:
    return without_guarded([one.person for one in unreachable(project, then, window)], rules)


def forecast_of_last_run(project: Project) -> tuple[datetime, list[Forecast]] | None:
    """What the last finished clean-up foresaw, and when."""
    run = CleanupRun.objects.filter(project=project, finished_at__isnull=False).order_by("-started_at").first()
    if run is None or not run.report.get("forecast"):
        return None
    return run.started_at, [Forecast(**one) for one in run.report["forecast"]]
