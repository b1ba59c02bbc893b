"""Applications › Quick start: which code is shown, and the values in it. tests/e2e/test_quick_start.py runs it."""

import ast
import json
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import Client, RequestFactory
from django.urls import include, path, re_path

from anonusers.models import Application, EndUser, Project
from portal.quick_start import Guide, guides_for
from tests.conftest import HOST, make_application

pytestmark = pytest.mark.django_db
ENDPOINT = "http://localhost:8000"


def guides(application: Application) -> list[Guide]:
    return guides_for(application, endpoint=ENDPOINT)


def keys(application: Application) -> list[str]:
    return [guide.key for guide in guides(application)]


def code_of(application: Application, key: str) -> str:
    return "\n".join(snippet.code for guide in guides(application) if guide.key == key for snippet in guide.snippets)


def at(application: Application) -> str:
    return f"/portal/guestbook/applications/{application.pk}/quick-start/"


@pytest.mark.parametrize(
    ("type_", "framework", "expected"),
    [
        ("spa", "", ["web", "fetch", "http"]),
        ("spa", "react", ["web", "fetch", "http"]),
        ("spa", "realm-web", ["web", "fetch", "http"]),
        ("", "", ["web", "fetch", "http"]),
        ("traditional_webapp", "", ["fetch", "web", "django"]),
        ("traditional_webapp", "flask", ["fetch", "web", "django"]),
        ("traditional_webapp", "django", ["django", "fetch", "web"]),
        ("native", "", ["react-native", "fetch", "http"]),
        ("native", "react-native", ["react-native", "fetch", "http"]),
        ("native", "ionic", ["fetch", "react-native", "http"]),
        ("native", "ios", ["http", "react-native", "fetch"]),
        ("native", "flutter", ["http", "react-native", "fetch"]),
        ("spa", "a word of the project file", ["web", "fetch", "http"]),
        ("confidential", "django", []),
        ("third_party_app", "", []),
        ("m2m", "m2m", []),
    ],
)
def test_what_fits_comes_first(
    type_: str, framework: str, expected: list[str], portal: Client, project: Project
) -> None:
    application = make_application(project, type=type_, framework=framework)
    assert keys(application) == expected
    page = portal.get(at(application)).content.decode()
    assert [part.split('"')[0] for part in page.split('id="guide-')[1:]] == expected
    assert page.count('<details class="card settings-card guide"') == len(expected)
    if expected:
        assert f'id="guide-{expected[0]}" open' in page
        assert page.count(" open>") == 1
    else:
        assert "This type cannot have guests" in page


def test_the_values_are_those_of_the_project(portal: Client, project: Project) -> None:
    application = make_application(project, "my-client", redirect_uris=["https://app.example.com/back"])
    assert 'clientID: "my-client"' in code_of(application, "web")
    assert f'endpoint: "{ENDPOINT}"' in code_of(application, "web")
    assert 'sessionType: "refresh_token"' in code_of(application, "web")
    assert 'redirectURI: "https://app.example.com/back",' in code_of(application, "web")
    assert f'const API = "{ENDPOINT}/api/v1";' in code_of(application, "fetch")
    assert f"{ENDPOINT}/api/v1/signup/" in code_of(application, "http")
    page = portal.get(at(application)).content.decode()
    assert "const CLIENT_ID = &quot;my-client&quot;;" in page
    assert 'data-copy="npm install @authgear/web\n"' in page
    assert '<code class="line">https://app.example.com</code>' in page
    cookie = make_application(project, "cookie", type="traditional_webapp")
    assert 'sessionType: "cookie"' in code_of(cookie, "web")
    assert 'kind: "cookie"' in code_of(cookie, "fetch")
    assert '@guest_required_on_write(application="cookie")' in code_of(cookie, "django")


NASTY = "\"'\\`${alert(1)}</script><<api>>"


@pytest.mark.parametrize("type_", ["spa", "traditional_webapp", "native"])
def test_no_client_id_breaks_out_of_its_literal(type_: str, portal: Client, project: Project) -> None:
    application = make_application(project, NASTY.replace("<<api>>", ""), type=type_)
    application.full_clean()
    literal = json.dumps(application.client_id)
    for guide in guides(application):
        for snippet in guide.snippets:
            assert "<<" not in snippet.code
            if snippet.language == "js" and "CLIENT_ID = " in snippet.code:
                assert f"CLIENT_ID = {literal};" in snippet.code
            if snippet.language == "python":
                ast.parse(snippet.code)
    page = portal.get(at(application)).content.decode()
    assert "</script><" not in page.split("<main")[1]


def test_without_a_host_the_page_says_so(portal: Client, project: Project, application: Application) -> None:
    project.domains.all().delete()
    page = portal.get(at(application)).content.decode()
    assert "No host leads to this project yet." in page
    assert "endpoint: &quot;https://auth.example.com&quot;" in page


def test_while_guests_are_off_the_page_says_so(portal: Client, project: Project, application: Application) -> None:
    said = "Anonymous users are off, so nobody can become a guest."
    assert said not in portal.get(at(application)).content.decode()
    Project.objects.filter(pk=project.pk).update(anonymous_users_enabled=False)
    assert said in portal.get(at(application)).content.decode()


@pytest.mark.parametrize(
    ("login_ids", "type_"), [(["email"], "email"), (["username", "email"], "username"), (["phone"], "phone")]
)
def test_keeping_the_account_is_shown_as_the_project_allows_it(
    login_ids: list[str], type_: str, application: Application
) -> None:
    application.project.login_ids = login_ids
    assert f'{{ type: "{type_}", value }}' in code_of(application, "fetch")


def test_where_nobody_can_keep_the_account_no_code_says_so(portal: Client, project: Project) -> None:
    application = make_application(project, redirect_uris=[])
    Project.objects.filter(pk=project.pk).update(login_ids=[])
    application.refresh_from_db()
    for key in ("web", "fetch"):
        assert "romot" not in code_of(application, key)
    assert "Guests cannot keep their account so far" in portal.get(at(application)).content.decode()


# --- Django: the code is run ----------------------------------------------------------------------------------------


def test_the_code_for_django_makes_a_guest_of_who_writes(project: Project) -> None:
    application = make_application(project, type="traditional_webapp", framework="django")
    settings_, urls, views, rest = guides(application)[0].snippets
    configuration: dict[str, Any] = {"INSTALLED_APPS": [], "MIDDLEWARE": []}
    exec(settings_.code, configuration)
    assert configuration["INSTALLED_APPS"] == ["rest_framework", "anonusers"]
    routes: dict[str, Any] = {"urlpatterns": []}
    exec(urls.code, routes)
    assert len(routes["urlpatterns"]) == 1
    code: dict[str, Any] = {}
    exec(views.code, code)
    exec(rest.code, code)
    for number, view in enumerate((code["basket"], code["BasketView"].as_view()), start=1):
        assert through_middleware(view, "get", configuration["MIDDLEWARE"]).status_code in (200, 405)
        assert EndUser.objects.count() == number - 1
        response = through_middleware(view, "post", configuration["MIDDLEWARE"])
        assert response.status_code == 200, response.content
        assert EndUser.objects.count() == number
        guest = EndUser.objects.get(user_id=json.loads(response.content)["user"])
        assert guest.is_guest
        assert guest.sessions.get().application == application
        assert "anonusers_session" in response.cookies


def through_middleware(view: Any, method: str, middleware: list[str]) -> HttpResponse:
    """The answer of a view to a visitor, in a project with this middleware."""
    from django.contrib.auth.models import AnonymousUser
    from django.utils.module_loading import import_string

    def answer(request: HttpRequest) -> HttpResponse:
        request.user = AnonymousUser()
        response: HttpResponse = view(request)
        return response.render() if hasattr(response, "render") else response

    handler: Any = answer
    for name in middleware:
        handler = import_string(name)(handler)
    request = getattr(RequestFactory(), method)("/basket/", HTTP_HOST=HOST, HTTP_USER_AGENT="Mozilla/5.0")
    result: HttpResponse = handler(request)
    return result


# --- realm-web: shown where its door is ------------------------------------------------------------------------------


def _location(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    return JsonResponse({})


class WithRealm:
    """The routes of a server that has a Realm door, too."""

    app_name = "anonusers"
    urlpatterns = [
        path(
            "",
            include(
                (
                    [
                        path("", include(([re_path(r"^api/client/v2\.0/", _location)], "realm"))),
                        path("", include("anonusers.protocols.authgear.urls")),
                        path("", include("anonusers.protocols.rest.urls")),
                        path("", include("anonusers.pages.urls")),
                    ],
                    "anonusers",
                )
            ),
        ),
        path("portal/", include("portal.urls")),
    ]


class WithoutRealm:
    """The routes of a server that has no Realm door."""

    app_name = "anonusers"
    urlpatterns = [
        path(
            "",
            include(
                (
                    [
                        path("", include("anonusers.protocols.authgear.urls")),
                        path("", include("anonusers.protocols.rest.urls")),
                        path("", include("anonusers.pages.urls")),
                    ],
                    "anonusers",
                )
            ),
        ),
        path("portal/", include("portal.urls")),
    ]


@pytest.mark.parametrize("exact", [True, False])
def test_realm_web_appears_with_its_door_for_the_application_of_the_app(
    exact: bool, portal: Client, project: Project, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Project.objects.filter(pk=project.pk).update(realm_app_id="guestbook-abcde")
    project.refresh_from_db()
    application = make_application(project, "guestbook-abcde", framework="realm-web")
    settings.ROOT_URLCONF = WithoutRealm
    assert "realm-web" not in portal.get(at(application)).content.decode().split("<main")[1]
    if exact:  # a door with only the routes of an app
        route = path("api/client/v2.0/app/<str:app_id>/location", _location)
        monkeypatch.setattr(WithRealm, "urlpatterns", [route, *WithRealm.urlpatterns])
    settings.ROOT_URLCONF = WithRealm
    assert keys(application) == ["realm", "web", "fetch", "http"]
    page = portal.get(at(application)).content.decode()
    assert "new Realm.App({ id: &quot;guestbook-abcde&quot;, baseUrl: &quot;http://localhost:8000&quot; });" in page
    assert "linkCredentials" not in page
    for other in (make_application(project, "vue", framework="vue"), make_application(project, "app", type="native")):
        assert "realm" not in keys(other)
    Project.objects.filter(pk=project.pk).update(realm_app_id="")
    application.refresh_from_db()
    assert "realm" not in keys(application)


@pytest.mark.parametrize("at_once", [True, False])
def test_guests_of_realm_keep_their_account_by_address_with_or_without_a_mail(
    at_once: bool, project: Project, settings: Any
) -> None:
    settings.ROOT_URLCONF = WithRealm
    changes = {"realm_app_id": "web", "realm_local_userpass": True, "realm_auto_confirm": at_once}
    Project.objects.filter(pk=project.pk).update(**changes)
    application = make_application(Project.objects.get(pk=project.pk), "web", framework="realm-web")
    code = guides_for(application, endpoint="http://localhost:8000")[0].snippets[-1].code
    assert "linkCredentials" in code
    assert ("confirmUser" in code) is not at_once
