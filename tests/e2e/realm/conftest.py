"""A Realm app, and unmodified SDKs of MongoDB's before it: in Node, and in Chromium on an origin of their own."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core import mail

from anonusers import administration
from anonusers.models import EndUser, Project, RealmUser
from tests.conftest import make_application, make_project
from tests.e2e.conftest import SDK as AUTHGEAR
from tests.e2e.conftest import missing
from tests.e2e.realm.recorder import Recorder, recorder_of

HERE = Path(__file__).parent
MODULES = HERE.parent / "node_modules"
APP = "myapp-abcde"

# SDK → the folder of its package, its checks, and for a browser its file and the global it makes.
BUNDLES = {
    **{
        f"realm-web {version}": (
            f"realm-web-{version}",
            ("realm_web.js", "realm_web_email.js"),
            "dist/bundle.iife.js",
            "Realm",
        )
        for version in ("2.0.1", "2.0.0", "1.7.1", "1.3.0")
    },
    "stitch-server 4.9.0": ("mongodb-stitch-server-sdk", ("stitch4.js",), "", ""),
    "stitch-browser 4.9.0": ("mongodb-stitch-browser-sdk", ("stitch4.js",), "dist/browser/stitch.js", "stitch"),
    "stitch 3.18.0": ("mongodb-stitch", ("stitch3.js",), "dist/web/stitch.min.js", "stitch"),
}
IN_NODE = [sdk for sdk in BUNDLES if sdk != "stitch-browser 4.9.0"]
IN_BROWSERS = [sdk for sdk in BUNDLES if sdk != "stitch-server 4.9.0"]


def package_of(sdk: str) -> Path:
    """Where `make test` has installed it."""
    package = MODULES / BUNDLES[sdk][0]
    if not (package / "package.json").exists():
        missing(f"{sdk} is not installed: run `npm install` in tests/e2e")
    return package


# --- the server ---------------------------------------------------------------------------------------------------


@pytest.fixture
def app(transactional_db: None, sdk_origin: str) -> Project:
    """A Realm app at every host, whose other application is that of Authgear's SDK."""
    project = make_project(
        "shop",
        "*",
        realm_app_id=APP,
        realm_local_userpass=True,
        realm_auto_confirm=True,
        realm_confirmation_url=f"{sdk_origin}/confirm",
        realm_reset_url=f"{sdk_origin}/reset",
    )
    project.allowed_origins = [sdk_origin]
    project.save()
    make_application(project, APP, redirect_uris=[], post_logout_redirect_uris=[], access_token_lifetime=1800)
    home = [f"{sdk_origin}/"]
    make_application(project, "sdk-refresh-token", redirect_uris=home, post_logout_redirect_uris=home)
    project.refresh_application_origins()
    return project


def end_user_of(user_id: str) -> EndUser:
    return RealmUser.objects.select_related("end_user__user").get(object_id=user_id).end_user


def facts(user_id: str) -> dict[str, Any] | None:
    """Who the user is to everybody else, None where there is none."""
    row = RealmUser.objects.filter(object_id=user_id).first()
    if row is None:
        return None
    return {"sub": str(row.end_user_id), "is_guest": row.end_user.is_guest}


def mailed(address: str) -> dict[str, str]:
    """The two tokens of the link in the newest mail to an address."""
    message = [message for message in mail.outbox if message.to == [address]][-1]
    found = re.search(r"https?://\S+", str(message.body))
    assert found, message.body
    query = parse_qs(urlsplit(found[0]).query)
    return {"token": query["token"][0], "tokenId": query["tokenId"][0]}


def auto_confirm(on: bool) -> None:
    Project.objects.filter(realm_app_id=APP).update(realm_auto_confirm=on)


ACTIONS: dict[str, Callable[..., Any]] = {
    "facts": facts,
    "mailed": mailed,
    "is_mailed": lambda address: any(message.to == [address] for message in mail.outbox),
    "auto_confirm": auto_confirm,
    "revoke": lambda user_id: administration.end_sessions(end_user=end_user_of(user_id)),
    "disable": lambda user_id: administration.disable_user(end_user=end_user_of(user_id)),
    "enable": lambda user_id: administration.enable_user(end_user=end_user_of(user_id)),
}


@pytest.fixture
def recorder(server: str, app: Project, settings: Any) -> Iterator[Recorder]:
    with recorder_of(server, ACTIONS) as recorder:
        settings.ANONUSERS_ISSUER = recorder.home
        yield recorder


# --- the clients --------------------------------------------------------------------------------------------------

Report = list[dict[str, Any]]


def configuration(sdk: str, recorder: Recorder, **more: str) -> dict[str, Any]:
    name, _, version = sdk.partition(" ")
    checks = BUNDLES[sdk][1]
    return {
        "sdk": name,
        "version": version,
        "checks": checks,
        "base": recorder.front,
        "home": recorder.home,
        "app": APP,
        **more,
    }


def run_in_node(sdk: str, recorder: Recorder, **more: str) -> Report:
    package, node = package_of(sdk), shutil.which("node")
    if node is None:
        missing("node is not installed")
    config = configuration(sdk, recorder, where="node", package=str(package), **more)
    command = [str(node), str(HERE / "run.cjs"), json.dumps(config)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    report: Report = json.loads(done.stdout.splitlines()[-1])
    return report


class PageHandler(BaseHTTPRequestHandler):
    """`/<sdk>` is a page with the SDK, its checks and nothing else; `/` has realm-web and Authgear's SDK."""

    def do_GET(self) -> None:
        name = urlsplit(self.path).path.lstrip("/").replace("%20", " ")
        if name == "":
            scripts = '<script src="/realm-web 2.0.1/bundle"></script><script src="/authgear"></script>'
            body, content_type = f'<!doctype html><meta charset="utf-8">{scripts}'.encode(), "text/html"
        elif name == "authgear":
            body, content_type = AUTHGEAR.read_bytes(), "text/javascript"
        elif name in BUNDLES:
            _, checks, _, variable = BUNDLES[name]
            scripts = "".join(f'<script src="/{one}"></script>' for one in (f"{name}/bundle", "kit.js", *checks))
            body = f'<!doctype html><meta charset="utf-8">{scripts}<script>kit.sdk = {variable};</script>'.encode()
            content_type = "text/html"
        elif name.endswith("/bundle"):
            package, _, bundle, _ = BUNDLES[name.removesuffix("/bundle")]
            body, content_type = (MODULES / package / bundle).read_bytes(), "text/javascript"
        elif (HERE / name).suffix == ".js" and (HERE / name).parent == HERE:
            body, content_type = (HERE / name).read_bytes(), "text/javascript"
        else:
            body, content_type = b"", "text/plain"
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="session")
def sdk_origin() -> Iterator[str]:
    """Another port of localhost, whose pages load MongoDB's SDKs. The app names it among its allowed origins."""
    with ThreadingHTTPServer(("localhost", 0), PageHandler) as http:
        http.daemon_threads = True
        thread = Thread(target=http.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://localhost:{http.server_port}"
        http.shutdown()
        thread.join()


def run_in_browser(sdk: str, recorder: Recorder, page: Any, origin: str) -> Report:
    package_of(sdk)
    page.goto(f"{origin}/{sdk.replace(' ', '%20')}")
    page.set_default_timeout(120_000)
    report: Report = page.evaluate("config => kit.run(config)", configuration(sdk, recorder, where="browser"))
    return report
