"""Files that live elsewhere in the repository are pages here, too, and links are right in both places.

A page of `PAGES` holds one line for who opens it in the repository; the site shows the file itself.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

DOCS = Path(__file__).resolve().parent.parent
ROOT = DOCS.parent
# Page → the file that it shows.
PAGES = {
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
    "explanation/benchmarks": "benchmarks/README.md",
    "reference/authgear": "anonusers/protocols/authgear/README.md",
    "reference/realm-admin": "portal/realm_admin/README.md",
    "reference/rest": "anonusers/protocols/rest/README.md",
}
PLACES = {file: page for page, file in PAGES.items()} | {"README.md": "index"}
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", show)
    app.connect("env-get-outdated", lambda app, env, *changes: list(PAGES))
    return {"parallel_read_safe": True}


def show(app: Any, docname: str, source: list[str]) -> None:
    file = PAGES.get(docname)
    if file:
        source[0] = (ROOT / file).read_text()
    here = PurePosixPath(file) if file else PurePosixPath("docs", f"{docname}.md")
    source[0] = LINK.sub(lambda found: _link(found, here), source[0])


def _link(found: re.Match[str], here: PurePosixPath) -> str:
    text, url = found.groups()
    parts = urlsplit(url)
    if parts.scheme or parts.netloc or not parts.path:
        return found[0]
    target = (ROOT / here.parent / parts.path).resolve()
    if not target.exists():
        return found[0]  # and Sphinx warns
    place = target.relative_to(ROOT).as_posix()
    anchor = f"#{parts.fragment}" if parts.fragment else ""
    if place in PLACES:
        return f"[{text}](/{PLACES[place]}.md{anchor})"
    if place.startswith("docs/") and place.endswith(".md"):
        return f"[{text}](/{place.removeprefix('docs/')}{anchor})"
    return text  # a file of the repository that is no page
