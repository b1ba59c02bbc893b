"""Log in over the native API: by password and by code; with and without a guest in hand."""

import re
from datetime import timedelta

import pytest
import time_machine
from django.core import mail
from django.utils import timezone

from anonusers import limits
from anonusers.models import EndUser, OneTimeToken, Promotion, Session
from tests.conftest import APP_ORIGIN, make_application, make_project, row_counts, state_of
from tests.people import EMAIL, PASSWORD, WRONG, last_code, other_than, regular_user
from tests.protocols.rest.conftest import COOKIE, LOGIN, LOGIN_CODE, LOGIN_VERIFY, Api, is_problem, session_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]
NOBODY = "nobody@example.com"
KINDS = pytest.mark.parametrize("kind", ["token", "cookie"])
WAYS = pytest.mark.parametrize("way", ["password", "code"])


@pytest.fixture
def anna(application):
    return regular_user(application)


def by_password(api, login_id=EMAIL, password=PASSWORD, *, client_id="web", kind="token", **options):
    body = {"client_id": client_id, "kind": kind, "login_id": login_id, "password": password}
    return api.call("POST", LOGIN, body, **options)


def ask(api, login_id=EMAIL, client_id="web", **options):
    return api.call("POST", LOGIN_CODE, {"client_id": client_id, "login_id": login_id}, **options)


def verify(api, handle, code, *, client_id="web", kind="token", **options):
    body = {"client_id": client_id, "kind": kind, "handle": handle, "code": code}
    return api.call("POST", LOGIN_VERIFY, body, **options)


def log_in(api, way, **options):
    if way == "password":
        return by_password(api, **options)
    limits.forget()
    handle = ask(api).json()["handle"]
    return verify(api, handle, last_code(), **options)


@KINDS
@WAYS
def test_a_regular_user_logs_in(api, anna, way, kind):
    before = row_counts()
    response = log_in(api, way, kind=kind)
    assert response.status_code == 200
    body = response.json()
    assert (body["sub"], body["is_anonymous"], body["is_verified"]) == (str(anna.pk), False, True)
    assert body["login_ids"] == [{"type": "email", "value": EMAIL, "verified": True}]
    assert "superseded_guest" not in body
    assert (body["session"]["kind"], body["session"]["client_id"]) == (kind, "web")
    assert session_of(body).amr == {"password": "pwd", "code": "otp"}[way]
    grown = {label: count - before[label] for label, count in row_counts().items() if count != before[label]}
    assert grown == {"anonusers.Session": 1} | ({"anonusers.OneTimeToken": 1} if way == "code" else {})
    if kind == "token":
        assert not response.cookies
        assert body["token_type"] == "Bearer"
        assert Api().userinfo(bearer=body["access_token"]).json()["sub"] == body["sub"]
        assert Api().refresh(body["refresh_token"]).status_code == 200
    else:
        assert {"access_token", "refresh_token"}.isdisjoint(body)
        cookie = response.cookies[COOKIE]
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
        assert api.userinfo().json()["sub"] == body["sub"]


@WAYS
def test_every_log_in_is_a_session_of_its_own(anna, way):
    first, second = (log_in(Api(), way).json() for _ in range(2))
    assert first["session"]["id"] != second["session"]["id"]
    assert Api().userinfo(bearer=first["access_token"]).status_code == 200


def test_token_is_the_kind_that_goes_without_saying(api, anna):
    answer = api.call("POST", LOGIN, {"client_id": "web", "login_id": EMAIL, "password": PASSWORD})
    assert answer.json()["session"]["kind"] == "token"


# --- refused ------------------------------------------------------------------------------------------


@KINDS
def test_nobody_a_wrong_password_and_no_password_are_one_answer(api, anna, application, kind):
    regular_user(application, "code@example.com", password=None)
    before = row_counts()
    answers = [
        by_password(api, login_id, password, kind=kind)
        for login_id, password in (
            (EMAIL, WRONG),
            (NOBODY, PASSWORD),
            ("code@example.com", PASSWORD),
            ("anna", PASSWORD),
            ("", ""),
            ("+886912345678", PASSWORD),
        )
    ]
    assert all(is_problem(answer, 401, "credentials_wrong") for answer in answers)
    assert len({answer.content for answer in answers}) == 1
    of_this_answer = ("Date", "X-Request-Id")
    headers = [{key: value for key, value in answer.headers.items() if key not in of_this_answer} for answer in answers]
    assert headers == headers[:1] * len(headers)
    assert not any(answer.cookies for answer in answers)
    assert row_counts() == before


def test_asking_for_a_code_is_one_answer_and_so_are_the_guesses(anna):
    answers = {login_id: ask(Api(), login_id) for login_id in (EMAIL, NOBODY, "nobody", "not a login ID", "")}
    assert {answer.status_code for answer in answers.values()} == {202}
    assert len({tuple(answer.json()) for answer in answers.values()}) == 1
    assert all(re.fullmatch(r"[0-9A-Za-z]{32}", answer.json()["handle"]) for answer in answers.values())
    assert [message.to for message in mail.outbox] == [[EMAIL]]
    wrong = other_than(last_code())
    for login_id, answer in answers.items():
        tries = [verify(Api(), answer.json()["handle"], wrong).json() for _ in range(6)]
        assert [one.get("tries_left") for one in tries] == [4, 3, 2, 1, 0, None], login_id
        assert [one["code"] for one in tries] == ["code_wrong"] * 5 + ["code_expired"]
    assert Session.objects.filter(ended_at=None, end_user=anna).count() == 0


def test_a_code_logs_in_once_and_for_ten_minutes(api, anna):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        answer = ask(api)
        handle, code = answer.json()["handle"], last_code()
        assert answer.json()["expires_at"] == f"{timezone.now() + timedelta(minutes=10):%Y-%m-%dT%H:%M:%SZ}"
        clock.shift(timedelta(minutes=10))
        assert is_problem(verify(api, handle, code), 400, "code_expired")
        handle = ask(api).json()["handle"]
        assert verify(api, handle, last_code()).status_code == 200
        assert is_problem(verify(api, handle, last_code()), 404, "flow_gone")


def test_a_handle_of_promotion_logs_nobody_in_and_the_other_way_round(api, anna, guest):
    body = {"login_id": {"type": "email", "value": "new@example.com"}}
    pending = api.call("POST", "/api/v1/promotion/", body, bearer=guest["access_token"]).json()["promotion"]
    assert is_problem(verify(api, pending["handle"], last_code()), 404, "flow_gone")
    handle = ask(api).json()["handle"]
    entered = {"handle": handle, "code": last_code()}
    answer = api.call("POST", "/api/v1/promotion/verify/", entered, bearer=guest["access_token"])
    assert is_problem(answer, 404, "flow_gone")


def test_another_projects_handle_is_nobodys(api, anna):
    make_application(make_project("second", "second.localhost"))
    handle = ask(api).json()["handle"]
    answer = verify(Api(HTTP_HOST="second.localhost"), handle, last_code())
    assert is_problem(answer, 404, "flow_gone")
    assert verify(api, handle, last_code()).status_code == 200


@WAYS
def test_a_disabled_user_stays_out_and_learns_why(api, anna, way):
    EndUser.objects.filter(pk=anna.pk).update(disabled_at=timezone.now())
    before = Session.objects.count()
    assert is_problem(log_in(api, way), 403, "user_disabled")
    assert Session.objects.count() == before


@WAYS
@pytest.mark.parametrize("kind", ["confidential", "third_party_app", "m2m"])
def test_an_application_without_full_access_logs_nobody_in(api, anna, project, way, kind):
    make_application(project, "backend", type=kind)
    before = Session.objects.count()
    assert is_problem(log_in(api, way, client_id="backend"), 400, "application_type_not_allowed")
    assert Session.objects.count() == before


@pytest.mark.parametrize(
    ("path", "body", "missing"),
    [
        (LOGIN, {}, "client_id, login_id, password"),
        (LOGIN_CODE, {}, "client_id, login_id"),
        (LOGIN_VERIFY, {}, "client_id, code, handle"),
    ],
)
def test_what_is_missing_is_named(api, application, path, body, missing):
    errors = [{"pointer": "#", "code": "required", "detail": f"missing: {missing}"}]
    assert is_problem(api.call("POST", path, body), 400, "validation_failed", errors=errors)


@pytest.mark.parametrize("path", [LOGIN, LOGIN_CODE, LOGIN_VERIFY])
def test_what_is_not_known_or_of_the_wrong_type_is_refused(api, anna, path):
    bodies = {
        LOGIN: {"client_id": "web", "login_id": EMAIL, "password": PASSWORD},
        LOGIN_CODE: {"client_id": "web", "login_id": EMAIL},
        LOGIN_VERIFY: {"client_id": "web", "handle": "x", "code": "123456"},
    }
    before = row_counts()
    for name in bodies[path]:
        answer = api.call("POST", path, bodies[path] | {name: 1})
        errors = [{"pointer": f"#/{name}", "code": "type", "detail": "Not a valid string."}]
        assert is_problem(answer, 400, "validation_failed", errors=errors)
    answer = api.call("POST", path, bodies[path] | {"sub": "x"})
    assert is_problem(answer, 400, "validation_failed")
    assert row_counts() == before


@WAYS
@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_no_foreign_page_logs_a_browser_in(api, anna, way, headers):
    """Login CSRF: a victim who works in the attacker's account."""
    before = Session.objects.count()
    response = log_in(api, way, kind="cookie", headers=headers)
    assert is_problem(response, 403, "untrusted_origin")
    assert not response.cookies
    assert Session.objects.count() == before


def test_a_page_of_the_application_may_read_its_tokens(api, anna):
    response = by_password(api, headers={"Origin": APP_ORIGIN})
    assert response.headers["Access-Control-Allow-Origin"] == APP_ORIGIN


# --- limits -------------------------------------------------------------------------------------------


def test_passwords_are_limited_by_account_and_address_and_tell_when_to_come_back(api, anna):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        statuses = [by_password(api, password=WRONG).status_code for _ in range(11)]
        assert statuses == [401] * 10 + [429]
        answer = by_password(api)
        assert is_problem(answer, 429, "rate_limited")
        assert answer.headers["Retry-After"] == "60"
        assert by_password(api, REMOTE_ADDR="192.0.2.7").status_code == 200, "the owner, elsewhere"
        clock.shift(timedelta(seconds=61))
        assert by_password(api).status_code == 200


@pytest.mark.parametrize("login_id", [EMAIL, NOBODY])
def test_an_account_is_limited_from_everywhere_alike_for_those_that_exist(api, anna, settings, login_id):
    settings.ANONUSERS_LOGIN_PER_ACCOUNT = "3/h"
    statuses = [by_password(api, login_id, WRONG, REMOTE_ADDR=f"192.0.2.{number}").status_code for number in range(5)]
    assert statuses == [401] * 3 + [429] * 2


def test_one_address_is_limited_over_all_accounts(api, anna, settings):
    settings.ANONUSERS_LOGIN_PER_IP = "3/m"
    statuses = [by_password(api, f"user{number}@example.com").status_code for number in range(4)]
    assert statuses == [401] * 3 + [429]


@pytest.mark.parametrize("login_id", [EMAIL, NOBODY])
def test_codes_are_limited_alike_for_those_that_exist(api, anna, login_id):
    with time_machine.travel(timezone.now(), tick=False):
        assert ask(api, login_id).status_code == 202
        before = row_counts()
        answer = ask(api, login_id.upper())
        assert is_problem(answer, 429, "rate_limited")
        assert answer.headers["Retry-After"] == "60"
        assert row_counts() == before


# --- with a guest in hand -----------------------------------------------------------------------------


def with_guest(api, kind):
    """A guest of this kind; `api` holds what it needs, and so do the options."""
    body = api.sign_up(kind=kind).json()
    return session_of(body), {"kind": kind} | ({"bearer": body["access_token"]} if kind == "token" else {})


@KINDS
@pytest.mark.parametrize("policy", ["error", "login"])
def test_a_failure_leaves_the_guest_as_it_was(api, anna, application, kind, policy):
    application.project.promotion_conflict = policy
    application.project.save()
    session, options = with_guest(api, kind)
    handle = ask(api).json()["handle"]
    rows = state_of(session, session.end_user)
    assert is_problem(by_password(api, password=WRONG, **options), 401, "credentials_wrong")
    assert is_problem(verify(api, handle, other_than(last_code()), **options), 400, "code_wrong")
    assert is_problem(verify(api, "x", last_code(), **options), 404, "flow_gone")
    EndUser.objects.filter(pk=anna.pk).update(disabled_at=timezone.now())
    assert is_problem(by_password(api, **options), 403, "user_disabled")
    assert state_of(session, session.end_user) == rows
    bearer = options.get("bearer")
    assert api.userinfo(bearer=bearer).json()["is_anonymous"] is True


@KINDS
@WAYS
def test_under_login_the_guest_is_superseded(api, anna, application, way, kind):
    application.project.promotion_conflict = "login"
    application.project.save()
    session, options = with_guest(api, kind)
    body = log_in(api, way, **options).json()
    assert (body["sub"], body["superseded_guest"]) == (str(anna.pk), str(session.end_user_id))
    assert Session.objects.get(pk=session.pk).ended_at is not None
    row = Promotion.objects.get(end_user=session.end_user_id)
    assert (row.outcome, row.superseded_by, row.application) == ("superseded", anna, application)
    assert EndUser.objects.get(pk=session.end_user_id).is_guest


@KINDS
@WAYS
def test_under_error_the_guest_is_left_alone(api, anna, way, kind):
    session, options = with_guest(api, kind)
    rows = state_of(session, session.end_user)
    body = log_in(api, way, **options).json()
    assert body["sub"] == str(anna.pk)
    assert "superseded_guest" not in body
    assert state_of(session, session.end_user) == rows
    assert not Promotion.objects.filter(end_user=session.end_user).exists()


def test_a_cookie_of_a_guest_is_not_left_by_a_log_in_for_tokens(api, anna, application):
    """A script's tokens are not the browser's session."""
    application.project.promotion_conflict = "login"
    application.project.save()
    session, _options = with_guest(api, "cookie")
    assert "superseded_guest" not in by_password(api, kind="token").json()
    assert Session.objects.get(pk=session.pk).ended_at is None


def test_who_is_logged_in_already_may_log_in_as_another(api, anna, application):
    application.project.promotion_conflict = "login"
    application.project.save()
    other = regular_user(application, "other@example.com")
    first = by_password(api).json()
    second = by_password(api, "other@example.com", bearer=first["access_token"]).json()
    assert (second["sub"], "superseded_guest" in second) == (str(other.pk), False)
    assert api.userinfo(bearer=first["access_token"]).status_code == 200


def test_no_secret_reaches_the_log(api, anna, caplog):
    caplog.set_level("DEBUG")
    by_password(api, password=WRONG)
    body = by_password(api).json()
    handle = ask(api).json()["handle"]
    verify(api, handle, last_code())
    secrets = [PASSWORD, WRONG, last_code(), handle, body["access_token"], body["refresh_token"]]
    logged = " ".join(record.getMessage() for record in caplog.records if record.name != "django.db.backends")
    assert not [secret for secret in secrets if secret in logged]
    assert OneTimeToken.objects.filter(used_at=None).count() == 0


@pytest.mark.parametrize(("allowed", "first"), [(0, 200), (1, 401)])
def test_where_one_session_is_allowed_logging_in_ends_the_one_before(project, allowed, first):
    application = make_application(project, max_concurrent_sessions=allowed)
    regular_user(application)
    body = {"client_id": "web", "kind": "token", "login_id": EMAIL, "password": PASSWORD}
    one, two = (Api().call("POST", LOGIN, body).json() for _ in range(2))
    assert Api().call("GET", "/api/v1/userinfo/", bearer=one["access_token"]).status_code == first
    assert Api().call("GET", "/api/v1/userinfo/", bearer=two["access_token"]).status_code == 200
