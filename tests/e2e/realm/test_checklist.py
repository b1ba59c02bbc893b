"""The checklist of realm.md §10, run by every SDK it names: unmodified, in Node and in Chromium from another origin."""

from collections.abc import Callable
from typing import Any

import pytest

from anonusers.models import Project
from tests.e2e.realm.conftest import IN_BROWSERS, IN_NODE, Report, run_in_browser, run_in_node
from tests.e2e.realm.recorder import Recorder

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.spec("realm.md", "10")]

REALM_WEB = {*range(1, 29), 29, 30, 31, 39, 40}
STITCH_4 = {*range(1, 3), 4, 5, *range(7, 12), *range(14, 20), *range(21, 30), *range(32, 37), 39, 40}
STITCH_3 = {1, 2, 4, 5, 6, 11, *range(14, 20), *range(21, 30), 39, 40}


def rows_of(sdk: str) -> set[int]:
    """What applies to an SDK: `mongodb-stitch` knows one user at a time, the 4.x ones cannot delete, and so on."""
    name, _, version = sdk.partition(" ")
    if name == "realm-web":
        return REALM_WEB - ({30, 31} if version == "1.3.0" else set())
    return STITCH_3 if name == "stitch" else STITCH_4


def demand_all_well(report: Report, sdk: str) -> None:
    wrong = [f"{one['rows']} {one['title']}: {one['wrong']}" for one in report if one["wrong"]]
    assert not wrong, "\n".join(wrong)
    assert {int(row) for one in report for row in one["rows"].split()} == rows_of(sdk)


@pytest.mark.parametrize("sdk", IN_NODE)
def test_in_node(sdk: str, recorder: Recorder) -> None:
    demand_all_well(run_in_node(sdk, recorder), sdk)


@pytest.mark.parametrize("sdk", IN_BROWSERS)
def test_in_a_page_of_another_origin(
    sdk: str, recorder: Recorder, new_context: Callable[..., Any], sdk_origin: str, app: Project
) -> None:
    demand_all_well(run_in_browser(sdk, recorder, new_context().new_page(), sdk_origin), sdk)
