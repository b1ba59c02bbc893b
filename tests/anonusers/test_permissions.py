"""GuestOnWrite in DRF views: who writes is a user in that very request."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from anonusers.errors import BotCheckRequired, Busy
from anonusers.models import EndUser, Session
from tests.anonusers.lazy_site import ALL_BEFORE, GPTBOT, GUEST_MIDDLEWARE, OF_BROWSER, seen
from tests.anonusers.test_authentication import make_guest
from tests.anonusers.test_guests import NEW_GUEST, gained
from tests.conftest import ORIGIN, row_counts, state_of

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.urls("tests.anonusers.lazy_site")]

COOKIES = {"anonusers_session", "same_site_strict"}


@pytest.fixture(autouse=True)
def _site(settings):
    settings.MIDDLEWARE = [*ALL_BEFORE, GUEST_MIDDLEWARE]
    seen.clear()


@pytest.fixture
def client():
    return Client(**OF_BROWSER)


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_the_first_write_makes_one_guest_and_the_second_none(client, application, method):
    before = row_counts()

    first, second = getattr(client, method)("/api/"), getattr(client, method)("/api/")

    assert [(answer.status_code, answer.json()) for answer in (first, second)] == [(200, {"kind": "cookie"})] * 2
    assert (first.cookies.keys(), second.cookies) == (COOKIES, {})
    assert gained(before) == NEW_GUEST
    assert seen == [f"guest-{EndUser.objects.get().id.hex}"] * 2


@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_looking_makes_nobody_a_guest(client, application, method):
    before = row_counts()
    answer = getattr(client, method)("/api/open/")
    assert (answer.status_code, answer.cookies) == (200, {})
    assert set(seen) <= {""}
    assert row_counts() == before


def test_the_application_is_the_one_of_the_view(client, application):
    client.post("/api/open/")
    assert Session.objects.get().application == application


@pytest.mark.parametrize("kind", ["cookie", "token"])
def test_who_is_signed_in_costs_no_more_than_the_authentication(client, application, kind):
    _session, secret = make_guest(application, kind)
    if kind == "cookie":
        client.cookies["anonusers_session"] = secret
    headers = {"Origin": ORIGIN} | ({"Authorization": f"Bearer {secret}"} if kind == "token" else {})
    client.post("/api/", headers=headers)  # keys are parsed once a process
    before = row_counts()
    with CaptureQueriesContext(connection) as queries:
        answer = client.post("/api/", headers=headers)
    assert (answer.status_code, answer.json(), answer.cookies) == (200, {"kind": kind}, {})
    assert len(queries) == 1
    assert row_counts() == before


# --- who stays outside ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"User-Agent": GPTBOT},
        {"Sec-Purpose": "prefetch"},
        {"Origin": "https://evil.example"},
        {"Authorization": "Bearer worthless"},
    ],
    ids=["bot", "prefetch", "other site", "dead token"],
)
def test_bots_prefetches_other_sites_and_dead_tokens_are_nobody(client, application, headers):
    before = row_counts()
    answer = client.post("/api/", headers=headers)
    assert (answer.status_code, answer["WWW-Authenticate"], answer.cookies) == (401, "Bearer", {})
    assert not seen
    assert row_counts() == before


def test_who_was_removed_is_told_and_no_second_identity_is_made_behind_their_back(client, application):
    session, token = make_guest(application)
    session.end_user.user.delete()
    before = row_counts()
    answer = client.post("/api/", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer["WWW-Authenticate"], answer.cookies) == (401, "Bearer", {})
    assert answer.json()["code"] == "guest_gone"
    assert not seen
    assert row_counts() == before


def test_another_site_cannot_write_with_a_guests_cookie(client, application):
    session, client.cookies["anonusers_session"] = make_guest(application, "cookie")
    before, row = row_counts(), state_of(session)
    assert client.post("/api/", headers={"Origin": "https://evil.example"}).status_code == 403
    assert not seen
    assert (row_counts(), state_of(session)) == (before, row)


def test_the_switch(client, application):
    application.project.anonymous_users_enabled = False
    application.project.save()
    before = row_counts()
    answer = client.post("/api/")
    assert (answer.status_code, answer.json()) == (403, {"detail": "Anonymous users are disabled in this project."})
    assert answer.cookies == {}
    assert row_counts() == before


def test_the_limit(client, application, settings):
    settings.ANONUSERS_SIGNUP_PER_IP = "1/h"
    assert Client(**OF_BROWSER).post("/api/").status_code == 200
    before = row_counts()
    answer = client.post("/api/")
    assert answer.status_code == 429
    assert 3590 <= int(answer["Retry-After"]) <= 3600
    assert answer.cookies == {}
    assert row_counts() == before


def test_a_limit_that_cannot_be_counted(client, application, monkeypatch):
    def busy(**kwargs):
        raise Busy

    monkeypatch.setattr("anonusers.guests.sign_up", busy)
    before = row_counts()
    answer = client.post("/api/")
    assert (answer.status_code, answer["Retry-After"]) == (503, str(Busy.retry_after))
    assert row_counts() == before


def test_a_bot_check_brings_its_challenge(client, application, monkeypatch):
    error = BotCheckRequired({"salt": "x"}, 90)

    def refuse(**kwargs):
        raise error

    monkeypatch.setattr("anonusers.guests.sign_up", refuse)
    before = row_counts()
    answer = client.post("/api/")
    assert answer.status_code == 403
    assert answer.json() == {"code": "bot_check_required", "detail": error.message, "challenge": {"salt": "x"}}
    assert row_counts() == before
