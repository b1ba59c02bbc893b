"""A host with Django's own user model, forms and log-in views."""

from tests.hosts.base_settings import *  # noqa: F403
from tests.hosts.base_settings import INSTALLED_APPS, database

ROOT_URLCONF = "tests.hosts.plain.urls"
INSTALLED_APPS = [*INSTALLED_APPS, "tests.hosts.notes"]
DATABASES = {"default": database("plain")}
AUTH_PASSWORD_VALIDATORS = [{"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"}]
ANONUSERS_GUEST_DATA = {"notes.Note.author": "keep"}
