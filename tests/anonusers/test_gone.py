"""`guest_gone`: whoever holds a genuine token of somebody who was removed is told so, and nobody else."""

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from anonusers import account, device_keys, sessions
from anonusers.erasure import erase
from anonusers.errors import FlowGone, GuestGone, InvalidToken
from anonusers.models import EndUser, LoginID, Session
from anonusers.promotion import claim
from tests.anonusers.signing import ec_key
from tests.anonusers.test_authentication import make_guest
from tests.conftest import HOST, ORIGIN, make_application, make_project, row_counts
from tests.people import PASSWORD, regular_user
from tests.protocols.rest.conftest import Api, is_problem
from tests.protocols.rest.test_dpop import DPoPKey

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def remove(session):
    session.end_user.user.delete()


def find(token, **options):
    return sessions.find_by_access_token(**({"host": HOST, "origin": ORIGIN, "token": token} | options))


def refused(token, **options):
    with pytest.raises(InvalidToken) as caught:
        find(token, **options)
    return caught.type


@pytest.mark.parametrize("by", ["the host", "erasure", "rows only"])
def test_a_genuine_token_of_somebody_removed_says_so(application, by):
    session, token = make_guest(application)
    assert find(token) == session
    if by == "the host":
        remove(session)
    elif by == "erasure":
        erase(end_user=session.end_user)
    else:
        EndUser.objects.filter(pk=session.end_user_id).delete()
    assert refused(token) is GuestGone


def test_a_removed_regular_user_is_gone_as_well(application):
    owner = regular_user(application)
    session, _ = sessions.open_session(
        end_user=owner, project=application.project, application=application, kind=Session.Kind.TOKEN
    )
    session = Session.objects.in_full().get(pk=session.pk)
    issuer = sessions.Issuer(ORIGIN, lambda info: {})
    token = sessions.mint_tokens(session, issuer=issuer).access_token
    owner.user.delete()
    assert refused(token) is GuestGone


def test_whose_session_is_over_but_who_is_still_there_is_not_gone(application):
    session, token = make_guest(application)
    Session.objects.all().delete()  # as the clean-up does with old ones
    assert refused(token) is InvalidToken
    remove(session)
    assert refused(token) is GuestGone


def test_who_sleeps_is_not_gone(application):
    session, token = make_guest(application)
    EndUser.objects.update(disabled_at=timezone.now())
    assert refused(token) is InvalidToken
    EndUser.objects.update(disabled_at=None)
    assert find(token) == session


def test_only_a_verified_token_says_so(application, project):
    other = make_project("other", "other.example")
    _session, token = make_guest(application)
    _, opaque = make_guest(make_application(project, "opaque", issue_jwt_access_token=False))
    head, claims, signature = token.split(".")
    get_user_model().objects.all().delete()
    assert refused(token) is GuestGone
    for worthless in (f"{head}.{claims}.{signature[::-1]}", f"{head}.{claims}.", opaque):
        assert refused(worthless) is InvalidToken
    assert refused(token, origin="https://elsewhere.example") is InvalidToken
    # Another project's keys do not verify it, also where all share one issuer.
    assert other.pk != project.pk
    assert refused(token, host="other.example") is InvalidToken
    assert refused(token, host="nowhere.example") is InvalidToken


def test_an_expired_token_says_nothing(application):
    session, token = make_guest(application)
    remove(session)
    assert refused(token) is GuestGone
    with time_machine.travel(timezone.now().timestamp() + application.access_token_lifetime + 1):
        assert refused(token) is InvalidToken


def test_a_bound_token_says_so_only_to_the_holder_of_its_key(application):
    key, thief, path = DPoPKey(), DPoPKey(ec_key("thief")), "/api/v1/userinfo/"
    application.dpop_enabled = True
    application.save()
    token = Api().sign_up(headers={"DPoP": key.proof("/api/v1/signup/")}).json()["access_token"]
    assert Api().call("GET", path, **key.access(token)).status_code == 200
    get_user_model().objects.all().delete()
    assert is_problem(Api().call("GET", path, **key.access(token)), 401, "guest_gone")
    assert is_problem(Api().call("GET", path, **thief.access(token)), 401, "not_signed_in")
    assert is_problem(Api().call("GET", path, bearer=token), 401, "not_signed_in")
    assert is_problem(Api().call("GET", path, **key.access(token, path="/api/v1/keys/")), 401, "not_signed_in")


def test_it_costs_two_statements_and_none_who_shows_nothing_like_a_token(application):
    session, token = make_guest(application)
    remove(session)
    refused(token)  # keys are parsed once a process
    for shown, spent in ((token, 3), ("A" * 64, 1)):
        with CaptureQueriesContext(connection) as queries:
            refused(shown)
        assert len(queries) == spent


# --- the wires ------------------------------------------------------------------------------------

BEARER = 'Bearer realm="anonusers", DPoP algs="ES256 RS256"'
GONE = "This account is gone: it was deleted, or disabled just now. Sign up to start afresh."


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/v1/userinfo/", None),
        ("GET", "/api/v1/sessions/", None),
        ("POST", "/api/v1/logout/", {}),
        ("POST", "/api/v1/promote/", {"login_id": {"type": "email", "value": "a@example.com"}, "password": PASSWORD}),
        ("POST", "/api/v1/recovery-code/", {}),
    ],
)
def test_the_native_api_says_guest_gone(application, method, path, body):
    session, token = make_guest(application)
    remove(session)
    before = row_counts()
    answer = Api().call(method, path, body, bearer=token)
    assert is_problem(answer, 401, "guest_gone", title="Account gone", detail=GONE)
    assert answer["WWW-Authenticate"] == BEARER
    assert row_counts() == before


def test_who_is_gone_signs_up_afresh_with_the_dead_token_still_in_hand(application):
    session, token = make_guest(application)
    remove(session)
    answer = Api().sign_up(bearer=token)
    assert (answer.status_code, answer.json()["created"]) == (201, True)
    assert answer.json()["sub"] != str(session.end_user_id)


def test_a_live_cookie_counts_beside_a_token_of_somebody_gone(application):
    session, token = make_guest(application)
    remove(session)
    alive, cookie = make_guest(application, "cookie")
    api = Api()
    api.cookies["anonusers_session"] = cookie
    answer = api.userinfo(bearer=token)
    assert (answer.status_code, answer.json()["sub"]) == (200, str(alive.end_user_id))


@pytest.mark.parametrize("show", ["refresh token", "cookie"])
def test_what_cannot_be_verified_any_more_is_an_invalid_token(application, show):
    api = Api()
    signed_up = api.sign_up(kind="token" if show == "refresh token" else "cookie")
    get_user_model().objects.all().delete()
    if show == "cookie":
        assert is_problem(api.userinfo(), 401, "not_signed_in")
    else:
        assert is_problem(api.refresh(signed_up.json()["refresh_token"]), 401, "invalid_token")


def test_authgears_sdks_get_what_makes_them_drop_a_session(application):
    session, token = make_guest(application)
    remove(session)
    answer = Client(HTTP_HOST=HOST).get("/oauth2/userinfo", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_grant")
    resolved = Client(HTTP_HOST=HOST).get("/_resolver/resolve", headers={"Authorization": f"Bearer {token}"})
    assert (resolved.status_code, "X-Authgear-Session-Valid" in resolved.headers) == (200, False)


# --- between a look and a lock ----------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_session_is_opened_for_nobody_who_is_gone(application):
    session, _ = make_guest(application)
    end_user = session.end_user
    EndUser.objects.filter(pk=end_user.pk).delete()
    before = row_counts()
    with pytest.raises(GuestGone):
        sessions.open_session(
            end_user=end_user, project=application.project, application=application, kind=Session.Kind.TOKEN
        )
    assert row_counts() == before


@pytest.fixture
def removed(application):
    """A regular user as a request has just read them, and who is removed before it writes."""
    owner = regular_user(application)
    login_id = LoginID.objects.select_related("end_user__user").get(end_user=owner)
    EndUser.objects.filter(pk=owner.pk).delete()
    owner.id = login_id.end_user_id
    return owner, login_id


def test_what_needs_the_users_lock_finds_them_gone(removed):
    owner, login_id = removed
    before = row_counts()
    with pytest.raises(GuestGone), transaction.atomic():
        account._set_password(owner, "hash", method="password")
    with pytest.raises(GuestGone):
        account.remove_login_id(end_user=owner, login_id=login_id)
    with pytest.raises(GuestGone):
        device_keys.remove_key(end_user=owner, key_id="any-key-of-theirs")
    login_id.verified_at = None
    with pytest.raises(FlowGone):  # whoever reads a code of theirs is somebody else, who is not gone
        claim(login_id)
    assert row_counts() == before
