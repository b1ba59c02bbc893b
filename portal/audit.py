"""The audit log as a list: what may stand in its URL, one page of it, all of it as a file.

By category, type and person the database finds events at once. For a name, a target or a day it looks through a
bounded stretch of the log at a time, and the page says how far back that was.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as clock
from io import StringIO
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.db.models import Count, Max, Min, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from anonusers.models import AuditEvent, Project
from portal.audit_words import TITLES, Teller
from portal.durations import exact_day
from portal.people import DayField, harmless

SIZE = 50
LOOKED = 50_000
"""So many events are looked through for one page."""
NEAR = 100_000
"""So far apart two ids may be before a day is searched for between them."""
STEPS = 5
BATCH = 2_000
SKEW = timedelta(minutes=5)
"""A row's id is taken when it is written, its time a little earlier, and clocks differ."""
FILTERS = ("category", "type", "actor", "target", "sub", "from", "to")
TYPE = re.compile(r"[a-z0-9_.]{1,50}")
TEXT = {"class": "input", "autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
SELECT = {"class": "input"}


class AuditForm(forms.Form):
    """The filters of the log, read from its URL."""

    category = forms.ChoiceField(
        label=_("About"),
        required=False,
        choices=[("", _("Everything")), *AuditEvent.Category.choices],
        widget=forms.Select(SELECT),
        error_messages={"invalid_choice": _("Choose one of the list.")},
    )
    type = forms.CharField(label=_("Event"), required=False, max_length=50)
    actor = forms.CharField(
        label=_("Operator"),
        required=False,
        max_length=150,
        widget=forms.TextInput(TEXT | {"list": "operators"}),
    )
    target = forms.CharField(
        label=_("Target"),
        required=False,
        max_length=200,
        widget=forms.TextInput(TEXT | {"placeholder": "application:web", "dir": "ltr"}),
    )
    sub = forms.UUIDField(
        label=_("User (sub)"),
        required=False,
        widget=forms.TextInput(TEXT | {"class": "input mono", "dir": "ltr"}),
        error_messages={"invalid": _("Enter the whole sub, such as 6f1d4f5e-3c1b-4f7e-9a51-0c8f7b2d9e10.")},
    )
    before = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1, widget=forms.HiddenInput)
    after = forms.IntegerField(required=False, min_value=0, max_value=2**63 - 1, widget=forms.HiddenInput)

    def __init__(self, data: Any) -> None:
        super().__init__(data, label_suffix="")
        # "from" is a word of the language, so these two cannot be attributes.
        self.fields["from"] = DayField(label=_("From"), required=False)
        self.fields["to"] = DayField(label=_("Up to"), required=False)
        asked = str(data.get("type", ""))
        known = {**TITLES} if not asked or asked in TITLES else {asked: asked, **TITLES}
        self.fields["type"].widget = forms.Select(SELECT, choices=[("", _("All events")), *known.items()])
        for name in ("before", "after"):
            for code in ("invalid", "min_value", "max_value"):
                self.fields[name].error_messages[code] = _("This link is not whole. Begin with the newest events.")

    def clean_type(self) -> str:
        type = str(self.cleaned_data["type"])
        if type and not TYPE.fullmatch(type):
            raise forms.ValidationError(_("Choose one of the list."))
        return type

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        first, last = cleaned.get("from"), cleaned.get("to")
        if first and last and last < first:
            self.add_error("to", _("This day is before the first one."))
        return cleaned

    def visible_filters(self) -> list[Any]:
        return [self[name] for name in FILTERS]

    def entries(self) -> dict[str, str]:
        """What is asked for, as texts of a URL; without a place in the list."""
        found = {name: self.cleaned_data.get(name) for name in FILTERS}
        return {
            name: value.isoformat() if isinstance(value, date) else str(value) for name, value in found.items() if value
        }

    def query(self, **changes: Any) -> str:
        """`?category=team&…` with some entries changed; None takes one away. Empty without any."""
        entries = {name: str(value) for name, value in (self.entries() | changes).items() if value is not None}
        return f"?{urlencode(entries)}" if entries else ""

    def export_query_csv(self) -> str:
        return self.query(format="csv")

    def export_query_json(self) -> str:
        return self.query(format="json")

    def categories(self) -> list[dict[str, Any]]:
        """The chips that are always there: each turns one category on or off."""
        asked = self.entries().get("category")
        return [
            {"label": label, "on": (on := asked == value), "query": self.query(category=None if on else value)}
            for value, label in AuditEvent.Category.choices
        ]

    def chips(self) -> list[dict[str, str]]:
        """The other filters that are on; each can be taken away."""
        return [
            {"label": self._in_words(name, value), "query": self.query(**{name: None})}
            for name, value in self.entries().items()
            if name != "category"
        ]

    def _in_words(self, name: str, value: str) -> str:
        if name == "type":
            return str(TITLES.get(value, value))
        if name in ("from", "to"):
            value = exact_day(self.cleaned_data[name])
        return gettext("%(label)s: %(value)s") % {"label": self.fields[name].label, "value": value}


@dataclass(frozen=True)
class Page:
    """Some events, newest first, and where the pages beside this one begin.

    `looked_back_to`: further back than this nothing was looked at; `older` goes on from there.
    """

    events: list[AuditEvent]
    newer: int | None = None
    older: int | None = None
    looked_back_to: datetime | None = None


def find_events(project: Project, asked: dict[str, Any], *, size: int = SIZE) -> Page:
    """A page of the log; `asked` is the form's `cleaned_data`. At most five statements, and STEPS for a day."""
    rows, rest = _rows(project, asked)
    if asked.get("after") is not None:
        return _newer(rows, rest, asked["after"], size)
    before = asked.get("before")
    start = before or _first_after(rows, _end_of(asked.get("to")))
    older = rows if start is None else rows.filter(pk__lt=start)
    end = _end_of_stretch(older, "-pk") if rest else None
    found = list((older if end is None else older.filter(pk__gte=end)).filter(rest).order_by("-pk")[: size + 1])
    events = found[:size]
    newer = events[0].pk if events and before else None
    if len(found) > size:
        return Page(events, newer, events[-1].pk)
    looked_back_to = rows.values_list("created_at", flat=True).get(pk=end) if end is not None else None
    return Page(events, newer, end, looked_back_to)


def _newer(rows: QuerySet[AuditEvent], rest: Q, after: int, size: int) -> Page:
    newer = rows.filter(pk__gt=after)
    end = _end_of_stretch(newer, "pk") if rest else None
    found = list((newer if end is None else newer.filter(pk__lte=end)).filter(rest).order_by("pk")[: size + 1])
    events = found[size - 1 :: -1] if len(found) > size else found[::-1]
    more = events[0].pk if len(found) > size else end
    return Page(events, more, events[-1].pk if events else after + 1)


def _rows(project: Project, asked: dict[str, Any]) -> tuple[QuerySet[AuditEvent], Q]:
    """What an index finds, and what has to be looked at one by one."""
    rows, rest = AuditEvent.objects.filter(project=project), Q()
    for name, column in (("category", "category"), ("type", "type"), ("sub", "end_user_id")):
        if asked.get(name):
            rows = rows.filter(**{column: asked[name]})
    for name, column in (("actor", "actor_name"), ("target", "target")):
        if asked.get(name):
            rest &= Q(**{column: asked[name]})
    if asked.get("from"):
        rest &= Q(created_at__gte=_start_of(asked["from"]))
    if (end := _end_of(asked.get("to"))) is not None:
        rest &= Q(created_at__lt=end)
    return rows, rest


def _start_of(day: date) -> datetime:
    # At both ends of the calendar there is no room for time zones.
    return timezone.make_aware(datetime.combine(max(day, date(1970, 1, 1)), clock.min))


def _end_of(day: date | None) -> datetime | None:
    return None if day is None or day == date.max else _start_of(day + timedelta(days=1))


def _end_of_stretch(rows: QuerySet[AuditEvent], order: str) -> int | None:
    """The id with which a stretch of LOOKED events ends; None where there are fewer."""
    end: Any = Min("pk") if order.startswith("-") else Max("pk")
    found = rows.order_by(order).values("pk")[:LOOKED].aggregate(end=end, number=Count("pk"))
    return found["end"] if found["number"] == LOOKED else None


def _first_after(rows: QuerySet[AuditEvent], moment: datetime | None) -> int | None:
    """An id from which on everything is younger than `moment`, near the first such; None where there is no need.

    Ids grow with time, so the day is found by halving; there is no index by time alone.
    """
    if moment is None:
        return None
    ends = rows.order_by("pk").values_list("pk", flat=True).first(), rows.order_by("-pk").first()
    if ends[0] is None or ends[1] is None or ends[1].created_at <= moment + SKEW:
        return None
    low, high = ends[0], ends[1].pk
    for _step in range(STEPS):
        if high - low <= NEAR:
            break
        middle = (low + high) // 2
        row = rows.filter(pk__gte=middle).order_by("pk").only("pk", "created_at").first()
        if row is None or row.created_at > moment + SKEW:
            high = middle
        else:
            low = row.pk
    return int(high)


# --- files ----------------------------------------------------------------------------------------

COLUMNS = ("id", "time", "category", "type", "actor", "user", "target", "event", "changes")


def every_event(project: Project, asked: dict[str, Any]) -> Iterator[AuditEvent]:
    """All that match now, newest first, read in stretches, so that a million of them fit into little memory."""
    rows, rest = _rows(project, asked)
    newest = rows.order_by("-pk").values_list("pk", flat=True).first()
    if newest is None:
        return iter(())
    start = _first_after(rows, _end_of(asked.get("to"))) or newest + 1
    return _in_stretches(rows, rest, start, _start_of(asked["from"]) - SKEW if asked.get("from") else None)


def _in_stretches(rows: QuerySet[AuditEvent], rest: Q, start: int, oldest: datetime | None) -> Iterator[AuditEvent]:
    while stretch := list(rows.filter(pk__lt=start).order_by("-pk").values_list("pk", "created_at")[:BATCH]):
        yield from rows.filter(rest, pk__lte=stretch[0][0], pk__gte=stretch[-1][0]).order_by("-pk")
        start, at = stretch[-1]
        if oldest is not None and at < oldest:
            return


def csv_lines(events: Iterable[AuditEvent], teller: Teller) -> Iterator[str]:
    """The file, line by line."""
    yield _csv_line(COLUMNS)
    for event in events:
        facts = _facts(event, teller) | {"changes": json.dumps(event.changes, ensure_ascii=False)}
        yield _csv_line(harmless("" if facts[name] is None else str(facts[name])) for name in COLUMNS)


def json_lines(events: Iterable[AuditEvent], teller: Teller) -> Iterator[str]:
    """One JSON array, an event a line."""
    separator = "[\n"
    for event in events:
        yield separator + json.dumps(_facts(event, teller), ensure_ascii=False, default=str)
        separator = ",\n"
    yield "[]\n" if separator == "[\n" else "\n]\n"


def _facts(event: AuditEvent, teller: Teller) -> dict[str, Any]:
    sub: UUID | None = event.end_user_id
    return {
        "id": event.pk,
        "time": event.created_at.isoformat(timespec="seconds"),
        "category": event.category,
        "type": event.type,
        "actor": event.actor_name or None,
        "user": str(sub) if sub else None,
        "target": event.target or None,
        "event": teller.tell(event).text,
        "changes": event.changes,
    }


def _csv_line(cells: Iterable[str]) -> str:
    line = StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
