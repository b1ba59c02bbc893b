"""POST /api/v1/refresh/: new tokens, rotation with its grace, and what a stolen token does."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from tests.conftest import make_application, make_project, row_counts, state_of
from tests.protocols.rest.conftest import REFRESH, USERINFO, Api, is_problem, session_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]

START = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_refresh_token_gets_a_new_access_token_and_a_new_refresh_token(api, guest):
    before = row_counts()
    response = api.refresh(guest["refresh_token"])
    assert response.status_code == 200
    body = response.json()
    assert set(body) == {"token_type", "access_token", "expires_in", "refresh_token"}
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 1800)
    assert body["refresh_token"] != guest["refresh_token"]
    assert body["access_token"] != guest["access_token"]
    assert row_counts() == before, "a session is one row, however often it is refreshed"
    me = api.userinfo(bearer=body["access_token"]).json()
    assert (me["sub"], me["session"]["id"]) == (guest["sub"], guest["session"]["id"])


def test_where_tokens_are_not_rotated_there_is_no_new_one(api, project):
    make_application(project, refresh_token_rotation_enabled=False)
    guest = api.sign_up().json()
    for _ in range(3):
        assert set(api.refresh(guest["refresh_token"]).json()) == {"token_type", "access_token", "expires_in"}


def test_an_expired_access_token_is_no_obstacle(api, application):
    with time_machine.travel(START, tick=False) as clock:
        guest = api.sign_up().json()
        clock.shift(timedelta(seconds=1800))
        assert is_problem(api.userinfo(bearer=guest["access_token"]), 401, "not_signed_in")
        assert api.userinfo(bearer=api.refresh(guest["refresh_token"]).json()["access_token"]).status_code == 200


def test_for_30_seconds_the_old_token_leads_to_the_same_new_one(api, application):
    with time_machine.travel(START, tick=False) as clock:
        guest = api.sign_up().json()
        first = api.refresh(guest["refresh_token"]).json()
        clock.shift(timedelta(seconds=30))
        again = api.refresh(guest["refresh_token"]).json()
        assert again["refresh_token"] == first["refresh_token"]
        assert api.userinfo(bearer=again["access_token"]).status_code == 200


def test_after_30_seconds_the_old_token_ends_the_session_for_everybody(api, application):
    with time_machine.travel(START, tick=False) as clock:
        guest = api.sign_up().json()
        rotated = api.refresh(guest["refresh_token"]).json()
        clock.shift(timedelta(seconds=31))
        assert is_problem(api.refresh(guest["refresh_token"]), 401, "invalid_token")
        assert is_problem(api.refresh(rotated["refresh_token"]), 401, "invalid_token")
        assert is_problem(api.userinfo(bearer=rotated["access_token"]), 401, "not_signed_in")
        assert session_of(guest).ended_at == START + timedelta(seconds=31)


def test_a_grandparent_ends_the_session_even_within_the_grace(api, guest):
    second = api.refresh(guest["refresh_token"]).json()
    third = api.refresh(second["refresh_token"]).json()
    assert is_problem(api.refresh(guest["refresh_token"]), 401, "invalid_token")
    assert is_problem(api.refresh(third["refresh_token"]), 401, "invalid_token")


def test_a_signing_up_client_may_present_the_direct_parent_too(api, guest):
    rotated = api.refresh(guest["refresh_token"]).json()
    assert api.sign_up(more={"refresh_token": guest["refresh_token"]}).json()["sub"] == guest["sub"]
    assert api.refresh(rotated["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    "token",
    ["", "x", "a.b.c", "AAAAAAAAAAAAAAAAAAAAAA.0." + "A" * 43, "AAAAAAAAAAAAAAAAAAAAAA.ffffffff." + "A" * 43],
)
def test_a_token_that_is_not_ours_is_refused(api, guest, token):
    before, row = row_counts(), state_of(session_of(guest))
    assert is_problem(api.refresh(token), 401, "invalid_token")
    assert (row_counts(), state_of(session_of(guest))) == (before, row)


def test_a_forged_token_of_a_known_session_does_not_end_it(api, guest):
    session_part = guest["refresh_token"].split(".")[0]
    before, row = row_counts(), state_of(session_of(guest))
    for generation in ("0", "1", "5"):
        assert is_problem(api.refresh(f"{session_part}.{generation}.{'A' * 43}"), 401, "invalid_token")
    assert (row_counts(), state_of(session_of(guest))) == (before, row)
    assert api.refresh(guest["refresh_token"]).status_code == 200


def test_an_access_token_is_not_a_refresh_token(api, guest, project):
    before = row_counts()
    # The JWT is longer than any refresh token, so that it fails as a field already.
    assert is_problem(api.refresh(guest["access_token"]), 400, "validation_failed")
    opaque = make_application(project, "opaque", issue_jwt_access_token=False)
    token = api.sign_up(opaque.client_id).json()["access_token"]
    assert is_problem(api.refresh(token, "opaque"), 401, "invalid_token")
    assert row_counts()["anonusers.Session"] == before["anonusers.Session"] + 1


def test_a_refresh_token_is_not_an_access_token(api, guest):
    assert is_problem(api.userinfo(bearer=guest["refresh_token"]), 401, "not_signed_in")


def test_a_cookie_is_not_a_refresh_token(api, cookie_guest):
    before, row = row_counts(), state_of(session_of(cookie_guest))
    value = api.cookies["anonusers_session"].value
    assert is_problem(Api().refresh(value), 401, "invalid_token")
    assert is_problem(Api().userinfo(bearer=value), 401, "not_signed_in")
    assert (row_counts(), state_of(session_of(cookie_guest))) == (before, row)


def test_a_token_of_another_application_is_refused_and_stays_good(api, guest, project):
    make_application(project, "other")
    row = state_of(session_of(guest))
    assert is_problem(api.refresh(guest["refresh_token"], "other"), 401, "invalid_token")
    assert state_of(session_of(guest)) == row
    assert api.refresh(guest["refresh_token"]).status_code == 200


def test_a_token_of_another_project_is_refused_and_stays_good(api, make_api, guest):
    make_application(make_project("second", "second.localhost"))
    row = state_of(session_of(guest))
    second = make_api(HTTP_HOST="second.localhost:8000")
    assert is_problem(second.refresh(guest["refresh_token"]), 401, "invalid_token")
    assert is_problem(second.userinfo(bearer=guest["access_token"]), 401, "not_signed_in")
    assert state_of(session_of(guest)) == row
    assert api.refresh(guest["refresh_token"]).status_code == 200


def test_an_unknown_application_is_told_apart_from_a_dead_token(api, guest):
    row = state_of(session_of(guest))
    assert is_problem(api.refresh(guest["refresh_token"], "nobody"), 400, "unknown_application")
    assert state_of(session_of(guest)) == row


def test_a_disabled_user_is_refused_and_welcome_again_when_enabled(api, guest):
    end_user = session_of(guest).end_user
    end_user.disabled_at = end_user.created_at
    end_user.save()
    assert is_problem(api.refresh(guest["refresh_token"]), 401, "invalid_token")
    end_user.disabled_at = None
    end_user.save()
    assert api.refresh(guest["refresh_token"]).status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_a_token_is_never_taken_from_a_url(api, guest, method):
    path = f"{REFRESH}?client_id=web&refresh_token={guest['refresh_token']}"
    assert is_problem(api.call(method, path), 405, "method_refused")
    assert is_problem(api.call("GET", f"{USERINFO}?access_token={guest['access_token']}"), 401, "not_signed_in")
