"""GuestMiddleware: guests for plain views by ANONUSERS_GUEST_ON_WRITE_PATHS, and checks of that setting."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from anonusers.checks import check_settings
from anonusers.models import EndUser
from tests.anonusers.lazy_site import ALL_BEFORE, GPTBOT, GUEST_MIDDLEWARE, OF_BROWSER, seen
from tests.anonusers.test_guests import NEW_GUEST, gained
from tests.conftest import ORIGIN, row_counts

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.urls("tests.anonusers.lazy_site")]

COOKIES = {"anonusers_session", "same_site_strict"}


@pytest.fixture(autouse=True)
def _site(settings):
    settings.MIDDLEWARE = [*ALL_BEFORE, GUEST_MIDDLEWARE]
    settings.ANONUSERS_GUEST_ON_WRITE_PATHS = [r"^/plain/$", r"^/(api/cookie|still|form)/"]
    seen.clear()


@pytest.fixture
def client():
    return Client(**OF_BROWSER)


@pytest.mark.parametrize("view", ["/plain/", "/api/cookie/"], ids=["plain", "CookieAuthentication"])
def test_a_view_without_any_code_of_ours_gets_one_guest(client, application, view):
    before = row_counts()
    first, second, look = client.post(view), client.post(view), client.get(view)
    assert [answer.status_code for answer in (first, second, look)] == [200, 200, 200]
    assert first.cookies.keys() == COOKIES
    assert second.cookies == look.cookies == {}
    assert gained(before) == NEW_GUEST
    assert seen == [f"guest-{EndUser.objects.get().id.hex}"] * 3


@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_looking_makes_nobody_a_guest_and_stays_cacheable(client, application, method):
    before = row_counts()
    with CaptureQueriesContext(connection) as queries:
        answer = getattr(client, method)("/still/")
    assert len(queries) == 0
    assert answer.cookies == {}
    assert "Vary" not in answer.headers
    assert row_counts() == before


def test_a_page_that_never_looks_is_cacheable_for_a_guest_too(client, application):
    client.post("/plain/")
    with CaptureQueriesContext(connection) as queries:
        answer = client.get("/still/")
    assert len(queries) == 0
    assert "Vary" not in answer.headers


def test_other_paths_and_paths_without_a_view_make_nobody_a_guest(client, application, settings):
    settings.ANONUSERS_GUEST_ON_WRITE_PATHS = [r"^/nowhere/", r"^/plain/more/"]
    before = row_counts()
    assert (client.post("/plain/").status_code, client.post("/still/").cookies) == (200, {})
    client.raise_request_exception = False
    assert client.post("/nowhere/").status_code == 404
    assert seen == [""]
    assert row_counts() == before


def test_without_paths_nothing_happens(client, application, settings):
    settings.ANONUSERS_GUEST_ON_WRITE_PATHS = []
    before = row_counts()
    with CaptureQueriesContext(connection) as queries:
        assert client.post("/plain/").cookies == {}
    assert len(queries) == 0
    assert row_counts() == before


def test_an_existing_guest_writes_for_one_statement(client, application):
    client.post("/plain/")
    with CaptureQueriesContext(connection) as queries:
        assert client.post("/plain/", headers={"Origin": ORIGIN}).status_code == 200
    assert len(queries) == 1


def test_a_form_that_fails_the_csrf_check_makes_nobody_a_guest(application, settings):
    settings.CSRF_FAILURE_VIEW = "django.views.csrf.csrf_failure"
    client = Client(enforce_csrf_checks=True, **OF_BROWSER)
    before = row_counts()
    assert client.post("/form/").status_code == 403
    assert row_counts() == before
    client.get("/form/")
    assert row_counts() == before
    answer = client.post("/form/", {"csrfmiddlewaretoken": client.cookies["csrftoken"].value})
    assert answer.status_code == 200
    assert answer.cookies.keys() >= COOKIES
    assert gained(before) == NEW_GUEST


@pytest.mark.parametrize(
    "headers",
    [{"User-Agent": GPTBOT}, {"X-Moz": "prefetch"}, {"Sec-Fetch-Site": "cross-site"}],
    ids=["bot", "prefetch", "other site"],
)
def test_bots_prefetches_and_other_sites_are_refused_before_the_view(client, application, headers):
    before = row_counts()
    answer = client.post("/plain/", headers=headers)
    assert (answer.status_code, answer.cookies) == (403, {})
    assert not seen
    assert row_counts() == before


def test_the_guest_of_a_view_that_fails_is_not_lost(client, application, settings):
    settings.ANONUSERS_GUEST_ON_WRITE_PATHS = [r"^/broken/"]
    client.raise_request_exception = False
    before = row_counts()
    for view in ("/broken/", "/decorated/broken/"):
        answer = client.post(view)
        assert answer.status_code == 500
    assert client.cookies.keys() == COOKIES
    assert gained(before) == NEW_GUEST


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("view", "guests"), [("/decorated/broken/", {}), ("/broken/", NEW_GUEST)], ids=["view", "path"]
)
def test_with_atomic_requests_a_view_takes_its_own_guest_back(client, application, settings, monkeypatch, view, guests):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    settings.ANONUSERS_GUEST_ON_WRITE_PATHS = [r"^/(broken|plain)/"]
    client.raise_request_exception = False
    before = row_counts()
    assert client.post(view).status_code == 500
    assert gained(before) == guests
    assert client.post("/plain/").status_code == 200  # whatever cookie there is now, it stands in nobody's way
    assert gained(before) == NEW_GUEST


@pytest.mark.parametrize(
    "value", ["^/basket/", None, [1], ["("], [r"^/ok/", "[z-a]"]], ids=["string", "None", "number", "torn", "second"]
)
def test_a_setting_that_cannot_be_matched_is_named(settings, value):
    settings.ANONUSERS_GUEST_ON_WRITE_PATHS = value
    (found,) = check_settings(None)
    assert (found.id, bool(found.hint)) == ("anonusers.E007", True)
    assert "ANONUSERS_GUEST_ON_WRITE_PATHS" in found.msg


def test_a_setting_that_can_be_matched_is_fine(settings):
    for value in ([], (r"^/basket/",), [r"^/basket/", r"/vote$"]):
        settings.ANONUSERS_GUEST_ON_WRITE_PATHS = value
        assert check_settings(None) == []
