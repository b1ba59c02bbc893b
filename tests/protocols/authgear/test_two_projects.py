"""Two projects on two hosts: what belongs to A is garbage at B, and still works at A."""

from collections.abc import Callable

import pytest
from django.test import Client

from anonusers.models import Project, Session
from tests.protocols.authgear.steps import (
    COOKIE,
    END_SESSION,
    JWKS,
    NO_SUCH_TOKEN,
    RESOLVE,
    ask_for_cookie,
    ask_for_tokens,
    ask_id_token,
    assert_api_error,
    assert_no_session,
    assert_oauth_error,
    bearer,
    claims_of,
    configure,
    get_cookie,
    get_tokens,
    nothing_changes,
    refresh,
    refreshed,
    revoke,
    sub_of,
    userinfo,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]

A, B = "a.localhost:8000", "b.localhost:8000"
INVALID = (400, "Invalid", "Invalid")


@pytest.fixture
def at_a(project_a: Project, visit: Callable[..., Client]) -> Client:
    return visit(A)


@pytest.fixture
def at_b(project_b: Project, visit: Callable[..., Client]) -> Client:
    return visit(B)


def test_a_refresh_token_of_a_is_garbage_at_b(at_a: Client, at_b: Client) -> None:
    tokens = get_tokens(at_a)
    with nothing_changes():
        assert_oauth_error(refresh(at_b, tokens["refresh_token"]), *NO_SUCH_TOKEN)
        response = ask_for_tokens(at_b, tokens["refresh_token"])
        assert_api_error(response, *INVALID, "invalid refresh token")
        assert revoke(at_b, tokens["refresh_token"]).status_code == 200
        assert revoke(at_b, tokens["refresh_token"], client_id="web").status_code == 200
    assert refresh(at_a, tokens["refresh_token"]).status_code == 200


def test_an_old_token_of_a_is_garbage_at_b_and_ends_nothing(at_a: Client, at_b: Client) -> None:
    first = get_tokens(at_a)["refresh_token"]
    latest = refreshed(at_a, refreshed(at_a, first)["refresh_token"])
    with nothing_changes():
        assert_oauth_error(refresh(at_b, first), *NO_SUCH_TOKEN)
        assert ask_for_tokens(at_b, first).status_code == 400
        assert revoke(at_b, first).status_code == 200
    assert refresh(at_a, latest["refresh_token"]).status_code == 200


@pytest.mark.parametrize("jwt_tokens", [True, False], ids=["jwt", "opaque"])
def test_an_access_token_of_a_is_garbage_at_b(project_a: Project, at_a: Client, at_b: Client, jwt_tokens: bool) -> None:
    configure(project_a.applications.get(client_id="web"), issue_jwt_access_token=jwt_tokens)
    token = get_tokens(at_a)["access_token"]
    with nothing_changes():
        assert_no_session(userinfo(at_b, token))
        assert_oauth_error(ask_id_token(at_b, token), 401, "invalid_grant")
        assert "X-Authgear-Session-Valid" not in at_b.get(RESOLVE, **bearer(token)).headers
        assert revoke(at_b, token).status_code == 200
    assert userinfo(at_a, token).status_code == 200


def test_a_client_id_of_a_is_unknown_at_b(at_a: Client, at_b: Client) -> None:
    tokens = get_tokens(at_a, client_id="only-in-a")
    with nothing_changes():
        assert_api_error(ask_for_tokens(at_b, client_id="only-in-a"), *INVALID, "invalid client ID")
        response = refresh(at_b, tokens["refresh_token"], client_id="only-in-a")
        assert_oauth_error(response, 400, "invalid_client", "invalid client ID")
        response = ask_id_token(at_b, tokens["access_token"], client_id="only-in-a")
        assert_oauth_error(response, 400, "invalid_client", "invalid client ID")
    assert refresh(at_a, tokens["refresh_token"], client_id="only-in-a").status_code == 200


def test_a_cookie_of_a_is_garbage_at_b(at_a: Client, at_b: Client) -> None:
    value = get_cookie(at_a)
    sub = sub_of(at_a)
    at_b.cookies[COOKIE] = value
    with nothing_changes():
        assert_no_session(userinfo(at_b))
        assert_oauth_error(ask_id_token(at_b), 401, "invalid_grant")
    response = ask_for_cookie(at_b)
    assert response.cookies[COOKIE].value != value
    assert sub_of(at_b) != sub
    assert sub_of(at_a) == sub


def test_a_cookie_of_a_logs_nobody_out_at_b(at_a: Client, at_b: Client) -> None:
    at_b.cookies[COOKIE] = get_cookie(at_a)
    at_b.cookies["same_site_strict"] = "true"
    with nothing_changes():
        at_b.get(END_SESSION)
    assert userinfo(at_a).status_code == 200


def test_an_id_token_of_a_proves_nothing_at_b(at_a: Client, at_b: Client) -> None:
    get_cookie(at_a)
    hint = ask_id_token(at_a).json()["id_token"]
    get_cookie(at_b)
    at_b.cookies.pop("same_site_strict")
    with nothing_changes():
        response = at_b.get(END_SESSION, {"id_token_hint": hint})
    assert response["Location"].startswith("/logout?")


def test_each_project_signs_with_its_own_keys(at_a: Client, at_b: Client) -> None:
    kids = [{key["kid"] for key in client.get(JWKS).json()["keys"]} for client in (at_a, at_b)]
    assert not kids[0] & kids[1]
    for client, host in ((at_a, A), (at_b, B)):
        issuer = f"http://{host}"
        tokens = refreshed(client, get_tokens(client)["refresh_token"])
        assert claims_of(client, tokens["access_token"], issuer=issuer, audience=issuer)["iss"] == issuer
        assert claims_of(client, tokens["id_token"], issuer=issuer, audience="web")["aud"] == ["web"]


def test_the_same_browser_is_two_guests(at_a: Client, at_b: Client) -> None:
    assert sub_of(at_a, get_tokens(at_a)["access_token"]) != sub_of(at_b, get_tokens(at_b)["access_token"])
    assert {session.project.slug for session in Session.objects.all()} == {"alpha", "beta"}


def test_the_toggle_of_a_is_not_the_toggle_of_b(project_a: Project, at_a: Client, at_b: Client) -> None:
    configure(project_a, anonymous_users_enabled=False)
    with nothing_changes():
        assert_api_error(ask_for_tokens(at_a), *INVALID, "anonymous user disallowed")
        assert_api_error(ask_for_cookie(at_a), *INVALID, "anonymous user disallowed")
    assert ask_for_tokens(at_b).status_code == 200
    assert ask_for_cookie(at_b).status_code == 200


def test_two_hosts_of_one_project_share_their_guests_but_not_their_issuer(
    project_a: Project, at_a: Client, visit: Callable[..., Client]
) -> None:
    project_a.domains.create(domain="www.a.localhost")
    elsewhere = visit("www.a.localhost:8000")
    tokens = get_tokens(at_a)
    with nothing_changes():
        assert_no_session(userinfo(elsewhere, tokens["access_token"]))
    new = refreshed(elsewhere, tokens["refresh_token"])
    assert sub_of(elsewhere, new["access_token"]) == sub_of(at_a, tokens["access_token"])
