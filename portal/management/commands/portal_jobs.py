"""`portal_jobs`: go on with bulk actions whose worker has died."""

from typing import Any

from django.core.management.base import BaseCommand

from portal import jobs


class Command(BaseCommand):
    help = "Go on with bulk actions that nobody works on: their process has ended, or was never there."

    def handle(self, *args: Any, **options: Any) -> None:
        found = list(jobs.unfinished().select_related("project"))
        for job in found:
            name = f"{job.project.slug}: job {job.pk} ({job.action})"
            if not jobs.work(job.pk):
                self.stdout.write(f"{name} is in the hands of another process.")
                continue
            job.refresh_from_db()
            self.stdout.write(f"{name} {job.state}: {job.done} done, {job.passed_over} passed over.")
        if not found:
            self.stdout.write("There is nothing to do.")
