"""simplejwt fetches our keys over HTTP and knows our users by their access tokens."""

from typing import Any

import jwt
import pytest
from django.conf import settings
from django.test import Client
from jwt import PyJWKClient
from rest_framework_simplejwt.state import token_backend

from anonusers.login_ids import parse_login_id
from anonusers.models import Application, EndUser, Project, Session
from anonusers.promotion import promote
from anonusers.promotion.base import Proof
from anonusers.sessions import mint_id_token
from anonusers.tokens import Issuer
from tests.hosts.jwt_verifier.settings import ORIGIN
from tests.hosts.story import HOST

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def guest(project: Project, live_server: Any) -> dict[str, Any]:
    """The answer to a sign-up. The settings name a fixed port; the test's server has another one."""
    assert settings.SIMPLE_JWT["JWK_URL"] == f"{ORIGIN}/oauth2/jwks"
    token_backend.jwks_client = PyJWKClient(f"{live_server.url}/oauth2/jwks")
    Application.objects.create(project=project, client_id="app", name="App", type="native")
    body = {"client_id": "app"}
    answer = Client(HTTP_HOST=HOST).post("/api/v1/signup/", body, content_type="application/json")
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


def me(token: str) -> Any:
    return Client(HTTP_HOST=HOST).get("/me/", headers={"Authorization": f"Bearer {token}"})


def test_our_access_token_names_the_guest(guest: dict[str, Any]) -> None:
    answer = me(guest["access_token"])
    assert (answer.status_code, answer.json()) == (200, {"sub": guest["sub"], "guest": True})


def test_and_the_regular_user_whom_the_guest_becomes(guest: dict[str, Any]) -> None:
    proof = Proof("password", parse_login_id("email", "anna@example.com"), verified=False, password="!")
    promote(end_user=EndUser.objects.get(), project=Project.objects.get(), proof=proof)
    assert me(guest["access_token"]).json() == {"sub": guest["sub"], "guest": False}


def test_a_token_that_somebody_else_signed_is_refused(guest: dict[str, Any]) -> None:
    head, body, signature = guest["access_token"].split(".")
    assert me(f"{head}.{body}.{signature[::-1]}").status_code == 401
    claims = jwt.decode(guest["access_token"], options={"verify_signature": False})
    kid = jwt.get_unverified_header(guest["access_token"])["kid"]
    assert me(jwt.encode(claims, "k" * 32, "HS256", headers={"kid": kid})).status_code == 401


def test_an_id_token_is_no_access_token(guest: dict[str, Any]) -> None:
    """By the audience: both are signed with the same key."""
    session = Session.objects.in_full().get()
    application = session.application
    assert application is not None
    application.id_token_signed_response_alg = "ES256"
    issuer = Issuer(ORIGIN, user_claims=lambda user: {})
    assert me(mint_id_token(session, application=application, issuer=issuer)).status_code == 401
