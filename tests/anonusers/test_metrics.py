"""Counters: few, with few labels, counted once and after commit; and /metrics, for whoever has the token."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from limits.errors import StorageError
from prometheus_client import REGISTRY

from anonusers import events, limits, metrics, sessions
from anonusers.errors import Busy, RateLimited
from anonusers.login_ids import parse_login_id
from anonusers.models import Session
from anonusers.promotion import promote, supersede
from anonusers.promotion.base import Proof
from anonusers.signup import sign_up
from tests.conftest import HOST
from tests.people import regular_user

ROOT = Path(__file__).parents[2]
SIGNUPS = "anonusers_signups_total"


def counted(before: dict[str, float] | None = None) -> dict[str, Any]:
    """All that was counted: `name{labels}` → number; since `before`, without zeros."""
    for name in metrics.COUNTERS:
        metrics._counter(name)
    now = {}
    for family in REGISTRY.collect():
        for sample in family.samples:
            if sample.name in metrics.COUNTERS:
                labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                now[f"{sample.name}{{{labels}}}"] = sample.value
    if before is None:
        return now
    return {name: value - before.get(name, 0) for name, value in now.items() if value != before.get(name, 0)}


def guest(application, kind="token"):
    return sign_up(project=application.project, application=application, kind=kind).session


# --- what is counted ------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["token", "cookie"])
def test_a_sign_up_and_a_log_in_and_the_end_of_a_session(application, kind):
    before = counted()
    session = guest(application, kind)
    assert counted(before) == {f'{SIGNUPS}{{kind="{kind}",project="guestbook"}}': 1}
    sign_up(project=application.project, application=application, kind=kind, current=session)
    assert sum(counted(before).values()) == 1
    sessions.open_session(
        end_user=session.end_user, project=application.project, application=application, kind=Session.Kind.TOKEN
    )
    sessions.end_session(session, reason="revoked")
    sessions.end_session(session, reason="revoked")
    assert counted(before) == {
        f'{SIGNUPS}{{kind="{kind}",project="guestbook"}}': 1,
        'anonusers_logins_total{kind="token",project="guestbook"}': 1,
        'anonusers_sessions_ended_total{reason="revoked"}': 1,
    }


@pytest.mark.django_db(transaction=True)
def test_promotions_by_their_outcome(application, project):
    first, second, owner = guest(application), guest(application), regular_user(application)
    before = counted()
    proof = Proof("password", parse_login_id("username", "somebody"), verified=False, password="!")
    promote(end_user=first.end_user, project=project, proof=proof)
    supersede(guest=second.end_user, by=owner, method="password")
    assert counted(before) == {
        'anonusers_promotions_total{outcome="promoted"}': 1,
        'anonusers_promotions_total{outcome="superseded"}': 1,
    }


@pytest.mark.django_db(transaction=True)
def test_what_was_rolled_back_is_not_counted(application):
    before = counted()
    with pytest.raises(RuntimeError), transaction.atomic():
        guest(application)
        raise RuntimeError
    assert counted(before) == {}


class Down(limits.Windows):
    def incr(self, key, expiry, amount=1):
        raise StorageError(OSError("no route"))


@pytest.mark.parametrize("stop", [False, True])
def test_a_store_that_is_down_is_counted_at_every_hit(settings, monkeypatch, caplog, stop):
    settings.ANONUSERS_LIMITS_STORAGE = "redis://127.0.0.1:1"
    monkeypatch.setattr(limits, "_storage", lambda uri: Down())
    limits.forget()
    before = counted()
    for _ in range(2):
        if stop:
            with pytest.raises(Busy):
                limits.spend("signup_per_ip", "p", "203.0.113.1", stop=True)
        else:
            limits.spend("signup_per_ip", "p", "203.0.113.1")
    limits.forget()
    outcome = "refused" if stop else "counted_here"
    assert counted(before) == {f'anonusers_limits_store_down_total{{outcome="{outcome}"}}': 2}
    assert caplog.text.count("rate limit store is away") == 2


def test_what_a_budget_refuses_is_counted_under_its_name_alone():
    before = counted()
    limits.spend("signup_per_ip", "p", "203.0.113.1", limit="1/h")
    with pytest.raises(RateLimited):
        limits.spend("signup_per_ip", "p", "203.0.113.1", limit="1/h")
    assert counted(before) == {'anonusers_rate_limited_total{budget="signup_per_ip"}': 1}


def test_no_counter_can_say_who_somebody_is():
    assert {label for _, labels in metrics.COUNTERS.values() for label in labels} == {
        "project",
        "kind",
        "outcome",
        "reason",
        "budget",
    }
    assert all(re.fullmatch(r"anonusers_[a-z_]+_total", name) for name in metrics.COUNTERS)
    assert set(events.COUNTED) <= set(events.SIGNALS)


def test_the_docs_list_every_counter_with_its_labels():
    docs = (ROOT / "docs/high-traffic.md").read_text()
    rows = dict(re.findall(r"^\| `(anonusers_[a-z_]+_total)` \| ([^|]+) \|", docs, re.MULTILINE))
    # The values of the last label stand behind a colon.
    listed = {name: tuple(re.findall(r"`([a-z]+)`", cell.partition(":")[0])) for name, cell in rows.items()}
    assert listed == {name: labels for name, (_, labels) in metrics.COUNTERS.items()}


def test_without_the_library_nothing_is_counted_and_nothing_fails(monkeypatch):
    monkeypatch.setattr(metrics, "INSTALLED", False)
    before = counted()
    metrics.count("anonusers_limits_store_down_total", "refused")
    assert counted(before) == {}
    assert metrics.render() is None


# --- /metrics -------------------------------------------------------------------------------------


def ask(**headers):
    return Client(HTTP_HOST=HOST).get("/metrics", headers=headers)


@pytest.fixture
def token(settings):
    settings.METRICS_TOKEN = "scraper's token ä"
    return settings.METRICS_TOKEN


@pytest.mark.django_db
@pytest.mark.parametrize("sent", [None, "Bearer", "Bearer wrong", "Bearer ", "Basic scraper's token ä"])
def test_whoever_has_not_the_token_finds_nothing(token, sent):
    answer = ask(**({"Authorization": sent} if sent else {}))
    assert answer.status_code == 404
    assert b"anonusers_" not in answer.content


@pytest.mark.django_db
@pytest.mark.parametrize("sent", [None, "Bearer", "Bearer x"])
def test_without_a_token_in_the_environment_there_is_no_page(settings, sent):
    assert settings.METRICS_TOKEN == ""
    assert ask(**({"Authorization": sent} if sent else {})).status_code == 404


def test_the_page_is_prometheus_text(token):
    metrics.count("anonusers_limits_store_down_total", "refused")
    answer = ask(Authorization=f"Bearer {token}")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=")
    assert answer["Cache-Control"] == "no-store"
    text = answer.content.decode()
    for name in metrics.COUNTERS:
        assert f"# TYPE {name} counter" in text
    assert re.search(r'^anonusers_limits_store_down_total\{outcome="refused"\} [1-9]', text, re.MULTILINE)
    assert Client(HTTP_HOST=HOST).post("/metrics", headers={"Authorization": f"Bearer {token}"}).status_code == 405


COUNTING = """
from anonusers import metrics
metrics.count("anonusers_rate_limited_total", "signup_per_ip", amount=3)
"""


def test_several_processes_count_together(tmp_path):
    for _ in range(2):
        environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", COUNTING], env=environment, check=True, timeout=60)
    body, _ = metrics.render(str(tmp_path))
    assert 'anonusers_rate_limited_total{budget="signup_per_ip"} 6.0' in body.decode()
