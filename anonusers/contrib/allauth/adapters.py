"""Name `AccountAdapter` in ACCOUNT_ADAPTER and `SocialAccountAdapter` in SOCIALACCOUNT_ADAPTER, or put the mixins
before the base classes of your own."""

from typing import Any

from allauth.account import app_settings
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.stagekit import clear_login
from allauth.account.models import EmailAddress
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal.httpkit import headed_redirect_response, is_headless_request
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter

from anonusers.adapters import GUEST_DOMAIN
from anonusers.contrib.allauth.signup import end_user_of, filling, finish, row_of
from anonusers.errors import GuestGone, UserIsRegular
from anonusers.guests import guest_of

__all__ = ["AccountAdapter", "AccountAdapterMixin", "SocialAccountAdapter", "SocialAccountAdapterMixin"]

ANEW = "_anonusers_anew"
"""On a request while allauth makes a row that is only a draft: of somebody at a provider, who may be known."""


class AccountAdapterMixin:
    """A guest who signs up fills its own row, and is promoted when allauth logs it in."""

    def new_user(self, request: Any) -> Any:
        user = super().new_user(request)  # type: ignore[misc]
        guest = guest_of(request)
        if guest is None or ANEW in vars(getattr(request, "_request", request)):
            return user
        return row_of(guest, like=user)

    def save_user(self, request: Any, user: Any, form: Any, commit: bool = True) -> Any:
        guest = guest_of(request)
        if guest is None or user.pk != guest.user_id:
            return super().save_user(request, user, form, commit=commit)  # type: ignore[misc]
        try:
            with filling(guest):
                return super().save_user(request, user, form, commit=commit)  # type: ignore[misc]
        except UserIsRegular:
            raise ImmediateHttpResponse(too_late(request)) from None

    def pre_login(self, request: Any, user: Any, **kwargs: Any) -> Any:
        response = super().pre_login(request, user, **kwargs)  # type: ignore[misc]
        end_user = end_user_of(user)
        if response is None and end_user is not None and end_user.disabled_at is not None:
            return self._turn_away(request, user)
        return response

    def login(self, request: Any, user: Any) -> None:
        try:
            finish(request, user, logging_in=True)
        except GuestGone:
            raise ImmediateHttpResponse(self._turn_away(request, user)) from None
        super().login(request, user)  # type: ignore[misc]

    def _turn_away(self, request: Any, user: Any) -> Any:
        clear_login(request)
        return self.respond_user_inactive(request, user)  # type: ignore[attr-defined]

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        if not str(email).endswith(GUEST_DOMAIN):  # nobody reads it
            super().send_mail(template_prefix, email, context)  # type: ignore[misc]

    def send_account_already_exists_mail(self, email: str) -> None:
        """A guest who signs up once more with the address that it has not confirmed yet gets the mail again."""
        request = context.request
        guest = guest_of(request) if request is not None else None
        own = EmailAddress.objects.filter(user_id=guest.user_id, email=email.lower()).first() if guest else None
        if own is None or app_settings.EMAIL_VERIFICATION_BY_CODE_ENABLED:
            super().send_account_already_exists_mail(email)  # type: ignore[misc]
        else:
            own.send_confirmation(request, signup=True)


class AccountAdapter(AccountAdapterMixin, DefaultAccountAdapter):
    """allauth's own, for guests, too."""


class SocialAccountAdapterMixin:
    """Somebody at a provider whom nobody knows here is the guest of this browser; somebody who is known logs in."""

    def new_user(self, request: Any, sociallogin: Any) -> Any:
        # A draft: allauth looks first whether the account at the provider is somebody's already.
        marks = vars(getattr(request, "_request", request))
        marks[ANEW] = True
        try:
            return super().new_user(request, sociallogin)  # type: ignore[misc]
        finally:
            marks.pop(ANEW, None)

    def pre_social_login(self, request: Any, sociallogin: Any) -> None:
        if sociallogin.state.get("process") == "connect" and guest_of(request) is not None:
            # A guest has no account to connect to. Links that say `process=connect` mean signing up.
            sociallogin.state["process"] = "login"
        super().pre_social_login(request, sociallogin)  # type: ignore[misc]

    def save_user(self, request: Any, sociallogin: Any, form: Any = None) -> Any:
        guest = guest_of(request)
        if guest is None:
            return super().save_user(request, sociallogin, form)  # type: ignore[misc]
        try:
            with filling(guest):
                sociallogin.user = row_of(guest, like=sociallogin.user)
                return super().save_user(request, sociallogin, form)  # type: ignore[misc]
        except UserIsRegular:
            raise ImmediateHttpResponse(too_late(request)) from None


class SocialAccountAdapter(SocialAccountAdapterMixin, DefaultSocialAccountAdapter):
    """allauth's own, for guests, too."""


def too_late(request: Any) -> Any:
    """The answer to a sign-up of somebody who was promoted while it was on its way: log in."""
    if not is_headless_request(request):
        return headed_redirect_response("account_login")
    from allauth.headless.base.response import ConflictResponse

    return ConflictResponse(request)
