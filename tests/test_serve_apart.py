"""`config.serve prepare` and `config.serve start`, for several processes; and what a server says as JSON."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_serve import PROJECT, ROOT, Server, environment, free_port, password, serving

pytestmark = pytest.mark.once


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "project.toml").write_text(PROJECT)
    return tmp_path


def run(folder: Path, *words: str, **settings: object) -> subprocess.CompletedProcess[str]:
    defaults = {"VAR_DIR": folder / "var", "CONFIG": folder / "project.toml"}
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=environment(**defaults | settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def answer(server: Server, path: str) -> tuple[int, dict[str, object]]:
    status, body = server.get(path)
    return status, json.loads(body)


def test_one_prepares_and_another_starts(folder: Path) -> None:
    prepared = run(folder, "config.serve", "prepare")
    assert prepared.returncode == 0, prepared.stderr
    assert len(password(prepared.stdout)) == 1
    assert "Serving" not in prepared.stdout
    with serving(folder / "var", "start") as server:
        server.wait()
        assert answer(server, "/readyz")[0] == 200
        assert server.get("/")[0] == 200
    assert "Project served" not in server.output
    assert password(server.output) == []


def test_who_starts_waits_for_no_database_and_makes_none(folder: Path) -> None:
    static = folder / "static"
    collected = run(folder, "manage", "collectstatic", "--noinput", "-v0", STATIC_ROOT=static)
    assert collected.returncode == 0, collected.stderr
    database = folder / "nowhere" / "db.sqlite3"
    with serving(folder / "var", "start", STATIC_ROOT=static, DATABASE_URL=f"sqlite:///{database}") as server:
        server.wait()
        assert answer(server, "/healthz") == (200, {"status": "alive"})
        status, told = answer(server, "/readyz")
    assert (status, told["status"]) == (503, "unready")
    assert told["checks"] == {"database": "away", "migrations": "away", "limits": "ok", "cache": "ok"}
    assert not database.parent.exists()


def test_tables_that_nobody_made_are_told(folder: Path) -> None:
    static = folder / "static"
    run(folder, "manage", "collectstatic", "--noinput", "-v0", STATIC_ROOT=static)
    with serving(folder / "var", "start", STATIC_ROOT=static) as server:
        server.wait()
        status, told = answer(server, "/readyz")
    assert status == 503
    assert told["checks"] == {"database": "ok", "migrations": "pending", "limits": "ok", "cache": "ok"}


def test_static_files_that_were_collected_beforehand_are_left_alone(folder: Path) -> None:
    static = folder / "static"
    run(folder, "manage", "collectstatic", "--noinput", "-v0", STATIC_ROOT=static)
    (static / "mine.txt").write_text("kept")
    prepared = run(folder, "config.serve", "prepare", STATIC_ROOT=static)
    assert prepared.returncode == 0, prepared.stderr
    assert "Compressing" not in prepared.stdout
    assert (static / "mine.txt").read_text() == "kept"
    assert not (folder / "var" / "static").exists()


@pytest.mark.parametrize(("given", "hint"), [({}, "config.serve prepare"), ({"STATIC_ROOT": "x"}, "collectstatic")])
def test_without_static_files_nothing_starts(folder: Path, given: dict[str, str], hint: str) -> None:
    refused = run(folder, "config.serve", "start", PORT=free_port(), **given)
    assert refused.returncode == 1
    line = refused.stderr.strip()
    assert "\n" not in line
    assert "There are no static files" in line
    assert hint in line


def test_a_word_that_is_none_is_refused(folder: Path) -> None:
    refused = run(folder, "config.serve", "begin")
    assert refused.returncode == 1
    assert refused.stderr == "usage: python -m config.serve [prepare] [start]\n"
    assert not (folder / "var").exists()


def test_json_is_all_that_is_said_from_the_first_line_to_the_last(folder: Path) -> None:
    with serving(folder / "var", LOG_FORMAT="json", HTTPS_ONLY=1) as server:
        server.wait()
        server.get("/api/v1/userinfo/?access_token=a-secret")
        server.get("/readyz")
    lines = [json.loads(line) for line in server.output.splitlines()]
    messages = [line["message"] for line in lines]
    assert f"serving on port {server.port}" in messages
    assert [line["status"] for line in lines if line["logger"] == "config.access"] == [301] * messages.count("request")
    assert "a-secret" not in server.output


def test_no_operator_is_made_whose_password_a_log_would_keep(folder: Path) -> None:
    prepared = run(folder, "config.serve", "prepare", LOG_FORMAT="json")
    assert prepared.returncode == 0
    lines = [json.loads(line) for line in prepared.stderr.splitlines()]
    assert any("createsuperuser" in line["message"] for line in lines)
    assert prepared.stdout == ""
    with sqlite3.connect(folder / "var" / "db.sqlite3") as connection:
        assert connection.execute("SELECT count(*) FROM auth_user").fetchall() == [(0,)]


def test_a_refusal_is_json_too(folder: Path) -> None:
    refused = run(folder, "config.serve", LOG_FORMAT="json", PORT=70000)
    assert refused.returncode == 1
    line = json.loads(refused.stderr)
    assert (line["level"], line["message"]) == ("CRITICAL", "PORT is 70000; it must be between 1 and 65535.")


def test_a_lock_timeout_of_the_operator_is_used(folder: Path) -> None:
    """docs/deploy.md: migrations take another one than requests."""
    url = "postgres://me:secret@db.example/guests?options=-c%20lock_timeout%3D3s%20-c%20statement_timeout%3D0"
    code = "from config.settings import DATABASES; print(DATABASES['default']['OPTIONS']['options'])"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(VAR_DIR=folder / "var", DATABASE_URL=url),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "-c lock_timeout=3s -c statement_timeout=0\n"
