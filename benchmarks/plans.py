"""Open the portal's pages in this process, and look at what each asked of the database."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from unittest import mock

from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from benchmarks.population import BIG

MOST_STATEMENTS = 14
MANY = 100_000
"""Tables with fewer rows are not big, whatever they may become."""
CONTROL = re.compile(r"(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|SET )", re.IGNORECASE)
VARIANTS = {
    "overview": ["days=7", "days=90", "application={client_id}", "from={year_ago}&to={today}"],
    "users": [
        "kind=guest",
        "kind=regular",
        "disabled=yes",
        "quarantined=yes",
        "application={client_id}",
        "active=1",
        "active=30",
        "key=yes",
        "kind=guest&application={client_id}&active=7",
        "q={sub}",
        "q=nobody@example.com",
    ],
    "audit": ["category=users", "category=settings", "type=user.anonymous.promoted", "sub={sub}"],
}
"""What else is looked at of a page: its filters."""
STREAMS = {"users-export", "audit-export"}
"""Everybody, piece by piece: the first pieces are looked at."""


@dataclass(frozen=True)
class Seen:
    """What it took to make a page. `scans` names each big table that was read from end to end, with the statement."""

    page: str
    status: int
    statements: int
    milliseconds: float
    scans: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        found = [f"{self.page}: {scan}" for scan in self.scans]
        if self.status != 200:
            found.append(f"{self.page}: {self.status}")
        if self.statements > MOST_STATEMENTS:
            found.append(f"{self.page}: {self.statements} statements")
        return found


def addresses(project_slug: str, **known: Any) -> Iterator[tuple[str, str]]:
    """Name and address of every page of a project, in the order of portal/urls.py."""
    from portal.urls import in_project

    for pattern in in_project:
        wanted = pattern.pattern.converters
        arguments = {"project_slug": project_slug, **{name: known[f"{pattern.name}.{name}"] for name in wanted}}
        address = reverse(f"portal:{pattern.name}", kwargs=arguments)
        yield pattern.name, address
        for variant in VARIANTS.get(pattern.name, ()):
            query = variant.format(**known)
            yield f"{pattern.name}?{query}", f"{address}?{query}"


def look(client: Client, page: str, address: str, *, without_scans: bool = False) -> Seen:
    """Open a page twice and look at the second time. `without_scans`: only what cannot be done without a scan counts,
    as a small table is best read from end to end."""
    _read(client, address)
    began = time.perf_counter()
    with CaptureQueriesContext(connection) as captured:
        status = _read(client, address)
    milliseconds = 1000 * (time.perf_counter() - began)
    statements = [query["sql"] for query in captured.captured_queries if not CONTROL.match(query["sql"])]
    scans = [
        f"scans {table}: {shortened(sql)}" for sql in statements for table in _scanned(sql, without_scans=without_scans)
    ]
    return Seen(page, status, len(statements), milliseconds, scans)


def _read(client: Client, address: str) -> int:
    response: Any = client.get(address)
    if response.streaming:
        # A stream that is left before its end would take this connection along.
        with mock.patch.object(connections[connection.alias], "close_if_unusable_or_obsolete"):
            list(islice(response.streaming_content, 5))
            response.close()
    elif response.status_code == 302 and response["Location"].startswith("/portal/"):
        return 200  # the project's own address leads to a page of it
    return int(response.status_code)


def _scanned(sql: str, *, without_scans: bool) -> list[str]:
    if not sql.lstrip("( ").upper().startswith(("SELECT", "WITH")):
        return []
    with connection.cursor() as cursor:
        if without_scans:
            cursor.execute("SET enable_seqscan = off")
        try:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}".replace("%", "%%"), ())
            found = cursor.fetchone()[0]
        finally:
            if without_scans:
                cursor.execute("SET enable_seqscan = on")
    [plan] = json.loads(found) if isinstance(found, str) else found
    scanned = {node["Relation Name"] for node in _nodes(plan["Plan"]) if node["Node Type"] == "Seq Scan"} & BIG
    return sorted(table for table in scanned if without_scans or _rows(table) >= MANY)


def _rows(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", [table])
        return int(cursor.fetchone()[0])


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def shortened(sql: str) -> str:
    """Without its columns and without long lists: for people who look for it in the code."""
    sql = re.sub(r"SELECT .*? FROM ", "SELECT … FROM ", sql)
    sql = re.sub(r"IN \([^()]{200,}\)", "IN (…)", sql)
    return sql if len(sql) < 400 else f"{sql[:400]}…"
