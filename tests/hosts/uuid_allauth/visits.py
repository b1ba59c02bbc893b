"""What the tests of this host share: its pages, its mails, and apps that keep tokens."""

import json
import re
from typing import Any

from allauth.account.models import EmailAddress
from django.contrib.auth import get_user_model
from django.core import mail
from django.test import Client

from anonusers.models import EndUser, Project, Promotion
from anonusers.userinfo import userinfo
from tests.hosts.story import CHROME, EMAIL, HOST, PASSWORD, Browser

OTHER = "berta@example.com"
JSON = "application/json"


def browse() -> Browser:
    return Browser(Client(HTTP_HOST=HOST, HTTP_USER_AGENT=CHROME))


def guest(browser: Browser) -> dict[str, Any]:
    """Somebody with a basket who has become a guest: what the host sees."""
    browser.put("apple")
    browser.note("hello")
    found = browser.whoami()
    assert found["kind"] == "guest"
    return found


def sign_up(browser: Browser, email: str = EMAIL, password: str | None = PASSWORD) -> Any:
    form = {"email": email} | ({"password1": password} if password else {})
    return browser.client.post("/accounts/signup/", form)


def log_in(browser: Browser, email: str = EMAIL, password: str = PASSWORD) -> Any:
    return browser.client.post("/accounts/login/", {"login": email, "password": password})


def known(email: str = EMAIL, *, verified: bool = True) -> Any:
    """Somebody who has been here before: allauth's own, and no end user."""

    person = get_user_model()._default_manager.create_user(email, PASSWORD)  # type: ignore[attr-defined]
    EmailAddress.objects.create(user=person, email=email, primary=True, verified=verified)
    return person


def link() -> str:
    """Of the last mail."""
    found = re.findall(r"https?://[^/]+(/accounts/confirm-email/\S+)", str(mail.outbox[-1].body))
    assert len(found) == 1, mail.outbox[-1].body
    path: str = found[0]
    return path


def code() -> str:
    """Of the last mail."""
    found = re.findall(r"^([A-Z0-9]{4}-[A-Z0-9]{4}|[A-Z0-9]{6,9})$", str(mail.outbox[-1].body), re.MULTILINE)
    assert len(found) == 1, mail.outbox[-1].body
    secret: str = found[0]
    return secret


def info(who: dict[str, Any]) -> Any:
    return userinfo(EndUser.objects.get(pk=who["sub"]))


def addresses(who: dict[str, Any]) -> list[tuple[str, bool]]:
    return [(row.value, row.verified) for row in info(who).login_ids if row.type == "email"]


def member_of(who: dict[str, Any]) -> dict[str, Any]:
    """The same person as a regular user, with all that they had."""
    return who | {"kind": "member"}


def promotions() -> list[tuple[str, str]]:
    return sorted(Promotion.objects.values_list("outcome", "method"))


def keep_guests() -> None:
    Project.objects.update(promotion_conflict=Project.PromotionConflict.ERROR)


class App:
    """A client without cookies: our bearer token, and allauth's session token once there is one."""

    def __init__(self) -> None:
        self.bearer = self.session = ""

    def call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.bearer}"} if self.bearer else {}
        if self.session and path.startswith("/_allauth/"):
            headers["X-Session-Token"] = self.session
        client = Client(HTTP_HOST=HOST, HTTP_USER_AGENT="App/1.0")
        answer = client.generic(method, path, _json(body), content_type=JSON, headers=headers)
        if path.startswith("/_allauth/"):
            self.session = answer.json().get("meta", {}).get("session_token", self.session)
            assert answer.cookies == {}
        return answer

    def become_guest(self) -> str:
        answer = self.call("POST", "/api/v1/signup/", {"client_id": "app"})
        assert answer.status_code == 201, answer.content
        self.bearer = answer.json()["access_token"]
        return str(EndUser.objects.latest("created_at").pk)

    def sub(self) -> str | None:
        found: str | None = self.call("GET", "/whoami/").json()["sub"]
        return found


def _json(body: Any) -> str:

    return "" if body is None else json.dumps(body)
