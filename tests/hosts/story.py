"""The story that every host project tells: visitor → guest → data → regular user, with the same id, data and session.

A host gives a `Story` its own words for registering, logging in and out; the rest is told here, once.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core import mail
from django.core.management import call_command
from django.test import Client, TestCase
from django.utils import timezone

from anonusers import events
from anonusers.cleanup import clean_up
from anonusers.guest_data import problems
from anonusers.models import AnonymousIdentity, EndUser, LoginID, Project, Promotion, Session

HOST = "localhost:8000"
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
)
EMAIL = "anna@example.com"
PASSWORD = "nine tame walruses"


@dataclass
class Browser:
    """Somebody at the host's site."""

    client: Client

    def put(self, item: str) -> None:
        """Into the basket, which the host keeps in Django's session."""
        assert self.client.post("/basket/", {"item": item}).status_code == 200

    def note(self, text: str) -> None:
        """Into the host's table, which makes a visitor a guest."""
        answer = self.client.post("/notes/", {"text": text})
        assert answer.status_code == 200, answer.content

    def whoami(self) -> dict[str, Any]:
        answer = self.client.get("/whoami/")
        assert answer.status_code == 200, answer.content
        found: dict[str, Any] = answer.json()
        return found


def rows() -> dict[str, int]:
    models: list[Any] = [get_user_model(), EndUser, AnonymousIdentity, LoginID, Promotion]
    return {model.__name__: model._default_manager.count() for model in models}


class Story:
    """Subclass it as `TestStory`, with the host's own `register`, `log_in` and `log_out`."""

    def register(self, browser: Browser, email: str = EMAIL, password: str = PASSWORD) -> Any:
        """The host's registration; the answer, refused or not."""
        raise NotImplementedError

    def log_in(self, browser: Browser, email: str = EMAIL, password: str = PASSWORD) -> Any:
        raise NotImplementedError

    def log_out(self, browser: Browser) -> None:
        raise NotImplementedError

    def other(self) -> Browser:
        return Browser(Client(HTTP_HOST=HOST, HTTP_USER_AGENT=CHROME))

    def make_user(self, email: str, password: str) -> Any:
        """A user that the host made before there were guests."""
        raise NotImplementedError

    # --- the story ----------------------------------------------------------------------------

    def test_a_visitor_becomes_a_guest_and_then_a_regular_user_with_the_same_id(self, browser: Browser) -> None:
        nobody = rows()
        assert browser.client.get("/").status_code == 200
        assert browser.client.cookies == {}
        browser.put("apple")
        assert rows() == nobody
        assert browser.whoami() == {"kind": "visitor", "pk": None, "sub": None, "basket": ["apple"], "notes": []}

        browser.note("hello")
        guest = browser.whoami()
        assert guest | {"pk": 0, "sub": ""} == {
            "kind": "guest",
            "pk": 0,
            "sub": "",
            "basket": ["apple"],
            "notes": ["hello"],
        }
        browser.put("pear")
        session_key = browser.client.cookies["sessionid"].value

        answer = self.register(browser)
        assert answer.status_code in (200, 201, 302, 303), answer.content
        member = browser.whoami()
        assert member == guest | {"kind": "member", "basket": ["apple", "pear"]}
        assert browser.client.cookies["sessionid"].value != session_key  # a planted one would not come along
        assert rows() == nobody | {
            get_user_model().__name__: nobody[get_user_model().__name__] + 1,
            "EndUser": 1,
            "LoginID": LoginID.objects.count(),
            "Promotion": 1,
        }
        assert LoginID.objects.filter(end_user=guest["sub"], type="email", value=EMAIL).count() == 1

        self.log_out(browser)
        assert browser.whoami()["kind"] == "visitor"
        assert self.log_in(browser).status_code in (200, 302, 303)
        assert browser.whoami() | {"basket": []} == member | {"basket": []}

    def test_what_the_guest_held_before_is_worth_nothing_afterwards(self, browser: Browser) -> None:
        browser.note("hello")
        cookie = browser.client.cookies["anonusers_session"].value
        assert self.register(browser).status_code in (200, 201, 302, 303)
        thief = self.other()
        thief.client.cookies["anonusers_session"] = cookie
        assert thief.whoami()["kind"] == "visitor"

    def test_who_logs_in_to_a_known_account_goes_on_as_that_one(self, browser: Browser) -> None:
        owner = self.other()
        owner.note("mine")
        assert self.register(owner).status_code in (200, 201, 302, 303)
        account = owner.whoami()
        told: list[events.Event] = []

        def listen(sender: Any, event: events.Event, **kwargs: Any) -> None:
            told.append(event)

        browser.put("apple")
        browser.note("made as a guest")
        guest = browser.whoami()
        events.user_anonymous_promoted.connect(listen)
        try:
            with on_commit_runs():
                assert self.log_in(browser).status_code in (200, 302, 303)
        finally:
            events.user_anonymous_promoted.disconnect(listen)
        now = browser.whoami()
        assert (now["pk"], now["sub"], now["kind"]) == (account["pk"], account["sub"], "member")
        assert now["basket"] == ["apple"]
        assert [event.details["anonymous_user"] for event in told] == [guest["sub"]]
        assert sorted(now["notes"]) == ["made as a guest", "mine"]  # the host's receiver has moved it
        promotion = Promotion.objects.get(end_user=guest["sub"])
        assert (promotion.outcome, str(promotion.superseded_by_id)) == ("superseded", account["sub"])
        assert not Session.objects.filter(end_user=guest["sub"], ended_at=None).exists()
        self.log_out(browser)
        assert browser.whoami()["kind"] == "visitor"

    def test_where_the_project_keeps_guests_they_are_back_after_logging_out(
        self, browser: Browser, project: Project
    ) -> None:
        Project.objects.update(promotion_conflict=Project.PromotionConflict.ERROR)
        assert self.register(self.other()).status_code in (200, 201, 302, 303)
        browser.note("made as a guest")
        guest = browser.whoami()
        assert self.log_in(browser).status_code in (200, 302, 303)
        assert browser.whoami()["kind"] == "member"
        self.log_out(browser)
        assert browser.whoami() | {"basket": []} == guest | {"basket": []}

    def test_a_registration_that_is_refused_leaves_the_guest_as_it_was(self, browser: Browser) -> None:
        browser.put("apple")
        browser.note("hello")
        guest, before = browser.whoami(), rows()
        user = get_user_model()._default_manager.values().get(pk=guest["pk"])
        answer = self.register(browser, password="short")
        assert answer.status_code in (200, 400, 422), answer.status_code
        assert rows() == before
        assert get_user_model()._default_manager.values().get(pk=guest["pk"]) == user
        assert browser.whoami() == guest

    def test_an_address_that_somebody_has_is_refused(self, browser: Browser) -> None:
        assert self.register(self.other()).status_code in (200, 201, 302, 303)
        browser.note("hello")
        guest, before = browser.whoami(), rows()
        answer = self.register(browser)
        assert answer.status_code in (200, 302, 400, 409), answer.status_code
        assert rows() == before
        assert browser.whoami() == guest

    def test_a_visitor_who_registers_becomes_a_regular_user(self, browser: Browser) -> None:
        browser.put("apple")
        assert self.register(browser).status_code in (200, 201, 302, 303)
        if browser.whoami()["kind"] == "visitor":
            assert self.log_in(browser).status_code in (200, 302, 303)
        who = browser.whoami()
        assert (who["kind"], who["basket"]) == ("member", ["apple"])
        assert who["sub"] == str(EndUser.objects.get().pk)
        assert LoginID.objects.filter(end_user=who["sub"], type="email", value=EMAIL).exists()
        assert not AnonymousIdentity.objects.exists()
        assert not Promotion.objects.exists()

    # --- users that were there before -------------------------------------------------------------

    def test_users_of_before_are_members_and_what_they_have_is_taken(self, browser: Browser, project: Project) -> None:
        self.make_user(EMAIL, PASSWORD)
        browser.note("hello")
        guest = browser.whoami()
        promote = {"login_id": {"type": "email", "value": EMAIL.upper()}, "password": "another nine walruses"}
        refused = browser.client.post(
            "/api/v1/promote/", promote, content_type="application/json", headers={"Origin": f"http://{HOST}"}
        )
        assert (refused.status_code, refused.json()["code"]) == (409, "login_id_taken")
        assert browser.whoami() == guest

    def test_users_of_before_are_adopted(self, browser: Browser, project: Project) -> None:
        user = self.make_user(EMAIL, PASSWORD)
        call_command("anonusers_adopt", "shop", "--verified")
        end_user = EndUser.objects.get(user=user)
        assert end_user.adopted_at is not None
        assert LoginID.objects.get(type="email").end_user == end_user
        call_command("anonusers_adopt", "shop")
        assert EndUser.objects.count() == 1
        assert self.log_in(browser).status_code in (200, 302, 303)
        who = browser.whoami()
        assert (who["kind"], who["sub"]) == ("member", str(end_user.pk))

    # --- what guests are in the host's table ---------------------------------------------------------

    def test_a_guest_has_no_address_that_could_receive_mail(self, browser: Browser) -> None:
        browser.note("hello")
        user = get_user_model()._default_manager.get(pk=browser.whoami()["pk"])
        assert not user.has_usable_password()
        for field in user._meta.concrete_fields:
            value = getattr(user, field.attname)
            assert "@" not in str(value) or str(value).endswith("@guest.invalid")
        assert mail.outbox == []

    def test_a_guest_whom_nothing_leads_back_to_is_removed_unless_it_has_data(self, browser: Browser) -> None:
        assert problems() == []
        browser.note("hello")  # declared `keep`
        self.other().client.post("/empty/")  # a guest without any data
        assert AnonymousIdentity.objects.count() == 2
        project, removed = Project.objects.get(), 0
        for days in (500, 600):  # set aside, then removed
            report = clean_up(project, confirmed=True, pause=0, now=timezone.now() + timedelta(days=days))
            removed += report.counts.get("removed", 0)
        assert removed == 1
        assert AnonymousIdentity.objects.count() == 1


def on_commit_runs() -> Any:
    """Events are sent after commit; inside a test's transaction that never comes."""
    return TestCase.captureOnCommitCallbacks(execute=True)
