"""GET|POST /oauth2/authorize with a signed request that is not good, or whose guest is none any more."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from anonusers.device_keys import remove_key
from anonusers.models import Application, EndUser, Project, Session
from anonusers.promotion import supersede
from tests.anonusers.browsing import text_of
from tests.anonusers.signing import ABSENT, KEY_ID, rsa_key
from tests.protocols.authgear.conftest import HOST_A, HOST_B
from tests.protocols.authgear.keys import (
    NO_JWK,
    OTHER_KEY_ID,
    ask_to_promote,
    challenge,
    hint_of,
    logged_in,
    refuse,
    request,
    row_of,
    sign,
    to_promote,
)
from tests.protocols.authgear.steps import (
    AUTHORIZE,
    SLEEPS,
    Ending,
    assert_page,
    assert_refused,
    authorization,
    be_promoted,
    configure,
    delete_end_user,
    delete_host_user,
    flow_of,
    make_user,
    nothing_changes,
    post_form,
)
from tests.protocols.authgear.test_authorize_session import cannot_go_on

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.spec("authgear.md", "1.5")]


@pytest.fixture
def guest(application: Application, browser: Client) -> EndUser:
    """Who has a device key, and a session opened with it."""
    logged_in(browser, request(browser))
    return EndUser.objects.get()


# --- what is refused ------------------------------------------------------------------------------


def test_each_action_has_its_door(guest: EndUser, browser: Client) -> None:
    """C3, CHAL-11: what was signed to log in promotes nobody, and the other way round."""
    to_log_in, promoting = request(browser, header=NO_JWK), hint_of(browser)
    with nothing_changes():
        cannot_go_on(ask_to_promote(browser, to_log_in))
    refuse(browser, promoting)
    for action in ("add_key", "recover", "", "Promote", None):
        jwt = request(browser, header=NO_JWK, claims={"action": action})
        with nothing_changes():
            cannot_go_on(ask_to_promote(browser, jwt))
    assert logged_in(browser, to_log_in)
    assert flow_of(ask_to_promote(browser, promoting), "promote")


BAD: dict[str, Callable[[Client], str]] = {
    "garbage": lambda client: "a.b.c",
    "a word": lambda client: "x",
    "letters": lambda client: "é☃",
    "long": lambda client: "x" * 20_000,
    "another key": lambda client: hint_of(client, rsa_key(name="b")),
    "another key that comes with it": lambda client: hint_of(client, rsa_key(name="b"), header={}),
    "an unknown key": lambda client: hint_of(client, rsa_key(name="b"), key_id=OTHER_KEY_ID),
    "the known key under another ID": lambda client: hint_of(client, key_id=OTHER_KEY_ID, header={}),
    "alg none": lambda client: hint_of(client, header=NO_JWK | {"alg": "none"}),
    "another typ": lambda client: hint_of(client, header=NO_JWK | {"typ": "JWT"}),
    "biometric": lambda client: hint_of(client, header=NO_JWK | {"typ": "vnd.authgear.biometric-request"}),
    "crit": lambda client: hint_of(client, header=NO_JWK | {"crit": ["exp"]}),
    "expired": lambda client: hint_of(client, claims={"iat": 1, "exp": 2}),
    "for ever": lambda client: hint_of(client, claims={"exp": 10**11}),
    "aud of somebody else": lambda client: hint_of(client, claims={"aud": "https://evil.example"}),
    "a challenge that never was": lambda client: sign("A" * 32, header=NO_JWK, action="promote"),
    "a challenge of another purpose": lambda client: sign(
        challenge(client, "biometric_request"), header=NO_JWK, action="promote"
    ),
    "no challenge": lambda client: hint_of(client, claims={"challenge": ABSENT}),
    "cut": lambda client: hint_of(client)[:-4],
    "padded": lambda client: hint_of(client) + "==",
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_bad_jwt_is_a_page_that_leads_back_to_the_application(
    guest: EndUser, browser: Client, bad: Callable[[Client], str], method: str
) -> None:
    """§12: Authgear's error page is a dead end. All pages are the same: whose key it is is nobody's business."""
    jwt, garbage = bad(browser), "a.b.x"
    with nothing_changes():
        if method == "GET":
            response = ask_to_promote(browser, jwt)
        else:
            response = post_form(browser, AUTHORIZE, authorization(**to_promote(jwt)))
        cannot_go_on(response)
        assert text_of(response) == text_of(ask_to_promote(browser, garbage))
    assert "sessionid" not in browser.cookies
    assert flow_of(ask_to_promote(browser, hint_of(browser)), "promote")


def test_a_key_that_was_never_seen_promotes_nobody(guest: EndUser, browser: Client) -> None:
    """Nor does it make a guest, to promote it at once."""
    token = challenge(browser)
    jwt = sign(token, rsa_key(name="b"), key_id=OTHER_KEY_ID, action="promote")
    with nothing_changes():
        cannot_go_on(ask_to_promote(browser, jwt))
    assert row_of(token).end_user_id is None


def test_a_spent_challenge_promotes_nobody(guest: EndUser, browser: Client) -> None:
    token = challenge(browser)
    logged_in(browser, sign(token, header=NO_JWK))
    with nothing_changes():
        cannot_go_on(ask_to_promote(browser, sign(token, header=NO_JWK, action="promote")))


GONE: dict[str, Ending] = {
    "promoted": lambda session: be_promoted(session.end_user, "bob@example.com"),
    "superseded": lambda session: supersede(
        guest=session.end_user, by=make_user(session.project, "bob@example.com"), method="password"
    ),
    "host user deleted": delete_host_user,
    "end user deleted": delete_end_user,
    "key revoked": lambda session: remove_key(end_user=session.end_user, key_id=KEY_ID),
    "no guest any more": lambda session: session.end_user.anonymous_identity.delete(),
}


@pytest.mark.parametrize("policy", ["new_guest", "refuse"])
@pytest.mark.parametrize("jwk", [{}, NO_JWK], ids=["with jwk", "without"])
@pytest.mark.parametrize("happens", GONE.values(), ids=GONE)
def test_whose_guest_is_gone_is_told_so_and_no_new_one_is_made(
    guest: EndUser, browser: Client, happens: Ending, jwk: Any, policy: str
) -> None:
    configure(guest.project, retired_device_keys=policy)
    jwt = hint_of(browser, header=jwk)
    happens(Session.objects.in_full().get())
    with nothing_changes():
        cannot_go_on(ask_to_promote(browser, jwt))


@pytest.mark.parametrize(("sleep", "wake"), SLEEPS.values(), ids=SLEEPS)
def test_a_disabled_guest_is_not_promoted(guest: EndUser, browser: Client, sleep: Ending, wake: Ending) -> None:
    """§4.3: Authgear lets them go on to the end. What is refused changes nothing, so the link is good afterwards."""
    jwt = hint_of(browser)
    session = Session.objects.in_full().get()
    sleep(session)
    with nothing_changes():
        cannot_go_on(ask_to_promote(browser, jwt))
    wake(session)
    assert flow_of(ask_to_promote(browser, jwt), "promote")


@pytest.mark.parametrize("prompt", ["none"])
def test_prompt_none_shows_no_page_and_binds_nothing(guest: EndUser, browser: Client, prompt: str) -> None:
    token = challenge(browser)
    with nothing_changes():
        for jwt in (sign(token, header=NO_JWK, action="promote"), "a.b.c"):
            assert_refused(ask_to_promote(browser, jwt, prompt=prompt), "login_required", "authentication required")
    assert logged_in(browser, sign(token, header=NO_JWK))


@pytest.mark.parametrize(
    "changes",
    [{"client_id": "nobody"}, {"redirect_uri": "http://evil.example/"}, {"scope": None}, {"code_challenge": None}],
    ids=str,
)
def test_what_is_refused_anyway_binds_nothing(guest: EndUser, browser: Client, changes: dict[str, Any]) -> None:
    jwt = hint_of(browser)
    with nothing_changes():
        response = ask_to_promote(browser, jwt, **changes)
        if "client_id" in changes or "redirect_uri" in changes:
            assert_page(response)
        else:
            assert_refused(response, "invalid_request")


def test_a_key_of_another_project_is_none_here(
    project_a: Project, project_b: Project, visit: Callable[..., Client]
) -> None:
    """TEN-05."""
    at_a, at_b = visit(HOST_A), visit(HOST_B)
    for client in (at_a, at_b):
        logged_in(client, request(client))
    jwt = hint_of(at_a)
    with nothing_changes():
        assert_page(ask_to_promote(at_b, jwt))
    assert flow_of(ask_to_promote(at_a, jwt), "promote")
