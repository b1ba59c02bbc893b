"""System checks of settings and deployment; ids are unique (tests/test_house.py)."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.utils.module_loading import import_string

from anonusers.conf import Conf, conf
from anonusers.limits import parse_budget

BUDGETS = (
    "SIGNUP_PER_IP",
    "SIGNUP_PER_PROJECT",
    "LOGIN_PER_IP",
    "LOGIN_PER_ACCOUNT_AND_IP",
    "LOGIN_PER_ACCOUNT",
    "CODES_PER_MINUTE",
    "CODES_PER_TARGET",
    "CODES_PER_IP",
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
    if conf.ISSUER is not None and (not conf.ISSUER.startswith(("https://", "http://")) or conf.ISSUER.endswith("/")):
        hint = 'An origin such as "https://auth.example.com", without a slash at the end.'
        found.append(Error("ANONUSERS_ISSUER is not an origin.", hint=hint, id="anonusers.E004"))
    if not isinstance(conf.TRUSTED_PROXIES, int) or conf.TRUSTED_PROXIES < 0:
        hint = "The number of reverse proxies that append to X-Forwarded-For."
        found.append(Error("ANONUSERS_TRUSTED_PROXIES is not a number ≥ 0.", hint=hint, id="anonusers.E005"))
    return found


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
    return found
