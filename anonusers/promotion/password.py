"""Passwords: rules, hashing with a cap on how many run at once, and checking that takes as long for nobody as for
somebody."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from anonusers.conf import conf
from anonusers.errors import Busy, WeakPassword

LENGTH_MAX = 4096
PATIENCE = 5.0  # seconds that a request waits for its turn to hash

_hashing = threading.BoundedSemaphore(max(1, conf.HASHES_IN_FLIGHT))


def hash_password(password: str, *, user: Any = None) -> str:
    """The hash to store, by the host's first PASSWORD_HASHERS entry.

    Raises: WeakPassword with the reasons of AUTH_PASSWORD_VALIDATORS; Busy when too many hashes are in flight.
    """
    demand_strong(password, user=user)
    with _one_of_few():
        return make_password(password)


def demand_strong(password: str, *, user: Any = None) -> None:
    """The rules alone, without the work. Raises: WeakPassword with the reasons of AUTH_PASSWORD_VALIDATORS."""
    if len(password) > LENGTH_MAX:
        raise WeakPassword([_("Use at most %(count)s characters.") % {"count": LENGTH_MAX}])
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise WeakPassword([str(message) for message in error.messages]) from None


def password_matches(password: str, encoded: str | None) -> bool:
    """Whether a password is the one of a hash. Without a hash the answer is no, after the same work.

    Raises: Busy.
    """
    with _one_of_few():
        if encoded is None or len(password) > LENGTH_MAX:
            make_password(password[:LENGTH_MAX])
            return False
        return check_password(password, encoded)


@contextmanager
def _one_of_few() -> Iterator[None]:
    # A hash takes 20 ms of a core and megabytes of memory; without a cap a burst of them stops everything else.
    if not _hashing.acquire(timeout=PATIENCE):
        raise Busy
    try:
        yield
    finally:
        _hashing.release()
