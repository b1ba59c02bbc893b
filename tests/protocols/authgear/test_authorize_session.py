"""GET|POST /oauth2/authorize for somebody who is signed in, or is to be: prompts, ages, hints, and the way back."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from anonusers import events
from anonusers.models import Application, EndUser, OneTimeToken, Project, Session
from tests.conftest import ORIGIN, make_application, make_project
from tests.protocols.authgear.conftest import HOST_A, HOST_B
from tests.protocols.authgear.steps import (
    AUTHORIZE,
    ENDINGS,
    FULL_ACCESS,
    REDIRECT_URI,
    SLEEPS,
    Ending,
    assert_page,
    assert_refused,
    authorization,
    authorize,
    be_authenticated,
    be_promoted,
    claims_of,
    configure,
    deactivate_host_user,
    delete_host_user,
    disable_end_user,
    exchanged,
    flow_of,
    get_cookie,
    get_tokens,
    login_hint,
    look_at_flow,
    make_user,
    nothing_changes,
    only_session,
    post_form,
    promotion_code,
    redirected,
    refreshed,
    sign_in,
    userinfo,
    without_code,
)

pytestmark = [pytest.mark.django_db, pytest.mark.spec("authgear.md", "1.5")]


@pytest.fixture
def ada(application: Application) -> EndUser:
    return make_user(application.project)


@pytest.fixture
def bob(application: Application) -> EndUser:
    return make_user(application.project, "bob@example.com")


def id_token_of(client: Client, end_user: EndUser) -> str:
    """An ID token as a client has it after a log in."""
    sign_in(client, end_user)
    token = exchanged(client, redirected(authorize(client, authorization(prompt="none")))["code"])["id_token"]
    client.cookies.clear()
    return token


# --- prompt=none ----------------------------------------------------------------------------------


@pytest.mark.spec("OpenID Connect Core", "3.1.2.6")
@pytest.mark.parametrize("make", [authorization, without_code], ids=["code", "none"])
def test_without_a_session_nobody_is_asked(application: Application, browser: Client, make: Any) -> None:
    with nothing_changes():
        assert_refused(authorize(browser, make(prompt="none")), "login_required", "authentication required")
        assert_refused(post_form(browser, AUTHORIZE, make(prompt="none")), "login_required")
    assert "sessionid" not in browser.cookies


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_dead_cookie_is_no_session(application: Application, browser: Client, ending: Ending) -> None:
    get_cookie(browser)
    ending(only_session())
    with nothing_changes():
        assert_refused(authorize(browser, authorization(prompt="none")), "login_required")


def test_a_session_is_answered_at_once(application: Application, browser: Client, ada: EndUser) -> None:
    """O29: no page, the same sub and the same auth_time."""
    session = sign_in(browser, ada, amr="pwd", authenticated_at=timezone.now() - timedelta(hours=3))
    for method in (browser.get, lambda path, data: post_form(browser, path, data)):
        told = redirected(method(AUTHORIZE, authorization(prompt="none", nonce="n-1")))
        assert set(told) == {"code", "state"}
        claims = claims_of(browser, exchanged(browser, told["code"])["id_token"], audience="web")
        assert claims["sub"] == str(ada.pk)
        assert claims["auth_time"] == int(session.auth_time.timestamp())
        assert (claims["amr"], claims["nonce"]) == (["pwd"], "n-1")


def test_response_type_none_brings_nothing_but_the_state(
    application: Application, browser: Client, ada: EndUser
) -> None:
    sign_in(browser, ada)
    with nothing_changes():
        assert redirected(authorize(browser, without_code(prompt="none"))) == {"state": "s-1"}
        assert redirected(authorize(browser, without_code(prompt="none", state=None))) == {}


def test_a_guest_who_is_there_is_told_of_when_nobody_may_be_asked(application: Application, browser: Client) -> None:
    get_cookie(browser)
    guest = only_session().end_user
    tokens = exchanged(browser, redirected(authorize(browser, authorization(prompt="none")))["code"])
    assert claims_of(browser, tokens["id_token"], audience="web")["sub"] == str(guest.pk)
    assert userinfo(browser, tokens["access_token"]).json()["https://authgear.com/claims/user/is_anonymous"] is True


def test_a_session_of_another_project_is_none(
    project_a: Project, project_b: Project, visit: Callable[..., Client]
) -> None:
    cookie = get_cookie(visit(HOST_A))
    response = authorize(visit(HOST_B), authorization(prompt="none"), HTTP_COOKIE=f"anonusers_session={cookie}")
    assert "error=login_required" in response.headers["Location"]


# --- without prompt, and with others --------------------------------------------------------------


def test_who_is_signed_in_is_not_asked(application: Application, browser: Client, ada: EndUser) -> None:
    sign_in(browser, ada)
    assert "code" in redirected(authorize(browser))
    assert redirected(authorize(browser, without_code())) == {"state": "s-1"}


@pytest.mark.parametrize("prompt", ["login", "select_account", "login consent", "consent login"])
def test_who_is_to_be_asked_is_asked(application: Application, browser: Client, ada: EndUser, prompt: str) -> None:
    sign_in(browser, ada)
    for make in (authorization, without_code):
        assert flow_of(authorize(browser, make(prompt=prompt)), "login")
    assert not OneTimeToken.objects.filter(purpose="authorization_code").exists()


@pytest.mark.parametrize("prompt", ["consent", "create", "nonsense"])
def test_other_prompts_ask_nothing(application: Application, browser: Client, ada: EndUser, prompt: str) -> None:
    sign_in(browser, ada)
    assert "code" in redirected(authorize(browser, authorization(prompt=prompt)))


def test_a_guest_who_wants_to_log_in_gets_the_log_in_page(application: Application, browser: Client) -> None:
    get_cookie(browser)
    for parameters in (authorization(), without_code(), authorization(prompt="login")):
        assert flow_of(authorize(browser, parameters), "login")
    assert userinfo(browser).status_code == 200, "and is still there"


# --- single sign-on -------------------------------------------------------------------------------

FLAGS: list[tuple[dict[str, str], bool]] = [
    ({}, True),
    ({"x_sso_enabled": "true"}, True),
    ({"x_sso_enabled": "false"}, False),
    ({"x_sso_enabled": "nonsense"}, False),
    ({"x_suppress_idp_session_cookie": "true"}, False),
    ({"x_suppress_idp_session_cookie": "false"}, True),
    ({"x_sso_enabled": "true", "x_suppress_idp_session_cookie": "true"}, True),
    ({"x_sso_enabled": "false", "x_suppress_idp_session_cookie": "true"}, False),
    ({"x_sso_enabled": "false", "x_suppress_idp_session_cookie": "false"}, False),
]


@pytest.mark.parametrize(("flags", "shared"), FLAGS, ids=str)
def test_the_flags_decide_whether_the_browsers_session_is_opened_and_counts(
    application: Application, browser: Client, ada: EndUser, flags: dict[str, str], shared: bool
) -> None:
    flow = look_at_flow(browser, flow_of(authorize(browser, authorization(**flags)), "login"), application.project)
    assert flow
    assert flow.opens_cookie is shared
    sign_in(browser, ada)
    assert (REDIRECT_URI in authorize(browser, authorization(**flags)).headers["Location"]) is shared
    assert "code" in redirected(authorize(browser, authorization(prompt="none", **flags)))


def test_a_client_that_gets_nothing_else_always_gets_the_cookie(application: Application, browser: Client) -> None:
    for flags, _shared in FLAGS:
        response = authorize(browser, without_code(**({"x_sso_enabled": None} | flags)))
        flow = look_at_flow(browser, flow_of(response, "login"), application.project)
        assert flow
        assert flow.opens_cookie


# --- max_age and id_token_hint --------------------------------------------------------------------


@pytest.mark.spec("authgear.md", "1.15")
@pytest.mark.parametrize(
    ("age", "max_age", "asked"), [(0, "0", True), (5, "10", False), (15, "10", True), (99, "999999999", False)]
)
def test_who_signed_in_too_long_ago_is_asked_again(
    application: Application, browser: Client, ada: EndUser, age: int, max_age: str, asked: bool
) -> None:
    sign_in(browser, ada, authenticated_at=timezone.now() - timedelta(seconds=age))
    response = authorize(browser, authorization(max_age=max_age))
    assert ("/login?" in response.headers["Location"]) is asked
    if not asked:
        assert "code" in redirected(response)


@pytest.mark.spec("OpenID Connect Core", "3.1.2.3")
def test_the_hinted_user_is_signed_in_silently_and_nobody_else(
    application: Application, browser: Client, ada: EndUser, bob: EndUser
) -> None:
    """E22."""
    of_ada, of_bob = id_token_of(browser, ada), id_token_of(browser, bob)
    sign_in(browser, ada)
    assert "code" in redirected(authorize(browser, authorization(prompt="none", id_token_hint=of_ada)))
    assert "code" in redirected(authorize(browser, authorization(id_token_hint=of_ada)))
    with nothing_changes():
        refusal = authorize(browser, authorization(prompt="none", id_token_hint=of_bob))
        assert_refused(refusal, "login_required")
    response = authorize(browser, authorization(id_token_hint=of_bob))
    flow = look_at_flow(browser, flow_of(response, "login"), application.project)
    assert flow
    assert flow.must_be == str(bob.pk)


def test_an_expired_hint_is_fine(application: Application, browser: Client, ada: EndUser) -> None:
    hint = id_token_of(browser, ada)
    sign_in(browser, ada)
    with time_machine.travel(timezone.now() + timedelta(days=20)):
        assert "code" in redirected(authorize(browser, authorization(prompt="none", id_token_hint=hint)))


@pytest.mark.parametrize("prompt", [None, "none", "login"])
@pytest.mark.parametrize("forge", ["garbage", "cut", "access token", "other project", "é"])
def test_a_forged_hint_is_refused(
    application: Application, browser: Client, ada: EndUser, prompt: str | None, forge: str, visit: Any
) -> None:
    hint = id_token_of(browser, ada)
    if forge == "other project":
        make_application(make_project("alpha", "a.localhost"), "web")
        hint = refreshed(visit(HOST_A), get_tokens(visit(HOST_A))["refresh_token"])["id_token"]
    elif forge == "access token":
        hint = get_tokens(browser)["access_token"]
    elif forge == "cut":
        hint = hint[:-8]
    else:
        hint = forge
    sign_in(browser, ada)
    with nothing_changes():
        response = authorize(browser, authorization(prompt=prompt, id_token_hint=hint))
        assert_refused(response, "invalid_request", "invalid id_token_hint")


def test_a_guest_cannot_authenticate_again(application: Application, browser: Client) -> None:
    """O30."""
    hint = refreshed(browser, get_tokens(browser)["refresh_token"])["id_token"]
    with nothing_changes():
        for more in ({}, {"max_age": "0"}, {"prompt": "login"}):
            assert_refused(authorize(browser, authorization(id_token_hint=hint, **more)), "login_required")


def test_reauthentication_is_of_the_same_person(
    application: Application, browser: Client, ada: EndUser, bob: EndUser
) -> None:
    hint = id_token_of(browser, ada)
    sign_in(browser, ada, authenticated_at=timezone.now() - timedelta(hours=1))
    parameters = authorization(scope=f"openid {FULL_ACCESS}", max_age="0", id_token_hint=hint)

    response = be_authenticated(browser, flow_of(authorize(browser, parameters), "login"), bob)
    assert redirected(response)["error"] == "login_required"

    response = be_authenticated(browser, flow_of(authorize(browser, parameters), "login"), ada, "otp")
    tokens = exchanged(browser, redirected(response)["code"])
    claims = claims_of(browser, tokens["id_token"], audience="web")
    assert (claims["sub"], claims["amr"]) == (str(ada.pk), ["otp"])
    assert timezone.now().timestamp() - claims["auth_time"] < 10
    assert "refresh_token" not in tokens


# --- login hints ----------------------------------------------------------------------------------

FILLED_IN: dict[str, tuple[str, str]] = {
    "an address": (login_hint("login_id", email="ada@example.com"), "ada@example.com"),
    "a phone number": (login_hint("login_id", phone="+49 30 1234567"), "+49 30 1234567"),
    "a user name": (login_hint("login_id", username="ada"), "ada"),
    "enforced": (login_hint("login_id", email="ada@example.com", enforce="true"), "ada@example.com"),
    "the address of two": (login_hint("login_id", username="ada", email="ada@example.com"), "ada@example.com"),
    "a plain one of OpenID Connect": ("ada@example.com", "ada@example.com"),
    "a URL of somebody else": ("https://example.com/login_hint?type=anonymous", ""),
    "the prefix in another case": ("HTTPS://authgear.com/login_hint?type=anonymous", ""),
    "nothing": ("", ""),
    "letters": ("ädä☃", "ädä☃"),
    "long": ("a" * 1000, "a" * 254),
}


@pytest.mark.parametrize(("hint", "filled"), FILLED_IN.values(), ids=FILLED_IN)
def test_a_login_id_is_filled_in(application: Application, browser: Client, hint: str, filled: str) -> None:
    """O33: hints that are not the SDKs' are a plain hint, never an error."""
    response = authorize(browser, authorization(login_hint=hint))
    flow = look_at_flow(browser, flow_of(response, "login"), application.project)
    assert flow
    if filled:
        assert flow.login_hint == filled
    assert "login_hint" not in flow.next, "it leaves the URL"
    assert flow.guest is None


BAD_HINTS = {
    "no type": "",
    "an empty type": "type=",
    "an unknown type": "type=oauth&alias=google",
    "anonymous with nothing": "type=anonymous",
    "anonymous with an empty code": "type=anonymous&promotion_code=",
    "the code of another type": "type=anonymous&app_session_token=x",
    "app session without token": "type=app_session_token",
    "login ID with nothing": "type=login_id&enforce=true",
    "another case": "type=Anonymous&promotion_code=x",
    "a fragment": "#type=anonymous&promotion_code=x",
    "endless": "&".join(f"a{number}=1" for number in range(50)),
    "garbage": "%%%&&&===",
    "anonymous with an empty jwt": "type=anonymous&jwt=",
    "the jwt of another type": "type=app_session_token&jwt=a.b.c",
}


@pytest.mark.parametrize("query", BAD_HINTS.values(), ids=BAD_HINTS)
@pytest.mark.parametrize("prompt", ["login", "none", None])
def test_a_hint_that_is_broken_is_refused_and_signs_nobody_in(
    application: Application, browser: Client, query: str, prompt: str | None
) -> None:
    """E27."""
    get_cookie(browser)
    hint = f"https://authgear.com/login_hint?{query}"
    with nothing_changes():
        assert_refused(authorize(browser, authorization(login_hint=hint, prompt=prompt)), "invalid_request")


@pytest.mark.parametrize("prompt", ["login", None])
@pytest.mark.parametrize("jwt", ["a.b.c", "x", "é☃", "a.b.c&jwt=x", "x" * 3000], ids=lambda jwt: jwt[:9])
def test_a_jwt_that_is_none_is_a_page_that_leads_back_and_signs_nobody_in(
    application: Application, browser: Client, jwt: str, prompt: str | None
) -> None:
    """E27."""
    get_cookie(browser)
    hint = f"https://authgear.com/login_hint?type=anonymous&jwt={jwt}"
    with nothing_changes():
        cannot_go_on(authorize(browser, authorization(login_hint=hint, prompt=prompt)))
        assert_refused(authorize(browser, authorization(login_hint=hint, prompt="none")), "login_required")


# --- promotion codes ------------------------------------------------------------------------------


def to_promote(code: str, **changes: Any) -> dict[str, str]:
    hint = login_hint("anonymous", promotion_code=code)
    flags = {"x_sso_enabled": "false", "x_suppress_idp_session_cookie": "true"}
    return authorization(**({"prompt": "login", "login_hint": hint} | flags | changes))


def cookie_promote(code: str, **changes: Any) -> dict[str, str]:
    return without_code(**({"prompt": "login", "login_hint": login_hint("anonymous", promotion_code=code)} | changes))


@pytest.mark.spec("RFC 9110", "9.2.1")
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_code_leads_to_the_page_and_is_not_spent(application: Application, browser: Client, method: str) -> None:
    """F12: whatever fetches the link spends nothing."""
    code = promotion_code(browser, get_tokens(browser)["refresh_token"])
    guest = only_session().end_user
    with nothing_changes():
        for _ in range(3):
            if method == "GET":
                response = authorize(browser, to_promote(code))
            else:
                response = post_form(browser, AUTHORIZE, to_promote(code))
            flow = look_at_flow(browser, flow_of(response, "promote"), application.project)
            assert flow
            assert (flow.guest, flow.opens_cookie, flow.sub) == (str(guest.pk), False, None)
            assert code not in flow.next + response.headers["Location"]


def test_the_code_wins_over_a_jwt(application: Application, browser: Client) -> None:
    code = promotion_code(browser, get_tokens(browser)["refresh_token"])
    hint = login_hint("anonymous", jwt="a.b.c", promotion_code=code)
    assert flow_of(authorize(browser, to_promote(code, login_hint=hint)), "promote")


def test_prompt_none_shows_no_page(application: Application, browser: Client) -> None:
    code = promotion_code(browser, get_tokens(browser)["refresh_token"])
    with nothing_changes():
        assert_refused(authorize(browser, to_promote(code, prompt="none")), "login_required")


def cannot_go_on(response: Any, state: str | None = "s-1") -> None:
    """A page that explains, and leads back to the application with an error."""
    text = assert_page(response)
    link = urlsplit(text.partition('href="http')[2].partition('"')[0].replace("&amp;", "&"))
    told = {name: value for name, [value] in parse_qs(link.query).items()}
    assert told["error"] == "invalid_request"
    assert told.get("state") == state
    assert link.path.endswith("after-login")


@pytest.mark.parametrize("code", ["A" * 32, "garbage", "é☃", "' or 1=1", "x" * 1500])
def test_a_made_up_code_is_a_page_that_leads_back(application: Application, browser: Client, code: str) -> None:
    with nothing_changes():
        cannot_go_on(authorize(browser, to_promote(code)))


def test_an_expired_code_is_a_page_and_the_guest_is_unchanged(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    code = promotion_code(browser, tokens["refresh_token"])
    for minutes, accepted in ((4.9, True), (5.1, False)):
        with time_machine.travel(timezone.now() + timedelta(minutes=minutes)):
            response = authorize(browser, to_promote(code))
            assert (response.status_code == 303) is accepted
    cannot_go_on(response)
    assert userinfo(browser, tokens["access_token"]).status_code == 200


MEANWHILE: dict[str, Ending] = {
    "disabled": disable_end_user,
    "inactive": deactivate_host_user,
    "deleted": delete_host_user,
    "promoted": lambda session: be_promoted(session.end_user),
    "half promoted": lambda session: session.end_user.anonymous_identity.delete(),
}


@pytest.mark.parametrize("happens", MEANWHILE.values(), ids=MEANWHILE)
def test_a_guest_who_is_none_any_more_is_told_on_a_page(
    application: Application, browser: Client, happens: Ending
) -> None:
    """F24."""
    code = promotion_code(browser, get_tokens(browser)["refresh_token"])
    happens(only_session())
    with nothing_changes():
        cannot_go_on(authorize(browser, to_promote(code)))


def test_a_code_of_another_client_or_project_is_worth_nothing(
    application: Application, browser: Client, project_a: Project, visit: Any
) -> None:
    make_application(application.project, "other")
    code = promotion_code(browser, get_tokens(browser)["refresh_token"])
    with nothing_changes():
        cannot_go_on(authorize(browser, to_promote(code, client_id="other")))
        assert_page(authorize(visit(HOST_A), to_promote(code)))
    assert flow_of(authorize(browser, to_promote(code)), "promote")


def test_a_code_of_a_cookie_is_for_any_client_of_the_project(application: Application, browser: Client) -> None:
    make_application(application.project, "other")
    get_cookie(browser)
    code = promotion_code(browser)
    for client_id in ("web", "other"):
        assert flow_of(authorize(browser, cookie_promote(code, client_id=client_id)), "promote")


# --- the whole promotion, page left out -----------------------------------------------------------


@pytest.mark.spec("authgear.md", "4.4")
def test_a_promotion_with_tokens(application: Application, browser: Client, stranger: Client) -> None:
    old = get_tokens(browser)
    guest = only_session().end_user
    codes = [promotion_code(browser, old["refresh_token"]) for _ in range(2)]
    flow_id = flow_of(authorize(browser, to_promote(codes[0])), "promote")

    be_promoted(guest)
    response = be_authenticated(browser, flow_id, guest)

    assert "anonusers_session" not in browser.cookies, "single sign-on was not wanted"
    new = exchanged(browser, redirected(response)["code"])
    info = userinfo(browser, new["access_token"]).json()
    claim = "https://authgear.com/claims/user/"
    assert (info["sub"], info["email"], info["email_verified"]) == (str(guest.pk), "ada@example.com", False)
    assert (info[f"{claim}is_anonymous"], info[f"{claim}can_reauthenticate"]) == (False, True)
    assert [(one["type"], one["login_id_type"]) for one in info[f"{claim}identities"]] == [("login_id", "email")]
    assert [(one["type"], one["kind"]) for one in info[f"{claim}authenticators"]] == [("password", "primary")]
    claims = claims_of(browser, new["id_token"], audience="web")
    assert (claims["sub"], claims[f"{claim}is_anonymous"], claims[f"{claim}can_reauthenticate"]) == (
        str(guest.pk),
        False,
        True,
    )
    assert refreshed(browser, new["refresh_token"])
    # F1, F4: whatever the guest had is dead.
    assert userinfo(browser, old["access_token"]).status_code == 401
    refusal = post_form(browser, "/oauth2/token", {"grant_type": "refresh_token", "client_id": "web", **old})
    assert refusal.json() == {"error": "invalid_grant", "error_description": "invalid refresh token"}
    rows = OneTimeToken.objects.filter(purpose="promotion_code")
    assert [row.used_at is None for row in rows] == [False, False], "the used code, and the other one"
    for code in codes:
        cannot_go_on(authorize(stranger, to_promote(code)))


@pytest.mark.spec("authgear.md", "4.8")
def test_a_promotion_is_told_once_and_is_no_log_in(
    application: Application, browser: Client, ada: EndUser, django_capture_on_commit_callbacks: Any
) -> None:
    told: list[str] = []
    code = promotion_code(browser, get_tokens(browser)["refresh_token"])
    guest = Session.objects.in_full().get(ended_at=None).end_user

    def receiver(event: Any, **_: Any) -> None:
        told.append(event.type)

    for signal in events.SIGNALS.values():
        signal.connect(receiver)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            flow_id = flow_of(authorize(browser, to_promote(code)), "promote")
            be_promoted(guest, "guest@example.com")
            exchanged(browser, redirected(be_authenticated(browser, flow_id, guest))["code"])
        assert told == ["user.anonymous.promoted"]
        with django_capture_on_commit_callbacks(execute=True):
            flow_id = flow_of(authorize(browser, authorization(x_sso_enabled="false")), "login")
            exchanged(browser, redirected(be_authenticated(browser, flow_id, ada))["code"])
        assert told == ["user.anonymous.promoted", "user.authenticated"]
    finally:
        for signal in events.SIGNALS.values():
            signal.disconnect(receiver)


@pytest.mark.spec("authgear.md", "4.7")
def test_the_toggle_does_not_matter(application: Application, browser: Client) -> None:
    code = promotion_code(browser, get_tokens(browser)["refresh_token"])
    guest = only_session().end_user
    configure(application.project, anonymous_users_enabled=False)
    flow_id = flow_of(authorize(browser, to_promote(code)), "promote")
    be_promoted(guest)
    assert exchanged(browser, redirected(be_authenticated(browser, flow_id, guest))["code"])


@pytest.mark.spec("authgear.md", "4.4")
def test_a_promotion_with_a_cookie(application: Application, browser: Client) -> None:
    old = get_cookie(browser)
    guest = only_session().end_user
    flow_id = flow_of(authorize(browser, cookie_promote(promotion_code(browser))), "promote")

    be_promoted(guest)
    response = be_authenticated(browser, flow_id, guest)

    assert redirected(response) == {"state": "s-1"}
    assert browser.cookies["anonusers_session"].value != old
    info = userinfo(browser).json()
    assert (info["sub"], info["email"]) == (str(guest.pk), "ada@example.com")
    old_cookie = browser.get("/oauth2/userinfo", HTTP_COOKIE=f"anonusers_session={old}")
    assert old_cookie.status_code == 401


def test_a_promotion_into_another_account(application: Application, browser: Client, ada: EndUser) -> None:
    """The page has found that the person is somebody who was there before; the client gets that one."""
    code = promotion_code(browser, get_tokens(browser)["refresh_token"])
    flow_id = flow_of(authorize(browser, to_promote(code)), "promote")
    told = redirected(be_authenticated(browser, flow_id, ada))
    claims = claims_of(browser, exchanged(browser, told["code"])["id_token"], audience="web")
    assert claims["sub"] == str(ada.pk)


def test_slow_people_do_not_fail(application: Application, browser: Client) -> None:
    """§12: the code is good for five minutes, the page for twenty-five."""
    now = timezone.now()
    code = promotion_code(browser, get_tokens(browser)["refresh_token"])
    guest = only_session().end_user
    flow_id = flow_of(authorize(browser, to_promote(code)), "promote")
    with time_machine.travel(now + timedelta(minutes=24)):
        be_promoted(guest)
        assert "code" in redirected(be_authenticated(browser, flow_id, guest))


# --- the way back ---------------------------------------------------------------------------------


@pytest.fixture
def proven(application: Application, browser: Client, ada: EndUser) -> str:
    """Where the page sends a browser whose person has proven to be Ada. The browser has not gone there yet."""
    flow_id = flow_of(authorize(browser, authorization(prompt="login", x_sso_enabled="false", state="ä b")), "login")
    flow = look_at_flow(browser, flow_id, application.project)
    assert flow
    real, browser.get = browser.get, lambda path: path  # type: ignore[assignment,method-assign]
    path = be_authenticated(browser, flow_id, ada)
    browser.get = real  # type: ignore[method-assign]
    assert str(path) == flow.next
    return str(path)


def test_it_brings_a_code_once(browser: Client, proven: str, ada: EndUser) -> None:
    told = redirected(browser.get(proven))
    assert told["state"] == "ä b"
    assert exchanged(browser, told["code"])
    with nothing_changes():
        cannot_go_on(browser.get(proven), "ä b")


def test_in_another_browser_it_brings_nothing(browser: Client, stranger: Client, proven: str) -> None:
    with nothing_changes():
        cannot_go_on(stranger.get(proven), "ä b")
    assert "code" in redirected(browser.get(proven))


def test_after_25_minutes_it_brings_nothing(browser: Client, proven: str) -> None:
    with time_machine.travel(timezone.now() + timedelta(minutes=25, seconds=1)), nothing_changes():
        cannot_go_on(browser.get(proven), "ä b")


TAMPERED = {
    "another state": {"state": "s-2"},
    "another challenge": {"code_challenge": "A" * 43},
    "more scope": {"scope": "openid offline_access email"},
    "another nonce": {"nonce": "x"},
    "no code": {"response_type": "none"},
    "no prompt": {"prompt": ""},
    "something more": {"extra": "1"},
}


@pytest.mark.parametrize("changes", TAMPERED.values(), ids=TAMPERED)
def test_it_is_good_for_the_request_that_led_there_only(browser: Client, proven: str, changes: dict[str, str]) -> None:
    """E11: another request cannot help itself to what was proven for this one."""
    query = {name: value for name, [value] in parse_qs(urlsplit(proven).query).items()} | changes
    with nothing_changes():
        cannot_go_on(browser.get(AUTHORIZE, query), query["state"])
    assert "code" in redirected(browser.get(proven)), "and the real one still works"


def test_another_client_cannot_take_it(application: Application, browser: Client, proven: str) -> None:
    make_application(application.project, "other")
    with nothing_changes():
        cannot_go_on(browser.get(proven.replace("client_id=web", "client_id=other")), "ä b")


def test_our_own_pages_cannot_be_its_end(browser: Client, proven: str) -> None:
    query = {name: value for name, [value] in parse_qs(urlsplit(proven).query).items()}
    assert_page(browser.get(AUTHORIZE, query | {"redirect_uri": f"{ORIGIN}/settings", "prompt": "none"}))


def test_who_has_proven_nothing_is_asked_to_log_in(
    application: Application, browser: Client, ada: EndUser, bob: EndUser
) -> None:
    """A page has nothing to offer but that, or somebody went on by hand; it is no way around an id_token_hint."""
    hint = id_token_of(browser, ada)
    flow = look_at_flow(browser, flow_of(authorize(browser, authorization(id_token_hint=hint)), "login"), ada.project)
    assert flow
    sign_in(browser, bob)
    with nothing_changes():
        flow_id = flow_of(browser.get(flow.next), "login")
        again = look_at_flow(browser, flow_id, ada.project)
        cannot_go_on(browser.get(flow.next))
    assert again
    assert (again.must_be, again.sub) == (str(ada.pk), None)
    assert "code" in redirected(be_authenticated(browser, flow_id, ada))


@pytest.mark.parametrize("flow_id", ["x", "A" * 22, "../x", "é", "x" * 1000])
def test_a_made_up_flow_brings_nothing(application: Application, browser: Client, ada: EndUser, flow_id: str) -> None:
    sign_in(browser, ada)
    with nothing_changes():
        cannot_go_on(authorize(browser, authorization(x_flow=flow_id)))


@pytest.mark.parametrize("happens", [disable_end_user, deactivate_host_user, delete_host_user])
def test_who_was_disabled_on_the_page_gets_no_code(
    application: Application, browser: Client, ada: EndUser, proven: str, happens: Ending
) -> None:
    happens(Session(end_user=ada))
    response = browser.get(proven)
    assert redirected(response)["error"] == "access_denied"
    assert not OneTimeToken.objects.filter(purpose="authorization_code").exists()


@pytest.mark.parametrize(("sleep", "wake"), SLEEPS.values(), ids=SLEEPS)
def test_who_sleeps_is_not_signed_in(
    application: Application, browser: Client, ada: EndUser, sleep: Ending, wake: Ending
) -> None:
    session = sign_in(browser, ada)
    sleep(session)
    assert_refused(authorize(browser, authorization(prompt="none")), "login_required")
    wake(session)
    assert "code" in redirected(authorize(browser, authorization(prompt="none")))


def test_a_flow_is_of_one_project(project_a: Project, project_b: Project, visit: Any) -> None:
    """One browser, two hosts, one cookie jar."""
    browser = visit(HOST_A)
    response = authorize(browser)
    flow_id = parse_qs(urlsplit(response.headers["Location"]).query)["flow"][0]
    assert look_at_flow(browser, flow_id, project_a)
    assert look_at_flow(browser, flow_id, project_b) is None


@pytest.mark.spec("ASVS", "7.2.4")
def test_the_basket_survives_and_the_session_key_does_not(
    application: Application, browser: Client, ada: EndUser
) -> None:
    basket = browser.session
    basket["basket"] = [1, 2]
    basket.save()
    browser.cookies["sessionid"] = basket.session_key
    flow_id = flow_of(authorize(browser), "login")
    assert browser.session.session_key == basket.session_key
    be_authenticated(browser, flow_id, ada)
    assert browser.session.session_key != basket.session_key
    assert browser.session["basket"] == [1, 2]
    assert not type(basket)(basket.session_key).load(), "the old key leads nowhere"


def test_where_one_session_is_allowed_a_log_in_works(application: Application, browser: Client, ada: EndUser) -> None:
    configure(application, max_concurrent_sessions=1)
    flow_id = flow_of(authorize(browser, authorization(x_sso_enabled="false")), "login")
    assert "code" in redirected(be_authenticated(browser, flow_id, ada))
