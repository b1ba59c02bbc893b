"""Insert rows of several tables at once."""

from functools import lru_cache
from typing import Any

from django.db import connections, router
from django.db.models import Field, Model


def insert_together(*rows: Model) -> None:
    """Insert new rows in this order: in one statement where the database can (PostgreSQL), else in one each.

    Every round trip that is saved counts at sign-up. These rows' `post_save` is not sent: what happened is told by
    events.
    """
    database = router.db_for_write(type(rows[0]), instance=rows[0])
    connection = connections[database]
    if connection.vendor == "postgresql":
        parameters = [
            field.get_db_prep_save(field.pre_save(row, add=True), connection)
            for row in rows
            for field in _columns(type(row))
        ]
        with connection.cursor() as cursor:
            cursor.execute(_statement(*map(type, rows)), parameters)
        for row in rows:
            row._state.adding, row._state.db = False, database
    else:
        for row in rows:
            type(row)._base_manager.using(database).bulk_create([row])  # as silent as the statement above


@lru_cache(maxsize=16)
def _statement(*models: type[Model]) -> str:
    """`WITH a AS (INSERT …), b AS (INSERT …) INSERT …`; foreign keys are checked when all rows are there."""
    inserts = [_insert(model) for model in models]
    first = ", ".join(f"row_{number} AS ({insert})" for number, insert in enumerate(inserts[:-1]))
    return f"WITH {first} {inserts[-1]}" if first else inserts[-1]


def _columns(model: type[Any]) -> "list[Field[Any, Any]]":
    """All but a key that the database counts up; nobody asks for it afterwards."""
    return [field for field in model._meta.concrete_fields if field is not model._meta.auto_field]


def _insert(model: type[Any]) -> str:
    columns = [f'"{field.column}"' for field in _columns(model)]
    values = ", ".join(["%s"] * len(columns))
    return f'INSERT INTO "{model._meta.db_table}" ({", ".join(columns)}) VALUES ({values})'  # noqa: S608 - names of ours
