"""What makes a user anonymous."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from anonusers.models.projects import Application
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

    def __str__(self) -> str:
        return f"{self.end_user_id} {self.outcome}"
