"""The clean-up as schedulers call it."""

import importlib.util
import json
from types import SimpleNamespace

import pytest

from anonusers import cleanup, tasks
from anonusers.models import CleanupRun, EndUser
from tests.anonusers.test_metrics import counted
from tests.cleaning import changes, old_guest, set_project, snapshot
from tests.conftest import make_application, make_project

pytestmark = pytest.mark.django_db

FINE = {"state": "finished", "reason": "", "removed": 1, "quarantined": 0}


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(cleanup, "time", SimpleNamespace(sleep=lambda _: None, monotonic=iter(range(10**6)).__next__))


@pytest.fixture
def both(application):
    """A guest to be removed in each of two projects."""
    annex = make_application(make_project("annex", "annex.example.com"), "annex")
    for one in (application, annex):
        set_project(one.project, quarantine_days=0)
        old_guest(one)
    return {"guestbook": application, "annex": annex}


def test_all_projects_in_plain_values(both):
    told = tasks.clean_up_projects()
    assert told == {"ok": True, "projects": {"annex": FINE, "guestbook": FINE}}
    assert json.loads(json.dumps(told)) == told
    assert EndUser.objects.count() == 0


def test_some_projects_only(both):
    told = tasks.clean_up_projects("annex", "nowhere")
    unknown = {"state": "unknown", "reason": "there is no such project", "removed": 0, "quarantined": 0}
    assert told == {"ok": False, "projects": {"annex": FINE, "nowhere": unknown}}
    assert EndUser.objects.get().project.slug == "guestbook"


def test_one_that_fails_does_not_stop_the_others_and_its_words_stay_in_the_log(both, monkeypatch, caplog):
    cleaned = tasks.clean_up

    def breaks(project, **options):
        if project.slug == "annex":
            raise RuntimeError("the password is swordfish")
        return cleaned(project, **options)

    monkeypatch.setattr(tasks, "clean_up", breaks)
    before = counted()
    told = tasks.clean_up_projects()
    failed = {"state": "failed", "reason": "RuntimeError", "removed": 0, "quarantined": 0}
    assert told == {"ok": False, "projects": {"annex": failed, "guestbook": FINE}}
    assert "swordfish" in caplog.text
    assert counted(before) == {
        'anonusers_cleanup_runs_total{outcome="failed",project="annex"}': 1,
        'anonusers_cleanup_runs_total{outcome="finished",project="guestbook"}': 1,
        'anonusers_cleanup_removed_total{project="guestbook"}': 1,
    }


def test_one_that_is_stopped_is_not_fine(both, monkeypatch):
    monkeypatch.setattr(cleanup, "FEW", 0)
    before = snapshot()
    told = tasks.clean_up_projects()
    reason = "1 of 1 guests would go, more than 50 % of them. Look at a dry run, then confirm it."
    stopped = {"state": "stopped", "reason": reason, "removed": 0, "quarantined": 0}
    assert told == {"ok": False, "projects": {"annex": stopped, "guestbook": stopped}}
    assert changes(before) == {}


def test_what_is_not_declared_is_refused_without_an_exception(both, settings, caplog):
    settings.ANONUSERS_GUEST_DATA = {}
    before = snapshot()
    told = tasks.clean_up_projects()
    assert told["ok"] is False
    assert {one["state"] for one in told["projects"].values()} == {"refused"}
    assert "example.Comment.author" in told["projects"]["annex"]["reason"]
    assert "clean-up of annex refused" in caplog.text
    assert (changes(before), CleanupRun.objects.count()) == ({}, 0)


def test_a_dry_run_is_not_counted(both):
    before = counted()
    assert [slug for slug, _ in tasks.outcomes(dry_run=True)] == ["annex", "guestbook"]
    assert counted(before) == {}


HAS_TASKS = importlib.util.find_spec("django.tasks") is not None


def test_django_5_has_no_tasks_and_django_6_runs_ours(both, settings):
    assert hasattr(tasks, "clean_up_task") is HAS_TASKS
    if not HAS_TASKS:
        return
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
    result = tasks.clean_up_task.enqueue("annex")
    assert result.status.name == "SUCCESSFUL"
    assert result.return_value == {"ok": True, "projects": {"annex": FINE}}
    # A worker finds the task by this name.
    assert tasks.clean_up_task.module_path == "anonusers.tasks.clean_up_task"
