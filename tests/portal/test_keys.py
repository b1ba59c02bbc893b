"""Advanced › Keys."""

import re
from typing import Any

import jwt
import pytest
from django.test import Client

from anonusers.models import AuditEvent, Project, SigningKey
from tests.conftest import HOST, make_project, row_counts, state_of
from tests.portal.test_wizard import member

pytestmark = pytest.mark.django_db
URL = "/portal/guestbook/keys/"


def rotate(client: Client, **changes: Any) -> Any:
    data = {"version": client.get(f"{URL}?rotate").context["version"]} | changes
    return client.post(URL, {name: value for name, value in data.items() if value is not None})


def kids(**filters: Any) -> set[str]:
    return set(SigningKey.objects.filter(**filters).values_list("kid", flat=True))


def test_the_page_names_every_key_and_no_secret(portal: Client, project: Project) -> None:
    make_project("shop", "shop.example.com")
    response = portal.get(URL)
    page = response.content.decode()
    assert len(project.signing_keys.all()) == 3
    for key in SigningKey.objects.all():
        assert (key.kid in page) == (key.project_id == project.pk)
        assert key.private_key not in page
    assert page.count("Signs</span>") == 3
    assert "Retired" not in page
    assert 'data-copy="http://localhost:8000/oauth2/jwks"' in page
    assert f'href="{URL}?rotate"' in page


def test_a_project_without_a_host_has_no_jwks_url(portal: Client, project: Project) -> None:
    project.domains.all().delete()
    assert "No host leads to this project yet." in portal.get(URL).content.decode()


def test_rotating_asks_first(portal: Client, project: Project) -> None:
    before, state = row_counts(), state_of(project, *SigningKey.objects.all())
    page = portal.get(f"{URL}?rotate").content.decode()
    assert "Nobody is signed out." in page
    assert "python manage.py anonusers_rotate_keys guestbook --at-once" in page
    assert row_counts() == before
    assert state_of(project, *SigningKey.objects.all()) == state


def test_after_a_rotation_new_keys_sign_and_old_tokens_are_good(portal: Client, application: Any) -> None:
    visitor = Client(HTTP_HOST=HOST)

    def sign_up() -> str:
        return str(visitor.post("/api/v1/signup/", {"client_id": "web"}, "application/json").json()["access_token"])

    old, token = kids(), sign_up()
    response = rotate(portal)
    assert (response.status_code, response["Location"]) == (302, URL)
    retired, new = kids(retired_at__isnull=False), kids() - old
    assert (len(retired), len(new)) == (2, 2)
    assert retired < old
    page = portal.get(URL).content.decode()
    assert "New keys sign from now on." in page
    assert page.count("Retired</span>") == 2
    assert page.count("Signs</span>") == 3
    assert jwt.get_unverified_header(token)["kid"] in retired
    assert visitor.get("/api/v1/userinfo/", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert jwt.get_unverified_header(sign_up())["kid"] in new
    published = {key["kid"] for key in visitor.get("/oauth2/jwks").json()["keys"]}
    assert published == retired | new
    event = AuditEvent.objects.get()
    assert (event.category, event.type, event.actor_name) == ("security", "keys.rotated", "olga")
    assert event.changes["at_once"] is False
    assert {entry.split()[1] for entry in event.changes["new"]} == new


@pytest.mark.parametrize("version", [None, "", "0", "-1", "99", "x"])
def test_a_form_of_before_rotates_nothing(version: str | None, portal: Client, project: Project) -> None:
    before, state = row_counts(), state_of(project, *SigningKey.objects.all())
    response = rotate(portal, version=version)
    assert response.status_code == 409
    assert "Nothing was changed now." in response.content.decode()
    assert row_counts() == before
    assert state_of(project, *SigningKey.objects.all()) == state


def test_sending_the_form_twice_rotates_once(portal: Client, project: Project) -> None:
    version = portal.get(f"{URL}?rotate").context["version"]
    assert [portal.post(URL, {"version": version}).status_code for _ in range(2)] == [302, 409]
    assert SigningKey.objects.count() == 5
    assert AuditEvent.objects.count() == 1


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_only_owners_rotate(role: str, project: Project) -> None:
    client, owner = member(project, role), member(project, "owner", "ole")
    before = row_counts()
    page = client.get(URL)
    assert page.status_code == 200
    assert "?rotate" not in page.content.decode()
    assert client.get(f"{URL}?rotate").status_code == 403
    assert client.post(URL, {"version": str(project.keys_version)}).status_code == 403
    assert row_counts() == before
    assert rotate(owner).status_code == 302


def test_a_member_of_another_project_finds_nothing(project: Project) -> None:
    client = member(make_project("shop", "shop.example.com"), "owner")
    before = row_counts()
    assert client.get(URL).status_code == 404
    assert client.post(URL, {"version": str(project.keys_version)}).status_code == 404
    assert row_counts() == before


def test_the_command_is_in_the_audit_log_too(project: Project, capsys: Any) -> None:
    from django.core.management import call_command

    call_command("anonusers_rotate_keys", "guestbook", "--algorithm", "ES256", "--at-once")
    event = AuditEvent.objects.get()
    assert (event.type, event.actor, event.actor_name) == ("keys.rotated", None, "")
    assert event.changes["at_once"] is True
    assert re.fullmatch(r"ES256 \S{43}", event.changes["new"][0])
