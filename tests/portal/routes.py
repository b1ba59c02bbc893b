"""Every route of the portal, with something to ask it and to send it: for the tests that walk them all.

A route that is added to the URLconf must be added here; the tests say so.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import URLPattern, URLResolver, reverse

from anonusers.models import Application, EndUser, Project
from anonusers.project_file import export_project
from portal.models import Deployment, Job, Membership
from portal.review import foresee
from portal.urls import urlpatterns
from tests.conftest import HOST, make_application, make_project, rows_of
from tests.people import new_guest

OUTSIDE = {"api-keys", "home", "login", "logout", "join", "project-new"}
"""Routes of no project. Their own tests say who may use them."""


@dataclass(frozen=True)
class World:
    """A project with one of everything that a route can name."""

    project: Project
    application: Application
    person: EndUser
    job: Job
    deployment: Deployment
    member: Membership

    @property
    def arguments(self) -> dict[str, dict[str, Any]]:
        """What the routes need besides the project's id."""
        application, job = {"pk": self.application.pk}, {"pk": self.job.pk}
        return {
            "application": application,
            "application-delete": application,
            "deployment": {"number": self.deployment.number},
            "job": job,
            "quick-start": application,
            "user": {"sub": self.person.pk},
        }

    def url(self, name: str, **arguments: Any) -> str:
        """A route of this project, with its own things or with those that are given."""
        needed = {"project_slug": self.project.slug} | self.arguments.get(name, {}) | arguments
        return reverse(f"portal:{name}", kwargs=needed)


def make_world(slug: str = "guestbook", domain: str = "localhost") -> World:
    """One of everything. The deployment has changed the project's name, so that it can be rolled back."""
    project = make_project(slug, domain)
    application = make_application(project)
    person = new_guest(application)
    before = export_project(slug)
    Project.objects.filter(pk=project.pk).update(name=f"{slug} 2")
    project.refresh_from_db()
    # Numbers begin at 1 in every project; other projects' are told apart here.
    number = 1 if slug == "guestbook" else 7
    deployment = Deployment.objects.create(
        project=project, number=number, author="olga", before=before, after=export_project(slug)
    )
    job = Job.objects.create(project=project, action="enable", selection={"subs": [person.pk.hex]}, total=1)
    somebody = get_user_model().objects.create_user(f"{slug}-somebody", is_staff=True)
    member = Membership.objects.create(project=project, user=somebody, role="viewer")
    return World(project, application, person, job, deployment, member)


def browser_of(user: Any) -> Client:
    client = Client(HTTP_HOST=HOST)
    client.force_login(user)
    return client


def new_member(project: Project, role: str, name: str = "") -> Client:
    """The browser of somebody new in the team."""
    user = get_user_model().objects.create_user(name or role, is_staff=True)
    Membership.objects.create(project=project, user=user, role=role)
    return browser_of(user)


def _names(patterns: Iterable[URLPattern | URLResolver]) -> Iterable[str]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _names(pattern.url_patterns)
        else:
            yield str(pattern.name)


ROUTES = sorted(set(_names(urlpatterns)) - OUTSIDE)

Sent = Callable[[World, Client], dict[str, Any]]
"""Makes good entries; the client is an administrator's, who can see every form."""


def _form(route: str, /, **changes: Any) -> Sent:
    """What the page's own form sends, with something changed."""

    def send(world: World, admin: Client) -> dict[str, Any]:
        page = admin.get(world.url(route))
        data: dict[str, Any] = {"version": page.context["version"]}
        for field in page.context["form"]:
            value = field.value()
            if isinstance(value, bool):
                data |= {field.html_name: "on"} if value else {}
            else:
                data[field.html_name] = "" if value is None else value
        return data | changes

    return send


def _fixed(**entries: Any) -> Sent:
    return lambda world, admin: entries


POSTS: dict[str, list[Sent]] = {
    "anonymous-users": [_form("anonymous-users", promotion_conflict="login")],
    "application": [_form("application", name="Taken over")],
    "application-delete": [lambda world, admin: {"name": world.application.name}],
    "application-new": [_fixed(name="Mine", framework="react", session="token", redirect_uris="http://localhost/x")],
    "deployment": [
        lambda world, admin: {
            "version": foresee(world.project, world.deployment).expected,
            "note": "",
            "typed": world.project.slug,
        }
    ],
    "job": [_fixed(action="cancel")],
    "keys": [lambda world, admin: {"version": str(world.project.keys_version)}],
    "login-promotion": [_form("login-promotion", login_ids=["email", "username"], promotion_conflict="login")],
    "project-delete": [lambda world, admin: {"slug": world.project.slug}],
    "project-settings": [_form("project-settings", name="Taken over", domains="evil.example.com")],
    "realm": [
        _form("realm", realm_app_id="guestbook-abcde", realm_local_userpass="on"),
        _form("realm", realm_migration_until="2999-01-01T00:00", realm_adopt_guests="on"),
    ],
    "retention": [_form("retention", guest_inactive_days="1")],
    "review": [_fixed(action="on")],
    "session": [_form("session", session_lifetime="60")],
    "team": [
        _fixed(action="add", who="friend@example.com", role="owner"),
        lambda world, admin: {"action": "role", "member": world.member.pk, "role": "owner"},
        lambda world, admin: {"action": "remove", "member": world.member.pk},
    ],
    "user": [
        _fixed(action="disable", reason="Because"),
        _fixed(action="end_sessions"),
        lambda world, admin: {"action": "delete", "typed": str(world.person.pk)[-6:]},
    ],
    "user-new": [lambda world, admin: {"application": world.application.client_id}],
    "users-bulk": [
        lambda world, admin: {"action": "disable", "sub": world.person.pk, "confirmed": "on", "reason": "Because"}
    ],
}
"""What would change something, if it were allowed; a test shows that it does for an administrator."""
READ_ONLY = {
    *("project", "overview", "users", "users-export", "applications", "quick-start"),
    *("audit", "audit-export", "deployments"),
}
"""Routes that nobody can send anything to."""
OWNERS = {"team", "project-settings", "project-delete", "review", "keys"}
"""Routes whose forms in POSTS are the owners'."""


def everything() -> dict[str, Any]:
    """All rows of ours, of the portal's and of accounts: "and nothing changed"."""
    models = [
        *apps.get_app_config("anonusers").get_models(),
        *apps.get_app_config("portal").get_models(),
        get_user_model(),
    ]
    rows = rows_of(models)
    for account in rows[get_user_model()._meta.label]:
        account.pop("last_login", None)
    return rows
