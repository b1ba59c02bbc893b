"""Daily numbers: each exactly, the edges of days, counted once, and kept when people go."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from anonusers import counting, sessions, statistics
from anonusers.counting import Key
from anonusers.models import (
    ActiveDay,
    AnonymousIdentity,
    Application,
    AuditEvent,
    CleanupRun,
    DailyCount,
    EndUser,
    Project,
    Promotion,
    Session,
    Tally,
)
from anonusers.statistics import DAY, count_out, live_sessions, note_activity, roll_up, series
from tests.conftest import make_application, make_project
from tests.people import guest_session

pytestmark = [pytest.mark.django_db, pytest.mark.database]
D1, D2, D3, D4 = (date(2026, 11, number) for number in (1, 2, 3, 4))
NOW = datetime(2026, 11, 4, 12, tzinfo=UTC)


def at(day: date, hour: int = 12, minute: int = 0, second: int = 0, micro: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, second, micro, UTC)


@pytest.fixture
def project(db: None) -> Project:
    project = make_project()
    Project.objects.filter(pk=project.pk).update(created_at=at(D1, 0))
    project.refresh_from_db()
    return project


def person(project: Project, created: datetime, application: Application | None = None, **fields: Any) -> EndUser:
    user = get_user_model().objects.create(username=str(uuid.uuid4()))
    row = EndUser.objects.create(project=project, user=user, application=application)
    EndUser.objects.filter(pk=row.pk).update(created_at=created, **fields)
    row.refresh_from_db()
    return row


def promoted(end_user: EndUser, when: datetime, application: Application | None = None, method: str = "password"):
    EndUser.objects.filter(pk=end_user.pk).update(promoted_at=when)
    row = Promotion.objects.create(end_user=end_user, outcome="promoted", application=application, method=method)
    Promotion.objects.filter(pk=row.pk).update(created_at=when)


def superseded(end_user: EndUser, when: datetime, application: Application | None = None) -> None:
    row = Promotion.objects.create(
        end_user=end_user, outcome="superseded", application=application, method="email_code"
    )
    Promotion.objects.filter(pk=row.pk).update(created_at=when)


def started(end_user: EndUser, when: datetime) -> None:
    AuditEvent.objects.create(
        project=end_user.project,
        category="users",
        type="user.promotion.started",
        end_user_id=end_user.pk,
        created_at=when,
    )


def active(end_user: EndUser, day: date, *, was_guest: bool = True, application: Application | None = None) -> None:
    ActiveDay.objects.create(
        project=end_user.project,
        day=day,
        end_user_id=end_user.pk,
        application_id=application and application.pk,
        was_guest=was_guest,
    )


def stored(project: Project) -> dict[Key, int]:
    rows = DailyCount.objects.filter(project=project)
    return {Key(row.name, row.day, row.application_id, row.method): row.count for row in rows}


def counted(project: Project, first: date = D1, last: date = D4, **options: Any) -> Counter[Key]:
    return series(project, first=first, last=last, **({"now": NOW} | options)).counts


# --- each number ----------------------------------------------------------------------------------


def test_new_guests_are_active_on_their_first_day(project: Project) -> None:
    web, app = make_application(project), make_application(project, "app")
    for application in (web, web, app, None):
        person(project, at(D1), application)
    expected = {
        Key("created", D1, web.pk): 2,
        Key("created", D1, app.pk): 1,
        Key("created", D1): 1,
        Key("active_guests", D1, web.pk): 2,
        Key("active_guests", D1, app.pk): 1,
        Key("active_guests", D1): 1,
    }
    assert counted(project) == expected
    assert stored(project) == expected


def test_guests_and_regular_users_are_counted_apart(project: Project) -> None:
    web = make_application(project)
    one, two, three = (person(project, at(D1), web) for _ in range(3))
    active(one, D2, application=web)
    active(two, D2, was_guest=False, application=web)
    active(three, D2, was_guest=False)
    counts = counted(project, D2, D2)
    assert counts == {
        Key("active_guests", D2, web.pk): 1,
        Key("active_regulars", D2, web.pk): 1,
        Key("active_regulars", D2): 1,
    }


def test_who_comes_back_counts_for_the_day_of_the_sign_up(project: Project) -> None:
    web = make_application(project)
    person(project, at(D1), web, returned_at=at(D3))
    person(project, at(D1), web)
    assert counted(project)[Key("cohort_returned", D1, web.pk)] == 1
    assert stored(project)[Key("cohort_returned", D1, web.pk)] == 1


def test_people_count_once_a_day_who_begin_promotions_and_once_in_their_cohort(project: Project) -> None:
    web = make_application(project)
    one, other = person(project, at(D1), web), person(project, at(D2), web)
    for when in (at(D2, 1), at(D2, 2), at(D3, 1)):
        started(one, when)
    started(other, at(D2, 23))
    counts = counted(project)
    of_name = {key.day: count for key, count in counts.items() if key.name == "promotion_started"}
    assert of_name == {D2: 2, D3: 1}
    assert counts[Key("promotion_started", D2, web.pk)] == 2
    assert {key: count for key, count in counts.items() if key.name == "cohort_started"} == {
        Key("cohort_started", D1, web.pk): 1,
        Key("cohort_started", D2, web.pk): 1,
    }


def test_promotions_by_application_and_method(project: Project) -> None:
    web, app = make_application(project), make_application(project, "app")
    promoted(person(project, at(D1), web), at(D2), app, "email_code")
    promoted(person(project, at(D1), web), at(D2), web, "password")
    counts = counted(project)
    assert {key: count for key, count in counts.items() if key.name in ("promoted", "cohort_promoted")} == {
        Key("promoted", D2, app.pk, "email_code"): 1,
        Key("promoted", D2, web.pk, "password"): 1,
        Key("cohort_promoted", D1, web.pk): 2,  # where they signed up
    }
    numbers = series(project, first=D1, last=D4, now=NOW)
    assert numbers.by_application("promoted") == {app.pk: 1, web.pk: 1}
    assert numbers.by_method("promoted") == {"email_code": 1, "password": 1}
    assert numbers.per_day("promoted") == [0, 2, 0, 0]
    assert numbers.total("promoted") == 2


SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("after", "bucket"),
    [
        (timedelta(0), "promoted_in_hour"),
        (timedelta(hours=1), "promoted_in_hour"),
        (timedelta(hours=1) + SECOND, "promoted_in_day"),
        (timedelta(days=1), "promoted_in_day"),
        (timedelta(days=1) + SECOND, "promoted_in_week"),
        (timedelta(days=7), "promoted_in_week"),
        (timedelta(days=7) + SECOND, "promoted_in_month"),
        (timedelta(days=30), "promoted_in_month"),
        (timedelta(days=30) + SECOND, "promoted_later"),
    ],
)
def test_time_to_promote(after: timedelta, bucket: str, project: Project) -> None:
    promoted(person(project, at(D3) - after), at(D3))
    found = {key: count for key, count in counted(project, D3, D3).items() if key.name in counting.TIME_TO_PROMOTE}
    assert found == {Key(bucket, D3): 1}


def test_steps_into_accounts_that_existed_before(project: Project) -> None:
    web = make_application(project)
    superseded(person(project, at(D1), web), at(D2), web)
    other = make_project("shop", "shop.example.com")
    superseded(person(other, at(D1)), at(D2))
    found = {key: count for key, count in counted(project).items() if key.name == "superseded"}
    assert found == {Key("superseded", D2, web.pk, "email_code"): 1}


def test_what_clean_ups_removed_counts_on_the_day_they_began(project: Project) -> None:
    for began, report in (
        (at(D1, 23, 59), {"counts": {"removed": 5, "sessions": 9}}),
        (at(D2, 0), {"counts": {"removed": 2}}),
        (at(D2, 3), {"counts": {}}),
        (at(D2, 4), {}),
    ):
        CleanupRun.objects.create(
            project=project, state="finished", started_at=began, seen_at=began, finished_at=at(D2, 5), report=report
        )
    assert counted(project) == {Key("expired", D1): 5, Key("expired", D2): 2}


def test_a_day_waits_for_its_clean_up_unless_that_has_died(project: Project) -> None:
    run = CleanupRun.objects.create(project=project, started_at=at(D3, 23), seen_at=at(D4, 0, 20), report={})
    assert roll_up(project, now=at(D4, 0, 25)) == D3
    CleanupRun.objects.filter(pk=run.pk).update(report={"counts": {"removed": 3}})
    assert roll_up(project, now=at(D4, 0, 31)) == D4
    assert stored(project) == {Key("expired", D3): 3}


def test_other_projects_do_not_count(project: Project) -> None:
    other = make_project("shop", "shop.example.com")
    stranger = person(other, at(D1), returned_at=at(D2))
    active(stranger, D2)
    started(stranger, at(D2))
    promoted(stranger, at(D2))
    CleanupRun.objects.create(project=other, started_at=at(D2), seen_at=at(D2), report={"counts": {"removed": 1}})
    assert counted(project) == {}


# --- days -----------------------------------------------------------------------------------------


def test_days_begin_and_end_at_midnight_utc(project: Project) -> None:
    for when in (at(D1, 23, 59, 59, 999_999), at(D2, 0), at(D2, 23, 59, 59, 999_999), at(D3, 0)):
        person(project, when, returned_at=when + DAY)
        promoted(person(project, when), when)
        superseded(person(project, when), when)
        started(person(project, when), when)
    numbers = series(project, first=D1, last=D4, now=NOW)
    assert numbers.days == [D1, D2, D3, D4]
    for name in ("promoted", "superseded", "promotion_started", "cohort_returned"):
        assert numbers.per_day(name) == [1, 2, 1, 0], name
    assert numbers.per_day("created") == [4, 8, 4, 0]


def test_the_days_are_utc_wherever_the_server_is(project: Project, settings: Any) -> None:
    settings.TIME_ZONE = "Pacific/Auckland"
    person(project, at(D1, 23, 59))
    assert counted(project) == {Key("created", D1): 1, Key("active_guests", D1): 1}
    assert statistics.day_of(datetime(2026, 11, 2, 12, tzinfo=UTC).astimezone()) == D2


def test_a_day_is_counted_five_minutes_after_it_is_over(project: Project) -> None:
    assert roll_up(project, now=at(D4, 0, 4, 59)) == D3
    person(project, at(D3, 23, 59, 59))  # committed late
    assert roll_up(project, now=at(D4, 0, 5)) == D4
    assert stored(project)[Key("created", D3)] == 1


def test_ranges(project: Project) -> None:
    for day in (D1, D2, D3, D4):
        person(project, at(day, 1))
    assert series(project, first=D2, last=D3, now=NOW).total("created") == 2
    one = series(project, first=D4, last=D4, now=NOW)
    assert (one.days, one.per_day("created"), one.today["created"]) == ([D4], [1], 1)
    before = series(project, first=D1, last=D1, now=NOW)
    assert (before.total("created"), before.today["created"]) == (1, 1)
    assert series(project, first=D1 - 90 * DAY, last=D1 - DAY, now=NOW).counts == {}


def test_one_application(project: Project) -> None:
    web, app = make_application(project), make_application(project, "app")
    for application, day in ((web, D1), (app, D1), (app, D4), (None, D4)):
        person(project, at(day, 1), application)
    numbers = series(project, first=D1, last=D4, application=app, now=NOW)
    assert (numbers.per_day("created"), numbers.today["created"]) == ([1, 0, 0, 1], 1)


def test_an_application_that_is_gone_does_not_stop_the_count(project: Project) -> None:
    app = make_application(project, "app")
    person(project, at(D1), app)
    person(project, at(D1))
    app.delete()
    assert counted(project, D1, D1)[Key("created", D1)] == 2


# --- once -----------------------------------------------------------------------------------------


def busy(project: Project) -> None:
    for day in (D1, D2, D3, D4):
        promoted(someone := person(project, at(day, 1), returned_at=at(D4)), at(day, 2))
        started(someone, at(day, 1))
        active(someone, D4)


def test_twice_is_once(project: Project) -> None:
    busy(project)
    assert roll_up(project, now=NOW) == D4
    before = stored(project)
    assert before[Key("created", D3)] == 1
    assert roll_up(project, now=NOW) == D4
    assert stored(project) == before
    with CaptureQueriesContext(connection) as captured:
        roll_up(project, now=NOW)
    assert len(captured) == 1


def test_what_is_stored_and_what_is_not_add_up_to_the_same_on_every_day(project: Project) -> None:
    busy(project)
    expected = +counting.count(project, D1, D4 + DAY)
    for day in range(4):
        Tally.objects.all().delete()
        DailyCount.objects.all().delete()
        Tally.objects.create(project=project, counted_until=D1)
        roll_up(project, now=at(D1 + day * DAY))
        roll_up(project, now=at(D2 + day * DAY))
        assert counted(project) == expected, day


def test_the_cohorts_grow_day_by_day_in_one_row(project: Project) -> None:
    one, other = person(project, at(D1)), person(project, at(D1))
    promoted(one, at(D2))
    roll_up(project, now=at(D3))
    assert stored(project)[Key("cohort_promoted", D1)] == 1
    promoted(other, at(D3))
    roll_up(project, now=at(D4))
    assert stored(project)[Key("cohort_promoted", D1)] == 2
    assert DailyCount.objects.filter(name="cohort_promoted").count() == 1


def test_deletion_keeps_the_number(project: Project) -> None:
    busy(project)
    EndUser.objects.filter(returned_at=at(D4)).update(returned_at=at(D3))
    before = counted(project, D1, D3)
    assert before[Key("cohort_returned", D1)] == 1
    EndUser.objects.filter(created_at__lt=at(D4, 0)).delete()
    ActiveDay.objects.all().delete()
    assert counted(project, D1, D3) == before


def test_who_is_erased_today_stays_counted_and_is_counted_as_deleted(project: Project) -> None:
    web = make_application(project)
    leaver, stayer = person(project, at(D4, 1), web), person(project, at(D4, 1), web)
    old = person(project, at(D1), web, returned_at=at(D4, 1))
    for end_user in (old, stayer, leaver):
        started(end_user, at(D4, 2))
        promoted(end_user, at(D4, 3), web)
    active(old, D4)
    before = counted(project)
    with transaction.atomic():
        count_out(project, [leaver.pk, old.pk], now=NOW)
        EndUser.objects.filter(pk__in=[leaver.pk, old.pk]).delete()
        AuditEvent.objects.exclude(end_user_id=stayer.pk).update(end_user_id=uuid.uuid4())
    after = counted(project)
    # Audit events live on under a pseudonym, which is nobody more who began.
    assert after == before + Counter({Key("deleted", D4, web.pk): 2})
    assert not ActiveDay.objects.exists()
    assert roll_up(project, now=at(D4) + DAY) == D4 + DAY
    assert counted(project, now=at(D4) + DAY)[Key("created", D4, web.pk)] == 2


def test_long_ago_is_counted_at_several_looks_where_it_takes_long(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "PATIENCE", 0.0)
    first = D1 - 100 * DAY
    person(project, at(first))
    looks = [series(project, first=first, last=D4, now=NOW).behind_since for _ in range(3)]
    assert looks == [first + 31 * DAY, first + 62 * DAY, None]
    assert Tally.objects.get().counted_until == first + 93 * DAY
    Tally.objects.all().delete()
    monkeypatch.undo()
    assert series(project, first=first, last=D4, now=NOW).behind_since is None
    assert Tally.objects.get().counted_until == D4


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_two_at_once_count_once(project: Project) -> None:
    busy(project)
    Tally.objects.create(project=project, counted_until=D1)
    expected = counting.count(project, D1, D4)
    barrier, failures = threading.Barrier(4), []

    def run() -> None:
        try:
            barrier.wait(10)
            roll_up(project, now=NOW)
        except Exception as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert stored(project) == expected


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_roll_up_waits_for_who_is_leaving(project: Project) -> None:
    leaver = person(project, at(D3))
    Tally.objects.create(project=project, counted_until=D3)
    counted_out, done = threading.Event(), threading.Event()

    def leave() -> None:
        with transaction.atomic():
            count_out(project, [leaver.pk], now=NOW)
            counted_out.set()
            done.wait(0.5)
            EndUser.objects.filter(pk=leaver.pk).delete()
        connections.close_all()

    thread = threading.Thread(target=leave)
    thread.start()
    assert counted_out.wait(10)
    roll_up(project, now=NOW)
    thread.join(30)
    assert stored(project)[Key("created", D3)] == 1


# --- somebody was here ----------------------------------------------------------------------------


@pytest.fixture
def session(application: Application) -> Session:
    with time_machine.travel(at(D1), tick=False):
        return guest_session(application)


def touch_at(when: datetime, session: Session) -> list[str]:
    with time_machine.travel(when, tick=False), CaptureQueriesContext(connection) as captured:
        sessions.touch(Session.objects.in_full().get(pk=session.pk))
    control = ("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT")
    return [sql for query in captured.captured_queries[1:] if not (sql := query["sql"]).startswith(control)]


def days() -> list[tuple[date, bool]]:
    return list(ActiveDay.objects.order_by("day").values_list("day", "was_guest"))


def test_the_first_touch_of_a_day_is_noted_and_costs_nothing_later(session: Session) -> None:
    assert len(touch_at(at(D1, 13), session)) == 1  # the day of the sign-up
    assert days() == []
    assert len(touch_at(at(D2), session)) == 3  # back for the first time
    assert len(touch_at(at(D2, 13), session)) == 1
    assert len(touch_at(at(D2, 13), session)) == 0
    assert len(touch_at(at(D3), session)) == 2
    assert days() == [(D2, True), (D3, True)]
    session.end_user.refresh_from_db()
    assert session.end_user.returned_at == at(D2)
    row = ActiveDay.objects.earliest("day")
    assert (row.project_id, row.end_user_id, row.application_id) == (
        session.project_id,
        session.end_user_id,
        session.application_id,
    )


def test_a_touch_just_after_midnight_is_noted_with_the_next(session: Session) -> None:
    touch_at(at(D1, 23, 59, 50), session)
    assert touch_at(at(D2, 0, 0, 10), session) == []
    touch_at(at(D2, 0, 0, 50), session)
    assert days() == [(D2, True)]


def test_somebody_with_two_sessions_is_active_once(session: Session, application: Application) -> None:
    with time_machine.travel(at(D1), tick=False):
        other, _ = sessions.open_session(
            end_user=session.end_user, project=application.project, application=application, kind="token"
        )
    assert days() == []
    touch_at(at(D2), session)
    touch_at(at(D2, 15), other)
    assert days() == [(D2, True)]


def test_a_new_session_of_an_old_guest_counts(session: Session, application: Application) -> None:
    with time_machine.travel(at(D3), tick=False):
        for _ in range(2):
            sessions.open_session(
                end_user=EndUser.objects.get(pk=session.end_user_id),
                project=application.project,
                application=application,
                kind="token",
            )
    assert days() == [(D3, True)]


def test_a_regular_user_is_not_a_guest(session: Session) -> None:
    AnonymousIdentity.objects.all().delete()
    touch_at(at(D2), session)
    assert days() == [(D2, False)]


def test_what_was_noted_is_what_is_counted(session: Session, project: Project) -> None:
    touch_at(at(D2), session)
    touch_at(at(D3), session)
    numbers = series(project, first=D1, last=D4, now=NOW)
    assert numbers.per_day("active_guests") == [1, 1, 1, 0]
    assert numbers.per_day("cohort_returned") == [1, 0, 0, 0]


def test_noting_twice_at_once_keeps_the_first_return(session: Session) -> None:
    stale = [Session.objects.in_full().get(pk=session.pk) for _ in range(2)]
    for number, one in enumerate(stale):
        note_activity(one, last=at(D1), now=at(D2 + number * DAY))
    session.end_user.refresh_from_db()
    assert session.end_user.returned_at == at(D2)


# --- live sessions --------------------------------------------------------------------------------


def test_the_sessions_of_a_few_are_counted(project: Project, application: Application) -> None:
    one, two = guest_session(application), guest_session(application)
    guest_session(application, kind="cookie")
    guest_session(make_application(make_project("shop", "shop.example.com"), "till"))
    Session.objects.filter(pk=two.pk).update(ended_at=two.created_at)
    now = one.created_at + timedelta(seconds=1)
    assert live_sessions(project, [application], now=now) == statistics.Estimate(2, is_exact=True)
    project.session_idle_timeout = 60
    assert live_sessions(project, [application], now=now + timedelta(seconds=60)).number == 1
    assert live_sessions(project, [application], now=one.expires_at).number == 0


def test_the_sessions_of_many_are_estimated_in_two_statements(
    project: Project, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "SAMPLE", 2)
    ids = [uuid.UUID(int=2**128 * part // 100) for part in (10, 25, 40, 70, 90)]
    people = [person(project, at(D1)) for _ in ids]
    for number, end_user in zip(ids, people, strict=True):
        EndUser.objects.filter(pk=end_user.pk).update(id=number)
    for number in ids:
        sessions.open_session(
            end_user=EndUser.objects.get(pk=number), project=project, application=application, kind="token"
        )
    with CaptureQueriesContext(connection) as captured:
        assert live_sessions(project, [application]) == statistics.Estimate(8, is_exact=False)  # 2 in a quarter
    assert len(captured) == 2


@pytest.mark.parametrize(
    ("number", "rounded"), [(0, 0), (7, 7), (99, 99), (104, 100), (1_250, 1_200), (41_499, 41_000)]
)
def test_estimates_have_two_digits(number: int, rounded: int) -> None:
    assert statistics._rounded(number) == rounded


def test_a_look_takes_three_statements(project: Project) -> None:
    busy(project)
    look: Callable[[], Any] = lambda: series(project, first=D1, last=D4, now=NOW)  # noqa: E731
    look()
    with CaptureQueriesContext(connection) as captured:
        look()
    assert len(captured) == 3
