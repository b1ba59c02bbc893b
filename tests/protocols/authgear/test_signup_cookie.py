"""POST /api/anonymous_user/signup with session_type "cookie": every row of the table, and the cookie itself."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.test import Client

from anonusers.models import Application, EndUser, Project, Session
from tests.conftest import APP_ORIGIN, HOST, assert_random, make_application, row_counts, state_of
from tests.protocols.authgear.steps import (
    COOKIE,
    ENDINGS,
    SECURE_COOKIE,
    SIGNUP,
    SLEEPS,
    Ending,
    ask_for_cookie,
    assert_api_error,
    assert_never_cached,
    bearer,
    configure,
    get_cookie,
    get_tokens,
    make_regular,
    nothing_changes,
    only_session,
    post_json,
    sub_of,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.spec("authgear.md", "1.3")]

ONE_GUEST = {"anonusers.EndUser": 1, "anonusers.AnonymousIdentity": 1, "anonusers.Session": 1, "auth.User": 1}


def grown(before: dict[str, int], by: dict[str, int]) -> dict[str, int]:
    return {label: count + by.get(label, 0) for label, count in before.items()}


# --- the decision table ---------------------------------------------------------------------------


def test_a_new_visitor_becomes_a_guest_with_a_cookie(project: Project, browser: Client) -> None:
    before = row_counts()
    response = ask_for_cookie(browser)
    assert response.status_code == 200
    assert response.json() == {"result": {}}
    assert response.headers["Content-Type"] == "application/json"
    assert_never_cached(response)
    assert set(response.cookies) == {COOKIE, "same_site_strict"}
    assert row_counts() == grown(before, ONE_GUEST)
    session = only_session()
    assert (session.kind, session.application, session.project) == ("cookie", None, project)
    assert session.end_user.is_guest
    assert sub_of(browser) == str(session.end_user_id)


def test_the_same_visitor_stays_the_same_guest(project: Project, browser: Client) -> None:
    get_cookie(browser)
    with nothing_changes():
        response = ask_for_cookie(browser)
    assert response.status_code == 200
    assert response.json() == {"result": {}}, "Authgear's null makes the SDK throw"
    assert not response.cookies


def test_a_regular_user_is_not_turned_into_a_guest(project: Project, browser: Client) -> None:
    get_cookie(browser)
    make_regular(only_session())
    sub = sub_of(browser)
    with nothing_changes():
        response = ask_for_cookie(browser)
    assert_api_error(response, 400, "Invalid", "Invalid", "user logged in as normal user")
    assert sub_of(browser) == sub


@pytest.mark.parametrize(
    "more",
    [
        {"client_id": "web"},
        {"client_id": "nobody"},
        {"client_id": ""},
        {"client_id": "☃" * 300},
        {"client_id": "server"},
        {"refresh_token": "garbage"},
        {"refresh_token": ""},
        {"client_id": "nobody", "refresh_token": "garbage"},
    ],
    ids=str,
)
def test_client_id_and_refresh_token_do_not_matter(
    application: Application, confidential: Application, browser: Client, more: dict[str, str]
) -> None:
    response = post_json(browser, SIGNUP, {"session_type": "cookie"} | more)
    assert response.json() == {"result": {}}
    assert only_session().application is None


def test_a_refresh_token_in_the_body_is_not_used(application: Application, browser: Client, stranger: Client) -> None:
    tokens = get_tokens(stranger)
    body = {"session_type": "cookie", "client_id": "web", "refresh_token": tokens["refresh_token"]}
    assert post_json(browser, SIGNUP, body).status_code == 200
    assert sub_of(browser) != sub_of(stranger, tokens["access_token"])


def test_a_bearer_token_alone_leads_to_a_new_guest(application: Application, browser: Client, stranger: Client) -> None:
    tokens = get_tokens(stranger)
    response = ask_for_cookie(browser, **bearer(tokens["access_token"]))
    assert response.json() == {"result": {}}
    assert COOKIE in response.cookies
    assert sub_of(browser) != sub_of(stranger, tokens["access_token"])


def test_a_bearer_token_beside_a_live_cookie_replaces_nothing(
    application: Application, browser: Client, stranger: Client
) -> None:
    tokens = get_tokens(stranger)
    get_cookie(browser)
    with nothing_changes():
        response = ask_for_cookie(browser, **bearer(tokens["access_token"]))
    assert response.json() == {"result": {}}
    assert not response.cookies


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_dead_cookie_session_leads_to_a_new_guest(project: Project, browser: Client, ending: Ending) -> None:
    old = get_cookie(browser)
    session = only_session()
    ending(session)
    before = row_counts()
    response = ask_for_cookie(browser)
    assert response.json() == {"result": {}}
    assert response.cookies[COOKIE].value != old
    assert row_counts() == grown(before, ONE_GUEST)
    assert sub_of(browser) != str(session.end_user_id)


@pytest.mark.parametrize(("sleep", "wake"), SLEEPS.values(), ids=SLEEPS)
def test_the_sleeping_session_is_left_as_it_is_and_wakes(
    project: Project, browser: Client, sleep: Ending, wake: Ending
) -> None:
    old = get_cookie(browser)
    session = only_session()
    sub = sub_of(browser)
    sleep(session)
    before = state_of(session)
    ask_for_cookie(browser)
    assert state_of(session) == before
    wake(session)
    browser.cookies[COOKIE] = old
    assert sub_of(browser) == sub


def forged(value: str) -> str:
    session_id, generation, secret = value.split(".")
    return f"{session_id}.{generation}.{'A' * len(secret)}"


WORTHLESS: dict[str, Callable[[str], str]] = {
    "empty": lambda value: "",
    "garbage": lambda value: "garbage",
    "chosen by an attacker": lambda value: "AAAAAAAAAAAAAAAAAAAAAA.0." + "B" * 43,
    "known session, wrong secret": forged,
    "session id alone": lambda value: value.split(".")[0],
    "later generation": lambda value: value.replace(".0.", ".1."),
    "longer": lambda value: value + "A",
    "shorter": lambda value: value[:-1],
    "upper case": str.upper,
    "very long": lambda value: value * 100,
}


@pytest.mark.parametrize("spoil", WORTHLESS.values(), ids=WORTHLESS)
def test_a_worthless_cookie_is_never_adopted(
    project: Project, browser: Client, stranger: Client, spoil: Callable[[str], str]
) -> None:
    value = get_cookie(stranger)
    owner = only_session()
    before = state_of(owner)
    browser.cookies[COOKIE] = spoil(value)
    response = ask_for_cookie(browser)
    assert response.json() == {"result": {}}
    fresh = response.cookies[COOKIE].value
    assert fresh not in (value, spoil(value))
    assert fresh.split(".")[0] != value.split(".")[0]
    assert state_of(owner) == before
    assert sub_of(browser) != sub_of(stranger)


@pytest.mark.parametrize("name", ["access_token", "refresh_token"])
def test_a_token_is_no_cookie(application: Application, browser: Client, stranger: Client, name: str) -> None:
    tokens = get_tokens(stranger)
    browser.cookies[COOKIE] = tokens[name]
    response = ask_for_cookie(browser)
    assert COOKIE in response.cookies
    assert sub_of(browser) != sub_of(stranger, tokens["access_token"])


# --- errors that only a new user meets ------------------------------------------------------------


def test_no_new_guest_while_the_feature_is_off(project: Project, browser: Client, stranger: Client) -> None:
    get_cookie(stranger)
    configure(project, anonymous_users_enabled=False)
    with nothing_changes():
        response = ask_for_cookie(browser)
        assert_api_error(response, 400, "Invalid", "Invalid", "anonymous user disallowed")
        assert ask_for_cookie(stranger).json() == {"result": {}}, "a live session goes on"


def adapter(settings: Any, name: str) -> None:
    settings.ANONUSERS_ADAPTER = f"tests.protocols.authgear.adapters.{name}"


def test_no_new_guest_while_public_signup_is_disabled(
    project: Project, browser: Client, stranger: Client, settings: Any
) -> None:
    get_cookie(stranger)
    adapter(settings, "Closed")
    with nothing_changes():
        response = ask_for_cookie(browser)
        assert_api_error(response, 403, "Forbidden", "NoPublicSignup", "public signup is disabled")
        assert ask_for_cookie(stranger).json() == {"result": {}}


def test_a_veto_of_the_host_is_told_with_its_reasons(
    project: Project, browser: Client, stranger: Client, settings: Any
) -> None:
    get_cookie(stranger)
    adapter(settings, "Vetoing")
    with nothing_changes():
        response = ask_for_cookie(browser)
        assert ask_for_cookie(stranger).json() == {"result": {}}
    info = {"event_type": "user.pre_create", "reasons": [{"title": "No", "reason": "We are full"}]}
    assert_api_error(response, 403, "Forbidden", "HookDisallowed", "disallowed by hook event handler", info)


def test_over_the_budget_no_guest_is_made(project: Project, browser: Client, visit: Any, settings: Any) -> None:
    settings.ANONUSERS_SIGNUP_PER_IP = "2/m"
    with time_machine.travel("2026-01-01T00:00:00Z", tick=False) as clock:
        get_cookie(visit())
        get_cookie(browser)
        with nothing_changes():
            response = ask_for_cookie(visit())
            assert ask_for_cookie(browser).json() == {"result": {}}, "a live guest is not counted"
        name = "authentication.signup_anonymous"
        info = {
            "bucket_name": "SignupAnonymousPerIP",
            "rate_limit": {"name": name, "group": name},
            "rate_limit_name": name,
        }
        assert_api_error(response, 429, "TooManyRequest", "RateLimited", "request rate limited", info)
        assert 1 <= int(response.headers["Retry-After"]) <= 60
        clock.shift(61)
        assert ask_for_cookie(visit()).status_code == 200, "the window has refilled"


# --- the cookie -----------------------------------------------------------------------------------


def test_the_cookie_over_http(project: Project, browser: Client) -> None:
    cookies = ask_for_cookie(browser).cookies
    session, strict = cookies[COOKIE], cookies["same_site_strict"]
    assert session["httponly"]
    assert (session["samesite"], session["path"], session["domain"], session["secure"]) == ("Lax", "/", "", "")
    assert session["max-age"] == project.session_lifetime == 31_449_600
    assert strict.value == "true"
    assert (strict["samesite"], strict["path"], strict["domain"], strict["secure"]) == ("Strict", "/", "", "")
    assert strict["max-age"] == session["max-age"]


@pytest.mark.spec("RFC 6265bis", "4.1.3.2")
def test_the_cookie_over_https_is_bound_to_the_host(project: Project, browser: Client) -> None:
    response = ask_for_cookie(browser, secure=True)
    assert set(response.cookies) == {SECURE_COOKIE, "same_site_strict"}
    session = response.cookies[SECURE_COOKIE]
    assert session["secure"] is True
    assert session["httponly"] is True
    assert (session["samesite"], session["path"], session["domain"]) == ("Lax", "/", "")
    assert response.cookies["same_site_strict"]["secure"] is True
    with nothing_changes():
        assert ask_for_cookie(browser, secure=True).json() == {"result": {}}


def test_over_https_a_cookie_without_the_prefix_is_worth_nothing(
    project: Project, browser: Client, stranger: Client
) -> None:
    value = get_cookie(stranger, secure=True)
    browser.cookies[COOKIE] = value
    assert ask_for_cookie(browser, secure=True).cookies[SECURE_COOKIE].value != value


def test_a_session_cookie_of_the_browser_has_no_max_age(project: Project, browser: Client) -> None:
    configure(project, session_persistent_cookie=False)
    cookies = ask_for_cookie(browser).cookies
    for cookie in cookies.values():
        assert (cookie["max-age"], cookie["expires"]) == ("", "")


def test_max_age_follows_the_projects_lifetime_at_once(project: Project, browser: Client) -> None:
    configure(project, session_lifetime=3600)
    assert ask_for_cookie(browser).cookies[COOKIE]["max-age"] == 3600


def test_the_secret_has_256_bits_and_no_two_are_alike(project: Project, visit: Callable[..., Client]) -> None:
    values = [get_cookie(visit()) for _ in range(20)]
    secrets = {value.split(".")[2] for value in values}
    assert len(secrets) == 20
    assert all(len(secret) == 43 for secret in secrets)
    assert_random(EndUser.objects.values_list("pk", flat=True))


# --- who may ask ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"HTTP_ORIGIN": "https://evil.example"},
        {"HTTP_ORIGIN": "null"},
        {"HTTP_ORIGIN": f"{APP_ORIGIN}.evil.example"},
    ],
    ids=str,
)
def test_a_cross_site_page_cannot_make_the_visitor_a_guest(
    application: Application, browser: Client, headers: dict[str, str]
) -> None:
    with nothing_changes():
        response = ask_for_cookie(browser, HTTP_SEC_FETCH_SITE="cross-site", **headers)
    assert_api_error(response, 403, "Forbidden", "Forbidden")
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"HTTP_SEC_FETCH_SITE": "same-origin", "HTTP_ORIGIN": f"http://{HOST}"},
        {"HTTP_SEC_FETCH_SITE": "same-site", "HTTP_ORIGIN": APP_ORIGIN},
        {"HTTP_SEC_FETCH_SITE": "cross-site", "HTTP_ORIGIN": APP_ORIGIN},
        {"HTTP_ORIGIN": APP_ORIGIN},
    ],
    ids=str,
)
def test_the_applications_own_pages_may_ask(application: Application, browser: Client, headers: dict[str, str]) -> None:
    assert ask_for_cookie(browser, **headers).json() == {"result": {}}


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "text/json"],
)
def test_what_a_form_could_send_makes_no_guest(project: Project, browser: Client, content_type: str) -> None:
    with nothing_changes():
        response = post_json(browser, SIGNUP, json.dumps({"session_type": "cookie"}), content_type=content_type)
    assert_api_error(response, 400, "BadRequest", "BadRequest", "request content type is invalid")


def test_a_foreign_page_cannot_replace_a_live_session(application: Application, browser: Client) -> None:
    get_cookie(browser)
    with nothing_changes():
        response = ask_for_cookie(browser, HTTP_SEC_FETCH_SITE="cross-site", HTTP_ORIGIN="https://evil.example")
    assert_api_error(response, 403, "Forbidden", "Forbidden")


def test_the_guest_is_a_user_of_the_host_without_password_and_rights(
    project: Project, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_hashing(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a password was hashed")

    monkeypatch.setattr("django.contrib.auth.hashers.make_password", no_hashing)
    monkeypatch.setattr("django.contrib.auth.base_user.make_password", no_hashing)
    get_cookie(browser)
    user = Session.objects.get().end_user.user
    monkeypatch.undo()
    assert not user.has_usable_password()
    assert not any(user.check_password(word) for word in ("", " ", user.get_username()))
    assert (user.is_staff, user.is_superuser, user.is_active) == (False, False, True)
    assert not user.groups.exists()


def test_an_application_of_another_type_does_not_stand_in_the_way(project: Project, browser: Client) -> None:
    make_application(project, "machine", type="m2m")
    body = {"session_type": "cookie", "client_id": "machine"}
    assert post_json(browser, SIGNUP, body).json() == {"result": {}}
