"""Signing keys of a project, sealed at rest."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from anonusers.models.projects import Project


class SigningKey(models.Model):
    """A key that signs tokens. The newest one that is not retired signs; retired ones verify until they go."""

    class Algorithm(models.TextChoices):
        ES256 = "ES256"  # access tokens: thirteen times cheaper to sign than RS256
        RS256 = "RS256"  # ID tokens: OIDC's default, which every client can read
        HS256 = "HS256"  # opaque access tokens and successors of refresh tokens: never leaves the server

    kid = models.CharField(max_length=43, primary_key=True)
    project = models.ForeignKey(Project, models.CASCADE, related_name="signing_keys")
    algorithm = models.CharField(max_length=5, choices=Algorithm)
    private_key = models.TextField(help_text=_("Sealed with ANONUSERS_ENCRYPTION_KEYS."))
    created_at = models.DateTimeField(auto_now_add=True)
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("signing key")
        verbose_name_plural = _("signing keys")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(algorithm__in=("ES256", "RS256", "HS256")),
                name="anonusers_signingkey_algorithm",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.algorithm} {self.kid}"
