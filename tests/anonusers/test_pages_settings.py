"""The hosted page /settings and what it leads to."""

import re
import uuid

import pytest
from django.core import mail
from django.utils import timezone
from django.utils.html import escape

from anonusers import credentials, device_keys, limits, promotion, sessions
from anonusers.devices import device_of, place_of
from anonusers.models import DeviceKey, EndUser, LoginID, OneTimeToken, Promotion, Session
from anonusers.sessions import open_session
from anonusers.signup import sign_up
from example.models import Comment
from tests.anonusers.browsing import (
    COOKIE,
    OTHER_PASSWORD,
    PASSWORD,
    action_of,
    be_guest,
    cookie_user,
    errors_of,
    follow,
    give_key,
    hidden_of,
    live_sessions,
    new_browser,
    send,
    text_of,
)
from tests.conftest import APP_ORIGIN, make_project, row_counts
from tests.people import last_code, other_than, regular_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]

EMAIL = "anna@example.com"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 "
    "Mobile/15E148 Safari/604.1"
)
PAGES = ["/settings", "/settings/password", "/settings/login-ids/add", "/settings/delete"]


@pytest.fixture
def client():
    return new_browser()


@pytest.fixture
def project(project):
    project.login_ids = ["email", "username"]
    project.save()
    return project


@pytest.fixture
def anna(application):
    return regular_user(application, EMAIL, password=PASSWORD)


@pytest.fixture
def signed_in(client, anna, project):
    session, secret = open_session(end_user=anna, project=project, application=None, kind="cookie", user_agent=CHROME)
    client.cookies[COOKIE] = str(secret)
    return session


def login_id_of(end_user, **fields):
    return end_user.login_ids.get(**fields)


def everything():
    return (
        list(LoginID.objects.order_by("pk").values()),
        list(EndUser.objects.order_by("pk").values("pk", "disabled_at", "user__password", "user__email")),
        list(Session.objects.order_by("pk").values("pk", "ended_at")),
    )


# --- who may -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PAGES, "/settings/login-ids/1/remove", "/settings/login-ids/1/verify"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_who_is_not_signed_in_logs_in_first(project, path, method):
    visitor = new_browser()
    visitor.handler.enforce_csrf_checks = False
    before = row_counts()
    response = getattr(visitor, method)(path)
    assert (response.status_code, response.headers["Location"]) == (303, f"/login?next={path.replace('/', '%2F')}")
    assert row_counts() == before


def test_logging_in_comes_back(client, anna, project):
    page = follow(client, client.get("/settings/password"))
    response = send(client, page, login_id=EMAIL, password=PASSWORD)
    assert response.headers["Location"] == "/settings/password"


def test_the_page_shows_the_account(client, signed_in, anna):
    before, rows = row_counts(), everything()
    response = client.get("/settings")
    text = text_of(response)
    assert str(anna.pk) in text
    assert f"{EMAIL} E-mail address Verified" in text
    assert "Chrome on Linux used just now This one" in text
    assert "Log out here" in text
    assert f'data-copy="{anna.pk}"' in response.content.decode()
    assert "Remove" not in text, "never the last one"
    assert (row_counts(), everything()) == (before, rows)
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert "no-store" in response.headers["Cache-Control"]


def test_a_guest_sees_how_to_keep_the_account(client, project, application):
    be_guest(client, project, application)
    response = client.get("/settings")
    assert "You are a guest" in text_of(response)
    assert 'href="/promote"' in response.content.decode()
    for path in PAGES[1:3]:
        response = client.get(path)
        assert response.status_code == 403
        assert 'href="/promote"' in response.content.decode()


def test_the_session_of_an_application_vouches_for_this_browser(client, anna, application, project):
    """`open(Page.Settings)`: the browser may know somebody else, the application knows whom it means."""
    be_guest(client, project)
    session, _ = open_session(
        end_user=anna, project=project, application=application, kind="token", scope="openid", user_agent=SAFARI
    )
    client.cookies[credentials.APP_SESSION] = sessions.vouch(Session.objects.in_full().get(pk=session.pk))
    response = client.get("/settings?ui_locales=en&x_color_scheme=dark")
    text = text_of(response)
    assert EMAIL in text
    assert "Safari on iPhone Web · used just now This one" in text
    assert "Log out here" not in text
    assert 'data-theme="dark"' in response.content.decode()
    assert 'data-theme="dark"' in client.get("/settings/password").content.decode()
    sessions.end_session(Session.objects.in_full().get(pk=session.pk))
    assert EMAIL not in text_of(client.get("/settings")), "it ends with the application's session"


NO_WAY_BACK = "You are a guest: once you are signed out, you cannot come back to this account."
BY_KEY = "You can come back to this account on the device that keeps its key."
BY_CODE = "You can come back to this account with your recovery code."


def notice_of(response):
    return text_of(response).partition("Keep my account")[0].removeprefix("Guestbook Your account ").strip()


def test_a_guest_without_a_key_is_told_that_signing_out_is_for_good(client, project, application):
    guest = be_guest(client, project, application)
    assert notice_of(client.get("/settings")) == NO_WAY_BACK
    # Neither somebody else's key nor one that led to this guest once leads back.
    other = sign_up(project=project, application=application, kind="token").session.end_user
    give_key(other)
    give_key(guest, key_id="key-of-before", thumbprint="b" * 43)
    promotion.retire_key(guest)
    assert notice_of(client.get("/settings")) == NO_WAY_BACK


def test_a_guest_with_a_key_is_told_where_it_leads_back(client, project, application):
    give_key(be_guest(client, project, application))
    before = row_counts()
    assert notice_of(client.get("/settings")) == f"You are a guest. {BY_KEY}"
    assert row_counts() == before
    project.anonymous_users_enabled = False
    project.save()
    assert notice_of(client.get("/settings")) == NO_WAY_BACK, "keys are refused then"


def test_a_guest_with_a_recovery_code_is_told_that_it_leads_back(client, project, application):
    guest = be_guest(client, project, application)
    device_keys.issue_recovery_code(session=Session.objects.in_full().get(end_user=guest))
    assert notice_of(client.get("/settings")) == f"You are a guest. {BY_CODE}"
    OneTimeToken.objects.update(expires_at=timezone.now())
    assert notice_of(client.get("/settings")) == NO_WAY_BACK
    device_keys.issue_recovery_code(session=Session.objects.in_full().get(end_user=guest))
    OneTimeToken.objects.update(used_at=timezone.now())
    assert notice_of(client.get("/settings")) == NO_WAY_BACK
    give_key(guest)
    assert notice_of(client.get("/settings")) == f"You are a guest. {BY_KEY}"


def test_a_regular_user_is_told_nothing_of_the_kind(client, signed_in):
    text = text_of(client.get("/settings"))
    assert "guest" not in text
    assert "come back" not in text


@pytest.mark.parametrize("scheme", ["", "blue", '"><script>', "dark light"])
def test_other_colour_schemes_are_ignored(client, signed_in, scheme):
    html = client.get("/settings", {"x_color_scheme": scheme}).content.decode()
    assert "data-theme" not in html


@pytest.mark.parametrize("done", ["nonsense", "<script>", "constructor"])
def test_only_known_words_are_said(client, signed_in, done):
    assert "notice--success" not in client.get("/settings", {"done": done}).content.decode()


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        (CHROME, "Chrome on Linux"),
        (SAFARI, "Safari on iPhone"),
        (CHROME.replace("X11; Linux x86_64", "Windows NT 10.0") + " Edg/140.0", "Edge on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14) Gecko/20100101 Firefox/140.0", "Firefox on macOS"),
        ("okhttp/4.9", "okhttp/4.9"),
        ("", "Unknown device"),
    ],
)
def test_devices_have_names_that_people_know(user_agent, device):
    assert device_of(user_agent) == device


IPHONE = {"name": "Ada's iPhone", "model": "iPhone14,4", "system": "iOS 17.2", "app": "Guestbook 1.2.0"}


def session_on(device, end_user, application, **options):
    session, _ = open_session(
        end_user=end_user,
        project=application.project,
        application=application,
        kind="token",
        scope="openid",
        **{"user_agent": SAFARI, "device": device} | options,
    )
    return session


@pytest.mark.parametrize(
    ("device", "parts", "app"),
    [
        (IPHONE, ["Ada's iPhone", "iPhone14,4", "iOS 17.2"], "Guestbook 1.2.0"),
        ({"model": "iPhone14,4"}, ["iPhone14,4"], ""),
        ({"name": "iPhone", "model": "iPhone14,4", "system": "iOS 17.2"}, ["iPhone14,4", "iOS 17.2"], ""),
        ({"name": "Pixel 8", "model": "Google Pixel 8", "system": "Android 15"}, ["Google Pixel 8", "Android 15"], ""),
        ({"app": "Guestbook 1.2.0"}, ["Safari on iPhone"], "Guestbook 1.2.0"),
        ({"name": "  ", "model": " ", "app": " "}, ["Safari on iPhone"], ""),
        ({}, ["Safari on iPhone"], ""),
    ],
)
def test_a_session_is_where_its_device_says_or_else_its_user_agent(application, device, parts, app):
    guest = sign_up(project=application.project, application=application, kind="token").session.end_user
    session = session_on(device, guest, application)
    assert place_of(session.device, session.user_agent) == (parts, app)


def test_the_list_shows_the_device_with_its_app_below(client, signed_in, anna, application):
    session_on(IPHONE, anna, application)
    response = client.get("/settings")
    text = text_of(response)
    assert "Ada's iPhone · iPhone14,4 · iOS 17.2 Guestbook 1.2.0 · used just now" in text
    assert "Sign out there Ada's iPhone iPhone14,4 iOS 17.2" in text
    assert "Chrome on Linux used just now This one" in text, "what is not known is not made up"
    assert "Device key" not in text


def test_a_session_that_a_key_opened_is_marked(client, project, application):
    guest = be_guest(client, project, application)
    session_on(IPHONE, guest, application, amr="pop")
    session_on({}, guest, application, amr="pwd", user_agent=CHROME)
    html = client.get("/settings").content.decode()
    assert html.count("Device key") == 1
    assert "Guestbook 1.2.0 · used just now Device key" in text_of(client.get("/settings"))
    Session.objects.filter(end_user=guest, kind="cookie").update(amr="pop")
    assert "used just now This one Device key" in text_of(client.get("/settings"))


HOSTILE = {
    "markup": "<script>alert(1)</script>",
    "attribute": "\"><img src=x onerror=alert(1)>'",
    "template": "{{ end_user.user.password }}{% debug %}",
    "long": "W" * 100,
    "right-to-left": "הטלפון של עדה",
    "overrides": "\u202eenohPi\u202c\u2066",
    "lines": "a\nb\r\tc\x1b[2J",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_a_device_says_of_itself_stays_text_in_its_place(client, signed_in, anna, application, kind):
    said = HOSTILE[kind]
    session_on(dict.fromkeys(("name", "model", "system", "app"), said) | {"name": f"My {said}"}, anna, application)
    html = client.get("/settings").content.decode()
    shown = escape("".join(character for character in said if character.isprintable()))
    assert html.count(f"<bdi>My {shown}</bdi>") == 2  # the row, and its button
    assert html.count(f"<bdi>{shown}</bdi>") == 2 * 2 + 1  # model and system, in both; the app
    assert html.count(shown) == 7, "nowhere else"
    for raw in ("<script>alert", "<img", "\u202e", "\u2066", "\x1b", anna.user.password):
        assert raw not in html


# --- password ------------------------------------------------------------------------------------------


def test_the_password_is_changed_and_other_sessions_end(client, signed_in, anna, application):
    elsewhere, _ = open_session(
        end_user=anna, project=anna.project, application=application, kind="token", scope="openid"
    )
    page = client.get("/settings/password")
    response = send(client, page, current=PASSWORD, password=OTHER_PASSWORD)
    assert "Your new password is set" in text_of(follow(client, response))
    anna.user.refresh_from_db()
    assert anna.user.check_password(OTHER_PASSWORD)
    elsewhere.refresh_from_db()
    assert elsewhere.ended_at
    assert cookie_user(client) == str(anna.pk)


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"current": "", "password": OTHER_PASSWORD}, ["Enter your current password."]),
        ({"current": "wrong", "password": OTHER_PASSWORD}, ["This is not your current password."]),
        ({"current": PASSWORD, "password": "qzvxk"}, ["This password is too short"]),
        ({"current": PASSWORD, "password": ""}, ["Choose a password."]),
        ({"current": "", "password": ""}, ["Enter your current", "Choose a password.", "another look"]),
    ],
)
def test_what_is_wrong_with_a_new_password(client, signed_in, fields, errors):
    page = client.get("/settings/password")
    before = everything()
    response = send(client, page, **fields)
    assert response.status_code == 422
    assert [said.startswith(error) or error in said for said, error in zip(errors_of(response), errors, strict=True)]
    assert everything() == before


def test_guessing_the_current_password_is_limited(client, signed_in, settings):
    settings.ANONUSERS_LOGIN_PER_ACCOUNT_AND_IP = "1/m"
    page = client.get("/settings/password")
    send(client, page, current="wrong", password=OTHER_PASSWORD)
    before = everything()
    assert send(client, page, current=PASSWORD, password=OTHER_PASSWORD).status_code == 429
    assert everything() == before


def test_who_has_no_password_sets_one(client, application, project):
    end_user = regular_user(application, "code@example.com", password=None)
    _, secret = open_session(end_user=end_user, project=project, application=None, kind="cookie")
    client.cookies[COOKIE] = str(secret)
    assert "None: you log in with a code" in text_of(client.get("/settings"))
    page = client.get("/settings/password")
    assert "Current password" not in text_of(page)
    assert send(client, page, password=PASSWORD).status_code == 303
    end_user.user.refresh_from_db()
    assert end_user.user.check_password(PASSWORD)


# --- login IDs -------------------------------------------------------------------------------------------


def test_an_address_is_added_once_its_code_was_read(client, signed_in, anna):
    response = send(client, "/settings/login-ids/add", login_id="New@example.com")
    page = follow(client, response)
    assert "N…@example.com" in text_of(page)
    assert LoginID.objects.count() == 1, "F7"
    assert send(client, page, code=other_than(last_code())).status_code == 422
    response = send(client, page, code=last_code())
    assert response.headers["Location"] == "/settings?done=verified"
    assert login_id_of(anna, value="New@example.com").verified_at
    anna.user.refresh_from_db()
    assert anna.user.email == EMAIL, "the first one stays the host's"


def test_a_taken_address_shows_only_after_the_code(client, signed_in, anna, application):
    other = regular_user(application, "eve@example.com", password=OTHER_PASSWORD)
    pages = {}
    for text in ("eve@example.com", "free@example.com"):
        limits.forget()
        pages[text] = follow(client, send(client, "/settings/login-ids/add", login_id=text))
    plain = {re.sub(r".…@|flow=[\w-]+", "", text_of(page)) for page in pages.values()}
    assert len(plain) == 1
    code = re.search(r"\d{6}", mail.outbox[0].subject)[0]
    before = everything()
    response = send(client, pages["eve@example.com"], code=code)
    assert response.status_code == 409
    assert "has an account already" in errors_of(response)[0]
    assert everything() == before
    assert other.login_ids.count() == 1


def test_a_taken_user_name_is_said_at_once(client, signed_in, anna, application):
    regular_user(application, "eve.e", type="username", verified=False)
    before = everything()
    response = send(client, "/settings/login-ids/add?type=username", login_id="EVE.e")
    assert response.status_code == 409
    assert "has an account already" in errors_of(response)[0]
    assert everything() == before
    assert send(client, response, login_id="anna.a").headers["Location"] == "/settings?done=added"


@pytest.mark.parametrize(
    ("kind", "text", "error"),
    [
        ("email", "", "Enter your e-mail address."),
        ("email", "x", "This is not an e-mail address"),
        ("username", "admin", "A user name has 3 to 40"),
        ("phone", "+493012345678", "This is not an e-mail address"),
    ],
)
def test_what_is_wrong_with_a_new_login_id(client, signed_in, kind, text, error):
    page = client.get("/settings/login-ids/add")
    before = everything()
    fields = hidden_of(page) | {"login_id": text}
    response = client.post(f"/settings/login-ids/add?next=/settings&type={kind}", fields)
    assert response.status_code == 422
    assert errors_of(response)[0].startswith(error)
    assert everything() == before


def test_an_unverified_address_is_verified_and_the_password_stays(client, application, project):
    end_user = regular_user(application, EMAIL, password=PASSWORD, verified=False)
    _, secret = open_session(end_user=end_user, project=project, application=None, kind="cookie")
    client.cookies[COOKIE] = str(secret)
    text = text_of(client.get("/settings"))
    assert "Not verified" in text
    row = end_user.login_ids.get()
    # nothing is added before: it would be a back door to somebody else's address
    response = send(client, "/settings/login-ids/add", login_id="second@example.com")
    assert errors_of(response) == [f"Verify {EMAIL} first."]
    page = follow(client, send(client, f"/settings/login-ids/{row.pk}/verify"))
    assert mail.outbox[0].to == [EMAIL]
    assert send(client, page, code=last_code()).status_code == 303
    row.refresh_from_db()
    assert row.verified_at
    end_user.user.refresh_from_db()
    assert end_user.user.check_password(PASSWORD)
    assert cookie_user(client) == str(end_user.pk)


def test_a_login_id_is_removed_but_never_the_last(client, signed_in, anna):
    first = anna.login_ids.get()
    response = send(client, f"/settings/login-ids/{first.pk}/remove")
    assert response.status_code == 422
    assert "at least one way to log in" in errors_of(response)[0]
    send(client, "/settings/login-ids/add?type=username", login_id="anna.a")
    assert "Remove" in text_of(client.get("/settings"))
    response = send(client, f"/settings/login-ids/{first.pk}/remove")
    assert response.headers["Location"] == "/settings?done=removed"
    assert anna.login_ids.get().value == "anna.a"
    anna.user.refresh_from_db()
    assert anna.user.email == "", "a password reset of the host must not go there any more"


@pytest.mark.parametrize("what", ["remove", "verify"])
def test_somebody_elses_login_id_is_not_there(client, signed_in, application, what):
    other = regular_user(application, "eve@example.com", password=OTHER_PASSWORD, verified=False).login_ids.get()
    page = client.get("/settings/password")
    before = everything()
    assert client.get(f"/settings/login-ids/{other.pk}/{what}").status_code == 404
    assert client.post(f"/settings/login-ids/{other.pk}/{what}", hidden_of(page)).status_code == 404
    assert everything() == before
    assert not mail.outbox


def test_looking_at_a_question_answers_nothing(client, signed_in, anna):
    before, row = everything(), anna.login_ids.get()
    for path in (f"/settings/login-ids/{row.pk}/remove", "/settings/delete", "/settings/password"):
        assert client.get(path).status_code == 200
    assert client.get(f"/settings/sessions/{signed_in.pk}/end").status_code == 303
    assert everything() == before


def test_a_code_for_an_address_belongs_to_its_user(client, signed_in, anna, application, project):
    page = follow(client, send(client, "/settings/login-ids/add", login_id="new@example.com"))
    eve = regular_user(application, "eve@example.com", password=OTHER_PASSWORD)
    _, secret = open_session(end_user=eve, project=project, application=None, kind="cookie")
    client.cookies[COOKIE] = str(secret)
    before = everything()
    response = send(client, page, code=last_code())
    assert response.status_code == 400
    assert everything() == before
    del client.cookies[COOKIE]
    response = send(client, page, code=last_code())
    assert response.status_code == 303
    assert response.headers["Location"].startswith("/login?")
    assert everything() == before


def test_a_code_that_is_on_its_way_dies_with_a_new_password(client, signed_in, anna):
    page = follow(client, send(client, "/settings/login-ids/add", login_id="new@example.com"))
    send(client, "/settings/password", current=PASSWORD, password=OTHER_PASSWORD)
    before = everything()
    assert send(client, page, code=last_code()).status_code == 400
    assert everything() == before


# --- sessions ----------------------------------------------------------------------------------------------


def test_a_session_elsewhere_is_signed_out(client, signed_in, anna, application):
    elsewhere, _ = open_session(
        end_user=anna, project=anna.project, application=application, kind="token", scope="openid", user_agent=SAFARI
    )
    page = client.get("/settings")
    assert text_of(page).count("Sign out there") == 1
    response = send(client, page, action=f"/settings/sessions/{elsewhere.pk}/end")
    assert "That session was signed out" in text_of(follow(client, response))
    elsewhere.refresh_from_db()
    assert elsewhere.ended_at
    assert live_sessions(anna) == 1


def test_somebody_elses_session_goes_on(client, signed_in, application):
    other = sign_up(project=application.project, application=application, kind="token").session
    page = client.get("/settings/password")
    for pk in (other.pk, uuid.uuid4()):
        assert client.post(f"/settings/sessions/{pk}/end", hidden_of(page)).status_code == 303
    other.refresh_from_db()
    assert other.ended_at is None


# --- the end ---------------------------------------------------------------------------------------------------


def test_deleting_says_how_many_of_what_and_deletes_it(client, signed_in, anna, application):
    Comment.objects.create(author=anna.user, text="one")
    Comment.objects.create(author=anna.user, text="two")
    stranger = regular_user(application, "eve@example.com")
    Comment.objects.create(author=stranger.user, text="three")
    page = client.get("/settings/delete")
    text = text_of(page)
    for said in ("2 comments", "1 login ID", "1 session", f"Type {EMAIL} to confirm"):
        assert said in text
    response = send(client, page, confirm=EMAIL.upper(), current=PASSWORD)
    assert response.status_code == 200
    assert "Your account is deleted" in text_of(response)
    assert response.cookies[COOKIE].value == ""
    assert not EndUser.objects.filter(pk=anna.pk).exists()
    assert Comment.objects.get().text == "three"
    assert not Promotion.objects.filter(pk=anna.pk).exists()
    assert cookie_user(client) is None
    assert live_sessions(anna) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"confirm": "delete", "current": PASSWORD},
        {"confirm": EMAIL, "current": ""},
        {"confirm": EMAIL, "current": "wrong"},
        {"confirm": "", "current": PASSWORD},
    ],
)
def test_nothing_is_deleted_by_accident(client, signed_in, fields):
    page = client.get("/settings/delete")
    before, rows = row_counts(), everything()
    response = send(client, page, **fields)
    assert response.status_code == 422
    assert errors_of(response)
    assert (row_counts(), everything()) == (before, rows)


def test_a_guest_deletes_theirs_with_one_word(client, project, application):
    guest = be_guest(client, project, application)
    assert send(client, "/settings/delete", confirm="guest").status_code == 422
    assert send(client, "/settings/delete", confirm=" Delete ").status_code == 200
    assert not EndUser.objects.filter(pk=guest.pk).exists()


@pytest.mark.parametrize("path", ["/settings/password", "/settings/delete", "/settings/login-ids/add"])
def test_forms_without_their_token_do_nothing(client, signed_in, path):
    before = everything()
    fields = {"current": PASSWORD, "password": OTHER_PASSWORD, "confirm": EMAIL, "login_id": "x@example.com"}
    assert client.post(path, fields).status_code == 403
    assert client.post(path, fields, headers={"Origin": APP_ORIGIN}).status_code == 403
    assert everything() == before
    assert not mail.outbox


def test_a_disabled_users_pages_are_closed(client, signed_in, anna):
    page = client.get("/settings/password")
    EndUser.objects.filter(pk=anna.pk).update(disabled_at=timezone.now())
    before = everything()
    response = send(client, page, current=PASSWORD, password=OTHER_PASSWORD)
    assert response.status_code == 303
    assert everything() == before


def test_a_cookie_of_another_project_is_worth_nothing(client, signed_in):
    make_project("second", "second.localhost", login_ids=["email"])
    response = client.get("/settings", HTTP_HOST="second.localhost")
    assert response.status_code == 303


def test_logging_out_can_be_cancelled(client, signed_in):
    html = client.get("/logout").content.decode()
    assert re.search(r'href="/settings">Stay logged in', html)
    assert re.search(r'href="/back">Stay', client.get("/logout?cancel=/back").content.decode())
    assert "evil.example" not in client.get("/logout?cancel=//evil.example").content.decode()


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("key", f"You are using a guest account. {BY_KEY} Keep your account"),
        ("code", f"You are using a guest account. {BY_CODE} Keep your account"),
        ("none", "You are using a guest account. If you log out, you cannot come back to it. Keep your account"),
    ],
)
def test_logging_out_says_whether_a_guest_can_come_back(client, project, application, way, said):
    guest = be_guest(client, project, application)
    if way == "key":
        give_key(guest)
    elif way == "code":
        device_keys.issue_recovery_code(session=Session.objects.in_full().get(end_user=guest))
    response = client.get("/logout")
    assert f"Log out? {said} Log out Stay" in text_of(response)
    html = response.content.decode()
    assert ("notice--warning" in html, "button--danger" in html) == (way == "none", way == "none")
    assert send(client, response, action="/logout").status_code == 303
    assert DeviceKey.objects.filter(end_user=guest).count() == (way == "key"), "logging out leaves the key"


def test_logging_out_with_a_key_is_for_good_while_the_project_has_no_guests(client, project, application):
    give_key(be_guest(client, project, application))
    project.anonymous_users_enabled = False
    project.save()
    assert "If you log out, you cannot come back to it." in text_of(client.get("/logout"))


def test_promoted_out_of_the_settings(client, project, application):
    guest = be_guest(client, project, application)
    page = client.get("/promote")
    response = send(client, page, login_id=EMAIL, password=PASSWORD)
    assert response.headers["Location"] == "/settings"
    assert f"{EMAIL} E-mail address Not verified" in text_of(client.get("/settings"))
    assert guest.login_ids.exists()
    assert action_of(page).startswith("/promote?next=%2Fsettings")
