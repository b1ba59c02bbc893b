"""What the portal's pages share: operators only, the project of the URL, settings saved unless changed meanwhile."""

import copy
from http import HTTPStatus
from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.db import models, transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext as _
from django.views.generic import View

from anonusers.models import Project
from portal.access import is_operator, projects_of
from portal.forms import SettingsForm

LAST_PROJECT = "portal_project"


class PortalView(View):
    """A page for operators: others are sent to sign in, or told that this is not for them."""

    http_method_names = ["get", "head", "post"]
    template_name: ClassVar[str]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase
        if not request.user.is_authenticated:
            response = redirect_to_login(request.get_full_path(), reverse("portal:login"))
        elif not is_operator(request.user):
            response = render(request, "portal/refused.html", status=HTTPStatus.FORBIDDEN)
        else:
            try:
                response = self.enter(request, *args, **kwargs)
            except Http404:
                response = render(request, "portal/not_found.html", self.frame(), status=HTTPStatus.NOT_FOUND)
        add_never_cache_headers(response)
        return response

    def enter(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The request of an operator."""
        return super().dispatch(request, *args, **kwargs)

    def frame(self) -> dict[str, Any]:
        """What the frame around the page needs."""
        return {"projects": projects_of(self.request.user), "project": None}

    def page(self, status: HTTPStatus = HTTPStatus.OK, **context: Any) -> HttpResponse:
        """The page, in its frame."""
        return render(self.request, self.template_name, {**self.frame(), **context}, status=status)


class ProjectView(PortalView):
    """A page about one project. The project of the last visit is where the portal opens next time."""

    project: Project
    section: ClassVar[str]

    def enter(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.project = get_object_or_404(projects_of(request.user), slug=kwargs.pop("project_slug"))
        if request.session.get(LAST_PROJECT) != self.project.slug:
            request.session[LAST_PROJECT] = self.project.slug
        return super().enter(request, *args, **kwargs)

    def frame(self) -> dict[str, Any]:
        project = getattr(self, "project", None)
        return {**super().frame(), "project": project, "section": getattr(self, "section", None)}


class SettingsView(ProjectView):
    """A page whose form edits one row; entries are saved only over the row that the operator saw."""

    form_class: ClassVar[type[SettingsForm]]

    def rows(self) -> QuerySet[Any]:
        """Where the row may be found."""
        raise NotImplementedError

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        row = get_object_or_404(self.rows(), **kwargs)
        return self.form_page(row, self.form_class(instance=row))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        with transaction.atomic():
            row = get_object_or_404(self.rows().select_for_update(), **kwargs)
            # Checking writes the entries into the instance; the page still tells what is stored.
            form = self.form_class(request.POST, instance=copy.copy(row))
            stale = request.POST.get("version") != version_of(row)
            if not stale and form.is_valid():
                form.save()
                messages.success(request, _("Saved. The change is in effect now."))
                return redirect(request.path)
        if stale:
            return self.form_page(row, form, HTTPStatus.CONFLICT, stale=True)
        return self.form_page(row, form, HTTPStatus.BAD_REQUEST)

    def form_page(
        self, row: Any, form: SettingsForm, status: HTTPStatus = HTTPStatus.OK, **context: Any
    ) -> HttpResponse:
        """The page with its form."""
        return self.page(status, row=row, form=form, version=version_of(row), **context)


def version_of(row: models.Model) -> str:
    """Names the state of a row that a form was made from."""
    return str(row.updated_at.isoformat())  # type: ignore[attr-defined]
