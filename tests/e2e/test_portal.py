"""The portal in a real browser: what its script adds, and that its pages keep to their own policy."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from anonusers.models import AnonymousIdentity, Application, EndUser, Project
from anonusers.retention import statement
from portal.durations import in_words, logout_sentence
from portal.retention import Outcome, limit_in_words, server_default
from tests.conftest import make_application, make_project

pytestmark = pytest.mark.browser
PASSWORD = "correct horse"


@pytest.fixture
def project(transactional_db: None) -> Project:
    return make_project("shop", "*")


@pytest.fixture
def application(project: Project) -> Application:
    return make_application(project)


@pytest.fixture
def page(chromium: Any, server: str, project: Project) -> Iterator[Any]:
    """A signed-in operator's page. Whatever the console complains about fails the test."""
    get_user_model().objects.create_user("olga", password=PASSWORD, is_staff=True, is_superuser=True)
    context = chromium.new_context(base_url=server, viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if "status of 4" not in said.text else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("/portal/login/")
    page.fill("#id_username", "olga")
    page.fill("#id_password", PASSWORD)
    page.click("text=Sign in >> visible=true >> nth=-1")
    page.wait_for_url("**/overview/")
    page.goto("/portal/shop/anonymous-users/")
    yield page
    context.close()
    assert complaints == []


def test_the_save_bar_is_there_while_something_differs_from_what_is_stored(page: Any, project: Project) -> None:
    bar, toggle, conflict, keys = (
        page.locator(selector)
        for selector in (
            "[data-save-bar]",
            "#id_anonymous_users_enabled",
            "#id_promotion_conflict",
            "#id_retired_device_keys",
        )
    )
    assert not bar.is_visible()
    assert conflict.is_enabled()
    assert keys.is_enabled()
    toggle.focus()
    page.keyboard.press("Space")
    assert bar.is_visible()
    assert conflict.is_disabled()
    assert keys.is_disabled()
    toggle.click()
    assert not bar.is_visible()
    assert conflict.is_enabled()
    assert keys.is_enabled()
    keys.select_option("refuse")
    assert bar.is_visible()
    page.click("[data-save-bar] button")
    page.wait_for_selector("text=Saved. The change is in effect now.")
    page.wait_for_load_state()  # until then the script does not follow what is chosen
    assert keys.input_value() == "refuse"
    assert not bar.is_visible()
    keys.select_option("new_guest")
    assert bar.is_visible()
    conflict.select_option("login")
    toggle.click()
    page.click("[data-save-bar] button")
    page.wait_for_selector("text=Saved. The change is in effect now.")
    assert not bar.is_visible()
    project.refresh_from_db()
    assert (project.anonymous_users_enabled, project.promotion_conflict) == (False, "error")
    assert project.retired_device_keys == "refuse"


def test_leaving_with_unsaved_changes_asks_and_discarding_does_not(page: Any, project: Project) -> None:
    asked: list[str] = []

    def stay(dialog: Any) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.click("#id_anonymous_users_enabled")
    with page.expect_event("dialog"):
        page.click("nav >> text=Session", no_wait_after=True)
    assert asked == ["beforeunload"]
    assert page.url.endswith("/anonymous-users/")
    page.click("[data-save-bar] [data-discard]")
    page.wait_for_load_state()
    assert not page.locator("[data-save-bar]").is_visible()
    assert page.locator("#id_anonymous_users_enabled").is_checked()
    page.click("nav >> text=Session")
    page.wait_for_url("**/session/")
    assert asked == ["beforeunload"]


SECONDS = [60, 61, 300, 3600, 5400, 86_400, 90_061, 108_000, 2_592_000, 31_449_600, 315_360_000]


def test_the_script_says_durations_in_the_words_of_the_server(page: Any, application: Application) -> None:
    page.goto(f"/portal/shop/applications/{application.pk}/")
    words = page.locator("[data-words-of=id_refresh_token_idle_timeout]")
    sentence = page.locator("[data-sentence-text]")
    for seconds in SECONDS:
        page.fill("#id_refresh_token_idle_timeout", str(seconds))
        assert words.inner_text() == in_words(seconds)
        expected = logout_sentence().text(lifetime=31_449_600, idle_timeout=seconds)
        assert sentence.inner_text() == expected
    # Nonsense has no words, and the sentence does not follow it.
    for nonsense in ("abc", "", "59", "-1", "1e3"):
        page.fill("#id_refresh_token_idle_timeout", nonsense)
        assert sentence.inner_text() == expected
    page.click("#id_refresh_token_idle_timeout_enabled")
    assert sentence.inner_text() == "Guests are logged out after 364 days, active or not."
    assert page.locator("#id_refresh_token_idle_timeout").is_disabled()
    page.click("[data-save-bar] button")
    page.wait_for_selector("text=Saved. The change is in effect now.")
    application.refresh_from_db()
    assert application.refresh_token_idle_timeout_enabled is False
    assert application.refresh_token_idle_timeout == 2_592_000


def test_a_refused_form_keeps_its_save_bar_and_moves_the_focus_to_what_is_wrong(
    page: Any, application: Application
) -> None:
    page.goto(f"/portal/shop/applications/{application.pk}/")
    page.fill("#id_access_token_lifetime", "299")
    page.click("[data-save-bar] button")
    alert = page.locator("[role=alert]")
    alert.wait_for()
    assert alert.evaluate("element => element === document.activeElement")
    assert page.locator("[data-save-bar]").is_visible()
    page.click("[role=alert] a")
    page.wait_for_function("document.activeElement.id === 'id_access_token_lifetime'")


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1920])
def test_no_page_is_wider_than_the_window(width: int, page: Any, application: Application) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    Application.objects.filter(pk=application.pk).update(name="W" * 100, client_id="c" * 100)
    for path in (
        "anonymous-users/",
        "applications/",
        f"applications/{application.pk}/",
        "session/",
        "retention/",
        "applications/0/",
    ):
        page.goto(f"/portal/shop/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_on_a_phone_the_navigation_is_folded_away_behind_a_button(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.reload()
    button, nav = page.locator(".sidebar__toggle"), page.locator(".nav")
    assert not nav.is_visible()
    button.focus()
    page.keyboard.press("Enter")
    assert nav.is_visible()
    assert button.get_attribute("aria-expanded") == "true"
    page.click("nav >> text=Session")
    page.wait_for_url("**/session/")


def test_the_client_id_is_copied(page: Any, application: Application, server: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server)
    page.goto("/portal/shop/applications/")
    page.click("[data-copy=web]")
    page.wait_for_selector("text=Copied", state="attached")
    assert page.evaluate("navigator.clipboard.readText()") == "web"
    assert page.url.endswith("/applications/")  # the row's link was not followed
    page.locator("td.client-id").click(force=True)  # the row's link lies over it
    page.wait_for_url(f"**/applications/{application.pk}/")


def set_aside(project: Project, *, days: int) -> EndUser:
    """A guest of 100 days whom nothing leads back to, in quarantine for so many days."""
    user = get_user_model().objects.create(username=f"guest-{days}")
    guest = EndUser.objects.create(project=project, user=user)
    AnonymousIdentity.objects.create(end_user=guest)
    now = timezone.now()
    EndUser.objects.filter(pk=guest.pk).update(
        created_at=now - timedelta(days=100), quarantined_at=now - timedelta(days=days)
    )
    return guest


def test_retention_is_changed_foreseen_and_a_guest_is_restored(page: Any, project: Project, server: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server)
    newest, oldest = set_aside(project, days=1), set_aside(project, days=5)
    page.click("nav >> text=Retention & limits")
    page.wait_for_url("**/retention/")
    sentence, words = page.locator("[data-outcome-text]"), page.locator("[data-limit-of=id_signup_per_ip]")
    foreseen = page.locator("#removal tbody tr")
    assert foreseen.all_inner_texts() == ["Now\t2\t0", "In 7 days\t2\t2", "In 30 days\t2\t2", "In 90 days\t2\t2"]
    for inactive, quarantine in ((0, 7), (1, 0), (1, 1), (90, 7), (3650, 365)):
        page.fill("#id_guest_inactive_days", str(inactive))
        page.fill("#id_quarantine_days", str(quarantine))
        assert sentence.inner_text() == (said := Outcome().text(inactive, quarantine))
    page.fill("#id_quarantine_days", "366")  # while an entry is no good the last sentence stays
    assert sentence.inner_text() == said
    for limit in ("60/m", "1/s", "50000/d", "9/h", "off", "", "0/m", "60 a minute"):
        page.fill("#id_signup_per_ip", limit)
        assert words.inner_text() == limit_in_words(limit, server_default("signup_per_ip"))
    page.fill("#id_signup_per_ip", "30/m")
    page.fill("#id_guest_inactive_days", "90")
    page.fill("#id_quarantine_days", "3")
    page.click("text=Save retention")
    page.wait_for_selector("text=Saved. The change is in effect now.")
    assert foreseen.all_inner_texts()[0] == "Now\t2\t1"
    page.click("button[name=dry_run]")
    page.wait_for_selector("text=Dry run: nothing was changed.")
    page.wait_for_function("document.activeElement.id === 'dry-run'")
    assert page.locator("#dry-run li").all_inner_texts() == ["1 guest removed", "0 guests set aside"]
    page.click(f"button[value='{oldest.pk}']")
    page.wait_for_selector("text=The guest is out of quarantine.")
    assert page.locator("#quarantine tbody th").all_inner_texts() == [str(newest.pk)]
    page.click("#statement [data-copy]")
    page.wait_for_selector("#statement >> text=Copied", state="attached")
    project.refresh_from_db()
    assert page.evaluate("navigator.clipboard.readText()") == "\n\n".join(statement(project))
    assert (project.quarantine_days, project.signup_per_ip) == (3, "30/m")
    assert EndUser.objects.filter(project=project).count() == 2


def test_without_script_everything_can_be_done(chromium: Any, server: str, page: Any, project: Project) -> None:
    context = chromium.new_context(base_url=server, java_script_enabled=False, viewport={"width": 390, "height": 800})
    context.add_cookies(page.context.cookies())
    plain = context.new_page()
    plain.goto("/portal/shop/session/")
    assert plain.locator(".nav").is_visible()
    plain.fill("#id_session_lifetime", "3600")
    plain.locator("#id_session_idle_timeout_enabled").uncheck()
    plain.click("text=Save session settings")
    plain.wait_for_selector("text=Saved. The change is in effect now.")
    assert plain.locator("text=Guests are logged out after 1 hour, active or not.").is_visible()
    context.close()
    project.refresh_from_db()
    assert (project.session_lifetime, project.session_idle_timeout_enabled) == (3600, False)
