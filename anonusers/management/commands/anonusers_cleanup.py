"""`anonusers_cleanup`: remove what became unreachable."""

import json
import signal
import sys
import time
import uuid
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from anonusers import tasks
from anonusers.cleanup import Report, restore
from anonusers.errors import CleanupRefused
from anonusers.forecast import forecast
from anonusers.models import Project

WORDS = {
    "removed": "guests removed",
    "quarantined": "guests set aside",
    "released": "guests back from quarantine",
    "forbidden": "guests that the host's data keeps",
    "busy": "guests passed over, whose rows were in use",
    "sessions": "old sessions",
    "secrets": "expired one-time secrets",
    "keys": "retired device keys",
    "windows": "rate limit windows that are over",
    "registrations": "addresses that nobody confirmed",
}


@contextmanager
def heeding_sigterm() -> Iterator[None]:
    """End by SIGTERM, which the first process of a container would not hear otherwise. The batch that is on its way is
    rolled back."""

    def end(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Command(BaseCommand):
    help = "Remove guests whom nothing leads back to; what is left of old sessions, secrets, keys, deleted projects."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--project", metavar="ID", help="only this project; all without it")
        parser.add_argument("--dry-run", action="store_true", help="count, and change nothing")
        parser.add_argument("--limit", type=int, metavar="N", help="remove at most N guests of a project")
        parser.add_argument("--confirm", action="store_true", help="also where an unusual share of all guests would go")
        parser.add_argument("--forecast", action="store_true", help="what the next 7, 30 and 90 days will remove")
        parser.add_argument("--restore", metavar="SUB", help="take one guest out of quarantine, and do nothing else")
        parser.add_argument("--json", action="store_true", help="one report a line, as JSON")
        parser.add_argument("--every", type=int, metavar="SECONDS", help="go on for ever, with this pause between runs")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["limit"] is not None and options["limit"] < 1:
            raise CommandError("--limit must be at least 1.")
        if options["restore"]:
            return self._restore(options["restore"])
        if options["forecast"]:
            return self._forecast(options)
        if options["every"]:
            with heeding_sigterm():
                self._go_on(options)
        elif not self._run(options):
            sys.exit(1)

    def _go_on(self, options: dict[str, Any]) -> None:
        while True:
            self._run(options)
            for connection in connections.all(initialized_only=True):
                if not connection.in_atomic_block:
                    connection.close()  # the server would do so before we wake, and the next run would fail
            time.sleep(options["every"])

    def _run(self, options: dict[str, Any]) -> bool:
        """Whether nobody has to look after it."""
        fine = self._clean(options)
        if not (options["project"] or options["dry_run"]):
            fine = tasks.remove_closed_projects() and fine
        return fine

    def _clean(self, options: dict[str, Any]) -> bool:
        """What stops one project does not stop the others."""
        fine = True
        slugs = [project.slug for project in self._projects(options["project"])]
        wanted = {"dry_run": options["dry_run"], "limit": options["limit"], "confirmed": options["confirm"]}
        for _, outcome in tasks.outcomes(*slugs, **wanted):
            match outcome:
                case Report():
                    self._tell(outcome, as_json=options["json"])
                    fine = fine and not outcome.reason
                case CleanupRefused():
                    raise CommandError(outcome.message) from outcome
                case _:
                    fine = False  # and the log says why
        return fine

    def _projects(self, slug: str | None) -> list[Project]:
        projects = Project.objects.filter(deleted_at=None).order_by("slug")
        if slug is None:
            return list(projects)
        if not (found := list(projects.filter(slug=slug))):
            raise CommandError(f"There is no project {slug}.")
        return found

    def _forecast(self, options: dict[str, Any]) -> None:
        for project in self._projects(options["project"]):
            try:
                found = forecast(project)
            except ImproperlyConfigured as error:
                raise CommandError(str(error)) from error
            if options["json"]:
                self.stdout.write(json.dumps({"project": project.slug, "forecast": [asdict(one) for one in found]}))
                continue
            self.stdout.write(f"{project.slug}: if nobody comes back and nothing is changed")
            for one in found:
                when = f"in {one.days} days" if one.days else "now"
                self.stdout.write(
                    f"  {when:<11} {one.unreachable:>11,} unreachable  {one.removed:>11,} removed by then"
                )

    def _restore(self, sub: str) -> None:
        try:
            restored = restore(sub=uuid.UUID(sub))
        except ValueError:
            restored = False
        if not restored:
            raise CommandError(f"{sub} is not in quarantine.")
        self.stdout.write(f"{sub} is out of quarantine until the next run looks again.")

    def _tell(self, report: Report, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(asdict(report), sort_keys=True))
            return
        self.stdout.write(f"{report.project}: {report.state} after {report.seconds:.1f} s")
        for name, words in WORDS.items():
            if report.counts.get(name):
                self.stdout.write(f"  {report.counts[name]:>9,} {words}" + (" (dry run)" if report.is_dry_run else ""))
        if not any(report.counts.values()):
            self.stdout.write("  nothing to remove")
        if report.reason:
            self.stderr.write(f"  {report.reason}")
        if report.is_dry_run and report.samples:
            self.stdout.write("  for example " + ", ".join(report.samples))
