"""POST /api/anonymous_user/signup with session_type "refresh_token": every row of the table and of its errors."""

from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.db import OperationalError, connection
from django.test import Client

from anonusers.models import Application, EndUser, Project, Session
from tests.conftest import HOST, assert_random, make_application, row_counts
from tests.protocols.authgear.steps import (
    CLAIM,
    COOKIE,
    ENDINGS,
    SIGNUP,
    SLEEPS,
    Ending,
    ask_for_cookie,
    ask_for_tokens,
    assert_api_error,
    assert_never_cached,
    configure,
    delete_application,
    get_cookie,
    get_tokens,
    make_regular,
    nothing_changes,
    only_session,
    post_json,
    refresh,
    refreshed,
    sub_of,
    userinfo,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.spec("authgear.md", "1.3")]

GUEST_TYPES = ["spa", "traditional_webapp", "native", ""]
OTHER_TYPES = ["confidential", "third_party_app", "m2m"]
INVALID = (400, "Invalid", "Invalid")


# --- the decision table ---------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"refresh_token": ""}], ids=["no refresh token", "an empty one"])
@pytest.mark.parametrize("kind", GUEST_TYPES)
def test_a_new_visitor_becomes_a_guest_with_tokens(
    project: Project, browser: Client, kind: str, more: dict[str, str]
) -> None:
    application = make_application(project, type=kind)
    before = row_counts()
    response = post_json(browser, SIGNUP, {"session_type": "refresh_token", "client_id": "web"} | more)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert_never_cached(response)
    assert not response.cookies
    assert list(response.json()) == ["result"]
    tokens = response.json()["result"]
    assert set(tokens) == {"token_type", "access_token", "expires_in", "refresh_token"}, "and no id_token"
    assert tokens["token_type"] == "Bearer"
    assert (tokens["expires_in"], type(tokens["expires_in"])) == (application.access_token_lifetime, int)
    created = {"anonusers.EndUser", "anonusers.AnonymousIdentity", "anonusers.Session", "auth.User"}
    assert row_counts() == {label: count + (label in created) for label, count in before.items()}
    session = only_session()
    assert (session.kind, session.application) == ("token", application)
    assert session.scope == "openid offline_access https://authgear.com/scopes/full-access"
    assert sub_of(browser, tokens["access_token"]) == str(session.end_user_id)


def test_the_same_visitor_stays_the_same_guest_and_the_token_is_not_rotated(
    application: Application, browser: Client
) -> None:
    tokens = get_tokens(browser)
    with nothing_changes():
        response = ask_for_tokens(browser, tokens["refresh_token"])
    again = response.json()["result"]
    assert set(again) == {"token_type", "access_token", "expires_in"}
    assert again["token_type"] == "Bearer"
    assert sub_of(browser, again["access_token"]) == sub_of(browser, tokens["access_token"])
    assert not response.cookies
    assert refresh(browser, tokens["refresh_token"]).status_code == 200


def test_a_rotated_token_within_its_grace_still_names_the_guest(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    refreshed(browser, tokens["refresh_token"])
    with nothing_changes():
        again = ask_for_tokens(browser, tokens["refresh_token"]).json()["result"]
    assert sub_of(browser, again["access_token"]) == sub_of(browser, tokens["access_token"])


@pytest.mark.parametrize(
    "client_id", ["nobody", "", "WEB", "Web", "web ", " web", "web\u0000"[:3] + "x", "☃", "x" * 5000]
)
@pytest.mark.parametrize("with_token", [False, True], ids=["new", "with a live token"])
def test_an_unknown_client_is_refused(
    application: Application, browser: Client, client_id: str, with_token: bool
) -> None:
    refresh_token = get_tokens(browser)["refresh_token"] if with_token else None
    with nothing_changes():
        response = ask_for_tokens(browser, refresh_token, client_id=client_id)
    assert_api_error(response, *INVALID, "invalid client ID")


@pytest.mark.parametrize("kind", OTHER_TYPES)
@pytest.mark.parametrize("refresh_token", [None, "", "garbage"])
def test_a_type_without_full_access_cannot_have_guests(
    project: Project, browser: Client, kind: str, refresh_token: str | None
) -> None:
    make_application(project, type=kind)
    with nothing_changes():
        error = assert_api_error(ask_for_tokens(browser, refresh_token), *INVALID)
    message = error["message"].lower()
    assert "anonymous users are not supported for this application type" in message
    assert all(word in message for word in ("spa", "traditional web", "native"))


@pytest.mark.parametrize("kind", OTHER_TYPES)
def test_a_live_session_does_not_help_once_the_type_changed(
    application: Application, browser: Client, kind: str
) -> None:
    tokens = get_tokens(browser)
    configure(application, type=kind)
    with nothing_changes():
        response = ask_for_tokens(browser, tokens["refresh_token"])
    assert "not supported for this application type" in assert_api_error(response, *INVALID)["message"]


def test_a_regular_user_is_not_turned_into_a_guest(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    make_regular(only_session())
    with nothing_changes():
        response = ask_for_tokens(browser, tokens["refresh_token"])
    assert_api_error(response, *INVALID, "user logged in as normal user")
    assert refresh(browser, tokens["refresh_token"]).status_code == 200


# --- "invalid refresh token": never silently a new guest ------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("enabled", [True, False], ids=["feature on", "feature off"])
def test_a_dead_refresh_token_is_refused(
    application: Application, browser: Client, ending: Ending, enabled: bool
) -> None:
    tokens = get_tokens(browser)
    configure(application.project, anonymous_users_enabled=enabled)
    ending(only_session())
    with nothing_changes():
        response = ask_for_tokens(browser, tokens["refresh_token"])
    assert_api_error(response, *INVALID, "invalid refresh token")


def test_the_token_of_a_deleted_application_is_refused(project: Project, browser: Client) -> None:
    make_application(project, "other")
    make_application(project)
    tokens = get_tokens(browser)
    delete_application(only_session())
    with nothing_changes():
        response = ask_for_tokens(browser, tokens["refresh_token"], client_id="other")
    assert_api_error(response, *INVALID, "invalid refresh token")


@pytest.mark.parametrize(("sleep", "wake"), SLEEPS.values(), ids=SLEEPS)
def test_a_disabled_users_token_works_again_once_enabled(
    application: Application, browser: Client, sleep: Ending, wake: Ending
) -> None:
    tokens = get_tokens(browser)
    session = only_session()
    sleep(session)
    assert_api_error(ask_for_tokens(browser, tokens["refresh_token"]), *INVALID, "invalid refresh token")
    wake(session)
    again = ask_for_tokens(browser, tokens["refresh_token"]).json()["result"]
    assert sub_of(browser, again["access_token"]) == str(session.end_user_id)


def change_secret(token: str) -> str:
    head, _, secret = token.rpartition(".")
    return f"{head}.{'A' if secret[0] != 'A' else 'B'}{secret[1:]}"


def change_generation(by: int) -> Callable[[str], str]:
    def change(token: str) -> str:
        session_id, generation, secret = token.split(".")
        return f"{session_id}.{int(generation, 16) + by:x}.{secret}"

    return change


GARBAGE: dict[str, Callable[[str], str]] = {
    "a word": lambda token: "garbage",
    "blanks": lambda token: "   ",
    "dots": lambda token: "..",
    "wrong secret": change_secret,
    "next generation": change_generation(1),
    "far generation": change_generation(0xFFFFFFF),
    "no secret": lambda token: token.rpartition(".")[0] + ".",
    "session id alone": lambda token: token.split(".")[0],
    "secret alone": lambda token: token.split(".")[2],
    "another session's id": lambda token: "A" * 22 + token[22:],
    "cut off": lambda token: token[:-1],
    "something behind": lambda token: token + "A",
    "a line break behind": lambda token: token + "\n",
    "a blank before": lambda token: " " + token,
    "other digits": lambda token: token.replace(".0.", ".٠."),
    "upper case": str.upper,
    "twice": lambda token: f"{token}{token}",
    "very long": lambda token: token * 500,
    "snowman": lambda token: "☃" * 22 + ".0." + "☃" * 43,
}


@pytest.mark.parametrize("spoil", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_refused_and_harms_nobody(
    application: Application, browser: Client, spoil: Callable[[str], str]
) -> None:
    tokens = get_tokens(browser)
    with nothing_changes():
        response = ask_for_tokens(browser, spoil(tokens["refresh_token"]))
    assert_api_error(response, *INVALID, "invalid refresh token")
    assert refresh(browser, tokens["refresh_token"]).status_code == 200, "half known is garbage, not re-use"


def test_an_access_token_an_id_token_and_a_cookie_are_no_refresh_tokens(
    application: Application, browser: Client, stranger: Client
) -> None:
    tokens = refreshed(browser, get_tokens(browser)["refresh_token"])
    cookie = get_cookie(stranger)
    with nothing_changes():
        for wrong in (tokens["access_token"], tokens["id_token"], cookie):
            assert_api_error(ask_for_tokens(browser, wrong), *INVALID, "invalid refresh token")
    assert userinfo(stranger).status_code == 200


@pytest.mark.spec("RFC 6749", "6")
def test_the_token_of_another_application_is_refused_and_stays_good(
    application: Application, project: Project, browser: Client
) -> None:
    make_application(project, "other")
    tokens = get_tokens(browser)
    with nothing_changes():
        response = ask_for_tokens(browser, tokens["refresh_token"], client_id="other")
    assert_api_error(response, *INVALID, "invalid refresh token")
    assert ask_for_tokens(browser, tokens["refresh_token"]).status_code == 200


@pytest.mark.spec("RFC 9700", "4.14.2")
def test_a_token_older_than_the_direct_parent_ends_the_session(application: Application, browser: Client) -> None:
    first = get_tokens(browser)["refresh_token"]
    second = refreshed(browser, first)["refresh_token"]
    third = refreshed(browser, second)
    users = row_counts()
    assert_api_error(ask_for_tokens(browser, first), *INVALID, "invalid refresh token")
    assert row_counts() == users | {"anonusers.AuditEvent": 1}
    assert userinfo(browser, third["access_token"]).status_code == 401
    assert refresh(browser, third["refresh_token"]).status_code == 400


# --- errors that only a new user meets ------------------------------------------------------------


def test_no_new_guest_while_the_feature_is_off(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    configure(application.project, anonymous_users_enabled=False)
    with nothing_changes():
        for nothing in (None, ""):
            assert_api_error(ask_for_tokens(browser, nothing), *INVALID, "anonymous user disallowed")
        assert_api_error(ask_for_tokens(browser, client_id="nobody"), *INVALID, "invalid client ID")
        assert ask_for_tokens(browser, tokens["refresh_token"]).status_code == 200


def test_no_new_guest_while_public_signup_is_disabled(application: Application, browser: Client, settings: Any) -> None:
    tokens = get_tokens(browser)
    settings.ANONUSERS_ADAPTER = "tests.protocols.authgear.adapters.Closed"
    with nothing_changes():
        response = ask_for_tokens(browser)
        assert_api_error(response, 403, "Forbidden", "NoPublicSignup", "public signup is disabled")
        assert ask_for_tokens(browser, tokens["refresh_token"]).status_code == 200


def test_a_veto_of_the_host_is_told_with_its_reasons(application: Application, browser: Client, settings: Any) -> None:
    tokens = get_tokens(browser)
    settings.ANONUSERS_ADAPTER = "tests.protocols.authgear.adapters.Vetoing"
    info = {"event_type": "user.pre_create", "reasons": [{"title": "No", "reason": "We are full"}]}
    with nothing_changes():
        response = ask_for_tokens(browser)
        assert ask_for_tokens(browser, tokens["refresh_token"]).status_code == 200
    assert_api_error(response, 403, "Forbidden", "HookDisallowed", "disallowed by hook event handler", info)


# --- budgets --------------------------------------------------------------------------------------


def over_budget(response: Any) -> None:
    name = "authentication.signup_anonymous"
    info = {
        "bucket_name": "SignupAnonymousPerIP",
        "rate_limit": {"name": name, "group": name},
        "rate_limit_name": name,
    }
    assert_api_error(response, 429, "TooManyRequest", "RateLimited", "request rate limited", info)
    assert 1 <= int(response.headers["Retry-After"]) <= 60


def test_a_budget_per_address_for_both_kinds_together(application: Application, visit: Any, settings: Any) -> None:
    settings.ANONUSERS_SIGNUP_PER_IP = "2/m"
    browser = visit()
    tokens = get_tokens(browser)
    get_cookie(visit())
    with nothing_changes():
        over_budget(ask_for_tokens(visit()))
        over_budget(ask_for_cookie(visit()))
        over_budget(ask_for_tokens(visit(HTTP_X_FORWARDED_FOR="203.0.113.9")))
        assert ask_for_tokens(browser, tokens["refresh_token"]).status_code == 200, "re-use is not counted"
    get_tokens(visit(REMOTE_ADDR="203.0.113.9"))


def test_a_refused_request_costs_nothing(application: Application, visit: Any, settings: Any) -> None:
    settings.ANONUSERS_SIGNUP_PER_IP = "1/m"
    browser = visit()
    post_json(browser, SIGNUP, "{")
    ask_for_tokens(browser, client_id="nobody")
    ask_for_tokens(browser, "garbage")
    configure(application.project, anonymous_users_enabled=False)
    ask_for_tokens(browser)
    configure(application.project, anonymous_users_enabled=True)
    get_tokens(browser)
    over_budget(ask_for_tokens(browser))


def test_an_ipv6_neighbourhood_has_one_budget(application: Application, visit: Any, settings: Any) -> None:
    settings.ANONUSERS_SIGNUP_PER_IP = "1/m"
    get_tokens(visit(REMOTE_ADDR="2001:db8:1:1::1"))
    with nothing_changes():
        over_budget(ask_for_tokens(visit(REMOTE_ADDR="2001:db8:1:1:ffff::2")))
    get_tokens(visit(REMOTE_ADDR="2001:db8:1:2::1"))


def test_behind_our_own_proxy_its_word_about_the_address_counts(
    application: Application, visit: Any, settings: Any
) -> None:
    settings.ANONUSERS_SIGNUP_PER_IP, settings.ANONUSERS_TRUSTED_PROXIES = "1/m", 1
    get_tokens(visit(HTTP_X_FORWARDED_FOR="203.0.113.1"))
    with nothing_changes():
        over_budget(ask_for_tokens(visit(HTTP_X_FORWARDED_FOR="203.0.113.7, 203.0.113.1")))
    get_tokens(visit(HTTP_X_FORWARDED_FOR="203.0.113.1, 203.0.113.2"))


def test_a_budget_per_project(project_a: Project, project_b: Project, visit: Any, settings: Any) -> None:
    settings.ANONUSERS_SIGNUP_PER_PROJECT = "1/m"
    get_tokens(visit("a.localhost", REMOTE_ADDR="203.0.113.1"))
    with nothing_changes():
        response = ask_for_tokens(visit("a.localhost", REMOTE_ADDR="203.0.113.2"))
    assert_api_error(response, 429, "TooManyRequest", "RateLimited", "request rate limited")
    assert int(response.headers["Retry-After"]) >= 1
    get_tokens(visit("b.localhost", REMOTE_ADDR="203.0.113.2"))


def test_the_window_refills(application: Application, browser: Client, settings: Any) -> None:
    settings.ANONUSERS_SIGNUP_PER_IP = "1/m"
    with time_machine.travel("2026-01-01T00:00:00Z", tick=False) as clock:
        get_tokens(browser)
        wait = int(ask_for_tokens(browser).headers["Retry-After"])
        clock.shift(wait + 1)
        get_tokens(browser)


# --- all or nothing -------------------------------------------------------------------------------


class FailingInsert:
    """The database goes away at the n-th statement that inserts (on PostgreSQL one inserts three rows)."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.seen = 0

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(("INSERT", "WITH")):
            self.seen += 1
            if self.seen == self.number:
                raise OperationalError("gone")
        return execute(sql, params, many, context)


INSERTS = 2 if connection.vendor == "postgresql" else 4


@pytest.mark.parametrize("number", range(1, INSERTS + 1))
@pytest.mark.parametrize("ask", [ask_for_tokens, ask_for_cookie], ids=["refresh_token", "cookie"])
def test_a_torn_sign_up_leaves_nothing(
    application: Application, browser: Client, number: int, ask: Callable[[Client], Any]
) -> None:
    with nothing_changes(), connection.execute_wrapper(FailingInsert(number)):
        response = ask(browser)
    assert_api_error(response, 503, "ServiceUnavailable", "ServiceUnavailable")
    assert int(response.headers["Retry-After"]) >= 1
    assert ask(browser).status_code == 200


def test_a_guest_is_made_by_this_many_inserts(application: Application, browser: Client) -> None:
    """Else the test above would have to fail at more places."""
    counter = FailingInsert(0)
    with connection.execute_wrapper(counter):
        get_tokens(browser)
    assert counter.seen == INSERTS


def test_ids_are_random_and_never_in_a_row(application: Application, browser: Client) -> None:
    tokens = [get_tokens(browser) for _ in range(10)]
    ids = EndUser.objects.values_list("pk", flat=True)
    assert len(ids) == 10
    assert_random(ids)
    for name in ("access_token", "refresh_token"):
        assert len({token[name] for token in tokens}) == 10
    assert all(len(token["refresh_token"].rpartition(".")[2]) == 43 for token in tokens), "256 bits"


def test_the_cookie_of_the_same_browser_is_not_looked_at(application: Application, browser: Client) -> None:
    get_cookie(browser)
    before = Session.objects.get().end_user_id
    tokens = get_tokens(browser)
    assert Session.objects.get(kind="token").end_user_id != before
    assert userinfo(browser, tokens["access_token"]).json()[f"{CLAIM}is_anonymous"] is True
    assert browser.cookies[COOKIE].value


def test_the_user_agent_is_kept_printable_and_short(application: Application, browser: Client) -> None:
    get_tokens(Client(HTTP_HOST=HOST, HTTP_USER_AGENT="Browser\x1b[31m\x00" + "x" * 500))
    agent = only_session().user_agent
    assert len(agent) <= 200
    assert agent.isprintable()
