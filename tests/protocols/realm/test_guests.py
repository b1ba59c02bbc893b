"""Location, anonymous log-in, profile, session: §1 to §4 of the contract."""

import base64
import json
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from anonusers.cleanup import clean_up
from anonusers.models import (
    AnonymousIdentity,
    Application,
    EmailRegistration,
    EndUser,
    Project,
    RealmApp,
    RealmIdentity,
    RealmUser,
    Session,
)
from anonusers.tokens import new_refresh_token
from tests.conftest import HOST, row_counts
from tests.protocols.realm.conftest import (
    APP,
    CORS,
    DELETE,
    DEVICE,
    FUNCTION,
    LOCATION,
    LOGIN,
    OBJECT_ID,
    OF_APP,
    PREFIX,
    PROFILE,
    SESSION,
    USERPASS,
    Realm,
    claims_of,
    forged,
    make_app,
    refused,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NO_SESSION = (401, "InvalidSession", "invalid session: failed to find refresh token")


# --- where the server is --------------------------------------------------------------------------


def test_the_location_is_an_origin_without_path_and_slash(realm):
    response = realm.ask("GET", LOCATION)
    assert response.status_code == 200
    assert response.json() == {
        "deployment_model": "GLOBAL",
        "location": "US-VA",
        "hostname": f"http://{HOST}",
        "ws_hostname": f"ws://{HOST}",
    }


def test_behind_a_proxy_the_location_is_what_the_operator_says(realm, settings):
    settings.ANONUSERS_ISSUER = "https://auth.example.org"
    answer = realm.ask("GET", LOCATION).json()
    assert (answer["hostname"], answer["ws_hostname"]) == ("https://auth.example.org", "wss://auth.example.org")


@pytest.mark.parametrize("app_id", ["no-such-app-zzzzz", "MYAPP-ABCDE", "x" * 300, "a%00b"])
def test_an_unknown_app_is_told_as_such(realm, app_id):
    for method, path in (("GET", "location"), ("POST", "auth/providers/anon-user/login")):
        status, code, text = refused(realm.ask(method, f"{PREFIX}/app/{app_id}/{path}"))
        assert (status, code) == (404, "AppNotFound")
        assert text.startswith("cannot find app using Client App ID '")
    assert EndUser.objects.count() == 0


def test_a_project_that_was_closed_is_no_app(realm, app):
    Project.objects.update(deleted_at=timezone.now())
    assert refused(realm.ask("GET", LOCATION))[:2] == (404, "AppNotFound")


def test_a_session_of_a_project_without_an_app_id_is_not_thrown_away(guest):
    Project.objects.update(realm_app_id=None)
    assert refused(guest.profile())[:2] == (404, "AppNotFound")
    assert refused(guest.refresh())[:2] == (404, "AppNotFound")
    Project.objects.update(realm_app_id=APP)
    assert guest.refresh().status_code == 201


PREFLIGHTS = [
    LOCATION,
    LOGIN,
    PROFILE,
    SESSION,
    DELETE,
    FUNCTION,
    f"{USERPASS}/register",
    f"{USERPASS}/login?link=true",
]
PREFLIGHTS += [f"{PREFIX}/auth/api_keys", f"{PREFIX}/nothing", "/api/client/", f"{PREFIX}/app/unknown/location"]


@pytest.mark.parametrize("path", PREFLIGHTS)
def test_a_preflight_needs_nothing_and_names_the_headers(realm, path, django_assert_num_queries):
    headers = {"origin": "https://shop.example", "access-control-request-method": "POST"}
    with django_assert_num_queries(0):
        response = realm.ask("OPTIONS", path, headers=headers)
    assert response.status_code == 204
    assert {name: response.headers[name] for name in CORS} == CORS
    assert response.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert "Origin" in response.headers["Vary"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/client/", 404),
        ("GET", f"{PREFIX}/auth/", 404),
        ("GET", f"{PROFILE}/", 404),
        ("POST", f"{LOGIN}/", 404),
        ("GET", f"{PREFIX}/app/{APP}", 404),
        ("POST", f"{OF_APP}/functions/call/", 404),
        ("GET", "/api/client/v3.0/x", 404),
        ("DELETE", LOCATION, 405),
        ("PUT", LOGIN, 405),
        ("HEAD", LOGIN, 405),
        ("GET", SESSION, 405),
        ("POST", PROFILE, 405),
        ("GET", f"{USERPASS}/register", 405),
    ],
)
def test_what_is_not_there_is_json_with_cors_and_never_a_redirect(realm, method, path, status):
    response = realm.client.generic(method, path, b"", headers={"origin": "https://shop.example"})
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    if method != "HEAD":
        assert set(response.json()) == {"error", "error_code"}
    assert EndUser.objects.count() == 0


def test_a_base_url_with_a_trailing_slash_is_forgiven(realm):
    response = realm.client.post(f"http://{HOST}/{LOGIN}", b"", content_type="application/json")
    assert response.wsgi_request.path == f"/{LOGIN}"
    assert response.status_code == 200
    missing = realm.client.get(f"http://{HOST}//api/client/nothing")
    assert (missing.status_code, missing.headers["Content-Type"]) == (404, "application/json")


def test_with_no_origin_listed_every_page_may_call(guest):
    guest.client.defaults["HTTP_ORIGIN"] = "https://anywhere.example"
    assert guest.profile().status_code == 200
    assert guest.profile().headers["Access-Control-Allow-Origin"] == "https://anywhere.example"
    assert guest.refresh().status_code == 201


def test_with_origins_listed_a_foreign_page_is_refused_and_may_read_why(guest, app):
    app.project.allowed_origins = ["https://shop.example"]
    app.project.save()
    before = row_counts()
    for origin in ("https://evil.example", "null"):
        guest.client.defaults["HTTP_ORIGIN"] = origin
        calls = [guest.profile(), guest.refresh(), guest.log_out(), guest.post(LOGIN), guest.ask("GET", LOCATION)]
        calls += [guest.register(), guest.link(), guest.ask("DELETE", DELETE, bearer=guest.access_token)]
        for response in calls:
            assert refused(response) == (403, "DomainNotAllowed", "request origin is not allowed")
            assert response.headers["Access-Control-Allow-Origin"] == origin
    assert row_counts() == before
    for origin in ("https://shop.example", f"http://{HOST}"):
        guest.client.defaults["HTTP_ORIGIN"] = origin
        assert guest.profile().status_code == 200
    del guest.client.defaults["HTTP_ORIGIN"]
    assert guest.refresh().status_code == 201


# --- log in as a guest ----------------------------------------------------------------------------


def test_a_log_in_makes_a_guest_of_the_house(guest):
    end_user = EndUser.objects.get()
    assert end_user.is_guest
    assert (end_user.project.slug, end_user.application.client_id) == ("guestbook", APP)
    session = Session.objects.get()
    assert (session.kind, session.application.client_id, session.end_user_id) == ("token", APP, end_user.pk)
    assert session.device == {"system": "node 20.20.2", "app": "shop 1.2.3"}
    assert RealmUser.objects.get().object_id == guest.user_id
    assert OBJECT_ID.fullmatch(guest.user_id)


def test_every_log_in_is_a_new_guest_whatever_bearer_comes_along(guest):
    response = guest.post(LOGIN, {}, bearer=guest.access_token)
    assert response.json()["user_id"] != guest.user_id
    assert EndUser.objects.count() == 2
    assert guest.profile().status_code == 200


def test_the_answer_has_these_four_strings(realm):
    answer = realm.post(LOGIN, {"options": {"device": DEVICE}}).json()
    assert set(answer) == {"access_token", "refresh_token", "user_id", "device_id"}
    assert all(isinstance(value, str) and value for value in answer.values())


DEVICES = {
    "none at all": (None, "zero"),
    "no options": ({}, "zero"),
    "options of nothing": ({"options": {}}, "zero"),
    "an empty device": ({"options": {"device": {}}}, "new"),
    "extended JSON": ({"options": {"device": {"deviceId": {"$oid": "6b0061f8634a635b817a5acc"}}}}, "same"),
    "plain": ({"options": {"device": {"deviceId": "6b0061f8634a635b817a5acc"}}}, "same"),
    "in capitals": ({"options": {"device": {"deviceId": "6B0061F8634A635B817A5ACC"}}}, "same"),
    "zeros": ({"options": {"device": {"deviceId": "0" * 24}}}, "new"),
    "a UUID": ({"options": {"device": {"deviceId": str(uuid.uuid4())}}}, "new"),
    "blank": ({"options": {"device": {"deviceId": ""}}}, "new"),
    "a number": ({"options": {"device": {"deviceId": {"$numberInt": "1"}}}}, "new"),
    "a list": ({"options": {"device": ["x"]}}, "zero"),
    "options of text": ({"options": "device"}, "zero"),
    "numbers everywhere": ({"options": {"device": {"platform": 1, "appId": {"a": [1]}, "sdkVersion": None}}}, "new"),
    "long": ({"options": {"device": {"platform": "x" * 5000, "appVersion": "y" * 5000}}}, "new"),
    "of the native SDKs": (
        {"provider": "anon-user", "options": {"device": {"cpuArch": "x", "bundleId": "b", "deviceName": "Phone"}}},
        "new",
    ),
}


@pytest.mark.parametrize(("body", "device"), DEVICES.values(), ids=DEVICES)
def test_device_ids_are_24_digits_and_nothing_about_a_device_is_refused(realm, body, device):
    realm.keep(realm.post(LOGIN, body))
    assert OBJECT_ID.fullmatch(realm.device_id)
    expected = {"zero": "0" * 24, "same": "6b0061f8634a635b817a5acc"}.get(device)
    assert realm.device_id == expected if expected else realm.device_id not in ("0" * 24, "6b0061f8634a635b817a5acc")
    for token in (realm.access_token, realm.refresh_token):
        assert claims_of(token)["baas_device_id"] == claims_of(token)["stitch_devId"] == realm.device_id
    realm.refresh()
    assert claims_of(realm.access_token)["baas_device_id"] == realm.device_id
    assert all(len(text) <= 201 for text in Session.objects.get().device.values())


def test_the_oldest_clients_ask_with_get(realm):
    query = base64.b64encode(json.dumps({"deviceId": "6b0061f8634a635b817a5acc", "platform": "?>"}).encode()).decode()
    for encoded in (query.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"), query.rstrip("=")):
        answer = realm.ask("GET", f"{LOGIN}?device={encoded}").json()
        assert answer["device_id"] == "6b0061f8634a635b817a5acc"
    for garbage in ("%00", "!!!", "e30", "W10=", "bnVsbA==", "x" * 6000):
        assert OBJECT_ID.fullmatch(realm.ask("GET", f"{LOGIN}?device={garbage}").json()["device_id"])
    assert realm.ask("GET", LOGIN).json()["device_id"] == "0" * 24


@pytest.mark.parametrize("content_type", ["application/json", "application/json;charset=utf-8", "text/plain", ""])
def test_the_content_type_of_a_request_does_not_matter(realm, content_type):
    assert realm.post(LOGIN, {"options": {}}, content_type=content_type).status_code == 200
    assert realm.post(LOGIN, content_type=content_type).status_code == 200


BAD_BODIES = {
    "no JSON": b"{",
    "a list": b"[]",
    "a text": b'"x"',
    "null": b"null",
    "NUL": b'{"options": "\\u0000"}',
    "half of a pair": b'{"options": "\\ud800"}',
    "latin-1": b'{"options": "\xe9"}',
    "a key twice": b'{"options": 1, "options": 2}',
    "deep": b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "NaN": b'{"a": NaN}',
    "a huge number": b'{"a": ' + b"9" * 10_000 + b"}",
}
BODIED = [LOGIN, f"{USERPASS}/register", f"{USERPASS}/login", f"{USERPASS}/confirm", f"{USERPASS}/reset"]


@pytest.mark.parametrize("path", [*BODIED, f"{USERPASS}/reset/send", f"{OF_APP}/auth/providers/api-key/login"])
@pytest.mark.parametrize("raw", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_body_that_cannot_be_read_is_400_and_changes_nothing(realm, path, raw):
    before = row_counts()
    assert refused(realm.post(path, raw=raw))[:2] == (400, "BadRequest")
    assert row_counts() == before


@pytest.mark.parametrize("path", BODIED)
def test_a_body_that_is_too_large_is_413(realm, path):
    assert refused(realm.post(path, raw=b" " * 1_048_577))[:2] == (413, "BadRequest")
    assert EndUser.objects.count() == 0


def test_no_guest_is_linked_to_a_guest(guest):
    before = row_counts()
    response = guest.post(f"{LOGIN}?link=true", {}, bearer=guest.access_token)
    assert refused(response) == (400, "BadRequest", "linking an anonymous identity is not allowed")
    assert row_counts() == before


def test_with_the_toggle_off_the_provider_is_not_there_and_nobody_is_thrown_out(guest, app):
    Project.objects.update(anonymous_users_enabled=False)
    before = row_counts()
    assert refused(guest.post(LOGIN))[:2] == (404, "AuthProviderNotFound")
    assert refused(guest.ask("GET", LOGIN))[:2] == (404, "AuthProviderNotFound")
    assert row_counts() == before
    assert guest.profile().status_code == 200
    assert guest.refresh().status_code == 201


@pytest.mark.parametrize("budget", ["ANONUSERS_SIGNUP_PER_IP", "ANONUSERS_BOT_CHECK_PER_IP"])
def test_too_many_guests_are_told_to_wait(realm, settings, budget):
    setattr(settings, budget, "1/m")
    realm.log_in()
    before = row_counts()
    response = realm.post(LOGIN)
    assert refused(response)[:2] == (429, "TooManyRequests")
    assert int(response.headers["Retry-After"]) >= 1
    assert row_counts() == before
    assert realm.profile().status_code == 200


@pytest.mark.parametrize("provider", ["custom-token", "custom-function", "oauth2-google", "oauth2-apple", "x"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_provider_that_we_do_not_have_is_told_as_such(realm, provider, method):
    path = f"{OF_APP}/auth/providers/{provider}/login"
    if (method, provider) == ("GET", "custom-token"):
        assert realm.ask(method, path).status_code == 405
        return
    assert refused(realm.ask(method, path, {"token": "x"}))[:2] == (404, "AuthProviderNotFound")


# --- tokens ---------------------------------------------------------------------------------------


def test_tokens_are_jwts_with_the_claims_that_clients_read(guest):
    access, refresh = claims_of(guest.access_token), claims_of(guest.refresh_token)
    session, app = Session.objects.get(), RealmApp.objects.get()
    for claims, typ in ((access, "access"), (refresh, "refresh")):
        assert type(claims["iat"]) is type(claims["exp"]) is int
        assert claims["iat"] <= timezone.now().timestamp()
        assert (claims["sub"], claims["typ"]) == (guest.user_id, typ)
        assert claims["baas_domain_id"] == claims["stitch_domainId"] == app.domain_id
    assert access["exp"] - access["iat"] == 1800
    assert access["user_data"] == {}
    assert access["iss"] == refresh["baas_id"] == refresh["stitch_id"] == session.pk.hex[:24]
    assert refresh["exp"] - refresh["iat"] == 10 * 365 * 86_400


def test_no_access_token_outlives_its_session(guest):
    Application.objects.update(access_token_lifetime=1800, refresh_token_lifetime=1800)
    Session.objects.update(created_at=timezone.now() - timedelta(seconds=1700))
    guest.refresh()
    claims = claims_of(guest.access_token)
    assert 90 <= claims["exp"] - claims["iat"] <= 100


# --- the profile ----------------------------------------------------------------------------------


def test_the_profile_of_a_guest(guest):
    app, identity = RealmApp.objects.get(), RealmIdentity.objects.get()
    assert guest.profile().json() == {
        "user_id": guest.user_id,
        "domain_id": app.domain_id,
        "type": "normal",
        "data": {},
        "identities": [
            {
                "id": identity.identity_id,
                "provider_type": "anon-user",
                "provider_id": app.provider_ids["anon-user"],
            }
        ],
    }
    digits, letters = identity.identity_id.split("-")
    assert OBJECT_ID.fullmatch(digits)
    assert (len(letters), letters.isalpha(), letters.islower()) == (24, True, True)


@pytest.mark.parametrize("scope", ["user", "app"])
def test_both_spellings_lead_to_the_same_user(guest, scope):
    prefix = PREFIX if scope == "user" else OF_APP
    assert guest.ask("GET", f"{prefix}/auth/profile", bearer=guest.access_token).json()["user_id"] == guest.user_id
    assert guest.ask("POST", f"{prefix}/auth/session", bearer=guest.refresh_token).status_code == 201
    assert guest.ask("DELETE", f"{prefix}/auth/session", bearer=guest.refresh_token).status_code == 204
    assert guest.ask("GET", f"{prefix}/auth/profile", bearer=guest.access_token).status_code == 401
    guest.log_in()
    assert guest.ask("DELETE", f"{prefix}/auth/delete", bearer=guest.access_token).status_code == 204
    assert EndUser.objects.count() == 1


# --- the session ----------------------------------------------------------------------------------


def test_a_refresh_answers_201_with_an_access_token_and_nothing_else(guest):
    before = guest.access_token
    response = guest.refresh()
    assert (response.status_code, list(response.json())) == (201, ["access_token"])
    assert guest.profile().status_code == 200
    assert guest.ask("GET", PROFILE, bearer=before).status_code == 200
    assert guest.refresh().status_code == 201  # the refresh token is the same for ever


def test_a_log_out_ends_this_session_only_and_access_tokens_with_it(guest):
    other = Realm().log_in()
    response = guest.log_out()
    assert (response.status_code, response.content) == (204, b"")
    assert refused(guest.profile()) == NO_SESSION
    assert refused(guest.refresh()) == NO_SESSION
    assert refused(guest.log_out()) == NO_SESSION  # on these words SDKs forgive
    assert other.profile().status_code == 200
    assert EndUser.objects.count() == 2


WORTHLESS = {
    "null": "null",
    "no token": "x",
    "an OAuth refresh token": str(new_refresh_token(uuid.uuid4())),
    "three parts of nothing": "a.b.c",
    "a huge one": "a." + "b" * 9000 + ".c",
    "MongoDB's": forged({"sub": "6b0061f8e676470ab17fd3ab", "typ": "access", "exp": 1500000000, "iat": 1490000000}),
    "a session of nobody": forged({"sid": str(uuid.uuid4()), "typ": "access", "exp": 9999999999, "iat": 1}),
    "a strange session": forged({"sid": ["x"], "jti": {"a": 1}, "exp": 9999999999, "iat": 1}),
    "a claim of half a character": forged({"sid": "\ud800", "jti": "\ud800", "exp": 9999999999, "iat": 1}),
    "a list": forged([1]),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("token", WORTHLESS.values(), ids=WORTHLESS)
def test_a_worthless_token_is_an_invalid_session_everywhere(guest, token):
    before = row_counts()
    for method, path in (
        ("GET", PROFILE),
        ("DELETE", DELETE),
        ("POST", FUNCTION),
        ("POST", f"{USERPASS}/login?link=true"),
    ):
        assert refused(guest.ask(method, path, bearer=token))[:2] == (401, "InvalidSession")
    for method, path in (("POST", SESSION), ("DELETE", SESSION), ("GET", f"{PREFIX}/auth/api_keys")):
        assert refused(guest.ask(method, path, bearer=token)) == NO_SESSION
    assert row_counts() == before
    assert guest.profile().status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Basic eDp5"}, {"authorization": "Bearer "}, {"cookie": "anonusers_session=x"}]
)
def test_without_a_token_one_must_authenticate_first(guest, headers):
    for method, path in (
        ("GET", PROFILE),
        ("POST", SESSION),
        ("DELETE", SESSION),
        ("DELETE", DELETE),
        ("POST", FUNCTION),
    ):
        response = guest.ask(method, path, headers=headers)
        assert refused(response) == (401, "InvalidSession", "must authenticate first")


def test_a_forged_signature_is_told_and_the_refresh_token_heals(guest):
    head, body, _signature = guest.access_token.split(".")
    assert refused(guest.ask("GET", PROFILE, bearer=f"{head}.{body}.{'A' * 86}")) == (
        401,
        "InvalidSession",
        "signature is invalid",
    )
    mine = forged(claims_of(guest.access_token))
    assert refused(guest.ask("GET", PROFILE, bearer=mine)) == (401, "InvalidSession", "signature is invalid")
    assert guest.refresh().status_code == 201
    assert guest.profile().status_code == 200


def test_an_expired_access_token_is_told_in_the_words_that_tools_look_for(guest, monkeypatch):
    later = timezone.now() + timedelta(seconds=1801)
    monkeypatch.setattr("django.utils.timezone.now", lambda: later)
    assert refused(guest.profile()) == (401, "InvalidSession", "invalid session: access token expired")
    assert guest.refresh().status_code == 201
    assert guest.profile().status_code == 200


def test_each_token_is_good_for_its_own_purpose(guest):
    for method, path in (("POST", SESSION), ("DELETE", SESSION)):
        response = guest.ask(method, path, bearer=guest.access_token)
        assert refused(response) == (401, "InvalidSession", "invalid refresh token: incorrect token type")
    for method, path in (("GET", PROFILE), ("DELETE", DELETE), ("POST", FUNCTION)):
        assert refused(guest.ask(method, path, bearer=guest.refresh_token))[:2] == (401, "InvalidSession")
    assert guest.profile().status_code == 200


def test_a_refresh_token_survives_the_keys_of_its_project(guest, app):
    """Its secret decides: a guest who was away for a year has no other way back."""
    from anonusers.keys import rotate_keys

    rotate_keys(Project.objects.get(), at_once=True)
    assert refused(guest.profile())[:2] == (401, "InvalidSession")
    assert guest.refresh().status_code == 201
    assert guest.profile().status_code == 200


def test_a_refresh_token_with_another_secret_is_none(guest):
    claims = claims_of(guest.refresh_token)
    for secret in ("A" * 43, "", claims["jti"][:-1]):
        assert refused(guest.ask("POST", SESSION, bearer=forged(claims | {"jti": secret}))) == NO_SESSION
    assert guest.refresh().status_code == 201


def test_a_disabled_user_is_told_so_and_healed_afterwards(guest, app):
    EndUser.objects.update(disabled_at=timezone.now())
    for response in (
        guest.profile(),
        guest.refresh(),
        guest.log_out(),
        guest.post(FUNCTION, bearer=guest.access_token),
    ):
        assert refused(response) == (403, "UserDisabled", "user is disabled")
    EndUser.objects.update(disabled_at=None)
    assert guest.profile().status_code == 200
    assert guest.refresh().status_code == 201


def test_a_host_that_deactivates_its_user_disables_it_here(guest, django_user_model):
    django_user_model.objects.update(is_active=False)
    assert refused(guest.refresh())[:2] == (403, "UserDisabled")
    django_user_model.objects.update(is_active=True)
    assert guest.refresh().status_code == 201


# --- delete ---------------------------------------------------------------------------------------


def test_who_deletes_their_account_is_gone_with_everything(guest):
    other = Realm().log_in()
    response = guest.ask("DELETE", DELETE, bearer=guest.access_token)
    assert response.status_code == 204
    assert refused(guest.log_out()) == NO_SESSION
    assert refused(guest.profile())[:2] == (401, "InvalidSession")
    assert [row.object_id for row in RealmUser.objects.all()] == [other.user_id]
    for model in (EndUser, Session, AnonymousIdentity, RealmIdentity):
        assert model.objects.count() == 1


def test_whoever_is_staff_cannot_be_deleted_here(guest, django_user_model):
    django_user_model.objects.update(is_staff=True)
    before = row_counts()
    assert refused(guest.ask("DELETE", DELETE, bearer=guest.access_token))[:2] == (403, "AuthError")
    assert row_counts() == before


def test_a_function_is_not_found_after_the_token_was_looked_at(guest):
    assert refused(guest.post(FUNCTION, {"name": "sum", "arguments": []}, bearer="forged"))[:2] == (
        401,
        "InvalidSession",
    )
    response = guest.post(FUNCTION, {"name": "sum", "arguments": [{"$numberInt": "1"}]}, bearer=guest.access_token)
    assert refused(response) == (404, "FunctionNotFound", "function not found: 'sum'")


# --- expiry ---------------------------------------------------------------------------------------


def idle(days: int) -> None:
    """Nobody has been here for so many days."""
    then = timezone.now() - timedelta(days=days)
    Session.objects.update(last_used_at=then, created_at=then)
    EndUser.objects.update(created_at=then)


def test_an_idle_guest_is_removed_and_a_linked_user_never(guest, app):
    linked = Realm().log_in()
    linked.register()
    linked.link()
    Project.objects.update(quarantine_days=0)
    idle(89)
    clean_up(project=Project.objects.get(), confirmed=True)
    assert EndUser.objects.count() == 2
    idle(91)
    clean_up(project=Project.objects.get(), confirmed=True)
    clean_up(project=Project.objects.get(), confirmed=True)
    assert RealmUser.objects.get().object_id == linked.user_id
    assert RealmIdentity.objects.filter(provider_type="anon-user").count() == 1
    assert refused(guest.refresh()) == NO_SESSION
    assert Realm().keep(linked.password_login()).user_id == linked.user_id


def test_an_address_that_nobody_confirmed_is_dropped_after_a_month(by_mail, realm):
    realm.register()
    EmailRegistration.objects.update(created_at=timezone.now() - timedelta(days=29))
    clean_up(project=Project.objects.get(), confirmed=True)
    assert EmailRegistration.objects.count() == 1
    EmailRegistration.objects.update(created_at=timezone.now() - timedelta(days=31))
    assert clean_up(project=Project.objects.get(), dry_run=True).counts["registrations"] == 1
    assert clean_up(project=Project.objects.get(), confirmed=True).counts["registrations"] == 1
    assert EmailRegistration.objects.count() == 0


def test_a_guest_who_comes_back_in_time_is_kept_however_old(guest):
    then = timezone.now() - timedelta(days=3000)
    EndUser.objects.update(created_at=then)
    Session.objects.update(created_at=then, last_used_at=timezone.now() - timedelta(days=80))
    assert guest.refresh().status_code == 201
    clean_up(project=Project.objects.get(), confirmed=True)
    assert guest.profile().json()["user_id"] == guest.user_id


# --- tokens of MongoDB's while accounts are moved here ---------------------------------------------


def test_while_the_migration_lasts_a_token_of_mongodbs_is_503_and_never_401(guest):
    domain_id = RealmApp.objects.get().domain_id
    claims = {"sub": "6b0061f8e676470ab17fd3ab", "baas_domain_id": domain_id, "iat": 1490000000, "exp": 9999999999}
    access, refresh = forged(claims | {"typ": "access"}), forged(claims | {"typ": "refresh"})
    calls = [
        ("GET", PROFILE, access),
        ("POST", FUNCTION, access),
        ("POST", SESSION, refresh),
        ("DELETE", SESSION, refresh),
    ]
    calls += [("POST", f"{OF_APP}/auth/session", refresh), ("GET", f"{PREFIX}/auth/api_keys", refresh)]
    before = row_counts()
    for method, path, token in calls:
        assert refused(guest.ask(method, path, bearer=token))[:2] == (401, "InvalidSession")
    Project.objects.update(realm_migration_until=(timezone.now() + timedelta(days=1)).isoformat(timespec="seconds"))
    for method, path, token in calls:
        response = guest.ask(method, path, bearer=token)
        assert refused(response)[:2] == (503, "MaintenanceInProgress")
        assert int(response.headers["Retry-After"]) >= 1
    assert guest.profile().status_code == 200
    # What only looks like a token of ours is refused for good.
    assert guest.ask("GET", PROFILE, bearer=forged(claims_of(guest.access_token))).status_code == 401
    assert row_counts() == before


# --- two apps on one host -------------------------------------------------------------------------


def test_two_apps_share_a_host_and_no_user(guest, app):
    make_app("other-fghij", "other", "other.example")
    other = Realm("other-fghij").log_in()
    assert guest.profile().json()["domain_id"] != other.profile().json()["domain_id"]
    for path, method, token in (
        ("auth/profile", "GET", other.access_token),
        ("auth/session", "POST", other.refresh_token),
        ("auth/session", "DELETE", other.refresh_token),
        ("auth/delete", "DELETE", other.access_token),
        ("functions/call", "POST", other.access_token),
        ("auth/providers/local-userpass/login?link=true", "POST", other.access_token),
    ):
        response = guest.ask(method, f"{OF_APP}/{path}", bearer=token)
        assert refused(response) == (403, "UserAppDomainMismatch", "the token belongs to another app"), path
    assert other.refresh().status_code == 201
    guest.register()
    assert refused(other.password_login())[:2] == (401, "InvalidPassword")
    other.register()
    assert other.link().status_code == guest.link().status_code == 200
