"""The facts: tables, constraints and querysets with adjectives. What may happen to them is in the use cases."""

from anonusers.models.audit import AuditEvent
from anonusers.models.cleanups import CleanupRun
from anonusers.models.identities import AnonymousIdentity, DeviceKey, Promotion, device_key_of, note_key_use
from anonusers.models.keys import SigningKey
from anonusers.models.projects import (
    Application,
    Project,
    ProjectDomain,
    application_at,
    domain_of,
    project_at,
    project_id_at,
)
from anonusers.models.realm import (
    ApiKey,
    EmailRegistration,
    RealmApp,
    RealmIdentity,
    RealmUser,
    new_object_id,
    realm_application,
    realm_session,
)
from anonusers.models.sessions import OneTimeToken, Session, replace_refresh_hash, session_at, spend_unbound
from anonusers.models.statistics import ActiveDay, DailyCount, Tally
from anonusers.models.together import insert_together
from anonusers.models.users import EndUser, LoginID, lock_end_user
from anonusers.models.windows import RateWindow

__all__ = [
    "ActiveDay",
    "AnonymousIdentity",
    "ApiKey",
    "Application",
    "AuditEvent",
    "CleanupRun",
    "DailyCount",
    "DeviceKey",
    "EmailRegistration",
    "EndUser",
    "LoginID",
    "OneTimeToken",
    "Project",
    "ProjectDomain",
    "Promotion",
    "RateWindow",
    "RealmApp",
    "RealmIdentity",
    "RealmUser",
    "Session",
    "SigningKey",
    "Tally",
    "application_at",
    "device_key_of",
    "domain_of",
    "insert_together",
    "lock_end_user",
    "new_object_id",
    "note_key_use",
    "project_at",
    "project_id_at",
    "realm_application",
    "realm_session",
    "replace_refresh_hash",
    "session_at",
    "spend_unbound",
]
