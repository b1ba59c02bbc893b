"""Advanced › Session."""

import pytest
from django.test import Client

from anonusers.models import Project
from anonusers.models.projects import LIFETIME_MAX
from tests.conftest import state_of
from tests.portal.conftest import save, version_in

pytestmark = pytest.mark.django_db
URL = "/portal/guestbook/session/"


def test_the_page_says_what_the_values_mean(portal: Client, project: Project) -> None:
    page = portal.get(URL).content.decode()
    assert "Guests are logged out after 30 days without activity, 364 days at the latest." in page
    assert 'data-shown-if-closing="session_persistent_cookie" hidden' in page


def test_all_settings_are_saved_together(portal: Client, project: Project) -> None:
    response = save(
        portal,
        URL,
        session_persistent_cookie="False",
        session_lifetime="108000",
        session_idle_timeout="60",
    )
    assert response.status_code == 302
    project.refresh_from_db()
    assert project.session_persistent_cookie is False
    assert (project.session_lifetime, project.session_idle_timeout) == (108_000, 60)
    page = portal.get(URL).content.decode()
    assert "Guests are logged out after 1 minute without activity, 1 day 6 hours at the latest." in page
    assert 'data-shown-if-closing="session_persistent_cookie" hidden' not in page


@pytest.mark.parametrize("sent", [None, "", "abc", "-1", "1"])
def test_while_idling_does_not_count_its_timeout_stays(sent: str | None, portal: Client, project: Project) -> None:
    response = save(portal, URL, session_idle_timeout_enabled=None, session_idle_timeout=sent)
    assert response.status_code == 302
    project.refresh_from_db()
    assert (project.session_idle_timeout_enabled, project.session_idle_timeout) == (False, 2_592_000)
    assert "Guests are logged out after 364 days, active or not." in portal.get(URL).content.decode()


@pytest.mark.parametrize("field", ["session_lifetime", "session_idle_timeout"])
@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("", "Enter a number of seconds."),
        (None, "Enter a number of seconds."),
        ("abc", "Enter a whole number of seconds, such as 1800."),
        ("1.5", "Enter a whole number of seconds, such as 1800."),
        ("1e9", "Enter a whole number of seconds, such as 1800."),
        ("NaN", "Enter a whole number of seconds, such as 1800."),
        ("1_800", "Enter a whole number of seconds, such as 1800."),
        ("٣٦٠٠", "Enter a whole number of seconds, such as 1800."),
        ("-60", "Enter a whole number of seconds, such as 1800."),
        ("0", "Enter at least 60 seconds (1 minute)."),
        ("59", "Enter at least 60 seconds (1 minute)."),
        ("315360001", "Enter at most 315,360,000 seconds (3650 days)."),
        ("9" * 5000, "Enter a whole number of seconds, such as 1800."),
    ],
)
def test_a_duration_out_of_bounds_is_refused(
    field: str, entry: str | None, words: str, portal: Client, project: Project
) -> None:
    before = state_of(project)
    response = save(portal, URL, **{field: entry})
    assert response.status_code == 400
    page = response.content.decode()
    assert words in page.split(f'id="id_{field}_error"')[1].split("</div>")[0]
    assert f'href="#id_{field}"' in page
    assert 'aria-invalid="true"' in page
    assert "Error: Session" in page
    if entry:
        assert f'value="{entry}"' in page  # the entry survives
    assert state_of(project) == before


@pytest.mark.parametrize("field", ["session_lifetime", "session_idle_timeout"])
@pytest.mark.parametrize("entry", [60, LIFETIME_MAX])
def test_the_bounds_themselves_are_good(field: str, entry: int, portal: Client, project: Project) -> None:
    assert save(portal, URL, **{field: f" {entry} "}).status_code == 302
    assert state_of(project)[0][field] == entry


def test_two_mistakes_make_a_summary_of_two(portal: Client, project: Project) -> None:
    before = state_of(project)
    page = save(portal, URL, session_lifetime="1", session_idle_timeout="x").content.decode()
    assert "Nothing was saved. Mend these fields:" in page
    assert 'href="#id_session_lifetime"' in page
    assert 'href="#id_session_idle_timeout"' in page
    assert state_of(project) == before


@pytest.mark.parametrize("sent", [None, "", "true", "1"])
def test_what_happens_at_browser_close_must_be_one_of_two(sent: str | None, portal: Client, project: Project) -> None:
    before = state_of(project)
    response = save(portal, URL, session_persistent_cookie=sent)
    assert response.status_code == 400
    assert 'href="#id_session_persistent_cookie"' in response.content.decode()
    assert state_of(project) == before


def test_an_overtaken_form_saves_nothing(portal: Client, project: Project) -> None:
    stale = version_in(portal.get(URL))
    save(portal, URL, session_lifetime="3600")
    before = state_of(project)
    response = save(portal, URL, session_lifetime="7200", version=stale)
    assert response.status_code == 409
    assert "differ from what is stored now in: Session lifetime." in response.content.decode()
    assert state_of(project) == before
