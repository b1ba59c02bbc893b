"""What all pages have in common: no inline code, small, readable in both themes."""

import re
from pathlib import Path

import pytest
from django.template.loader import render_to_string
from django.test import RequestFactory

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = [
    *sorted((ROOT / "templates/portal").glob("*.html")),
    *(
        ROOT / "anonusers/templates/anonusers" / name
        for name in ("base.html", "logout.html", "message.html", "icon_warning.html")
    ),
]
UI_CSS = ROOT / "anonusers/static/anonusers/ui.css"
UI_JS = ROOT / "anonusers/static/anonusers/ui.js"
PORTAL_CSS = ROOT / "portal/static/portal/portal.css"
PORTAL_JS = ROOT / "portal/static/portal/portal.js"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_inline_style_or_script(template: Path) -> None:
    source = template.read_text()
    assert not re.search(r"<style|\sstyle\s*=|\son[a-z]+\s*=|javascript:", source, re.IGNORECASE)
    assert not re.search(r"<script(?![^>]*\ssrc=)", source, re.IGNORECASE)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_asks_a_third_party(template: Path) -> None:
    assert not re.search(r"""(src|href)=["'](https?:)?//""", template.read_text())


@pytest.mark.parametrize("script", [UI_JS, PORTAL_JS], ids=lambda path: path.name)
def test_no_script_makes_code_or_markup_from_text(script: Path) -> None:
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", script.read_text()
    )


def test_the_first_load_is_small() -> None:
    hosted = sum(path.stat().st_size for path in (UI_CSS, UI_JS))
    assert hosted < 28_000  # with the page: first paint below 30 KB
    assert hosted + PORTAL_CSS.stat().st_size + PORTAL_JS.stat().st_size < 100_000


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _themes() -> dict[str, dict[str, str]]:
    css = UI_CSS.read_text()
    blocks = {
        "light": css.split(":root {", 1)[1].split("}", 1)[0],
        "dark by preference": css.split(':root:not([data-theme="light"]) {', 1)[1].split("}", 1)[0],
        "dark by attribute": css.split(':root[data-theme="dark"] {', 1)[1].split("}", 1)[0],
    }
    return {name: dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6});", block)) for name, block in blocks.items()}


TEXT = [
    *((text, ground) for text in ("n6", "n7", "n8", "n9", "accent-text", "danger") for ground in ("n0", "n1")),
    *((text, "n2") for text in ("n6", "n7", "n8", "n9")),
    ("n7", "n3"),
    ("n9", "n3"),
    ("on-accent", "accent"),
    ("on-accent", "accent-hover"),
    ("n8", "success-tint"),
    ("n8", "warning-tint"),
    ("n8", "danger-tint"),
    ("n9", "info-tint"),
    ("success", "success-tint"),
    ("warning", "warning-tint"),
    ("danger", "danger-tint"),
]
CONTROLS = [("n5", "n0"), ("n5", "n1"), ("accent", "n0"), ("accent-text", "n0"), ("accent-text", "n1")]


@pytest.mark.parametrize("theme", ["light", "dark by preference", "dark by attribute"])
def test_text_and_controls_stand_out(theme: str) -> None:
    tokens = {"on-accent": "#ffffff"} | _themes()[theme]
    weak = [(a, b, round(_contrast(tokens[a], tokens[b]), 2)) for a, b in TEXT if _contrast(tokens[a], tokens[b]) < 4.5]
    weak += [
        (a, b, round(_contrast(tokens[a], tokens[b]), 2)) for a, b in CONTROLS if _contrast(tokens[a], tokens[b]) < 3
    ]
    weak += [
        ("#ffffff", name, 0)
        for name in ("danger-fill", "danger-fill-hover")
        if _contrast("#ffffff", tokens[name]) < 4.5
    ]
    assert weak == []


def test_both_ways_to_the_dark_theme_lead_to_the_same() -> None:
    themes = _themes()
    assert themes["dark by preference"] == themes["dark by attribute"]


def _logout(**context: object) -> str:
    request = RequestFactory().get("/logout")
    return render_to_string("anonusers/logout.html", {"project_name": "Guestbook", **context}, request)


WARNING = "You are using a guest account. If you log out, you cannot come back to it."


def test_a_guest_is_warned_before_logging_out() -> None:
    page = _logout(is_guest=True, next="/after?a=1&b=2", cancel_url="/stay")
    assert WARNING in page
    assert 'name="csrfmiddlewaretoken"' in page
    assert '<input type="hidden" name="next" value="/after?a=1&amp;b=2">' in page
    assert '<a class="secondary-link" href="/stay">Stay logged in</a>' in page
    assert '<form method="post">' in page


def test_a_regular_user_is_asked_without_a_warning() -> None:
    page = _logout(is_guest=False)
    assert WARNING not in page
    assert "Stay logged in" not in page
    assert 'name="next"' not in page


def test_a_message_says_what_to_do_next() -> None:
    page = render_to_string(
        "anonusers/message.html",
        {"title": "Gone", "message": "Nothing was <lost>.", "action_url": "/", "action_label": "Go back"},
    )
    assert "<h1>Gone</h1>" in page
    assert "Nothing was &lt;lost&gt;." in page
    assert '<a class="button button--wide" href="/">Go back</a>' in page
    assert "button" not in render_to_string("anonusers/message.html", {"title": "Gone"})
