"""POST /oauth2/revoke: ends what it names, says nothing about it, and helps no stranger."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from anonusers.models import Application, Project
from tests.conftest import make_application, row_counts
from tests.protocols.authgear.steps import (
    CLAIM,
    ENDINGS,
    NO_SUCH_TOKEN,
    REVOKE,
    SLEEPS,
    Ending,
    ask_for_tokens,
    assert_api_error,
    assert_no_session,
    assert_oauth_error,
    bearer,
    configure,
    get_cookie,
    get_tokens,
    nothing_changes,
    only_session,
    post_form,
    refresh,
    refreshed,
    revoke,
    sub_of,
    userinfo,
)
from tests.protocols.authgear.test_signup_refresh_token import GARBAGE

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.spec("authgear.md", "1.12")]


def assert_empty(response: HttpResponse) -> None:
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Cache-Control"] == "no-store"
    assert not response.cookies


def assert_ended(client: Client, tokens: dict[str, Any]) -> None:
    with nothing_changes():
        assert_no_session(userinfo(client, tokens["access_token"]))
        assert_oauth_error(refresh(client, tokens["refresh_token"]), *NO_SUCH_TOKEN)
        response = ask_for_tokens(client, tokens["refresh_token"])
        assert_api_error(response, 400, "Invalid", "Invalid", "invalid refresh token")


# --- what it ends ---------------------------------------------------------------------------------


@pytest.mark.spec("RFC 7009", "2.1")
@pytest.mark.parametrize("jwt_tokens", [True, False], ids=["jwt", "opaque"])
@pytest.mark.parametrize("name", ["refresh_token", "access_token"])
def test_either_token_ends_the_whole_session_at_once(
    application: Application, browser: Client, name: str, jwt_tokens: bool
) -> None:
    configure(application, issue_jwt_access_token=jwt_tokens)
    first = get_tokens(browser)
    tokens = refreshed(browser, first["refresh_token"])
    assert_empty(revoke(browser, tokens[name]))
    assert only_session().ended_at is not None
    assert_ended(browser, tokens)
    assert_no_session(userinfo(browser, first["access_token"]))


@pytest.mark.parametrize("hint", ["refresh_token", "access_token", "nonsense", ""])
@pytest.mark.spec("RFC 7009", "2.1")
def test_a_hint_changes_nothing(application: Application, browser: Client, hint: str) -> None:
    tokens = get_tokens(browser)
    assert_empty(revoke(browser, tokens["refresh_token"], token_type_hint=hint))
    assert_ended(browser, tokens)


def test_the_client_may_name_itself(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    assert_empty(revoke(browser, tokens["refresh_token"], client_id="web"))
    assert_ended(browser, tokens)


def test_the_direct_parent_within_its_grace_ends_the_session_too(application: Application, browser: Client) -> None:
    """A client that lost the answer of its last refresh still wants to log out."""
    parent = get_tokens(browser)
    tokens = refreshed(browser, parent["refresh_token"])
    assert_empty(revoke(browser, parent["refresh_token"]))
    assert_ended(browser, tokens)


def test_only_the_one_session_ends(application: Application, browser: Client) -> None:
    other = get_tokens(browser)
    get_cookie(browser)
    assert_empty(revoke(browser, get_tokens(browser)["refresh_token"]))
    assert userinfo(browser, other["access_token"]).status_code == 200
    assert userinfo(browser).status_code == 200
    assert refresh(browser, other["refresh_token"]).status_code == 200


def test_afterwards_the_visitor_is_somebody_new(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    sub = sub_of(browser, tokens["access_token"])
    revoke(browser, tokens["refresh_token"])
    assert sub_of(browser, get_tokens(browser)["access_token"]) != sub


def test_revoking_again_changes_nothing(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    revoke(browser, tokens["refresh_token"])
    with nothing_changes():
        for name in ("refresh_token", "access_token"):
            assert_empty(revoke(browser, tokens[name]))


# --- what it does not end -------------------------------------------------------------------------


@pytest.mark.spec("RFC 7009", "2.2")
@pytest.mark.parametrize("spoil", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_answered_alike_and_harms_nobody(
    application: Application, browser: Client, spoil: Callable[[str], str]
) -> None:
    tokens = get_tokens(browser)
    with nothing_changes():
        assert_empty(revoke(browser, spoil(tokens["refresh_token"])))
    assert refresh(browser, tokens["refresh_token"]).status_code == 200


@pytest.mark.parametrize("fields", ["", "token=", "token=&client_id=web", "x=1", "client_id=nobody"])
def test_no_token_is_no_error(application: Application, browser: Client, fields: str) -> None:
    get_tokens(browser)
    with nothing_changes():
        assert_empty(post_form(browser, REVOKE, fields))


def test_not_even_a_body_is_needed(application: Application, browser: Client) -> None:
    with nothing_changes():
        assert_empty(browser.generic("POST", REVOKE))


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_the_token_of_a_dead_session_is_answered_alike(
    application: Application, browser: Client, ending: Ending
) -> None:
    tokens = get_tokens(browser)
    ending(only_session())
    before = row_counts()
    for name in ("refresh_token", "access_token"):
        assert_empty(revoke(browser, tokens[name]))
    assert row_counts() == before
    assert_ended(browser, tokens)


@pytest.mark.parametrize(("sleep", "wake"), SLEEPS.values(), ids=SLEEPS)
@pytest.mark.parametrize("name", ["refresh_token", "access_token"])
def test_a_disabled_users_session_does_not_wake_once_revoked(
    application: Application, browser: Client, sleep: Ending, wake: Ending, name: str
) -> None:
    """Acknowledged is durable: whoever reads 200 has logged out, whatever happens to the account afterwards."""
    tokens = get_tokens(browser)
    session = only_session()
    sleep(session)
    assert_empty(revoke(browser, tokens[name]))
    wake(session)
    assert_ended(browser, tokens)


def test_an_id_token_and_a_cookie_are_not_revoked_here(
    application: Application, browser: Client, stranger: Client
) -> None:
    tokens = refreshed(browser, get_tokens(browser)["refresh_token"])
    cookie = get_cookie(stranger)
    with nothing_changes():
        assert_empty(revoke(browser, tokens["id_token"]))
        assert_empty(revoke(browser, cookie))
    assert userinfo(stranger).status_code == 200
    assert refresh(browser, tokens["refresh_token"]).status_code == 200


@pytest.mark.spec("RFC 7009", "2.1")
@pytest.mark.parametrize("client_id", ["other", "nobody", "", "WEB"])
@pytest.mark.parametrize("name", ["refresh_token", "access_token"])
def test_another_client_ends_nothing(
    application: Application, project: Project, browser: Client, client_id: str, name: str
) -> None:
    make_application(project, "other")
    tokens = get_tokens(browser)
    with nothing_changes():
        response = revoke(browser, tokens[name], client_id=client_id)
    assert response.status_code in (200, 400)
    if response.status_code == 400:
        assert_oauth_error(response, 400, "invalid_client")
    assert refresh(browser, tokens["refresh_token"]).status_code == 200


@pytest.mark.spec("RFC 7009", "2.1")
def test_another_client_with_an_old_token_ends_nothing(
    application: Application, project: Project, browser: Client
) -> None:
    make_application(project, "other")
    first = get_tokens(browser)["refresh_token"]
    latest = refreshed(browser, refreshed(browser, first)["refresh_token"])
    with nothing_changes():
        assert_empty(revoke(browser, first, client_id="other"))
    assert refresh(browser, latest["refresh_token"]).status_code == 200


def test_an_old_token_at_its_own_client_ends_the_session(application: Application, browser: Client) -> None:
    first = get_tokens(browser)["refresh_token"]
    latest = refreshed(browser, refreshed(browser, first)["refresh_token"])
    assert_empty(revoke(browser, first))
    assert_ended(browser, latest)


def test_a_token_in_the_url_is_not_looked_at(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    with nothing_changes():
        for name in ("refresh_token", "access_token"):
            assert_empty(post_form(browser, f"{REVOKE}?token={tokens[name]}"))


def test_a_bearer_header_revokes_nothing(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    get_cookie(browser)
    with nothing_changes():
        assert_empty(post_form(browser, REVOKE, "token=", **bearer(tokens["access_token"])))


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete"])
def test_other_methods_revoke_nothing(application: Application, browser: Client, method: str) -> None:
    tokens = get_tokens(browser)
    with nothing_changes():
        response = getattr(browser, method)(f"{REVOKE}?token={tokens['refresh_token']}")
    assert response.status_code == 405
    assert response.headers["Allow"] == "OPTIONS, POST"


# --- faults and events ----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.spec("RFC 7009", "2.2.1")
def test_a_revocation_that_could_not_be_stored_is_not_confirmed(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)

    def no_updates(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE"):
            raise OperationalError("disk full")
        return execute(sql, *rest)

    with nothing_changes(), connection.execute_wrapper(no_updates):
        response = revoke(browser, tokens["refresh_token"])
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert userinfo(browser, tokens["access_token"]).status_code == 200


def test_the_sign_out_is_told_once(
    application: Application, browser: Client, django_capture_on_commit_callbacks: Any
) -> None:
    from anonusers.events import Event, user_signed_out

    heard: list[Event] = []

    def listen(event: Event, **kwargs: Any) -> None:
        heard.append(event)

    user_signed_out.connect(listen)
    try:
        tokens = get_tokens(browser)
        with django_capture_on_commit_callbacks(execute=True):
            revoke(browser, tokens["access_token"])
            revoke(browser, tokens["refresh_token"])
            revoke(browser, "garbage")
    finally:
        user_signed_out.disconnect(listen)
    assert [(event.type, event.session) for event in heard] == [("user.signed_out", only_session())]
    assert only_session().ended_at <= timezone.now()


def test_the_guest_stays_in_the_database(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    assert userinfo(browser, tokens["access_token"]).json()[f"{CLAIM}is_anonymous"] is True
    end_user = only_session().end_user
    revoke(browser, tokens["refresh_token"])
    end_user.refresh_from_db()
    assert end_user.is_guest
    assert end_user.disabled_at is None
