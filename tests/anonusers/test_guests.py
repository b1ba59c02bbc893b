"""ensure_guest: the guest who is here, else a new one, and nobody who only looks, is a bot or comes from afar."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from anonusers import guests
from anonusers.errors import (
    AnonymousUsersDisabled,
    ApplicationTypeNotAllowed,
    InvalidToken,
    NotSignedIn,
    UnknownApplication,
    UnknownProject,
    UserIsRegular,
)
from anonusers.guests import attach_guest, ensure_guest, is_bot, is_prefetch
from anonusers.models import EndUser, Session
from tests.anonusers.lazy_site import ALL_BEFORE, CHROME, GPTBOT, OF_BROWSER, seen
from tests.anonusers.test_authentication import make_guest
from tests.conftest import APP_ORIGIN, ORIGIN, make_application, make_project, row_counts, state_of
from tests.test_crawl import BOTS as CRAWLERS

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.urls("tests.anonusers.lazy_site")]

NEW_GUEST = dict.fromkeys(("anonusers.EndUser", "anonusers.AnonymousIdentity", "anonusers.Session", "auth.User"), 1)
CUBOT = (
    "Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120 Mobile Safari/537.36"
)
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 Version/17.4 Mobile Safari/604.1"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"


@pytest.fixture(autouse=True)
def _nothing_seen():
    seen.clear()


def post_request(method="POST", cookie=None, **headers):
    request = RequestFactory(**OF_BROWSER).generic(method, "/basket/", headers=headers)
    request.user = AnonymousUser()
    if cookie:
        request.COOKIES["anonusers_session"] = cookie
    return request


def gained(before):
    return {label: count - before[label] for label, count in row_counts().items() if count != before[label]}


# --- who becomes a guest --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_who_writes_is_a_new_guest_at_once(application, method):
    before = row_counts()
    request = post_request(method)

    end_user = ensure_guest(request, attached=True)

    assert gained(before) == NEW_GUEST
    assert end_user == EndUser.objects.get()
    assert request.user == request._cached_user == request._acached_user == get_user_model().objects.get()
    session = Session.objects.get()
    assert (session.kind, session.application, session.user_agent) == ("cookie", None, CHROME)


def test_the_answer_carries_the_cookie_once(application):
    request, response = post_request(), HttpResponse()
    ensure_guest(request, attached=True)

    attach_guest(request, response)

    assert set(response.cookies) == {"anonusers_session", "same_site_strict"}
    cookie = response.cookies["anonusers_session"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    assert "Vary" not in response.headers
    assert ensure_guest(post_request("GET", cookie.value)) == EndUser.objects.get()
    second = HttpResponse()
    attach_guest(request, second)
    assert second.cookies == {}


def test_asked_twice_in_one_request_it_is_the_same_guest(application):
    request = post_request()
    first = ensure_guest(request, attached=True)
    with CaptureQueriesContext(connection) as queries:
        assert ensure_guest(request, attached=True) is first
    assert len(queries) == 0


def test_a_view_that_has_set_the_cookie_itself_has_the_last_word(application):
    request, response = post_request(), HttpResponse()
    ensure_guest(request, attached=True)
    response.set_cookie("anonusers_session", "of-a-promotion")

    attach_guest(request, response)

    assert response.cookies["anonusers_session"].value == "of-a-promotion"


def test_by_hand_it_needs_no_middleware(settings, application):
    settings.MIDDLEWARE = ALL_BEFORE
    client = Client(**OF_BROWSER)
    before = row_counts()

    assert client.post("/by-hand/").cookies.keys() == {"anonusers_session", "same_site_strict"}
    assert gained(before) == NEW_GUEST
    assert client.post("/by-hand/").cookies == {}
    assert gained(before) == NEW_GUEST
    assert seen == [f"guest-{EndUser.objects.get().id.hex}"] * 2


def test_a_guest_whose_cookie_nobody_hands_out_is_not_made(settings, application):
    settings.MIDDLEWARE = ALL_BEFORE
    before = row_counts()
    with pytest.raises(ImproperlyConfigured, match=r"anonusers\.middleware\.GuestMiddleware"):
        Client(**OF_BROWSER).post("/lost/")
    assert row_counts() == before


def test_over_tls_the_cookie_is_pinned(application):
    request = post_request()
    request.META["wsgi.url_scheme"] = "https"
    response = HttpResponse()
    ensure_guest(request, attached=True)
    attach_guest(request, response)
    assert set(response.cookies) == {"__Host-anonusers_session", "same_site_strict"}
    assert response.cookies["__Host-anonusers_session"]["secure"] is True


# --- the application ------------------------------------------------------------------------------


@pytest.mark.parametrize("by_id", [True, False], ids=["client ID", "instance"])
def test_the_application_is_noted(application, by_id):
    ensure_guest(post_request(), application.client_id if by_id else application, attached=True)
    assert Session.objects.get().application == application


def test_an_application_must_be_of_this_project_and_may_have_guests(application):
    other = make_application(make_project("other", "other.localhost"), "theirs")
    machine = make_application(application.project, "machine", type="m2m")
    before = row_counts()
    for wrong, error in (
        (other, UnknownApplication),
        ("nowhere", UnknownApplication),
        (machine, ApplicationTypeNotAllowed),
    ):
        with pytest.raises(error):
            ensure_guest(post_request(), wrong, attached=True)
    assert row_counts() == before


# --- who does not ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_nobody_becomes_a_guest_by_looking(application, method):
    before = row_counts()
    request = post_request(method)
    with pytest.raises(NotSignedIn), CaptureQueriesContext(connection) as queries:
        ensure_guest(request, attached=True)
    assert len(queries) == 0
    assert isinstance(request.user, AnonymousUser)
    assert row_counts() == before


@pytest.mark.parametrize(
    "headers",
    [
        {"User-Agent": GPTBOT},
        {"Sec-Purpose": "prefetch"},
        {"Sec-Purpose": "prefetch;prerender"},
        {"Purpose": "prefetch"},
        {"X-Purpose": "preview"},
        {"X-Moz": "prefetch"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=lambda headers: " ".join(f"{name}={value[:24]}" for name, value in headers.items()),
)
def test_bots_prefetches_and_other_sites_stay_visitors(application, headers):
    before = row_counts()
    request, response = post_request(**headers), HttpResponse()
    with pytest.raises(NotSignedIn):
        ensure_guest(request, attached=True)
    attach_guest(request, response)
    assert response.cookies == {}
    assert isinstance(request.user, AnonymousUser)
    assert row_counts() == before


@pytest.mark.parametrize("headers", [{"Origin": ORIGIN}, {"Origin": APP_ORIGIN}, {"Sec-Fetch-Site": "same-origin"}])
def test_our_own_pages_and_those_of_the_project_make_guests(application, headers):
    application.project.refresh_application_origins()
    before = row_counts()
    ensure_guest(post_request(**headers), attached=True)
    assert gained(before) == NEW_GUEST


def test_what_sign_up_refuses_is_refused(project):
    project.anonymous_users_enabled = False
    project.save()
    before = row_counts()
    with pytest.raises(AnonymousUsersDisabled):
        ensure_guest(post_request(), attached=True)
    project.domains.all().delete()
    with pytest.raises(UnknownProject):
        ensure_guest(post_request(), attached=True)
    assert row_counts() | {"anonusers.ProjectDomain": 1} == before


# --- who is here already --------------------------------------------------------------------------


def test_the_guest_of_the_cookie_costs_one_statement_as_CookieAuthentication_does(application):
    session, cookie = make_guest(application, "cookie")
    before = row_counts()
    request = post_request(cookie=cookie, Origin=ORIGIN)
    with CaptureQueriesContext(connection) as queries:
        end_user = ensure_guest(request)
        assert (end_user, request.user) == (session.end_user, session.end_user.user)
        assert end_user.is_guest
    assert len(queries) == 1
    assert row_counts() == before
    assert not hasattr(request, guests.PENDING)


def test_the_guest_of_a_bearer_token_costs_one_statement(application):
    session, token = make_guest(application)
    ensure_guest(post_request(Authorization=f"Bearer {token}"))  # keys are parsed once a process
    before = row_counts()
    with CaptureQueriesContext(connection) as queries:
        assert (
            ensure_guest(post_request(Authorization=f"Bearer {token}", Origin="https://evil.example"))
            == session.end_user
        )
    assert len(queries) == 1
    assert row_counts() == before


def test_a_live_session_counts_on_safe_methods_and_for_bots_too(application):
    session, cookie = make_guest(application, "cookie")
    assert ensure_guest(post_request("GET", cookie)) == session.end_user
    assert ensure_guest(post_request("POST", cookie, **{"User-Agent": GPTBOT})) == session.end_user


def test_a_dead_cookie_makes_a_new_guest(application):
    before = row_counts()
    ensure_guest(post_request(cookie="AAAAAAAAAAAAAAAAAAAAAA.0." + "A" * 43), attached=True)
    assert gained(before) == NEW_GUEST


@pytest.mark.parametrize("scheme", ["Bearer", "DPoP"])
def test_a_dead_token_is_an_error_and_never_a_second_identity(application, scheme):
    before = row_counts()
    with pytest.raises(InvalidToken):
        ensure_guest(post_request(Authorization=f"{scheme} worthless"), attached=True)
    assert row_counts() == before


def test_a_cookie_on_a_request_of_another_site_is_not_looked_up(application):
    session, cookie = make_guest(application, "cookie")
    before, row = row_counts(), state_of(session)
    with pytest.raises(NotSignedIn):
        ensure_guest(post_request(cookie=cookie, Origin="https://evil.example"), attached=True)
    assert (row_counts(), state_of(session)) == (before, row)


def test_who_is_signed_in_with_the_host_stays_who_they_are(application):
    _session, cookie = make_guest(application, "cookie")
    staff = get_user_model().objects.create_user("staff")
    before = row_counts()
    request = post_request(cookie=cookie)
    request.user = staff
    with pytest.raises(UserIsRegular):
        ensure_guest(request, attached=True)
    assert request.user is staff
    request.user = EndUser.objects.get().user
    assert ensure_guest(request) == EndUser.objects.get()
    assert row_counts() == before


# --- bots -----------------------------------------------------------------------------------------


@pytest.fixture(params=[True, False], ids=["library", "own words"])
def bots(request, monkeypatch):
    guests._is_bot.cache_clear()
    if not request.param:
        monkeypatch.setattr(guests, "_library", lambda: lambda user_agent: False)
    yield
    guests._is_bot.cache_clear()


BOTS = CRAWLERS | {
    "Slurp": "Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)",
    "HeadlessChrome": CHROME.replace("Chrome/", "HeadlessChrome/"),
    "curl": "curl/8.5.0",
}


@pytest.mark.parametrize("name", BOTS)
def test_bots_are_known(bots, name):
    assert is_bot(RequestFactory().get("/", headers={"User-Agent": BOTS[name]}))


@pytest.mark.parametrize(
    "user_agent", [CHROME, SAFARI, FIREFOX, CUBOT, ""], ids=["Chrome", "Safari", "Firefox", "CUBOT", "none"]
)
def test_browsers_are_no_bots(bots, user_agent):
    assert not is_bot(RequestFactory().get("/", headers={"User-Agent": user_agent}))


def test_without_the_library_the_own_words_decide(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(guests, "import_module", missing)
    guests._library.cache_clear()
    try:
        assert guests._library()(BOTS["Googlebot"]) is False
    finally:
        guests._library.cache_clear()


def test_a_request_without_words_about_it_is_no_prefetch():
    assert not is_prefetch(RequestFactory().get("/", headers={"Purpose": "fun"}))
