"""Budgets: named rate limits, shared by all doors.

A window starts with its first hit and refills completely one period later (fixed window), counted atomically by the
`limits` library in memory, in Redis, or in the database (limit_store.py).
"""

import ipaddress
import logging
import math
import threading
import time
from functools import lru_cache
from typing import cast

from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from anonusers import metrics
from anonusers.budgets import UNITS, read_budget
from anonusers.conf import conf
from anonusers.errors import Busy, RateLimited
from anonusers.networks import parse_address

logger = logging.getLogger(__name__)


@lru_cache(maxsize=64)
def parse_budget(text: str) -> RateLimitItem | None:
    """`"60/m"` → the limit; `"off"` → None.

    Raises: ValueError when the text is neither.
    """
    budget = read_budget(text)
    return budget and parse(f"{budget[0]} per {UNITS[budget[1]]}")


class Windows(Storage):
    """Windows counted in this process.

    The library's own MemoryStorage starts a thread every 10 ms under load, and each looks at every key: with many
    addresses that costs more than the sign-ups. Here those that are over go whenever the number has doubled.
    """

    SWEEP_FROM = 1024

    def __init__(self) -> None:
        super().__init__()
        self._counting = threading.Lock()
        self._windows: dict[str, tuple[float, int]] = {}  # key → (end in unix seconds, hits)
        self._sweep_at = self.SWEEP_FROM

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        now = time.time()
        with self._counting:
            end, hits = self._window(key, now)
            self._windows[key] = end or now + expiry, hits + amount
            if len(self._windows) >= self._sweep_at:
                self._windows = {key: window for key, window in self._windows.items() if window[0] > now}
                self._sweep_at = max(self.SWEEP_FROM, 2 * len(self._windows))
            return hits + amount

    def get(self, key: str) -> int:
        return self._window(key, time.time())[1]

    def get_expiry(self, key: str) -> float:
        now = time.time()
        return self._window(key, now)[0] or now

    def clear(self, key: str) -> None:
        self._windows.pop(key, None)

    def reset(self) -> int:
        forgotten = len(self._windows)
        self._windows.clear()
        return forgotten

    def check(self) -> bool:
        return True

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def _window(self, key: str, now: float) -> tuple[float, int]:
        """The window that is open, else zeros."""
        end, hits = self._windows.get(key, (0.0, 0))
        return (end, hits) if end > now else (0.0, 0)


_limiters: dict[str, FixedWindowRateLimiter] = {}
_making = threading.Lock()


def _limiter(uri: str) -> FixedWindowRateLimiter:
    # lru_cache would let two threads make two counters for the first requests.
    with _making:
        if uri not in _limiters:
            _limiters[uri] = FixedWindowRateLimiter(_storage(uri))
        return _limiters[uri]


def _storage(uri: str) -> Storage:
    if uri.startswith("memory:"):
        return Windows()
    if uri.startswith("database:"):
        from anonusers.limit_store import DatabaseWindows  # not where there are no models yet

        return DatabaseWindows(uri, wrap_exceptions=True)
    return cast(Storage, storage_from_string(uri, wrap_exceptions=True))  # of the synchronous ones


# When the shared store is away, sign-up goes on under a bound of this process.
_fallback = FixedWindowRateLimiter(Windows())


def spend(budget: str, *key: str, limit: str = "", stop: bool = False) -> None:
    """Take one from the budget `conf.<BUDGET>`, e.g. `spend("signup_per_ip", project, ip)`.

    A `limit` that is not blank is used instead of the setting's. When the shared store is away this process counts by
    itself, unless it is to `stop`. Raises: RateLimited with the seconds until the window refills; Busy.
    """
    item = parse_budget(limit or getattr(conf, budget.upper()))
    if item is None:
        return
    limiter = _limiter(conf.LIMITS_STORAGE)
    try:
        allowed = limiter.hit(item, budget, *key)
        reset = 0.0 if allowed else limiter.get_window_stats(item, budget, *key).reset_time
    except StorageError:
        # Fixed words: an alert can wait for them, or for the counter.
        metrics.count("anonusers_limits_store_down_total", "refused" if stop else "counted_here")
        if stop:
            logger.error("rate limit store is away; refusing", exc_info=True)
            raise Busy from None
        logger.error("rate limit store is away; counting in this process", exc_info=True)
        allowed = _fallback.hit(item, budget, *key)
        reset = 0.0 if allowed else _fallback.get_window_stats(item, budget, *key).reset_time
    if not allowed:
        metrics.count("anonusers_rate_limited_total", budget)
        raise RateLimited(budget, retry_after=max(1, math.ceil(reset - time.time())))


def is_store_up() -> bool:
    """Whether the shared store answers. The database's windows are as near as the database."""
    return conf.LIMITS_STORAGE.startswith(("memory:", "database:")) or _limiter(conf.LIMITS_STORAGE).storage.check()


def forget() -> None:
    """Empty the counters of this process; for tests and for the operator's shell."""
    _limiters.clear()
    _fallback.storage.reset()


def network_of(ip: str) -> str:
    """The address a budget is keyed by: an IPv4 address, or the /64 of an IPv6 one."""
    address = parse_address(ip)
    if address is None:
        return ip[:64]
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False).network_address)
    return str(address)
