"""A device at the Authgear door: it asks for a challenge, signs it as its SDK does, and logs in."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.http import HttpResponse
from django.test import Client

from anonusers import events
from anonusers.models import OneTimeToken
from anonusers.tokens import secret_hash
from tests.anonusers.signing import ABSENT, KEY_ID, claims_with, header_of, rsa_key, signed
from tests.protocols.authgear import sdk_samples
from tests.protocols.authgear.steps import (
    JSON,
    TOKEN,
    assert_never_cached,
    assert_oauth_error,
    authorization,
    authorize,
    login_hint,
    nothing_changes,
    post_form,
    post_json,
    sub_of,
)

CHALLENGE = "/oauth2/challenge"
GRANT = "urn:authgear:params:oauth:grant-type:anonymous-request"
REFUSAL = (400, "invalid_grant", "InvalidCredentials")
SWITCHED_OFF = (400, "unauthorized_client", "AnonymousUserDisallowed")
DISABLED = (400, "invalid_grant", "user is disabled")
LIMITED = (429, "x_rate_limited", "rate limit exceeded, please try again later.")
NO_JWK: dict[str, Any] = {"jwk": ABSENT}
OTHER_KEY_ID = "00000000-0000-4000-8000-000000000000"


def ask_challenge(client: Client, purpose: Any = "anonymous_request", **extra: Any) -> HttpResponse:
    return post_json(client, CHALLENGE, {"purpose": purpose}, **extra)


def challenge(client: Client, purpose: str = "anonymous_request") -> str:
    response = ask_challenge(client, purpose)
    assert response.status_code == 200, response.content
    return str(response.json()["result"]["token"])


def request(
    client: Client,
    private: Any = None,
    *,
    key_id: str = KEY_ID,
    action: str = "auth",
    header: Any = None,
    claims: Any = None,
) -> str:
    """A request with a fresh challenge, in which `header` and `claims` are different; with `jwk` unless told."""
    token = (claims or {}).get("challenge") or challenge(client)
    return sign(token, private, key_id=key_id, action=action, header=header, claims=claims)


def sign(
    challenge: str,
    private: Any = None,
    *,
    key_id: str = KEY_ID,
    action: str = "auth",
    header: Any = None,
    claims: Any = None,
) -> str:
    private = private or rsa_key()
    now = int(time.time())
    jwk = header_of(private)["jwk"] | {"kid": key_id}
    header = header_of(private, **({"kid": key_id, "jwk": jwk} | (header or {})))
    wanted = {"iat": now, "exp": now + 60, "challenge": challenge, "action": action}
    return signed(json.dumps(header), json.dumps(claims_with(**(wanted | (claims or {})))), private)


def sample(client: Client, name: str, private: Any = None, *, action: str = "auth", new: bool = True) -> str:
    """What one of the SDKs sends, with a fresh challenge."""
    make, key_id = sdk_samples.SAMPLES[name]
    return make(private or rsa_key(), key_id, challenge(client), action, new, time.time())


def log_in(client: Client, jwt: str, client_id: str = "web", **fields: Any) -> HttpResponse:
    """`fields` in capitals are the request's environment, others the form's."""
    extra = {name: value for name, value in fields.items() if name.isupper()}
    form = {name: value for name, value in fields.items() if not name.isupper()}
    return post_form(client, TOKEN, {"grant_type": GRANT, "client_id": client_id, "jwt": jwt} | form, **extra)


def logged_in(client: Client, jwt: str, **fields: Any) -> dict[str, Any]:
    """Log in and return the tokens: exactly the members of §1.6."""
    response = log_in(client, jwt, **fields)
    assert response.status_code == 200, response.content
    assert response.headers["Content-Type"] == JSON
    assert response.headers["Pragma"] == "no-cache"
    assert_never_cached(response)
    assert not response.cookies
    tokens = response.json()
    assert set(tokens) == {"token_type", "access_token", "expires_in", "refresh_token", "id_token"}
    assert tokens["token_type"] == "Bearer"
    assert type(tokens["expires_in"]) is int
    return tokens


def sub_with(client: Client, jwt: str, **fields: Any) -> str:
    return sub_of(client, logged_in(client, jwt, **fields)["access_token"])


@contextmanager
def refused_and_the_challenge_is_good(client: Client) -> Iterator[str]:
    """Gives a challenge. Whatever is done with it changes not one column, and then it still serves a healthy app."""
    token = challenge(client)
    with nothing_changes():
        yield token
    assert logged_in(client, sign(token, rsa_key(name="healthy"), key_id="healthy-app"))


def refuse(client: Client, jwt: str, *answer: Any, **fields: Any) -> None:
    with nothing_changes():
        assert_oauth_error(log_in(client, jwt, **fields), *(answer or REFUSAL))


def to_promote(jwt: str, **values: str) -> dict[str, str]:
    """What React Native sends to the authorization endpoint."""
    hint = login_hint("anonymous", jwt=jwt, **values)
    return {"prompt": "login", "login_hint": hint, "x_sso_enabled": "false", "x_platform": "ios"}


def hint_of(client: Client, private: Any = None, **options: Any) -> str:
    """What React Native signs to promote its guest."""
    return request(client, private, **({"action": "promote", "header": NO_JWK} | options))


def ask_to_promote(client: Client, jwt: str, **changes: Any) -> HttpResponse:
    return authorize(client, authorization(**to_promote(jwt) | changes))


def row_of(token: str) -> OneTimeToken:
    return OneTimeToken.objects.get(token_hash=secret_hash(token))


@contextmanager
def events_told(capture: Any) -> Iterator[list[str]]:
    """The types of the events that are told until the end of the block, which commits."""
    told: list[str] = []

    def receiver(event: events.Event, **_: Any) -> None:
        told.append(event.type)

    for signal in events.SIGNALS.values():
        signal.connect(receiver)
    try:
        with capture(execute=True):
            yield told
    finally:
        for signal in events.SIGNALS.values():
            signal.disconnect(receiver)
