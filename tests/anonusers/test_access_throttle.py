"""GuestThrottle: guests by their sub, visitors by their network, members not at all."""

import pytest
import time_machine
from django.utils import timezone
from limits.errors import StorageError

from anonusers import limits
from anonusers.models import RateWindow
from anonusers.throttling import GuestThrottle
from tests.anonusers.access import BACKEND, MEMBERS, somebody
from tests.anonusers.access_site import HourlyApi, SlowApi, ThrottledApi, seen
from tests.anonusers.lazy_site import ALL_BEFORE, GUEST_MIDDLEWARE
from tests.conftest import row_counts

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.urls("tests.anonusers.access_site")]


@pytest.fixture(autouse=True)
def _site(settings):
    settings.MIDDLEWARE = [*ALL_BEFORE, GUEST_MIDDLEWARE]
    settings.AUTHENTICATION_BACKENDS = [BACKEND]
    settings.ANONUSERS_GUEST_REQUESTS = "2/h"
    seen.clear()


def statuses(person, *paths):
    return [person.call(path).status_code for path in paths]


def test_by_default_nobody_is_counted(application, settings):
    del settings.ANONUSERS_GUEST_REQUESTS
    assert statuses(somebody("guest by cookie", application), *["/throttled/"] * 5) == [200] * 5


@pytest.mark.parametrize("who", ["guest by cookie", "guest by bearer", "visitor"])
def test_who_asks_too_often_is_told_when_to_come_back(application, settings, who):
    settings.ANONUSERS_GUEST_REQUESTS = "2/m"
    with time_machine.travel(timezone.now(), tick=False) as clock:
        person = somebody(who, application)
        seen.clear()
        assert statuses(person, "/throttled/", "/throttled/too/") == [200, 200]  # one budget for all views
        before = row_counts()
        answer = person.call("/throttled/")
        assert (answer.status_code, answer["Retry-After"]) == (429, "60")
        assert answer.statements == (0 if who == "visitor" else 1)
        assert len(seen) == 2
        assert row_counts() == before
        clock.shift(59)
        assert statuses(person, "/throttled/") == [429]
        clock.shift(1)
        assert statuses(person, "/throttled/") == [200]


def test_guests_are_counted_one_by_one_and_visitors_by_network(application):
    one, other = (somebody("guest by cookie", application) for _ in range(2))
    assert statuses(one, *["/throttled/"] * 3) == [200, 200, 429]
    assert statuses(other, "/throttled/") == [200]
    visitor = somebody("visitor", application)
    where = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"]
    found = [visitor.client.get("/throttled/", REMOTE_ADDR=address, HTTP_HOST="localhost:8000") for address in where]
    assert [answer.status_code for answer in found] == [200, 200, 429, 200]


@pytest.mark.parametrize("who", [who for who in MEMBERS if who.endswith(("cookie", "bearer"))])
def test_members_are_not_counted(application, who):
    person = somebody(who, application)
    assert statuses(person, *["/throttled/"] * 4, *["/throttled/slow/"] * 3) == [200] * 7


def test_a_view_and_a_subclass_may_have_a_rate_of_their_own(application):
    person = somebody("guest by cookie", application)
    assert statuses(person, *["/throttled/slow/"] * 2, *["/throttled/hourly/"] * 2) == [200, 429, 200, 429]
    assert statuses(person, *["/throttled/"] * 3) == [200, 200, 429]
    assert GuestThrottle().limit_of(ThrottledApi()) == ("2/h", "")
    assert GuestThrottle().limit_of(SlowApi()) == ("1/h", "tests.anonusers.access_site.SlowApi")
    assert HourlyApi.throttle_classes[0]().limit_of(HourlyApi()) == ("1/h", "tests.anonusers.access_site.HourThrottle")


def test_a_rate_that_cannot_be_read_is_a_fault(application, monkeypatch):
    monkeypatch.setattr(SlowApi, "guest_throttle_rate", "often")
    with pytest.raises(ValueError):
        somebody("visitor", application).call("/throttled/slow/")


def test_while_the_shared_store_is_away_this_process_counts(application, settings, monkeypatch):
    settings.ANONUSERS_LIMITS_STORAGE = "memory://shared"

    def away(*args, **kwargs):
        raise StorageError(OSError("away"))

    monkeypatch.setattr(limits._limiter("memory://shared").storage, "incr", away)
    assert statuses(somebody("guest by cookie", application), *["/throttled/"] * 3) == [200, 200, 429]


def test_in_the_database(application, settings):
    settings.ANONUSERS_LIMITS_STORAGE = "database://"
    person = somebody("guest by cookie", application)
    RateWindow.objects.all().delete()  # of the sign-up
    assert statuses(person, *["/throttled/"] * 3) == [200, 200, 429]
    assert RateWindow.objects.get().hits == 3
