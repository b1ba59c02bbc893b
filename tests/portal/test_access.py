"""Who may enter, and what others find."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.test import Client

from anonusers.middleware import CONTENT_SECURITY_POLICY
from anonusers.models import Application, EndUser, Project
from portal.access import is_operator, projects_of
from portal.models import Membership
from tests.conftest import HOST, make_application, make_project, row_counts, state_of
from tests.portal.conftest import save

pytestmark = pytest.mark.django_db


@pytest.fixture
def pages(project: Project, application: Application) -> list[str]:
    return [
        "/portal/",
        "/portal/guestbook/",
        "/portal/guestbook/anonymous-users/",
        "/portal/guestbook/applications/",
        f"/portal/guestbook/applications/{application.pk}/",
        "/portal/guestbook/session/",
        "/portal/guestbook/retention/",
        "/portal/guestbook/audit/",
        "/portal/guestbook/team/",
        "/portal/guestbook/settings/",
        "/portal/guestbook/delete/",
    ]


def test_a_visitor_is_sent_to_sign_in_and_comes_back(browser_client: Client, pages: list[str]) -> None:
    for url in pages:
        response = browser_client.get(url)
        assert (response.status_code, response["Location"]) == (302, f"/portal/login/?next={url}")
        assert "no-store" in response["Cache-Control"]


def test_a_visitor_learns_nothing_about_which_projects_there_are(browser_client: Client, project: Project) -> None:
    for slug in ("guestbook", "nothing"):
        response = browser_client.get(f"/portal/{slug}/session/")
        assert response["Location"] == f"/portal/login/?next=/portal/{slug}/session/"


def test_a_visitor_cannot_save(browser_client: Client, pages: list[str], project: Project) -> None:
    before = state_of(project)
    response = browser_client.post("/portal/guestbook/anonymous-users/", {"version": project.updated_at.isoformat()})
    assert response["Location"].startswith("/portal/login/")
    assert state_of(project) == before


def _people(project: Project) -> dict[str, Any]:
    create = get_user_model().objects.create_user
    guest = create("guest")
    EndUser.objects.create(project=project, user=guest)
    staff_and_end_user = create("both", is_staff=True, is_superuser=True)
    EndUser.objects.create(project=project, user=staff_and_end_user)
    return {"member": create("member"), "guest": guest, "both": staff_and_end_user}


@pytest.mark.parametrize("who", ["member", "guest", "both"])
def test_who_is_signed_in_and_no_operator_is_told_so(who: str, pages: list[str], project: Project) -> None:
    user = _people(project)[who]
    client = Client(HTTP_HOST=HOST)
    client.force_login(user)
    before = state_of(project)
    for url in pages:
        for response in (client.get(url), client.post(url, {"version": project.updated_at.isoformat()})):
            assert response.status_code == 403
            assert "This is for operators" in response.content.decode()
            assert "Guestbook" not in response.content.decode()
    assert state_of(project) == before


def test_a_disabled_operator_is_a_visitor(portal: Client, operator: Any, project: Project) -> None:
    operator.is_active = False
    operator.save()
    assert portal.get("/portal/guestbook/session/").status_code == 302
    assert not is_operator(operator)
    assert not projects_of(operator).exists()


def test_nobody_has_no_projects(project: Project) -> None:
    assert not projects_of(AnonymousUser()).exists()


def test_an_unknown_project_is_not_found(portal: Client, project: Project) -> None:
    for page in ("", "anonymous-users/", "applications/", "applications/1/", "session/", "retention/"):
        response = portal.get(f"/portal/nothing/{page}")
        assert response.status_code == 404
        assert "Not found" in response.content.decode()
        assert "no-store" in response["Cache-Control"]


def test_an_application_of_another_project_is_not_found_and_not_changed(portal: Client, project: Project) -> None:
    foreign = make_application(make_project("shop", "shop.example.com"), "till")
    before = state_of(foreign)
    url = f"/portal/guestbook/applications/{foreign.pk}/"
    assert portal.get(url).status_code == 404
    answer = portal.post(url, {"version": foreign.updated_at.isoformat(), "name": "Taken over"})
    assert answer.status_code == 404
    assert state_of(foreign) == before
    assert portal.get("/portal/guestbook/applications/99999999999999999999/").status_code == 404


@pytest.mark.parametrize("method", ["put", "patch", "delete", "options", "trace"])
def test_only_get_and_post_are_spoken(method: str, portal: Client, pages: list[str]) -> None:
    before = row_counts()
    for url in [*pages, "/portal/login/", "/portal/logout/"]:
        assert portal.generic(method.upper(), url).status_code in (405, 302)
    for url in pages:
        assert portal.generic(method.upper(), url).status_code == 405
    assert row_counts() == before


def test_pages_are_never_stored_and_bear_the_strict_policy(portal: Client, pages: list[str]) -> None:
    for url in [*pages[2:], "/portal/nothing/"]:
        response = portal.get(url)
        assert "no-store" in response["Cache-Control"]
        assert response["Content-Security-Policy"] == CONTENT_SECURITY_POLICY


def test_a_form_of_another_site_is_refused(operator: Any, project: Project) -> None:
    client = Client(HTTP_HOST=HOST, enforce_csrf_checks=True)
    client.force_login(operator)
    before = state_of(project)
    response = client.post("/portal/guestbook/anonymous-users/", {"version": project.updated_at.isoformat()})
    assert response.status_code == 403
    assert state_of(project) == before


def test_the_portal_opens_with_the_first_project_then_with_the_last_visited(portal: Client, project: Project) -> None:
    make_project("aardvark", "aardvark.example.com")
    assert portal.get("/portal/")["Location"] == "/portal/aardvark/"
    assert portal.get("/portal/aardvark/")["Location"] == "/portal/aardvark/overview/"
    portal.get("/portal/guestbook/session/")
    assert portal.get("/portal/")["Location"] == "/portal/guestbook/"
    portal.get("/portal/aardvark/")
    assert portal.get("/portal/")["Location"] == "/portal/aardvark/"
    portal.get("/portal/guestbook/session/")
    project.delete()
    assert portal.get("/portal/")["Location"] == "/portal/aardvark/"


def test_a_member_opens_the_portal_with_their_own_project(project: Project) -> None:
    make_project("aardvark", "aardvark.example.com")
    member = member_of(project, "viewer")
    assert member.get("/portal/")["Location"] == "/portal/guestbook/"
    assert member.get("/portal/aardvark/session/").status_code == 404
    assert member.get("/portal/")["Location"] == "/portal/guestbook/"
    Membership.objects.all().delete()
    assert "You are in no project's team" in member.get("/portal/").content.decode()


def member_of(project: Project, role: str) -> Client:
    user = get_user_model().objects.create_user("otto", is_staff=True)
    Membership.objects.create(project=project, user=user, role=role)
    client = Client(HTTP_HOST=HOST)
    client.force_login(user)
    return client


def test_without_projects_the_portal_says_how_to_make_one(portal: Client) -> None:
    response = portal.get("/portal/")
    assert response.status_code == 200
    assert 'href="/portal/new/"' in response.content.decode()
    assert "anonusers_config apply FILE" in response.content.decode()


def test_staff_without_a_team_learn_whom_to_ask(project: Project) -> None:
    client = Client(HTTP_HOST=HOST)
    client.force_login(get_user_model().objects.create_user("otto", is_staff=True))
    page = client.get("/portal/").content.decode()
    assert "Ask an owner of the project to add <strong>otto</strong> on the page Team" in page
    for word in ("Guestbook", "/portal/new/", "anonusers_config"):
        assert word not in page


def test_a_project_that_was_deleted_is_not_found(portal: Client, project: Project) -> None:
    Project.objects.filter(pk=project.pk).update(deleted_at=project.created_at)
    assert not projects_of(get_user_model().objects.get()).exists()
    assert portal.get("/portal/guestbook/session/").status_code == 404


def test_the_switcher_lists_the_projects_and_who_may_make_one(portal: Client, project: Project) -> None:
    member = member_of(project, "owner")
    assert '<details class="switcher"' not in member.get("/portal/guestbook/session/").content.decode()
    assert 'href="/portal/new/"' in portal.get("/portal/guestbook/session/").content.decode()
    shop = make_project("shop", "shop.example.com")
    page = portal.get("/portal/guestbook/session/").content.decode()
    assert 'href="/portal/shop/"' in page
    assert 'href="/portal/guestbook/" aria-current="true"' in page
    assert "/portal/shop/" not in member.get("/portal/guestbook/session/").content.decode()
    Membership.objects.create(project=shop, user=get_user_model().objects.get(username="otto"), role="viewer")
    page = member.get("/portal/guestbook/session/").content.decode()
    assert 'href="/portal/shop/"' in page
    assert 'href="/portal/new/"' not in page


FRAME = (
    "",
    "overview/",
    "users/",
    "anonymous-users/",
    "login/",
    "applications/",
    "retention/",
    "session/",
    "keys/",
    "realm/",
) + (("review/", "audit/", "team/", "settings/"))


def test_every_link_of_the_frame_leads_somewhere(portal: Client, pages: list[str], project: Project) -> None:
    import re

    make_project("shop", "shop.example.com")
    links = {
        link.replace("&amp;", "&")
        for url in pages[2:]
        for link in re.findall(r'href="(/[^"#]*)"', portal.get(url).content.decode())
        if not link.startswith("/static/")
    }
    assert links >= {
        "/portal/shop/",
        "/portal/new/",
        "/portal/me/api-keys/",
        *(f"/portal/guestbook/{page}" for page in FRAME),
    }
    for link in sorted(links):
        assert portal.get(link, follow=True).status_code == 200, link


PAYLOADS = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7*7 }}", "'; DROP TABLE x; --"]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_names_are_shown_and_never_run(payload: str, portal: Client, pages: list[str], project: Project) -> None:
    application = project.applications.get()
    assert save(portal, pages[4], name=payload).status_code == 302
    Project.objects.filter(pk=project.pk).update(name=payload)
    application.refresh_from_db()
    assert application.name == payload
    for url in pages[2:]:
        page = portal.get(url).content.decode()
        assert "<script>alert" not in page
        assert "<img src=x" not in page
