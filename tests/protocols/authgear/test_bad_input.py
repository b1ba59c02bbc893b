"""Hostile input: every refusal is exact, in the family's own dialect, and changes nothing."""

import gzip
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.http import HttpResponse
from django.test import Client

from anonusers.models import Application, Project
from tests.protocols.authgear.steps import (
    DISCOVERY,
    END_SESSION,
    FORM,
    GRANT_ID_TOKEN,
    JSON,
    JWKS,
    RESOLVE,
    REVOKE,
    SIGNUP,
    TOKEN,
    USERINFO,
    ask_for_cookie,
    assert_api_error,
    assert_oauth_error,
    get_cookie,
    get_tokens,
    nothing_changes,
    only_session,
    post_form,
    post_json,
    refresh,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]

GOOD = {"session_type": "refresh_token", "client_id": "web"}
MIB = 1_048_576


# --- signup: content types ------------------------------------------------------------------------


@pytest.mark.spec("authgear.md", "0.2")
@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "text/plain;charset=utf-8",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/vnd.api+json",
        "application/json, text/plain",
        "application/json;charset=utf-16",
        "application/json; charset=iso-8859-1",
        "application/json; charset=utf-7",
        "application/json; charset=nonsense",
        "application",
        "☃",
    ],
)
def test_another_content_type_is_refused(application: Application, browser: Client, content_type: str) -> None:
    with nothing_changes():
        for body in (GOOD, {"session_type": "cookie"}):
            response = post_json(browser, SIGNUP, body, content_type=content_type)
            assert_api_error(response, 400, "BadRequest", "BadRequest", "request content type is invalid")


@pytest.mark.spec("authgear.md", "0.2")
@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=UTF-8",
        "application/json;charset=utf-8",
        'application/json; charset="utf-8"',
        "Application/JSON",
    ],
)
def test_json_in_utf_8_is_accepted(application: Application, browser: Client, content_type: str) -> None:
    assert post_json(browser, SIGNUP, GOOD, content_type=content_type).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "gzip, gzip", "identity, gzip"])
def test_compressed_bodies_are_never_inflated(application: Application, browser: Client, encoding: str) -> None:
    bomb = gzip.compress(json.dumps(GOOD).encode() + b" " * 5_000_000)
    with nothing_changes():
        response = post_json(browser, SIGNUP, bomb, HTTP_CONTENT_ENCODING=encoding)
        assert_api_error(response, 400, "BadRequest", "BadRequest")
        response = post_form(browser, TOKEN, b"grant_type=x", HTTP_CONTENT_ENCODING=encoding)
        assert_oauth_error(response, 400, "invalid_request")


# --- signup: not JSON -----------------------------------------------------------------------------


NOT_JSON: dict[str, bytes] = {
    "empty": b"",
    "blanks": b"   ",
    "a word": b"hello",
    "a brace": b"{",
    "single quotes": b"{'session_type': 'cookie'}",
    "a trailing comma": b'{"session_type": "cookie",}',
    "a comment": b'{"session_type": "cookie"} // x',
    "two documents": b'{"session_type": "cookie"}{"session_type": "cookie"}',
    "a form": b"session_type=cookie",
    "NaN": b'{"session_type": NaN}',
    "Infinity": b'{"session_type": -Infinity}',
    "5000 digits": b'{"session_type": ' + b"9" * 5000 + b"}",
    "double key": b'{"session_type": "cookie", "session_type": "refresh_token"}',
    "double nested key": b'{"session_type": "cookie", "x": {"a": 1, "a": 2}}',
    "raw NUL": b'{"session_type": "cookie\x00"}',
    "raw line break": b'{"session_type": "coo\nkie"}',
    "bad escape": b'{"session_type": "\\x"}',
    "not UTF-8": b'{"session_type": "\xff"}',
    "overlong UTF-8": b'{"session_type": "\xc0\xaf"}',
    "UTF-8 surrogate": b'{"session_type": "\xed\xa0\x80"}',
    "UTF-16": json.dumps(GOOD).encode("utf-16"),
    "UTF-16 without mark": json.dumps(GOOD).encode("utf-16-le"),
    "UTF-32": json.dumps(GOOD).encode("utf-32"),
    "byte order mark": b"\xef\xbb\xbf" + json.dumps(GOOD).encode(),
    "escaped NUL": b'{"session_type": "refresh_token", "client_id": "web\\u0000"}',
    "escaped NUL in the token": b'{"session_type": "refresh_token", "client_id": "web", "refresh_token": "\\u0000"}',
    "escaped NUL in a key": b'{"session_type": "cookie", "\\u0000": 1}',
    "lone surrogate": b'{"session_type": "refresh_token", "client_id": "\\ud800"}',
    "lone low surrogate": b'{"session_type": "refresh_token", "client_id": "web", "refresh_token": "\\udfff"}',
    "lone surrogate in a key": b'{"session_type": "cookie", "\\ud800": 1}',
    "33 levels": b'{"session_type": ' + b"[" * 33 + b"]" * 33 + b"}",
    "1000 levels": b"[" * 1000 + b"]" * 1000,
    "100 000 levels": b"[" * 100_000 + b"]" * 100_000,
    "100 000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "100 000 open brackets": b"[" * 100_000,
}


@pytest.mark.spec("RFC 8259", "8.1")
@pytest.mark.spec("authgear.md", "0.2")
@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_json_is_refused(application: Application, browser: Client, body: bytes) -> None:
    with nothing_changes():
        error = assert_api_error(post_json(browser, SIGNUP, body), 400, "BadRequest", "InvalidJSON")
    assert isinstance(error["info"]["byte_offset"], int)


@pytest.mark.parametrize(
    ("body", "offset"),
    [(b"hello", 0), (b'{"a": x}', 6), ('{"ü": x}'.encode(), 7), (b'{"a": "\xff"}', 7), (b"", 0)],
)
def test_the_offset_counts_bytes(application: Application, browser: Client, body: bytes, offset: int) -> None:
    assert_api_error(post_json(browser, SIGNUP, body), 400, "BadRequest", "InvalidJSON", info={"byte_offset": offset})


@pytest.mark.parametrize(
    "body",
    [
        "{}" * 40 + '"' + '\\"' * 400_000,
        "{}" * 40 + '"\\\\' * 250_000,
        "[" * 40 + '"' * 1_000_000,
        "{}" * 40 + "\\" * 1_000_000,
        '{"a' * 40 + '\\"' * 450_000 + '"',
    ],
    ids=["escaped quotes without end", "backslashes", "quotes", "backslashes outside", "open strings"],
)
def test_a_body_made_to_be_slow_is_refused_quickly(application: Application, browser: Client, body: str) -> None:
    assert len(body) <= MIB
    started = time.perf_counter()
    with nothing_changes():
        assert_api_error(post_json(browser, SIGNUP, body), 400, "BadRequest", "InvalidJSON")
    assert time.perf_counter() - started < 5


# --- signup: valid JSON of another shape ----------------------------------------------------------


def causes_of(response: HttpResponse) -> list[tuple[str, str]]:
    error = assert_api_error(response, 400, "Invalid", "ValidationFailed", "invalid request body")
    causes = error["info"]["causes"]
    for cause in causes:
        assert set(cause) == {"location", "kind", "details"}
    return [(cause["location"], cause["kind"]) for cause in causes]


STRANGE_VALUES = [1, 0, -1, 1.5, 10**40, True, False, None, [], ["cookie"], {}, {"$ne": None}]
SHAPES: dict[str, tuple[Any, tuple[str, str]]] = {
    **{
        f"{key} is {value!r}": (GOOD | {key: value}, (f"/{key}", "type"))
        for key in ("session_type", "client_id", "refresh_token")
        for value in STRANGE_VALUES
    },
    **{
        f"session_type is {value!r}": (GOOD | {"session_type": value}, ("/session_type", "enum"))
        for value in ("", "Cookie", "cookie ", "token", "☃", "x" * 10_000)
    },
    **{f"the body is {body!r}": (body, ("", "type")) for body in (None, 1, True, '"cookie"', [], [GOOD], 1e300)},
    "1e400": ('{"session_type": 1e400}', ("/session_type", "type")),
    "an empty object": ({}, ("", "required")),
    "no session_type": ({"client_id": "web"}, ("", "required")),
    "no client_id": ({"session_type": "refresh_token"}, ("", "required")),
    "no client_id but a token": ({"session_type": "refresh_token", "refresh_token": "x"}, ("", "required")),
    **{
        f"unknown key {key}": (GOOD | {key: "x"}, ("/" + key.replace("~", "~0").replace("/", "~1"), "general"))
        for key in ("sub", "email", "Session_Type", "client_ID", "x", "☃", "a/b~c", "__proto__", "x" * 1000)
    },
    "31 levels": (GOOD | {"x": json.loads("[" * 31 + "]" * 31)}, ("/x", "general")),
}


@pytest.mark.spec("authgear.md", "0.2")
@pytest.mark.parametrize(("body", "cause"), SHAPES.values(), ids=SHAPES)
def test_another_shape_is_refused_with_its_place(
    application: Application, browser: Client, body: Any, cause: tuple[str, str]
) -> None:
    with nothing_changes():
        assert cause in causes_of(post_json(browser, SIGNUP, body))


def test_what_is_missing_is_named(application: Application, browser: Client) -> None:
    response = post_json(browser, SIGNUP, {"session_type": "refresh_token"})
    error = assert_api_error(response, 400, "Invalid", "ValidationFailed")
    assert error["info"]["causes"][0]["details"]["missing"] == ["client_id"]


@pytest.mark.parametrize(
    "wish",
    [
        {"sub": "00000000-0000-4000-8000-000000000000"},
        {"id": 1},
        {"is_anonymous": False},
        {"is_verified": True},
        {"is_staff": True, "is_superuser": True},
        {"email": "admin@example.com"},
        {"roles": ["admin"]},
        {"scope": "admin"},
        {"user": {"is_staff": True}},
        {"custom_attributes": {}},
        {"project": "other"},
        {"kind": "cookie"},
        {"expires_in": 10**9},
    ],
    ids=str,
)
@pytest.mark.parametrize("body", [GOOD, {"session_type": "cookie"}], ids=["refresh_token", "cookie"])
def test_nobody_assigns_more_than_is_asked(
    application: Application, browser: Client, body: dict[str, Any], wish: dict[str, Any]
) -> None:
    with nothing_changes():
        causes = causes_of(post_json(browser, SIGNUP, body | wish))
    assert {location for location, _ in causes} == {f"/{key}" for key in wish}


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.spec("authgear.md", "0.2")
def test_one_mebibyte_of_json_is_the_limit(application: Application, browser: Client) -> None:
    body = json.dumps(GOOD).encode()
    with nothing_changes():
        for size in (MIB + 1, 3 * MIB):
            response = post_json(browser, SIGNUP, body.ljust(size))
            assert_api_error(response, 413, "RequestEntityTooLarge", "RequestEntityTooLarge")
    assert post_json(browser, SIGNUP, body.ljust(MIB)).status_code == 200


def test_a_very_long_client_id_is_only_unknown(application: Application, browser: Client) -> None:
    with nothing_changes():
        response = post_json(browser, SIGNUP, GOOD | {"client_id": "w" * 1_000_000})
    assert_api_error(response, 400, "Invalid", "Invalid", "invalid client ID")


@pytest.mark.parametrize("path", [TOKEN, REVOKE])
def test_64_kibibytes_of_form_are_the_limit(application: Application, browser: Client, path: str) -> None:
    token = get_tokens(browser)["refresh_token"]
    fields = {"grant_type": "refresh_token", "client_id": "web", "refresh_token": token, "token": "x", "pad": ""}
    body = urlencode(fields).encode()
    with nothing_changes():
        for size in (65_537, 1_048_577, 2_000_000):
            assert_oauth_error(post_form(browser, path, body.ljust(size, b"x")), 413, "invalid_request")
    assert post_form(browser, path, body.ljust(65_536, b"x")).status_code == 200


# --- forms ----------------------------------------------------------------------------------------


BAD_FORMS: dict[str, bytes] = {
    "20 000 fields": urlencode([(f"f{number}", "") for number in range(20_000)]).encode()[:65_000],
    "20 000 times the same": b"a=&" * 20_000,
    "NUL": b"grant_type=refresh_token&client_id=web&refresh_token=%00",
    "raw NUL": b"grant_type=refresh_token&client_id=web&refresh_token=\x00",
    "NUL in client_id": b"grant_type=refresh_token&client_id=web%00&refresh_token=x",
    "NUL in grant_type": b"grant_type=%00&client_id=web",
    "NUL in an unknown field": b"grant_type=refresh_token&client_id=web&refresh_token=x&y=%00",
    "NUL in a name": b"grant_type=refresh_token&client_id=web&refresh_token=x&%00=y",
    "not UTF-8": b"grant_type=refresh_token&client_id=web&refresh_token=%FF",
    "raw not UTF-8": b"grant_type=refresh_token&client_id=web&refresh_token=\xff",
    "overlong UTF-8": b"grant_type=refresh_token&client_id=%C0%AF&refresh_token=x",
    "surrogate": b"grant_type=refresh_token&client_id=web&refresh_token=%ED%A0%80",
}


@pytest.mark.parametrize("path", [TOKEN, REVOKE])
@pytest.mark.parametrize("body", BAD_FORMS.values(), ids=BAD_FORMS)
def test_a_form_that_cannot_be_read_is_refused(
    application: Application, browser: Client, path: str, body: bytes
) -> None:
    get_tokens(browser)
    with nothing_changes():
        assert_oauth_error(post_form(browser, path, body), 400, "invalid_request")


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        JSON,
        "text/plain",
        "multipart/form-data; boundary=x",
        f"{FORM}; charset=iso-8859-1",
        f"{FORM}; charset=utf-7",
        f"{FORM}; charset=nonsense",
    ],
)
@pytest.mark.parametrize("path", [TOKEN, REVOKE])
def test_another_content_type_is_no_form(
    application: Application, browser: Client, path: str, content_type: str
) -> None:
    token = get_tokens(browser)["refresh_token"]
    fields = {"grant_type": "refresh_token", "client_id": "web", "refresh_token": token, "token": token}
    with nothing_changes():
        response = post_form(browser, path, fields, content_type=content_type)
        assert_oauth_error(response, 400, "invalid_request")


@pytest.mark.parametrize("content_type", [f"{FORM}; charset=UTF-8", f"{FORM};charset=utf-8", FORM.upper()])
def test_a_form_in_utf_8_is_accepted(application: Application, browser: Client, content_type: str) -> None:
    fields = {"grant_type": "refresh_token", "client_id": "web", "refresh_token": get_tokens(browser)["refresh_token"]}
    assert post_form(browser, TOKEN, fields, content_type=content_type).status_code == 200


@pytest.mark.spec("RFC 6749", "3.2")
@pytest.mark.parametrize("name", ["grant_type", "client_id", "refresh_token", "scope", "x_device_info"])
@pytest.mark.parametrize("same", [True, False], ids=["same value", "other value"])
def test_a_repeated_parameter_is_refused(application: Application, browser: Client, name: str, same: bool) -> None:
    fields = {
        "grant_type": "refresh_token",
        "client_id": "web",
        "refresh_token": get_tokens(browser)["refresh_token"],
        "scope": "openid",
        "x_device_info": "e30",
    }
    twice = [*fields.items(), (name, fields[name] if same else "other")]
    with nothing_changes():
        assert_oauth_error(post_form(browser, TOKEN, twice), 400, "invalid_request")
        assert_oauth_error(post_form(browser, TOKEN, twice[::-1]), 400, "invalid_request")
    assert post_form(browser, TOKEN, fields).status_code == 200


def test_a_repeated_token_revokes_nothing(application: Application, browser: Client) -> None:
    token = get_tokens(browser)["refresh_token"]
    with nothing_changes():
        for second in (token, "x"):
            response = post_form(browser, REVOKE, [("token", token), ("token", second)])
            assert_oauth_error(response, 400, "invalid_request")


@pytest.mark.spec("RFC 9700", "4.3.2")
@pytest.mark.parametrize("missing", ["grant_type", "client_id", "refresh_token"])
def test_what_stands_in_the_url_does_not_count(application: Application, browser: Client, missing: str) -> None:
    fields = {"grant_type": "refresh_token", "client_id": "web", "refresh_token": get_tokens(browser)["refresh_token"]}
    value = fields.pop(missing)
    with nothing_changes():
        response = post_form(browser, f"{TOKEN}?{urlencode({missing: value})}", fields)
        assert_oauth_error(response, 400, "invalid_client" if missing == "client_id" else "invalid_request")


def test_the_url_overrides_nothing(application: Application, browser: Client) -> None:
    fields = {"grant_type": "refresh_token", "client_id": "web", "refresh_token": get_tokens(browser)["refresh_token"]}
    assert post_form(browser, f"{TOKEN}?client_id=nobody&grant_type=x&refresh_token=y", fields).status_code == 200
    assert post_json(browser, f"{SIGNUP}?session_type=cookie&sub=x", GOOD).json()["result"]["access_token"]


# --- methods and paths ----------------------------------------------------------------------------


@pytest.mark.spec("RFC 9110", "15.5.6")
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "X" * 50])
@pytest.mark.parametrize("path", [SIGNUP, TOKEN, REVOKE])
def test_only_post_does_something(application: Application, browser: Client, path: str, method: str) -> None:
    token = get_tokens(browser)["refresh_token"]
    query = urlencode(
        GOOD | {"grant_type": "refresh_token", "refresh_token": token, "token": token, "session_type": "cookie"}
    )
    with nothing_changes():
        response = browser.generic(method, f"{path}?{query}", json.dumps(GOOD), content_type=JSON)
    assert response.status_code == 405
    assert response.headers["Allow"] == "OPTIONS, POST"
    assert not response.cookies
    if method == "HEAD":
        assert response.content == b""
    elif path == SIGNUP:
        assert_api_error(response, 405, "BadRequest", "BadRequest")
    else:
        assert_oauth_error(response, 405, "invalid_request")


@pytest.mark.parametrize("header", ["HTTP_X_HTTP_METHOD_OVERRIDE", "HTTP_X_METHOD_OVERRIDE", "HTTP_X_HTTP_METHOD"])
def test_no_header_overrides_the_method(application: Application, browser: Client, header: str) -> None:
    with nothing_changes():
        response = browser.get(SIGNUP, {"_method": "POST"}, **{header: "POST"})
    assert response.status_code == 405


ODD_PATHS = [
    "/api/anonymous_user/signup/",
    "/api/anonymous_user//signup",
    "/api/anonymous_user/Signup",
    "/api/anonymous_user/signup;x",
    "/api/anonymous_user/signup/..",
    "/api/anonymous_user/signup%00",
    "/api/anonymous_user/signup%0a",
    "/api/anonymous_user/",
    "/api/anonymous_user",
    "/oauth2/token/",
    "/oauth2//token",
    "/oauth2/TOKEN",
    "/oauth2/token%0a",
    "/oauth2/userinfo/",
    "/oauth2/",
    "/oauth2",
    "/.well-known/",
    "/.well-known/openid-configuration/",
    "/_resolver/resolve/",
    "/_resolver",
]


@pytest.mark.parametrize("path", ODD_PATHS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_odd_path_is_404_in_our_dialect_and_never_a_redirect(
    application: Application, browser: Client, path: str, method: str
) -> None:
    with nothing_changes():
        response = browser.generic(method, path, json.dumps(GOOD), content_type=JSON)
    if path.startswith("/api/"):
        assert_api_error(response, 404, "NotFound", "NotFound")
    else:
        assert_oauth_error(response, 404, "invalid_request")


@pytest.mark.parametrize("path", ["//oauth2/token", "/API/anonymous_user/signup", "/x/..;/oauth2/token", "/Resolve"])
def test_tricks_with_the_path_lead_nowhere(application: Application, browser: Client, path: str) -> None:
    with nothing_changes():
        response = browser.generic("POST", path, json.dumps(GOOD), content_type=JSON)
    assert response.status_code == 404
    assert not response.cookies


# --- hosts ----------------------------------------------------------------------------------------


EVERYTHING = [
    ("GET", DISCOVERY),
    ("GET", JWKS),
    ("POST", SIGNUP),
    ("POST", TOKEN),
    ("GET", USERINFO),
    ("POST", REVOKE),
    ("GET", END_SESSION),
    ("GET", RESOLVE),
]


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
@pytest.mark.parametrize(
    "host", ["evil.example", "localhost:8000.evil.example", "local host", "", "localhost:x", "[::"]
)
def test_an_unknown_host_is_a_bad_request_in_json(
    application: Application, visit: Callable[..., Client], host: str, method: str, path: str
) -> None:
    with nothing_changes():
        response = visit(host).generic(method, path, json.dumps(GOOD), content_type=JSON)
    if path == SIGNUP:
        assert_api_error(response, 400, "BadRequest", "BadRequest")
    else:
        assert_oauth_error(response, 400, "invalid_request")
    assert "evil.example" not in response.content.decode()


def test_a_host_without_project_makes_no_guest(project_a: Project, visit: Callable[..., Client]) -> None:
    client = visit("nobody.localhost")
    with nothing_changes():
        assert_api_error(ask_for_cookie(client), 404, "NotFound", "AppNotFound", "app not found")
        response = post_json(client, SIGNUP, GOOD)
        assert response.status_code in (400, 404)
        assert not response.cookies
        assert_oauth_error(refresh(client, "x"), 400, "invalid_client", "invalid client ID")


def test_the_port_and_the_case_of_a_host_do_not_matter(project_a: Project, visit: Callable[..., Client]) -> None:
    for host in ("a.localhost", "A.LOCALHOST:1", "a.localhost.:8000"):
        response = ask_for_cookie(visit(host))
        assert response.status_code == 200, host


# --- headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["\x00", "\r\nX: y", "é", "☃".encode().decode("latin-1"), "x" * 10_000])
@pytest.mark.parametrize(
    "header", ["HTTP_USER_AGENT", "HTTP_ACCEPT", "HTTP_ACCEPT_LANGUAGE", "HTTP_X_FORWARDED_FOR", "HTTP_REFERER"]
)
def test_strange_headers_harm_nobody(application: Application, browser: Client, header: str, value: str) -> None:
    assert post_json(browser, SIGNUP, GOOD, **{header: value}).status_code == 200
    assert "\x00" not in only_session().user_agent


@pytest.mark.parametrize("value", ["-1", "x", "", "99999999999999999999", "1e3", "\u0661"])
def test_a_strange_content_length_is_no_server_error(application: Application, browser: Client, value: str) -> None:
    with nothing_changes():
        response = post_json(browser, SIGNUP, GOOD | {"session_type": "x"}, CONTENT_LENGTH=value)
    assert 400 <= response.status_code < 500
    assert response.headers["Content-Type"] == JSON


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*;q=0", "", "☃"])
def test_accept_does_not_matter(application: Application, browser: Client, accept: str) -> None:
    assert post_json(browser, SIGNUP, GOOD, HTTP_ACCEPT=accept).headers["Content-Type"] == JSON
    response = browser.get(f"{USERINFO}?format=api", HTTP_ACCEPT=accept)
    assert (response.status_code, response.headers["Content-Type"]) == (401, JSON)


def test_a_refused_request_leaves_a_live_cookie_alone(application: Application, browser: Client) -> None:
    value = get_cookie(browser)
    with nothing_changes():
        for body in (b"{", b"[]", b'{"session_type":"x"}'):
            assert not post_json(browser, SIGNUP, body).cookies
    assert [cookie.value for name, cookie in browser.cookies.items() if name == "anonusers_session"] == [value]


@pytest.mark.parametrize("grant", ["refresh_token", GRANT_ID_TOKEN])
def test_a_client_id_of_a_megabyte_is_refused_unread(application: Application, browser: Client, grant: str) -> None:
    fields = {"grant_type": grant, "client_id": "w" * 1_000_000, "refresh_token": "x"}
    with nothing_changes():
        assert_oauth_error(post_form(browser, TOKEN, fields), 413, "invalid_request")
