"""Find people of a project: by what is known of them, newest first, page by page.

A page costs the same whether a project has a thousand people or ten million: pages begin behind a person, not behind
a number of people, and a filter that no index answers looks through so many people at a time and says how far it got.
"""

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from django.db.models import BooleanField, Exists, Func, Max, OuterRef, Q, QuerySet, Value
from django.utils import timezone

from anonusers.errors import InvalidLoginID
from anonusers.login_ids import TYPES, parse_login_id
from anonusers.models import ActiveDay, Application, DeviceKey, EndUser, LoginID, Project, Session

GUEST, REGULAR = "guest", "regular"
STEPS = (5_000, 50_000)
"""So many people are looked through for a page, first and then, where no index answers a filter."""
COUNT_MOST = 10_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_ID = uuid.UUID(int=2**128 - 1)


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What people are looked for by. None and an empty text leave a question open; days are of the current time zone.

    `search` is a whole sub or a whole login ID. `application` is where they signed up. `active_days`: they were here
    today or on the days (UTC) before it, so many in all.
    """

    search: str = ""
    kind: str = ""
    disabled: bool | None = None
    quarantined: bool | None = None
    application: int | None = None
    created_from: date | None = None
    created_to: date | None = None
    active_days: int | None = None
    has_key: bool | None = None

    @property
    def are_narrow(self) -> bool:
        """Whether an index leads to the few who match."""
        return bool(self.search or self.kind == REGULAR or self.disabled or self.quarantined or self.has_key)

    @property
    def go_by_steps(self) -> bool:
        """Whether the people who match may lie far apart, and only a look at each tells."""
        unanswered = (self.disabled, self.quarantined, self.application, self.active_days, self.has_key)
        return not self.are_narrow and (self.kind == GUEST or any(one is not None for one in unanswered))


@dataclass(frozen=True)
class Cursor:
    """A person's place in the list."""

    created_at: datetime
    id: uuid.UUID

    def __str__(self) -> str:
        return f"{(self.created_at - EPOCH) // timedelta(microseconds=1)}.{self.id.hex}"


def parse_cursor(text: str) -> Cursor:
    """The place that was written down as a text.

    Raises: ValueError.
    """
    found = re.fullmatch(r"([0-9]{1,17})\.([0-9a-f]{32})", text, re.ASCII)
    if not found:
        raise ValueError(text)
    return Cursor(EPOCH + timedelta(microseconds=int(found[1])), uuid.UUID(found[2]))


@dataclass(frozen=True)
class Listed:
    """A person as a list shows them. `last_active` is the last use of a session that is still remembered."""

    end_user: EndUser
    application: Application | None
    login_ids: list[LoginID]
    has_key: bool
    last_active: datetime | None

    @property
    def sub(self) -> str:
        return str(self.end_user.pk)

    @property
    def is_guest(self) -> bool:
        return self.end_user.promoted_at is None


@dataclass(frozen=True)
class Page:
    """Some people, newest first, and where the pages beside this one begin.

    `looked_back_to`: further back than this nobody was looked at; `older` goes on from there.
    """

    people: list[Listed]
    newer: Cursor | None = None
    older: Cursor | None = None
    looked_back_to: datetime | None = None


@dataclass(frozen=True)
class Count:
    """How many match; at least so many where it is not exact."""

    number: int
    is_exact: bool = True


# --- pages ----------------------------------------------------------------------------------------


def find_people(
    project: Project,
    *,
    filters: Filters = Filters(),
    after: Cursor | None = None,
    before: Cursor | None = None,
    size: int = 50,
    now: datetime | None = None,
) -> Page:
    """The newest people who match; `after` a place the next older ones, `before` a place the next newer ones.

    Before a place there may be fewer than `size`: without anybody newer, it is the first page that is wanted.
    At most six statements, whatever the number of rows; three without a filter.
    """
    now = now or timezone.now()
    if before is not None:
        return _newer(project, filters, before, size, now)
    found, end = _walk(project, filters, now, after, size + 1, older=True)
    members = found[:size]
    newer = _cursor(members[0]) if members and after is not None else None
    older = _cursor(members[-1]) if len(found) > size else end
    looked_back_to = end.created_at if end and len(found) <= size else None
    return Page(_listed(members), newer, older, looked_back_to)


def everybody(project: Project, *, filters: Filters, size: int = 1000, now: datetime | None = None) -> Iterator[Listed]:
    """All who match, newest first; of one page after the other, so that a million of them fit into little memory."""
    after: Cursor | None = None
    now = now or timezone.now()
    while True:
        page = find_people(project, filters=filters, after=after, size=size, now=now)
        yield from page.people
        if page.older is None:
            return
        after = page.older


def next_ids(
    project: Project, *, filters: Filters, after: Cursor, size: int, now: datetime
) -> tuple[list[uuid.UUID], Cursor | None]:
    """Up to `size` people behind a place, and the place to go on from: None when nobody is left. There may be nobody
    in one answer and somebody in the next."""
    found, end = _walk(project, filters, now, after, size, older=True)
    ids = [member.pk for member in found]
    if len(found) == size:
        return ids, _cursor(found[-1])
    return ids, end


def count_people(project: Project, *, filters: Filters, most: int = COUNT_MOST, now: datetime | None = None) -> Count:
    """How many match, counted no further than `most` and no further back than a page would look."""
    matching, bound = matching_people(project, filters, now), None
    if filters.go_by_steps:
        bound = _place(_in_range(project, filters), None, sum(STEPS), older=True)
        if bound is not None:
            matching = _beyond(matching, ">=", bound)
    number = matching[: most + 1].count()
    return Count(min(number, most), is_exact=number <= most and bound is None)


def matching_people(project: Project, filters: Filters, now: datetime | None = None) -> QuerySet[EndUser]:
    """Everybody who matches."""
    people = _in_range(project, filters)
    if filters.search:
        people = people.filter(_who_is_called(project, filters.search))
    for column, value in (
        ("promoted_at", {GUEST: False, REGULAR: True}.get(filters.kind)),
        ("disabled_at", filters.disabled),
        ("quarantined_at", filters.quarantined),
    ):
        if value is not None:
            people = people.filter(**{f"{column}__isnull": not value})
    if filters.application is not None:
        people = people.filter(application_id=filters.application)
    if filters.active_days is not None:
        people = people.filter(_was_here(project, filters.active_days, now or timezone.now()))
    if filters.has_key is not None:
        key = Exists(DeviceKey.objects.filter(end_user=OuterRef("pk")))
        people = people.filter(key if filters.has_key else ~key)
    return people


# --- how ------------------------------------------------------------------------------------------


def _in_range(project: Project, filters: Filters) -> QuerySet[EndUser]:
    people = EndUser.objects.filter(project=project)
    if filters.created_from is not None:
        people = people.filter(created_at__gte=_start_of(filters.created_from))
    if filters.created_to is not None and filters.created_to < date.max:
        people = people.filter(created_at__lt=_start_of(filters.created_to + timedelta(days=1)))
    return people


def _start_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


def _who_is_called(project: Project, text: str) -> Q:
    """A sub as people copy it, or a login ID of any type, however it is spelled."""
    keys, who = [], Q(pk__in=())
    for type in TYPES:
        try:
            keys.append(parse_login_id(type, text).key)
        except InvalidLoginID:
            continue
    if keys:
        # A statement of its own: an OR of a key and a join is no look-up.
        who |= Q(
            pk__in=list(LoginID.objects.filter(project=project, key__in=keys).values_list("end_user_id", flat=True))
        )
    if re.fullmatch(r"[0-9a-f]{32}", text.strip().lower().replace("-", ""), re.ASCII):
        who |= Q(pk=uuid.UUID(text.strip().replace("-", "")))
    return who


def _was_here(project: Project, days: int, now: datetime) -> Any:
    today = now.astimezone(UTC).date()
    # Each day by itself: so the index leads to a person's row of that day.
    each = [today - timedelta(days=number) for number in range(days)]
    seen = ActiveDay.objects.filter(project=project, day__in=each, end_user_id=OuterRef("pk"))
    return Q(created_at__gte=datetime.combine(each[-1], time.min, UTC)) | Exists(seen)


def _beyond(people: QuerySet[EndUser], operator: str, place: Cursor) -> QuerySet[EndUser]:
    """Those on one side of a place. The plain comparison says nothing more; planners guess how many rows it leaves by
    it, and nothing of what two columns are compared with."""
    side = {"<": "lte", "<=": "lte", ">": "gte", ">=": "gte"}[operator]
    return people.filter(_Beyond(operator, place), **{f"created_at__{side}": place.created_at})


class _Beyond(Func):
    """`(created_at, id) < (…, …)`: compared as one, which an index can do."""

    output_field: Final = BooleanField()
    conditional = True

    def __init__(self, operator: str, place: Cursor) -> None:
        fields: Any = EndUser._meta
        created_at, key = fields.get_field("created_at"), fields.get_field("id")
        super().__init__(
            "created_at", "id", Value(place.created_at, output_field=created_at), Value(place.id, output_field=key)
        )
        self.operator = operator

    def as_sql(self, compiler: Any, connection: Any, **context: Any) -> Any:  # type: ignore[override]
        compiled = [compiler.compile(expression) for expression in self.get_source_expressions()]
        (one, _), (two, _), (three, _), (four, _) = compiled
        parameters = [parameter for _, found in compiled for parameter in found]
        return f"({one}, {two}) {self.operator} ({three}, {four})", parameters


def _order(*, older: bool) -> tuple[str, str]:
    return ("-created_at", "-id") if older else ("created_at", "id")


def _place(people: QuerySet[EndUser], start: Cursor | None, number: int, *, older: bool) -> Cursor | None:
    """The place of the `number`th person from a place on: a count in an index, never longer than STEPS."""
    if start is not None:
        people = _beyond(people, "<" if older else ">", start)
    ordered = people.order_by(*_order(older=older)).values_list("created_at", "id")
    return next((Cursor(*row) for row in ordered[number - 1 : number]), None)


def _walk(
    project: Project, filters: Filters, now: datetime, start: Cursor | None, size: int, *, older: bool
) -> tuple[list[EndUser], Cursor | None]:
    """The next `size` who match, and the place up to which everybody was looked at, where that was not the end."""
    matching, found = matching_people(project, filters, now), list[EndUser]()
    matching = matching.select_related("application").order_by(*_order(older=older))
    for step in STEPS if filters.go_by_steps else (0,):
        part = matching if start is None else _beyond(matching, "<" if older else ">", start)
        end = _place(_in_range(project, filters), start, step, older=older) if step else None
        if end is not None:
            part = _beyond(part, ">=" if older else "<=", end)
        found += part[: size - len(found)]
        if end is None or len(found) == size:
            return found, None
        start = end
    return found, start


def _newer(project: Project, filters: Filters, before: Cursor, size: int, now: datetime) -> Page:
    found, end = _walk(project, filters, now, before, size + 1, older=False)
    members = found[:size][::-1]
    newer = _cursor(members[0]) if len(found) > size else end
    older = _cursor(members[-1]) if members else None
    return Page(_listed(members), newer, older)


def _cursor(end_user: EndUser) -> Cursor:
    return Cursor(end_user.created_at, end_user.pk)


def _listed(members: list[EndUser]) -> list[Listed]:
    """What a list says of people beside their own row: one statement each, for all of them."""
    if not members:
        return []
    ids = [member.pk for member in members]
    login_ids: dict[uuid.UUID, list[LoginID]] = {}
    for row in LoginID.objects.filter(end_user__in=ids).order_by("created_at", "pk"):
        login_ids.setdefault(row.end_user_id, []).append(row)
    rows = EndUser.objects.filter(pk__in=ids).annotate(last_active=Max("sessions__last_used_at"))
    known = {pk: (key is not None, last) for pk, key, last in rows.values_list("pk", "device_key", "last_active")}
    return [
        Listed(member, member.application, login_ids.get(member.pk, []), *known.get(member.pk, (False, None)))
        for member in members
    ]


# --- one person -----------------------------------------------------------------------------------


def open_sessions(end_user: EndUser, *, most: int, now: datetime | None = None) -> list[Session]:
    """The newest sessions that were not ended and have not expired, also those of somebody who is disabled: theirs
    sleep."""
    rows = Session.objects.select_related("application", "project").filter(end_user=end_user, ended_at=None)
    moment = now or timezone.now()
    newest = rows.order_by("-last_used_at", "-created_at")[: 10 * most]  # expired ones may lie between them
    return [row for row in newest if row.expires_at > moment][:most]
