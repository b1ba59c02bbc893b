"""dj-rest-auth registers by allauth's adapter."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from rest_framework.authtoken.models import Token

from tests.hosts.story import EMAIL, PASSWORD, Browser, rows
from tests.hosts.uuid_allauth.visits import App, addresses, browse, guest, link, member_of, promotions, sign_up

pytestmark = pytest.mark.django_db

ANNA = {"email": EMAIL, "password1": PASSWORD, "password2": PASSWORD}


def test_a_guest_by_cookie(browser: Browser) -> None:
    who = guest(browser)
    answer = browser.client.post("/rest/register/", ANNA)
    assert answer.status_code == 201, answer.content
    assert str(Token.objects.get(key=answer.json()["key"]).user_id) == who["pk"]
    assert browser.whoami() == member_of(who)
    assert promotions() == [("promoted", "allauth")]


def test_a_guest_by_bearer_token(app: App) -> None:
    sub = app.become_guest()
    assert app.call("POST", "/rest/register/", ANNA).status_code == 201
    assert app.sub() == sub
    assert (addresses({"sub": sub}), promotions()) == ([(EMAIL, False)], [("promoted", "allauth")])


def test_a_guest_whose_address_must_be_confirmed(browser: Browser, settings: Any) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    who = guest(browser)
    assert browser.client.post("/rest/register/", ANNA).status_code == 201
    assert browser.whoami() == who
    browse().client.post(link())
    assert addresses(who) == [(EMAIL, True)]


def test_a_registration_that_is_refused_changes_nothing(browser: Browser) -> None:
    sign_up(browse(), "b@example.com")
    who, before = guest(browser), rows()
    person = get_user_model()._default_manager.values().get(pk=who["pk"])
    for refused in ({"password1": "short", "password2": "short"}, {"password2": "another"}, {"email": "nowhere"}):
        assert browser.client.post("/rest/register/", ANNA | refused).status_code == 400
    assert (browser.whoami(), rows()) == (who, before)
    assert get_user_model()._default_manager.values().get(pk=who["pk"]) == person
