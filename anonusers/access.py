"""Who may enter a view of the host: what decorators and mixins ask before it, and their answer to who stays outside."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.utils.translation import gettext_noop

from anonusers.conf import conf
from anonusers.guests import REFUSED, recognise, refuse
from anonusers.userinfo import is_guest

GUEST_ALLOWED = "guest_allowed"
GUEST_REQUIRED = "guest_required"
MEMBER_REQUIRED = "member_required"
GUEST_REQUIRED_ON_WRITE = "guest_required_on_write"

SAFE = ("GET", "HEAD")


@dataclass(frozen=True)
class Refusal:
    """As an error of ours has them, for `guests.refuse`."""

    code: str
    message: str


NOT_SIGNED_IN = Refusal("not_signed_in", gettext_noop("Log in first."))
MEMBERS_ONLY = Refusal("members_only", gettext_noop("Keep your account first: this is not for guests."))
GUESTS_ONLY = Refusal("guests_only", gettext_noop("This is for guests only, and you have an account already."))


def mark(view: Any, access: str, promotion_url: Any = None) -> None:
    """The system check sees what was meant, and Django's LoginRequiredMiddleware leaves the question to us."""
    view.anonusers_access = access
    view.anonusers_promotion_url = promotion_url
    view.login_required = False


@dataclass(frozen=True)
class Gate:
    """One question before a view. URLs are anything that `resolve_url` knows; None is the project's own."""

    access: str
    login_url: Any = None
    promotion_url: Any = None
    member_url: Any = None
    redirect_field_name: str = REDIRECT_FIELD_NAME

    def refusal(self, request: HttpRequest) -> HttpResponse | None:
        """None for who may enter. No statement but that of `request.user`, where the user came with the end user."""
        recognise(request)
        user = getattr(request, "user", None)
        if user is None or not user.is_authenticated:
            return self._to_log_in(request)
        return None if self.access == GUEST_ALLOWED else self._to_the_others(request, is_guest(user))

    async def arefusal(self, request: HttpRequest) -> HttpResponse | None:
        recognise(request)
        user = await request.auser() if hasattr(request, "auser") else None
        if user is None or not user.is_authenticated:
            return self._to_log_in(request)
        if self.access == GUEST_ALLOWED:
            return None
        # Where the end user did not come along with the user, this is a statement.
        return self._to_the_others(request, await sync_to_async(is_guest)(user))

    def _to_log_in(self, request: HttpRequest) -> HttpResponse:
        if is_browsing(request):
            return self._send(request, self.login_url or settings.LOGIN_URL)
        if (why := vars(request).get(REFUSED)) is not None:
            return refuse(request, why)
        return refuse(request, NOT_SIGNED_IN, status=401)

    def _to_the_others(self, request: HttpRequest, guest: bool) -> HttpResponse | None:
        if guest == (self.access == GUEST_REQUIRED):
            return None
        if guest:
            if is_browsing(request):
                return self._send(request, self.promotion_url or conf.PROMOTION_URL)
            return refuse(request, MEMBERS_ONLY)
        home = resolve_url(self.member_url or settings.LOGIN_REDIRECT_URL) if is_browsing(request) else ""
        # A members' page that is this very one would send them in circles.
        if home and home.partition("?")[0] != request.path:
            return HttpResponseRedirect(home)
        return refuse(request, GUESTS_ONLY)

    def _send(self, request: HttpRequest, where: Any) -> HttpResponse:
        """To a page, from where `next` leads back: a path where that page is on this site, as Django does."""
        url = resolve_url(where)
        back = request.build_absolute_uri()
        (scheme, host), (our_scheme, our_host) = urlsplit(url)[:2], urlsplit(back)[:2]
        if scheme in ("", our_scheme) and host in ("", our_host):
            back = request.get_full_path()
        return redirect_to_login(back, url, self.redirect_field_name)


def is_browsing(request: HttpRequest) -> bool:
    """Whether a person opens a page, and can be sent to another one. A script gets an answer that it can read: it would
    follow a redirect and take the log-in page for what it asked for."""
    if request.method not in SAFE:
        return False
    if request.get_preferred_type(["text/html", "text/plain", "application/json"]) != "text/html":
        return False
    # Browsers say of what they fetch for a script that it is not a navigation, whatever it accepts.
    return request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
