"""The tutorial, done by a machine that types everything as it stands, and then plays its story over HTTP."""

import http.cookiejar
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.telling import Reader

TUTORIAL = Path(__file__).parent.parent / "docs" / "tutorial.md"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


class Browser:
    """Keeps cookies, sends forms with their CSRF token, and follows redirects."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))
        self.url, self.page = "", ""

    @property
    def cookies(self) -> set[str]:
        return {cookie.name for cookie in self.jar}

    @property
    def who(self) -> str:
        return re.sub(r"<.*", "", re.search(r'<p id="who">(.*?)</p>', self.page)[1]).strip()

    @property
    def notes(self) -> list[str]:
        return re.findall(r"<li>(.*?)</li>", self.page[self.page.index("<ul>") :]) if "<ul>" in self.page else []

    def get(self, path: str) -> "Browser":
        return self._open(urllib.request.Request(self.origin + path))

    def send(self, path: str, **fields: str) -> "Browser":
        """Fills the form of the page that is open, whose action is `path`."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.page)[1]
        body = urllib.parse.urlencode({"csrfmiddlewaretoken": token} | fields).encode()
        return self._open(urllib.request.Request(self.origin + path, body, {"Origin": self.origin}))

    def _open(self, request: urllib.request.Request) -> "Browser":
        request.add_header("User-Agent", BROWSER)
        with self.opener.open(request, timeout=30) as answer:
            self.url, self.page = answer.geturl(), answer.read().decode()
        return self


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """What somebody has who followed the tutorial: a server that runs."""
    with Reader(tmp_path_factory.mktemp("tutorial")) as reader:
        reader.follow(TUTORIAL)
        yield reader


PASSWORD = "a long enough passphrase"


def test_the_story_of_the_tutorial(site):
    anna = Browser(site.origin)
    assert anna.get("/").who.startswith("You are a visitor.")
    assert anna.get("/").who.startswith("You are a visitor.")
    assert anna.cookies == {"csrftoken"}, "looking makes nobody a guest"

    anna.send("/", text="Buy milk")
    guest = re.fullmatch(r"You are guest number (\d+)\.", anna.who)[1]
    assert anna.notes == ["Buy milk"]
    assert "anonusers_session" in anna.cookies
    assert anna.get("/").who == f"You are guest number {guest}."

    anna.get("/register/").send("/register/", username="anna", password1=PASSWORD, password2=PASSWORD)
    assert anna.who == f"You are anna, number {guest}."
    assert anna.notes == ["Buy milk"]
    anna.send("/", text="Buy bread")
    assert anna.notes == ["Buy milk", "Buy bread"]

    anna.send("/accounts/logout/")
    assert anna.who.startswith("You are a visitor.")
    assert anna.notes == []
    assert "anonusers_session" not in anna.cookies

    anna.get("/accounts/login/").send("/accounts/login/", username="anna", password=PASSWORD)
    assert anna.who == f"You are anna, number {guest}."
    assert anna.notes == ["Buy milk", "Buy bread"]


def test_two_guests_are_two_people_and_a_name_is_given_once(site):
    ben, cora = Browser(site.origin), Browser(site.origin)
    for person, name in ((ben, "ben"), (cora, "Ben")):
        person.get("/").send("/", text=f"by {name}")
        person.get("/register/").send("/register/", username=name, password1=PASSWORD, password2=PASSWORD)
    assert ben.who.startswith("You are ben, number ")
    assert cora.url.endswith("/register/")
    assert "already" in cora.page
    assert cora.get("/").who.startswith("You are guest number "), "who is refused stays the guest they were"
    assert cora.notes == ["by Ben"]


def test_a_visitor_registers_without_having_been_a_guest(site):
    dora = Browser(site.origin)
    dora.get("/register/").send("/register/", username="dora", password1=PASSWORD, password2=PASSWORD)
    assert dora.who.startswith("You are a visitor."), "registering does not log in, as ever in Django"
    dora.get("/accounts/login/").send("/accounts/login/", username="dora", password=PASSWORD)
    assert dora.who.startswith("You are dora, number ")


def test_a_robot_that_posts_is_refused_and_becomes_nobody(site):
    robot = Browser(site.origin)
    robot.get("/")
    robot.opener.addheaders = []
    token = re.search(r'value="(\w+)"', robot.page)[1]
    body = urllib.parse.urlencode({"csrfmiddlewaretoken": token, "text": "spam"}).encode()
    request = urllib.request.Request(f"{site.origin}/", body, {"User-Agent": "Googlebot/2.1"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        robot.opener.open(request, timeout=30)
    assert refused.value.code == 403
    refused.value.close()
    assert robot.cookies == {"csrftoken"}
