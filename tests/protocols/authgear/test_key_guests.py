"""A device key whose guest, project or host says no: toggle, disabled, promoted, deleted, revoked; limits, vetoes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from anonusers import limits
from anonusers.device_keys import remove_key
from anonusers.models import Application, DeviceKey, EndUser, OneTimeToken, Project, Session
from anonusers.promotion import supersede
from anonusers.tokens import secret_hash
from tests.anonusers.signing import rsa_key
from tests.protocols.authgear.conftest import HOST_A, HOST_B
from tests.protocols.authgear.keys import (
    DISABLED,
    KEY_ID,
    LIMITED,
    NO_JWK,
    OTHER_KEY_ID,
    REFUSAL,
    SWITCHED_OFF,
    challenge,
    log_in,
    logged_in,
    refuse,
    request,
    sample,
    sign,
    sub_with,
)
from tests.protocols.authgear.sdk_samples import ALWAYS_WITH_JWK, SAMPLES
from tests.protocols.authgear.steps import (
    SLEEPS,
    Ending,
    ask_for_tokens,
    assert_oauth_error,
    be_promoted,
    configure,
    delete_end_user,
    delete_host_user,
    get_tokens,
    make_user,
    nothing_changes,
    only_session,
    refresh,
    sub_of,
    userinfo,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.spec("authgear.md", "1.9")]


@pytest.fixture
def guest(application: Application, browser: Client) -> Session:
    """The session of a guest who has a device key."""
    logged_in(browser, request(browser))
    return Session.objects.in_full().get()


def other_request(client: Client) -> str:
    return request(client, rsa_key(name="b"), key_id=OTHER_KEY_ID)


# --- the toggle -----------------------------------------------------------------------------------


@pytest.mark.spec("authgear.md", "4.7")
def test_with_the_toggle_off_nothing_is_told_about_keys(guest: Session, browser: Client) -> None:
    """It is looked at before the JWT is."""
    challenges = [challenge(browser) for _ in range(3)]
    requests = [sign(challenges[0]), sign(challenges[1], header=NO_JWK)]
    requests += [sign(challenges[2], rsa_key(name="b"), key_id=OTHER_KEY_ID)]
    broken = ["garbage", "a.b.c", "x" * 16_384, sign("A" * 32), sign(challenges[0], rsa_key(name="b"))]
    configure(guest.project, anonymous_users_enabled=False)
    answers = set()
    for jwt in requests + broken:
        with nothing_changes():
            response = log_in(browser, jwt)
            assert_oauth_error(response, *SWITCHED_OFF)
        answers.add(response.content)
    assert len(answers) == 1
    configure(guest.project, anonymous_users_enabled=True)
    assert sub_with(browser, requests[0]) == sub_with(browser, requests[1]) == str(guest.end_user_id)
    assert sub_with(browser, requests[2]) != str(guest.end_user_id)


@pytest.mark.spec("authgear.md", "4.7")
def test_with_the_toggle_off_sessions_live_on(application: Application, browser: Client) -> None:
    tokens = logged_in(browser, request(browser))
    configure(application.project, anonymous_users_enabled=False)
    assert userinfo(browser, tokens["access_token"]).status_code == 200
    assert refresh(browser, tokens["refresh_token"]).status_code == 200


# --- disabled -------------------------------------------------------------------------------------


@pytest.mark.parametrize("jwk", [{}, NO_JWK], ids=["with jwk", "without"])
@pytest.mark.parametrize(("sleep", "wake"), SLEEPS.values(), ids=SLEEPS)
def test_a_disabled_guest_is_told_so_and_comes_back_when_enabled(
    guest: Session, browser: Client, sleep: Ending, wake: Ending, jwk: Any
) -> None:
    """§12: 500 in Authgear. Only who holds the key is told, and the challenge is not spent."""
    jwt = request(browser, header=jwk)
    sleep(guest)
    refuse(browser, jwt, *DISABLED)
    refuse(browser, jwt, *DISABLED)
    refuse(browser, request(browser, rsa_key(name="b"), header=jwk), *REFUSAL)
    refuse(browser, request(browser, claims={"action": "promote"}), *REFUSAL)
    wake(guest)
    assert sub_with(browser, jwt) == str(guest.end_user_id)


# --- a key that leads to nobody -------------------------------------------------------------------


def be_superseded(session: Session) -> None:
    supersede(guest=session.end_user, by=make_user(session.project, "bob@example.com"), method="password")


RETIRED: dict[str, Ending] = {
    "promoted": lambda session: be_promoted(session.end_user),
    "superseded": be_superseded,
    "host user deleted": delete_host_user,
    "end user deleted": delete_end_user,
}


def tombstone() -> DeviceKey:
    key = DeviceKey.objects.get(key_id=KEY_ID)
    assert key.end_user_id is None
    return key


@pytest.mark.spec("authgear.md", "12")
@pytest.mark.parametrize("jwk", [{}, NO_JWK], ids=["with jwk", "without"])
@pytest.mark.parametrize("retire", RETIRED.values(), ids=RETIRED)
def test_a_retired_key_is_a_new_guest_and_never_the_old_one(
    guest: Session, browser: Client, retire: Ending, jwk: Any
) -> None:
    """B27, B28, PH-06; without it React Native is stuck for ever. By default."""
    old = str(guest.end_user_id)
    retire(guest)
    before = tombstone()
    users = EndUser.objects.count()

    tokens = logged_in(browser, request(browser, header=jwk))

    sub = sub_of(browser, tokens["access_token"])
    assert sub != old
    assert userinfo(browser, tokens["access_token"]).json()["https://authgear.com/claims/user/is_anonymous"] is True
    assert EndUser.objects.count() == users + 1
    key = DeviceKey.objects.get(key_id=KEY_ID)
    assert str(key.end_user_id) == sub
    assert (key.retired_at, key.revoked_at) == (None, None)
    assert (key.pk, key.jwk, key.thumbprint) == (before.pk, before.jwk, before.thumbprint)
    for again in ({}, NO_JWK):
        assert sub_with(browser, request(browser, header=again)) == sub
    assert EndUser.objects.count() == users + 1


@pytest.mark.spec("authgear.md", "12")
@pytest.mark.parametrize("jwk", [{}, NO_JWK], ids=["with jwk", "without"])
@pytest.mark.parametrize("retire", RETIRED.values(), ids=RETIRED)
def test_a_retired_key_is_refused_where_the_project_says_so(
    guest: Session, browser: Client, retire: Ending, jwk: Any
) -> None:
    configure(guest.project, retired_device_keys="refuse")
    retire(guest)
    jwt = request(browser, header=jwk)
    refuse(browser, jwt)
    assert logged_in(browser, other_request(browser)), "other keys are not concerned"
    configure(guest.project, retired_device_keys="new_guest")
    assert logged_in(browser, jwt), "nor was the challenge spent"


@pytest.mark.parametrize("retire", RETIRED.values(), ids=RETIRED)
def test_a_retired_key_needs_its_private_half_like_any_other(guest: Session, browser: Client, retire: Ending) -> None:
    retire(guest)
    refuse(browser, request(browser, rsa_key(name="b")))
    refuse(browser, request(browser, rsa_key(name="b"), header=NO_JWK))
    refuse(browser, request(browser, key_id=OTHER_KEY_ID))
    assert tombstone()


@pytest.mark.parametrize("policy", ["new_guest", "refuse"])
@pytest.mark.parametrize("name", SAMPLES)
def test_after_a_promotion_each_sdk(application: Application, browser: Client, name: str, policy: str) -> None:
    configure(application.project, retired_device_keys=policy)
    logged_in(browser, sample(browser, name))
    promoted = only_session().end_user
    be_promoted(promoted)
    jwt = sample(browser, name, new=name in ALWAYS_WITH_JWK)
    if policy == "refuse":
        refuse(browser, jwt)
    else:
        assert sub_with(browser, jwt) != str(promoted.pk)


@pytest.mark.parametrize("policy", ["new_guest", "refuse"])
@pytest.mark.parametrize("jwk", [{}, NO_JWK], ids=["with jwk", "without"])
def test_a_revoked_key_is_never_good_again(
    guest: Session, browser: Client, settings: Any, policy: str, jwk: Any
) -> None:
    """B27. The same answer as for a key that never was."""
    configure(guest.project, retired_device_keys=policy)
    token = logged_in(browser, request(browser))["refresh_token"]
    remove_key(end_user=guest.end_user, key_id=KEY_ID)
    assert tombstone().revoked_at
    settings.ANONUSERS_SIGNUP_PER_IP = "1/m"
    refuse(browser, request(browser, header=jwk))
    refuse(browser, request(browser, key_id=OTHER_KEY_ID))
    refuse(browser, request(browser, rsa_key(name="b")))
    assert refresh(browser, token).status_code == 400, "what was opened with it has ended"
    assert logged_in(browser, other_request(browser)), "nor was it counted as a new guest"


def test_a_woken_key_sleeps_again(guest: Session, browser: Client) -> None:
    """Promoted twice: three people, one after the other."""
    subs = [str(guest.end_user_id)]
    for number in range(2):
        be_promoted(EndUser.objects.get(pk=subs[-1]), f"ada{number}@example.com")
        subs.append(sub_with(browser, request(browser, header=NO_JWK)))
    assert len(set(subs)) == 3
    assert DeviceKey.objects.count() == 1


# --- limits ---------------------------------------------------------------------------------------


def limited(client: Client, jwt: str) -> None:
    with nothing_changes():
        response = log_in(client, jwt)
        assert_oauth_error(response, *LIMITED)
        assert 1 <= int(response.headers["Retry-After"]) <= 60


@pytest.mark.spec("authgear.md", "8")
@pytest.mark.parametrize("budget", ["SIGNUP_PER_IP", "SIGNUP_PER_PROJECT"])
def test_too_many_new_guests_do_not_lock_known_ones_out(
    application: Application, browser: Client, settings: Any, budget: str
) -> None:
    """§12: 400 or 500 in Authgear. The challenge is not spent: the app may try again with what it has signed."""
    setattr(settings, f"ANONUSERS_{budget}", "1/m")
    with time_machine.travel(timezone.now().replace(microsecond=0), tick=False) as clock:
        sub = sub_with(browser, request(browser))
        jwt = other_request(browser)
        limited(browser, jwt)
        for _ in range(3):
            assert sub_with(browser, request(browser, header=NO_JWK)) == sub
        limited(browser, jwt)
        clock.shift(61)
        assert sub_with(browser, jwt) != sub


def test_a_retired_key_counts_as_a_new_guest(guest: Session, browser: Client, settings: Any) -> None:
    be_promoted(guest.end_user)
    settings.ANONUSERS_SIGNUP_PER_IP = "1/m"
    get_tokens(browser)
    limited(browser, request(browser))


def test_too_many_log_ins_by_key_do_not_lock_the_web_out(
    guest: Session, browser: Client, stranger: Client, settings: Any
) -> None:
    settings.ANONUSERS_KEY_LOGIN_PER_IP = "2/m"
    with time_machine.travel(timezone.now().replace(microsecond=0), tick=False) as clock:
        jwt = request(browser, header=NO_JWK)
        for _ in range(2):
            limit_left = log_in(browser, "garbage")
            assert_oauth_error(limit_left, *REFUSAL)
        limited(browser, jwt)
        limited(browser, other_request(browser))
        limited(browser, "garbage")
        assert ask_for_tokens(browser).status_code == 200
        assert logged_in(browser, other_request(browser), REMOTE_ADDR="192.0.2.7")
        clock.shift(61)
        assert sub_with(browser, jwt) == str(guest.end_user_id)


def test_the_default_is_300_a_minute_for_each_project(
    project_a: Project, project_b: Project, visit: Callable[..., Client]
) -> None:
    at_a, at_b = visit(HOST_A), visit(HOST_B)
    with time_machine.travel(timezone.now(), tick=False):
        for _ in range(300):
            assert log_in(at_a, "garbage").status_code == 400
        limited(at_a, "garbage")
        assert log_in(at_b, "garbage").status_code == 400


def test_with_the_toggle_off_nothing_is_counted(guest: Session, browser: Client, settings: Any) -> None:
    settings.ANONUSERS_KEY_LOGIN_PER_IP = "1/m"
    configure(guest.project, anonymous_users_enabled=False)
    for _ in range(3):
        refuse(browser, "garbage", *SWITCHED_OFF)
    configure(guest.project, anonymous_users_enabled=True)
    assert logged_in(browser, request(browser))


# --- vetoes ----------------------------------------------------------------------------

HOSTS = {
    "Vetoing": (400, "invalid_request", "disallowed by hook event handler"),
    "Closed": (400, "invalid_request", "public signup is disabled"),
}


@pytest.mark.spec("authgear.md", "4.8")
@pytest.mark.parametrize(("adapter", "answer"), HOSTS.items(), ids=HOSTS)
def test_the_host_may_refuse_new_guests_and_keeps_its_old_ones(
    guest: Session, browser: Client, settings: Any, adapter: str, answer: Any
) -> None:
    jwt = other_request(browser)
    settings.ANONUSERS_ADAPTER = f"tests.protocols.authgear.adapters.{adapter}"
    refuse(browser, jwt, *answer)
    assert sub_with(browser, request(browser, header=NO_JWK)) == str(guest.end_user_id)
    refuse(browser, "garbage", *REFUSAL)
    del settings.ANONUSERS_ADAPTER
    assert sub_with(browser, jwt) != str(guest.end_user_id), "the challenge was not spent"


def test_a_spent_challenge_is_on_record_in_the_database(guest: Session, browser: Client) -> None:
    """C1, C8: not in a cache that is flushed."""
    token = challenge(browser)
    jwt = sign(token)
    logged_in(browser, jwt)
    limits.forget()
    refuse(browser, jwt)
    assert OneTimeToken.objects.get(token_hash=secret_hash(token)).used_at
    with time_machine.travel(timezone.now() + timedelta(seconds=200)):
        refuse(browser, jwt)
