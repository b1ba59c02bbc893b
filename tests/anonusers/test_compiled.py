"""Look-ups that are compiled once find what a plain queryset finds, whatever was looked up before."""

import uuid
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from anonusers.models import Application, Project, Session, application_at, session_at
from anonusers.signup import sign_up
from tests.conftest import make_application, make_project

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def fields_of(row: Any) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def guest_of(project: Project, application: Application | None) -> Session:
    kind = Session.Kind.TOKEN if application else Session.Kind.COOKIE
    return sign_up(project=project, application=application, kind=kind).session


def test_a_session_is_found_with_all_that_belongs_to_it_in_one_statement(
    project: Project, application: Application
) -> None:
    for known in (guest_of(project, application), guest_of(project, None), guest_of(project, application)):
        expected = Session.objects.in_full().get(pk=known.pk)
        with CaptureQueriesContext(connection) as statements:
            found = session_at("localhost:8000", session_id=known.pk, kind=known.kind)
            assert found is not None
            assert found.end_user.is_guest
            pairs = [
                (found, expected),
                (found.project, expected.project),
                (found.end_user, expected.end_user),
                (found.end_user.user, expected.end_user.user),
                (found.end_user.anonymous_identity, expected.end_user.anonymous_identity),
            ]
            if found.application or expected.application:
                pairs.append((found.application, expected.application))
            assert [fields_of(one) for one, _ in pairs] == [fields_of(other) for _, other in pairs]
        assert len(statements) == 1


def test_a_promoted_users_session_is_found_without_an_identity(project: Project, application: Application) -> None:
    session = guest_of(project, application)
    session.end_user.anonymous_identity.delete()
    found = session_at("localhost", session_id=session.pk, kind="token")
    assert found is not None
    assert not found.end_user.is_guest


@pytest.mark.parametrize("host", ["other.example", "elsewhere.example", ""])
def test_a_session_is_found_at_its_own_projects_host_only(
    project: Project, application: Application, host: str
) -> None:
    make_project("other", "other.example")
    session = guest_of(project, application)
    assert session_at(host, session_id=session.pk, kind="token") is None
    assert session_at("localhost", session_id=session.pk, kind="cookie") is None
    assert session_at("localhost", session_id=uuid.uuid4(), kind="token") is None
    assert session_at("localhost", session_id=session.pk, kind="token") == session


def test_a_named_host_goes_before_the_one_for_all_the_others() -> None:
    named, rest = make_project("named", "named.example"), make_project("rest", "*")
    make_application(named, "web")
    make_application(rest, "web")
    for host, project in (("named.example", named), ("NAMED.example:1", named), ("x.example", rest)):
        application = application_at(host, client_id="web")
        assert application is not None
        assert application.project == project
    assert application_at("named.example", client_id="nobody") is None


def test_a_change_is_seen_at_the_next_look_up(project: Project, application: Application) -> None:
    assert application_at("localhost", client_id="web") is not None
    Project.objects.update(session_lifetime=777)
    Application.objects.update(access_token_lifetime=666)
    found = application_at("localhost", client_id="web")
    assert found is not None
    assert (found.access_token_lifetime, found.project.session_lifetime) == (666, 777)
