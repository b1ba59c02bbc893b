"""Addresses with a password that are nobody's yet: register, confirm, log in for the first time, link.

A registration is no user. The first login makes a regular user of it, or a guest links it and is promoted; then it
goes, and a login ID stands in its place. Whether somebody has an address shows at `register` and `send_confirmation`,
as these clients expect it, and nowhere else.
"""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.db.models import F, Value
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext as _

from anonusers import account, audit, onetime
from anonusers.adapters import get_adapter
from anonusers.adoption import add_login_id
from anonusers.errors import (
    AlreadyConfirmed,
    CodeNotSent,
    CredentialsWrong,
    FlowGone,
    GuestGone,
    InvalidLoginID,
    InvalidToken,
    LinkNotConfigured,
    LoginIDTaken,
    PasswordLength,
    ProviderDisabled,
    PublicSignupDisabled,
    RegistrationUnconfirmed,
    UserIsRegular,
)
from anonusers.limits import network_of, spend
from anonusers.login import log_in_with_password
from anonusers.login_ids import EMAIL, LoginIDValue, parse_login_id
from anonusers.models import (
    Application,
    EmailRegistration,
    EndUser,
    OneTimeToken,
    Project,
    RealmIdentity,
    RealmUser,
    Session,
)
from anonusers.promotion import find_login_id, promote
from anonusers.promotion.base import Proof
from anonusers.promotion.codes import spend_code
from anonusers.promotion.email_code import deliver
from anonusers.promotion.flow import note_start
from anonusers.promotion.password import hash_password, password_matches
from anonusers.realm_users import LOCAL_USERPASS

Purpose = OneTimeToken.Purpose
Link = Callable[[str], str]
"""Makes the link in a mail of a secret."""

PASSWORD_MIN, PASSWORD_MAX = 6, 128
CONFIRM, RESET = "confirm", "reset"
HELD_FOR = timedelta(minutes=30)
"""As long as its link is good, nobody else can register an address that was not confirmed."""


# --- register and confirm -------------------------------------------------------------------------


def register(*, project: Project, email: str, password: str, link: Link | None, ip: str = "") -> EmailRegistration:
    """Keep an address and a password for the first login. Unless the project confirms by itself, a mail with a `link`
    goes out, and nothing is kept where that fails.

    Raises: ProviderDisabled, LinkNotConfigured, InvalidLoginID, PasswordLength, WeakPassword, LoginIDTaken,
    RateLimited, Busy, CodeNotSent.
    """
    demand_enabled(project)
    login_id = parse_login_id(EMAIL, email)
    _demand_length(password)
    if not project.realm_auto_confirm and link is None:
        raise LinkNotConfigured
    spend("login_per_ip", project.slug, network_of(ip))  # a hash costs, and the answer tells what is taken
    if find_login_id(project, login_id) or get_adapter().find_user(project, login_id):
        raise LoginIDTaken
    hashed = hash_password(password, user=_as_registered(login_id))
    if not project.realm_auto_confirm:
        spend_code(project, f"confirm:{login_id.key}", ip)
    row = EmailRegistration(
        project=project,
        email=login_id.value,
        key=login_id.key,
        password=hashed,
        confirmed_at=timezone.now() if project.realm_auto_confirm else None,
    )
    try:
        with transaction.atomic():
            _free(project, login_id)
            row.save(force_insert=True)
    except IntegrityError:
        raise LoginIDTaken from None
    if link is not None and row.confirmed_at is None:
        try:
            _mail(row, CONFIRM, link)
        except CodeNotSent:
            EmailRegistration.objects.filter(pk=row.pk, confirmed_at=None).delete()
            raise
    return row


def _free(project: Project, login_id: LoginIDValue) -> None:
    """Whoever typed in an address and never confirmed it does not keep its owner out."""
    late = timezone.now() - HELD_FOR
    EmailRegistration.objects.filter(project=project, key=login_id.key, confirmed_at=None, created_at__lt=late).delete()


def send_confirmation(*, project: Project, email: str, link: Link | None, ip: str = "") -> None:
    """Send the mail again, if somebody waits for it; the caller cannot tell.

    Raises: ProviderDisabled, AlreadyConfirmed, LinkNotConfigured, RateLimited.
    """
    row, login_id = _known(project, email, ip)
    if login_id is None:
        return
    if (row is not None and row.confirmed_at is not None) or find_login_id(project, login_id):
        raise AlreadyConfirmed
    if link is None:
        raise LinkNotConfigured
    spend_code(project, f"confirm:{login_id.key}", ip)
    if row is not None:
        _mail_quietly(row, CONFIRM, link)


def demand_unconfirmed(*, project: Project, email: str, ip: str = "") -> None:
    """Raises: ProviderDisabled, AlreadyConfirmed, RateLimited."""
    row, login_id = _known(project, email, ip)
    if login_id and ((row is not None and row.confirmed_at is not None) or find_login_id(project, login_id)):
        raise AlreadyConfirmed


def confirm(*, project: Project, secret: str) -> None:
    """Spend the secret of a link. Whoever has it reads the mail of that address.

    Raises: ProviderDisabled, FlowGone.
    """
    demand_enabled(project)
    token = _look(project, secret)
    if token is None or token.payload["for"] != CONFIRM:
        raise FlowGone
    _spend(token, confirmed_at=Coalesce(F("confirmed_at"), Value(timezone.now())), verified=True)


# --- a new password -------------------------------------------------------------------------------


def send_reset(*, project: Project, email: str, link: Link | None, hosted_link: Link, ip: str = "") -> None:
    """Mail a link to whoever logs in with an address, or registered it; the caller cannot tell. Without a `link` of the
    project's own the page of ours is linked to, which serves those who have logged in before.

    Raises: ProviderDisabled, RateLimited.
    """
    demand_enabled(project)
    row = _find(project, email)
    if row is None or find_login_id(project, parse_login_id(EMAIL, email)):
        account.request_password_reset(project=project, text=email, link=link or hosted_link, ip=ip)
        return
    spend("login_per_ip", project.slug, network_of(ip))
    spend_code(project, f"reset:{row.key}", ip)
    if link is not None:
        _mail_quietly(row, RESET, link)


def reset(*, project: Project, secret: str, password: str, ip: str = "") -> None:
    """Spend the secret of a link, which proves the address, too. All sessions of its user end.

    Raises: ProviderDisabled, PasswordLength, WeakPassword, FlowGone, UserDisabled, RateLimited, Busy.
    """
    demand_enabled(project)
    _demand_length(password)
    spend("login_per_ip", project.slug, network_of(ip))
    token = _look(project, secret)
    if token is None:
        try:
            account.reset_password_in(project=project, secret=secret, password=password)
        except GuestGone:
            raise FlowGone from None
        return
    row = EmailRegistration.objects.filter(pk=token.payload["registration"]).first()
    if token.payload["for"] != RESET or row is None:
        raise FlowGone
    hashed = hash_password(password, user=_as_registered(parse_login_id(EMAIL, row.email)))
    confirmed = Coalesce(F("confirmed_at"), Value(timezone.now()))
    _spend(token, password=hashed, confirmed_at=confirmed, verified=True)


def _look(project: Project, secret: str) -> OneTimeToken | None:
    try:
        return onetime.look_in(Purpose.REGISTRATION, secret, project=project)
    except InvalidToken:
        return None


def _spend(token: OneTimeToken, **changes: Any) -> None:
    """What a secret is for is done with it, or not at all. Raises: FlowGone."""
    with transaction.atomic():
        try:
            onetime.spend(token)
        except InvalidToken:
            raise FlowGone from None
        if not EmailRegistration.objects.filter(pk=token.payload["registration"]).update(**changes):
            raise FlowGone


# --- log in and link ------------------------------------------------------------------------------


class _Raced(Exception):
    """The registration became somebody's at this moment."""


def log_in(*, project: Project, application: Application, text: str, password: str, ip: str = "") -> EndUser:
    """The regular user with this address and password; the first time they come into being.

    Raises: ProviderDisabled, CredentialsWrong, RegistrationUnconfirmed and UserDisabled (only to who knows the
    password), RateLimited, Busy; at the first login also PublicSignupDisabled, SignupVetoed, LoginIDTaken.
    """
    demand_enabled(project)
    row = _unclaimed(project, text)
    if row is not None:
        _demand_password(row, password, ip)
        try:
            return first_login(row, application)
        except _Raced:
            pass
    return log_in_with_password(project=project, text=text, password=password, ip=ip)


def link(*, session: Session, application: Application, text: str, password: str, ip: str = "") -> EndUser:
    """The registered address becomes the guest's own: they are promoted, and this session of theirs goes on.

    For who has this very address already nothing changes. Nobody is ever brought into another account.
    Raises: ProviderDisabled, CredentialsWrong, RegistrationUnconfirmed, LoginIDTaken, UserIsRegular, GuestGone,
    UserDisabled, RateLimited, Busy.
    """
    demand_enabled(session.project)
    guest = session.end_user
    row = _unclaimed(session.project, text)
    if row is not None:
        _demand_password(row, password, ip)
        if not guest.is_guest:
            raise UserIsRegular
        try:
            return _promote(row, session, application)
        except _Raced:
            pass
    owner = log_in_with_password(project=session.project, text=text, password=password, ip=ip)
    if owner.pk != guest.pk:
        raise LoginIDTaken
    return owner


def _unclaimed(project: Project, text: str) -> EmailRegistration | None:
    """The registration of an address that nobody logs in with."""
    row = _find(project, text)
    if row is None or find_login_id(project, parse_login_id(EMAIL, row.email)):
        return None
    return row


def _demand_password(row: EmailRegistration, password: str, ip: str) -> None:
    """By the budgets of every login. Raises: CredentialsWrong, RegistrationUnconfirmed, RateLimited, Busy."""
    slug, network = row.project.slug, network_of(ip)
    spend("login_per_ip", slug, network)
    spend("login_per_account_and_ip", slug, row.key, network)
    spend("login_per_account", slug, row.key)
    if not password_matches(password, row.password):
        raise CredentialsWrong
    if row.confirmed_at is None:
        raise RegistrationUnconfirmed


def _take(row: EmailRegistration) -> None:
    """Whose DELETE finds it has it. Raises: _Raced."""
    as_seen = EmailRegistration.objects.filter(pk=row.pk, password=row.password, confirmed_at__isnull=False)
    if not as_seen.delete()[0]:
        raise _Raced


def first_login(row: EmailRegistration, application: Application) -> EndUser:
    """Who registered comes into being. Raises: PublicSignupDisabled, SignupVetoed, LoginIDTaken."""
    project, adapter, now = row.project, get_adapter(), timezone.now()
    if not adapter.is_open_for_signup(project):
        raise PublicSignupDisabled
    login_id = parse_login_id(EMAIL, row.email)
    with transaction.atomic():
        _take(row)
        adapter.pre_create(project, application)
        sub = uuid.uuid4()
        user = adapter.create_guest(sub)
        end_user = EndUser.objects.create(id=sub, project=project, user=user, application=application, adopted_at=now)
        add_login_id(end_user, project, login_id, verified=row.verified)
        if adapter.find_user(project, login_id) is not None:
            raise LoginIDTaken  # by somebody of the host's own
        try:
            with transaction.atomic():
                adapter.fill(user, login_id, verified=row.verified, password=row.password)
        except IntegrityError:
            raise LoginIDTaken from None
        RealmUser.objects.create(end_user=end_user, project=project)
        _keep_identity(row, end_user)
        audit.record("users", "user.registered", project=project, end_user_id=end_user.pk)
    return end_user


def _promote(row: EmailRegistration, session: Session, application: Application) -> EndUser:
    proof = Proof("password", parse_login_id(EMAIL, row.email), verified=row.verified, password=row.password)
    with transaction.atomic():
        _take(row)
        promoted = promote(
            end_user=session.end_user,
            project=row.project,
            proof=proof,
            application=application,
            keep_session=session,
        )
        _keep_identity(row, promoted.end_user)
        note_start(promoted.end_user, EMAIL)
    return promoted.end_user


def _keep_identity(row: EmailRegistration, end_user: EndUser) -> None:
    """What the registration was known by is what the address is known by."""
    RealmIdentity.objects.create(
        project_id=row.project_id,
        end_user=end_user,
        provider_type=LOCAL_USERPASS,
        identity_id=row.object_id,
        data={"email": row.email},
    )


# --- shared ---------------------------------------------------------------------------------------


def demand_enabled(project: Project) -> None:
    """Raises: ProviderDisabled."""
    if not project.realm_local_userpass:
        raise ProviderDisabled


def _demand_length(password: str) -> None:
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise PasswordLength


def _find(project: Project, text: str) -> EmailRegistration | None:
    try:
        key = parse_login_id(EMAIL, text).key
    except InvalidLoginID:
        return None
    row = EmailRegistration.objects.filter(project=project, key=key).first()
    if row is not None:
        row.project = project
    return row


def _known(project: Project, email: str, ip: str) -> tuple[EmailRegistration | None, LoginIDValue | None]:
    demand_enabled(project)
    spend("login_per_ip", project.slug, network_of(ip))
    try:
        login_id = parse_login_id(EMAIL, email)
    except InvalidLoginID:
        return None, None
    return _find(project, email), login_id


def _as_registered(login_id: LoginIDValue) -> Any:
    """The host's user as it will be: a password must not be like the address it goes with."""
    user: Any = get_user_model()()
    setattr(user, user.get_email_field_name(), login_id.value)
    return user


def _mail(row: EmailRegistration, purpose: str, link: Link) -> None:
    """Raises: CodeNotSent."""
    payload = {"registration": row.pk, "for": purpose}
    issued = onetime.issue(Purpose.REGISTRATION, project=row.project, payload=payload)
    subject = _("Set a new password for %(project)s") if purpose == RESET else _("Confirm your address for %(project)s")
    with onetime.or_nothing(issued.token):
        subject = subject % {"project": row.project.name}
        deliver(row.project, row.email, subject, f"anonusers/mail/{purpose}.txt", {"link": link(issued.secret)})


def _mail_quietly(row: EmailRegistration, purpose: str, link: Link) -> None:
    try:
        _mail(row, purpose, link)
    except CodeNotSent:
        return  # it is in the log; told here, it would tell that somebody has this address
