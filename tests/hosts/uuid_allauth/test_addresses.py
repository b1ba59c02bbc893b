"""What an end user does with addresses at our doors, allauth's log-in and its mails follow."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth import get_user_model
from django.core import mail

from anonusers import account
from anonusers.contrib.allauth import addresses as told
from anonusers.login import begin_code_login, finish_code_login
from anonusers.login_ids import parse_login_id
from anonusers.models import EndUser, LoginID
from anonusers.promotion import promote
from anonusers.promotion.base import Proof
from tests.hosts.story import EMAIL, HOST, Browser
from tests.hosts.uuid_allauth.visits import OTHER, browse, guest, info, known, log_in, sign_up

pytestmark = pytest.mark.django_db

Do = Callable[[Callable[[], Any]], Any]


@pytest.fixture
def commit(django_capture_on_commit_callbacks: Any) -> Do:
    """Do something, and what follows once it is committed."""

    def do(this: Callable[[], Any]) -> Any:
        with django_capture_on_commit_callbacks(execute=True):
            return this()

    return do


@pytest.fixture
def anna(browser: Browser) -> EndUser:
    """Who signed up through allauth, and has not followed its mail."""
    sign_up(browser)
    return EndUser.objects.get(pk=browser.whoami()["sub"])


def listed(end_user: EndUser) -> list[tuple[str, bool, bool]]:
    """(address, verified, primary) as allauth has it."""
    rows = EmailAddress.objects.filter(user_id=end_user.user_id).order_by("pk")
    return [(row.email, row.verified, row.primary) for row in rows]


def name_of(end_user: EndUser) -> str:
    return str(get_user_model()._default_manager.get(pk=end_user.user_id).email)  # type: ignore[attr-defined]


def read_code() -> str:
    found = re.search(r"\b\d{6}\b", str(mail.outbox[-1].subject))
    assert found
    return found[0]


def add(end_user: EndUser, text: str) -> LoginID:
    pending = account.add_login_id(end_user=end_user, project=end_user.project, type="email", text=text)
    assert isinstance(pending, account.PendingLoginID)
    return account.finish_login_id(end_user=end_user, handle=pending.handle, host=HOST, code=read_code())


def verify(end_user: EndUser, text: str = EMAIL) -> None:
    pending = account.verify_login_id(end_user=end_user, login_id=end_user.login_ids.get(value=text))
    account.finish_login_id(end_user=end_user, handle=pending.handle, host=HOST, code=read_code())


def remove(end_user: EndUser, text: str = EMAIL) -> None:
    account.remove_login_id(end_user=end_user, login_id=end_user.login_ids.get(value=text))


def sub_after_login(text: str) -> str | None:
    browser = browse()
    log_in(browser, text)
    sub: str | None = browser.whoami().get("sub")
    return sub


def test_an_address_that_is_proven_here_is_proven_there(anna: EndUser, commit: Do) -> None:
    assert listed(anna) == [(EMAIL, False, True)]
    commit(lambda: verify(anna))
    assert listed(anna) == [(EMAIL, True, True)]


def test_another_address_leads_to_the_same_account(anna: EndUser, commit: Do) -> None:
    commit(lambda: verify(anna))
    commit(lambda: add(anna, OTHER.title()))
    assert listed(anna) == [(EMAIL, True, True), (OTHER, True, False)]
    assert sub_after_login(OTHER) == str(anna.pk)


def test_one_that_was_given_up_opens_nothing_and_gets_no_mail(anna: EndUser, commit: Do) -> None:
    """Somebody else may read the mail there: that is why people give addresses up."""
    commit(lambda: verify(anna))
    commit(lambda: add(anna, OTHER))
    commit(lambda: remove(anna))
    assert listed(anna) == [(OTHER, True, True)]
    assert name_of(anna) == OTHER
    assert sub_after_login(EMAIL) is None
    assert sub_after_login(OTHER) == str(anna.pk)
    mail.outbox.clear()
    browse().client.post("/accounts/password/reset/", {"email": EMAIL})
    assert not [message for message in mail.outbox if "/password/reset/key/" in str(message.body)]
    browse().client.post("/accounts/password/reset/", {"email": OTHER})
    assert [message.to for message in mail.outbox if "/password/reset/key/" in str(message.body)] == [[OTHER]]


def test_the_only_one_names_the_hosts_user_and_stays_there(
    anna: EndUser, commit: Do, caplog: pytest.LogCaptureFixture
) -> None:
    account.add_login_id(end_user=anna, project=anna.project, type="username", text="anna")
    commit(lambda: remove(anna))
    assert not anna.login_ids.filter(type="email").exists()
    assert listed(anna) == [(EMAIL, False, True)]
    assert name_of(anna) == EMAIL
    assert "names the host's user" in caplog.text


def test_where_it_does_not_it_goes(anna: EndUser, commit: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "_names_the_user", lambda: False)
    account.add_login_id(end_user=anna, project=anna.project, type="username", text="anna")
    commit(lambda: remove(anna))
    assert listed(anna) == []


def test_a_guest_who_keeps_the_account_on_our_page_is_in_the_list(browser: Browser, commit: Do) -> None:
    person = EndUser.objects.get(pk=guest(browser)["sub"])
    proof = Proof("email_code", parse_login_id("email", EMAIL), verified=True, password=None)
    commit(lambda: promote(end_user=person, project=person.project, proof=proof))
    assert listed(person) == [(EMAIL, True, True)]
    assert name_of(person) == EMAIL


def test_whoever_proves_an_address_first_gets_it_alone(anna: EndUser, commit: Do) -> None:
    """Somebody signed up with it who does not read its mail, and another unproven way in besides."""
    LoginID.objects.create(project=anna.project, end_user=anna, type="email", value=OTHER, key=f"email:{OTHER}")
    EmailAddress.objects.create(user_id=anna.user_id, email=OTHER)
    pending = begin_code_login(project=anna.project, text=EMAIL)
    commit(lambda: finish_code_login(handle=pending.handle, host=HOST, code=read_code()))
    assert [row.value for row in info({"sub": anna.pk}).login_ids] == [EMAIL]
    assert listed(anna) == [(EMAIL, True, True)]
    assert sub_after_login(EMAIL) is None  # their password is gone


def test_what_allauth_knows_as_somebody_elses_is_not_given_away(anna: EndUser, commit: Do) -> None:
    berta = known("berta@elsewhere.example")
    EmailAddress.objects.create(user=berta, email=EMAIL, verified=True)
    commit(lambda: verify(anna))
    assert listed(anna) == [(EMAIL, False, True)]
    assert EmailAddress.objects.get(user=berta, email=EMAIL).verified


def test_user_names_are_no_business_of_the_list(anna: EndUser, commit: Do) -> None:
    before = listed(anna)
    commit(lambda: account.add_login_id(end_user=anna, project=anna.project, type="username", text="anna"))
    commit(lambda: remove(anna, "anna"))
    assert listed(anna) == before


def test_what_allauth_changes_itself_is_not_told_back(anna: EndUser, commit: Do, browser: Browser) -> None:
    """The former primary address leads to nobody at our doors, and stays in allauth's list."""
    commit(lambda: verify(anna))
    commit(lambda: browser.client.post("/accounts/email/", {"action_add": "", "email": OTHER}))
    EmailAddress.objects.filter(email=OTHER).update(verified=True)
    commit(lambda: browser.client.post("/accounts/email/", {"action_primary": "", "email": OTHER}))
    assert listed(anna) == [(EMAIL, True, False), (OTHER, True, True)]
    assert [row.value for row in info({"sub": anna.pk}).login_ids] == [OTHER]
