"""Tokens and keys as values: mint and read access tokens, ID tokens and refresh tokens. No database, no HTTP.

The key ring is handed in. Keys are parsed when a ring is built, never at a request: parsing an RSA key costs as much
as a hundred signatures.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
import struct
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from anonusers.errors import InvalidToken

ID_TOKEN_LIFETIME = 300
ACCESS_TOKEN_TYPE = "at+jwt"  # RFC 9068 §2.1
REFRESH_TOKEN = re.compile(r"([\w-]{22})\.([0-9a-f]{1,8})\.([\w-]{43})", re.ASCII)
KID = re.compile(r"[\w-]{43}", re.ASCII)
VERIFIED_TOKENS_REMEMBERED = 4096
GENERATIONS_WALKED = 100_000


# --- keys -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """One parsed signing key. `jwk` is the public part (RFC 7517), None for a symmetric key."""

    kid: str
    algorithm: str
    private: Any
    public: Any
    jwk: Mapping[str, Any] | None
    retired: bool = False


def generate_key(algorithm: str) -> str:
    """A new private key as text: PEM for ES256 and RS256, base64url for HS256."""
    if algorithm == "HS256":
        return secrets.token_urlsafe(32)
    private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    if algorithm == "ES256":
        private = ec.generate_private_key(ec.SECP256R1())
    elif algorithm == "RS256":
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    else:
        raise ValueError(algorithm)
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def parse_key(algorithm: str, text: str, *, retired: bool = False) -> Key:
    """Parse a private key as `generate_key` wrote it. The kid is its thumbprint (RFC 7638)."""
    if algorithm == "HS256":
        secret = text.encode()
        return Key(secret_hash("kid:" + text)[:43], algorithm, secret, secret, None, retired)
    private: Any = load_pem_private_key(text.encode(), None)
    public = private.public_key()
    encoder = ECAlgorithm if algorithm == "ES256" else RSAAlgorithm
    jwk = {name: value for name, value in encoder.to_jwk(public, as_dict=True).items() if name != "key_ops"}
    thumbprint = hashlib.sha256(json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()).digest()
    kid = _b64(thumbprint)
    return Key(kid, algorithm, private, public, jwk | {"kid": kid, "use": "sig", "alg": algorithm}, retired)


@dataclass(frozen=True)
class KeyRing:
    """A project's keys, newest first. The first one of an algorithm that is not retired signs; all verify."""

    keys: tuple[Key, ...]
    _verified: dict[bytes, "AccessClaims"] = field(default_factory=dict, repr=False, compare=False)

    def signing(self, algorithm: str) -> Key:
        for key in self.keys:
            if key.algorithm == algorithm and not key.retired:
                return key
        raise LookupError(f"this project has no {algorithm} key; run manage.py anonusers_rotate_keys")

    def find(self, kid: object) -> Key | None:
        return next((key for key in self.keys if key.kid == kid), None)

    def secrets(self) -> Iterable[bytes]:
        return (key.private for key in self.keys if key.algorithm == "HS256")

    def jwks(self) -> dict[str, Any]:
        """The public JWK set (RFC 7517 §5): every asymmetric key, also retired ones whose tokens still live."""
        return {"keys": [dict(key.jwk) for key in self.keys if key.jwk]}


# --- who issues, and what it says of a user -------------------------------------------------------


@dataclass(frozen=True)
class Issuer:
    """What a door brings to minting: its public origin, its words for the facts about a user, and how it names a
    session in ID tokens. `binds_access_tokens`: those of sessions with a DPoP key are worth nothing without it."""

    origin: str
    user_claims: Callable[[Any], Mapping[str, Any]]
    sid: Callable[[Any], str] = lambda session: str(session.id)
    binds_access_tokens: bool = False


@dataclass(frozen=True)
class AccessClaims:
    """What a verified access token says. Times are unix seconds. `bound`: to the DPoP key of its session."""

    session_id: uuid.UUID
    expires_at: int
    sub: str | None = None  # an opaque token does not carry it
    bound: bool = False
    raw: Mapping[str, Any] = field(default_factory=dict)


# --- access tokens --------------------------------------------------------------------------------


def mint_access_token(
    ring: KeyRing,
    *,
    origin: str,
    session_id: uuid.UUID,
    sub: str,
    client_id: str,
    scope: str,
    auth_time: datetime,
    now: datetime,
    lifetime: int,
    user_claims: Mapping[str, Any],
    amr: str = "",
    dpop_jkt: str = "",
) -> str:
    """A JWT access token (RFC 9068), signed ES256."""
    key = ring.signing("ES256")
    issued = int(now.timestamp())
    claims = {
        "iss": origin,
        "aud": [origin],
        "iat": issued,
        "exp": issued + lifetime,
        "client_id": client_id,
        "scope": scope,
        "jti": secrets.token_urlsafe(16),
        "auth_time": int(auth_time.timestamp()),
        "sid": str(session_id),
        "sub": sub,
        **({"amr": amr.split()} if amr else {}),
        **({"cnf": {"jkt": dpop_jkt}} if dpop_jkt else {}),  # RFC 9449 §6.1
        **user_claims,
    }
    return jwt.encode(claims, key.private, "ES256", headers={"kid": key.kid, "typ": ACCESS_TOKEN_TYPE})


def mint_opaque_access_token(
    ring: KeyRing, *, session_id: uuid.UUID, now: datetime, lifetime: int, bound: bool = False
) -> str:
    """An access token that says nothing to its holder: session id, expiry and a MAC that only this server can make.

    Nothing is stored; the session's row is asked at each use.
    """
    purpose = BOUND_ACCESS_TOKEN if bound else OPAQUE_ACCESS_TOKEN
    return _mint_opaque(ring, purpose, session_id, int(now.timestamp()) + lifetime)


def mint_voucher(ring: KeyRing, *, session_id: uuid.UUID, now: datetime, lifetime: int) -> str:
    """A cookie's value for a browser that a session vouches for. It opens no other door."""
    return _mint_opaque(ring, VOUCHER, session_id, int(now.timestamp()) + lifetime)


def read_voucher(ring: KeyRing, value: str, *, now: datetime) -> uuid.UUID:
    """The session that vouches.

    Raises: InvalidToken.
    """
    claims = _read_opaque(ring, VOUCHER, value)
    if now.timestamp() >= claims.expires_at:
        raise InvalidToken
    return claims.session_id


def unverified_session_id(token: str) -> uuid.UUID:
    """The session that an access token claims to belong to; to find its project's keys, and for nothing else.

    Raises: InvalidToken.
    """
    try:
        if token.count(".") == 2:
            return uuid.UUID(json.loads(_unb64(token.split(".")[1]))["sid"])
        return uuid.UUID(bytes=_unb64(token)[:16])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidToken from None


def unverified_kid(token: str) -> str:
    """The key that a JWT claims to be signed with.

    Raises: InvalidToken.
    """
    try:
        kid = jwt.get_unverified_header(token)["kid"]
    except (jwt.InvalidTokenError, KeyError, ValueError, TypeError, RecursionError):
        raise InvalidToken from None
    if not isinstance(kid, str) or not KID.fullmatch(kid):
        raise InvalidToken  # it goes into a query next
    return kid


def read_access_token(ring: KeyRing, token: str, *, origin: str, now: datetime) -> AccessClaims:
    """Verify an access token, JWT or opaque: signature, type, issuer, audience, expiry.

    A signature is checked once a process; expiry each time.
    Raises: InvalidToken.
    """
    digest = hashlib.sha256(f"{origin} {token}".encode("utf-8", "surrogatepass")).digest()
    claims = ring._verified.get(digest)
    if claims is None:
        claims = _read_jwt(ring, token, origin) if token.count(".") == 2 else _read_opaque_access_token(ring, token)
        if len(ring._verified) >= VERIFIED_TOKENS_REMEMBERED:
            ring._verified.clear()
        ring._verified[digest] = claims
    if now.timestamp() >= claims.expires_at:
        raise InvalidToken
    return claims


def _read_jwt(ring: KeyRing, token: str, origin: str) -> AccessClaims:
    try:
        header = jwt.get_unverified_header(token)
        key = ring.find(header.get("kid"))
        if key is None or key.algorithm != "ES256" or header.get("typ") != ACCESS_TOKEN_TYPE:
            raise InvalidToken
        claims = jwt.decode(
            token,
            key.public,
            algorithms=["ES256"],  # the key decides, not the token (RFC 8725 §3.1)
            issuer=origin,
            audience=origin,
            options={"require": ["exp", "iat", "sub", "sid", "client_id"], "verify_exp": False},
        )
        return AccessClaims(uuid.UUID(claims["sid"]), int(claims["exp"]), claims["sub"], "cnf" in claims, claims)
    except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError):
        raise InvalidToken from None


OPAQUE_ACCESS_TOKEN, BOUND_ACCESS_TOKEN = b"opaque access token:", b"bound access token:"
VOUCHER = b"app session:"


def _read_opaque_access_token(ring: KeyRing, token: str) -> AccessClaims:
    try:
        return _read_opaque(ring, OPAQUE_ACCESS_TOKEN, token)
    except InvalidToken:
        return replace(_read_opaque(ring, BOUND_ACCESS_TOKEN, token), bound=True)


def _mint_opaque(ring: KeyRing, purpose: bytes, session_id: uuid.UUID, expires_at: int) -> str:
    body = session_id.bytes + struct.pack(">I", expires_at) + secrets.token_bytes(8)
    return _b64(body + _opaque_mac(ring.signing("HS256").private, purpose, body))


def _read_opaque(ring: KeyRing, purpose: bytes, token: str) -> AccessClaims:
    try:
        raw = _unb64(token)
    except ValueError:
        raise InvalidToken from None
    body, mac = raw[:28], raw[28:]
    if len(raw) != 48 or not any(hmac.compare_digest(mac, _opaque_mac(key, purpose, body)) for key in ring.secrets()):
        raise InvalidToken
    return AccessClaims(uuid.UUID(bytes=body[:16]), struct.unpack(">I", body[16:20])[0])


def _opaque_mac(key: bytes, purpose: bytes, body: bytes) -> bytes:
    return hmac.digest(key, purpose + body, "sha256")[:20]


# --- ID tokens ------------------------------------------------------------------------------------


def mint_id_token(
    ring: KeyRing,
    *,
    algorithm: str,
    origin: str,
    client_id: str,
    sub: str,
    sid: str,
    auth_time: datetime,
    now: datetime,
    user_claims: Mapping[str, Any],
    amr: str = "",
    nonce: str | None = None,
) -> str:
    """An OpenID Connect ID token, good for five minutes."""
    key = ring.signing(algorithm)
    issued = int(now.timestamp())
    claims = {
        "iss": origin,
        "aud": [client_id],
        "iat": issued,
        "exp": issued + ID_TOKEN_LIFETIME,
        "auth_time": int(auth_time.timestamp()),
        "sid": sid,
        "sub": sub,
        **({"amr": amr.split()} if amr else {}),
        **({"nonce": nonce} if nonce else {}),
        **user_claims,
    }
    return jwt.encode(claims, key.private, algorithm, headers={"kid": key.kid})


def read_id_token_hint(ring: KeyRing, token: str, *, origin: str) -> Mapping[str, Any]:
    """The claims of an ID token that this issuer signed; an expired one is fine as a hint (OIDC RP-Logout §2).

    Raises: InvalidToken.
    """
    try:
        header = jwt.get_unverified_header(token)
        key = ring.find(header.get("kid"))
        if key is None or key.algorithm == "HS256" or header.get("typ", "JWT") != "JWT":
            raise InvalidToken
        return jwt.decode(
            token,
            key.public,
            algorithms=[key.algorithm],
            issuer=origin,
            options={"verify_exp": False, "verify_aud": False, "require": ["iss", "aud", "sub", "sid"]},
        )
    except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError):
        raise InvalidToken from None


# --- refresh tokens and cookie secrets ------------------------------------------------------------


@dataclass(frozen=True)
class RefreshToken:
    """`<session id>.<generation>.<256-bit secret>`. Only `hash` is ever stored.

    Each rotation derives the next secret from this one and a key of the server, so a repeated rotation gives the same
    successor although no secret is kept, and an older token can be told from a forged one by walking the chain.
    """

    session_id: uuid.UUID
    generation: int
    secret: str = field(repr=False)

    def __str__(self) -> str:
        return f"{_b64(self.session_id.bytes)}.{self.generation:x}.{self.secret}"

    @property
    def hash(self) -> str:
        return secret_hash(str(self))

    def successor(self, key: bytes) -> "RefreshToken":
        derived = hmac.digest(key, b"refresh token successor:" + str(self).encode(), "sha256")
        return RefreshToken(self.session_id, self.generation + 1, _b64(derived))

    def is_ancestor(self, keys: Iterable[bytes], *, current_hash: str, current_generation: int) -> bool:
        """Whether walking the chain from this token leads to the current one: then it was genuine once."""
        steps = current_generation - self.generation
        if not 0 < steps <= GENERATIONS_WALKED:
            return False
        for key in keys:
            token = self
            for _ in range(steps):
                token = token.successor(key)
            if hmac.compare_digest(token.hash, current_hash):
                return True
        return False


def new_refresh_token(session_id: uuid.UUID) -> RefreshToken:
    return RefreshToken(session_id, 0, secrets.token_urlsafe(32))


def parse_refresh_token(text: str) -> RefreshToken:
    """Raises: InvalidToken when the text has not the form of a refresh token."""
    match = REFRESH_TOKEN.fullmatch(text)
    if not match:
        raise InvalidToken
    try:
        return RefreshToken(uuid.UUID(bytes=_unb64(match[1])), int(match[2], 16), match[3])
    except ValueError:
        raise InvalidToken from None


def secret_hash(secret: str) -> str:
    """SHA-256 in hex. Our secrets have 256 bits, so they need neither salt nor stretching."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    """Raises: ValueError."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from None
