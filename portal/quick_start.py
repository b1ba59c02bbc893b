"""Ready code for an application: snippets with the project's own values in them. tests/e2e/test_quick_start.py runs
them."""

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.urls import Resolver404, resolve
from django.utils.translation import gettext as _

from anonusers.models import Application, Project
from portal import snippets as code_of

Type = Application.Type

REALM = "/api/client/v2.0/"
EXAMPLE_LOGIN_ID = {"email": "anna@example.com", "phone": "+49 30 1234567", "username": "anna"}


@dataclass(frozen=True)
class Snippet:
    """Code for one file. `language` is `js`, `sh` or `python`."""

    title: str
    language: str
    code: str


@dataclass(frozen=True)
class Guide:
    """One way to get going. `key` names it for links and tests."""

    key: str
    title: str
    intro: str
    snippets: tuple[Snippet, ...]


@dataclass(frozen=True)
class Values:
    """What the snippets are filled with."""

    endpoint: str
    client_id: str
    app_id: str
    return_uri: str
    login_id: str | None  # a type; None: guests cannot keep their account in this project

    @property
    def api(self) -> str:
        return f"{self.endpoint}/api/v1"


def guides_for(application: Application, *, endpoint: str) -> list[Guide]:
    """The guides that can work for this application: the one that fits best first, the others after it."""
    if not application.may_have_guests:
        return []
    project = application.project
    uris = application.redirect_uris or ["https://app.example.com/after"]
    values = Values(endpoint, application.client_id, project.realm_app_id, uris[0], _login_id(project))
    offered = [name for name in _order(application) if name != "realm" or _is_for_realm(application)]
    return [GUIDES[name](values, application) for name in offered]


def speaks_realm(project: Project) -> bool:
    """Whether this server has a Realm door: whether somebody else than the native API answers at its paths."""
    for path in (REALM, f"{REALM}app/{project.realm_app_id or project.slug}/location"):
        try:
            if resolve(path).app_names[-1:] != ["rest"]:
                return True
        except Resolver404:
            continue
    return False


def _is_for_realm(application: Application) -> bool:
    """Whether this is the application through which the clients of the project's Realm app come."""
    app_id = application.project.realm_app_id
    return bool(app_id) and application.client_id == app_id and speaks_realm(application.project)


def _order(application: Application) -> list[str]:
    if application.type == Type.TRADITIONAL_WEBAPP:
        names = ["fetch", "web", "django"]
    elif application.type == Type.NATIVE:
        names = ["react-native", "fetch", "http", "realm"]
    else:
        names = ["web", "fetch", "realm", "http"]
    first = {
        "django": "django",
        "react-native": "react-native",
        "ionic": "fetch",
        "ios": "http",
        "android": "http",
        "flutter": "http",
        "realm-web": "realm",
    }.get(application.framework)
    return sorted(names, key=lambda name: name != first)  # stable: the others keep their order


def _login_id(project: Project) -> str | None:
    known = [name for name in project.login_ids if name in EXAMPLE_LOGIN_ID]
    return known[0] if known else None


def fill(code: str, **values: str) -> str:
    """Put values in the place of `<<name>>`, each as a string literal, which JavaScript and Python write alike."""
    for name, value in values.items():
        code = code.replace(f"<<{name}>>", json.dumps(value))
    return code.strip("\n") + "\n"


# --- @authgear/web and React Native ---------------------------------------------------------------------------------


def _web(values: Values, application: Application) -> Guide:
    session_type = "cookie" if application.type == Type.TRADITIONAL_WEBAPP else "refresh_token"
    filled = {"client_id": values.client_id, "endpoint": values.endpoint, "session_type": session_type}
    snippets = [
        Snippet(_("Install"), "sh", "npm install @authgear/web\n"),
        Snippet(_("Sign up a guest"), "js", fill(code_of.WEB, **filled)),
    ]
    if values.login_id:
        snippets += [
            Snippet(_("Keep the account"), "js", fill(code_of.WEB_PROMOTION, return_uri=values.return_uri)),
            Snippet(_("After they return"), "js", fill(code_of.WEB_FINISH)),
        ]
    return Guide("web", "@authgear/web", _("Authgear's SDK for web pages, unchanged."), tuple(snippets))


def _react_native(values: Values, application: Application) -> Guide:
    snippets = [
        Snippet(_("Install"), "sh", "npm install @authgear/react-native\ncd ios && pod install\n"),
        Snippet(_("Sign up a guest"), "js", fill(code_of.NATIVE, client_id=values.client_id, endpoint=values.endpoint)),
    ]
    if values.login_id:
        code = fill(code_of.NATIVE_PROMOTION, return_uri=values.return_uri)
        snippets.append(Snippet(_("Keep the account"), "js", code))
    intro = _("Authgear's SDK for React Native, unchanged. The app must claim the scheme of its redirect URI.")
    return Guide("react-native", "React Native", intro, tuple(snippets))


# --- The native API -------------------------------------------------------------------------------------------------


def _fetch(values: Values, application: Application) -> Guide:
    filled = {"api": values.api, "client_id": values.client_id}
    if application.type == Type.TRADITIONAL_WEBAPP:
        promotion = code_of.COOKIE_PROMOTION
        intro = _("Plain JavaScript, no library. The page and the server must be of one site, such as example.com.")
        snippets = [Snippet(_("Sign up a guest"), "js", fill(code_of.COOKIE, **filled))]
    else:
        promotion = code_of.FETCH_PROMOTION
        intro = _("Plain JavaScript, no library.")
        snippets = [
            Snippet(_("Sign up a guest"), "js", fill(code_of.FETCH, **filled)),
            Snippet(_("Ask as the guest"), "js", fill(code_of.FETCH_USE)),
        ]
    if values.login_id:
        snippets.append(Snippet(_("Keep the account"), "js", fill(promotion, type=values.login_id)))
    return Guide("fetch", _("Plain fetch"), intro, tuple(snippets))


def _http(values: Values, application: Application) -> Guide:
    json_type = "-H 'Content-Type: application/json'"

    def body(**data: str) -> str:
        return shlex.quote(json.dumps(data))

    sign_up = (
        f"curl -s -X POST {shlex.quote(values.api + '/signup/')} \\\n"
        f"  {json_type} \\\n  -d {body(client_id=values.client_id)}\n"
    )
    who = f'curl -s {shlex.quote(values.api + "/userinfo/")} \\\n  -H "Authorization: Bearer $ACCESS_TOKEN"\n'
    challenge = (
        f"curl -s -X POST {shlex.quote(values.api + '/challenge/')} \\\n"
        f"  {json_type} \\\n  -d {body(client_id=values.client_id)}\n"
    )
    snippets = [Snippet(_("Sign up a guest"), "sh", sign_up), Snippet(_("Ask as the guest"), "sh", who)]
    if application.type == Type.NATIVE:
        snippets.append(Snippet(_("Log in with a key of the device: get what it signs"), "sh", challenge))
    intro = _("The requests themselves, for any language.")
    return Guide("http", "HTTP", intro, tuple(snippets))


# --- realm-web ------------------------------------------------------------------------------------------------------


def _realm(values: Values, application: Application) -> Guide:
    code = fill(code_of.REALM_WEB, app_id=values.app_id, endpoint=values.endpoint)
    snippets = [Snippet(_("Install"), "sh", "npm install realm-web\n"), Snippet(_("Sign up a guest"), "js", code)]
    if application.project.realm_local_userpass:
        at_once = application.project.realm_auto_confirm
        code = code_of.REALM_PROMOTION if at_once else code_of.REALM_PROMOTION_BY_MAIL
        snippets.append(Snippet(_("Keep the account"), "js", fill(code)))
    return Guide("realm", "realm-web", _("MongoDB's SDK for web pages, unchanged."), tuple(snippets))


# --- Django ---------------------------------------------------------------------------------------------------------


def _django(values: Values, application: Application) -> Guide:
    snippets = (
        Snippet("settings.py", "python", fill(code_of.DJANGO_SETTINGS)),
        Snippet("urls.py", "python", fill(code_of.DJANGO_URLS)),
        Snippet("views.py", "python", fill(code_of.DJANGO_VIEWS, client_id=values.client_id)),
        Snippet(
            _("views.py with Django REST Framework"), "python", fill(code_of.DJANGO_REST, client_id=values.client_id)
        ),
    )
    intro = _("In the Django project that serves this very portal. Another backend asks over HTTP.")
    return Guide("django", "Django", intro, snippets)


GUIDES: dict[str, Callable[[Values, Any], Guide]] = {
    "web": _web,
    "react-native": _react_native,
    "fetch": _fetch,
    "http": _http,
    "realm": _realm,
    "django": _django,
}
