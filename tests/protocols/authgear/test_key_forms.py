"""POST /oauth2/token with grant_type=anonymous-request: how the form that carries the signed request is read."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from anonusers.models import Application, EndUser
from tests.anonusers.signing import rsa_key
from tests.protocols.authgear.keys import (
    GRANT,
    NO_JWK,
    OTHER_KEY_ID,
    REFUSAL,
    log_in,
    logged_in,
    refuse,
    refused_and_the_challenge_is_good,
    request,
    sign,
)
from tests.protocols.authgear.steps import (
    FORM,
    JSON,
    TOKEN,
    assert_oauth_error,
    post,
    post_form,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.spec("authgear.md", "1.9")]

A, B = rsa_key(), rsa_key(name="b")


def mine(token: str) -> str:
    """A request of a device that is known."""
    return sign(token, header=NO_JWK)


@pytest.fixture
def guest(application: Application, browser: Client) -> EndUser:
    """Whose device key is known."""
    logged_in(browser, request(browser))
    return EndUser.objects.get()


# --- forms ----------------------------------------------------------------------------------------

BAD = "invalid_request"
FORMS: dict[str, tuple[Callable[[Client, str], Any], tuple[Any, ...]]] = {
    "jwt twice": (
        lambda client, jwt: post_form(client, TOKEN, [*fields_of(jwt), ("jwt", jwt)]),
        (400, BAD, "a parameter is repeated"),
    ),
    "client_id twice": (
        lambda client, jwt: post_form(client, TOKEN, [*fields_of(jwt), ("client_id", "web")]),
        (400, BAD, "a parameter is repeated"),
    ),
    "jwt in the query": (
        lambda client, jwt: post_form(client, f"{TOKEN}?{urlencode({'jwt': jwt})}", fields_of("")),
        (400, BAD, "jwt is required"),
    ),
    "everything in the query": (
        lambda client, jwt: post_form(client, f"{TOKEN}?{urlencode(fields_of(jwt))}", ""),
        (400, BAD, "grant_type is required"),
    ),
    "a GET": (lambda client, jwt: client.get(TOKEN, dict(fields_of(jwt))), (405, BAD, "method not allowed")),
    "a JSON body": (
        lambda client, jwt: post(client, TOKEN, json.dumps(dict(fields_of(jwt))), JSON),
        (400, BAD, "request content type is invalid"),
    ),
    "multipart": (
        lambda client, jwt: client.post(TOKEN, dict(fields_of(jwt))),
        (400, BAD, "request content type is invalid"),
    ),
    "more than 64 KiB": (
        lambda client, jwt: post_form(client, TOKEN, [*fields_of(jwt), ("pad", "x" * 65_536)]),
        (413, BAD, "request body too large"),
    ),
    "a jwt of 64 KiB": (
        lambda client, jwt: post_form(client, TOKEN, fields_of(jwt + "A" * 62_000)),
        (400, BAD, "jwt is too long"),
    ),
    "NUL in the jwt": (
        lambda client, jwt: post_form(client, TOKEN, fields_of(f"{jwt}\0")),
        (400, BAD, "a parameter has a character that is not allowed"),
    ),
    "NUL elsewhere": (
        lambda client, jwt: post_form(client, TOKEN, [*fields_of(jwt), ("x", "\0")]),
        (400, BAD, "a parameter has a character that is not allowed"),
    ),
    "not UTF-8": (
        lambda client, jwt: post(client, TOKEN, urlencode(fields_of(jwt)).encode() + b"&x=%FF", FORM),
        (400, BAD, "the form cannot be read"),
    ),
    "101 fields": (
        lambda client, jwt: post_form(client, TOKEN, [*fields_of(jwt), *((f"f{n}", "") for n in range(98))]),
        (400, BAD, "the form cannot be read"),
    ),
    "compressed": (
        lambda client, jwt: post_form(client, TOKEN, fields_of(jwt), HTTP_CONTENT_ENCODING="gzip"),
        (400, BAD, "request content type is invalid"),
    ),
    "grant type in another case": (
        lambda client, jwt: post_form(client, TOKEN, [("grant_type", GRANT.upper()), *fields_of(jwt)[1:]]),
        (400, "unsupported_grant_type", "grant type is not supported"),
    ),
    "biometric": (
        lambda client, jwt: post_form(
            client, TOKEN, [("grant_type", GRANT.replace("anonymous", "biometric")), *fields_of(jwt)[1:]]
        ),
        (400, "unsupported_grant_type", "grant type is not supported"),
    ),
    "unknown client": (
        lambda client, jwt: log_in(client, jwt, "nobody"),
        (400, "invalid_client", "invalid client ID"),
    ),
    "client in another case": (
        lambda client, jwt: log_in(client, jwt, "WEB"),
        (400, "invalid_client", "invalid client ID"),
    ),
    "no jwt": (lambda client, jwt: post_form(client, TOKEN, fields_of("")), (400, BAD, "jwt is required")),
    "a blank jwt": (lambda client, jwt: log_in(client, " "), REFUSAL),
    "jwt in a list": (
        lambda client, jwt: post_form(client, TOKEN, [*fields_of("")[:2], ("jwt[]", jwt)]),
        (400, BAD, "jwt is required"),
    ),
    "jwt as bearer": (
        lambda client, jwt: post_form(client, TOKEN, fields_of(""), HTTP_AUTHORIZATION=f"Bearer {jwt}"),
        (400, BAD, "jwt is required"),
    ),
}


def fields_of(jwt: str) -> list[tuple[str, str]]:
    return [("grant_type", GRANT), ("client_id", "web"), ("jwt", jwt)]


@pytest.mark.parametrize(("send", "answer"), FORMS.values(), ids=FORMS)
def test_a_form_is_read_strictly(
    guest: EndUser, browser: Client, send: Callable[[Client, str], Any], answer: tuple[Any, ...]
) -> None:
    for make in (mine, sign):
        with refused_and_the_challenge_is_good(browser) as token:
            assert_oauth_error(send(browser, make(token)), *answer)


def test_16_384_characters_are_read_and_100_fields(guest: EndUser, browser: Client) -> None:
    jwt = request(browser, header=NO_JWK)
    length = len(request(browser, header=NO_JWK, claims={"pad": ""}))
    padding = (16_384 - length) * 3 // 4
    jwt = request(browser, header=NO_JWK, claims={"pad": "x" * padding})
    assert 16_380 <= len(jwt) <= 16_384
    response = post_form(browser, TOKEN, [*fields_of(jwt), *((f"f{number}", "") for number in range(97))])
    assert response.status_code == 200
    refuse(browser, jwt.ljust(16_385, "A"), 400, BAD, "jwt is too long")


def test_a_spent_request_costs_little(guest: EndUser, browser: Client, django_assert_num_queries: Any) -> None:
    """A flood of garbage does not reach the database behind the application's row, nor one of unknown keys far."""
    jwt = request(browser, B, key_id=OTHER_KEY_ID, header=NO_JWK)
    with django_assert_num_queries(1):
        log_in(browser, "garbage")
    with django_assert_num_queries(2):
        log_in(browser, jwt)
