"""GuestMiddleware and async views under ASGI: `aensure_guest`, `auser()`, and nothing for who does not look."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from anonusers.errors import NotSignedIn
from anonusers.models import EndUser
from tests.anonusers.access import BACKEND, EVERYBODY, NOBODY, cost_of, somebody
from tests.anonusers.access_site import seen
from tests.anonusers.lazy_site import ALL_BEFORE, GPTBOT, GUEST_MIDDLEWARE
from tests.anonusers.test_guests import NEW_GUEST, gained
from tests.conftest import row_counts

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.urls("tests.anonusers.access_site")]


@pytest.fixture(autouse=True)
def _site(settings):
    settings.MIDDLEWARE = [*ALL_BEFORE, GUEST_MIDDLEWARE]
    settings.AUTHENTICATION_BACKENDS = [BACKEND]
    seen.clear()


@pytest.mark.parametrize("asgi", [True, False], ids=["ASGI", "WSGI"])
def test_an_async_view_makes_one_guest_whose_cookie_goes_out(application, asgi):
    person = somebody("visitor", application, asgi=asgi)
    before = row_counts()
    first, second = (person.call("/made/async/") for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 200)
    assert (first.cookies.keys(), second.cookies) == ({"anonusers_session", "same_site_strict"}, {})
    assert second.statements == 1
    assert gained(before) == NEW_GUEST
    assert seen == [f"guest-{EndUser.objects.get().pk.hex}"] * 2


@pytest.mark.parametrize("who", [who for who in EVERYBODY if who not in NOBODY and who.endswith(("cookie", "bearer"))])
def test_what_one_way_of_asking_has_found_the_other_one_knows(application, who):
    person = somebody(who, application, asgi=True)
    seen.clear()
    answer = person.browse("/looked/twice/")
    assert (answer.status_code, answer.statements) == (200, 1)
    assert seen == [person.user.get_username()]


@pytest.mark.parametrize("who", EVERYBODY)
def test_looking_and_not_looking_under_asgi(application, who):
    person = somebody(who, application, asgi=True)
    before = row_counts()
    still = person.browse("/still/")
    assert (still.status_code, still.statements, still.cookies) == (200, 0, {})
    assert "Vary" not in still.headers
    seen.clear()
    assert person.browse("/plain/async/").statements == cost_of(who)
    assert seen == ["" if who in NOBODY else person.user.get_username()]
    assert row_counts() == before


def test_bots_and_who_only_looks_become_nobody(application):
    person = somebody("visitor", application, asgi=True)
    before = row_counts()
    for ask in (
        lambda: person.browse("/made/async/"),
        lambda: person.ask("/made/async/", "post", **{"User-Agent": GPTBOT}),
    ):
        with pytest.raises(NotSignedIn):
            ask()
    assert (seen, row_counts()) == ([], before)


def test_without_the_middleware_a_guest_is_not_made_whose_cookie_would_be_lost(application, settings):
    settings.MIDDLEWARE = ALL_BEFORE
    person = somebody("visitor", application, asgi=True)
    before = row_counts()
    with pytest.raises(ImproperlyConfigured):
        person.call("/made/async/")
    assert (seen, row_counts()) == ([], before)
