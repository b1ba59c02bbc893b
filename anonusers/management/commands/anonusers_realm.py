"""`anonusers_realm`: the app directory of a Stitch or Realm app, and its users."""

import re
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, transaction

from anonusers import proposals
from anonusers.errors import AnonUsersError
from anonusers.models import Project
from anonusers.realm_files import (
    Plan,
    apply_import,
    export_files,
    keep_beside,
    plan_import,
    read_directory,
    write_folder,
    zip_of,
)
from anonusers.realm_kept import STRATEGIES
from anonusers.realm_user_import import Imports, import_users

SHOWN = 100
"""Rows of a file that are refused by name."""


class Command(BaseCommand):
    help = "Import or export the app directory of a MongoDB Stitch or Realm app, and import its users."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="import | export | import-users")

        directory = actions.add_parser("import", help="Configure a project by an app directory.")
        directory.add_argument("source", metavar="DIR|ZIP", help="the directory, or a ZIP file of it")
        strategy = "merge: only add and update; replace: also take away; replace-by-name: the same, known ids stay"
        directory.add_argument("--strategy", choices=STRATEGIES, default="merge", help=strategy)
        directory.add_argument(
            "--app-id", default="", metavar="ID", help="the client app id, instead of the directory's"
        )
        directory.add_argument("--deploy", action="store_true", help="Put it into effect at once, past any review.")

        export = actions.add_parser("export", help="Write a project as an app directory.")
        export.add_argument("target", metavar="DEST", help="a directory, or a file that ends in .zip")
        export.add_argument(
            "--version", type=int, dest="config_version", metavar="N", help="20180301, 20200603, 20210101"
        )
        export.add_argument("--overwrite", action="store_true", help="Write over files that are there.")

        users = actions.add_parser("import-users", help="Import the users that the Admin API listed.")
        users.add_argument("file", metavar="FILE", help="a JSON list of users, or one user on each line")
        users.add_argument("--verified", action="store_true", help="their addresses are known to be theirs")

        for action in (directory, export, users):
            action.add_argument("--project", required=True, metavar="ID", help="the project's id")
        for action in (directory, users):
            action.add_argument(
                "--domain-id", default="", metavar="HEX", help="the id of MongoDB's user pool (domain_id)"
            )
            action.add_argument("--dry-run", action="store_true", help="Show what would be done, change nothing.")

    def handle(self, *args: Any, **options: Any) -> None:
        if (domain_id := options.get("domain_id")) and not re.fullmatch(r"[0-9a-f]{24}", domain_id):
            raise CommandError("--domain-id: Use 24 lower-case hexadecimal digits.")
        deeds = {"import": self._import, "export": self._export, "import-users": self._import_users}
        try:
            deeds[options["action"]](options)
        except AnonUsersError as error:
            raise CommandError(error.message) from error
        except DatabaseError as error:
            reason = " ".join(str(error).split())
            raise CommandError(f"The database cannot be used. Is it running, and migrated? {reason}") from error

    # The directory

    def _import(self, options: dict[str, Any]) -> None:
        directory = read_directory(options["source"])
        wanted = {name: options[name] for name in ("strategy", "app_id", "domain_id")}
        plan = plan_import(directory, slug=options["project"], **wanted)
        for warning in plan.warnings:
            self.stderr.write(f"Warning: {warning}")
        for line in plan.words:
            self.stdout.write(line)
        if plan.is_empty:
            self.stdout.write("No changes.")
        elif options["dry_run"]:
            self.stdout.write("Dry run: nothing was changed.")
        elif options["deploy"]:
            created = apply_import(directory, slug=options["project"], **wanted).created
            self.stdout.write("The project was made." if created else "Deployed: the changes are in effect.")
        else:
            self._propose(options["project"], plan)

    def _propose(self, slug: str, plan: Plan) -> None:
        if not proposals.is_possible():
            raise CommandError("Nothing was changed: there is no portal to review it in. Use --deploy.")
        project = Project.objects.filter(slug=slug).first()
        if project is None:
            raise CommandError("Nothing was changed: a new project cannot wait for a review. Use --deploy.")
        with transaction.atomic():
            proposed = proposals.propose(project, plan.project_file)
            keep_beside(project, plan)
        for client_id in proposed.made if proposed is not None else ():
            self.stdout.write(f"The application {client_id} was made: a client ID waits in no draft.")
        if proposed is not None and proposed.waiting:
            self.stdout.write(f"Changes that wait for review in the portal: {proposed.waiting}. None is in effect yet.")
        if plan.kept_changes:
            self.stdout.write("Ids, and what is only kept for an export, were stored.")
        if proposed is not None and proposed.left_out:
            self.stdout.write("Left out, since a draft can hold neither hosts nor new applications:")
            for change in proposed.left_out:
                self.stdout.write(f"  {change.key}")
            self.stdout.write("Use --deploy for these.")

    def _export(self, options: dict[str, Any]) -> None:
        files = export_files(options["project"], version=options["config_version"])
        target = Path(options["target"])
        if target.suffix.lower() == ".zip":
            if target.exists() and not options["overwrite"]:
                raise CommandError(f"{target}: There is something already. Use --overwrite.")
            try:
                target.write_bytes(zip_of(files))
            except OSError as error:
                raise CommandError(f"{target}: It cannot be written: {error.strerror}.") from error
        else:
            write_folder(files, target, overwrite=options["overwrite"])
        self.stdout.write(f"{len(files)} files written.")

    # The users

    def _import_users(self, options: dict[str, Any]) -> None:
        project = Project.objects.filter(slug=options["project"], deleted_at=None).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']}.")
        total = Imports()
        for batch in import_users(
            project=project,
            path=Path(options["file"]),
            verified=options["verified"],
            domain_id=options["domain_id"],
            dry_run=options["dry_run"],
        ):
            for problem in batch.problems[: max(0, SHOWN - len(total.problems))]:
                self.stderr.write(f"user {problem.number}, line {problem.line}: {problem.reason}")
            total += batch
        if (more := len(total.problems) - SHOWN) > 0:
            self.stderr.write(f"… and {more:,} more.")
        verb = "would be imported" if options["dry_run"] else "imported"
        self.stdout.write(f"{total.guests:,} guests and {total.regular:,} regular users {verb}.")
        if total.disabled:
            self.stdout.write(f"{total.disabled:,} of them are disabled.")
        if total.known:
            self.stdout.write(f"{total.known:,} were here already.")
        if total.problems:
            self.stdout.write(f"{len(total.problems):,} were left out.")
        if options["dry_run"]:
            self.stdout.write("Dry run: nothing was changed.")
