"""Moments in templates: how long ago or how far away, with the exact time in the title."""

from datetime import date, datetime

from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import pgettext

from portal import durations
from portal.durations import relative

register = template.Library()


@register.filter
def exactly(time: datetime) -> str:
    """`20 Nov 2026, 03:00 UTC`, in the time zone of the page."""
    local = timezone.localtime(time)
    words = date_format(local, pgettext("date format", "j M Y, H:i"))
    return f"{words} {local:%Z}"


@register.filter
def exact_day(day: date) -> str:
    """`20 Nov 2026`"""
    return durations.exact_day(day)


@register.filter
def short_day(day: date) -> str:
    """`20 Nov`"""
    return durations.short_day(day)


@register.simple_tag
def moment(time: datetime) -> SafeString:
    """`{% moment run.started_at %}` → 2 hours ago"""
    words = relative((time - timezone.now()).total_seconds())
    return format_html('<time datetime="{}" title="{}">{}</time>', time.isoformat(), exactly(time), words)
