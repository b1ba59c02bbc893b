"""anonusers/static/anonusers/guest.js in a real Chromium, on a page of the server that it signs up at."""

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from anonusers.limits import forget
from anonusers.models import AnonymousIdentity, EndUser, Project, Session
from example.models import Comment

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SET_UP = """async () => {
  window.guest = await import("/static/anonusers/guest.js");
  guest.configure({ clientID: "guestbook-cookie" });
  window.write = (text, options) => guest.fetchAsGuest("/comments/", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ text }), ...options,
  }).then((response) => response.status);
  const told = ({ name, status, code, retryAfter }) => [name, status, code, retryAfter];
  window.refused = (promise) => promise.then(() => "nothing", told);
}"""


@pytest.fixture
def new_tab(new_context: Callable[..., Any], server: str, project: Project) -> Callable[..., Any]:
    """A factory of tabs that have loaded the module. `context` makes it another tab of the same browser."""

    def make(context: Any = None) -> Any:
        page = (context or new_context()).new_page()
        page.signups = []
        page.on("request", lambda request: page.signups.append(request) if request.url.endswith("/signup/") else None)
        page.goto(f"{server}/")
        page.evaluate(SET_UP)
        return page

    return make


@pytest.fixture
def tab(new_tab: Callable[..., Any]) -> Any:
    return new_tab()


def people() -> tuple[int, int, int]:
    return EndUser.objects.count(), Session.objects.count(), Comment.objects.count()


def test_loading_and_reading_make_nobody_a_guest(tab: Any) -> None:
    for options in ({}, {"method": "HEAD"}, {"method": "options"}):
        read = "(options) => guest.fetchAsGuest('/comments/', options).then((response) => response.status)"
        assert tab.evaluate(read, options) == 200
    assert tab.signups == []
    assert tab.context.cookies() == []
    assert people() == (0, 0, 0)


def test_the_first_write_signs_up_and_the_second_does_not_ask_again(tab: Any) -> None:
    assert tab.evaluate("write('First')") == 201
    assert tab.evaluate("write('Second')") == 201
    assert len(tab.signups) == 1
    assert people() == (1, 1, 2)
    cookies = {cookie["name"]: cookie for cookie in tab.context.cookies()}
    assert cookies.keys() == {"anonusers_session", "same_site_strict"}
    assert cookies["anonusers_session"]["httpOnly"] is True
    assert tab.evaluate("localStorage.length + sessionStorage.length") == 0


def test_a_double_click_makes_one_guest(tab: Any) -> None:
    assert tab.evaluate("Promise.all([write('One'), write('Two'), write('Three')])") == [201, 201, 201]
    assert len(tab.signups) == 1
    assert people() == (1, 1, 3)


def test_two_tabs_at_once_make_one_guest(new_tab: Callable[..., Any]) -> None:
    one = new_tab()
    other = new_tab(one.context)
    for tab in (one, other):
        tab.evaluate("() => { window.written = new Promise((done) => setTimeout(() => done(write('Here')), 200)); }")
    assert [tab.evaluate("written") for tab in (one, other)] == [201, 201]
    assert (len(one.signups), len(other.signups)) == (1, 1)
    assert people() == (1, 1, 2)


def test_a_reload_finds_the_same_guest(tab: Any) -> None:
    sub = tab.evaluate("guest.ensureGuest().then((answer) => answer.sub)")
    tab.reload()
    tab.evaluate(SET_UP)
    assert tab.evaluate("guest.ensureGuest().then((answer) => answer.sub)") == sub == str(EndUser.objects.get().id)
    assert people() == (1, 1, 0)


def test_a_session_that_died_is_replaced_once(tab: Any) -> None:
    assert tab.evaluate("write('Alive')") == 201
    Session.objects.update(ended_at=timezone.now())
    assert tab.evaluate("write('Again')") == 201
    assert people() == (2, 2, 2)
    assert len(tab.signups) == 2


def test_who_logged_out_is_asked_for_again(tab: Any) -> None:
    tab.evaluate("write('Here')")
    assert tab.evaluate("fetch('/api/v1/logout/', { method: 'POST' }).then((response) => response.status)") == 204
    tab.evaluate("guest.forgetGuest()")
    assert tab.evaluate("write('Somebody else')") == 201
    assert people() == (2, 2, 2)


def test_a_regular_user_writes_as_themselves(tab: Any) -> None:
    tab.evaluate("write('As a guest')")
    AnonymousIdentity.objects.all().delete()
    tab.reload()
    tab.evaluate(SET_UP)
    assert tab.evaluate("guest.ensureGuest()") is None
    assert tab.evaluate("write('As a member')") == 201
    assert people() == (1, 1, 2)


def test_an_answer_that_was_lost_makes_no_second_guest(tab: Any) -> None:
    tab.route("**/api/v1/signup/", lambda route: (route.fetch(), route.abort()))
    assert tab.evaluate("refused(write('Lost'))") == ["GuestError", 0, "offline", 0]
    tab.unroute("**/api/v1/signup/")
    assert tab.evaluate("write('Found')") == 201
    assert people() == (1, 1, 1)


def test_what_is_refused_is_told_and_can_be_tried_again(tab: Any, project: Project, settings: Any) -> None:
    project.anonymous_users_enabled = False
    project.save()
    assert tab.evaluate("refused(write('Closed'))") == ["GuestError", 403, "anonymous_users_disabled", 0]
    project.anonymous_users_enabled = True
    project.save()
    assert tab.evaluate("write('Open')") == 201

    settings.ANONUSERS_SIGNUP_PER_IP = "1/h"
    forget()
    tab.context.clear_cookies()
    tab.evaluate("guest.forgetGuest()")
    assert tab.evaluate("write('Fits')") == 201
    tab.context.clear_cookies()
    tab.evaluate("guest.forgetGuest()")
    name, status, code, retry_after = tab.evaluate("refused(write('One too many'))")
    assert (name, status, code) == ("GuestError", 429, "rate_limited")
    assert 3500 <= retry_after <= 3600
    assert people() == (2, 2, 2)


def test_a_challenge_is_solved_once_where_the_page_can(tab: Any) -> None:
    asked: list[Any] = []

    def server(route: Any) -> None:
        asked.append(route.request.post_data_json.get("bot_check"))
        body = {"code": "bot_check_required", "detail": "Solve it.", "challenge": {"n": 41}}
        if asked[-1] == 42:
            route.fulfill(status=201, json={"sub": "somebody"})
        else:
            route.fulfill(status=403, json=body)

    tab.route("**/api/v1/signup/", server)
    assert tab.evaluate("refused(guest.ensureGuest())") == ["GuestError", 403, "bot_check_required", 0]
    assert tab.evaluate("guest.ensureGuest({ solve: async ({ n }) => n + 1 })") == {"sub": "somebody"}
    assert asked == [None, None, 42]


def test_without_a_client_id_it_says_so(tab: Any) -> None:
    tab.evaluate("guest.configure({ clientID: '' })")
    assert "clientID" in tab.evaluate("guest.ensureGuest().catch((error) => error.message)")
    assert tab.signups == []
