"""Sign-up of a guest: the toggle, the budget, and one transaction {user, end user, identity, session, device key}."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from hmac import compare_digest

from django.db import IntegrityError, transaction
from django.db.models import Model
from django.utils import timezone

from anonusers import events, idempotency, tokens
from anonusers.adapters import get_adapter
from anonusers.device_keys import AMR, KeyProof, Raced
from anonusers.errors import (
    AnonymousUsersDisabled,
    ApplicationTypeNotAllowed,
    IdempotencyKeySpent,
    PublicSignupDisabled,
    UserIsRegular,
)
from anonusers.idempotency import IdempotencyKey
from anonusers.keys import key_ring
from anonusers.models import AnonymousIdentity, Application, DeviceKey, EndUser, Project, Session
from anonusers.sessions import open_session
from anonusers.signup_limits import spend_signup
from anonusers.tokens import RefreshToken


@dataclass(frozen=True)
class SignedUp:
    """A guest's session. `secret` leads to it (refresh token or cookie); None when the client holds it already."""

    session: Session
    secret: RefreshToken | None
    created: bool


def sign_up(
    *,
    project: Project,
    application: Application | None,
    kind: str,
    scope: str = "",
    current: Session | None = None,
    key: KeyProof | None = None,
    idempotency_key: IdempotencyKey | None = None,
    bot_check: str = "",
    ip: str = "",
    user_agent: str = "",
    device: dict[str, str] | None = None,
    dpop_jkt: str = "",
    dpop_jti: str = "",
    secret: RefreshToken | None = None,
    beside: Callable[[EndUser], tuple[Model, ...]] = lambda end_user: (),
) -> SignedUp:
    """A guest with a session of `kind`: the guest of the `current` session if there is one, else a new one.

    With a `key`, which leads to nobody yet, the new guest can come back. Its challenge is spent here. `bot_check` is
    the solution of a challenge that BotCheckRequired has brought. A door that makes tokens of its own brings the
    `secret` of the new session, and makes rows that go in `beside` the new user's.
    Raises: ApplicationTypeNotAllowed; UserIsRegular; and for a new guest AnonymousUsersDisabled,
    PublicSignupDisabled, RateLimited, BotCheckRequired, Busy, SignupVetoed, IdempotencyKeyReused,
    IdempotencyKeySpent; and with a key KeyProofRefused, Raced.
    """
    if application is not None and kind == Session.Kind.TOKEN and not application.may_have_guests:
        raise ApplicationTypeNotAllowed
    if current is not None:
        if not current.end_user.is_guest:
            raise UserIsRegular
        return SignedUp(current, secret=None, created=False)
    if idempotency_key and (known := idempotency.recall(project, idempotency_key)):
        return _replay(known)
    if not project.anonymous_users_enabled:
        raise AnonymousUsersDisabled
    adapter = get_adapter()
    if not adapter.is_open_for_signup(project):
        raise PublicSignupDisabled
    if kind == Session.Kind.TOKEN:
        key_ring(project)  # unreadable keys are found before a guest is made whose tokens nobody can sign
    spend_signup(project=project, application=application, ip=ip, solution=bot_check)

    secret = secret or tokens.new_refresh_token(uuid.uuid4())
    try:
        with transaction.atomic():
            if idempotency_key:
                idempotency.claim(project, idempotency_key, secret)
            if key:
                key.spend_challenge()
            adapter.pre_create(project, application)
            sub = uuid.uuid4()
            end_user = EndUser(id=sub, project=project, user=adapter.create_guest(sub), application=application)
            session, _ = open_session(
                end_user=end_user,
                project=project,
                application=application,
                kind=kind,
                scope=scope,
                user_agent=user_agent,
                device=device,
                dpop_jkt=dpop_jkt,
                dpop_jti=dpop_jti,
                amr=AMR if key else "",
                secret=secret,
                new_user=(end_user, AnonymousIdentity(end_user=end_user), *_new_key(key, end_user), *beside(end_user)),
            )
            if key and key.row:
                key.wake(end_user)
            events.emit(events.Event("user.created", end_user, session))
    except idempotency.Claimed:
        known = idempotency.recall(project, idempotency_key) if idempotency_key else None
        if known is None:
            raise IdempotencyKeySpent from None
        return _replay(known)
    except IntegrityError:
        if key and not key.row and key.is_known_by_now():
            raise Raced from None
        raise
    return SignedUp(session, secret, created=True)


def _new_key(key: KeyProof | None, end_user: EndUser) -> tuple[DeviceKey, ...]:
    return (key.new_row(end_user),) if key and not key.row else ()


def _replay(secret: RefreshToken) -> SignedUp:
    """The first answer again. Once its token was rotated or its session ended, that answer would only do harm."""
    session = Session.objects.in_full().filter(pk=secret.session_id).first()
    if session is None or not session.is_live(timezone.now()) or not compare_digest(session.refresh_hash, secret.hash):
        raise IdempotencyKeySpent
    return SignedUp(session, secret, created=True)
