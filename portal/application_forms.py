"""Forms that make and delete applications. Editing one is `ApplicationForm` of `portal/forms.py`."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from anonusers.models import Application
from portal.fields import URIListField
from portal.frameworks import FRAMEWORKS, GROUPS

Type = Application.Type

AFTER_LOGIN = "http://localhost/after-authentication"
AFTER_LOGIN_IN_APP = "com.example.myapp://host/path"
AFTER_LOGOUT = "http://localhost/after-logout"


class NewApplicationForm(forms.Form):
    """The wizard: a name, what it is made with, and for web applications with a server how people stay signed in."""

    name = forms.CharField(
        label=_("Name"),
        max_length=100,
        error_messages={"required": _("Enter a name.")},
        widget=forms.TextInput({"class": "input", "autocomplete": "off", "enterkeyhint": "next"}),
        help_text=_("People see it when they log in, and in the list of their sessions."),
    )
    framework = forms.ChoiceField(
        label=_("What is it made with?"),
        choices=[(key, framework.label) for key, framework in FRAMEWORKS.items()],
        error_messages={
            "required": _("Choose what the application is made with."),
            "invalid_choice": _("Choose one of these."),
        },
        widget=forms.RadioSelect,
    )
    session = forms.ChoiceField(
        label=_("How do people stay signed in?"),
        choices=(("cookie", _("Cookie")), ("token", _("Token"))),
        required=False,
        initial="cookie",
        error_messages={"invalid_choice": _("Choose one of these.")},
        widget=forms.RadioSelect,
    )
    redirect_uris = URIListField(
        label=_("Authorized redirect URIs"),
        help_text=_(
            "Where people return after they logged in, one a line. Web pages at these addresses may call the server. "
            "Empty: an address on your own machine to start with. You can change them later."
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": ""} | kwargs)

    def cards(self) -> list[dict[str, Any]]:
        """The frameworks in groups, each with its radio button."""
        buttons = {str(button.data["value"]): button for button in self["framework"]}
        return [
            {
                "label": label,
                "icon": icon,
                "options": [(framework, buttons[framework.key]) for framework in frameworks],
            }
            for label, icon, frameworks in GROUPS
        ]

    def wanted(self) -> dict[str, Any]:
        """What the use case is asked for: good entries, and where there are none Authgear's defaults."""
        framework = FRAMEWORKS[self.cleaned_data["framework"]]
        type_ = framework.type_for(cookies=self.cleaned_data["session"] != "token")
        start = AFTER_LOGIN_IN_APP if type_ == Type.NATIVE else AFTER_LOGIN
        return {
            "name": self.cleaned_data["name"],
            "type": type_,
            "framework": framework.key,
            "redirect_uris": [] if type_ == Type.M2M else self.cleaned_data["redirect_uris"] or [start],
            "post_logout_redirect_uris": [AFTER_LOGOUT] if type_ in (Type.SPA, Type.TRADITIONAL_WEBAPP) else [],
        }


class DeleteApplicationForm(forms.Form):
    """Asks for the application's name, so that nobody deletes the wrong one."""

    name = forms.CharField(
        error_messages={"required": _("Type the name of the application.")},
        widget=forms.TextInput(
            {"class": "input", "autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )

    def __init__(self, application: Application, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": ""} | kwargs)
        self.application = application
        self.fields["name"].label = _("Type %(name)s to confirm") % {"name": application.name}

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"])
        # A page shows a run of spaces as one.
        if name.split() != self.application.name.split():
            raise forms.ValidationError(_("This is not the name of the application."))
        return name
