"""Every route of an app, by role, by app, and with bodies that mean nothing."""

from typing import Any

import pytest

from anonusers.models import Project
from portal.models import Membership
from portal.realm_admin.urls import in_app
from tests.portal.conftest import bare_project
from tests.portal.realm_admin.routes import ROUTES, App, Route, make_app
from tests.portal.realm_admin.tools import Tool, app_path, member, read, refused, tool_of
from tests.portal.routes import everything

pytestmark = pytest.mark.django_db
RANK = ["viewer", "editor", "owner"]
each_route = pytest.mark.parametrize("route", ROUTES, ids=[f"{one.method} {one.path}" for one in ROUTES])


@pytest.fixture
def project(db: None) -> Project:
    return _project("guestbook", "localhost")


@pytest.fixture
def other(db: None) -> Project:
    return _project("secretshop", "secret.example.com")


def _project(slug: str, domain: str) -> Project:
    fields = {"realm_app_id": f"{slug}-abcde", "anonymous_users_enabled": True, "login_ids": ["email"]}
    return bare_project(slug, domain, **fields)


@pytest.fixture
def app(project: Project) -> App:
    return make_app(project)


def state() -> dict[str, Any]:
    """All that an Admin API request may change, but for the tokens and keys that the tools are given."""
    rows = everything()
    return {name: found for name, found in rows.items() if name not in ("portal.OperatorToken", "portal.OperatorKey")}


def test_every_route_is_walked_here() -> None:
    walked = {one.path.partition("?")[0].removeprefix("/") for one in ROUTES}
    walked = {one.replace("{userpass}", "{anon}") for one in walked}
    names = {"user_id": "user", "draft_id": "draft", "deployment_id": "deployment", "provider_id": "anon"}
    patterns = {str(pattern.pattern) for pattern in in_app}
    for argument, name in names.items():
        patterns = {one.replace(f"<str:{argument}>", f"{{{name}}}") for one in patterns}
    patterns = {one.replace("<str:email>", "{email}") for one in patterns}
    assert patterns | {""} == walked


@each_route
@pytest.mark.parametrize("role", RANK)
def test_each_role_does_what_it_may_and_nothing_else(role: str, route: Route, app: App) -> None:
    if route.before:
        route.before(app)
    tool = tool_of(member(app.project, role))
    path, before = route.of(app), state()
    response = tool.send(route.method, path, route.body)
    if RANK.index(role) < RANK.index(route.role):
        refused(response, 403, "Forbidden")
        assert state() == before
    else:
        assert response.status_code == route.status, response.content
        read(response)
        assert (state() != before) is route.changes


@each_route
def test_strangers_find_nothing(route: Route, app: App, other: Project) -> None:
    """Operators of another project, and those of none."""
    for user in (member(other, "owner"), member(app.project, "owner", "gone")):
        Membership.objects.filter(user__username="gone").delete()
        tool, before = tool_of(user), state()
        refused(tool.send(route.method, route.of(app), route.body), 404, "AppNotFound")
        assert state() == before


@each_route
def test_without_a_token_nothing_happens(route: Route, app: App) -> None:
    before = state()
    refused(Tool().send(route.method, route.of(app), route.body), 401, "MissingAuthReq")
    refused(Tool().send(route.method, route.of(app), route.body, token="a.b.c"), 401, "InvalidSession")
    assert state() == before


@pytest.mark.parametrize(
    "route", [one for one in ROUTES if "{" in one.path], ids=lambda one: f"{one.method} {one.path}"
)
def test_ids_of_another_app_are_as_those_that_do_not_exist(
    route: Route, app: App, other: Project, operator: Any
) -> None:
    """Also for who may enter both."""
    theirs = make_app(other).names
    if route.before:
        route.before(app)
    nobody = dict.fromkeys(theirs, "f" * 24) | {"email": "nobody@example.com"}
    names = theirs | {"email": "nobody@example.com"}  # an address may be registered in both
    tool, before = tool_of(operator), state()
    answers = [tool.send(route.method, route.of(app, one), route.body) for one in (names, nobody)]
    assert [one.status_code for one in answers] == [404, 404]
    assert answers[0].content == answers[1].content
    assert state() == before


def test_the_group_in_the_path_must_be_the_apps(app: App, other: Project, operator: Any) -> None:
    tool = tool_of(operator)
    group, theirs = app.path.split("/")[2], app_path(other).split("/")
    refused(tool.send("GET", f"/groups/{group}/apps/{theirs[4]}"), 404, "AppNotFound")
    refused(tool.send("GET", f"/groups/{'f' * 24}/apps"), 404, "GroupNotFound")
    refused(tool.send("GET", "/groups/%00/apps/%00"), 404, "AppNotFound")


def test_a_project_without_an_app_id_is_no_app(operator: Any) -> None:
    plain = bare_project()
    refused(tool_of(operator).send("GET", app_path(plain)), 404, "AppNotFound")


NONSENSE: list[Any] = [b"{", b"[1]", b'"x"', b"1", b'{"a": "\\u0000"}', b"[" * 200_000, b"\xff\xfe", {"x": 1}]
TAKES_A_BODY = [one for one in ROUTES if one.body is not None]


@pytest.mark.parametrize("body", NONSENSE, ids=range(len(NONSENSE)))
@pytest.mark.parametrize("route", TAKES_A_BODY, ids=[f"{one.method} {one.path}" for one in TAKES_A_BODY])
def test_bodies_that_mean_nothing_change_nothing(route: Route, body: Any, app: App, operator: Any) -> None:
    if body == {"x": 1} and route.path.startswith(("/import", "/push", "/custom_user_data", "/deploy/config")):
        return  # keys that nobody knows are kept there, or passed over
    tool, before = tool_of(operator), state()
    response = tool.send(route.method, route.of(app), body)
    assert response.status_code in (400, 401), response.content
    read(response)
    assert state() == before


def test_every_method_that_a_route_does_not_speak_is_refused_in_json(app: App, operator: Any) -> None:
    tool, before = tool_of(operator), state()
    spoken: dict[str, set[str]] = {}
    for route in ROUTES:
        path = route.path.partition("?")[0].replace("{userpass}", "{anon}")
        spoken.setdefault(path, set()).add(route.method)
    for path, methods in spoken.items():
        for method in {"POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - methods:
            refused(tool.send(method, app.path + path.format(**app.names)), 405, "BadRequest")
    assert state() == before
