"""The keys of a project file, and what each may hold.

To add a key, add its line to `PROJECT` or `APPLICATION`; its type, default and range follow from the model's field.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext as _

from anonusers.budgets import check_budget_of_project
from anonusers.models.projects import validate_domain, validate_origin, validate_redirect_uri
from anonusers.networks import parse_network

NETWORK_MAX = 150
"""Characters of a network with its times."""


def check_network(text: str) -> None:
    """A network that limits per address leave alone. Raises: ValueError"""
    if len(text) > NETWORK_MAX:
        raise ValueError(_("Use at most %d characters.") % NETWORK_MAX)
    parse_network(text)


Keys = Mapping[str, Any]  # TOML key → model field, or the keys of a section
Values = dict[str, Any]  # model field → value

# Everything a file may say, in the order of an export.
PROJECT: Keys = {
    "project": {
        "id": "slug",
        "name": "name",
        "domains": "domains",
        "allowed_origins": "allowed_origins",
        "anonymous_users": {
            "enabled": "anonymous_users_enabled",
            "promotion_conflict": "promotion_conflict",
            "retired_device_keys": "retired_device_keys",
        },
        "sign_in": {"login_ids": "login_ids", "verify": "verify"},
        "session": {
            "lifetime": "session_lifetime",
            "idle_timeout_enabled": "session_idle_timeout_enabled",
            "idle_timeout": "session_idle_timeout",
            "persistent_cookie": "session_persistent_cookie",
        },
        "retention": {
            "guest_inactive_days": "guest_inactive_days",
            "quarantine_days": "quarantine_days",
            "session_history_days": "session_history_days",
            "retired_key_days": "retired_key_days",
            "removals_per_run": "removals_per_run",
            "removals_percent": "removals_percent",
        },
        "limits": {
            "signup_per_ip": "signup_per_ip",
            "signup_per_application": "signup_per_application",
            "signup_per_project_day": "signup_per_project_day",
            "bot_check_per_ip": "bot_check_per_ip",
            "unlimited_networks": "unlimited_networks",
            "store_down": "limits_store_down",
        },
        "realm": {
            "app_id": "realm_app_id",
            "local_userpass": "realm_local_userpass",
            "auto_confirm": "realm_auto_confirm",
            "confirmation_url": "realm_confirmation_url",
            "reset_url": "realm_reset_url",
            "migration_until": "realm_migration_until",
            "adopt_guests": "realm_adopt_guests",
        },
    }
}
APPLICATION: Keys = {
    key: key
    for key in (
        *("client_id", "name", "type", "framework", "redirect_uris", "post_logout_redirect_uris"),
        *("access_token_lifetime", "refresh_token_lifetime"),
        *("refresh_token_idle_timeout_enabled", "refresh_token_idle_timeout", "refresh_token_rotation_enabled"),
        *("dpop_enabled", "issue_jwt_access_token", "id_token_signed_response_alg", "max_concurrent_sessions"),
    )
}
REQUIRED = ("slug", "client_id", "type")

# What a list may hold, where the column (JSON) cannot tell.
CHOICES: Mapping[str, Sequence[str]] = {"login_ids": ("email", "phone", "username"), "verify": ("email", "phone")}
VALIDATORS: Mapping[str, Callable[[str], object]] = {
    "domains": validate_domain,
    "allowed_origins": validate_origin,
    "redirect_uris": validate_redirect_uri,
    "post_logout_redirect_uris": validate_redirect_uri,
    "signup_per_ip": check_budget_of_project,
    "signup_per_application": check_budget_of_project,
    "signup_per_project_day": check_budget_of_project,
    "bot_check_per_ip": check_budget_of_project,
    "unlimited_networks": check_network,
}
MOST: Mapping[str, int] = {"removals_per_run": 1_000_000_000}
"""What the column's own 32 bits cannot hold on one database must be refused on all."""
KINDS: tuple[tuple[Any, type, str], ...] = (
    (models.BooleanField, bool, "true or false"),
    (models.IntegerField, int, "a whole number"),
    ((models.JSONField, models.ForeignObjectRel), list, "a list of strings"),
    (models.CharField, str, "a string"),
)


def check_realm_app(project: Values, client_ids: Iterable[str]) -> None:
    """Clients of a Realm app come through an application, which has the app's id. Raises: ValidationError"""
    app_id = project["realm_app_id"]
    if app_id and app_id not in client_ids:
        reason = f"{json.dumps(app_id, ensure_ascii=False)} is the client_id of none of the applications."
        raise ValidationError({"project.realm.app_id": reason})


def names_of(keys: Keys, at: str = "") -> dict[str, str]:
    """Model field → dotted key of the file."""
    names: dict[str, str] = {}
    for key, target in keys.items():
        where = below(at, key)
        names |= {target: where} if isinstance(target, str) else names_of(target, where)
    return names


def below(at: str, key: str) -> str:
    """The dotted name of `key` in the table `at`."""
    name = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)
    return f"{at}.{name}" if at else name
