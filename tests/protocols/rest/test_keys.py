"""GET, POST and DELETE keys/: a guest is given a key, sees it, and takes it away again."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from anonusers import device_keys, events
from anonusers.keypairs import SIGNED_REQUEST_MAX
from anonusers.models import DeviceKey, EndUser, OneTimeToken, Session
from anonusers.promotion import promote
from tests.anonusers.signing import rsa_key
from tests.conftest import make_application, make_project, row_counts, state_of
from tests.people import proof_of
from tests.protocols.rest.conftest import COOKIE, KEY_LOGIN, KEYS, Api, is_problem, session_of
from tests.protocols.rest.devices import KID, Device

pytestmark = [pytest.mark.django_db, pytest.mark.database]

START = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
KEY = f"{KEYS}{KID}/"
UNTRUSTED = pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}],
    ids=["origin", "fetch metadata", "null"],
)


@pytest.fixture
def phone():
    return Device()


@pytest.fixture
def refused(guest):
    """Whether a call is refused with this problem, and neither rows, nor keys, nor the guest's session changed."""

    def check(call, status, code, **more):
        rows = [session_of(guest), *DeviceKey.objects.order_by("pk")]
        before, state = row_counts(), state_of(*rows)
        response = call()
        assert is_problem(response, status, code, **more)
        assert not response.cookies
        assert (row_counts(), state_of(*rows)) == (before, state)
        return True

    return check


def add(phone, guest, api=None, **options):
    """A call that asks for a challenge beforehand, for `refused`."""
    api = api or Api()
    body = {"signed_request": phone.signed(api.challenge(), "add_key")}
    return lambda: api.call("POST", KEYS, body, **({"bearer": guest.get("access_token")} | options))


def listed(guest, **options):
    return Api().call("GET", KEYS, bearer=guest["access_token"], **options).json()["keys"]


# --- a web guest moves into an app ------------------------------------------------------------------


def test_a_web_guest_who_adds_a_key_is_the_same_guest_in_another_client(api, guest, phone, project):
    make_application(project, "mobile", type="native")
    with time_machine.travel(START, tick=False) as clock:
        fresh = Api().sign_up().json()
        api.challenge()
        before = row_counts()
        response = phone.add(fresh, api)
        assert response.status_code == 201
        assert response.json() == {
            "kid": KID,
            "algorithm": "ES256",
            "created_at": "2026-03-01T09:30:00Z",
            "last_used_at": "2026-03-01T09:30:00Z",
        }
        grown = {label: count - before[label] for label, count in row_counts().items() if count != before[label]}
        assert grown == {"anonusers.AuditEvent": 1, "anonusers.DeviceKey": 1, "anonusers.OneTimeToken": 1}
        assert DeviceKey.objects.get().end_user_id == session_of(fresh).end_user_id
        clock.shift(timedelta(minutes=7))
        body = phone.log_in(client_id="mobile").json()
        assert (body["sub"], body["created"], body["session"]["client_id"]) == (fresh["sub"], False, "mobile")
        assert Api().userinfo(bearer=fresh["access_token"]).status_code == 200, "the web page goes on"
        assert listed(fresh) == [response.json() | {"last_used_at": "2026-03-01T09:37:00Z"}]


def test_by_cookie_too(api, cookie_guest, phone):
    response = phone.add(cookie_guest, api)
    assert response.status_code == 201
    assert api.call("GET", KEYS).json() == {"keys": [response.json()]}
    assert phone.log_in().json()["sub"] == cookie_guest["sub"]


def test_an_rsa_key_without_jwk_cannot_be_added_and_with_it_can(guest, refused):
    tablet = Device(private=rsa_key())
    body = {"signed_request": tablet.signed(Api().challenge(), "add_key", with_jwk=False)}
    token = guest["access_token"]
    assert refused(lambda: Api().call("POST", KEYS, body, bearer=token), 401, "key_proof_refused")
    assert tablet.add(guest).json()["algorithm"] == "RS256"


def test_it_is_announced(guest, phone, django_capture_on_commit_callbacks):
    heard = []

    def listen(event, **_kwargs):
        heard.append((event.type, str(event.end_user.pk), str(event.session.pk), event.details))

    events.user_device_key_added.connect(listen)
    events.user_device_key_removed.connect(listen)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            phone.add(guest)
            Api().call("DELETE", KEY, bearer=guest["access_token"])
    finally:
        events.user_device_key_added.disconnect(listen)
        events.user_device_key_removed.disconnect(listen)
    who = (guest["sub"], guest["session"]["id"], {"key_id": KID})
    assert heard == [("user.device_key.added", *who), ("user.device_key.removed", *who)]


def test_who_has_no_key_has_an_empty_list(guest):
    assert listed(guest) == []


def test_the_list_shows_nobody_elses_key_and_no_key_material(guest, phone, application):
    Device("laptop", "laptop-key").log_in()
    phone.add(guest)
    response = Api().call("GET", KEYS, bearer=guest["access_token"])
    assert [key["kid"] for key in response.json()["keys"]] == [KID]
    key = DeviceKey.objects.get(key_id=KID)
    assert not [value for value in (*key.jwk.values(), key.thumbprint) if len(value) > 5 and value in str(response)]


# --- refused ------------------------------------------------------------------------------------------


def test_a_guest_has_one_key(guest, phone, refused):
    phone.add(guest)
    assert refused(add(Device("laptop", "laptop-key"), guest), 409, "key_exists")
    assert refused(add(phone, guest), 409, "key_exists")
    assert phone.log_in().json()["sub"] == guest["sub"]


def test_a_key_of_somebody_else_cannot_be_added(guest, phone, refused, application):
    other = phone.log_in().json()
    assert refused(add(phone, guest), 409, "key_taken")
    assert phone.log_in().json()["sub"] == other["sub"] != guest["sub"]


@pytest.mark.parametrize("revoked", [True, False], ids=["revoked", "retired"])
def test_a_key_that_was_used_before_cannot_be_added(guest, phone, refused, application, revoked):
    phone.log_in()
    now = timezone.now()
    DeviceKey.objects.update(end_user=None, retired_at=now, revoked_at=now if revoked else None)
    assert refused(add(phone, guest), *((401, "key_proof_refused") if revoked else (409, "key_taken")))


@pytest.mark.parametrize("kid", [KID, "another-key"], ids=["its kid, another key", "its key, another kid"])
def test_nobody_takes_the_kid_or_the_key_of_somebody_else(guest, phone, refused, application, kid):
    other = phone.log_in().json()
    thief = Device("thief" if kid == KID else "phone", kid)
    assert refused(add(thief, guest), 401, "key_proof_refused")
    assert phone.log_in().json()["sub"] == other["sub"]


@pytest.mark.parametrize("action", ["auth", "recover", "promote", ""])
def test_what_was_signed_for_something_else_adds_nothing(guest, phone, refused, action):
    """Who gets a phone to log in somewhere must not become its guest."""
    body = {"signed_request": phone.signed(Api().challenge(), action)}
    assert refused(lambda: Api().call("POST", KEYS, body, bearer=guest["access_token"]), 401, "key_proof_refused")


def test_a_challenge_is_good_once_here_too(guest, phone, refused, application):
    challenge = Api().challenge()
    body = {"signed_request": phone.signed(challenge, "add_key")}
    assert Api().call("POST", KEYS, body, bearer=guest["access_token"]).status_code == 201
    other = Api().sign_up().json()
    laptop = {"signed_request": Device("laptop", "laptop-key").signed(challenge, "add_key")}
    assert refused(lambda: Api().call("POST", KEYS, laptop, bearer=other["access_token"]), 401, "key_proof_refused")


def test_a_refused_request_leaves_the_challenge_good(guest, phone, application):
    challenge = Api().challenge()
    other = phone.log_in().json()
    body = {"signed_request": phone.signed(challenge, "add_key")}
    assert is_problem(Api().call("POST", KEYS, body, bearer=guest["access_token"]), 409, "key_taken")
    laptop = {"signed_request": Device("laptop", "laptop-key").signed(challenge, "add_key")}
    assert Api().call("POST", KEYS, laptop, bearer=guest["access_token"]).status_code == 201
    assert other["sub"] != guest["sub"]


def test_a_regular_user_gets_no_key(guest, phone, refused):
    session_of(guest).end_user.anonymous_identity.delete()
    assert refused(add(phone, guest), 409, "user_is_regular")
    assert listed(guest) == []


def test_promotion_leaves_no_key_behind(guest, phone):
    phone.add(guest)
    session = session_of(guest)
    promote(end_user=session.end_user, project=session.project, proof=proof_of())
    assert not DeviceKey.objects.filter(end_user=session.end_user).exists()


def test_a_guest_who_is_disabled_meanwhile_gets_no_key(guest, phone, refused, monkeypatch):
    lock = device_keys.lock_end_user

    def disable(end_user_id):
        EndUser.objects.filter(pk=end_user_id).update(disabled_at=timezone.now())
        return lock(end_user_id)

    monkeypatch.setattr(device_keys, "lock_end_user", disable)
    assert refused(add(phone, guest), 401, "guest_gone")


@pytest.mark.parametrize(("method", "path"), [("GET", KEYS), ("POST", KEYS), ("DELETE", KEY)])
@pytest.mark.parametrize("bearer", [None, "x"])
def test_without_a_session_there_are_no_keys(api, phone, application, guest, refused, method, path, bearer):
    phone.add(guest)
    body = {"signed_request": Device("laptop", "laptop-key").signed(api.challenge(), "add_key")}
    assert refused(lambda: api.call(method, path, body, bearer=bearer), 401, "not_signed_in")


@UNTRUSTED
@pytest.mark.parametrize(("method", "path"), [("POST", KEYS), ("DELETE", KEY)])
def test_no_foreign_page_gives_or_takes_a_key_by_cookie(
    api, cookie_guest, guest, phone, refused, method, path, headers
):
    phone.add(cookie_guest, api)
    body = {"signed_request": phone.signed(api.challenge(), "add_key")}
    assert refused(lambda: api.call(method, path, body, headers=headers), 403, "untrusted_origin")
    assert api.call("GET", KEYS, headers=headers).status_code == 200, "reading does no harm"


@UNTRUSTED
def test_a_token_does_not_depend_on_the_origin(guest, phone, headers):
    assert phone.add(guest, headers=headers).status_code == 201
    assert Api().call("DELETE", KEY, bearer=guest["access_token"], headers=headers).status_code == 204


def test_a_session_of_another_project_is_nobodys(guest, phone, refused):
    make_application(make_project("second", "second.localhost"))
    second = Api(HTTP_HOST="second.localhost")
    assert refused(add(phone, guest, second), 401, "not_signed_in")
    challenge = second.challenge()
    body = {"signed_request": phone.signed(challenge, "add_key")}
    token = guest["access_token"]
    assert refused(lambda: Api().call("POST", KEYS, body, bearer=token), 401, "key_proof_refused")


# --- taking it away -----------------------------------------------------------------------------------


def test_a_removed_key_is_refused_for_ever_and_its_sessions_end(guest, phone):
    phone.add(guest)
    others = [phone.log_in().json() for _ in range(2)]
    somebody = Device("laptop", "laptop-key").log_in().json()
    before = row_counts()
    response = Api().call("DELETE", KEY, bearer=guest["access_token"])
    assert (response.status_code, response.content) == (204, b"")
    events = "anonusers.AuditEvent"
    assert row_counts() == before | {events: before[events] + 1}, "a tombstone stays"
    key = DeviceKey.objects.get(key_id=KID)
    assert (key.end_user, key.retired_at, key.revoked_at is not None) == (None, key.revoked_at, True)
    assert [Api().userinfo(bearer=one["access_token"]).status_code for one in others] == [401, 401]
    assert is_problem(Api().refresh(others[0]["refresh_token"]), 401, "invalid_token")
    assert [Api().userinfo(bearer=one["access_token"]).status_code for one in (guest, somebody)] == [200, 200]
    assert listed(guest) == []
    for _ in range(2):
        assert is_problem(phone.log_in(), 401, "key_proof_refused")
    assert is_problem(phone.add(guest), 401, "key_proof_refused")
    assert EndUser.objects.count() == 2, "no new guest either"


def test_the_session_of_the_request_goes_on_though_the_key_opened_it(phone, application):
    first, second = (phone.log_in().json() for _ in range(2))
    assert Api().call("DELETE", KEY, bearer=second["access_token"]).status_code == 204
    assert [session_of(one).ended_at is None for one in (first, second)] == [False, True]
    assert Api().refresh(second["refresh_token"]).status_code == 200


def test_a_guest_may_have_another_key_then(guest, phone):
    phone.add(guest)
    Api().call("DELETE", KEY, bearer=guest["access_token"])
    laptop = Device("laptop", "laptop-key")
    assert laptop.add(guest).status_code == 201
    assert laptop.log_in().json()["sub"] == guest["sub"]
    assert [key["kid"] for key in listed(guest)] == ["laptop-key"]


def test_by_cookie_it_goes_too_and_the_cookie_stays(api, phone, application):
    phone.log_in(api, more={"kind": "cookie"})
    response = api.call("DELETE", KEY)
    assert (response.status_code, not response.cookies, COOKIE in api.cookies) == (204, True, True)
    assert api.userinfo().status_code == 200


@pytest.mark.parametrize("kid", ["nobodys-key", "laptop-key", KID.upper(), "a" * 64])
def test_a_key_that_is_not_ones_own_is_unknown(guest, phone, refused, kid):
    phone.add(guest)
    other = Device("laptop", "laptop-key").log_in().json()
    assert refused(
        lambda: Api().call("DELETE", f"{KEYS}{kid}/", bearer=guest["access_token"]),
        404,
        "unknown_key",
        detail="This guest has no such device key.",
    )
    assert Api().userinfo(bearer=other["access_token"]).status_code == 200


def test_a_key_is_removed_once(guest, phone, refused):
    phone.add(guest)
    assert Api().call("DELETE", KEY, bearer=guest["access_token"]).status_code == 204
    assert refused(lambda: Api().call("DELETE", KEY, bearer=guest["access_token"]), 404, "unknown_key")


# --- bad input ----------------------------------------------------------------------------------------


def type_of(pointer, detail="Not a valid string."):
    return {"pointer": f"#/{pointer}", "code": "type", "detail": detail}


def too_long(pointer, limit):
    detail = f"Ensure this field has no more than {limit} characters."
    return {"pointer": f"#/{pointer}", "code": "general", "detail": detail}


NULL = "This field may not be null."
UNKNOWN = {"code": "general", "detail": "is not a known key"}
MISSING = {"pointer": "#", "code": "required"}
CAUSES = {
    "nothing": (KEYS, {}, [MISSING | {"detail": "missing: signed_request"}]),
    "a number": (KEYS, {"signed_request": 1}, [type_of("signed_request")]),
    "null": (KEYS, {"signed_request": None}, [type_of("signed_request", NULL)]),
    "a list": (KEYS, {"signed_request": ["x"]}, [type_of("signed_request")]),
    "an object": (KEYS, {"signed_request": {}}, [type_of("signed_request")]),
    "too long": (KEYS, {"signed_request": "x" * (SIGNED_REQUEST_MAX + 1)}, [too_long("signed_request", 16384)]),
    "a name": (KEYS, {"signed_request": "x", "kid": "x"}, [UNKNOWN | {"pointer": "#/kid"}]),
    "a log-in of nothing": (KEY_LOGIN, {}, [MISSING | {"detail": "missing: client_id, signed_request"}]),
    "a long client": (KEY_LOGIN, {"client_id": "x" * 101}, [too_long("client_id", 100)]),
    "a number as kind": (KEY_LOGIN, {"kind": 1}, [type_of("kind", "is not a string")]),
    "another kind": (
        KEY_LOGIN,
        {"kind": "jwt"},
        [{"pointer": "#/kind", "code": "enum", "detail": '"jwt" is not a valid choice.'}],
    ),
    "a long request": (KEY_LOGIN, {"signed_request": "x" * 16385}, [too_long("signed_request", 16384)]),
    "device: null": (KEY_LOGIN, {"device": None}, [type_of("device", NULL)]),
    "device: a string": (KEY_LOGIN, {"device": "x"}, [type_of("device", "must be an object")]),
    "device: a list": (KEY_LOGIN, {"device": []}, [type_of("device", "must be an object")]),
    "device.name: null": (KEY_LOGIN, {"device": {"name": None}}, [type_of("device/name", NULL)]),
    "device.model: a number": (KEY_LOGIN, {"device": {"model": 6}}, [type_of("device/model")]),
    "device.system: long": (KEY_LOGIN, {"device": {"system": "x" * 101}}, [too_long("device/system", 100)]),
    "device.app: long": (KEY_LOGIN, {"device": {"app": "x" * 101}}, [too_long("device/app", 100)]),
    "device.imei": (KEY_LOGIN, {"device": {"imei": "x"}}, [UNKNOWN | {"pointer": "#/device/imei"}]),
    "a user": (KEY_LOGIN, {"sub": "x"}, [UNKNOWN | {"pointer": "#/sub"}]),
}


@pytest.mark.parametrize("case", CAUSES)
def test_a_body_that_is_wrong_is_refused_and_says_where(guest, phone, refused, case):
    path, body, errors = CAUSES[case]
    if path == KEY_LOGIN and body:
        body = {"client_id": "web", "signed_request": phone.signed(Api().challenge())} | body
    bearer = guest["access_token"] if path == KEYS else None
    call = lambda: Api().call("POST", path, body, bearer=bearer)  # noqa: E731
    assert refused(call, 400, "validation_failed", errors=errors)
    assert not OneTimeToken.objects.filter(used_at__isnull=False).exists(), "no challenge was spent"


@pytest.mark.parametrize(
    "kid", ["seven77", "a" * 65, "schlüssel", "кириллица", "with.a.dot", "with a blank", "semi;colon", "a%2Fb-slash"]
)
def test_what_cannot_be_a_kid_is_no_endpoint(guest, refused, kid):
    call = lambda: Api().call("DELETE", f"{KEYS}{kid}/", bearer=guest["access_token"])  # noqa: E731
    assert refused(call, 404, "endpoint_not_found")


def test_a_kid_is_not_found_under_the_one_of_another_project(guest, phone, refused):
    make_application(make_project("second", "second.localhost"))
    second = Api(HTTP_HOST="second.localhost")
    other = phone.log_in(second).json()
    assert refused(lambda: Api().call("DELETE", KEY, bearer=guest["access_token"]), 404, "unknown_key")
    assert second.call("DELETE", KEY, bearer=other["access_token"]).status_code == 204
    assert Session.objects.get(pk=other["session"]["id"]).ended_at is None
