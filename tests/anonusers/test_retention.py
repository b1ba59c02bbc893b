"""The statement about retention is true where somebody might hope for more."""

import pytest

from anonusers import device_keys
from anonusers.models import EndUser, OneTimeToken, Session
from anonusers.retention import statement
from tests.cleaning import old_guest, run, set_project

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NOT_HELD = "Neither a recovery code nor a device key that is not used keeps a guest for longer than that."


def test_a_recovery_code_that_is_still_good_does_not_keep_a_guest_and_the_statement_says_so(application, project):
    set_project(project, quarantine_days=0)
    guest = old_guest(application)
    Session.objects.filter(end_user=guest).update(ended_at=None)
    session = Session.objects.in_full().get(end_user=guest)
    issued = device_keys.issue_recovery_code(session=session)
    Session.objects.filter(end_user=guest).update(ended_at=session.last_used_at)
    assert OneTimeToken.objects.get(end_user=guest).expires_at == issued.expires_at
    assert NOT_HELD in " ".join(statement(project))
    run(project)
    assert not EndUser.objects.exists()
    assert not OneTimeToken.objects.filter(purpose=OneTimeToken.Purpose.RECOVERY_CODE).exists()


@pytest.mark.parametrize(("days", "said"), [(90, True), (0, False)])
@pytest.mark.parametrize("quarantine", [0, 7])
def test_where_guests_are_kept_for_ever_there_is_nothing_to_warn_of(project, days, quarantine, said):
    set_project(project, guest_inactive_days=days, quarantine_days=quarantine)
    assert (NOT_HELD in " ".join(statement(project))) is said
