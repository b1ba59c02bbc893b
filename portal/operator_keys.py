"""API keys of operators: with one of them a program signs in at the Admin API, and may what its operator may."""

import secrets
import string
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from anonusers import audit
from anonusers.tokens import secret_hash
from portal.access import is_operator
from portal.models import OperatorKey, OperatorToken

MOST = 20
"""Keys of one operator that are in use."""
NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class NewKey:
    """A key that was made now. `private_key` is shown once and is nowhere else."""

    row: OperatorKey
    private_key: str


def create_key(*, user: Any, name: str) -> NewKey:
    """A key of this operator.

    Raises: ValidationError, where there are too many.
    """
    with transaction.atomic():
        get_user_model()._default_manager.select_for_update().get(pk=user.pk)
        if OperatorKey.objects.filter(user=user, revoked_at=None).count() >= MOST:
            raise ValidationError(_("You have %d keys already. Revoke one first.") % MOST, code="full")
        private_key = str(uuid.UUID(bytes=secrets.token_bytes(16)))  # the tools expect parts between hyphens
        row = _insert(OperatorKey(user=user, name=name, private_hash=secret_hash(private_key)))
        _record("operator_key.created", row, user)
    return NewKey(row, private_key)


def _insert(row: OperatorKey) -> OperatorKey:
    for _attempt in range(5):
        row.public_key = "".join(secrets.choice(string.ascii_lowercase) for _letter in range(8))
        try:
            with transaction.atomic():
                row.save(force_insert=True)
                return row
        except IntegrityError:  # somebody has it
            continue
    raise RuntimeError("no public key is free")


def revoke_key(*, user: Any, pk: int) -> OperatorKey | None:
    """From now on the key and every token that was got with it are worth nothing; None where the operator has no such
    key in use."""
    with transaction.atomic():
        rows = OperatorKey.objects.filter(user=user, pk=pk, revoked_at=None)
        if not rows.update(revoked_at=timezone.now()):
            return None
        row = OperatorKey.objects.get(pk=pk)
        OperatorToken.objects.filter(key=row).delete()
        _record("operator_key.revoked", row, user)
    return row


def find_key(public_key: str, private_key: str, *, now: datetime | None = None) -> OperatorKey | None:
    """The key in use of an operator of now, with the operator."""
    row = OperatorKey.objects.select_related("user").filter(public_key=public_key, revoked_at=None).first()
    known = row.private_hash if row else ""
    if not compare_digest(secret_hash(private_key), known) or row is None:
        return None
    if row.public_key != public_key or not is_operator(row.user):  # MariaDB compares without regard to case
        return None
    now = now or timezone.now()
    unused = Q(last_used_at=None) | Q(last_used_at__lt=now - NOTED_EVERY)
    OperatorKey.objects.filter(unused, pk=row.pk).update(last_used_at=now)
    return row


def _record(type: str, row: OperatorKey, user: Any) -> None:
    # Of no project: it opens all of its operator's.
    audit.record("security", type, project=None, actor=user, target=f"key:{row.public_key}", changes={"name": row.name})
