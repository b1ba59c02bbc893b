"""`make run`: real processes, from the first start to SIGTERM."""

import contextlib
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from config.serve import STOP_TIMEOUT

ROOT = Path(__file__).resolve().parent.parent
PROJECT = """
[project]
id = "served"
name = "Served"
domains = ["localhost", "127.0.0.1"]

[project.anonymous_users]
enabled = true

[[applications]]
client_id = "web"
name = "Web"
type = "spa"
"""


def environment(**settings: object) -> dict[str, str]:
    """Nothing of this process's own settings: not its database, and not the `make` that may have started it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | {name: str(value) for name, value in settings.items()}


AT_ONCE = STOP_TIMEOUT - 0.5  # seconds; whoever is waited for gets those of STOP_TIMEOUT
# Below the ports that a system gives to whoever asks for any: one of those may be somebody else's before the server,
# which takes seconds to start, has it. Each process looks at others.
_numbers = itertools.count(os.getpid() * 211)


def free_port() -> int:
    for number in _numbers:
        port = 20_000 + number % 12_000
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


class Server:
    """One run of `python -m config.serve` in a directory of its own."""

    def __init__(self, var: Path, *words: str, **settings: object) -> None:
        self.port = free_port()
        self.log = var.parent / f"log-{self.port}"
        defaults = {"VAR_DIR": var, "CONFIG": var.parent / "project.toml", "PORT": self.port}
        self.began = time.monotonic()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "config.serve", *words],
                cwd=ROOT,
                env=environment(**defaults | settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait(self) -> float:
        """Until it answers. Returns: the seconds since its start."""
        while time.monotonic() - self.began < 60:
            assert self.process.poll() is None, self.output
            with contextlib.suppress(OSError):
                self.get("/")
                return time.monotonic() - self.began
            time.sleep(0.02)
        raise AssertionError(f"does not answer:\n{self.output}")

    def get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=15)


@contextlib.contextmanager
def serving(var: Path, *words: str, **settings: object) -> Iterator[Server]:
    server = Server(var, *words, **settings)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


@dataclass(frozen=True)
class First:
    """A first start that is over: what it printed and answered, and the folder it left behind."""

    folder: Path
    port: int
    output: str
    home: tuple[int, bytes]
    discovery: tuple[int, bytes]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> First:
    folder = tmp_path_factory.mktemp("a first start")
    (folder / "project.toml").write_text(PROJECT)
    with serving(folder / "var") as server:
        server.wait()
        home, discovery = server.get("/"), server.get("/.well-known/openid-configuration")
    return First(folder, server.port, server.output, home, discovery)


@pytest.fixture
def folder(first: First, tmp_path: Path) -> Path:
    """A copy of what the first start left, to start again."""
    target = tmp_path / "again"
    shutil.copytree(first.folder, target)
    return target


def password(output: str) -> list[str]:
    return re.findall(r"^  password +(\S+)$", output, re.MULTILINE)


def sql(folder: Path, statement: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(folder / "var" / "db.sqlite3")) as database:
        rows = database.execute(statement).fetchall()
        database.commit()
    return rows


def refused(folder: Path, **settings: object) -> str:
    """Start where it cannot: exit code 1 and one line, which is returned."""
    if not (folder / "var").exists():  # a machine's first start
        (folder / "project.toml").write_text(PROJECT)
    server = Server(folder / "var", **settings)
    try:
        assert server.process.wait(timeout=30) == 1
    finally:
        server.process.kill()
    lines = server.output.splitlines()
    assert len(lines) == 1, server.output
    return lines[0]


def test_a_first_start_serves_the_project_and_its_demo(first: First) -> None:
    assert first.home[0] == 200
    status, body = first.discovery
    assert status == 200
    assert json.loads(body)["issuer"] == f"http://127.0.0.1:{first.port}"


def test_the_first_start_prints_where_to_go(first: First) -> None:
    for path in ("/", "/portal/", "/api/v1/", "/.well-known/openid-configuration"):
        assert f" http://localhost:{first.port}{path}\n" in first.output
    assert "Project served: created from" in first.output


def test_the_operators_password_is_printed_once_and_opens_the_account(first: First) -> None:
    [secret] = password(first.output)
    assert len(secret) >= 20
    check = (
        "import django; django.setup()\n"
        "from django.contrib.auth import authenticate\n"
        f"user = authenticate(username='operator', password={secret!r})\n"
        "print(user.is_staff, user.is_superuser, authenticate(username='operator', password='operator'))"
    )
    told = subprocess.run(
        [sys.executable, "-c", check],
        cwd=ROOT,
        env=environment(VAR_DIR=first.folder / "var", DJANGO_SETTINGS_MODULE="config.settings"),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert told.stdout == "True True None\n"


def test_static_files_are_served_compressed_and_for_ever(folder: Path) -> None:
    static = folder / "var" / "static"
    stored = json.loads((static / "staticfiles.json").read_text())["paths"]
    hashed = next(path for name, path in stored.items() if name.endswith(".css") and (static / f"{path}.gz").exists())
    with serving(folder / "var") as server:
        server.wait()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", f"/static/{hashed}", headers={"Accept-Encoding": "gzip"})
            answer = connection.getresponse()
            answer.read()
    assert answer.status == 200
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "immutable" in answer.headers["Cache-Control"]


def test_two_workers_count_together_from_zero_at_each_start(folder: Path) -> None:
    counted = []
    for _ in range(2):
        with serving(folder / "var", WORKERS=2, METRICS_TOKEN="scrape") as server:
            server.wait()
            sign_up = json.dumps({"client_id": "web"}), {"Content-Type": "application/json"}
            told = set()
            for _ in range(6):  # each on a connection of its own: some worker answers
                assert ask(server, "POST", "/api/v1/signup/", *sign_up)[0] == 201
            for _ in range(6):
                status, body = ask(server, "GET", "/metrics", "", {"Authorization": "Bearer scrape"})
                assert status == 200
                told |= set(re.findall(r"^anonusers_signups_total{.*} (\S+)$", body, re.MULTILINE))
            assert ask(server, "GET", "/metrics", "", {})[0] == 404
            counted.append(told)
    assert counted == [{"6.0"}, {"6.0"}]


def ask(server: Server, method: str, path: str, body: str, headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection("localhost", server.port, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_the_second_start_takes_under_three_seconds_and_shows_no_password(folder: Path) -> None:
    seconds = []
    while len(seconds) < 5 and min(seconds, default=9) >= 3:  # other tests may hold the processor
        with serving(folder / "var") as server:
            seconds.append(server.wait())
        assert password(server.output) == []
        assert "Compressing" not in server.output
        assert "Migrating" not in server.output
    assert min(seconds) < 3, seconds
    assert sql(folder, "SELECT count(*) FROM auth_user WHERE is_staff") == [(1,)]


def test_edits_in_the_portal_outlive_a_restart_until_the_file_changes(folder: Path) -> None:
    sql(folder, "UPDATE anonusers_project SET name = 'Edited', anonymous_users_enabled = 0")
    with serving(folder / "var") as server:
        server.wait()
    assert "is unchanged" in server.output
    assert sql(folder, "SELECT name, anonymous_users_enabled FROM anonusers_project") == [("Edited", 0)]

    (folder / "project.toml").write_text(PROJECT.replace('"Served"', '"Changed"'))
    with serving(folder / "var") as server:
        server.wait()
    assert "Project served: updated from" in server.output
    assert sql(folder, "SELECT name, anonymous_users_enabled FROM anonusers_project") == [("Changed", 1)]


def test_a_changed_static_file_is_collected_again(folder: Path) -> None:
    note = folder / "var" / "static.fingerprint"
    before = note.read_text()
    note.write_text("another state")
    with serving(folder / "var") as server:
        server.wait()
    assert "Compressing" in server.output
    assert note.read_text() == before


def test_an_operator_that_exists_already_is_left_alone(folder: Path) -> None:
    sql(folder, "UPDATE auth_user SET username = 'someone' WHERE is_staff")
    with serving(folder / "var") as server:
        server.wait()
    assert password(server.output) == []
    assert sql(folder, "SELECT username FROM auth_user WHERE is_staff") == [("someone",)]


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = refused(tmp_path, PORT=port)
    assert line == f"anonusers: Port {port} on 127.0.0.1 is taken. Choose another: make run PORT=9000"
    assert not (tmp_path / "var" / "db.sqlite3").exists()


def test_a_port_that_only_another_family_of_localhost_holds_is_taken_too(tmp_path: Path) -> None:
    try:
        other = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        return  # a machine without IPv6 cannot get into this
    with other:
        port = other.getsockname()[1]
        assert f"Port {port} on localhost is taken" in refused(tmp_path, PORT=port)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"PORT": "eighty"}, "PORT and WORKERS are numbers"),
        ({"PORT": "0"}, "between 1 and 65535"),
        ({"PORT": "65536"}, "between 1 and 65535"),
        ({"BIND": "192.0.2.1"}, "on 192.0.2.1 cannot be used"),
        (
            {"DATABASE_URL": "postgres://someone:s3cret@127.0.0.1:1/guests"},
            "The database at postgres://someone@127.0.0.1:1/guests cannot be reached: ",
        ),
        ({"DATABASE_URL": "oops://someone:s3cret@h/guests"}, "begins with oops://, which is not supported"),
        ({"DATABASE_URL": "someone:s3cret@h/guests"}, "DATABASE_URL"),
        ({"DATABASE_URL": "//someone:s3cret@h/guests"}, "DATABASE_URL looks like"),
        ({"DATABASE_URL": "postgres://someone:s3cret/x@h/guests"}, "DATABASE_URL looks like"),
        ({"DATABASE_URL": "sqlite:////proc/none/db.sqlite3"}, "sqlite:////proc/none/db.sqlite3 cannot be reached"),
        ({"CACHE_URL": "redis://someone:s3cret@127.0.0.1:1/0"}, "The cache at redis://127.0.0.1:1/0 cannot"),
        ({"CACHE_URL": "oops://someone:s3cret@h"}, "oops"),
    ],
    ids=lambda value: "-".join(f"{key}={text}" for key, text in value.items()) if isinstance(value, dict) else "",
)
def test_a_setting_that_cannot_work_ends_in_one_line(tmp_path: Path, given: dict[str, str], said: str) -> None:
    line = refused(tmp_path, **given)
    assert said in line
    assert "s3cret" not in line
    assert not (tmp_path / "var" / "db.sqlite3").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("[project", "not TOML"),
        (PROJECT + "colour = 'red'\n", "colour"),
        (PROJECT.replace('"Served"', "7"), "project.name"),
    ],
)
def test_a_bad_project_file_ends_in_one_line_and_changes_nothing(folder: Path, content: str | None, said: str) -> None:
    path = folder / "project.toml"
    path.unlink() if content is None else path.write_text(content)
    before = sql(folder, "SELECT * FROM anonusers_project")
    line = refused(folder)
    assert str(path) in line
    assert said in line
    assert sql(folder, "SELECT * FROM anonusers_project") == before


def test_ctrl_c_which_reaches_every_process_of_the_terminal_ends_it_at_once(folder: Path) -> None:
    with serving(folder / "var", WORKERS=2) as server:
        # Until both workers listen to signals; where all takes longer, that does, too.
        time.sleep(max(0.5, server.wait() / 2))
        began = time.monotonic()
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(timeout=15) == 0
        assert time.monotonic() - began < AT_ONCE
    assert "Traceback" not in server.output
    assert "Killing" not in server.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_with_code_0_although_a_browser_keeps_its_connection(
    folder: Path, number: signal.Signals
) -> None:
    with serving(folder / "var") as server:
        server.wait()
        browser = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        with contextlib.closing(browser):
            browser.request("GET", "/")
            browser.getresponse().read()
            began = time.monotonic()
            assert server.stop(number) == 0
            assert time.monotonic() - began < AT_ONCE
    assert "Traceback" not in server.output
    with pytest.raises(OSError):
        server.get("/")


# The Makefile, with interpreters that only say what they were asked

FAKE = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
  *version_info*) exit {code} ;;
  --version) echo "Python 3.14.0" ;;
  "-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  "-c import psycopg") exit 1 ;;
  "-m config.serve") echo "serving at PORT=$PORT CONFIG=$CONFIG" ;;
esac
"""


class Checkout:
    """A checkout with nothing but the Makefile, on a machine with the given interpreters and no others."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "a check out"
        self.bin = folder / "bin"
        self.calls = folder / "calls"
        self.path.mkdir()
        self.bin.mkdir()
        for name in ("Makefile", "pyproject.toml"):
            shutil.copy(ROOT / name, self.path)
        for name in ("make", "sh", "awk", "cp", "mkdir", "rm", "touch", "true", "test"):
            if tool := shutil.which(name):
                (self.bin / name).symlink_to(tool)

    def interpreter(self, name: str, *, suits: bool) -> None:
        path = self.bin / name
        path.write_text(FAKE.format(code=0 if suits else 1))
        path.chmod(0o755)

    def make(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        self.calls.write_text("")
        return subprocess.run(
            [str(self.bin / "make"), *words],
            cwd=self.path,
            env={"PATH": str(self.bin), "CALLS": str(self.calls)} | settings,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def installed(self) -> list[str]:
        return re.findall(r"-m pip install .*-e \.\[(\w+)\]", self.calls.read_text())


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_a_python_that_is_too_old_gets_one_line_and_no_virtualenv(checkout: Checkout) -> None:
    checkout.interpreter("python3", suits=False)
    ended = checkout.make("run")
    assert ended.returncode != 0
    said = [line for line in ended.stderr.splitlines() if not line.startswith("make: ***")]
    assert said == ["anonusers needs Python 3.11 or newer, but found none. Name one: make PYTHON=/path/to/python3"]
    assert not (checkout.path / ".venv").exists()


def test_a_machine_without_python_gets_the_same_line(checkout: Checkout) -> None:
    ended = checkout.make("run")
    assert ended.returncode != 0
    assert "anonusers needs Python 3.11 or newer" in ended.stderr


def test_a_newer_python_beside_an_old_python3_is_found(checkout: Checkout) -> None:
    checkout.interpreter("python3", suits=False)
    checkout.interpreter("python3.12", suits=True)
    ended = checkout.make("run", "PORT=9000", "CONFIG=my project.toml")
    assert ended.returncode == 0, ended.stderr
    assert "serving at PORT=9000 CONFIG=my project.toml" in ended.stdout


def test_the_python_that_is_named_is_the_only_one_tried(checkout: Checkout) -> None:
    checkout.interpreter("python3", suits=True)
    checkout.interpreter("mine", suits=False)
    ended = checkout.make("run", PYTHON="mine")
    assert ended.returncode != 0
    assert "needs Python 3.11" in ended.stderr
    checkout.interpreter("mine", suits=True)
    assert checkout.make("run", f"PYTHON={checkout.bin}/mine", PORT="9001").stdout.endswith("PORT=9001 CONFIG=\n")


def test_later_runs_install_nothing_until_pyproject_changes(checkout: Checkout) -> None:
    checkout.interpreter("python3", suits=True)
    assert checkout.make("run").returncode == 0
    assert checkout.installed() == ["serve"]
    assert checkout.make("run").returncode == 0
    assert checkout.calls.read_text() == "-m config.serve\n"
    os.utime(checkout.path / "pyproject.toml", (time.time() + 5, time.time() + 5))
    assert checkout.make("run").returncode == 0
    assert checkout.installed() == ["serve"]


def test_a_virtualenv_whose_interpreter_has_gone_is_made_anew(checkout: Checkout) -> None:
    checkout.interpreter("python3", suits=True)
    checkout.make("run")
    (checkout.path / ".venv" / "bin" / "python").unlink()
    assert checkout.make("run").returncode == 0
    assert "-m venv --clear .venv\n" in checkout.calls.read_text()
    assert checkout.installed() == ["serve"]


def test_only_the_drivers_that_the_urls_name_and_that_are_missing_are_installed(checkout: Checkout) -> None:
    checkout.interpreter("python3", suits=True)
    urls = {"DATABASE_URL": "postgres://me:a$b@h/x", "CACHE_URL": "redis://h/1"}
    assert checkout.make("run", **urls).returncode == 0
    assert checkout.installed() == ["serve", "postgres"]  # the fake can import redis, not psycopg
    assert checkout.make("run", **urls).returncode == 0
    assert checkout.installed() == []


def test_make_alone_lists_the_commands(checkout: Checkout) -> None:
    listed = checkout.make().stdout
    for name in ("run", "test", "check", "format"):
        assert re.search(rf"^make {name} +\S", listed, re.MULTILINE)
