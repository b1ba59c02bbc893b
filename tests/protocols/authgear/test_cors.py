"""CORS: which page may read which answer. The exact origin is echoed, never `*` together with credentials."""

from collections.abc import Callable

import pytest
from django.http import HttpResponse
from django.test import Client

from anonusers.models import Application, Project
from tests.conftest import APP_ORIGIN, ORIGIN, make_application
from tests.protocols.authgear.steps import (
    APP_SESSION_TOKEN,
    COOKIE,
    DISCOVERY,
    END_SESSION,
    FORM,
    JSON,
    JWKS,
    PROMOTION_CODE,
    RESOLVE,
    REVOKE,
    SIGNUP,
    TOKEN,
    USERINFO,
    ask_for_tokens,
    bearer,
    configure,
    get_cookie,
    get_tokens,
    nothing_changes,
    refresh,
)

pytestmark = [pytest.mark.django_db, pytest.mark.spec("authgear.md", "0.4")]

ALLOW = "Access-Control-Allow-"
LISTED = [SIGNUP, PROMOTION_CODE, APP_SESSION_TOKEN, TOKEN, USERINFO, REVOKE, END_SESSION, RESOLVE]
PUBLIC = [DISCOVERY, "/.well-known/oauth-authorization-server", JWKS]
# Paths that do not exist (yet): a preflight must not be what tells.
UNKNOWN = ["/oauth2/challenge", "/oauth2/nothing", "/api/anonymous_user/nothing", "/.well-known/x"]


def vary(response: HttpResponse) -> set[str]:
    return {name.strip().lower() for name in response.headers.get("Vary", "").split(",")}


def cors(response: HttpResponse) -> dict[str, str]:
    prefix = "Access-Control-"
    return {name: value for name, value in response.headers.items() if name.startswith(prefix)}


def assert_readable(response: HttpResponse, origin: str) -> None:
    assert response.headers[f"{ALLOW}Origin"] == origin
    assert response.headers[f"{ALLOW}Credentials"] == "true"
    assert "origin" in vary(response)


def assert_unreadable(response: HttpResponse) -> None:
    assert cors(response) == {}
    assert "origin" in vary(response)


def preflight(client: Client, path: str, origin: str, method: str = "POST") -> HttpResponse:
    return client.options(
        path,
        HTTP_ORIGIN=origin,
        HTTP_ACCESS_CONTROL_REQUEST_METHOD=method,
        HTTP_ACCESS_CONTROL_REQUEST_HEADERS="authorization,content-type",
    )


# --- preflights -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", LISTED + UNKNOWN)
def test_a_preflight_of_a_listed_origin_echoes_what_it_asks(
    application: Application, browser: Client, path: str
) -> None:
    with nothing_changes():
        response = preflight(browser, path, APP_ORIGIN)
    assert (response.status_code, response.content) == (200, b"")
    assert_readable(response, APP_ORIGIN)
    assert response.headers[f"{ALLOW}Methods"] == "POST"
    assert response.headers[f"{ALLOW}Headers"] == "authorization,content-type"
    assert response.headers["Access-Control-Max-Age"] == "900"
    assert {"origin", "access-control-request-method", "access-control-request-headers"} <= vary(response)
    assert not response.cookies


@pytest.mark.parametrize("path", LISTED + UNKNOWN)
def test_a_preflight_of_a_stranger_is_answered_and_allows_nothing(
    application: Application, browser: Client, path: str
) -> None:
    with nothing_changes():
        response = preflight(browser, path, "https://evil.example")
    assert (response.status_code, response.content) == (200, b"")
    assert_unreadable(response)


@pytest.mark.parametrize("path", PUBLIC)
def test_public_documents_are_open_to_every_preflight(application: Application, browser: Client, path: str) -> None:
    response = preflight(browser, path, "https://anywhere.example", "GET")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers[f"{ALLOW}Origin"] == "*"
    assert f"{ALLOW}Credentials" not in response.headers
    assert response.headers["Access-Control-Max-Age"] == "900"
    assert "GET" in response.headers[f"{ALLOW}Methods"]


@pytest.mark.parametrize("path", LISTED + PUBLIC + UNKNOWN)
def test_options_without_origin_is_answered_too(application: Application, browser: Client, path: str) -> None:
    with nothing_changes():
        response = browser.options(path)
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize("path", LISTED)
def test_a_preflight_needs_no_project_and_no_credentials(
    project_a: Project, visit: Callable[..., Client], path: str
) -> None:
    response = preflight(visit("nobody.localhost"), path, APP_ORIGIN)
    assert (response.status_code, response.content) == (200, b"")
    assert_unreadable(response)


def test_a_preflight_with_a_live_cookie_touches_nothing(application: Application, browser: Client) -> None:
    get_cookie(browser)
    with nothing_changes():
        response = preflight(browser, SIGNUP, APP_ORIGIN)
    assert not response.cookies
    assert browser.cookies[COOKIE].value


@pytest.mark.parametrize("value", ["x\r\nSet-Cookie: a=b", "x\x00", "é"])
def test_a_strange_preflight_header_is_not_echoed(application: Application, browser: Client, value: str) -> None:
    response = browser.options(
        SIGNUP,
        HTTP_ORIGIN=APP_ORIGIN,
        HTTP_ACCESS_CONTROL_REQUEST_METHOD=value,
        HTTP_ACCESS_CONTROL_REQUEST_HEADERS=value,
    )
    assert response.status_code == 200
    assert f"{ALLOW}Methods" not in response.headers
    assert f"{ALLOW}Headers" not in response.headers


# --- who is listed --------------------------------------------------------------------------------


def test_the_lists_are_joined(project: Project, browser: Client) -> None:
    configure(project, allowed_origins=["https://blog.example"])
    make_application(project, "one", redirect_uris=["https://one.example/a?b", "http://127.0.0.1:5000/x"])
    make_application(project, "two", redirect_uris=["capacitor://localhost", "https://two.example:8443/x"])
    make_application(project, "app", redirect_uris=["com.example.app://host/x"], type="native")
    listed = ["https://blog.example", "https://one.example", "http://127.0.0.1:5000", "capacitor://localhost"]
    for origin in [*listed, "https://two.example:8443", ORIGIN]:
        assert_readable(browser.get(USERINFO, HTTP_ORIGIN=origin), origin)
    for origin in ("com.example.app://host", "https://two.example", "http://one.example", "ionic://localhost"):
        assert_unreadable(browser.get(USERINFO, HTTP_ORIGIN=origin))


def test_a_change_of_the_redirect_uris_acts_at_once(application: Application, browser: Client) -> None:
    assert_readable(browser.get(USERINFO, HTTP_ORIGIN=APP_ORIGIN), APP_ORIGIN)
    configure(application, redirect_uris=["https://new.example/"])
    assert_unreadable(browser.get(USERINFO, HTTP_ORIGIN=APP_ORIGIN))
    assert_readable(browser.get(USERINFO, HTTP_ORIGIN="https://new.example"), "https://new.example")


def test_the_origins_of_another_project_are_strangers(
    project_a: Project, project_b: Project, visit: Callable[..., Client]
) -> None:
    configure(project_a.applications.get(client_id="web"), redirect_uris=["https://a.example/"])
    assert_readable(visit("a.localhost").get(USERINFO, HTTP_ORIGIN="https://a.example"), "https://a.example")
    assert_unreadable(visit("b.localhost").get(USERINFO, HTTP_ORIGIN="https://a.example"))
    assert_unreadable(visit("b.localhost").get(USERINFO, HTTP_ORIGIN="http://a.localhost"))


LOOKALIKES = [
    "null",
    "",
    "*",
    "http://localhost",
    "http://localhost:90000",
    "http://localhost:900",
    "http://localhost:9001",
    "https://localhost:9000",
    "http://localhost:9000/",
    "http://localhost:9000.evil.example",
    "http://localhost:9000@evil.example",
    "http://evil.localhost:9000",
    "http://evillocalhost:9000",
    "http://localhost.evil.example:9000",
    "http://LOCALHOST:9000",
    "HTTP://localhost:9000",
    "//localhost:9000",
    "localhost:9000",
    " http://localhost:9000",
    "http://localhost:9000 ",
    "http://localhost:9000, http://evil.example",
    "http://localhost:9000 http://evil.example",
    "http://localhost:9000\x00",
    "http://localhost:9000\t",
    "http://127.0.0.1:9000",
    "http://[::1]:9000",
    "http://localhost:8001",
    "https://localhost:8000",
    "☃",
]


@pytest.mark.parametrize("origin", LOOKALIKES)
def test_a_look_alike_is_a_stranger(application: Application, browser: Client, origin: str) -> None:
    get_cookie(browser)
    response = browser.get(USERINFO, HTTP_ORIGIN=origin)
    assert response.status_code == 200, "the request is processed, but no page may read the answer"
    assert_unreadable(response)
    assert_unreadable(preflight(browser, SIGNUP, origin))


# --- what may be read -----------------------------------------------------------------------------


def test_answers_and_errors_are_readable_alike(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    page = {"HTTP_ORIGIN": APP_ORIGIN}
    answers = {
        200: [
            ask_for_tokens(browser, **page),
            browser.get(USERINFO, **page, **bearer(tokens["access_token"])),
            browser.post(REVOKE, "token=x", content_type=FORM, **page),
            browser.get(RESOLVE, **page),
        ],
        400: [
            browser.post(SIGNUP, "{", content_type=JSON, **page),
            ask_for_tokens(browser, client_id="nobody", **page),
            ask_for_tokens(browser, "garbage", **page),
            browser.post(TOKEN, "grant_type=x", content_type=FORM, **page),
            browser.post(TOKEN, "grant_type=refresh_token&client_id=nobody&refresh_token=x", content_type=FORM, **page),
        ],
        401: [browser.get(USERINFO, **page)],
        404: [browser.get("/oauth2/nothing", **page), browser.post("/api/anonymous_user/nothing", **page)],
        405: [browser.get(SIGNUP, **page), browser.delete(TOKEN, **page)],
        413: [browser.post(SIGNUP, "x" * 1_048_577, content_type=JSON, **page)],
    }
    for status, responses in answers.items():
        for response in responses:
            assert response.status_code == status
            assert_readable(response, APP_ORIGIN)


def test_a_page_may_read_how_long_to_wait(application: Application, browser: Client) -> None:
    exposed = browser.get(USERINFO, HTTP_ORIGIN=APP_ORIGIN).headers["Access-Control-Expose-Headers"]
    assert "Retry-After" in exposed


@pytest.mark.spec("RFC 9110", "12.5.5")
@pytest.mark.parametrize("path", LISTED)
def test_vary_is_always_there(application: Application, browser: Client, path: str) -> None:
    for headers in ({}, {"HTTP_ORIGIN": APP_ORIGIN}, {"HTTP_ORIGIN": "https://evil.example"}):
        for response in (browser.get(path, **headers), browser.post(path, **headers)):
            assert "origin" in vary(response)


def test_a_refresh_from_a_page_is_readable(application: Application, browser: Client) -> None:
    token = get_tokens(browser)["refresh_token"]
    browser.defaults["HTTP_ORIGIN"] = APP_ORIGIN
    assert_readable(refresh(browser, token), APP_ORIGIN)


def test_without_an_origin_nothing_is_said(application: Application, browser: Client) -> None:
    assert_unreadable(browser.get(USERINFO))
