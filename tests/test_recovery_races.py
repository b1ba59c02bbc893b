"""Races of recovery codes, bound challenges and DPoP proofs, with real threads on PostgreSQL: each is good for one use,
and who has lost a device has lost it."""

import pytest
from django.test import Client

from anonusers.device_keys import add_key, issue_recovery_code, look_at_recovery_code, remove_key
from anonusers.key_login import recover
from anonusers.models import Application, DeviceKey, EndUser, OneTimeToken, Session
from anonusers.onetime import void_all
from anonusers.promotion import supersede
from tests.conftest import APP_ORIGIN, HOST, ORIGIN
from tests.devices import Device, challenge, client_of, dpop_proof, guest_with_key, log_in, request_of
from tests.people import guest_session, regular_user
from tests.test_key_races import REFUSED, ROUNDS, later, live, send, token
from tests.test_key_races import invariants_hold as invariants_hold
from tests.test_promotion_races import keep, outcome
from tests.test_races import at_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]


def code_of(application: Application, device: Device) -> tuple[EndUser, str]:
    """A guest with a key, and a code that moves them to another."""
    session = log_in(application, device)
    return session.end_user, issue_recovery_code(session=session).code


def recovered(application: Application, code: str, request: str) -> str:
    """Who it is, or the error."""

    def call():
        signed_up = recover(client_of(application), host=HOST, recovery_code=code, signed_request=request)
        return signed_up.session.end_user_id

    return str(outcome(call))


def test_of_many_devices_with_one_recovery_code_one_gets_the_guest(application):
    guest, code = code_of(application, Device("old-phone"))
    devices = [Device(f"{number:04}") for number in range(16)]
    requests = [request_of(device, application.project, "recover") for device in devices]
    found = at_once(16, lambda number: recovered(application, code, requests[number]))
    assert sorted(found) == sorted([str(guest.pk)] + ["recovery_code_wrong"] * 15)
    winner = devices[found.index(str(guest.pk))]
    assert DeviceKey.objects.get(end_user=guest).key_id == winner.key_id
    assert DeviceKey.objects.count() == 2
    assert len(live(guest)) == 1
    # Only the device that moved has spent its challenge.
    assert OneTimeToken.objects.filter(used_at=None).count() == 15


def test_one_new_device_that_asks_many_times_is_moved_once(application):
    guest, code = code_of(application, Device("old-phone"))
    requests = [request_of(Device("new-phone"), application.project, "recover") for _ in range(16)]
    found = at_once(16, lambda number: recovered(application, code, requests[number]))
    assert found.count(str(guest.pk)) == 1
    assert set(found) <= {str(guest.pk), "recovery_code_wrong", "key_taken"}
    assert len(live(guest)) == 1


def test_many_guests_cannot_be_moved_to_one_key(application):
    codes = [code_of(application, Device(f"old-phone-{number}")) for number in range(8)]
    requests = [request_of(Device("new-phone"), application.project, "recover") for _ in codes]
    found = at_once(8, lambda number: recovered(application, codes[number][1], requests[number]))
    winner = DeviceKey.objects.get(key_id="key-of-new-phone").end_user
    assert found.count(str(winner.pk)) == 1
    assert set(found) <= {str(winner.pk), "key_taken", "key_proof_refused"}
    for guest, _code in codes:
        assert len(live(guest)) == 1
        assert DeviceKey.objects.filter(end_user=guest).count() == 1


@pytest.mark.parametrize("policy", ["new_guest", "refuse"])
def test_the_old_key_has_no_session_once_its_guest_has_moved(application, policy):
    application.project.retired_device_keys = policy
    application.project.save()
    for number in range(ROUNDS):
        old, new = Device(f"old-phone-{number}"), Device(f"new-phone-{number}")
        guest, code = code_of(application, old)
        requests = [request_of(old, application.project) for _ in range(4)]
        moving = request_of(new, application.project, "recover")

        def call(thread, number=number, code=code, requests=requests, moving=moving):
            later(thread or number)
            return send(requests[thread - 1]) if thread else recovered(application, code, moving)

        moved, *others = at_once(5, call)
        assert moved == str(guest.pk)
        assert [session.pk for session in live(guest)] == [
            Session.objects.filter(end_user=guest).latest("created_at").pk
        ]
        assert DeviceKey.objects.get(end_user=guest).key_id == new.key_id
        before = DeviceKey.objects.get(key_id=old.key_id).end_user_id
        theirs = {(200, str(guest.pk), ""), (200, str(before), "") if policy == "new_guest" else REFUSED}
        assert set(others) <= theirs
        assert send(request_of(old, application.project))[1] != str(guest.pk)


def test_recovery_beside_promotion(application):
    for number in range(ROUNDS):
        guest, code = code_of(application, Device(f"old-phone-{number}"))
        moving = request_of(Device(f"new-phone-{number}"), application.project, "recover")

        def call(thread, number=number, guest=guest, code=code, moving=moving):
            if thread:
                return recovered(application, code, moving)
            later(number)
            return outcome(lambda: keep(guest, f"anna{number}@example.com"))

        kept, moved = at_once(2, call)
        assert kept == str(guest.pk)
        assert moved in (str(guest.pk), "recovery_code_wrong")
        assert live(guest) == []
        assert not DeviceKey.objects.filter(end_user=guest).exists()


def test_recovery_beside_the_end_of_the_key(application):
    for number in range(ROUNDS):
        old, new = Device(f"old-phone-{number}"), Device(f"new-phone-{number}")
        guest, code = code_of(application, old)
        moving = request_of(new, application.project, "recover")

        def call(thread, number=number, guest=guest, code=code, moving=moving, old=old):
            if thread:
                return recovered(application, code, moving)
            later(number)
            return outcome(lambda: remove_key(end_user=guest, key_id=old.key_id))

        removed, moved = at_once(2, call)
        # With the key go the codes that its device may have asked for: whichever comes first.
        assert (removed, moved) in ((None, "recovery_code_wrong"), ("unknown_key", str(guest.pk)))
        assert DeviceKey.objects.get(key_id=old.key_id).end_user is None
        assert [session.end_user_id for session in live(guest)] == [guest.pk] * (removed is not None)


def test_a_session_of_before_has_no_code_once_its_guest_has_moved(application):
    """Whoever has the old device must not get the guest back."""
    for number in range(ROUNDS):
        session = log_in(application, Device(f"old-phone-{number}"))
        code = issue_recovery_code(session=session).code
        moving = request_of(Device(f"new-phone-{number}"), application.project, "recover")

        def call(thread, number=number, session=session, code=code, moving=moving):
            if thread == 0:
                return recovered(application, code, moving)
            later(number)
            return outcome(lambda: issue_recovery_code(session=session).code)

        moved, _ = at_once(2, call)
        codes = OneTimeToken.objects.filter(end_user=session.end_user, purpose="recovery_code", used_at=None)
        # Either the code that moves had been replaced before, or none is left.
        assert codes.exists() is (moved == "recovery_code_wrong")


def test_of_many_codes_asked_for_at_once_one_is_good(application):
    session = log_in(application, Device("old-phone"))
    found = at_once(8, lambda _: issue_recovery_code(session=session).code)
    rows = OneTimeToken.objects.filter(purpose="recovery_code")
    assert (len(set(found)), rows.count(), rows.filter(used_at=None).count()) == (8, 8, 1)
    [good] = [code for code in found if is_good(code)]
    moving = request_of(Device("new-phone"), application.project, "recover")
    assert recovered(application, good, moving) == str(session.end_user_id)


def is_good(code: str) -> bool:
    return outcome(lambda: look_at_recovery_code(code, host=HOST)) != "recovery_code_wrong"


def test_a_session_of_before_adds_no_key_once_its_guest_has_gone_on_as_somebody_else(application):
    owner = regular_user(application, "owner@example.com")
    for number in range(ROUNDS):
        session, device = guest_session(application), Device(f"phone-{number}")
        request = request_of(device, application.project, "add_key")

        def call(thread, number=number, session=session, request=request):
            if thread:
                later(number % 4)
                return outcome(lambda: add_key(session=session, signed_request=request, expected_origin=ORIGIN).key_id)
            return supersede(guest=session.end_user, by=owner, method="password").end_user.pk

        at_once(2, call)
        assert not DeviceKey.objects.filter(end_user=session.end_user).exists()


# --- challenges and proofs ------------------------------------------------------------------------


def test_one_challenge_promotes_or_logs_in(application):
    for number in range(ROUNDS):
        device = Device(f"phone-{number}")
        guest = guest_with_key(application, device)
        secret = challenge(application.project)
        logging_in, promoting = device.sign(secret), device.sign(secret, "promote")
        parameters = {
            "response_type": "code",
            "client_id": "web",
            "redirect_uri": f"{APP_ORIGIN}/after-login",
            "scope": "openid",
            "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            "code_challenge_method": "S256",
            "login_hint": f"https://authgear.com/login_hint?type=anonymous&jwt={promoting}",
        }

        def call(thread, number=number, parameters=parameters, logging_in=logging_in):
            later(thread * number)
            if thread:
                return send(logging_in)
            return Client(HTTP_HOST=HOST).get("/oauth2/authorize", parameters).status_code

        page, logged_in = at_once(2, call)
        assert (page, logged_in) in ((303, REFUSED), (400, (200, str(guest.pk), "")))
        row = OneTimeToken.objects.latest("pk")
        assert (row.end_user, row.used_at is None) == ((guest, True) if page == 303 else (None, False))
        if page == 303:
            void_all(guest)
            assert Client(HTTP_HOST=HOST).get("/oauth2/authorize", parameters).status_code == 400


def test_a_proof_of_possession_refreshes_once(application):
    Application.objects.update(refresh_token_rotation_enabled=False)
    device = Device()
    url = f"{ORIGIN}/oauth2/token"
    grant = "urn:authgear:params:oauth:grant-type:anonymous-request"
    request = request_of(device, application.project)
    body = token(grant_type=grant, client_id="web", jwt=request, dpop=dpop_proof(device, url)).json()
    proofs = [dpop_proof(device, url, jti="the same for all")] * 16
    fields = {"grant_type": "refresh_token", "client_id": "web", "refresh_token": body["refresh_token"]}
    answers = at_once(16, lambda number: token(**fields, dpop=proofs[number]))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 15
    assert {answer.json()["error"] for answer in answers if answer.status_code == 400} == {"invalid_dpop_proof"}
    assert token(**fields, dpop=dpop_proof(device, url)).status_code == 200
    assert Session.objects.get().ended_at is None


def test_many_proofs_refresh_as_many_times_in_one_step(application):
    """As an app does that wakes up: each request has a proof of its own, and all have the same refresh token."""
    device, url = Device(), f"{ORIGIN}/oauth2/token"
    grant = "urn:authgear:params:oauth:grant-type:anonymous-request"
    request = request_of(device, application.project)
    body = token(grant_type=grant, client_id="web", jwt=request, dpop=dpop_proof(device, url)).json()
    proofs = [dpop_proof(device, url) for _ in range(16)]
    fields = {"grant_type": "refresh_token", "client_id": "web", "refresh_token": body["refresh_token"]}
    answers = at_once(16, lambda number: token(**fields, dpop=proofs[number]))
    assert [answer.status_code for answer in answers] == [200] * 16
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    session = Session.objects.get()
    assert (session.refresh_generation, session.ended_at) == (1, None)
