"""A database that goes away in the middle of a log-in by key: everything or nothing, and never "your key is bad"."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from anonusers.models import Application, OneTimeToken, Session
from tests.anonusers.signing import rsa_key
from tests.conftest import row_counts, whole_database
from tests.protocols.authgear.keys import (
    NO_JWK,
    OTHER_KEY_ID,
    ask_to_promote,
    hint_of,
    log_in,
    logged_in,
    refuse,
    request,
)
from tests.protocols.authgear.proofs import proof
from tests.protocols.authgear.steps import (
    TOKEN,
    assert_oauth_error,
    assert_page,
    be_promoted,
    configure,
    flow_of,
    nothing_changes,
    post_form,
)
from tests.protocols.authgear.test_outage import failing

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.spec("authgear.md", "1.9")]


@pytest.fixture
def guest(application: Application, browser: Client) -> Session:
    """The session of a guest who has a device key."""
    logged_in(browser, request(browser))
    return Session.objects.in_full().get()


def other_request(client: Client) -> str:
    return request(client, rsa_key(name="b"), key_id=OTHER_KEY_ID)


class Breaking:
    """A database that goes away at the n-th statement."""

    def __init__(self, at: int) -> None:
        self.at, self.statements = at, 0

    def __call__(self, execute: Any, sql: str, *args: Any) -> Any:
        if sql.lstrip().startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")):
            self.statements += 1
            if self.statements == self.at:
                raise OperationalError("the server closed the connection unexpectedly")
        return execute(sql, *args)


CASES: dict[str, Callable[[Client, Session], str]] = {
    "new": lambda client, session: other_request(client),
    "known": lambda client, session: request(client, header=NO_JWK),
    "retired": lambda client, session: (be_promoted(session.end_user), request(client, header=NO_JWK))[1],
    "superseding": lambda client, session: (
        configure(session.application, max_concurrent_sessions=1),  # type: ignore[arg-type]
        request(client, header=NO_JWK),
    )[1],
}


BrokenAt = Callable[[int, str, dict[str, str]], bool]


@pytest.fixture
def broken_at(guest: Session, browser: Client) -> BrokenAt:
    """Whether there was an n-th statement, at which everything went wrong."""

    def broken_at(at: int, jwt: str, header: dict[str, str]) -> bool:
        breaking = Breaking(at)
        before = whole_database()
        with connection.execute_wrapper(breaking):
            response = log_in(browser, jwt, **header)
        if breaking.statements < at:
            assert response.status_code == 200
            return False
        assert_oauth_error(response, 503, "temporarily_unavailable")
        assert whole_database() == before
        return True

    return broken_at


@pytest.mark.parametrize("header", [dict, proof], ids=["without proof", "with a proof"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_fault_at_any_statement_leaves_nothing_and_the_challenge_good(
    guest: Session,
    browser: Client,
    broken_at: BrokenAt,
    case: Callable[[Client, Session], str],
    header: Callable[[], dict[str, str]],
) -> None:
    """INV9, and what was signed is still good: a phone tries again with the same request."""
    jwt, sent = case(browser, guest), header()
    at = 1
    while broken_at(at, jwt, sent):
        at += 1
    assert at > 6, "the application, the key, the challenge, and some rows at least"
    refuse(browser, jwt)


def test_a_fault_of_ours_in_the_host_leaves_nothing(guest: Session, browser: Client, monkeypatch: Any) -> None:
    jwt = other_request(browser)
    counts = row_counts()
    with monkeypatch.context() as patch:
        patch.setattr("anonusers.adapters.Adapter.create_guest", lambda *_: 1 / 0)
        refuse(browser, jwt, 500, "server_error", "internal server error")
    assert row_counts() == counts
    assert logged_in(browser, jwt)


def test_a_promotion_that_could_not_be_noted_can_be_begun_again(guest: Session, browser: Client) -> None:
    jwt = hint_of(browser)
    with nothing_changes(), failing(OperationalError("gone")):
        assert_page(ask_to_promote(browser, jwt), 503)
    assert flow_of(ask_to_promote(browser, jwt), "promote")


def test_a_bound_refresh_token_survives_a_fault(application: Application, browser: Client) -> None:
    """Its proof is spent or it is not: the SDK makes another one for each try."""
    token = logged_in(browser, request(browser), **proof())["refresh_token"]
    form = {"grant_type": "refresh_token", "client_id": "web", "refresh_token": token}
    at, status = 0, 503
    while status == 503:
        at += 1
        breaking = Breaking(at)
        with connection.execute_wrapper(breaking):
            response = post_form(browser, TOKEN, form, **proof())
        status = response.status_code
        assert Session.objects.get().ended_at is None
    assert status == 200
    assert at > 3
    assert OneTimeToken.objects.filter(purpose="dpop_proof", used_at=None).count() == 0
