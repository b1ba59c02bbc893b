"""The pluggable app."""

from django.apps import AppConfig, apps
from django.utils.translation import gettext_lazy as _


class AnonUsersConfig(AppConfig):
    name = "anonusers"
    label = "anonusers"
    verbose_name = _("Guest users")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from anonusers import access_checks, checks, django_login  # noqa: F401  (they register the system checks)

        django_login.connect()
        if apps.is_installed("drf_spectacular"):
            from anonusers import openapi  # noqa: F401  (registers what describes our authentication)
