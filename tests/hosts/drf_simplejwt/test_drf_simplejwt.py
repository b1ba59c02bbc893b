"""An API: guests with our tokens, members with the host's."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from anonusers.models import Application, EndUser, Project, Session
from tests.hosts.story import CHROME, EMAIL, HOST, PASSWORD, Browser, Story

pytestmark = pytest.mark.django_db


class App(Browser):
    """A client that keeps tokens: `token` is the one that it sends."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.guest_token = self.token = ""

    def use(self, token: str) -> None:
        self.token = token
        self.client.defaults.pop("HTTP_AUTHORIZATION", None)
        if token:
            self.client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {token}"

    def note(self, text: str) -> None:
        self.sign_up()
        super().note(text)

    def sign_up(self) -> None:
        if not self.token:
            body = {"client_id": "app"}
            answer = self.client.post("/api/v1/signup/", body, content_type="application/json")
            assert answer.status_code == 201, answer.content
            self.guest_token = answer.json()["access_token"]
            self.use(self.guest_token)


@pytest.fixture
def project(project: Project) -> Project:
    Application.objects.create(project=project, client_id="app", name="App", type="native")
    return project


@pytest.fixture
def browser(client: Client, project: Project) -> App:
    return App(client)


class TestStory(Story):
    def other(self) -> App:
        app = App(Client(HTTP_HOST=HOST, HTTP_USER_AGENT=CHROME))
        app.client.post = self._signing_up(app, app.client.post)  # type: ignore[method-assign]
        return app

    @staticmethod
    def _signing_up(app: App, post: Any) -> Any:
        def posted(path: str, *args: Any, **options: Any) -> Any:
            if path == "/empty/":
                app.sign_up()
            return post(path, *args, **options)

        return posted

    def register(self, browser: Browser, email: str = EMAIL, password: str = PASSWORD) -> Any:
        body = {"username": email.partition("@")[0], "email": email, "password": password}
        answer = browser.client.post("/register/", body, content_type="application/json")
        return self._with(browser, answer)

    def log_in(self, browser: Browser, email: str = EMAIL, password: str = PASSWORD) -> Any:
        body = {"username": email.partition("@")[0], "password": password}
        return self._with(browser, browser.client.post("/token/", body, content_type="application/json"))

    @staticmethod
    def _with(browser: Browser, answer: Any) -> Any:
        assert isinstance(browser, App)
        if answer.status_code in (200, 201):
            browser.use(answer.json()["access"])
        return answer

    def log_out(self, browser: Browser) -> None:
        assert isinstance(browser, App)
        guest_lives = Session.objects.filter(ended_at=None, end_user__anonymous_identity__isnull=False).exists()
        browser.use(browser.guest_token if guest_lives else "")

    def make_user(self, email: str, password: str) -> Any:
        return get_user_model().objects.create_user(email.partition("@")[0], email, password)

    # --- what is different with tokens ------------------------------------------------------------

    def test_what_the_guest_held_before_is_worth_nothing_afterwards(self, browser: Browser) -> None:
        """A token is not a cookie that the answer could replace: the one that registered stays, all others end."""
        assert isinstance(browser, App)
        browser.note("hello")
        guest = browser.whoami()
        session = Session.objects.get()
        other = Session.objects.create(
            project=session.project,
            application=session.application,
            end_user=session.end_user,
            kind="token",
            refresh_hash="0" * 64,
            created_at=session.created_at,
            last_used_at=session.last_used_at,
        )
        assert self.register(browser).status_code == 201
        other.refresh_from_db()
        assert other.ended_at is not None
        browser.use(browser.guest_token)
        assert browser.whoami() == guest | {"kind": "member"}


def test_the_hosts_token_and_ours_are_the_same_user(browser: App) -> None:
    browser.note("hello")
    ours = browser.whoami()
    story = TestStory()
    assert story.register(browser).status_code == 201
    theirs = browser.whoami()
    assert (theirs["pk"], theirs["sub"], theirs["kind"]) == (ours["pk"], ours["sub"], "member")
    assert EndUser.objects.count() == 1
