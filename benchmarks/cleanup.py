"""The clean-up of many expired guests beside sign-ups that go on.

    .venv/bin/python benchmarks/cleanup.py --help

Needs Linux and a PostgreSQL on this machine where it may create a database (DATABASE_URL).
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import psycopg  # noqa: E402
from cases import SignUp  # noqa: E402
from hot_path import BUDGETS, DATABASE_URL, LIMITLESS, prepared  # noqa: E402
from load import put_load  # noqa: E402
from servers import Database, Server, cpu_of  # noqa: E402

QUARANTINE_OVER = "30 days"
FILL = """
WITH users AS (
    INSERT INTO auth_user
        (username, password, is_superuser, first_name, last_name, email, is_staff, is_active, date_joined)
    SELECT %(tag)s::text || n, '!', false, '', '', '', false, true, now()
    FROM generate_series(%(first)s::int, %(last)s::int) AS n
    RETURNING id
), people AS (
    INSERT INTO anonusers_enduser (id, project_id, user_id, created_at, quarantined_at)
    SELECT gen_random_uuid(), project.id, users.id, now() - %(age)s::interval, now() - %(aside)s::interval
    FROM users, anonusers_project AS project RETURNING id, project_id
), identities AS (
    INSERT INTO anonusers_anonymousidentity (end_user_id, created_at) SELECT id, now() FROM people
), keys AS (
    INSERT INTO anonusers_devicekey
        (project_id, end_user_id, key_id, algorithm, jwk, thumbprint, created_at, last_used_at)
    SELECT project_id, id, id::text, 'ES256', '{}', left(md5(id::text) || md5(id::text), 43), now(),
        now() - %(age)s::interval FROM people
)
INSERT INTO anonusers_session (id, project_id, application_id, end_user_id, kind, scope, refresh_hash,
    refresh_generation, created_at, last_used_at, amr, user_agent, device, dpop_jkt, dpop_jti_hash)
SELECT gen_random_uuid(), people.project_id, application.id, people.id, 'token', '', '', 0,
    now() - %(age)s::interval, now() - %(age)s::interval, '', '', '{}', '', ''
FROM people, anonusers_application AS application
"""


def main() -> None:
    options = parse_options()
    url = os.environ.get("DATABASE_URL", DATABASE_URL)
    database = Database(url)
    with prepared(database) as (environment, directory):
        with psycopg.connect(url, autocommit=True) as connection:
            fill(connection, options)
        budgets = {f"ANONUSERS_{name}": LIMITLESS for name in BUDGETS}
        log = directory / "server.log"
        server = Server("config.worker:application", workers=2, environment={**environment, **budgets}, log=log)
        try:
            server.wait_until_ready()
            alone = signups(server, options.seconds)
            beside, cleaned = with_cleanup(server, environment, options)
        finally:
            server.stop()
    tell(options, alone, beside, cleaned)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--expired", type=int, default=1_000_000)
    parser.add_argument("--live", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=10, help="of sign-ups, alone and beside the clean-up (10)")
    parser.add_argument("--without-signups", action="store_true", help="measure the clean-up alone")
    return parser.parse_args()


def fill(connection: "psycopg.Connection[tuple[object, ...]]", options: argparse.Namespace) -> None:
    for tag, count, age, aside in (
        ("expired", options.expired, "400 days", QUARANTINE_OVER),
        ("live", options.live, "1 day", None),
    ):
        for first in range(1, count + 1, 50_000):
            last = min(count, first + 49_999)
            connection.execute(FILL, {"tag": tag, "first": first, "last": last, "age": age, "aside": aside})
            print(f"\r{tag} {last:,}", end="", file=sys.stderr)
    print(file=sys.stderr)
    connection.execute("UPDATE anonusers_project SET removals_per_run = %s", [options.expired + 1])
    connection.execute("VACUUM ANALYZE")


def signups(server: Server, seconds: float) -> list[float]:
    load = put_load(SignUp, server.port, connections=8, seconds=seconds, around=lambda: None)
    if load.failures:
        raise SystemExit(f"a sign-up failed: {load.failures[0]}")
    return sorted(load.latencies)


def with_cleanup(
    server: Server, environment: Mapping[str, str], options: argparse.Namespace
) -> tuple[list[float], dict[str, float]]:
    command = [sys.executable, "manage.py", "anonusers_cleanup", "--confirm", "--json"]
    process = subprocess.Popen(command, cwd=ROOT, env=dict(environment), stdout=subprocess.PIPE, text=True)
    used = {"cpu": 0.0, "rss": 0.0}

    def watch() -> None:
        while process.poll() is None:
            used["cpu"] = max(used["cpu"], cpu_of(process.pid))
            used["rss"] = max(used["rss"], peak_memory(process.pid))
            time.sleep(0.05)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    latencies: list[float] = []
    if not options.without_signups:
        time.sleep(1)
        latencies = signups(server, options.seconds)
        if process.poll() is not None:
            print("the clean-up was over before the sign-ups: take more --expired", file=sys.stderr)
    out, _ = process.communicate()
    watcher.join()
    report = json.loads(out)
    return latencies, {
        "removed": report["counts"]["removed"],
        "seconds": report["seconds"],
        **used,
    }


def peak_memory(pid: int) -> float:
    """MiB that a process has held at most."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0.0)


def tell(options: argparse.Namespace, alone: list[float], beside: list[float], cleaned: dict[str, float]) -> None:
    removed, seconds = cleaned["removed"], cleaned["seconds"]
    print(f"{removed:,} of {options.expired:,} expired guests removed, {options.live:,} live ones beside them")
    print(f"{seconds:.0f} s, {removed / seconds:,.0f} guests/s; client {cleaned['cpu'] * 1e6 / removed:.0f} µs a guest")
    print(f"peak memory {cleaned['rss']:.0f} MiB")
    for name, latencies in (("alone", alone), ("beside the clean-up", beside)):
        if latencies:
            p50, p99 = (1000 * latencies[len(latencies) * share // 100] for share in (50, 99))
            rate = len(latencies) / options.seconds
            print(f"sign-ups {name:20} {rate:6.0f}/s  p50 {p50:.1f} ms  p99 {p99:.1f} ms")


if __name__ == "__main__":
    main()
