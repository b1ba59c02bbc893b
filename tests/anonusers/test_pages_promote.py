"""The hosted pages /promote and /code: a guest becomes a regular user."""

import re
from datetime import timedelta

import pytest
import time_machine
from django.core import mail
from django.utils import timezone

from anonusers import browser, limits, onetime
from anonusers.login_ids import parse_login_id
from anonusers.models import (
    AnonymousIdentity,
    EndUser,
    LoginID,
    OneTimeToken,
    Promotion,
    Session,
)
from anonusers.promotion import supersede
from anonusers.sessions import open_session
from anonusers.signup import sign_up
from tests.anonusers.browsing import (
    COOKIE,
    OTHER_PASSWORD,
    PASSWORD,
    action_of,
    be_guest,
    begin_flow,
    cookie_user,
    errors_of,
    follow,
    hidden_of,
    live_sessions,
    new_browser,
    send,
    text_of,
)
from tests.conftest import APP_ORIGIN, HOST, make_application, make_project, row_counts, state_of
from tests.people import last_code, other_than, regular_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]

EMAIL = "anna@example.com"
PROMOTE = "/promote?next=/comments-of-mine"


@pytest.fixture
def client():
    return new_browser()


@pytest.fixture
def guest(client, application):
    return be_guest(client, application.project, application)


def everything(guest):
    """What a refused attempt must not change."""
    rows = {
        model.__name__: list(model.objects.order_by("pk").values())
        for model in (LoginID, AnonymousIdentity, Promotion, EndUser)
    }
    sessions = list(Session.objects.order_by("pk").values("pk", "ended_at", "end_user_id"))
    users = [(row["username"], row["email"], row["password"]) for row in state_of(guest.user)]
    return rows, sessions, users


def is_still_a_guest(guest):
    return (
        EndUser.objects.get(pk=guest.pk).is_guest
        and not Promotion.objects.filter(pk=guest.pk).exists()
        and not guest.login_ids.exists()
        and live_sessions(guest) >= 1
    )


# --- what the page is ------------------------------------------------------------------------------


def test_the_page_says_what_is_kept_and_asks_for_little(client, guest):
    before = row_counts()
    response = client.get(PROMOTE)
    text, html = text_of(response), response.content.decode()
    assert response.status_code == 200
    assert "Keep your account" in text
    assert "Your things stay with you" in text
    assert "I already have an account" in text
    assert re.search(r'<input[^>]*type="email"[^>]*autocomplete="email"[^>]*inputmode="email"', html)
    assert 'autocomplete="new-password"' in html
    assert row_counts() == before
    assert browser.KEY not in client.session


def test_looking_writes_nothing_even_where_it_might(client, guest):
    row = everything(guest)
    client.get(PROMOTE)
    client.head(PROMOTE)
    assert everything(guest) == row
    assert not OneTimeToken.objects.exists()


def test_the_headers_keep_the_page_to_itself(client, guest, project):
    make_application(project, "phone", type="native", redirect_uris=["com.example.app://host/path"])
    response = client.get(PROMOTE)
    policy = response.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert re.search(rf"form-action 'self' {APP_ORIGIN};", policy)
    assert "no-store" in response.headers["Cache-Control"]
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert not re.search(r"<style|<script(?! src=)|\son\w+=|\sstyle=", response.content.decode())


@pytest.mark.parametrize(
    ("options", "targets"),
    [
        ({"redirect_uris": ["https://app.example.com/cb?x=1"]}, "'self' https://app.example.com"),
        ({"type": "native", "redirect_uris": ["com.example.app://host/path"]}, "'self' com.example.app:"),
        (
            {"type": "native", "redirect_uris": ["http://127.0.0.1/cb"]},
            "'self' http://127.0.0.1 http://127.0.0.1:*",
        ),
    ],
)
def test_the_form_may_end_at_the_application_that_began_the_flow(client, project, options, targets):
    """Browsers hold a form's redirects to form-action, too."""
    application = make_application(project, "other", **options)
    guest = sign_up(project=project, application=None, kind="cookie").session.end_user
    flow = begin_flow(client, project, application=application.pk, guest=str(guest.pk))
    policy = client.get(f"/promote?flow={flow}").headers["Content-Security-Policy"]
    assert f"form-action {targets};" in policy


@pytest.mark.parametrize(
    ("login_ids", "shown", "tabs"),
    [
        (["email"], 'type="email"', []),
        (["phone"], 'type="tel"', []),
        (["username"], 'autocomplete="username"', []),
        (["username", "email", "phone"], 'autocomplete="username"', ["User name", "E-mail", "Phone"]),
    ],
)
def test_it_asks_for_what_the_project_allows(client, guest, project, login_ids, shown, tabs):
    project.login_ids = login_ids
    project.save()
    html = client.get(PROMOTE).content.decode()
    assert shown in html
    assert re.findall(r'<a href="/promote\?[^"]*type=\w+"[^>]*>([^<]+)</a>', html) == tabs
    assert ("Use a code instead" in html) == (login_ids[0] != "username")


def test_a_project_without_login_ids_says_so(client, guest, project):
    project.login_ids = []
    project.save()
    response = client.get(PROMOTE)
    assert response.status_code == 403
    assert "cannot be kept here yet" in text_of(response)
    assert is_still_a_guest(guest)


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_other_methods_do_nothing(client, guest, method):
    client.handler.enforce_csrf_checks = False
    assert getattr(client, method)(PROMOTE).status_code == 405
    assert is_still_a_guest(guest)


# --- a password ------------------------------------------------------------------------------------


def test_a_guest_keeps_the_account_with_a_password(client, guest, application):
    other_device, _ = open_session(
        end_user=guest, project=guest.project, application=application, kind="token", scope="openid"
    )
    pending = onetime.issue("promotion_code", project=guest.project, end_user=guest, application=application)
    session = client.session
    session["basket"] = [1, 2]
    session.save()
    old_key, old_cookie = client.session.session_key, client.cookies[COOKIE].value
    page = client.get(PROMOTE)
    old_csrf = client.cookies["csrftoken"].value
    response = send(client, page, login_id="Anna@Example.com", password=PASSWORD)
    assert (response.status_code, response.headers["Location"]) == (303, "/comments-of-mine")
    # the same person, no guest any more
    end_user = EndUser.objects.get(pk=guest.pk)
    assert not end_user.is_guest
    login_id = end_user.login_ids.get()
    assert (login_id.type, login_id.value, login_id.verified_at) == ("email", "Anna@example.com", None)
    assert end_user.user.check_password(PASSWORD)
    assert end_user.user.email == "Anna@example.com"
    assert Promotion.objects.get(pk=guest.pk).outcome == "promoted"
    # F1, F4: whatever was there before is dead; one new session, of this browser
    other_device.refresh_from_db()
    pending.token.refresh_from_db()
    assert other_device.ended_at
    assert pending.token.used_at
    assert live_sessions(guest) == 1
    assert client.cookies[COOKIE].value != old_cookie
    assert cookie_user(client) == str(guest.pk)
    thief = new_browser()
    thief.cookies[COOKIE] = old_cookie
    assert cookie_user(thief) is None
    new = Session.objects.get(end_user=guest, ended_at=None)
    assert (new.kind, new.amr, new.application_id) == ("cookie", "pwd", application.pk)
    # F2: the key and the CSRF token changed, the basket did not
    assert client.session.session_key != old_key
    assert client.session["basket"] == [1, 2]
    assert client.cookies["csrftoken"].value != old_csrf
    assert client.session[browser.KEY] == {}


def test_a_planted_session_cookie_does_not_come_along(client, guest):
    planted = client.session
    planted["basket"] = ["mine"]
    planted.save()
    key = planted.session_key
    send(client, PROMOTE, login_id=EMAIL, password=PASSWORD)
    from django.contrib.sessions.models import Session as HostSession

    assert not HostSession.objects.filter(pk=key).exists()


def test_a_user_name_will_do(client, guest, project):
    project.login_ids = ["email", "username"]
    project.save()
    response = send(client, f"{PROMOTE}&type=username", login_id="Anna.B", password=PASSWORD)
    assert response.status_code == 303
    assert guest.login_ids.get().value == "Anna.B"
    guest.user.refresh_from_db()
    assert guest.user.username == "Anna.B"
    assert not mail.outbox


def test_an_address_that_nobody_proved_is_told(client, guest):
    """F28: its owner may not know."""
    send(client, PROMOTE, login_id=EMAIL, password=PASSWORD)
    (message,) = mail.outbox
    assert message.to == [EMAIL]
    assert f"http://{HOST}/forgot" in message.body
    assert PASSWORD not in message.body


def test_a_mail_server_that_is_away_loses_nothing(client, guest, settings):
    settings.EMAIL_BACKEND = "tests.anonusers.test_pages_promote.Away"
    assert send(client, PROMOTE, login_id=EMAIL, password=PASSWORD).status_code == 303
    assert not EndUser.objects.get(pk=guest.pk).is_guest


class Away:
    def __init__(self, *args, **options):
        pass

    def send_messages(self, messages):
        raise ConnectionRefusedError


# --- what can be wrong with it -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"login_id": "", "password": PASSWORD}, ["Enter your e-mail address."]),
        ({"login_id": "   ", "password": PASSWORD}, ["Enter your e-mail address."]),
        ({"login_id": EMAIL, "password": ""}, ["Choose a password."]),
        ({"login_id": "nobody", "password": PASSWORD}, ["This is not an e-mail address that we can send to."]),
        ({"login_id": "a\x00b@example.com", "password": PASSWORD}, ["This is not an e-mail address"]),
        ({"login_id": "аnna@example.com", "password": PASSWORD}, ["This is not an e-mail address"]),
        ({"login_id": EMAIL, "password": "qzvxkwj"}, ["This password is too short."]),
        ({"login_id": EMAIL, "password": "12345678901"}, ["This password is too common.", "entirely numeric"]),
        ({"login_id": EMAIL, "password": "x1" * 2049}, ["Use at most 4096 characters."]),
        ({"login_id": EMAIL, "password": "anna@example.com"}, ["too similar"]),
        ({"login_id": "", "password": ""}, ["Enter your e-mail address.", "Choose a password.", "another look"]),
        ({"login_id": "x", "password": "qzvxkwj"}, ["not an e-mail", "too short", "another look"]),
        ({}, ["Enter your e-mail address.", "Choose a password.", "another look"]),
    ],
)
def test_errors_stand_under_their_fields_and_values_stay(client, guest, fields, errors):
    before = everything(guest)
    response = send(client, PROMOTE, **fields)
    html = response.content.decode()
    assert response.status_code == 422
    found = errors_of(response)
    assert len(found) == len(errors)
    for said, expected in zip(found, errors, strict=True):
        assert expected in said
    if (fields.get("login_id") or "").strip().isprintable() and fields.get("login_id", "").strip():
        assert f'value="{fields["login_id"]}"' in html
    if fields.get("password"):
        assert fields["password"] not in html.replace(fields["login_id"], "")
    assert everything(guest) == before
    assert is_still_a_guest(guest)
    assert not mail.outbox


def test_what_was_typed_is_escaped(client, guest):
    html = send(client, PROMOTE, login_id='"><script>alert(1)</script>', password=PASSWORD).content.decode()
    assert "<script>alert" not in html


@pytest.mark.parametrize("kind", ["phone", "nonsense", ""])
def test_a_kind_that_is_not_allowed_is_not_taken(client, guest, kind):
    page = client.get(PROMOTE)
    fields = hidden_of(page) | {"login_id": "+493012345678", "password": PASSWORD}
    response = client.post(f"/promote?next=/&type={kind}", fields)
    assert response.status_code == 422
    assert is_still_a_guest(guest)


@pytest.mark.parametrize("token", [None, "", "x" * 64])
def test_a_form_without_its_token_does_nothing(client, guest, token):
    client.get(PROMOTE)
    before = everything(guest)
    fields = {"login_id": EMAIL, "password": PASSWORD} | ({} if token is None else {"csrfmiddlewaretoken": token})
    assert client.post(PROMOTE, fields).status_code == 403
    assert everything(guest) == before


def test_a_form_of_another_site_does_nothing(client, guest):
    page = client.get(PROMOTE)
    before = everything(guest)
    fields = hidden_of(page) | {"login_id": EMAIL, "password": PASSWORD}
    assert client.post(PROMOTE, fields, headers={"Origin": "https://evil.example"}).status_code == 403
    assert everything(guest) == before


@pytest.mark.parametrize(
    "path", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "///x", "", "\x00/"]
)
def test_next_is_a_path_of_ours_or_nothing(client, guest, path):
    from urllib.parse import quote

    response = send(client, f"/promote?next={quote(path, safe='')}", login_id=EMAIL, password=PASSWORD)
    assert (response.status_code, response.headers["Location"]) == (303, "/settings")


def test_next_in_the_action_is_checked_again(client, guest):
    page = client.get(PROMOTE)
    fields = hidden_of(page) | {"login_id": EMAIL, "password": PASSWORD}
    response = client.post("/promote?next=https://evil.example/", fields)
    assert response.headers["Location"] == "/settings"


def test_too_many_tries_say_when_to_try_again(client, guest, settings):
    settings.ANONUSERS_LOGIN_PER_IP = "1/m"
    send(client, PROMOTE, login_id=EMAIL, password="password1")
    regular_user(guest.sessions.first().application, "taken@example.com")
    page = client.get(PROMOTE)
    send(client, page, login_id="taken@example.com", password=PASSWORD)
    before = everything(guest)
    response = send(client, page, login_id=EMAIL, password=PASSWORD)
    assert response.status_code == 429
    assert 0 < int(response.headers["Retry-After"]) <= 60
    (said,) = errors_of(response)
    assert re.search(r"Nothing was lost: try again in \d+ seconds\.", said)
    assert everything(guest) == before


# --- a code ----------------------------------------------------------------------------------------


def ask_for_code(client, text=EMAIL, path=PROMOTE):
    return follow(client, send(client, path, login_id=text, password="", method="code"))


def test_a_guest_keeps_the_account_with_a_code(client, guest):
    page = ask_for_code(client, "Anna@Example.com")
    assert "A…@example.com" in text_of(page)
    assert re.search(r'autocomplete="one-time-code" inputmode="numeric"', page.content.decode())
    assert is_still_a_guest(guest)
    assert not LoginID.objects.exists(), "F7: nothing is claimed before the code"
    old_key = client.session.session_key
    code = last_code()
    response = send(client, page, code=f" {code[:3]} {code[3:]}\n")
    assert (response.status_code, response.headers["Location"]) == (303, "/comments-of-mine")
    login_id = guest.login_ids.get()
    assert login_id.verified_at
    end_user = EndUser.objects.get(pk=guest.pk)
    assert not end_user.is_guest
    assert not end_user.user.has_usable_password()
    assert live_sessions(guest) == 1
    assert cookie_user(client) == str(guest.pk)
    assert Session.objects.get(end_user=guest, ended_at=None).amr == "otp"
    assert client.session.session_key != old_key


def test_where_addresses_must_be_verified_the_password_waits_for_the_code(client, guest, project):
    project.verify = ["email"]
    project.save()
    page = follow(client, send(client, PROMOTE, login_id=EMAIL, password=PASSWORD))
    assert is_still_a_guest(guest)
    assert send(client, page, code=last_code()).status_code == 303
    end_user = EndUser.objects.get(pk=guest.pk)
    assert end_user.user.check_password(PASSWORD)
    assert end_user.login_ids.get().verified_at


def test_no_secret_is_in_a_url(client, guest, project):
    project.verify = ["email"]
    project.save()
    response = send(client, PROMOTE, login_id=EMAIL, password=PASSWORD)
    flow = next(iter(client.session[browser.KEY].values()))
    handle = flow["pending"].partition(":")[2]
    assert handle
    for secret in (handle, PASSWORD, EMAIL, last_code()):
        assert secret not in response.headers["Location"]
    assert not re.search(handle, client.get(response.headers["Location"]).content.decode())


def test_a_wrong_code_counts_down_and_the_sixth_is_one_too_many(client, guest):
    page = ask_for_code(client)
    before, code = everything(guest), last_code()
    for left in (4, 3, 2, 1):
        response = send(client, page, code=other_than(code))
        noun = "try" if left == 1 else "tries"
        assert errors_of(response) == [f"This code is not right. {left} {noun} left."]
        assert response.status_code == 422
    assert "that was the last try" in errors_of(send(client, page, code=other_than(code)))[0]
    assert errors_of(send(client, page, code=code)) == ["This code is not valid any more. Send a new one."]
    assert everything(guest) == before


@pytest.mark.parametrize("code", ["", "   ", "--"])
def test_no_code_costs_no_try(client, guest, code):
    page = ask_for_code(client)
    assert errors_of(send(client, page, code=code)) == ["Enter the code of six digits."]
    assert OneTimeToken.objects.get().attempts == 0


@pytest.mark.parametrize("code", ["abcdef", "1", "9" * 5000, "½½½½½½", "\x00\x00"])
def test_nonsense_is_a_wrong_code(client, guest, code):
    page = ask_for_code(client)
    assert send(client, page, code=code).status_code == 422
    assert is_still_a_guest(guest)


def test_a_code_is_good_for_ten_minutes(client, guest):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        page = ask_for_code(client)
        clock.shift(timedelta(minutes=10))
        assert errors_of(send(client, page, code=last_code())) == ["This code is not valid any more. Send a new one."]
        assert is_still_a_guest(guest)


def test_a_new_code_comes_once_a_minute_and_voids_the_one_before(client, guest):
    page = ask_for_code(client)
    first = last_code()
    assert 'data-wait="6' in page.content.decode() or 'data-wait="5' in page.content.decode()
    fields = hidden_of(page) | {"action": "resend"}
    response = client.post(action_of(page), fields)
    assert response.status_code == 429
    assert "try again in" in errors_of(response)[0]
    assert len(mail.outbox) == 1
    limits.forget()  # a minute later
    page = follow(client, client.post(action_of(page), fields))
    assert "A new code is on its way" in text_of(page)
    assert len(mail.outbox) == 2
    if last_code() != first:
        assert send(client, page, code=first).status_code == 422
    assert send(client, page, code=last_code()).status_code == 303


def test_the_address_can_be_changed(client, guest):
    page = ask_for_code(client)
    back = re.search(r'href="(/promote[^"]+)">\s*Change address', page.content.decode())[1].replace("&amp;", "&")
    page = client.get(back)
    assert f'value="{EMAIL}"' in page.content.decode()
    assert "I have a code" in text_of(page)
    page = follow(client, send(client, page, login_id="other@example.com", password="", method="code"))
    assert mail.outbox[-1].to == ["other@example.com"]
    assert send(client, page, code=last_code()).status_code == 303
    assert guest.login_ids.get().value == "other@example.com"


def test_a_code_that_cannot_be_sent_leaves_nothing_behind(client, guest, settings):
    settings.EMAIL_BACKEND = "tests.anonusers.test_pages_promote.Away"
    before = everything(guest)
    response = send(client, PROMOTE, login_id=EMAIL, method="code")
    assert response.status_code == 503
    assert "could not be sent. Nothing was lost" in errors_of(response)[0]
    assert everything(guest) == before
    assert not OneTimeToken.objects.exists()


def test_the_code_page_without_a_code_on_its_way_says_so(client, guest):
    response = client.get("/code")
    assert response.status_code == 400
    assert "no longer valid" in text_of(response)


def test_a_flow_belongs_to_its_browser(client, guest):
    page = ask_for_code(client)
    other = new_browser()
    be_guest(other, guest.project)
    path, before = action_of(page), everything(guest)
    assert other.get(path).status_code == 400
    fields = hidden_of(other.get("/promote")) | {"code": last_code()}
    response = other.post(path, fields)
    assert response.status_code == 400
    assert "belongs to another browser" in text_of(response)
    assert everything(guest) == before


def test_a_flow_of_another_project_is_unknown(client, guest, project):
    second = make_project("second", "second.localhost")
    flow = begin_flow(client, second, guest=str(guest.pk))
    assert client.get(f"/promote?flow={flow}").status_code == 400


@pytest.mark.parametrize("flow", ["x", "../..", "%00", "a" * 5000, "💩"])
def test_a_flow_that_never_was_is_a_clear_page(client, guest, flow):
    for path in ("/promote", "/login", "/code", "/forgot"):
        response = client.get(path, {"flow": flow})
        assert response.status_code == 400
        assert "Nothing was lost" in text_of(response)
        assert 'href="/promote"' in response.content.decode()


def test_slow_people_have_25_minutes(client, project, application):
    guest = sign_up(project=project, application=application, kind="token").session.end_user
    with time_machine.travel(timezone.now(), tick=False) as clock:
        flow = begin_flow(client, project, application=application.pk, guest=str(guest.pk))
        page = client.get(f"/promote?flow={flow}")
        clock.shift(timedelta(minutes=24, seconds=59))
        assert send(client, page, login_id=EMAIL, password="short").status_code == 422
        clock.shift(timedelta(seconds=1))
        before = everything(guest)
        response = send(client, page, login_id=EMAIL, password=PASSWORD)
        assert response.status_code == 400
        assert "open for too long" in text_of(response)
        assert everything(guest) == before


# --- who is here -----------------------------------------------------------------------------------


def test_a_visitor_is_led_to_log_in(client, project):
    before = row_counts()
    response = client.get(PROMOTE)
    assert response.status_code == 403
    assert "No guest account here" in text_of(response)
    assert 'href="/login?next=%2Fcomments-of-mine"' in response.content.decode()
    assert row_counts() == before


def promoted_elsewhere(guest):
    from anonusers.promotion import promote
    from tests.people import proof_of

    promote(end_user=guest, project=guest.project, proof=proof_of("elsewhere@example.com"))


def disabled(guest):
    EndUser.objects.filter(pk=guest.pk).update(disabled_at=timezone.now())


def deleted(guest):
    guest.user.delete()


def inactive(guest):
    type(guest.user).objects.filter(pk=guest.user_id).update(is_active=False)


def logged_out(guest):
    guest.sessions.update(ended_at=timezone.now())


def superseded(guest):
    supersede(guest=guest, by=regular_user(guest.sessions.first().application, "else@example.com"), method="password")


MISHAPS = [promoted_elsewhere, disabled, deleted, inactive, logged_out, superseded]


@pytest.mark.parametrize("mishap", MISHAPS)
@pytest.mark.parametrize("step", ["look", "send", "code page", "code", "resend"])
@pytest.mark.parametrize("by", ["cookie", "application"])
def test_a_guest_that_is_gone_between_two_steps(client, project, application, mishap, step, by):
    guest = be_guest(client, project, application)
    path = PROMOTE
    if by == "application":
        flow = begin_flow(client, project, application=application.pk, guest=str(guest.pk))
        path = f"/promote?flow={flow}"
    page = client.get(path)
    if step not in ("look", "send"):
        page = follow(client, send(client, page, login_id=EMAIL, method="code"))
        limits.forget()
    mishap(guest)
    before = {
        "login_ids": list(LoginID.objects.values()),
        "promotions": list(Promotion.objects.values()),
        "sessions": list(Session.objects.order_by("pk").values("pk", "ended_at")),
        "identities": list(AnonymousIdentity.objects.values()),
    }
    sent = len(mail.outbox)
    if step in ("look", "code page"):
        response = client.get(path if step == "look" else action_of(page))
    elif step == "send":
        response = send(client, page, login_id=EMAIL, password=PASSWORD)
    elif step == "code":
        response = send(client, page, code=last_code())
    else:
        response = client.post(action_of(page), hidden_of(page) | {"action": "resend"})
    if by == "application" and mishap is logged_out:
        # The promotion code has proven whose guest this is; its flow may run on.
        assert response.status_code in (200, 303)
        return
    assert response.status_code in (400, 403, 409)
    assert re.search(r"nothing was (changed|lost)|nothing happened", text_of(response), re.IGNORECASE)
    assert 'class="button' in response.content.decode(), "and a way on"
    assert before == {
        "login_ids": list(LoginID.objects.values()),
        "promotions": list(Promotion.objects.values()),
        "sessions": list(Session.objects.order_by("pk").values("pk", "ended_at")),
        "identities": list(AnonymousIdentity.objects.values()),
    }
    assert len(mail.outbox) == sent


def test_the_page_names_the_guest_where_somebody_else_is_signed_in(client, project, application):
    """F8: an attacker's link must not make a victim add their address to the attacker's guest unawares."""
    lured = be_guest(client, project, application)
    attackers = sign_up(project=project, application=application, kind="token").session.end_user
    flow = begin_flow(client, project, application=application.pk, guest=str(attackers.pk))
    text = text_of(client.get(f"/promote?flow={flow}"))
    assert f"Guest {attackers.pk.hex[:4]}" in text
    assert f"Guest {lured.pk.hex[:4]}" in text
    assert is_still_a_guest(lured)
    own = begin_flow(client, project, application=application.pk, guest=str(lured.pk))
    assert "also signed in" not in text_of(client.get(f"/promote?flow={own}"))


def test_a_flow_without_a_cookie_opens_none(client, project, application):
    guest = sign_up(project=project, application=application, kind="token").session.end_user
    flow = begin_flow(client, project, application=application.pk, guest=str(guest.pk), opens_cookie=False)
    response = send(client, f"/promote?flow={flow}", login_id=EMAIL, password=PASSWORD)
    assert (response.status_code, response.headers["Location"]) == (303, "/oauth2/authorize?again=1")
    assert COOKIE not in response.cookies
    assert live_sessions(guest) == 0
    kept = client.session[browser.KEY][flow]
    assert (kept["sub"], kept["amr"], kept["pending"]) == (str(guest.pk), "pwd", "")


def test_who_goes_back_after_it_is_led_on(client, project, application):
    guest = sign_up(project=project, application=application, kind="token").session.end_user
    flow = begin_flow(client, project, application=application.pk, guest=str(guest.pk))
    send(client, f"/promote?flow={flow}", login_id=EMAIL, password=PASSWORD)
    for path in ("/promote", "/login", "/code"):
        response = client.get(f"{path}?flow={flow}")
        assert (response.status_code, response.headers["Location"]) == (303, "/oauth2/authorize?again=1")


# --- somebody has it already -------------------------------------------------------------------------


@pytest.fixture
def owner(application):
    return regular_user(application, EMAIL, password=OTHER_PASSWORD)


def test_under_error_a_taken_address_is_said_at_its_field(client, guest, owner):
    before = everything(guest)
    response = send(client, PROMOTE, login_id="ANNA@example.com", password=PASSWORD)
    assert response.status_code == 409
    assert "has an account already" in errors_of(response)[0]
    assert 'value="ANNA@example.com"' in response.content.decode()
    assert everything(guest) == before
    assert cookie_user(client) == str(guest.pk)


def test_under_error_where_addresses_are_verified_only_the_code_tells(client, guest, owner, project):
    project.verify = ["email"]
    project.save()
    pages = {}
    for text in (EMAIL, "free@example.com"):
        limits.forget()
        response = send(client, PROMOTE, login_id=text, password=PASSWORD)
        page = follow(client, response)
        pages[text] = page
        assert mail.outbox[-1].to == [text]
    as_read = {
        re.sub(r"[af]…@|flow=[\w-]+", "", text_of(page)) + re.sub(r".*", "", str(page.status_code))
        for page in pages.values()
    }
    assert len(as_read) == 1, "F14: bodies are equal"
    before = everything(guest)
    taken_code = re.search(r"\d{6}", mail.outbox[0].subject)[0]
    response = send(client, pages[EMAIL], code=taken_code)
    assert response.status_code == 409
    assert "has an account already" in errors_of(response)[0]
    assert everything(guest) == before
    assert cookie_user(client) == str(guest.pk)
    # and the guest may take another one, on the same page
    assert "Keep your account" in text_of(response)
    limits.forget()
    page = follow(client, send(client, response, login_id="third@example.com", password=PASSWORD))
    assert send(client, page, code=last_code()).status_code == 303
    assert guest.login_ids.get().value == "third@example.com"


def test_under_login_a_taken_address_leads_to_logging_in(client, guest, owner, project):
    project.promotion_conflict = "login"
    project.save()
    before = everything(guest)
    response = send(client, PROMOTE, login_id=EMAIL, password=PASSWORD)
    page = follow(client, response)
    assert EMAIL not in response.headers["Location"]
    assert "has an account already" in text_of(page)
    assert f'value="{EMAIL}"' in page.content.decode()
    assert everything(guest) == before
    # a failed attempt does not touch the guest
    assert send(client, page, login_id=EMAIL, password=PASSWORD).status_code == 422
    assert everything(guest) == before
    assert cookie_user(client) == str(guest.pk)
    # proving that account does
    response = send(client, page, login_id=EMAIL, password=OTHER_PASSWORD)
    assert (response.status_code, response.headers["Location"]) == (303, "/comments-of-mine")
    assert cookie_user(client) == str(owner.pk)
    assert live_sessions(guest) == 0
    promotion = Promotion.objects.get(pk=guest.pk)
    assert (promotion.outcome, promotion.superseded_by_id) == ("superseded", owner.pk)


def test_under_login_the_code_proves_that_account(client, guest, owner, project):
    project.promotion_conflict = "login"
    project.verify = ["email"]
    project.save()
    page = follow(client, send(client, PROMOTE, login_id=EMAIL, password=PASSWORD))
    response = send(client, page, code=last_code())
    assert response.status_code == 303
    assert cookie_user(client) == str(owner.pk)
    owner.user.refresh_from_db()
    assert owner.user.check_password(OTHER_PASSWORD), "the typed password is not the account's"
    assert Promotion.objects.get(pk=guest.pk).outcome == "superseded"


def test_an_abandoned_flow_leaves_the_address_free(client, guest, application):
    ask_for_code(client)
    limits.forget()
    other = new_browser()
    second = be_guest(other, guest.project)
    page = follow(other, send(other, PROMOTE, login_id=EMAIL, method="code"))
    assert send(other, page, code=last_code()).status_code == 303
    assert second.login_ids.get().key == parse_login_id("email", EMAIL).key
    assert is_still_a_guest(guest)


def test_the_whole_way_of_the_sdk(client, project, application):
    """Authorize with a promotion code → page → code for the application, and nothing of the guest's survives."""
    session = sign_up(project=project, application=application, kind="token", scope="openid offline_access").session
    guest = session.end_user
    hint = onetime.issue("promotion_code", project=project, end_user=guest, application=application).secret
    response = client.get(
        "/oauth2/authorize",
        {
            "client_id": "web",
            "redirect_uri": f"{APP_ORIGIN}/after-login",
            "response_type": "code",
            "scope": "openid offline_access https://authgear.com/scopes/full-access",
            "code_challenge": "A" * 43,
            "code_challenge_method": "S256",
            "prompt": "login",
            "state": "s",
            "login_hint": f"https://authgear.com/login_hint?type=anonymous&promotion_code={hint}",
        },
    )
    assert hint not in response.headers["Location"]
    page = follow(client, response)
    assert hint not in page.content.decode()
    response = follow(client, send(client, page, login_id=EMAIL, password=PASSWORD))
    assert response.status_code == 303
    assert response.headers["Location"].startswith(f"{APP_ORIGIN}/after-login?code=")
    assert not EndUser.objects.get(pk=guest.pk).is_guest
    session.refresh_from_db()
    assert session.ended_at


def test_another_guest_of_this_browser_is_not_lost(client, project, application):
    """A guest has no other way back than the cookie, so it is not overwritten."""
    lured = be_guest(client, project, application)
    other = sign_up(project=project, application=application, kind="token").session.end_user
    flow = begin_flow(client, project, application=application.pk, guest=str(other.pk))
    page = client.get(f"/promote?flow={flow}")
    assert "which stays as it is" in text_of(page)
    response = send(client, page, login_id=EMAIL, password=PASSWORD)
    assert response.status_code == 303
    assert COOKIE not in response.cookies
    assert cookie_user(client) == str(lured.pk)
    assert not EndUser.objects.get(pk=other.pk).is_guest
    assert client.session[browser.KEY][flow]["sub"] == str(other.pk)


def test_a_regular_user_of_this_browser_is_signed_out_and_told_before(client, project, application):
    bob = regular_user(application, "bob@example.com")
    _, secret = open_session(end_user=bob, project=project, application=None, kind="cookie")
    client.cookies[COOKIE] = str(secret)
    guest = sign_up(project=project, application=application, kind="token").session.end_user
    flow = begin_flow(client, project, application=application.pk, guest=str(guest.pk))
    page = client.get(f"/promote?flow={flow}")
    assert "bob@example.com , which does not become part of it and is signed out here" in text_of(page)
    assert send(client, page, login_id=EMAIL, password=PASSWORD).status_code == 303
    assert cookie_user(client) == str(guest.pk)
    assert live_sessions(bob) == 0


def test_a_phone_number_gets_its_code_as_a_text(client, guest, project, settings):
    project.login_ids = ["phone"]
    project.save()
    settings.ANONUSERS_PHONE_SENDER = "tests.anonusers.test_pages_promote.keep_text"
    texts.clear()
    assert "with the country code" in errors_of(send(client, PROMOTE, login_id="12345", method="code"))[0]
    page = follow(client, send(client, PROMOTE, login_id="+49 30 1234567", method="code"))
    ((to, text),) = texts
    assert to == "+49301234567"
    assert "+49…67" in text_of(page)
    assert send(client, page, code=re.search(r"[0-9]{6}", text)[0]).status_code == 303
    assert guest.login_ids.get().value == to


texts: list[tuple[str, str]] = []


def keep_text(*, to, text):
    texts.append((to, text))


def test_the_first_look_is_light(client, guest):
    """Under 30 KB in all, and nothing from anybody else."""
    from django.contrib.staticfiles import finders

    html = client.get(PROMOTE).content.decode()
    linked = re.findall(r'(?:href|src)="(/static/[^"]+\.(?:css|js))"', html)
    assert len(linked) == 2
    sizes = [len(open(finders.find(path.removeprefix("/static/")), "rb").read()) for path in linked]  # noqa: SIM115
    assert sum(sizes) + len(html) < 30_000
    assert not re.search(r'(?:href|src|action)="(?:https?:)?//', html)


@pytest.mark.parametrize(
    "path",
    ["/promote", "/promote?type=username", "/login", "/forgot", "/settings", "/settings/delete", "/logout"],
)
def test_every_field_has_a_label_and_tells_browsers_what_it_is(client, guest, project, path):
    project.login_ids = ["email", "username"]
    project.save()
    html = client.get(path).content.decode()
    assert html.count("<h1>") == 1
    fields = re.findall(r"<input (?![^>]*type=\"hidden\")[^>]*>", html)
    for field in fields:
        name = re.search(r'id="(\w+)"', field)[1]
        assert f'for="{name}"' in html
        assert "autocomplete=" in field or 'type="checkbox"' in field
        assert 'id="' + name + '"' in html
    for described in re.findall(r'aria-describedby="([^"]+)"', html):
        for name in described.split():
            assert f'id="{name}"' in html
    assert len(set(re.findall(r'\sid="([^"]+)"', html))) == len(re.findall(r'\sid="([^"]+)"', html))
