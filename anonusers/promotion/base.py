"""What a promotion method hands over: a proof of who the person is, and nothing about how it was asked for."""

from dataclasses import dataclass

from anonusers.login_ids import LoginIDValue


@dataclass(frozen=True)
class Proof:
    """`password` is the hash to store, None where the person has no password. `verified`: they read a code there."""

    method: str
    login_id: LoginIDValue
    verified: bool
    password: str | None = None
