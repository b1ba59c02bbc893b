"""For templates of host projects: `TEMPLATES["OPTIONS"]["context_processors"]`."""

from typing import Any

from django.http import HttpRequest
from django.shortcuts import resolve_url
from django.utils.functional import SimpleLazyObject

from anonusers import userinfo
from anonusers.conf import conf


def guest(request: HttpRequest) -> dict[str, Any]:
    """`is_guest`, `is_member`, `sub` and `promotion_url`. All are lazy: a template that names none of them asks nobody,
    and stays the same for everybody."""

    def user() -> Any:
        return getattr(request, "user", None)

    return {
        "is_guest": SimpleLazyObject(lambda: userinfo.is_guest(user())),
        "is_member": SimpleLazyObject(lambda: userinfo.is_member(user())),
        "sub": SimpleLazyObject(lambda: userinfo.sub_of(user())),
        "promotion_url": SimpleLazyObject(lambda: resolve_url(conf.PROMOTION_URL)),
    }
