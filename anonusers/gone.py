"""Whether a genuine access token that leads to no session is about somebody who was removed."""

from hmac import compare_digest
from typing import NoReturn

from django.utils import timezone

from anonusers import tokens
from anonusers.dpop import DPoPProof
from anonusers.errors import DPoPProofRefused, GuestGone, InvalidToken
from anonusers.keys import key_ring
from anonusers.models import EndUser, project_at


def refuse_without_session(
    *, host: str, origin: str, token: str, proof: DPoPProof | DPoPProofRefused | None
) -> NoReturn:
    """After a look for the session of an access token that found none: was its user removed, guest or regular?

    Only a JWT can tell. Its signature proves that it was made here, it is in time, and it says whom it is about; so
    whoever holds it learns nothing of anybody else. All else stays an invalid token: an opaque access token names a
    session only, and a refresh token or a cookie is known by a hash that went with its row, so that one whose user was
    removed looks like one that never was.

    Two statements, none of them for a token that leads to a session. Raises: GuestGone; InvalidToken.
    """
    project = project_at(host) if token.count(".") == 2 else None
    if project is None:
        raise InvalidToken
    claims = tokens.read_access_token(key_ring(project), token, origin=origin, now=timezone.now())
    if claims.bound != (proof is not None):
        raise InvalidToken
    if proof is not None and not _is_by(proof, claims):
        raise InvalidToken
    if EndUser.objects.filter(pk=claims.sub or "").exists():
        raise InvalidToken  # only the session is over
    raise GuestGone


def _is_by(proof: DPoPProof | DPoPProofRefused, claims: tokens.AccessClaims) -> bool:
    return isinstance(proof, DPoPProof) and compare_digest(proof.thumbprint, claims.raw["cnf"]["jkt"])
