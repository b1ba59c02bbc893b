"""Containerfile and compose.yaml, read as a builder reads them. No engine runs here: that each step works is for
whoever builds the image; that nothing is missing which it names, and that its programs work, is for these tests."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands, load_command_class

from config import serve
from tests.test_serve import PROJECT, ROOT, environment, free_port, serving

pytestmark = pytest.mark.once

PINNED = re.compile(r"docker\.io/[a-z]+/[a-z]+:\d+(\.\d+)?(-slim)?")
# What Python, pip and the shell read.
NOT_OURS = {"PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PIP_NO_CACHE_DIR", "PIP_DISABLE_PIP_VERSION_CHECK"}
SETTINGS = set(re.findall(r'env\.\w+\("([A-Z_]+)"', (ROOT / "config/settings.py").read_text()))


@dataclass(frozen=True)
class Step:
    stage: int
    word: str
    rest: str


def steps() -> list[Step]:
    text = (ROOT / "Containerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    found, stage = [], -1
    for line in filter(None, text.splitlines()):
        word, _, rest = line.partition(" ")
        stage += word == "FROM"
        found.append(Step(stage, word, " ".join(rest.split())))
    return found


STEPS = steps()
LAST = STEPS[-1].stage
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


def only(word: str) -> str:
    [step] = [step for step in STEPS if step.stage == LAST and step.word == word]
    return step.rest


def is_ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path out of the build: the last line that fits has the word."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!").removeprefix("**/")
        parents = ["/".join(path.split("/")[: end + 1]) for end in range(path.count("/") + 1)]
        names = path.split("/") if "**/" in line else parents
        if any(fnmatch(name, pattern) for name in names):
            ignored = not line.startswith("!")
    return ignored


# --- Containerfile ---------------------------------------------------------------------------------


def test_every_image_has_a_pinned_major_version() -> None:
    images = [step.rest.split()[0] for step in STEPS if step.word == "FROM"]
    images += [service["image"] for service in SERVICES.values() if "build" not in service]
    assert len(images) == 4
    assert [image for image in images if not PINNED.fullmatch(image)] == []


def test_the_python_is_one_that_we_support() -> None:
    [version] = {step.rest.split(":")[1].split("-")[0] for step in STEPS if step.word == "FROM"}
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    assert f"Programming Language :: Python :: {version}" in classifiers


def test_whatever_is_copied_is_there_and_is_not_kept_out() -> None:
    copied = [step for step in STEPS if step.word == "COPY" and not step.rest.startswith("--from=")]
    sources = {source for step in copied for source in step.rest.split()[:-1]}
    assert sources >= {"anonusers", "portal", "templates", "config", "manage.py"}
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not is_ignored(source), source


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".git/config",
        "var/secret_key",
        ".venv/bin/python",
        "tests/conftest.py",
        "docs/deploy.md",
        ".ci/run",
        "example/.env",
        "config/.settings.py.swp",
    ],
)
def test_what_the_image_does_not_need_stays_out(path: str) -> None:
    assert is_ignored(path)


def test_no_compiled_python_comes_along() -> None:
    assert is_ignored("anonusers/__pycache__/conf.cpython-313.pyc")
    assert not is_ignored("anonusers/models/users.py")


def test_the_extras_that_are_installed_exist() -> None:
    [step] = [step for step in STEPS if "pip install" in step.rest]
    extras = re.findall(r"[\w-]+", re.search(r'"\.\[(.+?)\]"', step.rest)[1])  # type: ignore[index]
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras) <= set(known)
    assert {"serve", "postgres", "redis"} <= set(extras)


def test_no_build_tool_gets_into_the_image_and_nothing_runs_as_root() -> None:
    last = [step for step in STEPS if step.stage == LAST]
    assert not [
        step for step in last if re.search(r"apt|pip|gcc|build-essential|curl", step.rest) and step.word == "RUN"
    ]
    assert only("USER") == "10001"
    [made] = re.findall(r"groupadd --gid (\d+) .+ useradd --uid (\d+) --gid (\d+) ", only("RUN"))
    assert set(made) == {only("USER")}, "a group of its own: below 1000 it may be one of the host's"
    assert "--system" not in only("RUN"), "for IDs below 1000"
    words = [step.word for step in last]
    assert words.index("USER") < words.index("CMD")


def test_no_secret_is_in_the_image() -> None:
    for step in STEPS:
        if step.word in ("ENV", "ARG"):
            assert not re.search(r"SECRET|PASSWORD|TOKEN|DATABASE_URL|ENCRYPTION", step.rest), step
    [collect] = [step for step in STEPS if "collectstatic" in step.rest]
    assert "VAR_DIR=/tmp/" in collect.rest, "a key that is made on the way is left behind"


def test_what_the_image_runs_can_be_read_and_not_written_whatever_the_umask_of_the_checkout(tmp_path: Path) -> None:
    change = [step for step in STEPS if step.stage < LAST][-1].rest
    assert change.startswith("chmod "), "after all else"
    for folder, file in ((0o700, 0o600), (0o777, 0o666)):
        app = tmp_path / str(folder) / "app"
        (app / "config").mkdir(parents=True)
        (app / "config" / "settings.py").write_text("")
        (app / "config" / "settings.py").chmod(file)
        for path in (app / "config", app):
            path.chmod(folder)
        subprocess.run(shlex.split(change.replace("/app", str(app))), check=True)
        assert [path.stat().st_mode & 0o777 for path in (app, app / "config", app / "config" / "settings.py")] == [
            0o755,
            0o755,
            0o644,
        ]


def variables(rest: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(rest) if re.match(r"[A-Z_]+=", word))


def test_every_variable_is_read_by_the_settings() -> None:
    told = {name for step in STEPS if step.word in ("ENV", "RUN") for name in variables(step.rest)}
    told |= {name for service in OURS.values() for name in service["environment"]}
    assert {"BIND", "PORT", "VAR_DIR", "STATIC_ROOT", "LOG_FORMAT", "DATABASE_URL", "CACHE_URL"} <= told
    assert told - SETTINGS - NOT_OURS == set()


def test_the_image_serves_on_every_address_at_the_port_that_it_tells() -> None:
    env = variables(only("ENV"))
    assert env["BIND"] == "0.0.0.0"
    assert env["PORT"] == only("EXPOSE")
    assert env["LOG_FORMAT"] == "json"
    [collect] = [step for step in STEPS if "collectstatic" in step.rest]
    assert variables(collect.rest)["STATIC_ROOT"] == env["STATIC_ROOT"]


def commands() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"image": json.loads(only("CMD"))}
    return found | {name: service["command"] for name, service in OURS.items() if "command" in service}


@pytest.mark.parametrize("name", ["image", "setup", "cleanup"])
def test_every_command_exists_and_takes_its_words(name: str) -> None:
    command = commands()[name]
    assert command[0] == "python"
    if command[1] == "-m":
        assert command[2] == serve.__name__
        assert set(command[3:]) <= {serve.PREPARE, serve.START}
    else:
        app = get_commands()[command[2]]
        assert (ROOT / command[1]).exists()
        parser = load_command_class(str(app), command[2]).create_parser(command[1], command[2])
        parser.parse_args(command[3:])


def test_the_image_starts_a_server_and_nothing_else() -> None:
    assert commands()["image"][-1] == serve.START
    assert commands()["setup"][-1] == serve.PREPARE


def test_the_health_check_is_a_program_that_tells_ready_from_not(tmp_path: Path) -> None:
    program = json.loads(re.sub(r".* CMD (?=\[)", "", only("HEALTHCHECK")))
    assert program[:2] == ["python", "-c"]

    def probe(port: int) -> int:
        words = [sys.executable, *program[1:]]
        return subprocess.run(
            words, env=environment(PORT=port), capture_output=True, timeout=20, check=False
        ).returncode

    assert probe(free_port()) != 0, "nobody is there"
    (tmp_path / "project.toml").write_text(PROJECT)
    with serving(tmp_path / "var") as server:
        server.wait()
        assert probe(server.port) == 0
    with serving(tmp_path / "var", "start", DATABASE_URL=f"sqlite:///{tmp_path}/nowhere/db.sqlite3") as server:
        server.wait()
        assert probe(server.port) != 0, "the database is away"


# --- compose.yaml ----------------------------------------------------------------------------------


def test_a_process_of_ours_cannot_write_where_it_need_not_and_has_no_rights() -> None:
    assert set(OURS) == {"setup", "web", "cleanup"}
    for service in OURS.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        where = {mount.split(":")[0] for mount in service["tmpfs"]}
        assert where == {"/tmp", variables(only("ENV"))["VAR_DIR"]}
        assert f"uid={only('USER')},gid={only('USER')}," in " ".join(service["tmpfs"])
        assert all(volume.endswith(":ro") for volume in service["volumes"])


def test_a_process_of_ours_hears_that_it_should_end() -> None:
    """As process 1 it would not: the kernel keeps a SIGTERM from it that it has not asked for, and the clean-up asks
    for none, nor does a server that is still importing. The engine would wait, and kill."""
    assert [name for name, service in OURS.items() if service.get("init") is not True] == []


def test_who_has_no_rights_is_not_root() -> None:
    """The entrypoint of Valkey's image, as root, chowns /data. Without CAP_CHOWN it fails, and nothing starts."""
    bare = {name: service for name, service in SERVICES.items() if service.get("cap_drop") == ["ALL"]}
    assert set(bare) == {*OURS, "store"}
    assert SERVICES["store"]["user"] == "valkey"
    assert [name for name, service in bare.items() if "cap_add" in service] == []


def test_only_the_web_can_be_reached_and_only_from_this_machine() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["web"]
    assert SERVICES["web"]["ports"] == ["127.0.0.1:${PUBLISHED_PORT:-8000}:8000"]


def test_each_waits_for_what_it_needs() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in SERVICES, f"{name} waits for {other}"
            if how["condition"] == "service_healthy":
                assert "test" in SERVICES[other]["healthcheck"]
            else:
                assert SERVICES[other]["restart"] == "no"
    assert set(SERVICES["setup"]["depends_on"]) == {"database", "store"}


def test_what_has_no_web_server_has_no_check_of_one() -> None:
    for name in ("setup", "cleanup"):
        assert SERVICES[name]["healthcheck"] == {"disable": True}
    assert "healthcheck" not in SERVICES["web"], "that of the image"


def test_the_hosts_in_addresses_are_services() -> None:
    for service in OURS.values():
        env = service["environment"]
        assert {re.search(r"[@/]([a-z]+):\d+/", env[name])[1] for name in ("DATABASE_URL", "CACHE_URL")} == {  # type: ignore[index]
            "database",
            "store",
        }
    assert SERVICES["database"]["volumes"][0].split(":")[0] in COMPOSE["volumes"]


def test_every_variable_is_explained_and_no_secret_has_a_default() -> None:
    text = (ROOT / "compose.yaml").read_text()
    used = dict(re.findall(r"\$\{([A-Z_]+)(:[?-])", text))
    example = dict(re.findall(r"^([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert set(used) == set(example)
    needed = {name for name, how in used.items() if how == ":?"}
    assert needed == {"SECRET_KEY", "ANONUSERS_ENCRYPTION_KEYS", "POSTGRES_PASSWORD", "EMAIL_URL"}
    assert {example[name] for name in needed} == {""}
    defaults = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", text))
    assert {name: example[name] for name in defaults} == defaults


def test_a_filled_in_env_stays_out_of_the_repository() -> None:
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_settings_take_what_compose_gives_them(tmp_path: Path) -> None:
    """The addresses, with every variable at its default."""
    env = {}
    for name, value in SERVICES["web"]["environment"].items():
        filled = re.sub(r"\$\{[A-Z_]+:\?[^}]*\}", "x" * 40, str(value))
        env[name] = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", filled)
    env |= {"EMAIL_URL": "consolemail://", "LOG_FORMAT": "json", "VAR_DIR": str(tmp_path)}
    code = (
        "from config import settings as s; d = s.DATABASES['default']; "
        "print(d['ENGINE'], d['HOST'], s.CACHES['default']['LOCATION'], s.ANONUSERS_LIMITS_STORAGE, s.ALLOWED_HOSTS, "
        "s.CSRF_TRUSTED_ORIGINS)"
    )
    words = [sys.executable, "-c", code]
    ended = subprocess.run(words, cwd=ROOT, env=environment(**env), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == (
        "django.db.backends.postgresql database redis://store:6379/0 redis://store:6379/0 ['localhost', '127.0.0.1'] []"
    )
