"""ModelBackend: the user of a Django session comes with end user and identity, in one statement."""

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import aauthenticate, authenticate, get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from anonusers.backends import ModelBackend
from anonusers.models import EndUser
from anonusers.userinfo import is_guest, is_member, sub_of
from tests.anonusers.registering_site import BACKEND, MIDDLEWARE
from tests.conftest import HOST
from tests.people import EMAIL, PASSWORD, new_guest, regular_user

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.urls("tests.anonusers.registering_site")]


@pytest.fixture(autouse=True)
def _site(settings):
    settings.MIDDLEWARE = MIDDLEWARE
    settings.AUTHENTICATION_BACKENDS = [BACKEND]


def person(kind, application):
    match kind:
        case "guest":
            return new_guest(application).user
        case "member":
            return regular_user(application).user
        case "the host's own":
            return get_user_model().objects.create_user("anna", EMAIL, PASSWORD)


KINDS = {"guest": (True, False), "member": (False, True), "the host's own": (False, True)}


@pytest.mark.parametrize("kind", KINDS)
def test_one_statement_tells_who_a_user_is(application, kind):
    user = person(kind, application)
    sub = EndUser.objects.filter(user=user).values_list("pk", flat=True).first()
    with CaptureQueriesContext(connection) as queries:
        found = ModelBackend().get_user(user.pk)
        assert (is_guest(found), is_member(found), sub_of(found)) == (*KINDS[kind], sub)
    assert len(queries) == 1
    found = async_to_sync(ModelBackend().aget_user)(user.pk)
    assert (is_guest(found), is_member(found), sub_of(found)) == (*KINDS[kind], sub)


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_of_djangos_session_costs_two_statements(application, kind):
    """The session's row and the user's."""
    client = Client(HTTP_HOST=HOST)
    client.force_login(person(kind, application), backend=BACKEND)
    with CaptureQueriesContext(connection) as queries:
        answer = client.get("/whoami/").json()
    assert (answer["guest"], answer["member"]) == KINDS[kind]
    assert len(queries) == 2


def test_nobody_is_neither():
    assert (is_guest(AnonymousUser()), is_member(AnonymousUser()), sub_of(AnonymousUser())) == (False, False, None)
    assert ModelBackend().get_user(0) is None
    assert async_to_sync(ModelBackend().aget_user)(0) is None


@pytest.mark.parametrize("way", ["disabled in the portal", "not active"])
def test_who_is_disabled_is_nobody(application, way):
    member = regular_user(application)
    name = member.user.username
    assert authenticate(username=name, password=PASSWORD) == member.user
    assert async_to_sync(aauthenticate)(username=name, password=PASSWORD) == member.user
    client = Client(HTTP_HOST=HOST)
    client.force_login(member.user, backend=BACKEND)
    if way == "not active":
        get_user_model().objects.update(is_active=False)
    else:
        EndUser.objects.update(disabled_at=timezone.now())
    assert client.get("/whoami/").json()["pk"] is None
    assert ModelBackend().get_user(member.user_id) is None
    assert async_to_sync(ModelBackend().aget_user)(member.user_id) is None
    assert authenticate(username=name, password=PASSWORD) is None
    assert async_to_sync(aauthenticate)(username=name, password=PASSWORD) is None
