"""How a budget is written: `60/m` is 60 a minute, `off` is no limit."""

from django.utils.translation import gettext as _

OFF = "off"
UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day"}


def read_budget(text: str) -> tuple[int, str] | None:
    """`"60/m"` → `(60, "m")`; `"off"` → None.

    Raises: ValueError when the text is neither.
    """
    if text == OFF:
        return None
    amount, _slash, unit = text.partition("/")
    if not (amount.isascii() and amount.isdigit() and int(amount)) or unit not in UNITS:
        raise ValueError(_("Use N/s, N/m, N/h or N/d, such as 60/m for 60 a minute, or off."))
    return int(amount), unit


def check_budget_of_project(text: str) -> None:
    """A project's own budget may be empty, too: then the server's default counts.

    Raises: ValueError
    """
    if text:
        read_budget(text)
