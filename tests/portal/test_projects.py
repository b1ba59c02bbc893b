"""Projects: make one, its settings, delete it."""

import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client

from anonusers.models import AuditEvent, EndUser, Project, ProjectDomain, SigningKey
from portal.access import RESERVED_SLUGS
from portal.models import Membership
from portal.urls import urlpatterns
from portal.views import projects as view
from tests.anonusers.test_projects import refuse
from tests.conftest import HOST, make_application, row_counts, state_of
from tests.people import new_guest
from tests.portal.conftest import bare_project, save, version_in

pytestmark = [pytest.mark.django_db, pytest.mark.database]
NEW = "/portal/new/"
SETTINGS = "/portal/guestbook/settings/"
DELETE = "/portal/guestbook/delete/"


@pytest.fixture
def project(db: None) -> Project:
    return bare_project(anonymous_users_enabled=True)


def text_of(response: Any) -> str:
    return str(response.content.decode())


def member(project: Project, role: str, name: str = "") -> Client:
    user = get_user_model().objects.create_user(name or role, is_staff=True)
    Membership.objects.create(project=project, user=user, role=role)
    client = Client(HTTP_HOST=HOST)
    client.force_login(user)
    return client


def domains_of(project: Project) -> list[str]:
    return sorted(project.domains.values_list("domain", flat=True))


# --- new ------------------------------------------------------------------------------------------


def test_an_administrator_makes_a_project_and_owns_it(portal: Client, operator: Any) -> None:
    assert "Make the project" in text_of(portal.get(NEW))
    hosts = "Shop.Example.com.\n\n  till.example.com  \n*"
    response = portal.post(NEW, {"name": "The Shop", "slug": "shop", "domains": hosts})
    assert response["Location"] == "/portal/shop/overview/"
    project = Project.objects.get()
    assert (project.slug, project.name, project.anonymous_users_enabled) == ("shop", "The Shop", False)
    assert domains_of(project) == ["*", "shop.example.com", "till.example.com"]
    assert project.signing_keys.count() == len(SigningKey.Algorithm)
    assert list(Membership.objects.values_list("project", "user", "role")) == [(project.pk, operator.pk, "owner")]
    assert list(AuditEvent.objects.values_list("type", "actor_name")) == [("project.created", "olga")]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"name": ""}, "Enter a name."),
        ({"name": "n" * 101}, "at most 100 characters"),
        ({"slug": ""}, "Enter an ID, such as my-shop."),
        ({"slug": "my shop"}, "Use letters, digits, hyphens and underscores only."),
        ({"slug": "a.b"}, "Use letters, digits, hyphens and underscores only."),
        ({"slug": "s" * 51}, "at most 50 characters"),
        ({"slug": "guestbook"}, "Another project has this ID. Choose another one."),
        ({"slug": "Guestbook"}, "Another project has this ID. Choose another one."),
        *(({"slug": word}, "The portal uses this word itself.") for word in sorted(RESERVED_SLUGS)),
        ({"slug": "NEW"}, "The portal uses this word itself."),
        ({"domains": "localhost"}, "localhost: this host leads to another project."),
        ({"domains": "https://shop.example.com"}, "Use a host name in lower case without port, or *."),
        ({"domains": "shop.example.com:8000"}, "Use a host name in lower case without port, or *."),
        ({"domains": "a.example.com\nA.example.com"}, "a.example.com is there twice."),
        ({"domains": "\n".join(f"h{n}.example.com" for n in range(101))}, "Enter at most 100 hosts."),
    ],
)
def test_entries_that_are_not_good_make_no_project(
    entries: dict[str, str], words: str, portal: Client, project: Project
) -> None:
    good = {"name": "The Shop", "slug": "shop", "domains": "shop.example.com"}
    before = row_counts(), Membership.objects.count()
    response = portal.post(NEW, good | entries)
    assert response.status_code == 400
    assert words in text_of(response)
    assert text_of(response).count("Another project has this ID") <= 1
    assert (row_counts(), Membership.objects.count()) == before
    for name in good.keys() - entries.keys():
        assert good[name] in text_of(response)


def test_every_first_word_of_the_portal_is_reserved() -> None:
    first = {str(route.pattern).split("/")[0] for route in urlpatterns} - {"", "<slug:project_slug>"}
    assert first == RESERVED_SLUGS


@pytest.mark.parametrize("role", ["viewer", "editor", "owner"])
def test_only_administrators_make_projects(role: str, project: Project) -> None:
    client = member(project, role)
    before = row_counts()
    for response in (client.get(NEW), client.post(NEW, {"name": "Shop", "slug": "shop"})):
        assert response.status_code == 403
        assert "Only administrators make projects" in text_of(response)
    assert row_counts() == before
    assert NEW not in text_of(client.get(SETTINGS))


# --- settings -------------------------------------------------------------------------------------


def test_an_owner_renames_the_project_and_moves_it(project: Project) -> None:
    owner = member(project, "owner")
    response = save(
        owner, SETTINGS, name="The Book", domains="b.example.com\nlocalhost", allowed_origins="https://app.example.com"
    )
    assert response["Location"] == SETTINGS
    project.refresh_from_db()
    assert (project.name, project.slug, project.allowed_origins) == (
        "The Book",
        "guestbook",
        ["https://app.example.com"],
    )
    assert domains_of(project) == ["b.example.com", "localhost"]
    event = AuditEvent.objects.get()
    assert (event.type, event.target, event.actor_name) == ("project.changed", "project", "owner")
    assert event.changes == {
        "name": ["Guestbook", "The Book"],
        "allowed_origins": [[], ["https://app.example.com"]],
        "domains": [["localhost"], ["b.example.com", "localhost"]],
    }


def test_saving_what_is_stored_writes_no_event(portal: Client, project: Project) -> None:
    assert save(portal, SETTINGS).status_code == 302
    assert not AuditEvent.objects.exists()
    assert domains_of(project) == ["localhost"]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"name": ""}, "Enter a name."),
        ({"domains": "shop.example.com\nlocalhost"}, "shop.example.com: this host leads to another project."),
        ({"domains": "not a host"}, "Use a host name in lower case without port, or *."),
        ({"domains": f"{'a' * 63}.{'b' * 250}.com"}, "Use a host name in lower case without port, or *."),
        ({"allowed_origins": "https://app.example.com/path"}, "Use an origin such as https://app.example.com"),
        ({"allowed_origins": "*"}, "Use an origin such as https://app.example.com"),
    ],
)
def test_settings_that_are_not_good_change_nothing(
    entries: dict[str, str], words: str, portal: Client, project: Project
) -> None:
    bare_project("shop", "shop.example.com")
    before = state_of(project), domains_of(project), row_counts()
    response = save(portal, SETTINGS, **({"name": "Other"} | entries))
    assert response.status_code == 400
    page = text_of(response)
    assert words in page
    assert not re.search(r"\bShop\b", page.split("<main")[1])  # within a form's token these letters come by chance
    assert (state_of(project), domains_of(project), row_counts()) == before
    for value in entries.values():
        assert value in page


def test_an_overtaken_form_saves_nothing(portal: Client, project: Project) -> None:
    stale = version_in(portal.get(SETTINGS))
    save(portal, SETTINGS, name="First")
    before = state_of(project), domains_of(project)
    response = save(portal, SETTINGS, name="Second", domains="b.example.com", version=stale)
    assert response.status_code == 409
    assert (state_of(project), domains_of(project)) == before


def test_a_project_without_a_host_says_so(portal: Client, project: Project) -> None:
    assert "No host leads to this project" not in text_of(portal.get(SETTINGS))
    save(portal, SETTINGS, domains="")
    assert domains_of(project) == []
    assert "No host leads to this project" in text_of(portal.get(SETTINGS))


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_who_is_no_owner_sees_the_settings_and_changes_nothing(role: str, project: Project) -> None:
    client = member(project, role)
    page = text_of(client.get(SETTINGS))
    assert "localhost" in page
    assert DELETE not in page
    before = state_of(project), domains_of(project), row_counts()
    version = project.updated_at.isoformat()
    assert client.post(SETTINGS, {"version": version, "name": "Mine", "domains": ""}).status_code == 403
    assert (state_of(project), domains_of(project), row_counts()) == before


# --- delete ---------------------------------------------------------------------------------------


def test_the_confirmation_says_how_many_of_what_goes(
    portal: Client, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    application = make_application(project)
    for _number in range(3):
        new_guest(application)
    member(project, "owner")
    before = row_counts()
    page = " ".join(text_of(portal.get(DELETE)).split())
    for number in (3, 1, 1, 0, 1):
        assert f"<dd>{number} </dd>" in page or f"<dd>{number}</dd>" in page
    monkeypatch.setattr(view, "COUNTED", 2)
    monkeypatch.setattr("anonusers.projects.COUNTED", 2)
    assert "more than 2" in text_of(portal.get(DELETE))
    assert row_counts() == before


def test_the_typed_id_deletes_the_project_with_its_people(project: Project, operator: Any) -> None:
    owner = member(project, "owner")
    new_guest(make_application(project))
    shop = bare_project("shop", "shop.example.com", anonymous_users_enabled=True)
    new_guest(make_application(shop))
    response = owner.post(DELETE, {"slug": "guestbook"})
    assert response["Location"] == "/portal/"
    assert "Guestbook is deleted, with everything in it." in text_of(owner.get("/portal/"))
    assert list(Project.objects.all()) == [shop]
    assert EndUser.objects.count() == 1
    assert set(get_user_model().objects.filter(end_user=None).values_list("username", flat=True)) == {"owner", "olga"}
    assert not Membership.objects.exists()
    assert list(ProjectDomain.objects.values_list("domain", flat=True)) == ["shop.example.com"]
    event = AuditEvent.objects.get(project=None)
    assert (event.type, event.target, event.actor_name) == ("project.deleted", "guestbook", "owner")


@pytest.mark.parametrize("typed", ["", "Guestbook", "guestbook2", "shop", "yes"])
def test_a_wrong_id_deletes_nothing(typed: str, portal: Client, project: Project) -> None:
    before = row_counts(), state_of(project)
    response = portal.post(DELETE, {"slug": typed})
    assert response.status_code == 400
    words = "This is not the project&#x27;s ID. Nothing was deleted." if typed else "Type the project&#x27;s ID"
    assert words in text_of(response)
    assert (row_counts(), state_of(project)) == before


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_who_is_no_owner_deletes_nothing(role: str, project: Project) -> None:
    client = member(project, role)
    before = row_counts(), state_of(project)
    for response in (client.get(DELETE), client.post(DELETE, {"slug": "guestbook"})):
        assert response.status_code == 403
    assert (row_counts(), state_of(project)) == before


def test_a_large_project_is_closed_at_once_and_found_nowhere(
    portal: Client, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "PATIENCE", 0)
    new_guest(make_application(project))
    page = text_of(portal.post(DELETE, {"slug": "guestbook"}, follow=True))
    assert "Guestbook is closed: nobody gets in any more. The next clean-up removes what is left in it." in page
    left = Project.objects.get()
    assert left.deleted_at is not None
    assert "No projects yet" in page
    for slug in ("guestbook", left.slug):
        assert portal.get(f"/portal/{slug}/settings/").status_code == 404
    assert portal.post(NEW, {"name": "Again", "slug": "guestbook", "domains": "localhost"}).status_code == 302


def test_undeclared_data_of_the_host_keeps_the_project(portal: Client, project: Project, settings: Any) -> None:
    settings.ANONUSERS_GUEST_DATA = {}
    before = row_counts(), state_of(project), domains_of(project)
    response = portal.post(DELETE, {"slug": "guestbook"})
    assert response.status_code == 409
    assert "example.Comment.author leads to a user" in text_of(response)
    assert (row_counts(), state_of(project), domains_of(project)) == before


def test_people_whom_the_host_holds_do_not_keep_the_project_open(
    portal: Client, project: Project, settings: Any
) -> None:
    settings.ANONUSERS_GUEST_DATA = {"example.Comment.author": f"{refuse.__module__}.refuse"}
    new_guest(make_application(project))
    assert "Guestbook is closed" in text_of(portal.post(DELETE, {"slug": "guestbook"}, follow=True))
    assert EndUser.objects.count() == 1


# --- the operators of before ----------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_who_had_every_project_keeps_them_all() -> None:
    """Migration portal/0002: before there were teams, every active operator could do everything everywhere."""
    executor = MigrationExecutor(connection)
    newest = executor.loader.graph.leaf_nodes()
    before = [("portal", "0001_initial") if app == "portal" else (app, name) for app, name in newest]
    try:
        executor.migrate(before)
        apps = executor.loader.project_state(before).apps
        projects, users = apps.get_model("anonusers", "Project"), apps.get_model("auth", "User")
        for slug in ("guestbook", "shop"):
            projects.objects.create(slug=slug, name=slug)
        staff = {"is_staff": True, "is_active": True}
        names = {"olga": staff, "otto": staff, "root": staff | {"is_superuser": True}, "plain": {}}
        names |= {"gone": {"is_staff": True, "is_active": False}, "both": staff}
        rows = {name: users.objects.create(username=name, **flags) for name, flags in names.items()}
        apps.get_model("anonusers", "EndUser").objects.create(project=projects.objects.first(), user=rows["both"])
        executor = MigrationExecutor(connection)
        executor.migrate(newest)
        members = Membership.objects.values_list("project__slug", "user__username", "role")
        assert sorted(members) == [
            ("guestbook", "olga", "owner"),
            ("guestbook", "otto", "owner"),
            ("shop", "olga", "owner"),
            ("shop", "otto", "owner"),
        ]
        MigrationExecutor(connection).migrate(before)  # and back, and once more
        MigrationExecutor(connection).migrate(newest)
        assert Membership.objects.count() == 4
    finally:
        MigrationExecutor(connection).migrate(newest)
