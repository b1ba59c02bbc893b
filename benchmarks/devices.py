"""Phones with a key pair, which sign challenges as Authgear's SDKs for React Native do."""

import json
import secrets
import time
from base64 import urlsafe_b64encode

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256


class Phone:
    """An RSA key of 2048 bits, as all of the SDKs make it. Making one takes a tenth of a second."""

    def __init__(self) -> None:
        self.key_id = secrets.token_hex(16)
        self._private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._is_known = False

    def sign(self, challenge: str) -> str:
        """A signed request to log in. Only the first one brings the public key: from then on the server knows it."""
        header = {"typ": "vnd.authgear.anonymous-request", "kid": self.key_id, "alg": "RS256"}
        if not self._is_known:
            numbers = self._private.public_key().public_numbers()
            jwk = {"kty": "RSA", "n": _base64url(_octets(numbers.n)), "e": _base64url(_octets(numbers.e))}
            header["jwk"] = {"kid": self.key_id, "alg": "RS256", **jwk}  # type: ignore[assignment]
            self._is_known = True
        now = int(time.time())
        claims = {"iat": now, "exp": now + 60, "challenge": challenge, "action": "auth"}
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{_base64url(self._private.sign(signed.encode(), PKCS1v15(), SHA256()))}"


def _octets(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _base64url(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()
