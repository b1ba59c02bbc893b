"""The visitors of the Authgear door, and keys that are made once: an RSA key costs more than all the rest of a test."""

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from django.test import Client

from anonusers import tokens
from anonusers.models import Application, Project

pytest.register_assert_rewrite("tests.protocols.authgear.steps")

from tests.conftest import HOST, make_application, make_project  # noqa: E402

HOST_A, HOST_B = "a.localhost:8000", "b.localhost:8000"


@cache
def _spare_key(algorithm: str, number: int) -> str:
    return tokens.generate_key(algorithm)


_parse_key = cache(tokens.parse_key)


@pytest.fixture(autouse=True)
def _ready_made_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test takes its keys from the same row of spares."""
    taken: Counter[str] = Counter()

    def take(algorithm: str) -> str:
        taken[algorithm] += 1
        return _spare_key(algorithm, taken[algorithm])

    monkeypatch.setattr("anonusers.keys.generate_key", take)
    monkeypatch.setattr("anonusers.keys.parse_key", _parse_key)
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
