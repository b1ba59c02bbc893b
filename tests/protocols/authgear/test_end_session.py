"""GET|POST /oauth2/end_session: at once where it is surely meant, else a page asks."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
import time_machine
from django.http import HttpResponse
from django.test import Client

from anonusers.models import Application, Project
from tests.conftest import APP_ORIGIN, make_application
from tests.protocols.authgear.steps import (
    COOKIE,
    END_SESSION,
    ENDINGS,
    SECURE_COOKIE,
    Ending,
    ask_id_token,
    bearer,
    configure,
    get_cookie,
    get_tokens,
    nothing_changes,
    only_session,
    refreshed,
    userinfo,
)

pytestmark = [pytest.mark.django_db, pytest.mark.spec("authgear.md", "1.13")]

AFTER = f"{APP_ORIGIN}/after-logout"


def navigate(client: Client, method: str = "get", cross_site: bool = False, **parameters: str) -> HttpResponse:
    """As a browser does it: follow our own redirects, stop where the page leaves us or asks something."""
    strict = client.cookies.pop("same_site_strict", None) if cross_site else None
    if method == "get":
        response = client.get(END_SESSION, parameters)
    else:
        data = urlencode(parameters)
        response = client.post(END_SESSION, data, content_type="application/x-www-form-urlencoded")
    while response.status_code in (302, 303) and response["Location"].startswith(END_SESSION):
        response = client.get(response["Location"])
    if strict is not None and client.cookies.get(COOKIE) and client.cookies[COOKIE].value:
        client.cookies["same_site_strict"] = strict.value
    return response


def assert_goes_to(response: HttpResponse, uri: str) -> None:
    assert response.status_code in (302, 303)
    assert response["Location"] == uri


def assert_asks(response: HttpResponse) -> str:
    """The confirmation page is next; returns where it leads afterwards."""
    assert response.status_code in (302, 303)
    target = urlsplit(response["Location"])
    assert (target.scheme, target.netloc, target.path) == ("", "", "/logout")
    assert not response.cookies
    [onward] = parse_qs(target.query)["next"]
    return onward


def assert_logged_out(client: Client, response: HttpResponse, name: str = COOKIE) -> None:
    for cookie in (name, "same_site_strict"):
        assert response.cookies[cookie].value == ""
        assert response.cookies[cookie]["max-age"] == 0
        assert response.cookies[cookie]["path"] == "/"
    assert only_session().ended_at is not None
    assert userinfo(client).status_code == 401


def assert_still_signed_in(client: Client) -> None:
    assert only_session().ended_at is None
    assert userinfo(client).status_code == 200


def id_token_of(client: Client) -> str:
    return ask_id_token(client).json()["id_token"]


# --- the table ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_same_site_navigation_logs_out_at_once(application: Application, browser: Client, method: str) -> None:
    get_cookie(browser)
    response = navigate(browser, method, post_logout_redirect_uri=AFTER)
    assert_goes_to(response, AFTER)
    assert_logged_out(browser, response)


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_cross_site_navigation_is_asked_about(application: Application, browser: Client, method: str) -> None:
    get_cookie(browser)
    with nothing_changes():
        onward = assert_asks(navigate(browser, method, cross_site=True, post_logout_redirect_uri=AFTER, state="s"))
    assert_still_signed_in(browser)
    target = urlsplit(onward)
    assert target.path == END_SESSION
    assert dict(parse_qsl(target.query)) == {"post_logout_redirect_uri": AFTER, "state": "s"}


def test_the_page_asks_logs_out_and_leads_on(application: Application, browser: Client) -> None:
    get_cookie(browser)
    page_url = navigate(browser, cross_site=True, post_logout_redirect_uri=AFTER)["Location"]
    page = browser.get(page_url)
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert page.headers["Cache-Control"].find("no-store") >= 0
    assert_still_signed_in(browser)
    onward = parse_qs(urlsplit(page_url).query)["next"][0]
    response = browser.post("/logout", {"next": onward})
    assert_logged_out(browser, response)
    assert_goes_to(browser.get(response["Location"]), AFTER)


@pytest.mark.spec("OpenID Connect RP-Initiated Logout 1.0", "2")
@pytest.mark.parametrize("method", ["get", "post"])
def test_an_id_token_of_this_session_logs_out_at_once(application: Application, browser: Client, method: str) -> None:
    get_cookie(browser)
    hint = id_token_of(browser)
    response = navigate(browser, method, cross_site=True, id_token_hint=hint, post_logout_redirect_uri=AFTER)
    assert_goes_to(response, AFTER)
    assert_logged_out(browser, response)


@pytest.mark.spec("OpenID Connect RP-Initiated Logout 1.0", "2")
def test_an_expired_id_token_is_as_good(application: Application, browser: Client) -> None:
    with time_machine.travel("2026-01-01T00:00:00Z", tick=False) as clock:
        get_cookie(browser)
        hint = id_token_of(browser)
        clock.shift(86_400)
        assert_goes_to(navigate(browser, cross_site=True, id_token_hint=hint, post_logout_redirect_uri=AFTER), AFTER)
        assert only_session().ended_at is not None


def forged(browser: Client, stranger: Client) -> dict[str, str]:
    """Hints that are not worth it, while `browser` is signed in by cookie."""
    own = id_token_of(browser)
    get_cookie(stranger)
    tokens = get_tokens(stranger)
    head, _, signature = own.rpartition(".")
    return {
        "of another session": id_token_of(stranger),
        "of a token session": refreshed(stranger, tokens["refresh_token"])["id_token"],
        "an access token": tokens["access_token"],
        "a refresh token": tokens["refresh_token"],
        "changed": f"{head}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}",
        "without signature": head + ".",
        "garbage": "garbage",
        "NUL": "\0",
        "snowman": "☃",
        "long": "A" * 10_000,
    }


def test_any_other_hint_is_asked_about(application: Application, browser: Client, stranger: Client) -> None:
    get_cookie(browser)
    session = only_session()
    for case, hint in forged(browser, stranger).items():
        with nothing_changes():
            response = navigate(browser, cross_site=True, id_token_hint=hint, post_logout_redirect_uri=AFTER)
            assert_asks(response)
        session.refresh_from_db()
        assert session.ended_at is None, case


@pytest.mark.parametrize("method", ["get", "post"])
def test_without_a_session_it_leads_straight_on(application: Application, browser: Client, method: str) -> None:
    with nothing_changes():
        response = navigate(browser, method, post_logout_redirect_uri=AFTER)
    assert_goes_to(response, AFTER)
    assert not response.cookies


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_dead_session_leads_straight_on(application: Application, browser: Client, ending: Ending) -> None:
    get_cookie(browser)
    ending(only_session())
    with nothing_changes():
        response = navigate(browser, cross_site=True, post_logout_redirect_uri=AFTER)
    assert_goes_to(response, AFTER)


def test_a_post_from_another_site_arrives_without_cookies_and_still_logs_out(
    application: Application, browser: Client
) -> None:
    """Why a POST is turned into a GET: SameSite=Lax cookies come with a top-level GET only."""
    get_cookie(browser)
    hint = id_token_of(browser)
    cookieless = Client(HTTP_HOST="localhost:8000")
    data = urlencode({"id_token_hint": hint, "post_logout_redirect_uri": AFTER, "state": "s"})
    with nothing_changes():
        response = cookieless.post(END_SESSION, data, content_type="application/x-www-form-urlencoded")
    assert response.status_code == 303
    assert urlsplit(response["Location"]).path == END_SESSION
    browser.cookies.pop("same_site_strict")
    response = browser.get(response["Location"])
    assert_goes_to(response, f"{AFTER}?state=s")
    assert_logged_out(browser, response)


def test_over_https_the_prefixed_cookie_goes_with_secure(application: Application, browser: Client) -> None:
    get_cookie(browser, secure=True)
    response = browser.get(END_SESSION, {"post_logout_redirect_uri": AFTER}, secure=True)
    assert_goes_to(response, AFTER)
    assert_logged_out(browser, response, SECURE_COOKIE)
    assert response.cookies[SECURE_COOKIE]["secure"] is True
    assert not response.cookies[SECURE_COOKIE]["domain"]


def test_a_bearer_session_is_not_ended_here(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    with nothing_changes():
        response = browser.get(END_SESSION, {"post_logout_redirect_uri": AFTER}, **bearer(tokens["access_token"]))
    assert_goes_to(response, AFTER)
    assert userinfo(browser, tokens["access_token"]).status_code == 200


def test_after_logging_out_the_old_cookie_is_worth_nothing(application: Application, browser: Client) -> None:
    old = get_cookie(browser)
    navigate(browser)
    browser.cookies[COOKIE] = old
    assert userinfo(browser).status_code == 401


def test_other_sessions_go_on(application: Application, browser: Client, stranger: Client) -> None:
    get_cookie(browser)
    get_cookie(stranger)
    navigate(browser)
    assert userinfo(stranger).status_code == 200


# --- where it leads -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("registered", "state", "goes_to"),
    [
        (AFTER, "abc", f"{AFTER}?state=abc"),
        (AFTER, "a b&c=d#e/ü", f"{AFTER}?state=a%20b%26c%3Dd%23e%2F%C3%BC"),
        (AFTER, "x\r\nSet-Cookie: a=b", f"{AFTER}?state=x%0D%0ASet-Cookie%3A%20a%3Db"),
        (f"{AFTER}?keep=1", "abc", f"{AFTER}?keep=1&state=abc"),
        (f"{AFTER}?keep=1", "", f"{AFTER}?keep=1"),
        ("com.example.app://host/path", "abc", "com.example.app://host/path?state=abc"),
        ("com.example.app:/path", "", "com.example.app:/path"),
    ],
)
def test_state_comes_back(application: Application, browser: Client, registered: str, state: str, goes_to: str) -> None:
    configure(application, post_logout_redirect_uris=["https://first.example/x", registered])
    parameters = {"post_logout_redirect_uri": registered} | ({"state": state} if state else {})
    assert_goes_to(navigate(browser, **parameters), goes_to)
    get_cookie(browser)
    assert_goes_to(navigate(browser, **parameters), goes_to)


def test_any_application_of_the_project_may_have_registered_it(application: Application, browser: Client) -> None:
    make_application(application.project, "other", post_logout_redirect_uris=["https://other.example/bye"])
    assert_goes_to(navigate(browser, post_logout_redirect_uri="https://other.example/bye"), "https://other.example/bye")


UNREGISTERED = [
    "",
    "https://evil.example/",
    f"{AFTER}/",
    f"{AFTER}?x=1",
    f"{AFTER}#x",
    AFTER[:-1],
    AFTER.upper(),
    f"{APP_ORIGIN}/after-login",
    "//evil.example",
    "/\\evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    f"{AFTER}\r\nSet-Cookie: a=b",
    f"{AFTER}\0",
    f" {AFTER}",
    f"https://localhost:9000@evil.example/{AFTER}",
    "☃",
]


@pytest.mark.spec("RFC 9700", "2.1")
@pytest.mark.parametrize("uri", UNREGISTERED)
@pytest.mark.parametrize("signed_in", [True, False])
def test_an_unregistered_uri_leads_to_a_page_of_ours(
    application: Application, browser: Client, uri: str, signed_in: bool
) -> None:
    if signed_in:
        get_cookie(browser)
    response = navigate(browser, post_logout_redirect_uri=uri, state="s")
    assert_goes_to(response, "/logged-out")
    assert browser.get("/logged-out").status_code == 200
    if signed_in:
        assert_logged_out(browser, response)


def test_without_parameters_it_leads_to_a_page_of_ours(application: Application, browser: Client) -> None:
    assert_goes_to(navigate(browser), "/logged-out")


def test_the_uri_of_another_project_is_not_registered_here(
    project_a: Project, project_b: Project, visit: Callable[..., Client]
) -> None:
    configure(project_a.applications.get(client_id="web"), post_logout_redirect_uris=["https://a.example/bye"])
    asked = {"post_logout_redirect_uri": "https://a.example/bye"}
    assert_goes_to(visit("a.localhost").get(END_SESSION, asked), "https://a.example/bye")
    assert_goes_to(visit("b.localhost").get(END_SESSION, asked), "/logged-out")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"\xff", "application/x-www-form-urlencoded"),
        (b"state=%00&state=1", "application/x-www-form-urlencoded"),
        (b"state=%FF", "application/x-www-form-urlencoded"),
        (b"state=1", "application/x-www-form-urlencoded; charset=iso-8859-1"),
        (b"{}", "application/json"),
        (b"x", "multipart/form-data; boundary=x"),
        (b"x", "multipart/form-data"),
        (urlencode([(f"f{n}", "1") for n in range(20_000)]).encode(), "application/x-www-form-urlencoded"),
    ],
)
def test_a_form_that_cannot_be_read_logs_nobody_out(
    application: Application, browser: Client, body: bytes, content_type: str
) -> None:
    get_cookie(browser)
    with nothing_changes():
        response = browser.post(END_SESSION, body, content_type=content_type)
    assert 400 <= response.status_code < 500
    assert not response.cookies
    assert_still_signed_in(browser)


@pytest.mark.parametrize("query", ["?state=%00", "?state=%FF", "?state=%ED%A0%80", "?%00=1", "?id_token_hint=%00"])
def test_a_strange_query_is_no_server_error(application: Application, browser: Client, query: str) -> None:
    get_cookie(browser)
    assert browser.get(END_SESSION + query).status_code in (302, 303, 400)


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_other_methods_log_nobody_out(application: Application, browser: Client, method: str) -> None:
    get_cookie(browser)
    with nothing_changes():
        response: Any = getattr(browser, method)(END_SESSION)
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


@pytest.mark.spec("RFC 9110", "9.2.1")
def test_head_logs_nobody_out(application: Application, browser: Client) -> None:
    """A link checker or a prefetch is no wish."""
    get_cookie(browser)
    with nothing_changes():
        browser.head(END_SESSION)
    assert_still_signed_in(browser)
