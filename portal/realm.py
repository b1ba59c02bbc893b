"""Advanced › Realm: the form, and the application through which clients of MongoDB Stitch and Realm come."""

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from anonusers.audit import record
from anonusers.models import Application, Project
from anonusers.realm_files import APPLICATION
from portal.fields import Switch
from portal.forms import SettingsForm
from portal.login_promotion import Consequence, holds

TEXT = {"class": "input mono", "autocomplete": "off", "autocapitalize": "none", "spellcheck": "false", "dir": "ltr"}


class MomentField(forms.CharField):
    """A moment in UTC, as browsers let people choose it; kept as ISO 8601 with its zone."""

    widget = forms.DateTimeInput({"class": "input", "type": "datetime-local", "dir": "ltr", "max": "9999-12-31T23:59"})
    default_error_messages = {"invalid": _("Write it as 2026-12-31T23:59.")}

    def prepare_value(self, value: Any) -> Any:
        moment = read_moment(value)
        if moment is None:
            return value
        return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="minutes")

    def has_changed(self, initial: Any, data: Any) -> bool:
        return str(self.prepare_value(initial or "")) != str(data or "")

    def to_python(self, value: Any) -> str:
        text = str(super().to_python(value))
        if not text:
            return ""
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        try:
            return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"
        except OverflowError:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None


def read_moment(text: Any) -> datetime | None:
    """The moment that a text of the project says; None where it says none."""
    try:
        moment = datetime.fromisoformat(str(text))
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


class RealmForm(SettingsForm):
    """Advanced › Realm."""

    depends_on = {
        "realm_auto_confirm": "realm_local_userpass",
        "realm_confirmation_url": "realm_local_userpass",
        "realm_reset_url": "realm_local_userpass",
    }

    class Meta:
        model = Project
        fields = (
            "realm_app_id",
            "realm_local_userpass",
            "realm_auto_confirm",
            "realm_confirmation_url",
            "realm_reset_url",
            "realm_migration_until",
            "realm_adopt_guests",
        )
        field_classes = {"realm_migration_until": MomentField}
        labels = {
            "realm_app_id": _("App ID"),
            "realm_local_userpass": _("E-mail and password"),
            "realm_auto_confirm": _("Confirm addresses at once"),
            "realm_confirmation_url": _("Confirmation page"),
            "realm_reset_url": _("Password reset page"),
            "realm_migration_until": _("Migration lasts until (UTC)"),
            "realm_adopt_guests": _("Adopt guests by their old tokens"),
        }
        help_texts = {
            "realm_app_id": _(
                "What apps name as their app ID, such as myapp-abcde. Take the one that your app has already. "
                "While this is empty, no Stitch or Realm client finds this project."
            ),
            "realm_local_userpass": _("Clients may register and log in with an e-mail address (local-userpass)."),
            "realm_auto_confirm": _("No mail is sent, and nobody proves that the address is theirs."),
            "realm_confirmation_url": _("A page of your app: the mail leads there, with token and tokenId."),
            "realm_reset_url": _("A page of your app: the mail leads there, with token and tokenId."),
            "realm_migration_until": _(
                "Until then a token that this server does not know is answered “try again later”, so that no app "
                "throws its guest away before the users are imported. Empty: no migration."
            ),
            "realm_adopt_guests": _(
                "An imported guest whose app still holds MongoDB's refresh token gets the account back, once."
            ),
        }
        error_messages = {"realm_app_id": {"unique": _("Another project has this app ID. Choose another one.")}}
        widgets = {
            "realm_app_id": forms.TextInput(TEXT),
            "realm_local_userpass": Switch(),
            "realm_auto_confirm": Switch(),
            "realm_confirmation_url": forms.TextInput({**TEXT, "inputmode": "url"}),
            "realm_reset_url": forms.TextInput({**TEXT, "inputmode": "url"}),
            "realm_adopt_guests": Switch(),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        app_id: Any = self.fields["realm_app_id"]
        app_id.empty_value = ""  # the column's NULL is the database's business

    def clean_realm_migration_until(self) -> str:
        # Written otherwise in a project file it is the same moment, and no change.
        entry, stored = str(self.cleaned_data["realm_migration_until"]), str(self.initial["realm_migration_until"])
        same = MomentField().prepare_value(entry) == MomentField().prepare_value(stored)
        return stored if entry and same else entry

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("realm_adopt_guests") and not cleaned.get("realm_migration_until", "-"):
            self.add_error("realm_adopt_guests", _("Say until when the migration lasts: nobody is adopted after it."))
        return cleaned

    def consequences(self) -> list[Consequence]:
        """What the switches and addresses mean; the script keeps up with the switches."""
        on = {f"id_{name}" for name in self.fields if self[name].value() in (True, "on", "True")}
        userpass, at_once = "id_realm_local_userpass", "id_realm_auto_confirm"
        sentences = [
            (f"!{userpass}", gettext("A client that registers or logs in by e-mail is told that this is not used.")),
            (
                f"{userpass} {at_once}",
                gettext("Whoever registers an address has it at once, also somebody else's: nobody proves it."),
            ),
        ]
        if not self["realm_confirmation_url"].value():
            words = gettext("Without a confirmation page no mail can be sent, so nobody who registers gets in.")
            sentences.append((f"{userpass} !{at_once}", words))
        if not self["realm_reset_url"].value():
            sentences.append((userpass, gettext("Without a reset page a forgotten password stays forgotten.")))
        return [Consequence(text, condition, holds(condition, on)) for condition, text in sentences]


def application_of(project: Project, app_id: str = "") -> Application | None:
    """The application through which the clients of the project's app come; `app_id`: of the app that it will be."""
    app_id = app_id or project.realm_app_id
    found = project.applications.filter(client_id=app_id).first() if app_id else None
    return found if found and found.client_id == app_id else None  # MariaDB compares without regard to case


def make_application(project: Project, *, actor: Any, app_id: str = "") -> Application:
    """That application, made where there is none: sessions last ten years, and end by ninety days without use, which
    is how guests of Realm expire. Its clients keep their first refresh token for ever, so it does not rotate.

    Raises: ValidationError
    """
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        if (known := application_of(project, app_id)) is not None:
            return known
        client_id = app_id or project.realm_app_id
        application = Application(project=project, client_id=client_id, name="Realm", **APPLICATION)
        application.full_clean()
        application.save()
        facts = {"name": application.name, "type": application.type, "framework": application.framework}
        target = f"application:{application.client_id}"
        record("settings", "application.created", project=project, actor=actor, target=target, changes=facts)
    return application
