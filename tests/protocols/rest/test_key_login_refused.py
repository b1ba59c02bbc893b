"""POST login/key/: whoever does not hold the key, or comes from elsewhere, or too often, gets nothing."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from anonusers.keypairs import SIGNED_REQUEST_MAX
from anonusers.models import DeviceKey, EndUser, OneTimeToken, Session
from tests.anonusers.signing import ABSENT
from tests.conftest import APP_ORIGIN, make_application, row_counts, state_of
from tests.protocols.rest.conftest import CHALLENGE, KEY_LOGIN, Api, is_problem, session_of
from tests.protocols.rest.devices import Device, one_more, refused, unspent

pytestmark = [pytest.mark.django_db, pytest.mark.database]

EVIL = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
KINDS = pytest.mark.parametrize("kind", ["token", "cookie"])


@pytest.fixture
def phone():
    return Device()


@pytest.fixture
def known(phone, application):
    """The answer to the first log-in with the phone's key."""
    response = phone.log_in()
    assert response.status_code == 201
    return response.json()


# --- the signed request -------------------------------------------------------------------------------


def broken(signed):
    head, _, signature = signed.rpartition(".")
    return f"{head}.{'A' * len(signature)}"


NOW = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp())
WRONG = {
    "the signature": lambda phone, challenge: broken(phone.signed(challenge)),
    "another key": lambda phone, challenge: Device("thief", phone.kid).signed(challenge),
    "another key, by kid": lambda phone, challenge: Device("thief", phone.kid).signed(challenge, with_jwk=False),
    "another kid": lambda phone, challenge: Device(kid="another-key").signed(challenge),
    "an unknown kid alone": lambda phone, challenge: Device(kid="another-key").signed(challenge, with_jwk=False),
    "kid in other case": lambda phone, challenge: Device(kid=phone.kid.upper()).signed(challenge, with_jwk=False),
    "add_key": lambda phone, challenge: phone.signed(challenge, "add_key"),
    "recover": lambda phone, challenge: phone.signed(challenge, "recover"),
    "promote": lambda phone, challenge: phone.signed(challenge, "promote"),
    "no action": lambda phone, challenge: phone.signed(challenge, action=ABSENT),
    "expired": lambda phone, challenge: phone.signed(challenge, iat=NOW - 400, exp=NOW - 301),
    "too far": lambda phone, challenge: phone.signed(challenge, exp=NOW + 3601),
    "no exp": lambda phone, challenge: phone.signed(challenge, exp=ABSENT),
    "another audience": lambda phone, challenge: phone.signed(challenge, aud="https://evil.example"),
    "no challenge": lambda phone, challenge: phone.signed(""),
    "a made-up challenge": lambda phone, challenge: phone.signed("A" * 32),
    "a challenge in small letters": lambda phone, challenge: phone.signed(challenge.lower()),
    "nothing": lambda phone, challenge: "",
    "no JWS": lambda phone, challenge: "x",
    "an access token": lambda phone, challenge: "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.",
    "the longest": lambda phone, challenge: "a" * SIGNED_REQUEST_MAX,
    "padding": lambda phone, challenge: phone.signed(challenge) + "=",
    "a line break": lambda phone, challenge: phone.signed(challenge) + "\n",
}


@KINDS
@pytest.mark.parametrize("wrong", WRONG)
def test_whatever_is_wrong_with_a_signed_request_is_one_answer_and_changes_nothing(phone, application, wrong, kind):
    with time_machine.travel(datetime(2026, 3, 1, tzinfo=UTC), tick=False):
        known = phone.log_in().json()
        challenge = Api().challenge()
        rows = session_of(known), DeviceKey.objects.get(), OneTimeToken.objects.get(used_at=None)
        before, state = row_counts(), state_of(*rows)
        body = {"client_id": "web", "kind": kind, "signed_request": WRONG[wrong](phone, challenge)}
        response = Api().call("POST", KEY_LOGIN, body)
    assert refused(
        response,
        401,
        "key_proof_refused",
        before,
        [(rows, state)],
        detail="The signed request, its key or its challenge is not valid.",
    )


def test_a_challenge_is_good_once_for_whomever(phone, application):
    api = Api()
    challenge = api.challenge()
    body = {"client_id": "web", "signed_request": phone.signed(challenge)}
    first = api.call("POST", KEY_LOGIN, body).json()
    row, before = state_of(session_of(first)), row_counts()
    for signed in (body["signed_request"], phone.signed(challenge), Device("laptop", "laptop-key").signed(challenge)):
        response = api.call("POST", KEY_LOGIN, body | {"signed_request": signed})
        assert refused(response, 401, "key_proof_refused", before, [((session_of(first),), row)])


def test_a_challenge_is_good_for_five_minutes(phone, application):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        challenge, later = Api().challenge(), Api().challenge()
        clock.shift(timedelta(seconds=299))
        body = {"client_id": "web", "signed_request": phone.signed(challenge)}
        assert Api().call("POST", KEY_LOGIN, body).status_code == 201
        clock.shift(timedelta(seconds=1))
        before = row_counts()
        response = Api().call("POST", KEY_LOGIN, body | {"signed_request": phone.signed(later)})
        assert refused(response, 401, "key_proof_refused", before)


@pytest.mark.parametrize("purpose", ["biometric_request", "app2app_request"])
def test_a_challenge_for_something_else_is_worthless_here(phone, application, purpose):
    challenge = Api().call("POST", "/oauth2/challenge", {"purpose": purpose}).json()["result"]["token"]
    before = row_counts()
    response = Api().call("POST", KEY_LOGIN, {"client_id": "web", "signed_request": phone.signed(challenge)})
    assert refused(response, 401, "key_proof_refused", before)
    assert unspent() == 1


def test_a_refused_request_leaves_the_challenge_good(phone, application):
    api = Api()
    challenge = api.challenge()
    body = {"client_id": "web", "signed_request": broken(phone.signed(challenge))}
    assert is_problem(api.call("POST", KEY_LOGIN, body), 401, "key_proof_refused")
    assert api.call("POST", KEY_LOGIN, body | {"signed_request": phone.signed(challenge)}).status_code == 201


def test_a_guest_who_is_disabled_stays_out_and_learns_why(known, phone):
    EndUser.objects.update(disabled_at=timezone.now())
    challenge = Api().challenge()
    body = {"client_id": "web", "signed_request": phone.signed(challenge)}
    before, rows = row_counts(), (DeviceKey.objects.get(), session_of(known))
    state = state_of(*rows)
    assert refused(Api().call("POST", KEY_LOGIN, body), 403, "user_disabled", before, [(rows, state)])
    assert unspent() == 1, "the challenge is still good"
    EndUser.objects.update(disabled_at=None)
    assert Api().call("POST", KEY_LOGIN, body).json()["sub"] == known["sub"]


@KINDS
@pytest.mark.parametrize("application_type", ["confidential", "third_party_app", "m2m"])
def test_other_types_of_applications_get_no_guest(api, phone, project, application_type, kind):
    make_application(project, type=application_type)
    api.challenge()
    before = row_counts()
    assert refused(
        phone.log_in(api, more={"kind": kind}), 400, "application_type_not_allowed", before | one_more(before)
    )


@pytest.mark.parametrize("signed", ["good", "x"])
def test_where_guests_are_off_a_key_opens_nothing_and_tells_nothing(known, phone, project, signed):
    project.anonymous_users_enabled = False
    project.save()
    signed = phone.signed(Api().challenge()) if signed == "good" else signed
    before, rows = row_counts(), (DeviceKey.objects.get(), session_of(known))
    state = state_of(*rows)
    response = Api().call("POST", KEY_LOGIN, {"client_id": "web", "signed_request": signed})
    assert refused(response, 403, "anonymous_users_disabled", before, [(rows, state)])
    assert Api().userinfo(bearer=known["access_token"]).status_code == 200


@pytest.mark.parametrize(("adapter", "code"), [("Closed", "public_signup_disabled"), ("Vetoing", "signup_vetoed")])
def test_the_host_refuses_new_guests_and_not_those_it_has(known, phone, settings, adapter, code):
    settings.ANONUSERS_ADAPTER = f"tests.protocols.rest.hosts.{adapter}"
    before = row_counts()
    response = Device("laptop", "laptop-key").log_in()
    assert refused(response, 403, code, before | one_more(before))
    assert phone.log_in().json()["sub"] == known["sub"]


@pytest.mark.parametrize("client_id", ["nobody", "", "WEB", "x" * 100])
@pytest.mark.parametrize("path", [CHALLENGE, KEY_LOGIN])
def test_an_unknown_application_has_nothing(phone, application, client_id, path):
    signed = {"signed_request": phone.signed(Api().challenge())} if path == KEY_LOGIN else {}
    before = row_counts()
    assert refused(Api().call("POST", path, {"client_id": client_id} | signed), 400, "unknown_application", before)


# --- origins and limits -----------------------------------------------------------------------------


def test_no_foreign_page_logs_a_browser_in(phone, application):
    """Login CSRF: a victim who works in the attacker's account."""
    api = Api()
    before = row_counts()
    response = phone.log_in(api, more={"kind": "cookie"}, headers=EVIL)
    assert refused(response, 403, "untrusted_origin", before | one_more(before))
    assert unspent() == 1


def test_tokens_do_not_depend_on_the_origin_but_the_page_cannot_read_them(phone, application):
    response = phone.log_in(headers=EVIL)
    assert response.status_code == 201
    assert "Access-Control-Allow-Origin" not in response.headers
    assert phone.log_in(headers={"Origin": APP_ORIGIN}).headers["Access-Control-Allow-Origin"] == APP_ORIGIN


def test_log_ins_are_limited_by_address_good_or_bad(known, phone, settings):
    settings.ANONUSERS_KEY_LOGIN_PER_IP = "2/m"
    with time_machine.travel(timezone.now(), tick=False) as clock:
        bad = {"client_id": "web", "signed_request": "x"}
        assert Api(REMOTE_ADDR="192.0.2.1").call("POST", KEY_LOGIN, bad).status_code == 401
        assert phone.log_in(Api(REMOTE_ADDR="192.0.2.1")).status_code == 200
        before = row_counts()
        response = phone.log_in(Api(REMOTE_ADDR="192.0.2.1"))
        assert refused(response, 429, "rate_limited", before | one_more(before))
        assert response.headers["Retry-After"] == "60"
        assert phone.log_in(Api(REMOTE_ADDR="192.0.2.2")).status_code == 200
        clock.shift(timedelta(seconds=61))
        assert phone.log_in(Api(REMOTE_ADDR="192.0.2.1")).status_code == 200


def test_new_guests_count_against_the_sign_up_budget_and_known_ones_do_not(known, phone, settings):
    settings.ANONUSERS_SIGNUP_PER_IP = "1/m"
    make = [Device(f"laptop {number}", f"laptop-key-{number}") for number in range(2)]
    before = Session.objects.count()
    api = Api(REMOTE_ADDR="192.0.2.1")
    assert make[0].log_in(api).status_code == 201
    assert is_problem(make[1].log_in(api), 429, "rate_limited")
    assert Session.objects.count() == before + 1
    assert [phone.log_in(api).status_code for _ in range(3)] == [200] * 3


def test_no_secret_reaches_the_log(phone, application, caplog):
    caplog.set_level("DEBUG")
    api = Api()
    challenge = api.challenge()
    signed = phone.signed(challenge)
    body = api.call("POST", KEY_LOGIN, {"client_id": "web", "signed_request": signed}).json()
    api.call("POST", KEY_LOGIN, {"client_id": "web", "signed_request": signed})
    logged = " ".join(record.getMessage() for record in caplog.records if record.name != "django.db.backends")
    secrets = [challenge, signed, body["access_token"], body["refresh_token"]]
    assert not [secret for secret in secrets if secret in logged]
