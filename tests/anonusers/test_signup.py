"""Sign-up of a guest: what is made, what refuses it, and that nothing is left of a refused or broken one."""

from unittest import mock

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import check_password
from django.db import IntegrityError, connection, transaction

from anonusers import errors, limits
from anonusers.adapters import Adapter
from anonusers.limits import network_of, parse_budget
from anonusers.models import AnonymousIdentity, Session
from anonusers.signup import sign_up
from anonusers.userinfo import is_guest, userinfo
from tests.conftest import assert_random, make_application, row_counts

pytestmark = [pytest.mark.django_db, pytest.mark.database]
TOKEN, COOKIE = Session.Kind.TOKEN, Session.Kind.COOKIE


def guest(application, **options):
    return sign_up(project=application.project, application=application, **({"kind": TOKEN} | options))


def test_a_guest_is_a_real_user_with_one_identity_and_one_session(application):
    before = row_counts()
    signed_up = guest(application)
    grown = {label: count - before[label] for label, count in row_counts().items() if count != before[label]}
    assert grown == {
        "anonusers.EndUser": 1,
        "anonusers.AnonymousIdentity": 1,
        "anonusers.Session": 1,
        "auth.User": 1,
    }
    end_user = signed_up.session.end_user
    assert (signed_up.created, end_user.is_guest, is_guest(end_user.user)) == (True, True, True)
    assert not end_user.user.is_anonymous, "Django's word for nobody at all"
    info = userinfo(end_user)
    assert (info.sub, info.is_anonymous, info.is_verified) == (str(end_user.id), True, False)


def test_a_guest_cannot_be_logged_into_with_any_guessable_password(application, settings):
    user = guest(application).session.end_user.user
    assert not user.has_usable_password()
    for password in ("", " ", user.get_username(), user.password, None):
        assert not check_password(password, user.password)
        assert authenticate(username=user.get_username(), password=password) is None


def test_a_guest_has_no_rights_and_no_address(application):
    user = guest(application).session.end_user.user
    assert (user.is_staff, user.is_superuser, user.email, user.groups.count()) == (False, False, "", 0)


def test_making_a_guest_hashes_no_password(application):
    with mock.patch("django.contrib.auth.hashers.make_password", side_effect=AssertionError):
        guest(application)


def test_ids_are_random(application):
    assert_random(guest(application).session.end_user_id for _ in range(10))


def test_who_has_a_guest_session_stays_that_guest(application):
    first = guest(application)
    before = row_counts()
    again = guest(application, current=first.session)
    assert (again.session, again.secret, again.created) == (first.session, None, False)
    assert row_counts() == before


def test_a_regular_user_is_not_turned_into_a_guest(application):
    session = guest(application).session
    session.end_user.anonymous_identity.delete()
    session = Session.objects.in_full().get(pk=session.pk)
    before = row_counts()
    with pytest.raises(errors.UserIsRegular):
        guest(application, current=session)
    assert row_counts() == before
    assert not is_guest(session.end_user.user)


def test_a_disabled_project_makes_no_guest_but_keeps_those_it_has(application):
    session = guest(application).session
    application.project.anonymous_users_enabled = False
    before = row_counts()
    with pytest.raises(errors.AnonymousUsersDisabled):
        guest(application)
    assert guest(application, current=session).session == session
    assert row_counts() == before


@pytest.mark.parametrize("kind", ["confidential", "third_party_app", "m2m"])
def test_an_application_without_full_access_has_no_guests(project, kind):
    application = make_application(project, "backend", type=kind)
    before = row_counts()
    with pytest.raises(errors.ApplicationTypeNotAllowed):
        guest(application)
    assert row_counts() == before


class Closed(Adapter):
    def is_open_for_signup(self, project):
        return False


class Vetoing(Adapter):
    def pre_create(self, project, application):
        raise errors.SignupVetoed("Not today", "The shop is closed.")


class Breaking(Adapter):
    def create_guest(self, sub):
        super().create_guest(sub)
        raise RuntimeError


@pytest.mark.parametrize(
    ("adapter", "error"),
    [(Closed, errors.PublicSignupDisabled), (Vetoing, errors.SignupVetoed), (Breaking, RuntimeError)],
)
def test_the_host_can_refuse_a_sign_up_and_nothing_is_left_of_it(application, settings, adapter, error):
    settings.ANONUSERS_ADAPTER = f"{__name__}.{adapter.__name__}"
    before = row_counts()
    with pytest.raises(error):
        guest(application)
    assert row_counts() == before


@pytest.mark.parametrize("statement", ["auth_user", "anonusers_enduser", "anonusers_anonymousidentity", "_session"])
def test_a_fault_at_any_write_leaves_nothing(application, statement):
    before = row_counts()

    def fail(execute, sql, params, many, context):
        if "INSERT" in sql and statement in sql:
            raise RuntimeError(statement)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(fail), pytest.raises(RuntimeError):
        guest(application)
    assert row_counts() == before


def test_two_identities_for_one_user_are_impossible(application):
    end_user = guest(application).session.end_user
    with pytest.raises(IntegrityError), transaction.atomic():
        AnonymousIdentity(end_user=end_user).save(force_insert=True)


# --- budgets --------------------------------------------------------------------------


def test_the_limit_counts_new_guests_of_one_address_and_no_others(application, settings):
    settings.ANONUSERS_SIGNUP_PER_IP = "2/m"
    session = guest(application, ip="192.0.2.1").session
    guest(application, ip="192.0.2.1")
    before = row_counts()
    with pytest.raises(errors.RateLimited) as caught:
        guest(application, ip="192.0.2.1")
    assert 1 <= caught.value.retry_after <= 60
    assert row_counts() == before
    guest(application, ip="192.0.2.1", current=session)
    guest(application, ip="192.0.2.2")


def test_an_ipv6_network_is_one_address(application, settings):
    settings.ANONUSERS_SIGNUP_PER_IP = "1/m"
    guest(application, ip="2001:db8:1:2::1")
    with pytest.raises(errors.RateLimited):
        guest(application, ip="2001:db8:1:2:ffff::9")
    guest(application, ip="2001:db8:1:3::1")


def test_a_project_has_a_ceiling(application, settings):
    settings.ANONUSERS_SIGNUP_PER_PROJECT = "1/m"
    guest(application, ip="192.0.2.1")
    with pytest.raises(errors.RateLimited):
        guest(application, ip="192.0.2.2")


def test_without_its_store_the_limit_goes_on_in_this_process(application, settings):
    settings.ANONUSERS_LIMITS_STORAGE = "redis://127.0.0.1:1"
    settings.ANONUSERS_SIGNUP_PER_IP = "1/m"
    guest(application, ip="192.0.2.1")
    with pytest.raises(errors.RateLimited):
        guest(application, ip="192.0.2.1")
    limits.forget()


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::"),
        ("garbage", "garbage"),
        ("", ""),
    ],
)
def test_budgets_are_keyed_by_network(address, network):
    assert network_of(address) == network


@pytest.mark.parametrize("text", ["", "60", "0/m", "-1/m", "1/y", "x/m", "1.5/m", "²/m"])
def test_a_budget_that_is_none_is_refused(text):
    with pytest.raises(ValueError):
        parse_budget(text)
