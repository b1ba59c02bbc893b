"""Sessions of nox: `nox --list` shows them, `nox -s "tests(python='3.13', django='6.1')" -- -k promotion` runs one.

Databases: `DATABASE_URL` names a server, as everywhere; or `--db sqlite|postgres|mariadb` among the arguments names one
on this machine. Interpreters that are not here are passed over. With uv installed, nox takes it to make environments.
"""

import os

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["lint", "tests", "docs", "wheel"]

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
DJANGOS = ("5.2", "6.0", "6.1")
DATABASES = {
    "sqlite": "",
    "postgres": "postgres://root@127.0.0.1:5432/test",
    "mariadb": "mysql://root@127.0.0.1:3306/test",
}
ONLY_BESIDE_A_SERVER = ["--ignore=tests/e2e", "--ignore=tests/test_serve.py"]


def allows(python: str, django: str) -> bool:
    """Django 6 wants Python 3.12; 5.2 goes up to 3.14 since 5.2.8."""
    return django == "5.2" or python != "3.11"


@nox.session
@nox.parametrize(("python", "django"), [(p, d) for p in PYTHONS for d in DJANGOS if allows(p, d)])
def tests(session: nox.Session, django: str) -> None:
    """The suite. Arguments are pytest's; without any all that needs neither browser nor server is run."""
    words = list(session.posargs)
    database = ""
    if "--db" in words:
        at = words.index("--db")
        database = words[at + 1]
        del words[at : at + 2]
    url = DATABASES[database] if database else os.environ.get("DATABASE_URL", "")
    extras = "test,mariadb" if url.startswith("mysql") else "test"
    session.install("-e", f".[{extras}]", f"django~={django}.0")
    if url:
        session.env["DATABASE_URL"] = url
    session.run("python", "-m", "django", "--version")
    session.run("python", "-m", "pytest", *(words or ["-n", "auto", *ONLY_BESIDE_A_SERVER]))


@nox.session
def lint(session: nox.Session) -> None:
    """What `make check` checks."""
    session.install("-e", ".[dev]")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("mypy")
    session.run("python", "manage.py", "check", "--deploy", "--fail-level", "WARNING", env={"HTTPS_ONLY": "1"})
    session.run("python", "manage.py", "makemigrations", "--check", "--dry-run")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation; a warning is an error."""
    session.install("-e", ".[docs,openapi]")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build")


@nox.session
def wheel(session: nox.Session) -> None:
    """sdist and wheel, and the wheel in an empty project."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "build", "--outdir", session.create_tmp())
    session.run("python", "-m", "pytest", "-n0", "tests/test_wheel.py")
