"""What the doors of all wires share: finding project and application, and turning every failure into their dialect."""

import json
import logging
import secrets
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from django.core.exceptions import BadRequest as DjangoBadRequest
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation, TooManyFieldsSent
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework import exceptions
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.views import APIView

from anonusers import credentials
from anonusers.dpop import DPoPProof
from anonusers.errors import AnonUsersError, DPoPProofRefused, SealBroken, UnknownApplication, UnknownProject
from anonusers.models import Application, Project, Session, application_at, project_at
from anonusers.protocols import cors
from anonusers.protocols.errors import (
    BadRequest,
    BodyTooLarge,
    EndpointNotFound,
    MethodRefused,
    ServiceUnavailable,
    Unexpected,
    UntrustedOrigin,
)

logger = logging.getLogger("anonusers.requests")

encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def answer(
    data: Any,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> HttpResponse:
    """A JSON answer that nobody caches. Made by hand: DRF's negotiation costs more than all the rest of a view."""
    response = HttpResponse(encode(data), status=status, content_type=content_type)
    response.headers["Cache-Control"] = "no-store"
    for name, value in (headers or {}).items():
        response.headers[name] = value
    return response


class NoNegotiation(BaseContentNegotiation):
    """There is one representation, whatever Accept says."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        return None

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        return None, ""


class ProtocolView(APIView):
    """Base of every view of every door.

    A door gives `render_error`; a view that reads a public document sets `public`.
    """

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    parser_classes = ()
    renderer_classes = ()
    content_negotiation_class = NoNegotiation

    public: ClassVar[bool] = False

    def render_error(self, error: AnonUsersError) -> HttpResponse:
        raise NotImplementedError

    # --- what the request is about ---

    @property
    def http_request(self) -> HttpRequest:
        return getattr(self.request, "_request", self.request)

    @cached_property
    def host(self) -> str:
        return self.http_request.get_host()

    @cached_property
    def origin(self) -> str:
        return credentials.origin_of(self.http_request)

    @cached_property
    def project(self) -> Project:
        """The project of the request's host: one statement, unless an application or a session brought it.

        Raises: UnknownProject.
        """
        project = project_at(self.host)
        if project is None:
            raise UnknownProject
        return project

    def application(self, client_id: str) -> Application:
        """The application with this client ID at the request's host, with its project: one statement.

        Raises: UnknownApplication.
        """
        application = application_at(self.host, client_id=client_id)
        # MariaDB compares without regard to case.
        if application is None or application.client_id != client_id:
            raise UnknownApplication
        self.project = application.project
        return application

    def session(self, *, bearer: bool = True, cookie: bool = True) -> Session | None:
        """The live session that the request presents: by bearer token first, then by cookie."""
        session = credentials.bearer_session(self.http_request) if bearer else None
        if session is None and cookie:
            session = credentials.cookie_session(self.http_request)
        if session is not None:
            self.project = session.project
        return session

    @cached_property
    def _dpop_proof(self) -> DPoPProof | DPoPProofRefused | None:
        return credentials.dpop_proof(self.http_request)

    def dpop_proof(self) -> DPoPProof | DPoPProofRefused | None:
        """The proof that came with the request, or what is to be said of it; None where the client sent none."""
        return self._dpop_proof

    def dpop_jkt(self, application: Application) -> str:
        """The key that new tokens are bound to, empty where the client sent no proof.

        Raises: DPoPProofRefused.
        """
        proof = self.dpop_proof() if application.dpop_enabled else None
        if isinstance(proof, DPoPProofRefused):
            raise proof
        return proof.thumbprint if proof else ""

    def dpop_jti(self) -> str:
        proof = self.dpop_proof()
        return proof.jti if isinstance(proof, DPoPProof) else ""

    def demand_trusted_origin(self) -> None:
        """Before something happens on the strength of a cookie.

        Raises: UntrustedOrigin.
        """
        if not credentials.is_trusted_origin(self.http_request, self.project):
            raise UntrustedOrigin

    # --- the frame ---

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """No negotiation, authentication or throttling by DRF: the door does what its wire says."""

    def options(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:  # type: ignore[override]
        response = HttpResponse(status=200)
        del response.headers["Content-Type"]  # there is no content
        return response

    def http_method_not_allowed(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:  # type: ignore[override]
        raise MethodRefused(sorted(self.allowed_methods))

    def handle_exception(self, exc: Exception) -> HttpResponse:  # type: ignore[override]
        error = self.translate(exc)
        response = self.render_error(error)
        if isinstance(error, MethodRefused):
            response.headers["Allow"] = ", ".join(error.allowed)
        retry_after = getattr(error, "retry_after", None)
        if retry_after is not None:
            response.headers["Retry-After"] = str(retry_after)
        return response

    def translate(self, exc: Exception) -> AnonUsersError:
        """Any exception as an error that the door has words for. What we did not expect is logged, not told."""
        match exc:
            case SealBroken():
                pass  # the operator's business: to be logged below
            case AnonUsersError():
                return exc
            case Http404() | exceptions.NotFound():
                return EndpointNotFound()
            case RequestDataTooBig():
                return BodyTooLarge()
            case TooManyFieldsSent() | SuspiciousOperation() | DjangoBadRequest() | exceptions.ParseError():
                return BadRequest()
            case OperationalError() | InterfaceError():
                # INV9: a fault of ours never reads as "your token is invalid", on which SDKs wipe the guest.
                logger.exception("the database is away")
                return ServiceUnavailable()
        tracking_id = secrets.token_hex(8)
        logger.exception("unexpected error %s", tracking_id)
        return Unexpected(tracking_id)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        if response.status_code < 500:
            # Expected answers: Django's WARNING per 4xx would only bury what matters.
            response._has_been_logged = True
        self.allow_origin(response)
        return response

    def allow_origin(self, response: Any) -> None:
        """Say which pages may read the answer."""
        if self.public:
            cors.allow_all(self.http_request, response)
        else:
            cors.allow_listed(self.http_request, response, self._project_if_needed())

    def _project_if_needed(self) -> Project | None:
        if "Origin" not in self.http_request.headers:
            return None
        try:
            return self.project
        except (UnknownProject, DatabaseError, InterfaceError, SuspiciousOperation):
            return None
