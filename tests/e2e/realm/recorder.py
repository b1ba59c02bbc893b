"""What stands between an SDK and our server: it passes everything on, and notes what it saw.

Two ports. SDKs are told the first one; what the server says of itself (`hostname` of the location) is the second. The
drivers ask under /_test/ what was seen, and have done here what no SDK can do: what an operator does.
"""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import urlsplit

from django.db import connection

GUARD = 60
"""Requests of one check. Some SDKs repeat a refused request for ever."""

HOP_BY_HOP = frozenset(("connection", "keep-alive", "transfer-encoding", "date", "server"))


@dataclass
class Recorder:
    """`actions` are what a driver may have done: name → a callable that takes and gives what JSON can say."""

    upstream: str
    actions: dict[str, Callable[..., Any]]
    origins: list[str] = field(default_factory=list)
    seen: list[dict[str, Any]] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)
    preflights: set[str] = field(default_factory=set)
    away: int = 0  # how many requests come next that the server does not answer

    @property
    def front(self) -> str:
        """The base URL that an SDK is configured with."""
        return self.origins[0]

    @property
    def home(self) -> str:
        """Where the server says it is."""
        return self.origins[1]

    def note(self, entry: dict[str, Any]) -> bool:
        """Whether it may go on to the server."""
        with self.lock:
            self.seen.append(entry)
            if entry["method"] == "OPTIONS":
                self.preflights.add(f"{entry['path']} {entry['asks']}")
            is_away = self.away > 0 and entry["method"] != "OPTIONS"
            self.away -= is_away
            return len(self.seen) <= GUARD and not is_away

    def tell(self) -> list[dict[str, Any]]:
        with self.lock:
            seen, self.seen[:] = list(self.seen), []
        return seen

    def act(self, name: str, args: list[Any]) -> Any:
        if name == "go_away":
            self.away = 1
            return None
        try:
            return self.actions[name](*args)
        finally:
            connection.close()  # this thread's own


def kind_of(bearer: str | None) -> str:
    """What sort of token it says it is: A, R, `-` for none, `?` for what is no token of a client's."""
    if bearer is None:
        return "-"
    with suppress(ValueError, IndexError, KeyError, TypeError):
        payload = bearer.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return {"access": "A", "refresh": "R"}[claims["typ"]]
    return "?"


def handler_of(recorder: Recorder, number: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path.startswith("/_test/"):
                self.answer(200, self.control(body), {"Access-Control-Allow-Origin": "*"})
            else:
                self.pass_on(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any

        def control(self, body: bytes) -> bytes:
            if self.path == "/_test/seen":
                return json.dumps(recorder.tell()).encode()
            name, *args = json.loads(body)
            return json.dumps(recorder.act(name, args)).encode()

        def pass_on(self, body: bytes) -> None:
            scheme, _, bearer = self.headers.get("Authorization", "").partition(" ")
            token = bearer if scheme.lower() == "bearer" else None
            url = urlsplit(self.path)
            entry: dict[str, Any] = {
                "port": ("front", "home")[number],
                "method": self.command,
                "path": url.path,
                "query": url.query,
                "kind": kind_of(token),
                "bearer": token,
                "origin": self.headers.get("Origin"),
                "asks": self.headers.get("Access-Control-Request-Headers"),
                "body": body.decode("utf-8", "replace"),
            }
            if not recorder.note(entry):
                self.answer(503, b'{"error":"away, or asked too much"}', {"Access-Control-Allow-Origin": "*"})
                return
            upstream = HTTPConnection(urlsplit(recorder.upstream).netloc, timeout=30)
            try:
                headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
                upstream.request(self.command, self.path, body or None, headers)
                response = upstream.getresponse()
                content = response.read()
                sent = {name: value for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP}
            finally:
                upstream.close()
            entry |= {"status": response.status, "type": response.getheader("Content-Type")}
            entry["answer"] = content.decode("utf-8", "replace")[:4000]
            self.answer(response.status, content, sent)

        def answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() != "content-length":
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


@contextmanager
def recorder_of(upstream: str, actions: dict[str, Callable[..., Any]]) -> Iterator[Recorder]:
    recorder = Recorder(upstream, actions)
    servers = [ThreadingHTTPServer(("localhost", 0), handler_of(recorder, number)) for number in (0, 1)]
    recorder.origins = [f"http://localhost:{server.server_port}" for server in servers]
    threads = [Thread(target=server.serve_forever, args=(0.05,), daemon=True) for server in servers]
    for server, thread in zip(servers, threads, strict=True):
        server.daemon_threads = True
        thread.start()
    try:
        yield recorder
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()
