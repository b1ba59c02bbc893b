"""Fixtures for a host's own tests: `pip install anonusers` and pytest finds them (entry point `pytest11`).

They want pytest-django's `db`. Nothing of Django is imported before a test asks for one of them, so a project without
Django, or with its settings elsewhere, does not notice this file; `-p no:anonusers` turns it off.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from django.test import Client

    from anonusers.models import Application, Project


@pytest.fixture
def guest_project(db: None) -> "Project":
    """The project at `testserver`, where Django's test client comes to. Override it to test with one of your own."""
    from anonusers import limits, testing

    limits.forget()
    return testing.project_of()


@pytest.fixture
def guest_application(guest_project: "Project") -> "Application":
    """An application of that project."""
    from anonusers import testing

    return testing.make_application(guest_project)


@pytest.fixture
def make_guest(guest_project: "Project") -> Callable[..., Any]:
    """`make_guest()` signs up one guest after the other: rows of AUTH_USER_MODEL (`anonusers.testing.make_guest`)."""
    from anonusers import testing

    return lambda **options: testing.make_guest(**({"project": guest_project} | options))


@pytest.fixture
def make_member(guest_project: "Project") -> Callable[..., Any]:
    """`make_member("anna@example.com", password="…")` promotes a guest (`anonusers.testing.make_member`)."""
    from anonusers import testing

    return lambda *login_id, **options: testing.make_member(*login_id, **({"project": guest_project} | options))


@pytest.fixture
def guest(make_guest: Callable[..., Any]) -> Any:
    """A guest: the row of AUTH_USER_MODEL that `request.user` is in your views."""
    return make_guest()


@pytest.fixture
def guest_client(guest: Any) -> "Client":
    """Django's test client as the browser of `guest`."""
    from anonusers import testing

    return testing.client_of(guest)


@pytest.fixture
def promoted_user(make_member: Callable[..., Any]) -> Any:
    """Somebody who was a guest and is a member now: their row of AUTH_USER_MODEL."""
    return make_member()
