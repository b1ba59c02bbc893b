"""What clients of MongoDB Stitch and Realm know a project and its people by: object ids, kept for ever, also for people
who came through another door."""

import hashlib
import re
import secrets
import string
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError, transaction

from anonusers.errors import GuestGone, UnknownApplication
from anonusers.login_ids import EMAIL
from anonusers.models import (
    Application,
    EndUser,
    LoginID,
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
        defaults = {"provider_ids": _new_provider_ids()}
        project.realm_app, _ = RealmApp.objects.get_or_create(project=project, defaults=defaults)
        return project.realm_app


def make_realm_apps(projects: Iterable[Project]) -> None:
    """What `realm_app_of` does, for many to whom their ids were joined: two statements, none where all have them."""
    missing = sorted((project for project in projects if not hasattr(project, "realm_app")), key=lambda one: one.pk)
    if not missing:
        return
    rows = [RealmApp(project_id=project.pk, provider_ids=_new_provider_ids()) for project in missing]
    RealmApp.objects.bulk_create(rows, ignore_conflicts=True)  # somebody may be faster
    made = RealmApp.objects.in_bulk([project.pk for project in missing])
    for project in missing:
        if project.pk in made:
            project.realm_app = made[project.pk]


def _new_provider_ids() -> dict[str, str]:
    return {provider: new_object_id() for provider in PROVIDERS}


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


def make_realm_users(people: Iterable[EndUser]) -> None:
    """What `realm_user_of` does, for many to whom their rows were joined: three statements, none where all have an id.

    Raises: GuestGone, where one of them was removed meanwhile.
    """
    missing = {one.pk: one for one in people if not hasattr(one, "realm_user")}
    if not missing:
        return
    # In the order of the key, as everybody locks people. By the key alone: a row that is given a person is theirs.
    wanted = [RealmUser(end_user_id=pk, project_id=one.project_id) for pk, one in sorted(missing.items())]
    try:
        with transaction.atomic():
            RealmUser.objects.bulk_create(wanted, ignore_conflicts=True)  # somebody may be faster
            made = RealmUser.objects.in_bulk(list(missing))
            new = [missing[row.pk] for row in wanted if row.pk in made and made[row.pk].object_id == row.object_id]
            RealmIdentity.objects.bulk_create([new_anonymous_identity(one) for one in new if one.is_guest])
    except IntegrityError:
        raise GuestGone from None
    if len(made) < len(missing):  # MariaDB does not insert what leads to nobody, and says nothing
        raise GuestGone
    for pk, row in made.items():
        missing[pk].realm_user = row


def identities_of(end_user: EndUser) -> list[Identity]:
    """Guest's first, then one for each address they log in with. One statement for a guest, else two.

    An address keeps the id of its registration, or of its import; one that came otherwise has an id of its own.
    """
    rows = list(RealmIdentity.objects.filter(end_user=end_user).order_by("created_at", "pk"))
    addresses = [] if end_user.is_guest else end_user.login_ids.filter(type=EMAIL).order_by("created_at", "pk")
    return _identities(rows, addresses)


def identities_by_person(people: Sequence[EndUser]) -> dict[uuid.UUID, list[Identity]]:
    """The same of many whose anonymous identity was joined: two statements, one where all are guests."""
    rows: dict[uuid.UUID, list[RealmIdentity]] = defaultdict(list)
    for row in RealmIdentity.objects.filter(end_user__in=people).order_by("created_at", "pk"):
        rows[row.end_user_id].append(row)
    addresses: dict[uuid.UUID, list[LoginID]] = defaultdict(list)
    regular = [one for one in people if not one.is_guest]
    for login_id in LoginID.objects.filter(end_user__in=regular, type=EMAIL).order_by("created_at", "pk"):
        addresses[login_id.end_user_id].append(login_id)
    return {one.pk: _identities(rows[one.pk], addresses[one.pk]) for one in people}


def _identities(rows: list[RealmIdentity], addresses: Iterable[LoginID]) -> list[Identity]:
    found = [Identity(row.identity_id, ANON_USER) for row in rows if row.provider_type == ANON_USER]
    registered = {
        str(row.data.get("email", "")).casefold(): row.identity_id
        for row in rows
        if row.provider_type == LOCAL_USERPASS
    }
    for login_id in addresses:
        id = registered.get(login_id.value.casefold()) or derived_id("login ID", login_id.pk)
        found.append(Identity(id, LOCAL_USERPASS, {"email": login_id.value}))
    return found
