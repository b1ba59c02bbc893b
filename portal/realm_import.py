"""App directories of MongoDB's tools, and single settings, on their way into a project: into its draft where there is
one, else into effect. The same rules hold as on the portal's pages."""

import copy
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction

from anonusers.audit import record
from anonusers.models import Application, Project
from anonusers.project_file import export_project
from anonusers.realm_files import Plan, apply_import, plan_import
from anonusers.realm_kept import kept_of
from anonusers.realm_providers import ANON_USER, LOCAL_USERPASS
from anonusers.realm_reading import RealmDirectory
from anonusers.realm_users import realm_app_of
from portal.access import Role, allows, role_in
from portal.models import Draft
from portal.proposing import propose
from portal.realm import application_of, make_application
from portal.review import (
    PROJECT,
    Entries,
    Impossible,
    create_deployment,
    discard,
    keep,
    lock,
    overlay,
    taken_out,
    target_of,
)

OWNERS = frozenset(("name", "allowed_origins", "domains"))
"""Settings that are the owners', wherever they are changed."""
SPOKEN = {
    ANON_USER: ("anonymous_users_enabled",),
    LOCAL_USERPASS: (
        "realm_local_userpass",
        "realm_auto_confirm",
        "realm_confirmation_url",
        "realm_reset_url",
    ),
}
"""Provider → the columns that a directory with it says something about, also where that is what is stored."""


def plan_for(project: Project, directory: RealmDirectory, *, strategy: str) -> Plan:
    """What importing the directory would change in what is in effect. The app stays the one that it is, whatever the
    directory calls it. Raises: InvalidRealmFiles, InvalidProjectFile"""
    with transaction.atomic():
        is_whole = application_of(project) is not None
        if not is_whole:
            make_application(project, actor=None)  # as the import would do first
        plan = plan_import(directory, slug=project.slug, strategy=strategy, app_id=project.realm_app_id)
        transaction.set_rollback(not is_whole)
    return plan


@transaction.atomic
def import_directory(project: Project, directory: RealmDirectory, *, strategy: str, actor: Any) -> Plan:
    """Import the directory: into the draft, else into effect, as a deployment that can be rolled back.

    Raises: InvalidRealmFiles, InvalidProjectFile, PermissionDenied, Impossible
    """
    project, draft = lock(project)
    if application_of(project) is None:
        make_application(project, actor=actor)  # a client ID must work at once, and waits in no draft
    plan = plan_for(project, directory, strategy=strategy)
    _demand_role(plan, project, actor)
    if draft is not None:
        _draft(plan, directory, project, draft, actor, keeps=bool(plan.kept_changes))
    elif not plan.is_empty:
        before = export_project(project.slug)
        apply_import(directory, slug=project.slug, strategy=strategy, app_id=project.realm_app_id, actor=actor)
        create_deployment(project, author=actor, before=before, note="")
    return plan


@transaction.atomic
def change_provider(project: Project, directory: RealmDirectory, *, strategy: str, actor: Any) -> Plan:
    """The same for one provider, which is no deployment where it is in effect at once.

    Raises: as import_directory
    """
    project, draft = lock(project)
    plan = plan_for(project, directory, strategy=strategy)
    _demand_role(plan, project, actor)
    keeps = _keeps_more(plan, project)
    if draft is not None:
        if keeps and draft.beside:
            raise Impossible(["Options of providers wait in the draft already. Deploy or discard it first."])
        _draft(plan, directory, project, draft, actor, keeps=keeps)
    elif keeps:
        apply_import(directory, slug=project.slug, strategy=strategy, app_id=project.realm_app_id, actor=actor)
    else:
        columns = {change.column: change.new for change in plan.changes if change.client_id is None and change.column}
        _save(project, columns, actor)
    return plan


def _keeps_more(plan: Plan, project: Project) -> bool:
    """Whether something of a provider changes that is no setting of ours; what a first import would also note of the
    directory as a whole does not count."""
    app = realm_app_of(project)
    other_ids = any(app.provider_ids.get(kind) != id for kind, id in plan.provider_ids.items())
    return other_ids or kept_of(app)["providers"] != plan.rest["providers"]


def _demand_role(plan: Plan, project: Project, actor: Any) -> None:
    owners = {change.column for change in plan.changes if change.client_id is None} & OWNERS
    if owners and not allows(role_in(actor, project), Role.OWNER):
        raise PermissionDenied(f"owners of the project change {', '.join(sorted(owners))}")


def _draft(plan: Plan, directory: RealmDirectory, project: Project, draft: Draft, actor: Any, *, keeps: bool) -> None:
    proposed = propose(project, plan.project_file, actor)
    if proposed.left_out:
        raise Impossible([f"A draft cannot hold {change.key}." for change in proposed.left_out])
    draft.refresh_from_db()
    wanted: Entries = draft.changes.get(PROJECT, {})
    for column in _spoken(directory) & wanted.keys():
        # Drafted before, and the directory says what is stored: it goes before the draft.
        if wanted[column]["new"] != plan.project_file.project[column]:
            before = draft.changes
            discard(draft, target=PROJECT, column=column, author=actor, goes_on=True)
            for name, facts in taken_out(before, draft.changes).items():
                record("settings", "draft.discarded", project=project, actor=actor, target=name, changes=facts)
    if keeps:
        columns = {"provider_ids": dict(plan.provider_ids), "rest": dict(plan.rest), **plan.ids}
        draft.beside = {"columns": columns, "lines": list(plan.kept_changes)}
        draft.save(update_fields=["beside", "updated_at"])


def _spoken(directory: RealmDirectory) -> set[str]:
    columns = {column for kind in directory.providers for column in SPOKEN.get(kind, ())}
    return columns | ({"allowed_origins"} if directory.allowed_origins is not None else set())


@transaction.atomic
def change_settings(
    project: Project, columns: Mapping[str, Any], *, actor: Any, application: Application | None = None
) -> None:
    """Single settings of the project, or of an application: into the draft, else into effect. What is the owners' does
    not wait in a draft, as on their page.

    Raises: ValidationError
    """
    project, draft = lock(project)
    row: Project | Application = project
    if application is not None:
        row = Application.objects.select_for_update().get(pk=application.pk)
    if draft is None or columns.keys() <= OWNERS:
        _save(row, columns, actor)
        return
    drafted = overlay(row, draft)
    wanted, told = _changed(drafted, columns)
    if keep(draft, row, wanted, columns, author=actor) and told:
        record("settings", "draft.changed", project=project, actor=actor, target=target_of(row), changes=told)


def _save(row: Project | Application, columns: Mapping[str, Any], actor: Any) -> None:
    wanted, told = _changed(row, columns)
    if told:
        wanted.save(update_fields=[*told, "updated_at"])
        project = wanted if isinstance(wanted, Project) else wanted.project
        kind = f"{row._meta.model_name}.changed"
        record("settings", kind, project=project, actor=actor, target=target_of(row), changes=told)


def _changed(row: Any, columns: Mapping[str, Any]) -> tuple[Any, dict[str, list[Any]]]:
    """A copy of the row with these values, and column → `[old, new]` of what differs. Raises: ValidationError"""
    wanted = copy.copy(row)
    told = {column: [old, new] for column, new in columns.items() if (old := getattr(row, column)) != new}
    for column, new in columns.items():
        setattr(wanted, column, new)
    exclude = {field.name for field in row._meta.fields} - columns.keys()
    wanted.full_clean(exclude=exclude, validate_unique=False, validate_constraints=False)
    return wanted, told
