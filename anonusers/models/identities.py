"""What makes a user anonymous, and what leads back to an anonymous user."""

from datetime import datetime

from django.db import models
from django.utils.translation import gettext_lazy as _

from anonusers.models.compiled import CompiledLookup, CompiledUpdate, Parameter
from anonusers.models.projects import Application, Project
from anonusers.models.users import EndUser


class AnonymousIdentity(models.Model):
    """The row that makes an end user anonymous; promotion deletes it. At most one a user, by its primary key."""

    end_user = models.OneToOneField(EndUser, models.CASCADE, primary_key=True, related_name="anonymous_identity")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("anonymous identity")
        verbose_name_plural = _("anonymous identities")

    def __str__(self) -> str:
        return str(self.end_user_id)


class DeviceKey(models.Model):
    """The public half of a key pair on a device: whoever signs with the other half is the guest it belongs to.

    Without an `end_user` it is a tombstone: its guest was promoted or deleted, or went on with another key. It stays,
    so that an app that still signs with it can be told apart from a forger, and nobody else can take its ID.
    """

    class Algorithm(models.TextChoices):
        RS256 = "RS256"
        ES256 = "ES256"

    project = models.ForeignKey(Project, models.CASCADE, related_name="device_keys", db_index=False)
    end_user = models.OneToOneField(EndUser, models.SET_NULL, null=True, blank=True, related_name="device_key")
    key_id = models.CharField(_("key ID"), max_length=64)
    algorithm = models.CharField(max_length=5, choices=Algorithm)
    jwk = models.JSONField()
    thumbprint = models.CharField(max_length=43)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField()
    retired_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("device key")
        verbose_name_plural = _("device keys")
        constraints = [
            models.UniqueConstraint(fields=["project", "key_id"], name="anonusers_devicekey_key_id"),
            models.UniqueConstraint(fields=["project", "thumbprint"], name="anonusers_devicekey_thumbprint"),
            models.CheckConstraint(
                condition=models.Q(algorithm__in=("RS256", "ES256")), name="anonusers_devicekey_algorithm"
            ),
            models.CheckConstraint(
                condition=models.Q(end_user=None) | models.Q(retired_at=None, revoked_at=None),
                name="anonusers_devicekey_retired_has_no_user",
            ),
        ]

    def __str__(self) -> str:
        return self.key_id


def device_key_of(project: Project, *, key_id: str) -> DeviceKey | None:
    """The key with this ID in a project, with its guest: one statement."""
    key = _device_key_of.find(project_id=project.pk, key_id=key_id)
    # MariaDB compares without regard to case.
    return key if key is not None and key.key_id == key_id else None


_device_key_of = CompiledLookup(
    lambda: DeviceKey.objects.select_related("end_user__user", "end_user__anonymous_identity").filter(
        project_id=Parameter("project_id", models.BigIntegerField()),
        key_id=Parameter("key_id", models.CharField()),
    )
)


def note_key_use(key: DeviceKey, *, end_user: EndUser, now: datetime) -> bool:
    """False where the key does not lead to this guest any more. One conditional UPDATE."""
    return bool(_key_use.run(key_id=key.pk, end_user_id=end_user.pk, now=now))


_key_use = CompiledUpdate(
    lambda: DeviceKey.objects.filter(
        pk=Parameter("key_id", models.BigIntegerField()), end_user_id=Parameter("end_user_id", models.UUIDField())
    ),
    last_used_at=Parameter("now", models.DateTimeField()),
)


class Promotion(models.Model):
    """What became of a guest: a regular user with the same id, or a step into an account that existed before."""

    class Outcome(models.TextChoices):
        PROMOTED = "promoted", _("Promoted")
        SUPERSEDED = "superseded", _("Logged in to another account")

    end_user = models.OneToOneField(EndUser, models.CASCADE, primary_key=True, related_name="promotion")
    outcome = models.CharField(max_length=10, choices=Outcome)
    superseded_by = models.ForeignKey(EndUser, models.SET_NULL, null=True, blank=True, related_name="superseded_guests")
    application = models.ForeignKey(Application, models.SET_NULL, null=True, blank=True, related_name="+")
    method = models.CharField(max_length=30)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("promotion")
        verbose_name_plural = _("promotions")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(outcome__in=("promoted", "superseded")), name="anonusers_promotion_outcome"
            ),
        ]
        indexes = [
            # Few, and of all projects: who was promoted is found by EndUser.promoted_at.
            models.Index(
                fields=["created_at"],
                name="anonusers_promotion_superseded",
                condition=models.Q(outcome="superseded"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.end_user_id} {self.outcome}"
