"""Retention & limits: the form, what its values mean, and what clean-ups did, in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from anonusers.budgets import read_budget
from anonusers.cleanup import BROKEN, KILLED, UNUSUAL
from anonusers.conf import conf
from anonusers.models import CleanupRun, Project
from portal.durations import grouped
from portal.fields import BudgetField, DaysField, GuestsField, NetworksField, PercentField
from portal.forms import SettingsForm

RETENTION = (
    "guest_inactive_days",
    "quarantine_days",
    "session_history_days",
    "retired_key_days",
    "removals_per_run",
    "removals_percent",
)
BUDGETS = ("signup_per_ip", "signup_per_application", "signup_per_project_day", "bot_check_per_ip")
LIMITS = (*BUDGETS, "unlimited_networks", "limits_store_down")


class RetentionForm(SettingsForm):
    """Retention & limits: who is removed when, and how many may come."""

    unlimited_networks = NetworksField(
        label=_("Networks without limits per address"),
        help_text=_(
            "For classrooms, offices and events, where many people share an address. One network a line, such as "
            "192.0.2.0/24. With a beginning and an end it counts only then: "
            "192.0.2.0/24 2026-12-01T08:00Z/2026-12-01T18:00Z. The other limits count there, too."
        ),
    )

    class Meta:
        model = Project
        fields = (*RETENTION, *LIMITS)
        field_classes = {
            **dict.fromkeys(RETENTION[:4], DaysField),
            "removals_per_run": GuestsField,
            "removals_percent": PercentField,
            **dict.fromkeys(BUDGETS, BudgetField),
        }
        labels = {
            "guest_inactive_days": _("Keep inactive guests for"),
            "quarantine_days": _("Then keep them in quarantine for"),
            "session_history_days": _("Keep ended sessions for"),
            "retired_key_days": _("Remember retired device keys for"),
            "removals_per_run": _("Most guests that one clean-up removes"),
            "removals_percent": _("Stop when more would go than"),
            "signup_per_ip": _("New guests from one address"),
            "signup_per_application": _("New guests through one application"),
            "signup_per_project_day": _("New guests in the whole project"),
            "bot_check_per_ip": _("Bot check from one address after"),
            "limits_store_down": _("When guests cannot be counted"),
        }
        help_texts = {
            "guest_inactive_days": _(
                "A guest goes when their sessions are over and neither they nor the key on their device were active "
                "for this long. Regular users never go.\n0: guests are never removed."
            ),
            "quarantine_days": _(
                "Nothing is lost in quarantine: who comes back is a guest as before, and you can restore others.\n"
                "0: guests are removed at once."
            ),
            "session_history_days": _(
                "The record of a session that is over. The last session of a guest is kept as long as the guest."
            ),
            "retired_key_days": _(
                "The key of an app whose guest became a regular user or is gone. While it is remembered, nobody "
                "else can claim it.\n0: for ever."
            ),
            "removals_per_run": _("What is left over is for the next clean-up."),
            "removals_percent": _(
                "Of all guests. A clean-up that would remove a larger share, and more than 1,000, leaves the guests "
                "alone until somebody has looked and confirmed it: a wrong setting must not cost you your users."
            ),
            "signup_per_ip": _(
                "Past this, whoever has this address has to wait. Of an IPv6 address the whole /64 network counts."
            ),
            "signup_per_application": _("Past this, nobody can become a guest in that application for a while."),
            "signup_per_project_day": _("Past this, nobody can become a guest in any application for a while."),
            "bot_check_per_ip": _(
                "Past this, a browser or app first solves a task that costs it a moment. Authgear's SDKs cannot: they "
                "have to wait. Set it lower than the limit above."
            ),
            "limits_store_down": _(
                "The server counts new guests in a store, which can fail.\n"
                "Go On: guests are let in, and each process of the server counts for itself.\n"
                "Stop: nobody can become a guest until the store is back."
            ),
        }
        widgets = {"limits_store_down": forms.Select({"class": "input"})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in BUDGETS:
            field = self.fields[name]
            assert isinstance(field, BudgetField)  # noqa: S101  (field_classes above)
            field.stands_for(server_default(name))

    def outcome(self) -> "Outcome":
        """The patterns of the sentence that says what happens to guests."""
        return Outcome()

    def outcome_text(self) -> str:
        """The sentence for the entries, or for the stored values while the entries are not good."""
        return self.outcome().text(self.good_value("guest_inactive_days"), self.good_value("quarantine_days"))

    def limit_patterns(self) -> dict[str, str]:
        """How limits are said, for the page's script."""
        return patterns()


def server_default(name: str) -> str:
    """What an empty entry means: the server's setting, or no limit where there is none."""
    return str(getattr(conf, name.upper(), "off"))


class Outcome:
    """What happens to guests, in one sentence. The patterns go to the page, where the script fills them live."""

    def __init__(self) -> None:
        self.never = gettext("Guests are never removed.")
        self.at_once = gettext("Guests are removed after {inactive} without activity, once their sessions are over.")
        self.later = gettext(
            "Guests are set aside after {inactive} without activity, once their sessions are over, "
            "and removed {quarantine} later."
        )

    def text(self, inactive: int, quarantine: int) -> str:
        """The sentence for these numbers of days."""
        if not inactive:
            return self.never
        pattern = self.later if quarantine else self.at_once
        return pattern.replace("{inactive}", in_days(inactive)).replace("{quarantine}", in_days(quarantine))


def in_days(days: int) -> str:
    """`1` → "1 day"."""
    return ngettext("%(count)d day", "%(count)d days", days) % {"count": days}


def patterns() -> dict[str, str]:
    """What each kind of limit is called; `{n}` is the number."""
    return {
        "s": gettext("{n} a second"),
        "m": gettext("{n} a minute"),
        "h": gettext("{n} an hour"),
        "d": gettext("{n} a day"),
        "off": gettext("No limit"),
        "empty": gettext("The server's default: {default}"),
    }


def limit_in_words(text: str, default: str = "off") -> str:
    """`"60/m"` → "60 a minute"; what cannot be read has no words."""
    words = patterns()
    if not text:
        said = limit_in_words(default)
        return words["empty"].replace("{default}", said[:1].lower() + said[1:])
    try:
        budget = read_budget(text)
    except ValueError:
        return ""
    return words["off"] if budget is None else words[budget[1]].replace("{n}", grouped(budget[0]))


@dataclass(frozen=True)
class Count:
    """How many of what."""

    number: int
    words: str


def counts_in_words(counts: Mapping[str, int], *, all_of_them: bool = False) -> list[Count]:
    """What a clean-up did, or would do, in the order of its steps; what did not happen is left out."""
    known = {
        "removed": ngettext("guest removed", "guests removed", counts.get("removed", 0)),
        "quarantined": ngettext("guest set aside", "guests set aside", counts.get("quarantined", 0)),
        "released": ngettext(
            "guest came back from quarantine", "guests came back from quarantine", counts.get("released", 0)
        ),
        "forbidden": ngettext(
            "guest kept for what hangs on them", "guests kept for what hangs on them", counts.get("forbidden", 0)
        ),
        "sessions": ngettext("ended session", "ended sessions", counts.get("sessions", 0)),
        "secrets": ngettext("expired code or link", "expired codes and links", counts.get("secrets", 0)),
        "keys": ngettext("retired device key", "retired device keys", counts.get("keys", 0)),
    }
    names = [*known, *sorted(counts.keys() - known.keys())]
    always = ("removed", "quarantined") if all_of_them else ()
    return [Count(counts.get(name, 0), known.get(name, name)) for name in names if counts.get(name) or name in always]


def reason_in_words(run: CleanupRun) -> str:
    """Why it did not come to its end; what is no text of ours, or has no values, as it stands there."""
    if run.reason in (BROKEN, KILLED):
        return gettext(run.reason)
    try:
        numbers = {name: grouped(run.report["unusual"][name]) for name in ("many", "everybody", "percent")}
    except (KeyError, TypeError):  # of an earlier version
        return run.reason
    return gettext(UNUSUAL) % numbers if run.reason else ""
