"""Where a request comes from: what may ride on the cookie, and which pages may read an answer."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from tests.conftest import APP_ORIGIN, ORIGIN, make_application, make_project, row_counts, state_of
from tests.protocols.rest.conftest import COOKIE, LOGOUT, SESSIONS, SIGNUP, USERINFO, Api, is_problem, session_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LISTED = "https://app.example.com"
EVIL = "https://evil.example"

# (Sec-Fetch-Site, Origin) → whether the request may ride on the cookie
ORIGINS = {
    (None, None): True,  # no browser: it has no cookie of somebody else
    (None, ORIGIN): True,
    (None, APP_ORIGIN): True,  # of a redirect URI
    (None, LISTED): True,
    (None, EVIL): False,
    (None, "null"): False,
    (None, ""): False,
    ("same-origin", None): True,
    ("same-origin", ORIGIN): True,
    ("none", None): True,  # typed by the user
    ("same-site", None): False,
    ("same-site", ORIGIN): True,
    ("same-site", APP_ORIGIN): True,
    ("same-site", "http://localhost:9001"): False,
    ("cross-site", None): False,
    ("cross-site", "null"): False,
    ("cross-site", EVIL): False,
    ("cross-site", LISTED): True,
    ("cross-site", APP_ORIGIN): True,
    ("cross-site", f"{LISTED}.evil.example"): False,
    ("cross-site", "http://app.example.com"): False,
    ("cross-site", f"{LISTED}:8443"): False,
    ("cross-site", "https://xapp.example.com"): False,
    ("bogus", None): False,
    ("", None): False,
}
TRUSTED = [pair for pair, trusted in ORIGINS.items() if trusted]
UNTRUSTED = [pair for pair, trusted in ORIGINS.items() if not trusted]


def headers(pair):
    names = ("Sec-Fetch-Site", "Origin")
    return {name: value for name, value in zip(names, pair, strict=True) if value is not None}


@pytest.fixture(autouse=True)
def _listed(project):
    project.allowed_origins = [LISTED]
    project.save()


@pytest.fixture
def session(cookie_guest):
    return session_of(cookie_guest)


@pytest.mark.parametrize("pair", TRUSTED, ids=str)
def test_from_here_a_page_may_use_the_cookie(api, session, pair):
    again = api.sign_up(kind="cookie", headers=headers(pair))
    assert (again.status_code, again.json()["sub"]) == (200, str(session.end_user_id))
    assert api.call("POST", LOGOUT, {}, headers=headers(pair)).status_code == 204
    assert api.sign_up(kind="cookie", headers=headers(pair)).status_code == 201


@pytest.mark.parametrize("pair", UNTRUSTED, ids=str)
def test_from_here_no_page_may_use_the_cookie(api, session, pair):
    before, row = row_counts(), state_of(session)
    # A minute later a use of the session would be noted: not by these.
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=2), tick=False):
        for response in (
            api.sign_up(kind="cookie", headers=headers(pair)),
            api.call("POST", LOGOUT, {}, headers=headers(pair)),
            api.call("POST", LOGOUT, None, headers=headers(pair)),
            api.call("DELETE", f"{SESSIONS}{session.pk}/", headers=headers(pair)),
        ):
            assert is_problem(response, 403, "untrusted_origin")
            assert not response.cookies
    assert (row_counts(), state_of(session)) == (before, row)


@pytest.mark.parametrize("pair", UNTRUSTED, ids=str)
def test_from_here_no_page_makes_its_visitor_a_guest_by_cookie(api, application, pair):
    before = row_counts()
    response = api.sign_up(kind="cookie", headers=headers(pair))
    assert is_problem(response, 403, "untrusted_origin")
    assert not response.cookies
    assert row_counts() == before


def test_a_token_does_not_depend_on_the_origin(api, guest):
    evil = {"Sec-Fetch-Site": "cross-site", "Origin": EVIL}
    assert api.sign_up(bearer=guest["access_token"], headers=evil).status_code == 200
    assert api.call("POST", LOGOUT, {}, bearer=guest["access_token"], headers=evil).status_code == 204


def test_reading_does_not_depend_on_the_origin_but_the_page_cannot_see_it(api, session):
    response = api.userinfo(headers={"Sec-Fetch-Site": "cross-site", "Origin": EVIL})
    assert response.status_code == 200
    assert "Access-Control-Allow-Origin" not in response.headers


def test_a_worthless_bearer_token_does_not_lift_the_rule(api, session):
    row = state_of(session)
    response = api.call("POST", LOGOUT, {}, bearer="x", headers={"Sec-Fetch-Site": "cross-site"})
    assert is_problem(response, 403, "untrusted_origin")
    assert state_of(session) == row


def test_the_origins_of_another_project_count_for_nothing_here(api, session):
    make_project("second", "second.localhost", allowed_origins=["https://second.example"])
    row = state_of(session)
    response = api.call("POST", LOGOUT, {}, headers={"Origin": "https://second.example"})
    assert is_problem(response, 403, "untrusted_origin")
    assert state_of(session) == row


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_form_of_another_site_cannot_pose_as_json(api, session, content_type):
    row = state_of(session)
    for path, body in ((SIGNUP, {"client_id": "web", "kind": "cookie"}), (LOGOUT, {})):
        response = api.call("POST", path, body, content_type=content_type)
        assert is_problem(response, 415, "content_type_refused")
    assert state_of(session) == row


# --- CORS -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [APP_ORIGIN, LISTED, ORIGIN])
@pytest.mark.parametrize("status", [200, 401])
def test_a_page_of_the_project_may_read_answers_also_errors(api, guest, origin, status):
    token = guest["access_token"] if status == 200 else "x"
    response = api.userinfo(bearer=token, headers={"Origin": origin})
    assert response.status_code == status
    assert response.headers["Access-Control-Allow-Origin"] == origin
    assert response.headers["Access-Control-Allow-Credentials"] == "true"
    assert response.headers["Access-Control-Expose-Headers"] == "Retry-After, WWW-Authenticate"
    assert "Origin" in response.headers["Vary"]


@pytest.mark.parametrize(
    "origin",
    [
        EVIL,
        "null",
        f"{LISTED}.evil.example",
        f"{LISTED}:8443",
        "http://app.example.com",
        "https://APP.example.com",
        "*",
    ],
)
def test_a_page_of_elsewhere_may_not(api, guest, origin):
    for method in ("GET", "OPTIONS"):
        response = api.call(method, USERINFO, bearer=guest["access_token"], headers={"Origin": origin})
        assert not [name for name in response.headers if name.startswith("Access-Control-")]
        assert "Origin" in response.headers["Vary"]


def test_without_an_origin_caches_are_told_all_the_same(api, guest):
    response = api.userinfo(bearer=guest["access_token"])
    assert "Origin" in response.headers["Vary"]
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("path", [SIGNUP, USERINFO, SESSIONS, LOGOUT])
def test_a_preflight_is_answered_and_changes_nothing(api, cookie_guest, path):
    before, row = row_counts(), state_of(session_of(cookie_guest))
    response = api.call(
        "OPTIONS",
        path,
        headers={
            "Origin": LISTED,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
        },
    )
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Access-Control-Allow-Origin"] == LISTED
    assert response.headers["Access-Control-Allow-Methods"] == "POST"
    assert response.headers["Access-Control-Allow-Headers"] == "authorization,content-type,idempotency-key"
    assert response.headers["Access-Control-Max-Age"] == "900"
    assert (row_counts(), state_of(session_of(cookie_guest))) == (before, row)
    assert COOKIE not in response.cookies


def test_a_page_of_the_project_at_another_origin_can_sign_its_visitor_up(application):
    response = Api().sign_up(headers={"Origin": LISTED, "Sec-Fetch-Site": "cross-site"})
    assert response.status_code == 201
    assert response.headers["Access-Control-Allow-Origin"] == LISTED


def test_a_rate_limited_page_can_read_how_long_to_wait(application, settings):
    settings.ANONUSERS_SIGNUP_PER_IP = "1/m"
    answers = [Api().sign_up(headers={"Origin": LISTED}) for _ in range(2)]
    assert is_problem(answers[1], 429, "rate_limited")
    assert answers[1].headers["Access-Control-Allow-Origin"] == LISTED
    assert "Retry-After" in answers[1].headers["Access-Control-Expose-Headers"]


def test_origins_follow_from_applications_at_once(api, guest, project):
    def allowed():
        response = api.userinfo(bearer=guest["access_token"], headers={"Origin": "https://new.example"})
        return "Access-Control-Allow-Origin" in response.headers

    assert not allowed()
    application = make_application(project, "new", redirect_uris=["https://new.example/after"])
    assert allowed()
    application.delete()
    assert not allowed()
