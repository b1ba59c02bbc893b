"""The documentation: it builds without a warning, leads nowhere that is not there, and leaves nothing public out."""

import ast
import html
import importlib
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from anonusers.conf import Conf

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
SOURCES = [
    *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "benchmarks/README.md",
    *sorted((ROOT / "anonusers/protocols").glob("*/README.md")),
]
LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")

sys.path.insert(0, str(DOCS / "_ext"))
generated = importlib.import_module("generated")
public = importlib.import_module("public")
sys.path.pop(0)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. A warning is an error."""
    pytest.importorskip("sphinx", reason="the extra `docs` is not installed")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", folder / "doctrees", DOCS, folder / "html"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (built.returncode, built.stderr) == (0, "")
    return folder / "html"


class Page(HTMLParser):
    """The ids of a page and where its links lead."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.text: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.ids.add(str(given["id"]))
        for name in ("href", "src"):
            if tag in ("a", "link", "script", "img") and given.get(name):
                self.links.add(str(given[name]))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[str, Page]:
    return {str(path.relative_to(site)): Page(path) for path in sorted(site.rglob("*.html"))}


def words_of(page: Page) -> str:
    return " ".join("".join(page.text).split())


# --- links ------------------------------------------------------------------------------------------


def test_every_link_of_the_site_leads_somewhere(site, pages):
    dead = []
    for name, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (site / name).parent / unquote(parts.path) if parts.path else site / name
            target = target.resolve()
            if not target.exists():
                dead.append(f"{name}: {link}")
            elif parts.fragment and target.suffix == ".html":
                other = pages[str(target.relative_to(site.resolve()))]
                if unquote(parts.fragment) not in other.ids:
                    dead.append(f"{name}: {link}")
    assert dead == []


def test_the_site_asks_nobody_else_for_anything(site, pages):
    """No fonts, scripts or images of third parties: who reads is nobody's business."""
    for name in pages:
        text = (site / name).read_text()
        assert not re.search(r'<(?:script|img|iframe)[^>]+src="(?:https?:)?//', text), name
        assert not re.search(r'<link[^>]+rel="stylesheet"[^>]+href="(?:https?:)?//', text), name


@cache
def anchors(path: Path) -> set[str]:
    """As GitHub and MyST make them of headings."""
    text = re.sub(r"^(`{3,}).*?^\1$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).lower()).strip().replace(" ", "-") for heading in found
    }


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_in_the_repository_leads_somewhere(source):
    text = re.sub(r"^(`{3,}).*?^\1$", "", source.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in LINK.findall(text):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (source.parent / parts.path).resolve() if parts.path else source
        assert target.exists(), f"{source.name}: {link}"
        assert ROOT in target.parents, f"{source.name}: {link}"
        if parts.fragment and target.suffix == ".md":
            assert parts.fragment in anchors(target), f"{source.name}: {link}"


def test_every_page_can_be_reached_from_the_first(pages):
    seen, ahead = set(), ["index.html"]
    while ahead:
        name = ahead.pop()
        if name in seen or name not in pages:
            continue
        seen.add(name)
        for link in pages[name].links:
            path = urlsplit(link).path
            if path.endswith(".html"):
                ahead.append(str((Path("/") / Path(name).parent / path).resolve().relative_to("/")))
    assert set(pages) - seen == set()


# --- nothing is left out ----------------------------------------------------------------------------


@pytest.mark.parametrize("module", public.NAMES)
def test_every_public_name_is_described(module, pages):
    where = pages["reference/templates.html" if module.endswith("processors") else "reference/python.html"]
    for name in public.NAMES[module]:
        assert f"{module}.{name}" in where.ids, f"{module}.{name}"


def offered(module: str) -> set[str]:
    """What a module offers: its `__all__`, else what is made in it under a public name."""
    body = generated.tree(module).body
    for name, _, value, _ in generated.assigned(body):
        if name == "__all__":
            return set(ast.literal_eval(value))
    found = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    return {name for name in found if not name.startswith("_")}


@pytest.mark.parametrize("module", [name for name in public.NAMES if name not in public.IN_PART])
def test_the_reference_has_every_name_that_a_module_offers(module):
    told = set(public.NAMES[module]) | public.ELSEWHERE.get(module, set())
    assert offered(module) - told == public.INNER.get(module, set())


def test_every_module_for_hosts_is_in_the_reference():
    """Whatever names its public names in `__all__` outside of doors and models means them for others."""
    found = set()
    for path in (ROOT / "anonusers").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if "\n__all__ =" in path.read_text() and not name.startswith(public.INWARD):
            found.add(name)
    assert found - set(public.NAMES) == set()


def test_every_setting_is_described_with_its_default(pages):
    page = pages["reference/settings.html"]
    for name in vars(Conf):
        if name.isupper():
            assert f"ANONUSERS_{name}" in page.ids
            assert f"ANONUSERS_{name}" in words_of(page)


def test_every_event_is_described_with_what_it_carries(pages):
    from anonusers.events import SIGNALS

    source = (DOCS / "reference/events.md").read_text()
    for type in SIGNALS:
        assert type in words_of(pages["reference/events.html"])
        assert f"`{type}`" in source, f"what {type} carries"
        assert f"anonusers.events.{type.replace('.', '_')}" in pages["reference/python.html"].ids


def test_every_command_is_described_with_every_option(pages):
    words = words_of(pages["reference/commands.html"])
    commands = generated.command_names()
    assert {"anonusers_adopt", "anonusers_cleanup", "anonusers_config", "anonusers_erase"} < set(commands)
    for command in commands:
        assert command in words
        for written, text in generated.options_of(generated.command_parser(command)):
            assert written in words, f"{command} {written}"
            assert text, f"{command} {written}: no help"


def test_every_error_is_described_with_its_status_at_every_door(pages):
    from anonusers.protocols.rest.problems import PROBLEMS

    words = words_of(pages["reference/errors.html"])
    rows = generated.errors().splitlines()
    for error in generated.error_classes():
        row = next(line for line in rows if line.startswith(f"| `{error.code}` "))
        assert f"| {PROBLEMS[error.code][0]} |" in row
        assert f"{error.code} " in words
        assert error.__name__ in words


def test_every_system_check_is_described():
    text = (DOCS / "reference/checks.md").read_text()
    found = set()
    for path in (ROOT / "anonusers").rglob("*.py"):
        if "checks" in path.stem:
            found |= set(re.findall(r'"(?:anonusers\.)?([EW]\d{3})"', path.read_text()))
    assert found
    assert set(re.findall(r"^\| `anonusers\.([EW]\d{3})` \|", text, re.MULTILINE)) == found


def test_every_url_name_is_described(pages):
    from django.urls import get_resolver

    words = words_of(pages["reference/urls.html"])
    names = [name for name, _ in generated.url_names()]
    assert len(names) > 40
    for name in names:
        assert f"{name} " in words
    # They are the names of this deployment, too.
    namespaces = set(get_resolver().namespace_dict)
    assert {name.split(":")[0] for name in names} <= namespaces


def test_every_template_that_may_be_replaced_exists():
    text = (DOCS / "reference/templates.md").read_text()
    found = re.findall(r"`anonusers/([\w/]+\.(?:html|txt))`", text)
    assert len(found) > 8
    for name in found:
        assert (ROOT / "anonusers/templates/anonusers" / name).exists(), name


def test_every_tag_and_filter_is_described():
    from anonusers.templatetags.anonusers import register

    text = (DOCS / "reference/templates.md").read_text()
    for name in register.tags:
        assert f"{{% {name}" in text
    for name in register.filters:
        assert f"user|{name}" in text


def test_every_fixture_of_the_pytest_plugin_is_described():
    text = (DOCS / "testing.md").read_text()
    fixtures = [
        node.name
        for node in generated.tree("anonusers.pytest_plugin").body
        if isinstance(node, ast.FunctionDef) and any("fixture" in ast.unparse(one) for one in node.decorator_list)
    ]
    assert len(fixtures) > 5
    for name in fixtures:
        assert f"| `{name}" in text


# --- what is told is so -----------------------------------------------------------------------------


def blocks_of(language: str) -> list[tuple[Path, str]]:
    pattern = re.compile(rf"^(`{{3,}})(?:\{{code-block\}} )?{language}\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
    return [(source, found[2]) for source in SOURCES for found in pattern.finditer(source.read_text())]


def test_code_imports_what_exists():
    imports = re.compile(r"^\s*from ((?:anonusers|portal)[\w.]*) import ([\w, ]+)$", re.MULTILINE)
    found = [(source, *match.groups()) for source, text in blocks_of("python") for match in imports.finditer(text)]
    assert len(found) > 40
    for source, module, names in found:
        if ".contrib.allauth" in module:
            pytest.importorskip("allauth", reason="the extra `allauth` is not installed")
        for name in names.split(","):
            loaded = importlib.import_module(module)
            exists = hasattr(loaded, name.strip()) or (ROOT / module.replace(".", "/") / f"{name.strip()}.py").exists()
            assert exists, f"{source.name}: from {module} import {name.strip()}"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_settings_commands_and_urls_that_are_named_exist(source):
    text = source.read_text()
    known = {f"ANONUSERS_{name}" for name in vars(Conf) if name.isupper()}
    named = set(re.findall(r"\bANONUSERS_[A-Z][A-Z_]*[A-Z]\b", text))
    assert named - known - {"ANONUSERS_NO_SKIP"} == set()
    assert set(re.findall(r"\banonusers_(?:adopt|cleanup|config|erase|rotate_keys)\b", text)) <= set(
        generated.command_names()
    )
    urls = {name for name, _ in generated.url_names()}
    assert set(re.findall(r"\banonusers:(?:pages|rest|authgear):[\w-]+", text)) <= urls


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_dotted_paths_that_are_named_exist(source):
    for path in set(re.findall(r"\b(?:anonusers|portal)(?:\.\w+)+\b", html.unescape(source.read_text()))):
        if re.search(r"\.(?:urls|html|txt|js|css|svg|json|md|py|toml|git)$|^anonusers\.[EW]\d{3}$|allauth", path):
            continue
        module, names = path.split(".", 1)[0], path.split(".")[1:]
        loaded = importlib.import_module(module)
        for name in names:
            if not hasattr(loaded, name):
                try:
                    importlib.import_module(f"{loaded.__name__}.{name}")
                except ImportError:
                    pytest.fail(f"{source.name}: {path}")
            loaded = getattr(loaded, name)
