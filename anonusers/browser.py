"""What this browser is in the middle of. Kept in Django's session, so a step belongs to the browser that took the one
before, a `next` cannot be tampered with, and slow people have 25 minutes."""

import contextlib
import secrets
import time
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any

from django.http import HttpRequest
from django.middleware.csrf import rotate_token
from django.utils import translation

from anonusers.models import Project

KEY = "anonusers_flows"
LIFETIME = 25 * 60
FLOWS_MAX = 8


@dataclass
class Flow:
    """One thing a person came to do. `next` is where they go afterwards, a path of ours.

    `guest` is the sub to promote; `opens_cookie`: the page signs the browser in, besides what `next` does.
    `language`: what the application asked to speak; empty, and the browser is asked.
    `pending` is the handle of a code that is on its way; `leaves_guest`: the person has agreed to leave it behind.
    `sub` and what follows it are set when the person has proven who they are.
    """

    project: int
    next: str
    guest: str | None = None
    application: int | None = None
    opens_cookie: bool = True
    must_be: str | None = None
    login_hint: str = ""
    pending: str = ""
    pending_to: str = ""
    pending_since: int = 0
    leaves_guest: bool = False
    language: str = ""
    sub: str | None = None
    authenticated_at: int = 0
    amr: str = ""
    until: int = 0
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    @property
    def guest_id(self) -> uuid.UUID | None:
        return uuid.UUID(self.guest) if self.guest else None


def language_of(ui_locales: str) -> str:
    """The first of OpenID Connect's `ui_locales` (Core §3.1.2.1) that is one of LANGUAGES; empty where none is."""
    for tag in ui_locales[:200].split():
        with contextlib.suppress(LookupError, ValueError):
            return translation.get_supported_language_variant(tag.lower())
    return ""


def speaking(language: str) -> contextlib.AbstractContextManager[Any]:
    """Within it texts are in this language; in the request's where it is empty."""
    return translation.override(language) if language else contextlib.nullcontext()


def begin(request: HttpRequest, flow: Flow) -> Flow:
    """Remember a flow in this browser; the oldest ones make room."""
    flow.until = int(time.time()) + LIFETIME
    flows = _live(request)
    flows[flow.id] = asdict(flow)
    _store(request, dict(list(flows.items())[-FLOWS_MAX:]))
    return flow


def find(request: HttpRequest, flow_id: str, project: Project) -> Flow | None:
    """The flow that this browser began, if it is not over."""
    data = _live(request).get(flow_id)
    if not data or data["project"] != project.pk:
        return None
    try:
        return Flow(**data)
    except TypeError:  # begun before a deployment that changed what a flow is
        return None


def save(request: HttpRequest, flow: Flow) -> None:
    _store(request, _live(request) | {flow.id: asdict(flow)})


def authenticated(request: HttpRequest, flow: Flow, *, sub: uuid.UUID, amr: str) -> None:
    """The person has proven to be `sub`. The session key and the CSRF token change, the session's data stays: a
    basket survives, a planted session does not (ASVS V7.2.4)."""
    flow.sub, flow.amr, flow.authenticated_at = str(sub), amr, int(time.time())
    flow.pending = flow.pending_to = ""
    save(request, flow)
    request.session.cycle_key()
    rotate_token(request)


def end(request: HttpRequest, flow: Flow) -> None:
    _store(request, {key: value for key, value in _live(request).items() if key != flow.id})


def _live(request: HttpRequest) -> dict[str, dict[str, Any]]:
    now = time.time()
    return {key: flow for key, flow in request.session.get(KEY, {}).items() if flow["until"] > now}


def _store(request: HttpRequest, flows: dict[str, dict[str, Any]]) -> None:
    request.session[KEY] = flows
