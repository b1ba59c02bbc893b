"""Discovery document (OpenID Connect Discovery 1.0, RFC 8414) and JWK set (RFC 7517)."""

from typing import Any, ClassVar

from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from rest_framework.request import Request

from anonusers.keys import key_ring, last_known_ring
from anonusers.protocols.authgear.base import OAuthView
from anonusers.protocols.authgear.wire import FULL_ACCESS
from anonusers.protocols.base import answer

CACHED = {"Cache-Control": "public, max-age=900"}

# Hosts whose project this process has seen: public documents stay readable while the database is away.
_projects_seen: dict[str, int] = {}


class PublicView(OAuthView):
    public: ClassVar[bool] = True

    def project_id(self) -> int:
        """The project of this host, from memory if the database cannot be asked.

        Raises: UnknownProject.
        """
        try:
            _projects_seen[self.host] = self.project.pk
        except (OperationalError, InterfaceError):
            if self.host not in _projects_seen:
                raise
        return _projects_seen[self.host]


class DiscoveryView(PublicView):
    def get(self, request: Request) -> HttpResponse:
        self.project_id()
        return answer(self.document(), headers=CACHED)

    def document(self) -> dict[str, Any]:
        origin = self.origin
        return {
            "issuer": origin,
            # The SDKs take the origin of their JSON APIs from the authorization endpoint.
            "authorization_endpoint": f"{origin}/oauth2/authorize",
            "token_endpoint": f"{origin}/oauth2/token",
            "userinfo_endpoint": f"{origin}/oauth2/userinfo",
            "revocation_endpoint": f"{origin}/oauth2/revoke",
            "end_session_endpoint": f"{origin}/oauth2/end_session",
            "jwks_uri": f"{origin}/oauth2/jwks",
            "response_types_supported": ["code", "none"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_post", "client_secret_basic"],
            "dpop_signing_alg_values_supported": ["ES256", "RS256"],
            "scopes_supported": ["openid", "offline_access", "profile", "email", "phone", FULL_ACCESS],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "claims_supported": [
                *("iss", "aud", "iat", "exp", "sub", "sid", "auth_time", "amr", "nonce"),
                *("email", "email_verified", "phone_number", "phone_number_verified", "preferred_username"),
                "updated_at",
            ],
            "authorization_response_iss_parameter_supported": True,
            "request_parameter_supported": False,
            "request_uri_parameter_supported": False,
            "claims_parameter_supported": False,
        }


class JWKSView(PublicView):
    def get(self, request: Request) -> HttpResponse:
        project_id = self.project_id()
        try:
            ring = key_ring(self.project)
        except (OperationalError, InterfaceError):
            known = last_known_ring(project_id)
            if known is None:
                raise
            ring = known
        return answer(ring.jwks(), headers=CACHED)
