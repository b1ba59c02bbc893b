"""Bulk actions: the question before, and the progress after."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from anonusers.models import EndUser
from anonusers.people import count_people
from portal import jobs
from portal.models import Job
from portal.people import PeopleForm, read_query
from portal.views.pages import ProjectView


class BulkForm(forms.Form):
    """What is to be done, and with whom."""

    action = forms.ChoiceField(choices=[(name, action.verb) for name, action in jobs.ACTIONS.items()])
    everybody = forms.BooleanField(required=False)
    query = forms.CharField(required=False, max_length=2000)
    confirmed = forms.BooleanField(required=False)
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=300,
        widget=forms.TextInput({"class": "input", "autocomplete": "off"}),
        error_messages={"max_length": gettext_lazy("Say it in 300 characters or fewer.")},
    )
    typed = forms.CharField(
        required=False,
        max_length=100,
        widget=forms.TextInput({"class": "input", "autocomplete": "off"}),
    )


@dataclass(frozen=True)
class Chosen:
    """The people of a bulk action. `filters` where they are all who match, else `subs`."""

    number: int
    is_exact: bool
    subs: tuple[str, ...] = ()
    filters: PeopleForm | None = None

    @property
    def selection(self) -> dict[str, Any]:
        return {"subs": list(self.subs)} if self.filters is None else {"filters": self.filters.query()}


class BulkView(ProjectView):
    """Asks first, always; then a job does it."""

    template_name = "portal/bulk.html"
    section = "users"

    def get(self, request: HttpRequest) -> HttpResponse:
        return redirect("portal:users", self.project.slug)

    def post(self, request: HttpRequest) -> HttpResponse:
        form = BulkForm(request.POST, label_suffix="")
        known = form.is_valid() or not {"action", "everybody", "query", "confirmed"} & set(form.errors)
        chosen = self.chosen(form.cleaned_data) if known else None
        if chosen is None or not chosen.number:
            return self.page(HTTPStatus.BAD_REQUEST, nobody=True)
        if not form.cleaned_data.get("confirmed"):
            return self.question(form, chosen)
        self.check(form, chosen)
        if form.errors:
            return self.question(form, chosen, HTTPStatus.BAD_REQUEST)
        return redirect("portal:job", self.project.slug, self.order(form.cleaned_data, chosen).pk)

    def chosen(self, entries: dict[str, Any]) -> Chosen | None:
        """Who is meant, of those who are there; None where the filters cannot be read."""
        if entries["everybody"]:
            filters = read_query(entries["query"], self.project)
            if not filters.is_valid():
                return None
            count = count_people(self.project, filters=filters.filters)
            return Chosen(count.number, count.is_exact, filters=filters)
        wanted = [key for text in self.request.POST.getlist("sub") if (key := _uuid(text))]
        there = EndUser.objects.filter(project=self.project, pk__in=wanted).values_list("pk", flat=True)
        subs = tuple(sorted(key.hex for key in there))
        return Chosen(len(subs), True, subs)

    def check(self, form: BulkForm, chosen: Chosen) -> None:
        """What an action wants beside a yes."""
        action = form.cleaned_data["action"]
        if action == "disable" and not form.cleaned_data.get("reason") and "reason" not in form.errors:
            form.add_error("reason", _("Say why: the audit log keeps it."))
        if action == "delete" and form.cleaned_data.get("typed") != self.to_type(chosen):
            form.add_error("typed", _("This is not it. Type %(text)s.") % {"text": self.to_type(chosen)})

    def to_type(self, chosen: Chosen) -> str:
        """The number of people; where it is not known, the project's id."""
        return str(chosen.number) if chosen.is_exact else self.project.slug

    def question(self, form: BulkForm, chosen: Chosen, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
        action = form.cleaned_data["action"]
        return self.page(
            status,
            form=form,
            chosen=chosen,
            action=action,
            verb=jobs.ACTIONS[action].verb,
            people=people_in_words(chosen),
            to_type=self.to_type(chosen),
        )

    def order(self, entries: dict[str, Any], chosen: Chosen) -> Job:
        with transaction.atomic():
            job = Job.objects.create(
                project=self.project,
                action=entries["action"],
                selection=chosen.selection,
                reason=entries["reason"] if entries["action"] == "disable" else "",
                actor=self.request.user.get_username()[:150],
                total=chosen.number if chosen.is_exact else 0,
            )
            # Once for the job: ten thousand events that say the same would hide everything else.
            facts: dict[str, Any] = {"people": chosen.number}
            if chosen.filters is not None:
                facts = {"filters": chosen.filters.query() or "all"}
            facts |= {"reason": job.reason} if job.reason else {}
            self.record("users", jobs.ACTIONS[job.action].type, target=f"job:{job.pk}", changes=facts)
            jobs.start(job)
        return job


def people_in_words(chosen: Chosen) -> str:
    number = number_format(chosen.number, force_grouping=True)
    if not chosen.is_exact:
        return _("more than %(number)s people") % {"number": number} if chosen.number else _("people")
    return ngettext("%(number)s person", "%(number)s people", chosen.number) % {"number": number}


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


class JobView(ProjectView):
    """How far a bulk action is. Whoever looks at one that nobody works on any more sets it going again."""

    template_name = "portal/job.html"
    section = "users"

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        job = get_object_or_404(self.project.jobs, pk=pk)
        if jobs.is_abandoned(job):
            jobs.start(job)
        return self.job_page(job)

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        job = get_object_or_404(self.project.jobs, pk=pk)
        deeds = {"cancel": (jobs.cancel, "users.bulk_cancelled"), "retry": (jobs.retry, "users.bulk_retried")}
        if (action := request.POST.get("action")) not in deeds:
            return self.job_page(job, HTTPStatus.BAD_REQUEST)
        act, type = deeds[action]
        with transaction.atomic():
            if act(job):
                self.record("users", type, target=f"job:{job.pk}", changes={"action": job.action})
            else:
                messages.warning(request, _("Nothing was changed: the job is not in that state any more."))
        return redirect("portal:job", self.project.slug, pk)

    def job_page(self, job: Job, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
        looked_at = job.done + job.passed_over
        return self.page(
            status,
            job=job,
            verb=jobs.ACTIONS[job.action].verb,
            failure=jobs.failure_in_words(job),
            is_open=job.state in jobs.OPEN,
            looked_at=looked_at,
            percent=min(100, looked_at * 100 // job.total) if job.total else None,
        )
