"""What can be wrong, in the words of the domain. Doors translate; nothing here knows HTTP.

`code` is stable. The docstring is the default message.
"""

from typing import Any


class AnonUsersError(Exception):
    """Something is wrong."""

    code = "error"

    def __init__(self, message: str | None = None) -> None:
        self.message = message or " ".join((type(self).__doc__ or "").split())
        super().__init__(self.message)


class AnonymousUsersDisabled(AnonUsersError):
    """Anonymous users are disabled in this project."""

    code = "anonymous_users_disabled"


class PublicSignupDisabled(AnonUsersError):
    """Public sign-up is disabled."""

    code = "public_signup_disabled"


class SignupVetoed(AnonUsersError):
    """The host application refused this sign-up."""

    code = "signup_vetoed"

    def __init__(self, title: str = "", reason: str = "") -> None:
        super().__init__(reason or None)
        self.title, self.reason = title, reason


class RateLimited(AnonUsersError):
    """Too many requests. Try again later."""

    code = "rate_limited"

    def __init__(self, budget: str, retry_after: int) -> None:
        super().__init__()
        self.budget = budget
        self.retry_after = retry_after  # seconds


class BotCheckRequired(RateLimited):
    """Many guests come from your network. Solve the challenge, and send the solution along as `bot_check`."""

    code = "bot_check_required"

    def __init__(self, challenge: dict[str, Any], retry_after: int) -> None:
        super().__init__("signup_bot_check", retry_after)  # from when on it goes without
        self.challenge = challenge


class UnknownProject(AnonUsersError):
    """No project lives at this host."""

    code = "unknown_project"


class UnknownApplication(AnonUsersError):
    """There is no application with this client ID."""

    code = "unknown_application"


class ApplicationTypeNotAllowed(AnonUsersError):
    """Anonymous users are not supported for this type of application. Use a single-page, traditional web or
    native application instead."""

    code = "application_type_not_allowed"


class ClientSecretRequired(AnonUsersError):
    """This application must authenticate with its client secret."""

    code = "client_secret_required"


class ClientSecretWrong(AnonUsersError):
    """The client secret is wrong."""

    code = "client_secret_wrong"


class UserIsRegular(AnonUsersError):
    """The user is already signed in as a regular user."""

    code = "user_is_regular"


class InvalidToken(AnonUsersError):
    """The token is not valid (any more)."""

    code = "invalid_token"


class ScopeTooWide(AnonUsersError):
    """The requested scope is wider than what was granted."""

    code = "scope_too_wide"


class NotSignedIn(AnonUsersError):
    """There is no valid session."""

    code = "not_signed_in"


class UnknownSession(AnonUsersError):
    """There is no such session."""

    code = "unknown_session"


class IdempotencyKeyReused(AnonUsersError):
    """This Idempotency-Key was used with a different request."""

    code = "idempotency_key_reused"


class IdempotencyKeySpent(AnonUsersError):
    """The session that this Idempotency-Key created has moved on or ended; its first answer is worthless now."""

    code = "idempotency_key_spent"


class SealBroken(AnonUsersError):
    """A sealed secret cannot be opened with the configured encryption keys."""

    code = "seal_broken"


class InvalidLoginID(AnonUsersError):
    """This is not a valid login ID."""

    code = "invalid_login_id"
    SAYS = {
        "email": "This is not an e-mail address we can send to.",
        "phone": "This is not a phone number. Write it with the country code, like +49 30 1234567.",
        "username": "A user name has 3 to 40 letters, digits, dots, hyphens or underscores.",
    }

    def __init__(self, type: str = "", message: str | None = None) -> None:
        super().__init__(message or self.SAYS.get(type))
        self.type = type


class LoginIDNotAllowed(AnonUsersError):
    """This kind of login ID is not used here."""

    code = "login_id_not_allowed"


class LoginIDTaken(AnonUsersError):
    """Somebody uses this login ID already."""

    code = "login_id_taken"


class WeakPassword(AnonUsersError):
    """This password is too easy to guess."""

    code = "weak_password"

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(" ".join(reasons) or None)
        self.reasons = reasons


class PasswordLength(WeakPassword):
    """The password must have between 6 and 128 characters."""

    code = "password_length"

    def __init__(self) -> None:
        super().__init__([" ".join((type(self).__doc__ or "").split())])


class CodeWrong(AnonUsersError):
    """This code is not right."""

    code = "code_wrong"

    def __init__(self, tries_left: int) -> None:
        super().__init__()
        self.tries_left = tries_left


class CodeExpired(AnonUsersError):
    """This code is not valid any more. Ask for a new one."""

    code = "code_expired"


class CodeNotSent(AnonUsersError):
    """The code could not be sent. Nothing was lost; try again in a moment."""

    code = "code_not_sent"


class FlowGone(AnonUsersError):
    """This step is not valid any more: it has expired, was done, or belongs to somebody else. Start again."""

    code = "flow_gone"


class GuestGone(InvalidToken):
    """This account is gone: it was deleted, or disabled just now. Sign up to start afresh."""

    code = "guest_gone"


class UserDisabled(AnonUsersError):
    """This account is disabled."""

    code = "user_disabled"


class CredentialsWrong(AnonUsersError):
    """The login ID or the password is wrong."""

    code = "credentials_wrong"


class Busy(AnonUsersError):
    """Too much is going on at once. Try again in a moment."""

    code = "busy"
    retry_after = 2  # seconds


class KeyProofRefused(AnonUsersError):
    """The signed request, its key or its challenge is not valid."""

    code = "key_proof_refused"


class KeyTaken(AnonUsersError):
    """This device key cannot be added: it, or its ID, is in use or was used before."""

    code = "key_taken"


class KeyExists(AnonUsersError):
    """This guest has a device key already. A recovery code moves the guest to a new device."""

    code = "key_exists"


class UnknownKey(AnonUsersError):
    """This guest has no such device key."""

    code = "unknown_key"


class RecoveryCodeWrong(AnonUsersError):
    """This recovery code is not valid (any more)."""

    code = "recovery_code_wrong"


class DPoPProofRefused(AnonUsersError):
    """The DPoP proof is missing, not valid, or was made with another key."""

    code = "dpop_proof_refused"


class ProviderDisabled(AnonUsersError):
    """There is no such way to sign in here."""

    code = "provider_disabled"


class RegistrationUnconfirmed(AnonUsersError):
    """This address was not confirmed yet. Follow the link in the mail first."""

    code = "registration_unconfirmed"


class AlreadyConfirmed(AnonUsersError):
    """This address is confirmed already."""

    code = "already_confirmed"


class LinkNotConfigured(AnonUsersError):
    """This project has no page that a link in a mail could lead to."""

    code = "link_not_configured"


class GuestNotAllowed(AnonUsersError):
    """A guest cannot do this. Keep the account first."""

    code = "guest_not_allowed"


class ApiKeyWrong(AnonUsersError):
    """There is no such API key, or it is disabled."""

    code = "api_key_wrong"


class ApiKeyRefused(AnonUsersError):
    """This API key cannot be made."""

    code = "api_key_refused"


class ApiKeyTaken(AnonUsersError):
    """There is an API key of this name already."""

    code = "api_key_taken"


class MigrationNotFinished(AnonUsersError):
    """These accounts are still being moved here. Try again later; nothing is lost."""

    code = "migration_not_finished"
    retry_after = 300  # seconds


class InvalidProjectFile(AnonUsersError):
    """The project file is not valid."""

    code = "invalid_project_file"


class InvalidRealmFiles(AnonUsersError):
    """The app directory is not valid."""

    code = "invalid_realm_files"


class CleanupRefused(AnonUsersError):
    """The clean-up cannot run: it is not declared what becomes of the host's data."""

    code = "cleanup_refused"


class ErasureForbidden(AnonUsersError):
    """This person cannot be erased: the host application holds on to them."""

    code = "erasure_forbidden"


def all_errors() -> "list[type[AnonUsersError]]":
    """Every error class of the domain, for the tables of the doors and their test. A host's own kinds are not told."""
    found: list[type[AnonUsersError]] = []
    queue: list[Any] = [AnonUsersError]
    while queue:
        cls = queue.pop()
        if cls.__module__.partition(".")[0] == __name__.partition(".")[0]:
            found.append(cls)
        queue.extend(cls.__subclasses__())
    return found
