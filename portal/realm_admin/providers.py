"""Providers, as the Admin API shows and changes them one by one: each change is an import of that provider."""

import copy
from collections.abc import Mapping
from typing import Any

from anonusers.models import Project
from anonusers.realm_files import directory_of, fold, read_document
from anonusers.realm_kept import MERGE, REPLACE_BY_NAME
from anonusers.realm_providers import SUPPORTED, UNSUPPORTED
from anonusers.realm_reading import REALM, RealmDirectory
from anonusers.realm_users import realm_app_of
from portal.models import Draft
from portal.realm_admin.wire import Refusal, bad_request, not_found
from portal.realm_import import change_provider
from portal.review import overlay

FIXED = ("_id", "id", "name", "type")
SHOWN = ("config", "secret_config", "metadata_fields", "domain_restrictions", "redirect_uris")


def list_providers(project: Project) -> list[dict[str, Any]]:
    """All of them, as the draft will have them."""
    return [_render(kind, provider) for kind, provider in _drafted(project).providers.items()]


def _drafted(project: Project) -> RealmDirectory:
    """The app as the draft will have it."""
    draft = Draft.objects.filter(project=project).first()
    shown, app = overlay(project, draft), copy.copy(realm_app_of(project))
    for column, value in (draft.beside.get("columns", {}) if draft else {}).items():
        setattr(app, column, value)
    shown.realm_app = app
    return directory_of(shown)


def _render(kind: str, provider: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: provider[name] for name in SHOWN if name in provider}
    return {"_id": provider["_id"], "name": kind, "type": kind, "disabled": provider["disabled"], **shown}


def find_provider(project: Project, provider_id: str) -> dict[str, Any]:
    """Raises: Refusal"""
    for provider in list_providers(project):
        if provider["_id"] == provider_id:
            return provider
    raise not_found("authentication provider", "AuthProviderNotFound")


def create_provider(project: Project, wanted: dict[str, Any], *, actor: Any) -> dict[str, Any]:
    """A provider of a type of which there is none yet, or only a disabled one. Raises: Refusal, InvalidRealmFiles"""
    kind = wanted.get("type")
    if kind not in (*SUPPORTED, *UNSUPPORTED):
        raise bad_request(f"type must be one of {', '.join((*SUPPORTED, *UNSUPPORTED))}", "InvalidParameter")
    known = next((one for one in list_providers(project) if one["type"] == kind), None)
    if known is not None and not known["disabled"]:
        raise Refusal(409, "AuthProviderAlreadyExists", f"an authentication provider of the type {kind} exists already")
    disabled = wanted.get("disabled", kind in UNSUPPORTED)
    given = {**(known or {}), **_checked(wanted, kind), "type": kind, "name": kind, "disabled": disabled}
    _merge(project, given, actor)
    return next(one for one in list_providers(Project.objects.get(pk=project.pk)) if one["type"] == kind)


def change(project: Project, provider_id: str, changes: dict[str, Any], *, actor: Any) -> None:
    """Some keys of a provider get other values. Raises: Refusal, InvalidRealmFiles"""
    known = find_provider(project, provider_id)
    kind = known["type"]
    changed = {**known, **_checked(changes, kind)}
    if kind in UNSUPPORTED and changed["disabled"] is not True:
        raise bad_request(f"this server does not support the provider {kind}: it stays disabled")
    _merge(project, changed, actor)


def delete_provider(project: Project, provider_id: str, *, actor: Any) -> None:
    """Raises: Refusal, where it is enabled."""
    known = find_provider(project, provider_id)
    if not known["disabled"]:
        raise bad_request("an authentication provider must be disabled before it is deleted")
    document = fold(_drafted(project), version=REALM)
    document["auth"]["providers"].pop(known["type"])
    if not document["auth"]["providers"]:
        raise bad_request("an app has at least one authentication provider; it may be disabled")
    change_provider(project, read_document(document), strategy=REPLACE_BY_NAME, actor=actor)


def _checked(changes: Mapping[str, Any], kind: str) -> dict[str, Any]:
    for name in ("type", "name"):
        if changes.get(name, kind) != kind:
            raise bad_request(f"the {name} of this provider is {kind}", "InvalidParameter")
    if not isinstance(changes.get("disabled", False), bool):
        raise bad_request("disabled must be true or false", "InvalidParameter")
    unknown = changes.keys() - {*FIXED, *SHOWN, "disabled"}
    if unknown:
        raise bad_request(f"unknown keys: {', '.join(sorted(unknown))}", "InvalidParameter")
    return {name: value for name, value in changes.items() if name not in FIXED}


def _merge(project: Project, provider: dict[str, Any], actor: Any) -> None:
    # In the generation of the app, so that this says nothing about the rest of its directory.
    version = directory_of(project).version
    document: dict[str, Any] = {"config_version": version}
    if version == REALM:
        document["auth"] = {"providers": {provider["type"]: provider}}
    else:
        document["auth_providers"] = [provider]
    change_provider(project, read_document(document), strategy=MERGE, actor=actor)
