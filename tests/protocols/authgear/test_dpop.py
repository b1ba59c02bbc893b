"""DPoP (RFC 9449): a refresh token that was handed out with a proof is worth nothing without another one."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from anonusers.keypairs import parse_public_key
from anonusers.models import Application, EndUser, OneTimeToken, Session
from tests.anonusers.signing import ABSENT, b64, ec_key, jwk_of, rsa_key
from tests.conftest import APP_ORIGIN, ORIGIN
from tests.protocols.authgear.keys import (
    CHALLENGE,
    ask_challenge,
    logged_in,
    refuse,
    refused_and_the_challenge_is_good,
    request,
    sample,
    sign,
)
from tests.protocols.authgear.proofs import KEY, OTHER_KEY, PROVERS, REFUSED, by_sdk, proof, text_of
from tests.protocols.authgear.steps import (
    DISCOVERY,
    GRANT_ID_TOKEN,
    NO_SUCH_TOKEN,
    REVOKE,
    TOKEN,
    USERINFO,
    assert_oauth_error,
    bearer,
    claims_of,
    configure,
    nothing_changes,
    only_session,
    post_form,
    sub_of,
    userinfo,
)

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.database,
    pytest.mark.spec("authgear.md", "2.5"),
    pytest.mark.spec("RFC 9449", "4.3"),
    pytest.mark.spec("RFC 9449", "5"),
]

Header = dict[str, str]


def thumbprint(private: Any) -> str:
    jwk = jwk_of(private)
    return parse_public_key(jwk, algorithm=jwk["alg"]).thumbprint


def refresh(client: Client, token: str, header: Header | None = None, **fields: str) -> Any:
    form = {"grant_type": "refresh_token", "client_id": "web", "refresh_token": token, **fields}
    return post_form(client, TOKEN, form, **(header or {}))


def refreshed(client: Client, token: str, header: Header | None = None) -> dict[str, Any]:
    response = refresh(client, token, header)
    assert response.status_code == 200, response.content
    assert set(response.json()) == {"token_type", "access_token", "expires_in", "refresh_token", "id_token"}
    assert response.json()["token_type"] == "Bearer"
    return response.json()


@pytest.fixture
def token(application: Application, browser: Client) -> str:
    """A refresh token that is bound to KEY."""
    return logged_in(browser, request(browser), **proof())["refresh_token"]


# --- what each SDK does ---------------------------------------------------------------------------


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("name", PROVERS)
def test_the_session_of_each_sdk_is_bound_to_its_key(
    application: Application, browser: Client, name: str, known: bool
) -> None:
    if known:
        logged_in(browser, sample(browser, name))
        Session.objects.update(ended_at=timezone.now())

    tokens = logged_in(browser, sample(browser, name), **by_sdk(name))

    session = Session.objects.get(ended_at=None)
    assert session.dpop_jkt == thumbprint(PROVERS[name][1])
    sub = sub_of(browser, tokens["access_token"])
    assert sub == str(session.end_user_id), "access tokens stay bearer tokens: no SDK can do otherwise"
    assert "cnf" not in claims_of(browser, tokens["access_token"], audience=ORIGIN)
    for _ in range(3):
        tokens = refreshed(browser, tokens["refresh_token"], by_sdk(name))
    with nothing_changes():
        assert_oauth_error(refresh(browser, tokens["refresh_token"]), *REFUSED)
        other = by_sdk(next(other for other in PROVERS if PROVERS[other][1] != PROVERS[name][1]))
        assert_oauth_error(refresh(browser, tokens["refresh_token"], other), *NO_SUCH_TOKEN)
    assert claims_of(browser, refreshed(browser, tokens["refresh_token"], by_sdk(name))["id_token"], audience="web")


def test_a_session_without_a_proof_is_not_bound(application: Application, browser: Client) -> None:
    """And proofs that are sent later do not bind it, nor are they noted."""
    token = logged_in(browser, request(browser))["refresh_token"]
    assert only_session().dpop_jkt == ""
    header = proof()
    for _ in range(2):
        token = refreshed(browser, token, header)["refresh_token"]
    token = refreshed(browser, token, proof(OTHER_KEY))["refresh_token"]
    token = refreshed(browser, token)["refresh_token"]
    assert only_session().dpop_jkt == ""
    assert not OneTimeToken.objects.filter(purpose="dpop_proof").exists()
    with nothing_changes():
        assert_oauth_error(refresh(browser, token, {"HTTP_DPOP": "garbage"}), *REFUSED)
    assert refreshed(browser, token)


def test_a_guest_whose_key_is_another_one_after_each_log_out(application: Application, browser: Client) -> None:
    """The SDKs make a new DPoP key for each session: it is bound to that, never to the guest or the device key."""
    first = logged_in(browser, request(browser), **proof())["refresh_token"]
    second = logged_in(browser, request(browser), **proof(OTHER_KEY))["refresh_token"]
    third = logged_in(browser, request(browser))["refresh_token"]
    assert EndUser.objects.count() == 1
    for token, own, other in ((first, KEY, OTHER_KEY), (second, OTHER_KEY, KEY)):
        with nothing_changes():
            assert_oauth_error(refresh(browser, token, proof(other)), *NO_SUCH_TOKEN)
            assert_oauth_error(refresh(browser, token), *REFUSED)
        assert refreshed(browser, token, proof(own))
    assert refreshed(browser, third)


def test_the_device_key_may_sign_the_proof_too(application: Application, browser: Client) -> None:
    token = logged_in(browser, request(browser), **proof(rsa_key()))["refresh_token"]
    assert refreshed(browser, token, proof(rsa_key()))


def test_an_application_may_do_without(application: Application, browser: Client) -> None:
    """Authgear: `x_dpop_disabled`. What was bound before is not, as long as it is off."""
    bound = logged_in(browser, request(browser), **proof())["refresh_token"]
    configure(application, dpop_enabled=False)
    unbound = logged_in(browser, request(browser), HTTP_DPOP="garbage")["refresh_token"]
    assert Session.objects.filter(dpop_jkt="").count() == 1
    assert refreshed(browser, unbound, {"HTTP_DPOP": "garbage"})
    bound = refreshed(browser, bound, {"HTTP_DPOP": "garbage"})["refresh_token"]
    configure(application, dpop_enabled=True)
    with nothing_changes():
        assert_oauth_error(refresh(browser, bound), *REFUSED)
    assert refreshed(browser, bound, proof())


# --- bad proofs -----------------------------------------------------------------------------------


def now(seconds: float = 0) -> int:
    return int(time.time() + seconds)


def swapped() -> str:
    one, other = text_of().split("."), text_of().split(".")
    return f"{one[0]}.{one[1]}.{other[2]}"


BAD: dict[str, Callable[[], str]] = {
    "garbage": lambda: "garbage",
    "nothing": lambda: "",
    "a blank": lambda: " ",
    "a.b.c": lambda: "a.b.c",
    "two proofs": lambda: f"{text_of()}, {text_of()}",
    "padded": lambda: text_of() + "==",
    "a blank after it": lambda: f"{text_of()} x",
    "cut": lambda: text_of()[:-4],
    "long": lambda: "A" * 9000,
    "another claims part": swapped,
    "a signature by another key": lambda: text_of(signed_by=OTHER_KEY),
    "htu of another path": lambda: text_of(htu=f"{ORIGIN}/oauth2/revoke"),
    "htu with a slash": lambda: text_of(htu=f"{ORIGIN}{TOKEN}/"),
    "htu in another case": lambda: text_of(htu=f"{ORIGIN}{TOKEN.upper()}"),
    "htu of another host": lambda: text_of(htu=f"https://evil.example{TOKEN}"),
    "htu of another scheme": lambda: text_of(htu=f"https://localhost:8000{TOKEN}"),
    "htu of another port": lambda: text_of(htu=f"http://localhost:8001{TOKEN}"),
    "htu with a user": lambda: text_of(htu=f"http://x@localhost:8000{TOKEN}"),
    "htu with a blank": lambda: text_of(htu=f"{ORIGIN}{TOKEN} "),
    "htu with a line break": lambda: text_of(htu=f"{ORIGIN}/oauth2\n/token"),
    "htu is a path": lambda: text_of(htu=TOKEN),
    "htu is a list": lambda: text_of(htu=[f"{ORIGIN}{TOKEN}"]),
    "a bad port": lambda: text_of(htu=f"http://localhost:x{TOKEN}"),
    "no htu": lambda: text_of(htu=ABSENT),
    "htm GET": lambda: text_of(htm="GET"),
    "htm in another case": lambda: text_of(htm="post"),
    "no htm": lambda: text_of(htm=ABSENT),
    "old": lambda: text_of(iat=now(-302)),
    "of the future": lambda: text_of(iat=now(302), exp=now(400)),
    "expired": lambda: text_of(exp=now(-302)),
    "nbf in the future": lambda: text_of(nbf=now(400)),
    "no iat": lambda: text_of(iat=ABSENT),
    "iat in words": lambda: text_of(iat=str(now())),
    "iat is true": lambda: text_of(iat=True),
    "iat in milliseconds": lambda: text_of(iat=now() * 1000),
    "exp is null": lambda: text_of(exp=None),
    "no jti": lambda: text_of(jti=ABSENT),
    "an empty jti": lambda: text_of(jti=""),
    "a long jti": lambda: text_of(jti="j" * 201),
    "jti is a number": lambda: text_of(jti=1),
    "NUL in the jti": lambda: text_of(jti="a\0"),
    "half a surrogate pair in the jti": lambda: text_of(jti="\ud800"),
    "typ JWT": lambda: text_of(header={"typ": "JWT"}),
    "no typ": lambda: text_of(header={"typ": ABSENT}),
    "typ of a signed request": lambda: text_of(header={"typ": "vnd.authgear.anonymous-request"}),
    "alg none": lambda: text_of(header={"alg": "none"}),
    "HS256": lambda: text_of(header={"alg": "HS256"}),
    "PS256": lambda: text_of(header={"alg": "PS256"}),
    "no jwk": lambda: text_of(header={"jwk": ABSENT}),
    "jwk is null": lambda: text_of(header={"jwk": None}),
    "a private jwk": lambda: text_of(header={"jwk": jwk_of(KEY, d="AAAA")}),
    "a symmetric jwk": lambda: text_of(header={"jwk": {"kty": "oct", "k": "AAAA"}}),
    "a small key": lambda: text_of(rsa_key(1024)),
    "a jwk for encryption": lambda: text_of(header={"jwk": jwk_of(KEY, use="enc")}),
    "a key off the curve": lambda: text_of(ec_key("dpop"), header={"jwk": jwk_of(ec_key("dpop"), y=b64(bytes(32)))}),
    "crit": lambda: text_of(header={"crit": ["exp"]}),
    "jku": lambda: text_of(header={"jku": "https://evil.example/"}),
    "not ASCII": lambda: text_of() + "é",
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_proof_is_refused_and_nothing_is_lost(token: str, browser: Client, bad: Callable[[], str]) -> None:
    """At a refresh of the bound session, of one that is not, and at a log-in: the challenge stays good, too."""
    unbound = logged_in(browser, request(browser))["refresh_token"]
    header = {"HTTP_DPOP": bad()}
    with nothing_changes():
        for refresh_token in (token, unbound):
            assert_oauth_error(refresh(browser, refresh_token, header), *REFUSED)
    for known in (True, False):
        with refused_and_the_challenge_is_good(browser) as challenge:
            jwt = sign(challenge) if known else sign(challenge, rsa_key(name="b"), key_id="a-new-key")
            refuse(browser, jwt, *REFUSED, **header)
    assert refreshed(browser, token, proof())
    assert refreshed(browser, unbound)


GOOD: dict[str, Callable[[], str]] = {
    "a query in htu": lambda: text_of(htu=f"{ORIGIN}{TOKEN}?x=1"),
    "a fragment in htu": lambda: text_of(htu=f"{ORIGIN}{TOKEN}#x"),
    "the host in another case": lambda: text_of(htu=f"HTTP://LocalHost:8000{TOKEN}"),
    "a slow clock": lambda: text_of(iat=now(-298), exp=now(-238)),
    "a fast clock": lambda: text_of(iat=now(298), exp=now(358)),
    "fractions": lambda: text_of(iat=time.time(), exp=time.time() + 300),
    "no exp": lambda: text_of(exp=ABSENT),
    "no kid": lambda: text_of(header={"kid": ABSENT, "jwk": jwk_of(KEY, kid=ABSENT, alg=ABSENT)}),
    "the longest jti": lambda: text_of(jti="j" * 200),
    "a jti of any letters": lambda: text_of(jti="é☃' --"),
    "claims that nobody knows": lambda: text_of(nonce="x", sub="x", iss="x", aud="x", ath="x"),
}


@pytest.mark.parametrize("good", GOOD.values(), ids=GOOD)
def test_what_a_proof_may_look_like(token: str, browser: Client, good: Callable[[], str]) -> None:
    assert refreshed(browser, token, {"HTTP_DPOP": good()})


def test_there_is_no_prefix_and_the_field_of_the_form_is_none(token: str, browser: Client) -> None:
    text = text_of()
    with nothing_changes():
        assert_oauth_error(refresh(browser, token, {"HTTP_DPOP": f"DPoP {text}"}), *REFUSED)
        assert_oauth_error(refresh(browser, token, DPoP=text, dpop=text), *REFUSED)
    assert refreshed(browser, token, {"HTTP_DPOP": text}), "it was not used up"


# --- replay ---------------------------------------------------------------------------------------


@pytest.mark.spec("RFC 9449", "11.1")
def test_a_proof_is_good_once(token: str, browser: Client) -> None:
    """D26."""
    header = proof(jti="first-jti")
    token = refreshed(browser, token, header)["refresh_token"]
    row = OneTimeToken.objects.filter(purpose="dpop_proof").latest("pk")
    with nothing_changes():
        assert_oauth_error(refresh(browser, token, header), *REFUSED)
        assert_oauth_error(refresh(browser, token, proof(jti="first-jti", iat=now(1))), *REFUSED)
    assert refreshed(browser, token, proof(jti="another one"))
    assert (row.end_user_id, row.application_id, row.payload) == (None, None, {})
    assert row.expires_at >= row.created_at + timedelta(seconds=599), "as long as the proof could be accepted"
    assert "first-jti" not in str(list(OneTimeToken.objects.values())), "only its hash is kept"


@pytest.mark.spec("RFC 9449", "11.1")
def test_a_proof_is_not_good_again_however_long_it_is(token: str, browser: Client) -> None:
    """From the earliest moment at which it is accepted to the latest."""
    moment = timezone.now().replace(microsecond=0) + timedelta(minutes=10)
    with time_machine.travel(moment, tick=False) as clock:
        header = proof(iat=now(300), exp=ABSENT)
        token = refreshed(browser, token, header)["refresh_token"]
        for seconds in (0, 300, 299):
            clock.shift(seconds)
            with nothing_changes():
                assert_oauth_error(refresh(browser, token, header), *REFUSED)
        clock.shift(2)
        assert_oauth_error(refresh(browser, token, header), *REFUSED)


@pytest.mark.spec("RFC 9449", "11.1")
@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
def test_the_proof_of_a_log_in_is_not_good_at_a_refresh(application: Application, browser: Client, known: bool) -> None:
    """Method and URL are the same; whoever reads the first answer in a log has the proof from there, too."""
    if known:
        logged_in(browser, request(browser))
    header = proof()
    token = logged_in(browser, request(browser), **header)["refresh_token"]
    with nothing_changes():
        assert_oauth_error(refresh(browser, token, header), *REFUSED)
    assert refreshed(browser, token, proof())


def test_the_same_jti_of_another_key_is_another_proof(application: Application, browser: Client) -> None:
    first = logged_in(browser, request(browser), **proof())["refresh_token"]
    second = logged_in(browser, request(browser), **proof(OTHER_KEY))["refresh_token"]
    assert refreshed(browser, first, proof(jti="one"))
    assert refreshed(browser, second, proof(OTHER_KEY, jti="one"))


def test_a_proof_of_a_stranger_uses_none_up(token: str, browser: Client) -> None:
    """A thief of the refresh token without the key cannot burn the proofs of its owner, nor end the session."""
    with nothing_changes():
        assert_oauth_error(refresh(browser, token, proof(OTHER_KEY, jti="one")), *NO_SUCH_TOKEN)
    assert refreshed(browser, token, proof(jti="one"))


# --- rotation -------------------------------------------------------------------------------------


def test_two_refreshes_at_once_get_the_same_successor(token: str, browser: Client) -> None:
    """Each with its own proof; and an answer that was lost."""
    one, other = (refreshed(browser, token, proof()) for _ in range(2))
    assert one["refresh_token"] == other["refresh_token"]
    assert refreshed(browser, one["refresh_token"], proof())


def test_a_token_that_was_rotated_away_ends_the_session_only_for_who_has_the_key(token: str, browser: Client) -> None:
    latest = refreshed(browser, refreshed(browser, token, proof())["refresh_token"], proof())
    with time_machine.travel(timezone.now() + timedelta(minutes=2)):
        with nothing_changes():
            assert_oauth_error(refresh(browser, token), *REFUSED)
            assert_oauth_error(refresh(browser, token, proof(OTHER_KEY)), *NO_SUCH_TOKEN)
        assert refreshed(browser, latest["refresh_token"], proof())
        assert_oauth_error(refresh(browser, token, proof()), *NO_SUCH_TOKEN)
        assert Session.objects.get().ended_at


def test_a_token_of_nobody_needs_no_proof_to_be_worthless(token: str, browser: Client) -> None:
    with nothing_changes():
        for header in (None, proof()):
            assert_oauth_error(refresh(browser, "A" * 22 + ".0." + "B" * 43, header), *NO_SUCH_TOKEN)
            assert_oauth_error(refresh(browser, "garbage", header), *NO_SUCH_TOKEN)


# --- where no proof is asked for ------------------------------------------------------------------


@pytest.mark.parametrize("header", [{}, {"HTTP_DPOP": "garbage"}], ids=["without", "garbage"])
def test_signing_out_needs_none(token: str, browser: Client, header: Header) -> None:
    """The way out for an app that has lost its key."""
    assert post_form(browser, REVOKE, {"token": token}, **header).status_code == 200
    assert Session.objects.get().ended_at
    assert_oauth_error(refresh(browser, token, proof()), *NO_SUCH_TOKEN)


@pytest.mark.parametrize("header", [{}, {"HTTP_DPOP": "garbage"}], ids=["without", "garbage"])
def test_what_does_not_look_at_it(application: Application, browser: Client, header: Header) -> None:
    access_token = logged_in(browser, request(browser), **proof())["access_token"]
    extra: dict[str, Any] = bearer(access_token) | header
    assert browser.get(USERINFO, **extra).status_code == 200
    assert post_form(browser, USERINFO, **extra).status_code == 200
    assert browser.get(DISCOVERY, **header).status_code == 200
    assert ask_challenge(browser, **header).status_code == 200
    assert browser.get("/oauth2/jwks", **header).status_code == 200
    form = {"grant_type": GRANT_ID_TOKEN, "client_id": "web"}
    assert set(post_form(browser, TOKEN, form, **extra).json()) == {"id_token"}
    assert userinfo(browser, access_token).status_code == 200
    unknown = post_form(browser, TOKEN, {"grant_type": "x"}, **header)
    assert_oauth_error(unknown, 400, "unsupported_grant_type")


def test_scripts_may_send_it(application: Application, browser: Client) -> None:
    asked = {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST", "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": "dpop"}
    for path in (TOKEN, CHALLENGE):
        response = browser.options(path, HTTP_ORIGIN=APP_ORIGIN, **asked)
        assert response.headers["Access-Control-Allow-Headers"] == "dpop"


def test_the_algorithms_are_published(application: Application, browser: Client) -> None:
    """RFC 9449 §5.1, authgear.md §1.1."""
    assert browser.get(DISCOVERY).json()["dpop_signing_alg_values_supported"] == ["ES256", "RS256"]
