"""What a client does at the Authgear door, what then must be true, and what makes a session worthless."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import jwt
from django.apps import apps
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from anonusers.models import Application, EndUser, Project, Session
from tests.conftest import ORIGIN

SIGNUP = "/api/anonymous_user/signup"
TOKEN = "/oauth2/token"
USERINFO = "/oauth2/userinfo"
REVOKE = "/oauth2/revoke"
END_SESSION = "/oauth2/end_session"
RESOLVE = "/_resolver/resolve"
DISCOVERY = "/.well-known/openid-configuration"
JWKS = "/oauth2/jwks"

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
GRANT_ID_TOKEN = "urn:authgear:params:oauth:grant-type:id-token"
FULL_ACCESS = "https://authgear.com/scopes/full-access"
CLAIM = "https://authgear.com/claims/user/"
COOKIE = "anonusers_session"
SECURE_COOKIE = "__Host-anonusers_session"

INVALID_SESSION = {"error": "invalid_grant", "error_description": "invalid session"}
NO_SUCH_TOKEN = (400, "invalid_grant", "invalid refresh token")


# --- what a client does ---------------------------------------------------------------------------


def post(client: Client, path: str, body: str | bytes, content_type: str, **extra: Any) -> HttpResponse:
    """Byte for byte: Django's client would encode by the charset, and drop the type of an empty body."""
    return client.generic("POST", path, body, **({"CONTENT_TYPE": content_type} | extra))


def post_json(client: Client, path: str, body: Any, *, content_type: str = JSON, **extra: Any) -> HttpResponse:
    data = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return post(client, path, data, content_type, **extra)


def post_form(client: Client, path: str, fields: Any = (), *, content_type: str = FORM, **extra: Any) -> HttpResponse:
    data = fields if isinstance(fields, (str, bytes)) else urlencode(fields)
    return post(client, path, data, content_type, **extra)


def ask_for_cookie(client: Client, **extra: Any) -> HttpResponse:
    return post_json(client, SIGNUP, {"session_type": "cookie"}, **extra)


def ask_for_tokens(client: Client, refresh_token: str | None = None, client_id: str = "web", **extra: Any) -> Any:
    body = {"session_type": "refresh_token", "client_id": client_id}
    if refresh_token is not None:
        body["refresh_token"] = refresh_token
    return post_json(client, SIGNUP, body, **extra)


def get_tokens(client: Client, **arguments: Any) -> dict[str, Any]:
    """Sign a guest up and return the tokens."""
    response = ask_for_tokens(client, **arguments)
    assert response.status_code == 200, response.content
    return response.json()["result"]


def get_cookie(client: Client, **extra: Any) -> str:
    """Sign a guest up by cookie; the client keeps it, and its value is returned."""
    response = ask_for_cookie(client, **extra)
    assert response.status_code == 200, response.content
    return response.cookies[SECURE_COOKIE if extra.get("secure") else COOKIE].value


def refresh(client: Client, refresh_token: str, client_id: str = "web", **more: Any) -> HttpResponse:
    fields = {"grant_type": "refresh_token", "client_id": client_id, "refresh_token": refresh_token, **more}
    return post_form(client, TOKEN, fields)


def refreshed(client: Client, refresh_token: str, **more: Any) -> dict[str, Any]:
    response = refresh(client, refresh_token, **more)
    assert response.status_code == 200, response.content
    return response.json()


def ask_id_token(client: Client, access_token: str | None = None, client_id: str = "web", **extra: Any) -> HttpResponse:
    headers = bearer(access_token) if access_token is not None else {}
    return post_form(client, TOKEN, {"grant_type": GRANT_ID_TOKEN, "client_id": client_id}, **headers, **extra)


def bearer(token: str) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


def userinfo(client: Client, access_token: str | None = None) -> HttpResponse:
    return client.get(USERINFO, **(bearer(access_token) if access_token is not None else {}))


def sub_of(client: Client, access_token: str | None = None) -> str:
    response = userinfo(client, access_token)
    assert response.status_code == 200, response.content
    return response.json()["sub"]


def revoke(client: Client, token: str, **more: str) -> HttpResponse:
    return post_form(client, REVOKE, {"token": token, **more})


def only_session() -> Session:
    return Session.objects.in_full().get()


def claims_of(client: Client, token: str, **options: Any) -> dict[str, Any]:
    """The claims of a token as a resource server reads them: by the published keys and nothing else."""
    keys = jwt.PyJWKSet.from_dict(client.get(JWKS).json())
    header = jwt.get_unverified_header(token)
    key = keys[header["kid"]]
    return jwt.decode(token, key, algorithms=[header["alg"]], issuer=options.pop("issuer", ORIGIN), **options)


# --- what must then be true -----------------------------------------------------------------------


def whole_database() -> dict[str, list[dict[str, Any]]]:
    """Every row of ours and of the host's users."""
    models = [*apps.get_app_config("anonusers").get_models(), *apps.get_app_config("auth").get_models()]
    return {model._meta.label: list(model._default_manager.order_by("pk").values()) for model in models}


@contextmanager
def nothing_changes() -> Iterator[None]:
    """ "And nothing else changes": not one column of one row."""
    before = whole_database()
    yield
    assert whole_database() == before


def assert_never_cached(response: HttpResponse) -> None:
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def assert_api_error(
    response: HttpResponse, status: int, name: str, reason: str, message: str | None = None, info: Any = None
) -> dict[str, Any]:
    """The exact error of the API family, and no cookie with it."""
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == JSON
    body = response.json()
    assert list(body) == ["error"]
    error = body["error"]
    expected = {"name": name, "reason": reason, "message": message or error["message"], "code": status}
    assert isinstance(error["message"], str)
    assert {key: error.get(key) for key in expected} == expected
    assert set(error) <= {*expected, "info", "tracking_id"}
    if info is not None:
        assert error["info"] == info
    assert_never_cached(response)
    assert not response.cookies
    return error


def assert_oauth_error(response: HttpResponse, status: int, error: str, description: str | None = None) -> None:
    """The exact error of the OAuth family, and no cookie with it."""
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == JSON
    body = response.json()
    assert set(body) == {"error", "error_description"}
    assert body["error"] == error
    if description is not None:
        assert body["error_description"] == description
    assert_never_cached(response)
    assert not response.cookies


def assert_no_session(response: HttpResponse) -> None:
    """The exact answer of userinfo that makes an SDK drop a dead session."""
    assert response.status_code == 401
    assert response.json() == INVALID_SESSION
    challenge = 'Bearer error="invalid_grant", error_description="invalid session"'
    assert response.headers["WWW-Authenticate"] == challenge
    assert_never_cached(response)
    assert not response.cookies


# --- what makes a session worthless ---------------------------------------------------------------

Ending = Callable[[Session], Any]


def revoke_it(session: Session) -> None:
    Session.objects.filter(pk=session.pk).update(ended_at=timezone.now())


def outlive_it(session: Session) -> None:
    born = timezone.now() - timedelta(seconds=session.lifetime)
    Session.objects.filter(pk=session.pk).update(created_at=born)


def leave_it_idle(session: Session) -> None:
    assert session.idle_timeout
    last = timezone.now() - timedelta(seconds=session.idle_timeout)
    Session.objects.filter(pk=session.pk).update(last_used_at=last)


def disable_end_user(session: Session) -> None:
    EndUser.objects.filter(pk=session.end_user_id).update(disabled_at=timezone.now())


def enable_end_user(session: Session) -> None:
    EndUser.objects.filter(pk=session.end_user_id).update(disabled_at=None)


def deactivate_host_user(session: Session) -> None:
    user = session.end_user.user
    type(user).objects.filter(pk=user.pk).update(is_active=False)


def activate_host_user(session: Session) -> None:
    user = session.end_user.user
    type(user).objects.filter(pk=user.pk).update(is_active=True)


def delete_host_user(session: Session) -> None:
    session.end_user.user.delete()


def delete_end_user(session: Session) -> None:
    session.end_user.delete()


def delete_application(session: Session) -> None:
    assert session.application
    session.application.delete()


ENDINGS: dict[str, Ending] = {
    "revoked": revoke_it,
    "past its lifetime": outlive_it,
    "idle for too long": leave_it_idle,
    "end user disabled": disable_end_user,
    "host user inactive": deactivate_host_user,
    "host user deleted": delete_host_user,
    "end user deleted": delete_end_user,
}

SLEEPS: dict[str, tuple[Ending, Ending]] = {
    "end user disabled": (disable_end_user, enable_end_user),
    "host user inactive": (deactivate_host_user, activate_host_user),
}


def make_regular(session: Session) -> None:
    """What promotion leaves behind: a user without the identity that makes a guest."""
    session.end_user.anonymous_identity.delete()


def configure(row: Project | Application, **fields: Any) -> None:
    """Change settings as the portal does: the row, by its primary key."""
    for name, value in fields.items():
        setattr(row, name, value)
    row.save()
