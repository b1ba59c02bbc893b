"""Races, with real threads on a real PostgreSQL: everything that must happen once happens once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from anonusers import refresh as refreshing
from anonusers import sessions
from anonusers.errors import InvalidToken
from anonusers.models import AnonymousIdentity, Application, EndUser, OneTimeToken, Project, Session
from tests.conftest import HOST

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]


def at_once(count: int, call: Callable[[int], Any]) -> list[Any]:
    """Call `count` times from as many threads, all released at the same moment."""
    barrier = threading.Barrier(count)

    def one(number: int) -> Any:
        try:
            connection.ensure_connection()
            if count > 8 and connection.vendor == "postgresql":
                # A queue that is this long takes longer on a busy machine than a request waits for a lock.
                connection.cursor().execute("SET lock_timeout = '9s'")
            barrier.wait(timeout=30)
            return call(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def post(path: str, body: dict[str, Any], **headers: str) -> Any:
    return Client(HTTP_HOST=HOST).post(path, body, content_type="application/json", headers=headers)


def signup(**headers: str) -> Any:
    return post("/api/v1/signup/", {"client_id": "web", "kind": "token"}, **headers)


def refresh(token: str) -> Any:
    return post("/api/v1/refresh/", {"client_id": "web", "refresh_token": token})


@pytest.mark.spec("RFC 9700", "4.14")
def test_fifty_parallel_refreshes_make_one_step_and_the_session_survives(application):
    first = signup().json()["refresh_token"]
    answers = at_once(50, lambda _: refresh(first))
    assert [answer.status_code for answer in answers] == [200] * 50
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    second = answers[0].json()["refresh_token"]
    session = Session.objects.get()
    assert (session.refresh_generation, session.ended_at) == (1, None)
    third = refresh(second).json()["refresh_token"]
    assert refresh(third).status_code == 200
    # Now the first one is three steps old: its replay ends the session.
    assert refresh(first).json()["code"] == "invalid_token"
    assert refresh(third).status_code == 401
    assert Session.objects.get().ended_at is not None


def test_twenty_rounds_of_two_tabs_never_fork_the_chain(application):
    token = signup().json()["refresh_token"]
    for step in range(20):
        answers = at_once(2, lambda _, token=token: refresh(token))
        assert {answer.status_code for answer in answers} == {200}
        successors = {answer.json()["refresh_token"] for answer in answers}
        assert len(successors) == 1
        token = successors.pop()
        assert Session.objects.get().refresh_generation == step + 1


def test_fifty_parallel_sign_ups_with_one_idempotency_key_make_one_user(application):
    answers = at_once(50, lambda _: signup(**{"idempotency-key": "one-key-for-all-of-them"}))
    assert [answer.status_code for answer in answers] == [201] * 50
    assert len({answer.json()["sub"] for answer in answers}) == 1
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    counts = [model.objects.count() for model in (EndUser, AnonymousIdentity, Session, OneTimeToken)]
    assert counts == [1, 1, 1, 1]
    assert refresh(answers[0].json()["refresh_token"]).status_code == 200


def test_parallel_sign_ups_without_a_key_are_as_many_guests(application):
    answers = at_once(20, lambda _: signup())
    assert len({answer.json()["sub"] for answer in answers}) == 20
    assert [EndUser.objects.count(), AnonymousIdentity.objects.count(), Session.objects.count()] == [20] * 3


def test_a_limit_lets_exactly_its_number_through(application, settings):
    settings.ANONUSERS_SIGNUP_PER_IP = "10/m"
    statuses = [answer.status_code for answer in at_once(40, lambda _: signup())]
    assert (statuses.count(201), statuses.count(429)) == (10, 30)
    assert EndUser.objects.count() == 10


@pytest.mark.parametrize("_round", range(10))
def test_after_a_revocation_nothing_that_a_racing_refresh_minted_is_alive(application, _round):
    first = signup().json()["refresh_token"]

    def either(number: int) -> Any:
        if number % 2:
            return refresh(first)
        return Client(HTTP_HOST=HOST).post("/oauth2/revoke", f"token={first}", "application/x-www-form-urlencoded")

    answers = at_once(4, either)
    assert {answer.status_code for answer in answers} <= {200, 401}
    assert Session.objects.get().ended_at is not None
    for answer in answers:
        if answer.status_code == 200 and answer.content:
            body = answer.json()
            assert refresh(body["refresh_token"]).status_code == 401
            headers = {"authorization": f"Bearer {body['access_token']}"}
            assert Client(HTTP_HOST=HOST).get("/api/v1/userinfo/", headers=headers).status_code == 401


def test_ending_a_session_many_times_ends_it_once(application):
    signup()
    session = Session.objects.in_full().get()
    assert sorted(at_once(20, lambda _: sessions.end_session(session))) == [False] * 19 + [True]


def test_no_guest_is_made_after_the_toggle_is_off(application):
    """The toggle is read with the application's row, at the request: no cache may know better."""
    off = threading.Event()

    def either(number: int) -> Any:
        if number == 0:
            Project.objects.update(anonymous_users_enabled=False)
            off.set()
            return None
        late = off.is_set()
        return late, signup().status_code

    outcomes = [outcome for outcome in at_once(30, either) if outcome]
    assert all(status == 403 for late, status in outcomes if late)
    assert signup().status_code == 403
    assert EndUser.objects.count() == [status for _late, status in outcomes].count(201)


def test_a_session_that_ends_between_select_and_update_is_not_rotated(application, monkeypatch):
    first = signup().json()["refresh_token"]
    original = refreshing._refresh

    def ended_meanwhile(session, presented):
        Session.objects.update(ended_at="2026-01-01T00:00Z")
        return original(session, presented)

    monkeypatch.setattr(refreshing, "_refresh", ended_meanwhile)
    with pytest.raises(InvalidToken):
        refreshing.refresh_session(host="localhost", client_id="web", refresh_token=first, issuer=None)  # type: ignore[arg-type]
    assert Session.objects.get().refresh_generation == 0
    assert Application.objects.count() == 1
