"""Bulk actions: the question before, the work in batches, the page meanwhile; and that each batch is done once."""

import re
import threading
import uuid
from datetime import timedelta
from importlib import import_module
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import IntegrityError, OperationalError, connection
from django.test import Client
from django.utils import timezone, translation
from django.utils.html import escape

from anonusers import people
from anonusers.errors import Busy, CleanupRefused, ErasureForbidden
from anonusers.models import Application, AuditEvent, EndUser, Project, Session
from portal import jobs
from portal.models import Job
from tests.anonusers.test_people import make_people
from tests.conftest import make_application, make_project, row_counts, state_of
from tests.people import guest_session
from tests.portal.test_users import member, text_of
from tests.test_races import at_once

pytestmark = [pytest.mark.django_db, pytest.mark.database]
URL = "/portal/guestbook/users/bulk/"
ANYBODY = {"everybody": "yes", "query": ""}


def order(project: Project, action: str = "disable", **facts: Any) -> Job:
    """A job as the page orders it, for everybody unless `facts` say otherwise."""
    return Job.objects.create(project=project, action=action, **({"selection": {"filters": ""}} | facts))


def subs_of(rows: list[EndUser]) -> list[str]:
    return [str(row.pk) for row in rows]


def page_of(job: Job) -> str:
    return f"/portal/guestbook/jobs/{job.pk}/"


def disabled() -> set[uuid.UUID]:
    return set(EndUser.objects.filter(disabled_at__isnull=False).values_list("pk", flat=True))


def keys_of(rows: list[EndUser]) -> set[uuid.UUID]:
    return {row.pk for row in rows}


def facts_of(job: Job) -> tuple[str, int, int]:
    job.refresh_from_db()
    return job.state, job.done, job.passed_over


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "BATCH", 4)


# --- the question ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "heading"),
    [
        ("disable", "Disable 2 people?"),
        ("enable", "Enable 2 people?"),
        ("end_sessions", "End the sessions of 2 people?"),
        ("delete", "Delete 2 people?"),
    ],
)
def test_it_is_asked_first(portal: Client, project: Project, action: str, heading: str) -> None:
    rows = make_people(project, 3)
    before = row_counts()
    response = portal.post(URL, {"action": action, "sub": subs_of(rows[:2])})
    assert response.status_code == 200
    page = text_of(response)
    assert f"<h1>{heading}</h1>" in page
    assert set(re.findall(r'name="sub" value="(\w+)"', page)) == {row.pk.hex for row in rows[:2]}
    assert (row_counts(), Job.objects.count()) == (before, 0)


def test_the_filters_and_how_many_match_are_said(portal: Client, project: Project, application: Application) -> None:
    make_people(project, 3, application=application)
    make_people(project, 2)
    query = "?kind=guest&application=web"
    page = text_of(portal.post(URL, {"action": "end_sessions", "everybody": "yes", "query": query}))
    assert "End the sessions of 3 people?" in page
    assert "Guests</li>" in page
    assert "Signed up through Web</li>" in page
    assert 'name="query" value="?kind=guest&amp;application=web"' in page
    assert "Everybody in this project who is there now." in text_of(portal.post(URL, {"action": "enable"} | ANYBODY))


NOBODY: list[dict[str, Any]] = [
    {},
    {"action": "disable"},
    {"action": "disable", "sub": ["x", "", str(uuid.uuid4())]},
    {"action": "promote", "everybody": "yes"},
    {"everybody": "yes"},
    {"action": "disable", "everybody": "yes", "query": "?kind=robot"},
    {"action": "disable", "everybody": "yes", "query": "?application=nobody"},
    {"action": "disable", "everybody": "yes", "query": "?disabled=yes"},
    {"action": "disable", "everybody": "yes", "query": "?" + "a" * 2001},
]


@pytest.mark.parametrize("data", NOBODY)
def test_without_people_or_an_action_nothing_is_ordered(portal: Client, project: Project, data: dict[str, Any]) -> None:
    rows = make_people(project, 2)
    before = row_counts(), state_of(*rows)
    response = portal.post(URL, data | {"confirmed": "yes", "reason": "x", "typed": "2"})
    assert response.status_code == 400
    assert "Nobody was chosen" in text_of(response)
    assert ((row_counts(), state_of(*rows)), Job.objects.count()) == (before, 0)


def test_people_of_another_project_are_not_chosen(portal: Client, project: Project) -> None:
    (stranger,) = make_people(make_project("shop", "shop.example.com"), 1)
    (mine,) = make_people(project, 1)
    data = {"action": "disable", "sub": subs_of([stranger]), "confirmed": "yes", "reason": "x"}
    assert portal.post(URL, data).status_code == 400
    portal.post(URL, data | {"sub": subs_of([stranger, mine])})
    job = Job.objects.get()
    assert job.selection == {"subs": [mine.pk.hex]}
    job.selection = {"subs": [mine.pk.hex, stranger.pk.hex]}  # whatever stands there
    job.save()
    assert jobs.work(job.pk)
    assert disabled() == {mine.pk}


def test_disabling_many_wants_a_reason(portal: Client, project: Project) -> None:
    rows = make_people(project, 2)
    for reason in ("", "  ", "x" * 301):
        response = portal.post(URL, {"action": "disable", "sub": subs_of(rows), "confirmed": "yes", "reason": reason})
        assert response.status_code == 400
        assert 'class="error"' in text_of(response)
    assert (Job.objects.count(), AuditEvent.objects.count()) == (0, 0)


@pytest.mark.parametrize("typed", ["", "1", "3", "two", "guestbook"])
def test_deleting_many_wants_their_number(portal: Client, project: Project, typed: str) -> None:
    rows = make_people(project, 2)
    for chosen in ({"sub": subs_of(rows)}, ANYBODY):
        data = {"action": "delete", "confirmed": "yes", "typed": typed} | chosen
        response = portal.post(URL, data)
        assert response.status_code == 400
        assert "This is not it. Type 2." in text_of(response)
    assert (Job.objects.count(), EndUser.objects.count()) == (0, 2)


def test_the_number_that_counts_is_the_one_of_now(portal: Client, project: Project) -> None:
    make_people(project, 2)
    data = {"action": "delete", "confirmed": "yes", "typed": "2"} | ANYBODY
    make_people(project, 1)  # since the question was asked
    assert portal.post(URL, data).status_code == 400
    assert portal.post(URL, data | {"typed": "3"}).status_code == 302


def test_where_they_are_too_many_to_count_the_projects_id_is_typed(
    portal: Client, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people.count_people, "__kwdefaults__", {"most": 2, "now": None})
    make_people(project, 3)
    page = text_of(portal.post(URL, {"action": "delete"} | ANYBODY))
    assert "Delete more than 2 people?" in page
    data = {"action": "delete", "confirmed": "yes"} | ANYBODY
    assert portal.post(URL, data | {"typed": "2"}).status_code == 400
    assert portal.post(URL, data | {"typed": "guestbook"}).status_code == 302
    job = Job.objects.get()
    assert job.total == 0
    page = text_of(portal.get(page_of(job)))
    assert "<progress" in page
    assert " value=" not in page.split("<progress", 1)[1].split(">", 1)[0]


@pytest.mark.parametrize(
    ("action", "entries", "type", "facts"),
    [
        ("disable", {"reason": "Spam."}, "users.bulk_disabled", {"people": 2, "reason": "Spam."}),
        ("enable", {"reason": "ignored"}, "users.bulk_enabled", {"people": 2}),
        ("end_sessions", {}, "users.bulk_sessions_ended", {"people": 2}),
        ("delete", {"typed": "2"}, "users.bulk_deleted", {"people": 2}),
    ],
)
def test_an_order_is_a_job_and_an_event(
    portal: Client, operator: Any, project: Project, action: str, entries: dict[str, str], type: str, facts: Any
) -> None:
    rows = make_people(project, 2)
    response = portal.post(URL, {"action": action, "sub": subs_of(rows), "confirmed": "yes"} | entries)
    job = Job.objects.get()
    assert (response.status_code, response["Location"]) == (302, page_of(job))
    assert (job.action, job.actor, job.total, job.state) == (action, "olga", 2, "waiting")
    assert job.selection == {"subs": sorted(row.pk.hex for row in rows)}
    event = AuditEvent.objects.get()
    assert (event.category, event.type, event.actor, event.target) == ("users", type, operator, f"job:{job.pk}")
    assert event.changes == facts


def test_the_bulk_page_is_no_page_of_its_own(portal: Client, project: Project) -> None:
    response = portal.get(URL)
    assert (response.status_code, response["Location"]) == (302, "/portal/guestbook/users/")


# --- roles ----------------------------------------------------------------------------------------


def test_a_viewer_looks_at_a_job_and_cannot_stop_it(project: Project) -> None:
    job = order(project)
    client = member(project, "viewer")
    page = text_of(client.get(page_of(job)))
    assert "Disabling people" in page
    assert 'name="action"' not in page
    for action in ("cancel", "retry"):
        assert client.post(page_of(job), {"action": action}).status_code == 403
    assert facts_of(job)[0] == "waiting"


def test_a_job_of_another_project_is_not_found(portal: Client, project: Project) -> None:
    foreign = order(make_project("shop", "shop.example.com"))
    before = state_of(foreign)
    assert portal.get(page_of(foreign)).status_code == 404
    assert portal.post(page_of(foreign), {"action": "cancel"}).status_code == 404
    client = member(project, None)
    mine = order(project)
    assert client.get(page_of(mine)).status_code == 404
    assert client.post(page_of(mine), {"action": "cancel"}).status_code == 404
    assert client.post(URL, {"action": "disable"} | ANYBODY).status_code == 404
    assert state_of(foreign) == before


# --- the work -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 3, 4, 5, 8, 9])
def test_everybody_who_was_chosen_is_done_in_batches(project: Project, small_batches: None, number: int) -> None:
    chosen, others = make_people(project, number), make_people(project, 5)
    job = order(project, selection={"subs": sorted(row.pk.hex for row in chosen)}, total=number)
    assert jobs.work(job.pk) is True
    assert disabled() == keys_of(chosen)
    assert facts_of(job) == ("finished", number, 0)
    assert (job.leased_until, job.finished_at is not None) == (None, True)
    assert not disabled() & keys_of(others)
    assert jobs.work(job.pk) is False


@pytest.mark.parametrize("number", [1, 4, 9, 13])
def test_all_who_match_are_done_in_batches(
    project: Project, application: Application, small_batches: None, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(people, "STEPS", (2, 3))
    chosen = make_people(project, number, application=application)
    others = [row for hours in range(6) for row in make_people(project, 1, created_at=_ago(hours))]
    job = order(project, selection={"filters": "?kind=guest&application=web"}, total=number)
    assert jobs.work(job.pk) is True
    assert facts_of(job) == ("finished", number, 0)
    assert disabled() == keys_of(chosen)
    assert len(others) == 6


def _ago(hours: int) -> Any:
    return people.datetime(2026, 11, 21, 12, tzinfo=people.UTC) - timedelta(hours=hours)


def test_at_its_end_it_does_not_say_any_more_who(project: Project, small_batches: None) -> None:
    """They may be erased since; and what somebody searched for is an address."""
    rows = make_people(project, 6)
    chosen = {"subs": sorted(row.pk.hex for row in rows)}
    finished, cancelled, failed = (order(project, selection=chosen) for _ in range(3))
    jobs.work(finished.pk)
    assert jobs.cancel(cancelled)
    Job.objects.filter(pk=failed.pk).update(state="failed", cursor=chosen["subs"][3])
    for job, selection, cursor in ((finished, {}, ""), (cancelled, {}, ""), (failed, chosen, chosen["subs"][3])):
        job.refresh_from_db()
        assert (job.selection, job.cursor) == (selection, cursor), job.state
    assert jobs.retry(failed)
    jobs.work(failed.pk)
    assert facts_of(failed) == ("finished", 0, 2)  # behind the last batch, where all was done
    assert failed.selection == {}


def test_jobs_that_ended_before_forget_too(project: Project) -> None:
    states = ("waiting", "running", "finished", "cancelled", "failed")
    rows = {state: order(project, state=state, selection={"filters": "?search=anna"}, cursor="x") for state in states}
    migration: Any = import_module("portal.migrations.0004_jobs_forget")
    migration.forget(apps, SimpleNamespace(connection=connection))
    kept = [state for state, job in rows.items() if state_of(job)[0]["selection"]]
    assert kept == ["waiting", "running", "failed"]


def test_who_came_after_the_order_is_not_meant(project: Project, small_batches: None) -> None:
    now = timezone.now()
    old = make_people(project, 3, created_at=now - timedelta(minutes=1))
    job = order(project)
    make_people(project, 3, created_at=now + timedelta(minutes=1))
    jobs.work(job.pk)
    assert disabled() == keys_of(old)


def test_an_action_that_changes_who_matches_still_reaches_all(project: Project, small_batches: None) -> None:
    rows = make_people(project, 10)
    job = order(project, selection={"filters": "?disabled=no"})
    jobs.work(job.pk)
    assert facts_of(job) == ("finished", 10, 0)
    job = order(project, "enable", selection={"filters": "?disabled=yes"})
    jobs.work(job.pk)
    assert facts_of(job) == ("finished", 10, 0)
    assert len(rows) == 10


def test_who_needs_nothing_is_passed_over(project: Project) -> None:
    rows = make_people(project, 5)
    EndUser.objects.filter(pk__in=subs_of(rows[:2])).update(disabled_at=timezone.now())
    job = order(project)
    jobs.work(job.pk)
    assert facts_of(job) == ("finished", 3, 2)


def test_sessions_are_ended(application: Application) -> None:
    live, ended = guest_session(application), guest_session(application)
    Session.objects.filter(pk=ended.pk).update(ended_at=timezone.now())
    job = order(application.project, "end_sessions")
    jobs.work(job.pk)
    assert facts_of(job) == ("finished", 1, 1)
    live.refresh_from_db()
    assert live.ended_at is not None


def test_deleting_passes_over_staff_and_tells_of_each_person(operator: Any, project: Project) -> None:
    rows = make_people(project, 4)
    staff = rows[1]
    type(operator).objects.filter(pk=staff.user_id).update(is_staff=True)
    job = order(project, "delete", actor="olga")
    jobs.work(job.pk)
    assert facts_of(job) == ("finished", 3, 1)
    assert list(EndUser.objects.all()) == [staff]
    events = AuditEvent.objects.filter(type="user.deleted")
    assert {event.end_user_id for event in events} == keys_of(rows) - {staff.pk}
    assert {(event.actor, event.changes["job"]) for event in events} == {(operator, job.pk)}


def test_whom_the_host_holds_stays_and_the_others_go(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = make_people(project, 3)
    original = jobs.delete_user

    def held(*, end_user: EndUser) -> Any:
        if end_user.pk == rows[0].pk:
            raise ErasureForbidden
        return original(end_user=end_user)

    monkeypatch.setattr(jobs, "delete_user", held)
    job = order(project, "delete")
    jobs.work(job.pk)
    assert facts_of(job) == ("finished", 2, 1)
    assert list(EndUser.objects.all()) == [rows[0]]


def test_what_cannot_go_on_is_said_and_can_be_tried_again(
    portal: Client, project: Project, small_batches: None, settings: Any
) -> None:
    rows = make_people(project, 6)
    declared = settings.ANONUSERS_GUEST_DATA
    settings.ANONUSERS_GUEST_DATA = {}
    job = order(project, "delete", total=6)
    assert jobs.work(job.pk) is True
    assert facts_of(job) == ("failed", 0, 0)
    page = text_of(portal.get(page_of(job)))
    assert "Stopped after 0 people." in page
    assert "nothing says what becomes of it" in page
    assert EndUser.objects.count() == len(rows)
    settings.ANONUSERS_GUEST_DATA = declared
    assert portal.post(page_of(job), {"action": "retry"}).status_code == 302
    assert AuditEvent.objects.filter(type="users.bulk_retried", target=f"job:{job.pk}").exists()
    jobs.work(job.pk)
    assert facts_of(job) == ("finished", 6, 0)


def test_filters_that_are_not_valid_any_more_stop_a_job(project: Project) -> None:
    application = make_application(project, "gone")
    make_people(project, 2, application=application)
    job = order(project, selection={"filters": "?application=gone"})
    application.delete()
    jobs.work(job.pk)
    assert facts_of(job) == ("failed", 0, 0)
    assert job.error == "filters_gone"
    assert disabled() == set()


class Undeclared(CleanupRefused):
    """Whatever is a kind of it is told as it."""


FAILURES: list[tuple[Exception, str, str, str]] = [
    (
        jobs._FiltersGone(),
        "filters_gone",
        "Its filters are not valid any more: what they name is gone.",
        "Die Filter sind nicht mehr gültig: Was sie nennen, gibt es nicht mehr.",
    ),
    (
        Undeclared("shop.Order.user leads\n to a user."),
        "undeclared: shop.Order.user leads to a user.",
        "Nobody can be deleted before it is declared what becomes of the host's data: shop.Order.user leads to a user.",
        "Niemand kann gelöscht werden, bevor angegeben ist, was aus den Daten des Hosts wird: "
        "shop.Order.user leads to a user.",
    ),
    (
        Busy(),
        "refused: Too much is going on at once. Try again in a moment.",
        "This server refused it: Too much is going on at once. Try again in a moment.",
        "Dieser Server hat es abgelehnt: Im Moment ist zu viel los. Versuchen Sie es gleich noch einmal.",
    ),
    (
        IntegrityError("100% <b>"),
        "database: IntegrityError: 100% <b>",
        "The database could not be used: IntegrityError: 100% <b>",
        "Die Datenbank war nicht zu gebrauchen: IntegrityError: 100% <b>",
    ),
    (
        RuntimeError("a bug: 7"),
        "unexpected: RuntimeError: a bug: 7",
        "Something went wrong that nobody expected, see the server's log: RuntimeError: a bug: 7",
        "Etwas Unerwartetes ist schiefgegangen, siehe das Log des Servers: RuntimeError: a bug: 7",
    ),
]


@pytest.mark.parametrize(("error", "stored", "english", "german"), FAILURES, ids=[one[1][:9] for one in FAILURES])
def test_why_it_failed_is_said_in_the_language_of_whoever_looks(
    portal: Client,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    stored: str,
    english: str,
    german: str,
) -> None:
    make_people(project, 1)
    _fails(99, error, monkeypatch)
    job = order(project)
    with translation.override("fr"):  # the language of who ordered it, or of nobody
        jobs.work(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error) == ("failed", stored)
    for language, words in (("en", english), ("de", german)):
        response = portal.get(page_of(job), headers={"Accept-Language": language})
        assert f"<p>{escape(words)}</p>" in text_of(response)


def test_every_code_has_words_and_no_other_text_is_taken_for_one() -> None:
    assert {stored.partition(":")[0] for _error, stored, _english, _german in FAILURES} == set(jobs.FAILURES)
    for language, _name in settings.LANGUAGES:
        with translation.override(language):
            for code in jobs.FAILURES:
                assert "x: 1%" in jobs.failure_in_words(Job(error=f"{code}: x: 1%")) or code == "filters_gone"
            assert jobs.failure_in_words(Job(error="database: ")) == str(jobs.FAILURES["database"]) % {"detail": ""}


@pytest.mark.parametrize(
    "stored",
    [
        "OperationalError: lock timeout",
        "ValueError: the filters are not valid any more",
        "The clean-up cannot run: it is not declared what becomes of the host's data.",
        "Something: 100% of it",
        "no_code_of_ours: x",
        "",
    ],
)
def test_what_an_earlier_version_has_stored_is_shown_as_it_is(portal: Client, project: Project, stored: str) -> None:
    job = order(project, state="failed", error=stored)
    for language in ("en", "ja"):
        response = portal.get(page_of(job), headers={"Accept-Language": language})
        assert f"<p>{escape(stored)}</p>" in text_of(response)
    assert state_of(job)[0]["error"] == stored


def test_a_long_detail_is_cut_and_its_code_is_not(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    make_people(project, 1)
    _fails(99, RuntimeError("x" * 500), monkeypatch)
    job = order(project)
    jobs.work(job.pk)
    job.refresh_from_db()
    assert job.error == f"unexpected: RuntimeError: {'x' * 500}"[:300]


def _fails(times: int, error: Exception, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    original = jobs.disable_user

    def once_in_a_while(*, end_user: EndUser) -> bool:
        calls.append(1)
        if len(calls) <= times:
            raise error
        return original(end_user=end_user)

    monkeypatch.setattr(jobs, "disable_user", once_in_a_while)
    monkeypatch.setattr(jobs.time, "sleep", lambda seconds: None)
    return calls


def test_a_batch_that_had_to_wait_too_long_is_repeated(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = make_people(project, 3)
    _fails(2, OperationalError("lock timeout"), monkeypatch)
    job = order(project)
    jobs.work(job.pk)
    assert facts_of(job) == ("finished", 3, 0)
    assert disabled() == keys_of(rows)


def test_a_batch_is_not_repeated_for_ever(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    make_people(project, 3)
    calls = _fails(99, OperationalError("lock timeout"), monkeypatch)
    job = order(project)
    jobs.work(job.pk)
    assert facts_of(job) == ("failed", 0, 0)
    assert job.error == "database: OperationalError: lock timeout"
    assert len(calls) == jobs.TRIES


def test_a_batch_is_done_wholly_or_not_at_all(
    project: Project, small_batches: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = sorted(make_people(project, 6), key=lambda row: row.pk)
    original = jobs.disable_user

    def breaks(*, end_user: EndUser) -> bool:
        if end_user.pk == rows[5].pk:
            raise RuntimeError("a bug")
        return original(end_user=end_user)

    monkeypatch.setattr(jobs, "disable_user", breaks)
    job = order(project, selection={"subs": [row.pk.hex for row in rows]})
    jobs.work(job.pk)
    assert facts_of(job) == ("failed", 4, 0)
    assert (job.error, job.cursor) == ("unexpected: RuntimeError: a bug", rows[3].pk.hex)
    assert disabled() == keys_of(rows[:4])
    monkeypatch.setattr(jobs, "disable_user", original)
    assert jobs.retry(job)
    jobs.work(job.pk)
    assert facts_of(job) == ("finished", 6, 0)


# --- leases ---------------------------------------------------------------------------------------


def test_nobody_takes_a_job_that_somebody_holds(project: Project) -> None:
    make_people(project, 2)
    job = order(project, state="running", leased_until=timezone.now() + timedelta(seconds=5))
    before = state_of(job)
    assert not jobs.is_abandoned(job)
    assert jobs.work(job.pk) is False
    assert state_of(job) == before
    assert disabled() == set()


def test_a_dead_workers_job_goes_on_behind_its_last_batch(project: Project, small_batches: None) -> None:
    rows = sorted(make_people(project, 9), key=lambda row: row.pk)
    job = order(
        project,
        selection={"subs": [row.pk.hex for row in rows]},
        state="running",
        leased_until=timezone.now() - timedelta(seconds=1),
        cursor=rows[3].pk.hex,
        done=4,
    )
    assert jobs.is_abandoned(job)
    assert jobs.work(job.pk) is True
    assert facts_of(job) == ("finished", 9, 0)
    assert disabled() == keys_of(rows[4:])


def test_a_batch_whose_lease_went_to_somebody_else_never_was(
    project: Project, small_batches: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_people(project, 9)
    job = order(project)
    original = jobs._act
    batches: list[int] = []

    def slow(row: Job, ids: list[uuid.UUID]) -> int:
        done = original(row, ids)
        batches.append(done)
        if len(batches) == 2:
            Job.objects.filter(pk=job.pk).update(leased_until=timezone.now() + timedelta(seconds=99))
        return done

    monkeypatch.setattr(jobs, "_act", slow)
    jobs.work(job.pk)
    assert batches == [4, 4]
    assert (facts_of(job), len(disabled())) == (("running", 4, 0), 4)


def test_cancelling_undoes_the_batch_on_its_way_and_keeps_the_others(
    project: Project, small_batches: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_people(project, 9)
    job = order(project)
    original = jobs._act

    def cancelled_meanwhile(row: Job, ids: list[uuid.UUID]) -> int:
        if row.done:
            Job.objects.filter(pk=job.pk).update(state="cancelled")
        return original(row, ids)

    monkeypatch.setattr(jobs, "_act", cancelled_meanwhile)
    jobs.work(job.pk)
    # On SQLite this very transaction had cancelled it, and its rollback takes that back.
    assert (facts_of(job)[1], len(disabled())) == (4, 4)


def test_a_job_is_cancelled_once(portal: Client, project: Project) -> None:
    make_people(project, 3)
    job = order(project, done=0, total=3)
    assert portal.post(page_of(job), {"action": "cancel"}).status_code == 302
    assert facts_of(job)[0] == "cancelled"
    assert jobs.work(job.pk) is False
    assert disabled() == set()
    response = portal.post(page_of(job), {"action": "cancel"}, follow=True)
    assert "Nothing was changed" in text_of(response)
    assert "Cancelled after 0 people." in text_of(response)
    assert AuditEvent.objects.filter(type="users.bulk_cancelled").count() == 1
    for action in ("retry", "x", ""):
        portal.post(page_of(job), {"action": action})
        assert facts_of(job)[0] == "cancelled"


def test_a_job_whose_project_is_gone_is_no_job(project: Project) -> None:
    job = order(project)
    project.delete()
    assert jobs.work(job.pk) is False


# --- pages and the command ------------------------------------------------------------------------


def test_the_page_says_how_far_it_is(portal: Client, project: Project) -> None:
    held = timezone.now() + timedelta(seconds=30)
    job = order(project, state="running", total=4000, done=900, passed_over=100, leased_until=held, reason="Spam.")
    page = text_of(portal.get(page_of(job)))
    assert "1,000 of 4,000" in page
    assert 'value="25" max="100"' in page
    assert '<dd data-live="done">900</dd>' in page
    assert '<span data-live="passed">100</span>' in page
    assert "Spam." in page
    assert 'value="cancel"' in page
    assert "data-refresh" in page
    assert "http-equiv" not in page
    listed = text_of(portal.get("/portal/guestbook/users/"))
    assert f'href="{page_of(job)}"' in listed


def test_the_page_of_a_finished_job_sums_up(portal: Client, project: Project) -> None:
    job = order(project, state="finished", total=5, done=4, passed_over=1, finished_at=timezone.now())
    page = text_of(portal.get(page_of(job)))
    assert "All of it is done: 4 people, 1 passed over." in page
    assert "data-job" not in page
    assert 'value="cancel"' not in page
    assert page_of(job) not in text_of(portal.get("/portal/guestbook/users/"))


def test_looking_at_a_job_that_nobody_works_on_sets_it_going(
    portal: Client, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    monkeypatch.setattr(jobs, "start", lambda job: started.append(job.pk))
    soon, over = timezone.now() + timedelta(seconds=9), timezone.now() - timedelta(seconds=9)
    waiting, dead = order(project), order(project, state="running", leased_until=over)
    held, finished = order(project, state="running", leased_until=soon), order(project, state="finished")
    for job in (waiting, dead, held, finished):
        portal.get(page_of(job))
    assert started == [waiting.pk, dead.pk]


def test_the_command_goes_on_with_what_lies_there(project: Project) -> None:
    make_people(project, 3)
    soon = timezone.now() + timedelta(seconds=9)
    job, held = order(project), order(project, "enable", state="running", leased_until=soon)
    order(project, state="finished")
    out = StringIO()
    call_command("portal_jobs", stdout=out)
    assert out.getvalue().splitlines() == [
        f"guestbook: job {job.pk} (disable) finished: 3 done, 0 passed over.",
        f"guestbook: job {held.pk} (enable) is in the hands of another process.",
    ]
    assert len(disabled()) == 3
    Job.objects.all().delete()
    out = StringIO()
    call_command("portal_jobs", stdout=out)
    assert out.getvalue() == "There is nothing to do.\n"


# --- races ----------------------------------------------------------------------------------------


def _order_and_count(project: Project, monkeypatch: pytest.MonkeyPatch, number: int) -> tuple[Job, list[uuid.UUID]]:
    """A job whose every look at a person is noted, committed or not."""
    rows = make_people(project, number)
    job = order(project, selection={"subs": sorted(row.pk.hex for row in rows)}, total=number)
    seen: list[uuid.UUID] = []
    original = jobs.disable_user

    def noted(*, end_user: EndUser) -> bool:
        seen.append(end_user.pk)
        return original(end_user=end_user)

    monkeypatch.setattr(jobs, "disable_user", noted)
    return job, seen


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_of_many_workers_one_does_it_and_does_each_person_once(
    project: Project, small_batches: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, seen = _order_and_count(project, monkeypatch, 41)
    assert sorted(at_once(8, lambda _: jobs.work(job.pk))) == [False] * 7 + [True]
    assert facts_of(job) == ("finished", 41, 0)
    assert len(seen) == len(set(seen)) == 41


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_when_a_worker_dies_in_the_middle_another_goes_on_when_the_lease_is_over(
    project: Project, small_batches: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LEASE", timedelta(seconds=1))
    job, seen = _order_and_count(project, monkeypatch, 18)

    class Killed(BaseException):
        """Nothing catches it: as if the process had gone in the middle of its second batch."""

    original = jobs._act

    def dies(row: Job, ids: list[uuid.UUID]) -> int:
        done = original(row, ids)
        if threading.current_thread().name == "dies" and row.done:
            raise Killed
        return done

    monkeypatch.setattr(jobs, "_act", dies)

    def run() -> None:
        try:
            jobs.work(job.pk)
        except Killed:
            pass
        finally:
            connection.close()

    thread = threading.Thread(target=run, name="dies")
    thread.start()
    thread.join()
    assert facts_of(job) == ("running", 4, 0)
    assert len(disabled()) == 4  # of the second batch nothing is left
    assert jobs.work(job.pk) is False  # the lease of the dead is not over
    threading.Event().wait(1.1)
    assert jobs.work(job.pk) is True
    assert facts_of(job) == ("finished", 18, 0)
    assert len(disabled()) == 18
    assert len(seen) == 22  # the second batch was begun twice, and committed once


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_worker_that_was_only_slow_gives_way(
    project: Project, small_batches: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease is over while it holds the rows of its batch: the other one waits for them, and one of both counts."""
    monkeypatch.setattr(jobs, "LEASE", timedelta(seconds=0.5))
    rows = make_people(project, 12)
    job = order(project, selection={"subs": sorted(row.pk.hex for row in rows)}, total=12)
    held, go_on = threading.Event(), threading.Event()
    original = jobs._act

    def slow(row: Job, ids: list[uuid.UUID]) -> int:
        done = original(row, ids)
        if threading.current_thread().name == "slow" and not held.is_set():
            held.set()
            go_on.wait(10)
        return done

    monkeypatch.setattr(jobs, "_act", slow)

    def run() -> None:
        try:
            jobs.work(job.pk)
        finally:
            connection.close()

    first, second = threading.Thread(target=run, name="slow"), threading.Thread(target=run, name="quick")
    first.start()
    assert held.wait(10)
    threading.Event().wait(0.6)
    second.start()
    threading.Event().wait(0.3)  # it waits for the first one's rows
    go_on.set()
    first.join(20)
    second.join(20)
    assert facts_of(job) == ("finished", 12, 0)
    assert len(disabled()) == 12


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_cancelling_meanwhile_stops_it_between_two_batches(
    project: Project, small_batches: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, seen = _order_and_count(project, monkeypatch, 40)
    middle = threading.Event()
    original = jobs._act

    def tells(row: Job, ids: list[uuid.UUID]) -> int:
        done = original(row, ids)
        if row.done >= 8:
            middle.set()
            cancelled.wait(10)
        return done

    cancelled = threading.Event()
    monkeypatch.setattr(jobs, "_act", tells)

    def either(number: int) -> Any:
        if number == 0:
            return jobs.work(job.pk)
        assert middle.wait(10)
        outcome = jobs.cancel(job)
        cancelled.set()
        return outcome

    assert at_once(2, either) == [True, True]
    assert facts_of(job) == ("cancelled", 8, 0)
    assert len(disabled()) == 8
    assert len(seen) == 12


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_an_order_is_worked_on_in_the_background(portal: Client, project: Project) -> None:
    rows = make_people(project, 5)
    response = portal.post(URL, {"action": "delete", "sub": subs_of(rows), "confirmed": "yes", "typed": "5"})
    assert response.status_code == 302
    for thread in threading.enumerate():
        if thread.name.startswith("portal-job-"):
            thread.join(20)
    page = text_of(portal.get(response["Location"]))
    assert "All of it is done: 5 people, 0 passed over." in page
    assert EndUser.objects.count() == 0
