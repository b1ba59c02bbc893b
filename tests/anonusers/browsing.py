"""A browser without JavaScript, for the hosted pages: open, read, press buttons."""

import re
import time
from dataclasses import asdict
from html import unescape
from typing import Any

from django.test import Client
from django.utils import timezone

from anonusers import browser
from anonusers.models import DeviceKey, EndUser, Project, Session
from anonusers.signup import sign_up
from tests.conftest import HOST

COOKIE = "anonusers_session"
PASSWORD = "nine tame walruses"
OTHER_PASSWORD = "eight wild walruses"


def new_browser(**options: Any) -> Client:
    return Client(HTTP_HOST=HOST, enforce_csrf_checks=True, **options)


def be_guest(client: Client, project: Project, application: Any = None, **options: Any) -> EndUser:
    """Make a guest whose cookie the browser holds."""
    signed_up = sign_up(project=project, application=application, kind="cookie", **options)
    client.cookies[COOKIE] = str(signed_up.secret)
    return EndUser.objects.get(pk=signed_up.session.end_user_id)


def give_key(end_user: EndUser, **fields: Any) -> DeviceKey:
    """The row of a device key; nobody holds its other half."""
    now = timezone.now()
    plain = {"key_id": "key-of-a-device", "algorithm": "ES256", "jwk": {}, "thumbprint": "t" * 43}
    times = {"created_at": now, "last_used_at": now}
    return DeviceKey.objects.create(project=end_user.project, end_user=end_user, **plain | times | fields)


def text_of(response: Any) -> str:
    html = re.sub(r"<(script|style|head).*?</\1>", " ", response.content.decode(), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def action_of(response: Any) -> str:
    found = re.search(r'<form[^>]*method="post"[^>]*action="([^"]+)"', response.content.decode())
    return unescape(found[1]) if found else response.wsgi_request.get_full_path()


def hidden_of(response: Any) -> dict[str, str]:
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', response.content.decode())
    return {name: unescape(value) for name, value in found}


def send(client: Client, page: Any, *, action: str = "", **fields: str) -> Any:
    """Fill in the form of a page that was opened, and send it. `page` may be a path."""
    if isinstance(page, str):
        page = client.get(page)
        assert page.status_code == 200, text_of(page)
    return client.post(action or action_of(page), hidden_of(page) | fields)


def follow(client: Client, response: Any) -> Any:
    assert response.status_code == 303, text_of(response)
    return client.get(response.headers["Location"])


def cookie_user(client: Client) -> str | None:
    """Who the native API says this browser is."""
    answer = client.get("/api/v1/userinfo/")
    return answer.json()["sub"] if answer.status_code == 200 else None


def live_sessions(end_user: EndUser) -> int:
    return Session.objects.filter(end_user=end_user, ended_at=None).count()


def errors_of(response: Any) -> list[str]:
    """What stands under the fields and above the form, as it reads."""
    html = response.content.decode()
    fields = re.findall(r'<p class="error">.*?<span>(.*?)</span>', html, flags=re.DOTALL)
    whole = re.findall(r'<div class="notice notice--danger" role="alert".*?<div>(.*?)</div>', html, flags=re.DOTALL)
    return [unescape(" ".join(re.sub(r"<[^>]+>", " ", one).split())) for one in [*fields, *whole]]


def begin_flow(client: Client, project: Project, **fields: Any) -> str:
    """What the authorization endpoint does before it leads to a page: remember in this browser what it is about."""
    flow = browser.Flow(project=project.pk, **({"next": "/oauth2/authorize?again=1"} | fields))
    flow.until = int(time.time()) + browser.LIFETIME
    session = client.session
    session[browser.KEY] = session.get(browser.KEY, {}) | {flow.id: asdict(flow)}
    session.save()
    return flow.id
