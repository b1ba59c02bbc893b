"""Who may enter the portal, and which projects they find there: the one place that decides it."""

from typing import Any

from django.db.models import QuerySet

from anonusers.models import Project


def is_operator(user: Any) -> bool:
    """Active staff. A person of a project is never an operator, whatever flags its row has got."""
    return bool(
        user.is_authenticated and user.is_active and getattr(user, "is_staff", False) and not hasattr(user, "end_user")
    )


def projects_of(user: Any) -> QuerySet[Project]:
    """The projects that `user` may see and change, by name. For now: an operator has them all."""
    if not is_operator(user):
        return Project.objects.none()
    return Project.objects.order_by("name", "pk")
