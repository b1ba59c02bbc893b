"""System checks: each is raised by what it is for, and by nothing else."""

import pytest

from anonusers.checks import check_deployment, check_guest_data, check_settings


def ids(messages):
    return [message.id for message in messages]


@pytest.fixture(autouse=True)
def _counted_together(settings):
    """What is said of counters in memory depends on the database, and has tests of its own."""
    settings.ANONUSERS_LIMITS_STORAGE = "database://"


def test_the_defaults_are_fine():
    assert check_settings(None) == []
    assert check_deployment(None) == []
    assert check_guest_data(None) == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ANONUSERS_SIGNUP_PER_PI", "60/m", "anonusers.E001"),
        ("ANONUSERS_SIGNUP_PER_IP", "sixty", "anonusers.E002"),
        ("ANONUSERS_SIGNUP_PER_IP", 60, "anonusers.E002"),
        ("ANONUSERS_ADAPTER", "nowhere.Adapter", "anonusers.E003"),
        ("ANONUSERS_ADAPTER", "anonusers.adapters.Nothing", "anonusers.E003"),
        ("ANONUSERS_SIGNUP_PER_APPLICATION", "1/y", "anonusers.E002"),
        ("ANONUSERS_SIGNUP_PER_PROJECT_DAY", "", "anonusers.E002"),
        ("ANONUSERS_BOT_CHECK_PER_IP", "some", "anonusers.E002"),
        ("ANONUSERS_BOT_CHECK", "anonusers.bot_check.Nothing", "anonusers.E008"),
        ("ANONUSERS_BOT_CHECK_DIFFICULTY", 0, "anonusers.E009"),
        ("ANONUSERS_BOT_CHECK_DIFFICULTY", "1", "anonusers.E009"),
        ("ANONUSERS_ISSUER", "https://auth.example.com/", "anonusers.E004"),
        ("ANONUSERS_ISSUER", "auth.example.com", "anonusers.E004"),
        ("ANONUSERS_TRUSTED_PROXIES", -1, "anonusers.E005"),
        ("ANONUSERS_TRUSTED_PROXIES", "1", "anonusers.E005"),
    ],
)
def test_a_setting_that_cannot_work_is_named(settings, name, value, expected):
    setattr(settings, name, value)
    found = check_settings(None)
    assert ids(found) == [expected]
    assert name in found[0].msg
    assert found[0].hint


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ANONUSERS_SIGNUP_PER_IP", "off", "anonusers.W001"),
        ("ANONUSERS_SIGNUP_PER_PROJECT", "off", "anonusers.W001"),
        ("ANONUSERS_ENCRYPTION_KEYS", ["short"], "anonusers.W002"),
    ],
)
def test_a_setting_that_is_weak_is_warned_about_at_deployment(settings, name, value, expected):
    setattr(settings, name, value)
    assert check_settings(None) == []
    assert ids(check_deployment(None)) == [expected]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (
            {},
            "example.Comment.author leads to a user, and nothing says what becomes of it when a guest is removed.",
        ),
        (
            {"example.Comment.author": "set_null"},
            "example.Comment.author cannot be set to null: the column does not allow it.",
        ),
    ],
    ids=["undeclared", "wrong"],
)
def test_what_becomes_of_the_hosts_rows_is_declared(settings, declared, message):
    settings.ANONUSERS_GUEST_DATA = declared
    [found] = check_guest_data(None)
    assert (found.id, found.msg) == ("anonusers.E006", message)
    assert "ANONUSERS_GUEST_DATA" in found.hint
    assert check_settings(None) == check_deployment(None) == []


@pytest.mark.parametrize("engine", ["postgresql", "mysql", "oracle"])
def test_counters_in_memory_are_warned_about_beside_a_database_server(settings, monkeypatch, engine):
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", f"django.db.backends.{engine}")
    settings.ANONUSERS_LIMITS_STORAGE = "memory://"
    assert ids(check_deployment(None)) == ["anonusers.W004"]
    assert check_settings(None) == []
    for shared in ("redis://localhost:6379/0", "database://"):
        settings.ANONUSERS_LIMITS_STORAGE = shared
        assert check_deployment(None) == []


def test_counters_in_memory_are_right_beside_sqlite_which_has_one_process(settings, monkeypatch):
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.sqlite3")
    settings.ANONUSERS_LIMITS_STORAGE = "memory://"
    assert check_deployment(None) == []
