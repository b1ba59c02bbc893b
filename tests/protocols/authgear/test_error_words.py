"""The two tables of words: complete, well-formed, and nothing but words."""

import json
import re

import pytest

from anonusers import errors
from anonusers.errors import AnonUsersError, RateLimited, all_errors
from anonusers.protocols import errors as door_errors
from anonusers.protocols.authgear.wire import (
    API_WORDS,
    OAUTH_WORDS,
    STATUS,
    render_api_error,
    render_oauth_error,
)
from anonusers.protocols.errors import Cause, MalformedJSON, MethodRefused, Unexpected, ValidationFailed

SPECIAL = {
    errors.WeakPassword: lambda: errors.WeakPassword(["This password is too short."]),
    errors.CodeWrong: lambda: errors.CodeWrong(4),
    errors.BotCheckRequired: lambda: errors.BotCheckRequired({"type": "riddle"}, 7),
    RateLimited: lambda: RateLimited("signup_per_ip", 7),
    MalformedJSON: lambda: MalformedJSON(3),
    ValidationFailed: lambda: ValidationFailed([Cause("/x", "type", "is not a string")]),
    MethodRefused: lambda: MethodRefused(["POST"]),
    Unexpected: lambda: Unexpected("abc"),
}
ALL = [cls for cls in all_errors() if cls.__module__ in (errors.__name__, door_errors.__name__)]
# RFC 6749 §5.2: %x20-21 / %x23-5B / %x5D-7E
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")
# What is wrong there is the client's or the person's doing, and trying the same again is in vain.
WORTHLESS = {
    "invalid_token",
    "not_signed_in",
    "unknown_session",
    "refresh_token_refused",
    "authorization_code_refused",
    "credentials_wrong",
    "code_wrong",
    "code_expired",
    "user_disabled",
    "guest_gone",
    "key_proof_refused",
    "recovery_code_wrong",
}
# RFC 6749 §5.2 and §4.1.2.1, RFC 6750 §3.1, RFC 9449 §5, and Authgear's own
CODES = {
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "invalid_scope",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_dpop_proof",
    "server_error",
    "temporarily_unavailable",
    "x_rate_limited",
}


def made(cls: type[AnonUsersError]) -> AnonUsersError:
    return SPECIAL.get(cls, cls)()


def test_every_code_has_words_and_no_words_lack_a_code() -> None:
    codes = {cls.code for cls in ALL}
    assert set(API_WORDS) == codes
    assert set(OAUTH_WORDS) == codes


def test_codes_are_unique() -> None:
    codes = [cls.code for cls in ALL]
    assert len(codes) == len(set(codes))


@pytest.mark.spec("authgear.md", "0.2")
def test_names_have_the_status_of_the_table() -> None:
    assert {
        "BadRequest": 400,
        "Invalid": 400,
        "Unauthorized": 401,
        "Forbidden": 403,
        "NotFound": 404,
        "AlreadyExists": 409,
        "RequestEntityTooLarge": 413,
        "TooManyRequest": 429,
        "InternalError": 500,
        "ServiceUnavailable": 503,
    }.items() <= STATUS.items()


@pytest.mark.spec("authgear.md", "0.3")
@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_every_error_is_one_that_sdks_can_decode(cls: type[AnonUsersError]) -> None:
    response = render_api_error(made(cls))
    error = json.loads(response.content)["error"]
    assert all(isinstance(error[key], str) and error[key] for key in ("name", "reason", "message"))
    assert error["code"] == response.status_code
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.spec("RFC 6749", "5.2")
@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_every_oauth_error_has_a_known_code_and_a_plain_description(cls: type[AnonUsersError]) -> None:
    response = render_oauth_error(made(cls))
    body = json.loads(response.content)
    assert set(body) == {"error", "error_description"}
    assert body["error"] in CODES
    assert DESCRIPTION.fullmatch(body["error_description"])
    assert response.headers["Cache-Control"] == "no-store"
    assert ("WWW-Authenticate" in response.headers) is (response.status_code == 401)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_a_fault_of_ours_never_says_that_a_token_is_worthless(cls: type[AnonUsersError]) -> None:
    """INV9: on invalid_grant and InvalidGrant every SDK wipes the guest."""
    response = render_oauth_error(made(cls))
    word = json.loads(response.content)["error"]
    if response.status_code >= 500 or response.status_code == 429:
        assert word not in ("invalid_grant", "invalid_token", "invalid_dpop_proof")
    if word == "invalid_grant":
        assert cls.code in WORTHLESS
    reason = json.loads(render_api_error(made(cls)).content)["error"]["reason"]
    assert reason != "InvalidGrant"


def test_what_is_ours_to_know_is_not_told() -> None:
    for cls in (errors.SealBroken, errors.InvalidProjectFile):
        for render in (render_api_error, render_oauth_error):
            assert b"key" not in render(cls("the key in /etc/secret")).content
