"""The checklist of realm.md §10, run by every SDK it names: unmodified, in Node and in Chromium from another origin."""

from collections.abc import Callable
from typing import Any

import pytest

from anonusers.models import Project
from anonusers.protocols.realm import wire
from anonusers.protocols.realm.base import RealmView
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

    asked = {tuple(one.removeprefix("/api/client/v2.0/").split(" ")) for one in recorder.preflights}
    assert {("auth/profile", "authorization"), ("auth/session", "authorization")} <= {
        (path, headers.replace(",content-type", "")) for path, headers in asked
    }, "the browser has asked before it sent a token across origins"


@pytest.mark.parametrize("sdk", ["realm-web 2.0.0", "realm-web 2.0.1"])
def test_an_sdk_that_asks_without_end_is_cut(
    sdk: str, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """The checks would notice: with MongoDB's own answer to a wrong password at a link, old versions never stop."""
    for budget in ("PER_IP", "PER_ACCOUNT_AND_IP", "PER_ACCOUNT"):  # ours would end it sooner
        setattr(settings, f"ANONUSERS_LOGIN_{budget}", "off")
    monkeypatch.setattr(RealmView, "render_error", lambda self, error: wire.render_error(error))
    [report] = run_in_node(sdk, recorder, only="a wrong password, an address that nobody registered")
    assert "not [400," in report["wrong"]
    assert ("503" in report["wrong"]) == (sdk == "realm-web 2.0.0")
