"""Users with an e-mail address for a name, and with fields that must be filled."""

from datetime import date
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.checks import Error, run_checks

from anonusers.models import EndUser
from tests.hosts.story import EMAIL, PASSWORD, Browser, Story

pytestmark = pytest.mark.django_db


class TestStory(Story):
    def register(self, browser: Browser, email: str = EMAIL, password: str = PASSWORD) -> Any:
        form = {"email": email, "full_name": "Anna", "born_on": "1990-01-02"}
        return browser.client.post("/register/", form | {"password1": password, "password2": password})

    def log_in(self, browser: Browser, email: str = EMAIL, password: str = PASSWORD) -> Any:
        return browser.client.post("/accounts/login/", {"username": email, "password": password})

    def log_out(self, browser: Browser) -> None:
        # Django's own view, also where only our cookie says who is here.
        assert browser.client.post("/accounts/logout/").status_code == 302

    def make_user(self, email: str, password: str) -> Any:
        return get_user_model().objects.create_user(email, password, full_name="Anna", born_on=date(1980, 3, 4))


def test_a_guest_of_the_hosted_page_gets_the_address_in_the_hosts_own_field(browser: Browser) -> None:
    browser.note("hello")
    promote = {"login_id": {"type": "email", "value": EMAIL}, "password": PASSWORD}
    answer = browser.client.post(
        "/api/v1/promote/", promote, content_type="application/json", headers={"Origin": "http://localhost:8000"}
    )
    assert answer.status_code == 200, answer.content
    customer = EndUser.objects.get().user
    assert (customer.email, customer.full_name, customer.check_password(PASSWORD)) == (EMAIL, "Guest", True)


def test_a_field_that_guests_have_no_value_for_is_named(settings: Any) -> None:
    settings.ANONUSERS_ADAPTER = "anonusers.adapters.Adapter"
    found = [problem for problem in run_checks() if problem.id == "anonusers.E010"]
    assert [(type(problem), problem.msg) for problem in found] == [
        (Error, "email_required.Customer.born_on has no value for a guest.")
    ]
    assert "guest_values" in str(found[0].hint)


def test_with_the_adapter_nothing_is_wrong() -> None:
    assert [problem for problem in run_checks() if problem.is_serious()] == []
