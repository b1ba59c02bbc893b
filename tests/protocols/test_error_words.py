"""Every error of the domain has words in every door."""

import re

import pytest

from anonusers.errors import AnonymousUsersDisabled, all_errors
from anonusers.protocols import errors as _protocol_errors  # noqa: F401  (their classes count, too)
from anonusers.protocols.authgear.wire import API_WORDS, OAUTH_WORDS, STATUS
from anonusers.protocols.realm.wire import WORDS as REALM_WORDS
from anonusers.protocols.rest.problems import HIDDEN, PROBLEMS

TABLES = {"rest": PROBLEMS, "authgear API": API_WORDS, "authgear OAuth": OAUTH_WORDS, "realm": REALM_WORDS}
ERRORS = all_errors()
CODES = {error.code for error in ERRORS}


def test_codes_are_unique_and_written_alike():
    assert len(CODES) == len(ERRORS) > 25
    for code in CODES:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)


def test_a_hosts_own_kind_of_an_error_is_none_of_the_domain():
    """Its words would stand in the place of those of what it is a kind of."""

    class OnlyOnSundays(AnonymousUsersDisabled):
        pass

    assert OnlyOnSundays in AnonymousUsersDisabled.__subclasses__()
    assert OnlyOnSundays not in all_errors()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
@pytest.mark.parametrize("door", TABLES)
def test_every_error_has_words_in_every_door(door, error):
    assert error.code in TABLES[door]


@pytest.mark.parametrize("door", TABLES)
def test_no_door_has_words_for_what_cannot_happen(door):
    assert set(TABLES[door]) == CODES


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_every_error_says_in_a_sentence_what_is_wrong(error):
    text = " ".join((error.__doc__ or "").split())
    assert re.fullmatch(r"[A-Z].+\.", text)


@pytest.mark.parametrize(("code", "words"), PROBLEMS.items())
def test_problems_have_an_error_status_and_a_title(code, words):
    status, title = words
    assert 400 <= status <= 503
    assert re.fullmatch(r"[A-Z][\w \-]+", title)
    assert (code in HIDDEN) <= (status == 500)


@pytest.mark.parametrize(("code", "words"), API_WORDS.items())
def test_api_errors_have_a_name_that_has_a_status(code, words):
    name, reason, message = words
    assert name in STATUS
    assert re.fullmatch(r"[A-Z]\w+", reason)
    assert message


@pytest.mark.spec("RFC 6749", "5.2")
@pytest.mark.parametrize(("code", "words"), OAUTH_WORDS.items())
def test_oauth_errors_use_only_the_characters_that_the_standard_allows(code, words):
    status, error, description = words
    assert 400 <= status <= 503
    allowed = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")
    assert allowed.fullmatch(error)
    assert allowed.fullmatch(description)


@pytest.mark.parametrize("code", ["service_unavailable", "unexpected", "rate_limited", "seal_broken"])
def test_a_fault_of_ours_never_reads_as_a_dead_token(code):
    """INV9: every SDK wipes the guest on these words, and a guest cannot log in again."""
    deadly = {"invalid_grant", "invalid_token", "not_signed_in", "Unauthorized", "InvalidSession"}
    assert PROBLEMS[code][0] in (429, 500, 503)
    assert not deadly & set(API_WORDS[code])
    assert OAUTH_WORDS[code][1] not in deadly
