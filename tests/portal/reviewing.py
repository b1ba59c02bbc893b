"""Steps of the stories about drafts, reviews and deployments."""

from typing import Any

from django.contrib.auth import get_user_model
from django.test import Client

from anonusers.models import AuditEvent, Project
from portal.models import Deployment, Draft, Membership
from tests.conftest import HOST, row_counts, state_of
from tests.portal.conftest import save

REVIEW = "/portal/guestbook/review/"
SESSION = "/portal/guestbook/session/"


def browser_of(project: Project | None, role: str, name: str = "") -> Client:
    """The browser of a member of the project's team."""
    user = get_user_model().objects.create_user(name or role, is_staff=True)
    if project is not None:
        Membership.objects.create(project=project, user=user, role=role)
    client = Client(HTTP_HOST=HOST)
    client.force_login(user)
    return client


def collect(project: Project) -> Draft:
    """Changes of the project are collected from now on."""
    return Draft.objects.create(project=project)


def drafted(project: Project) -> dict[str, Any]:
    """What waits: target → column → new value."""
    changes = Draft.objects.get(project=project).changes
    return {target: {column: one["new"] for column, one in found.items()} for target, found in changes.items()}


def keep_session_lifetime(client: Client, seconds: int = 7200) -> None:
    assert save(client, SESSION, session_lifetime=str(seconds)).status_code == 302


def act(client: Client, action: str, **data: Any) -> Any:
    """Open the review and press a button."""
    context = client.get(REVIEW).context
    version = context.get("version" if action in ("deploy", "rebase") else "draft_version") or ""
    return client.post(REVIEW, {"action": action, "version": version, **data})


def deploy(client: Client, note: str = "") -> Deployment:
    response = act(client, "deploy", note=note)
    assert response.status_code == 302, response.content.decode()
    return Deployment.objects.latest("pk")


def everything(project: Project) -> Any:
    """All that a refused request must leave alone."""
    return (
        row_counts(),
        state_of(project, *project.applications.order_by("pk")),
        list(Draft.objects.order_by("pk").values()),
        list(Deployment.objects.order_by("pk").values()),
    )


def events(project: Project) -> list[tuple[str, str, Any]]:
    """The audit log, oldest first."""
    rows = AuditEvent.objects.filter(project=project).order_by("pk")
    return [(row.type, row.target, row.changes) for row in rows]


def text_of(response: Any) -> str:
    """The page's words, white space collapsed."""
    return " ".join(response.content.decode().split())
