"""Languages: which one people get, on pages, in mails and from the APIs, and its plurals."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core import mail
from django.test import Client
from django.utils import translation

from anonusers.browser import language_of
from anonusers.models import EndUser
from anonusers.pages import words
from portal import durations
from portal.models import Membership
from tests.anonusers.browsing import be_guest, new_browser, send, text_of
from tests.conftest import HOST, make_application, make_project
from tests.portal.routes import READ_ONLY, ROUTES, browser_of, make_world

LANGUAGES = sorted(language for language, _name in settings.LANGUAGES if language != "en")
each_language = pytest.mark.parametrize("language", LANGUAGES)


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """LocaleMiddleware leaves the thread in the last request's language."""
    with translation.override("en"):
        yield


# --- words with numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "one", "many"),
    [
        ("en", "1 second", "2 seconds"),
        ("de", "1 Sekunde", "2 Sekunden"),
        ("es", "1 segundo", "2 segundos"),
        ("fr", "1 seconde", "2 secondes"),
        ("ja", "1秒", "2秒"),
        ("zh-hans", "1 秒", "2 秒"),
    ],
)
def test_plurals_are_those_of_the_language(language: str, one: str, many: str) -> None:
    with translation.override(language):
        assert (words.in_words(1), words.in_words(2)) == (one, many)


def test_zero_is_singular_in_french_only() -> None:
    with translation.override("fr"):
        assert words.in_words(0) == "0 seconde"
    with translation.override("de"):
        assert words.in_words(0) == "0 Sekunden"


def test_how_long_ago_is_a_phrase_of_its_own() -> None:
    """German bends the noun: "2 Tage", but "vor 2 Tagen"."""
    with translation.override("de"):
        assert durations.in_words(2 * durations.DAY) == "2 Tage"
        assert durations.relative(-2 * durations.DAY) == "vor 2 Tagen"
        assert durations.relative(durations.DAY) == "in 1 Tag"
    with translation.override("ja"):
        assert durations.relative(-3 * durations.HOUR) == "3時間前"


# --- pages ----------------------------------------------------------------------------------------

LOGIN = {
    "en": "Log in",
    "de": "Anmelden",
    "es": "Iniciar sesión",
    "fr": "Connexion",
    "ja": "ログイン",
    "zh-hans": "登录",
}


def heading_of(response: Any) -> str:
    return text_of(response) and re.sub(r"<[^>]+>", "", re.search(r"<h1>(.*?)</h1>", response.content.decode())[1])  # type: ignore[index]


def lang_of(response: Any) -> str:
    return re.search(r'<html lang="([^"]*)" dir="ltr"', response.content.decode())[1]  # type: ignore[index]


@pytest.mark.django_db
@pytest.mark.parametrize(("language", "heading"), LOGIN.items())
def test_hosted_pages_speak_the_browsers_language(language: str, heading: str) -> None:
    make_project()
    page = Client(HTTP_HOST=HOST).get("/login", headers={"Accept-Language": f"{language},en;q=0.5"})
    assert (heading_of(page), lang_of(page)) == (heading, language)
    assert page.headers["Content-Language"] == language
    assert "Accept-Language" in page.headers["Vary"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-hans"),
        ("de-AT", "de"),
        ("pt-BR,fr;q=0.4", "fr"),
        ("ko", "en"),
        ("", "en"),
        ("x" * 600, "en"),
    ],
)
def test_the_nearest_language_is_taken_and_english_where_there_is_none(accepted: str, language: str) -> None:
    make_project()
    page = Client(HTTP_HOST=HOST).get("/login", headers={"Accept-Language": accepted})
    assert (heading_of(page), lang_of(page)) == (LOGIN[language], language)


@pytest.mark.django_db
@each_language
def test_every_hosted_page_renders(language: str) -> None:
    project = make_project()
    client = new_browser(headers={"Accept-Language": language})
    pages = ["/login", "/login/forgot", "/logged-out", "/nowhere", "/oauth2/authorize?client_id=nobody"]
    shown = [client.get(path) for path in pages]
    be_guest(client, project)
    shown += [client.get(path) for path in ("/promote", "/settings", "/settings/delete", "/logout", "/code")]
    for page in shown:
        assert page.status_code in (200, 400, 404), page.wsgi_request.path
        assert lang_of(page) == language, page.wsgi_request.path


@pytest.mark.django_db
@pytest.mark.parametrize("language", ["de", "ja"])
def test_every_portal_page_renders(language: str, django_user_model: Any) -> None:
    world = make_world()
    owner = django_user_model.objects.create_user("olga", is_staff=True)
    Membership.objects.create(project=world.project, user=owner, role="owner")
    client = browser_of(owner)
    shown = 0
    for route in ROUTES:
        page = client.get(world.url(route), headers={"Accept-Language": language}, follow=True)
        if page.headers.get("Content-Type", "").startswith("text/html"):
            assert page.status_code in (200, 400), route
            assert lang_of(page) == language, route
            # Numbers that machines read keep their points, whatever the language writes.
            assert not re.search(r'\s(x|y|width|height|value|d)="[^"]*\d,\d+%', page.content.decode()), route
            shown += 1
    assert shown >= len(READ_ONLY) + 10


@pytest.mark.django_db
def test_the_sign_in_of_the_portal_is_translated() -> None:
    page = Client(HTTP_HOST=HOST).get("/portal/login/", headers={"Accept-Language": "de"})
    assert lang_of(page) == "de"
    assert "Benutzername Passwort Anmelden" in text_of(page)


@pytest.mark.django_db
def test_codes_are_mailed_in_the_language_of_the_page() -> None:
    project = make_project(login_ids=["email"])
    client = new_browser(headers={"Accept-Language": "de"})
    be_guest(client, project)

    send(client, "/promote", login_id="ada@example.com", method="code")
    (sent,) = mail.outbox
    assert "ist Ihr Code für" in sent.subject
    assert "Er gilt zehn Minuten." in sent.body


# --- what an application asks for -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("ui_locales", "language"),
    [
        ("de", "de"),
        ("fr-CA fr en", "fr"),
        ("xx zh-CN", "zh-hans"),
        ("EN", "en"),
        ("xx", ""),
        ("", ""),
        ("../../etc/passwd", ""),
        ("a" * 1000, ""),
    ],
)
def test_ui_locales_name_the_first_language_that_we_speak(ui_locales: str, language: str) -> None:
    """OpenID Connect Core 1.0 §3.1.2.1: an unknown one is no error."""
    assert language_of(ui_locales) == language


@pytest.mark.django_db
@pytest.mark.spec("OpenID Connect Core 1.0", "3.1.2.1")
def test_ui_locales_go_before_the_browsers_language_in_that_flow_only() -> None:
    application = make_application(make_project(login_ids=["email"]))
    client = Client(HTTP_HOST=HOST, headers={"Accept-Language": "ja"})
    asked = {
        "client_id": application.client_id,
        "redirect_uri": application.redirect_uris[0],
        "response_type": "code",
        "scope": "openid",
        "code_challenge": "a" * 43,
        "code_challenge_method": "S256",
        "ui_locales": "xx es",
    }
    page = client.get("/oauth2/authorize", asked, follow=True)
    assert (heading_of(page), lang_of(page), page.headers["Content-Language"]) == (LOGIN["es"], "es", "es")
    assert lang_of(client.get("/login")) == "ja"


@pytest.mark.django_db
def test_settings_remember_what_the_application_asked_for() -> None:
    project = make_project()
    client = new_browser(headers={"Accept-Language": "ja"})
    be_guest(client, project)
    assert lang_of(client.get("/settings", {"ui_locales": "de"})) == "de"
    assert lang_of(client.get("/settings/delete")) == "de"
    assert lang_of(client.get("/settings", {"ui_locales": "nonsense"})) == "de"


@pytest.mark.django_db
def test_asking_for_a_language_alone_writes_nothing() -> None:
    make_project()
    client = Client(HTTP_HOST=HOST)
    assert lang_of(client.get("/login", {"ui_locales": "de"})) == "de"
    assert settings.SESSION_COOKIE_NAME not in client.cookies


# --- programs -------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_problems_of_the_api_stay_english() -> None:
    make_project()
    client = Client(HTTP_HOST=HOST, headers={"Accept-Language": "de"})
    answer = client.get("/api/v1/userinfo/")
    english = Client(HTTP_HOST=HOST).get("/api/v1/userinfo/")
    assert (answer.status_code, answer.json()) == (english.status_code, english.json())


@pytest.mark.django_db
def test_reasons_for_who_fills_in_a_form_follow_the_language() -> None:
    application = make_application(make_project(login_ids=["email"]))
    client = Client(HTTP_HOST=HOST, headers={"Accept-Language": "de"})
    body = {"client_id": application.client_id, "kind": "cookie"}
    assert client.post("/api/v1/signup/", body, content_type="application/json").status_code == 201
    body = {"login_id": {"type": "email", "value": "ada@example.com"}, "password": "12345"}
    answer = client.post(
        "/api/v1/promote/", body, content_type="application/json", headers={"Origin": f"http://{HOST}"}
    )
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (400, "weak_password")
    assert any("Passwort" in cause["detail"] for cause in problem["errors"])
    assert EndUser.objects.get().is_guest


@pytest.fixture
def _fresh_reference() -> Iterator[None]:
    from anonusers.protocols.rest.reference import cached_document

    cached_document.cache_clear()
    yield
    cached_document.cache_clear()


@pytest.mark.django_db
@pytest.mark.usefixtures("_fresh_reference")
def test_the_reference_is_english_whoever_asks_first() -> None:
    make_project()
    german = Client(HTTP_HOST=HOST, headers={"Accept-Language": "de"})
    page = german.get("/api/v1/")
    assert '<html lang="en">' in page.content.decode()
    assert page.headers["Content-Language"] == "en"
    assert german.get("/api/v1/schema/").json() == Client(HTTP_HOST=HOST).get("/api/v1/schema/").json()
