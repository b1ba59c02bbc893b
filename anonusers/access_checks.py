"""System checks that walk the URLs: where guests pass for full users, though nobody has said so."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, URLPattern, URLResolver, get_resolver
from django.utils.module_loading import import_string

from anonusers.conf import Conf, conf

# Views whose code the host does not write. They know of no guests; the host decides by what it includes.
NOT_THE_HOSTS = (
    "allauth.",
    "anonusers.",
    "debug_toolbar.",
    "dj_rest_auth.",
    "django.contrib.",
    "django.views.generic.base.RedirectView",
    "django.views.i18n.",
    "drf_spectacular.",
    "oauth2_provider.",
    "portal.",
    "rest_framework.",
    "rest_framework_simplejwt.",
)


@dataclass
class View:
    path: str
    routes: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    guard: str = ""


@register(Tags.urls)
def check_bare_logins(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A view that asks only whether somebody is logged in lets guests in: it should say that it means them."""
    from anonusers.access_guards import dotted_path  # brings DRF's views along: not before somebody checks

    views: dict[str, View] = {}
    guests_everywhere = _in_middleware("anonusers.middleware", "GuestMiddleware")
    by_middleware = _in_middleware("django.contrib.auth.middleware", "LoginRequiredMiddleware")
    for route, callback in _routes():
        for action, guard in _bare(callback, guests_everywhere=guests_everywhere, by_middleware=by_middleware):
            path = dotted_path(callback)
            if path.startswith(NOT_THE_HOSTS) or _is_expected(path, action):
                continue
            view = views.setdefault(path, View(path, guard=guard))
            if route not in view.routes:
                view.routes.append(route)
            if action and action not in view.actions:
                view.actions.append(action)
    return [_warning(view) for view in views.values()]


@register(Tags.urls)
def check_promotion_url(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Guests who are sent to promotion arrive. The default may be absent where nobody is sent there."""
    if conf.PROMOTION_URL == Conf.PROMOTION_URL and not any(_sends_to_promotion(view) for _route, view in _routes()):
        return []
    try:
        resolve_url(conf.PROMOTION_URL)
    except NoReverseMatch:
        hint = 'Include "anonusers.urls" in your URLs, or name a page of yours: a path, a URL or the name of a route.'
        return [Error("ANONUSERS_PROMOTION_URL cannot be resolved.", hint=hint, id="anonusers.E012")]
    except Exception:  # a broken URLconf, which Django tells of itself
        return []
    return []


def _bare(callback: Any, **facts: bool) -> list[tuple[str, str]]:
    """Action and words of each bare guard of a view."""
    from anonusers.access_guards import BARE, guards_of

    try:
        return [(action, guard.name) for action, guard in guards_of(callback, **facts) if guard.does == BARE]
    except Exception:  # whatever else can be called: better silent than in the way
        return []


def _warning(view: View) -> Warning:
    more = f" and {len(view.routes) - 1} more" if len(view.routes) > 1 else ""
    actions = f", {', '.join(view.actions)}" if view.actions else ""
    hint = (
        "Say what you mean. In DRF: IsMember or IsGuestOrMember of anonusers.permissions. Elsewhere: member_required "
        "or guest_allowed of anonusers.decorators, MemberRequiredMixin or GuestAllowedMixin of anonusers.mixins. Or "
        f'list "{view.path}" in ANONUSERS_GUESTS_EXPECTED.'
    )
    message = f'{view.path} (at "{view.routes[0]}"{more}{actions}) lets guests in as full users: {view.guard}.'
    return Warning(message, hint=hint, id="anonusers.W003")


def _sends_to_promotion(view: Any) -> bool:
    try:
        return view.anonusers_access == "member_required" and not view.anonusers_promotion_url
    except Exception:  # not one of ours
        return False


def _is_expected(path: str, action: str) -> bool:
    try:
        patterns = [re.compile(pattern) for pattern in conf.GUESTS_EXPECTED]
    except (TypeError, re.error):
        return False  # E013 says so
    return any(pattern.fullmatch(name) for pattern in patterns for name in (path, f"{path}.{action}"))


# --- the URLs -------------------------------------------------------------------------------------


def _routes() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Route and view of everything that is served; nothing where the URLconf cannot be loaded."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return
    yield from _walk(get_resolver())


def _walk(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, Callable[..., Any]]]:
    try:
        patterns = list(resolver.url_patterns)
    except Exception:  # anything can go wrong at import; Django's own check tells of it
        return
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern, prefix + _text(pattern.pattern))
        elif isinstance(pattern, URLPattern) and callable(pattern.callback):
            yield prefix + _text(pattern.pattern), pattern.callback


def _text(pattern: Any) -> str:
    try:
        return str(pattern)
    except Exception:  # a translated route without a language
        return "…"


def _in_middleware(module: str, name: str) -> bool:
    """Whether a middleware or a subclass of it is in MIDDLEWARE."""
    wanted = f"{module}.{name}"
    for path in settings.MIDDLEWARE:
        if path == wanted:
            return True
        if path.startswith("django."):
            continue
        try:
            found = import_string(path)
        except Exception:  # Django says so when it starts  # noqa: S112
            continue
        if isinstance(found, type) and any(f"{c.__module__}.{c.__qualname__}" == wanted for c in found.__mro__):
            return True
    return False
