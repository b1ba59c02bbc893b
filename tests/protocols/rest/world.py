"""One guest, one call that would succeed, and for each error a way to spoil it."""

import threading

from django.db import OperationalError, connection
from django.utils import timezone

from anonusers import device_keys, limits
from anonusers.login import begin_code_login
from anonusers.login_ids import parse_login_id
from anonusers.models import EndUser, OneTimeToken
from anonusers.promotion import flow, password
from anonusers.promotion.flow import begin_promotion
from anonusers.protocols.base import ProtocolView
from tests.conftest import APP_ORIGIN, make_application, make_project
from tests.people import EMAIL, PASSWORD, WRONG, last_code, other_than, regular_user
from tests.protocols.rest.conftest import (
    CHALLENGE,
    KEY_LOGIN,
    KEYS,
    LOGIN,
    LOGIN_CODE,
    LOGIN_VERIFY,
    LOGOUT,
    PROMOTE,
    PROMOTION,
    RECOVER,
    RECOVERY_CODE,
    REFRESH,
    SESSIONS,
    SIGNUP,
    USERINFO,
    VERIFY,
    Api,
    session_of,
)
from tests.protocols.rest.devices import Device


class World:
    """One guest, and a call of an operation that would succeed, for a provocation to spoil."""

    def __init__(self, operation, project, application, settings, monkeypatch):
        self.project, self.application = project, application
        self.settings, self.monkeypatch = settings, monkeypatch
        self.operation, self.api = operation, Api()
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
        self.device = Device()
        device = self.prepare_device()
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
            "getChallenge": ("POST", CHALLENGE, {"client_id": "web"}, {}),
            "logInWithKey": ("POST", KEY_LOGIN, web | device, {}),
            "listKeys": ("GET", KEYS, None, bearer),
            "addKey": ("POST", KEYS, device, bearer),
            "removeKey": ("DELETE", f"{KEYS}{self.device.kid}/", None, bearer),
            "getRecoveryCode": ("POST", RECOVERY_CODE, {}, bearer),
            "recover": ("POST", RECOVER, web | device, {}),
        }[operation]

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

    def prepare_device(self):
        """What the guest's device sends for this operation."""
        actions = {"logInWithKey": "auth", "addKey": "add_key", "recover": "recover"}
        if self.operation == "removeKey":
            assert self.device.add(self.guest).status_code == 201
        if self.operation not in actions:
            return {}
        signed = {"signed_request": self.device.signed(Api().challenge(), actions[self.operation])}
        if self.operation != "recover":
            return signed
        code = Api().call("POST", RECOVERY_CODE, {}, bearer=self.guest["access_token"]).json()["recovery_code"]
        return signed | {"recovery_code": code}

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

    def bot_check_required(self):
        self.settings.ANONUSERS_BOT_CHECK = "tests.protocols.rest.hosts.Riddle"
        self.settings.ANONUSERS_BOT_CHECK_PER_IP = "1/m"
        limits.spend("bot_check_per_ip", str(self.project.pk), "127.0.0.1")

    def busy(self):
        if self.operation in ("signUp", "logInWithKey"):
            # Nobody listens at that port, and the project wants no sign-ups without limits.
            self.settings.ANONUSERS_LIMITS_STORAGE = "redis://127.0.0.1:1"
            self.settings.ANONUSERS_KEY_LOGIN_PER_IP = "off"
            self.project.limits_store_down = "stop"
            self.project.save()
            return
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

    def dpop_proof_refused(self):
        self.options["headers"] = {"DPoP": "x"}

    def flow_gone(self):
        OneTimeToken.objects.update(used_at=timezone.now())

    def guest_gone(self):
        """Somebody removes the guest: before the request, or after its session was found."""
        if self.operation not in ("promote", "verifyPromotion", "addKey", "removeKey", "getRecoveryCode"):
            self.session.end_user.user.delete()
            return
        look = flow._demand_guest

        def then_disable(end_user):
            look(end_user)
            EndUser.objects.filter(pk=end_user.pk).update(disabled_at=timezone.now())

        self.monkeypatch.setattr(flow, "_demand_guest", then_disable)
        self.monkeypatch.setattr(device_keys, "lock_end_user", lambda end_user_id: None)  # as if deleted

    def invalid_login_id(self):
        self.body["login_id"]["value"] = "guest@"

    def key_exists(self):
        assert Device("tablet", "tablet-key").add(self.guest).status_code == 201

    def key_proof_refused(self):
        self.body["signed_request"] = Device("thief", "thief-key").signed("A" * 32)

    def key_taken(self):
        assert self.device.log_in().status_code == 201

    def recovery_code_wrong(self):
        self.body["recovery_code"] = "0000-0000-0000-0000"

    def unknown_key(self):
        self.path = f"{KEYS}nobodys-key/"

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
        if self.operation in ("logInWithKey", "recover"):
            if self.operation == "logInWithKey":
                assert self.device.add(self.guest).status_code == 201
            EndUser.objects.filter(pk=self.session.end_user_id).update(disabled_at=timezone.now())
            return
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
        elif self.operation == "getChallenge":
            self.settings.ANONUSERS_CHALLENGES_PER_IP = "1/m"
            Api().challenge()
        elif self.operation == "logInWithKey":
            self.settings.ANONUSERS_KEY_LOGIN_PER_IP = "1/m"
            limits.spend("key_login_per_ip", "guestbook", "127.0.0.1")
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
        if self.operation in ("signUp", "logIn", "finishCodeLogin", "logInWithKey", "recover"):
            self.body["kind"] = "cookie"
        else:
            self.by_cookie()
        self.options["headers"] = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}

    def user_is_regular(self):
        self.session.end_user.anonymous_identity.delete()
        self.options["bearer"] = self.guest["access_token"]

    def validation_failed(self):
        self.body["admin"] = True
