"""Where a host project shapes what we do with its user model. Subclass `Adapter`, name it in ANONUSERS_ADAPTER."""

import secrets
import uuid
from functools import lru_cache
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.utils.module_loading import import_string

from anonusers.conf import conf
from anonusers.login_ids import EMAIL, USERNAME, LoginIDValue
from anonusers.models import Application, Project

GUEST_DOMAIN = "@guest.invalid"
"""RFC 2606 §2: nobody's domain, for ever, so no mail is ever delivered there."""


class Adapter:
    """The defaults, which fit `auth.User` and any model whose other fields may be empty."""

    def is_open_for_signup(self, project: Project) -> bool:
        """False refuses every new user (PublicSignupDisabled)."""
        return True

    def pre_create(self, project: Project, application: Application | None) -> None:
        """Called in the transaction, before a guest is made. Raise SignupVetoed(title, reason) to refuse it."""

    def create_guest(self, sub: uuid.UUID) -> Any:
        """The saved row of AUTH_USER_MODEL behind a new guest.

        Its password is unusable, not blank: nobody logs in as a guest through a password form.
        """
        user = get_user_model()(**self.guest_values(sub))
        user.save(force_insert=True)
        return user

    def guest_values(self, sub: uuid.UUID) -> dict[str, Any]:
        """What stands in a new guest's row: a name that nobody else has, an unusable password, and no address that
        could receive mail. A model with more fields that must be filled adds them here."""
        model = get_user_model()
        name = f"guest-{sub.hex}"
        if _is_email(model.USERNAME_FIELD):
            name += GUEST_DOMAIN
        values = {model.USERNAME_FIELD: name, "password": UNUSABLE_PASSWORD_PREFIX + secrets.token_urlsafe(30)}
        email_field = model.get_email_field_name()
        if email_field != model.USERNAME_FIELD and _must_be_unique(email_field):
            values[email_field] = f"guest-{sub.hex}{GUEST_DOMAIN}"
        return values

    def find_user(self, project: Project, login_id: LoginIDValue) -> Any:
        """The row of AUTH_USER_MODEL that has this address or user name and is nobody of ours yet; None without one.

        So a guest cannot take what belongs to a user whom the host made. Answer None where such a look is too dear:
        it goes by `iexact`, which wants an index on UPPER(column) where there are many users.
        """
        model = get_user_model()
        names = {field.name for field in model._meta.concrete_fields}
        field = {EMAIL: model.get_email_field_name(), USERNAME: model.USERNAME_FIELD}.get(login_id.type)
        if field not in names or (login_id.type == USERNAME and _is_email(model.USERNAME_FIELD)):
            return None
        rows = model._default_manager.filter(**{f"{field}__iexact": login_id.value, "end_user": None})
        return rows.order_by("pk").first()

    def login_ids(self, user: Any) -> list[tuple[str, str]]:
        """What a user of the host logs in with, as (type, text): their address and their user name."""
        found = []
        email = str(getattr(user, user.get_email_field_name(), "") or "")
        if email and not email.endswith(GUEST_DOMAIN):
            found.append((EMAIL, email))
        if not _is_email(user.USERNAME_FIELD):
            found.append((USERNAME, str(user.get_username())))
        return found

    def may_adopt(self, user: Any) -> bool:
        """Whether a user of the host becomes an end user who can log in with a code. Staff do not: their address would
        open what their password and their second factor guard."""
        return not (getattr(user, "is_staff", False) or getattr(user, "is_superuser", False))

    def fill(self, user: Any, login_id: LoginIDValue, *, verified: bool, password: str | None) -> None:
        """Fill the row of AUTH_USER_MODEL when its guest is promoted, and save it.

        `password` is a hash (`user.password`), or None. An address goes into the model's e-mail field, a user name
        into USERNAME_FIELD if it is free there.
        """
        model = get_user_model()
        changed = {"password"}
        user.password = password or UNUSABLE_PASSWORD_PREFIX + secrets.token_urlsafe(30)
        email_field = model.get_email_field_name()
        has_email_field = any(field.name == email_field for field in model._meta.concrete_fields)
        if login_id.type == EMAIL and has_email_field and email_field != model.USERNAME_FIELD:
            setattr(user, email_field, login_id.value)
            changed.add(email_field)
        wanted = EMAIL if _is_email(model.USERNAME_FIELD) else USERNAME
        if login_id.type == wanted:
            manager = model._default_manager
            if not manager.filter(**{f"{model.USERNAME_FIELD}__iexact": login_id.value}).exclude(pk=user.pk).exists():
                setattr(user, model.USERNAME_FIELD, login_id.value)
                changed.add(model.USERNAME_FIELD)
        user.save(update_fields=sorted(changed))

    def forget(self, user: Any) -> None:
        """Take everything out of a row of AUTH_USER_MODEL that names its person, and save it: they were erased, and
        something of the host that is to be kept hangs on the row.

        Fills what `auth.User` has; override it for fields of your own.
        """
        model = get_user_model()
        name = f"erased-{secrets.token_hex(16)}"
        if _is_email(model.USERNAME_FIELD):
            name += GUEST_DOMAIN
        values: dict[str, Any] = {"first_name": "", "last_name": "", "is_active": False, "last_login": None}
        email_field = model.get_email_field_name()
        email = f"{name.partition('@')[0]}{GUEST_DOMAIN}" if _must_be_unique(email_field) else ""
        values |= {email_field: email, "is_staff": False, "is_superuser": False, model.USERNAME_FIELD: name}
        known = {field.name for field in model._meta.concrete_fields}
        for field, value in values.items():
            if field in known:
                setattr(user, field, value)
        user.password = UNUSABLE_PASSWORD_PREFIX + secrets.token_urlsafe(30)
        user.save()


def _is_email(field: str) -> bool:
    return isinstance(get_user_model()._meta.get_field(field), models.EmailField)


def _must_be_unique(name: str) -> bool:
    """Whether no two rows may leave this field blank."""
    try:
        field = get_user_model()._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return bool(getattr(field, "unique", False)) and not getattr(field, "null", False)


def get_adapter() -> Adapter:
    return _adapter(conf.ADAPTER)


@lru_cache(maxsize=8)
def _adapter(path: str) -> Adapter:
    adapter: Adapter = import_string(path)()
    return adapter
