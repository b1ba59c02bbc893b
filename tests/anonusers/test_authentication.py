"""BearerAuthentication and CookieAuthentication in a view as a host project writes it."""

import base64
import json
from datetime import timedelta

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils import timezone
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import APIView

from anonusers import sessions
from anonusers.authentication import BearerAuthentication, CookieAuthentication
from anonusers.keys import rotate_keys
from anonusers.models import Session
from anonusers.signup import sign_up
from anonusers.tokens import AccessClaims, Issuer
from anonusers.userinfo import is_guest
from tests.conftest import APP_ORIGIN, HOST, ORIGIN, make_application, make_project, row_counts, state_of

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.urls(__name__)]

seen = {}


class WhoView(APIView):
    """What a host's view sees."""

    authentication_classes = [BearerAuthentication, CookieAuthentication]
    permission_classes = [IsAuthenticated]
    renderer_classes = [JSONRenderer]

    def get(self, request):
        seen.update(user=request.user, auth=request.auth)
        return Response({"name": request.user.get_username(), "is_guest": is_guest(request.user)})

    post = delete = get


class CookieOnlyView(WhoView):
    authentication_classes = [CookieAuthentication]


class LazyView(WhoView):
    """Knows the sub from the token and never looks at the user."""

    permission_classes = []

    def get(self, request):
        seen.update(auth=request.auth)
        return Response({"sub": getattr(request.auth, "sub", None)})


urlpatterns = [
    path("who/", WhoView.as_view()),
    path("cookie-only/", CookieOnlyView.as_view()),
    path("lazy/", LazyView.as_view()),
]


@pytest.fixture(autouse=True)
def _nothing_seen():
    seen.clear()


@pytest.fixture
def client():
    return Client(HTTP_HOST=HOST)


def make_guest(application, kind="token"):
    """A guest's session, and an access token or the cookie's value."""
    signed_up = sign_up(project=application.project, application=application, kind=kind)
    session = Session.objects.in_full().get(pk=signed_up.session.pk)
    if kind == "cookie":
        return session, str(signed_up.secret)
    tokens = sessions.mint_tokens(session, issuer=Issuer(ORIGIN, lambda info: {"is_anonymous": info.is_anonymous}))
    return session, tokens.access_token


@pytest.fixture
def session_and_token(application):
    return make_guest(application)


@pytest.fixture
def session(session_and_token):
    return session_and_token[0]


@pytest.fixture
def token(session_and_token):
    return session_and_token[1]


@pytest.fixture
def cookie_session(client, application):
    session, value = make_guest(application, "cookie")
    client.cookies["anonusers_session"] = value
    return session


@pytest.fixture
def opaque(project):
    return make_guest(make_application(project, "opaque", issue_jwt_access_token=False))


@pytest.fixture
def unchecked(settings):
    settings.ANONUSERS_BEARER_CHECKS_SESSION = False


def encoded(header):
    return base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()


def get(client, where="/who/", token=None, **headers):
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    return client.get(where, headers=headers)


# --- bearer ---------------------------------------------------------------------------------------


def test_the_user_is_the_hosts_own_row_and_auth_is_the_session(client, session, token):
    response = get(client, token=token)
    assert response.status_code == 200
    assert response.json() == {"name": f"guest-{session.end_user_id.hex}", "is_guest": True}
    assert seen["user"] == get_user_model().objects.get()
    assert isinstance(seen["user"], get_user_model())
    assert (type(seen["auth"]), seen["auth"]) == (Session, session)
    assert seen["auth"].end_user.user == seen["user"]


def test_a_regular_user_is_not_a_guest(client, session, token):
    session.end_user.anonymous_identity.delete()
    assert get(client, token=token).json()["is_guest"] is False


@pytest.mark.parametrize("kind", ["jwt", "opaque"])
def test_a_bearer_request_costs_one_statement_with_the_user(client, application, opaque, kind):
    token = opaque[1] if kind == "opaque" else make_guest(application)[1]
    get(client, token=token)  # keys are parsed once a process
    with CaptureQueriesContext(connection) as queries:
        assert get(client, token=token).status_code == 200
    assert len(queries) == 1


def test_a_bearer_request_notes_the_use_of_the_session_once_a_minute(client, session, token):
    get(client, token=token)
    with time_machine.travel(timezone.now() + timedelta(seconds=61), tick=False):
        for statements in (2, 1):
            with CaptureQueriesContext(connection) as queries:
                assert get(client, token=token).status_code == 200
            assert len(queries) == statements
        session.refresh_from_db()
        assert session.last_used_at == timezone.now()


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer x", "Bearer a.b.c", "Basic d2ViOng="])
def test_who_presents_nothing_of_worth_is_nobody(client, session, authorization):
    before = row_counts()
    response = client.get("/who/", headers={"Authorization": authorization})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert not seen
    assert row_counts() == before


def test_where_only_a_cookie_counts_the_answer_names_it(client, token):
    response = get(client, "/cookie-only/", token)
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Cookie")
    assert not seen


def test_a_view_that_is_open_to_all_sees_nobody(client, session):
    assert get(client, "/lazy/", "x").json() == {"sub": None}
    assert seen["auth"] is None


def test_a_session_that_has_ended_is_over_at_once(client, session, token):
    assert get(client, token=token).status_code == 200
    sessions.end_session(session)
    assert get(client, token=token).status_code == 401


def test_an_access_token_ends_to_the_second(client, application):
    start = timezone.now().replace(microsecond=0)
    with time_machine.travel(start, tick=False) as clock:
        _session, token = make_guest(application)
        clock.shift(timedelta(seconds=1799))
        assert get(client, token=token).status_code == 200
        clock.shift(timedelta(seconds=1))
        assert get(client, token=token).status_code == 401


def test_a_disabled_user_and_an_inactive_host_user_are_nobody(client, session, token):
    session.end_user.disabled_at = timezone.now()
    session.end_user.save()
    assert get(client, token=token).status_code == 401
    session.end_user.disabled_at = None
    session.end_user.save()
    assert get(client, token=token).status_code == 200
    get_user_model().objects.update(is_active=False)
    assert get(client, token=token).status_code == 401


def test_who_was_removed_is_told_when_they_write_and_reads_as_nobody(client, session, token):
    session.end_user.user.delete()
    header = {"Authorization": f"Bearer {token}"}
    for where in ("/who/", "/lazy/"):
        told = client.post(where, headers=header)
        assert (told.status_code, told.json()["code"], told["WWW-Authenticate"]) == (401, "guest_gone", "Bearer")
    assert get(client, "/lazy/", token).json() == {"sub": None}
    assert get(client, token=token).status_code == 401
    assert client.post("/lazy/", headers={"Authorization": "Bearer a.b.c"}).status_code == 200


@pytest.mark.usefixtures("unchecked")
def test_where_the_session_is_not_asked_the_view_learns_it_when_it_looks_at_the_user(client, session, token):
    session.end_user.disabled_at = timezone.now()
    session.end_user.save()
    assert "code" not in get(client, token=token).json()
    session.end_user.user.delete()
    answer = get(client, token=token)
    assert (answer.status_code, answer.json()["code"]) == (401, "guest_gone")
    assert get(client, "/lazy/", token).json() == {"sub": str(session.end_user_id)}


def test_a_token_is_good_only_at_its_own_host_and_project(session, token):
    make_project("second", "second.localhost")
    assert get(Client(HTTP_HOST="second.localhost:8000"), token=token).status_code == 401
    assert get(Client(HTTP_HOST="127.0.0.1:8000"), token=token).status_code == 401
    assert get(Client(HTTP_HOST="localhost:9000"), token=token).status_code == 401, "another origin issued it"


def test_a_bearer_token_may_come_from_any_page(client, token):
    response = client.post("/who/", headers={"Authorization": f"Bearer {token}", "Origin": "https://evil.example"})
    assert response.status_code == 200


def test_a_secret_of_one_kind_does_not_pose_as_the_other(client, application, cookie_session, token):
    cookie = client.cookies["anonusers_session"].value
    assert get(Client(HTTP_HOST=HOST), token=cookie).status_code == 401
    client.cookies["anonusers_session"] = token
    assert get(client).status_code == 401


# --- cookie ---------------------------------------------------------------------------------------


def test_the_cookie_leads_to_the_hosts_own_row(client, cookie_session):
    response = get(client)
    assert response.json() == {"name": f"guest-{cookie_session.end_user_id.hex}", "is_guest": True}
    assert (seen["user"], seen["auth"]) == (cookie_session.end_user.user, cookie_session)


def test_a_cookie_request_costs_one_statement_with_the_user(client, cookie_session):
    with CaptureQueriesContext(connection) as queries:
        assert get(client).status_code == 200
    assert len(queries) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": ORIGIN},
        {"Origin": APP_ORIGIN, "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ],
)
@pytest.mark.parametrize("method", ["post", "delete"])
def test_our_own_pages_and_those_of_the_project_may_change_things(client, cookie_session, method, headers):
    assert getattr(client, method)("/who/", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": f"{ORIGIN}.evil.example"},
    ],
)
@pytest.mark.parametrize("method", ["post", "delete"])
def test_pages_of_others_may_not(client, cookie_session, method, headers):
    before, row = row_counts(), state_of(cookie_session)
    assert getattr(client, method)("/who/", headers=headers).status_code == 403
    assert not seen
    assert (row_counts(), state_of(cookie_session)) == (before, row)


def test_reading_is_not_a_question_of_the_origin(client, cookie_session):
    assert get(client, **{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}).status_code == 200


@pytest.mark.parametrize("value", ["", "x", "AAAAAAAAAAAAAAAAAAAAAA.0." + "A" * 43])
def test_a_cookie_that_is_not_ours_is_nobodys(client, application, value):
    client.cookies["anonusers_session"] = value
    assert get(client).status_code == 401


def test_over_tls_only_the_pinned_cookie_counts(client, cookie_session):
    assert client.get("/who/", secure=True).status_code == 401
    client.cookies["__Host-anonusers_session"] = client.cookies["anonusers_session"].value
    assert client.get("/who/", secure=True).status_code == 200


# --- ANONUSERS_BEARER_CHECKS_SESSION = False ------------------------------------------------------


def test_unchecked_a_jwt_costs_no_statement_until_the_user_is_looked_at(client, session, token, unchecked):
    get(client, "/lazy/", token)  # keys are parsed once a process
    with CaptureQueriesContext(connection) as queries:
        assert get(client, "/lazy/", token).json() == {"sub": str(session.end_user_id)}
    assert len(queries) == 0
    assert isinstance(seen["auth"], AccessClaims)
    assert (seen["auth"].session_id, seen["auth"].raw["is_anonymous"]) == (session.pk, True)
    with CaptureQueriesContext(connection) as queries:
        assert get(client, token=token).status_code == 200
    # The user, and whether they are a guest, which this view asks for.
    assert 1 <= len(queries) <= 2
    assert seen["user"] == session.end_user.user


def test_unchecked_a_revoked_session_is_believed_until_its_token_expires(client, session, token, unchecked, settings):
    sessions.end_session(session)
    assert get(client, token=token).status_code == 200
    with time_machine.travel(timezone.now() + timedelta(seconds=1801), tick=False):
        assert get(client, token=token).status_code == 401
    settings.ANONUSERS_BEARER_CHECKS_SESSION = True
    assert get(client, token=token).status_code == 401


def test_unchecked_an_opaque_token_is_looked_up_all_the_same(client, opaque, unchecked):
    session, token = opaque
    get(client, token=token)
    with CaptureQueriesContext(connection) as queries:
        assert get(client, token=token).status_code == 200
    assert len(queries) == 1
    assert seen["auth"] == session
    sessions.end_session(session)
    assert get(client, token=token).status_code == 401


@pytest.mark.parametrize("spoil", ["signature", "payload", "none", "kid", "nul"])
def test_unchecked_a_forged_jwt_is_nobodys(client, session, token, unchecked, spoil):
    header, payload, signature = token.split(".")
    forged = {
        "signature": f"{header}.{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}",
        "payload": f"{header}.{payload[:-4]}AAAA.{signature}",
        "none": f"{encoded({'alg': 'none', 'typ': 'at+jwt'})}.{payload}.",
        "nul": f"{encoded({'alg': 'ES256', 'kid': chr(0), 'typ': 'at+jwt'})}.{payload}.{signature}",
        "kid": f"{encoded({'alg': 'ES256', 'kid': 'x', 'typ': 'at+jwt'})}.{payload}.{signature}",
    }[spoil]
    assert get(client, token=forged).status_code == 401
    assert get(client, "/lazy/", forged).json() == {"sub": None}


def test_unchecked_a_token_of_another_origin_is_nobodys(session, token, unchecked):
    make_project("second", "second.localhost")
    for host in ("second.localhost:8000", "localhost:9000"):
        assert get(Client(HTTP_HOST=host), token=token).status_code == 401


def test_unchecked_a_disabled_user_is_nobody_once_they_are_looked_at(client, session, token, unchecked):
    session.end_user.disabled_at = timezone.now()
    session.end_user.save()
    assert get(client, token=token).status_code == 401
    session.end_user.disabled_at = None
    session.end_user.save()
    get_user_model().objects.update(is_active=False)
    assert get(client, token=token).status_code == 401
    get_user_model().objects.all().delete()
    assert get(client, token=token).status_code == 401


def test_unchecked_a_token_signed_with_a_key_that_leaked_is_refused_after_rotation(
    client, project, session, token, unchecked
):
    assert get(client, token=token).status_code == 200
    rotate_keys(project, at_once=True)
    assert get(client, token=token).status_code == 401
