"""RFC 8693: who came by MongoDB's SDK goes on with Authgear's, as the same person; and what must not become of that."""

import json
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from anonusers import events
from anonusers.models import Application, EndUser, Project, Session
from tests.conftest import make_application, make_project
from tests.protocols.authgear.conftest import HOST_A
from tests.protocols.authgear.exchanging import (
    ACCESS_TYPE,
    GRANT,
    JWT_TYPE,
    NOT_VALID,
    PROFILE,
    REFRESH_TYPE,
    SESSION,
    exchange,
    exchanged,
    give_realm_app,
    realm_guest,
)
from tests.protocols.authgear.proofs import KEY, REFUSED, proof
from tests.protocols.authgear.steps import (
    CLAIM,
    ENDINGS,
    FULL_ACCESS,
    SCOPE,
    TOKEN,
    Ending,
    assert_never_cached,
    assert_oauth_error,
    bearer,
    claims_of,
    configure,
    get_tokens,
    make_regular,
    nothing_changes,
    post_form,
    post_json,
    refreshed,
    sub_of,
)
from tests.protocols.authgear.test_dpop import thumbprint

pytestmark = [pytest.mark.django_db, pytest.mark.spec("RFC 8693", "2")]


@pytest.fixture
def shop(application: Application) -> Application:
    """The application `web`, whose project is a Realm app, too."""
    give_realm_app(application.project)
    return application


@pytest.fixture
def guest(shop: Application, browser: Client) -> dict[str, str]:
    return realm_guest(browser)


@pytest.fixture
def subject(guest: dict[str, str]) -> Session:
    return Session.objects.in_full().get()


# --- what it is for -----------------------------------------------------------------------------------------------


@pytest.mark.spec("RFC 8693", "2.2.1")
def test_a_guest_of_the_other_sdk_gets_a_session_here(
    guest: dict[str, str], subject: Session, browser: Client, django_capture_on_commit_callbacks: Any
) -> None:
    told: list[events.Event] = []

    def hear(event: events.Event, **kwargs: Any) -> None:
        told.append(event)

    events.user_authenticated.connect(hear)
    try:
        with (
            time_machine.travel(timezone.now() + timedelta(seconds=90), tick=False),
            django_capture_on_commit_callbacks(execute=True),
        ):
            response = exchange(browser, guest["access_token"])
            now = timezone.now()
    finally:
        events.user_authenticated.disconnect(hear)

    assert response.status_code == 200, response.content
    assert_never_cached(response)
    assert response.headers["Pragma"] == "no-cache"
    assert not response.cookies
    body = response.json()
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 1800, SCOPE)
    assert body["issued_token_type"] == ACCESS_TYPE
    assert set(body) == {
        *("token_type", "access_token", "expires_in", "refresh_token", "id_token"),
        *("scope", "issued_token_type"),
    }
    new = Session.objects.in_full().exclude(pk=subject.pk).get()
    assert (new.end_user_id, new.application.client_id, new.kind) == (subject.end_user_id, "web", "token")
    # It is no younger than what vouched for it: nobody has logged in again.
    assert (new.created_at, new.auth_time, new.scope) == (now, subject.created_at, SCOPE)
    claims = claims_of(browser, body["id_token"], audience="web", options={"verify_exp": False, "verify_iat": False})
    assert (claims["sub"], claims["auth_time"]) == (str(subject.end_user_id), int(subject.created_at.timestamp()))
    assert claims[f"{CLAIM}is_anonymous"] is True
    assert [(event.end_user.pk, event.session) for event in told] == [(subject.end_user_id, new)]


def test_both_sessions_go_on(guest: dict[str, str], subject: Session, browser: Client) -> None:
    tokens = exchanged(browser, guest["access_token"])

    assert sub_of(browser, tokens["access_token"]) == str(subject.end_user_id)
    assert sub_of(browser, refreshed(browser, tokens["refresh_token"])["access_token"]) == str(subject.end_user_id)
    profile = browser.get(PROFILE, **bearer(guest["access_token"]))
    assert (profile.status_code, profile.json()["user_id"]) == (200, guest["user_id"])
    assert browser.post(SESSION, **bearer(guest["refresh_token"])).status_code == 201
    assert EndUser.objects.count() == 1
    # And each may be left for itself.
    assert browser.delete(SESSION, **bearer(guest["refresh_token"])).status_code == 204
    assert sub_of(browser, tokens["access_token"]) == str(subject.end_user_id)


@pytest.mark.parametrize("type", [JWT_TYPE, ACCESS_TYPE])
def test_either_name_of_its_type_is_understood(guest: dict[str, str], browser: Client, type: str) -> None:
    body = exchanged(browser, guest["access_token"], subject_token_type=type, requested_token_type=ACCESS_TYPE)
    assert body["issued_token_type"] == ACCESS_TYPE


def test_a_regular_user_goes_on_as_such(guest: dict[str, str], subject: Session, browser: Client) -> None:
    make_regular(subject)
    configure(subject.project, anonymous_users_enabled=False)
    token = exchanged(browser, guest["access_token"])["access_token"]
    info = browser.get("/oauth2/userinfo", **bearer(token)).json()
    assert (info["sub"], info[f"{CLAIM}is_anonymous"]) == (str(subject.end_user_id), False)


@pytest.mark.parametrize(
    ("scope", "granted", "refreshes"),
    [
        ("openid", "openid", False),
        (f"openid {FULL_ACCESS} device_sso", f"openid {FULL_ACCESS}", False),
        ("offline_access openid openid", "offline_access openid", True),
    ],
)
def test_less_may_be_asked_for(
    guest: dict[str, str], browser: Client, scope: str, granted: str, refreshes: bool
) -> None:
    body = exchanged(browser, guest["access_token"], scope=scope)
    assert (body["scope"], "refresh_token" in body) == (granted, refreshes)


def test_one_session_only_where_the_application_says_so(
    guest: dict[str, str], shop: Application, browser: Client
) -> None:
    configure(shop, max_concurrent_sessions=1)
    first = exchanged(browser, guest["access_token"])
    second = exchanged(browser, guest["access_token"])
    assert browser.get("/oauth2/userinfo", **bearer(first["access_token"])).status_code == 401
    assert sub_of(browser, second["access_token"])
    assert browser.get(PROFILE, **bearer(guest["access_token"])).status_code == 200, "that of the other application"


@pytest.mark.spec("RFC 9449", "5")
def test_the_new_tokens_are_bound_to_the_key_that_is_shown(guest: dict[str, str], browser: Client) -> None:
    response = exchange(browser, guest["access_token"], proof())
    assert response.status_code == 200, response.content
    assert Session.objects.get(application__client_id="web").dpop_jkt == thumbprint(KEY)
    with nothing_changes():
        fields = {"grant_type": "refresh_token", "client_id": "web", "refresh_token": response.json()["refresh_token"]}
        assert_oauth_error(post_form(browser, TOKEN, fields), *REFUSED)


# --- what is refused ----------------------------------------------------------------------------------------------


def forged(token: str) -> str:
    header, claims, signature = token.split(".")
    return f"{header}.{claims}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


def by_another_key(token: str) -> str:
    claims = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(claims, "x" * 32, "HS256", headers=jwt.get_unverified_header(token) | {"alg": "HS256"})


def unsigned(token: str) -> str:
    return jwt.encode(jwt.decode(token, options={"verify_signature": False}), None, "none")


@pytest.mark.spec("RFC 8693", "2.2.2")
@pytest.mark.parametrize(
    "change",
    [forged, by_another_key, unsigned, lambda token: "junk", lambda token: "a.b.c", lambda token: token + "=" * 5000],
    ids=["forged", "another key", "unsigned", "junk", "three parts of junk", "too long"],
)
def test_what_is_no_token_of_ours(guest: dict[str, str], browser: Client, change: Any) -> None:
    with nothing_changes():
        assert_oauth_error(exchange(browser, change(guest["access_token"])), *NOT_VALID)


def test_a_refresh_token_is_no_access_token(guest: dict[str, str], browser: Client) -> None:
    with nothing_changes():
        assert_oauth_error(exchange(browser, guest["refresh_token"]), *NOT_VALID)
        response = exchange(browser, guest["refresh_token"], subject_token_type=REFRESH_TYPE)
        assert_oauth_error(response, 400, "invalid_request", "this subject_token_type is not supported")


def test_a_token_of_this_door_gets_nothing_here(shop: Application, browser: Client) -> None:
    """Else a stolen access token would become a refresh token."""
    make_application(shop.project, "other")
    tokens = get_tokens(browser)
    with nothing_changes():
        for client_id in ("web", "other"):
            for token in (tokens["access_token"], tokens["refresh_token"]):
                for type in (JWT_TYPE, ACCESS_TYPE):
                    response = exchange(browser, token, client_id=client_id, subject_token_type=type)
                    assert_oauth_error(response, *NOT_VALID)


def test_an_id_token_gets_nothing(guest: dict[str, str], browser: Client) -> None:
    id_token = exchanged(browser, guest["access_token"])["id_token"]
    with nothing_changes():
        assert_oauth_error(exchange(browser, id_token), *NOT_VALID)


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
def test_a_session_that_is_over(guest: dict[str, str], subject: Session, browser: Client, ending: Ending) -> None:
    ending(subject)
    with nothing_changes():
        response = exchange(browser, guest["access_token"])
        disabled = EndUser.objects.filter(pk=subject.end_user_id).exists() and (
            EndUser.objects.get().disabled_at or not EndUser.objects.get().user.is_active
        )
        words = "the user of the subject token is disabled" if disabled else NOT_VALID[2]
        assert_oauth_error(response, *NOT_VALID[:2], words)


def test_a_token_that_has_expired(guest: dict[str, str], browser: Client) -> None:
    with time_machine.travel(timezone.now() + timedelta(seconds=1801), tick=False), nothing_changes():
        assert_oauth_error(exchange(browser, guest["access_token"]), *NOT_VALID)


def test_a_guest_of_another_project(project_a: Project, project_b: Project, visit: Any) -> None:
    give_realm_app(project_a, "alpha-aaaaa")
    give_realm_app(project_b, "beta-bbbbb")
    # Whatever the host: the path names the app.
    guest = realm_guest(visit(HOST_A), "/api/client/v2.0/app/beta-bbbbb/auth/providers/anon-user/login")
    assert EndUser.objects.get().project_id == project_b.pk
    with nothing_changes():
        assert_oauth_error(exchange(visit(HOST_A), guest["access_token"]), *NOT_VALID)


@pytest.mark.parametrize(
    ("type", "words"),
    [
        ("confidential", (400, "invalid_client", "client secret is required")),
        ("third_party_app", (400, "invalid_client", "client secret is required")),
        ("m2m", (400, "unauthorized_client", "grant type is not allowed for this client")),
    ],
)
def test_applications_that_have_no_full_access(
    guest: dict[str, str], shop: Application, browser: Client, type: str, words: Any
) -> None:
    configure(shop, type=type)
    with nothing_changes():
        assert_oauth_error(exchange(browser, guest["access_token"]), *words)


def test_an_application_that_there_is_none_of(guest: dict[str, str], browser: Client) -> None:
    with nothing_changes():
        for client_id in ("nobody", "WEB", "", None):
            response = exchange(browser, guest["access_token"], client_id=client_id)
            assert_oauth_error(response, 400, "invalid_client", "invalid client ID")


def test_the_toggle_keeps_guests_out(guest: dict[str, str], subject: Session, browser: Client) -> None:
    configure(subject.project, anonymous_users_enabled=False)
    with nothing_changes():
        response = exchange(browser, guest["access_token"])
        assert_oauth_error(response, 400, "unauthorized_client", "AnonymousUserDisallowed")


@pytest.mark.spec("RFC 8693", "2.1")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"subject_token": None}, "subject_token is required"),
        ({"subject_token": ""}, "subject_token is required"),
        ({"subject_token_type": None}, "subject_token_type is required"),
        ({"subject_token_type": "jwt"}, "this subject_token_type is not supported"),
        ({"requested_token_type": REFRESH_TYPE}, "this requested_token_type is not supported"),
        ({"actor_token": "x"}, "actor_token is not supported"),
        ({"actor_token_type": JWT_TYPE}, "actor_token_type is not supported"),
        ({"audience": "somebody"}, "audience is not supported"),
        ({"resource": "https://api.example.com"}, "resource is not supported"),
    ],
)
def test_what_is_not_understood(guest: dict[str, str], browser: Client, changes: Any, words: str) -> None:
    with nothing_changes():
        response = exchange(browser, guest["access_token"], **changes)
        assert_oauth_error(response, 400, "invalid_request", words)


def test_a_scope_that_there_is_none_of(guest: dict[str, str], browser: Client) -> None:
    with nothing_changes():
        response = exchange(browser, guest["access_token"], scope="openid admin")
        assert_oauth_error(response, 400, "invalid_scope")


def test_a_parameter_twice(guest: dict[str, str], browser: Client) -> None:
    fields = [("grant_type", GRANT), ("client_id", "web"), ("subject_token_type", JWT_TYPE)]
    body = urlencode([*fields, ("subject_token", guest["access_token"]), ("subject_token", guest["access_token"])])
    with nothing_changes():
        assert_oauth_error(post_form(browser, TOKEN, body), 400, "invalid_request")


def test_a_proof_that_is_none(guest: dict[str, str], browser: Client) -> None:
    with nothing_changes():
        assert_oauth_error(exchange(browser, guest["access_token"], {"HTTP_DPOP": "garbage"}), *REFUSED)


def test_nobody_needs_many_of_them(guest: dict[str, str], browser: Client, settings: Any) -> None:
    settings.ANONUSERS_LOGIN_PER_ACCOUNT_AND_IP = "2/m"
    for _ in range(2):
        exchanged(browser, guest["access_token"])
    with nothing_changes():
        response = exchange(browser, guest["access_token"])
        assert_oauth_error(response, 429, "x_rate_limited")
        assert 0 < int(response.headers["Retry-After"]) <= 60
    settings.ANONUSERS_LOGIN_PER_IP = "1/m"
    other = realm_guest(browser)
    exchanged(browser, other["access_token"])
    with nothing_changes():
        assert_oauth_error(exchange(browser, other["access_token"]), 429, "x_rate_limited")


def test_a_realm_app_that_was_closed(guest: dict[str, str], subject: Session, browser: Client) -> None:
    configure(subject.project, realm_app_id="")
    with nothing_changes():
        assert_oauth_error(exchange(browser, guest["access_token"]), *NOT_VALID)


def test_pages_of_the_project_may_ask(guest: dict[str, str], browser: Client) -> None:
    response = exchange(browser, guest["access_token"], {"HTTP_ORIGIN": "http://localhost:9000"})
    assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:9000"
    stranger = exchange(browser, guest["access_token"], {"HTTP_ORIGIN": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in stranger.headers


def test_by_form_only(guest: dict[str, str], browser: Client) -> None:
    body = json.dumps({"grant_type": GRANT, "client_id": "web", "subject_token": guest["access_token"]})
    with nothing_changes():
        assert post_json(browser, TOKEN, body).status_code == 400


def test_a_project_without_mongodbs_clients_knows_no_such_token(application: Application, browser: Client) -> None:
    other = make_project("elsewhere", "elsewhere.localhost")
    give_realm_app(other, "else-aaaaa")
    guest = realm_guest(browser, "/api/client/v2.0/app/else-aaaaa/auth/providers/anon-user/login")
    with nothing_changes():
        assert_oauth_error(exchange(browser, guest["access_token"]), *NOT_VALID)
    assert EndUser.objects.get().project_id == other.pk
