"""Forgotten password: ask for a link, and set a new password with it."""

from urllib.parse import urlencode

from django.http import HttpResponse
from django.utils.translation import gettext as _

from anonusers import account, browser
from anonusers.credentials import origin_of
from anonusers.errors import FlowGone
from anonusers.pages.promote import check_password, rules
from anonusers.pages.visit import Sorry, Visit, hosted, see_other
from anonusers.pages.words import TELLABLE, Problems


@hosted
def forgot(visit: Visit) -> HttpResponse:
    problems = Problems()
    text = visit.posted("login_id") or visit.flow.login_hint
    sent = False
    if visit.request.method == "POST":
        if not text.strip():
            problems.add("login_id", _("Enter your e-mail address."))
        else:
            try:
                account.request_password_reset(
                    project=visit.project, text=text, ip=visit.ip, link=lambda secret: link(visit, secret)
                )
                sent = True
            except TELLABLE as error:
                problems.tell(error)
    return visit.show(
        "forgot",
        problems,
        sent=sent,
        text=text,
        login_url=visit.url("login"),
        action=visit.url("forgot"),
    )


def link(visit: Visit, secret: str) -> str:
    """The link that is mailed. In the browser that asked for it, it leads back into what that was in the middle of."""
    query = f"?{urlencode({'from': visit.flow.id})}" if visit.begun else ""
    return f"{origin_of(visit.request)}{visit.own_page('reset', secret)}{query}"


@hosted
def reset(visit: Visit, secret: str) -> HttpResponse:
    problems = Problems()
    try:
        row = account.find_password_reset(secret=secret, host=visit.host)
        if visit.request.method == "POST":
            password = visit.posted("password")
            check_password(problems, password, row.end_user)
            if not problems:
                account.reset_password(secret=secret, host=visit.host, password=password)
                return _log_in(visit, row.value)
    except FlowGone:
        raise Sorry(
            _("This link is no longer valid"),
            _("It has expired or was used before. Nothing was changed: ask for a new one."),
            visit.own_page("forgot"),
            _("Send a new link"),
        ) from None
    except TELLABLE as error:
        problems.tell(error)
    return visit.show("reset", problems, login_id=row.value, rules=rules())


def _log_in(visit: Visit, login_id: str) -> HttpResponse:
    flow = browser.find(visit.request, visit.request.GET.get("from", ""), visit.project)
    if flow is not None:
        visit.flow, visit.begun = flow, True
    visit.flow.login_hint = login_id
    visit.keep()
    return see_other(visit.url("login", done="password"))
