"""Events: Django signals, sent once, after commit."""

import pytest
from django.db import transaction

from anonusers import events, sessions, signup
from anonusers.models import Session
from tests.conftest import row_counts

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
