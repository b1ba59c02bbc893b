"""What the views of this door share: the app in the path, the token in the header, the answer to a login."""

import uuid
from typing import Any

from django.http import HttpResponse
from django.utils import timezone

from anonusers import credentials, realm_sessions, sessions
from anonusers.errors import AnonUsersError, NotSignedIn, UnknownApplication
from anonusers.models import Application, EndUser, Project, Session
from anonusers.protocols import cors
from anonusers.protocols.base import ProtocolView, answer
from anonusers.protocols.body import read_json
from anonusers.protocols.errors import ApplicationMismatch, UntrustedOrigin
from anonusers.protocols.realm import wire
from anonusers.realm_sessions import Presented, mint_access, mint_refresh
from anonusers.realm_users import application_of, realm_app_of, realm_user_of
from anonusers.statements import new_stated_secret
from anonusers.tokens import RefreshToken


def no_content() -> HttpResponse:
    """204. With a content type realm-web would parse what is not there."""
    response = HttpResponse(status=204, headers={"Cache-Control": "no-store"})
    del response.headers["Content-Type"]
    return response


class RealmView(ProtocolView):
    """No view looks at a cookie, and none at the host: the path names the app, or the token leads to it."""

    linking = False

    def render_error(self, error: AnonUsersError) -> HttpResponse:
        return wire.render_error(error, linking=self.linking)

    def translate(self, exc: Exception) -> AnonUsersError:
        # A fault of ours with a name is for the log, as any other.
        ours = isinstance(exc, AnonUsersError) and wire.WORDS[exc.code][0] == 500
        return super().translate(RuntimeError() if ours else exc)

    def allow_origin(self, response: Any) -> None:
        cors.allow_tokens(self.http_request, response, methods=wire.METHODS, headers=wire.HEADERS, expose=wire.EXPOSED)

    def options(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponse:  # type: ignore[override]
        return no_content()

    # --- what the request is about ---

    def body(self) -> dict[str, Any]:
        """The JSON object of the request, whatever its content type says; an empty body is an empty object.

        Raises: BadRequest, MalformedJSON, BodyTooLarge.
        """
        return wire.parse_object(read_json(self.http_request, empty_is_object=True, any_content_type=True))

    def app(self, app_id: str) -> Application:
        """The application of the app in the path.

        Raises: UnknownApplication; UntrustedOrigin.
        """
        try:
            application = application_of(app_id)
        except UnknownApplication:
            raise UnknownApplication(wire.unknown_app(app_id)) from None
        self.demand_origin(application.project)
        return application

    def demand_origin(self, project: Project) -> None:
        """A page that calls must be one of the project's, where it lists any; other programs say no origin.

        Raises: UntrustedOrigin.
        """
        origin = self.http_request.headers.get("Origin")
        listed = project.allowed_origins or project.application_origins
        if origin is not None and listed and origin != self.origin and not project.allows_origin(origin):
            raise UntrustedOrigin

    def token(self) -> str:
        """Raises: NotSignedIn."""
        token = credentials.bearer_token(self.http_request)
        if token is None:
            raise NotSignedIn
        return token

    def presented(self, app_id: str | None) -> Presented:
        """The session of the access token. Where the path names an app, it must be that one's.

        Raises: NotSignedIn, InvalidToken, UserDisabled, ApplicationMismatch, UnknownApplication, UntrustedOrigin.
        """
        return self._checked(realm_sessions.find_by_realm_access_token(self.token()), app_id)

    def presented_for_refresh(self, app_id: str | None, *, adopt: bool = False) -> Presented:
        """The session of the refresh token; raises the same. To `adopt` takes a token of MongoDB's, where it may."""
        project = self.app(app_id).project if app_id is not None else None
        found = realm_sessions.find_by_realm_refresh_token(self.token(), project=project, adopt=adopt)
        return self._checked(found, app_id)

    def _checked(self, presented: Presented, app_id: str | None) -> Presented:
        project = presented.session.project
        if not project.realm_app_id:
            raise UnknownApplication(wire.unknown_app(app_id or ""))
        if app_id is not None and app_id != project.realm_app_id:
            self.app(app_id)  # one that does not exist is told as such
            raise ApplicationMismatch
        self.demand_origin(project)
        return presented

    # --- what is handed out ---

    def user_id(self, end_user: EndUser) -> str:
        return realm_user_of(end_user).object_id

    def access_token(self, session: Session, device_id: str) -> str:
        app, user_id = realm_app_of(session.project), self.user_id(session.end_user)
        claims = wire.access_claims(session, app, user_id, device_id)
        return mint_access(session, claims, now=timezone.now())

    def logged_in(self, session: Session, secret: RefreshToken, device: wire.Device) -> HttpResponse:
        """A new session, handed over."""
        app, user_id = realm_app_of(session.project), self.user_id(session.end_user)
        claims = wire.refresh_claims(session, app, user_id, device.id)
        return answer(
            wire.render_login(
                access_token=self.access_token(session, device.id),
                refresh_token=mint_refresh(session, secret, claims, now=timezone.now()),
                user_id=user_id,
                device_id=device.id,
            )
        )


class LoginView(RealmView):
    def log_in(self, end_user: EndUser, application: Application, device: wire.Device, *, amr: str) -> HttpResponse:
        """A new session of somebody who has proven who they are."""
        realm_user_of(end_user)
        sessions.end_sessions_of_before(end_user=end_user, application=application)
        secret = new_stated_secret(uuid.uuid4())
        session, _ = sessions.open_session(
            end_user=end_user,
            project=application.project,
            application=application,
            kind=Session.Kind.TOKEN,
            user_agent=credentials.user_agent_of(self.http_request),
            device=device.known,
            amr=amr,
            secret=secret,
        )
        return self.logged_in(session, secret, device)
