"""The demo as people see it: `example/` in a real Chromium."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from anonusers.limits import forget
from anonusers.models import AnonymousIdentity, Application, EndUser, Project, Session
from anonusers.sessions import open_session
from example.models import Comment

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Guestbook:
    """One visitor's tab of the guestbook."""

    def __init__(self, page: Any, server: str) -> None:
        self.page, self.server = page, server
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._hear)

    def _hear(self, message: Any) -> None:
        # Chromium also logs answers of 400 and above, which are part of the play.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            self.complaints.append(message.text)

    def open(self) -> "Guestbook":
        self.page.goto(f"{self.server}/")
        return self.wait()

    def reload(self) -> "Guestbook":
        self.page.reload()
        return self.wait()

    def wait(self) -> "Guestbook":
        self.page.locator("body[data-ready=yes] #identity:not([aria-busy=true])").wait_for()
        return self

    def choose(self, kind: str) -> "Guestbook":
        """Switch to "Cookie" or "Token" as a mouse does."""
        self.page.locator(".choice label", has_text=kind).click()
        return self.wait()

    def post(self, text: str) -> None:
        self.field.fill(text)
        self.page.locator("#post").click()
        self.page.locator("#comments").get_by_text(text, exact=True).wait_for()
        self.page.locator("#post:not([disabled])").wait_for()

    def sign_out(self) -> None:
        self.page.get_by_role("button", name="Log out", exact=True).click()
        self.page.get_by_role("button", name="Log out for good").click()
        self.page.get_by_text("You are logged out.").wait_for()

    @property
    def field(self) -> Any:
        return self.page.get_by_role("textbox", name="Your comment")

    @property
    def state(self) -> str:
        return str(self.page.locator("#state").inner_text())

    @property
    def sub(self) -> str | None:
        text = self.page.locator("#sub").inner_text() if self.page.locator("#sub").is_visible() else None
        return text or None

    @property
    def notice(self) -> str:
        return str(self.page.locator("#notices").inner_text())

    @property
    def texts(self) -> list[str]:
        return list(self.page.locator(".comment__text").all_inner_texts())


@pytest.fixture
def new_guestbook(new_context: Callable[..., Any], server: str, project: Project) -> Iterator[Callable[..., Guestbook]]:
    """A factory of visitors who look at the guestbook. None of them may see an error in the console."""
    opened: list[Guestbook] = []

    def make(*, context: Any = None, **options: Any) -> Guestbook:
        opened.append(Guestbook((context or new_context(**options)).new_page(), server))
        return opened[-1].open()

    yield make
    assert [complaint for guestbook in opened for complaint in guestbook.complaints] == []


@pytest.fixture
def guestbook(new_guestbook: Callable[..., Guestbook]) -> Guestbook:
    return new_guestbook()


# --- becoming somebody --------------------------------------------------------------------------------------------


def test_a_visitor_leaves_no_trace(guestbook: Guestbook) -> None:
    assert guestbook.state == "Visitor"
    assert guestbook.sub is None
    assert guestbook.page.get_by_text("Nobody has written yet.").is_visible()
    assert guestbook.page.context.cookies() == []
    assert not EndUser.objects.exists()
    assert not Session.objects.exists()


def test_one_click_makes_a_guest_who_stays_the_same(guestbook: Guestbook) -> None:
    page = guestbook.page
    guestbook.field.fill("Hello from nowhere")
    page.get_by_role("button", name="Post as a guest").click()
    page.get_by_text("You are a guest now.").wait_for()

    sub = guestbook.sub
    assert sub is not None
    assert UUID.fullmatch(sub)
    assert guestbook.state == "Guest"
    assert str(EndUser.objects.get().id) == sub
    assert (Comment.objects.get().text, Comment.objects.get().author.end_user.id.hex[:4]) == (
        "Hello from nowhere",
        sub[:4],
    )
    comment = page.locator(".comment")
    assert comment.locator("strong").inner_text() == f"Guest {sub[:4]}"
    assert comment.get_by_text("You", exact=True).is_visible()
    assert page.locator("#session-kind").inner_text() == "Cookie · guestbook-cookie"
    assert page.locator("#signed-up").inner_text() == "just now"
    assert str(timezone.now().year) in page.locator("#signed-up").get_attribute("title")
    assert page.locator("#expires").inner_text() == "in 1 month"
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    assert cookies["anonusers_session"]["httpOnly"] is True

    guestbook.reload()

    assert (guestbook.state, guestbook.sub) == ("Guest", sub)
    assert page.get_by_role("button", name="Post", exact=True).is_visible()
    guestbook.post("And again")
    assert EndUser.objects.count() == Session.objects.count() == 1
    assert guestbook.texts == ["And again", "Hello from nowhere"]


def test_two_browsers_are_two_guests_who_do_not_learn_each_others_sub(
    new_guestbook: Callable[..., Guestbook], server: str
) -> None:
    one, other = new_guestbook(), new_guestbook()
    one.post("First")
    other.post("Second")
    one.reload()

    assert one.sub != other.sub
    assert EndUser.objects.count() == 2
    mine, theirs = one.page.locator(".comment", has_text="First"), one.page.locator(".comment", has_text="Second")
    assert mine.get_by_text("You", exact=True).is_visible()
    assert mine.get_by_role("button", name="Delete").is_visible()
    assert theirs.get_by_text("You", exact=True).is_hidden()
    assert theirs.get_by_role("button", name="Delete").is_hidden()
    seen = one.page.request.get(f"{server}/comments/").text() + one.page.request.get(f"{server}/").text()
    assert other.sub not in seen
    assert other.sub.replace("-", "") not in seen


def test_the_token_kind_keeps_its_guest_in_local_storage(guestbook: Guestbook) -> None:
    guestbook.choose("Token").post("By token")

    sub = guestbook.sub
    assert guestbook.page.locator("#session-kind").inner_text() == "Token · guestbook-web"
    assert Session.objects.get().kind == Session.Kind.TOKEN
    assert guestbook.page.context.cookies() == []
    first = guestbook.page.evaluate("localStorage.getItem('guestbook.refresh_token')")

    guestbook.reload()

    assert (guestbook.state, guestbook.sub) == ("Guest", sub)
    assert guestbook.page.evaluate("localStorage.getItem('guestbook.refresh_token')") != first  # it rotates
    guestbook.post("Still me")
    assert EndUser.objects.count() == Session.objects.count() == 1


def test_the_access_token_is_renewed_when_its_time_is_up(guestbook: Guestbook) -> None:
    guestbook.choose("Token").post("Before")
    generation = Session.objects.get().refresh_generation

    guestbook.page.clock.set_system_time(timezone.now() + timedelta(seconds=1800))
    guestbook.post("After")

    assert Session.objects.get().refresh_generation == generation + 1
    assert EndUser.objects.count() == 1


def test_two_tabs_that_open_at_once_stay_the_same_guest(new_guestbook: Callable[..., Guestbook]) -> None:
    one = new_guestbook()
    one.choose("Token").post("Here")
    other = new_guestbook(context=one.page.context)
    for _ in range(3):
        for tab in (one, other):
            tab.page.evaluate("() => { window.isOld = true; setTimeout(() => location.reload(), 0); }")
        for tab in (one, other):
            tab.page.wait_for_function("!window.isOld")  # the page that went was ready, too
            tab.wait()

    assert one.sub == other.sub is not None
    assert Session.objects.get().ended_at is None


@pytest.mark.parametrize("kind", ["Cookie", "Token"])
def test_two_tabs_that_post_at_once_are_one_guest(new_guestbook: Callable[..., Guestbook], kind: str) -> None:
    from playwright.sync_api import expect

    one = new_guestbook()
    other = new_guestbook(context=one.page.context)
    for tab in (one, other):
        tab.choose(kind)
        tab.field.fill(f"From tab {tab is other}")
    for tab in (one, other):
        tab.page.evaluate("() => { setTimeout(() => document.getElementById('post').click(), 300); }")
    for tab in (one, other):
        expect(tab.field).to_have_value("")
    assert Comment.objects.count() == 2
    assert (EndUser.objects.count(), Session.objects.count()) == (1, 1)
    assert one.reload().sub == other.reload().sub == str(EndUser.objects.get().pk)


def test_switching_the_kind_logs_nobody_out(guestbook: Guestbook) -> None:
    guestbook.post("With a cookie")
    by_cookie = guestbook.sub
    guestbook.choose("Token")
    assert guestbook.state == "Visitor"
    guestbook.post("With a token")
    assert guestbook.sub not in (None, by_cookie)
    guestbook.choose("Cookie")
    assert guestbook.sub == by_cookie
    assert Session.objects.filter(ended_at=None).count() == 2


# --- leaving ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Cookie", "Token"])
def test_logging_out_warns_a_guest_and_is_final(guestbook: Guestbook, kind: str) -> None:
    guestbook.choose(kind).post("Goodbye")
    sub = guestbook.sub

    guestbook.page.get_by_role("button", name="Log out", exact=True).click()
    assert guestbook.page.get_by_text("there is no password that brings you back").is_visible()
    guestbook.page.get_by_role("button", name="Stay").click()
    assert guestbook.sub == sub

    guestbook.sign_out()

    assert guestbook.state == "Visitor"
    assert Session.objects.get().ended_at is not None
    assert guestbook.page.evaluate("localStorage.getItem('guestbook.refresh_token')") is None
    assert "anonusers_session" not in {cookie["name"] for cookie in guestbook.page.context.cookies()}
    assert guestbook.texts == ["Goodbye"]
    guestbook.reload()
    assert (guestbook.state, guestbook.notice) == ("Visitor", "")
    guestbook.post("Somebody else")
    assert guestbook.sub not in (None, sub)


def test_logging_out_reaches_the_other_tab(new_guestbook: Callable[..., Guestbook]) -> None:
    one = new_guestbook()
    one.post("Here")
    other = new_guestbook(context=one.page.context)
    assert other.state == "Guest"

    one.sign_out()

    other.page.locator("#state", has_text="Visitor").wait_for()


@pytest.mark.parametrize("kind", ["Cookie", "Token"])
def test_a_session_that_died_makes_a_visitor_again_and_says_so(guestbook: Guestbook, kind: str) -> None:
    guestbook.choose(kind).post("Alive")
    sub = guestbook.sub
    Session.objects.update(ended_at=timezone.now())

    guestbook.field.fill("Am I still here?")
    guestbook.page.get_by_role("button", name="Post", exact=True).click()
    guestbook.page.get_by_text("Your session is over.").wait_for()

    assert guestbook.state == "Visitor"
    assert guestbook.field.input_value() == "Am I still here?"
    assert Comment.objects.count() == EndUser.objects.count() == 1
    guestbook.page.get_by_role("button", name="Post as a guest").click()
    guestbook.page.get_by_text("You are a guest now.").wait_for()
    assert guestbook.sub not in (None, sub)


def test_a_session_that_died_meanwhile_is_told_at_the_next_visit(guestbook: Guestbook) -> None:
    guestbook.post("Alive")
    Session.objects.update(ended_at=timezone.now())

    guestbook.reload()
    assert "Your session is over." in guestbook.notice
    guestbook.reload()
    assert guestbook.notice == ""


def test_another_session_of_mine_can_be_signed_out_there(guestbook: Guestbook, project: Project) -> None:
    guestbook.post("Here")
    open_session(
        end_user=EndUser.objects.get(),
        project=project,
        application=Application.objects.get(client_id="guestbook-web"),
        kind=Session.Kind.TOKEN,
    )
    guestbook.reload()
    assert guestbook.page.locator(".session").count() == 2

    guestbook.page.get_by_role("button", name="Sign out there").click()
    guestbook.page.get_by_text("Signed out there.").wait_for()

    assert guestbook.page.locator(".session").count() == 1
    assert guestbook.page.locator(".session").get_by_text("This one").is_visible()
    assert list(Session.objects.filter(ended_at=None).values_list("kind", flat=True)) == [Session.Kind.COOKIE]


def test_a_guest_deletes_a_comment_of_their_own(guestbook: Guestbook) -> None:
    guestbook.post("Keep this")
    guestbook.post("Regret this")

    delete = guestbook.page.locator(".comment", has_text="Regret this").get_by_role("button", name="Delete")
    delete.click()
    guestbook.page.get_by_role("button", name="Keep it").click()
    assert Comment.objects.count() == 2
    delete.click()
    guestbook.page.get_by_role("button", name="Delete it").click()
    guestbook.page.locator(".comment", has_text="Regret this").wait_for(state="detached")

    assert guestbook.texts == ["Keep this"]
    assert Comment.objects.get().text == "Keep this"


# --- what can go wrong --------------------------------------------------------------------------------------------


def test_a_visitor_is_told_when_guests_are_not_let_in(
    new_guestbook: Callable[..., Guestbook], project: Project
) -> None:
    old = new_guestbook()
    old.post("I was here before")
    project.anonymous_users_enabled = False
    project.save()

    visitor = new_guestbook()
    visitor.field.fill("Let me in")
    visitor.page.get_by_role("button", name="Post as a guest").click()
    visitor.page.get_by_text("New guests are not let in right now.").wait_for()

    assert visitor.field.input_value() == "Let me in"
    assert visitor.state == "Visitor"
    assert visitor.page.context.cookies() == []
    assert (EndUser.objects.count(), Comment.objects.count()) == (1, 1)
    old.reload().post("And I am still here")

    project.anonymous_users_enabled = True
    project.save()
    visitor.page.get_by_role("button", name="Post as a guest").click()
    visitor.page.get_by_text("You are a guest now.").wait_for()
    assert visitor.texts == ["Let me in", "And I am still here", "I was here before"]


def test_too_many_new_guests_are_told_when_to_try_again(guestbook: Guestbook, settings: Any) -> None:
    settings.ANONUSERS_SIGNUP_PER_IP = "1/m"
    forget()
    guestbook.post("The one that fits")
    guestbook.sign_out()

    guestbook.field.fill("One too many")
    guestbook.page.get_by_role("button", name="Post as a guest").click()
    guestbook.page.get_by_text("Too many new guests from your network.").wait_for()

    assert re.search(r"Try again in \d+ seconds?\.", guestbook.notice)
    button = guestbook.page.locator("#post")
    assert button.is_disabled()
    assert re.fullmatch(r"Again in \d+ s", button.inner_text())
    assert guestbook.field.input_value() == "One too many"
    assert (EndUser.objects.count(), Comment.objects.count()) == (1, 1)


def test_a_server_that_does_not_answer_loses_nothing_and_makes_one_guest(guestbook: Guestbook) -> None:
    page = guestbook.page
    guestbook.field.fill("Through the storm")
    # The server hears the sign-up, and its answer is lost.
    page.route("**/api/v1/signup/", lambda route: (route.fetch(), route.abort()))
    page.get_by_role("button", name="Post as a guest").click()
    page.get_by_text("The server did not answer.").wait_for()
    assert guestbook.field.input_value() == "Through the storm"

    page.unroute("**/api/v1/signup/")
    page.get_by_role("button", name="Post as a guest").click()
    page.get_by_text("You are a guest now.").wait_for()

    assert EndUser.objects.count() == Comment.objects.count() == 1


def test_a_regular_user_is_shown_as_one(guestbook: Guestbook) -> None:
    guestbook.post("As a guest")
    AnonymousIdentity.objects.all().delete()

    guestbook.reload()

    assert guestbook.state == "Regular"
    assert guestbook.page.locator(".comment strong").inner_text().startswith("Member ")
    guestbook.post("As a member")
    assert EndUser.objects.count() == 1


@pytest.mark.parametrize(
    ("text", "words"), [("  \n ", "Write something first."), ("x" * 501, "Make it shorter by 1")], ids=["empty", "long"]
)
def test_what_cannot_be_posted_is_said_at_the_field(guestbook: Guestbook, text: str, words: str) -> None:
    field = guestbook.field
    field.fill(text)
    guestbook.page.get_by_role("button", name="Post as a guest").click()

    assert guestbook.page.locator("#text-error").inner_text().strip().startswith(words)
    assert field.get_attribute("aria-invalid") == "true"
    assert field.input_value() == text
    assert field.evaluate("field => document.activeElement === field")
    assert not EndUser.objects.exists()


def test_markup_in_a_comment_is_text(guestbook: Guestbook) -> None:
    evil = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
    guestbook.post(evil)
    assert guestbook.texts == [evil]
    guestbook.reload()
    assert guestbook.texts == [evil]
    assert guestbook.page.title() == "Guestbook · anonusers"
    assert guestbook.page.locator(".comments img, .comments script").count() == 0


# --- for everybody ------------------------------------------------------------------------------------------------


def test_everything_can_be_done_with_the_keyboard(guestbook: Guestbook) -> None:
    page, press = guestbook.page, guestbook.page.keyboard.press

    def tab_to(selector: str) -> None:
        for _ in range(30):
            press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                assert page.evaluate("document.activeElement.matches(':focus-visible')")
                return
        pytest.fail(f"{selector} cannot be reached")

    press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the comments"
    tab_to("#text")
    page.keyboard.type("Without a mouse")
    tab_to("#post")
    press("Enter")
    page.get_by_text("You are a guest now.").wait_for()
    page.keyboard.type("")
    tab_to("#copy")
    tab_to("#logout")
    press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "Stay"  # the harmless answer has the focus
    press("Escape")
    assert guestbook.state == "Guest"
    tab_to("input[name=kind]")
    press("ArrowRight")
    page.locator("#state", has_text="Visitor").wait_for()
    press("ArrowLeft")
    page.locator("#state", has_text="Guest").wait_for()
    tab_to(".comment button")
    press("Enter")
    press("Tab")
    press("Enter")
    page.locator(".comment").wait_for(state="detached")
    assert not Comment.objects.exists()


def test_without_script_the_comments_can_be_read(new_context: Callable[..., Any], guestbook: Guestbook) -> None:
    guestbook.post("Plain <b>text</b>")
    page = new_context(java_script_enabled=False).new_page()
    page.goto(f"{guestbook.server}/")

    assert page.locator(".comment__text").all_inner_texts() == ["Plain <b>text</b>"]
    assert "Reading works without JavaScript" in page.locator("noscript").inner_html()
    assert page.locator("#composer").is_hidden()
    assert page.get_by_role("button").count() == 0
    assert page.context.cookies() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_it_fits_every_screen(
    new_guestbook: Callable[..., Guestbook], shoot: Callable[[Any, str], Any], width: int, scheme: str
) -> None:
    guestbook = new_guestbook(viewport={"width": width, "height": 800}, color_scheme=scheme)
    shoot(guestbook.page, f"visitor-{width}-{scheme}")
    guestbook.post("A rather longwordwithoutanyspaceinitthatgoesonandonandonuntilitisquiteenough: " + "w" * 80)
    shoot(guestbook.page, f"guest-{width}-{scheme}")

    assert guestbook.page.evaluate("document.documentElement.scrollWidth") <= width
    ground = guestbook.page.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = sum(map(int, re.findall(r"\d+", ground)[:3])) / 3
    assert lightness > 200 if scheme == "light" else lightness < 60
