"""drf-spectacular's description of our authentication classes, in the schema of a host's API. Loaded where
`drf_spectacular` is one of INSTALLED_APPS."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension

from anonusers.conf import conf


class BearerScheme(OpenApiAuthenticationExtension):
    target_class = "anonusers.authentication.BearerAuthentication"
    name = "anonusersBearer"
    match_subclasses = True

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "The access token of a guest or member.",
        }


class CookieScheme(OpenApiAuthenticationExtension):
    target_class = "anonusers.authentication.CookieAuthentication"
    name = "anonusersCookie"
    match_subclasses = True

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        # Who makes the schema may ask from a command, or over http what is for https: both names are told.
        pinned = "" if conf.COOKIE_DOMAIN else f" Over https its name is `__Host-{conf.COOKIE_NAME}`."
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": conf.COOKIE_NAME,
            "description": f"The session cookie of a guest or member.{pinned} Unsafe methods must come from an origin "
            "of the project.",
        }
