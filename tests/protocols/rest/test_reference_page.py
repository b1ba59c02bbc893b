"""The reference page at /api/v1/: everything is on it, the examples are true, and it obeys its own policy."""

import json
import re
import shlex
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from django.contrib.staticfiles import finders
from jsonschema import Draft202012Validator

from anonusers import limits
from anonusers.conf import Conf
from anonusers.login import begin_code_login
from anonusers.middleware import CONTENT_SECURITY_POLICY
from anonusers.models import LoginID
from anonusers.protocols.rest import examples, reference
from anonusers.protocols.rest.problems import PROBLEMS
from anonusers.protocols.rest.reference import cached_document
from tests.conftest import ORIGIN, make_application
from tests.people import EMAIL, last_code, regular_user
from tests.protocols.rest.conftest import PROMOTION, RECOVERY_CODE, Api, session_of, strict
from tests.protocols.rest.devices import Device

URL = "/api/v1/"
VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "path", "circle", "rect"}


class Page(HTMLParser):
    """The tags of a page, its ids, and whether each opened tag is closed."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, name):
        return [attributes[name] for _tag, attributes in self.tags if name in attributes]


@pytest.fixture
def response():
    """Made without a database: the page must not need one."""
    return Api().get(URL)


@pytest.fixture
def page(response):
    return Page(response.content.decode())


def test_the_page_is_html_that_is_well_formed(response, page):
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.open == []
    assert len(page.all("id")) == len(set(page.all("id")))


def test_the_page_has_no_inline_script_or_style_and_asks_no_third_party(response, page):
    assert response.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert "style" not in [tag for tag, _attributes in page.tags]
    assert not page.all("style")
    assert not [name for _tag, attributes in page.tags for name in attributes if name.startswith("on")]
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert scripts
    assert all(attributes.get("src", "").startswith("/static/") for attributes in scripts)
    for address in page.all("href") + page.all("src"):
        assert address.startswith(("#", "/static/", "/api/v1/")), address


def test_its_files_exist_and_ask_no_third_party(page):
    addresses = [address for address in page.all("href") + page.all("src") if address.startswith("/static/")]
    assert len(addresses) >= 4
    for address in addresses:
        path = finders.find(address.removeprefix("/static/"))
        assert path, address
        if path.endswith(".css"):
            with open(path) as file:
                assert not re.search(r"url\((?!\"data:)|@import|https?://(?!www\.w3\.org)", file.read())


def test_every_link_within_the_page_leads_somewhere(page):
    ids = set(page.all("id"))
    targets = {address[1:] for address in page.all("href") if address.startswith("#")}
    assert len(targets) > 30
    assert targets <= ids


def test_every_error_code_has_its_line_where_its_type_leads(page):
    ids = page.all("id")
    for code in PROBLEMS:
        assert f"error-{code}" in ids
        assert code in page.text


def test_every_operation_field_and_answer_is_on_the_page(page):
    text = " ".join(page.text.split())
    document = cached_document()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert f"{method.upper()} {path}" in text
            assert operation["summary"] in text
            assert operation["description"].replace("`", "") in text
    for name in set(document["components"]["schemas"]) - {"ProblemOutput", "ProblemCause"}:
        for field, shape in document["components"]["schemas"][name].get("properties", {}).items():
            assert field in text
            assert shape.get("description", "").replace("`", "") in text
    for part in (
        "login_id.type",
        "promotion.sent_to",
        "handle",
        "login_ids[].verified",
        "session.expires_at",
        "sessions[].current",
        "Idempotency-Key",
        "session_id",
        "DPoP",
        "device.system",
        "session.device.name",
        "keys[].last_used_at",
        "recovery_code",
        "kid",
    ):
        assert part in text


def test_example_answers_have_the_described_shape():
    document = strict(cached_document())
    checked = 0
    for operations in document["paths"].values():
        for operation in operations.values():
            for response in operation["responses"].values():
                shape = response.get("content", {}).get("application/json", {}).get("schema")
                if shape:
                    example = examples.example_answer(document, shape)
                    Draft202012Validator(shape | {"components": document["components"]}).validate(example)
                    checked += 1
    assert checked == 21


def run_like_curl(api, command, variables):
    """Do what a curl command of the page would do."""
    for name, value in variables.items():
        command = command.replace(f"'${name}'", value).replace(f"${name}", value)
    words = shlex.split(command.replace("\\\n", " "))
    assert words.pop(0) == "curl"
    method, headers, body, url = "GET", {}, None, ""
    while words:
        match words.pop(0):
            case "-X":
                method = words.pop(0)
            case "-H":
                name, _, value = words.pop(0).partition(": ")
                headers[name] = value
            case "-d":
                body = words.pop(0).encode()
            case word:
                url = word
    assert url.startswith(ORIGIN)
    content_type = headers.pop("Content-Type", "application/x-www-form-urlencoded")
    return api.call(method, url.removeprefix(ORIGIN), body, content_type=content_type, headers=headers)


def prepare_device(call, guest, number):
    """The shell's variables about a device: its key, what it signs for this call, and the guest's recovery code."""
    device = Device(f"device {number}", f"device-key-{number}")
    if "$KEY_ID" in call:
        device.add(guest, client_id="guestbook-web")
    action = "recover" if "/recover/" in call else "add_key" if "/keys/" in call else "auth"
    code = Api().call("POST", RECOVERY_CODE, {}, bearer=guest["access_token"]).json()["recovery_code"]
    signed = device.signed(Api().challenge("guestbook-web"), action)
    return {"KEY_ID": device.kid, "SIGNED_REQUEST": signed, "RECOVERY_CODE": code}


@pytest.mark.django_db
def test_the_example_calls_work_as_they_are_copied(page, project):
    application = make_application(project, "guestbook-web")
    calls = [text for text in page.all("data-copy") if text.startswith(("curl", "KEY="))]
    assert len(calls) == 24
    for number, call in enumerate(calls):
        limits.forget()
        LoginID.objects.all().delete()
        guest = Api().sign_up(application.client_id).json()
        if "/login/" in call:
            regular_user(application, password=examples.SAMPLES["password"])
        if "$CODE" in call and "/login/" in call:
            pending = begin_code_login(project=project, text=EMAIL)
        else:
            body = {"login_id": {"type": "email", "value": EMAIL}}
            answer = Api().call("POST", PROMOTION, body, bearer=guest["access_token"])
            pending = SimpleNamespace(**answer.json()["promotion"])
        code = last_code()
        limits.forget()
        variables = prepare_device(call, guest, number) | {
            "HANDLE": pending.handle,
            "CODE": code,
            "ACCESS_TOKEN": guest["access_token"],
            "REFRESH_TOKEN": guest["refresh_token"],
            "SESSION_ID": str(session_of(guest).pk),
            "KEY": "k" * 16,
        }
        command = call.partition("\n")[2] if call.startswith("KEY=") else call
        response = run_like_curl(Api(), command, variables)
        assert response.status_code in (200, 201, 202, 204), (call, response.content)


def test_the_examples_name_the_origin_of_the_request():
    assert f"{ORIGIN}/api/v1/signup/" in Api().get(URL).content.decode()
    assert "http://second.localhost/api/v1/signup/" in Api(HTTP_HOST="second.localhost").get(URL).content.decode()


@pytest.mark.parametrize(
    ("budget", "words"), [("60/m", "60 per minute"), ("5/h", "5 per hour"), ("off", "not limited by address")]
)
def test_the_page_tells_the_limit_that_is_set(settings, budget, words):
    settings.ANONUSERS_SIGNUP_PER_IP = budget
    assert words in Api().get(URL).content.decode()


OF_API = sorted(
    name
    for name, value in vars(Conf).items()
    if re.fullmatch(r"off|\d+/[smhd]", str(value))
    and not name.startswith(("PORTAL_", "GUEST_"))  # operators, and the views of hosts
)


@pytest.mark.parametrize("name", OF_API)
def test_the_page_tells_every_budget_that_is_set_and_none_that_is_off(settings, name):
    assert set(OF_API) == set(reference.BUDGETS)
    setattr(settings, f"ANONUSERS_{name}", "7654321/h")
    assert Api().get(URL).content.decode().count("7654321 per hour") == 1
    setattr(settings, f"ANONUSERS_{name}", "off")
    assert "None" not in Page(Api().get(URL).content.decode()).text.split("Rate limits")[-1].split("429")[0]


def test_json_is_marked_up_without_losing_or_trusting_anything():
    data = {"a<b": ['</code>&"', 1, -2, True, None, {"x": "y: 1"}]}
    html = str(examples.as_html(examples.as_text(data)))
    assert json.loads(Page(html).text) == data
    assert "</code>" not in html
    assert '<span class="json-value">-2</span>' in html


def test_prose_escapes_and_marks_code():
    assert str(examples.prose("use `<b>` & go")) == "use <code>&lt;b&gt;</code> &amp; go"
