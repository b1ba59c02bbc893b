"""What the two official tools do when an app directory is imported, exported, and when something waits already: their
order of calls, read in their sources, with their headers."""

import io
import json
import re
import zipfile
from typing import Any

import pytest

from anonusers.models import Application, AuditEvent, Project
from anonusers.realm_users import realm_app_of
from portal.models import Deployment, Draft
from tests.conftest import make_application
from tests.portal.conftest import bare_project
from tests.portal.realm_admin.conftest import APP_ID
from tests.portal.realm_admin.tools import REALM_CLI, STITCH_CLI, Tool, app_path, member, refused, tool_of
from tests.portal.reviewing import drafted
from tests.portal.routes import everything

pytestmark = pytest.mark.django_db
ANON_ID = "5a030e154810c524eabef93d"
USERPASS = {
    "name": "local-userpass",
    "type": "local-userpass",
    "disabled": False,
    "config": {
        "autoConfirm": False,
        "emailConfirmationUrl": "https://app.example.com/confirm",
        "resetPasswordUrl": "https://app.example.com/reset",
        "confirmEmailSubject": "Welcome",
    },
}
GOOGLE = {"name": "oauth2-google", "type": "oauth2-google", "disabled": False, "config": {"clientId": "12"}}
# As each tool folds a directory into one object.
OLD: dict[str, Any] = {
    "app_id": APP_ID,
    "config_version": 20180301,
    "name": "guestbook",
    "location": "US-VA",
    "deployment_model": "GLOBAL",
    "security": {"allowed_request_origins": []},
    "auth_providers": [
        {"_id": ANON_ID, "name": "anon-user", "type": "anon-user", "disabled": True},
        USERPASS,
        GOOGLE,
    ],
    "functions": [{"config": {"name": "hello"}, "source": "exports = () => 1;"}],
    "triggers": [],
}
NEW: dict[str, Any] = {
    "app_id": APP_ID,
    "config_version": 20210101,
    "name": "guestbook",
    "location": "US-VA",
    "deployment_model": "GLOBAL",
    "environment": "",
    "allowed_request_origins": [],
    "auth": {
        "custom_user_data": {"enabled": False},
        "providers": {
            "anon-user": {"name": "anon-user", "type": "anon-user", "disabled": True},
            "local-userpass": USERPASS,
            "oauth2-google": GOOGLE,
        },
    },
    "functions": {"configs": [{"name": "hello"}], "sources": {"hello.js": "exports = () => 1;"}},
}
IMPORTED = {
    "anonymous_users_enabled": False,
    "realm_auto_confirm": False,
    "realm_confirmation_url": "https://app.example.com/confirm",
    "realm_reset_url": "https://app.example.com/reset",
}


@pytest.fixture
def project(db: None) -> Project:
    fields = {"realm_local_userpass": True, "realm_auto_confirm": True, "login_ids": ["email"]}
    project = bare_project(anonymous_users_enabled=True, realm_app_id=APP_ID, **fields)
    make_application(project, APP_ID)
    return project


@pytest.fixture(params=["stitch-cli", "realm-cli"])
def tool(request: Any, operator: Any, project: Project) -> Tool:
    return tool_of(operator, STITCH_CLI if request.param == "stitch-cli" else REALM_CLI)


def document_of(tool: Tool) -> dict[str, Any]:
    return OLD if tool.headers is STITCH_CLI else NEW


def strategy_of(tool: Tool) -> str:
    return "merge" if tool.headers is STITCH_CLI else "replace-by-name"


def find(tool: Tool, app_id: str = APP_ID) -> str:
    """The app's path. stitch-cli asks for the product of Atlas when it has not found the app, realm-cli for each."""
    groups = [role["group_id"] for role in tool.ask("GET", "/auth/profile")["roles"] if role["group_id"]]
    found = []
    for group in dict.fromkeys(groups):
        apps = tool.ask("GET", f"/groups/{group}/apps")
        if tool.headers is REALM_CLI:
            for product in ("atlas", "data-api", "device-sync"):
                apps += tool.ask("GET", f"/groups/{group}/apps?product={product}")
        elif not apps:
            apps = tool.ask("GET", f"/groups/{group}/apps?product=atlas")
        found += [app for app in apps if app["client_app_id"] == app_id]
    [app] = found  # with several of them realm-cli would ask which
    return f"/groups/{app['group_id']}/apps/{app['_id']}"


def push(tool: Tool, document: dict[str, Any], *, confirmed: bool = True) -> Any:
    """`stitch-cli import`, `realm-cli push`. Returns: the differences; None where a draft stood in the way."""
    app = find(tool)
    query = f"strategy={strategy_of(tool)}"
    diffs = tool.ask("POST", f"{app}/import?{query}&diff=true", document)
    if not diffs:
        return []
    draft = tool.send("POST", f"{app}/drafts")
    if draft.status_code != 201:
        refused(draft, 409, "DraftAlreadyExists")
        [known] = tool.ask("GET", f"{app}/drafts")
        tool.ask("GET", f"{app}/drafts/{known['_id']}/diff")
        if not confirmed:
            return None
        tool.ask("DELETE", f"{app}/drafts/{known['_id']}", status=204)
        draft = tool.send("POST", f"{app}/drafts")
    draft_id = draft.json()["_id"]
    tool.ask("POST", f"{app}/import?{query}", document, status=204)
    deployment = tool.ask("POST", f"{app}/drafts/{draft_id}/deployment", status=201)
    while deployment["status"] in ("created", "pending"):
        deployment = tool.ask("GET", f"{app}/deployments/{deployment['_id']}")
    assert deployment["status"] == "successful"
    if tool.headers is STITCH_CLI:
        export(tool, app, "")
    return diffs


def export(tool: Tool, app: str, query: str) -> dict[str, bytes]:
    response = tool.send("GET", f"{app}/export?{query}")
    assert response.status_code == 200
    assert re.fullmatch(r'attachment; filename="[Gg]uestbook_[0-9]{14}\.zip"', response["Content-Disposition"])
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def columns(project: Project) -> dict[str, Any]:
    return {name: getattr(Project.objects.get(pk=project.pk), name) for name in IMPORTED}


def test_an_import_is_deployed(tool: Tool, project: Project) -> None:
    diffs = push(tool, document_of(tool))
    assert "~ project.anonymous_users.enabled: true -> false" in diffs
    assert any("oauth2-google is recognised, not supported" in line for line in diffs)
    assert columns(project) == IMPORTED
    assert not Draft.objects.exists()
    deployment = Deployment.objects.get()
    assert (deployment.number, deployment.author) == (1, "olga")
    events = [(event.type, event.actor_name) for event in AuditEvent.objects.filter(project=project).order_by("pk")]
    assert events == [
        (name, "olga") for name in ("draft.changed", "realm.imported", "deployment.created", "project.changed")
    ]
    rest = realm_app_of(project).rest
    assert rest["providers"]["local-userpass"]["config"] == {"confirmEmailSubject": "Welcome"}
    assert rest["providers"]["oauth2-google"]["disabled"] is True


def test_the_second_import_finds_nothing_to_do(tool: Tool, project: Project) -> None:
    push(tool, document_of(tool))
    before = everything()
    assert push(tool, document_of(tool)) == []
    assert {name: rows for name, rows in everything().items() if "Token" not in name} == {
        name: rows for name, rows in before.items() if "Token" not in name
    }


def test_what_is_exported_can_be_imported_again_without_a_change(tool: Tool, project: Project) -> None:
    push(tool, document_of(tool))
    app = app_path(project)
    assert tool.ask("POST", f"{app}/import?strategy=replace&diff=true", tool.ask("GET", f"{app}/pull")) == []


def test_stitch_cli_gets_the_layout_that_it_reads_and_realm_cli_that_it_asks_for(
    operator: Any, project: Project
) -> None:
    stitch, realm, app = tool_of(operator, STITCH_CLI), tool_of(operator), app_path(project)
    files = export(stitch, app, "")
    assert set(files) == {"stitch.json", "auth_providers/anon-user.json", "auth_providers/local-userpass.json"}
    assert (
        json.loads(files["auth_providers/anon-user.json"])["_id"]
        == stitch.ask("GET", f"{app}/auth_providers")[0]["_id"]
    )
    assert b'"_id"' not in export(stitch, app, "template=true")["auth_providers/anon-user.json"]
    files = export(realm, app, "version=20210101&source_control=true")
    assert "realm_config.json" in files
    assert json.loads(files["auth/providers.json"])["anon-user"]["disabled"] is False
    assert "config.json" in export(realm, app, "version=20200603&source_control=true")
    for version in ("1", "x", "20210101x"):
        refused(realm.send("GET", f"{app}/export?version={version}"), 400, "InvalidParameter")


def test_a_draft_that_is_there_is_shown_and_then_discarded(tool: Tool, project: Project) -> None:
    changes = {"project": {"session_lifetime": {"old": project.session_lifetime, "new": 3600}}}
    draft = Draft.objects.create(project=project, changes=changes)
    app = app_path(project)
    assert push(tool, document_of(tool), confirmed=False) is None
    assert tool.ask("GET", f"{app}/drafts") == [{"_id": draft.object_id}]
    assert tool.ask("GET", f"{app}/drafts/{draft.object_id}/diff") == {
        "diffs": [f"~ project.session.lifetime: {project.session_lifetime} -> 3600"],
        "hosting_files_diff": {"added": [], "deleted": [], "modified": []},
    }
    assert drafted(project) == {"project": {"session_lifetime": 3600}}
    push(tool, document_of(tool))
    assert columns(project) == IMPORTED
    assert Project.objects.get().session_lifetime == project.session_lifetime
    assert Draft.objects.get().changes == {}  # the project goes on collecting changes
    assert AuditEvent.objects.filter(type="draft.discarded").count() == 1


def test_nothing_is_in_effect_before_the_deployment(tool: Tool, project: Project) -> None:
    app, before = find(tool), everything()
    query = f"strategy={strategy_of(tool)}"
    tool.ask("POST", f"{app}/import?{query}&diff=true", document_of(tool))
    assert everything() == before
    draft = tool.ask("POST", f"{app}/drafts", status=201)["_id"]
    tool.ask("POST", f"{app}/import?{query}", document_of(tool), status=204)
    after = everything()
    for name in ("anonusers.Project", "anonusers.Application", "anonusers.RealmApp"):
        assert after[name] == before[name]
    diff = tool.ask("GET", f"{app}/drafts/{draft}/diff")["diffs"]
    assert "~ project.anonymous_users.enabled: true -> false" in diff
    assert any(line.startswith("+ realm.providers.oauth2-google") for line in diff)
    tool.ask("DELETE", f"{app}/drafts/{draft}", status=204)
    assert not Draft.objects.exists()
    assert everything()["anonusers.Project"] == before["anonusers.Project"]
    assert everything()["anonusers.RealmApp"] == before["anonusers.RealmApp"]
    refused(tool.send("POST", f"{app}/drafts/{draft}/deployment"), 404, "DraftNotFound")


def test_a_bad_directory_leaves_the_draft_empty_for_the_tool_to_discard(tool: Tool, project: Project) -> None:
    app = find(tool)
    draft = tool.ask("POST", f"{app}/drafts", status=201)["_id"]
    bad = document_of(tool) | {"config_version": 1}
    response = tool.send("POST", f"{app}/import?strategy={strategy_of(tool)}", bad)
    refused(response, 400, "BadRequest")
    assert "config_version" in response.json()["error"]
    tool.ask("DELETE", f"{app}/drafts/{draft}", status=204)
    assert not Draft.objects.exists()
    assert columns(project) != IMPORTED


def test_only_options_that_are_kept_can_be_imported_too(tool: Tool, project: Project) -> None:
    push(tool, document_of(tool))
    document = json.loads(json.dumps(document_of(tool)))
    document["triggers"] = [{"name": "nightly"}]
    assert push(tool, document) != []
    assert realm_app_of(Project.objects.get()).rest["sections"]["triggers"] == [{"name": "nightly"}]
    assert Deployment.objects.count() == 2
    assert not Draft.objects.exists()


def test_a_deployment_without_changes_succeeds_and_leaves_nothing(tool: Tool, project: Project) -> None:
    app = app_path(project)
    draft = tool.ask("POST", f"{app}/drafts", status=201)["_id"]
    refused(tool.send("POST", f"{app}/drafts"), 409, "DraftAlreadyExists")
    assert tool.ask("GET", f"{app}/drafts/{draft}/diff")["diffs"] == []
    assert tool.ask("POST", f"{app}/drafts/{draft}/deployment", status=201)["status"] == "successful"
    assert not Draft.objects.exists()
    assert not Deployment.objects.exists()


def test_without_a_draft_an_import_is_in_effect_at_once_and_can_be_taken_back(tool: Tool, project: Project) -> None:
    app = app_path(project)
    tool.ask("POST", f"{app}/import?strategy={strategy_of(tool)}", document_of(tool), status=204)
    assert columns(project) == IMPORTED
    assert Deployment.objects.get().author == "olga"
    assert not Draft.objects.exists()


def test_where_changes_are_collected_an_import_waits(tool: Tool, project: Project) -> None:
    Draft.objects.create(project=project)
    app = app_path(project)
    tool.ask("POST", f"{app}/import?strategy={strategy_of(tool)}", document_of(tool), status=204)
    assert columns(project) != IMPORTED
    assert drafted(project)["project"] == IMPORTED
    # What the directory says goes before what was drafted.
    back = {"config_version": 20210101, "auth": {"providers": {"anon-user": {"type": "anon-user", "disabled": False}}}}
    tool.ask("POST", f"{app}/import?strategy=merge", back, status=204)
    assert "anonymous_users_enabled" not in drafted(project)["project"]
    assert drafted(project)["project"]["realm_auto_confirm"] is False


def test_the_app_stays_the_one_in_the_path_whatever_the_directory_calls_it(tool: Tool, project: Project) -> None:
    app = app_path(project)
    document = document_of(tool) | {"app_id": "another-xxxxx"}
    tool.ask("POST", f"{app}/import?strategy={strategy_of(tool)}", document, status=204)
    assert Project.objects.get().realm_app_id == APP_ID
    assert Application.objects.get().client_id == APP_ID


def test_an_app_without_an_application_gets_one_with_the_import(tool: Tool, project: Project) -> None:
    Application.objects.all().delete()
    push(tool, document_of(tool))
    application = Application.objects.get()
    assert (application.client_id, application.refresh_token_idle_timeout) == (APP_ID, 90 * 86_400)
    assert columns(project) == IMPORTED


def test_a_setting_that_was_changed_past_the_draft_is_not_overwritten(tool: Tool, project: Project) -> None:
    app = app_path(project)
    draft = tool.ask("POST", f"{app}/drafts", status=201)["_id"]
    tool.ask("POST", f"{app}/import?strategy={strategy_of(tool)}", document_of(tool), status=204)
    Project.objects.update(realm_reset_url="https://elsewhere.example.com/")
    refused(tool.send("POST", f"{app}/drafts/{draft}/deployment"), 409, "BadRequest")
    assert Project.objects.get().realm_reset_url == "https://elsewhere.example.com/"
    assert Project.objects.get().anonymous_users_enabled is True
    assert any("changed meanwhile" in line for line in tool.ask("GET", f"{app}/drafts/{draft}/diff")["diffs"])


def test_who_may_not_change_origins_cannot_import_others(project: Project) -> None:
    app = app_path(project)
    editor, owner = tool_of(member(project, "editor")), tool_of(member(project, "owner"))
    document = NEW | {"allowed_request_origins": ["https://evil.example"]}
    before = everything()
    response = editor.send("POST", f"{app}/import?strategy=merge", document)
    refused(response, 403, "Forbidden")
    assert everything() == before
    owner.ask("POST", f"{app}/import?strategy=merge", document, status=204)
    assert Project.objects.get().allowed_origins == ["https://evil.example"]


def test_an_unknown_strategy_is_refused(tool: Tool, project: Project) -> None:
    app, before = app_path(project), everything()
    refused(tool.send("POST", f"{app}/import?strategy=x", NEW), 400, "InvalidParameter")
    assert everything() == before


def test_a_large_directory_fits_and_a_larger_one_is_refused(tool: Tool, project: Project) -> None:
    app = app_path(project)
    large = NEW | {"functions": {"sources": {"big.js": "x" * 3_000_000}}}
    tool.ask("POST", f"{app}/import?strategy=merge&diff=true", large)
    response = tool.send("POST", f"{app}/import?strategy=merge&diff=true", b" " * (16 * 1_048_576 + 1))
    refused(response, 413, "BadRequest")


# --- deployments and where changes are collected --------------------------------------------------


def test_a_deployment_is_put_into_effect_again(admin: Tool, project: Project) -> None:
    app = app_path(project)
    push(admin, NEW)
    on = {"config_version": 20210101, "auth": {"providers": {"anon-user": {"type": "anon-user", "disabled": False}}}}
    admin.ask("POST", f"{app}/import?strategy=merge", on, status=204)
    assert Project.objects.get().anonymous_users_enabled is True
    listed = admin.ask("GET", f"{app}/deployments")
    assert [one["status"] for one in listed] == ["successful", "successful"]
    admin.ask("POST", f"{app}/deployments/{listed[1]['_id']}/redeploy", status=204)
    assert Project.objects.get().anonymous_users_enabled is False
    assert Deployment.objects.count() == 3
    admin.ask("POST", f"{app}/deployments/{listed[1]['_id']}/redeploy", status=204)  # so it is already
    assert Deployment.objects.count() == 3


@pytest.mark.parametrize("id", ["1", "0" * 24, "f" * 24, "0" * 16 + "ffffffff", "0" * 23 + "9", "x", "%00"])
def test_other_deployments_are_not_found(id: str, admin: Tool, project: Project) -> None:
    refused(admin.send("GET", f"{app_path(project)}/deployments/{id}"), 404, "DeploymentNotFound")
    refused(admin.send("POST", f"{app_path(project)}/deployments/{id}/redeploy"), 404, "DeploymentNotFound")


def test_owners_say_whether_changes_are_collected(admin: Tool, project: Project) -> None:
    config = f"{app_path(project)}/deploy/config"
    assert admin.ask("GET", config) == {"ui_drafts_disabled": True, "automatic_deployment": {"enabled": False}}
    admin.ask("PATCH", config, {"ui_drafts_disabled": False}, status=204)
    assert admin.ask("GET", config)["ui_drafts_disabled"] is False
    admin.ask("PATCH", config, {"ui_drafts_disabled": False}, status=204)
    admin.ask("PUT", f"{app_path(project)}/auth_providers/{_anon(admin, project)}/disable", status=204)
    refused(admin.send("PATCH", config, {"ui_drafts_disabled": True}), 400, "BadRequest")
    admin.ask("DELETE", f"{app_path(project)}/drafts/{Draft.objects.get().object_id}", status=204)
    admin.ask("PATCH", config, {"ui_drafts_disabled": True}, status=204)
    assert not Draft.objects.exists()
    events = AuditEvent.objects.filter(type__startswith="review.").order_by("pk").values_list("type", "actor_name")
    assert list(events) == [("review.enabled", "olga"), ("review.disabled", "olga")]
    for body in ({"ui_drafts_disabled": 1}, {"automatic_deployment": {"enabled": True}}, {"automatic_deployment": 1}):
        assert admin.send("PATCH", config, body).status_code == 400


def _anon(tool: Tool, project: Project) -> str:
    listed = tool.ask("GET", f"{app_path(project)}/auth_providers")
    return str(next(one["_id"] for one in listed if one["type"] == "anon-user"))


def test_the_portal_turns_a_tools_draft_into_one_that_stays(admin: Tool, project: Project) -> None:
    admin.ask("POST", f"{app_path(project)}/drafts", status=201)
    admin.ask("PATCH", f"{app_path(project)}/deploy/config", {"ui_drafts_disabled": False}, status=204)
    assert Draft.objects.get().for_one_deployment is False
