"""What an operator does with addresses that were registered and nobody has logged in with, and a user who is made with
address and password.

Whoever calls this writes the audit log, in the same transaction.
"""

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.utils import timezone

from anonusers.adapters import get_adapter
from anonusers.errors import LoginIDTaken, PasswordLength, ProviderDisabled
from anonusers.login_ids import EMAIL, parse_login_id
from anonusers.models import Application, EmailRegistration, EndUser, Project
from anonusers.promotion import find_login_id
from anonusers.promotion.password import hash_password
from anonusers.registrations import PASSWORD_MAX, PASSWORD_MIN, first_login


def create_user(*, project: Project, application: Application, email: str, password: str) -> EndUser:
    """A regular user who logs in with this address and password at once; nobody has proven the address.

    No budget is spent: an operator is no stranger.
    Raises: ProviderDisabled, InvalidLoginID, PasswordLength, WeakPassword, LoginIDTaken, PublicSignupDisabled,
    SignupVetoed, Busy.
    """
    if not project.realm_local_userpass:
        raise ProviderDisabled
    login_id = parse_login_id(EMAIL, email)
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise PasswordLength
    if find_login_id(project, login_id) or get_adapter().find_user(project, login_id):
        raise LoginIDTaken
    user = get_user_model()()
    setattr(user, user.get_email_field_name(), login_id.value)  # a password must not be like the address
    row = EmailRegistration(
        project=project,
        email=login_id.value,
        key=login_id.key,
        password=hash_password(password, user=user),
        confirmed_at=timezone.now(),
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            return first_login(row, application)
    except IntegrityError:  # somebody has registered it
        raise LoginIDTaken from None


def confirm(row: EmailRegistration) -> bool:
    """Its owner may log in from now on; that they read the mail of that address is not proven. False where they may
    already, or it is gone."""
    rows = EmailRegistration.objects.filter(pk=row.pk, confirmed_at=None)
    return bool(rows.update(confirmed_at=timezone.now()))


def remove(row: EmailRegistration) -> bool:
    """Nobody logs in with it any more. False where it is gone, because somebody has logged in, for example."""
    return bool(EmailRegistration.objects.filter(pk=row.pk).delete()[0])
