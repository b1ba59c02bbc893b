"""Token exchange beside promotion: whoever had got hold of a guest before must not come along, however they time it."""

import threading
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from anonusers import token_exchange
from anonusers.models import Application, EndUser, Session
from tests.protocols.authgear.exchanging import NOT_VALID, exchange, exchanged, give_realm_app, realm_guest
from tests.protocols.authgear.steps import assert_oauth_error, be_promoted, bearer, nothing_changes

pytestmark = [pytest.mark.django_db, pytest.mark.spec("RFC 8693", "5")]


@pytest.fixture
def guest(application: Application, browser: Client) -> dict[str, str]:
    give_realm_app(application.project)
    return realm_guest(browser)


@pytest.fixture
def subject(guest: dict[str, str]) -> Session:
    return Session.objects.in_full().get()


def test_what_promotion_has_ended_vouches_for_nobody(guest: dict[str, str], subject: Session, browser: Client) -> None:
    """Somebody else may have had the guest's token: they must not come along with the regular user."""
    stolen = exchanged(browser, guest["access_token"])
    be_promoted(subject.end_user)
    with nothing_changes():
        assert_oauth_error(exchange(browser, guest["access_token"]), *NOT_VALID)
        assert browser.get("/oauth2/userinfo", **bearer(stolen["access_token"])).status_code == 401


def test_nor_what_it_ends_this_very_moment(
    guest: dict[str, str], subject: Session, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promotion between our look at the session and our lock of its user."""
    look = token_exchange.lock_end_user

    def late(pk: Any) -> Any:
        Session.objects.filter(pk=subject.pk).update(ended_at=timezone.now())
        return look(pk)

    monkeypatch.setattr(token_exchange, "lock_end_user", late)
    assert_oauth_error(exchange(browser, guest["access_token"]), *NOT_VALID)
    assert Session.objects.count() == 1


def test_nor_a_user_who_is_disabled_or_gone_by_then(
    guest: dict[str, str], subject: Session, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = token_exchange.lock_end_user

    def disabled(pk: Any) -> Any:
        EndUser.objects.filter(pk=pk).update(disabled_at=timezone.now())
        return look(pk)

    monkeypatch.setattr(token_exchange, "lock_end_user", disabled)
    words = (400, "invalid_request", "the user of the subject token is disabled")
    assert_oauth_error(exchange(browser, guest["access_token"]), *words)
    EndUser.objects.update(disabled_at=None)
    monkeypatch.setattr(token_exchange, "lock_end_user", lambda pk: None)
    assert_oauth_error(exchange(browser, guest["access_token"]), *NOT_VALID)
    assert Session.objects.count() == 1


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_exchange_and_promotion_at_once(guest: dict[str, str], subject: Session, visit: Any) -> None:
    """Whoever is first: after a promotion no session of before is open."""

    def promote() -> None:
        try:
            be_promoted(subject.end_user)
        finally:
            connection.close()

    def ask() -> None:
        try:
            exchange(visit(), guest["access_token"])
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(3)]
    threads.insert(1, threading.Thread(target=promote))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not Session.objects.filter(ended_at=None).exists()
