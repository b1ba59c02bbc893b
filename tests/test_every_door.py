"""Stories told once and run through every door that speaks for itself: sign up, come back, refresh, log out.

A driver says what a client of that wire sends; the story only knows what a person does.
"""

import json
from datetime import timedelta
from typing import Any, Protocol

import pytest
from django.test import Client
from django.utils import timezone

from anonusers.models import Application, EndUser, Project, RealmUser, Session
from anonusers.promotion import promote
from tests.conftest import HOST, row_counts
from tests.devices import Device
from tests.people import proof_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]


class Refused(Exception):
    def __init__(self, code: str) -> None:
        self.code = code


class Door(Protocol):
    """One client program on one device: it keeps what it is given, as its SDK would."""

    def sign_up(self) -> None: ...
    def userinfo(self) -> tuple[str, bool]: ...
    def refresh(self) -> None: ...
    def log_out(self) -> None: ...


def form(client: Client, path: str, fields: dict[str, str], **headers: str) -> Any:
    body = "&".join(f"{name}={value}" for name, value in fields.items())
    return client.post(path, body, "application/x-www-form-urlencoded", headers=headers)


class AuthgearToken:
    def __init__(self) -> None:
        self.client = Client(HTTP_HOST=HOST)
        self.access_token = self.refresh_token = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.access_token}"}

    def keep(self, response: Any, result: dict[str, Any]) -> None:
        self.access_token = result["access_token"]
        self.refresh_token = result.get("refresh_token", self.refresh_token)

    def sign_up(self) -> None:
        body = {"session_type": "refresh_token", "client_id": "web"}
        if self.refresh_token:
            body["refresh_token"] = self.refresh_token
        response = self.client.post("/api/anonymous_user/signup", body, content_type="application/json")
        if response.status_code != 200:
            raise Refused(response.json()["error"]["message"])
        self.keep(response, response.json()["result"])

    def userinfo(self) -> tuple[str, bool]:
        response = self.client.get("/oauth2/userinfo", headers=self.headers)
        if response.status_code != 200:
            raise Refused(response.json()["error"])
        info = response.json()
        return info["sub"], info["https://authgear.com/claims/user/is_anonymous"]

    def refresh(self) -> None:
        fields = {"grant_type": "refresh_token", "client_id": "web", "refresh_token": self.refresh_token}
        response = form(self.client, "/oauth2/token", fields)
        if response.status_code != 200:
            raise Refused(response.json()["error"])
        self.keep(response, response.json())

    def log_out(self) -> None:
        assert form(self.client, "/oauth2/revoke", {"token": self.refresh_token}).status_code == 200
        self.refresh_token = ""


class AuthgearCookie(AuthgearToken):
    headers = {}  # type: ignore[assignment]

    def sign_up(self) -> None:
        response = self.client.post(
            "/api/anonymous_user/signup",
            {"session_type": "cookie", "client_id": "web"},
            content_type="application/json",
        )
        if response.status_code != 200:
            raise Refused(response.json()["error"]["message"])

    def refresh(self) -> None:
        self.userinfo()

    def log_out(self) -> None:
        self.client.get("/oauth2/end_session")


class NativeToken(AuthgearToken):
    kind = "token"

    def sign_up(self) -> None:
        body = {"client_id": "web", "kind": self.kind}
        if self.refresh_token:
            body["refresh_token"] = self.refresh_token
        response = self.client.post("/api/v1/signup/", body, content_type="application/json")
        if response.status_code not in (200, 201):
            raise Refused(response.json()["code"])
        if self.kind == "token":
            self.keep(response, response.json())

    def userinfo(self) -> tuple[str, bool]:
        response = self.client.get("/api/v1/userinfo/", headers=self.headers)
        if response.status_code != 200:
            raise Refused(response.json()["code"])
        return response.json()["sub"], response.json()["is_anonymous"]

    def refresh(self) -> None:
        body = {"client_id": "web", "refresh_token": self.refresh_token}
        response = self.client.post("/api/v1/refresh/", body, content_type="application/json")
        if response.status_code != 200:
            raise Refused(response.json()["code"])
        self.keep(response, response.json())

    def log_out(self) -> None:
        response = self.client.post("/api/v1/logout/", {}, content_type="application/json", headers=self.headers)
        assert response.status_code == 204
        self.refresh_token = ""


class NativeCookie(NativeToken):
    kind = "cookie"
    headers = {}  # type: ignore[assignment]

    def refresh(self) -> None:
        self.userinfo()


class AuthgearKey(AuthgearToken):
    """With a device key, which outlives tokens and cookies."""

    def __init__(self, name: str = "phone") -> None:
        super().__init__()
        self.device = Device(name)

    def sign_up(self) -> None:
        asked = self.client.post("/oauth2/challenge", {"purpose": "anonymous_request"}, content_type="application/json")
        fields = {
            "grant_type": "urn:authgear:params:oauth:grant-type:anonymous-request",
            "client_id": "web",
            "jwt": self.device.sign(asked.json()["result"]["token"]),
        }
        response = form(self.client, "/oauth2/token", fields)
        if response.status_code != 200:
            raise Refused(response.json()["error_description"])
        self.keep(response, response.json())


class NativeKey(NativeToken):
    def __init__(self, name: str = "phone") -> None:
        super().__init__()
        self.device = Device(name)

    def sign_up(self) -> None:
        asked = self.client.post("/api/v1/challenge/", {"client_id": "web"}, content_type="application/json")
        signed = self.device.sign(asked.json()["challenge"])
        body = {"client_id": "web", "kind": self.kind, "signed_request": signed}
        response = self.client.post("/api/v1/login/key/", body, content_type="application/json")
        if response.status_code not in (200, 201):
            raise Refused(response.json()["code"])
        if self.kind == "token":
            self.keep(response, response.json())


class NativeKeyCookie(NativeKey):
    kind = "cookie"
    headers = {}  # type: ignore[assignment]

    def refresh(self) -> None:
        self.userinfo()


class RealmWeb(AuthgearToken):
    """realm-web 2.0.1: a second anonymous log-in goes on as the user of the device, and asks only for the profile."""

    PREFIX = "/api/client/v2.0"

    def ask(self, method: str, path: str, token: str = "", body: str = "") -> Any:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        response = self.client.generic(method, self.PREFIX + path, body, "application/json", headers=headers)
        if response.status_code >= 400:
            raise Refused(response.json()["error_code"])
        return response

    def sign_up(self) -> None:
        if not self.refresh_token:
            body = '{"options":{"device":{"sdkVersion":"2.0.1","platform":"node","platformVersion":"20.20.2"}}}'
            response = self.ask("POST", "/app/web/auth/providers/anon-user/login", body=body)
            self.keep(response, response.json())
        self.ask("GET", "/auth/profile", self.access_token)

    def userinfo(self) -> tuple[str, bool]:
        """The profile has an id of its own for everybody; that it is always the same person's, our own `sub` says."""
        profile = self.ask("GET", "/auth/profile", self.access_token).json()
        types = [identity["provider_type"] for identity in profile["identities"]]
        return str(RealmUser.objects.get(object_id=profile["user_id"]).end_user_id), types == ["anon-user"]

    def refresh(self) -> None:
        response = self.ask("POST", "/auth/session", self.refresh_token)
        self.keep(response, response.json())

    def log_out(self) -> None:
        self.ask("DELETE", "/auth/session", self.refresh_token)
        self.refresh_token = ""


KEY_DOORS = [AuthgearKey, NativeKey, NativeKeyCookie]
DOORS = [AuthgearToken, AuthgearCookie, NativeToken, NativeCookie, RealmWeb]
GONE = {"invalid_grant", "not_signed_in", "invalid_token", "InvalidSession"}
ASLEEP = GONE | {"UserDisabled"}


@pytest.fixture
def application(application):
    """One application for the clients of all wires: its client ID is the app ID of a Realm app, too."""
    Project.objects.update(realm_app_id="web")
    application.project.refresh_from_db()
    return application


@pytest.fixture(params=DOORS, ids=lambda door: door.__name__)
def new_door(request, application):
    """A function that gives a fresh device with a client of one wire."""
    return request.param


def test_a_guest_stays_the_same_person_until_they_log_out(new_door):
    door = new_door()
    door.sign_up()
    sub, is_anonymous = door.userinfo()
    assert is_anonymous is True
    door.sign_up()
    assert door.userinfo() == (sub, True)
    door.refresh()
    assert door.userinfo() == (sub, True)
    assert EndUser.objects.count() == 1
    door.log_out()
    with pytest.raises(Refused) as refused:
        door.userinfo()
    assert refused.value.code in GONE
    door.sign_up()
    assert door.userinfo()[0] != sub
    assert EndUser.objects.count() == 2


def test_two_devices_are_two_guests(new_door):
    one, two = new_door(), new_door()
    one.sign_up()
    two.sign_up()
    assert one.userinfo()[0] != two.userinfo()[0]


def test_with_the_toggle_off_nobody_new_comes_in_and_nobody_is_thrown_out(new_door):
    old, new = new_door(), new_door()
    old.sign_up()
    sub, _ = old.userinfo()
    Project.objects.update(anonymous_users_enabled=False)
    before = row_counts()
    with pytest.raises(Refused) as refused:
        new.sign_up()
    assert refused.value.code in ("anonymous user disallowed", "anonymous_users_disabled", "AuthProviderNotFound")
    assert row_counts() == before
    old.sign_up()
    old.refresh()
    assert old.userinfo() == (sub, True)
    Project.objects.update(anonymous_users_enabled=True)
    new.sign_up()


def test_a_disabled_guest_is_out_at_once_and_back_when_enabled(new_door):
    door = new_door()
    door.sign_up()
    sub, _ = door.userinfo()
    EndUser.objects.update(disabled_at=timezone.now())
    for ask in (door.userinfo, door.refresh):
        with pytest.raises(Refused) as refused:
            ask()
        assert refused.value.code in ASLEEP
    EndUser.objects.update(disabled_at=None)
    assert door.userinfo() == (sub, True)
    door.refresh()


def test_a_shorter_lifetime_ends_the_session_at_the_next_request(new_door):
    door = new_door()
    door.sign_up()
    Session.objects.update(created_at=timezone.now() - timedelta(seconds=700))
    door.userinfo()
    Project.objects.update(session_lifetime=600)
    Application.objects.update(access_token_lifetime=300, refresh_token_lifetime=600)
    for ask in (door.userinfo, door.refresh):
        with pytest.raises(Refused) as refused:
            ask()
        assert refused.value.code in GONE


def test_a_regular_user_is_never_made_a_guest(new_door):
    door = new_door()
    door.sign_up()
    sub, _ = door.userinfo()
    end_user, session = EndUser.objects.get(), Session.objects.get()
    promote(end_user=end_user, project=end_user.project, proof=proof_of(), keep_session=session)
    before = row_counts()
    if new_door is RealmWeb:
        door.sign_up()  # as whom the device has; the server is asked for nobody new
    else:
        with pytest.raises(Refused) as refused:
            door.sign_up()
        assert refused.value.code in ("user logged in as normal user", "user_is_regular")
    assert row_counts() == before
    assert door.userinfo() == (sub, False)


def test_a_limit_is_one_limit_for_all_doors(application, settings):
    settings.ANONUSERS_SIGNUP_PER_IP = "5/m"
    for door in DOORS:
        door().sign_up()
    before = row_counts()
    for door in DOORS:
        with pytest.raises(Refused) as refused:
            door().sign_up()
        assert refused.value.code in ("request rate limited", "rate_limited", "TooManyRequests")
    assert row_counts() == before


def test_no_token_of_any_door_is_in_the_database_in_clear(application):
    """SHA-256 of the secret, never the secret: a leaked dump leads to nobody."""
    secrets = []
    for kind in DOORS:
        door = kind()
        door.sign_up()
        secrets += [door.access_token, door.refresh_token]
        cookie = door.client.cookies.get("anonusers_session")
        secrets.append(cookie.value if cookie else "")
    from django.apps import apps

    rows = [list(m._default_manager.values()) for m in apps.get_app_config("anonusers").get_models()]
    dump = json.dumps(rows, default=str)
    found = [secret for secret in secrets if secret and (secret in dump or secret.rsplit(".", 1)[-1] in dump)]
    assert len([secret for secret in secrets if secret]) >= 6
    assert found == []


# --- device keys ----------------------------------------------------------------------------------


@pytest.mark.parametrize("door", KEY_DOORS, ids=lambda door: door.__name__)
def test_a_guest_with_a_key_comes_back_after_they_logged_out(application, door):
    phone, other = door(), door("other-phone")
    phone.sign_up()
    sub, is_anonymous = phone.userinfo()
    phone.refresh()
    phone.log_out()
    with pytest.raises(Refused) as refused:
        phone.userinfo()
    assert refused.value.code in GONE
    phone.sign_up()
    other.sign_up()
    assert (phone.userinfo(), is_anonymous) == ((sub, True), True)
    assert other.userinfo()[0] != sub
    assert EndUser.objects.count() == 2


@pytest.mark.parametrize("return_by", KEY_DOORS, ids=lambda door: door.__name__)
@pytest.mark.parametrize("door", KEY_DOORS, ids=lambda door: door.__name__)
def test_a_key_leads_to_the_same_guest_by_every_door(application, door, return_by):
    phone, app_of_today = door(), return_by()
    phone.sign_up()
    app_of_today.sign_up()
    assert app_of_today.userinfo() == phone.userinfo()
    assert EndUser.objects.count() == 1


@pytest.mark.parametrize("door", KEY_DOORS, ids=lambda door: door.__name__)
def test_a_key_does_not_lead_into_the_account_that_its_guest_became(application, door):
    phone = door()
    phone.sign_up()
    sub, _ = phone.userinfo()
    promote(end_user=EndUser.objects.get(), project=application.project, proof=proof_of())
    with pytest.raises(Refused) as refused:
        phone.userinfo()
    assert refused.value.code in GONE
    phone.sign_up()
    assert (phone.userinfo()[0] != sub, phone.userinfo()[1]) == (True, True)
    phone.log_out()
    Project.objects.update(retired_device_keys="refuse")
    promote(
        end_user=EndUser.objects.exclude(pk=sub).get(), project=application.project, proof=proof_of("b@example.com")
    )
    before = Session.objects.count(), EndUser.objects.count()
    with pytest.raises(Refused) as refused:
        phone.sign_up()
    assert refused.value.code in ("InvalidCredentials", "key_proof_refused")
    assert (Session.objects.count(), EndUser.objects.count()) == before


@pytest.mark.parametrize("door", KEY_DOORS, ids=lambda door: door.__name__)
def test_with_the_toggle_off_no_key_leads_anywhere(application, door):
    phone = door()
    phone.sign_up()
    Project.objects.update(anonymous_users_enabled=False)
    for stranger in (phone, door("other-phone")):
        with pytest.raises(Refused) as refused:
            stranger.sign_up()
        assert refused.value.code in ("AnonymousUserDisallowed", "anonymous_users_disabled")
    assert phone.userinfo()[1] is True
    assert (EndUser.objects.count(), Session.objects.count()) == (1, 1)
