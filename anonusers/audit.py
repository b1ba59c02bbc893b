"""The record of who did what. Use cases and doors call `record`; nobody edits what is written."""

import uuid
from typing import Any

from django.utils import timezone

from anonusers.models import AuditEvent, Project

Category = AuditEvent.Category


def record(
    category: str,
    type: str,
    *,
    project: Project | int | None,
    actor: Any = None,
    end_user_id: uuid.UUID | None = None,
    target: str = "",
    changes: dict[str, Any] | None = None,
) -> AuditEvent:
    """Write one event, in the transaction of what it tells.

    `type` is `noun.verb` in the past tense (`application.created`); `project` is a row or its key; `actor` is the
    operator's row of AUTH_USER_MODEL;
    `changes` maps a field to `[old, new]`, or names plain facts. Never pass a secret.
    """
    return AuditEvent.objects.create(
        category=category,
        type=type,
        project_id=project.pk if isinstance(project, Project) else project,
        actor=actor,
        actor_name=actor.get_username()[:150] if actor is not None else "",
        end_user_id=end_user_id,
        target=target[:200],
        changes=changes or {},
        created_at=timezone.now(),
    )


def forget(end_user_id: uuid.UUID) -> int:
    """A person was erased: their events keep what happened and when, under a pseudonym that nothing leads to."""
    return AuditEvent.objects.filter(end_user_id=end_user_id).update(end_user_id=uuid.uuid4(), target="", changes={})
