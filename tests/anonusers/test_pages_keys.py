"""The device key on the hosted page /settings, and the page that takes it away."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from anonusers import credentials, device_keys, events, sessions
from anonusers.errors import KeyProofRefused, RecoveryCodeWrong
from anonusers.models import DeviceKey, EndUser, Session
from anonusers.promotion import promote
from tests.anonusers.browsing import (
    COOKIE,
    be_guest,
    cookie_user,
    follow,
    give_key,
    hidden_of,
    new_browser,
    send,
    text_of,
)
from tests.conftest import APP_ORIGIN, make_application, make_project, row_counts
from tests.devices import Device, log_in, request_of
from tests.people import guest_session, proof_of, regular_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ENDS = "The device that keeps this key cannot sign in with it again."
STAY = "You stay signed in here."
WARNING = "Without the key, this guest account lasts only as long as you are signed in."
REMOVED = "The key was removed. The device that keeps it cannot sign in with it any more."
NOTHING = "There is nothing here You have no such key any more. Your account"


@pytest.fixture
def client():
    return new_browser()


@pytest.fixture
def guest(client, application):
    """The guest of the browser, without a key."""
    return be_guest(client, application.project, application)


@pytest.fixture
def key(guest):
    return give_key(guest)


@pytest.fixture
def mobile(project):
    return make_application(project, "mobile", type="native")


def test_the_settings_page_reads_the_keys_once(client, key):
    with CaptureQueriesContext(connection) as queries:
        page = client.get("/settings")
    assert "You can come back to this account on the device that keeps its key." in text_of(page)
    assert sum("anonusers_devicekey" in query["sql"] for query in queries) == 1


def path_of(key):
    return f"/settings/keys/{key.pk}/remove"


def everything():
    tables = (DeviceKey, EndUser, Session)
    return row_counts(), [list(table.objects.order_by("pk").values()) for table in tables]


def ended():
    return set(Session.objects.exclude(ended_at=None).values_list("pk", flat=True))


def heard(monkeypatch):
    said = []
    monkeypatch.setattr(events, "emit", said.append)
    return said


# --- the page shows it --------------------------------------------------------------------------------


def test_the_settings_show_since_when_and_when_it_was_used(client, guest):
    now = timezone.now()
    key = give_key(guest, created_at=now - timedelta(days=3, minutes=1), last_used_at=now - timedelta(hours=2))
    before = everything()
    response = client.get("/settings")
    said = "Device key A device keeps a key to this account added 3 days ago · used 2 hours ago Remove the key Where"
    assert said in text_of(response).replace("\xa0", " ")
    html = response.content.decode()
    assert f'href="{path_of(key)}"' in html
    for time in (key.created_at, key.last_used_at):
        assert f'title="{time:%Y-%m-%d %H:%M:%S} UTC"' in html
    assert key.key_id not in html
    assert everything() == before


def test_who_has_no_key_is_shown_none(client, guest, application):
    give_key(guest_session(application).end_user)
    assert "key" not in text_of(client.get("/settings"))


# --- removing it ----------------------------------------------------------------------------------------


def test_the_question_says_what_ends_and_what_is_left(client, guest, key):
    before = everything()
    response = client.get(path_of(key))
    text = f"Guestbook Remove the device key? {ENDS} {STAY} {WARNING} Keep your account Remove the key Back to your"
    assert text_of(response).startswith(text)
    html = response.content.decode()
    assert 'href="/promote">Keep your account' in html
    assert 'class="secondary-link" href="/settings"' in html
    assert "button--danger" in html
    assert "no-store" in response.headers["Cache-Control"]
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert not re.search(r"<style|<script(?! src=)|\son\w+=|\sstyle=", html)
    assert client.head(path_of(key)).status_code == 200
    assert everything() == before, "looking changes nothing"


def test_the_question_offers_no_account_where_the_project_has_none(client, guest, key, project):
    project.login_ids = []
    project.save()
    html = client.get(path_of(key)).content.decode()
    assert WARNING in html
    assert "/promote" not in html


def test_the_question_says_that_a_recovery_code_goes_too(client, guest, key):
    """The lost device may have asked for it."""
    session = Session.objects.in_full().get(end_user=guest)
    code = device_keys.issue_recovery_code(session=session).code
    assert f"Your recovery code is worthless then, too. {STAY} {WARNING}" in text_of(client.get(path_of(key)))
    assert device_keys.look_at_recovery_code(code, host="localhost").end_user == guest
    assert send(client, client.get(path_of(key))).status_code == 303
    with pytest.raises(RecoveryCodeWrong):
        device_keys.look_at_recovery_code(code, host="localhost")


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "This also ends 1 session that was opened with the key."),
        (2, "This also ends 2 sessions that were opened with the key."),
    ],
)
def test_the_question_counts_the_sessions_that_end(client, guest, key, mobile, count, said):
    for _ in range(count):
        device_session(guest, mobile, amr="pop")
    device_session(guest, mobile)
    over = device_session(guest, mobile, amr="pop")
    sessions.end_session(over)
    device_session(log_in(mobile, Device("tablet")).end_user, mobile, amr="pop")
    assert f"{ENDS} {said} {STAY}" in text_of(client.get(path_of(key)))


def device_session(end_user, application, **options):
    session, _ = sessions.open_session(
        end_user=end_user, project=application.project, application=application, kind="token", scope="openid", **options
    )
    return Session.objects.in_full().get(pk=session.pk)


def test_the_key_goes_and_the_sessions_that_it_opened_end(client, guest, key, mobile, monkeypatch):
    by_key, other = device_session(guest, mobile, amr="pop"), device_session(guest, mobile)
    somebody = log_in(mobile, Device("tablet"))
    said, counts = heard(monkeypatch), row_counts()
    response = send(client, path_of(key))
    assert (response.status_code, response.headers["Location"]) == (303, "/settings?done=key")

    key.refresh_from_db()
    assert key.end_user is None
    assert key.revoked_at == key.retired_at is not None
    assert ended() == {by_key.pk}
    assert somebody.end_user.device_key
    mine = Session.objects.get(end_user=guest, kind="cookie")
    assert [(event.type, event.end_user, event.session, event.details) for event in said] == [
        ("user.device_key.removed", guest, mine, {"key_id": key.key_id})
    ]
    assert row_counts() == counts
    assert cookie_user(client) == str(guest.pk)
    assert Session.objects.filter(pk=other.pk, ended_at=None).exists()

    text = text_of(follow(client, response))
    assert text.startswith(
        f"Guestbook Your account {REMOVED} You are a guest: once you are signed out, you cannot come"
    )
    assert "Device key" not in text


def test_the_device_is_refused_from_then_on(client, application, mobile):
    """From the app, which opens the page with its own session: that one stays."""
    phone = Device()
    session, elsewhere = log_in(mobile, phone), log_in(mobile, phone)
    client.cookies[credentials.APP_SESSION] = sessions.vouch(session)
    key = session.end_user.device_key
    page = client.get(path_of(key))
    assert "This also ends 1 session that was opened with the key." in text_of(page)
    assert send(client, page).status_code == 303
    assert ended() == {elsewhere.pk}
    assert "This one Device key" in text_of(client.get("/settings"))
    with pytest.raises(KeyProofRefused):
        log_in(mobile, phone)


def test_the_guest_may_be_given_another_key(client, guest, key, project):
    page = client.get(path_of(key))
    send(client, page)
    session = Session.objects.in_full().get(end_user=guest)
    request = request_of(Device(), project, "add_key")
    new = device_keys.add_key(session=session, signed_request=request, expected_origin="http://localhost:8000")
    assert f'href="{path_of(new)}"' in client.get("/settings").content.decode()
    before = everything()
    assert send(client, page).status_code == 404, "the page of before is about the key of before"
    assert everything() == before


# --- what does nothing ---------------------------------------------------------------------------------------


def test_removing_it_twice_says_that_it_is_gone(client, guest, key):
    page = client.get(path_of(key))
    assert send(client, page).status_code == 303
    before = everything()
    again = send(client, page)
    assert (again.status_code, client.get(path_of(key)).status_code) == (404, 404)
    assert NOTHING in text_of(again)
    assert 'href="/settings"' in again.content.decode()
    assert everything() == before


def test_a_key_that_goes_between_our_look_and_our_lock_is_gone(client, guest, key, monkeypatch):
    page = client.get(path_of(key))
    remove = device_keys.remove_key

    def too_late(**options):
        DeviceKey.objects.update(end_user=None, retired_at=timezone.now())
        remove(**options)

    monkeypatch.setattr(device_keys, "remove_key", too_late)
    response = send(client, page)
    assert response.status_code == 404
    assert NOTHING in text_of(response)
    key.refresh_from_db()
    assert key.revoked_at is None, "nobody asked for that"
    assert not ended()


@pytest.mark.parametrize("headers", [{}, {"Origin": APP_ORIGIN}, {"Origin": "null"}], ids=["none", "origin", "null"])
def test_without_its_token_the_form_does_nothing(client, guest, key, headers):
    page = client.get(path_of(key))
    before = everything()
    fields = hidden_of(page) if headers else {}
    assert client.post(path_of(key), fields, headers=headers).status_code == 403
    assert everything() == before


@pytest.mark.parametrize("whose", ["another guest's", "nobody's", "another project's", "unknown"])
@pytest.mark.parametrize("has_one", [True, False], ids=["has one", "has none"])
def test_other_keys_are_not_there(client, guest, application, mobile, whose, has_one):
    if has_one:
        give_key(guest)
    other = log_in(mobile, Device("tablet"))
    pk = other.end_user.device_key.pk
    if whose == "nobody's":
        DeviceKey.objects.filter(pk=pk).update(end_user=None, retired_at=timezone.now())
    elif whose == "another project's":
        second = make_application(make_project("second", "second.localhost"))
        pk = give_key(guest_session(second).end_user, thumbprint="s" * 43).pk
    elif whose == "unknown":
        pk = 2**63
    page = client.get("/settings/delete")
    before = everything()
    path = f"/settings/keys/{pk}/remove"
    for response in (client.get(path), client.post(path, hidden_of(page))):
        assert response.status_code == 404
        assert NOTHING in text_of(response)
    assert everything() == before


@pytest.mark.parametrize("said", ["key-of-a-device", "-1", "1.5", "0x1", "%00", "1/2"])
def test_a_key_is_not_found_by_anything_else(client, guest, key, said):
    assert client.get(f"/settings/keys/{said}/remove").status_code == 404


def test_a_regular_user_has_no_key_any_more(client, application, mobile, project):
    session = log_in(mobile, Device())
    key = session.end_user.device_key
    anna = promote(end_user=session.end_user, project=project, proof=proof_of("anna@example.com")).end_user
    assert anna.pk == session.end_user_id
    _, secret = sessions.open_session(end_user=anna, project=project, application=None, kind="cookie")
    client.cookies[COOKIE] = str(secret)
    settings = client.get("/settings")
    assert "key" not in text_of(settings)
    before = everything()
    assert client.get(path_of(key)).status_code == 404
    assert client.post(path_of(key), hidden_of(client.get("/settings/password"))).status_code == 404
    assert everything() == before


def test_who_is_not_signed_in_logs_in_first(key):
    visitor = new_browser()
    visitor.handler.enforce_csrf_checks = False
    before = everything()
    for response in (visitor.get(path_of(key)), visitor.post(path_of(key))):
        assert response.status_code == 303
        assert response.headers["Location"] == f"/login?next={path_of(key).replace('/', '%2F')}"
    assert everything() == before


def test_who_was_signed_out_meanwhile_removes_nothing(client, guest, key):
    page = client.get(path_of(key))
    sessions.end_session(Session.objects.in_full().get(end_user=guest))
    before = everything()
    assert send(client, page).status_code == 303
    assert everything() == before


def test_a_disabled_guest_removes_nothing(client, guest, key):
    page = client.get(path_of(key))
    EndUser.objects.filter(pk=guest.pk).update(disabled_at=timezone.now())
    before = everything()
    assert send(client, page).headers["Location"].startswith("/login?")
    assert everything() == before


def test_another_signed_in_user_finds_nothing_at_the_page_of_before(client, guest, key, application, project):
    page = client.get(path_of(key))
    eve = regular_user(application, "eve@example.com")
    _, secret = sessions.open_session(end_user=eve, project=project, application=None, kind="cookie")
    client.cookies[COOKIE] = str(secret)
    before = everything()
    assert send(client, page).status_code == 404
    assert everything() == before
