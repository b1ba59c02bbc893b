"""Device keys: prove that one is held, give a guest one, take it away; and the recovery code that moves a guest on.

A key belongs to one guest of a project and a guest has one key, by constraint. A key that leads to nobody any more
stays as a tombstone.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from anonusers import events, keypairs, onetime
from anonusers.errors import (
    GuestGone,
    InvalidToken,
    KeyExists,
    KeyProofRefused,
    KeyTaken,
    NotSignedIn,
    RecoveryCodeWrong,
    UnknownKey,
    UserDisabled,
    UserIsRegular,
)
from anonusers.keypairs import PublicKey, VerifiedRequest
from anonusers.models import (
    AnonymousIdentity,
    DeviceKey,
    EndUser,
    OneTimeToken,
    Project,
    Session,
    device_key_of,
    lock_end_user,
    note_key_use,
)
from anonusers.onetime import Issued

Purpose = OneTimeToken.Purpose
AMR = "pop"
"""RFC 8176: proof of possession of a key."""
RECOVERY_CODE_LENGTH = 16  # 80 bits


class Raced(Exception):
    """The key came into use, or out of it, between our look and our commit: look again."""


@dataclass(frozen=True)
class KeyProof:
    """Somebody holds the private half of this key. `row` is what is known of it, None for a key never seen before.

    Its challenge is not spent yet: that is for whoever acts on the proof, in the same transaction.
    """

    project: Project
    request: VerifiedRequest
    row: DeviceKey | None

    @property
    def guest(self) -> EndUser | None:
        return self.row.end_user if self.row else None

    def spend_challenge(self) -> None:
        """Raises: KeyProofRefused."""
        try:
            onetime.take(Purpose.ANONYMOUS_REQUEST, self.request.challenge, project=self.project)
        except InvalidToken:
            raise KeyProofRefused from None

    def bind_challenge(self) -> None:
        """Reserve it for what the key's guest is in the middle of; their promotion spends it.

        Raises: KeyProofRefused.
        """
        with transaction.atomic():
            # The guest's row first, as everybody does.
            guest = lock_end_user(self.guest.pk) if self.guest else None
            if guest is None:
                raise KeyProofRefused
            try:
                onetime.bind(Purpose.ANONYMOUS_REQUEST, self.request.challenge, project=self.project, end_user=guest)
            except InvalidToken:
                raise KeyProofRefused from None

    def new_row(self, end_user: EndUser) -> DeviceKey:
        """The key as a row that is still to be inserted."""
        now = timezone.now()
        return DeviceKey(
            project=self.project,
            end_user=end_user,
            key_id=self.request.key_id,
            algorithm=self.request.key.algorithm,
            jwk=dict(self.request.key.jwk),
            thumbprint=self.request.key.thumbprint,
            created_at=now,
            last_used_at=now,
        )

    def wake(self, end_user: EndUser) -> None:
        """The tombstone becomes the key of a new guest.

        Raises: Raced.
        """
        now = timezone.now()
        if self.row is None:
            raise Raced
        asleep = DeviceKey.objects.filter(pk=self.row.pk, end_user=None, revoked_at=None)
        if not asleep.update(end_user=end_user, retired_at=None, created_at=now, last_used_at=now):
            raise Raced

    def is_known_by_now(self) -> bool:
        """Whether this key is stored under another ID, or its ID with another key, or both this very moment."""
        same = Q(key_id=self.request.key_id) | Q(thumbprint=self.request.key.thumbprint)
        return DeviceKey.objects.filter(same, project=self.project).exists()


def issue_challenge(project: Project, purpose: str = Purpose.ANONYMOUS_REQUEST) -> Issued:
    """What a device signs next: 32 characters, five minutes, one use."""
    return onetime.issue(purpose, project=project, alphabet=onetime.CROCKFORD)


def prove(*, project: Project, signed_request: str, expected_action: str, expected_origin: str) -> KeyProof:
    """Check a signed request: the stored key verifies it, or the one that it brings where its ID was never seen.

    Raises: KeyProofRefused, whatever is wrong.
    """
    request = keypairs.read_signed_request(signed_request)
    row = device_key_of(project, key_id=request.unverified_key_id)
    key = request.unverified_key
    if row is not None:
        key = PublicKey(row.algorithm, row.jwk, row.thumbprint)
    if key is None:
        raise KeyProofRefused
    verified = keypairs.verify_signed_request(
        request,
        key=key,
        expected_action=expected_action,
        expected_origin=expected_origin,
        now=timezone.now(),
    )
    if row is not None and row.revoked_at is not None:
        raise KeyProofRefused
    proof = KeyProof(project, verified, row)
    if row is None and proof.is_known_by_now():
        if device_key_of(project, key_id=request.unverified_key_id) is None:
            raise KeyProofRefused  # the same key under another ID
        # Somebody was faster with it since we looked, most likely the same device.
        return prove(
            project=project,
            signed_request=signed_request,
            expected_action=expected_action,
            expected_origin=expected_origin,
        )
    return proof


def use(proof: KeyProof) -> EndUser:
    """The guest of a known key, in the caller's transaction and with the guest's row locked: either a promotion ends
    what is opened now, or it has retired the key before.

    Raises: KeyProofRefused, UserDisabled, Raced.
    """
    guest = proof.guest
    if guest is None or proof.row is None:
        raise Raced
    locked = lock_end_user(guest.pk)
    if locked is None:
        raise Raced
    if locked.quarantined_at is not None:
        EndUser.objects.filter(pk=locked.pk).update(quarantined_at=None)  # the clean-up was wrong about them
    if locked.disabled_at is not None or not getattr(guest.user, "is_active", True):
        raise UserDisabled
    proof.spend_challenge()
    if not note_key_use(proof.row, end_user=guest, now=timezone.now()):
        raise Raced
    return guest


def add_key(*, session: Session, signed_request: str, expected_origin: str) -> DeviceKey:
    """Give the guest of a session a key, so that they outlive the session.

    Raises: NotSignedIn, UserIsRegular, GuestGone, KeyExists, KeyTaken, KeyProofRefused.
    """
    proof = prove(
        project=session.project,
        signed_request=signed_request,
        expected_action="add_key",
        expected_origin=expected_origin,
    )
    with transaction.atomic():
        guest = _lock_guest_of(session)
        if DeviceKey.objects.filter(end_user=guest).exists():
            raise KeyExists
        proof.spend_challenge()
        row = insert_new(proof, guest)
        events.emit(events.Event("user.device_key.added", session.end_user, session, {"key_id": row.key_id}))
    return row


def list_keys(end_user: EndUser) -> list[DeviceKey]:
    return list(DeviceKey.objects.filter(end_user=end_user).order_by("-last_used_at"))


def remove_key(*, end_user: EndUser, key_id: str, keep_session: Session | None = None) -> None:
    """Take the key from its guest for good, and end the sessions that were opened with it: the device may be lost. A
    recovery code of before is worthless, too.

    Raises: UnknownKey, GuestGone.
    """
    with transaction.atomic():
        if lock_end_user(end_user.pk) is None:
            raise GuestGone
        row = next((key for key in list_keys(end_user) if key.key_id == key_id), None)
        if row is None:
            raise UnknownKey
        now = timezone.now()
        DeviceKey.objects.filter(pk=row.pk).update(end_user=None, retired_at=now, revoked_at=now)
        opened = Session.objects.filter(end_user=end_user, amr=AMR, ended_at=None)
        if keep_session is not None:
            opened = opened.exclude(pk=keep_session.pk)
        opened.update(ended_at=now)
        onetime.void_all(end_user)  # what the device may have asked for: it must not come back by a recovery code
        events.emit(events.Event("user.device_key.removed", end_user, keep_session, {"key_id": key_id}))


# --- recovery codes -------------------------------------------------------------------------------


@dataclass(frozen=True)
class RecoveryCode:
    """`code` is shown to the guest once, in groups of four."""

    code: str
    expires_at: datetime


def issue_recovery_code(*, session: Session) -> RecoveryCode:
    """A code that moves the guest to a new device, once, within a year. The one before is worthless.

    Raises: NotSignedIn, UserIsRegular, GuestGone.
    """
    with transaction.atomic():
        return new_recovery_code(_lock_guest_of(session), session.project)


def new_recovery_code(guest: EndUser, project: Project) -> RecoveryCode:
    """In the caller's transaction, which has made the guest's row, or locked it."""
    before = OneTimeToken.objects.filter(end_user=guest, purpose=Purpose.RECOVERY_CODE, used_at=None)
    before.update(used_at=timezone.now())
    issued = onetime.issue(
        Purpose.RECOVERY_CODE,
        project=project,
        end_user=guest,
        alphabet=onetime.CROCKFORD,
        length=RECOVERY_CODE_LENGTH,
    )
    groups = (issued.secret[start : start + 4] for start in range(0, RECOVERY_CODE_LENGTH, 4))
    return RecoveryCode("-".join(groups), issued.expires_at)


def look_at_recovery_code(code: str, *, host: str) -> OneTimeToken:
    """The row of a code as somebody typed it: letters that look like digits are those digits (Crockford).

    Raises: RecoveryCodeWrong.
    """
    typed = re.sub(r"[\s-]", "", code).upper().translate(str.maketrans("OIL", "011"))
    try:
        return onetime.look(Purpose.RECOVERY_CODE, typed, host=host)
    except InvalidToken:
        raise RecoveryCodeWrong from None


def move(token: OneTimeToken, proof: KeyProof) -> EndUser:
    """Spend a recovery code: its guest goes on with the key of this proof, and with nothing of before. In the caller's
    transaction.

    Raises: RecoveryCodeWrong, UserDisabled, KeyTaken, KeyProofRefused.
    """
    if token.end_user is None:
        raise RecoveryCodeWrong
    try:
        guest = _lock_guest(token.end_user)
        onetime.spend(token)
    except GuestGone:
        raise UserDisabled from None
    except (UserIsRegular, InvalidToken):
        raise RecoveryCodeWrong from None
    proof.spend_challenge()
    DeviceKey.objects.filter(end_user=guest).update(end_user=None, retired_at=timezone.now())
    row = insert_new(proof, guest)
    Session.objects.filter(end_user=guest, ended_at=None).update(ended_at=timezone.now())
    onetime.void_all(guest)
    events.emit(events.Event("user.device_key.added", token.end_user, details={"key_id": row.key_id}))
    return token.end_user


def insert_new(proof: KeyProof, guest: EndUser) -> DeviceKey:
    """Raises: KeyTaken."""
    if proof.row is not None:
        raise KeyTaken
    row = proof.new_row(guest)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        raise KeyTaken from None
    return row


def _lock_guest_of(session: Session) -> EndUser:
    """What is given here outlives the session, so it must not have ended while we waited for the lock: its guest may
    just have been moved away from whoever holds it.

    Raises: GuestGone, UserIsRegular, NotSignedIn.
    """
    locked = _lock_guest(session.end_user)
    if not Session.objects.filter(pk=session.pk, ended_at=None).exists():
        raise NotSignedIn
    return locked


def _lock_guest(end_user: EndUser) -> EndUser:
    """Raises: GuestGone, UserIsRegular."""
    locked = lock_end_user(end_user.pk)
    if locked is None or locked.disabled_at is not None or not getattr(end_user.user, "is_active", True):
        raise GuestGone
    if not AnonymousIdentity.objects.filter(pk=locked.pk).exists():
        raise UserIsRegular
    return locked
