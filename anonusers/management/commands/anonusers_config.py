"""`anonusers_config`: a project's configuration as one file."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from anonusers.errors import AnonUsersError
from anonusers.project_file import apply_project_file, difference, export_project, read_project_file


class Command(BaseCommand):
    help = "Apply a project's configuration from a TOML file, or export it as one."
    requires_system_checks = []  # a broken URL configuration must not keep anybody from his settings

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="apply | export")
        apply = actions.add_parser("apply", help="Make a project say what FILE says; create it where needed.")
        apply.add_argument("file", metavar="FILE", help="the project file")
        apply.add_argument("--dry-run", action="store_true", help="Show the difference, change nothing.")
        export = actions.add_parser("export", help="Write the whole configuration of a project to standard output.")
        export.add_argument("project", metavar="PROJECT", help="the project's id")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["action"] == "export":
                self.stdout.write(export_project(options["project"]), ending="")
            else:
                self._apply(options["file"], dry_run=options["dry_run"])
        except AnonUsersError as error:
            raise CommandError(error.message) from error
        except DatabaseError as error:
            reason = " ".join(str(error).split())
            raise CommandError(f"The database cannot be used. Is it running, and migrated? {reason}") from error

    def _apply(self, path: str, *, dry_run: bool) -> None:
        project_file = read_project_file(path)
        changes = difference(project_file) if dry_run else apply_project_file(project_file).changes
        for change in changes:
            self.stdout.write(str(change))
        if not changes:
            self.stdout.write("No changes.")
        if dry_run:
            self.stdout.write("Dry run: nothing was changed.")
