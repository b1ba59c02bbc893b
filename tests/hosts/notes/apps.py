"""What every host has to sell: notes in a table, and a basket in Django's session."""

from django.apps import AppConfig


class NotesConfig(AppConfig):
    name = "tests.hosts.notes"
    label = "notes"

    def ready(self) -> None:
        from anonusers.events import user_anonymous_promoted
        from tests.hosts.notes.models import bring_along

        user_anonymous_promoted.connect(bring_along)
