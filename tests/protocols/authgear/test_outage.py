"""A database that is away, and what nobody expected: 503 and 500 in the dialect, never "your token is invalid"."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.http import HttpResponse
from django.test import Client

from anonusers.models import Application
from tests.conftest import APP_ORIGIN
from tests.protocols.authgear.steps import (
    APP_SESSION_TOKEN,
    END_SESSION,
    PROMOTION_CODE,
    RESOLVE,
    SIGNUP,
    ask_for_cookie,
    ask_for_tokens,
    ask_id_token,
    bearer,
    exchange,
    get_cookie,
    get_tokens,
    nothing_changes,
    post_json,
    refresh,
    revoke,
    userinfo,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]

API = (SIGNUP, PROMOTION_CODE, APP_SESSION_TOKEN)
Call = Callable[[Client, dict[str, Any]], HttpResponse]

CALLS: dict[str, Call] = {
    "signup by token": lambda client, tokens: ask_for_tokens(client),
    "signup again": lambda client, tokens: ask_for_tokens(client, tokens["refresh_token"]),
    "signup by cookie": lambda client, tokens: ask_for_cookie(client),
    "refresh": lambda client, tokens: refresh(client, tokens["refresh_token"]),
    "id token": lambda client, tokens: ask_id_token(client, tokens["access_token"]),
    "userinfo by bearer": lambda client, tokens: userinfo(client, tokens["access_token"]),
    "userinfo by cookie": lambda client, tokens: userinfo(client),
    "revoke": lambda client, tokens: revoke(client, tokens["refresh_token"]),
    "revoke an access token": lambda client, tokens: revoke(client, tokens["access_token"]),
    "resolve": lambda client, tokens: client.get(RESOLVE, **bearer(tokens["access_token"])),
    "code grant": lambda client, tokens: exchange(client, "A" * 32),
    "promotion code by token": lambda client, tokens: post_json(
        client, PROMOTION_CODE, {"session_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    ),
    "promotion code by cookie": lambda client, tokens: post_json(client, PROMOTION_CODE, {"session_type": "cookie"}),
    "app session token": lambda client, tokens: post_json(
        client, APP_SESSION_TOKEN, {"refresh_token": tokens["refresh_token"]}
    ),
    "end session": lambda client, tokens: client.get(END_SESSION),
}


@contextmanager
def failing(error: Exception) -> Iterator[None]:
    def fail(*args: Any) -> Any:
        raise error

    with connection.execute_wrapper(fail):
        yield


@pytest.mark.parametrize(
    "error", [OperationalError("gone"), InterfaceError("closed")], ids=["operational", "interface"]
)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_database_that_is_away_is_no_verdict_on_the_guest(
    application: Application, browser: Client, call: Call, error: Exception
) -> None:
    tokens = get_tokens(browser)
    get_cookie(browser)
    browser.defaults["HTTP_ORIGIN"] = APP_ORIGIN
    with nothing_changes():
        with failing(error):
            response = call(browser, tokens)
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) >= 1
        assert not response.cookies
        body = response.json()["error"]
        if response.wsgi_request.path in API:
            assert (body["name"], body["reason"], body["code"]) == ("ServiceUnavailable", "ServiceUnavailable", 503)
        else:
            assert body == "temporarily_unavailable"
    del browser.defaults["HTTP_ORIGIN"]
    assert userinfo(browser, tokens["access_token"]).status_code == 200
    assert userinfo(browser).status_code == 200
    assert refresh(browser, tokens["refresh_token"]).status_code == 200


@pytest.mark.parametrize("error", [DatabaseError("SELECT secret"), RuntimeError("/etc/secret")], ids=["sql", "runtime"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_unexpected_is_told_without_details(
    application: Application, browser: Client, call: Call, error: Exception
) -> None:
    tokens = get_tokens(browser)
    get_cookie(browser)
    with nothing_changes():
        with failing(error):
            response = call(browser, tokens)
        assert response.status_code == 500
        assert not response.cookies
        assert "secret" not in response.content.decode()
        assert "Traceback" not in response.content.decode()
        body = response.json()["error"]
        if response.wsgi_request.path in API:
            assert (body["name"], body["reason"], body["code"]) == ("InternalError", "UnexpectedError", 500)
            assert body["tracking_id"]
        else:
            assert body == "server_error"
    assert userinfo(browser, tokens["access_token"]).status_code == 200
    assert refresh(browser, tokens["refresh_token"]).status_code == 200
