"""Who is logged in and out through Django: our session follows, the basket stays, guests go the way of the project."""

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext

from anonusers import sessions
from anonusers.models import EndUser, LoginID, Project, Promotion, Session
from anonusers.promotion import promote
from tests.anonusers.browsing import be_guest, new_browser, send
from tests.anonusers.registering_site import BACKEND, MIDDLEWARE
from tests.conftest import HOST, make_project, row_counts, state_of
from tests.people import EMAIL, PASSWORD, new_guest, proof_of, regular_user

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.urls("tests.anonusers.registering_site")]


@pytest.fixture(autouse=True)
def _site(settings):
    settings.MIDDLEWARE = MIDDLEWARE
    settings.AUTHENTICATION_BACKENDS = [BACKEND]


@pytest.fixture
def client():
    return Client(HTTP_HOST=HOST)


@pytest.fixture
def member(application):
    return regular_user(application, "boss@example.com")


def log_in(client, user, path="/log-in/"):
    return client.post(path, {"username": user.get_username()})


def who(client):
    return client.get("/whoami/").json()


def conflict(word):
    Project.objects.update(promotion_conflict=word)


# --- in -------------------------------------------------------------------------------------------


def test_a_guest_who_logs_in_goes_on_as_the_account(client, project, member):
    conflict("login")
    guest = be_guest(client, project)
    client.post("/put/", {"item": "apple"})
    answer = log_in(client, member.user)
    assert answer.cookies["anonusers_session"].value == ""
    now = who(client)
    assert (now["pk"], now["member"], now["basket"]) == (member.user_id, True, ["apple"])
    promotion = Promotion.objects.get(end_user=guest)
    assert (promotion.outcome, promotion.superseded_by, promotion.method) == ("superseded", member, "host")
    assert not Session.objects.filter(end_user=guest, ended_at=None).exists()


def test_where_the_project_keeps_guests_it_is_back_after_logging_out(client, project, member):
    conflict("error")
    guest = be_guest(client, project)
    before = state_of(guest, guest.user, *Session.objects.filter(end_user=guest))
    answer = log_in(client, member.user)
    assert "anonusers_session" not in answer.cookies
    assert who(client)["pk"] == member.user_id
    client.post("/log-out/")
    assert who(client)["pk"] == guest.user_id
    assert who(client)["guest"]
    now = state_of(guest, guest.user, *Session.objects.filter(end_user=guest))
    assert [row for row in now if row not in before] == []


def test_a_guest_by_bearer_goes_on_as_the_account(client, application, member):
    conflict("login")
    body = {"client_id": "web"}
    token = client.post("/api/v1/signup/", body, content_type="application/json").json()["access_token"]
    client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    answer = log_in(client, member.user)
    assert "anonusers_session" not in answer.cookies
    assert Promotion.objects.filter(outcome="superseded", superseded_by=member).count() == 1


def test_a_user_of_the_hosts_own_becomes_an_end_user_then(client, project, django_user_model):
    conflict("login")
    user = django_user_model.objects.create_user("anna", EMAIL)
    be_guest(client, project)
    log_in(client, user)
    end_user = EndUser.objects.get(user=user)
    assert Promotion.objects.get().superseded_by == end_user
    assert LoginID.objects.get().end_user == end_user


def test_also_one_whose_address_somebody_has(client, project, application, django_user_model):
    conflict("login")
    regular_user(application, EMAIL)
    user = django_user_model.objects.create_user("anna", EMAIL)
    be_guest(client, project)
    log_in(client, user)
    assert not LoginID.objects.filter(end_user__user=user).exists()
    assert Promotion.objects.get(outcome="superseded").superseded_by.user == user


@pytest.mark.parametrize("flag", ["is_staff", "is_superuser"])
def test_an_operator_who_logs_in_leaves_the_guest_as_it_is(client, project, django_user_model, flag):
    conflict("login")
    operator = django_user_model.objects.create_user("boss", **{flag: True})
    guest = be_guest(client, project)
    before = row_counts()
    log_in(client, operator)
    assert row_counts() == before
    assert who(client)["pk"] == operator.pk
    client.post("/log-out/")
    assert who(client)["pk"] == guest.user_id


def test_so_does_somebody_of_another_project(client, project):
    conflict("login")
    elsewhere = make_project("elsewhere", "elsewhere.example")
    stranger = EndUser.objects.create(project=elsewhere, user=get_user_model().objects.create_user("anna"))
    be_guest(client, project)
    before = row_counts()
    log_in(client, stranger.user)
    assert row_counts() == before
    assert not Promotion.objects.exists()


def test_the_session_of_another_regular_user_ends(client, project, application, member):
    other = regular_user(application, "other@example.com")
    session, secret = sessions.open_session(end_user=other, project=project, application=None, kind="cookie")
    client.cookies["anonusers_session"] = str(secret)
    answer = log_in(client, member.user)
    assert answer.cookies["anonusers_session"].value == ""
    session.refresh_from_db()
    assert session.ended_at is not None
    client.post("/log-out/")
    assert who(client)["pk"] is None


def test_a_session_of_the_same_user_stays(client, project, member):
    session, secret = sessions.open_session(end_user=member, project=project, application=None, kind="cookie")
    client.cookies["anonusers_session"] = str(secret)
    answer = log_in(client, member.user)
    assert "anonusers_session" not in answer.cookies
    session.refresh_from_db()
    assert session.ended_at is None


def test_a_visitor_who_logs_in_costs_nothing_of_ours(client, project, member):
    with CaptureQueriesContext(connection) as queries:
        log_in(client, member.user)
    assert not [query["sql"] for query in queries if "anonusers_session" in query["sql"]]


def test_logging_in_without_a_request_is_fine(member):
    Client(HTTP_HOST=HOST).force_login(member.user, backend=BACKEND)


# --- out ------------------------------------------------------------------------------------------


def test_who_logs_out_through_django_is_out_of_our_session_too(client, project):
    guest = be_guest(client, project)
    answer = client.post("/log-out/")
    assert answer.cookies["anonusers_session"].value == ""
    assert Session.objects.get().ended_at is not None
    assert who(client)["pk"] is None
    assert EndUser.objects.get() == guest


def test_a_worthless_cookie_is_no_obstacle(client, project):
    client.cookies["anonusers_session"] = "nonsense"
    assert client.post("/log-out/").status_code == 200


def test_a_visitor_who_logs_out_changes_nothing(client, project):
    before = row_counts()
    assert client.post("/log-out/").json() == {"user": None}
    assert row_counts() == before


def test_async_log_ins_are_followed(client, project, member):
    conflict("login")
    project.domains.create(domain="testserver")
    guest = be_guest(client, project)
    asgi = AsyncClient()
    asgi.cookies = client.cookies
    answer = async_to_sync(asgi.post)("/alog-in/", {"username": member.user.get_username()})
    assert answer.cookies["anonusers_session"].value == ""
    assert Promotion.objects.get(end_user=guest).superseded_by == member
    assert async_to_sync(asgi.get)("/awhoami/").json()["pk"] == member.user_id


def test_async_log_outs_are_followed(client, project):
    project.domains.create(domain="testserver")
    be_guest(client, project)
    asgi = AsyncClient()
    asgi.cookies = client.cookies
    answer = async_to_sync(asgi.post)("/alog-out/")
    assert answer.cookies["anonusers_session"].value == ""
    assert Session.objects.get().ended_at is not None


# --- tokens of the host's own -----------------------------------------------------------------------


def test_leave_guest_for_who_hands_out_tokens_of_its_own(client, application, member):
    conflict("login")
    body = {"client_id": "web"}
    token = client.post("/api/v1/signup/", body, content_type="application/json").json()["access_token"]
    client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    guest = EndUser.objects.get(promoted_at=None)
    assert client.post("/leave/", {"username": member.user.username}).json() == {"left": str(guest.pk)}
    assert Promotion.objects.get(end_user=guest).method == "sms"


def test_there_is_nothing_to_leave_for_visitors_members_and_where_guests_stay(client, project, member):
    name = {"username": member.user.username}
    assert client.post("/leave/", name).json() == {"left": None}
    conflict("error")
    be_guest(client, project)
    before = row_counts()
    assert client.post("/leave/", name).json() == {"left": None}
    assert row_counts() == before


# --- the other way round: our pages --------------------------------------------------------------------


def test_logging_out_on_our_page_ends_djangos_session_of_the_same_user(project, member):
    browser = new_browser()
    _, secret = sessions.open_session(end_user=member, project=project, application=None, kind="cookie")
    browser.cookies["anonusers_session"] = str(secret)
    browser.force_login(member.user, backend=BACKEND)
    assert send(browser, "/logout").status_code == 303
    assert who(browser)["pk"] is None


def test_it_leaves_an_operators_alone(project, django_user_model):
    operator = django_user_model.objects.create_user("boss", is_staff=True)
    browser = new_browser()
    be_guest(browser, project)
    browser.force_login(operator, backend=BACKEND)
    send(browser, "/logout")
    assert who(browser)["pk"] == operator.pk


def test_logging_in_on_our_page_replaces_somebody_of_the_project_in_djangos_session(project, application, member):
    other = regular_user(application, "other@example.com")
    browser = new_browser()
    browser.force_login(other.user, backend=BACKEND)
    session = browser.session
    session["basket"] = ["apple"]
    session.save()
    answer = send(browser, "/login", login_id="boss@example.com", password=PASSWORD)
    assert answer.status_code == 303
    now = who(browser)
    assert (now["pk"], now["basket"]) == (member.user_id, ["apple"])


def test_it_leaves_an_operator_in_djangos_session(project, member, django_user_model):
    operator = django_user_model.objects.create_user("chief", is_staff=True)
    browser = new_browser()
    browser.force_login(operator, backend=BACKEND)
    assert send(browser, "/login", login_id="boss@example.com", password=PASSWORD).status_code == 303
    assert who(browser)["pk"] == operator.pk


def test_a_promotion_on_our_page_keeps_the_guest_whom_django_has_logged_in(project):
    browser = new_browser()
    guest = be_guest(browser, project)
    browser.force_login(guest.user, backend=BACKEND)
    session = browser.session
    session["basket"] = ["apple"]
    session.save()
    assert send(browser, "/promote", login_id=EMAIL, password=PASSWORD).status_code == 303
    now = who(browser)
    assert (now["pk"], now["member"], now["basket"]) == (guest.user_id, True, ["apple"])
    browser.cookies.pop("anonusers_session")
    assert who(browser)["pk"] == guest.user_id


def test_promote_leaves_no_stale_answer_about_who_is_a_guest(application):
    guest = new_guest(application)
    assert not promote(end_user=guest, project=application.project, proof=proof_of()).end_user.is_guest
