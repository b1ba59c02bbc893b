"""Team: who is in it, who may change it, invitations."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from anonusers.models import AuditEvent, EndUser, Project
from portal import team
from portal.models import Membership
from portal.team import add_member, change_role, find_operator, invite, remove_member
from tests.conftest import HOST
from tests.portal.conftest import bare_project
from tests.test_races import at_once

pytestmark = [pytest.mark.django_db, pytest.mark.database]
URL = "/portal/guestbook/team/"
LINK = re.compile(r"http://localhost:8000(/portal/join/[\w-]+/[\w-]+/)")
GOOD = "nine tame walruses"


def account(name: str, **fields: Any) -> Any:
    return get_user_model().objects.create_user(name, **({"is_staff": True, "password": GOOD} | fields))


@pytest.fixture
def project(db: None) -> Project:
    return bare_project()


@pytest.fixture
def enter(project: Project) -> Callable[..., Client]:
    """The browser of a new member."""

    def enter(role: str, name: str = "") -> Client:
        user = account(name or role)
        Membership.objects.create(project=project, user=user, role=role)
        client = Client(HTTP_HOST=HOST)
        client.force_login(user)
        return client

    return enter


def roles(project: Project) -> dict[str, str]:
    return dict(project.memberships.values_list("user__username", "role"))


def pk_of(name: str) -> int:
    return Membership.objects.get(user__username=name).pk


def events() -> list[tuple[str, str, str, Any]]:
    rows = AuditEvent.objects.order_by("pk")
    return [(row.type, row.actor_name, row.target, row.changes) for row in rows]


def text_of(response: Any) -> str:
    return str(response.content.decode())


def everything() -> Any:
    models = (get_user_model(), Membership, AuditEvent)
    return [list(model.objects.order_by("pk").values()) for model in models]


# --- the page -------------------------------------------------------------------------------------


def test_the_page_lists_the_members_and_says_what_roles_may_do(enter: Any, project: Project) -> None:
    owner = enter("owner")
    enter("viewer", "vera")
    page = text_of(owner.get(URL))
    assert page.index(">owner ") < page.index(">vera")
    for words in ("Sees everything", "changes settings and applications", "decides who is in the team", "(you)"):
        assert words in page
    assert "The only one: add another owner before you change this." in page


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_who_is_no_owner_sees_names_and_no_controls(role: str, enter: Any, project: Project) -> None:
    enter("owner").get(URL)
    get_user_model().objects.filter(username="owner").update(email="owner@example.com")
    page = text_of(enter(role).get(URL))
    assert "<select" not in page
    assert "Add somebody" not in page
    assert "?remove=" not in page
    assert "owner@example.com" not in page
    client = enter(role, "another")
    assert client.get(f"{URL}?remove={pk_of('owner')}").status_code == 200
    assert "Remove from the team" not in text_of(client.get(f"{URL}?remove={pk_of('owner')}"))


def test_a_project_without_members_says_who_sees_it(portal: Client, project: Project) -> None:
    assert "Nobody yet: only administrators of this server see the project." in text_of(portal.get(URL))


def test_the_page_costs_as_many_statements_for_many_members(
    enter: Any, project: Project, django_assert_max_num_queries: Any
) -> None:
    owner = enter("owner")
    for number in range(20):
        Membership.objects.create(project=project, user=account(f"m{number}"), role="viewer")
    owner.get(URL)
    with django_assert_max_num_queries(9):
        owner.get(URL)


# --- adding ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["nina", " nina ", "nina@example.com", "Nina@Example.com"])
def test_an_owner_adds_an_operator_by_name_or_address(who: str, enter: Any, project: Project) -> None:
    owner = enter("owner")
    account("nina", email="nina@example.com")
    response = owner.post(URL, {"action": "add", "who": who, "role": "editor"}, follow=True)
    assert response.redirect_chain == [(URL, 302)]
    assert roles(project) == {"owner": "owner", "nina": "editor"}
    assert events() == [("member.added", "owner", "nina", {"role": "editor"})]
    assert AuditEvent.objects.get().category == "team"
    assert f"{who.strip()} is in the team now, as editor." in text_of(response)
    assert mail.outbox == []


def refusal(client: Client, **entries: str) -> str:
    """What is said to entries that are refused; nothing may have changed."""
    before = everything()
    response = client.post(URL, {"action": "add", "role": "editor"} | entries)
    assert response.status_code == 400
    assert everything() == before
    return text_of(response)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"who": ""}, "Enter a user name or an e-mail address."),
        ({"who": "nobody"}, "No operator has this user name. To invite somebody new, enter their e-mail address."),
        ({"who": "not an@address"}, "Enter a valid email address."),
        ({"who": "n" * 255}, "at most 254 characters"),
        ({"who": "nina", "role": "emperor"}, "Choose one of the roles."),
        ({"who": "nina", "role": ""}, "This field is required."),
        ({"who": "owner"}, "owner is in the team already, as owner."),
        ({"who": "twin@example.com"}, "Several operators have this address. Use the user name."),
        ({"action": "fly"}, "This form is not complete. Open the page again."),
    ],
)
def test_entries_that_are_not_good_add_nobody(entries: Any, words: str, enter: Any, project: Project) -> None:
    owner = enter("owner")
    account("nina")
    account("one", email="twin@example.com")
    account("two", email="twin@example.com")
    page = refusal(owner, **entries)
    assert words in page
    if entries.get("who") and entries.get("action") is None:
        assert f'value="{entries["who"][:254]}' in page


def people(project: Project) -> None:
    """Everybody whom the form must not know: an end user, one with an operator's flags, a disabled operator."""
    guest = account("guest", is_staff=False, email="anna@example.com")
    EndUser.objects.create(project=project, user=guest)
    both = account("both", email="both@example.com", is_superuser=True)
    EndUser.objects.create(project=project, user=both)
    account("member", is_staff=False, email="member@example.com")
    account("gone", is_active=False, email="gone@example.com")


@pytest.mark.parametrize("who", ["guest", "both", "member", "gone"])
def test_who_is_no_operator_is_said_to_be_nobody(who: str, enter: Any, project: Project) -> None:
    people(project)
    owner = enter("owner")
    told, of_nobody = refusal(owner, who=who), refusal(owner, who="nobody")
    assert comparable(told).replace(f'value="{who}"', "") == comparable(of_nobody).replace('value="nobody"', "")


def comparable(page: str) -> str:
    return re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", page)


@pytest.mark.parametrize("who", ["anna", "both", "member", "gone"])
def test_an_address_of_an_end_user_is_invited_as_any_other(who: str, enter: Any, project: Project) -> None:
    people(project)
    owner = enter("owner")
    answers = []
    for address in (f"{who}@example.com", f"{who}@example.org"):
        response = owner.post(URL, {"action": "add", "who": address, "role": "viewer"}, follow=True)
        page = re.sub(r"-[0-9a-f]{6}\b|/join/[\w-]+/[\w-]+/", "", comparable(text_of(response)))
        page = re.sub(r"example\.(com|org)|role-\d+|remove=\d+|member\" value=\"\d+|[\w-]+-?\d{0,6}</option>", "", page)
        answers.append(page.split('id="members"')[0])
        Membership.objects.filter(role="viewer").delete()
    assert answers[0] == answers[1]
    assert len(mail.outbox) == 2


def test_a_team_has_a_limit(enter: Any, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = enter("owner")
    account("nina")
    monkeypatch.setattr(team, "MOST", 1)
    for who in ("nina", "new@example.com"):
        assert "A team has at most 1 members. Remove somebody first." in refusal(owner, who=who)


# --- roles ----------------------------------------------------------------------------------------


def test_an_owner_changes_roles(enter: Any, project: Project) -> None:
    owner = enter("owner")
    enter("viewer", "vera")
    response = owner.post(URL, {"action": "role", "member": pk_of("vera"), "role": "editor"}, follow=True)
    assert roles(project) == {"owner": "owner", "vera": "editor"}
    assert events() == [("member.role_changed", "owner", "vera", {"role": ["viewer", "editor"]})]
    assert "vera: the role is editor now." in text_of(response)
    owner.post(URL, {"action": "role", "member": pk_of("vera"), "role": "editor"})
    assert len(events()) == 1


def test_a_project_keeps_its_last_owner(enter: Any, portal: Client, project: Project) -> None:
    """Also against an administrator, who is an owner without being in the team."""
    owner = enter("owner")
    enter("editor")
    for client in (owner, portal):
        for entries in ({"action": "role", "role": "viewer"}, {"action": "remove"}):
            before = everything()
            response = client.post(URL, entries | {"member": pk_of("owner")})
            assert response.status_code == 400
            assert "A project keeps at least one owner. Make somebody else an owner first." in text_of(response)
            assert everything() == before


def test_an_owner_may_step_down_and_leave_while_there_is_another(enter: Any, project: Project) -> None:
    first, second = enter("owner"), enter("owner", "otto")
    response = first.post(URL, {"action": "role", "member": pk_of("owner"), "role": "viewer"})
    assert response["Location"] == URL
    assert first.post(URL, {"action": "remove", "member": pk_of("otto")}).status_code == 403
    first.get(URL)
    Membership.objects.filter(user__username="owner").update(role="owner")
    assert "Leave the team?" in text_of(second.get(f"{URL}?remove={pk_of('otto')}"))
    response = second.post(URL, {"action": "remove", "member": pk_of("otto")})
    assert response["Location"] == "/portal/"
    assert second.get(URL).status_code == 404
    assert roles(project) == {"owner": "owner"}


def test_removing_asks_first_and_takes_effect_at_once(enter: Any, project: Project) -> None:
    owner, editor = enter("owner"), enter("editor")
    assert editor.get(URL).status_code == 200
    page = text_of(owner.get(f"{URL}?remove={pk_of('editor')}"))
    assert "Remove editor from the team?" in page
    assert roles(project) == {"owner": "owner", "editor": "editor"}
    owner.post(URL, {"action": "remove", "member": pk_of("editor")})
    assert editor.get(URL).status_code == 404
    assert events() == [("member.removed", "owner", "editor", {"role": "editor"})]
    assert get_user_model().objects.filter(username="editor").exists()


@pytest.mark.parametrize("action", ["role", "remove", "link"])
@pytest.mark.parametrize("member", ["", "0", "x", "99999999999999999999999", "foreign"])
def test_a_member_of_another_team_or_none_is_not_found(action: str, member: str, enter: Any, project: Project) -> None:
    owner = enter("owner")
    shop = bare_project("shop", "shop.example.com")
    foreign = Membership.objects.create(project=shop, user=account("nina"), role="viewer")
    before = everything()
    sent = str(foreign.pk) if member == "foreign" else member
    assert owner.post(URL, {"action": action, "member": sent, "role": "owner"}).status_code == 404
    assert owner.get(URL, {"remove": sent}).status_code == 404
    assert everything() == before


def test_a_role_that_does_not_exist_changes_nothing(enter: Any, project: Project) -> None:
    owner = enter("owner")
    enter("viewer")
    before = everything()
    response = owner.post(URL, {"action": "role", "member": pk_of("viewer"), "role": "emperor"})
    assert response.status_code == 400
    assert "Choose one of the roles." in text_of(response)
    assert everything() == before


def test_who_was_removed_meanwhile_is_gone_for_the_others(project: Project) -> None:
    actor = account("olga")
    assert change_role(project=project, member_id=1, role="viewer", actor=actor) is None
    assert remove_member(project=project, member_id=1, actor=actor) is None
    assert events() == []


def test_only_operators_are_added(project: Project) -> None:
    people(project)
    for user in get_user_model().objects.all():
        with pytest.raises(ValidationError, match="Only operators"):
            add_member(project=project, user=user, role="viewer", actor=None)
        assert find_operator(user.username) is None
        assert find_operator(user.email) is None
    assert not Membership.objects.exists()


# --- invitations ----------------------------------------------------------------------------------


def invited(client: Client, address: str = "nina@example.com", role: str = "editor") -> Any:
    return client.post(URL, {"action": "add", "who": address, "role": role}, follow=True)


def link_in(response: Any) -> str:
    found = LINK.search(text_of(response))
    assert found
    return found[1]


def test_somebody_new_is_invited_by_a_link_that_is_shown_once_and_mailed(enter: Any, project: Project) -> None:
    owner = enter("owner")
    response = invited(owner)
    link = link_in(response)
    user = get_user_model().objects.exclude(username="owner").get()
    assert re.fullmatch(r"nina-[0-9a-f]{6}", user.username)
    assert (user.is_staff, user.is_superuser, user.is_active, user.email) == (True, False, True, "")
    assert not user.has_usable_password()
    assert roles(project) == {"owner": "owner", user.username: "editor"}
    assert events() == [("member.invited", "owner", user.username, {"role": "editor"})]
    assert "The link was mailed to nina@example.com." in text_of(response)
    assert mail.outbox[0].to == ["nina@example.com"]
    assert f"http://{HOST}{link}?proof=" in mail.outbox[0].body
    page = text_of(owner.get(URL))
    assert LINK.search(page) is None
    assert "Invited</span>" in page
    token = link.split("/")[-2]
    assert token not in str(list(AuditEvent.objects.values()))


def test_the_link_sets_the_password_once_and_lets_in(enter: Any, project: Project) -> None:
    link = link_in(invited(enter("owner")))
    browser = Client(HTTP_HOST=HOST)
    page = text_of(browser.get(link))
    user = get_user_model().objects.exclude(username="owner").get()
    assert f'value="{user.username}"' in page
    response = browser.post(link, {"password": GOOD}, follow=True)
    assert response.redirect_chain[:2] == [("/portal/", 302), ("/portal/guestbook/", 302)]
    user.refresh_from_db()
    assert user.check_password(GOOD)
    assert user.email == ""
    assert browser.get(URL).status_code == 200
    before = everything()
    again = Client(HTTP_HOST=HOST)
    for answer in (again.get(link), again.post(link, {"password": "another fine walrus"})):
        assert answer.status_code == 404
        assert "This link is no longer valid" in text_of(answer)
    assert everything() == before


def test_the_address_is_the_accounts_only_by_the_mailed_link(enter: Any, project: Project) -> None:
    """Else whoever invites could set the password and be added to other teams in somebody's name."""
    owner = enter("owner")
    invited(owner)
    found = re.search(r"http://localhost:8000(\S+)", mail.outbox[0].body)
    assert found
    proof = found[1].partition("?proof=")[2]
    invited(owner, "otto@example.com")
    others = re.search(r"http://localhost:8000(\S+)", mail.outbox[1].body)
    assert others
    # Somebody else's proof is none.
    assert (
        Client(HTTP_HOST=HOST).post(f"{others[1].split('?')[0]}?proof={proof}", {"password": GOOD}).status_code == 302
    )
    assert not get_user_model().objects.exclude(email="").exists()
    assert Client(HTTP_HOST=HOST).post(found[1], {"password": GOOD}).status_code == 302
    assert get_user_model().objects.get(email="nina@example.com").username.startswith("nina-")


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("", "Choose a password."),
        ("short", "too short"),
        ("1234567890", "entirely numeric"),
        ("password", "too common"),
    ],
)
def test_a_weak_first_password_is_refused(password: str, words: str, enter: Any, project: Project) -> None:
    link = link_in(invited(enter("owner")))
    before = everything()
    response = Client(HTTP_HOST=HOST).post(link, {"password": password})
    assert response.status_code == 400
    assert words in text_of(response)
    assert everything() == before


def test_a_link_ends_with_its_time_with_the_membership_and_with_the_account(enter: Any, project: Project) -> None:
    owner = enter("owner")
    link = link_in(invited(owner))
    browser = Client(HTTP_HOST=HOST)
    with time_machine.travel(timezone.now() + timedelta(days=3, minutes=1)):
        assert browser.get(link).status_code == 404
    assert browser.get(link).status_code == 200
    user = get_user_model().objects.exclude(username="owner").get()
    get_user_model().objects.filter(pk=user.pk).update(is_active=False)
    assert browser.get(link).status_code == 404
    get_user_model().objects.filter(pk=user.pk).update(is_active=True)
    owner.post(URL, {"action": "remove", "member": pk_of(user.username)})
    assert browser.post(link, {"password": GOOD}).status_code == 404


@pytest.mark.parametrize("link", ["x/y", "MQ/x", "-/-", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5/c0-abc", "4pi6/c0-abc"])
def test_links_of_nobody_are_all_told_the_same(link: str, db: None) -> None:
    response = Client(HTTP_HOST=HOST).get(f"/portal/join/{link}/")
    assert response.status_code == 404
    assert "This link is no longer valid" in text_of(response)
    assert "no-store" in response["Cache-Control"]


def test_tries_at_links_are_counted(settings: Any, db: None) -> None:
    settings.ANONUSERS_PORTAL_LOGIN_PER_IP = "2/m"
    answers = [Client(HTTP_HOST=HOST).get("/portal/join/MQ/x/").status_code for _ in range(3)]
    assert answers == [404, 404, 429]


def test_an_invitation_can_be_made_anew_while_it_waits(enter: Any, project: Project) -> None:
    owner = enter("owner")
    invited(owner)
    name = get_user_model().objects.exclude(username="owner").get().username
    response = owner.post(URL, {"action": "link", "member": pk_of(name)}, follow=True)
    link = link_in(response)
    assert "Hand over this link." in text_of(response)
    assert Client(HTTP_HOST=HOST).post(link, {"password": GOOD}).status_code == 302
    before = everything()
    response = owner.post(URL, {"action": "link", "member": pk_of(name)})
    assert response.status_code == 400
    assert "This account does not wait for a first password." in text_of(response)
    assert everything() == before


def test_nobody_gets_a_link_to_an_account_that_the_invitation_did_not_make(enter: Any, project: Project) -> None:
    """An account that signs in elsewhere has no password here, too: a link would take it over."""
    owner = enter("owner")
    sso = account("sso")
    sso.set_unusable_password()
    sso.save()
    owner.post(URL, {"action": "add", "who": "sso", "role": "viewer"})
    assert owner.post(URL, {"action": "link", "member": pk_of("sso")}).status_code == 400
    shop = bare_project("shop", "shop.example.com")
    waiting = invite(project=shop, address="nina@example.com", role="viewer", actor=None).member.user
    owner.post(URL, {"action": "add", "who": waiting.username, "role": "viewer"})
    found = Membership.objects.get(project=project, user=waiting)
    assert owner.post(URL, {"action": "link", "member": found.pk}).status_code == 400


def test_without_mail_the_link_is_handed_over(enter: Any, project: Project, settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    response = invited(enter("owner"))
    assert "Hand over this link." in text_of(response)
    assert link_in(response)


def test_mail_that_fails_is_told(enter: Any, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> int:
        raise ConnectionRefusedError

    monkeypatch.setattr(team, "send_mail", fail)
    response = invited(enter("owner"))
    assert "The mail could not be sent. Hand over the link yourself." in text_of(response)
    assert link_in(response)


def test_an_account_that_cannot_be_made_leaves_nothing(
    enter: Any, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = enter("owner")
    account("nina-aaaaaa")
    monkeypatch.setattr(team.secrets, "token_hex", lambda _size: "aaaaaa")
    assert "This server cannot make an account for this address." in refusal(owner, who="nina@example.com")


# --- at once --------------------------------------------------------------------------------------


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(5))
@pytest.mark.parametrize("deed", ["demote", "remove", "either"])
def test_two_owners_who_take_the_role_from_each_other_leave_one(deed: str, _round: int, project: Project) -> None:
    users = [account(f"owner-{number}") for number in range(2)]
    members = [Membership.objects.create(project=project, user=user, role="owner") for user in users]

    def take(number: int) -> bool:
        other, actor = members[1 - number].pk, users[number]
        try:
            if deed == "demote" or (deed == "either" and number):
                change_role(project=project, member_id=other, role="viewer", actor=actor)
            else:
                remove_member(project=project, member_id=other, actor=actor)
        except ValidationError:
            return False
        return True

    assert sorted(at_once(2, take)) == [False, True]
    assert list(roles(project).values()).count("owner") == 1
    assert AuditEvent.objects.count() == 1
