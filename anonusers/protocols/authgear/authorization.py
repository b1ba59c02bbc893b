"""What is checked of an authorization request before anything is done about it, in the order of the wire."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from anonusers.models import Application
from anonusers.protocols.authgear import wire
from anonusers.protocols.authgear.redirects import ACTIVE_SCHEMES

CODE_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
LOOPBACK = re.compile(r"http://(127\.0\.0\.1|\[::1\]|localhost)(:\d{1,5})?(/[^#]*)?", re.ASCII)


class Refused(Exception):
    """Told to the client by redirect (RFC 6749 §4.1.2.1)."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error, self.description = error, description


@dataclass(frozen=True)
class Hint:
    """A login hint. `type` is empty for a plain one of OpenID Connect, which is at most a login ID to fill in."""

    type: str = ""
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def login_id(self) -> str:
        return next((self.values[name][:254] for name in wire.LOGIN_HINTS["login_id"] if name in self.values), "")


@dataclass(frozen=True)
class Authorization:
    """A request that passed every check."""

    application: Application
    redirect_uri: str
    response_type: str
    scope: str
    prompt: frozenset[str]
    max_age: int | None
    parameters: Mapping[str, str]

    @property
    def single_sign_on(self) -> bool:
        """Whether the browser's own session counts, and is opened, besides what the client gets. Where the client
        gets nothing else it must be so."""
        if self.response_type == "none":
            return True
        wanted = self.parameters.get("x_sso_enabled")
        if wanted is None:
            return self.parameters.get("x_suppress_idp_session_cookie") != "true"
        return wanted == "true"


def read_hint(text: str) -> Hint:
    """Raises: Refused for one that begins like the SDKs' and goes on otherwise."""
    if not text.startswith(wire.LOGIN_HINT):
        return Hint(values={"email": text} if text else {})
    try:
        values = {name: found[0] for name, found in parse_qs(urlsplit(text).query, max_num_fields=20).items()}
    except ValueError:
        values = {}
    hint = Hint(values.get("type", ""), values)
    if not values.keys() & set(wire.LOGIN_HINTS.get(hint.type, ())):
        raise Refused("invalid_request", "invalid login hint")
    return hint


def is_own_uri(application: Application, uri: str) -> bool:
    """Whether the client registered this redirect URI, byte for byte (RFC 9700 §2.1). Only the port of a native
    application's loopback address may vary (RFC 8252 §7.3)."""
    if uri.partition(":")[0].lower() in ACTIVE_SCHEMES:
        return False
    if uri in application.redirect_uris:
        return True
    one = LOOPBACK.fullmatch(uri)
    if application.type != Application.Type.NATIVE or one is None:
        return False
    others = [LOOPBACK.fullmatch(registered) for registered in application.redirect_uris]
    return any(other and (one[1], one[3]) == (other[1], other[3]) for other in others)


def check(application: Application, redirect_uri: str, parameters: Mapping[str, str]) -> Authorization:
    """Raises: Refused."""
    for name in ("request", "request_uri"):
        if name in parameters:
            raise Refused(f"{name}_not_supported", f"{name} is not supported")
    response_type = _response_type(application, parameters)
    prompt = frozenset(parameters.get("prompt", "").split())
    if "none" in prompt and (len(prompt) > 1 or "max_age" in parameters):
        raise Refused("invalid_request", "prompt none cannot be combined")
    scopes = [scope for scope in parameters.get("scope", "").split(" ") if scope]
    if not scopes:
        raise Refused("invalid_request", "scope is required")
    _check_pkce(response_type, parameters)
    if application.max_concurrent_sessions == 1 and parameters.get("x_sso_enabled") == "true":
        raise Refused("invalid_request", "SSO is not possible where only one session is allowed")
    return Authorization(
        application=application,
        redirect_uri=redirect_uri,
        response_type=response_type,
        scope=_granted(application, scopes),
        prompt=prompt,
        max_age=_max_age(parameters.get("max_age")),
        parameters=parameters,
    )


def _response_type(application: Application, parameters: Mapping[str, str]) -> str:
    response_type = parameters.get("response_type")
    if response_type is None:
        raise Refused("invalid_request", "response_type is required")
    if response_type not in ("code", "none"):
        raise Refused("unsupported_response_type", "response type is not allowed for this client")
    if response_type == "code" and application.type not in Application.PUBLIC_TYPES:
        # It could not exchange the code: secrets of clients come with the clients that can use them.
        raise Refused("unauthorized_client", "response type is not allowed for this client")
    if parameters.get("response_mode", "query") != "query":
        raise Refused("invalid_request", "response mode is not supported")
    return response_type


def _check_pkce(response_type: str, parameters: Mapping[str, str]) -> None:
    """RFC 7636, S256 only (RFC 9700 §2.1.1)."""
    challenge = parameters.get("code_challenge")
    if challenge is None:
        if response_type == "code":
            raise Refused("invalid_request", "PKCE code challenge is required")
        return
    if parameters.get("code_challenge_method") != "S256":
        raise Refused("invalid_request", "only S256 PKCE code challenge method is supported")
    if not CODE_CHALLENGE.fullmatch(challenge):
        raise Refused("invalid_request", "PKCE code challenge is not valid")


def _granted(application: Application, scopes: list[str]) -> str:
    """What is granted, each once. What the wire knows and we do not do is left out."""
    if "openid" not in scopes or not set(scopes) <= wire.SCOPES_GRANTED | wire.SCOPES_IGNORED:
        raise Refused("invalid_scope", "the scope is not known, or openid is missing")
    if not application.may_have_guests and set(scopes) & wire.SCOPES_FIRST_PARTY:
        raise Refused("invalid_scope", "this application cannot have full access")
    return " ".join(scope for scope in dict.fromkeys(scopes) if scope in wire.SCOPES_GRANTED)


def _max_age(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise Refused("invalid_request", "max_age is not a number")
    return int(text)
