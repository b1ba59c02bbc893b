"""The providers of an app directory: what each may say."""

import re
from collections.abc import Mapping
from typing import Any

from anonusers.errors import InvalidRealmFiles
from anonusers.realm_json import plain

ANON_USER, LOCAL_USERPASS, API_KEY = "anon-user", "local-userpass", "api-key"
SUPPORTED = (ANON_USER, LOCAL_USERPASS, API_KEY)
UNSUPPORTED = (
    "custom-token",
    "custom-function",
    "oauth2-google",
    "oauth2-facebook",
    "oauth2-apple",
)
KNOWN = {"_id", "id", "name", "type", "disabled", "config"}
KNOWN_OF_OTHERS = {"secret_config", "metadata_fields", "redirect_uris", "domain_restrictions"}
SUBJECT_MAX = 256
# What local-userpass is set up with: key → type.
USERPASS: Mapping[str, type] = {
    "autoConfirm": bool,
    "emailConfirmationUrl": str,
    "confirmEmailSubject": str,
    "runConfirmationFunction": bool,
    "confirmationFunctionName": str,
    "confirmationFunctionId": str,
    "resetPasswordUrl": str,
    "resetPasswordSubject": str,
    "runResetFunction": bool,
    "resetFunctionName": str,
    "resetFunctionId": str,
}
ACTED_ON = ("autoConfirm", "emailConfirmationUrl", "resetPasswordUrl")
"""What of it has a setting of ours; all else is kept."""


def read_provider(table: Any, where: str, key: str, warnings: list[str]) -> dict[str, Any]:
    """The provider with `type` and `disabled`, and `_id` where it has one. `key` is what a map calls it.

    Raises: InvalidRealmFiles.
    """
    if not isinstance(table, Mapping):
        raise InvalidRealmFiles(f"{where}: This must be a JSON object.")
    provider = dict(table)
    kind = provider.get("type")
    if not isinstance(kind, str) or not kind:
        raise InvalidRealmFiles(f"{where}: type: This key is required, and a string.")
    if kind not in (*SUPPORTED, *UNSUPPORTED):
        types = ", ".join((*SUPPORTED, *UNSUPPORTED))
        raise InvalidRealmFiles(f"{where}: type: The type {kind!r} is unknown. Use one of: {types}.")
    name = provider.pop("name", None)
    if name is not None and not isinstance(name, str):
        raise InvalidRealmFiles(f"{where}: name: This must be a string.")
    if (name or key or kind) != kind:
        warnings.append(f"{where}: name: It is called like its type from now on, {kind}.")
    disabled = provider.get("disabled")
    if disabled is not None and not isinstance(disabled, bool):
        raise InvalidRealmFiles(f"{where}: disabled: This must be true or false.")
    provider["disabled"] = bool(disabled)
    _take_id(provider, where)
    config = provider.get("config")
    if config is None:
        provider.pop("config", None)
    elif not isinstance(config, Mapping):
        raise InvalidRealmFiles(f"{where}: config: This must be a JSON object.")
    known = KNOWN if kind in SUPPORTED else KNOWN | KNOWN_OF_OTHERS
    warnings += [f"{where}: {other}: Unknown key, kept as it is." for other in provider if other not in known]
    if kind == LOCAL_USERPASS:
        _check_userpass(config or {}, where, warnings, disabled=provider["disabled"])
    elif kind in SUPPORTED and config:
        warnings.append(f"{where}: config: {kind} has no options; kept as it is.")
    elif kind not in SUPPORTED:
        was = "" if provider["disabled"] else ": imported as disabled"
        warnings.append(f"{where}: {kind} is recognised, not supported{was}.")
        provider["disabled"] = True
    return provider


def _take_id(provider: dict[str, Any], where: str) -> None:
    """Oldest exports say `_id`, later ones `id`."""
    for key, text in [(key, plain(provider.pop(key))) for key in ("_id", "id") if key in provider]:
        if not isinstance(text, str) or not re.fullmatch(r"[0-9a-f]{24}", text.lower(), re.ASCII):
            raise InvalidRealmFiles(f"{where}: {key}: Use 24 hexadecimal digits.")
        if provider.setdefault("_id", text.lower()) != text.lower():
            raise InvalidRealmFiles(f"{where}: {key}: There are two ids.")


def _check_userpass(config: Mapping[str, Any], where: str, warnings: list[str], *, disabled: bool) -> None:
    for key, value in config.items():
        kind = USERPASS.get(key)
        if kind is None:
            warnings.append(f"{where}: config.{key}: Unknown key, kept as it is.")
        elif not isinstance(value, kind):
            words = "true or false" if kind is bool else "a string"
            raise InvalidRealmFiles(f"{where}: config.{key}: This must be {words}.")
        elif key.endswith("Subject") and len(str(value)) > SUBJECT_MAX:
            raise InvalidRealmFiles(f"{where}: config.{key}: Use at most {SUBJECT_MAX} characters.")
    for key, instead in (("runConfirmationFunction", "emailConfirmationUrl"), ("runResetFunction", "resetPasswordUrl")):
        if config.get(key):
            warnings.append(f"{where}: config.{key}: Functions do not run here; mails lead to {instead} instead.")
    if disabled:
        return
    if not config.get("autoConfirm") and not config.get("emailConfirmationUrl"):
        warnings.append(
            f"{where}: config: With neither autoConfirm nor emailConfirmationUrl nobody can confirm an address."
        )
    if not config.get("resetPasswordUrl"):
        warnings.append(f"{where}: config: Without resetPasswordUrl nobody can set a new password.")
