"""The toggle "Enable anonymous users" off: nobody new, and everybody else goes on."""

import pytest
from django.test import Client

from anonusers.models import Application
from tests.protocols.authgear.steps import (
    CLAIM,
    RESOLVE,
    ask_for_cookie,
    ask_for_tokens,
    ask_id_token,
    assert_api_error,
    bearer,
    configure,
    get_cookie,
    get_tokens,
    nothing_changes,
    only_session,
    refreshed,
    revoke,
    revoke_it,
    sub_of,
    userinfo,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.spec("authgear.md", "4.7")]

DISALLOWED = (400, "Invalid", "Invalid", "anonymous user disallowed")


def switch(application: Application, on: bool) -> None:
    configure(application.project, anonymous_users_enabled=on)


def test_nobody_new_comes_in(application: Application, browser: Client) -> None:
    switch(application, False)
    with nothing_changes():
        assert_api_error(ask_for_tokens(browser), *DISALLOWED)
        assert_api_error(ask_for_cookie(browser), *DISALLOWED)


def test_a_token_guest_goes_on(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    sub = sub_of(browser, tokens["access_token"])
    switch(application, False)
    info = userinfo(browser, tokens["access_token"]).json()
    assert (info["sub"], info[f"{CLAIM}is_anonymous"]) == (sub, True)
    tokens = refreshed(browser, tokens["refresh_token"])
    assert sub_of(browser, tokens["access_token"]) == sub
    assert ask_id_token(browser, tokens["access_token"]).status_code == 200
    assert browser.get(RESOLVE, **bearer(tokens["access_token"])).headers["X-Authgear-User-Id"] == sub
    again = ask_for_tokens(browser, tokens["refresh_token"])
    assert sub_of(browser, again.json()["result"]["access_token"]) == sub


def test_a_cookie_guest_goes_on(application: Application, browser: Client) -> None:
    get_cookie(browser)
    sub = sub_of(browser)
    switch(application, False)
    with nothing_changes():
        assert ask_for_cookie(browser).json() == {"result": {}}
        assert sub_of(browser) == sub
        assert ask_id_token(browser).status_code == 200


def test_a_guest_may_leave_but_does_not_come_back(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    switch(application, False)
    assert revoke(browser, tokens["refresh_token"]).status_code == 200
    with nothing_changes():
        assert_api_error(ask_for_tokens(browser), *DISALLOWED)
        assert_api_error(ask_for_tokens(browser, tokens["refresh_token"]), 400, "Invalid", "Invalid")


def test_a_dead_cookie_is_no_ticket(application: Application, browser: Client) -> None:
    get_cookie(browser)
    revoke_it(only_session())
    switch(application, False)
    with nothing_changes():
        assert_api_error(ask_for_cookie(browser), *DISALLOWED)


def test_switched_on_again_everything_works_again(application: Application, browser: Client, stranger: Client) -> None:
    tokens = get_tokens(browser)
    sub = sub_of(browser, tokens["access_token"])
    switch(application, False)
    ask_for_tokens(stranger)
    switch(application, True)
    assert sub_of(browser, tokens["access_token"]) == sub
    assert ask_for_tokens(stranger).status_code == 200
    assert ask_for_cookie(stranger).status_code == 200
