"""Authentication › Login & promotion."""

from typing import Any

import pytest
from django.test import Client

from anonusers.models import AuditEvent, Project
from portal.models import Draft
from tests.conftest import HOST, make_project, row_counts, state_of
from tests.portal.conftest import save, version_in
from tests.portal.test_wizard import member

pytestmark = pytest.mark.django_db
URL = "/portal/guestbook/login/"
NOBODY = "Guests cannot keep their account, and nobody can log in."
NO_TEXTS = "This server sends no text messages"


def stored(project: Project) -> tuple[list[str], list[str], str]:
    project.refresh_from_db()
    return project.login_ids, project.verify, project.promotion_conflict


def shown(page: str) -> list[str]:
    """The sentences that say what the switches mean."""
    lines = page.split('class="consequence__lines">')[1].split("</div>")[0].split("<p ")[1:]
    return [line.split(">")[1].split("<")[0] for line in lines if " hidden>" not in line]


def test_the_page_shows_what_is_stored_and_what_it_means(portal: Client, project: Project) -> None:
    page = portal.get(URL).content.decode()
    for value, on in (("email", True), ("phone", False), ("username", False)):
        box = page.split(f'name="login_ids" value="{value}"')[1].split(">")[0]
        assert ("checked" in box) == on
    assert 'name="verify" value="username"' not in page
    assert shown(page) == [
        "An e-mail address with a password becomes a guest&#x27;s at once. Nobody has proven it: whoever reads a code "
        "there later gets the account."
    ]


def test_everything_is_saved_and_works_at_once(portal: Client, project: Project, application: Any) -> None:
    response = save(
        portal, URL, login_ids=["email", "username"], verify=["email"], promotion_conflict="login"
    )  # fmt: skip
    assert response.status_code == 302
    assert stored(project) == (["email", "username"], ["email"], "login")
    page = portal.get(URL).content.decode()
    assert shown(page) == [
        "An e-mail address becomes a guest&#x27;s with the code that was sent there.",
        "Who has a user name needs a verified e-mail address, too, to get back without the password.",
    ]
    event = AuditEvent.objects.get()
    assert (event.category, event.type, event.target) == ("settings", "project.changed", "project")
    assert event.changes == {
        "login_ids": [["email"], ["email", "username"]],
        "verify": [[], ["email"]],
        "promotion_conflict": ["error", "login"],
    }
    # The wording and the value are those of Anonymous Users.
    other = portal.get("/portal/guestbook/anonymous-users/").context["form"]["promotion_conflict"]
    mine = portal.get(URL).context["form"]["promotion_conflict"]
    assert (other.label, other.help_text, other.value()) == (mine.label, mine.help_text, "login")
    # A guest who keeps the account is asked for the code now.
    visitor = Client(HTTP_HOST=HOST)
    token = visitor.post("/api/v1/signup/", {"client_id": "web"}, "application/json").json()["access_token"]
    body = {"login_id": {"type": "email", "value": "anna@example.com"}, "password": "nine tame walruses"}
    headers = {"Authorization": f"Bearer {token}"}
    assert visitor.post("/api/v1/promote/", body, "application/json", headers=headers).status_code == 202


def test_nothing_may_be_chosen_and_that_is_said(portal: Client, project: Project) -> None:
    assert save(portal, URL, login_ids=None, verify=None).status_code == 302
    assert stored(project) == ([], [], "error")
    assert shown(portal.get(URL).content.decode()) == [NOBODY]


def test_who_is_not_used_is_not_verified(portal: Client, project: Project) -> None:
    """The project file refuses to verify what nobody logs in with; the page's script does not send it."""
    assert save(portal, URL, login_ids=["username"], verify=["email", "phone"]).status_code == 302
    assert stored(project) == (["username"], [], "error")


def test_the_order_of_the_pages_stays(portal: Client, project: Project) -> None:
    Project.objects.filter(pk=project.pk).update(login_ids=["username", "email"], verify=["email"])
    before = stored(project)
    assert save(portal, URL).status_code == 302
    assert stored(project) == before
    assert not AuditEvent.objects.exists()
    assert save(portal, URL, login_ids=["email", "phone", "username"]).status_code == 302
    assert stored(project)[0] == ["username", "email", "phone"]


def test_without_a_sender_phone_numbers_get_a_warning(portal: Client, project: Project, settings: Any) -> None:
    def notice() -> str:
        return portal.get(URL).content.decode().split('class="row-notice"')[1].split("<div")[0]

    assert "hidden" in notice()
    save(portal, URL, login_ids=["email", "phone"])
    assert "hidden" not in notice()
    assert NO_TEXTS in portal.get(URL).content.decode()
    settings.ANONUSERS_PHONE_SENDER = "shop.sms.send"
    assert NO_TEXTS not in portal.get(URL).content.decode()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"login_ids": ["fax"]}, "login_ids"),
        ({"login_ids": ["email", "fax"]}, "login_ids"),
        ({"login_ids": ["email\0"]}, "login_ids"),
        ({"verify": ["username"]}, "verify"),
        ({"verify": ["email", "fax"]}, "verify"),
        ({"promotion_conflict": "link"}, "promotion_conflict"),
        ({"promotion_conflict": None}, "promotion_conflict"),
    ],
)
def test_a_bad_entry_is_refused_and_nothing_changes(
    changes: dict[str, Any], field: str, portal: Client, project: Project
) -> None:
    before, state = row_counts(), state_of(project)
    response = save(portal, URL, **changes)
    assert response.status_code == 400
    assert set(response.context["form"].errors) == {field}
    assert f'id="id_{field}_error"' in response.content.decode()
    assert row_counts() == before
    assert state_of(project) == state


def test_an_overtaken_form_saves_nothing(portal: Client, project: Project) -> None:
    stale = version_in(portal.get(URL))
    save(portal, URL, promotion_conflict="login")
    before = state_of(project)
    response = save(portal, URL, login_ids=["username"], version=stale)
    assert response.status_code == 409
    assert state_of(project) == before


def test_with_an_open_draft_the_changes_wait(portal: Client, project: Project) -> None:
    Draft.objects.create(project=project)
    before = stored(project)
    assert (
        save(portal, URL, login_ids=["email", "phone"], verify=["phone"], promotion_conflict="login").status_code == 302
    )
    assert stored(project) == before
    assert {column: entry["new"] for column, entry in Draft.objects.get().changes["project"].items()} == {
        "login_ids": ["email", "phone"],
        "verify": ["phone"],
        "promotion_conflict": "login",
    }
    page = portal.get(URL).content.decode()
    assert "A phone number becomes a guest&#x27;s with the code that was sent there." in shown(page)


def test_a_viewer_looks_and_changes_nothing(project: Project) -> None:
    client = member(project, "viewer")
    before = state_of(project)
    response = client.get(URL)
    assert response.status_code == 200
    looked_at = response.content.decode().split("<fieldset")[1].split("</fieldset>")[0]
    assert " disabled>" in looked_at.split("\n")[0]
    assert looked_at.count('name="login_ids"') == 3
    assert "data-save-bar" not in response.content.decode()
    assert client.post(URL, {"version": version_in(response), "promotion_conflict": "login"}).status_code == 403
    assert state_of(project) == before


def test_a_member_of_another_project_finds_nothing(project: Project) -> None:
    client = member(make_project("shop", "shop.example.com"), "owner")
    before = state_of(project)
    assert client.get(URL).status_code == 404
    assert client.post(URL, {"promotion_conflict": "login"}).status_code == 404
    assert state_of(project) == before
