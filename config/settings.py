"""The settings of this deployment: the only module that reads the environment."""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from config.logs import logging_config

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
# What this deployment makes for itself: SQLite's file, the secret key, collected static files.
VAR_DIR = Path(env.str("VAR_DIR", default=str(BASE_DIR / "var"))).absolute()


def _secret_key() -> str:
    """SECRET_KEY, else the key in var/secret_key, made there on this machine's first start.

    It is never a constant, and never new at each start: sealed signing keys must open again tomorrow.
    """
    if key := env.str("SECRET_KEY", default=""):
        return key
    path = VAR_DIR / "secret_key"
    try:
        VAR_DIR.mkdir(exist_ok=True)
        if not path.exists():
            # Written whole under another name, then linked: of two first starts at once one wins, none reads half.
            with tempfile.NamedTemporaryFile("w", dir=VAR_DIR) as file:
                file.write(secrets.token_urlsafe(60))
                file.flush()
                with contextlib.suppress(FileExistsError):
                    os.link(file.name, path)
        return path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(f"Set SECRET_KEY: {path} cannot be written ({error.strerror}).") from error


SECRET_KEY = _secret_key()
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
DEBUG = env.bool("DEBUG", default=False)

ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[".localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
# True where every visitor comes over TLS: cookies become Secure and browsers are told to stay on https.
HTTPS_ONLY = env.bool("HTTPS_ONLY", default=False)
# How many reverse proxies stand in front; their X-Forwarded-* headers are believed, nobody else's.
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=0)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "anonusers",
    "portal",
    "example",
    "config",
]

MIDDLEWARE = [
    "config.logs.RequestLogMiddleware",
    "config.health.HealthMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "anonusers.middleware.PageHeadersMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
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


def _database() -> dict[str, Any]:
    """DATABASE_URL with the options that keep each engine safe and fast."""
    url = env.str("DATABASE_URL", default="")
    if url and "://" not in url:
        # Never quote it: it may hold a password.
        raise ImproperlyConfigured("DATABASE_URL looks like postgres://user:password@host:5432/name.")
    # A path is no URL: it may hold %, ? and #.
    default: dict[str, Any] = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(VAR_DIR / "db.sqlite3")}
    database: dict[str, Any] = env.db_url("DATABASE_URL") if url else default
    options: dict[str, Any] = database.setdefault("OPTIONS", {})
    if database["ENGINE"].endswith("sqlite3"):
        # WAL lets readers go on while one writes; IMMEDIATE makes writers queue instead of failing midway.
        options.setdefault("init_command", "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;")
        options.setdefault("transaction_mode", "IMMEDIATE")
        options.setdefault("timeout", 20)
        # In memory the threads of a test server would share one connection, and each other's transactions.
        database["TEST"] = {"NAME": f"{tempfile.gettempdir()}/anonusers-test-{os.getpid()}.sqlite3"}
    elif database["ENGINE"].endswith("postgresql"):
        # Django prepares nothing by itself; the join of a session costs more to plan than to run. psycopg's own
        # number: a statement is prepared at its fifth use.
        options.setdefault("server_side_binding", True)
        options.setdefault("prepare_threshold", 5)
        options.setdefault("connect_timeout", 5)
        options.setdefault("options", "-c lock_timeout=2s -c statement_timeout=10s")
    elif database["ENGINE"].endswith("mysql"):
        options.setdefault("charset", "utf8mb4")
        options.setdefault("isolation_level", "read committed")
        options.setdefault("connect_timeout", 5)
    # A connection per request costs more than ten times the CPU; the health check survives a database restart.
    database["CONN_MAX_AGE"] = env.int("DATABASE_CONN_MAX_AGE", default=0) or None
    database["CONN_HEALTH_CHECKS"] = True
    return database


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHE_URL = env.str("CACHE_URL", default="")
CACHES = {"default": env.cache_url("CACHE_URL", default="locmemcache://")}

PASSWORD_HASHERS = [
    "anonusers.promotion.hashers.OwaspArgon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "portal:login"
LOGIN_REDIRECT_URL = "portal:home"

# Where mail goes: `consolemail://` prints it; smtp+tls://user:password@host:587 sends it.
vars().update(env.email_url("EMAIL_URL", default="consolemail://"))
EMAIL_TIMEOUT = env.int("EMAIL_TIMEOUT", default=10)  # seconds; without one a mail server that hangs takes a worker
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="noreply@localhost")

LANGUAGE_CODE = "en"
# Each in its own words: who looks for one can read that.
LANGUAGES = [
    ("en", "English"),
    ("de", "Deutsch"),
    ("fr", "français"),
    ("es", "español"),
    ("zh-hans", "简体中文"),
    ("ja", "日本語"),
]
# templates/ has no catalogue of its own: its words are in the portal's (`make messages`).
LOCALE_PATHS = [BASE_DIR / "portal" / "locale"]
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
# Named where they were collected beforehand, as in a container: then config.serve collects none.
COLLECTED_STATIC = env.str("STATIC_ROOT", default="")
STATIC_ROOT = Path(COLLECTED_STATIC or VAR_DIR / "static").absolute()
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS_ONLY
SECURE_SSL_REDIRECT = HTTPS_ONLY
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS_ONLY else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS_ONLY
# Under no-referrer browsers send `Origin: null` with our own forms, which Django's CSRF check refuses.
SECURE_REFERRER_POLICY = "same-origin"
CSRF_FAILURE_VIEW = "anonusers.protocols.fallback.csrf_failure"
X_FRAME_OPTIONS = "DENY"
if TRUSTED_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576

ANONUSERS_TRUSTED_PROXIES = TRUSTED_PROXIES
# The limits library says redis:// where Django's cache URLs may say rediscache://.
ANONUSERS_LIMITS_STORAGE = env.str("ANONUSERS_LIMITS_STORAGE", default="") or (
    CACHE_URL.replace("rediscache://", "redis://") if CACHE_URL.startswith(("redis", "memcached")) else "memory://"
)
ANONUSERS_SIGNUP_PER_IP = env.str("ANONUSERS_SIGNUP_PER_IP", default="60/m")
ANONUSERS_SIGNUP_PER_PROJECT = env.str("ANONUSERS_SIGNUP_PER_PROJECT", default="6000/m")
ANONUSERS_SIGNUP_PER_APPLICATION = env.str("ANONUSERS_SIGNUP_PER_APPLICATION", default="off")
ANONUSERS_SIGNUP_PER_PROJECT_DAY = env.str("ANONUSERS_SIGNUP_PER_PROJECT_DAY", default="off")
ANONUSERS_BOT_CHECK_PER_IP = env.str("ANONUSERS_BOT_CHECK_PER_IP", default="off")
ANONUSERS_BOT_CHECK = env.str("ANONUSERS_BOT_CHECK", default="anonusers.bot_check.ProofOfWork")
ANONUSERS_BOT_CHECK_DIFFICULTY = env.int("ANONUSERS_BOT_CHECK_DIFFICULTY", default=50_000)
ANONUSERS_BOT_CHECK_SITE_KEY = env.str("ANONUSERS_BOT_CHECK_SITE_KEY", default="")
ANONUSERS_BOT_CHECK_SECRET = env.str("ANONUSERS_BOT_CHECK_SECRET", default="")
ANONUSERS_CHALLENGES_PER_IP = env.str("ANONUSERS_CHALLENGES_PER_IP", default="120/m")
ANONUSERS_KEY_LOGIN_PER_IP = env.str("ANONUSERS_KEY_LOGIN_PER_IP", default="300/m")
if _keys := env.list("ANONUSERS_ENCRYPTION_KEYS", default=[]):
    ANONUSERS_ENCRYPTION_KEYS = _keys

# Who asks for /metrics with this bearer token gets the counters; blank, and there is no such page.
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
# Where several processes count together; `make run` sets it, other servers as prometheus_client describes.
PROMETHEUS_MULTIPROC_DIR = env.str("PROMETHEUS_MULTIPROC_DIR", default="")

# What `make run` serves.
PORT = env.int("PORT", default=8000)
# Not HOST: some shells and toolchains export that with a meaning of their own.
BIND = env.str("BIND", default="127.0.0.1")
CONFIG = env.str("CONFIG", default=str(BASE_DIR / "example" / "guestbook.toml"))
# 0: one on SQLite, which has one writer anyway; elsewhere one per core, four at most.
WORKERS = env.int("WORKERS", default=0)

# `line` for people, `json` for machines: one object a line, with nothing that identifies or opens an account.
LOG_FORMAT = env.str("LOG_FORMAT", default="line")
if LOG_FORMAT not in ("line", "json"):
    raise ImproperlyConfigured("LOG_FORMAT is line or json.")
LOGGING = logging_config(LOG_FORMAT, env.str("LOG_LEVEL", default="INFO"))

# Who has written into the guestbook stays.
ANONUSERS_GUEST_DATA = {"example.Comment.author": "keep"}
