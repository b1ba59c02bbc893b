"""Races of device keys, with real threads on PostgreSQL: one key is one guest, and a key that was taken away lets
nobody in."""

import time
from collections import Counter
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from anonusers import events
from anonusers.account import delete_account
from anonusers.device_keys import add_key, remove_key
from anonusers.models import Application, DeviceKey, EndUser, OneTimeToken, Session
from anonusers.sessions import open_session
from anonusers.tokens import parse_refresh_token
from tests.anonusers.signing import ec_key
from tests.conftest import HOST, ORIGIN
from tests.devices import Device, guest_with_key, log_in, request_of
from tests.people import guest_session
from tests.test_promotion_races import NEITHER, OUTLIVED, keep, outcome
from tests.test_races import at_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]

REFUSED = (400, "invalid_grant", "InvalidCredentials")
BUDGETS = ("SIGNUP_PER_IP", "SIGNUP_PER_PROJECT", "KEY_LOGIN_PER_IP", "LOGIN_PER_IP")
ROUNDS = 8

# A key belongs to a guest, or to nobody.
KEY_OF_NO_GUEST = """
    SELECT k.id FROM anonusers_devicekey k LEFT JOIN anonusers_anonymousidentity a ON a.end_user_id = k.end_user_id
    WHERE k.end_user_id IS NOT NULL AND a.end_user_id IS NULL
"""
# What a key has opened is a guest's.
OPENED_BY_A_KEY = """
    SELECT s.id FROM anonusers_session s LEFT JOIN anonusers_anonymousidentity a ON a.end_user_id = s.end_user_id
    WHERE s.amr = 'pop' AND s.ended_at IS NULL AND a.end_user_id IS NULL
"""
# Whoever loses a race has made no user.
NOBODYS = "SELECT u.id FROM auth_user u LEFT JOIN anonusers_enduser e ON e.user_id = u.id WHERE e.id IS NULL"


@pytest.fixture(autouse=True)
def invariants_hold(application, settings):
    for budget in BUDGETS:
        setattr(settings, f"ANONUSERS_{budget}", "off")
    yield
    for statement in (NEITHER, OUTLIVED, KEY_OF_NO_GUEST, OPENED_BY_A_KEY, NOBODYS):
        with connection.cursor() as cursor:
            cursor.execute(statement)
            assert cursor.fetchall() == [], statement


@pytest.fixture
def told():
    """The types of the events that the host was told."""
    heard = Counter()

    def hear(event, **_):
        heard[event.type] += 1

    for signal in events.SIGNALS.values():
        signal.connect(hear, weak=False)
    yield heard
    for signal in events.SIGNALS.values():
        signal.disconnect(hear)


def token(**fields: str) -> Any:
    headers = {"dpop": fields.pop("dpop")} if "dpop" in fields else {}
    form = "&".join(f"{name}={value}" for name, value in fields.items())
    return Client(HTTP_HOST=HOST).post("/oauth2/token", form, "application/x-www-form-urlencoded", headers=headers)


def send(request: str) -> tuple[int, str, str]:
    """Log in with a signed request: status; who it is, or the error; its description."""
    answer = token(grant_type="urn:authgear:params:oauth:grant-type:anonymous-request", client_id="web", jwt=request)
    body = answer.json()
    if answer.status_code == 200:
        session = Session.objects.get(pk=session_id(body["refresh_token"]))
        return 200, str(session.end_user_id), ""
    return answer.status_code, body["error"], body["error_description"]


def session_id(refresh_token: str) -> str:
    return str(parse_refresh_token(refresh_token).session_id)


def live(guest: EndUser) -> list[Session]:
    """By what the database says now."""
    found = Session.objects.in_full().filter(end_user=guest, ended_at=None)
    return [session for session in found if session.is_live(timezone.now())]


def counts() -> list[int]:
    return [model.objects.count() for model in (EndUser, DeviceKey, Session)]


def later(number: int) -> None:
    time.sleep(number * 0.002)


# --- log in --------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
def test_one_signed_request_is_good_for_one_session(application, known):
    device = Device()
    if known:
        log_in(application, device)
    request = request_of(device, application.project)
    found = at_once(32, lambda _: send(request))
    assert found.count(REFUSED) == 31
    assert sorted(found)[0] == (200, str(EndUser.objects.get().pk), "")
    assert counts() == [1, 1, 1 + known]


def test_many_first_log_ins_with_one_new_key_are_one_guest(application, told):
    device = Device()
    requests = [request_of(device, application.project) for _ in range(32)]
    found = at_once(32, lambda number: send(requests[number]))
    assert set(found) == {(200, str(EndUser.objects.get().pk), "")}
    assert counts() == [1, 1, 32]
    assert told == {"user.created": 1, "user.authenticated": 31}
    assert not OneTimeToken.objects.filter(used_at=None).exists()


def test_of_many_keys_with_one_id_one_is_taken(application):
    devices = [Device(f"{number}", key_id="the-same-id") for number in range(32)]
    requests = [request_of(device, application.project) for device in devices]
    found = at_once(32, lambda number: send(requests[number]))
    assert found.count(REFUSED) == 31
    [winner] = [number for number in range(32) if found[number] != REFUSED]
    assert found[winner] == (200, str(EndUser.objects.get().pk), "")
    assert counts() == [1, 1, 1]
    assert send(request_of(devices[winner], application.project)) == found[winner]


def test_of_many_ids_of_one_key_one_is_taken(application):
    requests = [
        request_of(Device(private=ec_key(), key_id=f"key-id-{number:02}"), application.project) for number in range(32)
    ]
    found = at_once(32, lambda number: send(requests[number]))
    assert found.count(REFUSED) == 31
    assert sorted(found)[0] == (200, str(EndUser.objects.get().pk), "")
    assert counts() == [1, 1, 1]


def test_a_retired_key_becomes_one_new_guests(application, told):
    device = Device()
    before = guest_with_key(application, device)
    keep(before)
    told.clear()
    requests = [request_of(device, application.project) for _ in range(32)]
    found = at_once(32, lambda number: send(requests[number]))
    guest = EndUser.objects.exclude(pk=before.pk).get()
    assert set(found) == {(200, str(guest.pk), "")}
    assert told == {"user.created": 1, "user.authenticated": 31}
    assert DeviceKey.objects.get().end_user == guest


def test_a_retired_key_that_the_project_refuses_makes_nobody(application):
    device = Device()
    keep(guest_with_key(application, device))
    application.project.retired_device_keys = "refuse"
    application.project.save()
    requests = [request_of(device, application.project) for _ in range(8)]
    assert at_once(8, lambda number: send(requests[number])) == [REFUSED] * 8
    assert counts()[:2] == [1, 1]


def test_where_one_session_is_allowed_one_is_left(application):
    Application.objects.update(max_concurrent_sessions=1)
    for known in (False, True):
        device = Device(f"phone-{known}")
        if known:
            log_in(application, device)
        requests = [request_of(device, application.project) for _ in range(16)]
        found = at_once(16, lambda number, requests=requests: send(requests[number]))
        guest = DeviceKey.objects.get(key_id=device.key_id).end_user
        assert set(found) == {(200, str(guest.pk), "")}
        assert len(live(guest)) == 1


# --- beside what takes the key or its guest away -------------------------------------------------


def test_log_in_beside_promotion_leaves_no_session_of_the_key(application):
    for number in range(ROUNDS):
        device = Device(f"phone-{number}")
        guest = guest_with_key(application, device)
        requests = [request_of(device, application.project, with_key=thread % 2 == 0) for thread in range(5)]

        def call(thread, number=number, guest=guest, requests=requests):
            if thread == 0:
                later(number)
                return outcome(lambda: keep(guest, f"anna{number}@example.com"))
            later(thread)
            return send(requests[thread])

        promoted, *others = at_once(5, call)
        assert promoted == str(guest.pk)
        assert live(guest) == []
        key = DeviceKey.objects.get(key_id=device.key_id)
        assert key.end_user != guest
        # Who came too late is a new guest, and all of them the same one.
        subs = {sub for status, sub, _ in others if status == 200}
        assert {status for status, _, _ in others} == {200}
        assert subs <= {str(guest.pk), str(key.end_user_id)}


def test_log_in_beside_the_end_of_its_key(application):
    for number in range(ROUNDS):
        device = Device(f"phone-{number}")
        guest = guest_with_key(application, device)
        beside = guest_session_of(guest, application)
        requests = [request_of(device, application.project) for _ in range(5)]

        def call(thread, number=number, guest=guest, device=device, beside=beside, requests=requests):
            if thread == 0:
                later(number)
                return remove_key(end_user=guest, key_id=device.key_id, keep_session=beside)
            later(thread)
            return send(requests[thread])

        _, *others = at_once(5, call)
        assert set(others) <= {(200, str(guest.pk), ""), REFUSED}
        assert live(guest) == [beside]
        assert DeviceKey.objects.get(key_id=device.key_id).revoked_at is not None
        assert send(request_of(device, application.project)) == REFUSED
    assert EndUser.objects.count() == ROUNDS


def guest_session_of(guest: EndUser, application: Application) -> Session:
    """A session that no key has opened."""
    return open_session(end_user=guest, project=application.project, application=application, kind="token")[0]


def test_log_in_beside_disabling(application):
    disabled = (400, "invalid_grant", "user is disabled")
    for number in range(ROUNDS):
        device = Device(f"phone-{number}")
        guest = guest_with_key(application, device)
        requests = [request_of(device, application.project) for _ in range(5)]

        def call(thread, number=number, guest=guest, requests=requests):
            if thread == 0:
                later(number)
                return EndUser.objects.filter(pk=guest.pk).update(disabled_at=timezone.now())
            later(thread)
            return send(requests[thread])

        _, *others = at_once(5, call)
        assert set(others) <= {(200, str(guest.pk), ""), disabled}
        assert live(guest) == []
        # Who was refused has not spent the challenge: enabled again, the same request is good.
        EndUser.objects.filter(pk=guest.pk).update(disabled_at=None)
        retried = {send(requests[thread + 1]) for thread, found in enumerate(others) if found == disabled}
        assert retried <= {(200, str(guest.pk), "")}
    assert EndUser.objects.count() == ROUNDS


def test_log_in_beside_deletion(application):
    for number in range(ROUNDS):
        device = Device(f"phone-{number}")
        guest = guest_with_key(application, device)
        requests = [request_of(device, application.project) for _ in range(5)]

        def call(thread, number=number, guest=guest, requests=requests):
            if thread:
                later(thread)
                return send(requests[thread])
            later(number)
            return delete_account(end_user=guest)

        _, *others = at_once(5, call)
        assert {status for status, _, _ in others} == {200}
        assert not EndUser.objects.filter(pk=guest.pk).exists()
        now = DeviceKey.objects.get(key_id=device.key_id).end_user_id
        assert {sub for _, sub, _ in others} <= {str(guest.pk), str(now)}


# --- keys that are added -------------------------------------------------------------------------


def added(session: Session, request: str) -> str:
    return outcome(lambda: add_key(session=session, signed_request=request, expected_origin=ORIGIN).key_id)


def test_of_many_keys_that_are_added_a_guest_has_one(application):
    session = guest_session(application)
    devices = [Device(f"{number:04}") for number in range(16)]
    requests = [request_of(device, application.project, "add_key") for device in devices]
    found = at_once(16, lambda number: added(session, requests[number]))
    row = DeviceKey.objects.get()
    assert sorted(found) == [row.key_id] + ["key_exists"] * 15
    assert row.end_user == session.end_user
    # Only the key that was taken has spent its challenge.
    assert OneTimeToken.objects.filter(used_at=None).count() == 15


def test_a_key_that_many_guests_add_is_ones(application):
    guests = [guest_session(application) for _ in range(16)]
    requests = [request_of(Device(), application.project, "add_key") for _ in guests]
    found = at_once(16, lambda number: added(guests[number], requests[number]))
    winner = found.index("key-of-phone")
    assert set(found) - {"key-of-phone"} <= {"key_taken", "key_proof_refused"}
    assert DeviceKey.objects.get().end_user == guests[winner].end_user


def test_a_key_is_added_or_logs_in_as_a_new_guest(application):
    for number in range(ROUNDS):
        session, device = guest_session(application), Device(f"phone-{number}")
        requests = [request_of(device, application.project, action) for action in ("add_key", "auth")]

        def call(thread, number=number, session=session, requests=requests):
            if thread:
                return send(requests[1])
            later(number % 4)
            return added(session, requests[0])

        mine, theirs = at_once(2, call)
        owner = str(DeviceKey.objects.get(key_id=device.key_id).end_user_id)
        assert theirs == (200, owner, "")
        assert (mine == device.key_id) is (owner == str(session.end_user_id))
        assert mine in (device.key_id, "key_taken", "key_proof_refused")


def test_a_key_that_is_added_beside_a_promotion_is_nobodys_afterwards(application):
    for number in range(ROUNDS):
        session, device = guest_session(application), Device(f"phone-{number}")
        request = request_of(device, application.project, "add_key")

        def call(thread, number=number, session=session, request=request):
            if thread:
                return added(session, request)
            later(number % 4)
            return outcome(lambda: keep(session.end_user, f"anna{number}@example.com"))

        kept, found = at_once(2, call)
        assert kept == str(session.end_user_id)
        assert found in (device.key_id, "user_is_regular", "not_signed_in")
        assert DeviceKey.objects.filter(key_id=device.key_id, end_user=None).exists() is (found == device.key_id)
