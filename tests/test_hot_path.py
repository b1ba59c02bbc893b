"""Statement budgets. A change of a number here is a change to be argued for.

Measured on the whole request, transaction statements listed apart. None of these paths may parse a key, render a
template or ask for settings.
"""

import json
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from django.db import connection
from django.template import Template
from django.test import Client
from django.test.utils import CaptureQueriesContext

from anonusers import keys, tokens
from anonusers.authentication import BearerAuthentication
from anonusers.keys import key_ring
from anonusers.models import Application
from tests.conftest import APP_ORIGIN, HOST

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]
POSTGRESQL = connection.vendor == "postgresql"
CONTROL = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET ", "START")


@pytest.fixture(params=["same origin", "another origin"])
def client(request) -> Client:
    """Budgets hold for browsers, too, whose CORS answer needs the project's origins."""
    options = {} if request.param == "same origin" else {"HTTP_ORIGIN": APP_ORIGIN}
    return Client(HTTP_HOST=HOST, **options)


@pytest.fixture
def spend(application: Application, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a request and return (response, statements, transaction statements); fails if a key is parsed."""
    application.project.refresh_from_db()
    key_ring(application.project)

    def run(call: Callable[[], Any]) -> tuple[Any, list[str], list[str]]:
        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise AssertionError("not on a hot path")

        with (
            mock.patch.object(keys, "parse_key", refuse),
            mock.patch.object(tokens, "load_pem_private_key", refuse),
            mock.patch.object(Template, "__init__", refuse),
            CaptureQueriesContext(connection) as captured,
        ):
            response = call()
        statements = [query["sql"] for query in captured.captured_queries]
        control = [sql for sql in statements if sql.upper().startswith(CONTROL)]
        return response, [sql for sql in statements if sql not in control], control

    return run


def post(client: Client, path: str, body: dict[str, Any]) -> Any:
    return client.post(path, body, content_type="application/json")


def form(client: Client, path: str, **fields: str) -> Any:
    return client.post(path, "&".join(f"{k}={v}" for k, v in fields.items()), "application/x-www-form-urlencoded")


SIGNUPS = {
    "native, token": ("/api/v1/signup/", {"client_id": "web", "kind": "token"}),
    "native, cookie": ("/api/v1/signup/", {"client_id": "web", "kind": "cookie"}),
    "authgear, refresh_token": ("/api/anonymous_user/signup", {"session_type": "refresh_token", "client_id": "web"}),
    "authgear, cookie": ("/api/anonymous_user/signup", {"session_type": "cookie"}),
}


@pytest.mark.parametrize("name", SIGNUPS)
def test_sign_up_takes_three_statements_in_one_transaction_and_five_where_rows_cannot_go_together(spend, client, name):
    path, body = SIGNUPS[name]
    response, statements, control = spend(lambda: post(client, path, body))
    assert response.status_code in (200, 201)
    # project (and application); the host's user, saved by its own model; end user, identity and session
    rest = ["WITH"] if POSTGRESQL else ["INSERT"] * 3
    assert [sql.split()[0] for sql in statements] == ["SELECT", "INSERT", *rest], statements
    assert [sql.split()[0] for sql in control if not sql.upper().startswith("SET")] in (["BEGIN", "COMMIT"], [])


def refresh(client: Client, door: str, refresh_token: str) -> Any:
    if door == "native":
        return post(client, "/api/v1/refresh/", {"client_id": "web", "refresh_token": refresh_token})
    return form(client, "/oauth2/token", grant_type="refresh_token", client_id="web", refresh_token=refresh_token)


def signed_up(client: Client) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(post(client, *SIGNUPS["native, token"]).content)
    return result


@pytest.mark.parametrize("door", ["native", "authgear"])
@pytest.mark.parametrize("rotation", [True, False])
def test_refresh_takes_two_statements_and_one_without_rotation(spend, client, door, rotation):
    Application.objects.update(refresh_token_rotation_enabled=rotation)
    refresh_token = signed_up(client)["refresh_token"]
    response, statements, control = spend(lambda: refresh(client, door, refresh_token))
    assert response.status_code == 200
    assert [sql.split()[0] for sql in statements] == (["SELECT", "UPDATE"] if rotation else ["SELECT"])
    assert control == []


@pytest.mark.parametrize("path", ["/api/v1/userinfo/", "/oauth2/userinfo", "/_resolver/resolve"])
@pytest.mark.parametrize("jwt", [True, False])
def test_userinfo_takes_one_statement_and_one_more_a_minute(spend, client, path, jwt):
    Application.objects.update(issue_jwt_access_token=jwt)
    headers = {"authorization": f"Bearer {signed_up(client)['access_token']}"}
    response, statements, control = spend(lambda: client.get(path, headers=headers))
    assert response.status_code == 200
    assert [sql.split()[0] for sql in statements] == ["SELECT"]
    assert control == []


def test_a_signature_is_verified_once_a_process(spend, client, monkeypatch):
    headers = {"authorization": f"Bearer {signed_up(client)['access_token']}"}
    assert client.get("/api/v1/userinfo/", headers=headers).status_code == 200
    monkeypatch.setattr(tokens, "_read_jwt", None)
    assert client.get("/api/v1/userinfo/", headers=headers).status_code == 200


def test_a_bearer_check_takes_one_statement_with_the_user_and_none_where_the_project_wants_none(
    spend, client, settings, rf
):
    token = signed_up(client)["access_token"]
    request = mock.Mock(_request=rf.get("/", headers={"authorization": f"Bearer {token}"}, HTTP_HOST=HOST))
    (user, _session), statements, _ = spend(lambda: BearerAuthentication().authenticate(request))
    assert len(statements) == 1
    _, statements, _ = spend(lambda: user.username)
    assert statements == []
    settings.ANONUSERS_BEARER_CHECKS_SESSION = False
    (lazy, _claims), statements, _ = spend(lambda: BearerAuthentication().authenticate(request))
    assert statements == []
    assert lazy.username == user.username


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/oauth2/jwks"])
def test_public_documents_take_one_statement(spend, client, path):
    response, statements, _ = spend(lambda: client.get(path))
    assert response.status_code == 200
    assert len(statements) == 1
