"""POST /oauth2/token (RFC 6749 §3.2) and POST /oauth2/revoke (RFC 7009)."""

from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from anonusers import credentials, sessions
from anonusers.codegrant import exchange_code
from anonusers.errors import (
    ApplicationTypeNotAllowed,
    ClientSecretRequired,
    ClientSecretWrong,
    InvalidToken,
    NotSignedIn,
    UnknownApplication,
)
from anonusers.key_login import Client, log_in_with_key
from anonusers.keypairs import SIGNED_REQUEST_MAX
from anonusers.models import Application, Session
from anonusers.protocols.authgear import wire
from anonusers.protocols.authgear.base import OAuthView
from anonusers.protocols.authgear.device_info import device_of, parse_device_info
from anonusers.protocols.authgear.exchange import ExchangeView
from anonusers.protocols.base import answer
from anonusers.protocols.body import read_form
from anonusers.protocols.errors import AuthorizationCodeRefused, BadRequest, UnsupportedGrantType
from anonusers.refresh import refresh_session

NO_CACHE = {"Pragma": "no-cache"}  # RFC 6749 §5.1, beside no-store


class TokenView(ExchangeView):
    def post(self, request: Request) -> HttpResponse:
        form = read_form(self.http_request)
        grants: dict[str, Callable[[dict[str, str]], dict[str, Any]]] = {
            "authorization_code": self.authorization_code,
            "refresh_token": self.refresh_token,
            wire.GRANT_ANONYMOUS_REQUEST: self.anonymous_request,
            wire.GRANT_ID_TOKEN: self.id_token,
            wire.GRANT_TOKEN_EXCHANGE: self.token_exchange,
        }
        if not form.get("grant_type"):
            raise BadRequest("grant_type is required")
        grant = grants.get(form["grant_type"])
        if grant is None:
            raise UnsupportedGrantType
        return answer(grant(form), headers=NO_CACHE)

    def authorization_code(self, form: dict[str, str]) -> dict[str, Any]:
        application = self.application(form.get("client_id", ""))
        self.demand_public_client(application, form)
        if not form.get("code"):
            raise BadRequest("code is required")
        try:
            tokens = exchange_code(
                host=self.host,
                application=application,
                code=form["code"],
                redirect_uri=form.get("redirect_uri", ""),
                code_verifier=form.get("code_verifier", ""),
                issuer=self.issuer,
                user_agent=credentials.user_agent_of(self.http_request),
                device=parse_device_info(form.get("x_device_info", "")),
                dpop_jkt=self.dpop_jkt(application),
                dpop_jti=self.dpop_jti(),
            )
        except InvalidToken:
            if not form.get("code_verifier"):  # the code is burnt all the same
                raise BadRequest("PKCE code verifier is required") from None
            raise AuthorizationCodeRefused from None
        return wire.render_tokens(tokens)

    def refresh_token(self, form: dict[str, str]) -> dict[str, Any]:
        if not form.get("client_id"):
            raise UnknownApplication
        if not form.get("refresh_token"):
            raise BadRequest("refresh token is required")
        try:
            tokens = refresh_session(
                host=self.host,
                client_id=form["client_id"],
                refresh_token=form["refresh_token"],
                scope=form.get("scope", ""),
                issuer=self.issuer,
                with_id_token=True,
                device=parse_device_info(form.get("x_device_info", "")),
                proof=self.dpop_proof(),
            )
        except InvalidToken:
            self.demand_public_client(self.application(form["client_id"]), form)
            raise
        self.project = tokens.session.project
        return wire.render_tokens(tokens)

    def anonymous_request(self, form: dict[str, str]) -> dict[str, Any]:
        if not form.get("jwt"):
            raise BadRequest("jwt is required")
        if len(form["jwt"]) > SIGNED_REQUEST_MAX:
            raise BadRequest("jwt is too long")
        application = self.application(form.get("client_id", ""))
        client = Client(
            application=application,
            origin=self.origin,
            scope=wire.GUEST_SCOPE,
            ip=credentials.address_of(self.http_request),
            user_agent=credentials.user_agent_of(self.http_request),
            device=parse_device_info(form.get("x_device_info", "")),
            device_of=device_of,
            dpop_jkt=self.dpop_jkt(application),
            dpop_jti=self.dpop_jti(),
        )
        signed_up = log_in_with_key(client, signed_request=form["jwt"])
        tokens = sessions.mint_tokens(
            signed_up.session, issuer=self.issuer, refresh_token=signed_up.secret, with_id_token=True
        )
        return wire.render_tokens(tokens)

    def id_token(self, form: dict[str, str]) -> dict[str, Any]:
        application = self.application(form.get("client_id", ""))
        if not application.may_have_guests:
            raise ApplicationTypeNotAllowed
        session = self.session()
        if session is None:
            raise NotSignedIn
        if session.kind == Session.Kind.TOKEN and session.application_id != application.pk:
            # An application cannot have ID tokens made that say they are for another one.
            raise BadRequest("client id doesn't match the access token")
        return {"id_token": sessions.mint_id_token(session, application=application, issuer=self.issuer)}

    def token_exchange(self, form: dict[str, str]) -> dict[str, Any]:
        application = self.application(form.get("client_id", ""))
        self.demand_public_client(application, form)
        return self.exchange(application, form)

    def demand_public_client(self, application: Application, form: dict[str, str]) -> None:
        """Confidential clients authenticate. Secrets of clients come with the clients that can use them."""
        if application.type in Application.PUBLIC_TYPES:
            return
        if application.type == Application.Type.M2M:
            raise ApplicationTypeNotAllowed(wire.GRANT_NOT_ALLOWED)
        if form.get("client_secret") or self.http_request.headers.get("Authorization", "").startswith("Basic "):
            raise ClientSecretWrong
        raise ClientSecretRequired


class RevokeView(OAuthView):
    def post(self, request: Request) -> HttpResponse:
        """200 with an empty body whatever the token is worth (RFC 7009 §2.2); 503 when it could not be revoked."""
        form = read_form(self.http_request)
        sessions.revoke_token(
            host=self.host, origin=self.origin, token=form.get("token", ""), client_id=form.get("client_id")
        )
        response = HttpResponse(status=200, content_type="application/json")
        response.headers["Cache-Control"] = "no-store"
        return response
