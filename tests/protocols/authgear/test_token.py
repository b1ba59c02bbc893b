"""POST /oauth2/token: the refresh grant with our rotation, and the errors of the endpoint."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from anonusers.keys import rotate_keys
from anonusers.models import Application, Project, Session
from tests.conftest import make_application
from tests.protocols.authgear.steps import (
    ENDINGS,
    FULL_ACCESS,
    JSON,
    NO_SUCH_TOKEN,
    SLEEPS,
    TOKEN,
    Ending,
    ask_for_tokens,
    assert_never_cached,
    assert_oauth_error,
    bearer,
    configure,
    delete_application,
    get_cookie,
    get_tokens,
    nothing_changes,
    only_session,
    post_form,
    refresh,
    refreshed,
    sub_of,
    userinfo,
)
from tests.protocols.authgear.test_signup_refresh_token import GARBAGE, change_secret

pytestmark = [pytest.mark.django_db, pytest.mark.database]

START = "2026-01-01T00:00:00Z"


def without_rotation(application: Application) -> None:
    configure(application, refresh_token_rotation_enabled=False)


# --- the answer -----------------------------------------------------------------------------------


@pytest.mark.spec("authgear.md", "1.6")
def test_a_refresh_gives_new_tokens_and_an_id_token(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    response = refresh(browser, tokens["refresh_token"])
    assert response.status_code == 200
    assert response.headers["Content-Type"] == JSON
    assert_never_cached(response)
    assert response.headers["Pragma"] == "no-cache"
    assert not response.cookies
    new = response.json()
    assert set(new) == {"token_type", "access_token", "expires_in", "refresh_token", "id_token"}
    assert new["token_type"] == "Bearer"
    assert (new["expires_in"], type(new["expires_in"])) == (1800, int)
    assert new["refresh_token"] != tokens["refresh_token"]
    assert new["access_token"] != tokens["access_token"]
    assert sub_of(browser, new["access_token"]) == sub_of(browser, tokens["access_token"])
    assert Session.objects.count() == 1


def test_without_rotation_the_token_stays_and_is_not_repeated(application: Application, browser: Client) -> None:
    without_rotation(application)
    tokens = get_tokens(browser)
    with nothing_changes():
        for _ in range(3):
            new = refreshed(browser, tokens["refresh_token"])
            assert set(new) == {"token_type", "access_token", "expires_in", "id_token"}
    assert sub_of(browser, new["access_token"]) == sub_of(browser, tokens["access_token"])


def test_an_earlier_access_token_lives_until_it_expires(application: Application, browser: Client) -> None:
    with time_machine.travel(START, tick=False) as clock:
        tokens = get_tokens(browser)
        refreshed(browser, tokens["refresh_token"])
        clock.shift(1799)
        assert userinfo(browser, tokens["access_token"]).status_code == 200
        clock.shift(1)
        assert userinfo(browser, tokens["access_token"]).status_code == 401


@pytest.mark.spec("authgear.md", "1.6")
def test_unknown_fields_are_ignored(application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    more = {
        "x_device_info": "e30",
        "device_secret": "",
        "access_token": tokens["access_token"],
        "audience": "https://other.example",
        "sub": "00000000-0000-0000-0000-000000000000",
        "is_anonymous": "false",
    }
    assert refreshed(browser, tokens["refresh_token"], **more)["access_token"]


@pytest.mark.spec("RFC 6749", "6")
@pytest.mark.parametrize("scope", ["", "openid", f"{FULL_ACCESS} openid", "openid  offline_access"])
def test_a_narrower_scope_may_be_asked(application: Application, browser: Client, scope: str) -> None:
    assert refreshed(browser, get_tokens(browser)["refresh_token"], scope=scope)["access_token"]


@pytest.mark.spec("RFC 6749", "6")
@pytest.mark.parametrize("scope", ["admin", "openid admin", f"openid offline_access {FULL_ACCESS} email"])
def test_a_wider_scope_is_refused(application: Application, browser: Client, scope: str) -> None:
    tokens = get_tokens(browser)
    with nothing_changes():
        assert_oauth_error(refresh(browser, tokens["refresh_token"], scope=scope), 400, "invalid_scope")
    assert refresh(browser, tokens["refresh_token"]).status_code == 200


# --- rotation -------------------------------------------------------------------------------------


@pytest.mark.spec("RFC 9700", "4.14.2")
def test_every_refresh_rotates_within_the_same_session(application: Application, browser: Client) -> None:
    seen = [get_tokens(browser)["refresh_token"]]
    for _ in range(5):
        seen.append(refreshed(browser, seen[-1])["refresh_token"])
    assert len(set(seen)) == 6
    assert len({token.split(".")[0] for token in seen}) == 1
    assert Session.objects.count() == 1


@pytest.mark.parametrize("seconds", [0, 1, 29])
def test_the_direct_parent_gets_the_same_successor_for_30_seconds(
    application: Application, browser: Client, seconds: int
) -> None:
    with time_machine.travel(START, tick=False) as clock:
        parent = get_tokens(browser)["refresh_token"]
        clock.shift(300)
        child = refreshed(browser, parent)["refresh_token"]
        clock.shift(seconds)
        for _ in range(3):
            assert refreshed(browser, parent)["refresh_token"] == child
        grandchild = refreshed(browser, child)["refresh_token"]
        assert grandchild not in (parent, child)
        assert refresh(browser, grandchild).status_code == 200


def test_the_grace_is_not_prolonged_by_its_use(application: Application, browser: Client) -> None:
    with time_machine.travel(START, tick=False) as clock:
        parent = get_tokens(browser)["refresh_token"]
        refreshed(browser, parent)
        clock.shift(20)
        refreshed(browser, parent)
        clock.shift(20)
        assert_oauth_error(refresh(browser, parent), *NO_SUCH_TOKEN)


@pytest.mark.parametrize("seconds", [31, 3600, 86_400])
def test_the_direct_parent_after_its_grace_ends_the_session(
    application: Application, browser: Client, seconds: int
) -> None:
    with time_machine.travel(START, tick=False) as clock:
        parent = get_tokens(browser)["refresh_token"]
        child = refreshed(browser, parent)
        clock.shift(seconds)
        assert_oauth_error(refresh(browser, parent), *NO_SUCH_TOKEN)
        assert only_session().ended_at == timezone.now()
        assert_oauth_error(refresh(browser, child["refresh_token"]), *NO_SUCH_TOKEN)
        assert userinfo(browser, child["access_token"]).status_code == 401


@pytest.mark.parametrize("generations", [2, 3, 7])
def test_an_older_token_ends_the_session_even_at_once(
    application: Application, browser: Client, generations: int
) -> None:
    first = get_tokens(browser)
    latest = first
    for _ in range(generations):
        latest = refreshed(browser, latest["refresh_token"])
    assert_oauth_error(refresh(browser, first["refresh_token"]), *NO_SUCH_TOKEN)
    assert only_session().ended_at is not None
    with nothing_changes():
        assert_oauth_error(refresh(browser, latest["refresh_token"]), *NO_SUCH_TOKEN)
        for tokens in (first, latest):
            assert userinfo(browser, tokens["access_token"]).status_code == 401


def test_nobody_elses_session_ends_with_it(application: Application, browser: Client) -> None:
    other = get_tokens(browser)
    first = get_tokens(browser)["refresh_token"]
    refreshed(browser, refreshed(browser, first)["refresh_token"])
    assert refresh(browser, first).status_code == 400
    assert userinfo(browser, other["access_token"]).status_code == 200
    assert refresh(browser, other["refresh_token"]).status_code == 200


def test_a_forged_older_token_ends_nothing(application: Application, browser: Client) -> None:
    first = get_tokens(browser)["refresh_token"]
    latest = refreshed(browser, refreshed(browser, first)["refresh_token"])
    with nothing_changes():
        assert_oauth_error(refresh(browser, change_secret(first)), *NO_SUCH_TOKEN)
    assert refresh(browser, latest["refresh_token"]).status_code == 200


def test_a_new_server_key_does_not_break_the_grace(application: Application, browser: Client) -> None:
    parent = get_tokens(browser)["refresh_token"]
    child = refreshed(browser, parent)["refresh_token"]
    rotate_keys(application.project, algorithms=("HS256",))
    assert refreshed(browser, parent)["refresh_token"] == child
    assert refresh(browser, child).status_code == 200


def test_rotation_switched_on_later_rotates_the_next_time(application: Application, browser: Client) -> None:
    without_rotation(application)
    token = get_tokens(browser)["refresh_token"]
    refreshed(browser, token)
    configure(application, refresh_token_rotation_enabled=True)
    assert refreshed(browser, token)["refresh_token"] != token


def test_rotation_switched_off_keeps_the_latest_token(application: Application, browser: Client) -> None:
    child = refreshed(browser, get_tokens(browser)["refresh_token"])["refresh_token"]
    without_rotation(application)
    assert "refresh_token" not in refreshed(browser, child)
    assert "refresh_token" not in refreshed(browser, child)


def test_only_the_latest_secret_leads_to_the_row(application: Application, browser: Client) -> None:
    from anonusers.tokens import secret_hash

    token = refreshed(browser, get_tokens(browser)["refresh_token"])["refresh_token"]
    session = only_session()
    assert session.refresh_hash == secret_hash(token)
    assert token not in repr(Session.objects.values())


# --- use and life ---------------------------------------------------------------------------------


def test_a_refresh_restarts_the_idle_time_and_not_the_lifetime(application: Application, browser: Client) -> None:
    with time_machine.travel(START, tick=False) as clock:
        token = get_tokens(browser)["refresh_token"]
        born = only_session().created_at
        clock.shift(timedelta(days=20))
        token = refreshed(browser, token)["refresh_token"]
        clock.shift(timedelta(days=20))
        assert refresh(browser, token).status_code == 200
        session = only_session()
        assert (session.created_at, session.last_used_at) == (born, timezone.now())


def test_an_access_token_never_outlives_its_session(application: Application, browser: Client) -> None:
    configure(application, refresh_token_lifetime=2000, access_token_lifetime=1800)
    with time_machine.travel(START, tick=False) as clock:
        token = get_tokens(browser)["refresh_token"]
        clock.shift(1000)
        assert refreshed(browser, token)["expires_in"] == 1000


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_the_token_of_a_dead_session_is_refused(application: Application, browser: Client, ending: Ending) -> None:
    tokens = get_tokens(browser)
    ending(only_session())
    with nothing_changes():
        assert_oauth_error(refresh(browser, tokens["refresh_token"]), *NO_SUCH_TOKEN)


@pytest.mark.parametrize(("sleep", "wake"), SLEEPS.values(), ids=SLEEPS)
def test_a_disabled_user_sleeps_and_wakes_with_the_same_token(
    application: Application, browser: Client, sleep: Ending, wake: Ending
) -> None:
    tokens = get_tokens(browser)
    session = only_session()
    sleep(session)
    with nothing_changes():
        assert_oauth_error(refresh(browser, tokens["refresh_token"]), *NO_SUCH_TOKEN)
        assert userinfo(browser, tokens["access_token"]).status_code == 401
    wake(session)
    assert sub_of(browser, tokens["access_token"]) == str(session.end_user_id)
    assert refresh(browser, tokens["refresh_token"]).status_code == 200


@pytest.mark.parametrize("spoil", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_refused_and_harms_nobody(
    application: Application, browser: Client, spoil: Callable[[str], str]
) -> None:
    tokens = get_tokens(browser)
    with nothing_changes():
        assert_oauth_error(refresh(browser, spoil(tokens["refresh_token"])), *NO_SUCH_TOKEN)
    assert refresh(browser, tokens["refresh_token"]).status_code == 200


def test_other_tokens_do_not_refresh(application: Application, browser: Client, stranger: Client) -> None:
    tokens = refreshed(browser, get_tokens(browser)["refresh_token"])
    cookie = get_cookie(stranger)
    with nothing_changes():
        for wrong in (tokens["access_token"], tokens["id_token"], cookie):
            assert_oauth_error(refresh(browser, wrong), *NO_SUCH_TOKEN)
    assert userinfo(stranger).status_code == 200


@pytest.mark.spec("RFC 6749", "5.2")
def test_the_token_of_another_client_is_refused_and_stays_good(
    application: Application, project: Project, browser: Client
) -> None:
    make_application(project, "other")
    tokens = get_tokens(browser)
    with nothing_changes():
        assert_oauth_error(refresh(browser, tokens["refresh_token"], client_id="other"), *NO_SUCH_TOKEN)
    assert refresh(browser, tokens["refresh_token"]).status_code == 200


def test_another_client_with_an_old_token_ends_nothing(
    application: Application, project: Project, browser: Client
) -> None:
    make_application(project, "other")
    first = get_tokens(browser)["refresh_token"]
    latest = refreshed(browser, refreshed(browser, first)["refresh_token"])
    with nothing_changes():
        assert_oauth_error(refresh(browser, first, client_id="other"), *NO_SUCH_TOKEN)
    assert refresh(browser, latest["refresh_token"]).status_code == 200


@pytest.mark.parametrize("client_id", ["nobody", "", "WEB", "☃", "x" * 5000])
@pytest.mark.parametrize("live", [True, False], ids=["live token", "garbage"])
def test_an_unknown_client_is_told_so(application: Application, browser: Client, client_id: str, live: bool) -> None:
    token = get_tokens(browser)["refresh_token"] if live else "garbage"
    with nothing_changes():
        assert_oauth_error(refresh(browser, token, client_id=client_id), 400, "invalid_client", "invalid client ID")


def test_a_missing_client_id_is_told_so(application: Application, browser: Client) -> None:
    fields = {"grant_type": "refresh_token", "refresh_token": get_tokens(browser)["refresh_token"]}
    with nothing_changes():
        assert_oauth_error(post_form(browser, TOKEN, fields), 400, "invalid_client", "invalid client ID")


CLIENT_TYPES = {
    "confidential": ("invalid_client", "client secret is required"),
    "third_party_app": ("invalid_client", "client secret is required"),
    "m2m": ("unauthorized_client", "grant type is not allowed for this client"),
}


@pytest.mark.spec("authgear.md", "1.6")
@pytest.mark.parametrize(("kind", "words"), CLIENT_TYPES.items(), ids=CLIENT_TYPES)
def test_a_client_that_is_not_public_cannot_refresh_by_its_name_alone(
    project: Project, browser: Client, kind: str, words: tuple[str, str]
) -> None:
    make_application(project, type=kind)
    with nothing_changes():
        assert_oauth_error(refresh(browser, "garbage"), 400, *words)


@pytest.mark.parametrize(("kind", "words"), CLIENT_TYPES.items(), ids=CLIENT_TYPES)
def test_a_live_token_does_not_help_once_the_type_changed(
    application: Application, browser: Client, kind: str, words: tuple[str, str]
) -> None:
    tokens = get_tokens(browser)
    configure(application, type=kind)
    with nothing_changes():
        assert_oauth_error(refresh(browser, tokens["refresh_token"]), 400, *words)
    configure(application, type="spa")
    assert refresh(browser, tokens["refresh_token"]).status_code == 200


@pytest.mark.spec("authgear.md", "1.6")
@pytest.mark.parametrize("secret", ["wrong", "☃"])
def test_a_wrong_client_secret_is_told_so(confidential: Application, browser: Client, secret: str) -> None:
    with nothing_changes():
        response = refresh(browser, "garbage", client_id="server", client_secret=secret)
    assert_oauth_error(response, 400, "invalid_client", "invalid client secret")


@pytest.mark.parametrize("fields", [{}, {"refresh_token": ""}], ids=["missing", "empty"])
def test_a_missing_refresh_token_is_told_so(application: Application, browser: Client, fields: dict[str, str]) -> None:
    with nothing_changes():
        response = post_form(browser, TOKEN, {"grant_type": "refresh_token", "client_id": "web"} | fields)
    assert_oauth_error(response, 400, "invalid_request", "refresh token is required")


@pytest.mark.spec("RFC 9700", "2.4")
@pytest.mark.parametrize(
    "grant",
    ["password", "client_credentials", "implicit", "REFRESH_TOKEN", "refresh_token ", "☃", "x" * 1000]
    + ["urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:device_code"],
)
def test_other_grants_do_not_exist(application: Application, browser: Client, grant: str) -> None:
    fields = {"grant_type": grant, "client_id": "web", "username": "guest", "password": "", "refresh_token": "x"}
    with nothing_changes():
        response = post_form(browser, TOKEN, fields)
    assert_oauth_error(response, 400, "unsupported_grant_type", "grant type is not supported")


@pytest.mark.spec("RFC 6749", "5.2")
@pytest.mark.parametrize("body", ["", "client_id=web", "grant_type=", "grant_type=&client_id=web"])
def test_a_missing_grant_type_is_an_invalid_request(application: Application, browser: Client, body: str) -> None:
    with nothing_changes():
        assert_oauth_error(post_form(browser, TOKEN, body), 400, "invalid_request")


def test_a_deleted_application_takes_its_sessions_along(project: Project, browser: Client) -> None:
    make_application(project, "other")
    make_application(project)
    tokens = get_tokens(browser)
    delete_application(only_session())
    with nothing_changes():
        response = refresh(browser, tokens["refresh_token"])
        assert_oauth_error(response, 400, "invalid_client", "invalid client ID")
        assert_oauth_error(refresh(browser, tokens["refresh_token"], client_id="other"), *NO_SUCH_TOKEN)
        assert userinfo(browser, tokens["access_token"]).status_code == 401


def test_a_bearer_header_makes_no_difference(application: Application, browser: Client) -> None:
    """The SDK's fetch() may attach one to any request."""
    token = get_tokens(browser)["refresh_token"]
    fields = {"grant_type": "refresh_token", "client_id": "web", "refresh_token": token}
    assert post_form(browser, TOKEN, fields, **bearer("garbage")).status_code == 200


def test_after_the_refusal_a_new_guest_can_be_made(application: Application, browser: Client) -> None:
    """What an SDK does: invalid_grant, forget everything, sign up."""
    tokens = get_tokens(browser)
    ENDINGS["revoked"](only_session())
    assert_oauth_error(refresh(browser, tokens["refresh_token"]), *NO_SUCH_TOKEN)
    assert ask_for_tokens(browser).status_code == 200


# --- lifetimes, from the settings of the moment ---------------------------------------------------


@pytest.fixture
def clock() -> Any:
    with time_machine.travel(datetime.fromisoformat(START), tick=False) as traveller:
        yield traveller


@pytest.mark.spec("authgear.md", "5.3")
@pytest.mark.parametrize(("second", "status"), [(3599, 200), (3600, 400)])
def test_the_lifetime_ends_to_the_second(
    clock: Any, application: Application, browser: Client, second: int, status: int
) -> None:
    configure(application, refresh_token_lifetime=3600, refresh_token_idle_timeout_enabled=False)
    token = get_tokens(browser)["refresh_token"]
    clock.shift(second)
    assert refresh(browser, token).status_code == status


@pytest.mark.spec("authgear.md", "5.3")
@pytest.mark.parametrize(("second", "status"), [(599, 200), (600, 400)])
def test_the_idle_time_ends_to_the_second(
    clock: Any, application: Application, browser: Client, second: int, status: int
) -> None:
    configure(application, refresh_token_idle_timeout=600)
    token = refreshed(browser, get_tokens(browser)["refresh_token"])["refresh_token"]
    clock.shift(500)
    token = refreshed(browser, token)["refresh_token"]
    clock.shift(second)
    assert refresh(browser, token).status_code == status


@pytest.mark.spec("authgear.md", "5.3")
def test_idling_ends_nothing_where_it_is_switched_off(clock: Any, application: Application, browser: Client) -> None:
    configure(application, refresh_token_idle_timeout=60, refresh_token_idle_timeout_enabled=False)
    token = get_tokens(browser)["refresh_token"]
    clock.shift(timedelta(days=300))
    assert refresh(browser, token).status_code == 200


@pytest.mark.spec("authgear.md", "5.3")
def test_userinfo_and_the_resolver_keep_a_session_awake(clock: Any, application: Application, browser: Client) -> None:
    configure(application, refresh_token_idle_timeout=600)
    tokens = get_tokens(browser)
    for path in ("/oauth2/userinfo", "/_resolver/resolve", "/oauth2/userinfo"):
        clock.shift(400)
        assert browser.get(path, **bearer(tokens["access_token"])).status_code == 200
    clock.shift(400)
    assert refresh(browser, tokens["refresh_token"]).status_code == 200


@pytest.mark.spec("authgear.md", "5.3")
@pytest.mark.parametrize("name", ["refresh_token_lifetime", "refresh_token_idle_timeout"])
def test_a_shorter_setting_ends_sessions_at_once_and_a_longer_one_revives_them(
    clock: Any, application: Application, browser: Client, name: str
) -> None:
    tokens = get_tokens(browser)
    clock.shift(1500)
    before = getattr(application, name)
    configure(application, access_token_lifetime=300, **{name: 600})
    with nothing_changes():
        assert_oauth_error(refresh(browser, tokens["refresh_token"]), *NO_SUCH_TOKEN)
        assert userinfo(browser, tokens["access_token"]).status_code == 401
    configure(application, **{name: before})
    assert refresh(browser, tokens["refresh_token"]).status_code == 200


def test_the_last_use_is_written_once_a_minute(clock: Any, application: Application, browser: Client) -> None:
    tokens = get_tokens(browser)
    clock.shift(59)
    with nothing_changes():
        assert userinfo(browser, tokens["access_token"]).status_code == 200
    clock.shift(1)
    assert userinfo(browser, tokens["access_token"]).status_code == 200
    assert only_session().last_used_at == timezone.now()
