"""Projects: make one, its settings, delete it."""

from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from anonusers.errors import CleanupRefused
from anonusers.models import Project
from anonusers.projects import COUNTED, close_project, contents_of, remove_closed
from portal.access import Role, is_administrator, projects_of
from portal.models import Membership
from portal.projects import DeleteProjectForm, NewProjectForm, ProjectSettingsForm
from portal.review import target_of
from portal.views.pages import PortalView, ProjectView, SettingsView, differences

PATIENCE = 4.0
"""Seconds of a request that removing a small project may take. The rest of a large one goes with the next clean-up."""


class NewProjectView(PortalView):
    """The form for a new project: for administrators."""

    template_name = "portal/project_new.html"

    def enter(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not is_administrator(request.user):
            return render(request, "portal/administrators_only.html", self.frame(), status=HTTPStatus.FORBIDDEN)
        return super().enter(request, *args, **kwargs)

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.page(form=NewProjectForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        form = NewProjectForm(request.POST)
        with transaction.atomic():
            project = form.create(request.user) if form.is_valid() else None
            if project is None:
                return self.page(HTTPStatus.BAD_REQUEST, form=form)
            owner: Any = request.user
            Membership.objects.create(project=project, user=owner, role=Role.OWNER)
        messages.success(request, _("The project is made. Anonymous users are off until you turn them on."))
        return redirect("portal:overview", project.slug)


class ProjectSettingsView(SettingsView):
    """Name, hosts and origins: the frame of a project, which does not wait for a review."""

    template_name = "portal/project_settings.html"
    section = "project-settings"
    writes_as = Role.OWNER
    form_class = ProjectSettingsForm
    collects = False

    def rows(self) -> QuerySet[Project]:
        return projects_of(self.request.user).filter(pk=self.project.pk)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().post(request, *args, **kwargs)
        except ValidationError as error:
            form = self.form_of(self.rows().get(), request.POST)
            form.add_error(None, error)
            return self.form_page(self.project, form, HTTPStatus.BAD_REQUEST)

    def store(self, form: Any, row: Any) -> None:
        form.save()
        if changes := differences(row, form) | form.domain_changes():
            self.record("settings", "project.changed", target=target_of(row), changes=changes)
        messages.success(self.request, _("Saved. The change is in effect now."))


class DeleteProjectView(ProjectView):
    """What would go, and the project's ID to be typed."""

    template_name = "portal/project_delete.html"
    section = "project-settings"
    reads_as = writes_as = Role.OWNER

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.confirmation(DeleteProjectForm(self.project))

    def post(self, request: HttpRequest) -> HttpResponse:
        form = DeleteProjectForm(self.project, request.POST)
        if not form.is_valid():
            return self.confirmation(form, HTTPStatus.BAD_REQUEST)
        try:
            close_project(project=self.project, actor=request.user)
        except CleanupRefused as error:
            form.add_error(None, error.message)
            return self.confirmation(form, HTTPStatus.CONFLICT)
        self.clear_out()
        return redirect("portal:home")

    def clear_out(self) -> None:
        """Remove what can be removed while somebody waits, and say how far that came."""
        name = self.project.name
        self.project.refresh_from_db()
        if remove_closed(project=self.project, seconds=PATIENCE).is_gone:
            messages.success(self.request, _("%(name)s is deleted, with everything in it.") % {"name": name})
            return
        text = _("%(name)s is closed: nobody gets in any more. The next clean-up removes what is left in it.")
        messages.success(self.request, text % {"name": name})

    def confirmation(self, form: DeleteProjectForm, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
        members = self.project.memberships.count()
        return self.page(status, form=form, contents=contents_of(self.project), counted=COUNTED, members=members)
