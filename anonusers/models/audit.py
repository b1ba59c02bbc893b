"""Who did what: changes of settings, actions of operators, and what concerns somebody's security."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from anonusers.models.projects import Project


class AuditEvent(models.Model):
    """One thing that happened. Rows are only ever added; erasure takes out of them what names a person."""

    class Category(models.TextChoices):
        SETTINGS = "settings", _("Settings")
        USERS = "users", _("Users")
        SECURITY = "security", _("Security")
        TEAM = "team", _("Team")

    # None: it concerns the portal as a whole, such as a project that was deleted.
    project = models.ForeignKey(
        Project, models.CASCADE, null=True, blank=True, related_name="audit_events", db_index=False
    )
    category = models.CharField(max_length=10, choices=Category)
    type = models.CharField(max_length=50)
    # Who did it, if an operator did. The name stays when the account goes.
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+")
    actor_name = models.CharField(max_length=150, blank=True)
    # Whom it concerns. No foreign key: the record outlives the person's rows.
    end_user_id = models.UUIDField(null=True, blank=True)
    target = models.CharField(max_length=200, blank=True)
    # {"field": [old, new]} of settings; plain facts of everything else. Never a secret.
    changes = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = _("audit event")
        verbose_name_plural = _("audit events")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(category__in=("settings", "users", "security", "team")),
                name="anonusers_auditevent_category",
            ),
        ]
        indexes = [
            models.Index(fields=["project", "id"], name="anonusers_audit_newest"),
            models.Index(fields=["project", "category", "id"], name="anonusers_audit_category"),
            models.Index(fields=["project", "type", "created_at"], name="anonusers_audit_type"),
            models.Index(
                fields=["end_user_id", "id"],
                name="anonusers_audit_end_user",
                condition=models.Q(end_user_id__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.target}".strip()
