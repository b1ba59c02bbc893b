"""A host whose API verifies our access tokens with djangorestframework-simplejwt, by settings alone."""

from tests.hosts.base_settings import *  # noqa: F403
from tests.hosts.base_settings import INSTALLED_APPS, database

ROOT_URLCONF = "tests.hosts.jwt_verifier.urls"
INSTALLED_APPS = [*INSTALLED_APPS, "tests.hosts.notes"]
DATABASES = {"default": database("verifier")}
ANONUSERS_GUEST_DATA = {"notes.Note.author": "keep"}
ANONUSERS_ISSUER = ORIGIN = "http://localhost:8765"
SIMPLE_JWT = {
    "ALGORITHM": "ES256",
    "JWK_URL": f"{ORIGIN}/oauth2/jwks",
    "ISSUER": ORIGIN,
    # Without it an ID token, which is meant for the client, would pass for an access token.
    "AUDIENCE": ORIGIN,
    "USER_ID_CLAIM": "sub",
    "USER_ID_FIELD": "end_user",
    "TOKEN_TYPE_CLAIM": None,
    "AUTH_TOKEN_CLASSES": ["rest_framework_simplejwt.tokens.UntypedToken"],
}
