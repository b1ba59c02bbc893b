"""What people read when something is wrong: the words of the pages for the errors of the domain."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from anonusers.errors import (
    AnonUsersError,
    Busy,
    CodeExpired,
    CodeNotSent,
    CodeWrong,
    CredentialsWrong,
    InvalidLoginID,
    LoginIDNotAllowed,
    LoginIDTaken,
    RateLimited,
    UserDisabled,
    WeakPassword,
)


@dataclass
class Problems:
    """What is wrong with a form: by field, and as a whole under ``""``."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    status: int = 200
    retry_after: int = 0

    def __bool__(self) -> bool:
        return bool(self.fields)

    @property
    def whole(self) -> list[str]:
        return self.fields.get("", [])

    @property
    def many(self) -> list[tuple[str, str]]:
        """(field, message) for the summary on top, where there is more than one."""
        found = [(name, message) for name, messages in self.fields.items() if name for message in messages[:1]]
        return found if len(found) > 1 else []

    def add(self, name: str, *messages: str, status: int = 422) -> None:
        self.fields.setdefault(name, []).extend(messages)
        self.status = max(self.status, status)

    def tell(self, error: AnonUsersError, *, login_id: str = "login_id", secret: str = "") -> None:
        """Add what an error of the domain means on this page. What people cannot mend is not caught here."""
        match error:
            case InvalidLoginID():
                self.add(login_id, how_to_write(error.type))
            case LoginIDNotAllowed():
                self.add(login_id, _(error.message))
            case LoginIDTaken():
                self.add(login_id, _("This one has an account already. Use another one, or log in to that account."))
                self.status = 409
            case WeakPassword():
                self.add(secret or "password", *error.reasons)
            case CodeWrong(tries_left=0):
                self.add("code", _("This code is not right, and that was the last try. Send a new code."))
            case CodeWrong():
                self.add(
                    "code",
                    ngettext(
                        "This code is not right. %(count)s try left.",
                        "This code is not right. %(count)s tries left.",
                        error.tries_left,
                    )
                    % {"count": error.tries_left},
                )
            case CodeExpired():
                self.add("code", _("This code is not valid any more. Send a new one."))
            case CredentialsWrong():
                self.add("", _("The login ID or the password is not right. Check both and try again."))
            case UserDisabled():
                self.add("", _("This account is disabled. Ask those who run this site."), status=403)
            case RateLimited():
                self.add(
                    "",
                    _("Too many tries. Nothing was lost: try again in %(time)s.")
                    % {"time": in_words(error.retry_after)},
                    status=429,
                )
                self.retry_after = error.retry_after
            case CodeNotSent():
                self.add("", _("The message could not be sent. Nothing was lost: try again in a moment."), status=503)
            case Busy():
                self.add("", _("Too much is going on at once. Try again in a moment."), status=503)
                self.retry_after = error.retry_after
            case _:
                raise error


# What `LoginIDNotAllowed` says of itself; flow.py and errors.py know no language.
NOT_ALLOWED = (
    gettext_noop("This kind of login ID is not used here."),
    gettext_noop("A user name needs a password, and no code can be sent to it."),
)

TELLABLE = (
    Busy,
    CodeExpired,
    CodeNotSent,
    CodeWrong,
    CredentialsWrong,
    InvalidLoginID,
    LoginIDNotAllowed,
    LoginIDTaken,
    RateLimited,
    UserDisabled,
    WeakPassword,
)


def how_to_write(type: str) -> str:
    return {
        "email": _("This is not an e-mail address that we can send to. It looks like name@example.com."),
        "phone": _("This is not a phone number. Write it with the country code, like +49 30 1234567."),
        "username": _("A user name has 3 to 40 letters, digits, dots, hyphens or underscores; some are reserved."),
    }.get(type, _("This is not valid here."))


def in_words(seconds: int) -> str:
    if seconds < 100:
        return ngettext("%(count)s second", "%(count)s seconds", seconds) % {"count": seconds}
    minutes = -(-seconds // 60)
    if minutes < 100:
        return ngettext("%(count)s minute", "%(count)s minutes", minutes) % {"count": minutes}
    hours = -(-minutes // 60)
    return ngettext("%(count)s hour", "%(count)s hours", hours) % {"count": hours}


def ago(time: datetime) -> str:
    """`just now`, `2 hours ago`, `3 months ago`: whole phrases, since languages bend the number's noun in them."""
    minutes = (timezone.now() - time) // timedelta(minutes=1)
    hours, days = minutes // 60, minutes // 1440
    months = days * 12 // 365
    if minutes < 1:
        return _("just now")
    if hours < 1:
        return ngettext("%(count)d minute ago", "%(count)d minutes ago", minutes) % {"count": minutes}
    if days < 1:
        return ngettext("%(count)d hour ago", "%(count)d hours ago", hours) % {"count": hours}
    if months < 1:
        return ngettext("%(count)d day ago", "%(count)d days ago", days) % {"count": days}
    if months < 24:
        return ngettext("%(count)d month ago", "%(count)d months ago", months) % {"count": months}
    years = months // 12
    return ngettext("%(count)d year ago", "%(count)d years ago", years) % {"count": years}
