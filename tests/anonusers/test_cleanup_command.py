"""`anonusers_cleanup`: options, words, JSON and exit codes. What a clean-up does is in test_cleanup.py."""

import json
import re
import signal
import uuid
from io import StringIO
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command

from anonusers import cleanup, tasks
from anonusers.management.commands import anonusers_cleanup as command
from anonusers.models import CleanupRun, EndUser, OneTimeToken, Session
from anonusers.sessions import open_session
from tests.cleaning import changes, listening, old_guest, set_project, snapshot
from tests.conftest import make_application, make_project
from tests.people import new_guest

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(cleanup, "time", SimpleNamespace(sleep=lambda _: None, monotonic=iter(range(10**6)).__next__))


@pytest.fixture
def other(project):
    """Another project, before the first by name."""
    set_project(project, quarantine_days=0)
    return make_application(make_project("annex", "annex.example.com", quarantine_days=0), "annex")


def call(*words):
    """What it says on stdout and on stderr."""
    out, err = StringIO(), StringIO()
    call_command("anonusers_cleanup", *words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def refused(*words):
    before = snapshot()
    with pytest.raises(CommandError) as error:
        call(*words)
    assert error.value.returncode == 1
    assert (changes(before), CleanupRun.objects.count()) == ({}, 0)
    return str(error.value)


def first_line(out):
    line, _, rest = out.partition("\n")
    return re.sub(r"\d+\.\d s", "N s", line), rest


def test_it_cleans_every_project_by_name(application, other):
    for one in (application, application, other):
        old_guest(one)
    new_guest(application)
    out, err = call()
    assert re.sub(r"\d+\.\d s", "N s", out) == (
        "annex: finished after N s\n          1 guests removed\n"
        "guestbook: finished after N s\n          2 guests removed\n"
    )
    assert err == ""
    assert EndUser.objects.count() == 1
    assert list(CleanupRun.objects.order_by("pk").values_list("project__slug", "state")) == [
        ("annex", "finished"),
        ("guestbook", "finished"),
    ]


def test_one_project_only(application, other):
    mine, theirs = old_guest(application), old_guest(other)
    out, _ = call("--project", "annex")
    assert first_line(out) == ("annex: finished after N s", "          1 guests removed\n")
    assert list(EndUser.objects.all()) == [mine]
    assert theirs.project.slug == "annex"


def test_a_project_that_is_not_there_is_named(application):
    old_guest(application)
    assert refused("--project", "anex") == "There is no project anex."


def everything(application):
    project = application.project
    set_project(project, quarantine_days=7)
    due, back = old_guest(application), new_guest(application)
    old_guest(application)
    EndUser.objects.filter(pk__in=[due.pk, back.pk]).update(quarantined_at="2026-01-01T00:00Z")
    session, _ = open_session(end_user=back, project=project, application=application, kind="token")
    Session.objects.filter(pk=session.pk).update(ended_at="2024-01-01T00:00Z", last_used_at="2024-01-01T00:00Z")
    OneTimeToken.objects.create(
        project=project, purpose="bot_check", token_hash="0" * 64, expires_at="2026-01-01T00:00Z"
    )
    return due


WORDS = (
    "          1 guests removed{0}\n"
    "          1 guests set aside{0}\n"
    "          1 guests back from quarantine{0}\n"
    "          1 old sessions{0}\n"
    "          1 expired one-time secrets{0}\n"
)


def test_it_says_what_it_did(application):
    everything(application)
    out, err = call()
    assert first_line(out) == ("guestbook: finished after N s", WORDS.format(""))
    assert err == ""


def test_a_dry_run_says_what_it_would_do_and_for_example_to_whom(application):
    due = everything(application)
    before = snapshot()
    out, err = call("--dry-run")
    assert first_line(out) == (
        "guestbook: finished after N s",
        WORDS.format(" (dry run)") + f"  for example {due.pk}\n",
    )
    assert err == ""
    assert (changes(before), CleanupRun.objects.count()) == ({}, 0)


@pytest.mark.parametrize("words", [(), ("--dry-run",)], ids=["run", "dry run"])
def test_nothing_is_a_word_too(application, words):
    new_guest(application)
    before = snapshot()
    assert first_line(call(*words)[0]) == ("guestbook: finished after N s", "  nothing to remove\n")
    assert changes(before) == {}


def test_json_is_one_line_a_project(application, other):
    guest = old_guest(application)
    out, err = call("--json")
    annex, guestbook = map(json.loads, out.splitlines())
    assert err == ""
    assert annex["project"] == "annex"
    assert {name: count for name, count in guestbook.pop("counts").items() if count} == {"removed": 1}
    assert isinstance(guestbook.pop("seconds"), int | float)
    assert guestbook == {
        "project": "guestbook",
        "is_dry_run": False,
        "state": "finished",
        "reason": "",
        "samples": [str(guest.pk)],
    }


def test_json_of_a_dry_run(application):
    set_project(application.project, quarantine_days=0)
    guest = old_guest(application)
    [report] = map(json.loads, call("--json", "--dry-run")[0].splitlines())
    assert (report["is_dry_run"], report["counts"]["removed"], report["samples"]) == (True, 1, [str(guest.pk)])
    assert EndUser.objects.count() == 1


@pytest.mark.parametrize("limit", [1, 2])
def test_a_limit_is_for_each_project(application, other, limit):
    for one in (application, other):
        for _ in range(3):
            old_guest(one)
    call("--limit", str(limit))
    assert EndUser.objects.filter(project=application.project).count() == 3 - limit
    assert EndUser.objects.filter(project=other.project).count() == 3 - limit


@pytest.mark.parametrize("limit", ["0", "-1"])
def test_a_limit_that_is_none_is_refused(application, limit):
    old_guest(application)
    assert refused("--limit", limit) == "--limit must be at least 1."


def exits_with_1(*words):
    """What it says then."""
    out, err = StringIO(), StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("anonusers_cleanup", *words, stdout=out, stderr=err)
    assert ended.value.code == 1
    return out.getvalue(), err.getvalue()


def test_an_unusual_share_is_told_on_stderr_until_it_is_confirmed(application, monkeypatch):
    monkeypatch.setattr(cleanup, "FEW", 0)
    set_project(application.project, quarantine_days=0)
    guest = old_guest(application)
    reason = "1 of 1 guests would go, more than 50 % of them. Look at a dry run, then confirm it."
    before = snapshot()
    out, err = exits_with_1()
    assert first_line(out) == ("guestbook: stopped after N s", "  nothing to remove\n")
    assert err == f"  {reason}\n"
    [report] = map(json.loads, exits_with_1("--json")[0].splitlines())
    assert (report["state"], report["reason"]) == ("stopped", reason)
    out, err = exits_with_1("--dry-run")
    assert first_line(out) == (
        "guestbook: stopped after N s",
        f"          1 guests removed (dry run)\n  for example {guest.pk}\n",
    )
    assert (err, changes(before)) == (f"  {reason}\n", {})
    out, err = call("--confirm")
    assert first_line(out) == ("guestbook: finished after N s", "          1 guests removed\n")
    assert (err, EndUser.objects.count()) == ("", 0)


def test_what_stops_one_project_does_not_stop_the_others(application, other, monkeypatch, caplog):
    for one in (application, other):
        old_guest(one)
    cleaned = tasks.clean_up

    def breaks(project, **options):
        if project.slug == "annex":
            raise RuntimeError("out of order")
        return cleaned(project, **options)

    monkeypatch.setattr(tasks, "clean_up", breaks)
    out, err = exits_with_1()
    assert first_line(out) == ("guestbook: finished after N s", "          1 guests removed\n")
    assert err == ""
    assert [record.getMessage() for record in caplog.records] == ["the clean-up of annex was interrupted"]
    assert "out of order" in caplog.text
    assert EndUser.objects.get().project.slug == "annex"


def test_the_forecast_is_told_and_changes_nothing(application, other):
    old_guest(application)
    new_guest(other)
    before = snapshot()
    out, err = call("--forecast", "--project", "guestbook")
    assert out == (
        "guestbook: if nobody comes back and nothing is changed\n"
        "  now                   1 unreachable            1 removed by then\n"
        "  in 7 days             1 unreachable            1 removed by then\n"
        "  in 30 days            1 unreachable            1 removed by then\n"
        "  in 90 days            1 unreachable            1 removed by then\n"
    )
    annex, guestbook = map(json.loads, call("--forecast", "--json")[0].splitlines())
    assert (annex["project"], guestbook["project"]) == ("annex", "guestbook")
    assert [one["days"] for one in annex["forecast"]] == [0, 7, 30, 90]
    assert guestbook["forecast"][0] == {"days": 0, "unreachable": 1, "removed": 1}
    assert annex["forecast"][0] == {"days": 0, "unreachable": 0, "removed": 0}
    assert (err, changes(before), CleanupRun.objects.count()) == ("", {}, 0)


def test_what_is_not_declared_stops_it(application, settings):
    settings.ANONUSERS_GUEST_DATA = {}
    old_guest(application)
    said = "example.Comment.author leads to a user, and nothing says what becomes of it when a guest is removed."
    for words in ((), ("--dry-run",), ("--confirm", "--json"), ("--forecast",)):
        assert refused(*words) == said


# --- one guest back ------------------------------------------------------------------------------


def test_restore_takes_one_guest_out_of_quarantine_and_does_nothing_else(application):
    guest, other = old_guest(application), old_guest(application)
    EndUser.objects.update(quarantined_at="2026-01-01T00:00Z")
    before = snapshot()
    with listening("user.expired", "user.deleted") as heard:
        out, err = call("--restore", str(guest.pk))
    assert out == f"{guest.pk} is out of quarantine until the next run looks again.\n"
    assert (err, heard, CleanupRun.objects.count()) == ("", [], 0)
    assert changes(before) == {"anonusers.EndUser": {guest.pk: {"quarantined_at": None}}}
    assert EndUser.objects.get(pk=other.pk).quarantined_at is not None


@pytest.mark.parametrize("sub", ["nobody", str(uuid.UUID(int=1)), "00000000-0000-0000-0000-00000000000g", "\0"])
def test_nobody_is_restored_who_is_not_in_quarantine(application, sub):
    EndUser.objects.filter(pk=old_guest(application).pk).update(quarantined_at="2026-01-01T00:00Z")
    assert refused("--restore", sub) == f"{sub} is not in quarantine."


def test_who_is_not_in_quarantine_cannot_be_taken_out(application):
    guest = new_guest(application)
    assert refused("--restore", str(guest.pk)) == f"{guest.pk} is not in quarantine."


# --- for ever ------------------------------------------------------------------------------------


@pytest.fixture
def naps(monkeypatch):
    """What it does while it sleeps: the third time somebody presses Ctrl-C."""
    between, slept = [], []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt
        for act in between:
            act()

    monkeypatch.setattr(command, "time", SimpleNamespace(sleep=sleep))
    return SimpleNamespace(slept=slept, between=between)


def test_every_goes_on_until_it_is_stopped(application, naps):
    set_project(application.project, quarantine_days=0)
    naps.between.append(lambda: old_guest(application))
    with pytest.raises(KeyboardInterrupt):
        call("--every", "300")
    assert naps.slept == [300, 300, 300]
    removed = [row.report["counts"].get("removed", 0) for row in CleanupRun.objects.order_by("pk")]
    assert removed == [0, 1, 1]


def test_every_reads_the_settings_and_the_projects_anew(application, naps):
    set_project(application.project, quarantine_days=0, guest_inactive_days=0)
    old_guest(application)
    naps.between.append(lambda: set_project(application.project, guest_inactive_days=30))
    with pytest.raises(KeyboardInterrupt):
        call("--every", "1")
    assert [row.report["counts"].get("removed", 0) for row in CleanupRun.objects.order_by("pk")] == [0, 1, 0]


def test_every_goes_on_after_a_stop(application, naps, monkeypatch):
    monkeypatch.setattr(cleanup, "FEW", 0)
    set_project(application.project, quarantine_days=0)
    old_guest(application)
    naps.between.append(lambda: set_project(application.project, removals_percent=100))
    with pytest.raises(KeyboardInterrupt):
        call("--every", "1")
    assert [row.state for row in CleanupRun.objects.order_by("pk")] == ["stopped", "finished", "finished"]
    assert EndUser.objects.count() == 0


def test_every_ends_where_something_is_not_declared(application, naps, settings):
    def forget():
        settings.ANONUSERS_GUEST_DATA = {}

    naps.between.append(forget)
    with pytest.raises(CommandError, match=r"^example\.Comment.author leads to a user"):
        call("--every", "1")
    assert (naps.slept, CleanupRun.objects.count()) == ([1], 1)


def test_every_ends_by_sigterm_also_in_the_middle_of_a_batch(application, naps, monkeypatch):
    """As the first process of a container it would hear nothing: the kernel keeps away what was not asked for."""
    before = signal.getsignal(signal.SIGTERM)
    set_project(application.project, quarantine_days=0)
    old_guest(application)
    naps.between.append(lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit) as ended:
        call("--every", "300")
    assert (ended.value.code, naps.slept, EndUser.objects.count()) == (143, [300], 0)
    assert signal.getsignal(signal.SIGTERM) == before

    guest = old_guest(application)
    monkeypatch.setattr(cleanup, "remove", lambda *args, **options: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit) as ended:
        call("--every", "300")
    assert (ended.value.code, naps.slept) == (143, [300])
    assert EndUser.objects.filter(pk=guest.pk).exists()
    assert signal.getsignal(signal.SIGTERM) == before
