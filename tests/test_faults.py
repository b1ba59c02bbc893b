"""Faults: the database is away, goes away, comes back. No fault may read as "your token is invalid" (INV9)."""

from unittest import mock

import pytest
from django.db import InterfaceError, OperationalError, close_old_connections, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client

from anonusers import sessions
from tests.conftest import HOST, row_counts
from tests.test_every_door import AuthgearToken, NativeCookie, NativeToken

pytestmark = [pytest.mark.django_db, pytest.mark.database]
FATAL_WORDS = ("invalid_grant", "invalid_token", "InvalidGrant", "invalid refresh token", "not_signed_in")


@pytest.fixture
def guest(application):
    door = AuthgearToken()
    door.sign_up()
    return door


@pytest.fixture(params=[OperationalError, InterfaceError])
def away(request):
    """A database that answers nothing."""

    def refuse(*args, **kwargs):
        raise request.param("the server closed the connection unexpectedly")

    return mock.patch.object(BaseDatabaseWrapper, "cursor", refuse)


def calls(guest):
    json = {"content_type": "application/json"}
    form = "application/x-www-form-urlencoded"
    bearer = {"headers": guest.headers}
    token = guest.refresh_token
    return {
        "GET /oauth2/userinfo": lambda c: c.get("/oauth2/userinfo", **bearer),
        "GET /_resolver/resolve": lambda c: c.get("/_resolver/resolve", **bearer),
        "POST /oauth2/token": lambda c: c.post(
            "/oauth2/token", f"grant_type=refresh_token&client_id=web&refresh_token={token}", form
        ),
        "POST /oauth2/revoke": lambda c: c.post("/oauth2/revoke", f"token={token}", form),
        "POST /api/anonymous_user/signup": lambda c: c.post(
            "/api/anonymous_user/signup",
            {"session_type": "refresh_token", "client_id": "web", "refresh_token": token},
            **json,
        ),
        "POST /api/anonymous_user/signup by cookie": lambda c: c.post(
            "/api/anonymous_user/signup", {"session_type": "cookie"}, **json
        ),
        "POST /api/v1/signup/": lambda c: c.post("/api/v1/signup/", {"client_id": "web"}, **json),
        "GET /api/v1/userinfo/": lambda c: c.get("/api/v1/userinfo/", **bearer),
        "POST /api/v1/refresh/": lambda c: c.post(
            "/api/v1/refresh/", {"client_id": "web", "refresh_token": token}, **json
        ),
        "GET /api/v1/sessions/": lambda c: c.get("/api/v1/sessions/", **bearer),
        "POST /api/v1/logout/": lambda c: c.post("/api/v1/logout/", {}, **json, **bearer),
    }


def test_without_a_database_every_endpoint_says_503_and_the_tokens_work_afterwards(guest, away):
    client = Client(HTTP_HOST=HOST)
    before = row_counts()
    for name, call in calls(guest).items():
        with away:
            response = call(client)
        assert response.status_code == 503, name
        assert response["Retry-After"] == "5"
        assert response["Content-Type"] in ("application/json", "application/problem+json")
        body = response.content.decode()
        assert not [word for word in FATAL_WORDS if word in body], name
        assert "closed the connection" not in body, "no internals"
        assert response.cookies == {}
    assert row_counts() == before
    guest.refresh()
    assert guest.userinfo()[1] is True


def test_the_public_documents_stay_readable_without_a_database(guest, away):
    client = Client(HTTP_HOST=HOST)
    documents = ("/.well-known/openid-configuration", "/oauth2/jwks")
    before = [client.get(path).content for path in documents]
    with away:
        after = [client.get(path) for path in documents]
    assert [response.status_code for response in after] == [200, 200]
    assert [response.content for response in after] == before


def test_a_revocation_that_could_not_be_stored_is_not_reported_as_done(guest):
    """CVE-2020-15223: storage errors were swallowed, and the user thought he was safe."""
    client = Client(HTTP_HOST=HOST)
    with mock.patch.object(sessions, "end_session", side_effect=OperationalError):
        response = client.post("/oauth2/revoke", f"token={guest.refresh_token}", "application/x-www-form-urlencoded")
    assert response.status_code == 503
    assert guest.userinfo()[1] is True


def test_what_we_did_not_expect_is_logged_with_an_id_and_not_told(guest, caplog):
    client = Client(HTTP_HOST=HOST)
    with mock.patch.object(sessions, "find_by_access_token", side_effect=RuntimeError("secret detail")):
        answers = [client.get(path, headers=guest.headers) for path in ("/oauth2/userinfo", "/api/v1/userinfo/")]
    assert [answer.status_code for answer in answers] == [500, 500]
    assert answers[0].json() == {"error": "server_error", "error_description": "internal server error"}
    assert answers[1].json()["tracking_id"] in caplog.text
    assert "secret detail" not in answers[0].content.decode() + answers[1].content.decode()


@pytest.mark.parametrize("door", [NativeToken, NativeCookie])
def test_no_secret_reaches_the_log(application, caplog, door):
    caplog.set_level("DEBUG")
    device = door()
    device.sign_up()
    device.userinfo()
    device.refresh()
    cookie = device.client.cookies.get("anonusers_session")
    secrets = [device.access_token, device.refresh_token, cookie.value if cookie else ""]
    device.log_out()
    for record in caplog.records:
        if record.name == "django.db.backends":
            continue  # SQL is logged at DEBUG by Django itself, with hashes only
        assert not [secret for secret in secrets if secret and secret in record.getMessage()]
    for secret in filter(None, secrets):
        assert secret not in caplog.text


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_database_restart_between_two_requests_is_not_noticed(application):
    """Persistent connections with health checks: the second request opens a new one."""
    device = NativeToken()
    device.sign_up()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    import psycopg

    settings = connection.settings_dict
    with psycopg.connect(
        host=settings["HOST"], port=settings["PORT"], user=settings["USER"], dbname=settings["NAME"], autocommit=True
    ) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
    # The test client keeps its connection open; this is what the server does between two requests.
    close_old_connections()
    assert device.userinfo()[1] is True
