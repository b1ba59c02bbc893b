"""Applications come and go."""

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.utils import timezone

from anonusers import applications
from anonusers.applications import Deletion, LiveSessions, count_live_sessions, create_application, delete_application
from anonusers.models import Application, AuditEvent, DailyCount, EndUser, OneTimeToken, Project, Promotion, Session
from anonusers.project_file import export_project, parse_project_file
from tests.conftest import make_application, make_project, row_counts, state_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def make_person(project: Project, **fields: Any) -> EndUser:
    user = get_user_model().objects.create(username=uuid.uuid4().hex)
    return EndUser.objects.create(project=project, user=user, **fields)


def sign_in(
    application: Application, *, kind: str = "token", used: float = 0, end_user: EndUser | None = None, **fields: Any
) -> Session:
    """A session that began, and was used last, so many days ago."""
    moment = timezone.now() - timedelta(days=used)
    return Session.objects.create(
        project=application.project,
        application=application,
        end_user=end_user or make_person(application.project),
        kind=kind,
        refresh_hash=uuid.uuid4().hex,
        created_at=moment,
        last_used_at=moment,
        **fields,
    )


# --- creating -----------------------------------------------------------------------------------------------------


def test_a_new_application_has_a_client_id_of_its_own_and_the_defaults(project: Project) -> None:
    olga = get_user_model().objects.create(username="olga")
    one, other = (
        create_application(
            project=project, name="Web", type="spa", framework="react", redirect_uris=["https://app.example.com/x"],
            actor=olga,
        )
        for _ in range(2)
    )  # fmt: skip
    assert re.fullmatch("[0-9a-f]{16}", one.client_id)
    assert one.client_id != other.client_id
    assert (one.access_token_lifetime, one.refresh_token_lifetime) == (1800, 31_449_600)
    assert one.issue_jwt_access_token is True
    project.refresh_from_db()
    assert project.application_origins == ["https://app.example.com"]
    event = AuditEvent.objects.order_by("pk")[0]
    assert (event.category, event.type, event.actor_name) == ("settings", "application.created", "olga")
    assert event.target == f"application:{one.client_id}"
    assert event.changes == {"name": "Web", "type": "spa", "framework": "react"}


@pytest.mark.parametrize(
    "bad",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"type": "robot"},
        {"framework": "x" * 31},
        {"redirect_uris": ["javascript:alert(1)"]},
        {"post_logout_redirect_uris": ["http://app.example.com/"]},
    ],
)
def test_what_is_not_valid_is_not_created(bad: dict[str, Any], project: Project) -> None:
    before, state = row_counts(), state_of(project)
    with pytest.raises(ValidationError):
        create_application(**({"project": project, "name": "Web", "type": "spa"} | bad))
    assert row_counts() == before
    assert state_of(project) == state


# --- counting -----------------------------------------------------------------------------------------------------


def test_live_are_the_sessions_that_would_be_accepted_now(application: Application) -> None:
    other = make_application(application.project, "other")
    sign_in(other)
    assert count_live_sessions(application) == LiveSessions(0, more=False)
    sign_in(application)
    sign_in(application, kind="cookie", used=29)
    sign_in(application, ended_at=timezone.now())
    sign_in(application, used=31)  # idle for too long
    sign_in(application, kind="cookie", used=31)
    assert count_live_sessions(application) == LiveSessions(2, more=False)


def test_the_count_stops(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        sign_in(application)
    monkeypatch.setattr(applications, "COUNTED", 2)
    assert count_live_sessions(application) == LiveSessions(2, more=True)
    monkeypatch.setattr(applications, "COUNTED", 3)
    assert count_live_sessions(application) == LiveSessions(3, more=False)
    monkeypatch.setattr(applications, "LOOKED_AT", 2)
    assert count_live_sessions(application) == LiveSessions(2, more=True)


# --- deleting -----------------------------------------------------------------------------------------------------


def test_an_application_goes_with_its_sessions_and_its_people_stay(application: Application) -> None:
    project = application.project
    other = make_application(project, "other", redirect_uris=["https://other.example.com/"])
    kept = sign_in(other)
    person = make_person(project, application=application)
    for kind in ("token", "cookie"):
        sign_in(application, kind=kind, end_user=person)
    for mine in (application, other):
        OneTimeToken.objects.create(
            project=project, application=mine, purpose="promotion_code", token_hash=mine.client_id,
            expires_at=timezone.now(),
        )  # fmt: skip
    Promotion.objects.create(end_user=person, outcome="promoted", application=application, created_at=timezone.now())
    DailyCount.objects.create(project=project, day="2026-11-20", name="signups", application=application, count=7)
    before = row_counts()

    assert delete_application(application=application) == Deletion(2, finished=True)

    gone = {name: before[name] - count for name, count in row_counts().items() if before[name] != count}
    assert gone == {
        "anonusers.Application": 1,
        "anonusers.Session": 2,
        "anonusers.OneTimeToken": 1,
        "anonusers.AuditEvent": -1,
    }
    assert Session.objects.get() == kept
    assert OneTimeToken.objects.get().application == other
    assert Promotion.objects.get().application is None
    assert (DailyCount.objects.get().application, DailyCount.objects.get().count) == (None, 7)
    project.refresh_from_db()
    assert project.application_origins == ["https://other.example.com"]
    event = AuditEvent.objects.get()
    assert (event.category, event.type, event.target) == ("settings", "application.deleted", "application:web")


def test_who_has_no_patience_deletes_in_rounds(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applications, "BATCH", 2)
    for _ in range(5):
        sign_in(application)
    assert delete_application(application=application, patience=0) == Deletion(2, finished=False)
    assert Application.objects.filter(pk=application.pk).exists()
    assert not AuditEvent.objects.exists()
    assert Session.objects.count() == 3
    assert delete_application(application=application) == Deletion(3, finished=True)
    assert not Application.objects.exists()
    assert AuditEvent.objects.count() == 1


def test_whoever_comes_second_deletes_nothing_and_writes_nothing(application: Application) -> None:
    make_application(make_project("shop", "shop.example.com"))
    delete_application(application=application)
    before = row_counts()
    assert delete_application(application=application) == Deletion(0, finished=True)
    assert row_counts() == before


def test_many_rows_cost_few_statements(
    application: Application, monkeypatch: pytest.MonkeyPatch, django_assert_max_num_queries: Any
) -> None:
    monkeypatch.setattr(applications, "FOUND", 20)
    monkeypatch.setattr(applications, "BATCH", 10)
    person = make_person(application.project)
    for _ in range(35):
        sign_in(application, end_user=person)
    with django_assert_max_num_queries(26):  # 3 to find sessions, 4 to remove them; the rest is always the same
        assert delete_application(application=application) == Deletion(35, finished=True)


def test_the_application_of_a_realm_app_takes_the_app_id_along(project: Project) -> None:
    application = make_application(project, "shop-abcde")
    Project.objects.update(realm_app_id="shop-abcde")
    application.refresh_from_db()

    delete_application(application=application)

    project.refresh_from_db()
    assert project.realm_app_id == ""
    assert list(AuditEvent.objects.order_by("pk").values_list("type", "changes"))[1:] == [
        ("project.changed", {"realm_app_id": ["shop-abcde", ""]})
    ]
    parse_project_file(export_project(project.slug).encode(), project.slug)
