"""The list of people: what may stand in its URL, the chips that say so, and its CSV."""

import csv
from collections.abc import Iterator
from datetime import date
from io import StringIO
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from anonusers.models import Application, Project
from anonusers.people import GUEST, REGULAR, Filters, Listed, parse_cursor
from portal.durations import exact_day

YES, NO = "yes", "no"
BOOL = {YES: True, NO: False}
FILTERS = ("kind", "disabled", "quarantined", "application", "created_from", "created_to", "active", "key")
SELECT = {"class": "input"}


class CursorField(forms.CharField):
    """A place in the list, as a link of ours brings it."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        try:
            return parse_cursor(text) if text else None
        except ValueError:
            raise forms.ValidationError(_("This link is not whole. Begin with the newest people again.")) from None


class DayField(forms.DateField):
    widget = forms.DateInput({"class": "input", "type": "date", "max": "9999-12-31"}, format="%Y-%m-%d")
    input_formats = ("%Y-%m-%d",)
    default_error_messages = {"invalid": _("Write the day as year-month-day, such as 2026-11-21.")}


def _choice(label: Any, *choices: tuple[str, Any]) -> forms.ChoiceField:
    return forms.ChoiceField(
        label=label,
        choices=[("", _("Any")), *choices],
        required=False,
        widget=forms.Select(SELECT),
        error_messages={"invalid_choice": _("Choose one of the list.")},
    )


class PeopleForm(forms.Form):
    """The filters of the list, read from its URL."""

    q = forms.CharField(
        label=_("Search"),
        max_length=254,
        required=False,
        widget=forms.TextInput(
            {"class": "input", "type": "search", "enterkeyhint": "search", "autocomplete": "off", "spellcheck": "false"}
        ),
    )
    kind = _choice(_("Kind"), (GUEST, _("Guests")), (REGULAR, _("Regular users")))
    disabled = _choice(_("Disabled"), (YES, _("Disabled")), (NO, _("Not disabled")))
    quarantined = _choice(_("Quarantine"), (YES, _("In quarantine")), (NO, _("Not in quarantine")))
    application = _choice(_("Signed up through"))
    created_from = DayField(label=_("Created from"), required=False)
    created_to = DayField(label=_("Created up to"), required=False)
    active = _choice(_("Active"), ("1", _("Today")), ("7", _("In the last 7 days")), ("30", _("In the last 30 days")))
    key = _choice(_("Device key"), (YES, _("Has a device key")), (NO, _("Has no device key")))
    after = CursorField(required=False, widget=forms.HiddenInput)
    before = CursorField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: Any, *, project: Project) -> None:
        super().__init__(data, label_suffix="")
        self.applications = {one.client_id: one for one in project.applications.order_by("name", "pk")}
        application: Any = self.fields["application"]
        application.choices = [("", _("Any")), *((key, one.name) for key, one in self.applications.items())]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        first, last = cleaned.get("created_from"), cleaned.get("created_to")
        if first and last and last < first:
            self.add_error("created_to", _("This day is before the first one."))
        return cleaned

    @property
    def filters(self) -> Filters:
        entry = self.cleaned_data
        application: Application | None = self.applications.get(entry["application"])
        return Filters(
            search=entry["q"],
            kind=entry["kind"],
            disabled=BOOL.get(entry["disabled"]),
            quarantined=BOOL.get(entry["quarantined"]),
            application=application.pk if application else None,
            created_from=entry["created_from"],
            created_to=entry["created_to"],
            active_days=int(entry["active"]) if entry["active"] else None,
            has_key=BOOL.get(entry["key"]),
        )

    def visible_filters(self) -> list[Any]:
        return [self[name] for name in FILTERS]

    def entries(self) -> dict[str, str]:
        """What is asked for, as texts of a URL; without a place in the list."""
        found = {name: self.cleaned_data.get(name) for name in ("q", *FILTERS)}
        return {name: value.isoformat() if isinstance(value, date) else value for name, value in found.items() if value}

    def query(self, **changes: Any) -> str:
        """`?kind=guest&…` with some entries changed; None takes one away. Empty without any."""
        entries = {name: str(value) for name, value in (self.entries() | changes).items() if value is not None}
        return f"?{urlencode(entries)}" if entries else ""

    def switches(self) -> list[dict[str, Any]]:
        """The chips that are always there: each turns one filter on or off."""
        asked = self.entries()
        chips = (
            ("kind", GUEST, _("Guests")),
            ("kind", REGULAR, _("Regular users")),
            ("disabled", YES, _("Disabled")),
            ("quarantined", YES, _("In quarantine")),
        )
        return [
            {
                "label": label,
                "on": (on := asked.get(name) == value),
                "query": self.query(**{name: None if on else value}),
            }
            for name, value, label in chips
        ]

    def chips(self) -> list[dict[str, str]]:
        """The other filters that are on; each can be taken away."""
        asked = self.entries()
        shown = [
            name
            for name in asked
            if name != "kind" and not (name in ("disabled", "quarantined") and asked[name] == YES)
        ]
        return [{"label": self._in_words(name, asked[name]), "query": self.query(**{name: None})} for name in shown]

    def _in_words(self, name: str, value: str) -> str:
        if name == "q":
            return gettext("Search: %(text)s") % {"text": value}
        if name in ("created_from", "created_to"):
            words = gettext("Created from %(day)s") if name == "created_from" else gettext("Created up to %(day)s")
            return words % {"day": exact_day(self.cleaned_data[name])}
        field: Any = self.fields[name]
        label = str(dict(field.choices)[value])
        if name == "application":
            return gettext("Signed up through %(name)s") % {"name": label}
        return gettext("Active: %(when)s") % {"when": label[:1].lower() + label[1:]} if name == "active" else label


def read_query(text: str, project: Project) -> PeopleForm:
    """The filters of a query string that a page of ours has written down."""
    return PeopleForm(QueryDict(text.removeprefix("?")), project=project)


# --- CSV ------------------------------------------------------------------------------------------

COLUMNS = ("sub", "kind", "login_ids", "application", "created", "last_active", "device_key", "disabled", "quarantined")


def csv_lines(people: Iterator[Listed]) -> Iterator[str]:
    """The file, line by line."""
    yield _line(COLUMNS)
    for one in people:
        user = one.end_user
        yield _line(
            (
                one.sub,
                GUEST if one.is_guest else REGULAR,
                " ".join(login_id.value for login_id in one.login_ids),
                one.application.client_id if one.application else "",
                user.created_at.isoformat(timespec="seconds"),
                one.last_active.isoformat(timespec="seconds") if one.last_active else "",
                YES if one.has_key else NO,
                user.disabled_at.isoformat(timespec="seconds") if user.disabled_at else "",
                user.quarantined_at.isoformat(timespec="seconds") if user.quarantined_at else "",
            )
        )


def _line(cells: tuple[str, ...]) -> str:
    line = StringIO()
    csv.writer(line).writerow(harmless(cell) for cell in cells)
    return line.getvalue()


def harmless(cell: str) -> str:
    """A spreadsheet would compute what begins like a formula (OWASP, CSV injection)."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
