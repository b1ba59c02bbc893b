"""Who may enter the portal, which projects they find there, and what they may do: the one place that decides it."""

from typing import Any

from django.db.models import F, QuerySet

from anonusers.models import Project
from portal.models import Membership

Role = Membership.Role
RANK: dict[str, int] = {Role.VIEWER: 1, Role.EDITOR: 2, Role.OWNER: 3}
RESERVED_SLUGS = frozenset(("join", "login", "logout", "me", "new"))
"""First parts of the portal's own paths: no project is called so."""


def is_operator(user: Any) -> bool:
    """Active staff. A person of a project is never an operator, whatever flags its row has got."""
    return bool(
        user.is_authenticated and user.is_active and getattr(user, "is_staff", False) and not hasattr(user, "end_user")
    )


def is_administrator(user: Any) -> bool:
    """An operator who has every project and may create new ones: Django's superuser."""
    return is_operator(user) and bool(getattr(user, "is_superuser", False))


def projects_of(user: Any) -> QuerySet[Project]:
    """The projects that `user` may see, by name. A member's `role` comes with them, for `role_in`."""
    if not is_operator(user):
        return Project.objects.none()
    projects = Project.objects.filter(deleted_at=None).order_by("name", "pk")
    if is_administrator(user):
        return projects
    return projects.filter(memberships__user=user).annotate(role=F("memberships__role"))


def role_in(user: Any, project: Project) -> str | None:
    """What `user` is in the project's team. An administrator is an owner everywhere."""
    if not is_operator(user):
        return None
    if is_administrator(user):
        return Role.OWNER
    if "role" in vars(project):  # it comes from `projects_of`
        return str(vars(project)["role"])
    return Membership.objects.filter(project=project, user=user).values_list("role", flat=True).first()


def allows(role: str | None, needed: str) -> bool:
    """Whether `role` may do what `needed` may do."""
    return role is not None and RANK[role] >= RANK[needed]
