"""The story of every host, told with allauth's pages."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model

from tests.hosts.story import EMAIL, PASSWORD, Browser, Story

pytestmark = pytest.mark.django_db


class TestStory(Story):
    def register(self, browser: Browser, email: str = EMAIL, password: str = PASSWORD) -> Any:
        return browser.client.post("/accounts/signup/", {"email": email, "password1": password})

    def log_in(self, browser: Browser, email: str = EMAIL, password: str = PASSWORD) -> Any:
        return browser.client.post("/accounts/login/", {"login": email, "password": password})

    def log_out(self, browser: Browser) -> None:
        assert browser.client.post("/accounts/logout/").status_code == 302

    def make_user(self, email: str, password: str) -> Any:
        return get_user_model().objects.create_user(email, password)
