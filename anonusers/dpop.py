"""DPoP proofs (RFC 9449) as values: which key asked, for which request, and when. No database, no HTTP."""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from anonusers.errors import DPoPProofRefused, KeyProofRefused
from anonusers.keypairs import (
    CLOCK_SKEW,
    base64url,
    parse_public_key,
    read_compact_jws,
    require_signature,
    seconds,
)

PROOF_MAX = 8_192  # characters
JTI_MAX = 200  # characters
TYPE = "dpop+jwt"
DEFAULT_PORTS = {"http": 80, "https": 443}
URL = re.compile(r"[!-~]+", re.ASCII)  # urlsplit would drop blanks and line breaks silently


@dataclass(frozen=True)
class DPoPProof:
    """What a valid proof says. Whether its `jti` was used before, only the database knows."""

    thumbprint: str  # of the key, as in `jkt` (RFC 9449 §6.1)
    jti: str
    issued_at: int  # unix seconds


def verify_dpop_proof(text: str, *, method: str, url: str, now: datetime, access_token: str | None = None) -> DPoPProof:
    """Verify that the holder of a key made this request (RFC 9449 §4.3); `url` is ours, as the client knows it.

    Raises: DPoPProofRefused.
    """
    try:
        jws = read_compact_jws(text, type=TYPE, longest=PROOF_MAX)
        key = parse_public_key(jws.header.get("jwk"), algorithm=jws.algorithm)
        require_signature(jws, key)
        _require_this_request(jws.claims, method, url, access_token)
        issued = _require_times(jws.claims, now.timestamp())
    except (KeyProofRefused, ValueError):
        raise DPoPProofRefused from None
    jti = jws.claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= JTI_MAX:
        raise DPoPProofRefused
    return DPoPProof(key.thumbprint, jti, issued)


def _require_this_request(claims: Mapping[str, Any], method: str, url: str, access_token: str | None) -> None:
    if claims.get("htm") != method or _normal(claims.get("htu")) != _normal(url):
        raise DPoPProofRefused
    token_hash = None if access_token is None else base64url(hashlib.sha256(access_token.encode()).digest())
    if token_hash and claims.get("ath") != token_hash:  # RFC 9449 §7: beside an access token that is bound
        raise DPoPProofRefused


def _require_times(claims: Mapping[str, Any], now: float) -> int:
    issued, not_before = (seconds(claims, name, -math.inf) for name in ("iat", "nbf"))
    expires = seconds(claims, "exp", math.inf)
    earliest, latest = now - CLOCK_SKEW, now + CLOCK_SKEW
    if not earliest <= issued <= latest or not_before > latest or expires < earliest:
        raise DPoPProofRefused
    return int(issued)


def _normal(url: object) -> tuple[str, str, int | None, str]:
    """What a URL names, whatever its spelling (RFC 3986 §6.2.2.1, §6.2.3), without query and fragment.

    Raises: ValueError.
    """
    if not isinstance(url, str) or not URL.fullmatch(url):
        raise ValueError(url)
    parts = urlsplit(url)
    if parts.hostname is None or "@" in parts.netloc:
        raise ValueError(url)
    port = DEFAULT_PORTS.get(parts.scheme) if parts.port is None else parts.port
    return parts.scheme, parts.hostname, port, parts.path or "/"
