"""`api-key`: keys of a regular user, made with the refresh token, and the login with one."""

from django.http import HttpResponse
from rest_framework.request import Request

from anonusers import api_keys, credentials
from anonusers.errors import ProviderDisabled
from anonusers.models import ApiKey, EndUser, Project
from anonusers.protocols.base import answer
from anonusers.protocols.errors import BadRequest
from anonusers.protocols.realm import wire
from anonusers.protocols.realm.base import LoginView, RealmView, no_content
from anonusers.realm_users import API_KEY, is_provider_disabled


def demand_api_keys(project: Project) -> None:
    """Raises: ProviderDisabled, where an imported app had them off."""
    if is_provider_disabled(project, API_KEY):
        raise ProviderDisabled


class OwnKeysView(RealmView):
    """Asked with the refresh token."""

    def end_user(self, app_id: str | None) -> EndUser:
        session = self.presented_for_refresh(app_id).session
        demand_api_keys(session.project)
        return session.end_user

    def row(self, app_id: str | None, key_id: str) -> ApiKey:
        return api_keys.find_api_key(end_user=self.end_user(app_id), object_id=key_id)


class ApiKeysView(OwnKeysView):
    def get(self, request: Request, app_id: str | None = None) -> HttpResponse:
        return answer([wire.render_api_key(row) for row in api_keys.list_api_keys(self.end_user(app_id))])

    def post(self, request: Request, app_id: str | None = None) -> HttpResponse:
        end_user = self.end_user(app_id)
        (name,) = wire.parse_strings(self.body(), "name")
        made = api_keys.create_api_key(end_user=end_user, project=end_user.project, name=name)
        return answer(wire.render_api_key(made.row, made.key), status=201)


class ApiKeyView(OwnKeysView):
    def get(self, request: Request, key_id: str, app_id: str | None = None) -> HttpResponse:
        return answer(wire.render_api_key(self.row(app_id, key_id)))

    def delete(self, request: Request, key_id: str, app_id: str | None = None) -> HttpResponse:
        api_keys.delete_api_key(self.row(app_id, key_id))
        return no_content()


class ApiKeyEnabledView(OwnKeysView):
    enabled = True

    def put(self, request: Request, key_id: str, app_id: str | None = None) -> HttpResponse:
        api_keys.set_enabled(self.row(app_id, key_id), self.enabled)
        return no_content()


class ApiKeyLoginView(LoginView):
    def post(self, request: Request, app_id: str) -> HttpResponse:
        application = self.app(app_id)
        demand_api_keys(application.project)
        if self.http_request.GET.get("link") == "true":
            raise BadRequest(wire.NO_API_KEY_LINK)
        body = self.body()
        (key,) = wire.parse_strings(body, "key")
        ip = credentials.address_of(self.http_request)
        end_user = api_keys.log_in_with_api_key(project=application.project, key=key, ip=ip)
        return self.log_in(end_user, application, wire.parse_device(body), amr="")
