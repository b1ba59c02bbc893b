"""Keep your account: a guest becomes a regular user."""

from typing import Any

from django.contrib.auth.password_validation import (
    CommonPasswordValidator,
    MinimumLengthValidator,
    NumericPasswordValidator,
    UserAttributeSimilarityValidator,
    get_default_password_validators,
)
from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from anonusers import account
from anonusers.credentials import origin_of
from anonusers.errors import GuestGone, LoginIDTaken, UserIsRegular
from anonusers.login_ids import EMAIL, PHONE, USERNAME, parse_login_id
from anonusers.models import EndUser, Project
from anonusers.pages.visit import Sorry, Visit, hosted, see_other
from anonusers.pages.words import TELLABLE, Problems, ago
from anonusers.promotion import Promoted
from anonusers.promotion.flow import begin_promotion
from anonusers.promotion.password import demand_strong


@hosted
def promote(visit: Visit) -> HttpResponse:
    guest = visit.guest()
    if not visit.project.login_ids:
        raise Sorry(_("Accounts cannot be kept here yet"), _("Nothing was changed."), *visit.way_back(), 403)
    if visit.request.method != "POST":
        return form(visit, guest)
    problems = Problems()
    kind = kind_of(visit)
    by_code = visit.posted("method") == "code" and kind != USERNAME
    text, password = visit.posted("login_id"), visit.posted("password")
    check_login_id(problems, kind, text)
    if not by_code:
        check_password(problems, password, guest)
    if problems:
        return form(visit, guest, problems)
    try:
        result = begin_promotion(
            end_user=guest,
            project=visit.project,
            type=kind,
            text=text,
            password=None if by_code else password,
            application=visit.application,
            ip=visit.ip,
        )
    except GuestGone:
        raise visit.sorry_guest_gone() from None
    except UserIsRegular:
        raise visit.sorry_regular() from None
    except LoginIDTaken as error:
        return taken(visit, guest, text, error)
    except TELLABLE as error:
        problems.tell(error)
        return form(visit, guest, problems)
    visit.flow.guest = str(guest.pk)
    if isinstance(result, Promoted):
        _tell_owner(visit, result.end_user)
        return visit.arrive(result.end_user, "pwd")
    visit.flow.login_hint = text
    return visit.await_code("promotion", result.handle or "", result.sent.to)


def taken(visit: Visit, guest: EndUser, text: str, error: LoginIDTaken) -> HttpResponse:
    """The project decides: choose another one, or prove to be that account."""
    if visit.project.promotion_conflict == Project.PromotionConflict.LOGIN:
        visit.flow.guest, visit.flow.login_hint = str(guest.pk), text
        visit.keep()
        return see_other(visit.url("login", taken="1"))
    problems = Problems()
    problems.tell(error)
    return form(visit, guest, problems, text=text)


def form(visit: Visit, guest: EndUser, problems: Problems | None = None, text: str | None = None) -> HttpResponse:
    kind = kind_of(visit)
    other = visit.somebody_else(guest)
    return visit.show(
        "promote",
        problems,
        kind=kind,
        kinds=[(name, SWITCH[name](), visit.url("promote", type=name)) for name in visit.project.login_ids],
        field=FIELD[kind],
        label=LABEL[kind](),
        text=text if text is not None else visit.posted("login_id") or visit.flow.login_hint,
        can_have_code=kind != USERNAME,
        rules=rules(),
        login_url=visit.url("login"),
        code_url=visit.url("code") if visit.flow.pending.startswith("promotion:") else "",
        guest_since=ago(guest.created_at),
        guest_name=name_of(guest),
        other=other,
        other_stays=visit.stays(other) or not visit.flow.opens_cookie,
        other_name=name_of(other.end_user) if other else "",
        action=visit.url("promote", type=kind),
    )


def kind_of(visit: Visit) -> str:
    """Which login ID the form asks for: the chosen one, else the first that the project allows."""
    allowed = visit.project.login_ids
    chosen = visit.request.GET.get("type", "")
    return str(chosen if chosen in allowed else allowed[0])


def name_of(end_user: EndUser) -> str:
    """What people can tell an account by: its first login ID, or four digits of a guest."""
    first = None if end_user.is_guest else end_user.login_ids.order_by("created_at", "pk").first()
    return first.value if first else _("Guest %(digits)s") % {"digits": end_user.pk.hex[:4]}


def check_login_id(problems: Problems, kind: str, text: str) -> None:
    if not text.strip():
        problems.add("login_id", EMPTY[kind]())
        return
    try:
        parse_login_id(kind, text)
    except TELLABLE as error:
        problems.tell(error)


def check_password(problems: Problems, password: str, end_user: EndUser | None, name: str = "password") -> None:
    """All that is wrong with a new password, before anything expensive is done with it."""
    if not password:
        problems.add(name, _("Choose a password."))
        return
    try:
        demand_strong(password, user=end_user.user if end_user else None)
    except TELLABLE as error:
        problems.tell(error, secret=name)


def rules() -> list[dict[str, Any]]:
    """The rules for passwords in a few words each; those with a `test` are checked while typing."""
    found = []
    for validator in get_default_password_validators():
        match validator:
            case MinimumLengthValidator(min_length=least):
                text = ngettext("At least %(count)s character", "At least %(count)s characters", least)
                found.append({"test": "length", "least": least, "text": text % {"count": least}})
            case NumericPasswordValidator():
                found.append({"test": "letter", "text": _("Not only digits")})
            case CommonPasswordValidator():
                found.append({"test": "", "text": _("Not one that many people use")})
            case UserAttributeSimilarityValidator():
                found.append({"test": "", "text": _("Not like your login ID")})
            case _:
                found.append({"test": "", "text": str(validator.get_help_text())})
    return sorted(found, key=lambda rule: not rule["test"])


def _tell_owner(visit: Visit, end_user: EndUser) -> None:
    row = end_user.login_ids.select_related("project").filter(type=EMAIL, verified_at=None).first()
    if row is not None:
        account.tell_address_used(login_id=row, link=f"{origin_of(visit.request)}{visit.own_page('forgot')}")


EMPTY = {
    EMAIL: lambda: _("Enter your e-mail address."),
    PHONE: lambda: _("Enter your phone number."),
    USERNAME: lambda: _("Choose a user name."),
}
LABEL = {
    EMAIL: lambda: _("E-mail address"),
    PHONE: lambda: _("Phone number"),
    USERNAME: lambda: _("User name"),
}
SWITCH = {EMAIL: lambda: _("E-mail"), PHONE: lambda: _("Phone"), USERNAME: lambda: _("User name")}
FIELD = {
    EMAIL: {"type": "email", "autocomplete": "email", "inputmode": "email", "placeholder": ""},
    PHONE: {"type": "tel", "autocomplete": "tel", "inputmode": "tel", "placeholder": "+49 30 1234567"},
    USERNAME: {"type": "text", "autocomplete": "username", "inputmode": "text", "placeholder": ""},
}
