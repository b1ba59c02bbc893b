"""Exchange an authorization code for a session and its tokens, exactly once (RFC 6749 §4.1.3, RFC 7636 §4.6)."""

import base64
import hashlib
import re
import uuid
from datetime import UTC, datetime
from hmac import compare_digest

from django.db import transaction

from anonusers import onetime
from anonusers.errors import InvalidToken
from anonusers.models import Application, EndUser, OneTimeToken, Session
from anonusers.onetime import Issued
from anonusers.sessions import Tokens, end_session, end_sessions_of_before, mint_tokens, open_session
from anonusers.tokens import Issuer, RefreshToken

CODE_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)
OFFLINE_ACCESS = "offline_access"


def issue_code(
    *,
    end_user: EndUser,
    application: Application,
    redirect_uri: str | None,
    code_challenge: str,
    scope: str,
    authenticated_at: datetime,
    amr: str = "",
    nonce: str | None = None,
    dpop_jkt: str = "",
    after_promotion: bool = False,
) -> Issued:
    """A code for one exchange. `redirect_uri` is what the client named, None where it left that to us.

    `after_promotion`: what it is exchanged for is the rest of a promotion, not a log in of its own.
    """
    return onetime.issue(
        OneTimeToken.Purpose.AUTHORIZATION_CODE,
        project=application.project,
        application=application,
        end_user=end_user,
        payload={
            "redirect_uri": redirect_uri,
            "code_challenge": code_challenge,
            "scope": scope,
            "nonce": nonce,
            "authenticated_at": authenticated_at.timestamp(),
            "amr": amr,
            "dpop_jkt": dpop_jkt,
            "after_promotion": after_promotion,
        },
    )


def exchange_code(
    *,
    host: str,
    application: Application,
    code: str,
    redirect_uri: str,
    code_verifier: str,
    issuer: Issuer,
    user_agent: str = "",
    device: dict[str, str] | None = None,
    dpop_jkt: str = "",
    dpop_jti: str = "",
) -> Tokens:
    """Tokens for a code. A wrong client, redirect URI, verifier or DPoP key burns it; a second use ends what the first
    one gave (RFC 9700 §4.5). `dpop_jkt` is the key that the refresh token will be bound to.

    Raises: InvalidToken.
    """
    found = onetime.find(OneTimeToken.Purpose.AUTHORIZATION_CODE, code, host=host)
    if found is None or found.end_user_id is None:
        raise InvalidToken
    with transaction.atomic():
        token = _lock(found.pk, found.end_user_id)
        if token.used_at is None:
            onetime.spend(token)
            if _fits(token, application, redirect_uri, code_verifier, dpop_jkt):
                session, secret = _open(token, application, user_agent, device, (dpop_jkt, dpop_jti))
                token.payload = token.payload | {"session_id": str(session.pk)}
                token.save(update_fields=["payload"])
                return mint_tokens(
                    session,
                    issuer=issuer,
                    refresh_token=secret if OFFLINE_ACCESS in session.scope.split() else None,
                    with_id_token=True,
                    nonce=token.payload["nonce"],
                )
        else:
            _undo(token)
    # Outside of the block: what was burnt or undone stays so.
    raise InvalidToken


def _lock(pk: int, end_user_id: uuid.UUID) -> OneTimeToken:
    """The code's row, read under the lock of its user's row until the session is noted on it: a racing second use
    finds what it has to end. Promotion takes the same lock: either it ends the session that is opened here, or it has
    voided the code. Without joins: MariaDB has no FOR UPDATE OF.

    Raises: InvalidToken, where one of the two is gone.
    """
    if not EndUser.objects.select_for_update().filter(pk=end_user_id).exists():
        raise InvalidToken
    token = OneTimeToken.objects.filter(pk=pk).first()
    if token is None:
        raise InvalidToken
    token.end_user = EndUser.objects.select_related("user", "anonymous_identity").get(pk=end_user_id)
    return token


def _fits(token: OneTimeToken, application: Application, redirect_uri: str, verifier: str, dpop_jkt: str) -> bool:
    user = token.end_user
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return (
        token.application_id == application.pk
        and _is_where_it_went(token, application, redirect_uri)
        and CODE_VERIFIER.fullmatch(verifier) is not None
        and compare_digest(challenge, token.payload["code_challenge"])
        # RFC 9449 §10. Codes of before the upgrade do not have it.
        and (not application.dpop_enabled or token.payload.get("dpop_jkt", "") in ("", dpop_jkt))
        and user is not None
        and user.disabled_at is None
        and getattr(user.user, "is_active", True)
    )


def _is_where_it_went(token: OneTimeToken, application: Application, redirect_uri: str) -> bool:
    """RFC 6749 §4.1.3: the same as in the authorization request, where that had one."""
    if token.payload["redirect_uri"] is None:
        return redirect_uri in ("", *application.redirect_uris)
    return compare_digest(redirect_uri.encode(), token.payload["redirect_uri"].encode())


def _open(
    token: OneTimeToken,
    application: Application,
    user_agent: str,
    device: dict[str, str] | None,
    bound_to: tuple[str, str],
) -> tuple[Session, RefreshToken]:
    end_user = token.end_user
    if end_user is None:
        raise InvalidToken
    end_sessions_of_before(end_user=end_user, application=application)
    return open_session(
        end_user=end_user,
        project=application.project,
        application=application,
        kind=Session.Kind.TOKEN,
        scope=token.payload["scope"],
        authenticated_at=datetime.fromtimestamp(token.payload["authenticated_at"], UTC),
        amr=token.payload["amr"],
        user_agent=user_agent,
        device=device,
        dpop_jkt=bound_to[0],
        dpop_jti=bound_to[1],
        announce=not token.payload["after_promotion"],
    )


def _undo(token: OneTimeToken) -> None:
    session_id = token.payload.get("session_id")
    session = Session.objects.in_full().filter(pk=uuid.UUID(session_id)).first() if session_id else None
    if session is not None:
        end_session(session, reason="authorization_code_reused")
