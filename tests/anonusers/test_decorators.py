"""guest_required_on_write on views of a host: sync, async and classes."""

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext

from anonusers.adapters import Adapter
from anonusers.errors import BotCheckRequired, Busy, SignupVetoed
from anonusers.models import EndUser, Session
from tests.anonusers.lazy_site import ALL_BEFORE, CHROME, GPTBOT, GUEST_MIDDLEWARE, OF_BROWSER, seen
from tests.anonusers.test_authentication import make_guest
from tests.anonusers.test_guests import NEW_GUEST, gained
from tests.conftest import ORIGIN, row_counts

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.urls("tests.anonusers.lazy_site")]

COOKIES = {"anonusers_session", "same_site_strict"}
VIEWS = ["/decorated/", "/decorated/async/", "/decorated/async/class/", "/decorated/class/", "/decorated/web/"]
JSON_FIRST = {"Accept": "application/json, text/plain;q=0.5"}


class Vetoing(Adapter):
    def pre_create(self, project, application):
        raise SignupVetoed("Closed", "Not today.")


@pytest.fixture(autouse=True)
def _site(settings):
    settings.MIDDLEWARE = [*ALL_BEFORE, GUEST_MIDDLEWARE]
    seen.clear()


@pytest.fixture
def client():
    return Client(**OF_BROWSER)


@pytest.fixture
def guest_client(client, application):
    _session, client.cookies["anonusers_session"] = make_guest(application, "cookie")
    return client


@pytest.mark.parametrize("view", VIEWS)
def test_the_first_write_makes_one_guest_who_is_the_user_at_once(client, application, view):
    before = row_counts()

    answer = client.post(view)

    assert (answer.status_code, answer.content) == (200, b"done")
    assert answer.cookies.keys() == COOKIES
    assert gained(before) == NEW_GUEST
    name = f"guest-{EndUser.objects.get().id.hex}"
    again = client.post(view)
    assert (again.status_code, again.cookies) == (200, {})
    assert client.get(view).cookies == {}
    assert gained(before) == NEW_GUEST
    assert seen == [name] * 3


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_looking_makes_nobody_a_guest(client, application, view, method):
    before = row_counts()
    answer = getattr(client, method)(view)
    assert answer.status_code == 200
    assert answer.cookies == {}
    assert set(seen) <= {""}
    assert row_counts() == before


def test_an_async_view_under_asgi(application):
    application.project.domains.create(domain="testserver")
    before = row_counts()
    client = AsyncClient(headers={"User-Agent": CHROME})
    first = async_to_sync(client.post)("/decorated/async/")
    second = async_to_sync(client.post)("/decorated/async/")
    assert (first.status_code, first.cookies.keys(), second.cookies) == (200, COOKIES, {})
    assert gained(before) == NEW_GUEST
    assert seen == [f"guest-{EndUser.objects.get().id.hex}"] * 2


def test_the_application_is_noted(client, application):
    client.post("/decorated/web/")
    assert Session.objects.get().application == application


def test_a_page_that_never_looks_at_the_user_stays_the_same_for_everybody(guest_client):
    with CaptureQueriesContext(connection) as queries:
        answer = guest_client.get("/decorated/still/")
    assert len(queries) == 0
    assert "Vary" not in answer.headers
    assert answer.cookies == {}


def test_a_page_that_looks_sees_the_guest_for_one_statement(guest_client):
    with CaptureQueriesContext(connection) as queries:
        answer = guest_client.get("/decorated/")
    assert len(queries) == 1
    assert answer.headers["Vary"] == "Cookie"  # by Django's session middleware, as for every page that looks
    assert seen == [f"guest-{EndUser.objects.get().id.hex}"]


def test_an_existing_guest_writes_for_one_statement(guest_client):
    with CaptureQueriesContext(connection) as queries:
        assert guest_client.post("/decorated/", headers={"Origin": ORIGIN}).status_code == 200
    assert len(queries) == 1


def test_who_is_signed_in_with_the_host_is_never_a_guest(guest_client):
    staff = get_user_model().objects.create_user("staff")
    guest_client.force_login(staff)
    before = row_counts()
    assert guest_client.post("/decorated/").status_code == 200
    assert guest_client.get("/decorated/").status_code == 200
    assert seen == ["staff", "staff"]
    assert row_counts() == before


# --- who stays outside ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"User-Agent": GPTBOT},
        {"Sec-Purpose": "prefetch"},
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=["bot", "prefetch", "other origin", "other site"],
)
@pytest.mark.parametrize("view", VIEWS)
def test_bots_prefetches_and_other_sites_are_refused(client, application, view, headers):
    before = row_counts()
    answer = client.post(view, headers=headers)
    assert answer.status_code == 403
    assert (answer["Content-Type"], answer["Cache-Control"]) == ("text/plain; charset=utf-8", "no-store")
    assert answer.cookies == {}
    assert not seen
    assert row_counts() == before


def refusals(client, view="/decorated/"):
    """In words, and as JSON."""
    words, data = client.post(view), client.post(view, headers=JSON_FIRST)
    assert words.status_code == data.status_code
    assert words.content.decode() == data.json()["detail"]
    assert words.cookies == data.cookies == {}
    assert not seen
    return words.status_code, data.json()["code"], words.headers.get("Retry-After")


def test_the_switch(client, application):
    application.project.anonymous_users_enabled = False
    application.project.save()
    before = row_counts()
    assert refusals(client) == (403, "anonymous_users_disabled", None)
    assert row_counts() == before


def test_the_limit(client, application, settings):
    settings.ANONUSERS_SIGNUP_PER_IP = "1/h"
    assert Client(**OF_BROWSER).post("/decorated/").status_code == 200
    seen.clear()
    before = row_counts()
    status, code, retry_after = refusals(client)
    assert (status, code) == (429, "rate_limited")
    assert 3590 <= int(retry_after) <= 3600
    assert row_counts() == before


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (BotCheckRequired({"salt": "x"}, 90), (403, "bot_check_required", "90")),
        (Busy(), (503, "busy", str(Busy.retry_after))),
    ],
    ids=["bot check", "busy"],
)
def test_what_must_be_done_before_and_what_must_be_waited_for(client, application, monkeypatch, error, expected):
    def refuse(**kwargs):
        raise error

    monkeypatch.setattr("anonusers.guests.sign_up", refuse)
    before = row_counts()
    assert refusals(client) == expected
    challenge = client.post("/decorated/", headers=JSON_FIRST).json().get("challenge")
    assert challenge == getattr(error, "challenge", None)
    assert row_counts() == before


def test_the_veto_of_the_host(client, application, settings):
    settings.ANONUSERS_ADAPTER = f"{__name__}.Vetoing"
    before = row_counts()
    assert refusals(client) == (403, "signup_vetoed", None)
    assert client.post("/decorated/").content == b"Not today."
    assert row_counts() == before


def test_a_bearer_token_that_is_worthless(client, application):
    before = row_counts()
    answer = client.post("/decorated/", headers={"Authorization": "Bearer x"} | JSON_FIRST)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")
    assert answer["WWW-Authenticate"] == "Bearer"
    assert row_counts() == before


def test_a_bearer_token_of_somebody_who_was_removed(client, application):
    session, token = make_guest(application)
    session.end_user.user.delete()
    before = row_counts()
    answer = client.post("/decorated/", headers={"Authorization": f"Bearer {token}"} | JSON_FIRST)
    assert (answer.status_code, answer.json()["code"]) == (401, "guest_gone")
    assert answer["WWW-Authenticate"] == "Bearer"
    assert row_counts() == before


def test_an_application_that_is_not_there(client, application):
    before = row_counts()
    assert refusals(client, "/decorated/unknown/") == (403, "unknown_application", None)
    assert row_counts() == before
