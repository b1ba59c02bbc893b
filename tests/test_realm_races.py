"""Races of the Realm door, with real threads on PostgreSQL: what happens once happens once, no half state."""

from typing import Any

import pytest

from anonusers.models import (
    AnonymousIdentity,
    EmailRegistration,
    EndUser,
    LoginID,
    Promotion,
    RealmIdentity,
    RealmUser,
    Session,
)
from anonusers.promotion import promote
from anonusers.realm_users import realm_app_of, realm_user_of
from tests.people import new_guest, proof_of
from tests.protocols.realm.conftest import DELETE, EMAIL, PASSWORD, Realm, make_app, refused
from tests.test_promotion_races import outcome
from tests.test_races import at_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]


@pytest.fixture(autouse=True)
def app(settings: Any) -> Any:
    settings.ANONUSERS_LOGIN_PER_IP = settings.ANONUSERS_LOGIN_PER_ACCOUNT_AND_IP = "off"
    settings.ANONUSERS_SIGNUP_PER_IP = "off"
    return make_app()


def statuses(responses: list[Any]) -> list[int]:
    return sorted(response.status_code for response in responses)


def test_one_address_is_registered_once(app):
    found = at_once(16, lambda _: Realm().register())
    assert statuses(found) == [201] + [409] * 15
    assert EmailRegistration.objects.count() == 1


def test_the_first_log_in_makes_one_user_however_many_log_in(app):
    Realm().register()
    found = at_once(8, lambda _: Realm().password_login())
    assert statuses(found) == [200] * 8
    assert len({response.json()["user_id"] for response in found}) == 1
    assert EndUser.objects.count() == LoginID.objects.count() == RealmUser.objects.count() == 1
    assert EmailRegistration.objects.count() == 0
    assert Session.objects.filter(ended_at=None).count() == 8


def test_a_guest_links_one_address_twice_at_once(app):
    guest = Realm().log_in()
    guest.register()
    found = at_once(8, lambda _: guest.link())
    assert statuses(found) == [200] * 8
    assert {response.json()["user_id"] for response in found} == {guest.user_id}
    assert Promotion.objects.count() == LoginID.objects.count() == 1
    assert RealmIdentity.objects.filter(provider_type="local-userpass").count() == 1
    assert guest.refresh().status_code == 201


def test_a_guest_links_many_addresses_at_once(app):
    guest = Realm().log_in()
    emails = [f"ada{number}@example.com" for number in range(8)]
    for email in emails:
        guest.register(email)
    found = at_once(8, lambda number: guest.link(emails[number]))
    assert statuses(found) == [200] + [400] * 7
    winner = next(number for number in range(8) if found[number].status_code == 200)
    assert LoginID.objects.get().value == emails[winner]
    assert EmailRegistration.objects.count() == 7
    assert guest.refresh().status_code == 201


def test_many_guests_link_one_address(app):
    guests = [Realm().log_in() for _ in range(8)]
    guests[0].register()
    found = at_once(8, lambda number: guests[number].link())
    assert statuses(found) == [200] + [409] * 7
    assert AnonymousIdentity.objects.count() == 7
    assert Session.objects.filter(ended_at=None).count() == 8
    assert all(guest.refresh().status_code == 201 for guest in guests)


@pytest.mark.parametrize("_round", range(5))
def test_a_link_beside_the_hosted_page(app, _round):
    guest = Realm().log_in()
    guest.register()
    end_user = EndUser.objects.select_related("project").get()

    def call(number: int) -> Any:
        if number == 0:
            return guest.link()
        proof = proof_of("page@example.com", password=PASSWORD)
        return outcome(lambda: str(promote(end_user=end_user, project=end_user.project, proof=proof).end_user.pk))

    linked, promoted = at_once(2, call)
    assert Promotion.objects.count() == LoginID.objects.count() == 1
    if linked.status_code == 200:
        assert promoted == "user_is_regular"
        assert guest.refresh().status_code == 201
        assert EmailRegistration.objects.count() == 0
    else:
        assert promoted == str(end_user.pk)
        assert linked.status_code in (400, 401)  # regular by now, or its session has ended
        assert EmailRegistration.objects.count() == 1


@pytest.mark.parametrize("_round", range(5))
def test_a_link_beside_a_first_log_in(app, _round):
    guest = Realm().log_in()
    guest.register()
    linked, logged_in = at_once(2, lambda number: Realm().password_login() if number else guest.link())
    assert logged_in.status_code == 200
    assert LoginID.objects.count() == 1
    if linked.status_code == 200:
        assert logged_in.json()["user_id"] == guest.user_id
    else:
        assert refused(linked)[:2] == (409, "AccountNameInUse")
        assert logged_in.json()["user_id"] != guest.user_id
    assert guest.refresh().status_code == 201


@pytest.mark.parametrize("_round", range(5))
def test_a_deletion_beside_refreshes_leaves_nobody(app, _round):
    guest = Realm().log_in()

    def call(number: int) -> Any:
        if number == 0:
            return guest.ask("DELETE", DELETE, bearer=guest.access_token)
        return guest.ask("POST", "/api/client/v2.0/auth/session", bearer=guest.refresh_token)

    deleted, *refreshed = at_once(6, call)
    assert deleted.status_code == 204
    assert {response.status_code for response in refreshed} <= {201, 401}
    assert EndUser.objects.count() == Session.objects.count() == RealmUser.objects.count() == 0
    assert guest.refresh().status_code == guest.profile().status_code == 401


@pytest.mark.parametrize("_round", range(5))
def test_a_deletion_beside_a_log_in_leaves_no_half_user(app, _round):
    guest = Realm().log_in()
    guest.register()
    guest.keep(guest.link())

    def call(number: int) -> Any:
        return Realm().password_login() if number else guest.ask("DELETE", DELETE, bearer=guest.access_token)

    deleted, *logged_in = at_once(4, call)
    assert deleted.status_code == 204
    assert {response.status_code for response in logged_in} <= {200, 401}
    assert (
        EndUser.objects.count() == Session.objects.count() == RealmUser.objects.count() == LoginID.objects.count() == 0
    )


def test_ids_are_made_once(app):
    end_user = new_guest(app)
    project = type(app.project).objects.get()
    found = at_once(8, lambda _: realm_user_of(EndUser.objects.get(pk=end_user.pk)).object_id)
    assert len(set(found)) == RealmUser.objects.count() == RealmIdentity.objects.count() == 1
    found = at_once(8, lambda _: realm_app_of(type(project).objects.get(pk=project.pk)).domain_id)
    assert len(set(found)) == 1


def test_one_address_is_confirmed_and_linked_by_one(app):
    """Registering beside linking: the second registration finds the address in use, whoever was faster."""
    guest = Realm().log_in()
    guest.register()
    linked, registered = at_once(2, lambda number: Realm().register(EMAIL) if number else guest.link())
    assert (linked.status_code, registered.status_code) in ((200, 409), (200, 201))
    assert LoginID.objects.get().end_user.realm_user.object_id == guest.user_id
    assert refused(Realm().password_login(password="wrong horse 12"))[0] == 401
