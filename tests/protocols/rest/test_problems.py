"""Every error that the document names, at every operation that names it: the exact body, and that nothing changed."""

import threading
from datetime import UTC, datetime

import pytest
import time_machine
from django.db import OperationalError, connection
from django.utils import timezone

from anonusers import limits
from anonusers.login import begin_code_login
from anonusers.login_ids import parse_login_id
from anonusers.models import EndUser, LoginID, OneTimeToken
from anonusers.promotion import flow, password
from anonusers.promotion.flow import begin_promotion
from anonusers.protocols.base import ProtocolView
from anonusers.protocols.rest.reference import cached_document
from tests.conftest import APP_ORIGIN, make_application, make_project, row_counts, state_of
from tests.people import EMAIL, PASSWORD, WRONG, last_code, other_than, regular_user
from tests.protocols.rest.conftest import (
    LOGIN,
    LOGIN_CODE,
    LOGIN_VERIFY,
    LOGOUT,
    PROMOTE,
    PROMOTION,
    REFRESH,
    SESSIONS,
    SIGNUP,
    USERINFO,
    VERIFY,
    Api,
    session_of,
)

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
    "busy": (503, "Busy", "Too much is going on at once. Try again in a moment."),
    "code_expired": (400, "Code expired", "This code is not valid any more. Ask for a new one."),
    "code_not_sent": (
        503,
        "Code not sent",
        "The code could not be sent. Nothing was lost; try again in a moment.",
    ),
    "code_wrong": (400, "Wrong code", "This code is not right."),
    "credentials_wrong": (401, "Wrong credentials", "The login ID or the password is wrong."),
    "flow_gone": (
        404,
        "No such step",
        "This step is not valid any more: it has expired, was done, or belongs to somebody else. Start again.",
    ),
    "guest_gone": (403, "Guest disabled", "This guest account was disabled or deleted."),
    "invalid_login_id": (400, "Invalid login ID", "This is not an e-mail address we can send to."),
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
# Not every 503 knows when it is over.
RETRY_AFTER = {"busy": "2", "code_not_sent": None}
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
    "code_wrong": {"tries_left": 4},
    "unexpected": {"tracking_id": "ab" * 8},
}


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
        login_id = {"type": "email", "value": "guest@example.com"}
        web = {"client_id": "web", "kind": "token"}
        self.account = regular_user(application)
        self.handle, self.code = "", ""
        if operation == "finishCodeLogin":
            self.handle = begin_code_login(project=project, text=EMAIL).handle
            self.code = last_code()
        elif "romotion" in operation and operation != "beginPromotion":
            self.begin()
        limits.forget()
        entered = {"handle": self.handle, "code": self.code}
        self.method, self.path, self.body, self.options = {
            "signUp": ("POST", SIGNUP, {"client_id": "web", "kind": "token"}, {}),
            "getUserInfo": ("GET", USERINFO, None, bearer),
            "refresh": ("POST", REFRESH, refresh, {}),
            "listSessions": ("GET", SESSIONS, None, bearer),
            "endSession": ("DELETE", f"{SESSIONS}{self.session.pk}/", None, bearer),
            "logOut": ("POST", LOGOUT, {}, bearer),
            "promote": ("POST", PROMOTE, {"login_id": login_id, "password": PASSWORD}, bearer),
            "beginPromotion": ("POST", PROMOTION, {"login_id": login_id, "password": PASSWORD}, bearer),
            "verifyPromotion": ("POST", VERIFY, entered, bearer),
            "getPromotion": ("GET", f"{PROMOTION}{self.handle}/", None, bearer),
            "cancelPromotion": ("DELETE", f"{PROMOTION}{self.handle}/", None, bearer),
            "resendPromotionCode": ("POST", f"{PROMOTION}{self.handle}/resend/", {}, bearer),
            "logIn": ("POST", LOGIN, web | {"login_id": EMAIL, "password": PASSWORD}, {}),
            "beginCodeLogin": ("POST", LOGIN_CODE, {"client_id": "web", "login_id": EMAIL}, {}),
            "finishCodeLogin": ("POST", LOGIN_VERIFY, web | entered, {}),
        }[operation]
        self.operation = operation

    def begin(self, email="guest@example.com"):
        """A code is on its way to the guest."""
        pending = begin_promotion(
            end_user=self.session.end_user,
            project=self.project,
            application=self.application,
            type="email",
            text=email,
        )
        self.handle, self.code = pending.handle, last_code()

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

    def busy(self):
        full = threading.BoundedSemaphore(1)
        full.acquire()
        self.monkeypatch.setattr(password, "_hashing", full)
        self.monkeypatch.setattr(password, "PATIENCE", 0.01)

    def code_expired(self):
        OneTimeToken.objects.update(attempts=5)

    def code_not_sent(self):
        self.settings.EMAIL_BACKEND = "tests.protocols.rest.hosts.NoMail"
        self.project.verify = ["email"]
        self.project.save()

    def code_wrong(self):
        self.body["code"] = other_than(self.code)

    def credentials_wrong(self):
        self.body["password"] = WRONG

    def flow_gone(self):
        OneTimeToken.objects.update(used_at=timezone.now())

    def guest_gone(self):
        """Somebody disables the guest after we have looked."""
        look = flow._demand_guest

        def then_disable(end_user):
            look(end_user)
            EndUser.objects.filter(pk=end_user.pk).update(disabled_at=timezone.now())

        self.monkeypatch.setattr(flow, "_demand_guest", then_disable)

    def invalid_login_id(self):
        self.body["login_id"]["value"] = "guest@"

    def login_id_not_allowed(self):
        self.project.login_ids = ["username"]
        self.project.save()

    def login_id_taken(self):
        if self.operation == "promote":
            self.body["login_id"]["value"] = EMAIL
        else:
            self.begin(EMAIL)
            self.body |= {"handle": self.handle, "code": self.code}

    def user_disabled(self):
        EndUser.objects.filter(pk=self.account.pk).update(disabled_at=timezone.now())
        if self.operation == "verifyPromotion":
            self.project.promotion_conflict = "login"
            self.project.save()
            self.login_id_taken()

    def weak_password(self):
        self.body["password"] = "12345678"

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
        if self.operation == "signUp":
            self.settings.ANONUSERS_SIGNUP_PER_IP = "1/m"
            Api().sign_up()
        elif self.operation in ("beginPromotion", "resendPromotionCode"):
            limits.spend("codes_per_minute", "guestbook", parse_login_id("email", "guest@example.com").key)
        else:
            self.settings.ANONUSERS_LOGIN_PER_IP = "1/m"
            limits.spend("login_per_ip", "guestbook", "127.0.0.1")

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
        if self.operation in ("signUp", "logIn", "finishCodeLogin"):
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
    assert (row_counts(), state_of(world.session)) == (before, row)


def test_what_would_go_well_without_provocation_goes_well(project, application, settings, monkeypatch):
    """Else the test above would prove nothing."""
    statuses = {}
    for operation in dict(DECLARED):
        LoginID.objects.all().delete()
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
