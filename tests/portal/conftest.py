"""Operators and their browsers."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.test import Client

from anonusers.models import Project
from tests.conftest import HOST

PASSWORD = "correct horse"


@pytest.fixture(autouse=True)
def _nobody_is_locked_out() -> None:
    cache.clear()


@pytest.fixture
def operator(db: None) -> Any:
    """Active staff."""
    return get_user_model().objects.create_user("olga", password=PASSWORD, is_staff=True, is_superuser=True)


@pytest.fixture
def portal(operator: Any) -> Client:
    """The browser of a signed-in operator."""
    client = Client(HTTP_HOST=HOST)
    client.force_login(operator)
    return client


def bare_project(slug: str = "guestbook", domain: str = "localhost", **fields: Any) -> Project:
    """A project without signing keys, which take their time: for pages that need none."""
    project = Project.objects.create(slug=slug, name=slug.title(), **fields)
    project.domains.create(domain=domain)
    return project


def version_in(response: Any) -> str:
    """The state of the row that a page's form was made from."""
    return str(response.context["version"])


def save(client: Client, url: str, **changes: Any) -> Any:
    """Open the page, change some fields as a browser would, and send the form. None takes a field away."""
    page = client.get(url)
    data: dict[str, Any] = {"version": version_in(page)}
    for field in page.context["form"]:
        value = field.value()
        if isinstance(value, bool):
            if value:
                data[field.html_name] = "on"
        else:
            data[field.html_name] = value
    data |= changes
    return client.post(url, {name: value for name, value in data.items() if value is not None})
