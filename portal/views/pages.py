"""What the portal's pages share: operators only, the project of the URL, settings saved unless changed meanwhile."""

from functools import cached_property
from http import HTTPStatus
from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext as _
from django.views.generic import View

from anonusers.audit import record
from anonusers.models import AuditEvent, Project
from portal.access import Role, allows, is_administrator, is_operator, projects_of, role_in
from portal.changes import mark_drafted
from portal.forms import SettingsForm
from portal.models import Draft
from portal.review import keep, lock, overlay, version_for
from portal.review import target_of as target_of  # of those pages that store in their own way

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
        user = self.request.user
        return {"projects": projects_of(user), "project": None, "may_create_projects": is_administrator(user)}

    def page(self, status: HTTPStatus = HTTPStatus.OK, **context: Any) -> HttpResponse:
        """The page, in its frame."""
        return render(self.request, self.template_name, {**self.frame(), **context}, status=status)


class ProjectView(PortalView):
    """A page about one project. The project of the last visit is where the portal opens next time."""

    project: Project
    role: str
    section: ClassVar[str]
    reads_as: ClassVar[str] = Role.VIEWER
    """Who may open the page."""
    writes_as: ClassVar[str] = Role.EDITOR
    """Who may send its forms."""

    def enter(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.project = get_object_or_404(projects_of(request.user), slug=kwargs.pop("project_slug"))
        self.role = role_in(request.user, self.project) or Role.VIEWER
        if not allows(self.role, self.writes_as if request.method == "POST" else self.reads_as):
            return render(request, "portal/forbidden.html", self.frame(), status=HTTPStatus.FORBIDDEN)
        if request.session.get(LAST_PROJECT) != self.project.slug:
            request.session[LAST_PROJECT] = self.project.slug
        return super().enter(request, *args, **kwargs)

    @cached_property
    def draft(self) -> Draft | None:
        """The project's draft, while its changes are collected for review."""
        return Draft.objects.filter(project=self.project).first() if hasattr(self, "project") else None

    def frame(self) -> dict[str, Any]:
        project = getattr(self, "project", None)
        role = getattr(self, "role", None)
        return {
            **super().frame(),
            "project": project,
            "section": getattr(self, "section", None),
            "draft": self.draft,
            "role": role,
            "may_write": allows(role, self.writes_as),
            "is_owner": allows(role, Role.OWNER),
        }

    def record(self, category: str, type: str, **facts: Any) -> AuditEvent:
        """Write to the audit log what this request's operator did. Call it in the transaction of the deed."""
        return record(category, type, project=self.project, actor=self.request.user, **facts)


class SettingsView(ProjectView):
    """A page whose form edits one row; entries are saved only over the row that the operator saw.

    While the project collects changes for review, good entries are kept in its draft, and the form shows the draft.
    """

    form_class: ClassVar[type[SettingsForm]]
    collects: ClassVar[bool] = True
    """Whether the page's changes can wait in the draft."""

    def rows(self) -> QuerySet[Any]:
        """Where the row may be found."""
        raise NotImplementedError

    @property
    def keeps(self) -> Draft | None:
        """The draft that the page's entries go to; None where they are saved."""
        return self.draft if self.collects else None

    def form_of(self, row: Any, data: Any = None) -> SettingsForm:
        """The form over what is stored, or drafted. Checking writes entries into its instance; `row` still tells
        what is stored."""
        return self.form_class(data, instance=overlay(row, self.keeps))

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        row = get_object_or_404(self.rows(), **kwargs)
        return self.form_page(row, self.form_of(row))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        with transaction.atomic():
            _project, self.draft = lock(self.project)
            row = get_object_or_404(self.rows().select_for_update(), **kwargs)
            form = self.form_of(row, request.POST)
            stale = request.POST.get("version") != version_for(row, self.keeps)
            if not stale and form.is_valid():
                self.keep(form, row, self.keeps) if self.keeps else self.store(form, row)
                return redirect(request.path)
        if stale:
            return self.form_page(row, form, HTTPStatus.CONFLICT, stale=True)
        return self.form_page(row, form, HTTPStatus.BAD_REQUEST)

    def store(self, form: SettingsForm, row: Any) -> None:
        """Save good entries over the `row` that they were made from, and say so."""
        form.save()
        changes = differences(row, form)
        if changes:
            self.record("settings", f"{row._meta.model_name}.changed", target=target_of(row), changes=changes)
        messages.success(self.request, _("Saved. The change is in effect now."))

    def keep(self, form: SettingsForm, row: Any, draft: Draft) -> None:
        """Keep good entries in the draft, and say so."""
        changes = differences(overlay(row, draft), form)
        if not keep(draft, row, form.instance, form.columns(), author=self.request.user):
            messages.info(self.request, _("Nothing was changed: these values are kept already."))
            return
        if changes:
            self.record("settings", "draft.changed", target=target_of(row), changes=changes)
        messages.success(self.request, _("Kept in the draft. Nothing is in effect before you deploy."))

    def form_page(
        self, row: Any, form: SettingsForm, status: HTTPStatus = HTTPStatus.OK, **context: Any
    ) -> HttpResponse:
        """The page with its form."""
        mark_drafted(form, row, self.keeps)
        version = version_for(row, self.keeps)
        return self.page(status, row=row, form=form, version=version, keeps=self.keeps is not None, **context)


def differences(row: Any, form: SettingsForm) -> dict[str, list[Any]]:
    """What the good entries of a form change of `row`: column → `[old, new]`."""
    return {
        name: [old, new]
        for name in form.columns()
        if (old := getattr(row, name)) != (new := getattr(form.instance, name))
    }
