"""Signatures that are not the key's, and keys that are not the stored one."""

import hmac
import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from anonusers.errors import KeyProofRefused
from anonusers.keypairs import (
    CompactJWS,
    parse_public_key,
    read_signed_request,
    require_signature,
    verify_signed_request,
)
from tests.anonusers.signing import (
    ABSENT,
    NOW,
    ORIGIN,
    a_request,
    assert_refused,
    b64,
    ec_key,
    jwk_of,
    key_of,
    rsa_key,
    signature_of,
    verified,
)

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256

VECTORS = {
    "RFC 7515 A.2": (
        "RS256",
        {
            "kty": "RSA",
            "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yR"
            "T-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB"
            "dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9ia"
            "GNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
            "e": "AQAB",
        },
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1d"
        "nZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwu"
        "sC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    ),
    "RFC 7515 A.3": (
        "ES256",
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        },
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    ),
}
VECTOR_CLAIMS = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"


@pytest.mark.parametrize("name", VECTORS)
def test_the_signatures_of_the_rfc(name):
    algorithm, jwk, signature = VECTORS[name]
    text = b64(json.dumps({"alg": algorithm}, separators=(",", ":")).encode()) + "." + VECTOR_CLAIMS
    key = parse_public_key(jwk, algorithm=algorithm)
    octets = urlsafe_b64decode(signature + "==")
    assert key.jwk == jwk
    require_signature(CompactJWS(algorithm, {}, {}, text.encode(), octets), key)
    for broken in (
        CompactJWS(algorithm, {}, {}, text.encode() + b"=", octets),
        CompactJWS(algorithm, {}, {}, text.encode(), octets[::-1]),
        CompactJWS("none", {}, {}, text.encode(), octets),
    ):
        with pytest.raises(KeyProofRefused):
            require_signature(broken, key)


def resigned(text: str, signature: bytes) -> str:
    return text.rpartition(".")[0] + "." + b64(signature)


def signature_in(text: str) -> bytes:
    return urlsafe_b64decode(text.rpartition(".")[2] + "==")


def rs(text: str) -> tuple[int, int]:
    octets = signature_in(text)
    return int.from_bytes(octets[:32], "big"), int.from_bytes(octets[32:], "big")


def other(sign: Callable[[bytes], bytes], text: str) -> str:
    return resigned(text, sign(text.rpartition(".")[0].encode()))


RSA_SIGNATURES: dict[str, Callable[[str], str]] = {
    "of another key": lambda text: other(lambda octets: signature_of(octets, rsa_key(name="other")), text),
    "PS256": lambda text: other(lambda octets: rsa_key().sign(octets, PSS(MGF1(SHA256()), 32), SHA256()), text),
    "RS512": lambda text: other(lambda octets: rsa_key().sign(octets, PKCS1v15(), SHA512()), text),
    "HS256 with the public key": lambda text: other(
        lambda octets: hmac.digest(
            rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), octets, "sha256"
        ),
        text,
    ),
    "over another header": lambda text: resigned(text, signature_in(a_request(header={"jwk": ABSENT}))),
    "zeros": lambda text: resigned(text, bytes(256)),
    "one": lambda text: resigned(text, bytes(255) + b"\1"),
    "short": lambda text: resigned(text, signature_in(text)[:-1]),
    "long": lambda text: resigned(text, b"\0" + signature_in(text)),
}
EC_SIGNATURES: dict[str, Callable[[str], str]] = {
    "of another key": lambda text: other(lambda octets: signature_of(octets, ec_key("other")), text),
    "DER": lambda text: resigned(text, encode_dss_signature(*rs(text))),
    "ES512": lambda text: other(
        lambda octets: b"".join(
            part.to_bytes(32, "big") for part in decode_dss_signature(ec_key().sign(octets, ec.ECDSA(SHA512())))
        ),
        text,
    ),
    "r = s = 0": lambda text: resigned(text, bytes(64)),
    "s = 0": lambda text: resigned(text, signature_in(text)[:32] + bytes(32)),
    "r + order": lambda text: resigned(text, (rs(text)[0] + ORDER).to_bytes(33, "big") + signature_in(text)[32:]),
    "63 octets": lambda text: resigned(text, signature_in(text)[:-1]),
    "65 octets": lambda text: resigned(text, signature_in(text) + b"\0"),
    "66 octets": lambda text: resigned(text, b"\0" + signature_in(text)[:32] + b"\0" + signature_in(text)[32:]),
}


@pytest.mark.parametrize("name", RSA_SIGNATURES)
def test_an_rsa_signature_is_refused(name):
    assert_refused(RSA_SIGNATURES[name](a_request()))


@pytest.mark.parametrize("name", EC_SIGNATURES)
def test_an_ec_signature_is_refused(name):
    assert_refused(EC_SIGNATURES[name](a_request(ec_key())), ec_key())


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        (lambda: rsa_key(name="other"), lambda: a_request()),
        (lambda: ec_key(), lambda: a_request()),
        (lambda: rsa_key(), lambda: a_request(ec_key())),
        (lambda: ec_key(), lambda: a_request(ec_key(), {"alg": "RS256", "jwk": ABSENT})),
        # Signed by the stored key, and it brings another one.
        (lambda: rsa_key(), lambda: a_request(header={"jwk": jwk_of(rsa_key(name="other"))})),
        # It brings the stored key, and another one signed.
        (lambda: rsa_key(), lambda: a_request(rsa_key(name="other"), {"jwk": jwk_of(rsa_key())})),
    ],
    ids=["another", "another type", "another type too", "another algorithm", "another brought", "another signed"],
)
def test_the_stored_key_decides(stored, sent):
    unverified = read_signed_request(sent())
    key = key_of(stored())
    assert verified(a_request(stored(), {"jwk": ABSENT}), key).key == key
    with pytest.raises(KeyProofRefused):
        verify_signed_request(unverified, key=key, expected_action="auth", expected_origin=ORIGIN, now=NOW)


def test_a_request_for_one_action_or_origin_is_none_for_another():
    unverified, key = read_signed_request(a_request(claims={"aud": ORIGIN, "action": "promote"})), key_of(rsa_key())
    ours: Any = {"key": key, "expected_action": "promote", "expected_origin": ORIGIN, "now": NOW}
    assert verify_signed_request(unverified, **ours).key == key
    for change in ({"expected_action": "auth"}, {"expected_origin": "https://b.example"}):
        with pytest.raises(KeyProofRefused):
            verify_signed_request(unverified, **(ours | change))
