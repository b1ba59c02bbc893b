"""The facts: tables, constraints and querysets with adjectives. What may happen to them is in the use cases."""

from anonusers.models.identities import AnonymousIdentity
from anonusers.models.keys import SigningKey
from anonusers.models.projects import Application, Project, ProjectDomain, domain_of, project_id_at
from anonusers.models.sessions import OneTimeToken, Session
from anonusers.models.users import EndUser

__all__ = [
    "AnonymousIdentity",
    "Application",
    "EndUser",
    "OneTimeToken",
    "Project",
    "ProjectDomain",
    "Session",
    "SigningKey",
    "domain_of",
    "project_id_at",
]
