"""An app, and a client of its wire that holds every answer against what the SDKs cannot do without."""

import base64
import json
import re
from typing import Any

import pytest
from django.test import Client

from tests.conftest import HOST, make_application, make_project

APP = "myapp-abcde"
PREFIX = "/api/client/v2.0"
OF_APP = f"{PREFIX}/app/{APP}"
LOCATION = f"{OF_APP}/location"
LOGIN = f"{OF_APP}/auth/providers/anon-user/login"
PROFILE = f"{PREFIX}/auth/profile"
SESSION = f"{PREFIX}/auth/session"
DELETE = f"{PREFIX}/auth/delete"
API_KEYS = f"{PREFIX}/auth/api_keys"
USERPASS = f"{OF_APP}/auth/providers/local-userpass"
FUNCTION = f"{OF_APP}/functions/call"
EMAIL, PASSWORD, WRONG = "ada@example.com", "correct horse 1", "correct horse 2"
CORS = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": (
        "Authorization, Content-Type, Accept, X-BAAS-Request-Origin, X-STITCH-Request-Origin"
    ),
}
OBJECT_ID = re.compile(r"[0-9a-f]{24}")
DEVICE = {
    "sdkVersion": "2.0.1",
    "platform": "node",
    "platformVersion": "20.20.2",
    "appId": "shop",
    "appVersion": "1.2.3",
}


def make_app(app_id: str = APP, slug: str = "guestbook", *domains: str, **fields: Any) -> Any:
    """The application of a Realm app, as an import makes it."""
    defaults = {"realm_app_id": app_id, "realm_local_userpass": True, "realm_auto_confirm": True}
    project = make_project(slug, *(domains or ("localhost",)), **(defaults | fields))
    return make_application(
        project,
        app_id,
        redirect_uris=[],
        post_logout_redirect_uris=[],
        refresh_token_lifetime=10 * 365 * 86_400,
        refresh_token_idle_timeout=90 * 86_400,
        refresh_token_rotation_enabled=False,
        dpop_enabled=False,
    )


@pytest.fixture
def app(db: None) -> Any:
    """An app with e-mail and password, which confirms by itself."""
    return make_app()


@pytest.fixture
def by_mail(app: Any) -> Any:
    """The same app, which confirms by mail."""
    app.project.realm_auto_confirm = False
    app.project.realm_confirmation_url = "https://shop.example/confirm"
    app.project.realm_reset_url = "https://shop.example/reset?lang=en"
    app.project.save()
    return app


class Realm:
    """What an SDK does with a device: it keeps its tokens. Every answer is checked against the rules that hold for
    all of them (contract §0)."""

    def __init__(self, app_id: str = APP, **headers: str) -> None:
        self.client = Client(HTTP_HOST=HOST, **headers)
        self.of_app = f"{PREFIX}/app/{app_id}"
        self.access_token = self.refresh_token = self.user_id = self.device_id = ""

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        bearer: str | None = None,
        raw: bytes | None = None,
        **kw: Any,
    ) -> Any:
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        content_type = kw.pop("content_type", "application/json")
        headers = ({"authorization": f"Bearer {bearer}"} if bearer else {}) | kw.pop("headers", {})
        response = self.client.generic(method, path, data, content_type=content_type, headers=headers)
        check_answer(response)
        return response

    def post(self, path: str, body: Any = None, **kw: Any) -> Any:
        return self.ask("POST", path, body, **kw)

    # --- as the SDKs do it ---

    def log_in(self, device: dict[str, Any] | None = DEVICE) -> "Realm":
        body = {"options": {"device": device}} if device is not None else None
        return self.keep(self.post(f"{self.of_app}/auth/providers/anon-user/login", body))

    def keep(self, response: Any) -> "Realm":
        assert response.status_code == 200, response.content
        answer = response.json()
        self.access_token, self.user_id = answer["access_token"], answer["user_id"]
        self.refresh_token = answer.get("refresh_token", self.refresh_token)
        self.device_id = answer["device_id"]
        return self

    def profile(self) -> Any:
        return self.ask("GET", PROFILE, bearer=self.access_token)

    def refresh(self) -> Any:
        response = self.ask("POST", SESSION, bearer=self.refresh_token)
        if response.status_code == 201:
            self.access_token = response.json()["access_token"]
        return response

    def log_out(self) -> Any:
        return self.ask("DELETE", SESSION, bearer=self.refresh_token)

    def register(self, email: str = EMAIL, password: str = PASSWORD, **kw: Any) -> Any:
        return self.post(
            f"{self.of_app}/auth/providers/local-userpass/register", {"email": email, "password": password}, **kw
        )

    def password_login(self, email: str = EMAIL, password: str = PASSWORD, *, link: bool = False) -> Any:
        path = f"{self.of_app}/auth/providers/local-userpass/login{'?link=true' if link else ''}"
        body = {"username": email, "password": password, "options": {"device": DEVICE}}
        return self.post(path, body, bearer=self.access_token if link else None)

    def link(self, email: str = EMAIL, password: str = PASSWORD) -> Any:
        return self.password_login(email, password, link=True)


def has_null(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(has_null, value.values() if isinstance(value, dict) else value))
    return value is None


def check_answer(response: Any) -> None:
    """Rules 1, 2 and 11, CORS on whatever is answered, and no null where a client would choke on it."""
    assert response.headers["Access-Control-Allow-Origin"], "every answer"
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert not response.cookies
    assert not 300 <= response.status_code < 400
    if response.status_code == 204:
        assert response.content == b""
        assert "Content-Type" not in response.headers
        return
    assert response.headers["Content-Type"] == "application/json"  # to the letter
    assert response.headers["Cache-Control"] == "no-store"
    body = response.json()
    if response.status_code >= 400:
        assert set(body) == {"error", "error_code"}
        assert all(isinstance(text, str) and text for text in body.values())
    if response.status_code == 401:
        assert response.headers["WWW-Authenticate"] == "Bearer"
    assert not has_null(body)  # not by the letters: once in some 17 million places a token has them, too


@pytest.fixture
def realm(app: Any) -> Realm:
    return Realm()


@pytest.fixture
def guest(realm: Realm) -> Realm:
    return realm.log_in()


def refused(response: Any) -> tuple[int, str, str]:
    body = response.json()
    return response.status_code, body["error_code"], body["error"]


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def forged(claims: dict[str, Any], header: dict[str, Any] | None = None) -> str:
    """A well-formed token that nobody signed."""

    def part(data: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()

    return f"{part(header or {'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.{'A' * 43}"
