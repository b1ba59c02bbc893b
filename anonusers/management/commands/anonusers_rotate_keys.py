"""manage.py anonusers_rotate_keys PROJECT"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from anonusers.keys import ROTATED_BY_DEFAULT, rotate_keys
from anonusers.models import Project, SigningKey


class Command(BaseCommand):
    help = "New signing keys for a project. The old ones verify until no token of theirs can live."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="the project's id")
        parser.add_argument(
            "--algorithm",
            action="append",
            choices=SigningKey.Algorithm.values,
            help="only this kind of key (may be repeated); default: " + ", ".join(ROTATED_BY_DEFAULT),
        )
        parser.add_argument(
            "--at-once",
            action="store_true",
            help="for a key that leaked: drop the old ones now, which ends the access tokens they signed",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        algorithms = tuple(options["algorithm"] or ROTATED_BY_DEFAULT)
        for key in rotate_keys(project, algorithms=algorithms, at_once=options["at_once"]):
            self.stdout.write(f"{key.algorithm} {key.kid} signs from now on.")
