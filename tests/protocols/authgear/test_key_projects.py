"""Device keys of two projects on two hosts: one key is two guests; what was signed for one is garbage at the other."""

from collections.abc import Callable

import pytest
from django.test import Client

from anonusers.models import Application, DeviceKey, Project
from tests.anonusers.signing import rsa_key
from tests.conftest import ORIGIN
from tests.protocols.authgear.conftest import HOST_A, HOST_B
from tests.protocols.authgear.keys import NO_JWK, logged_in, refuse, request, sub_with

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.spec("authgear.md", "1.9")]

B = rsa_key(name="b")


def test_the_same_key_is_two_guests_in_two_projects(
    project_a: Project, project_b: Project, visit: Callable[..., Client]
) -> None:
    """B29, TEN-05, TEN-06."""
    at_a, at_b = visit(HOST_A), visit(HOST_B)
    sub_a = sub_with(at_a, request(at_a))
    refuse(at_b, request(at_b, header=NO_JWK))
    sub_b = sub_with(at_b, request(at_b))
    assert sub_a != sub_b
    assert sub_with(at_a, request(at_a, header=NO_JWK)) == sub_a
    assert sub_with(at_b, request(at_b, header=NO_JWK)) == sub_b
    assert {(str(key.end_user_id), key.project_id) for key in DeviceKey.objects.all()} == {
        (sub_a, project_a.pk),
        (sub_b, project_b.pk),
    }


def test_what_was_signed_for_one_project_is_good_there_only(
    project_a: Project, project_b: Project, visit: Callable[..., Client]
) -> None:
    """B22, TEN-04: the challenge is the only audience. It is not spent by the wrong one."""
    at_a, at_b = visit(HOST_A), visit(HOST_B)
    jwt = request(at_a)
    refuse(at_b, jwt)
    sub = sub_with(at_a, jwt)
    logged_in(at_b, request(at_b))
    jwt = request(at_a, header=NO_JWK)
    refuse(at_b, jwt)
    assert sub_with(at_a, jwt) == sub
    refuse(at_a, request(at_a), 400, "invalid_client", "invalid client ID", client_id="nobody")
    refuse(at_b, request(at_b), 400, "invalid_client", "invalid client ID", client_id="only-in-a")
    assert sub_with(at_a, request(at_a, header=NO_JWK), client_id="only-in-a") == sub, "keys are of the project"


@pytest.mark.parametrize("member", ["aud", "iss"])
def test_who_names_an_audience_names_us(application: Application, browser: Client, member: str) -> None:
    """B22."""
    assert logged_in(browser, request(browser, claims={member: ORIGIN}))
    for other in ("https://evil.example", f"{ORIGIN}/", "web", "", [], {}, 1, ["https://evil.example"]):
        refuse(browser, request(browser, claims={member: other}))
    if member == "aud":
        assert logged_in(browser, request(browser, claims={"aud": ["https://x.example", ORIGIN]}))


def test_a_key_of_another_project_is_unknown_here(
    project_a: Project, project_b: Project, visit: Callable[..., Client]
) -> None:
    """Its ID may be taken here by anybody, and that changes nothing there."""
    at_a, at_b = visit(HOST_A), visit(HOST_B)
    sub = sub_with(at_a, request(at_a))
    other = sub_with(at_b, request(at_b, B))
    refuse(at_b, request(at_b, header=NO_JWK))
    refuse(at_a, request(at_a, B, header=NO_JWK))
    assert sub_with(at_a, request(at_a, header=NO_JWK)) == sub
    assert sub_with(at_b, request(at_b, B, header=NO_JWK)) == other
