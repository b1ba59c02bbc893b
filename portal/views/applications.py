"""Applications: the list, and one of them."""

from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from anonusers.conf import conf
from anonusers.credentials import origin_of
from anonusers.models import Application, Project
from portal.forms import USES_COOKIES, ApplicationForm, SettingsForm
from portal.views.pages import ProjectView, SettingsView


class ApplicationsView(ProjectView):
    """The applications of a project."""

    template_name = "portal/applications.html"
    section = "applications"

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.page(applications=self.project.applications.order_by("name", "pk"))


class ApplicationView(SettingsView):
    """The settings of one application. The type decides which there are."""

    template_name = "portal/application.html"
    section = "applications"
    form_class = ApplicationForm

    def rows(self) -> QuerySet[Application]:
        return self.project.applications.all()

    def form_page(
        self, row: Any, form: SettingsForm, status: HTTPStatus = HTTPStatus.OK, **context: Any
    ) -> HttpResponse:
        return super().form_page(
            row,
            form,
            status,
            endpoint=endpoint_of(self.project, self.request),
            uses_cookies=row.type in USES_COOKIES,
            **context,
        )


def endpoint_of(project: Project, request: HttpRequest) -> str | None:
    """The origin that an SDK of this project is pointed at; None while no host leads to the project."""
    if conf.ISSUER or Project.objects.at_host(request.get_host()).filter(pk=project.pk).exists():
        return origin_of(request)
    domain = project.domains.exclude(domain="*").order_by("pk").first()
    if domain is None:
        return None
    port = urlsplit(f"//{request.get_host()}").port
    return f"{request.scheme}://{domain.domain}{f':{port}' if port else ''}"
