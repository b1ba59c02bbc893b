"""promote_guest: the host's own registration, by cookie, bearer token and Django's session; sync and async."""

import json

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import AsyncClient, Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from anonusers import events
from anonusers.errors import GuestGone, UserDisabled, UserIsRegular
from anonusers.models import (
    AnonymousIdentity,
    AuditEvent,
    DeviceKey,
    EndUser,
    LoginID,
    OneTimeToken,
    Promotion,
    Session,
)
from anonusers.registration import promote_guest, registering_user
from tests.anonusers.browsing import be_guest, give_key
from tests.anonusers.registering_site import BACKEND, MIDDLEWARE
from tests.conftest import HOST, ORIGIN, row_counts, state_of
from tests.people import regular_user

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.urls("tests.anonusers.registering_site")]


@pytest.fixture(autouse=True)
def _site(settings):
    settings.MIDDLEWARE = MIDDLEWARE
    settings.AUTHENTICATION_BACKENDS = [BACKEND]


@pytest.fixture
def client():
    return Client(HTTP_HOST=HOST)


def send(client, path="/register/", **data):
    return client.post(path, json.dumps(data), content_type="application/json")


def who(client):
    return client.get("/whoami/").json()


@pytest.fixture
def told(django_capture_on_commit_callbacks):
    """The events that were sent, once `with told:` is over."""
    found = []

    def listen(sender, event, **kwargs):
        found.append(event)

    events.user_anonymous_promoted.connect(listen)
    yield found
    events.user_anonymous_promoted.disconnect(listen)


# --- by cookie ------------------------------------------------------------------------------------


def test_a_guest_by_cookie_keeps_the_id_and_gets_another_cookie(client, project):
    guest = be_guest(client, project)
    client.post("/put/", {"item": "apple"})
    old_cookie, old_key = client.cookies["anonusers_session"].value, client.cookies["sessionid"].value
    before = who(client)
    answer = send(client)
    assert answer.status_code == 200
    # In this very request, too.
    now = before | {"guest": False, "member": True, "guest_of": None, "name": "anna"}
    assert answer.json() | {"basket": ["apple"]} == now | {"saved": guest.user_id}
    after = who(client)
    assert after == now
    assert (after["sub"], after["pk"], after["basket"]) == (str(guest.pk), guest.user_id, ["apple"])
    assert client.cookies["anonusers_session"].value != old_cookie
    assert client.cookies["sessionid"].value != old_key
    thief = Client(HTTP_HOST=HOST)
    thief.cookies["anonusers_session"], thief.cookies["sessionid"] = old_cookie, old_key
    assert who(thief)["pk"] is None
    assert who(thief)["basket"] == []


def test_all_that_led_to_the_guest_ends(client, project, application):
    guest = be_guest(client, project)
    give_key(guest)
    others = [be_guest_again(guest) for _ in range(3)]
    assert send(client).status_code == 200
    assert not AnonymousIdentity.objects.exists()
    assert list(Session.objects.filter(ended_at=None).values_list("end_user_id", "amr")) == [(guest.pk, "pwd")]
    for other in others:
        other.refresh_from_db()
        assert other.ended_at is not None
    assert DeviceKey.objects.get().end_user is None
    assert not OneTimeToken.objects.filter(used_at=None, end_user=guest).exists()
    promotion = Promotion.objects.get()
    assert (promotion.end_user_id, promotion.outcome, promotion.method) == (guest.pk, "promoted", "host")
    assert AuditEvent.objects.get(type="user.anonymous.promoted").end_user_id == guest.pk


def be_guest_again(guest):
    from anonusers.sessions import open_session

    return open_session(end_user=guest, project=guest.project, application=None, kind="cookie")[0]


def test_the_login_ids_are_those_of_the_saved_row(client, project):
    project.login_ids = ["email", "username"]
    project.save()
    guest = be_guest(client, project)
    send(client)
    assert sorted(LoginID.objects.values_list("end_user", "type", "value", "verified_at")) == [
        (guest.pk, "email", "anna@example.com", None),
        (guest.pk, "username", "anna", None),
    ]


def test_only_of_kinds_that_the_project_uses_and_that_can_be_read(client, project):
    project.login_ids = ["username"]
    project.save()
    be_guest(client, project)
    assert send(client, username="al").status_code == 200  # two letters are a name of the host's, and no login ID
    assert not LoginID.objects.exists()
    assert who(client)["name"] == "al"


def test_they_can_be_given(client, project):
    guest = be_guest(client, project)
    send(client, as_email="other@example.com", verified=True, method="newsletter")
    row = LoginID.objects.get()
    assert (row.value, row.end_user) == ("other@example.com", guest)
    assert row.verified_at is not None
    assert Promotion.objects.get().method == "newsletter"


def test_none_at_all_is_fine(client, project):
    be_guest(client, project)
    assert send(client, as_email="").status_code == 200
    assert not LoginID.objects.exists()
    assert who(client)["member"]


def test_an_invalid_one_is_refused_before_anything_is_saved(client, project):
    guest = be_guest(client, project)
    before = row_counts(), state_of(guest, guest.user)
    answer = send(client, as_email="no address")
    assert (answer.status_code, answer.json()) == (409, {"code": "invalid_login_id"})
    assert (row_counts(), state_of(guest, guest.user)) == before
    assert who(client)["guest"]


def test_the_event_is_sent_once_after_the_commit(client, project, told, django_capture_on_commit_callbacks):
    guest = be_guest(client, project)
    with django_capture_on_commit_callbacks(execute=True):
        send(client)
        assert told == []
    (event,) = told
    assert (event.end_user, event.details) == (guest, {"method": "host", "login_id_type": "email"})


# --- refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/register/", "/api/register/"])
def test_a_save_that_fails_changes_nothing(client, project, path):
    guest = be_guest(client, project)
    before = row_counts(), state_of(guest, guest.user, *Session.objects.all())
    with pytest.raises(ValueError, match="changed its mind"):
        send(client, path, fails=True)
    assert (row_counts(), state_of(guest, guest.user, *Session.objects.all())) == before
    assert who(client)["guest"]


@pytest.mark.parametrize("wrong", ["another_row", "nothing"])
def test_a_save_of_another_row_is_a_mistake_that_says_so(client, project, wrong):
    guest = be_guest(client, project)
    before = row_counts(), state_of(guest, guest.user)
    with pytest.raises(ImproperlyConfigured, match="registering_user"):
        send(client, **{wrong: True})
    assert (row_counts(), state_of(guest, guest.user)) == before


def test_an_address_that_somebody_has_is_refused(client, project, application):
    regular_user(application)
    guest = be_guest(client, project)
    before = row_counts(), state_of(guest, guest.user)
    answer = send(client)
    assert (answer.status_code, answer.json()) == (409, {"code": "login_id_taken"})
    assert (row_counts(), state_of(guest, guest.user)) == before
    assert who(client)["guest"]


def test_a_guest_who_was_deleted_or_disabled_meanwhile_is_told(project):
    request = RequestFactory(HTTP_HOST=HOST).post("/register/")
    client = Client(HTTP_HOST=HOST)
    guest = be_guest(client, project)
    request.user = guest.user
    EndUser.objects.update(disabled_at="2026-01-01T00:00Z")
    with pytest.raises(GuestGone):
        promote_guest(request, lambda: guest.user)
    assert AnonymousIdentity.objects.exists()


def test_who_is_a_regular_user_already_is_refused(client, project):
    be_guest(client, project)
    assert send(client).status_code == 200
    before = row_counts()
    answer = send(client, username="second", email="second@example.com")
    assert (answer.status_code, answer.json()) == (409, {"code": "user_is_regular"})
    assert row_counts() == before


def test_without_a_middleware_that_hands_the_cookie_out_nothing_is_done(client, project, settings):
    settings.MIDDLEWARE = MIDDLEWARE[:-1]
    guest = be_guest(client, project)
    before = row_counts(), state_of(guest, guest.user)
    with pytest.raises(ImproperlyConfigured, match="GuestMiddleware"):
        send(client, "/api/register/")
    assert (row_counts(), state_of(guest, guest.user)) == before


def test_a_cookie_from_another_site_registers_nobody(client, project):
    guest = be_guest(client, project)
    before = state_of(guest, guest.user)
    answer = client.post(
        "/register/", "{}", content_type="application/json", headers={"Origin": "https://evil.example"}
    )
    assert answer.status_code == 403 or answer.json()["saved"] != guest.user_id
    assert state_of(guest, guest.user) == before


# --- by bearer token, by Django's session -------------------------------------------------------------


def token_of(client):
    answer = client.post("/api/v1/signup/", {"client_id": "web"}, content_type="application/json")
    return answer.json()


@pytest.mark.parametrize("path", ["/register/", "/api/register/"])
def test_a_guest_by_bearer_keeps_the_session_that_registers(client, application, path):
    answer = token_of(client)
    guest = EndUser.objects.get()
    other = be_guest_again(guest)
    client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {answer['access_token']}"
    registered = send(client, path)
    assert registered.status_code == 200
    assert registered.cookies.keys() <= {"sessionid"}
    assert registered.json()["saved"] == guest.user_id
    other.refresh_from_db()
    assert other.ended_at is not None
    body = {"refresh_token": answer["refresh_token"], "client_id": "web"}
    refreshed = Client(HTTP_HOST=HOST).post("/api/v1/refresh/", body, content_type="application/json").json()
    client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {refreshed['access_token']}"
    assert client.get("/api/v1/userinfo/").json()["is_anonymous"] is False
    assert who(client)["member"]


def test_a_guest_whom_djangos_own_session_names_stays_logged_in(client, project):
    client.cookies.clear()
    guest = be_guest(Client(HTTP_HOST=HOST), project)
    client.post("/put/", {"item": "apple"})
    client.post("/log-in/", {"username": guest.user.username})
    assert who(client)["guest"]
    assert send(client, password="another nine walruses").status_code == 200
    after = who(client)
    assert (after["pk"], after["member"], after["basket"]) == (guest.user_id, True, ["apple"])


# --- visitors ----------------------------------------------------------------------------------------


def test_a_visitor_becomes_a_regular_user(client, project):
    answer = send(client)
    assert answer.status_code == 200
    end_user = EndUser.objects.get()
    assert (end_user.user_id, end_user.project, end_user.is_guest) == (answer.json()["saved"], project, False)
    assert end_user.adopted_at is not None
    assert LoginID.objects.get().end_user == end_user
    assert not Session.objects.exists()  # the host logs in whom it wants
    assert "anonusers_session" not in answer.cookies


def test_a_visitor_whose_address_somebody_has_is_refused(client, application):
    regular_user(application)
    before = row_counts()
    assert send(client).json() == {"code": "login_id_taken"}
    assert row_counts() == before


def test_at_a_host_without_a_project_the_row_is_saved_and_nothing_else(client):
    assert send(client).status_code == 200
    assert (get_user_model().objects.count(), EndUser.objects.count()) == (1, 0)


# --- statements, async, the row to fill ------------------------------------------------------------------


def test_a_registration_by_cookie_takes_so_many_statements(client, project):
    be_guest(client, project)
    with CaptureQueriesContext(connection) as queries:
        body, headers = json.dumps({}), {"Origin": ORIGIN}
        assert client.post("/register/", body, content_type="application/json", headers=headers).status_code == 200
    told = [query["sql"] for query in queries if not query["sql"].startswith(("SAVEPOINT", "RELEASE"))]
    # The session; the row to fill; the promotion (13: no look for the host's own users, who are its business); the
    # host's save and the new session.
    assert len(told) == 17, told


def asgi_client(project):
    project.domains.create(domain="testserver")  # its host cannot be chosen
    return AsyncClient(headers={"User-Agent": "Mozilla/5.0 Firefox/130.0"})


def test_async_views_do_the_same(client, project):
    guest = be_guest(client, project)
    asgi = asgi_client(project)
    asgi.cookies = client.cookies
    answer = async_to_sync(asgi.post)("/aregister/", json.dumps({}), content_type="application/json")
    assert (answer.status_code, answer.json()) == (200, {"saved": guest.user_id})
    asgi.cookies = answer.cookies
    now = async_to_sync(asgi.get)("/awhoami/")
    assert now.json() == {"pk": guest.user_id, "guest": False, "member": True}


def test_async_views_make_guests(project):
    asgi = asgi_client(project)
    answer = async_to_sync(asgi.post)("/abecome/")
    assert answer.status_code == 200
    asgi.cookies = answer.cookies
    assert async_to_sync(asgi.post)("/abecome/").json() == answer.json()
    assert EndUser.objects.count() == 1


def test_the_row_to_fill_is_a_copy(client, project):
    request = RequestFactory(HTTP_HOST=HOST).post("/register/")
    request.user = be_guest(client, project).user
    row = registering_user(request)
    assert (row.pk, row is request.user) == (request.user.pk, False)
    row.username = "typed in a form that is refused"
    assert request.user.username.startswith("guest-")


def test_a_visitor_gets_a_row_that_is_not_saved():
    row = registering_user(RequestFactory(HTTP_HOST=HOST).post("/register/"))
    assert (row.pk, type(row)) == (None, get_user_model())
    with pytest.raises(UserIsRegular):
        request = RequestFactory(HTTP_HOST=HOST).post("/register/")
        request.user = get_user_model().objects.create_user("boss")
        promote_guest(request, lambda: row)


# --- known by other means -----------------------------------------------------------------------------


def test_sign_in_gives_a_known_guest_a_session_of_ours(client, project):
    guest = be_guest(Client(HTTP_HOST=HOST), project)
    answer = client.post("/sign-in/", {"sub": str(guest.pk)})
    assert (answer.status_code, answer.json()["pk"]) == (200, guest.user_id)
    assert who(client)["guest"]
    assert Session.objects.filter(end_user=guest, ended_at=None).count() == 2


def test_sign_in_opens_nothing_for_who_is_disabled(client, project):
    guest = be_guest(Client(HTTP_HOST=HOST), project)
    EndUser.objects.update(disabled_at="2026-01-01T00:00Z")
    before = row_counts()
    with pytest.raises(UserDisabled):
        client.post("/sign-in/", {"sub": str(guest.pk)})
    assert row_counts() == before


def test_sign_in_opens_nothing_where_nobody_would_hand_the_cookie_out(client, project, settings):
    settings.MIDDLEWARE = MIDDLEWARE[:-1]
    guest = be_guest(Client(HTTP_HOST=HOST), project)
    before = row_counts()
    with pytest.raises(ImproperlyConfigured, match="GuestMiddleware"):
        client.post("/sign-in/", {"sub": str(guest.pk)})
    assert row_counts() == before
