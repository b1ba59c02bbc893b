"""allauth's pages: forms, mails that are followed here and elsewhere, codes, known accounts."""

from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.management import call_command
from django.utils import timezone

from anonusers import sessions
from anonusers.cleanup import clean_up
from anonusers.contrib.allauth.adapters import AccountAdapter
from anonusers.models import AnonymousIdentity, EndUser, Project, Session
from anonusers.promotion import promote_as_saved
from tests.hosts.story import EMAIL, PASSWORD, Browser, rows
from tests.hosts.uuid_allauth.visits import (
    OTHER,
    addresses,
    browse,
    code,
    guest,
    info,
    keep_guests,
    known,
    link,
    log_in,
    member_of,
    promotions,
    sign_up,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def mandatory(settings: Any) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"


@pytest.fixture
def by_code(mandatory: None, settings: Any) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True


@pytest.fixture
def passwordless(settings: Any) -> None:
    settings.ACCOUNT_SIGNUP_FIELDS = ["email*"]
    settings.ACCOUNT_LOGIN_BY_CODE_REQUIRED = True


def row(who: dict[str, Any]) -> dict[str, Any]:
    return get_user_model()._default_manager.values().get(pk=who["pk"])


# --- what a guest sees --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/accounts/signup/", "/accounts/login/", "/accounts/login/code/"])
def test_a_guest_may_sign_up_and_log_in(browser: Browser, path: str) -> None:
    who = guest(browser)
    assert browser.client.get(path).status_code == 200
    assert browser.whoami() == who


def test_a_member_is_sent_away_as_allauth_does(browser: Browser) -> None:
    sign_up(browser)
    assert browser.client.get("/accounts/signup/").status_code == 302


def test_what_is_for_members_sends_a_guest_to_log_in(browser: Browser) -> None:
    guest(browser)
    answer = browser.client.get("/accounts/email/")
    assert answer["Location"] == "/accounts/login/?next=/accounts/email/"


def test_a_guest_can_log_out(browser: Browser) -> None:
    guest(browser)
    assert browser.client.get("/accounts/logout/").status_code == 200
    assert browser.client.post("/accounts/logout/").status_code == 302
    assert browser.whoami()["kind"] == "visitor"
    assert not Session.objects.filter(ended_at=None).exists()


def test_no_mail_goes_to_the_address_of_a_guest(browser: Browser) -> None:
    who = guest(browser)
    assert browser.client.get("/members/")["Location"] == "/accounts/login/?next=/members/"
    assert b"sent an email" in browser.client.get("/members/class/").content  # so it says
    assert mail.outbox == []
    assert sign_up(browser).status_code == 302  # what allauth noted about that address is not in the way
    assert browser.whoami() == member_of(who)
    assert [address.email for address in EmailAddress.objects.all()] == [EMAIL]


def test_hiding_a_guest_costs_no_statement(browser: Browser, django_assert_num_queries: Any) -> None:
    guest(browser)
    # Three are allauth's, for the providers that it knows.
    with django_assert_num_queries(2 + 3):  # Django's session, and ours with user and identity
        assert browser.client.get("/accounts/login/").status_code == 200
    with django_assert_num_queries(0 + 3):
        assert browse().client.get("/accounts/login/").status_code == 200


# --- at once ----------------------------------------------------------------------------------------


def test_the_row_stays_the_guests_own(browser: Browser) -> None:
    who = guest(browser)
    get_user_model()._default_manager.filter(pk=who["pk"]).update(points=7)
    before = row(who)
    sign_up(browser)
    assert browser.whoami() == member_of(who)
    changed = {name for name, value in row(who).items() if value != before[name]}
    assert changed == {"email", "password", "last_login"}
    assert (row(who)["points"], row(who)["email"]) == (7, EMAIL)
    assert promotions() == [("promoted", "allauth")]


class Generous(AccountAdapter):
    """A host's own: who signs up has three points."""

    def new_user(self, request: Any) -> Any:
        person = super().new_user(request)
        person.points += 3
        return person


def test_an_adapter_of_the_hosts_own_fills_the_guests_row(browser: Browser, settings: Any) -> None:
    settings.ACCOUNT_ADAPTER = f"{__name__}.Generous"
    who = guest(browser)
    get_user_model()._default_manager.filter(pk=who["pk"]).update(points=7)
    sign_up(browser)
    assert browser.whoami() == member_of(who)
    assert row(who)["points"] == 10


def test_our_cookie_is_a_new_one_and_logging_out_ends_both(browser: Browser) -> None:
    guest(browser)
    before = browser.client.cookies["anonusers_session"].value
    sign_up(browser)
    assert browser.client.cookies["anonusers_session"].value != before
    assert Session.objects.filter(ended_at=None).count() == 1
    browser.client.post("/accounts/logout/")
    assert browser.client.cookies["anonusers_session"].value == ""
    assert not Session.objects.filter(ended_at=None).exists()


def test_an_address_that_may_be_confirmed_later_is_not_verified_until_then(browser: Browser, settings: Any) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "optional"
    who = guest(browser)
    sign_up(browser)
    assert browser.whoami() == member_of(who)
    assert addresses(who) == [(EMAIL, False)]
    assert not info(who).is_verified
    browser.client.post(link())
    assert addresses(who) == [(EMAIL, True)]
    assert info(who).is_verified
    assert browser.whoami() == member_of(who)


def test_a_guest_of_djangos_own_session_keeps_the_basket(browser: Browser) -> None:
    who = guest(browser)
    person = get_user_model()._default_manager.get(pk=who["pk"])
    browser.client.cookies.pop("anonusers_session")
    basket = browser.client.session
    basket["_auth_user_id"], basket["_auth_user_hash"] = str(person.pk), person.get_session_auth_hash()
    basket["_auth_user_backend"] = "anonusers.contrib.allauth.backends.AuthenticationBackend"
    basket.save()
    assert browser.whoami() == who
    sign_up(browser)
    assert browser.whoami() == member_of(who)


def test_a_guest_who_was_promoted_meanwhile_is_not_written_to(browser: Browser, monkeypatch: Any) -> None:
    """In another tab, between the look at the form and the write."""
    from anonusers.contrib.allauth.adapters import AccountAdapterMixin

    who, new_user = guest(browser), AccountAdapterMixin.new_user

    def promoted_first(self: Any, request: Any) -> Any:
        found = new_user(self, request)
        end_user = EndUser.objects.get(pk=who["sub"])
        promote_as_saved(
            end_user=end_user, project=end_user.project, save=lambda: end_user.user, login_ids=[], method="password"
        )
        return found

    monkeypatch.setattr(AccountAdapterMixin, "new_user", promoted_first)
    before = row(who)
    answer = sign_up(browser)
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/login/")
    assert row(who) == before
    assert not EmailAddress.objects.exists()


# --- the address must be confirmed first ---------------------------------------------------------------


def test_until_the_mail_is_followed_the_guest_is_a_guest(browser: Browser, mandatory: None) -> None:
    who, cookie = guest(browser), browser.client.cookies["anonusers_session"].value
    assert sign_up(browser)["Location"] == "/accounts/confirm-email/"
    assert browser.whoami() == who
    assert browser.client.cookies["anonusers_session"].value == cookie
    assert promotions() == []
    browser.note("still here")
    assert log_in(browser)["Location"] == "/accounts/confirm-email/"  # the right password is not enough
    assert browser.whoami()["kind"] == "guest"
    assert addresses(who) == []


def test_the_mail_is_followed_in_the_same_browser(browser: Browser, mandatory: None) -> None:
    who = guest(browser)
    sign_up(browser)
    browser.client.post(link())
    # allauth wants people to log in after that, so the guest's cookie does not go round it.
    assert browser.whoami() | {"notes": []} == {
        "kind": "visitor",
        "pk": None,
        "sub": None,
        "basket": ["apple"],
        "notes": [],
    }
    assert not Session.objects.filter(ended_at=None).exists()
    assert promotions() == [("promoted", "allauth")]
    log_in(browser)
    assert browser.whoami() == member_of(who)
    assert addresses(who) == [(EMAIL, True)]


def test_the_mail_logs_in_where_allauth_is_told_so(browser: Browser, mandatory: None, settings: Any) -> None:
    settings.ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
    who, cookie = guest(browser), browser.client.cookies["anonusers_session"].value
    sign_up(browser)
    browser.client.post(link())
    assert browser.whoami() == member_of(who)
    assert browser.client.cookies["anonusers_session"].value not in ("", cookie)
    assert Session.objects.filter(ended_at=None).count() == 1
    assert addresses(who) == [(EMAIL, True)]


def test_the_mail_is_followed_on_another_device(browser: Browser, mandatory: None) -> None:
    who, phone = guest(browser), browse()
    sign_up(browser)
    mine = guest(phone)
    phone.client.post(link())
    assert phone.whoami() == mine  # a guest of its own, which has nothing to do with it
    assert addresses(who) == [(EMAIL, True)]
    assert browser.whoami()["kind"] == "visitor"
    assert browser.whoami()["basket"] == ["apple"]
    log_in(browser)
    assert browser.whoami() == member_of(who)
    assert promotions() == [("promoted", "allauth")]


def test_who_logs_in_on_another_device_leaves_the_guest_of_that_one(browser: Browser, mandatory: None) -> None:
    who, phone = guest(browser), browse()
    sign_up(browser)
    guest(phone)
    phone.client.post(link())
    log_in(phone)
    assert phone.whoami()["sub"] == who["sub"]
    assert promotions() == [("promoted", "allauth"), ("superseded", "host")]


def test_somebody_in_the_office_confirms_the_address(browser: Browser, mandatory: None) -> None:
    """In the admin, where no signal is sent: then the first log-in promotes."""
    who = guest(browser)
    sign_up(browser)
    EmailAddress.objects.update(verified=True)
    log_in(browser)
    assert browser.whoami() == member_of(who)
    assert addresses(who) == [(EMAIL, True)]


def test_a_wrong_address_is_no_dead_end(browser: Browser, mandatory: None) -> None:
    who = guest(browser)
    sign_up(browser, "typo@example.com")
    old = link()
    sign_up(browser, EMAIL)
    assert browse().client.post(old).status_code == 404
    assert browser.whoami() == who
    browser.client.post(link())
    log_in(browser)
    assert browser.whoami() == member_of(who)
    assert list(EmailAddress.objects.values_list("email", "verified")) == [(EMAIL, True)]


def test_the_mail_can_be_had_again(browser: Browser, mandatory: None) -> None:
    who = guest(browser)
    sign_up(browser)
    sign_up(browser)
    assert len(mail.outbox) == 2
    browser.client.post(link())
    assert addresses(who) == [(EMAIL, True)]


def test_somebody_else_with_that_address_is_told_as_ever(browser: Browser, mandatory: None) -> None:
    sign_up(browser)
    other = browse()
    who, before = guest(other), rows()
    person = row(who)
    assert sign_up(other)["Location"] == "/accounts/confirm-email/"  # as for an address that nobody has
    assert "already" in str(mail.outbox[-1].body)
    assert (other.whoami(), rows(), row(who)) == (who, before, person)


def test_a_sign_up_that_nobody_finishes_ends_with_the_guest(
    browser: Browser, mandatory: None, project: Project
) -> None:
    browser.client.post("/empty/")
    sign_up(browser)
    assert EmailAddress.objects.count() == 1
    for days in (500, 600):
        clean_up(project, confirmed=True, pause=0, now=timezone.now() + timedelta(days=days))
    assert not EmailAddress.objects.exists()
    assert not get_user_model()._default_manager.exists()
    assert browse().client.post(link()).status_code == 404


def test_a_guest_who_went_on_as_somebody_else_is_not_promoted_by_an_old_mail(browser: Browser, mandatory: None) -> None:
    known(OTHER)
    who = guest(browser)
    sign_up(browser)
    old = link()
    log_in(browser, OTHER)
    assert promotions() == [("superseded", "host")]
    assert browse().client.post(old).status_code == 302
    assert AnonymousIdentity.objects.filter(pk=who["sub"]).exists()
    stranger = browse()
    assert log_in(stranger)["Location"] == "/accounts/inactive/"
    assert stranger.whoami()["kind"] == "visitor"


def test_a_visitor_becomes_an_end_user_when_the_mail_was_followed(browser: Browser, mandatory: None) -> None:
    browser.put("apple")
    sign_up(browser)
    assert not EndUser.objects.exists()
    browser.client.post(link())
    end_user = EndUser.objects.get()
    assert (end_user.is_guest, end_user.adopted_at is not None) == (False, True)
    log_in(browser)
    who = browser.whoami()
    assert (who["kind"], who["sub"], who["basket"]) == ("member", str(end_user.pk), ["apple"])
    assert addresses(who) == [(EMAIL, True)]


def test_calling_a_sign_up_off_keeps_the_guest(browser: Browser, by_code: None) -> None:
    """The button beside the code is a form that goes to where people log out."""
    who = guest(browser)
    sign_up(browser)
    assert browser.client.post("/accounts/logout/", {"next": "/accounts/login/"})["Location"] == "/accounts/login/"
    assert browser.whoami() == who
    assert browser.client.post("/accounts/confirm-email/", {"code": code()})["Location"] == "/accounts/login/"
    assert (browser.whoami(), promotions()) == (who, [])


# --- by code --------------------------------------------------------------------------------------------


def test_an_address_is_confirmed_by_code(browser: Browser, by_code: None) -> None:
    who, cookie = guest(browser), browser.client.cookies["anonusers_session"].value
    sign_up(browser)
    assert browser.client.post("/accounts/confirm-email/", {"code": "WRONG"}).status_code == 200
    assert (browser.whoami(), promotions()) == (who, [])
    browser.client.post("/accounts/confirm-email/", {"code": code()})
    assert browser.whoami() == member_of(who)
    assert browser.client.cookies["anonusers_session"].value not in ("", cookie)
    assert Session.objects.filter(ended_at=None).count() == 1
    assert addresses(who) == [(EMAIL, True)]


def test_another_address_while_the_code_is_awaited(browser: Browser, by_code: None, settings: Any) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION_SUPPORTS_CHANGE = True
    who = guest(browser)
    sign_up(browser, "typo@example.com")
    browser.client.post("/accounts/confirm-email/", {"action": "change", "email": EMAIL})
    browser.client.post("/accounts/confirm-email/", {"action": "verify", "code": code()})
    assert browser.whoami() == member_of(who)
    assert addresses(who) == [(EMAIL, True)]


def test_without_a_password(browser: Browser, passwordless: None) -> None:
    who = guest(browser)
    assert sign_up(browser, password=None)["Location"] == "/accounts/login/code/confirm/"
    assert browser.whoami() == who
    browser.client.post("/accounts/login/code/confirm/", {"code": "WRONG"})
    assert (browser.whoami(), promotions()) == (who, [])
    browser.client.post("/accounts/login/code/confirm/", {"code": code()})
    assert browser.whoami() == member_of(who)
    assert addresses(who) == [(EMAIL, True)]
    assert not info(who).has_password


def test_logging_in_by_code_to_a_known_account(browser: Browser) -> None:
    person = known()
    who = guest(browser)
    browser.client.post("/accounts/login/code/", {"email": EMAIL})
    assert browser.whoami() == who
    browser.client.post("/accounts/login/code/confirm/", {"code": code()})
    now = browser.whoami()
    assert (now["pk"], now["kind"], now["basket"]) == (str(person.pk), "member", ["apple"])
    assert promotions() == [("superseded", "host")]
    assert addresses(now) == [(EMAIL, True)]


def test_a_code_for_an_address_that_nobody_has(browser: Browser) -> None:
    who, before = guest(browser), rows()
    browser.client.post("/accounts/login/code/", {"email": EMAIL})
    browser.client.post("/accounts/login/code/confirm/", {"code": "WRONG"})
    assert (browser.whoami(), rows()) == (who, before)


def test_where_the_project_keeps_guests_one_is_back_after_logging_out(browser: Browser) -> None:
    known()
    keep_guests()
    who = guest(browser)
    browser.client.post("/accounts/login/code/", {"email": EMAIL})
    browser.client.post("/accounts/login/code/confirm/", {"code": code()})
    assert browser.whoami()["kind"] == "member"
    browser.client.post("/accounts/logout/")
    assert browser.whoami() | {"basket": []} == who | {"basket": []}


def test_who_is_disabled_in_the_portal_does_not_log_in(browser: Browser) -> None:
    sign_up(browser)
    EndUser.objects.update(disabled_at=timezone.now())
    other = browse()
    log_in(other)
    assert other.whoami()["kind"] == "visitor"
    other.client.post("/accounts/login/code/", {"email": EMAIL})
    answer = other.client.post("/accounts/login/code/confirm/", {"code": code()})
    assert answer["Location"] == "/accounts/inactive/"
    assert other.whoami()["kind"] == "visitor"
    assert browser.whoami()["kind"] == "visitor"


# --- addresses and passwords of members -----------------------------------------------------------------


def test_another_primary_address_is_the_one_to_log_in_with(browser: Browser) -> None:
    sign_up(browser)
    who = browser.whoami()
    browser.client.post("/accounts/email/", {"action_add": "", "email": OTHER})
    browser.client.post(link())
    assert addresses(who) == [(EMAIL, False)]  # a second one, and not the primary one
    browser.client.post("/accounts/email/", {"action_primary": "", "email": OTHER})
    assert addresses(who) == [(OTHER, True)]
    browser.client.post("/accounts/email/", {"action_remove": "", "email": EMAIL})
    assert addresses(who) == [(OTHER, True)]


def test_an_address_is_changed_for_another_one(browser: Browser, settings: Any) -> None:
    settings.ACCOUNT_CHANGE_EMAIL = True
    sign_up(browser)
    who = browser.whoami()
    browser.client.post("/accounts/email/", {"action_add": "", "email": OTHER})
    assert addresses(who) == [(EMAIL, False)]
    browser.client.post(link())
    assert addresses(who) == [(OTHER, True)]
    assert browser.whoami() == who


def test_an_address_that_somebody_has_at_our_doors_stays_theirs(browser: Browser) -> None:
    owner = browse()
    sign_up(owner, OTHER)
    taken = owner.whoami()
    get_user_model()._default_manager.filter(pk=taken["pk"]).update(email="elsewhere@example.com")
    EmailAddress.objects.all().delete()
    who = guest(browser)
    sign_up(browser, OTHER)
    assert browser.whoami() == member_of(who)  # allauth knows nobody with it
    assert addresses(who) == []
    assert addresses(taken) == [(OTHER, False)]


def test_the_last_address_is_removed(browser: Browser, settings: Any) -> None:
    settings.ACCOUNT_LOGIN_METHODS = {"email", "username"}  # allauth keeps the last one of who has nothing else
    sign_up(browser)
    who = browser.whoami()
    browser.client.post("/accounts/email/", {"action_remove": "", "email": EMAIL})
    assert not EmailAddress.objects.exists()
    assert addresses(who) == []


def test_a_new_password_ends_what_was_opened_with_the_old_one(browser: Browser) -> None:
    guest(browser)
    sign_up(browser)
    who = browser.whoami()
    end_user = EndUser.objects.get(pk=who["sub"])
    elsewhere, _ = sessions.open_session(end_user=end_user, project=end_user.project, application=None, kind="cookie")
    new = "another nine walruses"
    form = {"oldpassword": PASSWORD, "password1": new, "password2": new}
    assert browser.client.post("/accounts/password/change/", form).status_code == 302
    elsewhere.refresh_from_db()
    assert elsewhere.ended_at is not None
    assert browser.whoami() == who
    assert Session.objects.filter(ended_at=None).count() == 1


def test_who_was_adopted_logs_in_and_is_the_same(browser: Browser, project: Project) -> None:
    person = known()
    call_command("anonusers_adopt", "shop")
    log_in(browser)
    who = browser.whoami()
    assert (who["pk"], who["sub"]) == (str(person.pk), str(EndUser.objects.get().pk))
    assert addresses(who) == [(EMAIL, True)]  # as allauth has it


def test_who_was_there_before_is_left_to_the_command(browser: Browser) -> None:
    get_user_model()._default_manager.filter(pk=known().pk).update(last_login=timezone.now())
    log_in(browser)
    assert (browser.whoami()["kind"], browser.whoami()["sub"]) == ("member", None)
