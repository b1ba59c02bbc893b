"""GET|HEAD /_resolver/resolve: who is this? For reverse proxies."""

import pytest
import time_machine
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from anonusers.models import Application
from tests.protocols.authgear.steps import (
    COOKIE,
    ENDINGS,
    RESOLVE,
    SLEEPS,
    Ending,
    bearer,
    configure,
    get_cookie,
    get_tokens,
    make_regular,
    nothing_changes,
    only_session,
)

pytestmark = [pytest.mark.django_db, pytest.mark.spec("authgear.md", "7")]


def said(response: HttpResponse) -> dict[str, str]:
    """The X-Authgear headers of an answer that is, as always, 200 and empty."""
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Cache-Control"] == "no-store"
    prefix = "X-Authgear-"
    return {name.removeprefix(prefix): value for name, value in response.headers.items() if name.startswith(prefix)}


@pytest.mark.parametrize("path", [RESOLVE, "/resolve"])
@pytest.mark.parametrize("method", ["get", "head"])
@pytest.mark.parametrize("by", ["bearer", "cookie"])
def test_a_guest_is_named(application: Application, browser: Client, path: str, method: str, by: str) -> None:
    headers = {}
    if by == "cookie":
        get_cookie(browser)
    else:
        headers = bearer(get_tokens(browser)["access_token"])
    session = only_session()
    with nothing_changes():
        response = getattr(browser, method)(path, **headers)
    assert said(response) == {
        "Session-Valid": "true",
        "User-Id": str(session.end_user_id),
        "User-Anonymous": "true",
        "User-Verified": "false",
        "User-Can-Reauthenticate": "false",
        "Session-Amr": "",
        "Session-Authenticated-At": str(int(session.created_at.timestamp())),
    }
    assert not response.cookies


def test_a_regular_user_is_said_to_be_one(application: Application, browser: Client) -> None:
    get_cookie(browser)
    make_regular(only_session())
    assert said(browser.get(RESOLVE))["User-Anonymous"] == "false"


def test_nobody_is_said_nothing_about(application: Application, browser: Client) -> None:
    assert said(browser.get(RESOLVE)) == {}


@pytest.mark.parametrize("token", ["", "garbage", "a.b.c", "\x00", "A" * 64])
def test_an_invalid_bearer_is_as_none(application: Application, browser: Client, token: str) -> None:
    response = browser.get(RESOLVE, **bearer(token))
    assert said(response) == {}
    assert not response.cookies


def test_the_bearer_of_a_dead_session_is_as_none(application: Application, browser: Client) -> None:
    token = get_tokens(browser)["access_token"]
    ENDINGS["revoked"](only_session())
    with nothing_changes():
        assert said(browser.get(RESOLVE, **bearer(token))) == {}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_the_cookie_of_a_dead_session_is_invalid_and_goes(
    application: Application, browser: Client, ending: Ending
) -> None:
    get_cookie(browser)
    ending(only_session())
    with nothing_changes():
        response = browser.get(RESOLVE)
    assert said(response) == {"Session-Valid": "false"}
    assert response.cookies[COOKIE].value == ""
    assert response.cookies[COOKIE]["max-age"] == 0


@pytest.mark.parametrize("value", ["garbage", "AAAAAAAAAAAAAAAAAAAAAA.0." + "B" * 43])
def test_a_garbage_cookie_is_invalid_and_goes(application: Application, browser: Client, value: str) -> None:
    browser.cookies[COOKIE] = value
    response = browser.get(RESOLVE)
    assert said(response) == {"Session-Valid": "false"}
    assert response.cookies[COOKIE]["max-age"] == 0


def test_the_bearer_comes_before_the_cookie(application: Application, browser: Client) -> None:
    get_cookie(browser)
    by_cookie = said(browser.get(RESOLVE))["User-Id"]
    token = get_tokens(browser)["access_token"]
    assert said(browser.get(RESOLVE, **bearer(token)))["User-Id"] != by_cookie
    assert said(browser.get(RESOLVE, **bearer("garbage")))["User-Id"] == by_cookie


@pytest.mark.parametrize(("sleep", "wake"), SLEEPS.values(), ids=SLEEPS)
def test_a_disabled_user_sleeps_and_wakes(
    application: Application, browser: Client, sleep: Ending, wake: Ending
) -> None:
    token = get_tokens(browser)["access_token"]
    session = only_session()
    sleep(session)
    assert said(browser.get(RESOLVE, **bearer(token))) == {}
    wake(session)
    assert said(browser.get(RESOLVE, **bearer(token)))["User-Id"] == str(session.end_user_id)


def test_headers_of_the_client_are_not_repeated(application: Application, browser: Client) -> None:
    assert said(browser.get(RESOLVE, HTTP_X_AUTHGEAR_SESSION_VALID="true", HTTP_X_AUTHGEAR_USER_ID="me")) == {}


@pytest.mark.spec("authgear.md", "5.3")
@pytest.mark.parametrize(("idle", "valid"), [(599, "true"), (600, "false")])
def test_a_call_counts_as_use(application: Application, browser: Client, idle: int, valid: str) -> None:
    configure(application.project, session_idle_timeout=600)
    with time_machine.travel("2026-01-01T00:00:00Z", tick=False) as clock:
        get_cookie(browser)
        clock.shift(500)
        assert said(browser.get(RESOLVE))["Session-Valid"] == "true"
        assert only_session().last_used_at == timezone.now()
        clock.shift(idle)
        assert said(browser.get(RESOLVE))["Session-Valid"] == valid


@pytest.mark.spec("authgear.md", "5.3")
@pytest.mark.parametrize(("second", "valid"), [(3599, "true"), (3600, "false")])
def test_a_cookie_session_has_an_end(application: Application, browser: Client, second: int, valid: str) -> None:
    configure(application.project, session_lifetime=3600, session_idle_timeout_enabled=False)
    with time_machine.travel("2026-01-01T00:00:00Z", tick=False) as clock:
        get_cookie(browser)
        clock.shift(second)
        assert said(browser.get(RESOLVE))["Session-Valid"] == valid


@pytest.mark.spec("authgear.md", "5.3")
@pytest.mark.parametrize("name", ["session_lifetime", "session_idle_timeout"])
def test_a_shorter_setting_acts_at_once(application: Application, browser: Client, name: str) -> None:
    with time_machine.travel("2026-01-01T00:00:00Z", tick=False) as clock:
        cookie = get_cookie(browser)
        clock.shift(1000)
        configure(application.project, **{name: 900})
        assert said(browser.get(RESOLVE)) == {"Session-Valid": "false"}
        configure(application.project, **{name: 31_449_600})
        browser.cookies[COOKIE] = cookie
        assert said(browser.get(RESOLVE))["Session-Valid"] == "true"


@pytest.mark.spec("authgear.md", "5.3")
def test_cookies_follow_the_project_and_tokens_the_application(application: Application, browser: Client) -> None:
    with time_machine.travel("2026-01-01T00:00:00Z", tick=False) as clock:
        get_cookie(browser)
        token = get_tokens(browser)["access_token"]
        clock.shift(1000)
        configure(application.project, session_lifetime=900)
        assert said(browser.get(RESOLVE, **bearer(token)))["Session-Valid"] == "true"
        assert said(browser.get(RESOLVE))["Session-Valid"] == "false"


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_other_methods_do_not_exist(application: Application, browser: Client, method: str) -> None:
    with nothing_changes():
        assert getattr(browser, method)(RESOLVE).status_code == 405
