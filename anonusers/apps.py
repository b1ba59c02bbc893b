"""The pluggable app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AnonUsersConfig(AppConfig):
    name = "anonusers"
    label = "anonusers"
    verbose_name = _("Guest users")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from anonusers import checks, django_login  # noqa: F401  (checks registers the system checks)

        django_login.connect()
