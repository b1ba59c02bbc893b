"""The code of the portal's quick start is run: in Node and in a real Chromium, against the server."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core import mail
from playwright.sync_api import expect

from anonusers.models import Application, EndUser, LoginID, Project, RealmUser, Session
from portal.quick_start import guides_for
from tests.conftest import make_application
from tests.e2e.conftest import SDK, SdkError, missing
from tests.e2e.rn_driver import SDK as NATIVE_SDK
from tests.e2e.rn_driver import phone

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

EMAIL = "ada@example.com"
PASSWORD = "correct horse battery staple"
IMPORT_MAP = '{"imports": {"@authgear/web": "/authgear-web.module.js"}}'
STORAGE = """
const stored = new Map(JSON.parse(process.argv[2]));
globalThis.localStorage = {
  getItem: (name) => stored.get(name) ?? null,
  setItem: (name, value) => stored.set(name, value),
  removeItem: (name) => stored.delete(name),
};
process.on("exit", () => console.log(JSON.stringify([...stored])));
"""
SHOW = "console.log((await whoIsHere()).sub, (await whoIsHere()).is_anonymous);\n"


@pytest.fixture
def node(tmp_path: Path) -> Callable[..., list[str]]:
    """Runs a program of so many snippets; the lines that it writes."""
    executable = shutil.which("node")
    if executable is None:
        missing("node is not installed")

    def run(code: str, *args: str) -> list[str]:
        path = tmp_path / "snippet.mjs"
        path.write_text(code)
        done = subprocess.run(
            [str(executable), "--dns-result-order=ipv4first", str(path), *args],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def snippets(application: Application, endpoint: str, key: str, language: str = "js") -> list[str]:
    """The code of one guide, in the order of the page."""
    guides = {guide.key: guide for guide in guides_for(application, endpoint=endpoint)}
    return [snippet.code for snippet in guides[key].snippets if snippet.language == language]


# --- plain fetch in Node --------------------------------------------------------------------------------------------


def test_plain_fetch_signs_up_comes_back_and_keeps_the_account(
    node: Callable[..., list[str]], server: str, project: Project
) -> None:
    application = make_application(project, "app")
    sign_up, use, promote = snippets(application, server, "fetch")

    *said, storage = node(STORAGE + sign_up + use, "[]")

    guest = EndUser.objects.get()
    assert said == [f"{guest.pk} true"]
    assert guest.is_guest
    assert guest.application == application
    *said, storage = node(STORAGE + sign_up + use, storage)  # the page is opened again
    assert said == [f"{guest.pk} true"]
    assert EndUser.objects.count() == 1

    keep = f"console.log(await keepAccount({json.dumps(EMAIL)}, {json.dumps(PASSWORD)}));\n"
    *said, storage = node(STORAGE + sign_up + use + promote + SHOW + keep + SHOW, storage)
    assert said[-2:] == [str(guest.pk), f"{guest.pk} false"]
    assert set(said[:-2]) == {f"{guest.pk} true"}
    assert not EndUser.objects.get().is_guest
    *said, storage = node(STORAGE + sign_up + use, storage)
    assert said == [f"{guest.pk} false"]

    Session.objects.all().delete()  # the session is over: somebody new
    *said, storage = node(STORAGE + sign_up + use, storage)
    assert said == [f"{EndUser.objects.exclude(pk=guest.pk).get().pk} true"]


def test_many_who_ask_at_once_are_one_guest(node: Callable[..., list[str]], server: str, project: Project) -> None:
    sign_up, use, _promote = snippets(make_application(project, "app"), server, "fetch")
    node(
        STORAGE + sign_up + use + "await Promise.all([whoIsHere(), accessToken(), whoIsHere(), accessToken()]);\n", "[]"
    )
    assert EndUser.objects.count() == Session.objects.count() == 1


def test_plain_fetch_asks_for_the_code_where_the_project_wants_one(
    node: Callable[..., list[str]], server: str, project: Project, mailoutbox: list[Any]
) -> None:
    Project.objects.filter(pk=project.pk).update(verify=["email"])
    application = make_application(project, "app")
    sign_up, use, promote = snippets(application, server, "fetch")
    wrong = (
        f"const kept = keepAccount({json.dumps(EMAIL)}, {json.dumps(PASSWORD)}, async () => '000000');\n"
        "await kept.catch((error) => console.log(error.code));\n"
    )
    assert "code_wrong" in node(STORAGE + sign_up + use + promote + wrong, "[]")
    assert [mail.to for mail in mailoutbox] == [[EMAIL]]
    assert EndUser.objects.get().is_guest


def test_a_server_that_is_away_costs_no_guest(node: Callable[..., list[str]], server: str, project: Project) -> None:
    sign_up, _use, _promote = snippets(make_application(project, "app"), "http://localhost:9", "fetch")
    code = STORAGE + sign_up + "await accessToken().catch(() => console.log('away'));\n"
    stored = '[["refresh_token","precious"]]'
    assert node(code, stored) == ["away", stored]


# --- curl -----------------------------------------------------------------------------------------------------------


def test_the_requests_of_any_language_work(server: str, project: Project) -> None:
    if not (shutil.which("curl") and shutil.which("sh")):
        missing("curl is not installed")
    application = make_application(project, "it's", type="native")
    sign_up, who, challenge = snippets(application, server, "http", "sh")

    def run(code: str, **environment: str) -> dict[str, Any]:
        done = subprocess.run(["sh", "-c", code], capture_output=True, text=True, timeout=60, env=environment)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    guest = run(sign_up)
    assert run(who, ACCESS_TOKEN=guest["access_token"])["sub"] == guest["sub"] == str(EndUser.objects.get().pk)
    assert run(challenge)["challenge"]


# --- @authgear/web and cookies in Chromium --------------------------------------------------------------------------


class SnippetHandler(BaseHTTPRequestHandler):
    """The application's own site: one page, which holds what `page` says, and the SDK as a module."""

    page = ""

    def do_GET(self) -> None:
        is_sdk = self.path == "/authgear-web.module.js"
        body = SDK.with_name("authgear-web.module.js").read_bytes() if is_sdk else SnippetHandler.page.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if is_sdk else "text/html; charset=utf-8")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """Where the application's page is."""
    if not SDK.exists():
        missing("the SDK is not installed: run `npm install` in tests/e2e")
    with ThreadingHTTPServer(("localhost", 0), SnippetHandler) as http:
        http.daemon_threads = True
        thread = Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://localhost:{http.server_port}/app"
        http.shutdown()
        thread.join()


def put_on_page(code: str) -> None:
    """The next load of the application's page runs this."""
    SnippetHandler.page = (
        f'<!doctype html><link rel="icon" href="data:,"><script type="importmap">{IMPORT_MAP}</script>'
        f'<script type="module">{code}</script>'
    )


@pytest.fixture
def visitor(new_context: Callable[..., Any]) -> Any:
    """A visitor's tab; what its page logs stands in `said`."""
    page = new_context().new_page()
    page.said = []
    page.on("console", lambda line: page.said.append(line.text))
    return page


def says(page: Any, code: str, site: str, pattern: str = ".* true") -> str:
    """What the page with this code says."""
    put_on_page(code)
    page.said.clear()
    page.goto(site)
    return heard(page, pattern)


def heard(page: Any, pattern: str) -> str:
    """The first thing of that kind that the page says."""
    for _ in range(150):
        for line in page.said:
            if re.fullmatch(pattern, line):
                return str(line)
        page.wait_for_timeout(100)
    raise AssertionError(page.said)


@pytest.mark.parametrize("type_", ["spa", "traditional_webapp"])
def test_the_sdk_for_the_web_signs_up_comes_back_and_keeps_the_account(
    type_: str, visitor: Any, server: str, project: Project, site: str
) -> None:
    application = make_application(project, "app", type=type_, redirect_uris=[site])
    sign_up, start, finish = snippets(application, server, "web")

    said = says(visitor, sign_up, site)
    guest = EndUser.objects.get()
    assert said == f"{guest.pk} true"
    assert says(visitor, sign_up, site) == f"{guest.pk} true"
    assert EndUser.objects.count() == 1

    put_on_page(sign_up + start + "await whoIsHere();\nawait keepAccount();\n")
    visitor.goto(site)
    visitor.wait_for_url(re.compile("/promote[?]flow="))
    before, _whose, after = sign_up.partition("\nwhoIsHere()")
    assert after
    put_on_page(before + finish + "comeBack().then((user) => console.log(user.sub, user.isAnonymous));\n")
    visitor.locator("input[name=login_id]").fill(EMAIL)
    visitor.locator("input[name=password]").fill(PASSWORD)
    visitor.locator("button[type=submit]").first.click()
    heard(visitor, f"{guest.pk} false")
    assert not EndUser.objects.get().is_guest

    assert says(visitor, sign_up, site, ".* false") == f"{guest.pk} false"
    assert EndUser.objects.count() == 1


@pytest.mark.parametrize(
    ("type_", "key"), [("spa", "web"), ("traditional_webapp", "web"), ("traditional_webapp", "fetch")]
)
def test_a_session_that_is_over_makes_room_for_somebody_new(
    type_: str, key: str, visitor: Any, server: str, project: Project, site: str
) -> None:
    application = make_application(project, "app", type=type_, redirect_uris=[site])
    sign_up = snippets(application, server, key)[0]
    first = says(visitor, sign_up, site)
    Session.objects.all().delete()
    assert says(visitor, sign_up, site) != first
    assert EndUser.objects.count() == 2


@pytest.mark.parametrize(
    ("type_", "key"), [("spa", "web"), ("traditional_webapp", "web"), ("traditional_webapp", "fetch")]
)
def test_many_who_ask_at_once_on_a_page_are_one_guest(
    type_: str, key: str, visitor: Any, server: str, project: Project, site: str
) -> None:
    application = make_application(project, "app", type=type_, redirect_uris=[site])
    sign_up = snippets(application, server, key)[0]
    says(visitor, sign_up + "await Promise.all([whoIsHere(), whoIsHere()]);\nconsole.log('done');\n", site, "done")
    assert EndUser.objects.count() == Session.objects.count() == 1


def test_plain_fetch_with_a_cookie(visitor: Any, server: str, project: Project, site: str) -> None:
    application = make_application(project, "app", type="traditional_webapp", redirect_uris=[site])
    sign_up, promote = snippets(application, server, "fetch")
    said = says(visitor, sign_up, site)
    guest = EndUser.objects.get()
    assert said == f"{guest.pk} true"
    keep = f"console.log(await keepAccount({json.dumps(EMAIL)}, {json.dumps(PASSWORD)}), 'kept');\n"
    assert says(visitor, sign_up + promote + keep, site, ".* kept") == f"{guest.pk} kept"
    assert says(visitor, sign_up, site, ".* false") == f"{guest.pk} false"
    assert EndUser.objects.count() == Session.objects.filter(ended_at=None).count() == 1


# --- what cannot be run here is at least read -----------------------------------------------------------------------


def test_the_code_for_react_native_says_what_its_sdk_has(
    node: Callable[..., list[str]], server: str, project: Project, tmp_path: Path
) -> None:
    if not NATIVE_SDK.exists():
        missing("the SDK is not installed: run `npm install` in tests/e2e")
    code = snippets(make_application(project, "app", type="native"), server, "react-native")
    assert len(code) == 2
    declared = (NATIVE_SDK.parents[1] / "index.d.ts").read_text()
    for name in re.findall(r"authgear\.(\w+)", "".join(code)):
        assert re.search(rf"^    (get )?{name}\(", declared, re.MULTILINE), name
    for part in code:
        check_syntax(part, tmp_path)


def test_what_the_code_for_react_native_relies_on(server: str, project: Project) -> None:
    """Its SDK runs on a phone, or in rn_driver.cjs, which speaks no snippets: the same calls in the same order."""
    make_application(project, "app", type="native")
    with phone(endpoint=server, client_id="app", platform="ios", dpop=True) as mine:
        with pytest.raises(SdkError):
            mine.call("fetchUserInfo")
        assert mine.state == "NO_SESSION"
        sub = mine.authenticate()["sub"]
        assert mine.call("fetchUserInfo")["sub"] == sub
        Session.objects.all().delete()
        mine.do("restart")
        with pytest.raises(SdkError):
            mine.call("fetchUserInfo")
        assert mine.state == "NO_SESSION"
        assert mine.authenticate()["sub"] == sub


REALM_WEB = Path(__file__).parent / "node_modules/realm-web-2.0.1"
REALM_IMPORT = 'import * as Realm from "realm-web";'


@pytest.mark.parametrize("at_once", [True, False])
def test_realm_web_signs_up_a_guest_who_keeps_the_account(
    at_once: bool, node: Callable[..., list[str]], server: str, project: Project
) -> None:
    if not REALM_WEB.exists():
        missing("realm-web is not installed: run `npm install` in tests/e2e")
    confirmation = "" if at_once else "https://app.example.com/confirm"
    Project.objects.filter(pk=project.pk).update(
        realm_app_id="app",
        realm_local_userpass=True,
        realm_auto_confirm=at_once,
        realm_confirmation_url=confirmation,
    )
    project.refresh_from_db()
    sign_up, promotion = snippets(make_application(project, "app", framework="realm-web"), server, "realm")
    assert sign_up.startswith(REALM_IMPORT)
    package = json.dumps(str(REALM_WEB))
    # Node finds packages by the place of the program; a bundler would find this one by its name.
    load = f"import {{ createRequire }} from 'node:module'; const Realm = createRequire({package})({package});"
    code = sign_up.replace(REALM_IMPORT, load) + promotion
    account = f"{json.dumps(EMAIL)}, {json.dumps(PASSWORD)}"
    keep = f"await keepAccount({account});\n"
    if not at_once:
        # The link is in a mail of this very server's; the page that it leads to is the app's.
        keep += "const [token, tokenId] = await (await fetch(process.argv[2])).json();\n"
        keep += "globalThis.location = { search: `?token=${token}&tokenId=${tokenId}` };\n"
        keep += f"await confirmed({account});\n"
        with mailbox() as address:
            said = node(code + keep + REALM_SHOW, address)
    else:
        said = node(code + keep + REALM_SHOW)
    user = RealmUser.objects.get()
    assert said[0] == user.object_id
    assert said[-1] == f"{user.object_id} anon-user,local-userpass"
    assert not EndUser.objects.get().is_guest
    assert LoginID.objects.get().value == EMAIL


REALM_SHOW = """
const user = await whoIsHere();
console.log(user.id, user.identities.map((one) => one.providerType).join());
"""


@contextmanager
def mailbox() -> Iterator[str]:
    """The address at which token and tokenId of the newest mail can be asked for."""

    class Newest(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(mail.outbox[-1].body.split("https://app.example.com")[1].split()[0]).query)
            body = json.dumps([query["token"][0], query["tokenId"][0]]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Silent."""

    box = ThreadingHTTPServer(("127.0.0.1", 0), Newest)
    Thread(target=box.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{box.server_address[1]}/"
    finally:
        box.shutdown()
        box.server_close()


def check_syntax(code: str, folder: Path) -> None:
    """Whether Node can read it."""
    executable = shutil.which("node")
    if executable is None:
        missing("node is not installed")
    path = folder / "part.mjs"
    path.write_text(code)
    subprocess.run([str(executable), "--check", str(path)], check=True, timeout=60)


# --- the pages ------------------------------------------------------------------------------------------------------


@pytest.fixture
def page(new_context: Callable[..., Any], server: str, project: Project) -> Any:
    """An operator's page. Whatever the console complains about fails the test."""
    from django.contrib.auth import get_user_model

    get_user_model().objects.create_user("olga", password="correct horse", is_staff=True, is_superuser=True)
    page = new_context(base_url=server, viewport={"width": 1280, "height": 900}, reduced_motion="reduce").new_page()
    page.goto("/portal/login/")
    page.fill("#id_username", "olga")
    page.fill("#id_password", "correct horse")
    page.click("text=Sign in >> visible=true >> nth=-1")
    page.wait_for_url("**/portal/e2e/**")
    return page


def test_an_operator_adds_an_application_and_copies_its_code(page: Any, server: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server)
    page.goto("/portal/e2e/applications/")
    page.click("text=Add application")
    session, uris = page.locator(".wizard__session"), page.locator(".wizard__uris")
    expect(session).to_be_hidden()
    page.fill("#id_name", "My web")
    page.check("input[value=m2m]")
    expect(uris).to_be_hidden()
    page.check("input[value=flask]")
    expect(session).to_be_visible()
    page.check("input[value=react]")
    expect(session).to_be_hidden()
    expect(uris).to_be_visible()
    page.click("button >> text=Add application")
    page.wait_for_url("**/quick-start/")
    application = Application.objects.get(name="My web")
    page.locator("#guide-web [data-copy]").nth(1).click()
    page.wait_for_selector("#guide-web >> text=Copied", state="attached")
    assert page.evaluate("navigator.clipboard.readText()") == snippets(application, server, "web")[0]
    expect(page.locator("#guide-fetch pre").first).to_be_hidden()
    page.click("#guide-fetch summary")
    expect(page.locator("#guide-fetch pre").first).to_be_visible()


def test_an_application_is_deleted_from_the_menu_of_its_row(page: Any) -> None:
    page.goto("/portal/e2e/applications/")
    row = page.locator("tr", has_text="Guestbook-Cookie").last
    row.locator("summary").click()
    expect(row.locator("text=Quick start")).to_be_visible()
    page.keyboard.press("Escape")
    expect(row.locator("text=Quick start")).to_be_hidden()
    row.locator("summary").click()
    row.locator("text=Delete").click()
    page.wait_for_url("**/delete/")
    page.fill("#id_name", "Guestbook-Cookie")
    page.click("button >> text=Delete application")
    page.wait_for_url("**/applications/")
    assert not Application.objects.filter(client_id="guestbook-cookie").exists()


def test_a_long_deletion_goes_on_by_itself(page: Any, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from anonusers.applications import Deletion, delete_application

    rounds = iter((Deletion(7, finished=False), None))
    monkeypatch.setattr(
        "portal.views.applications.delete_application",
        lambda **given: next(rounds) or delete_application(**given),
    )
    row = project.applications.get(client_id="guestbook-web")
    page.goto(f"/portal/e2e/applications/{row.pk}/delete/")
    page.fill("#id_name", row.name)
    page.click("button >> text=Delete application")
    expect(page.locator("text=7 sessions were removed. There are more.")).to_be_visible()
    page.wait_for_url("**/applications/")
    assert not Application.objects.filter(pk=row.pk).exists()


def test_the_sentences_follow_the_switches(page: Any, project: Project) -> None:
    page.goto("/portal/e2e/login/")
    bar = page.locator(".consequence")
    expect(bar.locator("p:visible")).to_have_text(
        re.compile("^An e-mail address with a password becomes a guest's at once.")
    )
    page.check("#id_verify_0")
    expect(bar.locator("p:visible")).to_have_text(
        "An e-mail address becomes a guest's with the code that was sent there."
    )
    warning = page.locator("text=This server sends no text messages")
    expect(warning).to_be_hidden()
    page.check("#id_login_ids_1")
    expect(warning).to_be_visible()
    page.uncheck("#id_login_ids_1")
    page.uncheck("#id_login_ids_0")
    expect(page.locator("#id_verify_0")).to_be_disabled()
    expect(bar.locator("p:visible")).to_have_text("Guests cannot keep their account, and nobody can log in.")
    page.check("#id_login_ids_2")
    page.click("[data-save-bar] button")
    page.wait_for_selector("text=Saved.")
    project.refresh_from_db()
    assert (project.login_ids, project.verify) == (["username"], [])


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_no_page_of_applications_and_keys_is_wider_than_the_window(width: int, page: Any, project: Project) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    row = make_application(project, "c" * 100, name="W" * 100, type="native")
    at = f"applications/{row.pk}/"
    for path in (
        "applications/",
        "applications/new/",
        f"{at}quick-start/",
        f"{at}delete/",
        "login/",
        "keys/",
        "keys/?rotate",
    ):
        page.goto(f"/portal/e2e/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
