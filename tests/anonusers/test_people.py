"""Finding people: every filter against a plain look at the same rows, pages without gaps, and what a page costs."""

import itertools
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.utils import timezone

from anonusers import people
from anonusers.login_ids import parse_login_id
from anonusers.models import ActiveDay, AnonymousIdentity, Application, DeviceKey, EndUser, LoginID, Project, Session
from anonusers.people import (
    Cursor,
    Filters,
    count_people,
    everybody,
    find_people,
    next_ids,
    open_sessions,
    parse_cursor,
)
from tests.conftest import make_application, make_project

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
NUMBER = 60


def make_people(project: Project, number: int, **columns: Any) -> list[EndUser]:
    """`number` people with the same moment of creation, unless `columns` say otherwise."""
    user_model: Any = get_user_model()
    subs = [uuid.uuid4() for _ in range(number)]
    users = user_model.objects.bulk_create([user_model(username=f"guest-{sub.hex}") for sub in subs])
    rows = [EndUser(id=sub, project=project, user=user) for sub, user in zip(subs, users, strict=True)]
    EndUser.objects.bulk_create(rows)
    EndUser.objects.filter(pk__in=subs).update(**({"created_at": NOW} | columns))
    AnonymousIdentity.objects.bulk_create([AnonymousIdentity(end_user=row) for row in rows])
    return list(EndUser.objects.filter(pk__in=subs))


@pytest.fixture
def crowd(project: Project, application: Application) -> list[EndUser]:
    """People of every sort: each row's number decides what it is; many were created at the same moment."""
    other = make_application(project, "mobile", type="native")
    rows = make_people(project, NUMBER)
    keys, days = [], []
    for number, row in enumerate(rows):
        row.created_at = NOW - timedelta(days=(number // 4) * 3)
        row.promoted_at = NOW if number % 5 == 0 else None
        row.disabled_at = NOW if number % 3 == 0 else None
        row.quarantined_at = NOW if number % 7 == 0 else None
        row.application_id = (application.pk, other.pk, None)[number % 3]
        if number % 4 == 1:
            keys.append(make_key(row))
        if number % 6 == 2:
            day = (NOW - timedelta(days=number % 10)).date()
            days.append(ActiveDay(project=project, day=day, end_user_id=row.pk, was_guest=True))
    EndUser.objects.bulk_update(rows, ["created_at", "promoted_at", "disabled_at", "quarantined_at", "application_id"])
    DeviceKey.objects.bulk_create(keys)
    ActiveDay.objects.bulk_create(days)
    stranger = make_people(make_project("shop", "shop.example.com"), 1)[0]
    DeviceKey.objects.bulk_create([make_key(stranger)])
    return rows


def make_key(end_user: EndUser) -> DeviceKey:
    return DeviceKey(
        project_id=end_user.project_id,
        end_user=end_user,
        key_id=end_user.pk.hex,
        algorithm="ES256",
        jwk={},
        thumbprint=end_user.pk.hex,
        created_at=NOW,
        last_used_at=NOW,
    )


def plainly(rows: list[EndUser], filters: Filters) -> list[uuid.UUID]:
    """The same by a look at every row, newest first."""
    keys = set(DeviceKey.objects.values_list("end_user_id", flat=True))
    active = {(one.end_user_id, one.day) for one in ActiveDay.objects.all()}

    def fits(row: EndUser) -> bool:
        day = row.created_at.date()
        found = [
            filters.kind in ("", "regular" if row.promoted_at else "guest"),
            filters.disabled in (None, row.disabled_at is not None),
            filters.quarantined in (None, row.quarantined_at is not None),
            filters.application in (None, row.application_id),
            filters.created_from is None or day >= filters.created_from,
            filters.created_to is None or day <= filters.created_to,
            filters.has_key in (None, row.pk in keys),
        ]
        if filters.active_days:
            days = [NOW.date() - timedelta(days=number) for number in range(filters.active_days)]
            found.append(day >= days[-1] or any((row.pk, one) in active for one in days))
        return all(found)

    # Of the same moment: in the database's own order of ids, which is another one on MariaDB.
    place = {pk: number for number, pk in enumerate(EndUser.objects.order_by("pk").values_list("pk", flat=True))}
    chosen = sorted((row for row in rows if fits(row)), key=lambda row: (row.created_at, place[row.pk]), reverse=True)
    return [row.pk for row in chosen]


def found_by(project: Project, filters: Filters, size: int = 7) -> list[uuid.UUID]:
    """Everybody on all pages, from the newest page on."""
    subs, after = [], None
    while True:
        page = find_people(project, filters=filters, after=after, size=size, now=NOW)
        subs += [one.end_user.pk for one in page.people]
        if page.older is None:
            return subs
        after = page.older


ONE_EACH: list[dict[str, Any]] = [
    {"kind": "guest"},
    {"kind": "regular"},
    {"disabled": True},
    {"disabled": False},
    {"quarantined": True},
    {"quarantined": False},
    {"application": "web"},
    {"application": "mobile"},
    {"created_from": date(2026, 11, 1)},
    {"created_to": date(2026, 11, 1)},
    {"created_from": date(2026, 10, 22), "created_to": date(2026, 11, 15)},
    {"active_days": 1},
    {"active_days": 7},
    {"active_days": 30},
    {"has_key": True},
    {"has_key": False},
]


def combined(project: Project, *parts: dict[str, Any]) -> Filters:
    entries = {name: value for part in parts for name, value in part.items()}
    if "application" in entries:
        entries["application"] = project.applications.get(client_id=entries["application"]).pk
    return Filters(**entries)


@pytest.mark.parametrize("steps", [(5_000, 50_000), (4, 9)], ids=["one look", "by steps"])
def test_every_filter_and_every_pair_finds_who_fits(
    project: Project, crowd: list[EndUser], monkeypatch: pytest.MonkeyPatch, steps: tuple[int, int]
) -> None:
    monkeypatch.setattr(people, "STEPS", steps)
    pairs = [pair for pair in itertools.combinations(ONE_EACH, 2) if not set(pair[0]) & set(pair[1])]
    cases = [combined(project), *(combined(project, one) for one in ONE_EACH), *(combined(project, *p) for p in pairs)]
    wrong = [filters for filters in cases if found_by(project, filters) != plainly(crowd, filters)]
    assert wrong == []
    sizes = {len(plainly(crowd, filters)) for filters in cases}
    assert {0, NUMBER} < sizes  # some find nobody, one finds all, others part of them
    assert len(sizes) > 20


def test_three_filters_at_once(project: Project, crowd: list[EndUser]) -> None:
    triples = [
        triple
        for triple in itertools.combinations(ONE_EACH, 3)
        if len({name for part in triple for name in part}) == sum(map(len, triple))
    ][::9]
    for triple in triples:
        filters = combined(project, *triple)
        assert found_by(project, filters, size=50) == plainly(crowd, filters), filters


@pytest.mark.parametrize("size", [1, 7, 50])
def test_pages_of_the_same_moment_have_no_gaps_and_no_doubles(project: Project, size: int) -> None:
    people = make_people(project, 23)
    assert found_by(project, Filters(), size) == plainly(people, Filters())


@pytest.mark.parametrize("filters", [Filters(), Filters(kind="guest"), Filters(disabled=True)], ids=str)
def test_newer_leads_back_over_the_same_pages(
    project: Project, crowd: list[EndUser], filters: Filters, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = plainly(crowd, filters)
    last = find_people(project, filters=filters, size=7, now=NOW)
    while last.older:
        last = find_people(project, filters=filters, after=last.older, size=7, now=NOW)
    seen = [one.end_user.pk for one in last.people]
    page = last
    while page.newer:
        page = find_people(project, filters=filters, before=page.newer, size=7, now=NOW)
        here = [one.end_user.pk for one in page.people]
        seen = here + seen
    assert seen == expected


def test_the_first_page_has_nothing_newer_and_the_last_nothing_older(project: Project) -> None:
    make_people(project, 5)
    first = find_people(project, size=3, now=NOW)
    assert (first.newer, len(first.people)) == (None, 3)
    second = find_people(project, after=first.older, size=3, now=NOW)
    assert (second.older, len(second.people)) == (None, 2)
    assert second.newer is not None
    exact = find_people(project, size=5, now=NOW)
    assert (exact.newer, exact.older) == (None, None)


def test_a_filter_that_no_index_answers_looks_back_so_far_and_says_so(
    project: Project, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "STEPS", (10, 20))
    for number in range(40):
        make_people(project, 1, created_at=NOW - timedelta(hours=number))
    oldest = make_people(project, 1, created_at=NOW - timedelta(hours=99), application=application)[0]
    filters = Filters(application=application.pk)
    page = find_people(project, filters=filters, now=NOW)
    assert page.people == []
    assert page.looked_back_to == NOW - timedelta(hours=29)
    page = find_people(project, filters=filters, after=page.older, now=NOW)
    assert [one.end_user for one in page.people] == [oldest]
    assert (page.older, page.looked_back_to) == (None, None)
    assert count_people(project, filters=filters, now=NOW) == people.Count(0, is_exact=False)
    assert [one.end_user for one in everybody(project, filters=filters, size=5, now=NOW)] == [oldest]


def test_people_are_found_by_their_sub_however_it_is_copied(project: Project, crowd: list[EndUser]) -> None:
    sub = crowd[5].pk
    for text in (str(sub), sub.hex, str(sub).upper(), f"  {sub} ", sub.hex.upper()):
        assert found_by(project, Filters(search=text)) == [sub]
    for text in (str(sub)[:-1], f"{sub}0", str(uuid.uuid4()), "nobody", "%", "_", "' OR 1=1 --", "\x00", "a" * 5000):
        assert found_by(project, Filters(search=text)) == []


@pytest.mark.parametrize(
    ("type", "value", "typed"),
    [
        ("email", "Anna@example.com", ["anna@EXAMPLE.com", " Anna@example.com ", "ANNA@example.com"]),
        ("phone", "+49 30 901820", ["+4930901820", "+49 (30) 901820"]),
        ("username", "Anna.K", ["anna.k", "ANNA.K"]),
        ("username", "0123456789abcdef0123456789abcdef", ["0123456789ABCDEF0123456789abcdef"]),
    ],
)
def test_people_are_found_by_a_login_id_however_it_is_spelled(
    project: Project, crowd: list[EndUser], type: str, value: str, typed: list[str]
) -> None:
    login_id = parse_login_id(type, value)
    row = LoginID(project=project, end_user=crowd[8], type=type, value=login_id.value, key=login_id.key)
    row.save()
    for text in typed:
        assert found_by(project, Filters(search=text)) == [crowd[8].pk]
    assert found_by(project, Filters(search=typed[0][:-1])) == []


def test_a_search_and_a_filter_hold_together(project: Project, crowd: list[EndUser]) -> None:
    disabled, enabled = crowd[3].pk, crowd[4].pk
    assert found_by(project, Filters(search=str(disabled), disabled=True)) == [disabled]
    assert found_by(project, Filters(search=str(enabled), disabled=True)) == []


def test_nobody_of_another_project_is_found(project: Project) -> None:
    other = make_project("shop", "shop.example.com")
    stranger = make_people(other, 1)[0]
    login_id = parse_login_id("email", "anna@example.com")
    LoginID.objects.create(project=other, end_user=stranger, type="email", value=login_id.value, key=login_id.key)
    assert found_by(project, Filters()) == []
    assert found_by(project, Filters(search=str(stranger.pk))) == []
    assert found_by(project, Filters(search="anna@example.com")) == []
    assert found_by(other, Filters(search="anna@example.com")) == [stranger.pk]


def test_a_row_says_what_is_known(project: Project, application: Application) -> None:
    one, two = make_people(project, 2)
    EndUser.objects.filter(pk=one.pk).update(application=application, created_at=NOW + timedelta(minutes=1))
    EndUser.objects.filter(pk=two.pk).update(application=None)
    login_id = parse_login_id("email", "anna@example.com")
    row = LoginID.objects.create(project=project, end_user=one, type="email", value=login_id.value, key=login_id.key)
    make_key(one).save()
    for hours in (3, 1, 2):
        used = NOW - timedelta(hours=hours)
        Session.objects.create(
            project=project, end_user=one, kind="cookie", refresh_hash="", created_at=used, last_used_at=used
        )
    first, second = find_people(project, now=NOW).people
    assert (first.sub, first.application, first.login_ids, first.has_key, first.last_active, first.is_guest) == (
        str(one.pk),
        application,
        [row],
        True,
        NOW - timedelta(hours=1),
        True,
    )
    assert (second.application, second.login_ids, second.has_key, second.last_active) == (None, [], False, None)


def test_an_application_that_is_gone_is_no_application(project: Project) -> None:
    gone = make_application(project, "gone")
    make_people(project, 1, application_id=gone.pk)
    gone.delete()
    assert find_people(project, now=NOW).people[0].application is None


@pytest.mark.parametrize("number", [1, 49])
def test_a_page_costs_the_same_for_few_and_for_many(
    project: Project, application: Application, number: int, django_assert_num_queries: Any
) -> None:
    make_people(project, number, application=application)
    with django_assert_num_queries(3):
        find_people(project, now=NOW)
    with django_assert_num_queries(4):
        find_people(project, filters=Filters(kind="guest", application=application.pk), now=NOW)


def test_at_most_six_statements(
    project: Project, application: Application, monkeypatch: pytest.MonkeyPatch, django_assert_max_num_queries: Any
) -> None:
    monkeypatch.setattr(people, "STEPS", (4, 9))
    make_people(project, 30, application=application)
    with django_assert_max_num_queries(6):
        assert len(find_people(project, filters=Filters(kind="guest"), size=20, now=NOW).people) == 13


def test_counting_stops(project: Project) -> None:
    make_people(project, 12)
    assert count_people(project, filters=Filters(), most=12) == people.Count(12)
    assert count_people(project, filters=Filters(), most=11) == people.Count(11, is_exact=False)
    assert count_people(project, filters=Filters(disabled=True)) == people.Count(0)


def test_the_next_ones_for_a_job(project: Project, crowd: list[EndUser], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "STEPS", (3, 5))
    for filters in (Filters(), Filters(kind="guest"), Filters(disabled=True), Filters(has_key=False)):
        place: Cursor | None = Cursor(NOW, people.LAST_ID)
        seen: list[uuid.UUID] = []
        while place:
            ids, place = next_ids(project, filters=filters, after=place, size=4, now=NOW)
            seen += ids
        assert seen == plainly(crowd, filters)


def test_a_place_is_written_and_read() -> None:
    place = Cursor(datetime(2026, 11, 21, 1, 2, 3, 456789, UTC), uuid.uuid4())
    assert parse_cursor(str(place)) == place


@pytest.mark.parametrize("text", ["", ".", "1", "1.2", "x." + "0" * 32, "-1." + "0" * 32, "1" * 18 + "." + "0" * 32])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_cursor(text)


def test_the_open_sessions_of_somebody(project: Project, application: Application) -> None:
    one, two = make_people(project, 2, disabled_at=NOW)
    now = timezone.now()

    def session(end_user: EndUser, **columns: Any) -> Session:
        facts = {
            "created_at": now,
            "last_used_at": now,
            "refresh_hash": "",
            "kind": "token",
            "application": application,
        }
        return Session.objects.create(project=project, end_user=end_user, **(facts | columns))

    second = session(one, last_used_at=now - timedelta(hours=1))
    first = session(one, kind="cookie", application=None)
    session(one, ended_at=now)
    session(one, created_at=now - timedelta(days=4000), last_used_at=now - timedelta(days=4000))
    session(two)
    assert open_sessions(one, most=5) == [first, second]
    assert open_sessions(one, most=1) == [first]


@pytest.mark.postgres
def test_on_postgresql_a_page_is_read_from_an_index(project: Project) -> None:
    """Two columns are compared as one: behind a place the scan begins there, not at the newest person."""
    make_people(project, 2000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE anonusers_enduser")
    first = find_people(project, size=50, now=NOW)
    page = people.matching_people(project, Filters(), NOW).filter(people._Beyond("<", first.older))
    plan = page.order_by("-created_at", "-id")[:51].explain()
    assert "anonusers_enduser_newest" in plan
    assert "Seq Scan" not in plan
    assert "ROW(created_at, id) <" in plan.split("Index Cond:", 1)[1].splitlines()[0]
