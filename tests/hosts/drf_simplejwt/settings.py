"""A host with an API and JSON Web Tokens of its own (djangorestframework-simplejwt)."""

from tests.hosts.base_settings import *  # noqa: F403
from tests.hosts.base_settings import INSTALLED_APPS, database

ROOT_URLCONF = "tests.hosts.drf_simplejwt.urls"
INSTALLED_APPS = [*INSTALLED_APPS, "tests.hosts.notes"]
DATABASES = {"default": database("jwt")}
AUTH_PASSWORD_VALIDATORS = [{"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"}]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        # Ours first: a token that is none of ours is left to the next.
        "anonusers.authentication.BearerAuthentication",
        "rest_framework_simplejwt.authentication.JWTAuthentication",
    ],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}
SIMPLE_JWT = {"SIGNING_KEY": "a secret of the host's own, long enough for HS256"}
ANONUSERS_GUEST_DATA = {"notes.Note.author": "keep"}
