"""What an operator does in the portal, from the first click to what an app with the unmodified SDK notices of it."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from anonusers.models import Application, AuditEvent, EndUser, Project, Session
from anonusers.promotion.flow import begin_promotion
from portal.models import Deployment, Draft, Job, Membership
from tests.conftest import make_application, row_counts, state_of
from tests.e2e.conftest import Sdk, SdkError
from tests.e2e.portal_world import PASSWORD, operator
from tests.people import guest_session

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def sign_in(new_context: Callable[..., Any], server: str, project: Project) -> Iterator[Callable[..., Any]]:
    """Opens the portal as somebody; what the console complains about fails the test."""
    complaints: list[str] = []

    def make(name: str) -> Any:
        page = new_context(base_url=server, reduced_motion="reduce").new_page()
        page.on("console", lambda said: complaints.append(said.text) if "status of 4" not in said.text else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto("/portal/login/")
        page.fill("#id_username", name)
        page.fill("#id_password", PASSWORD)
        page.press("#id_password", "Enter")
        page.wait_for_url("**/overview/")
        return page

    yield make
    assert complaints == []


@pytest.fixture
def page(sign_in: Callable[..., Any]) -> Any:
    operator()
    return sign_in("olga")


def click(page: Any, text: str, role: str = "button") -> None:
    page.get_by_role(role, name=text).first.click()


def heard(page: Any, text: str) -> None:
    page.get_by_text(text).first.wait_for()


def rejection(sdk: Sdk, expression: str) -> SdkError:
    with pytest.raises(SdkError) as caught:
        sdk.call(expression)
    return caught.value


def test_guests_are_turned_off_and_on(page: Any, new_sdk: Callable[..., Sdk], project: Project) -> None:
    page.goto("/portal/e2e/anonymous-users/")
    page.locator("#id_anonymous_users_enabled").press("Space")
    click(page, "Save")
    heard(page, "Saved. The change is in effect now.")
    refused = rejection(new_sdk("refresh_token"), "sdk.authenticateAnonymously()")
    assert "anonymous user disallowed" in str(refused.message)
    page.locator("#id_anonymous_users_enabled").press("Space")
    click(page, "Save")
    heard(page, "Saved. The change is in effect now.")
    assert new_sdk("refresh_token").authenticate()["isAnonymous"] is True
    told = AuditEvent.objects.filter(type="project.changed").order_by("pk").values_list("actor_name", "changes")
    assert list(told) == [
        ("olga", {"anonymous_users_enabled": [True, False]}),
        ("olga", {"anonymous_users_enabled": [False, True]}),
    ]


def test_an_application_is_made_by_the_wizard_and_its_client_id_works_at_once(
    page: Any, new_context: Callable[..., Any], server: str, sdk_origin: str, project: Project
) -> None:
    page.goto("/portal/e2e/applications/")
    click(page, "Add application", "link")
    page.fill("#id_name", "Notes")
    page.get_by_text("React", exact=True).click()
    page.fill("#id_redirect_uris", f"{sdk_origin}/")
    click(page, "Add application")
    page.wait_for_url("**/quick-start/")
    application = Application.objects.get(name="Notes")
    assert (application.type, application.framework) == ("spa", "react")
    assert application.client_id in page.content()
    sdk = Sdk(new_context().new_page(), sdk_origin, server, application.client_id, "refresh_token").open()
    assert sdk.authenticate()["isAnonymous"] is True
    assert EndUser.objects.get().application_id == application.pk


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"refresh_token_lifetime": "299"}, "300"),
        ({"refresh_token_lifetime": "1000"}, "greater than or equal to the access token lifetime"),
        ({"refresh_token_idle_timeout": "59"}, "60"),
        ({"access_token_lifetime": "299"}, "300"),
        ({"access_token_lifetime": ""}, "Enter"),
        ({"refresh_token_lifetime": "99999999999"}, "315"),
    ],
)  # fmt: skip
def test_a_wrong_lifetime_is_explained_and_not_saved(
    entries: dict[str, str], said: str, page: Any, project: Project
) -> None:
    application = project.applications.get(client_id="sdk-refresh-token")
    before = state_of(application)
    page.goto(f"/portal/e2e/applications/{application.pk}/")
    for name, value in entries.items():
        page.fill(f"#id_{name}", value)
    click(page, "Save lifetimes")
    heard(page, "Nothing was saved.")
    (name,) = entries
    assert re.search(said, page.inner_text(f"#id_{name}_error"))
    assert page.input_value(f"#id_{name}") == entries[name]
    assert state_of(application) == before


def test_a_shorter_lifetime_ends_a_session_at_once(page: Any, new_sdk: Callable[..., Sdk], project: Project) -> None:
    sdk = new_sdk("refresh_token")
    sdk.authenticate()
    Session.objects.update(created_at=timezone.now() - timedelta(hours=2))
    application = project.applications.get(client_id="sdk-refresh-token")
    page.goto(f"/portal/e2e/applications/{application.pk}/")
    page.fill("#id_refresh_token_lifetime", "3600")
    click(page, "Save lifetimes")
    heard(page, "Saved. The change is in effect now.")
    sdk.reload()
    rejection(sdk, "sdk.fetchUserInfo()")
    assert sdk.state == "NO_SESSION"


def test_the_funnel_moves_when_a_guest_is_promoted(page: Any, project: Project) -> None:
    application = project.applications.get(client_id="sdk-refresh-token")
    guest = guest_session(application).end_user
    guest_session(application)
    page.goto("/portal/e2e/overview/")
    steps = "section:has(h2:text-is('Funnel')) .step"
    counts = [" ".join(text.split()[-3:]) for text in page.locator(steps).all_inner_texts()]
    assert counts == ["2 100 %", "0 0 %", "0 0 %", "0 0 %"]
    entries = {"type": "email", "text": "anna@example.com", "password": "nine tame walruses"}
    begin_promotion(end_user=guest, project=project, application=application, **entries)
    page.reload()
    counts = [" ".join(text.split()[-3:]) for text in page.locator(steps).all_inner_texts()]
    assert counts == ["2 100 %", "0 0 %", "1 50.0 %", "1 50.0 %"]


def test_somebody_is_found_disabled_enabled_and_deleted(
    page: Any, new_sdk: Callable[..., Sdk], project: Project
) -> None:
    sdk = new_sdk("refresh_token")
    sub = sdk.authenticate()["sub"]
    new_sdk("refresh_token").authenticate()
    page.goto("/portal/e2e/users/")
    page.fill("#id_q", sub)
    page.press("#id_q", "Enter")
    page.get_by_role("link", name=sub, exact=True).click()
    page.wait_for_url(f"**/users/{sub}/")
    click(page, "Disable user…", "link")
    page.fill("[name=reason]", "Spam")
    click(page, "Disable user")
    heard(page, "Spam")
    assert sdk.reload().state in ("AUTHENTICATED", "UNKNOWN", "NO_SESSION")
    rejection(sdk, "sdk.fetchUserInfo()")
    page.goto(f"/portal/e2e/users/{sub}/")
    click(page, "Enable user")
    page.wait_for_load_state()
    assert EndUser.objects.get(pk=sub).disabled_at is None
    click(page, "Delete user…", "link")
    click(page, "Delete")
    assert EndUser.objects.filter(pk=sub).exists(), "nothing was typed"
    page.fill("[name=typed]", sub[-6:])
    click(page, "Delete")
    page.wait_for_url("**/users/**")
    assert not EndUser.objects.filter(pk=sub).exists()
    assert EndUser.objects.count() == 1
    types = list(AuditEvent.objects.order_by("pk").values_list("type", flat=True))
    assert types == ["user.disabled", "user.enabled", "user.deleted"]


def test_a_session_is_revoked_and_the_sdk_notices(page: Any, new_sdk: Callable[..., Sdk], project: Project) -> None:
    sdk = new_sdk("refresh_token")
    sub = sdk.authenticate()["sub"]
    assert sdk.call("sdk.fetchUserInfo()")["sub"] == sub
    page.goto(f"/portal/e2e/users/{sub}/")
    click(page, "Revoke", "link")
    click(page, "Revoke")
    page.wait_for_url(f"**/users/{sub}/")
    assert Session.objects.get().ended_at is not None
    rejection(sdk.reload(), "sdk.fetchUserInfo()")
    assert sdk.state == "NO_SESSION"


def test_many_are_deleted_with_progress(page: Any, project: Project) -> None:
    application = project.applications.get(client_id="sdk-refresh-token")
    people = [guest_session(application).end_user for _ in range(12)]
    page.goto("/portal/e2e/users/")
    for one in people[:10]:
        page.locator(f"input[name=sub][value='{one.pk}']").check()
    click(page, "Delete")
    heard(page, "10")
    page.fill("[name=typed]", "10")
    click(page, "Delete 10")
    page.wait_for_url("**/jobs/*/")
    heard(page, "10")
    page.get_by_text("Finished").first.wait_for()
    assert set(EndUser.objects.values_list("pk", flat=True)) == {one.pk for one in people[10:]}
    assert (Job.objects.get().state, Job.objects.get().done) == ("finished", 10)


def test_a_change_is_drafted_reviewed_deployed_and_rolled_back(page: Any, project: Project) -> None:
    page.goto("/portal/e2e/review/")
    click(page, "Collect changes for review")
    page.goto("/portal/e2e/session/")
    page.fill("#id_session_lifetime", "172800")
    click(page, "Keep in draft")
    heard(page, "1 change waits for review")
    project.refresh_from_db()
    assert project.session_lifetime == 31_449_600, "not in effect before it is deployed"
    page.goto("/portal/e2e/review/")
    heard(page, "Session lifetime")
    page.fill("[name=note]", "Shorter")
    click(page, "Deploy 1 change")
    page.wait_for_load_state()
    project.refresh_from_db()
    assert project.session_lifetime == 172_800
    assert Draft.objects.get().changes == {}
    page.goto("/portal/e2e/deployments/1/")
    click(page, "Roll back …", "link")
    typed = page.locator("main input[type=text]")
    if typed.count():
        typed.first.fill("e2e")
    page.locator("main button[type=submit]").last.click()
    page.wait_for_load_state()
    project.refresh_from_db()
    assert project.session_lifetime == 31_449_600
    assert list(Deployment.objects.order_by("number").values_list("number", "note")[:1]) == [(1, "Shorter")]
    assert Deployment.objects.count() == 2


def test_a_viewer_sees_and_cannot_write_by_url_either(sign_in: Callable[..., Any], project: Project) -> None:
    vera = operator("vera", is_superuser=False)
    Membership.objects.create(project=project, user=vera, role="viewer")
    page = sign_in("vera")
    page.goto("/portal/e2e/session/")
    assert page.locator("[data-save-bar] button[type=submit]:visible").count() == 0
    token = page.context.cookies()
    csrf = next(cookie["value"] for cookie in token if cookie["name"] == "csrftoken")
    before, rows = state_of(project), row_counts()
    for path in ("session", "anonymous-users", "login", "users/bulk", "team", "settings", "delete", "review", "keys"):
        answer = page.request.post(
            f"{page.url.split('/portal')[0]}/portal/e2e/{path}/",
            form={"csrfmiddlewaretoken": csrf, "session_lifetime": "60", "version": project.updated_at.isoformat()},
            headers={"Referer": page.url},
        )
        assert answer.status == 403, path
    assert (state_of(project), row_counts()) == (before, rows)


def test_of_two_editors_the_second_is_told(sign_in: Callable[..., Any], project: Project) -> None:
    operator()
    operator("otto")
    first, second = sign_in("olga"), sign_in("otto")
    for page in (first, second):
        page.goto("/portal/e2e/session/")
    first.fill("#id_session_lifetime", "86400")
    click(first, "Save")
    heard(first, "Saved. The change is in effect now.")
    second.fill("#id_session_lifetime", "172800")
    click(second, "Save")
    heard(second, "Somebody changed this while you were editing. Nothing was saved.")
    assert second.input_value("#id_session_lifetime") == "172800"
    project.refresh_from_db()
    assert project.session_lifetime == 86_400
    click(second, "Save")
    heard(second, "Saved. The change is in effect now.")
    project.refresh_from_db()
    assert project.session_lifetime == 172_800


def test_without_javascript_settings_are_saved(new_context: Callable[..., Any], server: str, project: Project) -> None:
    operator()
    make_application(project, "plain")
    page = new_context(base_url=server, java_script_enabled=False).new_page()
    page.goto("/portal/login/")
    page.fill("#id_username", "olga")
    page.fill("#id_password", PASSWORD)
    page.press("#id_password", "Enter")
    page.wait_for_url("**/overview/")
    page.goto("/portal/e2e/session/")
    page.fill("#id_session_lifetime", "86400")
    click(page, "Save")
    heard(page, "Saved. The change is in effect now.")
    page.goto("/portal/e2e/users/")
    assert page.get_by_text("Create guest").first.is_visible()


def test_djangos_admin_keeps_to_the_policy_and_saves(page: Any, project: Project) -> None:
    page.goto(f"/admin/anonusers/project/{project.pk}/change/")
    page.fill("#id_session_lifetime", "86400")
    page.click("[name=_save]")
    heard(page, "was changed successfully")
    project.refresh_from_db()
    assert project.session_lifetime == 86_400
    for path in ("enduser", "session", "auditevent", "application"):
        page.goto(f"/admin/anonusers/{path}/")
