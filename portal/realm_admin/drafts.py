"""Drafts and deployments, as the Admin API names those of the portal."""

import re
from typing import Any

from django.db import transaction

from anonusers.audit import record
from anonusers.models import Project
from anonusers.models.realm import new_object_id
from anonusers.project_file import Change
from portal.changes import key_of
from portal.models import Deployment, Draft
from portal.realm_admin.wire import Refusal, not_found
from portal.review import (
    DraftChanged,
    Impossible,
    NothingToDo,
    Refused,
    StoredChanged,
    client_id_of,
    deploy,
    discard,
    foresee,
    list_waiting,
    lock,
    roll_back,
    rows_of,
    taken_out,
    version_of,
)

NO_HOSTING: dict[str, list[str]] = {"added": [], "deleted": [], "modified": []}
LISTED = 100


def has_something(draft: Draft) -> bool:
    return bool(draft.for_one_deployment or draft.count or draft.beside)


def list_drafts(project: Project) -> list[dict[str, Any]]:
    """The project's one draft, if something waits in it or a tool has opened it."""
    draft = Draft.objects.filter(project=project).first()
    return [{"_id": draft.object_id}] if draft is not None and has_something(draft) else []


def open_draft(project: Project) -> dict[str, Any]:
    """Changes are collected from now on, for one deployment unless they are anyway.

    Raises: Refusal, where something waits already.
    """
    with transaction.atomic():
        project, draft = lock(project)
        if draft is not None and has_something(draft):
            raise Refusal(409, "DraftAlreadyExists", "a draft already exists")
        if draft is None:
            draft = Draft.objects.create(project=project, for_one_deployment=True)
        else:
            draft.object_id = new_object_id()
            draft.save(update_fields=["object_id"])
    return {"_id": draft.object_id}


def find_draft(project: Project, draft_id: str) -> Draft:
    """Raises: Refusal"""
    draft = Draft.objects.filter(project=project, object_id=draft_id).first()
    if draft is None:
        raise not_found("draft", "DraftNotFound")
    return draft


def drop_draft(project: Project, draft_id: str, *, actor: Any) -> None:
    """Everything leaves the draft. Raises: Refusal"""
    with transaction.atomic():
        project, _draft = lock(project)
        draft = find_draft(project, draft_id)
        before = draft.changes
        discard(draft, author=actor)
        for target, facts in taken_out(before, draft.changes).items():
            record("settings", "draft.discarded", project=project, actor=actor, target=target, changes=facts)


def differences(project: Project, draft: Draft) -> dict[str, Any]:
    """What waits, line by line."""
    lines = []
    for one in list_waiting(draft, rows_of(project, draft)):
        client_id = client_id_of(one.target)
        key = key_of(one.target, one.column)
        where = key if client_id is None else f'applications["{client_id}"].{key}'
        gone = " (gone)" if one.gone else " (changed meanwhile)" if one.conflicts else ""
        lines.append(f"{Change(where, one.stored, one.new)}{gone}")
    lines += draft.beside.get("lines", [])
    return {"diffs": lines, "hosting_files_diff": NO_HOSTING}


def deploy_draft(project: Project, draft_id: str, *, actor: Any) -> dict[str, Any]:
    """All of the draft, or nothing. Raises: Refusal"""
    draft = find_draft(project, draft_id)
    try:
        return render_deployment(deploy(project, author=actor, expected=version_of(draft)))
    except NothingToDo:
        # Not what somebody has put into it at this moment.
        Draft.objects.filter(pk=draft.pk, for_one_deployment=True, updated_at=draft.updated_at).delete()
        return {"_id": draft_id, "status": "successful", "status_error_message": ""}
    except Refused as refused:
        raise refusal_of(refused) from None


def refusal_of(refused: Refused) -> Refusal:
    """Why nothing was changed."""
    if isinstance(refused, Impossible):
        return Refusal(400, "BadRequest", " ".join(refused.problems))
    if isinstance(refused, StoredChanged):
        return Refusal(409, "BadRequest", "settings were changed meanwhile: discard the draft and import again")
    if isinstance(refused, DraftChanged):
        return Refusal(409, "BadRequest", "the draft was changed meanwhile")
    return Refusal(409, "BadRequest", "there is nothing to change")


def list_deployments(project: Project) -> list[dict[str, Any]]:
    """The newest first."""
    rows = Deployment.objects.filter(project=project).defer("before", "after").order_by("-number")
    return [render_deployment(row) for row in rows[:LISTED]]


def find_deployment(project: Project, deployment_id: str) -> Deployment:
    """Raises: Refusal"""
    number = int(deployment_id, 16) if re.fullmatch(r"0{16}[0-9a-f]{8}", deployment_id, re.ASCII) else 0
    # Beyond 31 bits no column holds a number.
    found = Deployment.objects.filter(project=project, number=number).first() if 0 < number < 2**31 else None
    if found is None:
        raise not_found("deployment", "DeploymentNotFound")
    return found


def render_deployment(row: Deployment) -> dict[str, Any]:
    """Ours are done when they are there."""
    return {
        "_id": f"{row.number:024x}",
        "status": "successful",
        "status_error_message": "",
        "deployed_at": int(row.created_at.timestamp()),
        "origin": row.author,
        "commit": row.note,
    }


def redeploy(project: Project, deployment: Deployment, *, actor: Any) -> None:
    """What a deployment made is in effect again, as a new one. Raises: Refusal"""
    try:
        foreseen = foresee(project, deployment, after=True)
        if foreseen.sessions:
            raise Refusal(409, "BadRequest", "people would be signed out by this: roll back in the portal")
        note = f"#{deployment.number}"
        roll_back(project, deployment.number, author=actor, note=note, expected=foreseen.expected, after=True)
    except NothingToDo:
        return
    except Refused as refused:
        raise refusal_of(refused) from None
