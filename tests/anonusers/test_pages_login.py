"""The hosted pages /login, /forgot and /reset, and what becomes of a guest who logs in."""

import re
from datetime import timedelta

import pytest
import time_machine
from django.core import mail
from django.utils import timezone

from anonusers import browser, limits
from anonusers.models import AnonymousIdentity, EndUser, LoginID, OneTimeToken, Promotion, Session
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
from tests.conftest import HOST, make_application, make_project, row_counts
from tests.people import last_code, other_than, regular_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]

EMAIL = "anna@example.com"
NOBODY = "none@example.com"
LOGIN = "/login?next=/comments-of-mine"


@pytest.fixture
def client():
    return new_browser()


@pytest.fixture
def anna(application):
    return regular_user(application, EMAIL, password=PASSWORD)


def everything():
    tables = (LoginID, AnonymousIdentity, Promotion, EndUser)
    rows = {model.__name__: list(model.objects.order_by("pk").values()) for model in tables}
    passwords = list(EndUser.objects.order_by("pk").values_list("user__password", flat=True))
    return rows, passwords, list(Session.objects.order_by("pk").values("pk", "ended_at"))


# --- password --------------------------------------------------------------------------------------


def test_a_regular_user_logs_in(client, anna):
    session = client.session
    session["basket"] = ["kept"]
    session.save()
    key = client.session.session_key
    page = client.get(LOGIN)
    csrf = client.cookies["csrftoken"].value
    assert 'autocomplete="username"' in page.content.decode()
    assert 'autocomplete="current-password"' in page.content.decode()
    response = send(client, page, login_id=" ANNA@example.com ", password=PASSWORD)
    assert (response.status_code, response.headers["Location"]) == (303, "/comments-of-mine")
    assert cookie_user(client) == str(anna.pk)
    assert client.session.session_key != key
    assert client.session["basket"] == ["kept"]
    assert client.cookies["csrftoken"].value != csrf
    opened = Session.objects.get(end_user=anna, ended_at=None)
    assert (opened.kind, opened.amr, opened.application) == ("cookie", "pwd", None)


def test_who_is_signed_in_goes_on_at_once(client, anna):
    send(client, LOGIN, login_id=EMAIL, password=PASSWORD)
    response = client.get(LOGIN)
    assert (response.status_code, response.headers["Location"]) == (303, "/comments-of-mine")


def test_looking_writes_nothing(client, anna):
    before, rows = row_counts(), everything()
    response = client.get(LOGIN)
    assert response.status_code == 200
    assert (row_counts(), everything()) == (before, rows)
    assert "sessionid" not in response.cookies
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert "no-store" in response.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"login_id": EMAIL, "password": "not the one"}, "The login ID or the password is not right."),
        ({"login_id": NOBODY, "password": PASSWORD}, "The login ID or the password is not right."),
        ({"login_id": "\x00", "password": "\x00"}, "The login ID or the password is not right."),
        ({"login_id": "a" * 5000, "password": "b" * 5000}, "The login ID or the password is not right."),
        ({"login_id": "", "password": PASSWORD}, "Enter what you log in with."),
        ({"login_id": EMAIL, "password": ""}, "Enter your password."),
    ],
)
def test_what_is_wrong_is_said_and_nothing_changes(client, anna, fields, error):
    page = client.get(LOGIN)
    before = everything()
    response = send(client, page, **fields)
    assert response.status_code == 422
    assert errors_of(response)[0].startswith(error)
    assert everything() == before
    assert cookie_user(client) is None


def test_nobody_and_a_wrong_password_look_the_same(client, anna):
    bodies = set()
    for text in (EMAIL, NOBODY):
        response = send(client, LOGIN, login_id=text, password="not the one")
        html = re.sub(r'value="[^"]*"', "", response.content.decode())
        bodies.add((response.status_code, html, tuple(sorted(response.headers))))
    assert len(bodies) == 1


@pytest.mark.parametrize("text", [EMAIL, NOBODY])
def test_too_many_tries_say_when_to_try_again(client, anna, settings, text):
    settings.ANONUSERS_LOGIN_PER_ACCOUNT_AND_IP = "2/m"
    page = client.get(LOGIN)
    for _ in range(2):
        assert send(client, page, login_id=text, password="not the one").status_code == 422
    before = everything()
    response = send(client, page, login_id=text, password=PASSWORD)
    assert response.status_code == 429
    assert re.search(r"try again in \d+ seconds\.", errors_of(response)[0])
    assert 0 < int(response.headers["Retry-After"]) <= 60
    assert everything() == before


def test_a_disabled_account_is_told_to_who_knows_the_password(client, anna):
    EndUser.objects.update(disabled_at=timezone.now())
    page = client.get(LOGIN)
    response = send(client, page, login_id=EMAIL, password=PASSWORD)
    assert (response.status_code, cookie_user(client)) == (403, None)
    assert "disabled" in errors_of(response)[0]
    assert "disabled" not in text_of(send(client, page, login_id=EMAIL, password="not the one"))


def test_an_account_of_another_project_is_nobody(client, project, application):
    second = make_project("second", "second.localhost")
    regular_user(make_application(second), EMAIL, password=PASSWORD)
    assert send(client, LOGIN, login_id=EMAIL, password=PASSWORD).status_code == 422
    assert cookie_user(client) is None


@pytest.mark.parametrize("token", [None, "x" * 64])
def test_a_form_without_its_token_does_nothing(client, anna, token):
    client.get(LOGIN)
    before = everything()
    fields = {"login_id": EMAIL, "password": PASSWORD} | ({"csrfmiddlewaretoken": token} if token else {})
    assert client.post(LOGIN, fields).status_code == 403
    assert everything() == before


@pytest.mark.parametrize("path", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_next_never_leads_away(client, anna, path):
    page = client.get("/login", {"next": path})
    # With its dot: four letters alone come by chance in a form's token. A script has none.
    assert not [word for word in ("evil.example", "javascript:") if word in page.content.decode()]
    assert send(client, page, login_id=EMAIL, password=PASSWORD).headers["Location"] == "/settings"


# --- code ------------------------------------------------------------------------------------------


def test_a_code_logs_in(client, anna):
    page = follow(client, send(client, LOGIN, login_id=EMAIL, password="", method="code"))
    assert f"If {EMAIL} has an account" in text_of(page)
    response = send(client, page, code=last_code())
    assert (response.status_code, response.headers["Location"]) == (303, "/comments-of-mine")
    assert cookie_user(client) == str(anna.pk)
    assert Session.objects.get(end_user=anna, ended_at=None).amr == "otp"


def test_nobody_and_somebody_get_the_same_pages(anna):
    """F14: at each step bodies, statuses and headers are equal."""
    seen = []
    for text in (EMAIL, NOBODY):
        limits.forget()
        client, steps = new_browser(), []

        def note(response, text=text, steps=steps):
            html = response.content.decode().replace(text, "")
            html = re.sub(r"flow=[\w-]+|value=\"[^\"]*\"|data-wait=\"\d+\"", "", html)
            steps.append((response.status_code, html, sorted(response.headers), response.headers.get("Retry-After")))
            return response

        page = client.get(LOGIN)
        answer = send(client, page, login_id=text, method="code")
        page = note(follow(client, answer))
        for _ in range(2):
            code = last_code() if text == EMAIL else "123456"
            note(send(client, page, code=other_than(code) if text == EMAIL else code))
        resend = hidden_of(page) | {"action": "resend"}
        response = client.post(action_of(page), resend)
        assert response.status_code == 429
        steps.append(re.sub(r"\d+ seconds?", "", text_of(response)).replace(text, ""))
        limits.forget()
        note(follow(client, client.post(action_of(page), resend)))
        for _ in range(6):
            note(send(client, page, code=other_than(last_code())))
        seen.append(steps)
    assert seen[0] == seen[1]


def test_a_code_proves_an_address_that_nobody_had_proven(client, application):
    """Pre-hijacking: whoever typed the address in loses the password, the sessions and every other way."""
    attacker = new_browser()
    be_guest(attacker, application.project, application)
    send(attacker, "/promote", login_id=EMAIL, password=OTHER_PASSWORD)
    hijacked = LoginID.objects.get().end_user
    token, _ = open_session(
        end_user=hijacked, project=application.project, application=application, kind="token", scope="openid"
    )
    assert cookie_user(attacker) == str(hijacked.pk)
    mail.outbox.clear()
    page = follow(client, send(client, LOGIN, login_id=EMAIL, method="code"))
    assert send(client, page, code=last_code()).status_code == 303
    assert cookie_user(client) == str(hijacked.pk)
    # the attacker has nothing any more
    assert cookie_user(attacker) is None
    token.refresh_from_db()
    assert token.ended_at
    again = new_browser()
    assert send(again, LOGIN, login_id=EMAIL, password=OTHER_PASSWORD).status_code == 422
    assert live_sessions(hijacked) == 1


# --- a guest logs in ---------------------------------------------------------------------------------


@pytest.fixture
def guest(client, application):
    return be_guest(client, application.project, application)


def test_from_the_promotion_page_one_can_log_in(client, guest, anna):
    page = client.get("/promote?next=/comments-of-mine")
    link = re.search(r'href="(/login[^"]*)">\s*I already have an account', page.content.decode())[1]
    assert "Keep my guest account instead" in text_of(client.get(link))


def test_under_error_leaving_the_guest_is_a_decision(client, guest, anna):
    page = client.get(LOGIN)
    assert "This would leave your guest account behind" in text_of(page)
    before = everything()
    response = send(client, page, login_id=EMAIL, password=PASSWORD)
    assert (response.status_code, errors_of(response)) == (422, ["Tick this box to go on without your guest account."])
    assert send(client, page, login_id=EMAIL, method="code").status_code == 422
    assert not mail.outbox
    assert everything() == before
    assert cookie_user(client) == str(guest.pk)
    response = send(client, page, login_id=EMAIL, password=PASSWORD, leave="1")
    assert response.status_code == 303
    assert cookie_user(client) == str(anna.pk)
    assert not Promotion.objects.filter(pk=guest.pk).exists()
    assert EndUser.objects.get(pk=guest.pk).is_guest


def test_under_error_the_decision_holds_until_the_code(client, guest, anna):
    page = follow(client, send(client, LOGIN, login_id=EMAIL, method="code", leave="1"))
    assert cookie_user(client) == str(guest.pk)
    assert send(client, page, code=last_code()).status_code == 303
    assert cookie_user(client) == str(anna.pk)


def test_who_became_a_guest_meanwhile_is_asked_before_the_code_is_spent(client, anna, application):
    page = follow(client, send(client, LOGIN, login_id=EMAIL, method="code"))
    guest = be_guest(client, application.project, application)
    before = everything()
    response = send(client, page, code=last_code())
    assert response.status_code == 409
    assert "Nothing was changed yet" in text_of(response)
    assert everything() == before
    assert cookie_user(client) == str(guest.pk)
    assert OneTimeToken.objects.get(purpose="pending_login").used_at is None


def test_under_login_the_guest_is_superseded(client, guest, anna, project):
    project.promotion_conflict = "login"
    project.save()
    page = client.get(LOGIN)
    assert "leave" not in text_of(page)
    before = everything()
    assert send(client, page, login_id=EMAIL, password="not the one").status_code == 422
    assert everything() == before
    assert send(client, page, login_id=EMAIL, password=PASSWORD).status_code == 303
    assert cookie_user(client) == str(anna.pk)
    assert live_sessions(guest) == 0
    assert Promotion.objects.get(pk=guest.pk).superseded_by_id == anna.pk
    assert EndUser.objects.get(pk=guest.pk).is_guest, "on record for clean-up and a merge"


def test_under_login_the_guest_of_an_application_is_superseded(client, anna, application, project):
    project.promotion_conflict = "login"
    project.save()
    session = sign_up(project=project, application=application, kind="token").session
    flow = begin_flow(client, project, application=application.pk, guest=str(session.end_user_id))
    response = send(client, f"/login?flow={flow}", login_id=EMAIL, password=PASSWORD)
    assert (response.status_code, response.headers["Location"]) == (303, "/oauth2/authorize?again=1")
    kept = client.session[browser.KEY][flow]
    assert kept["sub"] == str(anna.pk)
    promotion = Promotion.objects.get(pk=session.end_user_id)
    assert (promotion.end_user_id, promotion.superseded_by_id, promotion.application_id) == (
        session.end_user_id,
        anna.pk,
        application.pk,
    )
    session.refresh_from_db()
    assert session.ended_at


@pytest.mark.parametrize("mishap", ["disabled", "deleted", "promoted"])
@pytest.mark.parametrize("method", ["password", "code"])
def test_a_guest_that_is_gone_before_its_person_logs_in(client, anna, application, project, mishap, method):
    project.promotion_conflict = "login"
    project.save()
    guest = sign_up(project=project, application=application, kind="token").session.end_user
    flow = begin_flow(client, project, application=application.pk, guest=str(guest.pk))
    page = client.get(f"/login?flow={flow}")
    if method == "code":
        page = follow(client, send(client, page, login_id=EMAIL, method="code"))
    if mishap == "disabled":
        EndUser.objects.filter(pk=guest.pk).update(disabled_at=timezone.now())
    elif mishap == "deleted":
        guest.user.delete()
    else:
        guest.anonymous_identity.delete()
    before = everything()
    fields = {"code": last_code()} if method == "code" else {"login_id": EMAIL, "password": PASSWORD}
    response = send(client, page, **fields)
    assert response.status_code == 409
    assert 'href="/oauth2/authorize?again=1"' in response.content.decode()
    assert everything() == before
    assert client.session[browser.KEY][flow]["sub"] is None


def test_without_a_cookie_to_open_the_guest_of_this_browser_is_not_at_stake(client, guest, anna, application):
    flow = begin_flow(client, application.project, application=application.pk, opens_cookie=False)
    page = client.get(f"/login?flow={flow}")
    assert "guest" not in text_of(page)
    response = send(client, page, login_id=EMAIL, password=PASSWORD)
    assert response.status_code == 303
    assert COOKIE not in response.cookies
    assert cookie_user(client) == str(guest.pk)


# --- again -------------------------------------------------------------------------------------------


@pytest.fixture
def again(client, anna, application):
    return begin_flow(client, application.project, application=application.pk, must_be=str(anna.pk))


def test_reauthentication_fixes_the_login_id(client, anna, again, application):
    regular_user(application, "eve@example.com", password=OTHER_PASSWORD)
    page = client.get(f"/login?flow={again}")
    html = page.content.decode()
    assert "Log in again" in text_of(page)
    assert 'name="login_id"' not in html
    assert EMAIL not in html, "who is not signed in sees only enough to know it again"
    before = everything()
    response = send(client, page, login_id="eve@example.com", password=OTHER_PASSWORD)
    assert response.status_code == 422
    assert everything() == before
    response = send(client, page, login_id="eve@example.com", password=PASSWORD)
    assert response.status_code == 303
    assert client.session[browser.KEY][again]["sub"] == str(anna.pk)


def test_who_is_signed_in_sees_their_own_login_id(client, anna, application):
    send(client, LOGIN, login_id=EMAIL, password=PASSWORD)
    flow = begin_flow(client, application.project, application=application.pk, must_be=str(anna.pk))
    assert f'value="{EMAIL}"' in client.get(f"/login?flow={flow}").content.decode()
    old = Session.objects.get(end_user=anna, ended_at=None)
    assert send(client, f"/login?flow={flow}", password=PASSWORD).status_code == 303
    old.refresh_from_db()
    assert old.ended_at, "its cookie is overwritten"
    assert live_sessions(anna) == 1


def test_reauthentication_by_code(client, anna, again):
    page = follow(client, send(client, f"/login?flow={again}", method="code"))
    assert EMAIL not in page.content.decode()
    limits.forget()
    page = follow(client, client.post(action_of(page), hidden_of(page) | {"action": "resend"}))
    assert [message.to for message in mail.outbox] == [[EMAIL]] * 2
    assert send(client, page, code=last_code()).status_code == 303
    assert client.session[browser.KEY][again]["sub"] == str(anna.pk)


@pytest.mark.parametrize("who", ["deleted", "guest"])
def test_reauthentication_of_nobody_is_a_clear_page(client, application, who):
    guest = sign_up(project=application.project, application=application, kind="token").session.end_user
    sub = str(guest.pk)
    if who == "deleted":
        guest.user.delete()
    flow = begin_flow(client, application.project, application=application.pk, must_be=sub)
    response = client.get(f"/login?flow={flow}")
    assert response.status_code == 409
    assert "cannot log in" in text_of(response)


def test_a_login_hint_is_filled_in(client, application):
    flow = begin_flow(client, application.project, application=application.pk, login_hint='a"b@example.com')
    assert 'value="a&quot;b@example.com"' in client.get(f"/login?flow={flow}").content.decode()


# --- forgotten -----------------------------------------------------------------------------------------


def ask_for_link(client, text=EMAIL, path="/forgot"):
    mail.outbox.clear()
    response = send(client, path, login_id=text)
    assert response.status_code == 200
    found = re.search(r"https?://\S+", mail.outbox[0].body) if mail.outbox else None
    return response, found[0] if found else ""


def path_of(link):
    assert link.startswith(f"http://{HOST}/reset/")
    return link.removeprefix(f"http://{HOST}")


def test_a_link_sets_a_new_password_once(client, anna, application):
    elsewhere, _ = open_session(
        end_user=anna, project=anna.project, application=application, kind="token", scope="openid"
    )
    response, link = ask_for_link(client)
    assert "a link to set a new password is on its way" in text_of(response)
    assert mail.outbox[0].to == [EMAIL]
    path = path_of(link)
    before = everything()
    other = new_browser()  # the link works on any device
    page = other.get(path)
    assert page.status_code == 200
    other.get(path)
    other.head(path)
    assert everything() == before, "looking spends nothing (F12)"
    assert "no-store" in page.headers["Cache-Control"]
    assert page.headers["Referrer-Policy"] == "same-origin"
    response = send(other, page, password=OTHER_PASSWORD)
    page = follow(other, response)
    assert "Your new password is set" in text_of(page)
    assert path.rpartition("/")[2] not in page.content.decode() + response.headers["Location"]
    elsewhere.refresh_from_db()
    assert elsewhere.ended_at
    assert cookie_user(other) is None, "the link is no session"
    assert send(other, page, login_id=EMAIL, password=OTHER_PASSWORD).status_code == 303
    assert cookie_user(other) == str(anna.pk)
    before = everything()
    response = client.get(path)
    assert response.status_code == 400
    assert "expired or was used before" in text_of(response)
    assert everything() == before


def test_a_weak_password_does_not_spend_the_link(client, anna):
    path = path_of(ask_for_link(client)[1])
    before = everything()
    for password in ("", "qzvxk", "password", EMAIL):
        response = send(client, path, password=password)
        assert response.status_code == 422
        assert errors_of(response)
    assert everything() == before
    assert send(client, path, password=OTHER_PASSWORD).status_code == 303


def test_nobody_and_somebody_get_the_same_answer(anna):
    bodies = []
    for text in (EMAIL, NOBODY, "nobody", "\x00"):
        limits.forget()
        response, link = ask_for_link(new_browser(), text)
        assert bool(link) == (text == EMAIL)
        html = re.sub(r'value="[^"]*"', "", response.content.decode().replace(text, ""))
        bodies.append((response.status_code, html, sorted(response.headers)))
    assert bodies[0] == bodies[1]
    assert bodies[0][1].count("on its way") == bodies[2][1].count("on its way") == 1


@pytest.mark.parametrize("text", [EMAIL, NOBODY])
def test_strangers_cannot_be_flooded_and_the_pause_tells_nothing(client, anna, text):
    ask_for_link(client, text)
    sent = len(mail.outbox)
    response = send(client, "/forgot", login_id=text)
    assert response.status_code == 429
    assert "try again in" in errors_of(response)[0]
    assert len(mail.outbox) == sent


def test_a_mail_server_that_is_away_tells_nothing(client, anna, settings):
    settings.EMAIL_BACKEND = "tests.anonusers.test_pages_promote.Away"
    response = send(client, "/forgot", login_id=EMAIL)
    assert response.status_code == 200
    assert "on its way" in text_of(response)
    assert not OneTimeToken.objects.filter(used_at=None).exists()


def test_a_link_is_good_for_30_minutes(client, anna):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        path = path_of(ask_for_link(client)[1])
        page = client.get(path)
        clock.shift(timedelta(minutes=30))
        before = everything()
        assert send(client, page, password=OTHER_PASSWORD).status_code == 400
        assert client.get(path).status_code == 400
        assert everything() == before


@pytest.mark.parametrize("secret", ["x", "a" * 32, "%00", "..", "a" * 3000])
def test_a_link_that_never_was_is_a_clear_page(client, project, secret):
    response = client.get(f"/reset/{secret}")
    assert response.status_code in (400, 404)
    assert "csrftoken" not in response.cookies


def test_a_disabled_account_gets_no_link_and_no_password(client, anna):
    path = path_of(ask_for_link(client)[1])
    EndUser.objects.update(disabled_at=timezone.now())
    before = everything()
    assert send(client, path, password=OTHER_PASSWORD).status_code == 403
    assert everything() == before
    limits.forget()
    assert ask_for_link(client)[1] == ""


def test_a_link_proves_the_address(client, application):
    """Pre-hijacking, by the way of a forgotten password."""
    attacker = new_browser()
    be_guest(attacker, application.project, application)
    send(attacker, "/promote", login_id=EMAIL, password=OTHER_PASSWORD)
    path = path_of(ask_for_link(client)[1])
    assert send(client, path, password=PASSWORD).status_code == 303
    assert cookie_user(attacker) is None
    assert LoginID.objects.get().verified_at
    assert send(new_browser(), LOGIN, login_id=EMAIL, password=OTHER_PASSWORD).status_code == 422
    assert send(new_browser(), LOGIN, login_id=EMAIL, password=PASSWORD).status_code == 303


def test_a_link_of_another_project_is_unknown(client, anna):
    path = path_of(ask_for_link(client)[1])
    make_project("second", "second.localhost")
    assert new_browser().get(path, HTTP_HOST="second.localhost").status_code == 400


def test_a_poisoned_host_is_refused(client, anna):
    """F29."""
    page = client.get("/forgot")
    assert client.post("/forgot", hidden_of(page) | {"login_id": EMAIL}, HTTP_HOST="evil.example").status_code == 400
    response = client.post(
        "/forgot", hidden_of(page) | {"login_id": EMAIL}, headers={"X-Forwarded-Host": "evil.example"}
    )
    assert response.status_code == 200
    assert "evil.example" not in mail.outbox[0].body


def test_the_public_origin_is_what_links_are_made_of(client, anna, settings):
    settings.ANONUSERS_ISSUER = "https://auth.example.com"
    assert ask_for_link(client)[1].startswith("https://auth.example.com/reset/")


def test_in_the_browser_that_asked_the_link_leads_back_into_the_flow(client, anna, application):
    flow = begin_flow(client, application.project, application=application.pk)
    path = path_of(ask_for_link(client, path=f"/forgot?flow={flow}")[1])
    response = send(client, path, password=OTHER_PASSWORD)
    assert response.headers["Location"] == f"/login?flow={flow}&done=password"
    limits.forget()
    path = path_of(ask_for_link(client, path=f"/forgot?flow={flow}")[1])
    response = send(new_browser(), path, password=PASSWORD)
    assert flow not in response.headers["Location"]


def test_a_user_name_leads_to_the_address_that_was_verified(client, application, project):
    project.login_ids = ["email", "username"]
    project.save()
    bob = regular_user(application, "bob.b", type="username", password=PASSWORD, verified=False)
    assert ask_for_link(client, "bob.b")[1] == ""
    LoginID.objects.create(
        project=project, end_user=bob, type="email", value="bob@example.com", key="k", verified_at=timezone.now()
    )
    limits.forget()
    assert ask_for_link(client, "bob.b")[1]
    assert mail.outbox[0].to == ["bob@example.com"]


def test_an_older_link_dies_with_a_new_password(client, anna):
    first = path_of(ask_for_link(client)[1])
    limits.forget()
    second = path_of(ask_for_link(client)[1])
    assert send(client, second, password=OTHER_PASSWORD).status_code == 303
    assert client.get(first).status_code == 400
