"""App directories of Stitch and Realm: read, compared, imported, exported; malformed ones change nothing."""

import io
import json
import os
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anonusers import realm_sources
from anonusers.errors import InvalidProjectFile, InvalidRealmFiles, UnknownProject
from anonusers.models import Application, AuditEvent, Project, RealmApp
from anonusers.project_file import apply_project_file, export_project, parse_project_file
from anonusers.realm_files import (
    apply_import,
    directory_of,
    export_files,
    fold,
    plan_import,
    read_directory,
    read_document,
    read_zip,
    write_folder,
    zip_of,
)
from anonusers.realm_reading import RealmDirectory
from anonusers.realm_writing import files_of
from tests.anonusers.app_directories import (
    ANON,
    ANON_ID,
    GENERATIONS,
    GOOGLE_ID,
    NEW,
    OLD,
    STITCH,
    USERPASS,
    USERPASS_ID,
    write,
    zipped,
)
from tests.conftest import make_application, make_project, row_counts, state_of

PROVIDER = "auth_providers/anon-user.json"
BASE = {"stitch.json": {"app_id": "shop-abcde"}}


@pytest.fixture(autouse=True)
def _quick_keys(monkeypatch):
    """New projects get no signing keys here, which take their time."""
    monkeypatch.setattr("anonusers.project_file.create_keys", lambda project: None)


def imported(files, **options):
    return apply_import(read_zip(zipped(files)), **{"slug": "shop", **options}).project


# --- each generation --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GENERATIONS)
def test_each_generation_configures_a_project(db, tmp_path, name):
    directory = read_directory(write(tmp_path, GENERATIONS[name]))

    done = apply_import(directory, slug="shop")

    project = Project.objects.get()
    assert (done.created, done.project) == (True, project)
    assert project.realm_app_id == "shop-abcde"
    assert project.anonymous_users_enabled is (name != "config.json")
    assert (project.realm_local_userpass, project.realm_auto_confirm) == (True, False)
    assert project.realm_confirmation_url == "https://shop.example.com/confirm"
    assert project.realm_reset_url == "https://shop.example.com/reset"
    assert project.allowed_origins == ["https://shop.example.com"]
    assert project.login_ids == ["email"]
    assert project.realm_app.provider_ids == {"anon-user": ANON_ID, "local-userpass": USERPASS_ID} | (
        {"oauth2-google": GOOGLE_ID} if name == "stitch.json" else {}
    )
    application = Application.objects.get()
    assert (application.client_id, application.type, application.name) == ("shop-abcde", "spa", "shop")
    assert (application.access_token_lifetime, application.refresh_token_lifetime) == (1800, 315_360_000)
    assert (application.refresh_token_idle_timeout_enabled, application.refresh_token_idle_timeout) == (True, 7_776_000)
    assert (application.refresh_token_rotation_enabled, application.dpop_enabled) == (False, False)


@pytest.mark.parametrize("name", GENERATIONS)
def test_importing_again_changes_nothing(db, name):
    imported(GENERATIONS[name])
    before = row_counts(), state_of(Project.objects.get(), Application.objects.get(), RealmApp.objects.get())

    assert plan_import(read_zip(zipped(GENERATIONS[name])), slug="shop", strategy="replace").words == []
    imported(GENERATIONS[name], strategy="replace")

    assert (row_counts(), state_of(Project.objects.get(), Application.objects.get(), RealmApp.objects.get())) == before


@pytest.mark.parametrize("name", GENERATIONS)
def test_a_zip_with_the_folder_in_it_and_the_folded_document_say_the_same(name):
    plain = read_zip(zipped(GENERATIONS[name]))

    assert read_zip(zipped({f"my app/{path}": content for path, content in GENERATIONS[name].items()})) == plain
    document = json.loads(json.dumps(fold(plain)))
    folded = read_document(document)
    assert folded.providers == plain.providers
    assert (folded.version, folded.app_id, folded.allowed_origins) == (
        plain.version,
        plain.app_id,
        plain.allowed_origins,
    )
    assert (folded.root, folded.custom_user_data) == (plain.root, plain.custom_user_data)


def test_the_sample_of_the_documentation_with_its_trailing_comma_is_read():
    sample = b'{\n  "name": "anon-user",\n  "type": "anon-user",\n  "disabled": true,\n}\n'

    directory = read_zip(zipped({**BASE, "auth_providers/anon-user.json": sample}))

    assert directory.providers["anon-user"] == {"type": "anon-user", "disabled": True}


def test_a_comma_in_a_text_stays():
    directory = read_zip(zipped({"stitch.json": b'{"name": "a,] ,}", "app_id": "x",}'}))

    assert directory.root == {"name": "a,] ,}"}


def test_what_a_bare_directory_says_goes_into_a_project_that_has_an_app(db):
    project = make_project("shop", realm_app_id="shop-abcde", anonymous_users_enabled=True)
    make_application(project, "shop-abcde")

    apply_import(read_zip(zipped({PROVIDER: {**ANON, "disabled": True}})), slug="shop")

    project.refresh_from_db()
    assert (project.anonymous_users_enabled, project.realm_app_id) == (False, "shop-abcde")
    assert project.realm_app.provider_ids == {"anon-user": ANON_ID}
    assert read_zip(zipped({"auth/providers.json": {"anon-user": ANON}})).version == 20210101


def test_a_missing_disabled_means_enabled_and_an_empty_root_file_an_empty_table():
    directory = read_zip(zipped({"config.json": b"", PROVIDER: {"type": "anon-user"}}))

    assert directory.providers == {"anon-user": {"type": "anon-user", "disabled": False}}
    assert (directory.version, directory.app_id, directory.root) == (20200603, "", {})


def test_without_any_app_id_it_must_be_given(db):
    directory = read_zip(zipped({PROVIDER: ANON}))

    with pytest.raises(InvalidRealmFiles, match="--app-id"):
        plan_import(directory, slug="shop")
    apply_import(directory, slug="shop", app_id="given-abcde")

    assert Project.objects.get().realm_app_id == Application.objects.get().client_id == "given-abcde"


def test_secrets_are_never_stored(db):
    project = imported(STITCH)
    document = {**fold(read_zip(zipped(STITCH))), "secrets": {"services": {"mail": {"key": "hush"}}}}
    directory = read_document(document)
    apply_import(directory, slug="shop")

    assert "hush" not in json.dumps([project.realm_app.rest, list(RealmApp.objects.values("rest"))])
    assert "import: secrets: left out. Secrets are never stored." in directory.warnings


def test_providers_that_we_have_not_are_reported_and_imported_as_disabled(db):
    directory = read_zip(zipped(STITCH))

    project = apply_import(directory, slug="shop").project

    where = "auth_providers/oauth2-google.json"
    assert f"{where}: oauth2-google is recognised, not supported: imported as disabled." in directory.warnings
    exported = json.loads(export_files("shop")[where])
    assert exported == {**STITCH[where], "disabled": True}
    assert project.realm_app.rest["providers"]["oauth2-google"]["disabled"] is True


def test_unknown_keys_are_warned_of_and_kept(db):
    files = {"realm_config.json": {"app_id": "x", "shape": 1}, "auth/providers.json": {"anon-user": {**ANON, "hue": 2}}}
    directory = read_zip(zipped(files))

    apply_import(directory, slug="shop")

    assert "realm_config.json: shape: Unknown key, kept as it is." in directory.warnings
    assert "auth/providers.json: anon-user: hue: Unknown key, kept as it is." in directory.warnings
    exported = export_files("shop")
    assert json.loads(exported["realm_config.json"])["shape"] == 1
    assert json.loads(exported["auth/providers.json"])["anon-user"]["hue"] == 2


def test_the_ids_of_the_tools_own_file_are_kept(db):
    meta = {"app_id": "6" * 24, "group_id": "7" * 24, "config_version": 20210101}

    project = imported({**NEW, ".mdb/app_meta.json": meta})

    assert (project.realm_app.object_id, project.realm_app.group_id) == ("6" * 24, "7" * 24)


def test_two_projects_cannot_have_one_app_id_or_one_user_pool(db):
    imported(NEW, domain_id="a" * 24)
    before = row_counts()

    with pytest.raises(InvalidProjectFile) as refused:
        plan_import(read_zip(zipped(NEW)), slug="other")
    assert 'project.realm.app_id: "shop-abcde" belongs to the project "shop".' in refused.value.message
    with pytest.raises(InvalidRealmFiles) as taken:
        imported(NEW, slug="other", app_id="other-abcde", domain_id="a" * 24)
    assert taken.value.message == f"The domain id {'a' * 24} belongs to the project shop."
    assert row_counts() == before


def test_an_existing_application_keeps_its_settings(db):
    project = make_project("shop")
    application = make_application(project, "shop-abcde", type="native", refresh_token_lifetime=86_400)
    before = state_of(application)

    imported(NEW)

    assert state_of(application) == before
    assert Application.objects.count() == 1


# --- strategies -------------------------------------------------------------------------------------

OTHER_ID = "6b0061f8e676470ab17fd3ab"
LESS = {"stitch.json": {"app_id": "shop-abcde"}, PROVIDER: {**ANON, "_id": OTHER_ID}}


@pytest.mark.parametrize(
    ("strategy", "userpass", "ids", "name", "functions"),
    [
        ("merge", True, {"anon-user": OTHER_ID, "local-userpass": USERPASS_ID, "oauth2-google": GOOGLE_ID}, "shop", 2),
        ("replace", False, {"anon-user": OTHER_ID}, None, 0),
        ("replace-by-name", False, {"anon-user": ANON_ID}, None, 0),
    ],
)
def test_a_strategy_says_what_becomes_of_what_the_upload_has_not(db, strategy, userpass, ids, name, functions):
    imported(STITCH)

    project = imported(LESS, strategy=strategy)

    assert project.anonymous_users_enabled is True
    assert project.realm_local_userpass is userpass
    assert project.realm_confirmation_url == ("https://shop.example.com/confirm" if userpass else "")
    assert project.allowed_origins == ["https://shop.example.com"]  # not said, so not changed
    app = RealmApp.objects.get()
    assert app.provider_ids == ids
    assert app.rest["root"].get("name") == name
    assert len(app.rest["files"]) == functions


def test_merging_adds_origins_and_replacing_sets_them(db):
    imported(NEW)
    other = {"realm_config.json": {"app_id": "shop-abcde", "allowed_request_origins": ["HTTPS://New.example.com/"]}}

    assert imported(other).allowed_origins == ["https://shop.example.com", "https://new.example.com"]
    assert imported(other, strategy="replace").allowed_origins == ["https://new.example.com"]


def test_a_document_without_providers_leaves_them_alone(db):
    project = imported(NEW)
    before = project.realm_app.rest["providers"]

    plan = plan_import(read_document({"config_version": 20210101, "name": "shop"}), slug="shop", strategy="replace")
    imported({"realm_config.json": {"name": "shop"}}, strategy="replace")

    project.refresh_from_db()
    assert (project.anonymous_users_enabled, project.realm_local_userpass) == (True, True)
    assert RealmApp.objects.get().rest["providers"] == before
    assert "The directory says nothing of providers: they stay as they are." in plan.warnings


def test_a_plan_says_in_words_what_would_change_and_changes_nothing(db):
    imported(NEW)
    before = row_counts(), state_of(Project.objects.get(), RealmApp.objects.get())
    files = {
        **NEW,
        "auth/providers.json": {"anon-user": {**ANON, "disabled": True}, "custom-token": {"type": "custom-token"}},
    }

    plan = plan_import(read_zip(zipped(files)), slug="shop", strategy="replace")

    assert plan.words == [
        "~ project.anonymous_users.enabled: true -> false",
        "~ project.realm.local_userpass: true -> false",
        '~ project.realm.confirmation_url: "https://shop.example.com/confirm" -> ""',
        '~ project.realm.reset_url: "https://shop.example.com/reset" -> ""',
        "- realm.providers.api-key",
        "+ realm.providers.custom-token (not supported: disabled, kept for an export)",
        "- realm.providers.local-userpass",
    ]
    assert (row_counts(), state_of(Project.objects.get(), RealmApp.objects.get())) == before


def test_an_import_is_audited(db):
    imported(NEW)
    AuditEvent.objects.all().delete()

    imported({**NEW, "auth/providers.json": {"anon-user": {**ANON, "disabled": True}}})

    assert list(AuditEvent.objects.order_by("pk").values_list("type", "target", "changes")) == [
        ("project.changed", "project", {"anonymous_users_enabled": [True, False]}),
        ("realm.imported", "project", {"strategy": "merge", "providers": "anon-user, api-key, local-userpass"}),
    ]


# --- malformed --------------------------------------------------------------------------------------

MALFORMED = {
    "not JSON": ({"stitch.json": b"{"}, "stitch.json: The file is not JSON: line 1, column 2"),
    "not UTF-8": ({"stitch.json": b'{"name": "\xff"}'}, "stitch.json: The file is not UTF-8."),
    "no table": ({"stitch.json": []}, "stitch.json: This must be a JSON object."),
    "a key twice": ({"stitch.json": b'{"name": "a", "name": "b"}'}, 'stitch.json: The file is not JSON: "name" stands'),
    "NaN": ({"stitch.json": b'{"x": NaN}'}, "stitch.json: The file is not JSON: NaN is no value of JSON."),
    "infinity": ({"stitch.json": b'{"x": 1e999}'}, "stitch.json: A number is too large."),
    "NUL": ({"stitch.json": b'{"x": "\\u0000"}'}, "stitch.json: A text has a NUL or half a character."),
    "half a character": ({"stitch.json": b'{"x": "\\ud800"}'}, "stitch.json: A text has a NUL"),
    "deep": ({"stitch.json": b'{"x":' + b"[" * 60 + b"]" * 60 + b"}"}, "stitch.json: The file nests deeper than 50"),
    "bottomless": ({"stitch.json": b"[" * 100_000}, "stitch.json: The file is not JSON:"),
    "config_version": ({"stitch.json": {"config_version": 2}}, "stitch.json: config_version: This must be one of"),
    "app_id": ({"stitch.json": {"app_id": "a b"}}, "stitch.json: app_id: Use 1 to 100 visible"),
    "app_id's type": ({"stitch.json": {"app_id": 1}}, "stitch.json: app_id: This must be a string."),
    "name": ({"stitch.json": {"name": 1}}, "stitch.json: name: This must be a string."),
    "origins": (
        {"realm_config.json": {"allowed_request_origins": "*"}},
        "realm_config.json: allowed_request_origins: This must be a list of strings.",
    ),
    "provider": ({**BASE, PROVIDER: []}, f"{PROVIDER}: This must be a JSON object."),
    "no type": ({**BASE, PROVIDER: {}}, f"{PROVIDER}: type: This key is required, and a string."),
    "unknown type": ({**BASE, PROVIDER: {"type": "anon"}}, f"{PROVIDER}: type: The type 'anon' is unknown. Use one of"),
    "disabled": ({**BASE, PROVIDER: {**ANON, "disabled": "no"}}, f"{PROVIDER}: disabled: This must be true or false."),
    "_id": ({**BASE, PROVIDER: {**ANON, "_id": "1"}}, f"{PROVIDER}: _id: Use 24 hexadecimal digits."),
    "two ids": ({**BASE, PROVIDER: {**ANON, "id": OTHER_ID}}, f"{PROVIDER}: id: There are two ids."),
    "config": ({**BASE, PROVIDER: {**USERPASS, "config": 1}}, f"{PROVIDER}: config: This must be a JSON object."),
    "autoConfirm": (
        {**BASE, PROVIDER: {**USERPASS, "config": {"autoConfirm": 1}}},
        f"{PROVIDER}: config.autoConfirm: This must be true or false.",
    ),
    "subject": (
        {**BASE, PROVIDER: {**USERPASS, "config": {"confirmEmailSubject": "x" * 257}}},
        f"{PROVIDER}: config.confirmEmailSubject: Use at most 256 characters.",
    ),
    "a provider twice": (
        {**BASE, "auth_providers/a.json": ANON, "auth_providers/b.json": ANON},
        "auth_providers/b.json: type: There are two providers of the type anon-user.",
    ),
    "providers": ({"auth/providers.json": [ANON]}, "auth/providers.json: This must be a JSON object."),
    "custom data": (
        {**BASE, "auth/custom_user_data.json": 1},
        "auth/custom_user_data.json: This must be a JSON object.",
    ),
    "nothing": ({"readme.txt": b""}, "This is no app directory: there is none of realm_config.json,"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_malformed_is_refused_with_file_and_reason(tmp_path, name):
    files, reason = MALFORMED[name]

    for read in (lambda: read_zip(zipped(files)), lambda: read_directory(write(tmp_path, files))):
        with pytest.raises(InvalidRealmFiles) as refused:
            read()
        assert refused.value.message.startswith(reason)


WRONG = {
    "a page without https": (
        {PROVIDER: {**USERPASS, "config": {"resetPasswordUrl": "http://shop.example.com/"}}},
        "local-userpass: config.resetPasswordUrl: Plain http is allowed on this machine only (localhost). Use https.",
    ),
    "a pattern for an origin": (
        {"stitch.json": {"app_id": "x", "allowed_request_origins": ["https://*.example.com"]}},
        "allowed_request_origins: 'https://*.example.com': Use an origin such as https://app.example.com,",
    ),
    "an origin with a path": (
        {"stitch.json": {"app_id": "x", "allowed_request_origins": ["https://example.com/a"]}},
        "allowed_request_origins: 'https://example.com/a': Use an origin such as https://app.example.com,",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_breaks_a_rule_changes_nothing(db, name):
    project = imported(STITCH)
    before = row_counts(), state_of(project, *Application.objects.all(), project.realm_app)
    files, reason = WRONG[name]

    with pytest.raises(InvalidRealmFiles) as refused:
        imported({**BASE, **files}, strategy="replace")

    assert refused.value.message.startswith(reason)
    assert (row_counts(), state_of(project, *Application.objects.all(), project.realm_app)) == before


# --- what cannot be trusted -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil.json", "../evil.json: A path that leads out of the directory is refused."),
        ("auth_providers/../../evil.json", "auth_providers/../../evil.json: A path that leads out"),
        ("..", "..: A path that leads out"),
        ("a\\..\\evil.json", "a\\\\..\\\\evil.json: A path that leads out"),
        ("/etc/passwd", "/etc/passwd: Absolute paths are refused."),
        ("C:/evil.json", "C:/evil.json: Absolute paths are refused."),
        ("a//b", "a//b: This is no name of a file."),
        ("a\nb", "a\\nb: This is no name of a file."),
    ],
)
def test_zip_slip_is_refused(name, reason):
    with pytest.raises(InvalidRealmFiles) as refused:
        read_zip(zipped({**STITCH, name: b"{}"}))

    assert refused.value.message.startswith(reason)


def test_links_in_a_zip_and_in_a_folder_are_refused(tmp_path):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("stitch.json", "{}")
        link = zipfile.ZipInfo("auth_providers/anon-user.json")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    (tmp_path / "secret").write_text("{}")
    folder = write(tmp_path / "app", STITCH)
    (folder / "auth_providers/link.json").symlink_to(tmp_path / "secret")

    for read in (lambda: read_zip(target.getvalue()), lambda: read_directory(folder)):
        with pytest.raises(InvalidRealmFiles, match=r"auth_providers/.*\.json: Symbolic links are refused\."):
            read()


def test_a_pipe_is_refused_and_nobody_waits_for_it(tmp_path):
    os.mkfifo(write(tmp_path, BASE) / "stitch.txt")

    with pytest.raises(InvalidRealmFiles, match=r"stitch\.txt: This is no ordinary file\."):
        read_directory(tmp_path)


def test_a_bomb_is_refused_unread(tmp_path):
    bomb = {**BASE, "functions/bomb.js": b"\0" * (realm_sources.FILE_MAX + 1)}

    for read in (lambda: read_zip(zipped(bomb)), lambda: read_directory(write(tmp_path, bomb))):
        with pytest.raises(InvalidRealmFiles) as refused:
            read()
        assert refused.value.message == "functions/bomb.js: The file is larger than 1 MiB."


def test_an_entry_that_lies_about_its_size_is_refused():
    content = zipped({**BASE, "functions/bomb.js": b"\0" * (realm_sources.FILE_MAX + 1)})
    size = (realm_sources.FILE_MAX + 1).to_bytes(4, "little")
    assert content.count(size) == 2  # beside the file, and in the list at the end

    with pytest.raises(InvalidRealmFiles):
        read_zip(content.replace(size, (7).to_bytes(4, "little")))


def test_many_files_and_many_bytes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(realm_sources, "ENTRIES_MAX", 3)
    for read in (lambda: read_zip(zipped(STITCH)), lambda: read_directory(write(tmp_path, STITCH))):
        with pytest.raises(InvalidRealmFiles, match="more than 3"):
            read()
    monkeypatch.setattr(realm_sources, "ENTRIES_MAX", 100)
    monkeypatch.setattr(realm_sources, "TOTAL_MAX", 100)
    for read in (lambda: read_zip(zipped(STITCH)), lambda: read_directory(tmp_path)):
        with pytest.raises(InvalidRealmFiles, match="All files together are larger than"):
            read()


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip", zipped(STITCH)[:-30], zipped(STITCH)[40:]])
def test_what_is_no_zip_is_refused(content):
    with pytest.raises(InvalidRealmFiles, match="The ZIP file cannot be read"):
        read_zip(content)


def test_packages_hosted_files_and_what_is_hidden_are_not_read(tmp_path):
    rest = {
        "functions/node_modules/x/index.js": b"\xff",
        "functions/node_modules.tar.gz": b"\xff",
        "hosting/files/video.mp4": b"\xff",
        ".git/config": b"\xff",
        "__MACOSX/._stitch.json": b"\xff",
    }

    assert read_directory(write(tmp_path, {**BASE, **rest})) == read_zip(zipped({**BASE, **rest}))
    assert read_directory(tmp_path).files == {}


@pytest.mark.parametrize("document", [[], None, 1, "x", {"auth_providers": {}}, {"auth": []}, {"x": object()}])
def test_a_folded_document_of_another_shape_is_refused(document):
    with pytest.raises(InvalidRealmFiles, match="import"):
        read_document(document)


# --- export -----------------------------------------------------------------------------------------


def test_an_export_is_of_the_generation_that_was_imported_or_of_any_other(db):
    imported(STITCH)

    assert sorted(export_files("shop")) == [
        "auth_providers/anon-user.json",
        "auth_providers/local-userpass.json",
        "auth_providers/oauth2-google.json",
        "functions/hello/config.json",
        "functions/hello/source.js",
        "stitch.json",
    ]
    assert "config.json" in export_files("shop", version=20200603)
    newest = export_files("shop", version=20210101)
    assert sorted(newest) == ["auth/custom_user_data.json", "auth/providers.json", "realm_config.json"]
    assert json.loads(newest["realm_config.json"])["allowed_request_origins"] == ["https://shop.example.com"]
    with pytest.raises(InvalidRealmFiles, match="There is no generation 2"):
        export_files("shop", version=2)
    with pytest.raises(UnknownProject):
        export_files("nobody")


def test_ids_are_written_as_each_generation_has_them_and_not_into_a_template(db):
    imported(NEW)

    def anon(**options):
        return json.loads(export_files("shop", **options)["auth_providers/anon-user.json"])

    assert anon(version=20180301)["_id"] == anon(version=20200603)["id"] == ANON_ID
    assert anon(version=20200603, with_ids=False) == {"name": "anon-user", "type": "anon-user", "disabled": False}


def test_a_project_that_was_never_imported_is_exported_in_the_newest_generation(db):
    project = make_project("shop", realm_app_id="shop-abcde", realm_local_userpass=True, realm_auto_confirm=True)
    make_application(project, "shop-abcde")

    files = export_files("shop")

    assert json.loads(files["realm_config.json"]) == {
        "config_version": 20210101,
        "app_id": "shop-abcde",
        "name": "shop",
        "allowed_request_origins": [],
    }
    providers = json.loads(files["auth/providers.json"])
    assert [(kind, provider["disabled"]) for kind, provider in providers.items()] == [
        ("anon-user", False),
        ("local-userpass", False),
    ]
    assert providers["local-userpass"]["config"] == {"autoConfirm": True}
    assert plan_import(read_zip(zip_of(files)), slug="shop").changes == ()


def test_a_written_folder_is_read_as_the_zip_is(db, tmp_path):
    imported(STITCH)
    files = export_files("shop")

    write_folder(files, tmp_path / "out")

    assert read_directory(tmp_path / "out") == read_zip(zip_of(files)) == directory_of(Project.objects.get())
    assert zip_of(files) == zip_of(dict(reversed(files.items())))
    with pytest.raises(InvalidRealmFiles, match="There is something already"):
        write_folder(files, tmp_path / "out")
    write_folder(files, tmp_path / "out", overwrite=True)


def test_writing_follows_no_link(db, tmp_path):
    imported(STITCH)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/auth_providers").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(InvalidRealmFiles, match="Symbolic links are not followed"):
        write_folder(export_files("shop"), tmp_path / "out", overwrite=True)

    assert list((tmp_path / "elsewhere").iterdir()) == []


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
keys = st.text("abcdefghijklmnop_", min_size=1, max_size=8).map("x{}".format)
leaves = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | texts
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))
object_ids = st.text("0123456789abcdef", min_size=24, max_size=24)
urls = st.sampled_from(["", "https://shop.example.com/confirm", "http://localhost:3000/reset?x=1"])


@st.composite
def directories(draw):
    """Any app directory in its plain form: what has a setting of ours is said, and all else may be anything."""
    ids = draw(st.lists(object_ids, min_size=4, max_size=4, unique=True))
    more = st.dictionaries(keys, values, max_size=2)
    config = {"autoConfirm": draw(st.booleans())} | draw(more)
    config |= {key: url for key in ("emailConfirmationUrl", "resetPasswordUrl") if (url := draw(urls))}
    providers = {"anon-user": {"disabled": draw(st.booleans())} | draw(more)}
    if draw(st.booleans()):
        providers["local-userpass"] = {"disabled": draw(st.booleans()), "config": config} | draw(more)
    if draw(st.booleans()):
        providers["api-key"] = {"disabled": draw(st.booleans())}
    if draw(st.booleans()):
        providers["oauth2-google"] = {"disabled": True, "config": draw(more)}
    version, root_name = draw(
        st.sampled_from(
            [
                (20180301, "stitch.json"),
                (20180302, "stitch.json"),
                (20200603, "config.json"),
                (20210101, "realm_config.json"),
                (20210101, "root_config.json"),
            ]
        )
    )
    origins = draw(st.lists(st.sampled_from(["https://a.example.com", "http://localhost:3000"]), unique=True))
    return RealmDirectory(
        version=version,
        root_name=root_name,
        app_id=draw(st.from_regex(r"[a-z]{1,8}-[a-z]{5}", fullmatch=True)),
        allowed_origins=tuple(origins),
        providers={
            kind: {"type": kind, "_id": id} | provider
            for id, (kind, provider) in zip(ids, providers.items(), strict=False)
        },
        root={"name": draw(texts)} | draw(more),
        custom_user_data=draw(st.none() | more),
        files=draw(st.dictionaries(st.from_regex(r"functions/[a-z]{1,5}\.js", fullmatch=True), texts, max_size=2)),
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(directory=directories())
def test_what_is_written_is_read_as_it_was(directory):
    files = files_of(directory)

    assert read_zip(zip_of(files)) == directory
    assert files_of(read_zip(zip_of(files))) == files
    folded = read_document(json.loads(json.dumps(fold(directory))))
    assert (folded.providers, folded.root) == (directory.providers, directory.root)


@settings(
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(directory=directories())
def test_the_round_trip_through_the_database_loses_nothing_byte_by_byte(db, directory):
    Project.objects.all().delete()

    apply_import(directory, slug="shop", strategy="replace")
    files = export_files("shop")
    assert read_zip(zip_of(files)) == directory
    assert plan_import(read_zip(zip_of(files)), slug="shop", strategy="replace").words == []

    Project.objects.all().delete()
    apply_import(read_zip(zip_of(files)), slug="shop", strategy="replace")
    assert export_files("shop") == files


# --- the project file -------------------------------------------------------------------------------


def test_a_project_file_names_an_app_id_of_one_of_its_applications():
    text = '[project]\nid = "shop"\n[project.realm]\napp_id = "shop-abcde"\n'

    with pytest.raises(InvalidProjectFile) as refused:
        parse_project_file(text.encode(), "shop.toml")

    reason = 'shop.toml: project.realm.app_id: "shop-abcde" is the client_id of none of the applications.'
    assert refused.value.message == reason
    parse_project_file(f'{text}[[applications]]\nclient_id = "shop-abcde"\ntype = "spa"\n'.encode(), "shop.toml")


def test_an_app_id_of_another_project_is_refused_with_its_name_and_nothing_changes(db):
    imported(NEW)
    text = export_project("shop").replace('id = "shop"', 'id = "other"', 1)
    before = row_counts()

    with pytest.raises(InvalidProjectFile) as refused:
        apply_project_file(parse_project_file(text.encode(), "other.toml"))

    reason = 'other.toml: project.realm.app_id: "shop-abcde" belongs to the project "shop".'
    assert (refused.value.message, row_counts()) == (reason, before)


def test_old_layouts_without_a_version_are_known_by_their_root_file():
    for name, files in (("stitch.json", STITCH), ("config.json", OLD)):
        root = {key: value for key, value in files[name].items() if key != "config_version"}
        assert read_zip(zipped({name: root})).generation == files[name]["config_version"]
