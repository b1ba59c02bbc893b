"""Every route of an app, with something to send that would change something: for the tests that walk them all."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from anonusers import registrations
from anonusers.models import Application, EmailRegistration, EndUser, Project
from anonusers.project_file import export_project
from anonusers.realm_users import provider_id, realm_app_of, realm_user_of
from portal.models import Deployment, Draft
from portal.realm import make_application
from tests.people import new_guest
from tests.portal.realm_admin.tools import app_path

ADDRESS = "anna@example.com"


@dataclass(frozen=True)
class App:
    """A project with one of everything that a route can name. Its draft waits, its deployment can be taken up again."""

    project: Project
    application: Application
    person: EndUser
    registration: EmailRegistration
    draft: Draft
    deployment: Deployment

    @property
    def path(self) -> str:
        return app_path(self.project)

    @property
    def names(self) -> dict[str, str]:
        """What stands in the routes."""
        return {
            "user": realm_user_of(self.person).object_id,
            "email": self.registration.email,
            "draft": self.draft.object_id,
            "deployment": f"{self.deployment.number:024x}",
            "anon": provider_id(realm_app_of(self.project), "anon-user"),
            "userpass": provider_id(realm_app_of(self.project), "local-userpass"),
        }


def make_app(project: Project) -> App:
    application = make_application(project, actor=None)
    person = new_guest(application)
    Project.objects.filter(pk=project.pk).update(realm_auto_confirm=True, realm_local_userpass=True)
    project.refresh_from_db()
    registration = registrations.register(project=project, email=ADDRESS, password="correct horse", link=None)
    EmailRegistration.objects.filter(pk=registration.pk).update(confirmed_at=None)
    before = export_project(project.slug)
    Project.objects.filter(pk=project.pk).update(session_lifetime=7200)
    after = export_project(project.slug)
    Project.objects.filter(pk=project.pk).update(session_lifetime=project.session_lifetime)
    number = 1 if project.slug == "guestbook" else 7
    deployment = Deployment.objects.create(project=project, number=number, before=before, after=after)
    changes = {"project": {"session_lifetime": {"old": project.session_lifetime, "new": 3600}}}
    draft = Draft.objects.create(project=project, changes=changes)
    made = App(Project.objects.get(pk=project.pk), application, person, registration, draft, deployment)
    assert made.names  # ids are made when somebody first asks for them: now
    return made


@dataclass(frozen=True)
class Route:
    """`path` below the app. `role`: who may at least. `changes`: a success changes something."""

    method: str
    path: str
    role: str
    status: int
    body: Any = None
    changes: bool = True
    before: Callable[[App], Any] | None = None

    def of(self, app: App, names: dict[str, str] | None = None) -> str:
        return f"{app.path}{self.path.format(**(names or app.names))}"


def _disabled(app: App) -> None:
    from anonusers.administration import disable_user

    disable_user(end_user=app.person)


def _no_passwords(app: App) -> None:
    Project.objects.filter(pk=app.project.pk).update(realm_local_userpass=False)


def _no_guests(app: App) -> None:
    Project.objects.filter(pk=app.project.pk).update(anonymous_users_enabled=False)


def _no_draft(app: App) -> None:
    Draft.objects.filter(project=app.project).delete()


def _mails(app: App) -> None:
    changes = {"realm_auto_confirm": False, "realm_confirmation_url": "https://app.example.com/confirm"}
    Project.objects.filter(pk=app.project.pk).update(**changes)


IMPORT = {
    "config_version": 20210101,
    "auth": {"providers": {"anon-user": {"name": "anon-user", "type": "anon-user", "disabled": True}}},
}

ROUTES: list[Route] = [
    Route("GET", "", "viewer", 200, changes=False),
    Route("DELETE", "", "owner", 204),
    Route("GET", "/auth_providers", "viewer", 200, changes=False),
    Route("POST", "/auth_providers", "editor", 201, {"type": "custom-token"}),
    Route("GET", "/auth_providers/{anon}", "viewer", 200, changes=False),
    Route("PATCH", "/auth_providers/{anon}", "editor", 204, {"disabled": True}),
    Route("DELETE", "/auth_providers/{userpass}", "editor", 204, before=_no_passwords),
    Route("PUT", "/auth_providers/{anon}/disable", "editor", 204),
    Route("PUT", "/auth_providers/{anon}/enable", "editor", 204, before=_no_guests),
    Route("GET", "/security/allowed_request_origins", "viewer", 200, changes=False),
    Route("POST", "/security/allowed_request_origins", "owner", 204, ["https://app.example.com"]),
    Route("GET", "/security/refresh_token_expiration", "viewer", 200, changes=False),
    Route("PUT", "/security/refresh_token_expiration", "editor", 204, {"expiration_time_seconds": 5_184_000}),
    Route("GET", "/custom_user_data", "viewer", 200, changes=False),
    Route("PATCH", "/custom_user_data", "editor", 204, {"enabled": False}, changes=False),
    Route("GET", "/drafts", "viewer", 200, changes=False),
    Route("POST", "/drafts", "editor", 201, before=_no_draft),
    Route("DELETE", "/drafts/{draft}", "editor", 204),
    Route("GET", "/drafts/{draft}/diff", "viewer", 200, changes=False),
    Route("POST", "/drafts/{draft}/deployment", "editor", 201),
    Route("GET", "/deployments", "viewer", 200, changes=False),
    Route("GET", "/deployments/{deployment}", "viewer", 200, changes=False),
    Route("POST", "/deployments/{deployment}/redeploy", "editor", 204),
    Route("GET", "/deploy/config", "viewer", 200, changes=False),
    Route("PATCH", "/deploy/config", "owner", 204, {"ui_drafts_disabled": False}, before=_no_draft),
    Route("POST", "/import?strategy=merge", "editor", 204, IMPORT),
    Route("POST", "/import?strategy=merge&diff=true", "viewer", 200, IMPORT, changes=False),
    Route("GET", "/export", "viewer", 200, changes=False),
    Route("GET", "/pull", "viewer", 200, changes=False),
    Route("PATCH", "/push", "editor", 204, IMPORT),
    Route("GET", "/users", "viewer", 200, changes=False),
    Route("POST", "/users", "editor", 201, {"email": "berta@example.com", "password": "correct horse"}),
    Route("POST", "/users/verify_token", "viewer", 401, {"token": "x"}, changes=False),
    Route("GET", "/users/{user}", "viewer", 200, changes=False),
    Route("DELETE", "/users/{user}", "editor", 204),
    Route("GET", "/users/{user}/devices", "viewer", 200, changes=False),
    Route("PUT", "/users/{user}/disable", "editor", 204),
    Route("PUT", "/users/{user}/enable", "editor", 204, before=_disabled),
    Route("PUT", "/users/{user}/logout", "editor", 204),
    Route("PATCH", "/users/{user}/reset_email", "editor", 400, changes=False),
    Route("GET", "/user_registrations/pending_users", "viewer", 200, changes=False),
    Route("DELETE", "/user_registrations/by_email/{email}", "editor", 204),
    Route("POST", "/user_registrations/by_email/{email}/confirm", "editor", 204),
    Route("POST", "/user_registrations/by_email/{email}/run_confirm", "editor", 400, changes=False),
    Route("POST", "/user_registrations/by_email/{email}/send_confirm", "editor", 200, before=_mails),
]
