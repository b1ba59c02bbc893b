"""Seal secrets that the server must read again (signing keys, remembered answers) for the database.

AES-CBC + HMAC (Fernet) under keys derived per purpose (RFC 5869), so one configured secret serves many purposes
without being shared between them.
"""

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from anonusers.conf import conf
from anonusers.errors import SealBroken


def seal(text: str, *, purpose: str) -> str:
    """Encrypt `text` with the first configured key."""
    return _fernet(purpose).encrypt(text.encode()).decode()


def unseal(sealed: str, *, purpose: str) -> str:
    """The text that `seal` was given.

    Raises: SealBroken when no configured key opens it, or the purpose is another.
    """
    try:
        return _fernet(purpose).decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise SealBroken from None


def derive(purpose: str) -> bytes:
    """A key of 32 bytes for this purpose, from the first configured secret; for MACs of short-lived things."""
    secrets = conf.ENCRYPTION_KEYS or [settings.SECRET_KEY]
    return base64.urlsafe_b64decode(_derived(secrets[0], purpose))


def _fernet(purpose: str) -> MultiFernet:
    secrets = conf.ENCRYPTION_KEYS or [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(_derived(secret, purpose)) for secret in secrets])


@lru_cache(maxsize=32)
def _derived(secret: str, purpose: str) -> bytes:
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"anonusers:{purpose}".encode())
    return base64.urlsafe_b64encode(hkdf.derive(secret.encode()))
