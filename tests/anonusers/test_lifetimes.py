"""Lifetimes: to the second, from the settings of the moment."""

from datetime import UTC, datetime

import pytest
import time_machine
from django.utils import timezone

from anonusers import sessions, signup
from anonusers.errors import InvalidToken
from anonusers.models import Application, EndUser, Project, Session
from anonusers.refresh import refresh_session
from anonusers.tokens import Issuer
from tests.conftest import ORIGIN

pytestmark = [pytest.mark.django_db, pytest.mark.database]
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ISSUER = Issuer(ORIGIN, lambda info: {})


@pytest.fixture
def clock():
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


def open_by(application, kind):
    """How to ask for the session of a new guest: a function that finds it or raises InvalidToken."""
    signed_up = signup.sign_up(project=application.project, application=application, kind=kind)
    value = str(signed_up.secret)
    if kind == Session.Kind.COOKIE:
        return lambda: sessions.find_by_cookie(host="localhost", value=value)
    return lambda: sessions.find_by_refresh_token(host="localhost", client_id="web", refresh_token=value)


def set_lifetimes(application, kind, lifetime, idle):
    if kind == Session.Kind.COOKIE:
        Project.objects.update(
            session_lifetime=lifetime,
            session_idle_timeout_enabled=idle is not None,
            session_idle_timeout=idle or 2_592_000,
        )
    else:
        Application.objects.update(
            access_token_lifetime=300,
            refresh_token_lifetime=lifetime,
            refresh_token_idle_timeout_enabled=idle is not None,
            refresh_token_idle_timeout=idle or 2_592_000,
        )


both_kinds = pytest.mark.parametrize("kind", ["cookie", "token"])


@both_kinds
def test_the_absolute_limit_holds_to_the_second_however_active_the_user_is(application, clock, kind):
    set_lifetimes(application, kind, lifetime=3600, idle=None)
    find = open_by(application, kind)
    for _ in range(59):
        clock.shift(60)
        find()
    clock.shift(59)
    find()
    clock.shift(1)
    with pytest.raises(InvalidToken):
        find()


@both_kinds
def test_the_idle_limit_holds_to_the_second_after_the_last_use(application, clock, kind):
    set_lifetimes(application, kind, lifetime=86400, idle=3600)
    find = open_by(application, kind)
    clock.shift(3599)
    find()
    clock.shift(3599)
    find()
    clock.shift(3600)
    with pytest.raises(InvalidToken):
        find()


@both_kinds
@pytest.mark.parametrize(("lifetime", "idle"), [(600, 86400), (86400, 600)])
def test_a_shorter_setting_ends_sessions_at_the_next_request_and_a_longer_one_wakes_them(
    application, clock, kind, lifetime, idle
):
    set_lifetimes(application, kind, lifetime=86400, idle=86400)
    find = open_by(application, kind)
    clock.shift(700)
    set_lifetimes(application, kind, lifetime=lifetime, idle=idle)
    with pytest.raises(InvalidToken):
        find()
    set_lifetimes(application, kind, lifetime=86400, idle=86400)
    find()


def test_the_two_kinds_follow_their_own_settings(application, clock):
    cookie, token = open_by(application, "cookie"), open_by(application, "token")
    set_lifetimes(application, "cookie", lifetime=60, idle=None)
    clock.shift(60)
    with pytest.raises(InvalidToken):
        cookie()
    token()


def test_last_use_is_written_at_most_once_a_minute(application, clock, django_assert_num_queries):
    find = open_by(application, "cookie")
    for seconds, statements in ((1, 1), (58, 1), (1, 2), (59, 1), (1, 2)):
        clock.shift(seconds)
        with django_assert_num_queries(statements):
            find()
    assert Session.objects.get().last_used_at == timezone.now()


def test_a_short_idle_timeout_does_not_log_an_active_user_out(application, clock):
    set_lifetimes(application, "cookie", lifetime=86400, idle=60)
    find = open_by(application, "cookie")
    for _ in range(10):
        clock.shift(50)
        find()
    clock.shift(60)
    with pytest.raises(InvalidToken):
        find()


@both_kinds
def test_a_disabled_user_sleeps_and_wakes(application, kind):
    find = open_by(application, kind)
    for disable, enable in (
        (lambda: EndUser.objects.update(disabled_at=timezone.now()), lambda: EndUser.objects.update(disabled_at=None)),
        (lambda: host_user().update(is_active=False), lambda: host_user().update(is_active=True)),
    ):
        disable()
        with pytest.raises(InvalidToken):
            find()
        enable()
        find()


def host_user():
    from django.contrib.auth import get_user_model

    return get_user_model().objects.all()


def test_no_access_token_outlives_its_session(application, clock):
    set_lifetimes(application, "token", lifetime=2000, idle=None)
    signed_up = signup.sign_up(project=application.project, application=application, kind="token")
    refresh = {"host": "localhost", "client_id": "web", "issuer": ISSUER}
    Application.objects.update(access_token_lifetime=1500)
    clock.shift(1000)
    tokens = refresh_session(refresh_token=str(signed_up.secret), **refresh)
    assert tokens.expires_in == 1000


def test_refreshing_does_not_extend_the_absolute_limit(application, clock):
    set_lifetimes(application, "token", lifetime=2000, idle=None)
    signed_up = signup.sign_up(project=application.project, application=application, kind="token")
    refresh = {"host": "localhost", "client_id": "web", "issuer": ISSUER}
    clock.shift(1999)
    tokens = refresh_session(refresh_token=str(signed_up.secret), **refresh)
    clock.shift(1)
    with pytest.raises(InvalidToken):
        refresh_session(refresh_token=tokens.refresh_token, **refresh)


def test_a_clock_that_jumps_back_wakes_nothing(application, clock):
    signed_up = signup.sign_up(project=application.project, application=application, kind="token")
    sessions.end_session(signed_up.session)
    clock.shift(-600)
    with pytest.raises(InvalidToken):
        sessions.find_by_refresh_token(host="localhost", client_id="web", refresh_token=str(signed_up.secret))


# --- rotation ---------------------------------------------------------------------------


class Client:
    def __init__(self, application):
        self.tokens = [str(signup.sign_up(project=application.project, application=application, kind="token").secret)]

    def refresh(self, token=None):
        new = refresh_session(
            host="localhost", client_id="web", issuer=ISSUER, refresh_token=token or self.tokens[-1]
        ).refresh_token
        if new and new not in self.tokens:
            self.tokens.append(new)
        return new


@pytest.mark.spec("RFC 9700", "4.14.2")
def test_the_parent_leads_to_the_same_successor_for_30_seconds_and_then_ends_the_session(application, clock):
    client = Client(application)
    second = client.refresh()
    clock.shift(30)
    assert client.refresh(client.tokens[0]) == second
    clock.shift(1)
    with pytest.raises(InvalidToken):
        client.refresh(client.tokens[0])
    with pytest.raises(InvalidToken):
        client.refresh(second)
    assert Session.objects.get().ended_at == timezone.now()


@pytest.mark.parametrize("generations", [2, 5])
def test_a_token_older_than_the_parent_ends_the_session_at_once(application, clock, generations):
    client = Client(application)
    for _ in range(generations):
        client.refresh()
    with pytest.raises(InvalidToken):
        client.refresh(client.tokens[0])
    assert Session.objects.get().ended_at is not None


def test_a_half_known_token_is_garbage_and_ends_nothing(application):
    client = Client(application)
    client.refresh()
    session_id, _generation, secret = client.tokens[0].split(".")
    for forged in (f"{session_id}.0.{'A' * 43}", f"{session_id}.1.{secret}", f"{session_id}.7.{secret}"):
        with pytest.raises(InvalidToken):
            client.refresh(forged)
    assert client.refresh()


def test_without_rotation_the_token_stays_and_none_is_handed_out(application):
    Application.objects.update(refresh_token_rotation_enabled=False)
    client = Client(application)
    assert client.refresh() is None
    assert client.refresh() is None


def test_switching_rotation_off_and_on_strands_nobody(application):
    client = Client(application)
    client.refresh()
    Application.objects.update(refresh_token_rotation_enabled=False)
    assert client.refresh() is None
    Application.objects.update(refresh_token_rotation_enabled=True)
    assert client.refresh() == client.tokens[-1]


def test_sign_up_with_a_live_refresh_token_never_rotates(application):
    client = Client(application)
    before = Session.objects.values().get()
    sessions.find_by_refresh_token(host="localhost", client_id="web", refresh_token=client.tokens[0])
    assert Session.objects.values().get() == before
