"""Authentication › Anonymous Users."""

import pytest
from django.test import Client

from anonusers.models import Project
from tests.conftest import make_application, state_of
from tests.portal.conftest import save, version_in

pytestmark = pytest.mark.django_db
URL = "/portal/guestbook/anonymous-users/"


def test_the_page_shows_the_settings_and_how_long_guests_last(portal: Client, project: Project) -> None:
    make_application(project, "web", name="Web")
    make_application(project, "job", name="Job", type="m2m", refresh_token_idle_timeout_enabled=False)
    page = portal.get(URL).content.decode()
    assert page.count("<h1>Anonymous Users</h1>") == 1
    assert "Cookie-based applications" in page
    assert page.count("30 days (2,592,000 seconds)") == 1
    assert page.count("364 days (31,449,600 seconds)") == 1
    assert page.count(">2,592,000<") == 1  # Web; Job's is off
    assert page.count(">31,449,600<") == 2  # all applications, also those that cannot have guests
    assert page.count("No guests") == 1
    assert 'href="/portal/guestbook/applications/"' in page


def test_the_cookie_block_has_no_idle_timeout_while_it_is_off(portal: Client, project: Project) -> None:
    Project.objects.update(session_idle_timeout_enabled=False)
    page = portal.get(URL).content.decode()
    assert "30 days (2,592,000 seconds)" not in page
    assert "364 days (31,449,600 seconds)" in page


def test_switching_off_is_saved_and_said(portal: Client, project: Project) -> None:
    before = state_of(project)[0]
    response = save(portal, URL, anonymous_users_enabled=None)
    assert (response.status_code, response["Location"]) == (302, URL)
    after = state_of(project)[0]
    assert {name for name in after if after[name] != before[name]} == {"anonymous_users_enabled", "updated_at"}
    assert after["anonymous_users_enabled"] is False
    assert portal.get(URL).content.decode().count("Saved. The change is in effect now.") == 1
    assert "Saved." not in portal.get(URL).content.decode()
    save(portal, URL, anonymous_users_enabled="on")
    assert state_of(project)[0]["anonymous_users_enabled"] is True


def test_the_conflict_choice_is_saved(portal: Client, project: Project) -> None:
    save(portal, URL, promotion_conflict="login")
    project.refresh_from_db()
    assert project.promotion_conflict == "login"


def test_the_choice_for_retired_device_keys_is_saved_and_nothing_else(portal: Client, project: Project) -> None:
    before = state_of(project)[0]
    assert save(portal, URL, retired_device_keys="refuse").status_code == 302
    after = state_of(project)[0]
    assert {name for name in after if after[name] != before[name]} == {"retired_device_keys", "updated_at"}
    assert after["retired_device_keys"] == "refuse"
    assert '<option value="refuse" selected>Refuse</option>' in portal.get(URL).content.decode()
    save(portal, URL, retired_device_keys="new_guest")
    assert state_of(project)[0]["retired_device_keys"] == "new_guest"


def test_the_page_says_what_a_device_key_is_and_how_long_its_guest_lasts(portal: Client, project: Project) -> None:
    page = portal.get(URL).content.decode()
    assert "Apps on phones sign their guest in with a key that is kept on the device." in page
    assert '<option value="new_guest" selected>Create a New Guest</option>' in page
    assert "can log in again with the key for as long as it is on the device" in page
    assert page.index('for="id_promotion_conflict"') < page.index('for="id_retired_device_keys"')


@pytest.mark.parametrize("sent", [None, "", "New_guest", "delete", "refuse\0", "refuse "])
def test_a_forged_choice_for_retired_device_keys_is_refused(sent: str | None, portal: Client, project: Project) -> None:
    before = state_of(project)
    response = save(portal, URL, retired_device_keys=sent)
    assert response.status_code == 400
    page = response.content.decode()
    assert "Nothing was saved." in page
    assert 'id="id_retired_device_keys_error"' in page
    assert 'id="id_promotion_conflict_error"' not in page
    assert state_of(project) == before


@pytest.mark.parametrize("sent", [None, "refuse", "garbage", ""])
def test_while_the_toggle_is_off_the_choice_for_retired_device_keys_stays(
    sent: str | None, portal: Client, project: Project
) -> None:
    response = save(portal, URL, anonymous_users_enabled=None, retired_device_keys=sent)
    assert response.status_code == 302
    project.refresh_from_db()
    assert (project.anonymous_users_enabled, project.retired_device_keys) == (False, "new_guest")


@pytest.mark.parametrize("sent", [None, "login", "garbage", ""])
def test_while_the_toggle_is_off_the_conflict_choice_stays(sent: str | None, portal: Client, project: Project) -> None:
    response = save(portal, URL, anonymous_users_enabled=None, promotion_conflict=sent)
    assert response.status_code == 302
    project.refresh_from_db()
    assert (project.anonymous_users_enabled, project.promotion_conflict) == (False, "error")


@pytest.mark.parametrize("sent", [None, "", "LOGIN", "link", "login\0"])
def test_a_choice_that_is_none_is_refused(sent: str | None, portal: Client, project: Project) -> None:
    before = state_of(project)
    response = save(portal, URL, promotion_conflict=sent)
    assert response.status_code == 400
    assert "Nothing was saved." in response.content.decode()
    assert 'id="id_promotion_conflict_error"' in response.content.decode()
    assert state_of(project) == before


def test_a_form_that_was_overtaken_saves_nothing_and_says_so(portal: Client, project: Project) -> None:
    stale = version_in(portal.get(URL))
    save(portal, URL, promotion_conflict="login")
    before = state_of(project)
    response = portal.post(URL, {"version": stale, "promotion_conflict": "error"})
    assert response.status_code == 409
    assert state_of(project) == before
    page = response.content.decode()
    assert "Somebody changed this while you were editing. Nothing was saved." in page
    assert "Enable anonymous users?" in page.split("differ from what is stored now in:")[1].split("</p>")[0]
    # The operator has been told; saving the same entries again is a decision.
    again = portal.post(URL, {"version": version_in(response), "promotion_conflict": "error"})
    assert again.status_code == 302
    project.refresh_from_db()
    assert project.anonymous_users_enabled is False


@pytest.mark.parametrize("version", [None, "", "now", "2020-01-01T00:00:00+00:00"])
def test_a_form_without_a_true_version_saves_nothing(version: str | None, portal: Client, project: Project) -> None:
    before = state_of(project)
    data = {"promotion_conflict": "login"} | ({} if version is None else {"version": version})
    assert portal.post(URL, data).status_code == 409
    assert state_of(project) == before


def test_saving_one_page_leaves_the_columns_of_the_others(portal: Client, project: Project) -> None:
    extra = {"session_lifetime": "60", "slug": "other", "name": "Other", "guest_inactive_days": "1"}
    before = state_of(project)[0]
    save(portal, URL, promotion_conflict="login", **extra)
    after = state_of(project)[0]
    assert {name for name in after if after[name] != before[name]} == {"promotion_conflict", "updated_at"}


def test_a_project_without_applications_says_what_will_appear(portal: Client, project: Project) -> None:
    assert "The lifetimes of each application appear here" in portal.get(URL).content.decode()
