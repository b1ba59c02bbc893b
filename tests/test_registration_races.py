"""Races of a host's own registration and of the adoption of its users, with real threads on PostgreSQL."""

import threading

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError
from django.test import RequestFactory

from anonusers.adoption import adopt_user, adopt_users
from anonusers.guests import expect_guest
from anonusers.models import AnonymousIdentity, EndUser, LoginID, Promotion, Session
from anonusers.promotion import promote
from anonusers.registration import promote_guest
from tests.anonusers.browsing import be_guest, new_browser
from tests.conftest import HOST
from tests.people import EMAIL, new_guest, proof_of
from tests.test_promotion_races import invariants_hold, outcome  # noqa: F401 - a fixture
from tests.test_races import at_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]


def registration(guest, cookie, *, email, username):
    """A request of the guest's browser to the host's registration."""
    request = RequestFactory(HTTP_HOST=HOST).post("/register/")
    request.COOKIES["anonusers_session"] = cookie
    expect_guest(request)
    request.user = get_user_model().objects.get(pk=guest.user_id)

    def save():
        user = get_user_model().objects.get(pk=guest.user_id)
        user.username, user.email = username, email
        user.set_password("nine tame walruses")
        user.save()
        return user

    return lambda: str(promote_guest(request, save).end_user.pk)


def guest_with_cookie(project):
    browser = new_browser()
    return be_guest(browser, project), browser.cookies["anonusers_session"].value


def test_a_guest_registers_twice_at_once(project, application):
    guest, cookie = guest_with_cookie(project)
    calls = [registration(guest, cookie, email=f"anna{n}@example.com", username=f"anna{n}") for n in range(16)]
    found = at_once(16, lambda n: outcome(calls[n]))
    assert sorted(found) == sorted([str(guest.pk)] + ["user_is_regular"] * 15)
    winner = found.index(str(guest.pk))
    user = get_user_model().objects.get()
    assert (user.username, user.email) == (f"anna{winner}", f"anna{winner}@example.com")
    assert LoginID.objects.get().value == user.email
    assert Session.objects.filter(ended_at=None).count() == 1


def test_the_hosts_registration_and_our_page_at_once(project, application):
    guest, cookie = guest_with_cookie(project)
    proof = proof_of("page@example.com")
    calls = [
        registration(guest, cookie, email="host@example.com", username="anna"),
        lambda: str(promote(end_user=guest, project=project, proof=proof).end_user.pk),
    ]
    found = at_once(2, lambda n: outcome(calls[n]))
    assert sorted(found) == sorted([str(guest.pk), "user_is_regular"])
    user = get_user_model().objects.get()
    assert user.email == ["host@example.com", "page@example.com"][found.index(str(guest.pk))]
    assert Promotion.objects.count() == 1


def test_many_guests_register_with_one_address(project, application):
    guests = [guest_with_cookie(project) for _ in range(8)]
    calls = [registration(*guest, email=EMAIL, username=f"anna{n}") for n, guest in enumerate(guests)]
    found = at_once(8, lambda n: outcome(calls[n]))
    assert found.count("login_id_taken") == 7
    assert AnonymousIdentity.objects.count() == 7
    assert get_user_model().objects.filter(email=EMAIL).count() == 1


def test_two_runs_adopt_everybody_once(project, application):
    users = [get_user_model().objects.create_user(f"user{n}", f"user{n}@example.com") for n in range(200)]
    found = at_once(4, lambda n: sum((batch.users for batch in adopt_users(project=project)), 0))
    assert sum(found) == 200
    assert EndUser.objects.filter(user__in=users).count() == 200
    assert LoginID.objects.count() == 200
    Promotion.objects.bulk_create(  # what the invariants of promotions know regular users by
        Promotion(end_user=end_user, outcome="promoted", method="") for end_user in EndUser.objects.all()
    )


def test_a_user_is_adopted_while_a_guest_takes_the_address(project, application):
    user = get_user_model().objects.create_user("anna", EMAIL)
    guest, barrier = new_guest(application), threading.Barrier(2)

    def adopt():
        barrier.wait()
        return str(adopt_user(project=project, user=user).pk)

    def keep():
        barrier.wait()
        return str(promote(end_user=guest, project=project, proof=proof_of(EMAIL)).end_user.pk)

    found = at_once(2, lambda n: outcome([adopt, keep][n]))
    assert found[1] == "login_id_taken"  # it was the host's user's before, and still is
    assert LoginID.objects.get().end_user.user == user
    assert EndUser.objects.get(pk=guest.pk).is_guest
    Promotion.objects.create(end_user=LoginID.objects.get().end_user, outcome="promoted", method="")


def test_adopting_one_user_twice_at_once_makes_one(project, application):
    user = get_user_model().objects.create_user("anna", EMAIL)

    def adopt(n):
        try:
            return str(adopt_user(project=project, user=user).pk)
        except IntegrityError:
            return "late"

    found = set(at_once(8, lambda n: outcome(lambda: adopt(n)))) - {"late", "login_id_taken"}
    assert found == {str(EndUser.objects.get().pk)}
    Promotion.objects.create(end_user=EndUser.objects.get(), outcome="promoted", method="")
