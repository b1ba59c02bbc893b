"""Every error that the document names, at every operation that names it: the exact body, and that nothing changed."""

from datetime import UTC, datetime

import pytest
import time_machine
from django.db import OperationalError, connection

from anonusers.protocols.base import ProtocolView
from anonusers.protocols.rest.reference import cached_document
from tests.conftest import APP_ORIGIN, make_application, make_project, row_counts, state_of
from tests.protocols.rest.conftest import LOGOUT, REFRESH, SESSIONS, SIGNUP, USERINFO, Api, session_of

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
    "service_unavailable": (
        503,
        "Service unavailable",
        "The service is unavailable for a moment. Nothing is wrong with the request; try again.",
    ),
    "signup_vetoed": (403, "Not today", "The fair is over."),
    "unexpected": (500, "Internal error", "Something went wrong on our side."),
    "unknown_application": (400, "Unknown application", "There is no application with this client ID."),
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
HEADERS = {401: {"WWW-Authenticate": 'Bearer realm="anonusers"'}, 429: {"Retry-After": "60"}, 503: {"Retry-After": "5"}}
UNKNOWN_KEY = [{"pointer": "#/admin", "code": "general", "detail": "is not a known key"}]


class World:
    """One guest, and a call of an operation that would succeed, for a provocation to spoil."""

    def __init__(self, operation, project, application, settings, monkeypatch):
        self.project, self.application = project, application
        self.settings, self.monkeypatch = settings, monkeypatch
        self.api = Api()
        self.guest = Api().sign_up().json()
        self.session = session_of(self.guest)
        bearer = {"bearer": self.guest["access_token"]}
        refresh = {"client_id": "web", "refresh_token": self.guest["refresh_token"]}
        self.method, self.path, self.body, self.options = {
            "signUp": ("POST", SIGNUP, {"client_id": "web", "kind": "token"}, {}),
            "getUserInfo": ("GET", USERINFO, None, bearer),
            "refresh": ("POST", REFRESH, refresh, {}),
            "listSessions": ("GET", SESSIONS, None, bearer),
            "endSession": ("DELETE", f"{SESSIONS}{self.session.pk}/", None, bearer),
            "logOut": ("POST", LOGOUT, {}, bearer),
        }[operation]
        self.operation = operation

    def call(self):
        return self.api.call(self.method, self.path, self.body, **self.options)

    def by_cookie(self):
        """Ask by cookie instead of bearer token."""
        self.guest = self.api.sign_up(kind="cookie").json()
        self.session = session_of(self.guest)
        self.options.pop("bearer", None)
        if self.operation == "endSession":
            self.path = f"{SESSIONS}{self.session.pk}/"

    # --- one provocation for each code ---

    def anonymous_users_disabled(self):
        self.project.anonymous_users_enabled = False
        self.project.save()

    def application_type_not_allowed(self):
        make_application(self.project, "machine", type="m2m")
        self.body["client_id"] = "machine"

    def bad_request(self):
        self.api = Api(HTTP_HOST="evil.example")

    def body_too_large(self):
        self.body = b"{" + b" " * 1_048_576 + b"}"

    def content_type_refused(self):
        self.options["content_type"] = "text/plain"

    def idempotency_key_reused(self):
        self.options["headers"] = {"Idempotency-Key": "k" * 16}
        Api().sign_up(kind="cookie", headers=self.options["headers"])

    def idempotency_key_spent(self):
        self.options["headers"] = {"Idempotency-Key": "k" * 16}
        first = Api().sign_up(headers=self.options["headers"]).json()
        Api().refresh(first["refresh_token"])

    def invalid_token(self):
        self.body["refresh_token"] = "x"

    def malformed_json(self):
        self.body = b'{"client_id": '

    def not_signed_in(self):
        self.options["bearer"] = "x"

    def public_signup_disabled(self):
        self.settings.ANONUSERS_ADAPTER = "tests.protocols.rest.hosts.Closed"

    def rate_limited(self):
        self.settings.ANONUSERS_SIGNUP_PER_IP = "1/m"
        Api().sign_up()

    def service_unavailable(self):
        def away(*args):
            raise OperationalError("the server closed the connection: password=hunter2")

        self.call = lambda: self._with_database(away)
        # The answer goes to a page, so that CORS would ask the database, too.
        self.options["headers"] = {"Origin": APP_ORIGIN}

    def _with_database(self, wrapper):
        with connection.execute_wrapper(wrapper):
            return World.call(self)

    def signup_vetoed(self):
        self.settings.ANONUSERS_ADAPTER = "tests.protocols.rest.hosts.Vetoing"

    def unexpected(self):
        def broken(*args, **kwargs):
            raise RuntimeError("/srv/secret/path password=hunter2")

        self.monkeypatch.setattr(ProtocolView, "initial", broken)
        self.monkeypatch.setattr("anonusers.protocols.base.secrets.token_hex", lambda size: "ab" * size)

    def unknown_application(self):
        self.body["client_id"] = "nobody"

    def unknown_project(self):
        self.by_cookie()
        cookies, self.api = self.api.cookies, Api(HTTP_HOST="nobody.localhost")
        self.api.cookies = cookies

    def unknown_session(self):
        make_application(make_project("second", "second.localhost"))
        other = Api(HTTP_HOST="second.localhost").sign_up().json()
        self.path = f"{SESSIONS}{other['session']['id']}/"

    def untrusted_origin(self):
        if self.operation == "signUp":
            self.body["kind"] = "cookie"
        else:
            self.by_cookie()
        self.options["headers"] = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}

    def user_is_regular(self):
        self.session.end_user.anonymous_identity.delete()
        self.options["bearer"] = self.guest["access_token"]

    def validation_failed(self):
        self.body["admin"] = True


@pytest.mark.parametrize(("operation", "code"), DECLARED)
def test_each_declared_problem_has_its_exact_body_and_changes_nothing(
    operation, code, project, application, settings, monkeypatch
):
    with time_machine.travel(datetime(2026, 3, 1, tzinfo=UTC), tick=False):
        world = World(operation, project, application, settings, monkeypatch)
        getattr(world, code)()
        before, row = row_counts(), state_of(world.session)
        response = world.call()
    status, title, detail = WORDS[code]
    body = {
        "type": f"/api/v1/#error-{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }
    if code == "validation_failed":
        body["errors"] = UNKNOWN_KEY
    if code == "unexpected":
        body["tracking_id"] = "ab" * 8
    assert response.json() == body
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    for name in ("WWW-Authenticate", "Retry-After"):
        assert response.headers.get(name) == HEADERS.get(status, {}).get(name)
    assert not response.cookies
    assert (row_counts(), state_of(world.session)) == (before, row)


def test_what_would_go_well_without_provocation_goes_well(project, application, settings, monkeypatch):
    """Else the test above would prove nothing."""
    statuses = {
        operation: World(operation, project, application, settings, monkeypatch).call().status_code
        for operation in dict(DECLARED)
    }
    assert statuses == {
        "signUp": 201,
        "getUserInfo": 200,
        "refresh": 200,
        "listSessions": 200,
        "endSession": 204,
        "logOut": 204,
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
