"""E-mail and password, and linking: §5 of the contract. Every row of §5.4 has its line here."""

import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.utils import timezone

from anonusers.models import (
    AuditEvent,
    EmailRegistration,
    EndUser,
    LoginID,
    OneTimeToken,
    Project,
    Promotion,
    RealmApp,
    RealmIdentity,
    Session,
)
from tests.conftest import row_counts, state_of
from tests.people import new_guest, proof_of, regular_user
from tests.protocols.realm.conftest import (
    EMAIL,
    OBJECT_ID,
    OF_APP,
    PASSWORD,
    USERPASS,
    WRONG,
    Realm,
    claims_of,
    refused,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]

WRONG_401 = (401, "InvalidPassword", "invalid username/password")
WRONG_400 = (400, "InvalidPassword", "invalid username/password")
IN_USE = (409, "AccountNameInUse", "name already in use")
LENGTH = (400, "BadRequest", "password must be between 6 and 128 characters")
BAD_TOKEN = (400, "BadRequest", "invalid token data")
SPENT = (400, "UserpassTokenInvalid", "userpass token is expired or invalid")
CONFIRMED = (400, "UserAlreadyConfirmed", "already confirmed")
UNCONFIRMED = (401, "AuthError", "confirmation required")


def last_link() -> dict[str, str]:
    """What the page at the link of the last mail sends back."""
    url = re.search(r"https?://\S+", mail.outbox[-1].body)
    assert url
    query = parse_qs(urlsplit(url[0]).query)
    return {"token": query["token"][0], "tokenId": query["tokenId"][0]}


# --- register -------------------------------------------------------------------------------------


def test_who_registers_is_no_user_yet(realm):
    response = realm.register("Ada@Example.com")
    assert (response.status_code, response.json()) == (201, {})
    row = EmailRegistration.objects.get()
    assert (row.email, row.confirmed_at is not None, row.verified) == ("Ada@example.com", True, False)
    assert EndUser.objects.count() == get_user_model().objects.count() == 0
    assert len(mail.outbox) == 0


@pytest.mark.parametrize("spelling", [EMAIL, "ADA@example.com", "ada@EXAMPLE.com", " ada@example.com "])
def test_an_address_is_registered_once_however_it_is_spelled(realm, spelling):
    realm.register()
    before = row_counts()
    assert refused(realm.register(spelling, "another horse 2")) == IN_USE
    assert row_counts() == before
    assert realm.password_login().status_code == 200


def test_an_address_that_somebody_logs_in_with_is_in_use_whatever_door_they_came_through(realm, app):
    regular_user(app, EMAIL)
    assert refused(realm.register()) == IN_USE
    get_user_model().objects.create_user("bob", "bob@example.com")
    assert refused(realm.register("bob@example.com")) == IN_USE
    assert EmailRegistration.objects.count() == 0


@pytest.mark.parametrize("length", [0, 5, 129, 5000])
def test_a_password_has_6_to_128_characters(realm, length):
    assert refused(realm.register(password="x" * length)) == LENGTH
    assert EmailRegistration.objects.count() == 0


def test_then_the_rules_of_the_host_hold_and_say_why(realm):
    status, code, text = refused(realm.register(password="secret1"))
    assert (status, code) == (400, "BadRequest")
    assert "too short" in text
    assert "similar" in refused(realm.register("correcthorse@example.com", "correcthorse"))[2]
    assert EmailRegistration.objects.count() == 0
    assert realm.register(password="tr0ub4dor & " * 10 + "12345678").status_code == 201


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "MissingParameter"),
        ({"email": EMAIL}, "MissingParameter"),
        ({"password": PASSWORD}, "MissingParameter"),
        ({"email": None, "password": PASSWORD}, "MissingParameter"),
        ({"email": 1, "password": PASSWORD}, "InvalidParameter"),
        ({"email": EMAIL, "password": ["x"]}, "InvalidParameter"),
        ({"email": "nobody", "password": PASSWORD}, "BadRequest"),
        ({"email": "a@b@c", "password": PASSWORD}, "BadRequest"),
        ({"email": f"{'x' * 300}@example.com", "password": PASSWORD}, "BadRequest"),
    ],
)
def test_what_is_missing_or_no_address_is_400(realm, body, code):
    assert refused(realm.post(f"{USERPASS}/register", body))[:2] == (400, code)
    assert EmailRegistration.objects.count() == 0


def test_unknown_keys_are_no_reason_to_refuse(realm):
    assert realm.post(f"{USERPASS}/register", {"email": EMAIL, "password": PASSWORD, "x": {}}).status_code == 201


CALLS = {
    "register": {"email": EMAIL, "password": PASSWORD},
    "confirm": {"token": "x", "tokenId": "x"},
    "confirm/send": {"email": EMAIL},
    "confirm/call": {"email": EMAIL},
    "reset": {"token": "x", "tokenId": "x", "password": PASSWORD},
    "reset/send": {"email": EMAIL},
    "reset/call": {"email": EMAIL, "password": PASSWORD, "arguments": []},
    "login": {"username": EMAIL, "password": PASSWORD},
}


@pytest.mark.parametrize("call", CALLS)
def test_with_the_provider_off_nothing_of_it_is_there(guest, call):
    Project.objects.update(realm_local_userpass=False)
    before = row_counts()
    assert refused(guest.post(f"{USERPASS}/{call}", CALLS[call]))[:2] == (404, "AuthProviderNotFound")
    link = guest.post(f"{USERPASS}/login?link=true", CALLS["login"], bearer=guest.access_token)
    assert refused(link)[:2] == (404, "AuthProviderNotFound")
    assert row_counts() == before


@pytest.mark.parametrize("call", sorted(set(CALLS) - {"login"}))
@pytest.mark.parametrize("bearer", ["null", "x.y.z", "valid"])
def test_a_bearer_that_comes_along_is_not_looked_at_and_none_of_these_is_ever_401(guest, call, bearer):
    token = guest.access_token if bearer == "valid" else bearer
    for body in (CALLS[call], {}, {"email": "x", "password": "x", "token": "A" * 32, "tokenId": "0" * 24}):
        assert guest.post(f"{USERPASS}/{call}", body, bearer=token).status_code != 401


# --- confirm --------------------------------------------------------------------------------------


def test_a_confirmation_by_mail(by_mail, realm):
    assert realm.register().status_code == 201
    assert refused(realm.password_login()) == UNCONFIRMED
    assert refused(realm.password_login(password=WRONG)) == WRONG_401
    [sent] = mail.outbox
    assert sent.to == [EMAIL]
    assert "https://shop.example/confirm?token=" in sent.body
    link = last_link()
    assert OBJECT_ID.fullmatch(link["tokenId"])
    response = realm.post(f"{USERPASS}/confirm", link)
    assert (response.status_code, response.json()) == (200, {})
    assert EmailRegistration.objects.get().verified
    assert refused(realm.post(f"{USERPASS}/confirm", link)) == SPENT
    assert realm.password_login().status_code == 200
    assert LoginID.objects.get().verified_at is not None


@pytest.mark.parametrize("call", ["confirm", "reset"])
def test_junk_is_told_from_what_has_expired(by_mail, realm, call):
    realm.register()
    link = last_link()
    junk = [
        {"token": "x", "tokenId": "y"},
        link | {"tokenId": "0" * 24},
        link | {"token": "A" * 32},
        link | {"token": link["token"] + "A"},
        {"token": "é" * 32, "tokenId": link["tokenId"]},
    ]
    for body in junk:
        assert refused(realm.post(f"{USERPASS}/{call}", body | {"password": PASSWORD})) == BAD_TOKEN
    OneTimeToken.objects.update(expires_at=timezone.now())
    assert refused(realm.post(f"{USERPASS}/{call}", link | {"password": PASSWORD})) == SPENT
    assert EmailRegistration.objects.get().confirmed_at is None


def test_a_link_to_confirm_sets_no_password_and_the_other_way_round(by_mail, realm):
    realm.register()
    confirm = last_link()
    assert refused(realm.post(f"{USERPASS}/reset", confirm | {"password": "other horse 9"})) == SPENT
    realm.post(f"{USERPASS}/reset/send", {"email": EMAIL})
    assert "https://shop.example/reset?lang=en&token=" in mail.outbox[-1].body
    assert refused(realm.post(f"{USERPASS}/confirm", last_link())) == SPENT
    assert realm.post(f"{USERPASS}/confirm", confirm).status_code == 200
    assert realm.password_login().status_code == 200


def test_a_link_is_good_in_its_own_app_only(by_mail, realm):
    from tests.protocols.realm.conftest import make_app

    make_app("other-fghij", "other", "other.example")
    realm.register()
    path = "/api/client/v2.0/app/other-fghij/auth/providers/local-userpass/confirm"
    assert refused(realm.post(path, last_link())) == SPENT
    assert realm.post(f"{USERPASS}/confirm", last_link()).status_code == 200


def test_the_mail_is_sent_again_and_who_asks_learns_nothing(by_mail, realm, settings):
    settings.ANONUSERS_CODES_PER_MINUTE = "off"
    realm.register()
    first = last_link()
    for email in (EMAIL, "nobody@example.com", "no address"):
        response = realm.post(f"{USERPASS}/confirm/send", {"email": email})
        assert (response.status_code, response.json()) == (202, {})
    assert [sent.to for sent in mail.outbox] == [[EMAIL], [EMAIL]]
    assert last_link() != first
    assert realm.post(f"{USERPASS}/confirm", last_link()).status_code == 200
    assert refused(realm.post(f"{USERPASS}/confirm/send", {"email": "ADA@example.com"})) == CONFIRMED
    assert refused(realm.post(f"{USERPASS}/confirm/call", {"email": EMAIL})) == CONFIRMED
    realm.password_login()
    assert refused(realm.post(f"{USERPASS}/confirm/send", {"email": EMAIL})) == CONFIRMED


def test_one_mail_a_minute(by_mail, realm):
    realm.register()
    response = realm.post(f"{USERPASS}/confirm/send", {"email": EMAIL})
    assert refused(response)[:2] == (429, "TooManyRequests")
    assert int(response.headers["Retry-After"]) >= 1
    assert len(mail.outbox) == 1


def test_a_function_that_confirms_does_not_exist(realm, by_mail):
    assert refused(realm.post(f"{USERPASS}/confirm/call", {"email": EMAIL}))[:2] == (400, "BadRequest")
    assert refused(realm.post(f"{USERPASS}/reset/call", CALLS["reset/call"]))[:2] == (400, "BadRequest")
    Project.objects.update(realm_auto_confirm=True)
    text = f"cannot run confirmation for {EMAIL}: automatic confirmation is enabled"
    assert refused(realm.post(f"{USERPASS}/confirm/call", {"email": EMAIL})) == (400, "BadRequest", text)


def test_without_a_page_for_links_nothing_is_registered_that_nobody_could_confirm(realm, by_mail):
    Project.objects.update(realm_confirmation_url="")
    for call in ("register", "confirm/send"):
        assert refused(realm.post(f"{USERPASS}/{call}", CALLS[call]))[:2] == (400, "BadRequest")
    assert (EmailRegistration.objects.count(), len(mail.outbox)) == (0, 0)


def test_a_mail_that_cannot_be_sent_leaves_nothing_behind(realm, by_mail, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_PORT = 1
    before = row_counts()
    assert refused(realm.register())[0] == 503
    assert row_counts() == before


def test_who_never_confirmed_does_not_keep_the_owner_out(realm, by_mail, settings):
    settings.ANONUSERS_CODES_PER_MINUTE = "off"
    realm.register(password="stranger horse 1")
    stale = last_link()
    assert refused(realm.register()) == IN_USE
    EmailRegistration.objects.update(created_at=timezone.now() - timedelta(minutes=31))
    assert realm.register().status_code == 201
    assert refused(realm.post(f"{USERPASS}/confirm", stale)) == SPENT
    realm.post(f"{USERPASS}/confirm", last_link())
    assert refused(realm.password_login(password="stranger horse 1")) == WRONG_401
    assert realm.password_login().status_code == 200


# --- a new password -------------------------------------------------------------------------------


def test_a_new_password_by_mail_ends_every_session(by_mail, realm):
    Project.objects.update(realm_auto_confirm=True)
    realm.register()
    realm.keep(realm.password_login())
    response = realm.post(f"{USERPASS}/reset/send", {"email": "ADA@example.com"})
    assert (response.status_code, response.json()) == (202, {})
    link = last_link()
    assert refused(realm.post(f"{USERPASS}/reset", link | {"password": "short"})) == LENGTH
    response = realm.post(f"{USERPASS}/reset", link | {"password": "battery staple 9"})
    assert (response.status_code, response.json()) == (200, {})
    assert refused(realm.refresh())[0] == 401
    assert refused(realm.password_login()) == WRONG_401
    user_id = realm.user_id
    # Nobody had read a mail there before: whoever set the first password was not known to be the owner.
    assert realm.keep(realm.password_login(password="battery staple 9")).user_id == user_id
    assert refused(realm.post(f"{USERPASS}/reset", link | {"password": "battery staple 10"})) == SPENT


def test_a_new_password_before_the_first_log_in_confirms_the_address(by_mail, realm):
    realm.register()
    realm.post(f"{USERPASS}/reset/send", {"email": EMAIL})
    realm.post(f"{USERPASS}/reset", last_link() | {"password": "battery staple 9"})
    row = EmailRegistration.objects.get()
    assert (row.verified, row.confirmed_at is not None) == (True, True)
    assert refused(realm.password_login()) == WRONG_401
    assert realm.password_login(password="battery staple 9").status_code == 200


def test_who_asks_for_a_new_password_learns_nothing(by_mail, realm):
    for email in ("nobody@example.com", "no address"):
        response = realm.post(f"{USERPASS}/reset/send", {"email": email})
        assert (response.status_code, response.json()) == (202, {})
    assert (len(mail.outbox), OneTimeToken.objects.count()) == (0, 0)


def test_without_a_page_of_the_apps_our_own_sets_the_password(realm, app):
    realm.register()
    realm.keep(realm.password_login())
    assert realm.post(f"{USERPASS}/reset/send", {"email": EMAIL}).status_code == 202
    path = re.search(r"http://localhost:8000(/reset/\S+)", mail.outbox[-1].body)
    assert path
    assert realm.client.get(path[1]).status_code == 200


def test_a_disabled_user_gets_no_mail_and_no_password(by_mail, realm):
    Project.objects.update(realm_auto_confirm=True)
    realm.register()
    realm.password_login()
    realm.post(f"{USERPASS}/reset/send", {"email": EMAIL})
    EndUser.objects.update(disabled_at=timezone.now())
    assert refused(realm.post(f"{USERPASS}/reset", last_link() | {"password": "battery staple 9"}))[:2] == (
        403,
        "UserDisabled",
    )
    assert refused(realm.password_login())[:2] == (403, "UserDisabled")
    assert refused(realm.password_login(password=WRONG)) == WRONG_401


# --- log in ---------------------------------------------------------------------------------------


def test_the_first_log_in_makes_a_regular_user_who_was_never_a_guest(realm):
    realm.register("Ada@example.com")
    registered = EmailRegistration.objects.get()
    realm.keep(realm.password_login())
    end_user = EndUser.objects.get()
    assert (end_user.is_guest, end_user.adopted_at is not None, end_user.promoted_at) == (False, True, None)
    assert end_user.user.email == "Ada@example.com"
    assert EmailRegistration.objects.count() == 0
    assert realm.profile().json()["data"] == {"email": "Ada@example.com"}
    assert realm.profile().json()["identities"] == [
        {
            "id": registered.object_id,
            "provider_type": "local-userpass",
            "provider_id": RealmApp.objects.get().provider_ids["local-userpass"],
            "data": {"email": "Ada@example.com"},
        }
    ]
    session = Session.objects.get()
    assert (session.amr, session.kind) == ("pwd", "token")
    other = Realm()
    assert other.keep(other.password_login("ADA@EXAMPLE.COM")).user_id == realm.user_id
    assert EndUser.objects.count() == 1
    assert [row.type for row in AuditEvent.objects.all()] == ["user.registered"]


@pytest.mark.parametrize("username", ["nobody@example.com", "no address", "", "x" * 5000, "anna", "+49301234567"])
def test_nobody_and_a_wrong_password_look_the_same(realm, username):
    assert refused(realm.password_login(username)) == WRONG_401
    realm.register()
    assert refused(realm.password_login(password=WRONG)) == WRONG_401
    realm.password_login()
    assert refused(realm.password_login(password=WRONG)) == WRONG_401
    assert refused(realm.password_login(password="x" * 10_000)) == WRONG_401


def test_what_a_log_in_lacks_is_400(realm):
    for body in ({}, {"username": EMAIL}, {"email": EMAIL, "password": PASSWORD}, {"username": EMAIL, "password": 1}):
        assert refused(realm.post(f"{USERPASS}/login", body))[0] == 400


def test_guesses_are_counted_before_the_first_log_in_as_after_it(realm, settings):
    settings.ANONUSERS_LOGIN_PER_ACCOUNT_AND_IP = "3/m"
    realm.register()
    for _ in range(3):
        assert refused(realm.password_login(password=WRONG)) == WRONG_401
    assert refused(realm.password_login())[:2] == (429, "TooManyRequests")
    assert EndUser.objects.count() == 0


def test_a_user_of_another_door_logs_in_here_and_has_an_id_for_ever(realm, app):
    end_user = regular_user(app, EMAIL, password=PASSWORD)
    realm.keep(realm.password_login())
    assert OBJECT_ID.fullmatch(realm.user_id)
    profile = realm.profile().json()
    assert [one["provider_type"] for one in profile["identities"]] == ["local-userpass"]
    assert end_user.realm_user.object_id == realm.user_id
    again = Realm()
    again.keep(again.password_login())
    assert again.profile().json() == profile


# --- link -----------------------------------------------------------------------------------------


def test_a_link_is_a_promotion_and_the_session_goes_on(guest):
    before, anonymous = guest.access_token, RealmIdentity.objects.get().identity_id
    guest.register(bearer=guest.access_token)
    registered = EmailRegistration.objects.get().object_id
    response = guest.link()
    assert set(response.json()) == {"access_token", "user_id", "device_id"}  # a refresh token is not for a link
    user_id = guest.user_id
    guest.keep(response)
    assert guest.user_id == user_id
    assert claims_of(guest.access_token)["sub"] == user_id
    assert guest.refresh().status_code == 201  # the token of before
    assert guest.ask("GET", "/api/client/v2.0/auth/profile", bearer=before).status_code == 200
    profile = guest.profile().json()
    assert [(one["provider_type"], one["id"]) for one in profile["identities"]] == [
        ("anon-user", anonymous),
        ("local-userpass", registered),
    ]
    assert profile["data"] == {"email": EMAIL}
    end_user = EndUser.objects.get()
    promotion = Promotion.objects.get()
    assert (end_user.is_guest, end_user.promoted_at is not None, end_user.adopted_at) == (False, True, None)
    assert (promotion.outcome, promotion.method, promotion.application.client_id) == (
        "promoted",
        "password",
        "myapp-abcde",
    )
    assert EmailRegistration.objects.count() == 0
    types = list(AuditEvent.objects.values_list("type", flat=True).order_by("type"))
    assert types == ["user.anonymous.promoted", "user.promotion.started"]
    other = Realm()
    assert other.keep(other.password_login()).user_id == user_id


def test_the_other_sessions_of_the_guest_end(guest, app):
    session = Session.objects.get()
    stolen = Session.objects.get()
    stolen.pk = None
    stolen.refresh_hash = "0" * 64
    stolen.save(force_insert=True)
    guest.register()
    guest.keep(guest.link())
    assert list(Session.objects.filter(ended_at=None)) == [session]


def test_the_same_link_again_changes_nothing(guest):
    guest.register()
    guest.keep(guest.link())
    before = row_counts()
    again = guest.link("ADA@example.com")
    assert again.status_code == 200
    assert again.json()["user_id"] == guest.user_id
    assert row_counts() == before


def refuse_link(guest, expected, email=EMAIL, password=PASSWORD):
    before, states = row_counts(), state_of(*EndUser.objects.all(), *Session.objects.all())
    assert refused(guest.link(email, password)) == expected
    assert row_counts() == before
    assert state_of(*EndUser.objects.all(), *Session.objects.all()) == states
    assert guest.profile().status_code == 200
    assert guest.refresh().status_code == 201


def test_a_wrong_password_is_400_at_a_link(guest):
    guest.register()
    refuse_link(guest, WRONG_400, password=WRONG)


def test_an_address_that_nobody_registered_is_400_at_a_link(guest):
    refuse_link(guest, WRONG_400)


def test_an_address_that_was_not_confirmed_is_400_at_a_link(by_mail, guest):
    guest.register()
    refuse_link(guest, (400, "AuthError", "confirmation required"))
    refuse_link(guest, WRONG_400, password=WRONG)


@pytest.mark.parametrize("policy", ["error", "login"])
def test_an_address_of_another_user_is_409_and_brings_nobody_into_their_account(guest, policy):
    Project.objects.update(promotion_conflict=policy)
    owner = Realm()
    owner.register()
    owner.keep(owner.password_login())
    refuse_link(guest, (409, "AccountNameInUse", "a user already exists with the specified provider"))
    refuse_link(guest, WRONG_400, password=WRONG)
    assert owner.profile().json()["user_id"] != guest.user_id


def test_a_second_address_is_400(guest):
    guest.register()
    guest.keep(guest.link())
    guest.register("second@example.com")
    text = "linking a local-userpass identity is not allowed when one is already linked"
    refuse_link(guest, (400, "BadRequest", text), "second@example.com")
    assert Realm().password_login("second@example.com").status_code == 200


def test_a_link_needs_a_token_and_what_is_wrong_with_it_is_401(guest, monkeypatch):
    guest.register()
    body = {"username": EMAIL, "password": PASSWORD}
    for token in (None, guest.refresh_token, "x.y.z"):
        response = guest.post(f"{USERPASS}/login?link=true", body, bearer=token)
        assert refused(response)[:2] == (401, "InvalidSession")
    later = timezone.now() + timedelta(seconds=1801)
    monkeypatch.setattr("django.utils.timezone.now", lambda: later)
    assert refused(guest.link()) == (401, "InvalidSession", "invalid session: access token expired")
    assert EndUser.objects.get().is_guest


def test_a_disabled_guest_links_nothing(guest):
    guest.register()
    EndUser.objects.update(disabled_at=timezone.now())
    assert refused(guest.link())[:2] == (403, "UserDisabled")
    EndUser.objects.update(disabled_at=None)
    assert guest.link().status_code == 200


def test_the_device_of_the_session_is_answered_where_the_link_names_none(guest):
    guest.register()
    body = {"username": EMAIL, "password": PASSWORD}
    answer = guest.post(f"{USERPASS}/login?link=true", body, bearer=guest.access_token).json()
    assert answer["device_id"] == guest.device_id != "0" * 24


def test_whoever_deletes_a_linked_account_frees_the_address(guest):
    guest.register()
    guest.keep(guest.link())
    assert guest.ask("DELETE", f"{OF_APP}/auth/delete", bearer=guest.access_token).status_code == 204
    assert refused(guest.password_login()) == WRONG_401
    assert guest.register().status_code == 201


# --- with the other doors -------------------------------------------------------------------------


def test_a_guest_who_was_promoted_on_our_page_keeps_the_id_and_the_anonymous_identity(guest, app):
    from anonusers.promotion import promote

    promote(
        end_user=EndUser.objects.get(),
        project=app.project,
        proof=proof_of(EMAIL, password=PASSWORD),
        keep_session=Session.objects.get(),
    )
    profile = guest.profile().json()
    assert profile["user_id"] == guest.user_id
    assert [one["provider_type"] for one in profile["identities"]] == ["anon-user", "local-userpass"]
    assert guest.profile().json() == profile
    assert guest.link().status_code == 200  # it is theirs already


def test_an_address_that_a_guest_of_another_door_took_belongs_to_them(realm, app):
    from anonusers.promotion import promote

    realm.register()
    promote(end_user=new_guest(app), project=app.project, proof=proof_of(EMAIL, password="battery staple 9"))
    assert refused(realm.password_login()) == WRONG_401
    assert realm.password_login(password="battery staple 9").status_code == 200
    assert EndUser.objects.count() == 1


def test_no_password_and_no_secret_is_stored_or_logged(by_mail, realm, caplog):
    import json

    from django.apps import apps

    realm.log_in()
    realm.register()
    link = last_link()
    realm.post(f"{USERPASS}/confirm", link)
    realm.keep(realm.link())
    key = realm.post("/api/client/v2.0/auth/api_keys", {"name": "x"}, bearer=realm.refresh_token).json()["key"]
    rows = [list(m._default_manager.values()) for m in apps.get_app_config("anonusers").get_models()]
    dump = json.dumps(rows, default=str) + caplog.text
    secrets = [PASSWORD, link["token"], realm.refresh_token, realm.access_token, key]
    secrets.append(claims_of(realm.refresh_token)["jti"])
    assert [secret for secret in secrets if secret in dump] == []
