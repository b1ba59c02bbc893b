"""The users that a project had before become end users, one by one or all of them."""

import io
import uuid
from datetime import timedelta

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from anonusers import adoption
from anonusers.adapters import Adapter
from anonusers.adoption import adopt_guest, adopt_owner, adopt_user, adopt_users
from anonusers.counting import count, day_of
from anonusers.errors import LoginIDTaken
from anonusers.login import log_in_with_password
from anonusers.login_ids import parse_login_id
from anonusers.models import AuditEvent, EndUser, LoginID, Project, Promotion, Session
from anonusers.promotion.flow import begin_promotion, finish_promotion
from tests.conftest import HOST, make_project, row_counts, state_of
from tests.people import EMAIL, PASSWORD, WRONG, last_code, new_guest, regular_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def project(project):
    project.login_ids = ["email", "username"]
    project.save()
    return project


@pytest.fixture
def make_user(django_user_model):
    return lambda name="anna", email=EMAIL, password=PASSWORD, **fields: django_user_model.objects.create_user(
        name, email, password, **fields
    )


def run(*arguments):
    out = io.StringIO()
    call_command("anonusers_adopt", *arguments, stdout=out)
    return out.getvalue()


# --- one ------------------------------------------------------------------------------------------


def test_a_user_becomes_an_end_user_with_what_they_log_in_with(project, make_user):
    user = make_user()
    before = state_of(user)
    end_user = adopt_user(project=project, user=user)
    assert (end_user.user, end_user.project, end_user.is_guest) == (user, project, False)
    assert end_user.adopted_at is not None
    rows = LoginID.objects.filter(end_user=end_user, verified_at=None)
    assert sorted(rows.values_list("type", "value")) == [("email", EMAIL), ("username", "anna")]
    assert state_of(user) == before
    assert log_in_with_password(project=project, text=EMAIL, password=PASSWORD) == end_user
    assert authenticate(username="anna", password=PASSWORD) == user
    assert AuditEvent.objects.get().type == "user.adopted"


def test_twice_is_once(project, make_user):
    user = make_user()
    first = adopt_user(project=project, user=user)
    before = row_counts()
    assert adopt_user(project=project, user=user) == first
    assert row_counts() == before


def test_verified_is_believed(project, make_user):
    adopt_user(project=project, user=make_user(), verified=True)
    assert not LoginID.objects.filter(verified_at=None).exists()


def test_an_address_that_somebody_has_is_refused_as_a_whole(project, application, make_user):
    regular_user(application)
    user, before = make_user(), row_counts()
    with pytest.raises(LoginIDTaken):
        adopt_user(project=project, user=user)
    assert row_counts() == before | {"auth.User": before["auth.User"]}
    assert adopt_user(project=project, user=user, login_ids=[]).login_ids.count() == 0


def test_the_id_that_a_person_had_elsewhere_can_be_kept(project, make_user):
    sub = uuid.uuid4()
    assert adopt_user(project=project, user=make_user(), sub=sub).pk == sub
    other = make_user("otto", "")
    assert adopt_guest(project=project, user=other, sub=(second := uuid.uuid4())).pk == second


def test_a_guest_of_another_package_becomes_one_of_ours(project, make_user):
    user = make_user("guest-of-theirs", "", password="")
    end_user = adopt_guest(project=project, user=user)
    assert (end_user.user, end_user.is_guest, end_user.adopted_at) == (user, True, None)
    user.refresh_from_db()
    assert not user.has_usable_password()
    assert not user.check_password("")
    before = row_counts()
    assert adopt_guest(project=project, user=user) == end_user
    assert row_counts() == before


def test_who_is_known_is_not_made_a_guest(project, make_user):
    user = make_user()
    member = adopt_user(project=project, user=user)
    assert adopt_guest(project=project, user=user) == member
    user.refresh_from_db()
    assert user.has_usable_password()
    assert not EndUser.objects.get().is_guest


# --- all ------------------------------------------------------------------------------------------


def test_the_command_adopts_all_but_staff(project, make_user, django_user_model):
    for number in range(7):
        make_user(f"user{number}", f"user{number}@example.com")
    make_user("boss", "boss@example.com", is_staff=True)
    make_user("root", "root@example.com", is_superuser=True)
    assert run("guestbook", "--dry-run") == "7 users would be adopted (dry run).\n"
    assert EndUser.objects.count() == 0
    assert run("guestbook") == (
        "7 users adopted, with 14 login IDs.\n2 users left out, such as staff (--include-staff).\n"
    )
    assert EndUser.objects.count() == 7
    assert AuditEvent.objects.get().changes == {"users": 7, "login_ids": 14, "verified": False}
    before = row_counts()
    assert run("guestbook").startswith("0 users adopted")
    assert row_counts() == before
    assert run("guestbook", "--include-staff").startswith("2 users adopted")
    assert EndUser.objects.filter(user__in=django_user_model.objects.all()).count() == 9


def test_guests_and_regular_users_are_left_as_they_are(project, application, make_user):
    guest, regular = new_guest(application), regular_user(application)
    make_user("other", "other@example.com")
    before = state_of(guest, guest.user, regular, regular.user)
    assert run("guestbook").startswith("1 users adopted")
    assert state_of(guest, guest.user, regular, regular.user) == before


def test_two_who_share_an_address_are_both_adopted_and_the_first_one_has_it(project, make_user):
    first, second = make_user("anna", EMAIL), make_user("otto", EMAIL.upper())
    assert "1 login IDs left out" in run("guestbook")
    assert LoginID.objects.get(type="email").end_user.user == first
    assert EndUser.objects.get(user=second).login_ids.count() == 1


def test_what_a_regular_user_has_stays_theirs(project, application, make_user):
    regular = regular_user(application)
    user = make_user()
    run("guestbook")
    assert LoginID.objects.get(type="email").end_user == regular
    assert EndUser.objects.get(user=user).login_ids.get().type == "username"


@pytest.mark.parametrize("batch", [1, 3, 500])
def test_batches_of_any_size_do_the_same(project, make_user, monkeypatch, batch):
    monkeypatch.setattr(adoption, "BATCH", batch)
    for number in range(7):
        make_user(f"user{number}", f"user{number}@example.com")
    done = list(adopt_users(project=project, limit=5))
    assert sum(one.users for one in done) == 5
    done = list(adopt_users(project=project))
    assert sum(one.users for one in done) == 2
    assert (EndUser.objects.count(), LoginID.objects.count()) == (7, 14)


def test_a_batch_takes_a_few_statements_however_many_they_are(project, make_user):
    for number in range(40):
        make_user(f"user{number}", f"user{number}@example.com")
    with CaptureQueriesContext(connection) as queries:
        list(adopt_users(project=project))
    told = [query["sql"] for query in queries if not query["sql"].startswith(("SAVEPOINT", "RELEASE"))]
    assert len(told) == 5, told  # the users, whose login IDs are taken, two inserts, no more users


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["nowhere"], "There is no project nowhere."), (["guestbook", "--limit", "0"], "--limit must be at least 1.")],
)
def test_nonsense_is_named(project, make_user, arguments, says):
    make_user()
    with pytest.raises(CommandError, match=says):
        run(*arguments)
    assert not EndUser.objects.exists()


def test_adopted_users_are_not_counted_as_new_guests(project, make_user, application):
    new_guest(application)
    adopt_user(project=project, user=make_user())
    today = day_of(timezone.now())
    found = count(project, today, today + timedelta(days=1))
    assert sum(number for key, number in found.items() if key.name == "created") == 1


# --- conflicts ------------------------------------------------------------------------------------


def test_the_code_of_an_address_of_the_hosts_own_user_leads_into_that_account(project, application, make_user):
    """Where the project says `login`: they have proven to read its mail."""
    Project.objects.update(promotion_conflict="login")
    user = make_user()
    guest = new_guest(application)
    pending = begin_promotion(
        end_user=guest, project=Project.objects.get(), type="email", text=EMAIL, by_code=True, password=None
    )
    promoted = finish_promotion(handle=pending.handle, host=HOST, code=last_code(), end_user=guest)
    assert promoted.end_user == EndUser.objects.get(user=user)
    assert promoted.superseded == guest
    assert Promotion.objects.get().superseded_by == promoted.end_user
    # Whoever had typed the address in need not be its owner: their password is void.
    assert authenticate(username="anna", password=PASSWORD) is None


def test_where_it_says_error_it_is_taken(project, application, make_user):
    Project.objects.update(promotion_conflict="error")
    user, guest = make_user(), new_guest(application)
    pending = begin_promotion(
        end_user=guest, project=Project.objects.get(), type="email", text=EMAIL, by_code=True, password=None
    )
    before = state_of(guest, guest.user)
    with pytest.raises(LoginIDTaken):
        finish_promotion(handle=pending.handle, host=HOST, code=last_code(), end_user=guest)
    assert state_of(guest, guest.user) == before
    assert guest.__class__.objects.get(pk=guest.pk).is_guest
    assert user.__class__.objects.filter(pk=user.pk).exists()


@pytest.mark.parametrize("flag", ["is_staff", "is_superuser"])
def test_a_code_never_leads_into_an_operators_account(project, application, make_user, flag):
    Project.objects.update(promotion_conflict="login")
    operator, guest = make_user(**{flag: True}), new_guest(application)
    before = state_of(operator)
    pending = begin_promotion(
        end_user=guest, project=Project.objects.get(), type="email", text=EMAIL, by_code=True, password=None
    )
    with pytest.raises(LoginIDTaken):
        finish_promotion(handle=pending.handle, host=HOST, code=last_code(), end_user=guest)
    assert state_of(operator) == before
    assert not EndUser.objects.filter(user=operator).exists()


def test_users_of_other_projects_are_in_nobodys_way(project, application):
    elsewhere = make_project("elsewhere", "elsewhere.example")
    user = regular_user(application).user
    assert Adapter().find_user(elsewhere, parse_login_id("email", EMAIL)) is None
    assert Adapter().find_user(project, parse_login_id("email", EMAIL)) is None
    EndUser.objects.all().delete()
    assert Adapter().find_user(elsewhere, parse_login_id("email", EMAIL.upper())) == user


def test_phone_numbers_are_nothing_that_djangos_users_have(project, make_user):
    make_user("+886912345678")
    assert Adapter().find_user(project, parse_login_id("phone", "+886912345678")) is None
    assert adopt_owner(project, parse_login_id("email", "nobody@example.com")) is None


def test_a_guest_cannot_log_in_with_a_password_form(application):
    guest = new_guest(application)
    assert authenticate(username=guest.user.username, password="") is None
    assert authenticate(username=guest.user.username, password=WRONG) is None
    assert Client(HTTP_HOST=HOST).login(username=guest.user.username, password="") is False
    assert Session.objects.count() == 1
