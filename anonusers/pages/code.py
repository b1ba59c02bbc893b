"""Type in the code that was sent: to keep an account, to log in, or to add an address."""

import time

from django.http import HttpResponse
from django.utils.translation import gettext as _

from anonusers import account
from anonusers import login as logins
from anonusers.conf import conf
from anonusers.errors import FlowGone, GuestGone, LoginIDTaken, UserIsRegular
from anonusers.limits import parse_budget
from anonusers.pages import login, promote, settings
from anonusers.pages.visit import Sorry, Visit, hosted, see_other
from anonusers.pages.words import TELLABLE, Problems
from anonusers.promotion.flow import cancel, finish_promotion, resend_code

BACK = {"promotion": "promote", "login": "login", "login_id": "login-id-add"}


@hosted
def code(visit: Visit) -> HttpResponse:
    what, _colon, handle = visit.flow.pending.partition(":")
    if not handle or what not in BACK:
        raise gone(visit, "settings")
    problems = Problems()
    sent = False
    if visit.request.method == "POST":
        try:
            if visit.posted("action") == "resend":
                RESEND[what](visit, handle)
                visit.flow.pending_since = int(time.time())
                visit.keep()
                return see_other(visit.url("code", sent="1"))
            digits = "".join(character for character in visit.posted("code") if character.isalnum())
            if not digits:
                problems.add("code", _("Enter the code of six digits."))
            else:
                return FINISH[what](visit, handle, digits)
        except FlowGone:
            raise gone(visit, BACK[what]) from None
        except GuestGone:
            raise visit.sorry_guest_gone() from None
        except UserIsRegular:
            raise visit.sorry_regular() from None
        except TELLABLE as error:
            problems.tell(error)
    else:
        WHO[what](visit)
        sent = visit.request.GET.get("sent") == "1"
    return visit.show(
        "code",
        problems,
        to=visit.flow.pending_to,
        maybe=what == "login",
        resent=sent,
        wait=_wait(visit),
        back_url=visit.url(BACK[what]),
        action=visit.url("code"),
    )


def gone(visit: Visit, page: str) -> Sorry:
    return Sorry(
        _("This step is no longer valid"),
        _("It has expired or was done already. Nothing was lost: start again."),
        visit.url(page),
        _("Start again"),
    )


def _wait(visit: Visit) -> int:
    """Seconds until another code may be sent, as far as this browser knows; the server counts for itself."""
    pause = parse_budget(conf.CODES_PER_MINUTE)
    return max(0, visit.flow.pending_since + pause.get_expiry() - int(time.time())) if pause else 0


def _promotion(visit: Visit, handle: str, digits: str) -> HttpResponse:
    guest = visit.guest()
    try:
        promoted = finish_promotion(handle=handle, host=visit.host, code=digits, end_user=guest)
    except LoginIDTaken as error:
        # The code has proven the address; the guest is as it was and may take another one.
        cancel(handle=handle, host=visit.host, end_user=guest)
        visit.flow.pending, text = "", visit.flow.login_hint
        visit.keep()
        return promote.taken(visit, guest, text, error)
    return visit.arrive(promoted.end_user, "otp")


def _login(visit: Visit, handle: str, digits: str) -> HttpResponse:
    login.agreed_guest(visit)  # says Sorry before the code is spent
    end_user = logins.finish_code_login(handle=handle, host=visit.host, code=digits)
    return login.enter(visit, end_user, amr="otp", method="code")


def _login_again(visit: Visit) -> None:
    known = login.known_login_id(visit)
    text = known.value if known else visit.flow.login_hint
    pending = logins.begin_code_login(project=visit.project, text=text, ip=visit.ip)
    visit.flow.pending = f"login:{pending.handle}"


def _login_id(visit: Visit, handle: str, digits: str) -> HttpResponse:
    end_user = settings.user_of(visit).end_user
    try:
        account.finish_login_id(end_user=end_user, handle=handle, host=visit.host, code=digits)
    except LoginIDTaken as error:
        problems = Problems()
        problems.tell(error)
        return settings.add_form(visit, problems, text=visit.flow.login_hint)
    return settings.done(visit, "verified")


FINISH = {"promotion": _promotion, "login": _login, "login_id": _login_id}
RESEND = {
    "promotion": lambda visit, handle: resend_code(handle=handle, host=visit.host, end_user=visit.guest(), ip=visit.ip),
    "login": lambda visit, handle: _login_again(visit),
    "login_id": lambda visit, handle: account.resend_login_id_code(
        end_user=settings.user_of(visit).end_user, handle=handle, host=visit.host, ip=visit.ip
    ),
}
WHO = {
    "promotion": lambda visit: visit.guest(),
    "login": lambda visit: visit.guest_at_stake(),
    "login_id": lambda visit: settings.user_of(visit),
}
