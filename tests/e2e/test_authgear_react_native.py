"""The unmodified @authgear/react-native, with Node as its phone, our own pages and a real Chromium."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, unquote, urlencode, urlsplit
from urllib.request import urlopen
from uuid import UUID

import jwt
import pytest
from django.utils import timezone

from anonusers import keypairs
from anonusers.models import AnonymousIdentity, DeviceKey, EndUser, OneTimeToken, Project, Promotion, Session
from tests.conftest import make_application
from tests.e2e.conftest import SdkError
from tests.e2e.rn_driver import DPOP_KEY_ID, KEY_ID, REFRESH_TOKEN, Cancelled, Event, Phone, phone

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

REDIRECT_URI = "com.example.guestbook://authgear/callback"
EMAIL = "ada@example.com"
PASSWORD = "correct horse battery staple"
GRANT = "urn:authgear:params:oauth:grant-type:anonymous-request"
DEVICES = {
    "ios": {"name": "Ada’s iPhone", "model": "iPhone14,5", "system": "iOS 18.5", "app": "Gästebuch 1.2.0"},
    "android": {
        "name": "Ada’s Pixel 8",
        "model": "Google Pixel 8 Pro",
        "system": "Android 14",
        "app": "Gästebuch 1.2.0",
    },
}


@pytest.fixture
def new_phone(project: Project, server: str) -> Iterator[Callable[..., Phone]]:
    """A factory of phones: each is somebody's own, with the app on it and nothing in its storage."""
    make_application(project, "app", type="native", redirect_uris=[REDIRECT_URI], post_logout_redirect_uris=[])
    with ExitStack() as stack:

        def make(platform: str = "ios", *, dpop: bool = True) -> Phone:
            return stack.enter_context(phone(endpoint=server, client_id="app", platform=platform, dpop=dpop))

        yield make


@pytest.fixture(params=["ios", "android"])
def platform(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def mine(new_phone: Callable[..., Phone]) -> Phone:
    return new_phone()


@pytest.fixture
def page(new_context: Callable[..., Any]) -> Any:
    """The browser that the phone opens for a moment, with no cookies of before."""
    return new_context().new_page()


def rejection(phone: Phone, method: str = "authenticateAnonymously", *args: Any) -> SdkError:
    """What the promise was rejected with."""
    with pytest.raises(SdkError) as caught:
        phone.call(method, *args)
    return caught.value


def refused(phone: Phone) -> tuple[str, str | None, str | None]:
    error = rejection(phone)
    return error.cls, error.error, error.message


INVALID_GRANT = ("OAuthError", "invalid_grant", "invalid_grant: InvalidCredentials")


def everything() -> list[Any]:
    """Whoever there is, with their keys and sessions. What is refused leaves no trace here."""
    tables = (EndUser, AnonymousIdentity, DeviceKey, Session, Promotion)
    return [sorted(table.objects.values_list(), key=str) for table in tables]


def signed_requests(phone: Phone) -> list[str]:
    """Those that went to the token endpoint since somebody looked last."""
    forms = [parse_qs(request["body"]) for request in phone.do("requests") if request["url"].endswith("/oauth2/token")]
    return [form["jwt"][0] for form in forms if form["grant_type"] == [GRANT]]


def open_promotion(page: Any, event: Event) -> None:
    shown = (event["event"], event["callbackURL"], event["prefersEphemeral"])
    assert shown == ("openAuthorizeURL", REDIRECT_URI, True)
    page.goto(event["url"])
    page.wait_for_url(re.compile("/promote[?]flow="))
    assert "jwt=" not in unquote(page.url)  # without the sign once in 13,000 times it would be the flow's id


def promote_on(page: Any, meanwhile: Callable[[], None] = lambda: None) -> Callable[[Event], str]:
    """Somebody who keeps their account with an address and a password."""

    def look(event: Event) -> str:
        open_promotion(page, event)
        meanwhile()
        page.locator("input[name=login_id]").fill(EMAIL)
        page.locator("input[name=password]").fill(PASSWORD)
        # The browser itself must try to go there: its content security policy has a say in that.
        with page.expect_request(lambda request: request.url.startswith(REDIRECT_URI)) as redirect:
            page.locator("button[type=submit]").first.click()
        return str(redirect.value.url)

    return look


def promote(phone: Phone, page: Any) -> dict[str, Any]:
    phone.look = promote_on(page)
    info: dict[str, Any] = phone.call("promoteAnonymousUser", {"redirectURI": REDIRECT_URI})["userInfo"]
    return info


# --- one guest ----------------------------------------------------------------------------------------------------


@pytest.mark.spec("authgear.md", "4.2")
def test_a_guest_logs_out_and_in_again(new_phone: Callable[..., Phone], platform: str) -> None:
    mine = new_phone(platform)

    info = mine.authenticate()

    assert (info["isAnonymous"], info["isVerified"], info["canReauthenticate"]) == (True, False, False)
    [end_user] = EndUser.objects.all()
    assert (UUID(info["sub"]), end_user.is_guest) == (end_user.id, True)
    [key] = DeviceKey.objects.all()
    assert (key.key_id, key.end_user_id, key.retired_at) == (mine.key_id, end_user.id, None)
    assert mine.key_id == (str(UUID(key.key_id)).upper() if platform == "ios" else str(UUID(key.key_id)))
    assert mine.call("fetchUserInfo")["sub"] == info["sub"]

    mine.call("logout")

    assert mine.state == "NO_SESSION"
    assert Session.objects.get().ended_at is not None
    assert mine.authenticate()["sub"] == info["sub"]
    assert [EndUser.objects.count(), DeviceKey.objects.count(), Session.objects.count()] == [1, 1, 2]
    assert Session.objects.filter(ended_at=None, amr="pop").count() == 1
    headers = [jwt.get_unverified_header(text) for text in signed_requests(mine)]
    assert [sorted(header) for header in headers] == [["alg", "jwk", "kid", "typ"], ["alg", "kid", "typ"]]


def test_two_phones_are_two_guests(new_phone: Callable[..., Phone]) -> None:
    subs = {new_phone(platform).authenticate()["sub"] for platform in ("ios", "android")}

    assert len(subs) == EndUser.objects.count() == DeviceKey.objects.count() == 2


def test_when_the_app_is_started_again_the_guest_is_still_the_same(
    new_phone: Callable[..., Phone], platform: str
) -> None:
    mine = new_phone(platform)
    sub = mine.authenticate()["sub"]
    assert Session.objects.get().device == {}  # the SDK does not say it yet
    before = mine.storage[REFRESH_TOKEN]

    mine.do("restart")

    assert (mine.state, mine.do("state")["accessToken"]) == ("AUTHENTICATED", None)
    assert mine.call("fetchUserInfo")["sub"] == sub
    session = Session.objects.get()
    assert (session.refresh_generation, session.device) == (1, DEVICES[platform])
    assert mine.storage[REFRESH_TOKEN] != before
    assert mine.authenticate()["sub"] == sub
    assert EndUser.objects.count() == 1


def test_the_access_token_is_renewed_when_its_time_is_up(new_phone: Callable[..., Phone]) -> None:
    mine = new_phone(dpop=False)  # a DPoP proof would be of half an hour ahead of our time
    sub = mine.authenticate()["sub"]
    first = mine.do("state")["accessToken"]
    mine.call("refreshAccessTokenIfNeeded")
    assert mine.do("state")["accessToken"] == first  # there was no need

    mine.do("setClockAhead", 1800)
    mine.call("refreshAccessTokenIfNeeded")

    assert mine.do("state")["accessToken"] not in (first, None)
    assert mine.state == "AUTHENTICATED"
    assert mine.call("fetchUserInfo")["sub"] == sub
    assert Session.objects.get().refresh_generation == 1


@pytest.mark.parametrize("seconds", [-240, 240], ids=["slow", "fast"])
def test_a_clock_that_is_wrong_by_minutes_does_not_matter(mine: Phone, seconds: int) -> None:
    mine.do("setClockAhead", seconds)
    sub = mine.authenticate()["sub"]
    mine.do("restart")
    assert mine.call("fetchUserInfo")["sub"] == sub
    assert mine.authenticate()["sub"] == sub


@pytest.mark.spec("authgear.md", "1.10")
def test_an_id_token_can_be_had(mine: Phone, server: str) -> None:
    sub = mine.authenticate()["sub"]

    mine.call("refreshIDToken")

    state = mine.do("state")
    claims = jwt.decode(state["idToken"], options={"verify_signature": False})
    assert (claims["iss"], claims["aud"], claims["sub"]) == (server, ["app"], sub)
    assert claims["https://authgear.com/claims/user/is_anonymous"] is True
    assert state["canReauthenticate"] is False
    error = rejection(mine, "reauthenticate", {"redirectURI": REDIRECT_URI})
    assert "canReauthenticate() returns true" in str(error.message)


def test_a_dead_session_is_no_obstacle(mine: Phone) -> None:
    """The SDK sends the access token of before even when it asks for a challenge."""
    sub = mine.authenticate()["sub"]
    Session.objects.update(ended_at=timezone.now())

    assert mine.authenticate()["sub"] == sub

    Session.objects.update(ended_at=timezone.now())
    mine.do("restart")  # now it refreshes first, and that fails
    assert mine.authenticate()["sub"] == sub
    assert [EndUser.objects.count(), Session.objects.filter(ended_at=None).count()] == [1, 1]


# --- two at once --------------------------------------------------------------------------------------------------


def test_two_logins_at_once_are_the_same_guest(mine: Phone) -> None:
    sub = mine.authenticate()["sub"]
    mine.do("restart", 1)
    mine.result(mine.start("fetchUserInfo", container=1))  # so that it need not refresh first
    mine.do("meet", "/oauth2/token", 4)

    logins = [mine.start("authenticateAnonymously", container=index) for index in (0, 1, 0, 1)]

    assert {mine.result(login)["userInfo"]["sub"] for login in logins} == {sub}
    assert [EndUser.objects.count(), DeviceKey.objects.count()] == [1, 1]
    assert Session.objects.filter(ended_at=None).count() == 5


def test_two_sign_ups_at_once_leave_one_that_stays(mine: Phone) -> None:
    """Each has made a key of its own before the other is stored: that is the SDK's to know."""
    mine.do("restart", 1)
    mine.do("meet", "/oauth2/token", 2)
    logins = [mine.start("authenticateAnonymously", container=index) for index in (0, 1)]
    subs = {mine.result(login)["userInfo"]["sub"] for login in logins}
    assert len(subs) == EndUser.objects.count() == DeviceKey.objects.count() == 2

    stays = str(DeviceKey.objects.get(key_id=mine.key_id).end_user_id)

    assert [mine.authenticate()["sub"] for _ in range(2)] == [stays, stays]
    assert EndUser.objects.count() == 2


def test_calls_at_once_that_all_refresh_keep_the_session(mine: Phone) -> None:
    sub = mine.authenticate()["sub"]
    mine.do("restart")
    mine.do("restart", 1)
    mine.do("meet", "/oauth2/token", 2)  # one of each container

    calls = [mine.start("fetchUserInfo", container=index) for index in (0, 1, 0, 1)]

    assert {mine.result(call)["sub"] for call in calls} == {sub}
    mine.do("restart")
    assert mine.call("fetchUserInfo")["sub"] == sub
    assert Session.objects.get().ended_at is None


# --- promotion ----------------------------------------------------------------------------------------------------


@pytest.mark.spec("authgear.md", "4.4")
def test_a_guest_keeps_the_account(new_phone: Callable[..., Phone], platform: str, page: Any) -> None:
    mine = new_phone(platform)
    sub = mine.authenticate()["sub"]
    key_id, session = mine.key_id, Session.objects.get()

    info = promote(mine, page)

    assert (info["sub"], info["isAnonymous"], info["email"]) == (sub, False, EMAIL)
    assert (EndUser.objects.count(), Promotion.objects.get().outcome) == (1, "promoted")
    assert not AnonymousIdentity.objects.exists()
    session.refresh_from_db()
    assert session.ended_at is not None
    [key] = DeviceKey.objects.all()
    assert (key.key_id, key.end_user_id, key.revoked_at) == (key_id, None, None)
    assert key.retired_at is not None
    assert not OneTimeToken.objects.filter(purpose="anonymous_request", used_at=None).exists()
    assert mine.key_id is None
    assert mine.call("fetchUserInfo")["sub"] == sub
    mine.do("restart")
    assert mine.call("fetchUserInfo")["sub"] == sub

    # Who plays on as a guest now is a new one, with a new key; the SDK just forgets the session.
    guest = mine.authenticate()
    assert (guest["sub"] != sub, guest["isAnonymous"]) == (True, True)
    assert mine.key_id not in (None, key_id)


@pytest.mark.spec("authgear.md", "12")
def test_a_retired_key_leads_to_a_new_guest(mine: Phone, page: Any) -> None:
    """A backup brought it back, or the app was closed before the SDK could forget it."""
    sub = mine.authenticate()["sub"]
    key_id = mine.key_id
    promote(mine, page)
    mine.do("store", KEY_ID, key_id)

    info = mine.authenticate()

    assert (info["sub"] != sub, info["isAnonymous"]) == (True, True)
    assert mine.authenticate()["sub"] == info["sub"]
    key = DeviceKey.objects.get()
    assert (key.key_id, str(key.end_user_id), key.retired_at) == (key_id, info["sub"], None)
    assert EndUser.objects.count() == 2


def test_a_retired_key_is_refused_if_the_project_says_so(mine: Phone, page: Any, project: Project) -> None:
    project.retired_device_keys = Project.RetiredDeviceKeys.REFUSE
    project.save(update_fields=["retired_device_keys", "updated_at"])
    sub = mine.authenticate()["sub"]
    key_id = mine.key_id
    promote(mine, page)
    mine.do("store", KEY_ID, key_id)
    before = everything()

    assert refused(mine) == INVALID_GRANT

    assert everything() == before
    assert mine.call("fetchUserInfo")["sub"] == sub, "the session of the promoted user is as it was"


def test_who_changes_their_mind_is_still_the_guest(mine: Phone, page: Any) -> None:
    sub = mine.authenticate()["sub"]
    before = everything()

    def look(event: Event) -> str:
        open_promotion(page, event)
        raise Cancelled

    mine.look = look
    assert rejection(mine, "promoteAnonymousUser", {"redirectURI": REDIRECT_URI}).cls == "CancelError"

    assert everything() == before
    assert mine.call("fetchUserInfo")["isAnonymous"] is True
    assert promote(mine, page)["sub"] == sub, "and may change it again"


def test_slow_people_do_not_fail(mine: Phone, page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the phone signed is good for a minute, and the challenge in it for five. The page is good for longer."""
    sub = mine.authenticate()["sub"]

    def time_passes() -> None:
        OneTimeToken.objects.filter(purpose="anonymous_request").update(expires_at=timezone.now())
        monkeypatch.setattr(keypairs, "CLOCK_SKEW", -3600)

    mine.look = promote_on(page, time_passes)
    info = mine.call("promoteAnonymousUser", {"redirectURI": REDIRECT_URI})["userInfo"]

    assert (info["sub"], info["isAnonymous"]) == (sub, False)


def test_the_link_is_good_for_one_promotion(mine: Phone, page: Any, new_context: Callable[..., Any]) -> None:
    """Somebody has read the address over the guest's shoulder."""
    mine.authenticate()
    links = []
    look = promote_on(page)

    def noting(event: Event) -> str:
        links.append(event["url"])
        return look(event)

    mine.look = noting
    mine.call("promoteAnonymousUser", {"redirectURI": REDIRECT_URI})
    before = everything()

    thief = new_context().new_page()
    response = thief.goto(links[0])

    assert response.status == 400
    assert thief.locator("input[name=password]").count() == 0
    assert everything() == before


@pytest.mark.spec("authgear.md", "1.14")
def test_the_settings_page_opens_signed_in(
    mine: Phone, page: Any, server: str, new_context: Callable[..., Any]
) -> None:
    mine.authenticate()
    promote(mine, page)
    web_view = new_context().new_page()
    opened = []

    def look(event: Event) -> None:
        opened.append((event["event"], parse_qs(urlsplit(event["url"]).query)))
        web_view.goto(event["url"])
        web_view.wait_for_url(re.compile(f"^{server}/settings"))

    mine.look = look
    mine.call("open", "/settings")

    [(event, query)] = opened
    assert (event, query["response_type"], query["prompt"]) == ("openURL", ["code"], ["none"])
    assert EMAIL in web_view.content()
    assert "app_session" in {cookie["name"] for cookie in web_view.context.cookies()}
    mine.call("logout")
    web_view.reload()
    assert EMAIL not in web_view.content(), "it ends with the app's session"


# --- who is not let in --------------------------------------------------------------------------------------------


@pytest.mark.spec("authgear.md", "4.7")
def test_the_toggle_keeps_everybody_out_who_has_no_session(
    mine: Phone, new_phone: Callable[..., Phone], project: Project
) -> None:
    sub = mine.authenticate()["sub"]
    project.anonymous_users_enabled = False
    project.save(update_fields=["anonymous_users_enabled", "updated_at"])
    before = everything()

    error = rejection(new_phone("android"))
    assert (error.cls, error.error) == ("OAuthError", "unauthorized_client")
    assert rejection(mine).error == "unauthorized_client"

    assert everything() == before
    assert mine.call("fetchUserInfo")["sub"] == sub
    project.anonymous_users_enabled = True
    project.save(update_fields=["anonymous_users_enabled", "updated_at"])
    assert mine.authenticate()["sub"] == sub


@pytest.mark.spec("authgear.md", "12")
def test_a_disabled_guest_is_out_until_enabled_again(mine: Phone) -> None:
    sub = mine.authenticate()["sub"]
    key_id = mine.key_id
    EndUser.objects.update(disabled_at=timezone.now())
    before = everything()

    error = rejection(mine, "fetchUserInfo")
    assert (error.cls, error.error) == ("OAuthError", "invalid_grant")
    assert (mine.state, mine.storage) == ("NO_SESSION", {KEY_ID: key_id})
    assert rejection(mine).error == "invalid_grant"

    assert everything() == before
    EndUser.objects.update(disabled_at=None)
    assert mine.authenticate()["sub"] == sub


def test_another_key_under_the_same_id_is_refused(mine: Phone) -> None:
    """When the phone has lost its key, the SDK makes another under the ID of before, and sends it along."""
    mine.authenticate()
    mine.do("loseKey", "anonymous", mine.key_id)
    mine.do("requests")
    before = everything()

    assert refused(mine) == INVALID_GRANT

    [request] = signed_requests(mine)
    header = jwt.get_unverified_header(request)
    assert header["kid"] == header["jwk"]["kid"] == mine.key_id
    assert everything() == before
    assert refused(mine) == INVALID_GRANT, "and so for ever, unless the app forgets the ID"
    mine.do("store", KEY_ID, None)
    assert mine.authenticate()["isAnonymous"] is True
    assert EndUser.objects.count() == 2


# --- DPoP ---------------------------------------------------------------------------------------------------------


def proofs(phone: Phone) -> list[tuple[str, str, str | None]]:
    """Method, path and key of what was sent since somebody looked last."""
    sent = [(one["method"], urlsplit(one["url"]).path, one["headers"].get("dpop")) for one in phone.do("requests")]
    return [(method, path, jwt.get_unverified_header(proof)["kid"] if proof else None) for method, path, proof in sent]


@pytest.mark.spec("authgear.md", "2.5")
def test_tokens_are_bound_to_the_phone(mine: Phone, server: str, page: Any) -> None:
    sub = mine.authenticate()["sub"]
    kid = mine.storage[DPOP_KEY_ID]
    assert proofs(mine) == [
        ("GET", "/.well-known/openid-configuration", kid),
        ("POST", "/oauth2/challenge", kid),
        ("POST", "/oauth2/token", kid),
        ("GET", "/oauth2/userinfo", kid),
    ]
    bound = Session.objects.get()
    assert re.fullmatch(r"[-\w]{43}", bound.dpop_jkt, re.ASCII)

    # Somebody has read the app's storage, but the keys are elsewhere.
    form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": mine.storage[REFRESH_TOKEN]}
    before = everything()
    with pytest.raises(HTTPError) as caught:
        urlopen(f"{server}/oauth2/token", urlencode(form).encode())
    with caught.value as answer:
        assert (answer.code, json.load(answer)["error"]) == (400, "invalid_dpop_proof")
    assert everything() == before

    mine.do("restart")
    assert mine.call("fetchUserInfo")["sub"] == sub
    mine.call("refreshIDToken")
    bound.refresh_from_db()
    assert (bound.refresh_generation, bound.ended_at) == (1, None)
    assert json.loads(mine.do("fetch", f"{server}/oauth2/userinfo")["body"])["sub"] == sub

    assert promote(mine, page)["sub"] == sub
    assert Session.objects.get(kind="token", ended_at=None).dpop_jkt == bound.dpop_jkt
    mine.do("restart")
    assert mine.call("fetchUserInfo")["sub"] == sub


def test_the_next_session_may_have_another_dpop_key(mine: Phone) -> None:
    sub = mine.authenticate()["sub"]
    kid = mine.storage[DPOP_KEY_ID]
    mine.call("logout")
    assert DPOP_KEY_ID not in mine.storage

    assert mine.authenticate()["sub"] == sub

    assert mine.storage[DPOP_KEY_ID] != kid
    assert len(set(Session.objects.values_list("dpop_jkt", flat=True))) == 2


def test_who_lost_the_dpop_key_logs_in_again(mine: Phone) -> None:
    """The SDK makes another in silence; it must hear `invalid_grant`, else its session stays and every call fails."""
    sub = mine.authenticate()["sub"]
    mine.do("loseKey", "dpop", mine.storage[DPOP_KEY_ID])
    mine.do("restart")

    assert mine.authenticate()["sub"] == sub

    assert EndUser.objects.count() == 1
    mine.do("restart")
    assert mine.call("fetchUserInfo")["sub"] == sub


def test_a_phone_without_dpop_is_served(new_phone: Callable[..., Phone], page: Any) -> None:
    mine = new_phone("android", dpop=False)
    sub = mine.authenticate()["sub"]
    assert {kid for _, _, kid in proofs(mine)} == {None}
    mine.do("restart")
    assert mine.call("fetchUserInfo")["sub"] == sub
    assert promote(mine, page)["sub"] == sub
    assert set(Session.objects.values_list("dpop_jkt", flat=True)) == {""}
