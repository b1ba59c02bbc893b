"""Every page of the portal over a project with very many people: statements, time, and whether one reads a whole table.

    .venv/bin/python benchmarks/portal_pages.py --help

Needs a PostgreSQL where it may create a database (DATABASE_URL). Ends with 1 where a page takes 15 statements or more,
or reads a table from end to end that grows with people.
"""

import argparse
import os
import secrets
import sys
import tempfile
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # not this directory: the checkout's packages, and no name of a file here

from benchmarks.servers import Database  # noqa: E402 - the checkout need not be installed

DATABASE_URL = "postgres://root@127.0.0.1:5432/bench"


def main() -> None:
    options = parse_options()
    url = os.environ.setdefault("DATABASE_URL", DATABASE_URL)
    database = Database(url)
    with tempfile.TemporaryDirectory(prefix="anonusers-benchmark-") as directory:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "SECRET_KEY": secrets.token_urlsafe(40),
            "VAR_DIR": directory,
            "LOG_LEVEL": "ERROR",
        }
        (Path(directory) / "static").mkdir()
        if not options.reuse:
            database.create()
        try:
            problems = run(options)
        finally:
            if not options.keep:
                database.drop()
    sys.exit(1 if problems else 0)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=1_000_000, help="in all (1,000,000); one in ten elsewhere")
    parser.add_argument("--sessions", type=int, default=2, help="of each (2)")
    parser.add_argument("--only", default="", metavar="WORD", help="pages whose name has this word")
    parser.add_argument("--keep", action="store_true", help="leave the database as it is afterwards")
    parser.add_argument("--reuse", action="store_true", help="the database that an earlier run has kept")
    return parser.parse_args()


def run(options: argparse.Namespace) -> list[str]:
    import django
    from django.conf import settings
    from django.core.management import call_command

    django.setup()
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }
    settings.ALLOWED_HOSTS = ["*"]
    if not options.reuse:
        call_command("migrate", interactive=False, verbosity=0)
        prepare(options)
    return pages(options)


def prepare(options: argparse.Namespace) -> None:
    from django.contrib.auth import get_user_model
    from django.db import ProgrammingError, connection

    from anonusers.models import Project
    from anonusers.statistics import roll_up
    from benchmarks.population import BIG, fill, order

    get_user_model().objects.create_superuser("operator")
    shares = {"large": 9, "small": 1}
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off; SET statement_timeout = 0")
        with suppress(ProgrammingError):  # only a superuser may: foreign keys are not looked up for each row
            cursor.execute("SET session_replication_role = replica")
        for slug, share in shares.items():
            project, applications = make_project(slug)
            fill(
                cursor,
                project=project.pk,
                applications=applications,
                people=options.people * share // 10,
                sessions=options.sessions,
                tell=lambda done, slug=slug: print(f"\r{slug}: {done:,} people", end="", file=sys.stderr),
            )
            print(file=sys.stderr)
        order(cursor)
        cursor.execute("VACUUM ANALYZE")
        for table in sorted(BIG):
            cursor.execute(f"SELECT count(*) FROM {table}")
            print(f"{table:32} {cursor.fetchone()[0]:>12,} rows")
    for project in Project.objects.all():
        began = time.perf_counter()
        roll_up(project)
        print(f"a year of {project.slug} rolled up in {time.perf_counter() - began:.1f} s")


def make_project(slug: str) -> tuple[Any, list[int]]:
    """A project with four applications, a clean-up that has run, a deployment and a job."""
    from django.utils import timezone

    from anonusers.keys import create_keys
    from anonusers.models import Application, CleanupRun, Project
    from portal.models import Deployment, Job

    project = Project.objects.create(slug=slug, name=slug.title(), anonymous_users_enabled=True, login_ids=["email"])
    project.domains.create(domain=f"{slug}.example.com")
    create_keys(project)
    kinds = ("spa", "native", "traditional_webapp", "spa")
    applications = [
        Application.objects.create(project=project, client_id=f"{slug}-{number}", name=f"App {number}", type=kind)
        for number, kind in enumerate(kinds, 1)
    ]
    at = timezone.now() - timedelta(hours=6)
    foreseen = [{"days": days, "unreachable": 10 * days, "removed": 9 * days} for days in (0, 7, 30, 90)]
    CleanupRun.objects.create(
        project=project,
        state="finished",
        started_at=at,
        seen_at=at,
        finished_at=at,
        report={"counts": {"removed": 1200}, "forecast": foreseen},
    )
    Deployment.objects.create(project=project, number=1, author="operator", before="", after="")
    Job.objects.create(project=project, action="disable", selection={"subs": []}, state="finished")
    return project, [application.pk for application in applications]


def known_of(project: Any) -> dict[str, Any]:
    """What the addresses of pages name."""
    from django.utils import timezone

    from anonusers.models import EndUser

    application = project.applications.earliest("pk")
    sub = EndUser.objects.filter(project=project, promoted_at__isnull=False).order_by("-promoted_at")[0].pk
    now = timezone.now()
    return {
        **dict.fromkeys(("application.pk", "quick-start.pk", "application-delete.pk"), application.pk),
        "user.sub": sub,
        "job.pk": project.jobs.earliest("pk").pk,
        "deployment.number": 1,
        "client_id": application.client_id,
        "sub": sub,
        "today": f"{now:%Y-%m-%d}",
        "year_ago": f"{now - timedelta(days=365):%Y-%m-%d}",
    }


def pages(options: argparse.Namespace) -> list[str]:
    from django.contrib.auth import get_user_model
    from django.test import Client

    from anonusers.models import Project
    from benchmarks.plans import addresses, look

    client = Client(HTTP_HOST="large.example.com", raise_request_exception=False)
    client.force_login(get_user_model().objects.get(username="operator"))
    project = Project.objects.get(slug="large")
    problems: list[str] = []
    for page, address in addresses("large", **known_of(project)):
        if options.only in page:
            seen = look(client, page, address)
            problems += seen.problems
            print(f"{page[:60]:60} {seen.statements:>3} statements {seen.milliseconds:>8.0f} ms", flush=True)
    for problem in problems:
        print(f"! {problem}")
    return problems


if __name__ == "__main__":
    main()
