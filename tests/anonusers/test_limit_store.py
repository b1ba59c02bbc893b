"""Windows in the database: as those of a process, in one statement, and with what a transaction does to them."""

from typing import Any

import pytest
import time_machine
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from anonusers import errors, limits
from anonusers.limit_store import DatabaseWindows
from anonusers.limits import Windows, spend
from anonusers.models import RateWindow

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]
NOW = 1_800_000_000


@pytest.fixture(autouse=True)
def clock() -> Any:
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def budget(settings: Any) -> Any:
    settings.ANONUSERS_LIMITS_STORAGE = "database://"
    settings.ANONUSERS_SIGNUP_PER_IP = "3/m"
    limits.forget()
    return lambda key="192.0.2.1": spend("signup_per_ip", key)


@pytest.mark.parametrize("make", [DatabaseWindows, Windows])
def test_both_count_alike(clock, make):
    windows = make()
    assert (windows.get("a"), windows.get_expiry("a")) == (0, NOW)
    assert [windows.incr("a", 60), windows.incr("a", 60, amount=3), windows.incr("b", 3600)] == [1, 4, 1]
    clock.shift(59)
    assert (windows.incr("a", 60), windows.get_expiry("a")) == (5, NOW + 60)
    clock.shift(1)
    assert (windows.get("a"), windows.get("b")) == (0, 1)
    assert (windows.incr("a", 60, amount=2), windows.get_expiry("a")) == (2, NOW + 120)
    windows.clear("a")
    assert (windows.get("a"), windows.get("b"), windows.get_expiry("b")) == (0, 1, NOW + 3600)
    assert windows.check() is True
    assert windows.reset() == 1
    assert windows.get("b") == 0


def test_a_hit_is_one_statement_and_leaves_one_row(budget):
    for _ in range(2):
        with CaptureQueriesContext(connection) as captured:
            budget()
        assert [query["sql"].split()[0] for query in captured.captured_queries] == ["INSERT"]
    row = RateWindow.objects.get()
    assert (len(row.key), row.hits, row.ends_at.timestamp()) == (64, 2, NOW + 60)
    assert "192.0.2.1" not in row.key


def test_a_limit_holds_and_tells_when_it_is_over(budget, clock):
    for _ in range(3):
        budget()
    clock.shift(20)
    with pytest.raises(errors.RateLimited) as caught:
        budget()
    assert caught.value.retry_after == 40
    budget("192.0.2.2")
    clock.shift(40)
    budget()
    assert sorted(RateWindow.objects.values_list("hits", flat=True)) == [1, 1]


def test_within_a_transaction_it_counts_and_a_rollback_forgets(budget):
    budget()
    with transaction.atomic():
        budget()
        assert RateWindow.objects.get().hits == 2
    with pytest.raises(RuntimeError), transaction.atomic():
        budget()
        raise RuntimeError
    assert RateWindow.objects.get().hits == 2


def test_an_error_of_the_database_does_not_spoil_the_transaction_around(budget, monkeypatch):
    monkeypatch.setattr("anonusers.limit_store._upsert", lambda: "INSERT INTO nowhere VALUES (%s, %s, %s, %s, %s)")
    with transaction.atomic():
        for _ in range(3):
            budget()  # counted in this process meanwhile
        with pytest.raises(errors.RateLimited):
            budget()
        assert RateWindow.objects.count() == 0
    with pytest.raises(errors.Busy):
        spend("signup_per_ip", "192.0.2.1", stop=True)
    with pytest.raises(DatabaseError):
        DatabaseWindows().incr("a", 60)
