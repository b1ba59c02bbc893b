"""`manage.py check` says what is missing, and what to do."""

import subprocess
import sys
from typing import Any

import pytest
from allauth.account.adapter import DefaultAccountAdapter
from django.core.checks import run_checks

from anonusers.contrib.allauth.adapters import AccountAdapterMixin
from anonusers.contrib.allauth.checks import check_allauth

HERE = "anonusers.contrib.allauth"
pytestmark = pytest.mark.django_db


def found() -> dict[str, str]:
    return {str(problem.id): str(problem.hint) for problem in run_checks() if str(problem.id).startswith("anonusers.")}


def test_this_host_is_as_it_should_be() -> None:
    assert [problem for problem in run_checks() if problem.is_serious()] == []
    assert found() == {}


def test_another_account_adapter(settings: Any) -> None:
    settings.ACCOUNT_ADAPTER = "allauth.account.adapter.DefaultAccountAdapter"
    assert f"{HERE}.adapters.AccountAdapter" in found()["anonusers.E021"]
    del settings.ACCOUNT_ADAPTER
    assert "AccountAdapterMixin" in found()["anonusers.E021"]


@pytest.mark.parametrize("path", ["nowhere.Adapter", f"{HERE}.adapters.too_late"])
def test_an_adapter_that_is_none(settings: Any, path: str) -> None:
    """allauth's own check fails over it, so ours is asked alone."""
    settings.ACCOUNT_ADAPTER = path
    assert [problem.id for problem in check_allauth(None)] == ["anonusers.E021"]


class OwnAdapter(AccountAdapterMixin, DefaultAccountAdapter):
    """A host's."""


def test_an_adapter_of_the_hosts_own_with_the_mixin(settings: Any) -> None:
    settings.ACCOUNT_ADAPTER = f"{__name__}.OwnAdapter"
    assert found() == {}


def test_another_social_adapter(settings: Any) -> None:
    del settings.SOCIALACCOUNT_ADAPTER
    assert f"{HERE}.adapters.SocialAccountAdapter" in found()["anonusers.E022"]


@pytest.mark.parametrize(
    "order",
    [
        ["auth", "guest"],
        ["auth", "allauth"],
        ["auth", "allauth", "guest"],
        ["guest", "allauth", "auth"],
    ],
)
def test_middleware_that_is_missing_or_stands_too_early(settings: Any, order: list[str]) -> None:
    names = {
        "auth": "django.contrib.auth.middleware.AuthenticationMiddleware",
        "guest": "anonusers.middleware.GuestMiddleware",
        "allauth": f"{HERE}.middleware.AllauthGuestMiddleware",
    }
    others = [name for name in settings.MIDDLEWARE if name not in names.values()]
    settings.MIDDLEWARE = [*others, *(names[name] for name in order)]
    assert "in this order" in found()["anonusers.E023"]


def test_allauths_own_backend(settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
    assert found() == {"anonusers.W020": f'Name "{HERE}.backends.AuthenticationBackend" in its place.'}


def test_the_bridge_without_allauth(monkeypatch: Any) -> None:
    monkeypatch.setattr(f"{HERE}.checks.apps.is_installed", lambda name: not name.startswith("allauth"))
    assert "INSTALLED_APPS" in found()["anonusers.E020"]


@pytest.mark.parametrize("name", ["ACCOUNT_ADAPTER", "MIDDLEWARE"])
def test_the_bridge_is_used_and_not_installed(settings: Any, monkeypatch: Any, name: str) -> None:
    monkeypatch.setattr("anonusers.checks.apps.is_installed", lambda name: name != HERE)
    if name == "ACCOUNT_ADAPTER":
        del settings.ACCOUNT_ADAPTER, settings.SOCIALACCOUNT_ADAPTER
    else:
        settings.MIDDLEWARE = [path for path in settings.MIDDLEWARE if not path.startswith(HERE)]
    assert f'Add "{HERE}" to INSTALLED_APPS' in found()["anonusers.E024"]


def test_allauth_without_the_bridge(settings: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("anonusers.checks.apps.is_installed", lambda name: name != HERE)
    del settings.ACCOUNT_ADAPTER, settings.SOCIALACCOUNT_ADAPTER
    settings.MIDDLEWARE = [path for path in settings.MIDDLEWARE if not path.startswith(HERE)]
    assert f'Add "{HERE}" to INSTALLED_APPS' in found()["anonusers.W021"]


def test_importing_anonusers_imports_no_allauth() -> None:
    """Not even where it is installed."""
    code = (
        "import os, sys, pkgutil, importlib, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'config.settings'; "
        "django.setup(); import anonusers; "
        "names = [m.name for m in pkgutil.walk_packages(anonusers.__path__, 'anonusers.')]; "
        "ours = [n for n in names if not n.startswith('anonusers.contrib.') and 'migrations' not in n]; "
        "[importlib.import_module(n) for n in ours]; "
        "assert len(ours) > 100; print([n for n in sys.modules if n.split('.')[0] == 'allauth'])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.stdout.strip() == "[]", run.stderr
