"""`/healthz` and `/readyz`, asked as a load balancer asks: by IP address, without TLS and without cookies."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.cache import cache
from django.db import connection, connections
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext

from anonusers.models import Application
from config import health

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ALL_WELL = {"database": "ok", "migrations": "ok", "limits": "ok", "cache": "ok"}
ELSEWHERE = "203.0.113.7:8000"


@pytest.fixture(autouse=True)
def _anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is remembered, and each question is asked."""
    monkeypatch.setattr(health, "FRESH", 0.0)
    monkeypatch.setattr(health, "_is_migrated", False)
    for check in health.CHECKS:
        check.forget()
    yield
    for check in health.CHECKS:
        check.forget()


@pytest.fixture
def probe() -> Client:
    return Client(HTTP_HOST=ELSEWHERE)


@pytest.fixture
def database_down() -> Iterator[Callable[[], None]]:
    """Whoever connects from now on finds nobody; the test's own connection lives on. Call it to bring it back."""
    changed = {"NAME": "/proc/none/db.sqlite3"} if connection.vendor == "sqlite" else {"HOST": "127.0.0.1", "PORT": 1}
    known = connections.settings["default"]
    before = {name: known[name] for name in changed}
    known.update(changed)

    def bring_back() -> None:
        known.update(before)

    yield bring_back
    bring_back()


def words(response: HttpResponse) -> dict[str, str]:
    told: dict[str, str] = json.loads(response.content)["checks"]
    return told


def test_a_process_that_lives_says_so_and_touches_nothing(probe: Client) -> None:
    with CaptureQueriesContext(connection) as statements:
        response = probe.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "alive"})
    assert len(statements) == 0


def test_a_process_whose_database_is_away_lives(probe: Client, database_down: Callable[[], None]) -> None:
    assert probe.get("/healthz").status_code == 200


def test_a_process_that_has_all_it_needs_is_ready(probe: Client) -> None:
    response = probe.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ready", "checks": ALL_WELL})


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_it_is_the_same_under_asgi(path: str) -> None:
    response = async_to_sync(AsyncClient(headers={"host": ELSEWHERE}).get)(path)
    assert response.status_code == 200
    assert response.headers["X-Request-Id"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_nobody_keeps_the_answer_and_nobody_gets_a_session(probe: Client, path: str) -> None:
    response = probe.get(path)
    assert response.headers["Cache-Control"] == "no-store"
    assert not response.cookies
    assert "Vary" not in response.headers


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_head_is_the_same_without_a_body(probe: Client, path: str) -> None:
    response = probe.head(path)
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize("method", ["post", "put", "delete", "options"])
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_nothing_but_reading_is_answered(probe: Client, path: str, method: str) -> None:
    response = getattr(probe, method)(path)
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_are_not_sent_to_https(probe: Client, settings: Any, path: str) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert Client(HTTP_HOST=ELSEWHERE).get(path).status_code == 200


@pytest.mark.parametrize("path", ["/", "/healthz/", "/readyz/", "/healthz/x", "/api/v1/schema/", "/portal/"])
def test_no_other_path_is_open_to_any_host(probe: Client, path: str) -> None:
    assert probe.get(path).status_code == 400


@pytest.mark.parametrize("path", ["/", "/portal/"])
def test_every_other_path_is_sent_to_https(settings: Any, path: str) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert Client(HTTP_HOST="localhost:8000").get(path).status_code == 301


def test_a_database_that_is_away_takes_the_process_out(probe: Client, database_down: Callable[[], None]) -> None:
    response = probe.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {
        "status": "unready",
        "checks": {"database": "away", "migrations": "away", "limits": "ok", "cache": "ok"},
    }
    assert response.headers["Cache-Control"] == "no-store"


def test_it_comes_back_with_the_database(probe: Client, database_down: Callable[[], None]) -> None:
    assert probe.get("/readyz").status_code == 503
    database_down()
    assert probe.get("/readyz").json() == {"status": "ready", "checks": ALL_WELL}


def test_the_answer_and_the_log_name_no_host_and_no_error(
    probe: Client, database_down: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    told = probe.get("/readyz").content.decode() + caplog.text
    assert "readiness: database is away (OperationalError)" in told
    for secret in ("127.0.0.1", "/proc", "port", "unable", "refused", "Traceback"):
        assert secret not in told


def test_what_it_says_is_bounded(probe: Client, database_down: Callable[[], None]) -> None:
    for _ in range(2):
        told = words(probe.get("/readyz"))
        assert set(told) == set(ALL_WELL)
        assert set(told.values()) <= set(health.WORDS)


def test_tables_that_are_behind_the_code_take_the_process_out(probe: Client) -> None:
    newest = MigrationRecorder.Migration.objects.filter(app="anonusers").order_by("-name")[0].name
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MigrationRecorder, "applied_migrations", without(newest))
        response = probe.get("/readyz")
    assert response.status_code == 503
    assert words(response) == ALL_WELL | {"migrations": "pending"}
    assert probe.get("/readyz").status_code == 200, "and back when they were brought up to date"


def without(name: str) -> Any:
    whole = MigrationRecorder.applied_migrations

    def applied(self: MigrationRecorder) -> dict[tuple[str, str], Any]:
        return {key: row for key, row in whole(self).items() if key != ("anonusers", name)}

    return applied


def test_a_limit_store_that_is_away_is_told_and_takes_nobody_out(probe: Client, settings: Any) -> None:
    settings.ANONUSERS_LIMITS_STORAGE = "redis://127.0.0.1:1"
    response = probe.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {"status": "degraded", "checks": ALL_WELL | {"limits": "away"}}


def test_a_cache_that_is_away_is_told_and_takes_nobody_out(probe: Client, settings: Any) -> None:
    settings.CACHE_URL = "redis://127.0.0.1:1"
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1"}
    }
    response = probe.get("/readyz")
    assert response.json() == {"status": "degraded", "checks": ALL_WELL | {"cache": "away"}}


def test_limits_in_the_database_need_nothing_else(probe: Client, settings: Any) -> None:
    settings.ANONUSERS_LIMITS_STORAGE = "database://"
    assert words(probe.get("/readyz")) == ALL_WELL


def test_what_does_not_answer_is_slow_and_is_asked_only_once(
    probe: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes connections and never says a word."""
    assert probe.get("/readyz").status_code == 200  # the tables are compared once; from now on it is one statement
    monkeypatch.setattr(health, "TIMEOUT", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        settings.ANONUSERS_LIMITS_STORAGE = f"redis://127.0.0.1:{mute.getsockname()[1]}"
        before = threading.active_count()
        for _ in range(3):
            began = time.monotonic()
            assert words(probe.get("/readyz")) == ALL_WELL | {"limits": "slow"}
            assert time.monotonic() - began < 5
        assert threading.active_count() <= before + 1
        assert probe.get("/healthz").status_code == 200


def test_a_database_that_does_not_answer_is_slow(probe: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()
    monkeypatch.setattr(health, "TIMEOUT", 1.0)
    monkeypatch.setattr(health.CHECKS[0], "run", lambda: {"database": str(held.wait(10))})
    response = probe.get("/readyz")
    held.set()
    assert response.status_code == 503
    assert words(response) == ALL_WELL | {"database": "slow", "migrations": "slow"}


def test_many_who_ask_at_once_cost_one_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FRESH", 60.0)
    asked: list[int] = []
    monkeypatch.setattr(health.CHECKS[0], "run", lambda: asked.append(1) or {"database": "ok", "migrations": "ok"})
    threads = [threading.Thread(target=health.readiness) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert health.readiness()["database"] == "ok"
    assert len(asked) == 1


def test_the_database_is_asked_one_statement_once_the_tables_are_known_to_fit() -> None:
    with CaptureQueriesContext(connection) as first:
        assert health.check_database() == {"database": "ok", "migrations": "ok"}
    with CaptureQueriesContext(connection) as later:
        health.check_database()
    assert len(first) <= 5
    assert [query["sql"] for query in later.captured_queries] == ["SELECT 1"]


def test_the_cache_and_the_limits_ask_the_database_nothing() -> None:
    cache.clear()
    with CaptureQueriesContext(connection) as statements:
        health.check_cache()
        health.check_limits()
    assert len(statements) == 0


def test_guests_sign_up_while_the_limit_store_is_away(application: Application, settings: Any) -> None:
    """Why a process stays in: it has something to do."""
    settings.ANONUSERS_LIMITS_STORAGE = "redis://127.0.0.1:1"
    body = json.dumps({"client_id": application.client_id})
    response = Client(HTTP_HOST="localhost:8000").post("/api/v1/signup/", body, content_type="application/json")
    assert response.status_code == 201
