"""The DPoP header (RFC 9449): refresh tokens that are bound to a key of the client, from every way to get one."""

import hashlib
import json

import jwt
import pytest
from django.utils import timezone

from anonusers.models import LoginID, OneTimeToken, Session
from tests.anonusers.signing import b64, ec_key, jwk_of, rsa_key, signed
from tests.conftest import ORIGIN, make_application, row_counts, state_of
from tests.people import EMAIL, PASSWORD, last_code, regular_user
from tests.protocols.rest.conftest import (
    KEYS,
    LOGIN,
    LOGIN_CODE,
    LOGIN_VERIFY,
    LOGOUT,
    PROMOTE,
    PROMOTION,
    RECOVERY_CODE,
    REFRESH,
    SESSIONS,
    SIGNUP,
    USERINFO,
    VERIFY,
    Api,
    is_problem,
    session_of,
)
from tests.protocols.rest.devices import Device

pytestmark = [pytest.mark.django_db, pytest.mark.database]

WEB = {"client_id": "web"}
NEW = {"type": "email", "value": "new@example.com"}


class DPoPKey:
    """A client's key, and the header it sends."""

    def __init__(self, private=None):
        self.private, self.proofs = private or ec_key("dpop"), 0

    def proof(self, path, *, method="POST", **changes):
        self.proofs += 1
        claims = {"iat": int(timezone.now().timestamp()), "jti": f"jti-{self.proofs}", "htm": method}
        jwk = jwk_of(self.private)
        header = {"typ": "dpop+jwt", "alg": jwk["alg"], "jwk": jwk}
        return signed(json.dumps(header), json.dumps(claims | {"htu": f"{ORIGIN}{path}"} | changes), self.private)

    def header(self, path, **options):
        return {"headers": {"DPoP": self.proof(path, **options)}}

    def access(self, token, path=USERINFO, method="GET", **changes):
        """The two headers of a request with an access token that is bound to this key."""
        ath = b64(hashlib.sha256(token.encode()).digest())
        proof = self.proof(path, method=method, **({"ath": ath} | changes))
        return {"headers": {"Authorization": f"DPoP {token}", "DPoP": proof}}


@pytest.fixture
def key():
    return DPoPKey()


def refresh(token, **options):
    return Api().refresh(token, **options)


# --- every way to a refresh token ---------------------------------------------------------------------


def by_sign_up(application):
    return SIGNUP, WEB, {}


def by_key(application):
    return "/api/v1/login/key/", WEB | {"signed_request": Device().signed(Api().challenge())}, {}


def by_recovery(application):
    guest = Api().sign_up().json()
    code = Api().call("POST", RECOVERY_CODE, {}, bearer=guest["access_token"]).json()["recovery_code"]
    signed_request = Device().signed(Api().challenge(), "recover")
    return "/api/v1/recover/", WEB | {"recovery_code": code, "signed_request": signed_request}, {}


def by_password(application):
    regular_user(application)
    return LOGIN, WEB | {"login_id": EMAIL, "password": PASSWORD}, {}


def by_code(application):
    regular_user(application)
    handle = Api().call("POST", LOGIN_CODE, WEB | {"login_id": EMAIL}).json()["handle"]
    return LOGIN_VERIFY, WEB | {"handle": handle, "code": last_code()}, {}


def by_promotion(application):
    guest = Api().sign_up().json()
    return PROMOTE, {"login_id": NEW, "password": PASSWORD}, {"bearer": guest["access_token"]}


def by_code_promotion(application):
    guest = Api().sign_up().json()
    bearer = {"bearer": guest["access_token"]}
    handle = Api().call("POST", PROMOTION, {"login_id": NEW}, **bearer).json()["promotion"]["handle"]
    return VERIFY, {"handle": handle, "code": last_code()}, bearer


WAYS = {
    "sign-up": by_sign_up,
    "key": by_key,
    "recovery": by_recovery,
    "password": by_password,
    "code": by_code,
    "promotion": by_promotion,
    "promotion by code": by_code_promotion,
}
EVERY_WAY = pytest.mark.parametrize("way", WAYS)


@EVERY_WAY
def test_a_proof_binds_the_refresh_token_to_its_key(application, key, way):
    path, body, options = WAYS[way](application)
    answer = Api().call("POST", path, body, **options, **key.header(path))
    assert answer.status_code in (200, 201), answer.content
    token, session = answer.json()["refresh_token"], session_of(answer.json())
    assert len(session.dpop_jkt) == 43
    before, state = row_counts(), state_of(session)
    assert is_problem(refresh(token), 401, "dpop_proof_refused")
    assert is_problem(refresh(token, **DPoPKey(rsa_key()).header(REFRESH)), 401, "invalid_token")
    assert (row_counts(), state_of(session)) == (before, state)
    again = refresh(token, **key.header(REFRESH))
    assert again.status_code == 200
    assert refresh(again.json()["refresh_token"], **key.header(REFRESH)).status_code == 200, "the next is bound, too"
    token = again.json()["access_token"]
    assert (answer.json()["token_type"], again.json()["token_type"]) == ("DPoP", "DPoP")
    assert Api().userinfo(**key.access(token)).status_code == 200
    assert is_problem(Api().userinfo(bearer=token), 401, "not_signed_in")


@EVERY_WAY
def test_without_a_proof_nothing_is_bound(application, way):
    path, body, options = WAYS[way](application)
    answer = Api().call("POST", path, body, **options).json()
    assert (session_of(answer).dpop_jkt, answer["token_type"]) == ("", "Bearer")
    assert refresh(answer["refresh_token"]).json()["token_type"] == "Bearer"


BROKEN = {
    "no JWS": lambda key, path: "x",
    "empty": lambda key, path: "",
    "another path": lambda key, path: key.proof("/api/v1/userinfo/"),
    "another method": lambda key, path: key.proof(path, method="GET"),
    "another host": lambda key, path: key.proof(path, htu=f"https://evil.example{path}"),
    "old": lambda key, path: key.proof(path, iat=int(timezone.now().timestamp()) - 301),
    "no jti": lambda key, path: key.proof(path, jti=""),
}


@EVERY_WAY
@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_proof_is_refused_before_anything_is_spent(application, key, way, broken):
    path, body, options = WAYS[way](application)
    rows = [*OneTimeToken.objects.all(), *Session.objects.all(), *LoginID.objects.all()]
    before, state = row_counts(), state_of(*rows)
    sent = {"headers": {"DPoP": BROKEN[broken](key, path)}}
    assert is_problem(Api().call("POST", path, body, **options, **sent), 401, "dpop_proof_refused")
    assert (row_counts(), state_of(*rows)) == (before, state)
    assert Api().call("POST", path, body, **options).status_code in (200, 201), "and it still works"


# --- refreshing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_proof_refreshes_nothing_bound_or_not(application, key, broken):
    bound = Api().sign_up(**key.header(SIGNUP)).json()
    free = Api().sign_up().json()
    rows = [session_of(bound), session_of(free)]
    before, state = row_counts(), state_of(*rows)
    for guest in (bound, free):
        sent = {"headers": {"DPoP": BROKEN[broken](key, REFRESH)}}
        assert is_problem(refresh(guest["refresh_token"], **sent), 401, "dpop_proof_refused")
    assert (row_counts(), state_of(*rows)) == (before, state)


def test_a_proof_is_good_once(application, key):
    token = Api().sign_up(**key.header(SIGNUP)).json()["refresh_token"]
    proof = key.header(REFRESH)
    again = refresh(token, **proof).json()["refresh_token"]
    session = Session.objects.get()
    before, state = row_counts(), state_of(session)
    assert is_problem(refresh(again, **proof), 401, "dpop_proof_refused")
    assert (row_counts(), state_of(session)) == (before, state)


def test_a_lost_answer_is_asked_for_again_with_a_new_proof(application, key):
    token = Api().sign_up(**key.header(SIGNUP)).json()["refresh_token"]
    tokens = [refresh(token, **key.header(REFRESH)).json()["refresh_token"] for _ in range(2)]
    assert tokens[0] == tokens[1]


def test_who_signs_up_with_a_bound_refresh_token_proves_the_key(application, key):
    guest = Api().sign_up(**key.header(SIGNUP)).json()
    more = {"refresh_token": guest["refresh_token"]}
    before, state = row_counts(), state_of(session_of(guest))
    assert is_problem(Api().sign_up(more=more), 401, "dpop_proof_refused")
    assert is_problem(Api().sign_up(more=more, **DPoPKey(rsa_key()).header(SIGNUP)), 401, "invalid_token")
    assert (row_counts(), state_of(session_of(guest))) == (before, state)
    again = Api().sign_up(more=more, **key.header(SIGNUP))
    assert (again.status_code, again.json()["sub"]) == (200, guest["sub"])


# --- promotion ----------------------------------------------------------------------------------------


def test_a_promotion_does_not_loosen_the_tie(application, key):
    """Whatever proof comes with it: the new session is bound to the key of the one before."""
    guest = Api().sign_up(**key.header(SIGNUP)).json()
    body = {"login_id": NEW, "password": PASSWORD}
    answer = Api().call("POST", PROMOTE, body, **key.access(guest["access_token"], PROMOTE, "POST")).json()
    assert session_of(answer).dpop_jkt == session_of(guest).dpop_jkt != ""
    assert answer["token_type"] == "DPoP"
    assert is_problem(refresh(answer["refresh_token"]), 401, "dpop_proof_refused")
    assert refresh(answer["refresh_token"], **key.header(REFRESH)).status_code == 200


def test_a_promotion_by_another_key_binds_to_the_one_before(application, key):
    """Where access tokens of before the upgrade are still bearer tokens."""
    guest = Api().sign_up().json()
    jkt = session_of(Api().sign_up(**key.header(SIGNUP)).json()).dpop_jkt
    Session.objects.filter(pk=guest["session"]["id"]).update(dpop_jkt=jkt)
    body = {"login_id": NEW, "password": PASSWORD}
    sent = DPoPKey(rsa_key()).header(PROMOTE)
    answer = Api().call("POST", PROMOTE, body, bearer=guest["access_token"], **sent).json()
    assert session_of(answer).dpop_jkt == jkt


# --- access tokens ------------------------------------------------------------------------------------


@pytest.mark.parametrize("issue_jwt", [True, False], ids=["JWT", "opaque"])
def test_an_access_token_that_is_bound_needs_its_key_at_every_request(project, key, issue_jwt):
    make_application(project, issue_jwt_access_token=issue_jwt)
    guest = Api().sign_up(**key.header(SIGNUP)).json()
    token, session = guest["access_token"], session_of(guest)
    if issue_jwt:
        claims = jwt.decode(token, options={"verify_signature": False})
        assert claims["cnf"] == {"jkt": session.dpop_jkt}
    assert Api().userinfo(**key.access(token)).json()["sub"] == guest["sub"]
    before, state = row_counts(), state_of(session)
    other = "x" * len(token)
    for sent in (
        {"bearer": token},
        {"headers": {"Authorization": f"DPoP {token}"}},
        {"headers": {"Authorization": f"DPoP {token}", "DPoP": "x"}},
        {"headers": key.header(USERINFO, method="GET")["headers"] | {"Authorization": f"Bearer {token}"}},
        DPoPKey(rsa_key()).access(token),
        key.access(token, method="POST"),
        key.access(token, REFRESH),
        key.access(token, ath=b64(hashlib.sha256(other.encode()).digest())),
    ):
        response = Api().userinfo(**sent)
        assert is_problem(response, 401, "not_signed_in")
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="anonusers", DPoP algs="ES256 RS256"'
    assert (row_counts(), state_of(session)) == (before, state)


def test_a_request_cannot_be_repeated_by_who_overheard_it(application, key):
    guest = Api().sign_up(**key.header(SIGNUP)).json()
    sent = key.access(guest["access_token"], LOGOUT, "POST")
    listen = key.access(guest["access_token"])
    assert [Api().userinfo(**listen).status_code for _ in range(2)] == [200, 401]
    assert [Api().call("POST", LOGOUT, {}, **sent).status_code for _ in range(2)] == [204, 401]


def test_an_access_token_that_is_not_bound_is_no_bound_one(guest, key):
    assert is_problem(Api().userinfo(**key.access(guest["access_token"])), 401, "not_signed_in")


def test_who_signs_up_with_a_bound_access_token_stays_the_same_guest(application, key):
    guest = Api().sign_up(**key.header(SIGNUP)).json()
    again = Api().sign_up(**key.access(guest["access_token"], SIGNUP, "POST"))
    assert (again.status_code, again.json()["sub"], again.json()["token_type"]) == (200, guest["sub"], "DPoP")


def test_every_endpoint_for_the_signed_in_takes_a_bound_access_token(application, key):
    guest = Api().sign_up(**key.header(SIGNUP)).json()
    token = guest["access_token"]
    add = {"signed_request": Device().signed(Api().challenge(), "add_key")}
    for method, path, body, status in (
        ("GET", SESSIONS, None, 200),
        ("POST", KEYS, add, 201),
        ("GET", KEYS, None, 200),
        ("POST", RECOVERY_CODE, {}, 201),
        ("DELETE", f"{KEYS}phone-key-1/", None, 204),
        ("DELETE", f"{SESSIONS}{guest['session']['id']}/", None, 204),
    ):
        assert Api().call(method, path, body, **key.access(token, path, method)).status_code == status, path


def test_an_application_may_do_without(project, key):
    make_application(project, dpop_enabled=False)
    for headers in (key.header(SIGNUP), {"headers": {"DPoP": "x"}}):
        guest = Api().sign_up(**headers).json()
        assert (session_of(guest).dpop_jkt, guest["token_type"]) == ("", "Bearer")
        assert refresh(guest["refresh_token"], **headers).status_code == 200


# --- what else could go wrong -------------------------------------------------------------------------


def test_a_cookie_is_bound_to_no_key(application, key):
    api = Api()
    guest = api.sign_up(kind="cookie", **key.header(SIGNUP)).json()
    assert session_of(guest).dpop_jkt == ""
    assert api.userinfo().json()["sub"] == guest["sub"]
    device_api = Api()
    path = "/api/v1/login/key/"
    body = WEB | {"kind": "cookie", "signed_request": Device().signed(device_api.challenge())}
    assert session_of(device_api.call("POST", path, body, **key.header(path)).json()).dpop_jkt == ""


def test_a_retried_sign_up_is_answered_with_the_bound_token(application, key):
    """The retry makes a proof of its own; whoever overhears the Idempotency-Key gets nowhere with the token."""
    answers = []
    for client in (key, key):
        headers = {"DPoP": client.proof(SIGNUP), "Idempotency-Key": "k" * 16}
        answers.append(Api().sign_up(headers=headers).json())
    assert answers[0]["refresh_token"] == answers[1]["refresh_token"]
    thief = Api().sign_up(headers={"Idempotency-Key": "k" * 16}).json()
    assert is_problem(refresh(thief["refresh_token"]), 401, "dpop_proof_refused")


def test_one_key_may_bind_many_sessions(application, key):
    guests = [Api().sign_up(**key.header(SIGNUP)).json() for _ in range(2)]
    assert guests[0]["sub"] != guests[1]["sub"]
    assert session_of(guests[0]).dpop_jkt == session_of(guests[1]).dpop_jkt
    assert [refresh(guest["refresh_token"], **key.header(REFRESH)).status_code for guest in guests] == [200, 200]
