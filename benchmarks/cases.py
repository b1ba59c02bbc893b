"""What the clients of the benchmark do: each case is one kind of request, made of what earlier answers brought."""

import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import urlencode

from devices import Phone
from prepare import CLIENT_ID

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

# Method, path, body, headers.
Request = tuple[str, str, bytes | None, dict[str, str]]
Send = Callable[[Request], dict[str, Any]]

GUESTS = 20
"""Each connection takes turns with so many guests (or rows)."""

PHONES = 2
"""Guests with a device key have to be fewer: their keys take long to make."""


class Case(ABC):
    """`server` is who answers, `floor` the bare view that does the least for the same purpose.

    Where one needs the answer of another, `requests` that belong together are counted and timed as one.
    """

    name: ClassVar[str]
    server: ClassVar[str] = "anonusers"
    floor: ClassVar[str]
    requests: ClassVar[int] = 1

    def prepare(self, send: Send) -> None:  # noqa: B027 - most cases need nothing
        """Make what the requests need. Not measured."""

    @abstractmethod
    def request(self) -> Request: ...

    def answered(self, body: bytes) -> None:  # noqa: B027 - most cases do not look
        """Read an answer of 2xx, where the next request depends on it."""


# --- floors ---------------------------------------------------------------------------------------


class Insert(Case):
    name = floor = "floor: one INSERT"
    server = "floor"

    def request(self) -> Request:
        return INSERT


INSERT: Request = ("POST", "/insert/", json.dumps({"client_id": CLIENT_ID}).encode(), JSON)


class Select(Case):
    name = floor = "floor: one SELECT"
    server = "floor"

    def prepare(self, send: Send) -> None:
        self.rows = deque(send(INSERT)["id"] for _ in range(GUESTS))

    def request(self) -> Request:
        self.rows.rotate()
        return "GET", f"/select/{self.rows[0]}/", None, {}


class Update(Select):
    name = floor = "floor: one UPDATE"

    def request(self) -> Request:
        self.rows.rotate()
        return "POST", f"/update/{self.rows[0]}/", INSERT[2], JSON


# --- native API -----------------------------------------------------------------------------------


SIGN_UP: Request = ("POST", "/api/v1/signup/", json.dumps({"client_id": CLIENT_ID, "kind": "token"}).encode(), JSON)


class SignUp(Case):
    name = "native sign-up"
    floor = Insert.name

    def request(self) -> Request:
        return SIGN_UP


class LimitedSignUp(SignUp):
    """The same where two budgets are counted, both too high to be reached."""

    name = "native sign-up, limits on"
    server = "limited"


class UserInfo(Case):
    name = "native userinfo"
    floor = Select.name
    sign_up, path = SIGN_UP, "/api/v1/userinfo/"

    def prepare(self, send: Send) -> None:
        answers = [send(self.sign_up) for _ in range(GUESTS)]
        self.tokens = deque(answer.get("result", answer)["access_token"] for answer in answers)

    def request(self) -> Request:
        self.tokens.rotate()
        return "GET", self.path, None, {"Authorization": f"Bearer {self.tokens[0]}"}


class Refresh(Case):
    """Refresh tokens rotate: each answer's token is that guest's next request."""

    name = "native refresh"
    floor = Update.name
    sign_up = SIGN_UP

    def prepare(self, send: Send) -> None:
        answers = [send(self.sign_up) for _ in range(GUESTS)]
        self.tokens = deque(answer.get("result", answer)["refresh_token"] for answer in answers)

    def request(self) -> Request:
        body = {"client_id": CLIENT_ID, "refresh_token": self.tokens.popleft()}
        return "POST", "/api/v1/refresh/", json.dumps(body).encode(), JSON

    def answered(self, body: bytes) -> None:
        self.tokens.append(json.loads(body)["refresh_token"])


class Challenge(Case):
    """What every log-in with a device key begins with."""

    name = "native challenge"
    floor = Insert.name
    path, body = "/api/v1/challenge/", {"client_id": CLIENT_ID}

    def request(self) -> Request:
        return "POST", self.path, json.dumps(self.body).encode(), JSON


class KeyLogin(Challenge):
    """A guest who comes back: a challenge, and the log-in that it was signed for."""

    name = "native challenge + key log-in"
    requests = 2

    def prepare(self, send: Send) -> None:
        self.challenge = ""
        self.phones = deque(Phone() for _ in range(PHONES))
        for _ in range(PHONES * self.requests):
            self.answered(json.dumps(send(self.request())).encode())

    def request(self) -> Request:
        if not self.challenge:
            return super().request()
        self.phones.rotate()
        return self.log_in(self.phones[0].sign(self.challenge))

    def log_in(self, signed_request: str) -> Request:
        body = {"client_id": CLIENT_ID, "kind": "token", "signed_request": signed_request}
        return "POST", "/api/v1/login/key/", json.dumps(body).encode(), JSON

    def answered(self, body: bytes) -> None:
        answer = json.loads(body)
        answer = answer.get("result", answer)
        self.challenge = answer.get("challenge") or answer.get("token") or ""


# --- Authgear door --------------------------------------------------------------------------------


AUTHGEAR_SIGN_UP: Request = (
    "POST",
    "/api/anonymous_user/signup",
    json.dumps({"client_id": CLIENT_ID, "session_type": "refresh_token"}).encode(),
    JSON,
)


class AuthgearSignUp(SignUp):
    name = "Authgear sign-up"

    def request(self) -> Request:
        return AUTHGEAR_SIGN_UP


class AuthgearUserInfo(UserInfo):
    name = "Authgear userinfo"
    sign_up, path = AUTHGEAR_SIGN_UP, "/oauth2/userinfo"


class AuthgearRefresh(Refresh):
    """With an ID token, signed RS256: OpenID Connect's default."""

    name = "Authgear refresh"
    sign_up = AUTHGEAR_SIGN_UP

    def request(self) -> Request:
        fields = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "refresh_token": self.tokens.popleft()}
        return "POST", "/oauth2/token", urlencode(fields).encode(), FORM


class AuthgearChallenge(Challenge):
    name = "Authgear challenge"
    path, body = "/oauth2/challenge", {"purpose": "anonymous_request"}


class AuthgearKeyLogin(AuthgearChallenge, KeyLogin):
    """With an ID token, as above."""

    name = "Authgear challenge + key log-in"

    def log_in(self, signed_request: str) -> Request:
        grant = "urn:authgear:params:oauth:grant-type:anonymous-request"
        fields = {"grant_type": grant, "client_id": CLIENT_ID, "jwt": signed_request}
        return "POST", "/oauth2/token", urlencode(fields).encode(), FORM


CASES: tuple[type[Case], ...] = (
    Insert,
    SignUp,
    LimitedSignUp,
    AuthgearSignUp,
    Challenge,
    KeyLogin,
    AuthgearChallenge,
    AuthgearKeyLogin,
    Select,
    UserInfo,
    AuthgearUserInfo,
    Update,
    Refresh,
    AuthgearRefresh,
)
