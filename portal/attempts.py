"""How often somebody may try to sign in as an operator: per address, and failures per name. The portal's form and the
Admin API share the counters."""

import hashlib
import time
import unicodedata

from django.core.cache import cache

from anonusers.errors import RateLimited
from anonusers.limits import network_of, spend


def spend_attempt(address: str) -> None:
    """Before anything is looked at. Raises: RateLimited"""
    spend("portal_login_per_ip", network_of(address))


def refuse_while_locked(name: str) -> None:
    """Before the password is looked at. Raises: RateLimited"""
    # A budget is spent by failures only, so it cannot tell beforehand whether anything is left: the failure that
    # overdrew it left this note. Without it a right guess would still get in.
    until = cache.get(_lock(name))
    if until and (left := int(until - time.time())) > 0:
        raise RateLimited("portal_login_per_name", retry_after=left)


def count_failure(name: str) -> None:
    """Raises: RateLimited, with the failure that overdraws the budget."""
    try:
        spend("portal_login_per_name", _key(name))
    except RateLimited as limit:
        cache.set(_lock(name), time.time() + limit.retry_after, timeout=limit.retry_after)
        raise


def _lock(name: str) -> str:
    return f"portal:locked:{_key(name)}"


def _key(name: str) -> str:
    """One key for all spellings of a name, of bounded length and fit for any store."""
    folded = unicodedata.normalize("NFKC", name).strip().casefold()
    return hashlib.sha256(folded.encode(errors="replace")).hexdigest()
