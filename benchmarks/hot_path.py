"""Sign-up, log-in by key, userinfo and refresh of the running server against a bare REST framework view that does one
statement.

    .venv/bin/python benchmarks/hot_path.py --help

Needs Linux and a PostgreSQL where it may create a database (DATABASE_URL). See README.md beside this file.
"""

import argparse
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cases import CASES, Case  # noqa: E402 - the checkout need not be installed
from load import put_load  # noqa: E402
from servers import Database, Server  # noqa: E402

DATABASE_URL = "postgres://root@127.0.0.1:5432/bench"
LIMITLESS, NEVER_REACHED = "off", "1000000000/m"
BUDGETS = ("SIGNUP_PER_IP", "SIGNUP_PER_PROJECT", "CHALLENGES_PER_IP", "KEY_LOGIN_PER_IP")


@dataclass(frozen=True)
class Run:
    """One case in one round. CPU is milliseconds per request."""

    requests: int
    per_second: float
    p50: float
    p99: float
    server_cpu: float
    database_cpu: float
    failures: tuple[str, ...]

    @property
    def cpu(self) -> float:
        return self.server_cpu + self.database_cpu


def main() -> None:
    options = parse_options()
    # `finally` is to run also when somebody else ends us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    runs: dict[str, list[Run]] = {case.name: [] for case in options.cases}
    database = Database(os.environ.get("DATABASE_URL", DATABASE_URL))
    with prepared(database) as (environment, directory), serving(environment, directory, options) as servers:
        for number in range(options.rounds):
            # Reversed every other round: what slows down with time or growth slows all down alike.
            for case in options.cases[:: -1 if number % 2 else 1]:
                run = measure(case, servers[case.server], database, options)
                runs[case.name].append(run)
                progress = f"round {number + 1}/{options.rounds}  {case.name:32} {run.per_second:6.0f}/s"
                print(progress, *run.failures[:1], file=sys.stderr)
    print(table(runs, options))
    if any(run.failures for rounds in runs.values() for run in rounds):
        sys.exit("There were failures: the numbers are worth nothing.")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3, help="of each case in each round (3)")
    parser.add_argument("--rounds", type=int, default=4, help="an even number keeps the order fair (4)")
    parser.add_argument("--connections", type=int, default=8, help="clients at once (8)")
    parser.add_argument("--workers", type=int, default=2, help="processes of each server (2)")
    parser.add_argument("--only", default="", metavar="WORD", help="cases whose name has this word, and their floors")
    options = parser.parse_args()
    if not (0 < options.seconds <= 60 and 0 < options.rounds <= 50 and 0 < options.connections <= 64):
        parser.error("at most 60 seconds, 50 rounds and 64 connections")
    chosen = [case for case in CASES if options.only.lower() in case.name.lower()]
    floors = {case.floor for case in chosen}
    options.cases = [case for case in CASES if case in chosen or case.name in floors]
    if not chosen:
        parser.error(f"no case has {options.only!r} in its name; there are: {', '.join(case.name for case in CASES)}")
    return options


# --- what is measured -----------------------------------------------------------------------------


@contextmanager
def prepared(database: Database) -> Iterator[tuple[dict[str, str], Path]]:
    """The database with a project in it, and the environment that leads to it; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="anonusers-benchmark-") as name:
        directory = Path(name)
        (directory / "static").mkdir()
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": os.environ.get("DATABASE_URL", DATABASE_URL),
            "SECRET_KEY": secrets.token_urlsafe(40),
            "VAR_DIR": name,
            "LOG_LEVEL": "WARNING",
        }
        database.create()
        try:
            script = [sys.executable, str(Path(__file__).with_name("prepare.py"))]
            subprocess.run(script, cwd=ROOT, env=environment, check=True, timeout=120)
            yield environment, directory
        finally:
            database.drop()


@contextmanager
def serving(
    environment: Mapping[str, str], directory: Path, options: argparse.Namespace
) -> Iterator[dict[str, Server]]:
    """The servers by name: the floor, ours, and ours with its rate limits on."""
    started: dict[str, Server] = {}
    applications = {
        "floor": ("benchmarks.floor.wsgi:application", LIMITLESS),
        "anonusers": ("config.worker:application", LIMITLESS),
        "limited": ("config.worker:application", NEVER_REACHED),
    }
    try:
        for name in sorted({case.server for case in options.cases}):
            application, budget = applications[name]
            budgets = {f"ANONUSERS_{name}": budget for name in BUDGETS}
            log = directory / f"{name}.log"
            started[name] = Server(
                application, workers=options.workers, environment={**environment, **budgets}, log=log
            )
        for server in started.values():
            server.wait_until_ready()
        yield started
    finally:
        for server in started.values():
            server.stop()


def measure(case: type[Case], server: Server, database: Database, options: argparse.Namespace) -> Run:
    marks: list[tuple[float, dict[int, float]]] = []
    load = put_load(
        case,
        server.port,
        connections=options.connections,
        seconds=options.seconds,
        around=lambda: marks.append((server.cpu(), database.backends())),
    )
    (server_before, backends_before), (server_after, backends_after) = marks
    database_cpu = sum(used - backends_before.get(pid, 0.0) for pid, used in backends_after.items())
    latencies = sorted(load.latencies)
    requests = len(latencies)
    if not requests:
        raise SystemExit(f"{case.name}: no request succeeded. {load.failures[:1]}\n{server.log.read_text()[-2000:]}")
    return Run(
        requests=requests,
        per_second=requests / load.seconds,
        p50=latencies[requests // 2] * 1000,
        p99=latencies[requests * 99 // 100] * 1000,
        server_cpu=(server_after - server_before) * 1000 / requests,
        database_cpu=database_cpu * 1000 / requests,
        failures=tuple(load.failures),
    )


# --- what is told ---------------------------------------------------------------------------------

HEADINGS = (
    "",
    "req/s",
    "p50 ms",
    "p99 ms",
    "server CPU ms",
    "PG CPU ms",
    "sum ms",
    "req/s per core",
    "x floor (server)",
    "x floor (sum)",
    "x INSERT (sum)",
)


def table(runs: Mapping[str, list[Run]], options: argparse.Namespace) -> str:
    """Medians over the rounds. A ratio is the median of each round's own: neighbours suffer the same noise."""
    insert = runs.get("floor: one INSERT")
    lines = [HEADINGS, tuple("---" if heading == "" else "---:" for heading in HEADINGS)]
    for case in options.cases:
        rounds, floor = runs[case.name], runs[case.floor]
        lines.append(
            (
                case.name,
                f"{median(run.per_second for run in rounds):.0f}",
                f"{median(run.p50 for run in rounds):.1f}",
                f"{median(run.p99 for run in rounds):.1f}",
                f"{median(run.server_cpu for run in rounds):.3f}",
                f"{median(run.database_cpu for run in rounds):.3f}",
                f"{median(run.cpu for run in rounds):.3f}",
                f"{1000 / median(run.cpu for run in rounds):.0f}",
                f"{median(run.server_cpu / base.server_cpu for run, base in zip(rounds, floor, strict=True)):.2f}",
                f"{median(run.cpu / base.cpu for run, base in zip(rounds, floor, strict=True)):.2f}",
                f"{median(run.cpu / base.cpu for run, base in zip(rounds, insert, strict=True)):.2f}" if insert else "",
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    rows = (
        " | ".join(
            (cell.ljust if column == 0 else cell.rjust)(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
    return "\n".join(f"| {row} |" for row in rows)


if __name__ == "__main__":
    main()
