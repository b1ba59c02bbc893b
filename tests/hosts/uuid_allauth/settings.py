"""A host with random keys for its users and django-allauth in front of them: pages, headless, third-party accounts;
and dj-rest-auth, which registers by allauth's adapter."""

from tests.hosts.base_settings import *  # noqa: F403
from tests.hosts.base_settings import INSTALLED_APPS, MIDDLEWARE, database

ROOT_URLCONF = "tests.hosts.uuid_allauth.urls"
INSTALLED_APPS = [
    *INSTALLED_APPS,
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.dummy",
    "allauth.headless",
    "rest_framework.authtoken",
    "dj_rest_auth",
    "anonusers.contrib.allauth",
    "tests.hosts.uuid_allauth",
    "tests.hosts.notes",
]
MIDDLEWARE = [
    *MIDDLEWARE,
    "anonusers.contrib.allauth.middleware.AllauthGuestMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
DATABASES = {"default": database("allauth")}
AUTH_USER_MODEL = "uuid_allauth.Person"
AUTH_PASSWORD_VALIDATORS = [{"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"}]
AUTHENTICATION_BACKENDS = ["anonusers.contrib.allauth.backends.AuthenticationBackend"]
LOGIN_URL = "account_login"
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "anonusers.authentication.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ]
}
REST_AUTH = {"REGISTER_SERIALIZER": "tests.hosts.uuid_allauth.serializers.RegisterSerializer"}

ACCOUNT_ADAPTER = "anonusers.contrib.allauth.adapters.AccountAdapter"
SOCIALACCOUNT_ADAPTER = "anonusers.contrib.allauth.adapters.SocialAccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_LOGIN_BY_CODE_ENABLED = True
ACCOUNT_RATE_LIMITS = False
HEADLESS_SERVE_SPECIFICATION = False

ANONUSERS_GUEST_DATA = {"notes.Note.author": "keep"}
