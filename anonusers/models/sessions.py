"""Sessions, and secrets that are good for one use."""

import uuid
from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from anonusers.models.compiled import CompiledLookup, CompiledUpdate, Parameter
from anonusers.models.projects import Application, Project, domain_of, project_id_at
from anonusers.models.users import EndUser


class SessionQuerySet(models.QuerySet["Session"]):
    def in_full(self) -> "SessionQuerySet":
        """With all that a request needs to know: application, project, end user, host user, identity."""
        return self.select_related("application", "project", "end_user__user", "end_user__anonymous_identity")


class Session(models.Model):
    """One sign-in of one user through one application; `id` is the `sid`."""

    class Kind(models.TextChoices):
        COOKIE = "cookie", _("Cookie")
        TOKEN = "token", _("Token")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, models.CASCADE, related_name="sessions", db_index=False)
    application = models.ForeignKey(Application, models.CASCADE, related_name="sessions", null=True, blank=True)
    end_user = models.ForeignKey(EndUser, models.CASCADE, related_name="sessions")
    kind = models.CharField(max_length=6, choices=Kind)
    scope = models.CharField(max_length=255, blank=True)
    refresh_hash = models.CharField(max_length=64)
    refresh_generation = models.PositiveIntegerField(default=0)
    rotated_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    authenticated_at = models.DateTimeField(null=True, blank=True)
    amr = models.CharField(max_length=40, blank=True)
    user_agent = models.CharField(max_length=200, blank=True)
    device = models.JSONField(default=dict, blank=True)
    dpop_jkt = models.CharField(max_length=43, blank=True)
    dpop_jti_hash = models.CharField(max_length=64, blank=True)

    objects = SessionQuerySet.as_manager()

    class Meta:
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=("cookie", "token")), name="anonusers_session_kind"),
            models.CheckConstraint(
                condition=Q(kind="cookie") | Q(application__isnull=False),
                name="anonusers_session_token_has_application",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def auth_time(self) -> datetime:
        """When the user proved who they are: before the session began where another session vouched for them."""
        return self.authenticated_at or self.created_at

    @property
    def lifetime(self) -> int:
        """Seconds from creation, by the settings of now: the project's for cookies, the application's else."""
        if self.kind == self.Kind.COOKIE:
            return self.project.session_lifetime
        return self.token_settings.refresh_token_lifetime

    @property
    def idle_timeout(self) -> int | None:
        """Seconds from the last use, by the settings of now; None where idling does not end a session."""
        if self.kind == self.Kind.COOKIE:
            return self.project.session_idle_timeout if self.project.session_idle_timeout_enabled else None
        settings = self.token_settings
        return settings.refresh_token_idle_timeout if settings.refresh_token_idle_timeout_enabled else None

    @property
    def token_settings(self) -> Application:
        """The application whose settings rule a token session."""
        if self.application is None:
            raise TypeError("a token session without an application")
        return self.application

    @property
    def lifetime_ends_at(self) -> datetime:
        return self.created_at + timedelta(seconds=self.lifetime)

    @property
    def expires_at(self) -> datetime:
        """The first moment at which the session is no longer accepted, if it is not used before."""
        end = self.lifetime_ends_at
        if self.idle_timeout is None:
            return end
        return min(end, self.last_used_at + timedelta(seconds=self.idle_timeout))

    def is_live(self, now: datetime) -> bool:
        """Whether the session is accepted at `now`. A disabled user's session sleeps; enabling wakes it."""
        return (
            self.ended_at is None
            and self.end_user.disabled_at is None
            and getattr(self.end_user.user, "is_active", True)
            and now < self.expires_at
        )


def session_at(host: str, *, session_id: uuid.UUID, kind: str) -> Session | None:
    """A session of the project that serves `host`, `in_full()`: one statement."""
    return _session_at.find(domain=domain_of(host), session_id=session_id, kind=kind)


_session_at = CompiledLookup(
    lambda: Session.objects.in_full().filter(
        pk=Parameter("session_id", models.UUIDField()),
        kind=Parameter("kind", models.CharField()),
        project_id=project_id_at(Parameter("domain", models.CharField())),
    )
)


def replace_refresh_hash(
    session: Session, *, presented_hash: str, successor_hash: str, generation: int, now: datetime
) -> bool:
    """Put the successor in the place of the presented refresh token, where that is the current one of an open session.

    One conditional UPDATE: False where another request was faster.
    """
    return bool(
        _rotation.run(
            session_id=session.pk,
            presented_hash=presented_hash,
            successor_hash=successor_hash,
            generation=generation,
            now=now,
        )
    )


_rotation = CompiledUpdate(
    lambda: Session.objects.filter(
        pk=Parameter("session_id", models.UUIDField()),
        refresh_hash=Parameter("presented_hash", models.CharField()),
        ended_at=None,
    ),
    refresh_hash=Parameter("successor_hash", models.CharField()),
    refresh_generation=Parameter("generation", models.PositiveIntegerField()),
    rotated_at=Parameter("now", models.DateTimeField()),
    last_used_at=Parameter("now", models.DateTimeField()),
)


class OneTimeToken(models.Model):
    """A secret that is good for one use. Only its hash is here; what it stands for is in `payload`."""

    class Purpose(models.TextChoices):
        ANONYMOUS_REQUEST = "anonymous_request", _("Challenge for a device key")
        BIOMETRIC_REQUEST = "biometric_request", _("Challenge for biometric login")
        APP2APP_REQUEST = "app2app_request", _("Challenge for app2app login")
        RECOVERY_CODE = "recovery_code", _("Recovery code")
        DPOP_PROOF = "dpop_proof", _("DPoP proof that was seen")
        BOT_CHECK = "bot_check", _("Solved bot check")
        IDEMPOTENCY_KEY = "idempotency_key", _("Idempotency key")
        PROMOTION_CODE = "promotion_code", _("Promotion code")
        PENDING_PROMOTION = "pending_promotion", _("Pending promotion")
        PENDING_LOGIN = "pending_login", _("Pending login")
        PENDING_LOGIN_ID = "pending_login_id", _("Pending login ID")
        PASSWORD_RESET = "password_reset", _("Password reset")
        REGISTRATION = "registration", _("Registration")
        AUTHORIZATION_CODE = "authorization_code", _("Authorization code")
        APP_SESSION_TOKEN = "app_session_token", _("App session token")

    project = models.ForeignKey(Project, models.CASCADE, related_name="one_time_tokens")
    purpose = models.CharField(max_length=30, choices=Purpose)
    token_hash = models.CharField(max_length=64)
    end_user = models.ForeignKey(EndUser, models.CASCADE, null=True, blank=True, related_name="one_time_tokens")
    application = models.ForeignKey(Application, models.CASCADE, null=True, blank=True, related_name="+")
    payload = models.JSONField(default=dict)
    attempts = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("one-time token")
        verbose_name_plural = _("one-time tokens")
        constraints = [
            models.UniqueConstraint(fields=["project", "purpose", "token_hash"], name="anonusers_onetimetoken_hash"),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} {self.pk}"


def spend_unbound(purpose: str, token_hash: str, *, project: Project, now: datetime) -> bool:
    """Spend a secret that nobody is bound to. One conditional UPDATE: False where it is not there, spent or expired."""
    return bool(_spend_unbound.run(project_id=project.pk, purpose=purpose, token_hash=token_hash, now=now))


_spend_unbound = CompiledUpdate(
    lambda: OneTimeToken.objects.filter(
        project_id=Parameter("project_id", models.BigIntegerField()),
        purpose=Parameter("purpose", models.CharField()),
        token_hash=Parameter("token_hash", models.CharField()),
        expires_at__gt=Parameter("now", models.DateTimeField()),
        used_at=None,
        end_user=None,
    ),
    used_at=Parameter("now", models.DateTimeField()),
)
