"""Start and stop the servers and the database that are measured, and read the CPU time they have used."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
OURS = "made by benchmarks/hot_path.py"


# --- servers --------------------------------------------------------------------------------------


class Server:
    """One granian with the same options as `make run`, in a process group of its own."""

    def __init__(self, application: str, *, workers: int, environment: Mapping[str, str], log: Path) -> None:
        from config.serve import BLOCKING_THREADS, STOP_TIMEOUT

        self.port = _free_port()
        self.log = log
        options = {
            "--interface": "wsgi",
            "--host": "127.0.0.1",
            "--port": self.port,
            "--workers": workers,
            "--blocking-threads": BLOCKING_THREADS,
            "--workers-kill-timeout": STOP_TIMEOUT,
            "--log-level": "warning",
        }
        words = [str(word) for pair in options.items() for word in pair]
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "granian", *words, application],
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Raises: RuntimeError with the end of its log where it does not come up in 30 s."""
        for _ in range(300):
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"a server did not start:\n{self.log.read_text()[-2000:]}")

    def cpu(self) -> float:
        """Seconds of CPU that the whole process tree has used."""
        return sum(map(cpu_of, _tree(self.process.pid)))

    def stop(self) -> None:
        # To the main process alone, which tells its workers. The group's id stays theirs while one of them lives.
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def cpu_of(pid: int) -> float:
    """Seconds of user and system time, with those of children that have ended; 0 where the process has gone."""
    try:
        # The second field is a name in brackets that may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = [
            int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return
    for child in children:
        yield from _tree(child)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- database -------------------------------------------------------------------------------------


class Database:
    """A database of the benchmark's own on a running PostgreSQL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.name = unquote(parts.path.lstrip("/"))
        if parts.scheme not in ("postgres", "postgresql") or not self.name:
            raise SystemExit("DATABASE_URL must be postgres://user:password@host:port/name")
        self.local = parts.hostname in (None, "localhost", "127.0.0.1", "::1")
        # Beside the one that is measured, which has to be made first and dropped last.
        self._beside = urlunsplit(("postgresql", parts.netloc, "/postgres", "", ""))

    def create(self) -> None:
        """Anew, also over what an interrupted run left.

        Raises: SystemExit where there is no server, or a database of that name that is not the benchmark's.
        """
        try:
            opened = self._connected()
        except psycopg.OperationalError as error:
            raise SystemExit(f"No PostgreSQL there: {str(error).splitlines()[0]}") from error
        with opened as connection:
            found = connection.execute(
                "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [self.name]
            ).fetchone()
        if found and found[0] != OURS:
            raise SystemExit(f"There is a database {self.name!r} already, and it is not the benchmark's: name another.")
        self.drop()
        with self._connected() as connection:
            name = sql.Identifier(self.name)
            connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
            connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, sql.Literal(OURS)))

    def drop(self) -> None:
        with self._connected() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self.name)))

    def backends(self) -> dict[int, float]:
        """Seconds of CPU of each process that serves a client of this database; empty where it is another machine."""
        if not self.local:
            return {}
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'", [self.name]
            ).fetchall()
        return {pid: cpu_of(pid) for (pid,) in rows}

    def _connected(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self._beside, autocommit=True, connect_timeout=5)
