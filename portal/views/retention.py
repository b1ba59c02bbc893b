"""Retention & limits: the settings, what they will remove, who is in quarantine, and what clean-ups did."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _

from anonusers.cleanup import SILENCE, Report, clean_up, restore
from anonusers.errors import CleanupRefused
from anonusers.forecast import Forecast, forecast, forecast_of_last_run
from anonusers.guest_data import problems
from anonusers.models import CleanupRun, EndUser, Project
from anonusers.retention import statement
from portal.access import projects_of
from portal.forms import SettingsForm
from portal.retention import RetentionForm, counts_in_words, reason_in_words
from portal.views.pages import SettingsView

RUNS = QUARANTINED = 20
LIVE_MOST = 2_000
"""So many people are looked through while a page is made; above, the last clean-up's forecast is shown."""
DRY_RUN_MOST = 100_000
"""So many for a dry run; above, it is a matter for the command line."""


@dataclass(frozen=True)
class Aside:
    """A guest in quarantine. `goes_at` is None where the next clean-up decides; `stays`: it will let them go."""

    sub: UUID
    since: datetime
    goes_at: datetime | None
    stays: bool


class RetentionView(SettingsView):
    """One form for both tables of the project file; below it what follows from them."""

    template_name = "portal/retention.html"
    section = "retention"
    form_class = RetentionForm

    def rows(self) -> QuerySet[Project]:
        return projects_of(self.request.user).filter(pk=self.project.pk)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if "restore" in request.POST:
            return self.restore(request.POST["restore"])
        if "dry_run" in request.POST:
            return self.dry_run()
        return super().post(request, *args, **kwargs)

    def dry_run(self) -> HttpResponse:
        """Counts, and changes nothing."""
        form = self.form_of(self.project)
        if self.has_more_than(DRY_RUN_MOST):
            return self.form_page(self.project, form, HTTPStatus.BAD_REQUEST)
        try:
            report = clean_up(self.project, dry_run=True)
        except CleanupRefused:
            return self.form_page(self.project, form, HTTPStatus.CONFLICT)
        foreseen = (timezone.now(), forecast(self.project))
        return self.form_page(self.project, form, report=report, foreseen=foreseen)

    def restore(self, sub: str) -> HttpResponse:
        """Takes one guest out of quarantine."""
        try:
            guest = UUID(sub)
        except ValueError:
            guest = None
        with transaction.atomic():
            restored = guest is not None and restore(sub=guest, project=self.project)
            if restored:
                self.record("users", "user.restored", end_user_id=guest)
        if restored:
            messages.success(self.request, _("The guest is out of quarantine."))
        else:
            messages.warning(
                self.request, _("This guest is not in quarantine: they came back, were restored, or are gone already.")
            )
        return redirect(f"{self.request.path}#quarantine")

    def has_more_than(self, most: int) -> bool:
        """Whether the project has more people than that, without counting them all."""
        # Not exists(): that drops the order, and without it the database reads the table from its beginning.
        rows = EndUser.objects.filter(project=self.project).order_by("pk").values_list("pk")
        return bool(rows[most : most + 1])

    def form_page(
        self, row: Any, form: SettingsForm, status: HTTPStatus = HTTPStatus.OK, **context: Any
    ) -> HttpResponse:
        report: Report | None = context.pop("report", None)
        undeclared = problems()
        foreseen: tuple[datetime, list[Forecast]] | None = context.pop("foreseen", None)
        if not undeclared and foreseen is None:
            foreseen = self.foreseen()
        return super().form_page(
            row,
            form,
            status,
            undeclared=undeclared,
            foreseen_at=foreseen and foreseen[0],
            forecast=foreseen and foreseen[1],
            may_dry_run=not self.has_more_than(DRY_RUN_MOST),
            report=report,
            report_counts=report and counts_in_words(report.counts, all_of_them=True),
            runs=self.runs(),
            aside=self.aside(),
            aside_count=self.in_quarantine().count(),
            statement=(paragraphs := statement(self.project)),
            statement_text="\n\n".join(paragraphs),
            **context,
        )

    def foreseen(self) -> tuple[datetime, list[Forecast]] | None:
        """A forecast of now where that is a matter of a moment, else the last clean-up's."""
        if self.has_more_than(LIVE_MOST):
            return forecast_of_last_run(self.project)
        return timezone.now(), forecast(self.project)

    def in_quarantine(self) -> QuerySet[EndUser]:
        return EndUser.objects.filter(project=self.project, quarantined_at__isnull=False)

    def aside(self) -> list[Aside]:
        """The newest guests in quarantine."""
        rows = self.in_quarantine().order_by("-quarantined_at", "pk").values_list("pk", "quarantined_at")
        wait, now = timedelta(days=self.project.quarantine_days), timezone.now()
        stays = not self.project.guest_inactive_days
        return [
            Aside(sub, since, since + wait if since + wait > now else None, stays)
            for sub, since in rows[:QUARANTINED]
            if since is not None
        ]

    def runs(self) -> list[dict[str, Any]]:
        """The newest clean-ups, each with what it did. One that was not heard of for long has died."""
        silent = timezone.now() - SILENCE
        return [
            {
                "row": run,
                "is_silent": run.state == CleanupRun.State.RUNNING and run.seen_at < silent,
                "counts": counts_in_words(run.report.get("counts", {})),
                "reason": reason_in_words(run),
            }
            for run in CleanupRun.objects.filter(project=self.project).order_by("-started_at", "-pk")[:RUNS]
        ]
