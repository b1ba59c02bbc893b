"""Apps, as the Admin API calls the projects that clients of Stitch and Realm find: which there are, new ones, the end
of one."""

import re
import secrets
import string
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils.text import slugify

from anonusers.audit import record
from anonusers.models import Project
from anonusers.models.realm import RealmApp
from anonusers.projects import close_project, create_project, remove_closed
from anonusers.realm_kept import GIVEN
from anonusers.realm_users import make_realm_apps, realm_app_of
from portal.access import RESERVED_SLUGS, Role, is_administrator, projects_of, role_in
from portal.models import Membership
from portal.realm import make_application
from portal.realm_admin.wire import Refusal, bad_request, not_found, text_in

SERVER_GROUP = "616e6f6e7573657273000000"
"""The group in which administrators make apps while there are none, so that there is one to be named."""
NAME = re.compile(r"[A-Za-z0-9_-]{1,32}", re.ASCII)
PRODUCT = "standard"
"""The tools ask for the apps of each product in turn; ours are of this one only, else they would be listed twice."""
ROLES: dict[str, str] = {Role.OWNER: "GROUP_OWNER", Role.EDITOR: "GROUP_EDITOR", Role.VIEWER: "GROUP_READ_ONLY"}
PATIENCE = 4.0
"""Seconds of a request that removing an app may take; the next clean-up goes on with the rest."""


def apps_of(user: Any) -> QuerySet[Project]:
    """The projects of an operator that clients of Stitch and Realm find."""
    return projects_of(user).exclude(realm_app_id="")


def groups_of(user: Any) -> dict[str, str]:
    """Group id → the operator's highest role in it."""
    found: dict[str, str] = {SERVER_GROUP: Role.OWNER} if is_administrator(user) else {}
    order = list(ROLES)
    projects = list(apps_of(user).select_related("realm_app"))
    make_realm_apps(projects)
    for project in projects:
        group, role = ids_of(project).group_id, role_in(user, project)
        known = found.get(group)
        if role is not None and (known is None or order.index(role) < order.index(known)):
            found[group] = role
    return found


def find_app(user: Any, *, group_id: str, app_id: str) -> Project:
    """One of the operator's apps. Raises: Refusal"""
    rows = apps_of(user).select_related("realm_app").filter(realm_app__object_id=app_id, realm_app__group_id=group_id)
    project = rows.first()
    if project is None:
        raise not_found("app", "AppNotFound")
    return project


def list_apps(user: Any, *, group_id: str, product: str) -> list[dict[str, Any]]:
    """The operator's apps of a group. Raises: Refusal"""
    if group_id not in groups_of(user):
        raise not_found("group", "GroupNotFound")
    if product not in ("", PRODUCT):
        return []
    rows = apps_of(user).select_related("realm_app").filter(realm_app__group_id=group_id)
    return [render_app(project) for project in rows]


def render_app(project: Project) -> dict[str, Any]:
    ids = ids_of(project)
    given = {name: value for name in GIVEN if isinstance(value := _said(ids).get(name), str)}
    return {
        "_id": ids.object_id,
        "client_app_id": project.realm_app_id,
        "name": name_of(project, ids),
        "domain_id": ids.domain_id,
        "group_id": ids.group_id,
        "location": "US-VA",
        "deployment_model": "GLOBAL",
        "environment": "",
        **given,
        "product": PRODUCT,
        "last_used": int(project.updated_at.timestamp()),
        "last_modified": int(project.updated_at.timestamp()),
    }


def name_of(project: Project, ids: RealmApp) -> str:
    """The app's name: what was imported, else the project's, where that is one that the tools would take."""
    for name in (_said(ids).get("name"), project.name, project.realm_app_id.rpartition("-")[0]):
        if isinstance(name, str) and NAME.fullmatch(name):
            return name
    return project.slug[:32]


def _said(ids: RealmApp) -> dict[str, Any]:
    """What the app was made with, or the root file of its directory says."""
    root = ids.rest.get("root")
    return {**ids.rest, **(root if isinstance(root, dict) else {})}


def create_app(user: Any, *, group_id: str, wanted: dict[str, Any]) -> Project:
    """A new project with an app id. Anonymous users are off until somebody turns them on.

    Raises: Refusal, ValidationError
    """
    if group_id not in groups_of(user):
        raise not_found("group", "GroupNotFound")
    if not is_administrator(user):
        raise Refusal(403, "Forbidden", "administrators of this server make new apps")
    name = text_in(wanted, "name")
    if not NAME.fullmatch(name):
        raise bad_request("a name has 1 to 32 ASCII letters, digits, _ and -", "InvalidParameter")
    given = {key: text_in(wanted, key, required=False, most=50) for key in GIVEN}
    with transaction.atomic():
        project = create_project(slug=_free_slug(name), name=name, actor=user)
        Membership.objects.create(project=project, user=user, role=Role.OWNER)
        project.realm_app_id = _free_app_id(name)
        project.save(update_fields=["realm_app_id", "updated_at"])
        changes = {"realm_app_id": ["", project.realm_app_id]}
        record("settings", "project.changed", project=project, actor=user, target="project", changes=changes)
        make_application(project, actor=user)
        ids = realm_app_of(project)
        ids.group_id = group_id
        ids.rest = ids.rest | {key: value for key, value in given.items() if value}
        ids.save(update_fields=["group_id", "rest"])
    project.refresh_from_db()
    return project


def _free_app_id(name: str) -> str:
    for _attempt in range(20):
        suffix = "".join(secrets.choice(string.ascii_lowercase) for _letter in range(5))
        app_id = f"{name.lower()}-{suffix}"
        if not Project.objects.filter(realm_app_id=app_id).exists():
            return app_id
    raise Refusal(409, "BadRequest", "choose another name")


def _free_slug(name: str) -> str:
    stem = slugify(name)[:40] or "app"
    for slug in (stem, *(f"{stem}-{secrets.token_hex(3)}" for _attempt in range(5))):
        if slug not in RESERVED_SLUGS and not Project.objects.filter(slug__iexact=slug).exists():
            return slug
    raise ValidationError("choose another name")


def delete_app(user: Any, project: Project) -> None:
    """Close the project, and remove what can be removed while somebody waits. Raises: CleanupRefused"""
    close_project(project=project, actor=user)
    project.refresh_from_db()
    remove_closed(project=project, seconds=PATIENCE)


def ids_of(project: Project) -> RealmApp:
    """The ids of the app, made where nobody has asked for them before."""
    return getattr(project, "realm_app", None) or realm_app_of(project)
