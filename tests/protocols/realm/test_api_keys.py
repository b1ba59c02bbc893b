"""Keys of a regular user (§13): made with the refresh token, shown once, good for a log-in."""

import pytest
from django.utils import timezone

from anonusers.api_keys import KEYS_MAX
from anonusers.models import ApiKey, AuditEvent, EndUser, LoginID, RealmApp
from anonusers.promotion import claim
from tests.conftest import row_counts
from tests.protocols.realm.conftest import API_KEYS, OBJECT_ID, OF_APP, Realm, make_app, refused

pytestmark = [pytest.mark.django_db, pytest.mark.database]

KEY_LOGIN = f"{OF_APP}/auth/providers/api-key/login"
NOT_FOUND = (404, "APIKeyNotFound", "API key not found")


@pytest.fixture
def user(realm: Realm) -> Realm:
    realm.register()
    return realm.keep(realm.password_login())


def make_key(user: Realm, name: str = "ci") -> dict[str, str]:
    response = user.post(API_KEYS, {"name": name}, bearer=user.refresh_token)
    assert response.status_code == 201, response.content
    key: dict[str, str] = response.json()
    return key


def test_a_key_is_shown_once_and_logs_in(user):
    made = make_key(user)
    assert set(made) == {"_id", "key", "name", "disabled"}
    assert (OBJECT_ID.fullmatch(made["_id"]) is not None, made["name"], made["disabled"]) == (True, "ci", False)
    listed = {name: value for name, value in made.items() if name != "key"}
    assert user.ask("GET", API_KEYS, bearer=user.refresh_token).json() == [listed]
    assert user.ask("GET", f"{API_KEYS}/{made['_id']}", bearer=user.refresh_token).json() == listed
    program = Realm().keep(user.post(KEY_LOGIN, {"key": made["key"], "options": {}}))
    assert program.user_id == user.user_id
    assert program.profile().status_code == 200
    assert ApiKey.objects.get().last_used_at is not None
    assert made["key"] not in str(ApiKey.objects.values().get())


def test_a_key_is_disabled_enabled_and_removed(user):
    made = make_key(user)
    path = f"{API_KEYS}/{made['_id']}"
    for verb, expected in (("disable", 404), ("disable", 404), ("enable", 200), ("enable", 200)):
        assert user.ask("PUT", f"{path}/{verb}", bearer=user.refresh_token).status_code == 204
        assert user.post(KEY_LOGIN, {"key": made["key"]}).status_code == expected
    assert user.ask("DELETE", path, bearer=user.refresh_token).status_code == 204
    for method, where in (("GET", path), ("DELETE", path), ("PUT", f"{path}/enable")):
        assert refused(user.ask(method, where, bearer=user.refresh_token)) == NOT_FOUND
    assert refused(user.post(KEY_LOGIN, {"key": made["key"]})) == NOT_FOUND
    types = set(AuditEvent.objects.filter(category="security").values_list("type", flat=True))
    assert types == {"user.api_key.created", "user.api_key.removed"}


@pytest.mark.parametrize("key", ["", "x", "é", "x" * 5000])
def test_a_wrong_key_is_404_and_a_key_is_needed(user, key):
    assert refused(user.post(KEY_LOGIN, {"key": key})) == NOT_FOUND
    assert refused(user.post(KEY_LOGIN, {}))[:2] == (400, "MissingParameter")


def test_names_are_taken_once_and_there_are_so_many(user):
    make_key(user)
    assert refused(user.post(API_KEYS, {"name": "ci"}, bearer=user.refresh_token))[:2] == (409, "APIKeyAlreadyExists")
    for name in ("", "x" * 101, "a\nb"):
        assert refused(user.post(API_KEYS, {"name": name}, bearer=user.refresh_token))[:2] == (400, "InvalidParameter")
    for number in range(KEYS_MAX - 1):
        make_key(user, f"ci-{number}")
    before = row_counts()
    assert refused(user.post(API_KEYS, {"name": "more"}, bearer=user.refresh_token))[:2] == (400, "InvalidParameter")
    assert row_counts() == before


def test_a_guest_has_none(guest):
    for method in ("GET", "POST"):
        response = guest.ask(method, API_KEYS, {"name": "x"} if method == "POST" else None, bearer=guest.refresh_token)
        assert refused(response)[:2] == (403, "AuthError")
    assert ApiKey.objects.count() == 0


def test_a_key_of_somebody_else_is_not_found(user):
    made, other = make_key(user), Realm()
    other.register("bob@example.com")
    other.keep(other.password_login("bob@example.com"))
    for method, path in (("GET", ""), ("DELETE", ""), ("PUT", "/disable")):
        response = other.ask(method, f"{API_KEYS}/{made['_id']}{path}", bearer=other.refresh_token)
        assert refused(response) == NOT_FOUND
    make_app("other-fghij", "other", "other.example")
    path = "/api/client/v2.0/app/other-fghij/auth/providers/api-key/login"
    assert refused(other.post(path, {"key": made["key"]})) == NOT_FOUND
    assert user.post(KEY_LOGIN, {"key": made["key"]}).status_code == 200


@pytest.mark.parametrize("id", ["a%00b", "%ED%A0%80", "x" * 300, "6b0061f8e676470ab17fd3ab"])
def test_an_id_that_is_none_is_not_found(user, id):
    """Also on PostgreSQL, which takes no NUL."""
    made = make_key(user)
    for method, path in (("GET", ""), ("DELETE", ""), ("PUT", "/disable")):
        response = user.ask(method, f"{API_KEYS}/{id}{path}", bearer=user.refresh_token)
        assert refused(response) == NOT_FOUND
    assert user.post(KEY_LOGIN, {"key": made["key"]}).status_code == 200


def test_the_access_token_is_not_good_for_keys(user):
    assert refused(user.ask("GET", API_KEYS, bearer=user.access_token))[:2] == (401, "InvalidSession")


def test_a_key_of_a_disabled_user_is_refused_until_they_are_enabled(user):
    made = make_key(user)
    EndUser.objects.update(disabled_at=timezone.now())
    assert refused(user.post(KEY_LOGIN, {"key": made["key"]}))[:2] == (403, "UserDisabled")
    EndUser.objects.update(disabled_at=None)
    assert user.post(KEY_LOGIN, {"key": made["key"]}).status_code == 200


def test_no_key_is_linked(user):
    made = make_key(user)
    response = user.post(f"{KEY_LOGIN}?link=true", {"key": made["key"]}, bearer=user.access_token)
    assert refused(response) == (400, "BadRequest", "linking an api-key identity is not allowed")


def test_where_an_imported_app_had_keys_off_there_are_none(user):
    made = make_key(user)
    RealmApp.objects.update(rest={"providers": {"api-key": {"name": "api-key", "disabled": True}}})
    assert refused(user.post(KEY_LOGIN, {"key": made["key"]}))[:2] == (404, "AuthProviderNotFound")
    assert refused(user.ask("GET", API_KEYS, bearer=user.refresh_token))[:2] == (404, "AuthProviderNotFound")


def test_who_proves_an_address_does_not_inherit_the_keys_of_who_typed_it_in(user):
    make_key(user)
    claim(LoginID.objects.select_related("end_user__user").get())
    assert ApiKey.objects.count() == 0


def test_guesses_are_limited(user, settings):
    settings.ANONUSERS_LOGIN_PER_IP = "1/m"
    user.post(KEY_LOGIN, {"key": "x"})
    assert refused(user.post(KEY_LOGIN, {"key": "x"}))[:2] == (429, "TooManyRequests")
