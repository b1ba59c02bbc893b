"""Review & deploy: what waits, what was put into effect, and the way back."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from anonusers.errors import InvalidProjectFile
from anonusers.project_file import compare, parse_project_file
from portal.access import Role, allows
from portal.changes import Group, groups_of_changes, groups_of_draft
from portal.models import Deployment, Draft
from portal.review import (
    DraftChanged,
    Impossible,
    NothingToDo,
    Refused,
    RollBack,
    StoredChanged,
    deploy,
    discard,
    foresee,
    list_waiting,
    lock,
    problems_of,
    rebase,
    roll_back,
    rows_of,
    seen,
    taken_out,
    version_of,
)
from portal.views.pages import ProjectView

SHOWN = 20
"""Deployments on a page."""


class NoteForm(forms.Form):
    """What a deployment is for."""

    note = forms.CharField(
        label=gettext_lazy("Note"),
        required=False,
        max_length=300,
        widget=forms.TextInput({"class": "input", "autocomplete": "off", "enterkeyhint": "done"}),
        help_text=gettext_lazy("What this is for, in a few words. It stands in the history."),
        error_messages={"max_length": gettext_lazy("Use at most %(limit_value)d characters.")},
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})


class RollBackForm(NoteForm):
    """… and the project's ID where people are signed out for it."""

    typed = forms.CharField(
        label=gettext_lazy("The project's ID"),
        max_length=100,
        required=False,
        widget=forms.TextInput(
            {
                "class": "input mono",
                "autocomplete": "off",
                "autocapitalize": "none",
                "spellcheck": "false",
                "dir": "ltr",
            }
        ),
    )

    def __init__(self, *args: Any, demands: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.demands = demands
        if not demands:
            del self.fields["typed"]

    def clean_typed(self) -> str:
        typed = str(self.cleaned_data["typed"]).strip()
        if typed != self.demands:
            raise forms.ValidationError(_("Type %(id)s to go on.") % {"id": self.demands})
        return typed


class ReviewView(ProjectView):
    """What waits for review. Editors and owners deploy; owners say whether changes are collected at all."""

    template_name = "portal/review.html"
    section = "review"

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.review()

    def post(self, request: HttpRequest) -> HttpResponse:
        deeds: dict[str, Callable[[], HttpResponse]] = {
            "on": self.turn_on,
            "off": self.turn_off,
            "deploy": self.deploy,
            "discard": self.discard,
            "discard_all": self.discard_all,
            "rebase": self.rebase,
        }
        deed = deeds.get(request.POST.get("action", ""))
        return deed() if deed else self.review(HTTPStatus.BAD_REQUEST)

    def turn_on(self) -> HttpResponse:
        if not allows(self.role, Role.OWNER):
            return self.forbidden()
        with transaction.atomic():
            project, draft = lock(self.project)
            if draft is None:
                Draft.objects.create(project=project)
                self.record("settings", "review.enabled", target="project")
        messages.success(self.request, _("Changes are collected from now on. Nothing is in effect before you deploy."))
        return redirect(self.request.path)

    def turn_off(self) -> HttpResponse:
        if not allows(self.role, Role.OWNER):
            return self.forbidden()
        with transaction.atomic():
            _project, self.draft = lock(self.project)
            if self.draft and self.draft.count:
                return self.review(HTTPStatus.CONFLICT, still_waiting=True)
            if self.draft:
                self.draft.delete()
                self.record("settings", "review.disabled", target="project")
        messages.success(self.request, _("Changes are saved directly from now on."))
        return redirect(self.request.path)

    def deploy(self) -> HttpResponse:
        form = NoteForm(self.request.POST)
        if not form.is_valid():
            return self.review(HTTPStatus.BAD_REQUEST, form=form)
        facts = {"note": form.cleaned_data["note"], "expected": self.request.POST.get("version", "").partition("~")[0]}
        try:
            done = deploy(self.project, author=self.request.user, **facts)
        except Refused as refused:
            return self.overtaken(refused, form=form)
        messages.success(self.request, _("Deployed. The changes are in effect now."))
        return redirect("portal:deployment", self.project.slug, done.number)

    def discard(self) -> HttpResponse:
        """One change, or all of one application. What is gone already is gone."""
        target, column = self.request.POST.get("target", ""), self.request.POST.get("column", "")
        if not target:
            return self.review(HTTPStatus.BAD_REQUEST)
        return self.drop(target, column)

    def discard_all(self) -> HttpResponse:
        """Asks first: nobody types them again for fun."""
        if "confirmed" in self.request.POST or not self.draft or not self.draft.count:
            return self.drop()
        return render(self.request, "portal/review_discard.html", {**self.frame(), "version": version_of(self.draft)})

    def drop(self, target: str = "", column: str = "") -> HttpResponse:
        with transaction.atomic():
            _project, draft = lock(self.project)
            if draft is None or self.request.POST.get("version") != version_of(draft):
                return self.overtaken(DraftChanged())
            before = draft.changes
            gone = discard(draft, target=target, column=column, author=self.request.user)
            for name, facts in taken_out(before, draft.changes).items():
                self.record("settings", "draft.discarded", target=name, changes=facts)
        words = ngettext("%(count)d change was discarded.", "%(count)d changes were discarded.", gone)
        messages.success(self.request, words % {"count": gone} if gone else _("There was nothing to discard."))
        return redirect(self.request.path)

    def rebase(self) -> HttpResponse:
        """Go on from what is stored now."""
        with transaction.atomic():
            project, draft = lock(self.project)
            waiting = list_waiting(draft, rows_of(project, draft)) if draft else []
            if draft is None or self.request.POST.get("version") != seen(draft, waiting):
                return self.overtaken(DraftChanged())
            rebase(draft, waiting, author=self.request.user)
        messages.success(self.request, _("The draft starts from what is in effect now. Look at it again, then deploy."))
        return redirect(self.request.path)

    def overtaken(self, refused: Refused, **context: Any) -> HttpResponse:
        """What was looked at is not what is there; or it cannot be. Shows what is there."""
        self.draft = Draft.objects.filter(project=self.project).first()
        self.project.refresh_from_db()
        changed = isinstance(refused, DraftChanged | NothingToDo)
        return self.review(HTTPStatus.CONFLICT, draft_changed=changed, **context)

    def forbidden(self) -> HttpResponse:
        return render(self.request, "portal/forbidden.html", self.frame(), status=HTTPStatus.FORBIDDEN)

    def review(self, status: HTTPStatus = HTTPStatus.OK, **context: Any) -> HttpResponse:
        """The page."""
        waits: dict[str, Any] = {}
        if self.draft and self.draft.count:
            rows = rows_of(self.project, self.draft)
            waiting = list_waiting(self.draft, rows)
            conflicts = [one for one in waiting if one.conflicts]
            waits = {
                "groups": groups_of_draft(waiting, rows),
                "conflicts": len(conflicts),
                "problems": [] if conflicts else problems_of(self.project, self.draft, rows),
                "version": seen(self.draft, waiting),
                "draft_version": version_of(self.draft),
            }
        newest = self.project.deployments.defer("before", "after").order_by("-number")[:5]
        return self.page(status, **{"form": NoteForm(), "newest": newest, **waits, **context})


class DeploymentsView(ProjectView):
    """Everything that was put into effect together, the newest first."""

    template_name = "portal/deployments.html"
    section = "review"

    def get(self, request: HttpRequest) -> HttpResponse:
        rows = self.project.deployments.defer("before", "after")
        try:
            below, above = (int(request.GET[key]) if key in request.GET else None for key in ("below", "above"))
        except ValueError:
            return self.page(HTTPStatus.BAD_REQUEST, deployments=[], wrong=True)
        if above is not None:
            found = list(rows.filter(number__gt=above).order_by("number")[: SHOWN + 1])
            page = found[:SHOWN][::-1]
            return self.page(deployments=page, newer=len(found) > SHOWN, older=bool(page))
        rows = rows.order_by("-number") if below is None else rows.filter(number__lt=below).order_by("-number")
        found = list(rows[: SHOWN + 1])
        return self.page(deployments=found[:SHOWN], newer=below is not None, older=len(found) > SHOWN)


class DeploymentView(ProjectView):
    """One deployment: what it changed; and, asked for, what it would be to go back to before it."""

    template_name = "portal/deployment.html"
    section = "review"

    def get(self, request: HttpRequest, number: int) -> HttpResponse:
        deployment = get_object_or_404(Deployment, project=self.project, number=number)
        if "roll_back" in request.GET:
            return self.ask(deployment)
        return self.page(deployment=deployment, groups=self.difference(deployment))

    def post(self, request: HttpRequest, number: int) -> HttpResponse:
        deployment = get_object_or_404(Deployment, project=self.project, number=number)
        try:
            foreseen = foresee(self.project, deployment)
        except Impossible as refused:
            return self.impossible(deployment, refused, HTTPStatus.CONFLICT)
        form = RollBackForm(request.POST, demands=self.project.slug if foreseen.sessions else "")
        if not form.is_valid():
            return self.ask(deployment, HTTPStatus.BAD_REQUEST, form=form)
        try:
            facts = {"note": form.cleaned_data["note"], "expected": request.POST.get("version", "")}
            done = roll_back(self.project, number, author=request.user, **facts)
        except (StoredChanged, NothingToDo):
            return self.ask(deployment, HTTPStatus.CONFLICT, overtaken=True)
        except Impossible as refused:
            return self.impossible(deployment, refused, HTTPStatus.CONFLICT)
        messages.success(request, _("Rolled back. The settings from before are in effect now."))
        return redirect("portal:deployment", self.project.slug, done.number)

    def ask(self, deployment: Deployment, status: HTTPStatus = HTTPStatus.OK, **context: Any) -> HttpResponse:
        """What would change now, and the button that does it."""
        try:
            foreseen = foresee(self.project, deployment)
        except Impossible as refused:
            return self.impossible(deployment, refused, status)
        return self.confirmation(deployment, foreseen, status, **context)

    def confirmation(
        self, deployment: Deployment, foreseen: RollBack, status: HTTPStatus, **context: Any
    ) -> HttpResponse:
        applications = list(self.project.applications.all())
        facts = {
            "deployment": deployment,
            "foreseen": foreseen,
            "groups": groups_of_changes(foreseen.changes, applications),
            "form": RollBackForm(demands=self.project.slug if foreseen.sessions else ""),
        }
        return render(
            self.request, "portal/deployment_roll_back.html", {**self.frame(), **facts, **context}, status=status
        )

    def impossible(self, deployment: Deployment, refused: Impossible, status: HTTPStatus) -> HttpResponse:
        facts = {"deployment": deployment, "problems": refused.problems}
        return render(self.request, "portal/deployment_roll_back.html", {**self.frame(), **facts}, status=status)

    def difference(self, deployment: Deployment) -> list[Group] | None:
        """What it changed; None where a document is of a version of this program that wrote other keys."""
        try:
            before, after = (
                parse_project_file(text.encode(), f"#{deployment.number}")
                for text in (deployment.before, deployment.after)
            )
        except InvalidProjectFile:
            return None
        return groups_of_changes(compare(before, after), self.project.applications.all())
