"""Device keys: who holds one is its guest; it is given, used and taken away as a whole, or not at all."""

import re
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from anonusers import device_keys, errors, onetime
from anonusers.device_keys import add_key, list_keys, prove, remove_key
from anonusers.models import DeviceKey, EndUser, OneTimeToken, Session
from anonusers.promotion import promote
from anonusers.sessions import open_session
from tests.anonusers.signing import ec_key, rsa_key
from tests.anonusers.test_promotion import refused
from tests.anonusers.test_promotion import told as told
from tests.conftest import HOST, ORIGIN, make_application, make_project, row_counts, state_of, whole_database
from tests.devices import Device, challenge, guest_with_key, log_in, proof_of_key, request_of
from tests.people import guest_session, new_guest, proof_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]
Purpose = OneTimeToken.Purpose
WRITES = ("INSERT", "UPDATE", "DELETE", "WITH")


def proven(application, request, action="auth"):
    return prove(project=application.project, signed_request=request, expected_action=action, expected_origin=ORIGIN)


def added(session, device, request=None):
    request = request or request_of(device, session.project, "add_key")
    return add_key(session=session, signed_request=request, expected_origin=ORIGIN)


def fails_at_every_write(call):
    """Let the first write fail, then the second one, and so on: each time nothing is left. Returns how many writes."""
    for number in range(1, 40):
        before, seen = whole_database(), []

        def fail(execute, sql, params, many, context, number=number, seen=seen):
            if sql.startswith(WRITES):
                seen.append(sql)
                if len(seen) == number:
                    raise RuntimeError("the power is gone")
            return execute(sql, params, many, context)

        with TestCase.captureOnCommitCallbacks() as callbacks, connection.execute_wrapper(fail):
            try:
                with transaction.atomic():
                    call()
            except RuntimeError:
                pass
            else:
                return number - 1
        assert (whole_database(), callbacks) == (before, []), seen[-1]
    raise AssertionError("it never ends")


def unspent():
    return OneTimeToken.objects.filter(used_at=None).count()


# --- challenges -----------------------------------------------------------------------------------


def test_a_challenge_is_32_characters_for_five_minutes(project):
    issued = device_keys.issue_challenge(project)
    assert re.fullmatch(f"[{onetime.CROCKFORD}]{{32}}", issued.secret)
    row = OneTimeToken.objects.get()
    assert (row.purpose, row.project, row.end_user, row.application) == ("anonymous_request", project, None, None)
    assert row.expires_at - row.created_at == pytest.approx(timedelta(minutes=5), abs=timedelta(seconds=5))
    assert issued.secret not in str(whole_database())
    assert device_keys.issue_challenge(project, Purpose.BIOMETRIC_REQUEST).token.purpose == "biometric_request"


SPOILT = {
    "spent": lambda: OneTimeToken.objects.update(used_at=timezone.now()),
    "expired": lambda: OneTimeToken.objects.update(expires_at=timezone.now()),
    "gone": lambda: OneTimeToken.objects.all().delete(),
    "of another purpose": lambda: OneTimeToken.objects.update(purpose=Purpose.BIOMETRIC_REQUEST),
    "of another project": lambda: OneTimeToken.objects.update(project=make_project("other", "other.localhost")),
}


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_challenge_that_is_not_ours_and_unspent_is_refused(application, spoil):
    device = Device()
    guest_with_key(application, device)
    proof = proof_of_key(device, application.project)
    SPOILT[spoil]()
    refused(errors.KeyProofRefused, proof.spend_challenge)
    refused(errors.KeyProofRefused, proof.bind_challenge)


def test_a_challenge_is_spent_once(application):
    proof = proof_of_key(Device(), application.project)
    proof.spend_challenge()
    refused(errors.KeyProofRefused, proof.spend_challenge)


def test_a_bound_challenge_is_its_guests_alone_until_all_of_theirs_is_void(application):
    device, other = Device(), Device("other-phone")
    guest, secret = guest_with_key(application, device), challenge(application.project)
    guest_with_key(application, other)
    proof = proven(application, device.sign(secret, "promote"), "promote")
    proof.bind_challenge()
    proof.bind_challenge()
    assert OneTimeToken.objects.get(end_user=guest).used_at is None
    refused(errors.KeyProofRefused, proven(application, other.sign(secret)).bind_challenge)
    refused(errors.KeyProofRefused, proven(application, device.sign(secret)).spend_challenge)
    onetime.void_all(guest)
    refused(errors.KeyProofRefused, proof.bind_challenge)


def test_a_challenge_is_bound_for_nobody(application):
    proof = proof_of_key(Device(), application.project)
    refused(errors.KeyProofRefused, proof.bind_challenge)
    device = Device("phone-2")
    guest = guest_with_key(application, device)
    proof = proof_of_key(device, application.project)
    guest.user.delete()
    refused(errors.KeyProofRefused, proof.bind_challenge)


# --- prove ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("private", [ec_key, rsa_key], ids=["ES256", "RS256"])
def test_a_new_key_proves_itself_and_nothing_is_spent(application, private):
    device = Device(private=private())
    request = request_of(device, application.project)
    before = whole_database()
    with CaptureQueriesContext(connection) as captured:
        proof = proven(application, request)
    assert (proof.row, proof.guest, proof.request.key_id, len(captured)) == (None, None, device.key_id, 2)
    assert whole_database() == before


@pytest.mark.parametrize("with_key", [True, False])
@pytest.mark.parametrize("private", [ec_key, rsa_key], ids=["ES256", "RS256"])
def test_a_known_key_leads_to_its_guest_with_one_statement(application, private, with_key):
    device = Device(private=private())
    guest = guest_with_key(application, device)
    request = request_of(device, application.project, with_key=with_key)
    with CaptureQueriesContext(connection) as captured:
        proof = proven(application, request)
        assert (proof.guest, proof.guest.user, proof.guest.is_guest) == (guest, guest.user, True)
    assert (proof.row.key_id, len(captured)) == (device.key_id, 1)


REFUSED = {
    "unknown, and no key with it": lambda phone, other: (other, {"with_key": False}),
    "another key under a known ID": lambda phone, other: (Device(private=other.private, key_id=phone.key_id), {}),
    "a known ID alone": lambda phone, other: (Device(private=other.private, key_id=phone.key_id), {"with_key": False}),
    "a known key under another ID": lambda phone, other: (Device(private=phone.private, key_id="another-id"), {}),
    "an ID in other letters": lambda phone, other: (Device(private=phone.private, key_id=phone.key_id.upper()), {}),
    "another action": lambda phone, other: (phone, {"action": "promote"}),
    "for somebody else": lambda phone, other: (phone, {"aud": "https://evil.example"}),
    "too old": lambda phone, other: (phone, {"exp": 1}),
}


@pytest.mark.parametrize("how", REFUSED)
def test_what_does_not_prove_a_key_is_refused(application, how):
    phone = Device()
    guest_with_key(application, phone)
    device, options = REFUSED[how](phone, Device("other-phone"))
    request = request_of(device, application.project, **options)
    refused(errors.KeyProofRefused, lambda: proven(application, request))


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "é.é.é", "." * 20_000], ids=lambda text: ascii(text[:6]))
def test_what_is_no_signed_request_is_refused_without_a_statement(application, text):
    with CaptureQueriesContext(connection) as captured, pytest.raises(errors.KeyProofRefused):
        proven(application, text)
    assert len(captured) == 0


def test_a_key_is_one_projects(application):
    device = Device()
    guest = guest_with_key(application, device)
    other = make_application(make_project("other", "other.localhost"))
    assert proof_of_key(device, other.project).row is None
    assert guest_with_key(other, device) != guest
    assert DeviceKey.objects.filter(key_id=device.key_id).count() == 2


# --- use ------------------------------------------------------------------------------------------


def in_one(call):
    def together():
        with transaction.atomic():
            return call()

    return together


def test_a_used_key_spends_its_challenge_and_notes_the_time(application):
    device = Device()
    guest = guest_with_key(application, device)
    DeviceKey.objects.update(last_used_at=timezone.now() - timedelta(days=9))
    proof = proof_of_key(device, application.project)
    assert in_one(lambda: device_keys.use(proof))() == guest
    assert timezone.now() - DeviceKey.objects.get().last_used_at < timedelta(seconds=60)
    assert unspent() == 0


MEANWHILE = {
    "disabled": (lambda guest: EndUser.objects.update(disabled_at=timezone.now()), errors.UserDisabled),
    "deleted": (lambda guest: guest.user.delete(), device_keys.Raced),
    "promoted": (lambda guest: promote(end_user=guest, project=guest.project, proof=proof_of()), device_keys.Raced),
    "without its key": (lambda guest: remove_key(end_user=guest, key_id="key-of-phone"), device_keys.Raced),
}


@pytest.mark.parametrize("what", MEANWHILE)
def test_a_guest_who_changed_meanwhile_is_not_used(application, what):
    happen, error = MEANWHILE[what]
    guest = guest_with_key(application, Device())
    proof = proof_of_key(Device(), application.project)
    happen(guest)
    refused(error, in_one(lambda: device_keys.use(proof)))
    assert unspent() == 1


def test_a_key_that_leads_to_nobody_is_not_used_and_one_that_leads_to_somebody_is_not_woken(application):
    new = proof_of_key(Device(), application.project)
    refused(device_keys.Raced, lambda: device_keys.use(new))
    guest = new_guest(application)
    refused(device_keys.Raced, lambda: new.wake(guest))
    guest_with_key(application, Device())
    proof = proof_of_key(Device(), application.project)
    refused(device_keys.Raced, lambda: proof.wake(guest))
    remove_key(end_user=proof.guest, key_id="key-of-phone")
    refused(device_keys.Raced, lambda: proof.wake(guest))


# --- add ------------------------------------------------------------------------------------------


def test_a_guest_is_given_a_key_and_comes_back_with_it(application, told):
    session, device = guest_session(application), Device()
    before = row_counts()
    with TestCase.captureOnCommitCallbacks(execute=True):
        row = added(session, device)
    grown = {label: count - before[label] for label, count in row_counts().items() if count != before[label]}
    assert grown == {"anonusers.AuditEvent": 1, "anonusers.DeviceKey": 1, "anonusers.OneTimeToken": 1}
    assert (row.end_user, row.key_id, row.algorithm) == (session.end_user, device.key_id, "ES256")
    assert [(event.type, event.session, event.details) for event in told] == [
        ("user.device_key.added", session, {"key_id": device.key_id})
    ]
    assert (list_keys(session.end_user), unspent()) == ([row], 0)
    assert Session.objects.get().ended_at is None
    assert log_in(application, device).end_user == session.end_user


NO_KEY = {
    "regular": (lambda s: promote(end_user=s.end_user, project=s.project, proof=proof_of()), errors.UserIsRegular),
    "disabled": (lambda s: EndUser.objects.update(disabled_at=timezone.now()), errors.GuestGone),
    "deleted": (lambda s: s.end_user.user.delete(), errors.GuestGone),
    "signed out": (lambda s: Session.objects.update(ended_at=timezone.now()), errors.NotSignedIn),
    "with a key": (lambda s: added(s, Device("other-phone")), errors.KeyExists),
}


@pytest.mark.parametrize("who", NO_KEY)
def test_who_cannot_have_a_key_is_given_none(application, who):
    happen, error = NO_KEY[who]
    session = guest_session(application)
    request = request_of(Device(), application.project, "add_key")
    happen(session)
    refused(error, lambda: added(session, None, request))


def test_a_key_that_was_used_before_is_not_added(application):
    session = guest_session(application)
    owner = guest_with_key(application, Device())
    request = request_of(Device(), application.project, "add_key")
    refused(errors.KeyTaken, lambda: added(session, None, request))
    owner.user.delete()
    refused(errors.KeyTaken, lambda: added(session, None, request))
    assert added(session, Device("other-phone")).end_user == session.end_user


def test_a_request_that_proves_nothing_adds_no_key(application):
    session, project, phone = guest_session(application), application.project, Device()
    refused(errors.KeyProofRefused, lambda: added(session, None, "x.y.z"))
    logging_in = request_of(phone, project)
    refused(errors.KeyProofRefused, lambda: added(session, None, logging_in))
    unknown = phone.sign("0" * 32, "add_key")
    refused(errors.KeyProofRefused, lambda: added(session, None, unknown))


def test_a_key_that_came_into_use_meanwhile_is_taken(application, monkeypatch):
    session, phone = guest_session(application), Device()
    request = request_of(phone, application.project, "add_key")
    proof = proven(application, request, "add_key")
    guest_with_key(application, phone)
    monkeypatch.setattr(device_keys, "prove", lambda **_: proof)
    refused(errors.KeyTaken, lambda: added(session, None, request))


def test_a_fault_while_a_key_is_added_leaves_nothing(application):
    session, request = guest_session(application), request_of(Device(), application.project, "add_key")
    # challenge, key, audit log
    assert fails_at_every_write(lambda: added(session, None, request)) == 3


# --- list and remove ------------------------------------------------------------------------------


def test_a_removed_key_is_never_good_again_and_what_it_opened_ends(application, told):
    device, bystander = Device(), log_in(application, Device("other-phone"))
    opened = log_in(application, device)
    guest = opened.end_user
    cookie = open_session(end_user=guest, project=guest.project, application=None, kind="cookie", amr="pop")[0]
    beside = open_session(end_user=guest, project=guest.project, application=application, kind="token")[0]
    others = state_of(bystander, DeviceKey.objects.get(key_id="key-of-other-phone"), guest, guest.user)
    code = device_keys.issue_recovery_code(session=opened).code
    with TestCase.captureOnCommitCallbacks(execute=True):
        remove_key(end_user=guest, key_id=device.key_id)
    ended = dict(Session.objects.values_list("pk", "ended_at"))
    assert (ended[opened.pk] is None, ended[cookie.pk] is None, ended[beside.pk]) == (False, False, None)
    row = DeviceKey.objects.get(key_id=device.key_id)
    assert (row.end_user, row.retired_at == row.revoked_at, row.revoked_at is None) == (None, True, False)
    assert [(event.type, event.end_user, event.details) for event in told] == [
        ("user.device_key.removed", guest, {"key_id": device.key_id})
    ]
    assert (list_keys(guest), guest.is_guest) == ([], True)
    assert others == state_of(bystander, DeviceKey.objects.get(key_id="key-of-other-phone"), guest, guest.user)
    request = request_of(device, application.project)
    refused(errors.KeyProofRefused, lambda: proven(application, request))
    refused(errors.RecoveryCodeWrong, lambda: device_keys.look_at_recovery_code(code, host=HOST))
    again = request_of(device, application.project, "add_key")
    refused(errors.KeyProofRefused, lambda: added(beside, None, again))
    assert added(beside, Device("new-phone")).end_user == guest


def test_the_session_that_removes_a_key_may_stay(application, told):
    session = log_in(application, Device())
    another = log_in(application, Device())
    with TestCase.captureOnCommitCallbacks(execute=True):
        remove_key(end_user=session.end_user, key_id="key-of-phone", keep_session=session)
    assert Session.objects.get(ended_at=None) == session
    assert Session.objects.get(pk=another.pk).ended_at is not None
    assert [event.session for event in told] == [session]


@pytest.mark.parametrize("key_id", ["", "key-of-other-phone", "KEY-OF-PHONE", "nothing-known"])
def test_a_key_that_is_not_the_guests_is_not_removed(application, key_id):
    guest = guest_with_key(application, Device())
    guest_with_key(application, Device("other-phone"))
    refused(errors.UnknownKey, lambda: remove_key(end_user=guest, key_id=key_id))


def test_a_key_is_removed_once(application):
    guest = guest_with_key(application, Device())
    # the key, the sessions, the secrets, the audit log
    assert fails_at_every_write(lambda: remove_key(end_user=guest, key_id="key-of-phone")) == 4
    refused(errors.UnknownKey, lambda: remove_key(end_user=guest, key_id="key-of-phone"))


# --- what the database itself refuses -------------------------------------------------------------


def row_with(proof, guest, **fields):
    row = proof.new_row(guest)
    vars(row).update(fields)
    return row


IMPOSSIBLE = {
    "one ID twice": {"thumbprint": "x"},
    "one key twice": {"key_id": "another-id"},
    "two keys of one guest": {"thumbprint": "x", "key_id": "another-id", "end_user": "theirs"},
    "another algorithm": {"thumbprint": "x", "key_id": "another-id", "algorithm": "none"},
    "retired, and yet somebody's": {"thumbprint": "x", "key_id": "another-id", "retired_at": timezone.now()},
    "revoked, and yet somebody's": {"thumbprint": "x", "key_id": "another-id", "revoked_at": timezone.now()},
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_the_database_refuses_what_cannot_be(application, what):
    owner = guest_with_key(application, Device())
    proof, fields = proof_of_key(Device(), application.project), dict(IMPOSSIBLE[what])
    guest = owner if fields.pop("end_user", "") else new_guest(application)
    row = row_with(proof, guest, **fields)
    refused(IntegrityError, in_one(lambda: row.save(force_insert=True)))


def test_many_keys_may_lead_to_nobody_and_each_project_has_its_own(application):
    proof, now = proof_of_key(Device(), application.project), timezone.now()
    other = make_project("other", "other.localhost")
    for fields in ({}, {"key_id": "two", "thumbprint": "2"}, {"project_id": other.pk}):
        row_with(proof, None, retired_at=now, revoked_at=now, **fields).save(force_insert=True)
    assert DeviceKey.objects.filter(end_user=None).count() == 3


def test_of_a_deleted_guest_the_key_stays_as_a_tombstone(application):
    guest = guest_with_key(application, Device())
    [before] = state_of(DeviceKey.objects.get())
    guest.user.delete()
    [after] = state_of(DeviceKey.objects.get())
    assert after == before | {"end_user_id": None}
    assert (EndUser.objects.count(), Session.objects.count()) == (0, 0)


def test_of_a_deleted_project_nothing_stays(application):
    kept = guest_with_key(make_application(make_project("other", "other.localhost")), Device())
    guest_with_key(application, Device())
    remove_key(end_user=guest_with_key(application, Device("other-phone")), key_id="key-of-other-phone")
    application.project.delete()
    assert DeviceKey.objects.get().end_user == EndUser.objects.get() == kept
    assert set(OneTimeToken.objects.values_list("project", flat=True)) == {kept.project_id}
