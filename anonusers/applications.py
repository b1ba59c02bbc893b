"""Applications come and go: a new one gets a client ID of its own, a deleted one takes its sessions along."""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import router, transaction
from django.db.models import BooleanField, ExpressionWrapper, QuerySet
from django.utils import timezone

from anonusers import audit
from anonusers.models import Application, DailyCount, OneTimeToken, Project, Promotion, Session
from anonusers.models.projects import validate_redirect_uri
from anonusers.reach import live_sessions

COUNTED = 1_000
"""So many live sessions are counted; above, there are "more"."""
LOOKED_AT = 5_000
"""So many sessions are looked at for the count, dead ones among them."""
FOUND = 50_000
"""So many rows are looked for at a time."""
BATCH = 5_000
"""So many go in one statement."""
PATIENCE = 5.0
"""Seconds for which one call goes on deleting; somebody waits for a page."""


@dataclass(frozen=True)
class LiveSessions:
    number: int
    more: bool  # that many at least


@dataclass(frozen=True)
class Deletion:
    """`sessions` were removed by this call. Not `finished`: there are more, call again."""

    sessions: int
    finished: bool


def create_application(
    *,
    project: Project,
    name: str,
    type: str,
    framework: str = "",
    redirect_uris: Iterable[str] = (),
    post_logout_redirect_uris: Iterable[str] = (),
    actor: Any = None,
) -> Application:
    """A new application with a random client ID and the default lifetimes.

    Raises: ValidationError, keyed by field.
    """
    application = Application(
        project=project,
        client_id=secrets.token_hex(8),
        name=name,
        type=type,
        framework=framework,
        redirect_uris=list(redirect_uris),
        post_logout_redirect_uris=list(post_logout_redirect_uris),
    )
    application.full_clean()
    for uri in (*application.redirect_uris, *application.post_logout_redirect_uris):
        validate_redirect_uri(uri)
    with transaction.atomic():
        _lock(project)
        application.save()
        _record("application.created", application, actor)
    return application


def count_live_sessions(application: Application) -> LiveSessions:
    """How many sessions end with the application, without looking at all of them: one statement and the settings'."""
    live = ExpressionWrapper(live_sessions(application.project, timezone.now()), output_field=BooleanField())
    looked_at = Session.objects.filter(application=application).order_by("pk").annotate(live=live)
    seen = list(looked_at.values_list("live", flat=True)[: LOOKED_AT + 1])
    number = sum(map(bool, seen[:LOOKED_AT]))
    return LiveSessions(min(number, COUNTED), number > COUNTED or len(seen) > LOOKED_AT)


def delete_application(*, application: Application, actor: Any = None, patience: float = PATIENCE) -> Deletion:
    """Remove the application with its sessions and one-time tokens. Its people stay.

    Millions of sessions go in batches, each in a transaction of its own, for `patience` seconds a call; the application
    goes last, so that a deletion which was left off can be taken up again. Not to be called in a transaction.
    """
    until = time.monotonic() + patience
    sessions = 0
    for rows, dispose in _what_hangs_on(application):
        for keys in _batches(rows):
            disposed = dispose(rows.model, keys)
            sessions += disposed if rows.model is Session else 0
            if time.monotonic() > until:
                return Deletion(sessions, finished=False)
    with transaction.atomic():
        # The project before its applications, as everybody does who writes both.
        Project.objects.select_for_update().filter(pk=application.project_id).first()
        locked = Application.objects.select_for_update().filter(pk=application.pk).first()
        if locked is not None:  # else somebody else was faster
            sessions += locked.sessions.count()  # of who signed up in this very second
            _record("application.deleted", locked, actor)
            _let_go_of_realm_app(locked, actor)
            locked.delete()
    return Deletion(sessions, finished=True)


def _let_go_of_realm_app(application: Application, actor: Any) -> None:
    """Clients of Stitch and Realm come through this application, and find nothing without it."""
    app_id = application.client_id
    if Project.objects.filter(pk=application.project_id, realm_app_id=app_id).update(realm_app_id=""):
        audit.record(
            audit.Category.SETTINGS,
            "project.changed",
            project=application.project_id,
            actor=actor,
            target="project",
            changes={"realm_app_id": [app_id, ""]},
        )
        application.project.realm_app_id = ""


def _what_hangs_on(application: Application) -> list[tuple[QuerySet[Any], Callable[[type[Any], list[Any]], int]]]:
    models = ((Session, _remove), (OneTimeToken, _remove), (Promotion, _unlink), (DailyCount, _unlink))
    return [(model._base_manager.filter(application=application), dispose) for model, dispose in models]


def _remove(model: type[Any], keys: list[Any]) -> int:
    return int(model._base_manager.filter(pk__in=keys)._raw_delete(router.db_for_write(model)))


def _unlink(model: type[Any], keys: list[Any]) -> int:
    return int(model._base_manager.filter(pk__in=keys).update(application=None))


def _batches(rows: QuerySet[Any]) -> Iterator[list[Any]]:
    """Primary keys of rows that are still there, in no order: the database takes what it finds first. To look for many
    at once costs little more than to look for a few, for it passes by all that is gone."""
    while found := list(rows.values_list("pk", flat=True)[:FOUND]):
        for start in range(0, len(found), BATCH):
            yield found[start : start + BATCH]


def _lock(project: Project) -> None:
    """The origins of all applications stand in the project's row: whoever changes them takes turns."""
    Project.objects.select_for_update().get(pk=project.pk)


def _record(type: str, application: Application, actor: Any) -> None:
    facts = {"name": application.name, "type": application.type, "framework": application.framework}
    audit.record(
        audit.Category.SETTINGS,
        type,
        project=application.project,
        actor=actor,
        target=f"application:{application.client_id}",
        changes=facts,
    )
