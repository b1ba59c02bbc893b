"""What Authgear's SDKs tell about the device they run on, by `x_device_info` or signed in the request, in our words."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from anonusers.protocols.errors import BadRequest

REFUSED = "x_device_info is not valid"


def parse_device_info(text: str) -> dict[str, str]:
    """The device of `x_device_info`, base64url of a JSON object. Empty where the client sent none.

    Raises: BadRequest.
    """
    if not text:
        return {}
    try:
        raw = base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
        info = json.loads(raw.decode())
    except (ValueError, RecursionError):
        raise BadRequest(REFUSED) from None
    if not isinstance(info, dict):
        raise BadRequest(REFUSED)
    return device_of(info)


def device_of(info: Mapping[str, Any]) -> dict[str, str]:
    """Name, model, system and app. Each SDK has its own shape; what is missing is left out."""
    told = _ios(_at(info, "ios")) if "ios" in info else _android(_at(info, "android"))
    return {name: " ".join(words)[:100] for name, parts in told.items() if (words := [part for part in parts if part])}


def _ios(info: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    device, bundle = _at(info, "UIDevice"), _at(info, "NSBundle")
    return {
        "name": (_text(device, "name"),),
        "model": (_text(_at(info, "uname"), "machine") or _text(device, "model"),),
        "system": (_text(device, "systemName"), _text(device, "systemVersion")),
        "app": (
            _text(bundle, "CFBundleDisplayName") or _text(bundle, "CFBundleName"),
            _text(bundle, "CFBundleShortVersionString"),
        ),
    }


def _android(info: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    build, settings = _at(info, "Build"), _at(info, "Settings")
    release = _text(_at(build, "VERSION"), "RELEASE")
    return {
        "name": (_text(_at(settings, "Global"), "DEVICE_NAME") or _text(_at(settings, "Secure"), "bluetooth_name"),),
        "model": (_text(build, "MANUFACTURER"), _text(build, "MODEL")),
        "system": ("Android" if release else "", release),
        "app": (_text(info, "ApplicationInfoLabel"), _text(_at(info, "PackageInfo"), "versionName")),
    }


def _at(info: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = info.get(name)
    return found if isinstance(found, Mapping) else {}


def _text(info: Mapping[str, Any], name: str) -> str:
    found = info.get(name)
    # Databases refuse what is not text: NUL and half a surrogate pair.
    return "".join(character for character in found if character.isprintable()) if isinstance(found, str) else ""
