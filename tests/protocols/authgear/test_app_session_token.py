"""POST /oauth2/app_session_token, and what `open(Page.Settings)` does with it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from anonusers.models import Application, OneTimeToken, Project, Session
from tests.conftest import APP_ORIGIN, ORIGIN, make_application
from tests.protocols.authgear.conftest import HOST_A, HOST_B
from tests.protocols.authgear.steps import (
    APP_SESSION_TOKEN,
    ENDINGS,
    PROMOTION_CODE,
    REDIRECT_URI,
    RESOLVE,
    SIGNUP,
    Ending,
    app_session_token,
    ask_id_token,
    assert_api_error,
    assert_never_cached,
    assert_no_session,
    assert_page,
    assert_private,
    assert_refused,
    authorization,
    authorize,
    bearer,
    get_cookie,
    get_tokens,
    login_hint,
    nothing_changes,
    only_session,
    post_json,
    redirected,
    refresh,
    refreshed,
    revoke,
    sub_of,
    userinfo,
    without_code,
)

pytestmark = [pytest.mark.django_db, pytest.mark.spec("authgear.md", "1.14")]

DEAD_TOKEN = (403, "Forbidden", "InvalidGrant", "invalid refresh token")
SETTINGS = f"{ORIGIN}/settings"


def open_settings(token: str, *, code: bool = False, **changes: Any) -> dict[str, str]:
    make = authorization if code else without_code
    fields = {
        "redirect_uri": SETTINGS,
        "prompt": "none",
        "login_hint": login_hint("app_session_token", app_session_token=token),
        "x_sso_enabled": "false",
    }
    return make(**(fields | changes))


# --- the token ------------------------------------------------------------------------------------


def test_a_refresh_token_buys_one_for_five_minutes(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    response = post_json(browser, APP_SESSION_TOKEN, {"refresh_token": tokens["refresh_token"]})
    assert response.status_code == 200
    assert_never_cached(response)
    result = response.json()["result"]
    assert set(result) == {"app_session_token", "expire_at"}
    assert len(result["app_session_token"]) == 32
    assert result["expire_at"].endswith("Z")
    [row] = OneTimeToken.objects.all()
    assert row.payload == {"session_id": str(only_session().pk)}
    assert timedelta(minutes=4) < row.expires_at - timezone.now() <= timedelta(minutes=5)
    assert result["app_session_token"] not in str(list(OneTimeToken.objects.values()))
    assert refreshed(browser, tokens["refresh_token"]), "nothing was rotated"


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_dead_refresh_token_makes_the_sdk_drop_its_session(
    application: Application, browser: Client, ending: Ending
) -> None:
    token = get_tokens(browser)["refresh_token"]
    ending(only_session())
    with nothing_changes():
        assert_api_error(post_json(browser, APP_SESSION_TOKEN, {"refresh_token": token}), *DEAD_TOKEN)


@pytest.mark.parametrize("token", ["", "garbage", "a.0.b", "x" * 10_000, "\u2603"])
def test_garbage_too(application: Application, browser: Client, token: str) -> None:
    with nothing_changes():
        assert_api_error(post_json(browser, APP_SESSION_TOKEN, {"refresh_token": token}), *DEAD_TOKEN)


def test_without_full_access_there_is_none_but_the_session_lives(application: Application, browser: Client) -> None:
    token = get_tokens(browser)["refresh_token"]
    Session.objects.update(scope="openid offline_access")
    message = "the client is not authorized to have full user access"
    with nothing_changes():
        response = post_json(browser, APP_SESSION_TOKEN, {"refresh_token": token})
        assert_api_error(response, 403, "Forbidden", "Forbidden", message)


def test_cookies_and_access_tokens_do_not_buy_one(application: Application, browser: Client) -> None:
    cookie, tokens = get_cookie(browser), get_tokens(browser)
    with nothing_changes():
        for token in (cookie, tokens["access_token"]):
            assert_api_error(post_json(browser, APP_SESSION_TOKEN, {"refresh_token": token}), *DEAD_TOKEN)


def test_a_token_of_another_project_does_not(
    project_a: Project, project_b: Project, visit: Callable[..., Client]
) -> None:
    token = get_tokens(visit(HOST_A))["refresh_token"]
    with nothing_changes():
        assert_api_error(post_json(visit(HOST_B), APP_SESSION_TOKEN, {"refresh_token": token}), *DEAD_TOKEN)


@pytest.mark.parametrize("body", [{}, {"refresh_token": 1}, {"refresh_token": "x", "client_id": "web"}, []], ids=str)
def test_the_body_is_read_strictly(application: Application, browser: Client, body: Any) -> None:
    with nothing_changes():
        response = post_json(browser, APP_SESSION_TOKEN, body)
    assert_api_error(response, 400, "Invalid", "ValidationFailed", "invalid request body")


def test_listed_origins_may_read_it(application: Application, browser: Client) -> None:
    body = {"refresh_token": get_tokens(browser)["refresh_token"]}
    response = post_json(browser, APP_SESSION_TOKEN, body, HTTP_ORIGIN=APP_ORIGIN)
    assert response.headers["Access-Control-Allow-Origin"] == APP_ORIGIN


# --- what it is good for --------------------------------------------------------------------------


@pytest.mark.parametrize("code", [False, True], ids=["none", "code"])
@pytest.mark.parametrize("query", ["", "?ui_locales=de&x_color_scheme=dark"])
def test_the_browser_is_vouched_for_and_sent_to_the_settings(
    application: Application, browser: Client, code: bool, query: str
) -> None:
    tokens = get_tokens(browser)
    token = app_session_token(browser, tokens["refresh_token"])

    response = authorize(browser, open_settings(token, code=code, redirect_uri=SETTINGS + query))

    assert (response.status_code, response.headers["Location"]) == (303, SETTINGS + query)
    assert_private(response)
    [cookie] = response.cookies.values()
    assert (cookie.key, cookie["httponly"], cookie["samesite"], cookie["path"]) == ("app_session", True, "Lax", "/")
    assert (cookie["max-age"], cookie["expires"], cookie["secure"]) == ("", "", "")
    assert userinfo(browser).json()["sub"] == sub_of(browser, tokens["access_token"])


def test_over_tls_the_cookie_is_secure(application: Application, browser: Client) -> None:
    token = app_session_token(browser, get_tokens(browser)["refresh_token"])
    parameters = open_settings(token, redirect_uri="https://localhost:8000/settings")
    response = authorize(browser, parameters, secure=True)
    assert response.cookies["app_session"]["secure"]


def test_it_works_with_a_registered_redirect_uri_too(application: Application, browser: Client) -> None:
    token = app_session_token(browser, get_tokens(browser)["refresh_token"])
    response = authorize(browser, open_settings(token, redirect_uri=REDIRECT_URI))
    assert (response.status_code, response.headers["Location"]) == (303, REDIRECT_URI)
    assert "app_session" in response.cookies


def refused(response: Any) -> None:
    told = redirected(response, SETTINGS)
    expected = {"error": "invalid_request", "error_description": "invalid app session token", "state": "s-1"}
    assert told == expected
    assert not response.cookies


def test_it_is_good_for_once(application: Application, browser: Client, stranger: Client) -> None:
    token = app_session_token(browser, get_tokens(browser)["refresh_token"])
    assert authorize(browser, open_settings(token)).headers["Location"] == SETTINGS
    with nothing_changes():
        refused(authorize(stranger, open_settings(token)))


@pytest.mark.parametrize("token", ["garbage", "A" * 32, "é", "'; drop table"])
def test_a_made_up_one_is_refused(application: Application, browser: Client, token: str) -> None:
    with nothing_changes():
        refused(authorize(browser, open_settings(token)))


def test_after_five_minutes_it_is_refused(application: Application, browser: Client) -> None:
    token = app_session_token(browser, get_tokens(browser)["refresh_token"])
    with time_machine.travel(timezone.now() + timedelta(minutes=5, seconds=1)):
        refused(authorize(browser, open_settings(token)))


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_for_a_session_that_ended_meanwhile_it_is_refused(
    application: Application, browser: Client, ending: Ending
) -> None:
    token = app_session_token(browser, get_tokens(browser)["refresh_token"])
    ending(only_session())
    refused(authorize(browser, open_settings(token)))


def test_another_client_cannot_use_it(application: Application, browser: Client) -> None:
    make_application(application.project, "other")
    token = app_session_token(browser, get_tokens(browser)["refresh_token"])
    refused(authorize(browser, open_settings(token, client_id="other")))


def test_another_kind_of_code_cannot_stand_in(application: Application, browser: Client) -> None:
    """D5."""
    tokens = get_tokens(browser)
    body = {"session_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    code = post_json(browser, PROMOTION_CODE, body).json()["result"]["promotion_code"]
    with nothing_changes():
        refused(authorize(browser, open_settings(code)))
        refused(authorize(browser, open_settings(tokens["refresh_token"])))
    token = app_session_token(browser, tokens["refresh_token"])
    hint = login_hint("anonymous", promotion_code=token)
    with nothing_changes():
        assert_page(authorize(browser, authorization(login_hint=hint, prompt="login")))


# --- our own origin is nobody's redirect URI (E4) --------------------------------------------------


OWN = {
    "no hint": {"login_hint": None},
    "a plain hint that names it": {"login_hint": "app_session_token"},
    "a login ID that names it": {"login_hint": login_hint("login_id", email="app_session_token")},
    "another type": {"login_hint": login_hint("anonymous", app_session_token="x", promotion_code="x")},
    "an empty token": {"login_hint": login_hint("app_session_token", app_session_token="")},
    "no prompt": {"prompt": None},
    "prompt login": {"prompt": "login"},
    "another page": {"redirect_uri": f"{ORIGIN}/promote"},
    "below it": {"redirect_uri": f"{SETTINGS}/delete"},
    "beside it": {"redirect_uri": f"{SETTINGS}x"},
    "dots": {"redirect_uri": f"{SETTINGS}/../portal/"},
    "a fragment": {"redirect_uri": f"{SETTINGS}#x"},
    "another origin": {"redirect_uri": "http://localhost:9000/settings"},
    "another scheme": {"redirect_uri": "https://localhost:8000/settings"},
    "a user": {"redirect_uri": f"{ORIGIN}@evil.example/settings"},
    "a longer host": {"redirect_uri": f"{ORIGIN}.evil.example/settings"},
    "a path only": {"redirect_uri": "/settings"},
}


@pytest.mark.parametrize("changes", OWN.values(), ids=OWN)
@pytest.mark.parametrize("code", [False, True], ids=["none", "code"])
def test_our_own_pages_are_no_place_for_codes(
    application: Application, browser: Client, changes: dict[str, Any], code: bool
) -> None:
    token = app_session_token(browser, get_tokens(browser)["refresh_token"])
    get_cookie(browser)
    with nothing_changes():
        assert_page(authorize(browser, open_settings(token, code=code, **changes)))


# --- the voucher -----------------------------------------------------------------------------------


@pytest.fixture
def vouched(application: Application, browser: Client, visit: Callable[..., Client]) -> tuple[Client, dict[str, Any]]:
    """A browser with nothing but the voucher, and the tokens of the session that vouches."""
    tokens = get_tokens(browser)
    other = visit()
    authorize(other, open_settings(app_session_token(browser, tokens["refresh_token"])))
    assert list(other.cookies) == ["app_session"]
    return other, tokens


@pytest.mark.spec("authgear.md", "1.11")
def test_the_voucher_says_who_is_there(vouched: tuple[Client, dict[str, Any]]) -> None:
    client, tokens = vouched
    with nothing_changes():
        assert sub_of(client) == sub_of(client, tokens["access_token"])


@pytest.mark.spec("authgear.md", "5.4")
def test_bearer_comes_first_then_the_voucher_then_the_cookie(
    vouched: tuple[Client, dict[str, Any]], browser: Client
) -> None:
    client, tokens = vouched
    bearer_sub = sub_of(browser, (other := get_tokens(browser))["access_token"])
    get_cookie(client)
    mine = sub_of(browser, tokens["access_token"])
    assert sub_of(client, other["access_token"]) == bearer_sub
    assert sub_of(client) == mine
    assert sub_of(client, "garbage") == mine, "an invalid bearer counts as absent"
    revoke(browser, tokens["refresh_token"])
    assert sub_of(client) not in (mine, bearer_sub), "now the cookie counts"


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_it_dies_with_the_session(vouched: tuple[Client, dict[str, Any]], ending: Ending) -> None:
    ending(only_session())
    with nothing_changes():
        assert_no_session(userinfo(vouched[0]))


def test_it_dies_after_an_hour(vouched: tuple[Client, dict[str, Any]]) -> None:
    for seconds, status in ((3500, 200), (3601, 401)):
        with time_machine.travel(timezone.now() + timedelta(seconds=seconds)):
            assert userinfo(vouched[0]).status_code == status


def test_it_opens_no_other_door(vouched: tuple[Client, dict[str, Any]], browser: Client) -> None:
    client, _tokens = vouched
    voucher = client.cookies["app_session"].value
    with nothing_changes():
        assert_no_session(userinfo(browser, voucher))
        assert_no_session(browser.get("/oauth2/userinfo", HTTP_COOKIE=f"anonusers_session={voucher}"))
        assert browser.get("/api/v1/userinfo/", **bearer(voucher)).status_code == 401
        assert client.get("/api/v1/userinfo/").status_code == 401
        assert "X-Authgear-Session-Valid" not in client.get(RESOLVE).headers
        assert ask_id_token(client).status_code == 401
        assert refresh(browser, voucher).status_code == 400
        for path, body in (
            (PROMOTION_CODE, {"session_type": "cookie"}),
            (PROMOTION_CODE, {"session_type": "refresh_token", "refresh_token": voucher}),
            (APP_SESSION_TOKEN, {"refresh_token": voucher}),
        ):
            assert post_json(client, path, body).status_code in (401, 403)
        revoke(browser, voucher)
        told = redirected(authorize(client, authorization(prompt="none")))
        assert told["error"] == "login_required"
        client.get("/oauth2/end_session", HTTP_COOKIE=f"app_session={voucher}; same_site_strict=true")
    response = post_json(client, SIGNUP, {"session_type": "cookie"})
    assert response.cookies["anonusers_session"], "a new guest, not the one that is vouched for"


@pytest.mark.parametrize("token", ["access_token", "refresh_token", "id_token"])
def test_no_other_token_is_a_voucher(application: Application, browser: Client, token: str) -> None:
    tokens = refreshed(browser, get_tokens(browser)["refresh_token"])
    with nothing_changes():
        assert_no_session(browser.get("/oauth2/userinfo", HTTP_COOKIE=f"app_session={tokens[token]}"))


def test_an_opaque_access_token_is_no_voucher_either(application: Application, browser: Client) -> None:
    Application.objects.update(issue_jwt_access_token=False)
    token = get_tokens(browser)["access_token"]
    assert userinfo(browser, token).status_code == 200
    with nothing_changes():
        assert_no_session(browser.get("/oauth2/userinfo", HTTP_COOKIE=f"app_session={token}"))


def test_a_voucher_of_another_project_is_worth_nothing(
    project_a: Project, project_b: Project, visit: Callable[..., Client]
) -> None:
    client = visit(HOST_A)
    token = app_session_token(client, get_tokens(client)["refresh_token"])
    authorize(client, open_settings(token, redirect_uri=f"http://{HOST_A}/settings"))
    voucher = client.cookies["app_session"].value
    assert userinfo(client).status_code == 200
    with nothing_changes():
        assert_no_session(visit(HOST_B).get("/oauth2/userinfo", HTTP_COOKIE=f"app_session={voucher}"))


def test_one_bit_less_is_no_voucher(vouched: tuple[Client, dict[str, Any]], stranger: Client) -> None:
    voucher = vouched[0].cookies["app_session"].value
    for position in range(0, len(voucher), 7):
        forged = voucher[:position] + ("A" if voucher[position] != "A" else "B") + voucher[position + 1 :]
        assert_no_session(stranger.get("/oauth2/userinfo", HTTP_COOKIE=f"app_session={forged}"))


def test_refused_codes_never_reach_a_stranger(application: Application, browser: Client) -> None:
    """A made-up token with the client's own redirect URI is refused there."""
    assert_refused(authorize(browser, open_settings("x", redirect_uri=REDIRECT_URI)), "invalid_request")
