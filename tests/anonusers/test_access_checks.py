"""anonusers.W003: every view where guests pass for full users is named, and none that says whom it means.
anonusers.E012: guests who are sent to promotion arrive."""

import sys
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock

import pytest
from django.core.checks import run_checks
from django.urls import clear_url_caches, include, path

from anonusers.access_checks import check_bare_logins, check_promotion_url
from anonusers.access_guards import dotted_path, guards_of
from anonusers.checks import check_settings
from anonusers.decorators import member_required
from tests.anonusers import bare_site as site
from tests.anonusers.lazy_site import ALL_BEFORE, GUEST_MIDDLEWARE

LOGIN_REQUIRED = "django.contrib.auth.middleware.LoginRequiredMiddleware"
HERE = "tests.anonusers.bare_site"


class OwnMiddleware:
    def __init__(self, get_response):
        pass


def use(settings, urlpatterns, guests=True, login_required=False):
    """Serve these URLs, and let GuestMiddleware make users of guests."""
    module = ModuleType("urls_of_this_test")
    module.urlpatterns = urlpatterns
    sys.modules[module.__name__] = module
    settings.ROOT_URLCONF = module.__name__
    settings.MIDDLEWARE = [
        *ALL_BEFORE,
        *([GUEST_MIDDLEWARE] if guests else []),
        *([LOGIN_REQUIRED] if login_required else []),
    ]
    clear_url_caches()


@pytest.fixture(autouse=True)
def _forget_urls():
    yield
    sys.modules.pop("urls_of_this_test", None)
    clear_url_caches()


def told():
    found = check_bare_logins(None)
    assert {message.id for message in found} <= {"anonusers.W003"}
    return {message.msg.split()[0].removeprefix(f"{HERE}."): message for message in found}


# --- DRF ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guests", [True, False], ids=["with GuestMiddleware", "without"])
@pytest.mark.parametrize("name", site.BARE)
def test_a_bare_permission_is_told_of(settings, name, guests):
    use(settings, site.routes(site.api({name: site.BARE[name]})), guests)
    [(path, message)] = told().items()
    assert path == f"Api_{name.replace('-', '_')}"
    assert f'(at "{name}/")' in message.msg
    assert "asks only whether somebody is logged in" in message.msg
    for words in ("IsMember", "IsGuestOrMember", "ANONUSERS_GUESTS_EXPECTED", f'"{HERE}.{path}"'):
        assert words in message.hint


@pytest.mark.parametrize("name", site.CLEAN)
def test_a_permission_that_says_whom_it_means_is_not(settings, name):
    use(settings, site.routes(site.api({name: site.CLEAN[name]})))
    assert told() == {}


@pytest.mark.parametrize(
    ("view", "with_guests", "without"),
    [(site.BareCookie, True, True), (site.OfSession, True, False), (site.OfToken, False, False)],
)
def test_only_where_a_guest_can_be_the_user(settings, view, with_guests, without):
    for guests, expected in ((True, with_guests), (False, without)):
        use(settings, [path("x/", view.as_view())], guests)
        assert bool(told()) is expected


def test_the_classes_of_one_route_count(settings):
    from rest_framework import permissions as drf

    from anonusers.authentication import BearerAuthentication
    from anonusers.permissions import IsMember

    use(settings, [path("x/", site.Bare.as_view(permission_classes=[IsMember]))])
    assert told() == {}
    use(settings, [path("x/", site.Api.as_view(permission_classes=[drf.IsAuthenticated]))])
    assert told().keys() == {"Api"}
    use(settings, [path("x/", site.OfToken.as_view(authentication_classes=[BearerAuthentication]))])
    assert told().keys() == {"OfToken"}


def test_the_default_permissions_of_the_project_count(settings, monkeypatch):
    from rest_framework import permissions as drf
    from rest_framework.views import APIView

    # What DRF's settings make of DEFAULT_PERMISSION_CLASSES when it is loaded.
    monkeypatch.setattr(APIView, "permission_classes", [drf.IsAuthenticated])
    use(settings, [path("x/", site.Api.as_view())])
    assert told().keys() == {"Api"}


def test_a_function_is_told_of_by_its_name(settings):
    use(settings, [path("x/", site.bare_function)], guests=False)
    assert told().keys() == {"bare_function"}


def test_only_the_action_of_a_viewset_that_is_bare(settings):
    use(settings, site.router.urls)
    [(name, message)] = told().items()
    assert name == "Notes"
    assert ", export)" in message.msg
    assert "share" not in message.msg
    assert "list" not in message.msg
    settings.ANONUSERS_GUESTS_EXPECTED = [rf"{HERE}\.Notes\.export"]
    assert told() == {}


def test_a_view_that_says_its_permissions_itself_is_asked_for_each_action(settings):
    use(settings, site.asked_router.urls)
    [(name, message)] = told().items()
    assert name == "Asked"
    assert ", share)" in message.msg
    use(settings, [path("x/", site.AskedForMore.as_view())])
    assert told() == {}


def test_a_view_that_cannot_be_asked_is_judged_by_its_classes(settings):
    use(settings, [path("x/", site.Unaskable.as_view({"get": "list"}))])
    assert told() == {}
    bare = site.Unaskable.as_view({"get": "list"}, permission_classes=site.BARE["authenticated"])
    use(settings, [path("x/", bare)])
    assert told().keys() == {"Unaskable"}


def test_our_gates_before_a_drf_view_count_and_its_own_login_required_does_not(settings):
    gated = member_required(promotion_url="/keep/")(site.Bare.as_view())
    for guests in (True, False):
        use(settings, [path("x/", gated)], guests)
        assert told() == {}
    # Without GuestMiddleware a guest is a visitor to Django, and is sent to log in before DRF looks at any token.
    use(settings, [path("x/", site.login_required(site.Api.as_view()))], guests=False)
    assert told() == {}


# --- Django ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", site.DJANGO_BARE)
def test_a_bare_login_check_is_told_of_where_guest_middleware_is(settings, name):
    use(settings, site.routes({name: site.DJANGO_BARE[name]}))
    [message] = told().values()
    assert f'(at "{name}/")' in message.msg
    assert "asks only whether somebody is logged in" in message.msg
    use(settings, site.routes({name: site.DJANGO_BARE[name]}), guests=False)
    assert told() == {}


@pytest.mark.parametrize("login_required", [False, True])
@pytest.mark.parametrize("name", [name for name in site.DJANGO_CLEAN if name not in ("tested", "hostile", "circular")])
def test_a_view_that_says_whom_it_means_is_not(settings, name, login_required):
    use(settings, site.routes({name: site.DJANGO_CLEAN[name]}), login_required=login_required)
    assert told() == {}


def test_under_login_required_middleware_every_view_is_bare_that_does_not_say_otherwise(settings):
    views = [path("x/", site.fresh()), path("c/", site.Page.as_view()), path("o/", site.loginless)]
    use(settings, [*views, *site.routes(site.api({"any": []}))], login_required=True)
    assert told().keys() == {"fresh.<locals>.inner", "Page"}
    assert "LoginRequiredMiddleware" in told()["Page"].msg
    use(settings, views, guests=False, login_required=True)
    assert told() == {}


def test_a_subclass_of_guest_middleware_counts(settings, monkeypatch):
    from anonusers.middleware import GuestMiddleware

    monkeypatch.setattr(f"{__name__}.OwnMiddleware", type("OwnMiddleware", (GuestMiddleware,), {}))
    use(settings, site.routes({"mixin": site.Login.as_view()}), guests=False)
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "nowhere.Middleware", f"{__name__}.OwnMiddleware"]
    assert told().keys() == {"Login"}


def test_a_view_is_told_of_once_with_its_routes(settings):
    use(settings, [path("one/", site.Login.as_view()), *(path(f"{n}/", site.Login.as_view()) for n in range(3))])
    [message] = check_bare_logins(None)
    assert 'Login (at "one/" and 3 more)' in message.msg


def test_a_route_is_told_in_full(settings):
    use(settings, [path("shops/", include(site.nested))])
    [message] = check_bare_logins(None)
    assert r'(at "shops/^(?P<shop>\w+)/deep/")' in message.msg


@pytest.mark.parametrize(
    ("expected", "silent"),
    [
        ([f"{HERE}.Login"], True),
        ([r"nothing", rf"{HERE}\..*"], True),
        ([f"{HERE}.Log"], False),
        (["Login"], False),
        (["("], False),
        (None, False),
        ([7], False),
    ],
)
def test_what_is_expected_is_not_told_of(settings, expected, silent):
    use(settings, site.routes({"mixin": site.Login.as_view()}))
    settings.ANONUSERS_GUESTS_EXPECTED = expected
    assert (told() == {}) is silent


@pytest.mark.parametrize("value", [f"{HERE}.Login", None, [1], ["("]])
def test_an_expectation_that_cannot_be_matched_is_named(settings, value):
    settings.ANONUSERS_GUESTS_EXPECTED = value
    [found] = check_settings(None)
    assert (found.id, bool(found.hint)) == ("anonusers.E013", True)


# --- what must not break it -----------------------------------------------------------------------


@pytest.mark.parametrize("login_required", [False, True])
@pytest.mark.parametrize(
    "callback",
    [
        site.Hostile(),
        site.circular,
        MagicMock(),
        site.Odd(),
        print,
        len,
        SimpleNamespace,
        site.functools.partial(site.functools.partial(site.view)),
        site.Page().get,
        lambda request: None,
    ],
    ids=lambda found: type(found).__name__,
)
def test_odd_callables_do_not_break_it(settings, callback, login_required):
    use(settings, [path("x/", callback)], login_required=login_required)
    check_bare_logins(None)
    check_promotion_url(None)


@pytest.mark.parametrize("name", ["nowhere_at_all", "broken_urls", "urls_without_patterns", ""])
def test_a_broken_urlconf_is_djangos_to_tell(settings, name, monkeypatch, tmp_path):
    (tmp_path / "broken_urls.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "urls_without_patterns.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    settings.ROOT_URLCONF = name
    settings.MIDDLEWARE = [*ALL_BEFORE, GUEST_MIDDLEWARE]
    clear_url_caches()
    assert check_bare_logins(None) == check_promotion_url(None) == []
    settings.ANONUSERS_PROMOTION_URL = "keep"
    assert [message.id for message in check_promotion_url(None)] in ([], ["anonusers.E012"])


def test_an_include_that_is_broken_does_not_hide_the_others(settings):
    use(settings, [path("a/", include(ModuleType("empty"))), path("b/", site.Login.as_view())])
    assert told().keys() == {"Login"}


def test_guards_are_read_without_a_fault(settings):
    """The check is silent about what it cannot read: of all these it can read each."""
    views = site.DJANGO_BARE | site.DJANGO_CLEAN | site.api(site.BARE | site.CLEAN)
    for name, callback in views.items():
        if name != "hostile":
            assert list(guards_of(callback, guests_everywhere=True, by_middleware=True)), name
            assert dotted_path(callback)


def test_our_own_urls_are_clean(settings):
    for guests in (False, True):
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, *([GUEST_MIDDLEWARE] if guests else [])]
        assert check_bare_logins(None) == []
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, LOGIN_REQUIRED]
    assert told().keys() == {"example.views.guestbook", "config.metrics.metrics"}


def test_manage_py_check_runs_both(settings):
    use(settings, site.routes({"mixin": site.Login.as_view()}))
    settings.ANONUSERS_PROMOTION_URL = "nowhere"
    found = {message.id for message in run_checks(tags=["urls"]) if message.id.startswith("anonusers.")}
    assert found == {"anonusers.W003", "anonusers.E012"}


# --- ANONUSERS_PROMOTION_URL ----------------------------------------------------------------------

OURS = path("", include("anonusers.urls"))
PAGE = path("keep/<int:number>/", site.view, name="numbered")


@pytest.mark.parametrize(
    ("setting", "urls", "ids"),
    [
        (None, [OURS, path("m/", member_required(site.view))], []),
        (None, [path("m/", member_required(site.view))], ["anonusers.E012"]),
        (None, [path("m/", type("M", (site.Members,), {"promotion_url": None}).as_view())], ["anonusers.E012"]),
        (None, [path("m/", member_required(promotion_url="/keep/")(site.view))], []),
        (None, [path("m/", site.Members.as_view())], []),
        (None, [path("m/", site.view)], []),
        ("/keep/", [], []),
        ("https://id.example/keep", [], []),
        ("nowhere", [], ["anonusers.E012"]),
        ("numbered", [PAGE], ["anonusers.E012"]),
        ("shop:keep", [PAGE], ["anonusers.E012"]),
        ("plain", [path("keep/", site.view, name="plain")], []),
    ],
)
def test_guests_who_are_sent_to_promotion_arrive(settings, setting, urls, ids):
    use(settings, urls)
    if setting is not None:
        settings.ANONUSERS_PROMOTION_URL = setting
    found = check_promotion_url(None)
    assert [message.id for message in found] == ids
    assert all("ANONUSERS_PROMOTION_URL" in message.msg and message.hint for message in found)
