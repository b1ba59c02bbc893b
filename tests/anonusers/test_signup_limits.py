"""The limits of sign-up: whose come first, who is exempt, and what a refusal leaves to the others."""

from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine

from anonusers import errors, limits
from anonusers.models import Application, EndUser, OneTimeToken, Project
from anonusers.networks import is_exempt, parse_address, parse_network
from anonusers.signup import sign_up
from anonusers.signup_limits import spend_signup
from tests.conftest import make_application, make_project, row_counts

pytestmark = [pytest.mark.django_db, pytest.mark.database]
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
DAY = "2026-12-01T08:00Z/2026-12-01T18:00Z"


@pytest.fixture(autouse=True)
def _frozen() -> Any:
    with time_machine.travel(NOON, tick=False):
        yield


@pytest.fixture(autouse=True)
def _riddle(settings: Any) -> None:
    settings.ANONUSERS_BOT_CHECK = "tests.protocols.rest.hosts.Riddle"
    settings.ANONUSERS_SIGNUP_PER_IP = "off"
    settings.ANONUSERS_SIGNUP_PER_PROJECT = "off"


def outcome(project: Project, application: Application | None = None, ip: str = "192.0.2.1", solution: str = "") -> str:
    """`ok`, or the code of what was raised, with its budget."""
    try:
        spend_signup(project=project, application=application, ip=ip, solution=solution)
    except errors.BotCheckRequired:
        return "bot check"
    except errors.RateLimited as limited:
        return limited.budget
    return "ok"


def outcomes(count: int, project: Project, application: Application | None = None, **more: str) -> list[str]:
    return [outcome(project, application, **more) for _ in range(count)]


BUDGETS = ["signup_per_ip", "signup_per_application", "signup_per_project_day"]


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_project_says_its_own_limit_and_a_blank_one_is_the_servers(application, settings, budget):
    project = application.project
    setattr(settings, f"ANONUSERS_{budget.upper()}", "1/h")
    assert outcomes(2, project, application) == ["ok", budget]
    setattr(project, budget, "3/h")
    assert outcomes(4, project, application) == ["ok"] * 3 + [budget]
    setattr(project, budget, "off")
    assert outcomes(5, project, application) == ["ok"] * 5


@pytest.mark.parametrize("budget", [*BUDGETS, "signup_per_project", "bot_check_per_ip"])
def test_projects_share_nothing(application, settings, budget):
    other = make_application(make_project("second", "second.localhost"))
    setattr(settings, f"ANONUSERS_{budget.upper()}", "1/h")
    assert [outcome(one.project, one) for one in (application, other)] == ["ok", "ok"]
    assert "ok" not in [outcome(one.project, one) for one in (application, other)]


def test_applications_of_a_project_have_limits_of_their_own(application, settings):
    settings.ANONUSERS_SIGNUP_PER_APPLICATION = "1/h"
    other = make_application(application.project, "other")
    assert [outcome(application.project, one) for one in (application, other, application, other)] == [
        "ok",
        "ok",
        "signup_per_application",
        "signup_per_application",
    ]
    assert outcome(application.project, None) == "ok"  # by cookie, through no application


@pytest.mark.parametrize(
    ("refusing", "after"),
    [
        ("bot_check_per_ip", [*BUDGETS, "signup_per_project"]),
        ("signup_per_ip", ["signup_per_application", "signup_per_project_day", "signup_per_project"]),
        ("signup_per_application", ["signup_per_project_day", "signup_per_project"]),
        ("signup_per_project_day", ["signup_per_project"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_who_is_refused_has_taken_nothing_from_what_comes_after(application, settings, refusing, after):
    project = application.project
    setattr(settings, f"ANONUSERS_{refusing.upper()}", "1/h")
    for budget in after:
        setattr(settings, f"ANONUSERS_{budget.upper()}", "3/h")
    first, *refused = outcomes(20, project, application)
    assert (first, set(refused)) == ("ok", {"bot check" if refusing == "bot_check_per_ip" else refusing})
    setattr(settings, f"ANONUSERS_{refusing.upper()}", "off")
    # One of the three was taken by the one who got in.
    assert outcomes(3, project, application) == ["ok", "ok", after[0]]


def test_past_the_soft_limit_each_guest_needs_a_solution_of_its_own(project, settings):
    settings.ANONUSERS_BOT_CHECK_PER_IP = "2/m"
    assert outcomes(2, project) == ["ok", "ok"]
    before = row_counts()
    with pytest.raises(errors.BotCheckRequired) as caught:
        spend_signup(project=project, application=None, ip="192.0.2.1")
    assert caught.value.challenge == {"type": "riddle", "question": "six by nine"}
    assert caught.value.retry_after == 60
    assert outcome(project, solution="41") == "bot check"
    assert row_counts() == before
    assert outcomes(2, project, solution="42 a") == ["ok", "bot check"]
    assert outcome(project, solution="42 b") == "ok"
    assert list(OneTimeToken.objects.values_list("purpose", flat=True)) == ["bot_check"] * 2
    assert outcome(project, ip="192.0.2.2") == "ok"


def test_below_the_soft_limit_a_solution_is_not_looked_at(project, settings):
    settings.ANONUSERS_BOT_CHECK_PER_IP = "1/m"
    before = row_counts()
    assert outcome(project, solution="42") == "ok"
    assert row_counts() == before
    assert outcome(project, solution="42") == "ok"


def test_a_solution_does_not_help_past_the_hard_limit(project, settings):
    settings.ANONUSERS_BOT_CHECK_PER_IP = "1/m"
    settings.ANONUSERS_SIGNUP_PER_IP = "3/m"
    assert outcome(project) == "ok"
    assert [outcome(project, solution=f"42 {n}") for n in range(3)] == ["ok", "ok", "signup_per_ip"]


def test_a_sign_up_that_needs_a_bot_check_makes_nothing(application, settings):
    settings.ANONUSERS_BOT_CHECK_PER_IP = "1/m"
    options: Any = {"project": application.project, "application": application, "kind": "token", "ip": "192.0.2.1"}
    sign_up(**options)
    before = row_counts()
    with pytest.raises(errors.BotCheckRequired):
        sign_up(**options)
    assert row_counts() == before
    assert sign_up(**options, bot_check="42").created
    assert EndUser.objects.count() == 2


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", ["signup_per_ip", "bot_check_per_ip"])
def test_who_rotates_through_a_64_network_is_one_address(project, settings, budget):
    setattr(settings, f"ANONUSERS_{budget.upper()}", "2/h")
    rotated = [outcome(project, ip=f"2001:db8:0:1:{n:x}::{n}") for n in range(1, 100)]
    assert rotated == ["ok", "ok", *[{"bot_check_per_ip": "bot check"}.get(budget, budget)] * 97]
    assert outcome(project, ip="2001:db8:0:2::1") == "ok"


def test_an_ipv4_address_in_ipv6_form_is_that_address(project, settings):
    settings.ANONUSERS_SIGNUP_PER_IP = "2/h"
    addresses = ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201", "::ffff:192.0.2.2")
    assert [outcome(project, ip=ip) for ip in addresses] == ["ok", "ok", "signup_per_ip", "ok"]


@pytest.mark.parametrize(
    ("entry", "ip", "exempt"),
    [
        ("192.0.2.0/24", "192.0.2.255", True),
        ("192.0.2.0/24", "::ffff:192.0.2.1", True),
        ("192.0.2.0/24", "192.0.3.0", False),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("2001:db8::/32", "2001:db8:ffff::1", True),
        ("2001:db8::/32", "192.0.2.1", False),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("192.0.2.0/24", "", False),
        ("192.0.2.0/24", "garbage", False),
        (f"192.0.2.0/24 {DAY}", "192.0.2.1", True),
        ("192.0.2.0/24 2026-12-01T12:00Z/2026-12-01T12:01Z", "192.0.2.1", True),
        ("192.0.2.0/24 2026-12-01T11:00Z/2026-12-01T12:00Z", "192.0.2.1", False),
        ("192.0.2.0/24 2026-12-01T13:00+01:00/2026-12-01T14:00+01:00", "192.0.2.1", True),
    ],
)
def test_an_exempt_network_is_exempt_at_its_time(entry, ip, exempt):
    assert is_exempt(ip, [entry], NOON) is exempt
    assert is_exempt(ip, [], NOON) is False


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "example.com",
        "192.0.2.1/24",
        "192.0.2.0/33",
        "::ffff:192.0.2.0/120",
        "192.0.2.0/24 ",
        "192.0.2.0/24 always",
        "192.0.2.0/24 2026-12-01T08:00Z",
        f"192.0.2.0/24 {DAY}/2026-12-01T19:00Z",
        "192.0.2.0/24 2026-12-01T08:00/2026-12-01T18:00Z",
        "192.0.2.0/24 2026-12-01/2026-12-02",
        "192.0.2.0/24 2026-12-01T18:00Z/2026-12-01T08:00Z",
        "192.0.2.0/24 2026-12-01T08:00Z/2026-12-01T08:00Z",
    ],
)
def test_what_is_no_network_is_refused_in_words(text):
    with pytest.raises(ValueError, match=r"^[A-Z].+\.$"):
        parse_network(text)


def test_an_address_that_is_none_is_told_apart():
    assert (parse_address("192.0.2.1.1"), str(parse_address("::ffff:192.0.2.1"))) == (None, "192.0.2.1")


def test_an_exempt_network_skips_the_limits_per_address_and_no_other(application, settings):
    project = application.project
    project.unlimited_networks = [f"192.0.2.0/24 {DAY}"]
    settings.ANONUSERS_SIGNUP_PER_IP = settings.ANONUSERS_BOT_CHECK_PER_IP = "1/h"
    assert outcomes(5, project, application) == ["ok"] * 5
    assert outcomes(2, project, application, ip="198.51.100.1") == ["ok", "bot check"]
    settings.ANONUSERS_SIGNUP_PER_APPLICATION = "1/h"
    assert outcomes(2, project, application) == ["ok", "signup_per_application"]
    settings.ANONUSERS_SIGNUP_PER_APPLICATION = "off"
    with time_machine.travel(datetime(2026, 12, 1, 18, tzinfo=UTC), tick=False):
        limits.forget()
        assert outcomes(2, project, application) == ["ok", "bot check"]


# --- the store is away ----------------------------------------------------------------------------


def test_without_its_store_a_project_goes_on_with_counters_of_this_process(project, settings, caplog):
    settings.ANONUSERS_LIMITS_STORAGE = "redis://127.0.0.1:1"
    settings.ANONUSERS_SIGNUP_PER_IP = "2/h"
    assert outcomes(3, project) == ["ok", "ok", "signup_per_ip"]
    words = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert words == [("ERROR", "rate limit store is away; counting in this process")] * 3


def test_without_its_store_a_project_that_wants_to_stop_stops(application, settings, caplog):
    settings.ANONUSERS_LIMITS_STORAGE = "redis://127.0.0.1:1"
    settings.ANONUSERS_SIGNUP_PER_IP = "2/h"
    application.project.limits_store_down = "stop"
    before = row_counts()
    for _ in range(2):
        with pytest.raises(errors.Busy):
            sign_up(project=application.project, application=application, kind="token", ip="192.0.2.1")
    assert row_counts() == before
    words = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert words == [("ERROR", "rate limit store is away; refusing")] * 2


def test_where_nothing_is_limited_no_store_is_asked(project, settings, caplog):
    settings.ANONUSERS_LIMITS_STORAGE = "redis://127.0.0.1:1"
    project.limits_store_down = "stop"
    assert outcomes(3, project) == ["ok"] * 3
    assert caplog.records == []


@pytest.mark.parametrize("storage", ["memory://", "redis://127.0.0.1:1"])
def test_limits_cost_no_statement(application, settings, django_assert_num_queries, storage):
    settings.ANONUSERS_LIMITS_STORAGE = storage
    for budget in (*BUDGETS, "signup_per_project", "bot_check_per_ip"):
        setattr(settings, f"ANONUSERS_{budget.upper()}", "1/h")
    application.project.unlimited_networks = ["198.51.100.0/24"]
    with django_assert_num_queries(0):
        assert outcomes(2, application.project, application) == ["ok", "bot check"]
