"""`/healthz`: this process lives. `/readyz`: it should get requests, since what it needs answers.

Asked by load balancers and containers, which come by IP address, without cookies and without TLS. So the middleware
answers before any other looks at the request: any Host will do here and nowhere else, nobody is sent to https, no
session is read. Answers are fixed words: nobody learns a host name, a version or an error.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late

from django.conf import settings
from django.core.cache import cache
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse

from anonusers import limits

logger = logging.getLogger(__name__)

PATHS = ("/healthz", "/readyz")
TIMEOUT = 2.0
"""Seconds that all checks of one answer may take together. What is not back by then is "slow"."""
FRESH = 1.0
"""Seconds for which an answer is given again: whoever asks more often costs nothing more."""
WORDS = ("ok", "pending", "slow", "away")
Words = dict[str, str]


class HealthMiddleware:
    """Stands first in MIDDLEWARE, but for what logs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info not in PATHS:
            return self.get_response(request)
        if request.method not in ("GET", "HEAD"):
            return _answer(request, 405, {"status": "refused"}, Allow="GET, HEAD")
        if request.path_info == "/healthz":
            return _answer(request, 200, {"status": "alive"})
        words = readiness()
        needed = (words["database"], words["migrations"])
        if needed != ("ok", "ok"):
            return _answer(request, 503, {"status": "unready", "checks": words})
        # Guests still sign up when the counters are away: to take every process out would make an outage of that.
        status = "ready" if set(words.values()) == {"ok"} else "degraded"
        return _answer(request, 200, {"status": status, "checks": words})


def readiness() -> Words:
    """What each check says: "ok", "pending" (migrations), "slow", or "away"."""
    until = time.monotonic() + TIMEOUT
    jobs = [check.ask() for check in CHECKS]
    words: Words = {}
    for check, job in zip(CHECKS, jobs, strict=True):
        try:
            words |= job.result(max(0.0, until - time.monotonic()))
        except Late:
            words |= dict.fromkeys(check.names, "slow")
    return words


class Check:
    """One thing that is asked for in a thread of its own: a server that swallows packets holds that thread and no
    other, and while it does, whoever asks waits for the same answer instead of starting another."""

    def __init__(self, run: Callable[[], Words], *names: str) -> None:
        self.run = run
        self.names = names
        self._lock = threading.Lock()
        self._job: Future[Words] | None = None
        self._ended = 0.0

    def ask(self) -> "Future[Words]":
        with self._lock:
            job = self._job
            if job is None or (job.done() and time.monotonic() - self._ended > FRESH):
                job = self._job = Future()
                threading.Thread(target=self._work, args=(job,), name=f"readyz-{self.names[0]}", daemon=True).start()
            return job

    def forget(self) -> None:
        """Ask anew, whatever was said. For tests."""
        with self._lock:
            self._job = None

    def _work(self, job: "Future[Words]") -> None:
        try:
            words = self.run()
        except Exception as error:  # each driver has a tree of its own
            # The type alone: a driver's text names hosts and users.
            logger.warning("readiness: %s is away (%s)", self.names[0], type(error).__name__)
            words = dict.fromkeys(self.names, "away")
        finally:
            connections.close_all()  # this thread's
        self._ended = time.monotonic()
        job.set_result(words)


_is_migrated = False


def check_database() -> Words:
    """One statement. Until the tables are up to date, what Django needs to compare them with the code besides."""
    global _is_migrated
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    if not _is_migrated:
        executor = MigrationExecutor(connection)
        _is_migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return {"database": "ok", "migrations": "ok" if _is_migrated else "pending"}


def check_limits() -> Words:
    """The store of the counters; those in memory or in the database need nothing that is not asked already."""
    return {"limits": "ok" if limits.is_store_up() else "away"}


def check_cache() -> Words:
    """The cache, where it is a server."""
    if settings.CACHE_URL:
        cache.get("anonusers:ready")
    return {"cache": "ok"}


CHECKS = (Check(check_database, "database", "migrations"), Check(check_limits, "limits"), Check(check_cache, "cache"))


def _answer(request: HttpRequest, status: int, body: dict[str, object], **headers: str) -> HttpResponse:
    text = "" if request.method == "HEAD" else json.dumps(body)
    common = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return HttpResponse(text, status=status, content_type="application/json", headers=common | headers)
