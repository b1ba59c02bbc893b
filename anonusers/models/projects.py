"""A project (tenant), the hosts that lead to it, and its applications (OAuth clients).

Times are whole seconds; ranges and defaults are Authgear's (docs of `x_application_type` and friends), with an
upper bound of ten years.
"""

import re
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Length
from django.utils.translation import gettext_lazy as _

from anonusers.models.compiled import CompiledLookup, Parameter
from anonusers.models.fields import UniqueOrBlankField

MINUTE, DAY = 60, 86_400
LIFETIME_MAX = 10 * 365 * DAY
YEAR = 364 * DAY  # Authgear's default: 52 weeks
MONTH = 30 * DAY
ACCESS_TOKEN_LIFETIME_MIN = 300
M2M_ACCESS_TOKEN_LIFETIME_MAX = 28 * DAY

CLIENT_ID = RegexValidator(r"\A[\x21-\x7e]{1,100}\Z", _("Use 1 to 100 visible ASCII characters without spaces."))


def origin_of(url: str) -> str | None:
    """`scheme://host[:port]` of a URL, or None where a browser would send no such origin."""
    try:
        parts = urlsplit(url)
        port = {"http": 80, "https": 443}.get(parts.scheme)
        netloc = parts.netloc if parts.port != port or port is None else parts.netloc.rpartition(":")[0]
    except ValueError:  # a bad IPv6 address or port
        return None
    if parts.scheme in ("http", "https", "capacitor", "ionic") and netloc:
        return f"{parts.scheme}://{netloc}".lower()
    return None


def _between(low: int, high: int = LIFETIME_MAX) -> list[Any]:
    return [MinValueValidator(low), MaxValueValidator(high)]


def validate_domain(value: str) -> None:
    """A bare host name in lower case, an IP address, or `*` for every host that no other project claims."""
    if value == "*":
        return
    if not re.fullmatch(r"(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9]))", value):
        raise ValidationError(_("Use a host name in lower case without port, or *."))


def validate_origin(value: str) -> None:
    """An origin as browsers send it. Patterns are refused: a wrong guess here opens guests' data to a stranger."""
    host = r"(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?)"
    if origin_of(value) != value or not re.fullmatch(rf"[a-z]+://{host}(:[0-9]{{1,5}})?", value, re.ASCII):
        raise ValidationError(_("Use an origin such as https://app.example.com, without path and in lower case."))


LOOPBACK = re.compile(r"localhost|.*\.localhost|127(\.\d{1,3}){3}|::1", re.ASCII)


def validate_redirect_uri(value: str) -> None:
    """RFC 9700 §2.1 and §4.1: absolute, without fragment; https, loopback http, or a private-use scheme."""
    if problem := _redirect_uri_problem(value):
        raise ValidationError(problem)


def _redirect_uri_problem(value: str) -> Any:
    try:
        parts = urlsplit(value)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        return _("The host or the port is not valid.")
    if not re.fullmatch(r"[\x21-\x7e]{1,500}", value) or not parts.scheme or "\\" in value:
        return _("Use an absolute URI of visible ASCII characters.")
    if "#" in value:
        return _("A redirect URI has no fragment (#…).")
    if "@" in parts.netloc:
        return _("A redirect URI has no user name.")
    if parts.scheme in ("http", "https"):
        if not host:
            return _("The host is missing.")
        if parts.scheme == "http" and not LOOPBACK.fullmatch(host):
            return _("Plain http is allowed on this machine only (localhost). Use https.")
    elif parts.scheme in ("javascript", "data", "vbscript", "file", "blob", "about", "ftp", "ws", "wss"):
        return _("This scheme is not allowed in a redirect URI.")
    elif not re.fullmatch(r"[a-z][a-z0-9+.-]*", parts.scheme):
        return _("The scheme is not valid.")
    return None


def validate_page_url(value: str) -> None:
    """A page that people are sent to: https, or http on this machine, and no user name."""
    if not value.startswith(("https://", "http://")) or (problem := _redirect_uri_problem(value)):
        raise ValidationError(problem if value.startswith("http") else _("Use an address that begins with https://."))


def validate_moment(value: str) -> None:
    """ISO 8601 with a zone, such as 2026-12-31T23:59:59Z."""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValidationError(_("Use a date and time with a zone, such as 2026-12-31T23:59:59Z."))


class ProjectQuerySet(models.QuerySet["Project"]):
    def at_host(self, host: str) -> "ProjectQuerySet":
        """The project that serves `host` (with or without port), or none."""
        return self.filter(pk=project_id_at(host))


class Project(models.Model):
    """One tenant: owns the toggle, the keys, the applications and the users."""

    class PromotionConflict(models.TextChoices):
        ERROR = "error", _("Show Error")
        LOGIN = "login", _("Proceed to Login")

    class StoreDown(models.TextChoices):
        GO_ON = "go_on", _("Go On, Counting in Each Process")
        STOP = "stop", _("Stop")

    class RetiredDeviceKeys(models.TextChoices):
        NEW_GUEST = "new_guest", _("Create a New Guest")
        REFUSE = "refuse", _("Refuse")

    slug = models.SlugField(_("id"), max_length=50, unique=True)
    name = models.CharField(_("name"), max_length=100)
    allowed_origins = models.JSONField(_("allowed origins"), default=list, blank=True)
    application_origins = models.JSONField(default=list, blank=True, editable=False)

    anonymous_users_enabled = models.BooleanField(_("enable anonymous users"), default=False)
    promotion_conflict = models.CharField(max_length=10, choices=PromotionConflict, default=PromotionConflict.ERROR)
    retired_device_keys = models.CharField(
        max_length=10, choices=RetiredDeviceKeys, default=RetiredDeviceKeys.NEW_GUEST
    )
    login_ids = models.JSONField(default=list, blank=True)
    verify = models.JSONField(default=list, blank=True)

    session_lifetime = models.PositiveIntegerField(default=YEAR, validators=_between(MINUTE))
    session_idle_timeout_enabled = models.BooleanField(default=True)
    session_idle_timeout = models.PositiveIntegerField(default=MONTH, validators=_between(MINUTE))
    session_persistent_cookie = models.BooleanField(default=True)

    guest_inactive_days = models.PositiveIntegerField(
        default=90, validators=[MaxValueValidator(3650)], help_text=_("0: never")
    )

    quarantine_days = models.PositiveIntegerField(default=7, validators=[MaxValueValidator(365)])
    session_history_days = models.PositiveIntegerField(default=30, validators=[MaxValueValidator(3650)])
    retired_key_days = models.PositiveIntegerField(
        default=730, validators=[MaxValueValidator(3650)], help_text=_("0: never")
    )
    removals_per_run = models.PositiveIntegerField(default=100_000, validators=[MinValueValidator(1)])
    removals_percent = models.PositiveIntegerField(
        default=50, validators=[MinValueValidator(1), MaxValueValidator(100)]
    )

    signup_per_ip = models.CharField(max_length=20, blank=True)
    signup_per_application = models.CharField(max_length=20, blank=True)
    signup_per_project_day = models.CharField(max_length=20, blank=True)
    bot_check_per_ip = models.CharField(max_length=20, blank=True)
    unlimited_networks = models.JSONField(default=list, blank=True)
    limits_store_down = models.CharField(max_length=5, choices=StoreDown, default=StoreDown.GO_ON)

    # For clients of MongoDB Stitch and Realm: the client app id, which is the client ID of the application they come
    # through. Blank: they find nothing here.
    realm_app_id = UniqueOrBlankField(_("app ID"), max_length=100, validators=[CLIENT_ID])
    realm_local_userpass = models.BooleanField(default=False)
    realm_auto_confirm = models.BooleanField(default=False)
    realm_confirmation_url = models.CharField(max_length=500, blank=True, validators=[validate_page_url])
    realm_reset_url = models.CharField(max_length=500, blank=True, validators=[validate_page_url])
    realm_migration_until = models.CharField(max_length=25, blank=True, validators=[validate_moment])
    realm_adopt_guests = models.BooleanField(default=False)

    keys_version = models.PositiveIntegerField(default=0, editable=False)
    config_digest = models.CharField(max_length=64, blank=True, editable=False)
    # Closed: nobody gets in, and its rows are being removed.
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        verbose_name = _("project")
        verbose_name_plural = _("projects")
        constraints = [
            models.CheckConstraint(
                condition=Q(session_lifetime__range=(MINUTE, LIFETIME_MAX)),
                name="anonusers_project_session_lifetime",
            ),
            models.CheckConstraint(
                condition=Q(session_idle_timeout__range=(MINUTE, LIFETIME_MAX)),
                name="anonusers_project_session_idle",
            ),
            models.CheckConstraint(
                condition=Q(promotion_conflict__in=("error", "login")),
                name="anonusers_project_promotion_conflict",
            ),
            models.CheckConstraint(
                condition=Q(retired_device_keys__in=("new_guest", "refuse")),
                name="anonusers_project_retired_device_keys",
            ),
            models.CheckConstraint(
                condition=Q(limits_store_down__in=("go_on", "stop")), name="anonusers_project_limits_store_down"
            ),
            models.CheckConstraint(
                condition=Q(guest_inactive_days__lte=3650), name="anonusers_project_guest_inactive_days"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def validate_unique(self, exclude: Any = None) -> None:
        """Any number of projects have no app ID."""
        super().validate_unique({*(exclude or ()), *(() if self.realm_app_id else ("realm_app_id",))})

    @property
    def realm_migration_ends_at(self) -> datetime | None:
        """Until when users of a Realm app are being moved here."""
        return datetime.fromisoformat(self.realm_migration_until) if self.realm_migration_until else None

    def allows_origin(self, origin: str) -> bool:
        """Whether a page of `origin` may read this project's answers (besides the project's own host)."""
        return origin in self.allowed_origins or origin in self.application_origins

    def refresh_application_origins(self) -> None:
        """Recompute the origins that follow from the applications' redirect URIs.

        They are kept on the project's row because hot requests read that row anyway.
        """
        origins = {
            origin
            for uris in self.applications.values_list("redirect_uris", flat=True)
            for uri in uris
            if (origin := origin_of(uri))
        }
        Project.objects.filter(pk=self.pk).update(application_origins=sorted(origins))
        self.application_origins = sorted(origins)


class ProjectDomain(models.Model):
    """A host that leads to a project. `*` stands for every host that no project claims."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="domains")
    domain = models.CharField(max_length=253, unique=True, validators=[validate_domain])

    class Meta:
        verbose_name = _("domain")
        verbose_name_plural = _("domains")

    def __str__(self) -> str:
        return self.domain


def domain_of(host: str) -> str:
    """The domain of a Host header's value: lower case, without port and trailing dot."""
    name = host if host.endswith("]") else host.rsplit(":", 1)[0] if ":" in host else host
    return name.lower().rstrip(".")


def project_at(host: str) -> "Project | None":
    """The project that serves `host` (with or without port): one statement."""
    return _project_at.find(domain=domain_of(host))


_project_at = CompiledLookup(lambda: Project.objects.filter(pk=project_id_at(Parameter("domain", models.CharField()))))


def project_id_at(host: str | Parameter) -> models.Subquery:
    """An SQL expression: the id of the project that serves `host`. It costs no statement of its own."""
    domain = domain_of(host) if isinstance(host, str) else host
    named = ProjectDomain.objects.filter(domain__in=[domain, "*"])
    return models.Subquery(named.order_by(Length("domain").desc()).values("project_id")[:1])


class Application(models.Model):
    """One client program of a project (OAuth: client)."""

    class Type(models.TextChoices):
        SPA = "spa", _("Public Client")
        TRADITIONAL_WEBAPP = "traditional_webapp", _("Cookie SSO")
        NATIVE = "native", _("Native App")
        CONFIDENTIAL = "confidential", _("Confidential Client")
        THIRD_PARTY_APP = "third_party_app", _("OIDC Client Application (Legacy)")
        M2M = "m2m", _("Machine-to-Machine")
        UNSPECIFIED = "", _("Unspecified (Legacy)")

    class Algorithm(models.TextChoices):
        RS256 = "RS256"
        ES256 = "ES256"

    PUBLIC_TYPES = frozenset((Type.SPA, Type.TRADITIONAL_WEBAPP, Type.NATIVE, Type.UNSPECIFIED))

    project = models.ForeignKey(Project, models.CASCADE, related_name="applications")
    client_id = models.CharField(_("client ID"), max_length=100, validators=[CLIENT_ID])
    name = models.CharField(_("name"), max_length=100)
    type = models.CharField(max_length=20, choices=Type, default=Type.SPA, blank=True)
    framework = models.CharField(_("framework"), max_length=30, blank=True)
    redirect_uris = models.JSONField(default=list, blank=True)
    post_logout_redirect_uris = models.JSONField(default=list, blank=True)

    access_token_lifetime = models.PositiveIntegerField(default=1800, validators=_between(ACCESS_TOKEN_LIFETIME_MIN))
    refresh_token_lifetime = models.PositiveIntegerField(default=YEAR, validators=_between(ACCESS_TOKEN_LIFETIME_MIN))
    refresh_token_idle_timeout_enabled = models.BooleanField(default=True)
    refresh_token_idle_timeout = models.PositiveIntegerField(default=MONTH, validators=_between(MINUTE))
    refresh_token_rotation_enabled = models.BooleanField(default=True)
    dpop_enabled = models.BooleanField(default=True)
    issue_jwt_access_token = models.BooleanField(default=True)
    id_token_signed_response_alg = models.CharField(max_length=5, choices=Algorithm, default=Algorithm.RS256)
    max_concurrent_sessions = models.PositiveSmallIntegerField(
        default=0, validators=[MaxValueValidator(1)], help_text=_("0: no limit")
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = _("application")
        verbose_name_plural = _("applications")
        constraints = [
            models.UniqueConstraint(fields=["project", "client_id"], name="anonusers_application_client_id"),
            models.CheckConstraint(
                condition=Q(
                    type__in=(
                        "spa",
                        "traditional_webapp",
                        "native",
                        "confidential",
                        "third_party_app",
                        "m2m",
                        "",
                    )
                ),
                name="anonusers_application_type",
            ),
            models.CheckConstraint(
                condition=Q(access_token_lifetime__gte=ACCESS_TOKEN_LIFETIME_MIN)
                & (~Q(type="m2m") | Q(access_token_lifetime__lte=M2M_ACCESS_TOKEN_LIFETIME_MAX)),
                name="anonusers_application_access_lifetime",
            ),
            models.CheckConstraint(
                condition=Q(refresh_token_lifetime__gte=F("access_token_lifetime"))
                & Q(refresh_token_lifetime__lte=LIFETIME_MAX),
                name="anonusers_application_refresh_lifetime",
            ),
            models.CheckConstraint(
                condition=Q(refresh_token_idle_timeout__range=(MINUTE, LIFETIME_MAX)),
                name="anonusers_application_refresh_idle",
            ),
            models.CheckConstraint(
                condition=Q(id_token_signed_response_alg__in=("RS256", "ES256")),
                name="anonusers_application_id_token_alg",
            ),
            models.CheckConstraint(
                condition=Q(max_concurrent_sessions__lte=1), name="anonusers_application_max_sessions"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        self.project.refresh_application_origins()

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        deleted = super().delete(*args, **kwargs)
        self.project.refresh_application_origins()
        return deleted

    @property
    def may_have_guests(self) -> bool:
        """Whether this type of application has full access, which anonymous users need."""
        return self.type in self.PUBLIC_TYPES

    def clean(self) -> None:
        """The rules that join two fields.

        Raises: ValidationError, keyed by field.
        """
        problems: dict[str, Any] = {}
        access, refresh = self.access_token_lifetime, self.refresh_token_lifetime
        if access is not None and refresh is not None and refresh < access:
            problems["refresh_token_lifetime"] = _(
                "The refresh token lifetime must be greater than or equal to the access token lifetime."
            )
        if self.type == self.Type.M2M and access is not None and access > M2M_ACCESS_TOKEN_LIFETIME_MAX:
            problems["access_token_lifetime"] = _(
                "The access token lifetime of a machine-to-machine application is at most 2419200 seconds."
            )
        if problems:
            raise ValidationError(problems)


def application_at(host: str, *, client_id: str) -> Application | None:
    """The application with this client ID in the project that serves `host`, with its project: one statement."""
    return _application_at.find(domain=domain_of(host), client_id=client_id)


_application_at = CompiledLookup(
    lambda: Application.objects.select_related("project").filter(
        project_id=project_id_at(Parameter("domain", models.CharField())),
        client_id=Parameter("client_id", models.CharField()),
    )
)
