"""GET|POST /oauth2/authorize with the signed request of a mobile application: a guest with a device key is promoted."""

from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
import time_machine
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from anonusers.models import Application, DeviceKey, EndUser, OneTimeToken, Promotion
from tests.anonusers.browsing import PASSWORD, follow, new_browser, send, text_of
from tests.anonusers.signing import rsa_key
from tests.conftest import make_application
from tests.protocols.authgear.keys import (
    NO_JWK,
    OTHER_KEY_ID,
    ask_to_promote,
    challenge,
    events_told,
    hint_of,
    log_in,
    logged_in,
    refuse,
    request,
    row_of,
    sample,
    sign,
    sub_with,
    to_promote,
)
from tests.protocols.authgear.sdk_samples import ALWAYS_WITH_JWK, SAMPLES
from tests.protocols.authgear.steps import (
    AUTHORIZE,
    CLAIM,
    authorization,
    authorize,
    claims_of,
    configure,
    exchange,
    exchanged,
    flow_of,
    get_tokens,
    login_hint,
    look_at_flow,
    make_user,
    nothing_changes,
    post_form,
    promotion_code,
    redirected,
    refresh,
    sign_in,
    userinfo,
    without_code,
)
from tests.protocols.authgear.test_authorize_session import cannot_go_on

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.database,
    pytest.mark.spec("authgear.md", "1.5"),
    pytest.mark.spec("authgear.md", "4.4"),
]

EMAIL = "ada@example.com"


@pytest.fixture
def guest(application: Application, browser: Client) -> EndUser:
    """Who has a device key, and a session opened with it."""
    logged_in(browser, request(browser))
    return EndUser.objects.get()


def keep_account(client: Client, page: Any, email: str = EMAIL) -> HttpResponse:
    """Fill in the form, and go where it leads."""
    return follow(client, send(client, page, login_id=email, password=PASSWORD))


# --- the whole promotion --------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_a_guest_of_each_sdk_keeps_the_account(application: Application, stranger: Client, name: str) -> None:
    phone, browser = stranger, new_browser()
    old = logged_in(phone, sample(phone, name))
    guest = EndUser.objects.get()
    jwt = sample(phone, name, action="promote", new=name in ALWAYS_WITH_JWK)

    page = follow(browser, ask_to_promote(browser, jwt))
    assert "Keep your account" in text_of(page)
    told = redirected(keep_account(browser, page))

    assert set(told) == {"code", "state"}
    new = exchanged(phone, told["code"])
    claims = claims_of(phone, new["id_token"], audience="web")
    assert (claims["sub"], claims["amr"]) == (str(guest.pk), ["pwd"])
    assert (claims[f"{CLAIM}is_anonymous"], claims[f"{CLAIM}can_reauthenticate"]) == (False, True)
    info = userinfo(phone, new["access_token"]).json()
    assert (info["sub"], info["email"]) == (str(guest.pk), EMAIL)
    assert EndUser.objects.count() == 1
    assert Promotion.objects.get().outcome == "promoted"
    # What the guest had is dead: sessions, and the key.
    assert userinfo(phone, old["access_token"]).status_code == 401
    assert refresh(phone, old["refresh_token"]).status_code == 400
    key = DeviceKey.objects.get()
    assert (key.end_user_id, key.key_id) == (None, SAMPLES[name][1])
    assert key.retired_at
    assert not OneTimeToken.objects.filter(used_at=None).exists(), "challenges and the code are spent"
    with nothing_changes():
        cannot_go_on(ask_to_promote(new_browser(), jwt))
        cannot_go_on(ask_to_promote(browser, jwt))


@pytest.mark.spec("authgear.md", "4.8")
def test_it_is_told_once(guest: EndUser, browser: Client, django_capture_on_commit_callbacks: Any) -> None:
    with events_told(django_capture_on_commit_callbacks) as told:
        tab = new_browser()
        exchanged(browser, redirected(keep_account(tab, follow(tab, ask_to_promote(tab, hint_of(browser)))))["code"])
    assert told == ["user.anonymous.promoted"]


@pytest.mark.spec("authgear.md", "4.7")
def test_neither_the_toggle_nor_the_policy_of_retired_keys_matters(guest: EndUser, browser: Client) -> None:
    configure(guest.project, anonymous_users_enabled=False, retired_device_keys="refuse")
    tab = new_browser()
    told = redirected(keep_account(tab, follow(tab, ask_to_promote(tab, hint_of(browser)))))
    assert userinfo(browser, exchanged(browser, told["code"])["access_token"]).json()["sub"] == str(guest.pk)


def test_any_application_of_the_project_may_ask(guest: EndUser, browser: Client) -> None:
    make_application(guest.project, "other")
    assert flow_of(ask_to_promote(browser, hint_of(browser), client_id="other"), "promote")


def test_where_the_address_is_taken_the_person_may_go_on_as_that_account(guest: EndUser, browser: Client) -> None:
    """`promotion_conflict: login`: the client gets another sub, and the guest's key is retired."""
    ada = make_user(guest.project)
    ada.user.set_password(PASSWORD)
    ada.user.save()
    configure(guest.project, promotion_conflict="login")
    tab = new_browser()
    page = follow(tab, ask_to_promote(tab, hint_of(browser)))
    page = follow(tab, send(tab, page, login_id=EMAIL, password=PASSWORD))
    response = send(tab, page, login_id=EMAIL, password=PASSWORD)
    while response.headers.get("Location", "").startswith("/"):
        response = follow(tab, response)
    assert exchanged(browser, redirected(response)["code"])
    assert Promotion.objects.get(pk=guest.pk).outcome == "superseded"
    assert DeviceKey.objects.get().end_user_id is None
    assert sub_with(browser, request(browser, header=NO_JWK)) not in (str(guest.pk), str(ada.pk))


# --- the challenge --------------------------------------------------------------------------------


@pytest.mark.spec("authgear.md", "3")
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_challenge_is_bound_to_the_guest_and_not_spent(
    guest: EndUser, browser: Client, stranger: Client, method: str
) -> None:
    token = challenge(browser)
    jwt = sign(token, header=NO_JWK, action="promote")
    before = row_of(token)
    other = request(browser, rsa_key(name="b"), key_id=OTHER_KEY_ID)
    logged_in(browser, other)

    def open_page(client: Client) -> HttpResponse:
        if method == "GET":
            return ask_to_promote(client, jwt)
        return post_form(client, AUTHORIZE, authorization(**to_promote(jwt)))

    assert flow_of(open_page(browser), "promote")

    bound = row_of(token)
    assert (before.end_user_id, bound.end_user_id) == (None, guest.pk)
    assert (bound.used_at, bound.expires_at) == (None, before.expires_at)
    with nothing_changes():
        for client in (browser, stranger, browser):
            flow = look_at_flow(client, flow_of(open_page(client), "promote"), guest.project)
            assert flow
            assert (flow.guest, flow.sub, flow.opens_cookie) == (str(guest.pk), None, False)
    # Nobody else can do anything with it, nor can the guest do anything else.
    refuse(browser, sign(token))
    refuse(browser, sign(token, rsa_key(name="b"), key_id=OTHER_KEY_ID))
    refuse(browser, sign(token, rsa_key(name="c"), key_id="a-new-key"))
    with nothing_changes():
        cannot_go_on(ask_to_promote(browser, sign(token, rsa_key(name="b"), key_id=OTHER_KEY_ID, action="promote")))
    assert logged_in(browser, request(browser, header=NO_JWK)), "by another challenge"


@pytest.mark.spec("authgear.md", "12")
@pytest.mark.parametrize("minutes", [4, 6, 20, 24])
def test_slow_people_do_not_fail(guest: EndUser, browser: Client, minutes: int) -> None:
    """Authgear's challenge must live until the end: five minutes."""
    tab = new_browser()
    now = timezone.now()
    page = follow(tab, ask_to_promote(tab, hint_of(browser)))
    with time_machine.travel(now + timedelta(minutes=minutes)):
        told = redirected(keep_account(tab, page))
        assert userinfo(browser, exchanged(browser, told["code"])["access_token"]).json()["sub"] == str(guest.pk)


def test_a_link_is_opened_within_five_minutes(guest: EndUser, browser: Client, stranger: Client) -> None:
    """Also again: an old link is not worth more for having been opened once."""
    jwt, unopened = hint_of(browser), hint_of(browser)
    assert flow_of(ask_to_promote(browser, jwt), "promote")
    with time_machine.travel(timezone.now() + timedelta(minutes=5, seconds=1)), nothing_changes():
        for link in (jwt, unopened):
            cannot_go_on(ask_to_promote(browser, link))
            cannot_go_on(ask_to_promote(stranger, link))


def test_a_second_browser_may_go_on_until_the_guest_is_promoted(guest: EndUser, browser: Client) -> None:
    jwt = hint_of(browser)
    first, second = new_browser(), new_browser()
    page_of_first, page_of_second = (follow(tab, ask_to_promote(tab, jwt)) for tab in (first, second))

    told = redirected(keep_account(second, page_of_second))

    assert exchanged(browser, told["code"])
    with nothing_changes():
        late = send(first, page_of_first, login_id="other@example.com", password=PASSWORD)
        assert late.status_code >= 400
        cannot_go_on(ask_to_promote(first, jwt))
        cannot_go_on(ask_to_promote(new_browser(), jwt))
    assert EndUser.objects.get(pk=guest.pk).login_ids.get().value == EMAIL


def test_two_links_are_two_challenges_and_one_promotion(guest: EndUser, browser: Client) -> None:
    links = [hint_of(browser) for _ in range(3)]
    tabs = [new_browser() for _ in range(2)]
    pages = [follow(tab, ask_to_promote(tab, link)) for tab, link in zip(tabs, links, strict=False)]
    assert redirected(keep_account(tabs[0], pages[0]))["code"]
    with nothing_changes():
        assert send(tabs[1], pages[1], login_id="b@example.com", password=PASSWORD).status_code >= 400
        for link in links:
            cannot_go_on(ask_to_promote(new_browser(), link))


# --- beside other things --------------------------------------------------------------------------


def test_a_promotion_code_beside_it_wins(guest: EndUser, browser: Client) -> None:
    """§1.5. What is not taken is not looked at, and stays good."""
    code = promotion_code(browser, get_tokens(browser)["refresh_token"])
    other = EndUser.objects.exclude(pk=guest.pk).get()
    token = challenge(browser)
    jwt = sign(token, header=NO_JWK, action="promote")
    with nothing_changes():
        response = authorize(browser, authorization(**to_promote(jwt, promotion_code=code)))
        flow = look_at_flow(browser, flow_of(response, "promote"), guest.project)
        cannot_go_on(authorize(browser, authorization(**to_promote(jwt, promotion_code="A" * 32))))
    assert flow
    assert flow.guest == str(other.pk)
    hint = login_hint("anonymous", jwt=jwt, promotion_code="")
    assert flow_of(ask_to_promote(browser, jwt, login_hint=hint), "promote"), "an empty one is none"
    assert row_of(token).end_user_id == guest.pk


def test_a_browser_that_is_signed_in_as_somebody_else(guest: EndUser, browser: Client) -> None:
    """The device's guest is kept, and the other one stays signed in: the application asked for no cookie."""
    ada = make_user(guest.project)
    tab = new_browser()
    sign_in(tab, ada)
    page = follow(tab, ask_to_promote(tab, hint_of(browser)))
    assert (page.status_code, EMAIL in text_of(page)) == (200, True), "the page says so"
    told = redirected(keep_account(tab, page, "bob@example.com"))
    assert userinfo(browser, exchanged(browser, told["code"])["access_token"]).json()["sub"] == str(guest.pk)
    assert userinfo(tab).json()["sub"] == str(ada.pk)


def test_the_session_of_the_browser_is_not_the_devices_guest(guest: EndUser, browser: Client) -> None:
    """Another guest in the browser: it is the key that decides who is promoted."""
    get_tokens(browser)
    other = EndUser.objects.exclude(pk=guest.pk).get()
    tab = new_browser()
    sign_in(tab, other)
    told = redirected(keep_account(tab, follow(tab, ask_to_promote(tab, hint_of(browser)))))
    assert userinfo(browser, exchanged(browser, told["code"])["access_token"]).json()["sub"] == str(guest.pk)
    assert EndUser.objects.get(pk=other.pk).is_guest


def test_what_was_signed_stays_in_no_url(guest: EndUser, browser: Client) -> None:
    """Referer headers, histories and logs of the pages that follow."""
    tab = new_browser()
    token = challenge(browser)
    jwt = sign(token, header=NO_JWK, action="promote")
    # The name with what stands around it: in random text these three letters come by chance.
    secret = (jwt, jwt.split(".")[1], token, "login_hint", "jwt=", '"jwt"')
    response = ask_to_promote(tab, jwt)
    assert response.headers["Referrer-Policy"] == "no-referrer"
    seen = [response.headers["Location"]]
    page = follow(tab, response)
    seen.append(page.content.decode())
    response = send(tab, page, login_id=EMAIL, password=PASSWORD)
    seen.append(response.headers["Location"])
    seen.append(follow(tab, response).headers["Location"])
    bad = ask_to_promote(tab, "A" * 10 + ".b.c")
    seen.append(bad.content.decode())
    for text in seen:
        assert not [word for word in secret if word in unquote(text)]
        assert "A" * 10 not in text


def test_the_code_is_the_promoted_users_own(guest: EndUser, browser: Client) -> None:
    """And where it goes wrong the key does not bring the guest back."""
    tab = new_browser()
    told = redirected(keep_account(tab, follow(tab, ask_to_promote(tab, hint_of(browser)))))
    assert exchange(browser, told["code"], code_verifier="A" * 43).status_code == 400
    assert log_in(browser, request(browser, header=NO_JWK)).status_code == 200
    assert EndUser.objects.filter(anonymous_identity__isnull=False).exclude(pk=guest.pk).count() == 1


def test_a_client_that_wants_a_cookie_gets_one(guest: EndUser, browser: Client) -> None:
    """No SDK asks so; the flags are those of any other promotion."""
    hint = to_promote(hint_of(browser))
    tab = new_browser()
    response = authorize(tab, without_code(login_hint=hint["login_hint"], prompt="login"))
    assert redirected(keep_account(tab, follow(tab, response))) == {"state": "s-1"}
    assert userinfo(tab).json()["sub"] == str(guest.pk)
