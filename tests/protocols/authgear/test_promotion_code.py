"""POST /api/anonymous_user/promotion_code."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from anonusers.models import Application, OneTimeToken, Project, Session
from tests.conftest import APP_ORIGIN
from tests.protocols.authgear.conftest import HOST_A, HOST_B
from tests.protocols.authgear.steps import (
    ENDINGS,
    FULL_ACCESS,
    PROMOTION_CODE,
    Ending,
    assert_api_error,
    assert_never_cached,
    be_promoted,
    bearer,
    configure,
    get_cookie,
    get_tokens,
    make_user,
    nothing_changes,
    only_session,
    post_json,
    promotion_code,
    refreshed,
    sign_in,
    sub_of,
    userinfo,
)

pytestmark = [pytest.mark.django_db, pytest.mark.spec("authgear.md", "1.4")]

BY_COOKIE = {"session_type": "cookie"}
SIGN_IN_FIRST = (401, "Unauthorized", "Unauthorized", "authentication required")
DEAD_TOKEN = (403, "Forbidden", "Forbidden", "invalid refresh token")
IS_REGULAR = (400, "Invalid", "Invalid", "user logged in as normal user")


def by_token(refresh_token: str) -> dict[str, str]:
    return {"session_type": "refresh_token", "refresh_token": refresh_token}


@pytest.mark.parametrize("by", ["cookie", "refresh_token"])
def test_a_guest_gets_a_code_for_five_minutes(application: Application, browser: Client, by: str) -> None:
    body: dict[str, str] = BY_COOKIE
    if by == "cookie":
        get_cookie(browser)
    else:
        body = by_token(get_tokens(browser)["refresh_token"])
    before = timezone.now()

    response = post_json(browser, PROMOTION_CODE, body)

    assert response.status_code == 200
    assert_never_cached(response)
    assert not response.cookies
    result = response.json().pop("result")
    assert set(result) == {"promotion_code", "expire_at"}
    code = result["promotion_code"]
    assert (len(code), code.isascii(), code.isalnum()) == (32, True, True)
    assert result["expire_at"].endswith("Z")
    # Without fractions, and counted from some moment of the request.
    end, five = datetime.fromisoformat(result["expire_at"]), timedelta(minutes=5)
    assert before - timedelta(seconds=1) < end - five <= timezone.now()
    [row] = OneTimeToken.objects.all()
    session = only_session()
    assert (row.purpose, row.end_user_id, row.used_at) == ("promotion_code", session.end_user_id, None)
    assert row.application_id == session.application_id
    assert code not in str(list(OneTimeToken.objects.values())), "only its hash is kept"


def test_asking_does_not_touch_the_guest(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    for _ in range(3):
        promotion_code(browser, tokens["refresh_token"])
    assert userinfo(browser, tokens["access_token"]).status_code == 200
    assert only_session().refresh_generation == 0, "never rotated here"
    assert refreshed(browser, tokens["refresh_token"])


def test_a_code_is_new_each_time_and_there_is_no_limit(application: Application, browser: Client) -> None:
    get_cookie(browser)
    assert len({promotion_code(browser) for _ in range(70)}) == 70


def test_the_toggle_does_not_matter(application: Application, browser: Client) -> None:
    get_cookie(browser)
    configure(application.project, anonymous_users_enabled=False)
    assert promotion_code(browser)


# --- who gets none --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [BY_COOKIE, {"session_type": "refresh_token"}, by_token(""), BY_COOKIE | {"refresh_token": "x"}],
    ids=str,
)
def test_nobody_gets_none(application: Application, browser: Client, body: dict[str, str]) -> None:
    with nothing_changes():
        assert_api_error(post_json(browser, PROMOTION_CODE, body), *SIGN_IN_FIRST)


def test_each_session_type_asks_for_its_own_credential(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    with nothing_changes():
        response = post_json(browser, PROMOTION_CODE, BY_COOKIE, **bearer(tokens["access_token"]))
    assert_api_error(response, *SIGN_IN_FIRST)
    cookie = get_cookie(browser)
    with nothing_changes():
        assert_api_error(post_json(browser, PROMOTION_CODE, {"session_type": "refresh_token"}), *SIGN_IN_FIRST)
        assert_api_error(post_json(browser, PROMOTION_CODE, by_token(cookie)), *DEAD_TOKEN)
        assert_api_error(post_json(browser, PROMOTION_CODE, by_token(tokens["access_token"])), *DEAD_TOKEN)


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_dead_cookie_gets_none(application: Application, browser: Client, ending: Ending) -> None:
    get_cookie(browser)
    ending(only_session())
    with nothing_changes():
        assert_api_error(post_json(browser, PROMOTION_CODE, BY_COOKIE), *SIGN_IN_FIRST)


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_dead_refresh_token_gets_none_and_the_sdk_keeps_its_session(
    application: Application, browser: Client, ending: Ending
) -> None:
    token = get_tokens(browser)["refresh_token"]
    ending(only_session())
    with nothing_changes():
        assert_api_error(post_json(browser, PROMOTION_CODE, by_token(token)), *DEAD_TOKEN)


@pytest.mark.parametrize("token", ["garbage", "a.b.c", "\x7f", "é" * 50, "A" * 22 + ".0." + "B" * 43, "x" * 100_000])
def test_garbage_gets_none(application: Application, browser: Client, token: str) -> None:
    with nothing_changes():
        assert_api_error(post_json(browser, PROMOTION_CODE, by_token(token)), *DEAD_TOKEN)


def test_a_grant_without_full_access_gets_none(application: Application, browser: Client) -> None:
    token = get_tokens(browser)["refresh_token"]
    Session.objects.update(scope="openid offline_access")
    refusal = (403, "Forbidden", "Forbidden", "the client is not authorized to have full user access")
    with nothing_changes():
        assert_api_error(post_json(browser, PROMOTION_CODE, by_token(token)), *refusal)
    Session.objects.update(scope=f"openid {FULL_ACCESS}")
    assert promotion_code(browser, token)


def test_a_guest_of_the_native_door_gets_one(application: Application, browser: Client) -> None:
    answer = post_json(browser, "/api/v1/signup/", {"client_id": "web", "kind": "token"})
    assert promotion_code(browser, answer.json()["refresh_token"])


@pytest.mark.parametrize("by", ["cookie", "refresh_token"])
def test_a_regular_user_is_told_so(application: Application, browser: Client, by: str) -> None:
    user = make_user(application.project)
    body: dict[str, str] = BY_COOKIE
    if by == "cookie":
        sign_in(browser, user)
    else:
        token = get_tokens(browser)["refresh_token"]
        session = Session.objects.in_full().get(ended_at=None)
        session.end_user.anonymous_identity.delete()
        body = by_token(token)
    with nothing_changes():
        assert_api_error(post_json(browser, PROMOTION_CODE, body), *IS_REGULAR)


def test_after_the_promotion_the_old_credentials_are_dead(
    application: Application, browser: Client, stranger: Client
) -> None:
    """F1, F27."""
    token = get_tokens(browser)["refresh_token"]
    sub = sub_of(browser, refreshed(browser, token)["access_token"])
    end_user = Session.objects.in_full().get().end_user
    be_promoted(end_user)
    with nothing_changes():
        assert_api_error(post_json(browser, PROMOTION_CODE, by_token(token)), *DEAD_TOKEN)
    assert str(end_user.pk) == sub


# --- projects, origins, bodies --------------------------------------------------------------------


def test_a_token_is_worth_nothing_in_another_project(
    project_a: Project, project_b: Project, visit: Callable[..., Client]
) -> None:
    token = get_tokens(visit(HOST_A))["refresh_token"]
    with nothing_changes():
        assert_api_error(post_json(visit(HOST_B), PROMOTION_CODE, by_token(token)), *DEAD_TOKEN)


@pytest.mark.spec("authgear.md", "0.4")
def test_pages_of_listed_origins_may_read_it(application: Application, browser: Client) -> None:
    get_cookie(browser)
    response = post_json(browser, PROMOTION_CODE, BY_COOKIE, HTTP_ORIGIN=APP_ORIGIN, HTTP_SEC_FETCH_SITE="same-site")
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == APP_ORIGIN
    assert response.headers["Access-Control-Allow-Credentials"] == "true"
    response = browser.options(
        PROMOTION_CODE, HTTP_ORIGIN=APP_ORIGIN, HTTP_ACCESS_CONTROL_REQUEST_HEADERS="content-type"
    )
    assert response.headers["Access-Control-Allow-Headers"] == "content-type"


def test_a_cookie_gets_none_for_a_stranger_across_sites(application: Application, browser: Client) -> None:
    get_cookie(browser)
    headers: dict[str, Any] = {"HTTP_ORIGIN": "https://evil.example", "HTTP_SEC_FETCH_SITE": "cross-site"}
    with nothing_changes():
        response = post_json(browser, PROMOTION_CODE, BY_COOKIE, **headers)
    assert_api_error(response, 403, "Forbidden", "Forbidden")
    assert "Access-Control-Allow-Origin" not in response.headers


BODIES: dict[str, tuple[Any, str, str]] = {
    "nothing": ({}, "", "required"),
    "another type": ({"session_type": "bearer"}, "/session_type", "enum"),
    "a number": ({"session_type": 1}, "/session_type", "type"),
    "null": ({"session_type": None}, "/session_type", "type"),
    "a number as token": ({"session_type": "refresh_token", "refresh_token": 1}, "/refresh_token", "type"),
    "an unknown key": (BY_COOKIE | {"client_id": "web"}, "/client_id", "general"),
    "a list": ([], "", "type"),
}


@pytest.mark.parametrize(("body", "location", "kind"), BODIES.values(), ids=BODIES)
def test_the_body_is_read_strictly(
    application: Application, browser: Client, body: Any, location: str, kind: str
) -> None:
    get_cookie(browser)
    with nothing_changes():
        response = post_json(browser, PROMOTION_CODE, body)
    error = assert_api_error(response, 400, "Invalid", "ValidationFailed", "invalid request body")
    assert [(cause["location"], cause["kind"]) for cause in error["info"]["causes"]] == [(location, kind)]


def test_only_json_and_only_post(application: Application, browser: Client) -> None:
    get_cookie(browser)
    with nothing_changes():
        response = post_json(browser, PROMOTION_CODE, BY_COOKIE, content_type="text/plain")
        assert_api_error(response, 400, "BadRequest", "BadRequest", "request content type is invalid")
        assert_api_error(post_json(browser, PROMOTION_CODE, "{"), 400, "BadRequest", "InvalidJSON")
        assert_api_error(browser.get(PROMOTION_CODE), 405, "BadRequest", "BadRequest")
