"""People of an app. Deeds go through the portal's own use cases, and into the same audit log."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse

from anonusers.administration import delete_user, disable_user, enable_user, end_sessions
from anonusers.errors import InvalidToken, MigrationNotFinished, UserDisabled
from anonusers.models import EndUser
from anonusers.pending_users import create_user
from anonusers.realm_sessions import find_by_realm_access_token
from anonusers.statements import EXPIRED
from portal.realm import application_of
from portal.realm_admin.users import devices_of, find_user, list_users, read_query, render_user
from portal.realm_admin.views import AppView
from portal.realm_admin.wire import answer, invalid_session, not_found, read_object, text_in

REASON = "Admin API"


class UsersView(AppView):
    """Fifty users a page."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return answer(list_users(self.project, read_query(request.GET)))

    def post(self, request: HttpRequest) -> HttpResponse:
        sent = read_object(request)
        email, password = text_in(sent, "email"), text_in(sent, "password")
        application = application_of(self.project)
        if application is None:
            raise not_found("application of this app", "NotFound")
        with transaction.atomic():
            person = create_user(project=self.project, application=application, email=email, password=password)
            self.record("users", "user.created_with_address", end_user_id=person.pk)
        return answer(render_user(self.project, person), HTTPStatus.CREATED)


class UserView(AppView):
    """One user."""

    def get(self, request: HttpRequest, user_id: str) -> HttpResponse:
        return answer(render_user(self.project, find_user(self.project, user_id)))

    def delete(self, request: HttpRequest, user_id: str) -> HttpResponse:
        person = find_user(self.project, user_id)
        with transaction.atomic():
            erasure = delete_user(end_user=person)
            self.record("users", "user.deleted", end_user_id=person.pk, changes={"removed": erasure.removed})
        return answer()


class DevicesView(AppView):
    """Where a user is signed in."""

    def get(self, request: HttpRequest, user_id: str) -> HttpResponse:
        return answer(devices_of(find_user(self.project, user_id)))


class UserDeedView(AppView):
    """What is done to a user with PUT, without a body. What is so already is no error."""

    deed: str = ""

    def put(self, request: HttpRequest, user_id: str) -> HttpResponse:
        person = find_user(self.project, user_id)
        deeds: dict[str, Callable[[EndUser], None]] = {
            "disable": self.disable,
            "enable": self.enable,
            "logout": self.log_out,
        }
        with transaction.atomic():
            deeds[self.deed](person)
        return answer()

    def disable(self, person: EndUser) -> None:
        if disable_user(end_user=person):
            self.record("users", "user.disabled", end_user_id=person.pk, changes={"reason": REASON})

    def enable(self, person: EndUser) -> None:
        if enable_user(end_user=person):
            self.record("users", "user.enabled", end_user_id=person.pk)

    def log_out(self, person: EndUser) -> None:
        number = end_sessions(end_user=person)
        self.record("users", "sessions.revoked", end_user_id=person.pk, changes={"sessions": number})


class VerifyTokenView(AppView):
    """What an access token of one of the app's users says, for a server that would rather ask than verify. It changes
    nothing, so viewers may ask."""

    writes_as = "viewer"

    def post(self, request: HttpRequest) -> HttpResponse:
        token = text_in(read_object(request), "token", most=10_000)
        try:
            presented = find_by_realm_access_token(token)
        except InvalidToken as error:
            if error.message == EXPIRED:
                return answer("token expired")
            raise invalid_session() from None
        except (MigrationNotFinished, UserDisabled):
            raise invalid_session() from None
        if presented.session.project_id != self.project.pk:
            raise invalid_session()
        return answer(claims_of(presented.claims))


CLAIMS = {
    "sub": "sub",
    "iat": "iat",
    "exp": "exp",
    "iss": "iss",
    "baas_domain_id": "domain_id",
    "baas_device_id": "device_id",
    "user_data": "custom_user_data",
}
"""Claim → what the API calls it."""


def claims_of(claims: Mapping[str, Any]) -> dict[str, Any]:
    return {name: claims[claim] for claim, name in CLAIMS.items() if claim in claims}
