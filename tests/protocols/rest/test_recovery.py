"""POST recovery-code/ and recover/: a guest goes on on a new device, and nothing of the old one is left."""

import re
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from anonusers import device_keys
from anonusers.models import DeviceKey, EndUser, OneTimeToken, Session
from anonusers.promotion import promote
from tests.conftest import make_application, make_project, row_counts, state_of
from tests.people import proof_of
from tests.protocols.rest.conftest import COOKIE, RECOVER, RECOVERY_CODE, Api, is_problem, session_of
from tests.protocols.rest.devices import Device

pytestmark = [pytest.mark.django_db, pytest.mark.database]

CODE = re.compile(r"[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){3}")
KINDS = pytest.mark.parametrize("kind", ["token", "cookie"])
EVIL = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}


@pytest.fixture
def phone():
    return Device()


@pytest.fixture
def tablet():
    """The new device."""
    return Device("tablet", "tablet-key")


@pytest.fixture
def known(phone, application):
    return phone.log_in().json()


@pytest.fixture
def code(known):
    """The recovery code of the guest with the phone."""
    return ask(known).json()["recovery_code"]


def ask(guest, api=None, body=None, **options):
    return (api or Api()).call("POST", RECOVERY_CODE, body, **({"bearer": guest.get("access_token")} | options))


@pytest.fixture
def refused(known, code):
    """Whether a call is refused with this problem: every row is as before, and so are key, session and code."""

    def check(call, status, code, **more):
        rows = [*DeviceKey.objects.all(), *Session.objects.all(), *OneTimeToken.objects.all(), *EndUser.objects.all()]
        before, state = row_counts(), state_of(*rows)
        response = call()
        assert is_problem(response, status, code, **more)
        assert not response.cookies
        assert (row_counts(), state_of(*rows)) == (before, state)
        return True

    return check


def recovering(device, code, api=None, *, more=None, **options):
    """A call that asks for its challenge beforehand, for `refused`."""
    api = api or Api()
    signed = device.signed(api.challenge(), "recover")
    body = {"client_id": "web", "recovery_code": code, "signed_request": signed} | (more or {})
    return lambda: api.call("POST", RECOVER, body, **options)


# --- the code -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [{}, None])
def test_a_code_is_for_people_and_good_for_a_year(known, body):
    with time_machine.travel(datetime(2026, 3, 1, 9, 30, tzinfo=UTC), tick=False):
        guest = Api().sign_up().json()
        before = row_counts()
        response = ask(guest, body=body)
    assert response.status_code == 201
    answer = response.json()
    assert answer == {"recovery_code": answer["recovery_code"], "expires_at": "2027-03-01T09:30:00Z"}
    assert CODE.fullmatch(answer["recovery_code"])
    assert row_counts() == before | {"anonusers.OneTimeToken": before["anonusers.OneTimeToken"] + 1}
    assert not OneTimeToken.objects.filter(token_hash__contains=answer["recovery_code"]).exists()
    assert response.headers["Cache-Control"] == "no-store"


def test_by_cookie_too(api, cookie_guest, tablet):
    code = ask(cookie_guest, api).json()["recovery_code"]
    assert tablet.recover(code).json()["sub"] == cookie_guest["sub"]


def test_a_new_code_makes_the_one_before_worthless(known, code, tablet, refused):
    newer = ask(known).json()["recovery_code"]
    assert refused(recovering(tablet, code), 400, "recovery_code_wrong")
    assert tablet.recover(newer).json()["sub"] == known["sub"]


def test_nobody_gets_no_code(api, known, refused):
    assert refused(lambda: ask({}, api), 401, "not_signed_in")
    assert refused(lambda: ask({"access_token": "x"}, api), 401, "not_signed_in")


def test_a_regular_user_gets_no_code(known, refused):
    session_of(known).end_user.anonymous_identity.delete()
    assert refused(lambda: ask(known), 409, "user_is_regular")


def test_a_guest_who_is_disabled_meanwhile_gets_no_code(known, refused, monkeypatch):
    lock = device_keys.lock_end_user

    def disabled(end_user_id):
        locked = lock(end_user_id)
        locked.disabled_at = timezone.now()
        return locked

    monkeypatch.setattr(device_keys, "lock_end_user", disabled)
    assert refused(lambda: ask(known), 401, "guest_gone")


def test_no_foreign_page_gets_a_code_by_cookie(api, cookie_guest, refused):
    assert refused(lambda: ask(cookie_guest, api, headers=EVIL), 403, "untrusted_origin")
    assert ask(cookie_guest, api).status_code == 201


@pytest.mark.parametrize("key", ["sub", "length"])
def test_the_body_of_the_request_for_a_code_is_empty(known, refused, key):
    errors = [{"pointer": f"#/{key}", "code": "general", "detail": "is not a known key"}]
    assert refused(lambda: ask(known, body={key: 1}), 400, "validation_failed", errors=errors)


# --- moving -------------------------------------------------------------------------------------------


@KINDS
def test_the_guest_goes_on_on_the_new_device_and_the_old_one_is_out(known, code, phone, tablet, kind):
    web = phone.log_in().json()
    api = Api()
    device = {"name": "Anna's tablet"}
    response = tablet.recover(code, api, more={"kind": kind, "device": device})
    assert response.status_code == 200
    body = response.json()
    assert (body["sub"], body["created"], body["is_anonymous"]) == (known["sub"], False, True)
    assert (body["session"]["kind"], body["session"]["device"]) == (kind, device)
    assert (session_of(body).amr, COOKIE in response.cookies) == ("pop", kind == "cookie")
    assert api.userinfo(bearer=body.get("access_token")).json()["sub"] == known["sub"]

    assert [session_of(one).ended_at is None for one in (known, web, body)] == [False, False, True]
    assert is_problem(Api().userinfo(bearer=known["access_token"]), 401, "not_signed_in")
    assert is_problem(Api().refresh(known["refresh_token"]), 401, "invalid_token")
    assert [key["kid"] for key in api.call("GET", "/api/v1/keys/", bearer=body.get("access_token")).json()["keys"]] == [
        "tablet-key"
    ]
    assert tablet.log_in().json()["sub"] == known["sub"]
    assert OneTimeToken.objects.filter(used_at=None).count() == 0

    again = phone.log_in()
    assert (again.status_code, again.json()["sub"] != known["sub"]) == (201, True), "the old key leads to nobody"


def test_a_guest_who_never_had_a_key_moves_as_well(guest, tablet):
    body = tablet.recover(ask(guest).json()["recovery_code"]).json()
    assert (body["sub"], body["created"]) == (guest["sub"], False)
    assert session_of(guest).ended_at is not None
    assert tablet.log_in().json()["sub"] == guest["sub"]


def test_by_policy_the_old_key_is_refused(known, code, phone, tablet, project):
    project.retired_device_keys = "refuse"
    project.save()
    assert tablet.recover(code).status_code == 200
    assert is_problem(phone.log_in(), 401, "key_proof_refused")
    assert EndUser.objects.count() == 1


@pytest.mark.parametrize(
    "typed",
    [
        str.lower,
        lambda code: code.replace("-", ""),
        lambda code: code.replace("-", " "),
        lambda code: f" {code.lower()}\n",
        lambda code: code.replace("0", "O").replace("1", "l"),
        lambda code: code.replace("0", "o").replace("1", "I"),
    ],
    ids=["small", "no hyphens", "blanks", "pasted", "O and l", "o and I"],
)
def test_a_code_may_be_typed_as_people_type(known, code, tablet, typed):
    assert tablet.recover(typed(code)).json()["sub"] == known["sub"]


def test_a_code_works_once(known, code, tablet, refused):
    assert tablet.recover(code).status_code == 200
    assert refused(recovering(Device("laptop", "laptop-key"), code), 400, "recovery_code_wrong")
    assert refused(recovering(tablet, code), 400, "recovery_code_wrong")


def test_a_code_works_for_a_year(known, code, tablet, refused):
    issued = OneTimeToken.objects.get(purpose="recovery_code")
    with time_machine.travel(issued.expires_at, tick=False):
        assert refused(recovering(tablet, code), 400, "recovery_code_wrong")
    with time_machine.travel(issued.expires_at - timedelta(seconds=1), tick=False):
        assert tablet.recover(code).json()["sub"] == known["sub"]


# --- refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", ["", "x", "-", "0000-0000-0000-0000", "A" * 100, "ÀÉÎÕ-ÀÉÎÕ-ÀÉÎÕ-ÀÉÎÕ", "' OR 1=1 --"]
)
def test_a_wrong_code_moves_nobody(tablet, refused, wrong):
    detail = "This recovery code is not valid (any more)."
    assert refused(recovering(tablet, wrong), 400, "recovery_code_wrong", detail=detail)


@pytest.mark.parametrize("length", [4, 15, 17])
def test_a_part_of_a_code_is_none(tablet, code, refused, length):
    typed = (code.replace("-", "") + "0")[:length]
    assert refused(recovering(tablet, typed), 400, "recovery_code_wrong")


def test_another_secret_is_no_recovery_code(known, tablet, refused):
    assert refused(recovering(tablet, Api().challenge()), 400, "recovery_code_wrong")
    assert refused(recovering(tablet, known["refresh_token"]), 400, "recovery_code_wrong")


@pytest.mark.parametrize("action", ["auth", "add_key", "promote"])
def test_what_was_signed_for_something_else_recovers_nothing(code, tablet, refused, action):
    body = {"client_id": "web", "recovery_code": code, "signed_request": tablet.signed(Api().challenge(), action)}
    assert refused(lambda: Api().call("POST", RECOVER, body), 401, "key_proof_refused")


@pytest.mark.parametrize(
    "signed",
    [
        lambda tablet, challenge: "x",
        lambda tablet, challenge: tablet.signed("A" * 32, "recover"),
        lambda tablet, challenge: tablet.signed(challenge, "recover", with_jwk=False),
        lambda tablet, challenge: Device("tablet", "phone-key-1").signed(challenge, "recover"),
        lambda tablet, challenge: Device("phone", "tablet-key").signed(challenge, "recover"),
    ],
    ids=["no JWS", "a made-up challenge", "without jwk", "the kid of the phone", "the key of the phone"],
)
def test_a_good_code_with_a_bad_proof_moves_nobody_and_stays_good(known, code, tablet, refused, signed):
    body = {"client_id": "web", "recovery_code": code, "signed_request": signed(tablet, Api().challenge())}
    assert refused(lambda: Api().call("POST", RECOVER, body), 401, "key_proof_refused")
    assert tablet.recover(code).json()["sub"] == known["sub"]


def test_a_challenge_is_good_once_here_too(known, code, tablet, refused):
    challenge = Api().challenge()
    body = {"client_id": "web", "recovery_code": code, "signed_request": tablet.signed(challenge, "recover")}
    answer = Api().call("POST", RECOVER, body).json()
    newer = ask(answer).json()["recovery_code"]
    laptop = {"recovery_code": newer, "signed_request": Device("laptop", "laptop-key").signed(challenge, "recover")}
    assert refused(lambda: Api().call("POST", RECOVER, body | laptop), 401, "key_proof_refused")


def test_a_key_that_is_in_use_or_was_used_before_takes_nobody_over(known, code, phone, tablet, refused):
    other = tablet.log_in().json()
    assert refused(recovering(tablet, code), 409, "key_taken")
    assert refused(recovering(phone, code), 409, "key_taken")  # the guest's own key: there is nothing to recover
    DeviceKey.objects.filter(key_id="tablet-key").update(end_user=None, retired_at=timezone.now())
    assert refused(recovering(tablet, code), 409, "key_taken")
    assert other["sub"] != known["sub"]
    assert Device("laptop", "laptop-key").recover(code).json()["sub"] == known["sub"]


def test_a_removed_key_does_not_come_back_by_a_code(known, code, phone, refused):
    assert Api().call("DELETE", f"/api/v1/keys/{phone.kid}/", bearer=known["access_token"]).status_code == 204
    assert refused(recovering(phone, code), 400, "recovery_code_wrong")


@pytest.mark.parametrize("field", ["disabled_at", "is_active"])
def test_a_disabled_guest_stays_out_and_learns_why(known, code, tablet, refused, field):
    end_user = session_of(known).end_user
    if field == "disabled_at":
        EndUser.objects.update(disabled_at=timezone.now())
    else:
        type(end_user.user).objects.filter(pk=end_user.user_id).update(is_active=False)
    assert refused(recovering(tablet, code), 403, "user_disabled")


def test_the_code_of_a_guest_who_was_promoted_is_worthless(known, code, tablet, refused):
    session = session_of(known)
    promote(end_user=session.end_user, project=session.project, proof=proof_of())
    assert refused(recovering(tablet, code), 400, "recovery_code_wrong")


def test_the_code_of_a_guest_who_was_deleted_is_worthless(known, code, tablet):
    user = session_of(known).end_user.user
    user.delete()
    assert is_problem(tablet.recover(code), 400, "recovery_code_wrong")


def test_a_code_is_worth_nothing_in_another_project(known, code, tablet, refused):
    make_application(make_project("second", "second.localhost"))
    assert refused(recovering(tablet, code, Api(HTTP_HOST="second.localhost")), 400, "recovery_code_wrong")
    assert tablet.recover(code).json()["sub"] == known["sub"]


def test_where_guests_are_off_nobody_moves(code, tablet, project, refused):
    project.anonymous_users_enabled = False
    project.save()
    assert refused(recovering(tablet, code), 403, "anonymous_users_disabled")


@KINDS
@pytest.mark.parametrize("application_type", ["confidential", "third_party_app", "m2m"])
def test_other_types_of_applications_get_nobody(code, tablet, project, refused, application_type, kind):
    make_application(project, "backend", type=application_type)
    call = recovering(tablet, code, more={"client_id": "backend", "kind": kind})
    assert refused(call, 400, "application_type_not_allowed")


@pytest.mark.parametrize("client_id", ["nobody", ""])
def test_an_unknown_application_gets_nobody(code, tablet, refused, client_id):
    assert refused(recovering(tablet, code, more={"client_id": client_id}), 400, "unknown_application")


def test_no_foreign_page_moves_a_guest_into_a_browser(code, tablet, refused):
    assert refused(recovering(tablet, code, more={"kind": "cookie"}, headers=EVIL), 403, "untrusted_origin")


def test_guessing_is_limited_by_address_and_tells_when_to_come_back(known, code, tablet, settings):
    settings.ANONUSERS_LOGIN_PER_IP = "3/m"
    with time_machine.travel(timezone.now(), tick=False) as clock:
        guesses = [tablet.recover(f"{n:04}-0000-0000-0000", Api(REMOTE_ADDR="192.0.2.1")) for n in range(3)]
        assert [guess.status_code for guess in guesses] == [400] * 3
        answer = tablet.recover(code, Api(REMOTE_ADDR="192.0.2.1"))
        assert is_problem(answer, 429, "rate_limited")
        assert answer.headers["Retry-After"] == "60"
        assert session_of(known).ended_at is None
        clock.shift(timedelta(seconds=61))
        assert tablet.recover(code, Api(REMOTE_ADDR="192.0.2.1")).status_code == 200


MISSING = "client_id, recovery_code, signed_request"
TYPE = {"code": "type", "detail": "Not a valid string."}
LONG = {"code": "general", "detail": "Ensure this field has no more than 100 characters."}


@pytest.mark.parametrize(
    ("more", "errors"),
    [
        (None, [{"pointer": "#", "code": "required", "detail": f"missing: {MISSING}"}]),
        ({"recovery_code": 1}, [TYPE | {"pointer": "#/recovery_code"}]),
        ({"recovery_code": None}, [TYPE | {"pointer": "#/recovery_code", "detail": "This field may not be null."}]),
        ({"recovery_code": ["x"]}, [TYPE | {"pointer": "#/recovery_code"}]),
        ({"recovery_code": "x" * 101}, [LONG | {"pointer": "#/recovery_code"}]),
        ({"device": {"name": "x" * 101}}, [LONG | {"pointer": "#/device/name"}]),
        ({"sub": "x"}, [{"pointer": "#/sub", "code": "general", "detail": "is not a known key"}]),
    ],
    ids=["nothing", "a number", "null", "a list", "long", "a long name", "a user"],
)
def test_a_body_that_is_wrong_is_refused_and_says_where(code, tablet, refused, more, errors):
    call = recovering(tablet, code, more=more) if more else lambda: Api().call("POST", RECOVER, {})
    assert refused(call, 400, "validation_failed", errors=errors)
