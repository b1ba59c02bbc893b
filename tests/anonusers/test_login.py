"""Log in: who may, who may not, and that nobody learns who has an account."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from unittest import mock

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from anonusers import errors, limits
from anonusers.login import begin_code_login, finish_code_login, leave_guest, log_in_with_password
from anonusers.models import EndUser, LoginID, OneTimeToken, Promotion, Session
from anonusers.promotion import password as passwords
from tests.conftest import HOST, make_application, make_project, row_counts, state_of
from tests.people import EMAIL, PASSWORD, WRONG, guest_session, last_code, other_than, regular_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]
NOBODY = "nobody@example.com"


@pytest.fixture
def anna(application):
    return regular_user(application)


def log_in(project, text=EMAIL, password=PASSWORD, ip="192.0.2.1"):
    return log_in_with_password(project=project, text=text, password=password, ip=ip)


def begin(project, text=EMAIL, ip="192.0.2.1"):
    return begin_code_login(project=project, text=text, ip=ip)


def finish(pending, code=None, host=HOST):
    return finish_code_login(handle=pending.handle, host=host, code=code or last_code())


# --- by password --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [EMAIL, "ANNA@EXAMPLE.COM", " anna@example.com ", "ａnna@example.com"])
def test_however_the_login_id_is_spelled_it_is_the_same_user(project, anna, text):
    assert log_in(project, text) == anna


@pytest.mark.parametrize(
    ("type", "value", "typed"),
    [
        ("phone", "+886912345678", "+886 0912-345-678"),
        ("username", "anna", "Anna"),
        ("username", "471123", "471123"),  # looks like a number and is a name
    ],
)
def test_phone_numbers_and_user_names_log_in(application, type, value, typed):
    user = regular_user(application, value, type=type)
    assert log_in(application.project, typed) == user


@pytest.mark.parametrize("password", ["", WRONG, PASSWORD.upper(), f" {PASSWORD}", PASSWORD[:-1], "x" * 5000, "\x00"])
def test_a_wrong_password_is_wrong(project, anna, password):
    before = row_counts()
    with pytest.raises(errors.CredentialsWrong):
        log_in(project, password=password)
    assert row_counts() == before


class CountingHasher(MD5PasswordHasher):
    """Tells how often it had to work."""

    work = 0

    def encode(self, password, salt):
        type(self).work += 1
        return super().encode(password, salt)


def work_of(call):
    CountingHasher.work = 0
    with pytest.raises(errors.CredentialsWrong) as caught:
        call()
    return CountingHasher.work, caught.value.code, str(caught.value)


def test_nobody_and_a_wrong_password_get_one_answer_after_the_same_work(application, settings):
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
    project = application.project
    regular_user(application)
    regular_user(application, "code@example.com", password=None)
    outcomes = {
        text: work_of(lambda text=text: log_in(project, text, WRONG))
        for text in (EMAIL, NOBODY, "code@example.com", "not a login ID", "", "\x00", "+886912345678", "anna")
    }
    assert set(outcomes.values()) == {(1, "credentials_wrong", "The login ID or the password is wrong.")}, outcomes


def test_who_has_no_password_cannot_log_in_with_any(application):
    user = regular_user(application, password=None).user
    for password in ("", "!", user.password, user.password[1:], "None"):
        with pytest.raises(errors.CredentialsWrong):
            log_in(application.project, password=password)


def test_guests_cannot_log_in_whatever_they_try(application):
    user = guest_session(application).end_user.user
    for text in (user.username, str(user.pk), f"{user.username}@guest.invalid"):
        for password in ("", user.password, user.username, user.password.lstrip("!")):
            limits.forget()
            with pytest.raises(errors.CredentialsWrong):
                log_in(application.project, text, password)


def test_the_hosts_own_users_are_not_users_of_a_project(application, django_user_model):
    django_user_model.objects.create_user("staff", email="staff@example.com", password=PASSWORD, is_staff=True)
    for text in ("staff", "staff@example.com"):
        with pytest.raises(errors.CredentialsWrong):
            log_in(application.project, text)


def test_another_projects_users_are_strangers(application, anna):
    other = make_application(make_project("second", "second.localhost"))
    with pytest.raises(errors.CredentialsWrong):
        log_in(other.project)


def test_that_an_account_is_disabled_shows_only_to_who_knows_its_password(project, anna):
    EndUser.objects.update(disabled_at=timezone.now())
    with pytest.raises(errors.CredentialsWrong):
        log_in(project, password=WRONG)
    with pytest.raises(errors.UserDisabled):
        log_in(project)


def test_whom_the_host_switched_off_is_disabled(project, anna):
    type(anna.user).objects.update(is_active=False)
    with pytest.raises(errors.UserDisabled):
        log_in(project)


@pytest.mark.parametrize("meanwhile", ["password changed", "login ID gone", "disabled"])
def test_what_happens_while_the_password_is_hashed_counts(project, anna, monkeypatch, meanwhile):
    """A hash may wait for seconds: long enough for the owner of an address to throw somebody out."""
    check = passwords.check_password

    def slow(*args):
        if meanwhile == "password changed":
            type(anna.user).objects.update(password="!")
        elif meanwhile == "login ID gone":
            LoginID.objects.all().delete()
        else:
            EndUser.objects.update(disabled_at=timezone.now())
        return check(*args)

    monkeypatch.setattr(passwords, "check_password", slow)
    with pytest.raises(errors.UserDisabled if meanwhile == "disabled" else errors.CredentialsWrong):
        log_in(project)


# --- limits -------------------------------------------------------------------------------------------


def limit_at(settings, **budgets):
    for name, budget in budgets.items():
        setattr(settings, f"ANONUSERS_{name}", budget)
    limits.forget()


def outcome(call):
    try:
        call()
    except errors.RateLimited as error:
        return error.budget if error.retry_after >= 1 else "no time"
    except errors.AnonUsersError as error:
        return error.code
    return "in"


def test_one_address_tries_so_often_at_one_account(project, anna, settings):
    limit_at(settings, LOGIN_PER_ACCOUNT_AND_IP="2/m")
    found = [outcome(lambda: log_in(project, password=WRONG)) for _ in range(3)]
    assert found == ["credentials_wrong"] * 2 + ["login_per_account_and_ip"]
    assert outcome(lambda: log_in(project)) == "login_per_account_and_ip", "also with the right one"
    assert outcome(lambda: log_in(project, ip="192.0.2.2")) == "in", "the owner is not locked out"


def test_one_account_is_tried_so_often_from_anywhere(project, anna, settings):
    limit_at(settings, LOGIN_PER_ACCOUNT="3/h")
    found = [outcome(lambda n=n: log_in(project, password=WRONG, ip=f"192.0.2.{n}")) for n in range(4)]
    assert found == ["credentials_wrong"] * 3 + ["login_per_account"]


def test_one_address_tries_so_often_at_all(project, anna, settings):
    limit_at(settings, LOGIN_PER_IP="2/m")
    found = [outcome(lambda n=n: log_in(project, f"user{n}@example.com")) for n in range(3)]
    assert found == ["credentials_wrong"] * 2 + ["login_per_ip"]
    assert outcome(lambda: log_in(project, ip="2001:db8::1")) == "in"


def test_a_limit_tells_nobody_who_has_an_account(project, anna, settings):
    limit_at(settings, LOGIN_PER_ACCOUNT_AND_IP="3/m")
    spellings = (str.lower, str.upper, str.title, str.lower)
    known = [outcome(lambda s=s: log_in(project, s(EMAIL), WRONG)) for s in spellings]
    unknown = [outcome(lambda s=s: log_in(project, s(NOBODY), WRONG)) for s in spellings]
    assert known == unknown == ["credentials_wrong"] * 3 + ["login_per_account_and_ip"]


def test_two_login_ids_of_one_account_are_one_account(project, anna, settings):
    other = LoginID.objects.get()
    LoginID.objects.create(
        project=project, end_user=anna, type="username", value="anna", key=_key("username", "anna"), verified_at=None
    )
    limit_at(settings, LOGIN_PER_ACCOUNT_AND_IP="2/m")
    found = [outcome(lambda t=t: log_in(project, t, WRONG)) for t in (other.value, "anna", other.value)]
    assert found == ["credentials_wrong"] * 2 + ["login_per_account_and_ip"]


def _key(type, text):
    from anonusers.login_ids import parse_login_id

    return parse_login_id(type, text).key


def test_so_many_hashes_run_at_once_and_the_others_wait(monkeypatch):
    monkeypatch.setattr(passwords, "_hashing", threading.BoundedSemaphore(2))
    running, most = 0, 0
    lock, pair = threading.Lock(), threading.Barrier(2)

    def slow(password):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        pair.wait(10)  # two do run at once, however slowly threads start
        time.sleep(0.02)  # a third would be seen
        with lock:
            running -= 1
        return "hash"

    monkeypatch.setattr(passwords, "make_password", slow)
    with ThreadPoolExecutor(12) as pool:
        done = list(pool.map(lambda _: passwords.password_matches("x", None), range(12)))
    assert (most, done) == (2, [False] * 12)


def test_who_waits_too_long_for_a_hash_is_told_to_come_again(project, anna, monkeypatch):
    full = threading.BoundedSemaphore(1)
    full.acquire()
    monkeypatch.setattr(passwords, "_hashing", full)
    monkeypatch.setattr(passwords, "PATIENCE", 0.01)
    for call in (lambda: log_in(project), lambda: log_in(project, NOBODY), lambda: passwords.hash_password(PASSWORD)):
        with pytest.raises(errors.Busy):
            call()
    full.release()
    assert log_in(project) == anna


def test_a_hash_that_breaks_gives_its_place_back(monkeypatch):
    monkeypatch.setattr(passwords, "_hashing", threading.BoundedSemaphore(1))
    with (
        mock.patch.object(passwords, "make_password", side_effect=MemoryError),
        pytest.raises(MemoryError),
    ):
        passwords.hash_password(PASSWORD)
    assert passwords.hash_password(PASSWORD)


# --- by code ------------------------------------------------------------------------------------------


def test_a_code_logs_in_once(project, anna):
    pending = begin(project)
    assert mail.outbox[0].to == [EMAIL]
    assert finish(pending) == anna
    with pytest.raises(errors.FlowGone):
        finish(pending)


def test_mail_goes_to_the_address_that_is_stored_and_not_to_the_one_that_was_typed(application):
    """CVE-2019-19844: an address that only folds to the stored one may be somebody else's."""
    regular_user(application, "strasse@example.com")
    begin(application.project, "straße@example.com")
    assert mail.outbox[0].to == ["strasse@example.com"]


def test_by_code_disabled_users_stay_out(project, anna):
    pending = begin(project)
    EndUser.objects.update(disabled_at=timezone.now())
    with pytest.raises(errors.UserDisabled):
        finish(pending)


def test_a_login_id_that_is_gone_logs_nobody_in(project, anna):
    pending = begin(project)
    LoginID.objects.all().delete()
    with pytest.raises(errors.FlowGone):
        finish(pending)


def test_a_handle_belongs_to_its_project_and_to_25_minutes(application, anna):
    make_project("second", "second.localhost")
    pending = begin(application.project)
    for call in (
        lambda: finish(pending, host="second.localhost"),
        lambda: finish_code_login(handle="x", host=HOST, code=last_code()),
    ):
        with pytest.raises(errors.FlowGone):
            call()
    OneTimeToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(errors.FlowGone):
        finish(pending)


def trace_of(project, text):
    """What asking for a code shows, does to the database, and what five wrong codes and a sixth lead to."""
    limits.forget()
    with CaptureQueriesContext(connection) as captured:
        pending = begin(project, text)
    kinds = [query["sql"].split()[0] for query in captured.captured_queries]
    token = OneTimeToken.objects.latest("pk")
    shown = (
        len(pending.handle),
        round((pending.expires_at - timezone.now()).total_seconds(), -1),
        sorted(token.payload),
    )
    shown = (*shown[:2], [key for key in shown[2] if key != "login_id"])
    wrong = other_than(last_code()) if mail.outbox and token.end_user_id else "000000"
    return kinds, shown, [outcome(lambda: finish(pending, wrong)) for _ in range(6)]


def test_asking_for_a_code_shows_nobody_who_has_an_account(application, anna):
    regular_user(application, "bob", type="username")
    project = application.project
    known = trace_of(project, EMAIL)
    assert known[2] == ["code_wrong"] * 5 + ["code_expired"]
    for text in (NOBODY, "bob", "nobody", "+886912345678"):
        assert trace_of(project, text) == known, text
    # What is no login ID at all needs no look-up.
    assert trace_of(project, "not a login ID")[1:] == known[1:]
    assert len(mail.outbox) == 1


def test_the_pause_between_two_codes_shows_nobody_who_has_an_account(project, anna):
    for text in (EMAIL, NOBODY, "not a login ID"):
        assert outcome(lambda text=text: begin(project, text)) == "in"
        before = row_counts()
        assert outcome(lambda text=text: begin(project, text.upper())) == (
            "codes_per_minute" if text != "not a login ID" else "in"
        )
        if text != "not a login ID":
            assert row_counts() == before, "nothing is left of it"


def test_when_the_mail_cannot_be_sent_nothing_is_left(project, anna, settings):
    settings.EMAIL_BACKEND = "tests.protocols.rest.hosts.NoMail"
    before = row_counts()
    with pytest.raises(errors.CodeNotSent):
        begin(project)
    assert row_counts() == before


# --- a guest logs in ----------------------------------------------------------------------------------


def test_under_login_the_guest_is_left_behind(application, anna):
    application.project.promotion_conflict = "login"
    session = guest_session(application)
    left = leave_guest(anna, guest=session.end_user, project=application.project, method="password")
    assert (left.end_user, left.superseded) == (anna, session.end_user)
    assert Session.objects.get(pk=session.pk).ended_at is not None
    assert Promotion.objects.get(end_user=session.end_user).superseded_by == anna


def test_under_error_the_guest_stays_as_it_is(application, anna):
    session = guest_session(application)
    rows, before = state_of(session, session.end_user), row_counts()
    left = leave_guest(anna, guest=session.end_user, project=application.project, method="password")
    assert (left.end_user, left.superseded) == (anna, None)
    assert (state_of(session, session.end_user), row_counts()) == (rows, before)


def test_a_guest_who_is_gone_or_never_was_is_not_left(application, anna):
    application.project.promotion_conflict = "login"
    other = regular_user(application, "other@example.com")
    guest = guest_session(application).end_user
    EndUser.objects.filter(pk=guest.pk).update(disabled_at=timezone.now())
    for before in (None, other, guest):
        left = leave_guest(anna, guest=before, project=application.project, method="password")
        assert (left.end_user, left.superseded) == (anna, None)
