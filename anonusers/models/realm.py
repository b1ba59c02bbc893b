"""What clients of MongoDB Stitch and Realm know a project and its people by, beside what everybody else does.

Object ids are 24 lower-case hexadecimal digits, as MongoDB's; imported ones are kept.
"""

import secrets
import time
import uuid
from typing import Any

from django.core.validators import RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from anonusers.models.compiled import CompiledLookup, Parameter
from anonusers.models.projects import Application, Project
from anonusers.models.sessions import Session
from anonusers.models.users import EndUser

OBJECT_ID = RegexValidator(r"\A[0-9a-f]{24}\Z", _("Use 24 lower-case hexadecimal digits."))


def new_object_id() -> str:
    """Seconds since 1970 and 64 random bits: they sort by time."""
    return f"{int(time.time()):08x}{secrets.token_hex(8)}"


class ObjectIdField(models.CharField):
    """24 lower-case hexadecimal digits."""

    def __init__(self, *args: Any, **options: Any) -> None:
        fixed: dict[str, Any] = {"max_length": 24, "default": new_object_id, "validators": [OBJECT_ID]}
        super().__init__(*args, **fixed | options)

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        for fixed in ("max_length", "default", "validators"):
            options.pop(fixed, None)
        return name, path, args, options


class RealmApp(models.Model):
    """The ids of a project in MongoDB's words. `object_id` is the app's `_id`, which the Admin API asks for; the client
    app id, which clients ask for, is `Project.realm_app_id`, and the client ID of the application they come through.

    `provider_ids`: provider type → object id. `rest` is what an imported app directory said that we do not act on, kept
    so that an export is not poorer than the import.
    """

    project = models.OneToOneField(Project, models.CASCADE, primary_key=True, related_name="realm_app")
    object_id = ObjectIdField(unique=True)
    group_id = ObjectIdField()
    domain_id = ObjectIdField(db_index=True)
    provider_ids = models.JSONField(default=dict, blank=True)
    rest = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("Realm app")
        verbose_name_plural = _("Realm apps")

    def __str__(self) -> str:
        return self.object_id


class RealmUser(models.Model):
    """The user id of an end user in MongoDB's words: made at the first login through that door, or when somebody who
    came through another one is first asked for."""

    end_user = models.OneToOneField(EndUser, models.CASCADE, primary_key=True, related_name="realm_user")
    project = models.ForeignKey(Project, models.CASCADE, related_name="+", db_index=False)
    object_id = ObjectIdField()
    # An old refresh token of MongoDB's has led to this user: it is worth nothing a second time.
    adopted_at = models.DateTimeField(null=True, blank=True)
    imported_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("Realm user")
        verbose_name_plural = _("Realm users")
        constraints = [
            models.UniqueConstraint(fields=["project", "object_id"], name="anonusers_realmuser_object_id"),
        ]

    def __str__(self) -> str:
        return self.object_id


class RealmIdentity(models.Model):
    """One way in which a user is known: `anon-user` from the beginning, `local-userpass` since they were linked. The
    anonymous one stays when a guest is promoted: MongoDB's clients expect it to come first for ever."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="+", db_index=False)
    end_user = models.ForeignKey(EndUser, models.CASCADE, related_name="realm_identities")
    provider_type = models.CharField(max_length=20)
    identity_id = models.CharField(max_length=100)
    data = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("Realm identity")
        verbose_name_plural = _("Realm identities")
        constraints = [
            models.UniqueConstraint(
                fields=["project", "provider_type", "identity_id"], name="anonusers_realmidentity_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider_type} {self.identity_id}"


class EmailRegistration(models.Model):
    """An address and a password that nobody has logged in with yet. The first login makes a user of it, or a guest
    links it; then it goes, and a `LoginID` stands in its place. `key` is that of the login ID."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="email_registrations", db_index=False)
    object_id = ObjectIdField()
    email = models.CharField(max_length=254)
    key = models.CharField(max_length=64)
    password = models.CharField(max_length=128)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    # Whether somebody has read a mail there; an automatic confirmation proves nothing.
    verified = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("e-mail registration")
        verbose_name_plural = _("e-mail registrations")
        constraints = [
            models.UniqueConstraint(fields=["project", "key"], name="anonusers_emailregistration_key"),
            models.UniqueConstraint(fields=["project", "object_id"], name="anonusers_emailregistration_object_id"),
        ]

    def __str__(self) -> str:
        return self.object_id


class ApiKey(models.Model):
    """A key with which a program logs in as a regular user. Only its hash is here."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="+", db_index=False)
    end_user = models.ForeignKey(EndUser, models.CASCADE, related_name="api_keys")
    object_id = ObjectIdField()
    name = models.CharField(max_length=100)
    key_hash = models.CharField(max_length=64)
    disabled_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        constraints = [
            models.UniqueConstraint(fields=["project", "key_hash"], name="anonusers_apikey_hash"),
            models.UniqueConstraint(fields=["end_user", "name"], name="anonusers_apikey_name"),
            models.UniqueConstraint(fields=["project", "object_id"], name="anonusers_apikey_object_id"),
        ]

    def __str__(self) -> str:
        return self.name


def realm_application(app_id: str) -> Application | None:
    """The application through which the clients of a Realm app come, with its project and that one's ids: one
    statement. Whatever the host: several apps may share one."""
    found = _realm_application.find(app_id=app_id)
    # MariaDB compares without regard to case.
    return found if found is not None and found.client_id == found.project.realm_app_id == app_id else None


_realm_application = CompiledLookup(
    lambda: Application.objects.select_related("project__realm_app").filter(
        client_id=Parameter("app_id", models.CharField()),
        project__realm_app_id=Parameter("app_id", models.CharField()),
        project__deleted_at=None,
    )
)


def realm_session(session_id: uuid.UUID) -> Session | None:
    """A token session `in_full()`, with the ids of its project and its user: one statement, whatever the host."""
    return _realm_session.find(session_id=session_id)


_realm_session = CompiledLookup(
    lambda: (
        Session.objects.in_full()
        .select_related("project__realm_app", "end_user__realm_user")
        .filter(
            pk=Parameter("session_id", models.UUIDField()),
            kind=Session.Kind.TOKEN,
            project__deleted_at=None,
        )
    )
)
