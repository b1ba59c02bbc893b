"""`manage.py anonusers_realm`: import, export, import-users."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.management import CommandError, call_command
from django.utils import timezone

from anonusers import proposals, realm_user_import
from anonusers.cleanup import clean_up
from anonusers.models import (
    AnonymousIdentity,
    Application,
    AuditEvent,
    EndUser,
    LoginID,
    Project,
    RealmApp,
    RealmIdentity,
    RealmUser,
    Session,
)
from anonusers.realm_files import plan_import
from portal import review
from portal.models import Draft
from tests.anonusers.app_directories import ANON, NEW, STITCH, write, zipped
from tests.cleaning import set_project
from tests.conftest import HOST, make_application, make_project, row_counts, state_of
from tests.people import regular_user

LETTERS = "nwlquagybvdoinonqaisntzi"


def realm(*args, **options):
    """What the command says, and what it warns of."""
    said, warned = StringIO(), StringIO()
    call_command("anonusers_realm", *args, stdout=said, stderr=warned, **options)
    return said.getvalue(), warned.getvalue()


@pytest.fixture
def shop(db):
    """A project whose app is that of the directories."""
    project = make_project("shop", realm_app_id="shop-abcde", realm_local_userpass=True)
    make_application(project, "shop-abcde", refresh_token_lifetime=315_360_000)
    return project


@pytest.fixture
def directory(tmp_path):
    return str(write(tmp_path / "app", NEW))


# --- import -----------------------------------------------------------------------------------------


def test_a_dry_run_shows_the_difference_and_changes_nothing(shop, directory):
    before = row_counts(), state_of(shop)

    said, _ = realm("import", directory, "--project", "shop", "--dry-run")

    assert "+ project.realm.confirmation_url" not in said
    assert "+ realm.config_version: 20210101" in said.splitlines()
    assert '~ project.realm.confirmation_url: "" -> "https://shop.example.com/confirm"' in said
    assert said.endswith("Dry run: nothing was changed.\n")
    assert (row_counts(), state_of(shop)) == before


def test_deploying_puts_it_into_effect_and_again_there_is_nothing_to_do(shop, directory):
    said, _ = realm("import", directory, "--project", "shop", "--deploy")
    again, _ = realm("import", directory, "--project", "shop", "--deploy")

    shop.refresh_from_db()
    assert shop.realm_reset_url == "https://shop.example.com/reset"
    assert said.endswith("Deployed: the changes are in effect.\n")
    assert again == "No changes.\n"


def test_a_zip_makes_a_new_project(db, tmp_path):
    path = tmp_path / "app.zip"
    path.write_bytes(zipped(STITCH))

    said, warned = realm("import", str(path), "--project", "shop", "--deploy", "--domain-id", "d" * 24)

    assert said.endswith("The project was made.\n")
    assert "Warning: auth_providers/oauth2-google.json: oauth2-google is recognised, not supported" in warned
    assert Project.objects.get().slug == "shop"
    assert RealmApp.objects.get().domain_id == "d" * 24


def test_without_deploy_the_changes_wait_in_the_portal(shop, directory):
    said, _ = realm("import", directory, "--project", "shop")

    shop.refresh_from_db()
    assert shop.realm_reset_url == ""
    drafted = Draft.objects.get().changes
    assert drafted.keys() == {"project"}
    assert drafted["project"]["realm_reset_url"] == {"old": "", "new": "https://shop.example.com/reset"}
    assert f"Changes that wait for review in the portal: {len(drafted['project'])}. None is in effect yet." in said
    assert list(AuditEvent.objects.filter(type__startswith="draft").values_list("type", "target")) == [
        ("draft.changed", "project")
    ]
    assert RealmApp.objects.get().provider_ids["anon-user"] == ANON["_id"]


def test_a_first_import_can_wait_for_review_too(db, directory, client):
    """Its application is made at once, and opens nothing of Realm before the draft is deployed."""
    project = make_project("shop")

    def location():
        return client.get("/api/client/v2.0/app/shop-abcde/location", HTTP_HOST=HOST).status_code

    said, _ = realm("import", directory, "--project", "shop")

    [application] = Application.objects.all()
    assert (application.client_id, application.refresh_token_idle_timeout) == ("shop-abcde", 90 * 86_400)
    assert "The application shop-abcde was made: a client ID waits in no draft." in said.splitlines()
    assert "Left out" not in said
    draft = Draft.objects.get()
    assert draft.changes["project"]["realm_app_id"] == {"old": "", "new": "shop-abcde"}
    assert (Project.objects.get().realm_app_id, location()) == ("", 404)
    assert "application.created" in AuditEvent.objects.values_list("type", flat=True)

    review.deploy(project, author=User.objects.create_user("olga"), expected=review.version_of(draft))

    assert (Project.objects.get().realm_app_id, location()) == ("shop-abcde", 200)
    again, _ = realm("import", directory, "--project", "shop")
    assert again == "No changes.\n"


def test_the_app_of_another_project_makes_no_application(db, directory):
    make_project("shop")
    make_project("other", "other.example.com", realm_app_id="shop-abcde")
    before = row_counts(), list(Draft.objects.all())

    with pytest.raises(CommandError, match='belongs to the project "other"'):
        realm("import", directory, "--project", "shop")

    assert (row_counts(), list(Draft.objects.all())) == before


def test_what_a_draft_cannot_hold_is_said_and_left_out(shop, directory, monkeypatch):
    """A host, say; of a directory of ours, which says none, by a file that says one."""
    plan_as_it_is = plan_import

    def plan_with_host(*args, **options):
        plan = plan_as_it_is(*args, **options)
        wanted = plan.project_file.project
        wanted = {**wanted, "domains": [*wanted["domains"], "more.example.com"]}
        return replace(plan, project_file=replace(plan.project_file, project=wanted))

    monkeypatch.setattr("anonusers.management.commands.anonusers_realm.plan_import", plan_with_host)
    said, _ = realm("import", directory, "--project", "shop")

    assert said.splitlines()[-3:] == [
        "Left out, since a draft can hold neither hosts nor new applications:",
        "  project.domains",
        "Use --deploy for these.",
    ]
    assert not Project.objects.get().domains.filter(domain="more.example.com").exists()


def test_without_a_portal_or_for_a_new_project_nothing_can_wait(shop, directory, monkeypatch):
    before = row_counts()
    with pytest.raises(CommandError, match="a new project cannot wait for a review"):
        realm("import", directory, "--project", "new", "--app-id", "new-abcde")
    monkeypatch.setattr(proposals, "_registered", [])
    with pytest.raises(CommandError, match="there is no portal to review it in"):
        realm("import", directory, "--project", "shop")

    assert row_counts() == before


def test_a_malformed_directory_ends_with_file_and_reason_and_changes_nothing(shop, tmp_path):
    path = write(tmp_path / "app", {**NEW, "auth/providers.json": {"anon-user": {"type": "anon"}}})
    before = row_counts(), state_of(shop)

    with pytest.raises(CommandError, match=r"^auth/providers\.json: anon-user: type: The type 'anon' is unknown"):
        realm("import", str(path), "--project", "shop", "--deploy")
    with pytest.raises(CommandError, match="This is neither a directory nor a ZIP file"):
        realm("import", str(tmp_path / "nowhere"), "--project", "shop", "--deploy")
    with pytest.raises(CommandError, match="--domain-id"):
        realm("import", str(path), "--project", "shop", "--domain-id", "x")

    assert (row_counts(), state_of(shop)) == before


# --- export -----------------------------------------------------------------------------------------


def test_an_export_is_a_folder_or_a_zip_that_can_be_imported_again(shop, directory, tmp_path):
    realm("import", directory, "--project", "shop", "--deploy")

    said, _ = realm("export", str(tmp_path / "out"), "--project", "shop")
    realm("export", str(tmp_path / "out.zip"), "--project", "shop")

    assert said == "4 files written.\n"
    assert json.loads((tmp_path / "out/realm_config.json").read_text())["app_id"] == "shop-abcde"
    for source in ("out", "out.zip"):
        assert realm("import", str(tmp_path / source), "--project", "shop", "--deploy")[0] == "No changes.\n"
    for target in ("out", "out.zip"):
        with pytest.raises(CommandError, match="There is something already"):
            realm("export", str(tmp_path / target), "--project", "shop")
        realm("export", str(tmp_path / target), "--project", "shop", "--overwrite")
    realm("export", str(tmp_path / "old"), "--project", "shop", "--version", "20180301")
    assert (tmp_path / "old/stitch.json").exists()
    with pytest.raises(CommandError, match="There is no project with the id nobody"):
        realm("export", str(tmp_path / "x"), "--project", "nobody")


# --- import-users -----------------------------------------------------------------------------------


def user(number, *kinds, email="", **fields):
    """A user as the Admin API lists them."""
    object_id = f"{0x6B0061F8:08x}{number:016x}"
    identities = []
    for kind in kinds:
        identity = {"id": object_id, "provider_type": kind, "provider_id": "6b0061f87425bbf638dde74a"}
        if kind == "anon-user":
            identity["id"] = f"{object_id}-{LETTERS}"
        elif email:
            identity["provider_data"] = {"email": email}
        identities.append(identity)
    return {
        "_id": object_id,
        "identities": identities,
        "type": "normal",
        "creation_date": 1_600_000_000,
        "last_authentication_date": 1_700_000_000,
        "disabled": False,
        "data": {"email": email} if email else {},
    } | fields


GUEST = user(1, "anon-user")
ANNA = user(2, "local-userpass", "anon-user", email="Anna@Example.com")
BERT = user(3, "local-userpass", email="bert@example.com", disabled=True)
PEOPLE = [GUEST, ANNA, BERT]


@pytest.fixture
def users(tmp_path):
    def users(rows, *, lines=False, indent=None):
        path = tmp_path / "users.json"
        text = "\n".join(map(json.dumps, rows)) + "\n" if lines else json.dumps(rows, indent=indent)
        path.write_text(text)
        return str(path)

    return users


@pytest.mark.parametrize("form", [{"lines": True}, {"indent": 2}, {}])
def test_guests_and_regular_users_are_imported_with_their_ids(shop, users, form):
    said, warned = realm("import-users", users(PEOPLE, **form), "--project", "shop", "--domain-id", "d" * 24)

    assert (said, warned) == ("1 guests and 2 regular users imported.\n1 of them are disabled.\n", "")
    guest, anna, bert = (RealmUser.objects.get(object_id=row["_id"]).end_user for row in PEOPLE)
    assert guest.is_guest
    assert guest.created_at == guest.anonymous_identity.created_at == datetime.fromtimestamp(1_600_000_000, UTC)
    assert guest.user.date_joined == guest.created_at
    assert not guest.user.has_usable_password()
    assert guest.user.username.startswith("guest-")
    assert not anna.is_guest
    assert (anna.adopted_at is not None, anna.disabled_at, bert.disabled_at is not None) == (True, None, True)
    assert list(anna.login_ids.values_list("type", "value", "verified_at")) == [("email", "Anna@example.com", None)]
    assert anna.user.email == "Anna@example.com"
    assert not anna.user.has_usable_password()
    identities = anna.realm_identities.order_by("created_at", "pk")
    assert list(identities.values_list("provider_type", "identity_id", "data")) == [
        ("anon-user", f"{ANNA['_id']}-{LETTERS}", {}),
        ("local-userpass", ANNA["_id"], {"email": "Anna@example.com"}),
    ]
    assert Session.objects.count() == 0
    assert RealmApp.objects.get().domain_id == "d" * 24
    event = AuditEvent.objects.get(type="users.realm_imported")
    assert event.changes == {"guests": 1, "regular": 2, "verified": False}


def test_a_dry_run_counts_and_changes_nothing(shop, users):
    before = row_counts()

    said, _ = realm("import-users", users(PEOPLE), "--project", "shop", "--dry-run", "--domain-id", "d" * 24)

    assert said.startswith("1 guests and 2 regular users would be imported.\n")
    assert row_counts() == before


def test_importing_again_makes_nobody_twice(shop, users):
    realm("import-users", users(PEOPLE), "--project", "shop")
    before = row_counts()

    said, _ = realm("import-users", users([*PEOPLE, user(9, "anon-user")]), "--project", "shop")

    assert said == "1 guests and 0 regular users imported.\n3 were here already.\n"
    assert row_counts()["anonusers.EndUser"] == before["anonusers.EndUser"] + 1


def test_addresses_that_are_known_to_be_theirs_are_verified(shop, users):
    realm("import-users", users([ANNA]), "--project", "shop", "--verified")

    assert LoginID.objects.get().verified_at is not None


def test_rows_that_cannot_be_taken_are_named_by_line_and_the_others_come_in(shop, users):
    regular_user(Application.objects.get(), "taken@example.com")
    rows = [
        GUEST,
        GUEST,
        user(4, "local-userpass"),
        user(5, "local-userpass", email="no address"),
        user(6, "local-userpass", email="Taken@example.com"),
        {**user(7, "anon-user"), "identities": GUEST["identities"]},
        {**user(8, "anon-user"), "_id": "x"},
        {**user(8, "anon-user"), "type": "server"},
        {**user(8, "anon-user"), "identities": []},
        {**user(8, "anon-user"), "disabled": "no"},
        [],
        user(11, "oauth2-google"),
        user(12, "oauth2-google", email="carl@example.com"),
        user(13, "local-userpass", email="CARL@example.com"),
        {**user(14, "anon-user"), "data": {"x": "\0"}},
    ]
    path = users(rows, lines=True)
    with open(path, "a") as file:
        file.write("{no json\n\n" + json.dumps(user(20, "anon-user")) + "\n")

    said, warned = realm("import-users", path, "--project", "shop")

    assert said == "2 guests and 1 regular users imported.\n14 were left out.\n"
    assert warned.splitlines() == [
        "user 2, line 2: _id: It is that of user 1 already.",
        "user 3, line 3: There is no e-mail address, and nobody logs in here by local-userpass.",
        "user 4, line 4: email: This is no address that we can send to.",
        "user 5, line 5: email: Somebody has this address here.",
        "user 6, line 6: identities: One of them is that of user 1 already.",
        "user 7, line 7: _id: Use 24 lower-case hexadecimal digits.",
        "user 8, line 8: type: 'server' is no person.",
        "user 9, line 9: identities: This must be a list of 1 to 20.",
        "user 10, line 10: disabled: This must be true or false.",
        "user 11, line 11: user: This must be a JSON object.",
        "user 12, line 12: There is no e-mail address, and nobody logs in here by oauth2-google.",
        "user 14, line 14: email: It is that of user 13 already.",
        "user 15, line 15: user: A text has a NUL or half a character.",
        "user 16, line 16: This is not JSON.",
    ]
    assert RealmUser.objects.filter(imported_at__isnull=False).count() == 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "line 1: The file is neither a JSON list of users nor one user on each line."),
        ('{\n"users": []}', "line 1: The file is neither"),
        ("[{}", "line 1: The list does not end."),
        ("[\n{},\n{]", "line 3: This is not JSON."),
        ("[1]", "line 1: Each item of the list must be a JSON object."),
        ("[{}] x", "line 1: Something follows the end of the list."),
        ("\xff", "The file is not UTF-8."),
    ],
)
def test_a_broken_file_is_refused_before_anything_is_done(shop, tmp_path, content, reason):
    path = tmp_path / "users.json"
    path.write_bytes(content.encode("latin-1"))
    before = row_counts()

    with pytest.raises(CommandError) as refused:
        realm("import-users", str(path), "--project", "shop", "--domain-id", "d" * 24)

    assert reason in str(refused.value)
    assert row_counts() == before


def test_a_list_that_breaks_off_after_many_users_changes_nothing(shop, tmp_path):
    path = tmp_path / "users.json"
    path.write_text("[" + ",\n".join(json.dumps(user(number, "anon-user")) for number in range(700)) + ",\n")
    before = row_counts()

    with pytest.raises(CommandError, match="line 701: The list does not end"):
        realm("import-users", str(path), "--project", "shop")

    assert row_counts() == before


def test_many_users_come_in_batches(shop, users, django_assert_max_num_queries):
    path = users([user(number, "anon-user") for number in range(1100)], indent=1)

    said, _ = realm("import-users", path, "--project", "shop")

    assert said == "1,100 guests and 0 regular users imported.\n"
    assert EndUser.objects.count() == AnonymousIdentity.objects.count() == RealmIdentity.objects.count() == 1100


def test_a_project_without_an_app_imports_nobody(db, users):
    make_project("plain")

    with pytest.raises(CommandError, match=r"The project has no app ID \(realm.app_id\)"):
        realm("import-users", users(PEOPLE), "--project", "plain")
    with pytest.raises(CommandError, match="There is no project nobody"):
        realm("import-users", users(PEOPLE), "--project", "nobody")

    assert RealmUser.objects.count() == 0


def test_without_addresses_as_login_ids_only_guests_come_in(shop, users):
    set_project(shop, login_ids=[])

    said, warned = realm("import-users", users(PEOPLE), "--project", "shop")

    assert said == "1 guests and 0 regular users imported.\n2 were left out.\n"
    assert warned.startswith("user 2, line 1: Nobody logs in to this project by e-mail")


# --- the clean-up and who was imported ---------------------------------------------------------------


@pytest.mark.database
def test_an_imported_guest_is_not_removed_before_the_window_and_the_inactivity_are_over(shop, users):
    realm("import-users", users([GUEST]), "--project", "shop")
    set_project(shop, quarantine_days=0, guest_inactive_days=90)
    now = timezone.now()

    def removed(days, **fields):
        set_project(shop, **fields)
        return clean_up(shop, pause=0, now=now + timedelta(days=days)).counts.get("removed", 0)

    # They were made in 2020 and never had a session here.
    assert removed(0) == 0
    assert removed(89) == 0
    until = (now + timedelta(days=200)).isoformat(timespec="seconds")
    assert removed(199, realm_migration_until=until) == 0
    assert EndUser.objects.count() == 1
    assert removed(201) == 1
    assert (EndUser.objects.count(), RealmUser.objects.count(), RealmIdentity.objects.count()) == (0, 0, 0)


@pytest.mark.database
def test_without_a_window_they_go_when_the_days_of_inactivity_are_over(shop, users):
    realm("import-users", users([GUEST, ANNA]), "--project", "shop")
    set_project(shop, quarantine_days=0, guest_inactive_days=90)

    counts = clean_up(shop, pause=0, now=timezone.now() + timedelta(days=91)).counts

    assert counts.get("removed", 0) == 1
    assert RealmUser.objects.get().object_id == ANNA["_id"]  # a regular user stays for ever
    assert mail.outbox == []


def test_who_comes_in_by_another_door_at_this_moment_stops_nobody_else(shop, users, monkeypatch):
    look = realm_user_import._wanted

    def look_and_be_overtaken(project, *args):
        found = look(project, *args)
        RealmUser.objects.create(
            project=project, object_id=GUEST["_id"], end_user=regular_user(Application.objects.get())
        )
        return found

    monkeypatch.setattr(realm_user_import, "_wanted", look_and_be_overtaken)

    said, warned = realm("import-users", users([GUEST, BERT]), "--project", "shop")

    assert said == "0 guests and 1 regular users imported.\n1 of them are disabled.\n1 were left out.\n"
    assert warned == "user 1, line 1: Somebody took its id, its identity or its address at this moment.\n"
    assert RealmUser.objects.get(object_id=BERT["_id"]).end_user.user.email == "bert@example.com"
