"""A person's page: what it tells, and that every action does what it says, once, to nobody else."""

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from anonusers.administration import disable_user
from anonusers.models import Application, AuditEvent, DeviceKey, EndUser, LoginID, OneTimeToken, Project, Session
from anonusers.promotion import supersede
from tests.anonusers.test_people import make_key, make_people
from tests.conftest import HOST, make_project, row_counts, state_of
from tests.people import EMAIL, guest_session, new_guest, regular_user
from tests.portal.test_users import member, text_of

pytestmark = pytest.mark.django_db


def page_of(end_user: EndUser, query: str = "") -> str:
    return f"/portal/guestbook/users/{end_user.pk}/{query}"


def everything(*rows: Any) -> Any:
    """What must be the same before and after something was refused."""
    return row_counts(), state_of(*rows)


@pytest.fixture
def guest(application: Application) -> EndUser:
    """A guest with a session and a device key."""
    end_user = new_guest(application)
    make_key(end_user).save()
    return end_user


def event(type: str) -> AuditEvent:
    return AuditEvent.objects.get(type=type)


# --- what it tells --------------------------------------------------------------------------------


def test_a_guests_page(portal: Client, guest: EndUser) -> None:
    Session.objects.update(user_agent="Mozilla/5.0 (Windows NT 10.0) Gecko/20100101 Firefox/130.0")
    page = text_of(portal.get(page_of(guest)))
    assert '<span class="badge">Guest</span>' in page
    assert f'data-copy="{guest.pk}"' in page
    assert "Anonymous identity" in page
    assert guest.pk.hex in page  # the key's ID
    assert "Firefox on Windows" in page
    assert f'href="?confirm=end_session&amp;session={Session.objects.get().pk}"' in page
    assert f'href="/portal/guestbook/audit/?sub={guest.pk}"' in page
    assert "Promotion</h2>" not in page


def test_a_regular_users_page(portal: Client, application: Application) -> None:
    user = regular_user(application)
    page = text_of(portal.get(page_of(user)))
    assert '<span class="badge badge--accent">Regular</span>' in page
    assert f"<h1><bdi>{EMAIL}</bdi></h1>" in page
    assert "Verified</span>" in page
    assert "Became a regular user" in page
    assert "Password" in page
    assert "No live session." in page
    assert "<strong>Guest promoted</strong>" in page
    LoginID.objects.update(verified_at=None)
    assert "Not verified</span>" in text_of(portal.get(page_of(user)))


def test_both_sides_of_a_guest_who_went_on_as_somebody_else(portal: Client, application: Application) -> None:
    user, guest = regular_user(application), new_guest(application)
    supersede(guest=guest, by=user, application=application, method="password")
    page = text_of(portal.get(page_of(guest)))
    assert "Went on as" in page
    assert page_of(user) in page
    page = text_of(portal.get(page_of(user)))
    assert "Was this guest before" in page
    assert page_of(guest) in page


def test_a_disabled_users_page_says_who_did_it_and_why(portal: Client, guest: EndUser) -> None:
    portal.post(page_of(guest), {"action": "disable", "reason": "Posts <b>ads</b>"})
    page = text_of(portal.get(page_of(guest)))
    assert '<span class="badge badge--danger">Disabled</span>' in page
    assert "by olga" in page
    assert "Reason: Posts &lt;b&gt;ads&lt;/b&gt;" in page
    assert "They sleep while the user is disabled" in page
    assert "Enable user" in page


def test_the_newest_twenty_of_many(portal: Client, guest: EndUser) -> None:
    now = timezone.now()
    for number in range(25):
        used = now - timedelta(hours=number)
        Session.objects.create(
            project=guest.project, end_user=guest, kind="cookie", refresh_hash="", created_at=used, last_used_at=used
        )
        AuditEvent.objects.create(
            project=guest.project, end_user_id=guest.pk, category="users", type=f"test.{number}", created_at=now
        )
    page = text_of(portal.get(page_of(guest)))
    assert len(re.findall(r"confirm=end_session&amp;", page)) == 20
    assert "The 20 that were used last." in page
    assert len(re.findall(r"<code>test\.\d+</code>", page)) == 20
    assert "<code>test.24</code>" in page
    assert "<code>test.4</code>" not in page


@pytest.mark.parametrize("role", [None, "viewer"])
def test_a_persons_page_costs_fewer_than_fifteen_statements(
    portal: Client, application: Application, role: str | None, django_assert_max_num_queries: Any
) -> None:
    user, guest = regular_user(application), new_guest(application)
    supersede(guest=guest, by=user, application=application, method="password")
    disable_user(end_user=user)
    client = member(application.project, role) if role else portal
    client.get(page_of(user))
    with django_assert_max_num_queries(14):
        assert client.get(page_of(user)).status_code == 200


def test_what_a_device_says_of_itself_is_shown_and_never_run(portal: Client, guest: EndUser) -> None:
    Session.objects.update(device={"name": "<img src=x onerror=alert(1)>", "model": "x"}, user_agent="<script>")
    DeviceKey.objects.update(key_id="<script>alert(1)</script>")
    for query in ("", f"?confirm=end_session&session={Session.objects.get().pk}", "?confirm=remove_key"):
        page = text_of(portal.get(page_of(guest, query)))
        assert "<img src=x" not in page
        assert "<script>alert" not in page


def test_who_is_not_there_is_not_found(portal: Client, guest: EndUser) -> None:
    (stranger,) = make_people(make_project("shop", "shop.example.com"), 1)
    before = everything(guest, stranger)
    for sub in (stranger.pk, uuid.uuid4()):
        url = f"/portal/guestbook/users/{sub}/"
        assert portal.get(url).status_code == 404
        assert portal.get(f"{url}?confirm=delete").status_code == 404
        for action in ("disable", "enable", "delete", "end_session", "end_sessions", "remove_key", "restore"):
            answer = portal.post(url, {"action": action, "reason": "x", "typed": str(sub)[-6:]})
            assert answer.status_code == 404
    assert portal.get("/portal/guestbook/users/nobody/").status_code == 404
    assert everything(guest, stranger) == before


# --- roles ----------------------------------------------------------------------------------------


CONFIRMED = ["disable", "delete", "end_session", "end_sessions", "remove_key"]


def test_a_viewer_looks_and_changes_nothing(guest: EndUser) -> None:
    client = member(guest.project, "viewer")
    page = text_of(client.get(page_of(guest)))
    for control in ("confirm=", 'name="action"', "Disable user"):
        assert control not in page
    before = everything(guest, Session.objects.get())
    for action in CONFIRMED:
        assert client.get(page_of(guest, f"?confirm={action}")).status_code == 403
    for action in [*CONFIRMED, "enable", "restore"]:
        data = {"action": action, "reason": "x", "typed": str(guest.pk)[-6:], "session": str(Session.objects.get().pk)}
        assert client.post(page_of(guest), data).status_code == 403
    assert everything(guest, Session.objects.get()) == before


def test_a_member_of_another_project_finds_nobody(guest: EndUser) -> None:
    client = member(guest.project, None)
    before = everything(guest, Session.objects.get())
    assert client.get(page_of(guest)).status_code == 404
    for action in [*CONFIRMED, "enable", "restore"]:
        data = {"action": action, "reason": "x", "typed": str(guest.pk)[-6:]}
        assert client.post(page_of(guest), data).status_code == 404
    assert everything(guest, Session.objects.get()) == before


def test_an_editor_may(guest: EndUser) -> None:
    client = member(guest.project, "editor")
    assert client.post(page_of(guest), {"action": "disable", "reason": "x"}).status_code == 302
    assert EndUser.objects.get().disabled_at is not None
    assert event("user.disabled").actor_name == "editor"


# --- actions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [{}, {"action": ""}, {"action": "promote"}, {"action": "person"}, {"action": "get"}])
def test_an_action_that_there_is_not_does_nothing(portal: Client, guest: EndUser, data: dict[str, str]) -> None:
    before = everything(guest, Session.objects.get())
    assert portal.post(page_of(guest), data).status_code == 400
    assert everything(guest, Session.objects.get()) == before


def test_disabling_asks_for_a_reason(portal: Client, operator: Any, guest: EndUser) -> None:
    page = text_of(portal.get(page_of(guest, "?confirm=disable")))
    assert "Disable this user?" in page
    before = everything(guest)
    for reason in ("", "   ", "x" * 301):
        response = portal.post(page_of(guest), {"action": "disable", "reason": reason})
        assert response.status_code == 400
        assert 'class="error"' in text_of(response)
    assert everything(guest) == before
    response = portal.post(page_of(guest), {"action": "disable", "reason": "Spam."})
    assert (response.status_code, response["Location"]) == (302, page_of(guest))
    assert EndUser.objects.get().disabled_at is not None
    told = event("user.disabled")
    assert (told.category, told.end_user_id, told.actor, told.changes) == (
        "users",
        guest.pk,
        operator,
        {"reason": "Spam."},
    )


def test_disabling_twice_is_told_once(portal: Client, guest: EndUser) -> None:
    for _ in range(2):
        portal.post(page_of(guest), {"action": "disable", "reason": "Spam."})
    assert AuditEvent.objects.filter(type="user.disabled").count() == 1
    for _ in range(2):
        portal.post(page_of(guest), {"action": "enable"})
    assert AuditEvent.objects.filter(type="user.enabled").count() == 1
    assert EndUser.objects.get().disabled_at is None


def test_one_session_is_revoked_and_its_tokens_are_refused(portal: Client, application: Application) -> None:
    one = Client(HTTP_HOST=HOST).post("/api/v1/signup/", {"client_id": "web", "kind": "token"}, "application/json")
    two = Client(HTTP_HOST=HOST).post("/api/v1/signup/", {"client_id": "web", "kind": "token"}, "application/json")
    guest, other = (EndUser.objects.get(pk=answer.json()["sub"]) for answer in (one, two))
    session = Session.objects.get(end_user=guest)
    page = text_of(portal.get(page_of(guest, f"?confirm=end_session&session={session.pk}")))
    assert "This guest has no other way back." in page
    portal.post(page_of(guest), {"action": "end_session", "session": str(session.pk)})
    for answer, status in ((one, 401), (two, 200)):
        headers = {"authorization": f"Bearer {answer.json()['access_token']}"}
        assert Client(HTTP_HOST=HOST).get("/api/v1/userinfo/", headers=headers).status_code == status
    told = event("session.revoked")
    assert (told.end_user_id, told.target) == (guest.pk, f"session:{session.pk}")
    assert Session.objects.get(end_user=other).ended_at is None


def test_who_has_a_key_is_not_warned(portal: Client, guest: EndUser) -> None:
    session = Session.objects.get()
    for query in (f"?confirm=end_session&session={session.pk}", "?confirm=end_sessions"):
        assert "no other way back" not in text_of(portal.get(page_of(guest, query)))


def test_a_session_of_somebody_else_is_not_revoked(portal: Client, application: Application) -> None:
    mine, theirs = guest_session(application), guest_session(application)
    before = everything(mine, theirs)
    for text in (str(theirs.pk), str(uuid.uuid4()), "x", ""):
        response = portal.post(page_of(mine.end_user), {"action": "end_session", "session": text})
        assert response.status_code == 409
        assert "There is no such session." in text_of(response)
        asked = portal.get(page_of(mine.end_user, f"?confirm=end_session&session={text}"))
        assert asked.status_code in (404, 409)
    assert everything(mine, theirs) == before


def test_all_sessions_are_ended(portal: Client, guest: EndUser) -> None:
    other = guest_session(guest.application)  # type: ignore[arg-type]
    assert "1 session ends" in text_of(portal.get(page_of(guest, "?confirm=end_sessions")))
    portal.post(page_of(guest), {"action": "end_sessions"})
    assert [one.ended_at is None for one in Session.objects.order_by("created_at")] == [False, True]
    assert event("sessions.revoked").changes == {"sessions": 1}
    assert Session.objects.get(pk=other.pk).ended_at is None


def test_a_device_key_is_removed(portal: Client, guest: EndUser) -> None:
    Session.objects.update(amr="pop")
    assert "Remove the device key?" in text_of(portal.get(page_of(guest, "?confirm=remove_key")))
    response = portal.post(page_of(guest), {"action": "remove_key", "key_id": guest.pk.hex})
    assert response.status_code == 302
    key = DeviceKey.objects.get()
    assert (key.end_user, key.revoked_at is not None) == (None, True)
    assert Session.objects.get().ended_at is not None
    told = event("device_key.removed")
    assert (told.end_user_id, told.changes) == (guest.pk, {"key_id": guest.pk.hex})


def test_a_key_of_somebody_else_is_not_removed(portal: Client, guest: EndUser, application: Application) -> None:
    other = new_guest(application)
    make_key(other).save()
    key = DeviceKey.objects.get(end_user=other)
    before = everything(key)
    for key_id in (other.pk.hex, "", "x"):
        response = portal.post(page_of(guest), {"action": "remove_key", "key_id": key_id})
        assert response.status_code == 409
    assert everything(key) == before
    assert portal.get(page_of(new_guest(application), "?confirm=remove_key")).status_code == 409


def test_a_guest_is_restored_from_quarantine(portal: Client, guest: EndUser) -> None:
    EndUser.objects.update(quarantined_at=timezone.now())
    page = text_of(portal.get(page_of(guest)))
    assert '<span class="badge badge--warning">Quarantined</span>' in page
    assert 'value="restore"' in page
    for _ in range(2):
        assert portal.post(page_of(guest), {"action": "restore"}).status_code == 302
    assert EndUser.objects.get().quarantined_at is None
    assert AuditEvent.objects.filter(type="user.restored", end_user_id=guest.pk).count() == 1


# --- delete ---------------------------------------------------------------------------------------


def test_deleting_lists_what_goes_and_wants_the_end_of_the_sub(portal: Client, guest: EndUser) -> None:
    other = new_guest(guest.application)  # type: ignore[arg-type]
    page = text_of(portal.get(page_of(guest, "?confirm=delete")))
    assert "<li>1 session</li>" in page
    assert "<li>1 anonymous identity</li>" in page
    assert "<li>1 device key</li>" in page
    before = everything(guest, other)
    for typed in ("", "000000", str(guest.pk), str(other.pk)[-6:], str(guest.pk)[-5:], "yes"):
        if typed == str(guest.pk)[-6:]:
            continue
        response = portal.post(page_of(guest), {"action": "delete", "typed": typed})
        assert response.status_code == 400
        assert "This is not it. Nothing was deleted." in text_of(response)
    assert everything(guest, other) == before
    response = portal.post(page_of(guest), {"action": "delete", "typed": f" {str(guest.pk)[-6:].upper()} "})
    assert (response.status_code, response["Location"]) == (302, "/portal/guestbook/users/")
    assert list(EndUser.objects.all()) == [other]
    assert portal.get(page_of(guest)).status_code == 404
    told = event("user.deleted")
    assert (told.end_user_id, told.actor_name) == (guest.pk, "olga")
    assert told.changes == {
        "removed": {"anonusers.AnonymousIdentity": 1, "anonusers.DeviceKey": 1, "anonusers.Session": 1}
    }


@pytest.mark.parametrize("typed", [EMAIL, EMAIL.upper(), f" {EMAIL} "])
def test_a_regular_user_is_deleted_by_the_login_id(portal: Client, application: Application, typed: str) -> None:
    user = regular_user(application)
    assert portal.post(page_of(user), {"action": "delete", "typed": typed}).status_code == 302
    assert not EndUser.objects.exists()
    assert EMAIL not in str(AuditEvent.objects.values())
    assert not OneTimeToken.objects.exists()


def test_staff_and_the_operator_cannot_be_deleted(portal: Client, operator: Any, project: Project) -> None:
    staff = make_people(project, 1)[0]
    type(operator).objects.filter(pk=staff.user_id).update(is_staff=True)
    before = everything(staff, operator)
    assert "confirm=delete" not in text_of(portal.get(page_of(staff)))
    assert portal.get(page_of(staff, "?confirm=delete")).status_code == 409
    response = portal.post(page_of(staff), {"action": "delete", "typed": str(staff.pk)[-6:]})
    assert response.status_code == 409
    assert "This account belongs to the staff." in text_of(response)
    assert everything(staff, operator) == before


def test_nothing_goes_while_it_is_not_declared_what_becomes_of_the_hosts_data(
    portal: Client, guest: EndUser, settings: Any
) -> None:
    settings.ANONUSERS_GUEST_DATA = {}
    before = everything(guest)
    assert portal.get(page_of(guest, "?confirm=delete")).status_code == 409
    response = portal.post(page_of(guest), {"action": "delete", "typed": str(guest.pk)[-6:]})
    assert response.status_code == 409
    assert everything(guest) == before


def test_an_action_and_its_event_are_one(portal: Client, guest: EndUser, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **facts: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("portal.views.pages.record", fails)
    before = everything(guest, Session.objects.get())
    for data in (
        {"action": "disable", "reason": "x"},
        {"action": "delete", "typed": str(guest.pk)[-6:]},
        {"action": "end_sessions"},
        {"action": "remove_key", "key_id": guest.pk.hex},
    ):
        with pytest.raises(RuntimeError):
            portal.post(page_of(guest), data)
    assert everything(guest, Session.objects.get()) == before
