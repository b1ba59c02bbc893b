"""Django's admin: settings in a plain form, people and their sessions to look at.

The portal does more and says more. Whatever is sensitive is read-only here, hashes and keys are not shown at all, and
what a change sets off is done by the use cases, so that it ends sessions and is written to the audit log.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from anonusers.administration import disable_user, enable_user
from anonusers.audit import record
from anonusers.models import (
    Application,
    AuditEvent,
    CleanupRun,
    DeviceKey,
    EndUser,
    LoginID,
    Project,
    ProjectDomain,
    Promotion,
    Session,
)
from anonusers.sessions import end_session

PAGES_OF = 10_000
"""So many rows can be paged through; who looks for somebody older searches."""


class BoundedPaginator(Paginator):
    """Counts no further than anybody pages: a count of all rows takes seconds where there are millions."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[:PAGES_OF].count())


class ReadOnlyAdmin(admin.ModelAdmin):
    """Nothing is added, changed or deleted here."""

    show_full_result_count = False
    paginator = BoundedPaginator

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class SettingsAdmin(admin.ModelAdmin):
    """Settings are edited; rows with millions of others behind them are deleted in the portal, in batches."""

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm, change: bool) -> None:
        # `changed_data` compares texts: of a list it cannot tell whether it is the same.
        changes = {
            name: [form.initial[name], form.cleaned_data[name]]
            for name in (form.changed_data if change else ())
            if form.initial[name] != form.cleaned_data[name]
        }
        super().save_model(request, obj, form, change)
        is_project = isinstance(obj, Project)
        record(
            "settings",
            f"{obj._meta.model_name}.{'changed' if change else 'created'}",
            project=obj if is_project else obj.project,
            actor=request.user,
            target="project" if is_project else f"application:{obj.client_id}",
            changes=changes,
        )


class DomainInline(admin.TabularInline):
    model = ProjectDomain
    extra = 0


@admin.register(Project)
class ProjectAdmin(SettingsAdmin):
    list_display = ("name", "slug", "anonymous_users_enabled", "updated_at")
    search_fields = ("name", "slug")
    inlines = (DomainInline,)
    readonly_fields = ("created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("name", "slug", "allowed_origins")}),
        (_("Anonymous users"), {"fields": ("anonymous_users_enabled", "promotion_conflict", "retired_device_keys")}),
        (_("Login"), {"fields": ("login_ids", "verify")}),
        (
            _("Cookie sessions"),
            {
                "fields": (
                    "session_lifetime",
                    "session_idle_timeout_enabled",
                    "session_idle_timeout",
                    "session_persistent_cookie",
                )
            },
        ),
        (
            _("Retention"),
            {
                "fields": (
                    "guest_inactive_days",
                    "quarantine_days",
                    "session_history_days",
                    "retired_key_days",
                    "removals_per_run",
                    "removals_percent",
                )
            },
        ),
        (
            _("Limits"),
            {
                "fields": (
                    "signup_per_ip",
                    "signup_per_application",
                    "signup_per_project_day",
                    "bot_check_per_ip",
                    "unlimited_networks",
                    "limits_store_down",
                )
            },
        ),
        (None, {"fields": ("created_at", "updated_at")}),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        # A project needs signing keys from its first moment: the portal and `anonusers_config apply` make both.
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Project | None = None) -> tuple[str, ...]:
        return (*self.readonly_fields, "slug")


@admin.register(Application)
class ApplicationAdmin(SettingsAdmin):
    list_display = ("name", "client_id", "type", "project", "updated_at")
    list_filter = ("type", "project")
    list_select_related = ("project",)
    search_fields = ("name", "client_id")
    readonly_fields = ("created_at", "updated_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Application | None = None) -> tuple[str, ...]:
        # Sessions and installed apps name these: what is in use is not renamed.
        return (*self.readonly_fields, *(("project", "client_id", "type") if obj else ()))


class LoginIDInline(admin.TabularInline):
    model = LoginID
    extra = 0
    fields = readonly_fields = ("type", "value", "verified_at", "created_at")
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(EndUser)
class EndUserAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "is_guest", "created_at", "disabled_at", "quarantined_at")
    list_filter = ("project",)
    list_select_related = ("project", "anonymous_identity")
    # By sub or login ID, exactly: anything else would read the whole table.
    search_fields = ("=id", "=login_ids__value")
    ordering = ("-id",)
    fields = ("id", "project", "application", "created_at", "promoted_at", "disabled_at", "quarantined_at")
    inlines = (LoginIDInline,)
    actions = ("disable", "enable")

    @admin.display(boolean=True, description=_("guest"))
    def is_guest(self, end_user: EndUser) -> bool:
        return end_user.is_guest

    @admin.action(description=_("Disable selected end users"), permissions=["operate"])
    def disable(self, request: HttpRequest, queryset: QuerySet[EndUser]) -> None:
        self._each(request, queryset, "user.disabled", disable_user)

    @admin.action(description=_("Enable selected end users"), permissions=["operate"])
    def enable(self, request: HttpRequest, queryset: QuerySet[EndUser]) -> None:
        self._each(request, queryset, "user.enabled", enable_user)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("anonusers.change_enduser"))

    def _each(self, request: HttpRequest, queryset: QuerySet[EndUser], type: str, act: Callable[..., bool]) -> None:
        done = 0
        for end_user in queryset:
            with transaction.atomic():
                if act(end_user=end_user):
                    record("users", type, project=end_user.project_id, actor=request.user, end_user_id=end_user.pk)
                    done += 1
        told = ngettext("%d end user was changed.", "%d end users were changed.", done) % done
        messages.success(request, told)


@admin.register(Session)
class SessionAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "application", "kind", "created_at", "last_used_at", "ended_at")
    list_select_related = ("project", "application")
    search_fields = ("=id", "=end_user__id")
    ordering = ("-id",)
    fields = ("id", "project", "application", "end_user", "kind", "user_agent", "device", "amr", "created_at",
              "last_used_at", "ended_at")  # fmt: skip
    actions = ("revoke",)

    @admin.action(description=_("Revoke selected sessions"), permissions=["operate"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Session]) -> None:
        done = 0
        for session in queryset.select_related("end_user"):
            with transaction.atomic():
                if end_session(session, reason="revoked"):
                    record(
                        "users",
                        "session.revoked",
                        project=session.project_id,
                        actor=request.user,
                        end_user_id=session.end_user_id,
                        target=f"session:{session.pk}",
                    )
                    done += 1
        messages.success(request, ngettext("%d session was revoked.", "%d sessions were revoked.", done) % done)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("anonusers.change_session"))


@admin.register(DeviceKey)
class DeviceKeyAdmin(ReadOnlyAdmin):
    list_display = ("key_id", "project", "algorithm", "created_at", "last_used_at", "retired_at", "revoked_at")
    list_select_related = ("project",)
    search_fields = ("=key_id", "=end_user__id")
    ordering = ("-pk",)
    exclude = ("jwk",)


@admin.register(Promotion)
class PromotionAdmin(ReadOnlyAdmin):
    list_display = ("end_user", "outcome", "method", "application", "created_at")
    list_select_related = ("end_user", "application")
    list_filter = ("outcome",)
    search_fields = ("=end_user__id",)
    ordering = ("-pk",)


@admin.register(CleanupRun)
class CleanupRunAdmin(ReadOnlyAdmin):
    list_display = ("project", "state", "started_at", "finished_at", "reason")
    list_select_related = ("project",)
    list_filter = ("state", "project")
    ordering = ("-pk",)


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "type", "target", "actor_name", "end_user_id", "project")
    list_select_related = ("project",)
    list_filter = ("category",)
    search_fields = ("=end_user_id", "=actor_name", "=type")
    ordering = ("-pk",)
