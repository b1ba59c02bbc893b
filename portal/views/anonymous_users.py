"""Authentication › Anonymous Users."""

from http import HTTPStatus
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse

from anonusers.models import Project
from portal.access import projects_of
from portal.forms import AnonymousUsersForm, SettingsForm
from portal.views.pages import SettingsView


class AnonymousUsersView(SettingsView):
    """The toggle, two policies, and how long a guest's session lasts."""

    template_name = "portal/anonymous_users.html"
    section = "anonymous-users"
    form_class = AnonymousUsersForm

    def rows(self) -> QuerySet[Project]:
        return projects_of(self.request.user).filter(pk=self.project.pk)

    def form_page(
        self, row: Any, form: SettingsForm, status: HTTPStatus = HTTPStatus.OK, **context: Any
    ) -> HttpResponse:
        applications = self.project.applications.order_by("name", "pk")
        return super().form_page(row, form, status, applications=applications, **context)
