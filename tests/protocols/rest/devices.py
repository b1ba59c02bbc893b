"""Devices that hold a key and come to the native API with it, and what is left as it was when they are refused."""

from typing import Any

from django.utils import timezone

from anonusers.models import OneTimeToken
from tests.anonusers.signing import ABSENT, a_request, ec_key, jwk_of
from tests.conftest import row_counts, state_of
from tests.protocols.rest.conftest import KEY_LOGIN, KEYS, RECOVER, Api, is_problem

KID = "phone-key-1"


class Device:
    """A key pair under an ID. Devices of one name have one key."""

    def __init__(self, name: str = "phone", kid: str = KID, private: Any = None) -> None:
        self.kid, self.private = kid, private or ec_key(name)

    def signed(self, challenge: str, action: str = "auth", *, with_jwk: bool = True, **claims: Any) -> str:
        """A signed request of now."""
        now = int(timezone.now().timestamp())
        header = {"kid": self.kid, "jwk": jwk_of(self.private, kid=self.kid) if with_jwk else ABSENT}
        fresh = {"iat": now, "exp": now + 60, "challenge": challenge, "action": action}
        return a_request(self.private, header, fresh | claims)

    def log_in(self, api: Api | None = None, *, client_id: str = "web", more: Any = None, **options: Any) -> Any:
        """With a challenge of its own; `more` is what the body has besides, or instead."""
        api = api or Api()
        signed = self.signed(api.challenge(client_id))
        return api.call("POST", KEY_LOGIN, {"client_id": client_id, "signed_request": signed} | (more or {}), **options)

    def add(self, guest: dict[str, Any], api: Api | None = None, *, client_id: str = "web", **options: Any) -> Any:
        """To the guest of a sign-up."""
        api = api or Api()
        body = {"signed_request": self.signed(api.challenge(client_id), "add_key")}
        return api.call("POST", KEYS, body, **({"bearer": guest.get("access_token")} | options))

    def recover(self, code: str, api: Api | None = None, *, more: Any = None, **options: Any) -> Any:
        api = api or Api()
        signed = self.signed(api.challenge(), "recover")
        body = {"client_id": "web", "recovery_code": code, "signed_request": signed} | (more or {})
        return api.call("POST", RECOVER, body, **options)


def unspent() -> int:
    """Challenges and codes that are still good."""
    return OneTimeToken.objects.filter(used_at=None).count()


def refused(response: Any, status: int, code: str, before: dict[str, int], rows: Any = (), **more: Any) -> bool:
    """Whether it was refused, no cookie set, no row made, and the rows `rows` = (instances, state) are as before."""
    assert is_problem(response, status, code, **more)
    assert not response.cookies
    assert row_counts() == before
    for instances, state in rows:
        assert state_of(*instances) == state
    return True


def one_more(before: dict[str, int]) -> dict[str, int]:
    """The challenge that `log_in` asks for."""
    return {"anonusers.OneTimeToken": before["anonusers.OneTimeToken"] + 1}
