"""`local-userpass`: register an address, confirm it, set a new password, log in, link.

Clients send the current user's token along with all of these. It counts for a link only; and none but a login answers
401, on which they would ask for new tokens and repeat the request without end.
"""

from django.http import HttpResponse
from django.urls import reverse
from rest_framework.request import Request

from anonusers import credentials, registrations
from anonusers.models import Project
from anonusers.protocols.base import answer
from anonusers.protocols.errors import BadRequest
from anonusers.protocols.realm import wire
from anonusers.protocols.realm.base import LoginView, RealmView
from anonusers.registrations import Link


class UserpassView(RealmView):
    def project_of(self, app_id: str) -> Project:
        """Raises: UnknownApplication, UntrustedOrigin, ProviderDisabled."""
        project = self.app(app_id).project
        registrations.demand_enabled(project)
        return project

    @property
    def ip(self) -> str:
        return credentials.address_of(self.http_request)

    def confirmation_link(self, project: Project) -> Link | None:
        return wire.link_to(project.realm_confirmation_url)

    def reset_link(self, project: Project) -> Link | None:
        return wire.link_to(project.realm_reset_url)

    def hosted_reset_link(self, secret: str) -> str:
        return f"{self.origin}{reverse('anonusers:pages:reset', args=[secret])}"


class RegisterView(UserpassView):
    def post(self, request: Request, app_id: str) -> HttpResponse:
        project = self.project_of(app_id)
        email, password = wire.parse_strings(self.body(), "email", "password")
        registrations.register(
            project=project, email=email, password=password, link=self.confirmation_link(project), ip=self.ip
        )
        return answer({}, status=201)


class ConfirmView(UserpassView):
    def post(self, request: Request, app_id: str) -> HttpResponse:
        project = self.project_of(app_id)
        registrations.confirm(project=project, secret=wire.parse_token(self.body()))
        return answer({})


class SendConfirmationView(UserpassView):
    def post(self, request: Request, app_id: str) -> HttpResponse:
        """The same for an address that nobody registered."""
        project = self.project_of(app_id)
        (email,) = wire.parse_strings(self.body(), "email")
        registrations.send_confirmation(project=project, email=email, link=self.confirmation_link(project), ip=self.ip)
        return answer({}, status=202)


class CallConfirmationView(UserpassView):
    def post(self, request: Request, app_id: str) -> HttpResponse:
        """There is no function of the app's that could confirm anybody."""
        project = self.project_of(app_id)
        (email,) = wire.parse_strings(self.body(), "email")
        registrations.demand_unconfirmed(project=project, email=email, ip=self.ip)
        raise BadRequest(wire.confirms_by_itself(email) if project.realm_auto_confirm else wire.BY_MAIL_ONLY)


class ResetView(UserpassView):
    def post(self, request: Request, app_id: str) -> HttpResponse:
        project = self.project_of(app_id)
        body = self.body()
        secret = wire.parse_token(body)
        (password,) = wire.parse_strings(body, "password")
        registrations.reset(project=project, secret=secret, password=password, ip=self.ip)
        return answer({})


class SendResetView(UserpassView):
    def post(self, request: Request, app_id: str) -> HttpResponse:
        """The same for an address that nobody has."""
        project = self.project_of(app_id)
        (email,) = wire.parse_strings(self.body(), "email")
        registrations.send_reset(
            project=project,
            email=email,
            link=self.reset_link(project),
            hosted_link=self.hosted_reset_link,
            ip=self.ip,
        )
        return answer({}, status=202)


class CallResetView(UserpassView):
    def post(self, request: Request, app_id: str) -> HttpResponse:
        """There is no function of the app's that could set a password."""
        self.project_of(app_id)
        raise BadRequest(wire.BY_MAIL_ONLY)


class UserpassLoginView(LoginView):
    def post(self, request: Request, app_id: str) -> HttpResponse:
        application = self.app(app_id)
        self.linking = self.http_request.GET.get("link") == "true"
        if self.linking:
            return self.link(app_id)
        body = self.body()
        text, password = wire.parse_strings(body, "username", "password")
        end_user = registrations.log_in(
            project=application.project,
            application=application,
            text=text,
            password=password,
            ip=credentials.address_of(self.http_request),
        )
        return self.log_in(end_user, application, wire.parse_device(body), amr="pwd")

    def link(self, app_id: str) -> HttpResponse:
        """The session goes on, with its refresh token. What is answered has none."""
        presented = self.presented(app_id)
        session, body = presented.session, self.body()
        text, password = wire.parse_strings(body, "username", "password")
        linked = registrations.link(
            session=session,
            application=session.token_settings,
            text=text,
            password=password,
            ip=credentials.address_of(self.http_request),
        )
        device_id = wire.parse_device(body).id
        if device_id == wire.NO_DEVICE:
            device_id = wire.device_id_of(presented.claims)
        token = self.access_token(session, device_id)
        return answer(wire.render_login(access_token=token, user_id=self.user_id(linked), device_id=device_id))
