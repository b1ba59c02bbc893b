"""DPoP proofs as values: no database in here. As in test_keypairs, what is refused is signed as it stands."""

import base64
import contextlib
import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonusers.dpop import DPoPProof, verify_dpop_proof
from anonusers.errors import DPoPProofRefused
from tests.anonusers.signing import (
    ABSENT,
    NOW,
    T,
    a_request,
    b64,
    changed,
    ec_key,
    java,
    jwk_of,
    key_of,
    numbers_of,
    octets_of,
    rsa_key,
    signature_of,
    signed,
)

URL = "https://auth.example.com/oauth2/token"
TOKEN = "an-access-token"
ATH = b64(hashlib.sha256(TOKEN.encode()).digest())


def header_of(private: Any, **changes: Any) -> dict[str, Any]:
    jwk = jwk_of(private)
    return changed({"typ": "dpop+jwt", "kid": jwk["kid"], "alg": jwk["alg"], "jwk": jwk}, changes)


def claims_with(**changes: Any) -> dict[str, Any]:
    return changed({"iat": T, "exp": T + 60, "jti": "8f7b0c5e", "htm": "POST", "htu": URL}, changes)


def a_proof(private: Any = None, header: Any = None, claims: Any = None) -> str:
    private = private or rsa_key()
    return signed(json.dumps(header_of(private, **(header or {}))), json.dumps(claims_with(**(claims or {}))), private)


def verified(text: Any, **changes: Any) -> DPoPProof:
    return verify_dpop_proof(text, **({"method": "POST", "url": URL, "now": NOW} | changes))


def assert_refused(text: Any, **changes: Any) -> None:
    thumbprint = key_of(rsa_key()).thumbprint
    base = a_proof(claims={"ath": ATH}) if "access_token" in changes else a_proof()
    assert verified(base, **({"access_token": TOKEN} if "access_token" in changes else {})) == DPoPProof(
        thumbprint, "8f7b0c5e", T
    )
    with pytest.raises(DPoPProofRefused) as refused:
        verified(text, **changes)
    assert (refused.value.code, refused.value.__cause__) == ("dpop_proof_refused", None)
    assert str(refused.value) == "The DPoP proof is missing, not valid, or was made with another key."


@pytest.mark.spec("RFC 9449", "4.3")
@pytest.mark.parametrize("private", [rsa_key, lambda: rsa_key(3072), ec_key], ids=["RS256", "RS256 3072", "ES256"])
def test_a_proof_of_the_sdks_is_verified(private):
    assert verified(a_proof(private())) == DPoPProof(key_of(private()).thumbprint, "8f7b0c5e", T)


ACCEPTED: dict[str, Callable[[], tuple[dict[str, Any], dict[str, Any]]]] = {
    "no kid": lambda: ({"kid": ABSENT, "jwk": jwk_of(rsa_key(), kid=ABSENT)}, {}),
    "kid of another shape": lambda: ({"kid": ["x"], "jwk": jwk_of(rsa_key(), kid=7)}, {}),
    "bare jwk": lambda: ({"jwk": jwk_of(rsa_key(), alg=ABSENT, kid=ABSENT)}, {}),
    "Java's spelling": lambda: ({"jwk": jwk_of(rsa_key(), n=java(numbers_of(rsa_key()).n))}, {}),
    "floats of Flutter": lambda: ({}, {"iat": T + 0.9, "exp": T + 300.123}),
    "no exp": lambda: ({}, {"exp": ABSENT}),
    "exp 300 s ago": lambda: ({}, {"exp": T - 300}),
    "exp in a year": lambda: ({}, {"exp": T + 31_536_000}),
    "exp in 10^400": lambda: ({}, {"exp": 10**400}),
    "nbf in 300 s": lambda: ({}, {"nbf": T + 300}),
    "a nonce": lambda: ({}, {"nonce": 1}),
    "unknown claims": lambda: ({}, {"sub": "victim", "aud": 1}),
    "another token's hash": lambda: ({}, {"ath": "x"}),
    "a long jti": lambda: ({}, {"jti": "j" * 200}),
    "query and fragment": lambda: ({}, {"htu": URL + "?x_state=1&a=/../#part"}),
    "case": lambda: ({}, {"htu": "HTTPS://Auth.EXAMPLE.com/oauth2/token"}),
    "default port": lambda: ({}, {"htu": "https://auth.example.com:443/oauth2/token"}),
    "empty port": lambda: ({}, {"htu": "https://auth.example.com:/oauth2/token"}),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_proof_may_have(name):
    header, claims = ACCEPTED[name]()
    proof = verified(a_proof(header=header, claims=claims))
    assert proof == DPoPProof(key_of(rsa_key()).thumbprint, claims.get("jti", "8f7b0c5e"), T)


@pytest.mark.parametrize("skew", [-300, -299, 299, 300])
def test_clocks_of_phones_are_wrong(skew):
    assert verified(a_proof(claims={"iat": T + skew})).issued_at == T + skew
    assert verified(a_proof(), now=NOW + timedelta(seconds=skew)).issued_at == T


def test_slashes_as_apple_and_android_write_them():
    claims = json.dumps(claims_with()).replace("/", "\\/").replace(f'"iat": {T}', f'"iat": {T / 1e9!r}E9')
    assert "E9" in claims
    assert verified(signed(json.dumps(header_of(rsa_key())), claims)) == verified(a_proof())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("http://localhost:8000/x", "http://LOCALHOST:8000/x?q"),
        ("http://localhost", "http://localhost:80/"),
        ("http://localhost:80/", "http://localhost"),
        ("https://a.example/?q=1", "https://a.example"),
        ("http://[::1]:8000/x", "http://[::1]:8000/x"),
        ("https://a.example/x%2Fy;v=1", "https://a.example/x%2Fy;v=1"),
    ],
)
def test_a_url_in_two_spellings(ours, theirs):
    assert verified(a_proof(claims={"htu": theirs}), url=ours)


@pytest.mark.spec("RFC 9449", "4.2")
def test_the_hash_of_the_access_token():
    assert verified(a_proof(claims={"ath": ATH}), access_token=TOKEN)
    assert_refused(a_proof(), access_token=TOKEN)
    assert verified(a_proof(claims={"ath": "x"}))
    hashes = {"of another token": b64(hashlib.sha256(b"another").digest()), "padded": ATH + "=", "hex": "ab" * 32}
    hashes["SHA-512"] = b64(hashlib.sha512(TOKEN.encode()).digest())
    hashes["not URL-safe"] = base64.b64encode(hashlib.sha256(TOKEN.encode()).digest()).decode()
    for ath in (*hashes.values(), None, "", [ATH], 1):
        assert_refused(a_proof(claims={"ath": ath}), access_token=TOKEN)
    assert_refused(a_proof(claims={"ath": ATH}), access_token="")
    with pytest.raises(DPoPProofRefused):
        verified(a_proof(), access_token="\ud800")


def of_length(length: int) -> str:
    """A proof of exactly so many characters; blanks are free in JSON."""
    more = (length - len(a_proof())) * 3 // 4
    for blanks in range(more * 4):
        text = signed(
            json.dumps(header_of(rsa_key())) + " " * (blanks % 3),
            json.dumps(claims_with()) + " " * (more - 3 + blanks // 3),
        )
        if len(text) == length:
            return text
    raise AssertionError(length)


def test_as_long_as_may_be():
    assert verified(of_length(8_192))
    assert_refused(of_length(8_193))


TYPES = ("JWT", "DPoP+JWT", "application/dpop+jwt", "at+jwt", None)
ALGORITHMS = ("none", "HS256", "PS256", "ES256", None)
UNKNOWN = ("crit", "b64", "jku", "x5c", "x5u", "nonce")
HEADERS_REFUSED: dict[str, Callable[[], dict[str, Any]]] = {
    **{f"typ {typ!r}": lambda typ=typ: {"typ": typ} for typ in TYPES},
    "typ missing": lambda: {"typ": ABSENT},
    "typ of a signed request": lambda: {"typ": "vnd.authgear.anonymous-request"},
    **{f"alg {alg!r}": lambda alg=alg: {"alg": alg, "jwk": jwk_of(rsa_key(), alg=ABSENT)} for alg in ALGORITHMS},
    **{f"{name} in the header": lambda name=name: {name: "x"} for name in UNKNOWN},
    "no jwk": lambda: {"jwk": ABSENT},
    "jwk null": lambda: {"jwk": None},
    "jwk of another key": lambda: {"jwk": jwk_of(rsa_key(name="other"))},
    "jwk of another type": lambda: {"jwk": jwk_of(ec_key())},
    "private jwk": lambda: {"jwk": jwk_of(rsa_key(), d="AQAB")},
    "symmetric jwk": lambda: {"jwk": {"kty": "oct", "k": "AQAB"}},
    "two zero octets": lambda: {"jwk": jwk_of(rsa_key(), n=octets_of(numbers_of(rsa_key()).n, 258))},
}  # fmt: skip
CLAIMS_REFUSED: dict[str, dict[str, Any]] = {
    "htm missing": {"htm": ABSENT},
    **{f"htm {htm!r}": {"htm": htm} for htm in ("GET", "post", "POST ", "", None, ["POST"])},
    "htu missing": {"htu": ABSENT},
    **{f"htu {htu!r}": {"htu": htu} for htu in (
        None, 1, [URL], "", "/oauth2/token", "auth.example.com/oauth2/token", "//auth.example.com/oauth2/token",
        "http://auth.example.com/oauth2/token", "https://auth.example.com:80/oauth2/token",
        "http://auth.example.com:443/oauth2/token",
        "https://auth.example.com:8443/oauth2/token", "https://auth.example.com:0/oauth2/token",
        "https://auth.example.com:x/oauth2/token", "https://auth.example.com:99999/oauth2/token",
        "https://evil.example/oauth2/token", "https://auth.example.com.evil.example/oauth2/token",
        "https://auth.example.com@evil.example/oauth2/token", "https://x@auth.example.com/oauth2/token",
        "https://evil.example\\@auth.example.com/oauth2/token", "https://evil.example?/auth.example.com/oauth2/token",
        "https://auth.example.com/oauth2/Token", "https://auth.example.com/oauth2/token/",
        "https://auth.example.com/oauth2//token", "https://auth.example.com/oauth2/userinfo",
        "https://auth.example.com/oauth2/token;x", "https://auth.example.com", "https:///oauth2/token",
        "https:/auth.example.com/oauth2/token", "https://[::1/oauth2/token", "https://\u212auth.example.com/oauth2/token",
        URL + " ", " " + URL, URL + "\n", URL.replace("token", "to\tken"), URL.replace("a", "а", 1), "\ud800",
    )},
    "iat missing": {"iat": ABSENT},
    **{f"iat {iat!r:.20}": {"iat": iat} for iat in (
        None, True, str(T), [T], 0, -T, 10**400, -(10**400), T - 301, T + 301, T - 300.001, T + 300.001,
    )},
    **{f"exp {exp!r:.20}": {"exp": exp} for exp in (None, True, str(T), [], T - 301, T - 300.001, -(10**400))},
    **{f"nbf {nbf!r:.20}": {"nbf": nbf} for nbf in (None, True, str(T), {}, T + 301, T + 300.001, 10**400)},
    "jti missing": {"jti": ABSENT},
    **{f"jti {jti!r:.20}": {"jti": jti} for jti in (None, "", 1, True, ["x"], "j" * 201, "\0", "\ud800")},
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS_REFUSED)
def test_a_header_is_refused(name):
    assert_refused(a_proof(header=HEADERS_REFUSED[name]()))


@pytest.mark.parametrize("name", CLAIMS_REFUSED)
def test_a_payload_is_refused(name):
    assert_refused(a_proof(claims=CLAIMS_REFUSED[name]))


TEXTS_REFUSED: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "nothing": lambda: "",
    "bytes": lambda: a_proof().encode(),
    "a signed request": a_request,
    "two proofs": lambda: a_proof() + "," + a_proof(),
    "newline after": lambda: a_proof() + "\n",
    "padded": lambda: a_proof() + "==",
    "no signature": lambda: a_proof().rpartition(".")[0] + ".",
    "signature of another key": lambda: (
        a_proof().rpartition(".")[0]
        + "."
        + b64(signature_of(a_proof().rpartition(".")[0].encode(), rsa_key(name="other")))
    ),
    "signature of another proof": lambda: (
        a_proof().rpartition(".")[0] + "." + a_proof(claims={"jti": "another"}).rpartition(".")[2]
    ),
    "jti twice": lambda: signed(json.dumps(header_of(rsa_key())), '{"jti": "x", ' + json.dumps(claims_with())[1:]),
    "NaN": lambda: signed(json.dumps(header_of(rsa_key())), json.dumps(claims_with(iat=float("nan")))),
    "infinite": lambda: signed(
        json.dumps(header_of(rsa_key())), json.dumps(claims_with()).replace(f"{T + 60}", "1e400")
    ),
}


@pytest.mark.parametrize("name", TEXTS_REFUSED)
def test_a_text_is_refused(name):
    assert_refused(TEXTS_REFUSED[name]())


@pytest.mark.parametrize("method", ["GET", "post", ""])
def test_a_proof_for_one_method_is_none_for_another(method):
    assert_refused(a_proof(), method=method)


@pytest.mark.parametrize("url", ["/oauth2/token", "https:///oauth2/token", "", "https://x@auth.example.com/"])
def test_a_url_of_ours_without_a_host_matches_nothing(url):
    assert_refused(a_proof(claims={"htu": url}), url=url)


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)
URLS = st.text(st.sampled_from("htps:/.@[]?#%0aA \\\t\u0130"), max_size=30)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["iat", "exp", "nbf", "jti", "htm", "ath"]), VALUES),
    URLS | URLS.map("https://".__add__) | VALUES,
)
def test_nothing_else_is_raised(claims, url):
    for text in (url, a_proof(claims=claims), a_proof(claims={"htu": url}), a_proof(header={"jwk": claims})):
        with contextlib.suppress(DPoPProofRefused):
            assert verified(text, access_token=TOKEN).thumbprint == key_of(rsa_key()).thumbprint
