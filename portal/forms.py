"""The portal's forms. Each saves the fields that it shows, and nothing else of the row."""

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from anonusers.models import Application, Project
from anonusers.models.projects import ACCESS_TOKEN_LIFETIME_MIN, M2M_ACCESS_TOKEN_LIFETIME_MAX
from portal.access import is_operator
from portal.durations import LogoutSentence, logout_sentence
from portal.fields import NumberField, SecondsField, Switch, URIListField
from portal.frameworks import frameworks_of, label_of

Type = Application.Type


class SignInForm(AuthenticationForm):
    """Django's own, for operators only. Everybody else gets the answer of a wrong password: the portal's door
    must not tell whether an end user's password was right."""

    error_messages = {
        **AuthenticationForm.error_messages,
        "invalid_login": _("This user name and password do not match an operator's account. Check both and try again."),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field, enter_key in ((self.fields["username"], "next"), (self.fields["password"], "go")):
            field.widget.attrs.update({"class": "input", "enterkeyhint": enter_key})
        self.fields["username"].error_messages["required"] = _("Enter your user name.")
        self.fields["password"].error_messages["required"] = _("Enter your password.")

    def confirm_login_allowed(self, user: Any) -> None:
        if not is_operator(user):
            raise self.get_invalid_login_error()


class SettingsForm(forms.ModelForm):
    """Edits some columns of one row.

    A field that depends on a switch is disabled by the page's script while the switch is off, so it is not sent,
    and means nothing if it is: the row keeps its value.
    """

    depends_on: dict[str, str] = {}
    other_names: dict[str, str] = {}
    """Column → the field that edits it under another name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            if isinstance(field, NumberField):
                field.bound_by(self._meta.model._meta.get_field(name))
        if self.is_bound:
            sent: Any = self.data
            data = sent.copy()  # not a dict of it: a name may be there several times
            for name, switch in self.depends_on.items():
                widget = self.fields[switch].widget if switch in self.fields else None
                if widget and not widget.value_from_datadict(data, self.files, switch):
                    data[name] = str(self.initial[name])
            self.data = data

    def columns(self) -> list[str]:
        """The columns that a save writes."""
        return [name for name in self.fields if name in (self._meta.fields or ())]

    def save(self, commit: bool = True) -> Any:
        self.instance.save(update_fields=[*self.columns(), "updated_at"])
        return self.instance

    def changed_labels(self) -> list[str]:
        """The labels of the fields whose entries differ from what is stored."""
        return [str(self[name].label) for name in self.changed_data]

    def good_value(self, name: str) -> Any:
        """The entry if the whole form is good, else what is stored."""
        if self.is_bound and self.is_valid():
            return self.cleaned_data[name]
        return self.initial[name]


PROMOTION_CONFLICT = _("User identity conflict when promote to normal user")
PROMOTION_CONFLICT_HELP = _(
    "What happens when a guest wants to keep the account with an e-mail address, phone number or user "
    "name that somebody has already.\n"
    "Show Error: the guest chooses another one.\n"
    "Proceed to Login: the guest logs in to that account and leaves the guest account behind."
)


class AnonymousUsersForm(SettingsForm):
    """Authentication › Anonymous Users."""

    depends_on = dict.fromkeys(("promotion_conflict", "retired_device_keys"), "anonymous_users_enabled")

    class Meta:
        model = Project
        fields = ("anonymous_users_enabled", "promotion_conflict", "retired_device_keys")
        labels = {
            "anonymous_users_enabled": _("Enable anonymous users?"),
            "promotion_conflict": PROMOTION_CONFLICT,
            "retired_device_keys": _("Device key whose guest is gone"),
        }
        help_texts = {
            "anonymous_users_enabled": _(
                "When this is off, nobody can become a guest or log in with a device key. Guests who are signed in "
                "stay signed in."
            ),
            "promotion_conflict": PROMOTION_CONFLICT_HELP,
            "retired_device_keys": _(
                "Apps on phones sign their guest in with a key that is kept on the device. An app may come back with "
                "the key of a guest who has become a regular user or was deleted.\n"
                "Create a New Guest (recommended): the app keeps working, with a guest who starts anew.\n"
                "Refuse: the app shows an error until it forgets the key."
            ),
        }
        widgets = {
            "anonymous_users_enabled": Switch(),
            "promotion_conflict": forms.Select({"class": "input"}),
            "retired_device_keys": forms.Select({"class": "input"}),
        }


class SessionForm(SettingsForm):
    """Advanced › Session: the cookie sessions of a project."""

    depends_on = {"session_idle_timeout": "session_idle_timeout_enabled"}

    session_persistent_cookie = forms.TypedChoiceField(
        label=_("When the browser closes"),
        choices=(
            ("True", _("Keep signed in")),
            ("False", _("End the session")),
        ),
        coerce=lambda value: value == "True",
        widget=forms.RadioSelect,
        help_text=_(
            "Ending the session signs a guest out for good: without a device key nobody can come back to that guest "
            "account."
        ),
    )

    class Meta:
        model = Project
        fields = (
            "session_persistent_cookie",
            "session_lifetime",
            "session_idle_timeout_enabled",
            "session_idle_timeout",
        )
        field_classes = {"session_lifetime": SecondsField, "session_idle_timeout": SecondsField}
        labels = {
            "session_lifetime": _("Session lifetime"),
            "session_idle_timeout_enabled": _("Expire after idling"),
            "session_idle_timeout": _("Idle timeout"),
        }
        help_texts = {
            "session_lifetime": _("People are logged out this long after they signed in, active or not."),
            "session_idle_timeout_enabled": _("Log people out who have not been active for some time."),
            "session_idle_timeout": _("How long somebody can be inactive before being logged out."),
        }
        widgets = {"session_idle_timeout_enabled": Switch()}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        project: Project = kwargs["instance"]
        kwargs["initial"] = {"session_persistent_cookie": str(project.session_persistent_cookie)}
        super().__init__(*args, **kwargs)

    def sentence(self) -> LogoutSentence:
        """The patterns of the sentence that says what the values mean."""
        return logout_sentence()

    def sentence_text(self) -> str:
        """The sentence for the entries, or for the stored values while the entries are not good."""
        idles = self.good_value("session_idle_timeout_enabled")
        return self.sentence().text(
            lifetime=self.good_value("session_lifetime"),
            idle_timeout=self.good_value("session_idle_timeout") if idles else None,
        )

    def keeps_signed_in(self) -> bool:
        """Whether the cookie outlives the browser."""
        return self.good_value("session_persistent_cookie") in (True, "True")


REFRESH_TOKEN = (
    "refresh_token_lifetime",
    "refresh_token_idle_timeout_enabled",
    "refresh_token_idle_timeout",
    "one_session_only",
    "refresh_token_rotation_enabled",
)
ACCESS_TOKEN = ("access_token_lifetime", "issue_jwt_access_token")
WITH_TOKENS = (*REFRESH_TOKEN, *ACCESS_TOKEN, "id_token_signed_response_alg")
BOTH_URIS = ("name", "framework", "redirect_uris", "post_logout_redirect_uris")

# Which fields mean something for which type of application (the portal's table, wire/authgear §6.4).
FIELDS_OF_TYPE: dict[str, tuple[str, ...]] = {
    Type.UNSPECIFIED: (*BOTH_URIS, *WITH_TOKENS),
    Type.SPA: (*BOTH_URIS, *WITH_TOKENS),
    Type.TRADITIONAL_WEBAPP: (*BOTH_URIS, "id_token_signed_response_alg"),
    Type.NATIVE: ("name", "framework", "redirect_uris", *WITH_TOKENS, "dpop_enabled"),
    Type.CONFIDENTIAL: (*BOTH_URIS, *WITH_TOKENS),
    Type.THIRD_PARTY_APP: ("name", "framework", "redirect_uris", *WITH_TOKENS),
    Type.M2M: ("name", "access_token_lifetime"),
}
USES_COOKIES = frozenset((Type.TRADITIONAL_WEBAPP, Type.THIRD_PARTY_APP))


class ApplicationForm(SettingsForm):
    """Applications › one of them."""

    depends_on = {"refresh_token_idle_timeout": "refresh_token_idle_timeout_enabled"}
    other_names = {"max_concurrent_sessions": "one_session_only"}

    framework = forms.ChoiceField(
        label=_("Framework"),
        required=False,
        widget=forms.Select({"class": "input"}),
        help_text=_("Decides which code the quick start shows first, and nothing else."),
    )
    redirect_uris = URIListField(label=_("Authorized redirect URIs"))
    post_logout_redirect_uris = URIListField(
        label=_("Post-logout redirect URIs"),
        help_text=_("Where people may land after they logged out. One a line."),
    )
    one_session_only = forms.BooleanField(
        label=_("One session only"),
        required=False,
        widget=Switch,
        help_text=_("Signing in on another device ends the session on this one."),
    )

    class Meta:
        model = Application
        fields = (
            "name",
            "framework",
            "redirect_uris",
            "post_logout_redirect_uris",
            "refresh_token_lifetime",
            "refresh_token_idle_timeout_enabled",
            "refresh_token_idle_timeout",
            "refresh_token_rotation_enabled",
            "dpop_enabled",
            "access_token_lifetime",
            "issue_jwt_access_token",
            "id_token_signed_response_alg",
        )
        field_classes = {
            "refresh_token_lifetime": SecondsField,
            "refresh_token_idle_timeout": SecondsField,
            "access_token_lifetime": SecondsField,
        }
        labels = {
            "name": _("Name"),
            "refresh_token_lifetime": _("Refresh token lifetime"),
            "refresh_token_idle_timeout_enabled": _("Expire after idling"),
            "refresh_token_idle_timeout": _("Idle timeout"),
            "refresh_token_rotation_enabled": _("Rotate refresh tokens"),
            "dpop_enabled": _("DPoP"),
            "access_token_lifetime": _("Access token lifetime"),
            "issue_jwt_access_token": _("Issue JWT as access token"),
            "id_token_signed_response_alg": _("ID token algorithm"),
        }
        help_texts = {
            "refresh_token_lifetime": _("The longest time a session can last."),
            "refresh_token_idle_timeout_enabled": _("Log people out who have not been active for some time."),
            "refresh_token_idle_timeout": _("How long somebody can be inactive before being logged out."),
            "refresh_token_rotation_enabled": _(
                "Each refresh token works once, so that a stolen one is noticed. Sign-up of a guest never rotates."
            ),
            "dpop_enabled": _(
                "An app that proves a key of its own (RFC 9449; the mobile SDKs do) gets refresh tokens that are "
                "worthless to whoever copies them.\n"
                "Turn this off only when the app cannot do so, because the clocks of its devices are wrong, for "
                "example."
            ),
            "access_token_lifetime": _(
                "How often the token is refreshed, and so how old the facts inside it can be. At least 300 seconds."
            ),
            "issue_jwt_access_token": _(
                "Your API can check a JWT by itself. When this is off, it asks this server about each token."
            ),
            "id_token_signed_response_alg": _("RS256 is what every client can read."),
        }
        error_messages = {"name": {"required": _("Enter a name.")}}
        widgets = {
            "name": forms.TextInput({"class": "input", "autocomplete": "off"}),
            "refresh_token_idle_timeout_enabled": Switch(),
            "refresh_token_rotation_enabled": Switch(),
            "dpop_enabled": Switch(),
            "issue_jwt_access_token": Switch(),
            "id_token_signed_response_alg": forms.Select({"class": "input"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        application: Application = kwargs["instance"]
        kwargs["initial"] = {"one_session_only": application.max_concurrent_sessions == 1}
        super().__init__(*args, **kwargs)
        for name in set(self.fields) - set(FIELDS_OF_TYPE[application.type]):
            del self.fields[name]
        if "id_token_signed_response_alg" in self.fields:
            algorithm = self.fields["id_token_signed_response_alg"]
            assert isinstance(algorithm, forms.ChoiceField)  # noqa: S101  (the model's field has choices)
            algorithm.choices = [(value, value) for value in Application.Algorithm.values]  # not "Rs256"
        if "framework" in self.fields:
            self._offer_frameworks(application)
        if "redirect_uris" in self.fields:
            self.fields["redirect_uris"].help_text = _where_people_return(application.type)
        if application.type == Type.M2M:
            lifetime = self.fields["access_token_lifetime"]
            assert isinstance(lifetime, SecondsField)  # noqa: S101  (field_classes above)
            lifetime.keep_between(ACCESS_TOKEN_LIFETIME_MIN, M2M_ACCESS_TOKEN_LIFETIME_MAX)
            lifetime.help_text = _("How often the program asks for a new token. From 300 to 2,419,200 seconds.")

    def _offer_frameworks(self, application: Application) -> None:
        """Those that lead to this type; and what the row says, which may come from a project file."""
        choices: dict[str, Any] = {"": _("Not said")}
        choices |= {framework.key: framework.label for framework in frameworks_of(application.type)}
        if application.framework not in choices:
            choices[application.framework] = label_of(application.framework)
        field = self.fields["framework"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  (declared above)
        field.choices = list(choices.items())

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if "one_session_only" in cleaned:
            self.instance.max_concurrent_sessions = int(cleaned["one_session_only"])
        if self.instance.type == Type.M2M and "access_token_lifetime" in cleaned:
            # It has no refresh token; the lifetime of one is not on the page and must not stand in the way.
            self.instance.refresh_token_lifetime = max(
                self.instance.refresh_token_lifetime, cleaned["access_token_lifetime"]
            )
        return cleaned

    def _post_clean(self) -> None:
        pair = {"access_token_lifetime", "refresh_token_lifetime"}
        wrong = pair & set(self.errors)
        super()._post_clean()  # type: ignore[misc]
        if wrong:
            # The model compared the good entry with the stored value of the bad one: that says nothing.
            for name in pair - wrong:
                self.errors.pop(name, None)

    def columns(self) -> list[str]:
        columns = super().columns()
        if "one_session_only" in self.fields:
            columns.append("max_concurrent_sessions")
        if self.instance.type == Type.M2M:
            columns.append("refresh_token_lifetime")
        return columns

    def sentence(self) -> LogoutSentence:
        """The patterns of the sentence that says what the values mean."""
        return logout_sentence(of_guests=self.instance.may_have_guests)

    def sentence_text(self) -> str:
        """The sentence for the entries, or for the stored values while the entries are not good."""
        lifetime, idle_timeout = (
            self.good_value("refresh_token_lifetime"),
            self.good_value("refresh_token_idle_timeout"),
        )
        enabled = self.good_value("refresh_token_idle_timeout_enabled")
        return self.sentence().text(lifetime=lifetime, idle_timeout=idle_timeout if enabled else None)

    def risky_redirect_uris(self) -> list[str]:
        """What is worth a warning among the stored redirect URIs, in words."""
        return [warning for uri in self.initial.get("redirect_uris", []) if (warning := _risk_of(uri))]


def _where_people_return(type_: str) -> str:
    if type_ in (Type.SPA, Type.TRADITIONAL_WEBAPP):
        return gettext(
            "Where people return after they logged in: the page that calls finishAuthentication(). One a line."
        )
    return gettext("Where people return after they logged in: a page of the app. One a line.")


def _risk_of(uri: str) -> str | None:
    if uri.partition(":")[0].lower() in ("http", "https"):
        return None
    return gettext("%(uri)s: other apps on the device can claim this scheme.") % {"uri": uri}  # RFC 8252 §8.1
