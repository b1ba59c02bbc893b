"""Access tokens: what they say, how a resource server checks them, and that no forged one is believed."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.test import Client
from django.utils import timezone

from anonusers.keys import key_ring
from anonusers.models import Application
from tests.conftest import ORIGIN
from tests.protocols.authgear.steps import (
    CLAIM,
    FULL_ACCESS,
    JWKS,
    RESOLVE,
    ask_id_token,
    assert_no_session,
    assert_oauth_error,
    bearer,
    claims_of,
    configure,
    get_cookie,
    get_tokens,
    make_regular,
    nothing_changes,
    only_session,
    refreshed,
    revoke,
    revoke_it,
    sub_of,
    userinfo,
)

pytestmark = pytest.mark.django_db

NOW = "2026-01-01T00:00:00Z"


# --- what they say --------------------------------------------------------------------------------


@pytest.mark.spec("RFC 9068", "2")
@pytest.mark.spec("authgear.md", "2.2")
def test_every_claim_of_a_jwt_access_token(application: Application, browser: Client) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        first = get_tokens(browser)
        born = int(timezone.now().timestamp())
        clock.shift(600)
        token = refreshed(browser, first["refresh_token"])["access_token"]
        header = jwt.get_unverified_header(token)
        ec_key = next(key for key in browser.get(JWKS).json()["keys"] if key["kty"] == "EC")
        assert header == {"typ": "at+jwt", "alg": "ES256", "kid": ec_key["kid"]}
        claims = claims_of(browser, token, audience=ORIGIN)
        session = only_session()
        assert claims.pop("jti")
        assert claims == {
            "iss": ORIGIN,
            "aud": [ORIGIN],
            "iat": born + 600,
            "exp": born + 600 + 1800,
            "client_id": "web",
            "scope": f"openid offline_access {FULL_ACCESS}",
            "auth_time": born,
            "sid": str(session.id),
            "sub": str(session.end_user_id),
            f"{CLAIM}is_anonymous": True,
            f"{CLAIM}is_verified": False,
            f"{CLAIM}can_reauthenticate": False,
            f"{CLAIM}roles": [],
        }


@pytest.mark.spec("RFC 9068", "2.2")
def test_no_two_tokens_have_the_same_jti(application: Application, browser: Client) -> None:
    token = get_tokens(browser)
    seen = set()
    for _ in range(10):
        token = refreshed(browser, token["refresh_token"])
        seen.add(claims_of(browser, token["access_token"], audience=ORIGIN)["jti"])
    assert len(seen) == 10


def test_the_lifetime_is_the_applications(application: Application, browser: Client) -> None:
    configure(application, access_token_lifetime=300)
    tokens = get_tokens(browser)
    claims = claims_of(browser, tokens["access_token"], audience=ORIGIN)
    assert tokens["expires_in"] == claims["exp"] - claims["iat"] == 300


def test_a_regular_user_is_said_to_be_one(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    make_regular(only_session())
    claims = claims_of(browser, refreshed(browser, tokens["refresh_token"])["access_token"], audience=ORIGIN)
    assert claims[f"{CLAIM}is_anonymous"] is False


# --- opaque ones ----------------------------------------------------------------------------------


@pytest.fixture
def opaque(application: Application) -> Application:
    configure(application, issue_jwt_access_token=False, access_token_lifetime=300)
    return application


@pytest.mark.spec("authgear.md", "2.2")
def test_an_opaque_token_says_nothing_and_works_everywhere(opaque: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    token = tokens["access_token"]
    assert token.isascii()
    assert "." not in token
    assert tokens["expires_in"] == 300
    with pytest.raises(jwt.InvalidTokenError):
        jwt.get_unverified_header(token)
    sub = str(only_session().end_user_id)
    assert sub_of(browser, token) == sub
    assert browser.get(RESOLVE, **bearer(token)).headers["X-Authgear-User-Id"] == sub
    assert ask_id_token(browser, token).status_code == 200
    again = refreshed(browser, tokens["refresh_token"])["access_token"]
    assert again != token
    assert sub_of(browser, again) == sub


@pytest.mark.parametrize(("second", "status"), [(299, 200), (300, 401), (301, 401)])
@pytest.mark.parametrize("jwt_tokens", [True, False], ids=["jwt", "opaque"])
def test_a_token_expires_to_the_second(
    opaque: Application, browser: Client, second: int, status: int, jwt_tokens: bool
) -> None:
    configure(opaque, issue_jwt_access_token=jwt_tokens)
    with time_machine.travel(NOW, tick=False) as clock:
        token = get_tokens(browser)["access_token"]
        assert userinfo(browser, token).status_code == 200
        clock.shift(second)
        assert userinfo(browser, token).status_code == status


@pytest.mark.parametrize("jwt_tokens", [True, False], ids=["jwt", "opaque"])
def test_a_token_dies_with_its_session_at_once(opaque: Application, browser: Client, jwt_tokens: bool) -> None:
    configure(opaque, issue_jwt_access_token=jwt_tokens)
    token = get_tokens(browser)["access_token"]
    assert userinfo(browser, token).status_code == 200
    revoke_it(only_session())
    with nothing_changes():
        assert_no_session(userinfo(browser, token))


def test_tokens_of_before_the_switch_go_on(opaque: Application, browser: Client) -> None:
    old = get_tokens(browser)
    configure(opaque, issue_jwt_access_token=True)
    new = refreshed(browser, old["refresh_token"])
    assert new["access_token"].count(".") == 2
    assert sub_of(browser, old["access_token"]) == sub_of(browser, new["access_token"])


@pytest.mark.parametrize("place", [0, 21, 24, 30, 40, 63])
def test_a_changed_opaque_token_is_worthless(opaque: Application, browser: Client, place: int) -> None:
    token = get_tokens(browser)["access_token"]
    changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
    with nothing_changes():
        for wrong in (changed, token + "A", token[:-1], token.upper(), ""):
            assert_no_session(userinfo(browser, wrong))


# --- forged ones ----------------------------------------------------------------------------------


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def parts_of(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    header, payload, signature = token.split(".")

    def decoded(part: str) -> dict[str, Any]:
        return json.loads(base64.urlsafe_b64decode(part + "=="))

    return decoded(header), decoded(payload), signature


def joined(header: Any, payload: Any, signature: str = "") -> str:
    return f"{b64(json.dumps(header).encode())}.{b64(json.dumps(payload).encode())}.{signature}"


def public_pem(application: Application, algorithm: str = "ES256") -> bytes:
    public = key_ring(application.project).signing(algorithm).public
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hs256(header: Any, payload: Any, key: bytes) -> str:
    text = joined(header, payload)[:-1]
    return f"{text}.{b64(hmac.digest(key, text.encode(), hashlib.sha256))}"


def own_key(application: Application, algorithm: str = "ES256") -> Any:
    return key_ring(application.project).signing(algorithm)


Forge = Callable[[Application, str], str]


def alg_none(application: Application, token: str) -> str:
    header, payload, _ = parts_of(token)
    return joined(header | {"alg": "none"}, payload)


def alg_none_in_capitals(application: Application, token: str) -> str:
    header, payload, _ = parts_of(token)
    return joined(header | {"alg": "NoNe"}, payload)


def alg_none_with_the_old_signature(application: Application, token: str) -> str:
    header, payload, signature = parts_of(token)
    return joined(header | {"alg": "none"}, payload, signature)


def hs256_with_the_public_key(application: Application, token: str) -> str:
    header, payload, _ = parts_of(token)
    return hs256(header | {"alg": "HS256"}, payload, public_pem(application))


def hs256_with_the_rsa_public_key(application: Application, token: str) -> str:
    header, payload, _ = parts_of(token)
    kid = own_key(application, "RS256").kid
    return hs256(header | {"alg": "HS256", "kid": kid}, payload, public_pem(application, "RS256"))


def hs256_with_nothing(application: Application, token: str) -> str:
    header, payload, _ = parts_of(token)
    return hs256(header | {"alg": "HS256"}, payload, b"")


def hs256_named_after_the_secret_key(application: Application, token: str) -> str:
    header, payload, _ = parts_of(token)
    kid = own_key(application, "HS256").kid
    return hs256(header | {"alg": "HS256", "kid": kid}, payload, kid.encode())


def another_sub(application: Application, token: str) -> str:
    header, payload, signature = parts_of(token)
    return joined(header, payload | {"sub": "00000000-0000-4000-8000-000000000000"}, signature)


def later_expiry(application: Application, token: str) -> str:
    header, payload, signature = parts_of(token)
    return joined(header, payload | {"exp": payload["exp"] + 9999}, signature)


def cut_signature(application: Application, token: str) -> str:
    return token.rpartition(".")[0] + "."


def changed_signature(application: Application, token: str) -> str:
    head, _, signature = token.rpartition(".")
    return f"{head}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


def zero_signature(application: Application, token: str) -> str:
    """CVE-2022-21449: r = s = 0 verified everywhere once."""
    return f"{token.rpartition('.')[0]}.{b64(bytes(64))}"


def foreign_key_with_our_kid(application: Application, token: str) -> str:
    header, payload, _ = parts_of(token)
    key = ec.generate_private_key(ec.SECP256R1())
    return jwt.encode(payload, key, "ES256", headers=header)


def foreign_key_with_its_own_kid(application: Application, token: str) -> str:
    header, payload, _ = parts_of(token)
    key = ec.generate_private_key(ec.SECP256R1())
    return jwt.encode(payload, key, "ES256", headers=header | {"kid": "mine"})


def jwk_in_the_header(application: Application, token: str) -> str:
    header, payload, _ = parts_of(token)
    key = ec.generate_private_key(ec.SECP256R1())
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return jwt.encode(payload, key, "ES256", headers=header | {"jwk": jwk})


def jku_in_the_header(application: Application, token: str) -> str:
    header, payload, _ = parts_of(token)
    key = ec.generate_private_key(ec.SECP256R1())
    return jwt.encode(payload, key, "ES256", headers=header | {"jku": "https://evil.example/jwks", "kid": "mine"})


def x5c_in_the_header(application: Application, token: str) -> str:
    header, payload, _ = parts_of(token)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(payload, key, "RS256", headers=header | {"alg": "RS256", "x5c": ["MII"]})


def no_kid(application: Application, token: str) -> str:
    header, payload, _ = parts_of(token)
    del header["kid"]
    return jwt.encode(payload, own_key(application).private, "ES256", headers=header)


def signed_by_us(application: Application, token: str, header: dict[str, Any], payload: dict[str, Any]) -> str:
    old_header, old_payload, _ = parts_of(token)
    merged = {name: value for name, value in (old_payload | payload).items() if value is not None}
    return jwt.encode(merged, own_key(application).private, "ES256", headers=old_header | header)


def kid_as_a_list(application: Application, token: str) -> str:
    header, payload, signature = parts_of(token)
    return joined(header | {"kid": [header["kid"]]}, payload, signature)


FORGERIES: dict[str, Forge] = {
    forge.__name__.replace("_", " "): forge
    for forge in (
        alg_none,
        alg_none_in_capitals,
        alg_none_with_the_old_signature,
        hs256_with_the_public_key,
        hs256_with_the_rsa_public_key,
        hs256_with_nothing,
        hs256_named_after_the_secret_key,
        another_sub,
        later_expiry,
        cut_signature,
        changed_signature,
        zero_signature,
        foreign_key_with_our_kid,
        foreign_key_with_its_own_kid,
        jwk_in_the_header,
        jku_in_the_header,
        x5c_in_the_header,
        no_kid,
        kid_as_a_list,
    )
}
# Our own signature under what is no access token of ours: a bug elsewhere must not open this door.
FORGERIES |= {
    "typ JWT": lambda app, token: signed_by_us(app, token, {"typ": "JWT"}, {}),
    "no typ": lambda app, token: signed_by_us(app, token, {"typ": None}, {}),
    "typ of a logout token": lambda app, token: signed_by_us(app, token, {"typ": "logout+jwt"}, {}),
    "unknown crit": lambda app, token: signed_by_us(app, token, {"crit": ["x"], "x": 1}, {}),
    "another issuer": lambda app, token: signed_by_us(app, token, {}, {"iss": "https://other.example"}),
    "no issuer": lambda app, token: signed_by_us(app, token, {}, {"iss": None}),
    "another audience": lambda app, token: signed_by_us(app, token, {}, {"aud": ["web"]}),
    "no audience": lambda app, token: signed_by_us(app, token, {}, {"aud": None}),
    "no expiry": lambda app, token: signed_by_us(app, token, {}, {"exp": None}),
    "expired": lambda app, token: signed_by_us(app, token, {}, {"exp": 1_000_000_000}),
    "another user's sub": lambda app, token: signed_by_us(app, token, {}, {"sub": "0" * 32}),
    "no session": lambda app, token: signed_by_us(app, token, {}, {"sid": None}),
    "session is a number": lambda app, token: signed_by_us(app, token, {}, {"sid": 1}),
    "four parts": lambda app, token: token + ".x",
    "two parts": lambda app, token: token.rpartition(".")[0],
    "no parts": lambda app, token: "..",
    "payload is a list": lambda app, token: f"{token.split('.')[0]}.{b64(b'[]')}.{token.split('.')[2]}",
    "payload is no JSON": lambda app, token: f"{token.split('.')[0]}.{b64(b'{')}.{token.split('.')[2]}",
    "payload is deep": lambda app, token: f"{token.split('.')[0]}.{b64(b'[' * 5000)}.{token.split('.')[2]}",
    "header is no JSON": lambda app, token: f"{b64(b'{')}.{token.partition('.')[2]}",
    "header is a list": lambda app, token: f"{b64(b'[]')}.{token.partition('.')[2]}",
    "header is deep": lambda app, token: f"{b64(b'[' * 5000)}.{token.partition('.')[2]}",
    "non-ASCII": lambda app, token: token + "é",
    "a blank inside": lambda app, token: token[:30] + " " + token[30:],
}


@pytest.mark.spec("RFC 9068", "4")
@pytest.mark.spec("RFC 8725", "3.1")
@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_token_opens_no_door(application: Application, browser: Client, forge: Forge) -> None:
    token = get_tokens(browser)["access_token"]
    forged = forge(application, token)
    assert forged != token
    with nothing_changes():
        assert_no_session(userinfo(browser, forged))
        assert_oauth_error(ask_id_token(browser, forged), 401, "invalid_grant", "valid session is required")
        resolved = browser.get(RESOLVE, **bearer(forged))
        assert resolved.status_code == 200
        assert not [name for name in resolved.headers if name.startswith("X-Authgear")]
        assert revoke(browser, forged).status_code == 200
    assert userinfo(browser, token).status_code == 200


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forgery_is_not_remembered_as_verified(application: Application, browser: Client, forge: Forge) -> None:
    token = get_tokens(browser)["access_token"]
    assert userinfo(browser, token).status_code == 200
    for _ in range(2):
        assert userinfo(browser, forge(application, token)).status_code == 401


def test_other_tokens_are_no_access_tokens(application: Application, browser: Client, stranger: Client) -> None:
    tokens = refreshed(browser, get_tokens(browser)["refresh_token"])
    cookie = get_cookie(stranger)
    with nothing_changes():
        for wrong in (tokens["refresh_token"], tokens["id_token"], cookie):
            assert_no_session(userinfo(browser, wrong))
            assert_oauth_error(ask_id_token(browser, wrong), 401, "invalid_grant", "valid session is required")


def test_an_es256_id_token_is_no_access_token(application: Application, browser: Client) -> None:
    """Signed with the very key of access tokens: only `typ` and `aud` tell them apart."""
    configure(application, id_token_signed_response_alg="ES256")
    id_token = refreshed(browser, get_tokens(browser)["refresh_token"])["id_token"]
    with nothing_changes():
        assert_no_session(userinfo(browser, id_token))
