"""Overview: which days it looks at, what it says of them, and who may see it."""

import re
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from anonusers import statistics
from anonusers.models import Application, CleanupRun, DailyCount, EndUser, Project, Promotion, Session
from portal.overview import Range, RangeForm, average, percent
from tests.conftest import HOST, make_application, make_project, row_counts, state_of
from tests.people import guest_session, regular_user

pytestmark = pytest.mark.django_db
URL = "/portal/guestbook/overview/"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
TODAY = NOON.date()
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _noon() -> Any:
    with time_machine.travel(NOON, tick=False):
        yield


def text_of(response: Any) -> str:
    return str(response.content.decode())


def guest(project: Project, *, days: int = 0, application: Application | None = None, **fields: Any) -> EndUser:
    user = get_user_model().objects.create(username=str(uuid.uuid4()))
    row = EndUser.objects.create(project=project, user=user, application=application)
    EndUser.objects.filter(pk=row.pk).update(created_at=NOON - days * DAY, **fields)
    row.refresh_from_db()
    return row


def promoted(end_user: EndUser, application: Application, *, days: int = 0, method: str = "password") -> None:
    EndUser.objects.filter(pk=end_user.pk).update(promoted_at=NOON - days * DAY)
    Promotion.objects.create(end_user=end_user, outcome="promoted", application=application, method=method)


@pytest.fixture
def busy(project: Project, application: Application) -> Project:
    """Three guests, yesterday and 40 days ago and today; the one of yesterday was promoted today."""
    Project.objects.filter(pk=project.pk).update(created_at=NOON - 60 * DAY)
    guest(project, application=application)
    promoted(guest(project, days=1, application=application, returned_at=NOON), application)
    guest(project, days=40, application=application)
    return project


def shown(response: Any) -> dict[str, tuple[str, str]]:
    """The cards: the range's number, and what is below it."""
    return {card.label: (card.value, card.today) for card in response.context["cards"]}


# --- numbers --------------------------------------------------------------------------------------


def test_the_cards_tell_the_ranges_numbers_and_todays(portal: Client, busy: Project) -> None:
    assert shown(portal.get(URL)) == {
        "New guests": ("2", "1 today"),
        "Active guests a day": ("0.1", "1 today"),  # 2 in 30 days
        "Promoted": ("1", "1 today"),
        "Conversion": ("50.0 %", "1 of 2 new guests"),
    }
    assert shown(portal.get(f"{URL}?days=90"))["New guests"] == ("3", "1 today")
    assert shown(portal.get(f"{URL}?days=90"))["Conversion"] == ("33.3 %", "1 of 3 new guests")
    assert shown(portal.get(f"{URL}?from=2026-10-01&to=2026-10-31"))["New guests"] == ("1", "1 today")
    assert shown(portal.get(f"{URL}?from=2026-10-01&to=2026-10-05"))["Conversion"] == ("–", "0 of 0 new guests")


def test_the_funnel_is_of_those_who_signed_up_in_the_range(portal: Client, busy: Project) -> None:
    response = portal.get(f"{URL}?from=2026-11-19&to=2026-11-19")
    steps = [(step.count, step.percent, step.width) for step in response.context["funnel"]]
    assert steps == [(1, "100 %", "100.00%"), (1, "100 %", "100.00%"), (0, "0 %", "0.00%"), (1, "100 %", "100.00%")]
    assert shown(response)["Promoted"] == ("0", "1 today")  # that was a day later
    assert "Counted are the people who signed up on these days" in text_of(response)


def test_time_method_and_application(portal: Client, busy: Project, application: Application) -> None:
    app = make_application(busy, "app", name="<b>App</b>")
    promoted(guest(busy, days=2, application=app), app, method="email_code")
    superseded = guest(busy, days=2, application=app)
    Promotion.objects.create(end_user=superseded, outcome="superseded", application=app, method="email_code")
    context = portal.get(URL).context
    assert [(step.count, step.percent) for step in context["time_to_promote"]] == [
        (0, "0 %"),
        (1, "50.0 %"),
        (1, "50.0 %"),
        (0, "0 %"),
        (0, "0 %"),
    ]
    assert [(step.label, step.count) for step in context["by_method"]] == [
        ("Code by e-mail", 1),
        ("Password", 1),
        ("Went on in an account they had", 1),
    ]
    rows = [(row.name, row.created, row.promoted, row.conversion) for row in context["by_application"]]
    assert rows == [("Web", 2, 1, "50.0 %"), ("<b>App</b>", 2, 1, "50.0 %")]
    assert "&lt;b&gt;App&lt;/b&gt;" in text_of(portal.get(URL))
    assert "<b>App</b>" not in text_of(portal.get(URL))


def test_people_of_applications_that_are_gone_are_one_line(portal: Client, busy: Project) -> None:
    app = make_application(busy, "app")
    guest(busy, application=app)
    guest(busy)
    app.delete()
    rows = portal.get(URL).context["by_application"]
    assert [(row.name, row.created) for row in rows] == [("Web", 2), ("No application, or one that is gone", 2)]


def test_one_application(portal: Client, busy: Project) -> None:
    app = make_application(busy, "app")
    guest(busy, application=app)
    response = portal.get(f"{URL}?application=app&days=7")
    assert shown(response)["New guests"] == ("1", "1 today")
    page = text_of(response)
    assert '<option value="app" selected>App</option>' in page
    assert f'href="{URL}?days=90&amp;application=app"' in page


@pytest.mark.parametrize("client_id", ["nothing", "till", "WEB", "\0", "1"])
def test_an_application_that_is_not_the_projects_is_not_found(client_id: str, portal: Client, busy: Project) -> None:
    make_application(make_project("shop", "shop.example.com"), "till")
    assert portal.get(URL, {"application": client_id}).status_code == 404


def test_what_really_happens_is_what_is_shown(portal: Client, project: Project, application: Application) -> None:
    guest_session(application)
    regular_user(application)
    response = portal.get(URL)
    assert shown(response)["New guests"] == ("2", "2 today")
    assert shown(response)["Promoted"] == ("1", "1 today")
    assert [step.count for step in response.context["funnel"]][-1] == 1
    assert response.context["live_sessions"] == statistics.Estimate(1, is_exact=True)


def test_other_projects_do_not_count(portal: Client, busy: Project) -> None:
    other = make_project("shop", "shop.example.com")
    for _ in range(5):
        guest(other)
    assert shown(portal.get(URL))["New guests"] == ("2", "1 today")


def test_a_look_counts_the_days_that_are_over_once(portal: Client, busy: Project) -> None:
    portal.get(URL)
    before = state_of(*DailyCount.objects.all())
    assert before
    portal.get(URL)
    assert state_of(*DailyCount.objects.all()) == before


def test_the_page_takes_13_statements(portal: Client, busy: Project) -> None:
    portal.get(URL)
    with CaptureQueriesContext(connection) as captured:
        portal.get(URL)
    assert len(captured) == 13


def test_much_to_count_is_said(portal: Client, busy: Project, monkeypatch: Any) -> None:
    monkeypatch.setattr(statistics, "PATIENCE", 0.0)
    Project.objects.filter(pk=busy.pk).update(created_at=NOON - 90 * DAY)
    assert "There is much to count: the days from 22 Sep 2026 on are not complete." in text_of(portal.get(URL))
    portal.get(URL)
    assert "There is much to count" not in text_of(portal.get(URL))


# --- charts ---------------------------------------------------------------------------------------


def test_the_charts_can_be_read_without_seeing_them(portal: Client, busy: Project) -> None:
    page = text_of(portal.get(f"{URL}?days=7"))
    assert page.count('role="img"') == 3
    for id, title in (("new-guests", "New guests"), ("promotions", "Promoted"), ("active-people", "Active people")):
        assert f'aria-labelledby="{id} {id}-said"' in page
        assert f"<title>{title}</title>" in page
        assert f'<desc id="{id}-said">' in page
    assert "New guests: 2 in all, at most 1, on 19 Nov 2026." in page
    assert "<title>20 Nov 2026: New guests 1</title>" in page
    assert page.count("<summary>The numbers</summary>") == 3
    rows = re.findall(r'<tr><th scope="row">([^<]+)</th><td class="number">([^<]+)</td></tr>', page)
    assert rows[:3] == [("20 Nov 2026", "1"), ("19 Nov 2026", "1"), ("18 Nov 2026", "0")]
    assert len(rows) == 14


def test_nothing_in_the_charts_depends_on_the_language(portal: Client, busy: Project, settings: Any) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    settings.LANGUAGE_CODE = "de"
    page = text_of(portal.get(URL))
    numbers = re.findall(r'\s(?:x|y|x1|x2|y1|y2|width|height)="([^"]*)"', page.split("<main")[1])
    assert numbers
    assert not [number for number in numbers if not re.fullmatch(r"\d+(\.\d+)?%?", number)]
    for path in re.findall(r'\sd="(M[\d][^"]*)"', page.split('class="charts"')[1]):
        if "chart" in path:
            assert re.fullmatch(r"[MLZ\d., ]+", path)


def test_the_day_that_is_not_over_is_drawn_otherwise(portal: Client, busy: Project) -> None:
    assert text_of(portal.get(URL)).count("chart__bar--open") == 2
    assert "chart__bar--open" not in text_of(portal.get(f"{URL}?from=2026-11-01&to=2026-11-19"))


# --- ranges ---------------------------------------------------------------------------------------


def range_of(**entries: str) -> Range:
    form = RangeForm(entries, today=TODAY)
    assert form.is_valid(), form.errors
    return form.range()


@pytest.mark.parametrize(
    ("entries", "first", "last", "preset"),
    [
        ({}, date(2026, 10, 22), TODAY, 30),
        ({"days": "7"}, date(2026, 11, 14), TODAY, 7),
        ({"days": "90"}, date(2026, 8, 23), TODAY, 90),
        ({"from": "2026-11-01", "to": "2026-11-03"}, date(2026, 11, 1), date(2026, 11, 3), None),
        ({"from": "2026-11-03", "to": "2026-11-03"}, date(2026, 11, 3), date(2026, 11, 3), None),
        ({"from": "2026-11-03"}, date(2026, 11, 3), TODAY, None),
        ({"from": "2026-11-03", "to": "", "days": "7"}, date(2026, 11, 3), TODAY, None),
        ({"from": "2025-11-20", "to": "2026-11-20"}, date(2025, 11, 20), TODAY, None),
        ({"from": "", "to": ""}, date(2026, 10, 22), TODAY, 30),
    ],
)
def test_ranges(entries: dict[str, str], first: date, last: date, preset: int | None) -> None:
    assert range_of(**entries) == Range(first, last, preset)


def test_days_to_come_are_left_out_and_it_is_said(portal: Client, busy: Project) -> None:
    found = range_of(**{"from": "2026-11-20", "to": "2027-01-01"})
    assert (found.first, found.last, found.days) == (TODAY, TODAY, 1)
    response = portal.get(f"{URL}?from=2026-11-20&to=2027-01-01")
    assert response.status_code == 200
    assert "Days that are still to come were left out." in text_of(response)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"days": "8"}, "Choose 7, 30 or 90 days, or enter two dates."),
        ({"days": "abc"}, "Choose 7, 30 or 90 days, or enter two dates."),
        ({"from": "2026-11-03", "to": "2026-11-02"}, "The last day is before the first one."),
        ({"from": "2026-13-01", "to": "2026-11-02"}, "Enter a date such as 2026-11-30."),
        ({"from": "<script>", "to": "٣"}, "Enter a date such as 2026-11-30."),
        ({"from": "2026-11-03\0"}, "Enter a date such as 2026-11-30."),
        ({"to": "2026-11-02"}, "Enter the first day, too."),
        ({"from": "2026-11-21"}, "This day is still to come."),
        ({"from": "2025-11-19", "to": "2026-11-20"}, "Choose at most 366 days."),
        ({"from": "0001-01-01"}, "Choose at most 366 days."),
        ({"from": "9999-12-31", "to": "9999-12-31"}, "This day is still to come."),
    ],
    ids=str,
)
def test_a_bad_range_is_refused_in_words_and_the_default_is_shown(
    query: dict[str, str], words: str, portal: Client, busy: Project
) -> None:
    portal.get(URL)
    before = row_counts()
    response = portal.get(URL, query)
    page = text_of(response)
    assert response.status_code == 400
    assert words in page
    assert "<title>Error: Overview" in page
    assert "Below are the last 30 days." in page
    assert "<script>" not in page
    assert response.context["span"] == Range(TODAY - 29 * DAY, TODAY, 30)
    assert row_counts() == before


@pytest.mark.parametrize(
    ("part", "whole", "words"), [(0, 0, "–"), (0, 5, "0 %"), (1, 3, "33.3 %"), (5, 5, "100 %"), (1, 1000, "0.1 %")]
)
def test_percent(part: int, whole: int, words: str) -> None:
    assert percent(part, whole) == words


def test_averages() -> None:
    from collections import Counter

    from anonusers.counting import Key

    def of(count: int) -> str:
        counts = Counter({Key("created", TODAY): count})
        return average(statistics.Series(TODAY - 2 * DAY, TODAY, counts, Counter()), "created")

    assert [of(count) for count in (0, 1, 3, 20, 40, 4_000)] == ["0", "0.3", "1", "6.7", "13", "1,333"]


# --- how things stand -----------------------------------------------------------------------------


def a_run(project: Project, *, hours: int, **fields: Any) -> CleanupRun:
    at = timezone.now() - timedelta(hours=hours)
    return CleanupRun.objects.create(
        project=project, **({"state": "finished", "started_at": at, "seen_at": at, "finished_at": at} | fields)
    )


def test_clean_ups_and_their_forecast(portal: Client, busy: Project) -> None:
    page = text_of(portal.get(URL))
    assert "The next clean-up counts them" in page
    assert "None has run yet" in page
    foreseen = [{"days": days, "unreachable": 1000 + days, "removed": days} for days in (0, 7, 30, 90)]
    a_run(busy, hours=5, report={"counts": {"removed": 3}, "forecast": foreseen})
    a_run(busy, hours=1, state="running", finished_at=None, report={"counts": {"removed": 2}})
    a_run(make_project("shop", "shop.example.com"), hours=0)
    response = portal.get(URL)
    page = text_of(response)
    assert ">1 hour ago</time>, running" in page
    assert "2 guests removed" in page
    assert re.search(r"<dd>1,000<span class=\"words\">Counted <time[^>]*>5 hours ago</time>", page)
    assert "7 in 7 days" in page
    assert "90 in 90 days" in page
    assert "5 by clean-ups" in page


def test_many_sessions_are_an_estimate(portal: Client, busy: Project, monkeypatch: Any) -> None:
    monkeypatch.setattr(statistics, "SAMPLE", 1)
    monkeypatch.setattr(statistics, "live_sessions", lambda *_, **__: statistics.Estimate(41_000, is_exact=False))
    page = text_of(portal.get(URL))
    assert "about 41,000" in page
    assert "Estimated from a sample of people" in page


def test_removed_people_stay_in_the_numbers(portal: Client, busy: Project) -> None:
    portal.get(URL)
    EndUser.objects.filter(created_at__lt=NOON - DAY / 2).delete()
    assert shown(portal.get(f"{URL}?days=90"))["New guests"] == ("3", "1 today")


# --- a project without guests ---------------------------------------------------------------------


def test_a_project_where_they_are_off_says_how_to_turn_them_on(portal: Client) -> None:
    make_project(anonymous_users_enabled=False)
    page = text_of(portal.get(URL))
    assert "No guests yet" in page
    assert 'href="/portal/guestbook/anonymous-users/">Turn on anonymous users</a>' in page
    assert 'role="img"' not in page


def test_a_project_without_an_application_leads_there(portal: Client, project: Project) -> None:
    make_application(project, "m2m", type="m2m")
    assert 'href="/portal/guestbook/applications/">Applications</a>' in text_of(portal.get(URL))


def test_a_project_without_guests_leads_to_the_quick_start(
    portal: Client, project: Project, application: Application
) -> None:
    page = text_of(portal.get(URL))
    assert f'href="/portal/guestbook/applications/{application.pk}/quick-start/">Quick start for Web</a>' in page


def test_a_project_whose_guests_are_gone_has_numbers(portal: Client, busy: Project) -> None:
    portal.get(URL)
    EndUser.objects.all().delete()
    assert "No guests yet" not in text_of(portal.get(f"{URL}?days=90"))


# --- who may see it -------------------------------------------------------------------------------


def member(project: Project | None, role: str = "viewer") -> Client:
    user: Any = get_user_model().objects.create_user(f"{role}-{uuid.uuid4()}", is_staff=True)
    if project is not None:
        project.memberships.create(user=user, role=role)
    client = Client(HTTP_HOST=HOST)
    client.force_login(user)
    return client


@pytest.mark.parametrize("role", ["viewer", "editor", "owner"])
def test_every_member_may_read(role: str, busy: Project) -> None:
    response = member(busy, role).get(URL)
    assert response.status_code == 200
    assert shown(response)["New guests"] == ("2", "1 today")


def test_others_learn_nothing(busy: Project, browser_client: Client) -> None:
    other = make_project("shop", "shop.example.com")
    for client in (member(other, "owner"), member(None)):
        response = client.get(URL)
        assert response.status_code == 404
        assert "Guestbook" not in text_of(response)
    assert browser_client.get(URL)["Location"] == f"/portal/login/?next={URL}"


def test_there_is_nothing_to_send(portal: Client, busy: Project) -> None:
    before = row_counts()
    assert portal.post(URL, {"days": "7"}).status_code == 405
    assert portal.head(URL).status_code == 200
    assert Session.objects.count() == 0
    assert {name: count for name, count in row_counts().items() if count != before[name]}.keys() <= {
        "anonusers.DailyCount",
        "anonusers.Tally",
    }
