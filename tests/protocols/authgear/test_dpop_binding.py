"""DPoP beyond the refresh grant: authorization codes, and the API family with a bound refresh token."""

from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from anonusers.models import Application, EndUser, OneTimeToken, Project, Session
from tests.anonusers.signing import ABSENT
from tests.protocols.authgear.conftest import HOST_A, HOST_B
from tests.protocols.authgear.keys import logged_in, refuse, request, to_promote
from tests.protocols.authgear.proofs import API_REFUSED, KEY, OTHER_KEY, PROVERS, REFUSED, by_sdk, proof
from tests.protocols.authgear.steps import (
    APP_SESSION_TOKEN,
    NO_SUCH_TOKEN,
    PROMOTION_CODE,
    REDIRECT_URI,
    SIGNUP,
    TOKEN,
    VERIFIER,
    assert_api_error,
    assert_oauth_error,
    authorization,
    authorize,
    be_authenticated,
    be_promoted,
    configure,
    flow_of,
    make_user,
    nothing_changes,
    only_session,
    post_form,
    post_json,
    redirected,
    sign_in,
    userinfo,
)
from tests.protocols.authgear.test_dpop import refresh, refreshed, thumbprint

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.database,
    pytest.mark.spec("authgear.md", "2.5"),
    pytest.mark.spec("RFC 9449", "10"),
]

BURNT = (400, "invalid_grant", "invalid authorization code")
GARBAGE = {"HTTP_DPOP": "garbage"}


@pytest.fixture
def ada(application: Application, browser: Client) -> EndUser:
    ada = make_user(application.project)
    sign_in(browser, ada)
    return ada


def code_for(browser: Client, **changes: Any) -> str:
    return redirected(authorize(browser, authorization(prompt="none", **changes)))["code"]


def exchange(client: Client, code: str, header: dict[str, str] | None = None) -> HttpResponse:
    form = {"grant_type": "authorization_code", "client_id": "web", "code": code, "redirect_uri": REDIRECT_URI}
    return post_form(client, TOKEN, form | {"code_verifier": VERIFIER}, **(header or {}))


def bound_session() -> Session:
    return Session.objects.get(kind="token", ended_at=None)


# --- codes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROVERS)
@pytest.mark.parametrize("announced", [True, False], ids=["dpop_jkt", "no dpop_jkt"])
def test_a_code_exchange_with_a_proof_binds(
    ada: EndUser, browser: Client, stranger: Client, name: str, announced: bool
) -> None:
    """Android and Flutter do not announce it when they promote."""
    key = PROVERS[name][1]
    code = code_for(browser, dpop_jkt=thumbprint(key) if announced else None)
    response = exchange(stranger, code, by_sdk(name))
    assert response.status_code == 200, response.content
    assert response.json()["token_type"] == "Bearer"
    assert (bound_session().dpop_jkt, bound_session().end_user_id) == (thumbprint(key), ada.pk)
    token = response.json()["refresh_token"]
    with nothing_changes():
        assert_oauth_error(refresh(stranger, token), *REFUSED)
    assert refreshed(stranger, token, by_sdk(name))


def test_without_either_nothing_is_bound(ada: EndUser, browser: Client, stranger: Client) -> None:
    for empty in (None, ""):
        response = exchange(stranger, code_for(browser, dpop_jkt=empty))
        assert refreshed(stranger, response.json()["refresh_token"])
    assert not Session.objects.exclude(dpop_jkt="").exists()


MISMATCHES: dict[str, tuple[Callable[[], str], dict[str, str] | Callable[[], dict[str, str]]]] = {
    "no proof": (lambda: thumbprint(KEY), dict),
    "another key": (lambda: thumbprint(KEY), lambda: proof(OTHER_KEY)),
    "a thumbprint that is none": (lambda: "x", proof),
    "half of it": (lambda: thumbprint(KEY)[:20], proof),
    "in another case": (lambda: thumbprint(KEY).swapcase(), proof),
    "padded": (lambda: thumbprint(KEY) + "=", proof),
}


@pytest.mark.parametrize(("announced", "header"), MISMATCHES.values(), ids=MISMATCHES)
def test_a_code_for_another_key_is_burnt(
    ada: EndUser, browser: Client, stranger: Client, announced: Any, header: Any
) -> None:
    """RFC 9449 §10: whoever stole the code has one try, and the owner learns of it."""
    code = code_for(browser, dpop_jkt=announced())
    assert_oauth_error(exchange(stranger, code, header()), *BURNT)
    assert not Session.objects.filter(kind="token", ended_at=None).exists()
    with nothing_changes():
        assert_oauth_error(exchange(stranger, code, proof()), *BURNT)


def test_a_bad_proof_burns_nothing(ada: EndUser, browser: Client, stranger: Client) -> None:
    code = code_for(browser, dpop_jkt=thumbprint(KEY))
    with nothing_changes():
        assert_oauth_error(exchange(stranger, code, GARBAGE), *REFUSED)
        assert_oauth_error(exchange(stranger, code, proof(htm="GET")), *REFUSED)
    assert exchange(stranger, code, proof()).status_code == 200


@pytest.mark.spec("RFC 9449", "11.1")
def test_the_proof_of_an_exchange_is_not_good_at_a_refresh(ada: EndUser, browser: Client, stranger: Client) -> None:
    """Method and URL are the same."""
    header = proof()
    token = exchange(stranger, code_for(browser), header).json()["refresh_token"]
    with nothing_changes():
        assert_oauth_error(refresh(stranger, token, header), *REFUSED)
    assert refreshed(stranger, token, proof())


def test_an_application_that_does_without_ignores_both(
    application: Application, ada: EndUser, browser: Client, stranger: Client
) -> None:
    configure(application, dpop_enabled=False)
    for header in ({}, GARBAGE, proof(OTHER_KEY)):
        response = exchange(stranger, code_for(browser, dpop_jkt=thumbprint(KEY)), header)
        assert refreshed(stranger, response.json()["refresh_token"])
    assert not Session.objects.exclude(dpop_jkt="").exists()


@pytest.mark.parametrize("jkt", ["x" * 3000, "é☃", "' --", "<script>", " "], ids=lambda jkt: jkt[:10])
def test_a_strange_dpop_jkt_does_no_harm(ada: EndUser, browser: Client, stranger: Client, jkt: str) -> None:
    assert_oauth_error(exchange(stranger, code_for(browser, dpop_jkt=jkt), proof()), *BURNT)


@pytest.mark.parametrize("announced", [True, False], ids=["dpop_jkt", "no dpop_jkt"])
def test_a_promotion_ends_with_a_bound_session(application: Application, browser: Client, announced: bool) -> None:
    """React Native, from the first log-in to the regular user: `dpop_jkt` passes the page."""
    old = logged_in(browser, request(browser), **by_sdk("react-native"))
    guest = only_session().end_user
    jwt = request(browser, action="promote", header={"jwk": ABSENT})
    jkt = {"dpop_jkt": thumbprint(KEY)} if announced else {}
    flow_id = flow_of(authorize(browser, authorization(**to_promote(jwt), **jkt)), "promote")
    be_promoted(guest)
    code = redirected(be_authenticated(browser, flow_id, guest))["code"]
    if announced:
        payload = OneTimeToken.objects.get(purpose="authorization_code").payload
        assert payload["dpop_jkt"] == thumbprint(KEY)
    response = exchange(browser, code, by_sdk("react-native"))
    assert response.status_code == 200
    assert bound_session().dpop_jkt == thumbprint(KEY)
    assert userinfo(browser, response.json()["access_token"]).json()["sub"] == str(guest.pk)
    with nothing_changes():
        assert_oauth_error(refresh(browser, old["refresh_token"], proof()), *NO_SUCH_TOKEN)
    assert refreshed(browser, response.json()["refresh_token"], by_sdk("react-native"))


# --- the API family -------------------------------------------------------------------------------

API: dict[str, tuple[dict[str, str], tuple[Any, ...]]] = {
    APP_SESSION_TOKEN: ({}, (403, "Forbidden", "InvalidGrant", "invalid refresh token")),
    PROMOTION_CODE: ({"session_type": "refresh_token"}, (403, "Forbidden", "Forbidden", "invalid refresh token")),
    SIGNUP: (
        {"session_type": "refresh_token", "client_id": "web"},
        (400, "Invalid", "Invalid", "invalid refresh token"),
    ),
}


@pytest.fixture
def token(application: Application, browser: Client) -> str:
    return logged_in(browser, request(browser), **proof())["refresh_token"]


def ask(client: Client, path: str, token: str, header: dict[str, str] | None = None) -> HttpResponse:
    return post_json(client, path, API[path][0] | {"refresh_token": token}, **(header or {}))


@pytest.mark.parametrize("path", API)
def test_a_bound_refresh_token_needs_a_proof_everywhere(token: str, browser: Client, path: str) -> None:
    bad = [{}, GARBAGE, proof(), proof(path=path, htm="GET"), proof(path=path, iat=1), proof(path=path, jti=ABSENT)]
    with nothing_changes():
        for header in bad:
            assert_api_error(ask(browser, path, token, header), *API_REFUSED)
        assert_api_error(ask(browser, path, token, proof(OTHER_KEY, path=path)), *API[path][1])
    header = proof(path=path)
    response = ask(browser, path, token, header)
    assert response.status_code == 200, response.content
    with nothing_changes():
        assert_api_error(ask(browser, path, token, header), *API_REFUSED)
    assert ask(browser, path, token, proof(path=path)).status_code == 200
    assert refreshed(browser, token, proof())


@pytest.mark.parametrize("path", API)
@pytest.mark.parametrize("name", PROVERS)
def test_the_proof_of_each_sdk_does(application: Application, browser: Client, name: str, path: str) -> None:
    token = logged_in(browser, request(browser), **by_sdk(name))["refresh_token"]
    assert ask(browser, path, token, by_sdk(name, path)).status_code == 200


@pytest.mark.parametrize("path", API)
def test_a_session_that_is_not_bound_needs_none(application: Application, browser: Client, path: str) -> None:
    token = logged_in(browser, request(browser))["refresh_token"]
    for header in ({}, proof(path=path), proof(OTHER_KEY, path=path)):
        assert ask(browser, path, token, header).status_code == 200
    with nothing_changes():
        assert_api_error(ask(browser, path, token, GARBAGE), *API_REFUSED)


def test_a_new_guest_of_the_web_may_be_bound_too(application: Application, browser: Client) -> None:
    body = {"session_type": "refresh_token", "client_id": "web"}
    with nothing_changes():
        assert_api_error(post_json(browser, SIGNUP, body, **GARBAGE), *API_REFUSED)
    response = post_json(browser, SIGNUP, body, **proof(path=SIGNUP))
    assert response.json()["result"]["token_type"] == "Bearer"
    assert only_session().dpop_jkt == thumbprint(KEY)
    token = response.json()["result"]["refresh_token"]
    with nothing_changes():
        assert_oauth_error(refresh(browser, token), *REFUSED)
    assert refreshed(browser, token, proof())


@pytest.mark.spec("RFC 9449", "11.1")
def test_the_proof_of_a_sign_up_does_not_bring_the_session_back(application: Application, browser: Client) -> None:
    """Method and URL are the same here, too."""
    body, header = {"session_type": "refresh_token", "client_id": "web"}, proof(path=SIGNUP)
    token = post_json(browser, SIGNUP, body, **header).json()["result"]["refresh_token"]
    with nothing_changes():
        assert_api_error(ask(browser, SIGNUP, token, header), *API_REFUSED)
    assert ask(browser, SIGNUP, token, proof(path=SIGNUP)).status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/refresh/", "/api/v1/signup/"], ids=["refresh", "sign-up"])
def test_the_native_door_is_no_way_around_it(token: str, browser: Client, path: str) -> None:
    body = {"client_id": "web", "refresh_token": token} | ({"kind": "token"} if "signup" in path else {})
    with nothing_changes():
        for header in ({}, GARBAGE, proof(), proof(OTHER_KEY, path=path)):
            response = post_json(browser, path, body, **header)
            assert response.status_code == 401, response.content
            assert "refresh_token" not in response.json()
    response = post_json(browser, path, body, **proof(path=path))
    assert response.status_code in (200, 201), response.content


# --- projects -------------------------------------------------------------------------------------


def test_a_proof_for_one_host_is_none_for_another(
    project_a: Project, project_b: Project, visit: Callable[..., Client]
) -> None:
    at_a, at_b = visit(HOST_A), visit(HOST_B)
    url = f"http://{HOST_A}{TOKEN}"
    token = logged_in(at_a, request(at_a), **proof(htu=url))["refresh_token"]
    with nothing_changes():
        assert_oauth_error(refresh(at_a, token, proof(htu=f"http://{HOST_B}{TOKEN}")), *REFUSED)
        assert_oauth_error(refresh(at_b, token, proof(htu=f"http://{HOST_B}{TOKEN}")), *NO_SUCH_TOKEN)
    assert refreshed(at_a, token, proof(htu=url, jti="one"))
    # The same jti there is no replay of the one here.
    there = f"http://{HOST_B}{TOKEN}"
    token = logged_in(at_b, request(at_b), **proof(htu=there))["refresh_token"]
    assert refreshed(at_b, token, proof(htu=there, jti="one"))


PUBLIC = "https://auth.example.com"


def test_behind_a_proxy_it_is_the_public_address_that_counts(
    application: Application, browser: Client, settings: Any
) -> None:
    """And so it is for the audience of a signed request."""
    settings.ANONUSERS_ISSUER = PUBLIC
    refuse(browser, request(browser), *REFUSED, **proof())
    refuse(browser, request(browser, claims={"aud": "http://localhost:8000"}))
    token = logged_in(browser, request(browser, claims={"aud": PUBLIC}), **proof(htu=PUBLIC + TOKEN))["refresh_token"]
    with nothing_changes():
        assert_oauth_error(refresh(browser, token, proof()), *REFUSED)
    assert refreshed(browser, token, proof(htu=f"{PUBLIC}:443{TOKEN}"))


@pytest.mark.parametrize("port", ["", ":80"])
def test_the_default_port_may_be_named_or_not(project_a: Project, visit: Callable[..., Client], port: str) -> None:
    client = visit("a.localhost")
    header = proof(htu=f"http://a.localhost{port}{TOKEN}")
    assert logged_in(client, request(client), **header)
    refuse(client, request(client), *REFUSED, **proof(htu=f"http://a.localhost:443{TOKEN}"))
