"""A device that comes back as the same guest: it holds a key, and needs neither a password nor a cookie.

Start the demo with `make run`, then: .venv/bin/python example/device_client.py [SERVER]
"""

import json
import sys
import time
import urllib.error
import urllib.request
import uuid
from typing import Any

import jwt  # PyJWT with cryptography; nothing of anonusers
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

API = (sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000") + "/api/v1"
CLIENT_ID = "guestbook-mobile"
# A phone makes the key in its secure hardware, from where nobody can copy it, and chooses an ID that never changes.
KEY, KEY_ID = ec.generate_private_key(ec.SECP256R1()), str(uuid.uuid4())


def post(path: str, body: dict[str, Any], token: str = "") -> dict[str, Any]:
    """What the server answers: a problem has a `code`."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(API + path, json.dumps(body).encode(), headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return dict(json.loads(answer.read() or "{}"))
    except urllib.error.HTTPError as error:
        return dict(json.loads(error.read()))
    except urllib.error.URLError as error:
        sys.exit(f"{API} cannot be reached: {error.reason}. Start the demo with: make run")


def signed_request() -> str:
    """The holder of this key wants to log in, now and once."""
    challenge = post("/challenge/", {"client_id": CLIENT_ID})["challenge"]
    jwk = ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True) | {"kid": KEY_ID}
    now = int(time.time())
    payload = {"iat": now, "exp": now + 60, "challenge": challenge, "action": "auth"}
    header = {"typ": "vnd.authgear.anonymous-request", "kid": KEY_ID, "jwk": jwk}
    return jwt.encode(payload, KEY, algorithm="ES256", headers=header)


def log_in(request: str) -> dict[str, Any]:
    return post("/login/key/", {"client_id": CLIENT_ID, "signed_request": request, "device": {"name": "My device"}})


guest = log_in(signed_request())  # a key that was never seen makes a new guest
print("Signed up as  ", guest["sub"])
post("/logout/", {}, guest["access_token"])  # without a key, the guest would be lost now
print("Logged out:   ", post("/logout/", {}, guest["access_token"])["code"])
request = signed_request()
again = log_in(request)  # a known key leads to its guest
print("Logged in as  ", again["sub"], "(the same)" if again["sub"] == guest["sub"] else "(SOMEBODY ELSE)")
print("Sent again:   ", log_in(request)["code"])  # who overheard it cannot repeat it: its challenge is used up
