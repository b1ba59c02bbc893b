"""Userinfo, the list of sessions, ending one of them, logging out."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.contrib.auth import get_user_model

from anonusers.models import Session
from anonusers.sessions import open_session
from tests.conftest import make_application, make_project, row_counts, state_of
from tests.protocols.rest.conftest import COOKIE, LOGOUT, SESSIONS, Api, is_problem, session_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]

START = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


def another_session(answer, kind="cookie", user_agent=""):
    """A second session of the same user, and the secret of it."""
    first = session_of(answer)
    return open_session(
        end_user=first.end_user,
        project=first.project,
        application=first.application,
        kind=kind,
        user_agent=user_agent,
    )


def ended(answer):
    return session_of(answer).ended_at is not None


# --- userinfo -------------------------------------------------------------------------------------


def test_userinfo_tells_who_a_bearer_token_is(api, guest):
    response = api.userinfo(bearer=guest["access_token"])
    assert response.status_code == 200
    fields = ("sub", "is_anonymous", "is_verified", "created_at", "login_ids", "session")
    assert response.json() == {field: guest[field] for field in fields}


def test_userinfo_tells_who_a_cookie_is(api, cookie_guest):
    cookie_guest.pop("created")
    assert api.userinfo().json() == cookie_guest


def test_a_regular_user_is_not_anonymous(api, guest):
    session_of(guest).end_user.anonymous_identity.delete()
    me = api.userinfo(bearer=guest["access_token"]).json()
    assert (me["sub"], me["is_anonymous"]) == (guest["sub"], False)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer a.b.c",
        "Basic d2ViOng=",
        "Token {token}",
        "{token}",
        "Bearer {token}x",
    ],
)
def test_without_a_live_session_nobody_is_anybody(api, guest, authorization):
    before = row_counts()
    response = api.userinfo(headers={"Authorization": authorization.format(token=guest["access_token"])})
    assert is_problem(response, 401, "not_signed_in")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="anonusers", DPoP algs="ES256 RS256"'
    assert row_counts() == before


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer"])
def test_the_scheme_is_read_without_regard_to_case(api, guest, scheme):
    response = api.userinfo(headers={"Authorization": f"{scheme} {guest['access_token']}"})
    assert response.status_code == 200


def test_a_cookie_is_read_where_the_bearer_token_is_worthless(api, cookie_guest):
    assert api.userinfo(bearer="x").json()["sub"] == cookie_guest["sub"]


def test_a_bearer_token_goes_before_a_cookie(api, cookie_guest):
    other = Api().sign_up().json()
    assert api.userinfo(bearer=other["access_token"]).json()["sub"] == other["sub"]


def test_a_token_is_not_a_cookie(api, guest):
    for value in (guest["access_token"], guest["refresh_token"]):
        api.cookies[COOKIE] = value
        assert is_problem(api.userinfo(), 401, "not_signed_in")


def test_a_cookie_is_good_only_at_its_project(api, cookie_guest):
    make_application(make_project("second", "second.localhost"))
    other = Api(HTTP_HOST="second.localhost:8000")
    other.cookies[COOKIE] = api.cookies[COOKIE].value
    assert is_problem(other.userinfo(), 401, "not_signed_in")


@pytest.mark.parametrize(("kind", "lifetime"), [("token", 30 * 86_400), ("cookie", 30 * 86_400)])
def test_a_session_ends_to_the_second(api, application, kind, lifetime):
    """The access token lives as long, so that only the session decides."""
    application.access_token_lifetime = application.refresh_token_lifetime
    application.save()
    with time_machine.travel(START, tick=False) as clock:
        token = api.sign_up(kind=kind).json().get("access_token")
        clock.shift(timedelta(seconds=lifetime - 1))
        assert api.userinfo(bearer=token).status_code == 200
        clock.shift(timedelta(seconds=lifetime))  # the request before was a use
        assert is_problem(api.userinfo(bearer=token), 401, "not_signed_in")


def test_a_disabled_user_is_out_at_once_and_back_when_enabled(api, guest):
    end_user = session_of(guest).end_user
    end_user.disabled_at = START
    end_user.save()
    assert is_problem(api.userinfo(bearer=guest["access_token"]), 401, "not_signed_in")
    end_user.disabled_at = None
    end_user.save()
    assert api.userinfo(bearer=guest["access_token"]).status_code == 200


def test_the_hosts_own_switch_counts_too(api, guest):
    get_user_model().objects.update(is_active=False)
    assert is_problem(api.userinfo(bearer=guest["access_token"]), 401, "not_signed_in")


def test_a_session_without_application_has_no_client_id(api, guest):
    session, secret = another_session(guest)
    Session.objects.filter(pk=session.pk).update(application=None)
    api.cookies[COOKIE] = str(secret)
    assert api.userinfo().json()["session"]["client_id"] is None


def test_a_user_that_was_deleted_is_gone(api, guest):
    get_user_model().objects.all().delete()
    assert is_problem(api.userinfo(bearer=guest["access_token"]), 401, "guest_gone")


# --- the list -------------------------------------------------------------------------------------


def test_the_list_has_all_live_sessions_last_used_first(api, application):
    with time_machine.travel(START, tick=False) as clock:
        guest = api.sign_up(headers={"User-Agent": "Phone"}).json()
        clock.shift(timedelta(minutes=5))
        second, _secret = another_session(guest, user_agent="Laptop")
        gone, _secret = another_session(guest)
        Session.objects.filter(pk=gone.pk).update(ended_at=START)
        Api().sign_up()  # somebody else
        clock.shift(timedelta(minutes=5))
        listed = api.call("GET", SESSIONS, bearer=guest["access_token"]).json()
    assert listed == {
        "sessions": [
            {
                "id": guest["session"]["id"],
                "kind": "token",
                "client_id": "web",
                "user_agent": "Phone",
                "device": {},
                "created_at": "2026-03-01T09:30:00Z",
                "last_used_at": "2026-03-01T09:40:00Z",
                "expires_at": "2026-03-31T09:40:00Z",
                "current": True,
            },
            {
                "id": str(second.pk),
                "kind": "cookie",
                "client_id": "web",
                "user_agent": "Laptop",
                "device": {},
                "created_at": "2026-03-01T09:35:00Z",
                "last_used_at": "2026-03-01T09:35:00Z",
                "expires_at": "2026-03-31T09:35:00Z",
                "current": False,
            },
        ]
    }


def test_the_list_holds_no_secret(api, guest):
    text = api.call("GET", SESSIONS, bearer=guest["access_token"]).content.decode()
    assert guest["refresh_token"] not in text
    assert session_of(guest).refresh_hash not in text


def test_nobody_has_no_list(api, application):
    assert is_problem(api.call("GET", SESSIONS), 401, "not_signed_in")


# --- ending one -----------------------------------------------------------------------------------


def test_a_guest_ends_another_session_of_their_own(api, guest):
    second, secret = another_session(guest)
    response = api.call("DELETE", f"{SESSIONS}{second.pk}/", bearer=guest["access_token"])
    assert (response.status_code, response.content) == (204, b"")
    assert not response.cookies
    other = Api()
    other.cookies[COOKIE] = str(secret)
    assert is_problem(other.userinfo(), 401, "not_signed_in")
    assert api.userinfo(bearer=guest["access_token"]).status_code == 200


def test_ending_a_session_ends_all_its_tokens(api, guest):
    rotated = api.refresh(guest["refresh_token"]).json()
    api.call("DELETE", f"{SESSIONS}{guest['session']['id']}/", bearer=guest["access_token"])
    for token in (guest["access_token"], rotated["access_token"]):
        assert is_problem(api.userinfo(bearer=token), 401, "not_signed_in")
    for token in (guest["refresh_token"], rotated["refresh_token"]):
        assert is_problem(api.refresh(token), 401, "invalid_token")


def test_who_ends_the_session_of_their_own_cookie_loses_the_cookie(api, cookie_guest):
    response = api.call("DELETE", f"{SESSIONS}{cookie_guest['session']['id']}/")
    assert response.status_code == 204
    assert (response.cookies[COOKIE].value, response.cookies[COOKIE]["max-age"]) == ("", 0)
    assert ended(cookie_guest)


def test_a_session_of_somebody_else_is_like_one_that_never_was(api, guest):
    other = Api().sign_up().json()
    before, row = row_counts(), state_of(session_of(other))
    theirs = api.call("DELETE", f"{SESSIONS}{other['session']['id']}/", bearer=guest["access_token"])
    nobodys = api.call("DELETE", f"{SESSIONS}{uuid.uuid4()}/", bearer=guest["access_token"])
    assert is_problem(theirs, 404, "unknown_session")
    assert theirs.json() == nobodys.json()
    assert (row_counts(), state_of(session_of(other))) == (before, row)
    assert Api().userinfo(bearer=other["access_token"]).status_code == 200


def test_a_session_of_another_project_is_like_one_that_never_was(api, guest):
    make_application(make_project("second", "second.localhost"))
    other = Api(HTTP_HOST="second.localhost:8000").sign_up().json()
    row = state_of(session_of(other))
    response = api.call("DELETE", f"{SESSIONS}{other['session']['id']}/", bearer=guest["access_token"])
    assert is_problem(response, 404, "unknown_session")
    assert state_of(session_of(other)) == row


def test_a_session_that_has_ended_cannot_end_again(api, guest):
    second, _secret = another_session(guest)
    path = f"{SESSIONS}{second.pk}/"
    assert api.call("DELETE", path, bearer=guest["access_token"]).status_code == 204
    row = state_of(second)
    assert is_problem(api.call("DELETE", path, bearer=guest["access_token"]), 404, "unknown_session")
    assert state_of(second) == row


@pytest.mark.parametrize("name", ["x", "0", "%00", "..", "0b9f0e52-6a5e-4c0f-9c5e-0f2e3f7f0c1", "all"])
def test_a_session_that_is_no_uuid_is_no_endpoint(api, guest, name):
    row = state_of(session_of(guest))
    response = api.call("DELETE", f"{SESSIONS}{name}/", bearer=guest["access_token"])
    assert is_problem(response, 404, "endpoint_not_found")
    assert state_of(session_of(guest)) == row


def test_nobody_ends_nothing(api, guest):
    row = state_of(session_of(guest))
    assert is_problem(api.call("DELETE", f"{SESSIONS}{guest['session']['id']}/"), 401, "not_signed_in")
    assert state_of(session_of(guest)) == row


# --- logging out ----------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [{}, None])
def test_logging_out_with_a_token_ends_its_session(api, guest, body):
    response = api.call("POST", LOGOUT, body, bearer=guest["access_token"])
    assert (response.status_code, response.content) == (204, b"")
    assert not response.cookies
    assert ended(guest)
    assert is_problem(api.userinfo(bearer=guest["access_token"]), 401, "not_signed_in")
    assert is_problem(api.refresh(guest["refresh_token"]), 401, "invalid_token")


@pytest.mark.parametrize("secure", [False, True])
def test_logging_out_with_a_cookie_ends_its_session_and_clears_the_cookie(api, application, secure):
    name = f"__Host-{COOKIE}" if secure else COOKIE
    guest = api.sign_up(kind="cookie", secure=secure).json()
    response = api.call("POST", LOGOUT, {}, secure=secure)
    assert response.status_code == 204
    cookie = response.cookies[name]
    assert (cookie.value, cookie["max-age"], cookie["path"], cookie["samesite"]) == ("", 0, "/", "Lax")
    assert bool(cookie["secure"]) is secure, "a browser drops a __Host- cookie only when told with Secure"
    assert ended(guest)


def test_logging_out_leaves_other_sessions_alone(api, cookie_guest):
    other = Api().sign_up().json()
    second, _secret = another_session(cookie_guest)
    before = row_counts()
    api.call("POST", LOGOUT, {})
    assert row_counts() == before
    assert not ended(other)
    second.refresh_from_db()
    assert second.ended_at is None


def test_logging_out_with_a_token_leaves_the_cookie_alone(api, cookie_guest):
    other = Api().sign_up().json()
    response = api.call("POST", LOGOUT, {}, bearer=other["access_token"])
    assert response.status_code == 204
    assert not response.cookies
    assert (ended(other), ended(cookie_guest)) == (True, False)
    assert api.userinfo().json()["sub"] == cookie_guest["sub"]


def test_nobody_logs_out(api, application):
    assert is_problem(api.call("POST", LOGOUT, {}), 401, "not_signed_in")


def test_who_logged_out_becomes_a_new_guest(api, cookie_guest):
    api.call("POST", LOGOUT, {})
    assert api.sign_up(kind="cookie").json()["sub"] != cookie_guest["sub"]
