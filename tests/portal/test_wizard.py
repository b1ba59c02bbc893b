"""Applications › Add application: the wizard, and the deletion."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from anonusers import applications
from anonusers.models import Application, AuditEvent, EndUser, Project
from portal.frameworks import FRAMEWORKS
from portal.models import Membership
from tests.anonusers.test_applications import sign_in
from tests.conftest import HOST, make_application, make_project, row_counts, state_of

pytestmark = pytest.mark.django_db
LIST = "/portal/guestbook/applications/"
NEW = f"{LIST}new/"
AFTER_LOGIN = ["http://localhost/after-authentication"]
AFTER_LOGOUT = ["http://localhost/after-logout"]


def member(project: Project, role: str, name: str = "mara") -> Client:
    """The browser of somebody of the project's team."""
    user = get_user_model().objects.create_user(name, is_staff=True)
    Membership.objects.create(project=project, user=user, role=role)
    client = Client(HTTP_HOST=HOST)
    client.force_login(user)
    return client


def add(client: Client, url: str = NEW, **entries: Any) -> Any:
    return client.post(url, {"name": "Web", "framework": "react", "session": "cookie", "redirect_uris": ""} | entries)


# --- the page -----------------------------------------------------------------------------------------------------


def test_the_page_offers_every_framework_once(portal: Client, project: Project) -> None:
    page = portal.get(NEW).content.decode()
    assert page.count('name="framework"') == len(FRAMEWORKS) == 19
    for key in FRAMEWORKS:
        assert f'name="framework" value="{key}"' in page
    assert page.count("data-asks") == 7
    assert 'value="cookie"' in page
    assert 'value="token"' in page


def test_the_list_leads_there(portal: Client, project: Project) -> None:
    assert f'href="{NEW}"' in portal.get(LIST).content.decode()
    make_application(project)
    assert f'href="{NEW}"' in portal.get(LIST).content.decode()


@pytest.mark.parametrize(
    ("framework", "session", "type_", "uris", "logout_uris"),
    [
        *(
            (key, "token", "spa", AFTER_LOGIN, AFTER_LOGOUT)
            for key in ("react", "vue", "angular", "nextjs", "other-spa")
        ),
        *(
            (key, "token", "confidential", AFTER_LOGIN, [])
            for key in ("django", "flask", "express", "laravel", "java", "aspnet", "other-webapp")
        ),
        *(
            (key, "cookie", "traditional_webapp", AFTER_LOGIN, AFTER_LOGOUT)
            for key in ("django", "flask", "express", "laravel", "java", "aspnet", "other-webapp")
        ),
        *(
            (key, "cookie", "native", ["com.example.myapp://host/path"], [])
            for key in ("react-native", "ios", "android", "flutter", "ionic")
        ),
        ("realm-web", "cookie", "spa", AFTER_LOGIN, AFTER_LOGOUT),
        ("m2m", "cookie", "m2m", [], []),
    ],
)  # fmt: skip
def test_the_type_follows_from_the_framework(
    framework: str, session: str, type_: str, uris: list[str], logout_uris: list[str], portal: Client, project: Project
) -> None:
    response = add(portal, name="  Web ", framework=framework, session=session)
    application = Application.objects.get()
    assert response.status_code == 302
    assert response["Location"] == f"{LIST}{application.pk}/quick-start/"
    assert (application.name, application.type, application.framework) == ("Web", type_, framework)
    assert (application.redirect_uris, application.post_logout_redirect_uris) == (uris, logout_uris)
    assert application.issue_jwt_access_token is True
    event = AuditEvent.objects.get()
    assert (event.type, event.actor_name) == ("application.created", "olga")
    assert portal.get(response["Location"]).status_code == 200
    assert portal.get(f"{LIST}{application.pk}/").status_code == 200


def test_a_web_application_is_by_default_one_that_can_have_guests(portal: Client, project: Project) -> None:
    assert portal.post(NEW, {"name": "Web", "framework": "flask"}).status_code == 302
    assert Application.objects.get().may_have_guests


def test_an_operator_makes_an_application_and_uses_it_at_once(portal: Client, project: Project) -> None:
    add(portal, redirect_uris="https://app.example.com/after\r\n")
    client_id = Application.objects.get().client_id
    visitor = Client(HTTP_HOST=HOST, headers={"Origin": "https://app.example.com"})
    answer = visitor.post("/api/v1/signup/", {"client_id": client_id}, "application/json")
    assert answer.status_code == 201
    assert answer.json()["is_anonymous"] is True
    assert answer["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert str(EndUser.objects.get().pk) == answer.json()["sub"]


@pytest.mark.parametrize(
    ("entries", "field", "words"),
    [
        ({"name": ""}, "name", "Enter a name."),
        ({"name": "  "}, "name", "Enter a name."),
        ({"name": "x" * 101}, "name", "at most 100 characters"),
        ({"name": "a\0b"}, "name", "Null characters are not allowed."),
        ({"framework": ""}, "framework", "Choose what the application is made with."),
        ({"framework": "cobol"}, "framework", "Choose one of these."),
        ({"session": "carrier pigeon"}, "session", "Choose one of these."),
        ({"redirect_uris": "javascript:alert(1)"}, "redirect_uris", "This scheme is not allowed in a redirect URI."),
        ({"redirect_uris": "http://app.example.com/"}, "redirect_uris", "Use https."),
    ],
)
def test_a_bad_entry_adds_nothing_and_is_said_at_its_field(
    entries: dict[str, str], field: str, words: str, portal: Client, project: Project
) -> None:
    before, state = row_counts(), state_of(project)
    response = add(portal, **({"redirect_uris": "https://good.example.com/"} | entries))
    assert response.status_code == 400
    assert set(response.context["form"].errors) == {field}
    page = response.content.decode()
    assert words in page.split(f'id="id_{field}_error"')[1].split("</div>")[0]
    assert f'href="#id_{field}"' in page
    if field != "redirect_uris":
        assert "https://good.example.com/</textarea>" in page
    if field != "framework":
        assert 'value="react"' in page
        assert response.context["form"]["framework"].value() == "react"
    assert row_counts() == before
    assert state_of(project) == state


def test_with_nothing_sent_both_fields_are_named(portal: Client, project: Project) -> None:
    response = portal.post(NEW)
    assert response.status_code == 400
    assert set(response.context["form"].errors) == {"name", "framework"}


# --- who may ------------------------------------------------------------------------------------------------------


def test_a_viewer_looks_and_neither_adds_nor_deletes(project: Project, application: Application) -> None:
    client, at = member(project, "viewer"), f"{LIST}{application.pk}/"
    before = row_counts()
    for url in (NEW, f"{at}delete/"):
        assert client.get(url).status_code == 403
        assert client.post(url, {"name": "Web", "framework": "react"}).status_code == 403
    for url in (LIST, at, f"{at}quick-start/"):
        page = client.get(url)
        assert page.status_code == 200
        assert NEW not in page.content.decode()
        assert f"{at}delete/" not in page.content.decode()
    assert client.post(at, {"name": "Mine"}).status_code == 403
    assert row_counts() == before


def test_an_editor_adds_and_deletes(project: Project) -> None:
    client = member(project, "editor")
    assert add(client).status_code == 302
    application = Application.objects.get()
    assert client.post(f"{LIST}{application.pk}/delete/", {"name": "Web"}).status_code == 302
    assert not Application.objects.exists()
    assert list(AuditEvent.objects.order_by("pk").values_list("type", "actor_name")) == [
        ("application.created", "mara"),
        ("application.deleted", "mara"),
    ]


def test_a_member_of_another_project_finds_nothing(project: Project, application: Application) -> None:
    shop = make_project("shop", "shop.example.com")
    client = member(shop, "owner")
    before = row_counts()
    for url in (NEW, *(f"{LIST}{application.pk}/{page}" for page in ("", "delete/", "quick-start/"))):
        assert client.get(url).status_code == 404
        # Nor below the project that is theirs.
        if url != NEW:
            assert client.get(url.replace("guestbook", "shop")).status_code == 404
            assert client.post(url.replace("guestbook", "shop"), {"name": "Web"}).status_code in (404, 405)
        assert client.post(url, {"name": "Web", "framework": "react"}).status_code == 404
    assert row_counts() == before


# --- deleting -----------------------------------------------------------------------------------------------------


def test_the_page_says_what_goes(portal: Client, application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{LIST}{application.pk}/delete/"
    assert "No live session ends." in portal.get(url).content.decode()
    sign_in(application)
    sign_in(application, used=400)
    assert "1 live session ends." in portal.get(url).content.decode()
    sign_in(application)
    page = portal.get(url).content.decode()
    assert "2 live sessions end." in page
    assert "<code>web</code>" in page
    assert "Type Web to confirm" in page
    monkeypatch.setattr(applications, "LOOKED_AT", 1)
    assert "live sessions or more end." in portal.get(url).content.decode()


def test_above_a_thousand_it_says_more(
    portal: Client, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = applications.LiveSessions(1000, more=True)
    monkeypatch.setattr("portal.views.applications.count_live_sessions", lambda row: counted)
    assert "More than 1,000 live sessions end." in portal.get(f"{LIST}{application.pk}/delete/").content.decode()


@pytest.mark.parametrize("typed", [None, "", " ", "web", "Webb", "Web two", "WEB"])
def test_without_the_name_nothing_is_deleted(typed: str | None, portal: Client, application: Application) -> None:
    sign_in(application)
    before = row_counts()
    response = portal.post(f"{LIST}{application.pk}/delete/", {} if typed is None else {"name": typed})
    assert response.status_code == 400
    assert "Nothing was deleted." in response.content.decode()
    assert row_counts() == before


def test_with_the_name_it_goes(portal: Client, project: Project) -> None:
    application = make_application(project, name="Our  web  <b>")
    other = make_application(project, "other")
    sign_in(application)
    page = portal.get(f"{LIST}{application.pk}/delete/").content.decode()
    assert "Our  web  &lt;b&gt;" in page
    response = portal.post(f"{LIST}{application.pk}/delete/", {"name": " Our web <b> "}, follow=True)
    assert response.redirect_chain == [(LIST, 302)]
    assert "was deleted, and its sessions have ended." in response.content.decode()
    assert Application.objects.get() == other
    assert portal.get(f"{LIST}{application.pk}/delete/").status_code == 404
    assert portal.post(f"{LIST}{application.pk}/delete/", {"name": "Our web <b>"}).status_code == 404
    answer = Client(HTTP_HOST=HOST).post("/api/v1/signup/", {"client_id": "web"}, "application/json")
    assert answer.json()["code"] == "unknown_application"


def test_very_many_sessions_take_several_rounds(
    portal: Client, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applications, "BATCH", 1)
    for _ in range(3):
        sign_in(application)
    url = f"{LIST}{application.pk}/delete/"
    with monkeypatch.context() as impatient:
        clock = iter(range(0, 10_000, 10))
        impatient.setattr(applications.time, "monotonic", lambda: next(clock))
        response = portal.post(url, {"name": "Web"})
    assert response.status_code == 202
    page = response.content.decode()
    assert "1 session was removed. There are more." in page
    assert "data-goes-on" in page
    assert 'value="Web"' in page  # sent again as it is
    assert application.sessions.count() == 2
    assert portal.post(url, {"name": "Web"}).status_code == 302
    assert not Application.objects.exists()
