"""Guests only when necessary: nobody becomes one by looking, by being a bot, or by a form of another site.

`ensure_guest(request)` is what the decorator, the mixin, the DRF permission and the middleware call before a write.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured, ObjectDoesNotExist
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext, gettext_noop

from anonusers import credentials
from anonusers.authentication import SAFE_METHODS
from anonusers.errors import (
    AnonUsersError,
    ApplicationTypeNotAllowed,
    InvalidToken,
    NotSignedIn,
    UnknownApplication,
    UnknownProject,
    UserIsRegular,
)
from anonusers.models import Application, EndUser, Project, Session, application_at, project_at
from anonusers.signup import sign_up
from anonusers.userinfo import is_guest, is_member, sub_of

__all__ = [
    "aensure_guest",
    "attach_guest",
    "ensure_guest",
    "guest_of",
    "is_bot",
    "is_guest",
    "is_member",
    "is_prefetch",
    "sub_of",
]

PENDING = "_anonusers_pending"
"""On a request whose response will carry our cookie: None, (session, secret) once there is one to hand out, or GONE."""
GONE = "gone"
RECOGNISED = "_anonusers_recognised"
REFUSED = "_anonusers_refused"
"""On a request whose bearer token or cookie was not taken: the error that says why."""
SESSION = "_anonusers_session"
"""On a request whose user came by our session: that session."""
HIDDEN = "_anonusers_hidden"
"""On a request that shows nobody in `request.user`, because a view of somebody else takes every user for a regular one
(anonusers.contrib.allauth): the guest's row."""

# For where crawler-user-agents is not installed, and for what is newer than it. The brand of phones "CUBOT" is no bot.
BOT_WORDS = re.compile(
    r"(?<!\bcu)bot(?![a-z])|crawl|spider|slurp|archiver|scrap[ey]|facebookexternalhit|meta-external|bingpreview"
    r"|gptbot|chatgpt-user|oai-searchbot|claude-|claudebot|anthropic-ai|perplexity|bytespider|ccbot|cohere-ai|diffbot"
    r"|google-extended|googleother|google-read-aloud|applebot|amazonbot|mistralai|duckassist|youbot|timpi"
    r"|headlesschrome|phantomjs|lighthouse|pingdom|uptime|^curl/|^wget/|^python-|^go-http-client|^java/|libwww-perl",
    re.IGNORECASE,
)
USER_AGENT_MAX = 512


def is_bot(request: HttpRequest) -> bool:
    """Whether the request says that a bot makes it. Who says nothing, or lies, is held by the sign-up limits."""
    return _is_bot(credentials.user_agent_of(request)[:USER_AGENT_MAX])


def is_prefetch(request: HttpRequest) -> bool:
    """Whether a browser asks ahead of a click that may never come."""
    told = (request.headers.get(name, "") for name in ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"))
    return any(re.search(r"prefetch|prerender|preview", value, re.IGNORECASE) for value in told)


@lru_cache(maxsize=1024)
def _is_bot(user_agent: str) -> bool:
    return bool(BOT_WORDS.search(user_agent)) or _library()(user_agent)


@lru_cache(maxsize=1)
def _library() -> Callable[[str], bool]:
    """The patterns of crawler-user-agents (extra `bots`): read when they are first needed, compiled once."""
    try:
        known: Callable[[str], bool] = import_module("crawleruseragents").is_crawler
    except ImportError:
        return lambda user_agent: False
    return known


def ensure_guest(request: Any, application: Application | str | None = None, *, attached: bool = False) -> EndUser:
    """The end user of this request: of its live session (bearer token or cookie), else a guest signed up by cookie.

    `request` is Django's or DRF's; its `user` is the host's row from now on. `application` is one of this project, or
    its client ID. The cookie goes out by GuestMiddleware, or by `attach_guest(request, response)`: `attached` promises
    to call it.
    Raises: NotSignedIn for who is never made a guest (safe methods, bots, prefetches, other sites); InvalidToken for a
    bearer token that is worthless, GuestGone where its user was removed; UserIsRegular for a host's user who is no end
    user; UnknownProject, UnknownApplication; all that sign_up raises; ImproperlyConfigured when nothing would hand out
    the cookie.
    """
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        try:
            known: EndUser = user.end_user
        except (AttributeError, ObjectDoesNotExist):
            raise UserIsRegular from None
        return known
    http_request: HttpRequest = getattr(request, "_request", request)
    session = presented_session(http_request) or _new_guest(http_request, application, attached=attached)
    become(request, http_request, session)
    return session.end_user


aensure_guest = sync_to_async(ensure_guest)
"""`ensure_guest` for async views."""


def guest_of(request: Any) -> EndUser | None:
    """The guest who makes this request; None for visitors and members. No statement where `request.user` was looked up
    and came by our session, else the one that looks. Where allauth is shown nobody in place of a guest, it is the guest
    still."""
    user = getattr(request, "user", None)
    if user is not None and not user.is_authenticated:
        user = getattr(getattr(request, "_request", request), HIDDEN, None)
    return user.end_user if user is not None and is_guest(user) else None


def attach_guest(request: Any, response: HttpResponse) -> None:
    """Hand our cookie over to the browser of whom `ensure_guest` or `promote_guest` has just given a session, if
    anybody; or take it away where its session ended."""
    http_request: HttpRequest = getattr(request, "_request", request)
    pending = getattr(http_request, PENDING, None)
    if pending is None:
        return
    vars(http_request)[PENDING] = None
    # A view that promoted the guest or logged them out has had the last word.
    if credentials.cookie_name(http_request) in response.cookies:
        return
    if pending == GONE:
        credentials.clear_session_cookie(http_request, response)
    else:
        credentials.set_session_cookie(http_request, response, *pending)


def expect_guest(request: HttpRequest) -> None:
    """Note that the response to this request will carry the cookie of whoever is signed up on the way."""
    vars(request).setdefault(PENDING, None)


def presented_session(request: HttpRequest) -> Session | None:
    """The live session of the bearer token or of the cookie, as the DRF classes see it, None where nothing is shown or
    the cookie is worthless. One statement; two where the origin must be compared with the project's.

    Raises: InvalidToken, or GuestGone, for a bearer token: a client that holds one gets no second identity behind its
    back, and where its user was removed it is told to begin anew;
    NotSignedIn for a cookie on an unsafe request from another site.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() in ("bearer", "dpop") and token.strip():
        session = credentials.bearer_session(request, say_gone=True)
        if session is None:
            raise InvalidToken
        return session
    if not request.COOKIES.get(credentials.cookie_name(request)):
        return None
    if request.method not in SAFE_METHODS and request.headers.get("Origin") != credentials.origin_of(request):
        # Before the session is looked up: what is refused must not count as its use.
        project = project_at(request.get_host())
        if project is None:
            return None
        _demand_trusted_origin(request, project)
    return credentials.cookie_session(request)


def _new_guest(request: HttpRequest, application: Application | str | None, *, attached: bool) -> Session:
    if request.method in SAFE_METHODS or is_bot(request) or is_prefetch(request):
        raise NotSignedIn
    demand_hand_out(request, attached=attached)
    project, application = _place(request, application)
    _demand_trusted_origin(request, project)
    signed_up = sign_up(
        project=project,
        application=application,
        kind=Session.Kind.COOKIE,
        ip=credentials.address_of(request),
        user_agent=credentials.user_agent_of(request),
    )
    secret = str(signed_up.secret)
    hand_out(request, signed_up.session, secret)
    return signed_up.session


def demand_hand_out(request: HttpRequest, *, attached: bool) -> None:
    """Raises: ImproperlyConfigured where a new cookie would be lost."""
    if attached:
        expect_guest(request)
    if not hasattr(request, PENDING):
        raise ImproperlyConfigured(
            "A session would be opened whose cookie nobody hands out. Add anonusers.middleware.GuestMiddleware to "
            "MIDDLEWARE, or pass attached=True and then call attach_guest(request, response)."
        )


def hand_out(request: HttpRequest, session: Session, secret: str) -> None:
    """The response will carry the cookie of this session."""
    vars(request)[PENDING] = (session, secret)
    # Whoever looks for the cookie later in this very request (CookieAuthentication) finds the user.
    request.COOKIES[credentials.cookie_name(request)] = secret


def take_away(request: HttpRequest) -> None:
    """The response will take our cookie away: its session has ended."""
    vars(request)[PENDING] = GONE
    request.COOKIES.pop(credentials.cookie_name(request), None)


def _place(request: HttpRequest, application: Application | str | None) -> tuple[Project, Application | None]:
    host = request.get_host()
    if application is None:
        project = project_at(host)
        if project is None:
            raise UnknownProject
        return project, None
    client_id = application if isinstance(application, str) else application.client_id
    found = application_at(host, client_id=client_id)
    if found is None or found.client_id != client_id:  # MariaDB compares without regard to case
        raise UnknownApplication
    if not found.may_have_guests:
        raise ApplicationTypeNotAllowed
    return found.project, found


def _demand_trusted_origin(request: HttpRequest, project: Project) -> None:
    if not credentials.is_trusted_origin(request, project):
        raise NotSignedIn("This request comes from a site that may not use the session cookie.")


def become(request: Any, http_request: HttpRequest, session: Session) -> None:
    """From now on the request is made by the user of this session."""
    user = session.end_user.user

    async def auser() -> Any:
        return user

    # Django keeps the user of a request in three places, so that it is looked up once.
    vars(http_request).update(user=user, _cached_user=user, _acached_user=user, auser=auser)
    vars(http_request)[SESSION] = session
    vars(http_request).pop(HIDDEN, None)
    if request is not http_request:  # DRF's request, which has authenticated nobody
        request.user, request.auth = user, session


# --- before a view --------------------------------------------------------------------------------


def admit(request: HttpRequest, application: Application | str | None = None) -> HttpResponse | None:
    """Let a request in to a view that only users and guests write to: None, or the answer to who stays outside.

    After it `request.user` is who writes, and on a safe method who reads, if they look like somebody.
    """
    if request.method in SAFE_METHODS:
        recognise(request)
        return None
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        return None
    try:
        ensure_guest(request, application)
    except AnonUsersError as error:
        return refuse(request, error)
    return None


def recognise(request: HttpRequest) -> None:
    """Let `request.user` be the user of a live session of ours, where Django's own session names nobody. Looked up when
    somebody asks for it and not before: a page that never does stays the same for everybody. Django's own user is asked
    first, so its session middleware says that the answer varies by cookie."""
    before = getattr(request, "user", None)
    presents = credentials.cookie_name(request) in request.COOKIES or "Authorization" in request.headers
    if before is None or not presents or RECOGNISED in vars(request):
        return

    def look() -> Any:
        if before.is_authenticated:
            return before
        try:
            session = presented_session(request)
        except AnonUsersError as error:
            vars(request)[REFUSED] = error
            return before
        if session is None:
            return before
        vars(request)[SESSION] = session
        return session.end_user.user

    user = SimpleLazyObject(look)

    async def auser() -> Any:
        # What one has found, the other one knows.
        await sync_to_async(bool)(user)
        return user._wrapped

    vars(request).update({"user": user, "auser": auser, RECOGNISED: True})


# What errors of the domain say for themselves; errors.py knows no language. JSON stays English.
SAID_TO_PEOPLE = (
    gettext_noop("Anonymous users are disabled in this project."),
    gettext_noop("Public sign-up is disabled."),
    gettext_noop("The host application refused this sign-up."),
    gettext_noop("Too many requests. Try again later."),
    gettext_noop("No project lives at this host."),
    gettext_noop("There is no valid session."),
    gettext_noop("The token is not valid (any more)."),
    gettext_noop("This account is gone: it was deleted, or disabled just now. Sign up to start afresh."),
    gettext_noop("This request comes from a site that may not use the session cookie."),
    gettext_noop("Too much is going on at once. Try again in a moment."),
)
STATUS = {"rate_limited": 429, "busy": 503, "invalid_token": 401, "guest_gone": 401}


def refuse(request: HttpRequest, error: Any, *, status: int | None = None) -> HttpResponse:
    """Plain words, or JSON for who prefers it, of anything that has a `code` and a `message`."""
    status = status or STATUS.get(error.code, 403)
    headers = {"Cache-Control": "no-store"}
    if (retry_after := getattr(error, "retry_after", None)) is not None:
        headers["Retry-After"] = str(retry_after)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if request.get_preferred_type(["text/plain", "text/html", "application/json"]) == "application/json":
        body = {"code": error.code, "detail": error.message}
        if challenge := getattr(error, "challenge", None):
            body["challenge"] = challenge
        return JsonResponse(body, status=status, headers=headers)
    words = gettext(error.message) if error.message else ""
    return HttpResponse(words, status=status, headers=headers, content_type="text/plain; charset=utf-8")
