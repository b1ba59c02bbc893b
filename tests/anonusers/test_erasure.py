"""Erase a person: everything of theirs goes, also the tombstone of their key; what the host keeps names nobody."""

import json
import uuid

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.utils import timezone

from anonusers import device_keys, erasure, events
from anonusers.erasure import Erasure, erase
from anonusers.errors import CleanupRefused, ErasureForbidden
from anonusers.models import CleanupRun, DeviceKey, EndUser, LoginID, OneTimeToken, Session
from anonusers.promotion import promote
from example.models import Comment
from tests.conftest import row_counts
from tests.people import new_guest, proof_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]
User = get_user_model()


@pytest.fixture
def guest(application):
    end_user = new_guest(application)
    give_key(end_user)
    device_keys.issue_recovery_code(session=Session.objects.in_full().filter(end_user=end_user).first())
    return end_user


def give_key(end_user: EndUser) -> None:
    now = timezone.now()
    DeviceKey.objects.create(
        project=end_user.project,
        end_user=end_user,
        key_id="key-of-phone",
        algorithm="ES256",
        jwk={},
        thumbprint="t" * 43,
        created_at=now,
        last_used_at=now,
    )


def test_a_guest_goes_without_a_trace_and_nobody_else_does(application, guest):
    other = new_guest(application)
    before = row_counts()
    done = erase(guest)
    assert done == Erasure(
        str(guest.pk),
        {
            "anonusers.Session": 1,
            "anonusers.OneTimeToken": 1,
            "anonusers.AnonymousIdentity": 1,
            "anonusers.DeviceKey": 1,
        },
        {},
        is_emptied=False,
    )
    changed = {label: before[label] - count for label, count in row_counts().items() if before[label] != count}
    counted = {label: changed.pop(label) for label in ("anonusers.DailyCount", "anonusers.Tally")}
    assert max(counted.values()) < 0, "who goes stays counted"
    assert changed == done.removed | {"anonusers.EndUser": 1, "auth.User": 1}
    assert EndUser.objects.get() == other
    assert Session.objects.get().end_user == other


def test_a_regular_user_goes_with_the_login_ids(application):
    person = promote(end_user=new_guest(application), project=application.project, proof=proof_of()).end_user
    done = erase(person)
    assert done.removed == {"anonusers.Session": 1, "anonusers.LoginID": 1, "anonusers.Promotion": 1}
    assert not LoginID.objects.exists()
    assert not User.objects.exists()


def test_what_the_host_keeps_hangs_on_a_row_that_names_nobody(application):
    person = promote(end_user=new_guest(application), project=application.project, proof=proof_of()).end_user
    comment = Comment.objects.create(author=person.user, text="I was here")
    done = erase(person)
    assert done.kept == {"example.Comment.author": 1}
    assert done.is_emptied
    row = User.objects.get()
    assert (row.email, row.first_name, row.last_name, row.is_active) == ("", "", "", False)
    assert row.username.startswith("erased-")
    assert not row.has_usable_password()
    comment.refresh_from_db()
    assert comment.author == row
    assert not EndUser.objects.exists()


def test_a_dry_run_counts_and_changes_nothing(guest):
    before = row_counts()
    assert erase(guest, dry_run=True).removed == erase(guest, dry_run=True).removed
    assert row_counts() == before
    assert erase(guest, dry_run=True) == erase(guest)


def test_whoever_is_gone_already_is_nobody(guest):
    erase(guest)
    assert erase(guest) == Erasure(str(guest.pk), {}, {}, is_emptied=False)


def test_it_is_told_once(guest):
    told = []

    def receiver(event, **kwargs):
        told.append((event.type, event.end_user.pk, event.details))

    events.user_deleted.connect(receiver)
    try:
        erase(guest)
    finally:
        events.user_deleted.disconnect(receiver)
    assert told == [("user.deleted", guest.pk, {"reason": "erasure"})]


def test_without_declarations_nothing_is_erased(guest, settings):
    settings.ANONUSERS_GUEST_DATA = {}
    before = row_counts()
    with pytest.raises(CleanupRefused, match=r"example\.Comment\.author leads to a user"):
        erase(guest)
    assert row_counts() == before


def test_where_the_host_holds_on_nothing_goes(guest, settings, monkeypatch):
    before = row_counts()
    monkeypatch.setattr(erasure, "remove", lambda *args, **kwargs: [])
    with pytest.raises(ErasureForbidden):
        erase(guest)
    assert row_counts() == before


def test_the_command_prints_a_report(guest, capsys):
    call_command("anonusers_erase", str(guest.pk), "--dry-run")
    planned = json.loads(capsys.readouterr().out)
    call_command("anonusers_erase", str(guest.pk))
    done = json.loads(capsys.readouterr().out)
    assert planned == done | {"dry_run": True}
    assert done["sub"] == str(guest.pk)
    assert done["removed"]["anonusers.Session"] == 1
    assert not OneTimeToken.objects.exists()
    assert not CleanupRun.objects.exists()


def test_the_command_knows_when_there_is_nobody(db):
    nobody = uuid.uuid4()
    with pytest.raises(CommandError, match=f"There is nobody with the sub {nobody}"):
        call_command("anonusers_erase", str(nobody))
