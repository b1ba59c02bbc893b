"""An app that was moved here: its SDKs come with MongoDB's old tokens, its people without passwords."""

import json
from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from anonusers.models import EndUser, Session
from anonusers.realm_user_import import import_users
from tests.anonusers.test_realm_migration import DOMAIN, IDENTITY, SUB, access_token, token
from tests.conftest import row_counts
from tests.protocols.realm.conftest import EMAIL, PASSWORD, SESSION, USERPASS, Realm, refused
from tests.protocols.realm.test_userpass import last_link

pytestmark = [pytest.mark.django_db, pytest.mark.database]

WAIT = (503, "MaintenanceInProgress", "accounts are being moved, try again later")
ENDED = (401, "InvalidSession", "invalid session: failed to find refresh token")


@pytest.fixture
def moved(by_mail, tmp_path):
    """The app after its guest and Ada were imported, with half an hour of migration left."""
    project = by_mail.project
    project.realm_migration_until = (timezone.now() + timedelta(minutes=30)).isoformat(timespec="seconds")
    project.realm_adopt_guests = True
    project.save()
    ada = {"id": "6b0061f8f93a7e50f060dc3d", "provider_type": "local-userpass", "provider_data": {"email": EMAIL}}
    people = [
        {"_id": SUB, "identities": [{"id": IDENTITY, "provider_type": "anon-user"}]},
        {"_id": "6b0061f8e676470ab17fd3ad", "identities": [ada]},
    ]
    path = tmp_path / "users.json"
    path.write_text(json.dumps(people))
    assert [one.problems for one in import_users(project=project, path=path, domain_id=DOMAIN)] == [()]
    return project


def old_device():
    """An SDK that was logged in at MongoDB's."""
    realm = Realm()
    realm.access_token, realm.refresh_token, realm.user_id = access_token(), token(), SUB
    return realm


def test_an_sdk_goes_on_as_the_guest_that_it_was(moved):
    realm = old_device()

    assert realm.profile().status_code == 401  # so that it refreshes, which gets it an access token of ours
    assert realm.refresh().status_code == 201
    profile = realm.profile().json()
    assert (profile["user_id"], profile["domain_id"]) == (SUB, DOMAIN)
    assert [(one["id"], one["provider_type"]) for one in profile["identities"]] == [(IDENTITY, "anon-user")]

    assert realm.refresh().status_code == 201  # with the very same old token
    assert realm.log_out().status_code == 204
    assert refused(realm.refresh()) == ENDED
    assert EndUser.objects.count() == 2


def test_before_guests_are_adopted_every_call_is_told_to_wait(moved):
    moved.realm_adopt_guests = False
    moved.save()
    realm = old_device()
    before = row_counts()

    assert refused(realm.profile()) == refused(realm.refresh()) == refused(realm.log_out()) == WAIT

    assert row_counts() == before


def test_after_the_window_old_tokens_are_over(moved):
    moved.realm_migration_until = (timezone.now() - timedelta(seconds=1)).isoformat(timespec="seconds")
    moved.save()

    assert refused(old_device().refresh()) == ENDED
    assert old_device().profile().status_code == 401
    assert Session.objects.count() == 0


def test_who_had_an_address_sets_a_new_password_and_is_who_they_were(moved):
    realm = Realm()
    assert refused(realm.password_login())[:2] == (401, "InvalidPassword")

    assert realm.post(f"{USERPASS}/reset/send", {"email": EMAIL}).status_code == 202
    assert mail.outbox[-1].to == [EMAIL]
    assert realm.post(f"{USERPASS}/reset", last_link() | {"password": PASSWORD}).status_code == 200

    realm.keep(realm.password_login())
    assert realm.user_id == "6b0061f8e676470ab17fd3ad"
    assert [one["id"] for one in realm.profile().json()["identities"]] == ["6b0061f8f93a7e50f060dc3d"]


def test_an_access_token_is_no_refresh_token(moved):
    before = row_counts()

    assert refused(Realm().ask("POST", SESSION, bearer=access_token())) == WAIT

    assert row_counts() == before
