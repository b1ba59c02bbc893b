"""Settings of an app: its providers, where it may be used from, how long its sessions last."""

from http import HTTPStatus
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse

from anonusers.models.projects import LIFETIME_MAX, validate_origin
from anonusers.realm_files import directory_of
from portal.access import Role
from portal.models import Draft
from portal.realm import application_of
from portal.realm_admin.providers import change, create_provider, delete_provider, find_provider, list_providers
from portal.realm_admin.views import AppView
from portal.realm_admin.wire import answer, bad_request, not_found, read, read_object
from portal.realm_import import change_settings
from portal.review import overlay

ORIGINS_MAX = 100
EXPIRATION_MIN = 1800


class ProvidersView(AppView):
    """All providers, and a new one."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return answer(list_providers(self.project))

    def post(self, request: HttpRequest) -> HttpResponse:
        made = create_provider(self.project, read_object(request), actor=self.operator)
        return answer(made, HTTPStatus.CREATED)


class ProviderView(AppView):
    """One provider."""

    def get(self, request: HttpRequest, provider_id: str) -> HttpResponse:
        return answer(find_provider(self.project, provider_id))

    def patch(self, request: HttpRequest, provider_id: str) -> HttpResponse:
        change(self.project, provider_id, read_object(request), actor=self.operator)
        return answer()

    def delete(self, request: HttpRequest, provider_id: str) -> HttpResponse:
        delete_provider(self.project, provider_id, actor=self.operator)
        return answer()


class ProviderSwitchView(AppView):
    """Turns a provider on or off."""

    disabled: bool = False

    def put(self, request: HttpRequest, provider_id: str) -> HttpResponse:
        change(self.project, provider_id, {"disabled": self.disabled}, actor=self.operator)
        return answer()


class OriginsView(AppView):
    """Web pages that may use the app: the owners', as in the portal."""

    writes_as = Role.OWNER

    def get(self, request: HttpRequest) -> HttpResponse:
        return answer(list(self.project.allowed_origins))

    def post(self, request: HttpRequest) -> HttpResponse:
        wanted = read(request)
        if not isinstance(wanted, list) or not all(isinstance(one, str) for one in wanted):
            raise bad_request("this must be a list of texts", "InvalidParameter")
        if len(wanted) > ORIGINS_MAX:
            raise bad_request(f"list at most {ORIGINS_MAX} origins", "InvalidParameter")
        for origin in wanted:
            _demand_origin(origin)
        origins = list(dict.fromkeys(wanted))
        change_settings(self.project, {"allowed_origins": origins}, actor=self.operator)
        return answer()


def _demand_origin(origin: str) -> None:
    try:
        validate_origin(origin)
    except ValidationError as error:
        raise bad_request(f"{origin[:100]}: {' '.join(error.messages)}", "InvalidParameter") from None


class ExpirationView(AppView):
    """How long a session lasts that nobody ends."""

    def get(self, request: HttpRequest) -> HttpResponse:
        row = overlay(self.application(), Draft.objects.filter(project=self.project).first())
        return answer({"expiration_time_seconds": row.refresh_token_lifetime})

    def put(self, request: HttpRequest) -> HttpResponse:
        seconds: Any = read_object(request).get("expiration_time_seconds")
        application = self.application()
        least = max(EXPIRATION_MIN, application.access_token_lifetime)
        if type(seconds) is not int or not least <= seconds <= LIFETIME_MAX:
            words = f"expiration_time_seconds must be a number from {least} to {LIFETIME_MAX}"
            raise bad_request(words, "InvalidParameter")
        change_settings(self.project, {"refresh_token_lifetime": seconds}, actor=self.operator, application=application)
        return answer()

    def application(self) -> Any:
        application = application_of(self.project)
        if application is None:
            raise not_found("application of this app", "NotFound")
        return application


class CustomUserDataView(AppView):
    """This server has none: what an import said of it is kept, and nothing else can be turned on."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return answer({"enabled": False, **(directory_of(self.project).custom_user_data or {})})

    def patch(self, request: HttpRequest) -> HttpResponse:
        if read_object(request).get("enabled", False) is not False:
            raise bad_request("custom user data is not supported by this server")
        return answer()
