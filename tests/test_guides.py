"""The how-to guides, done by a machine: their files are written into a project as the tutorial makes one, and their
own tests run there."""

import shutil
from pathlib import Path

import pytest

from tests.telling import Reader, blocks

GUIDES = Path(__file__).parent.parent / "docs" / "howto"
# Programs that do not run here, and files of the repository, which have tests of their own.
SHOWN = {"js", "text", "literalinclude", "toctree"}
SETTINGS = """
INSTALLED_APPS += ["rest_framework", "anonusers", "shop"]
MIDDLEWARE += ["anonusers.middleware.GuestMiddleware"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
"""
URLS = """
from django.urls import include, path

urlpatterns = [path("", include("shop.urls")), path("", include("anonusers.urls"))]
"""
PAGES = sorted(page for page in GUIDES.glob("*.md") if any(block.caption for block in blocks(page)))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project `mysite` with an app `shop`, set up as in the first steps of the tutorial."""
    folder = tmp_path_factory.mktemp("site")
    with Reader(folder) as reader:
        reader.run("django-admin startproject mysite .")
        reader.run("python manage.py startapp shop")
    with (folder / "mysite/settings.py").open("a") as settings:
        settings.write(SETTINGS)
    (folder / "mysite/urls.py").write_text(URLS)
    (folder / "shop/urls.py").write_text("urlpatterns = []\n")
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_a_guide_is_used(page, site, tmp_path):
    shutil.copytree(site, tmp_path, dirs_exist_ok=True)
    with Reader(tmp_path) as reader:
        reader.follow(page, shown=SHOWN)
    if (tmp_path / "shop/tests.py").read_text() != (site / "shop/tests.py").read_text():
        assert any("manage.py test" in command for block in blocks(page) for command, _ in block.commands)
