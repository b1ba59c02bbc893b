"""People, as the Admin API lists them: by pages, each beginning behind a user that the page before ended with."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Exists, Max, OuterRef, Q, QuerySet
from django.http import QueryDict

from anonusers.errors import InvalidLoginID
from anonusers.login_ids import EMAIL, parse_login_id
from anonusers.models import (
    AnonymousIdentity,
    ApiKey,
    EmailRegistration,
    EndUser,
    LoginID,
    Project,
    RealmIdentity,
    Session,
)
from anonusers.people import open_sessions
from anonusers.realm_users import (
    ANON_USER,
    API_KEY,
    LOCAL_USERPASS,
    Identity,
    identities_by_person,
    identities_of,
    make_realm_users,
    provider_id,
    realm_app_of,
    realm_user_of,
)
from portal.realm_admin.wire import bad_request, not_found, without_nul

SIZE = 50
DEVICES = 20
STATUS = {"enabled": True, "disabled": False}
SORTED_BY = ("_id", "creation_date")
YES, NO = "true", "false"


@dataclass(frozen=True)
class Asked:
    """What a list is asked for."""

    after: str = ""
    descending: bool = False
    enabled: bool | None = None
    provider_types: tuple[str, ...] = ()


def read_query(query: QueryDict) -> Asked:
    """Raises: Refusal"""
    status, desc, sort = (query.get(name, "") for name in ("status", "desc", "sort"))
    types = tuple(name for name in query.get("provider_types", "").split(",") if name)
    for name, value, known in (("status", status, STATUS), ("desc", desc, (YES, NO)), ("sort", sort, SORTED_BY)):
        if value and value not in known:
            raise bad_request(f"{name} must be one of {', '.join(known)}", "InvalidParameter")
    return Asked(without_nul(query.get("after", "")), desc == YES, STATUS.get(status), types)


def list_users(project: Project, asked: Asked) -> list[dict[str, Any]]:
    """Up to 50 users, by when they were created. Three statements, however many they are, and three more where ids have
    to be made. Raises: Refusal, where the list is to go on behind nobody."""
    people = _people(project)
    if asked.enabled is not None:
        people = people.filter(disabled_at__isnull=asked.enabled)
    if asked.provider_types:
        people = people.filter(_comes_by(asked.provider_types))
    if asked.after:
        people = people.filter(_behind(find_user(project, asked.after), asked))
    sign = "-" if asked.descending else ""
    page = list(people.order_by(f"{sign}created_at", f"{sign}id")[:SIZE])
    # First of all: who came through another door has no anonymous identity before they have an id.
    make_realm_users(page)
    identities = identities_by_person(page)
    return [_render(project, one, identities[one.pk]) for one in page]


def find_user(project: Project, object_id: str) -> EndUser:
    """Raises: Refusal"""
    person = _people(project).filter(realm_user__object_id=object_id).first()
    if person is None:
        raise not_found("user", "UserNotFound")
    return person


def _people(project: Project) -> QuerySet[EndUser]:
    rows = EndUser.objects.filter(project=project)
    return rows.select_related("anonymous_identity", "realm_user").annotate(last_login=Max("sessions__created_at"))


def _comes_by(types: tuple[str, ...]) -> Q:
    """Those who have an identity of one of these types; of types that this server does not have nobody has one."""
    who = Q(pk__in=())
    mine = {"end_user": OuterRef("pk")}
    if ANON_USER in types:
        was_guest = RealmIdentity.objects.filter(provider_type=ANON_USER, **mine)
        who |= Exists(AnonymousIdentity.objects.filter(**mine)) | Exists(was_guest)
    if LOCAL_USERPASS in types:
        who |= Q(Exists(LoginID.objects.filter(type=LoginID.Type.EMAIL, **mine)))
    if API_KEY in types:
        who |= Q(Exists(ApiKey.objects.filter(**mine)))
    return who


def _behind(last: EndUser, asked: Asked) -> Q:
    way = "lt" if asked.descending else "gt"
    at: datetime = last.created_at
    # The plain comparison says nothing more; planners find the place in the index by it.
    place = Q(**{f"created_at__{way}": at}) | Q(created_at=at, **{f"id__{way}": last.pk})
    return Q(**{f"created_at__{way}e": at}) & place


def render_user(project: Project, person: EndUser) -> dict[str, Any]:
    realm_user_of(person)  # first of all, as for a list
    return _render(project, person, identities_of(person))


def _render(project: Project, person: EndUser, identities: list[Identity]) -> dict[str, Any]:
    ids = realm_app_of(project)
    last_login: datetime | None = vars(person).get("last_login")
    email = next((one.data["email"] for one in identities if "email" in one.data), "")
    return {
        "_id": person.realm_user.object_id,
        "type": "normal",
        "identities": [
            {
                "id": one.id,
                "provider_type": one.provider_type,
                "provider_id": provider_id(ids, one.provider_type),
                **({"provider_data": one.data} if one.data else {}),
            }
            for one in identities
        ],
        "data": {"email": email} if email else {},
        "creation_date": int(person.created_at.timestamp()),
        "last_authentication_date": int(last_login.timestamp()) if last_login else 0,
        "disabled": person.disabled_at is not None,
    }


def devices_of(person: EndUser) -> list[dict[str, Any]]:
    """Where the user is signed in: one for each open session."""
    return [_device(session) for session in open_sessions(person, most=DEVICES)]


def _device(session: Session) -> dict[str, Any]:
    told = {"platform": session.device.get("system", ""), "app_id": session.device.get("app", "")}
    return {
        "_id": session.pk.hex[:24],
        **{name: text for name, text in told.items() if text},
        "last_used": int(session.last_used_at.timestamp()),
    }


def find_registration(project: Project, email: str) -> EmailRegistration:
    """Raises: Refusal"""
    try:
        key = parse_login_id(EMAIL, email).key
    except InvalidLoginID:
        raise not_found("user", "UserNotFound") from None
    found = EmailRegistration.objects.filter(project=project, key=key).first()
    if found is None:
        raise not_found("user", "UserNotFound")
    return found


def list_pending(project: Project, after: str) -> list[dict[str, Any]]:
    """Up to 50 registrations whose address is not confirmed. Raises: Refusal, where `after` is nobody's id."""
    rows = EmailRegistration.objects.filter(project=project, confirmed_at=None)
    if after:
        last = EmailRegistration.objects.filter(project=project, object_id=after).first()
        if last is None:
            raise not_found("user", "UserNotFound")
        rows = rows.filter(pk__gt=last.pk)
    domain_id = realm_app_of(project).domain_id
    return [render_registration(row, domain_id) for row in rows.order_by("pk")[:SIZE]]


def render_registration(row: EmailRegistration, domain_id: str) -> dict[str, Any]:
    return {
        "_id": row.object_id,
        "domain_id": domain_id,
        "login_ids": [{"id_type": "email", "id": row.email}],
        "user_id": "",
    }
