"""What is left of people who were here: sessions that are over, spent secrets, keys of nobody, old counters."""

import uuid
from datetime import timedelta
from typing import Any

from django.db import router
from django.db.models import Max, Q, QuerySet
from django.db.models.functions import Coalesce

from anonusers.cleanup_run import Run, everybody, windows_of
from anonusers.counting import day_of
from anonusers.models import (
    ActiveDay,
    AnonymousIdentity,
    DeviceKey,
    EmailRegistration,
    EndUser,
    OneTimeToken,
    RateWindow,
    Session,
)
from anonusers.reach import Window, live_sessions

SECRETS_KEPT = timedelta(days=1)
"""A one-time secret that has expired is of use for a while: its second use is told from a guess."""
ACTIVE_DAYS_KEPT = timedelta(days=400)
REGISTRATIONS_KEPT = timedelta(days=30)
"""An address that somebody typed in and nobody confirmed."""


def _old_sessions(run: Run, window: Window) -> list[uuid.UUID]:
    """Over for longer than their history is wanted. The last one of a guest stays: it says when they were here."""
    since = run.ago(run.project.session_history_days)
    theirs = Session.objects.filter(project=run.project, end_user__gte=window[0], end_user__lte=window[1])
    over = Q(ended_at__lt=since) | (Q(ended_at=None) & ~live_sessions(run.project, since))
    found = list(theirs.filter(over).values_list("pk", "end_user_id", "last_used_at"))
    if not found:
        return []
    guests = set(AnonymousIdentity.objects.filter(pk__gte=window[0], pk__lte=window[1]).values_list("pk", flat=True))
    last = dict(theirs.values_list("end_user_id").annotate(last=Max("last_used_at")))
    return [pk for pk, user, used in found if user not in run.leaving and (user not in guests or used < last[user])]


def count_sessions(run: Run) -> None:
    for window in windows_of(run, everybody(run), breathe=False):
        run.counts["sessions"] += len(_old_sessions(run, window))


def drop_sessions(run: Run) -> None:
    for window in windows_of(run, everybody(run)):
        if found := _old_sessions(run, window):
            run.counts["sessions"] += int(Session.objects.filter(pk__in=found)._raw_delete(_alias()))


def _old_secrets(run: Run) -> QuerySet[OneTimeToken]:
    return OneTimeToken.objects.filter(project=run.project, expires_at__lt=run.now - SECRETS_KEPT)


def count_secrets(run: Run) -> None:
    owners = _old_secrets(run).values_list("end_user_id", flat=True).iterator()
    run.counts["secrets"] += sum(owner not in run.leaving for owner in owners)


def drop_secrets(run: Run) -> None:
    for window in windows_of(run, _old_secrets(run)):
        run.counts["secrets"] += _drop(_old_secrets(run).filter(pk__range=window))


def _old_keys(run: Run) -> QuerySet[DeviceKey]:
    if not run.project.retired_key_days:
        return DeviceKey.objects.none()
    retired = DeviceKey.objects.filter(project=run.project, end_user=None)
    over = Coalesce("retired_at", "last_used_at")
    return retired.alias(over=over).filter(over__lt=run.ago(run.project.retired_key_days))


def drop_keys(run: Run) -> None:
    for window in windows_of(run, _old_keys(run)):
        run.counts["keys"] += _drop(_old_keys(run).filter(pk__range=window))


def _drop(queryset: QuerySet[Any]) -> int:
    found = list(queryset.values_list("pk", flat=True))
    return int(queryset.model.objects.filter(pk__in=found)._raw_delete(_alias())) if found else 0


def _alias() -> str:
    return router.db_for_write(EndUser)


def count_keys(run: Run) -> None:
    run.counts["keys"] += _old_keys(run).count()


def _over_windows(run: Run) -> QuerySet[RateWindow]:
    return RateWindow.objects.filter(ends_at__lte=run.now)


def count_windows(run: Run) -> None:
    run.counts["windows"] += _over_windows(run).count()


def drop_windows(run: Run) -> None:
    for window in windows_of(run, _over_windows(run)):
        run.counts["windows"] += _drop(_over_windows(run).filter(pk__range=window))


def _old_days(run: Run) -> QuerySet[ActiveDay]:
    return ActiveDay.objects.filter(project=run.project, day__lt=day_of(run.now - ACTIVE_DAYS_KEPT))


def count_days(run: Run) -> None:
    run.counts["days"] += _old_days(run).count()


def drop_days(run: Run) -> None:
    # By day, as the index has it: by the primary key the table would be read to its end.
    while found := list(_old_days(run).order_by("day").values_list("pk", flat=True)[: run.batch]):
        run.counts["days"] += int(ActiveDay.objects.filter(pk__in=found)._raw_delete(_alias()))
        run.breathe()


def _old_registrations(run: Run) -> QuerySet[EmailRegistration]:
    since = run.now - REGISTRATIONS_KEPT
    return EmailRegistration.objects.filter(project=run.project, confirmed_at=None, created_at__lt=since)


def count_registrations(run: Run) -> None:
    run.counts["registrations"] += _old_registrations(run).count()


def drop_registrations(run: Run) -> None:
    for window in windows_of(run, _old_registrations(run)):
        run.counts["registrations"] += _drop(_old_registrations(run).filter(pk__range=window))
