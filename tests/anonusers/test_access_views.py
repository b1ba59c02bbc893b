"""Decorators and mixins: who enters and who does not, sync and async, by cookie, token and Django's own session; and
asking costs nothing beyond `request.user`."""

import django
import pytest

from anonusers.errors import GuestGone
from anonusers.models import EndUser, Session
from tests.anonusers import access_site
from tests.anonusers.access import (
    BACKEND,
    EVERYBODY,
    GUESTS,
    MEMBERS,
    NOBODY,
    OF_BROWSER,
    OF_SCRIPT,
    cost_of,
    somebody,
)
from tests.anonusers.access_site import seen
from tests.anonusers.lazy_site import ALL_BEFORE, GUEST_MIDDLEWARE
from tests.anonusers.test_guests import NEW_GUEST, gained
from tests.conftest import ORIGIN, row_counts

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.urls("tests.anonusers.access_site")]

LOGIN_REQUIRED = "django.contrib.auth.middleware.LoginRequiredMiddleware"
WITH_GUESTS = [*ALL_BEFORE, GUEST_MIDDLEWARE]
UNDER_LOGIN_REQUIRED = [*ALL_BEFORE, LOGIN_REQUIRED]
KINDS = ["", "async/", "class/", "async/class/"]
ENTER = {"allowed": [*GUESTS, *MEMBERS], "required": GUESTS, "member": MEMBERS}
CODES = {"required": "guests_only", "member": "members_only"}
WAYS = [
    *((WITH_GUESTS, kind, asgi) for kind in KINDS for asgi in (False, True)),
    *((ALL_BEFORE, kind, True) for kind in ("", "async/")),
    *((UNDER_LOGIN_REQUIRED, kind, False) for kind in ("class/", "async/")),
]


def named(way):
    middleware, kind, asgi = way
    return f"{middleware[-1].rpartition('.')[2]} {kind or 'sync/'} {'ASGI' if asgi else 'WSGI'}"


@pytest.fixture(autouse=True)
def _site(settings):
    settings.MIDDLEWARE = WITH_GUESTS
    settings.AUTHENTICATION_BACKENDS = [BACKEND]
    settings.LOGIN_URL, settings.LOGIN_REDIRECT_URL = "/login", "/home/"
    seen.clear()


@pytest.mark.parametrize("who", EVERYBODY)
def test_what_looking_at_the_user_costs(application, who):
    person = somebody(who, application)
    assert [person.browse(path).statements for path in ("/plain/", "/plain/async/")] == [cost_of(who)] * 2


@pytest.mark.parametrize("way", WAYS, ids=named)
@pytest.mark.parametrize("who", EVERYBODY)
def test_who_enters_and_who_does_not_for_no_more_than_the_user(application, settings, who, way):
    settings.MIDDLEWARE, kind, asgi = way
    person = somebody(who, application, asgi=asgi)
    cost = cost_of(who)
    if LOGIN_REQUIRED in settings.MIDDLEWARE and kind.startswith("async") and cost == 2 and django.VERSION < (6,):
        cost = 3  # it looks at the user of every request, and `auser()` looks once more
    before = row_counts()
    for gate, entering in ENTER.items():
        seen.clear()
        path = f"/{gate}/{kind}"
        browsing, calling = person.browse(path), person.call(path)
        assert (browsing.statements, calling.statements) == (cost, cost)
        if who in entering:
            assert (browsing.status_code, calling.status_code) == (200, 200)
            assert seen == [person.user.get_username()] * 2
            continue
        assert seen == []
        assert (calling["Cache-Control"], browsing.cookies, calling.cookies) == ("no-store", {}, {})
        if who in NOBODY:
            assert (browsing.status_code, browsing["Location"]) == (302, f"/login?next={path}")
            code = "invalid_token" if who == "disabled by bearer" else "not_signed_in"
            assert (calling.status_code, calling.json()["code"]) == (401, code)
            assert calling["WWW-Authenticate"] == "Bearer"
        else:
            onward = "/members/" if gate == "required" else f"/keep/?next={path}"
            assert (browsing.status_code, browsing["Location"]) == (302, onward)
            assert (calling.status_code, calling.json()["code"]) == (403, CODES[gate])
    assert row_counts() == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("gate", "who"), [("allowed", "visitor"), ("required", "member by cookie"), ("member", "guest by cookie")]
)
def test_every_method_is_asked_and_the_answer_comes_in_words_too(application, gate, kind, who):
    person = somebody(who, application)
    seen.clear()
    before = row_counts()
    for method in ("post", "put", "delete", "options", "patch"):
        answer = person.ask(f"/{gate}/{kind}", method, Origin=ORIGIN)
        assert answer.status_code == (401 if who == "visitor" else 403)
        assert answer["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.content
    assert person.ask(f"/{gate}/{kind}", "head", **OF_BROWSER).status_code == 302
    assert seen == []
    assert row_counts() == before


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 302),
        ({"Accept": "*/*"}, 302),
        ({"Accept": "*/*", "Sec-Fetch-Mode": "cors"}, 401),
        ({"Accept": "text/html", "Sec-Fetch-Mode": "same-origin"}, 401),
        ({"Accept": "application/json, text/plain, */*"}, 401),
        ({"Accept": "application/json"}, 401),
        ({"Accept": "text/plain"}, 401),
        ({"Accept": "image/png"}, 401),
    ],
)
def test_only_who_browses_is_redirected(application, headers, status):
    assert somebody("visitor", application).ask("/allowed/", **headers).status_code == status


# --- where they are sent --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "path", "expected"),
    [
        ("visitor", "/allowed/?page=2&q=a%20b", "/login?next=/allowed/%3Fpage%3D2%26q%3Da%2520b"),
        ("visitor", "/allowed/7/", "/login?next=/allowed/7/"),
        ("visitor", "/allowed/keywords/", "/enter/?back=/allowed/keywords/"),
        (
            "visitor",
            "/allowed/elsewhere/",
            "https://sso.example/enter?a=b&next=http%3A//localhost%3A8000/allowed/elsewhere/",
        ),
        ("visitor", "/member/keywords/", "/login?back=/member/keywords/"),
        ("guest by cookie", "/member/bare/", "/promote?next=/member/bare/"),
        ("guest by cookie", "/member/keywords/", "/keep/this/?back=/member/keywords/"),
        ("member by cookie", "/required/bare/", "/home/"),
        ("guest by cookie", "/member/decorated/class/", "/keep/?next=/member/decorated/class/"),
        ("guest by cookie", "/member/overridden/class/", "/keep/?next=/member/overridden/class/"),
        ("guest by cookie", "/member/both/class/", "/keep/?next=/member/both/class/"),
        ("guest by cookie", "/member/both/async/class/", "/keep/?next=/member/both/async/class/"),
        ("guest by cookie", "/api/mixed/", "/keep/?next=/api/mixed/"),
    ],
)
def test_where_people_are_sent(application, settings, monkeypatch, who, path, expected):
    monkeypatch.setattr(access_site.MemberPage, "promotion_url", "/keep/")
    person = somebody(who, application)
    seen.clear()
    answer = person.browse(path)
    assert (answer.status_code, answer["Location"]) == (302, expected)
    assert seen == []


@pytest.mark.parametrize("setting", ["numbered-keep", "/keep/this/", "https://id.example/keep"])
def test_the_setting_says_where_guests_keep_their_account(application, settings, setting):
    settings.ANONUSERS_PROMOTION_URL = setting
    sent = somebody("guest by cookie", application).browse("/member/bare/")["Location"]
    absolute = "http%3A//localhost%3A8000" if "://" in setting else ""
    where = setting if "/" in setting else "/keep/this/"
    assert sent == f"{where}?next={absolute}/member/bare/"


def test_a_members_page_that_is_for_guests_sends_nobody_in_circles(application, settings):
    settings.LOGIN_REDIRECT_URL = "/required/bare/?welcome"
    person = somebody("member by cookie", application)
    seen.clear()
    assert person.browse("/required/bare/").status_code == 403
    assert seen == []


# --- what was shown and not taken -----------------------------------------------------------------


@pytest.mark.parametrize("path", ["/allowed/", "/allowed/async/"])
def test_who_was_removed_is_told(application, path):
    person = somebody("guest by bearer", application)
    person.user.delete()
    seen.clear()
    before = row_counts()
    for answer in (person.call(path), person.call(path, "get")):
        assert (answer.status_code, answer.json()["code"]) == (401, GuestGone.code)
    assert seen == []
    assert row_counts() == before


@pytest.mark.parametrize("path", ["/allowed/", "/allowed/async/"])
def test_another_site_does_not_ride_on_a_guests_cookie(application, path):
    person = somebody("guest by cookie", application)
    seen.clear()
    before = row_counts()
    answer = person.ask(path, "post", **OF_SCRIPT | {"Origin": "https://evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "not_signed_in")
    assert seen == []
    assert row_counts() == before


def test_who_logs_in_with_django_goes_first(application):
    person = somebody("member by Django", application)
    other = somebody("guest by cookie", application)
    person.client.cookies["anonusers_session"] = other.client.cookies["anonusers_session"].value
    seen.clear()
    assert person.call("/member/").status_code == 200
    assert person.call("/required/").json()["code"] == "guests_only"
    assert seen == [person.user.get_username()]


def test_where_the_backend_is_djangos_own_being_a_guest_is_asked_for_once(application, settings):
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
    person = somebody("guest by cookie", application)
    person.client.force_login(person.user)
    for path, statements in (("/allowed/", 2 + 2), ("/allowed/async/", 2), ("/required/", 4), ("/required/async/", 4)):
        # The view of /allowed/ itself asks whether they are a guest.
        assert (person.call(path).status_code, person.call(path).statements) == (200, statements)


def test_without_the_authentication_middleware_everybody_is_a_visitor(application, settings):
    guest = somebody("guest by cookie", application)
    settings.MIDDLEWARE = ALL_BEFORE[:3]
    person = somebody("visitor", application)
    person.client.cookies = guest.client.cookies
    for path in ("/allowed/", "/allowed/async/"):
        assert person.call(path).json()["code"] == "not_signed_in"


# --- guest_required_on_write beside them ----------------------------------------------------------


def test_who_writes_becomes_a_guest_and_is_asked_the_next_question(application):
    person = somebody("visitor", application)
    before = row_counts()
    answer = person.call("/write/member/")
    assert (answer.status_code, answer.json()["code"]) == (403, "members_only")
    assert gained(before) == NEW_GUEST
    assert seen == []


@pytest.mark.parametrize("path", ["/write/class/", "/write/"])
def test_reading_is_open_and_writing_makes_a_guest_also_under_login_required_middleware(application, settings, path):
    settings.MIDDLEWARE = [*ALL_BEFORE, LOGIN_REQUIRED, GUEST_MIDDLEWARE]
    person = somebody("visitor", application)
    assert person.browse("/still/").status_code == 302  # all other views are private
    before = row_counts()
    if path == "/write/class/":
        assert person.browse(path).status_code == 200
    assert row_counts() == before
    assert person.call(path).status_code == 200
    assert gained(before) == NEW_GUEST
    assert seen == [f"guest-{EndUser.objects.get().pk.hex}"]


def test_paths_where_whoever_writes_is_a_guest_come_before_login_required_middleware(application, settings):
    settings.ANONUSERS_GUEST_ON_WRITE_PATHS = ["^/still/"]
    before = row_counts()
    settings.MIDDLEWARE = [*ALL_BEFORE, LOGIN_REQUIRED, GUEST_MIDDLEWARE]
    assert somebody("visitor", application).call("/still/")["Location"] == "/login?next=/still/"
    assert row_counts() == before
    settings.MIDDLEWARE = [*ALL_BEFORE, GUEST_MIDDLEWARE, LOGIN_REQUIRED]
    assert somebody("visitor", application).call("/still/").status_code == 200
    assert gained(before) == NEW_GUEST


def test_login_required_middleware_lets_guests_in_where_guest_middleware_is(application, settings):
    settings.MIDDLEWARE = [*ALL_BEFORE, LOGIN_REQUIRED, GUEST_MIDDLEWARE]
    for who in ("guest by cookie", "guest by bearer"):
        answer = somebody(who, application).browse("/still/")
        assert (answer.status_code, answer.statements) == (200, 1)


@pytest.mark.parametrize("page", ["/login", "/promote", "/forgot", "/logout", "/logged-out", "/settings", "/api/v1/"])
def test_our_own_pages_open_under_login_required_middleware(application, settings, page):
    settings.MIDDLEWARE = UNDER_LOGIN_REQUIRED
    settings.LOGIN_URL = "/private/"
    answer = somebody("visitor", application).browse(page)
    assert not answer.get("Location", "").startswith("/private/")
    assert Session.objects.count() == 0
