"""POST /oauth2/token with grant_type=anonymous-request: who comes back with a device key, and who is new."""

import time
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from anonusers.models import AnonymousIdentity, Application, DeviceKey, EndUser, OneTimeToken, Project, Session
from tests.anonusers.signing import ABSENT, ec_key, java, jwk_of, numbers_of, rsa_key
from tests.conftest import APP_ORIGIN, ORIGIN, make_application, row_counts, state_of
from tests.protocols.authgear.keys import (
    GRANT,
    KEY_ID,
    NO_JWK,
    OTHER_KEY_ID,
    REFUSAL,
    events_told,
    log_in,
    logged_in,
    refuse,
    request,
    sample,
    sub_with,
)
from tests.protocols.authgear.sdk_samples import ALWAYS_WITH_JWK, APPLE_KEY_ID, SAMPLES, rsa_jwk
from tests.protocols.authgear.steps import (
    CLAIM,
    SCOPE,
    TOKEN,
    ask_for_tokens,
    claims_of,
    configure,
    get_tokens,
    only_session,
    post_form,
    refresh,
    refreshed,
    sub_of,
    userinfo,
)

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.database,
    pytest.mark.spec("authgear.md", "1.9"),
    pytest.mark.spec("authgear.md", "4.2"),
]

CREATED = {"anonusers.EndUser", "anonusers.AnonymousIdentity", "anonusers.Session", "anonusers.DeviceKey", "auth.User"}


# --- a new key ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_a_new_device_of_each_sdk_becomes_a_guest_and_comes_back(
    application: Application, browser: Client, stranger: Client, name: str
) -> None:
    counts = row_counts()
    jwt = sample(browser, name)
    tokens = logged_in(browser, jwt)
    challenges = {"anonusers.OneTimeToken": 1}
    assert row_counts() == {label: count + (label in CREATED) for label, count in counts.items()} | challenges
    key = DeviceKey.objects.get()
    assert (key.key_id, key.algorithm) == (SAMPLES[name][1], "RS256")
    n, e = (rsa_jwk(rsa_key(), "")[member] for member in "ne")
    assert key.jwk == {"kty": "RSA", "n": n, "e": e}, "canonical, and nothing else"
    sub = sub_of(browser, tokens["access_token"])
    assert str(key.end_user_id) == sub

    for new in (False, False) if name not in ALWAYS_WITH_JWK else (True, False):
        again = logged_in(stranger, sample(stranger, name, new=new))
        assert sub_of(stranger, again["access_token"]) == sub
    after = row_counts()
    assert after == counts | dict.fromkeys(CREATED, 1) | {"anonusers.Session": 3, "anonusers.OneTimeToken": 3}
    assert not OneTimeToken.objects.filter(used_at=None).exists(), "each challenge is spent"
    assert userinfo(browser, tokens["access_token"]).status_code == 200, "the first session lives on"
    assert refresh(browser, tokens["refresh_token"]).status_code == 200


def test_what_is_made_for_a_new_key(application: Application, browser: Client) -> None:
    before = timezone.now()
    response = logged_in(browser, request(browser), HTTP_USER_AGENT="Guestbook/1.2 (iPhone)")
    session, key, end_user = only_session(), DeviceKey.objects.get(), EndUser.objects.get()
    assert (session.end_user, session.application, session.kind) == (end_user, application, "token")
    assert (session.scope, session.amr, session.user_agent) == (SCOPE, "pop", "Guestbook/1.2 (iPhone)")
    assert (session.device, session.dpop_jkt, session.ended_at) == ({}, "", None)
    assert (key.end_user, key.project, key.key_id) == (end_user, application.project, KEY_ID)
    assert (key.retired_at, key.revoked_at) == (None, None)
    assert before <= key.created_at == key.last_used_at <= timezone.now()
    assert end_user.is_guest
    assert not end_user.user.has_usable_password()
    assert not end_user.user.is_staff
    assert response["expires_in"] == application.access_token_lifetime == 1800


@pytest.mark.spec("authgear.md", "2.3")
@pytest.mark.spec("authgear.md", "2.4")
@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
def test_the_tokens_say_who_it_is_and_that_it_is_a_guest(
    application: Application, browser: Client, known: bool
) -> None:
    tokens = logged_in(browser, request(browser))
    if known:
        tokens = logged_in(browser, request(browser))
    sub = str(EndUser.objects.get().pk)
    claims = claims_of(browser, tokens["id_token"], audience="web")
    facts = {
        f"{CLAIM}is_anonymous": True,
        f"{CLAIM}is_verified": False,
        f"{CLAIM}can_reauthenticate": False,
        f"{CLAIM}roles": [],
    }
    assert (claims["iss"], claims["aud"], claims["sub"], claims["amr"]) == (ORIGIN, ["web"], sub, ["pop"])
    assert facts.items() <= claims.items()
    assert claims["exp"] - claims["iat"] == 300
    assert abs(claims["auth_time"] - time.time()) < 10
    assert "nonce" not in claims
    access = claims_of(browser, tokens["access_token"], audience=ORIGIN)
    assert (access["sub"], access["client_id"], access["scope"]) == (sub, "web", SCOPE)
    assert facts.items() <= access.items()
    info = userinfo(browser, tokens["access_token"]).json()
    assert info["sub"] == sub
    assert facts.items() <= info.items()
    assert (info[f"{CLAIM}authenticators"], info["custom_attributes"]) == ([], {})
    assert [one["type"] for one in info[f"{CLAIM}identities"]] == ["anonymous"]
    again = claims_of(browser, refreshed(browser, tokens["refresh_token"])["id_token"], audience="web")
    assert (again["sub"], again["sid"], again["amr"]) == (sub, claims["sid"], ["pop"])


def test_opaque_access_tokens_and_es256_as_the_application_wants(application: Application, browser: Client) -> None:
    wanted = {"issue_jwt_access_token": False, "access_token_lifetime": 600, "id_token_signed_response_alg": "ES256"}
    configure(application, **wanted)
    tokens = logged_in(browser, request(browser))
    assert (tokens["expires_in"], "." in tokens["access_token"]) == (600, False)
    assert sub_of(browser, tokens["access_token"]) == claims_of(browser, tokens["id_token"], audience="web")["sub"]


# --- a known key ----------------------------------------------------------------------------------


def test_a_known_key_changes_its_last_use_and_opens_a_session_and_nothing_else(
    application: Application, browser: Client
) -> None:
    noon = timezone.now().replace(hour=12)  # of whoever comes back on another day that is noted, too
    with time_machine.travel(noon):
        first = sub_with(browser, request(browser))
    first_session, key = only_session(), DeviceKey.objects.get()
    guest = state_of(first_session.end_user, first_session.end_user.user)
    identity = AnonymousIdentity.objects.values().get()
    with time_machine.travel(noon + timedelta(hours=1)):
        now = timezone.now()
        assert sub_with(browser, request(browser, header=NO_JWK)) == first
    after = DeviceKey.objects.get()
    assert now <= after.last_used_at
    after.last_used_at = key.last_used_at
    assert [getattr(after, field.attname) for field in DeviceKey._meta.fields] == [
        getattr(key, field.attname) for field in DeviceKey._meta.fields
    ]
    assert state_of(first_session.end_user, first_session.end_user.user) == guest
    assert AnonymousIdentity.objects.values().get() == identity
    old, new = Session.objects.order_by("created_at")
    assert (old.pk, old.ended_at) == (first_session.pk, None)
    assert (new.amr, new.kind, new.scope, new.application_id) == ("pop", "token", SCOPE, application.pk)


@pytest.mark.parametrize("old", ["react-native-android-2.10", "android-2", "flutter-android-3"])
def test_an_apps_update_spells_the_same_key_without_the_zero_octet(
    application: Application, browser: Client, old: str
) -> None:
    new = {"react-native-android-2.10": "react-native", "android-2": "android", "flutter-android-3": "flutter-android"}
    assert java(numbers_of(rsa_key()).n) != jwk_of(rsa_key())["n"]
    sub = sub_with(browser, sample(browser, old))
    assert sub_with(browser, sample(browser, new[old])) == sub
    assert sub_with(browser, sample(browser, old)) == sub, "and back: two devices of one account are not possible"
    assert DeviceKey.objects.count() == 1


def test_an_elliptic_key_does_as_well(application: Application, browser: Client) -> None:
    sub = sub_with(browser, request(browser, ec_key()))
    assert sub_with(browser, request(browser, ec_key(), header=NO_JWK)) == sub
    key = DeviceKey.objects.get()
    assert (key.algorithm, set(key.jwk)) == ("ES256", {"kty", "crv", "x", "y"})


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_sizes_of_keys(application: Application, browser: Client, bits: int) -> None:
    assert logged_in(browser, request(browser, rsa_key(bits)))


def test_the_jwk_may_say_what_it_is_for(application: Application, browser: Client) -> None:
    """WebCrypto adds `ext` and `key_ops`; `kid` in the header may be left out beside a jwk."""
    more = {"use": "sig", "key_ops": ["verify"], "ext": True, "x5t": "x", "alg": ABSENT}
    jwk = jwk_of(rsa_key(), **more)
    sub = sub_with(browser, request(browser, header={"jwk": jwk, "kid": ABSENT}))
    assert sub_with(browser, request(browser, header=NO_JWK)) == sub
    assert set(DeviceKey.objects.get().jwk) == {"kty", "n", "e"}


@pytest.mark.parametrize("key_id", ["a" * 8, "Z" * 64, "-_-_-_-_", "12345678", APPLE_KEY_ID, APPLE_KEY_ID.lower()])
def test_what_key_ids_may_look_like(application: Application, browser: Client, key_id: str) -> None:
    sub = sub_with(browser, request(browser, key_id=key_id))
    assert sub_with(browser, request(browser, key_id=key_id, header=NO_JWK)) == sub
    assert DeviceKey.objects.get().key_id == key_id


def test_key_ids_are_told_apart_by_case(application: Application, browser: Client) -> None:
    """MariaDB would not."""
    upper = sub_with(browser, request(browser, key_id=APPLE_KEY_ID))
    refuse(browser, request(browser, rsa_key(name="b"), key_id=APPLE_KEY_ID.lower(), header=NO_JWK))
    refuse(browser, request(browser, key_id=APPLE_KEY_ID.lower(), header=NO_JWK))
    assert sub_with(browser, request(browser, key_id=APPLE_KEY_ID)) == upper


def test_two_devices_are_two_guests(application: Application, browser: Client) -> None:
    one = sub_with(browser, request(browser))
    two = sub_with(browser, request(browser, rsa_key(name="b"), key_id=OTHER_KEY_ID))
    assert one != two
    assert sub_with(browser, request(browser, header=NO_JWK)) == one
    assert EndUser.objects.count() == 2


def test_unknown_fields_cookies_and_a_bearer_token_do_not_matter(application: Application, browser: Client) -> None:
    """React Native keeps the cookies of its in-app browser to itself, but other clients may not."""
    other = get_tokens(browser)
    browser.cookies["anonusers_session"] = "garbage"
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {other['access_token']}"}
    fields = {"scope": "openid", "sub": "x", "user_id": "1", "refresh_token": other["refresh_token"], "username": "x"}
    sub = sub_with(browser, request(browser), **fields, **bearer)
    assert sub != sub_of(browser, other["access_token"])
    assert Session.objects.get(amr="pop").scope == SCOPE
    assert refresh(browser, other["refresh_token"]).status_code == 200, "and it lives"


# --- events ---------------------------------------------------------------------------------------


@pytest.mark.spec("authgear.md", "4.8")
def test_what_the_host_is_told(
    application: Application, browser: Client, django_capture_on_commit_callbacks: Any
) -> None:
    with events_told(django_capture_on_commit_callbacks) as told:
        logged_in(browser, request(browser))
    assert told == ["user.created"]
    with events_told(django_capture_on_commit_callbacks) as told:
        logged_in(browser, request(browser, header=NO_JWK))
    assert told == ["user.authenticated"]
    with events_told(django_capture_on_commit_callbacks) as told:
        refuse(browser, request(browser, rsa_key(name="b")))
        refuse(browser, "garbage")
    assert told == []
    configure(application, max_concurrent_sessions=1)
    with events_told(django_capture_on_commit_callbacks) as told:
        logged_in(browser, request(browser, header=NO_JWK))
    assert sorted(told) == ["user.authenticated", "user.signed_out", "user.signed_out"]


# --- sessions of before ---------------------------------------------------------------------------


def test_where_one_session_is_allowed_those_of_before_end(application: Application, browser: Client) -> None:
    other = make_application(application.project, "other")
    configure(application, max_concurrent_sessions=1)
    first = logged_in(browser, request(browser))
    elsewhere = logged_in(browser, request(browser), client_id="other")
    bobs = logged_in(browser, request(browser, rsa_key(name="b"), key_id=OTHER_KEY_ID))

    second = logged_in(browser, request(browser, header=NO_JWK))

    assert refresh(browser, first["refresh_token"]).status_code == 400
    assert userinfo(browser, first["access_token"]).status_code == 401
    for tokens in (second, elsewhere, bobs):
        assert userinfo(browser, tokens["access_token"]).status_code == 200
    assert Session.objects.filter(ended_at=None, application=other).count() == 1
    assert Session.objects.filter(ended_at=None, application=application).count() == 2


def test_a_refused_log_in_ends_no_session(application: Application, browser: Client) -> None:
    configure(application, max_concurrent_sessions=1)
    tokens = logged_in(browser, request(browser))
    jwt = request(browser)
    logged_in(browser, jwt)
    latest = Session.objects.get(ended_at=None)
    refuse(browser, jwt)
    refuse(browser, request(browser, rsa_key(name="b")))
    assert Session.objects.get(ended_at=None) == latest
    assert userinfo(browser, tokens["access_token"]).status_code == 401


# --- the clock ------------------------------------------------------------------------------------

OFF = [-299, -300, 0, 299, 300]
TOO_FAR = [-301, 301]


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("name", ["react-native", "flutter-android"])
@pytest.mark.parametrize("off", OFF + TOO_FAR)
def test_a_phone_may_be_five_minutes_wrong(
    application: Application, browser: Client, name: str, off: int, known: bool
) -> None:
    """B20: the SDKs sign for one minute, and Flutter for five; here `exp` of all is the moment itself."""
    with time_machine.travel(timezone.now().replace(microsecond=0), tick=False):
        if known:
            logged_in(browser, request(browser))
        now = int(time.time())
        for claims in ({"iat": now + off, "exp": now + off}, {"iat": now + off + 0.0, "exp": now + off + 0.0}):
            jwt = request(browser, claims=claims)
            if off in OFF:
                assert logged_in(browser, jwt)
            else:
                refuse(browser, jwt)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_request_is_good_as_long_as_its_challenge(application: Application, browser: Client, name: str) -> None:
    """The challenge lives for five minutes of our clock, the signature for one and five more."""
    with time_machine.travel(timezone.now().replace(microsecond=0), tick=False) as clock:
        early, late = sample(browser, name), sample(browser, name)
        clock.shift(299)
        assert logged_in(browser, early)
        clock.shift(1)
        refuse(browser, late)


# --- who may ask ----------------------------------------------------------------------------------


@pytest.mark.parametrize("type", ["spa", "traditional_webapp", "native", ""])
def test_applications_of_people(project: Project, browser: Client, type: str) -> None:
    make_application(project, type=type)
    sub = sub_with(browser, request(browser))
    assert sub_with(browser, request(browser, header=NO_JWK)) == sub


TYPE_NOT_ALLOWED = (
    "anonymous users are not supported for this application type, use SPA, Traditional Web App or Native App instead"
)


@pytest.mark.parametrize("type", ["confidential", "third_party_app", "m2m"])
def test_applications_that_are_none(application: Application, browser: Client, type: str) -> None:
    make_application(application.project, "other", type=type)
    logged_in(browser, request(browser))
    for jwt in (request(browser), request(browser, rsa_key(name="b"), key_id=OTHER_KEY_ID), "garbage"):
        refuse(browser, jwt, 400, "unauthorized_client", TYPE_NOT_ALLOWED, client_id="other", client_secret="x")


@pytest.mark.spec("authgear.md", "0.4")
def test_a_web_view_may_read_the_answer(application: Application, browser: Client) -> None:
    response = log_in(browser, request(browser), HTTP_ORIGIN=APP_ORIGIN)
    assert response.headers["Access-Control-Allow-Origin"] == APP_ORIGIN
    response = log_in(browser, "garbage", HTTP_ORIGIN=APP_ORIGIN)
    assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (REFUSAL[0], APP_ORIGIN)


def test_the_session_is_one_like_others(application: Application, browser: Client) -> None:
    """It is refreshed, rotated, re-used by the web's sign-up, and revoked."""
    tokens = logged_in(browser, request(browser))
    rotated = refreshed(browser, tokens["refresh_token"])
    assert set(rotated) == {"token_type", "access_token", "expires_in", "refresh_token", "id_token"}
    assert ask_for_tokens(browser, rotated["refresh_token"]).status_code == 200
    assert EndUser.objects.count() == 1
    assert post_form(browser, "/oauth2/revoke", {"token": rotated["refresh_token"]}).status_code == 200
    assert userinfo(browser, tokens["access_token"]).status_code == 401
    assert logged_in(browser, request(browser, header=NO_JWK)), "the key is not the session's"


def test_a_client_id_and_a_jwt_are_required(application: Application, browser: Client) -> None:
    jwt = request(browser)
    for fields, error in (
        ({"client_id": "web"}, "jwt is required"),
        ({"client_id": "web", "jwt": ""}, "jwt is required"),
        ({"jwt": jwt}, "invalid client ID"),
        ({"jwt": jwt, "client_id": ""}, "invalid client ID"),
    ):
        response = post_form(browser, TOKEN, {"grant_type": GRANT} | fields)
        assert (response.status_code, response.json()["error_description"]) == (400, error)
    assert logged_in(browser, jwt)
