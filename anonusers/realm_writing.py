"""An app directory of MongoDB's tools, written: each generation's files, always the same bytes for the same app."""

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anonusers.errors import InvalidRealmFiles
from anonusers.realm_json import write
from anonusers.realm_reading import CONFIG, GENERATIONS, REALM, ROOTS, STITCH, RealmDirectory

ROOT_NAMES = {STITCH: "stitch.json", CONFIG: "config.json", REALM: "realm_config.json"}


def files_of(directory: RealmDirectory, *, version: int | None = None, with_ids: bool = True) -> dict[str, bytes]:
    """Path → content, in the generation of `version`, or the directory's own. A template goes without ids.

    Other files (functions, triggers …) come along where they are of the same layout.
    Raises: InvalidRealmFiles for a generation that does not exist.
    """
    version = version or directory.version
    if version not in GENERATIONS:
        known = ", ".join(map(str, GENERATIONS))
        raise InvalidRealmFiles(f"There is no generation {version}. Use one of {known}.")
    generation = GENERATIONS[version]
    root_name = ROOT_NAMES[generation]
    if ROOTS.get(directory.root_name) == generation:
        root_name = directory.root_name
    same_layout = (generation == REALM) == (directory.generation == REALM)
    files = {name: text.encode() for name, text in directory.files.items()} if same_layout else {}
    providers = {
        kind: _provider(kind, provider, generation, with_ids=with_ids) for kind, provider in directory.providers.items()
    }
    files[root_name] = write(_root(directory, version))
    if generation == REALM:
        files["auth/providers.json"] = write(providers)
        if directory.custom_user_data is not None:
            files["auth/custom_user_data.json"] = write(directory.custom_user_data)
    else:
        files |= {f"auth_providers/{kind}.json": write(provider) for kind, provider in providers.items()}
    return dict(sorted(files.items()))


def _root(directory: RealmDirectory, version: int) -> dict[str, Any]:
    root = {"config_version": version, **directory.root}
    if directory.app_id:
        root["app_id"] = directory.app_id
    origins = None if directory.allowed_origins is None else list(directory.allowed_origins)
    if GENERATIONS[version] == REALM:
        if origins is not None:
            root["allowed_request_origins"] = origins
    else:
        if origins is not None:
            root["security"] = {**directory.root.get("security", {}), "allowed_request_origins": origins}
        if directory.custom_user_data is not None:
            root["custom_user_data_config"] = directory.custom_user_data
    return root


def _provider(kind: str, provider: Mapping[str, Any], generation: int, *, with_ids: bool) -> dict[str, Any]:
    written = {**provider, "name": kind}
    if (id := written.pop("_id", None)) and with_ids:
        written["_id" if generation == STITCH else "id"] = id
    return written


def fold(directory: RealmDirectory, *, version: int | None = None) -> dict[str, Any]:
    """The directory as the one JSON object that `read_document` takes."""
    version = version or directory.version
    generation = GENERATIONS[version]
    document = {**_root(directory, version), **directory.sections}
    providers = {
        kind: _provider(kind, provider, generation, with_ids=True) for kind, provider in directory.providers.items()
    }
    if generation == REALM:
        document["auth"] = {"providers": providers}
        if directory.custom_user_data is not None:
            document["auth"]["custom_user_data"] = directory.custom_user_data
    else:
        document["auth_providers"] = list(providers.values())
    return document


def zip_of(files: Mapping[str, bytes]) -> bytes:
    """A ZIP of these files: the same bytes for the same files."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name)  # 1980-01-01, for the same bytes tomorrow
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)
    return target.getvalue()


def write_folder(files: Mapping[str, bytes], folder: Path, *, overwrite: bool = False) -> None:
    """Write the files below a folder, which is made; one that holds something already is refused, unless its files
    may be overwritten. Links in it are not followed. Raises: InvalidRealmFiles."""
    try:
        if folder.exists() and not overwrite and any(folder.iterdir()):
            raise InvalidRealmFiles(f"{folder}: There is something already.")
        for name, content in files.items():
            path = folder / name
            for parent in reversed(path.relative_to(folder).parents[:-1]):
                if (folder / parent).is_symlink():
                    raise InvalidRealmFiles(f"{folder / parent}: Symbolic links are not followed.")
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
            with os.fdopen(os.open(path, flags, 0o644), "wb") as file:
                file.write(content)
    except OSError as error:
        raise InvalidRealmFiles(f"{error.filename or folder}: It cannot be written: {error.strerror}.") from error
