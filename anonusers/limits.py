"""Budgets: named rate limits, shared by all doors.

A window starts with its first hit and refills completely one period later (fixed window), counted atomically by the
`limits` library in memory or in Redis.
"""

import ipaddress
import logging
import math
import threading
import time
from functools import lru_cache

from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from anonusers.conf import conf
from anonusers.errors import RateLimited

logger = logging.getLogger(__name__)

UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day"}


@lru_cache(maxsize=64)
def parse_budget(text: str) -> RateLimitItem | None:
    """`"60/m"` → the limit; `"off"` → None.

    Raises: ValueError when the text is neither.
    """
    if text == "off":
        return None
    amount, _, unit = text.partition("/")
    if not amount.isascii() or not amount.isdigit() or int(amount) < 1 or unit not in UNITS:
        raise ValueError(f"{text!r} is not a budget: use N/s, N/m, N/h, N/d or off")
    return parse(f"{amount} per {UNITS[unit]}")


_limiters: dict[str, FixedWindowRateLimiter] = {}
_making = threading.Lock()


def _limiter(uri: str) -> FixedWindowRateLimiter:
    # lru_cache would let two threads make two counters for the first requests.
    with _making:
        if uri not in _limiters:
            options = {} if uri.startswith("memory") else {"wrap_exceptions": True}
            _limiters[uri] = FixedWindowRateLimiter(storage_from_string(uri, **options))
        return _limiters[uri]


# When the shared store is away, sign-up goes on under a bound of this process.
_fallback = FixedWindowRateLimiter(MemoryStorage())


def spend(budget: str, *key: str) -> None:
    """Take one from the budget `conf.<BUDGET>`, e.g. `spend("signup_per_ip", project, ip)`.

    Raises: RateLimited with the seconds until the window refills.
    """
    item = parse_budget(getattr(conf, budget.upper()))
    if item is None:
        return
    limiter = _limiter(conf.LIMITS_STORAGE)
    try:
        allowed = limiter.hit(item, budget, *key)
        reset = 0.0 if allowed else limiter.get_window_stats(item, budget, *key).reset_time
    except StorageError:
        logger.exception("rate limit store is away; counting in this process")
        allowed = _fallback.hit(item, budget, *key)
        reset = 0.0 if allowed else _fallback.get_window_stats(item, budget, *key).reset_time
    if not allowed:
        raise RateLimited(budget, retry_after=max(1, math.ceil(reset - time.time())))


def forget() -> None:
    """Empty the counters of this process; for tests and for the operator's shell."""
    _limiters.clear()
    _fallback.storage.reset()


def network_of(ip: str) -> str:
    """The address a budget is keyed by: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ip[:64]
    if address.version == 6:
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False).network_address)
    return str(address)
