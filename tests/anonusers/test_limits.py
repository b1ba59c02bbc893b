"""Windows that are counted in this process."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import time_machine

from anonusers import limits
from anonusers.errors import RateLimited
from anonusers.limits import Windows, spend


@pytest.fixture
def clock() -> Any:
    with time_machine.travel(1_800_000_000, tick=False) as traveller:
        yield traveller


@pytest.fixture
def budget(settings: Any) -> Callable[..., None]:
    settings.ANONUSERS_SIGNUP_PER_IP = "3/m"
    return lambda key="192.0.2.1": spend("signup_per_ip", key)


def test_a_window_refills_as_a_whole_one_period_after_its_first_hit(clock: Any, budget: Callable[..., None]) -> None:
    budget()
    clock.shift(30)
    budget()
    budget()
    for passed, retry_after in ((0, 30), (10, 20), (19, 1)):
        clock.shift(passed)
        with pytest.raises(RateLimited) as caught:
            budget()
        assert caught.value.retry_after == retry_after
    clock.shift(1)
    for _ in range(3):
        budget()
    with pytest.raises(RateLimited):
        budget()
    budget("192.0.2.2")


def test_what_is_over_is_forgotten_and_what_is_not_is_kept(clock: Any) -> None:
    windows = Windows()
    for number in range(Windows.SWEEP_FROM - 1):
        windows.incr(f"old {number}", 60)
    clock.shift(59)
    windows.incr("kept", 60)
    assert len(windows._windows) == Windows.SWEEP_FROM
    clock.shift(1)
    for number in range(Windows.SWEEP_FROM):
        windows.incr(f"new {number}", 60)
    assert len(windows._windows) == Windows.SWEEP_FROM + 1
    assert (windows.get("kept"), windows.get("old 0")) == (1, 0)
    assert windows.get_expiry("kept") == 1_800_000_119


def test_threads_never_spend_more_than_there_is(settings: Any) -> None:
    settings.ANONUSERS_SIGNUP_PER_IP = "50/h"
    together = threading.Barrier(8)

    def greedy(_: int) -> int:
        together.wait()
        spent = 0
        for _ in range(50):
            try:
                spend("signup_per_ip", "192.0.2.1")
            except RateLimited:
                continue
            spent += 1
        return spent

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(greedy, range(8))) == 50


def test_counting_starts_no_thread(budget: Callable[..., None]) -> None:
    before = threading.active_count()
    for number in range(100):
        budget(f"192.0.2.{number}")
    assert threading.active_count() == before
    limits.forget()
    budget()
