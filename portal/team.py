"""The team of a project: who is in it, and invitations. Every write is here.

A project keeps at least one owner. An invitation is for an account that it makes: a link that sets the first password,
good until that is done, the person is removed from the team, or PASSWORD_RESET_TIMEOUT is over.
"""

import re
import secrets
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core import signing
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.core.validators import validate_email
from django.db import IntegrityError, models, transaction
from django.db.models import Exists, Q, QuerySet
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode
from django.utils.translation import gettext as _
from django.utils.translation import pgettext_lazy

from anonusers import audit
from anonusers.models import AuditEvent, Project
from portal.access import Role, is_operator
from portal.models import Membership

MOST = 200
"""Members of a team."""
SILENT_BACKENDS = ("console", "dummy")
"""Of django.core.mail: what these take reaches nobody."""
ADDRESS_SALT = "portal.team.address"


class InvitationTokens(PasswordResetTokenGenerator):
    """Good for the first password only, and of no use for a host's own password reset."""

    key_salt = "portal.team.InvitationTokens"


tokens = InvitationTokens()


@dataclass(frozen=True)
class Invited:
    """A new account in the team. `uid` and `token` are the parts of its link."""

    member: Membership
    uid: str
    token: str


def find_operator(text: str) -> Any:
    """The operator with this user name, or else with this e-mail address; None where there is none.

    People of projects are never found, whatever their rows say, so the answer tells nothing about them.
    Raises: ValidationError, where several operators have the address.
    """
    model = get_user_model()
    named = model._default_manager.filter(**{model.USERNAME_FIELD: text}).first()
    if named is not None and is_operator(named):
        return named
    columns = {field.name for field in model._meta.concrete_fields}
    address = model.get_email_field_name()
    if "@" not in text or not {address, "is_staff"} <= columns:
        return None
    # The host's table has no index for this; somebody adds a member once in a while, and waits for it.
    found = model._default_manager.filter(**{f"{address}__iexact": text}, is_staff=True)
    operators = [user for user in found.order_by("pk")[:10] if is_operator(user)]
    if len(operators) > 1:
        raise ValidationError(_("Several operators have this address. Use the user name."), code="several")
    return operators[0] if operators else None


ROLES_SAID = {
    "owner": pgettext_lazy("in a sentence", "owner"),
    "editor": pgettext_lazy("in a sentence", "editor"),
    "viewer": pgettext_lazy("in a sentence", "viewer"),
}


def role_said(member: Membership) -> str:
    """The role within a sentence; some languages write its first letter small, others never do."""
    return str(ROLES_SAID[member.role])


def add_member(*, project: Project, user: Any, role: str, actor: Any) -> Membership:
    """An operator joins the team.

    Raises: ValidationError
    """
    if not is_operator(user):
        raise ValidationError(_("Only operators can be in a team."), code="no_operator")
    with transaction.atomic():
        _demand_room(project)
        member, created = Membership.objects.get_or_create(project=project, user=user, defaults={"role": role})
        if not created:
            said = _("%(name)s is in the team already, as %(role)s.")
            raise ValidationError(said % _words(member), code="member")
        _record(project, "member.added", member, actor, {"role": role})
    return member


def invite(*, project: Project, address: str, role: str, actor: Any) -> Invited:
    """Somebody who has no account yet joins the team, with a new one without a password.

    Who holds the address is not proven by this: it becomes the account's only when the link that was mailed to it is
    used. Else an owner could make an account in somebody's name and be added to other projects as them.
    Raises: ValidationError
    """
    validate_email(address)
    with transaction.atomic():
        _demand_room(project)
        member = Membership.objects.create(project=project, user=_new_account(address), role=role)
        _record(project, "member.invited", member, actor, {"role": role})
    return _invited(member)


def invite_again(*, member: Membership) -> Invited:
    """A new link for an account that an invitation of this project made and that has no password yet.

    Raises: ValidationError
    """
    if member.pk not in waiting(member.project, [member]):
        raise ValidationError(_("This account does not wait for a first password."), code="not_waiting")
    return _invited(member)


def waiting(project: Project, members: list[Membership]) -> set[int]:
    """Which of these members were invited here and have not set a password yet."""
    fresh = {member.user.get_username(): member.pk for member in members if _is_fresh(member.user)}
    if not fresh:
        return set()
    invited = AuditEvent.objects.filter(project=project, type="member.invited", target__in=fresh)
    return {fresh[name] for name in invited.values_list("target", flat=True)}


def _is_fresh(user: Any) -> bool:
    return user.last_login is None and not user.has_usable_password()


def change_role(*, project: Project, member_id: int, role: str, actor: Any) -> Membership | None:
    """The member with another role; None where they are not in the team (any more).

    Raises: ValidationError, for the last owner.
    """
    with transaction.atomic():
        member = _lock_team(project).get(member_id)
        if member is None or member.role == role:
            return member
        rows = _may_go(project, member) if role != Role.OWNER else Membership.objects.filter(pk=member.pk)
        if not rows.update(role=role):
            raise ValidationError(_last_owner(), code="last_owner")
        _record(project, "member.role_changed", member, actor, {"role": [member.role, role]})
        member.role = role
    return member


def remove_member(*, project: Project, member_id: int, actor: Any) -> Membership | None:
    """Somebody leaves the team, and keeps the account; None where they were not in it (any more).

    Raises: ValidationError, for the last owner.
    """
    with transaction.atomic():
        member = _lock_team(project).get(member_id)
        if member is None:
            return None
        if not _may_go(project, member).delete()[0]:
            raise ValidationError(_last_owner(), code="last_owner")
        _record(project, "member.removed", member, actor, {"role": member.role})
    return member


def _lock_team(project: Project) -> dict[int, Membership]:
    """The members by key, locked: who changes the team waits for whoever does so now, and then sees what they did."""
    rows = Membership.objects.filter(project=project).order_by("pk").select_for_update()
    names = get_user_model()._default_manager.in_bulk([row.user_id for row in rows])
    for row in rows:
        row.user = names[row.user_id]
    return {row.pk: row for row in rows}


def _may_go(project: Project, member: Membership) -> QuerySet[Membership]:
    """The member's row, unless it is the last owner's."""
    others = Membership.objects.filter(project=project, role=Role.OWNER).exclude(pk=member.pk)
    return Membership.objects.filter(~Q(role=Role.OWNER) | Exists(others), pk=member.pk, project=project)


def _last_owner() -> str:
    return _("A project keeps at least one owner. Make somebody else an owner first.")


def _demand_room(project: Project) -> None:
    if Membership.objects.filter(project=project).count() >= MOST:
        raise ValidationError(_("A team has at most %d members. Remove somebody first.") % MOST, code="full")


def _record(project: Project, type: str, member: Membership, actor: Any, changes: dict[str, Any]) -> None:
    audit.record("team", type, project=project, actor=actor, target=member.user.get_username(), changes=changes)


def _words(member: Membership) -> dict[str, Any]:
    return {"name": member.user.get_username(), "role": role_said(member)}


# --- accounts and links ---------------------------------------------------------------------------


def _new_account(address: str) -> Any:
    """An operator's account whose name says nothing about which names and addresses there are."""
    model = get_user_model()
    local = re.sub(r"[^a-z0-9._-]", "", address.partition("@")[0].lower())[:20]
    name = f"{local or 'operator'}-{secrets.token_hex(3)}"
    if isinstance(model._meta.get_field(model.USERNAME_FIELD), models.EmailField):
        name = address
    user = model(**{model.USERNAME_FIELD: name}, is_staff=True, is_active=True)
    user.set_unusable_password()
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError as error:
        said = _("This server cannot make an account for this address. Ask an administrator for one, and add its name.")
        raise ValidationError(said, code="account") from error
    return user


def _invited(member: Membership) -> Invited:
    uid = urlsafe_base64_encode(force_bytes(member.user.pk))
    return Invited(member, uid, tokens.make_token(member.user))


def mail_is_sent() -> bool:
    """Whether mail leaves this server."""
    return not settings.EMAIL_BACKEND.startswith(tuple(f"django.core.mail.backends.{name}" for name in SILENT_BACKENDS))


def mail_invitation(*, invited: Invited, address: str, link: str) -> bool:
    """Mail the link, with a proof that it was mailed to this address. False where that failed."""
    project = invited.member.project
    proof = signing.dumps([str(invited.member.user.pk), address], salt=ADDRESS_SALT)
    subject = _("You are invited to the project %(name)s") % {"name": project.name}
    text = _(
        "You can now help to run the project %(project)s.\n\nYour user name: %(name)s\n"
        "Set your password here:\n%(link)s\n\nIf this means nothing to you, do nothing: nobody gets in without it.\n"
    ) % {"project": project.name, "name": invited.member.user.get_username(), "link": f"{link}?proof={proof}"}
    try:
        return bool(send_mail(" ".join(subject.split()), text, None, [address]))
    except OSError:  # smtplib's errors are OSErrors, too
        return False


def find_invited(uid: str, token: str, *, for_update: bool = False) -> Any:
    """Whose first password a link may set; None where it is not valid (any more)."""
    model = get_user_model()
    users = model._default_manager.select_for_update() if for_update else model._default_manager.all()
    try:
        user = users.filter(pk=model._meta.pk.to_python(urlsafe_base64_decode(uid).decode())).first()
    except (ValueError, ValidationError, OverflowError):
        return None
    if user is None or not (is_operator(user) and _is_fresh(user) and tokens.check_token(user, token)):
        return None
    return user if Membership.objects.filter(user=user).exists() else None


def join(*, user: Any, password: str, proof: str = "") -> None:
    """Set the first password; the address becomes the account's where the link proves that it was mailed there."""
    user.set_password(password)
    address = _proven_address(user, proof)
    name = get_user_model().get_email_field_name()
    if address and name in {field.name for field in user._meta.concrete_fields}:
        setattr(user, name, address)
    user.save()


def _proven_address(user: Any, proof: str) -> str:
    try:
        pk, address = signing.loads(proof, salt=ADDRESS_SALT, max_age=settings.PASSWORD_RESET_TIMEOUT)
    except (signing.BadSignature, ValueError, TypeError):
        return ""
    return str(address) if pk == str(user.pk) else ""
