"""What clean-ups have done."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from anonusers.models.projects import Project


class CleanupRun(models.Model):
    """One clean-up of one project: the record for whoever asks later who was removed, when, and by which rules."""

    class State(models.TextChoices):
        RUNNING = "running", _("Running")
        FINISHED = "finished", _("Finished")
        STOPPED = "stopped", _("Stopped")
        INTERRUPTED = "interrupted", _("Interrupted")

    project = models.ForeignKey(Project, models.CASCADE, related_name="cleanup_runs")
    state = models.CharField(max_length=11, choices=State, default=State.RUNNING)
    reason = models.CharField(max_length=300, blank=True)
    report = models.JSONField(default=dict)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("clean-up")
        verbose_name_plural = _("clean-ups")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=("running", "finished", "stopped", "interrupted")),
                name="anonusers_cleanuprun_state",
            ),
        ]
        indexes = [models.Index(fields=["project", "-started_at"], name="anonusers_cleanuprun_newest")]

    def __str__(self) -> str:
        return f"{self.project_id} {self.started_at:%Y-%m-%d %H:%M}"
