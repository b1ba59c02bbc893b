"""Tokens of operators at the Admin API: an access token for half an hour, and a refresh token.

Every use looks for the sign-in's row and for what its operator is now, so that nothing outlives a revoked key, another
password, or an operator who is none any more. Both are written as JWTs, since the tools read `exp` there.
"""

import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import Any

import jwt
from django.utils import timezone

from anonusers.errors import InvalidToken
from anonusers.sealing import derive
from anonusers.tokens import secret_hash
from portal.access import is_operator
from portal.models import OperatorKey, OperatorToken

ACCESS_LIFETIME = 1800
REFRESH_LIFETIME = 60 * 86_400
LENGTH_MAX = 2048
ACCESS, REFRESH = "operator-access+jwt", "operator-refresh+jwt"
PURPOSE = "operator-token"
MOST_EXPIRED = 500
"""So many rows that are over go with a sign-in."""


@dataclass(frozen=True)
class SignedIn:
    """What a tool gets."""

    row: OperatorToken
    access_token: str
    refresh_token: str


def sign_in(*, user: Any, key: OperatorKey | None = None, now: datetime | None = None) -> SignedIn:
    """Tokens for an operator who has proven who they are, by password or by a `key`."""
    now = now or timezone.now()
    over = OperatorToken.objects.filter(expires_at__lte=now).order_by("expires_at").values_list("pk", flat=True)
    OperatorToken.objects.filter(pk__in=list(over[:MOST_EXPIRED])).delete()
    expires_at = now + timedelta(seconds=REFRESH_LIFETIME)
    row = OperatorToken(user=user, key=key, auth_hash="" if key else _auth_hash(user), expires_at=expires_at)
    refresh_token = _mint(row, REFRESH, now, expires_at, jti=secrets.token_hex(32))
    row.refresh_hash = secret_hash(refresh_token)
    row.save(force_insert=True)
    return SignedIn(row, mint_access_token(row, now=now), refresh_token)


def mint_access_token(row: OperatorToken, *, now: datetime | None = None) -> str:
    """Another access token of a sign-in; none outlives it."""
    now = now or timezone.now()
    return _mint(row, ACCESS, now, min(now + timedelta(seconds=ACCESS_LIFETIME), row.expires_at))


def find_by_access_token(token: str, *, now: datetime | None = None) -> OperatorToken:
    """The sign-in of an access token, with its operator: one statement.

    Raises: InvalidToken
    """
    now = now or timezone.now()
    claims = _claims(token)
    if type(claims.get("exp")) is not int or claims["exp"] <= now.timestamp():
        raise InvalidToken
    try:
        pk = uuid.UUID(str(claims.get("sid")))
    except ValueError:
        raise InvalidToken from None
    return _live(OperatorToken.objects.filter(pk=pk), now)


def find_by_refresh_token(token: str, *, now: datetime | None = None) -> OperatorToken:
    """The sign-in of a refresh token, with its operator: one statement.

    Raises: InvalidToken
    """
    if len(token) > LENGTH_MAX or not token.isascii():
        raise InvalidToken
    return _live(OperatorToken.objects.filter(refresh_hash=secret_hash(token)), now or timezone.now())


def _live(rows: Any, now: datetime) -> OperatorToken:
    row: OperatorToken | None = rows.select_related("user", "key").first()
    if row is None or row.expires_at <= now or not is_operator(row.user):
        raise InvalidToken
    if row.key.revoked_at is not None if row.key else not _has_same_password(row):
        raise InvalidToken
    return row


def _auth_hash(user: Any) -> str:
    return str(user.get_session_auth_hash()) if hasattr(user, "get_session_auth_hash") else ""


def _has_same_password(row: OperatorToken) -> bool:
    """As Django asks it of its own sessions; a SECRET_KEY that was rotated counts, too."""
    user: Any = row.user
    older = user.get_session_auth_fallback_hash() if hasattr(user, "get_session_auth_fallback_hash") else ()
    return any(compare_digest(row.auth_hash, known) for known in (_auth_hash(user), *older))


def _mint(row: OperatorToken, typ: str, now: datetime, expires_at: datetime, **claims: str) -> str:
    # stitch-cli reads the claims as base64 with + and /: of ASCII letters, digits and these signs none is encoded
    # with - or _, which it would take for damage.
    facts = {"iat": int(now.timestamp()), "exp": int(expires_at.timestamp()), "sid": str(row.pk), **claims}
    return jwt.encode(facts, derive(PURPOSE), "HS256", headers={"typ": typ})


def _claims(token: str) -> dict[str, Any]:
    if len(token) > LENGTH_MAX:
        raise InvalidToken
    try:
        if jwt.get_unverified_header(token).get("typ") != ACCESS:
            raise InvalidToken
        claims: dict[str, Any] = jwt.decode(
            token, derive(PURPOSE), algorithms=["HS256"], options={"verify_exp": False, "verify_iat": False}
        )
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise InvalidToken from None
    return claims
