"""Overview: who comes, who comes back, and who keeps the account."""

from datetime import date
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from anonusers import counting, statistics
from anonusers.forecast import Forecast
from anonusers.models import Application, CleanupRun, EndUser
from portal import overview
from portal.retention import counts_in_words
from portal.views.pages import ProjectView

RUNS = 5
"""So many clean-ups are looked through for the newest forecast: one that goes on has none yet."""


class OverviewView(ProjectView):
    """Numbers of some days, by the address: `days`, or `from` and `to`; and of one `application`."""

    template_name = "portal/overview.html"
    section = "overview"
    http_method_names = ["get", "head"]

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        now = timezone.now()
        form = overview.RangeForm(request.GET, today=counting.day_of(now))
        applications = list(Application.objects.filter(project=self.project).order_by("name", "pk"))
        application = chosen(applications, request.GET.get("application", ""))
        span = form.range()
        numbers = statistics.series(self.project, first=span.first, last=span.last, application=application, now=now)
        if self.is_new(numbers):
            return self.page(form=form, is_new=True, **self.first_steps(applications))
        return self.page(
            HTTPStatus.BAD_REQUEST if form.errors else HTTPStatus.OK,
            form=form,
            span=span,
            numbers=numbers,
            applications=applications,
            application=application,
            presets=self.presets(application),
            **shown(numbers, applications, form.today),
            **self.state(applications),
        )

    def is_new(self, numbers: statistics.Series) -> bool:
        """Whether nobody has ever been here."""
        return not numbers.counts and not EndUser.objects.filter(project=self.project).exists()

    def first_steps(self, applications: list[Application]) -> dict[str, Any]:
        """What the first guest needs."""
        return {"first_application": next((one for one in applications if one.may_have_guests), None)}

    def presets(self, application: Application | None) -> list[tuple[int, str]]:
        """The ranges that are one click away."""
        path = reverse("portal:overview", args=[self.project.slug])
        rest = {"application": application.client_id} if application else {}
        return [(days, f"{path}?{urlencode({'days': days} | rest)}") for days in overview.PRESETS]

    def state(self, applications: list[Application]) -> dict[str, Any]:
        """How things stand now, whatever days are looked at."""
        newest = CleanupRun.objects.filter(project=self.project).order_by("-started_at", "-pk")[:RUNS]
        run = next(iter(newest), None)
        foresaw = next((one for one in newest if one.finished_at and one.report.get("forecast")), None)
        forecast = [Forecast(**one) for one in foresaw.report["forecast"]] if foresaw else []
        return {
            "newest_run": run,
            "newest_counts": run and counts_in_words(run.report.get("counts", {})),
            "foreseen_at": foresaw and foresaw.started_at,
            "orphans": forecast[0].unreachable if forecast else None,
            "orphans_later": [one for one in forecast if one.days],
            "live_sessions": statistics.live_sessions(self.project, applications),
        }


def chosen(applications: list[Application], client_id: str) -> Application | None:
    """The application that the address names; None: all of them."""
    if not client_id:
        return None
    for application in applications:
        if application.client_id == client_id:
            return application
    raise Http404


def shown(numbers: statistics.Series, applications: list[Application], today: date) -> dict[str, Any]:
    """The numbers in the shapes of the page."""
    return {
        "cards": overview.cards(numbers),
        "figures": overview.figures(numbers, today),
        "funnel": overview.funnel(numbers),
        "time_to_promote": overview.time_to_promote(numbers),
        "by_application": overview.by_application(numbers, applications),
        "by_method": overview.by_method(numbers),
        "promoted": numbers.total(counting.PROMOTED),
        "expired": numbers.total(counting.EXPIRED),
        "deleted": numbers.total(counting.DELETED),
    }
