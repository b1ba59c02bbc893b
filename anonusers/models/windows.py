"""Windows in which rate limits are counted, where the database counts them."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class RateWindow(models.Model):
    """The hits of one key until `ends_at`; then it begins anew. `key` is a SHA-256 in hexadecimal digits."""

    key = models.CharField(max_length=64, primary_key=True)
    hits = models.PositiveBigIntegerField()
    ends_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = _("rate limit window")
        verbose_name_plural = _("rate limit windows")

    def __str__(self) -> str:
        return self.key
