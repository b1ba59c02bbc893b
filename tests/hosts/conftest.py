"""Fixtures of every host project."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from anonusers import keys, limits
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
