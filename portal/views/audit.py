"""The audit log: who did what, newest first, and the same as a file."""

from http import HTTPStatus
from typing import Any

from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone

from portal.audit import AuditForm, csv_lines, every_event, find_events, json_lines
from portal.audit_words import Teller
from portal.views.pages import ProjectView

FORMATS: dict[str, Any] = {"csv": ("text/csv", csv_lines), "json": ("application/json", json_lines)}


class AuditView(ProjectView):
    """The events of a project. Everything that is asked for is in the URL."""

    template_name = "portal/audit.html"
    section = "audit"

    def get(self, request: HttpRequest) -> HttpResponse:
        form = AuditForm(request.GET)
        operators = self.operators()
        if not form.is_valid():
            return self.page(HTTPStatus.BAD_REQUEST, form=form, operators=operators, may_write=True)
        found = find_events(self.project, form.cleaned_data)
        teller = Teller(self.project)
        return self.page(
            form=form,
            found=found,
            told=[(event, teller.tell(event)) for event in found.events],
            newer_query=form.query(after=found.newer),
            older_query=form.query(before=found.older),
            is_first=form.cleaned_data["before"] is None and form.cleaned_data["after"] is None,
            operators=operators,
            may_write=True,  # nobody writes here: no role is told that it may only look
        )

    def operators(self) -> list[str]:
        """Names that the filter suggests: the team's."""
        name = f"user__{get_user_model().USERNAME_FIELD}"
        return sorted(self.project.memberships.values_list(name, flat=True))


class ExportView(ProjectView):
    """The same events as CSV or JSON, all of them, read while they are sent."""

    template_name = "portal/audit.html"
    section = "audit"

    def get(self, request: HttpRequest) -> HttpResponseBase:
        form, format = AuditForm(request.GET), request.GET.get("format", "csv")
        if not form.is_valid() or format not in FORMATS:
            return self.page(HTTPStatus.BAD_REQUEST, form=form, operators=[], unknown_format=format not in FORMATS)
        media_type, lines = FORMATS[format]
        events = every_event(self.project, form.cleaned_data)
        response = StreamingHttpResponse(lines(events, Teller(self.project)), media_type)
        name = f"{self.project.slug}-audit-{timezone.localdate():%Y-%m-%d}.{format}"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        self.record("security", "audit.exported", changes={"filters": form.query()})
        return response
