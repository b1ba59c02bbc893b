"""Log in as a guest: with a device key, again and again, or on a new device with a recovery code, once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from anonusers import device_keys
from anonusers.device_keys import AMR, KeyProof, Raced
from anonusers.errors import AnonymousUsersDisabled, ApplicationTypeNotAllowed, KeyProofRefused
from anonusers.keys import key_ring
from anonusers.limits import network_of, spend
from anonusers.models import Application, EndUser, Project, Session
from anonusers.sessions import end_sessions_of_before, open_session
from anonusers.signup import SignedUp, sign_up

Device = dict[str, str]


@dataclass(frozen=True)
class Client:
    """Who asks. `device` is what it says of itself; `device_of` reads what it signed instead, where it said nothing.
    `dpop_jkt` is the thumbprint of the key that its tokens are bound to, `bot_check` what a new guest may need."""

    application: Application
    origin: str
    kind: str = Session.Kind.TOKEN
    scope: str = ""
    ip: str = ""
    user_agent: str = ""
    device: Device = field(default_factory=dict)
    device_of: Callable[[Mapping[str, Any]], Device] | None = None
    dpop_jkt: str = ""
    dpop_jti: str = ""
    bot_check: str = ""


def log_in_with_key(client: Client, *, signed_request: str) -> SignedUp:
    """The guest of this device key with a new session; a new guest for a key that leads to nobody.

    Of requests that race with one new key one makes a guest, and the others log in to it.
    Raises: ApplicationTypeNotAllowed, AnonymousUsersDisabled, RateLimited, KeyProofRefused, UserDisabled; and for a new
    guest what sign_up raises.
    """
    _demand_open(client)
    spend("key_login_per_ip", client.application.project.slug, network_of(client.ip))
    for _attempt in range(3):
        proof = _prove(client, signed_request, "auth")
        try:
            if proof.guest is not None:
                return _open_for(client, proof)
            return _sign_up(client, proof)
        except Raced:
            continue
    raise KeyProofRefused


def recover(client: Client, *, host: str, recovery_code: str, signed_request: str) -> SignedUp:
    """The guest of a recovery code, on a new device: its key takes the place of the one before, whose sessions end.

    Raises: ApplicationTypeNotAllowed, AnonymousUsersDisabled, RateLimited, RecoveryCodeWrong, KeyProofRefused,
    KeyTaken, UserDisabled.
    """
    _demand_open(client)
    spend("login_per_ip", client.application.project.slug, network_of(client.ip))
    token = device_keys.look_at_recovery_code(recovery_code, host=host)
    proof = _prove(client, signed_request, "recover")
    with transaction.atomic():
        return _open(client, device_keys.move(token, proof), proof)


def _demand_open(client: Client) -> None:
    if not client.application.may_have_guests:
        raise ApplicationTypeNotAllowed
    if not client.application.project.anonymous_users_enabled:
        raise AnonymousUsersDisabled  # before anything is read: nothing about keys is told


def _prove(client: Client, signed_request: str, action: str) -> KeyProof:
    project = client.application.project
    if client.kind == Session.Kind.TOKEN:
        key_ring(project)  # unreadable keys are found before a challenge is spent on tokens that nobody can sign
    return device_keys.prove(
        project=project, signed_request=signed_request, expected_action=action, expected_origin=client.origin
    )


def _sign_up(client: Client, proof: KeyProof) -> SignedUp:
    project = client.application.project
    if proof.row is not None and project.retired_device_keys == Project.RetiredDeviceKeys.REFUSE:
        raise KeyProofRefused
    return sign_up(
        project=project,
        application=client.application,
        kind=client.kind,
        scope=client.scope,
        key=proof,
        bot_check=client.bot_check,
        ip=client.ip,
        user_agent=client.user_agent,
        device=_device(client, proof),
        dpop_jkt=client.dpop_jkt,
        dpop_jti=client.dpop_jti,
    )


def _open_for(client: Client, proof: KeyProof) -> SignedUp:
    with transaction.atomic():
        return _open(client, device_keys.use(proof), proof)


def _open(client: Client, guest: EndUser, proof: KeyProof) -> SignedUp:
    if client.kind == Session.Kind.TOKEN:
        end_sessions_of_before(end_user=guest, application=client.application)
    session, secret = open_session(
        end_user=guest,
        project=client.application.project,
        application=client.application,
        kind=client.kind,
        scope=client.scope,
        user_agent=client.user_agent,
        device=_device(client, proof),
        dpop_jkt=client.dpop_jkt,
        dpop_jti=client.dpop_jti,
        amr=AMR,
    )
    return SignedUp(session, secret, created=False)


def _device(client: Client, proof: KeyProof) -> Device:
    if client.device or client.device_of is None:
        return client.device
    return client.device_of(proof.request.device_info or {})
