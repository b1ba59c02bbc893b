"""What a browser is in the middle of."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.utils import timezone

from anonusers import browser
from anonusers.browser import Flow
from anonusers.models import Project
from tests.conftest import make_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def visitor() -> HttpRequest:
    return another_browser()


def another_browser() -> HttpRequest:
    request = RequestFactory().get("/")
    request.session = Client().session  # type: ignore[assignment]
    return request


def reload(request: HttpRequest) -> HttpRequest:
    """The next request of the same browser: what was kept is what the session's store kept."""
    request.session.save()
    again = RequestFactory().get("/")
    again.session = type(request.session)(request.session.session_key)  # type: ignore[assignment]
    return again


def test_a_flow_is_found_again_by_the_browser_that_began_it(project: Project, visitor: HttpRequest) -> None:
    guest = uuid.uuid4()
    flow = browser.begin(visitor, Flow(project=project.pk, next="/a?b=c", guest=str(guest), application=7))
    assert len(flow.id) >= 22
    found = browser.find(reload(visitor), flow.id, project)
    assert found == flow
    assert found is not flow
    assert found.guest_id == guest


def test_nobody_else_finds_it(project: Project, visitor: HttpRequest) -> None:
    flow = browser.begin(visitor, Flow(project=project.pk, next="/"))
    assert browser.find(another_browser(), flow.id, project) is None
    assert browser.find(visitor, flow.id, make_project("other", "other.localhost")) is None
    for made_up in ("", "x", flow.id + "x", flow.id[:-1], "anonusers_flows"):
        assert browser.find(visitor, made_up, project) is None


def test_it_is_over_after_25_minutes(project: Project, visitor: HttpRequest) -> None:
    now = timezone.now()
    flow = browser.begin(visitor, Flow(project=project.pk, next="/"))
    for minutes, there in ((24.9, True), (25.1, False)):
        with time_machine.travel(now + timedelta(minutes=minutes)):
            assert (browser.find(visitor, flow.id, project) is not None) is there


def test_saving_keeps_what_was_learned_and_does_not_prolong_it(project: Project, visitor: HttpRequest) -> None:
    now = timezone.now()
    flow = browser.begin(visitor, Flow(project=project.pk, next="/"))
    with time_machine.travel(now + timedelta(minutes=20)):
        flow.pending = "handle"
        browser.save(visitor, flow)
    found = browser.find(reload(visitor), flow.id, project)
    assert found
    assert (found.pending, found.until) == ("handle", flow.until)
    with time_machine.travel(now + timedelta(minutes=26)):
        assert browser.find(visitor, flow.id, project) is None


def test_eight_at_a_time_and_the_oldest_make_room(project: Project, visitor: HttpRequest) -> None:
    flows = [browser.begin(visitor, Flow(project=project.pk, next=f"/{number}")) for number in range(12)]
    found = [browser.find(visitor, flow.id, project) for flow in flows]
    assert [one.next if one else None for one in found] == [None] * 4 + [f"/{number}" for number in range(4, 12)]


def test_an_ended_flow_is_gone_and_others_are_not(project: Project, visitor: HttpRequest) -> None:
    one, other = (browser.begin(visitor, Flow(project=project.pk, next="/")) for _ in range(2))
    browser.end(visitor, one)
    again = reload(visitor)
    assert browser.find(again, one.id, project) is None
    assert browser.find(again, other.id, project)


@pytest.mark.spec("ASVS", "7.2.4")
def test_who_has_proven_who_they_are_gets_a_new_session_key_and_csrf_token(
    project: Project, visitor: HttpRequest
) -> None:
    """F2."""
    visitor.session["basket"] = [1]
    flow = browser.begin(visitor, Flow(project=project.pk, next="/", pending="handle", pending_to="a…@example.com"))
    visitor = reload(visitor)
    planted, csrf = visitor.session.session_key, visitor.META.get("CSRF_COOKIE")
    sub = uuid.uuid4()

    found = browser.find(visitor, flow.id, project)
    assert found
    browser.authenticated(visitor, found, sub=sub, amr="otp")

    assert visitor.session.session_key != planted
    assert visitor.META["CSRF_COOKIE"] != csrf
    assert visitor.META["CSRF_COOKIE_NEEDS_UPDATE"]
    assert type(visitor.session)(planted).load() == {}
    after = browser.find(reload(visitor), flow.id, project)
    assert after
    assert (after.sub, after.amr, after.pending, after.pending_to) == (str(sub), "otp", "", "")
    assert abs(after.authenticated_at - timezone.now().timestamp()) < 5
    assert visitor.session["basket"] == [1]


@pytest.mark.parametrize("change", [{"new": 1}, {}], ids=["a field more", "a field less"])
def test_a_flow_of_another_release_is_over(project: Project, visitor: HttpRequest, change: dict[str, Any]) -> None:
    flow = browser.begin(visitor, Flow(project=project.pk, next="/"))
    stored = visitor.session[browser.KEY][flow.id]
    stored.update(change)
    if not change:
        del stored["next"]
    assert browser.find(visitor, flow.id, project) is None
