"""A phone with the unmodified @authgear/react-native: rn_driver.cjs in Node, told what to do from here."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from subprocess import PIPE, Popen
from threading import Thread
from typing import Any

from tests.e2e.conftest import TIMEOUT, SdkError, missing

HERE = Path(__file__).parent
SDK = HERE / "node_modules/@authgear/react-native/dist/authgear-react-native.js"
KEY_ID = "authgear_default_anonymousKeyID"
REFRESH_TOKEN = "authgear_default_refreshToken"
DPOP_KEY_ID = "authgear_default_dpopKeyID"

Event = dict[str, Any]


class Cancelled(Exception):
    """The user closed the browser."""


class Phone:
    """`look` is the user: gets what the phone shows, and returns the address that the browser ended at."""

    def __init__(self, process: Popen[str]) -> None:
        self.look: Callable[[Event], str | None] = self._nobody
        self._process = process
        self._messages: Queue[dict[str, Any] | None] = Queue()
        self._answers: dict[int, dict[str, Any]] = {}
        self._commands = 0
        self._listener = Thread(target=self._listen, daemon=True)
        self._listener.start()

    def call(self, method: str, *args: Any) -> Any:
        """What a method of the SDK's container resolves to.

        Raises: SdkError.
        """
        return self.result(self.start(method, *args))

    def do(self, action: str, *args: Any) -> Any:
        """Something that is not the SDK's: see `phone` in rn_driver.cjs."""
        return self.result(self._send({"do": action, "args": args}))

    def start(self, method: str, *args: Any, container: int = 0) -> int:
        """Begin a call; `result` waits for it."""
        return self._send({"call": method, "args": args, "container": container})

    def result(self, command: int) -> Any:
        """Raises: SdkError."""
        while command not in self._answers:
            self._receive()
        answer = self._answers.pop(command)
        if "failure" in answer:
            raise SdkError(answer["failure"])
        return answer["value"]

    def authenticate(self) -> dict[str, Any]:
        """The user info that `authenticateAnonymously()` resolves to."""
        info: dict[str, Any] = self.call("authenticateAnonymously")["userInfo"]
        return info

    def switch_off(self) -> None:
        self._process.kill()
        self._listener.join()

    @property
    def state(self) -> str:
        return str(self.do("state")["sessionState"])

    @property
    def storage(self) -> dict[str, str]:
        stored: dict[str, str] = self.do("storage")
        return stored

    @property
    def key_id(self) -> str | None:
        return self.storage.get(KEY_ID)

    def _send(self, command: dict[str, Any]) -> int:
        self._commands += 1
        self._write({"id": self._commands, **command})
        return self._commands

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def _receive(self) -> None:
        try:
            message = self._messages.get(timeout=TIMEOUT / 1000)
        except Empty:
            raise AssertionError("the phone does not answer") from None
        assert message is not None, "the phone is off"
        if "event" not in message:
            self._answers[message["id"]] = message
            return
        try:
            self._write({"shown": message["show"], "value": self.look(message)})
        except Cancelled:
            self._write({"shown": message["show"], "reject": "CANCEL"})

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._messages.put(json.loads(line))
        self._messages.put(None)

    def _nobody(self, event: Event) -> str:
        raise AssertionError(f"nobody looks at {event['url']}")


@contextmanager
def phone(*, endpoint: str, client_id: str, platform: str, dpop: bool) -> Iterator[Phone]:
    """A phone with nothing stored, and the app configured as the SDK's documentation says."""
    node = shutil.which("node")
    if node is None or not SDK.exists():
        missing("the SDK is not installed: run `npm install` in tests/e2e")
    command = [str(node), str(HERE / "rn_driver.cjs"), platform, str(dpop).lower()]
    with Popen(command, cwd=HERE, stdin=PIPE, stdout=PIPE, text=True, encoding="utf-8") as process:
        found = Phone(process)
        try:
            found.do("configure", {"clientID": client_id, "endpoint": endpoint})
            yield found
        finally:
            found.switch_off()
