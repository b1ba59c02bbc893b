"""POST /api/v1/signup/: who becomes a guest, who stays one, and who does not."""

import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
import time_machine

from anonusers.models import EndUser, OneTimeToken
from anonusers.tokens import secret_hash
from tests.conftest import HOST, ORIGIN, make_application, make_project, row_counts, state_of
from tests.protocols.rest.conftest import COOKIE, SIGNUP, is_problem, session_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]

MADE = {"anonusers.EndUser": 1, "anonusers.AnonymousIdentity": 1, "anonusers.Session": 1, "auth.User": 1}


def grown(before):
    return {label: count - before[label] for label, count in row_counts().items() if count != before[label]}


@time_machine.travel(datetime(2026, 3, 1, 9, 30, tzinfo=UTC), tick=False)
def test_a_token_sign_up_makes_one_guest_and_hands_out_tokens(api, application):
    before = row_counts()
    response = api.sign_up(headers={"User-Agent": "Test/1"})
    assert response.status_code == 201
    assert grown(before) == MADE
    body = response.json()
    end_user = EndUser.objects.get()
    session = session_of(body)
    access_token, refresh_token = body.pop("access_token"), body.pop("refresh_token")
    assert body == {
        "sub": str(end_user.pk),
        "is_anonymous": True,
        "is_verified": False,
        "login_ids": [],
        "created_at": "2026-03-01T09:30:00Z",
        "session": {
            "id": str(session.pk),
            "kind": "token",
            "client_id": "web",
            "user_agent": "Test/1",
            "device": {},
            "created_at": "2026-03-01T09:30:00Z",
            "last_used_at": "2026-03-01T09:30:00Z",
            "expires_at": "2026-03-31T09:30:00Z",
            "current": True,
        },
        "created": True,
        "token_type": "Bearer",
        "expires_in": 1800,
    }
    assert session.refresh_hash == secret_hash(refresh_token), "only the hash is stored"
    claims = jwt.decode(access_token, options={"verify_signature": False})
    assert (claims["iss"], claims["aud"]) == (ORIGIN, [ORIGIN])
    assert (claims["sub"], claims["sid"], claims["client_id"]) == (str(end_user.pk), str(session.pk), "web")
    assert (claims["is_anonymous"], claims["is_verified"]) == (True, False)
    assert api.userinfo(bearer=access_token).json()["sub"] == str(end_user.pk)


def test_a_token_sign_up_sets_no_cookie(api, application):
    api.sign_up()
    assert not api.cookies


def test_no_answer_may_be_cached(api, application):
    response = api.sign_up()
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_the_kind_is_token_unless_asked_for(api, application):
    response = api.call("POST", SIGNUP, {"client_id": "web"})
    assert (response.status_code, response.json()["session"]["kind"]) == (201, "token")


def test_a_cookie_sign_up_makes_one_guest_and_hands_out_a_cookie_and_no_token(api, application):
    before = row_counts()
    response = api.sign_up(kind="cookie")
    assert response.status_code == 201
    assert grown(before) == MADE
    body = response.json()
    assert not {"access_token", "refresh_token", "token_type", "expires_in"} & set(body)
    assert (body["session"]["kind"], body["created"]) == ("cookie", True)
    cookie = response.cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (True, "Lax", "/", "")
    assert (cookie["domain"], cookie["max-age"]) == ("", 31_449_600)
    assert session_of(body).refresh_hash == secret_hash(cookie.value)
    assert cookie.value not in json.dumps(body)
    assert api.userinfo().json()["sub"] == body["sub"]


def test_over_tls_the_cookie_is_secure_and_pinned_to_the_host(api, application):
    response = api.sign_up(kind="cookie", secure=True)
    cookie = response.cookies[f"__Host-{COOKIE}"]
    assert (cookie["secure"], cookie["httponly"], cookie["path"], cookie["domain"]) == (True, True, "/", "")
    assert COOKIE not in response.cookies
    assert api.userinfo(secure=True).status_code == 200


def test_a_cookie_that_is_not_persistent_goes_with_the_browser(api):
    make_application(make_project(session_persistent_cookie=False))
    assert api.sign_up(kind="cookie").cookies[COOKIE]["max-age"] == ""


@pytest.mark.parametrize("application_type", ["spa", "traditional_webapp", "native", ""])
def test_every_type_of_application_that_may_have_guests_gets_them(api, project, application_type):
    make_application(project, type=application_type)
    assert api.sign_up().status_code == 201


@pytest.mark.parametrize("kind", ["token", "cookie"])
@pytest.mark.parametrize("application_type", ["confidential", "third_party_app", "m2m"])
def test_other_types_of_applications_get_none(api, project, application_type, kind):
    make_application(project, type=application_type)
    before = row_counts()
    assert is_problem(api.sign_up(kind=kind), 400, "application_type_not_allowed")
    assert row_counts() == before
    assert not api.cookies


def test_an_opaque_access_token_works_like_a_jwt(api, project):
    make_application(project, issue_jwt_access_token=False)
    body = api.sign_up().json()
    assert body["access_token"].count(".") == 0
    assert api.userinfo(bearer=body["access_token"]).json()["sub"] == body["sub"]


# --- the same guest again -------------------------------------------------------------------------


def assert_same_guest(response, first, before):
    assert response.status_code == 200
    body = response.json()
    assert (body["sub"], body["session"]["id"]) == (first["sub"], first["session"]["id"])
    assert body["created"] is False
    assert "refresh_token" not in body, "the client holds it already"
    assert row_counts() == before
    return body


def test_who_holds_a_cookie_stays_the_same_guest(api, cookie_guest):
    before, row = row_counts(), state_of(session_of(cookie_guest))
    response = api.sign_up(kind="cookie")
    assert_same_guest(response, cookie_guest, before)
    assert state_of(session_of(cookie_guest)) == row
    assert not response.cookies


def test_who_presents_an_access_token_stays_the_same_guest(api, guest):
    before = row_counts()
    body = assert_same_guest(api.sign_up(bearer=guest["access_token"]), guest, before)
    assert api.userinfo(bearer=body["access_token"]).json()["sub"] == guest["sub"]


def test_who_presents_a_refresh_token_stays_the_same_guest_and_keeps_that_token(api, guest):
    before, row = row_counts(), state_of(session_of(guest))
    body = assert_same_guest(api.sign_up(more={"refresh_token": guest["refresh_token"]}), guest, before)
    assert state_of(session_of(guest)) == row
    assert api.userinfo(bearer=body["access_token"]).json()["sub"] == guest["sub"]
    assert api.refresh(guest["refresh_token"]).status_code == 200


def test_a_guest_who_signs_up_again_is_not_told_that_guests_are_off(api, guest, project):
    project.anonymous_users_enabled = False
    project.save()
    before = row_counts()
    assert_same_guest(api.sign_up(bearer=guest["access_token"]), guest, before)


def test_a_token_sign_up_does_not_borrow_the_identity_of_a_cookie(api, cookie_guest):
    body = api.sign_up(kind="token").json()
    assert body["sub"] != cookie_guest["sub"]
    assert api.userinfo().json()["sub"] == cookie_guest["sub"]


def test_a_cookie_sign_up_does_not_borrow_the_identity_of_a_token(api, guest):
    assert api.sign_up(kind="cookie", bearer=guest["access_token"]).json()["sub"] != guest["sub"]


@pytest.mark.parametrize("value", ["", "x", "a.b.c", "attacker-chosen", "AAAAAAAAAAAAAAAAAAAAAA.0." + "A" * 43])
def test_a_cookie_that_is_not_ours_is_never_adopted(api, application, value):
    api.cookies[COOKIE] = value
    response = api.sign_up(kind="cookie")
    assert response.status_code == 201
    assert response.cookies[COOKIE].value != value


def test_an_access_token_that_is_dead_makes_a_new_guest(api, guest):
    session = session_of(guest)
    session.ended_at = session.created_at
    session.save()
    response = api.sign_up(bearer=guest["access_token"])
    assert (response.status_code, response.json()["created"]) == (201, True)
    assert response.json()["sub"] != guest["sub"]


@pytest.mark.parametrize("token", ["x", "AAAAAAAAAAAAAAAAAAAAAA.0." + "A" * 43, "a.0.b"])
def test_a_refresh_token_that_is_dead_is_an_error_and_never_a_new_guest(api, application, token):
    before = row_counts()
    assert is_problem(api.sign_up(more={"refresh_token": token}), 401, "invalid_token")
    assert row_counts() == before


def test_a_refresh_token_of_an_ended_session_is_an_error(api, guest):
    api.call("POST", "/api/v1/logout/", {}, bearer=guest["access_token"])
    before = row_counts()
    assert is_problem(api.sign_up(more={"refresh_token": guest["refresh_token"]}), 401, "invalid_token")
    assert row_counts() == before


def test_a_refresh_token_of_another_application_is_an_error_and_stays_good(api, guest, project):
    make_application(project, "other")
    before, row = row_counts(), state_of(session_of(guest))
    response = api.sign_up("other", more={"refresh_token": guest["refresh_token"]})
    assert is_problem(response, 401, "invalid_token")
    assert (row_counts(), state_of(session_of(guest))) == (before, row)
    assert api.refresh(guest["refresh_token"]).status_code == 200


def test_a_refresh_token_of_another_project_is_an_error_and_stays_good(api, make_api, guest):
    make_application(make_project("second", "second.localhost"))
    other = make_api(HTTP_HOST="second.localhost:8000")
    before, row = row_counts(), state_of(session_of(guest))
    assert is_problem(other.sign_up(more={"refresh_token": guest["refresh_token"]}), 401, "invalid_token")
    assert (row_counts(), state_of(session_of(guest))) == (before, row)
    assert api.refresh(guest["refresh_token"]).status_code == 200


def test_a_refresh_token_does_not_go_with_a_cookie_sign_up(api, guest):
    before = row_counts()
    response = api.sign_up(kind="cookie", more={"refresh_token": guest["refresh_token"]})
    assert is_problem(
        response,
        400,
        "validation_failed",
        errors=[{"pointer": "#/refresh_token", "code": "general", "detail": "goes with the kind token"}],
    )
    assert row_counts() == before
    assert not api.cookies


# --- who is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["token", "cookie"])
def test_a_regular_user_is_not_turned_into_a_guest(api, application, kind):
    answer = api.sign_up(kind=kind).json()
    session_of(answer).end_user.anonymous_identity.delete()
    before, row = row_counts(), state_of(session_of(answer))
    response = api.sign_up(kind=kind, bearer=answer.get("access_token"))
    assert is_problem(response, 409, "user_is_regular")
    assert (row_counts(), state_of(session_of(answer))) == (before, row)
    assert api.userinfo(bearer=answer.get("access_token")).json()["is_anonymous"] is False


def test_a_regular_user_is_not_turned_into_a_guest_by_a_refresh_token_either(api, guest):
    session_of(guest).end_user.anonymous_identity.delete()
    before = row_counts()
    response = api.sign_up(more={"refresh_token": guest["refresh_token"]})
    assert is_problem(response, 409, "user_is_regular")
    assert row_counts() == before


@pytest.mark.parametrize("kind", ["token", "cookie"])
def test_where_guests_are_off_nobody_becomes_one(api, kind):
    make_application(make_project(anonymous_users_enabled=False))
    before = row_counts()
    response = api.sign_up(kind=kind)
    assert is_problem(response, 403, "anonymous_users_disabled", title="Guest accounts are off")
    assert row_counts() == before
    assert not api.cookies


def test_a_guest_goes_on_when_guests_are_turned_off(api, guest, project):
    project.anonymous_users_enabled = False
    project.save()
    assert api.userinfo(bearer=guest["access_token"]).status_code == 200
    assert api.refresh(guest["refresh_token"]).status_code == 200
    assert is_problem(api.sign_up(), 403, "anonymous_users_disabled")


@pytest.mark.parametrize("client_id", ["nobody", "", "WEB", "web ", "' OR 1=1 --", "x" * 100])
def test_an_unknown_application_has_no_guests(api, application, client_id):
    before = row_counts()
    assert is_problem(api.sign_up(client_id), 400, "unknown_application")
    assert row_counts() == before


def test_an_application_is_only_known_at_the_hosts_of_its_project(make_api, application):
    make_project("second", "second.localhost")
    before = row_counts()
    assert is_problem(make_api(HTTP_HOST="second.localhost").sign_up(), 400, "unknown_application")
    assert is_problem(make_api(HTTP_HOST="nobody.localhost").sign_up(), 400, "unknown_application")
    assert row_counts() == before


def test_what_a_client_says_about_itself_in_a_header_is_only_shown(api, application):
    response = api.sign_up(headers={"User-Agent": "a\x1b[31m\tb" + "c" * 300})
    assert response.json()["session"]["user_agent"] == ("a[31mb" + "c" * 300)[:200]


def test_each_visitor_becomes_another_guest(api, application):
    subs = {api.sign_up().json()["sub"] for _ in range(5)}
    assert len(subs) == EndUser.objects.count() == 5
    assert not OneTimeToken.objects.exists()


def test_a_refused_refresh_keeps_the_cookie_of_somebody_else(api, cookie_guest):
    before = row_counts()
    assert is_problem(api.sign_up(more={"refresh_token": "x"}), 401, "invalid_token")
    assert row_counts() == before
    assert api.userinfo().json()["sub"] == cookie_guest["sub"]


def test_the_host_of_the_request_is_the_issuer(make_api, application):
    token = make_api(HTTP_HOST="LOCALHOST:8000").sign_up().json()["access_token"]
    assert jwt.decode(token, options={"verify_signature": False})["iss"] == f"http://{HOST}"


def test_no_access_token_outlives_its_session(api, project):
    make_application(project, access_token_lifetime=300, refresh_token_lifetime=300)
    with time_machine.travel(datetime(2026, 3, 1, tzinfo=UTC), tick=False) as clock:
        first = api.sign_up().json()
        clock.shift(timedelta(seconds=200))
        again = api.sign_up(bearer=first["access_token"]).json()
        assert (first["expires_in"], again["expires_in"]) == (300, 100)
