"""Seconds and days in words, and what two lifetimes mean together. Pure; static/portal/portal.js has the twin."""

from dataclasses import dataclass
from datetime import date

from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

MINUTE, HOUR, DAY = 60, 3600, 86_400


def in_words(seconds: int) -> str:
    """`2592000` → "30 days"; `108000` → "1 day 6 hours". Exact: nothing is rounded away, days are the largest unit."""
    days, rest = divmod(seconds, DAY)
    hours, rest = divmod(rest, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    parts = [
        ngettext("%(count)d day", "%(count)d days", days) % {"count": days} if days else "",
        ngettext("%(count)d hour", "%(count)d hours", hours) % {"count": hours} if hours else "",
        ngettext("%(count)d minute", "%(count)d minutes", minutes) % {"count": minutes} if minutes else "",
        ngettext("%(count)d second", "%(count)d seconds", rest) % {"count": rest} if rest or not seconds else "",
    ]
    return " ".join(part for part in parts if part)


def in_words_and_seconds(seconds: int) -> str:
    """`2592000` → "30 days (2,592,000 seconds)"; below a minute the words say it already."""
    if seconds < MINUTE:
        return in_words(seconds)
    return _("%(words)s (%(seconds)s seconds)") % {"words": in_words(seconds), "seconds": grouped(seconds)}


def grouped(number: int) -> str:
    """`2592000` → "2,592,000", with the separators of the page's language."""
    return number_format(number, use_l10n=True, force_grouping=True)


def relative(seconds: float) -> str:
    """How far away something is, in its largest unit: `-7200` → "2 hours ago", `90000` → "in 1 day"."""
    away = int(abs(seconds))
    if away < MINUTE:
        return _("just now") if seconds <= 0 else _("in less than a minute")
    days, hours, minutes = away // DAY, away // HOUR, away // MINUTE
    # Whole phrases: in "vor 2 Tagen" the noun is another one than in "2 Tage".
    if seconds < 0:
        if days:
            return ngettext("%(count)d day ago", "%(count)d days ago", days) % {"count": days}
        if hours:
            return ngettext("%(count)d hour ago", "%(count)d hours ago", hours) % {"count": hours}
        return ngettext("%(count)d minute ago", "%(count)d minutes ago", minutes) % {"count": minutes}
    if days:
        return ngettext("in %(count)d day", "in %(count)d days", days) % {"count": days}
    if hours:
        return ngettext("in %(count)d hour", "in %(count)d hours", hours) % {"count": hours}
    return ngettext("in %(count)d minute", "in %(count)d minutes", minutes) % {"count": minutes}


def exact_day(day: date) -> str:
    """`20 Nov 2026`, as the page's language writes it."""
    return date_format(day, pgettext("date format", "j M Y"))


def short_day(day: date) -> str:
    """`20 Nov`, where the year is clear."""
    return date_format(day, pgettext("date format", "j M"))


@dataclass(frozen=True, kw_only=True)
class LogoutSentence:
    """When people are logged out, in one sentence. The patterns go to the page, where the script fills them live."""

    with_idling: str
    without_idling: str

    def text(self, *, lifetime: int, idle_timeout: int | None) -> str:
        """The sentence for these values; `idle_timeout` is None where idling ends nothing.

        An idle timeout as long as the lifetime can never come first, so it is not mentioned.
        """
        if idle_timeout is None or idle_timeout >= lifetime:
            return self.without_idling.replace("{lifetime}", in_words(lifetime))
        sentence = self.with_idling.replace("{lifetime}", in_words(lifetime))
        return sentence.replace("{idle}", in_words(idle_timeout))


def logout_sentence(*, of_guests: bool = True) -> LogoutSentence:
    """The patterns in the page's language, for guests or for users who cannot be guests."""
    if of_guests:
        return LogoutSentence(
            with_idling=_("Guests are logged out after {idle} without activity, {lifetime} at the latest."),
            without_idling=_("Guests are logged out after {lifetime}, active or not."),
        )
    return LogoutSentence(
        with_idling=_("Users are logged out after {idle} without activity, {lifetime} at the latest."),
        without_idling=_("Users are logged out after {lifetime}, active or not."),
    )
