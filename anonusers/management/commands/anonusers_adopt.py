"""`anonusers_adopt`: the users that a project had before become end users."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from anonusers import audit
from anonusers.adoption import Adopted, adopt_users, count_unadopted
from anonusers.models import Project


class Command(BaseCommand):
    help = "Make end users of the users that were there before: with a sub, and login IDs that no guest can take."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("project", metavar="PROJECT", help="the project's id")
        parser.add_argument("--verified", action="store_true", help="their addresses are known to be theirs")
        parser.add_argument("--include-staff", action="store_true", help="also staff and superusers")
        parser.add_argument("--limit", type=int, metavar="N", help="look at N users at most")
        parser.add_argument("--dry-run", action="store_true", help="count, and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"], deleted_at=None).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']}.")
        if options["limit"] is not None and options["limit"] < 1:
            raise CommandError("--limit must be at least 1.")
        if options["dry_run"]:
            found = count_unadopted(include_staff=options["include_staff"])
            self.stdout.write(f"{found:,} users would be adopted (dry run).")
            return
        total = Adopted()
        batches = adopt_users(
            project=project,
            verified=options["verified"],
            include_staff=options["include_staff"],
            limit=options["limit"],
        )
        for batch in batches:
            total += batch
        if total.users:
            facts = {"users": total.users, "login_ids": total.login_ids, "verified": options["verified"]}
            audit.record("users", "users.adopted", project=project, changes=facts)
        self.stdout.write(f"{total.users:,} users adopted, with {total.login_ids:,} login IDs.")
        if total.taken:
            self.stdout.write(f"{total.taken:,} login IDs left out: two users share them, or somebody has them.")
        if total.left_out:
            self.stdout.write(f"{total.left_out:,} users left out, such as staff (--include-staff).")
