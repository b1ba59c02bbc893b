"""An app of MongoDB's as a project of ours: import an app directory, and export one.

What has a setting of ours goes into the project file, so that it is compared, reviewed and applied as one; ids and all
that we do not act on are kept beside it (`RealmApp`), so that an export is not poorer than the import.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from anonusers import audit
from anonusers.errors import InvalidRealmFiles, UnknownProject
from anonusers.models import Project, RealmApp
from anonusers.models.projects import origin_of, validate_origin, validate_page_url
from anonusers.project_file import (
    Change,
    ProjectFile,
    apply_project_file,
    difference,
    export_project,
    new_project_file,
    parse_project_file,
    with_values,
)
from anonusers.realm_kept import (
    MERGE,
    REPLACE_BY_NAME,
    Kept,
    changes_of_kept,
    check_ids,
    is_fresh,
    kept_of,
    rest_after,
)
from anonusers.realm_kept import STRATEGIES as STRATEGIES
from anonusers.realm_providers import ANON_USER, LOCAL_USERPASS, SUPPORTED
from anonusers.realm_reading import REALM, ROOTS, RealmDirectory
from anonusers.realm_reading import read_directory as read_directory  # for whoever imports and exports
from anonusers.realm_reading import read_document as read_document
from anonusers.realm_reading import read_zip as read_zip
from anonusers.realm_users import provider_id, realm_app_of
from anonusers.realm_writing import ROOT_NAMES, files_of
from anonusers.realm_writing import fold as fold
from anonusers.realm_writing import write_folder as write_folder
from anonusers.realm_writing import zip_of as zip_of

TEN_YEARS, NINETY_DAYS = 3650 * 86_400, 90 * 86_400
APPLICATION = {
    "type": "spa",
    "framework": "realm-web",
    "access_token_lifetime": 1800,
    "refresh_token_lifetime": TEN_YEARS,
    "refresh_token_idle_timeout_enabled": True,
    "refresh_token_idle_timeout": NINETY_DAYS,
    "refresh_token_rotation_enabled": False,
    "dpop_enabled": False,
}
"""Of the application through which these clients come: theirs keep the first refresh token for ever, and MongoDB let
guests go who were inactive for ninety days."""
COLUMNS = {
    "autoConfirm": "realm_auto_confirm",
    "emailConfirmationUrl": "realm_confirmation_url",
    "resetPasswordUrl": "realm_reset_url",
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an import would do. `changes` are those of the project, `kept_changes` say in words what else is new."""

    project_file: ProjectFile
    changes: tuple[Change, ...]
    kept_changes: tuple[str, ...]
    warnings: tuple[str, ...]
    provider_ids: Mapping[str, str]
    rest: Mapping[str, Any]
    ids: Mapping[str, str]  # column of RealmApp → object id

    @property
    def is_empty(self) -> bool:
        return not self.changes and not self.kept_changes

    @property
    def words(self) -> list[str]:
        """The difference, line by line."""
        return [*map(str, self.changes), *self.kept_changes]


@dataclass(frozen=True)
class Imported:
    project: Project
    created: bool
    plan: Plan


def plan_import(
    directory: RealmDirectory, *, slug: str, strategy: str = MERGE, app_id: str = "", domain_id: str = ""
) -> Plan:
    """What importing the directory into the project `slug` would change; the project may be a new one. Writes nothing.

    `app_id` goes before the directory's own. `domain_id`: of MongoDB's user pool, which its tokens name.
    Raises: InvalidRealmFiles; InvalidProjectFile where the outcome breaks a rule.
    """
    if strategy not in STRATEGIES:
        raise InvalidRealmFiles(f"There is no strategy {strategy!r}. Use one of {', '.join(STRATEGIES)}.")
    project = Project.objects.filter(slug=slug).first()
    if project is not None and project.deleted_at is not None:
        raise InvalidRealmFiles(f"The project {slug} is being deleted.")
    where = slug
    current = new_project_file(slug, where) if project is None else parse_project_file(
        export_project(slug).encode(), where
    )  # fmt: skip
    app = RealmApp.objects.filter(project=project).first() if project else None
    before = kept_of(app)
    providers = _providers(before, directory, strategy)
    values, warnings = _values(current, directory, providers, strategy)
    values["realm_app_id"] = app_id or directory.app_id or current.project["realm_app_id"]
    if not values["realm_app_id"]:
        raise InvalidRealmFiles("The directory names no app_id, and the project has none. Give it with --app-id.")
    if not directory.providers:
        warnings.append("The directory says nothing of providers: they stay as they are.")
    applications = _applications(current, values["realm_app_id"], directory)
    project_file = with_values(current, {**current.project, **values}, applications)
    changes = difference(project_file)
    ids = {"domain_id": domain_id} if domain_id else {}
    ids |= {column: directory.meta[key] for key, column in META.items() if key in directory.meta}
    check_ids(app, ids)
    rest = rest_after(before, directory, providers, strategy)
    provider_ids = _provider_ids(app, directory, providers, strategy)
    kept_changes = changes_of_kept(app, before, rest, provider_ids, ids)
    return Plan(
        project_file=project_file,
        changes=tuple(changes),
        kept_changes=tuple(kept_changes),
        warnings=(*directory.warnings, *warnings),
        provider_ids=provider_ids,
        rest=rest,
        ids=ids,
    )


META = {"app_id": "object_id", "group_id": "group_id"}


@transaction.atomic
def apply_import(
    directory: RealmDirectory,
    *,
    slug: str,
    strategy: str = MERGE,
    app_id: str = "",
    domain_id: str = "",
    actor: Any = None,
) -> Imported:
    """Import the directory, all of it or nothing, past any review; again it changes nothing.

    Raises: as plan_import.
    """
    Project.objects.select_for_update().filter(slug=slug).first()
    plan = plan_import(directory, slug=slug, strategy=strategy, app_id=app_id, domain_id=domain_id)
    if plan.is_empty:
        return Imported(Project.objects.get(slug=slug), created=False, plan=plan)
    applied = apply_project_file(plan.project_file)
    keep_beside(applied.project, plan)
    _record(applied.project, plan, created=applied.created, strategy=strategy, actor=actor)
    return Imported(applied.project, created=applied.created, plan=plan)


def keep_beside(project: Project, plan: Plan) -> None:
    """Store what an import brings beside the project's settings: ids, and what is kept for an export."""
    app = realm_app_of(project)
    for column, value in {"provider_ids": plan.provider_ids, "rest": plan.rest, **plan.ids}.items():
        setattr(app, column, value)
    try:
        with transaction.atomic():
            app.save()
    except IntegrityError:
        raise InvalidRealmFiles(".mdb/app_meta.json: app_id: Another project has this object id.") from None


def _record(project: Project, plan: Plan, *, created: bool, strategy: str, actor: Any) -> None:
    changed: dict[str, dict[str, list[Any]]] = {}
    for change in plan.changes:
        if change.column:
            target = "project" if change.client_id is None else f"application:{change.client_id}"
            changed.setdefault(target, {})[change.column] = [change.old, change.new]
        elif change.new:
            facts = {"name": change.new["name"], "type": change.new["type"]}
            target = f"application:{change.client_id}"
            audit.record("settings", "application.created", project=project, actor=actor, target=target, changes=facts)
    for target, columns in changed.items():
        kind = target.partition(":")[0]
        if created and kind == "project":
            facts = {"name": project.name}
            audit.record("settings", "project.created", project=project, actor=actor, target=target, changes=facts)
        else:
            verb = f"{kind}.changed"
            audit.record("settings", verb, project=project, actor=actor, target=target, changes=columns)
    facts = {"strategy": strategy, "providers": ", ".join(plan.rest["providers"])}
    audit.record("settings", "realm.imported", project=project, actor=actor, target="project", changes=facts)


# Providers


def _providers(before: Kept, directory: RealmDirectory, strategy: str) -> dict[str, Mapping[str, Any]]:
    """Type → provider as it is afterwards. A directory that has none says nothing of them."""
    new = dict(directory.providers)
    providers = {**before["providers"], **new} if strategy == MERGE or not new else new
    return {kind: providers[kind] for kind in sorted(providers, key=lambda kind: (kind not in SUPPORTED, kind))}


def _provider_ids(
    app: RealmApp | None, directory: RealmDirectory, providers: Iterable[str], strategy: str
) -> dict[str, str]:
    known: dict[str, str] = dict(app.provider_ids) if app else {}
    given = {kind: provider["_id"] for kind, provider in directory.providers.items() if "_id" in provider}
    ids = {**given, **known} if strategy == REPLACE_BY_NAME else {**known, **given}
    return {kind: id for kind, id in sorted(ids.items()) if kind in providers}


def _values(
    current: ProjectFile, directory: RealmDirectory, providers: Mapping[str, Any], strategy: str
) -> tuple[dict[str, Any], list[str]]:
    """Column of the project → value, and what is to be said of it."""
    values: dict[str, Any] = {}
    warnings: list[str] = []
    said = directory.providers
    gone = {kind for kind in (ANON_USER, LOCAL_USERPASS) if said and kind not in providers and strategy != MERGE}
    if ANON_USER in said or ANON_USER in gone:
        values["anonymous_users_enabled"] = not said.get(ANON_USER, {}).get("disabled", True)
    if LOCAL_USERPASS in said or LOCAL_USERPASS in gone:
        provider = said.get(LOCAL_USERPASS, {"disabled": True})
        config = provider.get("config", {})
        values["realm_local_userpass"] = not provider["disabled"]
        values |= {
            "realm_auto_confirm": config.get("autoConfirm", False),
            "realm_confirmation_url": _url(config, "emailConfirmationUrl"),
            "realm_reset_url": _url(config, "resetPasswordUrl"),
        }
        login_ids = current.project["login_ids"]
        if values["realm_local_userpass"] and "email" not in login_ids:
            values["login_ids"] = [*login_ids, "email"]
    if directory.allowed_origins is not None:
        origins = [_origin(origin) for origin in directory.allowed_origins]
        before = current.project["allowed_origins"]
        values["allowed_origins"] = list(dict.fromkeys([*before, *origins] if strategy == MERGE else origins))
        if not values["allowed_origins"]:
            warnings.append(
                "The list of allowed origins is empty: Realm clients may call from pages of every origin, unless the "
                "redirect URIs of the project's applications name some."
            )
    return values, warnings


def _url(config: Mapping[str, Any], key: str) -> str:
    url: str = config.get(key, "")
    try:
        if len(url) > 500:
            raise ValidationError("Use at most 500 characters.")
        if url:
            validate_page_url(url)
    except ValidationError as error:
        raise InvalidRealmFiles(f"{LOCAL_USERPASS}: config.{key}: {' '.join(error.messages)}") from error
    return url


def _origin(text: str) -> str:
    """MongoDB's console took what was typed: with a slash at the end, or in capitals."""
    origin = origin_of(text.rstrip("/"))
    try:
        if origin is None or origin != text.rstrip("/").lower():
            validate_origin(text)
        validate_origin(origin or text)
    except ValidationError as error:
        raise InvalidRealmFiles(f"allowed_request_origins: {text!r}: {' '.join(error.messages)}") from error
    return origin or text


def _applications(current: ProjectFile, app_id: str, directory: RealmDirectory) -> list[Mapping[str, Any]]:
    """The project's applications, and the one through which the app's clients come."""
    if any(values["client_id"] == app_id for values in current.applications):
        return list(current.applications)
    name = str(directory.root.get("name") or app_id)[:100]
    return [*current.applications, {**APPLICATION, "client_id": app_id, "name": name}]


# Export


def directory_of(project: Project) -> RealmDirectory:
    """The project as an app directory: what is in effect, and what was kept of an import."""
    app = realm_app_of(project)
    kept = kept_of(app)
    names = list(kept["providers"])
    if project.anonymous_users_enabled and ANON_USER not in names:
        names.append(ANON_USER)
    if project.realm_local_userpass and LOCAL_USERPASS not in names:
        names.append(LOCAL_USERPASS)
    providers = {}
    for kind in sorted(names, key=lambda kind: (kind not in SUPPORTED, kind)):
        provider = {"disabled": True, **kept["providers"].get(kind, {}), "type": kind, "_id": provider_id(app, kind)}
        if kind == ANON_USER:
            provider["disabled"] = not project.anonymous_users_enabled
        elif kind == LOCAL_USERPASS:
            provider["disabled"] = not project.realm_local_userpass
            config = {key: value for key, column in COLUMNS.items() if (value := getattr(project, column)) != ""}
            provider["config"] = {**provider.get("config", {}), **config}
        providers[kind] = provider
    root_name = kept["root_name"] or ROOT_NAMES[REALM]
    root = dict(kept["root"])
    if is_fresh(app):
        root["name"] = project.slug[:32]
    return RealmDirectory(
        version=kept["version"],
        root_name=root_name if root_name in ROOTS else ROOT_NAMES[REALM],
        app_id=project.realm_app_id,
        allowed_origins=tuple(project.allowed_origins),
        providers=providers,
        root=root,
        custom_user_data=kept["custom_user_data"],
        files=kept["files"],
        sections=kept["sections"],
    )


def export_files(slug: str, *, version: int | None = None, with_ids: bool = True) -> dict[str, bytes]:
    """Path → content of the project as an app directory. Importing it changes nothing in the project.

    `version`: another generation than that which was imported. Raises: UnknownProject, InvalidRealmFiles.
    """
    project = Project.objects.filter(slug=slug, deleted_at=None).first()
    if project is None:
        raise UnknownProject(f"There is no project with the id {slug}.")
    return files_of(directory_of(project), version=version, with_ids=with_ids)
