"""Where the server is, guests, the profile, and sessions."""

import uuid

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from anonusers import administration, credentials, sessions
from anonusers.errors import ProviderDisabled
from anonusers.models import Session
from anonusers.protocols.base import answer
from anonusers.protocols.errors import BadRequest, EndpointNotFound, FunctionNotFound
from anonusers.protocols.realm import wire
from anonusers.protocols.realm.base import RealmView, no_content
from anonusers.realm_users import identities_of, new_guest_rows, realm_app_of, realm_user_of
from anonusers.signup import sign_up
from anonusers.statements import new_stated_secret


class LocationView(RealmView):
    def get(self, request: Request, app_id: str) -> HttpResponse:
        self.app(app_id)
        return answer(wire.render_location(self.origin))


class AnonymousLoginView(RealmView):
    """Each request makes a new guest: whether to go on as the one before is the SDK's decision."""

    def post(self, request: Request, app_id: str) -> HttpResponse:
        return self.log_in(app_id, wire.parse_device(self.body()))

    def get(self, request: Request, app_id: str) -> HttpResponse:
        """As the oldest clients ask, and many lines of curl."""
        return self.log_in(app_id, wire.parse_device_query(self.http_request.GET.get("device")))

    def head(self, request: Request, app_id: str) -> HttpResponse:
        return self.http_method_not_allowed(request)  # nobody wants a guest who asks for headers

    def log_in(self, app_id: str, device: wire.Device) -> HttpResponse:
        application = self.app(app_id)
        if self.http_request.GET.get("link") == "true":
            raise BadRequest(wire.NO_ANONYMOUS_LINK)
        secret = new_stated_secret(uuid.uuid4())
        signed_up = sign_up(
            project=application.project,
            application=application,
            kind=Session.Kind.TOKEN,
            ip=credentials.address_of(self.http_request),
            user_agent=credentials.user_agent_of(self.http_request),
            device=device.known,
            secret=secret,
            beside=new_guest_rows,
        )
        return self.logged_in(signed_up.session, secret, device)


class ProviderView(RealmView):
    """Ways to log in that we do not have."""

    def get(self, request: Request, app_id: str, **provider: str) -> HttpResponse:
        self.app(app_id)
        raise ProviderDisabled

    post = put = patch = delete = get


class ProfileView(RealmView):
    def get(self, request: Request, app_id: str | None = None) -> HttpResponse:
        session = self.presented(app_id).session
        app, user = realm_app_of(session.project), realm_user_of(session.end_user)
        return answer(wire.render_profile(app, user.object_id, identities_of(session.end_user)))


class SessionView(RealmView):
    """With the refresh token, which stays the same for as long as the session lives."""

    def post(self, request: Request, app_id: str | None = None) -> HttpResponse:
        presented = self.presented_for_refresh(app_id, adopt=True)
        token = self.access_token(presented.session, wire.device_id_of(presented.claims))
        return answer({"access_token": token}, status=201)

    def delete(self, request: Request, app_id: str | None = None) -> HttpResponse:
        sessions.end_session(self.presented_for_refresh(app_id).session)
        return no_content()


class DeleteView(RealmView):
    def delete(self, request: Request, app_id: str | None = None) -> HttpResponse:
        administration.delete_user(end_user=self.presented(app_id).session.end_user)
        return no_content()


class FunctionView(RealmView):
    def post(self, request: Request, app_id: str) -> HttpResponse:
        """The token comes first: SDKs heal a rejected one by the answer to this call."""
        self.presented(app_id)
        name = self.body().get("name")
        raise FunctionNotFound(wire.unknown_function(name if isinstance(name, str) else ""))


class NotFoundView(RealmView):
    def dispatch(self, *args: object, **kwargs: object) -> HttpResponseBase:
        request = args[0]
        if getattr(request, "method", "") == "OPTIONS":
            return super().dispatch(*args, **kwargs)  # type: ignore[arg-type]
        self.request = request  # type: ignore[assignment]
        return self.finalize_response(None, self.handle_exception(EndpointNotFound()))
