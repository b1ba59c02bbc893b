"""What clients of MongoDB Stitch and Realm know a project and its people by: object ids, kept for ever, also for people
who came through another door."""

import hashlib
import re
import secrets
import string
from dataclasses import dataclass, field

from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError, transaction

from anonusers.errors import GuestGone, UnknownApplication
from anonusers.login_ids import EMAIL
from anonusers.models import (
    Application,
    EndUser,
    Project,
    RealmApp,
    RealmIdentity,
    RealmUser,
    new_object_id,
    realm_application,
)

APP_ID = re.compile(r"[\x21-\x7e]{1,100}", re.ASCII)
ANON_USER, LOCAL_USERPASS, API_KEY = "anon-user", "local-userpass", "api-key"
PROVIDERS = (ANON_USER, LOCAL_USERPASS, API_KEY)


@dataclass(frozen=True)
class Identity:
    """One way in which a user is known; `data` are strings, such as their address."""

    id: str
    provider_type: str
    data: dict[str, str] = field(default_factory=dict)


def application_of(app_id: str) -> Application:
    """The application through which the clients of a Realm app come, with its project.

    Raises: UnknownApplication.
    """
    # What no client ID can be, such as a NUL from a path, is not for the database.
    application = realm_application(app_id) if APP_ID.fullmatch(app_id) else None
    if application is None:
        raise UnknownApplication
    return application


def realm_app_of(project: Project) -> RealmApp:
    """The ids of a project, made when somebody first asks for them. No statement where they were joined."""
    try:
        return project.realm_app
    except ObjectDoesNotExist:
        ids = {provider: new_object_id() for provider in PROVIDERS}
        project.realm_app, _ = RealmApp.objects.get_or_create(project=project, defaults={"provider_ids": ids})
        return project.realm_app


def provider_id(app: RealmApp, provider_type: str) -> str:
    """The id of an app's provider: the imported one, else one that follows from the app's own."""
    known = app.provider_ids.get(provider_type)
    return str(known) if known else derived_id(app.object_id, provider_type)


def is_provider_disabled(project: Project, provider_type: str) -> bool:
    """Whether an imported app had it off; of those that are no setting of the project."""
    app = getattr(project, "realm_app", None)
    providers = app.rest.get("providers") if app is not None else None
    told = providers.get(provider_type) if isinstance(providers, dict) else None
    return isinstance(told, dict) and told.get("disabled") is True


def derived_id(*parts: object) -> str:
    """24 hexadecimal digits that are always the same for the same thing."""
    return hashlib.sha256(":".join(map(str, parts)).encode()).hexdigest()[:24]


def new_anonymous_identity(end_user: EndUser) -> RealmIdentity:
    letters = "".join(secrets.choice(string.ascii_lowercase) for _ in range(24))
    return RealmIdentity(
        project_id=end_user.project_id,
        end_user=end_user,
        provider_type=ANON_USER,
        identity_id=f"{new_object_id()}-{letters}",
    )


def new_guest_rows(end_user: EndUser) -> tuple[RealmUser, RealmIdentity]:
    """What is inserted beside a new guest."""
    return RealmUser(end_user=end_user, project_id=end_user.project_id), new_anonymous_identity(end_user)


def realm_user_of(end_user: EndUser) -> RealmUser:
    """The user id of an end user, made when somebody first asks for it. No statement where it was joined.

    Raises: GuestGone, where the person was removed meanwhile.
    """
    try:
        return end_user.realm_user
    except ObjectDoesNotExist:
        pass  # not known, or not joined
    try:
        with transaction.atomic():
            defaults = {"project_id": end_user.project_id}
            row, is_new = RealmUser.objects.get_or_create(end_user=end_user, defaults=defaults)
            if is_new and end_user.is_guest:
                new_anonymous_identity(end_user).save()
    except IntegrityError:
        raise GuestGone from None
    end_user.realm_user = row
    return row


def identities_of(end_user: EndUser) -> list[Identity]:
    """Guest's first, then one for each address they log in with. One statement for a guest, else two.

    An address keeps the id of its registration, or of its import; one that came otherwise has an id of its own.
    """
    rows = list(RealmIdentity.objects.filter(end_user=end_user).order_by("created_at", "pk"))
    found = [Identity(row.identity_id, ANON_USER) for row in rows if row.provider_type == ANON_USER]
    if end_user.is_guest:
        return found
    registered = {
        str(row.data.get("email", "")).casefold(): row.identity_id
        for row in rows
        if row.provider_type == LOCAL_USERPASS
    }
    for login_id in end_user.login_ids.filter(type=EMAIL).order_by("created_at", "pk"):
        id = registered.get(login_id.value.casefold()) or derived_id("login ID", login_id.pk)
        found.append(Identity(id, LOCAL_USERPASS, {"email": login_id.value}))
    return found
