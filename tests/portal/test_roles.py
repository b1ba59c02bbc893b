"""Roles hold on every URL: a viewer writes nothing, an editor nothing that is the owners'."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from portal.models import Membership
from tests.portal.routes import OWNERS, POSTS, READ_ONLY, ROUTES, World, browser_of, everything, make_world, new_member

pytestmark = pytest.mark.django_db
SENT = [(name, number) for name in sorted(POSTS) for number in range(len(POSTS[name]))]


@pytest.fixture
def world(db: None) -> World:
    return make_world()


def test_every_route_of_a_project_is_known_here() -> None:
    assert set(ROUTES) == set(POSTS) | READ_ONLY
    assert not set(POSTS) & READ_ONLY
    assert set(POSTS) >= OWNERS


def test_a_viewer_opens_every_page_that_is_not_for_writing_only(world: World) -> None:
    viewer = new_member(world.project, "viewer")
    found = {name: viewer.get(world.url(name)).status_code for name in ROUTES}
    for_writers = {"application-new", "application-delete", "project-delete", "user-new"}
    expected = {name: 403 if name in for_writers else 200 for name in ROUTES}
    assert found == expected | {"project": 302, "users-bulk": 302}


@pytest.mark.parametrize(("name", "number"), SENT)
def test_what_is_sent_changes_something_for_an_administrator(
    name: str, number: int, world: World, portal: Client
) -> None:
    """Else the refusals below would prove nothing."""
    entries = POSTS[name][number](world, portal)
    before = everything()
    response = portal.post(world.url(name), entries)
    assert response.status_code in (200, 201, 302), response.content.decode()[:3000]
    assert everything() != before


@pytest.mark.parametrize("role", ["viewer", "editor", None])
def test_nobody_writes_above_their_role(role: str | None, world: World, portal: Client) -> None:
    """Viewers nothing, editors nothing of the owners', and who left the team finds no project."""
    client = new_member(world.project, role or "owner")
    if role is None:
        Membership.objects.filter(user__username="owner").delete()
    names = sorted(OWNERS) if role == "editor" else ROUTES
    for name in names:
        for send in POSTS.get(name, [lambda world, admin: {}]):
            entries = send(world, portal)
            before = everything()
            response = client.post(world.url(name), entries)
            assert response.status_code == (403 if role else 404), name
            assert everything() == before, name


@pytest.mark.parametrize("name", sorted(set(POSTS) - OWNERS))
def test_an_editor_does_what_editors_do(name: str, world: World, portal: Client) -> None:
    editor = new_member(world.project, "editor")
    entries = POSTS[name][0](world, portal)
    before = everything()
    response = editor.post(world.url(name), entries)
    assert response.status_code in (200, 201, 302)
    assert everything() != before


def test_nobody_raises_their_own_role(world: World) -> None:
    for role in ("viewer", "editor"):
        client = new_member(world.project, role)
        own = Membership.objects.get(user__username=role)
        before = everything()
        for entries in (
            {"action": "role", "member": own.pk, "role": "owner"},
            {"action": "add", "who": role, "role": "owner"},
        ):
            assert client.post(world.url("team"), entries).status_code == 403
        assert everything() == before


def test_a_role_is_asked_for_at_every_request(world: World) -> None:
    owner = new_member(world.project, "owner")
    url = world.url("team")
    entries = {"action": "role", "member": world.member.pk, "role": "editor"}
    Membership.objects.filter(user__username="owner").update(role="viewer")
    assert owner.post(url, entries).status_code == 403
    get_user_model().objects.filter(username="owner").update(is_staff=False)
    assert owner.post(url, entries).status_code == 403
    get_user_model().objects.filter(username="owner").update(is_active=False)
    assert owner.post(url, entries).status_code == 302
    world.member.refresh_from_db()
    assert world.member.role == "viewer"


def test_a_role_that_nobody_knows_may_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from portal.views import pages

    client = new_member(world.project, "owner")
    monkeypatch.setattr(pages, "role_in", lambda user, project: None)
    before = everything()
    assert client.post(world.url("team"), {"action": "add", "who": "x@example.com", "role": "owner"}).status_code == 403
    assert everything() == before


def test_staff_without_a_team_see_no_project_and_whom_to_ask(world: World) -> None:
    user: Any = get_user_model().objects.create_user("plain", is_staff=True)
    client = browser_of(user)
    response = client.get("/portal/")
    page = response.content.decode()
    assert response.status_code == 200
    assert "You are in no project's team" in page
    assert "Ask an owner of the project to add <strong>plain</strong> on the page Team" in page
    assert world.project.name not in page
    assert "anonusers_config" not in page
    assert "/portal/new/" not in page
