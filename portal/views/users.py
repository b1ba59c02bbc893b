"""Users: the list, its CSV, and a guest for somebody."""

from http import HTTPStatus
from typing import Any

from django import forms
from django.db import transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from anonusers.administration import create_guest
from anonusers.errors import AnonUsersError
from anonusers.people import everybody, find_people
from portal.access import Role
from portal.jobs import ACTIONS, unfinished
from portal.people import PeopleForm, csv_lines
from portal.views.pages import ProjectView


class UsersView(ProjectView):
    """The people of a project, newest first. Everything that is asked for is in the URL."""

    template_name = "portal/users.html"
    section = "users"

    def get(self, request: HttpRequest) -> HttpResponse:
        form = PeopleForm(request.GET, project=self.project)
        if not form.is_valid():
            return self.page(HTTPStatus.BAD_REQUEST, form=form)
        after, before = form.cleaned_data["after"], form.cleaned_data["before"]
        found = find_people(self.project, filters=form.filters, after=after, before=before)
        if before is not None and found.newer is None:
            return redirect(f"{request.path}{form.query()}")  # the first page, and a whole one
        return self.page(
            form=form,
            found=found,
            newer_query=form.query(before=found.newer),
            older_query=form.query(after=found.older),
            is_first=after is None and before is None,
            actions=ACTIONS,
            running=() if form.entries() else unfinished().filter(project=self.project)[:3],
        )


class ExportView(ProjectView):
    """The same people as CSV, all of them, read while they are sent."""

    template_name = "portal/users.html"
    section = "users"

    def get(self, request: HttpRequest) -> HttpResponseBase:
        form = PeopleForm(request.GET, project=self.project)
        if not form.is_valid():
            return self.page(HTTPStatus.BAD_REQUEST, form=form)
        self.record("users", "users.exported", changes={"filters": form.query()})
        response = StreamingHttpResponse(csv_lines(everybody(self.project, filters=form.filters)), "text/csv")
        name = f"{self.project.slug}-users-{timezone.localdate():%Y-%m-%d}.csv"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response


class NewGuestForm(forms.Form):
    """Where the guest belongs."""

    application = forms.ChoiceField(
        label=_("Application"),
        widget=forms.Select({"class": "input"}),
        error_messages={"invalid_choice": _("Choose one of the list."), "required": _("Choose an application.")},
    )

    def __init__(self, data: Any = None, *, applications: list[Any]) -> None:
        super().__init__(data, label_suffix="")
        field: Any = self.fields["application"]
        field.choices = [(one.client_id, one.name) for one in applications]


class NewGuestView(ProjectView):
    """A guest with a recovery code, to be handed over to a person. The code is shown once."""

    template_name = "portal/user_new.html"
    section = "users"
    reads_as = Role.EDITOR

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.page(form=NewGuestForm(applications=self.applications()))

    def post(self, request: HttpRequest) -> HttpResponse:
        form = NewGuestForm(request.POST, applications=(applications := self.applications()))
        if not form.is_valid():
            return self.page(HTTPStatus.BAD_REQUEST, form=form)
        application = next(one for one in applications if one.client_id == form.cleaned_data["application"])
        try:
            with transaction.atomic():
                made = create_guest(project=self.project, application=application)
                self.record("users", "user.created", end_user_id=made.end_user.pk)
        except AnonUsersError as error:
            form.add_error(None, error.message)
            return self.page(HTTPStatus.CONFLICT, form=form)
        return self.page(HTTPStatus.CREATED, made=made)

    def applications(self) -> list[Any]:
        return [one for one in self.project.applications.order_by("name", "pk") if one.may_have_guests]
