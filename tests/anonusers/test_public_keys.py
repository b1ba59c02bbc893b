"""Which public keys are sound, and the one text that each has."""

import json
import random
import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from math import prod
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from anonusers.errors import KeyProofRefused
from anonusers.keypairs import (
    parse_public_key,
    read_signed_request,
)
from tests.anonusers.signing import (
    a_request,
    b64,
    ec_key,
    java,
    jwk_of,
    numbers_of,
    octets_of,
    rsa_key,
)

FIELD = 2**256 - 2**224 + 2**192 + 2**96 - 1  # of P-256
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

# RFC 7638 §3.1
RFC_N = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3okn"
    "jhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qM"
    "QvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJz"
    "KnqDKgw"
)
RFC_JWK = {"kty": "RSA", "n": RFC_N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
RFC_MODULUS = int.from_bytes(urlsafe_b64decode(RFC_N + "=="), "big")


@pytest.mark.spec("RFC 7638", "3.1")
@pytest.mark.parametrize("n", [RFC_N, java(RFC_MODULUS)], ids=["as in the RFC", "Java's spelling"])
def test_the_thumbprint_of_the_rfc(n):
    key = parse_public_key(RFC_JWK | {"n": n}, algorithm="RS256")
    assert key.thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert key.jwk == {"kty": "RSA", "n": RFC_N, "e": "AQAB"}
    assert key.algorithm == "RS256"


def test_only_what_makes_the_key_is_kept():
    jwk = jwk_of(ec_key(), use="sig", key_ops=["verify"], ext=True, x5c=["AA"])
    key = parse_public_key(jwk, algorithm="ES256")
    assert key.jwk == {name: jwk[name] for name in ("kty", "crv", "x", "y")}
    assert parse_public_key(dict(key.jwk), algorithm="ES256") == key


def rsa_jwk(n: Any = RFC_N, e: Any = "AQAB", **more: Any) -> dict[str, Any]:
    return {
        "kty": "RSA",
        "n": octets_of(n) if isinstance(n, int) else n,
        "e": octets_of(e) if isinstance(e, int) else e,
        **more,
    }


def ec_jwk(**changes: Any) -> dict[str, Any]:
    return jwk_of(ec_key()) | changes


SOUND: dict[str, Callable[[], dict[str, Any]]] = {
    "2048 bits": lambda: rsa_jwk(2**2047 + 1),
    "2049 bits": lambda: rsa_jwk(2**2048 + 1),
    "4096 bits": lambda: rsa_jwk(2**4096 - 1),
    "4096 bits by Java": lambda: rsa_jwk(java(2**4096 - 1)),
    "e 65539": lambda: rsa_jwk(e=65539),
    "e 2^255 + 1": lambda: rsa_jwk(e=2**255 + 1),
    "e 2^256 - 1": lambda: rsa_jwk(e=2**256 - 1),
    "e by Java": lambda: rsa_jwk(e=java(2**256 - 1)),
    "P-256": ec_jwk,
    "4096 characters": lambda: long_jwk(4096),
}
WEAK: dict[str, Callable[[], Any]] = {
    "no object": lambda: [rsa_jwk()],
    "text": lambda: json.dumps(rsa_jwk()),
    "none": lambda: None,
    "empty": dict,
    "not JSON": lambda: rsa_jwk(ext={1, 2}),
    "no name": lambda: rsa_jwk(ext={(1, 2): 3}),
    "circular": lambda: circular(),
    "4097 characters": lambda: long_jwk(4097),
    "2047 bits": lambda: rsa_jwk(2**2047 - 1),
    "4097 bits": lambda: rsa_jwk(2**4096 + 1),
    "4104 bits": lambda: rsa_jwk(2**4103 + 1),
    "16 000 bits": lambda: rsa_jwk(2**16_000 + 1),
    "even n": lambda: rsa_jwk(RFC_MODULUS - 1),
    "n 0": lambda: rsa_jwk(""),
    "n with two zero octets": lambda: rsa_jwk(octets_of(RFC_MODULUS, 258)),
    "n with a zero octet that Java would not write": lambda: rsa_jwk(octets_of(2**2048 + 1, 258)),
    "n padded": lambda: rsa_jwk(RFC_N + "=="),
    "n with unused bits": lambda: rsa_jwk(RFC_N[:-1] + "x"),
    "n in the standard alphabet": lambda: rsa_jwk(RFC_N.replace("-", "+").replace("_", "/")),
    "n with a newline": lambda: rsa_jwk(RFC_N[:76] + "\n" + RFC_N[76:]),
    "n beyond ASCII": lambda: rsa_jwk(RFC_N[:-1] + "é"),
    "n half a surrogate pair": lambda: rsa_jwk(RFC_N[:-1] + "\ud800"),
    "n missing": lambda: {"kty": "RSA", "e": "AQAB"},
    "n a list": lambda: rsa_jwk([RFC_N]),
    "n octets": lambda: rsa_jwk(ext=1) | {"n": RFC_N.encode()},
    "n a number": lambda: rsa_jwk() | {"n": RFC_MODULUS},
    "e 1": lambda: rsa_jwk(e=1),
    "e 3": lambda: rsa_jwk(e=3),
    "e 65535": lambda: rsa_jwk(e=65535),
    "e 65536": lambda: rsa_jwk(e=65536),
    "e 65538": lambda: rsa_jwk(e=65538),
    "e 2^256 + 1": lambda: rsa_jwk(e=2**256 + 1),
    "e of 2048 bits": lambda: rsa_jwk(e=2**2047 + 1),
    "e with a zero octet": lambda: rsa_jwk(e="AAEAAQ"),
    "e missing": lambda: {"kty": "RSA", "n": RFC_N},
    "e a number": lambda: rsa_jwk() | {"e": 65537},
    "ROCA": lambda: rsa_jwk(numbers_of(roca_key()).n),
    "secp256k1": lambda: ec_jwk(crv="secp256k1"),
    "P-384": lambda: ec_jwk(crv="P-384"),
    "p-256": lambda: ec_jwk(crv="p-256"),
    "no curve": lambda: {name: value for name, value in ec_jwk().items() if name != "crv"},
    "no y": lambda: {name: value for name, value in ec_jwk().items() if name != "y"},
    "off the curve": lambda: ec_jwk(x=octets_of(numbers_of(ec_key()).x ^ 1, 32)),
    "infinity": lambda: ec_jwk(x=b64(bytes(32)), y=b64(bytes(32))),
    "nothing": lambda: ec_jwk(x="", y=""),
    "x of 33 octets": lambda: ec_jwk(x=octets_of(numbers_of(ec_key()).x, 33)),
    "y of 33 octets": lambda: ec_jwk(y=octets_of(numbers_of(ec_key()).y, 33)),
    "x of 31 octets": lambda: jwk_of(small_ec_key()) | {"x": octets_of(numbers_of(small_ec_key()).x, 31)},
    "x compressed": lambda: ec_jwk(x=b64(b"\2" + numbers_of(ec_key()).x.to_bytes(32, "big")), y=""),
    "x beyond the field": lambda: ec_jwk(**beyond_the_field()),
    "x padded": lambda: ec_jwk(x=ec_jwk()["x"] + "="),
    "EC with d": lambda: ec_jwk(d=b64(bytes(31) + b"\1")),
    "EC with k": lambda: ec_jwk(k="AA"),
    "EC for RS256": lambda: ec_jwk(kty="RSA"),
    "RSA for ES256": lambda: rsa_jwk(kty="EC", alg="ES256"),
    "OKP": lambda: ec_jwk(kty="OKP", crv="Ed25519"),
    "oct": lambda: {"kty": "oct", "k": "AA"},
}


def algorithm_for(jwk: Any) -> str:
    return "ES256" if isinstance(jwk, dict) and {"x", "crv", "alg"} & jwk.keys() else "RS256"


def circular() -> dict[str, Any]:
    jwk = rsa_jwk()
    jwk["ext"] = [jwk]
    return jwk


def long_jwk(length: int) -> dict[str, Any]:
    jwk = rsa_jwk(ext="")
    more = length - len(json.dumps(jwk, separators=(",", ":")))
    return jwk | {"ext": "é" * more}


def small_ec_key() -> ec.EllipticCurvePrivateKey:
    """One whose x begins with a zero octet."""
    keys = (ec.derive_private_key(secret, ec.SECP256R1()) for secret in range(1, 5000))
    return next(key for key in keys if numbers_of(key).x < 2**248)


def beyond_the_field() -> dict[str, str]:
    """x of a point on the curve, plus the field's order: the same for who does not look."""
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    for x in range(1, 100):
        square = (x**3 - 3 * x + b) % FIELD
        y = pow(square, (FIELD + 1) // 4, FIELD)
        if y * y % FIELD == square:
            reduced = {"x": octets_of(x, 32), "y": octets_of(y, 32)}
            assert parse_public_key(ec_jwk(**reduced), algorithm="ES256").jwk["x"] == reduced["x"]
            return reduced | {"x": octets_of(x + FIELD, 32)}
    raise AssertionError


@pytest.mark.parametrize("name", SOUND)
def test_a_key_is_sound(name):
    jwk = SOUND[name]()
    key = parse_public_key(jwk, algorithm=algorithm_for(jwk))
    assert parse_public_key(dict(key.jwk), algorithm=key.algorithm) == key


@pytest.mark.parametrize("name", WEAK)
def test_a_key_is_weak(name):
    assert parse_public_key(RFC_JWK, algorithm="RS256")
    assert parse_public_key(ec_jwk(), algorithm="ES256")
    jwk = WEAK[name]()
    with pytest.raises(KeyProofRefused):
        parse_public_key(jwk, algorithm=algorithm_for(jwk))


@pytest.mark.parametrize("algorithm", ["", "none", "HS256", "RS512", "EdDSA"])
@pytest.mark.parametrize("jwk", [RFC_JWK, {"alg": "HS256"}, {}], ids=["RSA", "alg only", "empty"])
def test_a_key_for_another_algorithm_is_refused(algorithm, jwk):
    with pytest.raises(KeyProofRefused):
        parse_public_key(jwk, algorithm=algorithm)


@pytest.mark.parametrize("e", [3])
def test_the_signature_of_a_weak_key_is_good_and_does_not_help(e):
    with pytest.raises(KeyProofRefused):
        read_signed_request(a_request(rsa_key(e=e)))
    with pytest.raises(KeyProofRefused):
        read_signed_request(a_request(rsa_key(bits=1024)))
    with pytest.raises(KeyProofRefused):
        read_signed_request(a_request(roca_key()))


# The factors k and a of two primes k·M + (65537^a mod M), found with random.Random("ROCA").
ROCA = [(8881603863601273, 2021517313221035215), (8666986863070703, 4321555670778297491)]
PRIMES = [number for number in range(2, 702) if all(number % divisor for divisor in range(2, number))]


def is_prime(number: int) -> bool:
    """Miller-Rabin."""
    bits, odd = 0, number - 1
    while odd % 2 == 0:
        bits, odd = bits + 1, odd // 2
    return all(
        pow(base, odd, number) == 1 or number - 1 in (pow(base, odd << bit, number) for bit in range(bits))
        for base in PRIMES[:16]
    )


def roca_key() -> rsa.RSAPrivateKey:
    """A key as Infineon's library made them (CVE-2017-15361)."""
    product = prod(PRIMES)
    p, q = (k * product + pow(65537, a, product) for k, a in ROCA)
    d = pow(65537, -1, (p - 1) * (q - 1))
    return rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(65537, p * q)
    ).private_key()


def test_the_weak_modulus_is_one():
    private = roca_key()
    assert private.key_size == 2048
    assert is_prime(private.private_numbers().p)
    assert is_prime(private.private_numbers().q)
    assert not is_prime(private.private_numbers().p * 3)


def test_no_sound_modulus_looks_weak():
    """1000 odd numbers; with the primes up to 20 alone, several would."""
    draw = random.Random("sound").getrandbits
    for _ in range(1000):
        parse_public_key(rsa_jwk(draw(2048) | 2**2047 | 1), algorithm="RS256")


@settings(deadline=None)
@given(st.integers(2**2047, 2**4096 - 1), st.integers(2**16, 2**256 - 1))
def test_a_key_has_one_text(n, e):
    n, e = n | 1, e | 1
    spelled = [parse_public_key(rsa_jwk(*text), algorithm="RS256") for text in ((n, e), (java(n), e), (n, java(e)))]
    assert spelled[0] == spelled[1] == spelled[2]
    assert spelled[0].jwk == {"kty": "RSA", "n": octets_of(n), "e": octets_of(e)}
    assert len(spelled[0].thumbprint) == 43


@settings(deadline=None)
@given(st.integers(1, ORDER - 1))
def test_a_generated_key_is_read_back(secret):
    jwk = jwk_of(ec.derive_private_key(secret, ec.SECP256R1()))
    assert parse_public_key(jwk, algorithm="ES256").jwk == {name: jwk[name] for name in ("kty", "crv", "x", "y")}


@settings(deadline=None)
@given(st.text(), st.sampled_from(["n", "e", "x", "y"]))
def test_a_member_that_is_no_number_is_refused(text, name):
    assume(name != "e" or not re.fullmatch(r"[\w-]{3,}", text, re.ASCII))  # "0001" is a sound exponent
    with pytest.raises(KeyProofRefused):
        parse_public_key(
            rsa_jwk() | {name: text} if name in "ne" else ec_jwk(**{name: text}),
            algorithm="RS256" if name in "ne" else "ES256",
        )


def test_a_giant_key_costs_nothing():
    started = time.process_time()
    for n in ("A" * 3_000_000, "_" * 4_000):
        with pytest.raises(KeyProofRefused):
            parse_public_key(rsa_jwk(n), algorithm="RS256")
    assert time.process_time() - started < 0.5
