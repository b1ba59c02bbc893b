"""Races of promotion, with real threads on PostgreSQL: one wins, the others get a clean answer, no half state."""

import threading
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.test import Client
from django.utils import timezone

from anonusers import errors, limits
from anonusers.login import begin_code_login, finish_code_login
from anonusers.models import AnonymousIdentity, EndUser, LoginID, OneTimeToken, Promotion, Session
from anonusers.promotion import promote, supersede
from anonusers.promotion.flow import begin_promotion, finish_promotion, resend_code
from tests.conftest import HOST
from tests.people import EMAIL, last_code, new_guest, other_than, proof_of, regular_user
from tests.test_races import at_once, post, refresh, signup

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]

# INV1: a user is a guest (an identity, no login ID, no usable password) or regular (a login ID, no identity).
# INV2: a regular user has one record of its promotion, and no session from before it.
NEITHER = """
    SELECT e.id FROM anonusers_enduser e JOIN auth_user u ON u.id = e.user_id
    LEFT JOIN anonusers_anonymousidentity a ON a.end_user_id = e.id
    LEFT JOIN anonusers_promotion p ON p.end_user_id = e.id AND p.outcome = 'promoted'
    LEFT JOIN LATERAL (SELECT count(*) AS n FROM anonusers_loginid l WHERE l.end_user_id = e.id) l ON true
    WHERE (a.end_user_id IS NOT NULL) = (l.n > 0)
       OR (a.end_user_id IS NOT NULL AND (u.password NOT LIKE '!%%' OR u.email <> ''))
       OR (p.end_user_id IS NULL) = (l.n > 0)
"""
OUTLIVED = """
    SELECT s.id FROM anonusers_session s JOIN anonusers_promotion p ON p.end_user_id = s.end_user_id
    WHERE s.ended_at IS NULL AND s.created_at < p.created_at
"""
TWICE = "SELECT project_id, key FROM anonusers_loginid GROUP BY project_id, key HAVING count(*) > 1"


@pytest.fixture(autouse=True)
def invariants_hold(application):
    yield
    for statement in (NEITHER, OUTLIVED, TWICE):
        with connection.cursor() as cursor:
            cursor.execute(statement)
            assert cursor.fetchall() == [], statement


def outcome(call) -> Any:
    try:
        return call()
    except errors.AnonUsersError as error:
        return error.code


def keep(guest, text=EMAIL, **options):
    promoted = promote(end_user=guest, project=guest.project, proof=proof_of(text), **options)
    return str(promoted.end_user.pk)


def userinfo(access_token):
    headers = {"authorization": f"Bearer {access_token}"}
    return Client(HTTP_HOST=HOST).get("/api/v1/userinfo/", headers=headers)


def test_32_promotions_of_one_guest_with_different_addresses(application):
    guest = new_guest(application)
    found = at_once(32, lambda n: outcome(lambda: keep(guest, f"anna{n}@example.com")))
    assert sorted(found) == sorted([str(guest.pk)] + ["user_is_regular"] * 31)
    winner = found.index(str(guest.pk))
    assert LoginID.objects.get().value == EndUser.objects.get().user.email == f"anna{winner}@example.com"
    assert Promotion.objects.count() == 1


def test_32_guests_with_one_address(application):
    guests = [new_guest(application) for _ in range(32)]
    found = at_once(32, lambda n: outcome(lambda: keep(guests[n])))
    winners = [text for text in found if text != "login_id_taken"]
    assert (len(winners), len(found)) == (1, 32)
    assert str(LoginID.objects.get().end_user_id) == winners[0]
    losers = EndUser.objects.exclude(pk=winners[0])
    assert all(loser.is_guest for loser in losers)
    assert Session.objects.filter(end_user__in=losers, ended_at=None).count() == 31


def test_32_guests_with_one_user_name_in_many_spellings(application):
    guests = [new_guest(application) for _ in range(16)]
    spellings = ("anna", "ANNA", "Anna", "ａnna")

    def call(number):
        proof = proof_of(spellings[number % 4], type="username", verified=False)
        return promote(end_user=guests[number], project=application.project, proof=proof).end_user.pk

    found = at_once(16, lambda n: outcome(lambda: call(n)))
    assert found.count("login_id_taken") == 15
    assert LoginID.objects.count() == 1


def test_32_promotions_over_http_make_one_session(application):
    answer = signup().json()
    headers = {"authorization": f"Bearer {answer['access_token']}"}

    def call(number):
        body = {"login_id": {"type": "email", "value": f"anna{number}@example.com"}, "password": "nine tame walruses"}
        return post("/api/v1/promote/", body, **headers)

    answers = at_once(32, call)
    won = [one.json() for one in answers if one.status_code == 200]
    lost = {(one.status_code, one.json()["code"]) for one in answers if one.status_code != 200}
    assert len(won) == 1
    # Who comes when the session has ended already is not signed in any more.
    assert lost <= {(409, "user_is_regular"), (401, "not_signed_in")}
    assert won[0]["sub"] == answer["sub"]
    assert Session.objects.filter(ended_at=None).count() == 1
    assert userinfo(won[0]["access_token"]).json()["is_anonymous"] is False
    assert userinfo(answer["access_token"]).status_code == 401
    assert refresh(answer["refresh_token"]).status_code == 401


@pytest.mark.parametrize("_round", range(10))
def test_promotion_beside_refresh_and_revocation_leaves_nothing_alive(application, _round):
    answer = signup().json()
    guest = EndUser.objects.select_related("project").get()

    def call(number):
        if number == 0:
            return outcome(lambda: keep(guest))
        if number == 1:
            form = "application/x-www-form-urlencoded"
            return Client(HTTP_HOST=HOST).post("/oauth2/revoke", f"token={answer['refresh_token']}", form)
        return refresh(answer["refresh_token"])

    first, *others = at_once(6, call)
    assert first == str(guest.pk)
    assert {one.status_code for one in others} <= {200, 401}
    assert not Session.objects.filter(ended_at=None).exists()
    for one in others:
        if one.status_code == 200 and one.content:
            assert refresh(one.json()["refresh_token"]).status_code == 401
            assert userinfo(one.json()["access_token"]).status_code == 401


@pytest.mark.parametrize("_round", range(10))
def test_promotion_beside_disabling_is_either_before_or_refused(application, _round):
    guest = new_guest(application)

    def call(number):
        if number == 0:
            return outcome(lambda: keep(guest))
        return EndUser.objects.filter(pk=guest.pk).update(disabled_at=timezone.now())

    kept = at_once(2, call)[0]
    now = EndUser.objects.get()
    assert now.disabled_at is not None
    assert (kept, now.is_guest) in ((str(guest.pk), False), ("guest_gone", True))


@pytest.mark.parametrize("_round", range(10))
def test_promotion_beside_deletion_is_either_before_or_refused(application, _round):
    guest = new_guest(application)

    def call(number):
        if number == 0:
            return outcome(lambda: keep(guest))
        # As a clean-up does it: what is a guest, under a lock.
        from django.db import transaction

        with transaction.atomic():
            locked = EndUser.objects.select_for_update().get(pk=guest.pk)
            return locked.is_guest and locked.user.delete()

    kept, deleted = at_once(2, call)
    assert (kept == str(guest.pk)) is (deleted is False)
    assert kept in (str(guest.pk), "guest_gone")
    assert EndUser.objects.count() == LoginID.objects.count() == (kept == str(guest.pk))


def begun(guest, text=EMAIL):
    return begin_promotion(end_user=guest, project=guest.project, type="email", text=text)


def test_the_right_code_many_times_at_once_promotes_once(application):
    guest = new_guest(application)
    pending, code = begun(guest), last_code()
    call = lambda: str(  # noqa: E731
        finish_promotion(handle=pending.handle, host=HOST, code=code, end_user=guest).end_user.pk
    )
    found = at_once(5, lambda _: outcome(call))
    assert found.count(str(guest.pk)) == 1
    assert set(found) <= {str(guest.pk), "user_is_regular", "flow_gone", "code_expired"}
    assert LoginID.objects.get().verified_at is not None


def test_two_pending_promotions_of_one_guest_end_in_one(application):
    guest = new_guest(application)
    pending = []
    for number in range(8):
        one = begun(guest, f"anna{number}@example.com")
        pending.append((one.handle, last_code()))

    def call(number):
        handle, code = pending[number]
        return finish_promotion(handle=handle, host=HOST, code=code, end_user=guest).end_user.pk

    found = at_once(8, lambda n: outcome(lambda: call(n)))
    assert found.count(guest.pk) == 1
    assert LoginID.objects.count() == 1
    assert not OneTimeToken.objects.filter(used_at=None).exists()


@pytest.mark.parametrize("policy", ["error", "login"])
def test_guests_who_prove_one_address_at_once_are_one_account(application, policy):
    """Of some mailbox that many people read."""
    application.project.promotion_conflict = policy
    application.project.save()
    pending = []
    for _ in range(8):
        guest = new_guest(application)
        limits.forget()
        pending.append((guest, begun(guest).handle, last_code()))

    def call(number):
        guest, handle, code = pending[number]
        return finish_promotion(handle=handle, host=HOST, code=code, end_user=guest).end_user.pk

    found = at_once(8, lambda n: outcome(lambda: call(n)))
    account = LoginID.objects.get().end_user_id
    if policy == "error":
        assert sorted(map(str, found)) == sorted([str(account)] + ["login_id_taken"] * 7)
        assert Promotion.objects.count() == 1
    else:
        assert set(found) == {account}
        assert Promotion.objects.filter(outcome="superseded", superseded_by=account).count() == 7
        assert not Session.objects.filter(ended_at=None).exists()


def test_guesses_at_once_have_five_tries_together(application):
    guest = new_guest(application)
    pending, wrong = begun(guest), other_than(last_code())
    call = lambda: finish_promotion(handle=pending.handle, host=HOST, code=wrong, end_user=guest)  # noqa: E731
    found = at_once(24, lambda _: outcome(call))
    assert (found.count("code_wrong"), found.count("code_expired")) == (5, 19)


def test_a_code_logs_in_once_however_many_send_it(application):
    user = regular_user(application)
    pending = begin_code_login(project=application.project, text=EMAIL)
    code = last_code()
    call = lambda: finish_code_login(handle=pending.handle, host=HOST, code=code).pk  # noqa: E731
    found = at_once(5, lambda _: outcome(call))
    assert found.count(user.pk) == 1
    assert set(found) <= {user.pk, "flow_gone", "code_expired"}


def test_promotion_beside_supersession_of_one_guest(application):
    owner = regular_user(application, "owner@example.com")
    guest = new_guest(application)

    def call(number):
        if number % 2:
            return keep(guest)
        supersede(guest=guest, by=owner, method="password")
        return "superseded"

    found = at_once(8, lambda n: outcome(lambda: call(n)))
    won = [one for one in found if one not in ("guest_gone", "user_is_regular")]
    assert won in ([str(guest.pk)], ["superseded"])
    outcome_on_record = "superseded" if won == ["superseded"] else "promoted"
    assert Promotion.objects.get(end_user=guest).outcome == outcome_on_record
    assert AnonymousIdentity.objects.filter(end_user=guest).exists() == (won == ["superseded"])


def test_codes_asked_for_at_once_are_one(application):
    guest = new_guest(application)
    pending = begun(guest)
    limits.forget()
    mail.outbox.clear()
    call = lambda: resend_code(handle=pending.handle, host=HOST, end_user=guest).to  # noqa: E731
    found = at_once(8, lambda _: outcome(call))
    assert (found.count("rate_limited"), len(mail.outbox)) == (7, 1)


def test_what_a_session_of_before_asks_for_during_the_commit_is_worth_nothing(application):
    """A secret that is issued while the promotion commits must not outlive it."""
    answer = signup().json()
    guest = EndUser.objects.select_related("project").get()
    started = threading.Event()

    def call(number):
        if number == 0:
            started.set()
            return outcome(lambda: keep(guest))
        started.wait()
        body = {"session_type": "refresh_token", "refresh_token": answer["refresh_token"]}
        return post("/api/anonymous_user/promotion_code", body).status_code

    assert at_once(6, call)[0] == str(guest.pk)
    for token in OneTimeToken.objects.filter(used_at=None):
        assert token.purpose == OneTimeToken.Purpose.PROMOTION_CODE
        assert not token.end_user.is_guest, "promote refuses who is regular"
