"""Devices with a key of their own: they sign challenges as an SDK does."""

import json
import secrets
import time
from typing import Any

from anonusers import device_keys, key_login
from anonusers.device_keys import KeyProof
from anonusers.key_login import log_in_with_key
from anonusers.models import Application, EndUser, Project, Session
from tests.anonusers.signing import ABSENT, TYPE, changed, ec_key, jwk_of, signed
from tests.conftest import ORIGIN


class Device:
    """A key pair, ES256 unless told, and the ID that the device gave it. It sends its public half along."""

    def __init__(self, name: str = "phone", *, private: Any = None, key_id: str = "") -> None:
        self.private = private or ec_key(name)
        self.key_id = key_id or f"key-of-{name}"

    def sign(self, challenge: str, action: str = "auth", *, with_key: bool = True, **claims: Any) -> str:
        jwk = jwk_of(self.private, kid=self.key_id)
        header = {"typ": TYPE, "kid": self.key_id, "alg": jwk["alg"], "jwk": jwk if with_key else ABSENT}
        now = int(time.time())
        plain = {"iat": now, "exp": now + 60, "challenge": challenge, "action": action}
        return signed(json.dumps(changed(header, {})), json.dumps(changed(plain, claims)), self.private)


def dpop_proof(device: Device, url: str, *, method: str = "POST", jti: str = "", **claims: Any) -> str:
    """A DPoP proof by the device's key (RFC 9449 §4.2)."""
    jwk = jwk_of(device.private)
    header = {"typ": "dpop+jwt", "alg": jwk["alg"], "jwk": jwk}
    plain = {"htm": method, "htu": url, "iat": int(time.time()), "jti": jti or secrets.token_hex(8)}
    return signed(json.dumps(header), json.dumps(changed(plain, claims)), device.private)


def challenge(project: Project) -> str:
    return device_keys.issue_challenge(project).secret


def request_of(device: Device, project: Project, action: str = "auth", **claims: Any) -> str:
    """A signed request with a challenge of its own."""
    return device.sign(challenge(project), action, **claims)


def proof_of_key(device: Device, project: Project, action: str = "auth") -> KeyProof:
    return device_keys.prove(
        project=project,
        signed_request=request_of(device, project, action),
        expected_action=action,
        expected_origin=ORIGIN,
    )


def client_of(application: Application, **options: Any) -> key_login.Client:
    return key_login.Client(application, **({"origin": ORIGIN} | options))


def log_in(application: Application, phone: Device, **options: Any) -> Session:
    """The new session of whoever the device's key leads to, `in_full()`."""
    request = request_of(phone, application.project)
    signed_up = log_in_with_key(client_of(application, **options), signed_request=request)
    return Session.objects.in_full().get(pk=signed_up.session.pk)


def guest_with_key(application: Application, device: Device) -> EndUser:
    return log_in(application, device).end_user
