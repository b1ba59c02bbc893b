"""The door for operators."""

from typing import Any

import pytest
import time_machine
from django.contrib.auth import SESSION_KEY, get_user_model
from django.test import Client

from anonusers.models import AnonymousIdentity, EndUser, Project
from tests.portal.conftest import PASSWORD

pytestmark = pytest.mark.django_db
URL = "/portal/login/"
WRONG = "do not match an operator"


def attempt(client: Client, name: str = "olga", password: str = PASSWORD, **more: Any) -> Any:
    return client.post(URL, {"username": name, "password": password, **more})


def signed_in(client: Client) -> bool:
    return SESSION_KEY in client.session


def test_an_operator_signs_in_and_out(browser_client: Client, operator: Any, project: Project) -> None:
    response = attempt(browser_client)
    assert (response.status_code, response["Location"]) == (302, "/portal/")
    assert signed_in(browser_client)
    assert browser_client.get("/portal/guestbook/session/").status_code == 200
    response = browser_client.post("/portal/logout/")
    assert (response.status_code, response["Location"]) == (302, URL)
    assert not signed_in(browser_client)
    assert "You are signed out." in browser_client.get(URL).content.decode()
    assert browser_client.get("/portal/guestbook/session/").status_code == 302


def test_signing_out_takes_a_post(portal: Client) -> None:
    assert portal.get("/portal/logout/").status_code == 405
    assert signed_in(portal)


def test_the_session_key_changes_at_sign_in(browser_client: Client, operator: Any) -> None:
    session = browser_client.session
    session["planted"] = True
    session.save()
    browser_client.cookies["sessionid"] = session.session_key
    attempt(browser_client)
    assert browser_client.session.session_key != session.session_key


def test_the_page_leads_on_to_where_the_operator_was_going(browser_client: Client, operator: Any) -> None:
    wanted = "/portal/guestbook/session/"
    assert f'name="next" value="{wanted}"' in browser_client.get(f"{URL}?next={wanted}").content.decode()
    assert attempt(browser_client, next=wanted)["Location"] == wanted


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil", "\0"])
def test_the_page_leads_to_no_other_site(target: str, browser_client: Client, operator: Any) -> None:
    assert attempt(browser_client, next=target)["Location"] == "/portal/"


def test_who_is_signed_in_already_goes_on(portal: Client) -> None:
    assert portal.get(URL)["Location"] == "/portal/"
    assert portal.get(f"{URL}?next=/portal/guestbook/session/")["Location"] == "/portal/guestbook/session/"
    assert portal.get(f"{URL}?next={URL}?x=1")["Location"] == "/portal/"


@pytest.mark.parametrize(
    ("name", "password"), [("olga", "wrong"), ("nobody", PASSWORD), ("olga", " " + PASSWORD), ("olga\0", PASSWORD)]
)
def test_a_wrong_name_or_password_is_refused(name: str, password: str, browser_client: Client, operator: Any) -> None:
    response = attempt(browser_client, name, password)
    assert response.status_code == 400
    assert not signed_in(browser_client)
    assert PASSWORD not in response.content.decode()


def test_what_is_missing_is_said_at_its_field(browser_client: Client) -> None:
    page = attempt(browser_client, "", "").content.decode()
    assert "Enter your user name." in page
    assert "Enter your password." in page
    assert 'aria-describedby="id_username_error"' in page


@pytest.mark.parametrize("flags", [{}, {"is_superuser": True}, {"is_staff": True, "is_active": False}])
def test_the_right_password_of_somebody_else_reads_like_a_wrong_one(
    flags: dict[str, bool], browser_client: Client
) -> None:
    get_user_model().objects.create_user("someone", password=PASSWORD, **flags)
    response = attempt(browser_client, "someone")
    assert response.status_code == 400
    assert WRONG in response.content.decode()
    assert not signed_in(browser_client)


@pytest.mark.parametrize("password", ["", " ", "guest-1", PASSWORD])
def test_a_guest_never_signs_in_even_with_staff_flags(password: str, browser_client: Client, project: Project) -> None:
    user = get_user_model().objects.create_user("guest-1", is_staff=True, is_superuser=True)
    identity = AnonymousIdentity.objects.create(end_user=EndUser.objects.create(project=project, user=user))
    assert attempt(browser_client, "guest-1", password).status_code == 400
    user.set_password(PASSWORD)
    user.save()
    assert attempt(browser_client, "guest-1").status_code == 400
    identity.delete()  # promoted: still a person of the project
    assert attempt(browser_client, "guest-1").status_code == 400
    assert not signed_in(browser_client)


def test_attempts_from_one_address_are_bounded(browser_client: Client, operator: Any, settings: Any) -> None:
    settings.ANONUSERS_PORTAL_LOGIN_PER_IP = "3/m"
    with time_machine.travel(0, tick=False):
        for _ in range(3):
            assert attempt(browser_client, password="wrong").status_code == 400
        response = attempt(browser_client)
        assert response.status_code == 429
        assert response["Retry-After"] == "60"
        assert "Too many attempts. Try again in 1 minute." in response.content.decode()
        assert 'value="olga"' in response.content.decode()
        assert not signed_in(browser_client)
        assert attempt(Client(HTTP_HOST="localhost:8000", REMOTE_ADDR="192.0.2.7")).status_code == 302


def test_failures_under_one_name_are_bounded_from_all_addresses(operator: Any, settings: Any) -> None:
    settings.ANONUSERS_PORTAL_LOGIN_PER_NAME = "3/h"
    clients = [Client(HTTP_HOST="localhost:8000", REMOTE_ADDR=f"192.0.2.{last}") for last in range(6)]
    with time_machine.travel(0, tick=False) as clock:
        answers = [attempt(client, " OLGA ", "wrong").status_code for client in clients[:5]]
        assert answers == [400, 400, 400, 429, 429]
        refused = attempt(clients[5])
        assert refused.status_code == 429
        assert refused["Retry-After"] == "3600"
        assert not signed_in(clients[5])
        clock.shift(3601)
        assert attempt(clients[5]).status_code == 302


def test_sign_ins_that_succeed_do_not_count_against_the_name(operator: Any, settings: Any) -> None:
    settings.ANONUSERS_PORTAL_LOGIN_PER_NAME = "1/h"
    for _ in range(3):
        assert attempt(Client(HTTP_HOST="localhost:8000")).status_code == 302
