"""What differs, in the words of the settings' forms: for the review, for deployments, and beside drafted fields."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django import forms
from django.core.exceptions import FieldDoesNotExist
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from anonusers import project_keys
from anonusers.models import Application, Project
from anonusers.project_file import Change
from anonusers.project_keys import names_of
from portal import durations
from portal.durations import grouped, in_words_and_seconds
from portal.fields import BudgetField, DaysField, NumberField, SecondsField
from portal.forms import SettingsForm
from portal.frameworks import label_of
from portal.models import Draft
from portal.retention import in_days, limit_in_words, server_default
from portal.review import PROJECT, Waiting, client_id_of, target_of

Model = type[Project] | type[Application]
SUMMARY = ("type", "name", "redirect_uris")
"""What is said of an application that comes or goes as a whole."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One value that differs. `old` and `new` are the items of a value in words; `key` is the project file's."""

    target: str
    column: str
    label: str
    key: str
    old: list[str]
    new: list[str]
    conflicts: bool = False
    gone: bool = False
    drafted_from: list[str] | None = None

    @property
    def removed(self) -> list[str]:
        """What is shown as going: of a list, what the other one has not got; all of it where only the order differs."""
        return [item for item in self.old if item not in self.new] if self._is_plain else self.old

    @property
    def added(self) -> list[str]:
        """What is shown as coming."""
        return [item for item in self.new if item not in self.old] if self._is_plain else self.new

    @property
    def unchanged(self) -> int:
        """How many items of a list are not shown."""
        return len(self.old) - len(self.removed)

    @property
    def key_parts(self) -> list[str]:
        """Between them a line may break."""
        return self.key.split(".")

    @property
    def _is_plain(self) -> bool:
        shared = [item for item in self.old if item in self.new]
        return set(self.old) != set(self.new) and shared == [item for item in self.new if item in self.old]


@dataclass(frozen=True, kw_only=True)
class Group:
    """What differs in the project itself, or in one application."""

    target: str
    client_id: str | None  # None: the project's own
    name: str
    lines: list[Line]
    state: str = ""  # "created" or "removed": an application as a whole
    sessions: int = 0
    pk: int | None = None  # of the application, where it is there


def groups_of_draft(waiting: Iterable[Waiting], rows: Mapping[str, Project | Application]) -> list[Group]:
    """What waits for review."""
    lines: dict[str, list[Line]] = {}
    for one in waiting:
        line = _line(one.target, one.column, one.stored, one.new)
        if one.gone:
            line = replace(line, old=[])
        if one.conflicts:
            was = in_words(_model_of(one.target), one.column, one.old)
            line = replace(line, conflicts=True, gone=one.gone, drafted_from=was)
        lines.setdefault(one.target, []).append(line)
    return [_group(target, found, rows.get(target)) for target, found in lines.items()]


def groups_of_changes(changes: Iterable[Change], applications: Iterable[Application] = ()) -> list[Group]:
    """What a project file changes; the names of `applications` are known."""
    rows: dict[str, Project | Application] = {target_of(row): row for row in applications}
    found: dict[str, Group] = {}
    for change in changes:
        target = PROJECT if change.client_id is None else f"application:{change.client_id}"
        if change.column:
            group = found.setdefault(target, _group(target, [], rows.get(target)))
            group.lines.append(_line(target, change.column, change.old, change.new))
        else:
            found[target] = _whole(change, target, rows.get(target))
    return list(found.values())


def _whole(change: Change, target: str, row: Any) -> Group:
    old, new = (dict(values) if values else {} for values in (change.old, change.new))
    lines = [_line(target, column, old.get(column), new.get(column)) for column in SUMMARY]
    lines = [replace(line, old=line.old if old else [], new=line.new if new else []) for line in lines]
    state = "created" if change.new else "removed"
    named = replace(_group(target, lines, row), state=state, sessions=change.sessions)
    return replace(named, name=str((new or old).get("name", named.name)))


def _group(target: str, lines: list[Line], row: Any) -> Group:
    client_id = client_id_of(target)
    name = _("Project") if client_id is None else row.name if row else client_id
    return Group(
        target=target, client_id=client_id, name=name, lines=lines, pk=row.pk if row and client_id is not None else None
    )


def _line(target: str, column: str, old: Any, new: Any) -> Line:
    model = _model_of(target)
    return Line(
        target=target,
        column=column,
        label=label_for(model, column),
        key=key_of(target, column),
        old=in_words(model, column, old),
        new=in_words(model, column, new),
    )


def _model_of(target: str) -> Model:
    return Project if client_id_of(target) is None else Application


# Words


def key_of(target: str, column: str) -> str:
    """What the project file calls a column; what is not in the file goes by its own name."""
    keys = project_keys.PROJECT if client_id_of(target) is None else project_keys.APPLICATION
    return names_of(keys).get(column, column)


def label_for(model: Model, column: str) -> str:
    """What the portal calls a column."""
    field = _form_field(model, column)
    if field is not None and field.label:
        return str(field.label)
    known = {"domains": _("Hosts"), "type": _("Type"), "client_id": _("Client ID")}
    if column in known:
        return known[column]
    try:
        return str(capfirst(str(getattr(model._meta.get_field(column), "verbose_name", column))))
    except FieldDoesNotExist:
        return column


def in_words(model: Model, column: str, value: Any) -> list[str]:
    """A value of a column as its form would say it; a list item by item."""
    field = _form_field(model, column)
    if isinstance(value, list):
        return [_choice(field, item) or str(item) for item in value] or [_("None")]
    if column == "framework":
        return [str(label_of(value) if value else _("Not said"))]
    if isinstance(value, bool) or isinstance(field, forms.BooleanField):
        return [_choice(field, value) or (_("On") if value else _("Off"))]
    return [_number(field, value) or _budget(field, column, value) or _choice(_field(model, column, field), value)
            or str(value if value not in ("", None) else _("Empty"))]  # fmt: skip


def _number(field: Any, value: Any) -> str:
    if not isinstance(value, int) or not isinstance(field, NumberField):
        return ""
    if isinstance(field, SecondsField):
        return in_words_and_seconds(value)
    return in_days(value) if isinstance(field, DaysField) else f"{grouped(value)} {field.unit}".strip()


def _budget(field: Any, column: str, value: Any) -> str:
    return limit_in_words(str(value), server_default(column)) if isinstance(field, BudgetField) else ""


def _choice(field: Any, value: Any) -> str:
    """The label of a choice; a label that only writes the value in another case says nothing."""
    choices = dict(getattr(field, "choices", None) or ())
    label = str(choices.get(value, choices.get(str(value), "")))
    return "" if label.casefold() == str(value).casefold() else label


def _field(model: Model, column: str, field: Any) -> Any:
    if getattr(field, "choices", None):
        return field
    return next((known for known in model._meta.fields if known.name == column), None)


def _form_field(model: Model, column: str) -> forms.Field | None:
    """The field that edits the column on some page of the portal."""
    for form in SettingsForm.__subclasses__():
        name = form.other_names.get(column, column)
        if form._meta.model is model and name in form.base_fields:
            return form.base_fields[name]
    return None


# Beside the fields


def mark_drafted(form: SettingsForm, row: Project | Application, draft: Draft | None) -> None:
    """Say at each field that the draft changes what is in effect now."""
    for column, entry in (draft.changes.get(target_of(row), {}) if draft else {}).items():
        stored = getattr(row, column, None)
        field = form.fields.get(form.other_names.get(column, column))
        if field is not None and stored != entry["new"]:
            seconds = stored if isinstance(field, SecondsField) and isinstance(stored, int) else None
            words = in_words(type(row), column, stored) if seconds is None else [durations.in_words(seconds)]
            field.in_effect = words  # type: ignore[attr-defined]
