"""System checks of settings and deployment; ids are unique (tests/test_house.py)."""

import re
import uuid
from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.utils.module_loading import import_string

from anonusers.conf import Conf, conf
from anonusers.guest_data import problems
from anonusers.limits import parse_budget

GUEST_MIDDLEWARE = "anonusers.middleware.GuestMiddleware"
ALLAUTH = "anonusers.contrib.allauth"
BUDGETS = (
    "SIGNUP_PER_IP",
    "SIGNUP_PER_PROJECT",
    "SIGNUP_PER_APPLICATION",
    "SIGNUP_PER_PROJECT_DAY",
    "BOT_CHECK_PER_IP",
    "CHALLENGES_PER_IP",
    "KEY_LOGIN_PER_IP",
    "LOGIN_PER_IP",
    "LOGIN_PER_ACCOUNT_AND_IP",
    "LOGIN_PER_ACCOUNT",
    "CODES_PER_MINUTE",
    "CODES_PER_TARGET",
    "CODES_PER_IP",
    "GUEST_REQUESTS",
    "PORTAL_LOGIN_PER_IP",
    "PORTAL_LOGIN_PER_NAME",
)


@register(Tags.security)
def check_settings(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Every ANONUSERS_ setting is known and has a value that can work."""
    found: list[CheckMessage] = []
    for name in dir(settings):
        if name.startswith("ANONUSERS_") and not hasattr(Conf, name.removeprefix("ANONUSERS_")):
            hint = "Known: " + ", ".join(f"ANONUSERS_{known}" for known in sorted(vars(Conf)) if known.isupper())
            found.append(Error(f"{name} is not a setting of anonusers.", hint=hint, id="anonusers.E001"))
    for name in BUDGETS:
        try:
            parse_budget(getattr(conf, name))
        except (ValueError, TypeError, AttributeError):
            found.append(
                Error(
                    f"ANONUSERS_{name} is not a budget.", hint='Use "60/m" (s, m, h, d) or "off".', id="anonusers.E002"
                )
            )
    try:
        import_string(conf.ADAPTER)
    except ImportError as error:
        hint = "Name a subclass of anonusers.adapters.Adapter by its dotted path."
        found.append(Error(f"ANONUSERS_ADAPTER cannot be imported: {error}", hint=hint, id="anonusers.E003"))
    try:
        import_string(conf.BOT_CHECK)
    except ImportError as error:
        hint = "Name a subclass of anonusers.bot_check.BotCheck by its dotted path."
        found.append(Error(f"ANONUSERS_BOT_CHECK cannot be imported: {error}", hint=hint, id="anonusers.E008"))
    if not isinstance(conf.BOT_CHECK_DIFFICULTY, int) or conf.BOT_CHECK_DIFFICULTY < 1:
        hint = "How many numbers a proof of work tries at most, e.g. 50_000."
        found.append(Error("ANONUSERS_BOT_CHECK_DIFFICULTY is not a number ≥ 1.", hint=hint, id="anonusers.E009"))
    if conf.ISSUER is not None and (not conf.ISSUER.startswith(("https://", "http://")) or conf.ISSUER.endswith("/")):
        hint = 'An origin such as "https://auth.example.com", without a slash at the end.'
        found.append(Error("ANONUSERS_ISSUER is not an origin.", hint=hint, id="anonusers.E004"))
    if not isinstance(conf.TRUSTED_PROXIES, int) or conf.TRUSTED_PROXIES < 0:
        hint = "The number of reverse proxies that append to X-Forwarded-For."
        found.append(Error("ANONUSERS_TRUSTED_PROXIES is not a number ≥ 0.", hint=hint, id="anonusers.E005"))
    if not _are_patterns(conf.GUEST_ON_WRITE_PATHS):
        hint = 'A list of regular expressions that are searched for in the path: [r"^/basket/"].'
        found.append(Error("ANONUSERS_GUEST_ON_WRITE_PATHS cannot be matched.", hint=hint, id="anonusers.E007"))
    if not _are_patterns(conf.GUESTS_EXPECTED):
        hint = 'A list of regular expressions that match whole dotted paths of views: ["shop.views.Basket"].'
        found.append(Error("ANONUSERS_GUESTS_EXPECTED cannot be matched.", hint=hint, id="anonusers.E013"))
    return found


def _are_patterns(value: object) -> bool:
    if not isinstance(value, list | tuple):  # a bare string would be a pattern for each of its letters
        return False
    try:
        return all(isinstance(path, str) and re.compile(path) for path in value)
    except re.error:
        return False


@register(Tags.models)
def check_guest_data(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """What becomes of the host's rows is declared for every relation to a user: else no clean-up can run."""
    hint = (
        'Declare it in ANONUSERS_GUEST_DATA as {"app.Model.field": …}: "keep", "delete", "set_null", "leave" (generic '
        "relations), or the dotted path of a function."
    )
    return [Error(problem, hint=hint, id="anonusers.E006") for problem in problems()]


@register(Tags.models)
def check_user_model(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """A guest's row of AUTH_USER_MODEL can be saved: the adapter fills every field that must not stay empty."""
    from anonusers.adapters import get_adapter

    try:
        values = get_adapter().guest_values(uuid.UUID(int=0))
    except ImportError:
        return []  # E003 says so
    found: list[CheckMessage] = []
    model = get_user_model()
    for field in model._meta.concrete_fields:
        filled = field.name in values or field.attname in values
        # Django saves "" in a text field without a default; everything else would be NULL.
        text = field.empty_strings_allowed and not field.is_relation
        automatic = field.primary_key or getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)
        if filled or field.null or field.has_default() or automatic or text or getattr(field, "generated", False):
            continue
        hint = "Fill it in `guest_values()` of your subclass of anonusers.adapters.Adapter, or allow null."
        where = f"{model._meta.label}.{field.name}"
        found.append(Error(f"{where} has no value for a guest.", hint=hint, obj=field, id="anonusers.E010"))
    return found


@register(Tags.security)
def check_middleware(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """GuestMiddleware stands where it can work."""
    order = list(settings.MIDDLEWARE)
    if GUEST_MIDDLEWARE not in order:
        return []
    needed = ("django.contrib.auth.middleware.AuthenticationMiddleware", "django.middleware.csrf.CsrfViewMiddleware")
    late = [name for name in needed if name in order and order.index(name) > order.index(GUEST_MIDDLEWARE)]
    absent = needed[0] not in order
    if not late and not absent:
        return []
    hint = "Put it after AuthenticationMiddleware and CsrfViewMiddleware."
    return [Error("GuestMiddleware stands too early in MIDDLEWARE.", hint=hint, id="anonusers.E011")]


@register(Tags.security)
def check_allauth_app(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Beside allauth there is its bridge, and it is installed. What else it needs it checks itself."""
    if apps.is_installed(ALLAUTH):
        return []
    adapters = (str(getattr(settings, name, "")) for name in ("ACCOUNT_ADAPTER", "SOCIALACCOUNT_ADAPTER"))
    if any(path.startswith(f"{ALLAUTH}.") for path in (*adapters, *settings.MIDDLEWARE)):
        hint = f'Add "{ALLAUTH}" to INSTALLED_APPS: else who follows the mail on another device stays a guest.'
        return [Error(f"{ALLAUTH} is used and not installed.", hint=hint, id="anonusers.E024")]
    if apps.is_installed("allauth.account") and GUEST_MIDDLEWARE in settings.MIDDLEWARE:
        hint = f'Add "{ALLAUTH}" to INSTALLED_APPS, and follow its checks (docs: "Guests who sign up with allauth").'
        return [Warning("allauth turns guests away from signing up.", hint=hint, id="anonusers.W021")]
    return []


@register(Tags.security, deploy=True)
def check_deployment(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """What works on one machine and not on many."""
    found: list[CheckMessage] = []
    for name in ("SIGNUP_PER_IP", "SIGNUP_PER_PROJECT"):
        if getattr(conf, name) == "off":
            hint = "Anybody can fill your database with guests."
            found.append(Warning(f"ANONUSERS_{name} is off.", hint=hint, id="anonusers.W001"))
    if any(len(key) < 32 for key in conf.ENCRYPTION_KEYS):
        hint = "Use at least 32 random characters, e.g. secrets.token_urlsafe(32)."
        found.append(Warning("A key of ANONUSERS_ENCRYPTION_KEYS is short.", hint=hint, id="anonusers.W002"))
    # SQLite has one writer, so it has one process; whoever has a database server has several, sooner or later.
    has_server = not str(settings.DATABASES.get("default", {}).get("ENGINE", "sqlite3")).endswith("sqlite3")
    if has_server and str(conf.LIMITS_STORAGE).startswith("memory:"):
        hint = 'Several processes count together in "redis://host:6379/0" or "database://".'
        message = "ANONUSERS_LIMITS_STORAGE is memory://: each process allows as much as all should together."
        found.append(Warning(message, hint=hint, id="anonusers.W004"))
    return found
