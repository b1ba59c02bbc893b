"""Login IDs as values: one spelling for each e-mail address, phone number and user name.

Two texts that a person would take for the same must not make two accounts, and a text that only looks like somebody's
address must not pass for it (CVE-2019-19844, UTS 39). Needs the extra `anonusers[phone]` for phone numbers.
"""

import hashlib
import re
import unicodedata
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator

from anonusers.errors import InvalidLoginID

EMAIL, PHONE, USERNAME = "email", "phone", "username"
TYPES = (EMAIL, PHONE, USERNAME)
LENGTH_MAX = 254
LOCAL_PART_MAX = 64  # RFC 5321 §4.5.3.1.1
USERNAME_FORM = re.compile(r"[a-z0-9](?:[a-z0-9._-]{1,38})[a-z0-9]", re.ASCII)
RESERVED = frozenset(
    """
    admin administrator anonymous guest help host mail moderator noreply operator owner postmaster root security staff
    support system webmaster
    """.split()  # noqa: SIM905 (a list of this length is easier to read as text)
)


@dataclass(frozen=True)
class LoginIDValue:
    """`value` is what mail is sent to and people are shown; `normalized` is what makes it unique."""

    type: str
    value: str
    normalized: str

    @property
    def key(self) -> str:
        """A hash for the database's unique constraint: exact on every engine, whatever its collation thinks."""
        return hashlib.sha256(f"{self.type}:{self.normalized}".encode()).hexdigest()


def parse_login_id(type: str, text: str) -> LoginIDValue:
    """The login ID that a person typed.

    Raises: InvalidLoginID, whose message says what to do.
    """
    text = unicodedata.normalize("NFKC", text.strip())
    if not text or len(text) > LENGTH_MAX or any(unicodedata.category(c)[0] in "CZ" and c != " " for c in text):
        raise InvalidLoginID(type)
    if type == EMAIL:
        return _email(text)
    if type == PHONE:
        return _phone(text)
    if type == USERNAME:
        return _username(text)
    raise InvalidLoginID(type)


def guess_type(text: str, allowed: "list[str]") -> str:
    """Which of the allowed types a person means who typed this into one field."""
    text = unicodedata.normalize("NFKC", text.strip())
    if EMAIL in allowed and "@" in text:
        return EMAIL
    # Without a + it is no number that we could read, but "4711.23" is a user name.
    phone = r"\+[\d\s().-]{6,}" if USERNAME in allowed else r"\+?[\d\s().-]{6,}"
    if PHONE in allowed and re.fullmatch(phone, text):
        return PHONE
    return USERNAME if USERNAME in allowed else allowed[0] if allowed else EMAIL


def _email(text: str) -> LoginIDValue:
    local, _, domain = text.rpartition("@")
    try:
        ascii_domain = domain.encode("idna").decode().lower()
        labels = ascii_domain.encode().decode("idna").split(".")
        EmailValidator()(f"{'x' if not local.isascii() else local}@{ascii_domain}")
    except (UnicodeError, ValidationError):
        raise InvalidLoginID(EMAIL) from None
    value = f"{local}@{ascii_domain}"
    # What looks like one script and is another leads mail, and accounts, astray; so do "quoted@example.com"@elsewhere
    # and addresses of machines instead of domains.
    if (
        not all(map(_of_one_script, (local, *labels)))
        or not (local.isascii() or re.fullmatch(r"[\w.+-]+", local))
        or '"' in local
        or "[" in domain
        or len(local) > LOCAL_PART_MAX
        or len(value) > LENGTH_MAX
    ):
        raise InvalidLoginID(EMAIL)
    return LoginIDValue(EMAIL, value, f"{_fold(local)}@{ascii_domain}")


def _phone(text: str) -> LoginIDValue:
    try:
        import phonenumbers
    except ImportError:
        raise InvalidLoginID(PHONE, "Phone numbers are not supported here.") from None
    if any(character.isalpha() for character in text):  # it would be taken for a vanity number, or skipped
        raise InvalidLoginID(PHONE)
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        raise InvalidLoginID(PHONE) from None
    if not phonenumbers.is_valid_number(number) or number.extension:
        raise InvalidLoginID(PHONE)
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return LoginIDValue(PHONE, e164, e164)


def _username(text: str) -> LoginIDValue:
    """ASCII only: every other rule leaves look-alikes."""
    folded = _fold(text)
    if not USERNAME_FORM.fullmatch(folded) or folded in RESERVED:
        raise InvalidLoginID(USERNAME)
    return LoginIDValue(USERNAME, text, folded)


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


# UTS 39 §5.2, "highly restrictive": one script, or the sets that Japanese, Chinese and Korean are written in.
TOGETHER = ({"LATIN", "CJK", "HIRAGANA", "KATAKANA"}, {"LATIN", "CJK", "BOPOMOFO"}, {"LATIN", "CJK", "HANGUL"})


# Signs that belong to the writing around them: the long vowel and the repetition of Japanese.
SCRIPT_OF = {"KATAKANA-HIRAGANA": "KATAKANA", "IDEOGRAPHIC": "CJK"}


def _of_one_script(text: str) -> bool:
    names = {unicodedata.name(c, "UNKNOWN").split()[0] for c in text if c.isalpha()}
    scripts = {SCRIPT_OF.get(name, name) for name in names}
    return len(scripts) <= 1 or any(scripts <= allowed for allowed in TOGETHER)
