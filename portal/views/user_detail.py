"""One person: what is known of them, and what an operator may do."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from anonusers.administration import (
    delete_user,
    disable_user,
    enable_user,
    end_one_session,
    end_sessions,
    is_staff,
)
from anonusers.cleanup import restore
from anonusers.device_keys import remove_key
from anonusers.errors import AnonUsersError, UnknownKey, UnknownSession
from anonusers.models import AuditEvent, EndUser, LoginID, Session
from anonusers.people import open_sessions
from portal.access import allows
from portal.views.pages import ProjectView

NEWEST = 20


class ReasonForm(forms.Form):
    """Why somebody is disabled."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=300,
        widget=forms.TextInput({"class": "input", "autocomplete": "off"}),
        error_messages={
            "required": gettext_lazy("Say why: the audit log keeps it."),
            "max_length": gettext_lazy("Say it in 300 characters or fewer."),
        },
    )


class UserView(ProjectView):
    """A person's page. `?confirm=…` asks before something is done; the form that it shows does it."""

    template_name = "portal/user.html"
    section = "users"
    ACTIONS = ("disable", "enable", "delete", "end_session", "end_sessions", "remove_key", "restore")
    CONFIRMED = ("disable", "delete", "end_session", "end_sessions", "remove_key")

    def get(self, request: HttpRequest, sub: UUID) -> HttpResponse:
        person = self.person(sub)
        if (action := request.GET.get("confirm")) in self.CONFIRMED:
            return self.confirmation(person, str(action))
        return self.page(**facts_of(person))

    def post(self, request: HttpRequest, sub: UUID) -> HttpResponse:
        if (action := request.POST.get("action")) not in self.ACTIONS:
            return self.page(HTTPStatus.BAD_REQUEST, **facts_of(self.person(sub)), refused=_("Nothing was done."))
        person = self.person(sub)
        try:
            with transaction.atomic():
                answer: HttpResponse | None = getattr(self, action)(person)
        except AnonUsersError as error:
            return self.page(HTTPStatus.CONFLICT, **facts_of(self.person(sub)), refused=error.message)
        return answer or redirect("portal:user", self.project.slug, sub)

    def person(self, sub: UUID) -> EndUser:
        rows = EndUser.objects.select_related(
            "user",
            "application",
            "anonymous_identity",
            "device_key",
            "promotion__superseded_by",
            "promotion__application",
        )
        return get_object_or_404(rows.filter(project=self.project), pk=sub)

    # --- confirmation -------------------------------------------------------------------------------

    def confirmation(
        self, person: EndUser, action: str, status: HTTPStatus = HTTPStatus.OK, **context: Any
    ) -> HttpResponse:
        """What will happen, before it does."""
        if not allows(self.role, self.writes_as):
            return render(self.request, "portal/forbidden.html", self.frame(), status=HTTPStatus.FORBIDDEN)
        facts: dict[str, Any] = {"person": person, "action": action, "login_ids": list(person.login_ids.order_by("pk"))}
        try:
            facts |= getattr(self, f"before_{action}", lambda _: {})(person) | context
        except AnonUsersError as error:
            return self.page(HTTPStatus.CONFLICT, **facts_of(person), refused=error.message)
        return render(self.request, "portal/user_confirm.html", {**self.frame(), **facts}, status=status)

    def before_disable(self, person: EndUser) -> dict[str, Any]:
        return {"form": ReasonForm(label_suffix="")}

    def before_end_session(self, person: EndUser) -> dict[str, Any]:
        """The session that the link names."""
        try:
            key = UUID(self.request.GET.get("session", ""))
        except ValueError:
            raise Http404 from None
        found = Session.objects.select_related("application").filter(end_user=person, pk=key, ended_at=None).first()
        if found is None:
            raise UnknownSession
        return {"session": found, "is_last": person.is_guest and not has_other_way(person, but=found)}

    def before_end_sessions(self, person: EndUser) -> dict[str, Any]:
        return {"number": open_count(person), "is_last": person.is_guest and not has_key(person)}

    def before_remove_key(self, person: EndUser) -> dict[str, Any]:
        if not has_key(person):
            raise UnknownKey
        return {}

    def before_delete(self, person: EndUser) -> dict[str, Any]:
        """Raises: ErasureForbidden, CleanupRefused."""
        return {"erasure": delete_user(end_user=person, dry_run=True)}

    # --- deeds --------------------------------------------------------------------------------------

    def note(self, type: str, person: EndUser, words: str, **facts: Any) -> None:
        self.record("users", type, end_user_id=person.pk, **facts)
        messages.success(self.request, words)

    def disable(self, person: EndUser) -> HttpResponse | None:
        form = ReasonForm(self.request.POST, label_suffix="")
        if not form.is_valid():
            return self.confirmation(person, "disable", HTTPStatus.BAD_REQUEST, form=form)
        if disable_user(end_user=person):
            reason = form.cleaned_data["reason"]
            self.note(
                "user.disabled", person, _("Disabled. Nobody gets in as this person now."), changes={"reason": reason}
            )
        return None

    def enable(self, person: EndUser) -> None:
        if enable_user(end_user=person):
            self.note("user.enabled", person, _("Enabled. Sessions that have not expired go on."))

    def end_session(self, person: EndUser) -> None:
        try:
            session = end_one_session(end_user=person, session_id=UUID(self.request.POST.get("session", "")))
        except ValueError:
            raise UnknownSession from None
        self.note("session.revoked", person, _("The session has ended."), target=f"session:{session.pk}")

    def end_sessions(self, person: EndUser) -> None:
        number = end_sessions(end_user=person)
        self.note("sessions.revoked", person, _("All sessions have ended."), changes={"sessions": number})

    def remove_key(self, person: EndUser) -> None:
        key_id = self.request.POST.get("key_id", "")
        remove_key(end_user=person, key_id=key_id)
        words = _("The device key was removed. The sessions that were opened with it have ended.")
        self.note("device_key.removed", person, words, changes={"key_id": key_id})

    def restore(self, person: EndUser) -> None:
        if restore(sub=person.pk, project=self.project):
            self.note("user.restored", person, _("This guest is out of quarantine."))

    def delete(self, person: EndUser) -> HttpResponse:
        typed = self.request.POST.get("typed", "").strip()
        if not is_confirmed(typed, person):
            return self.confirmation(person, "delete", HTTPStatus.BAD_REQUEST, wrong=True, typed=typed)
        erasure = delete_user(end_user=person)
        self.note(
            "user.deleted", person, _("Deleted, with everything of theirs."), changes={"removed": erasure.removed}
        )
        return redirect("portal:users", self.project.slug)


def is_confirmed(typed: str, person: EndUser) -> bool:
    """The last six characters of the sub, or one of the login IDs."""
    names = {value.casefold() for value in person.login_ids.values_list("value", flat=True)}
    return typed.casefold() in {str(person.pk)[-6:], *names}


def has_key(person: EndUser) -> bool:
    return getattr(person, "device_key", None) is not None


def has_other_way(person: EndUser, *, but: Session) -> bool:
    return has_key(person) or any(one.pk != but.pk for one in open_sessions(person, most=2))


def open_count(person: EndUser) -> int:
    return Session.objects.filter(end_user=person, ended_at=None).count()


def facts_of(person: EndUser) -> dict[str, Any]:
    """What the page tells: four statements, one more of who is disabled."""
    events = AuditEvent.objects.filter(project=person.project_id, end_user_id=person.pk).order_by("-id")
    sessions = open_sessions(person, most=NEWEST + 1)
    disabled = events.filter(type="user.disabled").first() if person.disabled_at else None
    return {
        "person": person,
        "has_key": has_key(person),
        "login_ids": list(LoginID.objects.filter(end_user=person).order_by("created_at", "pk")),
        "sessions": sessions[:NEWEST],
        "has_more_sessions": len(sessions) > NEWEST,
        "events": events[:NEWEST],
        "disabled": disabled,
        "guests_before": list(person.superseded_guests.select_related("end_user").order_by("-created_at")[:NEWEST]),
        "now": timezone.now(),
        "is_staff": is_staff(person),
    }
