"""What an app directory says that we do not act on: kept beside the project (`RealmApp`), for an export."""

from collections.abc import Mapping
from typing import Any

from anonusers.errors import InvalidRealmFiles
from anonusers.models import RealmApp
from anonusers.realm_providers import ACTED_ON, ANON_USER, LOCAL_USERPASS, SUPPORTED
from anonusers.realm_reading import REALM, RealmDirectory
from anonusers.realm_users import provider_id
from anonusers.realm_writing import ROOT_NAMES

MERGE, REPLACE, REPLACE_BY_NAME = STRATEGIES = ("merge", "replace", "replace-by-name")
"""Create and update only; also take away what the upload has not; the same, and ids that are known stay."""

Kept = dict[str, Any]
GIVEN = ("location", "deployment_model", "environment")
"""What the Admin API is told of an app that it makes."""


def is_fresh(app: RealmApp | None) -> bool:
    """Whether nothing was ever imported."""
    return app is None or "version" not in app.rest


def kept_of(app: RealmApp | None) -> Kept:
    """`RealmApp.rest`, whole. A project that was never imported has the two providers that we act on."""
    stored: Kept = dict(app.rest) if app else {}
    fresh = is_fresh(app)
    given = {key: stored.pop(key) for key in GIVEN if fresh and key in stored}
    return {
        **stored,
        "version": stored.get("version", REALM),
        "root_name": stored.get("root_name", ""),
        "root": stored.get("root", given),
        "providers": stored.get("providers", {ANON_USER: {}, LOCAL_USERPASS: {}} if fresh else {}),
        "custom_user_data": stored.get("custom_user_data"),
        "files": stored.get("files", {}),
        "sections": stored.get("sections", {}),
    }


def rest_after(before: Kept, directory: RealmDirectory, providers: Mapping[str, Any], strategy: str) -> Kept:
    merges = strategy == MERGE
    has_root = bool(directory.root_name) or directory.folded
    same_layout = (directory.version >= REALM) == (before["version"] >= REALM)
    root = dict(directory.root) if has_root and not merges else {**before["root"], **directory.root}
    custom = directory.custom_user_data
    if custom is None and (merges or not has_root):
        custom = before["custom_user_data"]
    files, sections = dict(directory.files), dict(directory.sections)
    if directory.folded or merges:
        files = {**(before["files"] if same_layout else {}), **files}
    if not directory.folded or merges:
        sections = {**before["sections"], **sections}
    return {
        **before,
        "version": directory.version,
        "root_name": directory.root_name or ROOT_NAMES[directory.generation],
        "root": root,
        "providers": {kind: _without_settings(kind, provider) for kind, provider in providers.items()},
        "custom_user_data": custom,
        "files": files,
        "sections": sections,
    }


def _without_settings(kind: str, provider: Mapping[str, Any]) -> dict[str, Any]:
    """What of a provider has no column of ours; its presence says that there is one."""
    kept = {key: value for key, value in provider.items() if key not in ("_id", "type")}
    if kind in (ANON_USER, LOCAL_USERPASS):
        kept.pop("disabled", None)
    if kind == LOCAL_USERPASS and "config" in kept:
        kept["config"] = {key: value for key, value in kept["config"].items() if key not in ACTED_ON}
    return kept


def changes_of_kept(
    app: RealmApp | None, before: Kept, after: Kept, provider_ids: Mapping[str, str], ids: Mapping[str, str]
) -> list[str]:
    lines = []
    known = {kind: provider_id(app, kind) for kind in after["providers"]} if app else {}
    if is_fresh(app):
        lines.append(f"+ realm.config_version: {after['version']}")
    elif (old := before["version"]) != after["version"]:
        lines.append(f"~ realm.config_version: {old} -> {after['version']}")
    elif before["root_name"] != after["root_name"]:
        lines.append(f"~ realm.root_file: {before['root_name']} -> {after['root_name']}")
    old_providers, new_providers = before["providers"], after["providers"]
    for kind in sorted(old_providers.keys() | new_providers.keys()):
        at = f"realm.providers.{kind}"
        if kind not in new_providers:
            lines.append(f"- {at}")
        elif kind not in old_providers:
            lines.append(f"+ {at}" + ("" if kind in SUPPORTED else " (not supported: disabled, kept for an export)"))
        elif old_providers[kind] != new_providers[kind]:
            lines.append(f"~ {at}: other options, kept for an export")
        if kind in provider_ids and known.get(kind) != provider_ids[kind]:
            lines.append(f"~ {at}.id: {known.get(kind, 'none')} -> {provider_ids[kind]}")
    for name in ("root", "files", "sections"):
        old_keys, new_keys = before[name], after[name]
        for key in sorted(old_keys.keys() | new_keys.keys()):
            if key not in new_keys:
                lines.append(f"- realm.{name}: {key}")
            elif key not in old_keys:
                lines.append(f"+ realm.{name}: {key}")
            elif old_keys[key] != new_keys[key]:
                lines.append(f"~ realm.{name}: {key}")
    if before["custom_user_data"] != after["custom_user_data"]:
        lines.append("~ realm.custom_user_data (kept for an export)")
    for column, value in ids.items():
        if (stored := getattr(app, column, None)) != value:
            lines.append(f"~ realm.{column}: {stored or 'none'} -> {value}")
    return lines


def check_ids(app: RealmApp | None, ids: Mapping[str, str]) -> None:
    """Two apps of one user pool could not be told apart by a token. Raises: InvalidRealmFiles."""
    others = RealmApp.objects.exclude(pk=app.pk) if app else RealmApp.objects.all()
    for column, words in (("domain_id", "domain id"), ("object_id", "app id")):
        if column in ids and (other := others.filter(**{column: ids[column]}).select_related("project").first()):
            raise InvalidRealmFiles(f"The {words} {ids[column]} belongs to the project {other.project.slug}.")
