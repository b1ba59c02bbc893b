"""What a regular user does with their account: change the password, add and remove login IDs, delete it; and how they
come back to it without the password. Also where a guest deletes theirs."""

from collections.abc import Callable
from dataclasses import dataclass

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.deletion import Collector
from django.utils import timezone
from django.utils.translation import gettext as _

from anonusers import events, onetime
from anonusers.adapters import get_adapter
from anonusers.errors import (
    CodeNotSent,
    CredentialsWrong,
    FlowGone,
    GuestGone,
    InvalidLoginID,
    InvalidToken,
    LoginIDNotAllowed,
    LoginIDTaken,
)
from anonusers.limits import network_of, spend
from anonusers.login_ids import EMAIL, USERNAME, guess_type, parse_login_id
from anonusers.models import EndUser, LoginID, OneTimeToken, Project, Session, lock_end_user
from anonusers.promotion import claim, demand_enabled, end_all_sessions, find_login_id
from anonusers.promotion.codes import Sent, check_code, send_code, spend_code
from anonusers.promotion.email_code import deliver
from anonusers.promotion.password import hash_password, password_matches

Purpose = OneTimeToken.Purpose


# --- password -------------------------------------------------------------------------------------


def change_password(*, end_user: EndUser, current: str, new: str, keep: Session | None, ip: str = "") -> int:
    """A new password, with the current one as proof where there is one. Every other session ends; returns how many.

    Raises: CredentialsWrong, WeakPassword, RateLimited, Busy.
    """
    demand_password(end_user=end_user, password=current, ip=ip)
    hashed = hash_password(new, user=end_user.user)
    with transaction.atomic():
        return _set_password(end_user, hashed, method="password", keep=keep)


def demand_password(*, end_user: EndUser, password: str, ip: str = "") -> None:
    """Let nobody pass who does not know the password, where there is one.

    Raises: CredentialsWrong, RateLimited, Busy.
    """
    if not end_user.user.has_usable_password():
        return
    slug, account = end_user.project.slug, str(end_user.pk)
    spend("login_per_account_and_ip", slug, account, network_of(ip))
    spend("login_per_account", slug, account)
    if not password_matches(password, end_user.user.password):
        raise CredentialsWrong


def _set_password(end_user: EndUser, hashed: str, *, method: str, keep: Session | None = None) -> int:
    # First, as everybody does who ends sessions: one that a code is being exchanged for must not slip through.
    if lock_end_user(end_user.pk) is None:
        raise GuestGone
    end_user.user.password = hashed
    end_user.user.save(update_fields=["password"])
    onetime.void_all(end_user)
    events.emit(events.Event("user.password.changed", end_user, keep, {"method": method}))
    return end_all_sessions(end_user, keep=keep)


def request_password_reset(*, project: Project, text: str, link: Callable[[str], str], ip: str = "") -> None:
    """Mail a link to the account that has this login ID, if any; the caller cannot tell. `link` makes it of a secret.

    Raises: RateLimited.
    """
    spend("login_per_ip", project.slug, network_of(ip))
    try:
        login_id = parse_login_id(guess_type(text, list(LoginID.Type.values)), text)
    except InvalidLoginID:
        return
    spend_code(project, f"reset:{login_id.key}", ip)
    row = _mailbox(find_login_id(project, login_id))
    if row is None or row.end_user.disabled_at is not None:
        return
    issued = onetime.issue(Purpose.PASSWORD_RESET, project=project, end_user=row.end_user, payload={"login_id": row.pk})
    try:
        subject = _("Set a new password for %(project)s") % {"project": project.name}
        deliver(project, row.value, subject, "anonusers/mail/reset.txt", {"link": link(issued.secret)})
    except CodeNotSent:
        # It is in the log. Told here, it would tell that somebody has this address.
        onetime.spend(issued.token)


def _mailbox(row: LoginID | None) -> LoginID | None:
    """Where mail for the owner of a login ID goes: to a stored address; a user name's to the one that was verified."""
    if row is None or row.type == EMAIL:
        return row
    if row.type != USERNAME:
        return None
    verified = LoginID.objects.select_related("end_user__user").filter(type=EMAIL, verified_at__isnull=False)
    return verified.filter(end_user=row.end_user_id).order_by("created_at").first()


def find_password_reset(*, secret: str, host: str) -> LoginID:
    """The address that a reset link was mailed to; nothing is spent.

    Raises: FlowGone.
    """
    return _reset(secret, host)[1]


def reset_password(*, secret: str, host: str, password: str) -> LoginID:
    """Spend a reset link: whoever had it reads the mail of that address, so it is proven. All sessions end.

    Raises: FlowGone, WeakPassword, Busy, UserDisabled.
    """
    return _finish_reset(*_reset(secret, host), password)


def reset_password_in(*, project: Project, secret: str, password: str) -> LoginID:
    """The same where the project is known by something else than its host."""
    try:
        token = onetime.look_in(Purpose.PASSWORD_RESET, secret, project=project)
    except InvalidToken:
        raise FlowGone from None
    return _finish_reset(token, _login_id_of(token), password)


def _finish_reset(token: OneTimeToken, row: LoginID, password: str) -> LoginID:
    demand_enabled(row.end_user)
    hashed = hash_password(password, user=row.end_user.user)
    with transaction.atomic():
        try:
            onetime.spend(token)
        except InvalidToken:
            raise FlowGone from None
        claim(row)
        _set_password(row.end_user, hashed, method="reset_link")
    return row


def _reset(secret: str, host: str) -> tuple[OneTimeToken, LoginID]:
    try:
        token = onetime.look(Purpose.PASSWORD_RESET, secret, host=host)
    except InvalidToken:
        raise FlowGone from None
    return token, _login_id_of(token)


def _login_id_of(token: OneTimeToken) -> LoginID:
    rows = LoginID.objects.select_related("end_user__user", "end_user__project")
    row = rows.filter(pk=token.payload["login_id"], end_user=token.end_user_id).first()
    if row is None:
        raise FlowGone
    return row


# --- login IDs ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PendingLoginID:
    handle: str
    sent: Sent


def add_login_id(
    *, end_user: EndUser, project: Project, type: str, text: str, ip: str = ""
) -> LoginID | PendingLoginID:
    """Add a user name at once, and an address when its code was read: until then it stays free.

    Raises: InvalidLoginID, LoginIDNotAllowed, LoginIDTaken (of an address: never before its code), RateLimited,
    CodeNotSent.
    """
    if type not in project.login_ids:
        raise LoginIDNotAllowed
    login_id = parse_login_id(type, text)
    if type == USERNAME:
        spend("login_per_ip", project.slug, network_of(ip))
        return _create(end_user, project, type, login_id.value, verified=False)
    unproven = end_user.login_ids.filter(verified_at=None).exclude(type=USERNAME).first()
    if unproven is not None:
        # Else whoever signed up with somebody's address would keep a back door when its owner comes.
        raise LoginIDNotAllowed(_("Verify %(login_id)s first.") % {"login_id": unproven.value})
    return _send(end_user, project, {"type": type, "text": login_id.value}, ip)


def verify_login_id(*, end_user: EndUser, login_id: LoginID, ip: str = "") -> PendingLoginID:
    """Send a code to a login ID that the user has.

    Raises: LoginIDNotAllowed for what needs no code; RateLimited, CodeNotSent.
    """
    if login_id.type == USERNAME or login_id.verified_at is not None:
        raise LoginIDNotAllowed
    payload = {"type": login_id.type, "text": login_id.value, "verifies": login_id.pk}
    return _send(end_user, end_user.project, payload, ip)


def finish_login_id(*, end_user: EndUser, handle: str, host: str, code: str) -> LoginID:
    """Check the code; then the login ID is the user's, and verified.

    Raises: FlowGone, CodeWrong, CodeExpired, LoginIDTaken.
    """
    token = _look_at(end_user, handle, host)
    check_code(token, code)
    try:
        onetime.spend(token)
    except InvalidToken:
        raise FlowGone from None
    verifies = token.payload.get("verifies")
    if verifies is None:
        return _create(end_user, token.project, token.payload["type"], token.payload["text"], verified=True)
    with transaction.atomic():
        # The user's own session has read the code: the password stays, unlike in claim().
        is_new = end_user.login_ids.filter(pk=verifies, verified_at=None).update(verified_at=timezone.now())
        row = end_user.login_ids.select_related("end_user").filter(pk=verifies).first()
        if row is None:
            raise FlowGone
        if is_new:
            events.emit_login_id("verified", row)
    return row


def resend_login_id_code(*, end_user: EndUser, handle: str, host: str, ip: str = "") -> Sent:
    """Raises: FlowGone, RateLimited, CodeNotSent."""
    token = _look_at(end_user, handle, host)
    return send_code(token, parse_login_id(token.payload["type"], token.payload["text"]), ip=ip)


def remove_login_id(*, end_user: EndUser, login_id: LoginID) -> None:
    """Give a login ID up; never the last way to log in.

    Raises: LoginIDNotAllowed, GuestGone.
    """
    with transaction.atomic():
        # Two removals at once must not each count on the other's login ID.
        locked = lock_end_user(end_user.pk)
        if locked is None:
            raise GuestGone
        others = locked.login_ids.exclude(pk=login_id.pk)
        if not locked.user.has_usable_password():
            others = others.exclude(type=USERNAME)
        if not others.exists():
            raise LoginIDNotAllowed(_("You need at least one way to log in. Add another one first."))
        if locked.login_ids.filter(pk=login_id.pk).delete()[0]:
            login_id.end_user = locked  # whose row of the host says by then what their first address is
            events.emit_login_id("removed", login_id)
        _mirror(locked)
        # Links and codes that were sent there are worth nothing any more.
        onetime.void_all(locked)


def _create(end_user: EndUser, project: Project, type: str, text: str, *, verified: bool) -> LoginID:
    login_id = parse_login_id(type, text)
    if get_adapter().find_user(project, login_id) is not None:
        raise LoginIDTaken  # by somebody of the host's own, who was never a guest
    try:
        with transaction.atomic():
            row = LoginID.objects.create(
                project=project,
                end_user=end_user,
                type=type,
                value=login_id.value,
                key=login_id.key,
                verified_at=timezone.now() if verified else None,
            )
            _mirror(end_user)
            events.emit_login_id("added", row, verified=verified)
            return row
    except IntegrityError:
        taken = find_login_id(project, login_id)
        if verified and taken is not None:
            claim(taken)
        raise LoginIDTaken from None


def _mirror(end_user: EndUser) -> None:
    """The host's e-mail field says the user's first address: it may be what a password reset of the host goes to."""
    model = get_user_model()
    field = model.get_email_field_name()
    if field not in {field.name for field in model._meta.concrete_fields} or field == model.USERNAME_FIELD:
        return
    first = end_user.login_ids.filter(type=EMAIL).order_by("created_at", "pk").first()
    setattr(end_user.user, field, first.value if first else "")
    end_user.user.save(update_fields=[field])


def _send(end_user: EndUser, project: Project, payload: dict[str, object], ip: str) -> PendingLoginID:
    issued = onetime.issue(Purpose.PENDING_LOGIN_ID, project=project, end_user=end_user, payload=payload)
    with onetime.or_nothing(issued.token):
        sent = send_code(issued.token, parse_login_id(str(payload["type"]), str(payload["text"])), ip=ip)
        return PendingLoginID(issued.secret, sent)


def _look_at(end_user: EndUser, handle: str, host: str) -> OneTimeToken:
    try:
        token = onetime.look(Purpose.PENDING_LOGIN_ID, handle, host=host)
    except InvalidToken:
        raise FlowGone from None
    if token.end_user_id != end_user.pk:
        raise FlowGone
    return token


def tell_address_used(*, login_id: LoginID, link: str) -> None:
    """Tell an address that was not verified that somebody keeps an account with it: its owner may not know
    (Sudhodanan & Paverd 2022, §6.2.2). `link` is where an owner takes it back."""
    project = login_id.project
    subject = _("Your address was added to an account at %(project)s") % {"project": project.name}
    try:
        deliver(project, login_id.value, subject, "anonusers/mail/address_used.txt", {"link": link})
    except CodeNotSent:
        return  # in the log; the account is kept either way


# --- the end --------------------------------------------------------------------------------------

OURS_TO_TELL = (LoginID, Session)


def what_goes_with(end_user: EndUser) -> list[tuple[str, int]]:
    """What deleting this account deletes, of ours and of the host's: (name, how many), most first.

    Raises: ProtectedError, RestrictedError where the host forbids it.
    """
    collector = Collector(using=end_user._state.db or "default", origin=end_user.user)
    collector.collect([end_user.user])
    counts: dict[type, int] = {}
    for model, instances in collector.data.items():
        counts[model] = counts.get(model, 0) + len(instances)
    for queryset in collector.fast_deletes:
        rows: QuerySet[LoginID] = queryset  # type: ignore[assignment]
        counts[rows.model] = counts.get(rows.model, 0) + rows.count()
    counts[Session] = Session.objects.filter(end_user=end_user, ended_at=None).count()
    told = {
        str(model._meta.verbose_name_plural if count != 1 else model._meta.verbose_name): count  # type: ignore[attr-defined]
        for model, count in counts.items()
        if count
        and model is not type(end_user.user)
        and (model in OURS_TO_TELL or model._meta.app_label != "anonusers")  # type: ignore[attr-defined]
        and not model._meta.auto_created  # type: ignore[attr-defined]
    }
    return sorted(told.items(), key=lambda item: (-item[1], item[0]))


def delete_account(*, end_user: EndUser) -> None:
    """Delete a person, with everything that hangs on the host's row. There is no way back.

    Raises: ProtectedError, RestrictedError where the host forbids it.
    """
    with transaction.atomic():
        # The row that logging in locks, before what hangs on it: else the two would wait for each other.
        EndUser.objects.select_for_update().filter(pk=end_user.pk).first()
        end_user.user.delete()
