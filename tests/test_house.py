"""The rules of the house: who may import whom, ids that are unique, tables that are complete, docs that are true."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PURE = {
    "budgets",
    "conf",
    "devices",
    "dpop",
    "errors",
    "keypairs",
    "login_ids",
    "networks",
    "realm_json",
    "realm_providers",
    "realm_reading",
    "realm_sources",
    "realm_user_rows",
    "realm_writing",
    "sealing",
    "statements",
    "tokens",
}
MODELS = {"models"}
USE_CASES = {
    "account",
    "api_keys",
    "administration",
    "adapters",
    "adoption",
    "applications",
    "audit",
    "bot_check",
    "cleanup",
    "cleanup_run",
    "codegrant",
    "counting",
    "device_keys",
    "erasure",
    "events",
    "forecast",
    "gone",
    "guest_data",
    "idempotency",
    "key_login",
    "keys",
    "leftovers",
    "limit_store",
    "limits",
    "login",
    "metrics",
    "onetime",
    "pending_users",
    "people",
    "project_file",
    "project_keys",
    "projects",
    "promotion",
    "proposals",
    "reach",
    "reach_postgres",
    "realm_files",
    "realm_kept",
    "realm_migration",
    "realm_sessions",
    "realm_user_import",
    "realm_users",
    "refresh",
    "registrations",
    "removal",
    "retention",
    "sessions",
    "signup",
    "signup_limits",
    "statistics",
    "tasks",
    "token_exchange",
    "userinfo",
}
HOST_FACING = {
    "access",
    "authentication",
    "backends",
    "browser",
    "context_processors",
    "credentials",
    "decorators",
    "django_login",
    "guests",
    "middleware",
    "mixins",
    "openapi",
    "permissions",
    "pytest_plugin",
    "registration",
    "testing",
    "throttling",
}
DOORS = {"protocols", "pages", "management", "admin", "contrib"} | HOST_FACING
FRAME = {"access_checks", "access_guards", "apps", "checks", "urls", "migrations", "templatetags", "__init__"}
# Use case → the use cases it may import.
PEERS: dict[str, set[str]] = {
    "account": {"adapters", "events", "limits", "onetime", "promotion"},
    "administration": {"adapters", "device_keys", "erasure", "events", "sessions"},
    "adapters": set(),
    "adoption": {"adapters", "audit", "events", "onetime"},
    "applications": {"audit", "reach"},
    "api_keys": {"audit", "limits", "promotion"},
    "audit": set(),
    "bot_check": {"onetime"},
    "cleanup": {"cleanup_run", "events", "forecast", "guest_data", "leftovers", "reach", "removal", "statistics"},
    "cleanup_run": {"forecast", "guest_data", "reach"},
    "codegrant": {"onetime", "sessions"},
    "counting": set(),
    "device_keys": {"events", "onetime"},
    "events": {"audit", "metrics"},
    "erasure": {"adapters", "audit", "guest_data", "removal", "statistics"},
    "forecast": {"guest_data", "reach"},
    "gone": {"keys"},
    "guest_data": set(),
    "idempotency": set(),
    "key_login": {"device_keys", "keys", "limits", "sessions", "signup"},
    "keys": {"audit"},
    "leftovers": {"cleanup_run", "counting", "reach"},
    "limit_store": set(),
    "limits": {"limit_store", "metrics"},
    "login": {"limits", "onetime", "promotion"},
    "metrics": set(),
    "onetime": set(),
    "pending_users": {"adapters", "promotion", "registrations"},
    "people": set(),
    "project_file": {"keys", "project_keys"},
    "project_keys": set(),
    "projects": {"adapters", "audit", "guest_data", "keys", "reach", "removal"},
    "promotion": {"adapters", "adoption", "audit", "events", "limits", "onetime"},
    "reach": {"guest_data", "reach_postgres"},
    "reach_postgres": set(),
    "proposals": {"project_file"},
    "realm_files": {"audit", "project_file", "realm_kept", "realm_users"},
    "realm_kept": {"realm_users"},
    "realm_migration": {"audit", "sessions"},
    "realm_user_import": {"adapters", "audit", "realm_kept", "realm_users"},
    "realm_sessions": {"keys", "promotion", "realm_migration", "sessions"},
    "realm_users": set(),
    "retention": set(),
    "removal": {"events", "guest_data"},
    "refresh": {"keys", "sessions", "statistics"},
    "registrations": {
        "account",
        "adapters",
        "adoption",
        "audit",
        "limits",
        "login",
        "onetime",
        "promotion",
        "realm_users",
    },
    "sessions": {"events", "gone", "keys", "onetime", "statistics", "userinfo"},
    "signup": {"adapters", "device_keys", "events", "idempotency", "keys", "sessions", "signup_limits"},
    "signup_limits": {"bot_check", "limits"},
    "statistics": {"counting"},
    "tasks": {"cleanup", "metrics", "projects"},
    "token_exchange": {"limits", "sessions"},
    "userinfo": set(),
}
HTTP = ("django.http", "rest_framework", "django.shortcuts", "django.urls", "django.views")


def modules(package: str) -> list[Path]:
    return [path for path in (ROOT / package).rglob("*.py") if "migrations" not in path.parts]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            found |= {f"{module}.{alias.name}" for alias in node.names} | {module}
    return found


def room(path: Path) -> str:
    parts = path.relative_to(ROOT / "anonusers").with_suffix("").parts
    return parts[0]


def rooms_imported(path: Path) -> set[str]:
    names = {tuple(name.split(".")) for name in imports(path) if name.startswith("anonusers.")}
    return {name[1] for name in names if len(name) > 1} & (PURE | MODELS | USE_CASES | DOORS | FRAME)


def ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


APP = modules("anonusers")


def test_every_module_has_a_layer():
    known = PURE | MODELS | USE_CASES | DOORS | FRAME
    assert {room(path) for path in APP} <= known
    assert set(PEERS) == USE_CASES


@pytest.mark.parametrize("path", APP, ids=ids(APP))
def test_arrows_go_down_only(path):
    allowed = {
        **dict.fromkeys(PURE, PURE),
        **dict.fromkeys(MODELS, PURE | MODELS),
        **{name: PURE | MODELS | {name} | PEERS[name] for name in USE_CASES},
        **dict.fromkeys(DOORS, PURE | MODELS | USE_CASES | HOST_FACING),
        "protocols": PURE | MODELS | USE_CASES | HOST_FACING | {"protocols"},
        "pages": PURE | MODELS | USE_CASES | HOST_FACING | {"pages"},
        "contrib": PURE | MODELS | USE_CASES | HOST_FACING | {"contrib"},
        "checks": PURE | {"adapters", "guest_data", "limits"},
        "access_checks": PURE | {"access_guards"},
        "access_guards": {"authentication", "decorators", "mixins", "permissions"},
        "apps": {"access_checks", "checks", "django_login", "openapi"},
        "urls": set(),
    }
    if room(path) in allowed:
        assert rooms_imported(path) <= allowed[room(path)]


@pytest.mark.parametrize("path", [p for p in APP if room(p) in PURE | MODELS | USE_CASES], ids=str)
def test_http_stays_at_the_doors(path):
    text = path.read_text()
    assert not [name for name in imports(path) if name.startswith(HTTP)]
    arguments = {node.arg for node in ast.walk(ast.parse(text)) if isinstance(node, ast.arg)}
    assert "request" not in arguments, "no request below the doors"
    assert "authgear.com" not in text, "vendor strings live in wire.py"


@pytest.mark.parametrize("path", [p for p in APP if room(p) in PURE], ids=str)
def test_pure_modules_never_touch_the_database(path):
    assert not [name for name in imports(path) if name.startswith("django.db")]


DOOR_PACKAGES = [path.name for path in (ROOT / "anonusers/protocols").iterdir() if (path / "urls.py").exists()]


@pytest.mark.parametrize("door", DOOR_PACKAGES)
def test_doors_do_not_open_into_each_other(door):
    for path in modules(f"anonusers/protocols/{door}") + modules("anonusers/pages"):
        for other in set(DOOR_PACKAGES) - ({door} if "protocols" in path.parts else set()):
            assert not [name for name in imports(path) if name.startswith(f"anonusers.protocols.{other}")], path
    assert (ROOT / "anonusers/protocols" / door / "README.md").exists()


def test_the_app_knows_neither_portal_nor_deployment():
    for path in APP:
        assert not [name for name in imports(path) if name.split(".")[0] in ("portal", "config", "example")], path


def test_only_settings_read_the_environment_and_only_conf_reads_our_settings():
    for package in ("anonusers", "portal", "config", "example"):
        for path in modules(package):
            text = path.read_text()
            if path != ROOT / "config/settings.py":
                assert "environ.get" not in text, path
                assert "getenv" not in text, path
            if path not in (ROOT / "anonusers/conf.py", ROOT / "anonusers/checks.py", ROOT / "config/settings.py"):
                assert not re.search(r"settings\.ANONUSERS_", text), path


def test_ids_of_system_checks_are_unique():
    text = "".join((ROOT / f"anonusers/{name}.py").read_text() for name in ("checks", "access_checks"))
    found = re.findall(r'id="(anonusers\.[EW]\d{3})"', text)
    assert found
    assert len(found) == len(set(found))


def test_the_readme_lists_every_setting_with_its_default():
    from anonusers.conf import Conf

    readme = (ROOT / "README.md").read_text()
    rows = dict(re.findall(r"^\| `(ANONUSERS_[A-Z_]+)` \| `([^`]+)` \|", readme, re.MULTILINE))
    assert rows == {f"ANONUSERS_{name}": repr(value) for name, value in vars(Conf).items() if name.isupper()}


def test_no_room_is_a_drawer():
    forbidden = {"utils", "helpers", "common", "core", "services", "misc"}
    assert not {path.stem for path in APP} & forbidden
    too_long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in APP}
    assert {name: lines for name, lines in too_long.items() if lines > 420} == {}


def test_nothing_is_inline_in_templates():
    for folder in ("anonusers", "templates", "example"):
        for path in (ROOT / folder).rglob("*.html"):
            text = path.read_text()
            assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=", text), path


def test_no_secret_is_compared_with_equals():
    """Secrets are looked up by hash or compared with compare_digest."""
    for name in ("tokens", "sessions", "signup", "idempotency"):
        text = (ROOT / f"anonusers/{name}.py").read_text()
        assert not re.search(r"(secret|mac|hash|fingerprint)\w*\W* *(==|!=)", text), name
