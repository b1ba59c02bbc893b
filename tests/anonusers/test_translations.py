"""Translations: whole, and in step with the sources."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polib
import pytest
from django.conf import settings
from django.utils import translation

from anonusers.access import MEMBERS_ONLY
from anonusers.errors import (
    AnonymousUsersDisabled,
    Busy,
    GuestGone,
    InvalidToken,
    LoginIDNotAllowed,
    NotSignedIn,
    PublicSignupDisabled,
    RateLimited,
    SignupVetoed,
    UnknownProject,
)
from anonusers.guests import SAID_TO_PEOPLE, refuse
from anonusers.pages import words

ROOT = Path(__file__).resolve().parents[2]
CATALOGUES = {
    (app, language): ROOT / app / "locale" / translation.to_locale(language) / "LC_MESSAGES/django.po"
    for app in ("anonusers", "portal")
    for language, _name in settings.LANGUAGES
    if language != "en"
}
LANGUAGES = sorted({language for _app, language in CATALOGUES})
REFUSALS = (
    *(AnonymousUsersDisabled, PublicSignupDisabled, SignupVetoed, RateLimited, UnknownProject),
    *(NotSignedIn, InvalidToken, GuestGone, Busy),
)

each_catalogue = pytest.mark.parametrize("catalogue", CATALOGUES.values(), ids=["-".join(key) for key in CATALOGUES])

# What must come through: %(name)s, %s, %d, a percent sign, {name}, markup.
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%[sd%]|\{\w+\}|</?\w+[^>]*>")


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """LocaleMiddleware leaves the thread in the last request's language."""
    with translation.override("en"):
        yield


def read(path: Path) -> Any:
    return polib.pofile(str(path))


def key_of(entry: Any) -> tuple[str, str, str]:
    return (entry.msgctxt or "", entry.msgid, entry.msgid_plural or "")


def texts_of(entry: Any) -> list[str]:
    return list(entry.msgstr_plural.values()) if entry.msgid_plural else [entry.msgstr]


def placeholders(text: str) -> list[str]:
    return sorted(PLACEHOLDER.findall(text))


# --- the catalogues -------------------------------------------------------------------------------


def test_there_are_catalogues_for_all_languages_and_for_no_other() -> None:
    assert len(LANGUAGES) == len(settings.LANGUAGES) - 1 == 5
    found = {path for app in ("anonusers", "portal") for path in (ROOT / app / "locale").rglob("*.po")}
    assert found == set(CATALOGUES.values())


@each_catalogue
def test_every_text_is_translated_and_none_is_a_guess(catalogue: Path) -> None:
    entries = read(catalogue)
    assert len(entries) > 300
    assert [entry.msgid for entry in entries if not all(texts_of(entry))] == []
    assert [entry.msgid for entry in entries if entry.fuzzy or entry.obsolete] == []


@each_catalogue
def test_plurals_have_as_many_forms_as_the_language(catalogue: Path) -> None:
    entries = read(catalogue)
    forms = int(re.search(r"nplurals=(\d)", entries.metadata["Plural-Forms"])[1])  # type: ignore[index]
    assert [entry.msgid for entry in entries if entry.msgid_plural and len(entry.msgstr_plural) != forms] == []


@each_catalogue
def test_placeholders_and_markup_are_those_of_the_source(catalogue: Path) -> None:
    def fits(entry: Any) -> bool:
        # "One try left" need not say the number.
        sources = [placeholders(entry.msgid), placeholders(entry.msgid_plural or entry.msgid)]
        return all(placeholders(text) in sources for text in texts_of(entry))

    assert [entry.msgid for entry in read(catalogue) if not fits(entry)] == []


@each_catalogue
def test_line_breaks_at_the_ends_are_those_of_the_source(catalogue: Path) -> None:
    def ends(text: str) -> tuple[bool, bool]:
        return text.startswith("\n"), text.endswith("\n")

    entries = read(catalogue)
    assert [entry.msgid for entry in entries if any(ends(text) != ends(entry.msgid) for text in texts_of(entry))] == []


@each_catalogue
def test_no_translation_shouts(catalogue: Path) -> None:
    assert [text for entry in read(catalogue) for text in texts_of(entry) if "!" in text or "！" in text] == []


@each_catalogue
def test_the_compiled_catalogue_is_in_step(catalogue: Path) -> None:
    compiled = polib.mofile(str(catalogue.with_suffix(".mo")))
    assert {key_of(entry): texts_of(entry) for entry in compiled} == {
        key_of(entry): texts_of(entry) for entry in read(catalogue)
    }


def test_both_catalogues_say_the_same_for_the_same_text() -> None:
    """Django merges them, and one of the two would win."""
    for language in LANGUAGES:
        one, other = (
            {key_of(e): texts_of(e) for e in read(CATALOGUES[app, language])} for app in ("anonusers", "portal")
        )
        assert {key for key in one.keys() & other.keys() if one[key] != other[key]} == set()


@pytest.mark.skipif(shutil.which("xgettext") is None, reason="needs GNU gettext: apt-get install gettext")
def test_the_catalogues_are_in_step_with_the_sources(tmp_path: Path) -> None:
    """`make messages` in a copy finds the texts that are in the catalogues, and no other."""
    for name in ("anonusers", "portal", "config", "example", "templates"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.po", "*.mo"))
    for name in ("manage.py", "Makefile"):
        shutil.copy(ROOT / name, tmp_path / name)
    for app in ("anonusers", "portal"):
        (tmp_path / app / "locale").mkdir(exist_ok=True)
    command = re.search(r"\$\(PY\) (manage\.py makemessages .*?)\n\t(?!  )", (ROOT / "Makefile").read_text(), re.DOTALL)
    assert command
    line = re.sub(r"\\\n|\$\(LANGUAGES:%=--locale %\)", " ", command[1])
    line = re.sub(
        r"\$\(patsubst %,--ignore %,([^)]*)\)",
        lambda found: " ".join(f"--ignore {name}" for name in found[1].split()),
        line,
    )
    asked = [word.strip("'") for word in line.split()] + ["--locale", "de"]
    environment = os.environ | {"VAR_DIR": str(tmp_path / "var"), "DJANGO_SETTINGS_MODULE": "config.settings"}
    done = subprocess.run(
        [sys.executable, *asked], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for app in ("anonusers", "portal"):
        found = {key_of(entry) for entry in read(tmp_path / app / "locale/de/LC_MESSAGES/django.po")}
        known = {key_of(entry) for entry in read(CATALOGUES[app, "de"])}
        assert (found - known, known - found) == (set(), set()), "run `make messages`, then translate what is new"


def test_all_languages_have_the_same_texts() -> None:
    for app in ("anonusers", "portal"):
        keys = [{key_of(entry) for entry in read(CATALOGUES[app, language])} for language in LANGUAGES]
        assert all(one == keys[0] for one in keys)


def test_what_an_error_says_of_itself_on_a_page_is_known_to_the_catalogue() -> None:
    assert LoginIDNotAllowed().message in words.NOT_ALLOWED
    source = (ROOT / "anonusers/promotion/flow.py").read_text()
    assert set(re.findall(r'LoginIDNotAllowed\("([^"]+)"\)', source)) <= set(words.NOT_ALLOWED)


def test_what_errors_say_to_people_is_what_they_say() -> None:
    said = {error("per_ip", 1).message if error is RateLimited else error().message for error in REFUSALS}
    assert set(SAID_TO_PEOPLE) == said | {"This request comes from a site that may not use the session cookie."}


@pytest.mark.django_db
def test_a_refusal_in_plain_words_is_translated_and_its_json_is_not(rf: Any) -> None:
    request = rf.get("/", headers={"Accept": "text/html"})
    as_json = rf.get("/", headers={"Accept": "application/json"})
    with translation.override("de"):
        assert refuse(request, MEMBERS_ONLY).content.decode().startswith("Behalten Sie zuerst Ihr Konto")
        assert refuse(as_json, MEMBERS_ONLY).content == (
            b'{"code": "members_only", "detail": "Keep your account first: this is not for guests."}'
        )
