"""Third-party accounts, with allauth's own dummy provider: it believes what it is told."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth import get_user_model
from django.core import mail

from anonusers.models import EndUser, Session
from tests.hosts.story import EMAIL, Browser, rows
from tests.hosts.uuid_allauth.visits import (
    JSON,
    App,
    addresses,
    browse,
    guest,
    info,
    keep_guests,
    known,
    link,
    member_of,
    promotions,
    sign_up,
)

pytestmark = pytest.mark.django_db

ANNA = {"id": 7, "email": EMAIL, "email_verified": True, "first_name": "Anna", "last_name": "Arden"}


def come_by(browser: Browser, person: dict[str, Any], process: str = "login", **more: str) -> Any:
    """To the provider and back."""
    away = browser.client.post(f"/accounts/dummy/login/?process={process}")
    assert away.status_code == 302, away.content
    state = parse_qs(urlsplit(away["Location"]).query)["state"][0]
    form = {name: value for name, value in person.items() if value} | more
    return browser.client.post(f"/accounts/dummy/authenticate/?state={state}", form)


@pytest.mark.parametrize("process", ["login", "connect"])
def test_a_guest_comes_by_an_account_that_nobody_has(browser: Browser, process: str) -> None:
    """`process=connect` is what links for guests say where there was django-guest-user before."""
    who = guest(browser)
    get_user_model()._default_manager.filter(pk=who["pk"]).update(points=7)
    before = get_user_model()._default_manager.get(pk=who["pk"])
    come_by(browser, ANNA, process)
    assert browser.whoami() == member_of(who)
    person = get_user_model()._default_manager.get(pk=who["pk"])
    assert (person.first_name, person.last_name, person.email, person.points) == ("Anna", "Arden", EMAIL, 7)
    assert person.joined_at == before.joined_at
    assert SocialAccount.objects.get().user_id == person.pk
    assert addresses(who) == [(EMAIL, True)]
    assert not info(who).has_password
    assert promotions() == [("promoted", "allauth")]


def test_the_same_account_logs_in_afterwards(browser: Browser) -> None:
    who = guest(browser)
    come_by(browser, ANNA)
    browser.client.post("/accounts/logout/")
    come_by(browser, ANNA)
    assert browser.whoami() | {"basket": []} == member_of(who) | {"basket": []}


def test_a_guest_who_comes_by_a_known_account_goes_on_as_that_one(browser: Browser) -> None:
    owner = browse()
    come_by(owner, ANNA)
    account = owner.whoami()
    assert account["kind"] == "member"  # a visitor before
    who = guest(browser)
    come_by(browser, ANNA)
    now = browser.whoami()
    assert (now["sub"], now["kind"], now["basket"]) == (account["sub"], "member", ["apple"])
    assert promotions() == [("superseded", "host")]
    assert not Session.objects.filter(end_user=who["sub"], ended_at=None).exists()


def test_where_the_project_keeps_guests_one_is_back_after_logging_out(browser: Browser) -> None:
    come_by(browse(), ANNA)
    keep_guests()
    who = guest(browser)
    come_by(browser, ANNA)
    assert browser.whoami()["kind"] == "member"
    browser.client.post("/accounts/logout/")
    assert browser.whoami() | {"basket": []} == who | {"basket": []}


def test_an_account_that_is_known_by_its_address(browser: Browser, settings: Any) -> None:
    settings.SOCIALACCOUNT_EMAIL_AUTHENTICATION = True
    person = known()
    guest(browser)
    come_by(browser, ANNA)
    assert browser.whoami()["pk"] == str(person.pk)
    assert promotions() == [("superseded", "host")]


def test_an_address_that_somebody_has_is_not_taken(browser: Browser) -> None:
    known()
    who = guest(browser)
    person, before = get_user_model()._default_manager.values().get(pk=who["pk"]), rows()
    assert come_by(browser, ANNA)["Location"] == "/accounts/3rdparty/signup/"  # another one, please
    answer = browser.client.post("/accounts/3rdparty/signup/", {"email": EMAIL})
    assert b"already exists" in answer.content
    assert (browser.whoami(), rows()) == (who, before)
    assert get_user_model()._default_manager.values().get(pk=who["pk"]) == person
    assert not SocialAccount.objects.exists()


def test_with_a_form_in_between(browser: Browser, settings: Any) -> None:
    settings.SOCIALACCOUNT_AUTO_SIGNUP = False
    who = guest(browser)
    assert come_by(browser, ANNA)["Location"] == "/accounts/3rdparty/signup/"
    assert browser.whoami() == who
    assert browser.client.get("/accounts/3rdparty/signup/").status_code == 200
    browser.client.post("/accounts/3rdparty/signup/", {"email": "no address"})
    assert (browser.whoami(), promotions()) == (who, [])
    browser.client.post("/accounts/3rdparty/signup/", {"email": "anna@home.example"})
    assert browser.whoami() == member_of(who)
    person = get_user_model()._default_manager.get(pk=who["pk"])
    assert (person.first_name, SocialAccount.objects.get().user_id) == ("Anna", person.pk)
    # allauth takes the one that the provider vouches for as the primary one.
    assert addresses(who) == [(EMAIL, True)]


def test_with_a_mail_in_between(browser: Browser, settings: Any) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    who = guest(browser)
    come_by(browser, ANNA | {"email_verified": False})
    assert (browser.whoami(), promotions()) == (who, [])
    browse().client.post(link())
    assert addresses(who) == [(EMAIL, True)]
    come_by(browser, ANNA)
    assert browser.whoami() == member_of(who)


def test_without_an_address(browser: Browser, settings: Any) -> None:
    settings.ACCOUNT_SIGNUP_FIELDS = ["email", "password1"]
    who = guest(browser)
    come_by(browser, {"id": 7})
    assert browser.whoami() == member_of(who)
    assert get_user_model()._default_manager.get(pk=who["pk"]).email == ""
    assert addresses(who) == []
    assert not EmailAddress.objects.exists()
    assert mail.outbox == []


def test_calling_it_off_at_the_provider(browser: Browser) -> None:
    who, before = guest(browser), rows()
    come_by(browser, ANNA, action="cancel")
    assert (browser.whoami(), rows()) == (who, before)


def test_where_nobody_may_sign_up(browser: Browser, settings: Any) -> None:
    settings.ACCOUNT_SIGNUP_ENABLED = False
    who, before = guest(browser), rows()
    come_by(browser, ANNA)
    assert sign_up(browser).status_code == 200
    assert (browser.whoami(), rows()) == (who, before)


def test_a_member_connects_another_account(browser: Browser) -> None:
    sign_up(browser)
    who = browser.whoami()
    come_by(browser, ANNA, "connect")
    assert browser.whoami() == who
    assert SocialAccount.objects.get().user_id == EndUser.objects.get(pk=who["sub"]).user_id


# --- by a token of the provider -----------------------------------------------------------------------


def token(person: dict[str, Any], process: str = "login") -> dict[str, Any]:
    return {"provider": "dummy", "process": process, "token": {"id_token": json.dumps(person)}}


@pytest.mark.parametrize("process", ["login", "connect"])
def test_an_app_has_got_a_token(app: App, process: str) -> None:
    sub = app.become_guest()
    answer = app.call("POST", "/_allauth/app/v1/auth/provider/token", token(ANNA, process))
    assert answer.status_code == 200, answer.content
    assert answer.json()["data"]["user"]["id"] == str(EndUser.objects.get().user_id)
    assert app.sub() == sub
    assert promotions() == [("promoted", "allauth")]


def test_a_token_that_is_not_good_changes_nothing(app: App) -> None:
    sub = app.become_guest()
    before = rows()
    answer = app.call("POST", "/_allauth/app/v1/auth/provider/token", token({"id": "x"}))
    assert (answer.status_code, rows(), app.sub()) == (400, before, sub)


def test_a_page_of_its_own_has_got_a_token(browser: Browser) -> None:
    who = guest(browser)
    answer = browser.client.post("/_allauth/browser/v1/auth/provider/token", token(ANNA), content_type=JSON)
    assert answer.status_code == 200, answer.content
    assert browser.whoami() == member_of(who)


def test_a_page_of_its_own_asks_for_what_the_provider_did_not_say(browser: Browser) -> None:
    who = guest(browser)
    answer = browser.client.post("/_allauth/browser/v1/auth/provider/token", token({"id": 7}), content_type=JSON)
    assert answer.status_code == 401
    assert browser.whoami() == who
    answer = browser.client.post("/_allauth/browser/v1/auth/provider/signup", {"email": EMAIL}, content_type=JSON)
    assert answer.status_code == 200, answer.content
    assert browser.whoami() == member_of(who)
    assert addresses(who) == [(EMAIL, False)]
