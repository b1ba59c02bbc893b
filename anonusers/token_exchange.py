"""A session vouches for another one of its person, at an application whose clients speak another dialect (RFC 8693).

Each door finds the session of the other's access token, and mints its own tokens for the new one.
"""

from django.db import transaction

from anonusers.errors import (
    AnonymousUsersDisabled,
    ApplicationTypeNotAllowed,
    GuestGone,
    InvalidToken,
    UserDisabled,
)
from anonusers.limits import network_of, spend
from anonusers.models import Application, Session, lock_end_user
from anonusers.sessions import end_sessions_of_before, open_session
from anonusers.tokens import RefreshToken


def exchange_session(
    *,
    subject: Session,
    application: Application,
    scope: str = "",
    full_access: str = "",
    ip: str = "",
    user_agent: str = "",
    device: dict[str, str] | None = None,
    dpop_jkt: str = "",
    dpop_jti: str = "",
    secret: RefreshToken | None = None,
) -> tuple[Session, RefreshToken]:
    """A new session of the person of `subject`, whose access token was just found good; that one goes on.

    It may do no more: a `subject` with a scope needs the word for `full_access`, and what is bound to a DPoP key stays
    bound to it. It is no younger either: `auth_time` and `amr` are the subject's. Raises: ApplicationTypeNotAllowed,
    AnonymousUsersDisabled, RateLimited, UserDisabled, GuestGone; InvalidToken, also for another project's.
    """
    project = application.project
    if not application.may_have_guests:
        raise ApplicationTypeNotAllowed
    if subject.project_id != project.pk or subject.kind != Session.Kind.TOKEN:
        raise InvalidToken
    if subject.scope and full_access not in subject.scope.split():
        raise InvalidToken  # a client that was given little must not have more made of it
    if subject.dpop_jkt and subject.token_settings.dpop_enabled and dpop_jkt != subject.dpop_jkt:
        raise InvalidToken  # else a stolen access token would become a refresh token of the thief's
    if subject.end_user.is_guest and not project.anonymous_users_enabled:
        raise AnonymousUsersDisabled
    # Each opens a session: nobody needs many of them a minute.
    spend("login_per_ip", project.slug, network_of(ip))
    spend("login_per_account_and_ip", project.slug, str(subject.end_user_id), network_of(ip))
    with transaction.atomic():
        # Promotion takes the same lock and ends every session: one that is opened from a stolen token after that would
        # come along with the regular user.
        locked = lock_end_user(subject.end_user_id)
        if locked is None:
            raise GuestGone
        if locked.disabled_at is not None:
            raise UserDisabled
        if not Session.objects.filter(pk=subject.pk, ended_at=None).exists():
            raise InvalidToken
        end_sessions_of_before(end_user=subject.end_user, application=application)
        return open_session(
            end_user=subject.end_user,
            project=project,
            application=application,
            kind=Session.Kind.TOKEN,
            scope=scope,
            authenticated_at=subject.auth_time,
            amr=subject.amr,
            user_agent=user_agent,
            device=device,
            dpop_jkt=dpop_jkt,
            dpop_jti=dpop_jti,
            secret=secret,
        )
