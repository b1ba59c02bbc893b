"""Clean-up beside the living, and beside itself, on PostgreSQL: who comes back is kept or starts afresh, nothing is
half removed, and a run that was killed is finished by the next."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client

from anonusers import cleanup
from anonusers.cleanup import clean_up
from anonusers.models import (
    AnonymousIdentity,
    Application,
    CleanupRun,
    DeviceKey,
    EndUser,
    OneTimeToken,
    Project,
    Session,
)
from example.models import Comment
from tests.cleaning import age, counts, listening, many_old_guests, old_guest, run, set_application, set_project
from tests.conftest import HOST
from tests.devices import Device, guest_with_key, request_of
from tests.people import new_guest
from tests.test_key_races import BUDGETS, KEY_OF_NO_GUEST, NOBODYS, send
from tests.test_promotion_races import NEITHER, OUTLIVED, keep, outcome
from tests.test_races import at_once, signup

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]

ROOT = Path(__file__).parent.parent
ROUNDS = 200
OF_NOBODY = """
    SELECT s.id FROM anonusers_session s LEFT JOIN anonusers_enduser e ON e.id = s.end_user_id
    LEFT JOIN auth_user u ON u.id = e.user_id WHERE u.id IS NULL
"""


@pytest.fixture(autouse=True)
def invariants_hold(application, settings):
    set_project(application.project, quarantine_days=0)
    for budget in BUDGETS:
        setattr(settings, f"ANONUSERS_{budget}", "off")
    yield
    for statement in (NEITHER, OUTLIVED, KEY_OF_NO_GUEST, NOBODYS, OF_NOBODY):
        with connection.cursor() as cursor:
            cursor.execute(statement)
            assert cursor.fetchall() == [], statement


class Start:
    """Who of two waits before it starts, and for how long: moved a little after each round towards whoever came too
    late, so that on any machine, however busy, both come first at times. `lead` is the clean-up's, in seconds."""

    def __init__(self) -> None:
        self.lead, self.step, self.chance = 0.0, 0.008, random.Random(5)

    def call_won(self, won: bool) -> None:
        self.lead += self.step if won else -self.step
        self.step = max(0.001, self.step * 0.9) if abs(self.lead) < 0.2 else self.step

    def waits(self) -> tuple[float, float]:
        lead = self.lead + self.chance.uniform(-0.004, 0.004)
        return max(0.0, -lead), max(0.0, lead)


def beside(start: Start, project: Project, call: Any) -> tuple[dict[str, int], Any]:
    """A clean-up and a call, one of them a moment later: what the first has counted, and what the call answered."""
    waits = start.waits()

    def either(thread: int) -> Any:
        time.sleep(waits[thread])
        return counts(run(project, confirmed=True)) if thread == 0 else call()

    done, answer = at_once(2, either)
    start.call_won("removed" not in done)
    return {name: count for name, count in done.items() if name in ("removed", "forbidden")}, answer


def exists(guest: EndUser) -> bool:
    return EndUser.objects.filter(pk=guest.pk).exists()


def both_happened(outcomes: set[bool]) -> None:
    """The rounds are worth nothing where one side always wins."""
    assert outcomes == {True, False}


def test_a_key_log_in_beside_a_clean_up_finds_its_guest_or_makes_a_new_one(application):
    seen, start = set(), Start()
    for number in range(ROUNDS):
        device = Device(f"phone-{number}")
        guest = guest_with_key(application, device)
        age(800, guest)
        request = request_of(device, application.project)
        done, (status, sub, error) = beside(start, application.project, lambda request=request: send(request))
        assert (status, error) == (200, "")
        lives = exists(guest)
        seen.add(lives)
        assert lives is (sub == str(guest.pk)) is (done == {})
        assert done in ({}, {"removed": 1})
        key = DeviceKey.objects.get(key_id=device.key_id)
        assert (str(key.end_user_id), key.retired_at) == (sub, None)
        assert Session.objects.filter(end_user=sub, ended_at=None).exists()
        DeviceKey.objects.all().delete()
        EndUser.objects.get().user.delete()
    both_happened(seen)


def test_a_promotion_beside_a_clean_up_is_before_it_or_refused(application):
    """F23: never is a person removed who has just been told that they are kept."""
    seen, start = set(), Start()
    for number in range(ROUNDS):
        guest = old_guest(application)
        text = f"anna{number}@example.com"
        done, answer = beside(
            start, application.project, lambda guest=guest, text=text: outcome(lambda: keep(guest, text))
        )
        kept = answer == str(guest.pk)
        seen.add(kept)
        assert (kept, done) in ((True, {}), (False, {"removed": 1}))
        assert kept or answer == "guest_gone"
        assert exists(guest) is kept
    assert EndUser.objects.count() == Application.objects.get().project.login_ids_taken.count()
    both_happened(seen)


@pytest.mark.parametrize("of", ["application", "project"])
def test_a_lifetime_that_is_lengthened_before_the_batch_keeps_everybody(application, of, monkeypatch):
    """Between the selection and the removal."""
    guest = old_guest(application, days=200, kind="token" if of == "application" else "cookie")
    hold = cleanup.hold

    def lengthen_then_hold(ids):
        if of == "application":
            set_application(application, refresh_token_lifetime=300 * 86_400, refresh_token_idle_timeout_enabled=False)
        else:
            set_project(Project.objects.get(), session_lifetime=300 * 86_400, session_idle_timeout_enabled=False)
        return hold(ids)

    monkeypatch.setattr(cleanup, "hold", lengthen_then_hold)
    assert counts(run(application.project)) == {}
    assert exists(guest)


def test_a_retention_that_is_switched_off_stops_a_run_on_its_way(application, monkeypatch):
    many_old_guests(application.project, 20)
    removed = cleanup.remove

    def never_more(people, *args, **options):
        gone = removed(people, *args, **options)
        Project.objects.update(guest_inactive_days=0)
        return gone

    monkeypatch.setattr(cleanup, "remove", never_more)
    assert counts(run(application.project, batch=5)) == {"removed": 5}
    assert EndUser.objects.count() == 15


def test_a_lifetime_that_is_lengthened_beside_a_clean_up_keeps_a_guest_whole_or_comes_too_late(application):
    start = Start()
    for _ in range(30):
        set_application(application, refresh_token_lifetime=100 * 86_400, refresh_token_idle_timeout_enabled=False)
        guest = old_guest(application, days=200)
        done, _ = beside(
            start,
            application.project,
            lambda: Application.objects.update(refresh_token_lifetime=300 * 86_400),
        )
        assert (exists(guest), done) in ((True, {}), (False, {"removed": 1}))
        assert Session.objects.count() == AnonymousIdentity.objects.count() == EndUser.objects.count()
        EndUser.objects.all().delete()
        connection.cursor().execute("DELETE FROM auth_user")


def comment_on(guest: EndUser) -> str:
    try:
        Comment.objects.create(author_id=guest.user_id, text="Hello")
    except IntegrityError:
        return "too late"
    return "kept"


def test_a_row_of_the_host_beside_a_clean_up_keeps_its_guest_or_is_refused(application):
    seen, start = set(), Start()
    for _ in range(ROUNDS):
        guest = old_guest(application)
        done, said = beside(start, application.project, lambda guest=guest: comment_on(guest))
        lives = exists(guest)
        seen.add(lives)
        assert said == ("kept" if lives else "too late")
        assert done in (({}, {"forbidden": 1}) if lives else ({"removed": 1},))
        assert Comment.objects.filter(author_id=guest.user_id).exists() is lives
    both_happened(seen)


@pytest.mark.parametrize("seconds", [0.5, 3], ids=["for a moment", "for long"])
def test_a_guest_whose_row_is_held_stops_nobody_else(application, seconds):
    """The host has inserted something of theirs and goes on with its transaction: longer than we wait for locks."""
    guest, others = old_guest(application), [old_guest(application) for _ in range(3)]
    inserted, go_on = threading.Event(), threading.Event()

    def call(thread):
        if thread == 0:
            assert inserted.wait(10)
            threading.Timer(seconds, go_on.set).start()
            return run(application.project, batch=1)
        with transaction.atomic():
            Comment.objects.create(author_id=guest.user_id, text="Hello")
            connection.check_constraints()
            inserted.set()
            assert go_on.wait(10)
        return None

    report, _ = at_once(2, call)
    assert (report.state, counts(report).get("removed")) == ("finished", 3)
    assert list(EndUser.objects.all()) == [guest]
    assert Comment.objects.get().author_id == guest.user_id
    assert not exists(others[0])


def test_of_a_batch_with_rows_that_are_busy_only_those_are_left_over(application):
    """As above, and all of them are one batch: it is halved until the others are alone."""
    guests = [old_guest(application) for _ in range(20)]
    busy = [guests[3], guests[16]]
    inserted, go_on = threading.Event(), threading.Event()

    def call(thread):
        if thread == 0:
            assert inserted.wait(10)
            try:
                return run(application.project, confirmed=True)
            finally:
                go_on.set()
        with transaction.atomic():
            for guest in busy:
                Comment.objects.create(author_id=guest.user_id, text="Hello")
            connection.check_constraints()
            inserted.set()
            assert go_on.wait(20)
            transaction.set_rollback(True)
        return None

    report, _ = at_once(2, call)
    assert (report.state, counts(report)) == ("finished", {"removed": 18, "busy": 2})
    assert set(EndUser.objects.all()) == set(busy)
    assert counts(run(application.project, confirmed=True)) == {"removed": 2}


def test_somebody_who_is_held_elsewhere_is_passed_over_at_once(application):
    """Their row is locked by a request: the clean-up does not wait for it."""
    guest, other = old_guest(application), old_guest(application)
    held, done = threading.Event(), threading.Event()

    def call(thread):
        if thread:
            with transaction.atomic():
                EndUser.objects.select_for_update().get(pk=guest.pk)
                held.set()
                assert done.wait(10)
            return None
        held.wait(10)
        began = time.monotonic()
        report = run(application.project)
        done.set()
        return counts(report), time.monotonic() - began

    (counted, seconds), _ = at_once(2, call)
    assert counted == {"removed": 1}
    assert seconds < 1.9  # whoever waits for a lock waits for two
    assert (exists(guest), exists(other)) == (True, False)


@pytest.mark.parametrize("batch", [7, 1000])
@pytest.mark.parametrize("runs", [2, 4])
def test_clean_ups_at_once_remove_everybody_once(application, batch, runs):
    guests = many_old_guests(application.project, 200)
    new_guest(application)
    with listening("user.deleted") as heard:
        reports = at_once(runs, lambda _: run(application.project, batch=batch, confirmed=True))
    assert {report.state for report in reports} == {"finished"}
    assert sum(report.counts.get("removed", 0) for report in reports) <= 200
    left = counts(run(application.project, confirmed=True)).get("removed", 0)
    assert sum(report.counts.get("removed", 0) for report in reports) + left == 200
    assert sum(report.counts.get("forbidden", 0) for report in reports) == 0
    assert EndUser.objects.count() == 1
    assert len(heard) + left == 200
    assert {pk for _, pk, _ in heard} <= {guest.pk for guest in guests}
    assert len({pk for _, pk, _ in heard}) == len(heard)
    assert set(CleanupRun.objects.values_list("state", flat=True)) == {"finished"}


def test_clean_ups_at_once_set_everybody_aside_once(application):
    set_project(application.project, quarantine_days=7)
    many_old_guests(application.project, 200)
    with listening("user.expired") as heard:
        reports = at_once(3, lambda _: run(application.project, batch=9, confirmed=True))
        reports.append(run(application.project, confirmed=True))
    assert sum(report.counts.get("quarantined", 0) for report in reports) == 200
    assert len({pk for _, pk, _ in heard}) == len(heard) == 200
    assert not EndUser.objects.filter(quarantined_at=None).exists()


def test_clean_ups_at_once_count_old_secrets_and_keys_once(application):
    project = application.project
    OneTimeToken.objects.bulk_create(
        OneTimeToken(
            project=project, purpose="anonymous_request", token_hash=f"{n:064}", expires_at="2026-01-01T00:00Z"
        )
        for n in range(300)
    )
    reports = at_once(3, lambda _: run(project, batch=10))
    assert sum(report.counts.get("secrets", 0) for report in reports) == 300
    assert OneTimeToken.objects.count() == 0


# --- killed --------------------------------------------------------------------------------------

PROCESS = """
import django
django.setup()
from anonusers.cleanup import clean_up
from anonusers.models import Project
project = Project.objects.get()
print("go", flush=True)
report = clean_up(project, batch=4, pause=0.002, confirmed=True)
print(report.state, flush=True)
"""


def process() -> "subprocess.Popen[str]":
    database = connection.settings_dict
    name = f"{database['USER']}:{database['PASSWORD']}" if database["PASSWORD"] else database["USER"]
    url = f"postgres://{name}@{database['HOST']}:{database['PORT'] or 5432}/{database['NAME']}"
    environment = os.environ | {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "config.settings"}
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )


def killed_after(seconds: float) -> bool:
    """Start a clean-up, and end it the hard way so long after its run is on record. False where it was faster."""
    before = CleanupRun.objects.count()
    started = process()
    try:
        assert started.stdout is not None
        assert started.stdout.readline() == "go\n"
        while CleanupRun.objects.count() == before and started.poll() is None:
            time.sleep(0.002)
        time.sleep(seconds)
        started.send_signal(signal.SIGKILL)
        said = started.stdout.read()
        started.wait(30)
    finally:
        started.kill()
        started.wait(30)
    return said == ""


@pytest.mark.parametrize("quarantine", [0, 7], ids=["remove", "set aside"])
def test_a_run_that_is_killed_at_any_moment_is_finished_by_the_next(application, quarantine):
    project = application.project
    set_project(project, quarantine_days=quarantine)
    here = [new_guest(application) for _ in range(5)]
    held = old_guest(application)
    Comment.objects.create(author=held.user, text="Hello")
    device = Device()
    kept_key = guest_with_key(application, device)
    age(800, kept_key)
    old = [*many_old_guests(project, 400), *(old_guest(application) for _ in range(40)), kept_key]
    moments = random.Random(5)
    kills = sum(killed_after(moments.random() * 0.25) for _ in range(4))
    done = EndUser.objects.exclude(quarantined_at=None).count() if quarantine else 447 - EndUser.objects.count()
    assert kills >= 1
    assert 0 <= done <= len(old)
    assert CleanupRun.objects.filter(state="running").count() == kills
    # Nothing is half done: the invariants' statements, now.
    for statement in (NEITHER, KEY_OF_NO_GUEST, NOBODYS, OF_NOBODY):
        with connection.cursor() as cursor:
            cursor.execute(statement)
            assert cursor.fetchall() == [], statement
    waited = time.monotonic()
    while connections_at_work() and time.monotonic() - waited < 10:  # a killed client's statement ends by itself
        time.sleep(0.05)
    last = run(project, confirmed=True)
    assert last.state == "finished"
    stayed = {guest.pk for guest in (*here, held)}
    if quarantine:
        assert done + last.counts["quarantined"] == len(old)
        assert set(EndUser.objects.filter(quarantined_at=None).values_list("pk", flat=True)) == stayed
        assert EndUser.objects.count() == len(old) + 6
    else:
        assert done + last.counts["removed"] == len(old)
        assert set(EndUser.objects.values_list("pk", flat=True)) == stayed
        assert Session.objects.count() == AnonymousIdentity.objects.count() == 6
        key = DeviceKey.objects.get()
        assert key.end_user is None
        assert key.retired_at is not None
    assert not {"removed", "quarantined"} & set(counts(run(project, confirmed=True)))


def connections_at_work() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND state <> 'idle'"
        )
        return int(cursor.fetchone()[0])


# --- the living ----------------------------------------------------------------------------------


def test_live_traffic_goes_on_while_a_clean_up_holds_its_batch(application, monkeypatch):
    """Sign-ups, key log-ins, comments, promotions of others: nobody waits for the clean-up's transaction."""
    device = Device()
    friend, third = guest_with_key(application, device), new_guest(application)
    old = many_old_guests(application.project, 50)
    removed, holds, go_on = cleanup.remove, threading.Event(), threading.Event()

    def slowly(people, *args, **options):
        gone = removed(people, *args, **options)
        holds.set()
        assert go_on.wait(20)
        return gone

    monkeypatch.setattr(cleanup, "remove", slowly)
    request = request_of(device, application.project)
    found: list[dict[str, int]] = []

    def clean() -> None:
        try:
            found.append(counts(run(application.project, confirmed=True)))
        finally:
            connection.close()

    thread = threading.Thread(target=clean)
    thread.start()
    try:
        assert holds.wait(10)
        began = time.monotonic()
        assert [signup().status_code for _ in range(20)] == [201] * 20
        assert send(request) == (200, str(friend.pk), "")
        assert comment_on(friend) == "kept"
        assert keep(third, "third@example.com") == str(third.pk)
        assert Client(HTTP_HOST=HOST).get("/").status_code == 200
        assert time.monotonic() - began < 5
        assert EndUser.objects.count() == 50 + 2 + 20, "nothing of the batch is committed yet"
    finally:
        go_on.set()
        thread.join(20)
    assert found == [{"removed": 50}]
    assert EndUser.objects.count() == 22
    assert not any(exists(guest) for guest in old[:3])


def test_a_run_beside_traffic_removes_the_old_and_none_of_the_new(application):
    old = many_old_guests(application.project, 300)

    def call(thread):
        if thread == 0:
            return clean_up(Project.objects.get(), batch=20, pause=0.01, confirmed=True).counts["removed"]
        return [signup().status_code for _ in range(15)]

    removed, *statuses = at_once(5, call)
    assert removed == len(old)
    assert {status for some in statuses for status in some} == {201}
    assert EndUser.objects.count() == Session.objects.count() == 60
