"""An authentication backend that brings the end user along, so that asking whether a user is a guest costs nothing."""

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend as DjangoModelBackend
from django.core.exceptions import ObjectDoesNotExist

__all__ = ["EndUserMixin", "ModelBackend"]

WITH_END_USER = "end_user__anonymous_identity"


class EndUserMixin:
    """For a backend of somebody else: `class Backend(EndUserMixin, TheirBackend)`.

    The user of a Django session comes with end user and identity, in the one statement that looks for it. Whoever an
    operator has disabled in the portal is nobody here, too.
    """

    def authenticate(self, request: Any, **credentials: Any) -> Any:
        user = super().authenticate(request, **credentials)  # type: ignore[misc]
        return None if user is None or _is_disabled(user) else user

    async def aauthenticate(self, request: Any, **credentials: Any) -> Any:
        user = await super().aauthenticate(request, **credentials)  # type: ignore[misc]
        return None if user is None or await sync_to_async(_is_disabled)(user) else user

    def get_user(self, user_id: Any) -> Any:
        try:
            user = get_user_model()._default_manager.select_related(WITH_END_USER).get(pk=user_id)
        except ObjectDoesNotExist:
            return None
        return self._if_enabled(user)

    async def aget_user(self, user_id: Any) -> Any:
        try:
            user = await get_user_model()._default_manager.select_related(WITH_END_USER).aget(pk=user_id)
        except ObjectDoesNotExist:
            return None
        return self._if_enabled(user)

    def _if_enabled(self, user: Any) -> Any:
        allowed = self.user_can_authenticate(user)  # type: ignore[attr-defined]
        return user if allowed and not _is_disabled(user) else None


class ModelBackend(EndUserMixin, DjangoModelBackend):  # type: ignore[misc]
    """Django's own, with the end user. Name it in AUTHENTICATION_BACKENDS in its place."""


def _is_disabled(user: Any) -> bool:
    try:
        return user.end_user.disabled_at is not None
    except ObjectDoesNotExist:
        return False
