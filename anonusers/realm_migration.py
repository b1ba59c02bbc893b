"""Tokens that MongoDB signed, and what becomes of them while accounts are moved here.

Nobody else has MongoDB's secret, so such a token proves nothing by its signature. What it shows is knowledge: the id
of an anonymous identity, whose tail of 24 random letters stood in the token, in the user's profile and in the exported
list of users, and nowhere else. That is decent evidence and no proof, so adoption is off unless somebody asks for it,
lasts until a moment that they set, works once for each guest, and is written to the audit log.

While the migration lasts nothing that MongoDB may have signed is refused for good: on a 401 the clients throw their
guest away, on "try again later" they keep it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from typing import Any, NoReturn

from django.db import transaction

from anonusers import audit
from anonusers.errors import InvalidToken, MigrationNotFinished, UserDisabled
from anonusers.models import (
    Application,
    EndUser,
    Project,
    Promotion,
    RealmIdentity,
    RealmUser,
    Session,
    lock_end_user,
)
from anonusers.sessions import open_session, touch
from anonusers.statements import unverified_claims
from anonusers.tokens import secret_hash

ANON_USER = "anon-user"
IDENTITY_ID = re.compile(r"[0-9a-f]{24}-[a-z]{24}", re.ASCII)
"""An id that cannot be guessed; what else may have been imported is no evidence."""
OBJECT_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)


@dataclass(frozen=True)
class _Claims:
    """What an unverified token says of itself. An empty text: nothing that could be right."""

    domain_id: str
    sub: str
    identity_id: str  # of an anonymous identity, in a refresh token that is not over; empty else


def foreign_refresh_token(project: Project | None, token: str, now: datetime) -> Session:
    """The session of this very token string: the one that it was exchanged for, or a new one if it may be adopted now.

    The clients of MongoDB keep their first refresh token for ever, so the session is bound to it: a second token that
    says the same leads nowhere. `project`: of the app that the path names; None where it names none.
    Raises: MigrationNotFinished while the project's migration lasts, else InvalidToken; UserDisabled for a token that
    is bound to a session.
    """
    claims = _claims(token, now)
    if (project := _project_of(project, claims)) is None:
        _refuse(None, now)
    if session := _bound(project, claims.sub, token, now):
        return session
    if project.realm_adopt_guests and is_open(project, now) and (session := _adopt(project, claims, token, now)):
        return session
    _refuse(project, now)


def foreign_session(project: Project | None, token: str, now: datetime) -> Session:
    """The same without adopting anybody: for whoever wants to log out. Raises: as foreign_refresh_token."""
    claims = _claims(token, now)
    project = _project_of(project, claims)
    session = _bound(project, claims.sub, token, now) if project else None
    return session or _refuse(project, now)


def foreign_access_token(project: Project | None, token: str, now: datetime) -> NoReturn:
    """An access token of MongoDB's is worth nothing here. Raises: MigrationNotFinished while the migration lasts; but
    InvalidToken where guests are adopted, so that the client comes with its refresh token, which is never refused for
    good as long as that lasts."""
    project = _project_of(project, _claims(token, now))
    if project is not None and project.realm_adopt_guests:
        raise InvalidToken
    _refuse(project, now)


def is_open(project: Project, now: datetime) -> bool:
    """Whether users are still being moved here."""
    until = project.realm_migration_ends_at
    return until is not None and now < until


def _refuse(project: Project | None, now: datetime) -> NoReturn:
    """Of an unknown user pool: whoever moves an app here may not have said yet which one is theirs."""
    projects = (
        [project]
        if project is not None
        else Project.objects.filter(deleted_at=None).exclude(realm_migration_until="").exclude(realm_app_id=None)
    )
    if any(is_open(one, now) for one in projects):
        raise MigrationNotFinished
    raise InvalidToken


def _claims(token: str, now: datetime) -> _Claims:
    """Raises: InvalidToken for what cannot be MongoDB's."""
    claims = unverified_claims(token)
    domain_id = _domain_id(claims)
    if not domain_id:
        raise InvalidToken
    return _Claims(domain_id, _object_id(claims.get("sub")), _identity_id(claims, now))


def _domain_id(claims: Mapping[str, Any]) -> str:
    """Tokens name it twice, for old and for new clients."""
    named = [claims[key] for key in ("baas_domain_id", "stitch_domainId") if key in claims]
    return _object_id(named[0]) if named and all(one == named[0] for one in named) else ""


def _identity_id(claims: Mapping[str, Any], now: datetime) -> str:
    named = [claims[key] for key in ("baas_identity", "stitch_ident") if key in claims]
    identity = named[0] if named and all(one == named[0] for one in named) else None
    if claims.get("typ") != "refresh" or not isinstance(identity, Mapping) or not _is_in_time(claims, now):
        return ""
    id = identity.get("id")
    if identity.get("provider_type") != ANON_USER or not isinstance(id, str) or not IDENTITY_ID.fullmatch(id):
        return ""
    return id


def _is_in_time(claims: Mapping[str, Any], now: datetime) -> bool:
    issued, expires, at = claims.get("iat"), claims.get("exp"), now.timestamp()
    return type(issued) is int and type(expires) is int and issued <= at < expires


def _object_id(value: Any) -> str:
    return value if isinstance(value, str) and OBJECT_ID.fullmatch(value) else ""


def _project_of(named: Project | None, claims: _Claims) -> Project | None:
    """The project whose user pool it is; None for one that nobody has, or that is not the `named` project's."""
    projects = Project.objects.filter(realm_app__domain_id=claims.domain_id, deleted_at=None)
    found = list(projects.exclude(realm_app_id=None)[:2])
    if len(found) != 1 or (named is not None and found[0].pk != named.pk):
        return None
    return found[0]


def _bound(project: Project, sub: str, token: str, now: datetime) -> Session | None:
    """The session that was opened for this token string. Raises: InvalidToken where it is over; UserDisabled."""
    if not sub:
        return None
    sessions = Session.objects.in_full().select_related("end_user__realm_user", "project__realm_app")
    session = sessions.filter(
        project=project,
        end_user__realm_user__project=project,
        end_user__realm_user__object_id=sub,
        end_user__realm_user__adopted_at__isnull=False,
        refresh_hash=secret_hash(token),
        kind=Session.Kind.TOKEN,
    ).first()
    if session is None:
        return None
    if session.ended_at is None and not _is_enabled(session.end_user):
        raise UserDisabled
    if not session.is_live(now):
        raise InvalidToken
    touch(session)
    return session


def _adopt(project: Project, claims: _Claims, token: str, now: datetime) -> Session | None:
    """A session of the guest whom the token names. None where anything does not match; nothing is changed then."""
    application = Application.objects.filter(project=project, client_id=project.realm_app_id).first()
    if application is None or not claims.sub or not claims.identity_id:
        return None
    identities = RealmIdentity.objects.filter(
        project=project, provider_type=ANON_USER, end_user__realm_user__object_id=claims.sub
    )
    known = identities.values_list("end_user_id", "identity_id")
    end_user_id = next((pk for pk, id in known if compare_digest(id, claims.identity_id)), None)
    if end_user_id is None:
        return None
    with transaction.atomic():
        end_user = lock_end_user(end_user_id)
        if end_user is None or not _may_come_back(end_user):
            return None
        imported = RealmUser.objects.filter(pk=end_user_id, project=project, object_id=claims.sub)
        # Whose UPDATE finds the row has adopted it.
        if not imported.filter(imported_at__isnull=False, adopted_at=None).update(adopted_at=now):
            return _bound(project, claims.sub, token, now)  # the same token, twice at once
        session, _ = open_session(end_user=end_user, project=project, application=application, kind=Session.Kind.TOKEN)
        Session.objects.filter(pk=session.pk).update(refresh_hash=secret_hash(token))
        audit.record(
            "security",
            "user.realm_token_adopted",
            project=project,
            end_user_id=end_user.pk,
            changes={"application": application.client_id},
        )
    return _bound(project, claims.sub, token, now)


def _may_come_back(end_user: EndUser) -> bool:
    """Still a guest, enabled, and nobody who has gone on as somebody else."""
    gone = Promotion.objects.filter(pk=end_user.pk).exists()
    return end_user.is_guest and _is_enabled(end_user) and not gone


def _is_enabled(end_user: EndUser) -> bool:
    return end_user.disabled_at is None and getattr(end_user.user, "is_active", True)
