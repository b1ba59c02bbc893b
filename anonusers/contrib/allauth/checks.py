"""System checks of the bridge. Each names what is missing by its dotted path."""

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.utils.module_loading import import_string

HERE = "anonusers.contrib.allauth"
ORDER = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "anonusers.middleware.GuestMiddleware",
    f"{HERE}.middleware.AllauthGuestMiddleware",
)


@register(Tags.security)
def check_allauth(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """What makes guests the same users after allauth's sign-up is all there, and in order."""
    if not apps.is_installed("allauth.account"):
        hint = 'Add "allauth" and "allauth.account" to INSTALLED_APPS, or take "anonusers.contrib.allauth" out.'
        return [Error("anonusers.contrib.allauth is installed without allauth.", hint=hint, id="anonusers.E020")]
    return [*_adapters(), *_middleware(), *_backends()]


def _adapters() -> list[CheckMessage]:
    found = [_adapter("ACCOUNT_ADAPTER", "account", "AccountAdapter", id="anonusers.E021")]
    if apps.is_installed("allauth.socialaccount"):
        found.append(_adapter("SOCIALACCOUNT_ADAPTER", "socialaccount", "SocialAccountAdapter", id="anonusers.E022"))
    return [message for message in found if message is not None]


def _adapter(setting: str, app: str, name: str, *, id: str) -> CheckMessage | None:
    path = getattr(settings, setting, f"allauth.{app}.adapter.Default{name}")
    try:
        if issubclass(import_string(path), import_string(f"{HERE}.adapters.{name}Mixin")):
            return None
    except (ImportError, TypeError):
        pass
    hint = (
        f'{setting} = "{HERE}.adapters.{name}", or put {name}Mixin of that module before the base class of your own '
        "adapter."
    )
    return Error(f"{setting} makes new users of guests.", hint=hint, id=id)


def _middleware() -> list[CheckMessage]:
    places = [settings.MIDDLEWARE.index(name) if name in settings.MIDDLEWARE else -1 for name in ORDER]
    if -1 not in places and places == sorted(places):
        return []
    hint = "MIDDLEWARE needs all of these, in this order: " + ", ".join(ORDER)
    return [Error("allauth turns guests away.", hint=hint, id="anonusers.E023")]


def _backends() -> list[CheckMessage]:
    path = "allauth.account.auth_backends.AuthenticationBackend"
    if path not in settings.AUTHENTICATION_BACKENDS:
        return []
    hint = f'Name "{HERE}.backends.AuthenticationBackend" in its place.'
    return [
        Warning(
            "With allauth's own backend it costs a statement to tell guests from members, and who is disabled in the "
            "portal can still log in.",
            hint=hint,
            id="anonusers.W020",
        )
    ]
