"""Promotion: a guest becomes a regular user with the same id; all of it, or nothing."""

import inspect
import re
from datetime import timedelta
from unittest import mock

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import check_password, identify_hasher
from django.contrib.auth.models import Group, Permission
from django.core import mail
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from anonusers import errors, events, onetime, sessions
from anonusers.login import begin_code_login, finish_code_login, log_in_with_password
from anonusers.login_ids import parse_login_id
from anonusers.models import AnonymousIdentity, EndUser, LoginID, OneTimeToken, Promotion, Session
from anonusers.promotion import claim, promote, supersede
from anonusers.promotion.flow import begin_promotion, cancel, finish_promotion, pending_promotion, resend_code
from anonusers.userinfo import is_guest, userinfo
from config import settings as deployment
from tests.conftest import HOST, make_application, make_project, row_counts, state_of, whole_database
from tests.people import (
    EMAIL,
    PASSWORD,
    WRONG,
    guest_session,
    last_code,
    new_guest,
    other_than,
    proof_of,
    regular_user,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]
Purpose = OneTimeToken.Purpose
CONTROL = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET ", "START")


@pytest.fixture
def told():
    """The events that the host was told."""
    heard = []

    def hear(event, **_):
        heard.append(event)

    for signal in events.SIGNALS.values():
        signal.connect(hear, weak=False)
    yield heard
    for signal in events.SIGNALS.values():
        signal.disconnect(hear)


def keep(guest, application, text=EMAIL, **options):
    return promote(
        end_user=guest, project=application.project, application=application, proof=proof_of(text), **options
    )


def begin(guest, application, text=EMAIL, type="email", **options):
    return begin_promotion(
        end_user=guest, project=application.project, application=application, type=type, text=text, **options
    )


def finish(guest, pending, code=None):
    return finish_promotion(handle=pending.handle, host=HOST, code=code or last_code(), end_user=guest)


# --- every effect -------------------------------------------------------------------------------------


def test_the_guest_is_a_regular_user_with_the_same_sub(application):
    guest = new_guest(application)
    before = row_counts()
    promoted = keep(guest, application)
    grown = {label: count - before[label] for label, count in row_counts().items() if count != before[label]}
    assert grown == {
        "anonusers.AnonymousIdentity": -1,
        "anonusers.AuditEvent": 1,
        "anonusers.LoginID": 1,
        "anonusers.Promotion": 1,
    }
    assert (promoted.end_user.pk, promoted.superseded) == (guest.pk, None)
    assert (promoted.end_user.is_guest, is_guest(promoted.end_user.user)) == (False, False)
    info = userinfo(promoted.end_user)
    assert (info.sub, info.is_anonymous, info.is_verified, info.has_password) == (str(guest.pk), False, True, True)
    assert [(one.type, one.value, one.verified) for one in info.login_ids] == [("email", EMAIL, True)]


def test_an_unverified_address_makes_nobody_verified(application):
    guest = new_guest(application)
    promote(end_user=guest, project=application.project, proof=proof_of(verified=False))
    assert userinfo(EndUser.objects.get()).is_verified is False


def test_the_hosts_row_is_filled_and_is_the_same_row(application):
    guest = new_guest(application)
    name = guest.user.username
    keep(guest, application, "Anna@Example.com")
    user = EndUser.objects.get().user
    assert (user.pk, user.email, user.username) == (guest.user.pk, "Anna@example.com", name)
    assert check_password(PASSWORD, user.password)
    assert authenticate(username=name, password=PASSWORD) == user


def test_a_user_name_becomes_the_hosts_user_name(application):
    guest = new_guest(application)
    promote(end_user=guest, project=application.project, proof=proof_of("Anna", type="username", verified=False))
    assert EndUser.objects.get().user.username == "Anna"


@pytest.mark.parametrize(("taken", "type"), [("anna", "username"), ("ANNA", "username"), (EMAIL, "email")])
def test_what_belongs_to_a_user_of_the_hosts_own_is_taken(application, django_user_model, taken, type):
    """They never were guests, so no login ID of ours says that they are here."""
    django_user_model.objects.create_user(taken if type == "username" else "boss", taken.upper(), password="x")
    guest = new_guest(application)
    before = row_counts(), state_of(guest, guest.user)
    proof = proof_of("anna" if type == "username" else EMAIL, type=type)
    with pytest.raises(errors.LoginIDTaken):
        promote(end_user=guest, project=application.project, proof=proof)
    assert (row_counts(), state_of(guest, guest.user)) == before


def test_a_user_name_that_another_project_has_given_to_somebody_stays_theirs(application):
    elsewhere = make_application(make_project("elsewhere", "elsewhere.example"))
    regular_user(elsewhere, "anna", type="username", verified=False)
    guest = new_guest(application)
    promote(end_user=guest, project=application.project, proof=proof_of("anna", type="username", verified=False))
    guest.user.refresh_from_db()
    assert guest.user.username == f"guest-{guest.pk.hex}"
    assert log_in_with_password(project=application.project, text="anna", password=PASSWORD) == guest


def test_a_phone_number_fills_nothing_that_is_not_for_it(application):
    guest = new_guest(application)
    proof = proof_of("+886912345678", type="phone", password=None)
    promote(end_user=guest, project=application.project, proof=proof)
    user = EndUser.objects.get().user
    assert (user.email, user.username) == ("", f"guest-{guest.pk.hex}")
    assert not user.has_usable_password()


def test_passwords_are_hashed_by_the_first_hasher_of_the_deployment(application, settings):
    settings.PASSWORD_HASHERS = deployment.PASSWORD_HASHERS
    guest = new_guest(application)
    begin(guest, application, password=PASSWORD)
    encoded = EndUser.objects.get().user.password
    assert encoded.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")
    assert identify_hasher(encoded).verify(PASSWORD, encoded)
    assert PASSWORD not in encoded


def test_every_session_and_every_secret_of_the_guest_ends(application):
    """Sudhodanan & Paverd 2022, unexpired session: whoever had got hold of the guest does not come along."""
    session = guest_session(application)
    guest = session.end_user
    cookie = sessions.open_session(end_user=guest, project=application.project, application=None, kind="cookie")[0]
    purposes = set(onetime.LIFETIMES)
    issued = [onetime.issue(p, project=application.project, end_user=guest) for p in purposes]
    bystander = guest_session(application)
    theirs = onetime.issue(Purpose.PROMOTION_CODE, project=application.project, end_user=bystander.end_user)
    keep(guest, application)
    assert not Session.objects.filter(pk__in=[session.pk, cookie.pk], ended_at=None).exists()
    for secret in issued:
        with pytest.raises(errors.InvalidToken):
            onetime.look(secret.token.purpose, secret.secret, host=HOST)
    assert Session.objects.get(pk=bystander.pk).ended_at is None
    assert onetime.look(Purpose.PROMOTION_CODE, theirs.secret, host=HOST)


def test_a_session_that_its_wire_must_keep_is_kept_and_no_other(application):
    session = guest_session(application)
    other = sessions.open_session(
        end_user=session.end_user, project=application.project, application=None, kind="cookie"
    )[0]
    keep(session.end_user, application, keep_session=session)
    assert Session.objects.get(pk=session.pk).ended_at is None
    assert Session.objects.get(pk=other.pk).ended_at is not None


def test_what_became_of_the_guest_is_on_record(application):
    guest = new_guest(application)
    keep(guest, application)
    row = Promotion.objects.get()
    assert (row.end_user_id, row.outcome, row.method) == (guest.pk, "promoted", "password")
    assert (row.superseded_by, row.application) == (None, application)


def test_one_event_is_told_and_only_after_the_commit(application, told):
    guest = new_guest(application)
    with TestCase.captureOnCommitCallbacks() as callbacks:
        keep(guest, application)
    assert told == []
    for callback in callbacks:
        callback()
    assert [(event.type, event.end_user.pk) for event in told] == [("user.anonymous.promoted", guest.pk)]
    assert told[0].details == {"method": "password", "login_id_type": "email"}
    assert told[0].end_user.is_guest is False
    assert EMAIL not in str(told[0].details)


def test_a_promotion_that_fails_tells_nothing(application, told):
    regular_user(application)
    guest = new_guest(application)
    with (
        TestCase.captureOnCommitCallbacks(execute=True) as callbacks,
        pytest.raises(errors.LoginIDTaken),
    ):
        keep(guest, application)
    assert (callbacks, told) == ([], [])


def test_rights_are_neither_given_nor_taken(application):
    guest = new_guest(application)
    group = Group.objects.create(name="buyers")
    permission = Permission.objects.first()
    guest.user.groups.add(group)
    guest.user.user_permissions.add(permission)
    keep(guest, application)
    user = EndUser.objects.get().user
    assert (user.is_staff, user.is_superuser, user.is_active) == (False, False, True)
    assert (user.groups.get(), user.user_permissions.get()) == (group, permission)


def test_another_project_may_have_the_same_address(application):
    other = make_application(make_project("second", "second.localhost"))
    regular_user(application)
    assert regular_user(other).project_id == other.project_id
    assert LoginID.objects.count() == 2


# --- refused, and nothing changed ---------------------------------------------------------------------


def refused(error, call):
    before = whole_database()
    with pytest.raises(error) as caught:
        call()
    assert whole_database() == before
    return caught.value


def test_a_guest_is_promoted_once(application):
    guest = new_guest(application)
    keep(guest, application)
    refused(errors.UserIsRegular, lambda: keep(guest, application, "other@example.com"))
    refused(errors.UserIsRegular, lambda: begin(EndUser.objects.get(), application, "other@example.com"))


def test_a_disabled_guest_is_not_promoted(application):
    guest = new_guest(application)
    EndUser.objects.update(disabled_at=timezone.now())
    refused(errors.GuestGone, lambda: keep(guest, application))
    refused(errors.GuestGone, lambda: begin(EndUser.objects.get(), application))


def test_a_guest_whom_the_host_switched_off_is_not_promoted(application, django_user_model):
    guest = new_guest(application)
    django_user_model.objects.update(is_active=False)
    refused(errors.GuestGone, lambda: keep(guest, application))
    refused(errors.GuestGone, lambda: begin(EndUser.objects.get(), application))


def test_a_deleted_guest_is_not_promoted(application):
    guest = new_guest(application)
    EndUser.objects.all().delete()
    refused(errors.GuestGone, lambda: keep(guest, application))


def test_a_taken_login_id_is_refused_however_it_is_spelled(application):
    regular_user(application)
    guest = new_guest(application)
    for spelling in (EMAIL, EMAIL.upper(), "ａnna@example.com"):
        refused(errors.LoginIDTaken, lambda spelling=spelling: keep(guest, application, spelling))
    assert EndUser.objects.get(pk=guest.pk).is_guest


@pytest.mark.parametrize(
    "write",
    [
        ("DELETE", "anonusers_anonymousidentity"),
        ("INSERT", "anonusers_loginid"),
        ("UPDATE", "auth_user"),
        ("UPDATE", "anonusers_session"),
        ("UPDATE", "anonusers_onetimetoken"),
        ("INSERT", "anonusers_promotion"),
    ],
    ids=" ".join,
)
def test_a_fault_at_any_write_leaves_nothing(application, write, told):
    session = guest_session(application)
    onetime.issue(Purpose.PROMOTION_CODE, project=application.project, end_user=session.end_user)
    before = whole_database()
    hit = []

    def fail(execute, sql, params, many, context):
        if sql.startswith(write[0]) and write[1] in sql:
            hit.append(sql)
            raise RuntimeError(write)
        return execute(sql, params, many, context)

    proof = proof_of()
    with (
        TestCase.captureOnCommitCallbacks(execute=True),
        connection.execute_wrapper(fail),
        pytest.raises(RuntimeError),
    ):
        promote(end_user=session.end_user, project=application.project, proof=proof)
    assert hit, "nothing was written there"
    assert (whole_database(), told) == (before, [])


# --- budget -------------------------------------------------------------------------------------------


def statements_of(call):
    with CaptureQueriesContext(connection) as captured:
        call()
    found = [query["sql"] for query in captured.captured_queries]
    return [sql.replace("`", '"') for sql in found if not sql.upper().startswith(CONTROL)]


def test_the_commit_takes_fourteen_statements_however_much_there_is_to_end(application):
    """A change of a number here is a change to be argued for."""
    guest = new_guest(application)
    for _ in range(20):
        sessions.open_session(end_user=guest, project=application.project, application=None, kind="cookie")
        onetime.issue(Purpose.PROMOTION_CODE, project=application.project, end_user=guest)
    proof = proof_of()
    found = statements_of(lambda: promote(end_user=guest, project=application.project, proof=proof))
    told = [(sql.split()[0], sql.split('"')[1] if sql.split()[0] != "SELECT" else "") for sql in found]
    assert told == BUDGET, found


BUDGET = [
    ("SELECT", ""),  # the end user, locked
    ("SELECT", ""),  # the host's user
    ("SELECT", ""),  # whether the guest's person went on as somebody else meanwhile
    ("DELETE", "anonusers_anonymousidentity"),
    ("INSERT", "anonusers_loginid"),
    ("SELECT", ""),  # whether the host has given the address to a user of its own
    ("UPDATE", "auth_user"),
    ("UPDATE", "anonusers_devicekey"),  # a tombstone, so that an app that still signs with it is not stuck
    ("UPDATE", "anonusers_session"),
    ("UPDATE", "anonusers_onetimetoken"),
    ("INSERT", "anonusers_promotion"),
    ("UPDATE", "anonusers_enduser"),  # when, for lists
    ("SELECT", ""),  # the end user as it is now
    ("INSERT", "anonusers_auditevent"),
]


def test_a_password_is_hashed_once_and_outside_of_the_transaction(application):
    guest = new_guest(application)
    where = []

    def hash_it(password, *args):
        where.append(len(connection.savepoint_ids))
        return "md5$salt$hash"

    outside = len(connection.savepoint_ids)
    with mock.patch("anonusers.promotion.password.make_password", hash_it):
        begin(guest, application, password=PASSWORD)
    assert where == [outside]


def test_without_a_password_nothing_is_hashed(application):
    guest = new_guest(application)
    with mock.patch("django.contrib.auth.hashers.make_password", side_effect=AssertionError):
        pending = begin(guest, application)
        finish(guest, pending)
    assert not EndUser.objects.get().is_guest


def test_no_mail_server_is_waited_for_in_a_transaction(application):
    guest = new_guest(application)
    depth = []

    def send(*args, **kwargs):
        depth.append(len(connection.savepoint_ids))

    outside = len(connection.savepoint_ids)
    with mock.patch("anonusers.promotion.email_code.send_mail", send):
        begin(guest, application)
    assert depth == [outside]


# --- the steps ----------------------------------------------------------------------------------------


def test_with_a_password_and_nothing_to_verify_it_is_one_step(application):
    guest = new_guest(application)
    promoted = begin(guest, application, password=PASSWORD)
    assert promoted.end_user.pk == guest.pk
    assert LoginID.objects.get().verified_at is None
    assert mail.outbox == []


@pytest.mark.parametrize("password", [None, PASSWORD])
@pytest.mark.parametrize("verify", [[], ["email"]])
def test_a_code_verifies_and_a_password_comes_along(application, password, verify):
    application.project.verify = verify
    application.project.save()
    guest = new_guest(application)
    pending = begin(guest, application, password=password, by_code=True)
    assert (pending.sent.to, EndUser.objects.get().is_guest, LoginID.objects.count()) == ("a…@example.com", True, 0)
    promoted = finish(guest, pending)
    assert promoted.end_user.pk == guest.pk
    assert LoginID.objects.get().verified_at is not None
    assert EndUser.objects.get().user.has_usable_password() is (password is not None)
    assert Promotion.objects.get().method == ("password" if password else "email_code")


def test_until_the_code_is_entered_the_address_is_free(application):
    first, second = new_guest(application), new_guest(application)
    begin(first, application)
    keep(second, application)
    assert LoginID.objects.get().end_user == second


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"type": "phone", "text": "+886912345678"}, errors.LoginIDNotAllowed),
        ({"type": "username", "text": "anna"}, errors.LoginIDNotAllowed),
        ({"type": "card", "text": "4711"}, errors.LoginIDNotAllowed),
        ({"text": "anna@"}, errors.InvalidLoginID),
        ({"password": "12345678"}, errors.WeakPassword),
        ({"password": ""}, errors.WeakPassword),
        ({"password": EMAIL}, errors.WeakPassword),  # UserAttributeSimilarityValidator, of the address to be
        ({"password": "x" * 4097}, errors.WeakPassword),
    ],
)
def test_what_cannot_be_begun_leaves_nothing(application, options, error):
    guest = new_guest(application)
    refused(error, lambda: begin(guest, application, **options))
    assert mail.outbox == []


def test_a_user_name_needs_a_password_and_gets_no_code(application):
    application.project.login_ids = ["username"]
    application.project.verify = ["username"]  # no project file can say so
    application.project.save()
    guest = new_guest(application)
    refused(errors.LoginIDNotAllowed, lambda: begin(guest, application, "anna", "username"))
    refused(
        errors.LoginIDNotAllowed,
        lambda: begin(guest, application, "anna", "username", password=PASSWORD, by_code=True),
    )
    refused(errors.WeakPassword, lambda: begin(guest, application, "walruses", "username", password="walruses1"))
    assert begin(guest, application, "anna", "username", password=PASSWORD).end_user.pk == guest.pk


def test_a_long_password_is_not_cut(application):
    guest = new_guest(application)
    long = "nine tame walruses " * 200
    begin(guest, application, password=long)
    project = application.project
    assert log_in_with_password(project=project, text=EMAIL, password=long).pk == guest.pk
    with pytest.raises(errors.CredentialsWrong):
        log_in_with_password(project=project, text=EMAIL, password=long[:-1])


def test_promotion_goes_on_while_new_guests_are_not_allowed(application):
    guest = new_guest(application)
    application.project.anonymous_users_enabled = False
    application.project.save()
    assert begin(guest, application, password=PASSWORD).end_user.pk == guest.pk


def test_somebody_elses_pending_promotion_is_nobodys(application):
    guest, other = new_guest(application), new_guest(application)
    pending = begin(guest, application)
    code = last_code()
    for call in (
        lambda: finish(other, pending, code),
        lambda: pending_promotion(handle=pending.handle, host=HOST, end_user=other),
        lambda: resend_code(handle=pending.handle, host=HOST, end_user=other),
        lambda: cancel(handle=pending.handle, host=HOST, end_user=other),
        lambda: finish_promotion(handle=pending.handle, host="elsewhere.example", code=code, end_user=guest),
        lambda: finish_promotion(handle="x", host=HOST, code=code, end_user=guest),
    ):
        refused(errors.FlowGone, call)
    assert finish(guest, pending, code).end_user.pk == guest.pk


def test_a_cancelled_promotion_is_over(application):
    guest = new_guest(application)
    pending = begin(guest, application)
    assert pending_promotion(handle=pending.handle, host=HOST, end_user=guest).sent == pending.sent
    cancel(handle=pending.handle, host=HOST, end_user=guest)
    for call in (
        lambda: finish(guest, pending),
        lambda: cancel(handle=pending.handle, host=HOST, end_user=guest),
        lambda: pending_promotion(handle=pending.handle, host=HOST, end_user=guest),
    ):
        refused(errors.FlowGone, call)
    assert EndUser.objects.get().is_guest


def test_after_25_minutes_the_steps_are_over(application, settings):
    guest = new_guest(application)
    pending = begin(guest, application)
    OneTimeToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    refused(errors.FlowGone, lambda: finish(guest, pending))


@pytest.mark.parametrize(
    ("between", "error"),
    [
        ("disabled", errors.GuestGone),
        ("switched off", errors.GuestGone),
        ("promoted", errors.FlowGone),
        ("deleted", errors.FlowGone),
    ],
)
def test_what_happens_to_the_guest_between_two_steps_has_a_clean_answer(application, between, error):
    guest = new_guest(application)
    pending = begin(guest, application)
    code = last_code()
    if between == "disabled":
        EndUser.objects.update(disabled_at=timezone.now())
    elif between == "switched off":
        type(guest.user).objects.update(is_active=False)
    elif between == "promoted":
        keep(guest, application, "first@example.com")
    else:
        EndUser.objects.all().delete()
    before = whole_database()
    with pytest.raises(error):
        finish(guest, pending, code)
    assert whole_database() == before
    assert LoginID.objects.count() == (between == "promoted")


# --- the login ID has an account ----------------------------------------------------------------------


def conflict(application, policy):
    application.project.promotion_conflict = policy
    application.project.save()


@pytest.mark.parametrize("policy", ["error", "login"])
def test_whether_an_address_is_taken_shows_only_to_who_reads_its_mail(application, policy):
    conflict(application, policy)
    regular_user(application)
    free = begin(new_guest(application), application, "free@example.com")
    taken = begin(new_guest(application), application)
    assert len(mail.outbox) == 2
    assert free.sent.expires_at - taken.sent.expires_at < timedelta(seconds=5)


def test_under_error_a_proven_address_that_is_taken_leaves_the_guest_as_it_was(application, told):
    owner = regular_user(application)
    session = guest_session(application)
    pending = begin(session.end_user, application)
    rows = state_of(owner, session, session.end_user, LoginID.objects.get())
    with pytest.raises(errors.LoginIDTaken):
        finish(session.end_user, pending)
    assert state_of(owner, session, session.end_user, LoginID.objects.get()) == rows
    assert EndUser.objects.get(pk=session.end_user_id).is_guest
    assert Promotion.objects.filter(end_user=session.end_user).count() == 0


def test_under_login_who_proves_it_is_that_account_and_the_guest_is_superseded(application, told):
    conflict(application, "login")
    owner = regular_user(application)
    session = guest_session(application)
    told.clear()
    pending = begin(session.end_user, application)
    with pytest.raises(errors.CodeWrong):
        finish(session.end_user, pending, other_than(last_code()))
    assert Session.objects.get(pk=session.pk).ended_at is None, "not before the proof"
    with TestCase.captureOnCommitCallbacks(execute=True):
        promoted = finish(session.end_user, pending)
    assert (promoted.end_user, promoted.superseded) == (owner, session.end_user)
    assert Session.objects.get(pk=session.pk).ended_at is not None
    row = Promotion.objects.get(end_user=session.end_user)
    assert (row.outcome, row.superseded_by, row.application) == ("superseded", owner, application)
    assert AnonymousIdentity.objects.filter(pk=session.end_user_id).exists(), "kept for clean-up and for a merge"
    assert [event.type for event in told] == ["user.anonymous.promoted"]
    assert (told[0].end_user, told[0].details["anonymous_user"]) == (owner, str(session.end_user_id))
    assert LoginID.objects.get().end_user == owner


def test_under_login_a_password_alone_proves_nothing(application):
    conflict(application, "login")
    regular_user(application)
    guest = new_guest(application)
    refused(errors.LoginIDTaken, lambda: begin(guest, application, password=PASSWORD))


def test_under_login_a_disabled_account_is_nobody_to_go_on_as(application):
    conflict(application, "login")
    owner = regular_user(application)
    EndUser.objects.filter(pk=owner.pk).update(disabled_at=timezone.now())
    session = guest_session(application)
    pending = begin(session.end_user, application)
    rows = state_of(session, session.end_user, owner)
    with pytest.raises(errors.UserDisabled):
        finish(session.end_user, pending)
    assert state_of(session, session.end_user, owner) == rows


def test_a_regular_user_is_never_superseded(application):
    owner, other = regular_user(application), regular_user(application, "other@example.com")
    refused(errors.UserIsRegular, lambda: supersede(guest=other, by=owner, method="password"))
    EndUser.objects.filter(pk=other.pk).update(disabled_at=timezone.now())
    refused(errors.GuestGone, lambda: supersede(guest=other, by=owner, method="password"))


def test_a_login_id_that_is_given_up_meanwhile_is_taken_for_the_last_time(application):
    conflict(application, "login")
    regular_user(application)
    guest = new_guest(application)
    pending = begin(guest, application)
    with (
        mock.patch("anonusers.promotion.flow.find_login_id", return_value=None),
        pytest.raises(errors.LoginIDTaken),
    ):
        finish(guest, pending)
    LoginID.objects.all().delete()
    assert finish(guest, pending).end_user.pk == guest.pk


# --- pre-hijacking ------------------------------------------------------------------------------------


@pytest.fixture
def hijacked(application):
    """An attacker's guest was promoted with the address of somebody else, unverified."""
    session = guest_session(application)
    attacker = begin(session.end_user, application, password=PASSWORD).end_user
    sessions.open_session(end_user=attacker, project=application.project, application=application, kind="token")
    onetime.issue(Purpose.PASSWORD_RESET, project=application.project, end_user=attacker)
    parsed = parse_login_id("email", "attacker@example.com")
    LoginID.objects.create(
        project=application.project,
        end_user=attacker,
        type="email",
        value=parsed.value,
        key=parsed.key,
        verified_at=timezone.now(),
    )
    return attacker


def nothing_is_left_to_the_attacker(application, attacker):
    with pytest.raises(errors.CredentialsWrong):
        log_in_with_password(project=application.project, text=EMAIL, password=PASSWORD)
    with pytest.raises(errors.CredentialsWrong):
        log_in_with_password(project=application.project, text="attacker@example.com", password=PASSWORD)
    assert not attacker.user.__class__.objects.get(pk=attacker.user.pk).has_usable_password()
    assert not Session.objects.filter(end_user=attacker, ended_at=None).exists()
    assert not OneTimeToken.objects.filter(end_user=attacker, used_at=None).exists()
    assert LoginID.objects.get(end_user=attacker).value == EMAIL, "their own way in is gone"
    assert LoginID.objects.get().verified_at is not None


def test_the_owner_who_logs_in_by_code_throws_the_attacker_out(application, hijacked):
    pending = begin_code_login(project=application.project, text=EMAIL)
    assert finish_code_login(handle=pending.handle, host=HOST, code=last_code()) == hijacked
    nothing_is_left_to_the_attacker(application, hijacked)


@pytest.mark.parametrize("policy", ["error", "login"])
def test_the_owner_who_promotes_a_guest_of_their_own_throws_the_attacker_out(application, hijacked, policy):
    conflict(application, policy)
    guest = new_guest(application)
    pending = begin(guest, application)
    if policy == "login":
        assert finish(guest, pending).end_user == hijacked
    else:
        with pytest.raises(errors.LoginIDTaken):
            finish(guest, pending)
    nothing_is_left_to_the_attacker(application, hijacked)


def test_an_address_that_was_verified_before_loses_nothing_when_its_owner_comes_again(application):
    owner = regular_user(application)
    session, _ = sessions.open_session(
        end_user=owner, project=application.project, application=application, kind="token"
    )
    rows = state_of(owner, owner.user, session)
    claim(LoginID.objects.get())
    assert state_of(owner, owner.user, session) == rows


def test_wrong_password_guesses_do_not_touch_the_guest(application):
    regular_user(application)
    session = guest_session(application)
    before = whole_database()
    for _ in range(3):
        with pytest.raises(errors.CredentialsWrong):
            log_in_with_password(project=application.project, text=EMAIL, password=WRONG)
    assert whole_database() == before
    assert Session.objects.get(pk=session.pk).ended_at is None


def test_every_door_goes_through_the_one_place():
    """Nobody else takes the identity away."""
    from pathlib import Path

    import anonusers

    root = Path(inspect.getfile(anonusers)).parent
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if re.search(r"AnonymousIdentity\.objects.*\.delete\(", path.read_text())
    }
    assert found == {"promotion/__init__.py"}


@pytest.mark.parametrize("act", ["promote", "supersede"])
def test_a_guest_whose_person_went_on_as_somebody_else_is_gone(application, act):
    guest, somebody = new_guest(application), regular_user(application, "somebody@example.com")
    supersede(guest=guest, by=somebody, method="password")
    before = row_counts()
    with pytest.raises(errors.GuestGone):
        if act == "promote":
            promote(end_user=guest, project=application.project, proof=proof_of())
        else:
            supersede(guest=guest, by=somebody, method="password")
    assert row_counts() == before


def test_a_name_that_the_host_gives_away_meanwhile_is_a_clean_refusal(application):
    """The adapter looks, then writes: in between somebody of the host may take the name."""
    guest = new_guest(application)
    taken = regular_user(application).user.get_username()
    before = row_counts(), state_of(guest, guest.user)

    class Late:
        def find_user(self, project, login_id):
            return None

        def fill(self, user, login_id, *, verified, password):
            user.username = taken
            user.save(update_fields=["username"])

    proof = proof_of("other@example.com")
    with mock.patch("anonusers.promotion.get_adapter", Late), pytest.raises(errors.LoginIDTaken):
        promote(end_user=guest, project=application.project, proof=proof)
    assert (row_counts(), state_of(guest, guest.user)) == before


def test_no_hash_of_a_password_stays_behind_in_what_was_pending(application):
    guest = new_guest(application)
    pending = begin_promotion(
        end_user=guest, project=application.project, type="email", text=EMAIL, password=PASSWORD, by_code=True
    )
    assert OneTimeToken.objects.get().payload["password"]
    finish_promotion(handle=pending.handle, host=HOST, code=last_code(), end_user=guest)
    assert [row.payload for row in OneTimeToken.objects.all()] == [{}]
