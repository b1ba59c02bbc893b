"""What hangs on a user, guest or not."""

from typing import Any

from django.conf import settings
from django.db import models

from anonusers.events import Event
from anonusers.models import EndUser


class Note(models.Model):
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    text = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.text


def bring_along(event: Event, **kwargs: Any) -> None:
    """Who logs in to an account that existed before brings the guest's notes along."""
    if guest := event.details.get("anonymous_user"):
        author = EndUser.objects.get(pk=guest).user_id
        Note.objects.filter(author=author).update(author=event.end_user.user_id)
