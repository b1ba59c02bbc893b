"""Signing keys: create, rotate, and the parsed ring of a project."""

from datetime import timedelta

from django.db import transaction
from django.db.models import F, Max
from django.utils import timezone

from anonusers.models import Application, Project, SigningKey
from anonusers.sealing import seal, unseal
from anonusers.tokens import KeyRing, generate_key, parse_key

PURPOSE = "signing-key"
ROTATED_BY_DEFAULT = (SigningKey.Algorithm.ES256, SigningKey.Algorithm.RS256)

# Rings by project, with the version they were built from. `Project.keys_version` is read with the project's row at
# each request, so a rotation in one process reaches all others at once and costs no statement.
_rings: dict[int, tuple[int, KeyRing]] = {}


def create_keys(project: Project) -> None:
    """The first keys of a project. Does nothing where there are some."""
    have = set(project.signing_keys.filter(retired_at=None).values_list("algorithm", flat=True))
    missing = [algorithm for algorithm in SigningKey.Algorithm if algorithm not in have]
    if missing:
        _add(project, missing)


def rotate_keys(
    project: Project, *, algorithms: tuple[str, ...] = ROTATED_BY_DEFAULT, at_once: bool = False
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
        return _add(project, algorithms)


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
    return added


def key_ring(project: Project) -> KeyRing:
    """The project's keys, parsed once per process and version.

    Raises: SealBroken when the encryption keys do not open them.
    """
    cached = _rings.get(project.pk)
    if cached and cached[0] == project.keys_version:
        return cached[1]
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
    _rings[project.pk] = (project.keys_version, ring)
    return ring


def key_ring_of(kid: str) -> KeyRing | None:
    """The ring that holds this key, without asking the database where this process has seen it."""
    for _version, ring in list(_rings.values()):
        if ring.find(kid):
            return ring
    row = SigningKey.objects.select_related("project").filter(kid=kid).first()
    return key_ring(row.project) if row else None


def last_known_ring(project_id: int) -> KeyRing | None:
    """The ring as this process saw it last, for the JWKS while the database is away."""
    cached = _rings.get(project_id)
    return cached[1] if cached else None
