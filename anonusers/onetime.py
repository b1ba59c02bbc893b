"""Secrets that are good for one use: issue, look, consume. Exactly once is one conditional UPDATE whose row count
decides; the secret itself is never stored."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from anonusers.errors import InvalidToken
from anonusers.models import Application, EndUser, OneTimeToken, Project, project_id_at, spend_unbound
from anonusers.tokens import secret_hash

Purpose = OneTimeToken.Purpose

LIFETIMES = {
    Purpose.PROMOTION_CODE: timedelta(minutes=5),
    Purpose.AUTHORIZATION_CODE: timedelta(minutes=5),
    Purpose.APP_SESSION_TOKEN: timedelta(minutes=5),
    Purpose.PENDING_PROMOTION: timedelta(minutes=25),
    Purpose.PENDING_LOGIN: timedelta(minutes=25),
    Purpose.PENDING_LOGIN_ID: timedelta(minutes=25),
    Purpose.PASSWORD_RESET: timedelta(minutes=30),
    Purpose.REGISTRATION: timedelta(minutes=30),
    Purpose.ANONYMOUS_REQUEST: timedelta(minutes=5),
    Purpose.BIOMETRIC_REQUEST: timedelta(minutes=5),
    Purpose.APP2APP_REQUEST: timedelta(minutes=5),
    Purpose.RECOVERY_CODE: timedelta(days=365),
}
CHALLENGES = (Purpose.ANONYMOUS_REQUEST, Purpose.BIOMETRIC_REQUEST, Purpose.APP2APP_REQUEST)
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Base32 without the letters that look like others: for what people type, and for Authgear's challenges."""


@dataclass(frozen=True)
class Issued:
    """`secret` is handed out and forgotten; `token` is the row."""

    secret: str
    token: OneTimeToken

    @property
    def expires_at(self) -> datetime:
        return self.token.expires_at


def issue(
    purpose: str,
    *,
    project: Project,
    end_user: EndUser | None = None,
    application: Application | None = None,
    payload: dict[str, Any] | None = None,
    alphabet: str = ALPHABET,
    length: int = 32,
) -> Issued:
    """A new secret: 32 characters of 62 are 190 bits."""
    secret = "".join(secrets.choice(alphabet) for _ in range(length))
    token = OneTimeToken.objects.create(
        project=project,
        purpose=purpose,
        end_user=end_user,
        application=application,
        token_hash=secret_hash(secret),
        payload=payload or {},
        expires_at=timezone.now() + LIFETIMES[Purpose(purpose)],
    )
    return Issued(secret, token)


@contextmanager
def or_nothing(token: OneTimeToken) -> Iterator[None]:
    """A new row goes again when what it was made for fails. Not by a transaction: a mail server takes its time, and
    SQLite has one writer."""
    try:
        yield
    except BaseException:
        OneTimeToken.objects.filter(pk=token.pk).delete()
        raise


def look(purpose: str, secret: str, *, host: str) -> OneTimeToken:
    """The row of a secret that could still be consumed, with its user; nothing is spent.

    Raises: InvalidToken.
    """
    return _unspent(find(purpose, secret, host=host))


def look_in(purpose: str, secret: str, *, project: Project) -> OneTimeToken:
    """The same where the project is known by something else than its host.

    Raises: InvalidToken.
    """
    return _unspent(_in_full(purpose, secret).filter(project=project).first())


def _unspent(token: OneTimeToken | None) -> OneTimeToken:
    if token is None or token.used_at is not None or token.expires_at <= timezone.now():
        raise InvalidToken
    return token


def consume(purpose: str, secret: str, *, host: str) -> OneTimeToken:
    """Spend a secret. Of any number of callers exactly one gets its row.

    Raises: InvalidToken.
    """
    token = look(purpose, secret, host=host)
    return spend(token)


def spend(token: OneTimeToken) -> OneTimeToken:
    """Spend a row that was looked at.

    Raises: InvalidToken when somebody was faster, or it has expired meanwhile.
    """
    now = timezone.now()
    unspent = OneTimeToken.objects.filter(pk=token.pk, used_at=None, expires_at__gt=now)
    if not unspent.update(used_at=now):
        raise InvalidToken
    token.used_at = now
    return token


def take(purpose: str, secret: str, *, project: Project) -> None:
    """Spend a secret that nobody is bound to, without a look at its row: one statement, for hot paths.

    Raises: InvalidToken.
    """
    if not spend_unbound(purpose, secret_hash(secret), project=project, now=timezone.now()):
        raise InvalidToken


def bind(purpose: str, secret: str, *, project: Project, end_user: EndUser) -> None:
    """Reserve a secret for what one user is in the middle of: `void_all` spends it with the rest. Nobody else can take
    it any more; the same user may bind it again.

    Raises: InvalidToken.
    """
    mine = Q(end_user=None) | Q(end_user=end_user)
    unspent = OneTimeToken.objects.filter(
        project=project,
        purpose=purpose,
        token_hash=secret_hash(secret),
        used_at=None,
        expires_at__gt=timezone.now(),
    )
    if not unspent.filter(mine).update(end_user=end_user):
        raise InvalidToken


def once(purpose: str, value: str, *, project: Project, until: datetime) -> None:
    """Note a value that somebody else made up; good for one use until then.

    Raises: InvalidToken when it was noted before.
    """
    try:
        with transaction.atomic():
            OneTimeToken.objects.create(
                project=project,
                purpose=purpose,
                token_hash=secret_hash(value),
                expires_at=until,
                used_at=timezone.now(),
            )
    except IntegrityError:
        raise InvalidToken from None


def void_all(end_user: EndUser) -> None:
    """Spend everything that was ever issued for a user: promotion, or a changed password."""
    unspent = OneTimeToken.objects.filter(end_user=end_user, used_at=None).filter(~Q(purpose=Purpose.IDEMPOTENCY_KEY))
    # What they stood for goes, too: a pending promotion holds the hash of a password.
    unspent.update(used_at=timezone.now(), payload={})


def find(purpose: str, secret: str, *, host: str) -> OneTimeToken | None:
    """The row of a secret, spent or expired as it may be: a second use may have to undo what the first one gave."""
    return _in_full(purpose, secret).filter(project_id=project_id_at(host)).first()


def _in_full(purpose: str, secret: str) -> "QuerySet[OneTimeToken]":
    rows = OneTimeToken.objects.select_related(
        "project", "application", "end_user__user", "end_user__anonymous_identity"
    )
    return rows.filter(purpose=purpose, token_hash=secret_hash(secret))
