"""Statement budgets. A change of a number here is a change to be argued for.

Measured on the whole request, transaction statements listed apart. None of these paths may parse a key, render a
template or ask for settings.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.db import connection
from django.template import Template
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from anonusers import keys, tokens
from anonusers.authentication import BearerAuthentication
from anonusers.keys import key_ring
from anonusers.models import ActiveDay, Application, EndUser, Project, Session
from anonusers.promotion import promote
from anonusers.realm_users import realm_app_of
from tests.anonusers.signing import b64, ec_key, rsa_key
from tests.conftest import APP_ORIGIN, HOST, ORIGIN
from tests.devices import Device, dpop_proof, guest_with_key, request_of
from tests.people import proof_of

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
    Project.objects.update(realm_app_id="web")
    realm_app_of(application.project)
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


def post(client: Client, path: str, body: dict[str, Any], **headers: str) -> Any:
    return client.post(path, body, content_type="application/json", headers=headers)


def form(client: Client, path: str, fields: dict[str, str], **headers: str) -> Any:
    body = "&".join(f"{name}={value}" for name, value in fields.items())
    return client.post(path, body, "application/x-www-form-urlencoded", headers=headers)


SIGNUPS = {
    "native, token": ("/api/v1/signup/", {"client_id": "web", "kind": "token"}),
    "native, cookie": ("/api/v1/signup/", {"client_id": "web", "kind": "cookie"}),
    "authgear, refresh_token": ("/api/anonymous_user/signup", {"session_type": "refresh_token", "client_id": "web"}),
    "authgear, cookie": ("/api/anonymous_user/signup", {"session_type": "cookie"}),
    "realm": ("/api/client/v2.0/app/web/auth/providers/anon-user/login", {"options": {"device": {"platform": "node"}}}),
}
BESIDE = {"realm": 2}
"""Rows of a new guest that only one wire needs: the ids by which it knows them."""


@pytest.mark.parametrize("name", SIGNUPS)
def test_sign_up_takes_three_statements_in_one_transaction_and_five_where_rows_cannot_go_together(spend, client, name):
    path, body = SIGNUPS[name]
    response, statements, control = spend(lambda: post(client, path, body))
    assert response.status_code in (200, 201)
    # project (and application); the host's user, saved by its own model; end user, identity and session
    rest = ["WITH"] if POSTGRESQL else ["INSERT"] * (3 + BESIDE.get(name, 0))
    assert [sql.split()[0] for sql in statements] == ["SELECT", "INSERT", *rest], statements
    assert [sql.split()[0] for sql in control if not sql.upper().startswith("SET")] in (["BEGIN", "COMMIT"], [])


REFRESH = {"native": "/api/v1/refresh/", "authgear": "/oauth2/token"}


def refresh(client: Client, door: str, refresh_token: str, **headers: str) -> Any:
    body = {"client_id": "web", "refresh_token": refresh_token}
    if door == "native":
        return post(client, REFRESH[door], body, **headers)
    return form(client, REFRESH[door], {"grant_type": "refresh_token", **body}, **headers)


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


YESTERDAY = timedelta(days=1, hours=1)


def move_back(**also: Any) -> None:
    """Everybody has signed up, and was here last, on another day."""
    then = timezone.now() - YESTERDAY
    EndUser.objects.update(created_at=then, **also)
    Session.objects.update(created_at=then, last_used_at=then)


@pytest.mark.parametrize("path", ["/api/v1/userinfo/", "/oauth2/userinfo", "/_resolver/resolve"])
def test_the_first_request_of_a_day_takes_one_statement_more_and_the_first_return_another(spend, client, path):
    headers = {"authorization": f"Bearer {signed_up(client)['access_token']}"}
    move_back()
    ordinary = [("SELECT", "session"), ("UPDATE", "session")]
    _, statements, _ = spend(lambda: client.get(path, headers=headers))
    assert words(statements) == [ordinary[0], ("UPDATE", "enduser"), ("INSERT", "activeday"), ordinary[1]]
    move_back()
    ActiveDay.objects.all().delete()
    _, statements, _ = spend(lambda: client.get(path, headers=headers))
    assert words(statements) == [ordinary[0], ("INSERT", "activeday"), ordinary[1]]
    _, statements, _ = spend(lambda: client.get(path, headers=headers))
    assert words(statements) == ordinary[:1]
    Session.objects.update(last_used_at=timezone.now() - timedelta(seconds=61))
    EndUser.objects.update(created_at=timezone.now())  # the minute before may have been yesterday
    _, statements, _ = spend(lambda: client.get(path, headers=headers))
    assert words(statements) == ordinary
    assert ActiveDay.objects.count() == 1


@pytest.mark.parametrize("door", REFRESH)
def test_the_first_refresh_of_a_day_takes_one_statement_more(spend, client, door):
    refresh_token = signed_up(client)["refresh_token"]
    move_back(returned_at=timezone.now() - YESTERDAY)
    response, statements, _ = spend(lambda: refresh(client, door, refresh_token))
    assert words(statements) == [("SELECT", "session"), ("UPDATE", "session"), ("INSERT", "activeday")]
    refresh_token = response.json()["refresh_token"]
    _, statements, _ = spend(lambda: refresh(client, door, refresh_token))
    assert words(statements) == [("SELECT", "session"), ("UPDATE", "session")]
    assert ActiveDay.objects.count() == 1


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


# --- device keys ----------------------------------------------------------------------------------

GRANT = "urn:authgear:params:oauth:grant-type:anonymous-request"
KEY_LOGIN = {"native": "/api/v1/login/key/", "authgear": "/oauth2/token"}
KEYS = {"ES256": ec_key, "RS256": rsa_key}


def log_in(client: Client, door: str, signed_request: str, **headers: str) -> Any:
    if door == "native":
        body = {"client_id": "web", "kind": "token", "signed_request": signed_request}
        return post(client, KEY_LOGIN[door], body, **headers)
    return form(client, KEY_LOGIN[door], {"grant_type": GRANT, "client_id": "web", "jwt": signed_request}, **headers)


def words(statements: list[str]) -> list[tuple[str, str]]:
    """What each statement does, and to which table."""
    found = [sql.replace("`", '"').replace(" OR IGNORE", "").replace(" IGNORE", "") for sql in statements]
    table = {"SELECT": "FROM", "DELETE": "FROM", "INSERT": "INTO", "UPDATE": "UPDATE", "WITH": "WITH"}
    told = [(sql.split()[0], sql.split(table[sql.split()[0]], 1)[1].split()[0].strip('"')) for sql in found]
    return [(verb, name.removeprefix("anonusers_")) for verb, name in told]


@pytest.mark.parametrize("door", KEY_LOGIN)
def test_a_challenge_takes_two_statements(spend, client, door):
    paths = {"native": ("/api/v1/challenge/", {"client_id": "web"})}
    path, body = paths.get(door, ("/oauth2/challenge", {"purpose": "anonymous_request"}))
    response, statements, control = spend(lambda: post(client, path, body))
    assert response.status_code == 200
    assert words(statements) == [
        ("SELECT", "application" if door == "native" else "project"),
        ("INSERT", "onetimetoken"),
    ]
    assert control == []


@pytest.mark.parametrize("dpop", [False, True], ids=["", "dpop"])
@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("door", KEY_LOGIN)
def test_a_log_in_with_a_known_key_takes_six_statements_and_one_transaction(
    spend, client, application, door, algorithm, dpop
):
    device = Device(private=KEYS[algorithm]())
    guest_with_key(application, device)
    request = request_of(device, application.project)
    headers = {"dpop": dpop_proof(Device("dpop-key"), f"{ORIGIN}{KEY_LOGIN[door]}")} if dpop else {}
    response, statements, control = spend(lambda: log_in(client, door, request, **headers))
    assert response.status_code == 200, response.content
    assert words(statements) == [
        ("SELECT", "application"),  # and its project
        ("SELECT", "devicekey"),  # its guest, the host's user, the identity
        ("SELECT", "enduser"),  # locked: promotion takes the same lock
        ("UPDATE", "onetimetoken"),  # the challenge is spent
        ("UPDATE", "devicekey"),  # its last use; none where it was taken away meanwhile
        ("INSERT", "session"),
    ], statements
    assert "FOR UPDATE" in statements[2] or connection.vendor == "sqlite"
    assert [sql.split()[0] for sql in control] in (["BEGIN", "COMMIT"], [])


@pytest.mark.parametrize("door", KEY_LOGIN)
def test_a_log_in_on_a_later_day_than_the_sign_up_takes_one_statement_more(spend, client, application, door):
    device = Device()
    guest_with_key(application, device)
    move_back(returned_at=timezone.now() - YESTERDAY)
    request = request_of(device, application.project)
    response, statements, _ = spend(lambda: log_in(client, door, request))
    assert response.status_code == 200, response.content
    assert [table for _verb, table in words(statements)[-3:]] == ["devicekey", "activeday", "session"]
    assert len(statements) == 7


@pytest.mark.parametrize("dpop", [False, True], ids=["", "dpop"])
@pytest.mark.parametrize("door", KEY_LOGIN)
def test_a_sign_up_with_a_new_key_takes_six_statements_and_nine_where_rows_cannot_go_together(
    spend, client, application, door, dpop
):
    request = request_of(Device(), application.project)
    headers = {"dpop": dpop_proof(Device("dpop-key"), f"{ORIGIN}{KEY_LOGIN[door]}")} if dpop else {}
    response, statements, control = spend(lambda: log_in(client, door, request, **headers))
    assert response.status_code in (200, 201), response.content
    together = [("WITH", "row_0")]
    apart = [("INSERT", name) for name in ("enduser", "anonymousidentity", "devicekey", "session")]
    assert words(statements) == [
        ("SELECT", "application"),
        ("SELECT", "devicekey"),  # by its ID
        ("SELECT", "devicekey"),  # by its thumbprint
        ("UPDATE", "onetimetoken"),
        ("INSERT", "auth_user"),
        *(together if POSTGRESQL else apart),
    ], statements
    assert [sql.split()[0] for sql in control] in (["BEGIN", "COMMIT"], [])


@pytest.mark.parametrize("door", REFRESH)
@pytest.mark.parametrize("rotation", [True, False])
def test_a_refresh_with_a_proof_takes_one_statement_more(spend, client, application, door, rotation):
    Application.objects.update(refresh_token_rotation_enabled=rotation)
    device = Device()
    first = dpop_proof(device, f"{ORIGIN}{KEY_LOGIN[door]}")
    token = log_in(client, door, request_of(device, application.project), dpop=first).json()["refresh_token"]
    proof = dpop_proof(device, f"{ORIGIN}{REFRESH[door]}")
    response, statements, control = spend(lambda: refresh(client, door, token, dpop=proof))
    assert response.status_code == 200, response.content
    rotated = [("UPDATE", "session")] if rotation else []
    assert words(statements) == [("SELECT", "session"), ("INSERT", "onetimetoken"), *rotated]
    assert [sql.split()[0] for sql in control] in (["BEGIN", "COMMIT"], [])


def test_a_proof_that_nothing_is_bound_to_costs_no_statement(spend, client):
    refresh_token = signed_up(client)["refresh_token"]
    proof = dpop_proof(Device(), f"{ORIGIN}{REFRESH['native']}")
    response, statements, control = spend(lambda: refresh(client, "native", refresh_token, dpop=proof))
    assert response.status_code == 200
    assert (words(statements), control) == ([("SELECT", "session"), ("UPDATE", "session")], [])


def test_userinfo_with_a_bound_token_takes_one_statement_more(spend, client, application):
    device, path = Device(), "/api/v1/userinfo/"
    proof = dpop_proof(device, f"{ORIGIN}{KEY_LOGIN['native']}")
    answer = log_in(client, "native", request_of(device, application.project), dpop=proof).json()
    token = answer["access_token"]
    assert answer["token_type"] == "DPoP"
    ath = b64(hashlib.sha256(token.encode()).digest())
    headers = {"authorization": f"DPoP {token}", "dpop": dpop_proof(device, f"{ORIGIN}{path}", method="GET", ath=ath)}
    response, statements, _control = spend(lambda: client.get(path, headers=headers))
    assert response.status_code == 200, response.content
    assert words(statements) == [("SELECT", "session"), ("INSERT", "onetimetoken")]


# --- the Realm door -------------------------------------------------------------------------------

REALM = "/api/client/v2.0"


def realm(client: Client, method: str, path: str, token: str = "", body: str = "") -> Any:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return client.generic(method, REALM + path, body, "application/json", headers=headers)


def realm_guest(client: Client) -> dict[str, Any]:
    answer: dict[str, Any] = post(client, *SIGNUPS["realm"]).json()
    return answer


def test_a_location_takes_one_statement(spend, client):
    response, statements, control = spend(lambda: realm(client, "GET", "/app/web/location"))
    assert response.status_code == 200
    assert (words(statements), control) == ([("SELECT", "application")], [])


@pytest.mark.parametrize("path", ["/auth/session", "/app/web/auth/session"])
def test_a_refresh_of_the_realm_door_takes_one_statement_and_one_more_where_the_app_is_named(spend, client, path):
    token = realm_guest(client)["refresh_token"]
    response, statements, control = spend(lambda: realm(client, "POST", path, token))
    assert response.status_code == 201
    named = [("SELECT", "application")] if "web" in path else []
    assert (words(statements), control) == ([*named, ("SELECT", "session")], [])
    Session.objects.update(last_used_at=timezone.now() - timedelta(seconds=61))
    _, statements, _ = spend(lambda: realm(client, "POST", path, token))
    assert words(statements) == [*named, ("SELECT", "session"), ("UPDATE", "session")]


def test_a_profile_takes_two_statements_and_one_more_for_who_is_regular(spend, client):
    guest = realm_guest(client)
    response, statements, control = spend(lambda: realm(client, "GET", "/auth/profile", guest["access_token"]))
    assert response.status_code == 200
    assert (words(statements), control) == ([("SELECT", "session"), ("SELECT", "realmidentity")], [])
    promote(
        end_user=EndUser.objects.get(),
        project=Project.objects.get(),
        proof=proof_of(),
        keep_session=Session.objects.get(),
    )
    response, statements, _ = spend(lambda: realm(client, "GET", "/auth/profile", guest["access_token"]))
    assert response.status_code == 200
    assert words(statements) == [("SELECT", "session"), ("SELECT", "realmidentity"), ("SELECT", "loginid")]


def test_a_function_that_is_not_there_takes_one_statement(spend, client):
    token = realm_guest(client)["access_token"]
    response, statements, _ = spend(lambda: realm(client, "POST", "/app/web/functions/call", token, '{"name": "x"}'))
    assert response.status_code == 404
    assert words(statements) == [("SELECT", "session")]


def test_a_log_out_takes_two_statements(spend, client):
    token = realm_guest(client)["refresh_token"]
    response, statements, _ = spend(lambda: realm(client, "DELETE", "/auth/session", token))
    assert response.status_code == 204
    assert words(statements) == [("SELECT", "session"), ("UPDATE", "session")]
