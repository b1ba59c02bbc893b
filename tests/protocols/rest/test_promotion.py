"""Keep the account over the native API: in one call, or by a code; by token and by cookie."""

import re
from datetime import timedelta

import pytest
import time_machine
from django.core import mail
from django.utils import timezone

from anonusers import events, limits
from anonusers.models import EndUser, LoginID, Promotion, Session
from tests.conftest import make_application, make_project, row_counts, state_of
from tests.people import EMAIL, PASSWORD, WRONG, last_code, new_guest, other_than, regular_user
from tests.protocols.rest.conftest import (
    COOKIE,
    LOGIN,
    PROMOTE,
    PROMOTION,
    SESSIONS,
    SIGNUP,
    VERIFY,
    Api,
    is_problem,
    session_of,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]
LOGIN_ID = {"type": "email", "value": EMAIL}
HANDLE = re.compile(r"[0-9A-Za-z]{32}")


class Person:
    """A guest with a session of one kind."""

    def __init__(self, kind, client_id="web"):
        self.kind, self.api = kind, Api()
        answer = self.api.sign_up(client_id, kind)
        assert answer.status_code == 201
        self.remember(answer.json())

    def remember(self, body):
        self.answer, self.sub = body, body["sub"]
        self.bearer = body.get("access_token")
        self.secret = body.get("refresh_token") or self.api.cookies[COOKIE].value
        return body

    @property
    def session(self):
        return session_of(self.answer)

    def call(self, method, path, body=None, **options):
        return self.api.call(method, path, body, bearer=self.bearer, **options)

    def promote(self, password=PASSWORD, **login_id):
        return self.call("POST", PROMOTE, {"login_id": LOGIN_ID | login_id, "password": password})

    def begin(self, value=EMAIL, **more):
        answer = self.call("POST", PROMOTION, {"login_id": LOGIN_ID | {"value": value}} | more)
        assert answer.status_code == 202, answer.content
        self.handle = answer.json()["promotion"]["handle"]
        return answer

    def verify(self, code=None, handle=None):
        return self.call("POST", VERIFY, {"handle": handle or self.handle, "code": code or last_code()})


@pytest.fixture(params=["token", "cookie"])
def person(request, application):
    return Person(request.param)


def user_of(body):
    return EndUser.objects.get(pk=body["sub"])


def is_kept(person, answer, *, verified, sub=None):
    """The one session that is left is the new one, of the same kind and through the same application."""
    assert answer.status_code == 200, answer.content
    before, body = person.session, answer.json()
    assert body["sub"] == (sub or person.sub)
    assert (body["is_anonymous"], body["is_verified"]) == (False, verified)
    assert body["login_ids"] == [{"type": "email", "value": EMAIL, "verified": verified}]
    assert (body["session"]["kind"], body["session"]["client_id"]) == (person.kind, "web")
    assert body["session"]["current"] is True
    assert before.ended_at is not None
    assert [str(row.pk) for row in Session.objects.filter(ended_at=None)] == [body["session"]["id"]]
    if person.kind == "token":
        assert body["refresh_token"] != person.secret
        assert not answer.cookies
        assert Api().userinfo(bearer=person.bearer).status_code == 401
        assert Api().refresh(person.secret).status_code == 401
    else:
        assert {"access_token", "refresh_token"}.isdisjoint(body)
        assert answer.cookies[COOKIE].value != person.secret
        assert answer.cookies[COOKIE]["httponly"]
        old = Api()
        old.cookies[COOKIE] = person.secret
        assert old.userinfo().status_code == 401
    person.remember(body)
    info = person.call("GET", "/api/v1/userinfo/").json()
    assert info == {key: body[key] for key in info}
    return True


# --- in one call --------------------------------------------------------------------------------------


def test_one_call_makes_a_regular_user_with_the_same_sub(person):
    before = row_counts()
    assert is_kept(person, person.promote(), verified=False)
    grown = {label: count - before[label] for label, count in row_counts().items() if count != before[label]}
    assert grown == {
        "anonusers.AnonymousIdentity": -1,
        "anonusers.AuditEvent": 2,  # started, and done
        "anonusers.LoginID": 1,
        "anonusers.Promotion": 1,
        "anonusers.Session": 1,
    }
    assert Promotion.objects.get().application.client_id == "web"
    assert Session.objects.get(ended_at=None).amr == "pwd"


def test_the_new_tokens_refresh_and_tell_apart(application):
    person = Person("token")
    body = person.promote().json()
    answer = Api().refresh(body["refresh_token"]).json()
    info = Api().userinfo(bearer=answer["access_token"]).json()
    assert (info["sub"], info["is_anonymous"]) == (person.sub, False)


def test_afterwards_they_log_in_anywhere(person):
    person.promote()
    body = {"client_id": "web", "kind": "token", "login_id": EMAIL.upper(), "password": PASSWORD}
    answer = Api().call("POST", LOGIN, body)
    assert (answer.status_code, answer.json()["sub"]) == (200, person.sub)


def test_other_devices_of_the_guest_do_not_come_along(application):
    person, other = Person("token"), Person("cookie")
    Session.objects.filter(pk=other.session.pk).update(end_user=person.session.end_user)
    assert is_kept(person, person.promote(), verified=False)
    assert other.call("GET", "/api/v1/userinfo/").status_code == 401


def test_a_regular_user_is_not_signed_up_as_a_guest_again(person):
    person.remember(person.promote().json())
    answer = person.call("POST", SIGNUP, {"client_id": "web", "kind": person.kind})
    assert is_problem(answer, 409, "user_is_regular")
    assert is_problem(person.promote(value="other@example.com"), 409, "user_is_regular")
    assert LoginID.objects.count() == 1


@pytest.mark.parametrize(
    ("type", "value", "shown"),
    [("username", "Anna", "Anna"), ("phone", "+886 0912-345-678", "+886912345678"), ("email", EMAIL, EMAIL)],
)
def test_every_kind_of_login_id_is_kept(application, type, value, shown):
    application.project.login_ids = ["email", "phone", "username"]
    application.project.save()
    answer = Person("token").promote(type=type, value=value)
    assert answer.json()["login_ids"] == [{"type": type, "value": shown, "verified": False}]


def test_where_the_project_wants_it_verified_nothing_changes_before(person):
    project = person.session.project
    project.verify = ["email"]
    project.save()
    rows = state_of(person.session, user_of(person.answer))
    answer = person.promote()
    assert answer.status_code == 202
    promotion = answer.json()["promotion"]
    assert HANDLE.fullmatch(promotion["handle"])
    assert promotion["sent_to"] == "a…@example.com"
    assert state_of(person.session, user_of(person.answer)) == rows
    assert LoginID.objects.count() == 0
    assert is_kept(person, person.verify(handle=promotion["handle"]), verified=True)
    assert user_of(person.answer).user.check_password(PASSWORD)


# --- in two calls -------------------------------------------------------------------------------------


@pytest.mark.parametrize("password", [None, PASSWORD])
def test_a_code_keeps_the_account(person, password):
    before = row_counts()
    person.begin(**({"password": password} if password else {}))
    grown = {label: count - before[label] for label, count in row_counts().items() if count != before[label]}
    assert grown == {"anonusers.AuditEvent": 1, "anonusers.OneTimeToken": 1}
    assert mail.outbox[0].to == [EMAIL]
    assert is_kept(person, person.verify(), verified=True)
    assert user_of(person.answer).user.has_usable_password() is bool(password)
    assert Session.objects.get(ended_at=None).amr == "otp"


def test_a_phone_number_gets_its_code_by_text_message(application, capsys):
    application.project.login_ids = ["phone"]
    application.project.save()
    person = Person("token")
    body = {"login_id": {"type": "phone", "value": "+886 912 345 678"}}
    promotion = person.call("POST", PROMOTION, body).json()["promotion"]
    assert promotion["sent_to"] == "+88…78"
    printed = capsys.readouterr().out
    assert printed.startswith("To +886912345678: ")
    body = person.verify(printed.split()[2], promotion["handle"]).json()
    assert body["login_ids"] == [{"type": "phone", "value": "+886912345678", "verified": True}]


def test_what_is_pending_is_shown_without_its_secret(person):
    begun = person.begin().json()["promotion"]
    answer = person.call("GET", f"{PROMOTION}{person.handle}/")
    assert answer.json() == {"promotion": {key: begun[key] for key in ("sent_to", "expires_at")}}
    assert last_code() not in answer.content.decode()


def test_another_code_voids_the_first_one(person):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        begun, first = person.begin().json()["promotion"], last_code()
        early = person.call("POST", f"{PROMOTION}{person.handle}/resend/", {})
        assert is_problem(early, 429, "rate_limited")
        assert early.headers["Retry-After"] == "60"
        clock.shift(timedelta(seconds=60))
        again = person.call("POST", f"{PROMOTION}{person.handle}/resend/")  # no body is a body
        assert again.status_code == 202
        assert "handle" not in again.json()["promotion"]
        assert again.json()["promotion"]["expires_at"] > begun["expires_at"]
        if first != last_code():
            assert is_problem(person.verify(first), 400, "code_wrong")
        assert person.verify().status_code == 200


def test_who_cancels_stays_a_guest_and_the_address_stays_free(person):
    person.begin()
    assert person.call("DELETE", f"{PROMOTION}{person.handle}/").status_code == 204
    for answer in (
        person.verify(),
        person.call("GET", f"{PROMOTION}{person.handle}/"),
        person.call("DELETE", f"{PROMOTION}{person.handle}/"),
        person.call("POST", f"{PROMOTION}{person.handle}/resend/", {}),
    ):
        assert is_problem(answer, 404, "flow_gone")
    assert user_of(person.answer).is_guest
    limits.forget()
    assert is_kept(person, (person.begin(), person.verify())[1], verified=True)


def test_five_tries_and_a_new_code_is_needed(person):
    person.begin()
    code = last_code()
    left = []
    for _ in range(5):
        answer = person.verify(other_than(code))
        assert is_problem(answer, 400, "code_wrong")
        left.append(answer.json()["tries_left"])
    assert left == [4, 3, 2, 1, 0]
    assert is_problem(person.verify(code), 400, "code_expired")
    assert user_of(person.answer).is_guest
    assert person.session.ended_at is None
    limits.forget()
    person.call("POST", f"{PROMOTION}{person.handle}/resend/", {})
    assert person.verify().status_code == 200


def test_after_ten_minutes_a_code_has_expired(person):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        person.begin()
        clock.shift(timedelta(minutes=10))
        assert is_problem(person.verify(), 400, "code_expired")
        clock.shift(timedelta(minutes=15))
        assert is_problem(person.verify(), 404, "flow_gone")


def test_a_handle_is_of_use_to_its_guest_only(person):
    person.begin()
    code, thief = last_code(), Person("token")
    nobody = Api()
    for method, path, body in (
        ("GET", f"{PROMOTION}{person.handle}/", None),
        ("DELETE", f"{PROMOTION}{person.handle}/", None),
        ("POST", f"{PROMOTION}{person.handle}/resend/", {}),
        ("POST", VERIFY, {"handle": person.handle, "code": code}),
    ):
        assert is_problem(thief.call(method, path, body), 404, "flow_gone")
        assert is_problem(nobody.call(method, path, body), 401, "not_signed_in")
    assert user_of(person.answer).is_guest
    assert user_of(thief.answer).is_guest
    assert person.verify(code).status_code == 200


def test_a_handle_is_of_no_use_in_another_project(application):
    person = Person("token")
    person.begin()
    make_application(make_project("second", "second.localhost"))
    other = Api(HTTP_HOST="second.localhost")
    bearer = other.sign_up().json()["access_token"]
    answer = other.call("POST", VERIFY, {"handle": person.handle, "code": last_code()}, bearer=bearer)
    assert is_problem(answer, 404, "flow_gone")


@pytest.mark.parametrize("handle", ["x", "%00", "..%2f..", "A" * 32, "💥", "a" * 500])
def test_a_handle_that_is_none_is_404(person, handle):
    answer = person.call("GET", f"{PROMOTION}{handle}/")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


# --- refused, and the guest is what it was ------------------------------------------------------------


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("", "too short"),
        ("walrus", "too short"),
        ("iloveyou", "too common"),
        ("47110815", "numeric"),
        (EMAIL, "too similar"),
    ],
)
def test_a_weak_password_is_refused_with_reasons(person, password, words):
    before, rows = row_counts(), state_of(person.session)
    answer = person.promote(password)
    assert is_problem(answer, 400, "weak_password")
    assert all(cause["pointer"] == "#/password" for cause in answer.json()["errors"])
    assert any(words in cause["detail"] for cause in answer.json()["errors"])
    if password:
        assert password not in answer.content.decode()
    assert (row_counts(), state_of(person.session)) == (before, rows)


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, [("#", "required", "missing: login_id, password")]),
        ({"login_id": EMAIL, "password": PASSWORD}, [("#/login_id", "type", "must be an object")]),
        ({"login_id": 1, "password": PASSWORD}, [("#/login_id", "type", "must be an object")]),
        ({"login_id": [], "password": PASSWORD}, [("#/login_id", "type", "must be an object")]),
        ({"login_id": None, "password": PASSWORD}, [("#/login_id", "type", "This field may not be null.")]),
        ({"login_id": {}, "password": PASSWORD}, [("#/login_id", "required", "missing: type, value")]),
        (
            {"login_id": LOGIN_ID | {"verified": True}, "password": PASSWORD},
            [("#/login_id/verified", "general", "is not a known key")],
        ),
        (
            {"login_id": {"type": "card", "value": 1}, "password": PASSWORD},
            [
                ("#/login_id/type", "enum", '"card" is not a valid choice.'),
                ("#/login_id/value", "type", "Not a valid string."),
            ],
        ),
        (
            {"login_id": LOGIN_ID, "password": "x" * 4097},
            [("#/password", "general", "Ensure this field has no more than 4096 characters.")],
        ),
        ({"login_id": LOGIN_ID, "password": 12345678}, [("#/password", "type", "Not a valid string.")]),
        (
            {"login_id": LOGIN_ID, "password": PASSWORD, "is_staff": True},
            [("#/is_staff", "general", "is not a known key")],
        ),
        ({"login_id": LOGIN_ID, "password": PASSWORD, "sub": "x"}, [("#/sub", "general", "is not a known key")]),
    ],
)
def test_what_is_wrong_in_a_body_is_named_with_its_place(person, body, errors):
    before = row_counts()
    answer = person.call("POST", PROMOTE, body)
    wanted = [{"pointer": pointer, "code": code, "detail": detail} for pointer, code, detail in errors]
    assert is_problem(answer, 400, "validation_failed", errors=wanted)
    assert row_counts() == before


@pytest.mark.parametrize("policy", ["error", "login"])
def test_a_taken_address_is_not_given_by_a_password_alone(person, application, policy):
    application.project.promotion_conflict = policy
    application.project.save()
    regular_user(application)
    rows = state_of(person.session, user_of(person.answer))
    assert is_problem(person.promote(), 409, "login_id_taken")
    assert state_of(person.session, user_of(person.answer)) == rows
    assert person.call("GET", "/api/v1/userinfo/").json()["is_anonymous"] is True


def test_begin_shows_nobody_whether_an_address_is_taken(application):
    regular_user(application)
    shown = []
    for value in (EMAIL, "free@example.com"):
        promotion = Person("token").begin(value).json()["promotion"]
        assert HANDLE.fullmatch(promotion.pop("handle"))
        shown.append((sorted(promotion), promotion["sent_to"][1:]))
    assert shown[0] == shown[1]
    assert len(mail.outbox) == 2


def test_under_error_a_proven_address_that_is_taken_is_an_error(person, application):
    owner = regular_user(application)
    person.begin()
    rows = state_of(person.session, user_of(person.answer), owner)
    assert is_problem(person.verify(), 409, "login_id_taken")
    assert state_of(person.session, user_of(person.answer), owner) == rows
    assert person.call("GET", "/api/v1/userinfo/").json()["is_anonymous"] is True


def test_under_login_a_proven_address_that_is_taken_is_that_account(person, application):
    application.project.promotion_conflict = "login"
    application.project.save()
    owner = regular_user(application)
    person.begin()
    guest = person.sub
    assert is_problem(person.verify(other_than(last_code())), 400, "code_wrong")
    assert person.session.ended_at is None
    answer = person.verify()
    assert answer.json()["superseded_guest"] == guest
    assert is_kept(person, answer, verified=True, sub=str(owner.pk))
    row = Promotion.objects.get(end_user=guest)
    assert (row.outcome, row.superseded_by) == ("superseded", owner)


def test_the_owner_of_a_claimed_address_throws_the_claimant_out(application):
    attacker = Person("token")
    stolen = attacker.promote().json()
    owner = Person("token")
    owner.begin()
    assert is_problem(owner.verify(), 409, "login_id_taken")
    body = {"client_id": "web", "login_id": EMAIL, "password": PASSWORD}
    assert is_problem(Api().call("POST", LOGIN, body), 401, "credentials_wrong")
    assert Api().refresh(stolen["refresh_token"]).status_code == 401
    assert Api().userinfo(bearer=stolen["access_token"]).status_code == 401


def test_guesses_at_addresses_are_limited(person, settings):
    """A call with a password tells what is taken, and costs a hash."""
    settings.ANONUSERS_LOGIN_PER_IP = "3/m"
    regular_user(person.session.application)
    statuses = [person.promote().status_code for _ in range(5)]
    assert statuses == [409] * 3 + [429] * 2


def test_a_disabled_guest_is_not_signed_in(person):
    person.begin()
    EndUser.objects.update(disabled_at=timezone.now())
    assert is_problem(person.promote(), 401, "not_signed_in")
    assert is_problem(person.verify(), 401, "not_signed_in")
    assert LoginID.objects.count() == 0


@pytest.mark.parametrize("gone", ["deleted", "logged out"])
def test_a_guest_who_is_gone_between_the_steps_is_not_signed_in(person, gone):
    person.begin()
    code = last_code()
    if gone == "deleted":
        EndUser.objects.all().delete()
    else:
        Session.objects.update(ended_at=timezone.now())
    assert is_problem(
        person.verify(code), 401, "guest_gone" if gone == "deleted" and person.kind == "token" else "not_signed_in"
    )
    assert LoginID.objects.count() == 0


def test_a_guest_who_was_promoted_elsewhere_is_not_signed_in_here(person, application):
    person.begin()
    from anonusers.promotion import promote
    from tests.people import proof_of

    end_user = user_of(person.answer)
    promote(end_user=end_user, project=application.project, proof=proof_of("first@example.com"))
    assert is_problem(person.verify(), 401, "not_signed_in")
    assert LoginID.objects.count() == 1


# --- whose request is it ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
    ],
)
def test_by_cookie_no_foreign_page_keeps_or_cancels_anything(application, headers):
    person = Person("cookie")
    person.begin()
    before, rows = row_counts(), state_of(person.session)
    for method, path, body in (
        ("POST", PROMOTE, {"login_id": LOGIN_ID, "password": PASSWORD}),
        ("POST", PROMOTION, {"login_id": LOGIN_ID}),
        ("POST", VERIFY, {"handle": person.handle, "code": last_code()}),
        ("POST", f"{PROMOTION}{person.handle}/resend/", {}),
        ("DELETE", f"{PROMOTION}{person.handle}/", None),
    ):
        assert is_problem(person.call(method, path, body, headers=headers), 403, "untrusted_origin")
    assert (row_counts(), state_of(person.session)) == (before, rows)


def test_nobody_is_told_to_sign_in(application):
    for path, body in ((PROMOTE, {"login_id": LOGIN_ID, "password": PASSWORD}), (PROMOTION, {"login_id": LOGIN_ID})):
        answer = Api().call("POST", path, body)
        assert is_problem(answer, 401, "not_signed_in")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="anonusers", DPoP algs="ES256 RS256"'
    assert LoginID.objects.count() == 0


def test_no_secret_reaches_the_log(person, caplog):
    caplog.set_level("DEBUG")
    person.begin(password=PASSWORD)
    person.verify(other_than(last_code()))
    body = person.verify().json()
    secrets = [PASSWORD, last_code(), person.handle, body.get("access_token"), body.get("refresh_token")]
    logged = [record.getMessage() for record in caplog.records if record.name != "django.db.backends"]
    assert not [secret for secret in secrets if secret and secret in " ".join(logged)]


def test_a_guest_has_no_login_ids(person):
    assert person.answer["login_ids"] == []
    assert person.call("GET", "/api/v1/userinfo/").json()["login_ids"] == []
    listed = person.call("GET", SESSIONS).json()["sessions"]
    assert [session["current"] for session in listed] == [True]


def test_staff_is_made_of_nobody(application):
    person = Person("token")
    person.promote()
    user = user_of(person.answer).user
    assert (user.is_staff, user.is_superuser) == (False, False)
    assert new_guest(application).is_guest
    assert not user.check_password(WRONG)


def test_an_address_that_was_not_verified_hears_of_its_use(person):
    """Sudhodanan & Paverd 2022, §6.2.2: its owner may know nothing of this account."""
    assert person.promote().status_code == 200
    (sent,) = mail.outbox
    assert sent.to == [EMAIL]
    assert "http://localhost:8000/forgot" in sent.body


@pytest.mark.django_db(transaction=True)
def test_a_promotion_is_told_once_and_is_no_authentication(person):
    heard = []

    def hear(event, **kwargs):
        heard.append(event.type)

    for signal in events.SIGNALS.values():
        signal.connect(hear)
    try:
        assert person.promote().status_code == 200
    finally:
        for signal in events.SIGNALS.values():
            signal.disconnect(hear)
    assert heard == ["user.anonymous.promoted"]
