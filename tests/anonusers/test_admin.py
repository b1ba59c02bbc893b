"""Django's admin: settings are edited, people are looked at, what a change sets off is done by the use cases."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from anonusers.admin import PAGES_OF, BoundedPaginator
from anonusers.models import AuditEvent, EndUser, OneTimeToken, Session, SigningKey
from tests.conftest import HOST, make_application, row_counts, state_of
from tests.people import guest_session, new_guest, regular_user

pytestmark = pytest.mark.django_db
OURS = [model for model in admin.site._registry if model._meta.app_label == "anonusers"]


def browser_of(**flags: bool) -> Client:
    user = get_user_model().objects.create_user("ada", password="x", **flags)
    client = Client(HTTP_HOST=HOST)
    client.force_login(user)
    return client


@pytest.fixture
def ada(db: None) -> Client:
    return browser_of(is_staff=True, is_superuser=True)


def url(model: type[Any], action: str, *args: Any) -> str:
    return reverse(f"admin:anonusers_{model._meta.model_name}_{action}", args=args)


def form_of(page: Any, **changes: Any) -> dict[str, Any]:
    """What a browser would send of an admin page."""
    data: dict[str, Any] = {}
    forms = [page.context["adminform"].form]
    for formset in page.context["inline_admin_formsets"]:
        forms += [formset.formset.management_form, *formset.formset.forms]
    for form in forms:
        for field in form:
            value = field.value()
            if isinstance(value, bool):
                if value:
                    data[field.html_name] = "on"
            elif value is not None:
                data[field.html_name] = value
    return data | changes


@pytest.mark.parametrize("model", OURS, ids=lambda model: model._meta.model_name)
def test_every_list_and_every_row_can_be_opened(model: type[Any], ada: Client, application: Any) -> None:
    regular_user(application)
    guest_session(application)
    assert ada.get(url(model, "changelist")).status_code == 200
    for row in model._base_manager.all()[:2]:
        page = ada.get(url(model, "change", row.pk))
        assert page.status_code == 200
        assert "refresh_hash" not in page.content.decode()


def test_secrets_are_not_registered() -> None:
    assert not {OneTimeToken, SigningKey} & set(admin.site._registry)


def test_a_setting_is_saved_and_written_down(ada: Client, project: Any) -> None:
    target = url(type(project), "change", project.pk)
    answer = ada.post(target, form_of(ada.get(target), session_lifetime=86_400, guest_inactive_days=30))
    assert answer.status_code == 302, answer.context["errors"]
    project.refresh_from_db()
    assert (project.session_lifetime, project.guest_inactive_days, project.slug) == (86_400, 30, "guestbook")
    event = AuditEvent.objects.get()
    assert (event.category, event.type, event.actor_name, event.target) == (
        "settings",
        "project.changed",
        "ada",
        "project",
    )
    assert event.changes == {"session_lifetime": [31_449_600, 86_400], "guest_inactive_days": [90, 30]}


@pytest.mark.parametrize(
    ("field", "value"), [("session_lifetime", 1), ("session_lifetime", "soon"), ("promotion_conflict", "perhaps")]
)
def test_a_wrong_setting_changes_nothing(field: str, value: Any, ada: Client, project: Any) -> None:
    target, before, rows = url(type(project), "change", project.pk), state_of(project), row_counts()
    answer = ada.post(target, form_of(ada.get(target), **{field: value}))
    assert answer.status_code == 200
    assert answer.context["errors"]
    assert (state_of(project), row_counts()) == (before, rows)


def test_an_application_keeps_its_client_id_and_its_lifetimes_rule(ada: Client, application: Any) -> None:
    target = url(type(application), "change", application.pk)
    data = form_of(ada.get(target), client_id="stolen", refresh_token_lifetime=299, redirect_uris="[]")
    assert ada.post(target, data).context["errors"]
    data |= {"refresh_token_lifetime": 86_400}
    assert ada.post(target, data).status_code == 302
    application.refresh_from_db()
    assert (application.client_id, application.refresh_token_lifetime) == ("web", 86_400)


@pytest.mark.parametrize("model", OURS, ids=lambda model: model._meta.model_name)
def test_nothing_is_deleted_here(model: type[Any], ada: Client, application: Any) -> None:
    guest_session(application)
    rows = row_counts()
    for row in model._base_manager.all()[:1]:
        assert ada.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
        chosen = {"action": "delete_selected", "_selected_action": [str(row.pk)], "post": "yes"}
        ada.post(url(model, "changelist"), chosen)
    assert row_counts() == rows


def test_people_and_sessions_cannot_be_edited(ada: Client, application: Any) -> None:
    session = guest_session(application)
    before = state_of(session, session.end_user)
    for row in (session, session.end_user):
        assert ada.post(url(type(row), "change", row.pk), {"disabled_at_0": "2026-01-01"}).status_code == 403
        assert ada.get(url(type(row), "add")).status_code == 403
    assert state_of(session, session.end_user) == before


def act(client: Client, model: type[Any], action: str, *rows: Any) -> Any:
    return client.post(
        url(model, "changelist"), {"action": action, "_selected_action": [str(row.pk) for row in rows]}, follow=True
    )


def test_people_are_disabled_and_enabled(ada: Client, application: Any) -> None:
    guest, other = new_guest(application), new_guest(application)
    assert "1 end user was changed." in act(ada, EndUser, "disable", guest).content.decode()
    guest.refresh_from_db()
    other.refresh_from_db()
    assert (guest.disabled_at is None, other.disabled_at) == (False, None)
    assert "0 end users were changed." in act(ada, EndUser, "disable", guest).content.decode()
    act(ada, EndUser, "enable", guest, other)
    guest.refresh_from_db()
    assert guest.disabled_at is None
    told = AuditEvent.objects.order_by("pk").values_list("type", "end_user_id", "actor_name")
    assert list(told) == [("user.disabled", guest.pk, "ada"), ("user.enabled", guest.pk, "ada")]


def test_a_session_is_revoked(ada: Client, application: Any) -> None:
    session, other = guest_session(application), guest_session(application)
    act(ada, Session, "revoke", session)
    session.refresh_from_db()
    other.refresh_from_db()
    assert (session.ended_at is None, other.ended_at) == (False, None)
    assert AuditEvent.objects.get().target == f"session:{session.pk}"


def test_who_may_only_look_acts_on_nobody(application: Any) -> None:
    client = browser_of(is_staff=True)
    user = get_user_model().objects.get(username="ada")
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_enduser", "view_session"]))
    session = guest_session(application)
    before = state_of(session, session.end_user)
    assert client.get(url(EndUser, "changelist")).status_code == 200
    act(client, EndUser, "disable", session.end_user)
    act(client, Session, "revoke", session)
    assert state_of(session, session.end_user) == before
    assert not AuditEvent.objects.exists()


def test_a_search_is_exact(ada: Client, application: Any) -> None:
    anna, _ = regular_user(application), new_guest(application)
    for text, found in ((str(anna.pk), [anna]), ("anna@example.com", [anna]), ("anna", []), ("%", [])):
        page = ada.get(url(EndUser, "changelist"), {"q": text})
        assert list(page.context["cl"].queryset) == found, text


def test_pages_are_counted_up_to_a_bound(application: Any) -> None:
    new_guest(application)
    assert BoundedPaginator(EndUser.objects.order_by("-pk"), 100).count == 1
    assert str(PAGES_OF) in str(EndUser.objects.order_by()[:PAGES_OF].query)


def test_another_applications_admin_is_not_ours_to_show(application: Any) -> None:
    make_application(application.project, "other")
    client = browser_of(is_staff=True)
    for model in OURS:
        assert client.get(url(model, "changelist")).status_code == 403


def test_operators_sign_in_where_attempts_are_counted(db: None) -> None:
    client = Client(HTTP_HOST=HOST)
    get_user_model().objects.create_user("ada", password="correct horse", is_staff=True, is_superuser=True)
    there = client.get("/admin/", follow=True)
    assert there.redirect_chain[-1] == ("/portal/login/?next=%2Fadmin%2F", 302)
    answer = client.post("/portal/login/?next=/admin/", {"username": "ada", "password": "correct horse"})
    assert answer["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200
