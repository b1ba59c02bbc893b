"""Projects as a whole: made, led to by hosts, deleted."""

import uuid
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management import call_command

from anonusers import projects
from anonusers.errors import CleanupRefused
from anonusers.models import (
    ActiveDay,
    AnonymousIdentity,
    Application,
    AuditEvent,
    DailyCount,
    EndUser,
    Project,
    ProjectDomain,
    Session,
    SigningKey,
)
from anonusers.projects import Contents, Remains, close_project, contents_of, create_project, remove_closed, set_domains
from example.models import Comment
from tests.conftest import make_application, make_project, row_counts, state_of
from tests.people import new_guest, regular_user

pytestmark = pytest.mark.django_db


def user_model() -> Any:
    return get_user_model()


# --- making ---------------------------------------------------------------------------------------


def test_a_new_project_has_keys_and_hosts_and_no_guests() -> None:
    actor = user_model().objects.create_user("olga")
    project = create_project(slug="shop", name="Shop", domains=["shop.example.com", "*"], actor=actor)
    project.refresh_from_db()
    assert (project.slug, project.name, project.anonymous_users_enabled) == ("shop", "Shop", False)
    assert sorted(project.domains.values_list("domain", flat=True)) == ["*", "shop.example.com"]
    assert sorted(project.signing_keys.values_list("algorithm", flat=True)) == sorted(SigningKey.Algorithm.values)
    event = AuditEvent.objects.get()
    assert (event.type, event.project, event.actor_name, event.changes) == (
        "project.created",
        project,
        "olga",
        {"name": "Shop", "domains": ["*", "shop.example.com"]},
    )


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"slug": "guestbook"}, "slug"),
        ({"slug": "no spaces"}, "slug"),
        ({"slug": ""}, "slug"),
        ({"name": ""}, "name"),
        ({"name": "n" * 101}, "name"),
        ({"domains": ["localhost"]}, "domains"),
    ],
)
def test_a_project_that_cannot_be_leaves_nothing(wrong: dict[str, Any], field: str, project: Project) -> None:
    before = row_counts()
    with pytest.raises(ValidationError) as refused:
        create_project(**({"slug": "shop", "name": "Shop", "domains": ["shop.example.com"]} | wrong))
    assert field in refused.value.message_dict
    assert row_counts() == before


def test_hosts_are_replaced_and_those_of_another_project_refused(project: Project) -> None:
    other = make_project("shop", "shop.example.com")
    set_domains(project, ["a.example.com", "localhost"])
    kept = ProjectDomain.objects.get(domain="localhost").pk
    with pytest.raises(ValidationError) as refused:
        set_domains(project, ["b.example.com", "shop.example.com"])
    assert refused.value.message_dict == {
        "domains": ["shop.example.com: this host leads to another project. It has to be taken away there first."]
    }
    assert "Shop" not in str(refused.value)
    assert sorted(project.domains.values_list("domain", flat=True)) == ["a.example.com", "localhost"]
    assert ProjectDomain.objects.get(domain="localhost").pk == kept
    assert list(other.domains.values_list("domain", flat=True)) == ["shop.example.com"]
    set_domains(project, [])
    assert not project.domains.exists()


# --- what there is --------------------------------------------------------------------------------


def test_contents_are_counted_up_to_a_bound(
    application: Application, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_application(make_project("shop", "shop.example.com"))
    for _number in range(3):
        new_guest(application)
    assert contents_of(project) == Contents(people=3, applications=1, domains=1, events=0)
    monkeypatch.setattr(projects, "COUNTED", 1)
    assert contents_of(project).people == 2


# --- deleting -------------------------------------------------------------------------------------


@pytest.fixture
def other() -> Project:
    """A project that must not notice anything."""
    shop = make_project("shop", "shop.example.com")
    new_guest(make_application(shop, "till"))
    return shop


def fill(project: Project, application: Application) -> list[EndUser]:
    """A guest, a regular user, and rows of every large table."""
    guest, regular = new_guest(application), regular_user(application)
    ActiveDay.objects.create(project=project, day="2026-11-01", end_user_id=guest.pk, was_guest=True)
    DailyCount.objects.create(project=project, day="2026-11-01", name="created", application=application, count=1)
    AuditEvent.objects.create(project=project, category="users", type="user.created", created_at="2026-11-01T00:00Z")
    return [guest, regular]


def test_a_closed_project_lets_nobody_in_and_frees_its_id(
    project: Project, application: Application, other: Project
) -> None:
    new_guest(application)
    actor = user_model().objects.create_user("olga")
    before = row_counts()
    assert close_project(project=project, actor=actor) is True
    project.refresh_from_db()
    assert project.deleted_at is not None
    assert project.slug.startswith("deleted-")
    assert not project.anonymous_users_enabled
    assert not project.domains.exists()
    assert not Project.objects.at_host("localhost").exists()
    event = AuditEvent.objects.get()
    assert (event.project, event.type, event.target, event.actor_name, event.changes) == (
        None,
        "project.deleted",
        "guestbook",
        "olga",
        {"name": "Guestbook", "domains": ["localhost"]},
    )
    after = row_counts()
    changed = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert changed == {"anonusers.ProjectDomain": -1, "anonusers.AuditEvent": 1}
    make_project("guestbook", "localhost")


def test_closing_twice_is_once(project: Project) -> None:
    close_project(project=project)
    before = state_of(project)
    assert close_project(project=project) is False
    assert state_of(project) == before
    assert AuditEvent.objects.count() == 1


def closed(project: Project) -> Project:
    close_project(project=project)
    project.refresh_from_db()
    return project


def test_everything_of_a_closed_project_goes_and_nothing_else(other: Project) -> None:
    before = row_counts()
    project = make_project()
    application = make_application(project)
    fill(project, application)
    assert remove_closed(project=closed(project)) == Remains(is_gone=True, removed=2, held=0)
    after = row_counts()
    assert after == before | {"anonusers.AuditEvent": before["anonusers.AuditEvent"] + 1}
    assert other.end_users.count() == 1


def test_an_open_project_is_never_removed(project: Project, application: Application) -> None:
    new_guest(application)
    before = row_counts()
    with pytest.raises(AssertionError, match="close it first"):
        remove_closed(project=project)
    assert row_counts() == before


def test_a_removal_goes_on_where_it_was_left_off(
    project: Project, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projects, "BATCH", 2)
    monkeypatch.setattr(projects, "ROWS", 2)
    for _number in range(5):
        new_guest(application)
    for number in range(5):
        AuditEvent.objects.create(
            project=project, category="users", type="x", created_at=f"2026-11-0{number + 1}T00:00Z"
        )
    closed(project)
    assert remove_closed(project=project, seconds=0) == Remains(is_gone=False, removed=0, held=0)
    ticks = iter([0.0, 0.5, 2.0])
    with monkeypatch.context() as patch:
        patch.setattr(projects.time, "monotonic", lambda: next(ticks))
        assert remove_closed(project=project, seconds=1) == Remains(is_gone=False, removed=2, held=0)
    assert EndUser.objects.count() == 3
    assert remove_closed(project=project) == Remains(is_gone=True, removed=3, held=0)
    assert not Project.objects.exists()
    assert not EndUser.objects.exists()
    assert not user_model().objects.exists()


def test_whom_the_host_keeps_loses_the_name_and_nothing_of_the_host(project: Project, application: Application) -> None:
    person = regular_user(application)
    user = person.user
    user.email = "anna@example.com"
    user.save()
    comment = Comment.objects.create(author=user, text="Hello")
    assert remove_closed(project=closed(project)).is_gone
    comment.refresh_from_db()
    assert comment.author_id == user.pk
    user.refresh_from_db()
    assert (user.email, user.is_active, user.has_usable_password()) == ("", False, False)
    assert user.username.startswith("erased-")
    assert not EndUser.objects.exists()


def test_undeclared_data_of_the_host_stops_it_before_anything_is_done(
    project: Project, application: Application, settings: Any
) -> None:
    new_guest(application)
    settings.ANONUSERS_GUEST_DATA = {}
    before = row_counts(), state_of(project)
    with pytest.raises(CleanupRefused, match=r"example\.Comment\.author leads to a user"):
        close_project(project=project)
    assert (row_counts(), state_of(project)) == before


def refuse(keys: list[Any]) -> list[Any]:
    """A host that lets nobody go."""
    return keys


def test_whom_the_host_does_not_let_go_stays_until_it_does(
    project: Project, application: Application, settings: Any
) -> None:
    person = new_guest(application)
    settings.ANONUSERS_GUEST_DATA = {"example.Comment.author": f"{__name__}.refuse"}
    assert remove_closed(project=closed(project)) == Remains(is_gone=False, removed=0, held=1)
    assert state_of(person)
    assert AnonymousIdentity.objects.filter(pk=person.pk).exists()
    assert Session.objects.filter(end_user=person).exists()
    settings.ANONUSERS_GUEST_DATA = {"example.Comment.author": "keep"}
    assert remove_closed(project=project) == Remains(is_gone=True, removed=1, held=0)


def test_the_clean_up_command_goes_on_with_what_is_closed(
    project: Project, application: Application, other: Project, capsys: Any
) -> None:
    new_guest(application)
    closed(project)
    call_command("anonusers_cleanup", "--dry-run")
    call_command("anonusers_cleanup", "--project", "shop")
    assert Project.objects.filter(pk=project.pk).exists()
    call_command("anonusers_cleanup")
    assert list(Project.objects.all()) == [other]
    assert "deleted-" not in capsys.readouterr().out


def test_the_clean_up_command_says_when_a_project_cannot_go(
    project: Project, application: Application, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    new_guest(application)
    settings.ANONUSERS_GUEST_DATA = {"example.Comment.author": f"{__name__}.refuse"}
    closed(project)
    with pytest.raises(SystemExit):
        call_command("anonusers_cleanup")
    assert "cannot be removed: 1 people are held by the host's data" in caplog.text


def test_an_id_of_any_kind_is_free_again_after_deletion() -> None:
    for _round in range(2):
        project = make_project("again", f"{uuid.uuid4().hex}.example.com")
        assert remove_closed(project=closed(project)).is_gone
