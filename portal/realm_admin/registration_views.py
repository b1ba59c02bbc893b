"""Addresses that were registered and nobody has logged in with."""

from http import HTTPStatus

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from anonusers import pending_users, registrations
from anonusers.credentials import address_of, origin_of
from anonusers.errors import AlreadyConfirmed
from anonusers.login_ids import EMAIL
from anonusers.models import LoginID
from anonusers.protocols.realm.wire import link_to
from portal.realm_admin.users import find_registration, find_user, list_pending
from portal.realm_admin.views import AppView
from portal.realm_admin.wire import answer, bad_request, not_found, without_nul


class PendingView(AppView):
    """Those who have not confirmed their address."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return answer(list_pending(self.project, without_nul(request.GET.get("after", ""))))


class RegistrationView(AppView):
    """Forgets one."""

    def delete(self, request: HttpRequest, email: str) -> HttpResponse:
        row = find_registration(self.project, email)
        with transaction.atomic():
            if not pending_users.remove(row):
                raise not_found("user", "UserNotFound")
            self.record("users", "registration.removed", target=f"registration:{row.object_id}")
        return answer()


class ConfirmView(AppView):
    """An operator vouches for an address."""

    def post(self, request: HttpRequest, email: str) -> HttpResponse:
        row = find_registration(self.project, email)
        with transaction.atomic():
            if not pending_users.confirm(row):
                raise AlreadyConfirmed
            self.record("users", "registration.confirmed", target=f"registration:{row.object_id}")
        return answer()


class RunConfirmView(AppView):
    """There is no function of the app's that could be run."""

    def post(self, request: HttpRequest, email: str) -> HttpResponse:
        find_registration(self.project, email)
        raise bad_request("confirmation functions are not supported by this server")


class SendConfirmView(AppView):
    """The mail once more. What it leads to stays between the mail and its reader: it proves that they read it."""

    def post(self, request: HttpRequest, email: str) -> HttpResponse:
        row = find_registration(self.project, email)
        link = link_to(self.project.realm_confirmation_url)
        registrations.send_confirmation(project=self.project, email=row.email, link=link, ip=address_of(request))
        self.record("users", "registration.mailed", target=f"registration:{row.object_id}")
        return answer({"token": "", "token_id": row.object_id}, HTTPStatus.OK)


class ResetEmailView(AppView):
    """A mail with which a user sets a new password."""

    def patch(self, request: HttpRequest, user_id: str) -> HttpResponse:
        person = find_user(self.project, user_id)
        address = LoginID.objects.filter(end_user=person, type=EMAIL).order_by("created_at", "pk").first()
        if address is None:
            raise bad_request("this user has no e-mail address")
        registrations.send_reset(
            project=self.project,
            email=address.value,
            link=link_to(self.project.realm_reset_url),
            hosted_link=lambda secret: f"{origin_of(request)}{reverse('anonusers:pages:reset', args=[secret])}",
            ip=address_of(request),
        )
        self.record("users", "user.reset_mailed", end_user_id=person.pk)
        return answer()
