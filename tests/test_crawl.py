"""Issue 5, must hold 1: a crawl of the demo creates no row and sets no cookie; the first comment makes one guest."""

from typing import Any

import pytest
from django.apps import apps
from django.test import Client

from anonusers.models import Application, EndUser
from example.models import Comment
from tests.conftest import HOST, make_application

pytestmark = [pytest.mark.django_db, pytest.mark.database]

JSON = "application/json"
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
)
APPLE = "AppleWebKit/537.36 (KHTML, like Gecko"
BOTS = {
    "Googlebot": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Googlebot phone": f"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) {APPLE}) "
    "Chrome/130.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "GoogleOther": "GoogleOther",
    "Bingbot": f"Mozilla/5.0 {APPLE}; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0",
    "GPTBot": f"Mozilla/5.0 {APPLE}; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "ChatGPT-User": f"Mozilla/5.0 {APPLE}; compatible; ChatGPT-User/1.0; +https://openai.com/bot)",
    "OAI-SearchBot": f"Mozilla/5.0 {APPLE}; compatible; OAI-SearchBot/1.0; +https://openai.com/searchbot)",
    "ClaudeBot": f"Mozilla/5.0 {APPLE}; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
    "PerplexityBot": f"Mozilla/5.0 {APPLE}; compatible; PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)",
    "CCBot": "CCBot/2.0 (https://commoncrawl.org/faq/)",
    "Bytespider": "Mozilla/5.0 (compatible; Bytespider; spider-feedback@bytedance.com)",
    "Amazonbot": f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {APPLE}; compatible; Amazonbot/0.1)",
    "Applebot": "Mozilla/5.0 (compatible; Applebot/0.3; +http://www.apple.com/go/applebot)",
    "meta": "meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)",
    "Facebook": "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "AhrefsBot": "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "SemrushBot": "Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)",
    "YandexBot": "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
    "Baiduspider": "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
    "DuckDuckBot": "DuckDuckBot/1.1; (+http://duckduckgo.com/duckduckbot.html)",
}


@pytest.fixture(autouse=True)
def _applications(application: Application) -> None:
    make_application(application.project, "guestbook-cookie", type="traditional_webapp")


@pytest.fixture
def lazy(settings: Any) -> None:
    """The demo as a site that leaves signing up to the middleware."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "anonusers.middleware.GuestMiddleware"]
    settings.ANONUSERS_GUEST_ON_WRITE_PATHS = [r"^/comments/$"]


def every_table() -> dict[str, int]:
    """Rows of all tables there are, those of Django's sessions included."""
    return {model._meta.label: model._base_manager.count() for model in apps.get_models(include_auto_created=True)}


def visit(user_agent: str) -> Client:
    return Client(HTTP_HOST=HOST, HTTP_USER_AGENT=user_agent)


def write(client: Client, **headers: str) -> Any:
    return client.post("/comments/", {"text": "Hello"}, content_type=JSON, headers=headers)


def gained(before: dict[str, int]) -> dict[str, int]:
    return {label: count - before[label] for label, count in every_table().items() if count != before[label]}


def crawl(client: Client, pages: int) -> None:
    for number in range(pages):
        answer = client.get(("/", "/comments/")[number % 2])
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
        assert answer.cookies == {}
    assert dict(client.cookies) == {}


@pytest.mark.parametrize("by_middleware", [False, True], ids=["as it is", "GuestMiddleware"])
def test_a_crawl_creates_no_row_and_sets_no_cookie(request: Any, by_middleware: bool) -> None:
    if by_middleware:
        request.getfixturevalue("lazy")
    assert len(BOTS) == len(set(BOTS.values())) == 20
    before = every_table()

    crawl(visit(CHROME), 200)
    for user_agent in BOTS.values():
        crawl(visit(user_agent), 4)

    assert gained(before) == {}


@pytest.mark.parametrize("name", BOTS)
def test_a_bot_that_writes_is_no_guest(lazy: None, name: str) -> None:
    before = every_table()
    answer = write(visit(BOTS[name]))
    assert (answer.status_code, answer.cookies) == (403, {})
    assert gained(before) == {}


def test_a_visitor_who_writes_to_the_demo_as_it_is_must_sign_up_first() -> None:
    before = every_table()
    for user_agent in (CHROME, *BOTS.values()):
        answer = write(visit(user_agent))
        assert (answer.status_code, answer.cookies) == (401, {})
    assert gained(before) == {}


def guests(number: int) -> dict[str, int]:
    labels = ("auth.User", "anonusers.EndUser", "anonusers.AnonymousIdentity", "anonusers.Session")
    return dict.fromkeys(labels, number)


def test_the_first_comment_makes_one_guest_and_the_second_none() -> None:
    """As the page does it: one call of the native API before the first comment."""
    before, browser = every_table(), visit(CHROME)
    crawl(browser, 10)
    assert gained(before) == {}

    signup = {"client_id": "guestbook-cookie", "kind": "cookie"}
    assert browser.post("/api/v1/signup/", signup, content_type=JSON).status_code == 201
    assert write(browser).status_code == 201
    assert gained(before) == guests(1) | {"example.Comment": 1}

    assert browser.post("/api/v1/signup/", signup, content_type=JSON).status_code == 200
    assert write(browser).status_code == 201
    assert gained(before) == guests(1) | {"example.Comment": 2}


def test_by_the_middleware_the_first_comment_is_all_it_takes(lazy: None) -> None:
    before, browser = every_table(), visit(CHROME)
    crawl(browser, 10)

    first, second = write(browser), write(browser)

    assert [answer.status_code for answer in (first, second)] == [201, 201]
    assert (first.cookies.keys(), second.cookies) == ({"anonusers_session", "same_site_strict"}, {})
    assert gained(before) == guests(1) | {"example.Comment": 2}
    author = EndUser.objects.get().user
    assert [comment.author for comment in Comment.objects.all()] == [author, author]
    assert first.json()["mine"] is True
    assert browser.get("/comments/").json()["signed_in"] is True


def test_two_browsers_are_two_guests(lazy: None) -> None:
    before = every_table()
    for _ in range(2):
        assert write(visit(CHROME)).status_code == 201
    assert gained(before) == guests(2) | {"example.Comment": 2}
