"""The account of who is signed in: profile, login IDs, password, sessions, the end."""

import contextlib
import uuid
from collections.abc import Sequence

from django.db.models import ProtectedError, RestrictedError
from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from anonusers import account, browser, credentials, device_keys, sessions
from anonusers.devices import place_of
from anonusers.errors import CredentialsWrong, UnknownKey, UnknownSession
from anonusers.login_ids import USERNAME
from anonusers.models import DeviceKey, LoginID, OneTimeToken, Session
from anonusers.pages.promote import EMPTY, FIELD, LABEL, SWITCH, check_password, kind_of, name_of, rules
from anonusers.pages.visit import LANGUAGE, THEME, Onward, Sorry, Visit, hosted, see_other
from anonusers.pages.words import TELLABLE, Problems, ago

DONE = {
    "password": lambda: _("Your new password is set. Other sessions were signed out."),
    "added": lambda: _("Your user name was added."),
    "verified": lambda: _("Your login ID is verified."),
    "removed": lambda: _("Your login ID was removed."),
    "session": lambda: _("That session was signed out."),
    "key": lambda: _("The key was removed. The device that keeps it cannot sign in with it any more."),
}


@hosted
def settings(visit: Visit) -> HttpResponse:
    session = user_of(visit, may_be_guest=True)
    theme = visit.request.GET.get("x_color_scheme", "")
    if theme in ("light", "dark") and visit.request.session.get(THEME) != theme:
        visit.request.session[THEME] = theme
    language = browser.language_of(visit.request.GET.get("ui_locales", ""))
    if language and visit.request.session.get(LANGUAGE) != language:
        visit.request.session[LANGUAGE] = language
    end_user = session.end_user
    login_ids = list(end_user.login_ids.order_by("created_at", "pk"))
    keys = device_keys.list_keys(end_user)
    done = DONE.get(visit.request.GET.get("done", ""))
    return visit.show(
        "settings",
        end_user=end_user,
        is_guest=end_user.is_guest,
        session=session,
        login_ids=[(row, LABEL[row.type](), row.type == USERNAME) for row in login_ids],
        removable=len(login_ids) > 1,
        can_add=bool(visit.project.login_ids) and not end_user.is_guest,
        has_password=end_user.user.has_usable_password(),
        way_back=way_back(session, keys) if end_user.is_guest else "",
        sessions=[
            (one, *place_of(one.device, one.user_agent), ago(one.last_used_at))
            for one in sessions.list_sessions(end_user)
        ],
        with_key=device_keys.AMR,
        keys=[(key, ago(key.created_at), ago(key.last_used_at)) for key in keys],
        since=ago(end_user.created_at),
        done=done() if done else "",
        promote_url=visit.own_page("promote") if end_user.is_guest and visit.project.login_ids else "",
        logout_url=visit.own_page("logout") if session.kind == Session.Kind.COOKIE else "",
    )


@hosted
def password(visit: Visit) -> HttpResponse:
    session = user_of(visit)
    problems = Problems()
    has_one = session.end_user.user.has_usable_password()
    if visit.request.method == "POST":
        current, new = visit.posted("current"), visit.posted("password")
        if has_one and not current:
            problems.add("current", _("Enter your current password."))
        check_password(problems, new, session.end_user)
        if not problems:
            try:
                account.change_password(end_user=session.end_user, current=current, new=new, keep=session, ip=visit.ip)
                return done(visit, "password")
            except CredentialsWrong:
                problems.add("current", _("This is not your current password."))
            except TELLABLE as error:
                problems.tell(error)
    return visit.show(
        "settings_password", problems, has_one=has_one, name=name_of(session.end_user), rules=rules(), **back(visit)
    )


# --- login IDs ------------------------------------------------------------------------------------


@hosted
def login_id_add(visit: Visit) -> HttpResponse:
    session = user_of(visit)
    if not visit.project.login_ids:
        raise Sorry(_("Nothing can be added here"), _("Nothing was changed."), *_to_settings(visit), 403)
    if visit.request.method != "POST":
        return add_form(visit)
    problems = Problems()
    kind, text = kind_of(visit), visit.posted("login_id")
    if not text.strip():
        problems.add("login_id", EMPTY[kind]())
        return add_form(visit, problems)
    try:
        added = account.add_login_id(
            end_user=session.end_user, project=visit.project, type=kind, text=text, ip=visit.ip
        )
    except TELLABLE as error:
        problems.tell(error)
        return add_form(visit, problems)
    if isinstance(added, LoginID):
        return done(visit, "added")
    visit.flow.login_hint = text
    return visit.await_code("login_id", added.handle, added.sent.to)


def add_form(visit: Visit, problems: Problems | None = None, text: str = "") -> HttpResponse:
    kind = kind_of(visit)
    return visit.show(
        "settings_add",
        problems,
        kind=kind,
        kinds=[(name, SWITCH[name](), visit.url("login-id-add", type=name)) for name in visit.project.login_ids],
        field=FIELD[kind],
        label=LABEL[kind](),
        text=text or visit.posted("login_id") or visit.flow.login_hint,
        sends_code=kind != USERNAME,
        **back(visit) | {"action": visit.url("login-id-add", type=kind)},
    )


@hosted
def login_id_verify(visit: Visit, pk: int) -> HttpResponse:
    session = user_of(visit)
    row = _login_id(visit, session, pk)
    problems = Problems()
    if visit.request.method == "POST":
        try:
            pending = account.verify_login_id(end_user=session.end_user, login_id=row, ip=visit.ip)
            return visit.await_code("login_id", pending.handle, pending.sent.to)
        except TELLABLE as error:
            problems.tell(error, login_id="")
    return visit.show(
        "settings_confirm",
        problems,
        title=_("Verify this login ID"),
        message=_("We send a code of six digits to %(login_id)s. Type it in on the next page.")
        % {"login_id": row.value},
        button=_("Send a code"),
        **back(visit),
    )


@hosted
def login_id_remove(visit: Visit, pk: int) -> HttpResponse:
    session = user_of(visit)
    row = _login_id(visit, session, pk)
    problems = Problems()
    if visit.request.method == "POST":
        try:
            account.remove_login_id(end_user=session.end_user, login_id=row)
            return done(visit, "removed")
        except TELLABLE as error:
            problems.tell(error, login_id="")
    return visit.show(
        "settings_confirm",
        problems,
        title=_("Remove this login ID?"),
        message=_("You cannot log in with %(login_id)s any more, and somebody else may use it.")
        % {"login_id": row.value},
        button=_("Remove it"),
        danger=True,
        **back(visit),
    )


def _login_id(visit: Visit, session: Session, pk: int) -> LoginID:
    row = session.end_user.login_ids.filter(pk=pk).first()
    if row is None:
        raise Sorry(_("There is nothing here"), _("You have no such login ID any more."), *_to_settings(visit), 404)
    return row


# --- sessions -------------------------------------------------------------------------------------


@hosted
def session_end(visit: Visit, session_id: uuid.UUID) -> HttpResponse:
    session = user_of(visit, may_be_guest=True)
    if visit.request.method == "POST":
        with contextlib.suppress(UnknownSession):  # it is over, as was wanted; somebody else's is not touched
            sessions.revoke_session(end_user=session.end_user, session_id=session_id)
        return done(visit, "session")
    return see_other(visit.own_page("settings"))


# --- the key ---------------------------------------------------------------------------------------


@hosted
def key_remove(visit: Visit, pk: int) -> HttpResponse:
    session = user_of(visit, may_be_guest=True)
    end_user = session.end_user
    key = next((key for key in device_keys.list_keys(end_user) if key.pk == pk), None)
    if key is None:
        raise _sorry_no_key(visit)
    if visit.request.method == "POST":
        try:
            device_keys.remove_key(end_user=end_user, key_id=key.key_id, keep_session=session)
        except UnknownKey:
            raise _sorry_no_key(visit) from None
        return done(visit, "key")
    return visit.show(
        "settings_confirm",
        title=_("Remove the device key?"),
        message=" ".join(_what_ends_with_the_key(session)),
        warning=_("Without the key, this guest account lasts only as long as you are signed in."),
        keep_url=visit.own_page("promote") if visit.project.login_ids else "",
        button=_("Remove the key"),
        danger=True,
        cancel_url=visit.own_page("settings"),
    )


def _what_ends_with_the_key(session: Session) -> list[str]:
    said = [_("The device that keeps this key cannot sign in with it again.")]
    opened = [one for one in sessions.list_sessions(session.end_user) if one.amr == device_keys.AMR]
    others = sum(one.pk != session.pk for one in opened)
    if others:
        words = ngettext(
            "This also ends %(count)s session that was opened with the key.",
            "This also ends %(count)s sessions that were opened with the key.",
            others,
        )
        said.append(words % {"count": others})
    if _has_recovery_code(session):
        said.append(_("Your recovery code is worthless then, too."))
    return [*said, _("You stay signed in here.")]


def _sorry_no_key(visit: Visit) -> Sorry:
    return Sorry(_("There is nothing here"), _("You have no such key any more."), *_to_settings(visit), 404)


# --- the end --------------------------------------------------------------------------------------


@hosted
def delete(visit: Visit) -> HttpResponse:
    session = user_of(visit, may_be_guest=True)
    end_user = session.end_user
    problems = Problems()
    word = _("delete") if end_user.is_guest else name_of(end_user)
    has_password = end_user.user.has_usable_password()
    try:
        goes = account.what_goes_with(end_user)
        if visit.request.method == "POST":
            if visit.posted("confirm").strip().casefold() != word.casefold():
                problems.add("confirm", _("Type “%(word)s” to confirm.") % {"word": word})
            if has_password and not visit.posted("current"):
                problems.add("current", _("Enter your current password."))
            if not problems:
                account.demand_password(end_user=end_user, password=visit.posted("current"), ip=visit.ip)
                account.delete_account(end_user=end_user)
                return _goodbye(visit)
    except (ProtectedError, RestrictedError):
        raise Sorry(
            _("This account cannot be deleted here"),
            _("Something depends on it. Ask those who run this site. Nothing was changed."),
            *_to_settings(visit),
            409,
        ) from None
    except CredentialsWrong:
        problems.add("current", _("This is not your current password."))
    except TELLABLE as error:
        problems.tell(error)
    return visit.show("settings_delete", problems, word=word, goes=goes, has_password=has_password, **back(visit))


def _goodbye(visit: Visit) -> HttpResponse:
    response = visit.show(
        "message",
        title=_("Your account is deleted"),
        message=_("Nothing of it is left here. You can close this page."),
    )
    credentials.clear_session_cookie(visit.request, response)
    response.delete_cookie(credentials.APP_SESSION)
    return response


# --- who is here ----------------------------------------------------------------------------------


def user_of(visit: Visit, *, may_be_guest: bool = False) -> Session:
    """The session of who is signed in: of the application that opened this page, else of this browser.

    Raises: Onward to the login page; Sorry to guests.
    """
    session = credentials.app_session(visit.request) or credentials.cookie_session(visit.request)
    if session is None:
        raise Onward(visit.log_in_and_come_back())
    if session.end_user.is_guest and not may_be_guest:
        raise Sorry(
            _("This needs an account"),
            _("You are a guest. Keep your account first; everything you did stays with you."),
            visit.own_page("promote"),
            _("Keep your account"),
            403,
        )
    return session


def way_back(session: Session, keys: Sequence[DeviceKey]) -> str:
    """How a guest with these keys who is signed out comes back, in a sentence; empty where nothing leads back."""
    if not session.project.anonymous_users_enabled:
        return ""  # keys and codes are refused
    if keys:
        return _("You can come back to this account on the device that keeps its key.")
    if _has_recovery_code(session):
        return _("You can come back to this account with your recovery code.")
    return ""


def _has_recovery_code(session: Session) -> bool:
    codes = OneTimeToken.objects.filter(end_user=session.end_user, purpose=OneTimeToken.Purpose.RECOVERY_CODE)
    return codes.filter(used_at=None, expires_at__gt=timezone.now()).exists()


def done(visit: Visit, what: str) -> HttpResponse:
    return see_other(f"{visit.own_page('settings')}?done={what}")


def back(visit: Visit) -> dict[str, str]:
    return {"cancel_url": visit.own_page("settings")}


def _to_settings(visit: Visit) -> tuple[str, str]:
    return reverse("anonusers:pages:settings"), _("Your account")
