"""What a client does at the Authgear door, what then must be true, and what makes a session worthless."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID

import jwt
from django.contrib.auth.hashers import make_password
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone

from anonusers import browser as browsers
from anonusers import sessions
from anonusers.login_ids import parse_login_id
from anonusers.models import Application, EndUser, Project, Session
from anonusers.promotion import promote
from anonusers.promotion.base import Proof
from tests.conftest import APP_ORIGIN, HOST, ORIGIN, whole_database

SIGNUP = "/api/anonymous_user/signup"
TOKEN = "/oauth2/token"
USERINFO = "/oauth2/userinfo"
REVOKE = "/oauth2/revoke"
END_SESSION = "/oauth2/end_session"
RESOLVE = "/_resolver/resolve"
AUTHORIZE = "/oauth2/authorize"
PROMOTION_CODE = "/api/anonymous_user/promotion_code"
APP_SESSION_TOKEN = "/oauth2/app_session_token"
DISCOVERY = "/.well-known/openid-configuration"
JWKS = "/oauth2/jwks"

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
GRANT_ID_TOKEN = "urn:authgear:params:oauth:grant-type:id-token"
FULL_ACCESS = "https://authgear.com/scopes/full-access"
CLAIM = "https://authgear.com/claims/user/"
COOKIE = "anonusers_session"
SECURE_COOKIE = "__Host-anonusers_session"

REDIRECT_URI = f"{APP_ORIGIN}/after-login"
LOGIN_HINT = "https://authgear.com/login_hint?"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636, appendix B
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
SCOPE = f"openid offline_access {FULL_ACCESS}"
PASSWORD = "correct horse battery staple"

INVALID_SESSION = {"error": "invalid_grant", "error_description": "invalid session"}
ERROR_DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 §4.1.2.1
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


def authorization(**changes: Any) -> dict[str, str]:
    """What the SDK sends to the authorization endpoint; None leaves a parameter out."""
    parameters = {
        "response_type": "code",
        "client_id": "web",
        "redirect_uri": REDIRECT_URI,
        "scope": SCOPE,
        "state": "s-1",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return {name: value for name, value in (parameters | changes).items() if value is not None}


def without_code(**changes: Any) -> dict[str, str]:
    """What it sends for a cookie session."""
    cookie = {"response_type": "none", "scope": f"openid {FULL_ACCESS}", "x_sso_enabled": "true"}
    return authorization(**(cookie | {"code_challenge": None, "code_challenge_method": None} | changes))


def authorize(client: Client, parameters: dict[str, str] | None = None, **extra: Any) -> HttpResponse:
    return client.get(AUTHORIZE, authorization() if parameters is None else parameters, **extra)


def login_hint(type: str, **values: str) -> str:
    return LOGIN_HINT + urlencode({"type": type, **values})


def exchange(client: Client, code: str, **changes: Any) -> HttpResponse:
    fields = {
        "grant_type": "authorization_code",
        "client_id": "web",
        "code": code,
        "redirect_uri": REDIRECT_URI,
        "code_verifier": VERIFIER,
    } | changes
    return post_form(client, TOKEN, {name: value for name, value in fields.items() if value is not None})


def exchanged(client: Client, code: str, **changes: Any) -> dict[str, Any]:
    response = exchange(client, code, **changes)
    assert response.status_code == 200, response.content
    return response.json()


def promotion_code(client: Client, refresh_token: str | None = None) -> str:
    body = {"session_type": "cookie"}
    if refresh_token is not None:
        body = {"session_type": "refresh_token", "refresh_token": refresh_token}
    response = post_json(client, PROMOTION_CODE, body)
    assert response.status_code == 200, response.content
    return response.json()["result"]["promotion_code"]


def app_session_token(client: Client, refresh_token: str) -> str:
    response = post_json(client, APP_SESSION_TOKEN, {"refresh_token": refresh_token})
    assert response.status_code == 200, response.content
    return response.json()["result"]["app_session_token"]


def be_promoted(end_user: EndUser, email: str = "ada@example.com") -> EndUser:
    """What a page has done with an address and a password."""
    proof = Proof("password", parse_login_id("email", email), verified=False, password=make_password(PASSWORD))
    return promote(end_user=end_user, project=end_user.project, proof=proof).end_user


def make_user(project: Project, email: str = "ada@example.com") -> EndUser:
    """A regular user."""
    before = set(EndUser.objects.values_list("pk", flat=True))
    get_tokens(Client(HTTP_HOST=f"{project.domains.get().domain}:8000"))
    return be_promoted(EndUser.objects.exclude(pk__in=before).get(), email)


def sign_in(client: Client, end_user: EndUser, **fields: Any) -> Session:
    """Open a cookie session of a user in a browser, as a page does."""
    session, secret = sessions.open_session(
        end_user=end_user, project=end_user.project, application=None, kind=Session.Kind.COOKIE, **fields
    )
    client.cookies[COOKIE] = str(secret)
    return session


def flow_of(response: HttpResponse, page: str) -> str:
    """The flow with which a browser is sent to a page of ours."""
    assert response.status_code == 303, response.content
    uri = urlsplit(response.headers["Location"])
    assert (uri.scheme, uri.netloc, uri.path) == ("", "", f"/{page}")
    [(name, [flow_id])] = parse_qs(uri.query).items()
    assert name == "flow"
    return flow_id


def look_at_flow(client: Client, flow_id: str, project: Project) -> browsers.Flow | None:
    return browsers.find(_request_of(client), flow_id, project)


def be_authenticated(client: Client, flow_id: str, end_user: EndUser, amr: str = "pwd") -> HttpResponse:
    """What a page does once the person has proven who they are; the answer to where it sends the browser then."""
    request = _request_of(client)
    flow = browsers.find(request, flow_id, end_user.project)
    assert flow
    browsers.authenticated(request, flow, sub=UUID(str(end_user.pk)), amr=amr)
    request.session.save()
    client.cookies["sessionid"] = request.session.session_key
    if flow.opens_cookie:
        sign_in(client, end_user, amr=amr)
    return client.get(flow.next)


def _request_of(client: Client) -> Any:
    request = RequestFactory().get("/", HTTP_HOST=HOST)
    request.session = client.session
    return request


# --- what must then be true -----------------------------------------------------------------------


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


def redirected(response: HttpResponse, uri: str = REDIRECT_URI) -> dict[str, str]:
    """What a client is told by a redirect to its URI, and to no other. State and issuer are checked and left out."""
    assert response.status_code == 303, response.content
    base, _, query = response.headers["Location"].partition("?")
    assert base == uri
    assert_private(response)
    told = {name: value for name, [value] in parse_qs(query, strict_parsing=True, keep_blank_values=True).items()}
    assert told.pop("iss") == ORIGIN
    return told


def assert_refused(
    response: HttpResponse, error: str, description: str | None = None, state: str | None = "s-1"
) -> None:
    """The exact error at the client's redirect URI, and no cookie with it."""
    told = redirected(response)
    assert told.pop("error") == error
    text = told.pop("error_description")
    assert ERROR_DESCRIPTION.fullmatch(text)
    if description is not None:
        assert text == description
    assert told == ({} if state is None else {"state": state})
    assert not response.cookies


def assert_page(response: HttpResponse, status: int = 400) -> str:
    """A page of ours that goes nowhere by itself."""
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"].startswith("text/html")
    assert "Location" not in response.headers
    assert "Refresh" not in response.headers
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert_private(response)
    assert not response.cookies
    return response.content.decode()


def assert_private(response: HttpResponse) -> None:
    """Neither cached nor framed, told to no third party and read by no script of another origin."""
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert not [name for name in response.headers if name.startswith("Access-Control-")]


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
