import hashlib
import re
import tomllib
from pathlib import Path

import pytest
import tomli_w
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anonusers import project_file, project_keys
from anonusers.budgets import read_budget
from anonusers.errors import InvalidProjectFile, UnknownProject
from anonusers.keys import create_keys
from anonusers.limits import parse_budget
from anonusers.models import Application, EndUser, Project, ProjectDomain, Session, SigningKey
from anonusers.models.projects import LIFETIME_MAX
from anonusers.project_file import (
    Change,
    apply_project_file,
    compare,
    difference,
    document_of,
    export_project,
    parse_project_file,
    read_project_file,
)
from anonusers.project_keys import APPLICATION, PROJECT

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ROOT = Path(__file__).parents[2]
MINIMAL = '[project]\nid = "guestbook"\n'
WEB = MINIMAL + '[[applications]]\nclient_id = "web"\ntype = "spa"\n'
MOBILE = '[[applications]]\nclient_id = "mobile"\ntype = "native"\n'
STORED = (
    '[project]\nid = "guestbook"\nname = "Guests"\ndomains = ["a.example", "b.example"]\n'
    "[project.anonymous_users]\nenabled = true\n"
    "[project.session]\nlifetime = 3600\n"
    '[[applications]]\nclient_id = "web"\ntype = "spa"\nname = "Web"\naccess_token_lifetime = 600\n'
    'redirect_uris = ["https://web.example/back"]\n' + MOBILE
)


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    """RSA keys take their time; one test below makes real ones."""
    monkeypatch.setattr(project_file, "create_keys", lambda project: None)


@pytest.fixture
def write(tmp_path):
    def write(content, name="project.toml"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def apply(write):
    return lambda content: apply_project_file(read_project_file(write(content)))


@pytest.fixture
def stored(apply):
    """A project in the database, a guest's session in its application `mobile`, and a second project."""
    other = Project.objects.create(slug="other", name="Other")
    ProjectDomain.objects.create(project=other, domain="other.example")
    project = apply(STORED).project
    sign_in(project.applications.get(client_id="mobile"))
    return project


def sign_in(application):
    user = get_user_model().objects.create(username=f"guest-{EndUser.objects.count()}")
    now = timezone.now()
    return Session.objects.create(
        project=application.project,
        application=application,
        end_user=EndUser.objects.create(project=application.project, user=user),
        kind=Session.Kind.TOKEN,
        refresh_hash="0" * 64,
        created_at=now,
        last_used_at=now,
    )


def everything():
    """All rows that an apply could touch, with all their values."""
    tables = (Project, ProjectDomain, Application, Session, EndUser, SigningKey)
    return {table.__name__: list(table.objects.order_by("pk").values()) for table in tables}


def writes(queries):
    return [query["sql"] for query in queries if re.match(r"\s*(INSERT|UPDATE|DELETE|REPLACE)", query["sql"])]


# Reading


def test_a_minimal_file_means_the_defaults_of_the_models(write):
    file = read_project_file(write(WEB))

    assert file.project == {
        "slug": "guestbook",
        "name": "guestbook",
        "domains": [],
        "allowed_origins": [],
        "anonymous_users_enabled": False,
        "promotion_conflict": "error",
        "retired_device_keys": "new_guest",
        "login_ids": [],
        "verify": [],
        "session_lifetime": 31_449_600,
        "session_idle_timeout_enabled": True,
        "session_idle_timeout": 2_592_000,
        "session_persistent_cookie": True,
        "guest_inactive_days": 90,
        "quarantine_days": 7,
        "session_history_days": 30,
        "retired_key_days": 730,
        "removals_per_run": 100_000,
        "removals_percent": 50,
        "signup_per_ip": "",
        "signup_per_application": "",
        "signup_per_project_day": "",
        "bot_check_per_ip": "",
        "unlimited_networks": [],
        "limits_store_down": "go_on",
        "realm_app_id": "",
        "realm_local_userpass": False,
        "realm_auto_confirm": False,
        "realm_confirmation_url": "",
        "realm_reset_url": "",
        "realm_migration_until": "",
        "realm_adopt_guests": False,
    }
    assert file.applications == (
        {
            "client_id": "web",
            "name": "web",
            "type": "spa",
            "framework": "",
            "redirect_uris": [],
            "post_logout_redirect_uris": [],
            "access_token_lifetime": 1800,
            "refresh_token_lifetime": 31_449_600,
            "refresh_token_idle_timeout_enabled": True,
            "refresh_token_idle_timeout": 2_592_000,
            "refresh_token_rotation_enabled": True,
            "dpop_enabled": True,
            "issue_jwt_access_token": True,
            "id_token_signed_response_alg": "RS256",
            "max_concurrent_sessions": 0,
        },
    )


def test_the_refresh_token_lives_by_default_at_least_as_long_as_the_access_token(write):
    file = read_project_file(write(WEB + "access_token_lifetime = 40_000_000\n"))

    assert file.applications[0]["refresh_token_lifetime"] == 40_000_000


def test_the_framework_goes_there_and_back(apply):
    project = apply(WEB + 'framework = "react"\n').project

    assert project.applications.get().framework == "react"
    assert tomllib.loads(export_project("guestbook"))["applications"][0]["framework"] == "react"
    assert [str(change) for change in apply(WEB).changes] == ['~ applications["web"].framework: "react" -> ""']


def test_the_digest_is_of_the_files_bytes(write):
    content = ("\ufeff" + WEB.replace("\n", "\r\n")).encode()

    assert read_project_file(write(content)).digest == hashlib.sha256(content).hexdigest()


def test_a_text_is_read_as_its_file_is(write):
    path = write(STORED)

    assert parse_project_file(STORED.encode(), str(path)) == read_project_file(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\xff", "is not TOML in UTF-8"), (b"[project", "is not TOML"), (b'[project]\nid = "a b"', "project.id: ")],
)
def test_a_bad_text_is_refused_with_its_name(content, reason):
    with pytest.raises(InvalidProjectFile, match=reason) as refused:
        parse_project_file(content, "#7")

    assert refused.value.message.startswith("#7: ")


def test_reading_does_not_ask_the_database(write, django_assert_num_queries):
    path = write(STORED)

    with django_assert_num_queries(0):
        read_project_file(path)


def test_the_values_at_the_bounds_are_allowed(apply):
    applied = apply(
        MINIMAL
        + f"[project.session]\nlifetime = 60\nidle_timeout = {LIFETIME_MAX}\n"
        + "[project.retention]\nguest_inactive_days = 3650\nremovals_per_run = 1_000_000_000\nremovals_percent = 100\n"
        + '[[applications]]\nclient_id = "m"\ntype = "m2m"\naccess_token_lifetime = 2419200\n'
        + f"refresh_token_lifetime = {LIFETIME_MAX}\nmax_concurrent_sessions = 1\n"
        + '[[applications]]\nclient_id = "u"\ntype = ""\naccess_token_lifetime = 300\nrefresh_token_lifetime = 300\n'
    )

    assert applied.project.session_lifetime == 60
    assert applied.project.guest_inactive_days == 3650
    assert [app.access_token_lifetime for app in applied.project.applications.order_by("client_id")] == [2419200, 300]


BAD = [
    # unknown keys, at any level
    ('colour = "red"\n' + MINIMAL, "colour", "Unknown key."),
    (MINIMAL + 'colour = "red"\n', "project.colour", "Unknown key."),
    (MINIMAL + "[project.sesion]\nlifetime = 60\n", "project.sesion", "Unknown key. Did you mean session?"),
    (MINIMAL + "[project.session]\nlifetimes = 60\n", "project.session.lifetimes", "Did you mean lifetime?"),
    (MINIMAL + '"session.lifetime" = 60\n', 'project."session.lifetime"', "Unknown key."),
    (MINIMAL + "session_lifetime = 60\n", "project.session_lifetime", "Unknown key."),
    (MINIMAL + "keys_version = 7\n", "project.keys_version", "Unknown key."),
    (MINIMAL + '"a\\u0000b" = 7\n', 'project."a\\u0000b"', "Unknown key."),
    (WEB + 'secret = "s"\n', 'applications[0].secret (client_id "web")', "Unknown key."),
    (WEB + "project = 1\n", 'applications[0].project (client_id "web")', "Unknown key."),
    (WEB + "[applications.session]\nx = 1\n", 'applications[0].session (client_id "web")', "Unknown key."),
    # missing keys
    ("", "project.id", "This key is required."),
    ('[project]\nname = "G"\n', "project.id", "This key is required."),
    (MINIMAL + '[[applications]]\ntype = "spa"\n', "applications[0].client_id", "This key is required."),
    (WEB + '[[applications]]\nclient_id = "b"\n', 'applications[1].type (client_id "b")', "This key is required."),
    # wrong types
    ("project = 1\n", "project", "This must be a table."),
    ("[[project]]\n", "project", "This must be a table."),
    (MINIMAL + "session = 60\n", "project.session", "This must be a table."),
    (MINIMAL + "[applications]\n", "applications", "[[applications]]"),
    ("applications = [1]\n" + MINIMAL, "applications[0]", "This must be a table."),
    ("[project]\nid = 7\n", "project.id", "This must be a string."),
    (MINIMAL + 'domains = "a.example"\n', "project.domains", "This must be a list of strings."),
    (MINIMAL + "domains = [1]\n", "project.domains[0]", "This must be a string."),
    (MINIMAL + "[project.anonymous_users]\nenabled = 1\n", "project.anonymous_users.enabled", "true or false"),
    (MINIMAL + '[project.anonymous_users]\nenabled = "true"\n', "project.anonymous_users.enabled", "true or false"),
    (MINIMAL + "[project.session]\nlifetime = true\n", "project.session.lifetime", "a whole number"),
    (MINIMAL + "[project.session]\nlifetime = 3600.0\n", "project.session.lifetime", "a whole number"),
    (MINIMAL + "[project.session]\nlifetime = nan\n", "project.session.lifetime", "a whole number"),
    (MINIMAL + '[project.session]\nlifetime = "60"\n', "project.session.lifetime", "a whole number"),
    (MINIMAL + "[project.session]\nlifetime = 2026-01-01\n", "project.session.lifetime", "a whole number"),
    (WEB + "framework = 1\n", 'applications[0].framework (client_id "web")', "a string"),
    (WEB + f'framework = "{"f" * 31}"\n', 'applications[0].framework (client_id "web")', "at most 30 characters"),
    (WEB + "redirect_uris = [[]]\n", 'applications[0].redirect_uris[0] (client_id "web")', "a string"),
    ('[[applications]]\nclient_id = 1\ntype = "spa"\n' + MINIMAL, "applications[0].client_id", "a string"),
    # out of range
    ('[project]\nid = ""\n', "project.id", "cannot be blank"),
    ('[project]\nid = "a b"\n', "project.id", "valid “slug”"),
    (f'[project]\nid = "{"a" * 51}"\n', "project.id", "at most 50 characters"),
    (MINIMAL + f'name = "{"n" * 101}"\n', "project.name", "at most 100 characters"),
    (MINIMAL + 'name = ""\n', "project.name", "cannot be blank"),
    (MINIMAL + "[project.session]\nlifetime = 59\n", "project.session.lifetime", "greater than or equal to 60"),
    (MINIMAL + "[project.session]\nlifetime = -1\n", "project.session.lifetime", "greater than or equal to 60"),
    (
        MINIMAL + f"[project.session]\nidle_timeout = {LIFETIME_MAX + 1}\n",
        "project.session.idle_timeout",
        "less than or equal to 315360000",
    ),
    (
        MINIMAL + f"[project.session]\nlifetime = 1{'0' * 40}\n",
        "project.session.lifetime",
        "less than or equal to 315360000",
    ),
    (
        MINIMAL + "[project.retention]\nguest_inactive_days = -1\n",
        "project.retention.guest_inactive_days",
        "greater than or equal to 0",
    ),
    (
        MINIMAL + "[project.retention]\nguest_inactive_days = 3651\n",
        "project.retention.guest_inactive_days",
        "less than or equal to 3650",
    ),
    *(
        (MINIMAL + f"[project.retention]\n{key} = {value}\n", f"project.retention.{key}", reason)
        for key, value, reason in (
            ("quarantine_days", 366, "less than or equal to 365"),
            ("quarantine_days", -1, "greater than or equal to 0"),
            ("session_history_days", 3651, "less than or equal to 3650"),
            ("retired_key_days", 3651, "less than or equal to 3650"),
            ("removals_per_run", 0, "greater than or equal to 1"),
            ("removals_per_run", 1_000_000_001, "less than or equal to 1000000000"),
            ("removals_per_run", 10**40, "less than or equal to 1000000000"),
            ("removals_percent", 0, "greater than or equal to 1"),
            ("removals_percent", 101, "less than or equal to 100"),
            ("removals_percent", "true", "This must be a whole number."),
            ("guest_days", 1, "Unknown key."),
        )
    ),
    *(
        (MINIMAL + f"[project.limits]\n{key} = {value}\n", f"project.limits.{key}", reason)
        for key in ("signup_per_ip", "signup_per_application", "signup_per_project_day", "bot_check_per_ip")
        for value, reason in (
            ('"60"', '"60": Use N/s, N/m, N/h or N/d, such as 60/m for 60 a minute, or off.'),
            ('"0/m"', '"0/m": Use N/s'),
            ('"-1/m"', '"-1/m": Use N/s'),
            ('"60/w"', '"60/w": Use N/s'),
            ('"60/minute"', '"60/minute": Use N/s'),
            ('"OFF"', '"OFF": Use N/s'),
            ('" "', '" ": Use N/s'),
            ('"\u0663/m"', "Use N/s"),
            (f'"{"1" * 19}/m"', "at most 20 characters"),
            ('"1/m\\u0000"', "NUL characters"),
            ("60", "This must be a string."),
        )
    ),
    *(
        (
            MINIMAL + f"[project.limits]\nunlimited_networks = {value}\n",
            f"project.limits.unlimited_networks{at}",
            reason,
        )
        for value, at, reason in (
            ('"192.0.2.0/24"', "", "This must be a list of strings."),
            ('["school"]', "[0]", '"school": Use a network such as 192.0.2.0/24'),
            ('["192.0.2.1", "192.0.2.1/24"]', "[1]", '"192.0.2.1/24": Use a network such as'),
            ('["::ffff:192.0.2.0/120"]', "[0]", "as IPv4"),
            ('["192.0.2.0/24 tomorrow"]', "[0]", "2026-12-01T08:00Z/2026-12-01T18:00Z"),
            ('["192.0.2.0/24 2026-12-01T08:00/2026-12-01T18:00"]', "[0]", "time zone"),
            ('["192.0.2.0/24 2026-12-01T18:00Z/2026-12-01T08:00Z"]', "[0]", "not after"),
            ('["192.0.2.1", "192.0.2.1"]', "[1]", "stands here twice"),
            (f'["{"1" * 151}"]', "[0]", "Use at most 150 characters."),
            (str([f"10.0.{n}.0/24" for n in range(101)]), "", "List at most 100 networks."),
        )
    ),
    (MINIMAL + '[project.limits]\nstore_down = "goon"\n', "project.limits.store_down", 'Use one of: "go_on", "stop".'),
    (
        MINIMAL + "[project.limits]\nlimits_store_down = 1\n",
        "project.limits.limits_store_down",
        "Did you mean store_down",
    ),
    (
        MINIMAL + '[project.anonymous_users]\npromotion_conflict = "merge"\n',
        "project.anonymous_users.promotion_conflict",
        'Use one of: "error", "login".',
    ),
    *(
        (
            MINIMAL + f"[project.anonymous_users]\nretired_device_keys = {value}\n",
            "project.anonymous_users.retired_device_keys",
            reason,
        )
        for value, reason in (
            ('"New_guest"', 'Use one of: "new_guest", "refuse".'),
            ('""', 'Use one of: "new_guest", "refuse".'),
            ('"refuse\\u0000"', "NUL characters"),
            ("true", "This must be a string."),
        )
    ),
    (
        MINIMAL + '[project.anonymous_users]\nretired_device_key = "refuse"\n',
        "project.anonymous_users.retired_device_key",
        "Unknown key. Did you mean retired_device_keys?",
    ),
    (
        WEB + MOBILE + "access_token_lifetime = 299\n",
        'applications[1].access_token_lifetime (client_id "mobile")',
        "greater than or equal to 300",
    ),
    (
        WEB + "refresh_token_lifetime = 1799\n",
        'applications[0].refresh_token_lifetime (client_id "web")',
        "greater than or equal to the access token lifetime",
    ),
    (
        MINIMAL + '[[applications]]\nclient_id = "m"\ntype = "m2m"\naccess_token_lifetime = 2419201\n',
        'applications[0].access_token_lifetime (client_id "m")',
        "at most 2419200 seconds",
    ),
    (
        WEB + "refresh_token_idle_timeout = 0\n",
        'applications[0].refresh_token_idle_timeout (client_id "web")',
        "greater than or equal to 60",
    ),
    (
        WEB + "max_concurrent_sessions = 2\n",
        'applications[0].max_concurrent_sessions (client_id "web")',
        "less than or equal to 1",
    ),
    (
        WEB + 'id_token_signed_response_alg = "HS256"\n',
        'applications[0].id_token_signed_response_alg (client_id "web")',
        'Use one of: "RS256", "ES256".',
    ),
    (WEB.replace('"spa"', '"web"'), 'applications[0].type (client_id "web")', 'Use one of: "spa", '),
    (WEB + 'name = ""\n', 'applications[0].name (client_id "web")', "cannot be blank"),
    (WEB.replace('"web"', '"a b"'), 'applications[0].client_id (client_id "a b")', "visible ASCII"),
    (WEB.replace('"web"', '""'), 'applications[0].client_id (client_id "")', "cannot be blank"),
    # lists
    (MINIMAL + '[project.sign_in]\nlogin_ids = ["mail"]\n', "project.sign_in.login_ids[0]", 'Use one of: "email"'),
    (
        MINIMAL + '[project.sign_in]\nlogin_ids = ["email", "email"]\n',
        "project.sign_in.login_ids[1]",
        '"email" stands here twice.',
    ),
    (
        MINIMAL + '[project.sign_in]\nlogin_ids = ["username"]\nverify = ["username"]\n',
        "project.sign_in.verify[0]",
        'Use one of: "email", "phone".',
    ),
    (
        MINIMAL + '[project.sign_in]\nlogin_ids = ["email"]\nverify = ["phone"]\n',
        "project.sign_in.verify",
        '"phone" is not in login_ids.',
    ),
    (MINIMAL + 'domains = ["b.example", "A.example"]\n', "project.domains[1]", '"A.example": Use a host name'),
    (MINIMAL + 'domains = ["a.example:8000"]\n', "project.domains[0]", "without port"),
    (MINIMAL + 'domains = ["a.example", "a.example"]\n', "project.domains[1]", "stands here twice"),
    (MINIMAL + 'domains = ["other.example"]\n', "project.domains", 'belongs to the project "other"'),
    (MINIMAL + 'allowed_origins = ["https://a.example/"]\n', "project.allowed_origins[0]", "without path"),
    (MINIMAL + 'allowed_origins = ["*"]\n', "project.allowed_origins[0]", "Use an origin"),
    (MINIMAL + 'allowed_origins = ["https://[::1"]\n', "project.allowed_origins[0]", "Use an origin"),
    (
        WEB + 'redirect_uris = ["https://a.example/#x"]\n',
        'applications[0].redirect_uris[0] (client_id "web")',
        "no fragment",
    ),
    (
        WEB + 'redirect_uris = ["https://a.example/", "/back"]\n',
        'applications[0].redirect_uris[1] (client_id "web")',
        "absolute URI",
    ),
    (
        WEB + 'post_logout_redirect_uris = ["javascript:alert(1)"]\n',
        'applications[0].post_logout_redirect_uris[0] (client_id "web")',
        "This scheme is not allowed",
    ),
    (
        WEB + 'redirect_uris = ["https://[::1"]\n',
        'applications[0].redirect_uris[0] (client_id "web")',
        "not valid",
    ),
    (
        WEB + 'redirect_uris = ["https://a.example/", "https://a.example/"]\n',
        'applications[0].redirect_uris[1] (client_id "web")',
        "stands here twice",
    ),
    (WEB + MOBILE + WEB.removeprefix(MINIMAL), 'applications[2].client_id (client_id "web")', "Another application"),
    # NUL characters
    (MINIMAL + 'name = "a\\u0000b"\n', "project.name", "NUL characters"),
    (MINIMAL + 'domains = ["a\\u0000b"]\n', "project.domains[0]", "NUL characters"),
    (
        WEB.replace('"web"', '"w\\u0000"'),
        'applications[0].client_id (client_id "w\\u0000")',
        "NUL characters",
    ),
    # not such a file at all
    (MINIMAL + "name = \n", "The file is not TOML in UTF-8", "line 3"),
    (MINIMAL + MINIMAL, "The file is not TOML in UTF-8", "line 3"),
    (MINIMAL + "name = 'a'\nname = 'b'\n", "The file is not TOML in UTF-8", "line 4"),
    (MINIMAL + "name = 'a\0'\n", "The file is not TOML in UTF-8", "line 3"),
    (MINIMAL + f"x = {'[' * 5000}\n", "The file is not TOML in UTF-8", "recursion"),
    (MINIMAL + f"x = {'9' * 5000}\n", "The file is not TOML in UTF-8", "4300 digits"),
    (MINIMAL.encode("utf-16"), "The file is not TOML in UTF-8", "can't decode byte"),
    (MINIMAL.encode() + b"name = 'G\xe4ste'\n", "The file is not TOML in UTF-8", "can't decode byte"),
]


@pytest.mark.parametrize(("content", "key", "reason"), BAD, ids=[f"{n}-{bad[1]}" for n, bad in enumerate(BAD)])
def test_a_bad_file_is_refused_with_its_name_and_key_and_nothing_changes(stored, write, content, key, reason):
    before = everything()
    path = write(content)

    with pytest.raises(InvalidProjectFile) as refused:
        apply_project_file(read_project_file(path))

    assert refused.value.message.startswith(f"{path}: {key}: ")
    assert reason in refused.value.message.removeprefix(f"{path}: {key}: ")
    assert everything() == before


@pytest.mark.parametrize(("name", "reason"), [("missing.toml", "No such file"), ("", "Is a directory")])
def test_a_file_that_cannot_be_read_is_refused(stored, tmp_path, name, reason):
    before = everything()

    with pytest.raises(InvalidProjectFile, match=f"The file cannot be read: {reason}") as refused:
        read_project_file(tmp_path / name)

    assert refused.value.message.startswith(f"{tmp_path / name}: ")
    assert everything() == before


# Comparing


def test_the_difference_of_a_new_project_is_all_of_it(write):
    changes = difference(read_project_file(write(WEB)))

    assert changes[0] == Change("project.id", None, "guestbook")
    assert [change.key for change in changes[1:]] == [
        "project.name",
        "project.domains",
        "project.allowed_origins",
        "project.anonymous_users.enabled",
        "project.anonymous_users.promotion_conflict",
        "project.anonymous_users.retired_device_keys",
        "project.sign_in.login_ids",
        "project.sign_in.verify",
        "project.session.lifetime",
        "project.session.idle_timeout_enabled",
        "project.session.idle_timeout",
        "project.session.persistent_cookie",
        "project.retention.guest_inactive_days",
        "project.retention.quarantine_days",
        "project.retention.session_history_days",
        "project.retention.retired_key_days",
        "project.retention.removals_per_run",
        "project.retention.removals_percent",
        "project.limits.signup_per_ip",
        "project.limits.signup_per_application",
        "project.limits.signup_per_project_day",
        "project.limits.bot_check_per_ip",
        "project.limits.unlimited_networks",
        "project.limits.store_down",
        "project.realm.app_id",
        "project.realm.local_userpass",
        "project.realm.auto_confirm",
        "project.realm.confirmation_url",
        "project.realm.reset_url",
        "project.realm.migration_until",
        "project.realm.adopt_guests",
        'applications["web"]',
    ]
    assert changes[-1].new["type"] == "spa"
    assert Project.objects.count() == 0


def test_the_difference_names_every_key_with_old_and_new_value(stored, write):
    before = everything()
    changes = difference(
        read_project_file(
            write(
                STORED.replace('"b.example"', '"c.example"')
                .replace("lifetime = 3600", "lifetime = 7200")
                .replace("access_token_lifetime = 600", "access_token_lifetime = 900")
                .replace('"mobile"', '"new"')
            )
        )
    )

    assert [(change.key, change.old, change.new) for change in changes[:3]] == [
        ("project.domains", ["a.example", "b.example"], ["a.example", "c.example"]),
        ("project.session.lifetime", 3600, 7200),
        ('applications["mobile"]', changes[2].old, None),
    ]
    assert changes[2].old["type"] == "native"
    assert changes[2].note == "and its sessions: 1"
    assert (changes[3].key, changes[3].old, changes[3].new["type"]) == ('applications["new"]', None, "native")
    assert changes[4:] == [Change('applications["web"].access_token_lifetime', 600, 900)]
    assert everything() == before


def test_two_files_compare_as_a_file_and_what_it_was_applied_to(stored, write, django_assert_num_queries):
    old = parse_project_file(export_project("guestbook").encode(), "old")
    new = read_project_file(
        write(WEB + "access_token_lifetime = 900\n" + '[[applications]]\nclient_id = "c"\ntype = ""\n')
    )

    expected = difference(new)
    with django_assert_num_queries(0):
        changes = compare(old, new)

    def without_note(change):
        return (change.key, change.old, change.new, change.client_id, change.column)

    assert list(map(without_note, changes)) == list(map(without_note, expected))
    assert compare(old, old) == compare(new, new) == []


def test_a_change_says_whose_and_which_column_it_is(stored, write):
    found = {
        change.key: (change.client_id, change.column, change.sessions)
        for change in difference(read_project_file(write(WEB + "access_token_lifetime = 900\n")))
    }

    assert found["project.session.lifetime"] == (None, "session_lifetime", 0)
    assert found['applications["web"].access_token_lifetime'] == ("web", "access_token_lifetime", 0)
    assert found['applications["mobile"]'] == ("mobile", "", 1)


def test_no_more_sessions_are_counted_than_told(stored, write):
    for _ in range(3):
        sign_in(stored.applications.get(client_id="mobile"))
    file = read_project_file(write(WEB))

    assert [change.sessions for change in difference(file) if change.sessions] == [4]
    assert [change.sessions for change in difference(file, sessions_up_to=2) if change.sessions] == [2]


def test_the_document_of_unsaved_rows_says_what_they_say(stored, django_assert_num_queries):
    applications = list(stored.applications.all())
    assert document_of(stored, applications) == export_project("guestbook")
    stored.name = "Unsaved"
    applications[0].name = "Unsaved, too"

    text = document_of(stored, reversed(applications))

    assert text.count('name = "Unsaved"') == 1
    assert text.count('name = "Unsaved, too"') == 1
    assert "Unsaved" not in export_project("guestbook")


def test_a_change_reads_like_a_line_of_a_diff():
    assert str(Change("project.name", None, "Gäste")) == '+ project.name = "Gäste"'
    assert str(Change("project.session.lifetime", 60, 90)) == "~ project.session.lifetime: 60 -> 90"
    assert str(Change("a.b", True, False)) == "~ a.b: true -> false"
    assert str(Change('applications["a"]', {}, None, "note")) == '- applications["a"] (note)'
    assert str(Change('applications["a"]', None, {"type": "spa"})) == '+ applications["a"]\n    type = "spa"'
    assert "\x1b" not in str(Change("project.name", None, "\x1b[2J"))


# Applying


def test_applying_creates_the_project_with_domains_applications_and_keys(apply, monkeypatch):
    monkeypatch.setattr(project_file, "create_keys", create_keys)

    applied = apply(STORED)

    project = Project.objects.get()
    assert applied.created is True
    assert applied.project == project
    assert (project.slug, project.name, project.session_lifetime) == ("guestbook", "Guests", 3600)
    assert project.anonymous_users_enabled is True
    assert project.config_digest == hashlib.sha256(STORED.encode()).hexdigest()
    assert project.application_origins == ["https://web.example"]
    assert set(project.domains.values_list("domain", flat=True)) == {"a.example", "b.example"}
    assert set(project.applications.values_list("client_id", "type", "access_token_lifetime")) == {
        ("web", "spa", 600),
        ("mobile", "native", 1800),
    }
    assert set(project.signing_keys.values_list("algorithm", flat=True)) >= {"ES256", "RS256"}


def test_applying_again_makes_no_key_and_writes_nothing(stored, apply):
    before = everything()

    with CaptureQueriesContext(
        connection,
    ) as queries:
        applied = apply(STORED)

    assert writes(queries) == []
    assert (applied.created, applied.changes) == (False, ())
    assert everything() == before


def test_a_new_comment_changes_the_digest_and_nothing_else(stored, apply):
    before = everything()
    applied = apply("# hello\n" + STORED)

    assert applied.changes == ()
    project = Project.objects.get(slug="guestbook")
    assert project.config_digest == hashlib.sha256(f"# hello\n{STORED}".encode()).hexdigest()
    after = everything()
    for rows in (before, after):
        for row in rows["Project"]:
            del row["config_digest"], row["updated_at"]
    assert after == before


def test_only_rows_that_differ_are_written(stored, apply):
    with CaptureQueriesContext(connection) as queries:
        apply(STORED.replace("access_token_lifetime = 600", "access_token_lifetime = 900"))

    statements = writes(queries)
    tables = [re.search(r"(?:UPDATE|INTO|FROM) [\"`](\w+)", statement)[1] for statement in statements]
    # the digest; the application; the origins that follow from applications
    assert [table for table in tables if table != "anonusers_projectdomain"] == [
        "anonusers_project",
        "anonusers_application",
        "anonusers_project",
    ]


def test_a_key_that_is_left_out_gets_its_default_back(stored, apply):
    applied = apply(STORED.replace("[project.session]\nlifetime = 3600\n", ""))

    assert applied.changes == (Change("project.session.lifetime", 3600, 31_449_600),)
    assert Project.objects.get(slug="guestbook").session_lifetime == 31_449_600


def test_the_policy_for_retired_device_keys_is_applied_exported_and_reset(stored, apply):
    refusing = STORED.replace("enabled = true\n", 'enabled = true\nretired_device_keys = "refuse"\n')
    key = "project.anonymous_users.retired_device_keys"

    assert apply(refusing).changes == (Change(key, "new_guest", "refuse"),)
    assert Project.objects.get(slug="guestbook").retired_device_keys == "refuse"
    exported = tomllib.loads(export_project("guestbook"))["project"]["anonymous_users"]
    assert exported == {"enabled": True, "promotion_conflict": "error", "retired_device_keys": "refuse"}
    assert apply(STORED).changes == (Change(key, "refuse", "new_guest"),)
    assert Project.objects.get(slug="other").retired_device_keys == "new_guest"


def test_limits_are_applied_exported_and_reset(stored, apply):
    network = "198.51.100.0/24 2026-12-01T08:00Z/2026-12-01T18:00Z"
    table = f'[project.limits]\nsignup_per_ip = "9/h"\nunlimited_networks = ["{network}"]\nstore_down = "stop"\n'

    assert apply(STORED.replace("[[applications]]", table + "[[applications]]", 1)).changes == (
        Change("project.limits.signup_per_ip", "", "9/h"),
        Change("project.limits.unlimited_networks", [], [network]),
        Change("project.limits.store_down", "go_on", "stop"),
    )
    assert tomllib.loads(export_project("guestbook"))["project"]["limits"] == {
        "signup_per_ip": "9/h",
        "signup_per_application": "",
        "signup_per_project_day": "",
        "bot_check_per_ip": "",
        "unlimited_networks": [network],
        "store_down": "stop",
    }
    assert [change.new for change in apply(STORED).changes] == ["", [], "go_on"]
    assert Project.objects.get(slug="other").limits_store_down == "go_on"


@pytest.mark.parametrize(
    "text",
    ["", "off", "1/s", "60/m", "007/h", "9/d", "60", "/m", "60/", "0/m", "-1/m", "1.5/m", "60/w", "60/M", "OFF", "٣/m"],
)
def test_a_budget_is_read_as_the_limiter_reads_it(text):
    if not text:
        return project_keys.check_budget_of_project(text)  # the server's default: the limiter never sees it
    try:
        expected = parse_budget(text)
    except ValueError:
        with pytest.raises(ValueError, match="Use N/s"):
            read_budget(text)
        return None
    unit = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    found = read_budget(text)
    assert (found and (found[0], unit[found[1]])) == (expected and (expected.amount, expected.get_expiry()))
    return None


def test_dpop_is_turned_off_exported_and_reset_for_one_application(stored, apply):
    key = 'applications["mobile"].dpop_enabled'

    assert apply(STORED + "dpop_enabled = false\n").changes == (Change(key, True, False),)
    assert dict(Application.objects.values_list("client_id", "dpop_enabled")) == {"mobile": False, "web": True}
    exported = tomllib.loads(export_project("guestbook"))["applications"]
    assert [(table["client_id"], table["dpop_enabled"]) for table in exported] == [("mobile", False), ("web", True)]
    assert apply(STORED).changes == (Change(key, False, True),)
    assert Session.objects.get().ended_at is None, "nobody is signed out for it"


def test_what_the_portal_changed_is_set_back(stored, apply):
    Project.objects.filter(pk=stored.pk).update(anonymous_users_enabled=False)

    applied = apply(STORED)

    assert applied.changes == (Change("project.anonymous_users.enabled", False, True),)
    assert Project.objects.get(slug="guestbook").anonymous_users_enabled is True


def test_an_application_that_is_not_listed_goes_with_its_sessions(stored, apply):
    kept = sign_in(stored.applications.get(client_id="web"))

    apply(STORED.removesuffix(MOBILE))

    assert [app.client_id for app in stored.applications.all()] == ["web"]
    assert list(Session.objects.all()) == [kept]
    assert EndUser.objects.count() == 2


def test_an_application_that_stays_keeps_its_row_and_sessions(stored, apply):
    mobile = stored.applications.get(client_id="mobile")

    apply(STORED + "access_token_lifetime = 700\n")

    assert stored.applications.get(client_id="mobile").pk == mobile.pk
    assert Session.objects.filter(application=mobile).count() == 1


def test_the_origins_follow_the_redirect_uris(stored, apply):
    apply(STORED.replace("https://web.example/back", "https://new.example/back"))
    assert Project.objects.get(slug="guestbook").application_origins == ["https://new.example"]

    apply(MINIMAL)
    assert Project.objects.get(slug="guestbook").application_origins == []


def test_other_projects_are_left_alone(stored, apply):
    other = Project.objects.get(slug="other")
    Application.objects.create(project=other, client_id="web", name="Theirs", type="spa")
    before = [Project.objects.filter(slug="other").values().get(), list(other.applications.values())]

    apply(MINIMAL)

    assert [Project.objects.filter(slug="other").values().get(), list(other.applications.values())] == before
    assert list(other.domains.values_list("domain", flat=True)) == ["other.example"]


def test_a_domain_may_move_once_its_project_lets_go_of_it(stored, apply):
    apply('[project]\nid = "other"\n')

    applied = apply(STORED.replace('"b.example"', '"other.example"'))

    assert set(applied.project.domains.values_list("domain", flat=True)) == {"a.example", "other.example"}


@pytest.mark.parametrize("broken", ["_save", "create_keys"])
def test_a_failure_on_the_way_leaves_nothing_behind(stored, apply, monkeypatch, broken):
    before = everything()
    calls = []
    save = getattr(project_file, broken)

    def fail(row, *args):
        calls.append(row)
        if broken == "create_keys" or isinstance(row, Application):
            raise IntegrityError("no\nroom")
        return save(row, *args)

    monkeypatch.setattr(project_file, broken, fail)

    with pytest.raises(InvalidProjectFile, match="project: The database refused it: no room"):
        apply(WEB.replace("guestbook", "third"))

    assert len(calls) == (2 if broken == "create_keys" else 4)  # it was tried twice
    assert everything() == before


def test_who_loses_the_race_to_create_a_project_looks_again(apply, monkeypatch):
    save = project_file._save

    def lose(row, *args):
        monkeypatch.setattr(project_file, "_save", save)
        raise IntegrityError("duplicate key")

    monkeypatch.setattr(project_file, "_save", lose)

    assert apply(STORED).created is True
    assert Application.objects.count() == 2


def test_ids_that_differ_in_case_only_never_reach_the_wrong_row(stored, apply):
    before = everything()
    twins = [
        (MINIMAL.replace("guestbook", "Guestbook"), "project.id: "),
        (STORED + MOBILE.replace("mobile", "Mobile"), 'applications[2] (client_id "Mobile"): '),
    ]
    for content, key in twins:
        if connection.vendor == "mysql":  # its collation takes them for the same
            with pytest.raises(InvalidProjectFile) as refused:
                apply(content)
            assert key in refused.value.message
            assert everything() == before
        else:
            assert apply(content).changes
    if connection.vendor == "mysql":
        apply(STORED.replace("mobile", "Mobile"))  # renamed, not doubled
    assert Project.objects.get(pk=stored.pk).slug == "guestbook"


# Exporting


def test_an_unknown_project_cannot_be_exported(stored):
    for slug in ("nobody", "Guestbook"):
        with pytest.raises(UnknownProject, match="There is no project with the id"):
            export_project(slug)


def test_an_export_names_every_key(stored):
    document = tomllib.loads(export_project("guestbook"))

    assert shape(document["project"]) == shape(PROJECT["project"])
    assert [shape(table) for table in document["applications"]] == [shape(APPLICATION)] * 2
    assert [table["client_id"] for table in document["applications"]] == ["mobile", "web"]


def shape(table):
    return {key: shape(value) if isinstance(value, dict) else None for key, value in table.items()}


def test_an_export_without_applications_removes_them_elsewhere(stored, apply):
    text = export_project("other")

    assert tomllib.loads(text)["applications"] == []
    assert apply(text).changes == ()


seconds = st.integers(60, LIFETIME_MAX)
hosts = st.from_regex(r"[a-z0-9]{2,8}(\.[a-z0-9]{1,8}){0,2}", fullmatch=True)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=100)
paths = st.text(st.sampled_from("abc/?=&%$~*'()!,;.-_"), max_size=20)
budgets = st.sampled_from(["", "off"]) | st.builds("{}/{}".format, st.integers(1, 10**17), st.sampled_from("smhd"))
networks = st.builds(
    "{}{}".format,
    st.ip_addresses(network="198.18.0.0/15") | st.ip_addresses(network="2001:db8::/32"),
    st.sampled_from(["", " 2026-12-01T08:00Z/2026-12-01T18:00Z", " 2026-12-01T08:00+01:00/2027-12-01T08:00:30Z"]),
)
uris = st.builds("{}://{}/{}".format, st.sampled_from(["https", "com.example.app"]), hosts, paths)


def tables(**optional):
    return st.fixed_dictionaries({}, optional=optional)


@st.composite
def projects(draw):
    login_ids = draw(st.lists(st.sampled_from(["email", "phone", "username"]), unique=True))
    verifiable = [name for name in login_ids if name != "username"]
    verify = draw(st.lists(st.sampled_from(verifiable), unique=True)) if verifiable else []
    table = draw(
        tables(
            name=names,
            domains=st.lists(hosts | st.just("*") | st.just("[::1]"), unique=True, max_size=4),
            allowed_origins=st.lists(st.builds("https://{}".format, hosts), unique=True, max_size=3),
            anonymous_users=tables(
                enabled=st.booleans(),
                promotion_conflict=st.sampled_from(["error", "login"]),
                retired_device_keys=st.sampled_from(["new_guest", "refuse"]),
            ),
            session=tables(
                lifetime=seconds,
                idle_timeout_enabled=st.booleans(),
                idle_timeout=seconds,
                persistent_cookie=st.booleans(),
            ),
            retention=tables(
                guest_inactive_days=st.integers(0, 3650),
                quarantine_days=st.integers(0, 365),
                session_history_days=st.integers(0, 3650),
                retired_key_days=st.integers(0, 3650),
                removals_per_run=st.integers(1, 1_000_000_000),
                removals_percent=st.integers(1, 100),
            ),
            limits=tables(
                signup_per_ip=budgets,
                signup_per_application=budgets,
                signup_per_project_day=budgets,
                bot_check_per_ip=budgets,
                unlimited_networks=st.lists(networks, unique=True, max_size=4),
                store_down=st.sampled_from(["go_on", "stop"]),
            ),
        )
    )
    return table | {"id": "guestbook", "sign_in": {"login_ids": login_ids, "verify": verify}}


@st.composite
def applications(draw):
    kind = draw(st.sampled_from(list(Application.Type.values)))
    access = draw(st.integers(300, 2_419_200 if kind == "m2m" else LIFETIME_MAX))
    table = draw(
        tables(
            name=names,
            redirect_uris=st.lists(uris, unique=True, max_size=3),
            post_logout_redirect_uris=st.lists(uris, unique=True, max_size=3),
            refresh_token_lifetime=st.integers(access, LIFETIME_MAX),
            refresh_token_idle_timeout_enabled=st.booleans(),
            refresh_token_idle_timeout=seconds,
            refresh_token_rotation_enabled=st.booleans(),
            dpop_enabled=st.booleans(),
            issue_jwt_access_token=st.booleans(),
            id_token_signed_response_alg=st.sampled_from(["RS256", "ES256"]),
            max_concurrent_sessions=st.sampled_from([0, 1]),
        )
    )
    client_id = draw(st.text(st.sampled_from("abcdef0123456789-_.\"'\\#[]{}="), min_size=1, max_size=20))
    return table | {"client_id": client_id, "type": kind, "access_token_lifetime": access}


@settings(
    max_examples=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(project=projects(), listed=st.lists(applications(), max_size=3, unique_by=lambda table: table["client_id"]))
def test_any_project_survives_the_round_trip_byte_by_byte(apply, project, listed):
    Project.objects.all().delete()

    apply(tomli_w.dumps({"project": project, "applications": listed}))
    text = export_project("guestbook")
    assert apply(text).changes == ()

    Project.objects.all().delete()
    assert apply(text).created is True
    assert export_project("guestbook") == text

    document = tomllib.loads(text)
    assert contains(document["project"], project | {"domains": sorted(project.get("domains", []))})
    exported = {table["client_id"]: table for table in document["applications"]}
    assert len(exported) == len(listed)
    assert all(contains(exported[table["client_id"]], table) for table in listed)


def contains(table, part):
    return all(
        contains(table[key], value) if isinstance(value, dict) else table[key] == value for key, value in part.items()
    )


# What we ship


def test_the_demo_project_is_valid_and_has_guests(apply):
    applied = apply((ROOT / "example" / "guestbook.toml").read_text("utf-8"))

    assert (applied.project.slug, applied.project.name) == ("guestbook", "Guestbook")
    assert applied.project.anonymous_users_enabled is True
    assert (applied.project.login_ids, applied.project.verify) == (["email", "username"], [])
    assert set(applied.project.domains.values_list("domain", flat=True)) == {"localhost", "127.0.0.1"}
    assert applied.project.application_origins == ["http://localhost:8000"]
    assert set(applied.project.applications.values_list("client_id", "type")) == {
        ("guestbook-web", "spa"),
        ("guestbook-cookie", "traditional_webapp"),
        ("guestbook-mobile", "native"),
    }


def test_the_reference_lists_every_key_with_its_default(apply):
    apply(WEB)
    document = tomllib.loads(export_project("guestbook"))
    text = (ROOT / "docs" / "project-file.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\S+)` \| ([^|]+) \| ([^|]+) \|", text, re.MULTILINE)
    kinds = {bool: "boolean", int: "integer", str: "string", list: "list of strings"}

    expected = [*flat(document["project"]), *document["applications"][0].items()]
    assert [(key, kind) for key, kind, _ in rows] == [(key, kinds[type(value)]) for key, value in expected]
    for (key, _, default), (_, value) in zip(rows, expected, strict=True):
        if default not in ("required", "the `id`", "the `client_id`"):
            assert tomllib.loads(f"value = {default.strip('`')}")["value"] == value, key


def flat(table, at=""):
    for key, value in table.items():
        yield from flat(value, f"{at}{key}.") if isinstance(value, dict) else [(f"{at}{key}", value)]
