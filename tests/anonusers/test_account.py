"""What regular users do with their accounts, below the doors."""

import threading

import pytest
from django.core import mail
from django.db import connection

from anonusers import account, limits, onetime
from anonusers.errors import (
    CodeWrong,
    CredentialsWrong,
    FlowGone,
    InvalidLoginID,
    LoginIDNotAllowed,
    LoginIDTaken,
    RateLimited,
    UserDisabled,
    WeakPassword,
)
from anonusers.models import EndUser, LoginID, OneTimeToken, Session
from anonusers.sessions import open_session
from example.models import Comment
from tests.conftest import HOST, make_application, make_project, row_counts, state_of
from tests.people import EMAIL, PASSWORD, last_code, new_guest, other_than, regular_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NEW = "eight wild walruses"


@pytest.fixture
def anna(application):
    return regular_user(application)


def a_session(end_user, application):
    return open_session(
        end_user=end_user, project=end_user.project, application=application, kind="token", scope="openid"
    )[0]


def reset_secret(project, text=EMAIL):
    secrets = []
    account.request_password_reset(project=project, text=text, link=lambda secret: secrets.append(secret) or "link")
    return secrets[0] if secrets else None


# --- password ----------------------------------------------------------------------------------------


def test_changing_the_password_ends_every_other_session_and_voids_every_code(anna, application):
    keep, other = a_session(anna, application), a_session(anna, application)
    pending = onetime.issue("app_session_token", project=anna.project, end_user=anna).token
    assert account.change_password(end_user=anna, current=PASSWORD, new=NEW, keep=keep) == 1
    anna.user.refresh_from_db()
    assert anna.user.check_password(NEW)
    assert [row["ended_at"] is None for row in state_of(keep, other)] == [True, False]
    assert state_of(pending)[0]["used_at"]


@pytest.mark.parametrize(
    ("current", "new", "error"),
    [("wrong", NEW, CredentialsWrong), (PASSWORD, "1234", WeakPassword), ("", NEW, CredentialsWrong)],
)
def test_a_refused_password_changes_nothing(anna, application, current, new, error):
    session = a_session(anna, application)
    before = state_of(anna.user, session)
    with pytest.raises(error):
        account.change_password(end_user=anna, current=current, new=new, keep=None)
    assert state_of(anna.user, session) == before


def test_a_reset_ends_all_sessions_and_the_link_is_good_once(anna, application, project):
    session = a_session(anna, application)
    secret = reset_secret(project)
    assert account.find_password_reset(secret=secret, host=HOST).end_user_id == anna.pk
    assert state_of(session)[0]["ended_at"] is None
    account.reset_password(secret=secret, host=HOST, password=NEW)
    anna.user.refresh_from_db()
    assert anna.user.check_password(NEW)
    assert state_of(session)[0]["ended_at"]
    before = state_of(anna.user)
    with pytest.raises(FlowGone):
        account.reset_password(secret=secret, host=HOST, password=PASSWORD)
    assert state_of(anna.user) == before


def test_the_secret_is_not_stored(anna, project):
    secret = reset_secret(project)
    assert secret not in str(list(OneTimeToken.objects.values()))


@pytest.mark.parametrize("text", ["none@example.com", "nonsense", "", "\x00", "x" * 5000])
def test_nobody_gets_no_mail_and_no_row(anna, project, text):
    before = row_counts()
    assert reset_secret(project, text) is None
    assert row_counts() == before
    assert not mail.outbox


def test_the_budgets_of_a_reset_are_the_same_for_nobody(anna, project):
    for text in (EMAIL, "none@example.com"):
        reset_secret(project, text)
        with pytest.raises(RateLimited):
            reset_secret(project, text)
    assert len(mail.outbox) == 1


def test_a_link_whose_address_was_given_up_is_void(anna, project):
    secret = reset_secret(project)
    anna.login_ids.all().delete()
    before = state_of(anna.user)
    with pytest.raises(FlowGone):
        account.reset_password(secret=secret, host=HOST, password=NEW)
    assert state_of(anna.user) == before


def test_a_disabled_account_is_not_reset(anna, project):
    secret = reset_secret(project)
    type(anna.user).objects.update(is_active=False)
    before = state_of(anna.user)
    with pytest.raises(UserDisabled):
        account.reset_password(secret=secret, host=HOST, password=NEW)
    assert state_of(anna.user) == before


def test_a_weak_password_leaves_the_link_good(anna, project):
    secret = reset_secret(project)
    with pytest.raises(WeakPassword):
        account.reset_password(secret=secret, host=HOST, password="1234")
    account.reset_password(secret=secret, host=HOST, password=NEW)


def test_another_project_knows_no_such_account(project, application, anna):
    second = make_project("second", "second.localhost")
    make_application(second)
    assert reset_secret(second) is None
    secret = reset_secret(project)
    with pytest.raises(FlowGone):
        account.find_password_reset(secret=secret, host="second.localhost")


# --- login IDs -----------------------------------------------------------------------------------------


def add(end_user, text="new@example.com", type="email"):
    return account.add_login_id(end_user=end_user, project=end_user.project, type=type, text=text)


def test_an_address_is_claimed_only_with_its_code(anna):
    pending = add(anna)
    assert anna.login_ids.count() == 1
    with pytest.raises(CodeWrong):
        account.finish_login_id(end_user=anna, handle=pending.handle, host=HOST, code=other_than(last_code()))
    row = account.finish_login_id(end_user=anna, handle=pending.handle, host=HOST, code=last_code())
    assert (row.end_user_id, bool(row.verified_at)) == (anna.pk, True)
    with pytest.raises(FlowGone):
        account.finish_login_id(end_user=anna, handle=pending.handle, host=HOST, code=last_code())


def test_a_handle_is_its_users_own(anna, application):
    pending, eve = add(anna), regular_user(application, "eve@example.com")
    before = row_counts()
    for step in (
        lambda: account.finish_login_id(end_user=eve, handle=pending.handle, host=HOST, code=last_code()),
        lambda: account.resend_login_id_code(end_user=eve, handle=pending.handle, host=HOST),
        lambda: account.finish_login_id(end_user=anna, handle="x", host=HOST, code=last_code()),
        lambda: account.finish_login_id(end_user=anna, handle=pending.handle, host="second.localhost", code="1"),
    ):
        with pytest.raises(FlowGone):
            step()
    assert row_counts() == before


def test_an_address_that_was_taken_meanwhile_stays_its_owners(anna, application):
    pending = add(anna)
    code = last_code()
    owner = regular_user(application, "new@example.com")
    before = row_counts()
    with pytest.raises(LoginIDTaken):
        account.finish_login_id(end_user=anna, handle=pending.handle, host=HOST, code=code)
    assert row_counts() == before
    assert owner.login_ids.get().value == "new@example.com"


def test_proving_an_address_that_a_hijacker_typed_in_takes_it_from_them(anna, application):
    hijacker = regular_user(application, "new@example.com", verified=False)
    session = a_session(hijacker, application)
    pending = add(anna)
    with pytest.raises(LoginIDTaken):
        account.finish_login_id(end_user=anna, handle=pending.handle, host=HOST, code=last_code())
    hijacker.user.refresh_from_db()
    assert not hijacker.user.has_usable_password()
    assert state_of(session)[0]["ended_at"]


@pytest.mark.parametrize(
    ("type", "text", "error"),
    [
        ("phone", "+493012345678", LoginIDNotAllowed),
        ("nonsense", "x", LoginIDNotAllowed),
        ("email", "x", InvalidLoginID),
    ],
)
def test_what_cannot_be_added(anna, type, text, error):
    before = row_counts()
    with pytest.raises(error):
        add(anna, text, type)
    assert row_counts() == before
    assert not mail.outbox


@pytest.mark.parametrize("type", ["email", "username"])
def test_what_a_user_of_the_hosts_own_has_is_taken(anna, django_user_model, type):
    """They never were guests, so no login ID of ours says that they are here."""
    project = anna.project
    project.login_ids = ["email", "username"]
    project.save()
    taken = {"email": "Chief@example.com", "username": "Chief"}[type]
    django_user_model.objects.create_user(
        "chief" if type == "username" else "boss", "chief@example.com" if type == "email" else "", password="x"
    )
    before = state_of(anna.user), list(anna.login_ids.values())
    with pytest.raises(LoginIDTaken):
        added = account.add_login_id(end_user=anna, project=project, type=type, text=taken)
        account.finish_login_id(end_user=anna, handle=added.handle, host=HOST, code=last_code())
    assert (state_of(anna.user), list(anna.login_ids.values())) == before


def test_an_account_with_an_unproven_address_gets_no_second_one(application):
    end_user = regular_user(application, verified=False)
    before = row_counts()
    with pytest.raises(LoginIDNotAllowed, match=r"Verify anna@example\.com first"):
        add(end_user)
    assert row_counts() == before


def test_what_is_verified_or_a_name_needs_no_code(anna, application):
    name = LoginID.objects.create(project=anna.project, end_user=anna, type="username", value="anna.a", key="k")
    for row in (anna.login_ids.get(type="email"), name):
        with pytest.raises(LoginIDNotAllowed):
            account.verify_login_id(end_user=anna, login_id=row)
    assert not mail.outbox


def test_the_last_way_to_log_in_stays(anna, project):
    first = anna.login_ids.get()
    with pytest.raises(LoginIDNotAllowed):
        account.remove_login_id(end_user=anna, login_id=first)
    name = LoginID.objects.create(project=project, end_user=anna, type="username", value="anna.a", key="k")
    anna.user.set_unusable_password()
    anna.user.save()
    with pytest.raises(LoginIDNotAllowed):  # a name without a password opens nothing
        account.remove_login_id(end_user=anna, login_id=first)
    account.remove_login_id(end_user=anna, login_id=name)
    assert anna.login_ids.get() == first


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_two_removals_at_once_leave_one(application):
    end_user = regular_user(application)
    LoginID.objects.create(project=end_user.project, end_user=end_user, type="email", value="b@b.example", key="k")
    rows = list(end_user.login_ids.all())
    start, refused = threading.Barrier(2), []

    def remove(row):
        start.wait()
        try:
            account.remove_login_id(end_user=EndUser.objects.get(pk=end_user.pk), login_id=row)
        except LoginIDNotAllowed:
            refused.append(row)
        finally:
            connection.close()

    threads = [threading.Thread(target=remove, args=(row,)) for row in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (end_user.login_ids.count(), len(refused)) == (1, 1)


# --- the end ----------------------------------------------------------------------------------------------


def test_what_goes_with_an_account_is_counted(anna, application):
    for text in ("one", "two", "three"):
        Comment.objects.create(author=anna.user, text=text)
    a_session(anna, application)
    assert account.what_goes_with(anna) == [("comments", 3), ("login ID", 1), ("session", 1)]


def test_a_deleted_account_is_gone_and_its_login_id_free(anna, application):
    session = a_session(anna, application)
    secret_rows = OneTimeToken.objects.filter(end_user=anna)
    onetime.issue("app_session_token", project=anna.project, end_user=anna)
    account.delete_account(end_user=anna)
    assert not EndUser.objects.filter(pk=anna.pk).exists()
    assert not Session.objects.filter(pk=session.pk).exists()
    assert not secret_rows.exists()
    limits.forget()
    assert regular_user(application).login_ids.get().value == EMAIL


def test_a_guest_can_be_deleted_too(application):
    guest = new_guest(application)
    account.delete_account(end_user=guest)
    assert not EndUser.objects.filter(pk=guest.pk).exists()
