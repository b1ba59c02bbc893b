"""Every route of the portal is sent nonsense by an administrator: a clear answer, and nothing changes by a refusal."""

from typing import Any

import pytest
from django.test import Client

from tests.portal.routes import POSTS, ROUTES, World, everything, make_world

pytestmark = pytest.mark.django_db

NONSENSE = {
    "NUL": "a\0b",
    "huge": "9" * 5_000,
    "a negative number": "-1",
    "a large number": "9223372036854775808",
    "other digits": "١٢",
    "markup": "<script>alert(1)</script>",
    "a list": "[1, {}]",
    "nothing": "",
}
NAMES = ["q", "kind", "disabled", "quarantined", "application", "active", "key", "created_from", "created_to", "after"]
NAMES += ["before", "from", "to", "days", "category", "actor", "type", "target", "sub", "format", "confirm", "session"]
NAMES += ["remove", "roll_back", "discard", "query", "page", "made", "version"]


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.mark.parametrize("value", NONSENSE.values(), ids=list(NONSENSE))
@pytest.mark.parametrize("route", ROUTES)
def test_a_link_with_nonsense_is_answered(route: str, value: str, portal: Client, world: World) -> None:
    for sent in (dict.fromkeys(NAMES, value), {NAMES[0]: value}):
        answer = portal.get(world.url(route), sent)
        assert answer.status_code in (200, 302, 400, 404), answer.status_code
        body = b"".join(answer.streaming_content) if answer.streaming else answer.content
        assert b"<script>alert" not in body


@pytest.mark.parametrize("name_of_value", ["NUL", "huge", "a large number", "a list"])
@pytest.mark.parametrize("route", sorted(POSTS))
def test_a_form_with_nonsense_is_refused_or_changes_what_it_says(
    route: str, name_of_value: str, portal: Client, world: World
) -> None:
    value = NONSENSE[name_of_value]
    for sent in POSTS[route]:
        good = {name: entry for name, entry in sent(world, portal).items() if entry is not None}
        for name in good:
            before = everything()
            answer = portal.post(world.url(route), good | {name: value})
            assert answer.status_code in (200, 302, 303, 400, 404, 409), (name, answer.status_code)
            if answer.status_code >= 400:
                assert everything() == before, name
            elif everything() != before:
                break  # an entry that may hold anything, or that is not looked at: it was saved


@pytest.mark.parametrize("route", sorted(POSTS))
def test_an_empty_form_changes_nothing(route: str, portal: Client, world: World) -> None:
    before = everything()
    sent: dict[str, Any] = {}
    answer = portal.post(world.url(route), sent)
    assert answer.status_code in (400, 404, 409), answer.status_code
    assert everything() == before
