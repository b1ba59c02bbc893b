"""What becomes of a guest who signs up through allauth.

allauth writes the guest's own row and sends its mail: the guest stays a guest, signed in, and its data with it. When
allauth logs the person in, or somebody follows its mail wherever that is, the guest is promoted. A sign-up that nobody
finishes changes nothing: it ends with the guest, and the guest may start another one.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from allauth.account import app_settings
from allauth.account.models import EmailAddress
from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from django.http import HttpRequest

from anonusers import sessions
from anonusers.adapters import get_adapter
from anonusers.adoption import adopt_user, follow_email
from anonusers.errors import LoginIDTaken, UserIsRegular
from anonusers.guests import HIDDEN, guest_of, take_away
from anonusers.models import EndUser, Session, lock_end_user, project_at
from anonusers.promotion import end_all_sessions, promote_as_saved
from anonusers.registration import promote_guest, session_of, stay_signed_in

logger = logging.getLogger(__name__)

METHOD = "allauth"
STAYING = "_anonusers_staying"
"""On a request that has promoted the guest whose session it presents, while it is open whether allauth logs them in."""


def end_user_of(user: Any) -> EndUser | None:
    try:
        found: EndUser = user.end_user
    except (AttributeError, ObjectDoesNotExist):
        return None
    return found


# --- the form is saved ------------------------------------------------------------------------------


@contextmanager
def filling(guest: EndUser) -> Iterator[None]:
    """While allauth writes the row of a guest: nobody promotes it meanwhile, and what an earlier sign-up left is gone.

    Raises: UserIsRegular, where somebody has.
    """
    with transaction.atomic():
        locked = lock_end_user(guest.pk)
        if locked is None or not locked.is_guest:
            raise UserIsRegular
        EmailAddress.objects.filter(user_id=guest.user_id).delete()
        yield


def row_of(guest: EndUser, *, like: Any) -> Any:
    """The guest's own row of AUTH_USER_MODEL, with what allauth and the host have put into a new one.

    What names a guest goes: an address that nobody reads, and a user name of our making.
    """
    model = get_user_model()
    row = model._base_manager.get(pk=guest.user_id)
    names = {model.USERNAME_FIELD, model.get_email_field_name()}
    names |= {app_settings.USER_MODEL_USERNAME_FIELD, app_settings.USER_MODEL_EMAIL_FIELD}
    for field in model._meta.concrete_fields:
        # What a default makes anew each time, such as a date, is the guest's own.
        made_anew = field.has_default() and callable(field.default) and field.default not in (dict, list)
        if field.primary_key or made_anew:
            continue
        value = getattr(like, field.attname)
        if field.name in names or value != field.get_default():
            setattr(row, field.attname, value)
    return row


# --- the person is who they say -----------------------------------------------------------------------


def finish(request: Any, user: Any, *, logging_in: bool) -> None:
    """Make a regular user of whoever signed up: a guest is promoted, a visitor adopted. Nothing happens to others.

    Raises: GuestGone.
    """
    end_user, is_new = end_user_of(user), True
    if end_user is None:
        end_user = _adopt(request, user)
    elif end_user.is_guest:
        end_user = _promote(request, user, end_user, logging_in=logging_in)
    else:
        is_new = False
        if logging_in:
            _go_on(request, end_user)
    if end_user is not None:
        user.end_user = end_user
        primary = EmailAddress.objects.get_primary(user)
        if primary is not None and (is_new or primary.verified):
            follow_email(end_user, primary.email, verified=primary.verified, add=is_new)


def _adopt(request: Any, user: Any) -> EndUser | None:
    """A visitor who signed up. Who has logged in before is left to `manage.py anonusers_adopt`."""
    if request is None or user.last_login is not None or not get_adapter().may_adopt(user):
        return None
    project = project_at(request.get_host())
    if project is None:
        return None
    try:
        return adopt_user(project=project, user=user)
    except LoginIDTaken:
        return adopt_user(project=project, user=user, login_ids=[])


def _promote(request: Any, user: Any, end_user: EndUser, *, logging_in: bool) -> EndUser | None:
    guest = None if request is None else guest_of(request)
    if guest is None or guest.pk != end_user.pk:  # on another device
        return _promote_as_saved(user, end_user, None)
    if not logging_in:
        session = session_of(_http(request))
        promoted = _promote_as_saved(user, end_user, session)
        if session is not None:
            session.end_user = promoted
            vars(_http(request))[STAYING] = session
        vars(_http(request)).pop(HIDDEN, None)  # there is no guest any more
        return promoted
    try:
        saved = promote_guest(request, lambda: user, method=METHOD)
    except LoginIDTaken:
        _say_taken(end_user)
        saved = promote_guest(request, lambda: user, method=METHOD, email="")
    except UserIsRegular:  # this very moment, in another tab
        return EndUser.objects.get(pk=end_user.pk)
    return end_user_of(saved)


def _promote_as_saved(user: Any, end_user: EndUser, keep: Session | None) -> EndUser:
    def promote(**login_ids: Any) -> EndUser:
        return promote_as_saved(
            end_user=end_user,
            project=end_user.project,
            save=lambda: user,
            method=METHOD,
            application=keep.application if keep else None,
            keep_session=keep,
            **login_ids,
        ).end_user

    try:
        return promote()
    except LoginIDTaken:
        _say_taken(end_user)
        return promote(login_ids=[])
    except UserIsRegular:
        return EndUser.objects.get(pk=end_user.pk)


def _say_taken(end_user: EndUser) -> None:
    # The project's rule is that a login ID is one person's. They log in through allauth, and not at our doors.
    logger.warning("end user %s has signed up with a login ID that somebody has: kept without", end_user.pk)


def _go_on(request: Any, end_user: EndUser) -> None:
    """Promoted by the mail just now, and logged in by the same request."""
    session = vars(_http(request)).pop(STAYING, None)
    if session is None or session.end_user_id != end_user.pk:
        return
    if session.kind == Session.Kind.COOKIE:
        end_all_sessions(end_user)  # a new one takes its place
    stay_signed_in(request, end_user, session)


def leave_where_not_logged_in(request: HttpRequest) -> None:
    """Who has followed the mail is not signed in by that: allauth has its own rules when to. The guest's session, which
    was good until now, must not go round them."""
    session = vars(request).pop(STAYING, None)
    if session is not None:
        sessions.end_session(session)
        if session.kind == Session.Kind.COOKIE:
            take_away(request)


def _http(request: Any) -> HttpRequest:
    http_request: HttpRequest = getattr(request, "_request", request)
    return http_request
