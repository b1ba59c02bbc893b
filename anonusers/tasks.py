"""The clean-up on schedule: one function that any scheduler can call, and the same as a task where Django has tasks."""

import logging
from collections.abc import Iterator
from typing import Any

from anonusers import metrics
from anonusers.cleanup import Report, clean_up
from anonusers.errors import CleanupRefused
from anonusers.models import Project
from anonusers.projects import remove_closed

logger = logging.getLogger(__name__)

FAILED, UNKNOWN = "failed", "unknown"


def clean_up_projects(*slugs: str) -> dict[str, Any]:
    """Clean up these projects, all without a name, one after the other; then go on with what is left of projects that
    were deleted. What stops one does not stop the others.

    Returns plain values for a scheduler to keep: `{"ok": …, "projects": {slug: {"state", "reason", "removed",
    "quarantined"}}}`. `state` is `finished`, `stopped` (an unusual share of all guests would go), `refused` (it is not
    declared what becomes of the host's data), `failed` (the log says why) or `unknown` (no such project); `ok` is
    whether all have finished. It raises nothing of that, so that a scheduler which retries what raises does not.
    """
    told = {slug: _told(UNKNOWN, "there is no such project") for slug in slugs}
    told |= {slug: _summary(outcome) for slug, outcome in outcomes(*slugs)}
    fine = all(one["state"] == "finished" for one in told.values())
    return {"ok": (bool(slugs) or remove_closed_projects()) and fine, "projects": told}


def outcomes(*slugs: str, **options: Any) -> Iterator[tuple[str, Report | Exception]]:
    """What became of each project, when it is done: a report, or what has stopped it, which is logged and counted by
    now. `options` are those of `clean_up`."""
    projects = Project.objects.filter(deleted_at=None).order_by("slug")
    for project in list(projects.filter(slug__in=slugs) if slugs else projects):
        outcome: Report | Exception
        try:
            outcome = clean_up(project, **options)
        except CleanupRefused as refused:
            logger.error("clean-up of %s refused: %s", project.slug, refused.message)
            outcome = refused
        except Exception as error:
            logger.exception("the clean-up of %s was interrupted", project.slug)
            outcome = error
        if not options.get("dry_run"):
            _count(project.slug, outcome)
        yield project.slug, outcome


def remove_closed_projects() -> bool:
    """Go on with projects that were deleted in the portal. Whether nobody has to look after them."""
    fine = True
    for project in Project.objects.exclude(deleted_at=None).order_by("pk"):
        fine = _remove(project) and fine
    return fine


def _remove(project: Project) -> bool:
    try:
        remains = remove_closed(project=project)
    except Exception:
        logger.exception("the removal of %s was interrupted", project.slug)
        return False
    if remains.is_gone:
        logger.info("%s (%s) is removed: %d people", project.name, project.slug, remains.removed)
    else:
        held = f"{remains.held} people are" if remains.held else "something is"
        logger.error("%s (%s) cannot be removed: %s held by the host's data", project.name, project.slug, held)
    return remains.is_gone


def _count(slug: str, outcome: Report | Exception) -> None:
    summary = _summary(outcome)
    metrics.count("anonusers_cleanup_runs_total", slug, summary["state"])
    metrics.count("anonusers_cleanup_removed_total", slug, amount=summary["removed"])


def _summary(outcome: Report | Exception) -> dict[str, Any]:
    match outcome:
        case Report():
            removed, aside = (outcome.counts.get(name, 0) for name in ("removed", "quarantined"))
            return _told(str(outcome.state), outcome.reason, removed, aside)
        case CleanupRefused():
            return _told("refused", outcome.message)
    return _told(FAILED, type(outcome).__name__)  # its text may hold anything


def _told(state: str, reason: str, removed: int = 0, quarantined: int = 0) -> dict[str, Any]:
    return {"state": state, "reason": reason, "removed": removed, "quarantined": quarantined}


try:
    from django.tasks import task
except ImportError:  # Django 5
    pass
else:

    @task
    def clean_up_task(*slugs: str) -> dict[str, Any]:
        """`clean_up_task.enqueue()`, or with the slugs of some projects."""
        return clean_up_projects(*slugs)
