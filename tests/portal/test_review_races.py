"""Deployments and drafts, at the same moment, on a real PostgreSQL."""

from typing import Any

import pytest
from django.test import Client

from anonusers.applications import delete_application
from anonusers.models import Application, AuditEvent, Project
from anonusers.project_file import apply_project_file, export_project, parse_project_file
from portal import review
from portal.models import Deployment, Draft
from tests.conftest import make_application
from tests.portal.conftest import version_in
from tests.portal.reviewing import REVIEW, SESSION, browser_of, collect, drafted, keep_session_lifetime
from tests.test_races import at_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]


def entries(client: Client, seconds: int) -> dict[str, Any]:
    page = client.get(SESSION)
    form = page.context["form"]
    data = {field.html_name: field.value() for field in form if field.value() is not False}
    return {**data, "version": version_in(page), "session_lifetime": str(seconds)}


def test_eight_deploy_at_once_and_one_does(portal: Client, project: Project) -> None:
    collect(project)
    browsers = [browser_of(project, "editor", f"editor-{number}") for number in range(8)]
    for round_ in range(1, 4):
        keep_session_lifetime(portal, 3600 + round_)
        version = portal.get(REVIEW).context["version"]
        answers = at_once(
            8, lambda n, version=version: browsers[n].post(REVIEW, {"action": "deploy", "version": version})
        )
        assert sorted(answer.status_code for answer in answers) == [302] + [409] * 7
        assert Deployment.objects.count() == round_
        assert Project.objects.get().session_lifetime == 3600 + round_
    assert list(Deployment.objects.order_by("pk").values_list("number", flat=True)) == [1, 2, 3]
    assert AuditEvent.objects.filter(type="project.changed").count() == 3


def test_a_deployment_beside_a_draft_save_loses_neither(portal: Client, project: Project) -> None:
    collect(project)
    editor = browser_of(project, "editor")
    for round_ in range(6):
        base = Project.objects.get().session_lifetime
        keep_session_lifetime(portal, 4000 + round_)
        deployment = {"action": "deploy", "version": portal.get(REVIEW).context["version"]}
        save = entries(editor, 5000 + round_)
        posts = [lambda d=deployment: portal.post(REVIEW, d), lambda s=save: editor.post(SESSION, s)]
        answers = at_once(2, lambda n, posts=posts: posts[n]())
        outcome = tuple(answer.status_code for answer in answers)
        # One was first, and the other one was told.
        assert outcome in ((302, 409), (409, 302))
        stored, waits = Project.objects.get().session_lifetime, drafted(project)
        if outcome == (302, 409):
            assert (stored, waits) == (4000 + round_, {})
        else:
            assert (stored, waits) == (base, {"project": {"session_lifetime": 5000 + round_}})


def test_two_pages_keep_at_once_and_both_are_kept(portal: Client, project: Project) -> None:
    draft = collect(project)
    rows = [make_application(project, f"app-{number}") for number in range(6)]
    editor = browser_of(project, "editor")
    pages = [f"/portal/guestbook/applications/{row.pk}/" for row in rows]
    data = []
    for url in pages:
        page = editor.get(url)
        fields = {field.html_name: field.value() for field in page.context["form"] if field.value() is not False}
        data.append({**fields, "version": version_in(page), "name": "New"})
    answers = at_once(6, lambda n: editor.post(pages[n], data[n]))
    assert [answer.status_code for answer in answers] == [302] * 6
    assert drafted(project) == {f"application:app-{number}": {"name": "New"} for number in range(6)}
    assert draft.project_id == project.pk


def test_one_page_is_kept_by_one_of_two(portal: Client, project: Project) -> None:
    collect(project)
    editor = browser_of(project, "editor")
    sent = [entries(editor, 4000 + number) for number in range(4)]
    answers = at_once(4, lambda n: editor.post(SESSION, sent[n]))
    assert sorted(answer.status_code for answer in answers) == [302, 409, 409, 409]
    [winner] = [n for n, answer in enumerate(answers) if answer.status_code == 302]
    assert drafted(project) == {"project": {"session_lifetime": 4000 + winner}}


def test_turned_off_beside_a_draft_save_loses_nothing(portal: Client, project: Project) -> None:
    for round_ in range(4):
        Draft.objects.all().delete()
        collect(project)
        save = entries(portal, 4000 + round_)
        posts = [lambda: portal.post(REVIEW, {"action": "off"}), lambda s=save: portal.post(SESSION, s)]
        answers = at_once(2, lambda n, posts=posts: posts[n]())
        outcome = tuple(answer.status_code for answer in answers)
        assert outcome in ((302, 409), (409, 302))
        assert Draft.objects.exists() == (outcome == (409, 302))
        assert Project.objects.get().session_lifetime == 31_449_600


def test_a_deployment_beside_the_command_line_and_a_deletion_never_locks_up(
    portal: Client, project: Project, application: Application, operator: Any
) -> None:
    draft = collect(project)
    for round_ in range(5):
        row = make_application(project, f"app-{round_}")
        text = export_project("guestbook").replace(f'name = "App-{round_}"', 'name = "By the file"')
        draft.refresh_from_db()
        wanted = review.overlay(row, None)
        wanted.redirect_uris = ["https://a.example/"]
        review.keep(draft, row, wanted, ["redirect_uris"], author=operator)
        expected = review.version_of(draft)

        def deploy(expected: str = expected) -> str:
            try:
                review.deploy(project, author=operator, expected=expected)
            except review.StoredChanged:
                return "overtaken"
            return "deployed"

        calls = [
            deploy,
            lambda text=text: apply_project_file(parse_project_file(text.encode(), "x")),
            lambda row=row: delete_application(application=row, actor=operator),
        ]
        outcome = at_once(3, lambda n, calls=calls: calls[n]())[0]
        assert outcome in ("deployed", "overtaken")
        review.discard(Draft.objects.get(), author=operator)
    assert Deployment.objects.count() <= 5


def test_two_roll_backs_at_once_are_one(portal: Client, project: Project, operator: Any) -> None:
    collect(project)
    keep_session_lifetime(portal)
    portal.post(REVIEW, {"action": "deploy", "version": portal.get(REVIEW).context["version"]})
    url = "/portal/guestbook/deployments/1/"
    version = portal.get(f"{url}?roll_back").context["foreseen"].expected
    answers = at_once(4, lambda _: portal.post(url, {"version": version}))
    assert sorted(answer.status_code for answer in answers) == [302, 409, 409, 409]
    assert list(Deployment.objects.order_by("pk").values_list("number", "rolled_back_to")) == [(1, None), (2, 1)]
    assert Project.objects.get().session_lifetime == 31_449_600
