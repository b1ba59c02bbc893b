"""The people of a project."""

import uuid

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.db import models
from django.utils.translation import gettext_lazy as _

from anonusers.login_ids import TYPES
from anonusers.models.compiled import CompiledLookup, Parameter
from anonusers.models.projects import Application, Project


class EndUser(models.Model):
    """A person of a project. `id` is the `sub`: random, and never given to anybody else."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, models.CASCADE, related_name="end_users", db_index=False)
    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, related_name="end_user")
    # Where they signed up. Without a constraint in the database: nothing is checked at sign-up, and an application that
    # is deleted need not look for its people.
    application = models.ForeignKey(
        Application, models.DO_NOTHING, null=True, blank=True, related_name="+", db_index=False, db_constraint=False
    )
    created_at = models.DateTimeField(auto_now_add=True)
    # When they were back for the first time, on a later day (UTC) than they signed up on.
    returned_at = models.DateTimeField(null=True, blank=True)
    # When a guest became a regular user, for lists; the identity's row decides who is one.
    promoted_at = models.DateTimeField(null=True, blank=True)
    # When a user whom the host had made became an end user: somebody who never was a guest.
    adopted_at = models.DateTimeField(null=True, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    quarantined_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("end user")
        verbose_name_plural = _("end users")
        indexes = [
            models.Index(fields=["project", "id"], name="anonusers_enduser_in_project"),
            models.Index(fields=["project", "created_at", "id"], name="anonusers_enduser_newest"),
            models.Index(
                fields=["project", "returned_at"],
                name="anonusers_enduser_returned",
                condition=models.Q(returned_at__isnull=False),
            ),
            models.Index(
                fields=["project", "promoted_at"],
                name="anonusers_enduser_promoted",
                condition=models.Q(promoted_at__isnull=False),
            ),
            models.Index(
                fields=["project", "disabled_at"],
                name="anonusers_enduser_disabled",
                condition=models.Q(disabled_at__isnull=False),
            ),
            models.Index(
                fields=["project", "quarantined_at"],
                name="anonusers_enduser_quarantined",
                condition=models.Q(quarantined_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def is_guest(self) -> bool:
        """Whether this is an anonymous user: the identity's row decides, there is no flag."""
        try:
            return self.anonymous_identity is not None
        except ObjectDoesNotExist:
            return False


def lock_end_user(end_user_id: uuid.UUID) -> EndUser | None:
    """The row, locked until the transaction ends; None where it is gone. One statement, without joins: MariaDB has no
    FOR UPDATE OF, and the host's row is not ours to lock."""
    return _lock_end_user.find(end_user_id=end_user_id)


_lock_end_user = CompiledLookup(
    lambda: EndUser.objects.select_for_update().filter(pk=Parameter("end_user_id", models.UUIDField()))
)


class LoginID(models.Model):
    """What a regular user signs in with. `key` makes it unique in a project, however it is spelled."""

    class Type(models.TextChoices):
        EMAIL = "email", _("E-mail address")
        PHONE = "phone", _("Phone number")
        USERNAME = "username", _("User name")

    project = models.ForeignKey(Project, models.CASCADE, related_name="login_ids_taken", db_index=False)
    end_user = models.ForeignKey(EndUser, models.CASCADE, related_name="login_ids")
    type = models.CharField(max_length=8, choices=Type)
    value = models.CharField(max_length=254)
    key = models.CharField(max_length=64)
    verified_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("login ID")
        verbose_name_plural = _("login IDs")
        constraints = [
            models.UniqueConstraint(fields=["project", "key"], name="anonusers_loginid_key"),
            models.CheckConstraint(condition=models.Q(type__in=TYPES), name="anonusers_loginid_type"),
        ]

    def __str__(self) -> str:
        return self.value
