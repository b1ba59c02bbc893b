"""Recovery codes: a guest moves to a new device, once, and nothing of before comes along."""

import re
from datetime import timedelta

import pytest
from django.test import TestCase
from django.utils import timezone

from anonusers import device_keys, errors, onetime
from anonusers.device_keys import issue_recovery_code, look_at_recovery_code
from anonusers.key_login import recover
from anonusers.models import DeviceKey, EndUser, OneTimeToken, Session
from anonusers.promotion import promote, supersede
from anonusers.sessions import open_session
from tests.anonusers.test_device_keys import fails_at_every_write, unspent
from tests.anonusers.test_promotion import refused
from tests.anonusers.test_promotion import told as told
from tests.conftest import HOST, make_application, make_project, row_counts, state_of
from tests.devices import Device, client_of, guest_with_key, log_in, request_of
from tests.people import guest_session, proof_of, regular_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]
OLD, NEW = "old-phone", "new-phone"


@pytest.fixture
def session(application):
    """Of a guest with a key."""
    return log_in(application, Device(OLD))


@pytest.fixture
def code(session):
    return issue_recovery_code(session=session).code


@pytest.fixture
def move(application):
    """Go on with a code on the new phone, or as told."""

    def move(code, device=None, request=None, host=HOST, **options):
        request = request or request_of(device or Device(NEW), application.project, "recover")
        return recover(client_of(application, **options), host=host, recovery_code=code, signed_request=request)

    return move


@pytest.fixture
def stays(application):
    """Refused, and nothing has changed: neither code nor challenge is spent."""

    def stays(error, code, device=None, action="recover", host=HOST):
        request = request_of(device or Device(NEW), application.project, action)
        client = client_of(application)
        call = lambda: recover(client, host=host, recovery_code=code, signed_request=request)  # noqa: E731
        return refused(error, call)

    return stays


# --- codes ----------------------------------------------------------------------------------------


def test_a_code_is_80_bits_in_groups_of_four_for_a_year(session):
    issued = issue_recovery_code(session=session)
    assert re.fullmatch(f"([{onetime.CROCKFORD}]{{4}}-){{3}}[{onetime.CROCKFORD}]{{4}}", issued.code)
    row = OneTimeToken.objects.get(purpose="recovery_code")
    assert (row.end_user, row.project, row.expires_at) == (session.end_user, session.project, issued.expires_at)
    assert row.expires_at - row.created_at == pytest.approx(timedelta(days=365), abs=timedelta(seconds=5))
    assert issued.code.replace("-", "") not in str(list(OneTimeToken.objects.values()))


def test_of_two_codes_the_second_one_counts(application, session, stays, move):
    bystander = issue_recovery_code(session=guest_session(application)).code
    first, second = (issue_recovery_code(session=session).code for _ in range(2))
    stays(errors.RecoveryCodeWrong, first)
    assert look_at_recovery_code(bystander, host=HOST).end_user != session.end_user
    assert move(second).session.end_user == session.end_user
    stays(errors.RecoveryCodeWrong, second, Device("third-phone"))


TYPED = {
    "lower case": str.lower,
    "without hyphens": lambda code: code.replace("-", ""),
    "with spaces": lambda code: f"  {code.replace('-', ' ')}\n",
    "O for 0": lambda code: code.replace("0", "O"),
    "o for 0": lambda code: code.replace("0", "o"),
    "I for 1": lambda code: code.replace("1", "I"),
    "l for 1": lambda code: code.replace("1", "l"),
}


@pytest.mark.parametrize("how", TYPED)
def test_a_code_is_read_as_people_type_it(session, monkeypatch, how):
    codes = iter("0123456789ABCDEF")
    monkeypatch.setattr(onetime.secrets, "choice", lambda _: next(codes))
    code = issue_recovery_code(session=session).code
    assert code == "0123-4567-89AB-CDEF"
    assert look_at_recovery_code(TYPED[how](code), host=HOST).end_user == session.end_user


@pytest.mark.parametrize(
    "text", ["", "-", "0", "0000-0000-0000-0000", "x" * 10_000, "\0", "é", "ſ"], ids=lambda text: ascii(text[:6])
)
def test_what_is_no_code_is_wrong(session, code, stays, text):
    stays(errors.RecoveryCodeWrong, text)
    stays(errors.RecoveryCodeWrong, code + text if text not in ("", "-") else code[:-1])


NOT_GOOD = {
    "spent": lambda session: OneTimeToken.objects.update(used_at=timezone.now()),
    "expired": lambda session: OneTimeToken.objects.update(expires_at=timezone.now()),
    "of another purpose": lambda session: OneTimeToken.objects.update(purpose="promotion_code"),
    "of a promoted guest": lambda session: promote(
        end_user=session.end_user, project=session.project, proof=proof_of()
    ),
    "of a deleted guest": lambda session: session.end_user.user.delete(),
    "of nobody": lambda session: OneTimeToken.objects.update(end_user=None),
}


@pytest.mark.parametrize("what", NOT_GOOD)
def test_a_code_that_is_not_good_any_more_is_wrong(session, code, stays, what):
    NOT_GOOD[what](session)
    stays(errors.RecoveryCodeWrong, code)


def test_a_code_of_another_project_or_at_another_host_is_wrong(application, code, stays):
    other = make_application(make_project("other", "other.localhost"))
    theirs = issue_recovery_code(session=guest_session(other)).code
    stays(errors.RecoveryCodeWrong, theirs)
    stays(errors.RecoveryCodeWrong, code, host="other.localhost")


def test_a_code_of_somebody_who_went_on_as_somebody_else_is_wrong(application, session, code, stays):
    owner = regular_user(application, "owner@example.com")
    supersede(guest=session.end_user, by=owner, method="password")
    stays(errors.RecoveryCodeWrong, code)


NO_CODE = {
    "regular": (
        lambda s: promote(end_user=s.end_user, project=s.project, proof=proof_of(), keep_session=s),
        errors.UserIsRegular,
    ),
    "disabled": (lambda s: EndUser.objects.update(disabled_at=timezone.now()), errors.GuestGone),
    "switched off": (lambda s: type(s.end_user.user).objects.update(is_active=False), errors.GuestGone),
    "deleted": (lambda s: s.end_user.user.delete(), errors.GuestGone),
    "signed out": (lambda s: Session.objects.update(ended_at=timezone.now()), errors.NotSignedIn),
}


@pytest.mark.parametrize("who", NO_CODE)
def test_who_is_no_guest_with_a_session_gets_no_code(session, code, who):
    happen, error = NO_CODE[who]
    happen(session)
    session = Session.objects.in_full().filter(pk=session.pk).first() or session
    refused(error, lambda: issue_recovery_code(session=session))


def test_a_fault_while_a_code_is_made_leaves_the_one_before(session, code):
    assert fails_at_every_write(lambda: issue_recovery_code(session=session)) == 2
    assert OneTimeToken.objects.filter(purpose="recovery_code", used_at=None).count() == 1


# --- moves ----------------------------------------------------------------------------------------


def test_the_guest_goes_on_with_the_new_key_and_nothing_of_before(application, session, code, move, told):
    guest = session.end_user
    open_session(end_user=guest, project=guest.project, application=None, kind="cookie")
    purposes = set(onetime.LIFETIMES)
    for purpose in purposes:
        onetime.issue(purpose, project=guest.project, end_user=guest)
    bystander = log_in(application, Device("bystander"))
    theirs = onetime.issue("promotion_code", project=guest.project, end_user=bystander.end_user).token
    others = state_of(bystander, theirs, guest, guest.user, DeviceKey.objects.get(key_id="key-of-bystander"))
    request = request_of(Device(NEW), application.project, "recover")
    before = row_counts()
    with TestCase.captureOnCommitCallbacks(execute=True):
        moved = move(code, request=request, scope="openid", user_agent="New/1", dpop_jkt="j" * 43)
    grown = {label: count - before[label] for label, count in row_counts().items() if count != before[label]}
    assert grown == {"anonusers.AuditEvent": 1, "anonusers.DeviceKey": 1, "anonusers.Session": 1}
    assert (moved.session.end_user, moved.created, moved.secret is None) == (guest, False, False)
    now = Session.objects.get(end_user=guest, ended_at=None)
    assert (now.pk, now.amr, now.kind, now.scope) == (moved.session.pk, "pop", "token", "openid")
    assert (now.user_agent, now.dpop_jkt) == ("New/1", "j" * 43)
    old, new = (DeviceKey.objects.get(key_id=f"key-of-{name}") for name in (OLD, NEW))
    assert (old.end_user, old.retired_at is None, old.revoked_at) == (None, False, None)
    assert (new.end_user, new.retired_at) == (guest, None)
    assert not OneTimeToken.objects.filter(end_user=guest, used_at=None).exists()
    assert [(event.type, event.end_user, event.details) for event in told] == [
        ("user.device_key.added", guest, {"key_id": new.key_id}),
        ("user.authenticated", guest, {}),
    ]
    assert others == state_of(bystander, theirs, guest, guest.user, DeviceKey.objects.get(key_id="key-of-bystander"))
    assert log_in(application, Device(NEW)).end_user == guest
    assert log_in(application, Device(OLD)).end_user != guest, "the project makes a new guest of a retired key"


def test_a_guest_without_a_key_moves_too(application, move):
    session = guest_session(application)
    code = issue_recovery_code(session=session).code
    assert move(code).session.end_user == session.end_user
    assert DeviceKey.objects.get().end_user == session.end_user


@pytest.mark.parametrize("switched_off", [False, True], ids=["disabled", "switched off by the host"])
def test_a_disabled_guest_is_told_so_and_moves_when_enabled(session, code, stays, move, switched_off):
    users = type(session.end_user.user).objects
    if switched_off:
        users.update(is_active=False)
    else:
        EndUser.objects.update(disabled_at=timezone.now())
    stays(errors.UserDisabled, code)
    users.update(is_active=True)
    EndUser.objects.update(disabled_at=None)
    assert move(code).session.end_user == session.end_user


def test_a_key_that_was_used_before_is_taken(application, session, code, stays):
    stays(errors.KeyTaken, code, Device(OLD))
    other = guest_with_key(application, Device(NEW))
    stays(errors.KeyTaken, code)
    other.user.delete()
    stays(errors.KeyTaken, code)


def test_a_request_that_proves_nothing_spends_no_code(code, stays, move):
    stays(errors.KeyProofRefused, code, action="auth")
    refused(errors.KeyProofRefused, lambda: move(code, request="x.y.z"))
    unknown = Device(NEW).sign("0" * 32, "recover")
    refused(errors.KeyProofRefused, lambda: move(code, request=unknown))


def test_guesses_have_the_budget_of_log_ins(code, move, settings):
    settings.ANONUSERS_LOGIN_PER_IP = "2/h"
    for _ in range(2):
        refused(errors.RecoveryCodeWrong, lambda: move("0000", request="x", ip="192.0.2.1"))
    assert refused(errors.RateLimited, lambda: move(code, request="x", ip="192.0.2.1")).budget == "login_per_ip"
    move(code, ip="192.0.2.2")


def test_where_one_session_is_allowed_the_new_one_is_left(application, session, code, move):
    application.max_concurrent_sessions = 1
    application.save()
    assert Session.objects.get(pk=move(code).session.pk) == Session.objects.get(ended_at=None)


def test_a_code_that_is_spent_meanwhile_moves_nobody(application, session, code, monkeypatch, move):
    """Between our look and our lock."""
    token = look_at_recovery_code(code, host=HOST)
    request = request_of(Device("third-phone"), application.project, "recover")
    move(code)
    monkeypatch.setattr(device_keys, "look_at_recovery_code", lambda *_, **__: token)
    refused(errors.RecoveryCodeWrong, lambda: move(code, request=request))


def test_a_fault_between_any_two_writes_leaves_the_guest_where_they_were(application, code, move):
    request = request_of(Device(NEW), application.project, "recover")
    # code, challenge, the old key, the new key, sessions, everything else that was issued, audit log, the new session
    assert fails_at_every_write(lambda: move(code, request=request)) == 8
    assert unspent() == 0
