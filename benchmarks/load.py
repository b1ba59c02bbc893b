"""The load generator: one process per keep-alive connection, each sending its next request when it has the answer."""

import http.client
import json
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

from cases import Case, Request

# Forked: a fresh interpreter per connection and run would take longer to start than many runs last.
processes = multiprocessing.get_context("fork")

ANSWER_WITHIN = 10
"""Seconds a client waits for an answer."""

READY_WITHIN = 30
"""Seconds a client may take to make its guests."""


@dataclass
class Load:
    """What the clients saw. `latencies` are seconds, one for each answer of 2xx."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def put_load(case: type[Case], port: int, *, connections: int, seconds: float, around: Callable[[], Any]) -> Load:
    """Run `case` on `connections` connections for `seconds`.

    `around` is called when all clients are ready, and again when the last answer is in.
    """
    barrier = processes.Barrier(connections + 1)
    clients = []
    for _ in range(connections):
        receiver, sender = processes.Pipe(duplex=False)
        client = processes.Process(target=_client, args=(case, port, seconds, barrier, sender), daemon=True)
        client.start()
        sender.close()
        clients.append((client, receiver))
    load = Load()
    try:
        barrier.wait(READY_WITHIN)
        around()
        started = time.perf_counter()
        barrier.wait(READY_WITHIN)
        for _, receiver in clients:
            if not receiver.poll(seconds + ANSWER_WITHIN + 5):
                raise TimeoutError("a client of the benchmark does not answer")
            latencies, failures = receiver.recv()
            load.latencies += latencies
            load.failures += failures
        load.seconds = time.perf_counter() - started
        around()
    finally:
        for client, receiver in clients:
            client.join(1)
            client.kill()
            receiver.close()
    return load


def _client(case: type[Case], port: int, seconds: float, barrier: Barrier, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    with _connected(port) as send:
        doing = case()
        doing.prepare(lambda request: json.loads(_demand(send(request))))
        # Threads and database connections that went idle meanwhile come back before the clock starts.
        for _ in range(10 * case.requests):
            doing.answered(_demand(send(doing.request())))
        barrier.wait(READY_WITHIN)
        barrier.wait(READY_WITHIN)
        latencies: list[float] = []
        failures: list[str] = []
        now = time.perf_counter()
        end = now + seconds
        while now < end and not failures:
            for _ in range(case.requests):
                status, body = send(doing.request())
                answered = time.perf_counter()
                if not 200 <= status < 300:
                    failures.append(f"{status} {body[:200]!r}")
                    break
                doing.answered(body)
            then, now = now, answered
            if not failures:
                latencies.append(now - then)
        sender.send((latencies, failures))


@contextmanager
def _connected(port: int) -> Iterator[Callable[[Request], tuple[int, bytes]]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_WITHIN)

    def send(request: Request) -> tuple[int, bytes]:
        method, path, body, headers = request
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()

    try:
        yield send
    finally:
        connection.close()


def _demand(answer: tuple[int, bytes]) -> bytes:
    status, body = answer
    if not 200 <= status < 300:
        raise RuntimeError(f"{status} {body[:200]!r}")
    return body
