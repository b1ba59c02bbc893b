"""No secret is stored, logged, shown in a repr, or put into a URL."""

import json
import logging
from typing import Any

import pytest
from django.test import Client

from anonusers.models import Application
from tests.conftest import ORIGIN, whole_database
from tests.protocols.authgear.steps import (
    COOKIE,
    END_SESSION,
    VERIFIER,
    app_session_token,
    ask_for_tokens,
    ask_id_token,
    authorization,
    authorize,
    configure,
    exchange,
    get_cookie,
    get_tokens,
    login_hint,
    only_session,
    post_json,
    promotion_code,
    redirected,
    refresh,
    refreshed,
    revoke,
    userinfo,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def whole_life(application: Application, browser: Client, stranger: Client) -> list[str]:
    """A guest's whole life, by every way; returns all secrets that were handed out."""
    secrets = []
    for jwt_tokens in (True, False):
        configure(application, issue_jwt_access_token=jwt_tokens)
        first = get_tokens(browser)
        second = refreshed(browser, first["refresh_token"])
        third = refreshed(browser, second["refresh_token"])
        again = ask_for_tokens(browser, third["refresh_token"]).json()["result"]
        id_token = ask_id_token(browser, third["access_token"]).json()["id_token"]
        userinfo(browser, third["access_token"])
        refresh(browser, third["refresh_token"], client_id="nobody")
        refresh(browser, first["refresh_token"])
        revoke(browser, third["refresh_token"])
        post_json(browser, "/api/anonymous_user/signup", {"session_type": third["refresh_token"]})
        for tokens in (first, second, third, again):
            secrets += [tokens["access_token"], tokens.get("refresh_token", ""), tokens.get("id_token", "")]
        secrets.append(id_token)
    tokens = get_tokens(browser)
    promotion, vouching = (
        promotion_code(browser, tokens["refresh_token"]),
        app_session_token(browser, tokens["refresh_token"]),
    )
    hint = login_hint("anonymous", promotion_code=promotion)
    authorize(browser, authorization(login_hint=hint, prompt="login"))
    hint = login_hint("app_session_token", app_session_token=vouching)
    authorize(browser, authorization(login_hint=hint, prompt="none", redirect_uri=f"{ORIGIN}/settings"))
    voucher = browser.cookies["app_session"].value
    userinfo(browser)
    secrets += [promotion, vouching, voucher]
    secrets.append(get_cookie(stranger))
    code = redirected(authorize(stranger, authorization(prompt="none", nonce="n")))["code"]
    answers = [exchange(stranger, code).json(), exchange(stranger, code).json()]
    secrets += [code, VERIFIER, answers[0]["access_token"], answers[0]["refresh_token"], answers[0]["id_token"]]
    userinfo(stranger)
    stranger.get(END_SESSION)
    # Of a dotted token the last part is what nobody may know.
    return [secret.rpartition(".")[2] for secret in secrets if secret]


def test_no_secret_is_in_the_database(application: Application, browser: Client, stranger: Client) -> None:
    secrets = whole_life(application, browser, stranger)
    dump = json.dumps(whole_database(), default=str)
    assert len(secrets) > 20
    assert [secret for secret in secrets if secret in dump] == []


def test_no_secret_is_logged(
    application: Application, browser: Client, stranger: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for name in ("django", "anonusers", "django.db.backends"):
            caplog.set_level(logging.DEBUG, logger=name)
        secrets = whole_life(application, browser, stranger)
    text = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert [secret for secret in secrets if secret in text] == []


def test_no_secret_is_in_a_repr(application: Application, browser: Client) -> None:
    from anonusers.tokens import parse_refresh_token

    token = get_tokens(browser)["refresh_token"]
    secret = token.rpartition(".")[2]
    assert secret not in repr(parse_refresh_token(token))
    session = only_session()
    assert secret not in repr(session) + str(session) + repr(session.__dict__)


def test_private_keys_are_sealed(application: Application, browser: Client) -> None:
    get_tokens(browser)
    assert "PRIVATE KEY" not in json.dumps(whole_database(), default=str)


def test_the_session_cookie_is_no_secret_of_a_url(application: Application, browser: Client) -> None:
    value = get_cookie(browser)
    browser.cookies.pop("same_site_strict")
    response: Any = browser.get(END_SESSION)
    assert value not in response["Location"]
    assert browser.cookies[COOKIE].value == value
