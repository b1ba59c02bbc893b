"""A client of the native API that holds every answer against the OpenAPI document."""

import copy
import json
import re
from functools import cache
from typing import Any

import pytest
from django.test import Client
from jsonschema import Draft202012Validator

from anonusers.models import Application, Session
from anonusers.protocols.rest.reference import cached_document
from tests.conftest import HOST

SIGNUP = "/api/v1/signup/"
USERINFO = "/api/v1/userinfo/"
REFRESH = "/api/v1/refresh/"
SESSIONS = "/api/v1/sessions/"
LOGOUT = "/api/v1/logout/"
PROMOTE = "/api/v1/promote/"
PROMOTION = "/api/v1/promotion/"
VERIFY = "/api/v1/promotion/verify/"
LOGIN = "/api/v1/login/"
LOGIN_CODE = "/api/v1/login/code/"
LOGIN_VERIFY = "/api/v1/login/code/verify/"
CHALLENGE = "/api/v1/challenge/"
KEY_LOGIN = "/api/v1/login/key/"
KEYS = "/api/v1/keys/"
RECOVERY_CODE = "/api/v1/recovery-code/"
RECOVER = "/api/v1/recover/"
COOKIE = "anonusers_session"
# What stands in the place of a path's parameter.
PARAMETERS = {"{session_id}": "[0-9a-f-]{36}", "{handle}": "[^/]+", "{kid}": "[-0-9A-Za-z_]{8,64}"}


def strict(document: dict[str, Any]) -> dict[str, Any]:
    """The document with every object closed: an answer has the fields that are described, and no other."""
    document = copy.deepcopy(document)
    for shape in document["components"]["schemas"].values():
        if shape.get("type") == "object":
            shape["additionalProperties"] = False
    return document


@cache
def validator(template: str, method: str, status: str, content_type: str) -> Draft202012Validator:
    """Of the body of an answer; made once, which takes longer than most requests."""
    document = strict(cached_document())
    content = document["paths"][template][method]["responses"][status]["content"][content_type]
    return Draft202012Validator(content["schema"] | {"components": document["components"]})


@cache
def described_template(path: str) -> str | None:
    for template in cached_document()["paths"]:
        pattern = template
        for parameter, shape in PARAMETERS.items():
            pattern = pattern.replace(parameter, shape)
        if re.fullmatch(pattern, path):
            return template
    return None


def check_described(method: str, path: str, response: Any) -> None:
    """Status, content type, error code and shape of an answer are what the document says."""
    template, method, status = described_template(path), method.lower(), str(response.status_code)
    operation = cached_document()["paths"][template].get(method) if template else None
    if operation is None:
        return
    described = operation["responses"].get(status)
    assert described, f"{method} {path} answers {status}, which is not described"
    content = described.get("content", {})
    if not content:
        assert (response.content, response.headers.get("Content-Type")) == (b"", None)
        return
    assert [response.headers["Content-Type"]] == list(content)
    validator(template, method, status, response.headers["Content-Type"]).validate(response.json())
    if response.status_code >= 400:
        assert response.json()["code"] in operation["x-problems"]


class Api(Client):
    """Comes to localhost:8000 and keeps cookies."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**({"HTTP_HOST": HOST} | options))

    def request(self, **request: Any) -> Any:
        response = super().request(**request)
        check_described(request["REQUEST_METHOD"], request["PATH_INFO"], response)
        return response

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        bearer: str | None = None,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> Any:
        """`body` is bytes as they are, or data to be written as JSON; None sends none."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = (headers or {}) | ({"Authorization": f"Bearer {bearer}"} if bearer else {})
        return self.generic(method, path, data, content_type=content_type, headers=sent, **extra)

    def sign_up(self, client_id: str = "web", kind: str = "token", **options: Any) -> Any:
        body = {"client_id": client_id, "kind": kind} | options.pop("more", {})
        return self.call("POST", SIGNUP, body, **options)

    def userinfo(self, **options: Any) -> Any:
        return self.call("GET", USERINFO, **options)

    def refresh(self, refresh_token: str, client_id: str = "web", **options: Any) -> Any:
        return self.call("POST", REFRESH, {"client_id": client_id, "refresh_token": refresh_token}, **options)

    def challenge(self, client_id: str = "web", **options: Any) -> str:
        response = self.call("POST", CHALLENGE, {"client_id": client_id}, **options)
        assert response.status_code == 200, response.content
        return str(response.json()["challenge"])


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def make_api() -> type[Api]:
    return Api


@pytest.fixture
def guest(application: Application) -> dict[str, Any]:
    """The answer to a token sign-up through `web`, made by another client."""
    response = Api().sign_up()
    assert response.status_code == 201
    return response.json()


@pytest.fixture
def cookie_guest(api: Api, application: Application) -> dict[str, Any]:
    """The answer to a cookie sign-up; `api` holds the cookie."""
    response = api.sign_up(kind="cookie")
    assert response.status_code == 201
    return response.json()


def session_of(answer: dict[str, Any]) -> Session:
    return Session.objects.in_full().get(pk=answer["session"]["id"])


def is_problem(response: Any, status: int, code: str, **more: Any) -> bool:
    """Whether an answer is this problem; the exact bodies are in test_problems.py."""
    body = response.json()
    wanted = {"status": status, "code": code, "type": f"/api/v1/#error-{code}"} | more
    assert response.status_code == status, body
    assert {key: body.get(key) for key in wanted} == wanted
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    return True
