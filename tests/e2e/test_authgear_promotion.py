"""Promotion and what follows it, with the unmodified @authgear/web, our own pages and a real Chromium."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

from anonusers.models import AnonymousIdentity, Application, EndUser, OneTimeToken, Promotion, Session
from tests.e2e.conftest import Sdk, SdkError

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

EMAIL = "ada@example.com"
PASSWORD = "correct horse battery staple"
RESTORE = "text => Object.entries(JSON.parse(text)).forEach(pair => localStorage.setItem(...pair))"


@pytest.fixture(params=["refresh_token", "cookie"])
def session_type(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sdk(new_sdk: Callable[..., Sdk], session_type: str) -> Sdk:
    return new_sdk(session_type)


def leave(sdk: Sdk, expression: str, url: str) -> None:
    """Call what navigates away, and wait until the browser is there."""
    sdk.page.evaluate(f"void ({expression.replace('sdk.', 'authgear.default.')})")
    sdk.page.wait_for_url(re.compile(url))


def start_promotion(sdk: Sdk) -> None:
    leave(sdk, f"sdk.startPromoteAnonymousUser({{redirectURI: '{sdk.origin}/', state: 'ä b'}})", "/promote[?]flow=")


def fill(page: Any, login_id: str = EMAIL, password: str = PASSWORD) -> None:
    page.locator("input[name=login_id]").fill(login_id)
    page.locator("input[name=password]").fill(password)
    page.locator("button[type=submit]").first.click()


def come_back(sdk: Sdk, finish: str) -> dict[str, Any]:
    """Wait for the application's page, and finish there what was started."""
    sdk.page.wait_for_url(re.compile(f"^{sdk.origin}/([?]|$)"))
    sdk.configure()
    info: dict[str, Any] = sdk.call(f"sdk.{finish}().then(result => result.userInfo)")
    return info


def promote(sdk: Sdk, **values: str) -> dict[str, Any]:
    start_promotion(sdk)
    fill(sdk.page, **values)
    return come_back(sdk, "finishPromoteAnonymousUser")


def log_out(sdk: Sdk, session_type: str) -> None:
    expression = f"sdk.logout({{redirectURI: '{sdk.origin}/'}})"
    if session_type == "refresh_token":
        sdk.call(expression)
        return
    leave(sdk, expression, f"/logout|^{sdk.origin}/$")
    if "/logout" in sdk.page.url:
        sdk.page.locator("button[type=submit]").click()
    sdk.page.wait_for_url(f"{sdk.origin}/")
    sdk.configure()


def log_in(sdk: Sdk, options: str = "{}", **values: str) -> dict[str, Any]:
    expression = f"sdk.startAuthentication({{redirectURI: '{sdk.origin}/', ...{options}}})"
    leave(sdk, expression, "/login[?]flow=")
    fill(sdk.page, **values)
    return come_back(sdk, "finishAuthentication")


def rejection(sdk: Sdk, expression: str) -> SdkError:
    with pytest.raises(SdkError) as caught:
        sdk.call(expression)
    return caught.value


# --- the story ------------------------------------------------------------------------------------


@pytest.mark.spec("authgear.md", "4.4")
def test_a_guest_keeps_the_account_and_logs_in_again_later(sdk: Sdk, session_type: str, shoot: Any) -> None:
    sub = sdk.authenticate()["sub"]
    [before] = Session.objects.all()

    start_promotion(sdk)
    assert "promotion_code" not in sdk.page.url
    shoot(sdk.page, f"promote-{session_type}")
    fill(sdk.page)
    info = come_back(sdk, "finishPromoteAnonymousUser")

    assert (info["sub"], info["isAnonymous"], info["email"]) == (sub, False, EMAIL)
    assert (info["isVerified"], info["canReauthenticate"]) == (False, True)
    assert [one["type"] for one in info["identities"]] == ["login_id"]
    assert [one["type"] for one in info["authenticators"]] == ["password"]
    assert sdk.page.evaluate("new URL(location.href).searchParams.get('state')") == "ä b"
    assert EndUser.objects.count() == Promotion.objects.count() == 1
    assert not AnonymousIdentity.objects.exists()
    before.refresh_from_db()
    assert before.ended_at is not None, "what the guest had is over"
    assert not OneTimeToken.objects.filter(used_at=None).exists()
    cookies = sdk.session_cookies()
    assert len(cookies) == (session_type == "cookie")

    error = rejection(sdk, "sdk.authenticateAnonymously()")
    assert (error.cls, error.name, error.reason) == ("ServerError", "Invalid", "Invalid")
    assert error.message == "user logged in as normal user"
    error = rejection(sdk, "sdk.startPromoteAnonymousUser({redirectURI: location.href})")
    assert error.message == "user logged in as normal user"

    log_out(sdk, session_type)
    assert not Session.objects.filter(ended_at=None, application__client_id=sdk.client_id).exists()
    assert sdk.session_cookies() == [] or session_type == "refresh_token"
    info = log_in(sdk)
    assert (info["sub"], info["isAnonymous"], info["email"]) == (sub, False, EMAIL)
    assert EndUser.objects.count() == 1


def test_on_another_device_the_user_logs_in(new_sdk: Callable[..., Sdk], sdk: Sdk, session_type: str) -> None:
    sub = sdk.authenticate()["sub"]
    promote(sdk)
    other = new_sdk(session_type)
    assert log_in(other, login_id="ADA@example.com")["sub"] == sub
    assert sdk.call("sdk.fetchUserInfo()")["sub"] == sub, "both are signed in"


@pytest.mark.spec("authgear.md", "13")
def test_what_another_browser_held_of_the_guest_is_dead(
    new_sdk: Callable[..., Sdk], sdk: Sdk, session_type: str
) -> None:
    """F1: somebody who had copied the guest's storage, or cookie, is out."""
    sdk.authenticate()
    stolen = new_sdk(session_type)
    if session_type == "cookie":
        stolen.page.context.add_cookies(sdk.page.context.cookies())
    else:
        storage = sdk.page.evaluate("JSON.stringify(localStorage)")
        stolen.page.evaluate(RESTORE, storage)
        stolen.reload()
    assert stolen.call("sdk.fetchUserInfo()")["isAnonymous"] is True

    promote(sdk)

    error = rejection(stolen, "sdk.fetchUserInfo()")
    assert error.error == "invalid_grant"
    assert stolen.state == "NO_SESSION"


# --- things that go wrong on the way --------------------------------------------------------------


def test_a_wrong_step_is_mended_on_the_page(sdk: Sdk) -> None:
    sub = sdk.authenticate()["sub"]
    start_promotion(sdk)
    fill(sdk.page, login_id="not an address", password="1")
    expect(sdk.page.locator("[aria-invalid=true]").first).to_be_visible()
    assert EndUser.objects.get().is_guest
    fill(sdk.page)
    assert come_back(sdk, "finishPromoteAnonymousUser")["sub"] == sub


def test_who_changes_their_mind_is_still_the_guest(sdk: Sdk) -> None:
    sub = sdk.authenticate()["sub"]
    start_promotion(sdk)
    sdk.open()
    assert sdk.authenticate()["sub"] == sub
    assert promote(sdk)["sub"] == sub, "and may change it again"


def test_the_link_is_good_for_no_other_browser(new_sdk: Callable[..., Sdk], sdk: Sdk, session_type: str) -> None:
    sdk.authenticate()
    start_promotion(sdk)
    stranger = new_sdk(session_type)
    response = stranger.page.goto(sdk.page.url)
    assert response.status == 400 or "input[name=password]" not in stranger.page.content()
    assert stranger.page.locator("input[name=password]").count() == 0
    assert EndUser.objects.get().is_guest


def test_somebody_without_a_session_cannot_begin(sdk: Sdk) -> None:
    error = rejection(sdk, "sdk.startPromoteAnonymousUser({redirectURI: location.href})")
    assert (error.name, error.message) == ("Unauthorized", "authentication required")


def test_a_code_in_the_url_is_good_for_once(new_sdk: Callable[..., Sdk]) -> None:
    sdk = new_sdk("refresh_token")
    sdk.authenticate()
    start_promotion(sdk)
    fill(sdk.page)
    sdk.page.wait_for_url(re.compile(f"^{sdk.origin}/[?]code="))
    used = sdk.page.url
    storage = sdk.page.evaluate("JSON.stringify(localStorage)")
    sdk.configure().call("sdk.finishPromoteAnonymousUser()")
    assert sdk.page.evaluate("authgear.default.accessToken")

    # Somebody got hold of the URL and of the browser's storage: the same code and verifier again.
    sdk.page.goto(used)
    sdk.page.evaluate(RESTORE, storage)
    error = rejection(sdk.configure(), "sdk.finishPromoteAnonymousUser()")
    assert (error.cls, error.error) == ("OAuthError", "invalid_grant")
    assert not Session.objects.filter(ended_at=None, kind="token").exists(), "what the first use gave is over (E7)"


# --- once one is a regular user -------------------------------------------------------------------


@pytest.mark.spec("authgear.md", "1.14")
def test_the_settings_page_opens_signed_in(sdk: Sdk, server: str, session_type: str, shoot: Any) -> None:
    sdk.authenticate()
    promote(sdk)
    with sdk.page.context.expect_page() as opened:
        sdk.page.evaluate("void authgear.default.open('/settings')")
    page = opened.value
    page.wait_for_url(re.compile(f"^{server}/settings"))
    page.wait_for_load_state()
    assert EMAIL in page.content()
    assert "flow=" not in page.url
    shoot(page, f"settings-{session_type}")
    cookies = {cookie["name"] for cookie in page.context.cookies()}
    assert ("app_session" in cookies) is (session_type == "refresh_token")
    if session_type == "refresh_token":
        log_out(sdk, session_type)
        page.reload()
        assert EMAIL not in page.content(), "it ends with the application's session"


@pytest.mark.spec("authgear.md", "1.15")
def test_the_user_authenticates_again(sdk: Sdk, session_type: str) -> None:
    sub = sdk.authenticate()["sub"]
    sdk.call("sdk.refreshIDToken()")
    error = rejection(sdk, "sdk.startReauthentication({redirectURI: location.href})")
    assert "canReauthenticate() returns true" in str(error.message), "a guest has nothing to do it with"
    promote(sdk)
    sdk.call("sdk.refreshIDToken()")
    assert sdk.call("sdk.canReauthenticate()") is True
    first = sdk.call("sdk.getAuthTime().getTime()")
    sdk.page.wait_for_timeout(1100)

    leave(sdk, f"sdk.startReauthentication({{redirectURI: '{sdk.origin}/'}})", "/login[?]flow=")
    sdk.page.locator("input[name=password]").fill(PASSWORD)
    sdk.page.locator("button[type=submit]").first.click()
    info = come_back(sdk, "finishReauthentication")

    assert info["sub"] == sub
    assert sdk.call("sdk.getAuthTime().getTime()") > first
    assert EndUser.objects.count() == 1
    assert session_type


def test_single_sign_on_asks_nobody_twice(new_sdk: Callable[..., Sdk]) -> None:
    sdk = new_sdk("cookie")
    sub = sdk.authenticate()["sub"]
    promote(sdk)
    again = f"sdk.startAuthentication({{redirectURI: '{sdk.origin}/', state: 'again'}})"
    leave(sdk, again, f"^{sdk.origin}/[?]state=again")
    assert come_back(sdk, "finishAuthentication")["sub"] == sub


@pytest.mark.spec("RFC 9700", "4.12")
def test_an_address_that_is_not_registered_gets_a_page(sdk: Sdk, server: str) -> None:
    query = urlencode({"client_id": sdk.client_id, "redirect_uri": "https://evil.example/", "response_type": "none"})
    response = sdk.page.goto(f"{server}/oauth2/authorize?{query}")
    assert response.status == 400
    assert sdk.page.url.startswith(server)
    assert Application.objects.filter(client_id=sdk.client_id).exists()
