"""The whole configuration of a project as one TOML file: read, compare, apply, export.

The file is the truth: a key that it leaves out has its default, an application that it leaves out goes. Which keys
there are stands in `project_keys`.
"""

import hashlib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from dataclasses import field as attribute
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any

import tomli_w
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction

from anonusers.errors import InvalidProjectFile, UnknownProject
from anonusers.keys import create_keys
from anonusers.models import Application, Project, ProjectDomain
from anonusers.networks import NETWORKS_MAX
from anonusers.project_keys import (
    APPLICATION,
    CHOICES,
    KINDS,
    MOST,
    PROJECT,
    REQUIRED,
    VALIDATORS,
    Keys,
    Values,
    below,
    check_realm_app,
    names_of,
)


@dataclass(frozen=True)
class ProjectFile:
    """A project's whole configuration, valid in itself; every key has a value."""

    path: str
    digest: str  # SHA-256 of the file's bytes, hexadecimal
    project: Mapping[str, Any]  # by model field; `domains` is sorted
    applications: tuple[Mapping[str, Any], ...]  # by model field, in the file's order


@dataclass(frozen=True)
class Change:
    """What applying a file does to one key, or to a whole application.

    `old` is None where it is added, `new` is None where it is removed.
    """

    key: str
    old: Any
    new: Any
    note: str = ""
    client_id: str | None = attribute(default=None, compare=False)  # the application's; None: the project's own
    column: str = attribute(default="", compare=False)  # the model's field; empty: the whole application
    sessions: int = attribute(default=0, compare=False)  # that go with an application

    def __str__(self) -> str:
        if self.new is None:
            return f"- {self.key}" + (f" ({self.note})" if self.note else "")
        if isinstance(self.new, Mapping):
            return "\n".join([f"+ {self.key}", *(f"    {key} = {_toml(value)}" for key, value in self.new.items())])
        if self.old is None:
            return f"+ {self.key} = {_toml(self.new)}"
        return f"~ {self.key}: {_toml(self.old)} -> {_toml(self.new)}"


@dataclass(frozen=True)
class Applied:
    """What applying a file has done. No changes: the database said the same before."""

    project: Project
    created: bool
    changes: tuple[Change, ...]


# Reading


def read_project_file(path: str | PathLike[str]) -> ProjectFile:
    """The file's configuration, checked, with defaults filled in. Does not ask the database.

    Raises: InvalidProjectFile, naming file, key and reason.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InvalidProjectFile(f"{path}: The file cannot be read: {error.strerror}.") from error
    return parse_project_file(content, str(path))


def parse_project_file(content: bytes, path: str) -> ProjectFile:
    """The same from a file's bytes; `path` is what errors call it.

    Raises: InvalidProjectFile
    """
    try:
        document = tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InvalidProjectFile(f"{path}: The file is not TOML in UTF-8: {error}.") from error

    tables = document.pop("applications", [])
    with _blaming(path):
        project = _project(document)
        if not isinstance(tables, list):
            raise ValidationError({"applications": "Write each application below a line [[applications]]."})
    applications: dict[str, Values] = {}
    for index, table in enumerate(tables):
        with _blaming(path, table):
            application = _application(table, f"applications[{index}]")
            if application["client_id"] in applications:
                raise ValidationError({f"applications[{index}].client_id": "Another application has it already."})
        applications[application["client_id"]] = application
    with _blaming(path):
        check_realm_app(project, applications)
    return ProjectFile(path, hashlib.sha256(content).hexdigest(), project, tuple(applications.values()))


def new_project_file(slug: str, path: str) -> ProjectFile:
    """A project of this id with every default. Raises: InvalidProjectFile"""
    return parse_project_file(tomli_w.dumps({"project": {"id": slug}}).encode(), path)


def with_values(
    project_file: ProjectFile, project: Mapping[str, Any], applications: Iterable[Mapping[str, Any]]
) -> ProjectFile:
    """A file that says this instead, by model field; what is left out has its default. Raises: InvalidProjectFile"""
    document = _tables(PROJECT, project) | {"applications": [_tables(APPLICATION, values) for values in applications]}
    return parse_project_file(tomli_w.dumps(document).encode(), project_file.path)


@contextmanager
def _blaming(path: str | PathLike[str], application: object = None) -> Iterator[None]:
    """Turns the first ValidationError, which is keyed by key of the file, into the domain's error."""
    try:
        yield
    except ValidationError as error:
        key, reasons = next(iter(error.message_dict.items()))
        client_id = application.get("client_id") if isinstance(application, Mapping) else None
        whose = f" (client_id {_toml(client_id)})" if isinstance(client_id, str) else ""
        raise InvalidProjectFile(f"{path}: {key}{whose}: {' '.join(reasons)}") from error


def _project(document: Mapping[str, Any]) -> Values:
    given = _given(document, PROJECT, Project)
    values = _filled(given, PROJECT, Project, defaults={"name": given.get("slug")})
    values["domains"].sort()  # their order means nothing, and the database keeps none
    if unknown := [name for name in values["verify"] if name not in values["login_ids"]]:
        raise ValidationError({"project.sign_in.verify": f"{_toml(unknown[0])} is not in login_ids."})
    if len(values["unlimited_networks"]) > NETWORKS_MAX:
        raise ValidationError({"project.limits.unlimited_networks": f"List at most {NETWORKS_MAX} networks."})
    row = Project(**{field: value for field, value in values.items() if field != "domains"})
    _clean(row, PROJECT, validate_unique=False, validate_constraints=False)
    return values


def _application(table: object, at: str) -> Values:
    given = _given(table, APPLICATION, Application, at)
    values = _filled(given, APPLICATION, Application, at, defaults={"name": given.get("client_id")})
    if "refresh_token_lifetime" not in given:
        # Else a long access token would need a second key beside it.
        values["refresh_token_lifetime"] = max(values["refresh_token_lifetime"], values["access_token_lifetime"])
    row = Application(**values)
    _clean(row, APPLICATION, at, exclude=["project"], validate_unique=False, validate_constraints=False)
    return values


def _given(table: object, keys: Keys, model: type[models.Model], at: str = "") -> Values:
    """The values that `table` gives, each of the right type."""
    if not isinstance(table, Mapping):
        raise ValidationError({at: "This must be a table."})
    values: Values = {}
    for key, value in table.items():
        where = below(at, key)
        match keys.get(key):
            case None:
                similar = get_close_matches(key, keys, 1)
                raise ValidationError({where: f"Unknown key.{f' Did you mean {similar[0]}?' if similar else ''}"})
            case str(field):
                _check_type(value, model._meta.get_field(field), where)
                values[field] = value
            case section:
                values |= _given(value, section, model, where)
    return values


def _check_type(value: object, field: Any, at: str) -> None:
    kind, name = next((kind, name) for fields, kind, name in KINDS if isinstance(field, fields))
    if type(value) is not kind:  # exactly: in Python, True is an int as well
        raise ValidationError({at: f"This must be {name}."})
    if type(value) is int and value > MOST.get(field.name, value):
        raise ValidationError({at: f"Ensure this value is less than or equal to {MOST[field.name]}."})
    if isinstance(value, str):
        _check_text(value, field, at)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_text(item, field, f"{at}[{index}]")
            if item in value[:index]:
                raise ValidationError({f"{at}[{index}]": f"{_toml(item)} stands here twice."})


def _check_text(value: object, field: Any, at: str) -> None:
    if not isinstance(value, str):
        raise ValidationError({at: "This must be a string."})
    if "\0" in value:  # PostgreSQL cannot store it
        raise ValidationError({at: "NUL characters are not allowed."})
    choices = CHOICES.get(field.name) or [choice for choice, _label in getattr(field, "choices", None) or ()]
    if choices and value not in choices:
        raise ValidationError({at: f"Use one of: {', '.join(map(_toml, choices))}."})
    try:
        VALIDATORS.get(field.name, str)(value)
    except ValidationError as error:
        raise ValidationError({at: [f"{_toml(value)}: {reason}" for reason in error.messages]}) from error
    except ValueError as error:  # among others, urlsplit() has its own opinion of brackets
        raise ValidationError({at: f"{_toml(value)}: {str(error).removesuffix('.')}."}) from error


def _filled(given: Values, keys: Keys, model: type[models.Model], at: str = "", *, defaults: Values) -> Values:
    """Every field's value: the given one, or its default."""
    values: Values = {}
    for field, key in names_of(keys, at).items():
        if field in REQUIRED and field not in given:
            raise ValidationError({key: "This key is required."})
        default: Any = getattr(model._meta.get_field(field), "get_default", list)()  # domains, rows of their own: []
        values[field] = given.get(field, defaults.get(field, getattr(default, "value", default)))
    return values


def _clean(row: models.Model, keys: Keys, at: str = "", **options: Any) -> None:
    """`row.full_clean()`, its errors keyed by key of the file."""
    try:
        row.full_clean(**options)
    except ValidationError as error:
        names = names_of(keys, at)
        problems = {names.get(field, at or "project"): reasons for field, reasons in error.message_dict.items()}
        raise ValidationError(problems) from error


def _toml(value: object) -> str:
    """A value on one line, as the file would have it: of these types, TOML and JSON agree."""
    return json.dumps(value, ensure_ascii=False)


# Comparing and applying


def difference(project_file: ProjectFile, *, sessions_up_to: int | None = None) -> list[Change]:
    """What applying the file would change in the database. Writes nothing. Counts no more sessions than told.

    Raises: InvalidProjectFile when it could not be applied.
    """
    project = _find(project_file.project["slug"])
    claimed = ProjectDomain.objects.filter(domain__in=project_file.project["domains"]).select_related("project")
    for domain in claimed:
        if domain.project != project:
            reason = f"{_toml(domain.domain)} belongs to the project {_toml(domain.project.slug)}."
            raise InvalidProjectFile(f"{project_file.path}: project.domains: {reason}")
    if app_id := project_file.project["realm_app_id"]:
        owner = Project.objects.filter(realm_app_id=app_id).first()
        if owner is not None and owner != project:
            reason = f"{_toml(app_id)} belongs to the project {_toml(owner.slug)}."
            raise InvalidProjectFile(f"{project_file.path}: project.realm.app_id: {reason}")

    rows = {row.client_id: row for row in project.applications.all()} if project else {}
    applications = {client_id: _values(row, APPLICATION) for client_id, row in rows.items()}
    changes = _compare(_values(project, PROJECT) if project else None, applications, project_file)
    return [
        _with_sessions(change, rows[change.client_id], sessions_up_to)
        if change.new is None and change.client_id is not None
        else change
        for change in changes
    ]


def _with_sessions(change: Change, application: Application, most: int | None) -> Change:
    sessions = application.sessions.all()[:most].count()
    return replace(change, note=f"and its sessions: {sessions}", sessions=sessions)


def compare(old: ProjectFile, new: ProjectFile) -> list[Change]:
    """What applying `new` changes where the database says `old`. Does not ask the database."""
    return _compare(old.project, {values["client_id"]: values for values in old.applications}, new)


def _compare(
    project: Mapping[str, Any] | None, applications: Mapping[str, Mapping[str, Any]], project_file: ProjectFile
) -> list[Change]:
    changes = _changes(names_of(PROJECT), project, project_file.project)
    wanted = {values["client_id"]: values for values in project_file.applications}
    for client_id in sorted(applications.keys() | wanted.keys()):
        key, old, new = f"applications[{_toml(client_id)}]", applications.get(client_id), wanted.get(client_id)
        if old and new:
            changes += _changes(names_of(APPLICATION, key), old, new, client_id)
        else:
            changes.append(Change(key, old, new, client_id=client_id))
    return changes


def apply_project_file(project_file: ProjectFile) -> Applied:
    """Make the database say what the file says, all of it or nothing. Applying it again writes nothing.

    Applications that the file does not list are removed, and their sessions with them. A new project gets its
    signing keys.

    Raises: InvalidProjectFile
    """
    try:
        return _apply(project_file)
    except IntegrityError:  # somebody created the same rows meanwhile; look again
        try:
            return _apply(project_file)
        except IntegrityError as error:
            reason = " ".join(str(error).split())
            raise InvalidProjectFile(f"{project_file.path}: project: The database refused it: {reason}") from error


@transaction.atomic
def _apply(project_file: ProjectFile) -> Applied:
    project = _find(project_file.project["slug"], for_update=True)
    changes = tuple(difference(project_file))
    if project and not changes and project.config_digest == project_file.digest:
        return Applied(project, created=False, changes=())
    return Applied(_write(project_file, project or Project()), created=not project, changes=changes)


def _find(slug: str, *, for_update: bool = False) -> Project | None:
    projects = Project.objects.filter(slug=slug)
    # MariaDB finds "Guestbook" for "guestbook", hence the second look.
    return next((row for row in (projects.select_for_update() if for_update else projects) if row.slug == slug), None)


def _changes(
    names: Mapping[str, str], old: Mapping[str, Any] | None, new: Mapping[str, Any], client_id: str | None = None
) -> list[Change]:
    return [
        Change(key, old[field] if old else None, new[field], client_id=client_id, column=field)
        for field, key in names.items()
        if not old or old[field] != new[field]
    ]


def _values(row: Project | Application, keys: Keys) -> Values:
    """What the database says, in the form that a file is read to."""
    values = {field: getattr(row, field) for field in names_of(keys)}
    if isinstance(row, Project):
        values["domains"] = sorted(row.domains.values_list("domain", flat=True))
    return values


def _write(project_file: ProjectFile, project: Project) -> Project:
    created = project._state.adding
    columns = {field: value for field, value in project_file.project.items() if field != "domains"}
    domains = project_file.project["domains"]
    with _blaming(project_file.path):
        _save(project, columns | {"config_digest": project_file.digest}, PROJECT)
        project.domains.exclude(domain__in=domains).delete()
        for domain in sorted(set(domains) - set(project.domains.values_list("domain", flat=True))):
            ProjectDomain.objects.create(project=project, domain=domain)
    if created:
        create_keys(project)

    rows = {row.client_id: row for row in project.applications.all()}
    for client_id in rows.keys() - {values["client_id"] for values in project_file.applications}:
        rows.pop(client_id).delete()
    for index, values in enumerate(project_file.applications):
        with _blaming(project_file.path, values):
            row = rows.get(values["client_id"]) or Application(project=project)
            _save(row, values, APPLICATION, f"applications[{index}]")
    return project


def _save(row: Project | Application, values: Mapping[str, Any], keys: Keys, at: str = "") -> None:
    """Write what differs, after asking the database as well whether it may be."""
    changed = {field: value for field, value in values.items() if getattr(row, field) != value}
    if row._state.adding or changed:
        for field, value in changed.items():
            setattr(row, field, value)
        _clean(row, keys, at)
        row.save(update_fields=None if row._state.adding else [*changed, "updated_at"])


# Exporting


def export_project(slug: str) -> str:
    """The project as the text of a file with every key; applying it changes nothing.

    Raises: UnknownProject
    """
    project = _find(slug)
    if project is None:
        raise UnknownProject(f"There is no project with the id {_toml(slug)}.")
    return document_of(project, project.applications.all())


def document_of(project: Project, applications: Iterable[Application]) -> str:
    """The text of a file that says what these rows say, saved or not."""
    rows = sorted(applications, key=lambda row: row.client_id)
    document = _tables(PROJECT, _values(project, PROJECT))
    document["applications"] = [_tables(APPLICATION, _values(row, APPLICATION)) for row in rows]
    return tomli_w.dumps(document)


def _tables(keys: Keys, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: values[target] if isinstance(target, str) else _tables(target, values)
        for key, target in keys.items()
        if not isinstance(target, str) or target in values
    }
