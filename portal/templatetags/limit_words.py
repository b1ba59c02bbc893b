"""Limits in templates."""

from typing import Any

from django import template

from portal import retention

register = template.Library()


@register.filter
def limit_in_words(value: Any, default: str) -> str:
    """`{{ "60/m"|limit_in_words:"off" }}` → 60 a minute"""
    return retention.limit_in_words(str(value or "").strip(), default)
