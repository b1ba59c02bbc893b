"""Challenges, key IDs, claims and forms of mobile applications, each put to a use that they are not for."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from anonusers import onetime
from anonusers.models import Application, DeviceKey, EndUser, OneTimeToken, Project
from tests.anonusers.signing import ABSENT, KEY_ID, ec_key, java, jwk_of, numbers_of, rsa_key
from tests.conftest import headers_of, make_application, make_project, state_of
from tests.protocols.authgear.keys import (
    NO_JWK,
    OTHER_KEY_ID,
    REFUSAL,
    challenge,
    log_in,
    logged_in,
    refuse,
    request,
    sign,
    sub_with,
    to_promote,
)
from tests.protocols.authgear.proofs import proof
from tests.protocols.authgear.sdk_samples import android_dpop
from tests.protocols.authgear.steps import (
    TOKEN,
    USERINFO,
    app_session_token,
    assert_oauth_error,
    authorization,
    authorize,
    flow_of,
    get_tokens,
    nothing_changes,
    post_form,
    promotion_code,
    refresh,
    sub_of,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.spec("authgear.md", "1.9")]

A, B = rsa_key(), rsa_key(name="b")


def mine(token: str) -> str:
    """A request of a device that is known."""
    return sign(token, header=NO_JWK)


@pytest.fixture
def guest(application: Application, browser: Client) -> EndUser:
    """Whose device key is known."""
    logged_in(browser, request(browser))
    return EndUser.objects.get()


# --- challenges -----------------------------------------------------------------------------------


def spent(client: Client) -> str:
    token = challenge(client)
    logged_in(client, sign(token))
    return token


def spent_by_a_new_guest(client: Client) -> str:
    token = challenge(client)
    logged_in(client, sign(token, B, key_id=OTHER_KEY_ID))
    return token


def expired(client: Client) -> str:
    token = challenge(client)
    OneTimeToken.objects.filter(used_at=None).update(expires_at=timezone.now())
    return token


def bound_to_a_promotion(client: Client) -> str:
    token = challenge(client)
    jwt = sign(token, header=NO_JWK, action="promote")
    assert flow_of(authorize(client, authorization(**to_promote(jwt))), "promote")
    return token


def of_another_project(client: Client) -> str:
    return onetime.issue("anonymous_request", project=make_project("alpha", "a.localhost")).secret


def a_promotion_code(client: Client) -> str:
    return promotion_code(client, get_tokens(client)["refresh_token"])


def an_app_session_token(client: Client) -> str:
    return app_session_token(client, get_tokens(client)["refresh_token"])


MISUSED: dict[str, Callable[[Client], str]] = {
    "spent": spent,
    "spent by a new guest": spent_by_a_new_guest,
    "expired": expired,
    "bound to a promotion": bound_to_a_promotion,
    "of another project": of_another_project,
    "of biometric log-in": lambda client: challenge(client, "biometric_request"),
    "of app2app": lambda client: challenge(client, "app2app_request"),
    "never issued": lambda client: "0123456789ABCDEFGHJKMNPQRSTVWXYZ",
    "a promotion code": a_promotion_code,
    "an app session token": an_app_session_token,
    "a refresh token": lambda client: get_tokens(client)["refresh_token"][:100],
}


@pytest.mark.spec("authgear.md", "3")
@pytest.mark.parametrize("misused", MISUSED.values(), ids=MISUSED)
def test_what_is_no_good_challenge_is_none_for_anybody(
    guest: EndUser, browser: Client, misused: Callable[[Client], str]
) -> None:
    """C1, C3, C4: CHAL-04 … CHAL-11. For a known key, a new one, and one whose guest has gone, with one answer."""
    logged_in(browser, request(browser, rsa_key(name="c"), key_id="retired-key"))
    DeviceKey.objects.filter(key_id="retired-key").update(end_user=None)
    token = misused(browser)
    answers = set()
    with nothing_changes():
        for jwt in (
            sign(token),
            mine(token),
            sign(token, ec_key(), key_id="a-new-key"),
            sign(token, rsa_key(name="c"), key_id="retired-key", header=NO_JWK),
        ):
            response = log_in(browser, jwt)
            assert_oauth_error(response, *REFUSAL)
            answers.add(response.content)
    assert len(answers) == 1


@pytest.mark.parametrize("purpose", ["biometric_request", "app2app_request"])
def test_what_is_good_for_something_else_stays_good(guest: EndUser, browser: Client, purpose: str) -> None:
    token = challenge(browser, purpose)
    refuse(browser, sign(token))
    row = OneTimeToken.objects.get(purpose=purpose)
    assert (row.used_at, row.end_user_id) == (None, None)


def test_one_challenge_is_for_one_of_two_devices(guest: EndUser, browser: Client) -> None:
    token = challenge(browser)
    assert logged_in(browser, sign(token, B, key_id=OTHER_KEY_ID))
    refuse(browser, mine(token))
    refuse(browser, sign(token, ec_key(), key_id="a-new-key"))


def test_a_replay_at_any_time_gives_nothing(guest: EndUser, browser: Client) -> None:
    """C1, CHAL-05."""
    jwt = request(browser)
    logged_in(browser, jwt)
    for seconds in (0, 1, 59, 299, 301, 3600):
        with time_machine.travel(timezone.now() + timedelta(seconds=seconds)):
            refuse(browser, jwt)


def test_a_challenge_lives_for_five_minutes_of_our_clock(guest: EndUser, browser: Client) -> None:
    """C4, CHAL-08."""
    with time_machine.travel(timezone.now().replace(microsecond=0), tick=False) as clock:
        early, late = challenge(browser), challenge(browser)
        clock.shift(299)
        assert logged_in(browser, mine(early))
        clock.shift(1)
        refuse(browser, mine(late))


# --- key IDs --------------------------------------------------------------------------------------


def test_one_answer_for_whatever_is_wrong_about_a_key(guest: EndUser, project_a: Project, browser: Client) -> None:
    """B24, V6.3.8: byte for byte the same, so that nobody learns which key IDs there are."""
    wrong = {
        "unknown kid without jwk": request(browser, B, key_id=OTHER_KEY_ID, header=NO_JWK),
        "bad signature on a known kid": request(browser, B, header=NO_JWK),
        "bad signature on a known kid, with its jwk": request(browser, B, header={"jwk": jwk_of(A)}),
        "wrong jwk on a known kid": request(browser, B),
        "the right signature beside another jwk": request(browser, header={"jwk": jwk_of(B)}),
        "the right signature beside an elliptic jwk": request(browser, header={"jwk": jwk_of(ec_key())}),
        "wrong algorithm on a known kid": request(browser, ec_key()),
        "wrong algorithm on a known kid without jwk": request(browser, ec_key(), header=NO_JWK),
        "bad signature on a new kid": request(
            browser, B, key_id=OTHER_KEY_ID, header={"jwk": jwk_of(A, kid=OTHER_KEY_ID)}
        ),
        "known key under a new kid": request(browser, key_id=OTHER_KEY_ID),
        "known key under a new kid without jwk": request(browser, key_id=OTHER_KEY_ID, header=NO_JWK),
        "kid in another case": request(browser, key_id=KEY_ID.lower()),
        "wrong challenge": sign("A" * 32),
        "wrong action": request(browser, action="promote"),
        "garbage": "garbage",
    }
    answers = set()
    with nothing_changes():
        for jwt in wrong.values():
            response = log_in(browser, jwt)
            assert_oauth_error(response, *REFUSAL)
            answers.add((response.content, str(sorted(headers_of(response).items()))))
    assert len(answers) == 1


def test_a_key_id_is_not_taken_over(guest: EndUser, browser: Client) -> None:
    """B3, B7, JWT-08, JWT-39: a victim's kid, and the attacker's own key; what iOS does after a restore, too."""
    before = state_of(DeviceKey.objects.get())
    for jwt in (request(browser, B), request(browser, ec_key()), request(browser, B, header={"kid": ABSENT})):
        refuse(browser, jwt)
    assert state_of(DeviceKey.objects.get()) == before
    assert sub_with(browser, request(browser, header=NO_JWK)) == str(guest.pk)


def test_who_takes_a_key_id_first_gets_nobody_else_into_their_account(
    application: Application, browser: Client
) -> None:
    """B7: the squatter has the ID; whom it was meant for is refused, and not let into the squatter's account."""
    squatter = sub_with(browser, request(browser, B))
    refuse(browser, request(browser))
    refuse(browser, request(browser, header=NO_JWK))
    assert sub_with(browser, request(browser, key_id=OTHER_KEY_ID)) != squatter, "another ID helps"


def test_a_key_has_one_name(guest: EndUser, browser: Client) -> None:
    """The thumbprint is unique in a project, however the modulus is spelled."""
    for key_id in (OTHER_KEY_ID, KEY_ID.lower(), f"{KEY_ID}-"):
        jwk = jwk_of(A, kid=key_id, n=java(numbers_of(A).n))
        refuse(browser, request(browser, key_id=key_id))
        refuse(browser, request(browser, key_id=key_id, header={"jwk": jwk}))


# --- claims that choose ---------------------------------------------------------------------------

WISHES: dict[str, Any] = {
    "sub": {"sub": "VICTIM"},
    "user_id": {"user_id": "VICTIM", "uid": "VICTIM", "end_user": "VICTIM", "id": "VICTIM"},
    "names": {"username": "admin", "email": "admin@example.com", "preferred_username": "admin"},
    "rights": {"is_staff": True, "is_superuser": True, "roles": ["admin"], "groups": ["admin"]},
    "facts": {"https://authgear.com/claims/user/is_anonymous": False, "is_anonymous": False, "is_verified": True},
    "scope": {"scope": "admin", "client_id": "other", "azp": "other"},
    "session": {"sid": "x", "session_id": "x", "amr": ["mfa"], "acr": "3", "auth_time": 1, "cnf": {"jkt": "x"}},
    "jti and nonce": {"jti": "x", "nonce": "x", "at_hash": "x"},
    "project": {"project": "alpha", "app_id": "alpha", "tenant": 1},
}


@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES)
def test_claims_and_fields_do_not_choose_the_user(guest: EndUser, browser: Client, wish: dict[str, Any]) -> None:
    """B23, JWT-38: the user follows from the key alone."""
    make_application(guest.project, "other")
    victim = sub_of(browser, get_tokens(browser)["access_token"])
    wish = json.loads(json.dumps(wish).replace("VICTIM", victim))
    fields = {name: str(value) for name, value in wish.items() if name not in ("client_id",)}
    victim_before = state_of(EndUser.objects.get(pk=victim), EndUser.objects.get(pk=victim).user)

    assert sub_with(browser, request(browser, header=NO_JWK, claims=wish), **fields) == str(guest.pk)
    tokens = logged_in(browser, request(browser, B, key_id=OTHER_KEY_ID, claims=wish), **fields)

    sub = sub_of(browser, tokens["access_token"])
    assert sub not in (victim, str(guest.pk))
    new = EndUser.objects.get(pk=sub)
    assert new.is_guest
    assert (new.user.is_staff, new.user.is_superuser, new.user.email) == (False, False, "")
    assert new.user.username == f"guest-{new.pk.hex}"
    session = new.sessions.get()
    assert session.application is not None
    assert (session.application.client_id, session.amr, session.dpop_jkt) == ("web", "pop", "")
    assert session.scope == "openid offline_access https://authgear.com/scopes/full-access"
    assert state_of(EndUser.objects.get(pk=victim), EndUser.objects.get(pk=victim).user) == victim_before


# --- other tokens ---------------------------------------------------------------------------------


def test_no_other_token_is_a_request_and_a_request_is_no_token(guest: EndUser, browser: Client) -> None:
    """B21, JWT-10, JWT-37."""
    tokens = logged_in(browser, request(browser))
    proof = android_dpop(A, KEY_ID, "POST", f"http://localhost:8000{TOKEN}", "j", timezone.now().timestamp())
    for text in (tokens["access_token"], tokens["id_token"], tokens["refresh_token"], proof):
        refuse(browser, str(text))
    jwt = request(browser)
    with nothing_changes():
        assert browser.get(USERINFO, HTTP_AUTHORIZATION=f"Bearer {jwt}").status_code == 401
        assert refresh(browser, jwt).status_code == 400
        assert browser.get("/api/v1/userinfo/", HTTP_AUTHORIZATION=f"Bearer {jwt}").status_code == 401
        dpop = post_form(browser, TOKEN, {"grant_type": "refresh_token", "client_id": "web"}, HTTP_DPOP=jwt)
        assert dpop.status_code == 400
    assert logged_in(browser, jwt)


def test_what_is_secret_reaches_no_log(guest: EndUser, browser: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    token = challenge(browser)
    jwt, hint, dpop = mine(token), request(browser, action="promote", header=NO_JWK), proof()
    refuse(browser, sign(token, B))
    tokens = logged_in(browser, jwt, **dpop)
    refuse(browser, jwt)
    authorize(browser, authorization(**to_promote(hint)))
    authorize(browser, authorization(**to_promote(jwt)))
    for secret in (token, jwt, hint, dpop["HTTP_DPOP"], tokens["access_token"], tokens["refresh_token"]):
        assert secret not in caplog.text
        assert secret.split(".")[-1] not in caplog.text
