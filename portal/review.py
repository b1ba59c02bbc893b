"""Changes that wait for review: kept in a draft, put into effect together, and taken back.

Whoever writes a project's settings locks the project's row first (`lock`), so that they queue instead of meeting
half-way. A draft is written only over the state that was read (`Draft.updated_at`).
"""

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import transaction
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from anonusers.audit import record
from anonusers.errors import InvalidProjectFile
from anonusers.models import Application, Project
from anonusers.project_file import (
    Change,
    apply_project_file,
    difference,
    document_of,
    export_project,
    parse_project_file,
)
from anonusers.realm_users import realm_app_of
from portal.models import Deployment, Draft

PROJECT = "project"
APPLICATION = "application:"

Row = TypeVar("Row", Project, Application, Project | Application)
SESSIONS_MOST = 10_000
"""So many sessions of an application may go with a roll back, which somebody waits for."""

Entries = dict[str, dict[str, Any]]  # column → {"old": …, "new": …}


class Refused(Exception):
    """Nothing was changed."""


class DraftChanged(Refused):
    """The draft is not the one that was looked at."""


class StoredChanged(Refused):
    """What is in effect is not what the draft was made from, or what was looked at."""


class NothingToDo(Refused):
    """There is nothing that differs."""


class Impossible(Refused):
    """The outcome would break a rule. `problems` say which."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__(*self.problems)


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """One value that waits in a draft. `old` was stored when it was drafted, `stored` is now."""

    target: str
    column: str
    old: Any
    new: Any
    stored: Any
    gone: bool  # the application is not there any more

    @property
    def conflicts(self) -> bool:
        """Whether somebody changed it past the draft."""
        return self.gone or self.stored != self.old


def target_of(row: Project | Application) -> str:
    """How drafts and the audit log name a row."""
    return f"{APPLICATION}{row.client_id}" if isinstance(row, Application) else PROJECT


def client_id_of(target: str) -> str | None:
    """The client ID of an application's target; None for the project's."""
    return target.removeprefix(APPLICATION) if target.startswith(APPLICATION) else None


def lock(project: Project) -> tuple[Project, Draft | None]:
    """The project's row and its draft as they are once everybody who came before has written. Begins a transaction."""
    row = get_object_or_404(Project.objects.select_for_update(), pk=project.pk)
    return row, Draft.objects.select_for_update().filter(project_id=project.pk).first()


# The draft


def overlay(row: Row, draft: Draft | None) -> Row:
    """A copy of `row` with what waits in the draft."""
    copied = copy.copy(row)
    for column, entry in (draft.changes.get(target_of(row), {}) if draft else {}).items():
        setattr(copied, column, entry["new"])
    return copied


def version_of(draft: Draft) -> str:
    """Names the state of a draft."""
    return draft.updated_at.isoformat()


def version_for(row: Project | Application, draft: Draft | None) -> str:
    """Names what a form of `row` was made from: the row, and what waits for it."""
    version = row.updated_at.isoformat()
    if draft is None:
        return version
    return f"{version}~{_digest(draft.changes.get(target_of(row), {}))}"


def keep(draft: Draft, row: Project | Application, wanted: Any, columns: Iterable[str], *, author: Any) -> int:
    """Put the values of `wanted` into the draft. What is in effect already leaves it.

    Returns: how many values of the draft are different now. Raises: DraftChanged
    """
    target = target_of(row)
    before: Entries = draft.changes.get(target, {})
    entries = dict(before)
    for column in columns:
        stored, new = getattr(row, column), getattr(wanted, column)
        if new == stored:
            entries.pop(column, None)
        elif column not in entries or entries[column]["new"] != new:
            entries[column] = {"old": stored, "new": new}
    changed = [column for column in before.keys() | entries.keys() if before.get(column) != entries.get(column)]
    if changed:
        _write(draft, {**draft.changes, target: entries}, author)
    return len(changed)


def discard(draft: Draft, *, target: str = "", column: str = "", author: Any, goes_on: bool = False) -> int:
    """Take everything, one target's changes, or one change out of the draft. `goes_on`: something else comes into it.

    Returns: how many changes went. Raises: DraftChanged
    """
    kept = {
        name: {key: entry for key, entry in entries.items() if target and (name != target or column not in ("", key))}
        for name, entries in draft.changes.items()
    }
    left = sum(map(len, kept.values()))
    gone = draft.count - left
    if gone or not target:
        _write(draft, kept, author, empties=not left and not goes_on)
    return gone


def taken_out(before: Mapping[str, Entries], after: Mapping[str, Entries]) -> dict[str, dict[str, list[Any]]]:
    """What left a draft, for the audit log: by target, column → `[drafted, what stays stored]`."""
    left: dict[str, dict[str, list[Any]]] = {}
    for target, entries in before.items():
        for column in entries.keys() - after.get(target, {}).keys():
            left.setdefault(target, {})[column] = [entries[column]["new"], entries[column]["old"]]
    return left


def rebase(draft: Draft, waiting: Iterable[Waiting], *, author: Any) -> None:
    """Take what is stored now for what the draft was made from. What is in effect already, or has no row, leaves it.

    Raises: DraftChanged
    """
    changes: dict[str, Entries] = {}
    for one in waiting:
        if not one.gone and one.stored != one.new:
            changes.setdefault(one.target, {})[one.column] = {"old": one.stored, "new": one.new}
    _write(draft, changes, author)


def _write(draft: Draft, changes: Mapping[str, Entries], author: Any, *, empties: bool = False) -> None:
    """`empties`: nothing is to be left in it, and a draft for one deployment has served its purpose."""
    kept = {target: entries for target, entries in changes.items() if entries}
    at = max(timezone.now(), draft.updated_at + timedelta(microseconds=1))  # a version never comes twice
    rows = Draft.objects.filter(pk=draft.pk, updated_at=draft.updated_at)
    beside = {} if empties else draft.beside
    if not rows.update(changes=kept, beside=beside, author=author.get_username()[:150], updated_at=at):
        raise DraftChanged
    draft.changes, draft.beside, draft.updated_at = kept, beside, at
    if draft.for_one_deployment and empties:
        Draft.objects.filter(pk=draft.pk).delete()


# Looking at it


def rows_of(project: Project, draft: Draft, *, for_update: bool = False) -> dict[str, Project | Application]:
    """The rows that the draft changes, by target. An application that is gone has none."""
    applications = project.applications.select_for_update() if for_update else project.applications.all()
    wanted = [client_id for target in draft.changes if (client_id := client_id_of(target)) is not None]
    found: dict[str, Project | Application] = {PROJECT: project}
    if wanted:
        found |= {target_of(row): row for row in applications.filter(client_id__in=wanted).order_by("name", "pk")}
    return {target: row for target, row in found.items() if target in draft.changes}


def list_waiting(draft: Draft, rows: Mapping[str, Project | Application]) -> list[Waiting]:
    """What waits, the project's own first."""
    order = [*rows, *sorted(draft.changes.keys() - rows.keys())]
    return [
        Waiting(
            target=target,
            column=column,
            old=entry["old"],
            new=entry["new"],
            stored=getattr(rows.get(target), column, None),
            gone=not hasattr(rows.get(target), column),
        )
        for target in order
        for column, entry in draft.changes[target].items()
    ]


def seen(draft: Draft, waiting: Iterable[Waiting]) -> str:
    """Names what a review showed: the draft, and the stored values beside it."""
    return f"{version_of(draft)}~{_digest([[one.target, one.column, one.gone, one.stored] for one in waiting])}"


def problems_of(project: Project, draft: Draft, rows: Mapping[str, Project | Application]) -> list[str]:
    """Which rules the project would break with the draft in effect, in words."""
    drafted = {target: overlay(row, draft) for target, row in rows.items()}
    problems: list[str] = []
    for row in drafted.values():
        try:
            row.full_clean(exclude=["project"], validate_unique=False, validate_constraints=False)
        except ValidationError as error:
            problems += [f"{row}: {reason}" for reason in _reasons(row, error)]
    if problems:
        return problems
    applications = [drafted.get(target_of(row), row) for row in project.applications.all()]
    whole = document_of(drafted.get(PROJECT, project), applications)  # type: ignore[arg-type]
    try:
        parse_project_file(whole.encode(), project.slug)
    except InvalidProjectFile as error:
        problems.append(error.message.removeprefix(f"{project.slug}: "))
    return problems


def _reasons(row: Project | Application, error: ValidationError) -> list[str]:
    fields = {field.name: str(capfirst(str(getattr(field, "verbose_name", "")))) for field in row._meta.get_fields()}
    return [
        f"{fields[name]}: {' '.join(reasons)}" if name in fields else " ".join(reasons)
        for name, reasons in error.message_dict.items()
    ]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


# Putting into effect


@transaction.atomic
def deploy(project: Project, *, author: Any, note: str = "", expected: str) -> Deployment:
    """Put the draft `expected` (a version) into effect, all of it or nothing, and empty it.

    Raises: DraftChanged, NothingToDo, StoredChanged, Impossible
    """
    project, draft = lock(project)
    if draft is None or version_of(draft) != expected:
        raise DraftChanged
    rows = rows_of(project, draft, for_update=True)
    waiting = list_waiting(draft, rows)
    if not waiting and not draft.beside:
        raise NothingToDo
    if any(one.conflicts for one in waiting):
        raise StoredChanged
    if problems := problems_of(project, draft, rows):
        raise Impossible(problems)
    before = export_project(project.slug)
    for target, row in rows.items():
        overlay(row, draft).save(update_fields=[*draft.changes[target], "updated_at"])
    if draft.beside:
        store_beside(project, draft.beside["columns"], actor=author)
    _write(draft, {}, author, empties=True)
    deployment = create_deployment(project, author=author, note=note, before=before)
    for target, entries in deployed(waiting).items():
        kind = "project" if target == PROJECT else "application"
        record("settings", f"{kind}.changed", project=project, actor=author, target=target, changes=entries)
    return deployment


def store_beside(project: Project, columns: Mapping[str, Any], *, actor: Any) -> None:
    """Store what an imported app directory brings beside settings: ids, and what is kept for an export."""
    app = realm_app_of(project)
    for column, value in columns.items():
        setattr(app, column, value)
    app.save(update_fields=[*columns])
    record("settings", "realm.imported", project=project, actor=actor, target=PROJECT)


def deployed(waiting: Iterable[Waiting]) -> dict[str, dict[str, list[Any]]]:
    """By target, what the audit log says of each column: `[old, new]`."""
    changes: dict[str, dict[str, list[Any]]] = {}
    for one in waiting:
        changes.setdefault(one.target, {})[one.column] = [one.stored, one.new]
    return changes


def create_deployment(
    project: Project, *, author: Any, note: str, before: str, rolled_back_to: int | None = None
) -> Deployment:
    """The record of changes that were just put into effect over the state `before`."""
    last = Deployment.objects.filter(project=project).order_by("-number").values_list("number", flat=True).first()
    deployment = Deployment.objects.create(
        project=project,
        number=(last or 0) + 1,
        author=author.get_username()[:150],
        note=note,
        before=before,
        after=export_project(project.slug),
        rolled_back_to=rolled_back_to,
    )
    facts = {"note": note} if note else {}
    if rolled_back_to is not None:
        facts["rolled_back_to"] = f"#{rolled_back_to}"
    target = f"deployment:{deployment.number}"
    record("settings", "deployment.created", project=project, actor=author, target=target, changes=facts)
    return deployment


# Taking back


@dataclass(frozen=True, kw_only=True)
class RollBack:
    """What restoring the state before a deployment would change now. `expected` names that state of now."""

    changes: list[Change]
    expected: str

    @property
    def sessions(self) -> int:
        """How many would go, with their applications."""
        return sum(change.sessions for change in self.changes)


def foresee(project: Project, deployment: Deployment, *, after: bool = False) -> RollBack:
    """Looks, and changes nothing. `after`: what the deployment made is restored instead. Raises: Impossible"""
    document = deployment.after if after else deployment.before
    try:
        wanted = parse_project_file(document.encode(), f"#{deployment.number}")
        if wanted.project["slug"] != project.slug:
            raise Impossible([_("The project had another id then.")])
        changes = difference(wanted, sessions_up_to=SESSIONS_MOST + 1)
    except InvalidProjectFile as error:
        raise Impossible([error.message]) from error
    if crowded := [change.client_id for change in changes if change.sessions > SESSIONS_MOST]:
        words = _("%(application)s would go, and has too many sessions to end them all at once. Delete it on its page.")
        raise Impossible([words % {"application": client_id} for client_id in crowded])
    return RollBack(changes=changes, expected=_digest(export_project(project.slug)))


@transaction.atomic
def roll_back(
    project: Project, number: int, *, author: Any, note: str = "", expected: str, after: bool = False
) -> Deployment:
    """Restore the state before deployment `number`, or `after` it, over the state `expected` (see `foresee`), as a new
    deployment.

    Applications that were not there then go with their sessions. A draft stays as it is.

    Raises: Deployment.DoesNotExist, StoredChanged, NothingToDo, Impossible
    """
    project, _draft = lock(project)
    deployment = Deployment.objects.get(project=project, number=number)
    foreseen = foresee(project, deployment, after=after)
    if foreseen.expected != expected:
        raise StoredChanged
    if not foreseen.changes:
        raise NothingToDo
    before = export_project(project.slug)
    try:
        document = deployment.after if after else deployment.before
        apply_project_file(parse_project_file(document.encode(), f"#{number}"))
    except InvalidProjectFile as error:
        raise Impossible([error.message]) from error
    rolled_back_to = None if after else number
    created = create_deployment(project, author=author, note=note, before=before, rolled_back_to=rolled_back_to)
    for (verb, target), facts in _told(foreseen.changes).items():
        record("settings", verb, project=project, actor=author, target=target, changes=facts)
    return created


def _told(changes: Iterable[Change]) -> dict[tuple[str, str], dict[str, Any]]:
    told: dict[tuple[str, str], dict[str, Any]] = {}
    for change in changes:
        kind = "project" if change.client_id is None else "application"
        target = PROJECT if change.client_id is None else f"{APPLICATION}{change.client_id}"
        if change.column:
            told.setdefault((f"{kind}.changed", target), {})[change.column] = [change.old, change.new]
        else:
            facts = dict(change.new or change.old)
            verb = "deleted" if change.new is None else "created"
            told[f"{kind}.{verb}", target] = {"name": facts["name"], "type": facts["type"]}
    return told
