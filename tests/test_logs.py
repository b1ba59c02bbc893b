"""Logs as JSON: which fields, how large, and that nothing in them names a person or opens an account."""

import io
import json
import logging
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core import mail
from django.db import IntegrityError, connection
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from anonusers.models import Application
from config import health, logs
from config.logs import JsonFormatter, RequestLogMiddleware, logging_config, scrubbed
from tests.anonusers.browsing import new_browser, send
from tests.conftest import HOST
from tests.people import EMAIL, PASSWORD, WRONG, last_code, regular_user

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = "203.0.113.9"
FIELDS = {"time", "level", "logger", "message", "request_id"}
ANSWER = {"method", "route", "status", "duration_ms"}
LINE_MAX = 12_000


class Written:
    """What the production configuration writes, line by line."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def answers(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["logger"] == "config.access"]


@pytest.fixture
def written() -> Iterator[Written]:
    """As LOG_FORMAT=json, but for Django's own lines about requests: all of them are let through."""
    written = Written()
    handler = logging.StreamHandler(written.stream)
    handler.setFormatter(JsonFormatter())
    names = ("", "config.access", "django.request", "django.security", "django.server")
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.setLevel("INFO")
    loggers[0].addHandler(handler)
    yield written
    loggers[0].removeHandler(handler)
    for logger, level in before:
        logger.setLevel(level)


def log(written: Written, *words: Any, **options: Any) -> dict[str, Any]:
    logging.getLogger("some.logger").warning(*words, **options)
    return written.lines[-1]


def api(client: Client, path: str, body: dict[str, Any], **headers: Any) -> Any:
    return client.post(f"/api/v1/{path}", json.dumps(body), content_type="application/json", **headers)


# --- fields ----------------------------------------------------------------------------------------


def test_a_line_is_one_object_with_known_fields(written: Written) -> None:
    line = log(written, "two\nlines and %s", "a word")
    assert set(line) == FIELDS
    assert (line["level"], line["logger"], line["message"]) == ("WARNING", "some.logger", "two\nlines and a word")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])
    assert written.text.count("\n") == 1


def test_fields_of_others_do_not_get_in(written: Written) -> None:
    assert set(log(written, "words", extra={"password": PASSWORD, "method": "GET"})) == FIELDS | {"method"}


def test_everything_is_bounded(written: Written) -> None:
    def deep(depth: int) -> None:
        if depth:
            deep(depth - 1)
        raise RuntimeError("x" * 100_000)

    try:
        deep(300)
    except RuntimeError:
        logging.getLogger("a." * 10_000 + "b").exception("word " * 100_000)
    line = written.lines[-1]
    assert len(line["message"]) <= logs.MESSAGE_MAX
    assert len(line["logger"]) <= logs.NAME_MAX
    assert len(line["exception"]["stack"]) <= logs.STACK_MAX
    assert len(written.text) < LINE_MAX


def test_a_line_that_cannot_be_formatted_is_written_all_the_same() -> None:
    record = logging.LogRecord("some.logger", logging.INFO, "", 0, "%d guests", ("many",), None)
    assert json.loads(JsonFormatter().format(record))["message"] == "%d guests"


def test_an_exception_is_told_by_type_and_way_and_never_by_its_text(written: Written) -> None:
    try:
        try:
            raise IntegrityError(f"Key (email)=({EMAIL}) already exists")
        except IntegrityError as error:
            raise ValueError(PASSWORD) from error
    except ValueError:
        line = log(written, "it went wrong", exc_info=True)
    assert line["exception"]["type"] == "builtins.ValueError"
    assert line["exception"]["causes"] == ["django.db.utils.IntegrityError"]
    assert re.fullmatch(r"\S*tests/test_logs\.py:\d+ test_an_exception\w+", line["exception"]["stack"][-1])
    assert EMAIL not in written.text
    assert PASSWORD not in written.text
    assert str(ROOT) not in written.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail to anna@example.com failed", "mail to (email) failed"),
        ("Key (email)=(anna@example.com)", "Key (email)=((email))"),
        ("from 203.0.113.9, and 2001:db8::1", "from (address), and (address)"),
        ("from 2001:db8:0:1:2:3:4:5", "from (address)"),
        ("GET /login?next=/x&code=1", "GET /login?(query)"),
        ("postgres://me:pass@db/guests", "postgres://(credentials)@db/guests"),
        ("token eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln-bmF0dXJl", "token (secret)"),
        ("refresh 3q2-7_wAbCdEfGhIjKlMnOpQrStUvWxYz", "refresh (secret)"),
        ("session 0197c5a4-1b2c-7def-8a9b-0c1d2e3f4a5b is ended", None),
        ("unexpected error 0123456789abcdef", None),
        ("clean-up of guestbook at 12:30:45 took 1.25 s", None),
        ("Django 5.2.19 in anonusers.management.commands", None),
        ("Error::kind is no address, :: is none either", None),
    ],
)
def test_what_names_somebody_or_opens_something_is_replaced(text: str, expected: str | None) -> None:
    assert scrubbed(text) == (expected or text)


def test_scrubbing_a_hostile_line_takes_no_time() -> None:
    began = time.perf_counter()
    for text in (
        "a@" * 50_000,
        ":" * 100_000,
        "1." * 50_000,
        "a:" * 50_000,
        "?" * 100_000,
        "://" * 30_000,
        "A" * 100_000,
    ):
        scrubbed(text)
    assert time.perf_counter() - began < 2


# --- requests --------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_an_answer_is_a_line_with_the_name_of_its_route(application: Application, written: Written) -> None:
    client = Client(HTTP_HOST=HOST)
    client.get("/api/v1/userinfo/?access_token=secret")
    client.get("/reset/a-secret-of-somebody")
    client.get("/nothing/here")
    client.generic("BREW", "/login")
    told = [tuple(line[name] for name in ("method", "route", "status")) for line in written.answers]
    assert told == [
        ("GET", "anonusers:rest:userinfo", 401),
        ("GET", "anonusers:pages:reset", 400),
        ("GET", "", 404),
        ("OTHER", "anonusers:pages:login", 405),
    ]
    for line in written.answers:
        assert set(line) == FIELDS | ANSWER
        assert line["duration_ms"] >= 0
    assert "secret" not in written.text
    assert "/nothing/here" not in written.text


@pytest.mark.django_db
def test_logging_costs_no_statement() -> None:
    middleware = RequestLogMiddleware(lambda request: HttpResponse("fine"))
    with CaptureQueriesContext(connection) as statements:
        middleware(RequestFactory().get("/"))
    assert len(statements) == 0


@pytest.mark.django_db
def test_probes_that_go_well_are_not_written_down(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(HTTP_HOST="203.0.113.7")
    client.get("/healthz")
    client.get("/readyz")
    assert written.answers == []
    words = {"database": "away", "migrations": "away"}
    monkeypatch.setattr(health, "readiness", lambda: words)
    assert client.get("/readyz").status_code == 503
    [line] = written.answers
    assert (line["route"], line["status"]) == ("/readyz", 503)


# --- the request's ID ------------------------------------------------------------------------------


@pytest.fixture
def behind_a_proxy(settings: Any) -> Client:
    settings.TRUSTED_PROXIES = 1
    return Client(HTTP_HOST=HOST)


@pytest.mark.django_db
def test_each_answer_has_an_id_that_its_lines_have_too(project: Any, written: Written) -> None:
    client = Client(HTTP_HOST=HOST)
    ids = [client.get("/login").headers["X-Request-Id"] for _ in range(2)]
    assert [line["request_id"] for line in written.answers] == ids
    assert len(set(ids)) == 2
    assert all(uuid.UUID(one) for one in ids)
    assert logs.request_id.get() == ""


@pytest.mark.django_db
@pytest.mark.parametrize("given", ["0af7651916cd43dd8448eb211c80319c", "0197c5a4-1b2c-7def-8a9b-0c1d2e3f4a5b"])
def test_an_id_of_our_own_proxy_is_kept(project: Any, behind_a_proxy: Client, given: str, written: Written) -> None:
    assert behind_a_proxy.get("/login", headers={"X-Request-Id": given}).headers["X-Request-Id"] == given
    assert written.answers[0]["request_id"] == given


@pytest.mark.django_db
def test_without_a_proxy_nobody_chooses_an_id(project: Any, written: Written) -> None:
    given = "0af7651916cd43dd8448eb211c80319c"
    assert Client(HTTP_HOST=HOST).get("/login", headers={"X-Request-Id": given}).headers["X-Request-Id"] != given
    assert given not in written.text


@pytest.mark.django_db
@pytest.mark.parametrize(
    "given",
    [
        "anna@example.com",
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        "x" * 32,
        "0af7651916cd43dd8448eb211c80319c" * 2,
        "0af7651916cd43dd8448eb211c80319c\r\nX-Evil: 1",
        "",
    ],
)
def test_what_does_not_look_like_an_id_is_none(
    project: Any, behind_a_proxy: Client, given: str, written: Written
) -> None:
    answer = behind_a_proxy.get("/login", HTTP_X_REQUEST_ID=given)
    assert uuid.UUID(answer.headers["X-Request-Id"])
    assert "X-Evil" not in answer.headers
    assert not given or given not in written.text


# --- secrets ---------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_no_story_of_a_guest_leaves_a_secret_in_the_log(application: Application, written: Written) -> None:
    """Sign-up, refresh with a token that was rotated away, promotion, log-ins that fail and succeed, a code."""
    client = Client(HTTP_HOST=HOST, REMOTE_ADDR=ADDRESS, HTTP_USER_AGENT="Agent of Anna/1.0 anna@example.com")
    web = {"client_id": application.client_id}
    first = api(client, "signup/", web).json()
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {first['access_token']}"}
    second = api(client, "refresh/", web | {"refresh_token": first["refresh_token"]}).json()
    third = api(client, "refresh/", web | {"refresh_token": second["refresh_token"]}).json()
    assert api(client, "refresh/", web | {"refresh_token": first["refresh_token"]}).status_code == 401
    fourth = api(client, "signup/", web).json()
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {fourth['access_token']}"}
    login_id = {"type": "email", "value": EMAIL}
    api(client, "promote/?email=anna@example.com", {"login_id": login_id, "password": PASSWORD}, **bearer)
    answers = [api(client, "login/", web | {"login_id": EMAIL, "password": password}) for password in (WRONG, PASSWORD)]
    assert [answer.status_code for answer in answers] == [401, 200]
    api(client, "login/code/", web | {"login_id": EMAIL})
    fifth = answers[1].json()
    secrets = [value for answer in (first, second, third, fourth, fifth) for value in tokens_of(answer)]
    assert len(secrets) >= 10
    secrets += [EMAIL, PASSWORD, WRONG, ADDRESS, "Agent of Anna", *codes()]
    assert_unsaid(written, secrets)
    assert {line["route"] for line in written.answers} >= {"anonusers:rest:signup", "anonusers:rest:login"}


def tokens_of(answer: dict[str, Any]) -> list[str]:
    return [answer[name] for name in ("access_token", "refresh_token") if answer.get(name)]


def codes() -> list[str]:
    return [last_code()] if mail.outbox and re.search(r"\d{6}", mail.outbox[-1].subject) else []


def assert_unsaid(written: Written, secrets: list[str]) -> None:
    assert written.lines
    for secret in secrets:
        # Six digits by themselves: in the letters of a request's id they come by chance.
        found = re.search(rf"\b{secret}\b", written.text) if re.fullmatch(r"\d{6}", secret) else secret in written.text
        assert not found, f"{secret} is in the log"
    assert max(len(line) for line in written.text.splitlines()) < LINE_MAX


@pytest.mark.django_db
def test_a_link_to_a_new_password_is_in_no_line(application: Application, written: Written) -> None:
    regular_user(application, EMAIL, password=PASSWORD)
    browser = new_browser(REMOTE_ADDR=ADDRESS)
    send(browser, "/forgot", login_id=EMAIL)
    found = re.search(r"/reset/(\S+)", mail.outbox[-1].body)
    assert found
    send(browser, found[0], password="short")
    send(browser, found[0], password=WRONG)
    browser.post(found[0], {"password": PASSWORD})  # without a CSRF token: Django writes a line with the path
    assert any(line["logger"].startswith("django.security") for line in written.lines)
    assert_unsaid(written, [found[1], EMAIL, PASSWORD, WRONG, ADDRESS])


@pytest.mark.django_db
def test_a_cookie_is_in_no_line(application: Application, written: Written) -> None:
    client = Client(HTTP_HOST=HOST, REMOTE_ADDR=ADDRESS)
    assert api(client, "signup/", {"client_id": application.client_id, "kind": "cookie"}).status_code == 201
    client.get("/settings")
    assert client.cookies["anonusers_session"].value
    assert_unsaid(written, [ADDRESS, *(cookie.value for cookie in client.cookies.values() if len(cookie.value) > 20)])


@pytest.mark.django_db
def test_a_failure_tells_what_failed_and_nothing_of_whom(
    application: Application, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**words: Any) -> None:
        raise IntegrityError(f"Key (email)=({EMAIL}) {PASSWORD}")

    monkeypatch.setattr("anonusers.signup.spend_signup", fail)
    client = Client(HTTP_HOST=HOST, REMOTE_ADDR=ADDRESS, raise_request_exception=False)
    answer = api(client, f"signup/?email={EMAIL}", {"client_id": application.client_id})
    assert answer.status_code == 500
    [told] = [line for line in written.lines if "exception" in line and line["logger"].startswith("anonusers")]
    assert told["exception"]["type"] == "django.db.utils.IntegrityError"
    assert told["request_id"] == answer.headers["X-Request-Id"]
    assert answer.json()["tracking_id"] in told["message"]
    assert_unsaid(written, [EMAIL, PASSWORD, ADDRESS])


@pytest.mark.django_db
def test_djangos_own_line_about_a_failure_names_the_route(
    application: Application, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*words: Any, **more: Any) -> None:
        raise RuntimeError(EMAIL)

    monkeypatch.setattr("anonusers.account.find_password_reset", fail)
    client = Client(HTTP_HOST=HOST, raise_request_exception=False)
    answer = client.get("/reset/a-secret-of-somebody")
    assert answer.status_code == 500
    [told] = [line for line in written.lines if line["logger"] == "django.request"]
    assert told["message"] == "Internal Server Error: anonusers:pages:reset"
    assert told["request_id"] == answer.headers["X-Request-Id"]
    assert_unsaid(written, [EMAIL, "a-secret-of-somebody"])


@pytest.mark.django_db
def test_a_host_that_is_not_ours_is_one_short_line(written: Written) -> None:
    assert Client(HTTP_HOST="x" * 5000 + ".example").get("/login").status_code == 400
    assert max(len(line) for line in written.text.splitlines()) < LINE_MAX


# --- configuration ---------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["line", "json"])
def test_both_formats_can_be_configured(format: str) -> None:
    code = (
        "import logging, logging.config\n"
        "from config.logs import logging_config\n"
        f"logging.config.dictConfig(logging_config({format!r}, 'INFO'))\n"
        "logging.getLogger('config.access').info('request', extra={'status': 200})\n"
        "logging.getLogger('anonusers').info('hello')\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = ended.stderr.splitlines()
    if format == "json":
        assert [json.loads(line)["message"] for line in lines] == ["request", "hello"]
    else:
        assert len(lines) == 1
        assert lines[0].endswith("INFO anonusers hello")


def test_a_format_that_does_not_exist_ends_the_start() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import config.settings"],
        cwd=ROOT,
        env={"LOG_FORMAT": "xml", "SECRET_KEY": "x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "LOG_FORMAT is line or json." in ended.stderr


def test_the_deployments_configuration_is_made_there() -> None:
    assert logging_config(settings.LOG_FORMAT, settings.LOGGING["root"]["level"]) == settings.LOGGING
    assert settings.MIDDLEWARE[0] == "config.logs.RequestLogMiddleware"
