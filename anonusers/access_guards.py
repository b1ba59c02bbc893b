"""What stands before a view, read from outside: what the system check anonusers.W003 judges by."""

import functools
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin, PermissionRequiredMixin
from django.http import HttpRequest
from django.views import View
from rest_framework import permissions as drf
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework.views import APIView

from anonusers import decorators, mixins, permissions
from anonusers.authentication import BearerAuthentication, CookieAuthentication

ADMIN_VIEW = "AdminSite.admin_view."

# Not with `|`, which combines permissions.
OURS = (permissions.GuestOnWrite, permissions.IsGuest, permissions.IsGuestOrMember, permissions.IsMember)

# What a guard does with a guest, the strongest first.
SHUT = "shut"  # for staff, or for holders of a permission
SAID = "said"  # somebody has thought of guests
BARE = "bare"  # whoever is logged in
OTHER = "other"  # who knows


@dataclass
class Guard:
    """One guard, or what several together do. `name` is how the host calls it."""

    does: str
    name: str = ""


def layers(callback: Any) -> Iterator[Any]:
    """A view and what it wraps, from outside to inside."""
    seen: set[int] = set()
    while callback is not None and id(callback) not in seen:
        seen.add(id(callback))
        yield callback
        inner = callback.func if isinstance(callback, functools.partial) else None
        callback = inner or getattr(callback, "__wrapped__", None)


def dotted_path(callback: Any) -> str:
    """Where a view is written: its class, else the innermost function that wrappers tell of."""
    found = getattr(callback, "cls", None) or getattr(callback, "view_class", None) or list(layers(callback))[-1]
    if not hasattr(found, "__qualname__"):
        found = type(found)
    # What @api_view makes has the function's name and module, and its own qualified name.
    name = found.__name__ if found.__qualname__ == "WrappedAPIView" else found.__qualname__
    return f"{found.__module__}.{name}"


def _all_of(guards: Iterable[Guard]) -> Guard:
    """Several guards one after the other: the strongest decides."""
    order = {SHUT: 0, SAID: 1, BARE: 2, OTHER: 3}
    return min(guards, key=lambda guard: order[guard.does], default=Guard(OTHER))


def _any_of(guards: list[Guard]) -> Guard:
    """Guards of which one is enough: those that are shut to guests do not count."""
    return _all_of([guard for guard in guards if guard.does != SHUT] or guards)


def guards_of(callback: Any, *, guests_everywhere: bool, by_middleware: bool) -> Iterator[tuple[str, Guard]]:
    """For each action of a viewset, else for each method or once: what stands before the view. Nothing where guests
    are nobody anyway."""
    before = list(_around(callback))
    if guests_everywhere and by_middleware and getattr(callback, "login_required", True):
        before.append(Guard(BARE, "LoginRequiredMiddleware asks only whether somebody is logged in"))
    cls = _class_of(callback)
    if cls is not None and issubclass(cls, APIView):
        if not guests_everywhere:  # before DRF looks at a token they are visitors
            before = [guard for guard in before if guard.does != BARE]
        for action, guards in _of_drf(callback, guests_everywhere):
            yield action, _all_of(before + guards)
    elif guests_everywhere:
        handlers = [getattr(cls, name) for name in View.http_method_names if hasattr(cls, name)] if cls else []
        for handler in handlers or [None]:
            yield "", _all_of([*before, *_of_function(handler)])


def _class_of(callback: Any) -> type | None:
    cls = getattr(callback, "view_class", None) or getattr(callback, "cls", None)
    return cls if isinstance(cls, type) else None


def _around(callback: Any) -> Iterator[Guard]:
    """Decorators and mixins."""
    cls = _class_of(callback)
    if cls is not None:
        if issubclass(cls, mixins.Gated | mixins.GuestRequiredOnWriteMixin):
            yield Guard(SAID)
        if issubclass(cls, PermissionRequiredMixin):
            yield Guard(SHUT)
        if issubclass(cls, LoginRequiredMixin):
            yield Guard(BARE, "LoginRequiredMixin asks only whether somebody is logged in")
        for base in cls.__mro__:  # each calls the next one
            yield from _of_function(vars(base).get("dispatch"))
    yield from _of_function(callback)


def _wrappers(view: Any) -> Iterator[Any]:
    """All that is around a view, also what `update_wrapper` has written over: Django's decorators keep `view_func`."""
    waiting, seen = [view], set[int]()
    while waiting:
        for layer in layers(waiting.pop()):
            if id(layer) not in seen:
                seen.add(id(layer))
                waiting.append(_closed_over(layer).get("view_func"))
                yield layer


def _of_function(view: Any) -> Iterator[Guard]:
    for layer in _wrappers(view):
        if getattr(layer, "anonusers_access", None):
            yield Guard(SAID)
        if getattr(getattr(layer, "__code__", None), "co_qualname", "").startswith(ADMIN_VIEW):
            yield Guard(SHUT)
        yield from _of_test(_closed_over(layer).get("test_func"))
        # `method_decorator` applies these at each request.
        for decorator in _method_decorators(layer):
            yield from _of_decorator(decorator)


def _method_decorators(layer: Any) -> list[Any]:
    code = getattr(layer, "__code__", None)
    found = _closed_over(layer).get("decorators") if code is not None and code.co_name == "_wrapper" else None
    return list(found) if isinstance(found, list | tuple) else []


def _of_decorator(decorator: Any) -> Iterator[Guard]:
    # `user_passes_test` keeps its test in what it returns, and `login_required(…)` is made of it.
    for layer in layers(decorator):
        name = f"{getattr(layer, '__module__', '')}.{getattr(layer, '__qualname__', '')}"
        if name == "django.contrib.auth.decorators.login_required":
            yield Guard(BARE, "login_required asks only whether somebody is logged in")
        elif name == "django.contrib.admin.views.decorators.staff_member_required":
            yield Guard(SHUT)
        elif name.startswith(f"{decorators.__name__}."):
            yield Guard(SAID)
        yield from _of_test(_closed_over(layer).get("test_func"))
        if "perms" in _closed_over(layer) and name.startswith("django.contrib.auth.decorators.permission_required"):
            yield Guard(SHUT)


def _of_test(test: Any) -> Iterator[Guard]:
    """The test of `user_passes_test`."""
    if test is None:
        return
    name = f"{getattr(test, '__module__', '')}.{getattr(test, '__qualname__', '')}"
    if name.startswith("django.contrib.auth.decorators.login_required."):
        yield Guard(BARE, "login_required asks only whether somebody is logged in")
    elif name.startswith(("django.contrib.auth.decorators.permission_required.", "django.contrib.admin.")):
        yield Guard(SHUT)
    elif name.startswith("anonusers."):
        yield Guard(SAID)
    else:
        yield Guard(OTHER)


def _closed_over(function: Any) -> dict[str, Any]:
    """What a function remembers of where it was made."""
    if not inspect.isfunction(function) or not function.__closure__:
        return {}
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__, strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not filled yet
            continue
    return found


# --- DRF ------------------------------------------------------------------------------------------


def _of_drf(callback: Any, guests_everywhere: bool) -> Iterator[tuple[str, list[Guard]]]:
    known = (BearerAuthentication, CookieAuthentication) + ((SessionAuthentication,) if guests_everywhere else ())
    initkwargs = getattr(callback, "initkwargs", None) or {}
    classes = initkwargs.get("authentication_classes", callback.cls.authentication_classes)
    if not any(isinstance(cls, type) and issubclass(cls, known) for cls in classes):
        return
    actions = getattr(callback, "actions", None) or {"": ""}
    for method, action in list(actions.items()):
        if method != "head":
            yield action, [_of_permission(each) for each in _permissions(callback.cls, initkwargs, method, action)]


def _permissions(cls: Any, initkwargs: dict[str, Any], method: str, action: str) -> list[Any]:
    """The permission classes; asked of the view where it says them itself, as for an action."""
    declared = list(initkwargs.get("permission_classes", cls.permission_classes))
    if cls.get_permissions is APIView.get_permissions:
        return declared
    view = cls(**initkwargs)
    view.args, view.kwargs, view.format_kwarg, view.action = (), {}, None, action
    request = HttpRequest()
    request.method = (method or next((m for m in ("get", "post") if hasattr(cls, m)), "get")).upper()
    view.request = Request(request)
    try:
        return [getattr(each, "__class__", each) if not _is_operator(each) else each for each in view.get_permissions()]
    except Exception:  # it wants a real request
        return declared


def _is_operator(permission: Any) -> bool:
    return isinstance(permission, drf.AND | drf.OR | drf.NOT)


def _of_permission(permission: Any) -> Guard:
    """Of a class, of classes that are combined, or of instances that are."""
    operator = getattr(permission, "operator_class", None) or type(permission)
    parts = [getattr(permission, name, None) for name in ("op1_class", "op2_class", "op1", "op2")]
    guards = [_of_permission(part) for part in parts if part is not None]
    if operator is drf.AND:
        return _all_of(guards)
    if operator is drf.OR:
        return _any_of(guards)
    if operator is drf.NOT:
        inverse = {SAID: SAID, BARE: SHUT}  # `~IsAuthenticated` is for visitors
        return Guard(inverse.get(guards[0].does, OTHER))
    cls = permission if isinstance(permission, type) else type(permission)
    if issubclass(cls, OURS):
        return Guard(SAID)
    asks = getattr(cls, "has_permission", None)
    if asks is drf.IsAdminUser.has_permission:
        return Guard(SHUT)
    bare = asks in (drf.IsAuthenticated.has_permission, drf.IsAuthenticatedOrReadOnly.has_permission)
    if asks is drf.DjangoModelPermissions.has_permission and issubclass(cls, drf.DjangoModelPermissions):
        bare = cls.authenticated_users_only and not cls.perms_map.get("GET")
    if bare:
        return Guard(BARE, f"{cls.__name__} asks only whether somebody is logged in")
    return Guard(OTHER)
