"""Discovery and the JWK set: what clients learn before they do anything."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import OperationalError, connection
from django.test import Client

from anonusers.keys import rotate_keys
from anonusers.models import Application, Project
from tests.conftest import APP_ORIGIN, ORIGIN
from tests.protocols.authgear.steps import (
    DISCOVERY,
    JSON,
    JWKS,
    assert_oauth_error,
    claims_of,
    get_tokens,
    nothing_changes,
    refreshed,
    userinfo,
)

pytestmark = pytest.mark.django_db

ALIAS = "/.well-known/oauth-authorization-server"

ENDPOINTS = {
    "authorization_endpoint": "/oauth2/authorize",
    "token_endpoint": "/oauth2/token",
    "userinfo_endpoint": "/oauth2/userinfo",
    "revocation_endpoint": "/oauth2/revoke",
    "end_session_endpoint": "/oauth2/end_session",
    "jwks_uri": "/oauth2/jwks",
}


def document(client: Client, path: str = DISCOVERY, **extra: Any) -> dict[str, Any]:
    response = client.get(path, **extra)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == JSON
    return response.json()


@pytest.mark.spec("authgear.md", "1.1")
@pytest.mark.parametrize("path", [DISCOVERY, ALIAS])
def test_the_document_names_every_endpoint_at_the_root_of_the_origin(
    project: Project, browser: Client, path: str
) -> None:
    found = document(browser, path)
    assert found["issuer"] == ORIGIN
    assert {name: found[name] for name in ENDPOINTS} == {name: ORIGIN + path for name, path in ENDPOINTS.items()}


@pytest.mark.spec("RFC 8414", "3")
def test_the_alias_has_the_same_body(project: Project, browser: Client) -> None:
    assert document(browser) == document(browser, ALIAS)


@pytest.mark.spec("OpenID Connect Discovery 1.0", "3")
@pytest.mark.spec("authgear.md", "1.1")
def test_what_is_supported_is_said(project: Project, browser: Client) -> None:
    found = document(browser)
    contains = {
        "response_types_supported": "code",
        "response_modes_supported": "query",
        "grant_types_supported": "refresh_token",
        "code_challenge_methods_supported": "S256",
        "token_endpoint_auth_methods_supported": "none",
        "subject_types_supported": "public",
        "id_token_signing_alg_values_supported": "RS256",
        "scopes_supported": "openid",
        "claims_supported": "email",
    }
    for name, value in contains.items():
        assert value in found[name], name
    assert {"openid", "offline_access", "https://authgear.com/scopes/full-access"} <= set(found["scopes_supported"])
    assert found["code_challenge_methods_supported"] == ["S256"], "never plain"
    assert found["response_types_supported"] == ["code", "none"]
    assert found["grant_types_supported"] == ["authorization_code", "refresh_token"]
    assert found["authorization_response_iss_parameter_supported"] is True
    assert (found["request_parameter_supported"], found["request_uri_parameter_supported"]) == (False, False)
    assert found["subject_types_supported"] == ["public"]
    assert not {"password", "implicit"} & set(found["grant_types_supported"])
    assert "none" not in found["id_token_signing_alg_values_supported"]


def test_the_issuer_follows_scheme_and_host(project: Project, browser: Client) -> None:
    assert document(browser, secure=True)["issuer"] == "https://localhost:8000"
    found = document(Client(HTTP_HOST="LOCALHOST"))
    assert found["issuer"] == "http://localhost"
    assert {urlsplit(found[name]).netloc for name in ENDPOINTS} == {"localhost"}


def test_a_configured_issuer_wins_over_the_request(project: Project, browser: Client, settings: Any) -> None:
    settings.ANONUSERS_ISSUER = "https://auth.example.com"
    found = document(browser)
    assert found["issuer"] == "https://auth.example.com"
    assert found["token_endpoint"] == "https://auth.example.com/oauth2/token"


@pytest.mark.parametrize(
    "headers", [{"HTTP_X_FORWARDED_HOST": "evil.example"}, {"HTTP_FORWARDED": "host=evil.example;proto=https"}], ids=str
)
def test_forwarded_headers_of_strangers_poison_nothing(
    project: Project, browser: Client, headers: dict[str, str]
) -> None:
    assert "evil" not in str(document(browser, **headers))


@pytest.mark.parametrize("path", [DISCOVERY, ALIAS, JWKS])
def test_public_documents_are_for_everybody_and_cached(application: Application, browser: Client, path: str) -> None:
    for origin in ({}, {"HTTP_ORIGIN": "https://anywhere.example"}, {"HTTP_ORIGIN": APP_ORIGIN}):
        response = browser.get(path, **origin)
        assert response.status_code == 200
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in response.headers, "never * with credentials"
        assert "max-age=900" in response.headers["Cache-Control"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert not response.cookies
    assert browser.head(path).status_code == 200


@pytest.mark.parametrize("path", [DISCOVERY, ALIAS, JWKS])
def test_a_host_without_project_has_no_documents(project_a: Project, visit: Callable[..., Client], path: str) -> None:
    assert visit("nobody.localhost").get(path).status_code == 404


@pytest.mark.spec("RFC 7517", "5")
def test_the_key_set_holds_public_halves_only(project: Project, browser: Client) -> None:
    response = browser.get(JWKS)
    assert response.headers["Content-Type"] == JSON
    keys = response.json()["keys"]
    assert sorted((key["kty"], key["alg"], key["use"]) for key in keys) == [
        ("EC", "ES256", "sig"),
        ("RSA", "RS256", "sig"),
    ]
    members = {"RSA": {"kty", "kid", "alg", "use", "n", "e"}, "EC": {"kty", "kid", "alg", "use", "crv", "x", "y"}}
    for key in keys:
        assert set(key) == members[key["kty"]]
    assert len({key["kid"] for key in keys}) == 2


@pytest.mark.spec("RFC 7517", "4.5")
def test_after_a_rotation_both_keys_are_published_and_old_tokens_live(
    application: Application, browser: Client
) -> None:
    old_keys = {key["kid"] for key in browser.get(JWKS).json()["keys"]}
    old = refreshed(browser, get_tokens(browser)["refresh_token"])
    rotate_keys(application.project)
    new_keys = {key["kid"] for key in browser.get(JWKS).json()["keys"]}
    assert old_keys < new_keys
    assert len(new_keys) == 4
    new = refreshed(browser, old["refresh_token"])
    for tokens in (old, new):
        assert userinfo(browser, tokens["access_token"]).status_code == 200
        assert claims_of(browser, tokens["access_token"], audience=ORIGIN)
        assert claims_of(browser, tokens["id_token"], audience="web")


def test_a_leaked_key_can_be_dropped_at_once(application: Application, browser: Client) -> None:
    old = get_tokens(browser)
    rotate_keys(application.project, at_once=True)
    assert len(browser.get(JWKS).json()["keys"]) == 2
    with nothing_changes():
        assert userinfo(browser, old["access_token"]).status_code == 401
    assert refreshed(browser, old["refresh_token"])["access_token"], "the guest is not lost"


def test_the_documents_survive_a_database_that_is_away(application: Application, browser: Client) -> None:
    before = [browser.get(path).json() for path in (DISCOVERY, JWKS)]

    def away(*args: Any) -> Any:
        raise OperationalError("gone")

    with connection.execute_wrapper(away):
        assert [browser.get(path).json() for path in (DISCOVERY, JWKS)] == before


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
@pytest.mark.parametrize("path", [DISCOVERY, ALIAS, JWKS])
def test_they_are_read_only(project: Project, browser: Client, path: str, method: str) -> None:
    with nothing_changes():
        response = getattr(browser, method)(path)
    assert_oauth_error(response, 405, "invalid_request")
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
