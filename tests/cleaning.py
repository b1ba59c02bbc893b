"""What the tests of the clean-up share: guests with a past, and what a run has changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from django.apps import apps
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.db.models import F

from anonusers import events
from anonusers.cleanup import Report, clean_up
from anonusers.models import Application, DeviceKey, EndUser, Project, Session
from tests.people import guest_session

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)

Snapshot = dict[str, dict[Any, dict[str, Any]]]


def set_project(project: Project, **fields: Any) -> None:
    Project.objects.filter(pk=project.pk).update(**fields)
    project.refresh_from_db()


def set_application(application: Application, **fields: Any) -> None:
    Application.objects.filter(pk=application.pk).update(**fields)
    application.refresh_from_db()


def run(project: Project, **options: Any) -> Report:
    """A clean-up by the settings of now."""
    return clean_up(Project.objects.get(pk=project.pk), **({"pause": 0} | options))


def counts(report: Report) -> dict[str, int]:
    """What a run has counted, without zeros."""
    return {name: count for name, count in report.counts.items() if count}


def snapshot() -> Snapshot:
    """Every row of ours and of the host; not the records of clean-ups, and what they count."""
    models = [model for app in ("anonusers", "auth", "example") for model in apps.get_app_config(app).get_models()]
    own = ("anonusers.CleanupRun", "anonusers.DailyCount", "anonusers.Tally")
    names = [model for model in models if model._meta.label not in own]
    return {model._meta.label: {row["pk"]: row for row in _rows(model)} for model in names}


def _rows(model: Any) -> list[dict[str, Any]]:
    return [row | {"pk": row[model._meta.pk.attname]} for row in model._base_manager.values()]


def changes(before: Snapshot) -> dict[str, Any]:
    """What is different by now: `{model: {pk: "gone" | "new" | {column: value}}}`."""
    found: dict[str, Any] = {}
    after = snapshot()
    for label, rows in before.items():
        now = after[label]
        different: dict[Any, Any] = dict.fromkeys(set(rows) - set(now), "gone")
        different |= dict.fromkeys(set(now) - set(rows), "new")
        for pk in set(rows) & set(now):
            if changed := {name: value for name, value in now[pk].items() if value != rows[pk][name]}:
                different[pk] = changed
        if different:
            found[label] = different
    return found


def all_of(*guests: EndUser) -> dict[str, Any]:
    """What `changes` says after these guests have gone, who have no key: call it before."""
    ids = [guest.pk for guest in guests]
    sessions = Session.objects.filter(end_user__in=ids).values_list("pk", flat=True)
    expected = {
        "anonusers.EndUser": dict.fromkeys(ids, "gone"),
        "anonusers.AnonymousIdentity": dict.fromkeys(ids, "gone"),
        "anonusers.Session": dict.fromkeys(sessions, "gone"),
        "auth.User": dict.fromkeys([guest.user_id for guest in guests], "gone"),
    }
    return {label: rows for label, rows in expected.items() if rows}


def age(days: float, *guests: EndUser) -> None:
    """Move everything that these guests ever did into the past."""
    past, ids = timedelta(days=days), [guest.pk for guest in guests]
    EndUser.objects.filter(pk__in=ids).update(created_at=F("created_at") - past)
    for model in (Session, DeviceKey):
        model._default_manager.filter(end_user__in=ids).update(
            created_at=F("created_at") - past, last_used_at=F("last_used_at") - past
        )


def old_guest(application: Application, days: float = 800, **options: Any) -> EndUser:
    """A guest whom nothing leads back to, under any settings of the tests."""
    guest = guest_session(application, **options).end_user
    age(days, guest)
    return guest


def many_old_guests(project: Project, count: int, days: float = 800) -> list[EndUser]:
    """So many at once, without sessions."""
    from anonusers.models import AnonymousIdentity

    user_model = apps.get_model("auth", "User")
    before = user_model.objects.count()
    user_model.objects.bulk_create(
        user_model(username=f"guest-{before + number}", password=UNUSABLE_PASSWORD_PREFIX + str(number))
        for number in range(count)
    )
    users = user_model.objects.filter(end_user=None, username__startswith="guest-").order_by("pk")
    guests = EndUser.objects.bulk_create([EndUser(project=project, user=user) for user in users])
    AnonymousIdentity.objects.bulk_create([AnonymousIdentity(end_user=guest) for guest in guests])
    age(days, *guests)
    return guests


@contextmanager
def listening(*types: str) -> Iterator[list[tuple[str, Any, dict[str, Any]]]]:
    """What the host is told: type, sub, details."""
    heard: list[tuple[str, Any, dict[str, Any]]] = []

    def hear(event: events.Event, **_: Any) -> None:
        heard.append((event.type, event.end_user.pk, event.details))

    signals = [events.SIGNALS[type] for type in types]
    for signal in signals:
        signal.connect(hear, weak=False)
    try:
        yield heard
    finally:
        for signal in signals:
            signal.disconnect(hear)
