"""Fill the empty database: our tables, one project with one application, and the floor's table."""

import os

import django
from django.core.management import call_command
from django.db import connection

# The SDK's own kind of client: a single-page application with default lifetimes, rotation and JWT access tokens.
CLIENT_ID = "bench-web"

FLOOR = """
CREATE TABLE floor (
    id uuid PRIMARY KEY,
    client_id varchar(100) NOT NULL,
    secret varchar(64) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
)
"""


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    django.setup()

    from anonusers.keys import create_keys
    from anonusers.models import Application, Project

    call_command("migrate", interactive=False, verbosity=0)
    project = Project.objects.create(slug="bench", name="Bench", anonymous_users_enabled=True)
    project.domains.create(domain="127.0.0.1")
    create_keys(project)
    Application.objects.create(project=project, client_id=CLIENT_ID, name="Bench", type=Application.Type.SPA)
    with connection.cursor() as cursor:
        cursor.execute(FLOOR)


if __name__ == "__main__":
    main()
