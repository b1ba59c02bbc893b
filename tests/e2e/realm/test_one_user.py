"""One person, two unmodified SDKs on one page: realm-web and @authgear/web. One user, with one id in each dialect.

A promotion ends every session of before, also that of the other SDK: whoever had copied a guest's tokens must not come
along. The app comes back by another exchange, as docs/howto/token-exchange.md says.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest

from anonusers.models import EndUser, Promotion, RealmUser, Session
from tests.e2e.realm.conftest import APP, facts, package_of
from tests.e2e.realm.recorder import Recorder

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.spec("RFC 8693", "2")]

EMAIL = "ada@example.com"
PASSWORD = "correct horse battery staple"

# What an app has in a script of its own.
HELPERS = """({ base, app }) => {
  const sdk = authgear.default;
  window.realm = new Realm.App({ id: app, baseUrl: base });
  window.start = () => sdk.configure({ endpoint: base, clientID: "sdk-refresh-token", sessionType: "refresh_token" });
  window.toAuthgear = async () => {
    const response = await fetch(`${base}/oauth2/token`, {
      method: "POST",
      body: new URLSearchParams({
        grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
        client_id: "sdk-refresh-token",
        subject_token: realm.currentUser.accessToken,
        subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
      }),
    });
    const tokens = await response.json();
    localStorage.setItem("authgear_default_refreshToken", tokens.refresh_token);
    await start();
  };
  window.toRealm = async () => {
    await sdk.refreshAccessTokenIfNeeded();
    return realm.logIn(Realm.Credentials.jwt(sdk.accessToken));
  };
  window.told = ({ id, state, identities, profile }) =>
    ({ id, state, types: identities.map((one) => one.providerType), email: profile.email ?? null });
}"""


@pytest.fixture
def page(recorder: Recorder, new_context: Callable[..., Any], sdk_origin: str) -> Any:
    package_of("realm-web 2.0.1")
    page = new_context().new_page()
    return opened(page, recorder, sdk_origin)


def opened(page: Any, recorder: Recorder, sdk_origin: str) -> Any:
    if not page.url.startswith(f"{sdk_origin}/"):
        page.goto(f"{sdk_origin}/")
    # What the server says of itself: tokens are for that origin.
    page.evaluate(HELPERS, {"base": recorder.home, "app": APP})
    return page


def promote_by_hosted_page(page: Any, recorder: Recorder, sdk_origin: str) -> dict[str, Any]:
    page.evaluate(f"void authgear.default.startPromoteAnonymousUser({{redirectURI: '{sdk_origin}/'}})")
    page.wait_for_url(re.compile("/promote[?]flow="))
    page.locator("input[name=login_id]").fill(EMAIL)
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("button[type=submit]").first.click()
    page.wait_for_url(re.compile(f"^{sdk_origin}/[?]"))
    opened(page, recorder, sdk_origin)
    page.evaluate("start()")
    info: dict[str, Any] = page.evaluate(
        "authgear.default.finishPromoteAnonymousUser().then(({ userInfo }) => userInfo)"
    )
    return info


def live_sessions() -> list[str]:
    return sorted(session.application.client_id for session in Session.objects.in_full().filter(ended_at=None))


def test_a_guest_of_realm_web_is_promoted_on_the_hosted_page(page: Any, recorder: Recorder, sdk_origin: str) -> None:
    guest = page.evaluate("realm.logIn(Realm.Credentials.anonymous()).then(told)")
    assert (guest["state"], guest["types"], guest["email"]) == ("active", ["anon-user"], None)
    sub = facts(guest["id"])["sub"]

    page.evaluate("toAuthgear()")
    info = page.evaluate("authgear.default.fetchUserInfo()")
    assert (info["sub"], info["isAnonymous"]) == (sub, True)
    assert page.evaluate("realm.currentUser.refreshProfile().then(() => realm.currentUser.state)") == "active"
    assert live_sessions() == [APP, "sdk-refresh-token"]

    info = promote_by_hosted_page(page, recorder, sdk_origin)
    assert (info["sub"], info["isAnonymous"], info["email"]) == (sub, False, EMAIL)
    # That of realm-web was one of before. It is still known there, until somebody asks with it.
    assert page.evaluate("realm.currentUser.id") == guest["id"]
    assert live_sessions() == ["sdk-refresh-token"]

    again = page.evaluate("toRealm().then(told)")
    assert again == {"id": guest["id"], "state": "active", "types": ["anon-user", "local-userpass"], "email": EMAIL}
    assert page.evaluate("realm.currentUser.refreshCustomData().then(() => realm.currentUser.state)") == "active"
    by_password = page.evaluate(
        "([email, password]) => realm.logIn(Realm.Credentials.emailPassword(email, password)).then(told)",
        [EMAIL, PASSWORD],
    )
    assert by_password == again
    assert page.evaluate("authgear.default.fetchUserInfo()")["sub"] == sub
    assert EndUser.objects.count() == RealmUser.objects.count() == Promotion.objects.count() == 1


def test_a_guest_of_authgear_is_linked_in_realm_web(page: Any, recorder: Recorder, sdk_origin: str) -> None:
    page.evaluate("start()")
    sub = page.evaluate("authgear.default.authenticateAnonymously().then(({ userInfo }) => userInfo.sub)")
    assert not RealmUser.objects.exists()

    guest = page.evaluate("toRealm().then(told)")
    assert (guest["state"], guest["types"], guest["email"]) == ("active", ["anon-user"], None)
    assert facts(guest["id"]) == {"sub": sub, "is_guest": True}
    assert live_sessions() == [APP, "sdk-refresh-token"]

    linked = page.evaluate(
        """async ([email, password]) => {
          await realm.emailPasswordAuth.registerUser({ email, password });
          await realm.currentUser.linkCredentials(Realm.Credentials.emailPassword(email, password));
          return told(realm.currentUser);
        }""",
        [EMAIL, PASSWORD],
    )
    assert linked == {"id": guest["id"], "state": "active", "types": ["anon-user", "local-userpass"], "email": EMAIL}
    assert live_sessions() == [APP], "the session that linked goes on, and no other"
    assert page.evaluate("authgear.default.fetchUserInfo().then(() => null, (error) => error.error)") == "invalid_grant"
    assert page.evaluate("authgear.default.sessionState") == "NO_SESSION"

    page.evaluate("toAuthgear()")
    info = page.evaluate("authgear.default.fetchUserInfo()")
    assert (info["sub"], info["isAnonymous"], info["email"]) == (sub, False, EMAIL)
    assert EndUser.objects.count() == RealmUser.objects.count() == Promotion.objects.count() == 1


def test_what_was_exchanged_before_a_promotion_is_dead_after_it(
    page: Any, recorder: Recorder, sdk_origin: str, new_context: Callable[..., Any]
) -> None:
    """Somebody who had copied the guest's access token has made a session of their own from it."""
    page.evaluate("realm.logIn(Realm.Credentials.anonymous()).then(told)")
    token = page.evaluate("realm.currentUser.accessToken")
    thief = opened(new_context().new_page(), recorder, sdk_origin)
    thief.evaluate("token => { window.realm = { currentUser: { accessToken: token } }; return toAuthgear(); }", token)
    assert thief.evaluate("authgear.default.fetchUserInfo().then(({ isAnonymous }) => isAnonymous)") is True

    page.evaluate("toAuthgear()")
    promote_by_hosted_page(page, recorder, sdk_origin)

    assert thief.evaluate("authgear.default.fetchUserInfo().then(() => false, () => true)") is True
    assert thief.evaluate("authgear.default.sessionState") == "NO_SESSION"
    assert (
        thief.evaluate("toAuthgear().then(() => authgear.default.fetchUserInfo()).then(() => false, () => true)")
        is True
    )
