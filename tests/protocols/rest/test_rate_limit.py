"""The budgets of signing up: over them nothing is made, and honest neighbours are not hit."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from anonusers.models import EndUser
from tests.conftest import make_application, make_project, row_counts
from tests.protocols.rest.conftest import Api, is_problem

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture(autouse=True)
def _two_a_minute(settings):
    settings.ANONUSERS_SIGNUP_PER_IP = "2/m"


def sign_up(ip="192.0.2.1", **options):
    return Api(REMOTE_ADDR=ip).sign_up(**options)


def statuses(*addresses):
    return [sign_up(ip).status_code for ip in addresses]


@pytest.mark.parametrize("kind", ["token", "cookie"])
def test_over_the_limit_nothing_is_made_and_the_wait_is_told(application, kind):
    with time_machine.travel(datetime(2026, 3, 1, tzinfo=UTC), tick=False) as clock:
        assert statuses("192.0.2.1", "192.0.2.1") == [201, 201]
        before = row_counts()
        response = sign_up(kind=kind)
        assert is_problem(response, 429, "rate_limited")
        assert response.headers["Retry-After"] == "60"
        assert not response.cookies
        assert row_counts() == before
        clock.shift(timedelta(seconds=45))
        assert sign_up().headers["Retry-After"] == "15"
        assert row_counts() == before
        clock.shift(timedelta(seconds=15))
        assert sign_up().status_code == 201


def test_another_address_is_not_hit(application):
    assert statuses(*["192.0.2.1"] * 3, "192.0.2.2") == [201, 201, 429, 201]


def test_an_ipv6_network_of_64_bits_is_one_address(application):
    assert statuses("2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3", "2001:db8:0:1::1") == [201, 201, 429, 201]


def test_an_ipv4_address_in_ipv6_form_is_that_address(application):
    assert statuses("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1") == [201, 201, 429]


def test_who_forges_x_forwarded_for_gains_nothing(application):
    answers = [sign_up(headers={"X-Forwarded-For": f"203.0.113.{n}"}).status_code for n in range(3)]
    assert answers == [201, 201, 429]


def test_behind_a_trusted_proxy_the_address_is_what_that_proxy_wrote(application, settings):
    settings.ANONUSERS_TRUSTED_PROXIES = 1
    forwarded = ["203.0.113.1", "203.0.113.2", "1.1.1.1, 203.0.113.1", "2.2.2.2, 203.0.113.1"]
    assert [sign_up(headers={"X-Forwarded-For": value}).status_code for value in forwarded] == [201, 201, 201, 429]
    assert EndUser.objects.count() == 3


def test_a_guest_who_comes_back_is_not_counted(application):
    api = Api()
    guest = api.sign_up().json()
    assert [api.sign_up(bearer=guest["access_token"]).status_code for _ in range(5)] == [200] * 5
    assert api.sign_up().status_code == 201


def test_a_request_that_is_wrong_is_not_counted(application):
    for _ in range(5):
        sign_up(client_id="nobody")
        sign_up(more={"kind": "other"})
    assert statuses("192.0.2.1", "192.0.2.1", "192.0.2.1") == [201, 201, 429]


def test_each_project_has_a_budget_of_its_own(application):
    make_application(make_project("second", "second.localhost"))
    assert statuses(*["192.0.2.1"] * 3) == [201, 201, 429]
    assert Api(HTTP_HOST="second.localhost", REMOTE_ADDR="192.0.2.1").sign_up().status_code == 201


def test_a_project_has_a_ceiling_whatever_the_addresses(application, settings):
    settings.ANONUSERS_SIGNUP_PER_PROJECT = "3/h"
    with time_machine.travel(datetime(2026, 3, 1, tzinfo=UTC), tick=False):
        assert statuses(*[f"192.0.2.{n}" for n in range(3)]) == [201] * 3
        before = row_counts()
        response = sign_up("192.0.2.9")
        assert is_problem(response, 429, "rate_limited")
        assert response.headers["Retry-After"] == "3600"
        assert row_counts() == before


def test_the_limit_can_be_switched_off(application, settings):
    settings.ANONUSERS_SIGNUP_PER_IP = "off"
    assert statuses(*["192.0.2.1"] * 5) == [201] * 5


def test_no_other_endpoint_is_limited(application):
    guest = sign_up().json()
    api = Api(REMOTE_ADDR="192.0.2.1")
    assert [api.userinfo(bearer=guest["access_token"]).status_code for _ in range(5)] == [200] * 5
    assert [api.refresh(guest["refresh_token"]).status_code for _ in range(5)] == [200] * 5
