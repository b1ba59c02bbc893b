"""One clean-up on its way: what its policies share."""

import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from anonusers.forecast import Forecast
from anonusers.guest_data import Plan
from anonusers.models import CleanupRun, EndUser, Project
from anonusers.reach import windows

HEARD = timedelta(seconds=1)
"""A run says so often that it is alive."""


@dataclass
class Run:
    """One clean-up of one project, on its way."""

    project: Project
    now: datetime
    plan: Plan
    limit: int
    batch: int
    pause: float
    row: CleanupRun | None = None
    counts: Counter[str] = field(default_factory=Counter)
    samples: list[str] = field(default_factory=list)
    forecast: list[Forecast] = field(default_factory=list)
    leaving: set[uuid.UUID] = field(default_factory=set)  # in a dry run: whose sessions and secrets go with them
    unusual: dict[str, int] = field(default_factory=dict)  # why guests stay, in numbers
    told_at: datetime | None = None

    def ago(self, days: int) -> datetime:
        return self.now - timedelta(days=days)

    def breathe(self) -> None:
        """Between two batches."""
        now = timezone.now()
        if self.row is not None and (self.told_at is None or now - self.told_at >= HEARD):
            CleanupRun.objects.filter(pk=self.row.pk).update(seen_at=now, report=self.report())
            self.told_at = now
        time.sleep(self.pause)

    def report(self) -> dict[str, Any]:
        return {
            "counts": dict(sorted(self.counts.items())),
            "samples": self.samples,
            "forecast": [asdict(one) for one in self.forecast],
            **({"unusual": self.unusual} if self.unusual else {}),
        }


def everybody(run: Run) -> QuerySet[EndUser]:
    return EndUser.objects.filter(project=run.project)


def windows_of(run: Run, queryset: QuerySet[Any], *, breathe: bool = True) -> Iterator[tuple[Any, Any]]:
    """The windows of a policy; the run pauses after each one in which something was done."""
    before = run.counts.total()
    for window in windows(queryset, run.batch):
        yield window
        if breathe and run.counts.total() != before:
            before = run.counts.total()
            run.breathe()
