"""A project that clients of Stitch and Realm find, and its people."""

from typing import Any

import pytest

from anonusers.models import Application, Project
from portal.realm import make_application
from tests.conftest import make_project
from tests.portal.realm_admin.tools import Tool, tool_of

APP_ID = "guestbook-abcde"


@pytest.fixture
def project(db: None) -> Project:
    return make_project(realm_app_id=APP_ID, realm_local_userpass=True, realm_auto_confirm=True)


@pytest.fixture
def application(project: Project) -> Application:
    return make_application(project, actor=None)


@pytest.fixture
def other(db: None) -> Project:
    """What nobody of the first project must learn of or change."""
    return make_project("secretshop", "secret.example.com", realm_app_id="secretshop-fghij")


@pytest.fixture
def admin(operator: Any) -> Tool:
    """The tool of an administrator."""
    return tool_of(operator)
