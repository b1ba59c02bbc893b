"""Budgets of statements: what is listed costs the same, however many rows there are. A change of a number here is a
change to be argued for."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from anonusers.errors import GuestGone
from anonusers.models import (
    AnonymousIdentity,
    Application,
    EmailRegistration,
    EndUser,
    LoginID,
    Project,
    RealmApp,
    RealmIdentity,
    RealmUser,
)
from anonusers.promotion import promote
from anonusers.realm_users import LOCAL_USERPASS, make_realm_users, realm_app_of, realm_user_of
from anonusers.sessions import open_session
from portal.models import Deployment, Draft
from portal.operator_keys import create_key
from portal.realm import make_application
from portal.realm_admin.users import list_users, read_query
from tests.conftest import make_application as make_other_application
from tests.conftest import make_project
from tests.people import new_guest, proof_of
from tests.portal.realm_admin.tools import Tool, app_path, member, tool_of
from tests.test_races import at_once

pytestmark = [pytest.mark.django_db, pytest.mark.database]
CONTROL = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET ", "START")
OPERATOR, APP = 2, 1
"""Who asks, by the token, and that they are nobody of a project; the app, with the operator's role."""


@pytest.fixture(autouse=True)
def app(settings: Any, project: Project, application: Application) -> str:
    settings.ANONUSERS_SIGNUP_PER_IP = "off"
    return app_path(project)


def spent(call: Callable[[], Any]) -> tuple[Any, int]:
    """The answer, and how many statements it took; those that hold a transaction together are not counted."""
    with CaptureQueriesContext(connection) as captured:
        response = call()
    assert response.status_code == 200, response.content
    sqls = [query["sql"] for query in captured.captured_queries]
    return response, sum(not sql.upper().startswith(CONTROL) for sql in sqls)


def make_people(application: Application, number: int) -> None:
    """Of four kinds in turn, and so with none, one and several identities of each type."""
    for turn in range(number):
        person, kind = new_guest(application), turn % 4
        if kind == 0:
            continue  # a guest who came through another door, and has no id yet
        row = realm_user_of(person)
        if kind == 1:
            continue
        address = f"{person.pk.hex}@example.com"
        promote(end_user=person, project=application.project, proof=proof_of(address), application=application)
        if kind == 3:  # by two addresses, of which one was registered
            facts: Any = {"project": application.project, "end_user": person}
            data, id = {"email": address.upper()}, f"registered-{row.object_id}"
            RealmIdentity.objects.create(provider_type=LOCAL_USERPASS, identity_id=id, data=data, **facts)
            LoginID.objects.create(type="email", value=f"second-{address}", key=person.pk.hex, **facts)


@pytest.mark.parametrize("number", [4, 20, 48])
def test_a_page_of_users_takes_five_statements_and_three_more_where_ids_are_made(
    admin: Tool, app: str, application: Application, number: int
) -> None:
    make_people(application, number)
    path = f"{app}/users"
    first, statements = spent(lambda: admin.send("GET", path))
    # people, identities, addresses; ids that are made, asked for, and identities that are made
    assert (len(first.json()), statements) == (number, OPERATOR + APP + 3 + 3)
    assert RealmUser.objects.count() == number
    again, statements = spent(lambda: admin.send("GET", path))
    assert statements == OPERATOR + APP + 3
    assert again.content == first.content
    _rest, statements = spent(lambda: admin.send("GET", f"{path}?after={first.json()[1]['_id']}"))
    assert statements == OPERATOR + APP + 4


def test_guests_alone_have_no_addresses_to_ask_for(admin: Tool, app: str, application: Application) -> None:
    for number in (2, 18):
        for _ in range(number):
            realm_user_of(new_guest(application))
        assert spent(lambda: admin.send("GET", f"{app}/users"))[1] == OPERATOR + APP + 2


def test_a_list_says_of_each_user_byte_for_byte_what_asking_for_one_says(
    admin: Tool, app: str, application: Application
) -> None:
    make_people(application, 12)
    for query in ("", "?desc=true", "?provider_types=local-userpass"):
        listed = admin.send("GET", f"{app}/users{query}")
        single = [admin.send("GET", f"{app}/users/{one['_id']}").content for one in listed.json()]
        assert listed.content == b"[" + b",".join(single) + b"]"
    kinds = {tuple(one["provider_type"] for one in user["identities"]) for user in admin.ask("GET", f"{app}/users")}
    known = "anon-user", "local-userpass"
    assert kinds == {known[:1], known, (*known, "local-userpass")}


def test_who_has_an_id_by_now_keeps_it_and_gets_no_second_identity(application: Application) -> None:
    person, other = new_guest(application), new_guest(application)
    stale = list(EndUser.objects.select_related("realm_user", "anonymous_identity"))
    known = realm_user_of(person).object_id
    make_realm_users(stale)
    assert {one.pk: one.realm_user.object_id for one in stale}[person.pk] == known
    assert RealmUser.objects.get(end_user=person).object_id == known
    assert [RealmIdentity.objects.filter(end_user=one).count() for one in (person, other)] == [1, 1]


@pytest.mark.django_db(transaction=True)
def test_who_was_removed_meanwhile_gets_no_id(application: Application) -> None:
    new_guest(application)
    stale = list(EndUser.objects.select_related("realm_user", "anonymous_identity"))
    EndUser.objects.all().delete()
    with pytest.raises(GuestGone):
        make_realm_users(stale)
    assert not RealmUser.objects.exists()
    assert not RealmIdentity.objects.exists()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_whoever_asks_at_the_same_moment_is_told_the_same_ids(project: Project, application: Application) -> None:
    for _round in range(5):
        for _ in range(20):
            new_guest(application)

        def ids(number: int) -> list[str]:
            query: Any = {"desc": "true"} if number % 2 else {}
            return sorted(one["_id"] for one in list_users(project, read_query(query)))

        realm_app_of(project)
        found = at_once(6, ids)
        assert found == [found[0]] * 6
        assert RealmIdentity.objects.count() == RealmUser.objects.count() == AnonymousIdentity.objects.count() == 20
        EndUser.objects.all().delete()


# --- other lists ----------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["administrator", "owner"])
def test_the_apps_of_a_group_take_three_statements_and_two_more_where_ids_are_made(
    operator: Any, project: Project, role: str
) -> None:
    user = operator if role == "administrator" else member(project, role)
    tool, group = tool_of(user), realm_app_of(project).group_id
    for number in (2, 18):
        for turn in range(number):
            slug = f"app-{number}-{turn}"
            made = make_project(slug, f"{slug}.example.com", realm_app_id=f"{slug}-abcde")
            if role != "administrator":
                made.memberships.create(user=user, role="viewer")
            if turn % 2:
                RealmApp.objects.create(project=made, group_id=group)
        for path, more in ((f"/groups/{group}/apps", 1), ("/auth/profile", 0)):
            RealmApp.objects.exclude(group_id=group).delete()
            for ids in (2, 0):
                assert spent(lambda path=path: tool.send("GET", path))[1] == OPERATOR + 1 + more + ids, path
    assert len(tool.ask("GET", f"/groups/{group}/apps")) == 1 + (2 + 18) // 2


def _register(project: Project, application: Application, number: int) -> None:
    for turn in range(number):
        key = f"{number}-{turn}"
        EmailRegistration.objects.create(project=project, email=f"{key}@example.com", key=key, password="!")


def _deploy(project: Project, application: Application, number: int) -> None:
    for turn in range(number):
        Deployment.objects.create(project=project, number=100 * number + turn, before="", after="")


def _draft(project: Project, application: Application, number: int) -> None:
    draft, _ = Draft.objects.get_or_create(project=project)
    for turn in range(number):
        one = make_other_application(project, f"client-{number}-{turn}")
        draft.changes[f"application:{one.client_id}"] = {"name": {"old": one.name, "new": "Another name"}}
    draft.save()


def _open_sessions(project: Project, application: Application, number: int) -> None:
    person = EndUser.objects.first() or new_guest(application)
    realm_user_of(person)
    for _ in range(number):
        open_session(end_user=person, project=project, application=application, kind="token")


LISTS: list[tuple[str, Callable[[Project, Application, int], None], int]] = [
    ("/user_registrations/pending_users", _register, 1),
    ("/deployments", _deploy, 1),
    ("/drafts", _draft, 1),
    ("/drafts/{draft}/diff", _draft, 2),
    ("/auth_providers", _draft, 1),
    ("/users/{user}/devices", _open_sessions, 2),
]


@pytest.mark.parametrize(("path", "grow", "budget"), LISTS, ids=[path for path, _grow, _budget in LISTS])
def test_every_other_list_takes_the_same_statements_for_two_rows_and_for_twenty(
    admin: Tool, app: str, project: Project, application: Application, path: str, grow: Any, budget: int
) -> None:
    for number in (2, 18):
        grow(project, application, number)
        names = {
            "draft": Draft.objects.values_list("object_id", flat=True).first(),
            "user": RealmUser.objects.values_list("object_id", flat=True).first(),
        }
        assert (
            spent(lambda names=names: admin.send("GET", f"{app}{path.format(**names)}"))[1] == OPERATOR + APP + budget
        )


@pytest.mark.parametrize(("name", "budget"), [("portal:realm", 10), ("portal:api-keys", 4)])
def test_pages_of_the_portal_take_the_same_statements_for_two_rows_and_for_twenty(
    portal: Client, operator: Any, project: Project, name: str, budget: int
) -> None:
    url = reverse(name, args=[project.slug] if name == "portal:realm" else [])
    portal.get(url)  # the operator's session notes which project they have come to
    for number in (2, 18):
        for turn in range(number):
            slug = f"app-{number}-{turn}"
            create_key(user=operator, name=slug)
            make_other_application(project, slug)
            make_application(make_project(slug, f"{slug}.example.com", realm_app_id=f"{slug}-abcde"), actor=None)
        assert spent(lambda: portal.get(url))[1] == budget
