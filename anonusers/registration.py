"""The host's own registration, in one call: a guest is promoted and keeps the same id, a visitor becomes a user."""

from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from django.http import HttpRequest
from django.middleware.csrf import rotate_token
from django.utils import timezone

from anonusers import credentials, login
from anonusers.adapters import get_adapter
from anonusers.adoption import adopt_user
from anonusers.errors import AnonUsersError, LoginIDTaken, UserIsRegular
from anonusers.guests import SESSION, become, demand_hand_out, guest_of, hand_out, presented_session, take_away
from anonusers.login_ids import EMAIL, PHONE, USERNAME, LoginIDValue, parse_login_id
from anonusers.models import EndUser, Session, project_at
from anonusers.promotion import demand_enabled, promote_as_saved
from anonusers.sessions import open_session

__all__ = [
    "apromote_guest",
    "leave_guest",
    "promote_guest",
    "registering_user",
    "session_of",
    "sign_in",
    "stay_signed_in",
]


def registering_user(request: Any) -> Any:
    """The row of AUTH_USER_MODEL that a registration fills: a copy of the guest's own, else a new one.

    `SignUpForm(request.POST, instance=registering_user(request))`. A copy, so that a form that is refused leaves
    `request.user` as it was.
    """
    guest = guest_of(request)
    model = get_user_model()
    return model._base_manager.get(pk=guest.user_id) if guest else model()


def promote_guest(
    request: Any,
    save: Callable[[], Any],
    *,
    email: str | None = None,
    phone: str | None = None,
    username: str | None = None,
    verified: bool = False,
    method: str = "host",
    attached: bool = False,
) -> Any:
    """Register the person of this request, and return their row of AUTH_USER_MODEL.

    `save()`, such as `form.save` or `serializer.save`, writes and returns the row; it runs in the transaction. For a
    guest it must be the guest's own row (`registering_user(request)`): the same id from now on is a regular user's.
    Every session of the guest ends but the presenting one; a cookie is replaced by a new one (GuestMiddleware hands it
    out). Django's session keeps its data and changes its key. A visitor's row becomes a regular user of the project.

    What they log in with at our doors is read from the saved row (Adapter.login_ids), or given as `email`, `phone`
    and `username`; `verified`: you have made sure that it is theirs. `method` stands in events and charts.
    `request` is Django's or DRF's; `attached` promises to call `attach_guest(request, response)` where there is no
    GuestMiddleware. Raises: LoginIDTaken, GuestGone, InvalidLoginID, UserIsRegular where somebody is
    signed in already, and what `save()` raises; with nothing saved.
    """
    http_request: HttpRequest = getattr(request, "_request", request)
    given = _given(email, phone, username)
    guest = guest_of(request)
    if guest is None:
        return _register_visitor(request, http_request, save, given, verified=verified)
    session = _presenting(request, http_request, guest)
    if session is not None and session.kind == Session.Kind.COOKIE:
        demand_hand_out(http_request, attached=attached)
    promoted = promote_as_saved(
        end_user=guest,
        project=session.project if session else guest.project,
        save=save,
        login_ids=given,
        verified=verified,
        method=method,
        application=session.application if session else None,
        keep_session=session if session is not None and session.kind == Session.Kind.TOKEN else None,
    ).end_user
    stay_signed_in(request, promoted, session)
    return promoted.user


apromote_guest = sync_to_async(promote_guest)
"""`promote_guest` for async views; `save` stays a plain function."""


def stay_signed_in(request: Any, end_user: EndUser, session: Session | None) -> None:
    """Who was a guest goes on as `end_user` by the same `session`, of which a cookie is replaced by a new one."""
    http_request: HttpRequest = getattr(request, "_request", request)
    if session is not None and session.kind == Session.Kind.COOKIE:
        session = _new_cookie(http_request, end_user, before=session)
    if session is not None:
        session.end_user = end_user
        become(request, http_request, session)
    _change_keys(http_request, end_user)


def sign_in(request: Any, end_user: EndUser, *, attached: bool = False) -> Session:
    """Open a session of ours, by cookie, for an end user of whom you know that they make this request: by a session of
    another package that you are leaving, say. The request is theirs from now on. GuestMiddleware hands the cookie out;
    `attached` promises to call `attach_guest(request, response)`.

    Raises: UserDisabled, GuestGone; ImproperlyConfigured where nobody would hand the cookie out.
    """
    http_request: HttpRequest = getattr(request, "_request", request)
    demand_hand_out(http_request, attached=attached)
    demand_enabled(end_user)
    session, secret = open_session(
        end_user=end_user,
        project=end_user.project,
        application=None,
        kind=Session.Kind.COOKIE,
        user_agent=credentials.user_agent_of(http_request),
    )
    hand_out(http_request, session, str(secret))
    become(request, http_request, session)
    return session


def leave_guest(request: Any, user: Any, *, method: str = "host") -> EndUser | None:
    """The guest of this request has proven to be `user`, an account that existed before, and goes on as that one: where
    the project says so (`promotion_conflict`), the guest is superseded and its sessions end; else it stays as it is.
    The superseded guest, or None.

    Django's `login()` is followed without it. Call it where you hand out tokens of your own to somebody who has just
    logged in. The event `user.anonymous.promoted` names both, so that you can bring the guest's data along.
    """
    http_request: HttpRequest = getattr(request, "_request", request)
    session = session_of(http_request)
    if session is None or not session.end_user.is_guest or session.end_user.user_id == user.pk:
        return None
    account = _account_of(user, session)
    if account is None or account.project_id != session.project_id:
        return None  # nobody of this project, such as an operator
    left = login.leave_guest(
        account, guest=session.end_user, project=session.project, method=method, application=session.application
    )
    if left.superseded is not None and session.kind == Session.Kind.COOKIE:
        take_away(http_request)
    return left.superseded


def _account_of(user: Any, session: Session) -> EndUser | None:
    """The end user behind the host's row; a user of the host's own becomes one, else a guest would have no account to
    go on as."""
    try:
        found: EndUser = user.end_user
    except (AttributeError, ObjectDoesNotExist):
        if not get_adapter().may_adopt(user):
            return None
        try:
            return adopt_user(project=session.project, user=user)
        except LoginIDTaken:
            return adopt_user(project=session.project, user=user, login_ids=[])
    return found


def session_of(request: HttpRequest) -> Session | None:
    """Our live session that came with a request, if any."""
    known = getattr(request, SESSION, None)
    if known is not None:
        return known if known.is_live(timezone.now()) else None
    try:
        return presented_session(request)
    except AnonUsersError:
        return None


def _given(email: str | None, phone: str | None, username: str | None) -> list[LoginIDValue] | None:
    texts = {EMAIL: email, PHONE: phone, USERNAME: username}
    if all(text is None for text in texts.values()):
        return None
    return [parse_login_id(type, text) for type, text in texts.items() if text]


def _register_visitor(
    request: Any,
    http_request: HttpRequest,
    save: Callable[[], Any],
    given: list[LoginIDValue] | None,
    *,
    verified: bool,
) -> Any:
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        raise UserIsRegular
    project = project_at(http_request.get_host())
    with transaction.atomic():
        saved = save()
        if project is not None:
            adopt_user(project=project, user=saved, login_ids=given, verified=verified)
    return saved


def _presenting(request: Any, http_request: HttpRequest, guest: EndUser) -> Session | None:
    """Our session that this request came with; None for a guest whom Django's own session names."""
    known = getattr(request, "auth", None)
    if not isinstance(known, Session):
        known = session_of(http_request)
    return known if known is not None and known.end_user_id == guest.pk else None


def _new_cookie(request: HttpRequest, end_user: EndUser, *, before: Session) -> Session:
    session, secret = open_session(
        end_user=end_user,
        project=before.project,
        application=before.application,
        kind=Session.Kind.COOKIE,
        user_agent=credentials.user_agent_of(request),
        authenticated_at=timezone.now(),
        amr="pwd" if end_user.user.has_usable_password() else "",
        announce=False,  # told as a promotion, once
    )
    hand_out(request, session, str(secret))
    return session


def _change_keys(request: HttpRequest, end_user: EndUser) -> None:
    """The session key and the CSRF token change, the session's data stays: a basket survives, a planted session does
    not (ASVS V7.2.4)."""
    session = getattr(request, "session", None)
    if session is None or session.session_key is None:
        return
    if session.get(SESSION_KEY) == str(end_user.user._meta.pk.value_to_string(end_user.user)):
        session[HASH_SESSION_KEY] = end_user.user.get_session_auth_hash()  # the new password would end it
    session.cycle_key()
    rotate_token(request)
