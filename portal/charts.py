"""Charts: from numbers to places in an SVG. Pure; the templates draw what is worked out here.

Across, everything is a share of the width in percent, as the page decides how wide a chart is; down, it is pixels. So
nothing is stretched but lines, which keep their strokes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

HEIGHT = 168
TOP = 12
"""Room for half a label above the highest line."""
ACROSS = 1000
"""Units across of a line's own coordinates."""
MOST_LABELS = 4
LABEL_GAP = 16
WIDEST_BAR = 6.0
NARROW = 12.0


@dataclass(frozen=True)
class Tick:
    """A line across the chart."""

    y: str
    label: int


@dataclass(frozen=True)
class DayLabel:
    x: str
    anchor: str
    day: date


@dataclass(frozen=True)
class Bar:
    """`slot…` is the whole width of its day, for the pointer. `is_open`: the day is not over."""

    x: str
    width: str
    y: str
    height: str
    slot_x: str
    slot_width: str
    day: date
    value: int
    hint: str
    is_open: bool = False


@dataclass(frozen=True)
class Line:
    """One series. `open_path` leads to a day that is not over; `label_y` is where its name stands, beside the end."""

    name: str
    path: str
    open_path: str
    area: str
    label_y: str
    last: int


@dataclass(frozen=True)
class Chart:
    """Bars of one series, or lines of at most two."""

    ticks: list[Tick]
    labels: list[DayLabel]
    bars: list[Bar]
    lines: list[Line]
    height: int = HEIGHT
    base: int = HEIGHT + TOP
    full: int = HEIGHT + TOP + 28
    across: int = ACROSS
    label_y: int = HEIGHT + TOP + 20


def nice_ticks(most: int) -> list[int]:
    """Whole numbers from zero in even steps of 1, 2 or 5 and zeros, the last one not below `most`: three to six."""
    step, digits = 1, 0
    while True:
        for factor in (1, 2, 5):
            step = factor * 10**digits
            if step * 4 >= most:
                top = max(2, -(-most // step))
                return [step * number for number in range(top + 1)]
        digits += 1


def bar_chart(days: Sequence[date], values: Sequence[int], hints: Sequence[str], today: date | None = None) -> Chart:
    """One bar for each day; a hint is what the pointer is told."""
    ticks = nice_ticks(max(values, default=0))
    slot = 100 / max(1, len(days))
    width = min(WIDEST_BAR, slot * (0.62 if slot > 1 else 0.8))
    bars = []
    for number, (day, value, hint) in enumerate(zip(days, values, hints, strict=True)):
        top = _y(value, ticks[-1])
        bars.append(
            Bar(
                x=f"{slot * (number + 0.5) - width / 2:.3f}%",
                width=f"{width:.3f}%",
                y=f"{top:.1f}",
                height=f"{HEIGHT + TOP - top:.1f}",
                slot_x=f"{slot * number:.3f}%",
                slot_width=f"{slot:.3f}%",
                day=day,
                value=value,
                hint=hint,
                is_open=day == today,
            )
        )
    return Chart(_ticks(ticks), _labels(days, is_edge=True), bars, [])


def line_chart(
    days: Sequence[date],
    series: Sequence[tuple[str, Sequence[int]]],
    hints: Sequence[str],
    today: date | None = None,
) -> Chart:
    """A line for each of one or two series, with its name at its end."""
    ticks = nice_ticks(max((value for _, values in series for value in values), default=0))
    ends = [_y(values[-1], ticks[-1]) for _, values in series]
    lines = []
    for (name, values), label in zip(series, _apart(ends), strict=True):
        points = [(_across(number, len(values)), _y(value, ticks[-1])) for number, value in enumerate(values)]
        if len(points) == 1:  # one day is a line across it
            points = [(0.0, points[0][1]), (float(ACROSS), points[0][1])]
        is_open = len(days) > 1 and days[-1] == today
        path, open_path = _path(points[:-1] if is_open else points), _path(points[-2:]) if is_open else ""
        area = f"{_path(points)} L{points[-1][0]:.1f},{HEIGHT + TOP} L{points[0][0]:.1f},{HEIGHT + TOP} Z"
        lines.append(Line(name, path, open_path, area, f"{label:.1f}", values[-1]))
    return Chart(_ticks(ticks), _labels(days, is_edge=False), _slots(days, hints), lines)


def share(part: int, whole: int) -> float:
    """A part in percent, from 0 to 100; of nothing it is 0."""
    return min(100.0, 100 * part / whole) if whole > 0 else 0.0


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _y(value: int, top: int) -> float:
    return TOP + HEIGHT - HEIGHT * value / top


def _across(number: int, count: int) -> float:
    """The middle of a day's slot."""
    return ACROSS * (number + 0.5) / count


def _ticks(values: Sequence[int]) -> list[Tick]:
    return [Tick(f"{_y(value, values[-1]):.1f}", value) for value in values]


def _slots(days: Sequence[date], hints: Sequence[str]) -> list[Bar]:
    """Where the pointer is told a day's numbers."""
    slot = 100 / max(1, len(days))
    return [
        Bar("0", "0", str(TOP), str(HEIGHT), f"{slot * number:.3f}%", f"{slot:.3f}%", day, 0, hint)
        for number, (day, hint) in enumerate(zip(days, hints, strict=True))
    ]


def _labels(days: Sequence[date], *, is_edge: bool) -> list[DayLabel]:
    """The last day, and some before it at even distances. `is_edge`: there is no room beside the chart's end."""
    step = max(1, -(-len(days) // MOST_LABELS))
    slot = 100 / max(1, len(days))
    chosen = range(len(days) - 1, -1, -step)
    labels = [DayLabel(f"{slot * (number + 0.5):.3f}%", "middle", days[number]) for number in reversed(chosen)]
    if is_edge and slot < NARROW:
        labels[-1] = DayLabel("100.000%", "end", days[-1])
    return labels


def _apart(ends: Sequence[float]) -> list[float]:
    """The places of at most two labels, moved so that they do not touch and stay inside."""
    low, high = float(TOP), float(TOP + HEIGHT)
    if len(ends) < 2 or abs(ends[0] - ends[1]) >= LABEL_GAP:
        return list(ends)
    middle = min(max((ends[0] + ends[1]) / 2, low + LABEL_GAP / 2), high - LABEL_GAP / 2)
    upper, lower = middle - LABEL_GAP / 2, middle + LABEL_GAP / 2
    return [upper, lower] if ends[0] <= ends[1] else [lower, upper]
