"""A whole project file on its way into the draft: what it changes waits there, as far as a draft can hold it."""

import copy
from typing import Any

from django.db import transaction

from anonusers.audit import record
from anonusers.models import Application, Project
from anonusers.project_file import ProjectFile, difference
from anonusers.proposals import Proposed
from portal.models import Draft
from portal.realm import make_application
from portal.review import PROJECT, keep, lock, overlay, target_of


class Nobody:
    """Who drafts from the command line."""

    def get_username(self) -> str:
        return ""


@transaction.atomic
def propose(project: Project, project_file: ProjectFile, author: Any = None) -> Proposed:
    """Put what the file changes into the project's draft; the project collects changes from now on.

    The application of a Realm app is made at once where there is none: a client ID waits in no draft. It opens nothing
    of that door before the project names it. Left out is what a draft cannot hold: other applications as a whole,
    hosts, and the app ID of an application that is not there. Raises: DraftChanged, InvalidProjectFile
    """
    project, draft = lock(project)
    made = _make_realm_application(project, project_file, author)
    if draft is None:
        draft = Draft.objects.create(project=project)
        record("settings", "review.enabled", project=project, actor=author, target=PROJECT)
    rows: dict[str | None, Project | Application] = {None: project}
    rows |= {row.client_id: row for row in project.applications.all()}
    wanted: dict[str | None, dict[str, Any]] = {}
    left_out = []
    changes = difference(project_file)
    for change in changes:
        is_columns = change.column not in ("", "domains") and change.client_id in rows
        leads_nowhere = change.column == "realm_app_id" and change.new not in ("", *rows)
        if is_columns and not leads_nowhere:
            wanted.setdefault(change.client_id, {})[change.column] = change.new
        else:
            left_out.append(change)
    for client_id, columns in wanted.items():
        row, drafted = rows[client_id], overlay(rows[client_id], draft)
        told = {name: [old, new] for name, new in columns.items() if (old := getattr(drafted, name)) != new}
        changed = copy.copy(drafted)
        for column, new in columns.items():
            setattr(changed, column, new)
        if keep(draft, row, changed, columns, author=author or Nobody()):
            record("settings", "draft.changed", project=project, actor=author, target=target_of(row), changes=told)
    return Proposed(len(changes) - len(left_out), tuple(left_out), made)


def _make_realm_application(project: Project, project_file: ProjectFile, author: Any) -> tuple[str, ...]:
    app_id = project_file.project["realm_app_id"]
    new = {change.client_id for change in difference(project_file) if change.column == "" and change.new is not None}
    if app_id not in new:
        return ()
    make_application(project, actor=author, app_id=app_id)
    return (app_id,)
