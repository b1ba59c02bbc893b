"""Hostile and clumsy bodies: the exact answer, and nothing changed."""

import base64
import gzip
import json

import pytest

from tests.conftest import row_counts, state_of
from tests.protocols.rest.conftest import (
    CHALLENGE,
    KEY_LOGIN,
    KEYS,
    LOGOUT,
    RECOVER,
    RECOVERY_CODE,
    REFRESH,
    SIGNUP,
    Api,
    is_problem,
    session_of,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]

FREE = (SIGNUP, REFRESH, CHALLENGE, KEY_LOGIN, RECOVER)
WITH_SESSION = (LOGOUT, KEYS, RECOVERY_CODE)
OK = {"client_id": "web", "kind": "token"}


@pytest.fixture
def refused(api, guest):
    """Calls that must be refused with this problem, at each endpoint that reads a body, and change nothing."""

    def check(body, status, code, paths=FREE + WITH_SESSION, content_type="application/json", **more):
        before, row = row_counts(), state_of(session_of(guest))
        for path in paths:
            bearer = guest["access_token"] if path in WITH_SESSION else None
            response = api.call("POST", path, body, bearer=bearer, content_type=content_type)
            assert is_problem(response, status, code, **more)
            assert not response.cookies
        assert (row_counts(), state_of(session_of(guest))) == (before, row)

    return check


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "text/json",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "application/problem+json",
        "application/json; charset=iso-8859-1",
        "application/json; charset=utf-7",
        "application/json; charset=utf-16",
    ],
)
def test_only_json_in_utf8_is_read(refused, content_type):
    refused(json.dumps(OK).encode(), 415, "content_type_refused", content_type=content_type)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"'],
)
def test_the_content_type_of_json_is_read_as_the_standard_says(api, application, content_type):
    assert api.call("POST", SIGNUP, OK, content_type=content_type).status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"client_id": "web"',
        b"client_id=web",
        b"{'client_id': 'web'}",
        b'{"client_id": "web",}',
        b'{"client_id": "web"} {"client_id": "web"}',
        b'{"client_id": NaN}',
        b'{"client_id": Infinity}',
        b'{"client_id": ' + b"9" * 5000 + b"}",
        b'{"client_id": "web", "client_id": "other"}',  # two readings
        b'{"client_id": "we\\u0000b"}',
        b'{"client_id": "we\x00b"}',
        b'{"client_id": "\\ud800"}',
        b'{"\\u0000": 1}',
        b'{"client_id": "\xff\xfe"}',
        '{"client_id": "web"}'.encode("utf-16"),
        b"\xef\xbb\xbf" + b'{"client_id": "web"}',
        b"[" * 33 + b"]" * 33,
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda body: body[:24].decode("latin-1"),
)
def test_what_is_not_json_or_reads_two_ways_is_refused(refused, body):
    refused(body, 400, "malformed_json")


def test_no_body_at_all_is_not_json_except_where_none_is_needed(refused):
    refused(b"", 415, "content_type_refused", paths=(*FREE, KEYS))
    refused(b" ", 400, "malformed_json", paths=(*FREE, KEYS))


@pytest.mark.parametrize("body", [b"null", b"1", b"true", b'"web"', b"[]", b'[{"client_id": "web"}]'])
def test_json_that_is_not_an_object_is_refused(refused, body):
    refused(
        body,
        400,
        "validation_failed",
        errors=[{"pointer": "#", "code": "type", "detail": "must be an object"}],
    )


@pytest.mark.parametrize("size", [1_048_577, 5_000_000])
def test_more_than_a_mebibyte_is_refused(refused, size):
    refused(b'"' + b"x" * (size - 2) + b'"', 413, "body_too_large")


def test_a_mebibyte_is_read(refused):
    body = json.dumps(OK | {"x": ""}).encode()
    body = body.replace(b'"x": ""', b'"x": "' + b"y" * (1_048_576 - len(body)) + b'"')
    assert len(body) == 1_048_576
    refused(body, 400, "validation_failed", paths=(SIGNUP,))


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "GZIP", "identity, gzip"])
def test_compressed_bodies_are_not_opened(api, application, encoding):
    before = row_counts()
    body = gzip.compress(json.dumps(OK).encode())
    response = api.call("POST", SIGNUP, body, headers={"Content-Encoding": encoding})
    assert is_problem(response, 415, "content_type_refused", detail="compressed bodies are not accepted")
    assert row_counts() == before


@pytest.mark.parametrize("key", ["sub", "is_anonymous", "is_staff", "email", "roles", "session", "Kind", "a/b~c", ""])
def test_a_key_that_is_not_known_is_refused_and_named(refused, key):
    pointer = "#/" + key.replace("~", "~0").replace("/", "~1")
    errors = [{"pointer": pointer, "code": "general", "detail": "is not a known key"}]
    refused(OK | {key: True}, 400, "validation_failed", paths=(SIGNUP,), errors=errors)
    refused({key: True}, 400, "validation_failed", paths=(LOGOUT,), errors=errors)


@pytest.mark.parametrize("value", [1, 0, True, False, 1.5, [], ["web"], {}, {"a": 1}])
@pytest.mark.parametrize("key", ["client_id", "kind", "refresh_token"])
def test_a_value_of_the_wrong_type_is_refused_not_bent(refused, key, value):
    detail = "is not a string" if key == "kind" else "Not a valid string."
    errors = [{"pointer": f"#/{key}", "code": "type", "detail": detail}]
    refused(OK | {key: value}, 400, "validation_failed", paths=(SIGNUP,), errors=errors)


@pytest.mark.parametrize("key", ["client_id", "kind", "refresh_token"])
def test_null_is_refused(refused, key):
    errors = [{"pointer": f"#/{key}", "code": "type", "detail": "This field may not be null."}]
    refused(OK | {key: None}, 400, "validation_failed", paths=(SIGNUP,), errors=errors)


@pytest.mark.parametrize("value", ["", "Token", "token ", "refresh_token", "cookies"])
def test_a_kind_that_does_not_exist_is_refused(refused, value):
    errors = [{"pointer": "#/kind", "code": "enum", "detail": f'"{value}" is not a valid choice.'}]
    refused(OK | {"kind": value}, 400, "validation_failed", paths=(SIGNUP,), errors=errors)


def test_what_is_missing_is_named(refused):
    missing = {"pointer": "#", "code": "required"}
    refused({}, 400, "validation_failed", paths=(SIGNUP,), errors=[missing | {"detail": "missing: client_id"}])
    both = missing | {"detail": "missing: client_id, refresh_token"}
    refused({}, 400, "validation_failed", paths=(REFRESH,), errors=[both])


def test_every_cause_is_told_at_once(refused):
    errors = [
        {"pointer": "#", "code": "required", "detail": "missing: client_id"},
        {"pointer": "#/kind", "code": "enum", "detail": '"x" is not a valid choice.'},
        {"pointer": "#/refresh_token", "code": "type", "detail": "Not a valid string."},
    ]
    refused({"kind": "x", "refresh_token": 1}, 400, "validation_failed", paths=(SIGNUP,), errors=errors)


@pytest.mark.parametrize(("key", "limit"), [("client_id", 100), ("refresh_token", 200)])
def test_a_value_that_is_too_long_is_refused(refused, key, limit):
    detail = f"Ensure this field has no more than {limit} characters."
    errors = [{"pointer": f"#/{key}", "code": "general", "detail": detail}]
    refused(OK | {key: "x" * (limit + 1)}, 400, "validation_failed", paths=(SIGNUP,), errors=errors)


@pytest.mark.parametrize("client_id", ["\u202e", "wéb", "💥", "<script>", "%00", "a\r\nSet-Cookie: x=y"])
def test_odd_characters_lead_to_nobody_and_are_not_echoed(api, application, client_id):
    before = row_counts()
    response = api.sign_up(client_id)
    assert is_problem(response, 400, "unknown_application")
    assert client_id not in response.content.decode()
    assert row_counts() == before


@pytest.mark.parametrize("token", ["\x00", "ü" * 30, "a" * 100_000, "..", ".a.", "e30.e30.e30", "e30." + "W" * 9000])
def test_a_hostile_bearer_token_is_nobodys(api, application, token):
    assert is_problem(api.userinfo(bearer=token), 401, "not_signed_in")


def test_a_token_nested_without_end_is_nobodys(api, application):
    deep = base64.urlsafe_b64encode(b"[" * 50_000).decode().rstrip("=")
    assert is_problem(api.userinfo(bearer=f"{deep}.{deep}.x"), 401, "not_signed_in")


@pytest.mark.parametrize("length", ["x", "-1", "999999999999"])
def test_a_content_length_that_lies_is_refused(application, length):
    before = row_counts()
    response = Api().call("POST", SIGNUP, OK, CONTENT_LENGTH=length)
    assert response.status_code in (400, 413)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert row_counts() == before
