"""`{% load anonusers %}`: who the user is, and where they keep their account, log in and log out.

A page that uses none of the filters on `user` stays the same for everybody; the tags ask nobody.
"""

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django import template
from django.conf import settings
from django.http import QueryDict
from django.shortcuts import resolve_url

from anonusers import userinfo
from anonusers.conf import conf

register = template.Library()

register.filter("is_guest", userinfo.is_guest)
register.filter("is_member", userinfo.is_member)


@register.simple_tag
def promotion_url(next: str = "") -> str:
    """ANONUSERS_PROMOTION_URL: where a guest keeps the account. `next` leads back: `next=request.get_full_path`."""
    return _with_next(conf.PROMOTION_URL, next)


@register.simple_tag
def login_url(next: str = "") -> str:
    """LOGIN_URL."""
    return _with_next(settings.LOGIN_URL, next)


@register.simple_tag
def logout_url(next: str = "") -> str:
    """The page that asks whether to log out, and ends Django's session of the same user as well."""
    return _with_next("anonusers:pages:logout", next)


def _with_next(where: Any, onward: str) -> str:
    url = resolve_url(where)
    if not onward:
        return url
    parts = urlsplit(url)
    query = QueryDict(parts.query, mutable=True)
    query["next"] = onward
    return urlunsplit(parts._replace(query=query.urlencode(safe="/")))
