"""Keys with which programs log in as a regular user. A key is shown once; its hash is what is kept."""

import re
import secrets
from dataclasses import dataclass, field

from django.db import IntegrityError, transaction
from django.utils import timezone

from anonusers import audit
from anonusers.errors import ApiKeyRefused, ApiKeyTaken, ApiKeyWrong, GuestGone, GuestNotAllowed
from anonusers.limits import network_of, spend
from anonusers.models import ApiKey, EndUser, Project, lock_end_user
from anonusers.promotion import demand_enabled
from anonusers.tokens import secret_hash

OBJECT_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)
KEYS_MAX = 20
"""Of one user."""


@dataclass(frozen=True)
class NewApiKey:
    row: ApiKey
    key: str = field(repr=False)


def create_api_key(*, end_user: EndUser, project: Project, name: str) -> NewApiKey:
    """Raises: GuestNotAllowed, GuestGone, ApiKeyRefused, ApiKeyTaken."""
    _demand_regular(end_user)
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise ApiKeyRefused("the name of an API key has 1 to 100 printable characters")
    key = secrets.token_urlsafe(48)
    try:
        with transaction.atomic():
            if lock_end_user(end_user.pk) is None:
                raise GuestGone
            if ApiKey.objects.filter(end_user=end_user).count() >= KEYS_MAX:
                raise ApiKeyRefused(f"a user has at most {KEYS_MAX} API keys")
            row = ApiKey.objects.create(project=project, end_user=end_user, name=name, key_hash=secret_hash(key))
            _record("user.api_key.created", row)
    except IntegrityError:
        raise ApiKeyTaken from None
    return NewApiKey(row, key)


def list_api_keys(end_user: EndUser) -> list[ApiKey]:
    """Oldest first. Raises: GuestNotAllowed."""
    _demand_regular(end_user)
    return list(ApiKey.objects.filter(end_user=end_user).order_by("created_at", "pk"))


def find_api_key(*, end_user: EndUser, object_id: str) -> ApiKey:
    """Raises: GuestNotAllowed; ApiKeyWrong, also for somebody else's."""
    _demand_regular(end_user)
    # What no id can be, such as a NUL from a path, is not for the database.
    is_id = OBJECT_ID.fullmatch(object_id)
    row = ApiKey.objects.filter(end_user=end_user, object_id=object_id).first() if is_id else None
    if row is None:
        raise ApiKeyWrong
    return row


def set_enabled(row: ApiKey, enabled: bool) -> None:
    row.disabled_at = None if enabled else row.disabled_at or timezone.now()
    ApiKey.objects.filter(pk=row.pk).update(disabled_at=row.disabled_at)


def delete_api_key(row: ApiKey) -> None:
    with transaction.atomic():
        if ApiKey.objects.filter(pk=row.pk).delete()[0]:
            _record("user.api_key.removed", row)


def log_in_with_api_key(*, project: Project, key: str, ip: str = "") -> EndUser:
    """The user whose key this is.

    Raises: ApiKeyWrong, UserDisabled, RateLimited.
    """
    spend("login_per_ip", project.slug, network_of(ip))
    rows = ApiKey.objects.select_related("end_user__user", "end_user__anonymous_identity", "end_user__realm_user")
    row = rows.filter(project=project, key_hash=secret_hash(key), disabled_at=None).first() if key.isascii() else None
    if row is None:
        raise ApiKeyWrong
    demand_enabled(row.end_user)
    ApiKey.objects.filter(pk=row.pk).update(last_used_at=timezone.now())
    return row.end_user


def _demand_regular(end_user: EndUser) -> None:
    if end_user.is_guest:
        raise GuestNotAllowed


def _record(type: str, row: ApiKey) -> None:
    facts = {"name": row.name}
    audit.record(
        "security",
        type,
        project=row.project_id,
        end_user_id=row.end_user_id,
        target=f"api_key:{row.object_id}",
        changes=facts,
    )
