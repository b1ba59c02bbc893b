"""Log in with a device key: the same guest again and again, and what refuses it."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from anonusers import device_keys, errors, key_login, keys
from anonusers.adapters import Adapter
from anonusers.device_keys import remove_key
from anonusers.key_login import log_in_with_key, recover
from anonusers.models import DeviceKey, EndUser, Session, SigningKey
from anonusers.promotion import promote
from tests.anonusers.test_device_keys import fails_at_every_write, unspent
from tests.anonusers.test_promotion import refused
from tests.anonusers.test_promotion import told as told
from tests.conftest import HOST, make_application, row_counts
from tests.devices import Device, client_of, guest_with_key, log_in, request_of
from tests.people import proof_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def come_in(application, device, **options):
    request = request_of(device, application.project)
    return log_in_with_key(client_of(application, **options), signed_request=request)


def turned_away(error, application, device, **options):
    """Refused, and nothing has changed: the challenge is unspent, too."""
    request = request_of(device, application.project)
    client = client_of(application, **options)
    return refused(error, lambda: log_in_with_key(client, signed_request=request))


# --- who it is ------------------------------------------------------------------------------------


def test_a_new_key_makes_a_guest_and_the_same_key_leads_back(application, told):
    device = Device()
    before = row_counts()
    with TestCase.captureOnCommitCallbacks(execute=True):
        first = come_in(application, device)
    grown = {label: count - before[label] for label, count in row_counts().items() if count != before[label]}
    assert grown == {
        "anonusers.EndUser": 1,
        "anonusers.AnonymousIdentity": 1,
        "anonusers.DeviceKey": 1,
        "anonusers.OneTimeToken": 1,
        "anonusers.Session": 1,
        "auth.User": 1,
    }
    guest, key = EndUser.objects.get(), DeviceKey.objects.get()
    assert (first.created, first.session.end_user, first.session.amr, guest.is_guest) == (True, guest, "pop", True)
    assert (key.end_user, key.key_id, key.created_at, key.retired_at) == (guest, device.key_id, key.last_used_at, None)
    DeviceKey.objects.update(last_used_at=timezone.now() - timedelta(days=9))
    with TestCase.captureOnCommitCallbacks(execute=True):
        second = come_in(application, device)
    assert (second.created, second.session.end_user, second.session.amr) == (False, guest, "pop")
    assert second.session.pk != first.session.pk
    assert Session.objects.filter(ended_at=None).count() == 2
    assert DeviceKey.objects.get().created_at == key.created_at < DeviceKey.objects.get().last_used_at
    assert [(event.type, event.session.pk) for event in told] == [
        ("user.created", first.session.pk),
        ("user.authenticated", second.session.pk),
    ]
    assert unspent() == 0


def test_two_keys_are_two_guests(application):
    assert guest_with_key(application, Device()) != guest_with_key(application, Device("other-phone"))


def test_all_applications_of_a_project_have_the_same_guest(application):
    native = make_application(application.project, "app", type="native")
    assert log_in(native, Device()).end_user == log_in(application, Device()).end_user


GONE = {
    "promoted": lambda guest: promote(end_user=guest, project=guest.project, proof=proof_of()),
    "deleted": lambda guest: guest.user.delete(),
    "moved on": lambda guest: DeviceKey.objects.update(end_user=None, retired_at=timezone.now()),
}


@pytest.mark.parametrize("what", GONE)
def test_a_retired_key_is_a_new_guests_where_the_project_says_so(application, told, what):
    device = Device()
    before = guest_with_key(application, device)
    GONE[what](before)
    DeviceKey.objects.update(created_at=timezone.now() - timedelta(days=9))
    with TestCase.captureOnCommitCallbacks(execute=True):
        signed_up = come_in(application, device)
    key = DeviceKey.objects.get()
    assert (signed_up.created, signed_up.session.end_user == before) == (True, False)
    assert (key.end_user, key.retired_at) == (signed_up.session.end_user, None)
    assert key.created_at == key.last_used_at > timezone.now() - timedelta(days=1)
    assert [event.type for event in told] == ["user.created"]
    assert come_in(application, device).session.end_user == signed_up.session.end_user


@pytest.mark.parametrize("what", GONE)
def test_a_retired_key_is_nobodys_where_the_project_refuses(application, what):
    application.project.retired_device_keys = "refuse"
    application.project.save()
    GONE[what](guest_with_key(application, Device()))
    turned_away(errors.KeyProofRefused, application, Device())
    assert come_in(application, Device("other-phone")).created is True


@pytest.mark.parametrize("policy", ["new_guest", "refuse"])
def test_a_removed_key_is_nobodys_whatever_the_project_says(application, policy):
    application.project.retired_device_keys = policy
    application.project.save()
    remove_key(end_user=guest_with_key(application, Device()), key_id="key-of-phone")
    turned_away(errors.KeyProofRefused, application, Device())


# --- what the session is like ---------------------------------------------------------------------


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
def test_the_session_is_as_the_client_says(application, known):
    if known:
        log_in(application, Device())
    told = {"scope": "openid offline_access", "user_agent": "Phone/1\0", "dpop_jkt": "j" * 43}
    session = log_in(application, Device(), device={"model": "X", "colour": "red"}, **told)
    assert (session.kind, session.application, session.scope) == ("token", application, told["scope"])
    assert (session.user_agent, session.dpop_jkt, session.device) == ("Phone/1", "j" * 43, {"model": "X"})
    assert session.authenticated_at is None


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
def test_what_was_signed_tells_the_device_where_the_client_did_not(application, known):
    if known:
        log_in(application, Device())
    read = lambda info: {"model": info.get("model", "none told")}  # noqa: E731

    def device(said, **claims):
        request = request_of(Device(), application.project, **claims)
        client = client_of(application, device=said, device_of=read)
        return log_in_with_key(client, signed_request=request).session.device

    assert device({}, device_info={"model": "signed"}) == {"model": "signed"}
    assert device({"model": "said"}, device_info={"model": "signed"}) == {"model": "said"}
    assert device({}) == {"model": "none told"}


def test_a_cookie_needs_no_signing_key(application):
    SigningKey.objects.all().delete()
    for created in (True, False):
        signed_up = come_in(application, Device(), kind="cookie")
        assert (signed_up.created, signed_up.session.kind) == (created, "cookie")


def test_where_one_session_is_allowed_that_of_before_ends(application, told):
    application.max_concurrent_sessions = 1
    application.save()
    other = make_application(application.project, "other")
    elsewhere, before = log_in(other, Device()), log_in(application, Device())
    with TestCase.captureOnCommitCallbacks(execute=True):
        now = log_in(application, Device())
    assert set(Session.objects.filter(ended_at=None)) == {elsewhere, now}
    assert [(event.type, event.session) for event in told] == [
        ("user.signed_out", before),
        ("user.authenticated", now),
    ]
    cookie = log_in(application, Device(), kind="cookie")
    assert set(Session.objects.filter(ended_at=None)) == {elsewhere, now, cookie}


# --- refused, and nothing changed -----------------------------------------------------------------


def asked_for_nothing(error, call):
    with CaptureQueriesContext(connection) as captured, pytest.raises(error):
        call()
    assert len(captured) == 0


@pytest.mark.parametrize("text", ["x", None], ids=["garbage", "a good request"])
def test_who_may_not_have_guests_learns_nothing_about_keys(application, text):
    guest_with_key(application, Device())
    request = text or request_of(Device(), application.project)
    calls = (
        lambda client: log_in_with_key(client, signed_request=request),
        lambda client: recover(client, host=HOST, recovery_code="x", signed_request=request),
    )
    for call in calls:
        application.project.anonymous_users_enabled, application.type = False, "spa"
        asked_for_nothing(errors.AnonymousUsersDisabled, lambda call=call: call(client_of(application)))
        application.type = "m2m"
        asked_for_nothing(errors.ApplicationTypeNotAllowed, lambda call=call: call(client_of(application)))


def test_a_disabled_guest_is_told_so_and_comes_back_when_enabled(application):
    guest = guest_with_key(application, Device())
    request = request_of(Device(), application.project)
    call = lambda: log_in_with_key(client_of(application), signed_request=request)  # noqa: E731
    EndUser.objects.update(disabled_at=timezone.now())
    refused(errors.UserDisabled, call)
    EndUser.objects.update(disabled_at=None)
    type(guest.user).objects.update(is_active=False)
    refused(errors.UserDisabled, call)
    type(guest.user).objects.update(is_active=True)
    assert call().session.end_user == guest


def test_log_ins_have_a_budget_an_address_and_new_guests_that_of_sign_ups(application, settings):
    settings.ANONUSERS_SIGNUP_PER_IP, settings.ANONUSERS_KEY_LOGIN_PER_IP = "1/h", "3/h"
    come_in(application, Device(), ip="192.0.2.1")
    refused_one = turned_away(errors.RateLimited, application, Device("other-phone"), ip="192.0.2.1")
    assert refused_one.budget == "signup_per_ip"
    come_in(application, Device(), ip="192.0.2.1")
    assert turned_away(errors.RateLimited, application, Device(), ip="192.0.2.1").budget == "key_login_per_ip"
    asked_for_nothing(
        errors.RateLimited,
        lambda: log_in_with_key(client_of(application, ip="192.0.2.1"), signed_request="x"),
    )
    come_in(application, Device(), ip="192.0.2.2")


class Closed(Adapter):
    def is_open_for_signup(self, project):
        return False


class Picky(Adapter):
    def pre_create(self, project, application):
        raise errors.SignupVetoed("No", "not today")


@pytest.mark.parametrize(
    ("adapter", "error"), [(Closed, errors.PublicSignupDisabled), (Picky, errors.SignupVetoed)], ids=["closed", "picky"]
)
def test_a_host_that_wants_no_new_guests_keeps_those_it_has(application, settings, adapter, error):
    known = guest_with_key(application, Device())
    settings.ANONUSERS_ADAPTER = f"{__name__}.{adapter.__name__}"
    turned_away(error, application, Device("other-phone"))
    assert come_in(application, Device()).session.end_user == known


def test_signing_keys_that_cannot_be_read_cost_no_challenge(application):
    guest_with_key(application, Device())
    SigningKey.objects.update(private_key="unreadable")
    keys._rings.clear()
    application.project.refresh_from_db()
    turned_away(errors.SealBroken, application, Device())


# --- races, one step at a time --------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2])
def test_a_key_that_changes_hands_meanwhile_is_looked_at_again(application, monkeypatch, times):
    guest = guest_with_key(application, Device())
    original, races = device_keys.use, iter(range(times))

    def use(proof):
        if next(races, None) is not None:
            raise device_keys.Raced
        return original(proof)

    monkeypatch.setattr(device_keys, "use", use)
    assert come_in(application, Device()).session.end_user == guest


def test_who_races_for_ever_is_refused(application, monkeypatch):
    guest_with_key(application, Device())

    def use(proof):
        proof.spend_challenge()
        raise device_keys.Raced

    monkeypatch.setattr(device_keys, "use", use)
    turned_away(errors.KeyProofRefused, application, Device())


@pytest.mark.parametrize("taken", ["the key", "its ID"])
def test_a_new_key_that_comes_into_use_meanwhile(application, monkeypatch, taken):
    """Between our look and our commit."""
    device = Device()
    winner = device if taken == "the key" else Device("other-phone", key_id=device.key_id)
    request, first, original = request_of(device, application.project), [], key_login._prove

    def prove(*arguments):
        proof = original(*arguments)
        if not first:
            first.append(proof)
            monkeypatch.setattr(key_login, "_prove", original)
            guest_with_key(application, winner)
        return proof

    monkeypatch.setattr(key_login, "_prove", prove)
    call = lambda: log_in_with_key(client_of(application), signed_request=request)  # noqa: E731
    if taken == "the key":
        signed_up = call()
        assert (signed_up.created, signed_up.session.end_user) == (False, EndUser.objects.get())
    else:
        with pytest.raises(errors.KeyProofRefused):
            call()
        assert unspent() == 1
    assert (EndUser.objects.count(), DeviceKey.objects.count()) == (1, 1)


# --- faults ---------------------------------------------------------------------------------------


def test_a_fault_between_any_two_writes_leaves_nothing(application):
    together = 1 if connection.vendor == "postgresql" else 4
    request = request_of(Device(), application.project)
    call = lambda: log_in_with_key(client_of(application), signed_request=request)  # noqa: E731
    # challenge, the host's user, {end user, identity, key, session}
    assert fails_at_every_write(call) == 2 + together
    request = request_of(Device(), application.project)
    # challenge, key, session
    assert fails_at_every_write(call) == 3
    promote(end_user=EndUser.objects.get(), project=application.project, proof=proof_of())
    request = request_of(Device(), application.project)
    # challenge, the host's user, {end user, identity, session}, key
    assert fails_at_every_write(call) == 3 + (1 if together == 1 else 3)
