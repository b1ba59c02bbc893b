"""docs/deploy.md: every name in it exists, every name there is stands in it, and what it promises holds."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import call_command, get_commands, load_command_class
from django.test import Client
from django.utils import timezone

from anonusers import keys
from anonusers.conf import Conf
from anonusers.models import Application, Session, SigningKey
from config import health, logs, serve
from tests.conftest import HOST

ROOT = Path(__file__).resolve().parent.parent
DOC = (ROOT / "docs/deploy.md").read_text()
READ = set(re.findall(r'env\.\w+\("([A-Z_]+)"', (ROOT / "config/settings.py").read_text()))
NAMES = set(re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=[^`]*)?`", DOC))
NAMES |= set(re.findall(r"`(DEBUG|PORT|BIND|CONFIG|WORKERS)(?:=[^`]*)?`", DOC))


def test_every_setting_that_is_named_exists() -> None:
    known = READ | {f"ANONUSERS_{name}" for name in vars(Conf) if name.isupper()}
    assert NAMES - known == set()


def test_every_variable_that_this_deployment_reads_is_named() -> None:
    assert set() == READ - NAMES


def test_every_command_exists_with_its_options() -> None:
    known = get_commands()
    found = set(
        re.findall(
            r"(?:manage\.py |`)(anonusers_\w+|portal_jobs|createsuperuser|collectstatic|migrate|check)\b([^`\n]*)", DOC
        )
    )
    assert {"anonusers_cleanup", "anonusers_rotate_keys", "anonusers_erase"} <= {name for name, _ in found}
    for name, words in found:
        options = load_command_class(str(known[name]), name).create_parser("manage.py", name)._option_string_actions
        assert set(re.findall(r"--[a-z-]+", words)) <= set(options), name
    steps = set(re.findall(r"config\.serve (\w+)`", DOC))
    assert steps == {serve.PREPARE, serve.START}


def test_every_link_leads_somewhere() -> None:
    anchors = {
        re.sub(r"[^a-z -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.+)$", DOC, re.M)
    }
    for target in re.findall(r"\]\(([^)]+)\)", DOC):
        path, _, anchor = target.partition("#")
        assert not path or (ROOT / "docs" / path).exists(), target
        assert path or anchor in anchors, target


def test_its_words_and_numbers_are_those_of_the_code() -> None:
    for word in health.WORDS:
        assert f"`{word}`" in DOC
    for path in health.PATHS:
        assert f"`{path}`" in DOC
    assert f"no answer within {health.TIMEOUT:.0f} seconds" in DOC
    assert f"`WORKERS` processes with {serve.BLOCKING_THREADS} threads" in DOC
    assert f"hosts × WORKERS × {serve.BLOCKING_THREADS}" in DOC
    settings = (ROOT / "config/settings.py").read_text()
    assert "lock_timeout=2s -c statement_timeout=10s" in settings
    example = re.search(r'^(\{"time".*\})$', DOC, re.MULTILINE)
    assert example
    assert set(json.loads(example[1])) == {
        *("time", "level", "logger", "message", "request_id"),
        *("method", "route", "status", "duration_ms"),
    }
    assert logs.FOREIGN_ID.fullmatch(json.loads(example[1])["request_id"])


# --- what it promises ------------------------------------------------------------------------------


def post(path: str, **body: str) -> tuple[int, dict[str, str]]:
    client = Client(HTTP_HOST=HOST)
    answer = client.post(f"/api/v1/{path}/", json.dumps(body), content_type="application/json")
    return answer.status_code, answer.json()


@pytest.mark.django_db
@pytest.mark.database
def test_an_encryption_key_can_be_changed_while_guests_stay_logged_in(application: Application, settings: Any) -> None:
    """The four steps, with a guest who comes back after each."""
    client_id = application.client_id
    slug = application.project.slug
    rotation = ["anonusers_rotate_keys", slug, *(f"--algorithm={name}" for name in ("ES256", "RS256", "HS256"))]
    old, new = "o" * 40, "n" * 40
    settings.SECRET_KEY, settings.ANONUSERS_ENCRYPTION_KEYS = "s" * 50, [old]
    SigningKey.objects.all().delete()
    keys.create_keys(application.project)
    token = post("signup", client_id=client_id)[1]["refresh_token"]

    def restart_and_come_back() -> None:
        nonlocal token
        keys._rings.clear()
        status, answer = post("refresh", client_id=client_id, refresh_token=token)
        assert status == 200, answer
        token = answer["refresh_token"]

    with time_machine.travel(timezone.now(), tick=False) as clock:
        settings.ANONUSERS_ENCRYPTION_KEYS = [new, old]
        restart_and_come_back()
        call_command(*rotation, verbosity=0)
        restart_and_come_back()
        settings.ANONUSERS_ENCRYPTION_KEYS = [new]
        keys._rings.clear()
        too_early, _ = post("refresh", client_id=client_id, refresh_token=token)
        assert too_early == 500, "the keys of before are still there, sealed with the old one"
        settings.ANONUSERS_ENCRYPTION_KEYS = [new, old]
        clock.shift(timedelta(seconds=application.access_token_lifetime + 3601))
        call_command(*rotation, verbosity=0)
        restart_and_come_back()
        settings.ANONUSERS_ENCRYPTION_KEYS = [new]
        restart_and_come_back()


@pytest.mark.django_db
@pytest.mark.database
def test_a_backup_that_is_older_than_a_rotation_logs_that_client_out(application: Application) -> None:
    token = post("signup", client_id=application.client_id)[1]["refresh_token"]
    backup = Session.objects.values("refresh_hash", "refresh_generation", "rotated_at").get()
    newer = post("refresh", client_id=application.client_id, refresh_token=token)[1]["refresh_token"]
    Session.objects.update(**backup)
    assert post("refresh", client_id=application.client_id, refresh_token=newer)[0] == 401
