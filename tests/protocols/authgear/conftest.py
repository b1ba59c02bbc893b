"""The visitors of the Authgear door."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from anonusers.models import Application, Project

pytest.register_assert_rewrite("tests.protocols.authgear.steps")

from tests.conftest import HOST, make_application, make_project  # noqa: E402

HOST_A, HOST_B = "a.localhost:8000", "b.localhost:8000"


@pytest.fixture(autouse=True)
def _no_project_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anonusers.protocols.authgear.discovery._projects_seen", {})


@pytest.fixture
def visit() -> Callable[..., Client]:
    """A new browser at a host, `localhost:8000` unless told. It answers 500 where a server would."""

    def visit(host: str = HOST, **options: Any) -> Client:
        return Client(**({"HTTP_HOST": host, "raise_request_exception": False} | options))

    return visit


@pytest.fixture
def browser(visit: Callable[..., Client]) -> Client:
    return visit()


@pytest.fixture
def stranger(visit: Callable[..., Client]) -> Client:
    """Another browser, with cookies of its own."""
    return visit()


@pytest.fixture
def project_a(db: None) -> Project:
    project = make_project("alpha", "a.localhost")
    make_application(project, "web")
    make_application(project, "only-in-a")
    return project


@pytest.fixture
def project_b(db: None) -> Project:
    project = make_project("beta", "b.localhost")
    make_application(project, "web")
    return project


@pytest.fixture
def confidential(project: Project) -> Application:
    return make_application(project, "server", type="confidential")
