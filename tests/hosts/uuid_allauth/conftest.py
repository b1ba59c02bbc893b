import pytest

from anonusers.models import Application, Project
from tests.hosts.uuid_allauth.visits import App


@pytest.fixture
def app(project: Project) -> App:
    Application.objects.create(project=project, client_id="app", name="App", type="native")
    return App()
