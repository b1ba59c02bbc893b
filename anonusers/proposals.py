"""Where changes of settings may wait for somebody to look at them. The app itself has no such place; the portal has."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from anonusers.models import Project
from anonusers.project_file import Change, ProjectFile


@dataclass(frozen=True)
class Proposed:
    """`waiting` changes wait for review. `left_out` are those that cannot wait: whole applications, hosts, and what
    depends on them. `made` are the client IDs of applications that were made at once, so that the others can wait."""

    waiting: int
    left_out: tuple[Change, ...]
    made: tuple[str, ...] = ()


Propose = Callable[[Project, ProjectFile, Any], Proposed]

_registered: list[Propose] = []


def register(propose: Propose) -> None:
    """Whoever has a place for review says so once, when it starts."""
    if propose not in _registered:
        _registered[:] = [propose]


def is_possible() -> bool:
    """Whether there is a place where changes wait for review."""
    return bool(_registered)


def propose(project: Project, project_file: ProjectFile, author: Any = None) -> Proposed | None:
    """Let the changes that the file would make wait for review. `author`: the operator's row, if there is one.

    None where there is no place for it. Nothing is in effect before somebody deploys it.
    """
    return _registered[0](project, project_file, author) if _registered else None
