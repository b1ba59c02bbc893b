"""Advanced › Realm."""

from typing import Any

import pytest
from django.test import Client

from anonusers.models import Application, AuditEvent, Project, RealmApp
from anonusers.project_file import export_project, parse_project_file
from tests.conftest import make_application, state_of
from tests.portal.conftest import bare_project, save
from tests.portal.reviewing import collect, drafted, text_of
from tests.portal.routes import everything

pytestmark = pytest.mark.django_db
URL = "/portal/guestbook/realm/"
APP_ID = "guestbook-abcde"


@pytest.fixture
def project(db: None) -> Project:
    return bare_project(anonymous_users_enabled=True, login_ids=["email"])


def test_without_an_app_id_the_page_explains_and_makes_no_ids(portal: Client, project: Project) -> None:
    page = text_of(portal.get(URL))
    assert "While this is empty, no Stitch or Realm client finds this project." in page
    assert "Point apps and tools here" not in page
    assert not RealmApp.objects.exists()


def test_an_app_id_is_saved_and_its_application_is_made(portal: Client, project: Project) -> None:
    entries = {"realm_app_id": APP_ID, "realm_local_userpass": "on", "realm_reset_url": "https://app.example.com/reset"}
    assert save(portal, URL, **entries).status_code == 302
    row = Project.objects.get()
    assert (row.realm_app_id, row.realm_local_userpass) == (APP_ID, True)
    assert row.realm_reset_url == "https://app.example.com/reset"
    application = Application.objects.get()
    assert (application.client_id, application.framework) == (APP_ID, "realm-web")
    assert application.refresh_token_idle_timeout == 90 * 86_400
    assert application.refresh_token_rotation_enabled is False
    assert application.dpop_enabled is False
    parse_project_file(export_project("guestbook").encode(), "exported")
    assert list(AuditEvent.objects.order_by("pk").values_list("type", flat=True)) == [
        "application.created",
        "project.changed",
    ]


def test_an_application_of_that_name_is_taken_as_it_is(portal: Client, project: Project) -> None:
    application = make_application(project, APP_ID)
    before = state_of(application)
    assert save(portal, URL, realm_app_id=APP_ID).status_code == 302
    assert state_of(application) == before
    assert Application.objects.count() == 1


def test_in_a_draft_the_app_id_waits_and_its_application_does_not(portal: Client, project: Project) -> None:
    collect(project)
    assert save(portal, URL, realm_app_id=APP_ID).status_code == 302
    assert drafted(project) == {"project": {"realm_app_id": APP_ID}}
    assert Project.objects.get().realm_app_id == ""
    assert Application.objects.get().client_id == APP_ID
    review = portal.get("/portal/guestbook/review/")
    assert review.context["problems"] == []
    assert "App ID" in text_of(review)


def test_the_ids_and_the_code_can_be_copied(portal: Client, project: Project) -> None:
    save(portal, URL, realm_app_id=APP_ID)
    response = portal.get(URL)
    page, ids = text_of(response), RealmApp.objects.get()
    for text in (ids.object_id, ids.group_id, ids.domain_id, *ids.provider_ids.values(), "http://localhost:8000"):
        assert f'data-copy="{text}"' in page
    assert "new Realm.App({ id: &quot;guestbook-abcde&quot;, baseUrl: &quot;http://localhost:8000&quot; })" in page
    assert ".withBaseUrl(&quot;http://localhost:8000&quot;)" in page
    assert "realm-cli push --realm-url &quot;http://localhost:8000&quot; --remote &quot;guestbook-abcde&quot;" in page
    assert 'href="/portal/me/api-keys/"' in page
    ids_before = everything()["anonusers.RealmApp"]
    portal.get(URL)
    assert everything()["anonusers.RealmApp"] == ids_before


def test_an_application_that_was_deleted_is_made_again(portal: Client, project: Project) -> None:
    save(portal, URL, realm_app_id=APP_ID)
    Application.objects.all().delete()
    assert 'name="action" value="application"' in text_of(portal.get(URL))
    response = portal.post(URL, {"action": "application"}, follow=True)
    assert "The application is there. Stitch and Realm clients come through it." in text_of(response)
    assert Application.objects.get().client_id == APP_ID


def test_without_an_app_id_there_is_no_application_to_make(portal: Client, project: Project) -> None:
    before = everything()
    response = portal.post(URL, {"action": "application"}, follow=True)
    assert "Nothing was changed: deploy an app ID first." in text_of(response)
    assert everything() == before


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("realm_app_id", "with space", "visible ASCII characters"),
        ("realm_app_id", "x" * 101, "at most 100 characters"),
        ("realm_confirmation_url", "javascript:alert(1)", "begins with https://"),
        ("realm_confirmation_url", "http://app.example.com/", "Use https"),
        ("realm_reset_url", "https://user@app.example.com/", "no user name"),
        ("realm_migration_until", "tomorrow", "Write it as 2026-12-31T23:59"),
        ("realm_migration_until", "2026-13-01T00:00", "Write it as 2026-12-31T23:59"),
        ("realm_migration_until", "0001-01-01T00:00+14:00", "Write it as 2026-12-31T23:59"),
        ("realm_adopt_guests", "on", "Say until when the migration lasts"),
    ],
)
def test_entries_that_cannot_be_are_explained_at_their_field(
    field: str, value: str, says: str, portal: Client, project: Project
) -> None:
    before = everything()
    response = save(portal, URL, **{"realm_local_userpass": "on", field: value})
    assert response.status_code == 400
    assert says in " ".join(response.context["form"].errors[field])
    assert f'id="id_{field}_error"' in response.content.decode()
    assert everything() == before


def test_an_app_id_of_another_project_is_refused(portal: Client, project: Project) -> None:
    bare_project("secretshop", "secret.example.com", realm_app_id=APP_ID)
    before = everything()
    response = save(portal, URL, realm_app_id=APP_ID)
    assert response.status_code == 400
    assert response.context["form"].errors["realm_app_id"] == ["Another project has this app ID. Choose another one."]
    assert "secretshop" not in response.content.decode().split("<main")[1]
    assert everything() == before


@pytest.mark.parametrize(
    ("entered", "stored"),
    [
        ("2027-03-01T12:30", "2027-03-01T12:30:00Z"),
        ("2027-03-01T12:30:15", "2027-03-01T12:30:15Z"),
        ("2027-03-01T12:30+02:00", "2027-03-01T10:30:00Z"),
        ("2027-03-01", "2027-03-01T00:00:00Z"),
        ("", ""),
    ],
)
def test_a_moment_is_kept_in_utc(entered: str, stored: str, portal: Client, project: Project) -> None:
    assert save(portal, URL, realm_migration_until=entered).status_code == 302
    assert Project.objects.get().realm_migration_until == stored


def test_a_moment_that_a_project_file_wrote_otherwise_is_no_change(portal: Client, project: Project) -> None:
    Project.objects.update(realm_migration_until="2027-03-01T12:30:00+02:00")
    assert 'value="2027-03-01T10:30"' in portal.get(URL).content.decode()
    before = everything()
    assert save(portal, URL).status_code == 302
    assert [event.changes for event in AuditEvent.objects.all()] == []
    assert everything()["anonusers.AuditEvent"] == before["anonusers.AuditEvent"]
    assert Project.objects.get().realm_migration_until == "2027-03-01T12:30:00+02:00"


def test_adoption_is_warned_about_and_an_open_window_is_shown(portal: Client, project: Project) -> None:
    page = text_of(portal.get(URL))
    assert "knows enough to pass for that guest" in page
    assert "badge--warning" not in page.split("<main")[1]
    save(portal, URL, realm_migration_until="2999-01-01T00:00", realm_adopt_guests="on")
    assert 'badge--warning"><span>Ends' in text_of(portal.get(URL))
    save(portal, URL, realm_migration_until="2020-01-01T00:00", realm_adopt_guests="on")
    assert 'badge--warning"><span>Ends' not in text_of(portal.get(URL))


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({}, "told that this is not used"),
        ({"realm_local_userpass": "on", "realm_auto_confirm": "on"}, "has it at once, also somebody else"),
        ({"realm_local_userpass": "on"}, "nobody who registers gets in"),
    ],
)
def test_what_the_switches_mean_is_said_beside_them(
    entries: dict[str, Any], expected: str, portal: Client, project: Project
) -> None:
    save(portal, URL, **entries)
    shown = [line.text for line in portal.get(URL).context["form"].consequences() if line.holds]
    assert any(expected in line for line in shown)


def test_while_the_switch_is_off_what_depends_on_it_stays(portal: Client, project: Project) -> None:
    save(portal, URL, realm_local_userpass="on", realm_reset_url="https://app.example.com/reset")
    save(portal, URL, realm_local_userpass=None, realm_reset_url=None, realm_confirmation_url=None)
    row = Project.objects.get()
    assert (row.realm_local_userpass, row.realm_reset_url) == (False, "https://app.example.com/reset")


def test_clients_are_warned_for_while_anonymous_users_are_off(portal: Client, project: Project) -> None:
    save(portal, URL, realm_app_id=APP_ID)
    words = "clients are told that there is no anon-user provider"
    assert words not in text_of(portal.get(URL))
    Project.objects.update(anonymous_users_enabled=False)
    assert words in text_of(portal.get(URL))
