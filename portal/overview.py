"""The overview: which days are looked at, and what the numbers say, in the shapes that the page shows."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django import forms
from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from anonusers import counting
from anonusers.models import Application
from anonusers.statistics import Series
from portal.charts import Chart, bar_chart, line_chart, share
from portal.durations import exact_day, grouped

PRESETS = (7, 30, 90)
DEFAULT = 30
MOST_DAYS = 366


@dataclass(frozen=True)
class Range:
    """The days that are looked at. `preset` is their number where they end today; `note` says what was changed."""

    first: date
    last: date
    preset: int | None = None
    note: str = ""

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1


class DayField(forms.DateField):
    """A day as browsers send it."""

    widget = forms.DateInput(attrs={"type": "date", "class": "input"}, format="%Y-%m-%d")
    default_error_messages = {"invalid": _("Enter a date such as 2026-11-30.")}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, input_formats=["%Y-%m-%d"], **kwargs)


class RangeForm(forms.Form):
    """What the address asks for: `days`, or `from` and `to`. Everything may be left out."""

    days = forms.TypedChoiceField(
        choices=[(str(days), days) for days in PRESETS],
        coerce=int,
        empty_value=None,
        required=False,
        error_messages={"invalid_choice": _("Choose 7, 30 or 90 days, or enter two dates.")},
    )

    def __init__(self, data: Any, *, today: date) -> None:
        super().__init__(data)
        self.today = today
        self.fields["from"] = DayField(label=_("From"))
        self.fields["to"] = DayField(label=_("To"))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        first, last = cleaned.get("from"), cleaned.get("to")
        if self.errors or (first is None and last is None):
            return cleaned
        if first is None:
            self.add_error("from", _("Enter the first day, too."))
        elif first > self.today:
            self.add_error("from", _("This day is still to come."))
        elif last is not None and last < first:
            self.add_error("to", _("The last day is before the first one."))
        elif (min(last or self.today, self.today) - first).days >= MOST_DAYS:
            self.add_error("from", _("Choose at most %(days)d days. Nothing was changed.") % {"days": MOST_DAYS})
        return cleaned

    def range(self) -> Range:
        """The days; where the entries are no good, the default."""
        if not self.is_valid():
            return self._preset(DEFAULT)
        first, last = self.cleaned_data["from"], self.cleaned_data["to"] or self.today
        if first is None:
            return self._preset(self.cleaned_data["days"] or DEFAULT)
        if last > self.today:
            return Range(first, self.today, note=gettext("Days that are still to come were left out."))
        return Range(first, last)

    def _preset(self, days: int) -> Range:
        return Range(self.today - timedelta(days=days - 1), self.today, preset=days)


@dataclass(frozen=True)
class Step:
    """A bar with its number. `width` is what is drawn, `percent` what is said."""

    label: str
    count: int
    percent: str
    width: str
    help: str = ""


def percent(part: int, whole: int) -> str:
    """`12.3 %`; of nothing there is no share."""
    if whole <= 0:
        return "–"
    value = 100 * part / whole
    digits = 0 if value >= 99.95 or value == 0 else 1
    return gettext("%(number)s %%") % {"number": decimal(value, digits)}


def decimal(value: float, digits: int) -> str:
    """A number with the decimal sign of the page's language."""
    return str(number_format(round(value, digits), decimal_pos=digits, use_l10n=True))


def _step(label: str, count: int, whole: int, help: str = "") -> Step:
    return Step(label, count, percent(count, whole), f"{share(count, whole):.2f}%", help)


@dataclass(frozen=True)
class Figure:
    """A chart, and the same numbers as a table. `columns` are the names of the `rows`' numbers."""

    id: str
    title: str
    description: str
    summary: str
    chart: Chart
    columns: list[str]
    rows: list[tuple[date, list[int]]]


def figures(numbers: Series, today: date) -> list[Figure]:
    """New guests, active people, promotions."""
    days, per_day = numbers.days, numbers.per_day
    shown = [
        ("new-guests", gettext("New guests"), gettext("Sign-ups a day."), [(gettext("New guests"), counting.CREATED)]),
        (
            "promotions",
            gettext("Promoted"),
            gettext("Guests who became regular users."),
            [(gettext("Promoted"), counting.PROMOTED)],
        ),
        (
            "active-people",
            gettext("Active people"),
            gettext("Who was here on a day, once each: guests and regular users apart."),
            [(gettext("Guests"), counting.ACTIVE_GUESTS), (gettext("Regular"), counting.ACTIVE_REGULARS)],
        ),
    ]
    return [
        _figure(id, title, description, days, [(name, per_day(of)) for name, of in series], today)
        for id, title, description, series in shown
    ]


def _figure(
    id: str, title: str, description: str, days: list[date], series: list[tuple[str, list[int]]], today: date
) -> Figure:
    rows = [(day, [values[number] for _name, values in series]) for number, day in enumerate(days)]
    names = [name for name, _values in series]
    hints = [_hint(day, dict(zip(names, values, strict=True))) for day, values in rows]
    chart = bar_chart(days, series[0][1], hints, today) if len(series) == 1 else line_chart(days, series, hints, today)
    return Figure(id, title, description, _summary(days, series), chart, names, rows[::-1])


def _hint(day: date, values: dict[str, int]) -> str:
    return f"{exact_day(day)}: " + ", ".join(f"{name} {grouped(value)}" for name, value in values.items())


def _summary(days: list[date], series: list[tuple[str, list[int]]]) -> str:
    """What the chart shows, for those who do not see it."""
    sentences = []
    for name, values in series:
        most = max(values)
        day = days[values.index(most)]
        facts = {"name": name, "total": grouped(sum(values)), "most": grouped(most), "day": exact_day(day)}
        sentences.append(gettext("%(name)s: %(total)s in all, at most %(most)s, on %(day)s.") % facts)
    return " ".join(sentences)


@dataclass(frozen=True)
class Card:
    label: str
    value: str
    today: str
    help: str


def cards(numbers: Series) -> list[Card]:
    """The range's numbers, with today's below them."""
    created, converted = numbers.total(counting.CREATED), numbers.total(counting.COHORT_PROMOTED)
    today = {
        name: grouped(numbers.today[name]) for name in (counting.CREATED, counting.ACTIVE_GUESTS, counting.PROMOTED)
    }
    return [
        Card(gettext("New guests"), grouped(created), gettext("%s today") % today[counting.CREATED], ""),
        Card(
            gettext("Active guests a day"),
            average(numbers, counting.ACTIVE_GUESTS),
            gettext("%s today") % today[counting.ACTIVE_GUESTS],
            gettext("Not in it: %s regular users a day") % average(numbers, counting.ACTIVE_REGULARS),
        ),
        Card(
            gettext("Promoted"),
            grouped(numbers.total(counting.PROMOTED)),
            gettext("%s today") % today[counting.PROMOTED],
            "",
        ),
        Card(
            gettext("Conversion"),
            percent(converted, created),
            gettext("%(part)s of %(whole)s new guests") % {"part": grouped(converted), "whole": grouped(created)},
            "",
        ),
    ]


def average(numbers: Series, name: str) -> str:
    """A day, rounded; below ten with one decimal."""
    value = numbers.total(name) / len(numbers.days)
    return grouped(round(value)) if value >= 10 or value == round(value) else decimal(value, 1)


def funnel(numbers: Series) -> list[Step]:
    """What became of those who signed up in the range, until now."""
    created = numbers.total(counting.CREATED)
    return [
        _step(gettext("Signed up as guests"), created, created),
        _step(
            gettext("Came back on another day"),
            numbers.total(counting.COHORT_RETURNED),
            created,
        ),
        _step(gettext("Began to keep the account"), numbers.total(counting.COHORT_STARTED), created),
        _step(gettext("Promoted to regular users"), numbers.total(counting.COHORT_PROMOTED), created),
    ]


def time_to_promote(numbers: Series) -> list[Step]:
    """Of those who were promoted in the range."""
    words = (
        gettext("Within an hour"),
        gettext("Within a day"),
        gettext("Within a week"),
        gettext("Within 30 days"),
        gettext("Later"),
    )
    counts = [numbers.total(name) for name in counting.TIME_TO_PROMOTE]
    return [_step(label, count, sum(counts)) for label, count in zip(words, counts, strict=True)]


@dataclass(frozen=True)
class OfApplication:
    name: str
    client_id: str
    created: int
    promoted: int
    conversion: str


def by_application(numbers: Series, applications: Iterable[Application]) -> list[OfApplication]:
    """The most used first. Conversion is of those who signed up there, wherever they were promoted."""
    known = {application.pk: application for application in applications}

    def told(name: str) -> Counter[Application | None]:
        found: Counter[Application | None] = Counter()
        for pk, count in numbers.by_application(name).items():
            found[known.get(pk) if pk is not None else None] += count
        return found

    created, promoted, converted = map(told, (counting.CREATED, counting.PROMOTED, counting.COHORT_PROMOTED))
    most_used = sorted({*created, *promoted}, key=lambda one: (-created[one], -promoted[one], one.pk if one else 0))
    return [
        OfApplication(
            name=one.name if one else gettext("No application, or one that is gone"),
            client_id=one.client_id if one else "",
            created=created[one],
            promoted=promoted[one],
            conversion=percent(converted[one], created[one]),
        )
        for one in most_used
    ]


METHODS = {
    "password": _("Password"),
    "email_code": _("Code by e-mail"),
    "phone_code": _("Code by SMS"),
}


def by_method(numbers: Series) -> list[Step]:
    """How those proved who they are who were promoted, and who turned out to have an account already."""
    promoted, superseded = numbers.by_method(counting.PROMOTED), numbers.total(counting.SUPERSEDED)
    whole = promoted.total() + superseded
    steps = [
        _step(str(METHODS.get(name, name)), count, whole)
        for name, count in sorted(promoted.items(), key=lambda of: (-of[1], of[0]))
    ]
    if superseded:
        steps.append(_step(gettext("Went on in an account they had"), superseded, whole))
    return steps


def in_days(count: int) -> str:
    """`7` → "7 days"."""
    return ngettext("%(count)d day", "%(count)d days", count) % {"count": count}
