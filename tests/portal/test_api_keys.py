"""The operator's own API keys."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from anonusers.models import AuditEvent
from anonusers.tokens import secret_hash
from portal.models import OperatorKey, OperatorToken
from portal.operator_keys import MOST, create_key
from portal.operator_tokens import sign_in
from tests.conftest import HOST
from tests.portal.reviewing import text_of

pytestmark = pytest.mark.django_db
URL = "/portal/me/api-keys/"


def test_without_keys_the_page_says_how_to_make_one(portal: Client) -> None:
    page = text_of(portal.get(URL))
    assert "You have no keys. The first one that you make below appears here." in page
    assert f'href="{URL}" aria-current="page"' in page


def test_a_key_is_shown_once(portal: Client, operator: Any) -> None:
    response = portal.post(URL, {"action": "create", "name": "CI <b>"})
    assert (response.status_code, response["Location"]) == (302, URL)
    shown = portal.get(URL)
    private_key = shown.context["new_key"]["private_key"]
    row = OperatorKey.objects.get()
    assert (row.user, row.name, row.private_hash) == (operator, "CI <b>", secret_hash(private_key))
    page = text_of(shown)
    assert f'data-copy="{private_key}"' in page
    assert f'data-copy="{row.public_key}"' in page
    assert "CI &lt;b&gt;" in page
    assert "never used" in page
    assert private_key not in text_of(portal.get(URL))
    event = AuditEvent.objects.get()
    assert (event.type, event.project, event.actor_name) == ("operator_key.created", None, "olga")
    assert event.target == f"key:{row.public_key}"
    assert private_key not in str(event.changes)


@pytest.mark.parametrize("entries", [{}, {"action": "create"}, {"action": "create", "name": " "}, {"action": "x"}])
def test_what_is_missing_makes_no_key(entries: dict[str, str], portal: Client) -> None:
    response = portal.post(URL, entries)
    assert response.status_code == 400
    assert not OperatorKey.objects.exists()
    if entries.get("action") == "create":
        assert 'aria-describedby="id_name_helptext id_name_error"' in response.content.decode()
        assert "Enter a name." in response.content.decode()


@pytest.mark.parametrize("name", ["x" * 101, "a\0b"])
def test_a_name_that_cannot_be_stored_makes_no_key(name: str, portal: Client) -> None:
    assert portal.post(URL, {"action": "create", "name": name}).status_code == 400
    assert not OperatorKey.objects.exists()


def test_revoking_ends_the_key_and_what_it_opened(portal: Client, operator: Any) -> None:
    made = create_key(user=operator, name="CI")
    sign_in(user=operator, key=made.row)
    response = portal.post(URL, {"action": "revoke", "key": made.row.pk}, follow=True)
    assert "CI is revoked. What was signed in with it is signed out." in text_of(response)
    assert "Revoked</span>" in text_of(response)
    assert "?revoke=" not in text_of(response)
    assert not OperatorToken.objects.exists()
    assert portal.post(URL, {"action": "revoke", "key": made.row.pk}).status_code == 404


def test_revoking_asks_first(portal: Client, operator: Any) -> None:
    made = create_key(user=operator, name="CI")
    for _twice in range(2):
        sign_in(user=operator, key=made.row)
    assert f'href="{URL}?revoke={made.row.pk}"' in text_of(portal.get(URL))
    page = text_of(portal.get(f"{URL}?revoke={made.row.pk}"))
    assert "2 sign-ins that are open end." in page
    assert OperatorKey.objects.get().revoked_at is None
    assert OperatorToken.objects.count() == 2
    for wrong in ("", "x", "-1", "9" * 40, made.row.pk + 1):
        assert portal.get(f"{URL}?revoke={wrong}").status_code == 404
    portal.post(URL, {"action": "revoke", "key": made.row.pk})
    assert portal.get(f"{URL}?revoke={made.row.pk}").status_code == 404


@pytest.mark.parametrize("key", ["", "x", "-1", "0", "9" * 40, "1.5"])
def test_a_key_that_is_none_is_not_found(key: str, portal: Client, operator: Any) -> None:
    create_key(user=operator, name="CI")
    assert portal.post(URL, {"action": "revoke", "key": key}).status_code == 404
    assert OperatorKey.objects.get().revoked_at is None


def test_nobody_sees_or_revokes_the_keys_of_somebody_else(portal: Client) -> None:
    other = get_user_model().objects.create_user("otto", is_staff=True)
    made = create_key(user=other, name="Ottos own")
    assert "Ottos own" not in portal.get(URL).content.decode()
    assert portal.post(URL, {"action": "revoke", "key": made.row.pk}).status_code == 404
    assert OperatorKey.objects.get().revoked_at is None


def test_there_are_so_many_keys_at_most(portal: Client, operator: Any) -> None:
    for number in range(MOST):
        create_key(user=operator, name=str(number))
    response = portal.post(URL, {"action": "create", "name": "One more"})
    assert response.status_code == 400
    assert "You have 20 keys already. Revoke one first." in text_of(response)
    assert OperatorKey.objects.count() == MOST


def test_only_operators_have_keys(browser_client: Client) -> None:
    assert browser_client.get(URL)["Location"] == f"/portal/login/?next={URL}"
    client = Client(HTTP_HOST=HOST)
    client.force_login(get_user_model().objects.create_user("somebody"))
    for response in (client.get(URL), client.post(URL, {"action": "create", "name": "CI"})):
        assert response.status_code == 403
    assert not OperatorKey.objects.exists()


def test_a_form_of_another_site_is_refused(operator: Any) -> None:
    client = Client(HTTP_HOST=HOST, enforce_csrf_checks=True)
    client.force_login(operator)
    assert client.post(URL, {"action": "create", "name": "CI"}).status_code == 403
    assert not OperatorKey.objects.exists()


def test_a_project_may_be_called_as_the_page_is(portal: Client) -> None:
    from tests.portal.conftest import bare_project

    bare_project("me", "me.example.com")
    assert portal.get("/portal/me/session/").status_code == 200
    assert portal.get(URL).status_code == 200
