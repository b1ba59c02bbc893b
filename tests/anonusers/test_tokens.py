"""Tokens as values: no database in here."""

import base64
import contextlib
import hmac
import json
import uuid
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonusers import tokens
from anonusers.errors import InvalidToken
from anonusers.tokens import KeyRing, RefreshToken

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ORIGIN = "https://auth.example.com"
PEMS = {algorithm: tokens.generate_key(algorithm) for algorithm in ("ES256", "RS256", "HS256")}


def a_ring() -> KeyRing:
    return KeyRing(tuple(tokens.parse_key(algorithm, pem) for algorithm, pem in PEMS.items()))


@pytest.fixture
def ring() -> KeyRing:
    return a_ring()


def a_token(ring: KeyRing, **changes) -> str:
    values = {
        "origin": ORIGIN,
        "session_id": uuid.uuid4(),
        "sub": "somebody",
        "client_id": "web",
        "scope": "openid",
        "auth_time": NOW,
        "now": NOW,
        "lifetime": 1800,
        "user_claims": {"is_anonymous": True},
    }
    return tokens.mint_access_token(ring, **(values | changes))


@pytest.mark.spec("RFC 9068", "2.1")
def test_an_access_token_is_read_back_with_its_claims(ring):
    session_id = uuid.uuid4()
    token = a_token(ring, session_id=session_id)
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    assert jwt.get_unverified_header(token)["alg"] == "ES256"
    claims = tokens.read_access_token(ring, token, origin=ORIGIN, now=NOW)
    assert (claims.session_id, claims.sub, claims.raw["is_anonymous"]) == (session_id, "somebody", True)
    assert claims.expires_at == NOW.timestamp() + 1800
    assert tokens.unverified_session_id(token) == session_id


@pytest.mark.parametrize("mint", [a_token, lambda ring, **_: opaque(ring)])
def test_a_token_is_dead_to_the_second(ring, mint):
    token = mint(ring)
    tokens.read_access_token(ring, token, origin=ORIGIN, now=NOW + timedelta(seconds=1799))
    with pytest.raises(InvalidToken):
        tokens.read_access_token(ring, token, origin=ORIGIN, now=NOW + timedelta(seconds=1800))


def opaque(ring: KeyRing, session_id: uuid.UUID | None = None) -> str:
    return tokens.mint_opaque_access_token(ring, session_id=session_id or uuid.uuid4(), now=NOW, lifetime=1800)


def test_an_opaque_token_says_nothing_and_leads_to_its_session(ring):
    session_id = uuid.uuid4()
    token = opaque(ring, session_id)
    assert "." not in token
    assert tokens.read_access_token(ring, token, origin=ORIGIN, now=NOW).session_id == session_id
    assert opaque(ring, session_id) != token


def test_every_flipped_character_of_an_opaque_token_is_noticed(ring):
    token = opaque(ring)
    for position, character in enumerate(token):
        forged = token[:position] + ("A" if character != "A" else "B") + token[position + 1 :]
        with pytest.raises(InvalidToken):
            tokens.read_access_token(ring, forged, origin=ORIGIN, now=NOW)


def _segment(data: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()


def by_hmac(header: dict, payload: str, key: bytes) -> str:
    signed = f"{_segment({'alg': 'HS256', 'typ': 'at+jwt', **header})}.{payload}"
    return f"{signed}.{tokens._b64(hmac.digest(key, signed.encode(), 'sha256'))}"


def forgeries(ring: KeyRing) -> dict[str, str]:
    good = a_token(ring)
    header, payload, signature = good.split(".")
    claims = jwt.decode(good, options={"verify_signature": False})
    kid = jwt.get_unverified_header(good)["kid"]
    other = KeyRing((tokens.parse_key("ES256", tokens.generate_key("ES256")),))
    rs256 = ring.signing("RS256")
    public = json.dumps(ring.signing("ES256").jwk).encode()
    return {
        "alg none": f"{_segment({'alg': 'none', 'kid': kid, 'typ': 'at+jwt'})}.{payload}.",
        "alg nOnE": f"{_segment({'alg': 'nOnE', 'kid': kid, 'typ': 'at+jwt'})}.{payload}.",
        "alg HS256 with the public key": by_hmac({"kid": kid}, payload, public),
        "claims changed": f"{header}.{_segment(claims | {'sub': 'victim'})}.{signature}",
        "no signature": f"{header}.{payload}.",
        "another key under our kid": jwt.encode(
            claims, other.signing("ES256").private, "ES256", headers={"kid": kid, "typ": "at+jwt"}
        ),
        "a key of nobody": a_token(other),
        "key in the header": jwt.encode(
            claims,
            other.signing("ES256").private,
            "ES256",
            headers={"kid": "mine", "typ": "at+jwt", "jwk": dict(other.signing("ES256").jwk or {})},
        ),
        "our ID token": tokens.mint_id_token(
            ring,
            algorithm="ES256",
            origin=ORIGIN,
            client_id="web",
            sub="somebody",
            sid="x",
            auth_time=NOW,
            now=NOW,
            user_claims={},
        ),
        "signed by our RSA key": jwt.encode(
            claims, rs256.private, "RS256", headers={"kid": rs256.kid, "typ": "at+jwt"}
        ),
        "typ JWT": jwt.encode(claims, ring.signing("ES256").private, "ES256", headers={"kid": kid}),
        "another issuer": a_token(ring, origin="https://evil.example"),
        "crit": jwt.encode(
            claims, ring.signing("ES256").private, "ES256", headers={"kid": kid, "typ": "at+jwt", "crit": ["x"], "x": 1}
        ),
        "no exp": jwt.encode(
            {name: value for name, value in claims.items() if name != "exp"},
            ring.signing("ES256").private,
            "ES256",
            headers={"kid": kid, "typ": "at+jwt"},
        ),
        "sid of garbage": jwt.encode(
            claims | {"sid": "garbage"}, ring.signing("ES256").private, "ES256", headers={"kid": kid, "typ": "at+jwt"}
        ),
        "deep header": "eyJ" + "W" * 50_000 + f".{payload}.{signature}",
        "empty": "",
        "dots": "..",
        "a refresh token": str(tokens.new_refresh_token(uuid.uuid4())),
    }


@pytest.mark.spec("RFC 8725", "3")
@pytest.mark.parametrize("name", forgeries(a_ring()))
def test_a_forged_access_token_is_refused(ring, name):
    with pytest.raises(InvalidToken):
        tokens.read_access_token(ring, forgeries(ring)[name], origin=ORIGIN, now=NOW)


@given(st.text(max_size=200))
def test_no_text_breaks_the_readers(text):
    ring = RING
    for read in (
        lambda: tokens.read_access_token(ring, text, origin=ORIGIN, now=NOW),
        lambda: tokens.unverified_session_id(text),
        lambda: tokens.unverified_kid(text),
        lambda: tokens.parse_refresh_token(text),
        lambda: tokens.read_id_token_hint(ring, text, origin=ORIGIN),
    ):
        with contextlib.suppress(InvalidToken):
            read()


RING = a_ring()


def test_keys_that_are_retired_verify_and_do_not_sign(ring):
    token = a_token(ring)
    new = tokens.parse_key("ES256", tokens.generate_key("ES256"))
    rotated = KeyRing((new, tokens.parse_key("ES256", PEMS["ES256"], retired=True)))
    assert jwt.get_unverified_header(a_token(rotated))["kid"] == new.kid
    assert tokens.read_access_token(rotated, token, origin=ORIGIN, now=NOW).sub == "somebody"
    assert {key["kid"] for key in rotated.jwks()["keys"]} == {key.kid for key in rotated.keys}


def test_the_jwk_set_has_no_private_part_and_no_symmetric_key(ring):
    keys = ring.jwks()["keys"]
    assert sorted(key["alg"] for key in keys) == ["ES256", "RS256"]
    for key in keys:
        assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & key.keys()
        assert key["use"] == "sig"


@pytest.mark.spec("RFC 7638", "3")
def test_a_kid_is_the_thumbprint_of_its_key(ring):
    from hashlib import sha256

    for key in ring.jwks()["keys"]:
        members = {"EC": ["crv", "kty", "x", "y"], "RSA": ["e", "kty", "n"]}[key["kty"]]
        canonical = json.dumps({name: key[name] for name in members}, separators=(",", ":"))
        assert key["kid"] == base64.urlsafe_b64encode(sha256(canonical.encode()).digest()).rstrip(b"=").decode()


# --- refresh tokens -----------------------------------------------------------------


def test_a_refresh_token_survives_its_text_form():
    token = tokens.new_refresh_token(uuid.uuid4())
    assert tokens.parse_refresh_token(str(token)) == token
    assert token.secret not in repr(token)


def test_secrets_have_256_bits_and_never_repeat():
    secrets = {tokens.new_refresh_token(uuid.uuid4()).secret for _ in range(1000)}
    assert len(secrets) == 1000
    assert all(len(tokens._unb64(secret)) == 32 for secret in secrets)


def test_rotating_twice_gives_the_same_successor_and_needs_the_servers_key():
    token = tokens.new_refresh_token(uuid.uuid4())
    assert token.successor(b"key") == token.successor(b"key")
    assert token.successor(b"key") != token.successor(b"other")
    assert token.successor(b"key").generation == 1


@given(older=st.integers(0, 8), current=st.integers(0, 8))
def test_an_ancestor_is_recognised_and_nothing_else_is(older, current):
    first = tokens.new_refresh_token(uuid.uuid4())
    chain = [first]
    for _ in range(9):
        chain.append(chain[-1].successor(b"key"))
    forged = RefreshToken(first.session_id, older, tokens.new_refresh_token(first.session_id).secret)
    now = {"current_hash": chain[current].hash, "current_generation": current}
    assert chain[older].is_ancestor([b"other", b"key"], **now) == (older < current)
    assert not forged.is_ancestor([b"key"], **now)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a.0.b",
        "A" * 22 + ".0." + "B" * 42,
        "A" * 22 + ".0." + "B" * 43 + "\n",
        "ä" * 22 + ".0." + "B" * 43,
        "A" * 22 + ".-1." + "B" * 43,
        "A" * 22 + ".G." + "B" * 43,
        " " + "A" * 22 + ".0." + "B" * 43,
    ],
)
def test_a_malformed_refresh_token_is_refused(text):
    with pytest.raises(InvalidToken):
        tokens.parse_refresh_token(text)
