"""The demo's views: what a host project writes when its users may be guests."""

import json
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from anonusers.models import AnonymousIdentity, Application, EndUser, Session
from example.models import PAGE, TEXT_MAX, Comment
from tests.conftest import HOST, ORIGIN, make_application, row_counts

pytestmark = pytest.mark.django_db

JSON = "application/json"


@pytest.fixture(autouse=True)
def _applications(application: Application) -> None:
    make_application(application.project, "guestbook-cookie", type="traditional_webapp")


def sign_up(client: Client, kind: str = "cookie") -> dict[str, Any]:
    client_id = {"cookie": "guestbook-cookie", "token": "web"}[kind]
    answer = client.post("/api/v1/signup/", {"client_id": client_id, "kind": kind}, content_type=JSON)
    assert answer.status_code == 201, answer.content
    body: dict[str, Any] = answer.json()
    return body


@pytest.fixture
def guest(browser_client: Client) -> Client:
    """A browser in which a guest is signed in by cookie."""
    sign_up(browser_client)
    return browser_client


def everything() -> list[Any]:
    return [row_counts(), list(Comment.objects.order_by("pk").values())]


def post(client: Client, text: str = "Hello", **headers: Any) -> Any:
    return client.post("/comments/", {"text": text}, content_type=JSON, headers=headers)


# --- reading ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/comments/"])
def test_reading_makes_nobody_a_user_and_sets_no_cookie(browser_client: Client, path: str) -> None:
    before = everything()

    answer = browser_client.get(path)

    assert answer.status_code == 200
    assert answer.cookies == {}
    assert "Cookie" not in answer.headers.get("Vary", "") or path != "/"
    assert everything() == before


def test_the_page_has_no_inline_script_or_style_and_a_strict_policy(browser_client: Client) -> None:
    answer = browser_client.get("/")
    page = answer.content.decode()

    assert answer["Content-Security-Policy"].startswith("default-src 'none'")
    assert "unsafe" not in answer["Content-Security-Policy"]
    assert page.count("<script") == 1
    assert '<script type="module" src="/static/example/guestbook.js"></script>' in page
    assert "<style" not in page
    assert " style=" not in page
    assert " onclick=" not in page


def test_the_page_is_only_read(browser_client: Client) -> None:
    assert browser_client.head("/").status_code == 200
    assert browser_client.post("/").status_code == 405


def test_the_page_escapes_what_people_wrote(guest: Client) -> None:
    post(guest, "<script>alert(1)</script>")

    page = guest.get("/").content.decode()

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page


def test_a_visitor_reads_what_guests_wrote_without_learning_their_sub(guest: Client) -> None:
    post(guest, "Hello")
    end_user = EndUser.objects.get()

    visitor = Client(HTTP_HOST=HOST)
    answer = visitor.get("/comments/")

    assert answer.json()["signed_in"] is False
    (comment,) = answer.json()["comments"]
    assert comment.keys() == {"id", "author", "tint", "text", "created_at", "mine"}
    assert comment["author"] == f"Guest {end_user.id.hex[:4]}"
    assert (comment["text"], comment["mine"]) == ("Hello", False)
    for body in (answer.content.decode(), visitor.get("/").content.decode()):
        assert str(end_user.id) not in body
        assert end_user.id.hex not in body


def test_the_newest_fifty_are_listed_in_one_statement(
    guest: Client, django_assert_num_queries: Any, browser_client: Client
) -> None:
    author = EndUser.objects.get().user
    Comment.objects.bulk_create(Comment(author=author, text=str(number)) for number in range(PAGE + 5))

    with django_assert_num_queries(1):
        answer = Client(HTTP_HOST=HOST).get("/comments/")

    texts = [comment["text"] for comment in answer.json()["comments"]]
    assert texts == [str(number) for number in range(PAGE + 4, 4, -1)]
    with django_assert_num_queries(1):
        Client(HTTP_HOST=HOST).get("/")


def test_authors_are_called_what_they_are(guest: Client) -> None:
    post(guest, "From a guest")
    staff = get_user_model().objects.create_user("admin")
    Comment.objects.create(author=staff, text="From nobody of ours")
    code = EndUser.objects.get().id.hex[:4]

    def names() -> list[str]:
        return [comment["author"] for comment in guest.get("/comments/").json()["comments"]]

    assert names() == ["Staff", f"Guest {code}"]
    AnonymousIdentity.objects.all().delete()
    assert names() == ["Staff", f"Member {code}"]
    assert guest.get("/").status_code == 200


# --- writing ------------------------------------------------------------------------------------------------------


def test_a_guest_posts_by_cookie(guest: Client) -> None:
    answer = post(guest, "  Hello\nthere ")

    assert answer.status_code == 201
    comment = Comment.objects.get()
    assert (comment.text, comment.author) == ("Hello\nthere", EndUser.objects.get().user)
    assert (answer.json()["id"], answer.json()["mine"]) == (comment.pk, True)
    assert guest.get("/comments/").json()["signed_in"] is True


def test_a_guest_posts_by_bearer_token(browser_client: Client) -> None:
    tokens = sign_up(browser_client, "token")

    answer = post(browser_client, "Hello", Authorization=f"Bearer {tokens['access_token']}")

    assert answer.status_code == 201
    assert str(Comment.objects.get().author.end_user.id) == tokens["sub"]
    assert answer.cookies == {}


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Bearer "}, {"Cookie": "anonusers_session=x"}],
)
def test_a_visitor_cannot_write(guest: Client, headers: dict[str, str]) -> None:
    post(guest)
    before = everything()
    visitor = Client(HTTP_HOST=HOST)

    answers = [post(visitor, **headers), visitor.delete(f"/comments/{Comment.objects.get().pk}/", headers=headers)]

    assert [answer.status_code for answer in answers] == [401, 401]
    assert [answer["WWW-Authenticate"] for answer in answers] == ["Bearer", "Bearer"]
    assert everything() == before


def test_a_session_that_ended_writes_nothing(guest: Client) -> None:
    guest.post("/api/v1/logout/", {}, content_type=JSON)
    before = everything()
    assert post(guest).status_code == 401
    assert everything() == before


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}]
)
def test_another_site_cannot_write_with_a_guests_cookie(guest: Client, headers: dict[str, str]) -> None:
    post(guest)
    before = everything()

    answers = [
        post(guest, **headers),
        guest.delete(f"/comments/{Comment.objects.get().pk}/", headers=headers),
    ]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert everything() == before
    assert post(guest, **{"Sec-Fetch-Site": "same-origin", "Origin": ORIGIN}).status_code == 201


@pytest.mark.parametrize("length", [1, TEXT_MAX])
def test_a_text_of_any_length_that_fits_is_kept_whole(guest: Client, length: int) -> None:
    text = "😀" * length
    assert post(guest, text).status_code == 201
    assert Comment.objects.get().text == text


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({}, "text"),
        ({"text": ""}, "text"),
        ({"text": " \n\t "}, "text"),
        ({"text": "x" * (TEXT_MAX + 1)}, "text"),
        ({"text": None}, "text"),
        ({"text": 7}, "text"),
        ({"text": True}, "text"),
        ({"text": ["Hello"]}, "text"),
        ({"text": {"text": "Hello"}}, "text"),
        ({"text": "a\0b"}, "text"),
        ({"text": "\ud800"}, "text"),
        ({"text": "Hello", "author": 1}, "author"),
        ({"text": "Hello", "id": 1, "created_at": "2020-01-01"}, "id"),
        ([], "non_field_errors"),
        ([{"text": "Hello"}], "non_field_errors"),
        ("Hello", "non_field_errors"),
        (None, "non_field_errors"),
    ],
    ids=lambda value: json.dumps(value)[:30],
)
def test_what_is_not_a_comment_is_refused(guest: Client, body: Any, key: str) -> None:
    before = everything()

    answer = guest.post("/comments/", json.dumps(body), content_type=JSON)

    assert answer.status_code == 400
    assert key in answer.json()
    assert everything() == before


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        pytest.param("", JSON, 400, id="empty"),
        pytest.param("{", JSON, 400, id="torn"),
        pytest.param('{"text": NaN}', JSON, 400, id="NaN"),
        pytest.param(b'{"text": "\xff"}', JSON, 400, id="latin-1"),
        pytest.param("[" * 8000, JSON, 400, id="deep"),
        pytest.param('{"text":' * 1600 + "1" + "}" * 1600, JSON, 400, id="deep objects"),
        pytest.param(json.dumps({"text": "x" * 20_000}), JSON, 413, id="large"),
        pytest.param("x" * 1_100_000, JSON, 413, id="huge"),
        pytest.param('{"text": "Hello"}', "text/plain", 415, id="text"),
        pytest.param("text=Hello", "application/x-www-form-urlencoded", 415, id="form"),
        pytest.param(
            '--b\r\nContent-Disposition: form-data; name="text"\r\n\r\nHello\r\n--b--',
            "multipart/form-data; boundary=b",
            415,
            id="multipart",
        ),
    ],
)
def test_what_is_not_small_json_is_refused(guest: Client, body: Any, content_type: str, status: int) -> None:
    before = everything()

    answer = guest.generic("POST", "/comments/", body, content_type=content_type)

    assert answer.status_code == status
    assert answer["Content-Type"] == JSON
    assert everything() == before


# --- deleting -----------------------------------------------------------------------------------------------------


def test_a_guest_deletes_their_own_comment(guest: Client) -> None:
    first, second = post(guest, "First").json()["id"], post(guest, "Second").json()["id"]

    assert guest.delete(f"/comments/{first}/", content_type=JSON).status_code == 204

    assert Comment.objects.get().pk == second


def test_nobody_deletes_the_comment_of_somebody_else(guest: Client) -> None:
    theirs = post(guest, "Mine").json()["id"]
    stranger = Client(HTTP_HOST=HOST)
    sign_up(stranger)
    before = everything()

    answers = [stranger.delete(f"/comments/{pk}/") for pk in (theirs, theirs + 1, 2**70)]

    # Nor does anybody learn which comments there are.
    assert [(answer.status_code, answer.content) for answer in answers] == [(404, answers[0].content)] * 3
    assert everything() == before


@pytest.mark.parametrize("method", ["get", "put", "patch", "post"])
def test_a_comment_is_not_read_or_changed_by_itself(guest: Client, method: str) -> None:
    pk = post(guest).json()["id"]
    before = everything()
    answer = getattr(guest, method)(f"/comments/{pk}/", data={"text": "Other"}, content_type=JSON)
    assert (answer.status_code, answer["Content-Type"]) == (405, JSON)
    assert everything() == before


def test_a_guest_who_goes_takes_the_comments_along(guest: Client) -> None:
    post(guest)
    get_user_model().objects.all().delete()
    assert not Comment.objects.exists()
    assert not Session.objects.exists()
