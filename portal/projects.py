"""The forms of a project as a whole: new, settings, delete."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from anonusers.models import Project
from anonusers.models.projects import validate_domain, validate_origin
from anonusers.projects import create_project, set_domains
from portal.access import RESERVED_SLUGS
from portal.fields import LinesField
from portal.forms import SettingsForm


class DomainsField(LinesField):
    """Hosts, one a line, in any case."""

    most = 100
    too_many = _("Enter at most %(count)d hosts.")

    def entries_of(self, text: Any) -> list[str]:
        return [line.lower().rstrip(".") for line in super().entries_of(text)]

    def check(self, entry: str) -> None:
        validate_domain(entry)
        if len(entry) > 253:
            raise ValidationError(_("Use at most 253 characters."))


class OriginsField(LinesField):
    """Origins, one a line."""

    too_many = _("Enter at most %(count)d origins.")

    def check(self, entry: str) -> None:
        validate_origin(entry)


DOMAINS_HELP = _(
    "Hosts that lead to this project, without https:// and port. One a line; * stands for every host that no other "
    "project has."
)


class NewProjectForm(forms.Form):
    """Makes a project."""

    name = forms.CharField(
        label=_("Name"),
        max_length=100,
        widget=forms.TextInput({"class": "input", "autocomplete": "off"}),
        help_text=_("What people read on the log-in page, and you in the portal. It can be changed."),
        error_messages={"required": _("Enter a name.")},
    )
    slug = forms.SlugField(
        label=_("ID"),
        max_length=50,
        widget=forms.TextInput(
            {
                "class": "input mono",
                "autocomplete": "off",
                "autocapitalize": "none",
                "spellcheck": "false",
                "dir": "ltr",
            }
        ),
        help_text=_("Part of the portal's addresses and the id in a project file. It stays."),
        error_messages={
            "required": _("Enter an ID, such as my-shop."),
            "invalid": _("Use letters, digits, hyphens and underscores only."),
        },
    )
    domains = DomainsField(label=_("Hosts"), help_text=DOMAINS_HELP)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)

    def clean_slug(self) -> str:
        slug = str(self.cleaned_data["slug"])
        if slug.lower() in RESERVED_SLUGS:
            raise ValidationError(_("The portal uses this word itself. Choose another ID."), code="reserved")
        if Project.objects.filter(slug__iexact=slug).exists():
            raise ValidationError(_("Another project has this ID. Choose another one."), code="unique")
        return slug

    def create(self, actor: Any) -> Project | None:
        """The new project; None where something that the form cannot see stands in the way: it is said in `errors`."""
        try:
            return create_project(**self.cleaned_data, actor=actor)
        except ValidationError as error:
            self.add_error(None, error)
            return None


class ProjectSettingsForm(SettingsForm):
    """Project settings: the name, and from where the project is used."""

    domains = DomainsField(label=_("Hosts"), help_text=DOMAINS_HELP)
    allowed_origins = OriginsField(
        label=_("Allowed origins"),
        help_text=_(
            "Web pages that may use this project from another host, such as https://app.example.com. One a line. "
            "The redirect URIs of the applications are allowed already."
        ),
    )

    class Meta:
        model = Project
        fields = ("name", "allowed_origins")
        labels = {"name": _("Name")}
        help_texts = {"name": _("What people read on the log-in page, and you in the portal.")}
        error_messages = {"name": {"required": _("Enter a name.")}}
        widgets = {"name": forms.TextInput({"class": "input", "autocomplete": "off"})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.domains_before = sorted(kwargs["instance"].domains.values_list("domain", flat=True))
        kwargs["initial"] = {"domains": self.domains_before}
        super().__init__(*args, **kwargs)

    def save(self, commit: bool = True) -> Any:
        """Raises: ValidationError, where a host leads to another project."""
        set_domains(self.instance, self.cleaned_data["domains"])
        return super().save(commit)

    def domain_changes(self) -> dict[str, Any]:
        """What a save has done to the hosts, for the audit log."""
        now = sorted(self.cleaned_data["domains"])
        return {} if now == self.domains_before else {"domains": [self.domains_before, now]}

    def leaves_no_host(self) -> bool:
        """Whether nobody can reach the project by what is stored."""
        return not self.domains_before


class DeleteProjectForm(forms.Form):
    """The project's ID, typed."""

    slug = forms.CharField(
        label=_("The project's ID"),
        max_length=100,
        widget=forms.TextInput(
            {
                "class": "input mono",
                "autocomplete": "off",
                "autocapitalize": "none",
                "spellcheck": "false",
                "dir": "ltr",
            }
        ),
        error_messages={"required": _("Type the project's ID to delete it.")},
    )

    def __init__(self, project: Project, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        self.project = project
        super().__init__(*args, **kwargs)
        self.fields["slug"].help_text = _("Type “%(slug)s” to delete the project.") % {"slug": project.slug}

    def clean_slug(self) -> str:
        slug = str(self.cleaned_data["slug"])
        if slug != self.project.slug:
            raise ValidationError(_("This is not the project's ID. Nothing was deleted."), code="other")
        return slug
