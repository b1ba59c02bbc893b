"""An app directory of MongoDB Stitch, Realm or App Services, of whichever generation, read into one form.

`read_directory`, `read_zip` and `read_document` (the directory folded into one JSON object, as the Admin API takes it)
raise InvalidRealmFiles with the file and the reason; what is odd but harmless is a warning.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from anonusers.errors import InvalidRealmFiles
from anonusers.realm_json import check, is_text, parse, plain
from anonusers.realm_providers import ANON_USER, SUPPORTED, read_provider
from anonusers.realm_sources import UNREAD, ZIP_MAX, Files, files_of_folder, files_of_zip

STITCH, CONFIG, REALM = 20180301, 20200603, 20210101
ROOTS = {"realm_config.json": REALM, "root_config.json": REALM, "config.json": CONFIG, "stitch.json": STITCH}
"""Root files, and the generation of each, in the order in which the tools look for them."""
GENERATIONS = {STITCH: STITCH, 20180302: STITCH, CONFIG: CONFIG, REALM: REALM}
"""`config_version` → generation."""
KNOWN_ROOT = {
    "name": str,
    "location": str,
    "deployment_model": str,
    "environment": str,
    "hosting": dict,
    "sync": dict,
    "security": dict,
    "template": dict,
}
CHOICES = {
    "environment": ("", "development", "testing", "qa", "production"),
    "deployment_model": ("GLOBAL", "LOCAL"),
    "location": ("US-VA", "US-OR", "DE-FF", "IE", "AU", "IN-MB", "SG", "BR-SP"),
}
SECTIONS = frozenset(
    """
    functions triggers values services graphql hosting environments log_forwarders data_sources http_endpoints sync
    endpoints dependencies data_api_config
    """.split()  # noqa: SIM905
)
"""What a folded directory holds beside the root file and the providers: nothing that we act on."""
ORIGINS_MAX, ORIGIN_MAX = 1000, 300
KEPT_MAX = 4 * 1024 * 1024
"""Characters of files that are kept without being acted on."""
PROVIDERS_MAX = 50


@dataclass(frozen=True, kw_only=True)
class RealmDirectory:
    """What an app directory says. `root` and `files` are what we do not act on and keep for an export."""

    version: int  # the `config_version`
    root_name: str  # of the root file; empty: there was none
    app_id: str  # the client app id; empty: not said
    allowed_origins: tuple[str, ...] | None  # None: not said
    providers: Mapping[str, Mapping[str, Any]]  # type → provider, with `disabled`
    root: Mapping[str, Any] = field(default_factory=dict)
    custom_user_data: Mapping[str, Any] | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    sections: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, str] = field(default_factory=dict)  # `app_id` and `group_id`: object ids of .mdb/app_meta.json
    folded: bool = field(default=False, compare=False)  # it came as one document, which has no files
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @property
    def generation(self) -> int:
        return GENERATIONS[self.version]


def read_directory(path: str | PathLike[str]) -> RealmDirectory:
    """A folder, or a ZIP file."""
    where = Path(path)
    if where.is_file():
        try:
            with where.open("rb") as file:
                content = file.read(ZIP_MAX + 1)
        except OSError as error:
            raise InvalidRealmFiles(f"{path}: The file cannot be read: {error.strerror}.") from error
        return read_zip(content)
    return _from_files(files_of_folder(where), [])


def read_zip(content: bytes) -> RealmDirectory:
    """The bytes of a ZIP file."""
    return _from_files(files_of_zip(content), [])


def _from_files(files: Files, warnings: list[str]) -> RealmDirectory:
    rest = dict(files)
    found = [name for name in ROOTS if name in files]
    root_name = found[0] if found else ""
    layouts = [name for name in ("auth/providers.json", "auth/custom_user_data.json") if name in files]
    old = sorted(name for name in files if re.fullmatch(r"auth_providers/[^/]+\.json", name))
    if not root_name and not old and not layouts:
        roots = ", ".join(ROOTS)
        raise InvalidRealmFiles(f"This is no app directory: there is none of {roots}, auth_providers/, auth/.")
    warnings += [f"{name}: left alone, since {root_name} goes before it." for name in found[1:]]

    text = rest.pop(root_name, b"")
    root = _table(parse(text, root_name) if text.strip() else {}, root_name)
    providers = []
    for name in old:
        providers.append((parse(rest.pop(name), name), name, ""))
    if (content := rest.pop("auth/providers.json", None)) is not None:
        named = _table(parse(content, "auth/providers.json"), "auth/providers.json")
        providers += [(table, f"auth/providers.json: {name}", name) for name, table in named.items()]
    custom = None
    if (content := rest.pop("auth/custom_user_data.json", None)) is not None:
        custom = _table(parse(content, "auth/custom_user_data.json"), "auth/custom_user_data.json")
    meta: Mapping[str, Any] = {}
    if (content := rest.pop(".mdb/app_meta.json", None)) is not None:
        meta = _table(parse(content, ".mdb/app_meta.json"), ".mdb/app_meta.json")
    guess = ROOTS.get(root_name, REALM if layouts else CONFIG)
    return _directory(root, root_name, guess, providers, custom, _texts(rest, warnings), {}, meta, warnings)


def read_document(document: Any, where: str = "import") -> RealmDirectory:
    """The directory folded into one JSON object: the root file's keys, and `auth_providers` (a list) or `auth`."""
    check(document, where)
    root = dict(_table(document, where))
    warnings: list[str] = []
    if root.pop("secrets", None):
        warnings.append(f"{where}: secrets: left out. Secrets are never stored.")
    providers = []
    old = root.pop("auth_providers", None)
    if old is not None:
        if not isinstance(old, list):
            raise InvalidRealmFiles(f"{where}: auth_providers: This must be a list.")
        providers += [(table, f"{where}: auth_providers[{index}]", "") for index, table in enumerate(old)]
    auth = _table(root.pop("auth", {}), f"{where}: auth")
    named = _table(auth.get("providers", {}), f"{where}: auth.providers")
    providers += [(table, f"{where}: auth.providers.{name}", name) for name, table in named.items()]
    custom = auth.get("custom_user_data")
    if custom is not None:
        custom = _table(custom, f"{where}: auth.custom_user_data")
    # A folder of that name and a key of the root file are folded into one: a table of settings is the latter.
    sections = {
        name: root.pop(name)
        for name in sorted(SECTIONS & root.keys())
        if not isinstance(root[name], KNOWN_ROOT.get(name, ()))
    }
    guess = REALM if "auth" in document else CONFIG
    return _directory(root, "", guess, providers, custom, {}, sections, {}, warnings, where)


def _directory(
    root: Mapping[str, Any],
    root_name: str,
    guess: int,
    providers: list[tuple[Any, str, str]],
    custom: Mapping[str, Any] | None,
    files: Mapping[str, str],
    sections: Mapping[str, Any],
    meta: Mapping[str, Any],
    warnings: list[str],
    where: str = "",
) -> RealmDirectory:
    where = where or root_name
    rest = dict(root)
    version = plain(rest.pop("config_version", guess))
    if type(version) is not int or version not in GENERATIONS:
        known = ", ".join(map(str, GENERATIONS))
        raise InvalidRealmFiles(f"{where}: config_version: This must be one of {known}.")
    app_id = _text(rest.pop("app_id", ""), f"{where}: app_id")
    if app_id and not re.fullmatch(r"[\x21-\x7e]{1,100}", app_id):
        raise InvalidRealmFiles(f"{where}: app_id: Use 1 to 100 visible ASCII characters without spaces.")
    origins = _origins(rest, where)
    kept = rest.pop("custom_user_data_config", None)
    if kept is not None and custom is None:
        custom = _table(kept, f"{where}: custom_user_data_config")
    _check_root(rest, where, warnings)
    if custom and custom.get("enabled"):
        warnings.append("Custom user data is not supported here; the setting is kept for an export.")
    if sections:
        warnings.append(f"Nothing is done with: {', '.join(sections)}. It is kept as it is.")
    return RealmDirectory(
        version=version,
        root_name=root_name,
        app_id=app_id,
        allowed_origins=origins,
        providers=_providers(providers, warnings),
        root=rest,
        custom_user_data=custom,
        files=files,
        sections=sections,
        meta=_meta(meta, warnings),
        folded=not root_name and bool(where),
        warnings=tuple(warnings),
    )


def _providers(tables: list[tuple[Any, str, str]], warnings: list[str]) -> dict[str, Mapping[str, Any]]:
    if len(tables) > PROVIDERS_MAX:
        raise InvalidRealmFiles(f"There are more than {PROVIDERS_MAX} providers.")
    found: dict[str, Mapping[str, Any]] = {}
    for table, where, key in tables:
        provider = read_provider(table, where, key, warnings)
        if provider["type"] in found:
            raise InvalidRealmFiles(f"{where}: type: There are two providers of the type {provider['type']}.")
        found[provider["type"]] = provider
    if found and all(provider["disabled"] for provider in found.values()):
        warnings.append("Every provider is disabled: nobody can log in.")
    if ANON_USER not in found and found:
        warnings.append("There is no provider anon-user.")
    return {name: found[name] for name in sorted(found, key=lambda name: (name not in SUPPORTED, name))}


def _origins(rest: dict[str, Any], where: str) -> tuple[str, ...] | None:
    """The list of both generations, which leaves `rest`."""
    lists = []
    if isinstance(rest.get("security"), Mapping):
        security = dict(rest["security"])
        lists.append((security.pop("allowed_request_origins", None), "security.allowed_request_origins"))
        rest["security"] = security
        if not security:
            del rest["security"]
    lists.append((rest.pop("allowed_request_origins", None), "allowed_request_origins"))
    said = [(listed, f"{where}: {key}") for listed, key in lists if listed is not None]
    for listed, at in said:
        if not isinstance(listed, list) or not all(isinstance(origin, str) for origin in listed):
            raise InvalidRealmFiles(f"{at}: This must be a list of strings.")
        if len(listed) > ORIGINS_MAX or any(len(origin) > ORIGIN_MAX for origin in listed):
            raise InvalidRealmFiles(f"{at}: List at most {ORIGINS_MAX} origins of {ORIGIN_MAX} characters.")
    if not said:
        return None
    if any(listed != said[0][0] for listed, _ in said):
        raise InvalidRealmFiles(f"{said[1][1]}: Two lists of origins differ.")
    return tuple(dict.fromkeys(said[0][0]))


def _check_root(rest: Mapping[str, Any], where: str, warnings: list[str]) -> None:
    for name, value in rest.items():
        kind = KNOWN_ROOT.get(name)
        if kind is None:
            warnings.append(f"{where}: {name}: Unknown key, kept as it is.")
        elif not isinstance(value, kind):
            words = "a table" if kind is dict else "a string"
            raise InvalidRealmFiles(f"{where}: {name}: This must be {words}.")
        elif name in CHOICES and value not in CHOICES[name]:
            warnings.append(f"{where}: {name}: {value!r} is unknown, kept as it is.")


def _texts(rest: Files, warnings: list[str]) -> dict[str, str]:
    """The other files, as far as they are text."""
    texts = {}
    for name, content in sorted(rest.items()):
        if name in ROOTS or name in UNREAD:
            continue
        try:
            text = content.decode()
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text or not is_text(text):
            warnings.append(f"{name}: left out, since it is not text.")
        else:
            texts[name] = text
    if sum(map(len, texts.values())) > KEPT_MAX:
        warnings.append(f"{len(texts)} other files are left out: they are larger than 4 MiB together.")
        return {}
    if texts:
        tops = sorted({name.partition("/")[0] for name in texts})
        warnings.append(f"Nothing is done with: {', '.join(tops)}. These files are kept for an export.")
    return texts


def _meta(meta: Mapping[str, Any], warnings: list[str]) -> dict[str, str]:
    found = {}
    for name in ("app_id", "group_id"):
        value = plain(meta.get(name, ""))
        if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{24}", value):
            found[name] = value
        elif value:
            warnings.append(f".mdb/app_meta.json: {name}: This is no object id; left out.")
    return found


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidRealmFiles(f"{where}: This must be a JSON object.")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidRealmFiles(f"{where}: This must be a string.")
    return value
