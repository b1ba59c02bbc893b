"""Random histories: the clean-up removes exactly those whom a plain model of the rules says it may, and no others.

The model below is written from the rules, not from the code: guests are Python objects, and time is a number of days.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

import pytest
import time_machine
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from anonusers.errors import GuestGone, UserDisabled, UserIsRegular
from anonusers.models import Application, DeviceKey, EndUser, OneTimeToken, Project, Session
from anonusers.promotion import promote, supersede
from anonusers.sessions import end_session, touch
from example.models import Comment
from tests.cleaning import DAY, NOON, changes, counts, run, set_application, set_project, snapshot
from tests.devices import Device, log_in
from tests.people import guest_session, proof_of, regular_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NEVER = 10**9


# --- the model -----------------------------------------------------------------------------------


@dataclass
class Visit:
    """A session: days of its beginning, of its last use and, where somebody ended it, of its end."""

    id: UUID
    kind: str
    began: float
    used: float
    ended: float | None = None


@dataclass
class Guest:
    sub: UUID
    came: float
    visits: list[Visit] = field(default_factory=list)
    key: str = ""
    key_used: float = -NEVER
    disabled: bool = False
    regular: bool = False
    superseded: bool = False
    comments: int = 0
    aside: float | None = None
    gone: bool = False


@dataclass
class Rules:
    lifetime: dict[str, int] = field(default_factory=lambda: {"cookie": 364, "token": 364})
    idle: dict[str, int] = field(default_factory=lambda: {"cookie": 30, "token": 30})
    retention: int = 90
    quarantine: int = 7
    history: int = 30

    def over_since(self, visit: Visit) -> float:
        """The day on which a session was or will be over, as things are now."""
        if visit.ended is not None:
            return visit.ended
        by_age = visit.began + self.lifetime[visit.kind]
        idle = self.idle[visit.kind]
        return min(by_age, visit.used + idle) if idle else by_age

    def may_go(self, guest: Guest, today: float) -> bool:
        if not self.retention or guest.regular or guest.superseded or guest.comments:
            return False
        if guest.disabled and guest.key:
            return False
        if any(visit.ended is None and self.over_since(visit) > today for visit in guest.visits):
            return False
        last = max([guest.came, *(visit.used for visit in guest.visits), guest.key_used if guest.key else -NEVER])
        return last < today - self.retention

    def old_visits(self, guest: Guest, today: float) -> list[Visit]:
        """History that nobody wants any more; the last one of a guest is kept."""

        def is_old(visit: Visit) -> bool:
            over = self.over_since(visit)
            # What was ended is over after that moment, what ran out at it.
            return over < today - self.history or (visit.ended is None and over == today - self.history)

        return [
            visit
            for visit in guest.visits
            if is_old(visit) and (guest.regular or any(other.used > visit.used for other in guest.visits))
        ]


# --- the machine ---------------------------------------------------------------------------------

which = st.integers(0, 50)
days = st.sampled_from([0, 1, 6, 7, 29, 30, 31, 89, 90, 91, 364, 400])
kinds = st.sampled_from(["cookie", "token"])


class CleanUpMachine(RuleBasedStateMachine):
    application: ClassVar[Application]
    operator: ClassVar[EndUser]
    clock: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.undo = transaction.atomic()
        self.undo.__enter__()
        self.clock.move_to(NOON, tick=False)
        for row in (self.project, self.application):
            row.refresh_from_db()
        self.rules, self.today, self.numbers = Rules(), 0.0, 0
        self.guests: list[Guest] = []

    def teardown(self) -> None:
        try:
            self.the_end()
        finally:
            transaction.set_rollback(True)
            self.undo.__exit__(None, None, None)

    @property
    def project(self) -> Project:
        return self.application.project

    # who there is

    def alive(self) -> list[Guest]:
        return [guest for guest in self.guests if not guest.gone]

    def one(self, number: int) -> Guest | None:
        alive = self.alive()
        return alive[number % len(alive)] if alive else None

    def row(self, guest: Guest) -> EndUser:
        return EndUser.objects.select_related("project", "user").get(pk=guest.sub)

    def new(self, session: Session, key: str = "") -> None:
        guest = Guest(session.end_user_id, self.today, key=key)
        if key:
            guest.key_used = self.today
        self.guests.append(guest)
        self.visit(guest, session)

    def visit(self, guest: Guest, session: Session) -> None:
        guest.visits.append(Visit(session.pk, session.kind, self.today, self.today))

    def is_closed(self, guest: Guest) -> bool:
        """Nobody is promoted twice, nor while they are disabled."""
        return guest.disabled or guest.superseded or guest.regular

    def end_of_guest(self, guest: Guest) -> None:
        """As promotion does: every session ends, and the key leads to nobody."""
        for visit in guest.visits:
            visit.ended = self.today if visit.ended is None else visit.ended
        guest.key = ""

    # what people do

    @initialize()
    def somebody_is_there(self) -> None:
        for kind in ("cookie", "token"):
            self.sign_up(kind)
        for phone in ("red", "blue", "green"):
            self.log_in_with_a_key(phone)
        self.disable(4, True)

    @rule(kind=kinds)
    def sign_up(self, kind: str) -> None:
        self.new(guest_session(self.application, kind=kind))

    @rule(number=which, session=which)
    def be_active(self, number: int, session: int) -> None:
        if (guest := self.one(number)) and guest.visits:
            visit = guest.visits[session % len(guest.visits)]
            row = Session.objects.in_full().get(pk=visit.id)
            is_live = visit.ended is None and self.rules.over_since(visit) > self.today and not guest.disabled
            assert row.is_live(timezone.now()) is is_live
            if is_live:
                touch(row)
                visit.used = self.today

    @rule(number=which, session=which)
    def log_out(self, number: int, session: int) -> None:
        if (guest := self.one(number)) and guest.visits:
            visit = guest.visits[session % len(guest.visits)]
            end_session(Session.objects.in_full().get(pk=visit.id))
            visit.ended = self.today if visit.ended is None else visit.ended

    @rule(phone=st.sampled_from(["red", "blue", "green"]))
    def log_in_with_a_key(self, phone: str) -> None:
        """A key that leads to nobody makes a guest."""
        guest = next((guest for guest in self.alive() if guest.key == phone), None)
        if guest is not None and guest.disabled:
            with pytest.raises(UserDisabled):
                log_in(self.application, Device(phone))
            return
        session = log_in(self.application, Device(phone))
        if guest is None:
            assert session.end_user_id not in {guest.sub for guest in self.guests}
            self.new(session, key=phone)
        else:
            assert session.end_user_id == guest.sub
            self.visit(guest, session)
            guest.key_used, guest.aside = self.today, None

    @rule(number=which)
    def promote(self, number: int) -> None:
        if guest := self.one(number):
            self.numbers += 1
            proof = proof_of(f"anna{self.numbers}@example.com")
            try:
                promote(end_user=self.row(guest), project=self.project, proof=proof)
            except (GuestGone, UserIsRegular):
                assert self.is_closed(guest)
            else:
                assert not self.is_closed(guest)
                guest.regular = True
                self.end_of_guest(guest)

    @rule(number=which)
    def supersede(self, number: int) -> None:
        if guest := self.one(number):
            try:
                supersede(guest=self.row(guest), by=self.operator, method="password")
            except (GuestGone, UserIsRegular):
                assert self.is_closed(guest)
            else:
                assert not self.is_closed(guest)
                guest.superseded = True
                self.end_of_guest(guest)

    @rule(number=which, disabled=st.booleans())
    def disable(self, number: int, disabled: bool) -> None:
        if guest := self.one(number):
            EndUser.objects.filter(pk=guest.sub).update(disabled_at=timezone.now() if disabled else None)
            guest.disabled = disabled

    @rule(number=which)
    def comment(self, number: int) -> None:
        if guest := self.one(number):
            Comment.objects.create(author=self.row(guest).user, text="Hello")
            guest.comments += 1

    @rule(number=which)
    def take_the_comments_back(self, number: int) -> None:
        if (guest := self.one(number)) and guest.comments:
            Comment.objects.filter(author=self.row(guest).user).delete()
            guest.comments = 0

    # what happens

    @rule(some=days)
    def time_passes(self, some: int) -> None:
        self.clock.shift(some * DAY)
        self.today += some

    @rule(kind=kinds, lifetime=st.sampled_from([1, 30, 364, 1000]), idle=st.sampled_from([0, 1, 30, 200]))
    def lifetimes_change(self, kind: str, lifetime: int, idle: int) -> None:
        self.rules.lifetime[kind], self.rules.idle[kind] = lifetime, idle
        seconds = {
            "lifetime": lifetime * 86_400,
            "idle_timeout_enabled": bool(idle),
            "idle_timeout": (idle or 1) * 86_400,
        }
        if kind == "cookie":
            set_project(self.project, **{f"session_{name}": value for name, value in seconds.items()})
        else:
            set_application(self.application, **{f"refresh_token_{name}": value for name, value in seconds.items()})

    @rule(
        retention=st.sampled_from([0, 1, 30, 90]), quarantine=st.sampled_from([0, 7]), history=st.sampled_from([0, 30])
    )
    def retention_changes(self, retention: int, quarantine: int, history: int) -> None:
        self.rules.retention, self.rules.quarantine, self.rules.history = retention, quarantine, history
        set_project(
            self.project,
            guest_inactive_days=retention,
            quarantine_days=quarantine,
            session_history_days=history,
        )

    @rule(batch=st.sampled_from([1, 3, 1000]))
    def dry_run(self, batch: int) -> None:
        before = snapshot()
        run(self.project, dry_run=True, batch=batch)
        assert changes(before) == {}

    @rule(batch=st.sampled_from([1, 3, 1000]))
    def clean_up(self, batch: int) -> None:
        found = {"removed": 0, "quarantined": 0, "released": 0}
        for guest in self.alive():
            if not self.rules.may_go(guest, self.today):
                found["released"] += guest.aside is not None
                guest.aside = None
            elif not self.rules.quarantine or (
                guest.aside is not None and guest.aside <= self.today - self.rules.quarantine
            ):
                found["removed"] += 1
                guest.gone = True
            elif guest.aside is None:
                found["quarantined"] += 1
                guest.aside = self.today
        old = {guest.sub: self.rules.old_visits(guest, self.today) for guest in self.alive()}
        for guest in self.alive():
            guest.visits = [visit for visit in guest.visits if visit not in old[guest.sub]]
        found["sessions"] = sum(map(len, old.values()))
        told = counts(run(self.project, batch=batch))
        told.pop("secrets", None)
        told.pop("keys", None)
        assert told == {name: count for name, count in found.items() if count}

    @rule(some=days)
    def clean_ups_go_on(self, some: int) -> None:
        """As a deployment does it: clean-ups again and again."""
        self.time_passes(some)
        self.clean_up(1000)
        self.time_passes(7)
        self.clean_up(3)

    # what must hold

    @invariant()
    def the_database_agrees(self) -> None:
        rows = EndUser.objects.exclude(pk=self.operator.pk).values_list("pk", "quarantined_at")
        days_of = {pk: (at - NOON) / DAY if at is not None else None for pk, at in rows}
        assert days_of == {guest.sub: guest.aside for guest in self.alive()}
        sessions = set(Session.objects.exclude(end_user=self.operator).values_list("pk", flat=True))
        assert sessions == {visit.id for guest in self.alive() for visit in guest.visits}
        keys = DeviceKey.objects.exclude(end_user=None).values_list("end_user_id", "key_id")
        assert dict(keys) == {guest.sub: f"key-of-{guest.key}" for guest in self.alive() if guest.key}

    @precondition(lambda self: len(self.guests) > 12)
    @rule()
    def the_end(self) -> None:
        """After enough time and runs, everybody is gone but those who may never go."""
        self.retention_changes(30, 7, 30)
        for kind in ("cookie", "token"):
            self.lifetimes_change(kind, 364, 30)
        self.time_passes(400)
        self.clean_up(1000)
        self.time_passes(6)
        self.clean_up(1000)
        self.time_passes(1)
        self.clean_up(1000)
        stay = {
            guest.sub
            for guest in self.guests
            if not guest.gone
            and (guest.regular or guest.superseded or guest.comments or (guest.disabled and guest.key))
        }
        assert set(EndUser.objects.exclude(pk=self.operator.pk).values_list("pk", flat=True)) == stay
        assert not EndUser.objects.exclude(quarantined_at=None).exists()


def test_random_histories(application, settings_of_limits):
    """Of sign-ups, visits, log-outs, keys, promotions, comments, changed settings, jumps of the clock and clean-ups."""
    with time_machine.travel(NOON - timedelta(days=1), tick=False) as clock:
        CleanUpMachine.application = application
        CleanUpMachine.operator = regular_user(application, "operator@example.com")
        Session.objects.all().delete()
        OneTimeToken.objects.all().delete()
        CleanUpMachine.clock = clock
        run_state_machine_as_test(
            CleanUpMachine,
            settings=settings(
                max_examples=36,
                stateful_step_count=28,
                deadline=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            ),
        )


@pytest.fixture
def settings_of_limits(settings):
    for budget in ("SIGNUP_PER_IP", "SIGNUP_PER_PROJECT", "KEY_LOGIN_PER_IP"):
        setattr(settings, f"ANONUSERS_{budget}", "off")
