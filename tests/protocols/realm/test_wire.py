"""What breaks whom (§12.2), the recorded exchange (§12.4), other doors' tokens, and a database that is away."""

import base64
import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.test import Client

from anonusers import events, people
from anonusers.models import EndUser, RealmApp, RealmIdentity, Session
from anonusers.realm_users import derived_id, provider_id, realm_app_of, realm_user_of
from tests.conftest import HOST, row_counts
from tests.people import new_guest, regular_user
from tests.protocols.realm.conftest import (
    API_KEYS,
    APP,
    DELETE,
    DEVICE,
    EMAIL,
    FUNCTION,
    LOCATION,
    LOGIN,
    OBJECT_ID,
    OF_APP,
    PASSWORD,
    PROFILE,
    SESSION,
    USERPASS,
    Realm,
    claims_of,
    refused,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]


# --- the deviation matrix: each row is what at least one SDK cannot do without --------------------


def linked_answer(guest: Realm) -> Any:
    guest.register()
    return guest.link()


def test_204_has_no_content_type(guest):
    guest.register()
    guest.keep(guest.link())
    key = guest.post(API_KEYS, {"name": "x"}, bearer=guest.refresh_token).json()["_id"]
    calls = [
        ("PUT", f"{API_KEYS}/{key}/disable", guest.refresh_token),
        ("PUT", f"{API_KEYS}/{key}/enable", guest.refresh_token),
        ("DELETE", f"{API_KEYS}/{key}", guest.refresh_token),
        ("DELETE", SESSION, guest.refresh_token),
    ]
    for method, path, token in calls:
        response = guest.client.generic(method, path, b"", headers={"authorization": f"Bearer {token}"})
        assert (response.status_code, response.content) == (204, b"")
        assert "Content-Type" not in response.headers
    guest.log_in()
    response = guest.client.delete(DELETE, headers={"authorization": f"Bearer {guest.access_token}"})
    assert (response.status_code, "Content-Type" in response.headers) == (204, False)


def test_errors_and_successes_have_the_bare_content_type(guest):
    answers = [guest.profile(), guest.ask("GET", PROFILE, bearer="x"), guest.refresh(), guest.register("x", "x")]
    answers += [guest.ask("GET", f"{OF_APP}/nothing"), guest.ask("PUT", PROFILE), guest.post(LOGIN, raw=b"{")]
    assert {answer.headers["Content-Type"] for answer in answers} == {"application/json"}


def test_device_id_user_id_and_refresh_token_are_there_and_of_the_right_form(realm):
    answer = realm.post(LOGIN, {"options": {"device": DEVICE}}).json()
    assert OBJECT_ID.fullmatch(answer["device_id"])
    assert answer["device_id"] != "0" * 24
    assert OBJECT_ID.fullmatch(answer["user_id"])
    assert answer["refresh_token"].count(".") == answer["access_token"].count(".") == 2


def test_a_link_answers_without_a_refresh_token(guest):
    assert set(linked_answer(guest).json()) == {"access_token", "user_id", "device_id"}


def test_a_session_answers_201_and_without_another_key(guest):
    response = guest.refresh()
    assert (response.status_code, set(response.json())) == (201, {"access_token"})


def test_a_registration_answers_201_with_an_object(realm):
    response = realm.register()
    assert (response.status_code, response.content, response.headers["Content-Type"]) == (
        201,
        b"{}",
        "application/json",
    )


def test_a_location_has_both_hosts_without_a_slash(realm):
    answer = realm.ask("GET", LOCATION).json()
    assert answer["hostname"].startswith("http")
    assert answer["ws_hostname"].startswith("ws")
    assert not answer["hostname"].endswith("/")


def test_a_profile_has_type_data_identities_user_id_and_domain_id(guest):
    assert set(guest.profile().json()) == {"user_id", "domain_id", "type", "data", "identities"}
    assert guest.profile().json()["type"] == "normal"


def test_an_access_token_can_be_read_and_has_an_object_of_user_data(guest):
    guest.refresh()
    for token in (guest.access_token, linked_answer(guest).json()["access_token"]):
        claims = claims_of(token)
        assert type(claims["exp"]) is type(claims["iat"]) is int
        assert claims["user_data"] == {}


def test_errors_have_no_link_and_no_null(guest):
    assert set(guest.ask("GET", PROFILE, bearer="x").json()) == {"error", "error_code"}


def test_a_failed_link_is_never_401(guest, by_mail):
    other = Realm()
    for email, password in ((EMAIL, PASSWORD), ("x", "y"), ("", "")):
        assert guest.link(email, password).status_code == 400
    by_mail.project.realm_auto_confirm = True
    by_mail.project.save()
    other.register()
    other.password_login()
    assert guest.link().status_code == 409
    guest.register("second@example.com")
    by_mail.project.realm_auto_confirm = False
    by_mail.project.save()
    assert guest.link("second@example.com", "wrong horse 1").status_code == 400


def test_a_disabled_user_is_403_on_refresh(guest, django_user_model):
    django_user_model.objects.update(is_active=False)
    assert guest.refresh().status_code == 403


# --- the recorded exchange ------------------------------------------------------------------------


def test_the_recorded_exchange_of_realm_web(realm):
    """Request for request what realm-web 2.0.1 sends, with the answers that were recorded."""
    assert realm.ask("GET", LOCATION).json()["hostname"] == f"http://{HOST}"
    realm.log_in()
    first, user_id = realm.access_token, realm.user_id
    assert [one["provider_type"] for one in realm.profile().json()["identities"]] == ["anon-user"]
    assert (realm.refresh().status_code, realm.profile().status_code) == (201, 200)
    head, body, _ = first.split(".")
    assert refused(realm.ask("GET", PROFILE, bearer=f"{head}.{body}.{'A' * 86}")) == (
        401,
        "InvalidSession",
        "signature is invalid",
    )
    assert (realm.refresh().status_code, realm.profile().status_code) == (201, 200)
    registered = realm.register("g@example.com", PASSWORD, bearer=realm.access_token)
    assert (registered.status_code, registered.json()) == (201, {})
    body = {
        "username": "g@example.com",
        "password": PASSWORD,
        "options": {"device": DEVICE | {"deviceId": {"$oid": realm.device_id}}},
    }
    linked = realm.post(f"{USERPASS}/login?link=true", body, bearer=realm.access_token).json()
    assert (linked["user_id"], linked["device_id"]) == (user_id, realm.device_id)
    profile = realm.ask("GET", PROFILE, bearer=linked["access_token"]).json()
    assert [one["provider_type"] for one in profile["identities"]] == ["anon-user", "local-userpass"]
    assert profile["data"] == {"email": "g@example.com"}
    assert realm.log_out().status_code == 204
    gone = (401, "InvalidSession", "invalid session: failed to find refresh token")
    assert refused(realm.refresh()) == gone
    realm.keep(realm.password_login("g@example.com"))
    assert realm.user_id == user_id
    assert realm.ask("DELETE", DELETE, bearer=realm.access_token).status_code == 204
    assert refused(realm.log_out()) == gone


# --- tokens of other doors ------------------------------------------------------------------------


def native(path: str, *, token: str = "", body: Any = None, method: str = "POST") -> Any:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    data = b"" if body is None else json.dumps(body).encode()
    return Client(HTTP_HOST=HOST).generic(method, path, data, "application/json", headers=headers)


def test_a_token_of_this_door_opens_no_other(guest, app):
    before = Session.objects.values().get()
    for token in (guest.access_token, guest.refresh_token):
        assert native("/oauth2/userinfo", token=token, method="GET").status_code == 401
        assert native("/api/v1/userinfo/", token=token, method="GET").status_code == 401
        assert native("/api/v1/logout/", token=token, body={}).status_code == 401
        body = {"client_id": APP, "refresh_token": token}
        assert native("/api/v1/refresh/", body=body).status_code in (400, 401)  # too long, or no token of that kind
        form = f"grant_type=refresh_token&client_id={APP}&refresh_token={token}"
        client = Client(HTTP_HOST=HOST)
        answer = client.post("/oauth2/token", form, "application/x-www-form-urlencoded")
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        client.post("/oauth2/revoke", f"token={token}", "application/x-www-form-urlencoded")
    assert Session.objects.values().get() == before
    assert guest.refresh().status_code == 201


def test_the_secret_in_a_refresh_token_is_no_refresh_token_of_another_door(guest):
    """Whoever reads `sid` and `jti` cannot put together what the other doors take."""
    claims = claims_of(guest.refresh_token)
    session_id = base64.urlsafe_b64encode(uuid.UUID(claims["sid"]).bytes).rstrip(b"=").decode()
    for generation in ("0", "1"):
        token = f"{session_id}.{generation}.{claims['jti']}"
        assert native("/api/v1/refresh/", body={"client_id": APP, "refresh_token": token}).status_code == 401
    assert guest.refresh().status_code == 201


def test_a_token_of_another_door_opens_nothing_here(realm, app):
    tokens = native("/api/v1/signup/", body={"client_id": APP, "kind": "token"}).json()
    for token in (tokens["access_token"], tokens["refresh_token"]):
        assert refused(realm.ask("GET", PROFILE, bearer=token))[:2] == (401, "InvalidSession")
        assert refused(realm.ask("POST", SESSION, bearer=token))[:2] == (401, "InvalidSession")
        assert refused(realm.ask("DELETE", SESSION, bearer=token))[:2] == (401, "InvalidSession")
        assert refused(realm.ask("DELETE", DELETE, bearer=token))[:2] == (401, "InvalidSession")
    assert native("/api/v1/userinfo/", token=tokens["access_token"], method="GET").status_code == 200
    assert (EndUser.objects.count(), Session.objects.filter(ended_at=None).count()) == (1, 1)


# --- one core -------------------------------------------------------------------------------------


def test_a_guest_of_this_door_is_one_of_the_house(app, django_capture_on_commit_callbacks):
    heard: list[Any] = []

    def listen(event: Any, **kwargs: Any) -> None:
        heard.append((event.type, str(event.end_user.pk)))

    for signal in (events.user_created, events.user_anonymous_promoted, events.user_authenticated):
        signal.connect(listen)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            realm = Realm().log_in()
            realm.register()
            realm.keep(realm.link())
            Realm().password_login()
    finally:
        for signal in (events.user_created, events.user_anonymous_promoted, events.user_authenticated):
            signal.disconnect(listen)
    sub = str(EndUser.objects.get().pk)
    assert heard == [
        ("user.created", sub),
        ("user.anonymous.promoted", sub),
        ("user.authenticated", sub),
    ]


def test_ids_are_made_when_first_asked_for_and_stay(app):
    guest, user = new_guest(app), regular_user(app, EMAIL)
    for end_user in (guest, user):
        first = realm_user_of(EndUser.objects.get(pk=end_user.pk)).object_id
        assert realm_user_of(EndUser.objects.get(pk=end_user.pk)).object_id == first
    assert RealmIdentity.objects.get().end_user == guest
    ids = realm_app_of(type(app.project).objects.get())
    again = realm_app_of(type(app.project).objects.get())
    assert (ids.domain_id, provider_id(ids, "anon-user")) == (again.domain_id, provider_id(again, "anon-user"))


def test_imported_ids_are_kept_and_those_that_were_not_imported_follow_from_them(app, guest):
    RealmApp.objects.update(domain_id="a" * 24, provider_ids={"anon-user": "b" * 24})
    profile = guest.profile().json()
    assert profile["domain_id"] == "a" * 24
    assert profile["identities"][0]["provider_id"] == "b" * 24
    row = RealmApp.objects.get()
    assert provider_id(row, "local-userpass") == derived_id(row.object_id, "local-userpass")


def test_guests_of_this_door_are_in_the_list_of_people(guest, app):
    [listed] = people.everybody(app.project, filters=people.Filters())
    assert (listed.end_user.pk, listed.end_user.is_guest) == (EndUser.objects.get().pk, True)


# --- faults ---------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Realm], Any]] = {
    "location": lambda realm: realm.ask("GET", LOCATION),
    "log in": lambda realm: realm.post(LOGIN),
    "log in by GET": lambda realm: realm.ask("GET", LOGIN),
    "profile": lambda realm: realm.profile(),
    "refresh": lambda realm: realm.ask("POST", SESSION, bearer=realm.refresh_token),
    "log out": lambda realm: realm.log_out(),
    "delete": lambda realm: realm.ask("DELETE", DELETE, bearer=realm.access_token),
    "register": lambda realm: realm.register("new@example.com"),
    "confirm": lambda realm: realm.post(f"{USERPASS}/confirm", {"token": "A" * 32, "tokenId": "0" * 24}),
    "password login": lambda realm: realm.password_login(),
    "link": lambda realm: realm.link(),
    "function": lambda realm: realm.post(FUNCTION, {"name": "x"}, bearer=realm.access_token),
    "API keys": lambda realm: realm.ask("GET", API_KEYS, bearer=realm.refresh_token),
    "api-key": lambda realm: realm.post(f"{OF_APP}/auth/providers/api-key/login", {"key": "x"}),
}


@pytest.mark.parametrize(
    "error", [OperationalError("gone"), InterfaceError("closed")], ids=["operational", "interface"]
)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_database_that_is_away_is_503_and_no_verdict_on_the_guest(guest, call, error):
    def fail(*args: Any) -> Any:
        raise error

    before = row_counts()
    with connection.execute_wrapper(fail):
        response = call(guest)
    assert refused(response)[:2] == (503, "InternalServerError")
    assert int(response.headers["Retry-After"]) >= 1
    assert row_counts() == before
    assert guest.profile().status_code == 200
    assert guest.refresh().status_code == 201


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_unexpected_is_500_without_details(guest, call):
    def fail(*args: Any) -> Any:
        raise RuntimeError("/etc/secret")

    with connection.execute_wrapper(fail):
        response = call(guest)
    assert refused(response) == (500, "InternalServerError", "internal server error")
    assert guest.refresh().status_code == 201


def test_where_nobody_declared_what_hangs_on_users_a_deletion_fails_and_the_operator_reads_why(guest, caplog, settings):
    settings.ANONUSERS_GUEST_DATA = {}
    response = guest.ask("DELETE", DELETE, bearer=guest.access_token)
    assert refused(response) == (500, "InternalServerError", "internal server error")
    assert "CleanupRefused" in caplog.text
    assert guest.refresh().status_code == 201


def test_hosts_that_are_not_ours_are_told_in_this_dialect():
    response = Client(HTTP_HOST="evil.example").get(LOCATION)
    assert (response.status_code, response.headers["Content-Type"]) == (400, "application/json")
    assert re.fullmatch(r"[A-Za-z]+", response.json()["error_code"])
