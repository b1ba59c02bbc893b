"""The form of Login & promotion, and what its switches mean together."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from anonusers.conf import Conf, conf
from anonusers.models import LoginID, Project
from anonusers.project_keys import CHOICES
from portal.forms import PROMOTION_CONFLICT, PROMOTION_CONFLICT_HELP, SettingsForm

HELP = {
    LoginID.Type.EMAIL: _("With a password, or with a code that is sent there."),
    LoginID.Type.PHONE: _("With a password, or with a code that is sent there as a text message."),
    LoginID.Type.USERNAME: _("With a password. No code can be sent to a user name."),
}
VERIFY = {
    LoginID.Type.EMAIL: _("Verify the address by a code"),
    LoginID.Type.PHONE: _("Verify the number by a code"),
}


def sends_texts() -> bool:
    """Whether text messages go anywhere else than into the server's log."""
    return conf.PHONE_SENDER != Conf.PHONE_SENDER


@dataclass(frozen=True)
class Consequence:
    """A sentence that holds while `condition` does: ids of switches, each on, or off where a `!` stands before it."""

    text: str
    condition: str
    holds: bool


class LoginPromotionForm(SettingsForm):
    """Authentication › Login & promotion."""

    login_ids = forms.MultipleChoiceField(
        label=_("Login IDs"),
        choices=[(name, LoginID.Type(name).label) for name in CHOICES["login_ids"]],
        required=False,
        widget=forms.CheckboxSelectMultiple({"class": "switch", "role": "switch"}),
    )
    verify = forms.MultipleChoiceField(
        label=_("Verification"),
        choices=[(name, VERIFY[LoginID.Type(name)]) for name in CHOICES["verify"]],
        required=False,
        widget=forms.CheckboxSelectMultiple({"class": "switch", "role": "switch"}),
    )

    class Meta:
        model = Project
        fields = ("login_ids", "verify", "promotion_conflict")
        labels = {"promotion_conflict": PROMOTION_CONFLICT}
        help_texts = {"promotion_conflict": PROMOTION_CONFLICT_HELP}
        widgets = {"promotion_conflict": forms.Select({"class": "input"})}

    def clean_login_ids(self) -> list[str]:
        # Pages offer them in this order: what is stored keeps its place, what is new comes behind it.
        return _in_order(self.cleaned_data["login_ids"], self.initial["login_ids"], CHOICES["login_ids"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if "login_ids" in cleaned and "verify" in cleaned:
            # Where nobody logs in with it there is nothing to verify. The page's script does not send it then.
            used = [name for name in cleaned["verify"] if name in cleaned["login_ids"]]
            cleaned["verify"] = _in_order(used, self.initial["verify"], CHOICES["verify"])
        return cleaned

    def kinds(self) -> list[dict[str, Any]]:
        """Each kind of login ID with its switch, and the one that depends on it."""
        verify = {str(option.data["value"]): option for option in self["verify"]}
        return [
            {"type": (type_ := str(option.data["value"])), "option": option, "help": HELP[LoginID.Type(type_)],
             "verify": verify.get(type_)}
            for option in self["login_ids"]
        ]  # fmt: skip

    def shown(self, name: str) -> list[str]:
        """The entries, good or not."""
        return list(self[name].value() or [])

    def uses_phone(self) -> bool:
        return LoginID.Type.PHONE in self.shown("login_ids")

    def consequences(self) -> list[Consequence]:
        """What the switches mean, a sentence each; the script keeps them up with what is switched."""
        on = {_switch(field, name) for field in ("login_ids", "verify") for name in self.shown(field)}
        email, phone, username = (_switch("login_ids", name) for name in ("email", "phone", "username"))
        address, number = (_switch("verify", name) for name in ("email", "phone"))
        sentences = (
            (f"!{email} !{phone} !{username}", gettext("Guests cannot keep their account, and nobody can log in.")),
            (f"{email} {address}", gettext("An e-mail address becomes a guest's with the code that was sent there.")),
            (
                f"{email} !{address}",
                gettext(
                    "An e-mail address with a password becomes a guest's at once. Nobody has proven it: whoever reads "
                    "a code there later gets the account."
                ),
            ),
            (f"{phone} {number}", gettext("A phone number becomes a guest's with the code that was sent there.")),
            (
                f"{phone} !{number}",
                gettext(
                    "A phone number with a password becomes a guest's at once. Nobody has proven it: whoever reads a "
                    "code there later gets the account."
                ),
            ),
            (
                f"!{email} !{phone} {username}",
                gettext("A user name has no way back for who forgets the password."),
            ),
            (
                f"{email} {username}",
                gettext("Who has a user name needs a verified e-mail address, too, to get back without the password."),
            ),
        )
        return [Consequence(text, condition, holds(condition, on)) for condition, text in sentences]


def _switch(field: str, name: str) -> str:
    """The id of a switch on the page; nothing for what is no choice."""
    return f"id_{field}_{CHOICES[field].index(name)}" if name in CHOICES[field] else ""


def holds(condition: str, on: set[str]) -> bool:
    """Whether these ids of switches that are on fulfil a `condition`, as `Consequence` has it."""
    return all((name[1:] not in on) if name.startswith("!") else name in on for name in condition.split())


def _in_order(names: Any, stored: list[str], known: Any) -> list[str]:
    return [name for name in dict.fromkeys([*stored, *known]) if name in names]
