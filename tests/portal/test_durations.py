"""Seconds in words."""

import pytest
from django.template import Context, Template
from django.utils import translation

from portal.durations import in_words, in_words_and_seconds, logout_sentence


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (300, "5 minutes"),
        (3600, "1 hour"),
        (86_400, "1 day"),
        (108_000, "1 day 6 hours"),
        (2_592_000, "30 days"),
        (31_449_600, "364 days"),
        (315_360_000, "3650 days"),
        (90_061, "1 day 1 hour 1 minute 1 second"),
    ],
)
def test_words_are_exact(seconds: int, words: str) -> None:
    assert in_words(seconds) == words


def test_seconds_stand_in_brackets_behind_the_words() -> None:
    assert in_words_and_seconds(2_592_000) == "30 days (2,592,000 seconds)"
    assert in_words_and_seconds(45) == "45 seconds"


@pytest.mark.parametrize("value", ["", "abc", "-5", "1.5", None, "1_000", "٣٠", "9" * 5000])
def test_what_is_not_a_number_of_seconds_becomes_nothing(value: object) -> None:
    template = Template("{% load durations %}[{{ v|in_words }}{{ v|in_words_and_seconds }}{{ v|grouped }}]")
    assert template.render(Context({"v": value})) == "[]"


def test_the_sentence_says_what_two_lifetimes_mean_together() -> None:
    sentence = logout_sentence()
    assert sentence.text(lifetime=31_449_600, idle_timeout=2_592_000) == (
        "Guests are logged out after 30 days without activity, 364 days at the latest."
    )
    assert sentence.text(lifetime=3600, idle_timeout=None) == "Guests are logged out after 1 hour, active or not."


@pytest.mark.parametrize("idle_timeout", [3600, 3601])
def test_an_idle_timeout_that_cannot_come_first_is_not_mentioned(idle_timeout: int) -> None:
    text = logout_sentence().text(lifetime=3600, idle_timeout=idle_timeout)
    assert text == "Guests are logged out after 1 hour, active or not."


def test_where_nobody_can_be_a_guest_the_sentence_speaks_of_users() -> None:
    assert logout_sentence(of_guests=False).text(lifetime=3600, idle_timeout=60) == (
        "Users are logged out after 1 minute without activity, 1 hour at the latest."
    )


def test_numbers_are_grouped_as_the_language_does() -> None:
    with translation.override("de"):
        assert "2.592.000" in in_words_and_seconds(2_592_000)
