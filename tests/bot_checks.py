"""What a client does with a challenge of the proof of work."""

import base64
import hashlib
import json
from typing import Any


def answer_of(challenge: dict[str, Any]) -> dict[str, Any]:
    """The solution as data, found as docs/http-api.md says."""
    for number in range(challenge["maxNumber"] + 1):
        if hashlib.sha256(f"{challenge['salt']}{number}".encode()).hexdigest() == challenge["challenge"]:
            kept = {name: challenge[name] for name in ("algorithm", "challenge", "salt", "signature")}
            return kept | {"number": number}
    raise AssertionError("there is no solution")


def written(answer: Any) -> str:
    return base64.b64encode(json.dumps(answer).encode()).decode()


def solved(challenge: dict[str, Any]) -> str:
    return written(answer_of(challenge))
