"""What makes a user anonymous."""

from django.db import models
from django.utils.translation import gettext_lazy as _

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
