"""`anonusers_erase`: remove a person who asked for it."""

import json
import uuid
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from anonusers.erasure import erase
from anonusers.errors import AnonUsersError
from anonusers.models import EndUser


class Command(BaseCommand):
    help = "Erase a person, guest or regular, and print what went as JSON. There is no way back."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("sub", metavar="SUB", type=uuid.UUID, help="the id of the person")
        parser.add_argument("--dry-run", action="store_true", help="count, and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        end_user = EndUser.objects.filter(pk=options["sub"]).first()
        if end_user is None:
            raise CommandError(f"There is nobody with the sub {options['sub']}.")
        try:
            done = erase(end_user, dry_run=options["dry_run"])
        except AnonUsersError as error:
            raise CommandError(error.message) from error
        self.stdout.write(json.dumps(asdict(done) | {"dry_run": options["dry_run"]}, sort_keys=True))
