"""Signing keys: create, rotate, and the parsed ring of a project."""

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Max
from django.utils import timezone

from anonusers import audit
from anonusers.models import Application, Project, SigningKey
from anonusers.sealing import seal, unseal
from anonusers.tokens import KeyRing, generate_key, parse_key

PURPOSE = "signing-key"
ROTATED_BY_DEFAULT = (SigningKey.Algorithm.ES256, SigningKey.Algorithm.RS256)

# Rings by project, with the version they were built from. `Project.keys_version` is read with the project's row at
# each request, so a rotation in one process reaches all others at once and costs no statement.
_rings: dict[int, "KnownRing"] = {}

TRUSTED_FOR = 60.0
"""Seconds for which a ring is used without asking for the project's row, where bearer tokens are not looked up."""


@dataclass(frozen=True)
class KnownRing:
    version: int
    ring: KeyRing
    asked_at: float  # time.monotonic()


def create_keys(project: Project) -> None:
    """The first keys of a project. Does nothing where there are some."""
    have = set(project.signing_keys.filter(retired_at=None).values_list("algorithm", flat=True))
    missing = [algorithm for algorithm in SigningKey.Algorithm if algorithm not in have]
    if missing:
        _add(project, missing)


def rotate_keys(
    project: Project, *, algorithms: tuple[str, ...] = ROTATED_BY_DEFAULT, at_once: bool = False, actor: Any = None
) -> list[SigningKey]:
    """New keys sign from now on. The old ones verify, and stay in the JWKS, until no token of theirs can live.

    `at_once` drops the old keys immediately: for a key that leaked. It ends every access token they signed.
    Returns the new keys.
    """
    with transaction.atomic():
        project = Project.objects.select_for_update().get(pk=project.pk)
        old = project.signing_keys.filter(algorithm__in=algorithms)
        if at_once:
            old.delete()
        else:
            old.filter(retired_at=None).update(retired_at=timezone.now())
            longest = Application.objects.filter(project=project).aggregate(seconds=Max("access_token_lifetime"))[
                "seconds"
            ]
            # An opaque token's and an ID token's life are not longer than that; an hour for clocks and caches.
            overlap = timedelta(seconds=(longest or 0) + 3600)
            project.signing_keys.filter(retired_at__lt=timezone.now() - overlap).delete()
        added = _add(project, algorithms)
        facts = {"new": [f"{key.algorithm} {key.kid}" for key in added], "at_once": at_once}
        audit.record(audit.Category.SECURITY, "keys.rotated", project=project, actor=actor, changes=facts)
        return added


def _add(project: Project, algorithms: "list[SigningKey.Algorithm] | tuple[str, ...]") -> list[SigningKey]:
    added = []
    for algorithm in algorithms:
        private = generate_key(algorithm)
        added.append(
            SigningKey.objects.create(
                kid=parse_key(algorithm, private).kid,
                project=project,
                algorithm=algorithm,
                private_key=seal(private, purpose=PURPOSE),
            )
        )
    Project.objects.filter(pk=project.pk).update(keys_version=F("keys_version") + 1)
    project.refresh_from_db(fields=["keys_version"])
    _rings.pop(project.pk, None)
    return added


def key_ring(project: Project) -> KeyRing:
    """The project's keys, parsed once per process and version.

    Raises: SealBroken when the encryption keys do not open them.
    """
    known = _rings.get(project.pk)
    if known and known.version == project.keys_version:
        return known.ring
    ring = KeyRing(
        tuple(
            parse_key(
                row.algorithm,
                unseal(row.private_key, purpose=PURPOSE),
                retired=row.retired_at is not None,
            )
            for row in project.signing_keys.order_by("-created_at", "kid")
        )
    )
    _rings[project.pk] = KnownRing(project.keys_version, ring, time.monotonic())
    return ring


def key_ring_of(kid: str) -> KeyRing | None:
    """The ring that holds this key. The database is asked once a minute, so that a key that leaked and was dropped
    does not verify for ever in a process that never hears of it."""
    for known in list(_rings.values()):
        if known.ring.find(kid) and time.monotonic() - known.asked_at < TRUSTED_FOR:
            return known.ring
    row = SigningKey.objects.select_related("project").filter(kid=kid).first()
    if row is None:
        return None
    ring = key_ring(row.project)
    _rings[row.project_id] = KnownRing(row.project.keys_version, ring, time.monotonic())
    return ring


def last_known_ring(project_id: int) -> KeyRing | None:
    """The ring as this process saw it last, for the JWKS while the database is away."""
    known = _rings.get(project_id)
    return known.ring if known else None
