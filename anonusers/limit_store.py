"""Windows counted in the database, for several processes where there is no Redis: `LIMITS_STORAGE = "database://"`."""

import hashlib
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import DatabaseError, InterfaceError, connection, transaction
from limits.storage import Storage

from anonusers.models import RateWindow

# Of two that hit at once the second waits for the first one's row, then counts on: no hit is lost.
UPSERT = """\
INSERT INTO {table} ({key}, {hits}, {ends_at}) VALUES (%s, %s, %s)
ON CONFLICT ({key}) DO UPDATE SET
{hits} = CASE WHEN {table}.{ends_at} <= %s THEN excluded.{hits} ELSE {table}.{hits} + excluded.{hits} END,
{ends_at} = CASE WHEN {table}.{ends_at} <= %s THEN excluded.{ends_at} ELSE {table}.{ends_at} END
RETURNING {hits}"""
# MariaDB assigns from left to right: the hits are counted while `ends_at` is still the old one.
UPSERT_MARIADB = """\
INSERT INTO {table} ({key}, {hits}, {ends_at}) VALUES (%s, %s, %s)
ON DUPLICATE KEY UPDATE
{hits} = IF({ends_at} <= %s, VALUES({hits}), {hits} + VALUES({hits})),
{ends_at} = IF({ends_at} <= %s, VALUES({ends_at}), {ends_at})
RETURNING {hits}"""


class DatabaseWindows(Storage):
    """One atomic statement a hit, on the default connection.

    Outside of a transaction, where the limits of sign-up are spent, each hit is kept and holds its row for a moment.
    Inside of one it holds its row until the end, so that others with the same key wait, and a rollback forgets it.
    """

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        now = datetime.now(UTC)
        at, end = (
            connection.ops.adapt_datetimefield_value(moment) for moment in (now, now + timedelta(seconds=expiry))
        )
        with _savepoint(), connection.cursor() as cursor:
            cursor.execute(_upsert(), [_hashed(key), amount, end, at, at])
            return int(cursor.fetchone()[0])

    def get(self, key: str) -> int:
        window = self._window(key)
        return window.hits if window else 0

    def get_expiry(self, key: str) -> float:
        window = self._window(key)
        return (window.ends_at if window else datetime.now(UTC)).timestamp()

    def clear(self, key: str) -> None:
        with _savepoint():
            RateWindow.objects.filter(pk=_hashed(key)).delete()

    def reset(self) -> int:
        with _savepoint():
            return RateWindow.objects.all().delete()[0]

    def check(self) -> bool:
        return connection.is_usable()

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return (DatabaseError, InterfaceError)

    def _window(self, key: str) -> RateWindow | None:
        with _savepoint():
            return RateWindow.objects.filter(pk=_hashed(key), ends_at__gt=datetime.now(UTC)).first()


def _savepoint() -> AbstractContextManager[Any]:
    """Inside of a transaction an error must not spoil what is around; outside there is nothing to spoil."""
    return transaction.atomic() if connection.in_atomic_block else nullcontext()


def _upsert() -> str:
    names = {field.attname: connection.ops.quote_name(str(field.column)) for field in RateWindow._meta.concrete_fields}
    template = UPSERT_MARIADB if connection.vendor == "mysql" else UPSERT
    return template.format(table=connection.ops.quote_name(RateWindow._meta.db_table), **names)


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
