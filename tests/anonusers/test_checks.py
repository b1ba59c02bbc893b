"""System checks: each is raised by what it is for, and by nothing else."""

import pytest

from anonusers.checks import check_deployment, check_settings


def ids(messages):
    return [message.id for message in messages]


def test_the_defaults_are_fine():
    assert check_settings(None) == []
    assert check_deployment(None) == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ANONUSERS_SIGNUP_PER_PI", "60/m", "anonusers.E001"),
        ("ANONUSERS_SIGNUP_PER_IP", "sixty", "anonusers.E002"),
        ("ANONUSERS_SIGNUP_PER_IP", 60, "anonusers.E002"),
        ("ANONUSERS_ADAPTER", "nowhere.Adapter", "anonusers.E003"),
        ("ANONUSERS_ADAPTER", "anonusers.adapters.Nothing", "anonusers.E003"),
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
