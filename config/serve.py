"""`python -m config.serve`: make everything ready, then become the production server. `make run` calls it.

Where several processes share a database, `config.serve prepare` does the first part once, and each of them is a
`config.serve start`, which waits for nothing and leaves the database alone (docs/deploy.md).

A module rather than a management command, because a settings module that cannot be imported needs a clear
message as well. What can go wrong on somebody's machine ends in one line and exit code 1; a traceback means a bug.
"""

import contextlib
import errno
import hashlib
import logging
import os
import secrets
import shutil
import socket
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import django
from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from anonusers.project_file import ProjectFile

# The server was measured with 4: a thread that waits for a commit leaves the others to work.
BLOCKING_THREADS = 4
# A request that hangs may delay the end by this many seconds.
STOP_TIMEOUT = 5
ENGINES = {"sqlite3": "sqlite", "postgresql": "postgres", "mysql": "mysql"}
PREPARE, START = "prepare", "start"
# granian's own lines in the form of ours.
JSON_LOGS = Path(__file__).with_name("granian_logs.json")

logger = logging.getLogger("config.serve")  # also where this file is __main__


class CannotServe(Exception):
    """Something outside our code is in the way; the text tells the operator what."""


def main() -> NoReturn:
    """Prepare, then replace this process with the server; or one of both, as the command line says. Never returns."""
    steps = sys.argv[1:] or [PREPARE, START]
    if not set(steps) <= {PREPARE, START}:
        sys.exit(f"usage: python -m config.serve [{PREPARE}] [{START}]")
    try:
        load_settings()
        if START in steps:
            check_port()
        check_settings()
        if PREPARE in steps:
            prepare()
        if START in steps:
            check_static_files()
            share_counters()
            say_where()
    except CannotServe as problem:
        refuse(problem)
    except KeyboardInterrupt:
        sys.exit(130)
    if START not in steps:
        sys.exit(0)
    become_server()


def prepare() -> None:
    """Everything before the first request; prints what an operator wants to know.

    Raises: CannotServe.
    """
    from django.db import connections
    from django.db.utils import InterfaceError, OperationalError

    project_file = read_config()
    check_cache()
    check_database()
    try:
        migrate()
        apply_config(project_file)
        collect_static_files()
        operator = create_operator()
    except (InterfaceError, OperationalError) as error:
        raise CannotServe(f"The database at {database_url()} cannot be used: {first_line(error)}") from error
    finally:
        connections.close_all()
    if operator:
        name, password = operator
        rule = "-" * 64
        say(f"\n{rule}\nOperator account for the portal. The password is shown only this once.\n")
        say(f"  user name  {name}\n  password   {password}\n{rule}")


def refuse(problem: CannotServe) -> NoReturn:
    """One line, also where a driver's message has several."""
    line = " ".join(str(problem).split())
    if logs_json():
        logger.critical(line)
        sys.exit(1)
    sys.exit(f"anonusers: {line}")


def load_settings() -> None:
    """Import the settings and set up Django.

    Raises: CannotServe; the text never quotes a URL, which may hold a password.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # environ's warnings quote the URL
            from django.conf import settings

            engine = settings.DATABASES["default"]["ENGINE"]
    except ImproperlyConfigured as error:
        raise CannotServe(str(error)) from error
    except (KeyError, ValueError) as error:
        raise CannotServe(
            "A setting in the environment cannot be read. PORT and WORKERS are numbers; DATABASE_URL looks like "
            "postgres://user:password@host:5432/name, with special characters of the password as %XX."
        ) from error
    if engine.removeprefix("django.db.backends.") not in ENGINES:
        raise CannotServe(
            f"DATABASE_URL begins with {engine}://, which is not supported. "
            "Use sqlite:///path, postgres://user:password@host:5432/name or mysql://user:password@host:3306/name."
        )
    django.setup()


def check_port() -> None:
    """Raises: CannotServe when nobody could reach us at BIND and PORT, or somebody else answers there."""
    from django.conf import settings

    where = f"Port {settings.PORT} on {settings.BIND}"
    if not 0 < settings.PORT < 65536:
        raise CannotServe(f"PORT is {settings.PORT}; it must be between 1 and 65535.")
    try:
        family = socket.getaddrinfo(settings.BIND, settings.PORT, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # Connections of an earlier run that are still winding down do not count as taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.BIND, settings.PORT))
    except OSError as error:
        reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise CannotServe(f"{where} {reason}. Choose another: make run PORT=9000") from error
    if not serves_localhost():
        return
    for host in ("127.0.0.1", "::1"):
        # Browsers try ::1 for localhost first: a stranger there would be taken for us.
        with contextlib.suppress(OSError), socket.create_connection((host, settings.PORT), timeout=1):
            raise CannotServe(f"Port {settings.PORT} on localhost is taken. Choose another: make run PORT=9000")


def check_settings() -> None:
    """Raises: CannotServe when Django's system checks find an error, which would else meet the first visitor."""
    from django.core.checks import run_checks

    # No database: by itself Django 6.1 connects to each.
    found = run_checks(databases=[])
    if problems := [f"{problem.msg} ({problem.id})" for problem in found if problem.is_serious()]:
        raise CannotServe(" ".join(problems))


def check_database() -> None:
    """Raises: CannotServe when the database does not answer, or its driver is missing."""
    from django.db import Error, connection

    try:
        if connection.vendor == "sqlite":
            Path(connection.settings_dict["NAME"]).parent.mkdir(parents=True, exist_ok=True)
        connection.ensure_connection()
    except (Error, ImproperlyConfigured, OSError) as error:
        raise CannotServe(f"The database at {database_url()} cannot be reached: {first_line(error)}") from error


def check_cache() -> None:
    """Raises: CannotServe when CACHE_URL names a server that does not answer, or a driver that is missing."""
    from django.conf import settings
    from django.core.cache import cache

    if not settings.CACHE_URL:
        return
    try:
        cache.get("anonusers:start")
    except Exception as error:  # each driver has a tree of its own
        raise CannotServe(f"The cache at {without_password(settings.CACHE_URL)} cannot be reached.") from error


def migrate() -> None:
    """Bring the tables up to date. Asking first saves the second start the signals that follow a migration."""
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        say("Migrating the database")
        call_command("migrate", interactive=False, verbosity=0)


def read_config() -> "ProjectFile":
    """The project file CONFIG, valid in itself; the database is not asked.

    Raises: CannotServe.
    """
    from django.conf import settings

    from anonusers.errors import InvalidProjectFile
    from anonusers.project_file import read_project_file

    try:
        return read_project_file(settings.CONFIG)
    except InvalidProjectFile as error:
        raise CannotServe(error.message) from error


def apply_config(file: "ProjectFile") -> None:
    """Apply the project file where the project is new or the file changed since it was last applied.

    An unchanged file leaves the project alone, so that what operators edit in the portal outlives a restart.
    Raises: CannotServe.
    """
    from anonusers.errors import InvalidProjectFile
    from anonusers.models import Project
    from anonusers.project_file import apply_project_file

    slug = file.project["slug"]
    project = Project.objects.filter(slug=slug, config_digest=file.digest).first()
    if project:
        say(f"Project {slug}: {file.path} is unchanged, edits made in the portal stay")
    else:
        try:
            applied = apply_project_file(file)
        except InvalidProjectFile as error:
            raise CannotServe(error.message) from error
        project = applied.project
        say(f"Project {slug}: {'created' if applied.created else 'updated'} from {file.path}")
    domains = sorted(project.domains.values_list("domain", flat=True))
    if serves_localhost() and not {"localhost", "*"} & set(domains):
        say(f"Its domains are {', '.join(domains) or 'none'}: it does not answer at localhost")


def create_operator() -> tuple[str, str] | None:
    """Make the first staff account. Returns: its name and password, or None where there is one already, or where what
    is printed is kept as a log."""
    from django.contrib.auth import get_user_model

    users: Any = get_user_model()._default_manager
    if users.filter(is_staff=True).exists():
        return None
    if logs_json():
        logger.warning("there is no operator for the portal yet: manage.py createsuperuser makes one")
        return None
    name, password = "operator", secrets.token_urlsafe(15)
    if users.filter(username=name).exists():  # an end user was promoted under this name
        name = f"operator-{secrets.token_hex(3)}"
    users.create_superuser(name, password=password)
    return name, password


def collect_static_files() -> None:
    """Hash and compress the static files, unless none has changed since the last time."""
    from django.conf import settings
    from django.core.management import call_command

    if settings.COLLECTED_STATIC:
        return
    note = settings.VAR_DIR / "static.fingerprint"
    fingerprint = static_fingerprint()
    if note.exists() and note.read_text() == fingerprint and (settings.STATIC_ROOT / "staticfiles.json").exists():
        return
    say("Compressing the static files")
    note.unlink(missing_ok=True)
    call_command("collectstatic", interactive=False, clear=True, verbosity=0)
    note.write_text(fingerprint)


def check_static_files() -> None:
    """Raises: CannotServe when there are none, without which no page can be shown."""
    from django.conf import settings

    if not (settings.STATIC_ROOT / "staticfiles.json").exists():
        hint = "manage.py collectstatic" if settings.COLLECTED_STATIC else "python -m config.serve prepare"
        raise CannotServe(f"There are no static files in {settings.STATIC_ROOT}: run {hint}.")


def static_fingerprint() -> str:
    """One value that changes when a static file or the way they are stored does."""
    from django.conf import settings
    from django.contrib.staticfiles.finders import get_finders

    state = hashlib.sha256(f"{settings.STORAGES} {settings.STATIC_URL}\n".encode())
    for finder in get_finders():
        for name, storage in sorted(finder.list(None), key=lambda found: found[0]):
            path = storage.path(name)
            status = os.stat(path)
            state.update(f"{path} {status.st_mtime_ns} {status.st_size}\n".encode())
    return state.hexdigest()


def share_counters() -> None:
    """Let the workers count together where somebody may ask for the counters. Each start counts from zero.

    Raises: CannotServe.
    """
    from django.conf import settings

    if not settings.METRICS_TOKEN or settings.PROMETHEUS_MULTIPROC_DIR:
        return
    if find_spec("prometheus_client") is None:
        raise CannotServe('METRICS_TOKEN is set, and nothing counts: install "anonusers[metrics]".')
    directory = settings.VAR_DIR / "metrics"
    try:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotServe(f"{directory} cannot be written ({error.strerror}).") from error
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)  # for the server that this process becomes


def say_where() -> None:
    """Tell where to go."""
    from django.conf import settings

    if logs_json():
        say(f"serving on port {settings.PORT}")
        return
    base = f"http://{'localhost' if serves_localhost() else settings.BIND}:{settings.PORT}"
    say(
        f"\n  demo           {base}/\n  portal         {base}/portal/\n  API reference  {base}/api/v1/\n"
        f"  discovery      {base}/.well-known/openid-configuration\n\nServing; stop with Ctrl-C."
    )


def serves_localhost() -> bool:
    """Whether a browser on this machine finds us at localhost."""
    from django.conf import settings

    return settings.BIND in ("localhost", "127.0.0.1", "0.0.0.0", "::1", "::")  # noqa: S104 - compared, not bound


def become_server() -> NoReturn:
    """Replace this process with granian, so that signals and exit codes are the server's own."""
    from django.conf import settings

    sys.stdout.flush()
    sys.stderr.flush()
    arguments = {
        "--interface": "wsgi",
        "--host": settings.BIND,
        "--port": settings.PORT,
        "--workers": settings.WORKERS or default_workers(),
        "--blocking-threads": BLOCKING_THREADS,
        "--workers-kill-timeout": STOP_TIMEOUT,
        "--log-level": "warning",
    }
    if logs_json():
        arguments["--log-config"] = str(JSON_LOGS)
    words = [str(word) for pair in arguments.items() for word in pair]
    os.execv(sys.executable, [sys.executable, "-m", "granian", *words, "config.worker:application"])  # noqa: S606


def default_workers() -> int:
    """One on SQLite, which has a single writer; elsewhere one for each core we may use, four at most."""
    from django.db import connection

    if connection.vendor == "sqlite":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 4)


def database_url() -> str:
    """The database's address without its password."""
    from django.conf import settings

    database = settings.DATABASES["default"]
    scheme = ENGINES[database["ENGINE"].removeprefix("django.db.backends.")]
    if scheme == "sqlite":
        return f"sqlite:///{database['NAME']}"
    user = f"{database['USER']}@" if database["USER"] else ""
    port = f":{database['PORT']}" if database["PORT"] else ""
    return f"{scheme}://{user}{database['HOST']}{port}/{database['NAME']}"


def without_password(url: str) -> str:
    """`scheme://host…` of a URL that may name a user and a password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def first_line(error: Exception) -> str:
    """The part of a driver's message that says what is wrong; the lines after it guess at reasons."""
    words = error.args[1] if len(error.args) > 1 else error
    return (str(words).strip().splitlines() or [type(error).__name__])[0]


def say(line: str) -> None:
    """Print at once: the output may be a pipe, and this process is about to become another."""
    if logs_json():
        logger.info(line)
    else:
        print(line, flush=True)


def logs_json() -> bool:
    """Whether all that we say is a log. False while the settings cannot be read."""
    from django.conf import settings

    return settings.configured and settings.LOG_FORMAT == "json"


if __name__ == "__main__":
    main()
