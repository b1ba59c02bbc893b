"""Whoever may come to a host's site, by every way there is."""

from dataclasses import dataclass, field
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.anonusers.lazy_site import CHROME
from tests.anonusers.test_authentication import make_guest
from tests.conftest import HOST, ORIGIN

BACKEND = "anonusers.backends.ModelBackend"
GUESTS = ["guest by cookie", "guest by bearer", "guest by Django"]
MEMBERS = ["member by cookie", "member by bearer", "member by Django", "user of the host"]
NOBODY = ["visitor", "disabled by cookie", "disabled by bearer", "disabled by Django"]
EVERYBODY = [*NOBODY, *GUESTS, *MEMBERS]

# What it takes to learn who somebody is: Django's session and its user, or our session with the user.
STATEMENTS = {"visitor": 0, "cookie": 1, "bearer": 1, "Django": 2, "host": 2}
OF_BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Mode": "navigate"}
OF_SCRIPT = {"Accept": "application/json, text/plain;q=0.5", "Origin": ORIGIN}


class HostClient(AsyncClient):
    """Django's async client says "testserver" beside any other Host."""

    def _base_scope(self, **request: Any) -> dict[str, Any]:
        scope: dict[str, Any] = super()._base_scope(**request)
        scope["headers"] = [header for header in scope["headers"] if header != (b"host", b"testserver")]
        return scope


@dataclass
class Somebody:
    """A client, who they are in the database, and what it takes to see that."""

    who: str
    client: Any
    user: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, path: str, method: str = "get", **headers: str) -> Any:
        """The answer; `statements` says what it cost."""
        call = getattr(self.client, method)
        if isinstance(self.client, AsyncClient):
            call = async_to_sync(call)
        with CaptureQueriesContext(connection) as queries:
            answer = call(path, headers={"Host": HOST, "User-Agent": CHROME} | self.headers | headers)
        answer.statements = len(queries)
        return answer

    def browse(self, path: str) -> Any:
        return self.ask(path, **OF_BROWSER)

    def call(self, path: str, method: str = "post") -> Any:
        return self.ask(path, method, **OF_SCRIPT)


def somebody(who: str, application: Any, *, asgi: bool = False) -> Somebody:
    """One of EVERYBODY."""
    client: Any = HostClient() if asgi else Client()
    what, _, way = who.partition(" by ")
    if who == "visitor":
        return Somebody(who, client)
    if who == "user of the host":
        user = get_user_model().objects.create_user("host")
        client.force_login(user, backend=BACKEND)
        return Somebody(who, client, user)
    session, secret = make_guest(application, "token" if way == "bearer" else "cookie")
    user, end_user = session.end_user.user, session.end_user
    headers = {}
    if way == "bearer":
        headers["Authorization"] = f"Bearer {secret}"
    elif way == "cookie":
        client.cookies["anonusers_session"] = secret
    else:
        client.force_login(user, backend=BACKEND)
    if what == "member":
        end_user.anonymous_identity.delete()
    elif what == "disabled":
        end_user.disabled_at = timezone.now()
        end_user.save(update_fields=["disabled_at"])
    found = Somebody(who, client, user, headers)
    found.call("/plain/", "get")  # keys are parsed once a process
    return found


def cost_of(who: str) -> int:
    return STATEMENTS[who.split()[-1]]
