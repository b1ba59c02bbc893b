"""The steps a person takes: say who you are, prove it, be it. Pages and the native API walk the same steps.

Until the last step nothing is claimed: an abandoned flow leaves the address free and the guest as it was.
"""

import copy
from dataclasses import dataclass
from typing import Any

from anonusers import audit, onetime
from anonusers.adoption import adopt_owner
from anonusers.errors import FlowGone, GuestGone, InvalidToken, LoginIDNotAllowed, LoginIDTaken, UserIsRegular
from anonusers.limits import network_of, spend
from anonusers.login_ids import EMAIL, USERNAME, LoginIDValue, parse_login_id
from anonusers.models import Application, EndUser, OneTimeToken, Project, Session
from anonusers.promotion import Promoted, claim, demand_enabled, find_login_id, promote, supersede
from anonusers.promotion.base import Proof
from anonusers.promotion.codes import Sent, check_code, send_code, sent_before
from anonusers.promotion.password import hash_password

Purpose = OneTimeToken.Purpose


@dataclass(frozen=True)
class Pending:
    """A code is on its way. `handle` is the secret that the next steps are asked with; None when it is known."""

    token: OneTimeToken
    sent: Sent
    handle: str | None = None


def begin_promotion(
    *,
    end_user: EndUser,
    project: Project,
    type: str,
    text: str,
    password: str | None = None,
    by_code: bool = False,
    application: Application | None = None,
    keep_session: Session | None = None,
    ip: str = "",
) -> Promoted | Pending:
    """Promote at once where the login ID need not be verified and a password is given; else, or where `by_code` asks
    for it, send a code.

    Whether an address is taken shows only to who can read its mail.
    Raises: InvalidLoginID, LoginIDNotAllowed, WeakPassword, LoginIDTaken, GuestGone, UserIsRegular, RateLimited,
    CodeNotSent, Busy.
    """
    _demand_guest(end_user)
    if type not in project.login_ids:
        raise LoginIDNotAllowed
    login_id = parse_login_id(type, text)
    if type == USERNAME and (by_code or password is None):
        raise LoginIDNotAllowed("A user name needs a password, and no code can be sent to it.")
    hashed = None
    if password is not None:
        spend("login_per_ip", project.slug, network_of(ip))  # a hash costs, and the answer tells what is taken
        hashed = hash_password(password, user=_as_promoted(end_user.user, login_id))
    if hashed is not None and not by_code and (type == USERNAME or type not in project.verify):
        proof = Proof("password", login_id, verified=False, password=hashed)
        promoted = promote(
            end_user=end_user, project=project, proof=proof, application=application, keep_session=keep_session
        )
        note_start(end_user, type)
        return promoted
    issued = onetime.issue(
        Purpose.PENDING_PROMOTION,
        project=project,
        end_user=end_user,
        application=application,
        payload={"type": type, "text": login_id.value, "password": hashed},
    )
    with onetime.or_nothing(issued.token):
        pending = Pending(issued.token, send_code(issued.token, login_id, ip=ip), issued.secret)
    note_start(end_user, type)
    return pending


def note_start(end_user: EndUser, type: str) -> None:
    """For the funnel: somebody gave a login ID that could be theirs."""
    facts = {"login_id_type": type}
    audit.record("users", "user.promotion.started", project=end_user.project_id, end_user_id=end_user.pk, changes=facts)


def finish_promotion(
    *, handle: str, host: str, code: str, end_user: EndUser, keep_session: Session | None = None
) -> Promoted:
    """Check the code and promote. Where the address has an account, the code has proven that one, too.

    Raises: FlowGone, CodeWrong, CodeExpired, LoginIDTaken (policy `error`), GuestGone, UserIsRegular.
    """
    token = look_at(handle, host=host, end_user=end_user)
    guest = token.end_user
    if guest is None:
        raise FlowGone
    _demand_guest(guest)
    check_code(token, code)
    login_id = parse_login_id(token.payload["type"], token.payload["text"])
    hashed = token.payload["password"]
    method = "password" if hashed else f"{login_id.type}_code"
    proof = Proof(method, login_id, verified=True, password=hashed)
    try:
        return promote(
            end_user=guest,
            project=token.project,
            proof=proof,
            application=token.application,
            keep_session=keep_session,
        )
    except LoginIDTaken:
        return _into_existing(token, guest, login_id, method)


def _into_existing(token: OneTimeToken, guest: EndUser, login_id: LoginIDValue, method: str) -> Promoted:
    row = find_login_id(token.project, login_id) or adopt_owner(token.project, login_id)
    if row is None:
        raise LoginIDTaken  # it was given up this very moment, or it is the host's own; the person tries again
    claim(row)
    if token.project.promotion_conflict != Project.PromotionConflict.LOGIN:
        raise LoginIDTaken
    demand_enabled(row.end_user)
    return supersede(guest=guest, by=row.end_user, application=token.application, method=method)


def resend_code(*, handle: str, host: str, end_user: EndUser | None, ip: str = "") -> Sent:
    """Raises: FlowGone, RateLimited, CodeNotSent."""
    token = look_at(handle, host=host, end_user=end_user)
    login_id = parse_login_id(token.payload["type"], token.payload["text"])
    return send_code(token, login_id, ip=ip)


def pending_promotion(*, handle: str, host: str, end_user: EndUser) -> Pending:
    """What a guest is waiting for.

    Raises: FlowGone.
    """
    token = look_at(handle, host=host, end_user=end_user)
    return Pending(token, sent_before(token, parse_login_id(token.payload["type"], token.payload["text"])))


def cancel(*, handle: str, host: str, end_user: EndUser) -> None:
    """Raises: FlowGone."""
    try:
        onetime.spend(look_at(handle, host=host, end_user=end_user))
    except InvalidToken:
        raise FlowGone from None


def look_at(handle: str, *, host: str, end_user: EndUser | None) -> OneTimeToken:
    """The pending promotion of a guest.

    Raises: FlowGone, also for somebody else's.
    """
    try:
        token = onetime.look(Purpose.PENDING_PROMOTION, handle, host=host)
    except InvalidToken:
        raise FlowGone from None
    if end_user is not None and token.end_user_id != end_user.pk:
        raise FlowGone
    return token


def _as_promoted(user: Any, login_id: LoginIDValue) -> Any:
    """The host's user as it will be: a password must not be like the address it goes with."""
    user = copy.copy(user)
    fields = {EMAIL: user.get_email_field_name(), USERNAME: user.USERNAME_FIELD}
    if login_id.type in fields:
        setattr(user, fields[login_id.type], login_id.value)
    return user


def _demand_guest(end_user: EndUser) -> None:
    if end_user.disabled_at is not None or not getattr(end_user.user, "is_active", True):
        raise GuestGone
    if not end_user.is_guest:
        raise UserIsRegular
