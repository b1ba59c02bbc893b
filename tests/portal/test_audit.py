"""Audit log: what it says, what it finds, and its files."""

import csv
import json
import re
import uuid
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.utils.html import escape

from anonusers.models import Application, AuditEvent, Project
from portal import audit
from portal.audit_words import SENTENCES, TITLES, Teller
from portal.models import Membership
from tests.conftest import HOST, row_counts
from tests.portal.conftest import bare_project, save

pytestmark = pytest.mark.django_db
URL = "/portal/guestbook/audit/"
EXPORT = f"{URL}export/"
SUB = uuid.UUID("6f1d4f5e-3c1b-4f7e-9a51-0c8f7b2d9e10")
NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)


@pytest.fixture
def project(db: None) -> Project:
    return bare_project()


def event(project: Project | None, type: str = "application.changed", **fields: Any) -> AuditEvent:
    defaults = {"category": "settings", "actor_name": "olga", "created_at": NOON, "target": "application:web"}
    return AuditEvent.objects.create(project=project, type=type, **(defaults | fields))


def text_of(response: Any) -> str:
    return str(response.content.decode())


def shown(response: Any) -> list[int]:
    return [int(pk) for pk in re.findall(r'id="event-(\d+)"', text_of(response))]


def read(response: Any) -> str:
    return b"".join(response.streaming_content).decode()


# --- words ----------------------------------------------------------------------------------------

TOLD: list[tuple[str, str, dict[str, Any], str]] = [
    (
        "application.changed",
        "application:web",
        {"refresh_token_idle_timeout": [2_592_000, 5_184_000]},
        "olga changed Idle timeout of application Web from 30 days to 60 days",
    ),
    (
        "application.changed",
        "application:gone",
        {"dpop_enabled": [True, False]},
        "olga changed DPoP of application gone from On to Off",
    ),
    (
        "application.changed",
        "application:web",
        {"max_concurrent_sessions": [0, 1]},
        "olga changed One session only of application Web from Off to On",
    ),
    (
        "project.changed",
        "project",
        {"promotion_conflict": ["error", "login"]},
        "olga changed User identity conflict when promote to normal user of the project from Show Error to "
        "Proceed to Login",
    ),
    (
        "project.changed",
        "project",
        {"guest_inactive_days": [90, 30]},
        "olga changed Keep inactive guests for of the project from 90 days to 30 days",
    ),
    (
        "project.changed",
        "project",
        {"name": ["A", "B"], "session_lifetime": [60, 120]},
        "olga changed 2 settings of the project",
    ),
    ("draft.changed", "project", {"name": ["A", "B"]}, "olga drafted Name of the project: from A to B"),
    ("application.created", "application:web", {"name": "Web", "type": "spa"}, "olga made application Web"),
    ("deployment.created", "deployment:3", {}, "olga deployed changes: deployment #3"),
    (
        "deployment.created",
        "deployment:4",
        {"rolled_back_to": "#2"},
        "olga rolled back to the state before deployment #2: deployment #4",
    ),
    ("user.disabled", "", {"reason": "spam"}, f"olga disabled {SUB}"),
    ("member.added", "nina", {"role": "editor"}, "olga added nina to the team as Editor"),
    (
        "member.role_changed",
        "nina",
        {"role": ["viewer", "owner"]},
        "olga changed the role of nina from Viewer to Owner",
    ),
    ("host.thing_done", "", {"why": "because"}, "olga: host.thing_done "),
    # What somebody else may have written must not break the page.
    ("application.changed", "application:web", {"refresh_token_lifetime": ["x", None]}, None),
    ("application.changed", "application:web", {"no_such_column": [1, [2]]}, None),
    ("project.changed", "project", {"session_lifetime": [-5, 2**70]}, None),
    ("project.changed", "", {"x": 1}, None),
    ("member.role_changed", "nina", {}, "olga: member.role_changed nina"),
    ("member.added", "{actor.__class__}", {"role": "{0}"}, "olga added {actor.__class__} to the team as {0}"),
    ("session.refresh_token_reused", "session:1", {"reason": ["a", "b"]}, None),
]  # type: ignore[list-item]


@pytest.mark.parametrize(("type", "target", "changes", "words"), TOLD)
def test_events_are_told_in_plain_words(
    type: str, target: str, changes: Any, words: str | None, project: Project, application: Application, portal: Client
) -> None:
    category = "team" if type.startswith("member") else "settings"
    row = event(project, type, target=target, changes=changes, category=category, end_user_id=SUB)
    told = Teller(project).tell(row)
    if words is not None:
        assert told.text == words
    page = portal.get(URL)
    assert page.status_code == 200
    assert shown(page) == [row.pk]
    assert read(portal.get(EXPORT)).count("\r\n") == 2


@pytest.mark.parametrize("type", sorted(SENTENCES))
def test_every_sentence_finds_its_parts(type: str, project: Project) -> None:
    changes: dict[str, Any] = {"role": "viewer", "rolled_back_to": "#1", "anonymous_user": str(SUB), "name": "Deploy"}
    if type.endswith("changed"):
        changes = {"role": ["viewer", "editor"]}
    category = "team" if type.startswith("member") else "settings"
    told = Teller(project).tell(event(project, type, changes=changes, end_user_id=SUB, category=category))
    assert type not in told.text
    assert "{" not in told.text


def test_who_is_not_known_is_the_server_and_somebody(project: Project) -> None:
    teller = Teller(project)
    assert teller.tell(event(project, "keys.rotated", actor_name="")).text == "The server rotated the signing keys"
    assert teller.tell(event(project, "user.deleted")).text == "olga deleted somebody"


def test_several_settings_are_listed_from_what_to_what(project: Project, application: Application) -> None:
    changes = {
        "redirect_uris": [["https://a.example/", "https://b.example/"], ["https://b.example/", "https://c.example/"]],
        "issue_jwt_access_token": [False, True],
        "name": ["", "Web"],
    }
    told = Teller(project).tell(event(project, changes=changes))
    assert [(one.label, one.old, one.new) for one in told.differences] == [
        ("Authorized redirect URIs", ["https://a.example/"], ["https://c.example/"]),
        ("Issue JWT as access token", ["Off"], ["On"]),
        ("Name", ["Empty"], ["Web"]),
    ]
    assert told.facts == []


def test_facts_are_named_and_long_ones_cut(project: Project) -> None:
    changes = {"reason": "r" * 500, "removed": {"example.Comment": 3}, "at_once": True, "none": None, "odd": [1, "b"]}
    told = Teller(project).tell(event(project, "user.deleted", category="users", changes=changes))
    assert told.facts == [
        ("Reason", f"{'r' * 300}…"),
        ("Removed", "example.Comment 3"),
        ("The old keys were dropped at once", "yes"),
        ("odd", "1, b"),
    ]


def test_what_a_form_saves_is_told_by_its_labels(portal: Client, project: Project) -> None:
    save(portal, "/portal/guestbook/session/", session_idle_timeout="3600")
    page = re.sub(r"<[^>]+>", "", text_of(portal.get(URL)))
    assert "olga changed Idle timeout of the project from 30 days to 1 hour" in page


PAYLOADS = ["<script>alert(1)</script>", '"><img src=x>', "{{ 7*7 }}", "{actor}"]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_in_an_event_is_run(payload: str, portal: Client, project: Project) -> None:
    event(project, changes={"name": [payload, f"{payload}2"]}, actor_name=payload, target=payload)
    event(project, payload[:50], changes={payload: payload}, category="users")
    event(project, "project.changed", target="project", changes={"name": [payload, "a"], payload: [payload, [payload]]})
    page = text_of(portal.get(URL))
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert escape(payload) in page


# --- filters --------------------------------------------------------------------------------------


@pytest.fixture
def several(project: Project) -> dict[str, int]:
    rows = {
        "old": event(project, created_at=NOON - timedelta(days=3)),
        "team": event(project, "member.added", category="team", target="nina", actor_name="otto"),
        "person": event(project, "user.disabled", category="users", end_user_id=SUB, target=""),
        "late": event(project, "keys.rotated", category="security", created_at=NOON.replace(hour=23, minute=59)),
        "odd": event(project, "host.thing", created_at=NOON + timedelta(days=1)),
    }
    event(bare_project("shop", "shop.example.com"), end_user_id=SUB)
    event(None, "project.deleted", target="gone")
    return {name: row.pk for name, row in rows.items()}


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["odd", "late", "person", "team", "old"]),
        ("category=team", ["team"]),
        ("category=security", ["late"]),
        ("actor=otto", ["team"]),
        ("actor=ott", []),
        ("type=keys.rotated", ["late"]),
        ("type=host.thing", ["odd"]),
        ("type=user.enabled", []),
        ("target=nina", ["team"]),
        ("target=application:web", ["odd", "late", "old"]),
        (f"sub={SUB}", ["person"]),
        (f"sub={SUB.hex.upper()}", ["person"]),
        (f"sub={uuid.UUID(int=0)}", []),
        ("from=2026-11-10", ["odd", "late", "person", "team"]),
        ("to=2026-11-10", ["late", "person", "team", "old"]),
        ("from=2026-11-10&to=2026-11-10", ["late", "person", "team"]),
        ("from=0001-01-01&to=9999-12-30", ["odd", "late", "person", "team", "old"]),
        ("to=9999-12-31", ["odd", "late", "person", "team", "old"]),
        ("category=settings&from=2026-11-11&actor=olga", ["odd"]),
    ],
)
def test_filters_find_what_they_say(
    query: str, names: list[str], portal: Client, project: Project, several: dict[str, int]
) -> None:
    response = portal.get(f"{URL}?{query}")
    assert response.status_code == 200
    expected = [several[name] for name in names]
    assert shown(response) == expected
    if not names:
        assert "No event matches" in text_of(response)
    assert [row["id"] for row in json.loads(read(portal.get(f"{EXPORT}?format=json&{query}")))] == expected


def test_chips_say_the_filters_and_take_them_away(portal: Client, project: Project, several: Any) -> None:
    page = text_of(portal.get(f"{URL}?category=users&actor=olga&to=2026-11-10"))
    assert f'href="{URL}?actor=olga&amp;to=2026-11-10" aria-current="true"' in page
    assert f'href="{URL}?category=users&amp;to=2026-11-10">Operator: olga' in page
    assert f'href="{URL}?category=users&amp;actor=olga">Up to: 10 Nov 2026' in page
    assert f'href="{EXPORT}?category=users&amp;actor=olga&amp;to=2026-11-10&amp;format=csv"' in page


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("category=nothing", "About: Choose one of the list."),
        ("type=Drop+Table", "Event: Choose one of the list."),
        ("sub=6f1d", "Enter the whole sub"),
        ("from=yesterday", "Write the day as year-month-day"),
        ("from=2026-11-10&to=2026-11-09", "This day is before the first one."),
        ("before=x", "This link is not whole. Begin with the newest events."),
        ("before=99999999999999999999", "This link is not whole."),
        ("after=-1", "This link is not whole."),
        (f"actor={'a' * 151}", "at most 150 characters"),
        ("actor=%00", "Null characters are not allowed."),
    ],
)
def test_filters_that_are_not_good_are_said(query: str, words: str, portal: Client, project: Project) -> None:
    event(project)
    for url in (URL, EXPORT):
        response = portal.get(f"{url}?{query}")
        assert response.status_code == 400
        assert words in text_of(response)
        assert shown(response) == []
    assert AuditEvent.objects.count() == 1


def test_an_unknown_format_is_refused(portal: Client, project: Project) -> None:
    response = portal.get(f"{EXPORT}?format=xml")
    assert response.status_code == 400
    assert "The file is either CSV or JSON." in text_of(response)


def test_the_empty_log_says_what_will_appear(portal: Client, project: Project) -> None:
    page = text_of(portal.get(URL))
    assert "Nothing has happened yet" in page
    assert "The first one comes when you save a setting" in page


def test_every_type_that_can_be_chosen_has_a_sentence() -> None:
    assert set(TITLES) <= set(SENTENCES)


# --- pages ----------------------------------------------------------------------------------------


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch, project: Project) -> list[int]:
    """Seven events on pages of three."""
    monkeypatch.setattr(audit, "SIZE", 3)
    monkeypatch.setattr(audit.find_events, "__kwdefaults__", {"size": 3})
    return [event(project, actor_name="otto" if number % 2 else "olga").pk for number in range(7)][::-1]


def link(response: Any, label: str) -> str | None:
    found = re.search(rf'<a class="button"[^>]*href="([^"]+)"[^>]*>{label}</a>', text_of(response))
    return found[1].replace("&amp;", "&") if found else None


def test_pages_lead_to_each_other_and_show_everything_once(portal: Client, pages: list[int]) -> None:
    first = portal.get(URL)
    second = portal.get(link(first, "Older"))
    third = portal.get(link(second, "Older"))
    assert [shown(first), shown(second), shown(third)] == [pages[:3], pages[3:6], pages[6:]]
    assert (link(first, "Newer"), link(third, "Older")) == (None, None)
    back = portal.get(link(third, "Newer"))
    assert shown(back) == pages[3:6]
    front = portal.get(link(back, "Newer"))
    assert shown(front) == pages[:3]
    assert link(front, "Newest") == URL
    assert link(front, "Newer") is None


def test_what_comes_meanwhile_moves_no_page(portal: Client, pages: list[int], project: Project) -> None:
    older = link(portal.get(URL), "Older")
    new = event(project).pk
    second = portal.get(older)
    assert shown(second) == pages[3:6]
    front = portal.get(link(second, "Newer"))
    assert shown(front) == pages[:3]
    assert shown(portal.get(link(front, "Newer"))) == [new]
    assert shown(portal.get(f"{URL}?after={new}")) == []


def test_a_name_is_looked_for_in_bounded_stretches(
    portal: Client, pages: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "LOOKED", 2)
    response = portal.get(f"{URL}?actor=otto")
    found = shown(response)
    while further := link(response, "Look further back"):
        assert "Looked through everything since" in text_of(response) or not shown(response)
        response = portal.get(further)
        found += shown(response)
    assert found == [pages[1], pages[3], pages[5]]
    nobody = portal.get(f"{URL}?actor=nobody")
    assert "Nothing among the newest events" in text_of(nobody)


def test_an_old_day_is_found_without_looking_through_what_came_later(
    portal: Client, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "NEAR", 1)
    monkeypatch.setattr(audit, "LOOKED", 10)
    rows = [event(project, created_at=NOON + timedelta(hours=number)).pk for number in range(64)]
    response = portal.get(f"{URL}?to=2026-11-10")
    assert shown(response) == rows[11:1:-1] or shown(response)[:3] == rows[11:8:-1]
    exported = json.loads(read(portal.get(f"{EXPORT}?format=json&to=2026-11-10")))
    assert [row["id"] for row in exported] == rows[11::-1]


def test_the_page_costs_few_statements(
    portal: Client, project: Project, several: Any, django_assert_max_num_queries: Any
) -> None:
    portal.get(URL)
    for query in ("", "category=team", "actor=olga&to=2026-11-10", f"sub={SUB}"):
        with django_assert_max_num_queries(14):
            portal.get(f"{URL}?{query}")


# --- files ----------------------------------------------------------------------------------------


def test_the_csv_holds_what_the_page_says(portal: Client, project: Project, application: Application) -> None:
    row = event(project, changes={"dpop_enabled": [True, False]}, end_user_id=SUB)
    response = portal.get(EXPORT)
    assert response["Content-Type"] == "text/csv"
    assert re.fullmatch(r'attachment; filename="guestbook-audit-\d{4}-\d\d-\d\d\.csv"', response["Content-Disposition"])
    head, line = csv.reader(StringIO(read(response)))
    assert dict(zip(head, line, strict=True)) == {
        "id": str(row.pk),
        "time": "2026-11-10T12:00:00+00:00",
        "category": "settings",
        "type": "application.changed",
        "actor": "olga",
        "user": str(SUB),
        "target": "application:web",
        "event": "olga changed DPoP of application Web from On to Off",
        "changes": '{"dpop_enabled": [true, false]}',
    }


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_spreadsheet_computes_nothing(start: str, portal: Client, project: Project) -> None:
    event(project, actor_name=f"{start}1+1", target=f"{start}cmd")
    _head, line = csv.reader(StringIO(read(portal.get(EXPORT)), newline=""))
    assert (line[4], line[6]) == (f"'{start}1+1", f"'{start}cmd")
    assert line[7].startswith("'")


def test_the_json_is_one_array(portal: Client, project: Project) -> None:
    assert json.loads(read(portal.get(f"{EXPORT}?format=json"))) == []
    AuditEvent.objects.all().delete()
    event(project, changes={"a": ["ä", 1]}, actor_name="")
    response = portal.get(f"{EXPORT}?format=json")
    assert response["Content-Type"] == "application/json"
    (found,) = json.loads(read(response))
    assert (found["actor"], found["changes"], found["user"]) == (None, {"a": ["ä", 1]}, None)


def test_a_long_log_is_read_in_stretches(
    portal: Client, project: Project, monkeypatch: pytest.MonkeyPatch, django_assert_max_num_queries: Any
) -> None:
    monkeypatch.setattr(audit, "BATCH", 3)
    rows = [event(project, actor_name="otto" if number % 5 == 0 else "olga").pk for number in range(10)]
    assert [row["id"] for row in json.loads(read(portal.get(f"{EXPORT}?format=json&actor=otto")))] == [rows[5], rows[0]]
    response = portal.get(EXPORT)
    with django_assert_max_num_queries(10):
        assert read(response).count("\r\n") == 12


def test_an_export_is_itself_an_event(portal: Client, project: Project) -> None:
    read(portal.get(f"{EXPORT}?format=json&category=team"))
    last = AuditEvent.objects.get()
    assert (last.type, last.category, last.actor_name, last.changes) == (
        "audit.exported",
        "security",
        "olga",
        {"filters": "?category=team"},
    )


# --- who ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["viewer", "editor", "owner"])
def test_every_member_may_read_and_nobody_write(role: str, project: Project) -> None:
    user = get_user_model().objects.create_user(role, is_staff=True)
    Membership.objects.create(project=project, user=user, role=role)
    client = Client(HTTP_HOST=HOST)
    client.force_login(user)
    row = event(project)
    response = client.get(URL)
    assert shown(response) == [row.pk]
    assert "You can look at this page" not in text_of(response)
    assert role in text_of(response).split("<datalist")[1]
    before = row_counts()
    for url in (URL, EXPORT):
        assert client.post(url).status_code == (403 if role == "viewer" else 405)
    assert row_counts() == before
    assert read(client.get(EXPORT)).count("\r\n") == 2


@pytest.mark.postgres
@pytest.mark.parametrize(
    "query", ["", "category=team", "type=keys.rotated", f"sub={SUB}", "actor=otto", "to=2026-11-01", "before=5000"]
)
def test_no_page_looks_through_the_whole_table(
    query: str, portal: Client, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "LOOKED", 500)  # as small beside this table as the real one beside a real one
    monkeypatch.setattr(audit, "NEAR", 500)
    shop = bare_project("shop", "shop.example.com")
    kinds = [("settings", "application.changed"), ("team", "member.added"), ("security", "keys.rotated")]
    AuditEvent.objects.bulk_create(
        AuditEvent(
            project=project if number % 2 else shop,
            category=kinds[number % 50 % 3][0],
            type=kinds[number % 50 % 3][1],
            actor_name="olga",
            end_user_id=uuid.uuid4() if number % 3 else None,
            created_at=NOON - timedelta(minutes=20_000 - number),
        )
        for number in range(20_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE anonusers_auditevent")
    plans: list[str] = []

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if 'FROM "anonusers_auditevent"' in sql and sql.startswith("SELECT"):
            with connection.cursor() as cursor:
                cursor.cursor.execute("EXPLAIN " + sql, params)
                plans.append("\n".join(row[0] for row in cursor.cursor.fetchall()))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        assert portal.get(f"{URL}?{query}").status_code == 200
    assert plans
    assert [plan for plan in plans if "Seq Scan on anonusers_auditevent" in plan] == []
