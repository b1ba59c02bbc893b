"""What clean-ups will remove, counted by the rules of the clean-up; and what is told of them."""

import json
from datetime import timedelta

import pytest
import time_machine
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.utils import timezone

from anonusers.cleanup import clean_up
from anonusers.forecast import HORIZONS, Forecast, forecast, forecast_of_last_run
from anonusers.models import EndUser
from anonusers.retention import statement
from example.models import Comment
from tests.people import new_guest

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture
def people(application):
    """Three guests who were last here 100, 80 and 10 days ago; a sign-in idles out after 30, retention is 90."""
    now = timezone.now()
    for days in (100, 80, 10):
        with time_machine.travel(now - timedelta(days=days), tick=False):
            new_guest(application)
    return list(EndUser.objects.order_by("created_at"))


def foreseen(project) -> dict[int, tuple[int, int]]:
    return {one.days: (one.unreachable, one.removed) for one in forecast(project)}


def test_who_comes_into_reach_of_the_clean_up_and_when(people, project):
    assert tuple(foreseen(project)) == HORIZONS
    # One is 90 days away already, the second in ten days, the third in eighty; each is removed a week later.
    assert foreseen(project) == {0: (1, 0), 7: (1, 1), 30: (2, 2), 90: (3, 3)}


def test_it_comes_true(people, project):
    expected = {one.days: one.removed for one in forecast(project)}
    began, removed = timezone.now(), {}
    for day in range(91):
        with time_machine.travel(began + timedelta(days=day, seconds=1), tick=False):
            clean_up(project, confirmed=True, pause=0)
            removed[day] = 3 - EndUser.objects.count()
    assert {days: removed[days] for days in HORIZONS} == expected


def test_without_a_quarantine_they_go_at_once(people, project):
    project.quarantine_days = 0
    assert foreseen(project) == {0: (1, 1), 7: (1, 1), 30: (2, 2), 90: (3, 3)}


def test_guests_that_are_kept_for_ever_are_nobodys_forecast(people, project):
    project.guest_inactive_days = 0
    assert set(foreseen(project).values()) == {(0, 0)}


def test_who_wrote_something_is_kept(people, project):
    Comment.objects.create(author=people[0].user, text="I was here")
    assert foreseen(project)[90] == (2, 2)


def test_a_run_remembers_what_it_foresaw(people, project):
    assert forecast_of_last_run(project) is None
    clean_up(project, pause=0)
    when, found = forecast_of_last_run(project)
    assert found == forecast(project)
    assert found[0] == Forecast(0, 1, 0)
    assert timezone.now() - when < timedelta(minutes=1)


def test_a_relation_that_is_not_declared_stops_it(people, project, settings):
    settings.ANONUSERS_GUEST_DATA = {}
    with pytest.raises(ImproperlyConfigured, match=r"example\.Comment\.author"):
        forecast(project)


def test_the_command_tells_it(people, project, capsys):
    call_command("anonusers_cleanup", "--forecast")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "guestbook: if nobody comes back and nothing is changed"
    assert [line.split() for line in lines[1:]] == [
        ["now", "1", "unreachable", "0", "removed", "by", "then"],
        ["in", "7", "days", "1", "unreachable", "1", "removed", "by", "then"],
        ["in", "30", "days", "2", "unreachable", "2", "removed", "by", "then"],
        ["in", "90", "days", "3", "unreachable", "3", "removed", "by", "then"],
    ]
    call_command("anonusers_cleanup", "--forecast", "--json")
    assert json.loads(capsys.readouterr().out)["forecast"][3] == {"days": 90, "unreachable": 3, "removed": 3}
    assert EndUser.objects.count() == 3


@pytest.mark.parametrize(
    ("fields", "said", "not_said"),
    [
        (
            {},
            "not active for 90 days, and whom no sign-in leads back to, is set aside, and removed for good 7 days",
            "until somebody",
        ),
        (
            {"quarantine_days": 0},
            "not active for 90 days, and whom no sign-in leads back to, is removed for good.",
            "aside",
        ),
        ({"guest_inactive_days": 0}, "Guests are kept until somebody removes them.", "set aside"),
        ({"guest_inactive_days": 1, "quarantine_days": 1}, "not active for 1 day, and", "1 days"),
        ({"session_history_days": 5}, "Sign-ins that are over are kept for 5 days", "30 days;"),
        ({"retired_key_days": 0}, "the public half is kept, so that", "730"),
        ({"retired_key_days": 365}, "the public half is kept for 365 days", "730"),
        ({"session_lifetime": 60}, "after 364 days at the latest", "1 day at"),
    ],
)
def test_the_statement_says_what_the_settings_say(application, project, fields, said, not_said):
    for name, value in fields.items():
        setattr(project, name, value)
    text = " ".join(statement(project))
    assert said in text
    assert not_said not in text
