"""The two official command-line tools, as they speak: their headers, their order of calls, what they read."""

import json
from typing import Any

from django.test import Client

from anonusers.models import Project
from anonusers.realm_users import realm_app_of
from portal.models import Membership
from portal.operator_keys import create_key
from tests.conftest import HOST

BASE = "/api/admin/v3.0"
STITCH_CLI = {"X-STITCH-Request-Origin": "mongodb-stitch-cli"}
REALM_CLI = {"X-BAAS-Request-Origin": "mongodb-baas-cli"}


class Tool:
    """One signed-in tool. It repeats a refused request once with a refreshed token, as both tools do."""

    def __init__(self, headers: dict[str, str] | None = None, **extra: Any) -> None:
        self.http = Client(HTTP_HOST=HOST, enforce_csrf_checks=True, **extra)
        self.headers = REALM_CLI if headers is None else headers
        self.access = self.refresh = ""
        self.asked: list[str] = []

    def send(self, method: str, path: str, body: Any = None, *, token: str | None = None, **headers: str) -> Any:
        """One request, not repeated."""
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        bearer = self.access if token is None else token
        sent = {**self.headers, **({"Authorization": f"Bearer {bearer}"} if bearer else {}), **headers}
        self.asked.append(f"{method} {path}")
        # realm-cli names the type of a body, stitch-cli does so at login only.
        kind = "application/json" if body is not None and self.headers is REALM_CLI else ""
        return self.http.generic(method, f"{BASE}{path}", content, kind, headers=sent)

    def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """A request as the tools make it; the JSON of the answer, which must have this status."""
        response = self.send(method, path, body)
        if response.status_code == 401 and response.json()["error_code"] == "InvalidSession":
            refreshed = self.send("POST", "/auth/session", token=self.refresh)
            assert refreshed.status_code == 201, refreshed.content
            self.access = refreshed.json()["access_token"]
            response = self.send(method, path, body)
        assert response.status_code == status, response.content
        return read(response)

    def refreshed(self) -> str:
        """Another access token."""
        return str(self.send("POST", "/auth/session", token=self.refresh).json()["access_token"])

    def login(self, provider: str, body: dict[str, Any]) -> Any:
        response = self.send("POST", f"/auth/providers/{provider}/login", body, token="")
        if response.status_code == 200:
            self.access, self.refresh = response.json()["access_token"], response.json()["refresh_token"]
        return response


def read(response: Any) -> Any:
    """The body of an answer, whose headers must be as the tools demand them."""
    assert response["Cache-Control"] == "no-store"
    assert not [name for name in response.headers if name.lower().startswith("access-control")]
    assert not response.cookies
    if response.status_code == 204:
        assert "Content-Type" not in response.headers
        assert response.content == b""
        return None
    if response["Content-Type"] == "application/zip":
        return response.content
    assert response["Content-Type"] == "application/json"
    return response.json()


def refused(response: Any, status: int, code: str) -> None:
    assert (response.status_code, read(response)["error_code"]) == (status, code), response.content
    assert set(read(response)) == {"error", "error_code"}


def tool_of(user: Any, headers: dict[str, str] | None = None) -> Tool:
    """A tool that is signed in with a key of this operator's."""
    made = create_key(user=user, name="test")
    tool = Tool(headers)
    tool.login("mongodb-cloud", {"username": made.row.public_key, "apiKey": made.private_key})
    assert tool.access
    return tool


def member(project: Project, role: str, name: str = "") -> Any:
    from django.contrib.auth import get_user_model

    user = get_user_model().objects.create_user(name or role, is_staff=True)
    Membership.objects.create(project=project, user=user, role=role)
    return user


def app_path(project: Project) -> str:
    ids = realm_app_of(project)
    return f"/groups/{ids.group_id}/apps/{ids.object_id}"
