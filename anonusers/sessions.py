"""Sessions: open, find, refresh, list, end. A session is one row, whether a cookie or a refresh token leads to it."""

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest

from django.db import IntegrityError
from django.db.models import Model
from django.utils import timezone

from anonusers import events, onetime, tokens
from anonusers.dpop import DPoPProof
from anonusers.errors import DPoPProofRefused, GuestGone, InvalidToken, UnknownSession
from anonusers.gone import refuse_without_session
from anonusers.keypairs import CLOCK_SKEW
from anonusers.keys import key_ring
from anonusers.models import (
    Application,
    EndUser,
    OneTimeToken,
    Project,
    Session,
    insert_together,
    session_at,
)
from anonusers.statistics import note_activity
from anonusers.tokens import AccessClaims, Issuer, RefreshToken
from anonusers.userinfo import userinfo

logger = logging.getLogger(__name__)

ROTATION_GRACE = 30
"""Seconds in which the direct parent of a refresh token still leads to the same successor: a lost answer or a second
tab must not log a guest out, who has no other way back (RFC 9700 §4.14)."""

VOUCHER_LIFETIME = 3600
"""Seconds that a browser may use the settings page on the strength of an application's session."""

Proof = DPoPProof | DPoPProofRefused | None
"""What a client showed of its DPoP key: a proof, something that is none, or nothing."""

DEVICE = ("name", "model", "system", "app")
"""What is kept of what a client says about the device it runs on."""

TOUCH_EVERY = 60
"""Seconds between two writes of a session's last use."""


@dataclass(frozen=True)
class Tokens:
    """What a client gets. `expires_in` is in seconds; what is None is not handed out. `token_type` is `Bearer`, or
    `DPoP` for an access token that is bound to the session's DPoP key."""

    session: Session
    access_token: str
    expires_in: int
    token_type: str = "Bearer"
    refresh_token: str | None = None
    id_token: str | None = None


# --- open -----------------------------------------------------------------------------------------


def open_session(
    *,
    end_user: EndUser,
    project: Project,
    application: Application | None,
    kind: str,
    scope: str = "",
    user_agent: str = "",
    device: dict[str, str] | None = None,
    dpop_jkt: str = "",
    dpop_jti: str = "",
    authenticated_at: datetime | None = None,
    amr: str = "",
    secret: RefreshToken | None = None,
    new_user: tuple[Model, ...] = (),
    announce: bool = True,
) -> tuple[Session, RefreshToken]:
    """A new session and the secret that leads to it: a refresh token, or the value of a cookie.

    `dpop_jkt` is the key that it is bound to, by a proof with this `dpop_jti`. `new_user` are the rows of a user who
    comes into being with it; they are inserted in the same statement. Not to `announce` it: it goes on with what a
    promotion has told already. Raises: GuestGone.
    """
    secret = secret or tokens.new_refresh_token(uuid.uuid4())
    now = timezone.now()
    session = Session(
        id=secret.session_id,
        project=project,
        application=application,
        end_user=end_user,
        kind=kind,
        scope=scope,
        refresh_hash=secret.hash,
        created_at=now,
        last_used_at=now,
        authenticated_at=authenticated_at,
        amr=amr,
        user_agent=_printable(user_agent),
        device=known_device(device),
        dpop_jkt=dpop_jkt,
        dpop_jti_hash=tokens.secret_hash(dpop_jti) if dpop_jti else "",
    )
    if not new_user:
        note_activity(session, last=None, now=now)
    try:
        insert_together(*new_user, session)
    except IntegrityError:
        if new_user or EndUser.objects.filter(pk=end_user.pk).exists():
            raise
        raise GuestGone from None  # removed since somebody looked
    if announce and not new_user:
        events.emit(events.Event("user.authenticated", end_user, session))
    return session, secret


def end_sessions_of_before(*, end_user: EndUser, application: Application) -> None:
    """Before somebody logs in again: where the application allows one session only, those of before end.

    A sign-up of a guest does not count as such (Authgear: `x_max_concurrent_session`).
    """
    if application.max_concurrent_sessions == 1:
        before = Session.objects.in_full().filter(end_user=end_user, application=application, ended_at=None)
        for session in before:
            end_session(session, reason="revoked")


def mint_tokens(
    session: Session,
    *,
    issuer: Issuer,
    refresh_token: RefreshToken | None = None,
    with_id_token: bool = False,
    nonce: str | None = None,
) -> Tokens:
    """An access token for a session, and what else is asked for. No statement where the session came `in_full()`."""
    now = timezone.now()
    application = session.application
    if application is None:
        raise TypeError("a cookie session has no application to mint tokens for")
    # No token outlives its session, not even for those who only read the JWT.
    left = int((session.lifetime_ends_at - now).total_seconds())
    lifetime = max(1, min(application.access_token_lifetime, left))
    ring = key_ring(session.project)
    bound = issuer.binds_access_tokens and application.dpop_enabled and bool(session.dpop_jkt)
    if application.issue_jwt_access_token:
        access_token = tokens.mint_access_token(
            ring,
            origin=issuer.origin,
            session_id=session.id,
            sub=str(session.end_user_id),
            client_id=application.client_id,
            scope=session.scope,
            auth_time=session.auth_time,
            amr=session.amr,
            now=now,
            lifetime=lifetime,
            user_claims=issuer.user_claims(userinfo(session.end_user)),
            dpop_jkt=session.dpop_jkt if bound else "",
        )
    else:
        access_token = tokens.mint_opaque_access_token(
            ring, session_id=session.id, now=now, lifetime=lifetime, bound=bound
        )
    return Tokens(
        session=session,
        access_token=access_token,
        expires_in=lifetime,
        token_type="DPoP" if bound else "Bearer",
        refresh_token=str(refresh_token) if refresh_token else None,
        id_token=mint_id_token(session, application=application, issuer=issuer, nonce=nonce) if with_id_token else None,
    )


def mint_id_token(session: Session, *, application: Application, issuer: Issuer, nonce: str | None = None) -> str:
    """An ID token that tells `application` who the user of this session is."""
    return tokens.mint_id_token(
        key_ring(session.project),
        algorithm=application.id_token_signed_response_alg,
        origin=issuer.origin,
        client_id=application.client_id,
        sub=str(session.end_user_id),
        sid=issuer.sid(session),
        auth_time=session.auth_time,
        amr=session.amr,
        nonce=nonce,
        now=timezone.now(),
        user_claims=issuer.user_claims(userinfo(session.end_user)),
    )


# --- find -----------------------------------------------------------------------------------------


def find_by_cookie(*, host: str, value: str) -> Session:
    """The live session of a cookie.

    Raises: InvalidToken.
    """
    presented = tokens.parse_refresh_token(value)
    session = live_session(host, presented.session_id, Session.Kind.COOKIE)
    if not compare_digest(presented.hash, session.refresh_hash):
        raise InvalidToken
    touch(session)
    return session


def find_by_access_token(*, host: str, origin: str, token: str, proof: Proof = None) -> Session:
    """The live session of an access token, JWT or opaque. One statement, and one more a minute.

    A token that is bound to a key is worth nothing without a `proof` that names it, and each proof is good once.
    Raises: InvalidToken; GuestGone for a genuine JWT whose user was removed; DPoPProofRefused.
    """
    session = session_at(host, session_id=tokens.unverified_session_id(token), kind=Session.Kind.TOKEN)
    if session is None:
        refuse_without_session(host=host, origin=origin, token=token, proof=proof)
    if not session.is_live(timezone.now()):
        raise InvalidToken
    claims = _check_access_token(session, token, origin)
    if claims.bound != (proof is not None):
        raise InvalidToken  # RFC 9449 §7.2: not as a bearer token, and no bearer token as one that is bound
    if proof is not None:
        demand_bound_key(session, proof)
    touch(session)
    return session


def vouch(session: Session) -> str:
    """What a browser gets that an application's session vouches for: nothing is stored, it ends with the session."""
    ring = key_ring(session.project)
    return tokens.mint_voucher(ring, session_id=session.id, now=timezone.now(), lifetime=VOUCHER_LIFETIME)


def find_by_app_session(*, host: str, value: str) -> Session:
    """The live session that vouches for a browser.

    Raises: InvalidToken.
    """
    session = live_session(host, tokens.unverified_session_id(value), Session.Kind.TOKEN)
    if tokens.read_voucher(key_ring(session.project), value, now=timezone.now()) != session.id:
        raise InvalidToken
    touch(session)
    return session


def find_by_refresh_token(
    *, host: str, refresh_token: str, client_id: str | None = None, proof: Proof = None
) -> Session:
    """The live session of a refresh token, without rotating it. A token that was rotated away ends its session.

    Raises: InvalidToken, also for a token of another application than `client_id`; DPoPProofRefused.
    """
    presented = tokens.parse_refresh_token(refresh_token)
    session = live_session(host, presented.session_id, Session.Kind.TOKEN)
    if client_id is not None and (session.application is None or session.application.client_id != client_id):
        raise InvalidToken
    demand_bound_key(session, proof)
    if not compare_digest(presented.hash, session.refresh_hash):
        successor_within_grace(session, presented)
    touch(session)
    return session


def demand_bound_key(session: Session, proof: Proof) -> None:
    """Before a refresh token is worth anything: a proof by the key it is bound to (RFC 9449 §5), each used once.

    Another key is no better than a wrong token, and Authgear's SDKs only get over it when they are told so: they make
    a new DPoP key when theirs is lost, and after `invalid_grant` they log in again.
    Raises: DPoPProofRefused, InvalidToken.
    """
    if not session.token_settings.dpop_enabled:
        return
    if isinstance(proof, DPoPProofRefused):
        raise proof
    if not session.dpop_jkt:
        return
    if proof is None:
        raise DPoPProofRefused
    if not compare_digest(proof.thumbprint, session.dpop_jkt):
        raise InvalidToken
    if compare_digest(tokens.secret_hash(proof.jti), session.dpop_jti_hash):
        raise DPoPProofRefused  # the one that it was bound with: the refresh may have the same URL
    try:
        onetime.once(
            OneTimeToken.Purpose.DPOP_PROOF,
            f"{proof.thumbprint} {proof.jti}",
            project=session.project,
            until=timezone.now() + timedelta(seconds=2 * CLOCK_SKEW),
        )
    except InvalidToken:
        raise DPoPProofRefused from None


def live_session(host: str, session_id: uuid.UUID, kind: str) -> Session:
    session = _open_session(host, session_id, kind)
    if not session.is_live(timezone.now()):
        raise InvalidToken
    return session


def _open_session(host: str, session_id: uuid.UUID, kind: str) -> Session:
    """A session that was not ended; it may be asleep or expired under the settings of now."""
    session = session_at(host, session_id=session_id, kind=kind)
    if session is None or session.ended_at is not None:
        raise InvalidToken
    return session


def _check_access_token(session: Session, token: str, origin: str) -> AccessClaims:
    claims = tokens.read_access_token(key_ring(session.project), token, origin=origin, now=timezone.now())
    if claims.session_id != session.id or claims.sub not in (None, str(session.end_user_id)):
        raise InvalidToken
    return claims


def touch(session: Session) -> None:
    """Note that the session is in use: one UPDATE at most once a minute, and once a day that its user was here.

    An idle timeout under ten minutes is noted every tenth of it, else its users would be logged out while active.
    """
    now = timezone.now()
    every = min(TOUCH_EVERY, (session.idle_timeout or 10 * TOUCH_EVERY) // 10)
    if (now - session.last_used_at).total_seconds() >= every:
        note_activity(session, last=session.last_used_at, now=now)
        Session.objects.filter(pk=session.pk, last_used_at__lt=now).update(last_used_at=now)
        session.last_used_at = now


def successor_within_grace(session: Session, presented: RefreshToken) -> RefreshToken:
    """The current token, derived from its direct parent within the grace time.

    A genuine token older than that has been stolen or kept by a broken client: the session ends (RFC 9700 §4.14.2).
    Raises: InvalidToken.
    """
    ring = key_ring(session.project)
    if presented.generation == session.refresh_generation - 1 and session.rotated_at:
        in_time = abs(timezone.now() - session.rotated_at) <= timedelta(seconds=ROTATION_GRACE)
        for key in ring.secrets():
            successor = presented.successor(key)
            if in_time and compare_digest(successor.hash, session.refresh_hash):
                return successor
    if presented.is_ancestor(
        ring.secrets(), current_hash=session.refresh_hash, current_generation=session.refresh_generation
    ):
        logger.warning("a rotated refresh token came back; session %s is ended", session.id)
        end_session(session, reason="refresh_token_reused")
    raise InvalidToken


# --- list and end ---------------------------------------------------------------------------------


def list_sessions(end_user: EndUser) -> list[Session]:
    """The user's live sessions, last used first."""
    now = timezone.now()
    open_ones = Session.objects.in_full().filter(end_user=end_user, ended_at=None)
    return [session for session in open_ones.order_by("-last_used_at", "-created_at") if session.is_live(now)]


def end_session(session: Session, *, reason: str = "signed_out", now: datetime | None = None) -> bool:
    """End a session with all its tokens, at once. False when it had ended before.

    `reason` is `signed_out`, `revoked`, `refresh_token_reused` or `authorization_code_reused`.
    """
    now = now or timezone.now()
    if not Session.objects.filter(pk=session.pk, ended_at=None).update(ended_at=now):
        return False
    session.ended_at = now
    events.emit(events.Event("user.signed_out", session.end_user, session, {"reason": reason}))
    return True


def revoke_session(*, end_user: EndUser, session_id: uuid.UUID) -> None:
    """End one of the user's sessions, wherever it is.

    Raises: UnknownSession, also for a session of somebody else.
    """
    session = Session.objects.in_full().filter(end_user=end_user, pk=session_id).first()
    if session is None or not session.is_live(timezone.now()) or not end_session(session, reason="revoked"):
        raise UnknownSession


def revoke_token(*, host: str, origin: str, token: str, client_id: str | None = None) -> None:
    """RFC 7009: end the session of a refresh token or of an access token. What is unknown is no error.

    A `client_id` that is not the session's own ends nothing.
    """
    presented = None
    try:
        try:
            presented = tokens.parse_refresh_token(token)
        except InvalidToken:
            session = _open_session(host, tokens.unverified_session_id(token), Session.Kind.TOKEN)
            _check_access_token(session, token, origin)
        else:
            session = _open_session(host, presented.session_id, Session.Kind.TOKEN)
        if client_id is not None and (session.application is None or session.application.client_id != client_id):
            return
        if presented and not compare_digest(presented.hash, session.refresh_hash):
            successor_within_grace(session, presented)
    except InvalidToken:
        return
    end_session(session)


def known_device(device: dict[str, str] | None) -> dict[str, str]:
    told = {name: _printable((device or {}).get(name, "")) for name in DEVICE}
    return {name: text for name, text in told.items() if text}


def _printable(user_agent: str) -> str:
    """What is shown in lists later: no control characters, at most 200 characters."""
    return "".join(character for character in user_agent if character.isprintable())[:200]
