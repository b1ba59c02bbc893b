"""A proxy for a user model: guests are persons, too."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model

from anonusers.models import EndUser
from tests.hosts.plain.test_plain import TestStory as PlainStory
from tests.hosts.story import Browser

pytestmark = pytest.mark.django_db


class TestStory(PlainStory):
    def test_a_guest_has_the_methods_of_the_proxy(self, browser: Browser) -> None:
        browser.note("hello")
        user: Any = EndUser.objects.get().user
        assert user.greeting().startswith("Hello guest-")
        assert isinstance(user, get_user_model())
