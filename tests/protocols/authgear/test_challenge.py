"""POST /oauth2/challenge."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import InterfaceError, OperationalError
from django.test import Client
from django.utils import timezone

from anonusers.models import Application, OneTimeToken, Project
from anonusers.tokens import secret_hash
from tests.conftest import APP_ORIGIN, row_counts
from tests.protocols.authgear.conftest import HOST_A, HOST_B
from tests.protocols.authgear.keys import CHALLENGE, ask_challenge, challenge, logged_in, refuse, sign
from tests.protocols.authgear.steps import (
    JSON,
    assert_api_error,
    assert_never_cached,
    bearer,
    configure,
    get_cookie,
    get_tokens,
    nothing_changes,
    post,
    post_json,
    userinfo,
)
from tests.protocols.authgear.test_outage import failing

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.database,
    pytest.mark.spec("authgear.md", "1.2"),
    pytest.mark.spec("authgear.md", "3"),
]

CROCKFORD = re.compile(r"[0123456789ABCDEFGHJKMNPQRSTVWXYZ]{32}")
PURPOSES = ["anonymous_request", "biometric_request", "app2app_request"]
GOOD = {"purpose": "anonymous_request"}
MIB = 1_048_576


# --- what it gives --------------------------------------------------------------------------------


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_challenge_is_good_for_five_minutes(application: Application, browser: Client, purpose: str) -> None:
    counts = row_counts()
    before = timezone.now()

    response = ask_challenge(browser, purpose)

    assert response.status_code == 200
    assert response.headers["Content-Type"] == JSON
    assert_never_cached(response)
    assert not response.cookies
    body = response.json()
    assert list(body) == ["result"]
    result = body["result"]
    assert set(result) == {"token", "expire_at"}
    assert CROCKFORD.fullmatch(result["token"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", result["expire_at"]), "Flutter parses it"
    # Without fractions, and counted from some moment of the request.
    end, five = datetime.fromisoformat(result["expire_at"]), timedelta(minutes=5)
    assert before - timedelta(seconds=1) < end - five <= timezone.now()
    assert row_counts() == counts | {"anonusers.OneTimeToken": 1}
    [row] = OneTimeToken.objects.all()
    assert (row.project_id, row.purpose, row.used_at) == (application.project_id, purpose, None)
    assert (row.end_user_id, row.application_id, row.payload) == (None, None, {}), "bound to nobody"
    assert row.token_hash == secret_hash(result["token"])
    assert result["token"] not in str(list(OneTimeToken.objects.values())), "only its hash is kept"


def test_each_is_another_and_none_takes_the_place_of_another(application: Application, browser: Client) -> None:
    """C6, CHAL-13."""
    tokens = [challenge(browser) for _ in range(20)]
    assert len(set(tokens)) == 20
    for token in tokens[:2]:
        assert logged_in(browser, sign(token))
    assert OneTimeToken.objects.filter(used_at=None).count() == 18


@pytest.mark.parametrize("content_type", [JSON, "application/json; charset=UTF-8"], ids=["most", "Flutter"])
@pytest.mark.parametrize("token", [None, "", "garbage", "a.b.c"], ids=str)
def test_a_bearer_token_is_tolerated(
    application: Application, browser: Client, content_type: str, token: str | None
) -> None:
    headers = {} if token is None else bearer(token)
    assert post_json(browser, CHALLENGE, GOOD, content_type=content_type, **headers).status_code == 200


def test_a_live_session_neither_matters_nor_is_touched(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    get_cookie(browser)
    response = ask_challenge(browser, **bearer(tokens["access_token"]))
    assert response.status_code == 200
    assert not response.cookies
    assert OneTimeToken.objects.get().end_user_id is None
    assert userinfo(browser, tokens["access_token"]).status_code == 200


def test_a_dpop_proof_is_not_looked_at(application: Application, browser: Client) -> None:
    assert ask_challenge(browser, HTTP_DPOP="garbage").status_code == 200


def test_the_toggle_does_not_matter(application: Application, browser: Client) -> None:
    configure(application.project, anonymous_users_enabled=False)
    assert challenge(browser)


# --- what it refuses ------------------------------------------------------------------------------

STRANGE: list[Any] = [1, 0, -1.5, True, False, None, [], ["anonymous_request"], {}, {"$ne": None}]
UNKNOWN = [
    "", " ", "anonymous", "Anonymous_Request", "anonymous_request ", "anonymous-request", "recovery_code", "dpop_proof",
    "promotion_code", "authorization_code", "idempotency_key", "☃", "x" * 10_000,
]  # fmt: skip
REQUIRED = {"location": "", "kind": "required", "details": {"missing": ["purpose"]}}
BODIES: dict[str, tuple[Any, list[Any]]] = {
    "an empty object": ({}, [REQUIRED]),
    **{
        f"purpose is {value!r}"[:40]: (
            {"purpose": value},
            [{"location": "/purpose", "kind": "general", "details": {"msg": "unknown challenge purpose"}}],
        )
        for value in UNKNOWN
    },
    **{f"purpose is {value!r}": ({"purpose": value}, [("/purpose", "type")]) for value in STRANGE},
    **{f"the body is {body!r}": (body, [("", "type")]) for body in (None, 1, True, '"x"', [], [GOOD], 1e300)},
    **{
        f"unknown key {key}": (GOOD | {key: "x"}, [(f"/{key}", "general")])
        for key in ("client_id", "Purpose", "token", "expire_at", "x", "☃", "__proto__")
    },
}


@pytest.mark.parametrize(("body", "causes"), BODIES.values(), ids=BODIES)
def test_the_body_is_read_strictly(application: Application, browser: Client, body: Any, causes: list[Any]) -> None:
    with nothing_changes():
        response = post_json(browser, CHALLENGE, body)
    error = assert_api_error(response, 400, "Invalid", "ValidationFailed", "invalid request body")
    assert set(error["info"]) == {"causes"}
    found = error["info"]["causes"]
    assert [cause if isinstance(causes[0], dict) else (cause["location"], cause["kind"]) for cause in found] == causes


NOT_JSON = [b"", b"{", b"purpose=anonymous_request", b'{"purpose": "x", "purpose": "anonymous_request"}', b"NaN"]
NOT_JSON += [b'{"purpose": "\\u0000"}', b'{"purpose": "\\ud800"}', b'{"purpose": "\xff"}', b"[" * 5000]


@pytest.mark.parametrize("body", NOT_JSON, ids=lambda body: repr(body[:30]))
def test_what_is_not_json_is_refused(application: Application, browser: Client, body: bytes) -> None:
    with nothing_changes():
        assert_api_error(post_json(browser, CHALLENGE, body), 400, "BadRequest", "InvalidJSON")


def test_a_form_is_refused_and_so_is_more_than_a_mebibyte(application: Application, browser: Client) -> None:
    refusal = (400, "BadRequest", "BadRequest", "request content type is invalid")
    with nothing_changes():
        for content_type in ("", "text/plain", "application/x-www-form-urlencoded", "application/json;charset=utf-16"):
            assert_api_error(post_json(browser, CHALLENGE, GOOD, content_type=content_type), *refusal)
        large = post(browser, CHALLENGE, b'{"purpose": "anonymous_request"}'.ljust(MIB + 1), JSON)
        assert_api_error(large, 413, "RequestEntityTooLarge", "RequestEntityTooLarge")
        in_query = post_json(browser, f"{CHALLENGE}?purpose=anonymous_request", {})
        assert_api_error(in_query, 400, "Invalid", "ValidationFailed", "invalid request body")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE"])
def test_only_post_asks(application: Application, browser: Client, method: str) -> None:
    with nothing_changes():
        response = browser.generic(method, CHALLENGE, b'{"purpose": "anonymous_request"}', JSON)
    assert response.status_code == 405
    assert response.headers["Allow"] == "OPTIONS, POST"
    if method != "HEAD":
        assert_api_error(response, 405, "BadRequest", "BadRequest", "method not allowed")


def test_where_nobody_lives_there_are_none(application: Application, visit: Callable[..., Client]) -> None:
    with nothing_changes():
        response = ask_challenge(visit("nobody.example.localhost"))
        assert_api_error(response, 404, "NotFound", "AppNotFound", "app not found")


@pytest.mark.parametrize("error", [OperationalError("gone"), InterfaceError("closed")], ids=["gone", "closed"])
def test_a_database_that_is_away_is_said_to_be(application: Application, browser: Client, error: Exception) -> None:
    with nothing_changes(), failing(error):
        response = ask_challenge(browser)
    assert_api_error(response, 503, "ServiceUnavailable", "ServiceUnavailable", "service unavailable")
    assert response.headers["Retry-After"] == "5"
    assert challenge(browser)


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("budget", "allowed"), [(None, 120), ("3/m", 3)], ids=["by default", "as configured"])
def test_one_address_gets_so_many_a_minute(
    application: Application, browser: Client, settings: Any, budget: str | None, allowed: int
) -> None:
    """C5: Authgear has no limit here."""
    if budget:
        settings.ANONUSERS_CHALLENGES_PER_IP = budget
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for _ in range(allowed):
            challenge(browser)
        with nothing_changes():
            response = ask_challenge(browser)
            assert_api_error(response, 429, "TooManyRequest", "RateLimited", "request rate limited")
            assert 1 <= int(response.headers["Retry-After"]) <= 60
        assert ask_challenge(browser, REMOTE_ADDR="192.0.2.7").status_code == 200, "of another address"
        assert post_json(browser, CHALLENGE, {}).status_code == 400, "what is refused anyway costs nothing"
        clock.shift(61)
        assert challenge(browser)


def test_the_limit_is_of_one_network_and_of_one_project(
    project_a: Project, project_b: Project, visit: Callable[..., Client], settings: Any
) -> None:
    settings.ANONUSERS_CHALLENGES_PER_IP = "1/m"
    one, other = {"REMOTE_ADDR": "2001:db8::1"}, {"REMOTE_ADDR": "2001:db8::2"}
    assert ask_challenge(visit(HOST_A), **one).status_code == 200
    assert ask_challenge(visit(HOST_A), **other).status_code == 429
    assert ask_challenge(visit(HOST_A), REMOTE_ADDR="2001:db8:0:1::1").status_code == 200
    assert ask_challenge(visit(HOST_B), **one).status_code == 200


def test_a_refused_body_does_not_count(application: Application, browser: Client, settings: Any) -> None:
    settings.ANONUSERS_CHALLENGES_PER_IP = "1/m"
    for _ in range(5):
        assert ask_challenge(browser, "nonsense").status_code == 400
    assert challenge(browser)


# --- origins and projects -------------------------------------------------------------------------


@pytest.mark.spec("authgear.md", "0.4")
def test_pages_of_listed_origins_may_read_it(application: Application, browser: Client) -> None:
    response = ask_challenge(browser, HTTP_ORIGIN=APP_ORIGIN)
    assert response.headers["Access-Control-Allow-Origin"] == APP_ORIGIN
    assert response.headers["Access-Control-Allow-Credentials"] == "true"
    asked = {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST", "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": "content-type,dpop"}
    with nothing_changes():
        response = browser.options(CHALLENGE, HTTP_ORIGIN=APP_ORIGIN, **asked)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Access-Control-Allow-Headers"] == "content-type,dpop"
    response = ask_challenge(browser, HTTP_ORIGIN="https://evil.example", HTTP_SEC_FETCH_SITE="cross-site")
    assert response.status_code == 200, "nothing in it is anybody's"
    assert not [name for name in response.headers if name.startswith("Access-Control-")]


def test_a_challenge_of_one_project_is_none_in_another(
    project_a: Project, project_b: Project, visit: Callable[..., Client]
) -> None:
    """TEN-04."""
    token = challenge(visit(HOST_A))
    assert OneTimeToken.objects.get().project_id == project_a.pk
    refuse(visit(HOST_B), sign(token))
    assert logged_in(visit(HOST_A), sign(token))
