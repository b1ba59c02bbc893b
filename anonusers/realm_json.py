"""JSON as people and MongoDB's tools write it: read strictly, but for a trailing comma, and written always the same."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from anonusers.errors import InvalidRealmFiles

DEPTH_MAX = 50
# A string, or a comma that nothing follows. MongoDB's own sample of anon-user.json has one, and people paste it.
TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*(?:"|\Z))|,(?=\s*[}\]])', re.DOTALL)
FIRST = (
    "config_version",
    "app_id",
    "_id",
    "id",
    "name",
    "type",
    "disabled",
    "location",
    "deployment_model",
    "environment",
)
"""Keys that come first where a table has them; the others follow by the alphabet: databases keep no order."""


def parse(text: bytes | str, where: str) -> Any:
    """The value. `where` is what errors call the file. Raises: InvalidRealmFiles, with the file and the reason."""
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        raise InvalidRealmFiles(f"{where}: The file is not UTF-8.") from error
    text = TRAILING_COMMA.sub(lambda found: found[1] or "", text)
    try:
        value = json.loads(text, object_pairs_hook=_table, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        reason = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise InvalidRealmFiles(f"{where}: The file is not JSON: {reason}.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRealmFiles(f"{where}: The file is not JSON: {str(error).rstrip('.')}.") from error
    check(value, where)
    return value


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{json.dumps(twice)} stands here twice")
    return table


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no value of JSON")


def check(value: Any, where: str) -> None:
    """What no database would keep is refused: NUL, half a character, infinity, bottomless tables.

    Raises: InvalidRealmFiles.
    """
    ahead: list[tuple[Any, int]] = [(value, 0)]
    while ahead:
        one, depth = ahead.pop()
        if depth > DEPTH_MAX:
            raise InvalidRealmFiles(f"{where}: The file nests deeper than {DEPTH_MAX} levels.")
        if isinstance(one, Mapping):
            ahead += [(inner, depth + 1) for pair in one.items() for inner in pair]
        elif isinstance(one, (list, tuple)):
            ahead += [(inner, depth + 1) for inner in one]
        elif isinstance(one, str):
            if "\0" in one or not is_text(one):
                raise InvalidRealmFiles(f"{where}: A text has a NUL or half a character.")
        elif isinstance(one, float) and not math.isfinite(one):
            raise InvalidRealmFiles(f"{where}: A number is too large.")
        elif not isinstance(one, (bool, int, float, type(None))):
            raise InvalidRealmFiles(f"{where}: {type(one).__name__} is no value of JSON.")


def is_text(text: str) -> bool:
    """Whether UTF-8 can say it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def write(value: Any) -> bytes:
    """The same bytes for the same value."""
    return (json.dumps(_ordered(value), ensure_ascii=False, indent=4, allow_nan=False) + "\n").encode()


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        names = sorted(value, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
        return {name: _ordered(value[name]) for name in names}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_ordered(inner) for inner in value]
    return value


def plain(value: Any) -> Any:
    """A number, id or date of Extended JSON as plain JSON has it (a date in seconds since 1970); all else as it is."""
    if not isinstance(value, Mapping) or len(value) != 1:
        return value
    match next(iter(value.items())):
        case ("$oid", str(text)):
            return text
        case ("$numberInt" | "$numberLong", str(text)) if re.fullmatch(r"-?[0-9]{1,19}", text, re.ASCII):
            return int(text)
        case ("$numberDouble", str(text)) if re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", text, re.ASCII):
            return float(text)
        case ("$date", inner) if isinstance(milliseconds := plain(inner), int):
            return milliseconds // 1000
    return value
