"""The unmodified @authgear/web in a real Chromium, on a page of another port of localhost."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import jwt
import pytest
from django.utils import timezone

from anonusers.models import AnonymousIdentity, Application, EndUser, Project, Session
from tests.e2e.conftest import Sdk, SdkError

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

CLAIM = "https://authgear.com/claims/user/"
KINDS = {"refresh_token": Session.Kind.TOKEN, "cookie": Session.Kind.COOKIE}


@pytest.fixture(params=["refresh_token", "cookie"])
def session_type(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sdk(new_sdk: Callable[..., Sdk], session_type: str) -> Sdk:
    return new_sdk(session_type)


def rejection(sdk: Sdk, expression: str = "sdk.authenticateAnonymously()") -> SdkError:
    """What the promise was rejected with."""
    with pytest.raises(SdkError) as caught:
        sdk.call(expression)
    return caught.value


def kill(sub: str) -> None:
    """End the user's sessions behind the SDK's back."""
    assert Session.objects.filter(end_user_id=sub).update(ended_at=timezone.now())


def switch(project: Project, *, on: bool) -> None:
    project.anonymous_users_enabled = on
    project.save(update_fields=["anonymous_users_enabled", "updated_at"])


# --- one guest ----------------------------------------------------------------------------------------------------


@pytest.mark.spec("authgear.md", "4.1")
def test_a_visitor_becomes_a_guest_with_one_call(sdk: Sdk, session_type: str) -> None:
    assert not EndUser.objects.exists()

    info = sdk.authenticate()

    assert info["isAnonymous"] is True
    assert info["isVerified"] is False
    assert info["canReauthenticate"] is False
    end_user = EndUser.objects.get()
    assert UUID(info["sub"]) == end_user.id
    assert end_user.is_guest
    session = Session.objects.get()
    assert (session.kind, session.end_user_id, session.ended_at) == (KINDS[session_type], end_user.id, None)
    assert len(sdk.session_cookies()) == (session_type == "cookie")


def test_after_a_reload_the_guest_is_still_the_same(sdk: Sdk) -> None:
    sub = sdk.authenticate()["sub"]

    info = sdk.reload().call("sdk.fetchUserInfo()")

    assert (info["sub"], info["isAnonymous"], info["isVerified"]) == (sub, True, False)
    assert Session.objects.count() == 1


def test_a_second_call_gives_the_same_guest(sdk: Sdk) -> None:
    sub = sdk.authenticate()["sub"]

    assert sdk.authenticate()["sub"] == sub
    assert sdk.reload().authenticate()["sub"] == sub

    assert EndUser.objects.count() == Session.objects.count() == 1


def test_two_visitors_are_two_guests(new_sdk: Callable[..., Sdk], session_type: str) -> None:
    subs = {new_sdk(session_type).authenticate()["sub"] for _ in range(2)}

    assert len(subs) == EndUser.objects.count() == 2


@pytest.mark.spec("authgear.md", "1.10")
def test_an_id_token_can_be_had_and_its_signature_is_good(sdk: Sdk, server: str) -> None:
    sub = sdk.authenticate()["sub"]
    assert sdk.call("sdk.getIDTokenHint()") is None

    sdk.call("sdk.refreshIDToken()")

    token = sdk.call("sdk.getIDTokenHint()")
    keys = jwt.PyJWKSet.from_dict(sdk.call(f"fetch('{server}/oauth2/jwks').then(answer => answer.json())"))
    header = jwt.get_unverified_header(token)
    claims = jwt.decode(token, keys[header["kid"]], ["RS256"], audience=sdk.client_id, issuer=server)
    assert (claims["sub"], claims[f"{CLAIM}is_anonymous"]) == (sub, True)
    assert sdk.call("sdk.canReauthenticate()") is False
    assert sdk.call("Math.abs(sdk.getAuthTime() - Date.now()) < 60000") is True


def test_fetch_carries_the_session(sdk: Sdk, server: str, session_type: str) -> None:
    sub = sdk.authenticate()["sub"]
    options = "{credentials: 'include'}" if session_type == "cookie" else "{}"

    answer = sdk.call(f"sdk.fetch('{server}/oauth2/userinfo', {options}).then(answer => answer.json())")

    assert (answer["sub"], answer[f"{CLAIM}is_anonymous"]) == (sub, True)


# --- tokens -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("session_type", ["refresh_token"], indirect=True)
def test_the_access_token_is_renewed_when_its_time_is_up(sdk: Sdk) -> None:
    sub = sdk.authenticate()["sub"]
    first = sdk.call("sdk.accessToken")
    sdk.call("sdk.refreshAccessTokenIfNeeded()")
    assert sdk.call("sdk.accessToken") == first  # there was no need

    sdk.page.clock.set_system_time(timezone.now() + timedelta(seconds=1800))
    sdk.call("sdk.refreshAccessTokenIfNeeded()")

    second = sdk.call("sdk.accessToken")
    assert second != first
    assert sdk.state == "AUTHENTICATED"
    assert sdk.call("sdk.fetchUserInfo()")["sub"] == sub
    assert Session.objects.get().refresh_generation == 1


@pytest.mark.parametrize("session_type", ["cookie"], indirect=True)
def test_a_cookie_needs_no_renewal(sdk: Sdk) -> None:
    sub = sdk.authenticate()["sub"]

    sdk.call("sdk.refreshAccessTokenIfNeeded()")

    assert sdk.call("sdk.accessToken ?? null") is None
    assert sdk.call("sdk.fetchUserInfo()")["sub"] == sub


@pytest.mark.parametrize("session_type", ["refresh_token"], indirect=True)
@pytest.mark.parametrize("rotation", [True, False], ids=["rotating", "fixed"])
def test_many_refreshes_keep_the_guest(sdk: Sdk, project: Project, rotation: bool) -> None:
    project.applications.update(refresh_token_rotation_enabled=rotation)
    sub = sdk.authenticate()["sub"]
    stored = "sdk.tokenStorage.getRefreshToken(sdk.name)"
    tokens = [sdk.call(stored)]

    for _ in range(4):
        sdk.call("sdk.refreshAccessToken()")
        tokens.append(sdk.call(stored))

    assert len(set(tokens)) == (5 if rotation else 1)
    assert sdk.reload().call("sdk.fetchUserInfo()")["sub"] == sub
    assert sdk.authenticate()["sub"] == sub
    assert Session.objects.get().ended_at is None


@pytest.mark.parametrize("session_type", ["refresh_token"], indirect=True)
def test_two_tabs_that_refresh_at_once_keep_the_session(
    sdk: Sdk, new_sdk: Callable[..., Sdk], session_type: str
) -> None:
    sub = sdk.authenticate()["sub"]
    tabs = [sdk, new_sdk(session_type, context=sdk.page.context)]

    for _round in range(3):
        start = sdk.page.evaluate("Date.now() + 300")
        for tab in tabs:
            tab.page.evaluate(
                """start => { window.done = new Promise(go => setTimeout(go, start - Date.now()))
                                .then(() => authgear.default.refreshAccessToken()); }""",
                start,
            )
        for tab in tabs:
            tab.call("window.done")

    assert [tab.state for tab in tabs] == ["AUTHENTICATED"] * 2
    assert [tab.call("sdk.fetchUserInfo()")["sub"] for tab in tabs] == [sub, sub]
    assert sdk.reload().call("sdk.fetchUserInfo()")["sub"] == sub
    session = Session.objects.get()
    assert session.ended_at is None
    assert 3 <= session.refresh_generation <= 7


# --- the end of a session -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("session_type", ["refresh_token"], indirect=True)
def test_logging_out_ends_the_session_on_the_server(sdk: Sdk, server: str) -> None:
    sub = sdk.authenticate()["sub"]
    access_token = sdk.call("sdk.accessToken")

    sdk.call(f"sdk.logout({{redirectURI: '{sdk.origin}/'}})")

    assert sdk.state == "NO_SESSION"
    assert Session.objects.get(end_user_id=sub).ended_at is not None
    status = f"fetch('{server}/oauth2/userinfo', {{headers: {{Authorization: 'Bearer {access_token}'}}}})"
    assert sdk.call(f"{status}.then(answer => answer.status)") == 401
    assert sdk.reload().state == "NO_SESSION"
    assert sdk.authenticate()["sub"] != sub


@pytest.mark.spec("authgear.md", "1.13")
@pytest.mark.parametrize("session_type", ["cookie"], indirect=True)
def test_logging_out_a_cookie_goes_through_the_server_and_comes_back(sdk: Sdk, server: str) -> None:
    sub = sdk.authenticate()["sub"]
    visited: list[str] = []
    sdk.page.on("request", lambda request: visited.append(request.url))

    with sdk.page.expect_navigation(url=f"{sdk.origin}/"):
        sdk.page.evaluate("uri => { authgear.default.logout({redirectURI: uri}); }", f"{sdk.origin}/")

    assert any(url.startswith(f"{server}/oauth2/end_session?post_logout_redirect_uri=") for url in visited)
    assert sdk.session_cookies() == []
    assert Session.objects.get(end_user_id=sub).ended_at is not None
    sdk.configure()
    error = rejection(sdk, "sdk.fetchUserInfo()")
    assert (error.cls, error.error) == ("OAuthError", "invalid_grant")
    assert sdk.state == "NO_SESSION"


@pytest.mark.parametrize("session_type", ["cookie"], indirect=True)
def test_logging_out_never_leads_to_a_page_that_is_not_registered(sdk: Sdk, server: str, stranger_origin: str) -> None:
    sdk.authenticate()

    with sdk.page.expect_navigation():
        sdk.page.evaluate("uri => { authgear.default.logout({redirectURI: uri}); }", f"{stranger_origin}/")

    assert not sdk.page.url.startswith(stranger_origin)
    assert sdk.page.url.startswith(server)


@pytest.mark.spec("authgear.md", "1.3")
def test_a_dead_session_makes_room_for_a_new_guest_at_the_second_call(sdk: Sdk, session_type: str) -> None:
    sub = sdk.authenticate()["sub"]
    kill(sub)
    sdk.reload()

    if session_type == "refresh_token":
        # The SDK has read the dead refresh token before its own refresh wipes it; the next call is clean.
        error = rejection(sdk)
        assert (error.cls, error.name, error.message) == ("ServerError", "Invalid", "invalid refresh token")
        assert sdk.state == "NO_SESSION"
        assert EndUser.objects.count() == 1

    assert sdk.authenticate()["sub"] != sub
    assert EndUser.objects.count() == 2


@pytest.mark.spec("authgear.md", "0.3")
def test_user_info_of_a_dead_session_wipes_it(sdk: Sdk) -> None:
    sub = sdk.authenticate()["sub"]
    kill(sub)

    error = rejection(sdk, "sdk.fetchUserInfo()")

    assert (error.cls, error.error) == ("OAuthError", "invalid_grant")
    assert sdk.state == "NO_SESSION"
    assert sdk.authenticate()["sub"] != sub
    assert EndUser.objects.count() == 2


# --- who is not let in --------------------------------------------------------------------------------------------


def test_a_regular_user_is_refused(sdk: Sdk) -> None:
    sub = sdk.authenticate()["sub"]
    AnonymousIdentity.objects.all().delete()

    error = rejection(sdk)

    assert (error.cls, error.name, error.reason) == ("ServerError", "Invalid", "Invalid")
    assert error.message == "user logged in as normal user"
    info = sdk.call("sdk.fetchUserInfo()")
    assert (info["sub"], info["isAnonymous"]) == (sub, False)
    assert (EndUser.objects.count(), Session.objects.filter(ended_at=None).count()) == (1, 1)


@pytest.mark.spec("authgear.md", "4.7")
def test_the_toggle_keeps_new_visitors_out_and_old_guests_in(
    sdk: Sdk, new_sdk: Callable[..., Sdk], session_type: str, project: Project
) -> None:
    sub = sdk.authenticate()["sub"]
    switch(project, on=False)

    visitor = new_sdk(session_type)
    error = rejection(visitor)

    assert (error.cls, error.name, error.reason) == ("ServerError", "Invalid", "Invalid")
    assert error.message == "anonymous user disallowed"
    assert EndUser.objects.count() == 1
    assert visitor.session_cookies() == []
    assert sdk.call("sdk.fetchUserInfo()")["sub"] == sub
    assert sdk.reload().call("sdk.fetchUserInfo()")["sub"] == sub
    assert sdk.authenticate()["sub"] == sub

    switch(project, on=True)
    assert visitor.authenticate()["sub"] != sub
    assert EndUser.objects.count() == 2


@pytest.mark.parametrize("session_type", ["refresh_token"], indirect=True)
def test_an_application_that_may_not_have_guests_is_told_so(sdk: Sdk, project: Project) -> None:
    project.applications.update(type=Application.Type.THIRD_PARTY_APP)

    error = rejection(sdk)

    assert (error.cls, error.name) == ("ServerError", "Invalid")
    assert not EndUser.objects.exists()


@pytest.mark.spec("authgear.md", "0.4")
def test_a_page_of_an_unknown_origin_gets_nothing(
    new_sdk: Callable[..., Sdk], session_type: str, stranger_origin: str, server: str
) -> None:
    stranger = new_sdk(session_type, origin=stranger_origin)

    error = rejection(stranger)

    assert (error.cls, error.message) == ("TypeError", "Failed to fetch")
    assert stranger.session_cookies() == []
    assert not EndUser.objects.exists()


@pytest.mark.parametrize("session_type", ["cookie"], indirect=True)
def test_a_page_of_an_unknown_origin_cannot_read_a_guest_who_visits_it(
    sdk: Sdk, new_sdk: Callable[..., Sdk], session_type: str, stranger_origin: str, server: str
) -> None:
    sub = sdk.authenticate()["sub"]
    stranger = new_sdk(session_type, context=sdk.page.context, origin=stranger_origin)

    assert rejection(stranger, "sdk.fetchUserInfo()").cls == "TypeError"
    assert rejection(stranger).cls == "TypeError"
    # What needs no preflight arrives, and changes nothing.
    blind = "{method: 'POST', mode: 'no-cors', credentials: 'include', body: '{\"session_type\":\"cookie\"}'}"
    assert stranger.call(f"fetch('{server}/api/anonymous_user/signup', {blind}).then(answer => answer.type)") == (
        "opaque"
    )

    assert EndUser.objects.count() == Session.objects.filter(ended_at=None).count() == 1
    assert sdk.call("sdk.fetchUserInfo()")["sub"] == sub
