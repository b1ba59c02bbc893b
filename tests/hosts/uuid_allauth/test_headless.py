"""allauth's API: in a browser with its cookies, in an app with `X-Session-Token`. An app presents its guest by our
bearer token."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from anonusers.models import EndUser, Session
from tests.hosts.story import CHROME, EMAIL, HOST, PASSWORD, Browser, rows
from tests.hosts.uuid_allauth.visits import (
    JSON,
    App,
    addresses,
    browse,
    code,
    guest,
    keep_guests,
    known,
    link,
    member_of,
    promotions,
    sign_up,
)

pytestmark = pytest.mark.django_db

ANNA = {"email": EMAIL, "password": PASSWORD}


def ask(browser: Browser, path: str, body: Any, method: str = "POST") -> Any:
    call = getattr(browser.client, method.lower())
    return call(f"/_allauth/browser/v1/{path}", body, content_type=JSON)


def flows(answer: Any) -> set[str]:
    return {flow["id"] for flow in answer.json()["data"]["flows"]}


# --- in a browser -------------------------------------------------------------------------------------


def test_to_the_api_a_guest_is_not_signed_in(browser: Browser) -> None:
    who = guest(browser)
    answer = browser.client.get("/_allauth/browser/v1/auth/session")
    assert answer.status_code == 401
    assert {"login", "signup", "login_by_code"} <= flows(answer)
    assert browser.whoami() == who


def test_a_guest_signs_up(browser: Browser) -> None:
    who = guest(browser)
    answer = ask(browser, "auth/signup", ANNA)
    assert (answer.status_code, answer.json()["data"]["user"]["id"]) == (200, who["pk"])
    assert browser.whoami() == member_of(who)
    assert promotions() == [("promoted", "allauth")]
    assert ask(browser, "auth/signup", ANNA | {"email": "b@example.com"}).status_code == 409


def test_a_sign_up_that_is_refused_changes_nothing(browser: Browser) -> None:
    who, before = guest(browser), rows()
    assert ask(browser, "auth/signup", ANNA | {"password": "short"}).status_code == 400
    known()
    before |= {"Person": before["Person"] + 1}
    assert ask(browser, "auth/signup", ANNA).status_code == 400
    assert (browser.whoami(), rows()) == (who, before)


def test_a_guest_confirms_the_address_by_code(browser: Browser, settings: Any) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    settings.ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
    who = guest(browser)
    answer = ask(browser, "auth/signup", ANNA)
    assert (answer.status_code, "verify_email" in flows(answer)) == (401, True)
    assert ask(browser, "auth/email/verify", {"key": "WRONG"}).status_code == 400
    assert (browser.whoami(), promotions()) == (who, [])
    assert ask(browser, "auth/email/verify", {"key": code()}).status_code == 200
    assert browser.whoami() == member_of(who)
    assert addresses(who) == [(EMAIL, True)]


def test_calling_it_off_keeps_the_guest(browser: Browser, settings: Any) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    settings.ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
    who = guest(browser)
    ask(browser, "auth/signup", ANNA)
    assert browser.client.delete("/_allauth/browser/v1/auth/session").status_code == 401
    assert browser.whoami() | {"basket": []} == who | {"basket": []}  # allauth's API ends Django's session


def test_a_guest_confirms_the_address_by_link(browser: Browser, settings: Any) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    who = guest(browser)
    ask(browser, "auth/signup", ANNA)
    key = link().rstrip("/").rpartition("/")[2]
    assert ask(browser, "auth/email/verify", {"key": key}).status_code == 401  # log in, please
    assert browser.whoami()["kind"] == "visitor"
    assert ask(browser, "auth/login", ANNA).status_code == 200
    assert browser.whoami() == member_of(who)


def test_a_guest_without_a_password(browser: Browser, settings: Any) -> None:
    settings.ACCOUNT_SIGNUP_FIELDS = ["email*"]
    settings.ACCOUNT_LOGIN_BY_CODE_REQUIRED = True
    who = guest(browser)
    assert ask(browser, "auth/signup", {"email": EMAIL}).status_code == 401
    assert browser.whoami() == who
    assert ask(browser, "auth/code/confirm", {"code": code()}).status_code == 200
    assert browser.whoami() == member_of(who)
    assert addresses(who) == [(EMAIL, True)]


def test_a_guest_logs_in_to_a_known_account(browser: Browser) -> None:
    person = known()
    guest(browser)
    assert ask(browser, "auth/login", ANNA).status_code == 200
    now = browser.whoami()
    assert (now["pk"], now["kind"], now["basket"]) == (str(person.pk), "member", ["apple"])
    assert promotions() == [("superseded", "host")]


def test_a_guest_logs_out(browser: Browser) -> None:
    guest(browser)
    assert browser.client.delete("/_allauth/browser/v1/auth/session").status_code == 401
    assert browser.whoami()["kind"] == "visitor"
    assert not Session.objects.filter(ended_at=None).exists()


def test_another_site_cannot_sign_a_guest_up(browser: Browser) -> None:
    """The API for apps takes no CSRF token, so our cookie counts for nothing there when another site sends it."""
    who = guest(browser)
    person = get_user_model()._default_manager.values().get(pk=who["pk"])
    answer = browser.client.post(
        "/_allauth/app/v1/auth/signup",
        ANNA,
        content_type=JSON,
        headers={"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    )
    assert answer.status_code == 200  # somebody who has nothing to do with the guest
    assert get_user_model()._default_manager.values().get(pk=who["pk"]) == person
    assert browser.whoami() == who


# --- in an app ----------------------------------------------------------------------------------------


def test_an_app_signs_its_guest_up(app: App) -> None:
    sub = app.become_guest()
    answer = app.call("POST", "/_allauth/app/v1/auth/signup", ANNA)
    assert (answer.status_code, answer.json()["data"]["user"]["id"]) == (200, str(EndUser.objects.get().user_id))
    assert app.session
    assert app.sub() == sub  # by the token that it had
    assert not EndUser.objects.get().is_guest
    session = app.call("GET", "/_allauth/app/v1/auth/session")
    assert (session.status_code, session.json()["meta"]["is_authenticated"]) == (200, True)


def test_an_app_presents_its_guest_by_our_cookie(browser: Browser) -> None:
    """Such as a web view: allauth looks at `X-Session-Token` only, and we at our cookie."""
    who = guest(browser)
    answer = browser.client.post("/_allauth/app/v1/auth/signup", ANNA, content_type=JSON)
    assert (answer.status_code, answer.json()["data"]["user"]["id"]) == (200, who["pk"])
    now = browser.whoami()
    assert (now["sub"], now["kind"]) == (who["sub"], "member")


def test_an_app_confirms_the_address_by_code(app: App, settings: Any) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    settings.ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
    sub = app.become_guest()
    assert app.call("POST", "/_allauth/app/v1/auth/signup", ANNA).status_code == 401
    assert (app.sub(), promotions()) == (sub, [])
    assert app.call("POST", "/_allauth/app/v1/auth/email/verify", {"key": "WRONG"}).status_code == 400
    answer = app.call("POST", "/_allauth/app/v1/auth/email/verify", {"key": code()})
    assert answer.status_code == 200, answer.content
    assert app.sub() == sub
    assert addresses({"sub": sub}) == [(EMAIL, True)]
    assert Session.objects.filter(ended_at=None).count() == 1


def test_the_mail_of_an_app_is_followed_elsewhere(app: App, settings: Any) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    sub = app.become_guest()
    app.call("POST", "/_allauth/app/v1/auth/signup", ANNA)
    browse().client.post(link())
    assert app.call("GET", "/whoami/").json()["kind"] == "visitor"  # the token of the guest has ended
    answer = app.call("POST", "/_allauth/app/v1/auth/login", ANNA)
    assert answer.json()["data"]["user"]["id"] == str(EndUser.objects.get(pk=sub).user_id)


def test_an_app_logs_in_to_a_known_account(app: App) -> None:
    person = known()
    sub = app.become_guest()
    answer = app.call("POST", "/_allauth/app/v1/auth/login", ANNA)
    assert (answer.status_code, answer.json()["data"]["user"]["id"]) == (200, str(person.pk))
    assert promotions() == [("superseded", "host")]
    assert not Session.objects.filter(end_user=sub, ended_at=None).exists()


def test_where_the_project_keeps_guests_an_app_has_both(app: App) -> None:
    known()
    keep_guests()
    sub = app.become_guest()
    app.call("POST", "/_allauth/app/v1/auth/login", ANNA)
    assert promotions() == []
    assert app.sub() == sub
    assert app.call("GET", "/_allauth/app/v1/auth/session").status_code == 200


def test_the_session_of_an_app_goes_before_its_guest(app: App) -> None:
    """A member by `X-Session-Token` whose app holds on to the token of a guest."""
    known()
    keep_guests()
    app.become_guest()
    app.call("POST", "/_allauth/app/v1/auth/login", ANNA)
    assert app.call("POST", "/_allauth/app/v1/auth/signup", ANNA | {"email": "b@example.com"}).status_code == 409


def test_a_session_in_the_browser_is_nobodys_to_an_app(browser: Browser, app: App) -> None:
    sign_up(browser)
    app.become_guest()
    client = Client(HTTP_HOST=HOST, HTTP_USER_AGENT=CHROME)
    client.cookies["sessionid"] = browser.client.cookies["sessionid"].value
    answer = client.get("/_allauth/app/v1/auth/session", headers={"Authorization": f"Bearer {app.bearer}"})
    assert answer.status_code == 401
