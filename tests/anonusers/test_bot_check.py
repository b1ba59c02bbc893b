"""Bot checks: a solution is good once, for its project and its time; and the providers, played by a local server."""

import base64
import json
import socket
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import altcha.v1
import pytest
import time_machine
from django.core.exceptions import ImproperlyConfigured

from anonusers import errors
from anonusers.bot_check import BotCheck, HCaptcha, ProofOfWork, Turnstile, bot_check
from anonusers.models import OneTimeToken
from tests.bot_checks import answer_of, solved, written
from tests.conftest import make_project, row_counts

pytestmark = [pytest.mark.django_db, pytest.mark.database]
NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _easy(settings: Any) -> None:
    settings.ANONUSERS_BOT_CHECK_DIFFICULTY = 50


@pytest.fixture
def clock() -> Any:
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


def is_solved(solution: str, project: Any, check: BotCheck | None = None) -> bool:
    return (check or ProofOfWork()).is_solved(solution, project=project, ip="192.0.2.1")


def test_the_one_that_is_configured_is_used(settings):
    assert type(bot_check()) is ProofOfWork
    settings.ANONUSERS_BOT_CHECK = "anonusers.bot_check.HCaptcha"
    assert type(bot_check()) is HCaptcha


# --- proof of work --------------------------------------------------------------------------------


def test_a_challenge_is_what_altchas_widget_reads_and_is_stored_nowhere(project, clock):
    before = row_counts()
    challenge = ProofOfWork().challenge(project)
    assert set(challenge) == {"type", "algorithm", "challenge", "maxNumber", "salt", "signature"}
    assert (challenge["type"], challenge["algorithm"], challenge["maxNumber"]) == ("altcha", "SHA-256", 50)
    assert challenge["salt"].endswith(f"?expires={int(NOW.timestamp()) + 600}&")
    assert ProofOfWork().challenge(project)["challenge"] != challenge["challenge"]
    assert row_counts() == before


def test_a_solution_is_good_once(project, clock):
    solution = solved(ProofOfWork().challenge(project))
    before = row_counts()
    assert [is_solved(solution, project) for _ in range(3)] == [True, False, False]
    assert row_counts() == before | {"anonusers.OneTimeToken": before["anonusers.OneTimeToken"] + 1}
    kept = OneTimeToken.objects.get()
    assert (kept.purpose, kept.used_at, kept.expires_at) == ("bot_check", NOW, NOW + timedelta(minutes=10))


def test_the_same_solution_written_in_another_way_is_the_same(project):
    answer = answer_of(ProofOfWork().challenge(project))
    assert is_solved(written(answer), project)
    assert not is_solved(written(dict(reversed(answer.items()))), project)
    assert not is_solved(written(answer | {"took": 1}), project)
    assert not is_solved(base64.b64encode(json.dumps(answer, indent=1).encode()).decode(), project)
    assert not is_solved(written(answer | {"salt": answer["salt"].removesuffix("&")}), project)


@pytest.mark.parametrize(("after", "good"), [(0, True), (600, True), (601, False), (86_400, False)])
def test_a_solution_is_good_for_ten_minutes(project, clock, after, good):
    solution = solved(ProofOfWork().challenge(project))
    clock.shift(after)
    assert is_solved(solution, project) is good


def test_a_solution_is_worth_nothing_in_another_project(project):
    other = make_project("second", "second.localhost")
    solution = solved(ProofOfWork().challenge(project))
    assert not is_solved(solution, other)
    assert is_solved(solution, project)


def test_the_expiry_cannot_be_moved_out_of_what_was_hashed(project, clock):
    answer = answer_of(ProofOfWork().challenge(project))
    salt, expires = answer["salt"].split("?")
    clock.shift(3600)
    before = row_counts()
    for forged in (
        {"salt": f"{salt}?", "number": f"{expires}{answer['number']}"},
        {"salt": f"{salt}?{expires}", "number": str(answer["number"])},
        {"salt": f"{salt}?expires=9999999999&"},
        {"salt": salt},
    ):
        assert not is_solved(written(answer | forged), project)
    assert row_counts() == before


def test_a_challenge_of_ones_own_making_is_refused(project):
    for key in ("", "key", b"\0" * 32):
        made = altcha.v1.create_challenge(
            altcha.v1.ChallengeOptions(max_number=5, hmac_key=key, expires=datetime.now(UTC) + timedelta(minutes=5))
        )
        assert not is_solved(solved(made.to_dict()), project)


@pytest.mark.parametrize(
    "change",
    [
        {"number": -1},
        {"number": True},
        {"number": "7"},
        {"number": 7.0},
        {"number": None},
        {"number": [7]},
        {"challenge": "0" * 64},
        {"challenge": None},
        {"signature": "0" * 64},
        {"signature": {}},
        {"salt": ["x"]},
        {"salt": "?expires=never&"},
        {"algorithm": "SHA-512"},
        {"algorithm": "MD5"},
        {"algorithm": 5},
    ],
    ids=str,
)
def test_a_solution_that_was_changed_is_refused(project, change):
    answer = answer_of(ProofOfWork().challenge(project))
    before = row_counts()
    assert not is_solved(written(answer | change), project)
    assert row_counts() == before


@pytest.mark.parametrize(
    "solution",
    [
        "",
        "x",
        "€",
        written(None),
        written([]),
        written({}),
        written(5),
        written("text"),
        base64.b64encode(b"\xff").decode(),
        base64.b64encode(b"[" * 3000).decode(),
        "A" * 4097,
    ],
    ids=["empty", "one letter", "not ASCII", "null", "list", "object", "number", "text", "no UTF-8", "deep", "long"],
)
def test_what_is_no_solution_is_refused(project, solution):
    before = row_counts()
    assert is_solved(solution, project) is False
    assert row_counts() == before


def test_without_its_library_it_says_what_to_install(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "altcha.v1", None)
    with pytest.raises(ImproperlyConfigured, match=r"anonusers\[bot-check\]"):
        ProofOfWork().challenge(project)


# --- providers ------------------------------------------------------------------------------------


class Provider(ThreadingHTTPServer):
    """Answers siteverify with `verdict` (bytes, or data as JSON), and remembers what it was asked."""

    verdict: Any = {"success": True}
    status = 200

    def __init__(self) -> None:
        self.asked: list[dict[str, list[str]]] = []
        self.wait = threading.Event()
        self.wait.set()
        super().__init__(("127.0.0.1", 0), Answering)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/siteverify"


class Answering(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.asked.append(parse_qs(body))
        self.server.wait.wait(10)
        verdict = self.server.verdict
        data = verdict if isinstance(verdict, bytes) else json.dumps(verdict).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Provider]:
    settings.ANONUSERS_BOT_CHECK_SITE_KEY = "site"
    settings.ANONUSERS_BOT_CHECK_SECRET = "s3cret"
    with Provider() as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        for cls in (Turnstile, HCaptcha):
            monkeypatch.setattr(cls, "url", server.url)
        yield server
        server.wait.set()
        server.shutdown()


def test_a_widget_is_told_its_site_key_and_nothing_secret(project, provider):
    assert Turnstile().challenge(project) == {"type": "turnstile", "site_key": "site", "cdata": "guestbook"}
    assert HCaptcha().challenge(project) == {"type": "hcaptcha", "site_key": "site"}
    assert provider.asked == []


@pytest.mark.parametrize("check", [Turnstile(), HCaptcha()], ids=lambda check: check.type)
def test_the_provider_is_asked_and_its_yes_is_good_once(project, provider, check):
    provider.verdict = {"success": True, "cdata": "guestbook"}
    assert [is_solved("token & more", project, check) for _ in range(2)] == [True, False]
    assert provider.asked == [{"secret": ["s3cret"], "response": ["token & more"], "remoteip": ["192.0.2.1"]}] * 2


@pytest.mark.parametrize("verdict", [{"success": False}, {}, {"success": "true"}, {"success": 1}], ids=str)
def test_anything_but_a_yes_is_a_no(project, provider, verdict):
    provider.verdict = verdict
    before = row_counts()
    assert not is_solved("token", project, HCaptcha())
    assert row_counts() == before


@pytest.mark.parametrize("cdata", [None, "", "second"], ids=str)
def test_turnstile_says_for_which_project_it_was(project, provider, cdata):
    provider.verdict = {"success": True, "cdata": cdata}
    assert not is_solved("token", project, Turnstile())


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(500, {"success": True}), (200, b"<html>"), (200, []), (200, b"\xff"), (404, b"")],
    ids=["500", "html", "list", "bytes", "404"],
)
def test_a_provider_that_is_not_itself_makes_us_busy(project, provider, status, verdict):
    provider.status, provider.verdict = status, verdict
    before = row_counts()
    with pytest.raises(errors.Busy):
        is_solved("token", project, HCaptcha())
    assert row_counts() == before


def test_a_provider_that_is_away_makes_us_busy(project, provider, monkeypatch, caplog):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(HCaptcha, "url", f"http://127.0.0.1:{closed.getsockname()[1]}/")
        with pytest.raises(errors.Busy):
            is_solved("token", project, HCaptcha())
    assert "s3cret" not in caplog.text


def test_a_provider_that_is_slow_is_not_waited_for(project, provider, monkeypatch):
    provider.wait.clear()
    monkeypatch.setattr(HCaptcha, "timeout", 0.1)
    with pytest.raises(errors.Busy):
        is_solved("token", project, HCaptcha())


def test_only_so_many_ask_the_provider_at_once(project, provider, monkeypatch):
    full = threading.BoundedSemaphore(1)
    monkeypatch.setattr(HCaptcha, "_in_flight", full)
    with full, pytest.raises(errors.Busy):
        is_solved("token", project, HCaptcha())
    assert provider.asked == []
    assert is_solved("token", project, HCaptcha())
    assert full.acquire(blocking=False)  # it was given back
