"""Log in as a regular user: by password, or by a code sent to a login ID. Each answers who it is, and opens nothing.

Whether a login ID has an account must not show: what nobody has is counted, hashed and stored like what somebody has.
"""

import contextlib
import hashlib
from dataclasses import dataclass
from datetime import datetime

from anonusers import onetime
from anonusers.errors import CredentialsWrong, FlowGone, GuestGone, InvalidLoginID, InvalidToken, UserIsRegular
from anonusers.limits import network_of, spend
from anonusers.login_ids import guess_type, parse_login_id
from anonusers.models import Application, EndUser, LoginID, OneTimeToken, Project
from anonusers.promotion import Promoted, claim, demand_enabled, find_login_id, supersede
from anonusers.promotion.codes import Sent, check_code, new_code, put_code, send_code, spend_code
from anonusers.promotion.password import password_matches

Purpose = OneTimeToken.Purpose


@dataclass(frozen=True)
class PendingLogin:
    """`sent` is None where nothing was sent, which is nobody's business."""

    handle: str
    expires_at: datetime
    sent: Sent | None


def log_in_with_password(*, project: Project, text: str, password: str, ip: str = "") -> EndUser:
    """The regular user with this login ID and password. Nobody and a wrong password look and last the same.

    Raises: CredentialsWrong, UserDisabled (only to who knows the password), RateLimited, Busy.
    """
    spend("login_per_ip", project.slug, network_of(ip))
    row, key = _find(project, text)
    account = str(row.end_user_id) if row else key
    # Keyed by account *and* address, so that a stranger cannot lock the owner out (and coarsely by account).
    spend("login_per_account_and_ip", project.slug, account, network_of(ip))
    spend("login_per_account", project.slug, account)
    user = row.end_user.user if row else None
    usable = user is not None and user.has_usable_password()
    if not password_matches(password, user.password if user is not None and usable else None) or row is None:
        raise CredentialsWrong
    # The hash took its time, and its turn may have taken seconds: the owner may have thrown somebody out meanwhile.
    now = LoginID.objects.select_related("end_user__user").filter(pk=row.pk).first()
    if now is None or now.end_user.user.password != row.end_user.user.password:
        raise CredentialsWrong
    demand_enabled(now.end_user)
    return now.end_user


def begin_code_login(*, project: Project, text: str, ip: str = "") -> PendingLogin:
    """Send a code to a login ID. For one that nobody has, nothing is sent and the answer is the same.

    Raises: RateLimited; CodeNotSent when the provider fails. Neither leaves anything behind.
    """
    spend("login_per_ip", project.slug, network_of(ip))
    row, key = _find(project, text)
    issued = onetime.issue(
        Purpose.PENDING_LOGIN,
        project=project,
        end_user=row.end_user if row else None,
        payload={"login_id": row.pk} if row else {},
    )
    with onetime.or_nothing(issued.token):
        if row is not None and row.type != LoginID.Type.USERNAME:
            sent = send_code(issued.token, parse_login_id(row.type, row.value), ip=ip)
            return PendingLogin(issued.secret, sent.expires_at, sent)
        # A code that nobody is told: a wrong one must be as wrong here as anywhere.
        spend_code(project, key, ip)
        return PendingLogin(issued.secret, put_code(issued.token, new_code()), None)


def finish_code_login(*, handle: str, host: str, code: str) -> EndUser:
    """The user who read the code.

    Raises: CodeWrong, CodeExpired, FlowGone, UserDisabled.
    """
    try:
        token = onetime.look(Purpose.PENDING_LOGIN, handle, host=host)
        check_code(token, code)
        onetime.spend(token)
    except InvalidToken:
        raise FlowGone from None
    row = LoginID.objects.select_related("end_user__user").filter(pk=token.payload.get("login_id")).first()
    if row is None:
        raise FlowGone
    claim(row)
    demand_enabled(row.end_user)
    return row.end_user


def leave_guest(
    end_user: EndUser, *, guest: EndUser | None, project: Project, method: str, application: Application | None = None
) -> Promoted:
    """Who had been a guest until they logged in goes on as `end_user`.

    Where the project says so, the guest is superseded and its sessions end; else it stays as it is.
    """
    if guest is not None and guest.is_guest and project.promotion_conflict == Project.PromotionConflict.LOGIN:
        with contextlib.suppress(GuestGone, UserIsRegular):  # gone this very moment: there is nothing to leave
            return supersede(guest=guest, by=end_user, application=application, method=method)
    return Promoted(end_user)


def _find(project: Project, text: str) -> tuple[LoginID | None, str]:
    """The login ID that somebody typed, and what budgets are keyed by where nobody has it."""
    try:
        login_id = parse_login_id(guess_type(text, list(LoginID.Type.values)), text)
    except InvalidLoginID:
        return None, hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    return find_login_id(project, login_id), login_id.key
