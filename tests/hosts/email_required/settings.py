"""A host whose users log in with their e-mail address and have fields that must be filled."""

from tests.hosts.base_settings import *  # noqa: F403
from tests.hosts.base_settings import INSTALLED_APPS, database

ROOT_URLCONF = "tests.hosts.email_required.urls"
INSTALLED_APPS = [*INSTALLED_APPS, "tests.hosts.email_required", "tests.hosts.notes"]
DATABASES = {"default": database("email")}
AUTH_USER_MODEL = "email_required.Customer"
AUTH_PASSWORD_VALIDATORS = [{"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"}]
ANONUSERS_ADAPTER = "tests.hosts.email_required.adapter.CustomerAdapter"
ANONUSERS_GUEST_DATA = {"notes.Note.author": "keep"}
