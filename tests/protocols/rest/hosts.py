"""What a host project may do to sign-ups, for ANONUSERS_ADAPTER."""

from typing import Any

from django.core.mail.backends.base import BaseEmailBackend

from anonusers.adapters import Adapter
from anonusers.bot_check import BotCheck
from anonusers.errors import SignupVetoed


class Closed(Adapter):
    def is_open_for_signup(self, project: Any) -> bool:
        return False


class Vetoing(Adapter):
    def pre_create(self, project: Any, application: Any) -> None:
        raise SignupVetoed("Not today", "The fair is over.")


class SilentlyVetoing(Adapter):
    def pre_create(self, project: Any, application: Any) -> None:
        raise SignupVetoed


class Riddle(BotCheck):
    """For ANONUSERS_BOT_CHECK: always the same, and anything that begins with 42 is an answer to it."""

    def challenge(self, project: Any) -> dict[str, Any]:
        return {"type": "riddle", "question": "six by nine"}

    def identity_of(self, solution: str, *, project: Any, ip: str) -> str | None:
        return solution if solution.startswith("42") else None


class NoMail(BaseEmailBackend):
    """A mail server that is away, for EMAIL_BACKEND."""

    def send_messages(self, messages: Any) -> int:
        raise ConnectionRefusedError


class Broken(Adapter):
    def pre_create(self, project: Any, application: Any) -> None:
        raise RuntimeError("a secret of the host")
