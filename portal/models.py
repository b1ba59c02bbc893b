"""What the portal itself remembers: who may enter which project, changes that wait for review, jobs, and
operators' keys and tokens for the Admin API."""

import uuid

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from anonusers.models import Project
from anonusers.models.realm import ObjectIdField


class Membership(models.Model):
    """An operator's place in the team of a project."""

    class Role(models.TextChoices):
        OWNER = "owner", _("Owner")
        EDITOR = "editor", _("Editor")
        VIEWER = "viewer", _("Viewer")

    project = models.ForeignKey(Project, models.CASCADE, related_name="memberships", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="portal_memberships")
    role = models.CharField(max_length=6, choices=Role)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("member")
        verbose_name_plural = _("members")
        constraints = [
            models.UniqueConstraint(fields=["project", "user"], name="portal_membership_once"),
            models.CheckConstraint(
                condition=models.Q(role__in=("owner", "editor", "viewer")), name="portal_membership_role"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role}"


class Draft(models.Model):
    """A project whose changes wait for review. There is a row while changes are collected, with or without any."""

    project = models.OneToOneField(Project, models.CASCADE, primary_key=True, related_name="draft")
    # {target: {column: {"old": …, "new": …}}}; target is "project" or "application:<client_id>".
    changes = models.JSONField(default=dict, blank=True)
    author = models.CharField(max_length=150, blank=True)
    updated_at = models.DateTimeField(auto_now=True)
    # What tools of the Admin API call it, and whether one of them began to collect, for one deployment only.
    object_id = ObjectIdField()
    for_one_deployment = models.BooleanField(default=False)
    # What an imported app directory brings beside settings, for `RealmApp`: {"columns": …, "lines": what that changes}.
    beside = models.JSONField(default=dict, blank=True)

    class Meta:
        verbose_name = _("draft")
        verbose_name_plural = _("drafts")

    def __str__(self) -> str:
        return f"{self.project_id}"

    @property
    def count(self) -> int:
        """How many changes wait."""
        return sum(map(len, self.changes.values()))


class Deployment(models.Model):
    """Changes that were put into effect together. Both documents are whole project files (TOML)."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="deployments", db_index=False)
    number = models.PositiveIntegerField()
    author = models.CharField(max_length=150, blank=True)
    note = models.CharField(max_length=300, blank=True)
    before = models.TextField()
    after = models.TextField()
    rolled_back_to = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("deployment")
        verbose_name_plural = _("deployments")
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="portal_deployment_number"),
        ]

    def __str__(self) -> str:
        return f"{self.project_id} #{self.number}"


class Job(models.Model):
    """A bulk action that goes on in the background. Whoever holds the lease works on it; a dead worker's lease ends."""

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        RUNNING = "running", _("Running")
        FINISHED = "finished", _("Finished")
        CANCELLED = "cancelled", _("Cancelled")
        FAILED = "failed", _("Failed")

    project = models.ForeignKey(Project, models.CASCADE, related_name="jobs")
    action = models.CharField(max_length=20)
    # The people: {"subs": […]}, or {"filters": {…}} as in the list's URL, up to `created_at`.
    selection = models.JSONField()
    reason = models.CharField(max_length=300, blank=True)
    actor = models.CharField(max_length=150, blank=True)
    state = models.CharField(max_length=9, choices=State, default=State.WAITING)
    total = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    passed_over = models.PositiveIntegerField(default=0)
    # The last sub that was looked at: the next batch begins behind it.
    cursor = models.CharField(max_length=100, blank=True)
    # A code, or `code: detail`, and never a sentence of ours: who looks later may speak another language.
    error = models.CharField(max_length=300, blank=True)
    leased_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")

    def __str__(self) -> str:
        return f"{self.action} {self.pk}"


class OperatorKey(models.Model):
    """With which a program signs in as an operator at the Admin API. Only the private half's hash is here."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="operator_keys")
    name = models.CharField(_("name"), max_length=100)
    public_key = models.CharField(max_length=8, unique=True)
    private_hash = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("operator's API key")
        verbose_name_plural = _("operators' API keys")

    def __str__(self) -> str:
        return self.public_key


class OperatorToken(models.Model):
    """An operator's sign-in at the Admin API: the refresh token's hash. Access tokens name it and end with it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    key = models.ForeignKey(OperatorKey, models.CASCADE, null=True, blank=True, related_name="tokens")
    refresh_hash = models.CharField(max_length=64, unique=True)
    # As Django's sessions do: another password, and those that were opened with the old one end.
    auth_hash = models.CharField(max_length=128, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = _("operator's token")
        verbose_name_plural = _("operators' tokens")

    def __str__(self) -> str:
        return str(self.id)
