"""Fixtures of every host project."""

import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from django.test import Client

from anonusers import keys, limits, tokens
from anonusers.models import Project
from tests.hosts.story import CHROME, HOST, Browser

NO_SKIP = bool(os.environ.get("ANONUSERS_NO_SKIP"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome: Any = yield
    report = outcome.get_result()
    if NO_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but nothing may be skipped here: {report.longrepr}"


@pytest.fixture(autouse=True)
def _afresh() -> None:
    limits.forget()
    # A rolled-back test gives its ids to the next one, which a real database does not.
    keys._rings.clear()


@cache
def _spare_key(algorithm: str, number: int) -> str:
    return tokens.generate_key(algorithm)


_parse_key = cache(tokens.parse_key)


@pytest.fixture(autouse=True)
def _ready_made_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """To make and to read an RSA key costs more than all the rest of a test (as in tests/conftest.py)."""
    taken: Counter[str] = Counter()

    def take(algorithm: str) -> str:
        taken[algorithm] += 1
        return _spare_key(algorithm, taken[algorithm])

    monkeypatch.setattr("anonusers.keys.generate_key", take)
    monkeypatch.setattr("anonusers.keys.parse_key", _parse_key)


@pytest.fixture
def project(db: None) -> Project:
    """The host's one project, at localhost: addresses and user names, whoever proves an account goes on as that one."""
    project = Project.objects.create(
        slug="shop",
        name="Shop",
        anonymous_users_enabled=True,
        login_ids=["email", "username"],
        promotion_conflict=Project.PromotionConflict.LOGIN,
    )
    project.domains.create(domain="localhost")
    keys.create_keys(project)
    return project


@pytest.fixture
def client() -> Client:
    return Client(HTTP_HOST=HOST, HTTP_USER_AGENT=CHROME)


@pytest.fixture
def browser(client: Client, project: Project) -> Browser:
    return Browser(client)
