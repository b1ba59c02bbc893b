"""How operators sign in at the Admin API, and how that ends."""

import base64
import uuid
from datetime import timedelta
from typing import Any

import jwt
import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone

from anonusers.models import Application, AuditEvent, EndUser, Project
from anonusers.realm_users import realm_app_of
from anonusers.sealing import derive
from anonusers.tokens import secret_hash
from portal.models import Membership, OperatorKey, OperatorToken
from portal.operator_keys import MOST, create_key, revoke_key
from portal.operator_tokens import ACCESS, PURPOSE
from tests.conftest import HOST, row_counts
from tests.portal.conftest import PASSWORD
from tests.portal.realm_admin.tools import BASE, REALM_CLI, STITCH_CLI, Tool, member, read, refused, tool_of

pytestmark = pytest.mark.django_db
LOCAL = {"username": "olga", "password": PASSWORD}


@pytest.mark.parametrize("headers", [STITCH_CLI, REALM_CLI])
def test_an_operator_signs_in_with_user_name_and_password(headers: dict[str, str], operator: Any) -> None:
    answer = read(Tool(headers).login("local-userpass", LOCAL))
    assert set(answer) == {"access_token", "refresh_token", "user_id", "device_id"}
    assert all(len(answer[name]) == 24 and int(answer[name], 16) for name in ("user_id", "device_id"))


@pytest.mark.parametrize("headers", [STITCH_CLI, REALM_CLI])
def test_an_operator_signs_in_with_an_api_key(headers: dict[str, str], operator: Any) -> None:
    made = create_key(user=operator, name="CI")
    body = {"username": made.row.public_key, "apiKey": made.private_key}
    assert Tool(headers).login("mongodb-cloud", body).status_code == 200
    made.row.refresh_from_db()
    assert made.row.last_used_at is not None
    assert made.private_key not in str(OperatorKey.objects.values().get())


def test_tokens_are_kept_as_hashes_and_written_as_both_tools_read_them(operator: Any) -> None:
    with time_machine.travel("2026-12-01T12:00:00Z", tick=False):
        tool = tool_of(operator)
    row = OperatorToken.objects.get()
    assert row.refresh_hash == secret_hash(tool.refresh)
    assert tool.refresh not in str(OperatorToken.objects.values().get())
    for token, seconds in ((tool.access, 1800), (tool.refresh, 5_184_000)):
        part = token.split(".")[1]
        # stitch-cli decodes the claims with the alphabet of plain base64, without padding.
        claims = jwt.api_jwt.json.loads(base64.b64decode(part + "=" * (-len(part) % 4), validate=True))
        assert claims["exp"] - claims["iat"] == seconds
        assert type(claims["exp"]) is int


def test_the_profile_lists_the_groups_of_the_operators_apps(operator: Any, project: Project, other: Project) -> None:
    tool = tool_of(member(project, "editor"))
    profile = tool.ask("GET", "/auth/profile")
    assert profile["roles"] == [{"role_name": "GROUP_EDITOR", "group_id": realm_app_of(project).group_id}]
    assert profile["data"] == {"name": "editor"}
    groups = {role["group_id"] for role in tool_of(operator).ask("GET", "/auth/profile")["roles"]}
    assert groups >= {realm_app_of(project).group_id, realm_app_of(other).group_id}


def test_a_refresh_gives_an_access_token_only(admin: Tool) -> None:
    response = admin.send("POST", "/auth/session", token=admin.refresh)
    assert response.status_code == 201
    assert set(read(response)) == {"access_token"}
    assert admin.send("GET", "/auth/profile", token=read(response)["access_token"]).status_code == 200
    # realm-cli sends a JSON type beside no body, too.
    again = admin.send("POST", "/auth/session", b"", token=admin.refresh)
    assert again.status_code == 201


def test_logging_out_ends_both_tokens(admin: Tool) -> None:
    assert read(admin.send("DELETE", "/auth/session", token=admin.refresh)) is None
    refused(admin.send("GET", "/auth/profile"), 401, "InvalidSession")
    refused(admin.send("POST", "/auth/session", token=admin.refresh), 401, "InvalidSession")
    refused(admin.send("DELETE", "/auth/session", token=admin.refresh), 401, "InvalidSession")
    assert not OperatorToken.objects.exists()


def test_an_access_token_ends_after_half_an_hour_and_is_refreshed_once(operator: Any) -> None:
    with time_machine.travel("2026-12-01T12:00:00Z", tick=False) as clock:
        tool = tool_of(operator)
        clock.shift(1799)
        assert tool.send("GET", "/auth/profile").status_code == 200
        clock.shift(1)
        refused(tool.send("GET", "/auth/profile"), 401, "InvalidSession")
        tool.ask("GET", "/auth/profile")
        assert tool.asked[-3:] == ["GET /auth/profile", "POST /auth/session", "GET /auth/profile"]


def test_a_sign_in_lasts_sixty_days_and_its_row_goes(operator: Any) -> None:
    with time_machine.travel("2026-12-01T12:00:00Z", tick=False) as clock:
        tool = tool_of(operator)
        clock.shift(timedelta(days=60, seconds=-10))
        late = read(tool.send("POST", "/auth/session", token=tool.refresh))["access_token"]
        clock.shift(10)
        refused(tool.send("POST", "/auth/session", token=tool.refresh), 401, "InvalidSession")
        refused(tool.send("GET", "/auth/profile", token=late), 401, "InvalidSession")
        tool_of(operator)
        assert OperatorToken.objects.count() == 1


# --- what ends it from elsewhere ------------------------------------------------------------------


def _ended(tool: Tool) -> None:
    refused(tool.send("GET", "/auth/profile"), 401, "InvalidSession")
    refused(tool.send("POST", "/auth/session", token=tool.refresh), 401, "InvalidSession")


@pytest.mark.parametrize("flags", [{"is_active": False}, {"is_staff": False}])
def test_who_is_no_operator_any_more_is_out_at_once(flags: dict[str, bool], operator: Any, admin: Tool) -> None:
    get_user_model().objects.filter(pk=operator.pk).update(**flags)
    _ended(admin)


def test_who_became_a_person_of_a_project_is_out_at_once(operator: Any, admin: Tool, project: Project) -> None:
    EndUser.objects.create(project=project, user=operator)
    _ended(admin)


def test_a_new_password_ends_what_was_opened_with_the_old_one_and_leaves_keys_alone(operator: Any) -> None:
    by_password, by_key = Tool(), tool_of(operator)
    by_password.login("local-userpass", LOCAL)
    operator.set_password("another one")
    operator.save()
    _ended(by_password)
    assert by_key.send("GET", "/auth/profile").status_code == 200


def test_a_revoked_key_ends_what_was_opened_with_it(operator: Any, admin: Tool) -> None:
    key = OperatorKey.objects.get()
    assert revoke_key(user=operator, pk=key.pk)
    _ended(admin)
    assert [event.type for event in AuditEvent.objects.order_by("pk")] == [
        "operator_key.created",
        "operator_key.revoked",
    ]
    assert revoke_key(user=operator, pk=key.pk) is None


def test_nobody_revokes_the_key_of_somebody_else(operator: Any, admin: Tool) -> None:
    somebody = get_user_model().objects.create_user("otto", is_staff=True)
    assert revoke_key(user=somebody, pk=OperatorKey.objects.get().pk) is None
    assert admin.send("GET", "/auth/profile").status_code == 200


def test_who_left_the_team_finds_the_app_no_more(project: Project) -> None:
    tool = tool_of(member(project, "owner"))
    ids = realm_app_of(project)
    assert tool.send("GET", f"/groups/{ids.group_id}/apps/{ids.object_id}").status_code == 200
    Membership.objects.all().delete()
    refused(tool.send("GET", f"/groups/{ids.group_id}/apps/{ids.object_id}"), 404, "AppNotFound")
    assert tool.ask("GET", "/auth/profile")["roles"] == []


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "body"),
    [
        ("local-userpass", {"username": "olga", "password": "wrong"}),
        ("local-userpass", {"username": "nobody", "password": PASSWORD}),
        ("local-userpass", {"username": "someone", "password": PASSWORD}),
        ("mongodb-cloud", {"username": "olga", "apiKey": PASSWORD}),
        ("mongodb-cloud", {"username": "abcdefgh", "apiKey": str(uuid.uuid4())}),
    ],
)
def test_wrong_credentials_read_alike_and_open_nothing(provider: str, body: dict[str, str], operator: Any) -> None:
    get_user_model().objects.create_user("someone", password=PASSWORD)
    refused(response := Tool().login(provider, body), 401, "InvalidPassword")
    assert read(response)["error"] == "invalid username/password"
    assert not OperatorToken.objects.exists()


def test_a_key_that_is_revoked_or_whose_operator_left_opens_nothing(operator: Any) -> None:
    made = create_key(user=operator, name="CI")
    body = {"username": made.row.public_key, "apiKey": made.private_key}
    get_user_model().objects.filter(pk=operator.pk).update(is_active=False)
    refused(Tool().login("mongodb-cloud", body), 401, "InvalidPassword")
    get_user_model().objects.filter(pk=operator.pk).update(is_active=True)
    refused(Tool().login("mongodb-cloud", {**body, "username": body["username"].upper()}), 401, "InvalidPassword")
    revoke_key(user=operator, pk=made.row.pk)
    refused(Tool().login("mongodb-cloud", body), 401, "InvalidPassword")
    assert not OperatorToken.objects.exists()


@pytest.mark.parametrize("provider", ["anon-user", "api-key", "x", "%00"])
def test_other_providers_are_not_there(provider: str, operator: Any) -> None:
    refused(Tool().login(provider, LOCAL), 404, "AuthProviderNotFound")


MALFORMED: list[Any] = [
    b"{",
    b"[]",
    b'"text"',
    b"null",
    b"\xff",
    b'{"username": "olga"}',
    b'{"username": 1, "password": "x"}',
    b'{"username": "", "password": "x"}',
    b'{"username": "olga", "password": null}',
    b'{"username": "ol\\u0000ga", "password": "x"}',
    b'{"username": "\\ud800", "password": "x"}',
    b'{"username": NaN, "password": "x"}',
    b'{"username": "' + b"x" * 300 + b'", "password": "x"}',
    b"[" * 100_000,
    b"",
]


@pytest.mark.parametrize("body", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_bodies_are_bad_requests(body: bytes, operator: Any) -> None:
    response = Tool().send("POST", "/auth/providers/local-userpass/login", body, token="")
    assert response.status_code == 400, response.content
    assert read(response)["error_code"] in ("BadRequest", "MissingParameter", "InvalidParameter")
    assert not OperatorToken.objects.exists()


def test_no_token_no_answer(project: Project) -> None:
    ids = realm_app_of(project)
    for path in ("/auth/profile", f"/groups/{ids.group_id}/apps", f"/groups/{ids.group_id}/apps/{ids.object_id}/users"):
        response = Tool().send("GET", path)
        refused(response, 401, "MissingAuthReq")
        assert response["WWW-Authenticate"] == "Bearer"


def _forged(**changes: Any) -> str:
    now = int(timezone.now().timestamp())
    claims = {"iat": now, "exp": now + 1800, "sid": str(OperatorToken.objects.get().pk)} | changes
    return jwt.encode(claims, derive(PURPOSE), "HS256", headers={"typ": ACCESS})


def test_forged_tokens_are_refused(admin: Tool, application: Application) -> None:
    sid = str(OperatorToken.objects.get().pk)
    assert admin.send("GET", "/auth/profile", token=_forged()).status_code == 200  # else the rest proves nothing
    head, body, signature = admin.access.split(".")
    unsigned = jwt.encode({"exp": 2**40, "sid": sid}, "", "none", headers={"typ": ACCESS})
    other_key = jwt.encode({"exp": 2**40, "sid": sid}, b"x" * 32, "HS256", headers={"typ": ACCESS})
    other_kind = jwt.encode({"exp": 2**40, "sid": sid}, derive(PURPOSE), "HS256", headers={"typ": "JWT"})
    for token in (
        *("null", "x", "a.b.c", "ä.b.c", "x" * 5_000, unsigned, other_key, other_kind, admin.refresh),
        *(f"{head}.{body}.", f"{head}.{body}.{signature[:-2]}", f"{head}.{body}x.{signature}"),
        *(_forged(sid=str(uuid.uuid4())), _forged(sid=None), _forged(sid=1), _forged(exp="later"), _forged(exp=0)),
        *(_forged(exp=True), _forged(exp=2.5)),
    ):
        refused(admin.send("GET", "/auth/profile", token=token), 401, "InvalidSession")


def test_an_access_token_refreshes_nothing_and_a_refresh_token_reads_nothing(admin: Tool) -> None:
    refused(admin.send("POST", "/auth/session", token=admin.access), 401, "InvalidSession")
    refused(admin.send("DELETE", "/auth/session", token=admin.access), 401, "InvalidSession")
    refused(admin.send("GET", "/auth/profile", token=admin.refresh), 401, "InvalidSession")
    assert admin.send("GET", "/auth/profile").status_code == 200


def test_tokens_of_end_users_open_nothing_here_and_those_of_operators_nothing_there(
    admin: Tool, application: Application, browser_client: Client
) -> None:
    guest = browser_client.post("/api/v1/signup/", {"client_id": application.client_id}, "application/json").json()
    for token in (guest["access_token"], guest["refresh_token"]):
        refused(admin.send("GET", "/auth/profile", token=token), 401, "InvalidSession")
        refused(admin.send("POST", "/auth/session", token=token), 401, "InvalidSession")
    for path in ("/api/v1/userinfo/", "/api/client/v2.0/auth/profile", "/oauth2/userinfo"):
        for token in (admin.access, admin.refresh):
            answer = Client(HTTP_HOST=HOST).get(path, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code in (401, 404), path


def test_a_cookie_signs_nobody_in(portal: Client, project: Project) -> None:
    response = portal.get(f"{BASE}/auth/profile")
    refused(response, 401, "MissingAuthReq")


# --- counters: those of the portal's own form -----------------------------------------------------


def test_attempts_from_one_address_are_bounded(operator: Any, settings: Any) -> None:
    settings.ANONUSERS_PORTAL_LOGIN_PER_IP = "3/m"
    with time_machine.travel(0, tick=False):
        for _ in range(3):
            assert Tool().login("local-userpass", LOCAL | {"password": "wrong"}).status_code == 401
        response = Tool().login("local-userpass", LOCAL)
        refused(response, 429, "TooManyRequests")
        assert response["Retry-After"] == "60"
        assert Client(HTTP_HOST=HOST).post("/portal/login/", LOCAL).status_code == 429
        assert Tool(REMOTE_ADDR="192.0.2.7").login("local-userpass", LOCAL).status_code == 200


def test_failures_here_lock_the_name_in_the_portal_too_and_the_other_way_round(operator: Any, settings: Any) -> None:
    settings.ANONUSERS_PORTAL_LOGIN_PER_NAME = "2/h"
    wrong = {"username": " OLGA ", "password": "wrong"}
    with time_machine.travel(0, tick=False) as clock:
        assert Client(HTTP_HOST=HOST, REMOTE_ADDR="192.0.2.1").post("/portal/login/", wrong).status_code == 400
        tools = [Tool(REMOTE_ADDR=f"192.0.2.{last}") for last in range(2, 5)]
        assert [tool.login("local-userpass", wrong).status_code for tool in tools] == [401, 429, 429]
        assert Tool(REMOTE_ADDR="192.0.2.9").login("local-userpass", LOCAL).status_code == 429
        assert Client(HTTP_HOST=HOST, REMOTE_ADDR="192.0.2.8").post("/portal/login/", LOCAL).status_code == 429
        assert not OperatorToken.objects.exists()
        clock.shift(3601)
        assert Tool(REMOTE_ADDR="192.0.2.9").login("local-userpass", LOCAL).status_code == 200


def test_failures_with_a_public_key_are_bounded_and_lock_no_name(operator: Any, settings: Any) -> None:
    settings.ANONUSERS_PORTAL_LOGIN_PER_NAME = "1/h"
    wrong = {"username": "olga", "apiKey": "wrong"}
    assert [Tool().login("mongodb-cloud", wrong).status_code for _ in range(3)] == [401, 429, 429]
    assert Tool().login("local-userpass", LOCAL).status_code == 200


def test_an_operator_has_so_many_keys_at_most(operator: Any) -> None:
    from django.core.exceptions import ValidationError

    for number in range(MOST):
        create_key(user=operator, name=str(number))
    with pytest.raises(ValidationError, match="You have 20 keys already"):
        create_key(user=operator, name="one more")
    assert OperatorKey.objects.count() == MOST
    assert len(set(OperatorKey.objects.values_list("public_key", flat=True))) == MOST


# --- the frame ------------------------------------------------------------------------------------


def test_realm_cli_finds_out_that_somebody_is_there() -> None:
    response = Client(HTTP_HOST=HOST).get("/api/private/v1.0/version", headers=REALM_CLI)
    assert read(response) == {"version": "3.0"}


@pytest.mark.parametrize(
    "path",
    [
        *("/api/admin", "/api/admin/", "/api/admin/v3.0", "/api/admin/v3.0/", "/api/admin/v2.0/auth/profile"),
        *("/api/admin/v3.0/auth/profile/", "/api/admin/v3.0/x", "/api/private/v1.0/x"),
        "/api/admin/v3.0/groups/x/apps/y/functions",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_what_is_not_there_is_said_in_json(path: str, method: str) -> None:
    refused(Client(HTTP_HOST=HOST).generic(method, path), 404, "NotFound")


def test_wrong_methods_are_refused_in_json_and_no_site_is_let_in(admin: Tool) -> None:
    response = admin.send("PATCH", "/auth/providers/local-userpass/login", {})
    refused(response, 405, "BadRequest")
    assert response["Allow"] == "POST"
    preflight = admin.send("OPTIONS", "/auth/profile", token="", Origin="https://evil.example")
    assert preflight.status_code == 401
    assert "Access-Control-Allow-Origin" not in preflight.headers
    with_token = admin.send("OPTIONS", "/auth/profile", Origin="https://evil.example")
    refused(with_token, 405, "BadRequest")


def test_signing_in_writes_no_session_and_no_cookie(operator: Any) -> None:
    from django.contrib.sessions.models import Session

    before = row_counts()
    Tool().login("local-userpass", LOCAL)
    assert not Session.objects.exists()
    assert row_counts() == before
