"""Whole host projects, each with its own user model, run their own tests in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOSTS = sorted(path.parent.name for path in (ROOT / "tests/hosts").glob("*/settings.py"))

pytestmark = pytest.mark.database


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_project(host):
    settings = f"tests.hosts.{host}.settings"
    command = [sys.executable, "-m", "pytest", "-c", "tests/hosts/pytest.ini", "--rootdir", ".", "-p", "no:xdist", "-q"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"DJANGO_SETTINGS_MODULE": settings, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [*command, f"tests/hosts/{host}"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    assert " passed" in run.stdout.splitlines()[-1]


def test_there_are_hosts_of_every_kind():
    assert {"drf_simplejwt", "email_required", "plain", "proxy_user", "uuid_allauth"} <= set(HOSTS)


@pytest.mark.parametrize("host", HOSTS)
def test_no_migration_of_a_host_or_of_ours_is_missing(host):
    """With their user model, too."""
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": f"tests.hosts.{host}.settings", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "django", "makemigrations", "--check", "--dry-run"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stdout.strip()) == (0, "No changes detected"), run.stderr
