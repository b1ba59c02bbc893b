"""Every error that the document names, at every operation that names it: the exact body, and that nothing changed."""

from datetime import UTC, datetime

import pytest
import time_machine

from anonusers import limits
from anonusers.models import DeviceKey, LoginID, Session
from anonusers.protocols.rest.reference import cached_document
from tests.conftest import row_counts
from tests.protocols.rest.conftest import Api
from tests.protocols.rest.world import World

pytestmark = [pytest.mark.django_db, pytest.mark.database]

DECLARED = [
    (operation["operationId"], code)
    for operations in cached_document()["paths"].values()
    for operation in operations.values()
    for code in operation["x-problems"]
]

# code → status, title, detail
WORDS = {
    "anonymous_users_disabled": (
        403,
        "Guest accounts are off",
        "Anonymous users are disabled in this project.",
    ),
    "application_type_not_allowed": (
        400,
        "Guests are not supported here",
        "Anonymous users are not supported for this type of application. Use a single-page, traditional web or "
        "native application instead.",
    ),
    "bot_check_required": (
        403,
        "Bot check required",
        "Many guests come from your network. Solve the challenge, and send the solution along as `bot_check`.",
    ),
    "busy": (503, "Busy", "Too much is going on at once. Try again in a moment."),
    "code_expired": (400, "Code expired", "This code is not valid any more. Ask for a new one."),
    "code_not_sent": (
        503,
        "Code not sent",
        "The code could not be sent. Nothing was lost; try again in a moment.",
    ),
    "code_wrong": (400, "Wrong code", "This code is not right."),
    "credentials_wrong": (401, "Wrong credentials", "The login ID or the password is wrong."),
    "dpop_proof_refused": (
        401,
        "DPoP proof refused",
        "The DPoP proof is missing, not valid, or was made with another key.",
    ),
    "flow_gone": (
        404,
        "No such step",
        "This step is not valid any more: it has expired, was done, or belongs to somebody else. Start again.",
    ),
    "guest_gone": (
        401,
        "Account gone",
        "This account is gone: it was deleted, or disabled just now. Sign up to start afresh.",
    ),
    "invalid_login_id": (400, "Invalid login ID", "This is not an e-mail address we can send to."),
    "key_exists": (
        409,
        "Guest has a key",
        "This guest has a device key already. A recovery code moves the guest to a new device.",
    ),
    "key_proof_refused": (
        401,
        "Signed request refused",
        "The signed request, its key or its challenge is not valid.",
    ),
    "key_taken": (
        409,
        "Key used before",
        "This device key cannot be added: it, or its ID, is in use or was used before.",
    ),
    "login_id_not_allowed": (400, "Login ID not allowed", "This kind of login ID is not used here."),
    "login_id_taken": (409, "Login ID taken", "Somebody uses this login ID already."),
    "user_disabled": (403, "Account disabled", "This account is disabled."),
    "weak_password": (400, "Weak password", "This password is too common. This password is entirely numeric."),
    "bad_request": (400, "Bad request", "The request is malformed."),
    "body_too_large": (413, "Body too large", "The body of the request is too large."),
    "content_type_refused": (
        415,
        "Content type refused",
        "The content type of the request is not the one that this endpoint reads.",
    ),
    "idempotency_key_reused": (
        422,
        "Idempotency-Key used before",
        "This Idempotency-Key was used with a different request.",
    ),
    "idempotency_key_spent": (
        409,
        "Idempotency-Key spent",
        "The session that this Idempotency-Key created has moved on or ended; its first answer is worthless now.",
    ),
    "invalid_token": (401, "Invalid token", "The token is not valid (any more)."),
    "malformed_json": (400, "Malformed JSON", "The body is not valid JSON."),
    "not_signed_in": (401, "Not signed in", "There is no valid session."),
    "public_signup_disabled": (403, "Sign-up is closed", "Public sign-up is disabled."),
    "rate_limited": (429, "Too many requests", "Too many requests. Try again later."),
    "recovery_code_wrong": (400, "Wrong recovery code", "This recovery code is not valid (any more)."),
    "service_unavailable": (
        503,
        "Service unavailable",
        "The service is unavailable for a moment. Nothing is wrong with the request; try again.",
    ),
    "signup_vetoed": (403, "Not today", "The fair is over."),
    "unexpected": (500, "Internal error", "Something went wrong on our side."),
    "unknown_application": (400, "Unknown application", "There is no application with this client ID."),
    "unknown_key": (404, "Unknown key", "This guest has no such device key."),
    "unknown_project": (404, "Unknown project", "No project lives at this host."),
    "unknown_session": (404, "Unknown session", "There is no such session."),
    "untrusted_origin": (
        403,
        "Untrusted origin",
        "This request comes from a site that is not allowed to use the session cookie.",
    ),
    "user_is_regular": (409, "Already signed in", "The user is already signed in as a regular user."),
    "validation_failed": (400, "Invalid body", "The request body is invalid."),
}
HEADERS = {
    401: {"WWW-Authenticate": 'Bearer realm="anonusers", DPoP algs="ES256 RS256"'},
    429: {"Retry-After": "60"},
    503: {"Retry-After": "5"},
}
# Not every 503 knows when it is over.
RETRY_AFTER = {"bot_check_required": "60", "busy": "2", "code_not_sent": None}
MORE = {
    "validation_failed": {
        "errors": [{"pointer": "#/admin", "code": "general", "detail": "is not a known key"}],
    },
    "weak_password": {
        "errors": [
            {"pointer": "#/password", "code": "general", "detail": "This password is too common."},
            {"pointer": "#/password", "code": "general", "detail": "This password is entirely numeric."},
        ]
    },
    "bot_check_required": {"challenge": {"type": "riddle", "question": "six by nine"}, "retry_after": 60},
    "code_wrong": {"tries_left": 4},
    "unexpected": {"tracking_id": "ab" * 8},
}


def rows_of(session):
    """All columns of the session's row; none where it went with its guest."""
    return list(Session.objects.filter(pk=session.pk).values())


@pytest.mark.parametrize(("operation", "code"), DECLARED)
def test_each_declared_problem_has_its_exact_body_and_changes_nothing(
    operation, code, project, application, settings, monkeypatch
):
    with time_machine.travel(datetime(2026, 3, 1, tzinfo=UTC), tick=False):
        world = World(operation, project, application, settings, monkeypatch)
        getattr(world, code)()
        before, row = row_counts(), rows_of(world.session)
        response = world.call()
    status, title, detail = WORDS[code]
    body = {
        "type": f"/api/v1/#error-{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }
    body |= MORE.get(code, {})
    assert response.json() == body
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    headers = HEADERS.get(status, {})
    assert response.headers.get("WWW-Authenticate") == headers.get("WWW-Authenticate")
    assert response.headers.get("Retry-After") == RETRY_AFTER.get(code, headers.get("Retry-After"))
    assert not response.cookies
    assert (row_counts(), rows_of(world.session)) == (before, row)


def test_what_would_go_well_without_provocation_goes_well(project, application, settings, monkeypatch):
    """Else the test above would prove nothing."""
    statuses = {}
    for operation in dict(DECLARED):
        LoginID.objects.all().delete()
        DeviceKey.objects.all().delete()
        statuses[operation] = World(operation, project, application, settings, monkeypatch).call().status_code
        limits.forget()
    assert statuses == {
        "signUp": 201,
        "getUserInfo": 200,
        "refresh": 200,
        "listSessions": 200,
        "endSession": 204,
        "logOut": 204,
        "promote": 200,
        "beginPromotion": 202,
        "verifyPromotion": 200,
        "getPromotion": 200,
        "cancelPromotion": 204,
        "resendPromotionCode": 202,
        "logIn": 200,
        "beginCodeLogin": 202,
        "finishCodeLogin": 200,
        "getChallenge": 200,
        "logInWithKey": 201,
        "listKeys": 200,
        "addKey": 201,
        "removeKey": 204,
        "getRecoveryCode": 201,
        "recover": 200,
    }


def test_a_veto_without_words_has_ours(application, settings):
    settings.ANONUSERS_ADAPTER = "tests.protocols.rest.hosts.SilentlyVetoing"
    before = row_counts()
    assert Api().sign_up().json() == {
        "type": "/api/v1/#error-signup_vetoed",
        "title": "Sign-up refused",
        "status": 403,
        "detail": "The host application refused this sign-up.",
        "code": "signup_vetoed",
    }
    assert row_counts() == before


def test_what_breaks_in_the_hosts_code_is_told_to_the_log_and_not_to_the_client(application, settings, caplog):
    settings.ANONUSERS_ADAPTER = "tests.protocols.rest.hosts.Broken"
    before = row_counts()
    response = Api().sign_up()
    body = response.json()
    assert (response.status_code, body["code"]) == (500, "unexpected")
    assert "secret" not in response.content.decode()
    assert f"unexpected error {body['tracking_id']}" in caplog.text
    assert "a secret of the host" in caplog.text
    assert row_counts() == before


def test_when_the_keys_cannot_be_unsealed_that_is_for_the_log_too(application, settings, caplog):
    settings.SECRET_KEY = "another one"
    settings.SECRET_KEY_FALLBACKS = []
    body = Api().sign_up().json()
    assert (body["status"], body["code"]) == (500, "unexpected")
    assert body["detail"] == "Something went wrong on our side."
    assert f"unexpected error {body['tracking_id']}" in caplog.text
    assert "SealBroken" in caplog.text
