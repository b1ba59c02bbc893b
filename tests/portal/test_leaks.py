"""Nothing of a project is seen or changed by another project's member, by whatever URL."""

import re
import uuid
from typing import Any

import pytest
from django.test import Client

from anonusers.models import LoginID
from tests.conftest import headers_of
from tests.portal.routes import POSTS, ROUTES, World, everything, make_world, new_member

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.fixture
def other(db: None) -> World:
    """What the member must not learn anything about."""
    found = make_world("secretshop", "secret.example.com")
    LoginID.objects.create(
        project=found.project, end_user=found.person, type="email", value="anna@secret.example.com", key="anna"
    )
    return found


@pytest.fixture
def owner(world: World) -> Client:
    return new_member(world.project, "owner")


def bytes_of(response: Any, *paths: str) -> str:
    """The answer without what differs from one page to the next anyway."""
    text = re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", response.content.decode())
    for path in paths:
        text = text.replace(path, "PATH")
    headers = {name: value for name, value in headers_of(response).items() if name not in ("Content-Length", "Expires")}
    return f"{response.status_code} {headers} {text}"


@pytest.mark.parametrize("method", ["get", "post"])
def test_another_project_is_as_one_that_does_not_exist(
    method: str, world: World, other: World, owner: Client, portal: Client
) -> None:
    before = everything()
    for name in ROUTES:
        url = other.url(name)
        nowhere = url.replace("/secretshop/", "/no-project/")
        for send in POSTS.get(name, [lambda world, admin: {}]) if method == "post" else [None]:
            entries = send(other, portal) if send else {}
            answer, of_nothing = (getattr(owner, method)(path, entries) for path in (url, nowhere))
            assert answer.status_code == 404, name
            assert bytes_of(answer, url) == bytes_of(of_nothing, nowhere), name
            assert "secret" not in answer.content.decode().replace(url, "")
    assert everything() == before


MIXED = ("application", "application-delete", "quick-start", "user", "job", "deployment")


@pytest.mark.parametrize("name", MIXED)
def test_things_of_another_project_are_as_things_that_do_not_exist(
    name: str, world: World, other: World, owner: Client, portal: Client
) -> None:
    theirs = other.arguments[name]
    nothing = {key: uuid.UUID(int=1) if key == "sub" else 987_654_321 for key in theirs}
    url, nowhere = world.url(name, **theirs), world.url(name, **nothing)
    before = everything()
    requests: list[dict[str, Any]] = [{"method": "get", "data": {}}]
    requests += [{"method": "post", "data": send(other, portal)} for send in POSTS.get(name, [])]
    questions = ("disable", "delete", "end_session", "end_sessions", "remove_key")
    requests += [{"method": "get", "data": {"confirm": question, "roll_back": ""}} for question in questions]
    for request in requests:
        answer, of_nothing = (getattr(owner, request["method"])(path, request["data"]) for path in (url, nowhere))
        if request["method"] == "post" and name not in POSTS:
            assert answer.status_code == 405
            continue
        assert answer.status_code == 404, request
        assert bytes_of(answer, url) == bytes_of(of_nothing, nowhere), request
        assert "secret" not in answer.content.decode()
    assert everything() == before


def test_every_route_with_an_argument_is_mixed_here(world: World) -> None:
    assert set(world.arguments) == set(MIXED)
    for name in ROUTES:
        assert world.url(name)  # a route that needs more than is known here raises NoReverseMatch


def test_forms_take_nothing_of_another_project(world: World, other: World, owner: Client) -> None:
    """What is named inside of a form: members, people, applications, drafts, sessions, keys."""
    session = other.person.sessions.get()
    sent: list[tuple[str, dict[str, Any]]] = [
        ("team", {"action": "role", "member": other.member.pk, "role": "owner"}),
        ("team", {"action": "remove", "member": other.member.pk}),
        ("team", {"action": "link", "member": other.member.pk}),
        ("users-bulk", {"action": "disable", "sub": str(other.person.pk), "confirmed": "on", "reason": "Because"}),
        ("user-new", {"application": "not-of-this-project"}),
        ("user", {"action": "end_session", "session": str(session.pk)}),
        ("review", {"action": "discard", "target": f"application:{other.application.client_id}", "column": "name"}),
        ("retention", {"restore": str(other.person.pk)}),
        ("project-delete", {"slug": other.project.slug}),
    ]
    theirs_before = everything()
    for name, entries in sent:
        response = owner.post(world.url(name), entries)
        assert response.status_code in (302, 400, 404, 409), (name, entries)
        assert "anna@secret" not in response.content.decode()
    assert everything() == theirs_before


def test_lists_and_files_hold_the_own_project_only(world: World, other: World, owner: Client) -> None:
    words = {"q": "anna@secret.example.com", "sub": str(other.person.pk), "target": "application:web"}
    for name in ("users", "users-export", "audit", "audit-export", "applications", "deployments", "overview", "keys"):
        for query in ({}, *({key: value} for key, value in words.items())):
            response = owner.get(world.url(name), query)
            assert response.status_code == 200, name
            content = response.getvalue().decode() if response.streaming else response.content.decode()
            for part in words.values():  # what the member typed: the log says that it was asked for
                content = content.replace(part, "").replace(part.replace("@", "%40"), "")
            for secret in ("secret", str(other.person.pk), f"{other.application.pk}/quick-start"):
                assert secret not in content, (name, query)


def test_the_switcher_lists_the_own_projects_only(world: World, other: World, owner: Client, portal: Client) -> None:
    assert "secretshop" not in owner.get(world.url("team")).content.decode()
    assert "secretshop" in portal.get(world.url("team")).content.decode()
