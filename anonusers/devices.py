"""What a session's device is called, in words that people know their own devices by."""

import re
from collections.abc import Mapping

from django.utils.translation import gettext as _

BROWSERS = ("Edg", "OPR", "SamsungBrowser", "Firefox", "FxiOS", "CriOS", "Chrome", "Safari")
BROWSER_NAMES = {"Edg": "Edge", "OPR": "Opera", "SamsungBrowser": "Samsung Internet", "FxiOS": "Firefox"}
SYSTEMS = ("iPhone", "iPad", "Android", "Windows", "Macintosh", "CrOS", "Linux")
SYSTEM_NAMES = {"Macintosh": "macOS", "CrOS": "ChromeOS"}


def place_of(device: Mapping[str, str], user_agent: str) -> tuple[list[str], str]:
    """`Ada's iPhone`, `iPhone14,4`, `iOS 17.2`, and the app there; else what the user agent tells.

    The device says this of itself: a page keeps each part in a `<bdi>`.
    """
    name, model, system, app = (device.get(key, "").strip() for key in ("name", "model", "system", "app"))
    parts = [part for part in ("" if name in model else name, model, system) if part]
    return parts or [device_of(user_agent)], app


def device_of(user_agent: str) -> str:
    """`Firefox on Windows`: enough to know one's own devices by."""
    browser = next((name for name in BROWSERS if re.search(rf"\b(Headless)?{name}\w*/", user_agent)), "")
    browser = {"CriOS": "Chrome"}.get(browser, BROWSER_NAMES.get(browser, browser))
    system = next((name for name in SYSTEMS if name in user_agent), "")
    system = SYSTEM_NAMES.get(system, system)
    if browser and system:
        return _("%(browser)s on %(system)s") % {"browser": browser, "system": system}
    return browser or system or user_agent[:60] or _("Unknown device")
