"""Device keys and signed requests as values: no database in here.

A refused request differs from a valid one in one point, and its signature is good over that point: so it is the rule
that refuses, and not the signature.
"""

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonusers.errors import KeyProofRefused
from anonusers.keypairs import (
    VerifiedRequest,
    read_signed_request,
)
from tests.anonusers.signing import (
    ABSENT,
    CHALLENGE,
    KEY_ID,
    ORIGIN,
    TYPE,
    T,
    a_request,
    assert_refused,
    b64,
    claims_with,
    ec_key,
    header_of,
    java,
    jwk_of,
    key_of,
    numbers_of,
    parts_signed,
    rsa_key,
    signed,
    verified,
)

# --- what is accepted -----------------------------------------------------------------------------


@pytest.mark.parametrize("brings_key", [True, False], ids=["jwk", "no jwk"])
@pytest.mark.parametrize("bits", [2048, 3072, 4096, 256])
def test_a_request_of_the_sdks_is_verified(bits, brings_key):
    private = ec_key() if bits == 256 else rsa_key(bits)
    key = key_of(private)
    text = a_request(private, header={} if brings_key else {"jwk": ABSENT}, claims={"device_info": {"ios": {"a": [1]}}})
    unverified = read_signed_request(text)
    assert (unverified.unverified_key_id, unverified.unverified_key) == (KEY_ID, key if brings_key else None)
    assert (unverified.algorithm, unverified.text) == (key.algorithm, text)
    assert verified(text, key) == VerifiedRequest(KEY_ID, key, CHALLENGE, {"ios": {"a": [1]}})


ACCEPTED_HEADERS: dict[str, Callable[[], dict[str, Any]]] = {
    "no kid beside the jwk": lambda: {"kid": ABSENT},
    "Android before 3.0.0": lambda: {"jwk": jwk_of(rsa_key(), n=java(numbers_of(rsa_key()).n))},
    "WebCrypto": lambda: {"jwk": jwk_of(rsa_key(), ext=True, key_ops=["verify"], use="sig", alg=ABSENT)},
    "key_ops more": lambda: {"jwk": jwk_of(rsa_key(), key_ops=["encrypt", "verify"])},
    "unknown jwk member": lambda: {"jwk": jwk_of(rsa_key(), color={"red": []})},
    "kid 8": lambda: {"kid": ABSENT, "jwk": jwk_of(rsa_key(), kid="aA0-_-00")},
    "kid 64": lambda: {"kid": ABSENT, "jwk": jwk_of(rsa_key(), kid="k" * 64)},
}


@pytest.mark.parametrize("name", ACCEPTED_HEADERS)
def test_a_header_may_have(name):
    header = ACCEPTED_HEADERS[name]()
    assert verified(a_request(header=header)).key == key_of(rsa_key())
    assert verified(a_request(header=header), key_of(rsa_key())).key == key_of(rsa_key())


ACCEPTED_CLAIMS: dict[str, dict[str, Any]] = {
    "floats of Flutter": {"iat": T + 0.123, "exp": T + 60.123},
    "no iat": {"iat": ABSENT},
    "expired 299 s ago": {"iat": T - 359, "exp": T - 299},
    "expired 300 s ago": {"iat": T - 359, "exp": T - 300},
    "issued in 299 s": {"iat": T + 299, "exp": T + 359},
    "issued in 300 s": {"iat": T + 300, "exp": T + 359},
    "not before 300 s": {"nbf": T + 300},
    "issued long ago": {"iat": 0},
    "expires when issued": {"iat": T, "exp": T},
    "for an hour": {"exp": T + 3600},
    "aud": {"aud": ORIGIN},
    "aud among others": {"aud": ["https://other.example", ORIGIN, 7]},
    "iss": {"iss": ORIGIN},
    "challenge 1": {"challenge": "x"},
    "challenge 100": {"challenge": "é" * 100},
    "a user of his choice": {"sub": "victim", "user_id": 1, "email": "victim@example.com"},
}


@pytest.mark.parametrize("name", ACCEPTED_CLAIMS)
def test_a_payload_may_have(name):
    claims = claims_with(**ACCEPTED_CLAIMS[name])
    answer = verified(a_request(claims=claims))
    assert answer == VerifiedRequest(KEY_ID, key_of(rsa_key()), claims["challenge"], None)


@pytest.mark.parametrize("info", [None, [], "text", 1, True], ids=repr)
def test_device_info_that_is_no_object_is_none(info):
    assert verified(a_request(claims={"device_info": info})).device_info is None


def test_json_as_phones_write_it():
    """Flutter on Android writes doubles in scientific notation; Apple's and org.json's encoders escape slashes."""
    claims = f' {{"iat":{T / 1e9!r}E9,"exp":{(T + 60) / 1e9!r}E9,"challenge":"ABC","action":"auth","aud":"%s"}}\r\n\t'
    text = signed(claims=claims % ORIGIN.replace("/", "\\/"))
    assert verified(text).challenge == "ABC"


# --- what is refused ------------------------------------------------------------------------------

TYPES = ("JWT", "at+jwt", "dpop+jwt", TYPE.upper(), TYPE + "\n", None, [TYPE])
ALGORITHMS = ("none", "None", "", "HS256", "RS384", "PS256", "rs256", "ES256", None, ["RS256"], {})
SECRETS = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
NO_TIMES = (None, True, False, str(T + 60), [T + 60], {}, 10**400)
AUDIENCES = (ORIGIN + "/", "https://other.example", [], ["x" + ORIGIN], None, {ORIGIN: 1}, [[ORIGIN]])
HEADERS_REFUSED: dict[str, Callable[[], dict[str, Any]]] = {
    **{f"{name} in the header": lambda name=name: {name: "x"} for name in ("jku", "x5u", "x5c", "cty", "zip", "Typ")},
    "crit": lambda: {"crit": ["b64"], "b64": True},
    "crit empty": lambda: {"crit": []},
    "b64": lambda: {"b64": True},
    **{f"typ {typ!r}": lambda typ=typ: {"typ": typ} for typ in TYPES},
    "typ missing": lambda: {"typ": ABSENT},
    **{f"alg {alg!r}": lambda alg=alg: {"alg": alg, "jwk": jwk_of(rsa_key(), alg=ABSENT)} for alg in ALGORITHMS},
    "alg missing": lambda: {"alg": ABSENT, "jwk": jwk_of(rsa_key(), alg=ABSENT)},
    "kid of another key": lambda: {"kid": "another-key-id"},
    "kid null beside a jwk": lambda: {"kid": None},
    "kid missing in both": lambda: {"kid": ABSENT, "jwk": jwk_of(rsa_key(), kid=ABSENT)},
    "kid only beside the jwk": lambda: {"jwk": jwk_of(rsa_key(), kid=ABSENT)},
    "jwk null": lambda: {"jwk": None},
    "jwk a list": lambda: {"jwk": [jwk_of(rsa_key())]},
    "jwk a text": lambda: {"jwk": json.dumps(jwk_of(rsa_key()))},
    "jwk of another algorithm": lambda: {"jwk": jwk_of(ec_key())},
    **{f"jwk with {name}": lambda name=name: {"jwk": jwk_of(rsa_key(), **{name: "AQAB"})} for name in SECRETS},
    "jwk.d null": lambda: {"jwk": jwk_of(rsa_key(), d=None)},
    "jwk.alg of another algorithm": lambda: {"jwk": jwk_of(rsa_key(), alg="PS256")},
    "jwk.alg null": lambda: {"jwk": jwk_of(rsa_key(), alg=None)},
    "jwk.use enc": lambda: {"jwk": jwk_of(rsa_key(), use="enc")},
    "jwk.use null": lambda: {"jwk": jwk_of(rsa_key(), use=None)},
    "jwk.key_ops sign": lambda: {"jwk": jwk_of(rsa_key(), key_ops=["sign"])},
    "jwk.key_ops empty": lambda: {"jwk": jwk_of(rsa_key(), key_ops=[])},
    "jwk.key_ops a text": lambda: {"jwk": jwk_of(rsa_key(), key_ops="verify")},
    "jwk.key_ops an object": lambda: {"jwk": jwk_of(rsa_key(), key_ops={"verify": 1})},
    "jwk.kty missing": lambda: {"jwk": jwk_of(rsa_key(), kty=ABSENT)},
    "jwk.kty lower case": lambda: {"jwk": jwk_of(rsa_key(), kty="rsa")},
    "jwk too long": lambda: {"jwk": jwk_of(rsa_key(), ext="x" * 4096)},
}  # fmt: skip
KEY_IDS_REFUSED = [
    "seven77", "k" * 65, "", "../../etc/passwd", "' OR 1=1 -- ", "key\u0131d-turkish", "kéy-id-latin", "١٢٣٤٥٦٧٨",
    "key id blank", "keyid.dot", "key-id-newline\n", None, 12345678, ["key-id-list"],
]  # fmt: skip
CLAIMS_REFUSED: dict[str, dict[str, Any]] = {
    "exp missing": {"exp": ABSENT},
    **{f"exp {exp!r:.20}": {"exp": exp, "iat": ABSENT} for exp in NO_TIMES + (0, -1)},
    "exp 301 s ago": {"iat": T - 400, "exp": T - 301},
    "exp 300.001 s ago": {"iat": T - 400, "exp": T - 300.001},
    "exp in more than an hour": {"exp": T + 3601},
    "exp in an hour and a bit": {"exp": T + 3600.001},
    "iat after exp": {"iat": T + 2, "exp": T + 1},
    "iat in 301 s": {"iat": T + 301, "exp": T + 900},
    "iat in 300.001 s": {"iat": T + 300.001, "exp": T + 900},
    **{f"{name} {value!r:.20}": {name: value} for name in ("iat", "nbf") for value in NO_TIMES},
    "nbf in 301 s": {"nbf": T + 301},
    **{f"action {action!r}": {"action": action} for action in ("promote", "Auth", "auth ", None, ["auth"])},
    "action missing": {"action": ABSENT},
    "challenge missing": {"challenge": ABSENT},
    **{f"challenge {challenge!r:.9}": {"challenge": challenge} for challenge in ("", None, 1, ["x"], {}, "x" * 101)},
    **{f"aud {aud!r}": {"aud": aud} for aud in AUDIENCES},
    **{f"iss {iss!r}": {"iss": iss} for iss in (ORIGIN + "/", "https://other.example", [ORIGIN], None, "")},
    "half a surrogate pair": {"device_info": {"name": "\ud800"}},
    "half a surrogate pair as a name": {"device_info": {"\udfff": 1}},
    "NUL": {"device_info": {"name": ["\0"]}},
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS_REFUSED)
def test_a_header_is_refused(name):
    assert_refused(a_request(header=HEADERS_REFUSED[name]()))


@pytest.mark.parametrize("algorithm", ALGORITHMS[:-4], ids=str)
def test_an_algorithm_is_refused_before_a_key_is_looked_for(algorithm):
    assert read_signed_request(a_request(header={"jwk": ABSENT})).algorithm == "RS256"
    with pytest.raises(KeyProofRefused):
        read_signed_request(a_request(header={"alg": algorithm, "jwk": ABSENT}))


@pytest.mark.parametrize("key_id", KEY_IDS_REFUSED, ids=ascii)
def test_a_key_id_is_refused(key_id):
    assert_refused(a_request(header={"kid": key_id, "jwk": jwk_of(rsa_key(), kid=key_id)}))
    assert_refused(a_request(header={"kid": ABSENT, "jwk": jwk_of(rsa_key(), kid=key_id)}))
    with pytest.raises(KeyProofRefused):
        read_signed_request(a_request(header={"kid": key_id, "jwk": ABSENT}))


@pytest.mark.parametrize("name", CLAIMS_REFUSED)
def test_a_payload_is_refused(name):
    assert_refused(a_request(claims=CLAIMS_REFUSED[name]))


ENCODED = b64(json.dumps(claims_with()).encode())


def spaced(values: Any, length: int) -> str:
    """JSON whose encoding has `length` characters more than a multiple of four."""
    text = json.dumps(values)
    return text + " " * next(more for more in range(3) if len(b64((text + " " * more).encode())) % 4 == length)


def respelled(text: str) -> str:
    """Other unused bits at the end: the same octets for a lenient reader."""
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + last[last.index(text[-1]) + 1]


def with_part(part: int, change: Callable[[str], str]) -> str:
    """A request with one part written differently, and signed as it is written."""
    parts = [b64(spaced(values, 3).encode()) for values in (header_of(rsa_key()), claims_with())]
    parts[part] = change(parts[part])
    return parts_signed(*parts)


def with_in_claims(text: str) -> str:
    """`text` is JSON in device_info, where no rule but the parser's holds."""
    return signed(claims=json.dumps(claims_with())[:-1] + f', "device_info": {text}}}')


def of_length(length: int) -> str:
    """A good request of exactly so many characters."""
    rest = length - len(a_request(claims={"device_info": {"x": ""}}))
    for letters in range(rest * 3 // 4 - 8, rest):
        for blanks in range(3):
            header = json.dumps(header_of(rsa_key())) + " " * blanks
            text = signed(header, json.dumps(claims_with(device_info={"x": "x" * letters})))
            if len(text) == length:
                return text
    raise AssertionError(length)


def standard_alphabet() -> str:
    claims = json.dumps(claims_with(device_info={"x": "???>>>~~~"}))
    part = b64encode((claims + " " * (-len(claims) % 3)).encode()).decode()
    assert set("+/") & set(part)
    assert "=" not in part
    return parts_signed(b64(json.dumps(header_of(rsa_key())).encode()), part)


NUMBERS = ("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 5000)
TEXTS_REFUSED: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "bytes": lambda: a_request().encode(),
    "nothing": lambda: "",
    "dots": lambda: "..",
    "two parts": lambda: a_request().rpartition(".")[0],
    "four parts": lambda: a_request() + ".AA",
    "five parts": lambda: a_request() + ".AA.AA",
    "empty signature": lambda: a_request().rpartition(".")[0] + ".",
    "JSON serialization": lambda: json.dumps(dict.fromkeys(("protected", "payload", "signature"), "AA")),
    "blank before": lambda: " " + a_request(),
    "blank after": lambda: a_request() + " ",
    "newline after": lambda: a_request() + "\n",
    "padded signature": lambda: a_request() + "==",
    "padded header": lambda: with_part(0, "{}=".format),
    "padded payload": lambda: with_part(1, "{}=".format),
    "unused bits in the header": lambda: with_part(0, respelled),
    "unused bits in the payload": lambda: with_part(1, respelled),
    "unused bits in the signature": lambda: respelled(a_request()),
    "one character too many": lambda: parts_signed(b64(spaced(header_of(rsa_key()), 0).encode()) + "A", ENCODED),
    "standard alphabet": standard_alphabet,
    "newline in the header": lambda: with_part(0, lambda text: text[:8] + "\n" + text[8:]),
    "newline in the payload": lambda: with_part(1, lambda text: text[:8] + "\n" + text[8:]),
    "newline after the payload": lambda: with_part(1, "{}\n".format),
    "letter beyond ASCII": lambda: a_request().replace(".", ".é", 1),
    "header no object": lambda: signed(json.dumps([header_of(rsa_key())])),
    "header no JSON": lambda: signed(json.dumps(header_of(rsa_key()))[:-1]),
    "payload no object": lambda: signed(claims=json.dumps([claims_with()])),
    "payload a text": lambda: signed(claims='"auth"'),
    "payload null": lambda: signed(claims="null"),
    "payload with a tail": lambda: signed(claims=json.dumps(claims_with()) + "{}"),
    "payload in UTF-16": lambda: signed(claims=json.dumps(claims_with()).encode("utf-16-le")),
    "payload with a BOM": lambda: signed(claims="\ufeff" + json.dumps(claims_with())),
    "payload no UTF-8": lambda: signed(claims=json.dumps(claims_with(x="~")).encode().replace(b"~", b"\xff")),
    "overlong UTF-8": lambda: signed(claims=json.dumps(claims_with(x="~")).encode().replace(b"~", b"\xc0\xaf")),
    "twice in the header": lambda: signed('{"typ": "JWT", ' + json.dumps(header_of(rsa_key()))[1:]),
    "twice in the jwk": lambda: signed(json.dumps(header_of(rsa_key())).replace('"jwk": {', '"jwk": {"kty": "EC", ')),
    "twice in the payload": lambda: signed(claims='{"exp": 1, ' + json.dumps(claims_with())[1:]),
    "twice, spelled differently": lambda: signed(claims='{"\\u0065xp": 1, ' + json.dumps(claims_with())[1:]),
    "twice in the depth": lambda: with_in_claims('{"x": [{"a": 1, "a": 1}]}'),
    **{f"{number:.9}": lambda number=number: with_in_claims(f'{{"x": [{number}]}}') for number in NUMBERS},
    "deep": lambda: with_in_claims("[" * 200 + "]" * 200),
    "very deep": lambda: with_in_claims("[" * 5000 + "]" * 5000),
    "deep header": lambda: a_request(header={"jwk": jwk_of(rsa_key(), ext=json.loads("[" * 200 + "]" * 200))}),
    "too long": lambda: of_length(16_385),
    "much too long": lambda: "A" * 1_000_000,
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS_REFUSED)
def test_a_text_is_refused(name):
    assert_refused(TEXTS_REFUSED[name]())


def test_what_lies_just_inside_is_accepted():
    assert verified(of_length(16_384))
    assert verified(with_in_claims('{"x": [{"a": 1}, {"a": 1}], "y": 1e300, "z": %s}' % ("9" * 4000)))
    assert verified(with_in_claims('{"x": ' + "[" * 198 + "]" * 198 + "}"))
    assert verified(with_part(0, str))
    assert verified(with_part(1, str))


# --- whatever comes -------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    ["typ", "alg", "kid", "jwk", "crit", "exp", "iat", "nbf", "aud", "iss", "action", "challenge"]
)
KEY_MEMBERS = st.sampled_from(["kty", "n", "e", "crv", "x", "y", "alg", "use", "key_ops", "kid", "d"])


def refuses(text: Any) -> bool:
    """True when it is refused both ways; any other error comes through."""
    try:
        read_signed_request(text)
    except KeyProofRefused:
        return True
    for key in (None, key_of(rsa_key())):
        try:
            verified(text, key)
        except (KeyProofRefused, AssertionError):
            continue
        return False
    return True


@settings(deadline=None)
@given(st.text() | st.binary() | st.binary().map(b64) | st.lists(st.binary().map(b64)).map(".".join) | JSON)
def test_nothing_else_is_raised(text):
    assert refuses(text)


@settings(deadline=None)
@given(st.dictionaries(MEMBERS, JSON), st.dictionaries(MEMBERS, JSON), st.dictionaries(KEY_MEMBERS, JSON))
def test_nothing_else_is_raised_for_what_is_signed(header, claims, jwk):
    refuses(signed(json.dumps(header), json.dumps(claims)))
    refuses(a_request(claims=claims))
    refuses(a_request(header={"jwk": jwk_of(rsa_key()) | jwk}))
    refuses(a_request(ec_key(), {"jwk": jwk_of(ec_key()) | jwk}))


@settings(deadline=None)
@given(st.sampled_from(["typ", "alg", "kid", "jwk", "crit", "b64", "KID"]), JSON)
def test_another_header_is_refused(name, value):
    """Whether signed anew or not."""
    if value != header_of(rsa_key()).get(name):
        text = a_request(header={name: value})
        assert refuses(text)
        assert refuses(text.partition(".")[0] + "." + a_request().partition(".")[2])


@pytest.mark.parametrize("private", [rsa_key, ec_key], ids=["RS256", "ES256"])
def test_every_character_counts(private):
    text, key = a_request(private()), key_of(private())
    assert verified(text, key)
    for place in range(len(text)):
        letter = next(letter for letter in ("A-_." if place % 2 else "_.zA") if letter != text[place])
        for change in (letter, "", letter + text[place]):
            with pytest.raises(KeyProofRefused):
                verified(text[:place] + change + text[place + 1 :], key)
