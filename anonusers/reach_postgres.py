"""What `reach` asks of a batch of end users, in one statement for PostgreSQL.

Each table is asked by a subquery that the planner cannot turn into a join, so it is one index look-up a guest, whatever
the planner believes of the batch: it guesses that a range of UUIDs holds one row, and a join that is planned on that
guess compares everybody with everybody.
"""

import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections, router, transaction

from anonusers.models import AnonymousIdentity, DeviceKey, EndUser, Project, Promotion, RealmUser, Session

Rules = Mapping[int | None, tuple[timedelta, timedelta | None]]
Row = tuple[uuid.UUID, Any, datetime | None, datetime | None]

# A moment is the first at which they are lost: one more than the retention after they were last here, and when the last
# session is over. Seconds, not days: a day has 23 hours where a time zone says so. The project is a sum, which no index
# has, as in `reach`.
STATEMENT = """
SELECT id, user_id, quarantined_at, CASE WHEN lost_from <= %(by)s THEN lost_from END FROM (
    SELECT e.id, e.user_id, e.quarantined_at, CASE
        WHEN (SELECT true FROM {identity} i WHERE i.end_user_id = e.id)
            AND (SELECT true FROM {promotion} p WHERE p.end_user_id = e.id) IS NULL
            AND (k.used_at IS NULL OR (e.disabled_at IS NULL AND {is_active}))
        THEN GREATEST(
            GREATEST(e.created_at, s.used_at, k.used_at, r.imported_at)
                + make_interval(secs => %(kept)s) + interval '1 microsecond',
            s.over_at, CASE WHEN r.imported_at IS NOT NULL AND r.adopted_at IS NULL THEN %(until)s::timestamptz END
        ) END AS lost_from
    FROM {end_user} e
    LEFT JOIN LATERAL (
        SELECT max(last_used_at) AS used_at, max(CASE WHEN ended_at IS NULL THEN {over_at} END) AS over_at
        FROM {session} WHERE end_user_id = e.id
    ) s ON true
    LEFT JOIN LATERAL (SELECT last_used_at AS used_at FROM {key} WHERE end_user_id = e.id LIMIT 1) k ON true
    LEFT JOIN LATERAL (SELECT imported_at, adopted_at FROM {realm_user} WHERE end_user_id = e.id LIMIT 1) r ON true
    WHERE e.project_id + 0 = %(project)s AND {which}
        AND (e.created_at < %(since)s OR e.quarantined_at IS NOT NULL)
) people
WHERE lost_from <= %(by)s OR quarantined_at IS NOT NULL
ORDER BY user_id
"""
HOLD = "SELECT id FROM {end_user} WHERE id = ANY(%(only)s) FOR UPDATE SKIP LOCKED"


def standings(
    project: Project,
    by: datetime,
    window: tuple[Any, Any],
    *,
    rules: Rules,
    only: Collection[uuid.UUID] | None,
    but_aside_by: datetime | None,
) -> list[Row]:
    """As `reach.standings`, by ranges of the host's key: id, key of the host's row, quarantined at, lost from.

    `only` is enough where it is given: whoever is asked about is looked up by id.
    """
    connection = connections[router.db_for_write(EndUser)]
    user_key: Any = EndUser._meta.get_field("user").target_field
    parameters: dict[str, Any] = {
        "project": project.pk,
        "by": by,
        "since": by - timedelta(days=project.guest_inactive_days),
        "until": project.realm_migration_ends_at,
        "kept": float(project.guest_inactive_days * 86_400),
    }
    if only is not None:
        which = "e.id = ANY(%(only)s)"
        parameters["only"] = list(only)
    else:
        which = "e.user_id BETWEEN %(first)s AND %(last)s"
        first, last = (user_key.get_db_prep_value(key, connection) for key in window)
        parameters |= {"first": first, "last": last}
    if but_aside_by is not None:
        which += " AND (e.quarantined_at IS NULL OR e.quarantined_at > %(but)s)"
        parameters["but"] = but_aside_by
    statement = STATEMENT.format(which=which, over_at=_over_at(rules), is_active=_is_active(), **_tables())
    # Compiling a statement of a few milliseconds takes PostgreSQL a hundred.
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute("SET LOCAL jit = off")
        cursor.execute(statement, parameters)
        rows: list[Row] = cursor.fetchall()
    for convert in user_key.get_db_converters(connection):
        rows = [(pk, convert(key, None, connection), *rest) for pk, key, *rest in rows]
    return rows


@contextmanager
def in_order() -> Iterator[None]:
    """For a batch by the host's key: along its index, whatever the planner believes. It does not know how many of a
    project are still to come, and where it guesses few it reads and sorts them all, for each batch."""
    names = ("enable_sort", "enable_seqscan", "enable_bitmapscan", "jit")
    off = ", ".join(f"set_config('{name}', 'off', true)" for name in names)
    connection = connections[router.db_for_write(EndUser)]
    with transaction.atomic(using=connection.alias):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {off}, set_config('max_parallel_workers_per_gather', '0', true)")
        yield


def hold(ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Lock these end users, but those whom somebody else holds; who they are."""
    with connections[router.db_for_write(EndUser)].cursor() as cursor:
        cursor.execute(HOLD.format(**_tables()), {"only": list(ids)})
        return {pk for (pk,) in cursor.fetchall()}


def wait_at_most(seconds: float) -> None:
    """For a lock, in this transaction. No SELECT: what is read under the lock must not be older than the lock."""
    with connections[router.db_for_write(EndUser)].cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = {seconds * 1000:.0f}")


def _tables() -> dict[str, str]:
    models: dict[str, type[Any]] = {
        "end_user": EndUser,
        "identity": AnonymousIdentity,
        "promotion": Promotion,
        "session": Session,
        "key": DeviceKey,
        "realm_user": RealmUser,
    }
    return {name: f'"{model._meta.db_table}"' for name, model in models.items()}


def _over_at(rules: Rules) -> str:
    """When a session is over that nobody has ended: numbers of ours, so it is text."""
    cases = []
    for application_id, (lifetime, idle) in rules.items():
        which = "kind = 'cookie'" if application_id is None else f"kind = 'token' AND application_id = {application_id}"
        ends = [f"created_at + make_interval(secs => {lifetime.total_seconds()})"]
        if idle is not None:
            ends.append(f"last_used_at + make_interval(secs => {idle.total_seconds()})")
        cases.append(f"WHEN {which} THEN LEAST({', '.join(ends)})")
    return f"CASE {' '.join(cases)} END"


def _is_active() -> str:
    """Whether the host has not disabled them, where its model has a column for that."""
    field: Any = next((field for field in get_user_model()._meta.concrete_fields if field.name == "is_active"), None)
    if field is None:
        return "true"
    table, key = field.model._meta.db_table, field.model._meta.pk.column
    return f'(SELECT u."{field.column}" FROM "{table}" u WHERE u."{key}" = e.user_id) IS NOT FALSE'  # noqa: S608
