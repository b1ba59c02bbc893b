"""Review & deploy: what waits, put into effect, let go, and in conflict with what came past it."""

from contextlib import suppress
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import transaction
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anonusers.models import Application, Project
from anonusers.project_file import export_project
from portal import review
from portal.changes import Line, groups_of_draft, in_words, key_of, label_for
from portal.models import Deployment, Draft
from tests.conftest import make_application, make_project, state_of
from tests.portal.conftest import save
from tests.portal.reviewing import (
    REVIEW,
    act,
    browser_of,
    collect,
    deploy,
    drafted,
    events,
    everything,
    keep_session_lifetime,
    text_of,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def draft(project: Project) -> Draft:
    return collect(project)


def application_page(application: Application) -> str:
    return f"/portal/guestbook/applications/{application.pk}/"


def apply(capsys: Any, tmp_path: Any, *changes: tuple[str, str]) -> str:
    """What the command line does past the draft."""
    text = export_project("guestbook")
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = tmp_path / "guestbook.toml"
    path.write_text(text)
    call_command("anonusers_config", "apply", str(path))
    return str(capsys.readouterr().out)


# The page


def test_where_changes_are_saved_directly_the_page_says_so(portal: Client, project: Project) -> None:
    page = text_of(portal.get(REVIEW))
    assert "Changes are saved directly" in page
    assert 'value="on" class="button button--primary">Collect changes for review' in page
    assert "Nothing was deployed yet." in page
    for role in ("editor", "viewer"):
        page = text_of(browser_of(project, role).get(REVIEW))
        assert "An owner of the project can turn this on." in page
        assert 'value="on"' not in page


def test_the_review_shows_labels_words_and_the_keys_of_the_project_file(
    portal: Client, project: Project, application: Application, draft: Draft
) -> None:
    keep_session_lifetime(portal)
    save(portal, "/portal/guestbook/retention/", signup_per_ip="60/m", guest_inactive_days="30")
    save(portal, application_page(application), one_session_only="on", redirect_uris="https://a.example/\napp:/x")

    response = portal.get(REVIEW)
    [own, theirs] = response.context["groups"]
    assert (own.name, own.client_id, theirs.name, theirs.client_id) == ("Project", None, "Web", "web")
    assert {line.key: (line.label, line.old, line.new) for line in own.lines} == {
        "project.session.lifetime": (
            "Session lifetime",
            ["364 days (31,449,600 seconds)"],
            ["2 hours (7,200 seconds)"],
        ),
        "project.limits.signup_per_ip": (
            "New guests from one address",
            [in_words(Project, "signup_per_ip", "")[0]],
            ["60 a minute"],
        ),
        "project.retention.guest_inactive_days": ("Keep inactive guests for", ["90 days"], ["30 days"]),
    }
    assert {line.key: (line.label, line.old, line.new) for line in theirs.lines} == {
        "max_concurrent_sessions": ("One session only", ["Off"], ["On"]),
        "redirect_uris": (
            "Authorized redirect URIs",
            ["http://localhost:9000/after-login"],
            ["https://a.example/", "app:/x"],
        ),
    }
    page = text_of(response)
    assert "5 changes wait" in page
    assert "Deploy 5 changes</button>" in page
    assert "Last changed by olga," in page


@pytest.mark.parametrize(
    ("model", "column", "value", "words"),
    [
        (Project, "anonymous_users_enabled", True, ["On"]),
        (Project, "promotion_conflict", "login", ["Proceed to Login"]),
        (Project, "session_persistent_cookie", False, ["End the session"]),
        (Project, "removals_percent", 5, ["5 %"]),
        (Project, "removals_per_run", 5000, ["5,000 guests"]),
        (Project, "signup_per_ip", "off", ["No limit"]),
        (Project, "unlimited_networks", [], ["None"]),
        (Project, "login_ids", ["email", "username"], ["E-mail address", "User name"]),
        (Project, "domains", ["a.example", "b.example"], ["a.example", "b.example"]),
        (Project, "name", "", ["Empty"]),
        (Project, "name", "<b>", ["<b>"]),
        (Application, "type", "spa", ["Public Client"]),
        (Application, "type", "", ["Unspecified (Legacy)"]),
        (Application, "framework", "nextjs", ["Next.js"]),
        (Application, "framework", "", ["Not said"]),
        (Application, "id_token_signed_response_alg", "ES256", ["ES256"]),
        (Application, "max_concurrent_sessions", 1, ["On"]),
        (Application, "a_column_of_before", 7, ["7"]),
    ],
)
def test_values_are_said_as_their_forms_say_them(model: Any, column: str, value: Any, words: list[str]) -> None:
    assert in_words(model, column, value) == words


def test_what_no_form_has_goes_by_its_own_name() -> None:
    assert label_for(Project, "domains") == "Hosts"
    assert label_for(Project, "application_origins") == "Application origins"
    assert label_for(Project, "a_column_of_before") == "a_column_of_before"
    assert key_of("project", "a_column_of_before") == "a_column_of_before"


@pytest.mark.parametrize(
    ("old", "new", "removed", "added", "unchanged"),
    [
        (["a", "b"], ["a", "b", "c"], [], ["c"], 2),
        (["a", "b"], ["b", "c"], ["a"], ["c"], 1),
        (["a", "b"], ["b", "a"], ["a", "b"], ["b", "a"], 0),  # the order
        (["a", "b"], ["c", "b", "a"], ["a", "b"], ["c", "b", "a"], 0),
        (["None"], ["a"], ["None"], ["a"], 0),
        ([], ["a"], [], ["a"], 0),
        (["a"], [], ["a"], [], 0),
        (["60 a minute"], ["60 a minute"], ["60 a minute"], ["60 a minute"], 0),  # the same words for another value
    ],
)
def test_of_a_list_what_comes_and_goes_is_shown(
    old: list[str], new: list[str], removed: list[str], added: list[str], unchanged: int
) -> None:
    line = Line(target="project", column="c", label="L", key="a.b", old=old, new=new)
    assert (line.removed, line.added, line.unchanged) == (removed, added, unchanged)


def test_names_are_escaped(portal: Client, project: Project, application: Application, draft: Draft) -> None:
    save(portal, application_page(application), name="<script>alert(1)</script>")
    page = portal.get(REVIEW).content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_the_review_takes_few_statements_however_many_changes(
    portal: Client, project: Project, draft: Draft, django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        row = make_application(project, f"app-{number}")
        review.keep(draft, row, _with(row, name=f"New {number}"), ["name"], author=portal_user())
    for number in range(10):
        Deployment.objects.create(project=project, number=number + 1)
    portal.get(REVIEW)
    with django_assert_max_num_queries(14):
        assert "30 changes wait" in text_of(portal.get(REVIEW))


def portal_user() -> Any:
    return get_user_model().objects.get(username="olga")


def _with(row: Any, **values: Any) -> Any:
    wanted = review.overlay(row, None)
    for column, value in values.items():
        setattr(wanted, column, value)
    return wanted


# On and off


def test_an_owner_turns_it_on_and_off(portal: Client, project: Project) -> None:
    owner = browser_of(project, "owner")
    assert act(owner, "on").status_code == 302
    assert Draft.objects.get().changes == {}
    assert "No changes wait" in text_of(owner.get(REVIEW))
    assert act(owner, "on").status_code == 302  # twice is once
    assert act(owner, "off").status_code == 302
    assert act(owner, "off").status_code == 302
    assert not Draft.objects.exists()
    assert [event[0] for event in events(project)] == ["review.enabled", "review.disabled"]


def test_it_cannot_be_turned_off_while_changes_wait(portal: Client, project: Project, draft: Draft) -> None:
    keep_session_lifetime(portal)
    before = everything(project)
    assert 'value="off"' not in text_of(portal.get(REVIEW))
    response = portal.post(REVIEW, {"action": "off"})
    assert response.status_code == 409
    assert "Deploy or discard them first, then turn this off." in text_of(response)
    assert everything(project) == before
    act(portal, "discard_all", confirmed="yes")
    assert act(portal, "off").status_code == 302


@pytest.mark.parametrize("action", ["on", "off", "deploy", "discard", "discard_all", "rebase"])
def test_who_may_do_what(action: str, portal: Client, project: Project, draft: Draft) -> None:
    keep_session_lifetime(portal)
    viewer, editor, stranger = (browser_of(project, "viewer"), browser_of(project, "editor"), browser_of(None, "other"))
    before = everything(project)
    data = {"target": "project", "column": "session_lifetime", "confirmed": "yes"}
    assert viewer.get(REVIEW).status_code == 200
    assert act(viewer, action, **data).status_code == 403
    version = portal.get(REVIEW).context["version"]
    assert stranger.post(REVIEW, {"action": action, "version": version, **data}).status_code == 404
    assert stranger.get(REVIEW).status_code == 404
    assert everything(project) == before
    allowed = act(editor, action, **data).status_code
    assert allowed == (403 if action in ("on", "off") else 302)
    if action in ("on", "off"):
        assert everything(project) == before


def test_a_viewer_sees_no_button(portal: Client, project: Project, draft: Draft) -> None:
    keep_session_lifetime(portal)
    page = text_of(browser_of(project, "viewer").get(REVIEW)).split("<main")[1]
    assert "Session lifetime" in page
    assert "<button" not in page


@pytest.mark.parametrize("action", ["", "publish", "get"])
def test_an_unknown_deed_is_refused(action: str, portal: Client, project: Project, draft: Draft) -> None:
    keep_session_lifetime(portal)
    before = everything(project)
    assert portal.post(REVIEW, {"action": action}).status_code == 400
    assert everything(project) == before


# Deploying


def test_rows_of_both_kinds_go_together(
    portal: Client, project: Project, application: Application, draft: Draft
) -> None:
    keep_session_lifetime(portal)
    save(portal, application_page(application), redirect_uris="https://shop.example/back")
    before = export_project("guestbook")
    done = deploy(browser_of(project, "editor"))
    assert (done.author, done.before, done.after) == ("editor", before, export_project("guestbook"))
    project.refresh_from_db()
    application.refresh_from_db()
    assert (project.session_lifetime, application.redirect_uris) == (7200, ["https://shop.example/back"])
    assert project.application_origins == ["https://shop.example"]  # what follows from it is there, too


def test_deployments_are_numbered_in_each_project(portal: Client, project: Project, draft: Draft) -> None:
    other = make_project("shop", "shop.example.com")
    Deployment.objects.create(project=other, number=7)
    for number, seconds in ((1, 7200), (2, 3600)):
        keep_session_lifetime(portal, seconds)
        assert deploy(portal).number == number


def test_a_note_that_is_too_long_deploys_nothing(portal: Client, project: Project, draft: Draft) -> None:
    keep_session_lifetime(portal)
    before = everything(project)
    for note in ("n" * 301, "a\0b"):
        response = act(portal, "deploy", note=note)
        assert response.status_code == 400
        assert 'href="#id_note"' in text_of(response)
        assert everything(project) == before
    assert act(portal, "deploy", note="n" * 300).status_code == 302


@pytest.mark.parametrize("version", ["", "x", "~", None])
def test_without_the_version_that_was_looked_at_nothing_is_deployed(
    version: str | None, portal: Client, project: Project, draft: Draft
) -> None:
    keep_session_lifetime(portal)
    before = everything(project)
    data = {"action": "deploy"} | ({} if version is None else {"version": version})
    response = portal.post(REVIEW, data)
    assert response.status_code == 409
    assert "The draft is not the one you looked at" in text_of(response)
    assert everything(project) == before


def test_what_somebody_drafted_meanwhile_is_not_deployed_unseen(portal: Client, project: Project, draft: Draft) -> None:
    keep_session_lifetime(portal)
    version = portal.get(REVIEW).context["version"]
    save(browser_of(project, "editor"), "/portal/guestbook/anonymous-users/", anonymous_users_enabled=None)
    before = everything(project)
    response = portal.post(REVIEW, {"action": "deploy", "version": version})
    assert response.status_code == 409
    assert "2 changes wait" in text_of(response)
    assert everything(project) == before


def test_deploying_twice_deploys_once(portal: Client, project: Project, draft: Draft) -> None:
    keep_session_lifetime(portal)
    version = portal.get(REVIEW).context["version"]
    assert portal.post(REVIEW, {"action": "deploy", "version": version}).status_code == 302
    before = everything(project)
    assert portal.post(REVIEW, {"action": "deploy", "version": version}).status_code == 409
    assert everything(project) == before


@pytest.mark.parametrize("collecting", [True, False])
def test_nothing_is_nothing_to_deploy(collecting: bool, portal: Client, project: Project) -> None:
    version = review.version_of(collect(project)) if collecting else "x"
    before = everything(project)
    assert portal.post(REVIEW, {"action": "deploy", "version": version}).status_code == 409
    assert everything(project) == before


def test_what_does_not_fit_together_any_more_is_not_deployed(
    portal: Client, project: Project, application: Application, draft: Draft, capsys: Any, tmp_path: Any
) -> None:
    save(portal, application_page(application), refresh_token_lifetime="1800")
    apply(capsys, tmp_path, ("access_token_lifetime = 1800", "access_token_lifetime = 3600"))
    before = everything(project)
    page = portal.get(REVIEW)
    assert page.context["problems"] == [
        "Web: Refresh token lifetime: "
        "The refresh token lifetime must be greater than or equal to the access token lifetime."
    ]
    assert 'value="deploy"' not in text_of(page)
    assert act(portal, "deploy").status_code == 409
    assert everything(project) == before


def test_rules_that_join_two_pages_hold_for_the_whole(
    portal: Client, project: Project, draft: Draft, capsys: Any, tmp_path: Any
) -> None:
    url = "/portal/guestbook/login/"
    assert save(portal, url, verify=["email"]).status_code == 302
    apply(capsys, tmp_path, ('    "email",\n', ""))
    before = everything(project)
    page = portal.get(REVIEW)
    assert page.context["problems"] == ['project.sign_in.verify: "email" is not in login_ids.']
    assert act(portal, "deploy").status_code == 409
    assert everything(project) == before


def test_a_value_that_no_form_would_take_is_not_deployed(portal: Client, project: Project, draft: Draft) -> None:
    draft.changes = {"project": {"session_lifetime": {"old": 31_449_600, "new": 1}}}
    draft.save()
    before = everything(project)
    assert act(portal, "deploy").status_code == 409
    assert everything(project) == before


def test_when_writing_fails_nothing_is_written(
    portal: Client, project: Project, application: Application, draft: Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_session_lifetime(portal)
    save(portal, application_page(application), name="Shop")
    before = everything(project)
    version = portal.get(REVIEW).context["version"]

    def broken(*args: Any, **facts: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(review, "record", broken)
    with pytest.raises(RuntimeError):
        portal.post(REVIEW, {"action": "deploy", "version": version})
    assert everything(project) == before


# Discarding


def test_one_change_one_application_or_all_is_discarded(
    portal: Client, project: Project, application: Application, draft: Draft
) -> None:
    keep_session_lifetime(portal)
    save(portal, "/portal/guestbook/anonymous-users/", anonymous_users_enabled=None)
    save(portal, application_page(application), name="Shop", access_token_lifetime="600")
    rows = state_of(project, application)

    assert act(portal, "discard", target="project", column="session_lifetime").status_code == 302
    assert drafted(project) == {
        "project": {"anonymous_users_enabled": False},
        "application:web": {"name": "Shop", "access_token_lifetime": 600},
    }
    assert events(project)[-1] == ("draft.discarded", "project", {"session_lifetime": [7200, 31_449_600]})
    assert act(portal, "discard", target="application:web").status_code == 302
    assert drafted(project) == {"project": {"anonymous_users_enabled": False}}
    assert "2 changes were discarded." in text_of(portal.get(REVIEW))

    before = everything(project)
    page = act(portal, "discard_all")
    assert page.status_code == 200
    assert "Discard 1 change?" in text_of(page)
    assert everything(project) == before
    assert act(portal, "discard_all", confirmed="yes").status_code == 302
    assert drafted(project) == {}
    assert state_of(project, application) == rows


@pytest.mark.parametrize(
    "data",
    [
        {"action": "discard"},
        {"action": "discard", "target": ""},
        {"action": "discard", "target": "project", "version": "x"},
        {"action": "discard_all", "confirmed": "yes"},
        {"action": "discard_all", "confirmed": "yes", "version": "x"},
        {"action": "rebase", "version": "x"},
    ],
)
def test_a_wrong_request_discards_nothing(data: dict[str, str], portal: Client, project: Project, draft: Draft) -> None:
    keep_session_lifetime(portal)
    before = everything(project)
    assert portal.post(REVIEW, data).status_code in (400, 409)
    assert everything(project) == before


@pytest.mark.parametrize(("target", "column"), [("project", "slug"), ("application:gone", ""), ("x", "y")])
def test_what_is_not_there_is_not_discarded(
    target: str, column: str, portal: Client, project: Project, draft: Draft
) -> None:
    keep_session_lifetime(portal)
    before = everything(project)
    assert act(portal, "discard", target=target, column=column).status_code == 302
    assert everything(project) == before
    assert "There was nothing to discard." in text_of(portal.get(REVIEW))


# Past the draft


@pytest.fixture
def conflict(
    portal: Client, project: Project, application: Application, draft: Draft, capsys: Any, tmp_path: Any
) -> None:
    """The lifetime is drafted and then set by the command line; another draft is in nobody's way."""
    keep_session_lifetime(portal)
    save(portal, application_page(application), name="Shop")
    said = apply(
        capsys, tmp_path, ("lifetime = 31449600\nidle_timeout_enabled", "lifetime = 86400\nidle_timeout_enabled")
    )
    assert said == "~ project.session.lifetime: 31449600 -> 86400\n"


@pytest.mark.usefixtures("conflict")
def test_a_value_that_was_changed_past_the_draft_stops_the_deployment(portal: Client, project: Project) -> None:
    before = everything(project)
    page = portal.get(REVIEW)
    [line] = [line for group in page.context["groups"] for line in group.lines if line.conflicts]
    assert (line.label, line.old, line.new, line.drafted_from) == (
        "Session lifetime",
        ["1 day (86,400 seconds)"],
        ["2 hours (7,200 seconds)"],
        ["364 days (31,449,600 seconds)"],
    )
    assert 'value="deploy"' not in text_of(page)
    response = act(portal, "deploy")
    assert response.status_code == 409
    assert "1 value was changed past this draft, so it cannot be deployed as it is." in text_of(response)
    assert "<li>Session lifetime</li>" in text_of(response)
    assert "The draft is not the one you looked at" not in text_of(response)
    assert everything(project) == before


@pytest.mark.usefixtures("conflict")
def test_a_conflict_ends_with_the_stored_value_as_the_new_base(portal: Client, project: Project) -> None:
    assert act(portal, "rebase").status_code == 302
    assert Draft.objects.get().changes == {
        "project": {"session_lifetime": {"old": 86_400, "new": 7200}},
        "application:web": {"name": {"old": "Web", "new": "Shop"}},
    }
    assert state_of(project)[0]["session_lifetime"] == 86_400
    deploy(portal)
    assert state_of(project)[0]["session_lifetime"] == 7200


@pytest.mark.usefixtures("conflict")
def test_a_conflict_ends_with_dropping_the_drafted_value(portal: Client, project: Project) -> None:
    assert act(portal, "discard", target="project", column="session_lifetime").status_code == 302
    deploy(portal)
    [now] = state_of(project)
    assert now["session_lifetime"] == 86_400
    assert project.applications.get().name == "Shop"


@pytest.mark.usefixtures("conflict")
def test_no_base_is_taken_that_nobody_saw(portal: Client, project: Project) -> None:
    version = portal.get(REVIEW).context["version"]
    Project.objects.update(session_lifetime=60)
    before = everything(project)
    assert portal.post(REVIEW, {"action": "rebase", "version": version}).status_code == 409
    assert everything(project) == before


def test_a_value_that_is_in_effect_already_leaves_with_the_new_base(
    portal: Client, project: Project, draft: Draft
) -> None:
    keep_session_lifetime(portal)
    Project.objects.update(session_lifetime=7200)
    assert "In the draft" not in text_of(portal.get("/portal/guestbook/session/"))
    assert act(portal, "deploy").status_code == 409
    assert act(portal, "rebase").status_code == 302
    assert drafted(project) == {}


def test_keeping_another_field_of_the_page_does_not_hide_the_conflict(
    portal: Client, project: Project, draft: Draft
) -> None:
    keep_session_lifetime(portal)
    Project.objects.update(session_lifetime=86_400)
    save(portal, "/portal/guestbook/session/", session_idle_timeout="3600")
    assert Draft.objects.get().changes["project"]["session_lifetime"] == {"old": 31_449_600, "new": 7200}
    assert act(portal, "deploy").status_code == 409


def test_the_changes_of_an_application_that_is_gone_are_dropped(
    portal: Client, project: Project, application: Application, draft: Draft
) -> None:
    save(portal, application_page(application), name="Shop")
    keep_session_lifetime(portal)
    application.delete()
    page = portal.get(REVIEW)
    assert "The application that this is about is not there any more." in text_of(page)
    assert act(portal, "deploy").status_code == 409
    assert act(portal, "rebase").status_code == 302
    assert drafted(project) == {"project": {"session_lifetime": 7200}}


def test_a_column_that_this_version_does_not_know_is_a_conflict(project: Project, draft: Draft) -> None:
    draft.changes = {"project": {"colour": {"old": "red", "new": "blue"}}}
    [one] = review.list_waiting(draft, review.rows_of(project, draft))
    assert (one.gone, one.conflicts) == (True, True)
    [group] = groups_of_draft([one], {"project": project})
    assert [(line.label, line.old, line.new) for line in group.lines] == [("colour", [], ["blue"])]


def test_a_draft_is_written_over_the_state_that_was_read_only(project: Project, draft: Draft, operator: Any) -> None:
    stale = Draft.objects.get()
    review.keep(draft, project, _with(project, session_lifetime=60), ["session_lifetime"], author=operator)
    for write in (
        lambda: review.keep(stale, project, _with(project, name="X"), ["name"], author=operator),
        lambda: review.rebase(stale, [], author=operator),
    ):
        with pytest.raises(review.DraftChanged):
            write()
    assert drafted(project) == {"project": {"session_lifetime": 60}}


# Any story ends as a plain model says

COLUMNS: dict[tuple[str, str], list[Any]] = {
    ("project", "session_lifetime"): [31_449_600, 60, 3600],
    ("project", "anonymous_users_enabled"): [True, False],
    ("application:web", "name"): ["Web", "Shop"],
    ("application:web", "redirect_uris"): [["http://localhost:9000/after-login"], [], ["https://a.example/", "a:/"]],
}
values = st.sampled_from([(key, value) for key, found in COLUMNS.items() for value in found])
steps = st.one_of(
    st.tuples(st.just("keep"), values),
    st.tuples(st.just("keep"), values),
    st.tuples(st.just("past"), values),
    st.tuples(st.just("discard"), st.sampled_from(list(COLUMNS))),
    st.tuples(st.just("deploy"), st.none()),
    st.tuples(st.just("deploy"), st.none()),
    st.tuples(st.just("rebase"), st.none()),
    st.tuples(st.just("roll_back"), st.integers(1, 4)),
)


class Model:
    """What should be: stored values, a draft of (old, new), and the states before each deployment."""

    def __init__(self) -> None:
        self.stored = {key: found[0] for key, found in COLUMNS.items()}
        self.draft: dict[Any, tuple[Any, Any]] = {}
        self.before: list[dict[Any, Any]] = []

    def keep(self, step: Any) -> None:
        key, value = step
        if value == self.stored[key]:
            self.draft.pop(key, None)
        elif key not in self.draft or self.draft[key][1] != value:
            self.draft[key] = (self.stored[key], value)

    def past(self, step: Any) -> None:
        self.stored[step[0]] = step[1]

    def discard(self, key: Any) -> None:
        self.draft.pop(key, None)

    def deploy(self, _none: None) -> None:
        if self.draft and all(self.stored[key] == old for key, (old, _new) in self.draft.items()):
            self.before.append(dict(self.stored))
            self.stored |= {key: new for key, (_old, new) in self.draft.items()}
            self.draft = {}

    def rebase(self, _none: None) -> None:
        pairs = {key: (self.stored[key], new) for key, (_old, new) in self.draft.items()}
        self.draft = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}

    def roll_back(self, number: int) -> None:
        if number <= len(self.before) and self.before[number - 1] != self.stored:
            self.before.append(dict(self.stored))
            self.stored = dict(self.before[number - 1])


class Real:
    """The same steps on the rows."""

    def __init__(self, project: Project, author: Any) -> None:
        self.project, self.author = project, author

    def row(self, target: str) -> Any:
        if target == "project":
            return Project.objects.get(pk=self.project.pk)
        return self.project.applications.get(client_id="web")

    def keep(self, step: Any) -> None:
        (target, column), value = step
        row, draft = self.row(target), Draft.objects.get()
        wanted = review.overlay(row, draft)
        setattr(wanted, column, value)
        review.keep(draft, row, wanted, [column], author=self.author)

    def past(self, step: Any) -> None:
        (target, column), value = step
        row = self.row(target)
        setattr(row, column, value)
        row.save()

    def discard(self, key: Any) -> None:
        review.discard(Draft.objects.get(), target=key[0], column=key[1], author=self.author)

    def deploy(self, _none: None) -> None:
        with suppress(review.NothingToDo, review.StoredChanged):
            review.deploy(self.project, author=self.author, expected=review.version_of(Draft.objects.get()))

    def rebase(self, _none: None) -> None:
        draft = Draft.objects.get()
        review.rebase(draft, review.list_waiting(draft, review.rows_of(self.project, draft)), author=self.author)

    def roll_back(self, number: int) -> None:
        deployment = Deployment.objects.filter(number=number).first()
        if deployment is None:
            return
        foreseen = review.foresee(self.project, deployment)
        with suppress(review.NothingToDo):
            review.roll_back(self.project, number, author=self.author, expected=foreseen.expected)


@settings(
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(story=st.lists(steps, min_size=4, max_size=14))
def test_any_story_ends_as_a_plain_model_says(
    story: list[Any], project: Project, application: Application, operator: Any
) -> None:
    with transaction.atomic():
        Draft.objects.create(project=project)
        model, real = Model(), Real(Project.objects.get(pk=project.pk), operator)
        for name, step in story:
            getattr(model, name)(step)
            getattr(real, name)(step)
        assert {key: getattr(real.row(key[0]), key[1]) for key in COLUMNS} == model.stored
        changes = Draft.objects.get().changes
        assert {
            (target, column): (one["old"], one["new"]) for target in changes for column, one in changes[target].items()
        } == model.draft
        assert Deployment.objects.count() == len(model.before)
        transaction.set_rollback(True)
