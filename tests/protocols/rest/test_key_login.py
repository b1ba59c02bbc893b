"""POST challenge/ and login/key/: a guest comes back with a key, and nobody else does."""

from datetime import UTC, datetime, timedelta

import jwt
import pytest
import time_machine
from django.utils import timezone

from anonusers.models import DeviceKey, EndUser, OneTimeToken
from anonusers.promotion import promote
from tests.anonusers.signing import rsa_key
from tests.conftest import APP_ORIGIN, ORIGIN, make_application, make_project, row_counts, state_of
from tests.people import proof_of
from tests.protocols.rest.conftest import CHALLENGE, COOKIE, KEY_LOGIN, LOGOUT, Api, is_problem, session_of
from tests.protocols.rest.devices import KID, Device, one_more, refused, unspent

pytestmark = [pytest.mark.django_db, pytest.mark.database]

KINDS = pytest.mark.parametrize("kind", ["token", "cookie"])
MADE = {
    "anonusers.EndUser": 1,
    "anonusers.AnonymousIdentity": 1,
    "anonusers.DeviceKey": 1,
    "anonusers.Session": 1,
    "auth.User": 1,
}


@pytest.fixture
def phone():
    return Device()


@pytest.fixture
def known(phone, application):
    """The answer to the first log-in with the phone's key."""
    response = phone.log_in()
    assert response.status_code == 201
    return response.json()


def grown(before):
    return {label: count - before[label] for label, count in row_counts().items() if count != before[label]}


# --- challenges -----------------------------------------------------------------------------------


@time_machine.travel(datetime(2026, 3, 1, 9, 30, tzinfo=UTC), tick=False)
def test_a_challenge_is_32_characters_for_five_minutes(api, application):
    before = row_counts()
    response = api.call("POST", CHALLENGE, {"client_id": "web"})
    assert response.status_code == 200
    body = response.json()
    assert len(body["challenge"]) == 32
    assert body == {"challenge": body["challenge"], "expires_at": "2026-03-01T09:35:00Z"}
    assert grown(before) == {"anonusers.OneTimeToken": 1}
    assert (response.headers["Cache-Control"], not response.cookies) == ("no-store", True)
    assert len({api.challenge() for _ in range(5)}) == 5


def test_challenges_are_limited_by_address_and_tell_when_to_come_back(application, settings):
    settings.ANONUSERS_CHALLENGES_PER_IP = "2/m"
    with time_machine.travel(timezone.now(), tick=False) as clock:
        answers = [Api(REMOTE_ADDR="192.0.2.1").call("POST", CHALLENGE, {"client_id": "web"}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert OneTimeToken.objects.count() == 2
        assert is_problem(answers[2], 429, "rate_limited")
        assert answers[2].headers["Retry-After"] == "60"
        Api(REMOTE_ADDR="192.0.2.2").challenge()
        clock.shift(timedelta(seconds=61))
        Api(REMOTE_ADDR="192.0.2.1").challenge()


def test_both_doors_share_the_budget_of_challenges(application, settings):
    settings.ANONUSERS_CHALLENGES_PER_IP = "1/m"
    assert Api().call("POST", "/oauth2/challenge", {"purpose": "anonymous_request"}).status_code == 200
    assert is_problem(Api().call("POST", CHALLENGE, {"client_id": "web"}), 429, "rate_limited")


def test_a_page_of_the_application_may_ask_for_a_challenge(api, application):
    response = api.call("POST", CHALLENGE, {"client_id": "web"}, headers={"Origin": APP_ORIGIN})
    assert response.headers["Access-Control-Allow-Origin"] == APP_ORIGIN


# --- the first time, and again ----------------------------------------------------------------------


@time_machine.travel(datetime(2026, 3, 1, 9, 30, tzinfo=UTC), tick=False)
def test_a_new_key_makes_one_guest_and_hands_out_tokens(api, phone, application):
    challenge = api.challenge()
    before = row_counts()
    device = {"name": "Anna's phone", "model": "Fairphone 6", "system": "Android 16", "app": "Guestbook 1.2"}
    body = {"client_id": "web", "signed_request": phone.signed(challenge), "device": device}
    response = api.call("POST", KEY_LOGIN, body, headers={"User-Agent": "Test/1"})
    assert response.status_code == 201
    assert grown(before) == MADE
    assert not response.cookies
    body = response.json()
    session, key = session_of(body), DeviceKey.objects.get()
    access_token, refresh_token = body.pop("access_token"), body.pop("refresh_token")
    assert body == {
        "sub": str(key.end_user_id),
        "is_anonymous": True,
        "is_verified": False,
        "login_ids": [],
        "created_at": "2026-03-01T09:30:00Z",
        "session": {
            "id": str(session.pk),
            "kind": "token",
            "client_id": "web",
            "user_agent": "Test/1",
            "device": device,
            "created_at": "2026-03-01T09:30:00Z",
            "last_used_at": "2026-03-01T09:30:00Z",
            "expires_at": "2026-03-31T09:30:00Z",
            "current": True,
        },
        "created": True,
        "token_type": "Bearer",
        "expires_in": 1800,
    }
    claims = jwt.decode(access_token, options={"verify_signature": False})
    assert (claims["iss"], claims["sub"], claims["amr"]) == (ORIGIN, str(key.end_user_id), ["pop"])
    assert (key.key_id, key.algorithm, key.project, key.revoked_at) == (KID, "ES256", application.project, None)
    assert api.userinfo(bearer=access_token).json()["session"]["device"] == device
    assert api.refresh(refresh_token).status_code == 200
    assert unspent() == 0


@KINDS
@pytest.mark.parametrize("with_jwk", [True, False], ids=["with jwk", "by kid alone"])
def test_a_known_key_leads_to_its_guest_with_a_new_session(known, phone, with_jwk, kind):
    api = Api()
    signed = phone.signed(api.challenge(), with_jwk=with_jwk)
    before, first = row_counts(), state_of(session_of(known))
    response = api.call("POST", KEY_LOGIN, {"client_id": "web", "kind": kind, "signed_request": signed})
    assert response.status_code == 200
    body = response.json()
    assert (body["sub"], body["created"], body["session"]["kind"]) == (known["sub"], False, kind)
    assert body["session"]["id"] != known["session"]["id"]
    assert grown(before) == {"anonusers.Session": 1}
    assert state_of(session_of(known)) == first, "other devices go on"
    assert api.userinfo(bearer=body.get("access_token")).json()["sub"] == known["sub"]
    assert (session_of(body).amr, unspent()) == ("pop", 0)


def test_an_rsa_key_does_as_well(application):
    tablet = Device(kid="8F7B0C5E-2F0C-4C8E-9E55-2E5B7E0B9C11", private=rsa_key())
    subs = [tablet.log_in().json()["sub"] for _ in range(2)]
    assert subs[0] == subs[1]
    assert DeviceKey.objects.get().algorithm == "RS256"


def test_who_has_logged_out_comes_back(known, phone):
    assert Api().call("POST", LOGOUT, {}, bearer=known["access_token"]).status_code == 204
    assert phone.log_in().json()["sub"] == known["sub"]
    assert EndUser.objects.count() == 1


def test_by_cookie_it_hands_out_a_cookie_and_no_token(api, phone, application):
    response = phone.log_in(api, more={"kind": "cookie"})
    assert response.status_code == 201
    body = response.json()
    assert not {"access_token", "refresh_token", "token_type", "expires_in"} & set(body)
    cookie = response.cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    assert api.userinfo().json()["sub"] == body["sub"]
    again = phone.log_in(Api(), more={"kind": "cookie"})
    assert (again.status_code, again.json()["sub"], COOKIE in again.cookies) == (200, body["sub"], True)


def test_a_session_that_is_sent_along_is_not_used(known, application):
    """The key says who it is."""
    response = Device("laptop", "laptop-key").log_in(bearer=known["access_token"])
    assert (response.status_code, response.json()["sub"] != known["sub"]) == (201, True)


@pytest.mark.parametrize("app", ["spa", "traditional_webapp", "native", ""])
def test_every_type_of_application_that_may_have_guests_gets_them(project, phone, app):
    make_application(project, type=app)
    assert phone.log_in().status_code == 201


def test_a_key_leads_to_the_same_guest_through_every_application_of_the_project(known, phone, project):
    make_application(project, "mobile", type="native")
    body = phone.log_in(client_id="mobile").json()
    assert (body["sub"], body["session"]["client_id"]) == (known["sub"], "mobile")


@pytest.mark.parametrize(("allowed", "ended"), [(0, False), (1, True)])
def test_where_one_session_is_allowed_logging_in_ends_the_one_before(project, phone, allowed, ended):
    make_application(project, max_concurrent_sessions=allowed)
    first, second = (phone.log_in().json() for _ in range(2))
    assert (session_of(first).ended_at is not None, session_of(second).ended_at) == (ended, None)


# --- the device ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({}, {}),
        ({"name": ""}, {}),
        ({"model": "Fairphone 6", "app": "x" * 100}, {"model": "Fairphone 6", "app": "x" * 100}),
        ({"system": "Android\x1b[31m 16\n"}, {"system": "Android[31m 16"}),
        ({"name": "\x1b"}, {}),
        ({"name": "<script>📱"}, {"name": "<script>📱"}),
    ],
    ids=["nothing", "empty", "partly", "control characters", "only control characters", "markup"],
)
def test_what_a_client_says_of_its_device_is_shown_in_the_list_of_sessions(api, phone, application, told, shown):
    body = phone.log_in(api, more={"device": told}).json()
    listed = api.call("GET", "/api/v1/sessions/", bearer=body["access_token"]).json()["sessions"]
    assert [body["session"]["device"], *(session["device"] for session in listed)] == [shown, shown]


# --- keys that lead to nobody any more ------------------------------------------------------------


def promoted(known):
    """The guest keeps their account: the key is retired."""
    session = session_of(known)
    promote(end_user=session.end_user, project=session.project, proof=proof_of())


@KINDS
def test_the_key_of_a_promoted_guest_makes_a_new_guest(known, phone, kind):
    promoted(known)
    key = DeviceKey.objects.get()
    assert (key.end_user, key.retired_at is not None) == (None, True)
    before = row_counts()
    response = phone.log_in(more={"kind": kind})
    assert response.status_code == 201
    body = response.json()
    assert (body["created"], body["is_anonymous"], body["sub"] != known["sub"]) == (True, True, True)
    made = {label: number for label, number in MADE.items() if label != "anonusers.DeviceKey"}
    assert grown(before) == made | {"anonusers.OneTimeToken": 1}
    key.refresh_from_db()
    assert (str(key.end_user_id), key.retired_at) == (body["sub"], None)
    assert phone.log_in().json()["sub"] == body["sub"]


def test_by_policy_the_key_of_a_promoted_guest_is_refused(known, phone, project):
    project.retired_device_keys = "refuse"
    project.save()
    promoted(known)
    before, rows = row_counts(), (DeviceKey.objects.get(),)
    state = state_of(*rows)
    response = phone.log_in()
    assert refused(response, 401, "key_proof_refused", before | one_more(before), [(rows, state)])
    assert unspent() == 1


@pytest.mark.parametrize("policy", ["new_guest", "refuse"])
def test_a_revoked_key_is_refused_for_ever(known, phone, project, policy):
    project.retired_device_keys = policy
    project.save()
    DeviceKey.objects.update(end_user=None, retired_at=timezone.now(), revoked_at=timezone.now())
    before = row_counts()
    assert refused(phone.log_in(), 401, "key_proof_refused", before | one_more(before))


# --- two projects ---------------------------------------------------------------------------------


def test_a_key_is_another_guests_in_another_project(known, phone):
    make_application(make_project("second", "second.localhost"))
    second = Api(HTTP_HOST="second.localhost")
    response = phone.log_in(second)
    assert (response.status_code, response.json()["sub"] != known["sub"]) == (201, True)
    assert phone.log_in().json()["sub"] == known["sub"]
    assert DeviceKey.objects.filter(key_id=KID).count() == 2


def test_a_challenge_of_another_project_is_worthless(known, phone):
    make_application(make_project("second", "second.localhost"))
    challenge = Api(HTTP_HOST="second.localhost").challenge()
    before, row = row_counts(), state_of(session_of(known))
    response = Api().call("POST", KEY_LOGIN, {"client_id": "web", "signed_request": phone.signed(challenge)})
    assert refused(response, 401, "key_proof_refused", before, [((session_of(known),), row)])
    assert unspent() == 1
