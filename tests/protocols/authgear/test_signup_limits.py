"""The limits of sign-up at the Authgear door: whichever it is, the SDKs are told to wait, and nothing is made."""

from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.test import Client

from anonusers.models import Application
from tests.conftest import row_counts
from tests.protocols.authgear.keys import LIMITED, log_in, request
from tests.protocols.authgear.steps import SIGNUP, post_json

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.spec("authgear.md", "8")]

ANONYMOUS = {"name": "authentication.signup_anonymous", "group": "authentication.signup_anonymous"}
RATE_LIMITED = {
    "error": {
        "name": "TooManyRequest",
        "reason": "RateLimited",
        "message": "request rate limited",
        "code": 429,
        "info": {
            "bucket_name": "SignupAnonymousPerIP",
            "rate_limit": ANONYMOUS,
            "rate_limit_name": "authentication.signup_anonymous",
        },
    }
}
BY_TOKEN = {"session_type": "refresh_token", "client_id": "web"}
BY_COOKIE = {"session_type": "cookie"}
PER_IP = ["signup_per_ip", "bot_check_per_ip"]


@pytest.fixture(autouse=True)
def _frozen() -> Any:
    with time_machine.travel(datetime(2026, 3, 1, tzinfo=UTC), tick=False):
        yield


def limit(application: Application, budget: str) -> None:
    setattr(application.project, budget, "1/m")
    application.project.save()


@pytest.mark.parametrize("body", [BY_TOKEN, BY_COOKIE], ids=["token", "cookie"])
@pytest.mark.parametrize("budget", [*PER_IP, "signup_per_project_day"])
def test_over_a_limit_of_the_project_a_sign_up_is_told_to_wait(
    application: Application, visit: Any, budget: str, body: dict[str, str]
) -> None:
    limit(application, budget)
    assert post_json(visit(), SIGNUP, body).status_code == 200
    before = row_counts()
    response = post_json(visit(), SIGNUP, body)
    assert (response.status_code, response.json()) == (429, RATE_LIMITED)
    assert response.headers["Retry-After"] == "60"
    assert not response.cookies
    assert row_counts() == before


def test_the_limit_of_an_application_is_about_its_tokens(application: Application, visit: Any) -> None:
    limit(application, "signup_per_application")
    statuses = [post_json(visit(), SIGNUP, BY_TOKEN).status_code for _ in range(2)]
    assert statuses == [200, 429]
    assert post_json(visit(), SIGNUP, BY_COOKIE).status_code == 200  # through no application


@pytest.mark.parametrize("budget", [*PER_IP, "signup_per_application", "signup_per_project_day"])
def test_over_a_limit_a_new_device_key_is_told_to_wait(
    application: Application, browser: Client, visit: Any, budget: str
) -> None:
    limit(application, budget)
    assert post_json(visit(), SIGNUP, BY_TOKEN).status_code == 200
    signed = request(browser)
    before = row_counts()
    response = log_in(browser, signed)
    status, error, description = LIMITED
    assert (response.status_code, response.json()) == (status, {"error": error, "error_description": description})
    assert response.headers["Retry-After"] == "60"
    assert row_counts() == before
    setattr(application.project, budget, "2/m")
    application.project.save()
    assert log_in(browser, signed).status_code == 200  # the challenge was not spent


def test_an_exempt_network_does_not_meet_the_limits_per_address(application: Application, visit: Any) -> None:
    application.project.unlimited_networks = ["192.0.2.0/24 2026-03-01T00:00Z/2026-03-01T01:00Z"]
    for budget in PER_IP:
        limit(application, budget)
    inside = [post_json(visit(REMOTE_ADDR="192.0.2.9"), SIGNUP, BY_TOKEN).status_code for _ in range(3)]
    outside = [post_json(visit(REMOTE_ADDR="192.0.3.9"), SIGNUP, BY_TOKEN).status_code for _ in range(3)]
    assert (inside, outside) == ([200] * 3, [200, 429, 429])


def test_without_its_store_a_project_that_stops_is_unavailable(
    application: Application, browser: Client, settings: Any
) -> None:
    settings.ANONUSERS_LIMITS_STORAGE = "redis://127.0.0.1:1"
    application.project.limits_store_down = "stop"
    application.project.save()
    before = row_counts()
    response = post_json(browser, SIGNUP, BY_TOKEN)
    assert (response.status_code, response.json()["error"]["reason"]) == (503, "ServiceUnavailable")
    assert response.headers["Retry-After"] == "2"
    assert row_counts() == before
