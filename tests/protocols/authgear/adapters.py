"""Adapters of a host that refuses guests."""

from anonusers.adapters import Adapter
from anonusers.errors import SignupVetoed
from anonusers.models import Application, Project


class Closed(Adapter):
    def is_open_for_signup(self, project: Project) -> bool:
        return False


class Vetoing(Adapter):
    def pre_create(self, project: Project, application: Application | None) -> None:
        raise SignupVetoed("No", "We are full")
