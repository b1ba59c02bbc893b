"""A visit to a hosted page: which project, in the middle of what, and where it leads. What every page shares."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from anonusers import browser, credentials, django_login, sessions
from anonusers.errors import GuestGone
from anonusers.middleware import content_security_policy
from anonusers.models import Application, EndUser, Project, Promotion, Session, project_at
from anonusers.models.projects import LOOPBACK, origin_of
from anonusers.pages.words import Problems

THEME = "anonusers_theme"
LANGUAGE = "anonusers_language"


class Sorry(Exception):
    """A page that cannot be shown: a message that says what happened, that nothing was lost, and what to do next."""

    def __init__(self, title: str, message: str, url: str = "", label: str = "", status: int = 400) -> None:
        super().__init__(title)
        self.title, self.message, self.url, self.label, self.status = title, message, url, label, status


class Onward(Exception):
    """Not this page but another one of ours, first."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


@dataclass
class Visit:
    """`begun`: whether the flow is kept in this browser. Until then nothing is written for who only looks."""

    request: HttpRequest
    project: Project
    flow: browser.Flow
    begun: bool
    came_by: Application | None = None
    """The application of the guest's cookie session, which the new one goes on for."""

    @property
    def ip(self) -> str:
        return credentials.address_of(self.request)

    @property
    def host(self) -> str:
        return self.request.get_host()

    @property
    def application(self) -> Application | None:
        if self.flow.application is None:
            return None
        return Application.objects.filter(pk=self.flow.application, project=self.project).first()

    def posted(self, name: str) -> str:
        return str(self.request.POST.get(name, ""))

    def url(self, page: str, *args: Any, **more: str) -> str:
        """A page of ours in the same flow."""
        query = {"flow": self.flow.id} if self.begun else {"next": self.flow.next}
        return f"{reverse(f'anonusers:pages:{page}', args=args)}?{urlencode(query | more)}"

    def own_page(self, page: str, *args: Any) -> str:
        """A page of ours outside of any flow."""
        return reverse(f"anonusers:pages:{page}", args=args)

    def log_in_and_come_back(self) -> str:
        return f"{self.own_page('login')}?{urlencode({'next': self.request.path})}"

    def keep(self) -> None:
        if self.begun:
            browser.save(self.request, self.flow)
        else:
            browser.begin(self.request, self.flow)
            self.begun = True

    def await_code(self, what: str, handle: str, to: str) -> HttpResponse:
        """Remember that a code is on its way, and ask for it."""
        self.flow.pending, self.flow.pending_to = f"{what}:{handle}", to
        self.flow.pending_since = int(time.time())
        self.keep()
        return see_other(self.url("code"))

    # --- who is here ---------------------------------------------------------------------

    def guest(self) -> EndUser:
        """The guest that this is about: the flow's, else the one of our cookie.

        Raises: Sorry.
        """
        session = None
        if self.flow.application is None:  # a page of our own: whoever has logged out meanwhile is out
            session = credentials.cookie_session(self.request)
            if session is None or (self.flow.guest_id or session.end_user_id) != session.end_user_id:
                raise self.sorry_no_guest()
            self.came_by = session.application
        users = EndUser.objects.select_related("user", "anonymous_identity", "promotion")
        pk = session.end_user_id if session else self.flow.guest_id
        end_user = users.filter(pk=pk, project=self.project).first() if pk else None
        if end_user is None or end_user.disabled_at or not getattr(end_user.user, "is_active", True):
            raise self.sorry_guest_gone()
        if not end_user.is_guest or is_superseded(end_user):
            raise self.sorry_regular()
        return end_user

    def guest_at_stake(self) -> EndUser | None:
        """The guest that logging in would take the browser away from.

        Raises: Sorry when the flow is about a guest who is none any more.
        """
        if self.flow.guest_id:
            return self.guest()
        session = credentials.cookie_session(self.request) if self.flow.opens_cookie else None
        return session.end_user if session is not None and session.end_user.is_guest else None

    def somebody_else(self, end_user: EndUser) -> Session | None:
        """The live session of another user in this browser: its owner should know what this page is about."""
        session = credentials.cookie_session(self.request)
        return session if session is not None and session.end_user_id != end_user.pk else None

    # --- where it leads --------------------------------------------------------------------

    def arrive(self, end_user: EndUser, amr: str) -> HttpResponse:
        """The person has proven who they are: the browser's session changes its key, the flow goes on."""
        old = credentials.cookie_session(self.request)
        self.keep()
        browser.authenticated(self.request, self.flow, sub=end_user.pk, amr=amr)
        if self.flow.opens_cookie:
            django_login.follow(self.request, end_user)
        response = see_other(self.flow.next)
        if self.flow.opens_cookie and not self.stays(old):
            if old is not None:  # its cookie is overwritten, so nobody could end it later
                sessions.end_session(old)
            session, secret = sessions.open_session(
                end_user=end_user,
                project=self.project,
                # Who signs in through us does so for every application, but for one that relies on the cookie.
                application=self.application if self.is_for_cookie else self.came_by,
                kind=Session.Kind.COOKIE,
                user_agent=credentials.user_agent_of(self.request),
                authenticated_at=timezone.now(),
                amr=amr,
                # Who was promoted has not logged in: that is told as a promotion, once.
                announce=self.flow.guest != str(end_user.pk),
            )
            credentials.set_session_cookie(self.request, response, session, str(secret))
        if credentials.APP_SESSION in self.request.COOKIES:
            response.delete_cookie(credentials.APP_SESSION)
        if self.flow.application is None:
            browser.end(self.request, self.flow)
        return response

    @property
    def is_for_cookie(self) -> bool:
        application = self.application
        return application is not None and application.type == Application.Type.TRADITIONAL_WEBAPP

    def stays(self, old: Session | None) -> bool:
        """Whether the browser goes on with the session it has: another guest's, who may have no other way back."""
        is_other_guest = old is not None and old.end_user.is_guest and old.end_user_id != self.flow.guest_id
        return is_other_guest and self.flow.guest_id is not None and not self.is_for_cookie

    def form_targets(self) -> set[str]:
        """Where the redirects after a form may lead: to the applications of the project."""
        if self.flow.application is None:
            return set(self.project.application_origins)
        application = self.application
        uris = application.redirect_uris if application else []
        targets = {origin_of(uri) or f"{urlsplit(uri).scheme}:" for uri in uris}
        if application and application.type == Application.Type.NATIVE:  # RFC 8252 §7.3: any port
            hosts = {urlsplit(uri).hostname or "" for uri in uris}
            targets |= {f"http://{host}:*" for host in hosts if LOOPBACK.fullmatch(host) and ":" not in host}
        return targets

    def show(self, template: str, problems: Problems | None = None, **context: Any) -> HttpResponse:
        """A page of ours, with the errors of its form."""
        problems = problems or Problems()
        context = {
            "project_name": self.project.name,
            "theme": self.request.session.get(THEME, ""),
            "problems": problems,
            "errors": problems.fields,
            "values": self.request.POST,
            "action": self.request.get_full_path(),
        } | context
        response = render(self.request, f"anonusers/{template}.html", context, status=problems.status)
        response.headers["Content-Security-Policy"] = content_security_policy(sorted(self.form_targets()))
        if problems.retry_after:
            response.headers["Retry-After"] = str(problems.retry_after)
        return response

    # --- why not -----------------------------------------------------------------------------

    def way_back(self) -> tuple[str, str]:
        if self.flow.application is not None:
            return self.flow.next, _("Log in instead")
        return self.flow.next, _("Go back")

    def sorry_no_guest(self) -> Sorry:
        return Sorry(
            _("No guest account here"),
            _("This browser is not signed in as a guest. If you have an account, log in; nothing was changed."),
            f"{reverse('anonusers:pages:login')}?{urlencode({'next': self.flow.next})}",
            _("Log in"),
            403,
        )

    def sorry_guest_gone(self) -> Sorry:
        return Sorry(
            _("This guest account is closed"),
            _("It was disabled or deleted, so it cannot be kept. If you have another account, nothing happened to it."),
            *self.way_back(),
            409,
        )

    def sorry_regular(self) -> Sorry:
        return Sorry(
            _("You have an account already"),
            _("This guest account was kept before, so nothing is left to do here and nothing was lost."),
            *self.way_back(),
            409,
        )


def is_superseded(end_user: EndUser) -> bool:
    promotion = getattr(end_user, "promotion", None)
    return promotion is not None and promotion.outcome == Promotion.Outcome.SUPERSEDED


def see_other(url: str) -> HttpResponse:
    """The browser goes on with GET (RFC 9700 §4.12)."""
    response = HttpResponseRedirect(url)
    response.status_code = 303
    return response


def own_path(wanted: str, default: str) -> str:
    """`wanted` if it is a path of this very host, else `default`: never an open redirect."""
    safe = url_has_allowed_host_and_scheme(wanted, allowed_hosts=None) and wanted.startswith("/")
    if safe and "\0" not in wanted and not urlsplit(wanted).netloc:
        return wanted
    return default


def _visit(request: HttpRequest, project: Project) -> Visit:
    flow_id = request.GET.get("flow", "")
    if flow_id:
        flow = browser.find(request, flow_id, project)
        if flow is None:
            raise Sorry(
                _("This page is no longer valid"),
                _(
                    "It was open for too long, or it belongs to another browser. Nothing was lost: go back to where "
                    "you came from and start again."
                ),
                *_start_again(request),
            )
        return Visit(request, project, flow, begun=True)
    onward = own_path(request.GET.get("next", ""), reverse("anonusers:pages:settings"))
    return Visit(request, project, browser.Flow(project=project.pk, next=onward), begun=False)


def _start_again(request: HttpRequest) -> tuple[str, str]:
    session = credentials.cookie_session(request)
    if session is not None and session.end_user.is_guest:
        return reverse("anonusers:pages:promote"), _("Keep your account")
    return reverse("anonusers:pages:settings"), _("Log in") if session is None else _("Your account")


def _view(view: Callable[..., HttpResponse], visit: Visit, **captured: Any) -> HttpResponse:
    try:
        return view(visit, **captured)
    except GuestGone:
        raise Sorry(
            _("This account is closed"),
            _("It was disabled or deleted a moment ago, maybe by yourself in another tab. Nothing was changed here."),
            status=409,
        ) from None


def _language(request: HttpRequest, project: Project | None) -> str:
    """What the application asked for that sent the person here; empty, and the browser's Accept-Language decides."""
    flow = browser.find(request, request.GET.get("flow", ""), project) if project else None
    asked = browser.language_of(request.GET.get("ui_locales", ""))
    return (flow.language if flow else "") or asked or str(request.session.get(LANGUAGE, ""))


def _answer(
    view: Callable[..., HttpResponse], request: HttpRequest, project: Project | None, **captured: Any
) -> HttpResponse:
    try:
        if project is None:
            raise Sorry(_("There is nothing here"), _("No project lives at this address."), status=404)
        visit = _visit(request, project)
        if visit.flow.sub and visit.flow.application is not None:
            return see_other(visit.flow.next)  # done: the way on was lost, or somebody went back
        return _view(view, visit, **captured)
    except Onward as onward:
        return see_other(onward.url)
    except Sorry as sorry:
        context = {
            "project_name": project.name if project else "",
            "theme": request.session.get(THEME, ""),
            "title": sorry.title,
            "message": sorry.message,
            "action_url": sorry.url,
            "action_label": sorry.label,
        }
        return render(request, "anonusers/message.html", context, status=sorry.status)


def hosted(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A view that gets a Visit: never cached, safe from other sites, and able to say Sorry."""

    @login_not_required  # who comes here to log in cannot be logged in
    @never_cache
    @sensitive_post_parameters()
    @csrf_protect
    @require_http_methods(["GET", "HEAD", "POST"])
    @wraps(view)
    def shown(request: HttpRequest, **captured: str | int | uuid.UUID) -> HttpResponse:
        project = project_at(request.get_host())
        with browser.speaking(_language(request, project)):
            response = _answer(view, request, project, **captured)
            response.headers.setdefault("Content-Language", get_language() or "")
        # Under no-referrer browsers send `Origin: null` with our forms, which the CSRF check refuses.
        response.headers.setdefault("Referrer-Policy", "same-origin")
        return response

    return shown
