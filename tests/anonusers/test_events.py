"""Events: Django signals, sent once, after commit."""

import pytest
from django.db import transaction

from anonusers import account, events, login, sessions, signup
from anonusers.adoption import follow_email
from anonusers.errors import CredentialsWrong, LoginIDNotAllowed
from anonusers.models import AuditEvent, LoginID, Session
from tests.conftest import HOST, row_counts
from tests.people import EMAIL, PASSWORD, last_code, regular_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def heard():
    """Every event that arrives, as (type, Event)."""
    received = []

    def receive(sender, event, **kwargs):
        received.append(event)

    for signal in events.SIGNALS.values():
        signal.connect(receive)
    yield received
    for signal in events.SIGNALS.values():
        signal.disconnect(receive)


def guest(application):
    return signup.sign_up(project=application.project, application=application, kind=Session.Kind.TOKEN)


def test_a_sign_up_is_told_once_and_is_no_authentication(application, heard):
    signed_up = guest(application)
    assert [event.type for event in heard] == ["user.created"]
    assert heard[0].end_user == signed_up.session.end_user
    guest_again = signup.sign_up(
        project=application.project, application=application, kind="token", current=signed_up.session
    )
    assert (guest_again.created, len(heard)) == (False, 1)


def test_a_new_session_of_an_existing_user_is_an_authentication(application, heard):
    end_user = guest(application).session.end_user
    sessions.open_session(
        end_user=end_user, project=application.project, application=application, kind=Session.Kind.TOKEN
    )
    assert [event.type for event in heard] == ["user.created", "user.authenticated"]


@pytest.mark.parametrize("reason", ["signed_out", "revoked"])
def test_the_end_of_a_session_is_told_once_with_its_reason(application, heard, reason):
    session = guest(application).session
    sessions.end_session(session, reason=reason)
    sessions.end_session(session, reason=reason)
    assert [(event.type, event.details) for event in heard[1:]] == [("user.signed_out", {"reason": reason})]


def test_nothing_is_told_of_what_was_rolled_back(application, heard):
    before = row_counts()
    with pytest.raises(RuntimeError), transaction.atomic():
        guest(application)
        raise RuntimeError
    assert heard == []
    assert row_counts() == before


def test_it_is_told_after_commit_and_not_before(application, heard):
    with transaction.atomic():
        guest(application)
        assert heard == []
    assert len(heard) == 1


def test_a_receiver_that_fails_disturbs_nobody(application, heard, caplog):
    def broken(**kwargs):
        raise RuntimeError("receiver is broken")

    events.user_created.connect(broken)
    try:
        assert guest(application).created
    finally:
        events.user_created.disconnect(broken)
    assert len(heard) == 1
    assert "receiver is broken" in caplog.text


# --- login IDs and passwords ------------------------------------------------------------------------------------------

NEW_PASSWORD = "eight wild walruses"
OTHER = "new@example.com"


@pytest.fixture
def anna(application, heard):
    """A regular user; what made one of her is not heard any more."""
    application.project.login_ids = ["email", "username"]
    application.project.save()
    end_user = regular_user(application)
    heard.clear()
    return end_user


def add(end_user, text=OTHER):
    pending = account.add_login_id(end_user=end_user, project=end_user.project, type="email", text=text)
    return account.finish_login_id(end_user=end_user, handle=pending.handle, host=HOST, code=last_code())


def audited():
    rows = AuditEvent.objects.filter(category="security").order_by("pk")
    return [(row.type, row.end_user_id, row.changes) for row in rows]


def about(text=OTHER, type="email", **more):
    return {"login_id_type": type, "login_id": text} | more


def test_a_login_id_that_comes_and_goes_is_told_and_audited_without_the_address(anna, heard):
    row = add(anna)
    account.remove_login_id(end_user=anna, login_id=row)
    account.add_login_id(end_user=anna, project=anna.project, type="username", text="anna")
    assert [(event.type, event.end_user.pk, event.details) for event in heard] == [
        ("user.login_id.added", anna.pk, about(verified=True)),
        ("user.login_id.removed", anna.pk, about()),
        ("user.login_id.added", anna.pk, about("anna", "username", verified=False)),
    ]
    assert audited() == [
        ("user.login_id.added", anna.pk, {"login_id_type": "email", "verified": True}),
        ("user.login_id.removed", anna.pk, {"login_id_type": "email"}),
        ("user.login_id.added", anna.pk, {"login_id_type": "username", "verified": False}),
    ]


def test_whoever_hears_of_a_removal_sees_the_address_that_is_the_first_by_now(anna, heard):
    add(anna)
    account.remove_login_id(end_user=anna, login_id=anna.login_ids.get(value=EMAIL))
    assert heard[-1].end_user.user.email == OTHER


def test_what_is_refused_is_not_told(anna, heard):
    with pytest.raises(LoginIDNotAllowed):
        account.remove_login_id(end_user=anna, login_id=anna.login_ids.get())
    with pytest.raises(CredentialsWrong):
        account.change_password(end_user=anna, current="wrong", new=NEW_PASSWORD, keep=None)
    assert (heard, audited()) == ([], [])


def test_a_login_id_that_is_proven_is_told_once(application, heard):
    end_user = regular_user(application, verified=False)
    heard.clear()
    pending = account.verify_login_id(end_user=end_user, login_id=end_user.login_ids.get())
    account.finish_login_id(end_user=end_user, handle=pending.handle, host=HOST, code=last_code())
    assert [(event.type, event.details) for event in heard] == [("user.login_id.verified", about(EMAIL))]
    assert audited() == [("user.login_id.verified", end_user.pk, {"login_id_type": "email"})]


def test_an_account_that_goes_to_the_owner_of_its_address_is_told(application, heard):
    """What somebody had set up who never proved the address has gone; an operator can see why."""
    squatter = regular_user(application, verified=False)
    LoginID.objects.create(
        project=squatter.project, end_user=squatter, type="username", value="anna", key="username:anna"
    )
    heard.clear()
    pending = login.begin_code_login(project=squatter.project, text=EMAIL)
    login.finish_code_login(handle=pending.handle, host=HOST, code=last_code())
    assert [(event.type, event.details) for event in heard] == [
        ("user.login_id.removed", about("anna", "username")),
        ("user.login_id.verified", about(EMAIL, claimed=True)),
    ]
    assert audited()[-1] == ("user.login_id.verified", squatter.pk, {"login_id_type": "email", "claimed": True})


def test_a_new_password_is_told_with_how_it_came(anna, application, heard):
    account.change_password(end_user=anna, current=PASSWORD, new=NEW_PASSWORD, keep=None)
    secrets = []
    account.request_password_reset(project=anna.project, text=EMAIL, link=lambda secret: secrets.append(secret) or "")
    account.reset_password(secret=secrets[0], host=HOST, password=PASSWORD)
    told = [("user.password.changed", {"method": "password"}), ("user.password.changed", {"method": "reset_link"})]
    assert [(event.type, event.details) for event in heard] == told
    assert audited() == [(type, anna.pk, details) for type, details in told]


def test_what_the_host_says_of_an_address_is_told_as_the_hosts(anna, heard):
    follow_email(anna, OTHER, instead_of=[EMAIL])
    follow_email(anna, OTHER, verified=True)
    follow_email(anna, OTHER, verified=True)
    assert [(event.type, event.details) for event in heard] == [
        ("user.login_id.removed", about(EMAIL, by_host=True)),
        ("user.login_id.added", about(verified=False, by_host=True)),
        ("user.login_id.verified", about(by_host=True)),
    ]


def test_nothing_of_a_login_id_is_told_that_was_rolled_back(anna, heard):
    with pytest.raises(RuntimeError), transaction.atomic():
        account.add_login_id(end_user=anna, project=anna.project, type="username", text="anna")
        raise RuntimeError
    assert (heard, audited()) == ([], [])
