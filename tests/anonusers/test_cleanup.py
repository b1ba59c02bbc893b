"""The clean-up: who goes and who stays, one rule at a time, to the second, and nothing else changes."""

import uuid
from datetime import timedelta
from operator import attrgetter

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.utils import timezone

from anonusers import cleanup, cleanup_run, device_keys, key_login, onetime, sessions
from anonusers.errors import UserDisabled
from anonusers.models import (
    ActiveDay,
    AnonymousIdentity,
    CleanupRun,
    DailyCount,
    DeviceKey,
    EndUser,
    OneTimeToken,
    Project,
    Promotion,
    Session,
)
from anonusers.promotion import promote, supersede
from example.models import Comment
from tests.cleaning import (
    DAY,
    NOON,
    SECOND,
    age,
    all_of,
    changes,
    counts,
    listening,
    many_old_guests,
    old_guest,
    run,
    set_application,
    set_project,
    snapshot,
)
from tests.conftest import make_application, make_project
from tests.devices import Device, client_of, guest_with_key, log_in, request_of
from tests.people import guest_session, new_guest, proof_of, regular_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]

User = get_user_model()
both_kinds = pytest.mark.parametrize("kind", ["cookie", "token"])


@pytest.fixture
def clock():
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


@pytest.fixture(autouse=True)
def rules(clock, application):
    """Sessions live for a day, guests are kept for thirty, and go without quarantine."""
    lifetimes(application, lifetime=DAY, idle=None)
    set_project(application.project, guest_inactive_days=30, quarantine_days=0)


def lifetimes(application, *, lifetime, idle, kinds=("cookie", "token")):
    lifetime, seconds = int(lifetime.total_seconds()), int((idle or 2 * SECOND * 60).total_seconds())
    if "cookie" in kinds:
        set_project(
            application.project,
            session_lifetime=lifetime,
            session_idle_timeout_enabled=idle is not None,
            session_idle_timeout=seconds,
        )
    if "token" in kinds:
        set_application(
            application,
            access_token_lifetime=300,
            refresh_token_lifetime=lifetime,
            refresh_token_idle_timeout_enabled=idle is not None,
            refresh_token_idle_timeout=seconds,
        )


def assert_stays(project, **options):
    before = snapshot()
    assert counts(run(project, **options)) == {}
    assert changes(before) == {}


def assert_goes(guest, **more):
    """Now, with their sessions and the host's row, and nothing else changes."""
    expected = all_of(guest) | more
    before = snapshot()
    report = run(guest.project)
    assert (counts(report), report.samples) == ({"removed": 1}, [str(guest.pk)])
    assert changes(before) == expected


def assert_goes_at(clock, guest, moment, **more):
    """At this moment, and not a second before."""
    clock.move_to(moment - SECOND, tick=False)
    assert_stays(guest.project)
    clock.move_to(moment, tick=False)
    assert_goes(guest, **more)


AFTER_30_DAYS = NOON + 30 * DAY + SECOND


# --- sessions --------------------------------------------------------------------------------------


@both_kinds
def test_a_session_keeps_its_guest_for_its_lifetime(application, clock, kind):
    """Where idling does not end it, and however long they have not been here."""
    lifetimes(application, lifetime=100 * DAY, idle=None)
    guest = guest_session(application, kind=kind).end_user
    assert_goes_at(clock, guest, NOON + 100 * DAY)


@both_kinds
def test_a_session_that_idled_out_keeps_nobody(application, clock, kind):
    lifetimes(application, lifetime=300 * DAY, idle=40 * DAY)
    session = guest_session(application, kind=kind)
    clock.shift(5 * DAY)
    sessions.touch(session)
    assert_goes_at(clock, session.end_user, NOON + 45 * DAY)


@both_kinds
def test_a_lifetime_ends_although_idling_has_not(application, clock, kind):
    lifetimes(application, lifetime=50 * DAY, idle=200 * DAY)
    guest = guest_session(application, kind=kind).end_user
    assert_goes_at(clock, guest, NOON + 50 * DAY)


@both_kinds
def test_after_the_last_session_a_guest_is_kept_for_the_retention_from_its_last_use(application, clock, kind):
    session = guest_session(application, kind=kind)
    clock.shift(DAY - SECOND)
    sessions.touch(session)
    assert_goes_at(clock, session.end_user, AFTER_30_DAYS + DAY - SECOND)


@both_kinds
def test_who_logged_out_is_kept_for_the_retention(application, clock, kind):
    lifetimes(application, lifetime=300 * DAY, idle=None)
    session = guest_session(application, kind=kind)
    sessions.end_session(session)
    assert_goes_at(clock, session.end_user, AFTER_30_DAYS)


def test_a_guest_without_a_session_is_kept_for_the_retention_from_their_sign_up(application, clock):
    guest = new_guest(application)
    Session.objects.all().delete()
    assert_goes_at(clock, guest, AFTER_30_DAYS)


def test_one_live_session_among_others_keeps_its_guest(application, clock):
    guest = new_guest(application)
    other = make_application(
        application.project,
        "other",
        refresh_token_lifetime=100 * 86_400,
        refresh_token_idle_timeout_enabled=False,
    )
    sessions.open_session(end_user=guest, project=guest.project, application=other, kind="token")
    sessions.open_session(end_user=guest, project=guest.project, application=None, kind="cookie")
    assert_goes_at(clock, guest, NOON + 100 * DAY)


def test_each_kind_and_application_has_settings_of_its_own(application, clock):
    """Long cookies keep nobody who has a token, nor the tokens of another application."""
    long = {"refresh_token_lifetime": 300 * 86_400, "refresh_token_idle_timeout_enabled": False}
    make_application(application.project, "other", **long)
    lifetimes(application, lifetime=300 * DAY, idle=None, kinds=["cookie"])
    guest = new_guest(application)
    assert_goes_at(clock, guest, AFTER_30_DAYS)


@both_kinds
def test_settings_count_as_they_are_now(application, clock, kind):
    guest = guest_session(application, kind=kind).end_user
    clock.shift(60 * DAY)
    lifetimes(application, lifetime=61 * DAY, idle=None)
    assert_stays(guest.project)
    lifetimes(application, lifetime=61 * DAY, idle=61 * DAY)
    assert_stays(guest.project)
    set_project(guest.project, guest_inactive_days=61)
    lifetimes(application, lifetime=DAY, idle=None)
    assert_stays(guest.project)
    set_project(guest.project, guest_inactive_days=59)
    lifetimes(application, lifetime=61 * DAY, idle=60 * DAY)
    assert_goes(guest)


def test_the_moment_may_be_given(application):
    guest = new_guest(application)
    assert_stays(guest.project, now=NOON + 30 * DAY)
    assert counts(run(guest.project, now=AFTER_30_DAYS)) == {"removed": 1}


# --- keys, and what keeps a guest for ever -----------------------------------------------------------


def test_a_key_keeps_its_guest_for_the_retention_from_its_last_use_and_becomes_a_tombstone(application, clock):
    session = log_in(application, Device())
    clock.shift(20 * DAY)
    guest = log_in(application, Device()).end_user
    assert guest == session.end_user
    Session.objects.all().delete()  # it is the key that counts
    OneTimeToken.objects.all().delete()
    key = DeviceKey.objects.get()
    moment = AFTER_30_DAYS + 20 * DAY
    assert_goes_at(
        clock, guest, moment, **{"anonusers.DeviceKey": {key.pk: {"end_user_id": None, "retired_at": moment}}}
    )
    # The device does not lose its way: it is a new guest.
    OneTimeToken.objects.all().delete()
    again = log_in(application, Device()).end_user
    assert again.pk != guest.pk
    assert DeviceKey.objects.get().end_user == again


def test_retention_0_keeps_every_guest_with_or_without_a_key_for_ever(application, clock):
    set_project(application.project, guest_inactive_days=0)
    guest, _ = new_guest(application), guest_with_key(application, Device())
    OneTimeToken.objects.all().delete()
    EndUser.objects.filter(pk=guest.pk).update(quarantined_at=NOON)
    clock.shift(9000 * DAY)
    before = snapshot()
    assert counts(run(application.project)) == {"released": 1}
    assert changes(before) == {"anonusers.EndUser": {guest.pk: {"quarantined_at": None}}}


def test_a_regular_user_never_goes(application, clock):
    user = regular_user(application)
    Session.objects.all().delete()
    OneTimeToken.objects.all().delete()
    clock.shift(9000 * DAY)
    assert_stays(user.project)


def test_a_regular_user_who_lost_the_record_of_the_promotion_never_goes(application, clock):
    """It is the identity that makes a guest."""
    guest = new_guest(application)
    Session.objects.all().delete()
    AnonymousIdentity.objects.all().delete()
    clock.shift(9000 * DAY)
    assert_stays(guest.project)


def test_a_superseded_guest_never_goes(application, clock):
    user, guest = regular_user(application), new_guest(application)
    supersede(guest=guest, by=user, method="password")
    Session.objects.exclude(end_user=guest).delete()
    OneTimeToken.objects.all().delete()
    clock.shift(9000 * DAY)
    assert_stays(guest.project)


def test_users_of_the_host_never_go(application, clock):
    User.objects.create_user("staff", is_staff=True)
    User.objects.create_user("nobody", is_active=False)
    clock.shift(9000 * DAY)
    assert_stays(application.project)


def test_a_disabled_guest_goes_as_others_do(application, clock):
    guest = new_guest(application)
    EndUser.objects.update(disabled_at=NOON)
    assert_goes_at(clock, guest, AFTER_30_DAYS)


def test_a_session_that_sleeps_keeps_its_disabled_guest(application, clock):
    lifetimes(application, lifetime=100 * DAY, idle=None)
    guest = new_guest(application)
    EndUser.objects.update(disabled_at=NOON)
    assert_goes_at(clock, guest, NOON + 100 * DAY)


@pytest.mark.parametrize("by", ["us", "the host"])
def test_a_disabled_guest_with_a_key_stays_disabled_for_ever(application, clock, by):
    """Without the row, the key would make a new guest."""
    guest = guest_with_key(application, Device())
    rows = EndUser.objects if by == "us" else type(guest.user).objects
    disabled = {"disabled_at": NOON} if by == "us" else {"is_active": False}
    enabled = {"disabled_at": None} if by == "us" else {"is_active": True}
    rows.update(**disabled)
    Session.objects.all().delete()
    OneTimeToken.objects.all().delete()
    clock.shift(9000 * DAY)
    assert_stays(guest.project)
    with pytest.raises(UserDisabled):
        log_in(application, Device())
    OneTimeToken.objects.all().delete()
    rows.update(**enabled)
    retired = {"end_user_id": None, "retired_at": NOON + 9000 * DAY}
    assert_goes(guest, **{"anonusers.DeviceKey": {DeviceKey.objects.get().pk: retired}})


def test_a_comment_that_is_kept_keeps_its_author(application, clock):
    author, other = old_guest(application), old_guest(application)
    comment = Comment.objects.create(author=author.user, text="Hello")
    assert_goes(other)
    assert_stays(author.project)
    comment.delete()
    assert_goes(author)


def test_who_was_superseded_by_somebody_who_goes_keeps_the_record(application, clock):
    """An operator may have taken the promotion back: the record must not hold the other one."""
    guest, other = new_guest(application), old_guest(application)
    record = Promotion.objects.create(end_user=guest, outcome="superseded", superseded_by=other, method="password")
    lifetimes(application, lifetime=100 * DAY, idle=None)
    assert_goes(other, **{"anonusers.Promotion": {record.pk: {"superseded_by_id": None}}})


# --- quarantine ----------------------------------------------------------------------------------


def set_aside(guest):
    before = snapshot()
    moment = timezone.now()
    assert counts(run(guest.project)) == {"quarantined": 1}
    assert changes(before) == {"anonusers.EndUser": {guest.pk: {"quarantined_at": moment}}}


def test_a_guest_is_set_aside_first_and_removed_when_the_days_are_over(application, clock):
    set_project(application.project, quarantine_days=7)
    guest = new_guest(application)
    clock.move_to(AFTER_30_DAYS - SECOND, tick=False)
    assert_stays(guest.project)
    clock.move_to(AFTER_30_DAYS, tick=False)
    set_aside(guest)
    assert_stays(guest.project)
    assert_goes_at(clock, guest, AFTER_30_DAYS + 7 * DAY)


@pytest.mark.parametrize("days", [0, 1, 6])
def test_a_shorter_quarantine_counts_at_once(application, clock, days):
    set_project(application.project, quarantine_days=7)
    guest = old_guest(application)
    set_aside(guest)
    set_project(application.project, quarantine_days=days)
    if days:
        assert_goes_at(clock, guest, NOON + days * DAY)
    else:
        assert_goes(guest)


def test_quarantine_takes_nothing_from_a_guest_and_a_key_log_in_ends_it_at_once(application, clock):
    set_project(application.project, quarantine_days=7)
    guest = guest_with_key(application, Device())
    clock.shift(31 * DAY)
    OneTimeToken.objects.all().delete()
    set_aside(guest)
    clock.shift(8 * DAY)
    request = request_of(Device(), application.project)
    challenge = OneTimeToken.objects.get()
    key = DeviceKey.objects.get()
    before = snapshot()
    signed_up = key_login.log_in_with_key(client_of(application), signed_request=request)
    assert (signed_up.created, signed_up.session.end_user) == (False, guest)
    now = NOON + 39 * DAY
    assert changes(before) == {
        "anonusers.ActiveDay": {ActiveDay.objects.get().pk: "new"},
        "anonusers.EndUser": {guest.pk: {"quarantined_at": None, "returned_at": now}},
        "anonusers.DeviceKey": {key.pk: {"last_used_at": now}},
        "anonusers.OneTimeToken": {challenge.pk: {"used_at": now}},
        "anonusers.Session": {signed_up.session.pk: "new"},
    }
    OneTimeToken.objects.all().delete()
    set_project(application.project, session_history_days=3650)
    assert_stays(guest.project)


def test_a_disabled_guest_who_knocks_stays_in_quarantine(application, clock):
    set_project(application.project, quarantine_days=7)
    guest = guest_with_key(application, Device())
    EndUser.objects.update(disabled_at=NOON, quarantined_at=NOON)
    clock.shift(31 * DAY)
    request = request_of(Device(), application.project)
    before = snapshot()
    with pytest.raises(UserDisabled):
        key_login.log_in_with_key(client_of(application), signed_request=request)
    assert changes(before) == {}
    assert guest.pk == EndUser.objects.get(quarantined_at=NOON).pk


def test_recovery_on_a_new_device_brings_a_guest_back(application, clock):
    set_project(application.project, quarantine_days=7, session_history_days=3650)
    session = guest_session(application)
    code = device_keys.issue_recovery_code(session=session).code
    clock.shift(31 * DAY)
    assert counts(run(application.project)) == {"quarantined": 1}
    clock.shift(8 * DAY)
    request = request_of(Device(), application.project, "recover")
    signed_up = key_login.recover(client_of(application), host="localhost", recovery_code=code, signed_request=request)
    assert signed_up.session.end_user == session.end_user
    assert counts(run(application.project)) in ({}, {"released": 1})
    assert EndUser.objects.get().quarantined_at is None


@pytest.mark.parametrize(
    "change",
    [
        lambda application: lifetimes(application, lifetime=60 * DAY, idle=None),
        lambda application: set_project(application.project, guest_inactive_days=60),
        lambda application: set_project(application.project, guest_inactive_days=0),
        lambda application: Comment.objects.create(author=EndUser.objects.get().user, text="Hello"),
    ],
    ids=["longer lifetime", "longer retention", "no retention", "something to keep"],
)
def test_who_is_reachable_again_leaves_quarantine_with_the_next_run(application, clock, change):
    set_project(application.project, quarantine_days=7)
    guest = new_guest(application)
    clock.shift(31 * DAY)
    set_aside(guest)
    clock.shift(8 * DAY)
    change(application)
    before = snapshot()
    assert counts(run(guest.project)) == {"released": 1}
    assert changes(before) == {"anonusers.EndUser": {guest.pk: {"quarantined_at": None}}}


def test_who_was_promoted_out_of_quarantine_is_released(application, clock):
    set_project(application.project, quarantine_days=7, session_history_days=3650)
    guest = new_guest(application)
    clock.shift(31 * DAY)
    set_aside(guest)
    promote(end_user=guest, project=guest.project, proof=proof_of())
    clock.shift(8 * DAY)
    assert counts(run(guest.project)) == {"released": 1}
    assert_stays(guest.project)
    assert not EndUser.objects.get().is_guest


def test_an_operator_takes_a_guest_out_and_their_days_begin_anew(application, clock):
    set_project(application.project, quarantine_days=7)
    guest, other = old_guest(application), old_guest(application)
    assert counts(run(guest.project)) == {"quarantined": 2}
    clock.shift(7 * DAY)
    before = snapshot()
    call_command("anonusers_cleanup", restore=str(guest.pk))
    assert changes(before) == {"anonusers.EndUser": {guest.pk: {"quarantined_at": None}}}
    assert counts(run(guest.project)) == {"removed": 1, "quarantined": 1}
    assert EndUser.objects.get().quarantined_at == NOON + 7 * DAY
    assert not EndUser.objects.filter(pk=other.pk).exists()
    assert_goes_at(clock, guest, NOON + 14 * DAY)


# --- how many at a time --------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2, 3, 1000])
def test_batches_of_any_size_come_to_the_same(application, batch):
    old = [old_guest(application) for _ in range(5)]
    new_guest(application)
    expected, before = all_of(*old), snapshot()
    report = run(application.project, batch=batch)
    assert counts(report) == {"removed": 5}
    assert sorted(report.samples) == sorted(str(guest.pk) for guest in old)
    assert changes(before) == expected


@pytest.mark.parametrize("batch", [1, 2, 1000])
@pytest.mark.parametrize(("per_run", "limit", "first"), [(2, None, 2), (100, 2, 2), (2, 4, 2), (100, 5, 5), (3, 1, 1)])
def test_no_run_removes_more_than_it_may_and_the_next_goes_on(application, batch, per_run, limit, first):
    old = [old_guest(application) for _ in range(5)]
    set_project(application.project, removals_per_run=per_run)
    report = run(application.project, limit=limit, batch=batch)
    assert (counts(report), report.state) == ({"removed": first}, "finished")
    assert EndUser.objects.count() == 5 - first
    for _ in range(5):
        run(application.project, limit=limit, batch=batch)
    assert (EndUser.objects.count(), User.objects.count()) == (0, 0), old


def test_nor_does_it_set_more_aside(application):
    set_project(application.project, removals_per_run=2, quarantine_days=7)
    for _ in range(5):
        old_guest(application)
    assert [counts(run(application.project, batch=3)) for _ in range(4)] == [
        {"quarantined": 2},
        {"quarantined": 2},
        {"quarantined": 1},
        {},
    ]


def test_ten_samples_are_enough(application):
    many_old_guests(application.project, 12)
    report = run(application.project, batch=5, confirmed=True)
    assert (counts(report), len(report.samples)) == ({"removed": 12}, 10)


def test_an_unusual_share_stops_until_somebody_has_confirmed_it(application, monkeypatch, caplog):
    monkeypatch.setattr(cleanup, "FEW", 2)
    old = [old_guest(application) for _ in range(3)]
    new_guest(application), new_guest(application)
    onetime.issue("password_reset", project=application.project)
    OneTimeToken.objects.update(expires_at=NOON - 2 * DAY)
    secret = OneTimeToken.objects.get()
    before = snapshot()
    report = run(application.project)
    reason = "3 of 5 guests would go, more than 50 % of them. Look at a dry run, then confirm it."
    assert (report.state, report.reason, counts(report)) == ("stopped", reason, {"secrets": 1})
    assert changes(before) == {"anonusers.OneTimeToken": {secret.pk: "gone"}}
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", f"clean-up of guestbook: {reason}")
    ]
    assert CleanupRun.objects.values_list("state", "reason").get() == ("stopped", reason)
    assert CleanupRun.objects.get().report["unusual"] == {"many": 3, "everybody": 5, "percent": 50}
    expected, before = all_of(*old), snapshot()
    report = run(application.project, confirmed=True)
    assert (report.state, report.reason, counts(report)) == ("finished", "", {"removed": 3})
    assert changes(before) == expected


@pytest.mark.parametrize(
    ("few", "percent", "state"),
    [(2, 59, "stopped"), (2, 60, "finished"), (3, 1, "finished"), (2, 100, "finished")],
    ids=["more", "not more", "few", "all"],
)
def test_what_is_unusual_is_the_projects_to_say(application, monkeypatch, few, percent, state):
    """Three of five are 60 %. Regular users are nobody who might go."""
    monkeypatch.setattr(cleanup, "FEW", few)
    set_project(application.project, removals_percent=percent)
    regular_user(application)
    for _ in range(3):
        old_guest(application)
    new_guest(application), new_guest(application)
    for dry_run in (True, False):
        assert run(application.project, dry_run=dry_run, batch=2).state == state
    assert EndUser.objects.count() == (6 if state == "stopped" else 3)


def test_a_projects_run_touches_no_other_project(application, clock):
    other = make_project("other", "other.example.com", guest_inactive_days=0)
    elsewhere = make_application(other)
    theirs = [old_guest(elsewhere), old_guest(elsewhere, kind="cookie")]
    guest_with_key(elsewhere, Device("retired"))
    DeviceKey.objects.update(end_user=None, retired_at=NOON - 800 * DAY, last_used_at=NOON - 800 * DAY)
    OneTimeToken.objects.update(expires_at=NOON - 800 * DAY)
    EndUser.objects.filter(pk=theirs[0].pk).update(quarantined_at=NOON)
    Session.objects.filter(end_user=theirs[1]).update(ended_at=NOON - 800 * DAY)
    sessions.open_session(end_user=theirs[1], project=other, application=elsewhere, kind="token")
    mine = old_guest(application)
    assert_goes(mine)
    assert CleanupRun.objects.get().project == application.project


# --- what is left of sessions, secrets and keys ---------------------------------------------------


def goes_alone(clock, project, row, moment, name):
    """This row goes at this moment and not a second before, and nothing else changes."""
    clock.move_to(moment - SECOND, tick=False)
    assert_stays(project)
    clock.move_to(moment, tick=False)
    before = snapshot()
    assert counts(run(project)) == {name: 1}
    assert changes(before) == {type(row)._meta.label: {row.pk: "gone"}}
    assert_stays(project)


@both_kinds
def test_the_history_of_sessions_is_kept_for_its_days_and_the_last_one_stays(application, clock, kind):
    set_project(application.project, session_history_days=10, guest_inactive_days=3650)
    lifetimes(application, lifetime=3 * DAY, idle=None)
    first = guest_session(application, kind=kind)
    clock.shift(2 * DAY)
    sessions.open_session(end_user=first.end_user, project=first.project, application=application, kind=kind)
    # It is over after three days; its history is, ten days later.
    goes_alone(clock, first.project, first, NOON + 13 * DAY, "sessions")
    clock.shift(3000 * DAY)
    ActiveDay.objects.all().delete()  # it goes after 400 days, by a policy of its own
    assert_stays(first.project)
    assert Session.objects.count() == 1


def test_of_a_session_that_was_ended_it_is_the_end_that_counts(application, clock):
    set_project(application.project, session_history_days=10)
    lifetimes(application, lifetime=100 * DAY, idle=None)
    first = guest_session(application)
    clock.shift(DAY)
    sessions.open_session(end_user=first.end_user, project=first.project, application=application, kind="token")
    clock.shift(DAY)
    sessions.end_session(first)
    goes_alone(clock, first.project, first, NOON + 12 * DAY + SECOND, "sessions")


def test_a_regular_users_last_session_goes_too(application, clock):
    set_project(application.project, session_history_days=10)
    user = regular_user(application)
    Session.objects.all().delete()
    OneTimeToken.objects.all().delete()
    session, _ = sessions.open_session(end_user=user, project=user.project, application=application, kind="token")
    goes_alone(clock, user.project, session, NOON + 11 * DAY, "sessions")


def test_without_history_sessions_go_when_they_are_over_and_no_live_one_ever_does(application, clock):
    set_project(application.project, session_history_days=0)
    lifetimes(application, lifetime=100 * DAY, idle=5 * DAY)
    first = guest_session(application)
    clock.shift(DAY)
    second, _ = sessions.open_session(
        end_user=first.end_user, project=first.project, application=application, kind="token"
    )
    goes_alone(clock, first.project, first, NOON + 5 * DAY, "sessions")
    clock.move_to(second.created_at + 5 * DAY - SECOND, tick=False)
    assert second.is_live(timezone.now())
    assert_stays(first.project)


@pytest.mark.parametrize("is_used", [False, True], ids=["unused", "used"])
@pytest.mark.parametrize("purpose", sorted(OneTimeToken.Purpose.values))
def test_expired_secrets_of_every_purpose_go_after_a_day(application, clock, purpose, is_used):
    guest = new_guest(application)
    secret = OneTimeToken.objects.create(
        project=application.project,
        purpose=purpose,
        token_hash="0" * 64,
        end_user=guest,
        expires_at=NOON,
        used_at=NOON if is_used else None,
    )
    goes_alone(clock, application.project, secret, NOON + DAY + SECOND, "secrets")


def test_of_ten_thousand_challenges_that_nobody_answered_none_is_left(application, clock):
    """C5: a flood of them fills the store for a day, not for ever."""
    device_keys.issue_challenge(application.project)
    one = OneTimeToken.objects.get()
    assert one.expires_at == NOON + timedelta(minutes=5)
    OneTimeToken.objects.bulk_create(
        (
            OneTimeToken(
                project=one.project, purpose=one.purpose, token_hash=f"{number:064}", expires_at=one.expires_at
            )
            for number in range(9_999)
        ),
        batch_size=1000,
    )
    clock.move_to(one.expires_at + DAY, tick=False)
    assert_stays(application.project)
    clock.shift(SECOND)
    assert counts(run(application.project)) == {"secrets": 10_000}
    assert OneTimeToken.objects.count() == 0


@pytest.mark.parametrize("how", ["retired", "revoked", "left by a cascade"])
def test_tombstones_go_after_their_days(application, clock, how):
    set_project(application.project, retired_key_days=100)
    guest = guest_with_key(application, Device())
    used = guest_with_key(application, Device("used"))
    set_project(application.project, guest_inactive_days=3650)
    OneTimeToken.objects.all().delete()
    clock.shift(DAY)
    key = DeviceKey.objects.get(end_user=guest)
    if how == "retired":
        DeviceKey.objects.filter(pk=key.pk).update(end_user=None, retired_at=NOON + DAY)
    elif how == "revoked":
        device_keys.remove_key(end_user=guest, key_id=key.key_id)
    else:
        EndUser.objects.filter(pk=guest.pk).delete()  # on_delete=SET_NULL: nobody says when
    moment = NOON + 100 * DAY + SECOND + (DAY if how != "left by a cascade" else 0 * DAY)
    goes_alone(clock, application.project, key, moment, "keys")
    assert DeviceKey.objects.get().end_user == used


def test_tombstones_may_be_kept_for_ever(application, clock):
    set_project(application.project, retired_key_days=0, guest_inactive_days=0)
    guest_with_key(application, Device())
    OneTimeToken.objects.all().delete()
    DeviceKey.objects.update(end_user=None, retired_at=NOON)
    clock.shift(9000 * DAY)
    assert_stays(application.project)


# --- what is told, and what is written down --------------------------------------------------------


def test_the_host_is_told_who_was_set_aside_and_who_was_removed(application, clock, django_capture_on_commit_callbacks):
    set_project(application.project, quarantine_days=7)
    old = {old_guest(application).pk for _ in range(3)}
    new_guest(application)
    with listening("user.expired", "user.deleted") as heard:
        for days, types in ((0, "user.expired"), (1, None), (7, "user.deleted")):
            clock.move_to(NOON + days * DAY, tick=False)
            with django_capture_on_commit_callbacks(execute=True):
                run(application.project, batch=2)
            expected = {(types, pk) for pk in old} if types else set()
            assert {(type, pk) for type, pk, _ in heard} == expected
            assert len(heard) == len(expected)
            assert {str(details) for _, _, details in heard} <= {"{}", "{'reason': 'cleanup'}"}
            assert all(details == {"reason": "cleanup"} for type, _, details in heard if type == "user.deleted")
            heard.clear()


def test_where_nobody_listens_no_event_is_made(application, monkeypatch):
    old_guest(application), old_guest(application)
    monkeypatch.setattr(cleanup.events, "Event", None)
    set_project(application.project, quarantine_days=7)
    assert counts(run(application.project)) == {"quarantined": 2}
    set_project(application.project, quarantine_days=0)
    assert counts(run(application.project)) == {"removed": 2}


def test_a_run_leaves_a_record(application, clock):
    guest = old_guest(application)
    report = run(application.project)
    row = CleanupRun.objects.get()
    assert (row.project, row.state, row.reason) == (application.project, "finished", "")
    assert (row.started_at, row.seen_at, row.finished_at) == (NOON, NOON, NOON)
    assert row.report["counts"] == report.counts == {name: report.counts[name] for name in sorted(report.counts)}
    assert row.report["samples"] == report.samples == [str(guest.pk)]
    assert (report.project, report.is_dry_run, report.state, report.reason) == ("guestbook", False, "finished", "")


class Broken(Exception):
    pass


def test_a_run_that_an_error_stopped_says_so_and_keeps_what_it_did(application, monkeypatch):
    old = [old_guest(application) for _ in range(4)]
    removed, calls = cleanup.remove, []

    def breaks(people, *args, **options):
        calls.append(people)
        gone = removed(people, *args, **options)
        if len(calls) == 2:
            raise Broken
        return gone

    monkeypatch.setattr(cleanup, "remove", breaks)
    before = snapshot()
    first = _first_in_line(old)
    with pytest.raises(Broken):
        run(application.project, batch=2)
    row = CleanupRun.objects.get()
    assert (row.state, row.reason) == ("interrupted", "an error stopped it, see the log")
    assert row.finished_at == NOON
    assert row.report["counts"]["removed"] == 2
    gone = [pk for pk, what in changes(before)["anonusers.EndUser"].items() if what == "gone"]
    assert len(gone) == 2
    assert first is None or set(gone) == set(first)
    monkeypatch.undo()
    assert counts(run(application.project, batch=2)) == {"removed": 2}
    assert list(CleanupRun.objects.order_by("pk").values_list("state", flat=True)) == ["interrupted", "finished"]


def _first_in_line(guests):
    """The two whom a run comes to first: on PostgreSQL those who came first. MariaDB orders UUIDs by their parts."""
    from django.db import connection

    by = {"postgresql": "user_id", "sqlite": "pk"}.get(connection.vendor)
    return [guest.pk for guest in sorted(guests, key=attrgetter(by))[:2]] if by else None


def test_a_run_that_was_killed_is_marked_by_a_later_one(application, clock):
    dead = CleanupRun.objects.create(project=application.project, started_at=NOON, seen_at=NOON)
    other = CleanupRun.objects.create(project=make_project("other", "other"), started_at=NOON, seen_at=NOON)
    clock.shift(timedelta(minutes=10))
    run(application.project)
    dead.refresh_from_db()
    assert (dead.state, dead.reason) == ("running", "")
    clock.shift(SECOND)
    run(application.project)
    dead.refresh_from_db()
    assert (dead.state, dead.reason) == ("interrupted", "it was killed, or its machine went away")
    other.refresh_from_db()
    assert other.state == "running"
    assert CleanupRun.objects.filter(state="finished").count() == 2


def test_a_long_run_is_heard_of_between_its_batches(application, clock, monkeypatch):
    for _ in range(3):
        old_guest(application)
    seen = []

    def sleep(_seconds):
        row = CleanupRun.objects.get()
        assert row.state == "running"
        seen.append((row.seen_at, row.report["counts"].get("removed", 0)))
        clock.shift(timedelta(minutes=9))

    monkeypatch.setattr(cleanup_run.time, "sleep", sleep)
    run(application.project, batch=1, pause=0.01)
    assert [removed for _, removed in seen[:3]] == [1, 2, 3]
    assert [at for at, _ in seen[:3]] == [NOON, NOON + timedelta(minutes=9), NOON + timedelta(minutes=18)]


def test_records_are_kept_for_a_year(application, clock):
    run(application.project)
    clock.shift(365 * DAY)
    run(application.project)
    assert CleanupRun.objects.count() == 2
    clock.shift(SECOND)
    run(application.project)
    assert list(CleanupRun.objects.order_by("pk").values_list("started_at", flat=True)) == [
        NOON + 365 * DAY,
        NOON + 365 * DAY + SECOND,
    ]


# --- dry runs ------------------------------------------------------------------------------------


def a_bit_of_everything(application):
    """Seven guests: two are due, two fresh, one comes back from quarantine, one is held, one is here."""
    project = application.project
    set_project(project, quarantine_days=7, session_history_days=30, retired_key_days=730)
    due = [old_guest(application), old_guest(application, kind="cookie")]
    old_guest(application), old_guest(application)
    here, back, held = new_guest(application), new_guest(application), old_guest(application)
    Comment.objects.create(author=held.user, text="Hello")
    EndUser.objects.filter(pk__in=[guest.pk for guest in (*due, back)]).update(quarantined_at=NOON - 7 * DAY)
    session, _ = sessions.open_session(end_user=here, project=project, application=application, kind="token")
    Session.objects.filter(pk=session.pk).update(ended_at=NOON - 31 * DAY, last_used_at=NOON - 32 * DAY)
    guest_with_key(application, Device())
    DeviceKey.objects.update(end_user=None, retired_at=NOON - 731 * DAY)
    OneTimeToken.objects.update(expires_at=NOON - 2 * DAY)
    return due


EVERYTHING = {"removed": 2, "quarantined": 2, "released": 1, "sessions": 1, "secrets": 1, "keys": 1}


@pytest.mark.parametrize("batch", [1, 2, 1000])
def test_a_dry_run_changes_nothing_and_tells_what_a_run_does_then(application, batch):
    due = a_bit_of_everything(application)
    before = snapshot()
    told = run(application.project, dry_run=True, batch=batch)
    assert changes(before) == {}
    assert CleanupRun.objects.count() == 0
    done = run(application.project, batch=batch)
    assert counts(told) == counts(done) == EVERYTHING
    assert told.samples == done.samples
    assert sorted(told.samples) == sorted(str(guest.pk) for guest in due)
    assert (told.is_dry_run, done.is_dry_run) == (True, False)
    assert counts(run(application.project, batch=batch)) == {}


def test_a_dry_run_knows_the_limit(application):
    for _ in range(4):
        old_guest(application)
    told = run(application.project, dry_run=True, limit=3)
    done = run(application.project, limit=3)
    assert counts(told) == counts(done) == {"removed": 3}
    assert told.samples == done.samples


def test_what_goes_with_a_guest_is_not_counted_twice_by_a_dry_run(application):
    """Old sessions and secrets of a guest who goes."""
    guest = old_guest(application)
    sessions.open_session(end_user=guest, project=guest.project, application=application, kind="token")
    age(700, guest)
    onetime.issue("recovery_code", project=guest.project, end_user=guest)
    OneTimeToken.objects.update(expires_at=NOON - 2 * DAY)
    told = run(guest.project, dry_run=True)
    done = run(guest.project)
    assert counts(told) == counts(done)


def test_a_dry_run_of_an_unusual_share_says_so(application, monkeypatch):
    monkeypatch.setattr(cleanup, "FEW", 0)
    old_guest(application)
    before = snapshot()
    report = run(application.project, dry_run=True)
    assert (report.state, counts(report)) == ("stopped", {"removed": 1})
    assert report.reason.startswith("1 of 1 guests would go, more than 50 %")
    assert (changes(before), CleanupRun.objects.count()) == ({}, 0)


# --- an empty house ------------------------------------------------------------------------------


def test_nothing_to_do_is_no_error(project):
    report = run(project)
    assert (counts(report), report.samples, report.state) == ({}, [], "finished")
    assert Project.objects.count() == 1
    assert report.seconds >= 0


def test_an_id_is_never_given_again(application):
    guest = old_guest(application)
    run(application.project)
    assert isinstance(guest.pk, uuid.UUID)
    assert new_guest(application).pk != guest.pk


# --- what was counted per day -----------------------------------------------------------------------


def test_days_somebody_was_here_go_after_400_days_and_the_counts_stay(application, clock):
    project = application.project
    guest = new_guest(application)
    day = NOON.date()
    for days in (399, 400, 401, 900):
        ActiveDay.objects.create(project=project, day=day - days * DAY, end_user_id=guest.pk, was_guest=True)
    other = make_application(make_project("other", "other.example.com"), "other").project
    ActiveDay.objects.create(project=other, day=day - 900 * DAY, end_user_id=guest.pk, was_guest=True)
    DailyCount.objects.create(project=project, day=day - 900 * DAY, name="created", count=7)
    assert counts(run(project, dry_run=True)) == {"days": 2}
    assert counts(run(project, batch=1)) == {"days": 2}
    left = ActiveDay.objects.filter(project=project).values_list("day", flat=True)
    assert sorted((day - one).days for one in left) == [399, 400]
    assert ActiveDay.objects.filter(project=other).count() == 1
    assert DailyCount.objects.get(day=day - 900 * DAY).count == 7


def test_whom_a_clean_up_removes_stays_counted(application, clock):
    old_guest(application, days=800)
    assert counts(run(application.project))["removed"] == 1
    born = (NOON - 800 * DAY).date()
    assert DailyCount.objects.filter(name="created", day=born).get().count == 1
