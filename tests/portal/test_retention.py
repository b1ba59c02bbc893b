"""Retention & limits."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from anonusers import cleanup
from anonusers.forecast import Forecast
from anonusers.models import AnonymousIdentity, CleanupRun, EndUser, Project
from anonusers.project_keys import PROJECT
from portal.retention import (
    BUDGETS,
    LIMITS,
    RETENTION,
    Outcome,
    RetentionForm,
    counts_in_words,
    limit_in_words,
    reason_in_words,
)
from portal.views import retention as view
from tests.conftest import HOST, make_project, row_counts, state_of
from tests.portal.conftest import save, version_in

pytestmark = pytest.mark.django_db
URL = "/portal/guestbook/retention/"
NETWORK = "198.51.100.0/24"


def guest(project: Project, *, days: int = 0, aside_hours: float | None = None) -> EndUser:
    """A guest who has been here for so many days and has no session; set aside so many hours ago."""
    user = get_user_model().objects.create(username=str(uuid.uuid4()))
    person = EndUser.objects.create(project=project, user=user)
    AnonymousIdentity.objects.create(end_user=person)
    now = timezone.now()
    aside = None if aside_hours is None else now - timedelta(hours=aside_hours)
    EndUser.objects.filter(pk=person.pk).update(created_at=now - timedelta(days=days), quarantined_at=aside)
    person.refresh_from_db()
    return person


def a_run(project: Project, *, hours: int = 1, **fields: Any) -> CleanupRun:
    at = timezone.now() - timedelta(hours=hours)
    return CleanupRun.objects.create(
        project=project, **({"state": "finished", "started_at": at, "seen_at": at, "finished_at": at} | fields)
    )


def text_of(response: Any) -> str:
    return str(response.content.decode())


# --- the settings ---------------------------------------------------------------------------------


def test_file_and_portal_offer_the_same_settings() -> None:
    tables = PROJECT["project"]
    assert set(tables["retention"].values()) == set(RETENTION)
    assert set(tables["limits"].values()) == set(LIMITS)
    assert set(RetentionForm.base_fields) == {*RETENTION, *LIMITS}


ENTRIES = {
    "guest_inactive_days": ("30", 30),
    "quarantine_days": ("14", 14),
    "session_history_days": ("0", 0),
    "retired_key_days": ("0", 0),
    "removals_per_run": ("5000", 5000),
    "removals_percent": ("5", 5),
    "signup_per_ip": (" 9/h ", "9/h"),
    "signup_per_application": ("off", "off"),
    "signup_per_project_day": ("50000/d", "50000/d"),
    "bot_check_per_ip": ("3/m", "3/m"),
    "unlimited_networks": (
        f"{NETWORK}\r\n\r\n  2001:db8::/48   2026-12-01T08:00Z/2026-12-01T18:00Z ",
        [NETWORK, "2001:db8::/48 2026-12-01T08:00Z/2026-12-01T18:00Z"],
    ),
    "limits_store_down": ("stop", "stop"),
}


def test_every_setting_has_an_entry_here() -> None:
    assert set(ENTRIES) == {*RETENTION, *LIMITS}


@pytest.mark.parametrize("field", ENTRIES)
def test_each_setting_is_saved_and_nothing_else(field: str, portal: Client, project: Project) -> None:
    [before] = state_of(project)
    entry, value = ENTRIES[field]
    assert save(portal, URL, **{field: entry}).status_code == 302
    [after] = state_of(project)
    assert after == before | {field: value, "updated_at": after["updated_at"]}
    assert portal.get(URL).context["form"].initial[field] == value


def test_all_settings_are_saved_together_and_only_in_this_project(portal: Client, project: Project) -> None:
    other = make_project("shop", "shop.example.com")
    before = state_of(other)
    assert save(portal, URL, **{field: entry for field, (entry, _value) in ENTRIES.items()}).status_code == 302
    [after] = state_of(project)
    assert {field: after[field] for field in ENTRIES} == {field: value for field, (_entry, value) in ENTRIES.items()}
    assert state_of(other) == before


NUMBERS = {
    "guest_inactive_days": (0, 3650),
    "quarantine_days": (0, 365),
    "session_history_days": (0, 3650),
    "retired_key_days": (0, 3650),
    "removals_per_run": (1, 1_000_000_000),
    "removals_percent": (1, 100),
}


@pytest.mark.parametrize("field", NUMBERS)
def test_the_bounds_themselves_are_good(field: str, portal: Client, project: Project) -> None:
    for bound in NUMBERS[field]:
        assert save(portal, URL, **{field: str(bound)}).status_code == 302
        assert state_of(project)[0][field] == bound


def refused(portal: Client, project: Project, field: str, entry: str | None) -> str:
    """What is said at the field; nothing was changed."""
    before = state_of(project)
    response = save(portal, URL, **{field: entry})
    assert response.status_code == 400
    page = text_of(response)
    assert f'href="#id_{field}"' in page
    assert "<title>Error: Retention & limits" in page
    assert state_of(project) == before
    return page.split(f'id="id_{field}_error"')[1].split("</div>")[0]


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize("entry", [None, "", "abc", "-1", "1.5", "1e2", "1_0", "٣", "9" * 30], ids=repr)
def test_what_is_not_a_number_within_the_bounds_is_refused(
    field: str, entry: str | None, portal: Client, project: Project
) -> None:
    assert "Enter a " in refused(portal, project, field, entry)


@pytest.mark.parametrize("field", NUMBERS)
def test_past_the_bounds_is_refused_in_words(field: str, portal: Client, project: Project) -> None:
    low, high = NUMBERS[field]
    words = f"Enter a number from {low:,} to {high:,}."
    assert words in refused(portal, project, field, str(high + 1))
    if low:
        assert words in refused(portal, project, field, str(low - 1))


@pytest.mark.parametrize("field", BUDGETS)
@pytest.mark.parametrize("entry", ["60", "0/m", "-1/m", "60/w", "60 / m", "OFF", "none", "٣/m", "9/m\0"], ids=repr)
def test_what_is_no_limit_is_refused(field: str, entry: str, portal: Client, project: Project) -> None:
    assert "Use N/s, N/m, N/h or N/d" in refused(portal, project, field, entry)


@pytest.mark.parametrize("field", BUDGETS)
def test_a_limit_that_the_column_cannot_hold_is_refused(field: str, portal: Client, project: Project) -> None:
    assert "at most 20 characters" in refused(portal, project, field, f"{'9' * 19}/m")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("school", "school: Use a network such as 192.0.2.0/24"),
        ("192.0.2.1/24", "192.0.2.1/24: Use a network such as"),
        (f"{NETWORK} tomorrow", "Use an interval such as 2026-12-01T08:00Z/2026-12-01T18:00Z."),
        (f"{NETWORK} 2026-12-01T08:00/2026-12-01T18:00", "Both times need a time zone"),
        (f"{NETWORK} 2026-12-01T18:00Z/2026-12-01T08:00Z", "The end is not after the start."),
        (f"{NETWORK}\n{NETWORK}", f"{NETWORK} is there twice."),
        ("1" * 200, "Use at most 150 characters."),
        ("\n".join(f"10.0.{n}.0/24" for n in range(101)), "Enter at most 100 networks."),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;: Use a network"),
    ],
    ids=["word", "host-bits", "no-interval", "no-zone", "backwards", "twice", "long", "many", "markup"],
)
def test_what_is_no_network_is_refused(entry: str, words: str, portal: Client, project: Project) -> None:
    assert words in refused(portal, project, "unlimited_networks", entry)


@pytest.mark.parametrize("entry", [None, "", "never", "GO_ON"], ids=repr)
def test_a_forged_choice_is_refused(entry: str | None, portal: Client, project: Project) -> None:
    assert refused(portal, project, "limits_store_down", entry)


def test_columns_that_are_not_on_the_page_cannot_be_set(portal: Client, project: Project) -> None:
    before = state_of(project)
    forged = {"slug": "mine", "anonymous_users_enabled": "", "config_digest": "x", "keys_version": "9"}
    assert save(portal, URL, **forged).status_code == 302
    [after] = state_of(project)
    assert after == before[0] | {"updated_at": after["updated_at"]}


def test_an_overtaken_form_saves_nothing(portal: Client, project: Project) -> None:
    stale = version_in(portal.get(URL))
    save(portal, URL, quarantine_days="3")
    before = state_of(project)
    response = save(portal, URL, quarantine_days="5", version=stale)
    assert response.status_code == 409
    assert "differ from what is stored now in: Then keep them in quarantine for." in text_of(response)
    assert state_of(project) == before


# --- in words -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inactive", "quarantine", "words"),
    [
        (0, 7, "Guests are never removed."),
        (0, 0, "Guests are never removed."),
        (1, 0, "Guests are removed after 1 day without activity, once their sessions are over."),
        (
            90,
            7,
            "Guests are set aside after 90 days without activity, once their sessions are over, "
            "and removed 7 days later.",
        ),
    ],
)
def test_what_happens_to_guests_in_a_sentence(
    inactive: int, quarantine: int, words: str, portal: Client, project: Project
) -> None:
    assert Outcome().text(inactive, quarantine) == words
    save(portal, URL, guest_inactive_days=str(inactive), quarantine_days=str(quarantine))
    assert f"<p data-outcome-text>{words}</p>" in text_of(portal.get(URL))


@pytest.mark.parametrize(
    ("text", "default", "words"),
    [
        ("60/m", "off", "60 a minute"),
        ("1/s", "off", "1 a second"),
        ("50000/d", "off", "50,000 a day"),
        ("9/h", "off", "9 an hour"),
        ("off", "60/m", "No limit"),
        ("", "60/m", "The server's default: 60 a minute"),
        ("", "off", "The server's default: no limit"),
        ("60 a minute", "off", ""),
    ],
)
def test_a_limit_in_words(text: str, default: str, words: str) -> None:
    assert limit_in_words(text, default) == words


def test_the_page_says_the_servers_defaults(portal: Client, project: Project, settings: Any) -> None:
    settings.ANONUSERS_SIGNUP_PER_IP = "7/h"
    page = text_of(portal.get(URL))
    assert "The server&#x27;s default: 7 an hour" in page
    assert 'placeholder="7/h"' in page


def test_counts_in_words_leave_out_what_did_not_happen() -> None:
    counts = {"keys": 1, "removed": 1, "sessions": 2, "quarantined": 0, "windows": 4}
    assert [(one.number, one.words) for one in counts_in_words(counts)] == [
        (1, "guest removed"),
        (2, "ended sessions"),
        (1, "retired device key"),
        (4, "windows"),  # a step that the portal does not know yet
    ]
    assert [one.number for one in counts_in_words({}, all_of_them=True)] == [0, 0]


# --- what will be removed -------------------------------------------------------------------------


def test_the_forecast_counts_by_the_settings_of_now(portal: Client, project: Project) -> None:
    guest(project, days=100)
    guest(project, days=70)
    guest(make_project("shop", "shop.example.com"), days=100)
    rows = portal.get(URL).context["forecast"]
    assert rows == [Forecast(0, 1, 0), Forecast(7, 1, 1), Forecast(30, 2, 2), Forecast(90, 2, 2)]
    save(portal, URL, guest_inactive_days="0")
    rows = portal.get(URL).context["forecast"]
    assert [(one.unreachable, one.removed) for one in rows] == [(0, 0)] * 4


def test_many_people_are_not_counted_for_a_page(portal: Client, project: Project, monkeypatch: Any) -> None:
    monkeypatch.setattr(view, "LIVE_MOST", 1)
    guest(project, days=100)
    guest(project, days=100)
    assert "too many people to count them for a page" in text_of(portal.get(URL))
    a_run(project, report={"counts": {}, "forecast": [{"days": 0, "unreachable": 1234, "removed": 17}]})
    page = text_of(portal.get(URL))
    assert ">1,234</td>" in page
    assert ">17</td>" in page
    assert ">1 hour ago</time>" in page


def test_a_dry_run_counts_and_changes_nothing(portal: Client, project: Project) -> None:
    due = guest(project, days=100, aside_hours=200)
    fresh = guest(project, days=100)
    before, rows = row_counts(), state_of(project, due, fresh)
    response = portal.post(URL, {"dry_run": "yes"})
    assert response.status_code == 200
    page = text_of(response)
    assert "Dry run: nothing was changed." in page
    assert "<li>1 guest removed</li><li>1 guest set aside</li>" in page
    assert str(due.pk) in page
    assert (row_counts(), state_of(project, due, fresh)) == (before, rows)
    assert not CleanupRun.objects.exists()


def test_a_dry_run_says_what_would_stop_a_run(portal: Client, project: Project, monkeypatch: Any) -> None:
    monkeypatch.setattr("anonusers.cleanup.FEW", 0)
    guest(project, days=100)
    page = text_of(portal.post(URL, {"dry_run": "yes"}))
    assert "It would leave the guests alone, though:" in page
    assert "1 of 1 guests would go, more than 50 % of them." in page
    assert "<code>--confirm</code>" in page


def test_a_dry_run_of_too_many_is_a_matter_for_the_command_line(
    portal: Client, project: Project, monkeypatch: Any
) -> None:
    monkeypatch.setattr(view, "DRY_RUN_MOST", 1)
    guest(project, days=100)
    assert 'name="dry_run"' in text_of(portal.get(URL))
    guest(project, days=100)
    page = text_of(portal.get(URL))
    assert 'name="dry_run"' not in page
    assert 'data-copy="python manage.py anonusers_cleanup --project guestbook --dry-run"' in page
    response = portal.post(URL, {"dry_run": "yes"})
    assert (response.status_code, response.context["report"]) == (400, None)


def test_undeclared_relations_are_named_and_nothing_is_counted(portal: Client, project: Project, settings: Any) -> None:
    settings.ANONUSERS_GUEST_DATA = {"auth.Group.<b>owner": "delete", "auth.Group.user": "keep"}
    guest(project, days=100)
    page = text_of(portal.get(URL))
    assert "No clean-up can run" in page
    assert "<li>auth.Group.&lt;b&gt;owner is declared, and there is no such relation to a user.</li>" in page
    assert "<li>auth.Group.user is declared, and there is no such relation to a user.</li>" in page
    assert 'name="dry_run"' not in page
    before = row_counts()
    response = portal.post(URL, {"dry_run": "yes"})
    assert (response.status_code, response.context["report"], row_counts()) == (409, None, before)
    assert save(portal, URL, quarantine_days="3").status_code == 302  # settings can be mended all the same


def test_the_page_never_offers_a_real_run(portal: Client, project: Project) -> None:
    due = guest(project, days=100, aside_hours=200)
    before = row_counts()
    for data in ({"run": "yes"}, {"clean_up": "yes"}, {"dry_run": ""}, {"dry_run": "no"}, {}):
        portal.post(URL, data)
    assert row_counts() == before
    assert EndUser.objects.filter(pk=due.pk).exists()
    assert 'data-copy="python manage.py anonusers_cleanup --project guestbook"' in text_of(portal.get(URL))


# --- quarantine -----------------------------------------------------------------------------------


def test_the_newest_20_in_quarantine_are_listed(portal: Client, project: Project) -> None:
    people = [guest(project, days=100, aside_hours=hours + 0.5) for hours in range(22)]
    guest(project, days=100)
    guest(make_project("shop", "shop.example.com"), days=100, aside_hours=1)
    response = portal.get(URL)
    assert [one.sub for one in response.context["aside"]] == [person.pk for person in people[:20]]
    page = text_of(response)
    assert '<span class="badge badge--warning">22</span>' in page
    assert "The newest 20 of 22." in page
    assert ">in 6 days</time>" in page


def test_when_a_guest_goes(portal: Client, project: Project) -> None:
    guest(project, days=100, aside_hours=24 * 7 + 1)
    assert "at the next clean-up" in text_of(portal.get(URL))
    Project.objects.filter(pk=project.pk).update(guest_inactive_days=0)
    assert "stays, by these settings" in text_of(portal.get(URL))


def test_a_guest_is_restored_and_nobody_else(portal: Client, project: Project) -> None:
    one, other = (guest(project, days=100, aside_hours=hours) for hours in (1, 2))
    before, untouched = row_counts(), state_of(project, other)
    [row] = state_of(one)
    response = portal.post(URL, {"restore": str(one.pk)})
    assert (response.status_code, response["Location"]) == (302, f"{URL}#quarantine")
    assert state_of(one) == [row | {"quarantined_at": None}]
    assert (row_counts()["anonusers.EndUser"], state_of(project, other)) == (before["anonusers.EndUser"], untouched)
    assert "The guest is out of quarantine." in text_of(portal.get(URL))
    portal.post(URL, {"restore": str(one.pk)})
    assert "This guest is not in quarantine" in text_of(portal.get(URL))


@pytest.mark.parametrize("sub", ["", "x", "0", "<b>", "\0", str(uuid.UUID(int=0)), "١" * 32])
def test_a_forged_sub_restores_nobody(sub: str, portal: Client, project: Project) -> None:
    aside = guest(project, days=100, aside_hours=1)
    before = state_of(aside)
    assert portal.post(URL, {"restore": sub}).status_code == 302
    assert state_of(aside) == before
    page = text_of(portal.get(URL))
    assert "This guest is not in quarantine" in page
    assert "<b>" not in page


def test_a_guest_of_another_project_is_not_restored(portal: Client, project: Project) -> None:
    foreign = guest(make_project("shop", "shop.example.com"), days=100, aside_hours=1)
    before = state_of(foreign)
    portal.post(URL, {"restore": str(foreign.pk)})
    assert state_of(foreign) == before


@pytest.mark.parametrize("name", ["restore", "dry_run"])
def test_only_operators_on_this_site_may(name: str, project: Project, operator: Any, browser_client: Client) -> None:
    aside = guest(project, days=100, aside_hours=1)
    before = state_of(aside)
    assert browser_client.post(URL, {name: str(aside.pk)}).status_code == 302
    browser_client.force_login(get_user_model().objects.create_user("member"))
    assert browser_client.post(URL, {name: str(aside.pk)}).status_code == 403
    elsewhere = Client(HTTP_HOST=HOST, enforce_csrf_checks=True)
    elsewhere.force_login(operator)
    assert elsewhere.post(URL, {name: str(aside.pk)}).status_code == 403
    unknown = Client(HTTP_HOST=HOST)
    unknown.force_login(operator)
    assert unknown.post("/portal/nothing/retention/", {name: str(aside.pk)}).status_code == 404
    assert state_of(aside) == before


# --- clean-ups and the statement ------------------------------------------------------------------


def test_without_clean_ups_and_guests_the_page_says_what_will_be_there(portal: Client, project: Project) -> None:
    page = text_of(portal.get(URL))
    assert "No clean-up has run yet" in page
    assert "Nobody is in quarantine." in page


def test_the_last_20_clean_ups_are_listed_in_words(portal: Client, project: Project) -> None:
    for hours in range(21, 0, -1):
        a_run(project, hours=hours, report={"counts": {"removed": hours, "sessions": 1}})
    a_run(make_project("shop", "shop.example.com"))
    response = portal.get(URL)
    runs = response.context["runs"]
    assert [run["counts"][0].number for run in runs] == list(range(1, 21))
    assert '<span class="count__number">20</span> guests removed' in text_of(response)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"state": "finished"}, "Finished"),
        ({"state": "running", "finished_at": None, "hours": 0}, "Running"),
        ({"state": "running", "finished_at": None, "hours": 1}, "Not heard of"),
        ({"state": "stopped", "reason": "912 of 1000 would go <b>"}, "Stopped"),
        ({"state": "interrupted", "reason": "it was killed"}, "Interrupted"),
    ],
    ids=["finished", "running", "silent", "stopped", "interrupted"],
)
def test_each_state_has_its_badge(fields: dict[str, Any], words: str, portal: Client, project: Project) -> None:
    run = a_run(project, **fields)
    page = text_of(portal.get(URL))
    assert f">{words}</span>" in page
    assert "912 of 1000 would go &lt;b&gt;" in page or run.state != "stopped"
    assert ("Nothing so far." if run.state == "running" else "Nothing was removed.") in page


UNUSUAL = {"many": 1912, "everybody": 3000, "percent": 50}
REASONS: list[tuple[str, dict[str, Any], str, str]] = [
    (
        cleanup.UNUSUAL % UNUSUAL,
        {"unusual": UNUSUAL},
        "1,912 of 3,000 guests would go, more than 50 % of them. Look at a dry run, then confirm it.",
        "1.912 von 3.000 Gästen würden gehen, mehr als 50 % von ihnen. Sehen Sie einen Probelauf an, "
        "dann bestätigen Sie ihn.",
    ),
    (
        cleanup.BROKEN,
        {"unusual": UNUSUAL},
        "An error stopped it, see the log",
        "Ein Fehler hat sie angehalten, siehe das Log",
    ),
    (
        cleanup.KILLED,
        {},
        "It was killed, or its machine went away",
        "Sie wurde abgebrochen, oder ihre Maschine ist ausgefallen",
    ),
    ("912 of 1000 guests would go.", {}, "912 of 1000 guests would go.", "912 of 1000 guests would go."),
    ("whatever stands there", {"unusual": {"many": 1}}, "Whatever stands there", "Whatever stands there"),
]


@pytest.mark.parametrize(("reason", "report", "english", "german"), REASONS)
def test_why_a_clean_up_stopped_is_said_in_the_language_of_whoever_looks(
    portal: Client, project: Project, reason: str, report: dict[str, Any], english: str, german: str
) -> None:
    a_run(project, state="stopped", reason=reason, report=report)
    for language, words in (("en", english), ("de", german)):
        page = text_of(portal.get(URL, headers={"Accept-Language": language}))
        assert f'<span class="words">{words}</span>' in page


def test_who_came_to_the_end_needs_no_reason(portal: Client, project: Project) -> None:
    run = a_run(project, state="finished", report={"unusual": UNUSUAL})
    assert reason_in_words(run) == ""


def test_an_old_report_without_counts_is_shown(portal: Client, project: Project) -> None:
    a_run(project, report={})
    assert portal.get(URL).status_code == 200


def test_the_statement_is_told_and_can_be_copied(portal: Client, project: Project, monkeypatch: Any) -> None:
    monkeypatch.setattr(view, "statement", lambda row: [f"We keep <{row.slug}>.", 'And "this".'])
    page = text_of(portal.get(URL))
    assert "<p>We keep &lt;guestbook&gt;.</p><p>And &quot;this&quot;.</p>" in page
    assert 'data-copy="We keep &lt;guestbook&gt;.\n\nAnd &quot;this&quot;."' in page


def test_more_guests_and_clean_ups_do_not_cost_more_statements(portal: Client, project: Project) -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as queries:
            portal.get(URL)
        return len(queries)

    portal.get(URL)  # the session remembers the project
    guest(project, days=100, aside_hours=1)
    a_run(project)
    few = statements()
    for hours in range(30):
        guest(project, days=100, aside_hours=hours)
        a_run(project, hours=hours + 1)
    assert statements() == few
