"""What the Admin API's views share: an operator by bearer token, an app of theirs, a role, and refusals as JSON.

No cookie is looked at, so no CSRF check is of use, and no other site's page may read anything: there is no CORS.
"""

import logging
from http import HTTPStatus
from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation, ValidationError
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from anonusers.audit import record
from anonusers.credentials import bearer_token
from anonusers.errors import AnonUsersError, InvalidToken, RateLimited
from anonusers.models import AuditEvent, Project
from portal.access import Role, allows, role_in
from portal.models import OperatorToken
from portal.operator_tokens import find_by_access_token
from portal.realm_admin import drafts
from portal.realm_admin.apps import find_app
from portal.realm_admin.wire import Refusal, answer, invalid_session, not_found, refusal_of, refuse, without_nul
from portal.review import Refused

logger = logging.getLogger("anonusers.requests")

VERSION = "3.0"
WRITES = frozenset(("POST", "PUT", "PATCH", "DELETE"))


@method_decorator(csrf_exempt, name="dispatch")
class ApiView(View):
    """Every failure is JSON."""

    # No OPTIONS: nobody's browser is told that it may send anything.
    http_method_names = ["get", "head", "post", "put", "patch", "delete"]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return self.enter(request, *args, **{name: without_nul(value) for name, value in kwargs.items()})
        except Refusal as refusal:
            return refuse(refusal)
        except AnonUsersError as error:
            response = refuse(refusal_of(error))
            if isinstance(error, RateLimited):
                response.headers["Retry-After"] = str(error.retry_after)
            return response
        except ValidationError as error:
            return refuse(Refusal(HTTPStatus.BAD_REQUEST, "InvalidParameter", " ".join(error.messages)))
        except PermissionDenied as error:
            return refuse(Refusal(HTTPStatus.FORBIDDEN, "Forbidden", str(error) or "this is not allowed"))
        except Refused as refused:
            return refuse(drafts.refusal_of(refused))
        except Http404:
            return refuse(not_found("resource", "NotFound"))
        except (RequestDataTooBig, SuspiciousOperation):
            return refuse(Refusal(HTTPStatus.BAD_REQUEST, "BadRequest", "the request is not valid"))
        except (DatabaseError, InterfaceError):
            logger.exception("the database is away")
            return refuse(Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "InternalServerError", "try again in a moment"))
        except Exception:
            logger.exception("unexpected error in the Admin API")
            return refuse(Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalServerError", "internal server error"))

    def enter(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The request of anybody."""
        return super().dispatch(request, *args, **kwargs)

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = refuse(Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "BadRequest", "method not allowed"))
        spoken = [name.upper() for name in self.http_method_names if hasattr(self, name)]
        response.headers["Allow"] = ", ".join(spoken)
        return response


class OperatorView(ApiView):
    """A route for operators."""

    token: OperatorToken
    operator: Any

    def enter(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        bearer = bearer_token(request)
        if bearer is None:
            raise Refusal(HTTPStatus.UNAUTHORIZED, "MissingAuthReq", "must provide a bearer token")
        try:
            self.token = find_by_access_token(bearer)
        except InvalidToken:
            raise invalid_session() from None
        self.operator = self.token.user
        return super().enter(request, *args, **self.prepare(**kwargs))

    def prepare(self, **kwargs: Any) -> dict[str, Any]:
        """Find what the route is about. Returns: what is left of its arguments. Raises: Refusal"""
        return kwargs


class AppView(OperatorView):
    """A route of one app. What the operator may not see is as what does not exist."""

    project: Project
    role: str
    writes_as: ClassVar[str] = Role.EDITOR

    def prepare(self, **kwargs: Any) -> dict[str, Any]:
        self.project = find_app(self.operator, group_id=kwargs.pop("group_id"), app_id=kwargs.pop("app_id"))
        self.role = role_in(self.operator, self.project) or ""
        if self.request.method in WRITES and not allows(self.role, self.writes_as):
            raise Refusal(HTTPStatus.FORBIDDEN, "Forbidden", "your role in this project does not allow this")
        return kwargs

    def record(self, category: str, type: str, **facts: Any) -> AuditEvent:
        """Write to the audit log what the operator did. Call it in the transaction of the deed."""
        return record(category, type, project=self.project, actor=self.operator, **facts)


class NothingView(ApiView):
    """Whatever this server does not have: functions, values, triggers, hosting …"""

    def enter(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        raise Refusal(HTTPStatus.NOT_FOUND, "NotFound", "this server has no such resource")


class VersionView(ApiView):
    """What realm-cli asks to know whether anybody is there."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return answer({"version": VERSION})
