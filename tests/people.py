"""Guests and regular users to begin with, and the codes that they get."""

import re
from typing import Any

from django.core import mail

from anonusers.login_ids import parse_login_id
from anonusers.models import Application, EndUser, Session
from anonusers.promotion import promote
from anonusers.promotion.base import Proof
from anonusers.promotion.password import hash_password
from anonusers.signup import sign_up

EMAIL = "anna@example.com"
PASSWORD = "nine tame walruses"
WRONG = "nine wild walruses"


def guest_session(application: Application, **options: Any) -> Session:
    """The session of a new guest, `in_full()`."""
    signed_up = sign_up(project=application.project, application=application, **({"kind": "token"} | options))
    return Session.objects.in_full().get(pk=signed_up.session.pk)


def new_guest(application: Application) -> EndUser:
    return guest_session(application).end_user


def proof_of(
    text: str = EMAIL, *, type: str = "email", password: str | None = PASSWORD, verified: bool = True
) -> Proof:
    hashed = hash_password(password) if password is not None else None
    method = "password" if password is not None else f"{type}_code"
    return Proof(method, parse_login_id(type, text), verified=verified, password=hashed)


def regular_user(application: Application, text: str = EMAIL, **proof: Any) -> EndUser:
    """Somebody who was a guest, and is a regular user without a session."""
    return promote(end_user=new_guest(application), project=application.project, proof=proof_of(text, **proof)).end_user


def last_code() -> str:
    """The code of the last mail."""
    found = re.search(r"\b\d{6}\b", mail.outbox[-1].subject)
    assert found
    return found[0]


def other_than(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"
