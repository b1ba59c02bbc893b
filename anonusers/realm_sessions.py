"""Sessions whose tokens are statements, as clients of MongoDB's SDKs hold them: mint and find.

An access statement is signed and short; the session is asked at each use all the same. A refresh statement only looks
like a token that is signed: its secret decides, which the session's row knows by its hash. So it is never rotated, and
outlives the keys of its project. `sid` (and `jti`) are ours, the other claims are the door's.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from typing import Any

from django.utils import timezone

from anonusers import realm_migration
from anonusers.errors import InvalidToken
from anonusers.keys import key_ring
from anonusers.models import Project, Session, realm_session
from anonusers.promotion import demand_enabled
from anonusers.sessions import touch
from anonusers.statements import StatedSecret, mint_statement, read_statement, unverified_claims
from anonusers.tokens import RefreshToken

ACCESS, REFRESH = "realm-access+jwt", "realm-refresh+jwt"
"""`typ` of their headers: neither is an access or an ID token of the other doors."""

UNKNOWN = "The session has ended, or there never was one."
OTHER_KIND = "This is another kind of token."


@dataclass(frozen=True)
class Presented:
    """A live session, and what the token that led to it says."""

    session: Session
    claims: Mapping[str, Any]


@dataclass(frozen=True)
class Times:
    """`iat` and `exp`, in seconds since 1970."""

    issued: int
    expires: int


def access_times(session: Session, now: datetime) -> Times:
    """No access token outlives its session."""
    lifetime = session.token_settings.access_token_lifetime
    left = int((session.lifetime_ends_at - now).total_seconds())
    issued = int(now.timestamp())
    return Times(issued, issued + max(1, min(lifetime, left)))


def mint_access(session: Session, claims: Mapping[str, Any], *, now: datetime) -> str:
    times = access_times(session, now)
    own = {"iat": times.issued, "exp": times.expires, "sid": str(session.pk)}
    return mint_statement(key_ring(session.project), {**claims, **own}, typ=ACCESS)


def mint_refresh(session: Session, secret: RefreshToken, claims: Mapping[str, Any], *, now: datetime) -> str:
    own = {
        "iat": int(now.timestamp()),
        "exp": int(session.lifetime_ends_at.timestamp()),
        "sid": str(session.pk),
        "jti": secret.secret,
    }
    return mint_statement(key_ring(session.project), {**claims, **own}, typ=REFRESH)


def find_by_realm_access_token(token: str) -> Presented:
    """The live session of an access statement, whatever the host. One statement, and one more a minute.

    Raises: InvalidToken, with EXPIRED or UNKNOWN as its message where that is why; UserDisabled; MigrationNotFinished.
    """
    now = timezone.now()
    claims = unverified_claims(token)
    if "sid" not in claims:
        realm_migration.foreign_access_token(None, token, now)
    session = _find(claims)
    if "jti" in claims:
        raise InvalidToken(OTHER_KIND)
    verified = read_statement(key_ring(session.project), token, typ=ACCESS, now=now)
    return Presented(_live(session, now), verified)


def find_by_realm_refresh_token(token: str, *, project: Project | None = None, adopt: bool = False) -> Presented:
    """The live session of a refresh statement. One statement, and one more a minute.

    `project`: of the app that was named, for a token that is none of ours. To `adopt` makes a session of such a one,
    where the migration allows it.
    Raises: InvalidToken, with OTHER_KIND or UNKNOWN as its message; UserDisabled; MigrationNotFinished.
    """
    try:
        claims = unverified_claims(token)
    except InvalidToken:
        raise InvalidToken(UNKNOWN) from None
    now = timezone.now()
    if "sid" not in claims:
        # MongoDB's: signed with a secret that nobody else has.
        return Presented(_foreign(project, token, now, adopt=adopt), claims)
    session, secret = _find(claims), claims.get("jti")
    if secret is None:
        raise InvalidToken(OTHER_KIND)
    if (
        not isinstance(secret, str)
        or not secret.isascii()
        or not compare_digest(StatedSecret(session.pk, 0, secret).hash, session.refresh_hash)
    ):
        raise InvalidToken(UNKNOWN)
    return Presented(_live(session, now), claims)


def _foreign(project: Project | None, token: str, now: datetime, *, adopt: bool) -> Session:
    find = realm_migration.foreign_refresh_token if adopt else realm_migration.foreign_session
    try:
        return find(project, token, now)
    except InvalidToken:
        raise InvalidToken(UNKNOWN) from None


def _find(claims: Mapping[str, Any]) -> Session:
    try:
        session = realm_session(uuid.UUID(claims["sid"]))
    except (ValueError, TypeError, AttributeError):
        raise InvalidToken(UNKNOWN) from None
    if session is None:
        raise InvalidToken(UNKNOWN)
    return session


def _live(session: Session, now: datetime) -> Session:
    """Of a disabled user the session sleeps: that is no verdict on the token, which they get back to later."""
    if session.ended_at is None:
        demand_enabled(session.end_user)
    if not session.is_live(now):
        raise InvalidToken(UNKNOWN)
    touch(session)
    return session
