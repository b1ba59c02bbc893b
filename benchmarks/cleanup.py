"""The clean-up of many expired guests: beside sign-ups that go on, killed and started again, or two at once.

    .venv/bin/python benchmarks/cleanup.py --help

Needs Linux and a PostgreSQL on this machine where it may create a database (DATABASE_URL).
"""

import argparse
import json
import os
import random
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

NAME = "anonusers-cleanup"
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


# What must be so at the end, however often a clean-up was killed and however many there were at once.
END = {
    "expired guests left": ("SELECT count(*) FROM auth_user WHERE username LIKE 'expired%'", None),
    "users without an end user": (
        "SELECT count(*) FROM auth_user u LEFT JOIN anonusers_enduser e ON e.user_id = u.id WHERE e.id IS NULL",
        None,
    ),
    "end users without an identity": (
        "SELECT count(*) FROM anonusers_enduser e LEFT JOIN anonusers_anonymousidentity i ON i.end_user_id = e.id"
        " WHERE i.end_user_id IS NULL",
        None,
    ),
    "live guests whole, with session and key": (
        "SELECT count(*) FROM auth_user u JOIN anonusers_enduser e ON e.user_id = u.id"
        " JOIN anonusers_anonymousidentity i ON i.end_user_id = e.id JOIN anonusers_session s ON s.end_user_id = e.id"
        " JOIN anonusers_devicekey k ON k.end_user_id = e.id WHERE u.username LIKE 'live%'",
        "live",
    ),
    "retired keys": (
        "SELECT count(*) FROM anonusers_devicekey WHERE end_user_id IS NULL AND retired_at IS NOT NULL",
        "expired",
    ),
}


def main() -> None:
    options = parse_options()
    url = os.environ.get("DATABASE_URL", DATABASE_URL)
    database = Database(url)
    with prepared(database) as (environment, directory):
        with psycopg.connect(url, autocommit=True) as connection:
            fill(connection, options)
        if options.kill or options.two:
            kill_and_restart(environment, url, options)
            at_once(environment, options.two + 1)
        else:
            budgets = {f"ANONUSERS_{name}": LIMITLESS for name in BUDGETS}
            log = directory / "server.log"
            server = Server("config.worker:application", workers=2, environment={**environment, **budgets}, log=log)
            try:
                server.wait_until_ready()
                alone = [] if options.without_signups else signups(server, options.seconds)
                beside, cleaned = with_cleanup(server, environment, options)
            finally:
                server.stop()
            tell(options, alone, beside, cleaned)
        with psycopg.connect(url, autocommit=True) as connection:
            check_end(connection, options)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--expired", type=int, default=1_000_000)
    parser.add_argument("--live", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=10, help="of sign-ups, alone and beside the clean-up (10)")
    parser.add_argument("--without-signups", action="store_true", help="measure the clean-up alone")
    parser.add_argument(
        "--kill", type=int, default=0, metavar="N", help="kill it at N random moments, without sign-ups"
    )
    parser.add_argument("--two", action="store_true", help="two at once, without sign-ups")
    parser.add_argument("--keyless", action="store_true", help="nobody has a device key")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments (1)")
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
    if options.keyless:
        connection.execute("TRUNCATE anonusers_devicekey")
    connection.execute("UPDATE anonusers_project SET removals_per_run = %s", [options.expired + 1])
    connection.execute("VACUUM ANALYZE")


def signups(server: Server, seconds: float) -> list[float]:
    load = put_load(SignUp, server.port, connections=8, seconds=seconds, around=lambda: None)
    if load.failures:
        raise SystemExit(f"a sign-up failed: {load.failures[0]}")
    return sorted(load.latencies)


def start_cleanup(environment: Mapping[str, str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "manage.py", "anonusers_cleanup", "--confirm", "--json"]
    named = {**environment, "PGAPPNAME": NAME}
    return subprocess.Popen(command, cwd=ROOT, env=named, stdout=subprocess.PIPE, text=True)


def with_cleanup(
    server: Server, environment: Mapping[str, str], options: argparse.Namespace
) -> tuple[list[float], dict[str, float]]:
    process = start_cleanup(environment)
    used = {"cpu": 0.0, "rss": 0.0, "pg": 0.0}

    def watch() -> None:
        backend = backend_of(environment["DATABASE_URL"], process)
        while process.poll() is None:
            used["cpu"] = max(used["cpu"], cpu_of(process.pid))
            used["pg"] = max(used["pg"], cpu_of(backend) if backend else 0.0)
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


def backend_of(url: str, process: "subprocess.Popen[str]") -> int | None:
    """The database's process that serves the clean-up."""
    asked = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
    with psycopg.connect(url, autocommit=True) as connection:
        while process.poll() is None:
            if found := connection.execute(asked, [NAME]).fetchone():
                return int(found[0])
            time.sleep(0.05)
    return None


def kill_and_restart(environment: Mapping[str, str], url: str, options: argparse.Namespace) -> None:
    """At random moments after it has connected: of a minute, for a million."""
    moments = random.Random(options.seed)
    for _ in range(options.kill):
        seconds = moments.random() * 60 * options.expired / 1_000_000
        process = start_cleanup(environment)
        backend_of(url, process)
        time.sleep(seconds)
        process.kill()
        said = process.communicate()[0]
        with psycopg.connect(url, autocommit=True) as connection:
            left = connection.execute("SELECT count(*) FROM auth_user WHERE username LIKE 'expired%'").fetchone()
        print("over before it was killed" if said else f"killed after {seconds:.1f} s: {left[0] if left else 0:,} left")


def at_once(environment: Mapping[str, str], how_many: int) -> None:
    """So many clean-ups, to their ends."""
    for process in [start_cleanup(environment) for _ in range(how_many)]:
        report = json.loads(process.communicate()[0])
        counts = ", ".join(f"{count:,} {name}" for name, count in report["counts"].items() if count)
        print(f"{report['state']} after {report['seconds']:.0f} s: {counts}")


def check_end(connection: "psycopg.Connection[tuple[int]]", options: argparse.Namespace) -> None:
    wrong = False
    for name, (statement, expected) in END.items():
        if options.keyless and "key" in name:
            continue
        [[found]] = connection.execute(statement).fetchall()
        wrong |= found != (getattr(options, expected) if expected else 0)
        print(f"{found:>10,} {name}")
    if wrong:
        raise SystemExit("That is not what must be left.")


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
    client, server = (cleaned[name] * 1e6 / removed for name in ("cpu", "pg"))
    print(f"{seconds:.0f} s, {removed / seconds:,.0f} guests/s with its pauses")
    print(f"CPU: client {client:.0f} + PostgreSQL {server:.0f} µs a guest, {1e6 / (client + server):,.0f} guests/s")
    print(f"peak memory {cleaned['rss']:.0f} MiB")
    for name, latencies in (("alone", alone), ("beside the clean-up", beside)):
        if latencies:
            p50, p99 = (1000 * latencies[len(latencies) * share // 100] for share in (50, 99))
            rate = len(latencies) / options.seconds
            print(f"sign-ups {name:20} {rate:6.0f}/s  p50 {p50:.1f} ms  p99 {p99:.1f} ms")


if __name__ == "__main__":
    main()
