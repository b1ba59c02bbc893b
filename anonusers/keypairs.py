"""Device keys as values: read a public key and a signed request, and verify one with the other. No database, no HTTP.

Strict on purpose: where a text can be read in two ways, an attacker chooses. So there is one reading or none, and
whatever is wrong is the same KeyProofRefused: an answer that says what was wrong is an oracle.
"""

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from anonusers.errors import KeyProofRefused

SIGNED_REQUEST_MAX = 16_384  # characters
JWK_MAX = 4_096  # characters of JSON
TYPE = "vnd.authgear.anonymous-request"
CLOCK_SKEW = 300  # seconds; phones are wrong about the time
EXPIRY_MAX = 3600  # seconds from now
CHALLENGE_MAX = 100  # characters
NESTING_MAX = 200  # brackets opened; how deep json and the databases go differs from version to version

ALGORITHMS: Mapping[str, Any] = {
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "ES256": ECAlgorithm(ECAlgorithm.SHA256, ec.SECP256R1),
}
KEY_TYPES = {"RS256": "RSA", "ES256": "EC"}
HEADER_MEMBERS = frozenset({"typ", "alg", "kid", "jwk"})  # no crit, b64, zip, jku, x5u, x5c, cty
SECRET_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})  # RFC 7518 §6.3.2, §6.4
KEY_ID = re.compile(r"[-\w]{8,64}", re.ASCII)
COMPACT = re.compile(r"([-\w]+)\.([-\w]+)\.([-\w]+)", re.ASCII)


@dataclass(frozen=True)
class PublicKey:
    """A public key and nothing that a sender wrote beside it. `jwk` has only the members that make the key, each in
    the one way to write it; they make the thumbprint (RFC 7638: SHA-256, base64url)."""

    algorithm: str
    jwk: Mapping[str, str]
    thumbprint: str


@dataclass(frozen=True)
class CompactJWS:
    """A JWS taken apart. Nothing in it is verified."""

    algorithm: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


@dataclass(frozen=True)
class UnverifiedRequest:
    """What a signed request says of its key: to find that, and for nothing else."""

    unverified_key_id: str
    unverified_key: PublicKey | None  # the sender brought it himself
    algorithm: str
    text: str = field(repr=False)
    unverified_jws: CompactJWS = field(repr=False)


@dataclass(frozen=True)
class VerifiedRequest:
    """What the holder of `key` said. Whether the challenge is ours and unspent, only the database knows."""

    key_id: str
    key: PublicKey
    challenge: str
    device_info: Mapping[str, Any] | None


# --- signed requests ------------------------------------------------------------------------------


def read_signed_request(text: str) -> UnverifiedRequest:
    """Take a signed request apart: its key ID, and the key if it brings one.

    Raises: KeyProofRefused.
    """
    jws = read_compact_jws(text, type=TYPE, longest=SIGNED_REQUEST_MAX)
    key, key_id = None, jws.header.get("kid")
    if "jwk" in jws.header:
        key = parse_public_key(jws.header["jwk"], algorithm=jws.algorithm)
        key_id = jws.header["jwk"].get("kid")
        if jws.header.get("kid", key_id) != key_id:
            raise KeyProofRefused
    if not isinstance(key_id, str) or not KEY_ID.fullmatch(key_id):
        raise KeyProofRefused
    return UnverifiedRequest(key_id, key, jws.algorithm, text, jws)


def verify_signed_request(
    unverified: UnverifiedRequest, *, key: PublicKey, expected_action: str, expected_origin: str, now: datetime
) -> VerifiedRequest:
    """Verify a signed request with `key`: the stored one if its ID is known, else the one it brings.

    Raises: KeyProofRefused.
    """
    brought, jws = unverified.unverified_key, unverified.unverified_jws
    if brought and brought.thumbprint != key.thumbprint:
        raise KeyProofRefused  # RFC 8725 §3.10
    require_signature(jws, key)
    _require_times(jws.claims, now.timestamp())
    challenge, device_info = jws.claims.get("challenge"), jws.claims.get("device_info")
    if not isinstance(challenge, str) or not 0 < len(challenge) <= CHALLENGE_MAX:
        raise KeyProofRefused
    audience = jws.claims.get("aud", expected_origin)
    ours = expected_origin in audience if isinstance(audience, list) else audience == expected_origin
    if not ours or jws.claims.get("iss", expected_origin) != expected_origin:
        raise KeyProofRefused  # relayed by somebody else's server (RFC 8725 §3.9)
    if jws.claims.get("action") != expected_action:
        raise KeyProofRefused
    return VerifiedRequest(
        unverified.unverified_key_id, key, challenge, device_info if isinstance(device_info, dict) else None
    )


def _require_times(claims: Mapping[str, Any], now: float) -> None:
    expires, issued, not_before = (seconds(claims, name, -math.inf) for name in ("exp", "iat", "nbf"))
    in_time = now - CLOCK_SKEW <= expires <= now + EXPIRY_MAX and max(issued, not_before) <= now + CLOCK_SKEW
    if not in_time or issued > expires:
        raise KeyProofRefused


# --- keys -----------------------------------------------------------------------------------------


def parse_public_key(jwk: object, *, algorithm: str) -> PublicKey:
    """The public key in a JWK (RFC 7517), if it is one for `algorithm` and a sound one.

    Raises: KeyProofRefused.
    """
    if not isinstance(jwk, dict) or _length(jwk) > JWK_MAX or SECRET_MEMBERS & jwk.keys() or algorithm not in KEY_TYPES:
        raise KeyProofRefused
    if (jwk.get("kty"), jwk.get("alg", algorithm), jwk.get("use", "sig")) != (KEY_TYPES[algorithm], algorithm, "sig"):
        raise KeyProofRefused
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise KeyProofRefused
    members = _rsa_members(jwk) if algorithm == "RS256" else _ec_members(jwk)
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":"))  # RFC 7638 §3
    return PublicKey(algorithm, members, base64url(hashlib.sha256(canonical.encode()).digest()))


def _length(jwk: Mapping[str, Any]) -> int:
    try:
        return len(json.dumps(jwk, separators=(",", ":"), ensure_ascii=False))
    except (TypeError, ValueError, RecursionError):
        raise KeyProofRefused from None


def _rsa_members(jwk: Mapping[str, Any]) -> dict[str, str]:
    modulus, n = _odd_integer(jwk.get("n"), 2048, 4096)
    _, e = _odd_integer(jwk.get("e"), 17, 256)  # 2^16 < e < 2^256 (FIPS 186-5 §A.1.1)
    if all(modulus % prime in residues for prime, residues in ROCA_RESIDUES):
        raise KeyProofRefused
    return {"kty": "RSA", "n": n, "e": e}


def _odd_integer(text: object, fewest_bits: int, most_bits: int) -> tuple[int, str]:
    """An integer and its canonical text. SDKs before July 2024 send Java's BigInteger.toByteArray(), which begins with
    the sign bit: a zero octet more, and yet the same key."""
    octets = _decode(text)
    integer = int.from_bytes(octets, "big")  # short: JWK_MAX
    bits = integer.bit_length()
    canonical, signed = (integer.to_bytes(length, "big") for length in ((bits + 7) // 8, bits // 8 + 1))
    if octets not in (canonical, signed) or not fewest_bits <= bits <= most_bits or integer % 2 == 0:
        raise KeyProofRefused
    return integer, base64url(canonical)


def _ec_members(jwk: Mapping[str, Any]) -> dict[str, str]:
    members: dict[str, Any] = {name: jwk.get(name) for name in ("kty", "crv", "x", "y")}
    if {len(_decode(members[name])) for name in "xy"} != {32}:  # RFC 7518 §6.2.1
        raise KeyProofRefused
    if members != ECAlgorithm.to_jwk(_load(members), as_dict=True):
        raise KeyProofRefused  # another curve, or a coordinate beyond the field: OpenSSL reduces it
    return members


def _load(jwk: Mapping[str, str]) -> Any:
    integers = {name: int.from_bytes(_decode(text), "big") for name, text in jwk.items() if name in "nexy"}
    if jwk["kty"] == "RSA":
        return rsa.RSAPublicNumbers(**integers).public_key()
    try:
        return ec.EllipticCurvePublicNumbers(**integers, curve=ec.SECP256R1()).public_key()
    except ValueError:
        raise KeyProofRefused from None


# CVE-2017-15361: primes of the form k·M + (65537^a mod M) make a modulus that is a power of 65537 modulo each prime in
# M. For 2048 bits M goes up to 701; looking up to 353, a sound key is taken for a weak one once in 2^83.
ROCA_RESIDUES = [
    (prime, {pow(65537, exponent, prime) for exponent in range(prime)})
    for prime in range(3, 354)
    if all(prime % divisor for divisor in range(2, prime))
]


# --- compact JWS ----------------------------------------------------------------------------------


def read_compact_jws(text: str, *, type: str, longest: int) -> CompactJWS:
    """Take a compact JWS (RFC 7515 §7.1) of this `typ` apart; `longest` is in characters. Numbers in it are finite.

    Raises: KeyProofRefused.
    """
    match = COMPACT.fullmatch(text) if isinstance(text, str) and len(text) <= longest else None
    if not match:
        raise KeyProofRefused
    header, claims, signature = _read_object(match[1]), _read_object(match[2]), _decode(match[3])
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS or header.get("typ") != type:
        raise KeyProofRefused  # RFC 8725 §3.1, §3.11
    if not header.keys() <= HEADER_MEMBERS:
        raise KeyProofRefused
    return CompactJWS(algorithm, header, claims, text[: match.end(2)].encode(), signature)


def require_signature(jws: CompactJWS, key: PublicKey) -> None:
    """Raises: KeyProofRefused when `key` did not sign this. The key says how, not the text (RFC 8725 §3.1)."""
    if jws.algorithm != key.algorithm:
        raise KeyProofRefused
    if not ALGORITHMS[key.algorithm].verify(jws.signed, _load(key.jwk), jws.signature):
        raise KeyProofRefused


def seconds(claims: Mapping[str, Any], name: str, default: float) -> float:
    """A time in unix seconds.

    Raises: KeyProofRefused when it is no number.
    """
    value = claims.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise KeyProofRefused
    return value


def _read_object(part: str) -> dict[str, Any]:
    octets = _decode(part)
    if octets.count(b"[") + octets.count(b"{") > NESTING_MAX:
        raise KeyProofRefused
    try:
        found = json.loads(
            octets.decode(), object_pairs_hook=_no_duplicates, parse_float=_finite, parse_constant=_finite
        )
        written = json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair cannot be written
    except (ValueError, RecursionError):
        raise KeyProofRefused from None
    if not isinstance(found, dict) or b"\\u0000" in written:  # PostgreSQL could not store that
        raise KeyProofRefused
    return found


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):  # RFC 7515 §4
        raise KeyProofRefused
    return found


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):  # NaN, 1e400
        raise KeyProofRefused
    return number


def _decode(text: object) -> bytes:
    """Base64url as `base64url` writes it, and in no other spelling (RFC 7515 §2, RFC 4648 §3.5)."""
    try:
        octets = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) if isinstance(text, str) else b""
    except ValueError:
        raise KeyProofRefused from None
    if base64url(octets) != text:
        raise KeyProofRefused
    return octets


def base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
