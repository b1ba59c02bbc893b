"""What an operator does with people: it holds at once, for every token, and touches nobody else."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from anonusers import events
from anonusers.administration import (
    create_guest,
    delete_user,
    disable_user,
    enable_user,
    end_one_session,
    end_sessions,
    is_staff,
)
from anonusers.device_keys import issue_recovery_code, look_at_recovery_code
from anonusers.errors import (
    AnonymousUsersDisabled,
    ApplicationTypeNotAllowed,
    CleanupRefused,
    ErasureForbidden,
    PublicSignupDisabled,
    SignupVetoed,
    UnknownSession,
)
from anonusers.models import Application, EndUser, OneTimeToken, Session
from anonusers.onetime import CROCKFORD
from tests.conftest import HOST, make_application, row_counts, state_of
from tests.people import guest_session, new_guest, regular_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def post(path: str, body: dict[str, Any]) -> Any:
    return Client(HTTP_HOST=HOST).post(path, body, content_type="application/json")


def sign_up(application: Application, **fields: Any) -> dict[str, Any]:
    answer = post("/api/v1/signup/", {"client_id": application.client_id, "kind": "token"} | fields)
    assert answer.status_code == 201
    return answer.json()


def statuses(application: Application, tokens: dict[str, Any]) -> list[int]:
    """What the refresh token, and the access token at our own door and at the resolver's, are worth."""
    client = Client(HTTP_HOST=HOST)
    bearer = {"authorization": f"Bearer {tokens['access_token']}"}
    refreshed = post("/api/v1/refresh/", {"client_id": application.client_id, "refresh_token": tokens["refresh_token"]})
    return [
        refreshed.status_code,
        client.get("/api/v1/userinfo/", headers=bearer).status_code,
        client.get("/oauth2/userinfo", headers=bearer).status_code,
    ]


@pytest.mark.parametrize("as_jwt", [True, False], ids=["JWT", "opaque"])
def test_a_disabled_user_is_refused_everywhere_and_comes_back_when_enabled(
    application: Application, as_jwt: bool
) -> None:
    application.issue_jwt_access_token = as_jwt
    application.save()
    tokens, others = sign_up(application), sign_up(application)
    user = EndUser.objects.get(pk=tokens["sub"])
    assert statuses(application, tokens) == [200, 200, 200]
    assert disable_user(end_user=user) is True
    assert statuses(application, tokens) == [401, 401, 401]
    assert statuses(application, others) == [200, 200, 200]
    assert Session.objects.get(end_user=user).ended_at is None  # it sleeps
    assert enable_user(end_user=user) is True
    assert statuses(application, tokens) == [200, 200, 200]


def test_the_cookie_of_a_disabled_user_is_refused(application: Application) -> None:
    client = Client(HTTP_HOST=HOST)
    answer = client.post("/api/v1/signup/", {"client_id": "web", "kind": "cookie"}, content_type="application/json")
    assert answer.status_code == 201
    assert client.get("/api/v1/userinfo/").status_code == 200
    disable_user(end_user=EndUser.objects.get())
    assert client.get("/api/v1/userinfo/").status_code == 401


def test_disabling_twice_keeps_the_first_moment(application: Application) -> None:
    guest = new_guest(application)
    earlier = timezone.now() - timedelta(days=1)
    assert disable_user(end_user=guest, now=earlier) is True
    assert guest.disabled_at == earlier
    assert disable_user(end_user=guest) is False
    assert EndUser.objects.get().disabled_at == earlier
    assert enable_user(end_user=guest) is True
    assert guest.disabled_at is None
    assert enable_user(end_user=guest) is False
    assert EndUser.objects.get().disabled_at is None


def test_disabling_changes_nothing_else_of_nobody(application: Application) -> None:
    guest, other = new_guest(application), new_guest(application)
    before, counts = state_of(other, *Session.objects.order_by("pk")), row_counts()
    disable_user(end_user=guest)
    assert (state_of(other, *Session.objects.order_by("pk")), row_counts()) == (before, counts)


def test_who_is_gone_is_neither_disabled_nor_enabled(application: Application) -> None:
    guest = new_guest(application)
    delete_user(end_user=guest)
    assert (disable_user(end_user=guest), enable_user(end_user=guest), end_sessions(end_user=guest)) == (
        False,
        False,
        0,
    )
    assert delete_user(end_user=guest).removed == {}


def test_ending_sessions_ends_all_of_one_person_at_once(application: Application, monkeypatch: Any) -> None:
    told = []
    monkeypatch.setattr(events, "emit", lambda event: told.append((event.type, event.details)))
    tokens = sign_up(application)
    user = EndUser.objects.get(pk=tokens["sub"])
    first = Session.objects.get(end_user=user)
    second = Session.objects.create(
        project=user.project,
        end_user=user,
        kind="cookie",
        refresh_hash="",
        created_at=timezone.now(),
        last_used_at=timezone.now(),
    )
    others = sign_up(application)
    told.clear()
    assert end_sessions(end_user=user) == 2
    assert told == [("user.signed_out", {"reason": "revoked"})] * 2
    assert not Session.objects.filter(pk__in=(first.pk, second.pk), ended_at=None).exists()
    assert statuses(application, tokens) == [401, 401, 401]
    assert statuses(application, others) == [200, 200, 200]
    assert end_sessions(end_user=user) == 0


def test_one_session_is_ended_also_while_it_sleeps(application: Application) -> None:
    session = guest_session(application)
    disable_user(end_user=session.end_user)
    assert end_one_session(end_user=session.end_user, session_id=session.pk) == session
    assert Session.objects.get().ended_at is not None
    with pytest.raises(UnknownSession):
        end_one_session(end_user=session.end_user, session_id=session.pk)


def test_a_session_of_somebody_else_is_not_ended(application: Application) -> None:
    mine, theirs = guest_session(application), guest_session(application)
    before = state_of(mine, theirs)
    with pytest.raises(UnknownSession):
        end_one_session(end_user=mine.end_user, session_id=theirs.pk)
    assert state_of(mine, theirs) == before


def test_deleting_takes_everything_of_one_person(application: Application) -> None:
    guest, other = new_guest(application), regular_user(application)
    before = row_counts()
    foreseen = delete_user(end_user=guest, dry_run=True)
    assert foreseen.removed == {"anonusers.Session": 1, "anonusers.AnonymousIdentity": 1}
    assert row_counts() == before
    assert delete_user(end_user=guest) == foreseen
    assert list(EndUser.objects.all()) == [other]
    gone = {name: before[name] - number for name, number in row_counts().items() if before[name] > number}
    assert gone == {
        "anonusers.AnonymousIdentity": 1,
        "anonusers.EndUser": 1,
        "anonusers.Session": 1,
        "auth.User": 1,
    }


@pytest.mark.parametrize("flag", ["is_staff", "is_superuser"])
def test_staff_is_never_deleted(application: Application, flag: str) -> None:
    guest = new_guest(application)
    type(guest.user).objects.filter(pk=guest.user_id).update(**{flag: True})  # since the row was read
    before = row_counts()
    assert is_staff(guest)
    for dry_run in (True, False):
        with pytest.raises(ErasureForbidden, match="belongs to the staff"):
            delete_user(end_user=guest, dry_run=dry_run)
    assert row_counts() == before


def test_nobody_is_deleted_while_it_is_not_declared_what_becomes_of_the_hosts_data(
    application: Application, settings: Any
) -> None:
    guest = new_guest(application)
    settings.ANONUSERS_GUEST_DATA = {}
    before = row_counts()
    with pytest.raises(CleanupRefused):
        delete_user(end_user=guest)
    assert row_counts() == before


# --- a guest for somebody ---------------------------------------------------------------------------


def test_a_guest_is_made_with_a_code_and_without_a_session(application: Application, monkeypatch: Any) -> None:
    told = []
    monkeypatch.setattr(events, "emit", lambda event: told.append((event.type, event.end_user)))
    made = create_guest(project=application.project, application=application)
    guest = EndUser.objects.get()
    assert (made.end_user, guest.is_guest, guest.application, guest.project) == (
        guest,
        True,
        application,
        application.project,
    )
    assert told == [("user.created", guest)]
    assert not guest.user.has_usable_password()
    assert Session.objects.count() == 0
    assert len(made.code) == 19
    assert set(made.code) <= {*CROCKFORD, "-"}
    assert timedelta(days=364) < made.expires_at - timezone.now() <= timedelta(days=365)
    found = look_at_recovery_code(made.code.lower(), host=HOST)
    assert (found.end_user, found.pk) == (guest, OneTimeToken.objects.get().pk)
    assert made.code not in str(OneTimeToken.objects.values().get())


def test_a_guest_that_was_handed_over_may_have_another_code(application: Application) -> None:
    """The one before is worthless then, as after any other."""
    made = create_guest(project=application.project, application=application)
    session = guest_session(application)
    Session.objects.update(end_user=made.end_user)
    session.end_user = made.end_user
    issue_recovery_code(session=session)
    assert OneTimeToken.objects.filter(used_at=None).count() == 1


def test_no_budget_is_spent(application: Application, settings: Any) -> None:
    settings.ANONUSERS_SIGNUP_PER_IP = "1/d"
    for _ in range(3):
        create_guest(project=application.project, application=application)
    assert post("/api/v1/signup/", {"client_id": "web", "kind": "token"}).status_code == 201
    assert EndUser.objects.count() == 4


class Closed:
    def is_open_for_signup(self, project: Any) -> bool:
        return False


class Vetoing:
    def is_open_for_signup(self, project: Any) -> bool:
        return True

    def pre_create(self, project: Any, application: Any) -> None:
        raise SignupVetoed("No", "Not today.")


def test_what_stands_in_the_way_leaves_nothing_behind(application: Application, monkeypatch: Any) -> None:
    project = application.project
    machine = make_application(project, "machine", type="m2m")
    before = row_counts()
    with pytest.raises(ApplicationTypeNotAllowed):
        create_guest(project=project, application=machine)
    for adapter, error in ((Closed, PublicSignupDisabled), (Vetoing, SignupVetoed)):
        with monkeypatch.context() as patch, pytest.raises(error):
            patch.setattr("anonusers.administration.get_adapter", adapter)
            create_guest(project=project, application=application)
    project.anonymous_users_enabled = False
    with pytest.raises(AnonymousUsersDisabled):
        create_guest(project=project, application=application)
    assert row_counts() == before
