"""What every host project has in common: a stock Django project with a database, sessions and templates.

Each host is a project of its own, with its own user model, so it runs in a process of its own (tests/test_hosts.py).
"""

import os
import tempfile
from typing import Any

import environ

env = environ.Env()

SECRET_KEY = "a host project's own secret, which is of no use anywhere else"
ALLOWED_HOSTS = ["localhost", "testserver"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"

# --- what the README says ------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "anonusers",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "anonusers.middleware.GuestMiddleware",
]
AUTHENTICATION_BACKENDS = ["anonusers.backends.ModelBackend"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "/whoami/"


def database(name: str) -> dict[str, Any]:
    """The database of DATABASE_URL, with a test database for this host alone."""
    url = env.str("DATABASE_URL", default="")
    found: dict[str, Any] = env.db_url("DATABASE_URL") if url else {"ENGINE": "django.db.backends.sqlite3"}
    if found["ENGINE"].endswith("sqlite3"):
        found |= {"NAME": ":memory:"}
        found["TEST"] = {"NAME": f"{tempfile.gettempdir()}/anonusers-host-{name}-{os.getpid()}.sqlite3"}
    else:
        found["TEST"] = {"NAME": f"test_host_{name}_{os.getpid()}"}
    return found
