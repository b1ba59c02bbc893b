"""Charts: whatever the numbers, everything is drawn inside, from zero, and in proportion."""

import itertools
import re
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.charts import ACROSS, HEIGHT, LABEL_GAP, MOST_LABELS, TOP, bar_chart, line_chart, nice_ticks, share

FIRST = date(2026, 11, 1)
NUMBERS = st.lists(st.integers(0, 10**9), min_size=1, max_size=366)


def days(count: int) -> list[date]:
    return [FIRST + timedelta(days=number) for number in range(count)]


def percent(text: str) -> float:
    assert re.fullmatch(r"\d+\.\d{3}%", text)
    return float(text[:-1])


@pytest.mark.parametrize(
    ("most", "ticks"),
    [
        (0, [0, 1, 2]),
        (1, [0, 1, 2]),
        (3, [0, 1, 2, 3]),
        (4, [0, 1, 2, 3, 4]),
        (5, [0, 2, 4, 6]),
        (37, [0, 10, 20, 30, 40]),
        (100, [0, 50, 100]),
        (1_401, [0, 500, 1_000, 1_500]),
    ],
)
def test_nice_ticks(most: int, ticks: list[int]) -> None:
    assert nice_ticks(most) == ticks


@given(st.integers(0, 10**12))
def test_ticks_begin_at_zero_reach_the_highest_number_and_are_few(most: int) -> None:
    ticks = nice_ticks(most)
    step = ticks[1]
    assert ticks == [step * number for number in range(len(ticks))]
    assert 3 <= len(ticks) <= 5
    assert ticks[-1] >= most
    assert most == 0 or ticks[-1] - 2 * step < max(most, step)  # no more than one step of empty space above it
    assert str(step).rstrip("0") in ("1", "2", "5")


@given(NUMBERS)
def test_bars_stand_on_zero_and_keep_their_proportions(values: list[int]) -> None:
    chart = bar_chart(days(len(values)), values, [""] * len(values))
    top = chart.ticks[-1].label
    for bar, value in zip(chart.bars, values, strict=True):
        assert float(bar.y) + float(bar.height) == pytest.approx(chart.base, abs=0.11)
        assert float(bar.height) == pytest.approx(HEIGHT * value / top, abs=0.06)
        assert bar.value == value


@given(NUMBERS)
def test_bars_stay_inside_and_do_not_touch(values: list[int]) -> None:
    bars = bar_chart(days(len(values)), values, [""] * len(values)).bars
    ends = [0.0]
    for bar in bars:
        assert percent(bar.x) >= ends[-1]
        ends.append(percent(bar.x) + percent(bar.width))
        assert percent(bar.slot_x) <= percent(bar.x) + 0.001
    assert ends[-1] <= 100
    assert percent(bars[-1].slot_x) + percent(bars[-1].slot_width) == pytest.approx(100, abs=0.3)


@given(NUMBERS, st.integers(0, 10**9))
def test_lines_stay_inside(values: list[int], other: int) -> None:
    chart = line_chart(days(len(values)), [("a", values), ("b", [other] * len(values))], [""] * len(values))
    for line in chart.lines:
        points = [tuple(map(float, point.split(","))) for point in re.findall(r"[\d.]+,[\d.]+", line.path)]
        assert len(points) == max(2, len(values))
        assert all(0 <= x <= ACROSS and TOP - 0.06 <= y <= TOP + HEIGHT + 0.06 for x, y in points)
        assert [x for x, _y in points] == sorted(x for x, _y in points)
        assert line.area.startswith(line.path)
        assert line.open_path == ""
    assert [line.last for line in chart.lines] == [values[-1], other]


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_names_of_two_lines_do_not_touch_and_stand_in_the_lines_order(one: int, other: int) -> None:
    first, second = line_chart(days(1), [("a", [one]), ("b", [other])], [""]).lines
    gap = float(second.label_y) - float(first.label_y)
    assert abs(gap) >= LABEL_GAP - 0.11
    assert gap == 0 or one == other or (gap > 0) == (one > other) or abs(one - other) / max(one, other) < 0.01
    assert all(TOP - 0.06 <= float(line.label_y) <= TOP + HEIGHT + 0.06 for line in (first, second))


@given(st.integers(1, 366))
def test_a_few_days_are_named_the_last_always(count: int) -> None:
    labels = bar_chart(days(count), [0] * count, [""] * count).labels
    assert 1 <= len(labels) <= MOST_LABELS
    assert labels[-1].day == days(count)[-1]
    between = {(later.day - former.day).days for former, later in itertools.pairwise(labels)}
    assert len(between) <= 1
    assert all(0 <= percent(label.x) <= 100 for label in labels)


def test_a_day_that_is_not_over_is_marked() -> None:
    bars = bar_chart(days(3), [1, 2, 3], ["", "", ""], today=days(3)[-1]).bars
    assert [bar.is_open for bar in bars] == [False, False, True]


def test_the_way_to_a_day_that_is_not_over_is_apart() -> None:
    [line] = line_chart(days(3), [("a", [2, 1, 0])], [""] * 3, today=days(3)[-1]).lines
    (first, second), (third, fourth) = (path[1:].split(" L") for path in (line.path, line.open_path))
    assert (first.split(",")[1], second) == (f"{TOP:.1f}", third)
    assert fourth.split(",")[1] == f"{TOP + HEIGHT:.1f}"


def test_one_day_is_a_line_across() -> None:
    [line] = line_chart(days(1), [("a", [2])], [""]).lines
    assert line.path == f"M0.0,{TOP:.1f} L{ACROSS:.1f},{TOP:.1f}"


@pytest.mark.parametrize(
    ("part", "whole", "percent"), [(0, 0, 0), (1, 0, 0), (0, 5, 0), (1, 4, 25), (4, 4, 100), (9, 4, 100)]
)
def test_a_share_is_between_nothing_and_all(part: int, whole: int, percent: float) -> None:
    assert share(part, whole) == percent
