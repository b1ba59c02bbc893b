"""What is counted per day, so that no chart has to look at everybody."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from anonusers.models.projects import Application, Project


class ActiveDay(models.Model):
    """Somebody was here on a day (UTC) after the one on which they signed up."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="active_days", db_index=False)
    day = models.DateField()
    # No foreign keys: what was counted stays counted when the person goes, and a sign of life costs one index.
    end_user_id = models.UUIDField()
    application_id = models.BigIntegerField(null=True, blank=True)
    was_guest = models.BooleanField()

    class Meta:
        verbose_name = _("active day")
        verbose_name_plural = _("active days")
        constraints = [
            models.UniqueConstraint(fields=["project", "day", "end_user_id"], name="anonusers_activeday_once"),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.end_user_id}"


class Tally(models.Model):
    """How far a project's days are counted: those before `counted_until` are. Whoever moves it on does the counting."""

    project = models.OneToOneField(Project, models.CASCADE, primary_key=True, related_name="tally")
    counted_until = models.DateField()

    class Meta:
        verbose_name = _("tally")
        verbose_name_plural = _("tallies")

    def __str__(self) -> str:
        return f"{self.project_id} {self.counted_until}"


class DailyCount(models.Model):
    """How often something happened in a project on a day (UTC); see anonusers.statistics for the names."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="daily_counts", db_index=False)
    day = models.DateField()
    name = models.CharField(max_length=30)
    application = models.ForeignKey(Application, models.SET_NULL, null=True, blank=True, related_name="+")
    method = models.CharField(max_length=30, blank=True)
    count = models.PositiveIntegerField()

    class Meta:
        verbose_name = _("daily count")
        verbose_name_plural = _("daily counts")
        indexes = [models.Index(fields=["project", "day", "name"], name="anonusers_dailycount_series")]

    def __str__(self) -> str:
        return f"{self.day} {self.name} {self.count}"
