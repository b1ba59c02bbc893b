"""Tokens that MongoDB signed, and what becomes of them while accounts are moved here."""

from datetime import datetime

from anonusers.errors import InvalidToken
from anonusers.models import Project, Session


def foreign_refresh_token(project: Project | None, token: str, now: datetime) -> Session:
    """Raises: InvalidToken."""
    raise InvalidToken


def foreign_access_token(token: str) -> None:
    """Raises: InvalidToken."""
    raise InvalidToken
