"""Keys of devices and what they sign, made by hand: so that any text can be signed, also one that is no JSON."""

import functools
import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from anonusers.errors import KeyProofRefused
from anonusers.keypairs import (
    PublicKey,
    VerifiedRequest,
    parse_public_key,
    read_signed_request,
    verify_signed_request,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
T = int(NOW.timestamp())
KEY_ID = "8F7B0C5E-2F0C-4C8E-9E55-2E5B7E0B9C11"  # iOS: upper case
ORIGIN = "https://auth.example.com"
CHALLENGE = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
TYPE = "vnd.authgear.anonymous-request"
ABSENT: Any = object()


@functools.cache
def rsa_key(bits: int = 2048, e: int = 65537, name: str = "") -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=e, key_size=bits)


@functools.cache
def ec_key(name: str = "") -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def b64(octets: bytes) -> str:
    return urlsafe_b64encode(octets).decode().rstrip("=")


def octets_of(number: int, length: int = 0) -> str:
    return b64(number.to_bytes(length or (number.bit_length() + 7) // 8, "big"))


def java(number: int) -> str:
    """BigInteger.toByteArray(): two's complement, so with a zero octet where the first bit is set."""
    return b64(number.to_bytes(number.bit_length() // 8 + 1, "big"))


def numbers_of(private: Any) -> Any:
    return private.public_key().public_numbers()


def changed(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (values | changes).items() if value is not ABSENT}


def jwk_of(private: Any, **changes: Any) -> dict[str, Any]:
    """As the SDKs write it."""
    numbers = numbers_of(private)
    if isinstance(private, rsa.RSAPrivateKey):
        jwk = {"kid": KEY_ID, "alg": "RS256", "kty": "RSA", "n": octets_of(numbers.n), "e": octets_of(numbers.e)}
    else:
        point = {"x": octets_of(numbers.x, 32), "y": octets_of(numbers.y, 32)}
        jwk = {"kid": KEY_ID, "alg": "ES256", "kty": "EC", "crv": "P-256", **point}
    return changed(jwk, changes)


def signature_of(signed: bytes, private: Any) -> bytes:
    if isinstance(private, rsa.RSAPrivateKey):
        return private.sign(signed, PKCS1v15(), SHA256())
    r, s = decode_dss_signature(private.sign(signed, ec.ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def header_of(private: Any, **changes: Any) -> dict[str, Any]:
    jwk = jwk_of(private)
    return changed({"typ": TYPE, "kid": KEY_ID, "alg": jwk["alg"], "jwk": jwk}, changes)


def claims_with(**changes: Any) -> dict[str, Any]:
    return changed({"iat": T, "exp": T + 60, "challenge": CHALLENGE, "action": "auth"}, changes)


def a_request(private: Any = None, header: Any = None, claims: Any = None) -> str:
    """A signed request; `header` and `claims` are what is different in it."""
    private = private or rsa_key()
    return signed(json.dumps(header_of(private, **(header or {}))), json.dumps(claims_with(**(claims or {}))), private)


def signed(header: str | bytes | None = None, claims: str | bytes | None = None, private: Any = None) -> str:
    """A JWS of two texts."""
    private = private or rsa_key()
    header = json.dumps(header_of(private)) if header is None else header
    claims = json.dumps(claims_with()) if claims is None else claims
    header, claims = (text.encode() if isinstance(text, str) else text for text in (header, claims))
    return parts_signed(b64(header), b64(claims), private)


def parts_signed(header: str, claims: str, private: Any = None) -> str:
    """A JWS of two encoded parts."""
    return f"{header}.{claims}." + b64(signature_of(f"{header}.{claims}".encode(), private or rsa_key()))


def key_of(private: Any) -> PublicKey:
    jwk = jwk_of(private)
    return parse_public_key(jwk, algorithm=jwk["alg"])


def verified(text: str, key: PublicKey | None = None) -> VerifiedRequest:
    unverified = read_signed_request(text)
    key = key or unverified.unverified_key
    assert key is not None
    return verify_signed_request(unverified, key=key, expected_action="auth", expected_origin=ORIGIN, now=NOW)


@functools.cache
def assert_base_passes(private: Any) -> None:
    assert verified(a_request(private)).key == verified(a_request(private), key_of(private)).key == key_of(private)


def assert_refused(text: Any, private: Any = None) -> None:
    """Both as the first request of a key and as one of a known key."""
    private = private or rsa_key()
    assert_base_passes(private)
    with pytest.raises(KeyProofRefused):
        verified(text)
    with pytest.raises(KeyProofRefused) as refused:
        verified(text, key_of(private))
    assert (refused.value.code, str(refused.value)) == (
        "key_proof_refused",
        "The signed request, its key or its challenge is not valid.",
    )
    assert refused.value.__cause__ is None
