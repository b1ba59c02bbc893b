"""No page reads everybody: every page of the portal over many people, and how the database would answer it.

benchmarks/portal_pages.py does the same with a million.
"""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client

from anonusers.models import Project
from anonusers.statistics import roll_up
from benchmarks.plans import _scanned, addresses, look
from benchmarks.population import analyze, fill
from benchmarks.portal_pages import known_of, make_project

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]
PEOPLE = 20_000


@pytest.fixture
def large() -> Project:
    """A project with many people beside another one; all of it goes with the test's transaction."""
    with connection.cursor() as cursor:
        for slug, people in (("large", PEOPLE * 9 // 10), ("small", PEOPLE // 10)):
            project, applications = make_project(slug)
            fill(cursor, project=project.pk, applications=applications, people=people)
        analyze(cursor)
    large = Project.objects.get(slug="large")
    roll_up(large)
    return large


def test_every_page_takes_less_than_15_statements_and_no_scan(portal: Client, large: Project) -> None:
    problems: list[str] = []
    for page, address in addresses("large", **known_of(large)):
        problems += look(portal, page, address, without_scans=True).problems
    # A member costs one statement more than an administrator, whose role nobody has to look up.
    viewer: Any = get_user_model().objects.create_user("vera", is_staff=True)
    large.memberships.create(user=viewer, role="viewer")
    portal.force_login(viewer)
    for page in ("overview", "users"):
        problems += look(portal, f"{page}, viewer", f"/portal/large/{page}/", without_scans=True).problems
    assert problems == []
    assert large.end_users.count() == PEOPLE * 9 // 10
    assert large.created_at > large.end_users.earliest("created_at").created_at + timedelta(days=300)


def test_what_is_to_be_found_is_found() -> None:
    """Else the test above says nothing."""
    assert _scanned('SELECT * FROM "auth_user" WHERE "email" = \'x\'', without_scans=True) == ["auth_user"]
    assert _scanned('SELECT * FROM "auth_user" WHERE "id" = 1', without_scans=True) == []
