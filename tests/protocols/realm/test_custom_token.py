"""`custom-token`: who came by another door goes on with MongoDB's SDK, as the same person; and what is refused."""

from datetime import timedelta
from typing import Any

import jwt
import pytest
import time_machine
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from anonusers.models import EndUser, Project, RealmIdentity, RealmUser, Session
from anonusers.sessions import mint_tokens
from anonusers.tokens import Issuer
from tests.conftest import HOST, ORIGIN, make_application, make_project
from tests.protocols.authgear.proofs import proof
from tests.protocols.authgear.steps import (
    ENDINGS,
    FULL_ACCESS,
    Ending,
    ask_for_tokens,
    be_promoted,
    bearer,
    configure,
    get_tokens,
    make_regular,
    nothing_changes,
    post_json,
    refresh,
    sub_of,
)

pytestmark = [pytest.mark.django_db, pytest.mark.spec("realm.md", "13")]

APP = "shop-abcde"
BASE = "/api/client/v2.0"
LOGIN = f"{BASE}/app/{APP}/auth/providers/custom-token/login"
NO_PROVIDER = {"error": "authentication provider not found", "error_code": "AuthProviderNotFound"}
DEVICE = "6b0061f8634a635b817a5acc"


@pytest.fixture
def shop(project: Project) -> Project:
    """The project of the application `web`, which is a Realm app, too."""
    configure(project, realm_app_id=APP)
    make_application(project, APP, redirect_uris=[])
    make_application(project, "web")
    return project


@pytest.fixture
def browser(db: None) -> Client:
    return Client(HTTP_HOST=HOST, raise_request_exception=False)


@pytest.fixture
def guest(shop: Project, browser: Client) -> dict[str, Any]:
    return get_tokens(browser)


@pytest.fixture
def subject(guest: dict[str, Any]) -> Session:
    return Session.objects.in_full().get()


def log_in(client: Client, token: Any, path: str = LOGIN, **extra: Any) -> HttpResponse:
    return post_json(client, path, {"token": token, "options": {"device": {"deviceId": {"$oid": DEVICE}}}}, **extra)


def assert_no_provider(response: HttpResponse) -> None:
    """The same for whatever is wrong: it tells nothing about the token."""
    assert (response.status_code, response.json()) == (404, NO_PROVIDER)
    assert response.headers["Content-Type"] == "application/json"
    assert not response.cookies


# --- what it is for -----------------------------------------------------------------------------------------------


def test_a_guest_of_another_door_gets_a_session_here(guest: dict[str, Any], subject: Session, browser: Client) -> None:
    with time_machine.travel(timezone.now() + timedelta(seconds=30), tick=False):
        response = log_in(browser, guest["access_token"])

    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
    assert response.headers["Cache-Control"] == "no-store"
    body = response.json()
    assert set(body) == {"access_token", "refresh_token", "user_id", "device_id"}
    user = RealmUser.objects.get()
    assert (body["user_id"], body["device_id"]) == (user.object_id, DEVICE)
    assert user.end_user_id == subject.end_user_id
    new = Session.objects.in_full().exclude(pk=subject.pk).get()
    assert (new.end_user_id, new.application.client_id, new.scope) == (subject.end_user_id, APP, "")
    assert (new.auth_time, new.amr) == (subject.auth_time, subject.amr)
    assert EndUser.objects.count() == 1


def test_both_sessions_go_on(guest: dict[str, Any], subject: Session, browser: Client) -> None:
    body = log_in(browser, guest["access_token"]).json()

    profile = browser.get(f"{BASE}/auth/profile", **bearer(body["access_token"]))
    assert profile.status_code == 200
    assert [one["provider_type"] for one in profile.json()["identities"]] == ["anon-user"]
    assert browser.post(f"{BASE}/auth/session", **bearer(body["refresh_token"])).status_code == 201
    assert sub_of(browser, guest["access_token"]) == str(subject.end_user_id)
    assert refresh(browser, guest["refresh_token"]).status_code == 200


def test_the_ids_stay_the_same(guest: dict[str, Any], browser: Client) -> None:
    first, second = (log_in(browser, guest["access_token"]).json()["user_id"] for _ in range(2))
    assert first == second
    assert RealmIdentity.objects.count() == RealmUser.objects.count() == 1


def test_a_regular_user_goes_on_as_such(guest: dict[str, Any], subject: Session, browser: Client) -> None:
    make_regular(subject)
    subject.end_user.login_ids.create(project=subject.project, type="email", value="ada@example.com", key="k")
    configure(subject.project, anonymous_users_enabled=False)
    body = log_in(browser, guest["access_token"]).json()
    profile = browser.get(f"{BASE}/auth/profile", **bearer(body["access_token"])).json()
    assert [one["provider_type"] for one in profile["identities"]] == ["local-userpass"]
    assert profile["data"] == {"email": "ada@example.com"}


def test_tokens_of_the_native_api_are_as_good(shop: Project, browser: Client) -> None:
    answer = post_json(browser, "/api/v1/signup/", {"client_id": "web"})
    assert answer.status_code in (200, 201), answer.content
    assert log_in(browser, answer.json()["access_token"]).status_code == 200
    assert EndUser.objects.count() == 1


def test_opaque_tokens_too(shop: Project, browser: Client) -> None:
    configure(shop.applications.get(client_id="web"), issue_jwt_access_token=False)
    token = get_tokens(browser)["access_token"]
    assert token.count(".") == 0
    assert log_in(browser, token).status_code == 200


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, 7, {}, "", "junk", "a.b.c", "x" * 9000, ["junk"]], ids=repr)
def test_what_is_no_token_of_ours(shop: Project, browser: Client, token: Any) -> None:
    with nothing_changes():
        assert_no_provider(log_in(browser, token))


def test_no_body_at_all(shop: Project, browser: Client) -> None:
    with nothing_changes():
        assert_no_provider(browser.generic("POST", LOGIN, b""))


def test_somebody_elses_jwt(shop: Project, browser: Client) -> None:
    """MongoDB's customers put the tokens of their identity provider here. It is none of this project's."""
    claims = {"sub": "ada", "aud": APP, "iat": 1, "exp": 9_999_999_999}
    with nothing_changes():
        assert_no_provider(log_in(browser, jwt.encode(claims, "x" * 32, "HS256")))


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
def test_a_session_that_is_over(guest: dict[str, Any], subject: Session, browser: Client, ending: Ending) -> None:
    ending(subject)
    with nothing_changes():
        assert_no_provider(log_in(browser, guest["access_token"]))


def test_a_token_that_has_expired(guest: dict[str, Any], browser: Client) -> None:
    with time_machine.travel(timezone.now() + timedelta(seconds=1801), tick=False), nothing_changes():
        assert_no_provider(log_in(browser, guest["access_token"]))


def test_other_tokens_of_the_same_session(guest: dict[str, Any], subject: Session, browser: Client) -> None:
    issuer = Issuer(ORIGIN, lambda info: {})
    id_token = mint_tokens(subject, issuer=issuer, with_id_token=True).id_token
    with nothing_changes():
        for token in (guest["refresh_token"], id_token):
            assert_no_provider(log_in(browser, token))


def test_a_token_of_this_door_gets_nothing_here(shop: Project, browser: Client) -> None:
    """Else a stolen access token would become a refresh token."""
    own = post_json(browser, f"{BASE}/app/{APP}/auth/providers/anon-user/login", {}).json()
    with nothing_changes():
        for token in (own["access_token"], own["refresh_token"]):
            assert_no_provider(log_in(browser, token))


def test_a_token_for_another_origin(guest: dict[str, Any], subject: Session, browser: Client) -> None:
    token = mint_tokens(subject, issuer=Issuer("https://elsewhere.example", lambda info: {})).access_token
    with nothing_changes():
        assert_no_provider(log_in(browser, token))


def test_a_guest_of_another_project(guest: dict[str, Any], browser: Client) -> None:
    other = make_project("elsewhere", "elsewhere.localhost")
    configure(other, realm_app_id="else-aaaaa")
    make_application(other, "else-aaaaa", redirect_uris=[])
    path = f"{BASE}/app/else-aaaaa/auth/providers/custom-token/login"
    with nothing_changes():
        assert_no_provider(log_in(browser, guest["access_token"], path))
        assert_no_provider(log_in(browser, guest["access_token"], path, HTTP_HOST="elsewhere.localhost:8000"))


def test_who_was_given_little_gets_no_more(guest: dict[str, Any], subject: Session, browser: Client) -> None:
    """A client with `openid` only must not have all that MongoDB's clients may do made of it."""
    for scope in ("openid", "openid offline_access profile", f"openid {FULL_ACCESS}-not"):
        Session.objects.update(scope=scope)
        with nothing_changes():
            assert_no_provider(log_in(browser, guest["access_token"]))
    Session.objects.update(scope=f"openid {FULL_ACCESS}")
    assert log_in(browser, guest["access_token"]).status_code == 200


def test_what_is_bound_to_a_key_stays_bound(shop: Project, browser: Client) -> None:
    """MongoDB's clients show no key: whoever has copied an access token would get rid of it."""
    tokens = ask_for_tokens(browser, **proof(path="/api/anonymous_user/signup")).json()["result"]
    assert Session.objects.get().dpop_jkt
    with nothing_changes():
        assert_no_provider(log_in(browser, tokens["access_token"]))
    configure(shop.applications.get(client_id="web"), dpop_enabled=False)
    assert log_in(browser, tokens["access_token"]).status_code == 200, "where the application does not care"


def test_the_toggle_keeps_guests_out(guest: dict[str, Any], subject: Session, browser: Client) -> None:
    configure(subject.project, anonymous_users_enabled=False)
    with nothing_changes():
        assert_no_provider(log_in(browser, guest["access_token"]))


def test_it_is_no_way_to_link(guest: dict[str, Any], browser: Client) -> None:
    own = post_json(browser, f"{BASE}/app/{APP}/auth/providers/anon-user/login", {}).json()
    with nothing_changes():
        response = log_in(browser, guest["access_token"], f"{LOGIN}?link=true", **bearer(own["access_token"]))
        assert_no_provider(response)


def test_what_promotion_has_ended_vouches_for_nobody(guest: dict[str, Any], subject: Session, browser: Client) -> None:
    stolen = log_in(browser, guest["access_token"]).json()
    be_promoted(subject.end_user)
    with nothing_changes():
        assert_no_provider(log_in(browser, guest["access_token"]))
        assert browser.post(f"{BASE}/auth/session", **bearer(stolen["refresh_token"])).status_code == 401


def test_nobody_needs_many_of_them(guest: dict[str, Any], browser: Client, settings: Any) -> None:
    settings.ANONUSERS_LOGIN_PER_ACCOUNT_AND_IP = "1/m"
    assert log_in(browser, guest["access_token"]).status_code == 200
    with nothing_changes():
        response = log_in(browser, guest["access_token"])
        assert (response.status_code, response.json()["error_code"]) == (429, "TooManyRequests")
        assert 0 < int(response.headers["Retry-After"]) <= 60


def test_pages_that_the_project_does_not_list(guest: dict[str, Any], browser: Client) -> None:
    with nothing_changes():
        response = log_in(browser, guest["access_token"], HTTP_ORIGIN="https://evil.example")
        assert (response.status_code, response.json()["error_code"]) == (403, "DomainNotAllowed")


def test_an_app_that_there_is_none_of(guest: dict[str, Any], browser: Client) -> None:
    with nothing_changes():
        response = log_in(browser, guest["access_token"], f"{BASE}/app/nobody/auth/providers/custom-token/login")
        assert (response.status_code, response.json()["error_code"]) == (404, "AppNotFound")


def test_neither_kind_of_token_opens_the_other_door(guest: dict[str, Any], browser: Client) -> None:
    """An exchange is the only way from one to the other."""
    body = log_in(browser, guest["access_token"]).json()
    with nothing_changes():
        for token in (body["access_token"], body["refresh_token"]):
            assert browser.get("/oauth2/userinfo", **bearer(token)).status_code == 401
            assert refresh(browser, token, APP).json()["error"] == "invalid_grant"
        for token in (guest["access_token"], guest["refresh_token"]):
            for method, path in (("GET", "profile"), ("POST", "session"), ("DELETE", "delete")):
                answer = browser.generic(method, f"{BASE}/auth/{path}", **bearer(token))
                assert (answer.status_code, answer.json()["error_code"]) == (401, "InvalidSession")
