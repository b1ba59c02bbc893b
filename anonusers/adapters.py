"""Where a host project shapes what we do with its user model. Subclass `Adapter`, name it in ANONUSERS_ADAPTER."""

import secrets
import uuid
from functools import lru_cache
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.db import models
from django.utils.module_loading import import_string

from anonusers.conf import conf
from anonusers.login_ids import EMAIL, USERNAME, LoginIDValue
from anonusers.models import Application, Project


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
        model = get_user_model()
        name = f"guest-{sub.hex}"
        if isinstance(model._meta.get_field(model.USERNAME_FIELD), models.EmailField):
            name += "@guest.invalid"  # RFC 2606 §2: nobody's address, for ever
        user = model(**{model.USERNAME_FIELD: name}, password=UNUSABLE_PASSWORD_PREFIX + secrets.token_urlsafe(30))
        user.save(force_insert=True)
        return user

    def fill(self, user: Any, login_id: LoginIDValue, *, verified: bool, password: str | None) -> None:
        """Fill the row of AUTH_USER_MODEL when its guest is promoted, and save it.

        `password` is a hash (`user.password`), or None. An address goes into the model's e-mail field, a user name
        into USERNAME_FIELD if it is free there.
        """
        model = get_user_model()
        changed = {"password"}
        user.password = password or UNUSABLE_PASSWORD_PREFIX + secrets.token_urlsafe(30)
        has_email_field = any(field.name == model.EMAIL_FIELD for field in model._meta.concrete_fields)
        if login_id.type == EMAIL and has_email_field and model.EMAIL_FIELD != model.USERNAME_FIELD:
            setattr(user, model.EMAIL_FIELD, login_id.value)
            changed.add(model.EMAIL_FIELD)
        wanted = EMAIL if model.EMAIL_FIELD == model.USERNAME_FIELD else USERNAME
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
        if isinstance(model._meta.get_field(model.USERNAME_FIELD), models.EmailField):
            name += "@guest.invalid"
        values: dict[str, Any] = {"first_name": "", "last_name": "", "is_active": False, "last_login": None}
        values |= {model.EMAIL_FIELD: "", "is_staff": False, "is_superuser": False, model.USERNAME_FIELD: name}
        known = {field.name for field in model._meta.concrete_fields}
        for field, value in values.items():
            if field in known:
                setattr(user, field, value)
        user.password = UNUSABLE_PASSWORD_PREFIX + secrets.token_urlsafe(30)
        user.save()


def get_adapter() -> Adapter:
    return _adapter(conf.ADAPTER)


@lru_cache(maxsize=8)
def _adapter(path: str) -> Adapter:
    adapter: Adapter = import_string(path)()
    return adapter
