"""Settings pages of a project whose changes wait for review."""

import uuid
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from anonusers.models import AnonymousIdentity, Application, AuditEvent, EndUser, Project
from portal.forms import SettingsForm
from portal.models import Draft
from tests.conftest import make_application, make_project, row_counts, state_of
from tests.portal.conftest import save, version_in
from tests.portal.reviewing import (
    REVIEW,
    SESSION,
    browser_of,
    collect,
    deploy,
    drafted,
    events,
    everything,
    keep_session_lifetime,
    text_of,
)

pytestmark = pytest.mark.django_db

# Page → what is entered, what waits then, and a word of what is in effect beside the field.
PAGES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "anonymous-users": (
        {"anonymous_users_enabled": None},
        {"anonymous_users_enabled": [True, False]},
        "In effect now:</span> On",
    ),
    "session": (
        {"session_lifetime": "7200", "session_persistent_cookie": "False"},
        {"session_lifetime": [31_449_600, 7200], "session_persistent_cookie": [True, False]},
        "In effect now:</span> 364 days<",
    ),
    "retention": (
        {"quarantine_days": "14", "signup_per_ip": "9/h", "unlimited_networks": "192.0.2.0/24"},
        {
            "quarantine_days": [7, 14],
            "signup_per_ip": ["", "9/h"],
            "unlimited_networks": [[], ["192.0.2.0/24"]],
        },
        "7 days",
    ),
    "login": (
        {"login_ids": ["email", "username"]},
        {"login_ids": [["email"], ["email", "username"]]},
        "E-mail address",
    ),
    "realm": (
        {"realm_app_id": "web", "realm_local_userpass": "on", "realm_migration_until": "2027-03-01T12:00"},
        {
            "realm_app_id": ["", "web"],
            "realm_local_userpass": [False, True],
            "realm_migration_until": ["", "2027-03-01T12:00:00Z"],
        },
        "In effect now:</span> Off<",
    ),
    "applications/{pk}": (
        {"name": "Shop", "one_session_only": "on", "access_token_lifetime": "600"},
        {"name": ["Web", "Shop"], "max_concurrent_sessions": [0, 1], "access_token_lifetime": [1800, 600]},
        "In effect now:</span> 30 minutes<",
    ),
}
IMMEDIATE = {"ProjectSettingsForm"}  # its hosts are rows of their own


def url_of(page: str, application: Application) -> str:
    return f"/portal/guestbook/{page.format(pk=application.pk)}/"


def test_every_settings_form_is_told_about_here() -> None:
    import_module("portal.urls")  # and with it all pages
    forms = {form.__name__ for form in SettingsForm.__subclasses__()} - IMMEDIATE
    assert len(forms) == len(PAGES), forms


@pytest.fixture
def draft(project: Project) -> Draft:
    return collect(project)


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_in_effect_before_the_deployment_and_everything_at_once_after_it(
    page: str, portal: Client, project: Project, application: Application, draft: Draft
) -> None:
    entries, expected, in_effect = PAGES[page]
    url = url_of(page, application)
    before = state_of(project, application)

    assert save(portal, url, **entries).status_code == 302

    target, row = ("project", project) if "pk" not in page else ("application:web", application)
    assert state_of(project, application) == before
    wanted = {column: {"old": old, "new": new} for column, (old, new) in expected.items()}
    draft.refresh_from_db()
    assert (draft.changes, draft.author) == ({target: wanted}, "olga")

    shown = portal.get(url)
    assert all(getattr(shown.context["form"].instance, name) == new for name, (_old, new) in expected.items())
    assert text_of(shown).count("In the draft") == len(expected)
    assert in_effect in text_of(shown).replace("In effect now: ", "In effect now:</span> ")
    assert state_of(project, application) == before

    done = deploy(portal, "For the <b>autumn</b>")

    [was] = [state for state in before if state["id"] == row.pk and ("slug" in state) == (target == "project")]
    [now] = state_of(row)
    changed = {column: new for column, (_old, new) in expected.items()}
    assert now == was | changed | {"updated_at": now["updated_at"]}
    draft.refresh_from_db()
    assert draft.changes == {}
    assert (done.number, done.author, done.note, done.rolled_back_to) == (1, "olga", "For the <b>autumn</b>", None)
    kind = "project" if target == "project" else "application"
    assert events(project) == [
        ("draft.changed", target, expected),
        ("deployment.created", "deployment:1", {"note": "For the <b>autumn</b>"}),
        (f"{kind}.changed", target, expected),
    ]
    assert "In the draft" not in text_of(portal.get(url))


def test_the_page_says_that_it_keeps(portal: Client, project: Project, draft: Draft) -> None:
    page = portal.get(SESSION)
    assert "Keep in draft</button>" in text_of(page)
    assert "Save session settings" not in text_of(page)
    keep_session_lifetime(portal)
    page = portal.get(SESSION)
    assert "Kept in the draft. Nothing is in effect before you deploy." in text_of(page)
    assert "1 change waits for review." in text_of(page)
    assert f'href="{REVIEW}"' in text_of(page).split('class="draft-bar"')[1].split("</p>")[0]
    assert "draft-bar" not in text_of(portal.get(REVIEW))


def test_without_a_draft_nothing_is_different(portal: Client, project: Project) -> None:
    page = text_of(portal.get(SESSION))
    assert "Save session settings</button>" in page
    assert "draft-bar" not in page
    assert save(portal, SESSION, session_lifetime="7200").status_code == 302
    assert state_of(project)[0]["session_lifetime"] == 7200
    assert not Draft.objects.exists()


def test_the_draft_costs_the_frame_one_statement(portal: Client, project: Project) -> None:
    with CaptureQueriesContext(connection) as queries:
        portal.get("/portal/guestbook/applications/")
    assert [query["sql"].count("portal_draft") > 0 for query in queries].count(True) == 1


def test_pages_add_up_in_one_draft(portal: Client, project: Project, application: Application, draft: Draft) -> None:
    for page, (entries, _expected, _words) in PAGES.items():
        assert save(portal, url_of(page, application), **entries).status_code == 302
    assert drafted(project) == {
        "project": {
            column: new
            for page, (_entries, expected, _words) in PAGES.items()
            if "pk" not in page
            for column, (_old, new) in expected.items()
        },
        "application:web": {"name": "Shop", "max_concurrent_sessions": 1, "access_token_lifetime": 600},
    }
    assert "13 changes wait for review." in text_of(portal.get(SESSION))


def test_what_goes_back_to_what_is_stored_leaves_the_draft(portal: Client, project: Project, draft: Draft) -> None:
    save(portal, SESSION, session_lifetime="7200", session_idle_timeout="3600")
    assert save(portal, SESSION, session_lifetime="31449600").status_code == 302
    assert drafted(project) == {"project": {"session_idle_timeout": 3600}}
    save(portal, SESSION, session_idle_timeout="2592000")
    assert drafted(project) == {}
    assert events(project)[-1] == ("draft.changed", "project", {"session_idle_timeout": [3600, 2_592_000]})


def test_sending_the_same_again_writes_nothing(portal: Client, project: Project, draft: Draft) -> None:
    keep_session_lifetime(portal)
    before = everything(project)
    assert save(portal, SESSION).status_code == 302
    assert everything(project) == before
    assert "Nothing was changed: these values are kept already." in text_of(portal.get(SESSION))


def test_the_rules_hold_for_the_drafted_values(
    portal: Client, project: Project, application: Application, draft: Draft
) -> None:
    url = url_of("applications/{pk}", application)
    save(portal, url, access_token_lifetime="600", refresh_token_lifetime="900")
    before = everything(project)
    response = save(portal, url, access_token_lifetime="901")
    assert response.status_code == 400
    assert "greater than or equal to the access token lifetime" in text_of(response)
    assert everything(project) == before


@pytest.mark.parametrize("entry", ["", "x", "59", None])
def test_bad_entries_change_neither_row_nor_draft(
    entry: str | None, portal: Client, project: Project, draft: Draft
) -> None:
    keep_session_lifetime(portal)
    before = everything(project)
    response = save(portal, SESSION, session_lifetime=entry)
    assert response.status_code == 400
    assert "In the draft" in text_of(response)
    assert everything(project) == before


def test_a_timeout_whose_switch_is_off_keeps_its_drafted_value(portal: Client, project: Project, draft: Draft) -> None:
    save(portal, SESSION, session_idle_timeout="3600")
    assert save(portal, SESSION, session_idle_timeout_enabled=None, session_idle_timeout=None).status_code == 302
    assert drafted(project) == {"project": {"session_idle_timeout": 3600, "session_idle_timeout_enabled": False}}


# Two people


def test_an_entry_over_a_draft_that_changed_meanwhile_is_refused(
    portal: Client, project: Project, draft: Draft
) -> None:
    stale = version_in(portal.get(SESSION))
    keep_session_lifetime(browser_of(project, "editor"))
    before = everything(project)
    response = save(portal, SESSION, session_lifetime="3600", version=stale)
    assert response.status_code == 409
    assert "They differ from what the draft says now in: Session lifetime." in text_of(response)
    assert 'value="3600"' in text_of(response)
    assert everything(project) == before


def test_who_works_on_another_application_is_in_nobodys_way(
    portal: Client, project: Project, application: Application, draft: Draft
) -> None:
    url = url_of("applications/{pk}", application)
    version = version_in(portal.get(url))
    other = url_of("applications/{pk}", make_application(project, "other"))
    assert save(browser_of(project, "editor"), other, name="Theirs").status_code == 302
    assert save(portal, url, name="Mine", version=version).status_code == 302
    assert drafted(project) == {"application:other": {"name": "Theirs"}, "application:web": {"name": "Mine"}}


def test_a_form_from_before_changes_were_collected_is_shown_again(portal: Client, project: Project) -> None:
    stale = version_in(portal.get(SESSION))
    collect(project)
    before = everything(project)
    response = save(portal, SESSION, session_lifetime="3600", version=stale)
    assert response.status_code == 409
    assert "Changes of this project wait for review. Send again to keep your entries in the draft" in text_of(response)
    assert everything(project) == before


def test_a_form_that_would_have_kept_does_not_save(portal: Client, project: Project, draft: Draft) -> None:
    stale = version_in(portal.get(SESSION))
    draft.delete()
    before = everything(project)
    response = save(portal, SESSION, session_lifetime="3600", version=stale)
    assert response.status_code == 409
    assert "Save again to store your entries" in text_of(response)
    assert everything(project) == before


def test_a_form_from_before_the_deployment_is_shown_again(portal: Client, project: Project, draft: Draft) -> None:
    keep_session_lifetime(portal)
    stale = version_in(portal.get(SESSION))
    deploy(portal)
    before = everything(project)
    assert save(portal, SESSION, session_lifetime="3600", version=stale).status_code == 409
    assert everything(project) == before


@pytest.mark.parametrize("page", PAGES)
def test_a_viewer_reads_the_draft_and_keeps_nothing(
    page: str, portal: Client, project: Project, application: Application, draft: Draft
) -> None:
    entries, expected, _words = PAGES[page]
    url = url_of(page, application)
    save(portal, url, **entries)
    viewer = browser_of(project, "viewer")
    before = everything(project)
    read = text_of(viewer.get(url))
    assert read.count("In the draft") == len(expected)
    assert '<fieldset class="looked-at" disabled>' in read
    assert "data-save-bar" not in read
    assert "<button" not in read.split("<main")[1].replace('<button type="button"', "")
    assert "looked-at" not in text_of(portal.get(url))
    assert viewer.post(url, {"version": version_in(viewer.get(url))}).status_code == 403
    assert browser_of(None, "editor").post(url, {"version": "x"}).status_code == 404
    assert everything(project)[1:] == before[1:]


# Pages that do more than to keep settings


def test_a_guest_is_restored_and_a_dry_run_made_beside_the_draft(
    portal: Client, project: Project, draft: Draft
) -> None:
    url = "/portal/guestbook/retention/"
    save(portal, url, quarantine_days="14")
    user = get_user_model().objects.create(username=str(uuid.uuid4()))
    guest = EndUser.objects.create(project=project, user=user, quarantined_at=timezone.now() - timedelta(hours=1))
    AnonymousIdentity.objects.create(end_user=guest)
    before = drafted(project)

    page = portal.post(url, {"dry_run": "yes"})
    assert page.status_code == 200
    assert page.context["form"].initial["quarantine_days"] == 14
    assert version_in(page) == version_in(portal.get(url))
    assert "In the draft" in text_of(page)

    assert portal.post(url, {"restore": str(guest.pk)}).status_code == 302
    guest.refresh_from_db()
    assert guest.quarantined_at is None
    event = AuditEvent.objects.latest("pk")
    assert (event.category, event.type, event.end_user_id) == ("users", "user.restored", guest.pk)
    assert drafted(project) == before


def test_the_frame_of_the_project_does_not_wait(portal: Client, project: Project, draft: Draft) -> None:
    url = "/portal/guestbook/settings/"
    page = portal.get(url)
    assert "Keep in draft" not in text_of(page)
    assert save(portal, url, name="Autumn").status_code == 302
    assert state_of(project)[0]["name"] == "Autumn"
    assert drafted(project) == {}


def test_another_projects_draft_is_its_own(portal: Client, project: Project, draft: Draft) -> None:
    keep_session_lifetime(portal)
    make_project("shop", "shop.example.com")
    counts = row_counts()
    page = text_of(portal.get("/portal/shop/session/"))
    assert "draft-bar" not in page
    assert "Keep in draft" not in page
    assert row_counts() == counts
