"""The pytest plugin in a host's own test run: a small project outside of this repository, in a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

SETTINGS = """
SECRET_KEY = "tests"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "anonusers"]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
ROOT_URLCONF = "urls"
USE_TZ = True
"""

URLS = """
from django.urls import include, path
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from anonusers.authentication import BearerAuthentication, CookieAuthentication
from anonusers.userinfo import is_guest


class Me(APIView):
    authentication_classes = [BearerAuthentication, CookieAuthentication]
    permission_classes = [IsAuthenticated]

    def get(self, request):
        return Response({"pk": request.user.pk, "guest": is_guest(request.user)})

    post = get


urlpatterns = [path("me/", Me.as_view()), path("", include("anonusers.urls"))]
"""

TESTS = """
import pytest
from django.contrib.auth import get_user_model

from anonusers.events import user_created
from anonusers.models import Project
from anonusers.testing import bearer_headers, client_of, make_application, make_member
from anonusers.userinfo import is_guest


def test_a_guest_is_a_row_of_the_hosts_users(guest):
    assert isinstance(guest, get_user_model())
    assert is_guest(guest)
    assert not guest.has_usable_password()


def test_the_client_is_the_guests(guest, guest_client):
    assert guest_client.get("/me/").json() == {"pk": guest.pk, "guest": True}
    assert guest_client.post("/me/").json() == {"pk": guest.pk, "guest": True}


def test_over_tls_too(guest, guest_client):
    assert guest_client.get("/me/", secure=True).json()["pk"] == guest.pk


def test_a_token_is_the_guests(guest, client):
    assert client.get("/me/").status_code == 401
    assert client.get("/me/", headers=bearer_headers(guest)).json() == {"pk": guest.pk, "guest": True}


def test_a_token_of_an_application(guest, guest_application, client):
    assert client.get("/me/", headers=bearer_headers(guest, guest_application)).json()["pk"] == guest.pk


def test_somebody_who_was_promoted(promoted_user):
    assert not is_guest(promoted_user)
    assert promoted_user.email.endswith("@example.com")
    assert client_of(promoted_user).get("/me/").json() == {"pk": promoted_user.pk, "guest": False}


def test_a_guest_who_is_promoted_stays_the_same(guest, guest_client, make_member):
    member = make_member("anna@example.com", password="nine tame walruses", guest=guest)
    assert (member.pk, member.end_user.pk) == (guest.pk, guest.end_user.pk)
    assert member.check_password("nine tame walruses")
    assert guest_client.get("/me/").status_code == 401, "sessions of the guest end"


def test_user_names_and_phone_numbers(make_member):
    assert make_member("anna").username == "anna"
    with pytest.raises(Exception, match="phone"):
        make_member("no number", type="phone")


def test_as_many_guests_as_one_likes(make_guest):
    assert len({make_guest().pk for _ in range(70)}) == 70


def test_one_more_run_of_as_many(make_guest):
    assert len({make_guest().pk for _ in range(70)}) == 70


def test_a_project_is_made_once(guest_project, guest, promoted_user):
    assert Project.objects.get() == guest_project


def test_the_factories_need_no_fixture(db):
    assert not is_guest(make_member())
    assert make_application(client_id="other").project.slug == "tests"


def test_events_reach_the_host(make_guest, django_capture_on_commit_callbacks):
    seen = []
    receiver = lambda **sent: seen.append(sent["event"].type)
    user_created.connect(receiver)
    with django_capture_on_commit_callbacks(execute=True):
        make_guest()
    assert seen == ["user.created"]
"""

OWN_PROJECT = """
import pytest

from anonusers.testing import make_project


@pytest.fixture
def guest_project(db):
    return make_project("shop", name="Shop", login_ids=["username"])


def test_a_fixture_that_is_overridden_serves_the_others(guest, guest_application, make_member):
    assert guest.end_user.project.slug == guest_application.project.slug == "shop"
    assert make_member("anna").end_user.project.name == "Shop"
"""

PLAIN = """
import sys


def test_nothing_of_django_is_imported():
    assert "anonusers.pytest_plugin" in sys.modules
    assert not [name for name in sys.modules if name == "django" or name.startswith(("anonusers.models", "django.db"))]
"""


def run(folder: Path, *options: str, **settings: str) -> tuple[int, str]:
    """Run pytest in `folder`. Returns its exit code and what it said."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *options],
        cwd=folder,
        env=kept | {"PYTHONDONTWRITEBYTECODE": "1"} | settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A project with tests of its own. It knows nothing of the plugin but that anonusers is installed."""
    for name, text in {"settings.py": SETTINGS, "urls.py": URLS, "test_mine.py": TESTS}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "test_own_project.py").write_text(OWN_PROJECT)
    (tmp_path / "pytest.ini").write_text("[pytest]\nDJANGO_SETTINGS_MODULE = settings\npythonpath = .\n")
    return tmp_path


def test_a_hosts_own_tests_find_the_fixtures(host: Path) -> None:
    code, said = run(host)
    assert code == 0, said
    expected = len(re.findall(r"^def test_", TESTS + OWN_PROJECT, re.MULTILINE))
    assert f"{expected} passed" in said


def test_the_plugin_can_be_turned_off(host: Path) -> None:
    code, said = run(host, "-p", "no:anonusers", "-k", "test_a_guest_is_a_row")
    assert code == 1
    assert "fixture 'guest' not found" in said


def test_the_fixtures_tell_what_they_are(host: Path) -> None:
    _, said = run(host, "--fixtures")
    for name in ("guest_project", "guest_application", "guest", "guest_client", "promoted_user", "make_guest"):
        assert re.search(rf"^{name} .*pytest_plugin\.py:\d+\n    \S", said, re.MULTILINE), name


def test_a_project_without_django_does_not_notice_it(tmp_path: Path) -> None:
    (tmp_path / "test_plain.py").write_text(PLAIN)
    code, said = run(tmp_path, "-p", "no:django")
    assert code == 0, said
