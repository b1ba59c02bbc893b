"""POST /oauth2/token with grant_type=authorization_code."""

import base64
import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from anonusers.events import user_signed_out
from anonusers.models import Application, EndUser, OneTimeToken, Project, Session
from tests.conftest import APP_ORIGIN, ORIGIN, make_application
from tests.protocols.authgear.conftest import HOST_A, HOST_B
from tests.protocols.authgear.steps import (
    FULL_ACCESS,
    JSON,
    REDIRECT_URI,
    SCOPE,
    TOKEN,
    VERIFIER,
    Ending,
    activate_host_user,
    app_session_token,
    assert_never_cached,
    assert_oauth_error,
    authorization,
    authorize,
    be_promoted,
    claims_of,
    configure,
    deactivate_host_user,
    delete_host_user,
    disable_end_user,
    enable_end_user,
    exchange,
    exchanged,
    get_cookie,
    get_tokens,
    make_user,
    nothing_changes,
    only_session,
    post_form,
    promotion_code,
    redirected,
    refresh,
    refreshed,
    sign_in,
    userinfo,
)

pytestmark = [pytest.mark.django_db, pytest.mark.spec("authgear.md", "1.7")]

REFUSAL = (400, "invalid_grant", "invalid authorization code")


@pytest.fixture
def ada(application: Application) -> EndUser:
    return make_user(application.project)


@pytest.fixture
def get_code(browser: Client, ada: EndUser) -> Callable[..., str]:
    """Ada is signed in in her browser, and an application asks for a code."""
    sign_in(browser, ada, amr="pwd", authenticated_at=timezone.now() - timedelta(minutes=7))

    def get_code(**changes: Any) -> str:
        return redirected(authorize(browser, authorization(**({"prompt": "none"} | changes))))["code"]

    return get_code


GetCode = Callable[..., str]


def burnt(client: Client, code: str) -> None:
    """The code is good for nothing any more, and never gave anything."""
    with nothing_changes():
        assert_oauth_error(exchange(client, code), *REFUSAL)
    assert not Session.objects.filter(kind="token", ended_at=None).exists()


# --- what it gives --------------------------------------------------------------------------------


@pytest.mark.spec("RFC 6749", "4.1.4")
def test_a_code_is_exchanged_for_tokens(
    application: Application, stranger: Client, ada: EndUser, get_code: GetCode
) -> None:
    code = get_code(nonce="n-0S6_WzA2Mj")
    assert re.fullmatch(r"[0-9A-Za-z]{32}", code)
    assert code not in str(list(OneTimeToken.objects.values()))

    response = exchange(stranger, code)

    assert (response.status_code, response.headers["Content-Type"]) == (200, JSON)
    assert_never_cached(response)
    assert response.headers["Pragma"] == "no-cache"
    assert not response.cookies
    tokens = response.json()
    assert set(tokens) == {"token_type", "access_token", "expires_in", "refresh_token", "id_token"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 1800)
    session = Session.objects.get(kind="token", ended_at=None)
    assert (session.end_user_id, session.application_id, session.scope) == (ada.pk, application.pk, SCOPE)

    claims = claims_of(stranger, tokens["id_token"], audience="web")
    assert (claims["iss"], claims["sub"], claims["aud"]) == (ORIGIN, str(ada.pk), ["web"])
    assert (claims["nonce"], claims["amr"]) == ("n-0S6_WzA2Mj", ["pwd"])
    assert 400 < claims["iat"] - claims["auth_time"] < 440
    assert claims["exp"] - claims["iat"] == 300
    assert claims["sid"]
    access = claims_of(stranger, tokens["access_token"], audience=ORIGIN)
    assert (access["sub"], access["client_id"], access["scope"]) == (str(ada.pk), "web", SCOPE)
    assert access["auth_time"] == claims["auth_time"]
    assert userinfo(stranger, tokens["access_token"]).json()["email"] == "ada@example.com"
    again = claims_of(stranger, refreshed(stranger, tokens["refresh_token"])["id_token"], audience="web")
    assert (again["auth_time"], again["sid"]) == (claims["auth_time"], claims["sid"])


def test_without_nonce_there_is_none(stranger: Client, get_code: GetCode) -> None:
    """O23."""
    assert "nonce" not in claims_of(stranger, exchanged(stranger, get_code())["id_token"], audience="web")


SCOPES = [
    ("openid", "openid", False),
    (f"openid {FULL_ACCESS}", f"openid {FULL_ACCESS}", False),
    (f"{FULL_ACCESS}  offline_access openid openid", f"{FULL_ACCESS} offline_access openid", True),
    (
        "openid device_sso offline_access https://authgear.com/scopes/pre-authenticated-url",
        "openid offline_access",
        True,
    ),
    ("openid " * 300, "openid", False),
]


@pytest.mark.parametrize(("asked", "granted", "offline"), SCOPES)
def test_a_refresh_token_comes_with_offline_access_only(
    stranger: Client, get_code: GetCode, asked: str, granted: str, offline: bool
) -> None:
    tokens = exchanged(stranger, get_code(scope=asked))
    assert ("refresh_token" in tokens) is offline
    assert claims_of(stranger, tokens["access_token"], audience=ORIGIN)["scope"] == granted
    if offline:
        refusal = refresh(stranger, tokens["refresh_token"], scope=f"{granted} email")
        assert_oauth_error(refusal, 400, "invalid_scope")


def test_the_settings_of_the_application_are_followed(
    application: Application, stranger: Client, get_code: GetCode
) -> None:
    configure(
        application, issue_jwt_access_token=False, access_token_lifetime=600, id_token_signed_response_alg="ES256"
    )
    tokens = exchanged(stranger, get_code())
    assert (tokens["expires_in"], "." in tokens["access_token"]) == (600, False)
    assert claims_of(stranger, tokens["id_token"], audience="web")


def test_each_code_makes_a_session_of_its_own(stranger: Client, get_code: GetCode) -> None:
    for _ in range(3):
        exchanged(stranger, get_code())
    assert Session.objects.filter(kind="token", ended_at=None).count() == 3


def test_where_one_session_is_allowed_the_others_end(
    application: Application, stranger: Client, ada: EndUser, get_code: GetCode
) -> None:
    other = make_application(application.project, "other")
    first = exchanged(stranger, get_code())
    elsewhere = exchanged(stranger, get_code(client_id="other"), client_id="other")
    bobs = get_tokens(stranger)
    configure(application, max_concurrent_sessions=1)

    second = exchanged(stranger, get_code())

    assert_oauth_error(refresh(stranger, first["refresh_token"]), 400, "invalid_grant")
    assert userinfo(stranger, first["access_token"]).status_code == 401
    assert userinfo(stranger, second["access_token"]).status_code == 200
    assert userinfo(stranger, elsewhere["access_token"]).status_code == 200, "of another client"
    assert userinfo(stranger, bobs["access_token"]).status_code == 200, "of another user"
    assert Session.objects.filter(kind="cookie", ended_at=None).count() == 1, "and the browser's own"
    assert other.pk


@pytest.mark.spec("RFC 6749", "4.1.3")
def test_a_redirect_uri_that_was_left_out_may_be_left_out(
    application: Application, stranger: Client, get_code: GetCode
) -> None:
    for sent in (None, "", REDIRECT_URI):
        assert exchanged(stranger, get_code(redirect_uri=None), redirect_uri=sent)
    assert_oauth_error(exchange(stranger, get_code(redirect_uri=None), redirect_uri=f"{APP_ORIGIN}/x"), *REFUSAL)


def test_unknown_fields_are_ignored(stranger: Client, get_code: GetCode) -> None:
    assert exchanged(stranger, get_code(), x_device_info="e30", device_secret="x", scope="admin", state="x", iss="x")


# --- what burns it --------------------------------------------------------------------------------

WRONG: dict[str, dict[str, Any]] = {
    "another verifier": {"code_verifier": "A" * 43},
    "a short verifier": {"code_verifier": VERIFIER[:-1]},
    "a longer verifier": {"code_verifier": VERIFIER + "A"},
    "a verifier that is too long": {"code_verifier": "A" * 129},
    "the challenge as verifier": {"code_verifier": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"},
    "a verifier that is not ASCII": {"code_verifier": "é" * 43},
    "a verifier in another case": {"code_verifier": VERIFIER.swapcase()},
    "a blank verifier": {"code_verifier": " " * 43},
    "another redirect URI": {"redirect_uri": "http://evil.example/"},
    "a redirect URI with a slash": {"redirect_uri": f"{REDIRECT_URI}/"},
    "a redirect URI with a query": {"redirect_uri": f"{REDIRECT_URI}?code=x"},
    "no redirect URI": {"redirect_uri": None},
    "another client": {"client_id": "other"},
}


@pytest.mark.spec("RFC 9700", "4.5")
@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_whatever_does_not_fit_burns_the_code(
    application: Application, stranger: Client, get_code: GetCode, changes: dict[str, Any]
) -> None:
    """E9, E10, E11: nobody gets a second guess."""
    make_application(application.project, "other")
    code = get_code()
    assert_oauth_error(exchange(stranger, code, **changes), *REFUSAL)
    burnt(stranger, code)


@pytest.mark.parametrize("verifier", [None, ""])
def test_without_a_verifier_too(stranger: Client, get_code: GetCode, verifier: str | None) -> None:
    """E6: dropping PKCE is no way around it."""
    code = get_code()
    refusal = (400, "invalid_request", "PKCE code verifier is required")
    assert_oauth_error(exchange(stranger, code, code_verifier=verifier), *refusal)
    burnt(stranger, code)


def test_two_codes_do_not_mix(stranger: Client, get_code: GetCode) -> None:
    """CODE-14: the code of one transaction with the verifier of another."""
    mine, other = get_code(), get_code(code_challenge="A" * 43)
    assert_oauth_error(exchange(stranger, other), *REFUSAL)
    assert exchanged(stranger, mine)


def test_the_verifier_may_have_every_character_that_it_may_have(stranger: Client, get_code: GetCode) -> None:
    for verifier in ("-._~" + "Az09" * 31, "a" * 43):
        digest = hashlib.sha256(verifier.encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        assert exchanged(stranger, get_code(code_challenge=challenge), code_verifier=verifier)


MEANWHILE: dict[str, Ending] = {
    "disabled": disable_end_user,
    "inactive": deactivate_host_user,
    "deleted": delete_host_user,
}


@pytest.mark.parametrize("happens", MEANWHILE.values(), ids=MEANWHILE)
def test_who_is_disabled_or_deleted_meanwhile_gets_nothing(
    stranger: Client, ada: EndUser, get_code: GetCode, happens: Ending
) -> None:
    code = get_code()
    session = Session.objects.in_full().get(kind="cookie")
    happens(session)
    assert_oauth_error(exchange(stranger, code), *REFUSAL)
    if happens != delete_host_user:
        enable_end_user(session)
        activate_host_user(session)
    burnt(stranger, code)


def test_after_five_minutes_it_is_worth_nothing(stranger: Client, get_code: GetCode) -> None:
    early, late = get_code(), get_code()
    with time_machine.travel(timezone.now() + timedelta(minutes=4, seconds=55)):
        assert exchanged(stranger, early)
    with time_machine.travel(timezone.now() + timedelta(minutes=5, seconds=1)), nothing_changes():
        assert_oauth_error(exchange(stranger, late), *REFUSAL)


def test_what_voids_the_users_secrets_voids_it(application: Application, browser: Client, stranger: Client) -> None:
    """F1: a code that a guest's browser was given is dead once the guest is promoted."""
    get_cookie(browser)
    guest = only_session().end_user
    code = redirected(authorize(browser, authorization(prompt="none")))["code"]
    be_promoted(guest)
    burnt(stranger, code)


# --- a second use ---------------------------------------------------------------------------------


@pytest.mark.spec("RFC 6749", "4.1.2")
@pytest.mark.parametrize("changes", [{}, *WRONG.values(), {"code_verifier": None}], ids=str)
def test_a_second_use_ends_what_the_first_one_gave(
    application: Application,
    stranger: Client,
    get_code: GetCode,
    changes: dict[str, Any],
    django_capture_on_commit_callbacks: Any,
) -> None:
    """E7."""
    make_application(application.project, "other")
    code, other = get_code(), exchanged(stranger, get_code())
    first = exchanged(stranger, code)
    first |= refreshed(stranger, first["refresh_token"])
    told: list[Any] = []
    user_signed_out.connect(receiver := lambda event, **_: told.append(event.details["reason"]))
    try:
        with django_capture_on_commit_callbacks(execute=True):
            response = exchange(stranger, code, **changes)
    finally:
        user_signed_out.disconnect(receiver)

    assert response.status_code == 400
    assert told == ["authorization_code_reused"]
    assert userinfo(stranger, first["access_token"]).status_code == 401
    assert_oauth_error(refresh(stranger, first["refresh_token"]), 400, "invalid_grant")
    assert userinfo(stranger, other["access_token"]).status_code == 200, "what another code gave lives"
    with nothing_changes():
        assert_oauth_error(exchange(stranger, code), *REFUSAL)


def test_half_a_minute_later_and_half_an_hour_later_too(stranger: Client, get_code: GetCode) -> None:
    """O35."""
    for seconds in (30, 1000):
        code = get_code()
        first = exchanged(stranger, code)
        with time_machine.travel(timezone.now() + timedelta(seconds=seconds)):
            assert_oauth_error(exchange(stranger, code), *REFUSAL)
            assert userinfo(stranger, first["access_token"]).status_code == 401


# --- garbage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["x", "A" * 32, "é", "' or 1=1", "x" * 20_000, "a.b.c"])
def test_a_made_up_code_gives_nothing(application: Application, browser: Client, code: str) -> None:
    with nothing_changes():
        assert_oauth_error(exchange(browser, code), *REFUSAL)


def test_no_other_secret_is_a_code(application: Application, browser: Client) -> None:
    """D5."""
    tokens = get_tokens(browser)
    secrets = [*tokens.values(), promotion_code(browser, tokens["refresh_token"])]
    secrets.append(app_session_token(browser, tokens["refresh_token"]))
    with nothing_changes():
        for secret in secrets:
            assert_oauth_error(exchange(browser, str(secret)), *REFUSAL)


def test_a_code_is_nothing_else(browser: Client, stranger: Client, get_code: GetCode) -> None:
    code = get_code()
    with nothing_changes():
        assert userinfo(stranger, code).status_code == 401
        assert refresh(stranger, code).status_code == 400
        body = {"refresh_token": code}
        assert stranger.post("/oauth2/app_session_token", body, content_type=JSON).status_code == 403
    assert exchanged(stranger, code)


FIELDS: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "no code": ({"code": None}, 400, "invalid_request", "code is required"),
    "an empty code": ({"code": ""}, 400, "invalid_request", "code is required"),
    "no client": ({"client_id": None}, 400, "invalid_client", "invalid client ID"),
    "an unknown client": ({"client_id": "nobody"}, 400, "invalid_client", "invalid client ID"),
    "a machine": (
        {"client_id": "machine"},
        400,
        "unauthorized_client",
        "grant type is not allowed for this client",
    ),
    "no secret": ({"client_id": "server"}, 400, "invalid_client", "client secret is required"),
    "any secret": ({"client_id": "server", "client_secret": "x"}, 400, "invalid_client", "invalid client secret"),
}


@pytest.mark.parametrize(("changes", "status", "error", "description"), FIELDS.values(), ids=FIELDS)
def test_what_has_no_place_to_look_for_a_code_burns_none(
    application: Application,
    confidential: Application,
    stranger: Client,
    get_code: GetCode,
    changes: dict[str, Any],
    status: int,
    error: str,
    description: str,
) -> None:
    make_application(application.project, "machine", type="m2m")
    code = get_code()
    with nothing_changes():
        assert_oauth_error(exchange(stranger, **({"code": code} | changes)), status, error, description)
    assert exchanged(stranger, code)


def test_query_parameters_and_repeated_ones_do_not_count(stranger: Client, get_code: GetCode) -> None:
    """D8, D18."""
    code = get_code()
    fields = {"grant_type": "authorization_code", "client_id": "web", "code_verifier": VERIFIER}
    with nothing_changes():
        response = post_form(stranger, f"{TOKEN}?code={code}", fields)
        assert_oauth_error(response, 400, "invalid_request", "code is required")
        pairs = [*fields.items(), ("code", code), ("code", code)]
        assert_oauth_error(post_form(stranger, TOKEN, pairs), 400, "invalid_request")


def test_a_code_of_another_project_is_unknown_here(
    project_a: Project, project_b: Project, visit: Callable[..., Client]
) -> None:
    browser = visit(HOST_A)
    get_cookie(browser)
    location = authorize(browser, authorization(prompt="none")).headers["Location"]
    code = location.partition("code=")[2].partition("&")[0]
    with nothing_changes():
        assert_oauth_error(exchange(visit(HOST_B), code), *REFUSAL)
    assert exchanged(visit(HOST_A), code)


@pytest.mark.spec("authgear.md", "0.4")
def test_the_applications_pages_may_read_the_tokens(stranger: Client, get_code: GetCode) -> None:
    fields = {
        "grant_type": "authorization_code",
        "client_id": "web",
        "code": get_code(),
        "redirect_uri": REDIRECT_URI,
        "code_verifier": VERIFIER,
    }
    response = post_form(stranger, TOKEN, fields, HTTP_ORIGIN=APP_ORIGIN)
    assert response.headers["Access-Control-Allow-Origin"] == APP_ORIGIN
    assert response.headers["Access-Control-Allow-Credentials"] == "true"
