"""IsGuest, IsMember and their kin in DRF views: by every authentication, combined, for no statement of their own."""

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.exceptions import ErrorDetail
from rest_framework.test import APIRequestFactory

from anonusers.permissions import IsGuest, IsMember
from tests.anonusers.access import BACKEND, EVERYBODY, GUESTS, MEMBERS, NOBODY, cost_of, somebody
from tests.anonusers.access_site import seen
from tests.anonusers.lazy_site import ALL_BEFORE, GUEST_MIDDLEWARE
from tests.conftest import row_counts, state_of

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.urls("tests.anonusers.access_site")]

BOTH = [*GUESTS, *MEMBERS]
# Who enters, and the code that the others are told who are somebody; None where DRF has none for them.
ENTER = {
    "guest": (GUESTS, "guests_only"),
    "member": (MEMBERS, "members_only"),
    "both": (BOTH, None),
    "read": (BOTH, None),
    "or": (BOTH, None),
    "and": (MEMBERS, None),
    "not": ([*NOBODY, *MEMBERS], None),
    "not-member": (GUESTS, None),
}
BY_OURS = [who for who in EVERYBODY if who.split()[-1] in ("visitor", "cookie", "bearer")]


@pytest.fixture(autouse=True)
def _site(settings):
    settings.MIDDLEWARE = [*ALL_BEFORE, GUEST_MIDDLEWARE]
    settings.AUTHENTICATION_BACKENDS = [BACKEND]
    seen.clear()


def check(person, root, name, cost):
    entering, code = ENTER[name]
    for path in (f"/{root}/{name}/", f"/{root}/{name}/7/")[: 2 if root == "api" else 1]:
        for method in ("get", "post"):
            seen.clear()
            answer = person.call(path, method)
            where = (person.who, path, method)
            assert answer.statements == cost, where
            if person.who in entering or (name == "read" and method == "get"):
                assert answer.status_code == 200, where
                assert seen == [person.user.get_username() if person.who not in NOBODY else ""], where
                continue
            assert seen == [], where
            if person.who in NOBODY:
                assert answer.status_code == (401 if root == "api" else 403), where
                assert "code" not in answer.json(), where
            else:
                assert answer.status_code == 403, where
                assert answer.json().get("code") == code, where
                assert answer.json()["detail"]


@pytest.mark.parametrize("who", BY_OURS)
def test_by_our_authentication_who_enters_for_no_more_than_the_user(application, who):
    person = somebody(who, application)
    before = row_counts()
    for name in ENTER:
        check(person, "api", name, cost_of(who))
    assert row_counts() == before


@pytest.mark.parametrize("who", EVERYBODY)
def test_by_djangos_own_authentication_behind_guest_middleware(application, who):
    person = somebody(who, application)
    before = row_counts()
    for name in ENTER:
        check(person, "session", name, cost_of(who))
    assert row_counts() == before


def test_without_guest_middleware_djangos_authentication_knows_no_cookie_of_ours(application, settings):
    settings.MIDDLEWARE = ALL_BEFORE
    assert somebody("guest by cookie", application).call("/session/both/").status_code == 403
    assert somebody("guest by Django", application).call("/session/guest/").status_code == 200


@pytest.mark.parametrize("who", ["guest by bearer", "member by bearer"])
def test_where_the_session_is_not_asked_the_user_is_looked_up_once_and_with_the_identity(application, settings, who):
    settings.ANONUSERS_BEARER_CHECKS_SESSION = False
    person = somebody(who, application)
    for name in ENTER:
        check(person, "api", name, 1)


@pytest.mark.parametrize("name", ["guest", "both", "read"])
def test_where_the_session_is_not_asked_a_disabled_user_is_nobody_all_the_same(application, settings, name):
    settings.ANONUSERS_BEARER_CHECKS_SESSION = False
    person = somebody("disabled by bearer", application)
    end_user = person.user.end_user
    before, row = row_counts(), state_of(end_user)
    seen.clear()
    assert person.call(f"/api/{name}/").status_code == 401
    person.user.delete()
    answer = person.call(f"/api/{name}/")
    assert (answer.status_code, answer.json()["code"]) == (401, "guest_gone")
    assert seen == []
    assert row[0]["disabled_at"] <= timezone.now()
    assert row_counts() != before  # only since they were deleted


def test_a_mixin_in_front_of_a_drf_view(application):
    for who in ("member by cookie", "member by bearer"):
        assert somebody(who, application).call("/api/mixed/").json() == {"is_guest": False, "is_member": True}
    answer = somebody("guest by bearer", application).call("/api/mixed/")
    assert (answer.status_code, answer.json()["code"]) == (403, "members_only")


def test_a_permission_says_its_code_as_drf_permissions_do():
    assert (IsGuest().code, IsMember().code) == ("guests_only", "members_only")
    assert IsMember().message["code"] == IsMember.code
    assert ErrorDetail(IsMember().message["detail"], IsMember.code).code == "members_only"


def test_somebody_whom_we_do_not_know_is_a_member_for_one_statement(db):
    request = APIRequestFactory().get("/")
    request.user = get_user_model().objects.get(pk=get_user_model().objects.create_user("host").pk)
    with CaptureQueriesContext(connection) as queries:
        assert IsMember().has_permission(request, None)
        assert not IsGuest().has_permission(request, None)
        assert IsMember().has_object_permission(request, None, object())
    assert len(queries) == 1
