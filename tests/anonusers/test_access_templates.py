"""Template filters and tags, and the context processor: what they say, and that who does not ask pays nothing."""

from copy import deepcopy
from html import unescape

import pytest
from django.template import engines
from django.urls import NoReverseMatch

from tests.anonusers.access import BACKEND, EVERYBODY, GUESTS, MEMBERS, cost_of, somebody
from tests.anonusers.lazy_site import ALL_BEFORE, GUEST_MIDDLEWARE

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.urls("tests.anonusers.access_site")]


@pytest.fixture(autouse=True)
def _site(settings):
    settings.MIDDLEWARE = [*ALL_BEFORE, GUEST_MIDDLEWARE]
    settings.AUTHENTICATION_BACKENDS = [BACKEND]
    settings.LOGIN_URL = "/enter?way=out"
    settings.TEMPLATES = deepcopy(settings.TEMPLATES)
    settings.TEMPLATES[0]["OPTIONS"]["context_processors"] = [
        "django.template.context_processors.request",
        "anonusers.context_processors.guest",
    ]


def text(answer):
    return unescape(answer.content.decode())


@pytest.mark.parametrize("who", EVERYBODY)
def test_filters_and_processor_tell_guests_from_members_for_one_look_at_the_user(application, who):
    person = somebody(who, application)
    guest, member = who in GUESTS, who in MEMBERS
    filters, processor = person.browse("/page/filters/"), person.browse("/page/processor/")
    assert text(filters) == f"{guest} {member} {guest}"
    known = (guest or member) and who != "user of the host"
    sub = str(person.user.end_user.pk) if known else None
    assert text(processor) == f"{'guest' if guest else 'member' if member else ''} {guest} {sub}"
    assert [answer.statements for answer in (filters, processor)] == [cost_of(who)] * 2
    if who != "visitor":
        assert "Cookie" in filters["Vary"]


@pytest.mark.parametrize("who", EVERYBODY)
@pytest.mark.parametrize("page", ["still", "processor-still"])
def test_a_template_that_does_not_ask_stays_the_same_for_everybody(application, who, page):
    answer = somebody(who, application).browse(f"/page/{page}/")
    assert answer.statements == 0
    assert "Vary" not in answer.headers
    assert answer.cookies == {}


def test_the_tags_lead_to_the_pages_with_a_way_back(client):
    answer = client.get("/page/still/")
    assert text(answer) == "/enter?way=out /promote?next=/a%20b/%3Fc%3Dd /logout?next=/"
    assert b"&amp;" not in answer.content
    engine = engines["django"]
    more = engine.from_string(
        "{% load anonusers %}{% login_url next='/x/' %} {% promotion_url next=evil as url %}{{ url }}"
    )
    assert unescape(more.render({"evil": '/"><script>'})) == "/enter?way=out&next=/x/ /promote?next=/%22%3E%3Cscript%3E"
    assert "&amp;next=" in more.render({"evil": ""})


def test_the_promotion_page_is_the_one_of_the_setting(client, settings):
    settings.ANONUSERS_PROMOTION_URL = "numbered-keep"
    assert client.get("/page/processor-still/").content == b"/keep/this/ "
    settings.ANONUSERS_PROMOTION_URL = "nowhere"
    with pytest.raises(NoReverseMatch):
        client.get("/page/processor-still/")


def test_without_a_user_in_the_request_nobody_is_anybody(client, settings):
    settings.MIDDLEWARE = ALL_BEFORE[:2]
    assert client.get("/page/processor/").content == b" False None"
