"""Applications: the list, the wizard that makes one, its settings, and how it is deleted."""

from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _

from anonusers.applications import Deletion, count_live_sessions, create_application, delete_application
from anonusers.models import Application
from portal.access import Role
from portal.application_forms import DeleteApplicationForm, NewApplicationForm
from portal.endpoints import endpoint_of, oauth_endpoints
from portal.forms import USES_COOKIES, ApplicationForm, SettingsForm
from portal.frameworks import made_with
from portal.views.pages import ProjectView, SettingsView

Type = Application.Type
SHOWS_ENDPOINTS = frozenset((Type.CONFIDENTIAL, Type.THIRD_PARTY_APP, Type.M2M))


class ApplicationsView(ProjectView):
    """The applications of a project."""

    template_name = "portal/applications.html"
    section = "applications"

    def get(self, request: HttpRequest) -> HttpResponse:
        rows = self.project.applications.order_by("name", "pk")
        return self.page(applications=[(row, made_with(row)) for row in rows])


class NewApplicationView(ProjectView):
    """The wizard. A draft does not hold it back: a client ID must work at once."""

    template_name = "portal/application_new.html"
    section = "applications"
    reads_as = Role.EDITOR

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.page(form=NewApplicationForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        form = NewApplicationForm(request.POST)
        if not form.is_valid():
            return self.page(HTTPStatus.BAD_REQUEST, form=form)
        application = create_application(project=self.project, actor=request.user, **form.wanted())
        messages.success(request, _("The application is there. Its client ID works from now on."))
        return redirect("portal:quick-start", self.project.slug, application.pk)


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
        endpoint = endpoint_of(self.project, self.request)
        return super().form_page(
            row,
            form,
            status,
            endpoint=endpoint,
            oauth_endpoints=oauth_endpoints(endpoint) if endpoint and row.type in SHOWS_ENDPOINTS else None,
            uses_cookies=row.type in USES_COOKIES,
            **context,
        )


class DeleteApplicationView(ProjectView):
    """Says what goes, and asks for the name. Where there are very many sessions it takes several rounds."""

    template_name = "portal/application_delete.html"
    section = "applications"
    reads_as = Role.EDITOR

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        row = get_object_or_404(self.project.applications, pk=pk)
        return self.confirm(row, DeleteApplicationForm(row))

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        row = get_object_or_404(self.project.applications, pk=pk)
        form = DeleteApplicationForm(row, request.POST)
        if not form.is_valid():
            return self.confirm(row, form, HTTPStatus.BAD_REQUEST)
        deletion = delete_application(application=row, actor=request.user)
        if not deletion.finished:
            return self.confirm(row, form, HTTPStatus.ACCEPTED, deletion)
        messages.success(request, _("%(name)s was deleted, and its sessions have ended.") % {"name": row.name})
        return redirect("portal:applications", self.project.slug)

    def confirm(
        self,
        row: Application,
        form: DeleteApplicationForm,
        status: HTTPStatus = HTTPStatus.OK,
        deletion: Deletion | None = None,
    ) -> HttpResponse:
        return self.page(status, row=row, form=form, live=count_live_sessions(row), deletion=deletion)
