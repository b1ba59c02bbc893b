"""ANONUSERS_* settings: names, types and defaults, read from Django's settings at each use.

`from anonusers.conf import conf`, then `conf.SIGNUP_PER_IP`. What a portal may change lives in `Project` and
`Application` rows instead: a value has one home.
"""

from typing import Any

from django.conf import settings

__all__ = ["Conf", "conf"]


class Conf:
    """Every setting with its default. `ANONUSERS_` + the name is what stands in Django's settings."""

    ADAPTER: str = "anonusers.adapters.Adapter"
    """Dotted path of the class that makes and fills the host's user rows."""

    GUEST_DATA: dict[str, str] = {}
    """What becomes of the host's rows when their guest is removed: `{"shop.Basket.user": "delete"}`. `keep` (a guest
    who has one is never removed), `delete`, `set_null`, `leave` (generic relations), or a function's dotted path."""

    GUEST_ON_WRITE_PATHS: list[str] = []
    """Regular expressions of paths where whoever writes becomes a guest (GuestMiddleware): `[r"^/basket/"]`."""

    GUEST_REQUESTS: str = "off"
    """Requests of one guest, or of visitors from one network, to views with `GuestThrottle` that say nothing else."""

    GUESTS_EXPECTED: list[str] = []
    r"""Regular expressions of dotted paths of views that ask only whether somebody is logged in, and mean guests, too:
    `[r"shop\.views\.Basket"]`. They match the whole path; the check anonusers.W003 is silent about these."""

    PROMOTION_URL: str = "anonusers:pages:promote"
    """Where guests are sent to keep their account: a URL, a path or the name of a route."""

    COOKIE_DOMAIN: str | None = None
    """Domain of the session cookie. None keeps it on the one host, which also gives it the `__Host-` prefix."""

    COOKIE_NAME: str = "anonusers_session"
    """Name of the session cookie, without prefix."""

    ENCRYPTION_KEYS: list[str] = []
    """Secrets that seal signing keys at rest; the first seals, all open. Empty: derived from SECRET_KEY and
    SECRET_KEY_FALLBACKS."""

    ISSUER: str | None = None
    """Public origin, e.g. `https://auth.example.com`, when it cannot be told from the request's host."""

    BEARER_CHECKS_SESSION: bool = True
    """Ask the database at each bearer request, so that revocation acts at once. False trusts a JWT until it
    expires; opaque tokens are always looked up."""

    LIMITS_STORAGE: str = "memory://"
    """Where rate limits are counted: a storage URI of the `limits` library, e.g. `redis://localhost:6379`, or
    `database://`."""

    SIGNUP_PER_IP: str = "60/m"
    """New guests from one address (IPv6: one /64). `N/s|m|h|d`, or `off`."""

    SIGNUP_PER_PROJECT: str = "6000/m"
    """New guests in one project."""

    SIGNUP_PER_APPLICATION: str = "off"
    """New guests through one application, where its project says nothing else."""

    SIGNUP_PER_PROJECT_DAY: str = "off"
    """New guests in one project in the long run, e.g. `100000/d`, where it says nothing else."""

    BOT_CHECK_PER_IP: str = "off"
    """New guests from one address, past which the next ones need a solved bot check."""

    BOT_CHECK: str = "anonusers.bot_check.ProofOfWork"
    """Dotted path of the bot check: `ProofOfWork`, `Turnstile` or `HCaptcha` there, or a subclass of its `BotCheck`."""

    BOT_CHECK_DIFFICULTY: int = 50_000
    """How many numbers a proof of work has to try at most; half as many on average."""

    BOT_CHECK_SITE_KEY: str = ""
    """Public key at Turnstile or hCaptcha."""

    BOT_CHECK_SECRET: str = ""
    """Secret key at Turnstile or hCaptcha."""

    CHALLENGES_PER_IP: str = "120/m"
    """Challenges for device keys that one address may ask for."""

    KEY_LOGIN_PER_IP: str = "300/m"
    """Log-ins by device key from one address. New guests count against the sign-up limits besides."""

    LOGIN_PER_IP: str = "60/m"
    """Log-in attempts of end users from one address."""

    LOGIN_PER_ACCOUNT_AND_IP: str = "10/m"
    """Log-in attempts at one account from one address."""

    LOGIN_PER_ACCOUNT: str = "100/h"
    """Log-in attempts at one account from anywhere."""

    CODES_PER_MINUTE: str = "1/m"
    """Codes and links sent to one login ID: the pause between two of them."""

    CODES_PER_TARGET: str = "10/h"
    """Codes and links sent to one login ID."""

    CODES_PER_IP: str = "60/h"
    """Codes and links asked for from one address."""

    HASHES_IN_FLIGHT: int = 4
    """How many passwords one process hashes at once."""

    PHONE_SENDER: str = "anonusers.promotion.phone_code.console_sender"
    """Dotted path of a callable `(*, to, text)` that sends a text message."""

    PORTAL_LOGIN_PER_IP: str = "10/m"
    """Sign-in attempts of operators from one address."""

    PORTAL_LOGIN_PER_NAME: str = "20/h"
    """Failed sign-in attempts of operators under one user name."""

    TRUSTED_PROXIES: int = 0
    """How many reverse proxies append to X-Forwarded-For. 0: the header is ignored."""

    def __getattribute__(self, name: str) -> Any:
        default = super().__getattribute__(name)
        return getattr(settings, f"ANONUSERS_{name}", default) if name.isupper() else default


conf = Conf()
