"""Refresh a session: new tokens for a refresh token, rotated where the application says so (RFC 6749 §6)."""

from hmac import compare_digest

from django.utils import timezone

from anonusers import tokens
from anonusers.errors import InvalidToken, ScopeTooWide, UnknownApplication
from anonusers.keys import key_ring
from anonusers.models import Application, Session, project_id_at, replace_refresh_hash
from anonusers.sessions import (
    Proof,
    Tokens,
    demand_bound_key,
    known_device,
    live_session,
    mint_tokens,
    successor_within_grace,
    touch,
)
from anonusers.statistics import note_activity
from anonusers.tokens import Issuer, RefreshToken


def refresh_session(
    *,
    host: str,
    client_id: str,
    refresh_token: str,
    issuer: Issuer,
    scope: str = "",
    with_id_token: bool = False,
    device: dict[str, str] | None = None,
    proof: Proof = None,
) -> Tokens:
    """New tokens for a refresh token; a new refresh token too where the application rotates them.

    Two statements; one more where `device` is news, or a DPoP proof is spent. Rotation is one conditional UPDATE whose
    row count decides; who loses the race gets the same successor as who won it.
    Raises: UnknownApplication; ScopeTooWide; DPoPProofRefused; InvalidToken, also for a token of another application
    or project.
    """
    try:
        presented = tokens.parse_refresh_token(refresh_token)
        for attempt in range(3):
            session = live_session(host, presented.session_id, Session.Kind.TOKEN)
            application = session.application
            if application is None or application.client_id != client_id or not application.may_have_guests:
                raise InvalidToken  # before anything is changed: the owner's token stays good
            if not set(scope.split()) <= set(session.scope.split()):
                raise ScopeTooWide  # RFC 6749 §6
            if attempt == 0:
                demand_bound_key(session, proof)
            try:
                successor = _refresh(session, presented)
            except _LostTheRace:
                continue
            _note_device(session, device)
            return mint_tokens(session, issuer=issuer, refresh_token=successor, with_id_token=with_id_token)
        raise InvalidToken
    except InvalidToken:
        if not Application.objects.filter(project_id=project_id_at(host), client_id=client_id).exists():
            raise UnknownApplication from None
        raise


def _note_device(session: Session, device: dict[str, str] | None) -> None:
    """React Native tells at a refresh first."""
    known = known_device(device)
    if known and known != session.device:
        Session.objects.filter(pk=session.pk).update(device=known)
        session.device = known


class _LostTheRace(Exception):
    """Another request rotated the token between our SELECT and our UPDATE."""


def _refresh(session: Session, presented: RefreshToken) -> RefreshToken | None:
    """The successor to hand out, or None where tokens are not rotated.

    Raises: InvalidToken, _LostTheRace.
    """
    if not compare_digest(presented.hash, session.refresh_hash):
        successor = successor_within_grace(session, presented)
        touch(session)
        return successor
    now = timezone.now()
    if session.application is not None and session.application.refresh_token_rotation_enabled:
        successor = presented.successor(key_ring(session.project).signing("HS256").private)
        if not replace_refresh_hash(
            session,
            presented_hash=presented.hash,
            successor_hash=successor.hash,
            generation=successor.generation,
            now=now,
        ):
            raise _LostTheRace
        note_activity(session, last=session.last_used_at, now=now)
        session.last_used_at = now
        return successor
    touch(session)
    return None
