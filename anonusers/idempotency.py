"""Remember the answer to a sign-up under the client's Idempotency-Key, so that a retry makes no second guest.

What is remembered leads to a session, so it is sealed with a key that the Idempotency-Key is a part of: neither the
database nor the server alone can read it.
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from hmac import compare_digest

from django.db import IntegrityError, transaction
from django.utils import timezone

from anonusers.errors import IdempotencyKeyReused, SealBroken
from anonusers.models import OneTimeToken, Project
from anonusers.sealing import seal, unseal
from anonusers.tokens import RefreshToken, parse_refresh_token, secret_hash

LIFETIME = timedelta(hours=24)


@dataclass(frozen=True)
class IdempotencyKey:
    """`fingerprint` says what was asked, by which client: the same key with another one is an error."""

    key: str
    fingerprint: str


class Claimed(Exception):
    """Another request holds this key."""


def claim(project: Project, key: IdempotencyKey, secret: RefreshToken) -> None:
    """Take the key for this transaction. A concurrent request with the same key waits here until we commit.

    Raises: Claimed.
    """
    try:
        with transaction.atomic():
            OneTimeToken.objects.create(
                project=project,
                purpose=OneTimeToken.Purpose.IDEMPOTENCY_KEY,
                token_hash=secret_hash(key.key),
                payload={
                    "fingerprint": secret_hash(key.fingerprint),
                    "answer": seal(json.dumps(str(secret)), purpose=_purpose(key)),
                },
                expires_at=timezone.now() + LIFETIME,
            )
    except IntegrityError:
        raise Claimed from None


def recall(project: Project, key: IdempotencyKey) -> RefreshToken | None:
    """The secret that was handed out under this key in the last 24 hours, or None.

    Raises: IdempotencyKeyReused.
    """
    remembered = OneTimeToken.objects.filter(
        project=project, purpose=OneTimeToken.Purpose.IDEMPOTENCY_KEY, token_hash=secret_hash(key.key)
    )
    row = remembered.first()
    if row is None:
        return None
    if row.expires_at <= timezone.now():
        remembered.filter(expires_at=row.expires_at).delete()
        return None
    if not compare_digest(row.payload["fingerprint"], secret_hash(key.fingerprint)):
        raise IdempotencyKeyReused
    try:
        return parse_refresh_token(json.loads(unseal(row.payload["answer"], purpose=_purpose(key))))
    except SealBroken:
        raise IdempotencyKeyReused from None


def _purpose(key: IdempotencyKey) -> str:
    return f"idempotency:{key.key}"
