"""Users: the list with its filters in the URL, the CSV, and a guest for somebody."""

import csv
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone

from anonusers import people
from anonusers.models import ActiveDay, Application, AuditEvent, EndUser, OneTimeToken, Project, Session
from portal.models import Job, Membership
from portal.people import harmless
from tests.anonusers.test_people import make_key, make_people
from tests.conftest import HOST, make_application, make_project, row_counts
from tests.people import new_guest, regular_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]
URL = "/portal/guestbook/users/"


def text_of(response: Any) -> str:
    return response.content.decode()


def subs_in(response: Any) -> list[str]:
    """The people of a page, in its order."""
    return re.findall(r'class="named__link" href="/portal/guestbook/users/([0-9a-f-]{36})/"', text_of(response))


def member(project: Project, role: str | None) -> Client:
    """The browser of an operator with this role in the project; None: in another one."""
    user = get_user_model().objects.create_user(f"{role}", is_staff=True)
    place = project if role else make_project("elsewhere", "elsewhere.example.com")
    Membership.objects.create(project=place, user=user, role=role or "owner")
    client = Client(HTTP_HOST=HOST)
    client.force_login(user)
    return client


@pytest.fixture
def crowd(project: Project, application: Application) -> dict[str, EndUser]:
    """One person of each sort."""
    make_application(project, "mobile", type="native")
    guest = new_guest(application)
    regular = regular_user(application)
    disabled, aside, keyed, early = make_people(project, 4, created_at=timezone.now() - timedelta(days=2))
    EndUser.objects.filter(pk=disabled.pk).update(disabled_at=timezone.now())
    EndUser.objects.filter(pk=aside.pk).update(quarantined_at=timezone.now())
    make_key(keyed).save()
    EndUser.objects.filter(pk=early.pk).update(
        created_at=datetime(2020, 2, 29, 23, 59, tzinfo=UTC), application=project.applications.get(client_id="mobile")
    )
    ActiveDay.objects.create(project=project, day=timezone.now().date(), end_user_id=disabled.pk, was_guest=True)
    return {
        "guest": guest,
        "regular": regular,
        "disabled": disabled,
        "aside": aside,
        "keyed": keyed,
        "early": early,
    }


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "guest regular disabled aside keyed early"),
        ("?kind=guest", "guest disabled aside keyed early"),
        ("?kind=regular", "regular"),
        ("?disabled=yes", "disabled"),
        ("?disabled=no", "guest regular aside keyed early"),
        ("?quarantined=yes", "aside"),
        ("?quarantined=no", "guest regular disabled keyed early"),
        ("?application=mobile", "early"),
        ("?application=web", "guest regular"),
        ("?key=yes", "keyed"),
        ("?key=no", "guest regular disabled aside early"),
        ("?active=1", "guest regular disabled"),
        ("?active=7", "guest regular disabled aside keyed"),
        ("?active=30", "guest regular disabled aside keyed"),
        ("?created_from=2020-02-29&created_to=2020-02-29", "early"),
        ("?created_to=2020-02-28", ""),
        ("?created_from=2020-03-01", "guest regular disabled aside keyed"),
        ("?created_to=9999-12-31", "guest regular disabled aside keyed early"),
        ("?kind=guest&disabled=no&quarantined=no&key=no&application=web", "guest"),
        ("?kind=regular&disabled=yes", ""),
        ("?q=anna@example.com", "regular"),
        ("?q=anna@example.com&kind=guest", ""),
        ("?q=ann", ""),
        ("?unknown=1", "guest regular disabled aside keyed early"),
    ],
)
def test_the_filters_of_the_url(portal: Client, crowd: dict[str, EndUser], query: str, names: str) -> None:
    response = portal.get(URL + query)
    assert response.status_code == 200
    assert set(subs_in(response)) == {str(crowd[name].pk) for name in names.split()}
    assert len(subs_in(response)) == len(names.split())


def test_a_search_for_a_sub(portal: Client, crowd: dict[str, EndUser]) -> None:
    sub = crowd["keyed"].pk
    for text in (sub, sub.hex, f"%20{sub}%20"):
        assert subs_in(portal.get(f"{URL}?q={text}")) == [str(sub)]


BAD = [
    "kind=robot",
    "disabled=maybe",
    "quarantined=1",
    "application=nobody",
    "created_from=yesterday",
    "created_to=2026-02-30",
    "created_from=2026-02-02&created_to=2026-02-01",
    "active=8",
    "key=perhaps",
    "after=1",
    "before=x",
    "after=" + "9" * 17 + "." + "g" * 32,
    "q=" + "a" * 255,
    "kind=%00",
]


@pytest.mark.parametrize("query", BAD)
def test_what_is_no_filter_is_refused_with_words(portal: Client, crowd: dict[str, EndUser], query: str) -> None:
    before = row_counts()
    for url in (URL, f"{URL}export/"):
        response = portal.get(f"{url}?{query}")
        assert response.status_code == 400
        assert "Nobody was looked for. Mend this first:" in text_of(response)
        assert subs_in(response) == []
    assert row_counts() == before


def test_every_chip_and_link_of_the_page_is_good(portal: Client, crowd: dict[str, EndUser]) -> None:
    for query in ("", "?kind=guest&active=7&key=no&created_from=2026-01-01&application=web", "?disabled=no&q=x%26y"):
        page = text_of(portal.get(URL + query))
        links = set(re.findall(r'href="(/portal/guestbook/users/[^"]*)"', page))
        assert len(links) > 5
        for link in links:
            assert portal.get(link.replace("&amp;", "&")).status_code == 200, link


def test_a_chip_takes_its_filter_away_and_leaves_the_others(portal: Client, crowd: dict[str, EndUser]) -> None:
    response = portal.get(f"{URL}?kind=guest&key=no&active=7")
    chips = {chip["label"]: chip["query"] for chip in response.context["form"].chips()}
    assert chips == {
        "Active: in the last 7 days": "?kind=guest&key=no",
        "Has no device key": "?kind=guest&active=7",
    }
    switches = {str(chip["label"]): (chip["on"], chip["query"]) for chip in response.context["form"].switches()}
    assert switches["Guests"] == (True, "?active=7&key=no")
    assert switches["Regular users"] == (False, "?kind=regular&active=7&key=no")
    assert switches["Disabled"] == (False, "?kind=guest&active=7&key=no&disabled=yes")


def test_pages_older_and_newer_keep_the_filters(portal: Client, project: Project) -> None:
    make_people(project, 120)
    expected = [str(pk) for pk in EndUser.objects.order_by("-pk").values_list("pk", flat=True)]
    first = portal.get(f"{URL}?kind=guest")
    assert subs_in(first) == expected[:50]
    assert "Newest</a>" not in text_of(first)
    older = _link(first, "next")
    assert "kind=guest" in older
    second = portal.get(older)
    assert subs_in(second) == expected[50:100]
    last = portal.get(_link(second, "next"))
    assert subs_in(last) == expected[100:]
    assert 'rel="next"' not in text_of(last)
    assert subs_in(portal.get(_link(last, "prev"))) == expected[50:100]
    answer = portal.get(_link(second, "prev"))
    assert (answer.status_code, answer["Location"]) == (302, f"{URL}?kind=guest")


def _link(response: Any, rel: str) -> str:
    found = re.search(rf'rel="{rel}" href="([^"]+)"', text_of(response))
    assert found
    return found[1].replace("&amp;", "&")


def test_how_far_back_was_looked_is_said(
    portal: Client, project: Project, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "STEPS", (2, 3))
    make_people(project, 9)
    (oldest,) = make_people(project, 1, created_at=datetime(2020, 1, 1, tzinfo=UTC), application=application)
    response = portal.get(f"{URL}?application=web")
    assert "Nobody among the newest people" in text_of(response)
    response = portal.get(_link(response, "next"))
    assert subs_in(response) == [str(oldest.pk)]


def test_a_row_shows_what_is_known(portal: Client, crowd: dict[str, EndUser]) -> None:
    page = text_of(portal.get(f"{URL}?disabled=yes"))
    assert '<span class="badge">Guest</span><span class="badge badge--danger">Disabled</span>' in page
    page = text_of(portal.get(f"{URL}?kind=regular"))
    assert '<span class="badge badge--accent">Regular</span>' in page
    assert '<bdi class="who__name">anna@example.com</bdi>' in page
    assert '<span class="badge badge--warning">Quarantined</span>' in text_of(portal.get(f"{URL}?quarantined=yes"))


def test_an_empty_project_says_how_the_first_guest_comes(portal: Client, project: Project) -> None:
    page = text_of(portal.get(URL))
    assert "Nobody here yet" in page
    assert 'name="sub"' not in page
    assert "Nobody matches" in text_of(portal.get(f"{URL}?kind=guest"))


def test_what_people_are_called_is_shown_and_never_run(portal: Client, crowd: dict[str, EndUser]) -> None:
    payload = '"><script>alert(1)</script>'
    crowd["regular"].login_ids.update(value=payload)
    page = text_of(portal.get(URL, {"q": payload})) + text_of(portal.get(URL))
    assert "<script>alert" not in page
    assert "&quot;&gt;&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize("query", ["", "?kind=guest&application=web&active=30&key=no", "?q=anna@example.com"])
def test_a_page_costs_the_same_whatever_the_number_of_rows(
    portal: Client, project: Project, application: Application, query: str, django_assert_max_num_queries: Any
) -> None:
    regular_user(application)
    make_people(project, 3, application=application)
    portal.get(URL)
    with django_assert_max_num_queries(14) as few:
        assert portal.get(URL + query).status_code == 200
    make_people(project, 60, application=application)
    with django_assert_max_num_queries(14) as many:
        assert portal.get(URL + query).status_code == 200
    assert len(many) == len(few)


def test_a_viewers_page_costs_no_more_even_where_it_looks_further_back(
    project: Project, application: Application, monkeypatch: pytest.MonkeyPatch, django_assert_max_num_queries: Any
) -> None:
    monkeypatch.setattr(people, "STEPS", (9, 60))
    make_people(project, 70, application=application)
    client = member(project, "viewer")
    client.get(URL)
    with django_assert_max_num_queries(14):
        assert len(subs_in(client.get(f"{URL}?kind=guest&application=web"))) == 50


# --- roles ----------------------------------------------------------------------------------------


def test_a_viewer_looks_and_changes_nothing(project: Project, crowd: dict[str, EndUser]) -> None:
    client = member(project, "viewer")
    page = text_of(client.get(URL))
    assert len(re.findall("named__link", page)) == 6
    for control in ('name="sub"', "Create guest", 'name="action"'):
        assert control not in page
    before = row_counts()
    assert client.get(f"{URL}new/").status_code == 403
    for url, data in ((f"{URL}new/", {"application": "web"}), (URL, {}), (f"{URL}export/", {})):
        assert client.post(url, data).status_code == 403
    sub = str(crowd["guest"].pk)
    order = {"action": "delete", "sub": sub, "confirmed": "yes", "typed": "1"}
    assert client.post(f"{URL}bulk/", order).status_code == 403
    assert (row_counts(), Job.objects.count()) == (before, 0)


def test_a_member_of_another_project_finds_nothing(project: Project, crowd: dict[str, EndUser]) -> None:
    client = member(project, None)
    before = row_counts()
    for path in ("", "export/", "new/", "bulk/"):
        assert client.get(URL + path).status_code == 404
        assert client.post(URL + path, {"application": "web"}).status_code == 404
    assert row_counts() == before


def test_people_of_another_project_are_not_listed(portal: Client, crowd: dict[str, EndUser]) -> None:
    shop = make_project("shop", "shop.example.com")
    (stranger,) = make_people(shop, 1)
    assert str(stranger.pk) not in text_of(portal.get(URL))
    assert subs_in(portal.get(f"{URL}?q={stranger.pk}")) == []
    exported = b"".join(portal.get(f"{URL}export/").streaming_content).decode()  # type: ignore[attr-defined]
    assert str(stranger.pk) not in exported


# --- CSV ------------------------------------------------------------------------------------------


def exported(client: Client, query: str = "") -> list[dict[str, str]]:
    response: Any = client.get(f"{URL}export/{query}")
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/csv")
    return list(csv.DictReader(b"".join(response.streaming_content).decode().splitlines()))


def test_the_export_has_whom_the_filters_show(portal: Client, crowd: dict[str, EndUser]) -> None:
    rows = exported(portal)
    assert [row["sub"] for row in rows] == subs_in(portal.get(URL))
    assert [row["sub"] for row in exported(portal, "?key=yes")] == [str(crowd["keyed"].pk)]
    (row,) = exported(portal, "?kind=regular")
    created = crowd["regular"].created_at.isoformat(timespec="seconds")
    assert row == {
        "sub": str(crowd["regular"].pk),
        "kind": "regular",
        "login_ids": "anna@example.com",
        "application": "web",
        "created": created,
        "last_active": Session.objects.get(end_user=crowd["regular"]).last_used_at.isoformat(timespec="seconds"),
        "device_key": "no",
        "disabled": "",
        "quarantined": "",
    }


def test_an_export_is_a_file_and_is_in_the_audit_log(portal: Client, operator: Any, crowd: dict[str, EndUser]) -> None:
    response = portal.get(f"{URL}export/?kind=guest")
    assert re.fullmatch(r'attachment; filename="guestbook-users-\d{4}-\d\d-\d\d\.csv"', response["Content-Disposition"])
    assert "no-store" in response["Cache-Control"]
    event = AuditEvent.objects.get(type="users.exported")
    assert (event.category, event.actor, event.changes) == ("users", operator, {"filters": "?kind=guest"})


def test_an_export_is_read_page_by_page(
    portal: Client, project: Project, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    rows = make_people(project, 25)
    asked = []
    original = people.find_people

    def counted(*args: Any, **options: Any) -> Any:
        asked.append(options["size"])
        return original(*args, **options | {"size": 10})

    monkeypatch.setattr(people, "find_people", counted)
    response: Any = portal.get(f"{URL}export/")
    assert asked == []  # nothing is read before it is sent
    lines: Iterator[bytes] = iter(response.streaming_content)
    next(lines), next(lines)
    assert asked == [1000]
    assert len(list(lines)) == 24
    assert asked == [1000] * 3
    assert len(rows) == 25


@pytest.mark.parametrize("cell", ["=1+1", "+49301234567", "-2", "@SUM(A1)", "\t=1", "\r=1"])
def test_cells_that_a_spreadsheet_would_compute_are_quoted(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"


def test_other_cells_stay_as_they_are() -> None:
    for cell in ("", "anna@example.com", "2026-11-21", "a=b", "'"):
        assert harmless(cell) == cell


def test_a_formula_in_a_login_id_does_no_harm(portal: Client, crowd: dict[str, EndUser]) -> None:
    crowd["regular"].login_ids.update(value='=HYPERLINK("http://evil.example","x"),1\n2')
    assert exported(portal, "?kind=regular")[0]["login_ids"].startswith("'=HYPERLINK")


# --- a guest for somebody -------------------------------------------------------------------------


def test_a_guest_is_created_and_the_code_is_shown_once(portal: Client, operator: Any, application: Application) -> None:
    make_application(application.project, "machine", type="m2m")
    form = text_of(portal.get(f"{URL}new/"))
    assert re.findall(r'<option value="(\w+)"', form) == ["web"]
    response = portal.post(f"{URL}new/", {"application": "web"})
    assert response.status_code == 201
    guest = EndUser.objects.get()
    assert guest.is_guest
    assert guest.application == application
    (code,) = re.findall(r'<code class="big-code">([0-9A-Z]{4}(?:-[0-9A-Z]{4}){3})</code>', text_of(response))
    assert "no-store" in response["Cache-Control"]
    assert code not in text_of(portal.get(f"{URL}{guest.pk}/"))
    event = AuditEvent.objects.get(type="user.created")
    assert (event.category, event.end_user_id, event.actor) == ("users", guest.pk, operator)
    assert code not in str(AuditEvent.objects.values())


@pytest.mark.parametrize("data", [{}, {"application": ""}, {"application": "machine"}, {"application": "till"}])
def test_a_guest_needs_an_application_of_this_project_that_has_guests(
    portal: Client, application: Application, data: dict[str, str]
) -> None:
    make_application(application.project, "machine", type="m2m")
    make_application(make_project("shop", "shop.example.com"), "till")
    before = row_counts()
    response = portal.post(f"{URL}new/", data)
    assert response.status_code == 400
    assert 'class="error"' in text_of(response)
    assert row_counts() == before


def test_no_guest_is_created_while_anonymous_users_are_off(portal: Client, application: Application) -> None:
    Project.objects.update(anonymous_users_enabled=False)
    before = row_counts()
    response = portal.post(f"{URL}new/", {"application": "web"})
    assert response.status_code == 409
    assert "Anonymous users are disabled in this project." in text_of(response)
    assert (row_counts(), OneTimeToken.objects.count()) == (before, 0)


def test_without_an_application_the_page_says_what_to_do(portal: Client, project: Project) -> None:
    assert "No application for guests yet" in text_of(portal.get(f"{URL}new/"))
    assert portal.post(f"{URL}new/", {"application": "web"}).status_code == 400
