"""GET|POST /oauth2/userinfo."""

import re
from typing import Any

import pytest
from django.test import Client

from anonusers.models import Application, Project
from tests.protocols.authgear.steps import (
    CLAIM,
    COOKIE,
    ENDINGS,
    FORM,
    JSON,
    SLEEPS,
    USERINFO,
    Ending,
    assert_never_cached,
    assert_no_session,
    bearer,
    get_cookie,
    get_tokens,
    make_regular,
    nothing_changes,
    only_session,
    post_form,
    sub_of,
    userinfo,
)

pytestmark = [pytest.mark.django_db, pytest.mark.spec("authgear.md", "1.11")]

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", re.ASCII)


@pytest.mark.spec("authgear.md", "2.4")
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("by", ["bearer", "cookie"])
def test_everything_that_is_said_of_a_guest(application: Application, browser: Client, method: str, by: str) -> None:
    headers = {}
    if by == "cookie":
        get_cookie(browser)
    else:
        headers = bearer(get_tokens(browser)["access_token"])
    with nothing_changes():
        response = getattr(browser, method)(USERINFO, **headers)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == JSON
    assert_never_cached(response)
    assert not response.cookies
    body = response.json()
    assert body.pop("updated_at", 1) > 0
    [identity] = body.pop(f"{CLAIM}identities")
    assert identity["type"] == "anonymous"
    assert RFC_3339.fullmatch(identity["created_at"])
    assert RFC_3339.fullmatch(identity["updated_at"])
    assert body == {
        "sub": str(only_session().end_user_id),
        f"{CLAIM}is_anonymous": True,
        f"{CLAIM}is_verified": False,
        f"{CLAIM}can_reauthenticate": False,
        f"{CLAIM}roles": [],
        f"{CLAIM}recovery_code_enabled": False,
        f"{CLAIM}authenticators": [],
        "custom_attributes": {},
        "x_web3": {},
    }


def test_a_regular_user_is_said_to_be_one_at_once(application: Application, browser: Client) -> None:
    token = get_tokens(browser)["access_token"]
    assert userinfo(browser, token).json()[f"{CLAIM}is_anonymous"] is True
    make_regular(only_session())
    body = userinfo(browser, token).json()
    assert body[f"{CLAIM}is_anonymous"] is False
    assert [each for each in body[f"{CLAIM}identities"] if each["type"] == "anonymous"] == []


# --- no valid session -----------------------------------------------------------------------------


NOTHING: dict[str, dict[str, str]] = {
    "nothing": {},
    "Bearer and an empty token": {"HTTP_AUTHORIZATION": "Bearer "},
    "Bearer alone": {"HTTP_AUTHORIZATION": "Bearer"},
    "empty": {"HTTP_AUTHORIZATION": ""},
    "garbage": {"HTTP_AUTHORIZATION": "Bearer garbage"},
    "blanks": {"HTTP_AUTHORIZATION": "Bearer      "},
    "dots": {"HTTP_AUTHORIZATION": "Bearer .."},
    "two tokens": {"HTTP_AUTHORIZATION": "Bearer a b"},
    "another scheme": {"HTTP_AUTHORIZATION": "Basic d2ViOg=="},
    "DPoP": {"HTTP_AUTHORIZATION": "DPoP garbage"},
    "NUL": {"HTTP_AUTHORIZATION": "Bearer \x00"},
    "latin-1": {"HTTP_AUTHORIZATION": "Bearer é"},
    "very long": {"HTTP_AUTHORIZATION": "Bearer " + "A" * 50_000},
    "long with dots": {"HTTP_AUTHORIZATION": "Bearer " + ".".join(["A" * 20_000] * 3)},
    "garbage cookie": {"HTTP_COOKIE": f"{COOKIE}=garbage"},
    "empty cookie": {"HTTP_COOKIE": f"{COOKIE}="},
    "both garbage": {"HTTP_AUTHORIZATION": "Bearer garbage", "HTTP_COOKIE": f"{COOKIE}=garbage"},
    "NUL cookie": {"HTTP_COOKIE": f"{COOKIE}=\x00"},
    "broken cookie header": {"HTTP_COOKIE": ";;;=;=\x01"},
}


@pytest.mark.parametrize("headers", NOTHING.values(), ids=NOTHING)
@pytest.mark.parametrize("method", ["get", "post"])
def test_without_a_session_the_exact_answer_makes_sdks_forget_it(
    application: Application, browser: Client, method: str, headers: dict[str, str]
) -> None:
    with nothing_changes():
        assert_no_session(getattr(browser, method)(USERINFO, **headers))


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("by", ["bearer", "cookie"])
def test_a_dead_session_is_no_session(application: Application, browser: Client, ending: Ending, by: str) -> None:
    token = None
    if by == "cookie":
        get_cookie(browser)
    else:
        token = get_tokens(browser)["access_token"]
    assert userinfo(browser, token).status_code == 200
    ending(only_session())
    with nothing_changes():
        assert_no_session(userinfo(browser, token))


@pytest.mark.parametrize(("sleep", "wake"), SLEEPS.values(), ids=SLEEPS)
@pytest.mark.parametrize("by", ["bearer", "cookie"])
def test_a_disabled_user_sleeps_and_wakes(
    application: Application, browser: Client, sleep: Ending, wake: Ending, by: str
) -> None:
    token = None
    if by == "cookie":
        get_cookie(browser)
    else:
        token = get_tokens(browser)["access_token"]
    session = only_session()
    sub = sub_of(browser, token)
    sleep(session)
    with nothing_changes():
        assert_no_session(userinfo(browser, token))
    wake(session)
    assert sub_of(browser, token) == sub


# --- how a session is found -----------------------------------------------------------------------


@pytest.mark.spec("RFC 9110", "11.1")
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_has_no_case(application: Application, browser: Client, scheme: str) -> None:
    token = get_tokens(browser)["access_token"]
    assert browser.get(USERINFO, HTTP_AUTHORIZATION=f"{scheme} {token}").status_code == 200


@pytest.mark.spec("authgear.md", "5.4")
def test_the_bearer_comes_before_the_cookie(application: Application, browser: Client) -> None:
    get_cookie(browser)
    token = get_tokens(browser)["access_token"]
    by_cookie = sub_of(browser)
    assert sub_of(browser, token) != by_cookie


@pytest.mark.spec("authgear.md", "5.4")
@pytest.mark.parametrize("token", ["", "garbage", "a.b.c"])
def test_a_worthless_bearer_is_as_none(application: Application, browser: Client, token: str) -> None:
    get_cookie(browser)
    assert userinfo(browser, token).status_code == 200


@pytest.mark.spec("RFC 9700", "4.3.2")
@pytest.mark.parametrize("name", ["access_token", "token", "bearer_token", "authorization"])
def test_a_token_in_the_url_is_not_looked_at(application: Application, browser: Client, name: str) -> None:
    token = get_tokens(browser)["access_token"]
    with nothing_changes():
        assert_no_session(browser.get(USERINFO, {name: token}))
        assert_no_session(browser.post(f"{USERINFO}?{name}={token}"))


def test_a_token_in_the_form_is_not_looked_at(application: Application, browser: Client) -> None:
    token = get_tokens(browser)["access_token"]
    with nothing_changes():
        assert_no_session(post_form(browser, USERINFO, {"access_token": token}))


def test_a_cookie_value_is_no_bearer_and_a_token_is_no_cookie(
    application: Application, browser: Client, stranger: Client
) -> None:
    cookie = get_cookie(browser)
    tokens = get_tokens(stranger)
    with nothing_changes():
        assert_no_session(userinfo(stranger, cookie))
        for value in (tokens["access_token"], tokens["refresh_token"]):
            stranger.cookies[COOKIE] = value
            assert_no_session(userinfo(stranger))


@pytest.mark.parametrize("content_type", [FORM, JSON, "text/plain", "multipart/form-data; boundary=x", ""])
@pytest.mark.parametrize("body", [b"", b"{", b"\xff\x00", b"a=1&a=1"])
def test_the_body_of_a_post_does_not_matter(
    application: Application, browser: Client, content_type: str, body: bytes
) -> None:
    token = get_tokens(browser)["access_token"]
    response = browser.post(USERINFO, body, content_type=content_type, **bearer(token))
    assert response.status_code == 200


def test_head_says_the_same_without_a_body(project: Project, application: Application, browser: Client) -> None:
    token: Any = get_tokens(browser)["access_token"]
    response = browser.head(USERINFO, **bearer(token))
    assert (response.status_code, response.content) == (200, b"")
    assert browser.head(USERINFO).status_code == 401
