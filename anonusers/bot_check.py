"""Bot checks: what a client that makes many guests has to solve before the next one.

`ProofOfWork` asks nobody else and shows nothing to people; `Turnstile` and `HCaptcha` ask their makers. Another one is
a subclass of `BotCheck`, named by `ANONUSERS_BOT_CHECK`.
"""

import base64
import hmac
import json
import threading
from datetime import timedelta
from functools import lru_cache
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from django.utils.module_loading import import_string

from anonusers import onetime, sealing
from anonusers.conf import conf
from anonusers.errors import Busy, InvalidToken
from anonusers.models import Project

LIFETIME = timedelta(minutes=10)
SOLUTION_MAX = 4096


class BotCheck:
    """Makes challenges, and knows solutions of them. The rest sees to it that each is good for one guest."""

    def challenge(self, project: Project) -> dict[str, Any]:
        """What the client gets, as JSON. `type` says what it is."""
        raise NotImplementedError

    def identity_of(self, solution: str, *, project: Project, ip: str) -> str | None:
        """What makes this solution one of its own however it is written; None where it is not right.

        Raises: Busy when that cannot be told now.
        """
        raise NotImplementedError

    def is_solved(self, solution: str, *, project: Project, ip: str) -> bool:
        """Whether this is a right solution for this project that was never used. It is used now.

        Raises: Busy.
        """
        if not solution or len(solution) > SOLUTION_MAX:
            return False
        identity = self.identity_of(solution, project=project, ip=ip)
        if identity is None:
            return False
        try:
            onetime.once(onetime.Purpose.BOT_CHECK, identity, project=project, until=timezone.now() + LIFETIME)
        except InvalidToken:
            return False
        return True


class ProofOfWork(BotCheck):
    """Find the number that was hashed (ALTCHA's first protocol). The challenge is signed and stored nowhere."""

    def challenge(self, project: Project) -> dict[str, Any]:
        altcha = _altcha()
        made = altcha.create_challenge(
            altcha.ChallengeOptions(
                max_number=conf.BOT_CHECK_DIFFICULTY, hmac_key=self._key(project), expires=timezone.now() + LIFETIME
            )
        )
        return {"type": "altcha"} | made.to_dict()

    def identity_of(self, solution: str, *, project: Project, ip: str) -> str | None:
        altcha = _altcha()
        try:
            answer = json.loads(base64.b64decode(solution, validate=True))
            # The library takes whatever JSON can be: text that ends in the number would do as a number.
            kinds = {"algorithm": str, "challenge": str, "number": int, "salt": str, "signature": str}
            if any(type(answer[name]) is not kind for name, kind in kinds.items()):
                return None
            solved, _reason = altcha.verify_solution(answer, self._key(project))
            expires = altcha.extract_params(answer).get("expires")
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        # Whoever moves the expiry out of what was hashed has none.
        return str(answer["challenge"]) if solved and expires else None

    @staticmethod
    def _key(project: Project) -> bytes:
        """Of the project, so that a solution is worth nothing in another one."""
        return hmac.digest(sealing.derive("bot-check"), str(project.pk).encode(), "sha256")


class SiteVerify(BotCheck):
    """A widget of a provider, who tells us whether it is content: the `siteverify` call that they all have alike."""

    url = ""
    type = ""
    timeout = 5.0  # seconds
    # A provider that is slow must not take every worker.
    _in_flight = threading.BoundedSemaphore(8)

    def challenge(self, project: Project) -> dict[str, Any]:
        return {"type": self.type, "site_key": conf.BOT_CHECK_SITE_KEY}

    def identity_of(self, solution: str, *, project: Project, ip: str) -> str | None:
        if not self._in_flight.acquire(blocking=False):
            raise Busy
        try:
            verdict = self._ask(solution, ip)
        finally:
            self._in_flight.release()
        return solution if verdict.get("success") is True and self.is_for(project, verdict) else None

    def is_for(self, project: Project, verdict: dict[str, Any]) -> bool:
        """A provider accepts each solution once, so that it is worth nothing in a second project."""
        return True

    def _ask(self, solution: str, ip: str) -> dict[str, Any]:
        form = {"secret": conf.BOT_CHECK_SECRET, "response": solution, "remoteip": ip}
        try:
            with urlopen(self.url, urlencode(form).encode(), timeout=self.timeout) as response:  # noqa: S310  (a constant)
                verdict = json.loads(response.read(65_536))
        except (OSError, HTTPException, ValueError):
            raise Busy from None  # nothing of it for the log: the form holds a secret
        if not isinstance(verdict, dict):
            raise Busy
        return verdict


class Turnstile(SiteVerify):
    """Cloudflare Turnstile. The widget is to be rendered with the `cdata` of the challenge."""

    url = "https://challenges.cloudflare.com/turnstile/v0/siteverify"
    type = "turnstile"

    def challenge(self, project: Project) -> dict[str, Any]:
        return super().challenge(project) | {"cdata": project.slug}

    def is_for(self, project: Project, verdict: dict[str, Any]) -> bool:
        return bool(verdict.get("cdata") == project.slug)


class HCaptcha(SiteVerify):
    """hCaptcha."""

    url = "https://api.hcaptcha.com/siteverify"
    type = "hcaptcha"


def bot_check() -> BotCheck:
    """The one that is configured."""
    return _made(conf.BOT_CHECK)


@lru_cache(maxsize=8)
def _made(path: str) -> BotCheck:
    made: BotCheck = import_string(path)()
    return made


def _altcha() -> Any:
    try:
        import altcha.v1
    except ImportError:
        raise ImproperlyConfigured('The proof of work needs a library: install "anonusers[bot-check]".') from None
    return altcha.v1
