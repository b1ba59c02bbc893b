"""Many people with a past, made by the database itself (PostgreSQL).

A year of sign-ups, evenly spread: guests and some who were promoted, their sessions, keys, log-in IDs and active days,
and what the audit log says of them.
"""

from collections.abc import Callable, Sequence
from typing import Any

BATCH = 25_000
BIG = {
    "auth_user",
    "anonusers_activeday",
    "anonusers_anonymousidentity",
    "anonusers_auditevent",
    "anonusers_devicekey",
    "anonusers_enduser",
    "anonusers_loginid",
    "anonusers_promotion",
    "anonusers_session",
}
"""Tables that grow with the people of a project."""

PEOPLE = """
CREATE TEMPORARY TABLE people AS
SELECT *,
    CASE WHEN random() < 0.4 AND created_at < now() - interval '2 days'
        THEN created_at + interval '1 day' + random() * (now() - created_at - interval '1 day') END AS returned_at,
    CASE WHEN is_promoted THEN created_at + power(random(), 3) * (now() - created_at) END AS promoted_at
FROM (
    SELECT gen_random_uuid() AS id, now() - random() * interval '365 days' AS created_at,
        (%(applications)s::bigint[])[1 + floor(random() * %(count)s::int)::int] AS application_id,
        random() < 0.05 AS is_promoted, random() AS luck
    FROM generate_series(1, %(people)s::int)
) AS drawn
"""

STEPS = (
    """
    INSERT INTO auth_user
        (username, password, is_superuser, first_name, last_name, email, is_staff, is_active, date_joined)
    SELECT id::text, '!', false, '', '', '', false, true, created_at FROM people
    """,
    """
    INSERT INTO anonusers_enduser (id, project_id, user_id, application_id, created_at, returned_at, promoted_at,
        disabled_at, quarantined_at)
    SELECT people.id, %(project)s::bigint, auth_user.id, application_id, created_at, returned_at, promoted_at,
        CASE WHEN luck < 0.002 THEN now() END,
        CASE WHEN luck > 0.99 AND NOT is_promoted THEN now() - luck * interval '3 days' END
    FROM people JOIN auth_user ON auth_user.username = people.id::text
    """,
    """
    INSERT INTO anonusers_anonymousidentity (end_user_id, created_at)
    SELECT id, created_at FROM people WHERE NOT is_promoted
    """,
    """
    INSERT INTO anonusers_session (id, project_id, application_id, end_user_id, kind, scope, refresh_hash,
        refresh_generation, created_at, last_used_at, ended_at, amr, user_agent, device, dpop_jkt, dpop_jti_hash)
    SELECT gen_random_uuid(), %(project)s::bigint, application_id, id, 'token', '', md5(id::text), 0,
        created_at + (nth - 1) * luck * (now() - created_at), created_at + luck * (now() - created_at),
        CASE WHEN random() < 0.3 THEN now() END, '', 'Mozilla/5.0', '{}', '', ''
    FROM people, generate_series(1, %(sessions)s::int) AS nth
    """,
    """
    INSERT INTO anonusers_devicekey
        (project_id, end_user_id, key_id, algorithm, jwk, thumbprint, created_at, last_used_at)
    SELECT %(project)s::bigint, id, id::text, 'ES256', '{}', left(md5(id::text) || md5(id::text), 43), created_at, now()
    FROM people WHERE NOT is_promoted AND luck BETWEEN 0.1 AND 0.4
    """,
    """
    INSERT INTO anonusers_loginid (project_id, end_user_id, type, value, key, verified_at, created_at)
    SELECT %(project)s::bigint, id, 'email', id::text || '@example.com', md5(id::text) || md5(id::text), promoted_at,
        promoted_at FROM people WHERE is_promoted
    """,
    """
    INSERT INTO anonusers_promotion (end_user_id, outcome, superseded_by_id, application_id, method, created_at)
    SELECT id, CASE WHEN is_promoted THEN 'promoted' ELSE 'superseded' END, NULL, application_id,
        CASE WHEN luck < 0.7 THEN 'email_code' ELSE 'password' END,
        coalesce(promoted_at, created_at + luck * (now() - created_at))
    FROM people WHERE is_promoted OR luck BETWEEN 0.5 AND 0.505
    """,
    """
    INSERT INTO anonusers_activeday (project_id, day, end_user_id, application_id, was_guest)
    SELECT DISTINCT ON (id, day) %(project)s::bigint, day, id, application_id, promoted_at IS NULL OR promoted_at > day
    FROM (
        SELECT people.*, (returned_at + (nth > 1)::int * random() * (now() - returned_at))::date AS day
        FROM people, generate_series(1, 4) AS nth WHERE returned_at IS NOT NULL
    ) AS days
    """,
    """
    INSERT INTO anonusers_auditevent
        (project_id, category, type, actor_name, end_user_id, target, changes, created_at)
    SELECT %(project)s::bigint, 'users', 'user.promotion.started', '', id, '', '{}',
        coalesce(promoted_at, created_at + power(random(), 3) * (now() - created_at))
    FROM people WHERE is_promoted OR luck > 0.97
    """,
    """
    INSERT INTO anonusers_auditevent
        (project_id, category, type, actor_name, end_user_id, target, changes, created_at)
    SELECT %(project)s::bigint, 'users', 'user.anonymous.promoted', '', id, '', '{"method": "email_code"}', promoted_at
    FROM people WHERE is_promoted
    """,
    "DROP TABLE people",
)


def fill(
    cursor: Any,
    *,
    project: int,
    applications: Sequence[int],
    people: int,
    sessions: int = 2,
    tell: Callable[[int], None] = lambda done: None,
) -> None:
    """So many people of a project, with `sessions` each. The caller analyses the tables afterwards."""
    for done in range(0, people, BATCH):
        some = min(BATCH, people - done)
        values = {"people": some, "applications": list(applications), "count": len(applications)}
        cursor.execute(PEOPLE, values)
        cursor.execute("ANALYZE people")
        for step in STEPS:
            cursor.execute(step, {"project": project, "sessions": sessions} if "%(" in step else None)
        tell(done + some)


def order(cursor: Any) -> None:
    """Put rows where they would lie if they had come one by one: a day's beside each other. It takes a while."""
    for table, index in (("activeday", "activeday_once"), ("enduser", "enduser_newest"), ("auditevent", "audit_type")):
        cursor.execute(f"CLUSTER anonusers_{table} USING anonusers_{index}")


def analyze(cursor: Any) -> None:
    for table in sorted(BIG):
        cursor.execute(f"ANALYZE {table}")
