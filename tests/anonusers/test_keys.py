"""Signing keys: sealed at rest, rotated with overlap, parsed once."""

import jwt
import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.utils import timezone

from anonusers import keys, sessions, signup
from anonusers.errors import InvalidToken, SealBroken
from anonusers.keys import create_keys, key_ring, rotate_keys
from anonusers.models import Project, Session, SigningKey
from anonusers.refresh import refresh_session
from anonusers.tokens import Issuer
from tests.conftest import ORIGIN, make_project

pytestmark = [pytest.mark.django_db, pytest.mark.database]
HERE = {"host": "localhost", "origin": ORIGIN}
ISSUER = Issuer(ORIGIN, lambda info: {})


def a_token(application) -> str:
    application.project.refresh_from_db()
    signed_up = signup.sign_up(project=application.project, application=application, kind=Session.Kind.TOKEN)
    return sessions.mint_tokens(signed_up.session, issuer=ISSUER).access_token


def test_a_project_has_one_key_of_each_kind_and_creating_again_adds_none(project):
    create_keys(project)
    assert sorted(project.signing_keys.values_list("algorithm", flat=True)) == ["ES256", "HS256", "RS256"]


def test_private_keys_are_sealed_in_the_database(project):
    for row in project.signing_keys.all():
        assert "PRIVATE" not in row.private_key
        assert row.private_key.startswith("gAAAA")


def test_another_encryption_key_is_a_clear_error_and_makes_no_new_keys(project, settings):
    keys._rings.clear()
    settings.SECRET_KEY = "another" * 10
    with pytest.raises(SealBroken):
        key_ring(project)
    assert SigningKey.objects.count() == 3


def test_after_a_rotation_the_new_key_signs_and_the_old_token_lives_on(application):
    project = application.project
    old = a_token(application)
    rotate_keys(project)
    new = a_token(application)
    kids = [jwt.get_unverified_header(token)["kid"] for token in (old, new)]
    assert kids[0] != kids[1]
    assert set(kids) <= {key["kid"] for key in key_ring(project).jwks()["keys"]}
    for token in (old, new):
        assert sessions.find_by_access_token(**HERE, token=token)


def test_a_leaked_key_is_dropped_at_once(application):
    old = a_token(application)
    rotate_keys(application.project, at_once=True)
    with pytest.raises(InvalidToken):
        sessions.find_by_access_token(**HERE, token=old)
    assert sessions.find_by_access_token(**HERE, token=a_token(application))


def test_a_retired_key_goes_when_no_token_of_it_can_live(application):
    project = application.project
    with time_machine.travel(timezone.now(), tick=False) as clock:
        rotate_keys(project)
        assert project.signing_keys.count() == 5
        clock.shift(application.access_token_lifetime + 3599)
        rotate_keys(project, algorithms=("ES256",))
        assert project.signing_keys.count() == 6
        clock.shift(application.access_token_lifetime + 3601)
        rotate_keys(project, algorithms=("ES256",))
        assert sorted(project.signing_keys.values_list("algorithm", flat=True)) == ["ES256", "ES256", "HS256", "RS256"]


def test_another_process_sees_a_rotation_at_its_next_request(application):
    """The other process: same cache as before the rotation, a project row read afresh."""
    ring = key_ring(application.project)
    known = dict(keys._rings)
    rotate_keys(Project.objects.get(pk=application.project.pk))
    keys._rings.update(known)
    assert key_ring(application.project) is ring, "the stale row still names the old version"
    fresh = Project.objects.get(pk=application.project.pk)
    assert key_ring(fresh) is not ring


def test_another_process_that_never_asks_hears_of_a_dropped_key_within_a_minute(application, monkeypatch):
    kid = key_ring(application.project).signing("ES256").kid
    known = dict(keys._rings)
    rotate_keys(application.project, at_once=True)
    keys._rings.update(known)
    assert keys.key_ring_of(kid) is not None
    asked_at = known[application.project.pk].asked_at
    monkeypatch.setattr(keys.time, "monotonic", lambda: asked_at + keys.TRUSTED_FOR)
    assert keys.key_ring_of(kid) is None


def test_keys_are_parsed_once_and_not_at_requests(application, monkeypatch):
    key_ring(application.project)
    monkeypatch.setattr(keys, "parse_key", None)
    token = a_token(application)
    assert sessions.find_by_access_token(**HERE, token=token)


def test_opaque_tokens_survive_the_rotation_of_their_key(application):
    application.issue_jwt_access_token = False
    application.save()
    old = a_token(application)
    rotate_keys(application.project, algorithms=("HS256",))
    assert sessions.find_by_access_token(**HERE, token=old)


def test_a_refresh_token_survives_the_rotation_of_the_key_that_derives_it(application):
    signed_up = signup.sign_up(project=application.project, application=application, kind=Session.Kind.TOKEN)
    first = str(signed_up.secret)
    refresh = {"host": "localhost", "client_id": "web", "issuer": ISSUER}
    second = refresh_session(refresh_token=first, **refresh).refresh_token
    rotate_keys(application.project, algorithms=("HS256",))
    assert refresh_session(refresh_token=first, **refresh).refresh_token == second
    third = refresh_session(refresh_token=second, **refresh).refresh_token
    assert third not in (first, second)


def test_the_command_rotates_and_names_an_unknown_project(project, capsys):
    call_command("anonusers_rotate_keys", "guestbook")
    assert capsys.readouterr().out.count("signs from now on") == 2
    with pytest.raises(CommandError, match="no project 'nothing'"):
        call_command("anonusers_rotate_keys", "nothing")


def test_projects_do_not_share_keys(project):
    other = make_project("other", "other.localhost")
    ours, theirs = ({key.kid for key in key_ring(p).keys} for p in (project, other))
    assert not ours & theirs
