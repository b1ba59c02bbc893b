"""What this project keeps of people, and for how long: told from its settings, for a privacy notice."""

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from anonusers.models import Application, Project

DAY = 86_400


def statement(project: Project) -> list[str]:
    """Paragraphs, true for the settings of now."""
    return [
        _(
            "Who uses this service without an account is a guest: we keep a random identifier, the times of creation "
            "and last use, and for each sign-in the application, the browser's or the app's name for itself and, where "
            "the app tells it, the device's name, model and system. IP addresses are used to limit abuse and are not "
            "stored."
        ),
        _sessions(project),
        _guests(project),
        _history(project),
        _keys(project),
        _(
            "On which days somebody was here is kept for 400 days, with the identifier and nothing else. How many "
            "people did what on a day is kept for good, and names nobody. What operators do, and what concerns the "
            "safety of an account, is in a log; of somebody who is erased it keeps what happened and when, and nothing "
            "that leads to them."
        ),
        _(
            "Who becomes a regular user keeps the same identifier; login IDs (e-mail addresses, phone numbers, user "
            "names) are stored as they were entered, passwords only as hashes. A person can be erased at any time, "
            "with everything named here."
        ),
    ]


def _sessions(project: Project) -> str:
    lifetimes = [project.session_lifetime]
    lifetimes += Application.objects.filter(project=project).values_list("refresh_token_lifetime", flat=True)
    return _(
        "A sign-in ends when it was not used for the time that is set for its application, and after %s at the latest."
    ) % (_days(max(lifetimes)))


def _guests(project: Project) -> str:
    if not project.guest_inactive_days:
        return _("Guests are kept until somebody removes them.")
    inactive = _days(project.guest_inactive_days * DAY)
    # Clients may hold both for longer than this, and should not count on them.
    not_held = _("Neither a recovery code nor a device key that is not used keeps a guest for longer than that.")
    if not project.quarantine_days:
        removed = _("A guest who was not active for %s, and whom no sign-in leads back to, is removed for good.")
        return f"{removed % inactive} {not_held}"
    aside = _(
        "A guest who was not active for %(inactive)s, and whom no sign-in leads back to, is set aside, and removed for "
        "good %(quarantine)s later."
    ) % {"inactive": inactive, "quarantine": _days(project.quarantine_days * DAY)}
    return f"{aside} {not_held}"


def _history(project: Project) -> str:
    return _("Sign-ins that are over are kept for %s; codes and links that were sent, for a day after they expire.") % (
        _days(project.session_history_days * DAY)
    )


def _keys(project: Project) -> str:
    if not project.retired_key_days:
        return _("Of a device key that is not used any more the public half is kept, so that nobody else can claim it.")
    return _(
        "Of a device key that is not used any more the public half is kept for %s, so that nobody else can claim it."
    ) % _days(project.retired_key_days * DAY)


def _days(seconds: int) -> str:
    """Rounded up: what is said is never less than what is kept."""
    days = -(-seconds // DAY)
    return ngettext("%d day", "%d days", days) % days
