"""Durations in templates. What is not a number of seconds (an entry being mended, say) becomes nothing."""

from collections.abc import Callable
from typing import Any

from django import template

from portal import durations

register = template.Library()


def _if_seconds(value: Any, render: Callable[[int], str]) -> str:
    text = str(value).strip()
    return render(int(text)) if text.isascii() and text.isdigit() and len(text) < 16 else ""


@register.filter
def in_words(value: Any) -> str:
    """`{{ 2592000|in_words }}` → 30 days"""
    return _if_seconds(value, durations.in_words)


@register.filter
def in_words_and_seconds(value: Any) -> str:
    """`{{ 2592000|in_words_and_seconds }}` → 30 days (2,592,000 seconds)"""
    return _if_seconds(value, durations.in_words_and_seconds)


@register.filter
def grouped(value: Any) -> str:
    """`{{ 2592000|grouped }}` → 2,592,000"""
    return _if_seconds(value, durations.grouped)
