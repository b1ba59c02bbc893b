"""allauth's log-in by address, user name or phone number."""

from allauth.account.auth_backends import AuthenticationBackend as AllauthBackend

from anonusers.backends import EndUserMixin

__all__ = ["AuthenticationBackend"]


class AuthenticationBackend(EndUserMixin, AllauthBackend):
    """allauth's own, with the end user. Name it in AUTHENTICATION_BACKENDS in its place."""
