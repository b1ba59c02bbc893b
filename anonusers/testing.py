"""Guests and members for a host's own tests, made by the real use cases. pytest is not needed; with it, the fixtures
of `anonusers.pytest_plugin` call these.

    from anonusers.testing import bearer_headers, client_of, make_guest, make_member

    guest = make_guest()                       # a row of AUTH_USER_MODEL, as `request.user` is
    client_of(guest).post("/basket/", {...})   # a browser that has the guest's cookie
    client.get("/api/", headers=bearer_headers(guest))
"""

import secrets
from typing import Any

from django.test import Client

from anonusers import limits
from anonusers.conf import conf
from anonusers.keys import create_keys
from anonusers.login_ids import parse_login_id
from anonusers.models import Application, EndUser, Project, Session, project_at
from anonusers.promotion import promote
from anonusers.promotion.base import Proof
from anonusers.promotion.password import hash_password
from anonusers.sessions import mint_tokens, open_session
from anonusers.signup import sign_up
from anonusers.tokens import Issuer

__all__ = ["bearer_headers", "client_of", "make_application", "make_guest", "make_member", "make_project", "project_of"]

HOST = "testserver"
"""Where Django's test client comes to."""


def make_project(slug: str = "tests", *, domains: tuple[str, ...] = (HOST, "localhost"), **fields: Any) -> Project:
    """A project with its signing keys, in which visitors may become guests. `fields` are those of `Project`."""
    defaults = {"name": slug.title(), "anonymous_users_enabled": True, "login_ids": ["email", "username"]}
    project = Project.objects.create(slug=slug, **(defaults | fields))
    for domain in domains:
        project.domains.create(domain=domain)
    create_keys(project)
    limits.forget()  # what an earlier test has spent is not this project's
    return project


def make_application(project: Project | None = None, client_id: str = "tests", **fields: Any) -> Application:
    """An application of the project, by which guests get tokens. `fields` are those of `Application`."""
    defaults = {"name": client_id.title(), "type": Application.Type.SPA, "redirect_uris": [f"http://{HOST}/"]}
    return Application.objects.create(project=project or project_of(), client_id=client_id, **(defaults | fields))


def project_of(host: str = HOST) -> Project:
    """The project that requests to `host` are requests to; made where there is none yet."""
    return project_at(host) or make_project()


def make_guest(project: Project | None = None, *, application: Application | None = None) -> Any:
    """A new guest: their row of AUTH_USER_MODEL, with `user.end_user`.

    Raises: what `sign_up` raises, but for limits of addresses: each guest comes from another one.
    """
    address = f"2001:db8:{secrets.randbelow(0x10000):x}:{secrets.randbelow(0x10000):x}::1"  # RFC 3849
    signed_up = sign_up(
        project=application.project if application else project or project_of(),
        application=application,
        kind=Session.Kind.COOKIE,
        ip=address,
    )
    return signed_up.session.end_user.user


def make_member(
    login_id: str = "", *, type: str = "", password: str = "", guest: Any = None, project: Project | None = None
) -> Any:
    """Somebody who was a guest and was promoted, with the same `sub`: their row of AUTH_USER_MODEL.

    `login_id` is an address, a phone number or a user name, as `type` says (`email` with an @, else `username`).
    Without one it is an address of `example.com`. Nobody logs in with a blank password. `guest` is who is promoted,
    else a new one.
    Raises: what `promote` raises; InvalidLoginID; WeakPassword.
    """
    text = login_id or f"member-{secrets.token_hex(6)}@example.com"
    value = parse_login_id(type or ("email" if "@" in text else "username"), text)
    end_user = _end_user(make_guest(project) if guest is None else guest)
    hashed = hash_password(password) if password else None
    proof = Proof("password" if password else "email_code", value, verified=value.type == "email", password=hashed)
    return promote(end_user=end_user, project=end_user.project, proof=proof).end_user.user


def client_of(user: Any, **defaults: Any) -> Client:
    """A `django.test.Client` with a session cookie of `user`, a guest or a member. `defaults` are the Client's own."""
    end_user = _end_user(user)
    kind = Session.Kind.COOKIE
    _, secret = open_session(end_user=end_user, project=end_user.project, application=None, kind=kind, announce=False)
    client = Client(**defaults)
    client.cookies[conf.COOKIE_NAME] = str(secret)
    if conf.COOKIE_DOMAIN is None:
        client.cookies[f"__Host-{conf.COOKIE_NAME}"] = str(secret)  # for requests with secure=True
    return client


def bearer_headers(
    user: Any, application: Application | None = None, *, origin: str = f"http://{HOST}"
) -> dict[str, str]:
    """The headers of a client that holds an access token of `user`: `client.get(path, headers=bearer_headers(user))`.

    The token is of `application`, else of the project's first one, which is made where there is none. `origin` is where
    the client will send it.
    """
    end_user = _end_user(user)
    application = application or end_user.project.applications.order_by("pk").first()
    application = application or make_application(end_user.project)
    session, _ = open_session(
        end_user=end_user,
        project=end_user.project,
        application=application,
        kind=Session.Kind.TOKEN,
        announce=False,
    )
    issuer = Issuer(conf.ISSUER or origin, lambda facts: {})
    tokens = mint_tokens(Session.objects.in_full().get(pk=session.pk), issuer=issuer)
    return {"Authorization": f"Bearer {tokens.access_token}"}


def _end_user(user: Any) -> EndUser:
    """The end user behind a row of AUTH_USER_MODEL, read anew: a promotion that went on elsewhere is seen."""
    key = user.pk if isinstance(user, EndUser) else user.end_user.pk
    return EndUser.objects.select_related("project", "user").get(pk=key)
