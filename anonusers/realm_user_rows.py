"""The users that MongoDB's Admin API lists, read from a file one by one: a JSON list, or one user on each line."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from anonusers.errors import InvalidRealmFiles
from anonusers.realm_json import check, plain
from anonusers.realm_providers import ANON_USER, LOCAL_USERPASS

USER_MAX = 1024 * 1024
"""Characters of one user."""
CHUNK = 64 * 1024
IDENTITIES_MAX = 20
BEGAN = datetime(2012, 1, 1, tzinfo=UTC)
"""No user of MongoDB's is older."""
BROKEN = object()
"""A line that is not JSON."""


@dataclass(frozen=True)
class IdentityRow:
    id: str
    provider_type: str
    email: str


@dataclass(frozen=True)
class UserRow:
    """A user of the file, the how manieth and on which line. `identities` has the anonymous one first; `email` is
    empty for a guest."""

    number: int
    line: int
    object_id: str
    identities: tuple[IdentityRow, ...]
    email: str
    disabled: bool
    created_at: datetime | None

    @property
    def is_guest(self) -> bool:
        return all(identity.provider_type == ANON_USER for identity in self.identities)


@dataclass(frozen=True)
class Problem:
    """A user who cannot be taken, the how manieth and on which line."""

    number: int
    line: int
    reason: str


def read_users(path: Path, *, now: datetime) -> Iterator[UserRow | Problem]:
    """Every user of the file, or what is wrong with them. Raises: InvalidRealmFiles where the file itself is broken."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, (line, value) in enumerate(_values(file, str(path)), 1):
                yield _user(number, line, value, now)
    except UnicodeDecodeError as error:
        raise InvalidRealmFiles(f"{path}: The file is not UTF-8.") from error
    except OSError as error:
        raise InvalidRealmFiles(f"{path}: The file cannot be read: {error.strerror}.") from error


def _values(file: TextIO, where: str) -> Iterator[tuple[int, Any]]:
    line, first = 1, file.read(1)
    while first.isspace():
        line, first = line + (first == "\n"), file.read(1)
    if first == "[":
        yield from _listed(file, line, where)
    elif first:
        yield from _lines(file, first, line, where)


def _lines(file: TextIO, first: str, line: int, where: str) -> Iterator[tuple[int, Any]]:
    text, is_first = first + file.readline(USER_MAX), True
    while text:
        if len(text) > USER_MAX:
            raise InvalidRealmFiles(f"{where}: line {line}: The line is too long.")
        if text.strip():
            try:
                yield line, json.loads(text)
            except (ValueError, RecursionError):
                if is_first:
                    reason = "The file is neither a JSON list of users nor one user on each line"
                    raise InvalidRealmFiles(f"{where}: line {line}: {reason}.") from None
                yield line, BROKEN
            is_first = False
        line, text = line + 1, file.readline(USER_MAX + 1)


def _listed(file: TextIO, line: int, where: str) -> Iterator[tuple[int, Any]]:
    decoder, buffer = json.JSONDecoder(), ""
    ahead = re.compile(r"[\s,]*")
    while True:
        blank = ahead.match(buffer)
        skipped = blank.end() if blank else 0
        line, buffer = line + buffer.count("\n", 0, skipped), buffer[skipped:]
        if not buffer:
            buffer = file.read(CHUNK)
            if not buffer:
                raise InvalidRealmFiles(f"{where}: line {line}: The list does not end.")
            continue
        if buffer[0] == "]":
            if (buffer[1:] + file.read(CHUNK)).strip():
                raise InvalidRealmFiles(f"{where}: line {line}: Something follows the end of the list.")
            return
        if buffer[0] != "{":
            raise InvalidRealmFiles(f"{where}: line {line}: Each item of the list must be a JSON object.")
        value, buffer, lines = _decoded(decoder, buffer, file, f"{where}: line {line}")
        yield line, value
        line += lines


def _decoded(decoder: json.JSONDecoder, buffer: str, file: TextIO, where: str) -> tuple[Any, str, int]:
    while True:
        try:
            value, end = decoder.raw_decode(buffer)
        except (ValueError, RecursionError) as error:
            more = file.read(max(CHUNK, len(buffer)))  # twice as much, so that it is not decoded over and over
            if not more or len(buffer) > USER_MAX:
                raise InvalidRealmFiles(f"{where}: This is not JSON.") from error
            buffer += more
        else:
            return value, buffer[end:], buffer.count("\n", 0, end)


def _user(number: int, line: int, value: Any, now: datetime) -> UserRow | Problem:
    try:
        if value is BROKEN:
            raise InvalidRealmFiles("This is not JSON.")
        check(value, "user")
        return _read(number, line, value, now)
    except InvalidRealmFiles as error:
        return Problem(number, line, error.message)


def _read(number: int, line: int, value: Any, now: datetime) -> UserRow:
    user = _table(value, "user")
    object_id = plain(user.get("_id"))
    if not isinstance(object_id, str) or not re.fullmatch(r"[0-9a-f]{24}", object_id, re.ASCII):
        raise InvalidRealmFiles("_id: Use 24 lower-case hexadecimal digits.")
    if user.get("type", "normal") != "normal":
        raise InvalidRealmFiles(f"type: {user['type']!r} is no person.")
    disabled = user.get("disabled", False)
    if not isinstance(disabled, bool):
        raise InvalidRealmFiles("disabled: This must be true or false.")
    listed = user.get("identities")
    if not isinstance(listed, list) or not 0 < len(listed) <= IDENTITIES_MAX:
        raise InvalidRealmFiles(f"identities: This must be a list of 1 to {IDENTITIES_MAX}.")
    identities = sorted(map(_identity, listed), key=lambda one: one.provider_type != ANON_USER)
    if len({(one.provider_type, one.id) for one in identities}) < len(identities):
        raise InvalidRealmFiles("identities: One of them stands there twice.")
    own = next((one.email for one in identities if one.provider_type == LOCAL_USERPASS and one.email), "")
    email = own or next((one.email for one in identities if one.email), "") or _email(user.get("data"))
    created_at = _moment(user.get("creation_date"), now)
    row = UserRow(number, line, object_id, tuple(identities), email, disabled, created_at)
    if row.is_guest:
        return replace(row, email="")
    if not email:
        kinds = ", ".join(sorted({one.provider_type for one in identities}))
        raise InvalidRealmFiles(f"There is no e-mail address, and nobody logs in here by {kinds}.")
    return row


def _identity(value: Any) -> IdentityRow:
    identity = _table(value, "identities")
    id, kind = plain(identity.get("id")), identity.get("provider_type")
    if not isinstance(id, str) or not 0 < len(id) <= 100:
        raise InvalidRealmFiles("identities: id: Use 1 to 100 characters.")
    if not isinstance(kind, str) or not re.fullmatch(r"[a-z0-9-]{1,20}", kind, re.ASCII):
        raise InvalidRealmFiles("identities: provider_type: This is none.")
    return IdentityRow(id, kind, _email(identity.get("provider_data")) or _email(identity.get("data")))


def _email(data: Any) -> str:
    email = data.get("email") if isinstance(data, Mapping) else None
    return email if isinstance(email, str) else ""


def _moment(value: Any, now: datetime) -> datetime | None:
    """Seconds since 1970, where they are plausible."""
    seconds = plain(value)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < 10**11:
        return None
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment if BEGAN <= moment <= now else None


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidRealmFiles(f"{where}: This must be a JSON object.")
    return value
