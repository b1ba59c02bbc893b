"""GuestRequiredOnWriteMixin on class-based views."""

import pytest
from django.test import Client

from anonusers.models import EndUser, Session
from tests.anonusers.lazy_site import ALL_BEFORE, GPTBOT, GUEST_MIDDLEWARE, OF_BROWSER, seen
from tests.anonusers.test_guests import NEW_GUEST, gained
from tests.conftest import row_counts

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.urls("tests.anonusers.lazy_site")]

VIEWS = ["/mixed/", "/mixed/async/"]


@pytest.fixture(autouse=True)
def _site(settings):
    settings.MIDDLEWARE = [*ALL_BEFORE, GUEST_MIDDLEWARE]
    seen.clear()


@pytest.fixture
def client():
    return Client(**OF_BROWSER)


@pytest.mark.parametrize("view", VIEWS)
def test_the_first_write_makes_one_guest_and_the_second_none(client, application, view):
    before = row_counts()
    first, second, look = client.post(view), client.post(view), client.get(view)
    assert [answer.status_code for answer in (first, second, look)] == [200, 200, 200]
    assert first.cookies.keys() == {"anonusers_session", "same_site_strict"}
    assert second.cookies == look.cookies == {}
    assert gained(before) == NEW_GUEST
    assert seen == [f"guest-{EndUser.objects.get().id.hex}"] * 3


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_looking_makes_nobody_a_guest(client, application, view, method):
    before = row_counts()
    answer = getattr(client, method)(view)
    assert (answer.status_code, answer.cookies) == (200, {})
    assert set(seen) <= {""}
    assert row_counts() == before


def test_a_page_that_never_looks_stays_cacheable(client, application):
    client.post("/mixed/")
    answer = client.get("/mixed/still/")
    assert "Vary" not in answer.headers
    assert answer.cookies == {}


def test_the_application_is_the_one_of_the_class(client, application):
    client.put("/mixed/")
    assert Session.objects.get().application == application


@pytest.mark.parametrize("view", VIEWS)
def test_bots_are_refused_before_the_view(client, application, view):
    before = row_counts()
    answer = client.post(view, headers={"User-Agent": GPTBOT})
    assert (answer.status_code, answer.cookies) == (403, {})
    assert not seen
    assert row_counts() == before
