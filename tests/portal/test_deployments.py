"""The history of deployments, and the way back."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from anonusers.models import Application, EndUser, Project, Session
from anonusers.project_file import export_project
from portal import review
from portal.models import Deployment
from tests.conftest import make_application, make_project, state_of
from tests.portal.conftest import save
from tests.portal.reviewing import (
    browser_of,
    collect,
    deploy,
    drafted,
    events,
    everything,
    keep_session_lifetime,
    text_of,
)

pytestmark = pytest.mark.django_db
URL = "/portal/guestbook/deployments/"


@pytest.fixture
def deployed(portal: Client, project: Project, application: Application) -> Deployment:
    """The lifetime of sessions and the name of an application, in effect."""
    collect(project)
    keep_session_lifetime(portal)
    save(portal, f"/portal/guestbook/applications/{application.pk}/", name="Shop")
    return deploy(portal, "Shorter sessions")


def sign_in(application: Application, number: int = 0) -> Session:
    user = get_user_model().objects.create(username=f"guest-{number}")
    now = timezone.now()
    return Session.objects.create(
        project=application.project,
        application=application,
        end_user=EndUser.objects.create(project=application.project, user=user),
        kind=Session.Kind.TOKEN,
        refresh_hash=f"{number:064}",
        created_at=now,
        last_used_at=now,
    )


def roll_back(client: Client, number: int, **data: Any) -> Any:
    """Look at what would change, and press the button."""
    page = client.get(f"{URL}{number}/?roll_back")
    version = page.context["foreseen"].expected if page.context.get("foreseen") else ""
    return client.post(f"{URL}{number}/", {"version": version, **data})


def lines_of(response: Any) -> dict[str, Any]:
    return {line.key: (line.old, line.new) for group in response.context["groups"] for line in group.lines}


# History


def test_without_deployments_the_page_says_what_will_appear(portal: Client, project: Project) -> None:
    page = text_of(portal.get(URL))
    assert "Each deployment appears here, with what it changed." in page
    assert "/portal/guestbook/review/" in page


def test_a_deployment_says_what_it_changed(portal: Client, deployed: Deployment) -> None:
    page = text_of(portal.get(URL))
    assert "#1</a>" in page
    assert "Shorter sessions" in page
    response = portal.get(f"{URL}1/")
    assert lines_of(response) == {
        "project.session.lifetime": (["364 days (31,449,600 seconds)"], ["2 hours (7,200 seconds)"]),
        "name": (["Web"], ["Shop"]),
    }
    page = text_of(response)
    assert "Deployment #1" in page
    assert "olga" in page
    assert "lifetime = 7200" in page.split(">After</summary>")[1]


def test_it_says_the_same_however_much_came_after(portal: Client, project: Project, deployed: Deployment) -> None:
    before = lines_of(portal.get(f"{URL}1/"))
    Project.objects.update(session_lifetime=60)
    project.applications.get().delete()
    assert lines_of(portal.get(f"{URL}1/")) == before


def test_a_document_of_another_version_is_shown_as_it_is(portal: Client, deployed: Deployment) -> None:
    Deployment.objects.update(before='[project]\nid = "guestbook"\ncolour = "<red>"\n')
    page = text_of(portal.get(f"{URL}1/"))
    assert "Another version of this program wrote this deployment" in page
    assert "colour = &quot;&lt;red&gt;&quot;" in page
    before = everything(deployed.project)
    response = portal.get(f"{URL}1/?roll_back")
    assert "This state cannot come back." in text_of(response)
    assert "#1: project.colour: Unknown key." in text_of(response)
    assert portal.post(f"{URL}1/", {"version": "x"}).status_code == 409
    assert everything(deployed.project) == before


def test_older_and_newer_lead_through_the_history(portal: Client, project: Project) -> None:
    for number in range(1, 46):
        Deployment.objects.create(project=project, number=number, note=f"Note {number}.")
    seen = []
    page = portal.get(URL)
    while True:
        seen += [one.number for one in page.context["deployments"]]
        if not page.context["older"]:
            break
        page = portal.get(f"{URL}?below={page.context['deployments'][-1].number}")
        assert page.context["newer"] is True
    assert seen == list(range(45, 0, -1))
    page = portal.get(f"{URL}?above=5")
    assert [one.number for one in page.context["deployments"]] == list(range(25, 5, -1))
    assert (page.context["newer"], page.context["older"]) == (True, True)
    page = portal.get(f"{URL}?above=25")
    assert [one.number for one in page.context["deployments"]] == list(range(45, 25, -1))
    assert (page.context["newer"], page.context["older"]) == (False, True)


@pytest.mark.parametrize("query", ["below=x", "above=", "below=1.5", f"below={'9' * 5000}"])
def test_a_place_that_cannot_be_is_refused(query: str, portal: Client, deployed: Deployment) -> None:
    response = portal.get(f"{URL}?{query}")
    assert response.status_code == 400
    assert "This address names no place in the list." in text_of(response)


@pytest.mark.parametrize("query", ["below=-5", "below=0", f"below={10**30}", f"above={10**30}", "above=-1"])
def test_a_place_where_nothing_is_is_empty_or_full(query: str, portal: Client, deployed: Deployment) -> None:
    assert portal.get(f"{URL}?{query}").status_code == 200


@pytest.mark.parametrize("number", [0, 2, 10**30])
def test_a_number_without_a_deployment_is_not_found(number: int, portal: Client, deployed: Deployment) -> None:
    assert portal.get(f"{URL}{number}/").status_code == 404
    assert portal.post(f"{URL}{number}/").status_code == 404


def test_the_deployments_of_another_project_are_not_found(portal: Client, deployed: Deployment) -> None:
    make_project("shop", "shop.example.com")
    assert portal.get("/portal/shop/deployments/1/").status_code == 404
    assert "#1" not in text_of(portal.get("/portal/shop/deployments/"))


# Rolling back


def test_a_roll_back_restores_what_was_before_as_a_new_deployment(
    portal: Client, project: Project, application: Application, deployed: Deployment
) -> None:
    now = export_project("guestbook")
    page = portal.get(f"{URL}1/?roll_back")
    assert lines_of(page) == {
        "project.session.lifetime": (["2 hours (7,200 seconds)"], ["364 days (31,449,600 seconds)"]),
        "name": (["Shop"], ["Web"]),
    }
    assert "Type guestbook to go on" not in text_of(page)
    recorded = len(events(project))

    response = roll_back(browser_of(project, "editor"), 1, note="Too short")
    assert response["Location"] == f"{URL}2/"
    done = Deployment.objects.get(number=2)
    assert (done.author, done.note, done.rolled_back_to) == ("editor", "Too short", 1)
    assert (done.before, done.after) == (now, deployed.before)
    assert export_project("guestbook") == deployed.before
    assert state_of(application)[0]["name"] == "Web"
    assert events(project)[recorded:] == [
        ("deployment.created", "deployment:2", {"note": "Too short", "rolled_back_to": "#1"}),
        ("project.changed", "project", {"session_lifetime": [7200, 31_449_600]}),
        ("application.changed", "application:web", {"name": ["Shop", "Web"]}),
    ]
    assert "Roll back of #1" in text_of(portal.get(URL))


def test_a_roll_back_is_rolled_back(portal: Client, deployed: Deployment) -> None:
    roll_back(portal, 1)
    assert roll_back(portal, 2).status_code == 302
    assert export_project("guestbook") == deployed.after


def test_what_was_saved_directly_since_is_shown_and_goes(
    portal: Client, project: Project, deployed: Deployment
) -> None:
    project.draft.delete()  # type: ignore[attr-defined]
    save(portal, "/portal/guestbook/retention/", quarantine_days="3")
    assert Deployment.objects.count() == 1
    assert lines_of(portal.get(f"{URL}1/?roll_back"))["project.retention.quarantine_days"] == (["3 days"], ["7 days"])
    roll_back(portal, 1)
    assert state_of(project)[0]["quarantine_days"] == 7


def test_there_is_nothing_to_roll_back_where_nothing_differs(portal: Client, deployed: Deployment) -> None:
    assert roll_back(portal, 1).status_code == 302
    before = everything(deployed.project)
    page = portal.get(f"{URL}1/?roll_back")
    assert "Nothing to roll back" in text_of(page)
    assert portal.post(f"{URL}1/", {"version": page.context["foreseen"].expected}).status_code == 409
    assert everything(deployed.project) == before


@pytest.mark.parametrize("version", [None, "", "x"])
def test_what_nobody_saw_is_not_rolled_back(version: str | None, portal: Client, deployed: Deployment) -> None:
    before = everything(deployed.project)
    response = portal.post(f"{URL}1/", {} if version is None else {"version": version})
    assert response.status_code == 409
    assert "Somebody changed settings while you looked. Nothing was rolled back." in text_of(response)
    assert everything(deployed.project) == before


def test_a_change_between_look_and_press_is_shown_first(portal: Client, project: Project, deployed: Deployment) -> None:
    version = portal.get(f"{URL}1/?roll_back").context["foreseen"].expected
    Project.objects.update(quarantine_days=3)
    before = everything(project)
    response = portal.post(f"{URL}1/", {"version": version})
    assert response.status_code == 409
    assert "project.retention.quarantine_days" in lines_of(response)
    assert everything(project) == before


@pytest.mark.parametrize("note", ["n" * 301, "a\0b"])
def test_a_note_that_does_not_fit_rolls_nothing_back(note: str, portal: Client, deployed: Deployment) -> None:
    before = everything(deployed.project)
    response = roll_back(portal, 1, note=note)
    assert response.status_code == 400
    assert 'href="#id_note"' in text_of(response)
    assert everything(deployed.project) == before


def test_a_viewer_looks_and_rolls_nothing_back(portal: Client, project: Project, deployed: Deployment) -> None:
    viewer, stranger = browser_of(project, "viewer"), browser_of(None, "stranger")
    before = everything(project)
    for url in (URL, f"{URL}1/", f"{URL}1/?roll_back"):
        page = viewer.get(url)
        assert page.status_code == 200
        assert "<button" not in text_of(page).split("<main")[1]
        assert stranger.get(url).status_code == 404
    assert 'href="?roll_back"' not in text_of(viewer.get(f"{URL}1/"))
    assert roll_back(viewer, 1).status_code == 403
    assert stranger.post(f"{URL}1/").status_code == 404
    assert everything(project) == before


# Applications that come and go


def test_an_application_of_since_goes_with_its_sessions_when_the_project_is_named(
    portal: Client, project: Project, application: Application, deployed: Deployment
) -> None:
    newer = make_application(project, "newer")
    for number in range(3):
        sign_in(newer, number)
    kept = sign_in(application, 9)
    page = text_of(portal.get(f"{URL}1/?roll_back"))
    assert "Application goes" in page
    assert "3 sessions go with it: those users are signed out." in page
    assert "Type guestbook to go on" in page

    before = everything(project)
    for typed in ({}, {"typed": ""}, {"typed": "newer"}, {"typed": "Guestbook"}):
        response = roll_back(portal, 1, **typed)
        assert response.status_code == 400
        assert "Type guestbook to go on." in text_of(response)
        assert everything(project) == before

    assert roll_back(portal, 1, typed=" guestbook ").status_code == 302
    assert [row.client_id for row in project.applications.all()] == ["web"]
    assert list(Session.objects.values_list("pk", flat=True)) == [kept.pk]
    assert ("application.deleted", "application:newer", {"name": "Newer", "type": "spa"}) in events(project)


def test_an_application_that_is_gone_comes_back_without_its_sessions(
    portal: Client, project: Project, application: Application, deployed: Deployment
) -> None:
    sign_in(application)
    application.delete()
    page = portal.get(f"{URL}1/?roll_back")
    assert "New application" in text_of(page)
    assert "The sessions it once had do not." in text_of(page)
    assert roll_back(portal, 1).status_code == 302
    row = project.applications.get()
    assert (row.client_id, row.name, row.sessions.count()) == ("web", "Web", 0)
    assert ("application.created", "application:web", {"name": "Web", "type": "spa"}) in events(project)


def test_too_many_sessions_are_not_ended_while_somebody_waits(
    portal: Client, project: Project, deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review, "SESSIONS_MOST", 1)
    newer = make_application(project, "newer")
    sign_in(newer, 0)
    assert "This state cannot come back" not in text_of(portal.get(f"{URL}1/?roll_back"))
    sign_in(newer, 1)
    before = everything(project)
    page = text_of(portal.get(f"{URL}1/?roll_back"))
    assert "newer would go, and has too many sessions to end them all at once. Delete it on its page." in page
    assert portal.post(f"{URL}1/", {"typed": "guestbook", "version": "x"}).status_code == 409
    assert everything(project) == before


def test_a_host_that_leads_elsewhere_now_stops_it(portal: Client, project: Project, deployed: Deployment) -> None:
    project.domains.all().delete()
    make_project("shop", "localhost")
    before = everything(project)
    page = text_of(portal.get(f"{URL}1/?roll_back"))
    assert "belongs to the project &quot;shop&quot;" in page
    assert roll_back(portal, 1).status_code == 409
    assert everything(project) == before


def test_the_state_of_another_project_is_not_restored_here(portal: Client, deployed: Deployment) -> None:
    make_project("shop", "shop.example.com")
    Deployment.objects.update(before=export_project("shop"))
    before = everything(deployed.project)
    assert "The project had another id then." in text_of(portal.get(f"{URL}1/?roll_back"))
    assert roll_back(portal, 1).status_code == 409
    assert everything(deployed.project) == before


# Beside a draft and the command line


def test_a_roll_back_leaves_the_draft_which_then_says_where_it_was_overtaken(
    portal: Client, project: Project, deployed: Deployment
) -> None:
    keep_session_lifetime(portal, 3600)
    page = portal.get(f"{URL}1/?roll_back")
    assert "The changes that wait for review stay in the draft." in text_of(page)
    assert roll_back(portal, 1).status_code == 302
    assert drafted(project) == {"project": {"session_lifetime": 3600}}
    assert portal.get("/portal/guestbook/review/").context["conflicts"] == 1


def test_the_documents_are_project_files(portal: Client, tmp_path: Any, capsys: Any, deployed: Deployment) -> None:
    path = tmp_path / "before.toml"
    path.write_text(deployed.before)
    call_command("anonusers_config", "apply", str(path), "--dry-run")
    assert capsys.readouterr().out == (
        "~ project.session.lifetime: 7200 -> 31449600\n"
        '~ applications["web"].name: "Shop" -> "Web"\n'
        "Dry run: nothing was changed.\n"
    )
