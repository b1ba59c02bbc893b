"""What applications are made with, and which type of application follows from it."""

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _

from anonusers.models import Application

Type = Application.Type


@dataclass(frozen=True)
class Framework:
    """`key` is what the application's row and the project file say."""

    key: str
    label: Any
    types: tuple[str, ...]  # two: the operator chooses

    @property
    def asks(self) -> bool:
        """Whether the type depends on how people are kept signed in: by a cookie or by tokens."""
        return len(self.types) > 1

    def type_for(self, *, cookies: bool) -> str:
        """The type of an application made with this."""
        return Type.TRADITIONAL_WEBAPP if self.asks and cookies else self.types[0]


WITH_SERVER = (Type.CONFIDENTIAL, Type.TRADITIONAL_WEBAPP)

GROUPS: tuple[tuple[Any, str, tuple[Framework, ...]], ...] = (
    (
        _("Single-page application"),
        Type.SPA,
        (
            Framework("react", "React", (Type.SPA,)),
            Framework("vue", "Vue", (Type.SPA,)),
            Framework("angular", "Angular", (Type.SPA,)),
            Framework("nextjs", "Next.js", (Type.SPA,)),
            Framework("other-spa", _("Other single-page app"), (Type.SPA,)),
        ),
    ),
    (
        _("Web application with a server"),
        Type.TRADITIONAL_WEBAPP,
        (
            Framework("django", "Django", WITH_SERVER),
            Framework("flask", "Flask", WITH_SERVER),
            Framework("express", "Express", WITH_SERVER),
            Framework("laravel", "Laravel", WITH_SERVER),
            Framework("java", "Java", WITH_SERVER),
            Framework("aspnet", "ASP.NET", WITH_SERVER),
            Framework("other-webapp", _("Other web application"), WITH_SERVER),
        ),
    ),
    (
        _("App on phones"),
        Type.NATIVE,
        (
            Framework("react-native", "React Native", (Type.NATIVE,)),
            Framework("ios", "iOS", (Type.NATIVE,)),
            Framework("android", "Android", (Type.NATIVE,)),
            Framework("flutter", "Flutter", (Type.NATIVE,)),
            Framework("ionic", "Ionic", (Type.NATIVE,)),
        ),
    ),
    (_("MongoDB Realm"), Type.SPA, (Framework("realm-web", _("Realm for the web"), (Type.SPA,)),)),
    (_("Nobody at the keyboard"), Type.M2M, (Framework("m2m", _("Machine-to-machine"), (Type.M2M,)),)),
)
FRAMEWORKS = {framework.key: framework for _label, _icon, frameworks in GROUPS for framework in frameworks}


def label_of(key: str) -> str:
    """The framework's name; what the catalogue does not know is called as it is written."""
    return str(FRAMEWORKS[key].label) if key in FRAMEWORKS else key


def made_with(application: Application) -> str:
    """The framework's name, for beside the type's; nothing where it would only say the type again."""
    label = label_of(application.framework)
    return "" if label.casefold() == application.get_type_display().casefold() else label


def frameworks_of(type_: str) -> list[Framework]:
    """What an application of this type may be made with: anything where the type says nothing."""
    fitting = [framework for framework in FRAMEWORKS.values() if type_ in framework.types]
    return fitting or [framework for framework in FRAMEWORKS.values() if framework.types != (Type.M2M,)]
