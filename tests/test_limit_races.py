"""Limits under 64 clients at once: no more than the limit, wherever it is counted; and a solution is good once."""

import os
from typing import Any

import pytest
from django.test import Client

from anonusers import errors, limits
from anonusers.bot_check import ProofOfWork
from anonusers.models import EndUser, OneTimeToken, RateWindow
from anonusers.signup_limits import spend_signup
from tests.bot_checks import solved
from tests.conftest import HOST
from tests.test_races import at_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]

# Redis stands beside CI's databases; elsewhere whoever has one says where.
REDIS = os.environ.get("ANONUSERS_TEST_REDIS") or ("redis://127.0.0.1:6379/5" if os.environ.get("CI") else "")
STORES = ["memory://", "database://", *([REDIS] if REDIS else [])]
CLIENTS = 64


@pytest.fixture(params=STORES, ids=lambda uri: uri.partition(":")[0])
def store(request: Any, settings: Any) -> str:
    settings.ANONUSERS_LIMITS_STORAGE = request.param
    limits.forget()
    if request.param == REDIS:
        limits._limiter(REDIS).storage.reset()  # it remembers the run before
    return str(request.param)


def sign_up(ip: str, **headers: str) -> int:
    client = Client(HTTP_HOST=HOST, REMOTE_ADDR=ip)
    body = {"client_id": "web", "kind": "token"}
    return client.post("/api/v1/signup/", body, content_type="application/json", headers=headers).status_code


@pytest.mark.parametrize("budget", ["signup_per_ip", "signup_per_application", "signup_per_project_day"])
def test_sixty_four_clients_get_exactly_the_limit(application, store, budget):
    setattr(application.project, budget, "11/d")
    application.project.save()
    statuses = at_once(CLIENTS, lambda _: sign_up("2001:db8:1:2::1"))
    assert (statuses.count(201), statuses.count(429)) == (11, CLIENTS - 11)
    assert EndUser.objects.count() == 11


def test_rotating_addresses_and_forged_headers_get_no_more(application, store, settings):
    settings.ANONUSERS_SIGNUP_PER_IP = "7/h"

    def forging(number: int) -> int:
        forged = {"X-Forwarded-For": f"203.0.113.{number}", "Forwarded": f"for=203.0.113.{number}"}
        return sign_up(f"2001:db8:1:2:{number:x}::{number}", **forged)

    statuses = at_once(CLIENTS, forging)
    assert (statuses.count(201), statuses.count(429)) == (7, CLIENTS - 7)
    assert EndUser.objects.count() == 7


def test_past_the_soft_limit_nobody_slips_through_without_a_solution(application, store, settings):
    settings.ANONUSERS_BOT_CHECK_PER_IP = "5/h"
    settings.ANONUSERS_BOT_CHECK_DIFFICULTY = 10
    statuses = at_once(CLIENTS, lambda _: sign_up("2001:db8:1:2::1"))
    assert (statuses.count(201), statuses.count(403)) == (5, CLIENTS - 5)
    assert (EndUser.objects.count(), OneTimeToken.objects.count()) == (5, 0)


def test_a_window_that_ends_under_load_starts_once(application, settings):
    settings.ANONUSERS_LIMITS_STORAGE = "database://"
    settings.ANONUSERS_SIGNUP_PER_PROJECT = "off"
    settings.ANONUSERS_SIGNUP_PER_IP = "9/h"
    limits.forget()
    assert sign_up("2001:db8:1:2::1") == 201
    RateWindow.objects.update(ends_at="2026-01-01T00:00Z", hits=1000)
    statuses = at_once(CLIENTS, lambda _: sign_up("2001:db8:1:2::1"))
    assert (statuses.count(201), statuses.count(429)) == (9, CLIENTS - 9)
    assert RateWindow.objects.get().hits == CLIENTS


def test_one_solution_used_by_thirty_two_at_once_is_good_once(application, settings):
    settings.ANONUSERS_BOT_CHECK_PER_IP = "1/h"
    settings.ANONUSERS_BOT_CHECK_DIFFICULTY = 50
    project = application.project
    spend_signup(project=project, application=application, ip="192.0.2.1")
    solution = solved(ProofOfWork().challenge(project))

    def use(_: int) -> str:
        try:
            spend_signup(project=project, application=application, ip="192.0.2.1", solution=solution)
        except errors.BotCheckRequired:
            return "refused"
        return "good"

    assert sorted(at_once(32, use)) == ["good"] + ["refused"] * 31
    assert OneTimeToken.objects.count() == 1
