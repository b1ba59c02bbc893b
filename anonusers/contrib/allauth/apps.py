from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AllauthConfig(AppConfig):
    name = "anonusers.contrib.allauth"
    label = "anonusers_allauth"
    verbose_name = _("Guest users with allauth")

    def ready(self) -> None:
        from django.apps import apps

        from anonusers.contrib.allauth import checks  # noqa: F401  (registers the system checks)

        if apps.is_installed("allauth.account"):
            from anonusers.contrib.allauth import addresses, receivers

            addresses.connect()
            receivers.connect()
