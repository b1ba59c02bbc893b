"""Six-digit codes, sent to an address: five tries, ten minutes, a new one at most once a minute.

A code is short, so the database holds only a MAC of it under a key of the server.
"""

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from anonusers.errors import CodeExpired, CodeWrong
from anonusers.limits import network_of, spend
from anonusers.login_ids import EMAIL, LoginIDValue
from anonusers.models import OneTimeToken, Project
from anonusers.promotion import email_code, phone_code
from anonusers.sealing import derive

LIFETIME = timedelta(minutes=10)
TRIES = 5


@dataclass(frozen=True)
class Sent:
    """Where the code went, masked for display, and until when it is good."""

    to: str
    expires_at: datetime


def spend_code(project: Project, key: str, ip: str) -> None:
    """Take one code from the budgets of an address and of its target, which `LoginIDValue.key` names.

    Raises: RateLimited. Who asks too often must not use up somebody else's codes, so their address is asked first.
    """
    spend("codes_per_ip", project.slug, network_of(ip))
    spend("codes_per_minute", project.slug, key)
    spend("codes_per_target", project.slug, key)


def send_code(token: OneTimeToken, login_id: LoginIDValue, *, ip: str = "") -> Sent:
    """Put a new code on a pending row, void the one before, and send it.

    Raises: RateLimited per target and per address; CodeNotSent when the provider fails, with nothing changed.
    """
    spend_code(token.project, login_id.key, ip)
    code = new_code()
    sender = email_code if login_id.type == EMAIL else phone_code
    sender.send(project=token.project, to=login_id.value, code=code)
    return Sent(mask(login_id), put_code(token, code))


def new_code() -> str:
    return f"{secrets.randbelow(1_000_000):06d}"


def put_code(token: OneTimeToken, code: str) -> datetime:
    """From now on this code opens the row, and no other. Returns until when."""
    until = timezone.now() + LIFETIME
    token.payload = token.payload | {"code": _mac(token, code), "code_expires_at": until.isoformat()}
    token.attempts = 0
    token.save(update_fields=["payload", "attempts"])
    return until


def sent_before(token: OneTimeToken, login_id: LoginIDValue) -> Sent:
    """Where the code of a pending row went, and until when it is good."""
    return Sent(mask(login_id), datetime.fromisoformat(token.payload["code_expires_at"]))


def check_code(token: OneTimeToken, code: str) -> None:
    """Count a try, then compare. The row is not spent: the caller does that with what the code is for.

    Raises: CodeExpired after ten minutes or five tries; CodeWrong.
    """
    until = parse_datetime(token.payload.get("code_expires_at", "")) if token.payload.get("code") else None
    counted = OneTimeToken.objects.filter(pk=token.pk, used_at=None, attempts__lt=TRIES).update(
        attempts=F("attempts") + 1
    )
    if until is None or timezone.now() >= until or not counted:
        raise CodeExpired
    if not hmac.compare_digest(_mac(token, code.strip()), token.payload["code"]):
        raise CodeWrong(tries_left=max(0, TRIES - token.attempts - 1))


def mask(login_id: LoginIDValue) -> str:
    """`a…@example.com`, `+49…89`: enough to know it again, not enough to learn it."""
    if login_id.type == EMAIL:
        local, _, domain = login_id.value.partition("@")
        return f"{local[:1]}…@{domain}"
    return f"{login_id.value[:3]}…{login_id.value[-2:]}"


def _mac(token: OneTimeToken, code: str) -> str:
    return hmac.new(derive("one-time-code"), f"{token.pk}:{code}".encode(), "sha256").hexdigest()
