"""Sign-up of a guest: the toggle, the budget, and one transaction {user, end user, identity, session}."""

import uuid
from dataclasses import dataclass
from hmac import compare_digest

from django.db import transaction
from django.utils import timezone

from anonusers import events, idempotency, tokens
from anonusers.adapters import get_adapter
from anonusers.errors import (
    AnonymousUsersDisabled,
    ApplicationTypeNotAllowed,
    IdempotencyKeySpent,
    PublicSignupDisabled,
    UserIsRegular,
)
from anonusers.idempotency import IdempotencyKey
from anonusers.keys import key_ring
from anonusers.limits import network_of, spend
from anonusers.models import AnonymousIdentity, Application, EndUser, Project, Session
from anonusers.sessions import open_session
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
    idempotency_key: IdempotencyKey | None = None,
    ip: str = "",
    user_agent: str = "",
) -> SignedUp:
    """A guest with a session of `kind`: the guest of the `current` session if there is one, else a new one.

    Raises: ApplicationTypeNotAllowed; UserIsRegular; and for a new guest AnonymousUsersDisabled,
    PublicSignupDisabled, RateLimited, SignupVetoed, IdempotencyKeyReused, IdempotencyKeySpent.
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
    spend("signup_per_ip", str(project.pk), network_of(ip))
    spend("signup_per_project", str(project.pk))

    secret = tokens.new_refresh_token(uuid.uuid4())
    try:
        with transaction.atomic():
            if idempotency_key:
                idempotency.claim(project, idempotency_key, secret)
            adapter.pre_create(project, application)
            sub = uuid.uuid4()
            end_user = EndUser(id=sub, project=project, user=adapter.create_guest(sub))
            session, _ = open_session(
                end_user=end_user,
                project=project,
                application=application,
                kind=kind,
                scope=scope,
                user_agent=user_agent,
                secret=secret,
                new_user=(end_user, AnonymousIdentity(end_user=end_user)),
            )
            events.emit(events.Event("user.created", end_user, session))
    except idempotency.Claimed:
        known = idempotency.recall(project, idempotency_key) if idempotency_key else None
        if known is None:
            raise IdempotencyKeySpent from None
        return _replay(known)
    return SignedUp(session, secret, created=True)


def _replay(secret: RefreshToken) -> SignedUp:
    """The first answer again. Once its token was rotated or its session ended, that answer would only do harm."""
    session = Session.objects.in_full().filter(pk=secret.session_id).first()
    if session is None or not session.is_live(timezone.now()) or not compare_digest(session.refresh_hash, secret.hash):
        raise IdempotencyKeySpent
    return SignedUp(session, secret, created=True)
