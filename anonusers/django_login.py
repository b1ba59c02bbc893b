"""When the host logs somebody in or out through Django: in a view of its own, the admin, allauth.

Django's session and our cookie live side by side, and Django's user goes first. Nobody is left signed in whom they
logged out, and a guest who logs in to an account that existed goes the way that the project says.
"""

from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, logout
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.http import HttpRequest

from anonusers import credentials, sessions
from anonusers.errors import AnonUsersError
from anonusers.guests import take_away
from anonusers.models import EndUser, Session
from anonusers.registration import leave_guest

UID = "anonusers.django_login"


def connect() -> None:
    user_logged_in.connect(logged_in, dispatch_uid=UID)
    user_logged_out.connect(logged_out, dispatch_uid=UID)


def logged_in(sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
    """A guest goes on as the account; a regular user's session of ours ends where it is somebody else's."""
    session = _cookie_session(request)
    if session is not None and not session.end_user.is_guest and session.end_user.user_id != user.pk:
        _end(request, session)
    elif request is not None and (session is not None or "Authorization" in _http(request).headers):
        leave_guest(request, user)


def logged_out(sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
    """Who logs out is out of our session, too."""
    session = _cookie_session(request)
    if session is not None and user is not None and session.end_user.user_id == user.pk:
        _end(request, session)


def follow(request: HttpRequest, end_user: EndUser) -> None:
    """Somebody has signed in through our pages: Django's session names nobody else of the project from now on, and
    stays what it was for this very user, whose password may be new."""
    key = request.session.get(SESSION_KEY)
    if key is None:
        return
    if key == _session_value(end_user.user):
        # Not update_session_auth_hash(): it looks at request.user first, whom an old hash makes Django log out.
        request.session[HASH_SESSION_KEY] = end_user.user.get_session_auth_hash()
    elif EndUser.objects.filter(user=key, project=end_user.project_id).exists():
        # Not an operator, who may look at the pages of a project. The rest of the session is the browser's.
        for name in (SESSION_KEY, BACKEND_SESSION_KEY, HASH_SESSION_KEY):
            request.session.pop(name, None)


def log_out_too(request: HttpRequest, end_user: EndUser) -> None:
    """Somebody has logged out through our pages: Django's session ends where it is theirs."""
    if request.session.get(SESSION_KEY) == _session_value(end_user.user):
        logout(request)


def _session_value(user: Any) -> str:
    return str(user._meta.pk.value_to_string(user))


def _cookie_session(request: Any) -> Session | None:
    if request is None:  # `client.force_login()` and commands have none
        return None
    http_request = _http(request)
    try:
        name = credentials.cookie_name(http_request)
        return credentials.cookie_session(http_request) if http_request.COOKIES.get(name) else None
    except (AnonUsersError, KeyError):  # a made-up request without a host
        return None


def _end(request: Any, session: Session) -> None:
    sessions.end_session(session)
    take_away(_http(request))


def _http(request: Any) -> HttpRequest:
    http_request: HttpRequest = getattr(request, "_request", request)
    return http_request
