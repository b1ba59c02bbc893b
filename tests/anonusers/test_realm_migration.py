"""Old tokens of MongoDB's while an app is moved here: kept waiting, adopted once, and refused without a trace."""

import json
import threading
from datetime import timedelta
from zoneinfo import ZoneInfo

import jwt
import pytest
from django.db import close_old_connections, connection
from django.utils import timezone

from anonusers import realm_migration
from anonusers.administration import disable_user
from anonusers.errors import AnonUsersError, InvalidToken, MigrationNotFinished, UserDisabled
from anonusers.models import AnonymousIdentity, AuditEvent, EndUser, RealmIdentity, RealmUser, Session
from anonusers.promotion import promote
from anonusers.realm_migration import foreign_access_token, foreign_refresh_token, foreign_session
from anonusers.realm_user_import import import_users
from anonusers.realm_users import realm_app_of
from anonusers.sessions import end_session
from tests.cleaning import set_project
from tests.conftest import make_application, make_project, row_counts, state_of
from tests.people import proof_of

DOMAIN = "6b0061f80ed423d4c533388b"
SUB = "6b0061f8e676470ab17fd3ab"
IDENTITY = "6b0061f8f93a7e50f060dc3b-nwlquagybvdoinonqaisntzi"
OTHER = "6b0061f8f93a7e50f060dc3c-abcdefghijklmnopqrstuvwx"
SECRET = "what only MongoDB knows, and nobody else ever will"


def claims(**changes):
    """Of a refresh token, as MongoDB's servers made them. None takes a claim away."""
    issued = int(timezone.now().timestamp()) - 86_400
    identity = {"id": IDENTITY, "provider_type": "anon-user", "provider_id": "6b0061f87425bbf638dde74a"}
    said = {
        "sub": SUB,
        "iat": issued,
        "exp": issued + 1_576_800_000,
        "typ": "refresh",
        "baas_device_id": "6b0061f8634a635b817a5acc",
        "stitch_devId": "6b0061f8634a635b817a5acc",
        "baas_domain_id": DOMAIN,
        "stitch_domainId": DOMAIN,
        "baas_id": "6b0061f8634a635b817a5acd",
        "stitch_id": "6b0061f8634a635b817a5acd",
        "baas_identity": identity,
        "stitch_ident": identity,
        "baas_data": None,
        "stitch_data": None,
    } | changes
    return {name: value for name, value in said.items() if value is not None or name.endswith("_data")}


def token(secret=SECRET, **changes):
    return jwt.encode(claims(**changes), secret, "HS256")


def access_token(**changes):
    return token(typ="access", baas_identity=None, stitch_ident=None, **changes)


def identity(**changes):
    named = {"id": IDENTITY, "provider_type": "anon-user"} | changes
    return {"baas_identity": named, "stitch_ident": named}


def moment(days):
    return (timezone.now() + timedelta(days=days)).isoformat(timespec="seconds")


def move_in(project, path, sub=SUB, identity_id=IDENTITY, disabled=False):
    """Import one guest."""
    identities = [{"id": identity_id, "provider_type": "anon-user", "provider_id": "x"}]
    path.write_text(json.dumps([{"_id": sub, "identities": identities, "type": "normal", "disabled": disabled}]))
    assert [one.problems for one in import_users(project=project, path=path, domain_id=DOMAIN)] == [()]
    return RealmUser.objects.get(project=project, object_id=sub).end_user


@pytest.fixture
def shop(db):
    project = make_project("shop", realm_app_id="shop-abcde", realm_migration_until=moment(30), realm_adopt_guests=True)
    make_application(project, "shop-abcde", refresh_token_rotation_enabled=False, dpop_enabled=False)
    return project


@pytest.fixture
def guest(shop, tmp_path):
    return move_in(shop, tmp_path / "users.json")


def adopt(presented, project=None, now=None):
    return foreign_refresh_token(project, presented, now or timezone.now())


def refused(presented, error, *rows, project=None, now=None):
    """The token is refused, by this error, and nothing changes."""
    before = row_counts(), state_of(*rows, *RealmUser.objects.all())
    with pytest.raises(AnonUsersError) as raised:
        adopt(presented, project, now)
    assert type(raised.value) is error
    assert (row_counts(), state_of(*rows, *RealmUser.objects.all())) == before


# --- adopting ---------------------------------------------------------------------------------------


@pytest.mark.database
def test_an_old_token_leads_back_to_its_imported_guest(shop, guest):
    session = adopt(token())

    assert session.end_user == guest
    assert (session.kind, session.application.client_id, session.project) == ("token", "shop-abcde", shop)
    assert session.end_user.is_guest
    assert session.is_live(timezone.now())
    assert RealmUser.objects.get().adopted_at is not None
    event = AuditEvent.objects.get(type="user.realm_token_adopted")
    assert (event.category, event.end_user_id, event.project) == ("security", guest.pk, shop)
    assert event.changes == {"application": "shop-abcde"}


def test_the_same_token_goes_on_for_ever_as_clients_keep_their_first_one(shop, guest):
    presented = token()
    session = adopt(presented)
    before = row_counts()

    assert adopt(presented) == adopt(presented, shop) == foreign_session(None, presented, timezone.now()) == session
    set_project(shop, realm_migration_until=moment(-1), realm_adopt_guests=False)
    assert adopt(presented) == session
    assert row_counts() == before


def test_a_second_token_that_says_the_same_is_refused(shop, guest):
    session = adopt(token())

    refused(token(secret="a forger's, of some other length than that"), MigrationNotFinished, session)
    set_project(shop, realm_migration_until=moment(-1))
    refused(token(secret="a forger's, of some other length than that"), InvalidToken, session)


def test_without_the_switch_nobody_is_adopted(shop, guest):
    set_project(shop, realm_adopt_guests=False)

    refused(token(), MigrationNotFinished, guest)


@pytest.mark.parametrize("until", ["", "past"])
def test_outside_the_window_an_old_token_is_worth_nothing(shop, guest, until):
    set_project(shop, realm_migration_until=moment(-1) if until else "")

    refused(token(), InvalidToken, guest)


def test_the_window_ends_with_its_moment(shop, guest):
    end = (timezone.now() + timedelta(days=1)).replace(microsecond=0)
    set_project(shop, realm_migration_until=end.astimezone(ZoneInfo("Asia/Tokyo")).isoformat())

    refused(token(), InvalidToken, guest, now=end)
    assert adopt(token(), now=end - timedelta(seconds=1)).end_user == guest


MISMATCHES = {
    "another user": {"sub": "6b0061f8e676470ab17fd3ac"},
    "no user": {"sub": None},
    "a user that is no text": {"sub": 7},
    "another identity": identity(id=OTHER),
    "the beginning of the identity": identity(id=IDENTITY[:24]),
    "no identity": {"baas_identity": None, "stitch_ident": None},
    "an identity that is no table": {"baas_identity": IDENTITY, "stitch_ident": IDENTITY},
    "another kind of identity": identity(provider_type="local-userpass"),
    "two identities that differ": {"stitch_ident": {"id": OTHER, "provider_type": "anon-user"}},
    "an access token": {"typ": "access"},
    "no typ": {"typ": None},
    "expired": {"exp": 1_600_000_000},
    "from the future": {"iat": 4_000_000_000, "exp": 4_000_000_001},
    "no times": {"iat": None, "exp": None},
    "times that are no numbers": {"exp": "4000000000"},
    "another user pool": {"baas_domain_id": "7" * 24, "stitch_domainId": "7" * 24},
}


@pytest.mark.parametrize("name", MISMATCHES)
def test_what_does_not_match_is_kept_waiting_and_changes_nothing(shop, guest, name):
    refused(token(**MISMATCHES[name]), MigrationNotFinished, guest)


@pytest.mark.parametrize("name", MISMATCHES)
def test_and_is_refused_once_the_window_is_over(shop, guest, name):
    set_project(shop, realm_migration_until=moment(-1))

    refused(token(**MISMATCHES[name]), InvalidToken, guest)


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "x",
        "null",
        "a.b.c",
        "é.é.é",
        "x" * 5000,
        jwt.encode({}, SECRET, "HS256"),
        jwt.encode({"baas_domain_id": "x"}, SECRET, "HS256"),
        jwt.encode({"baas_domain_id": DOMAIN, "stitch_domainId": "7" * 24, "sub": SUB}, SECRET, "HS256"),
        jwt.encode({"baas_domain_id": [DOMAIN]}, SECRET, "HS256"),
    ],
)
def test_what_cannot_be_mongodbs_is_refused_at_once(shop, guest, garbage):
    refused(garbage, InvalidToken, guest)
    for find in (foreign_session, foreign_access_token):
        with pytest.raises(InvalidToken):
            find(None, garbage, timezone.now())


def test_the_older_names_of_the_claims_are_understood(shop, guest):
    old = token(baas_domain_id=None, baas_identity=None, baas_id=None, baas_device_id=None)

    assert adopt(old).end_user == guest


def test_an_app_that_the_path_names_must_be_the_tokens_own(shop, guest):
    other = make_project("other", "other.localhost", realm_app_id="other-abcde")
    make_application(other, "other-abcde")

    refused(token(), MigrationNotFinished, guest, project=other)
    assert adopt(token(), shop).end_user == guest


def test_two_apps_with_one_user_pool_are_told_apart_by_nobody(shop, guest):
    other = make_project("other", "other.localhost", realm_app_id="other-abcde")
    make_application(other, "other-abcde")
    app = realm_app_of(other)
    app.domain_id = DOMAIN
    app.save()

    refused(token(), MigrationNotFinished, guest)


def test_an_identity_that_could_be_guessed_is_no_evidence(shop, tmp_path):
    guest = move_in(shop, tmp_path / "users.json", identity_id="6b0061f8f93a7e50f060dc3b")

    refused(token(**identity(id="6b0061f8f93a7e50f060dc3b")), MigrationNotFinished, guest)


def test_guests_who_were_not_imported_are_never_adopted(shop, guest):
    RealmUser.objects.update(imported_at=None)

    refused(token(), MigrationNotFinished, guest)


def test_an_identity_of_another_guest_leads_nowhere(shop, guest, tmp_path):
    move_in(shop, tmp_path / "more.json", sub="6b0061f8e676470ab17fd3ac", identity_id=OTHER)

    refused(token(**identity(id=OTHER)), MigrationNotFinished, guest)


def test_who_is_disabled_is_not_adopted(shop, tmp_path):
    guest = move_in(shop, tmp_path / "users.json", disabled=True)
    refused(token(), MigrationNotFinished, guest)

    EndUser.objects.update(disabled_at=None)
    guest.user.is_active = False
    guest.user.save()
    refused(token(), MigrationNotFinished, guest)


def test_who_was_linked_meanwhile_is_not_adopted(shop, guest):
    promote(end_user=guest, project=shop, proof=proof_of())

    assert RealmIdentity.objects.filter(provider_type="anon-user").exists()
    refused(token(), MigrationNotFinished, guest)


def test_who_was_removed_is_not_adopted(shop, guest):
    guest.delete()

    refused(token(), MigrationNotFinished)


def test_without_the_application_nobody_is_adopted(shop, guest):
    shop.applications.all().delete()

    refused(token(), MigrationNotFinished, guest)


def test_a_project_that_is_being_deleted_adopts_nobody(shop, guest):
    set_project(shop, deleted_at=timezone.now())

    refused(token(), InvalidToken, guest)


# --- afterwards -------------------------------------------------------------------------------------


def test_linking_keeps_the_session_and_logging_out_ends_it(shop, guest):
    presented = token()
    session = adopt(presented)

    promote(end_user=guest, project=shop, proof=proof_of(), keep_session=session)
    assert adopt(presented) == session
    assert not adopt(presented).end_user.is_guest

    end_session(adopt(presented))
    for find in (foreign_refresh_token, foreign_session):
        with pytest.raises(InvalidToken):  # also while the window is open: this very token was logged out
            find(None, presented, timezone.now())


def test_a_disabled_user_gets_back_in_once_enabled(shop, guest):
    presented = token()
    session = adopt(presented)
    disable_user(end_user=guest)

    refused(presented, UserDisabled, guest)
    EndUser.objects.update(disabled_at=None)
    guest.user.is_active = True
    guest.user.save()

    assert adopt(presented) == session


def test_looking_for_a_session_adopts_nobody(shop, guest):
    before = row_counts()

    with pytest.raises(MigrationNotFinished):
        foreign_session(None, token(), timezone.now())
    set_project(shop, realm_migration_until="")
    with pytest.raises(InvalidToken):
        foreign_session(None, token(), timezone.now())

    assert row_counts() == before


# --- access tokens, and pools that nobody has -------------------------------------------------------


def test_an_old_access_token_waits_and_where_guests_are_adopted_the_client_is_sent_to_refresh(shop, guest):
    def answer():
        with pytest.raises(AnonUsersError) as raised:
            foreign_access_token(None, access_token(), timezone.now())
        return type(raised.value)

    assert answer() is InvalidToken
    set_project(shop, realm_adopt_guests=False)
    assert answer() is MigrationNotFinished
    set_project(shop, realm_migration_until=moment(-1))
    assert answer() is InvalidToken


def test_tokens_of_an_unknown_pool_wait_while_any_app_is_being_moved(shop):
    unknown = {"baas_domain_id": "7" * 24, "stitch_domainId": "7" * 24}

    refused(token(**unknown), MigrationNotFinished)
    set_project(shop, realm_migration_until=moment(-1))
    refused(token(**unknown), InvalidToken)


# --- at once ----------------------------------------------------------------------------------------


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("same", [True, False])
def test_of_two_tokens_at_once_one_wins_and_the_same_one_twice_is_one_session(shop, guest, monkeypatch, same):
    """Both have looked before either writes."""
    both = threading.Barrier(2, timeout=10)
    look = realm_migration._bound
    first = threading.local()

    def look_together(*args):
        found = look(*args)
        if not getattr(first, "was_here", False):
            first.was_here = True
            both.wait()
        return found

    monkeypatch.setattr(realm_migration, "_bound", look_together)
    answers = []

    def come(presented):
        try:
            answers.append(adopt(presented).pk)
        except MigrationNotFinished:
            answers.append(None)
        finally:
            close_old_connections()
            connection.close()

    tokens = [token(), token() if same else token(secret="a forger's, of some other length than that")]
    tokens = [tokens[0]] * 2 if same else tokens
    threads = [threading.Thread(target=come, args=(one,)) for one in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    session = Session.objects.get()
    assert sorted(answers, key=str) == ([session.pk] * 2 if same else sorted([session.pk, None], key=str))
    assert AuditEvent.objects.filter(type="user.realm_token_adopted").count() == 1
    assert AnonymousIdentity.objects.count() == 1
