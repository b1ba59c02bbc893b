"""The files of an app directory of MongoDB's tools, from a folder or a ZIP: bounded, and nothing outside of it.

Nothing is ever unpacked to the disk. What cannot be trusted is refused as a whole, with the file and the reason.
"""

import io
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from anonusers.errors import InvalidRealmFiles

ENTRIES_MAX = 10_000
FILE_MAX = 1024 * 1024
"""Bytes of one file. Configuration is small; larger files of an app (hosting, packages) are not read at all."""
TOTAL_MAX = 16 * FILE_MAX
ZIP_MAX = 64 * FILE_MAX

IGNORED = frozenset(("node_modules", "__MACOSX"))
KEPT_HIDDEN = frozenset((".mdb/app_meta.json",))
UNREAD = frozenset(("secrets.json",))
"""Never read: it holds secrets of other services."""

Files = Mapping[str, bytes]


def files_of_folder(folder: Path) -> Files:
    """Path below the folder → content. Raises: InvalidRealmFiles."""
    if not folder.is_dir():
        raise InvalidRealmFiles(f"{folder}: This is neither a directory nor a ZIP file.")
    files: dict[str, bytes] = {}
    total = 0
    for name, path in _walk(folder):
        content = _content(name, path)
        total = _added(name, total, content)
        files[name] = content
    return files


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    seen = 0
    ahead = [("", folder)]
    while ahead:
        below, here = ahead.pop()
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            raise InvalidRealmFiles(f"{below or folder}: The folder cannot be read: {error.strerror}.") from error
        for entry in entries:
            name = f"{below}{entry.name}"
            if is_ignored(f"{name}/" if entry.is_dir(follow_symlinks=False) else name):
                continue
            seen += 1
            if seen > ENTRIES_MAX:
                raise InvalidRealmFiles(f"{name}: There are more than {ENTRIES_MAX} files.")
            _check_name(name)
            if entry.is_symlink():
                raise InvalidRealmFiles(f"{name}: Symbolic links are refused.")
            if entry.is_dir(follow_symlinks=False):
                ahead.append((f"{name}/", Path(entry.path)))
            else:
                yield name, Path(entry.path)


def _content(name: str, path: Path) -> bytes:
    try:
        # A pipe would never end, and a link that was put there meanwhile would lead elsewhere.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InvalidRealmFiles(f"{name}: This is no ordinary file.")
            return file.read(FILE_MAX + 1)
    except OSError as error:
        raise InvalidRealmFiles(f"{name}: The file cannot be read: {error.strerror}.") from error


def files_of_zip(content: bytes) -> Files:
    """The same from the bytes of a ZIP. Raises: InvalidRealmFiles."""
    if len(content) > ZIP_MAX:
        raise InvalidRealmFiles(f"The ZIP file is larger than {_mib(ZIP_MAX)}.")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _unzipped(archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError, RuntimeError) as error:
        raise InvalidRealmFiles(f"The ZIP file cannot be read: {str(error).rstrip('.')}.") from error


def _unzipped(archive: zipfile.ZipFile) -> Files:
    entries = archive.infolist()
    if len(entries) > ENTRIES_MAX:
        raise InvalidRealmFiles(f"The ZIP file has more than {ENTRIES_MAX} entries.")
    named: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        name = entry.orig_filename  # before zipfile makes it harmless
        _check_name(name)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind == stat.S_IFLNK:
            raise InvalidRealmFiles(f"{name}: Symbolic links are refused.")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise InvalidRealmFiles(f"{name}: This is no ordinary file.")
        if entry.flag_bits & 1:
            raise InvalidRealmFiles(f"{name}: Encrypted files cannot be read.")
        if name in named:
            raise InvalidRealmFiles(f"{name}: The ZIP file has two files of this name.")
        named[name] = entry
    top = _only_folder(named)
    files: dict[str, bytes] = {}
    total = 0
    for name, entry in named.items():
        inner = name.removeprefix(top)
        if name.endswith("/") or is_ignored(inner):
            continue
        if entry.file_size > FILE_MAX:
            raise InvalidRealmFiles(_too_large(inner))
        with archive.open(entry) as file:
            inside = file.read(FILE_MAX + 1)  # whatever the entry says of its size
        total = _added(inner, total, inside)
        files[inner] = inside
    return files


def _only_folder(names: Mapping[str, object]) -> str:
    """The folder in which everything lies, with its slash, where the app was zipped with it; else nothing."""
    tops = {name.partition("/")[0] for name in names if not name.startswith("__MACOSX/")}
    top = f"{next(iter(tops))}/" if len(tops) == 1 else ""
    wrapped = top not in ("auth/", "auth_providers/") and all("/" in name for name in names)
    return top if wrapped else ""


def is_ignored(name: str) -> bool:
    """What nobody reads: packages, files to be hosted, what is hidden, and secrets."""
    if name in KEPT_HIDDEN or name in ("", ".mdb/"):
        return False
    parts = name.rstrip("/").split("/")
    return (
        any(part.startswith(".") or part in IGNORED for part in parts)
        or any(part.startswith("node_modules.") for part in parts)
        or name.startswith("hosting/files/")
        or name in UNREAD
    )


def _check_name(name: str) -> None:
    shown = name.encode("unicode_escape").decode("ascii")[:200]
    parts = name.removesuffix("/").split("/")
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        raise InvalidRealmFiles(f"{shown}: Absolute paths are refused.")
    if ".." in parts or "\\" in name:
        raise InvalidRealmFiles(f"{shown}: A path that leads out of the directory is refused.")
    if not name or "." in parts or "" in parts or not name.isprintable() or len(name) > 500:
        raise InvalidRealmFiles(f"{shown}: This is no name of a file.")


def _added(name: str, total: int, content: bytes) -> int:
    if len(content) > FILE_MAX:
        raise InvalidRealmFiles(_too_large(name))
    if total + len(content) > TOTAL_MAX:
        raise InvalidRealmFiles(f"{name}: All files together are larger than {_mib(TOTAL_MAX)}.")
    return total + len(content)


def _too_large(name: str) -> str:
    return f"{name}: The file is larger than {_mib(FILE_MAX)}."


def _mib(size: int) -> str:
    return f"{size // FILE_MAX} MiB"
