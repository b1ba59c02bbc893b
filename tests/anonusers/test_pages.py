"""The hosted pages /logout and /logged-out."""

import re
from html import unescape
from urllib.parse import quote

import pytest
from django.test import Client

from anonusers.middleware import CONTENT_SECURITY_POLICY
from anonusers.models import Session
from anonusers.signup import sign_up
from tests.conftest import APP_ORIGIN, HOST, make_application, make_project, row_counts, state_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]

COOKIE = "anonusers_session"
OWN_PATHS = ["/", "/somewhere", "/a/b?c=d&e=%2F%2Fevil.example", "/oauth2/end_session?state=x", "/a#b", "/ümläut"]
FOREIGN = [
    "",
    "https://evil.example",
    "https://evil.example/logged-out",
    "http:evil.example",
    "https:/evil.example",
    "//evil.example",
    "//evil.example/%2e%2e",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "\x00//evil.example",
    "/a\x00b",
    "//localhost:8000@evil.example",
    f"http://{HOST}@evil.example/",
    f"http://{HOST}/",  # our own host is no path either
    f"//{HOST}/",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "evil.example",
    "relative/path",
    "?next=/x",
    "#x",
    "//[",
    "http://[",
]


@pytest.fixture
def client():
    return Client(HTTP_HOST=HOST, enforce_csrf_checks=True)


@pytest.fixture
def session(client, application):
    """A guest's session, whose cookie the client holds."""
    signed_up = sign_up(project=application.project, application=application, kind="cookie")
    client.cookies[COOKIE] = str(signed_up.secret)
    return Session.objects.in_full().get(pk=signed_up.session.pk)


def confirm(client, path="/logout", **options):
    """Open the page and press its button."""
    page = client.get(path, **options)
    assert page.status_code == 200
    html = page.content.decode()
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', html)
    fields = {name: unescape(value) for name, value in found}
    assert set(fields) == {"csrfmiddlewaretoken", "next"}
    return client.post("/logout", fields, **options)


def is_live(session):
    session.refresh_from_db()
    return session.ended_at is None


def test_the_page_asks_before_it_logs_out(client, session, project):
    before, row = row_counts(), state_of(session)
    response = client.get("/logout")
    html = response.content.decode()
    assert response.status_code == 200
    assert "Log out?" in html
    assert "you cannot come back to it" in html
    assert project.name in html
    assert "csrfmiddlewaretoken" in html
    assert "no-store" in response.headers["Cache-Control"]
    assert (row_counts(), state_of(session)) == (before, row)


def test_a_regular_user_is_not_warned(client, session):
    session.end_user.anonymous_identity.delete()
    html = client.get("/logout").content.decode()
    assert "you cannot come back to it" not in html
    assert "You can log in again at any time." in html


def test_the_page_has_no_inline_script_or_style(client, session):
    for path in ("/logout", "/logged-out"):
        html = client.get(path).content.decode()
        assert not re.search(r"<style|<script(?! src=)|\son\w+=|\sstyle=", html)


def test_pressing_the_button_ends_the_session_and_clears_the_cookie(client, session):
    response = confirm(client)
    assert (response.status_code, response.headers["Location"]) == (303, "/logged-out")
    assert (response.cookies[COOKIE].value, response.cookies[COOKIE]["max-age"]) == ("", 0)
    assert not is_live(session)
    assert client.get("/api/v1/userinfo/").status_code == 401


def test_over_tls_the_pinned_cookie_is_cleared(client, session):
    name = f"__Host-{COOKIE}"
    client.cookies[name] = client.cookies[COOKIE].value
    page = client.get("/logout", secure=True)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.content.decode())[1]
    headers = {"Origin": f"https://{HOST}"}
    response = client.post("/logout", {"csrfmiddlewaretoken": token}, secure=True, headers=headers)
    assert response.status_code == 303
    assert (response.cookies[name].value, bool(response.cookies[name]["secure"])) == ("", True)
    assert not is_live(session)


def test_other_sessions_of_the_guest_go_on(client, session):
    other = sign_up(project=session.project, application=session.application, kind="cookie").session
    before = row_counts()
    confirm(client)
    assert row_counts() == before
    assert is_live(other)


@pytest.mark.parametrize("token", [None, "", "x" * 64])
def test_without_its_own_token_the_form_does_nothing(client, session, token):
    client.get("/logout")
    before, row = row_counts(), state_of(session)
    response = client.post("/logout", {} if token is None else {"csrfmiddlewaretoken": token})
    assert response.status_code == 403
    assert COOKIE not in response.cookies
    assert (row_counts(), state_of(session)) == (before, row)


def test_a_form_of_another_site_does_nothing(client, session):
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', client.get("/logout").content.decode())[1]
    row = state_of(session)
    response = client.post("/logout", {"csrfmiddlewaretoken": token}, headers={"Origin": "https://evil.example"})
    assert response.status_code == 403
    assert state_of(session) == row


def test_who_is_refused_for_an_old_form_sees_a_page_of_ours(client, session, settings):
    settings.CSRF_FAILURE_VIEW = "anonusers.protocols.fallback.csrf_failure"
    html = client.post("/logout").content.decode()
    assert "This page is no longer valid" in html
    assert "style=" not in html
    assert "<style" not in html


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_other_methods_do_nothing(session, method):
    lenient = Client(HTTP_HOST=HOST)
    lenient.cookies[COOKIE] = "x"
    row = state_of(session)
    assert getattr(lenient, method)("/logout").status_code == 405
    assert state_of(session) == row


def test_head_does_nothing(client, session):
    row = state_of(session)
    assert client.head("/logout").status_code == 200
    assert state_of(session) == row


# --- where it leads -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", OWN_PATHS)
def test_next_is_a_path_of_ours(client, session, path):
    response = confirm(client, f"/logout?next={quote(path, safe='')}")
    assert response.headers["Location"] == quote(path, safe="/?=&%#")
    assert not is_live(session)


@pytest.mark.parametrize("path", FOREIGN)
def test_next_is_never_anything_else(client, session, path):
    asked = f"/logout?next={quote(path, safe='')}"
    assert 'name="next" value="/logged-out"' in client.get(asked).content.decode()
    assert confirm(client, asked).headers["Location"] == "/logged-out"
    assert client.get(asked).headers["Location"] == "/logged-out", "nor without a session"


@pytest.mark.parametrize("path", FOREIGN)
def test_next_in_the_form_is_not_believed_either(session, path):
    lenient = Client(HTTP_HOST=HOST)
    signed_up = sign_up(project=session.project, application=session.application, kind="cookie")
    lenient.cookies[COOKIE] = str(signed_up.secret)
    response = lenient.post("/logout?next=/elsewhere", {"next": path})
    assert response.status_code == 303
    assert response.headers["Location"] == ("/logged-out" if path else "/elsewhere")


def test_the_path_is_escaped_on_the_page(client, session):
    html = client.get("/logout?next=" + quote('/"><script>alert(1)</script>', safe="")).content.decode()
    assert "<script>alert" not in html


@pytest.mark.parametrize("cookie", [None, "x", "AAAAAAAAAAAAAAAAAAAAAA.0." + "A" * 43])
@pytest.mark.parametrize("method", ["get", "post"])
def test_without_a_session_there_is_nothing_to_ask(application, cookie, method):
    visitor = Client(HTTP_HOST=HOST)
    if cookie:
        visitor.cookies[COOKIE] = cookie
    before = row_counts()
    response = getattr(visitor, method)("/logout?next=/somewhere")
    assert (response.status_code, response.headers["Location"]) == (302, "/somewhere")
    assert row_counts() == before


# --- the policy -----------------------------------------------------------------------------------


def form_targets(response):
    policy = response.headers["Content-Security-Policy"]
    return set(re.search(r"form-action ([^;]+);", policy)[1].split())


def test_the_form_may_lead_to_the_applications_of_the_project(client, session, project):
    """Browsers hold a form's redirects to form-action, too."""
    make_application(project, "web2", post_logout_redirect_uris=["https://app.example.com/bye?x=1"])
    make_application(project, "phone", type="native", post_logout_redirect_uris=["com.example.app://host/path"])
    make_application(make_project("second", "second.localhost"), post_logout_redirect_uris=["https://second.example/"])
    response = client.get("/logout")
    assert form_targets(response) == {"'self'", APP_ORIGIN, "https://app.example.com", "com.example.app:"}
    policy = response.headers["Content-Security-Policy"]
    rest = re.compile(r"form-action [^;]+;")
    assert rest.sub("", policy) == rest.sub("", CONTENT_SECURITY_POLICY), "all else as everywhere"


def test_the_page_after_it_says_what_happened_and_sets_nothing(client, application):
    before = row_counts()
    response = client.get("/logged-out")
    html = response.content.decode()
    assert response.status_code == 200
    assert "You are logged out" in html
    assert response.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert "no-store" in response.headers["Cache-Control"]
    assert not response.cookies
    assert row_counts() == before


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_the_page_after_it_is_only_read(method):
    assert getattr(Client(HTTP_HOST=HOST), method)("/logged-out").status_code == 405
