"""What is not an endpoint, not a method, or not our host: JSON all the same, and no redirect."""

import pytest
from django.test import override_settings

from tests.conftest import row_counts
from tests.protocols.rest.conftest import (
    CHALLENGE,
    KEY_LOGIN,
    KEYS,
    LOGIN,
    LOGIN_CODE,
    LOGIN_VERIFY,
    LOGOUT,
    PROMOTE,
    PROMOTION,
    RECOVER,
    RECOVERY_CODE,
    REFRESH,
    SESSIONS,
    SIGNUP,
    USERINFO,
    VERIFY,
    Api,
    is_problem,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ALL = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"}
SESSION = f"{SESSIONS}0b9f0e52-6a5e-4c0f-9c5e-0f2e3f7f0c11/"
METHODS = {
    SIGNUP: {"POST"},
    USERINFO: {"GET", "HEAD"},
    REFRESH: {"POST"},
    SESSIONS: {"GET", "HEAD"},
    SESSION: {"DELETE"},
    LOGOUT: {"POST"},
    PROMOTE: {"POST"},
    PROMOTION: {"POST"},
    VERIFY: {"POST"},
    f"{PROMOTION}handle/": {"GET", "HEAD", "DELETE"},
    f"{PROMOTION}handle/resend/": {"POST"},
    LOGIN: {"POST"},
    LOGIN_CODE: {"POST"},
    LOGIN_VERIFY: {"POST"},
    CHALLENGE: {"POST"},
    KEY_LOGIN: {"POST"},
    KEYS: {"GET", "HEAD", "POST"},
    f"{KEYS}phone-key-1/": {"DELETE"},
    RECOVERY_CODE: {"POST"},
    RECOVER: {"POST"},
    "/api/v1/": {"GET", "HEAD"},
    "/api/v1/schema/": {"GET", "HEAD"},
}
REFUSED = [(path, method) for path, allowed in METHODS.items() for method in sorted(ALL - allowed - {"OPTIONS"})]


@pytest.mark.parametrize(("path", "method"), REFUSED)
def test_other_methods_are_refused_with_what_is_allowed(api, application, path, method):
    before = row_counts()
    response = api.call(method, path, {"client_id": "web"})
    if method == "HEAD":
        assert (response.status_code, response.content) == (405, b"")
    else:
        assert is_problem(response, 405, "method_refused", detail="This method is not allowed here.")
    assert response.headers["Allow"] == ", ".join(sorted(METHODS[path] | {"OPTIONS"}))
    assert row_counts() == before


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_a_method_cannot_be_overridden(api, application, header):
    before = row_counts()
    response = api.call("GET", f"{SIGNUP}?_method=POST", headers={header: "POST"})
    assert is_problem(response, 405, "method_refused")
    assert row_counts() == before


@pytest.mark.parametrize("path", METHODS)
def test_options_is_answered_everywhere_without_a_body(api, application, path):
    before = row_counts()
    response = api.call("OPTIONS", path)
    assert (response.status_code, response.content) == (200, b"")
    assert row_counts() == before


def test_head_is_get_without_a_body(api, guest):
    get = api.userinfo(bearer=guest["access_token"])
    head = api.call("HEAD", USERINFO, bearer=guest["access_token"])
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Type"] == get.headers["Content-Type"] == "application/json"


def test_head_by_cookie_needs_no_origin(api, cookie_guest):
    assert api.call("HEAD", USERINFO, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/api/",
        "/api/v1",
        "/api/v1/signup",  # a redirect would turn a POST into a GET
        "/api/v1/Signup/",
        "/api/v1/signup//",
        "/api/v1//signup/",
        "/api/v1/signup/..;/",
        "/api/v1/users/",
        "/api/v2/signup/",
        "/api/v1/sessions/x/",
        "/api/v1/keys/seven77/",
        "/api/v1/keys",
        "/api/v1/recovery-code",
        "/api/v1/sessions/0B9F0E52-6A5E-4C0F-9C5E-0F2E3F7F0C11/",
        "/api/v1/%00",
        "/api/v1/signup/%0A",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_what_is_not_there_is_404_in_json_and_never_a_redirect(api, application, path, method):
    before = row_counts()
    response = api.call(method, path, {"client_id": "web"})
    assert is_problem(response, 404, "endpoint_not_found", detail="There is no such endpoint.")
    assert row_counts() == before


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "a b", "localhost:x", "", "localhost@evil"])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", USERINFO), ("POST", SIGNUP), ("GET", "/api/v1/"), ("PUT", "/api/x")]
)
@pytest.mark.parametrize("origin", [None, "https://evil.example"])
def test_a_host_that_is_not_ours_is_refused_in_json(application, method, path, host, origin):
    before = row_counts()
    headers = {"Origin": origin} if origin else {}
    response = Api(HTTP_HOST=host).call(method, path, {"client_id": "web"}, headers=headers)
    assert is_problem(response, 400, "bad_request", detail="The request is malformed.")
    assert host not in response.content.decode() or not host
    assert row_counts() == before


def test_a_forwarded_host_is_not_believed(api, application):
    response = api.sign_up(headers={"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"})
    assert response.status_code == 201
    assert "evil.example" not in response.content.decode()  # "evil" alone may be part of a token


def test_a_page_below_another_path_is_html(api, application):
    response = api.call("GET", "/nothing-here/", headers={"Accept": "application/json"})
    assert response.status_code == 404
    assert response.headers["Content-Type"].startswith("text/html")


@override_settings(DEBUG=False)
def test_an_error_before_any_view_is_json_too(application, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr("django.middleware.common.CommonMiddleware.process_request", broken)
    api = Api()
    api.raise_request_exception = False
    response = api.sign_up()
    assert (response.status_code, response.json()["code"]) == (500, "unexpected")
    assert response.headers["Content-Type"] == "application/problem+json"
    assert "hunter2" not in response.content.decode()
