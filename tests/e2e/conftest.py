"""A real Chromium, the unmodified SDK on an origin of its own, and a project that both may use.

`npm install` in this directory brings the SDK. What is missing skips these tests with the reason; with
ANONUSERS_NO_SKIP set, as in CI, it fails them.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from django.test.utils import override_settings

from anonusers.models import Application, Project
from tests.conftest import make_application, make_project

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SDK = Path(__file__).parent / "node_modules/@authgear/web/dist/authgear-web.iife.js"
SDK_PAGE = b'<!doctype html><meta charset="utf-8"><title>SDK</title><script src="/authgear-web.iife.js"></script>'
TIMEOUT = 30_000  # milliseconds


def missing(what: str) -> Any:
    """A browser test cannot run without Chromium, Playwright or the SDK, which `make test` must not demand of a machine
    that has Python and make only: there it is skipped, and pytest's summary says what is missing. CI installs all three
    and sets ANONUSERS_NO_SKIP: there it fails."""
    if os.environ.get("ANONUSERS_NO_SKIP"):
        pytest.fail(what)
    pytest.skip(f"{what} (CI has it and fails instead)")


# --- the server ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _served_from_source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Static files as they lie in the tree: nothing is collected, and the empty directory must exist for WhiteNoise.

    For the whole session, since the live server reads the settings once, at its start.
    """
    with override_settings(STATIC_ROOT=tmp_path_factory.mktemp("static")):
        yield


@pytest.fixture(autouse=True)
def _no_budgets(settings: Any) -> None:
    settings.ANONUSERS_SIGNUP_PER_IP = settings.ANONUSERS_SIGNUP_PER_PROJECT = "off"


@pytest.fixture
def server(live_server: Any) -> str:
    """The origin of the Django server. It is `localhost`, which is one site with every other port of it."""
    origin: str = live_server.url
    assert origin.startswith("http://localhost:")
    return origin


@pytest.fixture
def project(transactional_db: None, sdk_origin: str) -> Project:
    """A project for every host, with an application for each session type and for each side of the guestbook."""
    project = make_project("e2e", "*")
    home = [f"{sdk_origin}/"]
    for client_id, type_, uris in (
        ("sdk-refresh-token", Application.Type.SPA, home),
        ("sdk-cookie", Application.Type.TRADITIONAL_WEBAPP, home),
        ("guestbook-web", Application.Type.SPA, []),
        ("guestbook-cookie", Application.Type.TRADITIONAL_WEBAPP, []),
    ):
        make_application(project, client_id, type=type_, redirect_uris=uris, post_logout_redirect_uris=uris)
    project.refresh_application_origins()
    return project


# --- the SDK's page -----------------------------------------------------------------------------------------------


class SdkPageHandler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/":
            body, content_type = SDK_PAGE, "text/html"
        elif path == "/authgear-web.iife.js":
            body, content_type = SDK.read_bytes(), "text/javascript"
        else:
            body, content_type = b"", "text/plain"
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def sdk_site() -> Iterator[str]:
    if not SDK.exists():
        missing("the SDK is not installed: run `npm install` in tests/e2e")
    with ThreadingHTTPServer(("localhost", 0), SdkPageHandler) as http:
        http.daemon_threads = True
        thread = Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://localhost:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def sdk_origin() -> Iterator[str]:
    """Another port of localhost, whose pages load the SDK. The project's applications name it in redirect_uris."""
    with sdk_site() as origin:
        yield origin


@pytest.fixture(scope="session")
def stranger_origin() -> Iterator[str]:
    """The same pages on an origin that no application names."""
    with sdk_site() as origin:
        yield origin


class SdkError(Exception):
    """What the SDK's promise was rejected with."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error)
        self.cls: str = error["cls"]  # the SDK's class: ServerError, OAuthError, AuthgearError, or TypeError of fetch
        self.name: str | None = error["name"]
        self.message: str | None = error["message"]
        self.reason: str | None = error["reason"]
        self.error: str | None = error["error"]


CALL = """async () => {
  const sdk = authgear.default;
  const classes = ["ServerError", "OAuthError", "CancelError", "AuthgearError"];
  try { return {value: await (EXPRESSION)}; } catch (e) {
    const cls = classes.find(name => e instanceof authgear[name]) ?? e.constructor.name;
    const text = value => typeof value === "string" ? value : null;
    return {failure: {cls, name: text(e.name), message: text(e.message), reason: text(e.reason), error: text(e.error)}};
  }
}"""


@dataclass
class Sdk:
    """One tab with the SDK in it, configured as its documentation says."""

    page: Any
    origin: str
    endpoint: str
    client_id: str
    session_type: str

    def open(self) -> "Sdk":
        self.page.goto(f"{self.origin}/")
        return self.configure()

    def reload(self) -> "Sdk":
        self.page.reload()
        return self.configure()

    def configure(self) -> "Sdk":
        self.page.evaluate(
            "options => authgear.default.configure(options)",
            {"clientID": self.client_id, "endpoint": self.endpoint, "sessionType": self.session_type},
        )
        return self

    def call(self, expression: str) -> Any:
        """The value of a JavaScript expression, in which `sdk` is the SDK's container. Promises are awaited.

        Raises: SdkError.
        """
        answer = self.page.evaluate(CALL.replace("EXPRESSION", expression))
        if "failure" in answer:
            raise SdkError(answer["failure"])
        return answer.get("value")

    def authenticate(self) -> dict[str, Any]:
        """The user info that `authenticateAnonymously()` resolves to."""
        info: dict[str, Any] = self.call("sdk.authenticateAnonymously().then(result => result.userInfo)")
        return info

    @property
    def state(self) -> str:
        return str(self.page.evaluate("authgear.default.sessionState"))

    def session_cookies(self) -> list[dict[str, Any]]:
        return [cookie for cookie in self.page.context.cookies() if "anonusers_session" in cookie["name"]]


# --- the browser --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    try:
        from playwright.sync_api import expect, sync_playwright
    except ImportError:
        missing("playwright is not installed")
    executable = CHROMIUM if Path(CHROMIUM).exists() else shutil.which("chromium")
    if executable is None:
        missing("chromium is not installed")
    # Playwright's event loop lives in this thread; Django takes that for asynchronous code and refuses the ORM.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGS)
        yield browser
        browser.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]
    else:
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = before


@pytest.fixture
def new_context(chromium: Any) -> Iterator[Callable[..., Any]]:
    """A factory of browser contexts: each is a visitor with a clean profile."""
    contexts = []

    def make(**options: Any) -> Any:
        context = chromium.new_context(**options)
        context.set_default_timeout(TIMEOUT)
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def new_sdk(new_context: Callable[..., Any], server: str, project: Project, sdk_origin: str) -> Callable[..., Sdk]:
    """A factory of tabs with the SDK. `context` makes it another tab of a visitor, `origin` another site's page."""

    def make(session_type: str, *, context: Any = None, origin: str = sdk_origin) -> Sdk:
        page = (context or new_context()).new_page()
        client_id = f"sdk-{session_type.replace('_', '-')}"
        return Sdk(page, origin, server, client_id, session_type).open()

    return make


@pytest.fixture
def shoot(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any, str], Path]:
    """`shoot(page, name)` keeps a picture of the whole page in pytest's temporary directory."""
    directory = tmp_path_factory.getbasetemp() / "screens"
    directory.mkdir(exist_ok=True)

    def take(page: Any, name: str) -> Path:
        path = directory / f"{name}.png"
        page.screenshot(path=path, full_page=True)
        return path

    return take
