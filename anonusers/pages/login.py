"""Log in, by password or by a code; also out of a guest account, and again."""

import uuid

from django.http import HttpResponse
from django.utils.translation import gettext as _

from anonusers import credentials
from anonusers import login as logins
from anonusers.errors import GuestGone, UserIsRegular
from anonusers.login_ids import EMAIL, PHONE, USERNAME, LoginIDValue
from anonusers.models import EndUser, LoginID, Project
from anonusers.pages.promote import name_of
from anonusers.pages.visit import Sorry, Visit, hosted, see_other
from anonusers.pages.words import TELLABLE, Problems
from anonusers.promotion import supersede
from anonusers.promotion.codes import mask


@hosted
def login(visit: Visit) -> HttpResponse:
    session = credentials.cookie_session(visit.request)
    if visit.flow.application is None and session is not None and not session.end_user.is_guest:
        return see_other(visit.flow.next)  # signed in already
    known = known_login_id(visit)
    guest = visit.guest_at_stake()
    if visit.request.method != "POST":
        return form(visit, guest, known)
    problems = Problems()
    by_code = visit.posted("method") == "code"
    text = known.value if known else visit.posted("login_id")
    password = visit.posted("password")
    if not text.strip():
        problems.add("login_id", _("Enter what you log in with."))
    if not by_code and not password:
        problems.add("password", _("Enter your password."))
    visit.flow.leaves_guest = bool(visit.posted("leave"))
    if must_agree(visit, guest) and not visit.flow.leaves_guest:
        problems.add("leave", _("Tick this box to go on without your guest account."))
    if problems:
        return form(visit, guest, known, problems)
    try:
        if by_code:
            pending = logins.begin_code_login(project=visit.project, text=text, ip=visit.ip)
            visit.flow.login_hint = "" if known else text
            # What was typed, never what is stored: that would tell whether something is.
            return visit.await_code("login", pending.handle, shown(known, visit) if known else text.strip())
        end_user = logins.log_in_with_password(project=visit.project, text=text, password=password, ip=visit.ip)
    except TELLABLE as error:
        problems.tell(error)
        return form(visit, guest, known, problems)
    return enter(visit, end_user, amr="pwd", method="password")


def enter(visit: Visit, end_user: EndUser, *, amr: str, method: str) -> HttpResponse:
    """The person has proven an account, and goes on as that one; a guest they were is left as the project says.

    Raises: Sorry.
    """
    if visit.flow.must_be and str(end_user.pk) != visit.flow.must_be:
        raise Sorry(
            _("This is another account"),
            _("You were asked to log in to the account that you are using. Nothing was changed."),
            visit.url("login"),
            _("Try again"),
            403,
        )
    guest = agreed_guest(visit)
    if guest is not None and visit.project.promotion_conflict == Project.PromotionConflict.LOGIN:
        try:
            supersede(guest=guest, by=end_user, application=visit.application, method=method)
        except GuestGone:
            raise visit.sorry_guest_gone() from None
        except UserIsRegular:
            raise visit.sorry_regular() from None
    return visit.arrive(end_user, amr)


def agreed_guest(visit: Visit) -> EndUser | None:
    """The guest that logging in leaves, if any.

    Raises: Sorry where that must be decided first, or the guest is none any more.
    """
    guest = visit.guest_at_stake()
    if must_agree(visit, guest) and not visit.flow.leaves_guest:
        raise Sorry(
            _("One more question"),
            _("Logging in here leaves your guest account behind. Nothing was changed yet."),
            visit.url("login"),
            _("Log in"),
            409,
        )
    return guest


def must_agree(visit: Visit, guest: EndUser | None) -> bool:
    """Where the project does not record what becomes of the guest, leaving it must be a decision."""
    return guest is not None and visit.project.promotion_conflict != Project.PromotionConflict.LOGIN


def known_login_id(visit: Visit) -> LoginID | None:
    """The login ID of the user that it must be.

    Raises: Sorry.
    """
    if not visit.flow.must_be:
        return None
    rows = LoginID.objects.filter(end_user=uuid.UUID(visit.flow.must_be), project=visit.project)
    row = rows.order_by("created_at", "pk").first()
    if row is None:
        raise Sorry(
            _("This account cannot log in"),
            _("It was deleted, or it is a guest account. Nothing was changed."),
            "/",
            _("Go to the start page"),
            409,
        )
    return row


def shown(known: LoginID, visit: Visit) -> str:
    """All of it for who is signed in to it; else only enough to know it again."""
    session = credentials.cookie_session(visit.request)
    if session is not None and session.end_user_id == known.end_user_id:
        return known.value
    if known.type == USERNAME:
        return f"{known.value[:1]}…"
    return mask(LoginIDValue(known.type, known.value, known.value))


def form(
    visit: Visit, guest: EndUser | None, known: LoginID | None = None, problems: Problems | None = None
) -> HttpResponse:
    allowed = visit.project.login_ids
    in_promotion = visit.flow.guest_id is not None or (guest is not None and not visit.flow.application)
    return visit.show(
        "login",
        problems,
        label=_label(allowed),
        inputmode="email" if allowed == [EMAIL] else "text",
        text=visit.posted("login_id") or visit.flow.login_hint,
        known=shown(known, visit) if known else "",
        was_taken="taken" in visit.request.GET and bool(visit.flow.login_hint),
        can_have_code=known.type != USERNAME if known else EMAIL in allowed or PHONE in allowed,
        guest=guest,
        guest_name=name_of(guest) if guest else "",
        must_agree=must_agree(visit, guest),
        agreed=visit.flow.leaves_guest,
        promote_url=visit.url("promote") if in_promotion else "",
        forgot_url=visit.url("forgot"),
        password_changed=visit.request.GET.get("done") == "password",
        action=visit.url("login"),
    )


def _label(allowed: list[str]) -> str:
    match sorted(allowed):
        case ["email"]:
            return _("E-mail address")
        case ["phone"]:
            return _("Phone number")
        case ["username"]:
            return _("User name")
        case ["email", "username"]:
            return _("E-mail address or user name")
        case ["email", "phone"]:
            return _("E-mail address or phone number")
        case ["phone", "username"]:
            return _("Phone number or user name")
    return _("E-mail address, phone number or user name")
