"""Fixtures for everybody, and the rule that in CI nothing is skipped."""

import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import hypothesis
import pytest
from django.apps import apps
from django.db import connection, connections
from django.db.models import Model
from django.test import Client
from django.utils import translation

from anonusers import keys, limits, tokens
from anonusers.keys import create_keys
from anonusers.models import Application, Project

NO_SKIP = bool(os.environ.get("ANONUSERS_NO_SKIP"))
# An example that takes long on a busy machine is no failure. A developer's run looks at new ones each time; CI must not
# fail by luck on what nobody has changed.
PATIENT = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("patient", PATIENT)
hypothesis.settings.register_profile("ci", PATIENT, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "patient")
# Whole projects with user models of their own, each for a process of its own (test_hosts.py).
collect_ignore = ["hosts"]
# Marker → the database beside which its tests run.
AT_HOME = {"postgres": "postgresql", "once": "sqlite"}
HOST = "localhost:8000"
ORIGIN = f"http://{HOST}"
APP_ORIGIN = "http://localhost:9000"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that need PostgreSQL do not exist elsewhere, and those that no database concerns are run beside SQLite;
    they are not "skipped", CI runs each where it belongs."""
    foreign = [marker for marker, vendor in AT_HOME.items() if vendor != connection.vendor]
    elsewhere = [item for item in items if any(item.get_closest_marker(marker) for marker in foreign)]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome: Any = yield
    report = outcome.get_result()
    if NO_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but nothing may be skipped here: {report.longrepr}"


@pytest.fixture(autouse=True)
def _plain(settings: Any) -> None:
    """Static files without a manifest, quick hashes, empty counters."""
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.ANONUSERS_LIMITS_STORAGE = "memory://"
    limits.forget()
    # A thread keeps the language of its last request: that of another test would be found where none is asked for.
    translation.deactivate()
    # A rolled-back test gives its ids to the next one, which a real database does not.
    keys._rings.clear()


@cache
def _spare_key(algorithm: str, number: int) -> str:
    return tokens.generate_key(algorithm)


_parse_key = cache(tokens.parse_key)


@pytest.fixture(autouse=True)
def _ready_made_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test takes its keys from the same row of spares: to make and to read an RSA key costs more than all the rest
    of a test. They are as real as any; what makes and reads them has tests of its own (test_tokens.py)."""
    taken: Counter[str] = Counter()

    def take(algorithm: str) -> str:
        taken[algorithm] += 1
        return _spare_key(algorithm, taken[algorithm])

    monkeypatch.setattr("anonusers.keys.generate_key", take)
    monkeypatch.setattr("anonusers.keys.parse_key", _parse_key)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """PostgreSQL drops no database that somebody else is connected to: a thread of the live server whose browser is
    still open, a killed process whose statement still runs. Connections end with their request, the rest is told to go.
    """
    connections.settings["default"]["CONN_MAX_AGE"] = 0
    yield
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )


def make_project(slug: str = "guestbook", *domains: str, **fields: Any) -> Project:
    project = Project.objects.create(
        slug=slug, name=slug.title(), **({"anonymous_users_enabled": True, "login_ids": ["email"]} | fields)
    )
    for domain in domains or ("localhost",):
        project.domains.create(domain=domain)
    create_keys(project)
    return project


def make_application(project: Project, client_id: str = "web", **fields: Any) -> Application:
    defaults = {
        "name": client_id.title(),
        "type": "spa",
        "redirect_uris": [f"{APP_ORIGIN}/after-login"],
        "post_logout_redirect_uris": [f"{APP_ORIGIN}/after-logout"],
    }
    return Application.objects.create(project=project, client_id=client_id, **(defaults | fields))


@pytest.fixture
def project(db: None) -> Project:
    """A project at localhost with anonymous users enabled."""
    return make_project()


@pytest.fixture
def application(project: Project) -> Application:
    """A single-page application `web`, at home on http://localhost:9000."""
    return make_application(project)


@pytest.fixture
def browser_client() -> Client:
    """A client that keeps cookies and comes to localhost:8000."""
    return Client(HTTP_HOST=HOST)


@pytest.fixture
def make_client() -> Callable[..., Client]:
    return lambda **options: Client(**({"HTTP_HOST": HOST} | options))


def rows_of(models: Iterable[type[Model]]) -> dict[str, list[dict[str, Any]]]:
    """Every row of these tables with all columns as the database has them, ordered by key: `{label: rows}`.

    Without the ORM, which takes ten times as long for it.
    """
    found = {}
    with connection.cursor() as cursor:
        for model in models:
            cursor.execute(_every_row(model))
            names = [column[0] for column in cursor.description]
            found[model._meta.label] = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return found


def whole_database() -> dict[str, list[dict[str, Any]]]:
    """Every row of ours and of the host's users."""
    return rows_of(_ours_and_the_hosts())


def row_counts() -> dict[str, int]:
    """Rows of every table of ours and of the host's users: "and nothing else changes"."""
    models = _ours_and_the_hosts()
    with connection.cursor() as cursor:
        cursor.execute(_counts(models))
        return {model._meta.label: count for model, count in zip(models, cursor.fetchone(), strict=True)}


@cache
def _ours_and_the_hosts() -> tuple[type[Model], ...]:
    return tuple(model for app in ("anonusers", "auth") for model in apps.get_app_config(app).get_models())


@cache
def _every_row(model: type[Model]) -> str:
    key: Any = model._meta.pk
    table, column = (connection.ops.quote_name(name) for name in (model._meta.db_table, key.column))
    return f"SELECT * FROM {table} ORDER BY {column}"


@cache
def _counts(models: tuple[type[Model], ...]) -> str:
    tables = (connection.ops.quote_name(model._meta.db_table) for model in models)
    return "SELECT " + ", ".join(f"(SELECT COUNT(*) FROM {table})" for table in tables)


def assert_random(ids: Iterable[uuid.UUID]) -> None:
    """Version 4, and each has nothing to do with the one before: of the 122 random bits some 61 differ, and 20 or fewer
    once in 10¹⁴ pairs. One step of a counter changes less."""
    for one, other in pairwise(ids):
        assert one.version == 4
        assert (one.int ^ other.int).bit_count() > 20, f"{one} and {other} are alike"


def state_of(*instances: Any) -> list[dict[str, Any]]:
    """All columns of some rows, to compare before and after."""
    return [type(row)._default_manager.filter(pk=row.pk).values().get() for row in instances]


def headers_of(response: Any) -> dict[str, str]:
    """All headers but those that are new at each answer, to see whether two answers are one."""
    return {name: value for name, value in response.headers.items() if name not in ("Date", "X-Request-Id")}
