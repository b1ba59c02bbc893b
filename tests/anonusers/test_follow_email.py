"""A host whose users change their address says so."""

import pytest

from anonusers.adoption import follow_email
from anonusers.models import EndUser, LoginID, OneTimeToken
from anonusers.onetime import issue
from anonusers.testing import make_guest, make_member

pytestmark = pytest.mark.django_db

ANNA, BERTA = "anna@example.com", "berta@example.com"


@pytest.fixture
def member(project) -> EndUser:
    project.login_ids = ["email", "username"]
    project.save()
    found = make_member(project=project).end_user
    found.login_ids.all().delete()
    return found


def addresses(end_user) -> list[tuple[str, bool]]:
    rows = end_user.login_ids.filter(type="email").order_by("pk")
    return [(row.value, row.verified_at is not None) for row in rows]


def test_an_address_is_new(member):
    assert follow_email(member, ANNA).value == ANNA
    assert addresses(member) == [(ANNA, False)]
    assert follow_email(member, ANNA.upper(), verified=True) is not None
    assert addresses(member) == [(ANNA, True)]
    follow_email(member, ANNA)  # what was verified stays so
    assert addresses(member) == [(ANNA, True)]


def test_another_one_in_its_place(member):
    follow_email(member, ANNA, verified=True)
    sent = issue(OneTimeToken.Purpose.PASSWORD_RESET, project=member.project, end_user=member)
    follow_email(member, BERTA, instead_of=[ANNA.upper()])
    assert addresses(member) == [(BERTA, False)]
    sent.token.refresh_from_db()
    assert sent.token.used_at is not None
    follow_email(member, "", instead_of=[BERTA])
    assert addresses(member) == []


def test_the_same_one_in_its_own_place(member):
    follow_email(member, ANNA, verified=True)
    follow_email(member, ANNA, instead_of=[ANNA])
    assert addresses(member) == [(ANNA, True)]


def test_what_is_nobodys_log_in_is_not_made_one_where_only_a_look_is_wanted(member):
    assert follow_email(member, ANNA, verified=True, add=False) is None
    assert addresses(member) == []


def test_user_names_are_left_alone(member):
    member.login_ids.create(project=member.project, type="username", value="anna", key="username:anna")
    follow_email(member, "", instead_of=["anna", ANNA])
    assert member.login_ids.count() == 1


@pytest.mark.parametrize("email", ["nowhere", "", "a" * 300 + "@example.com"])
def test_what_we_cannot_read(member, email):
    assert follow_email(member, email, verified=True) is None
    assert not LoginID.objects.exists()


def test_what_somebody_has_stays_theirs(member):
    other = make_member(project=member.project).end_user
    other.login_ids.all().delete()
    follow_email(other, BERTA, verified=True)
    follow_email(member, ANNA)
    assert follow_email(member, BERTA, verified=True, instead_of=[ANNA]) is None
    assert (addresses(other), addresses(member)) == ([(BERTA, True)], [])


def test_guests_log_in_with_nothing(member):
    guest = make_guest(project=member.project).end_user
    assert follow_email(guest, ANNA, verified=True) is None
    assert not LoginID.objects.exists()


def test_a_project_without_addresses(member):
    member.project.login_ids = ["username"]
    assert follow_email(member, ANNA) is None
    assert not LoginID.objects.exists()
