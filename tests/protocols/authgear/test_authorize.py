"""GET|POST /oauth2/authorize: what is checked before anything else, in which order, and where the answer goes."""

from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import pytest
from django.db import OperationalError, connection
from django.test import Client

from anonusers.models import Application, Project
from tests.conftest import APP_ORIGIN, ORIGIN, make_application
from tests.protocols.authgear.conftest import HOST_A, HOST_B
from tests.protocols.authgear.steps import (
    AUTHORIZE,
    CHALLENGE,
    FORM,
    FULL_ACCESS,
    REDIRECT_URI,
    SCOPE,
    VERIFIER,
    assert_page,
    assert_private,
    assert_refused,
    authorization,
    authorize,
    configure,
    flow_of,
    get_cookie,
    login_hint,
    nothing_changes,
    post,
    post_form,
    redirected,
    without_code,
)

pytestmark = [pytest.mark.django_db, pytest.mark.spec("authgear.md", "1.5")]


@pytest.fixture(params=["GET", "POST"])
def ask(request: pytest.FixtureRequest, browser: Client) -> Iterator[Callable[[dict[str, str]], Any]]:
    """Both methods are the same question (OpenID Connect Core §3.1.2.1)."""

    def ask(parameters: dict[str, str]) -> Any:
        if request.param == "GET":
            return browser.get(AUTHORIZE, parameters)
        return post_form(browser, AUTHORIZE, parameters)

    return ask


Ask = Callable[[dict[str, str]], Any]


# --- 1 and 2: without a known client and redirect URI nobody is sent anywhere ---------------------

CLIENTS: dict[str, str | None] = {
    "none": None,
    "empty": "",
    "unknown": "nobody",
    "another case": "WEB",
    "a blank more": "web ",
    "another project's": "only-in-a",
    "quote": "we'b",
    "unicode": "wéb",
    "full-width": "ｗｅｂ",
    "very long": "w" * 3000,
    "machine": "machine",
}


@pytest.mark.parametrize("client_id", CLIENTS.values(), ids=CLIENTS)
def test_an_unknown_client_gets_a_page(
    application: Application, project_a: Project, ask: Ask, client_id: str | None
) -> None:
    make_application(application.project, "machine", type="m2m")
    with nothing_changes():
        assert_page(ask(authorization(client_id=client_id)))


NOT_ITS_OWN: dict[str, str] = {
    "another host": "http://evil.example/after-login",
    "another path": f"{APP_ORIGIN}/after-logout",
    "a longer path": f"{REDIRECT_URI}/more",
    "a slash more": f"{REDIRECT_URI}/",
    "dots": f"{APP_ORIGIN}/x/../after-login",
    "a query more": f"{REDIRECT_URI}?next=evil",
    "an empty query": f"{REDIRECT_URI}?",
    "a fragment": f"{REDIRECT_URI}#evil",
    "an empty fragment": f"{REDIRECT_URI}#",
    "another scheme": REDIRECT_URI.replace("http:", "https:"),
    "an upper-case scheme": REDIRECT_URI.replace("http:", "HTTP:"),
    "an upper-case host": REDIRECT_URI.replace("localhost", "LOCALHOST"),
    "an upper-case path": REDIRECT_URI.replace("after", "After"),
    "another port": REDIRECT_URI.replace("9000", "9001"),
    "no port": REDIRECT_URI.replace(":9000", ""),
    "a padded port": REDIRECT_URI.replace("9000", "09000"),
    "a user": REDIRECT_URI.replace("//", "//user@"),
    "the host as user": "http://localhost:9000@evil.example/after-login",
    "the host as user and password": "http://localhost:9000%40evil.example/after-login",
    "a backslash": "http://localhost:9000\\@evil.example/after-login",
    "backslashes": "http:\\\\evil.example/after-login",
    "scheme-relative": "//evil.example/after-login",
    "three slashes": "http:///evil.example/after-login",
    "a longer host": "http://localhost:9000.evil.example/after-login",
    "a host before it": "http://evil.localhost:9000/after-login",
    "a dot after it": "http://localhost.:9000/after-login",
    "a loopback address": "http://127.0.0.1:9000/after-login",
    "the same by another name": "http://[::1]:9000/after-login",
    "a full-width dot": "http://localhost．evil.example:9000/after-login",
    "an ideographic dot": "http://localhost。evil.example/after-login",
    "a Cyrillic o": "http://lоcalhost:9000/after-login",
    "escaped": "http://localhost:9000/%61fter-login",
    "escaped twice": "http%3A%2F%2Flocalhost%3A9000%2Fafter-login",
    "a line break": f"{REDIRECT_URI}\r\nSet-Cookie: evil=1",
    "a line break before": f"\n{REDIRECT_URI}",
    "a tab": "http://local\thost:9000/after-login",
    "a blank before": f" {REDIRECT_URI}",
    "a blank after": f"{REDIRECT_URI} ",
    "NUL": f"{REDIRECT_URI}\0",
    "NUL before another host": f"{REDIRECT_URI}\0.evil.example",
    "two": f"{REDIRECT_URI} http://evil.example/",
    "two by comma": f"{REDIRECT_URI},http://evil.example/",
    "javascript": "javascript:alert(1)",
    "javascript with the URI": f"javascript://localhost:9000/after-login%0aalert(1)//{REDIRECT_URI}",
    "data": "data:text/html,<script>alert(1)</script>",
    "a path": "/after-login",
    "a word": "evil",
    "our own page": f"{ORIGIN}/promote",
    "our own origin": ORIGIN,
    "a star": "*",
    "a wildcard": f"{APP_ORIGIN}/*",
    "very long": f"{REDIRECT_URI}?{'x' * 3000}",
    "a list": f'["{REDIRECT_URI}"]',
    "bad brackets": "http://[evil/after-login",
    "a bad port": "http://localhost:port/after-login",
}


@pytest.mark.spec("RFC 9700", "2.1")
@pytest.mark.parametrize("uri", NOT_ITS_OWN.values(), ids=NOT_ITS_OWN)
@pytest.mark.parametrize("broken", [{}, {"response_type": "token"}, {"scope": "nonsense"}], ids=str)
def test_an_address_that_is_not_the_clients_own_gets_a_page_in_no_error_path_a_redirect(
    application: Application, ask: Ask, uri: str, broken: dict[str, str]
) -> None:
    """E1, E2, E3."""
    with nothing_changes():
        text = assert_page(ask(authorization(redirect_uri=uri, **broken)))
    assert "<script>" not in text
    assert 'href="http://evil' not in text


@pytest.mark.parametrize("type", ["spa", "traditional_webapp", ""])
def test_the_port_varies_for_native_applications_only(application: Application, browser: Client, type: str) -> None:
    configure(application, type=type)
    assert_page(authorize(browser, authorization(redirect_uri=REDIRECT_URI.replace("9000", "9001"))))


@pytest.mark.spec("RFC 8252", "7.3")
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
@pytest.mark.parametrize("registered_port", ["", ":1234"])
def test_a_native_application_listens_where_it_can(
    application: Application, browser: Client, host: str, registered_port: str
) -> None:
    configure(application, type="native", redirect_uris=[f"http://{host}{registered_port}/cb?x=1"])
    for port in ("", ":1", ":51004", ":65535"):
        uri = f"http://{host}{port}/cb?x=1"
        response = authorize(browser, authorization(redirect_uri=uri, prompt="none"))
        assert response.status_code == 303, response.content
        assert response.headers["Location"].startswith(f"{uri}&error=login_required&")
    for uri in (
        f"http://{host}:51004/cb",
        f"http://{host}:51004/cb?x=2",
        f"http://{host}:51004/cb?x=1#f",
        f"https://{host}:51004/cb?x=1",
        f"http://{host}:51004/CB?x=1",
        f"http://{host}:510040/cb?x=1",
        f"http://{host}:/cb?x=1",
        f"http://{host}:51004@evil.example/cb?x=1",
        f"http://{host}.evil.example:51004/cb?x=1",
        f"http://{host}:５１００４/cb?x=1",
    ):
        assert_page(authorize(browser, authorization(redirect_uri=uri)))


def test_loopback_names_do_not_stand_for_each_other(application: Application, browser: Client) -> None:
    configure(application, type="native", redirect_uris=["http://127.0.0.1/cb"])
    for host in ("localhost", "[::1]", "127.0.0.2", "0.0.0.0", "127.1"):
        assert_page(authorize(browser, authorization(redirect_uri=f"http://{host}:51004/cb")))


@pytest.mark.parametrize("scheme", ["javascript", "JavaScript", "data", "vbscript", "file", "blob", "about"])
def test_a_dangerous_scheme_is_refused_even_if_it_is_registered(
    application: Application, browser: Client, scheme: str
) -> None:
    """E5. Validation refuses it; a row that got past validation must not do harm either."""
    uri = f"{scheme}:alert(1)"
    configure(application, redirect_uris=[uri])
    assert_page(authorize(browser, authorization(redirect_uri=uri)))
    assert_page(authorize(browser, authorization(redirect_uri=None)))


@pytest.mark.parametrize(
    "uri", ["com.example.app:/cb", "com.example.app://cb", "myapp:///cb", "myapp://host/cb?x=a%20b&y"]
)
def test_a_scheme_of_its_own_is_left_as_it_is(application: Application, browser: Client, uri: str) -> None:
    configure(application, type="native", redirect_uris=[uri])
    response = authorize(browser, authorization(redirect_uri=uri, prompt="none"))
    joint = "&" if "?" in uri else "?"
    assert response.status_code == 303
    assert response.headers["Location"].startswith(f"{uri}{joint}error=login_required&")


@pytest.mark.spec("RFC 6749", "3.1.2.3")
def test_the_only_redirect_uri_may_be_left_out(application: Application, ask: Ask) -> None:
    assert_refused(ask(authorization(redirect_uri=None, prompt="none")), "login_required")
    assert_refused(ask(authorization(redirect_uri="", prompt="none")), "login_required")
    for uris in ([], [REDIRECT_URI, f"{APP_ORIGIN}/other"]):
        configure(application, redirect_uris=uris)
        assert_page(ask(authorization(redirect_uri=None)))


def test_a_client_of_another_host_is_unknown_here(
    project_a: Project, project_b: Project, visit: Callable[..., Client]
) -> None:
    assert_page(authorize(visit(HOST_B), authorization(client_id="only-in-a")))
    response = authorize(visit(HOST_A), authorization(client_id="only-in-a", prompt="none"))
    assert f"iss={HOST_A.replace(':', '%3A')}" in response.headers["Location"].replace("http%3A%2F%2F", "")
    assert_page(authorize(visit("nobody.example.localhost")))


# --- 3 to 8: told to the client -------------------------------------------------------------------

IMPLICIT = (
    "token", "id_token", "code token", "code id_token", "code id_token token", "none code", "code code", "CODE",
    " code",
    "urn:authgear:params:oauth:response-type:settings-action",
    "urn:authgear:params:oauth:response-type:pre-authenticated-url token", "é", "x" * 2000,
)  # fmt: skip


@pytest.mark.parametrize("response_type", IMPLICIT)
def test_other_response_types_are_refused(application: Application, ask: Ask, response_type: str) -> None:
    """E13: no tokens in the front channel."""
    description = "response type is not allowed for this client"
    with nothing_changes():
        response = ask(authorization(response_type=response_type))
        assert_refused(response, "unsupported_response_type", description)


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no response type": ({"response_type": None}, "invalid_request", "response_type is required"),
    "an empty response type": ({"response_type": ""}, "invalid_request", "response_type is required"),
    "fragment": ({"response_mode": "fragment"}, "invalid_request", "response mode is not supported"),
    "form_post": ({"response_mode": "form_post"}, "invalid_request", "response mode is not supported"),
    "prompt none and login": ({"prompt": "none login"}, "invalid_request", "prompt none cannot be combined"),
    "prompt login and none": ({"prompt": "login none"}, "invalid_request", "prompt none cannot be combined"),
    "prompt none and max_age": (
        {"prompt": "none", "max_age": "9"},
        "invalid_request",
        "prompt none cannot be combined",
    ),
    "no scope": ({"scope": None}, "invalid_request", "scope is required"),
    "an empty scope": ({"scope": ""}, "invalid_request", "scope is required"),
    "a blank scope": ({"scope": "   "}, "invalid_request", "scope is required"),
    "no PKCE": (
        {"code_challenge": None, "code_challenge_method": None},
        "invalid_request",
        "PKCE code challenge is required",
    ),
    "a method without challenge": ({"code_challenge": None}, "invalid_request", "PKCE code challenge is required"),
    "an empty challenge": ({"code_challenge": ""}, "invalid_request", "PKCE code challenge is required"),
    "plain": (
        {"code_challenge_method": "plain", "code_challenge": VERIFIER},
        "invalid_request",
        "only S256 PKCE code challenge method is supported",
    ),
    "no method, which means plain": (
        {"code_challenge_method": None},
        "invalid_request",
        "only S256 PKCE code challenge method is supported",
    ),
    "another spelling": (
        {"code_challenge_method": "s256"},
        "invalid_request",
        "only S256 PKCE code challenge method is supported",
    ),
    **{
        f"a challenge that is {what}": (
            {"code_challenge": challenge},
            "invalid_request",
            "PKCE code challenge is not valid",
        )
        for what, challenge in {
            "short": CHALLENGE[:-1],
            "long": CHALLENGE + "A",
            "padded": CHALLENGE + "=",
            "of the other alphabet": CHALLENGE[:-1] + "+",
            "with a line break": CHALLENGE + "\n",
            "not ASCII": CHALLENGE[:-1] + "é",
            "of other digits": CHALLENGE[:-1] + "٣",
        }.items()
    },
    "an unknown scope": (
        {"scope": f"{SCOPE} admin"},
        "invalid_scope",
        "the scope is not known, or openid is missing",
    ),
    "no openid": ({"scope": FULL_ACCESS}, "invalid_scope", "the scope is not known, or openid is missing"),
    "another case": ({"scope": "OpenID"}, "invalid_scope", "the scope is not known, or openid is missing"),
    "a tab between": ({"scope": "openid\temail"}, "invalid_scope", "the scope is not known, or openid is missing"),
    "a quote": ({"scope": 'openid "'}, "invalid_scope", "the scope is not known, or openid is missing"),
    "a word as max_age": ({"max_age": "soon"}, "invalid_request", "max_age is not a number"),
    "a negative max_age": ({"max_age": "-1"}, "invalid_request", "max_age is not a number"),
    "a fraction": ({"max_age": "1.5"}, "invalid_request", "max_age is not a number"),
    "other digits": ({"max_age": "٣"}, "invalid_request", "max_age is not a number"),
    "a huge max_age": ({"max_age": "9" * 400}, "invalid_request", "max_age is not a number"),
    "request": ({"request": "e30.e30."}, "request_not_supported", "request is not supported"),
    "request_uri": (
        {"request_uri": "https://evil.example/r"},
        "request_uri_not_supported",
        "request_uri is not supported",
    ),
}


@pytest.mark.parametrize(("changes", "error", "description"), REFUSED.values(), ids=REFUSED)
def test_the_client_is_told_what_is_wrong(
    application: Application, ask: Ask, changes: dict[str, Any], error: str, description: str
) -> None:
    with nothing_changes():
        assert_refused(ask(authorization(**changes)), error, description)


@pytest.mark.spec("RFC 9700", "2.1.1")
@pytest.mark.parametrize("changes", [c for name, (c, _, _) in REFUSED.items() if "challenge" in str(c)], ids=str)
def test_with_a_live_session_too_no_code_comes_without_good_pkce(
    application: Application, browser: Client, changes: dict[str, Any]
) -> None:
    get_cookie(browser)
    with nothing_changes():
        assert_refused(authorize(browser, authorization(prompt="none", **changes)), "invalid_request")


def test_response_type_none_needs_no_pkce_but_takes_none_that_is_bad(application: Application, browser: Client) -> None:
    get_cookie(browser)
    assert redirected(authorize(browser, without_code(prompt="none"))) == {"state": "s-1"}
    good = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    assert redirected(authorize(browser, without_code(prompt="none", **good))) == {"state": "s-1"}
    for bad in ({"code_challenge_method": "plain"}, {"code_challenge": "x"}):
        assert_refused(authorize(browser, without_code(prompt="none", **(good | bad))), "invalid_request")


ORDER: list[tuple[dict[str, Any], str]] = [
    ({"request_uri": "https://evil.example"}, "request_uri_not_supported"),
    ({"response_type": "token"}, "unsupported_response_type"),
    ({"response_mode": "fragment"}, "invalid_request"),
    ({"prompt": "none login"}, "invalid_request"),
    ({"scope": " "}, "invalid_request"),
    ({"code_challenge_method": "plain"}, "invalid_request"),
    ({"x_sso_enabled": "true"}, "invalid_request"),
    ({"scope": "nonsense"}, "invalid_scope"),
    ({"login_hint": "https://authgear.com/login_hint?type=x"}, "invalid_request"),
]


def test_the_first_check_that_fails_is_the_one_that_is_told(application: Application, browser: Client) -> None:
    configure(application, max_concurrent_sessions=1)
    descriptions = []
    for first in range(len(ORDER)):
        changes = {}
        for change, _error in reversed(ORDER[first:]):
            changes.update(change)
        told = redirected(authorize(browser, authorization(**changes)))
        assert told["error"] == ORDER[first][1], ORDER[first]
        descriptions.append(told["error_description"])
    assert len(set(descriptions)) == len(ORDER)


def test_where_one_session_is_allowed_single_sign_on_is_not(application: Application, ask: Ask) -> None:
    configure(application, max_concurrent_sessions=1)
    description = "SSO is not possible where only one session is allowed"
    assert_refused(ask(authorization(x_sso_enabled="true")), "invalid_request", description)
    assert_refused(ask(without_code()), "invalid_request", description)
    assert_refused(ask(authorization(x_sso_enabled="false", prompt="none")), "login_required")


@pytest.mark.parametrize("type", ["confidential", "third_party_app"])
def test_an_application_with_a_secret_gets_no_codes_that_it_could_not_use(
    application: Application, ask: Ask, type: str
) -> None:
    configure(application, type=type)
    assert_refused(ask(authorization(scope="openid")), "unauthorized_client")
    for scope in (SCOPE, "openid offline_access", "openid device_sso"):
        assert_refused(ask(without_code(scope=scope)), "invalid_scope", "this application cannot have full access")


@pytest.mark.parametrize(
    "scope",
    [
        "openid",
        "openid profile email phone address",
        f"{FULL_ACCESS} openid",
        "  openid   email ",
        "openid openid openid",
        f"openid device_sso {FULL_ACCESS} https://authgear.com/scopes/pre-authenticated-url",
        "openid " * 400,
    ],
)
def test_known_scopes_in_any_order_are_fine(application: Application, ask: Ask, scope: str) -> None:
    assert_refused(ask(authorization(scope=scope, prompt="none")), "login_required")


UNKNOWN = {
    "display": "popup", "ui_locales": "de en", "claims_locales": "se", "acr_values": "1 2", "nonce": "n",
    "x_state": "opaque", "x_color_scheme": "dark", "x_platform": "ios", "x_page": "signup", "dpop_jkt": "x",
    "x_wechat_redirect_uri": "https://x", "x_oauth_provider_alias": "google", "claims": '{"userinfo":{}}',
    "audience": "x", "resource": "https://x", "flow": "mine", "extra": "é\u2028", "": "x",
}  # fmt: skip


def test_unknown_parameters_are_ignored(application: Application, ask: Ask) -> None:
    assert_refused(ask(authorization(prompt="none", **UNKNOWN)), "login_required")
    assert flow_of(ask(authorization(**UNKNOWN)), "login")


@pytest.mark.parametrize(
    "name", ["login_hint", "max_age", "id_token_hint", "request", "prompt", "response_mode", "x_flow"]
)
def test_a_parameter_without_a_value_counts_as_omitted(application: Application, ask: Ask, name: str) -> None:
    assert flow_of(ask(authorization(**{name: ""})), "login")


# --- repeated, broken and endless ones ------------------------------------------------------------


@pytest.mark.spec("RFC 6749", "3.1")
@pytest.mark.parametrize("name", ["scope", "response_type", "code_challenge", "prompt", "login_hint", "x", "nonce"])
def test_a_repeated_parameter_is_refused(application: Application, browser: Client, name: str) -> None:
    """D18."""
    query = urlencode([*authorization().items(), (name, authorization().get(name, "a")), (name, "b")])
    with nothing_changes():
        assert_refused(browser.get(f"{AUTHORIZE}?{query}"), "invalid_request", "a parameter is repeated")
        assert_page(post(browser, AUTHORIZE, query, FORM))


def test_of_two_states_none_is_told(application: Application, browser: Client) -> None:
    query = urlencode([*authorization().items(), ("state", "s-2")])
    assert_refused(browser.get(f"{AUTHORIZE}?{query}"), "invalid_request", "a parameter is repeated", state=None)


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
@pytest.mark.parametrize("first", [True, False])
def test_of_two_clients_or_addresses_none_is_trusted(
    application: Application, browser: Client, name: str, first: bool
) -> None:
    evil = [(name, "http://evil.example/")]
    pairs = list(authorization().items())
    query = urlencode(evil + pairs if first else pairs + evil)
    with nothing_changes():
        assert_page(browser.get(f"{AUTHORIZE}?{query}"))
        assert_page(browser.get(f"{AUTHORIZE}?{urlencode([*pairs, (name, dict(pairs)[name])])}"))
        assert_page(post(browser, AUTHORIZE, query, FORM))


@pytest.mark.parametrize("name", [*authorization(), "login_hint", "id_token_hint", "max_age", "x_flow", "nonce", "x\0"])
def test_nul_anywhere_is_a_page(application: Application, ask: Ask, name: str) -> None:
    with nothing_changes():
        assert_page(ask(authorization(**{name: "a\0b"})))


@pytest.mark.parametrize(
    "query", ["%", "%00", "\xff", "%ff%fe", "&&&", "===", "a" * 8000, "?" * 100, "client_id[]=web"]
)
def test_garbage_is_a_page(application: Application, browser: Client, query: str) -> None:
    with nothing_changes():
        assert_page(browser.get(AUTHORIZE, QUERY_STRING=query))
        assert_page(post(browser, AUTHORIZE, query.encode(), FORM))


def test_too_many_parameters_are_a_page(application: Application, browser: Client) -> None:
    query = urlencode(authorization() | {f"x{number}": "1" for number in range(2000)})
    with nothing_changes():
        assert_page(browser.get(AUTHORIZE, QUERY_STRING=query))
        assert_page(post(browser, AUTHORIZE, query, FORM))


def test_another_content_type_or_an_endless_body_is_a_page(application: Application, browser: Client) -> None:
    body = urlencode(authorization())
    with nothing_changes():
        assert_page(post(browser, AUTHORIZE, body, "application/json"))
        assert_page(browser.post(AUTHORIZE, authorization()))  # multipart
        assert_page(post(browser, AUTHORIZE, body + "&x=" + "a" * 70_000, FORM), 413)


def test_what_could_not_come_back_from_a_page_is_refused_before_it(application: Application, ask: Ask) -> None:
    with nothing_changes():
        response = ask(authorization(extra="x" * 4000))
        assert_refused(response, "invalid_request", "the request is too long")
    assert flow_of(ask(authorization(extra="x" * 3000)), "login")


def test_parameters_of_the_query_do_not_count_in_a_post(application: Application, browser: Client) -> None:
    with nothing_changes():
        assert_page(post_form(browser, f"{AUTHORIZE}?{urlencode(authorization())}", {"x": "1"}))


@pytest.mark.parametrize("method", ["head", "put", "patch", "delete"])
def test_other_methods_are_refused(application: Application, browser: Client, method: str) -> None:
    get_cookie(browser)
    with nothing_changes():
        response = getattr(browser, method)(f"{AUTHORIZE}?{urlencode(authorization(prompt='none'))}")
    assert response.status_code == 405
    assert "HEAD" not in response.headers["Allow"]


# --- what the answer looks like -------------------------------------------------------------------

STATES = [
    "x",
    "a b",
    "a+b",
    "a%20b",
    "ä☃\U0001f4a9",
    "&=#?/;",
    '"<>\\',
    "\r\n",
    "%0d%0a",
    "{}",
    "x" * 2000,
    " ",
    "\u2028",
    "null",
]


@pytest.mark.spec("RFC 6749", "4.1.2")
@pytest.mark.parametrize("state", STATES)
def test_the_state_comes_back_as_it_was(application: Application, ask: Ask, state: str) -> None:
    """E14: by `+` as by `%20`, since not everybody reads `+` as a blank."""
    response = ask(authorization(state=state, prompt="none"))
    assert redirected(response)["state"] == state
    query = urlsplit(response.headers["Location"]).query
    [raw] = [pair for pair in query.split("&") if pair.startswith("state=")]
    assert unquote(raw.removeprefix("state=")) == state


def test_without_state_there_is_none(application: Application, ask: Ask) -> None:
    assert "state" not in redirected(ask(authorization(state=None, prompt="none")))


@pytest.mark.spec("RFC 9207", "2")
def test_the_issuer_is_told_on_success_and_on_failure(application: Application, browser: Client, settings: Any) -> None:
    for told in (None, "https://auth.example.com"):
        settings.ANONUSERS_ISSUER = told
        for cookies in (False, True):
            if cookies:
                get_cookie(browser)
            location = authorize(browser, authorization(prompt="none")).headers["Location"]
            assert parse_qs(urlsplit(location).query)["iss"] == [told or ORIGIN]
        browser.cookies.clear()


def test_the_registered_query_is_kept_byte_for_byte(application: Application, browser: Client) -> None:
    uri = f"{REDIRECT_URI}?b=2&a&c=%7e+%20;d"
    configure(application, redirect_uris=[uri])
    location = authorize(browser, authorization(redirect_uri=uri, prompt="none")).headers["Location"]
    assert location.startswith(f"{uri}&error=login_required&")


@pytest.mark.spec("RFC 9700", "2.6")
@pytest.mark.parametrize("origin", [APP_ORIGIN, ORIGIN, "null", "https://evil.example"])
def test_no_script_may_read_what_passes_here(application: Application, browser: Client, origin: str) -> None:
    """E23."""
    get_cookie(browser)
    responses = [
        authorize(browser, authorization(prompt="none"), HTTP_ORIGIN=origin),
        authorize(browser, authorization(prompt="login"), HTTP_ORIGIN=origin),
        authorize(browser, authorization(client_id="nobody"), HTTP_ORIGIN=origin),
        browser.options(AUTHORIZE, HTTP_ORIGIN=origin, HTTP_ACCESS_CONTROL_REQUEST_METHOD="GET"),
    ]
    for response in responses:
        assert_private(response)
    assert responses[-1].status_code == 200


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}}", "javascript:x"]
)
def test_pages_show_nothing_of_what_was_sent(application: Application, browser: Client, text: str) -> None:
    """E21."""
    for changes in ({"client_id": text}, {"redirect_uri": text}, {"client_id": "x", "state": text}):
        assert text not in assert_page(authorize(browser, authorization(**changes)))
    hint = login_hint("anonymous", promotion_code=text)
    page = assert_page(authorize(browser, authorization(login_hint=hint, state=text)))
    assert text not in page


@pytest.mark.spec("RFC 9700", "4.12")
def test_a_post_from_another_site_comes_again_by_get(application: Application, browser: Client) -> None:
    """A cross-site POST comes without SameSite=Lax cookies: the browser's Django session would be replaced."""
    for headers in (
        {"HTTP_SEC_FETCH_SITE": "cross-site"},
        {"HTTP_ORIGIN": "https://elsewhere.example"},
        {"HTTP_ORIGIN": "null"},
    ):
        with nothing_changes():
            response = post_form(browser, AUTHORIZE, authorization(state="ä b"), **headers)
        assert response.status_code == 303
        assert not response.cookies
        assert_private(response)
        path, _, query = response.headers["Location"].partition("?")
        assert path == AUTHORIZE
        assert dict(parse_qs(query)) == {name: [value] for name, value in authorization(state="ä b").items()}
    for headers in (
        {"HTTP_SEC_FETCH_SITE": "same-origin"},
        {"HTTP_SEC_FETCH_SITE": "same-site"},
        {"HTTP_ORIGIN": ORIGIN},
    ):
        assert flow_of(post_form(browser, AUTHORIZE, authorization(), **headers), "login")


def test_an_outage_is_a_page_that_says_so(application: Application, browser: Client) -> None:
    def away(*args: Any) -> Any:
        raise OperationalError("gone")

    with connection.execute_wrapper(away):
        response = authorize(browser)
    assert_page(response, 503)
    assert response.headers["Retry-After"]


def test_a_fault_of_ours_is_a_page_that_tells_no_secrets(application: Application, browser: Client) -> None:
    with patch("anonusers.protocols.authgear.authorize.check", side_effect=RuntimeError("the secret")):
        assert "the secret" not in assert_page(authorize(browser), 500)
