"""Bulk actions in the background: in batches, each done by exactly one worker, whichever process that is.

A worker holds a job by a lease. Each batch is one transaction that ends with a conditional UPDATE of the job: where
the lease has passed to another worker meanwhile, or somebody cancelled, the row count is 0 and the batch never was. A
worker that dies leaves a lease that ends; whoever looks at the job next goes on behind the last batch.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import DatabaseError, OperationalError, connections, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from anonusers.administration import delete_user, disable_user, enable_user, end_sessions
from anonusers.audit import record
from anonusers.errors import AnonUsersError, CleanupRefused, ErasureForbidden
from anonusers.models import EndUser
from anonusers.people import LAST_ID, Cursor, next_ids, parse_cursor
from portal.models import Job
from portal.people import read_query

logger = logging.getLogger(__name__)

BATCH = 200
LEASE = timedelta(seconds=60)
"""So long nobody else goes on with a job; a batch takes a few seconds."""
TRIES = 5
OPEN = (Job.State.WAITING, Job.State.RUNNING)
FORGOTTEN: dict[str, Any] = {"selection": {}, "cursor": ""}
"""At its end a job says how many, and not who: they may be erased since, and what was searched for is an address."""
FAILURES: dict[str, Any] = {
    "filters_gone": _("Its filters are not valid any more: what they name is gone."),
    "undeclared": _("Nobody can be deleted before it is declared what becomes of the host's data: %(detail)s"),
    "refused": _("This server refused it: %(detail)s"),
    "database": _("The database could not be used: %(detail)s"),
    "unexpected": _("Something went wrong that nobody expected, see the server's log: %(detail)s"),
}
"""Why a job failed, for whoever looks, in their language. `Job.error` is the code, or `code: detail`; a detail is what
the library, the host or `manage.py check` says, and nothing that we could translate."""


@dataclass(frozen=True)
class Action:
    """`act` does it to one person, and says whether there was anything to do. `type` is what the audit log calls it."""

    verb: Any
    type: str
    act: Callable[[EndUser, Job, Any], bool]


def _delete(end_user: EndUser, job: Job, actor: Any) -> bool:
    try:
        delete_user(end_user=end_user)
    except ErasureForbidden:
        return False
    # For each person, not only for the job: afterwards nothing else says that they were here and were erased.
    changes = {"job": job.pk}
    record("users", "user.deleted", project=job.project, actor=actor, end_user_id=end_user.pk, changes=changes)
    return True


ACTIONS = {
    "disable": Action(_("Disable"), "users.bulk_disabled", lambda one, job, actor: disable_user(end_user=one)),
    "enable": Action(_("Enable"), "users.bulk_enabled", lambda one, job, actor: enable_user(end_user=one)),
    "end_sessions": Action(
        _("End sessions"), "users.bulk_sessions_ended", lambda one, job, actor: bool(end_sessions(end_user=one))
    ),
    "delete": Action(_("Delete"), "users.bulk_deleted", _delete),
}


# --- start ----------------------------------------------------------------------------------------


def start(job: Job) -> None:
    """Begin, or go on, once the transaction is committed. Who is too many finds no lease and leaves."""
    transaction.on_commit(lambda: _spawn(job.pk))


def _spawn(pk: int) -> None:
    threading.Thread(target=_run, args=(pk,), name=f"portal-job-{pk}", daemon=True).start()


def _run(pk: int) -> None:
    try:
        work(pk)
    except Exception:
        logger.exception("job %s: its worker has ended", pk)
    finally:
        connections.close_all()


def is_abandoned(job: Job, now: datetime | None = None) -> bool:
    """Whether it is not at its end, and nobody works on it."""
    return job.state in OPEN and (job.leased_until is None or job.leased_until <= (now or timezone.now()))


def unfinished() -> QuerySet[Job]:
    return Job.objects.filter(state__in=OPEN).order_by("pk")


def cancel(job: Job) -> bool:
    """The batch that is on its way is undone; what was done before stays. False where it has ended already."""
    states = {"state": Job.State.CANCELLED, "leased_until": None, "finished_at": timezone.now()}
    return bool(Job.objects.filter(pk=job.pk, state__in=OPEN).update(**states, **FORGOTTEN))


def retry(job: Job) -> bool:
    """Go on behind the last batch of a job that has failed. False where it has not."""
    states: dict[str, Any] = {"state": Job.State.WAITING, "leased_until": None, "finished_at": None, "error": ""}
    return bool(Job.objects.filter(pk=job.pk, state=Job.State.FAILED).update(**states))


# --- work -----------------------------------------------------------------------------------------


class _Lost(Exception):
    """The lease is somebody else's, or the job was cancelled."""


class _FiltersGone(Exception):
    """What a filter names, such as an application, was deleted meanwhile."""


def work(pk: int) -> bool:
    """Take a job that nobody holds, and go on to its end. False where somebody holds it, or it has ended."""
    lease = _claim(pk)
    claimed, tries = lease is not None, 0
    while lease is not None:
        held = lease
        try:
            lease, tries = _do_batch(pk, held), 0
        except _Lost:
            return True
        except OperationalError as error:  # rows that somebody else holds, a deadlock, a database that restarts
            tries += 1
            if tries == TRIES:
                _fail(pk, held, error)
                return True
            logger.warning("job %s: a batch has to be repeated", pk, exc_info=True)
            time.sleep(0.1 * 2**tries)
        except Exception as error:
            logger.exception("job %s: a batch has failed", pk)
            _fail(pk, held, error)
            return True
    return claimed


def _claim(pk: int) -> datetime | None:
    """One conditional UPDATE whose row count decides. The lease names its holder: nobody has another with its end."""
    now = timezone.now()
    free = Job.objects.filter(Q(leased_until=None) | Q(leased_until__lte=now), pk=pk, state__in=OPEN)
    return now + LEASE if free.update(state=Job.State.RUNNING, leased_until=now + LEASE) else None


def _do_batch(pk: int, lease: datetime) -> datetime | None:
    """The next batch, all of it or nothing. Returns the lease for the one after it, None at the end.

    Raises: _Lost.
    """
    with transaction.atomic():
        job = Job.objects.select_related("project").filter(pk=pk).first()
        if job is None:
            raise _Lost
        ids, cursor = _next(job)
        done = _act(job, ids)
        at_end = cursor is None
        now = timezone.now()
        held = Job.objects.filter(pk=pk, state=Job.State.RUNNING, leased_until=lease)
        mine = held.update(
            state=Job.State.FINISHED if at_end else Job.State.RUNNING,
            done=F("done") + done,
            passed_over=F("passed_over") + len(ids) - done,
            leased_until=None if at_end else now + LEASE,
            finished_at=now if at_end else None,
            **(FORGOTTEN if at_end else {"cursor": cursor}),
        )
        if not mine:
            raise _Lost
    return None if at_end else now + LEASE


def _next(job: Job) -> tuple[list[uuid.UUID], str | None]:
    """The next people, and what names the last one that was looked at; None behind everybody.

    Raises: _FiltersGone.
    """
    if "subs" in job.selection:
        rest = sorted(sub for sub in job.selection["subs"] if sub > job.cursor)
        batch = rest[:BATCH]
        return [uuid.UUID(sub) for sub in batch], batch[-1] if len(rest) > BATCH else None
    form = read_query(job.selection["filters"], job.project)
    if not form.is_valid():
        raise _FiltersGone
    # Who came after the job was ordered was not meant.
    after = parse_cursor(job.cursor) if job.cursor else Cursor(job.created_at, LAST_ID)
    ids, place = next_ids(job.project, filters=form.filters, after=after, size=BATCH, now=job.created_at)
    return ids, str(place) if place else None


def _act(job: Job, ids: list[uuid.UUID]) -> int:
    """How many there was something to do for. In the order of the key, as the clean-up locks them."""
    action, actor = ACTIONS[job.action], _actor_of(job)
    people = EndUser.objects.filter(project=job.project, pk__in=ids).order_by("pk")
    return sum(action.act(end_user, job, actor) for end_user in people)


def _actor_of(job: Job) -> Any:
    model: Any = get_user_model()
    return model._base_manager.filter(**{model.USERNAME_FIELD: job.actor}).first()


def _fail(pk: int, lease: datetime, error: Exception) -> None:
    Job.objects.filter(pk=pk, state=Job.State.RUNNING, leased_until=lease).update(
        state=Job.State.FAILED, error=_failure_of(error)[:300], leased_until=None, finished_at=timezone.now()
    )


def _failure_of(error: Exception) -> str:
    match error:
        case _FiltersGone():
            return "filters_gone"
        case CleanupRefused():
            code, detail = "undeclared", error.message
        case AnonUsersError():
            code, detail = "refused", error.message
        case _:
            code = "database" if isinstance(error, DatabaseError) else "unexpected"
            detail = f"{type(error).__name__}: {error}"
    return f"{code}: {' '.join(detail.split())}"


def failure_in_words(job: Job) -> str:
    """Why it failed; what is no code of ours, such as a sentence of an earlier version, as it stands there."""
    code, _colon, detail = job.error.partition(": ")
    if code not in FAILURES:
        return job.error
    return str(FAILURES[code]) % {"detail": gettext(detail) if detail else ""}
