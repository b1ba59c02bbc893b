"""DPoP proofs as the mobile SDKs send them, and others."""

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

from tests.anonusers.signing import b64, changed, ec_key, jwk_of, rsa_key, signature_of
from tests.conftest import ORIGIN
from tests.protocols.authgear import sdk_samples
from tests.protocols.authgear.steps import TOKEN

KEY = rsa_key(name="dpop")
OTHER_KEY = rsa_key(name="another dpop")
REFUSED = (400, "invalid_dpop_proof", "invalid DPoP proof")
API_REFUSED = (400, "Invalid", "InvalidDPoPProof", "invalid DPoP proof")

Prover = Callable[..., str]
PROVERS: dict[str, tuple[Prover, Any]] = {
    "react-native": (sdk_samples.react_native_dpop, KEY),
    "react-native-ios": (sdk_samples.react_native_ios_dpop, KEY),
    "ios": (sdk_samples.ios_dpop, ec_key("dpop")),
    "android": (sdk_samples.android_dpop, KEY),
    "flutter-android": (sdk_samples.flutter_android_dpop, KEY),
}


def by_sdk(name: str, path: str = TOKEN, method: str = "POST") -> dict[str, str]:
    """The header of one request of an SDK."""
    make, key = PROVERS[name]
    return {"HTTP_DPOP": make(key, str(uuid.uuid4()), method, ORIGIN + path, str(uuid.uuid4()), time.time())}


def proof(
    private: Any = KEY,
    *,
    path: str = TOKEN,
    header: Any = None,
    signed_by: Any = None,
    **claims: Any,
) -> dict[str, str]:
    """The header of one request, in which something may be different."""
    return {"HTTP_DPOP": text_of(private, path=path, header=header, signed_by=signed_by, **claims)}


def text_of(private: Any = KEY, *, path: str = TOKEN, header: Any = None, signed_by: Any = None, **claims: Any) -> str:
    now = int(time.time())
    jwk = jwk_of(private)
    head = changed({"typ": "dpop+jwt", "kid": jwk["kid"], "alg": jwk["alg"], "jwk": jwk}, header or {})
    usual = {"iat": now, "exp": now + 60, "jti": str(uuid.uuid4()), "htm": "POST", "htu": ORIGIN + path}
    text = ".".join(b64(json.dumps(part).encode()) for part in (head, changed(usual, claims)))
    return f"{text}.{b64(signature_of(text.encode(), signed_by or private))}"
