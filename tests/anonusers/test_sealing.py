"""Secrets at rest."""

import pytest

from anonusers.errors import SealBroken
from anonusers.sealing import seal, unseal


def test_a_sealed_text_opens_for_its_purpose_only() -> None:
    sealed = seal("secret", purpose="a")
    assert "secret" not in sealed
    assert unseal(sealed, purpose="a") == "secret"
    with pytest.raises(SealBroken):
        unseal(sealed, purpose="b")


def test_a_rotated_secret_key_still_opens_what_the_old_one_sealed(settings) -> None:
    sealed = seal("secret", purpose="a")
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "new" * 20
    assert unseal(sealed, purpose="a") == "secret"
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(SealBroken):
        unseal(sealed, purpose="a")


def test_encryption_keys_of_their_own_make_secret_key_irrelevant(settings) -> None:
    settings.ANONUSERS_ENCRYPTION_KEYS = ["one" * 12]
    sealed = seal("secret", purpose="a")
    settings.SECRET_KEY = "new" * 20
    settings.ANONUSERS_ENCRYPTION_KEYS = ["two" * 12, "one" * 12]
    assert unseal(sealed, purpose="a") == "secret"
