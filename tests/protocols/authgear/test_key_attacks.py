"""Bad requests of mobile applications: each gets the one answer, changes nothing, and costs nobody a challenge."""

import base64
import hmac
import json
import re
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.test import Client

from anonusers.models import Application
from tests.anonusers.signing import (
    ABSENT,
    KEY_ID,
    TYPE,
    b64,
    ec_key,
    header_of,
    jwk_of,
    numbers_of,
    octets_of,
    parts_signed,
    rsa_key,
    signature_of,
    signed,
)
from tests.conftest import headers_of
from tests.protocols.authgear.keys import (
    REFUSAL,
    log_in,
    logged_in,
    refused_and_the_challenge_is_good,
    request,
    sign,
)
from tests.protocols.authgear.steps import assert_oauth_error

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.database,
    pytest.mark.spec("authgear.md", "2.1"),
    pytest.mark.spec("RFC 8725", "3"),
]

Attack = Callable[[str], str]
A, B, EC = rsa_key(), rsa_key(name="b"), ec_key()


def now(seconds: float = 0) -> int:
    return int(time.time() + seconds)


def with_header(**header: Any) -> Attack:
    return lambda token: sign(token, header=header)


def with_jwk(**members: Any) -> Attack:
    return lambda token: sign(token, header={"jwk": jwk_of(A, **members)})


def with_claims(**claims: Any) -> Attack:
    return lambda token: sign(token, claims=claims)


def in_time(seconds: dict[str, float]) -> Attack:
    return lambda token: sign(token, claims={name: now(off) for name, off in seconds.items()})


def by(key: Any, **jwk: Any) -> Attack:
    """Signed by a key that also comes with it."""
    return lambda token: sign(token, key, header={"jwk": jwk_of(key, **jwk)})


def unsigned(header: dict[str, Any], signature: Callable[[bytes], bytes]) -> Attack:
    def make(token: str) -> str:
        head = {**header_of(A), **header}
        parts = [head, {"iat": now(), "exp": now(60), "challenge": token, "action": "auth"}]
        text = ".".join(b64(json.dumps(part).encode()) for part in parts)
        return f"{text}.{b64(signature(text.encode()))}"

    return make


def edited(edit: Callable[[str], str]) -> Attack:
    return lambda token: edit(sign(token))


def part(number: int, edit: Callable[[str], str]) -> Attack:
    """One of the encoded parts in another spelling, signed as it is."""

    def make(token: str) -> str:
        parts = sign(token).split(".")
        parts[number] = edit(parts[number])
        return ".".join(parts) if number == 2 else parts_signed(parts[0], parts[1], A)

    return make


def text_of(token: str, number: int) -> str:
    encoded = sign(token).split(".")[number]
    return base64.urlsafe_b64decode(encoded + "==").decode()


def in_json(number: int, edit: Callable[[str], str]) -> Attack:
    """The header (0) or the claims (1) as another text, signed as it is."""

    def make(token: str) -> str:
        texts = [text_of(token, 0), text_of(token, 1)]
        texts[number] = edit(texts[number])
        return signed(texts[0], texts[1], A)

    return make


def public_pem(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hs256(secret: bytes) -> Attack:
    return unsigned({"alg": "HS256"}, lambda text: hmac.new(secret, text, sha256).digest())


ALGORITHMS: dict[str, Attack] = {
    **{f"alg {alg!r}": unsigned({"alg": alg}, lambda text: b"") for alg in ("none", "None", "NONE", "nOnE", "", None)},
    "alg none without jwk": unsigned({"alg": "none", "jwk": None}, lambda text: b""),
    "none with a signature": unsigned({"alg": "none"}, lambda text: signature_of(text, A)),
    "HS256 by the PEM": hs256(public_pem(A)),
    "HS256 by the modulus": hs256(jwk_of(A)["n"].encode()),
    "HS256 by nothing": hs256(b""),
    "HS256 by the JWK": unsigned(
        {"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA", "kid": KEY_ID}},
        lambda text: hmac.new(b"\0\0\0", text, sha256).digest(),
    ),
    **{
        f"alg {alg}": with_header(alg=alg)
        for alg in ("RS384", "RS512", "PS256", "ES384", "EdDSA", "ES256", "rs256", " RS256")
    },
    **{f"alg is {alg!r}": with_header(alg=alg) for alg in (1, True, [], ["RS256"], {})},
    "no alg": with_header(alg=ABSENT),
    "RSA-PSS": unsigned({}, lambda text: A.sign(text, PSS(MGF1(SHA256()), 32), SHA256())),
    "SHA-1": unsigned({}, lambda text: A.sign(text, PKCS1v15(), SHA1())),
    "SHA-384": unsigned({}, lambda text: A.sign(text, PKCS1v15(), SHA384())),
    "ES256 in DER": lambda token: _der(token),
    "ES256 r=s=0": lambda token: _ec(token, bytes(64)),
    "ES256 too short": lambda token: _ec(token, bytes(63)),
    "ES256 too long": lambda token: sign(token, EC, header={"jwk": jwk_of(EC)}) + "AA",
    "RS256 with an elliptic key": lambda token: sign(token, A, header={"jwk": jwk_of(EC)}),
    "ES256 with an RSA key": lambda token: sign(token, EC, header={"jwk": jwk_of(A), "alg": "ES256"}),
}


def _ec(token: str, signature: bytes) -> str:
    head, claims, _ = sign(token, EC, header={"jwk": jwk_of(EC)}).split(".")
    return f"{head}.{claims}.{b64(signature)}"


def _der(token: str) -> str:
    head, claims, _ = sign(token, EC, header={"jwk": jwk_of(EC)}).split(".")
    return f"{head}.{claims}." + b64(EC.sign(f"{head}.{claims}".encode(), ec.ECDSA(SHA256())))


n, e = numbers_of(A).n, numbers_of(A).e
private = A.private_numbers()
x, y = numbers_of(EC).x, numbers_of(EC).y
P384 = numbers_of(ec.generate_private_key(ec.SECP384R1()))
KEYS: dict[str, Attack] = {
    "a signature by another key": lambda token: sign(token, B, header={"jwk": jwk_of(A)}),
    "a claims part of another request": lambda token: _swapped(token),
    "1024 bits": by(rsa_key(1024)),
    "2047 bits": with_jwk(n=octets_of(n >> 1 | 1)),
    "4097 bits": with_jwk(n=octets_of(1 << 4096 | 1)),
    "16384 bits": with_jwk(n=octets_of(1 << 16383 | 1)),
    "an even modulus": with_jwk(n=octets_of(n - 1)),
    "modulus 0": with_jwk(n="AA"),
    "modulus 1": with_jwk(n="AQ"),
    "no modulus": with_jwk(n=ABSENT),
    "an empty modulus": with_jwk(n=""),
    "modulus as a number": with_jwk(n=n),
    "modulus in base64": with_jwk(n=base64.b64encode(n.to_bytes(256, "big")).decode()),
    "modulus padded": with_jwk(n=jwk_of(A)["n"] + "=="),
    "two zero octets": with_jwk(n=b64(b"\0\0" + n.to_bytes(256, "big"))),
    "e = 1": lambda token: _e_is_one(token),
    "e = 3": by(rsa_key(2048, 3)),
    "an even e": with_jwk(e=octets_of(65538)),
    "no e": with_jwk(e=ABSENT),
    "e = 0": with_jwk(e="AA"),
    "a huge e": with_jwk(e=octets_of(1 << 300 | 1)),
    **{f"the private member {name}": with_jwk(**{name: octets_of(value)}) for name, value in {
        "d": private.d, "p": private.p, "q": private.q, "dp": private.dmp1, "dq": private.dmq1, "qi": private.iqmp,
    }.items()},
    "oth": with_jwk(oth=[]),
    "the symmetric member k": with_jwk(k="AAAA"),
    "an EC private key": by(EC, d=octets_of(EC.private_numbers().private_value, 32)),
    "kty oct": with_jwk(kty="oct", k="AAAA"),
    "kty in another case": with_jwk(kty="rsa"),
    "no kty": with_jwk(kty=ABSENT),
    "alg of the jwk differs": with_jwk(alg="ES256"),
    "PS256 in the jwk": with_jwk(alg="PS256"),
    "for encryption": with_jwk(use="enc"),
    "for signing only": with_jwk(key_ops=["sign"]),
    "key_ops is a string": with_jwk(key_ops="verify"),
    "an empty key_ops": with_jwk(key_ops=[]),
    **{f"jwk is {jwk!r}": with_header(jwk=jwk) for jwk in (None, "x", 1, True, [], {}, [{}])},
    "a large jwk": with_jwk(x="x" * 4096),
    "a deep jwk": with_jwk(x=json.loads("[" * 250 + "]" * 250)),
    "off the curve": by(EC, y=octets_of(y ^ 1, 32)),
    "at infinity": by(EC, x=octets_of(0, 32), y=octets_of(0, 32)),
    "a short x": by(EC, x=octets_of(x >> 8, 31)),
    "a long x": by(EC, x=octets_of(x, 33)),
    "another curve by name": by(EC, crv="P-384"),
    "secp256k1": by(EC, crv="secp256k1"),
    "a key of another curve": by(EC, crv="P-384", x=octets_of(P384.x, 48), y=octets_of(P384.y, 48)),
    "x beyond the field": by(EC, x=octets_of((1 << 256) - 1, 32)),
    "no crv": by(EC, crv=ABSENT),
}  # fmt: skip


def _swapped(token: str) -> str:
    mine, other = sign(token).split("."), sign("A" * 32).split(".")
    return f"{mine[0]}.{mine[1]}.{other[2]}"


def _e_is_one(token: str) -> str:
    """With e = 1 the padded digest is its own signature."""
    head = json.dumps(header_of(A, jwk=jwk_of(A, e="AQ"))).encode()
    claims = json.dumps({"iat": now(), "exp": now(60), "challenge": token, "action": "auth"}).encode()
    text = f"{b64(head)}.{b64(claims)}"
    digest = bytes.fromhex("3031300d060960864801650304020105000420") + sha256(text.encode()).digest()
    padded = b"\0\1" + b"\xff" * (256 - 3 - len(digest)) + b"\0" + digest
    return f"{text}.{b64(padded)}"


HEADERS: dict[str, Attack] = {
    **{f"typ {typ!r}": with_header(typ=typ) for typ in (
        "JWT", "at+jwt", "dpop+jwt", "vnd.authgear.biometric-request", "vnd.authgear.app2app-request", TYPE.upper(),
        f"{TYPE} ", f"application/{TYPE}", "", None, 1, [TYPE],
    )},
    "no typ": with_header(typ=ABSENT),
    **{f"header {name}": with_header(**{name: value}) for name, value in {
        "crit": ["exp"], "crit empty": [], "b64": False, "zip": "DEF", "cty": "JWT", "jku": "https://evil.example/k",
        "x5u": "https://evil.example/c", "x5c": ["AAAA"], "x5t": "x", "enc": "A256GCM", "epk": {}, "p2c": 10**9,
        "nonce": "x", "KID": KEY_ID, "": "x",
    }.items()},
    "b64 with crit": with_header(b64=False, crit=["b64"]),
    "kid is not that of the jwk": with_header(kid="another-key"),
    "kid in another case": with_header(kid=KEY_ID.lower()),
    "no kid in the jwk": with_jwk(kid=ABSENT),
    "kid of the jwk is null": with_jwk(kid=None),
    "no kid and no jwk": with_header(kid=ABSENT, jwk=ABSENT),
    "kid is null beside the jwk": with_header(kid=None),
}  # fmt: skip
STRANGE_KEY_IDS = (
    "", "short", "seven77", "x" * 65, "x" * 5000, "a b c d e f", "../../etc/passwd", "key'; DROP TABLE--", "schlüssel",
    "１２３４５６７８９", "key-id\n12", "\nkey-id12", "key-id12\n", "key-id\0 12", "key.id.12", "key/id/12",
    "key%00id12", 12345678, None, True, ["key-id12"], {"$ne": ""},
)  # fmt: skip
HEADERS |= {
    f"kid {kid!r}"[:80]: lambda token, kid=kid: sign(token, header={"kid": kid, "jwk": jwk_of(A, kid=kid)})
    for kid in STRANGE_KEY_IDS
}
STRANGE_NUMBERS: tuple[Any, ...] = (True, False, None, "99", "99999999999", [], {}, [1], "", "Infinity")
TIMES: dict[str, Attack] = {
    "expired": in_time({"iat": -400, "exp": -301}),
    "an hour and more": in_time({"exp": 3700}),
    "for ever": with_claims(exp=10**12),
    "no exp": with_claims(exp=ABSENT),
    "a negative exp": with_claims(exp=-1),
    "exp 0": with_claims(exp=0),
    "iat in the future": in_time({"iat": 360, "exp": 400}),
    "nbf in the future": in_time({"nbf": 360}),
    "iat after exp": in_time({"iat": 100, "exp": 50}),
    **{f"exp {value!r}": with_claims(exp=value) for value in STRANGE_NUMBERS},
    **{f"iat {value!r}": with_claims(iat=value) for value in STRANGE_NUMBERS},
    **{f"nbf {value!r}": with_claims(nbf=value) for value in STRANGE_NUMBERS},
    **{
        f"exp as {text[:12]} of {len(text)}": in_json(
            1, lambda claims, text=text: re.sub(r'"exp": \d+', f'"exp": {text}', claims)
        )
        for text in ("NaN", "Infinity", "-Infinity", "1e400", "9" * 400, "9" * 5000, "0x7fffffff", "1_000", "01")
    },
}
CLAIMS: dict[str, Attack] = {
    **{f"action {action!r}": with_claims(action=action) for action in (
        "promote", "add_key", "recover", "Auth", "auth ", "", None, 1, True, ["auth"], {"auth": 1},
    )},
    "no action": with_claims(action=ABSENT),
    "no challenge": with_claims(challenge=ABSENT),
    **{f"challenge {value!r}"[:40]: with_claims(challenge=value) for value in (
        "", None, 1, True, [], {}, "A" * 32, "a" * 32, "x" * 101, "' or 1=1 --", "é☃", "%", "_" * 32, "*",
    )},
    "a list with the challenge": lambda token: sign("x", claims={"challenge": [token]}),
    "the challenge in lower case": lambda token: sign(token.lower()),
    "the challenge and a blank": lambda token: sign(f"{token} "),
    "the challenge and a line break": lambda token: sign(f"{token}\n"),
    "half of the challenge": lambda token: sign(token[:16]),
    "its hash": lambda token: sign(sha256(token.encode()).hexdigest()),
    "NUL in the challenge": lambda token: sign(f"{token}\0"),
    "iss of somebody else": with_claims(iss="https://evil.example"),
    "aud of somebody else": with_claims(aud="https://evil.example"),
    "aud of the client": with_claims(aud="web"),
}  # fmt: skip
DEEP = "[" * 50_000
ENCODINGS: dict[str, Attack] = {
    "one part": edited(lambda jwt: jwt.split(".")[0]),
    "two parts": edited(lambda jwt: jwt.rpartition(".")[0]),
    "an empty signature": edited(lambda jwt: jwt.rpartition(".")[0] + "."),
    "four parts": edited(lambda jwt: f"{jwt}.x"),
    "five parts": edited(lambda jwt: f"{jwt}.x.y"),
    "a dot before": edited(lambda jwt: f".{jwt}"),
    "padding at the end": edited(lambda jwt: f"{jwt}=="),
    "a blank before": edited(lambda jwt: f" {jwt}"),
    "a blank after": edited(lambda jwt: f"{jwt} "),
    "a line break after": edited(lambda jwt: f"{jwt}\n"),
    "a line break within": edited(lambda jwt: f"{jwt[:50]}\r\n{jwt[50:]}"),
    "Bearer": edited(lambda jwt: f"Bearer {jwt}"),
    "quoted": edited(lambda jwt: f'"{jwt}"'),
    "full-width dots": edited(lambda jwt: jwt.replace(".", "．")),
    "a byte order mark": edited(lambda jwt: "\ufeff" + jwt),
    "JSON serialization": edited(
        lambda jwt: json.dumps(dict(zip(("protected", "payload", "signature"), jwt.split("."), strict=True)))
    ),
    "a flipped bit in the signature": edited(lambda jwt: jwt[:-9] + ("A" if jwt[-9] != "A" else "B") + jwt[-8:]),
    "base64 with + and /": part(2, lambda text: f"+/{text[2:]}"),
    "trailing bits": part(2, lambda text: text[:-1] + chr(ord(text[-1]) + 1)),
    "a padded header": part(0, lambda text: text + "=" * (-len(text) % 4 or 4)),
    "padded claims": part(1, lambda text: text + "=" * (-len(text) % 4 or 4)),
    "a blank in the header": part(0, lambda text: f"{text[:8]} {text[8:]}"),
    "nested": lambda token: signed(None, json.dumps(sign(token)), A),
    "16 384 characters and one": edited(lambda jwt: jwt.ljust(16_385, "A")),
}
JSON_TEXTS: dict[str, Attack] = {
    **{
        f"{what} is {text[:12]}": in_json(number, lambda _, text=text: text)
        for number, what in enumerate(("header", "claims"))
        for text in ("null", "[]", "1", '"x"', "{}", "", " ", "{", "not JSON")
    },
    "a duplicate alg": in_json(0, lambda text: '{"alg": "none", ' + text[1:]),
    "a duplicate kid": in_json(0, lambda text: '{"kid": "victims-phone", ' + text[1:]),
    "a duplicate in the jwk": in_json(0, lambda text: text.replace('"kty"', '"e": "AQAB", "kty"')),
    "a duplicate challenge": in_json(1, lambda text: '{"challenge": "x", ' + text[1:]),
    "a duplicate action": in_json(1, lambda text: '{"action": "promote", ' + text[1:]),
    "the same by an escape": in_json(1, lambda text: '{"\\u0061ction": "promote", ' + text[1:]),
    "a duplicate deep inside": in_json(1, lambda text: '{"x": [{"a": 1, "a": 2}], ' + text[1:]),
    "deep in the claims": in_json(1, lambda text: '{"x": ' + DEEP[:11_000]),
    "deep and whole": in_json(1, lambda text: '{"x": ' + "[" * 5000 + "]" * 5000 + ", " + text[1:]),
    "deep objects": in_json(1, lambda text: '{"x": ' + '{"a":' * 1500 + "1" + "}" * 1500 + ", " + text[1:]),
    "deep in the header": in_json(0, lambda text: '{"x": ' + "[" * 5000 + "]" * 5000 + ", " + text[1:]),
    "5000 digits": in_json(1, lambda text: '{"x": ' + "9" * 5000 + ", " + text[1:]),
    "NaN somewhere": in_json(1, lambda text: '{"x": NaN, ' + text[1:]),
    "1e400 somewhere": in_json(1, lambda text: '{"x": [1e400], ' + text[1:]),
    "NUL in a name": in_json(1, lambda text: '{"\\u0000": 1, ' + text[1:]),
    "half a surrogate pair": in_json(1, lambda text: '{"x": "\\ud800", ' + text[1:]),
    "a byte order mark in it": in_json(1, lambda text: "\ufeff" + text),
    "a comment": in_json(1, lambda text: text + " // x"),
    "a trailing comma": in_json(1, lambda text: text[:-1] + ",}"),
    "single quotes": in_json(1, lambda text: text.replace('"', "'")),
    "not UTF-8": lambda token: signed(text_of(token, 0), text_of(token, 1).encode().replace(b"auth", b"au\xffth"), A),
    "UTF-16": lambda token: signed(text_of(token, 0), text_of(token, 1).encode("utf-16"), A),
}
TABLES = {
    "algorithm": ALGORITHMS, "key": KEYS, "header": HEADERS, "time": TIMES, "claim": CLAIMS, "encoding": ENCODINGS,
    "JSON": JSON_TEXTS,
}  # fmt: skip
ATTACKS = {f"{table}: {name}": attack for table, attacks in TABLES.items() for name, attack in attacks.items()}
OF_AN_ELLIPTIC_KEY = {
    *(f"algorithm: {name}" for name in ALGORITHMS if name.startswith("ES256 ")),
    *("key: an EC private key", "key: off the curve", "key: at infinity", "key: a short x", "key: a long x"),
    *("key: another curve by name", "key: secp256k1", "key: x beyond the field", "key: no crv"),
}
TOO_LONG = (400, "invalid_request", "jwt is too long")


@pytest.mark.parametrize("name", ATTACKS)
def test_a_bad_request_is_refused_in_one_way(application: Application, browser: Client, name: str) -> None:
    """B1-B26. Whether the key is known or not, so that the answer is no oracle; and no challenge is spent."""
    answers = set()
    for _known in (False, True):
        with refused_and_the_challenge_is_good(browser) as token:
            jwt = ATTACKS[name](token)
            response = log_in(browser, jwt)
            assert_oauth_error(response, *(TOO_LONG if len(jwt) > 16_384 else REFUSAL))
        answers.add((response.content, str(sorted(headers_of(response).items()))))
        logged_in(browser, request(browser, EC if name in OF_AN_ELLIPTIC_KEY else A))
    assert len(answers) == 1


def test_there_are_enough_of_them() -> None:
    assert len(ATTACKS) > 250
