"""The page with an operator's own API keys."""

from typing import Any

import pytest
from django.test import Client

from portal.models import OperatorKey
from tests.conftest import HOST
from tests.portal.routes import browser_of

pytestmark = pytest.mark.django_db
URL = "/portal/me/api-keys/"


@pytest.fixture
def olga(django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("olga", is_staff=True)


def test_a_private_key_is_shown_once(olga: Any) -> None:
    client = browser_of(olga)
    made = client.post(URL, {"action": "create", "name": "Deploy"})
    assert (made.status_code, made["Location"]) == (302, URL)
    key = OperatorKey.objects.get(user=olga)
    shown, again = client.get(URL).content.decode(), client.get(URL).content.decode()
    assert "The key “Deploy” is there" in shown
    assert key.public_key in shown
    assert "Private key" in shown
    assert key.public_key in again
    assert "Private key" not in again


def test_a_key_without_a_name_is_not_made(olga: Any) -> None:
    answer = browser_of(olga).post(URL, {"action": "create", "name": " "})
    assert answer.status_code == 400
    assert "Enter a name." in answer.content.decode()
    assert not OperatorKey.objects.exists()


def test_a_key_is_revoked_by_its_owner_and_by_nobody_else(olga: Any, django_user_model: Any) -> None:
    client = browser_of(olga)
    client.post(URL, {"action": "create", "name": "Deploy"})
    key = OperatorKey.objects.get()
    other = browser_of(django_user_model.objects.create_user("nina", is_staff=True))
    assert other.post(URL, {"action": "revoke", "key": key.pk}).status_code == 404
    key.refresh_from_db()
    assert key.revoked_at is None
    assert "Deploy is revoked." in client.post(URL, {"action": "revoke", "key": key.pk}, follow=True).content.decode()
    key.refresh_from_db()
    assert key.revoked_at is not None


@pytest.mark.parametrize("key", ["", "x", "9" * 40, "987654"])
def test_no_other_key_is_found(key: str, olga: Any) -> None:
    assert browser_of(olga).post(URL, {"action": "revoke", "key": key}).status_code == 404


def test_who_is_no_operator_makes_no_key(django_user_model: Any) -> None:
    somebody = browser_of(django_user_model.objects.create_user("ada"))
    for client in (somebody, Client(HTTP_HOST=HOST)):
        assert client.post(URL, {"action": "create", "name": "Deploy"}).status_code in (302, 403)
    assert not OperatorKey.objects.exists()
