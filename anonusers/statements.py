"""Signed statements whose claims are a door's own words: mint and read. No database, no HTTP.

`typ` tells one kind of statement from another and from access and ID tokens, which are signed with the same keys.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import jwt

from anonusers.errors import InvalidToken
from anonusers.tokens import KeyRing, RefreshToken, new_refresh_token, secret_hash

LENGTH_MAX = 4096

EXPIRED = "The token has expired."


class StatedSecret(RefreshToken):
    """The secret of a session that a statement carries (`jti`, beside `sid`). Whoever reads it there cannot use it as
    a refresh token at another door: it is known by another hash."""

    @property
    def hash(self) -> str:
        return secret_hash(f"statement:{self.secret}")


def new_stated_secret(session_id: uuid.UUID) -> StatedSecret:
    return StatedSecret(session_id, 0, new_refresh_token(session_id).secret)


def mint_statement(ring: KeyRing, claims: Mapping[str, Any], *, typ: str) -> str:
    """A JWT of these claims, signed ES256. `iat` and `exp` are the caller's."""
    key = ring.signing("ES256")
    return jwt.encode(dict(claims), key.private, "ES256", headers={"kid": key.kid, "typ": typ})


def unverified_claims(token: str) -> dict[str, Any]:
    """What a token says of itself, to know whose keys to ask. Raises: InvalidToken."""
    if len(token) > LENGTH_MAX or token.count(".") != 2 or not token.isascii():
        raise InvalidToken
    try:
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise InvalidToken from None
    return claims


def read_statement(ring: KeyRing, token: str, *, typ: str, now: datetime) -> dict[str, Any]:
    """The claims of a statement of this kind that a key of the ring signed and whose time has not run out.

    Raises: InvalidToken, with the message EXPIRED for one that was good.
    """
    if len(token) > LENGTH_MAX:
        raise InvalidToken
    try:
        header = jwt.get_unverified_header(token)
        key = ring.find(header.get("kid"))
        if key is None or key.algorithm != "ES256" or header.get("typ") != typ or header.get("crit"):
            raise InvalidToken
        claims: dict[str, Any] = jwt.decode(
            token,
            key.public,
            algorithms=["ES256"],
            options={"require": ["exp", "iat"], "verify_exp": False, "verify_aud": False, "verify_iat": False},
        )
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise InvalidToken from None
    expires = claims["exp"]
    if type(expires) is not int:
        raise InvalidToken
    if expires <= now.timestamp():
        raise InvalidToken(EXPIRED)
    return claims
