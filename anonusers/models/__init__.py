"""The facts: tables, constraints and querysets with adjectives. What may happen to them is in the use cases."""

from anonusers.models.identities import AnonymousIdentity, Promotion
from anonusers.models.keys import SigningKey
from anonusers.models.projects import Application, Project, ProjectDomain, application_at, domain_of, project_id_at
from anonusers.models.sessions import OneTimeToken, Session, replace_refresh_hash, session_at
from anonusers.models.together import insert_together
from anonusers.models.users import EndUser, LoginID

__all__ = [
    "AnonymousIdentity",
    "Application",
    "EndUser",
    "LoginID",
    "OneTimeToken",
    "Project",
    "ProjectDomain",
    "Promotion",
    "Session",
    "SigningKey",
    "application_at",
    "domain_of",
    "insert_together",
    "project_id_at",
    "replace_refresh_hash",
    "session_at",
]
