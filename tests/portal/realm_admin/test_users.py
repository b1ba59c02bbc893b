"""People of an app, as the tools list and manage them."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.test import Client
from django.utils import timezone

from anonusers import registrations
from anonusers.models import (
    Application,
    AuditEvent,
    EmailRegistration,
    EndUser,
    LoginID,
    Project,
    RealmUser,
    Session,
    SigningKey,
)
from anonusers.people import open_sessions
from anonusers.promotion import promote
from anonusers.realm_users import provider_id, realm_app_of, realm_user_of
from portal.realm_admin.users import SIZE
from tests.conftest import HOST
from tests.people import new_guest, proof_of
from tests.portal.realm_admin.tools import Tool, app_path, refused
from tests.portal.routes import everything

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse"
CLIENT = "/api/client/v2.0"


@pytest.fixture
def app(project: Project, application: Application) -> str:
    return app_path(project)


def log_in(project: Project) -> dict[str, str]:
    """As an SDK logs a guest in."""
    response = Client(HTTP_HOST=HOST).post(
        f"{CLIENT}/app/{project.realm_app_id}/auth/providers/anon-user/login", {}, "application/json"
    )
    assert response.status_code == 200, response.content
    return dict(response.json())


def test_a_guest_of_an_sdk_is_listed_under_the_id_that_it_knows(admin: Tool, app: str, project: Project) -> None:
    guest = log_in(project)
    [listed] = admin.ask("GET", f"{app}/users")
    assert listed == admin.ask("GET", f"{app}/users/{guest['user_id']}")
    person = EndUser.objects.get()
    assert listed == {
        "_id": guest["user_id"],
        "type": "normal",
        "identities": [
            {
                "id": listed["identities"][0]["id"],
                "provider_type": "anon-user",
                "provider_id": provider_id(realm_app_of(project), "anon-user"),
            }
        ],
        "data": {},
        "creation_date": int(person.created_at.timestamp()),
        "last_authentication_date": int(Session.objects.get().created_at.timestamp()),
        "disabled": False,
    }


def test_who_came_through_another_door_has_an_id_that_stays(admin: Tool, app: str, application: Application) -> None:
    person = new_guest(application)
    [listed] = admin.ask("GET", f"{app}/users")
    assert admin.ask("GET", f"{app}/users/{listed['_id']}") == listed
    assert RealmUser.objects.get(end_user=person).object_id == listed["_id"]
    assert [one["provider_type"] for one in listed["identities"]] == ["anon-user"]


def test_a_promoted_guest_keeps_the_id_and_has_both_identities(
    admin: Tool, app: str, project: Project, application: Application
) -> None:
    person = new_guest(application)
    before = admin.ask("GET", f"{app}/users")[0]
    promote(end_user=person, project=project, proof=proof_of(), application=application)
    after = admin.ask("GET", f"{app}/users")[0]
    assert after["_id"] == before["_id"]
    assert [one["provider_type"] for one in after["identities"]] == ["anon-user", "local-userpass"]
    address = LoginID.objects.get().value
    assert after["identities"][1]["provider_data"] == {"email": address}
    assert after["data"] == {"email": address}


# --- pages ----------------------------------------------------------------------------------------


@pytest.fixture
def crowd(application: Application, settings: Any) -> list[str]:
    """The ids of 120 guests in the order of their creation. Two at a time were created at the same moment."""
    settings.ANONUSERS_SIGNUP_PER_IP = "off"
    start = timezone.now() - timedelta(days=1)
    people = [new_guest(application) for _ in range(120)]
    for number, person in enumerate(people):
        EndUser.objects.filter(pk=person.pk).update(created_at=start + timedelta(seconds=number // 2))
    ordered = EndUser.objects.order_by("created_at", "id")
    return [realm_user_of(person).object_id for person in ordered]


@pytest.mark.parametrize("descending", [False, True])
def test_pages_of_fifty_follow_each_other_without_gap_or_repetition(
    descending: bool, admin: Tool, app: str, crowd: list[str]
) -> None:
    query = "sort=_id&desc=true" if descending else "sort=_id"
    pages, after = [], ""
    while page := admin.ask("GET", f"{app}/users?{query}{after}"):
        pages.append([one["_id"] for one in page])
        after = f"&after={pages[-1][-1]}"
    assert [len(page) for page in pages] == [SIZE, SIZE, 20]
    assert [id for page in pages for id in page] == (crowd[::-1] if descending else crowd)


def test_status_and_provider_types_narrow_the_list(
    admin: Tool, app: str, project: Project, application: Application
) -> None:
    guest, regular, disabled = (realm_user_of(new_guest(application)) for _ in range(3))
    promote(end_user=regular.end_user, project=project, proof=proof_of(), application=application)
    EndUser.objects.filter(pk=disabled.end_user_id).update(disabled_at=timezone.now())

    def listed(query: str) -> set[str]:
        return {one["_id"] for one in admin.ask("GET", f"{app}/users?{query}")}

    names = {"guest": guest.object_id, "regular": regular.object_id, "disabled": disabled.object_id}
    for query, expected in {
        "status=enabled": {"guest", "regular"},
        "status=disabled": {"disabled"},
        "provider_types=anon-user": {"guest", "regular", "disabled"},
        "provider_types=local-userpass": {"regular"},
        "provider_types=local-userpass,anon-user&status=enabled": {"guest", "regular"},
        "provider_types=oauth2-google": set(),
        "provider_types=": {"guest", "regular", "disabled"},
        f"after={guest.object_id}&status=disabled": {"disabled"},
    }.items():
        assert listed(query) == {names[name] for name in expected}, query


@pytest.mark.parametrize("query", ["status=x", "desc=1", "sort=email", "status=%00"])
def test_a_query_that_means_nothing_is_refused(query: str, admin: Tool, app: str) -> None:
    refused(admin.send("GET", f"{app}/users?{query}"), 400, "InvalidParameter")


@pytest.mark.parametrize("after", ["f" * 24, "x", "%00", "1" * 5000])
def test_a_list_does_not_go_on_behind_nobody(after: str, admin: Tool, app: str) -> None:
    refused(admin.send("GET", f"{app}/users?after={after}"), 404, "UserNotFound")
    refused(admin.send("GET", f"{app}/user_registrations/pending_users?after={after}"), 404, "UserNotFound")


def test_another_projects_people_are_not_listed(admin: Tool, app: str, other: Project) -> None:
    from portal.realm import make_application

    new_guest(make_application(other, actor=None))
    assert admin.ask("GET", f"{app}/users") == []


# --- deeds ----------------------------------------------------------------------------------------


def test_disabled_is_not_deleted(admin: Tool, app: str, project: Project) -> None:
    guest = log_in(project)
    user, bearer = f"{app}/users/{guest['user_id']}", {"Authorization": f"Bearer {guest['access_token']}"}
    assert Client(HTTP_HOST=HOST).get(f"{CLIENT}/auth/profile", headers=bearer).status_code == 200
    for _twice in range(2):
        admin.ask("PUT", f"{user}/disable", status=204)
    assert admin.ask("GET", user)["disabled"] is True
    assert Client(HTTP_HOST=HOST).get(f"{CLIENT}/auth/profile", headers=bearer).status_code == 403
    for _twice in range(2):
        admin.ask("PUT", f"{user}/enable", status=204)
    assert Client(HTTP_HOST=HOST).get(f"{CLIENT}/auth/profile", headers=bearer).status_code == 200
    events = AuditEvent.objects.filter(category="users").order_by("pk").values_list("type", "actor_name", "changes")
    assert list(events) == [("user.disabled", "olga", {"reason": "Admin API"}), ("user.enabled", "olga", {})]


def test_revoking_ends_every_session(admin: Tool, app: str, project: Project) -> None:
    guest = log_in(project)
    user = f"{app}/users/{guest['user_id']}"
    [device] = admin.ask("GET", f"{user}/devices")
    assert len(device["_id"]) == 24
    admin.ask("PUT", f"{user}/logout", status=204)
    assert open_sessions(EndUser.objects.get(), most=5) == []
    assert admin.ask("GET", f"{user}/devices") == []
    bearer = {"Authorization": f"Bearer {guest['refresh_token']}"}
    assert Client(HTTP_HOST=HOST).post(f"{CLIENT}/auth/session", headers=bearer).status_code == 401
    assert AuditEvent.objects.filter(type="sessions.revoked").get().changes == {"sessions": 1}


def test_a_deleted_user_is_gone(admin: Tool, app: str, project: Project) -> None:
    guest = log_in(project)
    admin.ask("DELETE", f"{app}/users/{guest['user_id']}", status=204)
    assert not EndUser.objects.exists()
    refused(admin.send("DELETE", f"{app}/users/{guest['user_id']}"), 404, "UserNotFound")
    assert AuditEvent.objects.filter(type="user.deleted").count() == 1


def test_a_person_with_staff_rights_is_not_deleted_from_here(admin: Tool, app: str, application: Application) -> None:
    person = new_guest(application)
    person.user.is_staff = True
    person.user.save()
    user_id, before = realm_user_of(person).object_id, everything()
    refused(admin.send("DELETE", f"{app}/users/{user_id}"), 409, "BadRequest")
    assert everything() == before


def test_a_user_is_made_with_address_and_password(admin: Tool, app: str, project: Project) -> None:
    made = admin.ask("POST", f"{app}/users", {"email": "Anna@example.com", "password": PASSWORD}, status=201)
    assert made["data"] == {"email": "Anna@example.com"}
    assert [one["provider_type"] for one in made["identities"]] == ["local-userpass"]
    assert not EmailRegistration.objects.exists()
    response = Client(HTTP_HOST=HOST).post(
        f"{CLIENT}/app/{project.realm_app_id}/auth/providers/local-userpass/login",
        {"username": "anna@example.com", "password": PASSWORD},
        "application/json",
    )
    assert response.json()["user_id"] == made["_id"]
    before = everything()
    again = admin.send("POST", f"{app}/users", {"email": "anna@EXAMPLE.com", "password": PASSWORD})
    refused(again, 409, "AccountNameInUse")
    assert everything() == before


@pytest.mark.parametrize(
    ("email", "password", "code"),
    [
        ("anna", PASSWORD, "InvalidParameter"),
        ("", PASSWORD, "MissingParameter"),
        ("anna@example.com", "short", "BadRequest"),
        ("anna@example.com", "x" * 129, "BadRequest"),
        ("anna@example.com", None, "MissingParameter"),
        ("anna@example.com", 1234567, "InvalidParameter"),
    ],
)
def test_a_user_who_cannot_be_is_not_made(email: Any, password: Any, code: str, admin: Tool, app: str) -> None:
    before = everything()
    refused(admin.send("POST", f"{app}/users", {"email": email, "password": password}), 400, code)
    assert everything() == before


def test_without_the_provider_no_user_is_made(admin: Tool, app: str, project: Project) -> None:
    Project.objects.filter(pk=project.pk).update(realm_local_userpass=False)
    response = admin.send("POST", f"{app}/users", {"email": "anna@example.com", "password": PASSWORD})
    refused(response, 404, "AuthProviderNotFound")
    assert not EndUser.objects.exists()


# --- registrations --------------------------------------------------------------------------------


@pytest.fixture
def pending(project: Project, application: Application) -> EmailRegistration:
    changes = {"realm_auto_confirm": False, "realm_confirmation_url": "https://app.example.com/confirm"}
    Project.objects.filter(pk=project.pk).update(**changes)
    project.refresh_from_db()
    link = "https://app.example.com/{}".format
    return registrations.register(project=project, email="anna@example.com", password=PASSWORD, link=link)


def test_who_has_not_confirmed_is_listed(admin: Tool, app: str, project: Project, pending: EmailRegistration) -> None:
    path = f"{app}/user_registrations/pending_users"
    assert admin.ask("GET", path) == [
        {
            "_id": pending.object_id,
            "domain_id": realm_app_of(project).domain_id,
            "login_ids": [{"id_type": "email", "id": "anna@example.com"}],
            "user_id": "",
        }
    ]
    assert admin.ask("GET", f"{path}?after={pending.object_id}") == []
    assert admin.ask("GET", f"{app}/users") == []


def test_pages_of_registrations_follow_each_other(admin: Tool, app: str, project: Project) -> None:
    rows = [EmailRegistration(project=project, email=f"{n}@example.com", key=str(n), password="!") for n in range(70)]
    EmailRegistration.objects.bulk_create(rows)
    path = f"{app}/user_registrations/pending_users"
    first = admin.ask("GET", path)
    second = admin.ask("GET", f"{path}?after={first[-1]['_id']}")
    assert (len(first), len(second)) == (50, 20)
    assert len({one["_id"] for one in first + second}) == 70


def test_an_operator_vouches_for_an_address(admin: Tool, app: str, pending: EmailRegistration) -> None:
    path = f"{app}/user_registrations/by_email/ANNA@example.com"
    admin.ask("POST", f"{path}/confirm", status=204)
    pending.refresh_from_db()
    assert pending.confirmed_at is not None
    assert pending.verified is False
    refused(admin.send("POST", f"{path}/confirm"), 400, "UserAlreadyConfirmed")
    assert admin.ask("GET", f"{app}/user_registrations/pending_users") == []
    event = AuditEvent.objects.get(type="registration.confirmed")
    assert (event.actor_name, event.target) == ("olga", f"registration:{pending.object_id}")


def test_the_mail_is_sent_again_and_its_secret_stays_in_it(
    admin: Tool, app: str, project: Project, pending: EmailRegistration
) -> None:
    with time_machine.travel(timezone.now() + timedelta(minutes=5)):
        admin.access = admin.refreshed()
        path = f"{app}/user_registrations/by_email/anna@example.com/send_confirm"
        assert admin.ask("POST", path) == {"token": "", "token_id": pending.object_id}
    assert len(mail.outbox) == 2
    assert "https://app.example.com/confirm?token=" in mail.outbox[1].body
    assert AuditEvent.objects.filter(type="registration.mailed").count() == 1


def test_without_a_page_no_mail_is_sent(admin: Tool, app: str, project: Project, pending: EmailRegistration) -> None:
    Project.objects.filter(pk=project.pk).update(realm_confirmation_url="")
    path = f"{app}/user_registrations/by_email/anna@example.com/send_confirm"
    refused(admin.send("POST", path), 400, "BadRequest")
    assert len(mail.outbox) == 1


def test_a_registration_is_forgotten(admin: Tool, app: str, pending: EmailRegistration) -> None:
    path = f"{app}/user_registrations/by_email/anna@example.com"
    admin.ask("DELETE", path, status=204)
    assert not EmailRegistration.objects.exists()
    refused(admin.send("DELETE", path), 404, "UserNotFound")
    for address in ("nobody@example.com", "x", "%00", "a" * 500):
        for verb in ("", "/confirm", "/send_confirm", "/run_confirm"):
            method = "POST" if verb else "DELETE"
            response = admin.send(method, f"{app}/user_registrations/by_email/{address}{verb}")
            refused(response, 404, "UserNotFound")


def test_a_user_with_an_address_is_mailed_a_link_for_a_new_password(admin: Tool, app: str) -> None:
    made = admin.ask("POST", f"{app}/users", {"email": "anna@example.com", "password": PASSWORD}, status=201)
    admin.ask("PATCH", f"{app}/users/{made['_id']}/reset_email", status=204)
    assert mail.outbox[-1].to == ["anna@example.com"]
    assert AuditEvent.objects.filter(type="user.reset_mailed").count() == 1


# --- verify_token ---------------------------------------------------------------------------------


def test_a_servers_question_about_a_token_is_answered(admin: Tool, app: str, project: Project) -> None:
    guest, path = log_in(project), f"{app}/users/verify_token"
    claims = admin.ask("POST", path, {"token": guest["access_token"]})
    assert set(claims) >= {"sub", "iat", "exp", "domain_id", "device_id"}
    assert claims["sub"] == guest["user_id"]
    assert claims["domain_id"] == realm_app_of(project).domain_id
    assert claims["device_id"] == guest["device_id"]
    assert not [name for name in claims if name.startswith(("baas_", "stitch_", "sid"))]


def test_an_expired_token_is_said_to_be_so(admin: Tool, app: str, project: Project) -> None:
    guest = log_in(project)
    with time_machine.travel(timezone.now() + timedelta(minutes=31)):
        admin.access = admin.refreshed()
        assert admin.ask("POST", f"{app}/users/verify_token", {"token": guest["access_token"]}) == "token expired"


def test_every_other_token_is_an_invalid_session(
    admin: Tool, app: str, project: Project, application: Application
) -> None:
    guest, path = log_in(project), f"{app}/users/verify_token"
    head, body, signature = guest["access_token"].split(".")
    native = (
        Client(HTTP_HOST=HOST).post("/api/v1/signup/", {"client_id": application.client_id}, "application/json").json()
    )
    for token in (
        *("x", "a.b.c", "null", "ä.b.c", guest["refresh_token"], f"{head}.{body}.", f"{head}.{body}.{'A' * 86}"),
        *(admin.access, admin.refresh, native["access_token"], native["refresh_token"], f"{head}.{body}x.{signature}"),
    ):
        refused(admin.send("POST", path, {"token": token}), 401, "InvalidSession")
    Session.objects.filter(end_user__realm_user__object_id=guest["user_id"]).update(ended_at=timezone.now())
    refused(admin.send("POST", path, {"token": guest["access_token"]}), 401, "InvalidSession")


def test_a_token_of_another_app_is_an_invalid_session(admin: Tool, app: str, project: Project, other: Project) -> None:
    from portal.realm import make_application

    make_application(other, actor=None)
    guest = log_in(other)
    refused(admin.send("POST", f"{app}/users/verify_token", {"token": guest["access_token"]}), 401, "InvalidSession")
    claims = admin.ask("POST", f"{app_path(other)}/users/verify_token", {"token": guest["access_token"]})
    assert claims["sub"] == guest["user_id"]


def test_a_key_that_leaked_and_was_dropped_vouches_for_nothing(admin: Tool, app: str, project: Project) -> None:
    from anonusers.keys import rotate_keys

    guest = log_in(project)
    rotate_keys(project, at_once=True)
    assert SigningKey.objects.filter(project=project).exists()
    refused(admin.send("POST", f"{app}/users/verify_token", {"token": guest["access_token"]}), 401, "InvalidSession")
