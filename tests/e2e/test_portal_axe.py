"""Every page of the portal, in both themes and three widths: no finding of axe (WCAG 2.2 AA), nothing wider than the
screen, no complaint of the browser.

With ANONUSERS_SHOTS set to a directory, a screenshot of each is put there to be looked at.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import missing
from tests.e2e.portal_world import PASSWORD, World

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

AXE = Path(__file__).parent / "node_modules/axe-core/axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = """async tags => {
  const found = await axe.run(document, {runOnly: tags});
  const told = node => node.target.join(" ") + " " + node.failureSummary;
  return found.violations.map(one => [one.id, one.nodes.slice(0, 3).map(told)]);
}"""
VIEWS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
    "narrow": {"viewport": {"width": 320, "height": 640}, "color_scheme": "dark"},
}


@pytest.fixture(scope="module")
def axe() -> str:
    if not AXE.exists():
        missing("axe-core is not installed: run `npm install` in tests/e2e")
    return AXE.read_text()


@pytest.mark.parametrize("view", VIEWS)
def test_every_page_can_be_used_by_everybody(view: str, new_context: Callable[..., Any], server: str, axe: str) -> None:
    world = World()
    context = new_context(base_url=server, reduced_motion="reduce", **VIEWS[view])
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(f"{page.url}: {said.text}"))
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
    page.goto("/portal/login/")
    found = look_at(page, "sign-in", axe, view)
    page.fill("#id_username", "olga")
    page.fill("#id_password", PASSWORD)
    page.press("#id_password", "Enter")
    page.wait_for_url("**/overview/")
    seen = 0
    for collected in (False, True):
        if collected:
            world.collect_changes()
        for name, path in world.pages():
            if collected and name not in ("review", "deployments", "deployment", "session", "anonymous-users"):
                continue
            if not collected and name == "deployment":
                continue
            response = page.goto(path)
            assert response.status == 200, path
            found |= look_at(page, f"{name}{'-draft' if collected else ''}", axe, view)
            seen += 1
    assert seen > 30
    assert found == {}
    assert complaints == []


def look_at(page: Any, name: str, axe: str, view: str) -> dict[str, Any]:
    """What is wrong with the page as it stands."""
    if directory := os.environ.get("ANONUSERS_SHOTS"):
        Path(directory).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{directory}/{name}.{view}.png", full_page=True)
    page.evaluate(axe)
    wrong: list[Any] = page.evaluate(RUN, TAGS)
    width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if width > 0:
        wrong.append(f"{width} pixels wider than the screen")
    return {f"{name} ({view})": wrong} if wrong else {}
