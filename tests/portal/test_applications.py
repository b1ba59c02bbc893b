"""Applications: the list, and the settings of one."""

import re
from typing import Any

import pytest
from django.test import Client

from anonusers.models import Application, Project
from portal.models import Draft
from tests.conftest import make_application, make_project, state_of
from tests.portal.conftest import save, version_in

pytestmark = pytest.mark.django_db
LIST = "/portal/guestbook/applications/"
ALL = {
    "name",
    "framework",
    "redirect_uris",
    "post_logout_redirect_uris",
    "refresh_token_lifetime",
    "refresh_token_idle_timeout_enabled",
    "refresh_token_idle_timeout",
    "one_session_only",
    "refresh_token_rotation_enabled",
    "dpop_enabled",
    "access_token_lifetime",
    "issue_jwt_access_token",
    "id_token_signed_response_alg",
}


def at(application: Application) -> str:
    return f"{LIST}{application.pk}/"


def test_the_list_shows_name_type_and_client_id(portal: Client, application: Application) -> None:
    make_application(make_project("shop", "shop.example.com"), "till", name="Till")
    page = portal.get(LIST).content.decode()
    assert f'href="{at(application)}"' in page
    assert "Public Client" in page
    assert "<code>web</code>" in page
    assert 'data-copy="web"' in page
    assert not re.search(r"\btill\b", page, re.IGNORECASE)
    for action in ("", "quick-start/", "delete/"):
        assert f'href="{at(application)}{action}"' in page


def test_the_list_shows_the_framework(portal: Client, project: Project) -> None:
    for client_id, framework in (("a", "react"), ("b", "some-thing"), ("c", "")):
        make_application(project, client_id, framework=framework)
    page = portal.get(LIST).content.decode()
    assert "Public Client · React</span>" in page
    assert "Public Client · some-thing</span>" in page
    assert "Public Client</span>" in page


def test_an_empty_list_says_what_will_appear_and_how(portal: Client, project: Project) -> None:
    page = portal.get(LIST).content.decode()
    assert "No applications yet" in page
    assert f'href="{LIST}new/"' in page


def test_pages_cost_few_statements_with_many_applications(
    portal: Client, project: Project, django_assert_max_num_queries: Any
) -> None:
    rows = [make_application(project, f"client-{number}", framework="react") for number in range(30)]
    pages = ("", "new/", *(f"{rows[0].pk}/{page}" for page in ("", "quick-start/", "delete/")))
    for url in (*(f"{LIST}{page}" for page in pages), "/portal/guestbook/keys/", "/portal/guestbook/login/"):
        with django_assert_max_num_queries(14):
            assert portal.get(url).status_code == 200


def test_a_draft_survives_the_deletion_of_its_application(portal: Client, application: Application) -> None:
    Draft.objects.create(project=application.project)
    save(portal, at(application), name="Drafted")
    assert list(Draft.objects.get().changes) == ["application:web"]
    assert portal.post(f"{at(application)}delete/", {"name": "Web"}).status_code == 302
    for page in ("applications/", "review/", "login/"):
        assert portal.get(f"/portal/guestbook/{page}").status_code == 200


def test_an_open_draft_does_not_hold_back_what_comes_and_goes(portal: Client, application: Application) -> None:
    said, delete = "This takes effect at once", f"{at(application)}delete/"
    for url in (f"{LIST}new/", delete):
        assert said not in portal.get(url).content.decode()
    Draft.objects.create(project=application.project)
    for url in (f"{LIST}new/", delete):
        assert said in portal.get(url).content.decode()
    portal.post(f"{LIST}new/", {"name": "Two", "framework": "react"})
    assert Application.objects.filter(name="Two").exists()
    portal.post(delete, {"name": "Web"})
    assert Application.objects.get().name == "Two"
    assert Draft.objects.get().changes == {}


@pytest.mark.parametrize(
    ("type_", "offered", "not_offered"),
    [
        ("spa", {"", "react", "realm-web"}, {"django", "ios", "m2m"}),
        ("native", {"", "ios", "ionic"}, {"react", "django", "m2m"}),
        ("confidential", {"", "django", "laravel"}, {"react", "ios", "m2m"}),
        ("traditional_webapp", {"", "django", "laravel"}, {"react", "ios", "m2m"}),
        ("", {"", "react", "django", "ios"}, {"m2m"}),
        ("third_party_app", {"", "react", "django", "ios"}, {"m2m"}),
    ],
)
def test_the_framework_is_one_that_leads_to_the_type(
    type_: str, offered: set[str], not_offered: set[str], portal: Client, project: Project
) -> None:
    application = make_application(project, type=type_)
    choices = {value for value, _label in portal.get(at(application)).context["form"].fields["framework"].choices}
    assert offered <= choices
    assert not choices & not_offered
    before = state_of(application)
    assert save(portal, at(application), framework="m2m").status_code == 400
    assert state_of(application) == before
    assert save(portal, at(application), framework=max(offered)).status_code == 302
    assert state_of(application)[0]["framework"] == max(offered)


def test_a_framework_that_the_catalogue_does_not_know_stays(portal: Client, project: Project) -> None:
    application = make_application(project, framework="cobol")
    assert save(portal, at(application), name="Other").status_code == 302
    assert state_of(application)[0]["framework"] == "cobol"


@pytest.mark.parametrize("type_", Application.Type.values)
def test_clients_of_oauth_are_told_the_endpoints(type_: str, portal: Client, project: Project) -> None:
    page = portal.get(at(make_application(project, type=type_))).content.decode()
    told = type_ in ("confidential", "third_party_app", "m2m")
    for path in (".well-known/openid-configuration", "oauth2/authorize", "oauth2/token", "oauth2/userinfo",
                 "oauth2/jwks", "oauth2/end_session"):  # fmt: skip
        assert (f'data-copy="http://localhost:8000/{path}"' in page) == told


def test_the_page_shows_what_cannot_be_changed(portal: Client, application: Application) -> None:
    page = portal.get(at(application)).content.decode()
    assert "<code>web</code>" in page
    assert "<code>http://localhost:8000</code>" in page
    assert "Public Client" in page
    before = state_of(application)[0]
    save(portal, at(application), client_id="other", type="m2m", project="1")
    after = state_of(application)[0]
    assert {name for name in after if after[name] != before[name]} == {"updated_at"}


def test_the_endpoint_is_the_host_that_leads_to_the_project(portal: Client, settings: Any, project: Project) -> None:
    shop = make_project("shop", "*", "shop.example.com")
    url = f"/portal/shop/applications/{make_application(shop).pk}/"
    assert portal.get(url).context["endpoint"] == "http://shop.example.com:8000"
    shop.domains.all().delete()
    assert portal.get(url).context["endpoint"] is None
    assert "No host leads to this project yet." in portal.get(url).content.decode()
    settings.ANONUSERS_ISSUER = "https://auth.example.com"
    assert portal.get(url).context["endpoint"] == "https://auth.example.com"


@pytest.mark.parametrize(
    ("type_", "missing"),
    [
        ("", {"dpop_enabled"}),
        ("spa", {"dpop_enabled"}),
        ("confidential", {"dpop_enabled"}),
        ("native", {"post_logout_redirect_uris"}),
        ("third_party_app", {"post_logout_redirect_uris", "dpop_enabled"}),
        ("traditional_webapp", ALL - {"name", "framework", "redirect_uris", "post_logout_redirect_uris"}
            - {"id_token_signed_response_alg"}),
        ("m2m", ALL - {"name", "access_token_lifetime"}),
    ],
)  # fmt: skip
def test_each_type_has_its_fields(type_: str, missing: set[str], portal: Client, project: Project) -> None:
    application = make_application(project, type=type_)
    response = portal.get(at(application))
    assert set(response.context["form"].fields) == ALL - missing
    page = response.content.decode()
    for name in ALL:
        assert (f'name="{name}"' in page) == (name not in missing), name
    uses_cookies = type_ in ("traditional_webapp", "third_party_app")
    assert ("This application uses cookies." in page) == uses_cookies
    assert save(portal, at(application)).status_code == 302


def test_fields_of_other_types_are_not_taken(portal: Client, project: Project) -> None:
    application = make_application(project, type="traditional_webapp")
    before = state_of(application)[0]
    save(portal, at(application), refresh_token_lifetime="300", access_token_lifetime="300", one_session_only="on")
    after = state_of(application)[0]
    assert {name for name in after if after[name] != before[name]} == {"updated_at"}


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("type_", [type_ for type_ in Application.Type.values if type_ != "native"])
def test_other_types_than_native_keep_dpop_as_it_is(type_: str, stored: bool, portal: Client, project: Project) -> None:
    application = make_application(project, type=type_, dpop_enabled=stored)
    for sent in (None, "on", ""):
        before = state_of(application)[0]
        assert save(portal, at(application), dpop_enabled=sent).status_code == 302
        after = state_of(application)[0]
        assert {name for name in after if after[name] != before[name]} == {"updated_at"}


def test_dpop_of_a_native_application_is_turned_off_and_on(portal: Client, project: Project) -> None:
    application, other = (make_application(project, name, type="native") for name in ("mobile", "tablet"))
    before, untouched = state_of(application)[0], state_of(other, project)
    page = portal.get(at(application)).content.decode()
    assert "worthless to whoever copies them" in page
    assert 'type="checkbox" name="dpop_enabled"' in page
    assert save(portal, at(application), dpop_enabled=None).status_code == 302
    off = state_of(application)[0]
    assert {name for name in off if off[name] != before[name]} == {"dpop_enabled", "updated_at"}
    assert off["dpop_enabled"] is False
    assert save(portal, at(application)).status_code == 302
    assert state_of(application)[0]["dpop_enabled"] is False, "it is shown as it is stored"
    assert save(portal, at(application), dpop_enabled="on").status_code == 302
    assert state_of(application)[0]["dpop_enabled"] is True
    assert state_of(other, project) == untouched


def test_a_bad_entry_leaves_dpop_alone_and_keeps_the_entry(portal: Client, project: Project) -> None:
    application = make_application(project, type="native")
    before = state_of(application)
    response = save(portal, at(application), dpop_enabled=None, access_token_lifetime="7")
    assert response.status_code == 400
    assert response.context["form"]["dpop_enabled"].value() is False
    assert state_of(application) == before


def test_everything_is_saved(portal: Client, application: Application) -> None:
    response = save(
        portal,
        at(application),
        name="  Web two ",
        redirect_uris="https://app.example.com/after\r\n\r\n  com.example.app://host/path  \r\n",
        post_logout_redirect_uris="",
        refresh_token_lifetime="7200",
        refresh_token_idle_timeout="600",
        one_session_only="on",
        refresh_token_rotation_enabled=None,
        access_token_lifetime="300",
        issue_jwt_access_token=None,
        id_token_signed_response_alg="ES256",
    )
    assert response.status_code == 302
    saved = state_of(application)[0]
    assert saved["name"] == "Web two"
    assert saved["redirect_uris"] == ["https://app.example.com/after", "com.example.app://host/path"]
    assert saved["post_logout_redirect_uris"] == []
    assert (saved["refresh_token_lifetime"], saved["refresh_token_idle_timeout"]) == (7200, 600)
    assert (saved["access_token_lifetime"], saved["max_concurrent_sessions"]) == (300, 1)
    assert (saved["refresh_token_rotation_enabled"], saved["issue_jwt_access_token"]) == (False, False)
    assert saved["id_token_signed_response_alg"] == "ES256"
    page = portal.get(at(application)).content.decode()
    assert "Guests are logged out after 10 minutes without activity, 2 hours at the latest." in page
    assert "com.example.app://host/path: other apps on the device can claim this scheme." in page
    application.project.refresh_from_db()
    assert application.project.application_origins == ["https://app.example.com"]
    save(portal, at(application), one_session_only=None)
    assert state_of(application)[0]["max_concurrent_sessions"] == 0


@pytest.mark.parametrize("sent", [None, "", "abc", "1"])
def test_while_idling_does_not_count_its_timeout_stays(
    sent: str | None, portal: Client, application: Application
) -> None:
    response = save(portal, at(application), refresh_token_idle_timeout_enabled=None, refresh_token_idle_timeout=sent)
    assert response.status_code == 302
    saved = state_of(application)[0]
    assert saved["refresh_token_idle_timeout_enabled"] is False
    assert saved["refresh_token_idle_timeout"] == 2_592_000


SCHEME = "This scheme is not allowed in a redirect URI."


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"name": ""}, "name", "Enter a name."),
        ({"name": "   "}, "name", "Enter a name."),
        ({"name": "x" * 101}, "name", "at most 100 characters"),
        ({"access_token_lifetime": "299"}, "access_token_lifetime", "Enter at least 300 seconds (5 minutes)."),
        ({"access_token_lifetime": "315360001"}, "access_token_lifetime", "Enter at most 315,360,000 seconds"),
        ({"access_token_lifetime": "abc"}, "access_token_lifetime", "Enter a whole number of seconds"),
        ({"refresh_token_lifetime": "299"}, "refresh_token_lifetime", "Enter at least 300 seconds (5 minutes)."),
        ({"refresh_token_lifetime": "1799"}, "refresh_token_lifetime",
            "must be greater than or equal to the access token lifetime"),
        ({"access_token_lifetime": "31449601"}, "refresh_token_lifetime",
            "must be greater than or equal to the access token lifetime"),
        ({"refresh_token_lifetime": ""}, "refresh_token_lifetime", "Enter a number of seconds."),
        ({"refresh_token_idle_timeout": "59"}, "refresh_token_idle_timeout", "Enter at least 60 seconds (1 minute)."),
        ({"refresh_token_idle_timeout": "x"}, "refresh_token_idle_timeout", "Enter a whole number of seconds"),
        ({"id_token_signed_response_alg": "none"}, "id_token_signed_response_alg", "Select a valid choice."),
        ({"redirect_uris": "javascript:alert(1)"}, "redirect_uris", SCHEME),
        ({"redirect_uris": "data:text/html,x"}, "redirect_uris", SCHEME),
        ({"redirect_uris": "/after"}, "redirect_uris", "/after: Use an absolute URI"),
        ({"redirect_uris": "https://a.example/#x"}, "redirect_uris", "A redirect URI has no fragment"),
        ({"redirect_uris": "http://app.example.com/"}, "redirect_uris", "Use https."),
        ({"redirect_uris": "https://u:p@a.example/"}, "redirect_uris", "A redirect URI has no user name."),
        ({"redirect_uris": "http://["}, "redirect_uris", "http://[: The host or the port is not valid."),
        ({"redirect_uris": "https://a.example/\nhttps://a.example/"}, "redirect_uris",
            "https://a.example/ is there twice."),
        ({"redirect_uris": "\n".join(f"https://a.example/{n}" for n in range(101))}, "redirect_uris",
            "Enter at most 100 URIs."),
        ({"post_logout_redirect_uris": "vbscript:x"}, "post_logout_redirect_uris", SCHEME),
    ],
)  # fmt: skip
def test_a_bad_entry_is_refused_at_its_field(
    changes: dict[str, str], field: str, words: str, portal: Client, application: Application, project: Project
) -> None:
    before = state_of(application, project)
    response = save(portal, at(application), **changes)
    assert response.status_code == 400
    page = response.content.decode()
    assert set(response.context["form"].errors) == {field}
    assert words in page.split(f'id="id_{field}_error"')[1].split("</div>")[0]
    assert f'href="#id_{field}"' in page
    assert "<h1>Web</h1>" in page  # what is stored, not what was typed
    assert state_of(application, project) == before


def test_good_entries_survive_a_bad_one(portal: Client, application: Application) -> None:
    page = save(
        portal, at(application), name="New name", access_token_lifetime="7", redirect_uris="https://new.example/"
    ).content.decode()
    assert 'value="New name"' in page
    assert 'value="7"' in page
    assert "https://new.example/</textarea>" in page


def test_a_bad_lifetime_is_not_held_against_the_other_one(portal: Client, application: Application) -> None:
    """600 is less than the stored access lifetime, but that one is being changed, too."""
    before = state_of(application)
    response = save(portal, at(application), access_token_lifetime="abc", refresh_token_lifetime="600")
    assert set(response.context["form"].errors) == {"access_token_lifetime"}
    assert state_of(application) == before


def test_a_machine_has_an_upper_bound_of_four_weeks(portal: Client, project: Project) -> None:
    application = make_application(project, type="m2m", access_token_lifetime=1800, refresh_token_lifetime=1800)
    before = state_of(application)
    response = save(portal, at(application), access_token_lifetime="2419201")
    assert response.status_code == 400
    assert "Enter at most 2,419,200 seconds (28 days)." in response.content.decode()
    assert state_of(application) == before
    # Its refresh token lifetime is on no page and means nothing: it does not stand in the way.
    assert save(portal, at(application), access_token_lifetime="2419200").status_code == 302
    application.refresh_from_db()
    assert application.access_token_lifetime == 2_419_200


def test_an_application_whose_type_has_no_guests_speaks_of_users(portal: Client, project: Project) -> None:
    application = make_application(project, type="confidential")
    page = portal.get(at(application)).content.decode()
    assert "Users are logged out after 30 days without activity, 364 days at the latest." in page


def test_only_a_scheme_that_others_can_claim_gets_a_warning(portal: Client, project: Project) -> None:
    uris = ["https://app.example.com/", "http://localhost:3000/", "com.example.app://host"]
    application = make_application(project, redirect_uris=uris)
    warnings = portal.get(at(application)).context["form"].risky_redirect_uris()
    assert warnings == ["com.example.app://host: other apps on the device can claim this scheme."]


def test_an_overtaken_form_saves_nothing_and_keeps_the_entries(portal: Client, application: Application) -> None:
    stale = version_in(portal.get(at(application)))
    save(portal, at(application), access_token_lifetime="600")
    before = state_of(application)
    response = save(portal, at(application), name="Mine", version=stale)
    assert response.status_code == 409
    page = response.content.decode()
    assert "differ from what is stored now in: Name." in page
    assert 'value="Mine"' in page
    assert "<h1>Web</h1>" in page
    assert state_of(application) == before


def test_shortening_a_lifetime_ends_sessions_at_once(portal: Client, application: Application) -> None:
    from datetime import timedelta

    from django.contrib.auth import get_user_model
    from django.utils import timezone

    from anonusers.models import EndUser, Session

    now = timezone.now()
    end_user = EndUser.objects.create(project=application.project, user=get_user_model().objects.create_user("guest-1"))
    session = Session.objects.create(
        project=application.project, application=application, end_user=end_user, kind="token", refresh_hash="x",
        created_at=now - timedelta(hours=3), last_used_at=now,
    )  # fmt: skip

    def live() -> bool:
        return Session.objects.in_full().get(pk=session.pk).is_live(now)

    assert live()
    save(portal, at(application), refresh_token_lifetime="7200")
    assert not live()
