"""The grant of RFC 8693: an access token of MongoDB's clients for tokens of an application of the same project."""

from typing import Any

from anonusers import credentials, sessions
from anonusers.codegrant import OFFLINE_ACCESS
from anonusers.errors import GuestGone, InvalidToken, ScopeTooWide, UserDisabled
from anonusers.models import Application
from anonusers.protocols.authgear import wire
from anonusers.protocols.authgear.base import OAuthView
from anonusers.protocols.authgear.device_info import parse_device_info
from anonusers.protocols.errors import BadRequest
from anonusers.realm_sessions import find_by_realm_access_token
from anonusers.token_exchange import exchange_session

NOT_VALID = "the subject token is not valid"
UNSUPPORTED = ("actor_token", "actor_token_type", "resource", "audience")


class ExchangeView(OAuthView):
    """What the token endpoint does for this grant."""

    def exchange(self, application: Application, form: dict[str, str]) -> dict[str, Any]:
        """Raises: BadRequest for whatever is wrong with the subject token (RFC 8693 §2.2.2), and what the use case
        raises."""
        self._demand_known(form)
        scope = _granted(form.get("scope", ""))
        try:
            # Whatever the project at this host, it is that of the application in the end.
            subject = find_by_realm_access_token(form["subject_token"]).session
            if not subject.project.realm_app_id:
                raise InvalidToken  # its clients have been turned away since
            session, secret = exchange_session(
                subject=subject,
                application=application,
                scope=scope,
                ip=credentials.address_of(self.http_request),
                user_agent=credentials.user_agent_of(self.http_request),
                device=parse_device_info(form.get("x_device_info", "")),
                dpop_jkt=self.dpop_jkt(application),
                dpop_jti=self.dpop_jti(),
            )
        except (InvalidToken, GuestGone):
            raise BadRequest(NOT_VALID) from None
        except UserDisabled:
            raise BadRequest("the user of the subject token is disabled") from None
        tokens = sessions.mint_tokens(
            session,
            issuer=self.issuer,
            refresh_token=secret if OFFLINE_ACCESS in scope.split() else None,
            with_id_token=True,
        )
        return wire.render_tokens(tokens) | {"issued_token_type": wire.ACCESS_TOKEN, "scope": scope}

    def _demand_known(self, form: dict[str, str]) -> None:
        for name in UNSUPPORTED:
            if form.get(name):
                raise BadRequest(f"{name} is not supported")
        for name in ("subject_token", "subject_token_type"):
            if not form.get(name):
                raise BadRequest(f"{name} is required")
        if form["subject_token_type"] not in wire.SUBJECT_TOKEN_TYPES:
            raise BadRequest("this subject_token_type is not supported")
        if form.get("requested_token_type", wire.ACCESS_TOKEN) != wire.ACCESS_TOKEN:
            raise BadRequest("this requested_token_type is not supported")


def _granted(text: str) -> str:
    """What is asked for, as far as we have it; what a guest has, where nothing is.

    Raises: ScopeTooWide.
    """
    scopes = dict.fromkeys(text.split() or wire.GUEST_SCOPE.split())
    if not set(scopes) <= wire.SCOPES_GRANTED | wire.SCOPES_IGNORED:
        raise ScopeTooWide
    return " ".join(scope for scope in scopes if scope in wire.SCOPES_GRANTED)
