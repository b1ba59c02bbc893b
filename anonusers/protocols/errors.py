"""What can be wrong with a request before it reaches the domain. Each door has words for these, too."""

from dataclasses import dataclass
from typing import Any

from anonusers.errors import AnonUsersError


class BadRequest(AnonUsersError):
    """The request is malformed."""

    code = "bad_request"


class ContentTypeRefused(AnonUsersError):
    """The content type of the request is not the one that this endpoint reads."""

    code = "content_type_refused"


class MalformedJSON(AnonUsersError):
    """The body is not valid JSON."""

    code = "malformed_json"

    def __init__(self, byte_offset: int = 0) -> None:
        super().__init__()
        self.byte_offset = byte_offset


@dataclass(frozen=True)
class Cause:
    """`pointer` is a JSON pointer (RFC 6901); `kind` is required, type, enum or general."""

    pointer: str
    kind: str
    detail: str
    info: Any = None


class ValidationFailed(AnonUsersError):
    """The request body is invalid."""

    code = "validation_failed"

    def __init__(self, causes: list[Cause]) -> None:
        super().__init__()
        self.causes = causes


class BodyTooLarge(AnonUsersError):
    """The body of the request is too large."""

    code = "body_too_large"


class EndpointNotFound(AnonUsersError):
    """There is no such endpoint."""

    code = "endpoint_not_found"


class MethodRefused(AnonUsersError):
    """This method is not allowed here."""

    code = "method_refused"

    def __init__(self, allowed: list[str]) -> None:
        super().__init__()
        self.allowed = allowed


class UntrustedOrigin(AnonUsersError):
    """This request comes from a site that is not allowed to use the session cookie."""

    code = "untrusted_origin"


class UnsupportedGrantType(AnonUsersError):
    """This grant type is not supported."""

    code = "unsupported_grant_type"


class ServiceUnavailable(AnonUsersError):
    """The service is unavailable for a moment. Nothing is wrong with the request; try again."""

    code = "service_unavailable"
    retry_after = 5  # seconds


class Unexpected(AnonUsersError):
    """Something went wrong on our side."""

    code = "unexpected"

    def __init__(self, tracking_id: str) -> None:
        super().__init__()
        self.tracking_id = tracking_id


class RefreshTokenRefused(AnonUsersError):
    """The refresh token is not valid (any more)."""

    code = "refresh_token_refused"

    def __init__(self, message: str | None = None, *, session_is_gone: bool = False) -> None:
        super().__init__(message)
        self.session_is_gone = session_is_gone


class AuthorizationCodeRefused(AnonUsersError):
    """The authorization code is not valid (any more)."""

    code = "authorization_code_refused"


class ApplicationMismatch(AnonUsersError):
    """The token belongs to another application than the one that was named."""

    code = "application_mismatch"


class FunctionNotFound(AnonUsersError):
    """There is no such function."""

    code = "function_not_found"
