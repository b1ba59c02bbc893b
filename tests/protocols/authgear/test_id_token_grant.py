"""ID tokens and the grant that asks for one alone."""

import base64
from typing import Any

import jwt
import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from anonusers.models import Application, Project
from tests.conftest import ORIGIN, make_application
from tests.protocols.authgear.steps import (
    CLAIM,
    ENDINGS,
    GRANT_ID_TOKEN,
    JWKS,
    SLEEPS,
    TOKEN,
    Ending,
    ask_id_token,
    assert_never_cached,
    assert_oauth_error,
    bearer,
    claims_of,
    configure,
    get_cookie,
    get_tokens,
    make_regular,
    nothing_changes,
    only_session,
    post_form,
    refreshed,
)

pytestmark = [pytest.mark.django_db, pytest.mark.spec("authgear.md", "1.10")]

NO_SESSION = (401, "invalid_grant", "valid session is required")


def decoded_sid(claims: dict[str, Any]) -> str:
    sid = claims["sid"]
    assert "=" not in sid
    return base64.urlsafe_b64decode(sid + "=" * (-len(sid) % 4)).decode()


def test_a_bearer_gets_an_id_token_and_nothing_else(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    with nothing_changes():
        response = ask_id_token(browser, tokens["access_token"])
    assert response.status_code == 200
    assert set(response.json()) == {"id_token"}
    assert_never_cached(response)
    assert response.headers["Pragma"] == "no-cache"
    assert not response.cookies


@pytest.mark.spec("authgear.md", "2.3")
@pytest.mark.spec("OpenID Connect Core 1.0", "2")
def test_every_claim_of_an_id_token(application: Application, browser: Client) -> None:
    with time_machine.travel("2026-01-01T00:00:00Z", tick=False) as clock:
        tokens = get_tokens(browser)
        born = int(timezone.now().timestamp())
        clock.shift(60)
        by_refresh = refreshed(browser, tokens["refresh_token"])["id_token"]
        by_grant = ask_id_token(browser, tokens["access_token"]).json()["id_token"]
        session = only_session()
        rsa_key = next(key for key in browser.get(JWKS).json()["keys"] if key["kty"] == "RSA")
        for token in (by_refresh, by_grant):
            assert jwt.get_unverified_header(token) == {"typ": "JWT", "alg": "RS256", "kid": rsa_key["kid"]}
            claims = claims_of(browser, token, audience="web")
            assert decoded_sid(claims) == f"offline_grant:{session.id}"
            del claims["sid"]
            assert claims == {
                "iss": ORIGIN,
                "aud": ["web"],
                "iat": born + 60,
                "exp": born + 60 + 300,
                "auth_time": born,
                "sub": str(session.end_user_id),
                f"{CLAIM}is_anonymous": True,
                f"{CLAIM}is_verified": False,
                f"{CLAIM}can_reauthenticate": False,
                f"{CLAIM}roles": [],
            }, "no amr, no nonce, no personal data"


@pytest.mark.spec("OpenID Connect Dynamic Client Registration 1.0", "2")
@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_the_application_chooses_the_algorithm(application: Application, browser: Client, algorithm: str) -> None:
    configure(application, id_token_signed_response_alg=algorithm)
    tokens = refreshed(browser, get_tokens(browser)["refresh_token"])
    for token in (tokens["id_token"], ask_id_token(browser, tokens["access_token"]).json()["id_token"]):
        assert jwt.get_unverified_header(token)["alg"] == algorithm
        assert claims_of(browser, token, audience="web")["sub"]


def test_rs256_is_the_default() -> None:
    assert Application().id_token_signed_response_alg == "RS256"


def test_a_cookie_session_may_ask_too(application: Application, browser: Client) -> None:
    get_cookie(browser)
    with nothing_changes():
        response = ask_id_token(browser)
    claims = claims_of(browser, response.json()["id_token"], audience="web")
    session = only_session()
    assert decoded_sid(claims) == f"idp:{session.id}"
    assert claims["sub"] == str(session.end_user_id)


@pytest.mark.spec("authgear.md", "5.4")
def test_the_bearer_comes_before_the_cookie(application: Application, browser: Client) -> None:
    get_cookie(browser)
    token = get_tokens(browser)["access_token"]
    claims = claims_of(browser, ask_id_token(browser, token).json()["id_token"], audience="web")
    assert decoded_sid(claims).startswith("offline_grant:")


@pytest.mark.spec("authgear.md", "5.4")
@pytest.mark.parametrize("token", ["garbage", ""])
def test_a_worthless_bearer_counts_as_none(application: Application, browser: Client, token: str) -> None:
    get_cookie(browser)
    assert ask_id_token(browser, token).status_code == 200


def test_a_bearer_in_the_form_as_well_is_ignored(application: Application, browser: Client) -> None:
    """Flutter repeats it there."""
    token = get_tokens(browser)["access_token"]
    fields = {"grant_type": GRANT_ID_TOKEN, "client_id": "web", "access_token": token}
    assert post_form(browser, TOKEN, fields, **bearer(token)).status_code == 200
    with nothing_changes():
        assert_oauth_error(post_form(browser, TOKEN, fields), *NO_SESSION)


@pytest.mark.parametrize("token", [None, "", "garbage", "a.b.c"])
def test_without_a_valid_session_there_is_none(application: Application, browser: Client, token: str | None) -> None:
    with nothing_changes():
        response = ask_id_token(browser, token)
    assert_oauth_error(response, *NO_SESSION)
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("by", ["bearer", "cookie"])
def test_a_dead_session_gets_none(application: Application, browser: Client, ending: Ending, by: str) -> None:
    token = None
    if by == "cookie":
        get_cookie(browser)
    else:
        token = get_tokens(browser)["access_token"]
    ending(only_session())
    with nothing_changes():
        assert_oauth_error(ask_id_token(browser, token), *NO_SESSION)


@pytest.mark.parametrize(("sleep", "wake"), SLEEPS.values(), ids=SLEEPS)
def test_a_disabled_user_sleeps_and_wakes(
    application: Application, browser: Client, sleep: Ending, wake: Ending
) -> None:
    token = get_tokens(browser)["access_token"]
    session = only_session()
    sleep(session)
    assert ask_id_token(browser, token).status_code == 401
    wake(session)
    assert ask_id_token(browser, token).status_code == 200


def test_a_regular_user_is_said_to_be_one(application: Application, browser: Client) -> None:
    token = get_tokens(browser)["access_token"]
    make_regular(only_session())
    claims = claims_of(browser, ask_id_token(browser, token).json()["id_token"], audience="web")
    assert claims[f"{CLAIM}is_anonymous"] is False


@pytest.mark.parametrize("client_id", ["nobody", "", "WEB", "☃"])
def test_an_unknown_client_is_told_so(application: Application, browser: Client, client_id: str) -> None:
    token = get_tokens(browser)["access_token"]
    with nothing_changes():
        response = ask_id_token(browser, token, client_id=client_id)
    assert_oauth_error(response, 400, "invalid_client", "invalid client ID")


@pytest.mark.parametrize("kind", ["confidential", "third_party_app", "m2m"])
@pytest.mark.parametrize("signed_in", [True, False])
def test_a_client_without_full_access_gets_none(
    application: Application, project: Project, browser: Client, kind: str, signed_in: bool
) -> None:
    make_application(project, "other", type=kind)
    token = get_tokens(browser)["access_token"] if signed_in else None
    with nothing_changes():
        assert_oauth_error(ask_id_token(browser, token, client_id="other"), 400, "unauthorized_client")


def test_an_application_gets_no_id_token_that_names_another_one(project, application, browser_client):
    from tests.conftest import make_application, row_counts

    make_application(project, "other")
    signed_up = browser_client.post(
        "/api/anonymous_user/signup",
        {"session_type": "refresh_token", "client_id": "web"},
        content_type="application/json",
    ).json()["result"]
    before = row_counts()
    response = browser_client.post(
        "/oauth2/token",
        "grant_type=urn:authgear:params:oauth:grant-type:id-token&client_id=other",
        "application/x-www-form-urlencoded",
        headers={"authorization": f"Bearer {signed_up['access_token']}"},
    )
    assert response.status_code == 400
    assert response.json()["error"] == "invalid_request"
    assert row_counts() == before
