"""Six-digit codes: five tries, ten minutes, a pause before the next, and where they go."""

import json
import re
from datetime import timedelta

import pytest
import time_machine
from django.core import mail
from django.utils import timezone, translation

from anonusers import errors, limits, onetime
from anonusers.login_ids import parse_login_id
from anonusers.models import OneTimeToken
from anonusers.promotion import codes
from anonusers.promotion.codes import check_code, mask, send_code
from anonusers.promotion.flow import begin_promotion, pending_promotion, resend_code
from tests.conftest import HOST, state_of
from tests.people import EMAIL, last_code, new_guest, other_than

pytestmark = [pytest.mark.django_db, pytest.mark.database]
ADDRESS = parse_login_id("email", EMAIL)
NUMBER = parse_login_id("phone", "+886912345678")
texts = []


def remember(*, to, text):
    texts.append((to, text))


def break_down(*, to, text):
    raise ValueError(f"the provider says: no credit for {to}")


@pytest.fixture
def clock():
    with time_machine.travel(timezone.now(), tick=False) as traveller:
        yield traveller


@pytest.fixture
def row(project):
    return onetime.issue(OneTimeToken.Purpose.PENDING_LOGIN, project=project).token


def again(row):
    return OneTimeToken.objects.select_related("project").get(pk=row.pk)


def allowed_again():
    limits.forget()


# --- tries and time -----------------------------------------------------------------------------------


def test_the_right_code_is_right(row):
    sent = send_code(row, ADDRESS)
    assert check_code(again(row), last_code()) is None
    assert again(row).used_at is None, "what is spent is the caller's business"
    assert timedelta(minutes=9) < sent.expires_at - timezone.now() <= timedelta(minutes=10)


@pytest.mark.parametrize("typed", [" {} ", "{}\n", "\t{}"])
def test_space_around_a_code_is_no_mistake(row, typed):
    send_code(row, ADDRESS)
    check_code(again(row), typed.format(last_code()))


def test_five_tries_and_the_code_is_dead_even_the_right_one(row):
    send_code(row, ADDRESS)
    code = last_code()
    left = []
    for _ in range(5):
        with pytest.raises(errors.CodeWrong) as caught:
            check_code(again(row), other_than(code))
        left.append(caught.value.tries_left)
    assert left == [4, 3, 2, 1, 0]
    for _ in range(2):
        with pytest.raises(errors.CodeExpired):
            check_code(again(row), code)
    assert again(row).attempts == 5


def test_the_fifth_try_may_be_right(row):
    send_code(row, ADDRESS)
    for _ in range(4):
        with pytest.raises(errors.CodeWrong):
            check_code(again(row), other_than(last_code()))
    check_code(again(row), last_code())


def test_tries_are_counted_in_the_database_and_not_in_what_was_read(row):
    """Many requests at once read the same row: together they have five tries."""
    send_code(row, ADDRESS)
    stale = [again(row) for _ in range(8)]
    raised = []
    for token in stale:
        with pytest.raises((errors.CodeWrong, errors.CodeExpired)) as caught:
            check_code(token, other_than(last_code()))
        raised.append(caught.type)
    assert raised == [errors.CodeWrong] * 5 + [errors.CodeExpired] * 3


def test_a_code_lives_for_ten_minutes(row, clock):
    send_code(row, ADDRESS)
    clock.shift(timedelta(minutes=9, seconds=59))
    check_code(again(row), last_code())
    clock.shift(timedelta(seconds=1))
    with pytest.raises(errors.CodeExpired):
        check_code(again(row), last_code())


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "0", "💥", "x" * 10_000])
def test_what_is_no_code_is_wrong_and_counts(row, typed):
    send_code(row, ADDRESS)
    with pytest.raises(errors.CodeWrong):
        check_code(again(row), typed)
    assert again(row).attempts == 1


def test_a_row_without_a_code_accepts_none(row):
    for code in ("", "000000", "None"):
        with pytest.raises(errors.CodeExpired):
            check_code(again(row), code)


def test_a_row_that_was_spent_accepts_none(row):
    send_code(row, ADDRESS)
    onetime.spend(again(row))
    with pytest.raises(errors.CodeExpired):
        check_code(again(row), last_code())


def test_a_code_opens_its_own_row_and_no_other(row, project):
    send_code(row, ADDRESS)
    other = onetime.issue(OneTimeToken.Purpose.PENDING_LOGIN, project=project).token
    other.payload = again(row).payload
    other.save()
    with pytest.raises(errors.CodeWrong):
        check_code(again(other), last_code())


# --- another one --------------------------------------------------------------------------------------


def test_a_new_code_voids_the_one_before_and_gives_five_tries(row, monkeypatch):
    digits = iter([111111, 222222])
    monkeypatch.setattr(codes.secrets, "randbelow", lambda _: next(digits))
    send_code(row, ADDRESS)
    for _ in range(5):
        with pytest.raises(errors.CodeWrong):
            check_code(again(row), "000000")
    allowed_again()
    send_code(again(row), ADDRESS)
    with pytest.raises(errors.CodeWrong):
        check_code(again(row), "111111")
    check_code(again(row), "222222")


def test_there_is_a_pause_between_two_codes(row, clock):
    send_code(row, ADDRESS)
    before = state_of(row)
    with pytest.raises(errors.RateLimited) as caught:
        send_code(again(row), ADDRESS)
    assert (caught.value.budget, caught.value.retry_after) == ("codes_per_minute", 60)
    assert (state_of(row), len(mail.outbox)) == (before, 1)
    clock.shift(timedelta(seconds=61))
    send_code(again(row), ADDRESS)
    assert len(mail.outbox) == 2


def test_one_login_id_gets_ten_codes_an_hour_however_it_is_spelled(row, clock):
    for number in range(10):
        send_code(again(row), parse_login_id("email", EMAIL if number % 2 else EMAIL.upper()))
        clock.shift(timedelta(seconds=61))
    with pytest.raises(errors.RateLimited) as caught:
        send_code(again(row), ADDRESS)
    assert caught.value.budget == "codes_per_target"
    assert 60 < caught.value.retry_after <= 3600
    send_code(again(row), parse_login_id("email", "somebody@else.example"))


def test_one_network_asks_for_so_many_codes_and_cannot_use_up_those_of_others(row, settings):
    settings.ANONUSERS_CODES_PER_IP = "2/h"
    for number in range(2):
        send_code(again(row), parse_login_id("email", f"a{number}@example.com"), ip=f"2001:db8::{number}")
    for address in ("2001:db8::9", "2001:db8::a"):
        with pytest.raises(errors.RateLimited) as caught:
            send_code(again(row), ADDRESS, ip=address)
        assert caught.value.budget == "codes_per_ip"
    send_code(again(row), ADDRESS, ip="2001:db8:1::1")


def test_a_guest_asks_for_another_code(application, clock):
    guest = new_guest(application)
    pending = begin_promotion(
        end_user=guest, project=application.project, application=application, type="email", text=EMAIL
    )
    with pytest.raises(errors.RateLimited):
        resend_code(handle=pending.handle, host=HOST, end_user=guest)
    clock.shift(timedelta(seconds=61))
    sent = resend_code(handle=pending.handle, host=HOST, end_user=guest)
    assert len(mail.outbox) == 2
    assert sent.expires_at > pending.sent.expires_at
    assert pending_promotion(handle=pending.handle, host=HOST, end_user=guest).sent == sent


# --- what is stored, and what is sent -----------------------------------------------------------------


def test_a_code_has_six_digits_and_they_are_random(row):
    found = set()
    for _ in range(20):
        allowed_again()
        send_code(again(row), ADDRESS)
        found.add(last_code())
    assert all(re.fullmatch(r"[0-9]{6}", code) for code in found)
    assert len(found) > 15


def test_the_database_has_a_mac_and_not_the_code(row, settings):
    send_code(row, ADDRESS)
    payload = again(row).payload
    # As a word: within the letters of the MAC and of a time six digits come by chance.
    assert not re.search(rf"(?<![\w.]){last_code()}\b", json.dumps(payload))
    assert re.fullmatch(r"[0-9a-f]{64}", payload["code"])
    # Whoever reads the table cannot try all million codes: the key is the server's.
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another one", []
    with pytest.raises(errors.CodeWrong):
        check_code(again(row), last_code())


def test_mail_goes_to_the_stored_address_and_to_nobody_else(application):
    guest = new_guest(application)
    begin_promotion(end_user=guest, project=application.project, type="email", text=" ＡNNA@Example.COM ")
    (message,) = mail.outbox
    assert (message.to, message.cc, message.bcc) == (["ANNA@example.com"], [], [])
    assert OneTimeToken.objects.get().payload["text"] == "ANNA@example.com"
    code = last_code()
    assert message.subject == f"{code} is your code for Guestbook"
    assert code in message.body
    assert message.alternatives == []


def test_a_project_cannot_inject_a_header_by_its_name(row, project):
    project.name = "Guest\r\nBcc: eve@example.com"
    project.save()
    send_code(again(row), ADDRESS)
    assert "\n" not in mail.outbox[0].subject
    assert mail.outbox[0].recipients() == [EMAIL]


def test_mail_is_written_in_the_language_of_the_request(row):
    with translation.override("de"):
        send_code(row, ADDRESS)
    assert last_code() in mail.outbox[0].body


@pytest.mark.parametrize(
    "settings_of_the_fault",
    [
        {"EMAIL_BACKEND": "tests.protocols.rest.hosts.NoMail"},
        {"ANONUSERS_PHONE_SENDER": f"{__name__}.break_down"},
        {"ANONUSERS_PHONE_SENDER": "nowhere.at_all"},
    ],
)
def test_when_the_provider_fails_nothing_has_changed_and_the_log_names_nobody(
    row, settings, caplog, settings_of_the_fault
):
    for login_id in (ADDRESS, NUMBER):
        send_code(again(row), login_id)
    before = state_of(row)
    allowed_again()
    for name, value in settings_of_the_fault.items():
        setattr(settings, name, value)
    login_id = ADDRESS if "EMAIL_BACKEND" in settings_of_the_fault else NUMBER
    with pytest.raises(errors.CodeNotSent):
        send_code(again(row), login_id)
    assert state_of(row) == before
    assert "could not be sent" in caplog.text
    assert login_id.value not in caplog.text


def test_when_the_provider_fails_at_the_beginning_nothing_has_begun(application, settings):
    settings.EMAIL_BACKEND = "tests.protocols.rest.hosts.NoMail"
    guest = new_guest(application)
    with pytest.raises(errors.CodeNotSent):
        begin_promotion(end_user=guest, project=application.project, type="email", text=EMAIL)
    assert OneTimeToken.objects.count() == 0


def test_text_messages_are_printed_where_no_sender_is_set(row, capsys):
    send_code(row, NUMBER)
    printed = capsys.readouterr().out
    code = re.search(r"\d{6} is", printed)[0][:6]
    assert printed == f"To +886912345678: {code} is your code for Guestbook\n"
    check_code(again(row), code)
    assert mail.outbox == []


def test_text_messages_go_through_the_sender_that_is_set(row, settings):
    settings.ANONUSERS_PHONE_SENDER = f"{__name__}.remember"
    texts.clear()
    sent = send_code(row, NUMBER)
    ((to, text),) = texts
    assert (to, sent.to) == ("+886912345678", "+88…78")
    check_code(again(row), text[:6])


@pytest.mark.parametrize(
    ("type", "text", "shown"),
    [
        ("email", "anna@example.com", "a…@example.com"),
        ("email", "a@example.com", "a…@example.com"),
        ("email", "müller@example.com", "m…@example.com"),
        ("phone", "+4930901820", "+49…20"),
    ],
)
def test_where_a_code_went_is_shown_so_that_only_its_owner_knows_it(type, text, shown):
    assert mask(parse_login_id(type, text)) == shown
