"""Apps: listed, made, deleted; their providers and single settings."""

import re
from typing import Any

import pytest

from anonusers.models import Application, AuditEvent, Project
from anonusers.realm_users import realm_app_of
from portal.models import Draft, Membership
from portal.realm_admin.apps import SERVER_GROUP
from tests.conftest import make_application
from tests.portal.conftest import bare_project
from tests.portal.realm_admin.conftest import APP_ID
from tests.portal.realm_admin.tools import Tool, app_path, member, refused, tool_of
from tests.portal.reviewing import drafted
from tests.portal.routes import everything

pytestmark = pytest.mark.django_db
APP = {
    "_id",
    "client_app_id",
    "name",
    "domain_id",
    "group_id",
    "location",
    "deployment_model",
    "environment",
    "product",
    "last_used",
    "last_modified",
}


@pytest.fixture
def project(db: None) -> Project:
    fields = {"realm_local_userpass": True, "realm_auto_confirm": True, "login_ids": ["email"]}
    project = bare_project(anonymous_users_enabled=True, realm_app_id=APP_ID, **fields)
    make_application(project, APP_ID)
    return project


@pytest.fixture
def other(db: None) -> Project:
    return bare_project("secretshop", "secret.example.com", realm_app_id="secretshop-fghij")


# --- apps -----------------------------------------------------------------------------------------


def test_an_app_is_listed_once_whatever_products_are_asked_for(admin: Tool, project: Project, other: Project) -> None:
    ids = realm_app_of(project)
    path = f"/groups/{ids.group_id}/apps"
    [listed] = admin.ask("GET", path)
    assert set(listed) == APP
    assert (listed["_id"], listed["client_app_id"], listed["name"]) == (ids.object_id, APP_ID, "Guestbook")
    assert type(listed["last_used"]) is int
    assert admin.ask("GET", f"{path}/{ids.object_id}") == listed
    assert admin.ask("GET", f"{path}?product=standard") == [listed]
    for product in ("atlas", "data-api", "device-sync", "x"):
        assert admin.ask("GET", f"{path}?product={product}") == []


def test_apps_of_one_group_are_listed_to_whom_they_belong(project: Project, other: Project) -> None:
    group = realm_app_of(project).group_id
    theirs = realm_app_of(other)
    theirs.group_id = group
    theirs.save()
    tool = tool_of(member(project, "viewer"))
    assert [one["client_app_id"] for one in tool.ask("GET", f"/groups/{group}/apps")] == [APP_ID]
    refused(tool.send("GET", f"/groups/{group}/apps/{theirs.object_id}"), 404, "AppNotFound")
    refused(tool.send("GET", f"/groups/{SERVER_GROUP}/apps"), 404, "GroupNotFound")


def test_an_administrator_makes_an_app_while_there_is_none(admin: Tool) -> None:
    [role] = admin.ask("GET", "/auth/profile")["roles"]
    assert role == {"role_name": "GROUP_OWNER", "group_id": SERVER_GROUP}
    wanted = {"name": "My-App", "location": "IE", "deployment_model": "LOCAL", "environment": "testing"}
    made = admin.ask("POST", f"/groups/{SERVER_GROUP}/apps", wanted, status=201)
    assert re.fullmatch(r"my-app-[a-z]{5}", made["client_app_id"])
    assert {name: made[name] for name in wanted} == wanted
    project = Project.objects.get()
    assert (project.slug, project.name, project.realm_app_id) == ("my-app", "My-App", made["client_app_id"])
    assert project.anonymous_users_enabled is False
    application = Application.objects.get()
    assert application.client_id == made["client_app_id"]
    assert (application.access_token_lifetime, application.refresh_token_rotation_enabled) == (1800, False)
    assert (application.refresh_token_lifetime, application.refresh_token_idle_timeout) == (3650 * 86_400, 90 * 86_400)
    assert Membership.objects.get().role == "owner"
    assert project.signing_keys.count() == 3
    assert admin.ask("GET", f"/groups/{SERVER_GROUP}/apps") == [made]
    types = AuditEvent.objects.filter(project=project).order_by("pk").values_list("type", "actor_name")
    assert list(types) == [
        ("project.created", "olga"),
        ("project.changed", "olga"),
        ("application.created", "olga"),
    ]
    again = admin.ask("POST", f"/groups/{SERVER_GROUP}/apps", {"name": "My-App"}, status=201)
    assert again["client_app_id"] != made["client_app_id"]
    assert Project.objects.exclude(pk=project.pk).get().slug.startswith("my-app-")


def test_a_new_app_exports_what_it_was_made_with(admin: Tool) -> None:
    made = admin.ask("POST", f"/groups/{SERVER_GROUP}/apps", {"name": "shop", "location": "IE"}, status=201)
    pulled = admin.ask("GET", f"/groups/{SERVER_GROUP}/apps/{made['_id']}/pull")
    assert (pulled["app_id"], pulled["location"]) == (made["client_app_id"], "IE")
    assert {name: one["disabled"] for name, one in pulled["auth"]["providers"].items()} == {
        "anon-user": True,
        "local-userpass": True,
    }


@pytest.mark.parametrize("name", ["", "x" * 33, "a b", "äpp", "a/b", 1, None, ["x"]])
def test_a_name_that_the_tools_would_not_take_makes_no_app(name: Any, admin: Tool) -> None:
    response = admin.send("POST", f"/groups/{SERVER_GROUP}/apps", {"name": name})
    assert response.status_code == 400
    assert not Project.objects.exists()


@pytest.mark.parametrize("name", ["login", "me", "new", "___", "-"])
def test_an_app_may_be_called_as_a_page_of_the_portal_is(name: str, admin: Tool) -> None:
    admin.ask("POST", f"/groups/{SERVER_GROUP}/apps", {"name": name}, status=201)
    assert Project.objects.get().slug != name


@pytest.mark.parametrize("role", ["viewer", "editor", "owner"])
def test_only_administrators_make_apps(role: str, project: Project) -> None:
    tool, before = tool_of(member(project, role)), everything()
    refused(tool.send("POST", f"/groups/{realm_app_of(project).group_id}/apps", {"name": "x"}), 403, "Forbidden")
    refused(tool.send("POST", f"/groups/{'f' * 24}/apps", {"name": "x"}), 404, "GroupNotFound")
    assert everything()["anonusers.Project"] == before["anonusers.Project"]


def test_deleting_an_app_deletes_the_project(admin: Tool, project: Project, other: Project) -> None:
    admin.ask("DELETE", app_path(project), status=204)
    assert list(Project.objects.values_list("slug", flat=True)) == ["secretshop"]
    event = AuditEvent.objects.get(type="project.deleted")
    assert (event.actor_name, event.target) == ("olga", "guestbook")


# --- providers ------------------------------------------------------------------------------------


def providers(tool: Tool, project: Project) -> dict[str, dict[str, Any]]:
    return {one["type"]: one for one in tool.ask("GET", f"{app_path(project)}/auth_providers")}


def test_providers_are_those_of_the_project(admin: Tool, project: Project) -> None:
    listed = providers(admin, project)
    assert listed["anon-user"] == {
        "_id": realm_app_of(project).provider_ids["anon-user"],
        "name": "anon-user",
        "type": "anon-user",
        "disabled": False,
    }
    assert listed["local-userpass"]["config"] == {"autoConfirm": True}
    one = f"{app_path(project)}/auth_providers/{listed['anon-user']['_id']}"
    assert admin.ask("GET", one) == listed["anon-user"]
    for id in ("f" * 24, "x", "%00"):
        refused(admin.send("GET", f"{app_path(project)}/auth_providers/{id}"), 404, "AuthProviderNotFound")


def test_the_anonymous_provider_is_turned_off_and_on(admin: Tool, project: Project) -> None:
    one = f"{app_path(project)}/auth_providers/{providers(admin, project)['anon-user']['_id']}"
    for verb, enabled in (("disable", False), ("disable", False), ("enable", True)):
        admin.ask("PUT", f"{one}/{verb}", status=204)
        assert Project.objects.get().anonymous_users_enabled is enabled
    events = AuditEvent.objects.filter(type="project.changed").order_by("pk").values_list("changes", flat=True)
    assert list(events) == [{"anonymous_users_enabled": [True, False]}, {"anonymous_users_enabled": [False, True]}]


def test_options_are_changed_one_by_one(admin: Tool, project: Project) -> None:
    one = f"{app_path(project)}/auth_providers/{providers(admin, project)['local-userpass']['_id']}"
    config = {
        "autoConfirm": False,
        "emailConfirmationUrl": "https://app.example.com/confirm",
        "confirmEmailSubject": "Welcome",
    }
    admin.ask("PATCH", one, {"config": config}, status=204)
    row = Project.objects.get()
    assert (row.realm_local_userpass, row.realm_auto_confirm) == (True, False)
    assert row.realm_confirmation_url == "https://app.example.com/confirm"
    assert admin.ask("GET", one)["config"] == config
    admin.ask("PATCH", one, {"disabled": True}, status=204)
    assert admin.ask("GET", one)["config"] == config
    assert Project.objects.get().realm_local_userpass is False


@pytest.mark.parametrize(
    "changes",
    [
        {"disabled": "yes"},
        {"type": "api-key"},
        {"name": "other"},
        {"config": {"autoConfirm": "yes"}},
        {"config": {"emailConfirmationUrl": "javascript:alert(1)"}},
        {"config": 1},
        {"color": "red"},
    ],
)
def test_changes_that_cannot_be_are_refused(changes: dict[str, Any], admin: Tool, project: Project) -> None:
    one = f"{app_path(project)}/auth_providers/{providers(admin, project)['local-userpass']['_id']}"
    before = everything()
    assert admin.send("PATCH", one, changes).status_code == 400
    assert everything() == before


def test_where_changes_are_collected_a_provider_waits_in_the_draft(project: Project) -> None:
    Draft.objects.create(project=project)
    editor = tool_of(member(project, "editor"))
    listed = providers(editor, project)
    editor.ask("PUT", f"{app_path(project)}/auth_providers/{listed['anon-user']['_id']}/disable", status=204)
    assert Project.objects.get().anonymous_users_enabled is True
    assert drafted(project) == {"project": {"anonymous_users_enabled": False}}
    assert providers(editor, project)["anon-user"]["disabled"] is True
    editor.ask("PUT", f"{app_path(project)}/auth_providers/{listed['anon-user']['_id']}/enable", status=204)
    assert drafted(project) == {}
    types = AuditEvent.objects.order_by("pk").values_list("type", "actor_name")
    assert list(types)[-2:] == [("draft.changed", "editor"), ("draft.discarded", "editor")]


def test_the_shortest_body_makes_a_provider_and_a_second_one_is_refused(admin: Tool, project: Project) -> None:
    path = f"{app_path(project)}/auth_providers"
    Project.objects.update(anonymous_users_enabled=False)
    made = admin.ask("POST", path, {"type": "anon-user"}, status=201)
    assert made == providers(admin, project)["anon-user"]
    assert Project.objects.get().anonymous_users_enabled is True
    before = everything()
    refused(admin.send("POST", path, {"type": "anon-user"}), 409, "AuthProviderAlreadyExists")
    refused(admin.send("POST", path, {"type": "x"}), 400, "InvalidParameter")
    refused(admin.send("POST", path, {}), 400, "InvalidParameter")
    assert everything() == before


def test_what_is_not_supported_is_kept_and_stays_disabled(admin: Tool, project: Project) -> None:
    path = f"{app_path(project)}/auth_providers"
    wanted = {"type": "oauth2-google", "disabled": False, "config": {"clientId": "12"}}
    made = admin.ask("POST", path, wanted, status=201)
    assert (made["disabled"], made["config"]) == (True, {"clientId": "12"})
    refused(admin.send("PUT", f"{path}/{made['_id']}/enable"), 400, "BadRequest")
    refused(admin.send("PATCH", f"{path}/{made['_id']}", {"disabled": False}), 400, "BadRequest")
    admin.ask("DELETE", f"{path}/{made['_id']}", status=204)
    assert "oauth2-google" not in providers(admin, project)


def test_a_provider_is_disabled_before_it_is_deleted(admin: Tool, project: Project) -> None:
    path = f"{app_path(project)}/auth_providers/{providers(admin, project)['local-userpass']['_id']}"
    refused(admin.send("DELETE", path), 400, "BadRequest")
    admin.ask("PUT", f"{path}/disable", status=204)
    admin.ask("DELETE", path, status=204)
    assert "local-userpass" not in providers(admin, project)
    last = f"{app_path(project)}/auth_providers/{providers(admin, project)['anon-user']['_id']}"
    admin.ask("PUT", f"{last}/disable", status=204)
    refused(admin.send("DELETE", last), 400, "BadRequest")
    assert list(providers(admin, project)) == ["anon-user"]


# --- single settings ------------------------------------------------------------------------------


def test_origins_are_replaced_as_a_whole(admin: Tool, project: Project) -> None:
    path = f"{app_path(project)}/security/allowed_request_origins"
    assert admin.ask("GET", path) == []
    admin.ask("POST", path, ["https://a.example.com", "https://b.example.com", "https://a.example.com"], status=204)
    assert admin.ask("GET", path) == ["https://a.example.com", "https://b.example.com"]
    Draft.objects.create(project=project)  # as on the portal's page, they wait for no review
    admin.ask("POST", path, [], status=204)
    assert Project.objects.get().allowed_origins == []
    assert drafted(project) == {}


@pytest.mark.parametrize(
    "origins",
    [["*"], ["https://a.example.com/"], ["https://A.example.com"], [1], {"a": 1}, "https://a.example.com", ["x"] * 101],
    ids=range(7),
)
def test_what_is_no_list_of_origins_is_refused(origins: Any, admin: Tool, project: Project) -> None:
    path, before = f"{app_path(project)}/security/allowed_request_origins", everything()
    refused(admin.send("POST", path, origins), 400, "InvalidParameter")
    assert everything()["anonusers.Project"] == before["anonusers.Project"]


def test_how_long_sessions_last_is_a_setting_of_the_application(admin: Tool, project: Project) -> None:
    path = f"{app_path(project)}/security/refresh_token_expiration"
    admin.ask("PUT", path, {"expiration_time_seconds": 5_184_000}, status=204)
    assert admin.ask("GET", path) == {"expiration_time_seconds": 5_184_000}
    assert Application.objects.get().refresh_token_lifetime == 5_184_000
    event = AuditEvent.objects.get(type="application.changed")
    assert (event.actor_name, event.target) == ("olga", f"application:{APP_ID}")
    Draft.objects.create(project=project)
    admin.ask("PUT", path, {"expiration_time_seconds": 7_776_000}, status=204)
    assert admin.ask("GET", path) == {"expiration_time_seconds": 7_776_000}
    assert Application.objects.get().refresh_token_lifetime == 5_184_000
    assert drafted(project) == {f"application:{APP_ID}": {"refresh_token_lifetime": 7_776_000}}


@pytest.mark.parametrize("seconds", [0, -1, 1799, 3650 * 86_400 + 1, 2**70, "3600", True, 3600.5, None])
def test_an_expiration_out_of_range_is_refused(seconds: Any, admin: Tool, project: Project) -> None:
    path, before = f"{app_path(project)}/security/refresh_token_expiration", everything()
    refused(admin.send("PUT", path, {"expiration_time_seconds": seconds}), 400, "InvalidParameter")
    assert everything()["anonusers.Application"] == before["anonusers.Application"]


def test_custom_user_data_cannot_be_turned_on(admin: Tool, project: Project) -> None:
    path = f"{app_path(project)}/custom_user_data"
    assert admin.ask("GET", path) == {"enabled": False}
    refused(admin.send("PATCH", path, {"enabled": True}), 400, "BadRequest")
    kept = {"config_version": 20210101, "auth": {"custom_user_data": {"enabled": False, "database_name": "shop"}}}
    admin.ask("POST", f"{app_path(project)}/import?strategy=merge", kept, status=204)
    assert admin.ask("GET", path) == {"enabled": False, "database_name": "shop"}
