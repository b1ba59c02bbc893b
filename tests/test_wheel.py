"""What is released: the wheel, made from the sdist, installed into an empty environment and an empty project."""

import fcntl
import http.client
import json
import os
import re
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.test_serve import ROOT, environment, free_port

pytestmark = pytest.mark.once

NO_INDEX = re.compile(r"No matching distribution found|NewConnectionError|Could not find a version|ConnectTimeout")

SETTINGS = """
INSTALLED_APPS += ["rest_framework", "anonusers"]
MIDDLEWARE += ["anonusers.middleware.GuestMiddleware"]
"""
PORTAL = """
INSTALLED_APPS += ["portal"]
MIDDLEWARE.insert(1, "django.middleware.locale.LocaleMiddleware")
"""
URLS = """
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("portal/", include("portal.urls")),
    path("", include("anonusers.urls")),
]
"""
PROJECT = """
[project]
id = "mine"
name = "Mine"
domains = ["localhost", "127.0.0.1"]

[project.anonymous_users]
enabled = true

[project.sign_in]
login_ids = ["email"]

[[applications]]
client_id = "web"
name = "Web"
type = "spa"
"""
OPERATE = """
import json, re, sys
import django
django.setup()
from django.contrib.auth import get_user_model
from django.test import Client
operator = get_user_model().objects.create_superuser("operator")
client = Client(HTTP_HOST="localhost")
client.force_login(operator)
told = {}
for path in json.loads(sys.argv[1]):
    answer = client.get(path, follow=True)
    told[path] = [answer.status_code, len(answer.content), answer.request["PATH_INFO"]]
print(json.dumps(told))
"""


@dataclass(frozen=True)
class Released:
    """What was built, and an environment in which nothing else is installed."""

    wheel: Path
    sdist: Path
    python: Path
    project: Path

    def run(self, *words: str, **settings: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.python), *words],
            cwd=self.project,
            env=environment(DJANGO_SETTINGS_MODULE="mysite.settings", **settings),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def manage(self, *words: str) -> str:
        ended = self.run("manage.py", *words)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Released:
    """Made once, also where several processes run these tests."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "released"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        python, project = folder / "env" / "bin" / "python", folder / "an empty project"
        if (folder / "no index").exists():
            pytest.skip("pip reaches no index")
        if not (folder / "made").exists():
            make(folder, python, project)
            (folder / "made").touch()
    [wheel], [sdist] = folder.glob("dist/*.whl"), folder.glob("dist/*.tar.gz")
    return Released(wheel, sdist, python, project)


def make(folder: Path, python: Path, project: Path) -> None:
    kept = {name: os.environ[name] for name in os.environ if name.startswith(("PIP_", "UV_", "SSL_"))}

    def run(*words: object, cwd: Path = folder) -> None:
        ended = subprocess.run(
            [str(word) for word in words],
            cwd=cwd,
            env=environment() | kept | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        said = ended.stdout + ended.stderr
        if ended.returncode and NO_INDEX.search(said):
            (folder / "no index").touch()
            pytest.skip("pip reaches no index")
        assert ended.returncode == 0, said

    run(sys.executable, "-m", "build", "--outdir", folder / "dist", ROOT)
    run(sys.executable, "-m", "venv", folder / "env")
    [wheel] = folder.glob("dist/*.whl")
    run(python, "-m", "pip", "install", "--quiet", wheel)
    project.mkdir()
    run(python, "-m", "django", "startproject", "mysite", ".", cwd=project)
    with (project / "mysite" / "settings.py").open("a") as file:
        file.write(SETTINGS + PORTAL)
    (project / "mysite" / "urls.py").write_text(URLS)
    (project / "project.toml").write_text(PROJECT)
    for words in (("check",), ("migrate", "-v0"), ("anonusers_config", "apply", "project.toml")):
        run(python, "manage.py", *words, cwd=project)


@contextmanager
def serving(released: Released) -> Iterator[int]:
    """Django's own server, as the tutorial starts it. Yields: its port."""
    port = free_port()
    with subprocess.Popen(
        [released.python, "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"],
        cwd=released.project,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            until = time.monotonic() + 30
            while True:
                try:
                    ask(port, "GET", "/nothing")
                    break
                except OSError:
                    assert time.monotonic() < until
                    time.sleep(0.1)
            yield port
        finally:
            process.terminate()


def ask(
    port: int, method: str, path: str, body: str = "", headers: dict[str, str] | None = None
) -> tuple[int, str, str]:
    """Returns: status, body, and the cookies that were set, as a browser sends them back."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path, body or None, headers or {})
        answer = connection.getresponse()
        cookies = (value.partition(";")[0] for name, value in answer.getheaders() if name.lower() == "set-cookie")
        return answer.status, answer.read().decode(errors="replace"), "; ".join(cookies)


def files(released: Released) -> set[str]:
    with zipfile.ZipFile(released.wheel) as archive:
        return set(archive.namelist())


def source(folder: str, pattern: str) -> set[str]:
    """Files of a package in this checkout, but for what Python and editors leave behind."""
    found = (ROOT / folder).rglob(pattern)
    return {str(path.relative_to(ROOT)) for path in found if path.is_file() and "__pycache__" not in path.parts}


# --- what is in it ---------------------------------------------------------------------------------


def test_the_wheel_has_our_two_packages_and_nothing_else(released: Released) -> None:
    tops = {name.split("/")[0] for name in files(released)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"anonusers", "portal"}
    assert not [name for name in files(released) if re.search(r"(^|/)(tests?|var|__pycache__)/|\.po$|/test_", name)]


def test_every_module_migration_template_and_static_file_is_in_it(released: Released) -> None:
    wanted = source("anonusers", "*.py") | source("portal", "*.py")
    assert {name for name in wanted if "/migrations/0" in name}
    for folder in ("anonusers/templates", "anonusers/static", "portal/static"):
        wanted |= source(folder, "*")
    wanted |= {f"portal/{name}" for name in source("templates/portal", "*")}
    wanted |= {"anonusers/py.typed", "portal/py.typed"}
    assert {name for name in wanted if name.startswith("portal/templates/portal/")}
    assert wanted - files(released) == set()


def test_every_catalogue_is_in_it_compiled(released: Released) -> None:
    catalogues = source("anonusers", "*.po") | source("portal", "*.po")
    assert catalogues
    assert {re.sub(r"\.po$", ".mo", name) for name in catalogues} - files(released) == set()


def test_the_sdist_has_all_that_building_and_testing_takes(released: Released) -> None:
    with tarfile.open(released.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    wanted = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile", "manage.py", "tests/conftest.py"}
    wanted |= {name for name in tracked.splitlines() if (ROOT / name).is_file()}
    assert wanted - names == set()
    assert not [name for name in names if name.startswith((".venv", "var/", "node_modules", ".git/"))]


def test_the_metadata_is_fit_for_a_release(released: Released) -> None:
    with zipfile.ZipFile(released.wheel) as archive:
        [path] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = archive.read(path).decode()
        entry_points = archive.read(path.replace("METADATA", "entry_points.txt")).decode()
    for line in (
        "Name: anonusers",
        "License-Expression: MIT",
        "Requires-Python: >=3.11",
        "Description-Content-Type: text/markdown",
        "Classifier: Typing :: Typed",
        "Classifier: Framework :: Django :: 5.2",
        *(f"Provides-Extra: {extra}" for extra in ("allauth", "redis", "postgres", "openapi", "metrics")),
    ):
        assert line in metadata.splitlines(), line
    assert "[pytest11]\nanonusers = anonusers.pytest_plugin" in entry_points


def test_versions_agree() -> None:
    from anonusers import __version__

    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()


# --- what it does ----------------------------------------------------------------------------------


def test_an_empty_environment_has_all_that_it_needs(released: Released) -> None:
    ended = released.run("-m", "pip", "check")
    assert ended.returncode == 0, ended.stdout
    code = "import anonusers, portal; from importlib.resources import files as f; print(anonusers.__file__)"
    code += "; assert f('anonusers').joinpath('py.typed').is_file() and f('portal').joinpath('py.typed').is_file()"
    ended = released.run("-c", code)
    assert ended.returncode == 0, ended.stderr
    assert "site-packages" in ended.stdout


def test_an_empty_project_has_nothing_to_complain_about(released: Released) -> None:
    assert "no issues" in released.manage("check")
    assert "No changes detected" in released.manage("makemigrations", "--check", "--dry-run")
    assert "No changes." in released.manage("anonusers_config", "apply", "project.toml", "--dry-run")


def test_a_visitor_becomes_a_guest_and_sees_the_hosted_page_with_its_styles_in_their_language(
    released: Released,
) -> None:
    with serving(released) as port:
        body, kind = json.dumps({"client_id": "web"}), {"Content-Type": "application/json"}
        status, text, _ = ask(port, "POST", "/api/v1/signup/", body, kind)
        assert status == 201, text
        bearer = {"Authorization": f"Bearer {json.loads(text)['access_token']}"}
        status, text, _ = ask(port, "GET", "/api/v1/userinfo/", headers=bearer)
        assert (status, json.loads(text)["is_anonymous"]) == (200, True)

        status, text, cookies = ask(
            port, "POST", "/api/v1/signup/", json.dumps({"client_id": "web", "kind": "cookie"}), kind
        )
        assert status == 201, text
        cookie = {"Cookie": cookies}
        status, english, _ = ask(port, "GET", "/promote?next=/", headers=cookie)
        assert status == 200, english
        status, german, _ = ask(port, "GET", "/promote?next=/", headers=cookie | {"Accept-Language": "de"})
        assert status == 200
        assert '<html lang="de"' in german
        assert heading(german) != heading(english)

        assets = re.findall(r'(?:href|src)="(/static/[^"]+)"', english)
        assert any(path.endswith(".css") for path in assets)
        assert any(path.endswith(".js") for path in assets)
        for path in {*assets, "/static/anonusers/guest.js", "/static/portal/portal.css"}:
            assert ask(port, "GET", path)[0] == 200, path
        status, text, _ = ask(port, "GET", "/portal/login/")
        assert status == 200
        assert 'name="password"' in text


def heading(page: str) -> str:
    found = re.search(r"<h1[^>]*>(.*?)</h1>", page, re.DOTALL)
    assert found, page
    return found[1]


def test_the_portal_works_from_the_wheel(released: Released) -> None:
    pages = ["", "overview/", "users/", "anonymous-users/", "applications/", "applications/new/", "session/", "keys/"]
    paths = ["/portal/", *(f"/portal/mine/{page}" for page in pages)]
    ended = released.run("-c", OPERATE, json.dumps(paths))
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert {path: words for path, words in told.items() if words[0] != 200 or words[1] < 1000} == {}


def test_what_an_extra_brings_is_not_missed_before_it_is_used(released: Released) -> None:
    """The native API's schema wants drf-spectacular: without it that page alone is not there."""
    with serving(released) as port:
        assert ask(port, "GET", "/api/v1/schema/")[0] == 404
        assert ask(port, "GET", "/.well-known/openid-configuration")[0] == 200
