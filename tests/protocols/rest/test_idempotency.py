"""Idempotency-Key: a repeated sign-up makes no second guest, and what is remembered is good for nobody else."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from anonusers.models import EndUser, OneTimeToken
from tests.conftest import make_application, make_project, row_counts, state_of
from tests.protocols.rest.conftest import COOKIE, LOGOUT, Api, is_problem, session_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]

KEY = "0123456789abcdef"


def sign_up(api, key=KEY, **options):
    return api.sign_up(headers={"Idempotency-Key": key}, **options)


def test_a_repeated_sign_up_is_the_same_guest_with_tokens_that_work(application):
    first, again = sign_up(Api()), sign_up(Api())
    assert (first.status_code, again.status_code) == (201, 201)
    assert EndUser.objects.count() == 1
    first, again = first.json(), again.json()
    first.pop("access_token")
    assert first == {key: again[key] for key in first}, "all but the access token, which is new"
    assert Api().userinfo(bearer=again["access_token"]).json()["sub"] == first["sub"]
    assert Api().refresh(again["refresh_token"]).status_code == 200


def test_a_repeated_cookie_sign_up_hands_out_the_same_cookie(application):
    first, again = sign_up(Api(), kind="cookie"), sign_up(Api(), kind="cookie")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.cookies[COOKIE].value == again.cookies[COOKIE].value
    assert first.json() == again.json()
    assert EndUser.objects.count() == 1


def test_the_second_of_two_keys_makes_a_second_guest(application):
    assert sign_up(Api()).json()["sub"] != sign_up(Api(), key=KEY + "x").json()["sub"]


def test_a_repetition_costs_nothing_of_the_budget(application, settings):
    settings.ANONUSERS_SIGNUP_PER_IP = "1/m"
    assert sign_up(Api()).status_code == 201
    assert [sign_up(Api()).status_code for _ in range(3)] == [201] * 3
    assert is_problem(Api().sign_up(), 429, "rate_limited")


def test_a_repetition_is_answered_although_guests_have_been_turned_off(application, project):
    first = sign_up(Api()).json()
    project.anonymous_users_enabled = False
    project.save()
    assert sign_up(Api()).json()["sub"] == first["sub"]
    assert is_problem(sign_up(Api(), key=KEY + "x"), 403, "anonymous_users_disabled")


@pytest.mark.parametrize("other", [{"kind": "cookie"}, {"client_id": "other"}])
def test_the_same_key_with_another_request_is_refused(application, project, other):
    make_application(project, "other")
    sign_up(Api())
    before = row_counts()
    api = Api()
    assert is_problem(sign_up(api, **other), 422, "idempotency_key_reused")
    assert row_counts() == before
    assert not api.cookies


def test_once_the_token_was_rotated_the_first_answer_is_not_given_again(application):
    first = sign_up(Api()).json()
    rotated = Api().refresh(first["refresh_token"]).json()
    before, row = row_counts(), state_of(session_of(first))
    assert is_problem(sign_up(Api()), 409, "idempotency_key_spent")
    assert (row_counts(), state_of(session_of(first))) == (before, row)
    assert Api().refresh(rotated["refresh_token"]).status_code == 200, "and the session is unharmed"


def test_once_the_session_has_ended_the_first_answer_is_not_given_again(application):
    first = sign_up(Api()).json()
    Api().call("POST", LOGOUT, {}, bearer=first["access_token"])
    before = row_counts()
    assert is_problem(sign_up(Api()), 409, "idempotency_key_spent")
    assert row_counts() == before


def test_once_the_session_has_run_out_the_first_answer_is_not_given_again(project):
    make_application(project, refresh_token_idle_timeout=60)
    with time_machine.travel(datetime(2026, 3, 1, tzinfo=UTC), tick=False) as clock:
        first = sign_up(Api()).json()
        clock.shift(timedelta(seconds=61))
        assert is_problem(Api().refresh(first["refresh_token"]), 401, "invalid_token")
        assert is_problem(sign_up(Api()), 409, "idempotency_key_spent")


def test_a_key_is_remembered_for_24_hours(application):
    with time_machine.travel(datetime(2026, 3, 1, tzinfo=UTC), tick=False) as clock:
        first = sign_up(Api()).json()
        clock.shift(timedelta(hours=24) - timedelta(seconds=1))
        assert sign_up(Api()).json()["sub"] == first["sub"]
        clock.shift(timedelta(seconds=1))
        third = sign_up(Api())
        assert (third.status_code, EndUser.objects.count()) == (201, 2)
        assert third.json()["sub"] != first["sub"]
        assert OneTimeToken.objects.count() == 1, "the key now stands for the second guest"
        assert sign_up(Api()).json()["sub"] == third.json()["sub"]


@pytest.mark.parametrize(
    "key",
    ["", "short", "x" * 15, "x" * 256, "with a space in it", "ümläut-ümläut-ümläut", "tab\tin the middle of it"],
)
def test_a_key_that_is_too_short_too_long_or_not_visible_ascii_is_refused(application, key):
    before = row_counts()
    response = sign_up(Api(), key=key)
    assert is_problem(
        response,
        400,
        "bad_request",
        detail="An Idempotency-Key has 16 to 255 visible ASCII characters; a random UUID is good.",
    )
    assert row_counts() == before


@pytest.mark.parametrize("key", ["x" * 16, "x" * 255, "7d485664-45af-4a72-a144-71bc6f3cac92", "!" * 16, "~" * 16])
def test_any_16_to_255_visible_ascii_characters_are_a_key(application, key):
    assert sign_up(Api(), key=key).json()["sub"] == sign_up(Api(), key=key).json()["sub"]


def test_another_project_knows_nothing_of_a_key(application):
    make_application(make_project("second", "second.localhost"))
    first = sign_up(Api()).json()
    second = sign_up(Api(HTTP_HOST="second.localhost:8000"))
    assert second.status_code == 201
    assert second.json()["sub"] != first["sub"]
    assert OneTimeToken.objects.count() == 2


def test_the_database_holds_neither_the_key_nor_the_token_in_clear(application):
    first = sign_up(Api()).json()
    row = OneTimeToken.objects.values().get()
    text = json.dumps(row, default=str)
    secret = first["refresh_token"].rsplit(".", 1)[1]
    for clear in (KEY, first["refresh_token"], secret, first["session"]["id"], first["sub"]):
        assert clear not in text
    # Among the many letters of what is sealed these three come by chance, once in 400 times.
    assert "web" not in text.replace(row["payload"]["answer"], "")
    assert set(row["payload"]) == {"fingerprint", "answer"}


def test_a_refused_sign_up_leaves_its_key_free(application, project, settings):
    settings.ANONUSERS_ADAPTER = "tests.protocols.rest.hosts.Vetoing"
    before = row_counts()
    assert is_problem(sign_up(Api()), 403, "signup_vetoed")
    assert row_counts() == before
    settings.ANONUSERS_ADAPTER = "anonusers.adapters.Adapter"
    assert sign_up(Api()).status_code == 201


def test_a_guest_who_signs_up_again_needs_no_key_and_takes_none(guest):
    before = row_counts()
    response = sign_up(Api(), bearer=guest["access_token"])
    assert (response.status_code, response.json()["sub"]) == (200, guest["sub"])
    assert row_counts() == before
